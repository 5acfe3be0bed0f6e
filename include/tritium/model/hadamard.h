// SPDX-License-Identifier: Apache-2.0
// Rotations that spread outliers over a row, so that few bits hold it: Hadamard blocks and signs.
//
//   H_b = [[H_(b/2), H_(b/2)], [H_(b/2), -H_(b/2)]] / sqrt(2);   a row of n is cut into blocks of b, the largest power of two in n
//   Q = diag(signs) blockdiag(H_b): orthogonal, so that (x Q)(W Q)^T = x W^T;   H_b is its own inverse
// A block costs b log2(b) additions. Source: Ashkboos et al. 2024 (QuaRot).
#pragma once

#include <cmath>
#include <cstdint>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// The largest power of two that divides n.
constexpr std::size_t hadamard_block(std::size_t n) { return n & (~n + 1); }

/// x = x blockdiag(H_b), in place.
inline void hadamard(float* x, std::size_t n) {
  const std::size_t block = hadamard_block(n);
  const float scale = 1.0f / std::sqrt(static_cast<float>(block));
  for (std::size_t first = 0; first < n; first += block) {
    float* const b = x + first;
    for (std::size_t half = 1; half < block; half *= 2) {
      for (std::size_t i = 0; i < block; i += 2 * half) {
        for (std::size_t j = i; j < i + half; ++j) {
          const float sum = b[j] + b[j + half];
          b[j + half] = b[j] - b[j + half];
          b[j] = sum;
        }
      }
    }
    for (std::size_t i = 0; i < block; ++i) b[i] *= scale;
  }
}

/// The sign of dimension i of the residual stream: fixed, so that two loads of a model are the same.
inline float rotation_sign(std::size_t i) {
  std::uint64_t z = (static_cast<std::uint64_t>(i) + 1) * 0x9E3779B97F4A7C15u;  // splitmix64
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return ((z ^ (z >> 31)) & 1u) != 0 ? -1.0f : 1.0f;
}

/// x = x Q, a row of the residual stream into the rotated basis.
inline void rotate_residual(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= rotation_sign(i);
  hadamard(x, n);
}

TRITIUM_NAMESPACE_END
