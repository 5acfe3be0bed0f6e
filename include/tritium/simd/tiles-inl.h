// SPDX-License-Identifier: Apache-2.0
// Matrix units: eight tiles of 16 rows x 64 bytes and a product of int8 tiles, as instructions and as exact emulation.
//
// Kernels are templates over this interface, so that a machine without AMX proves the source that one with AMX runs:
//   Begin, End                    around a run of products; a thread's tiles are its own
//   Zero<c>()                     C tile c (0 to 3): 16 x 16 int32
//   LoadA<i>(p, stride)           A tile i (0, 1): 16 rows of 64 signed bytes: activations, inputs side by side
//   LoadB<i>(p)                   B tile i (0, 1): 1024 bytes: 16 panel lines, 16 outputs x 4 inputs of unsigned codes each
//   Multiply<c, a, b>()           C[m][n] += sum over 64 inputs of A[m][k] * B[k / 4][4 n + k mod 4]
//   Store<c>(p, stride)           16 rows of 16 int32, `stride` bytes apart
// The instructions are assembly for the reason given in decision 2: no target attribute, no compiler that moves the
// configuration away (GCC 12 believes that it reads 8 of its 64 bytes).

#if defined(TRITIUM_SIMD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_TILES_INL_H_
#undef TRITIUM_SIMD_TILES_INL_H_
#else
#define TRITIUM_SIMD_TILES_INL_H_
#endif

#include "tritium/simd/microops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

inline constexpr std::size_t kTileRows = 16;
inline constexpr std::size_t kTileBytes = 64;  ///< of a row

#if HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3
/// tmm0 to tmm3: C; tmm4, tmm5: A; tmm6, tmm7: B.
class AmxTiles {
 public:
  HWY_INLINE void Begin() {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof(config) == 64);
    asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  HWY_INLINE void End() { asm volatile("tilerelease" : : : "memory"); }
  template <int c>
  HWY_INLINE void Zero() {
    if constexpr (c == 0) asm volatile("tilezero %tmm0");
    if constexpr (c == 1) asm volatile("tilezero %tmm1");
    if constexpr (c == 2) asm volatile("tilezero %tmm2");
    if constexpr (c == 3) asm volatile("tilezero %tmm3");
  }
  template <int i>
  HWY_INLINE void LoadA(const std::int8_t* p, std::size_t stride) {
    if constexpr (i == 0) asm volatile("tileloadd (%0,%1,1), %%tmm4" : : "r"(p), "r"(stride) : "memory");
    if constexpr (i == 1) asm volatile("tileloadd (%0,%1,1), %%tmm5" : : "r"(p), "r"(stride) : "memory");
  }
  template <int i>
  HWY_INLINE void LoadB(const std::uint8_t* p) {
    if constexpr (i == 0) asm volatile("tileloadd (%0,%1,1), %%tmm6" : : "r"(p), "r"(kTileBytes) : "memory");
    if constexpr (i == 1) asm volatile("tileloadd (%0,%1,1), %%tmm7" : : "r"(p), "r"(kTileBytes) : "memory");
  }
  template <int c, int a, int b>
  HWY_INLINE void Multiply() {
    static_assert(c == 2 * a + b, "the kernel's blocking: two A tiles by two B tiles");
    if constexpr (c == 0) asm volatile("tdpbsud %tmm6, %tmm4, %tmm0");
    if constexpr (c == 1) asm volatile("tdpbsud %tmm7, %tmm4, %tmm1");
    if constexpr (c == 2) asm volatile("tdpbsud %tmm6, %tmm5, %tmm2");
    if constexpr (c == 3) asm volatile("tdpbsud %tmm7, %tmm5, %tmm3");
  }
  template <int c>
  HWY_INLINE void Store(std::int32_t* p, std::size_t stride) {
    if constexpr (c == 0) asm volatile("tilestored %%tmm0, (%0,%1,1)" : : "r"(p), "r"(stride) : "memory");
    if constexpr (c == 1) asm volatile("tilestored %%tmm1, (%0,%1,1)" : : "r"(p), "r"(stride) : "memory");
    if constexpr (c == 2) asm volatile("tilestored %%tmm2, (%0,%1,1)" : : "r"(p), "r"(stride) : "memory");
    if constexpr (c == 3) asm volatile("tilestored %%tmm3, (%0,%1,1)" : : "r"(p), "r"(stride) : "memory");
  }
};

#endif

/// The same in memory: what AmxTiles is tested against where it exists, and what tests run where it does not.
class EmulatedTiles {
 public:
  HWY_INLINE void Begin() { *this = {}; }
  HWY_INLINE void End() {}
  template <int c>
  HWY_INLINE void Zero() {
    std::memset(c_[c], 0, sizeof(c_[c]));
  }
  template <int i>
  HWY_INLINE void LoadA(const std::int8_t* p, std::size_t stride) {
    for (std::size_t r = 0; r < kTileRows; ++r) std::memcpy(a_[i][r], p + r * stride, kTileBytes);
  }
  template <int i>
  HWY_INLINE void LoadB(const std::uint8_t* p) {
    std::memcpy(b_[i], p, sizeof(b_[i]));
  }
  template <int c, int a, int b>
  HWY_INLINE void Multiply() {
    for (std::size_t m = 0; m < kTileRows; ++m) {
      for (std::size_t n = 0; n < kPanelRows; ++n) {
        std::int32_t sum = 0;
        for (std::size_t k = 0; k < kTileBytes; ++k) sum += a_[a][m][k] * b_[b][k / kQuad][kQuad * n + k % kQuad];
        c_[c][m][n] += sum;
      }
    }
  }
  template <int c>
  HWY_INLINE void Store(std::int32_t* p, std::size_t stride) {
    for (std::size_t r = 0; r < kTileRows; ++r)
      std::memcpy(reinterpret_cast<std::byte*>(p) + r * stride, c_[c][r], sizeof(c_[c][r]));
  }

 private:
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

/// Sums of 32 rows by two panels over `steps` steps of 32 inputs: sums[a][b] is 16 x 16. x0 and x1 are where the two runs
/// of 16 rows begin. An odd last step is half a tile: its activations come with zeros, from `tail`, and so do its lines.
struct TileTail {
  alignas(64) std::int8_t x[2][kTileRows * kTileBytes];
  alignas(64) std::uint8_t w[2][kTileRows * kTileBytes];
};
template <class Tiles>
HWY_NOINLINE void TileBlock(Tiles& tiles, const std::int8_t* x0, const std::int8_t* x1, std::size_t x_stride,
                            const std::uint8_t* w0, const std::uint8_t* w1, std::size_t steps, TileTail& tail,
                            std::int32_t* sums) {
  tiles.template Zero<0>();
  tiles.template Zero<1>();
  tiles.template Zero<2>();
  tiles.template Zero<3>();
  const auto product = [&](const std::int8_t* a0, const std::int8_t* a1, std::size_t stride, const std::uint8_t* b0,
                           const std::uint8_t* b1) TRITIUM_LAMBDA {
    tiles.template LoadB<0>(b0);
    tiles.template LoadA<0>(a0, stride);
    tiles.template LoadB<1>(b1);
    tiles.template Multiply<0, 0, 0>();
    tiles.template LoadA<1>(a1, stride);
    tiles.template Multiply<1, 0, 1>();
    tiles.template Multiply<2, 1, 0>();
    tiles.template Multiply<3, 1, 1>();
  };
  constexpr std::size_t kTileWeights = kTileRows * kTileBytes;
  for (std::size_t s = 0; s + 2 <= steps; s += 2) {
    const std::size_t x_at = s * kStepInputs;
    const std::size_t w_at = s / 2 * kTileWeights;
    product(x0 + x_at, x1 + x_at, x_stride, w0 + w_at, w1 + w_at);
  }
  if (steps % 2 != 0) {
    const std::size_t x_at = (steps - 1) * kStepInputs;
    const std::size_t w_at = (steps - 1) / 2 * kTileWeights;
    std::memset(&tail, 0, sizeof(tail));
    for (std::size_t r = 0; r < kTileRows; ++r) {
      std::memcpy(tail.x[0] + r * kTileBytes, x0 + r * x_stride + x_at, kStepInputs);
      std::memcpy(tail.x[1] + r * kTileBytes, x1 + r * x_stride + x_at, kStepInputs);
    }
    std::memcpy(tail.w[0], w0 + w_at, kTileWeights / 2);
    std::memcpy(tail.w[1], w1 + w_at, kTileWeights / 2);
    product(tail.x[0], tail.x[1], kTileBytes, tail.w[0], tail.w[1]);
  }
  constexpr std::size_t kRow = kPanelRows * sizeof(std::int32_t);
  tiles.template Store<0>(sums, kRow);
  tiles.template Store<1>(sums + kTileRows * kPanelRows, kRow);
  tiles.template Store<2>(sums + 2 * kTileRows * kPanelRows, kRow);
  tiles.template Store<3>(sums + 3 * kTileRows * kPanelRows, kRow);
}

/// `iterations` x 4 tile products in registers; returns the multiply-adds done.
template <class Tiles>
HWY_NOINLINE std::size_t TileLoop(std::size_t iterations, std::int32_t* sink) {
  alignas(64) std::int32_t memory[kTileRows * kPanelRows] = {};
  memory[0] = *sink;
  Tiles tiles;
  tiles.Begin();
  tiles.template LoadA<0>(reinterpret_cast<const std::int8_t*>(memory), kTileBytes);
  tiles.template LoadA<1>(reinterpret_cast<const std::int8_t*>(memory), kTileBytes);
  tiles.template LoadB<0>(reinterpret_cast<const std::uint8_t*>(memory));
  tiles.template LoadB<1>(reinterpret_cast<const std::uint8_t*>(memory));
  for (std::size_t i = 0; i < iterations; ++i) {
    tiles.template Multiply<0, 0, 0>();
    tiles.template Multiply<1, 0, 1>();
    tiles.template Multiply<2, 1, 0>();
    tiles.template Multiply<3, 1, 1>();
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
