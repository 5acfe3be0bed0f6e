// SPDX-License-Identifier: Apache-2.0
// Float matmul: y = epilogue(x W^T) with f32 activations and f32, f16 or bf16 panels.
//
// Each output is one chain of multiply-adds over k in order, in f32, whatever the number of rows: the reference path
// (`--exact`), unquantised layers and heads. Weights are widened in registers; both 16-bit formats are exact in f32.

#if defined(TRITIUM_SIMD_FLOAT_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_FLOAT_MATMUL_INL_H_
#undef TRITIUM_SIMD_FLOAT_MATMUL_INL_H_
#else
#define TRITIUM_SIMD_FLOAT_MATMUL_INL_H_
#endif

#include "tritium/simd/epilogue-inl.h"
#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

inline constexpr std::size_t kFloatRows = kLanes == 16 ? 6 : kLanes == 8 ? 4 : 2;
inline constexpr std::size_t kFloatPanels = kLanes == 16 ? 4 : 1;
inline constexpr std::size_t kFloatInputs = 256;  // a block of 4 panels stays in the first-level cache

/// Two inputs of 16 outputs as f32: w[0] of input i, w[1] of input i + 1.
HWY_INLINE void LoadPair(const float* unit, std::size_t v, VF (&w)[2]) {
  w[0] = hn::LoadU(DF(), unit + v * kLanes);
  w[1] = hn::LoadU(DF(), unit + kPanelRows + v * kLanes);
}
HWY_INLINE void LoadPair(const f16* unit, std::size_t v, VF (&w)[2]) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  const auto* halves = reinterpret_cast<const hwy::float16_t*>(unit);
  w[0] = hn::PromoteTo(DF(), hn::LoadU(dh, halves + v * kLanes));
  w[1] = hn::PromoteTo(DF(), hn::LoadU(dh, halves + kPanelRows + v * kLanes));
}
HWY_INLINE void LoadPair(const bf16* unit, std::size_t v, VF (&w)[2]) {
  const auto pair = hn::LoadU(DI(), reinterpret_cast<const std::int32_t*>(unit) + v * kLanes);
  w[0] = hn::BitCast(DF(), hn::ShiftLeft<16>(pair));
  w[1] = hn::BitCast(DF(), hn::And(pair, hn::Set(DI(), static_cast<std::int32_t>(0xFFFF0000u))));
}

template <class T, std::size_t MR, std::size_t NP>
HWY_INLINE void FloatTile(const T* const (&panel)[NP], const float* x, std::size_t x_stride, std::size_t inputs,
                          bool first, float* sums, std::size_t sums_stride) {
  VF y[MR][NP][kVecs];
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / (NP * kVecs);
    constexpr std::size_t c = i % (NP * kVecs);
    y[r][c / kVecs][c % kVecs] = first ? hn::Zero(DF()) : hn::LoadU(DF(), sums + r * sums_stride + c * kLanes);
  });
  for (std::size_t i = 0; i + 2 <= inputs; i += 2) {
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      if constexpr (MR == 1) __builtin_prefetch(panel[p] + i * kPanelRows + 4096 / sizeof(T));
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        VF w[2];
        LoadPair(panel[p] + i * kPanelRows, v, w);
        Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
          y[r][p][v] = hn::MulAdd(hn::Set(DF(), x[r * x_stride + i]), w[0], y[r][p][v]);
          y[r][p][v] = hn::MulAdd(hn::Set(DF(), x[r * x_stride + i + 1]), w[1], y[r][p][v]);
        });
      });
    });
  }
  if (inputs % 2 != 0) {
    Unroll<NP * kVecs>([&](auto c) TRITIUM_LAMBDA {
      VF w[2];
      LoadPair(panel[c / kVecs] + (inputs - 1) * kPanelRows, c % kVecs, w);
      Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
        y[r][c / kVecs][c % kVecs] =
            hn::MulAdd(hn::Set(DF(), x[r * x_stride + inputs - 1]), w[0], y[r][c / kVecs][c % kVecs]);
      });
    });
  }
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / (NP * kVecs);
    constexpr std::size_t c = i % (NP * kVecs);
    hn::StoreU(y[r][c / kVecs][c % kVecs], DF(), sums + r * sums_stride + c * kLanes);
  });
}

template <class T>
void FloatMatmulPanels(const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
  constexpr std::size_t kRow = kPrefillPanels * kPanelRows;
  float* sums = reinterpret_cast<float*>(scratch);
  for (std::size_t p0 = first; p0 < last; p0 += kPrefillPanels) {
    const std::size_t n_panels = last - p0 < kPrefillPanels ? last - p0 : kPrefillPanels;
    for (std::size_t m0 = 0; m0 < args.m; m0 += kPrefillRows) {
      const std::size_t n_rows = args.m - m0 < kPrefillRows ? args.m - m0 : kPrefillRows;
      // One row streams whole panels; more rows keep a block of inputs in the first-level cache.
      const std::size_t block = n_rows == 1 ? args.k : kFloatInputs;
      for (std::size_t i0 = 0; i0 < args.k; i0 += block) {
        const std::size_t inputs = args.k - i0 < block ? args.k - i0 : block;
        const auto tiles = [&](auto np, std::size_t p) TRITIUM_LAMBDA {
          const T* panel[np];
          for (std::size_t q = 0; q < np; ++q) {
            panel[q] = reinterpret_cast<const T*>(args.weights + (p0 + p + q) * args.panel_bytes) + i0 * kPanelRows;
          }
          const auto rows_by = [&](auto mr, std::size_t m) TRITIUM_LAMBDA {
            for (; m + mr <= n_rows; m += mr) {
              FloatTile<T, mr, np>(panel, args.x_f32 + (m0 + m) * args.x_stride + i0, args.x_stride, inputs, i0 == 0,
                                   sums + m * kRow + p * kPanelRows, kRow);
            }
            return m;
          };
          rows_by(std::integral_constant<std::size_t, 1>{},
                  rows_by(std::integral_constant<std::size_t, kFloatRows>{}, 0));
        };
        std::size_t p = 0;
        for (; p + kFloatPanels <= n_panels; p += kFloatPanels)
          tiles(std::integral_constant<std::size_t, kFloatPanels>{}, p);
        for (; p < n_panels; ++p) tiles(std::integral_constant<std::size_t, 1>{}, p);
      }
      StorePanels(args, m0, n_rows, p0, args.epilogue.gated ? 2 : 1, n_panels, sums, kRow);
    }
  }
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
