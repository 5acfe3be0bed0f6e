// SPDX-License-Identifier: Apache-2.0
// Scalar encoders from f32 to every file type: plain rounding where ggml's reference rounds, a scale search elsewhere.
//
// q4_0 q4_1 q5_0 q5_1 q8_0 tq1_0 tq2_0 mxfp4 give the same bytes as ggml's reference quantizers. iq4_nl, iq4_xs and the
// K types minimise the plain squared error: try some scales around the one that maps the largest element onto the end
// of the grid, round, refit the scale by least squares, keep the best; group scales are then rounded to their few bits
// together with their neighbours, so that the error that counts is the one after all roundings.
// The bytes do not depend on compiler flags: sums run in double over products that are exact there, and products that
// meet an addition pass through unfused().
// Source: ggml's reference quantizers for the plain types; for the search, the alternation of rounding and refitting of
// S. Lloyd, "Least squares quantization in PCM". Errors against llama.cpp's: tests/format/gguf_encode_test.cc.
#pragma once

#include <algorithm>

#include "tritium/format/gguf_blocks.h"
#include "tritium/format/rounding.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

inline float rounded_to_f16(float value) { return to_float(to_f16(value)); }

/// Far below 2^-24, the smallest non-zero value of a block with an f16 scale: a group of elements below this is zero,
/// and the divisions of the search cannot overflow.
inline constexpr float kTiny = 0x1p-40f;

/// The element of largest magnitude, with its sign; the first of several.
inline float signed_max(const float* x, std::size_t n) {
  float magnitude = 0.0f;
  float value = 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    const float a = std::fabs(x[i]);
    if (a > magnitude) {
      magnitude = a;
      value = x[i];
    }
  }
  return value;
}

/// 1 / d, or 0 when d is zero once it is stored: all codes then mean zero and no division overflows.
inline float inverse_scale(float d) { return (to_f16(d).bits & 0x7FFFu) == 0 ? 0.0f : 1.0f / d; }

// --- ggml's plain rounding -------------------------------------------------------------------------------------------

/// q4_0, q5_0: the largest element, with its sign, becomes the lowest level.
template <class Codec>
inline void quantize_signed_max(const float* x, BlockFields& f) {
  constexpr int kZero = Codec::kFormat.zero_point;
  const float d = signed_max(x, 32) / static_cast<float>(-kZero);
  f.d = rounded_to_f16(d);
  const float inverse = inverse_scale(d);
  for (std::size_t i = 0; i < 32; ++i) {
    const float t = unfused(x[i] * inverse) + (static_cast<float>(kZero) + 0.5f);
    f.codes[i] = static_cast<std::uint8_t>(std::min(static_cast<int>(t), 2 * kZero - 1));
  }
}

/// q4_1, q5_1: the smallest element becomes code 0, the largest the last code.
template <class Codec>
inline void quantize_min_max(const float* x, BlockFields& f) {
  constexpr int kTop = Codec::kFormat.max_code;
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float min = *low;
  const float d = (*high - min) / static_cast<float>(kTop);
  f.d = rounded_to_f16(d);
  f.m = rounded_to_f16(min);
  if (!std::isfinite(f.d)) return;
  const float inverse = inverse_scale(d);
  for (std::size_t i = 0; i < 32; ++i) {
    const float t = unfused((x[i] - min) * inverse) + 0.5f;
    f.codes[i] = static_cast<std::uint8_t>(std::min(static_cast<int>(t), kTop));
  }
}

/// q8_0 (kLevels = 127) and the ternary types (1): the largest magnitude becomes kLevels.
template <class Codec, int kLevels>
inline void quantize_absmax(const float* x, BlockFields& f) {
  const float d = std::fabs(signed_max(x, Codec::kFormat.length)) / static_cast<float>(kLevels);
  const float inverse = inverse_scale(d);
  for (std::size_t i = 0; i < Codec::kFormat.length; ++i) {
    const int level = std::clamp(round_half_away(unfused(x[i] * inverse)), -kLevels, kLevels);
    f.codes[i] = static_cast<std::uint8_t>(level + Codec::kFormat.zero_point);
  }
  f.d = rounded_to_f16(d);
}

/// mxfp4: the scale 2^(floor(log2 max) - 2) puts the largest magnitude into [4, 8); what exceeds 6 saturates.
inline void quantize_mxfp4(const float* x, BlockFields& f) {
  const std::uint32_t max_bits = std::bit_cast<std::uint32_t>(std::fabs(signed_max(x, 32)));
  const int exponent = static_cast<int>(max_bits >> 23);  // biased, 0 for subnormals: their scale is clamped anyway
  const auto s = static_cast<std::uint8_t>(std::max(exponent - 2, 0));
  f.d = half_e8m0(s);
  // Midpoints of 0 0.5 1 1.5 2 3 4 6, doubled like the levels; a tie goes to the smaller magnitude.
  constexpr std::array<float, 7> kMidpoints{0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
  for (std::size_t i = 0; i < 32; ++i) {
    const double t = static_cast<double>(std::fabs(x[i])) / static_cast<double>(f.d);
    unsigned code = 0;
    for (const float midpoint : kMidpoints) code += t > static_cast<double>(midpoint) ? 1u : 0u;
    f.codes[i] = low_byte(code != 0 && x[i] < 0.0f ? code + 8u : code);
  }
}

// --- scale search ----------------------------------------------------------------------------------------------------

/// The levels -kZero .. kZero - 1 with codes from 0.
template <int kZero>
struct LinearGrid {
  static std::uint8_t nearest(float t) {
    constexpr auto kLow = static_cast<float>(-kZero);
    constexpr auto kHigh = static_cast<float>(kZero - 1);
    return static_cast<std::uint8_t>(static_cast<int>(round_half_even(std::clamp(t, kLow, kHigh))) + kZero);
  }
  static int level(std::uint8_t code) { return int{code} - kZero; }
};

/// kIq4Values. All midpoints are multiples of 1/2, so floor(2 t) decides the nearest level.
struct Iq4Grid {
  static constexpr std::array<std::uint8_t, 512> make_table() {
    std::array<std::uint8_t, 512> table{};
    for (int cell = 0; cell < 512; ++cell) {
      const int centre = 2 * (cell - 256) + 1;  // of the cell [cell, cell + 1) / 2 - 128, in quarters
      int best = 0;
      for (int code = 1; code < 16; ++code) {
        const int distance = centre - 4 * kIq4Values[static_cast<std::size_t>(code)];
        const int shortest = centre - 4 * kIq4Values[static_cast<std::size_t>(best)];
        if (distance * distance < shortest * shortest) best = code;
      }
      table[static_cast<std::size_t>(cell)] = static_cast<std::uint8_t>(best);
    }
    return table;
  }
  static std::uint8_t nearest(float t) {
    static constexpr std::array<std::uint8_t, 512> kTable = make_table();
    const float cell = unfused(std::clamp(2.0f * t, -256.0f, 255.0f)) + 256.0f;
    return kTable[static_cast<std::size_t>(cell)];
  }
  static int level(std::uint8_t code) { return kIq4Values[code]; }
};

/// sum x l and sum l^2 of the levels l nearest to x * inverse. The squared error of x against s * l is
/// sum x^2 - 2 s xl + s^2 ll; its minimum over s is sum x^2 - xl^2 / ll at s = xl / ll.
struct Moments {
  double xl = 0.0;
  int ll = 0;
};
template <class Grid>
inline Moments moments_at(const float* x, std::size_t n, float inverse) {
  Moments sum;
  for (std::size_t i = 0; i < n; ++i) {
    const int level = Grid::level(Grid::nearest(x[i] * inverse));
    sum.xl += static_cast<double>(x[i]) * level;
    sum.ll += level * level;
  }
  return sum;
}

/// The scale s of least squared error over `targets`: values t to which the largest element is mapped before rounding.
template <class Grid, std::size_t kTargets>
inline float search_scale(const float* x, std::size_t n, const std::array<float, kTargets>& targets) {
  const float largest = signed_max(x, n);
  if (std::fabs(largest) < kTiny) return 0.0f;
  double best_gain = 0.0;
  float scale = 0.0f;
  const auto try_inverse = [&](float inverse) {
    const Moments sum = moments_at<Grid>(x, n, inverse);
    if (sum.ll == 0) return;
    const double fit = sum.xl / sum.ll;
    if (sum.xl * fit <= best_gain) return;
    best_gain = sum.xl * fit;
    scale = static_cast<float>(fit);
  };
  for (const float target : targets) try_inverse(target / largest);
  for (int i = 0; i < 2; ++i) try_inverse(1.0f / scale);  // some target has given a scale: the largest element counts
  return scale;
}

/// From `first`, kCount numbers `step` apart.
template <std::size_t kCount>
constexpr std::array<float, kCount> steps(float first, float step) {
  std::array<float, kCount> values{};
  for (std::size_t i = 0; i < kCount; ++i) values[i] = first + step * static_cast<float>(i);
  return values;
}

/// Both ends of the grid as targets, from 0.8 to 1.2 of the end: below 1 the largest element keeps room, above 1 it is
/// cut.
constexpr std::array<float, 24> iq4_targets() {
  std::array<float, 24> targets{};
  const auto low = steps<13>(-103.0f, -4.0f);
  const auto high = steps<11>(93.0f, 4.0f);
  std::copy(low.begin(), low.end(), targets.begin());
  std::copy(high.begin(), high.end(), targets.begin() + 13);
  return targets;
}

inline void quantize_iq4_nl(const float* x, BlockFields& f) {
  static constexpr auto kTargets = iq4_targets();
  f.d = rounded_to_f16(search_scale<Iq4Grid>(x, 32, kTargets));
  if (!std::isfinite(f.d)) return;
  const float inverse = inverse_scale(f.d);
  for (std::size_t i = 0; i < 32; ++i) f.codes[i] = Iq4Grid::nearest(x[i] * inverse);
}

/// q3_k, q6_k, iq4_xs: d * scales[g] with signed scales of kLowest .. -kLowest - 1. The group with the largest scale
/// gets kLowest; every group then takes the integer of least error around its own.
template <class Codec, class Grid, int kLowest, std::size_t kTargets>
inline void quantize_scaled_groups(const float* x, const std::array<float, kTargets>& targets, BlockFields& f) {
  constexpr std::size_t kGroup = Codec::kFormat.group;
  constexpr std::size_t kGroups = Codec::kFormat.n_groups();
  std::array<float, kGroups> scales{};
  for (std::size_t g = 0; g < kGroups; ++g) scales[g] = search_scale<Grid>(x + g * kGroup, kGroup, targets);
  f.d = rounded_to_f16(signed_max(scales.data(), kGroups) / static_cast<float>(kLowest));
  if (!std::isfinite(f.d)) return;
  const float inverse_d = inverse_scale(f.d);
  for (std::size_t g = 0; g < kGroups; ++g) {
    const float* values = x + g * kGroup;
    const float wanted =
        std::clamp(scales[g] * inverse_d, static_cast<float>(kLowest), static_cast<float>(-kLowest - 1));
    const int middle = static_cast<int>(round_half_even(wanted));
    int best = 0;
    double best_error = 0.0;  // less sum x^2: what scale 0 leaves
    for (int scale = std::max(middle - 1, kLowest); scale <= std::min(middle + 1, -kLowest - 1); ++scale) {
      const float step = f.d * static_cast<float>(scale);
      if (step == 0.0f) continue;
      const Moments sum = moments_at<Grid>(values, kGroup, 1.0f / step);
      const double error = step * (static_cast<double>(step) * sum.ll - 2.0 * sum.xl);
      if (error < best_error) {
        best_error = error;
        best = scale;
      }
    }
    f.scales[g] = small_int(best);
    const float inverse = best == 0 ? 0.0f : 1.0f / (f.d * static_cast<float>(best));
    for (std::size_t i = 0; i < kGroup; ++i) f.codes[g * kGroup + i] = Grid::nearest(values[i] * inverse);
  }
}

// --- scale and minimum -----------------------------------------------------------------------------------------------

/// x is fitted by scale * code - min with codes 0 .. kTop; both are >= 0.
struct AffineFit {
  float scale = 0.0f;
  float min = 0.0f;
};

struct AffineMoments {
  double xl = 0.0;
  int l = 0;
  int ll = 0;
};
/// Codes are the nearest integers to x * inverse + shift, cut to 0 .. kTop.
template <int kTop>
inline AffineMoments affine_moments_at(const float* x, std::size_t n, float inverse, float shift) {
  AffineMoments sum;
  for (std::size_t i = 0; i < n; ++i) {
    const float t = unfused(x[i] * inverse) + shift;
    const int code = static_cast<int>(round_half_even(std::clamp(t, 0.0f, static_cast<float>(kTop))));
    sum.xl += static_cast<double>(x[i]) * code;
    sum.l += code;
    sum.ll += code * code;
  }
  return sum;
}

/// Squared error of scale * code - min, less sum x^2.
inline double affine_error(const AffineMoments& sum, double sum_x, double n, double scale, double min) {
  const double of_scale = unfused(scale * (unfused(scale * sum.ll) - 2.0 * sum.xl));
  const double of_min = unfused(min * (unfused(n * min) + 2.0 * sum_x - unfused(2.0 * scale * sum.l)));
  return of_scale + of_min;
}

/// Least squared error over several spans around [smallest, largest] element, each refitted to its codes.
template <int kTop, std::size_t kSpans>
inline AffineFit search_affine(const float* x, std::size_t n, const std::array<float, kSpans>& spans) {
  const auto [low, high] = std::minmax_element(x, x + n);
  const float floor = std::min(*low, 0.0f);  // the format has no positive offset
  const float range = *high - floor;
  if (!std::isfinite(range)) return {range, 0.0f};
  double sum_x = 0.0;
  for (std::size_t i = 0; i < n; ++i) sum_x += static_cast<double>(x[i]);
  const auto count = static_cast<double>(n);
  if (range < kTiny) return {0.0f, std::fabs(floor) < kTiny ? 0.0f : static_cast<float>(-sum_x / count)};

  AffineFit best;
  double best_error = std::numeric_limits<double>::infinity();
  const auto try_codes = [&](float inverse, float shift) {
    const AffineMoments sum = affine_moments_at<kTop>(x, n, inverse, shift);
    if (sum.ll == 0) return;
    const double determinant = count * sum.ll - static_cast<double>(sum.l) * sum.l;  // integers: exact; 0: equal codes
    double scale = 0.0;
    double min = -1.0;
    if (determinant > 0.0) {
      scale = (unfused(count * sum.xl) - unfused(sum_x * sum.l)) / determinant;
      min = (unfused(sum.l * sum.xl) - unfused(sum.ll * sum_x)) / determinant;
    }
    if (min < 0.0) {
      min = 0.0;
      scale = sum.xl / sum.ll;
    }
    if (scale <= 0.0) return;
    const double error = affine_error(sum, sum_x, count, scale, min);
    if (error < best_error) {
      best_error = error;
      best = {static_cast<float>(scale), static_cast<float>(min)};
    }
  };
  for (const float span : spans) {  // the codes' ends meet the elements' ends at span = kTop; both ends are cut above
    const float inverse = span / range;
    try_codes(inverse, (static_cast<float>(kTop) - span) * 0.5f - unfused(floor * inverse));
  }
  for (int i = 0; i < 2 && best.scale > 0.0f; ++i) try_codes(1.0f / best.scale, best.min / best.scale);
  return best;
}

/// q2_k, q4_k, q5_k: d * scales[g] * code - m * mins[g] with scales and mins of 0 .. kLargest.
template <class Codec, int kLargest, std::size_t kSpans>
inline void quantize_affine_groups(const float* x, const std::array<float, kSpans>& spans, BlockFields& f) {
  constexpr int kTop = Codec::kFormat.max_code;
  constexpr std::size_t kGroup = Codec::kFormat.group;
  constexpr std::size_t kGroups = Codec::kFormat.n_groups();
  std::array<AffineFit, kGroups> fits{};
  float max_scale = 0.0f;
  float max_min = 0.0f;
  for (std::size_t g = 0; g < kGroups; ++g) {
    fits[g] = search_affine<kTop>(x + g * kGroup, kGroup, spans);
    max_scale = std::max(max_scale, fits[g].scale);
    max_min = std::max(max_min, fits[g].min);
  }
  f.d = rounded_to_f16(max_scale / static_cast<float>(kLargest));
  f.m = rounded_to_f16(max_min / static_cast<float>(kLargest));
  if (!std::isfinite(f.d) || !std::isfinite(f.m)) return;
  const float inverse_d = inverse_scale(f.d);
  const float inverse_m = inverse_scale(f.m);
  const auto nearest = [](float t) {
    return static_cast<int>(round_half_even(std::clamp(t, 0.0f, static_cast<float>(kLargest))));
  };
  for (std::size_t g = 0; g < kGroups; ++g) {
    const float* values = x + g * kGroup;
    double sum_x = 0.0;
    for (std::size_t i = 0; i < kGroup; ++i) sum_x += static_cast<double>(values[i]);
    const int middle_scale = nearest(fits[g].scale * inverse_d);
    const int middle_min = nearest(fits[g].min * inverse_m);
    int best_scale = 0;
    int best_min = 0;
    double best_error = std::numeric_limits<double>::infinity();
    for (int s = std::max(middle_scale - 1, 0); s <= std::min(middle_scale + 1, kLargest); ++s) {
      for (int k = std::max(middle_min - 1, 0); k <= std::min(middle_min + 1, kLargest); ++k) {
        const float step = f.d * static_cast<float>(s);
        const float min = f.m * static_cast<float>(k);
        const float inverse = step == 0.0f ? 0.0f : 1.0f / step;
        const AffineMoments sum = affine_moments_at<kTop>(values, kGroup, inverse, min * inverse);
        const double error =
            affine_error(sum, sum_x, static_cast<double>(kGroup), static_cast<double>(step), static_cast<double>(min));
        if (error < best_error) {
          best_error = error;
          best_scale = s;
          best_min = k;
        }
      }
    }
    f.scales[g] = small_int(best_scale);
    f.mins[g] = small_int(best_min);
    const float step = f.d * static_cast<float>(best_scale);
    const float inverse = step == 0.0f ? 0.0f : 1.0f / step;
    const float shift = f.m * static_cast<float>(best_min) * inverse;
    for (std::size_t i = 0; i < kGroup; ++i) {
      const float t = unfused(values[i] * inverse) + shift;
      f.codes[g * kGroup + i] =
          static_cast<std::uint8_t>(round_half_even(std::clamp(t, 0.0f, static_cast<float>(kTop))));
    }
  }
}

/// The fields of one block of finite values. d and m are already rounded to what the block stores; they are infinite
/// when the values are too large for it.
template <class Codec>
inline void quantize_block(Codec, const float* x, BlockFields& f) {
  constexpr TensorType kType = Codec::kFormat.type;
  f.m = 0.0f;
  set_single_group(Codec::kFormat, f);
  if constexpr (kType == TensorType::q4_0 || kType == TensorType::q5_0) {
    quantize_signed_max<Codec>(x, f);
  } else if constexpr (kType == TensorType::q4_1 || kType == TensorType::q5_1) {
    quantize_min_max<Codec>(x, f);
  } else if constexpr (kType == TensorType::q8_0) {
    quantize_absmax<Codec, 127>(x, f);
  } else if constexpr (kType == TensorType::tq1_0 || kType == TensorType::tq2_0) {
    quantize_absmax<Codec, 1>(x, f);
  } else if constexpr (kType == TensorType::mxfp4) {
    quantize_mxfp4(x, f);
  } else if constexpr (kType == TensorType::iq4_nl) {
    quantize_iq4_nl(x, f);
  } else if constexpr (kType == TensorType::iq4_xs) {
    static constexpr auto kTargets = iq4_targets();
    quantize_scaled_groups<Codec, Iq4Grid, -32>(x, kTargets, f);
  } else if constexpr (kType == TensorType::q3_k) {
    static constexpr auto kTargets = steps<18>(-3.1f, -0.12f);
    quantize_scaled_groups<Codec, LinearGrid<4>, -32>(x, kTargets, f);
  } else if constexpr (kType == TensorType::q6_k) {
    static constexpr auto kTargets = steps<18>(-30.4f, -0.2f);
    quantize_scaled_groups<Codec, LinearGrid<32>, -128>(x, kTargets, f);
  } else if constexpr (kType == TensorType::q2_k) {
    static constexpr auto kSpans = steps<16>(2.4f, 0.14f);
    quantize_affine_groups<Codec, 15>(x, kSpans, f);
  } else if constexpr (kType == TensorType::q4_k) {
    static constexpr auto kSpans = steps<16>(14.0f, 0.2f);
    quantize_affine_groups<Codec, 63>(x, kSpans, f);
  } else {
    static_assert(kType == TensorType::q5_k);
    static constexpr auto kSpans = steps<16>(30.0f, 0.2f);
    quantize_affine_groups<Codec, 63>(x, kSpans, f);
  }
}

inline Error does_not_fit_error(TensorType type, std::size_t element, float found) {
  return make_error(Errc::out_of_range, "value does not fit the type",
                    std::string(info(type).name) + " element " + std::to_string(element), "a smaller magnitude",
                    std::to_string(found));
}

}  // namespace detail

/// row = n elements in file format of the f32 values in[0 .. n): f32, f64, f16 and bf16 by rounding to nearest even,
/// block types as the header comment says. The bytes depend on nothing else. Writes n / block_length blocks.
/// Errors: invalid_argument (n is not a whole number of blocks; NaN or infinity, named by its element; integer types,
/// which have no scale to be chosen; i2_s), out_of_range (a value or a block's scale does not fit f16 or bf16, named by
/// its element or the block's first). `row` is then partly written.
inline Status encode_row(TensorType type, const float* in, std::size_t n, std::byte* row) {
  TRITIUM_TRY(detail::check_row_length(type, n));
  if (type == TensorType::i2_s) return detail::i2_s_row_error();
  const std::size_t bad = detail::find_not_finite(TensorType::f32, reinterpret_cast<const std::byte*>(in), n);
  if (bad != n) return detail::not_finite_error(Errc::invalid_argument, type, bad, in[bad]);
  switch (type) {
    case TensorType::f32:
      if (n != 0) std::memcpy(row, in, n * sizeof(float));
      return {};
    case TensorType::f64:
      for (std::size_t i = 0; i < n; ++i) {
        const auto value = static_cast<double>(in[i]);
        std::memcpy(row + i * sizeof value, &value, sizeof value);
      }
      return {};
    case TensorType::f16:
      for (std::size_t i = 0; i < n; ++i) {
        const f16 value = to_f16(in[i]);
        if ((value.bits & 0x7FFFu) == 0x7C00u) return detail::does_not_fit_error(type, i, in[i]);
        std::memcpy(row + i * sizeof value, &value, sizeof value);
      }
      return {};
    case TensorType::bf16:
      for (std::size_t i = 0; i < n; ++i) {
        const bf16 value = to_bf16(in[i]);
        if ((value.bits & 0x7FFFu) == 0x7F80u) return detail::does_not_fit_error(type, i, in[i]);
        std::memcpy(row + i * sizeof value, &value, sizeof value);
      }
      return {};
    default: break;
  }
  return with_block_codec(
      type,
      [&](auto codec) -> Status {
        constexpr const BlockFormat& kFormat = decltype(codec)::kFormat;
        auto* block = reinterpret_cast<std::uint8_t*>(row);
        BlockFields fields;
        for (std::size_t first = 0; first < n; first += kFormat.length) {
          detail::quantize_block(codec, in + first, fields);
          if (!std::isfinite(fields.d) || !std::isfinite(fields.m)) {
            return detail::does_not_fit_error(type, first, detail::signed_max(in + first, kFormat.length));
          }
          codec.pack(fields, block);
          block += info(kFormat.type).block_bytes;
        }
        return {};
      },
      Status(make_error(Errc::invalid_argument, "integer tensors are not encoded from f32", info(type).name)));
}

TRITIUM_NAMESPACE_END
