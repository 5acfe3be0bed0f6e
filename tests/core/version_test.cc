// SPDX-License-Identifier: Apache-2.0
// The version's text is its numbers, and #if can ask for one.
#include "tritium/core/version.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#if !TRITIUM_VERSION_AT_LEAST(0, 1, 0) || TRITIUM_VERSION_AT_LEAST(1000, 0, 0)
#error "TRITIUM_VERSION_AT_LEAST is wrong for #if"
#endif

TEST_CASE("the version as text and as numbers", "[version]") {
  constexpr int major = TRITIUM_VERSION_MAJOR, minor = TRITIUM_VERSION_MINOR, patch = TRITIUM_VERSION_PATCH;
  CHECK(std::string(TRITIUM_VERSION) ==
        std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch));
  CHECK(TRITIUM_VERSION_AT_LEAST(major, minor, patch));
  CHECK(TRITIUM_VERSION_AT_LEAST(major, minor - 1, patch + 1));
  CHECK(TRITIUM_VERSION_AT_LEAST(major - 1, minor + 1, patch + 1));
  CHECK_FALSE(TRITIUM_VERSION_AT_LEAST(major, minor, patch + 1));
  CHECK_FALSE(TRITIUM_VERSION_AT_LEAST(major, minor + 1, 0));
  CHECK_FALSE(TRITIUM_VERSION_AT_LEAST(major + 1, 0, 0));
}
