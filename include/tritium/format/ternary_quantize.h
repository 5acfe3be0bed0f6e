// SPDX-License-Identifier: Apache-2.0
// BitNet b1.58 quantizers in scalar form: absmean ternary weights and absmax int8 activations.
//
// A BitLinear layer multiplies ternary weights by int8 activations, both made here; the product is an exact integer, so
// a kernel that is fed the same codes gives the model and not an approximation of it. Weight codes are weight + 1, as
// in all ternary formats of the library.
// Source: "The Era of 1-bit LLMs" (arXiv 2402.17764), section 2, and the BitNet integration of transformers.
#pragma once

#include <algorithm>
#include <cmath>

#include "tritium/core/buffer.h"
#include "tritium/core/status.h"
#include "tritium/core/view.h"
#include "tritium/format/rounding.h"

TRITIUM_NAMESPACE_BEGIN

/// Least magnitude that either quantizer divides by.
inline constexpr float kBitNetEpsilon = 1e-5f;

/// Which weights share a scale. `columns` is used by `group` only: so many consecutive inputs of one row, the last
/// group of a row being shorter when they do not divide it.
struct TernaryScope {
  /// The whole matrix, each row, or `columns` inputs of a row.
  enum Kind : std::uint8_t { tensor, row, group };
  Kind kind = tensor;       ///< which weights share a scale
  std::size_t columns = 0;  ///< of a group

  /// Number of scales of one row (1 for `row`; for `tensor`, which has one scale for all rows, 1 too).
  [[nodiscard]] std::size_t scales_per_row(std::size_t cols) const { return kind == group ? div_up(cols, columns) : 1; }
  /// Number of scales of a matrix.
  [[nodiscard]] std::size_t scale_count(std::size_t rows, std::size_t cols) const {
    return kind == tensor ? 1 : rows * scales_per_row(cols);
  }
};

namespace detail {

inline float absmean_scale(double sum, std::size_t n) {
  const float mean = n == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(n));
  return mean > kBitNetEpsilon ? mean : kBitNetEpsilon;
}

inline double magnitude_sum(const float* x, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(std::fabs(x[i]));
  return sum;
}

/// round(w / gamma), ties to even, cut to -1 .. 1, is the sign of w where |w| > gamma / 2 and 0 elsewhere: a tie at one
/// half goes to 0. gamma / 2 is exact, so this is the rounding of the real quotient, with no division to round twice.
inline void ternarize(const float* w, std::size_t n, float gamma, std::uint8_t* codes) {
  const float half = 0.5f * gamma;
  for (std::size_t i = 0; i < n; ++i) {
    codes[i] = static_cast<std::uint8_t>(1 + (w[i] > half ? 1 : 0) - (w[i] < -half ? 1 : 0));
  }
}

}  // namespace detail

/// Absmean ternary quantization of a weight matrix [n x k]:
///   gamma = max(mean |w|, 1e-5) over each scope,   codes = clip(round(w / gamma), -1, 1) + 1
///   w ~ gamma * (codes - 1)
/// The mean is summed in double. `codes` has the shape of `weights`. `scales` receives scope.scale_count(rows, cols)
/// gammas: one, one a row, or for `group` scales[r * scales_per_row + c / columns].
/// Errors: invalid_argument (shapes differ; group without columns; NaN or infinity, named by row and column). Nothing
/// is written then.
inline Status quantize_ternary(MatrixView<const float> weights, TernaryScope scope, MatrixView<std::uint8_t> codes,
                               float* scales) {
  if (codes.rows != weights.rows || codes.cols != weights.cols) {
    return make_error(Errc::invalid_argument, "shapes differ", "ternary codes",
                      std::to_string(weights.rows) + " x " + std::to_string(weights.cols),
                      std::to_string(codes.rows) + " x " + std::to_string(codes.cols));
  }
  if (scope.kind == TernaryScope::group && scope.columns == 0) {
    return make_error(Errc::invalid_argument, "ternary scope", "columns of a group", "at least 1", "0");
  }
  for (std::size_t r = 0; r < weights.rows; ++r) {
    for (std::size_t c = 0; c < weights.cols; ++c) {
      if (!std::isfinite(weights(r, c))) {
        return make_error(Errc::invalid_argument, "weight is not a number",
                          "row " + std::to_string(r) + " column " + std::to_string(c), "a finite number",
                          std::to_string(weights(r, c)));
      }
    }
  }
  if (scope.kind == TernaryScope::tensor) {
    double sum = 0.0;
    for (std::size_t r = 0; r < weights.rows; ++r) sum += detail::magnitude_sum(weights.row(r), weights.cols);
    scales[0] = detail::absmean_scale(sum, weights.rows * weights.cols);
    for (std::size_t r = 0; r < weights.rows; ++r) {
      detail::ternarize(weights.row(r), weights.cols, scales[0], codes.row(r));
    }
    return {};
  }
  const std::size_t columns = scope.kind == TernaryScope::group ? scope.columns : weights.cols;
  for (std::size_t r = 0; r < weights.rows; ++r) {
    float* row_scales = scales + r * scope.scales_per_row(weights.cols);
    for (std::size_t g = 0; g < scope.scales_per_row(weights.cols); ++g) {
      const std::size_t c = g * columns;
      const std::size_t n = std::min(columns, weights.cols - c);
      row_scales[g] = detail::absmean_scale(detail::magnitude_sum(weights.row(r) + c, n), n);
      detail::ternarize(weights.row(r) + c, n, row_scales[g], codes.row(r) + c);
    }
  }
  return {};
}

/// Absmax int8 quantization of one activation row, n elements; returns s:
///   s = 127 / max(max_j |x_j|, 1e-5),   codes[j] = round(x_j * s), ties to even;   x_j ~ codes[j] / s
/// All operations in f32, as transformers does them; |codes| <= 127. A row that holds an infinity or NaN has no scale:
/// s and all codes are 0, so that whoever divides by s gets NaN and not a plausible number.
inline float quantize_activations(const float* x, std::size_t n, std::int8_t* codes) {
  float largest = kBitNetEpsilon;
  bool finite = true;
  for (std::size_t j = 0; j < n; ++j) {
    const float magnitude = std::fabs(x[j]);
    finite = finite && std::isfinite(magnitude);
    if (magnitude > largest) largest = magnitude;
  }
  const float s = finite ? 127.0f / largest : 0.0f;
  for (std::size_t j = 0; j < n; ++j) {
    codes[j] = finite ? static_cast<std::int8_t>(round_half_even(x[j] * s)) : std::int8_t{0};
  }
  return s;
}

TRITIUM_NAMESPACE_END
