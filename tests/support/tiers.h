// SPDX-License-Identifier: Apache-2.0
// The tiers that this CPU runs, and how much a slow machine (a sanitizer, an emulator) is asked to do.
#pragma once

#include <cstdlib>
#include <vector>

#include "tritium/ops/isa.h"
#include "tritium/ops/kernel_table.h"

namespace tiers {

struct RunnableTier {
  tritium::Tier tier;
  const tritium::KernelTable* kernels;
  /// hn::MulAdd is one rounding: such tiers agree with each other to the last bit.
  bool fused;
};

inline std::vector<RunnableTier> runnable() {
  std::vector<RunnableTier> out;
  for (const tritium::TierInfo& t : tritium::kTiers) {
    const tritium::KernelTable* kernels = tritium::kernel_table(t.tier);
    if (kernels != nullptr && tritium::cpu_has(t.tier))
      out.push_back({t.tier, kernels, t.tier != tritium::Tier::portable});
  }
  return out;
}

/// Sampled cases of a test: `full`, or about TRITIUM_TEST_PERCENT of it (the environment), or a few under a sanitizer.
inline std::size_t sample(std::size_t full) {
  std::size_t percent = 100;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(TRITIUM_FEW_CASES)
  percent = 8;
#endif
  if (const char* wanted = std::getenv("TRITIUM_TEST_PERCENT"); wanted != nullptr && *wanted != '\0') {
    percent = std::strtoul(wanted, nullptr, 10);
  }
  const std::size_t n = full * percent / 100;
  return n == 0 ? 1 : n;
}

}  // namespace tiers
