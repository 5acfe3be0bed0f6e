// SPDX-License-Identifier: Apache-2.0
#include "packed.h"

#include <sys/stat.h>

#include <filesystem>

#include "console.h"
#include "signals.h"

namespace cli {

using tritium::Result;
using tritium::Status;

std::string packed_path(std::string_view model) {
  std::error_code failed;
  std::filesystem::path path = std::filesystem::absolute(model, failed).lexically_normal();
  if (failed) path = model;
  if (!path.has_filename()) path = path.parent_path();  // a folder with a slash behind it
  if (path.extension() == ".gguf") path.replace_extension();
  return path.string() + ".tritium";
}

Result<CacheUse> CacheUse::open(const std::string& cache, const tritium::Checkpoint& checkpoint,
                                tritium::LoadOptions& load) {
  CacheUse use;
  if (cache.empty()) return use;
  use.automatic_ = cache == "auto";
  use.path_ = use.automatic_ ? packed_path(checkpoint.path()) : cache;
  use.record_ = std::make_unique<tritium::PackedRecord>();
  struct stat status{};
  if (!use.automatic_ && ::lstat(use.path_.c_str(), &status) != 0 && errno == ENOENT) {
    load.record = use.record_.get();
    return use;
  }
  auto opened = tritium::PackedCache::open(use.path_);
  if (opened.ok()) {  // whether it is of this model the loader says
    load.cache = *std::move(opened);
  } else if (use.automatic_) {
    load.record = use.record_.get();
  } else {
    return opened.error();
  }
  return use;
}

Status CacheUse::keep(const tritium::Checkpoint& checkpoint, const tritium::LoadOptions& load) const {
  if (load.record == nullptr || path_.empty()) return {};
  const CatchInterrupts catching;
  const Status written = tritium::write_packed_cache(path_, checkpoint, load, *record_, [] { return interrupted(); });
  if (written.ok() || !automatic_ || written.error().code == tritium::Errc::cancelled) return written;
  note("no packed cache: " + written.error().message);
  return {};
}

}  // namespace cli
