// SPDX-License-Identifier: Apache-2.0
// DeltaNet: the recurrent mixer of hybrid models. A fixed state instead of a cache that grows with the context.
//
//   u = W x -> [q | k | v] through a causal convolution and SiLU;  q, k L2-normalised a head, q scaled by k_dim^-1/2
//   beta = sigmoid(b),  decay = exp(-exp(A_log) softplus(a + dt_bias));  S and o by the delta rule (simd/delta_net-inl.h)
//   out = RMS(o; norm) * silu(z) for each value head
// The recurrence runs token by token for each head, so a batch gives the same floats as its tokens one by one. A state
// cannot forget its last tokens: rewinding means starting again.
// Source: transformers modeling_qwen3_next.py, modeling_qwen3_5.py.
#pragma once

#include <cmath>
#include <vector>

#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

/// The recurrent layers of a decoder: buffers for one batch. Without such layers it is empty.
class DeltaNet {
 public:
  /// Errors: out_of_memory.
  static Result<DeltaNet> create(const ModelSpec& spec, std::size_t max_batch) {
    return no_throw([&]() -> Result<DeltaNet> {
      DeltaNet d;
      d.spec_ = &spec;
      const DeltaNetSpec& s = spec.delta_net;
      for (const LayerSpec& l : spec.layers) {
        State state;
        if (l.mixer == Mixer::delta_net) {
          TRITIUM_ASSIGN(state.memory, Array<float>::allocate_zeroed(s.n_v_heads * s.k_dim * s.v_dim));
          TRITIUM_ASSIGN(state.inputs, Array<float>::allocate_zeroed((s.kernel - 1) * s.conv_width()));
          d.any_ = true;
        }
        d.states_.push_back(std::move(state));
      }
      if (!d.any_) return d;
      TRITIUM_ASSIGN(d.u_, Array<float>::allocate((max_batch + s.kernel - 1) * s.conv_width()));
      TRITIUM_ASSIGN(d.c_, Array<float>::allocate(max_batch * s.conv_width()));
      TRITIUM_ASSIGN(d.z_, Array<float>::allocate(max_batch * s.v_width()));
      TRITIUM_ASSIGN(d.ba_, Array<float>::allocate(max_batch * 2 * s.n_v_heads));
      TRITIUM_ASSIGN(d.o_, Array<float>::allocate(max_batch * s.v_width()));
      return d;
    });
  }

  [[nodiscard]] bool any() const { return any_; }  ///< Whether the model has such layers.

  /// Forgets everything.
  void reset() {
    for (State& s : states_) {
      if (!s.memory.empty()) std::memset(s.memory.data(), 0, s.memory.size() * sizeof(float));
      if (!s.inputs.empty()) std::memset(s.inputs.data(), 0, s.inputs.size() * sizeof(float));
    }
  }

  /// The projections of m rows; the caller runs them.
  void append(const DeltaNetWeights& w, std::size_t m, std::vector<MatmulOutput>& outputs) {
    const DeltaNetSpec& s = spec_->delta_net;
    append_outputs(outputs, w.qkv, {u_.data() + (s.kernel - 1) * s.conv_width(), m, s.conv_width()});
    append_outputs(outputs, w.z, {z_.data(), m, s.v_width()});
    append_outputs(outputs, w.ba, {ba_.data(), m, 2 * s.n_v_heads});
  }

  /// After append()'s projections: the recurrence of m tokens.
  void run(Workspace& workspace, const DeltaNetWeights& w, std::size_t layer, std::size_t m) {
    const DeltaNetSpec& s = spec_->delta_net;
    const KernelTable& kernels = workspace.kernels();
    State& state = states_[layer];
    const std::size_t width = s.conv_width();
    const std::size_t history = s.kernel - 1;
    std::memcpy(u_.data(), state.inputs.data(), history * width * sizeof(float));
    workspace.for_rows(m, [&](std::size_t r) {
      const float* taps[kMaxTaps];
      for (std::size_t j = 0; j < s.kernel; ++j) taps[j] = u_.data() + (r + j) * width;
      float* c = c_.data() + r * width;
      kernels.conv_silu(taps, w.conv.data(), s.kernel, width, c);
      for (std::size_t h = 0; h < 2 * s.n_k_heads; ++h) {
        float* x = c + h * s.k_dim;
        double squares = 0;
        for (std::size_t i = 0; i < s.k_dim; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        float scale = static_cast<float>(1.0 / std::sqrt(squares + 1e-6));
        if (h < s.n_k_heads) scale *= 1.0f / std::sqrt(static_cast<float>(s.k_dim));
        kernels.scale(x, scale, s.k_dim);
      }
    });
    std::memcpy(state.inputs.data(), u_.data() + m * width, history * width * sizeof(float));
    const std::size_t threads = workspace.context().n_threads();
    workspace.context().executor().run([&](std::size_t t) {
      const Range heads = split_range(s.n_v_heads, threads, t);
      for (std::size_t h = heads.begin; h < heads.end; ++h) {
        const std::size_t kh = s.tiled_value_heads ? h % s.n_k_heads : h / (s.n_v_heads / s.n_k_heads);
        for (std::size_t r = 0; r < m; ++r) {
          const float* c = c_.data() + r * width;
          const float b = ba_[r * 2 * s.n_v_heads + h];
          const float a = ba_[r * 2 * s.n_v_heads + s.n_v_heads + h] + w.dt_bias[h];
          const float softplus = a > 20.0f ? a : std::log1p(std::exp(a));
          DeltaStep step;
          step.state = state.memory.data() + h * s.k_dim * s.v_dim;
          step.k_dim = s.k_dim;
          step.v_dim = s.v_dim;
          step.q = c + kh * s.k_dim;
          step.k = c + s.qk_width() + kh * s.k_dim;
          step.v = c + 2 * s.qk_width() + h * s.v_dim;
          step.beta = 1.0f / (1.0f + std::exp(-b));
          step.decay = std::exp(w.minus_exp_a[h] * softplus);
          step.out = o_.data() + r * s.v_width() + h * s.v_dim;
          kernels.delta_rule(step);
        }
      }
    });
  }

  /// Row r of the mixer's result: v_width floats. Pure.
  void row(const KernelTable& kernels, const DeltaNetWeights& w, std::size_t r, float* out) const {
    const DeltaNetSpec& s = spec_->delta_net;
    for (std::size_t h = 0; h < s.n_v_heads; ++h) {
      const std::size_t at = r * s.v_width() + h * s.v_dim;
      kernels.rms_norm(o_.data() + at, w.norm.weight.data(), s.v_dim, spec_->norm_eps, out + h * s.v_dim);
    }
    kernels.gate(Activation::silu, z_.data() + r * s.v_width(), out, s.v_width(), out);
  }

 private:
  static constexpr std::size_t kMaxTaps = 8;
  struct State {
    Array<float> memory;  // (v_head, k_dim, v_dim)
    Array<float> inputs;  // (kernel - 1, conv_width): the last inputs of the convolution
  };

  const ModelSpec* spec_ = nullptr;
  bool any_ = false;
  std::vector<State> states_;
  Array<float> u_;   // (kernel - 1 + batch, conv_width): before the convolution
  Array<float> c_;   // (batch, conv_width): behind it
  Array<float> z_;   // (batch, v_width)
  Array<float> ba_;  // (batch, 2 n_v_heads): b of all heads, then a
  Array<float> o_;   // (batch, v_width)
};

TRITIUM_NAMESPACE_END
