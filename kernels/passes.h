// SPDX-License-Identifier: Apache-2.0
// TRITIUM_ANY_PASS(call): true as soon as one compiled pass answers true. Only after hwy/foreach_target.h.

#if HWY_TARGETS & HWY_SSE2
#define TRITIUM_PASS_SSE2(call) N_SSE2::call ||
#else
#define TRITIUM_PASS_SSE2(call)
#endif
#if HWY_TARGETS & HWY_AVX2
#define TRITIUM_PASS_AVX2(call) N_AVX2::call ||
#else
#define TRITIUM_PASS_AVX2(call)
#endif
#if HWY_TARGETS & HWY_AVX3
#define TRITIUM_PASS_AVX3(call) N_AVX3::call ||
#else
#define TRITIUM_PASS_AVX3(call)
#endif
#if HWY_TARGETS & HWY_NEON_WITHOUT_AES
#define TRITIUM_PASS_NEON(call) N_NEON_WITHOUT_AES::call ||
#else
#define TRITIUM_PASS_NEON(call)
#endif
#if HWY_TARGETS & HWY_EMU128
#define TRITIUM_PASS_EMU128(call) N_EMU128::call ||
#else
#define TRITIUM_PASS_EMU128(call)
#endif
#define TRITIUM_ANY_PASS(call)                                                                     \
  (TRITIUM_PASS_SSE2(call) TRITIUM_PASS_AVX2(call) TRITIUM_PASS_AVX3(call) TRITIUM_PASS_NEON(call) \
       TRITIUM_PASS_EMU128(call) false)
