// SPDX-License-Identifier: Apache-2.0
// Perplexity of a text under a model, and the divergence of its predictions from a saved run.
//
//   nll = -mean ln p(token | the ones before it in its window)    ppl = exp(nll)
//   error of ppl = ppl * sqrt(var(-ln p) / (n - 1))
//   divergence = mean over scored rows of sum P (ln P - ln Q), P the saved softmax, Q this one
//
// The text is cut into windows that know nothing of each other. Rule `window` scores every token of a window but its first,
// the last short window too; a BOS, where the model wants one, begins each window and counts into its length. Rule `half`
// scores the second half of whole windows, whose first token becomes BOS, as llama.cpp's tool does. Logits are made and used
// in pieces of bounded size: a row of a large vocabulary is a megabyte.
// Source of `half`: llama.cpp tools/perplexity, its rule; the error of a function of a mean by the delta method.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "tritium/model/decoder.h"

TRITIUM_NAMESPACE_BEGIN

/// Which tokens are scored: all but a window's first, or the second half of whole windows (as llama.cpp does).
enum class ScoreRule : std::uint8_t { window, half };

/// A token sequence cut into windows by a rule.
class ScoreWindows {
 public:
  static constexpr std::int32_t kNoBos = -1;  ///< the model wants no BOS

  /// Tokens of one forward pass.
  struct Window {
    std::vector<std::int32_t> tokens;  ///< a BOS first, where the model wants one
    std::size_t first_row = 0;         ///< rows [first_row, tokens.size() - 1) are scored: row r predicts tokens[r + 1]
    [[nodiscard]] std::size_t scored() const { return tokens.size() - 1 - first_row; }  ///< Rows that are scored.
  };

  /// `ids`: the text without BOS (rule window) or with it (half); `length`: tokens of a window; `bos` or kNoBos.
  /// Errors: invalid_argument (window too short for its rule), out_of_range (fewer tokens than one scored row needs).
  static Result<ScoreWindows> create(std::vector<std::int32_t> ids, std::size_t length, ScoreRule rule,
                                     std::int32_t bos) {
    ScoreWindows w;
    w.rule_ = rule;
    w.length_ = length;
    w.bos_ = bos;
    const std::size_t least_length = rule == ScoreRule::window ? 2 : 4;
    if (length < least_length) {
      return make_error(Errc::invalid_argument, "window is too short", "ctx",
                        "at least " + std::to_string(least_length) + " tokens", std::to_string(length));
    }
    const std::size_t least = rule == ScoreRule::half ? length : bos == kNoBos ? 2 : 1;
    if (ids.size() < least) {
      return make_error(Errc::out_of_range, "the text is too short to be scored", "text",
                        "at least " + std::to_string(least) + " tokens", std::to_string(ids.size()));
    }
    w.ids_ = std::move(ids);
    for (std::size_t i = 0; i < w.size(); ++i) w.scored_ += w.scored_rows(i);
    return w;
  }

  /// Windows.
  [[nodiscard]] std::size_t size() const {
    if (rule_ == ScoreRule::half) return ids_.size() / length_;
    const std::size_t n = div_up(ids_.size(), step());
    // Without a BOS a last window of one token has nothing to predict it.
    return bos_ == kNoBos && ids_.size() % step() == 1 ? n - 1 : n;
  }
  /// Rows that all windows score together.
  [[nodiscard]] std::size_t scored() const { return scored_; }
  [[nodiscard]] std::size_t length() const { return length_; }  ///< Tokens of a window.
  [[nodiscard]] ScoreRule rule() const { return rule_; }        ///< The rule of the cut.

  /// Window i < size().
  [[nodiscard]] Window window(std::size_t i) const {
    Window w;
    const bool whole = rule_ == ScoreRule::half;
    const std::size_t begin = i * step();
    const std::size_t end = std::min(begin + step(), ids_.size());
    if (bos_ != kNoBos && !whole) w.tokens.push_back(bos_);
    w.tokens.insert(w.tokens.end(), ids_.begin() + static_cast<std::ptrdiff_t>(begin),
                    ids_.begin() + static_cast<std::ptrdiff_t>(end));
    if (bos_ != kNoBos && whole) w.tokens[0] = bos_;
    w.first_row = whole ? length_ / 2 : 0;
    return w;
  }

 private:
  /// Tokens of the text that a window holds.
  [[nodiscard]] std::size_t step() const {
    return rule_ == ScoreRule::window && bos_ != kNoBos ? length_ - 1 : length_;
  }
  [[nodiscard]] std::size_t scored_rows(std::size_t i) const {
    if (rule_ == ScoreRule::half) return length_ - 1 - length_ / 2;
    const std::size_t text = std::min(step(), ids_.size() - i * step());
    return bos_ == kNoBos ? text - 1 : text;
  }

  ScoreRule rule_ = ScoreRule::window;
  std::size_t length_ = 0;
  std::int32_t bos_ = kNoBos;
  std::size_t scored_ = 0;
  std::vector<std::int32_t> ids_;
};

/// What score() compares, saves and asks.
struct ScoreOptions {
  /// Logits of the scored rows of an earlier run, (windows.scored(), vocab); empty: no comparison.
  std::span<const float> base;
  /// Takes the logits of the scored rows, whole rows in order, window by window.
  std::function<Status(std::span<const float> rows)> save;
  /// Asked between batches; true ends the work as cancelled.
  std::function<bool()> cancelled;
  std::function<void(std::size_t done, std::size_t total)> progress;  ///< in scored rows
};

/// How well a model predicts a text.
struct Score {
  std::size_t tokens = 0;            ///< scored
  double nll = 0;                    ///< mean, in nats
  double nll_error = 0;              ///< standard error of nll
  double ppl = 0;                    ///< exp(nll)
  double ppl_error = 0;              ///< standard error of ppl
  std::optional<double> divergence;  ///< mean, in nats
  std::optional<double> agreement;   ///< share of rows whose most probable token is the saved run's
};

/// Rows of logits that are made at once: at most 128 MiB of them.
inline std::size_t scored_rows_at_once(std::size_t vocab) {
  return std::clamp<std::size_t>((std::size_t{128} << 20) / (vocab * sizeof(float)), 1, 512);
}

/// Scores every window with `decoder`, whose context must hold windows.length() - 1 tokens; it is rewound before each.
/// Threads: the decoder's. Errors: as Decoder::forward, invalid_argument (size of `base`), invalid_file (`base`
/// is not finite), cancelled, those of `save`.
inline Result<Score> score(Decoder& decoder, const ScoreWindows& windows, const ScoreOptions& options = {}) {
  return no_throw([&]() -> Result<Score> {
    const std::size_t vocab = decoder.model().spec.vocab;
    const std::size_t total = windows.scored();
    if (!options.base.empty() && options.base.size() != total * vocab) {
      return make_error(Errc::invalid_argument, "saved logits are of another run", "saved logits",
                        std::to_string(total) + " rows of " + std::to_string(vocab),
                        std::to_string(options.base.size()) + " values");
    }
    const std::size_t rows_at_once = std::min(scored_rows_at_once(vocab), decoder.max_batch());
    TRITIUM_ASSIGN(Array<float> logits, Array<float>::allocate(rows_at_once * vocab));
    struct Row {
      double nll, divergence;
      bool agrees;
    };
    std::vector<Row> rows(total);
    const KernelTable& kernels = decoder.ops().kernels();
    const Executor& executor = decoder.ops().executor();
    std::size_t done = 0;
    for (std::size_t i = 0; i < windows.size(); ++i) {
      const ScoreWindows::Window window = windows.window(i);
      (void)decoder.rewind(0);
      for (std::size_t at = 0; at + 1 < window.tokens.size();) {
        if (options.cancelled && options.cancelled()) return Error{Errc::cancelled, "cancelled"};
        const bool scored = at >= window.first_row;
        const std::size_t end = scored ? window.tokens.size() - 1 : window.first_row;
        const std::size_t n = std::min(end - at, scored ? rows_at_once : decoder.max_batch());
        TRITIUM_TRY(decoder.forward(std::span(window.tokens).subspan(at, n),
                                    scored ? Decoder::Logits::all : Decoder::Logits::none, logits.data()));
        if (scored) {
          executor.run([&](std::size_t t) {
            const Range share = split_range(n, executor.n_threads, t);
            for (std::size_t r = share.begin; r < share.end; ++r) {
              const float* q = logits.data() + r * vocab;
              const double q_norm = kernels.log_sum_exp(q, vocab);
              Row row{q_norm - static_cast<double>(q[window.tokens[at + r + 1]]), 0.0, false};
              if (!options.base.empty()) {
                const float* p = options.base.data() + (done + r) * vocab;
                row.divergence = kernels.divergence(p, q, vocab, kernels.log_sum_exp(p, vocab), q_norm);
                row.agrees = kernels.arg_max(p, vocab) == kernels.arg_max(q, vocab);
              }
              rows[done + r] = row;
            }
          });
          if (options.save) TRITIUM_TRY(options.save(std::span<const float>(logits.data(), n * vocab)));
          done += n;
          if (options.progress) options.progress(done, total);
        }
        at += n;
      }
    }
    Score result;
    result.tokens = total;
    double sum = 0, divergence = 0;
    std::size_t agreeing = 0;
    for (const Row& row : rows) {
      sum += row.nll;
      divergence += row.divergence;
      agreeing += row.agrees ? 1 : 0;
    }
    const auto count = static_cast<double>(total);
    result.nll = sum / count;
    double variance = 0;
    for (const Row& row : rows) variance += (row.nll - result.nll) * (row.nll - result.nll) / count;
    result.nll_error = total > 1 ? std::sqrt(variance / (count - 1)) : 0.0;
    result.ppl = std::exp(result.nll);
    result.ppl_error = result.ppl * result.nll_error;
    if (!options.base.empty()) {
      if (!std::isfinite(divergence)) {
        return make_error(Errc::invalid_file, "saved logits are not finite", "saved logits", "finite numbers",
                          "NaN or Inf");
      }
      result.divergence = divergence / count;
      result.agreement = static_cast<double>(agreeing) / count;
    }
    return result;
  });
}

TRITIUM_NAMESPACE_END
