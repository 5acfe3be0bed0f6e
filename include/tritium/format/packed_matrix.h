// SPDX-License-Identifier: Apache-2.0
// PackedMatrix: a weight matrix in panels, whatever its format, and the lossless way between panels and values.
//
// The format is a run-time value here; visit_format() turns it back into its descriptor type. A matrix may be the
// interleaving of two (gate and up of a gated MLP): panel 2i is then panel i of the first, 2i + 1 of the second, so that
// one kernel tile sees both. Scalar code only: this is the oracle of the kernels' view of the same bytes.
#pragma once

#include <array>
#include <cstring>
#include <memory>

#include "tritium/format/block_fields.h"
#include "tritium/format/formats.h"

TRITIUM_NAMESPACE_BEGIN

/// Calls f(F{}) with the descriptor of a quantised format; float formats call g(FloatPanel<T>{}).
template <class OnQuantised, class OnFloat>
inline auto visit_format(PackFormat format, OnQuantised&& on_quantised, OnFloat&& on_float) {
  switch (format) {
#define TRITIUM_FORMAT(family, id, name, type) \
  case PackFormat::id: return on_quantised(type{});
#define TRITIUM_FLOAT_FORMAT(id, name, type) \
  case PackFormat::id: return on_float(type{});
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
  }
  __builtin_unreachable();
}

/// The fields of one unit of a panel: codes and scales of 16 rows, free of how they are filed.
struct UnitFields {
  static constexpr std::size_t kMaxUnit = 512;   ///< inputs of the longest unit
  static constexpr std::size_t kMaxGroups = 16;  ///< groups of the unit that has most
  /// of each output and input
  std::uint8_t codes[kPanelRows][kMaxUnit];
  f16 d[kMaxGroups][kPanelRows];                ///< kGroup, kGroupMin: of each group; two-level: d[0]
  f16 m[kMaxGroups][kPanelRows];                ///< kGroupMin: of each group; kSuperMin: m[0] is e of the panel layout
  std::uint8_t scales[kMaxGroups][kPanelRows];  ///< two-level: s, as bits of an i8 in kSuper
  std::uint8_t mins[kMaxGroups][kPanelRows];    ///< kSuperMin: t

  /// Everything a padded row or input needs: the zero point, zero scales.
  template <class F>
  void clear() {
    std::memset(codes, F::kTable ? 0 : F::kZero, sizeof(codes));
    std::memset(d, 0, sizeof(d));
    std::memset(m, 0, sizeof(m));
    std::memset(scales, 0, sizeof(scales));
    std::memset(mins, 0, sizeof(mins));
  }
};

/// Writes a unit of F: F::kUnitBytes at `out`.
template <class F>
inline void pack_unit(const UnitFields& fields, std::uint8_t* out) {
  if constexpr (F::kBits == 0) {  // five trits a byte
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      for (std::size_t j = 0; j < kQuad; ++j) out[kQuad * r + j] = trits_to_byte(fields.codes[r] + j, kQuad);
    }
  } else {
    std::memset(out, 0, F::kHeaderBytes);
    for (std::size_t g = 0; g < F::kGroupsInUnit; ++g) {
      switch (F::kScales) {
        case ScaleKind::kRow: break;
        case ScaleKind::kGroup: std::memcpy(out + 32 * g, fields.d[g], 32); break;
        case ScaleKind::kGroupMin:
          std::memcpy(out + 64 * g, fields.d[g], 32);
          std::memcpy(out + 64 * g + 32, fields.m[g], 32);
          break;
        case ScaleKind::kSuper: std::memcpy(out + 32 + 16 * g, fields.scales[g], 16); break;
        case ScaleKind::kSuperMin:
          std::memcpy(out + 64 + 32 * g, fields.scales[g], 16);
          std::memcpy(out + 64 + 32 * g + 16, fields.mins[g], 16);
          break;
        case ScaleKind::kSuperMin4:
          for (std::size_t r = 0; r < kPanelRows; ++r) {
            out[64 + 16 * g + r] =
                static_cast<std::uint8_t>((fields.scales[g][r] & 15u) | (unsigned{fields.mins[g][r]} << 4));
          }
          break;
      }
    }
    if constexpr (F::kTwoLevel) {
      std::memcpy(out, fields.d[0], 32);
      if constexpr (F::kHasMin) std::memcpy(out + 32, fields.m[0], 32);
    }
    out += F::kHeaderBytes;
    std::uint8_t step[kPanelRows][kStepInputs];
    for (std::size_t s = 0; s < F::kStepsInUnit; ++s, out += F::kStepBytes) {
      for (std::size_t r = 0; r < kPanelRows; ++r) std::memcpy(step[r], fields.codes[r] + s * kStepInputs, kStepInputs);
      pack_step<F::kBits>(step, out);
    }
  }
}

/// Value of input i of row r of the unit at `unit`; `row_scales` is the panel's first line for row formats.
template <class F>
inline float unit_value(const std::uint8_t* unit, const float* row_scales, std::size_t r, std::size_t i) {
  if constexpr (F::kBits == 0) {
    const std::uint8_t code = trit_of_byte(unit[kQuad * r + i % kQuad], i / kQuad);
    return row_scales[r] * static_cast<float>(int{code} - F::kZero);
  } else {
    const std::uint8_t* lines = unit + F::kHeaderBytes + i / kStepInputs * F::kStepBytes;
    const std::uint8_t code = step_code<F::kBits>(lines, r, i % kStepInputs);
    const auto level = static_cast<float>(F::kTable ? int{kIq4Values[code & 15u]} : int{code} - F::kZero);
    const auto half = [&](std::size_t offset) {
      f16 h{};
      std::memcpy(&h, unit + offset + 2 * r, sizeof(h));
      return to_float(h);
    };
    if constexpr (F::kScales == ScaleKind::kRow) {
      return row_scales[r] * level;
    } else {
      const std::size_t g = i / F::kGroup;
      if constexpr (F::kScales == ScaleKind::kGroup) return half(32 * g) * level;
      if constexpr (F::kScales == ScaleKind::kGroupMin) return half(64 * g) * level + half(64 * g + 32);
      if constexpr (F::kScales == ScaleKind::kSuper) {
        return half(0) * static_cast<float>(static_cast<std::int8_t>(unit[32 + 16 * g + r])) * level;
      }
      if constexpr (F::kScales == ScaleKind::kSuperMin) {
        const std::uint8_t* group = unit + 64 + 32 * g + r;
        return half(0) * static_cast<float>(group[0]) * level - half(32) * static_cast<float>(group[16]);
      }
      if constexpr (F::kScales == ScaleKind::kSuperMin4) {
        const std::uint8_t group = unit[64 + 16 * g + r];
        return half(0) * static_cast<float>(group & 15) * level - half(32) * static_cast<float>(group >> 4);
      }
    }
  }
}

/// The value of output r < 16 and input i of a panel of format F.
template <class F>
inline float panel_value(const std::uint8_t* panel, std::size_t r, std::size_t i) {
  float row_scales[kPanelRows] = {};
  if constexpr (F::kPrefixBytes != 0) std::memcpy(row_scales, panel, sizeof(row_scales));
  return unit_value<F>(panel + F::kPrefixBytes + i / F::kUnit * F::kUnitBytes, row_scales, r, i % F::kUnit);
}

/// Byte offset of element (r, i) in a float panel.
template <class T>
constexpr std::size_t float_panel_offset(std::size_t r, std::size_t i) {
  if constexpr (std::is_same_v<T, bf16>) return (i / 2 * 2 * kPanelRows + 2 * r + i % 2) * sizeof(T);
  return (i * kPanelRows + r) * sizeof(T);
}

/// A weight matrix (n, k) in panels; owns them, or views those of somebody else. Moves, does not copy.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// Room for n by k weights of a format (two such matrices when interleaved); panels are not yet written.
  /// Errors: out_of_range (n, or k past the exact range of int32 accumulation), out_of_memory.
  static Result<PackedMatrix> allocate(PackFormat format, std::size_t n, std::size_t k, bool interleaved = false) {
    TRITIUM_ASSIGN(PackedMatrix matrix, shaped(format, n, k, interleaved));
    TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(matrix.n_panels(), matrix.panel_bytes_));
    TRITIUM_ASSIGN(matrix.storage_, AlignedBuffer::allocate(bytes));
    matrix.data_ = matrix.storage_.as<std::uint8_t>();
    return matrix;
  }

  /// A matrix over panels that somebody else keeps alive (a mapped cache file); 64-byte aligned, 64 bytes readable past
  /// the end. Errors: as allocate(), invalid_argument (size or alignment).
  static Result<PackedMatrix> view(PackFormat format, std::size_t n, std::size_t k, bool interleaved,
                                   const std::uint8_t* data, std::size_t bytes) {
    TRITIUM_ASSIGN(PackedMatrix matrix, shaped(format, n, k, interleaved));
    TRITIUM_ASSIGN(const std::size_t expected, checked_mul(matrix.n_panels(), matrix.panel_bytes_));
    if (bytes != expected || reinterpret_cast<std::uintptr_t>(data) % kLineBytes != 0) {
      return make_error(Errc::invalid_argument, "packed data", info(format).name,
                        std::to_string(expected) + " aligned bytes", std::to_string(bytes));
    }
    matrix.data_ = const_cast<std::uint8_t*>(data);  // read only: nothing writes panels after packing
    return matrix;
  }

  [[nodiscard]] PackFormat format() const { return format_; }                        ///< The format of the panels.
  [[nodiscard]] const PackFormatInfo& format_info() const { return info(format_); }  ///< Its facts.
  /// Outputs of one of the interleaved matrices, or of the only one.
  [[nodiscard]] std::size_t n() const { return n_; }
  [[nodiscard]] std::size_t k() const { return k_; }  ///< Inputs.
  /// Whether panels of two matrices of n rows alternate: a gate and what it gates.
  [[nodiscard]] bool interleaved() const { return interleaved_; }
  [[nodiscard]] bool empty() const { return data_ == nullptr; }  ///< Whether there is no matrix.
  /// Panels, those of both interleaved matrices.
  [[nodiscard]] std::size_t n_panels() const { return div_up(n_, kPanelRows) * (interleaved_ ? 2 : 1); }
  [[nodiscard]] std::size_t panel_bytes() const { return panel_bytes_; }         ///< Bytes of one panel.
  [[nodiscard]] std::size_t bytes() const { return n_panels() * panel_bytes_; }  ///< Bytes of all panels.
  [[nodiscard]] const std::uint8_t* data() const { return data_; }  ///< The first panel, on a 64-byte boundary.
  [[nodiscard]] const std::uint8_t* panel(std::size_t i) const { return data_ + i * panel_bytes_; }  ///< Panel i.
  [[nodiscard]] std::uint8_t* panel(std::size_t i) { return data_ + i * panel_bytes_; }              ///< Panel i.

  /// The panel and the lane of output `row`; `second` picks the other one of interleaved matrices.
  [[nodiscard]] std::size_t panel_of(std::size_t row, bool second = false) const {
    return row / kPanelRows * (interleaved_ ? 2 : 1) + (second ? 1 : 0);
  }

  /// Writes the k values of a row: exactly the values that were packed.
  void decode_row(std::size_t row, float* out, bool second = false) const {
    TRITIUM_ASSUME(row < n_ && (!second || interleaved_));
    const std::uint8_t* p = panel(panel_of(row, second));
    const std::size_t r = row % kPanelRows;
    visit_format(
        format_,
        [&](auto f) {
          for (std::size_t i = 0; i < k_; ++i) out[i] = panel_value<decltype(f)>(p, r, i);
        },
        [&](auto f) {
          using T = typename decltype(f)::Element;
          for (std::size_t i = 0; i < k_; ++i) {
            T value{};
            std::memcpy(&value, p + float_panel_offset<T>(r, i), sizeof(T));
            if constexpr (std::is_same_v<T, float>) out[i] = value;
            else out[i] = to_float(value);
          }
        });
  }

 private:
  static Result<PackedMatrix> shaped(PackFormat format, std::size_t n, std::size_t k, bool interleaved) {
    const PackFormatInfo& f = info(format);
    // Row formats add over the whole row: 255 * 127 * k (three times that for trits) must stay below 2^31.
    constexpr std::size_t kMost = std::size_t{1} << 32;
    const std::size_t k_limit = f.bits == 0 ? 32768 : f.is_float || f.group != 0 ? kMost : 65536;
    if (n == 0 || n > kMost || k == 0 || k > k_limit) {
      return make_error(Errc::out_of_range, "matrix shape", f.name, "1 to " + std::to_string(k_limit) + " inputs",
                        std::to_string(n) + " x " + std::to_string(k));
    }
    PackedMatrix matrix;
    matrix.format_ = format;
    matrix.n_ = n;
    matrix.k_ = k;
    matrix.interleaved_ = interleaved;
    matrix.panel_bytes_ = f.panel_bytes(k);
    return matrix;
  }

  PackFormat format_ = PackFormat::f32;
  std::size_t n_ = 0;
  std::size_t k_ = 0;
  bool interleaved_ = false;
  std::size_t panel_bytes_ = 0;
  AlignedBuffer storage_;
  std::uint8_t* data_ = nullptr;
};

TRITIUM_NAMESPACE_END
