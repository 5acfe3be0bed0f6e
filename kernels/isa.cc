// SPDX-License-Identifier: Apache-2.0
// The tables of all tiers, built on first use.
#include "kernels/fill.h"

TRITIUM_SEAM_BEGIN

const KernelTable* kernel_table(Tier tier) {
  struct Tables {
    KernelTable table[kTierCount];
    bool compiled[kTierCount] = {};
    Tables() {
      for (std::size_t i = 0; i < kTierCount; ++i) {
        const Tier t = kTiers[i].tier;
        compiled[i] = detail::fill_rowops(t, table[i]) && detail::fill_matmul<FormatFamily::ternary>(t, table[i]) &&
                      detail::fill_matmul<FormatFamily::int4>(t, table[i]) &&
                      detail::fill_matmul<FormatFamily::int8>(t, table[i]) &&
                      detail::fill_matmul<FormatFamily::blocks>(t, table[i]) &&
                      detail::fill_matmul<FormatFamily::super>(t, table[i]);
        table[i].tier = kTiers[i].name.data();
      }
    }
  };
  static const Tables tables;
  const auto i = static_cast<std::size_t>(tier);
  return tables.compiled[i] ? &tables.table[i] : nullptr;
}

TRITIUM_SEAM_END
