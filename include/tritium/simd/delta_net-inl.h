// SPDX-License-Identifier: Apache-2.0
// The gated delta rule: one recurrent step of one head, and the short causal convolution in front of it.
//
//   S <- decay * S;   delta = beta * (v - S^T k);   S <- S + k delta^T;   o = S^T q          S is (k_dim, v_dim), f32
//   c[ch] = silu(sum_j w[j][ch] * u_j[ch]),  u_j the last `taps` inputs
// Columns of S are independent: each vector of them goes down the rows twice, once to read and once to update, so S is
// touched twice a token. Sources: Yang et al. 2024 (gated delta networks); transformers modeling_qwen3_next.py.

#if defined(TRITIUM_SIMD_DELTA_NET_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_DELTA_NET_INL_H_
#undef TRITIUM_SIMD_DELTA_NET_INL_H_
#else
#define TRITIUM_SIMD_DELTA_NET_INL_H_
#endif

#include "tritium/simd/rowops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

/// NV vectors of columns from `column` on, or, when NV is 1, the first `count` lanes of one.
template <std::size_t NV>
HWY_INLINE void DeltaColumns(const DeltaStep& a, std::size_t column, std::size_t count = kLanes) {
  const VF decay = hn::Set(DF(), a.decay);
  VF known[NV];
  Unroll<NV>([&](auto c) TRITIUM_LAMBDA { known[c] = hn::Zero(DF()); });
  for (std::size_t i = 0; i < a.k_dim; ++i) {
    const VF k = hn::Set(DF(), a.k[i]);
    const float* s = a.state + i * a.v_dim + column;
    Unroll<NV>([&](auto c) TRITIUM_LAMBDA {
      known[c] = hn::MulAdd(k, hn::Mul(decay, LoadPiece(s + c * kLanes, count)), known[c]);
    });
  }
  const VF beta = hn::Set(DF(), a.beta);
  VF delta[NV];
  VF out[NV];
  Unroll<NV>([&](auto c) TRITIUM_LAMBDA {
    delta[c] = hn::Mul(beta, hn::Sub(LoadPiece(a.v + column + c * kLanes, count), known[c]));
    out[c] = hn::Zero(DF());
  });
  for (std::size_t i = 0; i < a.k_dim; ++i) {
    const VF k = hn::Set(DF(), a.k[i]);
    const VF q = hn::Set(DF(), a.q[i]);
    float* s = a.state + i * a.v_dim + column;
    Unroll<NV>([&](auto c) TRITIUM_LAMBDA {
      const VF next = hn::MulAdd(k, delta[c], hn::Mul(decay, LoadPiece(s + c * kLanes, count)));
      StorePiece(next, s + c * kLanes, count);
      out[c] = hn::MulAdd(next, q, out[c]);
    });
  }
  Unroll<NV>([&](auto c) TRITIUM_LAMBDA { StorePiece(out[c], a.out + column + c * kLanes, count); });
}

inline HWY_NOINLINE void DeltaRule(const DeltaStep& a) {
  std::size_t column = 0;
  for (; column + 4 * kLanes <= a.v_dim; column += 4 * kLanes) DeltaColumns<4>(a, column);
  for (; column + kLanes <= a.v_dim; column += kLanes) DeltaColumns<1>(a, column);
  if (column < a.v_dim) DeltaColumns<1>(a, column, a.v_dim - column);
}

/// inputs: `taps` rows of n floats, oldest first; weights (taps, n).
inline HWY_NOINLINE void ConvSilu(const float* const* inputs, const float* weights, std::size_t taps, std::size_t n,
                                  float* out) {
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    VF sum = hn::Zero(DF());
    for (std::size_t j = 0; j < taps; ++j)
      sum = hn::MulAdd(LoadPiece(inputs[j] + i, count), LoadPiece(weights + j * n + i, count), sum);
    StorePiece(Silu(DF(), sum), out + i, count);
  });
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
