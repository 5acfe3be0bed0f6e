// SPDX-License-Identifier: Apache-2.0
// The oracles of int8 activations in groups, the formula of format/activation.h in double, and of int8 keys and values.
#pragma once

#include <cmath>
#include <cstddef>

namespace reference {

struct Group {
  double scale = 0;  ///< max|x| / 127
  /// x / scale: a code is its nearest integer, whichever one of the two when it lies at a half.
  [[nodiscard]] double quotient(float x) const { return scale == 0 ? 0 : static_cast<double>(x) / scale; }
};

inline Group quantize_group(const float* x, std::size_t n) {
  double most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::fmax(most, std::fabs(static_cast<double>(x[i])));
  return {most / 127};
}

/// What an int8 cache holds of a row: its codes times their scale, as f32.
inline void round_to_codes(float* x, std::size_t n) {
  float most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::fmax(most, std::fabs(x[i]));
  for (std::size_t i = 0; i < n; ++i) {
    if (most != 0) x[i] = std::nearbyint(x[i] * (127.0f / most)) * (most / 127.0f);
  }
}

/// The same of a key: a scale for every 32 dimensions.
inline void round_key_to_codes(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; i += 32) round_to_codes(x + i, n - i < 32 ? n - i : 32);
}

}  // namespace reference
