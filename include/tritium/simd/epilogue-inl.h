// SPDX-License-Identifier: Apache-2.0
// The epilogue on 16 outputs in registers, and the activation functions it shares with elementwise ops.

#if defined(TRITIUM_SIMD_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_EPILOGUE_INL_H_
#undef TRITIUM_SIMD_EPILOGUE_INL_H_
#else
#define TRITIUM_SIMD_EPILOGUE_INL_H_
#endif

#include "tritium/ops/kernel_table.h"
#include "tritium/simd/math-inl.h"
#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

/// The first `count` of kLanes floats; the others are zero, and memory behind them is not touched.
HWY_INLINE VF LoadPiece(const float* p, std::size_t count) {
  return count == kLanes ? hn::LoadU(DF(), p) : hn::LoadN(DF(), p, count);
}
HWY_INLINE void StorePiece(VF v, float* p, std::size_t count) {
  if (count == kLanes) hn::StoreU(v, DF(), p);
  else hn::StoreN(v, DF(), p, count);
}

template <Activation kActivation>
HWY_INLINE VF ActivateAs(VF x) {
  if constexpr (kActivation == Activation::silu) return Silu(DF(), x);
  if constexpr (kActivation == Activation::gelu_tanh) return GeluTanh(DF(), x);
  if constexpr (kActivation == Activation::gelu_erf) return GeluErf(DF(), x);
  if constexpr (kActivation == Activation::sigmoid) return Sigmoid(DF(), x);
  if constexpr (kActivation == Activation::relu2) {
    const VF positive = hn::IfThenZeroElse(hn::Lt(x, hn::Zero(DF())), x);  // a maximum would lose NaN on x86
    return hn::Mul(positive, positive);
  }
  return x;
}

/// Calls f(integral_constant<Activation>) with a run-time activation.
template <class Fn>
HWY_INLINE void WithActivation(Activation activation, Fn&& fn) {
  switch (activation) {
    case Activation::none: return fn(std::integral_constant<Activation, Activation::none>());
    case Activation::silu: return fn(std::integral_constant<Activation, Activation::silu>());
    case Activation::gelu_tanh: return fn(std::integral_constant<Activation, Activation::gelu_tanh>());
    case Activation::gelu_erf: return fn(std::integral_constant<Activation, Activation::gelu_erf>());
    case Activation::relu2: return fn(std::integral_constant<Activation, Activation::relu2>());
    case Activation::sigmoid: return fn(std::integral_constant<Activation, Activation::sigmoid>());
  }
}

/// The epilogue of one block of 16 outputs: bias, activation (times `up` when gated), scale, residual, store. Columns past
/// n_columns are dropped.
template <Activation kActivation, bool kGated>
HWY_INLINE void StoreBlock(const Epilogue& ep, const float* acc, std::size_t panel, const float* residual, float* to,
                           std::size_t columns) {
  const VF scale = hn::Set(DF(), ep.scale);
  Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
    const std::size_t at = v * kLanes;
    const std::size_t count = columns >= at + kLanes ? kLanes : columns > at ? columns - at : 0;
    VF y = hn::LoadU(DF(), acc + at);
    if (ep.bias != nullptr) y = hn::Add(y, LoadPiece(ep.bias + panel * kPanelRows + at, count));
    y = ActivateAs<kActivation>(y);
    if constexpr (kGated) {
      VF up = hn::LoadU(DF(), acc + kPanelRows + at);
      if (ep.bias != nullptr) up = hn::Add(up, LoadPiece(ep.bias + (panel + 1) * kPanelRows + at, count));
      y = hn::Mul(y, up);
    }
    // Fused by name: left to themselves, compilers fuse a product and a sum in one place and not in the next.
    y = residual == nullptr ? hn::Mul(y, scale) : hn::MulAdd(y, scale, LoadPiece(residual + at, count));
    StorePiece(y, to + at, count);
  });
}

/// Stores `rows` rows of y from m on: the epilogue of `count` panels, the first at `first` and the others (pairs of gate and
/// up when gated) `stride` panels apart. acc: rows of acc_stride floats, 16 a panel.
/// Not inlined, and never a part of a register tile: five activations there would multiply the library's code.
inline HWY_NOINLINE void StorePanels(const MatmulArgs& args, std::size_t m, std::size_t rows, std::size_t first,
                                     std::size_t stride, std::size_t count, const float* acc, std::size_t acc_stride) {
  const Epilogue& ep = args.epilogue;
  const int pair = ep.gated ? 1 : 0;  // as a shift: a division costs as much as storing a block
  const std::size_t n_columns = args.n >> pair;
  WithActivation(ep.activation, [&](auto activation) TRITIUM_LAMBDA {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* from = acc + r * acc_stride;
      float* row = args.y + (m + r) * args.y_stride;
      const float* residual = ep.residual == nullptr ? nullptr : ep.residual + (m + r) * ep.residual_stride;
      for (std::size_t p = 0, panel = first; p < count; p += std::size_t{1} << pair, panel += stride) {
        const std::size_t column = (panel >> pair) * kPanelRows;
        if (HWY_UNLIKELY(column >= n_columns)) continue;
        const float* block_residual = residual == nullptr ? nullptr : residual + column;
        if (ep.gated)
          StoreBlock<activation, true>(ep, from + p * kPanelRows, panel, block_residual, row + column,
                                       n_columns - column);
        else
          StoreBlock<activation, false>(ep, from + p * kPanelRows, panel, block_residual, row + column,
                                        n_columns - column);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
