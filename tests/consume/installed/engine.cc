// SPDX-License-Identifier: Apache-2.0
// An engine over the installed kernels: the instruction set is chosen at run time, threads come from the pool.
#include <tritium/tritium.h>

#include <cstdio>

int main() {
  using namespace tritium;
  std::vector<float> weights(256 * 512, 0.5f), x(3 * 512, 1.0f), y(3 * 256);
  auto pool = ThreadPool::create(2);
  if (!pool.ok()) return 1;
  auto w = pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), 256, 512}, PackFormat::ternary2);
  auto context = OpContext::create((*pool)->executor());
  if (!w.ok() || !context.ok()) return 1;
  const Status status = matmul(*context, {x.data(), 3, 512}, *w, {y.data(), 3, 256});
  if (!status.ok()) return 1;
  std::printf("%s: %g\n", context->kernels().tier, static_cast<double>(y[3 * 256 - 1]));
}
