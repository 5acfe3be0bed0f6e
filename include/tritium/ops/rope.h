// SPDX-License-Identifier: Apache-2.0
// RoPE tables: cos and sin of position * frequency for each pair of a head.
//
// Angles are built in double: in f32 a position of 131,072 times a frequency is off by 0.008 rad. A position is split into
// a multiple of 64 and a rest, cos and sin of both are combined by the addition theorem, so a row costs two multiplies a
// value instead of a libm call and is a function of the position alone.
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "tritium/core/no_throw.h"

TRITIUM_NAMESPACE_BEGIN

/// cos and sin of a rotary embedding, for any position. Never changes; any number of threads may read it.
class RopeTable {
 public:
  RopeTable() = default;
  /// `frequencies` in radians a position, one for each pair; `magnitude` multiplies cos and sin.
  static Result<RopeTable> create(std::vector<double> frequencies, double magnitude) {
    return no_throw([&]() -> Result<RopeTable> {
      RopeTable table;
      table.frequencies_ = std::move(frequencies);
      table.magnitude_ = magnitude;
      const std::size_t half = table.half();
      table.steps_.resize(kStep * half * 2);
      for (std::size_t j = 0; j < kStep; ++j) {
        for (std::size_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(j) * table.frequencies_[i];
          table.steps_[(j * half + i) * 2] = std::cos(angle);
          table.steps_[(j * half + i) * 2 + 1] = std::sin(angle);
        }
      }
      table.anchor_.resize(half * 2);
      table.move_anchor(0);
      return table;
    });
  }

  /// Pairs in a head.
  [[nodiscard]] std::size_t half() const { return frequencies_.size(); }

  /// cos and sin of `position`, half() values each.
  void fill(std::size_t position, float* cosine, float* sine) {
    if (position / kStep * kStep != anchor_position_) move_anchor(position / kStep * kStep);
    const std::size_t n = half();
    const double* step = steps_.data() + position % kStep * n * 2;
    for (std::size_t i = 0; i < n; ++i) {
      const double ca = anchor_[2 * i];
      const double sa = anchor_[2 * i + 1];
      cosine[i] = static_cast<float>(magnitude_ * (ca * step[2 * i] - sa * step[2 * i + 1]));
      sine[i] = static_cast<float>(magnitude_ * (sa * step[2 * i] + ca * step[2 * i + 1]));
    }
  }

 private:
  static constexpr std::size_t kStep = 64;

  void move_anchor(std::size_t position) {
    for (std::size_t i = 0; i < half(); ++i) {
      const double angle = static_cast<double>(position) * frequencies_[i];
      anchor_[2 * i] = std::cos(angle);
      anchor_[2 * i + 1] = std::sin(angle);
    }
    anchor_position_ = position;
  }

  std::vector<double> frequencies_;
  double magnitude_ = 1.0;
  std::vector<double> steps_;   // (kStep, half, 2)
  std::vector<double> anchor_;  // (half, 2)
  std::size_t anchor_position_ = 0;
};

TRITIUM_NAMESPACE_END
