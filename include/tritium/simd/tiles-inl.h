// SPDX-License-Identifier: Apache-2.0
// Matrix units: eight tiles of up to 16 rows x 64 bytes and products of int8 tiles, as instructions and as exact emulation.
//
// Kernels are templates over this interface, so that a machine without AMX proves the source that one with AMX runs:
//   Begin(rows, inputs), End      around a run of products of `rows` (1 to 16) rows of A by `inputs` (4, 8, ... 64) inputs;
//                                 a thread's tiles are its own
//   Zero<c>()                     C tile c (0 to 3): rows x 16 int32
//   LoadA<i>(p, stride)           A tile i (0, 1): rows of signed bytes: activations, inputs side by side
//   LoadB<i>(p)                   B tile i (0, 1): inputs / 4 panel lines of 64 bytes: 16 outputs x 4 inputs of codes each
//   Multiply<c, a, b, kSigned>()  C[m][n] += sum over the inputs of A[m][k] * B[k / 4][4 n + k mod 4], codes signed or not
//   Store<c>(p, stride)           rows of 16 int32, `stride` bytes apart
// The instructions are assembly for the reason given in decision 2: no target attribute, no compiler that moves the
// configuration away (GCC 12 believes that it reads 8 of its 64 bytes).

#if defined(TRITIUM_SIMD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_TILES_INL_H_
#undef TRITIUM_SIMD_TILES_INL_H_
#else
#define TRITIUM_SIMD_TILES_INL_H_
#endif

#include "tritium/ops/kernel_table.h"
#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

inline constexpr std::size_t kTileRows = 16;
inline constexpr std::size_t kTileBytes = 64;  ///< of a row
inline constexpr std::size_t kTileWeights = kTileRows * kTileBytes;

#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3
/// tmm0 to tmm3: C; tmm4, tmm5: A; tmm6, tmm7: B.
class AmxTiles {
 public:
  HWY_INLINE void Begin(std::size_t rows, std::size_t inputs) {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {};
    } config;
    static_assert(sizeof(config) == 64);
    for (std::size_t t = 0; t < 6; ++t) config.rows[t] = static_cast<std::uint8_t>(rows);
    for (std::size_t t = 4; t < 6; ++t) config.row_bytes[t] = static_cast<std::uint16_t>(inputs);
    for (std::size_t t = 6; t < 8; ++t) config.rows[t] = static_cast<std::uint8_t>(inputs / kQuad);
    asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  HWY_INLINE void End() { asm volatile("tilerelease" : : : "memory"); }
  template <int c>
  HWY_INLINE void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(c));
  }
  template <int i>
  HWY_INLINE void LoadA(const std::int8_t* p, std::size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(4 + i) : "memory");
  }
  template <int i>
  HWY_INLINE void LoadB(const std::uint8_t* p) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(kTileBytes), "i"(6 + i) : "memory");
  }
  template <int c, int a, int b, bool kSigned>
  HWY_INLINE void Multiply() {
    if constexpr (kSigned) {
      asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(4 + a), "i"(6 + b));
    } else {
      asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(4 + a), "i"(6 + b));
    }
  }
  template <int c>
  HWY_INLINE void Store(std::int32_t* p, std::size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(c) : "memory");
  }
};

#endif

/// The same in memory: what AmxTiles is tested against where it exists, and what tests run where it does not.
class EmulatedTiles {
 public:
  HWY_INLINE void Begin(std::size_t rows, std::size_t inputs) {
    *this = {};
    rows_ = rows;
    inputs_ = inputs;
  }
  HWY_INLINE void End() { rows_ = inputs_ = 0; }
  template <int c>
  HWY_INLINE void Zero() {
    std::memset(c_[c], 0, sizeof(c_[c]));
  }
  template <int i>
  HWY_INLINE void LoadA(const std::int8_t* p, std::size_t stride) {
    for (std::size_t r = 0; r < rows_; ++r) std::memcpy(a_[i][r], p + r * stride, inputs_);
  }
  template <int i>
  HWY_INLINE void LoadB(const std::uint8_t* p) {
    std::memcpy(b_[i], p, inputs_ / kQuad * kTileBytes);
  }
  template <int c, int a, int b, bool kSigned>
  HWY_INLINE void Multiply() {
    using Code = std::conditional_t<kSigned, std::int8_t, std::uint8_t>;
    for (std::size_t m = 0; m < rows_; ++m) {
      for (std::size_t n = 0; n < kPanelRows; ++n) {
        std::int32_t sum = 0;
        for (std::size_t k = 0; k < inputs_; ++k)
          sum += a_[a][m][k] * static_cast<Code>(b_[b][k / kQuad][kQuad * n + k % kQuad]);
        c_[c][m][n] += sum;
      }
    }
  }
  template <int c>
  HWY_INLINE void Store(std::int32_t* p, std::size_t stride) {
    for (std::size_t r = 0; r < rows_; ++r)
      std::memcpy(reinterpret_cast<std::byte*>(p) + r * stride, c_[c][r], sizeof(c_[c][r]));
  }

 private:
  std::size_t rows_ = 0;
  std::size_t inputs_ = 0;
  std::int32_t c_[4][kTileRows][kPanelRows] = {};
  std::int8_t a_[2][kTileRows][kTileBytes] = {};
  std::uint8_t b_[2][kTileRows][kTileBytes] = {};
};

/// The policy of a tier with matrix units: tiles for many rows, vectors for few.
template <class V, class T>
struct DotTiles {
  using Vectors = V;
  using Tiles = T;
};

/// Two runs of 16 rows of x that serve rows [m, m + live), live <= 32: a run that would pass the last row begins earlier
/// and what is known already is dropped. m_all, the rows of x, is 16 or more.
struct TileRuns {
  std::size_t start[2];
  const std::int8_t* x[2];
  std::size_t stride;
  bool both;  ///< the second run serves a row

  TileRuns(const Q8View& all, std::size_t m_all, std::size_t m, std::size_t live, std::size_t k0)
      : stride(all.stride), both(live > kTileRows) {
    for (std::size_t i = 0; i < 2; ++i) {
      const std::size_t row = m + i * kTileRows;
      start[i] = row + kTileRows <= m_all ? row : m_all - kTileRows;
      x[i] = all.codes + start[i] * all.stride + k0;
    }
  }
};

/// Sums of 32 rows by two panels of unsigned codes over `steps` steps of 32 inputs: sums[a][b] is 16 x 16. An odd last step
/// is half a tile: its lines come with zeros, from `tail`, so that any activations behind it may be read.
struct TileTail {
  alignas(64) std::uint8_t w[2][kTileWeights];
};
template <class Tiles>
HWY_NOINLINE void TileBlock(Tiles& tiles, const TileRuns& runs, const std::uint8_t* w0, const std::uint8_t* w1,
                            std::size_t steps, TileTail& tail, std::int32_t* sums) {
  tiles.template Zero<0>();
  tiles.template Zero<1>();
  tiles.template Zero<2>();
  tiles.template Zero<3>();
  const auto product = [&](std::size_t x_at, const std::uint8_t* b0, const std::uint8_t* b1) TRITIUM_LAMBDA {
    tiles.template LoadB<0>(b0);
    tiles.template LoadA<0>(runs.x[0] + x_at, runs.stride);
    tiles.template LoadB<1>(b1);
    tiles.template Multiply<0, 0, 0, false>();
    tiles.template Multiply<1, 0, 1, false>();
    if (!runs.both) return;
    tiles.template LoadA<1>(runs.x[1] + x_at, runs.stride);
    tiles.template Multiply<2, 1, 0, false>();
    tiles.template Multiply<3, 1, 1, false>();
  };
  for (std::size_t s = 0; s + 2 <= steps; s += 2) {
    product(s * kStepInputs, w0 + s / 2 * kTileWeights, w1 + s / 2 * kTileWeights);
  }
  if (steps % 2 != 0) {
    const std::size_t w_at = (steps - 1) / 2 * kTileWeights;
    std::memset(&tail, 0, sizeof(tail));
    std::memcpy(tail.w[0], w0 + w_at, kTileWeights / 2);
    std::memcpy(tail.w[1], w1 + w_at, kTileWeights / 2);
    product((steps - 1) * kStepInputs, tail.w[0], tail.w[1]);
  }
  constexpr std::size_t kRow = kPanelRows * sizeof(std::int32_t);
  tiles.template Store<0>(sums, kRow);
  tiles.template Store<1>(sums + kTileRows * kPanelRows, kRow);
  if (!runs.both) return;
  tiles.template Store<2>(sums + 2 * kTileRows * kPanelRows, kRow);
  tiles.template Store<3>(sums + 3 * kTileRows * kPanelRows, kRow);
}

/// `iterations` x 4 tile products in registers; returns the multiply-adds done.
template <class Tiles>
HWY_NOINLINE std::size_t TileLoop(std::size_t iterations, std::int32_t* sink) {
  alignas(64) std::int32_t memory[kTileRows * kPanelRows] = {};
  memory[0] = *sink;
  Tiles tiles;
  tiles.Begin(kTileRows, kTileBytes);
  tiles.template LoadA<0>(reinterpret_cast<const std::int8_t*>(memory), kTileBytes);
  tiles.template LoadA<1>(reinterpret_cast<const std::int8_t*>(memory), kTileBytes);
  tiles.template LoadB<0>(reinterpret_cast<const std::uint8_t*>(memory));
  tiles.template LoadB<1>(reinterpret_cast<const std::uint8_t*>(memory));
  for (std::size_t i = 0; i < iterations; ++i) {
    tiles.template Multiply<0, 0, 0, false>();
    tiles.template Multiply<1, 0, 1, false>();
    tiles.template Multiply<2, 1, 0, false>();
    tiles.template Multiply<3, 1, 1, false>();
  }
  tiles.template Store<0>(memory, kTileBytes);
  tiles.End();
  *sink = memory[0];
  return iterations * 4 * kTileRows * kPanelRows * kTileBytes;
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
