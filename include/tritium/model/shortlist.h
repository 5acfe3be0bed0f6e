// SPDX-License-Identifier: Apache-2.0
// Shortlist: the largest logits of a head, exactly, from a narrower copy of it and a few of its panels.
//
//   y_i = w_i x,  c_i = v_i x,  v the head in fewer bits:  |y_i - c_i| <= |w_i - v_i| |x| = reach_i |x|     (Cauchy-Schwarz)
//
// The copy is multiplied whole. The head's panels with the n largest c_i are multiplied next; the n-th largest of their y_i is
// a floor. Whatever c_i + reach_i |x| leaves below the floor is not among the n largest; the panels of all else are multiplied.
// What comes out has the bits of the whole head. A head of 262,144 outputs in 8 bits reads 5.5 of 8.5 bits a weight and 3 % of its
// panels; where the list grows long (near-uniform logits), the copy is left alone for a while.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tritium/format/pack.h"
#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// How far a head's logit can be from w x, as a share of |w| |x|. Two parts of int8 activations leave at most max|x| / 254^2
/// of an input, hence sqrt(group) / 254^2 of a group's length; a float sum of k products at most k 2^-24 of its terms,
/// whose absolute values sum to |w| |x| at most, and so does that of the copy.
inline double shortlist_slack(const PackFormatInfo& head, std::size_t k) {
  const std::size_t group = head.activation_group() == 0 ? k : head.activation_group();
  const double activations = head.is_float ? 0.0 : std::sqrt(static_cast<double>(group)) / (254.0 * 254.0);
  return activations + 2.0 * static_cast<double>(k + 64) * 0x1p-24;
}

/// What the copy's activations, int8 in one part, may have lost of |x| before the bound grows: a little more than they lose of
/// normally distributed inputs.
inline constexpr double kShortlistLoss = 1.0 / 128;

/// A minimum under codes cancels in a sum: its rounding is not bounded by |w|.
inline bool has_minimum(const PackFormatInfo& f) {
  return !f.is_float &&
         (f.scales == ScaleKind::kGroupMin || f.scales == ScaleKind::kSuperMin || f.scales == ScaleKind::kSuperMin4);
}

}  // namespace detail

/// The copy of a head in `format`, and how far each of its outputs can be from the head's own. `vocab` rows.
/// Threads: panels are shared over the executor. Errors: invalid_argument (formats with minima, whose sums cancel; a copy that
/// is not narrower), out_of_memory.
inline Result<ShortlistWeights> make_shortlist(const PackedMatrix& head, PackFormat format, const Executor& executor) {
  const PackFormatInfo& from = head.format_info();
  const PackFormatInfo& to = info(format);
  if (detail::has_minimum(from) || detail::has_minimum(to) || to.is_float ||
      to.panel_bytes(head.k()) >= from.panel_bytes(head.k())) {
    return make_error(Errc::invalid_argument, "format of a shortlist", "shortlist",
                      "codes without a minimum, narrower than the head's " + std::string(from.name), to.name);
  }
  const std::size_t k = head.k();
  ShortlistWeights list;
  TRITIUM_ASSIGN(list.coarse, PackedMatrix::allocate(format, head.n(), k));
  TRITIUM_ASSIGN(list.reach, Array<float>::allocate(round_up(head.n(), kPanelRows)));
  const double slack = detail::shortlist_slack(from, k) + detail::kShortlistLoss;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  Status status;
  executor.run([&](std::size_t) {
    auto rows = Array<float>::allocate(kPanelRows * k);
    auto row = Array<float>::allocate(k);
    Status done = !rows.ok() ? Status(rows.error()) : !row.ok() ? Status(row.error()) : Status();
    while (done.ok() && !failed.load(std::memory_order_relaxed)) {
      const std::size_t p = next.fetch_add(1, std::memory_order_relaxed);
      if (p >= head.n_panels()) return;
      const std::size_t first = p * kPanelRows;
      const std::size_t n = std::min(kPanelRows, head.n() - first);
      for (std::size_t r = 0; r < n; ++r) head.decode_row(first + r, rows->data() + r * k);
      const StoredMatrix panel{TensorType::f32, reinterpret_cast<const std::byte*>(rows->data()), n, k};
      done = detail::pack_panel(panel, format, 0, row->data(), list.coarse.panel(p));
      for (std::size_t r = 0; done.ok() && r < n; ++r) {
        list.coarse.decode_row(first + r, row->data());
        double apart = 0, length = 0;
        for (std::size_t i = 0; i < k; ++i) {
          const double w = static_cast<double>((*rows)[r * k + i]);
          const double d = w - static_cast<double>((*row)[i]);
          apart += d * d;
          length += w * w;
        }
        apart = std::sqrt(apart);
        length = std::sqrt(length);
        list.reach[first + r] = static_cast<float>(1.0001 * (apart + (length + apart) * slack));
      }
    }
    if (!done.ok() && !failed.exchange(true)) status = std::move(done);
  });
  if (failed.load()) return std::move(status).error();
  return list;
}

/// The state of one decoder's shortlisting.
class Shortlist {
 public:
  /// Errors: out_of_memory.
  static Result<Shortlist> create(const ShortlistWeights& weights, std::size_t n_threads) {
    return no_throw([&]() -> Result<Shortlist> {
      Shortlist s;
      if (weights.coarse.empty()) return s;
      s.weights_ = &weights;
      const std::size_t k = weights.coarse.k();
      const std::size_t group = weights.coarse.format_info().activation_group();
      TRITIUM_ASSIGN(s.x_, Array<float>::allocate(k));
      TRITIUM_ASSIGN(s.codes_, AlignedBuffer::allocate(q8_bytes(1, k, group)));
      s.rounded_ = Q8Rows::bind(s.codes_.data(), 1, k, group);
      s.threads_.resize(n_threads);
      for (std::size_t t = 0; t < n_threads; ++t)
        s.threads_[t].panels.resize(split_range(weights.coarse.n_panels(), n_threads, t).size());
      return s;
    });
  }

  [[nodiscard]] bool any() const { return weights_ != nullptr; }  ///< Whether there is a copy to look through.

  /// y = head x for one row x, exact wherever y can be among its `top` largest, and smaller than those everywhere else. `row` as
  /// Workspace::project() takes it. False: the copy did not narrow the last rows down, nothing was computed.
  template <class Row>
  bool run(Workspace& workspace, const MatmulOutput& head, std::size_t top, Row&& row) {
    if (rest_ != 0) {
      --rest_;
      return false;
    }
    const std::size_t k = weights_->coarse.k();
    MatmulOutput coarse = head;
    coarse.w = &weights_->coarse;
    workspace.project(1, k, row, {&coarse, 1});
    row(0, x_.data());
    const KernelTable& kernels = workspace.kernels();
    const float norm = length(kernels);
    const std::span<float> y(head.y.data, weights_->coarse.n());

    find_largest(workspace, y, std::min(top, y.size()));
    workspace.project_panels(k, row, head, [&](std::size_t t) { return first_panels(t); });
    float floor = HUGE_VALF;
    for (const Found& f : largest_) floor = std::min(floor, y[f.index]);
    workspace.project_panels(k, row, head, [&](std::size_t t) -> std::span<const std::uint32_t> {
      const Range part = split_range(weights_->coarse.n_panels(), threads_.size(), t);
      const std::size_t first = part.begin * kPanelRows;
      const std::size_t n = std::min(part.end * kPanelRows, y.size()) - std::min(first, y.size());
      std::vector<std::uint32_t>& panels = threads_[t].panels;
      const std::size_t found =
          n == 0 ? 0
                 : kernels.shortlist(y.data() + first, weights_->reach.data() + first, norm, floor, n, panels.data());
      for (std::size_t i = 0; i < found; ++i) panels[i] += static_cast<std::uint32_t>(part.begin);
      threads_[t].found = found;
      return {panels.data(), found};
    });
    std::size_t found = 0;
    for (const Thread& thread : threads_) found += thread.found;
    if (found * kWorthwhile > weights_->coarse.n_panels()) rest_ = kRest;
    return true;
  }

 private:
  struct Found {
    float value;
    std::uint32_t index;
  };
  struct Thread {
    std::vector<Found> largest;         // of this thread's outputs, by their coarse values
    std::vector<std::uint32_t> panels;  // to multiply
    std::size_t found = 0;
  };
  static constexpr std::size_t kWorthwhile =
      4;                                    // a list of more than a quarter of the panels costs what the copy saves
  static constexpr std::size_t kRest = 16;  // rows that then take the whole head

  /// A number L with |w - v| |x| + |w| |x - x'| <= reach L for the x in x_ and the x' that the copy multiplies.
  float length(const KernelTable& kernels) {
    kernels.quantize_rows(x_.data(), 0, rounded_, 0, 1);
    double given = 0, taken = 0, lost = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      const auto x = static_cast<double>(x_[i]);
      const auto scale = static_cast<double>(rounded_.scales[rounded_.group == 0 ? 0 : i / rounded_.group]);
      const double rounded = scale * static_cast<double>(rounded_.codes[i]);
      given += x * x;
      taken += rounded * rounded;
      lost += (x - rounded) * (x - rounded);
    }
    const double most = std::max({std::sqrt(given), std::sqrt(taken), std::sqrt(lost) / detail::kShortlistLoss});
    return static_cast<float>(1.0001 * most);
  }

  static bool larger(const Found& a, const Found& b) {
    return a.value != b.value ? a.value > b.value : a.index < b.index;
  }

  /// The indices of the `top` largest values to largest_, and their panels, each once, to first_.
  void find_largest(Workspace& workspace, std::span<const float> y, std::size_t top) {
    workspace.context().executor().run([&](std::size_t t) {
      const Range part = split_range(y.size(), threads_.size(), t, kPanelRows);
      std::vector<Found>& heap = threads_[t].largest;
      heap.clear();
      if (part.empty()) return;
      if (top == 1) {
        const std::size_t at = part.begin + workspace.kernels().arg_max(y.data() + part.begin, part.size());
        heap.push_back({y[at], static_cast<std::uint32_t>(at)});
        return;
      }
      for (std::size_t i = part.begin; i < part.end; ++i) {
        if (heap.size() == top ? !(y[i] > heap.front().value) : std::isnan(y[i])) continue;
        if (heap.size() == top) {
          std::pop_heap(heap.begin(), heap.end(), &larger);
          heap.pop_back();
        }
        heap.push_back({y[i], static_cast<std::uint32_t>(i)});
        std::push_heap(heap.begin(), heap.end(), &larger);
      }
    });
    largest_.clear();
    for (const Thread& thread : threads_) largest_.insert(largest_.end(), thread.largest.begin(), thread.largest.end());
    std::sort(largest_.begin(), largest_.end(), &larger);
    largest_.resize(std::min(top, largest_.size()));
    first_.clear();
    for (const Found& f : largest_) first_.push_back(f.index / kPanelRows);
    std::sort(first_.begin(), first_.end());
    first_.erase(std::unique(first_.begin(), first_.end()), first_.end());
  }
  [[nodiscard]] std::span<const std::uint32_t> first_panels(std::size_t t) const {
    const Range part = split_range(first_.size(), threads_.size(), t);
    return std::span(first_).subspan(part.begin, part.size());
  }

  const ShortlistWeights* weights_ = nullptr;
  Array<float> x_;
  AlignedBuffer codes_;
  Q8Rows rounded_;  // x_ as the copy multiplies it
  std::vector<Thread> threads_;
  std::vector<Found> largest_;
  std::vector<std::uint32_t> first_;
  std::size_t rest_ = 0;
};

TRITIUM_NAMESPACE_END
