// SPDX-License-Identifier: Apache-2.0
// Matrices of random codes, activations of noise, and the check of what a kernel made of them.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tritium/format/packed_matrix.h"
#include "tritium/ops/activation_rows.h"
#include "tritium/ops/matmul.h"

namespace bench {

using namespace tritium;

/// Panels of random codes and sane scales: packing floats would take longer than the benchmark.
inline Result<PackedMatrix> random_matrix(PackFormat format, std::size_t n, std::size_t k) {
  TRITIUM_ASSIGN(PackedMatrix w, PackedMatrix::allocate(format, n, k));
  std::mt19937_64 rng(7);
  auto* words = reinterpret_cast<std::uint64_t*>(w.panel(0));
  for (std::size_t i = 0; i < w.bytes() / 8; ++i) words[i] = rng();
  visit_format(
      format,
      [&](auto f) {
        using F = decltype(f);
        for (std::size_t p = 0; p < w.n_panels(); ++p) {
          std::uint8_t* panel = w.panel(p);
          if constexpr (F::kPrefixBytes != 0) {
            for (std::size_t r = 0; r < kPanelRows; ++r)
              reinterpret_cast<float*>(panel)[r] = 0.01f + 0.001f * static_cast<float>(r);
          } else {
            const std::size_t halves =
                F::kTwoLevel ? (F::kHasMin ? 32 : 16) : F::kGroupsInUnit * (F::kHasMin ? 32 : 16);
            for (std::size_t u = 0; u < F::units(k); ++u) {
              for (std::size_t i = 0; i < halves; ++i) {
                const f16 h = to_f16(0.01f + 0.0001f * static_cast<float>((i + u) % 64));
                std::memcpy(panel + u * F::kUnitBytes + 2 * i, &h, sizeof(h));
              }
            }
          }
        }
      },
      [&](auto f) {
        using T = typename decltype(f)::Element;
        for (std::size_t i = 0; i < w.bytes() / sizeof(T); ++i) {
          const float v = 0.01f * static_cast<float>(static_cast<int>(i % 201) - 100);
          T value{};
          if constexpr (std::is_same_v<T, float>) value = v;
          if constexpr (std::is_same_v<T, f16>) value = to_f16(v);
          if constexpr (std::is_same_v<T, bf16>) value = to_bf16(v);
          std::memcpy(w.panel(0) + i * sizeof(T), &value, sizeof(T));
        }
      });
  return w;
}

/// Rows of noise in the form a format reads.
inline Result<ActivationRows> random_rows(OpContext& context, const PackedMatrix& w, std::size_t m) {
  TRITIUM_ASSIGN(ActivationRows rows, ActivationRows::create(m, w.k()));
  rows.bind(m, w.k());
  MatmulOutput out;
  out.w = &w;
  const ActivationRows::Forms forms = ActivationRows::Forms::of({&out, 1});
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (std::size_t r = 0; r < m; ++r) {
    rows.produce(context.kernels(), r, forms, [&](std::size_t, float* to) {
      for (std::size_t i = 0; i < w.k(); ++i) to[i] = normal(rng);
    });
  }
  return rows;
}

/// What a kernel takes input i of row r for.
inline double value_of(const MatmulInput& x, const PackFormatInfo& format, std::size_t r, std::size_t i) {
  if (format.is_float) return static_cast<double>(x.f32(r, i));
  const Q8View& q = x.q8[activation_form(format.activation_group())];
  const double scale = static_cast<double>(q.scales[r * q.groups + (q.group == 0 ? 0 : i / q.group)]);
  return scale * q.codes[r * q.stride + i];
}

/// Empty when a sample of outputs equals the scalar product of decoded values, else what is wrong.
inline std::string wrong_outputs(const PackedMatrix& w, const MatmulInput& x, const std::vector<float>& y,
                                 std::size_t m) {
  std::vector<float> row(w.k());
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t r = i * 7919 % m;
    const std::size_t o = (i * 104729 + 5) % w.n();
    w.decode_row(o, row.data());
    double sum = 0, magnitude = 0;
    for (std::size_t k = 0; k < w.k(); ++k) {
      const double term = static_cast<double>(row[k]) * value_of(x, w.format_info(), r, k);
      sum += term;
      magnitude += std::fabs(term);
    }
    const double found = y[r * w.n() + o];
    if (!(std::fabs(found - sum) <= 1e-5 * magnitude + 1e-6)) {
      return "row " + std::to_string(r) + " output " + std::to_string(o) + ": expected " + std::to_string(sum) +
             ", found " + std::to_string(found);
    }
  }
  return "";
}

}  // namespace bench
