// SPDX-License-Identifier: Apache-2.0
// 4-bit weights: per row and in groups, symmetric and with a minimum.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_int4.cc"
#define TRITIUM_FAMILY int4
#include "kernels/matmul_family-inl.h"
