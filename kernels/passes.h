// SPDX-License-Identifier: Apache-2.0
// TRITIUM_FIRST_PASS(call): the first pointer that a compiled pass answers, or null. Only after hwy/foreach_target.h.

#if HWY_TARGETS & HWY_SSE2
#define TRITIUM_PASS_SSE2(call) if (const KernelTable* found = N_SSE2::call; found != nullptr) return found;
#else
#define TRITIUM_PASS_SSE2(call)
#endif
#if HWY_TARGETS & HWY_AVX2
#define TRITIUM_PASS_AVX2(call) if (const KernelTable* found = N_AVX2::call; found != nullptr) return found;
#else
#define TRITIUM_PASS_AVX2(call)
#endif
#if HWY_TARGETS & HWY_AVX3
#define TRITIUM_PASS_AVX3(call) if (const KernelTable* found = N_AVX3::call; found != nullptr) return found;
#else
#define TRITIUM_PASS_AVX3(call)
#endif
#if HWY_TARGETS & HWY_NEON_WITHOUT_AES
#define TRITIUM_PASS_NEON(call) if (const KernelTable* found = N_NEON_WITHOUT_AES::call; found != nullptr) return found;
#else
#define TRITIUM_PASS_NEON(call)
#endif
#if HWY_TARGETS & HWY_EMU128
#define TRITIUM_PASS_EMU128(call) if (const KernelTable* found = N_EMU128::call; found != nullptr) return found;
#else
#define TRITIUM_PASS_EMU128(call)
#endif
#define TRITIUM_FIRST_PASS(call)  \
  [&]() -> const KernelTable* {   \
    TRITIUM_PASS_SSE2(call)       \
    TRITIUM_PASS_AVX2(call)       \
    TRITIUM_PASS_AVX3(call)       \
    TRITIUM_PASS_NEON(call)       \
    TRITIUM_PASS_EMU128(call)     \
    return nullptr;               \
  }()
