// SPDX-License-Identifier: Apache-2.0
// --cache: where a load takes its panels from, and what it leaves behind.
#pragma once

#include <memory>
#include <string>

#include "tritium/model/load.h"

namespace cli {

/// "FOLDER/NAME.tritium" beside the model FOLDER/NAME or FOLDER/NAME.gguf.
std::string packed_path(std::string_view model);

/// The packed cache of one load.
class CacheUse {
 public:
  /// What --cache says of a checkpoint that is loaded with `load`, whose cache or record this sets: nothing, a FILE that must
  /// fit or is made when it does not exist, or "auto", the file beside the model, made again whenever it does not fit.
  /// Errors: of a FILE, those of PackedCache::open().
  static tritium::Result<CacheUse> open(const std::string& cache, const tritium::Checkpoint& checkpoint,
                                        tritium::LoadOptions& load);

  /// body(), which loads with `load`; a second time without the cache where an automatic one turned out not to fit.
  template <class Body>
  auto run(tritium::LoadOptions& load, Body&& body) {
    auto result = body();
    if (result.ok() || !automatic_ || load.cache == nullptr) return result;
    load.cache = nullptr;
    load.record = record_.get();
    return body();
  }

  /// Keeps what was packed, while the model is there. An automatic cache that cannot be written is a note.
  /// Errors: io, cancelled.
  tritium::Status keep(const tritium::Checkpoint& checkpoint, const tritium::LoadOptions& load) const;

 private:
  std::string path_;  // empty: none
  bool automatic_ = false;
  std::unique_ptr<tritium::PackedRecord> record_;
};

}  // namespace cli
