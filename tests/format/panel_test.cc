// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/panel.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "support/golden_blocks.h"
#include "tritium/format/formats.h"

using namespace tritium;

namespace {

using Codes = std::uint8_t[kPanelRows][kStepInputs];

struct Place {
  std::size_t line;
  std::size_t bit;
};

/// Where bit `bit` of a code in quad q lies, by the table in panel.h.
Place documented_place(int bits, std::size_t q, std::size_t bit) {
  switch (bits) {
    case 2: return {q / 4, 2 * (q % 4) + bit};
    case 3: return bit < 2 ? Place{q / 4, 2 * (q % 4) + bit} : Place{2, q};
    case 4: return {q / 2, 4 * (q % 2) + bit};
    case 5: return bit < 4 ? Place{q / 2, 4 * (q % 2) + bit} : Place{4, q};
    case 6: return bit < 4 ? Place{q / 2, 4 * (q % 2) + bit} : Place{4 + q / 4, 2 * (q % 4) + bit - 4};
    default: return {q, bit};
  }
}

template <int kBits>
void check_every_bit() {
  constexpr auto kBytes = static_cast<std::size_t>(kBits) * kLineBytes;
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    for (std::size_t i = 0; i < kStepInputs; ++i) {
      for (std::size_t bit = 0; bit < static_cast<std::size_t>(kBits); ++bit) {
        Codes codes = {};
        codes[r][i] = static_cast<std::uint8_t>(1u << bit);
        std::array<std::uint8_t, kBytes> lines;
        lines.fill(0xA5);  // every byte must be written
        pack_step<kBits>(codes, lines.data());
        std::array<std::uint8_t, kBytes> expected{};
        const Place place = documented_place(kBits, i / 4, bit);
        expected[place.line * 64 + 4 * r + i % 4] = static_cast<std::uint8_t>(1u << place.bit);
        REQUIRE(lines == expected);
        REQUIRE(step_code<kBits>(lines.data(), r, i) == codes[r][i]);
      }
    }
  }
}

template <int kBits>
void check_inverse(golden::Random& random) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    Codes codes;
    for (auto& row : codes) {
      for (std::uint8_t& code : row) code = static_cast<std::uint8_t>(random.below(std::size_t{1} << kBits));
    }
    std::array<std::uint8_t, static_cast<std::size_t>(kBits) * kLineBytes> lines;
    pack_step<kBits>(codes, lines.data());
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      for (std::size_t i = 0; i < kStepInputs; ++i) REQUIRE(step_code<kBits>(lines.data(), r, i) == codes[r][i]);
    }
  }
}

}  // namespace

TEST_CASE("each bit of each code lies where the layout says", "[panel]") {
  check_every_bit<2>();
  check_every_bit<3>();
  check_every_bit<4>();
  check_every_bit<5>();
  check_every_bit<6>();
  check_every_bit<8>();
}

TEST_CASE("steps give their codes back", "[panel]") {
  golden::Random random(11);
  check_inverse<2>(random);
  check_inverse<3>(random);
  check_inverse<4>(random);
  check_inverse<5>(random);
  check_inverse<6>(random);
  check_inverse<8>(random);
}

TEST_CASE("a step written out by hand", "[panel]") {
  Codes codes = {};
  for (std::size_t i = 0; i < 32; ++i)
    codes[1][i] = static_cast<std::uint8_t>(i);  // output 1 counts, the others are zero

  std::uint8_t four[4 * 64];
  pack_step<4>(codes, four);
  REQUIRE(four[4] == 0x40);  // inputs 0 and 4
  REQUIRE(four[5] == 0x51);  // 1 and 5
  REQUIRE(four[6] == 0x62);
  REQUIRE(four[7] == 0x73);
  REQUIRE(four[64 + 4] == 0xC8);      // 8 and 12
  REQUIRE(four[2 * 64 + 7] == 0x73);  // 19 and 23, four bits each
  REQUIRE(four[3 * 64 + 4] == 0xC8);  // 24 and 28
  REQUIRE(four[3] == 0);
  REQUIRE(four[8] == 0);

  std::uint8_t two[2 * 64];
  pack_step<2>(codes, two);
  REQUIRE(two[4] == 0x00);  // inputs 0, 4, 8, 12: all 0 mod 4
  REQUIRE(two[5] == 0x55);  // 1, 5, 9, 13
  REQUIRE(two[6] == 0xAA);
  REQUIRE(two[64 + 7] == 0xFF);

  std::uint8_t five[5 * 64];
  pack_step<5>(codes, five);
  REQUIRE(five[7] == 0x73);
  REQUIRE(five[4 * 64 + 4] == 0xF0);  // the fifth bit: quads 4 to 7 hold 16 to 31
  REQUIRE(five[4 * 64 + 8] == 0x00);

  std::uint8_t eight[8 * 64];
  pack_step<8>(codes, eight);
  REQUIRE(eight[7 * 64 + 4 + 3] == 31);
  REQUIRE(eight[3 * 64 + 4 + 1] == 13);
}

TEST_CASE("all 243 groups of five trits", "[panel]") {
  for (unsigned v = 0; v < 243; ++v) {
    const std::uint8_t digits[5] = {static_cast<std::uint8_t>(v / 81), static_cast<std::uint8_t>(v / 27 % 3),
                                    static_cast<std::uint8_t>(v / 9 % 3), static_cast<std::uint8_t>(v / 3 % 3),
                                    static_cast<std::uint8_t>(v % 3)};
    const std::uint8_t byte = trits_to_byte(digits, 1);
    REQUIRE(byte == (v * 256 + 242) / 243);
    unsigned fraction = byte;
    for (std::size_t d = 0; d < 5; ++d) {
      REQUIRE(trit_of_byte(byte, d) == digits[d]);
      const unsigned next = 3 * fraction % 256;
      REQUIRE(3 * fraction - next == 256u * digits[d]);  // what kernels rely on
      REQUIRE((fraction >= 86u ? 1u : 0u) + (fraction >= 171u ? 1u : 0u) == digits[d]);
      fraction = next;
    }
  }
  const std::uint8_t least[5] = {0, 0, 0, 0, 0};
  const std::uint8_t one[5] = {1, 1, 1, 1, 1};
  const std::uint8_t first[5] = {1, 0, 0, 0, 0};
  const std::uint8_t most[5] = {2, 2, 2, 2, 2};
  REQUIRE(trits_to_byte(least, 1) == 0);
  REQUIRE(trits_to_byte(one, 1) == 128);   // 121 * 256 / 243 = 127.47
  REQUIRE(trits_to_byte(first, 1) == 86);  // 81 * 256 / 243 = 85.33
  REQUIRE(trits_to_byte(most, 1) == 255);
  const std::uint8_t strided[9] = {2, 9, 0, 9, 0, 9, 0, 9, 1};
  REQUIRE(trits_to_byte(strided, 2) == 172);  // (162 + 1) * 256 / 243 = 171.72
}

TEST_CASE("sizes of every format", "[panel]") {
  struct Expected {
    std::string_view name;
    std::size_t unit, unit_bytes, prefix_bytes;
    double bits_per_weight;
  };
  // unit bytes = scales in whole lines + unit / 32 * bits * 64
  constexpr Expected kExpected[] = {
      {"ternary2", 32, 128, 64, 2.0},
      {"ternary1.6", 20, 64, 64, 1.6},
      {"ternary2g64", 128, 576, 0, 2.25},
      {"ternary2g128", 256, 1088, 0, 2.125},
      {"ternary2g256", 512, 2112, 0, 2.0625},
      {"int4", 32, 256, 64, 4.0},
      {"int4g32", 64, 576, 0, 4.5},
      {"int4g64", 128, 1088, 0, 4.25},
      {"int4g128", 256, 2112, 0, 4.125},
      {"int4g32m", 32, 320, 0, 5.0},
      {"int4g64m", 64, 576, 0, 4.5},
      {"int4g128m", 128, 1088, 0, 4.25},
      {"int8", 32, 512, 64, 8.0},
      {"int8g32", 64, 1088, 0, 8.5},
      {"int8g64", 128, 2112, 0, 8.25},
      {"int8g128", 256, 4160, 0, 8.125},
      {"int5g32", 64, 704, 0, 5.5},
      {"int5g32m", 32, 384, 0, 6.0},
      {"nl4g32", 64, 576, 0, 4.5},
      {"k2g16", 256, 1344, 0, 2.625},
      {"k3g16", 256, 1856, 0, 3.625},
      {"k4g32", 256, 2368, 0, 4.625},
      {"k5g32", 256, 2880, 0, 5.625},
      {"k6g16", 256, 3392, 0, 6.625},
      {"nlk4g32", 256, 2240, 0, 4.375},
      {"f32", 2, 128, 0, 32.0},
      {"f16", 2, 64, 0, 16.0},
      {"bf16", 2, 64, 0, 16.0},
  };
  REQUIRE(std::size(kExpected) == kPackFormatCount);
  for (const Expected& e : kExpected) {
    CAPTURE(e.name);
    const PackFormatInfo* f = find_pack_format(e.name);
    REQUIRE(f != nullptr);
    REQUIRE(f->unit == e.unit);
    REQUIRE(f->unit_bytes == e.unit_bytes);
    REQUIRE(f->prefix_bytes == e.prefix_bytes);
    REQUIRE(f->bits_per_weight() == e.bits_per_weight);
    REQUIRE(f->unit_bytes % 64 == 0);
    REQUIRE(f->panel_bytes(1) == e.prefix_bytes + e.unit_bytes);
    REQUIRE(f->panel_bytes(e.unit) == e.prefix_bytes + e.unit_bytes);
    REQUIRE(f->panel_bytes(e.unit + 1) == e.prefix_bytes + 2 * e.unit_bytes);
  }
  REQUIRE(find_pack_format("int3") == nullptr);
}
