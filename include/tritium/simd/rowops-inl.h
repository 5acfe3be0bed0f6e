// SPDX-License-Identifier: Apache-2.0
// Row operations: norms, RoPE, elementwise gates, argmax, conversions. One row of floats at a time, any length.
//
// Sums run over 64 fixed lanes (four vectors of 16, on every target) and are folded in one fixed tree, so a row's norm is
// the same bits on every instruction set that has fused multiply-add.

#if defined(TRITIUM_SIMD_ROWOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_ROWOPS_INL_H_
#undef TRITIUM_SIMD_ROWOPS_INL_H_
#else
#define TRITIUM_SIMD_ROWOPS_INL_H_
#endif

#include <cmath>
#include <limits>

#include "tritium/simd/epilogue-inl.h"
#include "tritium/simd/quantize-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

/// f(start, count) over pieces of at most kLanes elements.
template <class Fn>
HWY_INLINE void ForPieces(std::size_t n, Fn&& fn) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) fn(i, kLanes);
  if (i < n) fn(i, n - i);
}

/// Sum of the lanes of a vector: lane i plus lane i + half of them, and so on.
template <class D>
HWY_INLINE float FoldHalves(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> half;
    return FoldHalves(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
/// Sum of all lanes of `sums`, by halves, in the same order whatever the width of a vector. In registers: through memory it
/// took 85 cycles for 16 lanes on Zen 5, as long as eight vectors of exp.
template <std::size_t N>
HWY_INLINE float FoldLanes(const VF (&sums)[N]) {
  if constexpr (N == 1) {
    return FoldHalves(DF(), sums[0]);
  } else {
    VF halves[N / 2];
    Unroll<N / 2>([&](auto i) TRITIUM_LAMBDA { halves[i] = hn::Add(sums[i], sums[i + N / 2]); });
    return FoldLanes(halves);
  }
}

/// Sum of term(x[i]) in a fixed order: 64 partial sums, folded pairwise.
template <class Term>
HWY_INLINE float SumOver(const float* x, std::size_t n, Term&& term) {
  constexpr std::size_t kVectors = 64 / kLanes;
  VF sum[kVectors];
  Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA { sum[i] = hn::Zero(DF()); });
  std::size_t at = 0;
  for (; at + 64 <= n; at += 64) {
    Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA { sum[i] = term(sum[i], hn::LoadU(DF(), x + at + i * kLanes)); });
  }
  if (at < n) {
    HWY_ALIGN float tail[64] = {};
    std::memcpy(tail, x + at, (n - at) * sizeof(float));
    HWY_ALIGN float live[64] = {};
    for (std::size_t i = 0; i < n - at; ++i) live[i] = 1.0f;
    Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA {
      const VF next = term(sum[i], hn::Load(DF(), tail + i * kLanes));
      sum[i] = hn::IfThenElse(hn::Gt(hn::Load(DF(), live + i * kLanes), hn::Zero(DF())), next, sum[i]);
    });
  }
  return FoldLanes(sum);
}

/// As SumOver, of term(x[i], y[i]).
template <class Term>
HWY_INLINE float SumOverPairs(const float* x, const float* y, std::size_t n, Term&& term) {
  constexpr std::size_t kVectors = 64 / kLanes;
  VF sum[kVectors];
  Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA { sum[i] = hn::Zero(DF()); });
  std::size_t at = 0;
  for (; at + 64 <= n; at += 64) {
    Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA {
      sum[i] = term(sum[i], hn::LoadU(DF(), x + at + i * kLanes), hn::LoadU(DF(), y + at + i * kLanes));
    });
  }
  HWY_ALIGN float lanes[64];
  Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA { hn::Store(sum[i], DF(), lanes + i * kLanes); });
  for (std::size_t i = 0; at < n; ++at, ++i) {
    lanes[i] = hn::GetLane(term(hn::Set(DF(), lanes[i]), hn::Set(DF(), x[at]), hn::Set(DF(), y[at])));
  }
  Unroll<kVectors>([&](auto i) TRITIUM_LAMBDA { sum[i] = hn::Load(DF(), lanes + i * kLanes); });
  return FoldLanes(sum);
}

/// y = x / sqrt(mean(x^2) + eps) * weight; weight null: 1. y may be x.
inline HWY_NOINLINE void RmsNorm(const float* x, const float* weight, std::size_t n, float eps, float* y) {
  const float sum = SumOver(x, n, [](VF s, VF v) TRITIUM_LAMBDA { return hn::MulAdd(v, v, s); });
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  const VF s = hn::Set(DF(), scale);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    VF v = hn::Mul(LoadPiece(x + i, count), s);
    if (weight != nullptr) v = hn::Mul(v, LoadPiece(weight + i, count));
    StorePiece(v, y + i, count);
  });
}

/// y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, biased variance; weight or bias null: 1, 0.
inline HWY_NOINLINE void LayerNorm(const float* x, const float* weight, const float* bias, std::size_t n, float eps,
                                   float* y) {
  const float mean = SumOver(x, n, [](VF s, VF v) TRITIUM_LAMBDA { return hn::Add(s, v); }) / static_cast<float>(n);
  const VF m = hn::Set(DF(), mean);
  const float variance = SumOver(x, n,
                                 [&](VF s, VF v) TRITIUM_LAMBDA {
                                   const VF d = hn::Sub(v, m);
                                   return hn::MulAdd(d, d, s);
                                 }) /
                         static_cast<float>(n);
  const VF scale = hn::Set(DF(), 1.0f / std::sqrt(variance + eps));
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    const VF v = hn::Mul(hn::Sub(LoadPiece(x + i, count), m), scale);
    const VF w = weight == nullptr ? hn::Set(DF(), 1.0f) : LoadPiece(weight + i, count);
    StorePiece(bias == nullptr ? hn::Mul(v, w) : hn::MulAdd(v, w, LoadPiece(bias + i, count)), y + i, count);
  });
}

/// Half-split rotation in place: pairs (x_i, x_(i + half)), cos and sin of each pair.
inline HWY_NOINLINE void RopeHalf(float* x, const float* cosine, const float* sine, std::size_t half) {
  ForPieces(half, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    const VF a = LoadPiece(x + i, count);
    const VF b = LoadPiece(x + half + i, count);
    const VF c = LoadPiece(cosine + i, count);
    const VF s = LoadPiece(sine + i, count);
    StorePiece(hn::NegMulAdd(b, s, hn::Mul(a, c)), x + i, count);
    StorePiece(hn::MulAdd(a, s, hn::Mul(b, c)), x + half + i, count);
  });
}

/// y = activation(gate) * up; up null: y = activation(gate). y may be gate.
inline HWY_NOINLINE void Gate(Activation activation, const float* gate, const float* up, std::size_t n, float* y) {
  WithActivation(activation, [&](auto kind) TRITIUM_LAMBDA {
    ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
      VF v = ActivateAs<kind>(LoadPiece(gate + i, count));
      if (up != nullptr) v = hn::Mul(v, LoadPiece(up + i, count));
      StorePiece(v, y + i, count);
    });
  });
}

/// y += scale * x.
inline HWY_NOINLINE void AddScaled(const float* x, float scale, std::size_t n, float* y) {
  const VF s = hn::Set(DF(), scale);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    StorePiece(hn::MulAdd(LoadPiece(x + i, count), s, LoadPiece(y + i, count)), y + i, count);
  });
}
inline HWY_NOINLINE void Scale(float* x, float scale, std::size_t n) {
  const VF s = hn::Set(DF(), scale);
  ForPieces(n, [&](std::size_t i, std::size_t count)
                   TRITIUM_LAMBDA { StorePiece(hn::Mul(LoadPiece(x + i, count), s), x + i, count); });
}
/// x = cap * tanh(x / cap).
inline HWY_NOINLINE void SoftCap(float* x, float cap, std::size_t n) {
  const VF inverse = hn::Set(DF(), 1.0f / cap);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    StorePiece(hn::Mul(Tanh(DF(), hn::Mul(LoadPiece(x + i, count), inverse)), hn::Set(DF(), cap)), x + i, count);
  });
}
/// Stable softmax in place; returns nothing for n = 0.
inline HWY_NOINLINE void SoftMax(float* x, std::size_t n) {
  if (n == 0) return;
  VF most = hn::Set(DF(), x[0]);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    most = count == kLanes ? hn::Max(most, hn::LoadU(DF(), x + i))
                           : hn::Max(most, hn::IfThenElse(hn::FirstN(DF(), count), LoadPiece(x + i, count), most));
  });
  const VF top = hn::Set(DF(), hn::ReduceMax(DF(), most));
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    StorePiece(ExpNonPositive(DF(), hn::Sub(LoadPiece(x + i, count), top)), x + i, count);
  });
  const float sum = SumOver(x, n, [](VF s, VF v) TRITIUM_LAMBDA { return hn::Add(s, v); });
  Scale(x, 1.0f / sum, n);
}

/// Values that are added up in f32 before the sum goes on in double: a vocabulary has 262,144 of them.
inline constexpr std::size_t kSumBlock = 4096;

/// ln(sum of exp(x_i)), n > 0. Terms below e^-87 of the largest count as zero.
inline HWY_NOINLINE double LogSumExp(const float* x, std::size_t n) {
  VF most = hn::Set(DF(), x[0]);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    const VF v = LoadPiece(x + i, count);
    most = hn::Max(most, count == kLanes ? v : hn::IfThenElse(hn::FirstN(DF(), count), v, most));
  });
  const float largest = hn::ReduceMax(DF(), most);
  const VF top = hn::Set(DF(), largest);
  double sum = 0;
  for (std::size_t at = 0; at < n; at += kSumBlock) {
    const std::size_t count = n - at < kSumBlock ? n - at : kSumBlock;
    sum += static_cast<double>(SumOver(x + at, count, [&](VF s, VF v) TRITIUM_LAMBDA {
      return hn::Add(s, ExpNonPositive(DF(), hn::Min(hn::Sub(v, top), hn::Zero(DF()))));
    }));
  }
  return static_cast<double>(largest) + std::log(sum);
}

/// Kullback-Leibler divergence of softmax(q) from softmax(p): sum of P_i (ln P_i - ln Q_i), P_i = exp(p_i - p_norm) and so
/// on, the norms being LogSumExp of the rows. p_i - q_i comes first: near rows then lose nothing to rounding.
inline HWY_NOINLINE double Divergence(const float* p, const float* q, std::size_t n, double p_norm, double q_norm) {
  const VF norm = hn::Set(DF(), static_cast<float>(p_norm));
  const VF shift = hn::Set(DF(), static_cast<float>(p_norm - q_norm));
  double sum = 0;
  for (std::size_t at = 0; at < n; at += kSumBlock) {
    const std::size_t count = n - at < kSumBlock ? n - at : kSumBlock;
    sum += static_cast<double>(SumOverPairs(p + at, q + at, count, [&](VF s, VF a, VF b) TRITIUM_LAMBDA {
      const VF mass = ExpNonPositive(DF(), hn::Min(hn::Sub(a, norm), hn::Zero(DF())));
      return hn::MulAdd(mass, hn::Sub(hn::Sub(a, b), shift), s);
    }));
  }
  return sum;
}

/// The smallest index of the largest value; NaN is never larger. Blocks first: a vocabulary is searched for the place once,
/// in the one block that has it.
inline HWY_NOINLINE std::size_t ArgMax(const float* x, std::size_t n) {
  constexpr std::size_t kBlock = 1024;
  const VF least = hn::Set(DF(), -HUGE_VALF);
  float top = -HUGE_VALF;
  std::size_t block = 0;
  for (std::size_t at = 0; at < n; at += kBlock) {
    VF most = least;
    ForPieces(n - at < kBlock ? n - at : kBlock, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
      VF v = LoadPiece(x + at + i, count);
      if (count != kLanes) v = hn::IfThenElse(hn::FirstN(DF(), count), v, least);
      most = hn::IfThenElse(hn::Gt(v, most), v, most);
    });
    const float found = hn::ReduceMax(DF(), most);
    if (found > top) {
      top = found;
      block = at;
    }
  }
  for (std::size_t i = block; i < n; ++i) {
    if (x[i] == top) return i;
  }
  return 0;
}

/// Writes the numbers of the panels, 16 values each, of which one x_i + norm reach_i is not below `least`; how many.
inline HWY_NOINLINE std::size_t Shortlist(const float* x, const float* reach, float norm, float least, std::size_t n,
                                          std::uint32_t* panels) {
  const VF factor = hn::Set(DF(), norm);
  const VF bound = hn::Set(DF(), least);
  std::size_t found = 0;
  for (std::size_t first = 0; first < n; first += kPanelRows) {
    auto below = hn::Eq(bound, bound);
    const std::size_t in_panel = n - first < kPanelRows ? n - first : kPanelRows;
    ForPieces(in_panel, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
      const VF most = hn::MulAdd(factor, LoadPiece(reach + first + i, count), LoadPiece(x + first + i, count));
      below = hn::And(below, hn::Lt(most, bound));  // false for NaN: it is looked at, and then reported
    });
    if (!hn::AllTrue(DF(), below)) panels[found++] = static_cast<std::uint32_t>(first / kPanelRows);
  }
  return found;
}

/// True when every value is finite.
inline HWY_NOINLINE bool AllFinite(const float* x, std::size_t n) {
  VF spread = hn::Zero(DF());  // x - x is 0 for finite values and NaN otherwise, and NaN survives addition
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    const VF v = LoadPiece(x + i, count);
    spread = hn::Add(spread, hn::Sub(v, v));
  });
  return hn::AllTrue(DF(), hn::Eq(spread, hn::Zero(DF())));
}

/// n floats into a cache of int8, `stride` codes apart, under one scale: see KvType.
inline HWY_NOINLINE void StoreKvCodes(const float* x, std::size_t n, std::size_t stride, std::int8_t* out,
                                      float* scale) {
  const std::size_t whole = n / kPanelRows * kPanelRows;
  HWY_ALIGN float tail[kPanelRows] = {};
  if (whole != n) std::memcpy(tail, x + whole, (n - whole) * sizeof(float));
  const std::int32_t most_of_tail = AbsMaxBits16(tail, 1);
  std::int32_t bits = AbsMaxBits16(x, whole / kPanelRows);
  bits = most_of_tail > bits ? most_of_tail : bits;
  const float most = FloatOfBits(bits);
  if (HWY_UNLIKELY(bits >= kInfinityBits || most < kLeastGroup)) {
    for (std::size_t i = 0; i < n; ++i) out[i * stride] = 0;
    *scale = bits >= kInfinityBits ? most : 0.0f;
    return;
  }
  const VF inverse = hn::Set(DF(), 127.0f / most);
  HWY_ALIGN std::int8_t codes[kPanelRows];
  for (std::size_t i = 0; i < n; i += kPanelRows) {
    Quantize16(i < whole ? x + i : tail, inverse, codes);
    const std::size_t count = i < whole ? kPanelRows : n - whole;
    for (std::size_t c = 0; c < count; ++c) out[(i + c) * stride] = codes[c];
  }
  *scale = most / 127.0f;
}

/// n floats into a cache of `type`, `stride` elements apart.
inline HWY_NOINLINE void StoreKv(const float* x, std::size_t n, std::size_t stride, KvType type, void* out,
                                 float* scale) {
  if (type == KvType::int8) return StoreKvCodes(x, n, stride, static_cast<std::int8_t*>(out), scale);
  if (type == KvType::f32) {
    float* to = static_cast<float*>(out);
    for (std::size_t i = 0; i < n; ++i) to[i * stride] = x[i];
    return;
  }
  if (type == KvType::bf16) {
    bf16* to = static_cast<bf16*>(out);
    if (stride == kPanelRows) {
      for (std::size_t i = 0; i < round_up(n, 2); ++i)
        to[i / 2 * 2 * kPanelRows + i % 2] = to_bf16(i < n ? x[i] : 0.0f);
    } else {
      for (std::size_t i = 0; i < n; ++i) to[i * stride] = to_bf16(x[i]);
    }
    return;
  }
  f16* to = static_cast<f16*>(out);
  const hn::Rebind<hwy::float16_t, DF> dh;
  HWY_ALIGN f16 piece[kPanelRows];
  for (std::size_t i = 0; i < n; i += kLanes) {
    const std::size_t count = n - i < kLanes ? n - i : kLanes;
    hn::StoreU(hn::DemoteTo(dh, LoadPiece(x + i, count)), dh, reinterpret_cast<hwy::float16_t*>(piece));
    for (std::size_t c = 0; c < count; ++c) to[(i + c) * stride] = piece[c];
  }
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
