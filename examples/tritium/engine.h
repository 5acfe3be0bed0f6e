// SPDX-License-Identifier: Apache-2.0
// Engine: a loaded model with its threads, and the sessions that use it. The loader and the decoder are compiled behind
// it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "options.h"
#include "tritium/core/thread_pool.h"
#include "tritium/generate/session.h"
#include "tritium/io/checkpoint.h"

namespace cli {

class Engine {
 public:
  struct Needs {
    bool tokenizer = true;
    /// Positions when --ctx is not given, of a model made for `model_context`; none: at most 4096 of them.
    std::function<std::size_t(std::size_t model_context)> context;
    std::size_t max_batch = 512;
    /// Rows of logits that are held at once, for the memory check.
    std::size_t logit_rows = 1;
    std::size_t sequences = 1;  ///< texts that decoder() keeps side by side
    /// Asked before the weights are loaded, which may take long.
    std::function<tritium::Status(const tritium::Checkpoint& checkpoint, const tritium::Tokenizer& tokenizer)> check;
  };

  /// Opens MODEL, checks that it fits the memory, loads it. Shows progress.
  /// Errors: those of the readers and the loader; out_of_range (--ctx past the model's); out_of_memory, with the
  /// numbers.
  static tritium::Result<std::unique_ptr<Engine>> open(const std::string& model, const CommonOptions& options,
                                                       Needs needs);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  [[nodiscard]] const tritium::Checkpoint& checkpoint() const { return *checkpoint_; }
  [[nodiscard]] const tritium::Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] const tritium::Model& model() const;
  [[nodiscard]] std::size_t context() const { return context_; }
  [[nodiscard]] tritium::KvType kv() const { return kv_; }
  /// Bytes of the KV cache of a decoder or a session.
  [[nodiscard]] std::size_t kv_bytes() const { return kv_bytes_; }
  [[nodiscard]] tritium::Executor executor() { return pool_->executor(); }
  [[nodiscard]] std::size_t threads() const { return pool_->n_threads(); }
  /// Another number of threads for decoders and sessions made from now on.
  tritium::Status set_threads(std::size_t n);

  /// Opens the model of --draft, whose guesses sessions made from now on may check. Its weights keep what its file holds.
  /// Errors: as open(); invalid_argument (another vocabulary); --draft-tokens alone is wrong usage.
  tritium::Status open_draft(const SamplingOptions& sampling, const CommonOptions& options);
  /// Tokens for the draft to guess at a time; 0: there is none.
  [[nodiscard]] std::size_t drafted() const { return drafted_; }

  tritium::Result<tritium::Session> session();
  tritium::Result<std::unique_ptr<tritium::Decoder>> decoder();

  /// Session::generate, stopped by Ctrl-C and by a model file that changes. Shows the progress of the prompt.
  tritium::Result<tritium::GenerateStats> generate(tritium::Session& session, std::span<const std::int32_t> prompt,
                                                   tritium::GenerateOptions options,
                                                   const std::function<bool(std::string_view)>& emit);
  /// Errors: io, when the model file is not what was opened.
  [[nodiscard]] tritium::Status check_unchanged() const;
  /// Errors: out_of_range, when the context holds fewer tokens.
  [[nodiscard]] tritium::Status check_fits(std::size_t tokens) const;

 private:
  Engine();

  std::unique_ptr<tritium::ThreadPool> pool_;
  std::optional<tritium::Checkpoint> checkpoint_;
  std::optional<tritium::Tokenizer> tokenizer_;
  std::unique_ptr<tritium::Model> model_;
  tritium::KvType kv_ = tritium::KvType::f16;
  std::size_t kv_bytes_ = 0;
  std::size_t sequences_ = 1;
  std::size_t context_ = 0;
  bool context_given_ = false;  ///< by --ctx
  std::size_t max_batch_ = 512;
  std::unique_ptr<Engine> draft_;
  std::size_t drafted_ = 0;
};

/// Errors: io, when the model file is not what was opened.
tritium::Status unchanged(const tritium::Checkpoint& checkpoint);

/// One forward pass; its code lives in one file.
tritium::Status forward(tritium::Decoder& decoder, std::span<const std::int32_t> tokens,
                        tritium::Decoder::Logits wanted, float* logits);

/// Sampler options as the library wants them.
tritium::SamplerOptions sampler_options(const SamplingOptions& sampling, std::uint64_t seed);

/// --isa, checked: an unknown name is wrong usage, a tier this machine lacks an error.
tritium::Status pin_isa(const CommonOptions& options);

/// "; 12 of 20 guesses were right"; nothing where none were asked for.
std::string guesses_text(const tritium::GenerateOptions& options, const tritium::GenerateStats& stats);

/// "12 tokens, 0.034 s, 352.9 tokens/s".
std::string speed_text(std::size_t tokens, double seconds);

}  // namespace cli
