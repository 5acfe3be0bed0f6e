// SPDX-License-Identifier: Apache-2.0
// Session: a decoder, the ids it has seen, and the loop that turns a prompt into text.
//
// A session keeps what it computed: a new prompt that begins like the old one costs only its new part, so a chat pays for
// each turn once. Text leaves in whole characters, and never past a stop string. Tokens may be guessed, by looking up what
// the text said before (generate/lookup.h) or by a draft model (generate/draft.h), and are checked in one batch with the
// token that is due: the text is the same with and without, sampled or greedy, since a token's logits do not depend on
// what is computed beside it. Only the number of passes changes.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "tritium/generate/draft.h"
#include "tritium/generate/lookup.h"
#include "tritium/generate/sampler.h"
#include "tritium/model/decoder.h"
#include "tritium/text/tokenizer.h"

TRITIUM_NAMESPACE_BEGIN

/// When a text ends and how its tokens are chosen.
struct GenerateOptions {
  std::size_t max_tokens = 256;   ///< new tokens at most
  SamplerOptions sampler;         ///< how tokens are chosen
  std::vector<std::string> stop;  ///< text that ends the answer and is not part of it
  bool ignore_eos = false;        ///< go on past the ids that end a text
  std::size_t lookup = 0;         ///< tokens to guess at a time from the text itself; 0: none
  std::size_t drafted = 0;  ///< tokens to guess at a time with the draft, where there is nothing to look up; 0: none
  /// Asked between batches and tokens; true ends the generation as cancelled.
  std::function<bool()> cancelled;
  /// Called while the prompt is read, with tokens done and to do.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

/// Why a text ended: an id that ends texts, a stop string, max_tokens, a full cache, the caller.
enum class Finish : std::uint8_t { end_of_text, stop_string, length, context_full, cancelled };

/// What a generation did.
struct GenerateStats {
  Finish finish = Finish::length;   ///< why it ended
  std::size_t prompt_tokens = 0;    ///< of the whole prompt
  std::size_t cached_tokens = 0;    ///< of the prompt, not computed again
  std::size_t new_tokens = 0;       ///< made
  std::size_t guessed_tokens = 0;   ///< by lookup or draft
  std::size_t accepted_tokens = 0;  ///< of them, the sampler's own choice
  double prompt_seconds = 0;        ///< until the prompt was read
  double decode_seconds = 0;        ///< from then on
};

/// One text under way: a decoder, the ids it has read, the loop from prompt to text. One thread at a time.
class Session {
 public:
  /// `model` and `tokenizer` must outlive the session. Errors: as Decoder::create.
  static Result<Session> create(const Model& model, const Tokenizer& tokenizer, const Decoder::Options& options,
                                const Executor& executor) {
    return no_throw([&]() -> Result<Session> {
      Session session(model, tokenizer);
      TRITIUM_ASSIGN(session.decoder_, Decoder::create(model, options, executor));
      TRITIUM_ASSIGN(session.logits_, Array<float>::allocate(model.spec.vocab));
      session.tokens_.reserve(session.decoder_->context());
      return session;
    });
  }

  /// A model that guesses for GenerateOptions::drafted. Arguments and errors: as Draft::create.
  Status set_draft(const Model& model, const Tokenizer* tokenizer, const Decoder::Options& options,
                   const Executor& executor) {
    TRITIUM_ASSIGN(draft_, Draft::create(*model_, *tokenizer_, model, tokenizer, options, executor));
    return {};
  }

  [[nodiscard]] Decoder& decoder() { return *decoder_; }  ///< The model's side of the session.
  /// Ids that the cache holds, in order.
  [[nodiscard]] std::span<const std::int32_t> tokens() const { return tokens_; }
  /// Logits of the last token that was read.
  [[nodiscard]] std::span<const float> logits() const { return {logits_.data(), model_->spec.vocab}; }

  /// Makes `prompt` the text so far and leaves the logits of what follows. Only what differs from the text before is
  /// computed. Returns how many tokens were kept.
  /// Errors: invalid_argument (empty), out_of_range (longer than the context, both numbers named), cancelled; out_of_memory,
  /// which leaves an empty text.
  Result<std::size_t> read(std::span<const std::int32_t> prompt, const GenerateOptions& options = {}) {
    return fenced([&] { return read_prompt(prompt, options); });
  }

  /// Reads `prompt` and generates. emit(text) gets whole characters as they are made and may return false to stop.
  /// Errors: as read(); invalid_argument (options.drafted without a draft). A full context is not an error but
  /// Finish::context_full.
  template <class Emit>
  Result<GenerateStats> generate(std::span<const std::int32_t> prompt, const GenerateOptions& options, Emit&& emit) {
    return fenced([&] { return read_and_decode(prompt, options, emit); });
  }

 private:
  Session(const Model& model, const Tokenizer& tokenizer) : model_(&model), tokenizer_(&tokenizer) {}

  /// f() as an error where memory is short; the text is then empty, since it may have been left in the middle of a step.
  template <class F>
  std::invoke_result_t<F> fenced(F&& f) {
    auto result = no_throw(std::forward<F>(f));
    if (result.ok() || result.error().code != Errc::out_of_memory) return result;
    decoder_->only_largest(0);
    start_clean();
    return result;
  }

  Result<std::size_t> read_prompt(std::span<const std::int32_t> prompt, const GenerateOptions& options) {
    if (prompt.empty())
      return make_error(Errc::invalid_argument, "empty prompt", "prompt", "at least one token", "none");
    if (prompt.size() > decoder_->context()) {
      return make_error(Errc::out_of_range, "the prompt is longer than the context", "ctx",
                        "at most " + std::to_string(decoder_->context()) + " tokens", std::to_string(prompt.size()));
    }
    std::size_t keep = 0;
    while (keep < tokens_.size() && keep + 1 < prompt.size() && tokens_[keep] == prompt[keep]) ++keep;
    if (!decoder_->rewind(keep)) {
      keep = 0;
      (void)decoder_->rewind(0);
    }
    TRITIUM_ASSIGN(const bool ready, decoder_->prepare(prompt.size()));
    if (!ready) {
      keep = 0;
      (void)decoder_->rewind(0);
      TRITIUM_TRY(decoder_->prepare(prompt.size()));
    }
    tokens_.resize(keep);
    for (std::size_t at = keep; at < prompt.size();) {
      if (options.cancelled && options.cancelled()) return Error{Errc::cancelled, "cancelled"};
      const std::size_t n = std::min(decoder_->max_batch(), prompt.size() - at);
      const bool last = at + n == prompt.size();
      TRITIUM_TRY(step(prompt.subspan(at, n), last));
      at += n;
      if (options.progress) options.progress(at - keep, prompt.size() - keep);
    }
    return keep;
  }

  template <class Emit>
  Result<GenerateStats> read_and_decode(std::span<const std::int32_t> prompt, const GenerateOptions& options, Emit& emit) {
    GenerateStats stats;
    if (options.drafted != 0 && !draft_)
      return make_error(Errc::invalid_argument, "guesses of a draft", "drafted", "set_draft() before", "no draft");
    TRITIUM_ASSIGN(Sampler sampler, Sampler::create(options.sampler, decoder_->ops().kernels(), model_->spec.vocab));
    stats.prompt_tokens = prompt.size();
    const auto start = std::chrono::steady_clock::now();
    auto read_result = read_prompt(prompt, options);
    if (!read_result.ok()) {
      if (read_result.error().code != Errc::cancelled) return std::move(read_result).error();
      stats.finish = Finish::cancelled;
      return stats;
    }
    stats.cached_tokens = *read_result;
    TRITIUM_TRY(allow_guesses(std::max(options.lookup, options.drafted)));
    if (options.drafted != 0) TRITIUM_TRY(draft_->read(prompt, options.cancelled));
    const auto decoding = std::chrono::steady_clock::now();
    stats.prompt_seconds = seconds(decoding - start);
    decoder_->only_largest(sampler.decisive());
    auto finish = decode(sampler, options, emit, stats);
    decoder_->only_largest(0);
    Status dropped = drop_guesses();
    TRITIUM_ASSIGN(stats.finish, std::move(finish));
    TRITIUM_TRY(std::move(dropped));
    stats.decode_seconds = seconds(std::chrono::steady_clock::now() - decoding);
    return stats;
  }

  static double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

  Status step(std::span<const std::int32_t> tokens, bool wants_logits) {
    Status status =
        decoder_->forward(tokens, wants_logits ? Decoder::Logits::last : Decoder::Logits::none, logits_.data());
    if (!status.ok()) {  // the cache may hold a part of the batch
      start_clean();
      return status;
    }
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    return {};
  }

  /// Room for `most` guesses and their logits. Models that cannot forget a few tokens do without.
  Status allow_guesses(std::size_t most) {
    const std::size_t vocab = model_->spec.vocab;
    max_guesses_ = can_forget(model_->spec, "model").ok() ? std::min(most, decoder_->max_batch() - 1) : 0;
    guess_.reserve(max_guesses_);
    batch_.reserve(max_guesses_ + 1);
    if (logits_.size() >= (max_guesses_ + 1) * vocab) return {};
    TRITIUM_ASSIGN(Array<float> logits, Array<float>::allocate((max_guesses_ + 1) * vocab));
    std::copy_n(logits_.data(), vocab, logits.data());
    logits_ = std::move(logits);
    return {};
  }

  /// Fills guess_ with up to `most` tokens that may follow the text: what it says itself costs nothing and comes first.
  Status find_guess(const GenerateOptions& options, std::size_t most) {
    if (const std::size_t n = std::min(most, options.lookup); n != 0) lookup_guess(tokens_, n, guess_);
    if (!guess_.empty()) return {};
    const std::size_t n = std::min(most, options.drafted);
    return n == 0 ? Status() : draft_->guess(tokens_, n, guess_);
  }

  /// Reads `id` and up to `most` guesses at what follows it, in one batch.
  Status step_and_guess(std::int32_t id, const GenerateOptions& options, std::size_t most) {
    tokens_.push_back(id);
    Status found = find_guess(options, std::min({most, max_guesses_, decoder_->context() - decoder_->position() - 1}));
    tokens_.pop_back();
    if (!found.ok()) {
      guess_.clear();
      return found;
    }
    if (!guess_.empty()) {
      auto ready = decoder_->prepare(decoder_->position() + 1 + guess_.size());
      if (!ready.ok() || !*ready) guess_.clear();
    }
    if (guess_.empty()) return step({&id, 1}, true);
    batch_.assign(1, id);
    batch_.insert(batch_.end(), guess_.begin(), guess_.end());
    Status status = decoder_->forward(batch_, Decoder::Logits::all, logits_.data());
    if (!status.ok()) {
      start_clean();
      return status;
    }
    tokens_.push_back(id);
    return {};
  }

  /// Forgets the guesses that were not confirmed; logits() are again those of the last token.
  /// Errors: invalid_argument when the cache cannot go back, which leaves an empty text.
  Status drop_guesses() {
    if (confirmed_ != 0)
      std::copy_n(logits_.data() + confirmed_ * model_->spec.vocab, model_->spec.vocab, logits_.data());
    const bool forgotten = confirmed_ == guess_.size() || decoder_->rewind(tokens_.size());
    guess_.clear();
    confirmed_ = 0;
    if (forgotten) return {};
    start_clean();
    return Error{Errc::invalid_argument, "the cache cannot go back to the last confirmed token"};
  }

  void start_clean() {
    tokens_.clear();
    guess_.clear();
    confirmed_ = 0;
    (void)decoder_->rewind(0);
  }

  template <class Emit>
  Result<Finish> decode(Sampler& sampler, const GenerateOptions& options, Emit& emit, GenerateStats& stats) {
    StreamDecoder stream(*tokenizer_);
    std::string text;  // made, not yet given away: it may begin a stop string
    const std::size_t usable = std::min(model_->spec.vocab, tokenizer_->size());  // rows past the tokenizer are padding
    const auto flush = [&](bool all) {
      const std::size_t held = all ? 0 : stop_prefix(text, options.stop);
      const bool go_on = text.size() == held || emit(std::string_view(text).substr(0, text.size() - held));
      text.erase(0, text.size() - held);
      return go_on;
    };
    const std::size_t vocab = model_->spec.vocab;
    while (stats.new_tokens < options.max_tokens) {
      if (options.cancelled && options.cancelled()) return stream.finish(text), flush(true), Finish::cancelled;
      const std::int32_t id = sampler.sample({logits_.data() + confirmed_ * vocab, usable}, tokens_);
      if (tokenizer_->is_eog(id) && !options.ignore_eos) return stream.finish(text), flush(true), Finish::end_of_text;
      ++stats.new_tokens;
      TRITIUM_TRY(stream.push(id, text));
      if (const std::size_t at = first_stop(text, options.stop); at != std::string::npos) {
        text.resize(at);
        return flush(true), Finish::stop_string;
      }
      if (!flush(false)) return Finish::cancelled;
      if (stats.new_tokens == options.max_tokens) break;
      if (confirmed_ < guess_.size() && guess_[confirmed_] == id) {  // read already
        ++confirmed_;
        ++stats.accepted_tokens;
        tokens_.push_back(id);
        continue;
      }
      TRITIUM_TRY(drop_guesses());
      if (decoder_->position() == decoder_->context()) return stream.finish(text), flush(true), Finish::context_full;
      TRITIUM_ASSIGN(const bool ready, decoder_->prepare(decoder_->position() + 1));
      if (ready) {
        TRITIUM_TRY(step_and_guess(id, options, options.max_tokens - stats.new_tokens - 1));
        stats.guessed_tokens += guess_.size();
      } else {  // the text has outgrown its rotary embedding: read it again, as transformers does
        std::vector<std::int32_t> all = tokens_;
        all.push_back(id);
        tokens_.clear();
        (void)decoder_->rewind(0);
        TRITIUM_TRY(read_prompt(all, {}));
      }
    }
    stream.finish(text);
    flush(true);
    return Finish::length;
  }

  /// Where the earliest stop string begins.
  static std::size_t first_stop(std::string_view text, const std::vector<std::string>& stop) {
    std::size_t at = std::string::npos;
    for (const std::string& s : stop) {
      if (!s.empty()) at = std::min(at, text.find(s));
    }
    return at;
  }
  /// Bytes at the end of text that begin a stop string.
  static std::size_t stop_prefix(std::string_view text, const std::vector<std::string>& stop) {
    std::size_t held = 0;
    for (const std::string& s : stop) {
      for (std::size_t n = std::min(text.size(), s.size() - (s.empty() ? 0 : 1)); n > held; --n) {
        if (text.ends_with(std::string_view(s).substr(0, n))) held = n;
      }
    }
    return held;
  }

  const Model* model_;
  const Tokenizer* tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::optional<Draft> draft_;
  std::vector<std::int32_t> tokens_;
  Array<float> logits_;              // of the last token, then of the guesses behind it
  std::vector<std::int32_t> guess_;  // read by the decoder but not yet part of the text
  std::vector<std::int32_t> batch_;
  std::size_t confirmed_ = 0;  // of guess_
  std::size_t max_guesses_ = 0;
};

TRITIUM_NAMESPACE_END
