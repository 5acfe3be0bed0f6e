// SPDX-License-Identifier: Apache-2.0
// Epilogue: what happens to a matmul's outputs before they are stored, as plain data.
//
// The steps run in one fixed order on 16 outputs at a time while they are still in registers:
//   y = accumulator * scales;  y += bias;  y = activation(y) or activation(gate) * up;  y *= scale;  y += residual
#pragma once

#include "tritium/core/config.h"

TRITIUM_SEAM_BEGIN

/// relu2 is max(x, 0)^2; silu is x sigmoid(x); GELU with tanh or exactly.
enum class Activation : std::uint8_t { none, silu, gelu_tanh, gelu_erf, relu2, sigmoid };

/// What happens to outputs while they are in registers: y = residual + scale act(W x + bias).
struct Epilogue {
  /// (n) or null. With a gate in the order of the panels: 16 of gate, 16 of up, the next 16 of gate, ...
  const float* bias = nullptr;
  Activation activation = Activation::none;  ///< of W x + bias
  /// Panels come in pairs (gate, up): output 16i + r is activation(gate) * up, so y has n / 2 columns.
  bool gated = false;
  float scale = 1.0f;               ///< multiplies the activated value
  const float* residual = nullptr;  ///< (m, n) added last, may be y itself; or null
  std::size_t residual_stride = 0;  ///< elements from one row to the next
};

TRITIUM_SEAM_END
