// SPDX-License-Identifier: Apache-2.0
#include "tritium/core/float16.h"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstring>
#include <limits>

using namespace tritium;

namespace {

// Nearest f16 by search over all finite values, in double: shares nothing with the code under test.
std::uint16_t nearest_f16(double value) {
  const auto magnitude_of = [](std::uint16_t bits) {
    const int exponent = bits >> 10;
    const double mantissa = bits & 1023;
    return exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  };
  const double magnitude = std::fabs(value);
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (magnitude >= 65520.0) return static_cast<std::uint16_t>(sign | 0x7C00);
  std::uint16_t low = 0;
  std::uint16_t high = 0x7BFF;
  while (low < high) {  // largest f16 <= magnitude
    const auto mid = static_cast<std::uint16_t>((low + high + 1) / 2);
    if (magnitude_of(mid) <= magnitude) low = mid;
    else high = static_cast<std::uint16_t>(mid - 1);
  }
  if (low == 0x7BFF) return static_cast<std::uint16_t>(sign | 0x7BFF);
  const double below = magnitude - magnitude_of(low);
  const double above = magnitude_of(static_cast<std::uint16_t>(low + 1)) - magnitude;
  const bool up = above < below || (above == below && (low & 1) != 0);
  return static_cast<std::uint16_t>(sign | (low + (up ? 1 : 0)));
}

}  // namespace

TEST_CASE("every f16 and bf16 value survives the way through f32", "[float16]") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    const float from_half = to_float(f16{h});
    if (std::isnan(from_half)) {
      REQUIRE((to_f16(from_half).bits & 0x7E00) == 0x7E00);
    } else {
      REQUIRE(to_f16(from_half).bits == h);
    }
    const float from_brain = to_float(bf16{h});
    if (std::isnan(from_brain)) {
      REQUIRE((to_bf16(from_brain).bits | 0x0040) == (h | 0x0040));
    } else {
      REQUIRE(to_bf16(from_brain).bits == h);
    }
  }
}

TEST_CASE("f32 rounds to the nearest f16, ties to even", "[float16]") {
  // Every f16, its successor, their midpoint, and one f32 step to each side of the midpoint.
  for (std::uint16_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = to_float(f16{bits});
    const float high = to_float(f16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = 0.5f * (low + high);
    for (const float value : {middle, std::nextafter(middle, low), std::nextafter(middle, high)}) {
      REQUIRE(to_f16(value).bits == nearest_f16(value));
      REQUIRE(to_f16(-value).bits == nearest_f16(-value));
    }
  }
  REQUIRE(to_f16(65519.996f).bits == 0x7BFF);
  REQUIRE(to_f16(65520.0f).bits == 0x7C00);
  REQUIRE(to_f16(std::numeric_limits<float>::infinity()).bits == 0x7C00);
  REQUIRE(to_f16(-std::numeric_limits<float>::denorm_min()).bits == 0x8000);
}

TEST_CASE("f32 rounds to the nearest bf16, ties to even", "[float16]") {
  for (std::uint32_t bits = 0; bits < 0x7F7F; ++bits) {
    const float low = to_float(bf16{static_cast<std::uint16_t>(bits)});
    const float high = to_float(bf16{static_cast<std::uint16_t>(bits + 1)});
    const float middle = std::bit_cast<float>((bits << 16) | 0x8000u);
    REQUIRE(to_bf16(middle).bits == ((bits & 1) != 0 ? bits + 1 : bits));
    REQUIRE(to_bf16(std::nextafter(middle, low)).bits == bits);
    REQUIRE(to_bf16(std::nextafter(middle, high)).bits == bits + 1);
  }
  REQUIRE(to_bf16(std::numeric_limits<float>::max()).bits == 0x7F80);
}
