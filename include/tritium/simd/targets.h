// SPDX-License-Identifier: Apache-2.0
// The instruction sets kernels are compiled for, and the Highway settings that must hold before its first include.
//
// A tier is a Highway target (a compilation pass) plus CPU features that Highway does not know or does not dispatch on;
// inside a pass those choose a dot-product policy (microops-inl.h) at run time. Three x86 passes serve five tiers:
//
//   pass           tiers
//   SSE2           portable
//   AVX2           avx2, avx2_vnni (AVX-VNNI)
//   AVX3 (512)     avx512, avx512_vnni, amx
//   NEON           neon, neon_dotprod, neon_i8mm
//
// There is no SVE pass: its vectors have no size at compile time and cannot stand in arrays, which every register tile
// here is. CPUs that have SVE have I8MM too and run neon_i8mm.
#pragma once

// -march=haswell, x86-64-v3 and x86-64-v4 have no AES and PCLMUL, and Highway then silently picks SSSE3. We use neither.
#ifndef HWY_DISABLE_PCLMUL_AES
#define HWY_DISABLE_PCLMUL_AES
#endif
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS                                                                                \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_AVX3_SPR | HWY_NEON_BF16 | HWY_NEON | HWY_SVE | \
   HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128)
#endif
#ifndef HWY_HEADER_ONLY
#define HWY_HEADER_ONLY  // only Abort and Warn would need the library, and we call neither
#endif

#include "hwy/detect_targets.h"

#if defined(__AVX2__) && (HWY_STATIC_TARGET > HWY_AVX2)
#error "AVX2 is enabled but Highway chose a lower target: define HWY_DISABLE_PCLMUL_AES before including hwy/highway.h"
#endif
#if HWY_STATIC_TARGET == HWY_SCALAR
#error "tritium has no one-lane target: Highway's HWY_SCALAR must not be the static target"
#endif
