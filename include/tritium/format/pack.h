// SPDX-License-Identifier: Apache-2.0
// Packing: stored tensors and float matrices into panels.
//
// A tensor whose type has a panel twin is moved code by code and scale by scale, so the panels decode to exactly the
// file's values (`keep`). Everything else goes through f32 and plain rounding. Packing is split into 16-row panels that
// threads share; no float copy of a matrix is ever made.
#pragma once

#include <atomic>
#include <cmath>

#include "tritium/core/executor.h"
#include "tritium/format/bitnet_layouts.h"
#include "tritium/format/gguf_blocks.h"
#include "tritium/format/packed_matrix.h"
#include "tritium/format/rounding.h"

TRITIUM_NAMESPACE_BEGIN

/// A stored matrix: `rows` rows of `cols` elements, row-major.
struct StoredMatrix {
  TensorType type = TensorType::f32;
  const std::byte* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  /// Row r of the matrix is row row_order[r] of the data; null: the identity. Undoes permutations without a copy.
  const std::uint32_t* row_order = nullptr;

  [[nodiscard]] std::size_t row_bytes() const { return cols / info(type).block_length * info(type).block_bytes; }
  [[nodiscard]] const std::byte* row(std::size_t r) const {
    return data + (row_order == nullptr ? r : row_order[r]) * row_bytes();
  }
};

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
  if (w.type != TensorType::tq1_0 && w.type != TensorType::tq2_0) return keep_format(w.type);
  for (std::size_t r = 0; r < w.rows; ++r) {
    float scale = 0;
    if (!detail::ternary_row_scales(w, r, &scale)) return PackFormat::ternary2_g256;
  }
  return PackFormat::ternary2;
}

namespace detail {

// Fills fields with units [first, first + count) ... one row of blocks of a type whose fields F can hold.
template <class F, TensorType kType>
inline void load_row_blocks(const std::byte* row, std::size_t cols, std::size_t unit, std::size_t r, UnitFields& out) {
  using Codec = BlockCodec<kType>;
  constexpr std::size_t kLength = Codec::kFormat.length;
  constexpr std::size_t kBytes = info(kType).block_bytes;
  static_assert(F::kUnit % kLength == 0);
  BlockFields fields;
  for (std::size_t b = 0; b < F::kUnit / kLength; ++b) {
    const std::size_t block = unit * (F::kUnit / kLength) + b;
    if (block * kLength >= cols) return;
    Codec::unpack(reinterpret_cast<const std::uint8_t*>(row) + block * kBytes, fields);
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
    TRITIUM_TWIN(q4_0) TRITIUM_TWIN(q4_1) TRITIUM_TWIN(q5_0) TRITIUM_TWIN(q5_1) TRITIUM_TWIN(q8_0)
    TRITIUM_TWIN(q2_k) TRITIUM_TWIN(q3_k) TRITIUM_TWIN(q4_k) TRITIUM_TWIN(q5_k) TRITIUM_TWIN(q6_k)
    TRITIUM_TWIN(iq4_nl) TRITIUM_TWIN(iq4_xs) TRITIUM_TWIN(tq1_0) TRITIUM_TWIN(tq2_0)
#undef TRITIUM_TWIN
    default: return false;
  }
}

/// Plain rounding of up to F::kGroup values to codes with an f16 scale (and minimum).
///   symmetric   d = (element of largest magnitude) / -zero, code = round(v / d) + zero: uses the code below -(zero - 1)
///   int8        d = max|v| / 127
///   ternary     d = mean|v|, code = clip(round(v / d), -1, 1) + 1
///   minimum     d = (max - min) / max code, m = min
///   table       d from the element of largest magnitude, nearest level
template <class F>
inline void round_group(const float* v, std::size_t count, std::uint8_t* codes, float* d, float* m) {
  float largest = 0;
  float low = 0;
  float high = 0;
  double magnitude = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::fabs(v[i]) > std::fabs(largest)) largest = v[i];
    low = i == 0 ? v[i] : std::min(low, v[i]);
    high = i == 0 ? v[i] : std::max(high, v[i]);
    magnitude += std::fabs(static_cast<double>(v[i]));
  }
  *m = 0;
  constexpr int kMax = (1 << (F::kBits == 0 ? 2 : F::kBits)) - 1;
  const auto clip = [](float x, int least, int most) {
    return static_cast<int>(x < static_cast<float>(least) ? static_cast<float>(least) : x > static_cast<float>(most) ? static_cast<float>(most) : x);
  };
  if constexpr (F::kBits == 2 || F::kBits == 0) {
    *d = std::max(static_cast<float>(magnitude / static_cast<double>(count)), 1e-5f);
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(clip(round_half_even(v[i] / *d), -1, 1) + 1);
  } else if constexpr (F::kHasMin) {
    *d = (high - low) / static_cast<float>(kMax);
    *m = low;
    const float inverse = *d == 0 ? 0 : 1 / *d;
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(clip(round_half_even((v[i] - low) * inverse), 0, kMax));
  } else if constexpr (F::kTable) {
    *d = largest / static_cast<float>(kIq4Values[0]);
    const float inverse = *d == 0 ? 0 : 1 / *d;
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t best = 0;
      for (std::size_t c = 1; c < 16; ++c) {
        if (std::fabs(v[i] * inverse - static_cast<float>(kIq4Values[c])) < std::fabs(v[i] * inverse - static_cast<float>(kIq4Values[best]))) best = c;
      }
      codes[i] = static_cast<std::uint8_t>(best);
    }
  } else {
    *d = F::kBits == 8 ? std::fabs(largest) / 127.0f : largest / static_cast<float>(-F::kZero);
    const float inverse = *d == 0 ? 0 : 1 / *d;
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(clip(round_half_even(v[i] * inverse) + static_cast<float>(F::kZero), 0, kMax));
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

/// One row of a stored matrix as floats.
inline Status load_row(const StoredMatrix& w, std::size_t row, float* out) {
  return decode_row(w.type, w.row(row), w.cols, out);
}

template <class F>
inline Status pack_panel_of(const StoredMatrix& w, PackFormat format, std::size_t first, float* row, std::uint8_t* out) {
  const std::size_t rows = std::min(kPanelRows, w.rows - first);
  const std::size_t units = F::units(w.cols);
  auto fields = std::unique_ptr<UnitFields>(new (std::nothrow) UnitFields);
  if (fields == nullptr) return Error{Errc::out_of_memory, "not enough memory to pack"};

  if constexpr (F::kBits != 0 && F::kGroup != 0) {
    const bool moved = with_twin<F>(w.type, format, [&](auto type) {
      for (std::size_t u = 0; u < units; ++u) {
        fields->clear<F>();
        for (std::size_t r = 0; r < rows; ++r) load_row_blocks<F, decltype(type)::value>(w.row(first + r), w.cols, u, r, *fields);
        pack_unit<F>(*fields, out + u * F::kUnitBytes);
      }
    });
    if (moved) return {};
  }

  // Through f32: round each row, keep its codes and scales, then file them unit by unit.
  const std::size_t padded = F::padded_k(w.cols);
  const std::size_t groups = F::kGroup == 0 ? 1 : padded / F::kGroup;
  struct Scale { float d, m; };
  TRITIUM_ASSIGN(Array<std::uint8_t> codes, Array<std::uint8_t>::allocate(kPanelRows * padded));
  TRITIUM_ASSIGN(Array<Scale> scales, Array<Scale>::allocate_zeroed(kPanelRows * groups));
  std::memset(codes.data(), F::kTable ? 0 : F::kZero, codes.size());

  if constexpr (F::kTwoLevel) {
    const TensorType twin = rounding_twin(format);
    const TensorTypeInfo& t = info(twin);
    if (w.cols % t.block_length != 0) {
      return make_error(Errc::invalid_argument, "cannot quantise", info(format).name, "rows of a multiple of 256", std::to_string(w.cols));
    }
    TRITIUM_ASSIGN(const std::size_t row_bytes, tensor_bytes(twin, 1, w.cols));
    TRITIUM_ASSIGN(AlignedBuffer encoded, AlignedBuffer::allocate(kPanelRows * row_bytes));
    for (std::size_t r = 0; r < rows; ++r) {
      TRITIUM_TRY(load_row(w, first + r, row));
      TRITIUM_TRY(encode_row(twin, row, w.cols, encoded.data() + r * row_bytes));
    }
    return pack_panel_of<F>(StoredMatrix{twin, encoded.data(), rows, w.cols}, format, 0, row, out);
  } else {
    for (std::size_t r = 0; r < rows; ++r) {
      std::uint8_t* row_codes = codes.data() + r * padded;
      Scale* row_scales = scales.data() + r * groups;
      if (F::kGroup == 0 && (w.type == TensorType::tq1_0 || w.type == TensorType::tq2_0) && F::kMaxCode <= 3 &&
          ternary_row_scales(w, first + r, &row_scales[0].d)) {
        const TensorTypeInfo& t = info(w.type);
        BlockFields block;
        for (std::size_t b = 0; b < w.cols / t.block_length; ++b) {
          unpack_block(w.type, w.row(first + r) + b * t.block_bytes, block);
          std::memcpy(row_codes + b * t.block_length, block.codes.data(), t.block_length);
        }
        continue;
      }
      TRITIUM_TRY(load_row(w, first + r, row));
      for (std::size_t i = 0; i < w.cols; ++i) {
        if (!std::isfinite(row[i])) {
          return make_error(Errc::invalid_file, "weight is not finite", "row " + std::to_string(first + r) + " element " + std::to_string(i));
        }
      }
      const std::size_t group = F::kGroup == 0 ? w.cols : F::kGroup;
      for (std::size_t g = 0; g * group < w.cols; ++g) {
        const std::size_t count = std::min(group, w.cols - g * group);
        round_group<F>(row + g * group, count, row_codes + g * group, &row_scales[g].d, &row_scales[g].m);
      }
    }
    float* prefix = reinterpret_cast<float*>(out);
    if constexpr (F::kPrefixBytes != 0) {
      for (std::size_t r = 0; r < kPanelRows; ++r) prefix[r] = scales[r * groups].d;
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
inline Status pack_float_panel(const StoredMatrix& w, std::size_t first, float* row, std::uint8_t* out) {
  std::memset(out, 0, FloatPanel<T>::panel_bytes(w.cols));
  for (std::size_t r = 0; r < std::min(kPanelRows, w.rows - first); ++r) {
    TRITIUM_TRY(load_row(w, first + r, row));
    for (std::size_t i = 0; i < w.cols; ++i) {
      T value{};
      if constexpr (std::is_same_v<T, float>) value = row[i];
      if constexpr (std::is_same_v<T, f16>) value = to_f16(row[i]);
      if constexpr (std::is_same_v<T, bf16>) value = to_bf16(row[i]);
      std::memcpy(out + float_panel_offset<T>(r, i), &value, sizeof(T));
    }
  }
  return {};
}

/// Panel `p` of w in a format.
inline Status pack_panel(const StoredMatrix& w, PackFormat format, std::size_t p, float* row, std::uint8_t* out) {
  return visit_format(
      format, [&](auto f) { return pack_panel_of<decltype(f)>(w, format, p * kPanelRows, row, out); },
      [&](auto f) { return pack_float_panel<typename decltype(f)::Element>(w, p * kPanelRows, row, out); });
}

}  // namespace detail

/// Packs every matrix of `parts` one below the other (their rows follow each other; all have the same cols), or, when
/// `interleaved`, exactly two matrices panel by panel. Parts begin on panel boundaries: a part whose rows are not a
/// multiple of 16 must be the last one.
///
/// Lossless when keep_format(part) == format, plain rounding otherwise.
/// Threads: panels are shared over the executor. Errors: invalid_argument (shapes), invalid_file (weights that are not
/// finite, illegal codes), out_of_memory.
inline Result<PackedMatrix> pack(const StoredMatrix* parts, std::size_t n_parts, PackFormat format, bool interleaved,
                                 const Executor& executor) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < n_parts; ++i) {
    const bool fits = parts[i].cols == parts[0].cols && parts[i].rows != 0 &&
                      (interleaved ? parts[i].rows == parts[0].rows && n_parts == 2 : i + 1 == n_parts || parts[i].rows % kPanelRows == 0);
    if (!fits) {
      return make_error(Errc::invalid_argument, "cannot pack together", info(format).name, "parts of equal inputs in whole panels",
                        std::to_string(parts[i].rows) + " x " + std::to_string(parts[i].cols));
    }
    n += parts[i].rows;
  }
  TRITIUM_ASSIGN(PackedMatrix matrix, PackedMatrix::allocate(format, interleaved ? parts[0].rows : n, parts[0].cols, interleaved));
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  Status status;
  executor.run([&](std::size_t) {
    auto row = Array<float>::allocate(parts[0].cols);
    for (;;) {
      const std::size_t p = next.fetch_add(1, std::memory_order_relaxed);
      if (p >= matrix.n_panels() || failed.load(std::memory_order_relaxed)) return;
      std::size_t part = 0;
      std::size_t panel = p;
      if (interleaved) {
        part = p % 2;
        panel = p / 2;
      } else {
        while (panel >= div_up(parts[part].rows, kPanelRows)) panel -= div_up(parts[part++].rows, kPanelRows);
      }
      Status done = row.ok() ? detail::pack_panel(parts[part], format, panel, row->data(), matrix.panel(p)) : Status(row.error());
      if (!done.ok() && !failed.exchange(true)) status = std::move(done);
    }
  });
  if (failed.load()) return std::move(status).error();
  return matrix;
}

inline Result<PackedMatrix> pack(const StoredMatrix& w, PackFormat format, const Executor& executor = {}) {
  return pack(&w, 1, format, false, executor);
}

TRITIUM_NAMESPACE_END
