// SPDX-License-Identifier: Apache-2.0
// Packing: stored tensors and float matrices into panels.
//
// A tensor whose type has a panel twin is moved code by code and scale by scale, so the panels decode to exactly the
// file's values (`keep`); so are the ternary layouts of BitNet files. Everything else goes through f32 and plain
// rounding, one row at a time. Packing is split into 16-row panels that threads share; no float copy of a matrix is made.
#pragma once

#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "tritium/core/executor.h"
#include "tritium/format/bitnet_layouts.h"
#include "tritium/format/gguf_encode.h"
#include "tritium/format/packed_matrix.h"
#include "tritium/format/ternary_quantize.h"

TRITIUM_NAMESPACE_BEGIN

/// A stored matrix: `rows` rows of `cols` elements, row-major.
struct StoredMatrix {
  TensorType type = TensorType::f32;  ///< how numbers are stored
  const std::byte* data = nullptr;    ///< row 0; any alignment
  std::size_t rows = 0;               ///< outputs
  std::size_t cols = 0;               ///< inputs, a whole number of blocks
  /// Row r of the matrix is row row_order[r] of the data; null: the identity. Undoes permutations without a copy.
  const std::uint32_t* row_order = nullptr;
  /// Value of one code step where the rows hold ternary codes and nothing else: i2_s and bitnet rows.
  float scale = 1.0f;
  /// Not 0: bitnet rows (bitnet_layouts.h), the packed uint8 of a Hugging Face checkpoint; type is u8 and this is the
  /// number of rows of the whole tensor, four of which share a row of bytes.
  std::size_t bitnet_rows = 0;

  /// Bytes of one stored row.
  [[nodiscard]] std::size_t row_bytes() const { return cols / info(type).block_length * info(type).block_bytes; }
  /// The stored row that holds row r.
  [[nodiscard]] std::size_t stored_row(std::size_t r) const { return row_order == nullptr ? r : row_order[r]; }
  /// The bytes of row r.
  [[nodiscard]] const std::byte* row(std::size_t r) const {
    const std::size_t at = stored_row(r);
    return data + (bitnet_rows == 0 ? at : at % (bitnet_rows / 4)) * row_bytes();
  }
  /// True when rows are ternary codes under `scale`.
  [[nodiscard]] bool has_ternary_codes() const { return type == TensorType::i2_s || bitnet_rows != 0; }
};

/// A whole I2_S tensor with the scale that stands behind its codes. Errors: as i2_s_scale().
inline Result<StoredMatrix> stored_i2_s(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols) {
  TRITIUM_ASSIGN(const float scale, i2_s_scale(bytes, rows, cols));
  StoredMatrix w{TensorType::i2_s, bytes.data(), rows, cols};
  w.scale = scale;
  return w;
}

/// A whole Hugging Face BitNet weight, uint8 [rows / 4, cols], with the value of one code step.
/// Errors: invalid_argument (rows not a multiple of 4, size of `bytes`).
inline Result<StoredMatrix> stored_bitnet_rows(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols,
                                               float scale) {
  if (rows == 0 || rows % 4 != 0) {
    return make_error(Errc::invalid_argument, "bitnet rows", "rows", "a multiple of 4", std::to_string(rows));
  }
  TRITIUM_ASSIGN(const std::size_t expected, checked_mul(rows / 4, cols));
  TRITIUM_TRY(detail::check_size("bitnet rows", expected, bytes.size()));
  StoredMatrix w{TensorType::u8, bytes.data(), rows, cols};
  w.scale = scale;
  w.bitnet_rows = rows;
  return w;
}

/// The panel format that holds a type without loss. TQ1_0 and TQ2_0 have a scale per 256; see keep_format(matrix).
constexpr PackFormat keep_format(TensorType type) {
  switch (type) {
    case TensorType::q4_0: return PackFormat::int4_g32;
    case TensorType::q4_1: return PackFormat::int4_g32m;
    case TensorType::q5_0: return PackFormat::int5_g32;
    case TensorType::q5_1: return PackFormat::int5_g32m;
    case TensorType::q8_0: return PackFormat::int8_g32;
    case TensorType::q2_k: return PackFormat::k2;
    case TensorType::q3_k: return PackFormat::k3;
    case TensorType::q4_k: return PackFormat::k4;
    case TensorType::q5_k: return PackFormat::k5;
    case TensorType::q6_k: return PackFormat::k6;
    case TensorType::iq4_nl: return PackFormat::nl4_g32;
    case TensorType::iq4_xs: return PackFormat::nlk4;
    case TensorType::tq1_0:
    case TensorType::tq2_0: return PackFormat::ternary2_g256;
    case TensorType::i2_s: return PackFormat::ternary2;
    case TensorType::f16: return PackFormat::f16;
    case TensorType::bf16:
    case TensorType::mxfp4: return PackFormat::bf16;  // a power of two times 0 .. 6: exact in bf16
    default: return PackFormat::f32;
  }
}

namespace detail {

/// The scale that all blocks of each row of a ternary tensor share, ignoring blocks of zeros; false when they differ.
inline bool ternary_row_scales(const StoredMatrix& w, std::size_t row, float* scale) {
  const TensorTypeInfo& t = info(w.type);
  float found = 0;
  bool any = false;
  BlockFields fields;
  for (std::size_t b = 0; b < w.cols / t.block_length; ++b) {
    unpack_block(w.type, w.row(row) + b * t.block_bytes, fields);
    bool zeros = true;
    for (std::size_t i = 0; i < t.block_length; ++i) zeros = zeros && fields.codes[i] == 1;
    if (zeros) continue;
    if (any && fields.d != found) return false;
    found = fields.d;
    any = true;
  }
  *scale = found;
  return true;
}

}  // namespace detail

/// As keep_format(type), looking at the data: ternary blocks that share one scale a row need no group scales, and then
/// run with BitNet's own activation semantics.
inline PackFormat keep_format(const StoredMatrix& w) {
  if (w.has_ternary_codes()) return PackFormat::ternary2;
  if (w.type != TensorType::tq1_0 && w.type != TensorType::tq2_0) return keep_format(w.type);
  for (std::size_t r = 0; r < w.rows; ++r) {
    float scale = 0;
    if (!detail::ternary_row_scales(w, r, &scale)) return PackFormat::ternary2_g256;
  }
  return PackFormat::ternary2;
}

namespace detail {

/// The same error with the row in front.
inline Error in_row(std::size_t row, const Error& error) {
  return {error.code, "row " + std::to_string(row) + ": " + error.message};
}

/// Fills row r of `out` with unit `unit` of a row of blocks whose fields F can hold. Errors: invalid_file (scales, codes).
template <class F, TensorType kType>
inline Status load_row_blocks(const std::byte* row, std::size_t cols, std::size_t unit, std::size_t r,
                              UnitFields& out) {
  using Codec = BlockCodec<kType>;
  constexpr std::size_t kLength = Codec::kFormat.length;
  constexpr std::size_t kBytes = info(kType).block_bytes;
  static_assert(F::kUnit % kLength == 0);
  BlockFields fields;
  for (std::size_t b = 0; b < F::kUnit / kLength; ++b) {
    const std::size_t block = unit * (F::kUnit / kLength) + b;
    if (block * kLength >= cols) return {};
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(row) + block * kBytes;
    TRITIUM_TRY(check_block(Codec{}, bytes, block * kLength));
    Codec::unpack(bytes, fields);
    std::memcpy(out.codes[r] + b * kLength, fields.codes.data(), kLength);
    if constexpr (F::kTwoLevel) {
      out.d[0][r] = to_f16(fields.d);
      out.m[0][r] = to_f16(fields.m);
      for (std::size_t g = 0; g < F::kGroupsInUnit; ++g) {
        out.scales[g][r] = static_cast<std::uint8_t>(fields.scales[g]);
        out.mins[g][r] = static_cast<std::uint8_t>(fields.mins[g]);
      }
    } else {
      out.d[b][r] = to_f16(fields.d);
      out.m[b][r] = to_f16(fields.m);
    }
  }
  return {};
}

/// Calls f(integral_constant<TensorType>) for the types whose blocks move into F unchanged.
template <class F, class Fn>
inline bool with_twin(TensorType type, PackFormat format, Fn&& fn) {
  if (keep_format(type) != format) return false;
  const auto call = [&](auto constant) {
    constexpr TensorType kType = decltype(constant)::value;
    constexpr const BlockFormat& kBlock = BlockCodec<kType>::kFormat;
    if constexpr (kBlock.bits == F::kBits && F::kUnit % kBlock.length == 0 && kBlock.has_min() == F::kHasMin &&
                  (F::kTwoLevel ? kBlock.n_groups() > 1 && kBlock.group == F::kGroup
                                : kBlock.n_groups() == 1 && kBlock.length == F::kGroup)) {
      fn(constant);
      return true;
    }
    return false;
  };
  switch (type) {
#define TRITIUM_TWIN(t) \
  case TensorType::t: return call(std::integral_constant<TensorType, TensorType::t>{});
    TRITIUM_TWIN(q4_0)
    TRITIUM_TWIN(q4_1)
    TRITIUM_TWIN(q5_0)
    TRITIUM_TWIN(q5_1) TRITIUM_TWIN(q8_0) TRITIUM_TWIN(q2_k) TRITIUM_TWIN(q3_k) TRITIUM_TWIN(q4_k) TRITIUM_TWIN(q5_k)
        TRITIUM_TWIN(q6_k) TRITIUM_TWIN(iq4_nl) TRITIUM_TWIN(iq4_xs) TRITIUM_TWIN(tq1_0) TRITIUM_TWIN(tq2_0)
#undef TRITIUM_TWIN
            default : return false;
  }
}

/// 1 / d, or 0 where d is zero or so small that the division overflows: every code is then the zero point.
inline float inverse_step(float d) { return std::fabs(d) < std::numeric_limits<float>::min() ? 0.0f : 1.0f / d; }

/// The s of values that all lie in {-s, 0, s}; 0 when they do not, or are all zero.
inline float ternary_magnitude(const float* v, std::size_t count) {
  float s = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float magnitude = std::fabs(v[i]);
    if (s == 0) s = magnitude;
    if (magnitude != 0 && magnitude != s) return 0;
  }
  return s;
}

/// Plain rounding of a group's finite values to codes with a scale (and minimum).
///   symmetric   d = (element of largest magnitude) / -zero, code = round(v / d) + zero: uses the code below -(zero - 1)
///   int8        d = max|v| / 127
///   ternary     d = the one magnitude of values that are ternary already, else mean|v|;
///               code = clip(round(v / d), -1, 1) + 1
///   minimum     d = (max - min) / max code, m = min
///   table       d from the element of largest magnitude, nearest level
/// d or m may be infinite (values past the range of f32 apart); codes are then not written.
/// By what rounding depends on, and out of line: formats that differ in their groups share it.
template <int kBits, int kZero, bool kHasMin, bool kTable>
TRITIUM_NOINLINE inline void round_group(const float* v, std::size_t count, std::uint8_t* codes, float* d, float* m) {
  *m = 0;
  if constexpr (kBits == 2) {
    const float exact = ternary_magnitude(v, count);
    *d = exact != 0 ? exact : absmean_scale(magnitude_sum(v, count), count);
    ternarize(v, count, *d, codes);
    return;
  }
  float largest = 0;
  float low = v[0];
  float high = v[0];
  for (std::size_t i = 0; i < count; ++i) {
    if (std::fabs(v[i]) > std::fabs(largest)) largest = v[i];
    low = std::min(low, v[i]);
    high = std::max(high, v[i]);
  }
  constexpr int kMax = (1 << kBits) - 1;
  const auto code = [](float x) {
    return static_cast<std::uint8_t>(x < 0.0f ? 0.0f : x > static_cast<float>(kMax) ? static_cast<float>(kMax) : x);
  };
  if constexpr (kHasMin) {
    *d = (high - low) / static_cast<float>(kMax);
    *m = low;
    if (!std::isfinite(*d)) return;
    const float inverse = inverse_step(*d);
    for (std::size_t i = 0; i < count; ++i) codes[i] = code(round_half_even((v[i] - low) * inverse));
  } else if constexpr (kTable) {
    *d = largest / static_cast<float>(kIq4Values[0]);
    const float inverse = inverse_step(*d);
    for (std::size_t i = 0; i < count; ++i) {
      const float x = v[i] * inverse;
      std::size_t best = 0;
      for (std::size_t c = 1; c < kIq4Values.size(); ++c) {
        const auto distance = [&](std::size_t level) { return std::fabs(x - static_cast<float>(kIq4Values[level])); };
        if (distance(c) < distance(best)) best = c;
      }
      codes[i] = static_cast<std::uint8_t>(best);
    }
  } else {
    *d = kBits == 8 ? std::fabs(largest) / 127.0f : largest / static_cast<float>(-kZero);
    const float inverse = inverse_step(*d);
    for (std::size_t i = 0; i < count; ++i) {
      codes[i] = code(round_half_even(v[i] * inverse) + static_cast<float>(kZero));
    }
  }
}

/// The GGUF type whose reference quantizer fills a two-level format; others round each group themselves.
constexpr TensorType rounding_twin(PackFormat format) {
  switch (format) {
    case PackFormat::k2: return TensorType::q2_k;
    case PackFormat::k3: return TensorType::q3_k;
    case PackFormat::k4: return TensorType::q4_k;
    case PackFormat::k5: return TensorType::q5_k;
    case PackFormat::k6: return TensorType::q6_k;
    case PackFormat::nlk4: return TensorType::iq4_xs;
    default: return TensorType::f32;
  }
}

/// Codes of a row of i2_s or bitnet rows. Errors: invalid_file (the reserved code).
inline Status load_ternary_codes(const StoredMatrix& w, std::size_t row, std::uint8_t* codes) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(w.row(row));
  if (w.bitnet_rows != 0) {
    const std::size_t shift = 2 * (w.stored_row(row) / (w.bitnet_rows / 4));
    for (std::size_t i = 0; i < w.cols; ++i) codes[i] = (bytes[i] >> shift) & 3u;
  } else {
    for (std::size_t b = 0; b < w.cols / 128; ++b) unpack_i2_s_block(bytes + 32 * b, codes + 128 * b);
  }
  const std::size_t bad = find_reserved_code(codes, w.cols);
  if (bad != w.cols) return in_row(row, reserved_code_error(w.bitnet_rows != 0 ? "bitnet rows" : "i2_s", bad));
  return {};
}

/// Codes and scale of a row that is ternary under one scale; false for all other rows.
/// Errors: invalid_file (the reserved code, a scale that is not finite).
inline Result<bool> load_ternary_row(const StoredMatrix& w, std::size_t row, std::uint8_t* codes, float* scale) {
  if (w.has_ternary_codes()) {
    TRITIUM_TRY(load_ternary_codes(w, row, codes));
    *scale = w.scale;
    return true;
  }
  if ((w.type != TensorType::tq1_0 && w.type != TensorType::tq2_0) || !ternary_row_scales(w, row, scale)) return false;
  const TensorTypeInfo& t = info(w.type);
  const Status sound = check_tensor(w.type, {w.row(row), w.row_bytes()}, 1, w.cols);
  if (!sound.ok()) return in_row(row, sound.error());
  BlockFields block;
  for (std::size_t b = 0; b < w.cols / t.block_length; ++b) {
    unpack_block(w.type, w.row(row) + b * t.block_bytes, block);
    std::memcpy(codes + b * t.block_length, block.codes.data(), t.block_length);
  }
  return true;
}

/// One row of a stored matrix as floats. Errors: invalid_file (reserved codes, values that are not finite).
inline Status load_row(const StoredMatrix& w, std::size_t row, float* out) {
  if (w.has_ternary_codes()) {
    // The codes lie in the first quarter of `out` and are widened from the end, where nothing unread is overwritten.
    auto* codes = reinterpret_cast<std::uint8_t*>(out);
    TRITIUM_TRY(load_ternary_codes(w, row, codes));
    for (std::size_t i = w.cols; i-- > 0;) {
      const float value = w.scale * static_cast<float>(int{codes[i]} - 1);
      std::memcpy(out + i, &value, sizeof value);
    }
    return {};
  }
  const Status decoded = decode_row(w.type, w.row(row), w.cols, out);
  if (!decoded.ok()) return in_row(row, decoded.error());
  for (std::size_t i = 0; i < w.cols; ++i) {
    if (!std::isfinite(out[i])) return in_row(row, not_finite_error(Errc::invalid_file, w.type, i, out[i]));
  }
  return {};
}

inline Error does_not_fit(PackFormat format, std::size_t row, std::size_t element, float value) {
  return make_error(Errc::out_of_range, "weights do not fit the packed format",
                    "row " + std::to_string(row) + " element " + std::to_string(element), info(format).name,
                    std::to_string(value));
}

template <class F>
inline Status pack_panel_of(const StoredMatrix& w, PackFormat format, std::size_t first, float* row,
                            std::uint8_t* out) {
  const std::size_t rows = std::min(kPanelRows, w.rows - first);
  const std::size_t units = F::units(w.cols);
  auto fields = std::unique_ptr<UnitFields>(new (std::nothrow) UnitFields);
  if (fields == nullptr) return Error{Errc::out_of_memory, "out of memory"};

  if constexpr (F::kBits != 0 && F::kGroup != 0) {
    Status moved_all;
    const bool moved = with_twin<F>(w.type, format, [&](auto type) {
      for (std::size_t u = 0; u < units; ++u) {
        fields->clear<F>();
        for (std::size_t r = 0; r < rows; ++r) {
          Status done = load_row_blocks<F, decltype(type)::value>(w.row(first + r), w.cols, u, r, *fields);
          if (!done.ok()) {
            moved_all = in_row(first + r, done.error());
            return;
          }
        }
        pack_unit<F>(*fields, out + u * F::kUnitBytes);
      }
    });
    if (moved) return moved_all;
  }

  // Through f32: round each row, keep its codes and scales, then file them unit by unit.
  const std::size_t padded = F::padded_k(w.cols);
  const std::size_t groups = F::kGroup == 0 ? 1 : padded / F::kGroup;
  struct Scale {
    float d, m;
  };
  TRITIUM_ASSIGN(Array<std::uint8_t> codes, Array<std::uint8_t>::allocate(kPanelRows * padded));
  TRITIUM_ASSIGN(Array<Scale> scales, Array<Scale>::allocate_zeroed(kPanelRows * groups));
  std::memset(codes.data(), F::kTable ? 0 : F::kZero, codes.size());

  if constexpr (F::kTwoLevel) {
    const TensorType twin = rounding_twin(format);
    const TensorTypeInfo& t = info(twin);
    if (w.cols % t.block_length != 0) {
      return make_error(Errc::invalid_argument, "cannot quantise", info(format).name, "rows of a multiple of 256",
                        std::to_string(w.cols));
    }
    TRITIUM_ASSIGN(const std::size_t row_bytes, tensor_bytes(twin, 1, w.cols));
    TRITIUM_ASSIGN(AlignedBuffer encoded, AlignedBuffer::allocate(kPanelRows * row_bytes));
    for (std::size_t r = 0; r < rows; ++r) {
      TRITIUM_TRY(load_row(w, first + r, row));
      const Status done = encode_row(twin, row, w.cols, encoded.data() + r * row_bytes);
      if (!done.ok()) return in_row(first + r, done.error());
    }
    return pack_panel_of<F>(StoredMatrix{twin, encoded.data(), rows, w.cols}, format, 0, row, out);
  } else {
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint8_t* row_codes = codes.data() + r * padded;
      Scale* row_scales = scales.data() + r * groups;
      if constexpr (F::kGroup == 0 && F::kMaxCode <= kReservedTernaryCode) {
        TRITIUM_ASSIGN(const bool ternary, load_ternary_row(w, first + r, row_codes, &row_scales[0].d));
        if (ternary) continue;
      }
      TRITIUM_TRY(load_row(w, first + r, row));
      const std::size_t group = F::kGroup == 0 ? w.cols : F::kGroup;
      for (std::size_t g = 0; g * group < w.cols; ++g) {
        const std::size_t count = std::min(group, w.cols - g * group);
        Scale& s = row_scales[g];
        round_group<F::kBits == 0 ? 2 : F::kBits, F::kZero, F::kHasMin, F::kTable>(row + g * group, count,
                                                                                   row_codes + g * group, &s.d, &s.m);
        if (F::kGroup != 0 && !(std::isfinite(to_float(to_f16(s.d))) && std::isfinite(to_float(to_f16(s.m))))) {
          return does_not_fit(format, first + r, g * group, row[g * group]);
        }
      }
    }
    if constexpr (F::kPrefixBytes != 0) {
      float prefix[kPanelRows];
      for (std::size_t r = 0; r < kPanelRows; ++r) prefix[r] = scales[r * groups].d;
      std::memcpy(out, prefix, sizeof(prefix));
    }
    for (std::size_t u = 0; u < units; ++u) {
      fields->clear<F>();
      for (std::size_t r = 0; r < rows; ++r) {
        std::memcpy(fields->codes[r], codes.data() + r * padded + u * F::kUnit, F::kUnit);
        if constexpr (F::kGroup != 0) {
          for (std::size_t g = 0; g < F::kUnit / F::kGroup; ++g) {
            const Scale& s = scales[r * groups + u * (F::kUnit / F::kGroup) + g];
            fields->d[g][r] = to_f16(s.d);
            fields->m[g][r] = to_f16(s.m);
          }
        }
      }
      pack_unit<F>(*fields, out + F::kPrefixBytes + u * F::kUnitBytes);
    }
    return {};
  }
}

template <class T>
inline Status pack_float_panel(const StoredMatrix& w, PackFormat format, std::size_t first, float* row,
                               std::uint8_t* out) {
  std::memset(out, 0, FloatPanel<T>::panel_bytes(w.cols));
  for (std::size_t r = 0; r < std::min(kPanelRows, w.rows - first); ++r) {
    TRITIUM_TRY(load_row(w, first + r, row));
    for (std::size_t i = 0; i < w.cols; ++i) {
      T value{};
      if constexpr (std::is_same_v<T, float>) value = row[i];
      if constexpr (std::is_same_v<T, f16>) value = to_f16(row[i]);
      if constexpr (std::is_same_v<T, bf16>) value = to_bf16(row[i]);
      if constexpr (!std::is_same_v<T, float>) {
        if (!std::isfinite(to_float(value))) return does_not_fit(format, first + r, i, row[i]);
      }
      std::memcpy(out + float_panel_offset<T>(r, i), &value, sizeof(T));
    }
  }
  return {};
}

/// Panel `p` of w in a format.
inline Status pack_panel(const StoredMatrix& w, PackFormat format, std::size_t p, float* row, std::uint8_t* out) {
  return visit_format(
      format, [&](auto f) { return pack_panel_of<decltype(f)>(w, format, p * kPanelRows, row, out); },
      [&](auto f) { return pack_float_panel<typename decltype(f)::Element>(w, format, p * kPanelRows, row, out); });
}

/// What packing reads of a part that is not a whole number of blocks, or of rows that are not there, is refused here.
inline Status check_stored(const StoredMatrix& w, PackFormat format) {
  const TensorTypeInfo& t = info(w.type);
  if (w.cols % t.block_length != 0) {
    return make_error(Errc::invalid_argument, "cannot pack", info(format).name,
                      std::string(t.name) + " rows of a multiple of " + std::to_string(t.block_length),
                      std::to_string(w.cols));
  }
  if (w.bitnet_rows != 0 && (w.type != TensorType::u8 || w.bitnet_rows % 4 != 0)) {
    return make_error(Errc::invalid_argument, "cannot pack", "bitnet rows", "u8 and a multiple of 4 rows",
                      std::string(t.name) + " and " + std::to_string(w.bitnet_rows));
  }
  if (w.bitnet_rows != 0) {
    for (std::size_t r = 0; r < w.rows; ++r) {
      if (w.stored_row(r) >= w.bitnet_rows) {
        return make_error(Errc::invalid_argument, "cannot pack", "bitnet rows",
                          "a row below " + std::to_string(w.bitnet_rows), std::to_string(w.stored_row(r)));
      }
    }
  }
  if (w.has_ternary_codes() && !std::isfinite(w.scale)) {
    return make_error(Errc::invalid_file, "scale is not a number", info(format).name, "a finite f32",
                      std::to_string(w.scale));
  }
  return {};
}

}  // namespace detail

/// Packs every matrix of `parts` one below the other (their rows follow each other; all have the same cols), or, when
/// `interleaved`, exactly two matrices panel by panel. Parts begin on panel boundaries: a part whose rows are not a
/// multiple of 16 must be the last one.
///
/// Lossless when keep_format(part) == format, and from i2_s and bitnet rows to ternary2 and ternary5; plain rounding
/// otherwise. The bytes do not depend on the number of threads.
/// `release`, where given, is told of stored bytes that have been packed while the rest of a long matrix still is, so that
/// a file's pages and their packed copy need not be in memory together; it may be called on any thread of the executor.
/// Threads: panels are shared over the executor. Errors: invalid_argument (shapes), invalid_file (weights that are not
/// finite, illegal codes), out_of_range (a weight or scale that the format cannot hold, k; see PackedMatrix::allocate),
/// out_of_memory.
inline Result<PackedMatrix> pack(const StoredMatrix* parts, std::size_t n_parts, PackFormat format, bool interleaved,
                                 const Executor& executor,
                                 const std::function<void(std::span<const std::byte>)>& release = {}) {
  if (n_parts == 0) return make_error(Errc::invalid_argument, "nothing to pack", info(format).name);
  std::size_t n = 0;
  for (std::size_t i = 0; i < n_parts; ++i) {
    const bool last = i + 1 == n_parts;
    const bool fits =
        parts[i].cols == parts[0].cols && parts[i].rows != 0 &&
        (interleaved ? parts[i].rows == parts[0].rows && n_parts == 2 : last || parts[i].rows % kPanelRows == 0);
    if (!fits) {
      return make_error(Errc::invalid_argument, "cannot pack together", info(format).name,
                        "parts of equal inputs in whole panels",
                        std::to_string(parts[i].rows) + " x " + std::to_string(parts[i].cols));
    }
    TRITIUM_TRY(detail::check_stored(parts[i], format));
    TRITIUM_ASSIGN(n, checked_add(n, parts[i].rows));
  }
  TRITIUM_ASSIGN(PackedMatrix matrix,
                 PackedMatrix::allocate(format, interleaved ? parts[0].rows : n, parts[0].cols, interleaved));
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  Status status;
  constexpr std::size_t kReleased = 256;  // panels
  const bool releases = release && n_parts == 1 && parts[0].row_order == nullptr && parts[0].bitnet_rows == 0;
  executor.run([&](std::size_t) {
    auto row = Array<float>::allocate(parts[0].cols);
    for (;;) {
      const std::size_t p = next.fetch_add(1, std::memory_order_relaxed);
      if (p >= matrix.n_panels() || failed.load(std::memory_order_relaxed)) return;
      if (releases && p % kReleased == 0 && p >= 2 * kReleased) {  // panels are taken in order: these are long done
        release({parts[0].row((p - 2 * kReleased) * kPanelRows), kReleased * kPanelRows * parts[0].row_bytes()});
      }
      std::size_t part = 0;
      std::size_t panel = p;
      if (interleaved) {
        part = p % 2;
        panel = p / 2;
      } else {
        while (panel >= div_up(parts[part].rows, kPanelRows)) panel -= div_up(parts[part++].rows, kPanelRows);
      }
      Status done =
          row.ok() ? detail::pack_panel(parts[part], format, panel, row->data(), matrix.panel(p)) : Status(row.error());
      if (!done.ok() && !failed.exchange(true)) status = std::move(done);
    }
  });
  if (failed.load()) return std::move(status).error();
  return matrix;
}

/// The same of one matrix, not interleaved.
inline Result<PackedMatrix> pack(const StoredMatrix& w, PackFormat format, const Executor& executor = {}) {
  return pack(&w, 1, format, false, executor);
}

TRITIUM_NAMESPACE_END
