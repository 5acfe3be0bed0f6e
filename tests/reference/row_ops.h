// SPDX-License-Identifier: Apache-2.0
// Oracles of the row operations, in double, straight from their definitions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

using Row = std::vector<double>;

/// x / sqrt(mean(x^2) + eps) * weight; weight null: 1.
inline Row rms_norm(const float* x, const float* weight, std::size_t n, double eps) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
  Row y(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = static_cast<double>(x[i]) * scale * (weight == nullptr ? 1.0 : static_cast<double>(weight[i]));
  }
  return y;
}

/// (x - mean) / sqrt(var + eps) * weight + bias; null: 1, 0.
inline Row layer_norm(const float* x, const float* weight, const float* bias, std::size_t n, double eps) {
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]) / static_cast<double>(n);
  double variance = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    variance += d * d / static_cast<double>(n);
  }
  Row y(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = (static_cast<double>(x[i]) - mean) / std::sqrt(variance + eps);
    if (weight != nullptr) y[i] *= static_cast<double>(weight[i]);
    if (bias != nullptr) y[i] += static_cast<double>(bias[i]);
  }
  return y;
}

/// Pairs (x_i, x_(i + half)) turned by the angle whose cosine and sine are given.
inline Row rope_half(const float* x, const float* cosine, const float* sine, std::size_t half) {
  Row y(2 * half);
  for (std::size_t i = 0; i < half; ++i) {
    const double a = static_cast<double>(x[i]);
    const double b = static_cast<double>(x[half + i]);
    const double c = static_cast<double>(cosine[i]);
    const double s = static_cast<double>(sine[i]);
    y[i] = a * c - b * s;
    y[half + i] = b * c + a * s;
  }
  return y;
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu(double x) { return x / (1 + std::exp(-x)); }
/// As x / (1 + exp(-2u)): the form with tanh cancels for negative x, even in double.
inline double gelu_tanh(double x) {
  return x / (1 + std::exp(-2 * std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}
inline double gelu_erf(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
inline double relu2(double x) { return x > 0 ? x * x : 0; }
inline double soft_cap(double x, double cap) { return cap * std::tanh(x / cap); }

inline Row soft_max(const float* x, std::size_t n) {
  const double most = static_cast<double>(*std::max_element(x, x + n));
  Row y(n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += y[i] = std::exp(static_cast<double>(x[i]) - most);
  for (double& v : y) v /= sum;
  return y;
}

}  // namespace reference
