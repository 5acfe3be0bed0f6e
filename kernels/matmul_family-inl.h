// SPDX-License-Identifier: Apache-2.0
// The body of every matmul_<family>.cc: instances of the catalogue's formats of TRITIUM_FAMILY for each pass.
// Re-included per pass through the file that set HWY_TARGET_INCLUDE, hence no guard.
#include "kernels/fill.h"
#include "tritium/simd/targets.h"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "tritium/simd/table-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

template <FormatFamily kFamily, class Dot>
void FillFamily(KernelTable& table) {
#define TRITIUM_FORMAT(family, id, name, type) \
  if constexpr (FormatFamily::family == kFamily) FillMatmul<type, Dot>(PackFormat::id, table);
#define TRITIUM_FLOAT_FORMAT(id, name, type)
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
}

static bool FillTier(Tier tier, KernelTable& table) {
  return WithPolicy(tier, [&](auto dot) { FillFamily<FormatFamily::TRITIUM_FAMILY, decltype(dot)>(table); });
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/passes.h"
TRITIUM_NAMESPACE_BEGIN
namespace detail {
template <>
bool fill_matmul<FormatFamily::TRITIUM_FAMILY>(Tier tier, KernelTable& table) {
  return TRITIUM_ANY_PASS(FillTier(tier, table));
}
}  // namespace detail
TRITIUM_NAMESPACE_END
#endif
