// SPDX-License-Identifier: Apache-2.0
// A host that compiles two of the kernels' files itself and runs them on threads of its own.
#include <tritium/tritium.h>

#include <array>
#include <cstdio>
#include <thread>

#include "kernels/fill.h"

// In place of kernels/isa.cc, which has every format: the families that this host multiplies.
TRITIUM_SEAM_BEGIN
const KernelTable* kernel_table(Tier tier) {
  static const auto tables = [] {
    std::array<KernelTable, kTierCount> all;
    for (const TierInfo& t : kTiers) {
      KernelTable& table = all[static_cast<std::size_t>(t.tier)];
      const bool compiled =
          detail::fill_rowops(t.tier, table) && detail::fill_matmul<FormatFamily::ternary>(t.tier, table);
      table.tier = compiled ? t.name.data() : nullptr;
    }
    return all;
  }();
  const KernelTable& table = tables[static_cast<std::size_t>(tier)];
  return table.tier != nullptr ? &table : nullptr;
}
TRITIUM_SEAM_END

int main() {
  using namespace tritium;
  std::size_t regions = 0;
  // Any fork-join mechanism serves: call task(argument, t) once for every t and return when all have returned.
  const Executor executor{3, &regions, [](void* context, Executor::Task task, void* argument) {
                            ++*static_cast<std::size_t*>(context);
                            std::thread second(task, argument, 1), third(task, argument, 2);
                            task(argument, 0);
                            second.join();
                            third.join();
                          }};
  std::vector<float> weights(256 * 512, 0.5f), x(3 * 512, 1.0f), y(3 * 256);
  auto w = pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), 256, 512}, PackFormat::ternary2);
  auto context = OpContext::create(executor);
  if (!w.ok() || !context.ok()) return 1;
  if (!matmul(*context, {x.data(), 3, 512}, *w, {y.data(), 3, 256}).ok()) return 1;
  std::printf("%s, %s threads: %g\n", context->kernels().tier, regions > 0 ? "own" : "no", static_cast<double>(y[700]));
}
