// SPDX-License-Identifier: Apache-2.0
// The body of every matmul_<family>.cc: instances of the catalogue's formats of TRITIUM_FAMILY for each pass. Re-included
// per pass through the file that set HWY_TARGET_INCLUDE, hence no guard.
#include "kernels/fill.h"
#include "tritium/simd/targets.h"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "tritium/simd/table-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

template <FormatFamily kFamily, class Dot>
constexpr void FillFamily(KernelTable& table) {
#define TRITIUM_FORMAT(family, id, name, type) \
  if constexpr (FormatFamily::family == kFamily) FillMatmul<type, Dot>(PackFormat::id, table);
#define TRITIUM_FLOAT_FORMAT(id, name, type)
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
}

template <class Dot>
static constexpr KernelTable kFamilyTable = [] {  // static: every file has its own
  KernelTable table;
  FillFamily<FormatFamily::TRITIUM_FAMILY, Dot>(table);
  return table;
}();
static const KernelTable* TableOf(Tier tier) {
  const KernelTable* found = nullptr;
  WithPolicy(tier, [&](auto dot) { found = &kFamilyTable<decltype(dot)>; });
  return found;
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
  const KernelTable* part = TRITIUM_FIRST_PASS(TableOf(tier));
  if (part == nullptr) return false;
  for (std::size_t i = 0; i < kPackFormatCount; ++i) {
    if (part->matmul[i] != nullptr) table.matmul[i] = part->matmul[i];
  }
  return true;
}
}  // namespace detail
TRITIUM_NAMESPACE_END
#endif
