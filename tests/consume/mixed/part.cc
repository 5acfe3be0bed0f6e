// SPDX-License-Identifier: Apache-2.0
// Compiled several times with different -m flags and PART set to a name: the same products, each by its own kernels.
#include <tritium/tritium.h>

#include "part.h"

Products PART() {
  using namespace tritium;
  Products products;
  std::vector<float> weights(75 * 530), x(5 * 530);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i * 7919 % 31) - 15;
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 104729 % 61) - 30;
  products.y.assign(5 * 75, 0.0f);
  auto w = pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), 75, 530}, PackFormat::int8);
  auto context = OpContext::create<PackFormat::int8>();
  if (!w.ok() || !context.ok() || !active_isa().ok()) return {};
  if (!matmul(*context, {x.data(), 5, 530}, *w, {products.y.data(), 5, 75}).ok()) return {};
  products.tier = info(active_isa()->tier).name;
  return products;
}
