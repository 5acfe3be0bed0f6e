// SPDX-License-Identifier: Apache-2.0
// Fills a KernelTable with the instances of one pass and one dot-product policy.

#if defined(TRITIUM_SIMD_TABLE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_TABLE_INL_H_
#undef TRITIUM_SIMD_TABLE_INL_H_
#else
#define TRITIUM_SIMD_TABLE_INL_H_
#endif

#include "tritium/ops/kernel_table.h"
#include "tritium/simd/attention-inl.h"
#include "tritium/simd/delta_net-inl.h"
#include "tritium/simd/float_matmul-inl.h"
#include "tritium/simd/matmul-inl.h"
#include "tritium/simd/probe-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

/// How the tier of a dot-product policy multiplies pairs of bf16 where its CPU can: AVX512-BF16 came after AVX512-VNNI.
template <class Dot>
struct PairsOfPolicy {
  using Type = PairsFma;
};
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
template <class Dot>
  requires(!std::is_same_v<Dot, DotMaddubs>)
struct PairsOfPolicy<Dot> {
  using Type = PairsDot;
};
#endif
template <class Dot>
using PairsOf = typename PairsOfPolicy<Dot>::Type;

template <class Dot>
constexpr void FillRowOps(KernelTable& t) {
  t.quantize_rows = [](const float* x, std::size_t stride, const Q8Rows& rows, std::size_t first, std::size_t last) {
    QuantizeRows(x, stride, rows, first, last);
  };
  t.attention = &AttentionSegment<PairsOf<Dot>>;
  t.attention_merge = &AttentionMerge;
  t.rms_norm = &RmsNorm;
  t.layer_norm = &LayerNorm;
  t.rope_half = &RopeHalf;
  t.gate = &Gate;
  t.add_scaled = &AddScaled;
  t.scale = &Scale;
  t.soft_cap = &SoftCap;
  t.soft_max = &SoftMax;
  t.log_sum_exp = &LogSumExp;
  t.divergence = &Divergence;
  t.arg_max = &ArgMax;
  t.all_finite = &AllFinite;
  t.shortlist = &Shortlist;
  t.store_kv = &StoreKv;
  t.delta_rule = &DeltaRule;
  t.conv_silu = &ConvSilu;
  if constexpr (requires { typename Dot::Tiles; }) {
    t.dot_loop = &TileLoop<typename Dot::Tiles>;
  } else {
    t.dot_loop = &DotLoop<Dot>;
  }
  t.read_streams = &ReadStreams;
  t.matmul[static_cast<std::size_t>(PackFormat::f32)] = &FloatMatmulPanels<float>;
  t.matmul[static_cast<std::size_t>(PackFormat::f16)] = &FloatMatmulPanels<f16>;
  t.matmul[static_cast<std::size_t>(PackFormat::bf16)] = &FloatMatmulPanels<bf16>;
}

/// A policy may name matrix units: they serve the formats that fill them.
template <class F, class Dot>
constexpr void FillMatmul(PackFormat format, KernelTable& t) {
  MatmulFn& fn = t.matmul[static_cast<std::size_t>(format)];
  if constexpr (!requires { typename Dot::Tiles; }) {
    fn = &MatmulPanels<F, Dot, void>;
  } else if constexpr (kFitsTiles<F>) {
    fn = &MatmulPanels<F, typename Dot::Vectors, typename Dot::Tiles>;
  } else {
    fn = &MatmulPanels<F, typename Dot::Vectors, void>;
  }
}

/// Calls fill(Dot{}) with the policy by which this pass serves a tier; false when it does not serve it.
template <class Fill>
inline bool WithPolicy(Tier tier, Fill&& fill) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if (tier == Tier::avx512) return fill(DotMaddubs{}), true;
  if (tier == Tier::avx512_vnni) return fill(DotVnni{}), true;
#if HWY_ARCH_X86_64
  if (tier == Tier::amx) return fill(DotTiles<DotVnni, AmxTiles>{}), true;
  if (tier == Tier::amx_emulated) return fill(DotTiles<DotVnni, EmulatedTiles>{}), true;
#endif
#elif HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  if (tier == Tier::avx2) return fill(DotMaddubs{}), true;
  if (tier == Tier::avx2_vnni) return fill(DotVnni{}), true;
#elif HWY_ARCH_ARM_A64 && HWY_TARGET >= HWY_NEON
  if (tier == Tier::neon) return fill(DotPortable{}), true;
  if (tier == Tier::neon_dotprod) return fill(DotSdot{}), true;
  if (tier == Tier::neon_i8mm) return fill(DotUsdot{}), true;
#else
  if (tier == Tier::portable) return fill(DotPortable{}), true;
#endif
  return false;
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
