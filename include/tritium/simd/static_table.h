// SPDX-License-Identifier: Apache-2.0
// The kernel table of a headers-only build: one tier, the best that the compiler's flags allow.
//
// Included by ops/kernel_table.h when TRITIUM_DISPATCH is 0, never by users. An engine that multiplies few formats asks
// for OpContext::create<...>() and compiles those alone; without arguments it has them all.
#pragma once

#include "tritium/simd/targets.h"
#include "hwy/highway.h"
// After the two above.
#include "tritium/simd/table-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

// The best policy of the flags; WithPolicy() has the run-time choice of the same pass.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3 && defined(__AVX512VNNI__)
using StaticDot = DotVnni;
inline constexpr Tier kStaticTier = Tier::avx512_vnni;
inline constexpr const char* kStaticTierName = "avx512_vnni";
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
using StaticDot = DotMaddubs;
inline constexpr Tier kStaticTier = Tier::avx512;
inline constexpr const char* kStaticTierName = "avx512";
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && defined(__AVXVNNI__)
using StaticDot = DotVnni;
inline constexpr Tier kStaticTier = Tier::avx2_vnni;
inline constexpr const char* kStaticTierName = "avx2_vnni";
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
using StaticDot = DotMaddubs;
inline constexpr Tier kStaticTier = Tier::avx2;
inline constexpr const char* kStaticTierName = "avx2";
#elif HWY_ARCH_ARM_A64 && HWY_TARGET >= HWY_NEON && defined(__ARM_FEATURE_MATMUL_INT8)
using StaticDot = DotUsdot;
inline constexpr Tier kStaticTier = Tier::neon_i8mm;
inline constexpr const char* kStaticTierName = "neon_i8mm";
#elif HWY_ARCH_ARM_A64 && HWY_TARGET >= HWY_NEON && defined(__ARM_FEATURE_DOTPROD)
using StaticDot = DotSdot;
inline constexpr Tier kStaticTier = Tier::neon_dotprod;
inline constexpr const char* kStaticTierName = "neon_dotprod";
#elif HWY_ARCH_ARM_A64 && HWY_TARGET >= HWY_NEON
using StaticDot = DotPortable;
inline constexpr Tier kStaticTier = Tier::neon;
inline constexpr const char* kStaticTierName = "neon";
#else
using StaticDot = DotPortable;
inline constexpr Tier kStaticTier = Tier::portable;
inline constexpr const char* kStaticTierName = "portable";
#endif

/// Instances of a format if it is one of kFormats, or if kFormats is empty.
template <class F, PackFormat kFormat, PackFormat... kFormats>
constexpr void FillIfWanted(KernelTable& t) {
  if constexpr (sizeof...(kFormats) == 0 || ((kFormat == kFormats) || ...)) FillMatmul<F, StaticDot>(kFormat, t);
}

template <PackFormat... kFormats>
constexpr KernelTable StaticTable() {
  KernelTable t;
  t.tier = kStaticTierName;
  FillRowOps<StaticDot>(t);
#define TRITIUM_FORMAT(family, id, name, type) FillIfWanted<type, PackFormat::id, kFormats...>(t);
#define TRITIUM_FLOAT_FORMAT(id, name, type)
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT
  return t;
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

TRITIUM_NAMESPACE_BEGIN

/// The kernels of this translation unit's instruction set for `kFormats` (and the float formats), others null; without
/// arguments all formats. Pass it to OpContext::create().
template <PackFormat... kFormats>
inline const KernelTable& static_kernels() {
  static const KernelTable table = HWY_NAMESPACE::StaticTable<kFormats...>();
  return table;
}

constexpr bool tier_is_compiled(Tier tier) { return tier == HWY_NAMESPACE::kStaticTier; }

/// As in a build with dispatch. A template, so that the whole catalogue is compiled only where it is asked for.
template <class Lazy = void>
inline const KernelTable* kernel_table(Tier tier) {
  return tier_is_compiled(tier) ? &static_kernels<>() : nullptr;
}

TRITIUM_NAMESPACE_END
