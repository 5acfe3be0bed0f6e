// SPDX-License-Identifier: Apache-2.0
// Self-test: the kernels of a tier against scalar arithmetic, on a case small enough for the first model load.
//
// A compiler, an emulator or a CPU that gets one instruction wrong gives a model that talks nonsense fluently. Each format
// is multiplied once through every path that a kernel has (one row, some rows, many rows; whole, odd and partial panels;
// more than one block of inputs) and compared with its scalar decoder in double, within a bound that counts roundings.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "tritium/core/float16.h"
#include "tritium/core/no_throw.h"
#include "tritium/format/packed_matrix.h"
#include "tritium/format/ternary_quantize.h"
#include "tritium/ops/isa.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN

/// What a self-test compared and how close it came.
struct SelfTestReport {
  std::size_t kernels = 0;   ///< table entries that were called
  std::size_t outputs = 0;   ///< numbers that were compared
  double worst = 0;          ///< largest error, as a share of its bound
  std::string worst_kernel;  ///< where that was
};

namespace detail {

class SelfTest {
 public:
  SelfTest(const KernelTable& table, std::string_view tier) : table_(table), tier_(tier) {}

  Result<SelfTestReport> run(std::span<const PackFormat> formats) {
    std::vector<float> x(kRows * kInputs);
    for (float& v : x) v = uniform() * 4 - 2;
    TRITIUM_TRY(check_quantize(x));
    for (const PackFormat format : formats) TRITIUM_TRY(check_matmul(format, x));
    TRITIUM_TRY(check_rows(x));
    TRITIUM_TRY(check_attention(KvType::f32, "attention f32", x));
    TRITIUM_TRY(check_attention(KvType::f16, "attention f16", x));
    TRITIUM_TRY(check_attention(KvType::int8, "attention int8", x));
    TRITIUM_TRY(check_attention(KvType::bf16, "attention bf16", x));
    return report_;
  }

 private:
  static constexpr std::size_t kRows = 25;     // past the number from which panels are unpacked
  static constexpr std::size_t kOutputs = 75;  // four panels side by side and a partial one
  static constexpr std::size_t kInputs = 530;  // two blocks of the unpacked path, the last one odd
  static constexpr std::size_t kCalls[] = {1, 3, 7, kRows};
  static constexpr double kEps = 0x1p-23;

  [[nodiscard]] std::uint32_t bits() {  // xorshift: any fixed sequence will do
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
  }
  [[nodiscard]] float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-24f; }

  /// Keeps the worst element of a kernel's outputs, and fails with it when it is out of bounds.
  struct Worst {
    double share = 0;
    std::size_t row = 0, column = 0;
    double expected = 0;
    float found = 0;
    void add(std::size_t r, std::size_t c, double want, float got, double bound) {
      const double error = std::fabs(static_cast<double>(got) - want);  // NaN where either is not finite
      const double ratio = error == 0 ? 0 : std::isfinite(error) && bound > 0 ? error / bound : 1e300;
      if (ratio >= share) *this = {ratio, r, c, want, got};
    }
  };
  Status settle(const std::string& kernel, const Worst& worst, std::size_t outputs) {
    report_.outputs += outputs;
    if (worst.share >= report_.worst) {
      report_.worst = worst.share;
      report_.worst_kernel = kernel;
    }
    if (worst.share <= 1) return {};
    return make_error(
        Errc::unsupported, "self-test failed",
        kernel + " on " + tier_ + ", row " + std::to_string(worst.row) + " column " + std::to_string(worst.column),
        std::to_string(worst.expected), std::to_string(worst.found));
  }
  Status missing(const std::string& kernel) const {
    return make_error(Errc::unsupported, "self-test failed", kernel + " on " + tier_, "a kernel", "none");
  }

  Status check_quantize(const std::vector<float>& x) {
    if (table_.quantize_rows == nullptr) return missing("quantize_rows");
    ++report_.kernels;
    for (std::size_t form = 0; form < kActivationForms; ++form) {
      const std::size_t group = kActivationGroups[form];
      TRITIUM_ASSIGN(q8_memory_[form], AlignedBuffer::allocate_zeroed(q8_bytes(kRows, kInputs, group)));
      const Q8Rows rows = Q8Rows::bind(q8_memory_[form].data(), kRows, kInputs, group);
      q8_[form] = rows;
      table_.quantize_rows(x.data(), kInputs, rows, 0, kRows);
      Worst worst;
      for (std::size_t r = 0; r < kRows; ++r) {
        std::array<std::int8_t, kInputs> codes;
        if (group == 0) quantize_activations(x.data() + r * kInputs, kInputs, codes.data());
        for (std::size_t i = 0; i < kInputs; ++i) {
          const auto code = static_cast<float>(rows.codes[r * rows.stride + i]);
          if (group == 0) {
            worst.add(r, i, codes[i], code, 1e-3);
          } else {  // a tie may go either way
            const double scale = static_cast<double>(rows.scales[r * rows.groups + i / group]);
            const double quotient = static_cast<double>(x[r * kInputs + i]) / scale;
            worst.add(r, i, std::clamp(static_cast<double>(code), quotient - 0.5, quotient + 0.5), code, 1e-4);
          }
        }
      }
      TRITIUM_TRY(settle("quantize_rows", worst, kRows * kInputs));
    }
    return {};
  }

  /// Arbitrary codes; scales and minima of one sign, so that decoded values bound the terms they are sums of.
  template <class F>
  void fill_panel(std::uint8_t* panel) {
    const auto half = [&](std::uint32_t sign) {
      return f16{static_cast<std::uint16_t>((0x2400 + bits() % 0x400) | sign)};
    };
    if constexpr (F::kPrefixBytes != 0) {
      float scales[kPanelRows];
      for (float& s : scales) s = 0.01f + uniform();
      std::memcpy(panel, scales, sizeof(scales));
    }
    for (std::size_t u = 0; u < F::units(kInputs); ++u) {
      for (std::size_t r = 0; r < kPanelRows; ++r) {
        for (std::size_t i = 0; i < F::kUnit; ++i) {
          fields_.codes[r][i] = static_cast<std::uint8_t>(F::kBits == 0 ? bits() % 3 : bits() & ((1u << F::kBits) - 1));
        }
        for (std::size_t g = 0; g < UnitFields::kMaxGroups; ++g) {
          fields_.d[g][r] = half(0);
          fields_.m[g][r] = half(F::kTwoLevel ? 0x8000 : 0);
          fields_.scales[g][r] = static_cast<std::uint8_t>(bits());
          fields_.mins[g][r] = static_cast<std::uint8_t>(bits());
        }
      }
      pack_unit<F>(fields_, panel + F::kPrefixBytes + u * F::kUnitBytes);
    }
  }
  template <class T>
  void fill_float_panel(std::uint8_t* panel) {
    for (std::size_t i = 0; i < FloatPanel<T>::padded_k(kInputs) * kPanelRows; ++i) {
      const float v = uniform() - 0.5f;
      T value{};
      if constexpr (std::is_same_v<T, float>) value = v;
      if constexpr (std::is_same_v<T, f16>) value = to_f16(v);
      if constexpr (std::is_same_v<T, bf16>) value = to_bf16(v);
      std::memcpy(panel + i * sizeof(T), &value, sizeof(T));
    }
  }

  Status check_matmul(PackFormat format, const std::vector<float>& x) {
    const PackFormatInfo& f = info(format);
    const std::string name = "matmul " + std::string(f.name);
    const MatmulFn kernel = table_.matmul[static_cast<std::size_t>(format)];
    if (kernel == nullptr) return missing(name);
    ++report_.kernels;
    TRITIUM_ASSIGN(PackedMatrix w, PackedMatrix::allocate(format, kOutputs, kInputs));
    for (std::size_t p = 0; p < w.n_panels(); ++p) {
      visit_format(
          format, [&](auto type) { fill_panel<decltype(type)>(w.panel(p)); },
          [&](auto type) { fill_float_panel<typename decltype(type)::Element>(w.panel(p)); });
    }
    MatmulArgs args;
    args.weights = w.data();
    args.panel_bytes = w.panel_bytes();
    args.n = kOutputs;
    args.k = kInputs;
    args.x_f32 = x.data();
    args.x_stride = kInputs;
    const Q8Rows& rows = q8_[activation_form(f.activation_group())];
    args.x = rows.view();

    std::vector<double> values(x.begin(), x.end());
    if (!f.is_float) {
      for (std::size_t r = 0; r < kRows; ++r) {
        for (std::size_t i = 0; i < kInputs; ++i) {
          values[r * kInputs + i] =
              static_cast<double>(rows.codes[r * rows.stride + i]) *
              static_cast<double>(rows.scales[r * rows.groups + (rows.group == 0 ? 0 : i / rows.group)]);
        }
      }
    }
    std::vector<double> expected(kRows * kOutputs);
    std::vector<double> bound(kRows * kOutputs);
    // Running sums of every input (float), of one or two every 16 or 32 (groups), of integers (rows).
    const double roundings = f.is_float ? kInputs + 2.0 : f.group == 0 ? 4.0 : kInputs / 16.0 * 2 + 8;
    std::vector<float> row(kInputs);
    for (std::size_t o = 0; o < kOutputs; ++o) {
      w.decode_row(o, row.data());
      for (std::size_t r = 0; r < kRows; ++r) {
        double sum = 0;
        double magnitude = 0;
        for (std::size_t i = 0; i < kInputs; ++i) {
          const double term = static_cast<double>(row[i]) * values[r * kInputs + i];
          sum += term;
          magnitude += std::fabs(term);
        }
        expected[r * kOutputs + o] = sum;
        bound[r * kOutputs + o] = roundings * kEps * magnitude;
      }
    }
    TRITIUM_ASSIGN(AlignedBuffer scratch, AlignedBuffer::allocate(matmul_scratch_bytes()));
    std::vector<float> y(kRows * kOutputs);
    args.y = y.data();
    args.y_stride = kOutputs;
    Worst worst;
    for (const std::size_t m : kCalls) {
      args.m = m;
      std::fill(y.begin(), y.end(), std::numeric_limits<float>::quiet_NaN());
      kernel(args, 0, w.n_panels(), scratch.data());
      for (std::size_t i = 0; i < m * kOutputs; ++i) worst.add(i / kOutputs, i % kOutputs, expected[i], y[i], bound[i]);
    }
    return settle(name, worst, (1 + 3 + 7 + kRows) * kOutputs);
  }

  Status check_rows(const std::vector<float>& x) {
    if (table_.rms_norm == nullptr) return missing("rms_norm");
    if (table_.rope_half == nullptr) return missing("rope_half");
    if (table_.gate == nullptr) return missing("gate");
    report_.kernels += 3;
    std::vector<float> y(kInputs);
    Worst worst;
    table_.rms_norm(x.data(), nullptr, kInputs, 1e-5f, y.data());
    double sum = 0;
    for (std::size_t i = 0; i < kInputs; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double scale = 1 / std::sqrt(sum / kInputs + 1e-5);
    for (std::size_t i = 0; i < kInputs; ++i) worst.add(0, i, static_cast<double>(x[i]) * scale, y[i], 4e-6);
    TRITIUM_TRY(settle("rms_norm", worst, kInputs));

    constexpr std::size_t kHalf = kInputs / 2;
    worst = {};
    y.assign(x.begin(), x.begin() + kInputs);
    const float* cosine = x.data() + kInputs;  // any numbers: the operation is a product of complex numbers
    const float* sine = cosine + kHalf;
    table_.rope_half(y.data(), cosine, sine, kHalf);
    for (std::size_t i = 0; i < kHalf; ++i) {
      const auto a = static_cast<double>(x[i]), b = static_cast<double>(x[kHalf + i]);
      const auto c = static_cast<double>(cosine[i]), s = static_cast<double>(sine[i]);
      worst.add(0, i, a * c - b * s, y[i], 2e-6);
      worst.add(0, kHalf + i, b * c + a * s, y[kHalf + i], 2e-6);
    }
    TRITIUM_TRY(settle("rope_half", worst, kInputs));

    constexpr std::pair<Activation, const char*> kActivations[] = {{Activation::none, "gate"},
                                                                   {Activation::silu, "gate silu"},
                                                                   {Activation::gelu_tanh, "gate gelu_tanh"},
                                                                   {Activation::gelu_erf, "gate gelu_erf"},
                                                                   {Activation::relu2, "gate relu2"},
                                                                   {Activation::sigmoid, "gate sigmoid"}};
    for (const auto& [activation, name] : kActivations) {
      worst = {};
      table_.gate(activation, x.data(), x.data() + kInputs, kInputs, y.data());
      for (std::size_t i = 0; i < kInputs; ++i) {
        const auto v = static_cast<double>(x[i]);
        double a = v;
        if (activation == Activation::silu) a = v / (1 + std::exp(-v));
        if (activation == Activation::gelu_tanh)
          a = v / (1 + std::exp(-1.5957691216057308 * (v + 0.044715 * v * v * v)));
        if (activation == Activation::gelu_erf) a = 0.5 * v * std::erfc(-v * 0.70710678118654752);
        if (activation == Activation::relu2) a = v > 0 ? v * v : 0;
        if (activation == Activation::sigmoid) a = 1 / (1 + std::exp(-v));
        worst.add(0, i, a * static_cast<double>(x[kInputs + i]), y[i], 8e-6);
      }
      TRITIUM_TRY(settle(name, worst, kInputs));
    }
    return {};
  }

  /// What a cache of a type holds of n values.
  static void as_cached(KvType type, float* x, std::size_t n) {
    float most = 0;
    for (std::size_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
    for (std::size_t i = 0; i < n; ++i) {
      if (type == KvType::f16) x[i] = to_float(to_f16(x[i]));
      if (type == KvType::bf16) x[i] = to_float(to_bf16(x[i]));
      if (type == KvType::int8) x[i] = std::nearbyint(x[i] * (127.0f / most)) * (most / 127.0f);
    }
  }

  /// One query over a part of a segment that the table's own kernel stores.
  Status check_attention(KvType type, const std::string& name, const std::vector<float>& x) {
    if (table_.attention == nullptr) return missing(name);
    if (table_.store_kv == nullptr) return missing("store_kv");
    ++report_.kernels;
    constexpr std::size_t kDim = 36;  // two groups of int8, one of them partial
    constexpr std::size_t kStride = 48;
    constexpr std::size_t kFirst = 3;
    constexpr std::size_t kLast = 101;
    std::vector<float> keys(kAttentionSegment * kDim);
    std::vector<float> values(kAttentionSegment * kStride);
    constexpr std::size_t kGroups = div_up(kDim, kKeyGroup);
    std::array<float, kGroups * kAttentionSegment> key_scales;
    std::array<float, kAttentionSegment> value_scales;
    const std::size_t element = kv_element_bytes(type);
    TRITIUM_ASSIGN(AlignedBuffer cached_keys, AlignedBuffer::allocate(keys.size() * element));
    TRITIUM_ASSIGN(AlignedBuffer cached_values, AlignedBuffer::allocate(values.size() * element));
    for (std::size_t j = 0; j < kAttentionSegment; ++j) {
      float* k = keys.data() + j * kDim;
      float* v = values.data() + j * kStride;
      const float size = 0.1f + uniform();  // the scales of int8 differ
      for (std::size_t i = 0; i < kDim; ++i) k[i] = (uniform() - 0.5f) * size;
      for (std::size_t i = 0; i < kStride; ++i) v[i] = (uniform() - 0.5f) * size;
      for (std::size_t i = 0; i < kDim; i += kKeyGroup) {
        const std::size_t n = std::min(kKeyGroup, kDim - i);
        table_.store_kv(k + i, n, kPanelRows, type, cached_keys.data() + kv_key_at(type, kDim, j, i) * element,
                        &key_scales[kv_key_at(KvType::f32, kGroups, j, i / kKeyGroup)]);
        as_cached(type, k + i, n);
      }
      table_.store_kv(v, kStride, kv_pair(type), type, cached_values.data() + kv_value_at(type, kStride, j) * element,
                      &value_scales[j]);
      as_cached(type, v, kStride);
    }
    std::vector<float> out(kStride);
    float max = 0;
    float sum = 0;
    const AttentionQuery query{x.data(), out.data(), &max, &sum, kFirst, kLast};
    AttentionArgs args;
    args.queries = &query;
    args.n_queries = 1;
    args.keys = cached_keys.data();
    args.values = cached_values.data();
    args.key_scales = key_scales.data();
    args.value_scales = value_scales.data();
    args.type = type;
    args.head_dim = kDim;
    args.value_stride = kStride;
    args.scale = 0.5f;
    args.bf16_dot = has_bf16_dot();
    table_.attention(args);
    std::vector<float> q(x.begin(), x.begin() + kDim);
    if (type == KvType::bf16) as_cached(type, q.data(), kDim);
    double total = 0;
    std::vector<double> expected(kStride), magnitude(kStride);
    for (std::size_t j = kFirst; j < kLast; ++j) {
      double score = 0;
      for (std::size_t i = 0; i < kDim; ++i) {
        score += static_cast<double>(q[i]) * static_cast<double>(keys[j * kDim + i]);
      }
      const double p = std::exp(0.5 * score - static_cast<double>(max));
      total += p;
      for (std::size_t c = 0; c < kStride; ++c) {
        const double term = p * static_cast<double>(values[j * kStride + c]);
        expected[c] += term;
        magnitude[c] += std::fabs(term);
      }
    }
    Worst worst;
    worst.add(0, 0, total, sum, 1e-4);
    const double rounding = type == KvType::bf16 ? 0x1p-8 : 0.0;  // of each probability
    for (std::size_t c = 0; c < kStride; ++c) worst.add(0, c, expected[c], out[c], 1e-4 + rounding * magnitude[c]);
    return settle(name, worst, kStride + 1);
  }

  const KernelTable& table_;
  std::string tier_;
  SelfTestReport report_;
  std::uint32_t state_ = 2463534242u;
  UnitFields fields_{};
  std::array<AlignedBuffer, kActivationForms> q8_memory_;
  std::array<Q8Rows, kActivationForms> q8_;
};

}  // namespace detail

/// Checks the kernels of a table for some formats, and the row operations. `tier` is named in the error.
/// Errors: unsupported (a kernel is missing or wrong: which one, on which tier, its worst element), out_of_memory.
inline Result<SelfTestReport> self_test(const KernelTable& table, std::string_view tier,
                                        std::span<const PackFormat> formats) {
  return no_throw([&]() -> Result<SelfTestReport> {
    const auto test = std::make_unique<detail::SelfTest>(table, tier);
    return test->run(formats);
  });
}

/// Those of `formats` that this process has not tested on `table` yet. Thread-safe. Errors: as self_test().
inline Status self_test_once(const KernelTable& table, std::span<const PackFormat> formats) {
  return no_throw([&]() -> Status {
    static std::mutex mutex;
    static std::map<const KernelTable*, std::array<bool, kPackFormatCount>> tested;
    const std::lock_guard lock(mutex);
    std::array<bool, kPackFormatCount>& done = tested[&table];
    std::vector<PackFormat> untested;
    for (const PackFormat format : formats) {
      if (!done[static_cast<std::size_t>(format)]) untested.push_back(format);
    }
    if (untested.empty()) return {};
    const Result<SelfTestReport> report = self_test(table, table.tier == nullptr ? "kernels" : table.tier, untested);
    if (!report.ok()) return report.error();
    for (const PackFormat format : untested) done[static_cast<std::size_t>(format)] = true;
    return {};
  });
}

#if TRITIUM_DISPATCH
/// The same for a tier of this build: those formats that a model uses, before its first token.
/// Errors: also unsupported when the tier is not compiled in or the CPU lacks it.
inline Result<SelfTestReport> self_test(Tier tier, std::span<const PackFormat> formats) {
  if (const std::string reason = why_not(tier); !reason.empty()) {
    return make_error(Errc::unsupported, "self-test", info(tier).name, "a tier that runs here", reason);
  }
  return self_test(*kernel_table(tier), info(tier).name, formats);
}

/// Every format of the catalogue: under 100 ms.
inline Result<SelfTestReport> self_test(Tier tier) {
  std::array<PackFormat, kPackFormatCount> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = kPackFormats[i].format;
  return self_test(tier, all);
}
#endif

TRITIUM_NAMESPACE_END
