// SPDX-License-Identifier: Apache-2.0
// The oracle of every matmul: dot products in double or in 64-bit integers, one element at a time.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace reference {

/// sum of term(i). Four partial sums, so that a compiler that may not reassociate is not bound by the latency of an add.
template <class Term>
inline double sum_of(std::size_t n, Term&& term) {
  double sum[4] = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (std::size_t j = 0; j < 4; ++j) sum[j] += term(i + j);
  }
  for (; i < n; ++i) sum[0] += term(i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// sum of w[i] x[i].
template <class W, class X>
inline double dot(const W* w, const X* x, std::size_t n) {
  return sum_of(n, [&](std::size_t i) { return static_cast<double>(w[i]) * static_cast<double>(x[i]); });
}

/// sum of |w[i] x[i]|: what the rounding errors of any order of summation are measured against.
template <class W, class X>
inline double magnitude_dot(const W* w, const X* x, std::size_t n) {
  return sum_of(n, [&](std::size_t i) { return std::fabs(static_cast<double>(w[i]) * static_cast<double>(x[i])); });
}

/// sum of level[i] code[i], exactly.
inline std::int64_t integer_dot(const std::int16_t* level, const std::int8_t* code, std::size_t n) {
  std::int64_t total = 0;
  for (std::size_t from = 0; from < n; from += 4096) {  // 4096 * 255 * 128 fits in 32 bits
    std::int32_t sum = 0;
    const std::size_t to = n - from < 4096 ? n : from + 4096;
    for (std::size_t i = from; i < to; ++i) sum += std::int32_t{level[i]} * std::int32_t{code[i]};
    total += sum;
  }
  return total;
}

}  // namespace reference
