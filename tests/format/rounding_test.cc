// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/rounding.h"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>

#include "support/golden_blocks.h"

using namespace tritium;

TEST_CASE("round_half_even is the rounding of IEEE 754", "[rounding]") {
  golden::Random random(1);
  int wrong = 0;
  for (int i = 0; i < 200000; ++i) {
    const auto value = static_cast<float>((random.uniform() - 0.5) * std::pow(2.0, 23.0 * random.uniform()));
    if (round_half_even(value) != std::nearbyint(value)) ++wrong;
  }
  REQUIRE(wrong == 0);
  for (int i = -1000; i <= 1000; ++i) {
    const float tie = static_cast<float>(i) + 0.5f;
    for (const float value : {tie, std::nextafter(tie, -1e9f), std::nextafter(tie, 1e9f)}) {
      REQUIRE(round_half_even(value) == std::nearbyint(value));
    }
  }
  REQUIRE(std::isnan(round_half_even(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("round_half_away is roundf", "[rounding]") {
  golden::Random random(2);
  int wrong = 0;
  for (int i = 0; i < 200000; ++i) {
    const auto value = static_cast<float>((random.uniform() - 0.5) * std::pow(2.0, 23.0 * random.uniform()));
    if (round_half_away(value) != static_cast<int>(std::round(value))) ++wrong;
  }
  REQUIRE(wrong == 0);
  for (int i = -1000; i <= 1000; ++i) {
    const float tie = static_cast<float>(i) + 0.5f;
    for (const float value : {tie, std::nextafter(tie, -1e9f), std::nextafter(tie, 1e9f)}) {
      REQUIRE(round_half_away(value) == static_cast<int>(std::round(value)));
    }
  }
}

TEST_CASE("unfused keeps the product's own rounding", "[rounding]") {
  // x * y = 1 - 2^-46 rounds to 1 in f32, so a sum that is not fused is exactly 0; a fused one would give -2^-46.
  const volatile float x = 1.0f + 0x1p-23f;
  const volatile float y = 1.0f - 0x1p-23f;
  REQUIRE(unfused(x * y) - 1.0f == 0.0f);
}
