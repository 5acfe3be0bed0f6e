// SPDX-License-Identifier: Apache-2.0
// Row operations, attention and float matmul for each pass.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rowops.cc"
#include "kernels/fill.h"
#include "tritium/simd/targets.h"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "tritium/simd/table-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {
static bool FillTier(Tier tier, KernelTable& table) {
  return WithPolicy(tier, [&](auto dot) { FillRowOps<decltype(dot)>(table); });
}
}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/passes.h"
TRITIUM_NAMESPACE_BEGIN
namespace detail {
bool fill_rowops(Tier tier, KernelTable& table) { return TRITIUM_ANY_PASS(FillTier(tier, table)); }
}  // namespace detail
TRITIUM_NAMESPACE_END
#endif
