// SPDX-License-Identifier: Apache-2.0
// Loops that measure the machine: the register peak of the dot product and the rate at which streams are read.
//
// Every speed is reported beside the limit it runs into, and limits are measured in the same run by the same instructions
// as the kernels use.

#if defined(TRITIUM_SIMD_PROBE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_PROBE_INL_H_
#undef TRITIUM_SIMD_PROBE_INL_H_
#else
#define TRITIUM_SIMD_PROBE_INL_H_
#endif

#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

/// `iterations` x 12 dot products of one vector each, in registers. Returns the multiply-adds done; *sink keeps them alive.
template <class Dot>
HWY_NOINLINE std::size_t DotLoop(std::size_t iterations, std::int32_t* sink) {
  constexpr std::size_t kChains = 12;
  VI sum[kChains];
  Unroll<kChains>([&](auto i) TRITIUM_LAMBDA { sum[i] = hn::Zero(DI()); });
  VU8 w = hn::Set(DU8(), static_cast<std::uint8_t>(*sink & 3));
  const VI8 x = hn::Set(DI8(), static_cast<std::int8_t>(*sink & 7));
  const VU8 step = hn::Set(DU8(), static_cast<std::uint8_t>(*sink | 1));  // new codes each time: nothing to hoist
  for (std::size_t i = 0; i < iterations; ++i) {
    Unroll<kChains>([&](auto c) TRITIUM_LAMBDA { sum[c] = Dot::template Dot<3>(sum[c], w, x); });
    w = hn::Add(w, step);
  }
  VI total = sum[0];
  Unroll<kChains - 1>([&](auto c) TRITIUM_LAMBDA { total = hn::Add(total, sum[c + 1]); });
  *sink = hn::GetLane(total);
  return iterations * kChains * kLanes * kQuad;
}

/// Reads `n_streams` runs of `bytes` each, `stride` apart, side by side; bytes is a multiple of 256.
inline HWY_NOINLINE void ReadStreams(const std::byte* data, std::size_t bytes, std::size_t stride,
                                     std::size_t n_streams, std::uint8_t* sink) {
  const auto* base = reinterpret_cast<const std::uint8_t*>(data);
  VU8 sum = hn::Zero(DU8());
  for (std::size_t at = 0; at < bytes; at += 256) {
    for (std::size_t s = 0; s < n_streams; ++s) {
      const std::uint8_t* p = base + s * stride + at;
      for (std::size_t line = 0; line < 4; ++line) __builtin_prefetch(p + line * kLineBytes + 2048);
      for (std::size_t i = 0; i < 256 / kVecBytes; ++i) sum = hn::Xor(sum, hn::LoadU(DU8(), p + i * kVecBytes));
    }
  }
  *sink = static_cast<std::uint8_t>(*sink ^ hn::GetLane(sum));
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
