// SPDX-License-Identifier: Apache-2.0
// What the compiler must be, the ISA-tagged namespace, checks and the few compiler attributes that everything else uses.
//
// Every inline function of the library lives in an inline namespace whose name spells the compiler flags that change
// generated code. Two objects of one program built with different -m flags therefore hold two differently named copies,
// and the linker can never pick the AVX-512 copy of a function for a caller that was built for AVX2.
#pragma once

// Before any other header: the first message for a target that cannot be served is the reason.
#if !defined(__GNUC__) && !defined(__clang__)
#error "tritium needs GCC 12 or newer, or Clang 16 or newer"
#endif
#if !defined(__cplusplus) || __cplusplus < 202002L
#error "tritium needs C++20 (-std=c++20)"
#endif
#if defined(__FAST_MATH__)
#error "tritium must not be compiled with -ffast-math: it breaks NaN checks and the exact integer paths"
#endif
#if !defined(__SIZEOF_POINTER__) || __SIZEOF_POINTER__ != 8
#error "tritium needs a 64-bit target: model files are mapped whole"
#endif
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tritium needs a little-endian target: model files and packed panels are little-endian and used in place"
#endif

#include <cstddef>
#include <cstdint>

#include "tritium/core/version.h"

// 1: ops/ declare functions that the compiled library tritium::kernels defines. 0: ops/ include their code.
#ifndef TRITIUM_DISPATCH
/// 1: ops/ declare functions that the compiled library tritium::kernels defines. 0: ops/ include their code.
#define TRITIUM_DISPATCH 0
#endif

// 0: functions that open and load are inline. 1: they are declared, and the compiled library tritium::model defines them, which
// spares a program over tritium/model.h two thirds of its compile time. 2: that library's own file.
#ifndef TRITIUM_LOADERS
/// 1: functions that open and load are declared only, and compiled in tritium::model.
#define TRITIUM_LOADERS 0
#endif
#if TRITIUM_LOADERS
#define TRITIUM_LOADER
#else
/// Before a function that tritium::model may define: `inline` where it does not.
#define TRITIUM_LOADER inline
#endif

// Preconditions are real checks in debug and test builds.
#ifndef TRITIUM_CHECKS
#ifdef NDEBUG
#define TRITIUM_CHECKS 0
#else
/// 1: preconditions are checked in this build.
#define TRITIUM_CHECKS 1
#endif
#endif

// --- the ABI tag: one letter for each flag that changes code ----------------------------------------------------------
#if TRITIUM_DISPATCH
#define TRITIUM_TAG_MODE d
#else
#define TRITIUM_TAG_MODE s
#endif
#if TRITIUM_CHECKS
#define TRITIUM_TAG_CHECKS c
#else
#define TRITIUM_TAG_CHECKS
#endif
#if defined(__AVX512VNNI__)
#define TRITIUM_TAG_A v
#elif defined(__AVX512BW__)
#define TRITIUM_TAG_A f
#elif defined(__AVX2__)
#define TRITIUM_TAG_A a
#elif defined(__AVX__)
#define TRITIUM_TAG_A o
#elif defined(__SSE4_1__)
#define TRITIUM_TAG_A e
#elif defined(__ARM_FEATURE_SVE)
#define TRITIUM_TAG_A z
#elif defined(__ARM_NEON)
#define TRITIUM_TAG_A n
#else
#define TRITIUM_TAG_A b
#endif
#if defined(__AVXVNNI__)
#define TRITIUM_TAG_B w
#elif defined(__ARM_FEATURE_DOTPROD)
#define TRITIUM_TAG_B d
#else
#define TRITIUM_TAG_B
#endif
#if defined(__AVX512BF16__)
#define TRITIUM_TAG_C h
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define TRITIUM_TAG_C i
#else
#define TRITIUM_TAG_C
#endif
#if defined(__AMX_INT8__)
#define TRITIUM_TAG_D t
#else
#define TRITIUM_TAG_D
#endif
#if defined(__FMA__)
#define TRITIUM_TAG_E m
#else
#define TRITIUM_TAG_E
#endif
#if !defined(__cpp_exceptions)  // no_throw.h is a fence in one kind of object and nothing in the other
#define TRITIUM_TAG_F x
#else
#define TRITIUM_TAG_F
#endif
#define TRITIUM_PASTE8_(a, b, c, d, e, f, g, h) v0_##a##b##_##c##d##e##f##g##h
#define TRITIUM_PASTE8(a, b, c, d, e, f, g, h) TRITIUM_PASTE8_(a, b, c, d, e, f, g, h)
/// The name of the inline namespace, spelled from the compiler flags that change code.
#define TRITIUM_ABI                                                                                                \
  TRITIUM_PASTE8(TRITIUM_TAG_MODE, TRITIUM_TAG_CHECKS, TRITIUM_TAG_A, TRITIUM_TAG_B, TRITIUM_TAG_C, TRITIUM_TAG_D, \
                 TRITIUM_TAG_E, TRITIUM_TAG_F)

/// Opens and closes `tritium` with its tag.
#define TRITIUM_NAMESPACE_BEGIN \
  namespace tritium {           \
  inline namespace TRITIUM_ABI {
/// Closes what TRITIUM_NAMESPACE_BEGIN opened.
#define TRITIUM_NAMESPACE_END \
  }                           \
  }

#if TRITIUM_DISPATCH
#define TRITIUM_SEAM_BEGIN \
  namespace tritium {      \
  inline namespace seam_v0 {
#else
/// Opens `tritium` for what the compiled kernel library shares with its users, whatever flags either was built with: plain
/// data, and members that are always inlined. Headers-only builds have no such seam and tag everything.
#define TRITIUM_SEAM_BEGIN TRITIUM_NAMESPACE_BEGIN
#endif
/// Closes what TRITIUM_SEAM_BEGIN opened.
#define TRITIUM_SEAM_END \
  }                      \
  }

// --- attributes ------------------------------------------------------------------------------------------------------
/// A function that every caller inlines.
#define TRITIUM_INLINE inline __attribute__((always_inline))
/// A function that no caller inlines.
#define TRITIUM_NOINLINE __attribute__((noinline))
/// For what runs when something failed: the paths that lead there are unlikely, and are compiled to be small.
#define TRITIUM_COLD __attribute__((cold, noinline))
/// A condition that is expected to hold.
#define TRITIUM_LIKELY(x) __builtin_expect(!!(x), 1)
/// A condition that is expected not to hold.
#define TRITIUM_UNLIKELY(x) __builtin_expect(!!(x), 0)

TRITIUM_NAMESPACE_BEGIN

/// Called when a checked precondition does not hold (TRITIUM_CHECKS builds only). Replaceable, for example by a test.
using AssumptionHandler = void (*)(const char* condition, const char* file, int line);

namespace detail {
[[noreturn]] inline void trap(const char*, const char*, int) { __builtin_trap(); }
inline AssumptionHandler& assumption_handler() {
  static AssumptionHandler handler = &trap;
  return handler;
}
}  // namespace detail

/// Replaces what a broken precondition calls, for the whole program; null puts back the trap. Not for use beside other
/// threads.
inline void set_assumption_handler(AssumptionHandler handler) {
  detail::assumption_handler() = handler != nullptr ? handler : &detail::trap;
}

TRITIUM_NAMESPACE_END

#if TRITIUM_CHECKS
/// A precondition that the caller has promised: checked in debug and test builds, free in release builds.
#define TRITIUM_ASSUME(condition) \
  (TRITIUM_LIKELY(condition) ? (void)0 : ::tritium::detail::assumption_handler()(#condition, __FILE__, __LINE__))
#else
#define TRITIUM_ASSUME(condition) ((void)0)
#endif
