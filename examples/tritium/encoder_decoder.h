// SPDX-License-Identifier: Apache-2.0
// PairEngine: a loaded encoder-decoder with its threads. The loader is compiled behind it.
#pragma once

#include <memory>
#include <span>

#include "options.h"
#include "tritium/core/thread_pool.h"
#include "tritium/io/checkpoint.h"
#include "tritium/model/encoder_decoder.h"

namespace cli {

class PairEngine {
 public:
  /// Room for `source` tokens of the encoder and `context` of the decoder.
  /// Errors: those of the loader; out_of_range (more than the model's contexts).
  static tritium::Result<std::unique_ptr<PairEngine>> open(const tritium::Checkpoint& checkpoint,
                                                           const CommonOptions& options, std::size_t source,
                                                           std::size_t context);

  /// Encodes a source; the decoder starts from position 0.
  tritium::Status read(std::span<const std::int32_t> source) { return both_->read(source); }
  [[nodiscard]] tritium::Decoder& decoder() { return both_->decoder(); }

 private:
  PairEngine() = default;

  std::unique_ptr<tritium::ThreadPool> pool_;
  tritium::EncoderDecoderModel model_;
  std::unique_ptr<tritium::EncoderDecoder> both_;
};

}  // namespace cli
