// SPDX-License-Identifier: Apache-2.0
// Draft: a second, smaller model that guesses how a text goes on.
//
//   draft:  t_1 .. t_m, each its likeliest;   session: logits of the token that is due and t_1 .. t_m in one batch
// Its cache follows any text: what the text has in common with what was read before stays, as in a session. Whatever it
// guesses, the session's text is its own (generate/session.h). Source: Leviathan et al. 2023 (speculative decoding).
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "tritium/io/byte_reader.h"
#include "tritium/model/decoder.h"
#include "tritium/text/tokenizer.h"

TRITIUM_NAMESPACE_BEGIN

/// Whether every id has the same text in both vocabularies. Errors: invalid_argument, naming the first difference.
inline Status same_vocabulary(const Tokenizer& expected, const Tokenizer& found) {
  if (expected.size() != found.size()) {
    return make_error(Errc::invalid_argument, "vocabularies differ", "draft",
                      std::to_string(expected.size()) + " tokens", std::to_string(found.size()));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (expected.piece(id) == found.piece(id)) continue;
    return make_error(Errc::invalid_argument, "vocabularies differ", "draft, token " + std::to_string(i),
                      "\"" + printable(expected.piece(id)) + "\"", "\"" + printable(found.piece(id)) + "\"");
  }
  return {};
}

/// Whether the model can forget the last tokens it read. Errors: invalid_argument.
inline Status can_forget(const ModelSpec& spec, std::string_view which) {
  for (const LayerSpec& l : spec.layers) {
    if (l.mixer == Mixer::attention) continue;
    return make_error(Errc::invalid_argument, "guesses need models that can forget tokens", which,
                      "attention in every layer", "a recurrent layer in family " + spec.family);
  }
  return {};
}

/// A model that guesses for another one of the same vocabulary, with a cache of its own. One thread at a time.
class Draft {
 public:
  /// A draft for texts of `target`. `model` must outlive it. Where `tokenizer` is null only the sizes of the logits are
  /// compared, else all of both vocabularies; logits past them are padding and may differ.
  /// Errors: invalid_argument (vocabularies differ, a recurrent layer), as Decoder::create.
  static Result<Draft> create(const Model& target, const Tokenizer& target_tokenizer, const Model& model,
                              const Tokenizer* tokenizer, const Decoder::Options& options, const Executor& executor) {
    return no_throw([&]() -> Result<Draft> {
      TRITIUM_TRY(can_forget(target.spec, "model"));
      TRITIUM_TRY(can_forget(model.spec, "draft"));
      if (tokenizer != nullptr) {
        TRITIUM_TRY(same_vocabulary(target_tokenizer, *tokenizer));
      } else if (target.spec.vocab != model.spec.vocab) {
        return make_error(Errc::invalid_argument, "vocabularies differ", "draft",
                          std::to_string(target.spec.vocab) + " logits", std::to_string(model.spec.vocab));
      }
      Draft draft;
      TRITIUM_ASSIGN(draft.decoder_, Decoder::create(model, options, executor));
      TRITIUM_ASSIGN(draft.logits_, Array<float>::allocate(model.spec.vocab));
      draft.usable_ = std::min({target.spec.vocab, model.spec.vocab, target_tokenizer.size()});
      draft.read_.reserve(draft.decoder_->context());
      return draft;
    });
  }

  [[nodiscard]] const Decoder& decoder() const { return *decoder_; }  ///< Of the draft: its model, its cache.

  /// Reads what is new in `text`, so that a guess at its continuation costs the guessed tokens only. `cancelled` is asked
  /// between batches. False when the text is not read: cancelled, longer than the draft's context, or with ids that it
  /// lacks. Errors: as Decoder::forward, leaving an empty text.
  Result<bool> read(std::span<const std::int32_t> text, const std::function<bool()>& cancelled = {}) {
    return follow(text, 0, Decoder::Logits::none, cancelled);
  }

  /// Replaces `guess` by up to `most` tokens that may follow `text`; fewer, or none, where the draft's context ends.
  /// Errors: as Decoder::forward.
  Status guess(std::span<const std::int32_t> text, std::size_t most, std::vector<std::int32_t>& guess) {
    guess.clear();
    if (text.empty() || text.size() > decoder_->context()) return {};
    most = std::min(most, decoder_->context() - text.size() + 1);  // the last guess is not read
    if (most == 0) return {};
    TRITIUM_ASSIGN(const bool ready, follow(text, most - 1, Decoder::Logits::last, {}));
    if (!ready) return {};
    for (;;) {
      const float* const first = logits_.data();
      const auto id = static_cast<std::int32_t>(std::max_element(first, first + usable_) - first);
      guess.push_back(id);
      if (guess.size() == most) return {};
      TRITIUM_TRY(step({&id, 1}, Decoder::Logits::last));
    }
  }

 private:
  Draft() = default;

  /// Reads `text` where it differs from what was read, at least its last token; `ahead` tokens are going to follow.
  Result<bool> follow(std::span<const std::int32_t> text, std::size_t ahead, Decoder::Logits wanted,
                      const std::function<bool()>& cancelled) {
    if (text.empty() || text.size() + ahead > decoder_->context()) return false;
    std::size_t keep = 0;
    while (keep < read_.size() && keep + 1 < text.size() && read_[keep] == text[keep]) ++keep;
    const auto known = [&](std::int32_t id) { return id >= 0 && static_cast<std::size_t>(id) < logits_.size(); };
    if (!std::ranges::all_of(text.subspan(keep), known)) return false;
    if (!decoder_->rewind(keep)) keep = start_clean();
    TRITIUM_ASSIGN(const bool ready, decoder_->prepare(text.size() + ahead));
    if (!ready) {  // the other set of rotary frequencies from here on
      keep = start_clean();
      TRITIUM_TRY(decoder_->prepare(text.size() + ahead));
    }
    read_.resize(keep);
    for (std::size_t at = keep; at < text.size();) {
      if (cancelled && cancelled()) return false;
      const std::size_t n = std::min(decoder_->max_batch(), text.size() - at);
      TRITIUM_TRY(step(text.subspan(at, n), at + n == text.size() ? wanted : Decoder::Logits::none));
      at += n;
    }
    return true;
  }

  Status step(std::span<const std::int32_t> tokens, Decoder::Logits wanted) {
    Status status = decoder_->forward(tokens, wanted, logits_.data());
    if (!status.ok()) {  // the cache may hold a part of the batch
      start_clean();
      return status;
    }
    read_.insert(read_.end(), tokens.begin(), tokens.end());
    return {};
  }

  std::size_t start_clean() {
    read_.clear();
    (void)decoder_->rewind(0);
    return 0;
  }

  std::unique_ptr<Decoder> decoder_;
  std::vector<std::int32_t> read_;  // what the decoder holds
  Array<float> logits_;             // of its last token
  std::size_t usable_ = 0;          // ids that a guess may have
};

TRITIUM_NAMESPACE_END
