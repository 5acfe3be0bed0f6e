// SPDX-License-Identifier: Apache-2.0
// Micro-ops: the few operations an instruction set may override, and nothing else in simd/ knows instructions.
//
// The 8-bit dot product comes as a policy, because one compilation pass serves CPUs with and without it:
//   policy        lanes of i32 += sum over 4 bytes of u8 * s8
//   DotPortable   Highway's exact emulation (SSE2, plain NEON, anything)
//   DotMaddubs    vpmaddubsw + vpmaddwd (AVX2, AVX-512BW): 16-bit pair sums, exact because codes are small
//   DotVnni       vpdpbusd (AVX-VNNI in its VEX form, AVX-512 VNNI)
//   DotSdot       sdot (NEON dotprod): signed only, so codes above 127 are shifted by kOffset
//   DotUsdot      usdot (NEON i8mm)
//
// vpdpbusd, sdot and usdot are inline assembly: the instruction is then available in a pass whose target lacks it, and
// GCC 12 copies and spills the accumulators of the vpdpbusd intrinsic, which halves every register tile
// (0.53 against 0.97 TOPS a core on Zen 5).

#if defined(TRITIUM_SIMD_MICROOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_MICROOPS_INL_H_
#undef TRITIUM_SIMD_MICROOPS_INL_H_
#else
#define TRITIUM_SIMD_MICROOPS_INL_H_
#endif

#include <cstring>
#include <utility>

#include "tritium/simd/targets.h"
// After targets.h.
#include "hwy/highway.h"

#include "tritium/format/formats.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One line of a panel is kVecs vectors of kLanes 32-bit lanes.
using DI = hn::CappedTag<std::int32_t, kPanelRows>;
using DF = hn::Rebind<float, DI>;
using DU8 = hn::Repartition<std::uint8_t, DI>;
using DI8 = hn::Repartition<std::int8_t, DI>;
using DU16 = hn::Repartition<std::uint16_t, DI>;
using DI16 = hn::Repartition<std::int16_t, DI>;
using VI = hn::Vec<DI>;
using VF = hn::Vec<DF>;
using VU8 = hn::Vec<DU8>;
using VI8 = hn::Vec<DI8>;
using VI16 = hn::Vec<DI16>;

inline constexpr std::size_t kLanes = hn::MaxLanes(DI());
inline constexpr std::size_t kVecs = kPanelRows / kLanes;
inline constexpr std::size_t kVecBytes = 4 * kLanes;

/// Calls f(integral_constant<0>) ... f(integral_constant<N - 1>): register tiles must be unrolled by the language, since
/// GCC does not unroll their loops at -O2 and arrays indexed by a variable live in memory.
template <class Fn, std::size_t... I>
HWY_INLINE void UnrollImpl(Fn&& fn, std::index_sequence<I...>) {
  (fn(std::integral_constant<std::size_t, I>{}), ...);
}
template <std::size_t N, class Fn>
HWY_INLINE void Unroll(Fn&& fn) {
  UnrollImpl(fn, std::make_index_sequence<N>{});
}
#define TRITIUM_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_INLINE VU8 LoadLine(const std::uint8_t* line, std::size_t vec) { return hn::LoadU(DU8(), line + vec * kVecBytes); }

/// Asks for the lines of `bytes` bytes from an address on.
template <std::size_t bytes>
HWY_INLINE void PrefetchLines(const void* from) {
  Unroll<(bytes + kLineBytes - 1) / kLineBytes>(
      [&](auto i) TRITIUM_LAMBDA { __builtin_prefetch(static_cast<const std::uint8_t*>(from) + i * kLineBytes); });
}

/// Four activation codes in every lane.
HWY_INLINE VI8 BroadcastQuad(const std::int8_t* codes) {
  std::int32_t quad = 0;
  std::memcpy(&quad, codes, sizeof(quad));
  return hn::BitCast(DI8(), hn::Set(DI(), quad));
}

template <int kBits>
HWY_INLINE VU8 ShiftRight16(VU8 v) {  // bits cross into the neighbour byte: the caller masks them
  return hn::BitCast(DU8(), hn::ShiftRight<kBits>(hn::BitCast(DU16(), v)));
}
template <int kBits>
HWY_INLINE VU8 ShiftLeft16(VU8 v) {
  return hn::BitCast(DU8(), hn::ShiftLeft<kBits>(hn::BitCast(DU16(), v)));
}
HWY_INLINE VU8 MaskBits(VU8 v, std::uint8_t mask) { return hn::And(v, hn::Set(DU8(), mask)); }

// --- dot-product policies ----------------------------------------------------------------------------------------------

struct DotPortable {
  static constexpr bool kWideCodes = false;  ///< field-scaled codes (up to 240) are as cheap as small ones
  template <int kMaxCode>
  static constexpr int kOffset = 0;
  template <int kMaxCode>
  static HWY_INLINE VI Dot(VI sum, VU8 w, VI8 x) {
    return hn::SumOfMulQuadAccumulate(DI(), w, x, sum);
  }
};

#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
HWY_INLINE VI16 Maddubs(VU8 w, VI8 x) {
#if HWY_TARGET <= HWY_AVX3
  return VI16{_mm512_maddubs_epi16(w.raw, x.raw)};
#else
  return VI16{_mm256_maddubs_epi16(w.raw, x.raw)};
#endif
}
HWY_INLINE VI AddPairs(VI sum, VI16 pairs) {
  return hn::Add(sum, hn::WidenMulPairwiseAdd(DI(), pairs, hn::Set(DI16(), std::int16_t{1})));
}

struct DotMaddubs {
  static constexpr bool kWideCodes = false;
  /// 8-bit codes: vpsignb moves the sign of code - 128 to x, which AVX-512 lacks.
  static constexpr bool kSigned = HWY_TARGET > HWY_AVX3;
  template <int kMaxCode>
  static constexpr int kOffset = kSigned && kMaxCode > 127 ? 128 : 0;
  /// Quads whose 16-bit pair sums may be added before widening: each pair is at most 2 * kMaxCode * 127.
  template <int kMaxCode>
  static constexpr int kQuadsInPairs = kMaxCode > 127                      ? 0
                                       : 32767 / (2 * kMaxCode * 127) >= 8 ? 8
                                                                           : 32767 / (2 * kMaxCode * 127);

  template <int kMaxCode>
  static HWY_INLINE VI Dot(VI sum, VU8 w, VI8 x) {
    if constexpr (kMaxCode <= 127) {
      static_assert(2 * kMaxCode * 127 <= 32767);
      return AddPairs(sum, Maddubs(w, x));
#if HWY_TARGET > HWY_AVX3
    } else if constexpr (kSigned) {  // 2 * 128 * 127 = 32512 still fits
      const VI8 code = hn::BitCast(DI8(), hn::Xor(w, hn::Set(DU8(), std::uint8_t{0x80})));
      const VI8 signed_x{_mm256_sign_epi8(x.raw, code.raw)};
      return AddPairs(sum, Maddubs(VU8{_mm256_abs_epi8(code.raw)}, signed_x));
#endif
    } else {  // the top bit apart, likewise
      sum = AddPairs(sum, Maddubs(MaskBits(w, 0x7F), x));
      return AddPairs(sum, Maddubs(MaskBits(w, 0x80), x));
    }
  }
};

struct DotVnni {
  static constexpr bool kWideCodes = true;
  template <int kMaxCode>
  static constexpr int kOffset = 0;
  template <int kMaxCode>
  static HWY_INLINE VI Dot(VI sum, VU8 w, VI8 x) {
#if HWY_TARGET <= HWY_AVX3
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
#else
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.raw) : "x"(w.raw), "x"(x.raw));
#endif
    return sum;
  }
};
#endif  // AVX2 and up

#if HWY_ARCH_ARM_A64 && HWY_TARGET >= HWY_NEON
// An assembler refuses what its target lacks, and GCC's and Clang's cannot be talked round in the same way. Instructions
// are therefore spelled as numbers; the symbols turn an operand's name, v0 to v31, into the number of its register.
#define TRITIUM_ARM_DOT(opcode)                                                                      \
  ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t" \
  ".set .Ltritium_v\\i, \\i\n\t"                                                                     \
  ".endr\n\t"                                                                                        \
  ".inst " #opcode " | (.Ltritium_%0) | (.Ltritium_%1 << 5) | (.Ltritium_%2 << 16)"

struct DotSdot {
  static constexpr bool kWideCodes = false;
  template <int kMaxCode>
  static constexpr int kOffset = kMaxCode > 127 ? 128 : 0;
  template <int kMaxCode>
  static HWY_INLINE VI Dot(VI sum, VU8 w, VI8 x) {
    if constexpr (kMaxCode > 127) w = hn::Xor(w, hn::Set(DU8(), std::uint8_t{0x80}));
    asm(TRITIUM_ARM_DOT(0x4E809400) : "+w"(sum.raw) : "w"(w.raw), "w"(x.raw));
    return sum;
  }
};
struct DotUsdot {
  static constexpr bool kWideCodes = true;
  template <int kMaxCode>
  static constexpr int kOffset = 0;
  template <int kMaxCode>
  static HWY_INLINE VI Dot(VI sum, VU8 w, VI8 x) {
    asm(TRITIUM_ARM_DOT(0x4E809C00) : "+w"(sum.raw) : "w"(w.raw), "w"(x.raw));
    return sum;
  }
};
#undef TRITIUM_ARM_DOT
#endif

/// Sums the dot products of up to 8 quads. With 16-bit pair sums it widens only when the next pair could overflow.
template <class Dot, int kMaxCode>
struct QuadSum {
  VI sum;
  HWY_INLINE void Start(VI start) { sum = start; }
  template <std::size_t q>
  HWY_INLINE void Add(VU8 w, VI8 x) {
    sum = Dot::template Dot<kMaxCode>(sum, w, x);
  }
  template <std::size_t kCount>
  HWY_INLINE VI Finish() const {
    return sum;
  }
};

#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
template <int kMaxCode>
  requires(DotMaddubs::kQuadsInPairs<kMaxCode> > 1)
struct QuadSum<DotMaddubs, kMaxCode> {
  static constexpr std::size_t kRun = DotMaddubs::kQuadsInPairs<kMaxCode>;
  static_assert(kRun * 2 * kMaxCode * 127 <= 32767);
  VI sum;
  VI16 pairs;
  HWY_INLINE void Start(VI start) { sum = start; }
  template <std::size_t q>
  HWY_INLINE void Add(VU8 w, VI8 x) {
    const VI16 product = Maddubs(w, x);
    pairs = q % kRun == 0 ? product : hn::Add(pairs, product);
    if constexpr (q % kRun == kRun - 1) sum = AddPairs(sum, pairs);
  }
  template <std::size_t kCount>
  HWY_INLINE VI Finish() const {
    return kCount % kRun == 0 ? sum : AddPairs(sum, pairs);
  }
};
#endif

// --- codes of a step -----------------------------------------------------------------------------------------------------

/// Quad q (0..7) of a step of F, as unsigned operands, for vector `vec` of the line. `step` points at the step's lines.
template <class F, std::size_t q>
HWY_INLINE VU8 QuadCodes(const std::uint8_t* step, std::size_t vec) {
  const auto line = [&](std::size_t i) TRITIUM_LAMBDA { return LoadLine(step + i * kLineBytes, vec); };
  if constexpr (F::kBits == 8) {
    return line(q);
  } else if constexpr (F::kBits == 2 || F::kBits == 3) {
    constexpr int kShift = 2 * (q % 4);
    const VU8 low = MaskBits(kShift == 0 ? line(q / 4) : ShiftRight16<kShift>(line(q / 4)), 0x03);
    if constexpr (F::kBits == 2) return low;
    const VU8 bit = q < 2 ? ShiftLeft16<(q < 2 ? 2 - q : 0)>(line(2)) : ShiftRight16<(q < 2 ? 0 : q - 2)>(line(2));
    return hn::Or(low, MaskBits(bit, 0x04));
  } else {
    const VU8 low = MaskBits(q % 2 == 0 ? line(q / 2) : ShiftRight16<4>(line(q / 2)), 0x0F);
    if constexpr (F::kTable) {
      alignas(16) static constexpr std::uint8_t kUnsigned[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                                 129, 141, 153, 166, 181, 197, 217, 241};
      return hn::TableLookupBytes(hn::LoadDup128(DU8(), kUnsigned), low);
    } else if constexpr (F::kBits == 5) {
      const VU8 bit = q < 4 ? ShiftLeft16<(q < 4 ? 4 - q : 0)>(line(4)) : ShiftRight16<(q < 4 ? 0 : q - 4)>(line(4));
      return hn::Or(low, MaskBits(bit, 0x10));
    } else if constexpr (F::kBits == 6) {
      constexpr int kField = q % 4;
      const VU8 high = line(4 + q / 4);
      const VU8 bits = kField < 2 ? ShiftLeft16<(kField < 2 ? 4 - 2 * kField : 0)>(high)
                                  : ShiftRight16<(kField < 2 ? 0 : 2 * kField - 4)>(high);
      return hn::Or(low, MaskBits(bits, 0x30));
    } else {
      return low;
    }
  }
}

/// 16 half floats as the kVecs vectors of a line.
HWY_INLINE VF LoadHalf(const std::uint8_t* halves, std::size_t vec) {
  using DH = hn::Rebind<hwy::float16_t, DF>;
  return hn::PromoteTo(DF(), hn::LoadU(DH(), reinterpret_cast<const hwy::float16_t*>(halves) + vec * kLanes));
}
HWY_INLINE VF LoadI8(const std::uint8_t* bytes, std::size_t vec) {
  using DB = hn::Rebind<std::int8_t, DI>;
  return hn::ConvertTo(
      DF(), hn::PromoteTo(DI(), hn::LoadU(DB(), reinterpret_cast<const std::int8_t*>(bytes) + vec * kLanes)));
}
template <int kShift = 0, std::uint8_t kMask = 255>
HWY_INLINE VF LoadU8(const std::uint8_t* bytes, std::size_t vec) {
  using DB = hn::Rebind<std::uint8_t, DI>;
  VI wide = hn::PromoteTo(DI(), hn::LoadU(DB(), bytes + vec * kLanes));
  if constexpr (kShift != 0) wide = hn::ShiftRight<kShift>(wide);
  if constexpr (kMask != 255) wide = hn::And(wide, hn::Set(DI(), kMask));
  return hn::ConvertTo(DF(), wide);
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
