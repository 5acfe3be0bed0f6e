// SPDX-License-Identifier: Apache-2.0
// What the loader gives back of a file: the bytes of the rows that it has packed, and no others.
#include "tritium/model/load.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <vector>

using namespace tritium;

TEST_CASE("the bytes of a matrix are those of its own rows inside a fused tensor", "[load]") {
  std::vector<std::byte> file(12 * 36);  // 12 rows of 64 weights in Q4_0
  const auto range = [&](const StoredMatrix& w) {
    const std::span<const std::byte> bytes = detail::stored_bytes(w);
    REQUIRE(bytes.data() >= file.data());
    return std::array<std::size_t, 2>{static_cast<std::size_t>(bytes.data() - file.data()), bytes.size()};
  };
  StoredMatrix w{TensorType::q4_0, file.data(), 12, 64};
  CHECK(range(w) == std::array<std::size_t, 2>{0, 12 * 36});
  const std::vector<std::uint32_t> upper{6, 7, 8, 9, 10, 11};  // the second half of gate and up in one
  w.rows = upper.size();
  w.row_order = upper.data();
  CHECK(range(w) == std::array<std::size_t, 2>{6 * 36, 6 * 36});
  const std::vector<std::uint32_t> turned{4, 6, 5, 7};  // a permutation inside the middle third
  w.rows = turned.size();
  w.row_order = turned.data();
  CHECK(range(w) == std::array<std::size_t, 2>{4 * 36, 4 * 36});
  w.rows = 0;
  CHECK(detail::stored_bytes(w).empty());

  StoredMatrix bitnet{TensorType::u8, file.data(), 8, 36};  // rows 0, 2, 4 and 6 are in the first row of bytes
  bitnet.bitnet_rows = 8;
  CHECK(range(bitnet) == std::array<std::size_t, 2>{0, 2 * 36});
}
