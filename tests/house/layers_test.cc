// SPDX-License-Identifier: Apache-2.0
// The house rules that a compiler cannot see: which layer includes which, and what a library never does.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct Source {
  std::string path;   // from the root of the project
  std::string layer;  // the folder under include/tritium, or "" for an umbrella
  std::vector<std::string> lines;
};

std::vector<Source> sources(const char* folder) {
  std::vector<Source> found;
  const fs::path root(TRITIUM_SOURCE_DIR);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / folder)) {
    const std::string extension = entry.path().extension().string();
    const bool ours = extension == ".h" || extension == ".cc" || extension == ".c" || extension == ".inc";
    if (!entry.is_regular_file() || !ours) continue;
    Source source;
    const fs::path relative = fs::relative(entry.path(), root);
    source.path = relative.generic_string();
    std::vector<std::string> parts;
    for (const fs::path& part : relative) parts.push_back(part.string());
    if (parts.size() > 3) source.layer = parts[2];
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) source.lines.push_back(line);
    found.push_back(std::move(source));
  }
  std::sort(found.begin(), found.end(), [](const Source& a, const Source& b) { return a.path < b.path; });
  return found;
}

/// What a layer may include besides itself and std. A path names one header, a word a layer, "<x" a third-party prefix.
const std::map<std::string, std::set<std::string>> kMay = {
    {"core", {}},
    {"format", {"core"}},
    {"simd", {"core", "format", "ops/epilogue.h", "ops/kernel_table.h", "<hwy"}},
    {"ops", {"core", "format", "simd/static_table.h"}},
    {"io", {"core", "format/tensor_type.h", "<nlohmann"}},
    {"text", {"core", "io", "<nlohmann", "<pcre2", "<utf8proc"}},
    {"model", {"core", "format", "ops", "io"}},
    {"generate", {"core", "ops", "io", "model", "text"}},
    {"c", {"core/version.h", "<stddef", "<stdint"}},
    {"interop", {"core", "<Eigen"}},
};

/// The code of a line: without a comment to its end.
std::string code_of(const std::string& line) { return line.substr(0, line.find("//")); }

std::string scan(const std::vector<Source>& files, const std::regex& forbidden, const std::set<std::string>& exempt) {
  std::ostringstream found;
  for (const Source& s : files) {
    if (exempt.contains(s.path)) continue;
    for (std::size_t i = 0; i < s.lines.size(); ++i) {
      if (std::regex_search(code_of(s.lines[i]), forbidden))
        found << s.path << ":" << i + 1 << ": " << s.lines[i] << "\n";
    }
  }
  return found.str();
}

}  // namespace

TEST_CASE("layers include only what is below them", "[house]") {
  const std::regex include(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"])re");
  std::ostringstream violations;
  std::size_t seen = 0;
  const std::vector<Source> files = sources("include/tritium");
  REQUIRE(files.size() > 50);
  for (const Source& s : files) {
    if (s.layer.empty()) continue;  // umbrellas
    const auto may = kMay.find(s.layer);
    REQUIRE(may != kMay.end());
    for (const std::string& line : s.lines) {
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      ++seen;
      const std::string what = match[2];
      bool allowed = false;
      if (what.starts_with("tritium/")) {
        const std::string rest = what.substr(8);
        const std::string layer = rest.substr(0, rest.find('/'));
        allowed = layer == s.layer || may->second.contains(layer) || may->second.contains(rest);
      } else if (what.find('/') == std::string::npos && !what.ends_with(".h")) {
        allowed = true;  // the standard library
      } else {
        const std::string package = what.substr(0, what.find_first_of("/."));
        // Headers of the operating system and of the compiler have no package; they are where files, memory and CPUs are asked for.
        const bool system = match[1] == "<" && (what.find('/') == std::string::npos || package == "sys") &&
                            package != "pcre2" && package != "utf8proc";
        allowed = may->second.contains("<" + package) ||
                  (system && (s.layer == "core" || s.layer == "ops" || s.layer == "io" || s.layer == "simd"));
      }
      if (!allowed) violations << s.path << " includes " << what << "\n";
    }
  }
  CHECK(seen > 300);
  CHECK(violations.str() == "");
}

TEST_CASE("the library neither prints nor exits nor starts threads", "[house]") {
  const std::vector<Source> files = sources("include/tritium");
  CHECK(scan(files, std::regex(R"re(\bstd::(cout|cerr|clog)\b|\b(printf|fprintf|puts|fputs|perror)\s*\()re"), {}) ==
        "");
  CHECK(scan(files, std::regex(R"re(\b(exit|_exit|quick_exit|abort|terminate)\s*\()re"), {}) == "");
  CHECK(scan(files, std::regex(R"re(\bstd::(thread|jthread|async)\b|\bpthread_create\b)re"),
             {"include/tritium/core/thread_pool.h"}) == "");
}

TEST_CASE("every source begins with its licence, every header is guarded", "[house]") {
  std::ostringstream wrong;
  for (const char* folder : {"include", "kernels", "c", "examples", "tests", "bench"}) {
    for (const Source& s : sources(folder)) {
      if (s.lines.empty() || s.lines[0] != "// SPDX-License-Identifier: Apache-2.0")
        wrong << s.path << ": no licence line\n";
      if (!s.path.ends_with(".h") || s.path.ends_with("-inl.h")) continue;
      const bool guarded =
          std::any_of(s.lines.begin(), s.lines.end(), [](const std::string& line) { return line == "#pragma once"; });
      if (!guarded && s.path != "kernels/passes.h") wrong << s.path << ": no #pragma once\n";
    }
  }
  CHECK(wrong.str() == "");
}

TEST_CASE("sources are ASCII, without tabs", "[house]") {
  std::ostringstream wrong;
  for (const char* folder : {"include", "kernels", "c", "examples", "tests", "bench"}) {
    for (const Source& s : sources(folder)) {
      for (std::size_t i = 0; i < s.lines.size(); ++i) {
        const std::string& line = s.lines[i];
        const bool ascii =
            std::all_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
        if (!ascii) wrong << s.path << ":" << i + 1 << ": not ASCII\n";
        if (line.find('\t') != std::string::npos) wrong << s.path << ":" << i + 1 << ": a tab\n";
      }
    }
  }
  CHECK(wrong.str() == "");
}
