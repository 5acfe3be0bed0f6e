// SPDX-License-Identifier: Apache-2.0
// The packed weight formats by name, and their run-time identifiers.
//
// Adding a format is one line in formats.inc: the enumerator, its descriptor, the kernels, the tests, the benchmark and
// the documentation row follow from it.
#pragma once

#include <array>
#include <string_view>

#include "tritium/format/panel.h"

TRITIUM_NAMESPACE_BEGIN

/// 4 bits, a scale for G inputs: d (c - 8).
template <std::size_t G>
using Int4 = PanelFormat<4, 8, G, ScaleKind::kGroup>;
/// 4 bits, a scale and a minimum for G inputs: d c + m.
template <std::size_t G>
using Int4Min = PanelFormat<4, 0, G, ScaleKind::kGroupMin>;
/// 8 bits, a scale for G inputs: d (c - 128).
template <std::size_t G>
using Int8 = PanelFormat<8, 128, G, ScaleKind::kGroup>;
/// 4 bits, a scale a row: s (c - 8).
using Int4Row = PanelFormat<4, 8, 0, ScaleKind::kRow>;
/// 8 bits, a scale a row: s (c - 128).
using Int8Row = PanelFormat<8, 128, 0, ScaleKind::kRow>;
/// -1, 0 and 1 at 2 bits, a scale a row: s (c - 1).
using Ternary2 = PanelFormat<2, 1, 0, ScaleKind::kRow>;
/// -1, 0 and 1 at 2 bits, a scale for G inputs: d (c - 1).
template <std::size_t G>
using Ternary2Group = PanelFormat<2, 1, G, ScaleKind::kGroup>;
/// Q5_0: d (c - 16), groups of 32.
using Int5 = PanelFormat<5, 16, 32, ScaleKind::kGroup>;
/// Q5_1: d c + m, groups of 32.
using Int5Min = PanelFormat<5, 0, 32, ScaleKind::kGroupMin>;
/// IQ4_NL: d table[c], groups of 32.
using Nonlinear4 = PanelFormat<4, 128, 32, ScaleKind::kGroup, true>;
/// Q2_K: d s c - e t, groups of 16 in 256.
using K2 = PanelFormat<2, 0, 16, ScaleKind::kSuperMin4>;
/// Q3_K: d s (c - 4), groups of 16 in 256.
using K3 = PanelFormat<3, 4, 16, ScaleKind::kSuper>;
/// Q4_K: d s c - e t, groups of 32 in 256.
using K4 = PanelFormat<4, 0, 32, ScaleKind::kSuperMin>;
/// Q5_K: d s c - e t, groups of 32 in 256.
using K5 = PanelFormat<5, 0, 32, ScaleKind::kSuperMin>;
/// Q6_K: d s (c - 32), groups of 16 in 256.
using K6 = PanelFormat<6, 32, 16, ScaleKind::kSuper>;
/// IQ4_XS: d s table[c], groups of 32 in 256.
using NonlinearK4 = PanelFormat<4, 128, 32, ScaleKind::kSuper, true>;

/// Float panels: a line is 16 outputs of one input (f32), or of two inputs: f16 one after the other, bf16 interleaved in
/// pairs (the operand order of a bf16 dot product).
template <class T>
struct FloatPanel {
  using Element = T;                                                         ///< float, f16 or bf16
  static constexpr std::size_t kUnit = 2;                                    ///< inputs; k is padded to it with zeros
  static constexpr std::size_t kUnitBytes = kUnit * kPanelRows * sizeof(T);  ///< bytes of kUnit inputs of 16 outputs
  static constexpr std::size_t units(std::size_t k) { return div_up(k, kUnit); }     ///< Units of k inputs.
  static constexpr std::size_t padded_k(std::size_t k) { return units(k) * kUnit; }  ///< k rounded up to whole units.
  /// Bytes of a panel of k inputs.
  static constexpr std::size_t panel_bytes(std::size_t k) { return units(k) * kUnitBytes; }
};
/// f32 in panels.
using FloatF32 = FloatPanel<float>;
/// f16 in panels.
using FloatF16 = FloatPanel<f16>;
/// bf16 in panels.
using FloatBf16 = FloatPanel<bf16>;

/// What one file of kernels/ compiles together.
enum class FormatFamily : std::uint8_t { ternary, int4, int8, blocks, super };

/// Every packed format, quantised ones first.
enum class PackFormat : std::uint8_t {
#define TRITIUM_FORMAT(family, id, name, type) id,
#define TRITIUM_FLOAT_FORMAT(id, name, type) id,
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
};

/// A packed format's facts at run time.
struct PackFormatInfo {
  PackFormat format;         ///< which one
  std::string_view name;     ///< as `tritium formats` and --weights say it
  bool is_float;             ///< weights are floats and activations stay f32
  int bits;                  ///< of a code; 0: five trits a byte
  int zero;                  ///< zero point of the codes
  std::size_t group;         ///< inputs under one scale; 0: one scale a row
  ScaleKind scales;          ///< meaningless for float formats
  bool table;                ///< codes index kIq4Values
  std::size_t unit;          ///< k is padded to a multiple of this
  std::size_t unit_bytes;    ///< bytes of a unit of 16 outputs, scales included
  std::size_t prefix_bytes;  ///< bytes before the first unit: the scales of rows
  /// Bytes of a panel of k inputs.
  [[nodiscard]] constexpr std::size_t panel_bytes(std::size_t k) const {
    return prefix_bytes + div_up(k, unit) * unit_bytes;
  }
  /// Bits a weight of a long row, scales included.
  [[nodiscard]] constexpr double bits_per_weight() const {
    return static_cast<double>(unit_bytes) * 8.0 / static_cast<double>(unit * kPanelRows);
  }
  /// Inputs under one activation scale: a row for row-scaled weights, else what one weight scale covers, at least 32.
  [[nodiscard]] constexpr std::size_t activation_group() const { return group == 16 ? 32 : group; }
};

namespace detail {
template <class F>
constexpr PackFormatInfo quantised_info(PackFormat id, std::string_view name) {
  return {id,         name,      false,    F::kBits,      F::kZero,       F::kGroup,
          F::kScales, F::kTable, F::kUnit, F::kUnitBytes, F::kPrefixBytes};
}
template <class F>
constexpr PackFormatInfo float_info(PackFormat id, std::string_view name) {
  return {
      id,       name,          true, 8 * static_cast<int>(sizeof(typename F::Element)), 0, 0, ScaleKind::kRow, false,
      F::kUnit, F::kUnitBytes, 0};
}
}  // namespace detail

/// The facts of every packed format, in the order of PackFormat.
inline constexpr PackFormatInfo kPackFormats[] = {
#define TRITIUM_FORMAT(family, id, name, type) detail::quantised_info<type>(PackFormat::id, name),
#define TRITIUM_FLOAT_FORMAT(id, name, type) detail::float_info<type>(PackFormat::id, name),
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
};
/// How many packed formats there are.
inline constexpr std::size_t kPackFormatCount = std::size(kPackFormats);

/// The facts of a packed format.
constexpr const PackFormatInfo& info(PackFormat format) { return kPackFormats[static_cast<std::size_t>(format)]; }

/// Finds a format by name; null when unknown.
constexpr const PackFormatInfo* find_pack_format(std::string_view name) {
  for (const PackFormatInfo& f : kPackFormats) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

TRITIUM_NAMESPACE_END
