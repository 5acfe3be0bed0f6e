// SPDX-License-Identifier: Apache-2.0
// Q8Rows: activation rows as int8 codes with scales and sums, the right-hand operand of every quantised matmul.
//
//   group 0 (one scale a row; BitNet's semantics): s = 127 / max(max|x|, 1e-5), code = clip(round(x s), -128, 127)
//   groups of 32, 64, 128 or 256: scale = max|x| / 127 over each group, code = round(x / scale), in [-127, 127]
//   (below max|x| = 2^-120, where 127 / max|x| overflows, a group is zero)
// Rounding is half to even. Codes past k are zero up to the stride, so kernels may run over padded inputs. Under a NaN or
// an infinity all codes are zero and the scale is not finite, so that every output they reach is NaN.
#pragma once

#include <iterator>

#include "tritium/core/buffer.h"

TRITIUM_NAMESPACE_BEGIN

/// Inputs under one activation scale, as formats ask for them; 0: the whole row.
inline constexpr std::size_t kActivationGroups[] = {0, 32, 64, 128, 256};
/// Kinds of activation rows that formats read.
inline constexpr std::size_t kActivationForms = std::size(kActivationGroups);
/// The place of a group in kActivationGroups.
constexpr std::size_t activation_form(std::size_t group) {
  std::size_t form = 0;
  while (form + 1 < kActivationForms && kActivationGroups[form] != group) ++form;
  return form;
}

/// Codes are padded to this many inputs a row: a multiple of 64 past the largest padded k of any format.
constexpr std::size_t q8_stride(std::size_t k) { return round_up(k, 512) + 64; }
/// Scales of a row of k inputs: one for each group, one in all for group 0.
constexpr std::size_t q8_groups(std::size_t k, std::size_t group) { return group == 0 ? 1 : q8_stride(k) / group; }

/// Bytes of memory that Q8Rows::bind needs for m rows of k inputs.
constexpr std::size_t q8_bytes(std::size_t m, std::size_t k, std::size_t group) {
  const std::size_t groups = q8_groups(k, group);
  const std::size_t words = groups * (group == 32 ? 4 : 2);
  return m * q8_stride(k) + round_up(m * words * 4, kLineBytes) + kLineBytes;  // kernels read whole vectors of sums
}

TRITIUM_NAMESPACE_END
TRITIUM_SEAM_BEGIN

/// What kernels read. Rows of `scales` and the sums are `groups` long (1 when group is 0).
struct Q8View {
  const std::int8_t* codes = nullptr;    ///< (m, stride)
  std::size_t stride = 0;                ///< bytes from one row to the next, a multiple of 64
  const float* scales = nullptr;         ///< (m, groups) value of one code step
  const std::int32_t* sums = nullptr;    ///< (m, groups) sum of the codes under each scale
  const std::int32_t* sums16 = nullptr;  ///< (m, 2 groups) sums of 16 codes; only for group 32
  std::size_t groups = 1;                ///< scales of a row
  std::size_t group = 0;                 ///< inputs under one scale; 0: the whole row
};

/// Writable rows over memory that the caller owns.
struct Q8Rows {
  std::int8_t* codes = nullptr;    ///< (m, stride)
  float* scales = nullptr;         ///< (m, groups) value of one code step
  std::int32_t* sums = nullptr;    ///< (m, groups) sum of the codes under each scale
  std::int32_t* sums16 = nullptr;  ///< (m, 2 groups) sums of 16 codes; null unless group is 32
  std::size_t m = 0;               ///< rows
  std::size_t k = 0;               ///< inputs
  std::size_t stride = 0;          ///< bytes from one row of codes to the next
  std::size_t groups = 1;          ///< scales of a row
  std::size_t group = 0;           ///< inputs under one scale; 0: the whole row

  /// Lays rows over `memory`: q8_bytes(m, k, group) bytes on a 64-byte boundary.
  static TRITIUM_INLINE Q8Rows bind(std::byte* memory, std::size_t m, std::size_t k, std::size_t group) {
    TRITIUM_ASSUME(group % 32 == 0 && group <= 256);
    Q8Rows rows;
    rows.m = m;
    rows.k = k;
    rows.group = group;
    rows.stride = q8_stride(k);
    rows.groups = q8_groups(k, group);
    rows.codes = reinterpret_cast<std::int8_t*>(memory);
    rows.scales = reinterpret_cast<float*>(memory + m * rows.stride);
    rows.sums = reinterpret_cast<std::int32_t*>(rows.scales + m * rows.groups);
    rows.sums16 = group == 32 ? rows.sums + m * rows.groups : nullptr;
    return rows;
  }
  /// The same rows, to be read.
  [[nodiscard]] TRITIUM_INLINE Q8View view() const { return {codes, stride, scales, sums, sums16, groups, group}; }
};

TRITIUM_SEAM_END
