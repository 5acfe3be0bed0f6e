// SPDX-License-Identifier: Apache-2.0
// Packing of weights that somebody else quantised: small integers and scales in plain arrays become panels.
//
// Nothing is rounded but the scales of grouped formats, which panels keep as f16: the integers are filed as they are. So
// an engine that calibrates its own weights, or holds them in a layout of its own, writes one integer a byte and is done.
#pragma once

#include "tritium/format/pack.h"

TRITIUM_NAMESPACE_BEGIN

/// A quantised matrix in arrays of its owner, all row-major:
///   w[r][i] = scales[r][g] * values[r][i] (+ mins[r][g] in formats with a minimum),  g = i / group, or 0 without groups
struct QuantizedMatrix {
  const std::int8_t* values = nullptr;  ///< (rows, cols); see pack() for what a format can hold
  const float* scales = nullptr;        ///< (rows, ceil(cols / group)), or (rows) for formats with a scale a row
  const float* mins = nullptr;          ///< as scales, where the format has a minimum; else null
  std::size_t rows = 0;                 ///< outputs
  std::size_t cols = 0;                 ///< inputs
};

namespace detail {

/// The integers that a format's codes stand for: [lowest, highest].
struct ValueRange {
  int lowest = 0;
  int highest = 0;
};
constexpr ValueRange value_range(const PackFormatInfo& f) {
  // Ternary codes have two bits, the fourth code is reserved.
  const bool ternary = f.bits == 0 || (f.bits == 2 && f.zero == 1);
  const int codes = ternary ? 3 : 1 << f.bits;
  return {-f.zero, std::min(codes - 1 - f.zero, 127)};
}

inline Error quantized_error(Errc code, std::string_view what, std::size_t row, std::size_t element,
                             std::string_view expected, std::string_view found) {
  return make_error(code, what, "row " + std::to_string(row) + " element " + std::to_string(element), expected, found);
}

/// `scale` as the format stores it; only its finiteness matters where that is f32.
inline Status quantized_scale(const PackFormatInfo& f, float scale, std::size_t row, std::size_t element, f16& out) {
  const auto error = [&](Errc code, std::string_view what, std::string_view expected) {
    return quantized_error(code, what, row, element, expected, std::to_string(scale));
  };
  if (!std::isfinite(scale)) return error(Errc::invalid_argument, "scale is not a number", "a finite f32");
  if (f.group == 0) return {};
  out = to_f16(scale);
  if (!std::isfinite(to_float(out)) || (scale != 0.0f && to_float(out) == 0.0f))
    return error(Errc::out_of_range, "scale does not fit the packed format", "an f16");
  return {};
}

/// Panel `p` of w.
inline Status pack_quantized_panel(const QuantizedMatrix& w, const PackFormatInfo& f, std::size_t p, UnitFields& fields,
                                   std::uint8_t* out) {
  const std::size_t first = p * kPanelRows;
  const std::size_t rows = std::min(kPanelRows, w.rows - first);
  const std::size_t groups = f.group == 0 ? 1 : div_up(w.cols, f.group);
  const ValueRange range = value_range(f);
  if (f.group == 0) {
    float prefix[kPanelRows] = {};
    f16 none{};
    for (std::size_t r = 0; r < rows; ++r) {
      prefix[r] = w.scales[first + r];
      TRITIUM_TRY(quantized_scale(f, prefix[r], first + r, 0, none));
    }
    std::memcpy(out, prefix, sizeof(prefix));
  }
  for (std::size_t begin = 0; begin < w.cols; begin += f.unit) {
    const std::size_t end = std::min(begin + f.unit, w.cols);
    std::memset(fields.codes, f.zero, sizeof(fields.codes));
    std::memset(fields.d, 0, sizeof(fields.d));
    std::memset(fields.m, 0, sizeof(fields.m));
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t row = first + r;
      for (std::size_t i = begin; i < end; ++i) {
        const int value = w.values[row * w.cols + i];
        if (value < range.lowest || value > range.highest) {
          return quantized_error(Errc::out_of_range, "value does not fit the packed format", row, i,
                                 std::to_string(range.lowest) + " to " + std::to_string(range.highest),
                                 std::to_string(value));
        }
        fields.codes[r][i - begin] = static_cast<std::uint8_t>(value + f.zero);
      }
      for (std::size_t i = begin; f.group != 0 && i < end; i += f.group) {
        const std::size_t g = row * groups + i / f.group;
        const std::size_t slot = (i - begin) / f.group;
        TRITIUM_TRY(quantized_scale(f, w.scales[g], row, i, fields.d[slot][r]));
        if (f.scales == ScaleKind::kGroupMin) TRITIUM_TRY(quantized_scale(f, w.mins[g], row, i, fields.m[slot][r]));
      }
    }
    std::uint8_t* unit = out + f.prefix_bytes + begin / f.unit * f.unit_bytes;
    visit_format(f.format, [&](auto format) { pack_unit<decltype(format)>(fields, unit); }, [](auto) {});
  }
  return {};
}

}  // namespace detail

/// Packs integers and scales into `format`, which says what the integers may be: -1 to 1 (ternary), -8 to 7 (int4),
/// 0 to 15 (int4 with minimum), -16 to 15 (int5), 0 to 31 (int5 with minimum), -128 to 127 (int8). Values are kept;
/// scales and minima of groups are rounded to f16, scales of rows are kept.
/// Threads: panels are shared over the executor. Errors: unsupported (float, table and two-level formats),
/// invalid_argument (arrays that are missing or not wanted, scales that are not finite), out_of_range (values; scales that
/// are infinite or vanish as f16; shapes, see PackedMatrix::allocate), out_of_memory.
inline Result<PackedMatrix> pack(const QuantizedMatrix& w, PackFormat format, const Executor& executor = {}) {
  const PackFormatInfo& f = info(format);
  const bool has_min = f.scales == ScaleKind::kGroupMin;
  if (f.is_float || f.table || !(f.scales == ScaleKind::kRow || f.scales == ScaleKind::kGroup || has_min)) {
    return make_error(Errc::unsupported, "cannot pack integers", f.name, "a scale for each row or group",
                      f.is_float ? "floats"
                      : f.table  ? "a table"
                                 : "scales of two levels");
  }
  if (w.values == nullptr || w.scales == nullptr || (w.mins != nullptr) != has_min) {
    const auto given = [](const void* p, const char* name) { return std::string(p == nullptr ? "no " : "") + name; };
    return make_error(Errc::invalid_argument, "cannot pack integers", f.name,
                      std::string("values, scales, ") + (has_min ? "mins" : "no mins"),
                      given(w.values, "values, ") + given(w.scales, "scales, ") + given(w.mins, "mins"));
  }
  TRITIUM_ASSIGN(PackedMatrix matrix, PackedMatrix::allocate(format, w.rows, w.cols));
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  Status status;
  executor.run([&](std::size_t) {
    const auto fields = std::unique_ptr<UnitFields>(new (std::nothrow) UnitFields);
    for (std::size_t p; (p = next.fetch_add(1, std::memory_order_relaxed)) < matrix.n_panels();) {
      if (failed.load(std::memory_order_relaxed)) return;
      Status done = fields == nullptr ? Status(Error{Errc::out_of_memory, "not enough memory to pack"})
                                      : detail::pack_quantized_panel(w, f, p, *fields, matrix.panel(p));
      if (!done.ok() && !failed.exchange(true)) status = std::move(done);
    }
  });
  if (failed.load()) return std::move(status).error();
  return matrix;
}

TRITIUM_NAMESPACE_END
