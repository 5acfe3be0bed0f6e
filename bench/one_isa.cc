// SPDX-License-Identifier: Apache-2.0
// The hot kernels in one instruction set, headers alone: what bench/compilers.py builds with each compiler.
//
//   one_isa [ROUNDS]      a line for each format: name, weights a nanosecond for one token from 512 KB in the second-level
//                         cache, products a nanosecond for 256 rows; medians of ROUNDS (9)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "matrices.h"
#include "tritium/tritium.h"

namespace {

using namespace tritium;

/// Products a nanosecond of w times m rows of noise, the median of `rounds`; negative after a message when it is wrong.
double products_per_ns(OpContext& context, const PackedMatrix& w, std::size_t m, std::size_t rounds) {
  const auto rows = bench::random_rows(context, w, m);
  if (!rows.ok()) return std::fprintf(stderr, "%s\n", rows.error().message.c_str()), -1;
  std::vector<float> y(m * w.n());
  MatmulOutput out;
  out.w = &w;
  out.y = {y.data(), m, w.n()};
  const Status status = matmul(context, rows->view(), {&out, 1});
  const std::string wrong = status.ok() ? bench::wrong_outputs(w, rows->view(), y, m) : status.error().message;
  if (!wrong.empty())
    return std::fprintf(stderr, "%s, %zu rows: %s\n", std::string(w.format_info().name).c_str(), m, wrong.c_str()), -1;
  const double products = static_cast<double>(w.n()) * static_cast<double>(w.k()) * static_cast<double>(m);
  const auto calls = static_cast<std::size_t>(1 + 2e9 / products);  // some 10 ms
  std::vector<double> rates;
  for (std::size_t r = 0; r < rounds; ++r) {
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < calls; ++i) (void)matmul(context, rows->view(), {&out, 1});
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    rates.push_back(products * static_cast<double>(calls) / taken.count());
  }
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rounds / 2), rates.end());
  return rates[rounds / 2];
}

template <PackFormat kFormat>
bool measure(std::size_t rounds) {
  auto context = OpContext::create<kFormat>();
  const PackFormatInfo& format = info(kFormat);
  const std::size_t n = round_up((512 << 10) / (format.panel_bytes(2048) / kPanelRows), 64);
  const auto small = bench::random_matrix(kFormat, n, 2048);
  const auto layer = bench::random_matrix(kFormat, 896, 4864);  // Qwen2.5-0.5B, down
  if (!context.ok() || !small.ok() || !layer.ok()) return false;
  const double one = products_per_ns(*context, *small, 1, rounds);
  const double many = products_per_ns(*context, *layer, 256, rounds);
  std::printf("%-12s %8.2f %8.2f\n", std::string(format.name).c_str(), one, many);
  std::fflush(stdout);
  return one > 0 && many > 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 9;
  if (rounds == 0) return 2;
  using enum PackFormat;
  const bool ok = measure<ternary2>(rounds) && measure<ternary5>(rounds) && measure<int4>(rounds) &&
                  measure<int4_g32>(rounds) && measure<int4_g128>(rounds) && measure<int8>(rounds) &&
                  measure<int8_g32>(rounds) && measure<k4>(rounds) && measure<k6>(rounds);
  return ok ? 0 : 1;
}
