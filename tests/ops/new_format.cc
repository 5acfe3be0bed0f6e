// SPDX-License-Identifier: Apache-2.0
// A user of the format that docs/adding.md adds, int3g64: headers alone, built by add_format.sh in a copy of the headers.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "tritium/tritium.h"

int main() {
  using namespace tritium;
  constexpr std::size_t n = 48;
  constexpr std::size_t k = 640;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> weights(n * k);
  for (float& w : weights) w = normal(random);
  const auto w =
      pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), n, k}, PackFormat::int3_g64);
  auto context = OpContext::create({});
  if (!w.ok() || !context.ok()) return std::puts("packing failed"), 1;
  const PackFormatInfo* found = find_pack_format("int3g64");
  if (found == nullptr || found->format != PackFormat::int3_g64) return std::puts("the catalogue lacks it"), 1;
  for (const std::size_t m : {std::size_t{1}, std::size_t{5}, std::size_t{40}}) {
    std::vector<float> x(m * k), y(m * n), row(k);
    for (float& v : x) v = normal(random);
    if (!matmul(*context, {x.data(), m, k}, *w, {y.data(), m, n}).ok()) return std::puts("matmul failed"), 1;
    for (std::size_t o = 0; o < n; ++o) {
      w->decode_row(o, row.data());
      for (std::size_t r = 0; r < m; ++r) {
        double sum = 0, length = 0, rounding = 0;
        for (std::size_t i = 0; i < k; ++i) {
          const double term = static_cast<double>(row[i]) * static_cast<double>(x[r * k + i]);
          sum += term;
          length += std::fabs(static_cast<double>(row[i]));
        }
        for (std::size_t i = 0; i < k; ++i)
          rounding = std::fmax(rounding, std::fabs(static_cast<double>(x[r * k + i])));
        rounding *= length / 254;  // half a step of int8 an input, all of one sign
        if (!(std::fabs(static_cast<double>(y[r * n + o]) - sum) <= rounding))
          return std::printf("row %zu output %zu: expected %g, found %g\n", r, o, sum,
                             static_cast<double>(y[r * n + o])),
                 1;
      }
    }
  }
  return std::printf("int3g64: %.3f bits a weight, %s\n", found->bits_per_weight(), context->kernels().tier) < 0;
}
