// SPDX-License-Identifier: Apache-2.0
// GGUF's 256-input blocks with two levels of scales.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_super.cc"
#define TRITIUM_FAMILY super
#include "kernels/matmul_family-inl.h"
