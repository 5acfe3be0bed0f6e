// SPDX-License-Identifier: Apache-2.0
// What the examples with threads compute: packing and a product, which any number of threads does to the same bit.
#pragma once

#include <tritium/tritium.h>

#include <cmath>
#include <cstring>
#include <vector>

/// y = x W^T on `executor`; empty when something fails.
inline std::vector<float> multiply(const tritium::Executor& executor) {
  using namespace tritium;
  constexpr std::size_t n = 640, k = 256, m = 40;
  std::vector<float> weights(n * k), x(m * k), y(m * n);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i) * 0.7f);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i) * 0.3f);
  const StoredMatrix stored{TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), n, k};
  const auto w = pack(stored, PackFormat::int4_g32, executor);
  auto context = OpContext::create(executor);
  if (!w.ok() || !context.ok() || !matmul(*context, {x.data(), m, k}, *w, {y.data(), m, n}).ok()) return {};
  return y;
}

/// True when `executor` calls every task once and its results are those of one thread.
inline bool same_results(const tritium::Executor& executor) {
  std::vector<std::size_t> calls(executor.n_threads, 0);
  for (int i = 0; i < 100; ++i) executor.run([&](std::size_t t) { ++calls[t]; });
  for (const std::size_t n : calls) {
    if (n != 100) return false;
  }
  const std::vector<float> one = multiply({}), many = multiply(executor);
  return !one.empty() && one.size() == many.size() &&
         std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0;
}
