// SPDX-License-Identifier: Apache-2.0
// Speculation: a small model proposes tokens, the large one checks all of them in one pass. Greedy, and exactly as without.
//
//   draft:  t_1 .. t_m, each its likeliest;   target: logits of the last token and t_1 .. t_m in one batch
//   t_i is kept while it is the target's own choice; the first that is not is replaced by it
// A batch gives the same bits as its tokens one by one, so what comes out is what the target alone would have said; only the
// number of its passes changes. Source: Leviathan et al. 2023 (speculative decoding), its greedy case.
#pragma once

#include <algorithm>
#include <vector>

#include "tritium/model/decoder.h"

TRITIUM_NAMESPACE_BEGIN

class Speculation {
 public:
  /// Both must outlive this, share a vocabulary and be at position 0. `drafted`: tokens proposed at a time.
  /// Errors: invalid_argument (vocabularies differ, nothing drafted, a model that cannot go back).
  static Result<Speculation> create(Decoder& target, Decoder& draft, std::size_t drafted) {
    return no_throw([&]() -> Result<Speculation> {
      if (target.model().spec.vocab != draft.model().spec.vocab) {
        return make_error(Errc::invalid_argument, "vocabularies differ", "draft",
                          std::to_string(target.model().spec.vocab), std::to_string(draft.model().spec.vocab));
      }
      for (const Decoder* decoder : {&target, &draft}) {
        for (const LayerSpec& l : decoder->model().spec.layers) {
          if (l.mixer != Mixer::attention)
            return Error{Errc::invalid_argument,
                         "speculation needs models that can forget tokens: a recurrent layer cannot"};
        }
      }
      if (drafted == 0 || drafted + 1 > std::min(target.max_batch(), draft.max_batch())) {
        return make_error(Errc::invalid_argument, "drafted tokens", "draft",
                          "1 to " + std::to_string(std::min(target.max_batch(), draft.max_batch()) - 1),
                          std::to_string(drafted));
      }
      Speculation s;
      s.target_ = &target;
      s.draft_ = &draft;
      s.drafted_ = drafted;
      s.logits_.resize((drafted + 1) * target.model().spec.vocab);
      return s;
    });
  }

  /// Appends at least one token to `ids`, and what else the draft guessed right. All but the last of `ids` may be in the caches.
  /// Errors: as Decoder::forward().
  Status step(std::vector<std::int32_t>& ids) {
    const std::size_t vocab = target_->model().spec.vocab;
    const std::size_t known = ids.size();
    const std::size_t room = std::min(target_->context(), draft_->context());
    const std::size_t m = known >= room ? 0 : std::min(drafted_, room - known);
    std::vector<std::int32_t> guess(ids);
    for (std::size_t i = 0; i < m; ++i) {
      TRITIUM_TRY(read(*draft_, guess, Decoder::Logits::last));
      guess.push_back(likeliest(0, vocab));
    }
    while (target_->position() + m + 1 < guess.size()) {  // a prompt: all but what is to be checked
      const std::size_t n = std::min(guess.size() - m - 1 - target_->position(), target_->max_batch());
      TRITIUM_TRY(target_->forward(std::span(guess).subspan(target_->position(), n), Decoder::Logits::none, nullptr));
    }
    TRITIUM_TRY(target_->forward(std::span(guess).subspan(target_->position()), Decoder::Logits::all, logits_.data()));
    std::size_t kept = 0;
    for (; kept < m && likeliest(kept, vocab) == guess[known + kept]; ++kept) ids.push_back(guess[known + kept]);
    ids.push_back(likeliest(kept, vocab));
    guessed_ += m;
    accepted_ += kept;
    for (Decoder* decoder : {target_, draft_}) {  // what was read of wrong guesses
      const std::size_t valid = std::min(decoder->position(), ids.size() - 1);
      if (!decoder->rewind(valid) && !decoder->rewind(0))
        return Error{Errc::invalid_argument, "the cache cannot go back"};
    }
    return {};
  }

  [[nodiscard]] std::size_t guessed() const { return guessed_; }
  [[nodiscard]] std::size_t accepted() const { return accepted_; }

 private:
  /// Reads what the decoder has not read of `ids`.
  Status read(Decoder& decoder, const std::vector<std::int32_t>& ids, Decoder::Logits wanted) {
    while (decoder.position() < ids.size()) {
      const std::size_t n = std::min(ids.size() - decoder.position(), decoder.max_batch());
      const bool last = decoder.position() + n == ids.size();
      TRITIUM_TRY(decoder.forward(std::span(ids).subspan(decoder.position(), n), last ? wanted : Decoder::Logits::none,
                                  logits_.data()));
    }
    return {};
  }
  [[nodiscard]] std::int32_t likeliest(std::size_t row, std::size_t vocab) const {
    const float* first = logits_.data() + row * vocab;
    return static_cast<std::int32_t>(std::max_element(first, first + vocab) - first);
  }

  Decoder* target_ = nullptr;
  Decoder* draft_ = nullptr;
  std::size_t drafted_ = 0;
  std::size_t guessed_ = 0, accepted_ = 0;
  std::vector<float> logits_;
};

TRITIUM_NAMESPACE_END
