// SPDX-License-Identifier: Apache-2.0
#include "model_folder.h"

#include <sys/stat.h>

#include <cstdlib>

#include "commands.h"
#include "console.h"
#include "json_writer.h"

namespace cli {

using tritium::Errc;
using tritium::Result;

std::string model_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string own = variable("TRITIUM_MODELS"); !own.empty()) return own;
  if (const std::string data = variable("XDG_DATA_HOME"); !data.empty()) return data + "/tritium/models";
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.local/share/tritium/models";
}

std::string demo_path(const DemoModel& model) {
  std::string path = model_folder();
  if (path.empty()) return path;
  return path.append("/").append(model.name).append(".gguf");
}

Result<std::string> resolve_model(const std::string& model) {
  constexpr std::string_view kPrefix = "demo:";
  if (!model.starts_with(kPrefix)) return model;
  const std::string_view name = std::string_view(model).substr(kPrefix.size());
  std::string known;
  for (const DemoModel& demo : kDemoModels) {
    known.append(known.empty() ? "" : " or ").append("demo:").append(demo.name);
    if (demo.name != name) continue;
    const std::string path = demo_path(demo);
    struct stat status{};
    if (!path.empty() && ::stat(path.c_str(), &status) == 0) return path;
    return tritium::make_error(
        Errc::io, "the demo model is not there", path.empty() ? model : tritium::printable_path(path),
        "the file that scripts/get-model.sh " + std::string(name) + " makes", path.empty() ? "no HOME" : "nothing");
  }
  return tritium::make_error(Errc::invalid_argument, "unknown demo model", "MODEL", known, tritium::printable(model));
}

Result<int> models(const ListOptions& options) {
  JsonWriter json;
  json.begin_array();
  if (!options.json) {
    const std::string folder = model_folder();
    out().line("Models in " +
               (folder.empty() ? std::string("no folder: set TRITIUM_MODELS or HOME") : one_line(folder)) + ":\n");
  }
  for (const DemoModel& demo : kDemoModels) {
    const std::string path = demo_path(demo);
    const std::string command = "scripts/get-model.sh " + std::string(demo.name);
    struct stat status{};
    const bool there = !path.empty() && ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
    // A size that differs is a damaged or another file; reading 250 MB for a digest is get-model.sh's business.
    const bool whole = there && static_cast<std::uint64_t>(status.st_size) == demo.bytes;
    if (options.json) {
      json.begin_object().member("name", demo.name).member("model", "demo:" + std::string(demo.name));
      json.member("title", demo.title)
          .member("present", whole)
          .member("path", path)
          .member("bytes", demo.bytes)
          .member("sha256", demo.sha256);
      json.member("licence", demo.licence).member("command", command).end_object();
      continue;
    }
    out().line("demo:" + left(demo.name, 14) + left(human_bytes(demo.bytes), 9) + left(demo.licence, 20) +
               (whole   ? "present"
                : there ? "damaged: another size; get it again with " + command
                        : "missing; get it with " + command));
    out().line("  " + std::string(demo.title) + ", sha256 " + std::string(demo.sha256));
  }
  if (options.json) out().line(json.end_array().text());
  return kDone;
}

}  // namespace cli
