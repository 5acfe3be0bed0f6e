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
  return d * std::log(static_cast<double>(rope.original_context) / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(rope.base));
}

}  // namespace detail

/// Table for sequences of up to `max_positions`: longrope chooses its set by it.
inline Result<RopeTable> make_rope_table(const RopeSpec& rope, std::size_t max_positions) {
  return no_throw([&]() -> Result<RopeTable> {
    const std::size_t half = rope.rotary_dim / 2;
    std::vector<double> frequency(half);
    for (std::size_t i = 0; i < half; ++i) {
      frequency[i] = std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
    }
    switch (rope.scaling) {
      case RopeScaling::none: break;
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
            const double smooth = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
            f = (1.0 - smooth) * f / rope.factor + smooth * f;
          }
        }
        break;
      }
      case RopeScaling::yarn: {
        const double low = std::max(std::floor(detail::yarn_dimension(rope, rope.beta_fast)), 0.0);
        double high = std::min(std::ceil(detail::yarn_dimension(rope, rope.beta_slow)), static_cast<double>(rope.rotary_dim) - 1.0);
        if (high == low) high += 0.001;
        for (std::size_t i = 0; i < half; ++i) {
          const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
          frequency[i] = frequency[i] / rope.factor * ramp + frequency[i] * (1.0 - ramp);
        }
        break;
      }
      case RopeScaling::longrope:
      case RopeScaling::divisors: {
        const bool use_long = rope.scaling == RopeScaling::longrope && max_positions > rope.original_context;
        const std::vector<float>& divisor = use_long ? rope.long_divisors : rope.divisors;
        if (divisor.size() != half) {
          return make_error(Errc::invalid_file, "rope factors", "rope scaling", std::to_string(half) + " values", std::to_string(divisor.size()));
        }
        for (std::size_t i = 0; i < half; ++i) frequency[i] /= static_cast<double>(divisor[i]);
        break;
      }
    }
    return RopeTable::create(std::move(frequency), rope.magnitude);
  });
}

TRITIUM_NAMESPACE_END
