// SPDX-License-Identifier: Apache-2.0
// Packed matrices and activation rows of arbitrary sound bytes, written where panel.h says, without the packer: every
// code a format has, any scales. What stands in padding (rows past n, inputs past k) is arbitrary too, where the layout
// allows it: it must not be noticed.
#pragma once

#include <cstring>
#include <stdexcept>
#include <vector>

#include "support/golden_blocks.h"
#include "tritium/format/activation.h"
#include "tritium/format/packed_matrix.h"

namespace panels {

using tritium::PackedMatrix;
using tritium::PackFormat;

enum class Codes { random, most, least };
enum class Scales { plain, huge, denormal, some_zero };

inline void put_half(std::uint8_t* at, std::uint16_t bits) { std::memcpy(at, &bits, sizeof bits); }

/// A finite f16: of ordinary size, near the largest, subnormal, or (every third row) zero. Both signs.
inline std::uint16_t half_scale(Scales scales, std::size_t row, golden::Random& random) {
  const std::size_t sign = random.below(2) << 15;
  if (scales == Scales::some_zero && row % 3 == 0) return 0;
  const std::size_t magnitude = scales == Scales::huge       ? 0x7B00 + random.below(0x100)
                                : scales == Scales::denormal ? 1 + random.below(0x3FF)
                                                             : 0x2000 + random.below(0x1800);  // 2^-7 .. 0.5
  return static_cast<std::uint16_t>(magnitude | sign);
}

inline float row_scale(Scales scales, std::size_t row, golden::Random& random) {
  const auto sign = random.below(2) == 0 ? 1.0 : -1.0;
  if (scales == Scales::some_zero && row % 3 == 0) return 0;
  const double size = scales == Scales::huge ? 1e38 : scales == Scales::denormal ? 1e-41 : 0.1;
  return static_cast<float>(sign * size * (0.1 + random.uniform()));
}

template <class F>
void fill_panel(std::uint8_t* panel, std::size_t k, Codes codes, Scales scales, golden::Random& random) {
  using tritium::ScaleKind;
  const auto byte = [&]() -> std::uint8_t {
    if (codes == Codes::most) return 255;
    if (codes == Codes::least) return 0;
    if (F::kBits == 0) return static_cast<std::uint8_t>((256 * random.below(243) + 242) / 243);
    return static_cast<std::uint8_t>(random.bits());
  };
  if (F::kPrefixBytes != 0) {
    for (std::size_t r = 0; r < 16; ++r) {
      const float s = row_scale(scales, r, random);
      std::memcpy(panel + 4 * r, &s, sizeof s);
    }
    panel += F::kPrefixBytes;
  }
  for (std::size_t u = 0; u < F::units(k); ++u) {
    std::uint8_t* unit = panel + u * F::kUnitBytes;
    std::size_t header = 0;
    if constexpr (F::kGroup != 0) {
      header = F::kHeaderBytes;
      std::memset(unit, 0, header);
      for (std::size_t r = 0; r < 16; ++r) {
        if constexpr (F::kTwoLevel) {
          put_half(unit + 2 * r, half_scale(scales, r, random));
          if (F::kHasMin) put_half(unit + 32 + 2 * r, half_scale(scales, r, random));
          const auto small = [&](unsigned most) { return static_cast<std::uint8_t>(random.below(most + 1)); };
          for (std::size_t g = 0; g < F::kGroupsInUnit; ++g) {
            if (F::kScales == ScaleKind::kSuper) unit[32 + 16 * g + r] = small(255);
            if (F::kScales == ScaleKind::kSuperMin4) unit[64 + 16 * g + r] = small(255);
            if (F::kScales == ScaleKind::kSuperMin) {
              unit[64 + 32 * g + r] = small(255);
              unit[64 + 32 * g + 16 + r] = small(255);
            }
          }
        } else {
          for (std::size_t g = 0; g < F::kGroupsInUnit; ++g) {
            const std::size_t at = g * (F::kHasMin ? 64 : 32) + 2 * r;
            put_half(unit + at, half_scale(scales, r, random));
            if (F::kHasMin) put_half(unit + at + 32, half_scale(scales, r, random));
          }
        }
      }
    }
    for (std::size_t b = header; b < F::kUnitBytes; ++b) unit[b] = byte();
  }
}

template <class T>
void fill_float_panel(std::uint8_t* panel, std::size_t k, Scales scales, golden::Random& random) {
  const std::size_t count = tritium::FloatPanel<T>::panel_bytes(k) / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    const float v = row_scale(scales == Scales::huge ? Scales::plain : scales, i, random) * 10;
    T value{};
    if constexpr (std::is_same_v<T, float>) value = v;
    if constexpr (std::is_same_v<T, tritium::f16>) value = tritium::to_f16(v);
    if constexpr (std::is_same_v<T, tritium::bf16>) value = tritium::to_bf16(v);
    std::memcpy(panel + i * sizeof(T), &value, sizeof value);
  }
}

inline PackedMatrix allocate(PackFormat format, std::size_t n, std::size_t k, bool interleaved = false) {
  auto made = PackedMatrix::allocate(format, n, k, interleaved);
  if (!made.ok()) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

inline PackedMatrix matrix(PackFormat format, std::size_t n, std::size_t k, Codes codes, Scales scales,
                           golden::Random& random) {
  PackedMatrix w = allocate(format, n, k);
  for (std::size_t p = 0; p < w.n_panels(); ++p) {
    tritium::visit_format(
        format, [&](auto f) { fill_panel<decltype(f)>(w.panel(p), k, codes, scales, random); },
        [&](auto f) { fill_float_panel<typename decltype(f)::Element>(w.panel(p), k, scales, random); });
  }
  return w;
}

inline PackedMatrix copy_of(const PackedMatrix& w) {
  PackedMatrix copy = allocate(w.format(), w.n(), w.k(), w.interleaved());
  std::memcpy(copy.panel(0), w.data(), w.bytes());
  return copy;
}

/// Two matrices of one shape, panel by panel.
inline PackedMatrix interleave(const PackedMatrix& gate, const PackedMatrix& up) {
  PackedMatrix both = allocate(gate.format(), gate.n(), gate.k(), true);
  for (std::size_t p = 0; p < gate.n_panels(); ++p) {
    std::memcpy(both.panel(2 * p), gate.panel(p), gate.panel_bytes());
    std::memcpy(both.panel(2 * p + 1), up.panel(p), up.panel_bytes());
  }
  return both;
}

/// The same row-scaled codes under scales of 1: its values are the integer levels.
inline PackedMatrix unscaled(const PackedMatrix& w) {
  PackedMatrix copy = copy_of(w);
  for (std::size_t p = 0; p < copy.n_panels(); ++p) {
    const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    std::memcpy(copy.panel(p), ones, sizeof ones);
  }
  return copy;
}

/// The same codes with signs of the scales such that d * c and the minimum add up instead of cancelling: its values bound
/// the magnitude of every term that a kernel may form.
inline PackedMatrix magnitudes(const PackedMatrix& w) {
  PackedMatrix copy = copy_of(w);
  tritium::visit_format(
      w.format(),
      [&](auto f) {
        using F = decltype(f);
        if constexpr (F::kHasMin) {
          for (std::size_t p = 0; p < copy.n_panels(); ++p) {
            for (std::size_t u = 0; u < F::units(w.k()); ++u) {
              std::uint8_t* unit = copy.panel(p) + F::kPrefixBytes + u * F::kUnitBytes;
              const std::size_t groups = F::kTwoLevel ? 1 : F::kGroupsInUnit;
              for (std::size_t i = 0; i < 16 * groups; ++i) {
                std::uint8_t* d = unit + i / 16 * 64 + 2 * (i % 16);
                d[1] &= 0x7F;
                if (F::kTwoLevel) d[33] |= 0x80;  // value = d s c - e t
                else d[33] &= 0x7F;               // value = d c + m
              }
            }
          }
        }
      },
      [](auto) {});
  return copy;
}

/// Activation rows in memory of their own.
class Rows {
 public:
  enum class Fill { random, most, least, alternating, zero };

  Rows(std::size_t m, std::size_t k, std::size_t group, Fill fill, double scale, golden::Random& random)
      : memory_(tritium::q8_bytes(m, k, group) + 64) {
    const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(memory_.data()) % 64;
    rows_ = tritium::Q8Rows::bind(memory_.data() + (misaligned == 0 ? 0 : 64 - misaligned), m, k, group);
    for (std::size_t r = 0; r < m; ++r) {
      std::int8_t* codes = rows_.codes + r * rows_.stride;
      std::memset(codes, 0, rows_.stride);
      for (std::size_t i = 0; i < k; ++i) {
        const bool up = fill == Fill::most || (fill == Fill::alternating && i % 2 == 0);
        codes[i] = fill == Fill::zero     ? std::int8_t{0}
                   : fill == Fill::random ? static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127)
                   : up                   ? std::int8_t{127}
                                          : std::int8_t{-127};
      }
      const std::size_t per_group = group == 0 ? rows_.stride : group;
      for (std::size_t g = 0; g < rows_.groups; ++g) {
        const bool live = g * per_group < k;
        rows_.scales[r * rows_.groups + g] = live ? static_cast<float>(scale * (0.5 + random.uniform())) : 0.0f;
        std::int32_t sum[2] = {0, 0};
        for (std::size_t i = 0; i < per_group; ++i) sum[i / 16 % 2] += codes[g * per_group + i];
        rows_.sums[r * rows_.groups + g] = sum[0] + sum[1];
        if (group == 32) {
          rows_.sums16[2 * (r * rows_.groups + g)] = sum[0];
          rows_.sums16[2 * (r * rows_.groups + g) + 1] = sum[1];
        }
      }
    }
  }
  [[nodiscard]] tritium::Q8View view() const { return rows_.view(); }
  [[nodiscard]] const std::int8_t* codes(std::size_t r) const { return rows_.codes + r * rows_.stride; }
  [[nodiscard]] float scale(std::size_t r, std::size_t i = 0) const {
    return rows_.scales[r * rows_.groups + (rows_.group == 0 ? 0 : i / rows_.group)];
  }
  /// The values of row r.
  [[nodiscard]] std::vector<double> values(std::size_t r) const {
    std::vector<double> x(rows_.k);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<double>(codes(r)[i]) * static_cast<double>(scale(r, i));
    return x;
  }

 private:
  std::vector<std::byte> memory_;
  tritium::Q8Rows rows_;
};

}  // namespace panels
