// SPDX-License-Identifier: Apache-2.0
// 8-bit weights: per row and in groups.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_int8.cc"
#define TRITIUM_FAMILY int8
#include "kernels/matmul_family-inl.h"
