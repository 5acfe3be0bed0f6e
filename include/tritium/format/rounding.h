// SPDX-License-Identifier: Apache-2.0
// Rounding that gives the same bits whatever the compiler's flags are.
//
// A compiler that may use fused multiply-add turns round(x * s) into something else: the product is then never rounded
// to f32, and a value on the edge between two codes falls the other way. Quantizers pass such products through these
// functions, so that a file written by an AVX-512 build equals one written by a portable build.
#pragma once

#include <type_traits>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// Its argument, as a rounded value: the compiler fuses no operation before it with one after it. An empty asm rather
/// than __builtin_assoc_barrier: GCC 12 forgets that one when it vectorizes a loop, and fuses after all.
template <class T>
TRITIUM_INLINE T unfused(T value) {
  static_assert(std::is_floating_point_v<T>);
#if defined(__x86_64__)
  asm("" : "+x"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#else
  asm("" : "+m"(value));
#endif
  return value;
}

/// The nearest integer, ties to even. Precondition: |value| < 2^22. NaN stays NaN.
TRITIUM_INLINE float round_half_even(float value) {
  constexpr float kMagic = 0x1.8p23f;  // f32 has a spacing of 1 there, so the sum rounds to an integer
  return (unfused(value) + kMagic) - kMagic;
}

/// The nearest integer, ties away from zero: ggml's rule for q8_0 and the ternary blocks. Precondition: |value| < 2^31.
TRITIUM_INLINE int round_half_away(float value) {
  const float magnitude = value < 0.0f ? -value : value;
  const int whole = static_cast<int>(magnitude);
  const int rounded = whole + (magnitude - static_cast<float>(whole) >= 0.5f ? 1 : 0);  // the difference is exact
  return value < 0.0f ? -rounded : rounded;
}

TRITIUM_NAMESPACE_END
