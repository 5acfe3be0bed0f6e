// SPDX-License-Identifier: Apache-2.0
// In xsimd code: buffers of xsimd's allocator go in and come out, batches work on the results where they lie.
//
// No bridge is needed: a view is a pointer and a shape, and any alignment serves.
#include <tritium/tritium.h>

#include <cmath>
#include <cstdio>
#include <vector>
#include <xsimd/xsimd.hpp>

int main() {
  using namespace tritium;
  using Batch = xsimd::batch<float>;
  using Floats = std::vector<float, xsimd::aligned_allocator<float>>;
  constexpr std::size_t n = 100, k = 256, m = 3;            // outputs, inputs, rows of the batch
  constexpr std::size_t stride = round_up(n, Batch::size);  // every row of results begins on a batch
  Floats weights(n * k), x(m * k), y(m * stride), logits(m * stride);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i) * 0.7f);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i) * 0.3f);

  auto w = pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), n, k}, PackFormat::int8_g32);
  auto context = OpContext::create();
  if (!w.ok() || !context.ok()) return 1;
  if (!matmul(*context, {x.data(), m, k}, *w, {y.data(), m, n, stride}).ok()) return 1;

  // logits = 3 tanh(y / 3), the soft cap of some models, on whole batches: what pads a row is computed and never read.
  const Batch cap(3.0f);
  for (std::size_t i = 0; i < y.size(); i += Batch::size)
    (cap * xsimd::tanh(Batch::load_aligned(&y[i]) / cap)).store_aligned(&logits[i]);

  double worst = 0, largest = 0;
  std::vector<float> row(k);
  for (std::size_t j = 0; j < n; ++j) {
    w->decode_row(j, row.data());
    for (std::size_t r = 0; r < m; ++r) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i) sum += double{row[i]} * double{x[r * k + i]};
      worst = std::max(worst, std::fabs(3 * std::tanh(sum / 3) - double{logits[r * stride + j]}));
      largest = std::max(largest, std::fabs(sum));
    }
  }
  std::printf("batches of %zu, largest error %.4f of values up to %.1f\n", Batch::size, worst, largest);
  return worst < 0.05 && largest > 1 ? 0 : 1;
}
