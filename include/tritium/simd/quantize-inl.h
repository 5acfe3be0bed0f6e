// SPDX-License-Identifier: Apache-2.0
// Activation rows to int8 codes with scales and sums: see format/activation.h for the formulas.

#if defined(TRITIUM_SIMD_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_QUANTIZE_INL_H_
#undef TRITIUM_SIMD_QUANTIZE_INL_H_
#else
#define TRITIUM_SIMD_QUANTIZE_INL_H_
#endif

#include "tritium/ops/kernel_table.h"
#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

// 16 inputs are kVecs vectors, so that every target adds in the same order.

/// The bits of max|x| of 16 * count inputs. Compared as integers, so that a NaN is the largest of all: a float maximum
/// keeps or loses it depending on the target and on the order.
HWY_INLINE std::int32_t AbsMaxBits16(const float* x, std::size_t count) {
  VI most = hn::Zero(DI());
  for (std::size_t i = 0; i < count * kVecs; ++i) {
    most = hn::Max(most, hn::BitCast(DI(), hn::Abs(hn::LoadU(DF(), x + i * kLanes))));
  }
  return hn::ReduceMax(DI(), most);
}
inline constexpr std::int32_t kInfinityBits = 0x7F800000;
inline constexpr float kLeastGroup = 0x1p-120f;  ///< below it 127 / max|x| overflows; such a group is zero

HWY_INLINE float FloatOfBits(std::int32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Codes of 16 inputs times `inverse`; returns their sum.
HWY_INLINE std::int32_t Quantize16(const float* x, VF inverse, std::int8_t* codes) {
  const hn::Rebind<std::int8_t, DI> d8;
  VI sum = hn::Zero(DI());
  Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
    const VI code = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x + v * kLanes), inverse));
    sum = hn::Add(sum, code);
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + v * kLanes);
  });
  return hn::ReduceSum(DI(), sum);
}

/// Row `x` of rows.k floats becomes row m of `rows`. x need not be padded. Non-finite inputs give codes of zero times a
/// non-finite scale, so that they reach the output instead of vanishing.
inline HWY_NOINLINE void QuantizeRow(const float* HWY_RESTRICT x, const Q8Rows& rows, std::size_t m) {
  std::int8_t* codes = rows.codes + m * rows.stride;
  float* scales = rows.scales + m * rows.groups;
  std::int32_t* sums = rows.sums + m * rows.groups;
  if (rows.group == 0) {
    const std::size_t whole = rows.k / 32;
    HWY_ALIGN float tail[32] = {};
    const std::size_t rest = rows.k - 32 * whole;
    if (rest != 0) std::memcpy(tail, x + 32 * whole, rest * sizeof(float));
    std::int32_t bits = AbsMaxBits16(x, 2 * whole);
    if (rest != 0) {
      const std::int32_t more = AbsMaxBits16(tail, 2);
      bits = more > bits ? more : bits;
    }
    const float most = FloatOfBits(bits);
    if (HWY_UNLIKELY(bits >= kInfinityBits)) {
      std::memset(codes, 0, rows.stride);
      scales[0] = most;
      sums[0] = 0;
      return;
    }
    const float limit = most < 1e-5f ? 1e-5f : most;
    const VF scale = hn::Set(DF(), 127.0f / limit);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < whole; ++i) {
      sum += Quantize16(x + 32 * i, scale, codes + 32 * i);
      sum += Quantize16(x + 32 * i + 16, scale, codes + 32 * i + 16);
    }
    std::size_t end = 32 * whole;
    if (rest != 0) {
      sum += Quantize16(tail, scale, codes + end) + Quantize16(tail + 16, scale, codes + end + 16);
      end += 32;
    }
    std::memset(codes + end, 0, rows.stride - end);
    scales[0] = limit / 127.0f;
    sums[0] = sum;
    return;
  }

  const std::size_t group = rows.group;
  const std::size_t groups = rows.k / group + (rows.k % group != 0 ? 1 : 0);
  std::int32_t* sums16 = rows.sums16 == nullptr ? nullptr : rows.sums16 + 2 * m * rows.groups;
  HWY_ALIGN float tail[256];
  for (std::size_t g = 0; g < groups; ++g) {
    const float* from = x + group * g;
    std::int8_t* to = codes + group * g;
    if (rows.k - group * g < group) {
      std::memset(tail, 0, sizeof(tail));
      std::memcpy(tail, from, (rows.k - group * g) * sizeof(float));
      from = tail;
    }
    const std::int32_t bits = AbsMaxBits16(from, group / 16);
    const float most = FloatOfBits(bits);
    std::int32_t sum = 0;
    if (HWY_UNLIKELY(bits >= kInfinityBits || most < kLeastGroup)) {
      std::memset(to, 0, group);
      if (sums16 != nullptr) sums16[2 * g] = sums16[2 * g + 1] = 0;
      scales[g] = bits >= kInfinityBits ? most : 0.0f;
    } else {
      const VF inverse = hn::Set(DF(), 127.0f / most);
      for (std::size_t i = 0; i < group; i += 16) {
        const std::int32_t sum16 = Quantize16(from + i, inverse, to + i);
        if (sums16 != nullptr) sums16[2 * g + i / 16] = sum16;
        sum += sum16;
      }
      scales[g] = most / 127.0f;
    }
    sums[g] = sum;
  }
  std::memset(codes + group * groups, 0, rows.stride - group * groups);
  const std::size_t pad = rows.groups - groups;
  std::memset(scales + groups, 0, pad * sizeof(float));
  std::memset(sums + groups, 0, pad * sizeof(std::int32_t));
  if (sums16 != nullptr) std::memset(sums16 + 2 * groups, 0, 2 * pad * sizeof(std::int32_t));
}

HWY_INLINE void QuantizeRows(const float* x, std::size_t x_stride, const Q8Rows& rows, std::size_t first,
                             std::size_t last) {
  for (std::size_t m = first; m < last; ++m) QuantizeRow(x + m * x_stride, rows, m);
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
