// SPDX-License-Identifier: Apache-2.0
// Ternary weights: 2 bits, five trits a byte, per row and in groups.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_ternary.cc"
#define TRITIUM_FAMILY ternary
#include "kernels/matmul_family-inl.h"
