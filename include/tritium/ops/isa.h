// SPDX-License-Identifier: Apache-2.0
// Instruction-set tiers: which the CPU offers, which were compiled in, which one serves, and why.
//
// The probe asks CPUID and XCR0 (what the operating system saves) on x86 and the auxiliary vector on Arm, never a model
// number. TRITIUM_ISA=TIER in the environment or force_isa() pins a tier; a tier that the CPU lacks is refused.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tritium/core/status.h"
#include "tritium/ops/kernel_table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

TRITIUM_NAMESPACE_BEGIN

/// How many tiers there are.
inline constexpr std::size_t kTierCount = 10;

/// A tier's facts.
struct TierInfo {
  Tier tier;               ///< which one
  std::string_view name;   ///< as `tritium isa` and TRITIUM_ISA say it
  std::string_view needs;  ///< the CPU features, for people
};
/// The facts of every tier, in the order of Tier.
inline constexpr std::array<TierInfo, kTierCount> kTiers{{
    {Tier::amx_emulated, "amx_emulated", "AVX-512 and AVX512-VNNI; tiles are emulated, exactly and slowly"},
    {Tier::portable, "portable", "nothing beyond the architecture's baseline"},
    {Tier::avx2, "avx2", "AVX2, FMA, F16C, BMI2"},
    {Tier::avx2_vnni, "avx2_vnni", "AVX2 and AVX-VNNI"},
    {Tier::avx512, "avx512", "AVX-512 F, CD, BW, DQ, VL"},
    {Tier::avx512_vnni, "avx512_vnni", "AVX-512 and AVX512-VNNI"},
    {Tier::amx, "amx", "AMX-TILE, AMX-INT8 and AVX512-VNNI"},
    {Tier::neon, "neon", "NEON"},
    {Tier::neon_dotprod, "neon_dotprod", "NEON and DotProd"},
    {Tier::neon_i8mm, "neon_i8mm", "NEON, DotProd and I8MM"},
}};
/// The facts of a tier.
constexpr const TierInfo& info(Tier tier) { return kTiers[static_cast<std::size_t>(tier)]; }
/// Finds a tier by name; null when unknown.
constexpr const TierInfo* find_tier(std::string_view name) {
  for (const TierInfo& t : kTiers) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

/// What the CPU has and the operating system lets programs use.
struct CpuFeatures {
  bool avx = false,          ///< 256-bit floats
      avx2 = false,          ///< 256-bit integers
      fma = false,           ///< fused multiply-add
      f16c = false,          ///< f16 to f32 and back
      bmi2 = false;          ///< bit extraction
  bool avx_vnni = false;     ///< VPDPBUSD of 256 bits
  bool avx512 = false;       ///< F, CD, BW, DQ and VL together
  bool avx512_vnni = false,  ///< VPDPBUSD of 512 bits
      avx512_vbmi = false,   ///< byte permutations
      avx512_bf16 = false;   ///< bf16 dot products
  bool amx_tile = false,     ///< tiles, their use granted by the system
      amx_int8 = false,      ///< int8 products of tiles
      amx_bf16 = false;      ///< bf16 products of tiles
  bool neon = false,         ///< 64-bit Arm's baseline
      dotprod = false,       ///< SDOT
      i8mm = false,          ///< SMMLA
      bf16 = false,          ///< BFDOT
      sve = false;           ///< known, not used: docs/kernels.md
};

namespace detail {

#if defined(__x86_64__)
inline std::uint64_t read_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

inline CpuFeatures probe_cpu() {
  CpuFeatures f;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return f;
  const auto bit = [](unsigned word, int i) { return ((word >> i) & 1u) != 0; };
  const bool osxsave = bit(c, 27);
  const bool has_avx = bit(c, 28), has_fma = bit(c, 12), has_f16c = bit(c, 29);
  if (!osxsave) return f;
  const std::uint64_t xcr0 = read_xcr0();
  const bool ymm = (xcr0 & 0x6) == 0x6;            // SSE and AVX state
  const bool zmm = (xcr0 & 0xE6) == 0xE6;          // and opmask, upper ZMM, high ZMM
  const bool tiles = (xcr0 & 0x60000) == 0x60000;  // tile configuration and data
  f.avx = ymm && has_avx;
  f.fma = ymm && has_fma;
  f.f16c = ymm && has_f16c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  const unsigned subleaves = a;
  f.avx2 = f.avx && bit(b, 5);
  f.bmi2 = bit(b, 3) && bit(b, 8);
  f.avx512 = zmm && bit(b, 16) && bit(b, 17) && bit(b, 28) && bit(b, 30) && bit(b, 31);
  f.avx512_vbmi = f.avx512 && bit(c, 1);
  f.avx512_vnni = f.avx512 && bit(c, 11);
  f.amx_tile = tiles && bit(d, 24);
  f.amx_int8 = f.amx_tile && bit(d, 25);
  f.amx_bf16 = f.amx_tile && bit(d, 22);
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    f.avx_vnni = f.avx2 && bit(a, 4);
    f.avx512_bf16 = f.avx512 && bit(a, 5);
  }
  return f;
}
#elif defined(__aarch64__)
inline CpuFeatures probe_cpu() {
  CpuFeatures f;
  f.neon = true;  // part of the architecture
#if defined(__linux__)
  const unsigned long hwcap = getauxval(16 /* AT_HWCAP */);
  const unsigned long hwcap2 = getauxval(26 /* AT_HWCAP2 */);
  f.dotprod = ((hwcap >> 20) & 1ul) != 0;
  f.sve = ((hwcap >> 22) & 1ul) != 0;
  f.i8mm = f.dotprod && ((hwcap2 >> 13) & 1ul) != 0;
  f.bf16 = ((hwcap2 >> 14) & 1ul) != 0;
#endif
  return f;
}
#else
inline CpuFeatures probe_cpu() { return {}; }
#endif

}  // namespace detail

/// Probed once.
inline const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detail::probe_cpu();
  return features;
}

/// Whether this CPU multiplies pairs of bf16 in one instruction of the x86 tiers (AttentionArgs::bf16_dot).
inline bool has_bf16_dot() { return cpu_features().avx512_bf16; }

/// Linux gives a process tile registers only on request. Asks once; true when tiles may be used.
inline bool request_amx() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool granted = [] {
    if (!cpu_features().amx_int8) return false;
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return granted;
#else
  return false;
#endif
}

/// True when this CPU can run a tier's code.
inline bool cpu_has(Tier tier) {
  const CpuFeatures& f = cpu_features();
  const bool avx2 = f.avx2 && f.fma && f.f16c && f.bmi2;
  switch (tier) {
    case Tier::portable: return true;
    case Tier::avx2: return avx2;
    case Tier::avx2_vnni: return avx2 && f.avx_vnni;
    case Tier::avx512: return avx2 && f.avx512;
    case Tier::avx512_vnni: return avx2 && f.avx512_vnni;
    case Tier::amx: return avx2 && f.avx512_vnni && request_amx();
    case Tier::neon: return f.neon;
    case Tier::neon_dotprod: return f.dotprod;
    case Tier::neon_i8mm: return f.i8mm;
    case Tier::amx_emulated: return avx2 && f.avx512_vnni;
  }
  return false;
}

/// The tier that serves and how it was chosen.
struct IsaChoice {
  Tier tier = Tier::portable;  ///< the one that serves
  std::string reason;          ///< for people
};

/// The best tier that is compiled in and that the CPU has, unless TRITIUM_ISA names another one.
/// Errors: unsupported (TRITIUM_ISA names no tier, or one that is not compiled in or that the CPU lacks).
inline Result<IsaChoice> choose_isa(const char* pinned) {
  if (pinned != nullptr && *pinned != '\0') {
    const TierInfo* wanted = find_tier(pinned);
    if (wanted == nullptr) {
      std::string names;
      for (const TierInfo& t : kTiers) names.append(names.empty() ? "" : ", ").append(t.name);
      return make_error(Errc::unsupported, "unknown instruction-set tier", "isa", "one of " + names, pinned);
    }
    if (!tier_is_compiled(wanted->tier)) {
      return make_error(Errc::unsupported, "instruction-set tier is not compiled in", "isa", "a compiled tier", pinned);
    }
    if (!cpu_has(wanted->tier)) {
      return make_error(Errc::unsupported, "this CPU lacks the instruction-set tier", "isa", wanted->needs,
                        "a CPU without it");
    }
    return IsaChoice{wanted->tier, "pinned"};
  }
  for (std::size_t i = kTierCount; i-- > 0;) {
    const Tier tier = kTiers[i].tier;
    if (tier_is_compiled(tier) && cpu_has(tier)) return IsaChoice{tier, "the best tier that this CPU has"};
  }
  return make_error(Errc::unsupported, "no compiled instruction-set tier runs on this CPU", "isa");
}

/// Why a tier does not serve on this machine: "" when it could.
inline std::string why_not(Tier tier) {
  if (!tier_is_compiled(tier)) return "not compiled in";
  if (!cpu_has(tier)) return std::string("this CPU lacks ").append(info(tier).needs);
  return "";
}

TRITIUM_NAMESPACE_END
