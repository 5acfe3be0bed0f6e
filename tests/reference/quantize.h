// SPDX-License-Identifier: Apache-2.0
// The oracle of int8 activations in groups: the formula of format/activation.h in double.
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

}  // namespace reference
