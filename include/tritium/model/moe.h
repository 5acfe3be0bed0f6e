// SPDX-License-Identifier: Apache-2.0
// Mixture of experts: routing, and the chosen experts' matrices in two parallel regions.
//
// Rows are gathered by expert, so that each expert multiplies all of its tokens at once and only chosen experts are read.
// One token with k experts and a prompt of hundreds take the same path: a list of (expert, its rows).
//
//   softmax         p = softmax(s); the k largest p; weights p, or p / sum of the chosen when renormalised
//   sparse_mixer    i1 = argmax s, w1 = exp(s_i1) / sum of exp(s_j) over j with (m - s_j) / max(|s_j|, m) <= 2 jitter;
//                   the same again without i1
// Ties go to the smaller index. A router may read other rows than the experts, and experts may have scales of their own.
// Sources: transformers modeling_qwen2_moe.py, modeling_qwen3_moe.py, modeling_phimoe.py, modeling_gemma4.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

/// An expert that a row goes to.
struct ExpertChoice {
  std::size_t expert = 0;  ///< its number
  float weight = 0;        ///< of its result in the mixture
};

namespace detail {

inline std::size_t largest(const float* s, std::size_t n) {
  return static_cast<std::size_t>(std::max_element(s, s + n) - s);
}

/// Softmax weight of entry `best` among those near it.
inline float sparse_mixer_weight(const float* s, std::size_t n, std::size_t best, float jitter) {
  const float m = s[best];
  double sum = 0;
  for (std::size_t j = 0; j < n; ++j) {
    if (s[j] == -HUGE_VALF) continue;  // chosen before
    const float distance = (m - s[j]) / std::max(std::fabs(s[j]), m);
    if (!(distance > 2.0f * jitter))
      sum += std::exp(static_cast<double>(s[j]) - static_cast<double>(m));  // 0 / 0 keeps it
  }
  return static_cast<float>(1.0 / sum);
}

}  // namespace detail

/// The experts of one token and their weights: spec.top_k entries at `out`. `s`: n_experts router logits, changed.
inline void choose_experts(const MoeSpec& spec, float* s, ExpertChoice* out) {
  const std::size_t n = spec.n_experts;
  if (spec.router == Router::sparse_mixer) {
    for (std::size_t i = 0; i < spec.top_k; ++i) {
      const std::size_t best = detail::largest(s, n);
      out[i] = {best, detail::sparse_mixer_weight(s, n, best, spec.jitter)};
      s[best] = -HUGE_VALF;
    }
    return;
  }
  const float top = *std::max_element(s, s + n);
  double mass = 0;
  for (std::size_t j = 0; j < n; ++j) mass += std::exp(static_cast<double>(s[j]) - static_cast<double>(top));
  double chosen = 0;
  for (std::size_t i = 0; i < spec.top_k; ++i) {
    const std::size_t best = detail::largest(s, n);
    const double p = std::exp(static_cast<double>(s[best]) - static_cast<double>(top)) / mass;
    out[i] = {best, static_cast<float>(p)};
    chosen += p;
    s[best] = -HUGE_VALF;
  }
  if (spec.router != Router::softmax_renorm) return;
  for (std::size_t i = 0; i < spec.top_k; ++i)
    out[i].weight = static_cast<float>(static_cast<double>(out[i].weight) / chosen);
}

/// The mixture layers of a decoder: buffers for one batch. Without such layers it is empty.
class Moe {
 public:
  /// Errors: out_of_memory.
  static Result<Moe> create(const ModelSpec& spec, std::size_t max_batch) {
    return no_throw([&]() -> Result<Moe> {
      Moe moe;
      if (spec.moe.n_experts == 0) return moe;
      moe.spec_ = &spec;
      const std::size_t slots = max_batch * spec.moe.top_k;
      const std::size_t width = std::max(spec.moe.ffn_dim, spec.moe.shared_ffn_dim);
      TRITIUM_ASSIGN(moe.x_, Array<float>::allocate(max_batch * spec.hidden));
      TRITIUM_ASSIGN(moe.router_, Array<float>::allocate(max_batch * spec.moe.n_experts));
      TRITIUM_ASSIGN(moe.mid_, Array<float>::allocate((slots + max_batch) * width));
      TRITIUM_ASSIGN(moe.gate_, Array<float>::allocate((slots + max_batch) * width));
      TRITIUM_ASSIGN(moe.out_, Array<float>::allocate((slots + max_batch) * spec.hidden));
      TRITIUM_ASSIGN(moe.shared_gate_, Array<float>::allocate(max_batch));
      moe.choices_.resize(slots);
      moe.row_of_slot_.resize(slots);
      moe.slot_of_choice_.resize(slots);
      moe.width_ = width;
      return moe;
    });
  }

  /// Rows that a workspace must take in one projection.
  static std::size_t gathered_rows(const ModelSpec& spec, std::size_t max_batch) {
    return spec.moe.n_experts == 0 ? max_batch : max_batch * (spec.moe.top_k + 1);
  }

  /// y_r += the mixture of m rows x that row(r, out) produces (hidden floats each).
  template <class Row>
  void run(Workspace& workspace, const MoeWeights& w, std::size_t m, Row&& row, float* y, std::size_t y_stride) {
    const std::size_t hidden = spec_->hidden;
    const auto same = [&](std::size_t r, float* out) {
      std::memcpy(out, x_.data() + r * hidden, hidden * sizeof(float));
    };
    run(workspace, w, m, row, same, y, y_stride);
  }

  /// The same, routed by the rows that routed(r, out) produces.
  template <class Row, class Routed>
  void run(Workspace& workspace, const MoeWeights& w, std::size_t m, Row&& row, Routed&& routed, float* y,
           std::size_t y_stride) {
    const ModelSpec& spec = *spec_;
    const MoeSpec& moe = spec.moe;
    const KernelTable& kernels = workspace.kernels();
    workspace.for_rows(m, [&](std::size_t r) { row(r, x_.data() + r * spec.hidden); });
    route(workspace, w, m, routed);

    // gate and up: tokens for the shared expert first, then the gathered rows of each expert
    const bool shared = static_cast<bool>(w.shared_down);
    const std::size_t base = shared ? m : 0;
    const std::size_t n_rows = base + m * moe.top_k;
    const auto source = [&](std::size_t r) { return r < base ? r : row_of_slot_[r - base]; };
    const auto copy_row = [&](std::size_t r, float* out) {
      std::memcpy(out, x_.data() + source(r) * spec.hidden, spec.hidden * sizeof(float));
    };
    outputs_.clear();
    if (shared) append_mlp(w.shared_gate_up, w.shared_gate, w.shared_up, 0, m, moe.shared_ffn_dim);
    for (std::size_t e = 0; e < moe.n_experts; ++e) {
      if (first_slot_[e] == first_slot_[e + 1]) continue;
      const ExpertWeights& x = w.experts[e];
      append_mlp(x.gate_up, x.gate, x.up, base + first_slot_[e], first_slot_[e + 1] - first_slot_[e], moe.ffn_dim);
    }
    workspace.project(n_rows, spec.hidden, copy_row, outputs_);

    // down: every row's own middle
    const auto expert_of = [&](std::size_t r) -> const ExpertWeights* {
      if (r < base) return nullptr;
      const auto e = std::upper_bound(first_slot_.begin(), first_slot_.end(), r - base) - first_slot_.begin() - 1;
      return &w.experts[static_cast<std::size_t>(e)];
    };
    if (shared) {
      down(
          workspace, w.shared_gate ? &gate_ : nullptr, 0, m, moe.shared_ffn_dim, kernels,
          [&](std::size_t) { return !!w.shared_gate; }, [&] { append_down(w.shared_down, 0, m); });
    }
    down(
        workspace, &gate_, base, m * moe.top_k, moe.ffn_dim, kernels,
        [&](std::size_t r) { return static_cast<bool>(expert_of(base + r)->gate); },
        [&] {
          for (std::size_t e = 0; e < moe.n_experts; ++e) {
            if (first_slot_[e] != first_slot_[e + 1])
              append_down(w.experts[e].down, base + first_slot_[e], first_slot_[e + 1] - first_slot_[e], base);
          }
        });
    workspace.for_rows(m, [&](std::size_t r) {
      float* to = y + r * y_stride;
      for (std::size_t i = 0; i < moe.top_k; ++i) {  // in the order of choice: the same sum however rows were gathered
        const std::size_t slot = slot_of_choice_[r * moe.top_k + i];
        kernels.add_scaled(out_.data() + (base + slot) * spec.hidden, choices_[r * moe.top_k + i].weight, spec.hidden,
                           to);
      }
      if (shared) {
        const float weight = w.shared_router ? 1.0f / (1.0f + std::exp(-shared_gate_[r])) : 1.0f;
        kernels.add_scaled(out_.data() + r * spec.hidden, weight, spec.hidden, to);
      }
    });
  }

  /// The experts that row r of the last run chose.
  [[nodiscard]] std::span<const ExpertChoice> choices(std::size_t r) const {
    return std::span(choices_).subspan(r * spec_->moe.top_k, spec_->moe.top_k);
  }

 private:
  template <class Routed>
  void route(Workspace& workspace, const MoeWeights& w, std::size_t m, Routed&& routed) {
    const ModelSpec& spec = *spec_;
    const MoeSpec& moe = spec.moe;
    outputs_.clear();
    append_outputs(outputs_, w.router, {router_.data(), m, moe.n_experts});
    if (w.shared_router) append_outputs(outputs_, w.shared_router, {shared_gate_.data(), m, 1});
    // Routing decides discretely: its input is quantised twice, so that near ties fall as in float.
    workspace.project(m, spec.hidden, routed, outputs_, true);
    first_slot_.assign(moe.n_experts + 1, 0);
    for (std::size_t r = 0; r < m; ++r) {
      choose_experts(moe, router_.data() + r * moe.n_experts, choices_.data() + r * moe.top_k);
      for (std::size_t i = 0; i < moe.top_k; ++i) {
        ExpertChoice& choice = choices_[r * moe.top_k + i];
        if (!w.expert_scale.empty()) choice.weight *= w.expert_scale[choice.expert];
        ++first_slot_[choice.expert + 1];
      }
    }
    for (std::size_t e = 0; e < moe.n_experts; ++e) first_slot_[e + 1] += first_slot_[e];
    next_slot_.assign(first_slot_.begin(), first_slot_.end());
    for (std::size_t c = 0; c < m * moe.top_k; ++c) {
      const std::size_t slot = next_slot_[choices_[c].expert]++;
      slot_of_choice_[c] = slot;
      row_of_slot_[slot] = c / moe.top_k;
    }
  }

  [[nodiscard]] MatrixView<float> rows_of(Array<float>& buffer, std::size_t first, std::size_t rows,
                                          std::size_t width) const {
    return {buffer.data() + first * width_, rows, width, width_};
  }

  void append_mlp(const Linear& gate_up, const Linear& gate, const Linear& up, std::size_t first, std::size_t rows,
                  std::size_t width) {
    const std::size_t begin = outputs_.size();
    Epilogue epilogue;
    if (!gate) epilogue.activation = spec_->activation;
    epilogue.gated = static_cast<bool>(gate_up);
    append_outputs(outputs_, gate_up ? gate_up : up, rows_of(mid_, first, rows, width), epilogue);
    if (gate) append_outputs(outputs_, gate, rows_of(gate_, first, rows, width));
    for (std::size_t i = begin; i < outputs_.size(); ++i) {
      outputs_[i].first_row = first;
      outputs_[i].rows = rows;
    }
  }

  void append_down(const Linear& w, std::size_t first, std::size_t rows, std::size_t base = 0) {
    const std::size_t begin = outputs_.size();
    append_outputs(outputs_, w, {out_.data() + first * spec_->hidden, rows, spec_->hidden});
    for (std::size_t i = begin; i < outputs_.size(); ++i) {
      outputs_[i].first_row = first - base;
      outputs_[i].rows = rows;
    }
  }

  template <class Gated, class Append>
  void down(Workspace& workspace, Array<float>* gate, std::size_t first, std::size_t rows, std::size_t width,
            const KernelTable& kernels, Gated&& gated, Append&& append) {
    outputs_.clear();
    append();
    workspace.project(
        rows, width,
        [&](std::size_t r, float* out) {
          const float* up = mid_.data() + (first + r) * width_;
          if (gate != nullptr && gated(r))
            kernels.gate(spec_->activation, gate->data() + (first + r) * width_, up, width, out);
          else std::memcpy(out, up, width * sizeof(float));
        },
        outputs_);
  }

  const ModelSpec* spec_ = nullptr;
  std::size_t width_ = 0;  // floats from one middle row to the next
  Array<float> x_, router_, mid_, gate_, out_, shared_gate_;
  std::vector<ExpertChoice> choices_;                // (row, top_k)
  std::vector<std::size_t> row_of_slot_;             // token of each gathered row
  std::vector<std::size_t> slot_of_choice_;          // gathered row of each choice
  std::vector<std::size_t> first_slot_, next_slot_;  // of each expert
  std::vector<MatmulOutput> outputs_;
};

TRITIUM_NAMESPACE_END
