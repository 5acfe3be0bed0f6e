// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/packed_matrix.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "support/golden_blocks.h"

using namespace tritium;

namespace {

f16 random_half(golden::Random& random) {
  return {static_cast<std::uint16_t>(random.below(0x7C00) | random.below(2) << 15)};
}

template <class F>
void randomise(UnitFields& fields, golden::Random& random) {
  const std::size_t top = F::kBits == 0 ? 3 : std::size_t{1} << F::kBits;
  for (auto& row : fields.codes) {
    for (std::uint8_t& code : row) code = static_cast<std::uint8_t>(random.below(top));
  }
  for (std::size_t g = 0; g < UnitFields::kMaxGroups; ++g) {
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      fields.d[g][r] = random_half(random);
      fields.m[g][r] = random_half(random);
      const std::size_t small = F::kScales == ScaleKind::kSuperMin4  ? 16
                                : F::kScales == ScaleKind::kSuperMin ? 64
                                                                     : 256;
      fields.scales[g][r] = static_cast<std::uint8_t>(random.below(small));
      fields.mins[g][r] = static_cast<std::uint8_t>(random.below(small));
    }
  }
}

/// The value that the table of panel.h gives to input i of row r, rounded once.
template <class F>
float documented_value(const UnitFields& fields, float row_scale, std::size_t r, std::size_t i) {
  const double c = fields.codes[r][i];
  const double level = F::kTable ? double{static_cast<double>(kIq4Values[fields.codes[r][i]])} : c - F::kZero;
  if constexpr (F::kScales == ScaleKind::kRow) {
    return row_scale * static_cast<float>(level);
  } else {
    const std::size_t g = i / F::kGroup;
    const double d = static_cast<double>(to_float(fields.d[F::kTwoLevel ? 0 : g][r]));
    const double m = static_cast<double>(to_float(fields.m[F::kTwoLevel ? 0 : g][r]));
    switch (F::kScales) {
      case ScaleKind::kGroup: return static_cast<float>(d * level);
      case ScaleKind::kGroupMin: return static_cast<float>(d * c + m);
      case ScaleKind::kSuper: return static_cast<float>(d * static_cast<std::int8_t>(fields.scales[g][r]) * level);
      default: return static_cast<float>(d * fields.scales[g][r] * c - m * fields.mins[g][r]);
    }
  }
}

std::uint16_t half_at(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(unsigned{bytes[0]} | unsigned{bytes[1]} << 8);
}

/// Scales where panel.h says, byte for byte.
template <class F>
void check_header(const UnitFields& fields, const std::uint8_t* unit) {
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    for (std::size_t g = 0; g < F::kGroupsInUnit; ++g) {
      switch (F::kScales) {
        case ScaleKind::kRow: break;
        case ScaleKind::kGroup: REQUIRE(half_at(unit + 32 * g + 2 * r) == fields.d[g][r].bits); break;
        case ScaleKind::kGroupMin:
          REQUIRE(half_at(unit + 64 * g + 2 * r) == fields.d[g][r].bits);
          REQUIRE(half_at(unit + 64 * g + 32 + 2 * r) == fields.m[g][r].bits);
          break;
        case ScaleKind::kSuper: REQUIRE(unit[32 + 16 * g + r] == fields.scales[g][r]); break;
        case ScaleKind::kSuperMin:
          REQUIRE(unit[64 + 32 * g + r] == fields.scales[g][r]);
          REQUIRE(unit[64 + 32 * g + 16 + r] == fields.mins[g][r]);
          break;
        case ScaleKind::kSuperMin4:
          REQUIRE(unit[64 + 16 * g + r] == fields.scales[g][r] + 16 * fields.mins[g][r]);
          break;
      }
    }
    if (F::kTwoLevel) REQUIRE(half_at(unit + 2 * r) == fields.d[0][r].bits);
    if (F::kTwoLevel && F::kHasMin) REQUIRE(half_at(unit + 32 + 2 * r) == fields.m[0][r].bits);
  }
}

template <class F>
void check_units(golden::Random& random) {
  constexpr std::size_t kUnits = 3;
  const std::size_t k = kUnits * F::kUnit - 1;
  std::vector<UnitFields> fields(kUnits);
  std::vector<std::uint8_t> panel(F::panel_bytes(k), 0xEE);
  float row_scales[kPanelRows];
  for (float& s : row_scales) s = static_cast<float>(random.normal());
  if (F::kPrefixBytes != 0) std::memcpy(panel.data(), row_scales, sizeof row_scales);
  for (std::size_t u = 0; u < kUnits; ++u) {
    randomise<F>(fields[u], random);
    std::uint8_t* unit = panel.data() + F::kPrefixBytes + u * F::kUnitBytes;
    pack_unit<F>(fields[u], unit);
    if constexpr (F::kGroup != 0) check_header<F>(fields[u], unit);
  }
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    for (std::size_t i = 0; i < k; ++i) {
      const float expected = documented_value<F>(fields[i / F::kUnit], row_scales[r], r, i % F::kUnit);
      REQUIRE(panel_value<F>(panel.data(), r, i) == expected);
    }
  }
}

}  // namespace

TEST_CASE("units of every format decode to the documented values", "[packed]") {
  golden::Random random(5);
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    visit_format(
        f.format, [&](auto format) { check_units<decltype(format)>(random); },
        [&](auto format) {  // float lines: 16 outputs of an input; bf16 in pairs of inputs
          using T = typename decltype(format)::Element;
          constexpr bool kPairs = std::is_same_v<T, bf16>;
          for (std::size_t r = 0; r < kPanelRows; ++r) {
            for (std::size_t i = 0; i < 9; ++i) {
              const std::size_t element = kPairs ? i / 2 * 32 + 2 * r + i % 2 : 16 * i + r;
              REQUIRE(float_panel_offset<T>(r, i) == element * sizeof(T));
            }
          }
        });
  }
}

TEST_CASE("padding is the zero point under zero scales", "[packed]") {
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    visit_format(
        f.format,
        [&](auto format) {
          using F = decltype(format);
          UnitFields fields;
          std::memset(static_cast<void*>(&fields), 0xFF, sizeof fields);
          fields.clear<F>();
          std::vector<std::uint8_t> unit(F::kUnitBytes, 0xEE);
          pack_unit<F>(fields, unit.data());
          const float ones[kPanelRows] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
          for (std::size_t r = 0; r < kPanelRows; ++r) {
            for (std::size_t i = 0; i < F::kUnit; ++i) REQUIRE(unit_value<F>(unit.data(), ones, r, i) == 0.0f);
          }
        },
        [](auto) {});
  }
}

TEST_CASE("a packed matrix knows its shape", "[packed]") {
  const Result<PackedMatrix> made = PackedMatrix::allocate(PackFormat::int4_g32, 33, 100);
  REQUIRE(made.ok());
  REQUIRE(made->n() == 33);
  REQUIRE(made->k() == 100);
  REQUIRE(made->n_panels() == 3);
  REQUIRE(made->panel_bytes() == 2 * 576);
  REQUIRE(made->bytes() == 3 * 2 * 576);
  REQUIRE_FALSE(made->empty());
  REQUIRE(reinterpret_cast<std::uintptr_t>(made->data()) % kLineBytes == 0);
  REQUIRE(made->panel(2) == made->data() + 2 * made->panel_bytes());
  REQUIRE(made->panel_of(32) == 2);
  REQUIRE(PackedMatrix().empty());

  const Result<PackedMatrix> pair = PackedMatrix::allocate(PackFormat::ternary5, 40, 20, true);
  REQUIRE(pair.ok());
  REQUIRE(pair->n() == 40);
  REQUIRE(pair->interleaved());
  REQUIRE(pair->n_panels() == 6);
  REQUIRE(pair->panel_of(0) == 0);
  REQUIRE(pair->panel_of(0, true) == 1);
  REQUIRE(pair->panel_of(39) == 4);
  REQUIRE(pair->panel_of(39, true) == 5);
}

TEST_CASE("shapes past the exact range or past memory are refused", "[packed]") {
  const auto code = [](PackFormat format, std::size_t n, std::size_t k) {
    const Result<PackedMatrix> made = PackedMatrix::allocate(format, n, k);
    REQUIRE_FALSE(made.ok());
    REQUIRE_FALSE(made.error().message.empty());
    return made.error().code;
  };
  constexpr std::size_t kHuge = ~std::size_t{0};
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    REQUIRE(code(f.format, 0, 64) == Errc::out_of_range);
    REQUIRE(code(f.format, 64, 0) == Errc::out_of_range);
    REQUIRE(code(f.format, 16, kHuge) == Errc::out_of_range);
    REQUIRE(code(f.format, kHuge, 1) == Errc::out_of_range);  // ceil(n / 16) would wrap to no panels at all
    REQUIRE(code(f.format, kHuge - 14, 1) == Errc::out_of_range);
    REQUIRE(code(f.format, std::size_t{1} << 32, (std::size_t{1} << 32) + 1) == Errc::out_of_range);
    const std::size_t limit = f.bits == 0 ? 32768 : f.is_float || f.group != 0 ? 0 : 65536;
    if (limit != 0) {
      REQUIRE(PackedMatrix::allocate(f.format, 1, limit).ok());
      REQUIRE(code(f.format, 1, limit + 1) == Errc::out_of_range);
    }
  }
  REQUIRE(code(PackFormat::f32, std::size_t{1} << 32, std::size_t{1} << 32) == Errc::out_of_range);  // 2^66 bytes
}

TEST_CASE("a view takes exactly the bytes of its shape", "[packed]") {
  const PackFormatInfo& f = info(PackFormat::int8_g32);
  const std::size_t bytes = 2 * f.panel_bytes(70);
  Result<AlignedBuffer> memory = AlignedBuffer::allocate_zeroed(bytes + 64);
  REQUIRE(memory.ok());
  const auto* data = memory->as<std::uint8_t>();
  const auto viewed = [&](std::size_t n, std::size_t k, const std::uint8_t* at, std::size_t size,
                          bool interleaved = false) {
    return PackedMatrix::view(f.format, n, k, interleaved, at, size);
  };
  REQUIRE(viewed(17, 70, data, bytes).ok());
  REQUIRE(viewed(16, 70, data, bytes, true).ok());
  for (const std::size_t wrong : {bytes - 1, bytes + 1, std::size_t{0}, f.panel_bytes(70)}) {
    const Result<PackedMatrix> refused = viewed(17, 70, data, wrong);
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().code == Errc::invalid_argument);
  }
  REQUIRE_FALSE(viewed(17, 70, data + 32, bytes).ok());
  REQUIRE_FALSE(viewed(0, 70, data, 0).ok());
  REQUIRE_FALSE(viewed(17, 0, data, 0).ok());
  REQUIRE_FALSE(viewed(~std::size_t{0}, 1, data, 0).ok());
  REQUIRE_FALSE(
      PackedMatrix::view(PackFormat::int8, 16, 65537, false, data, info(PackFormat::int8).panel_bytes(65537)).ok());
  float row[70];
  viewed(17, 70, data, bytes)->decode_row(16, row);
  for (const float v : row) REQUIRE(v == 0.0f);
}
