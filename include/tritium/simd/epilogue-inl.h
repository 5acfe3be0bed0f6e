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

HWY_INLINE VF Activate(Activation activation, VF x) {
  switch (activation) {
    case Activation::silu: return Silu(DF(), x);
    case Activation::gelu_tanh: return GeluTanh(DF(), x);
    case Activation::gelu_erf: return GeluErf(DF(), x);
    case Activation::relu2: {
      const VF positive = hn::Max(x, hn::Zero(DF()));
      return hn::Mul(positive, positive);
    }
    case Activation::none: break;
  }
  return x;
}

/// Stores 16 accumulated outputs of row m: bias, activation (times `up` when gated), scale, residual. `block` counts
/// stored columns in 16s, `panel` where the bias of `acc` lies; columns past the last output are dropped.
/// Not inlined: five activations in every register tile would multiply the code of the whole library.
inline HWY_NOINLINE void StoreOutputs(const MatmulArgs& args, std::size_t m, std::size_t block, std::size_t panel, const float* acc,
                               const float* up) {
  const Epilogue& ep = args.epilogue;
  const std::size_t n_columns = ep.gated ? args.n / 2 : args.n;
  const std::size_t column = block * kPanelRows;
  float* to = args.y + m * args.y_stride + column;
  const float* residual = ep.residual == nullptr ? nullptr : ep.residual + m * ep.residual_stride + column;
  const bool whole = column + kPanelRows <= n_columns;
  HWY_ALIGN float tail[kPanelRows];
  for (std::size_t v = 0; v < kVecs; ++v) {
    VF y = hn::LoadU(DF(), acc + v * kLanes);
    if (ep.bias != nullptr) y = hn::Add(y, hn::LoadU(DF(), ep.bias + panel * kPanelRows + v * kLanes));
    y = Activate(ep.activation, y);
    if (up != nullptr) {
      VF u = hn::LoadU(DF(), up + v * kLanes);
      if (ep.bias != nullptr) u = hn::Add(u, hn::LoadU(DF(), ep.bias + (panel + 1) * kPanelRows + v * kLanes));
      y = hn::Mul(y, u);
    }
    if (ep.scale != 1.0f) y = hn::Mul(y, hn::Set(DF(), ep.scale));
    if (HWY_LIKELY(whole)) {
      if (residual != nullptr) y = hn::Add(y, hn::LoadU(DF(), residual + v * kLanes));
      hn::StoreU(y, DF(), to + v * kLanes);
    } else {
      hn::Store(y, DF(), tail + v * kLanes);
    }
  }
  if (HWY_UNLIKELY(!whole)) {
    for (std::size_t i = 0; i < n_columns - column; ++i) to[i] = residual == nullptr ? tail[i] : tail[i] + residual[i];
  }
}

/// The epilogue of `count` panels from `first` on, `stride` apart; pairs (gate, up) when gated. acc: 16 floats a panel.
HWY_INLINE void StorePanels(const MatmulArgs& args, std::size_t m, std::size_t first, std::size_t stride, std::size_t count,
                            const float* acc) {
  if (args.epilogue.gated) {
    for (std::size_t p = 0; p < count; p += 2) {
      const std::size_t panel = first + p / 2 * stride;
      StoreOutputs(args, m, panel / 2, panel, acc + p * kPanelRows, acc + (p + 1) * kPanelRows);
    }
  } else {
    for (std::size_t p = 0; p < count; ++p) {
      const std::size_t panel = first + p * stride;
      StoreOutputs(args, m, panel, panel, acc + p * kPanelRows, nullptr);
    }
  }
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
