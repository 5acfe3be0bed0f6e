// SPDX-License-Identifier: Apache-2.0
// Scalar conversions between f32 and the two 16-bit floats, exact in one direction and round-to-nearest-even in the other.
//
// f16 is IEEE 754 binary16; bf16 is the upper half of an f32. A NaN stays a quiet NaN. Kernels use the CPU's own
// instructions where it has them; these are the oracle and the portable path.
#pragma once

#include <bit>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// Storage types, so that a pointer says what it points at.
struct f16 {
  std::uint16_t bits;  ///< sign, 5 bits of exponent, 10 of fraction
};
/// The upper half of an f32.
struct bf16 {
  std::uint16_t bits;  ///< sign, 8 bits of exponent, 7 of fraction
};

/// The same number; exact.
constexpr float to_float(bf16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

/// The same number; exact. A NaN comes out quiet.
constexpr float to_float(f16 value) {
  const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 31u;
  const std::uint32_t mantissa = value.bits & 1023u;
  if (exponent == 31) {  // Inf, or NaN made quiet as the hardware conversion does
    return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13) | (mantissa != 0 ? 0x00400000u : 0u));
  }
  if (exponent == 0) {  // mantissa * 2^-24: exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

/// The nearest bf16, ties to even; a NaN stays one.
constexpr bf16 to_bf16(float value) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(value);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x0040u)};
  return {static_cast<std::uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16)};
}

/// The nearest f16, ties to even; from 65520 on an infinity, a NaN stays one.
constexpr f16 to_f16(float value) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {  // NaN: keep the payload's top bits, set the quiet bit
    return {static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x03FFu))};
  }
  if (magnitude >= 0x477FF000u) return {static_cast<std::uint16_t>(sign | 0x7C00u)};  // >= 65520 rounds to Inf
  if (magnitude < 0x38800000u) {  // below 2^-14: count in units of 2^-24, ties to even
    if (magnitude < 0x33000000u) return {static_cast<std::uint16_t>(sign)};  // below 2^-25
    const std::uint32_t exponent = magnitude >> 23;                          // 102 .. 112
    const std::uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    const std::uint32_t shift = 126u - exponent;  // 14 .. 24
    const std::uint32_t quotient = significand >> shift;
    const std::uint32_t remainder = significand & ((1u << shift) - 1u);
    const std::uint32_t half = 1u << (shift - 1u);
    const std::uint32_t round = (remainder > half || (remainder == half && (quotient & 1u) != 0)) ? 1u : 0u;
    return {static_cast<std::uint16_t>(sign | (quotient + round))};
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

TRITIUM_NAMESPACE_END
