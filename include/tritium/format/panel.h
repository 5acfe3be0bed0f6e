// SPDX-License-Identifier: Apache-2.0
// The one packed layout of quantised weights: panels of 16 outputs, the same bytes on every instruction set.
//
// A matrix of n outputs by k inputs becomes ceil(n / 16) panels. A panel is a run of *steps* of 32 inputs; a step of
// b-bit codes is exactly b lines of 64 bytes. In a line of 8-bit codes, byte 4r + j belongs to output r and input
// 4q + j, q being the *quad*: that is one AVX-512 VNNI operand, two AVX2 operands, four NEON dot-product operands, or one
// row of an AMX tile. Narrower codes are bit planes over such lines:
//
//   bits  lines of a step         quad q (0..7) is found in
//   2     2 x 2-bit               line q / 4, bits 2(q%4) .. 2(q%4)+1 of each byte
//   3     2 x 2-bit, 1 x 1-bit    as 2 bits; third bit: last line, bit q
//   4     4 x 4-bit               line q / 2, low nibble for even q, high nibble for odd q
//   5     4 x 4-bit, 1 x 1-bit    as 4 bits; fifth bit: last line, bit q
//   6     4 x 4-bit, 2 x 2-bit    as 4 bits; upper bits: line 4 + q / 4, bits 2(q%4) .. 2(q%4)+1
//   8     8 x 8-bit               line q
//
// Steps are gathered into *units* that begin with their scales, so that a panel is one sequential stream:
//
//   scales       unit begins with                                    value of a code c
//   kRow         nothing; the panel begins with 16 x f32 s           s * (c - zero)
//   kGroup       16 x f16 d for each group                           d * (c - zero)
//   kGroupMin    16 x f16 d, 16 x f16 m for each group               d * c + m
//   kSuper       16 x f16 d, then 16 x i8 s for each group           d * s * (c - zero)
//   kSuperMin    16 x f16 d, 16 x f16 e, then 16 x u8 s, 16 x u8 t   d * s * c - e * t
//   kSuperMin4   as kSuperMin, s and t in the nibbles of one byte    d * s * c - e * t
//
// Rows past n and inputs past k are padded with the zero point and zero scales: they contribute nothing.
#pragma once

#include <cstring>

#include "tritium/core/buffer.h"
#include "tritium/core/float16.h"

TRITIUM_NAMESPACE_BEGIN

/// Outputs of a panel.
inline constexpr std::size_t kPanelRows = 16;
/// Inputs of one output in a line of 8-bit codes.
inline constexpr std::size_t kQuad = 4;
/// Inputs of a step.
inline constexpr std::size_t kStepInputs = 32;

/// What a unit begins with: docs/formats.md. kRow: nothing; kGroup: f16 d a group; kGroupMin: d and m; kSuper: one d a
/// unit and 8-bit s a group; kSuperMin: d, e and 8-bit s, t; kSuperMin4: the same with 4-bit s, t.
enum class ScaleKind : std::uint8_t { kRow, kGroup, kGroupMin, kSuper, kSuperMin, kSuperMin4 };

/// A panel format as compile-time facts; a model of the WeightFormat concept.
/// kZero is subtracted from codes (formats with a minimum have 0); kTable: codes are indices into kIq4Values.
template <int kBits_, int kZero_, std::size_t kGroup_, ScaleKind kScales_, bool kTable_ = false>
struct PanelFormat {
  static constexpr int kBits = kBits_;            ///< of a code
  static constexpr int kZero = kZero_;            ///< what a code of value zero is
  static constexpr std::size_t kGroup = kGroup_;  ///< inputs under one scale; 0: the whole row
  static constexpr ScaleKind kScales = kScales_;  ///< what units begin with
  static constexpr bool kTable = kTable_;         ///< whether codes index kIq4Values
  /// The largest unsigned operand that a kernel multiplies: a code, or a table value shifted to be unsigned.
  static constexpr int kMaxCode = kTable_ ? 241 : (1 << kBits_) - 1;

  /// Whether a term is added that does not depend on the code.
  static constexpr bool kHasMin =
      kScales == ScaleKind::kGroupMin || kScales == ScaleKind::kSuperMin || kScales == ScaleKind::kSuperMin4;
  /// Whether groups have small integer scales under floats of the unit.
  static constexpr bool kTwoLevel =
      kScales == ScaleKind::kSuper || kScales == ScaleKind::kSuperMin || kScales == ScaleKind::kSuperMin4;

  /// Inputs in a unit: whole groups whose scales fill whole lines.
  static constexpr std::size_t kUnit = kTwoLevel                         ? 256
                                       : kScales == ScaleKind::kGroup    ? 2 * kGroup
                                       : kScales == ScaleKind::kGroupMin ? kGroup
                                                                         : kStepInputs;
  /// Groups of a unit.
  static constexpr std::size_t kGroupsInUnit = kGroup == 0 ? 0 : kUnit / kGroup;
  /// Steps of a unit.
  static constexpr std::size_t kStepsInUnit = kUnit / kStepInputs;
  /// Bytes of the scales that a unit begins with, whole lines.
  static constexpr std::size_t kHeaderBytes = round_up(kScales == ScaleKind::kRow         ? 0
                                                       : kScales == ScaleKind::kGroup     ? 32 * kGroupsInUnit
                                                       : kScales == ScaleKind::kGroupMin  ? 64 * kGroupsInUnit
                                                       : kScales == ScaleKind::kSuper     ? 32 + 16 * kGroupsInUnit
                                                       : kScales == ScaleKind::kSuperMin4 ? 64 + 16 * kGroupsInUnit
                                                                                          : 64 + 32 * kGroupsInUnit,
                                                       kLineBytes);
  /// Bytes of a step: one line for each bit.
  static constexpr std::size_t kStepBytes = static_cast<std::size_t>(kBits) * kLineBytes;
  /// Bytes of a unit, scales included.
  static constexpr std::size_t kUnitBytes = kHeaderBytes + kStepsInUnit * kStepBytes;
  /// Bytes before the first unit: the scales of rows.
  static constexpr std::size_t kPrefixBytes = kScales == ScaleKind::kRow ? kLineBytes : 0;

  static constexpr std::size_t units(std::size_t k) { return div_up(k, kUnit); }     ///< Units of k inputs.
  static constexpr std::size_t padded_k(std::size_t k) { return units(k) * kUnit; }  ///< k rounded up to whole units.
  /// Bytes of a panel of k inputs.
  static constexpr std::size_t panel_bytes(std::size_t k) { return kPrefixBytes + units(k) * kUnitBytes; }

  static_assert(kBits == 2 || kBits == 3 || kBits == 4 || kBits == 5 || kBits == 6 || kBits == 8);
  static_assert((kScales == ScaleKind::kRow) == (kGroup == 0));
  static_assert(kGroup == 0 || (kUnit % kGroup == 0 && (kGroup % kStepInputs == 0 || kGroup == 16)));
  static_assert(!kTable_ || kBits_ == 4);
};

// --- codes <-> lines, scalar -------------------------------------------------------------------------------------------

/// Writes the codes of one step (16 rows of 32 codes) as kBits lines. Out of line: the formats of a width share it.
template <int kBits>
TRITIUM_NOINLINE inline void pack_step(const std::uint8_t (*codes)[kStepInputs], std::uint8_t* lines) {
  const auto dword = [&](std::size_t row, std::size_t quad) {
    std::uint32_t word = 0;
    std::memcpy(&word, codes[row] + kQuad * quad, sizeof(word));
    return word;
  };
  const auto store = [&](std::size_t line, std::size_t row, std::uint32_t word) {
    std::memcpy(lines + line * kLineBytes + kQuad * row, &word, sizeof(word));
  };
  for (std::size_t r = 0; r < kPanelRows; ++r) {
    if constexpr (kBits == 8) {
      for (std::size_t q = 0; q < 8; ++q) store(q, r, dword(r, q));
    }
    if constexpr (kBits == 4 || kBits == 5 || kBits == 6) {
      for (std::size_t line = 0; line < 4; ++line) {
        store(line, r, (dword(r, 2 * line) & 0x0F0F0F0Fu) | ((dword(r, 2 * line + 1) & 0x0F0F0F0Fu) << 4));
      }
    }
    if constexpr (kBits == 2 || kBits == 3 || kBits == 6) {
      constexpr int kShift = kBits == 6 ? 4 : 0;
      constexpr std::size_t kFirst = kBits == 6 ? 4 : 0;
      for (std::size_t line = 0; line < 2; ++line) {
        std::uint32_t word = 0;
        for (std::size_t f = 0; f < 4; ++f) word |= ((dword(r, 4 * line + f) >> kShift) & 0x03030303u) << (2 * f);
        store(kFirst + line, r, word);
      }
    }
    if constexpr (kBits == 3 || kBits == 5) {
      constexpr int kShift = kBits - 1;
      std::uint32_t word = 0;
      for (std::size_t q = 0; q < 8; ++q) word |= ((dword(r, q) >> kShift) & 0x01010101u) << q;
      store(kBits == 3 ? 2 : 4, r, word);
    }
  }
}

/// The code of (row, input) in a step's lines.
template <int kBits>
inline std::uint8_t step_code(const std::uint8_t* lines, std::size_t row, std::size_t input) {
  const std::size_t q = input / kQuad;
  const std::size_t byte = kQuad * row + input % kQuad;
  const auto at = [&](std::size_t line) { return static_cast<unsigned>(lines[line * kLineBytes + byte]); };
  unsigned code = 0;
  if constexpr (kBits == 8) code = at(q);
  if constexpr (kBits == 4 || kBits == 5 || kBits == 6) code = (at(q / 2) >> (4 * (q % 2))) & 15u;
  if constexpr (kBits == 2 || kBits == 3) code = (at(q / 4) >> (2 * (q % 4))) & 3u;
  if constexpr (kBits == 6) code |= ((at(4 + q / 4) >> (2 * (q % 4))) & 3u) << 4;
  if constexpr (kBits == 3) code |= ((at(2) >> q) & 1u) << 2;
  if constexpr (kBits == 5) code |= ((at(4) >> q) & 1u) << 4;
  return static_cast<std::uint8_t>(code);
}

// --- ternary, five codes a byte ----------------------------------------------------------------------------------------

/// Ternary weights at 1.6 bits with one scale a row. A line holds 20 inputs: byte 4r + j carries, as the base-3 fraction
/// ceil(256 v / 243), the five codes (0, 1, 2) of output r at inputs 20i + 4d + j, d = 0 .. 4, first digit most
/// significant. With f0 the byte and f(d+1) = 3 f(d) mod 256, 3 f(d) - f(d+1) = 256 * code d exactly, so kernels multiply
/// the f(d) themselves and never extract a digit. Panel: 16 x f32 scales, then the lines.
struct Ternary5 {
  static constexpr int kBits = 0;                          ///< not whole bits: 8/5
  static constexpr int kZero = 1;                          ///< the code of value zero
  static constexpr std::size_t kGroup = 0;                 ///< a scale for the whole row
  static constexpr ScaleKind kScales = ScaleKind::kRow;    ///< what the panel begins with
  static constexpr bool kTable = false;                    ///< no table
  static constexpr int kMaxCode = 2;                       ///< the largest code
  static constexpr bool kHasMin = false;                   ///< no minimum
  static constexpr bool kTwoLevel = false;                 ///< no scales of groups
  static constexpr std::size_t kUnit = 20;                 ///< inputs of a line
  static constexpr std::size_t kUnitBytes = kLineBytes;    ///< bytes of a unit: one line
  static constexpr std::size_t kPrefixBytes = kLineBytes;  ///< bytes before the lines: the scales of rows
  static constexpr std::size_t units(std::size_t k) { return div_up(k, kUnit); }     ///< Lines of k inputs.
  static constexpr std::size_t padded_k(std::size_t k) { return units(k) * kUnit; }  ///< k rounded up to whole lines.
  /// Bytes of a panel of k inputs.
  static constexpr std::size_t panel_bytes(std::size_t k) { return kPrefixBytes + units(k) * kUnitBytes; }
};

/// ceil(256 v / 243) of the base-3 number of five codes.
constexpr std::uint8_t trits_to_byte(const std::uint8_t* codes, std::size_t stride) {
  unsigned v = 0;
  for (std::size_t d = 0; d < 5; ++d) v = 3 * v + codes[d * stride];
  return static_cast<std::uint8_t>((256 * v + 242) / 243);
}
/// Digit d of a trit byte.
constexpr std::uint8_t trit_of_byte(std::uint8_t byte, std::size_t d) {
  unsigned f = byte;
  for (std::size_t i = 0; i < d; ++i) f = 3 * f & 255u;
  return static_cast<std::uint8_t>(3 * f >> 8);
}

TRITIUM_NAMESPACE_END
