// SPDX-License-Identifier: Apache-2.0
// GGUF's 5-bit and nonlinear 4-bit blocks of 32.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_blocks.cc"
#define TRITIUM_FAMILY blocks
#include "kernels/matmul_family-inl.h"
