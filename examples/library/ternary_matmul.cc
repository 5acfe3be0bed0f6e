// SPDX-License-Identifier: Apache-2.0
// Ternary matmul: float weights become -s, 0, +s in 2 bits each and multiply a batch of activations.
#include <tritium/tritium.h>

#include <cstdio>
#include <vector>

int main() {
  using namespace tritium;
  constexpr std::size_t n = 3, k = 8, m = 2;  // outputs, inputs, rows of the batch
  const std::vector<float> weights = {
      0.9f, 0.1f, -1.1f, 1.0f, -0.2f, 0.8f,  1.0f, -0.9f,   //
      0.5f, 0.5f, -0.5f, 0.0f, 0.0f,  -0.5f, 0.5f, 0.5f,    //
      0.0f, 0.0f, 0.0f,  0.0f, 0.0f,  0.0f,  0.0f, -2.0f};  // ternary rows stay as they are
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 127, -127, 0, 1, 0, -1, 0, 1, 0};
  std::vector<float> y(m * n);

  const StoredMatrix stored{TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), n, k};
  auto w = pack(stored, PackFormat::ternary2);
  auto context = OpContext::create();  // one thread; hand it an Executor for more
  if (!w.ok() || !context.ok()) return 1;
  const Status status = matmul(*context, {x.data(), m, k}, *w, {y.data(), m, n});  // y = x W^T
  if (!status.ok()) return 1;

  std::vector<float> row(k);
  for (std::size_t j = 0; j < n; ++j) {
    w->decode_row(j, row.data());
    for (const float value : row) std::printf(" %5.2f", static_cast<double>(value));
    for (std::size_t r = 0; r < m; ++r) std::printf("   y[%zu] = %g", r, static_cast<double>(y[r * n + j]));
    std::printf("\n");
  }
}
