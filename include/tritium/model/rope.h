// SPDX-License-Identifier: Apache-2.0
// From a RopeSpec to frequencies: base^(-2i / d) and every published way to stretch it.
//
// Sources: Su et al. 2021 (RoPE); transformers' modeling_rope_utils for linear, llama3, yarn and longrope.
#pragma once

#include <algorithm>

#include "tritium/model/spec.h"
#include "tritium/ops/rope.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// The dimension at which a frequency turns `rotations` times over the original context.
inline double yarn_dimension(const RopeSpec& rope, double rotations) {
  const auto d = static_cast<double>(rope.rotary_dim);
  return d * std::log(static_cast<double>(rope.original_context) / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.base));
}

}  // namespace detail

/// The base for a sequence of `length` positions.
inline double rope_base(const RopeSpec& rope, std::size_t length) {
  const auto d = static_cast<double>(rope.rotary_dim);
  const auto n = static_cast<double>(length);
  const auto original = static_cast<double>(rope.original_context);
  if (length <= rope.original_context || rope.rotary_dim <= 2) return rope.base;
  double alpha = 1.0;
  if (rope.scaling == RopeScaling::dynamic_ntk) alpha = rope.factor * n / original - (rope.factor - 1.0);
  if (rope.scaling == RopeScaling::qwen_ntk)
    alpha = std::max(1.0, std::exp2(std::ceil(std::log2(n / original) + 1.0)) - 1.0);
  return rope.base * std::pow(alpha, d / (d - 2.0));
}

/// Table for a sequence of `length` positions, which some scalings depend on.
inline Result<RopeTable> make_rope_table(const RopeSpec& rope, std::size_t length) {
  return no_throw([&]() -> Result<RopeTable> {
    const std::size_t half = rope.rotary_dim / 2;
    const double base = rope_base(rope, length);
    std::vector<double> frequency(half);
    for (std::size_t i = 0; i < half; ++i) {
      frequency[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
    }
    switch (rope.scaling) {
      case RopeScaling::none:
      case RopeScaling::dynamic_ntk:
      case RopeScaling::qwen_ntk: break;
      case RopeScaling::proportional:
        for (std::size_t i = rope.rotated_pairs; i < half; ++i) frequency[i] = 0.0;
        break;
      case RopeScaling::linear:
        for (double& f : frequency) f /= rope.factor;
        break;
      case RopeScaling::llama3: {
        const auto original = static_cast<double>(rope.original_context);
        for (double& f : frequency) {
          const double wavelength = 2.0 * std::numbers::pi / f;
          if (wavelength > original / rope.low_freq_factor) {
            f /= rope.factor;
          } else if (wavelength > original / rope.high_freq_factor) {
            const double smooth =
                (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
            f = (1.0 - smooth) * f / rope.factor + smooth * f;
          }
        }
        break;
      }
      case RopeScaling::yarn: {
        double low = detail::yarn_dimension(rope, rope.beta_fast);
        double high = detail::yarn_dimension(rope, rope.beta_slow);
        low = std::max(rope.truncate ? std::floor(low) : low, 0.0);
        high = std::min(rope.truncate ? std::ceil(high) : high, static_cast<double>(rope.rotary_dim) - 1.0);
        if (high == low) high += 0.001;
        for (std::size_t i = 0; i < half; ++i) {
          const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
          frequency[i] = frequency[i] / rope.factor * ramp + frequency[i] * (1.0 - ramp);
        }
        break;
      }
      case RopeScaling::longrope:
      case RopeScaling::divisors: {
        const bool use_long = rope.scaling == RopeScaling::longrope && length > rope.original_context;
        const std::vector<float>& divisor = use_long ? rope.long_divisors : rope.divisors;
        if (divisor.size() != half) {
          return make_error(Errc::invalid_file, "rope factors", "rope scaling", std::to_string(half) + " values",
                            std::to_string(divisor.size()));
        }
        for (std::size_t i = 0; i < half; ++i) frequency[i] /= static_cast<double>(divisor[i]);
        break;
      }
    }
    const bool past =
        rope.scaling == RopeScaling::longrope && length > rope.original_context && rope.long_magnitude != 0.0;
    return RopeTable::create(std::move(frequency), past ? rope.long_magnitude : rope.magnitude);
  });
}

TRITIUM_NAMESPACE_END
