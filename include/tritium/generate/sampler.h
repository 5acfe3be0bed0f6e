// SPDX-License-Identifier: Apache-2.0
// Sampler: from logits to one token id.
//
// The steps run in the order of transformers' warpers, each on what the one before left:
//   1 repetition   a token of the last repeat_last: logit / penalty if positive, logit * penalty if not
//   2 temperature  p = softmax(logits / temperature); 0 (or greedy) takes the largest logit, the smallest id on a tie
//   3 top-k        the k most probable tokens
//   4 top-p        the fewest of them, most probable first, that hold at least top_p of their mass
//   5 min-p        those at least min_p times as probable as the most probable
//   6 draw         proportional to p, by a generator of our own: the same seed gives the same text everywhere
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "tritium/core/no_throw.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN

/// How a token is chosen. Steps that are off cost nothing.
struct SamplerOptions {
  float temperature = 0.8f;      ///< divides logits; 0: always the most probable token
  std::size_t top_k = 40;        ///< 0: all
  float top_p = 0.95f;           ///< 1: all
  float min_p = 0.05f;           ///< 0: all
  float repeat_penalty = 1.0f;   ///< 1: none
  std::size_t repeat_last = 64;  ///< how many of the last tokens repeat_penalty looks at
  std::uint64_t seed = 0;        ///< the same one gives the same choices
  bool greedy = false;           ///< always the most probable token
};

/// Errors: invalid_argument, naming the option, what it may be and what it is.
inline Status check(const SamplerOptions& o) {
  const auto bad = [](std::string_view what, std::string_view expected, float found) {
    return make_error(Errc::invalid_argument, "bad sampling option", what, expected, std::to_string(found));
  };
  if (!(o.temperature >= 0.0f && o.temperature <= 1e6f)) return bad("temp", "0 to 1000000", o.temperature);
  if (!(o.top_p >= 0.0f && o.top_p <= 1.0f)) return bad("top-p", "0 to 1", o.top_p);
  if (!(o.min_p >= 0.0f && o.min_p <= 1.0f)) return bad("min-p", "0 to 1", o.min_p);
  if (!(o.repeat_penalty > 0.0f && o.repeat_penalty <= 1e6f))
    return bad("repeat-penalty", "more than 0, up to 1000000", o.repeat_penalty);
  return {};
}

/// Chooses ids by the options, from its own random numbers. One thread at a time.
class Sampler {
 public:
  /// `kernels` serve arg_max. Errors: invalid_argument, out_of_memory.
  static Result<Sampler> create(const SamplerOptions& options, const KernelTable& kernels, std::size_t vocab) {
    TRITIUM_TRY(check(options));
    return no_throw([&]() -> Result<Sampler> {
      Sampler sampler(options, kernels);
      sampler.candidates_.reserve(vocab);
      return sampler;
    });
  }

  /// How many of the largest logits decide; 0: all of them. What the repetition penalty pushes down makes room for as many others.
  [[nodiscard]] std::size_t decisive() const {
    const bool greedy = options_.greedy || options_.temperature == 0.0f;
    if ((!greedy && options_.top_k == 0) || options_.repeat_penalty < 1.0f) return 0;
    return (greedy ? 1 : options_.top_k) + (options_.repeat_penalty == 1.0f ? 0 : options_.repeat_last);
  }

  /// One id for logits of the whole vocabulary, which are changed by the repetition penalty. `history`: the ids so far.
  std::int32_t sample(std::span<float> logits, std::span<const std::int32_t> history) {
    penalize(logits, history);
    if (options_.greedy || options_.temperature == 0.0f || options_.top_k == 1) {
      return static_cast<std::int32_t>(kernels_->arg_max(logits.data(), logits.size()));
    }
    collect(logits);
    return draw();
  }

 private:
  struct Candidate {
    std::int32_t id;
    float logit;
    double p;
  };
  static bool more_probable(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  Sampler(const SamplerOptions& options, const KernelTable& kernels)
      : options_(options), kernels_(&kernels), state_(options.seed) {}

  void penalize(std::span<float> logits, std::span<const std::int32_t> history) {
    if (options_.repeat_penalty == 1.0f) return;
    const std::size_t n = std::min(options_.repeat_last, history.size());
    recent_.assign(history.end() - static_cast<std::ptrdiff_t>(n), history.end());
    std::sort(recent_.begin(), recent_.end());
    recent_.erase(std::unique(recent_.begin(), recent_.end()), recent_.end());
    for (const std::int32_t id : recent_) {
      float& logit = logits[static_cast<std::size_t>(id)];
      logit = logit > 0.0f ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
    }
  }

  // The k most probable tokens, most probable first; without a k, everything that is not certain to be dropped.
  void collect(std::span<const float> logits) {
    candidates_.clear();
    const std::size_t k = options_.top_k == 0 ? logits.size() : std::min(options_.top_k, logits.size());
    if (k < logits.size()) {  // a heap whose root is the least probable of the k: most logits fail one comparison
      float least = -HUGE_VALF;
      for (std::size_t i = 0; i < logits.size(); ++i) {
        if (candidates_.size() == k && !(logits[i] > least)) continue;
        if (candidates_.size() == k) {
          std::pop_heap(candidates_.begin(), candidates_.end(), &more_probable);
          candidates_.pop_back();
        }
        candidates_.push_back({static_cast<std::int32_t>(i), logits[i], 0.0});
        std::push_heap(candidates_.begin(), candidates_.end(), &more_probable);
        if (candidates_.size() == k) least = candidates_.front().logit;
      }
    } else {
      for (std::size_t i = 0; i < logits.size(); ++i)
        candidates_.push_back({static_cast<std::int32_t>(i), logits[i], 0.0});
    }
    std::sort(candidates_.begin(), candidates_.end(), &more_probable);
    const double top = candidates_.front().logit;
    double mass = 0;
    for (Candidate& c : candidates_)
      mass += c.p = std::exp((static_cast<double>(c.logit) - top) / static_cast<double>(options_.temperature));
    if (options_.top_p < 1.0f) {
      double held = 0;
      std::size_t keep = 0;
      while (keep < candidates_.size() && (keep == 0 || held < static_cast<double>(options_.top_p) * mass))
        held += candidates_[keep++].p;
      candidates_.resize(keep);
    }
    while (candidates_.size() > 1 && candidates_.back().p < static_cast<double>(options_.min_p)) candidates_.pop_back();
  }

  std::int32_t draw() {
    double mass = 0;
    for (const Candidate& c : candidates_) mass += c.p;
    double left = uniform() * mass;
    for (const Candidate& c : candidates_) {
      left -= c.p;
      if (left < 0) return c.id;
    }
    return candidates_.back().id;
  }

  // splitmix64: 53 random bits in [0, 1).
  double uniform() {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53;
  }

  SamplerOptions options_;
  const KernelTable* kernels_;
  std::uint64_t state_;
  std::vector<Candidate> candidates_;
  std::vector<std::int32_t> recent_;
};

TRITIUM_NAMESPACE_END
