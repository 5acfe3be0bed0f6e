// SPDX-License-Identifier: Apache-2.0
// Quantised matmul: y = epilogue(x W^T) with int8 activations and packed weights, for every format and any m, n, k.
//
// Two ways through the same panels, chosen by the number of rows (matrix units have theirs: decision 5):
//   direct     few rows: codes are taken out of the packed line in registers and used by up to 8 rows at once. One row
//              walks several far-apart panels side by side, because one sequential stream may reach half of what a core
//              can read from memory (Sapphire Rapids: 6-9 against 14-15 GB/s; Zen 5: 17.6 against 21.8, or alike).
//   unpacked   many rows: four panels are unpacked to bytes in the second-level cache and swept by all rows. A register
//              tile of 6 rows asks that cache for 21 bytes a cycle, which Zen 5 delivers without loss, so sums stay in
//              registers over all of k (up to 4096 inputs). Blocks that fit the first-level cache lose 4 to 17 %.
// Both accumulate each output in the same order with the same roundings, so a token's result does not depend on how many
// tokens were computed beside it.
//
//   grouped formats   acc_g = sum over a group's inputs of (code - zero) * x_code           exact, int32
//                     y += acc_g * (w_scale_g * x_scale_g) [+ w_min_g * (x_scale_g * sum_g)]   f32, in order of g
//   row formats       y = sum (code - zero) * x_code * (w_scale * x_scale)                  one rounding after int32

#if defined(TRITIUM_SIMD_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_MATMUL_INL_H_
#undef TRITIUM_SIMD_MATMUL_INL_H_
#else
#define TRITIUM_SIMD_MATMUL_INL_H_
#endif

#include <numeric>

#include "tritium/ops/kernel_table.h"
#include "tritium/simd/epilogue-inl.h"
#include "tritium/simd/microops-inl.h"
#include "tritium/simd/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

// Register tiles as rows x panels. 32 registers of 16 lanes hold 12 int32 + 12 f32 accumulators, 4 weights, a broadcast;
// with 8 or 4 lanes a panel is already 2 or 4 registers.
inline constexpr std::size_t kTilePanels = kLanes == 16 ? 4 : kLanes == 8 ? 2 : 1;  // one row
inline constexpr std::size_t kSomeRows = kLanes == 16 ? 4 : 1;                      // some rows x half as many panels
inline constexpr std::size_t kMostRows = kLanes == 16 ? 8 : HWY_ARCH_X86 && kLanes == 4 ? 1 : 2;  // most rows x 1 panel
/// Bytes ahead in each of NP streams: memory answers after some 250 ns, in which a core of Zen 5 reads 8 KiB.
template <std::size_t NP>
inline constexpr std::size_t kPrefetchBytes = 8192 / NP;

/// Inputs under one activation scale of a grouped format.
template <class F>
inline constexpr std::size_t kXGroup = F::kGroup < kStepInputs ? kStepInputs : F::kGroup;

/// One activation row from some input on.
struct XRow {
  const std::int8_t* codes;
  const float* scales;
  const std::int32_t* sums;
  const std::int32_t* sums16;
  const std::int32_t* starts;  ///< of each accumulation, where they were computed beforehand
  const float* min_sums;       ///< scale * sum of each accumulation, likewise
};
HWY_INLINE XRow RowOf(const Q8View& x, std::size_t m) {
  return {x.codes + m * x.stride,
          x.scales + m * x.groups,
          x.sums + m * x.groups,
          x.sums16 == nullptr ? nullptr : x.sums16 + 2 * m * x.groups,
          nullptr,
          nullptr};
}

/// Byte-wide codes with f32 scales: what the unpacked path reads. Units begin with their scales (and minima).
/// The zero point is a run-time value, so that formats share the code of the sweep.
template <std::size_t kGroup_, bool kMin_, int kMaxCode_>
struct UnpackedFormat {
  static constexpr int kBits = 8;
  static constexpr int kMaxCode = kMaxCode_;
  static constexpr bool kTable = false;
  static constexpr bool kHasMin = kMin_;
  static constexpr bool kTwoLevel = false;
  static constexpr bool kUnpacked = true;
  static constexpr std::size_t kGroup = kGroup_;
  static constexpr std::size_t kUnit = kGroup < kStepInputs ? kStepInputs : kGroup;
  static constexpr std::size_t kGroupsInUnit = kGroup == 0 ? 0 : kUnit / kGroup;
  static constexpr std::size_t kStepBytes = 8 * kLineBytes;
  static constexpr std::size_t kHeaderBytes = kGroupsInUnit * (kMin_ ? 2 : 1) * kLineBytes;
  static constexpr std::size_t kUnitBytes = kHeaderBytes + kUnit / kStepInputs * kStepBytes;
};
template <class F>
inline constexpr bool kIsUnpacked = requires { F::kUnpacked; };

/// Scales of group g of a unit: value = scale * (code - zero) [+ min].
template <class F>
struct UnitScales {
  VF d[kVecs];
  VF e[kVecs];

  HWY_INLINE void Load(const std::uint8_t* unit) {
    if constexpr (F::kTwoLevel) {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        d[v] = LoadHalf(unit, v);
        if constexpr (F::kHasMin) e[v] = hn::Neg(LoadHalf(unit + 32, v));
      });
    }
  }
  HWY_INLINE VF Scale(const std::uint8_t* unit, std::size_t g, std::size_t v) const {
    if constexpr (kIsUnpacked<F>) {
      return hn::LoadU(DF(), reinterpret_cast<const float*>(unit + g * (F::kHasMin ? 2 : 1) * kLineBytes) + v * kLanes);
    } else if constexpr (F::kScales == ScaleKind::kGroup) {
      return LoadHalf(unit + 32 * g, v);
    } else if constexpr (F::kScales == ScaleKind::kGroupMin) {
      return LoadHalf(unit + 64 * g, v);
    } else if constexpr (F::kScales == ScaleKind::kSuper) {
      return hn::Mul(d[v], LoadI8(unit + 32 + 16 * g, v));
    } else if constexpr (F::kScales == ScaleKind::kSuperMin) {
      return hn::Mul(d[v], LoadU8(unit + 64 + 32 * g, v));
    } else {
      return hn::Mul(d[v], LoadU8<0, 15>(unit + 64 + 16 * g, v));
    }
  }
  HWY_INLINE VF Min(const std::uint8_t* unit, std::size_t g, std::size_t v) const {
    static_assert(F::kHasMin);
    if constexpr (kIsUnpacked<F>) {
      return hn::LoadU(DF(), reinterpret_cast<const float*>(unit + (2 * g + 1) * kLineBytes) + v * kLanes);
    } else if constexpr (F::kScales == ScaleKind::kGroupMin) {
      return LoadHalf(unit + 64 * g + 32, v);
    } else if constexpr (F::kScales == ScaleKind::kSuperMin) {
      return hn::Mul(e[v], LoadU8(unit + 64 + 32 * g + 16, v));
    } else {
      return hn::Mul(e[v], LoadU8<4>(unit + 64 + 16 * g, v));
    }
  }
};

// Group sums start at the bits of 1.5 * 2^23, so that the finished sum is the float 1.5 * 2^23 + sum and one subtraction
// converts it. Zen 5 has subtractions to spare while integer conversion competes with the dot product for its two ports:
// 72 % of the register peak with a conversion, 79 % without. Exact while |sum| < 2^22; 32 * 255 * 127 is 2^20.
inline constexpr std::int32_t kFloatBits = 0x4B400000;
inline constexpr float kFloatOne = 12582912.0f;

/// The zero point that a policy must subtract, given how it reads codes.
template <class F, class Dot>
constexpr int ZeroFor(int zero) {
  return F::kBits == 0 ? zero : zero - Dot::template kOffset<F::kMaxCode>;
}
/// kZero * v: zero points are powers of two (or 0), and a shift is cheaper than a product in a general register and its
/// broadcast.
template <int kZero>
HWY_INLINE VI TimesZero(VI v) {
  static_assert(kZero >= 0 && (kZero & (kZero - 1)) == 0);
  if constexpr (kZero == 0) return hn::Zero(DI());
  return hn::ShiftLeft<kZero == 0 ? 0 : __builtin_ctz(kZero == 0 ? 1u : static_cast<unsigned>(kZero))>(v);
}
/// kZero of a sweep: starts were computed for all rows at once.
inline constexpr int kStartsReady = -1;

/// With wide codes one row needs no shifts: field f of a byte is multiplied in place, 4^f (or 16^f) times too large, in an
/// accumulator of its own, and shifted down once at the end, which is exact.
template <class F, class Dot, std::size_t MR>
inline constexpr bool kFieldsInPlace = Dot::kWideCodes && MR == 1 && (F::kBits == 2 || F::kBits == 4) && !F::kTable;

/// The codes of quad q where they lie in their bytes.
template <class F, std::size_t q>
HWY_INLINE VU8 QuadInPlace(const std::uint8_t* step, std::size_t v) {
  constexpr std::size_t kFields = 8 / F::kBits;
  constexpr int kMask = ((1 << F::kBits) - 1) << (F::kBits * (q % kFields));
  return MaskBits(LoadLine(step + q / kFields * kLineBytes, v), static_cast<std::uint8_t>(kMask));
}

/// Where a register tile's float sums are between groups: beside the integer ones, or in the first-level cache, which
/// leaves all registers to integers. GCC 12 spills activations when both fill the registers.
template <std::size_t MR, std::size_t NP>
struct SumsInRegisters {
  VF y[MR][NP][kVecs];
  HWY_INLINE VF Get(std::size_t r, std::size_t p, std::size_t v) const { return y[r][p][v]; }
  HWY_INLINE void Set(std::size_t r, std::size_t p, std::size_t v, VF value) { y[r][p][v] = value; }
};
struct SumsInMemory {
  float* tile;  ///< rows of kPrefillPanels panels
  static constexpr std::size_t kRow = kPrefillPanels * kPanelRows;
  HWY_INLINE VF Get(std::size_t r, std::size_t p, std::size_t v) const {
    return hn::LoadU(DF(), tile + r * kRow + p * kPanelRows + v * kLanes);
  }
  HWY_INLINE void Set(std::size_t r, std::size_t p, std::size_t v, VF value) {
    hn::StoreU(value, DF(), tile + r * kRow + p * kPanelRows + v * kLanes);
  }
};

/// sum[r][p][v] += the products of quads [kFirst, kFirst + kCount) of the steps at panel[p] + step_at with rows from input
/// x_at on.
template <class F, class Dot, std::size_t kFirst, std::size_t kCount, std::size_t MR, std::size_t NP>
HWY_INLINE void AddQuads(const std::uint8_t* const (&panel)[NP], std::size_t step_at, const XRow (&row)[MR],
                         std::size_t x_at, VI (&sum)[MR][NP][kVecs]) {
  QuadSum<Dot, F::kMaxCode> quads[MR][NP][kVecs];
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / (NP * kVecs), p = i / kVecs % NP, v = i % kVecs;
    quads[r][p][v].Start(sum[r][p][v]);
  });
  Unroll<kCount>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t q = kFirst + i;
    VI8 x[MR];
    Unroll<MR>([&](auto r) TRITIUM_LAMBDA { x[r] = BroadcastQuad(row[r].codes + x_at + kQuad * q); });
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        const VU8 w = QuadCodes<F, q>(panel[p] + step_at, v);
        Unroll<MR>([&](auto r) TRITIUM_LAMBDA { quads[r][p][v].template Add<i>(w, x[r]); });
      });
    });
  });
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / (NP * kVecs), p = i / kVecs % NP, v = i % kVecs;
    sum[r][p][v] = quads[r][p][v].template Finish<kCount>();
  });
}

/// y += the products of `n_units` units of NP panels with MR rows. kZero: ZeroFor(zero point), or kStartsReady.
template <class F, class Dot, std::size_t MR, std::size_t NP, bool kPrefetch, int kZero, class Sums>
HWY_INLINE void GroupedUnits(const std::uint8_t* const (&panel)[NP], std::size_t n_units, const XRow (&row)[MR],
                             Sums& y) {
  constexpr std::size_t kHalves = F::kGroup == 16 ? 2 : 1;          // groups in a step
  constexpr std::size_t kSteps = kXGroup<F> / kStepInputs;          // steps in a group
  [[maybe_unused]] constexpr std::size_t kQuads = 8 / kHalves;      // of a step under one scale
  constexpr std::size_t kRuns = F::kUnit / (kSteps * kStepInputs);  // activation scales in a unit
  constexpr bool kInPlace = kFieldsInPlace<F, Dot, MR> && kHalves == 1;
  constexpr std::size_t kFields = kInPlace ? 8 / F::kBits : 1;

  std::size_t x_group = 0;
  for (std::size_t u = 0; u < n_units; ++u) {
    const std::size_t unit_at = u * F::kUnitBytes;
    UnitScales<F> scales[NP];
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      if constexpr (kPrefetch) PrefetchLines<F::kHeaderBytes>(panel[p] + unit_at + kPrefetchBytes<NP>);
      scales[p].Load(panel[p] + unit_at);
    });
    for (std::size_t o = 0; o < kRuns; ++o, ++x_group) {
      Unroll<kHalves>([&](auto h) TRITIUM_LAMBDA {
        const std::size_t accumulation = kHalves * x_group + h;
        const auto x_sum = [&](const XRow& x)
                               TRITIUM_LAMBDA { return kHalves == 2 ? x.sums16[accumulation] : x.sums[accumulation]; };
        VI sum[MR][NP][kVecs];
        VI field[kInPlace ? NP : 1][kVecs][kFields];  // those above the lowest, of one row
        Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
          VI start;
          if constexpr (kZero == kStartsReady) {
            start = hn::Set(DI(), row[r].starts[accumulation]);
          } else {
            start = hn::Sub(hn::Set(DI(), kFloatBits), TimesZero<kZero>(hn::Set(DI(), x_sum(row[r]))));
          }
          Unroll<NP * kVecs>([&](auto i) TRITIUM_LAMBDA { sum[r][i / kVecs][i % kVecs] = start; });
        });
        if constexpr (kInPlace) {
          Unroll<NP * kVecs * kFields>([&](auto i) TRITIUM_LAMBDA {
            field[i / (kVecs * kFields)][i / kFields % kVecs][i % kFields] = hn::Zero(DI());
          });
        }
        for (std::size_t s = 0; s < kSteps; ++s) {
          const std::size_t step_at = unit_at + F::kHeaderBytes + (o * kSteps + s) * F::kStepBytes;
          const std::size_t x_at = (x_group * kSteps + s) * kStepInputs;
          if constexpr (kPrefetch && h == 0) {
            Unroll<NP>([&](auto p)
                           TRITIUM_LAMBDA { PrefetchLines<F::kStepBytes>(panel[p] + step_at + kPrefetchBytes<NP>); });
          }
          if constexpr (kInPlace) {
            Unroll<8>([&](auto q) TRITIUM_LAMBDA {
              const VI8 x = BroadcastQuad(row[0].codes + x_at + kQuad * q);
              Unroll<NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
                constexpr std::size_t p = i / kVecs, v = i % kVecs, f = q % kFields;
                VI& to = f == 0 ? sum[0][p][v] : field[p][v][f];
                to = Dot::template Dot<255>(to, QuadInPlace<F, q>(panel[p] + step_at, v), x);
              });
            });
          } else {
            AddQuads<F, Dot, h * kQuads, kQuads>(panel, step_at, row, x_at, sum);
          }
        }
        Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
          const VF x_scale = hn::Set(DF(), row[r].scales[x_group]);
          VF min_sum = hn::Zero(DF());
          if constexpr (F::kHasMin && kZero == kStartsReady) {
            min_sum = hn::Set(DF(), row[r].min_sums[accumulation]);
          } else if constexpr (F::kHasMin) {
            min_sum = hn::Set(DF(), row[r].scales[x_group] * static_cast<float>(x_sum(row[r])));
          }
          const std::size_t g = o * kHalves + h;
          Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
            Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
              VI total = sum[r][p][v];
              Unroll<kFields - 1>([&](auto f) TRITIUM_LAMBDA {
                constexpr int kShift = kInPlace ? F::kBits * (static_cast<int>(f) + 1) : 0;
                total = hn::Add(total, hn::ShiftRight<kShift>(field[p][v][f + 1]));
              });
              const VF acc = hn::Sub(hn::BitCast(DF(), total), hn::Set(DF(), kFloatOne));
              const VF scale = hn::Mul(scales[p].Scale(panel[p] + unit_at, g, v), x_scale);
              VF value = hn::MulAdd(acc, scale, y.Get(r, p, v));
              if constexpr (F::kHasMin) value = hn::MulAdd(scales[p].Min(panel[p] + unit_at, g, v), min_sum, value);
              y.Set(r, p, v, value);
            });
          });
        });
      });
    }
  }
}

/// Integer sums of row-scaled formats, zero point not yet subtracted: sum[r][p][v] += sum of code * x_code.
template <class F, class Dot, std::size_t MR, std::size_t NP, bool kPrefetch>
HWY_INLINE void RowUnits(const std::uint8_t* const (&panel)[NP], std::size_t n_units, const XRow (&row)[MR],
                         VI (&sum)[MR][NP][kVecs]) {
  if constexpr (kFieldsInPlace<F, Dot, MR>) {
    constexpr std::size_t kFields = 8 / F::kBits;
    constexpr std::size_t kLines = 8 / kFields;
    VI field[NP][kVecs][kFields];
    Unroll<NP * kVecs * kFields>([&](auto i) TRITIUM_LAMBDA {
      field[i / (kVecs * kFields)][i / kFields % kVecs][i % kFields] = hn::Zero(DI());
    });
    const std::int8_t* x = row[0].codes;
    for (std::size_t u = 0; u < n_units; ++u, x += kStepInputs) {
      Unroll<kLines>([&](auto l) TRITIUM_LAMBDA {
        const std::size_t at = u * F::kUnitBytes + l * kLineBytes;
        VI8 quad[kFields];
        Unroll<kFields>([&](auto f) TRITIUM_LAMBDA { quad[f] = BroadcastQuad(x + kQuad * (l * kFields + f)); });
        Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
          if constexpr (kPrefetch) __builtin_prefetch(panel[p] + at + kPrefetchBytes<NP>);
          Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
            const VU8 line = LoadLine(panel[p] + at, v);
            Unroll<kFields>([&](auto f) TRITIUM_LAMBDA {
              constexpr std::uint8_t kMask = static_cast<std::uint8_t>(((1 << F::kBits) - 1) << (F::kBits * f));
              field[p][v][f] = Dot::template Dot<255>(field[p][v][f], MaskBits(line, kMask), quad[f]);
            });
          });
        });
      });
    }
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        Unroll<kFields>([&](auto f) TRITIUM_LAMBDA {
          sum[0][p][v] = hn::Add(sum[0][p][v], hn::ShiftRight<static_cast<int>(F::kBits * f)>(field[p][v][f]));
        });
      });
    });
  } else {
    for (std::size_t u = 0; u < n_units; ++u) {
      const std::size_t at = u * F::kUnitBytes;
      if constexpr (kPrefetch) {
        Unroll<NP>([&](auto p) TRITIUM_LAMBDA { PrefetchLines<F::kStepBytes>(panel[p] + at + kPrefetchBytes<NP>); });
      }
      AddQuads<F, Dot, 0, 8>(panel, at, row, u * kStepInputs, sum);
    }
  }
}

/// 3 v mod 256. The barrier keeps Clang from turning the two adds into a byte multiply, which no x86 has
/// (17.9 instead of 10.5 cycles a line).
HWY_INLINE VU8 Triple(VU8 v) {
  VU8 twice = hn::Add(v, v);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  asm("" : "+v"(twice.raw));
#endif
  return hn::Add(twice, v);
}

/// As RowUnits for five trits a byte, one line a unit. With a wide dot product no digit is ever extracted:
/// 256 * sum t_d x_d = 3 * sum f_d x_d - sum f_(d+1) x_d. Sums stay below 2^31 for k <= 32768.
template <class Dot, std::size_t MR, std::size_t NP, bool kPrefetch>
HWY_INLINE void TritUnits(const std::uint8_t* const (&panel)[NP], std::size_t n_units, const XRow (&row)[MR],
                          VI (&sum)[MR][NP][kVecs]) {
  VI here[MR][NP][kVecs];
  VI next[MR][NP][kVecs];
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    here[i / (NP * kVecs)][i / kVecs % NP][i % kVecs] = hn::Zero(DI());
    next[i / (NP * kVecs)][i / kVecs % NP][i % kVecs] = hn::Zero(DI());
  });
  for (std::size_t u = 0; u < n_units; ++u) {
    VU8 fraction[NP][kVecs];
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      if constexpr (kPrefetch) __builtin_prefetch(panel[p] + u * kLineBytes + kPrefetchBytes<NP>);
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA { fraction[p][v] = LoadLine(panel[p] + u * kLineBytes, v); });
    });
    Unroll<5>([&](auto d) TRITIUM_LAMBDA {
      VI8 x[MR];
      Unroll<MR>([&](auto r) TRITIUM_LAMBDA { x[r] = BroadcastQuad(row[r].codes + u * Ternary5::kUnit + kQuad * d); });
      Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
        Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
          const VU8 f = fraction[p][v];
          fraction[p][v] = Triple(f);
          if constexpr (Dot::kWideCodes) {
            Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
              here[r][p][v] = Dot::template Dot<255>(here[r][p][v], f, x[r]);
              next[r][p][v] = Dot::template Dot<255>(next[r][p][v], fraction[p][v], x[r]);
            });
          } else {  // digit = (f >= 86) + (f >= 171)
            const VU8 one = hn::Set(DU8(), std::uint8_t{1});
            const VU8 digit =
                hn::Add(hn::And(one, hn::VecFromMask(DU8(), hn::Ge(f, hn::Set(DU8(), std::uint8_t{86})))),
                        hn::And(one, hn::VecFromMask(DU8(), hn::Ge(f, hn::Set(DU8(), std::uint8_t{171})))));
            Unroll<MR>([&](auto r)
                           TRITIUM_LAMBDA { here[r][p][v] = Dot::template Dot<2>(here[r][p][v], digit, x[r]); });
          }
        });
      });
    });
  }
  Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        VI total = here[r][p][v];
        if constexpr (Dot::kWideCodes) {
          total = hn::ShiftRight<8>(hn::Sub(hn::Add(hn::Add(total, total), total), next[r][p][v]));
        }
        sum[r][p][v] = hn::Add(sum[r][p][v], total);
      });
    });
  });
}

/// The whole K of MR rows by NP panels, without the epilogue: 16 floats a panel at out + r * out_stride + 16 p. Rows past
/// the last one repeat it, so that a few tile heights serve every m.
template <class F, class Dot, std::size_t MR, std::size_t NP>
inline HWY_NOINLINE void DirectTile(const MatmulArgs& args, const std::uint8_t* const* panels, std::size_t m,
                                    float* out, std::size_t out_stride) {
  constexpr bool kPrefetch = true;
  constexpr int kZero = ZeroFor<F, Dot>(F::kZero);
  const std::uint8_t* panel[NP];
  Unroll<NP>([&](auto p) TRITIUM_LAMBDA { panel[p] = panels[p]; });
  XRow row[MR];
  Unroll<MR>([&](auto r) TRITIUM_LAMBDA { row[r] = RowOf(args.x, m + r < args.m ? m + r : args.m - 1); });
  SumsInRegisters<MR, NP> y;
  const std::size_t units = F::units(args.k);
  if constexpr (F::kGroup != 0) {
    Unroll<MR * NP * kVecs>([&](auto i)
                                TRITIUM_LAMBDA { y.Set(i / (NP * kVecs), i / kVecs % NP, i % kVecs, hn::Zero(DF())); });
    GroupedUnits<F, Dot, MR, NP, kPrefetch, kZero>(panel, units, row, y);
  } else {
    const std::uint8_t* codes[NP];
    Unroll<NP>([&](auto p) TRITIUM_LAMBDA { codes[p] = panel[p] + F::kPrefixBytes; });
    VI sum[MR][NP][kVecs];
    Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
      constexpr std::size_t r = i / (NP * kVecs);
      sum[r][i / kVecs % NP][i % kVecs] = hn::Set(DI(), -kZero * row[r].sums[0]);
    });
    if constexpr (F::kBits == 0) {
      TritUnits<Dot, MR, NP, kPrefetch>(codes, units, row, sum);
    } else {
      RowUnits<F, Dot, MR, NP, kPrefetch>(codes, units, row, sum);
    }
    Unroll<MR>([&](auto r) TRITIUM_LAMBDA {
      const VF x_scale = hn::Set(DF(), row[r].scales[0]);
      Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
        Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
          const VF scale = hn::Mul(hn::LoadU(DF(), reinterpret_cast<const float*>(panel[p]) + v * kLanes), x_scale);
          y.Set(r, p, v, hn::Mul(hn::ConvertTo(DF(), sum[r][p][v]), scale));
        });
      });
    });
  }
  Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / (NP * kVecs);
    constexpr std::size_t c = i % (NP * kVecs);
    hn::StoreU(y.Get(r, c / kVecs, c % kVecs), DF(), out + r * out_stride + c * kLanes);
  });
}

/// Adds the rows of x that make one row of y and stores them. acc: `rows` rows of `stride` floats, panels side by side.
HWY_INLINE void StoreRows(const MatmulArgs& args, std::size_t m, std::size_t rows, std::size_t first,
                          std::size_t panel_stride, std::size_t n_panels, float* acc, std::size_t stride) {
  if (args.x_parts == 2) {
    for (std::size_t r = 0; r < rows; r += 2) {
      float* row = acc + r * stride;
      for (std::size_t i = 0; i < n_panels * kPanelRows; i += kLanes) {
        hn::StoreU(hn::Add(hn::LoadU(DF(), row + i), hn::LoadU(DF(), row + stride + i)), DF(), row + i);
      }
    }
  }
  StorePanels(args, m / args.x_parts, rows / args.x_parts, first, panel_stride, n_panels, acc, args.x_parts * stride);
}

/// All rows by NP panels. One or two rows take all panels side by side, up to kSomeRows two of them, more a single one.
template <class F, class Dot, std::size_t NP>
HWY_INLINE void DirectRows(const MatmulArgs& args, const std::uint8_t* const (&panels)[NP], std::size_t first,
                           std::size_t stride) {
  constexpr std::size_t kOut = NP * kPanelRows;
  constexpr std::size_t kWide = NP == kTilePanels ? NP : 1;
  HWY_ALIGN float out[(kMostRows > 2 ? kMostRows : 2) * kOut];
  const auto rows_by = [&](auto rows, auto at_once) TRITIUM_LAMBDA {
    const std::size_t block = rows < args.x_parts ? args.x_parts : rows;
    for (std::size_t m = 0; m < args.m; m += block) {
      for (std::size_t r = 0; r < block; r += rows) {
        for (std::size_t p = 0; p < NP; p += at_once) {
          DirectTile<F, Dot, rows, at_once>(args, panels + p, m + r, out + r * kOut + p * kPanelRows, kOut);
        }
      }
      StoreRows(args, m, args.m - m < block ? args.m - m : block, first, stride, NP, out, kOut);
    }
  };
  if (args.m == 1 || kMostRows == 1) {
    rows_by(std::integral_constant<std::size_t, 1>{}, std::integral_constant<std::size_t, kWide>{});
  } else if (kSomeRows > 1 && NP > 1 && args.m == 2) {
    rows_by(std::integral_constant<std::size_t, 2>{}, std::integral_constant<std::size_t, kWide>{});
  } else if (kSomeRows > 1 && NP > 1 && args.m <= kSomeRows) {
    rows_by(std::integral_constant<std::size_t, kSomeRows>{}, std::integral_constant<std::size_t, (NP < 2 ? 1 : 2)>{});
  } else {
    rows_by(std::integral_constant<std::size_t, kMostRows>{}, std::integral_constant<std::size_t, 1>{});
  }
}

/// Panels [first, last) in streams that lie far apart, the rest one by one; gated panels stay in pairs. Calls
/// fn(addresses of panels, the number of the first, panels in a stream).
template <class Fn>
HWY_INLINE void ForStreams(const MatmulArgs& args, std::size_t first, std::size_t last, Fn&& fn) {
  const std::size_t pair = args.epilogue.gated ? 2 : 1;
  const auto panels_by = [&](auto at_once, std::size_t begin, std::size_t end) TRITIUM_LAMBDA {
    const std::size_t streams = at_once / pair;
    const std::size_t stride = (end - begin) / pair / streams * pair;  // panels in a stream
    const std::uint8_t* panels[at_once];
    for (std::size_t i = 0; i < stride; i += pair) {
      for (std::size_t p = 0; p < at_once; ++p) {
        panels[p] = args.weights + (begin + i + p / pair * stride + p % pair) * args.panel_bytes;
      }
      fn(panels, begin + i, stride);
    }
    return begin + stride * streams;
  };
  if (kTilePanels > 2 || (kTilePanels > 1 && pair == 1)) {
    first = panels_by(std::integral_constant<std::size_t, kTilePanels>{}, first, last);
  }
  if (pair == 2) {
    panels_by(std::integral_constant<std::size_t, 2>{}, first, last);
  } else {
    panels_by(std::integral_constant<std::size_t, 1>{}, first, last);
  }
}

template <class F, class Dot>
HWY_INLINE void DirectPanels(const MatmulArgs& args, std::size_t first, std::size_t last) {
  ForStreams(args, first, last,
             [&]<std::size_t NP>(const std::uint8_t* const(&panels)[NP], std::size_t panel, std::size_t stride)
                 TRITIUM_LAMBDA { DirectRows<F, Dot, NP>(args, panels, panel, stride); });
}

// --- many rows: unpack, then sweep ---------------------------------------------------------------------------------------

/// Only the 16-bit pair sums care how large codes are.
template <class Dot>
constexpr int CodeBound(int max_code) {
  return Dot::kWideCodes || max_code > 63 ? 255 : max_code <= 15 ? 15 : max_code <= 31 ? 31 : 63;
}
template <class F, class Dot>
using UnpackedOf = UnpackedFormat<F::kGroup, F::kHasMin, CodeBound<Dot>(F::kMaxCode)>;

/// Units [u0, u1) of a panel as bytes, codes - kSubtract, with f32 scales.
template <class F, class U, int kSubtract = 0>
inline HWY_NOINLINE void UnpackUnits(const std::uint8_t* units, std::size_t count, std::uint8_t* out) {
  if constexpr (F::kBits == 0) {  // five trits a byte: lines of digits, quads in order
    static_assert(kSubtract == 0);
    for (std::size_t u = 0; u < count; ++u) {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        VU8 f = LoadLine(units + u * kLineBytes, v);
        Unroll<5>([&](auto d) TRITIUM_LAMBDA {
          const VU8 one = hn::Set(DU8(), std::uint8_t{1});
          const VU8 digit = hn::Add(hn::And(one, hn::VecFromMask(DU8(), hn::Ge(f, hn::Set(DU8(), std::uint8_t{86})))),
                                    hn::And(one, hn::VecFromMask(DU8(), hn::Ge(f, hn::Set(DU8(), std::uint8_t{171})))));
          hn::StoreU(digit, DU8(), out + (5 * u + d) * kLineBytes + v * kVecBytes);
          f = Triple(f);
        });
      });
    }
  } else {
    for (std::size_t u = 0; u < count; ++u) {
      const std::uint8_t* unit = units + u * F::kUnitBytes;
      UnitScales<F> scales;
      scales.Load(unit);
      const std::uint8_t* step = unit + F::kHeaderBytes;
      for (std::size_t s = 0; s < F::kUnit / U::kUnit; ++s) {  // unpacked units are shorter
        if constexpr (F::kGroup != 0) {
          for (std::size_t i = 0; i < U::kGroupsInUnit; ++i) {
            float* f32 = reinterpret_cast<float*>(out + i * (F::kHasMin ? 2 : 1) * kLineBytes);
            const std::size_t g = s * U::kGroupsInUnit + i;
            Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
              hn::StoreU(scales.Scale(unit, g, v), DF(), f32 + v * kLanes);
              if constexpr (F::kHasMin) hn::StoreU(scales.Min(unit, g, v), DF(), f32 + kPanelRows + v * kLanes);
            });
          }
        }
        out += U::kHeaderBytes;
        for (std::size_t i = 0; i < U::kUnit / kStepInputs; ++i, step += F::kStepBytes, out += U::kStepBytes) {
          Unroll<8>([&](auto q) TRITIUM_LAMBDA {
            Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
              VU8 codes = QuadCodes<F, q>(step, v);
              if constexpr (kSubtract != 0) codes = hn::Sub(codes, hn::Set(DU8(), std::uint8_t{kSubtract}));
              hn::StoreU(codes, DU8(), out + q * kLineBytes + v * kVecBytes);
            });
          });
        }
      }
    }
  }
}

/// The register tile of a sweep: 24 or 12 integer accumulators (12 where a dot product has registers of its own). Short groups keep their float sums in registers beside the
/// integer ones; sums of long groups are touched so rarely that they may stay in the first-level cache.
template <class U, class Dot>
struct SweepShape {
  static constexpr bool kSumsInMemory = U::kGroup > kStepInputs;
  static constexpr std::size_t kRows = kLanes == 16 ? 6 : U::kGroup == 0 || kSumsInMemory ? 2 * kMostRows : kMostRows;
  static constexpr std::size_t kPanels = kLanes != 16 ? 1 : U::kGroup == 0 && Dot::kWideCodes ? 4 : 2;
};

/// What a tile of a sweep does besides multiplying.
struct SweepBlock {
  const float* w_scales[kPrefillPanels];  ///< row formats: of each panel
  bool first;                             ///< of the blocks of inputs: sums start anew
  bool last;                              ///< row formats: sums become values
};

/// MR rows by NP panels of byte-wide codes over one block of inputs. Sums live in `tile` (rows of 64) between blocks.
template <class U, class Dot, std::size_t MR, std::size_t NP>
HWY_NOINLINE void SweepTile(const std::uint8_t* const* panels, std::size_t units, const XRow* rows, float* tile,
                            const SweepBlock& block) {
  constexpr std::size_t kRowLength = kPrefillPanels * kPanelRows;
  const std::uint8_t* panel[NP];
  Unroll<NP>([&](auto p) TRITIUM_LAMBDA { panel[p] = panels[p]; });
  XRow row[MR];
  Unroll<MR>([&](auto r) TRITIUM_LAMBDA { row[r] = rows[r]; });
  if constexpr (U::kGroup != 0) {
    SumsInMemory memory{tile};
    for (std::size_t r = 0; block.first && r < MR; ++r) {
      Unroll<NP * kVecs>([&](auto i) TRITIUM_LAMBDA { memory.Set(r, i / kVecs, i % kVecs, hn::Zero(DF())); });
    }
    if constexpr (SweepShape<U, Dot>::kSumsInMemory) {
      GroupedUnits<U, Dot, MR, NP, false, kStartsReady>(panel, units, row, memory);
    } else {
      SumsInRegisters<MR, NP> y;
      Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
        constexpr std::size_t r = i / (NP * kVecs), p = i / kVecs % NP, v = i % kVecs;
        y.Set(r, p, v, memory.Get(r, p, v));
      });
      GroupedUnits<U, Dot, MR, NP, false, kStartsReady>(panel, units, row, y);
      Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
        constexpr std::size_t r = i / (NP * kVecs), p = i / kVecs % NP, v = i % kVecs;
        memory.Set(r, p, v, y.Get(r, p, v));
      });
    }
  } else {
    std::int32_t* ints = reinterpret_cast<std::int32_t*>(tile);
    VI sum[MR][NP][kVecs];
    Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
      constexpr std::size_t r = i / (NP * kVecs);
      constexpr std::size_t c = i % (NP * kVecs);
      sum[r][c / kVecs][c % kVecs] =
          block.first ? hn::Set(DI(), *row[r].starts) : hn::LoadU(DI(), ints + r * kRowLength + c * kLanes);
    });
    RowUnits<U, Dot, MR, NP, false>(panel, units, row, sum);
    Unroll<MR * NP * kVecs>([&](auto i) TRITIUM_LAMBDA {
      constexpr std::size_t r = i / (NP * kVecs);
      constexpr std::size_t c = i % (NP * kVecs);
      const VI total = sum[r][c / kVecs][c % kVecs];
      if (block.last) {
        const VF scale =
            hn::Mul(hn::LoadU(DF(), block.w_scales[c / kVecs] + c % kVecs * kLanes), hn::Set(DF(), *row[r].scales));
        hn::StoreU(hn::Mul(hn::ConvertTo(DF(), total), scale), DF(), tile + r * kRowLength + c * kLanes);
      } else {
        hn::StoreU(total, DI(), ints + r * kRowLength + c * kLanes);
      }
    });
  }
}

/// y of one row and panel of a row-scaled format.
HWY_INLINE VF RowValue(VI total, const float* w_scales, std::size_t v, VF x_scale) {
  return hn::Mul(hn::ConvertTo(DF(), total), hn::Mul(hn::LoadU(DF(), w_scales + v * kLanes), x_scale));
}

/// Rows [m, m + live) by up to four panels of byte-wide codes of a row-scaled format over one block of inputs that begins at
/// input k0, as SweepTile does it. args.m >= 16.
template <class Tiles>
HWY_NOINLINE void TileSweep(Tiles& tiles, const MatmulArgs& args, std::size_t m, std::size_t live, std::size_t k0,
                            int zero, const std::uint8_t* const* panels, std::size_t n_panels, std::size_t steps,
                            TileTail& tail, float* tile, const SweepBlock& block) {
  constexpr std::size_t kRowLength = kPrefillPanels * kPanelRows;
  alignas(64) std::int32_t sums[4][kTileRows][kPanelRows];
  const TileRuns runs(args.x, args.m, m, live, k0);
  for (std::size_t p = 0; p < n_panels; p += 2) {
    TileBlock(tiles, runs, panels[p], panels[p + 1], steps, tail, &sums[0][0][0]);
    for (std::size_t r = 0; r < live; ++r) {
      const std::size_t i = r / kTileRows;
      const std::size_t from = m + r - runs.start[i];
      const VI zero_part = hn::Set(DI(), -zero * args.x.sums[(m + r) * args.x.groups]);
      const VF x_scale = hn::Set(DF(), args.x.scales[(m + r) * args.x.groups]);
      for (std::size_t j = 0; j < 2; ++j) {
        float* out = tile + r * kRowLength + (p + j) * kPanelRows;
        auto* ints = reinterpret_cast<std::int32_t*>(out);
        Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
          const VI total = hn::Add(hn::Load(DI(), sums[2 * i + j][from] + v * kLanes),
                                   block.first ? zero_part : hn::LoadU(DI(), ints + v * kLanes));
          if (block.last) {
            hn::StoreU(RowValue(total, block.w_scales[p + j], v, x_scale), DF(), out + v * kLanes);
          } else {
            hn::StoreU(total, DI(), ints + v * kLanes);
          }
        });
      }
    }
  }
}

/// Rows [m, m + live) by up to four panels of signed byte-wide codes of a grouped format over one block of `groups` groups
/// of inputs, the first of a row being first_group. min_sums: rows of `min_stride`. args.m >= 16.
///
/// A group's four sums of 16 x 16 leave their tiles one by one while the next group's products come in, and become floats
/// three tiles later still, two groups at a time, so that matrix unit, stores and float arithmetic work side by side:
///   tile c:   store sum c of group g - 1 | multiply group g | add sum c + 1, stored three tiles ago, and its last to y
template <class U, class Tiles>
HWY_NOINLINE void TileGroups(Tiles& tiles, const MatmulArgs& args, std::size_t m, std::size_t live,
                             std::size_t first_group, std::size_t groups, const std::uint8_t* const* panels,
                             std::size_t n_panels, const float* min_sums, std::size_t min_stride, float* tile,
                             bool first) {
  constexpr std::size_t kRowLength = kPrefillPanels * kPanelRows;
  constexpr std::size_t kProducts = div_up(U::kGroup, kTileBytes);  // of a group
  static_assert(U::kUnit == U::kGroup);
  alignas(64) std::int32_t sums[2][4][kTileRows][kPanelRows];  // of even and of odd groups
  const TileRuns runs(args.x, args.m, m, live, first_group * U::kGroup);
  const std::size_t x_stride = args.x.groups;
  const float* x_scales = args.x.scales + m * x_stride + first_group;
  const std::size_t rows_of[2] = {runs.both ? kTileRows : live, runs.both ? live - kTileRows : 0};
  for (std::size_t r = 0; first && r < live; ++r) std::memset(tile + r * kRowLength, 0, kRowLength * sizeof(float));

  for (std::size_t p = 0; p < n_panels; p += 2) {
    // Sums c of `count` groups, the last being g.
    const auto add = [&](auto c, auto count, std::size_t g) TRITIUM_LAMBDA {
      constexpr std::size_t i = c / 2, j = c % 2;
      if (i == 1 && !runs.both) return;
      const std::size_t from = m + i * kTileRows - runs.start[i];
      const std::int32_t* sum[count];
      VF w_scale[count][kVecs], w_min[count][kVecs];
      Unroll<count>([&](auto n) TRITIUM_LAMBDA {
        const std::size_t group = g + 1 - count + n;
        const std::uint8_t* unit = panels[p + j] + group * U::kUnitBytes;
        sum[n] = sums[group % 2][c][from];
        Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
          w_scale[n][v] = UnitScales<U>{}.Scale(unit, 0, v);
          if constexpr (U::kHasMin) w_min[n][v] = UnitScales<U>{}.Min(unit, 0, v);
        });
      });
      const float* x_scale = x_scales + i * kTileRows * x_stride + g + 1 - count;
      const float* min_sum = min_sums + i * kTileRows * min_stride + g + 1 - count;
      float* y = tile + i * kTileRows * kRowLength + (p + j) * kPanelRows;
      const auto row = [&](std::size_t r) TRITIUM_LAMBDA {
        Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
          float* to = y + r * kRowLength + v * kLanes;
          VF value = hn::LoadU(DF(), to);
          Unroll<count>([&](auto n) TRITIUM_LAMBDA {
            const VF acc = hn::ConvertTo(DF(), hn::Load(DI(), sum[n] + r * kPanelRows + v * kLanes));
            const VF scale = hn::Mul(w_scale[n][v], hn::Set(DF(), x_scale[r * x_stride + n]));
            value = hn::MulAdd(acc, scale, value);
            if constexpr (U::kHasMin) {
              value = hn::MulAdd(w_min[n][v], hn::Set(DF(), min_sum[r * min_stride + n]), value);
            }
          });
          hn::StoreU(value, DF(), to);
        });
      };
      std::size_t r = 0;
      for (; r + 2 <= rows_of[i]; r += 2) Unroll<2>([&](auto u) TRITIUM_LAMBDA { row(r + u); });
      for (; r < rows_of[i]; ++r) row(r);
    };
    constexpr std::integral_constant<std::size_t, 1> kOne;
    constexpr std::integral_constant<std::size_t, 2> kTwo;
    // Pairs of groups end with odd ones for two of the tiles and with even ones for the others: their adds alternate.
    const auto ends = [](std::size_t c, std::size_t g) TRITIUM_LAMBDA { return g % 2 == 1 - c / 2; };
    for (std::size_t g = 0; g <= groups; ++g) {
      const std::size_t at = g * U::kUnitBytes + U::kHeaderBytes;
      for (std::size_t s = 0; s < (g < groups ? kProducts : 1); ++s) {
        const std::uint8_t* w0 = panels[p] + at + s * kTileWeights;
        const std::uint8_t* w1 = panels[p + 1] + at + s * kTileWeights;
        const std::size_t x_at = g * U::kGroup + s * kTileBytes;
        Unroll<4>([&](auto c) TRITIUM_LAMBDA {
          constexpr int i = c / 2, j = c % 2;
          if (i == 0 || runs.both) {
            if (s == 0 && g > 0) {
              tiles.template Store<c>(&sums[(g - 1) % 2][c][0][0], kPanelRows * sizeof(std::int32_t));
            }
            if (g < groups) {
              if constexpr (c == 0) tiles.template LoadB<0>(w0);
              if constexpr (c == 1) tiles.template LoadB<1>(w1);
              if constexpr (j == 0) tiles.template LoadA<i>(runs.x[i] + x_at, runs.stride);
              if (s == 0) tiles.template Zero<c>();
              tiles.template Multiply<c, i, j, true>();
            }
          }
          constexpr std::integral_constant<std::size_t, (c + 1) % 4> kStored;
          constexpr std::size_t kBehind = c == 3 ? 1 : 2;
          if (s == 0 && g >= kBehind && ends(kStored, g - kBehind)) {
            if (g == kBehind) add(kStored, kOne, 0);
            else add(kStored, kTwo, g - kBehind);
          }
        });
      }
    }
    Unroll<4>([&](auto c) TRITIUM_LAMBDA {
      const std::size_t last = groups - 1;
      if (!ends(c, last)) add(c, kOne, last);
      else if (c > 0 && last > 0) add(c, kTwo, last);  // sum 0 was in time
      else if (c > 0) add(c, kOne, last);
    });
  }
}

/// Whether matrix units serve a format: groups of 16 inputs would be a quarter of a tile.
template <class F>
inline constexpr bool kFitsTiles = F::kGroup == 0 || F::kGroup >= kStepInputs;

template <class F, class Dot, class Tiles>
HWY_INLINE void UnpackedPanels(const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
  constexpr bool kTiles = !std::is_void_v<Tiles>;
  // Byte-wide row formats are swept as they lie.
  constexpr bool kInPlace = F::kBits == 8 && F::kGroup == 0;
  using U = std::conditional_t<kInPlace, F, UnpackedOf<F, Dot>>;
  // Tiles multiply signed codes too: groups lose their zero point when they are unpacked.
  constexpr int kSubtract = kTiles && F::kGroup != 0 ? F::kZero : 0;
  constexpr int kZero = ZeroFor<UnpackedOf<F, Dot>, Dot>(F::kZero);
  constexpr std::size_t kRowLength = kPrefillPanels * kPanelRows;
  constexpr std::size_t MR = kTiles ? 2 * kTileRows : SweepShape<U, Dot>::kRows;
  constexpr std::size_t NP = SweepShape<U, Dot>::kPanels;
  constexpr std::size_t kWhole = std::lcm(F::kUnit, kTileBytes) / F::kUnit;  // units; tiles share no lines of x
  constexpr std::size_t kBlockUnits = kPrefillInputs / (kWhole * F::kUnit) * kWhole;
  constexpr std::size_t kBlock = kBlockUnits * F::kUnit;  // whole units of both formats
  static_assert(kBlock % U::kUnit == 0 && kBlock <= kPrefillInputs);
  constexpr std::size_t kPanelBytes = kInPlace ? 0 : kBlock / U::kUnit * U::kUnitBytes;
  constexpr std::size_t kAccumulated = U::kGroup == 0 ? kBlock : U::kGroup;     // inputs of one accumulation
  constexpr std::size_t kStarts = round_up(kBlock / kAccumulated, kPanelRows);  // of a row
  static_assert(kPrefillPanels * kPanelBytes + (kPrefillRows + MR) * kRowLength * 4 + 2 * MR * kStarts * 4 <=
                matmul_scratch_bytes());

  std::uint8_t* unpacked = reinterpret_cast<std::uint8_t*>(scratch);
  float* sums = reinterpret_cast<float*>(unpacked + round_up(kPrefillPanels * kPanelBytes, kLineBytes));
  std::int32_t* starts = reinterpret_cast<std::int32_t*>(sums + (kPrefillRows + MR) * kRowLength);
  float* min_sums = reinterpret_cast<float*>(starts + MR * kStarts);
  const std::size_t units = F::units(args.k);
  // Blocks of nearly equal length.
  const std::size_t block_units = round_up(div_up(units, div_up(units, kBlockUnits)), kWhole);
  const std::size_t store_rows = MR % args.x_parts == 0 ? MR : 2 * MR;  // rows that are added are stored together
  [[maybe_unused]] std::conditional_t<kTiles, Tiles, int> tiles;
  [[maybe_unused]] std::conditional_t<kTiles, TileTail, int> tail;
  if constexpr (kTiles) tiles.Begin(kTileRows, U::kGroup == 0 || U::kGroup > kTileBytes ? kTileBytes : U::kGroup);

  for (std::size_t p0 = first; p0 < last; p0 += kPrefillPanels) {
    const std::size_t n_panels = last - p0 < kPrefillPanels ? last - p0 : kPrefillPanels;
    for (std::size_t m0 = 0; m0 < args.m; m0 += kPrefillRows) {
      const std::size_t n_rows = args.m - m0 < kPrefillRows ? args.m - m0 : kPrefillRows;
      for (std::size_t u0 = 0; u0 < units; u0 += block_units) {
        const std::size_t n_units = units - u0 < block_units ? units - u0 : block_units;
        const std::size_t inputs = n_units * F::kUnit;
        const std::size_t steps = div_up(inputs, U::kUnit);
        SweepBlock block{{}, u0 == 0, u0 + n_units == units};
        const std::uint8_t* panels[kPrefillPanels];
        for (std::size_t p = 0; p < kPrefillPanels; ++p) {  // panels past the last repeat it, and nobody stores them
          const std::uint8_t* panel = args.weights + (p0 + (p < n_panels ? p : n_panels - 1)) * args.panel_bytes;
          block.w_scales[p] = reinterpret_cast<const float*>(panel);
          panel += F::kPrefixBytes + u0 * F::kUnitBytes;
          panels[p] = kInPlace ? panel : unpacked + (p < n_panels ? p : n_panels - 1) * kPanelBytes;
          if constexpr (!kInPlace) {
            if (p >= n_panels) continue;
            std::uint8_t* out = unpacked + p * kPanelBytes;
            UnpackUnits<F, U, kSubtract>(panel, n_units, out);
            if constexpr (F::kBits == 0) {  // 20-input lines end inside a 32-input step: zero activations, any code
              std::memset(out + inputs / kQuad * kLineBytes, 0, (steps * kStepInputs - inputs) / kQuad * kLineBytes);
            }
          }
        }
        std::size_t held = 0;  // rows computed and not yet stored
        for (std::size_t m = 0; m < n_rows; m += MR) {
          const std::size_t live = n_rows - m < MR ? n_rows - m : MR;
          float* tile = sums + (units <= block_units ? held : m) * kRowLength;  // one block: the same few lines again
          XRow rows[MR];
          for (std::size_t r = 0; r < MR && (!kTiles || F::kHasMin); ++r) {  // rows past the last repeat it
            rows[r] = RowOf(args.x, m0 + m + (r < live ? r : live - 1));
            rows[r].starts = starts + r * kStarts;
            if constexpr (F::kGroup == 0) {
              rows[r].codes += u0 * F::kUnit;
              starts[r * kStarts] = -kZero * *rows[r].sums;
            } else {
              const std::size_t from = u0 * F::kUnit / kAccumulated;
              const std::int32_t* x_sums = (kAccumulated == 16 ? rows[r].sums16 : rows[r].sums) + from;
              rows[r].codes += u0 * F::kUnit;
              rows[r].scales += u0 * F::kUnit / kXGroup<F>;
              rows[r].min_sums = min_sums + r * kStarts;
              // Whole vectors: sums are padded.
              for (std::size_t i = 0; !kTiles && i < inputs / kAccumulated; i += kLanes) {
                const VI x_sum = hn::LoadU(DI(), x_sums + i);
                const VI start = hn::Sub(hn::Set(DI(), kFloatBits), TimesZero<kZero>(x_sum));
                hn::StoreU(start, DI(), starts + r * kStarts + i);
              }
              for (std::size_t i = 0; F::kHasMin && i < inputs / kAccumulated; ++i) {
                min_sums[r * kStarts + i] =
                    rows[r].scales[kAccumulated == 16 ? i / 2 : i] * static_cast<float>(x_sums[i]);
              }
            }
          }
          if (block.last) {  // the lines of y come in while the tile is computed: 13 % of the time otherwise
            for (std::size_t r = 0; r < live; r += args.x_parts) {
              const float* to = args.y + (m0 + m + r) / args.x_parts * args.y_stride +
                                p0 * kPanelRows / (args.epilogue.gated ? 2 : 1);
              for (std::size_t p = 0; p < n_panels; p += args.epilogue.gated ? 2 : 1)
                __builtin_prefetch(to + p * kPanelRows, 1);
            }
          }
          if constexpr (kTiles && F::kGroup != 0) {
            TileGroups<U>(tiles, args, m0 + m, live, u0 * F::kUnit / U::kGroup, inputs / U::kGroup, panels, n_panels,
                          min_sums, kStarts, tile, block.first);
          } else if constexpr (kTiles) {
            TileSweep(tiles, args, m0 + m, live, u0 * F::kUnit, kZero, panels, n_panels, steps, tail, tile, block);
          } else {
            for (std::size_t p = 0; p < n_panels; p += NP) {
              SweepBlock part = block;
              for (std::size_t i = 0; i < NP; ++i) part.w_scales[i] = block.w_scales[p + i];
              SweepTile<U, Dot, MR, NP>(panels + p, steps, rows, tile + p * kPanelRows, part);
            }
          }
          held += live;
          if (held < store_rows && m + live < n_rows) continue;
          if (block.last) {
            StoreRows(args, m0 + m + live - held, held, p0, args.epilogue.gated ? 2 : 1, n_panels,
                      tile - (held - live) * kRowLength, kRowLength);
          }
          held = 0;
        }
      }
    }
  }
  if constexpr (kTiles) tiles.End();
}

// --- few rows on matrix units --------------------------------------------------------------------------------------------

/// The whole K of up to 16 rows by NP panels of a row-scaled format, without the epilogue: 16 floats a panel at
/// out + 16 (NP r + p). C tile p is panel p; the next 64 inputs (or whole units) are unpacked while the last are multiplied.
template <class F, class Dot, class Tiles, std::size_t NP>
HWY_NOINLINE void TileRows(Tiles& tiles, const MatmulArgs& args, const std::uint8_t* const (&panels)[NP],
                           std::uint8_t* scratch, float* out) {
  using U = UnpackedOf<F, Dot>;
  constexpr bool kInPlace = F::kBits == 8;
  constexpr std::size_t kBlock = std::lcm(F::kUnit, kTileBytes);  // inputs
  constexpr std::size_t kBlockUnits = kBlock / F::kUnit;
  constexpr std::size_t kBlockBytes = kBlock * kPanelRows;
  static_assert(F::kGroup == 0 && NP <= 4 && 2 * NP * kBlockBytes <= matmul_scratch_bytes());
  struct Block {
    const std::uint8_t* codes[NP];
    const std::int8_t* x;
    std::size_t tiles;
  };
  const auto multiply = [&](const Block& block) TRITIUM_LAMBDA {
    for (std::size_t t = 0; t < block.tiles; ++t) {
      tiles.template LoadA<0>(block.x + t * kTileBytes, args.x.stride);
      Unroll<NP>([&](auto p) TRITIUM_LAMBDA {
        tiles.template LoadB<p % 2>(block.codes[p] + t * kTileWeights);
        tiles.template Multiply<p, 0, p % 2, false>();
      });
    }
  };
  Unroll<NP>([&](auto p) TRITIUM_LAMBDA { tiles.template Zero<p>(); });
  const std::size_t units = F::units(args.k);
  Block before{};
  for (std::size_t u = 0, half = 0; u < units; u += kBlockUnits, half ^= 1) {
    const std::size_t count = units - u < kBlockUnits ? units - u : kBlockUnits;
    Block block{{}, args.x.codes + u * F::kUnit, div_up(count * F::kUnit, kTileBytes)};
    for (std::size_t p = 0; p < NP; ++p) {
      const std::uint8_t* from = panels[p] + F::kPrefixBytes + u * F::kUnitBytes;
      for (std::size_t i = 0; i < count * F::kUnitBytes; i += kLineBytes)
        __builtin_prefetch(from + i + kPrefetchBytes<NP>);
      if (kInPlace && count == kBlockUnits) {
        block.codes[p] = from;
        continue;
      }
      std::uint8_t* to = scratch + (half * NP + p) * kBlockBytes;
      UnpackUnits<F, U>(from, count, to);
      const std::size_t end = count * F::kUnit * kPanelRows;  // zeros behind it: x may hold anything there
      std::memset(to + end, 0, block.tiles * kTileWeights - end);
      block.codes[p] = to;
    }
    multiply(before);
    before = block;
  }
  multiply(before);

  alignas(64) std::int32_t sums[NP][kTileRows][kPanelRows];
  Unroll<NP>([&](auto p)
                 TRITIUM_LAMBDA { tiles.template Store<p>(&sums[p][0][0], kPanelRows * sizeof(std::int32_t)); });
  constexpr int kZero = ZeroFor<U, Dot>(F::kZero);
  for (std::size_t r = 0; r < args.m; ++r) {
    const VI zero_part = hn::Set(DI(), -kZero * args.x.sums[r * args.x.groups]);
    const VF x_scale = hn::Set(DF(), args.x.scales[r * args.x.groups]);
    for (std::size_t p = 0; p < NP; ++p) {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        const VI total = hn::Add(hn::Load(DI(), sums[p][r] + v * kLanes), zero_part);
        hn::StoreU(RowValue(total, reinterpret_cast<const float*>(panels[p]), v, x_scale), DF(),
                   out + (r * NP + p) * kPanelRows + v * kLanes);
      });
    }
  }
}

/// Up to 16 rows.
template <class F, class Dot, class Tiles>
HWY_INLINE void TilePanels(const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
  Tiles tiles;
  tiles.Begin(args.m, kTileBytes);
  ForStreams(args, first, last,
             [&]<std::size_t NP>(const std::uint8_t* const(&panels)[NP], std::size_t panel, std::size_t stride)
                 TRITIUM_LAMBDA {
                   alignas(64) float out[kTileRows * NP * kPanelRows];
                   TileRows<F, Dot, Tiles, NP>(tiles, args, panels, reinterpret_cast<std::uint8_t*>(scratch), out);
                   StoreRows(args, 0, args.m, panel, stride, NP, out, NP * kPanelRows);
                 });
  tiles.End();
}

/// From this many rows on unpacking pays for itself.
inline constexpr std::size_t kUnpackRows = 24;  // see kManyRows in ops/matmul.h
/// Row-scaled formats go to matrix units from this many rows on: see decision 5.
inline constexpr std::size_t kFewestTileRows = 3;

/// Tiles: void, or the matrix units that serve more than a row or two.
template <class F, class Dot, class Tiles>
void MatmulPanels(const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
  if constexpr (!std::is_void_v<Tiles> && F::kGroup == 0) {
    if (args.m < kFewestTileRows) return DirectPanels<F, Dot>(args, first, last);
    if (args.m <= kTileRows) return TilePanels<F, Dot, Tiles>(args, first, last, scratch);
    return UnpackedPanels<F, Dot, Tiles>(args, first, last, scratch);
  } else {
    if (args.m >= kUnpackRows) return UnpackedPanels<F, Dot, Tiles>(args, first, last, scratch);
    return DirectPanels<F, Dot>(args, first, last);
  }
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
