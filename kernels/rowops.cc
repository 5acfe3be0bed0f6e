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
template <class Dot>
static constexpr KernelTable kRowOps = [] {
  KernelTable table;
  FillRowOps<Dot>(table);
  return table;
}();
static const KernelTable* TableOf(Tier tier) {
  const KernelTable* found = nullptr;
  WithPolicy(tier, [&](auto dot) { found = &kRowOps<decltype(dot)>; });
  return found;
}
}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/passes.h"
TRITIUM_NAMESPACE_BEGIN
namespace detail {
bool fill_rowops(Tier tier, KernelTable& table) {
  const KernelTable* part = TRITIUM_FIRST_PASS(TableOf(tier));
  if (part == nullptr) return false;
  table = *part;
  return true;
}
}  // namespace detail
TRITIUM_NAMESPACE_END
#endif
