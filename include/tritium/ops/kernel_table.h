// SPDX-License-Identifier: Apache-2.0
// KernelTable: what one instruction-set tier offers, as plain function pointers over plain structs.
//
// This is the seam between ops/ (shape checks, threads, which format) and simd/ (code compiled once per tier). In static
// mode there is one table, built from the headers; in dispatch mode tritium::kernels holds one per tier.
#pragma once

#include "tritium/core/executor.h"
#include "tritium/format/activation.h"
#include "tritium/format/formats.h"
#include "tritium/ops/epilogue.h"

TRITIUM_SEAM_BEGIN

/// One matmul: y = epilogue(x W^T), x (m, k), W (n, k) packed, y (m / x_parts, n), or n / 2 columns when gated.
struct MatmulArgs {
  const std::uint8_t* weights = nullptr;  ///< panels of one format, 64-byte aligned
  std::size_t panel_bytes = 0;            ///< from one panel to the next
  std::size_t n = 0;                      ///< outputs, of both matrices when gated
  std::size_t k = 0;                      ///< inputs
  std::size_t m = 0;                      ///< rows of x
  /// Rows of x that are added to make one row of y: 2 when each row comes as codes and codes of what those left over,
  /// which is 15 bits of activation for two dot products. m is a multiple of it.
  std::size_t x_parts = 1;
  Q8View x;                      ///< quantised formats
  const float* x_f32 = nullptr;  ///< float formats: (m, k), rows x_stride apart
  std::size_t x_stride = 0;      ///< floats, of x_f32
  float* y = nullptr;            ///< element (0, 0)
  std::size_t y_stride = 0;      ///< floats from one row of y to the next
  Epilogue epilogue;             ///< what happens to outputs in registers
};

/// Computes the outputs of panels [first, last) for all rows. With epilogue.gated both are even. `scratch` is
/// matmul_scratch_bytes() of memory that no other thread uses.
using MatmulFn = void (*)(const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch);

TRITIUM_SEAM_END
TRITIUM_NAMESPACE_BEGIN

/// Rows are processed in blocks of this many when weights are unpacked once per block.
inline constexpr std::size_t kPrefillRows = 144;
/// Outputs computed together from unpacked weights: four panels.
inline constexpr std::size_t kPrefillPanels = 4;
/// Inputs unpacked at once: 4 panels x 16 x 4096 bytes = 256 KiB, in the second-level cache beside 128 rows of activations.
inline constexpr std::size_t kPrefillInputs = 4096;

/// Bytes of scratch that a matmul needs for each thread.
constexpr std::size_t matmul_scratch_bytes() {
  const std::size_t unpacked =
      kPrefillPanels * (kPrefillInputs * kPanelRows + kPrefillInputs / 16 * 2 * kLineBytes) + 4096;
  const std::size_t sums = (kPrefillRows + 32) * kPrefillPanels * kPanelRows * sizeof(float);
  const std::size_t starts = 32 * (kPrefillInputs / 16) * sizeof(std::int32_t);
  return round_up(unpacked, kLineBytes) + sums + starts;
}

/// Keys attended to together: a query's result is merged from segments at multiples of this position.
inline constexpr std::size_t kAttentionSegment = 128;

TRITIUM_NAMESPACE_END
TRITIUM_SEAM_BEGIN

/// How keys and values are cached. int8: codes under f32 scales, one for the value of a position and a head, one for
/// kKeyGroup dimensions of its key: scale = max|x| / 127, code = round(x / scale) half to even; zeros under a NaN or an
/// infinity, whose scale is not finite (below max|x| = 2^-120, where 127 / max|x| overflows, codes and scale are zero).
/// bf16: two dimensions of a key, and two positions of a value, lie next to each other as a pair; queries and probabilities
/// are rounded to bf16 too.
enum class KvType : std::uint8_t { f32, f16, int8, bf16 };

/// Bytes of a number in the cache.
constexpr std::size_t kv_element_bytes(KvType type) { return type == KvType::f32 ? 4 : type == KvType::int8 ? 1 : 2; }

/// Dimensions of a key, and positions of values, that lie next to each other: pairs in bf16.
constexpr std::size_t kv_pair(KvType type) { return type == KvType::bf16 ? 2 : 1; }

/// Dimensions that a cached key has room for: of bf16 a whole number of pairs.
constexpr std::size_t kv_key_width(KvType type, std::size_t head_dim) { return round_up(head_dim, kv_pair(type)); }

/// Element at which dimension `dim`, the first of its pair, of a position's key lies in panels of `width` dimensions.
constexpr std::size_t kv_key_at(KvType type, std::size_t width, std::size_t position, std::size_t dim) {
  return (position / kPanelRows * width + dim) * kPanelRows + position % kPanelRows * kv_pair(type);
}
/// Element at which a position's value begins in rows of `stride` dimensions; its elements are kv_pair() apart.
constexpr std::size_t kv_value_at(KvType type, std::size_t stride, std::size_t position) {
  return position / kv_pair(type) * kv_pair(type) * stride + position % kv_pair(type);
}

/// Dimensions of an int8 key under one scale. Keys, unlike values, have channels many times as large as the rest.
inline constexpr std::size_t kKeyGroup = 32;

/// One query and where its part of the result goes: p_j = exp(score_j - max).
struct AttentionQuery {
  const float* q = nullptr;   ///< (head_dim)
  float* out = nullptr;       ///< (value_stride) sum of p_j v_j
  float* max = nullptr;       ///< largest score, at least -1e30
  float* sum = nullptr;       ///< sum of p_j
  std::size_t first_key = 0;  ///< live positions [first_key, last_key)
  std::size_t last_key = 0;   ///< one past the last
};

/// One segment of one KV head against queries that share it.
struct AttentionArgs {
  const AttentionQuery* queries = nullptr;  ///< that share the KV head
  std::size_t n_queries = 0;                ///< how many
  const void* keys = nullptr;               ///< of the segment: [kAttentionSegment / 16][head_dim][16]; bf16:
                                            ///< [kAttentionSegment / 16][head_dim / 2, rounded up][16][2]
  const void* values = nullptr;             ///< of the segment: [kAttentionSegment][value_stride]; bf16:
                                            ///< [kAttentionSegment / 2][value_stride][2]
  const float* key_scales = nullptr;        ///< int8: [kAttentionSegment / 16][head_dim / kKeyGroup, rounded up][16]
  const float* value_scales = nullptr;      ///< int8: [kAttentionSegment]
  KvType type = KvType::f32;                ///< of keys and values
  std::size_t head_dim = 0;                 ///< numbers of a key
  std::size_t value_stride = 0;             ///< a multiple of 16
  std::size_t first_key = 0;                ///< position of the segment's first key
  float scale = 1.0f;                       ///< multiplies q k^T
  float soft_cap = 0.0f;                    ///< 0: none
  bool bf16_dot = false;  ///< this CPU multiplies pairs of bf16 (has_bf16_dot()): tiers with AVX512-VNNI use it
};

/// One token of one head of the gated delta rule.
struct DeltaStep {
  float* state = nullptr;    ///< (k_dim, v_dim)
  std::size_t k_dim = 0;     ///< numbers of q and k
  std::size_t v_dim = 0;     ///< numbers of v
  const float* q = nullptr;  ///< (k_dim), normalised and scaled
  const float* k = nullptr;  ///< (k_dim), normalised
  const float* v = nullptr;  ///< (v_dim)
  float beta = 0.0f;         ///< how much of the difference is written
  float decay = 1.0f;        ///< multiplies the state first
  float* out = nullptr;      ///< (v_dim)
};

/// What a tier offers: one pointer for each kernel, null where nothing was compiled. `n`: numbers of a row.
struct KernelTable {
  const char* tier = nullptr;  ///< its name; null: not compiled in
  /// By PackFormat.
  MatmulFn matmul[kPackFormatCount] = {};
  /// Rows [first, last) of x as codes, scales and sums: scale = max|x| / 127 of a group, codes round half to even.
  void (*quantize_rows)(const float* x, std::size_t x_stride, const Q8Rows& rows, std::size_t first,
                        std::size_t last) = nullptr;
  /// One segment of keys against queries that share them.
  void (*attention)(const AttentionArgs& args) = nullptr;
  /// Merges a segment's max, sum and out into those of the segments before it, in order of position.
  void (*attention_merge)(float* max, float* sum, float* out, float segment_max, float segment_sum,
                          const float* segment_out, std::size_t n) = nullptr;
  /// y = x / sqrt(mean(x^2) + eps) * weight; weight null: 1. y may be x.
  void (*rms_norm)(const float* x, const float* weight, std::size_t n, float eps, float* y) = nullptr;
  /// y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias; weight, bias null: 1, 0.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, std::size_t n, float eps,
                     float* y) = nullptr;
  /// Rotates the pairs (x_i, x_(i + half)) in place.
  void (*rope_half)(float* x, const float* cosine, const float* sine, std::size_t half) = nullptr;
  /// y = activation(gate) * up; up null: 1. y may be gate.
  void (*gate)(Activation activation, const float* gate, const float* up, std::size_t n, float* y) = nullptr;
  /// y += scale * x.
  void (*add_scaled)(const float* x, float scale, std::size_t n, float* y) = nullptr;
  /// x *= scale.
  void (*scale)(float* x, float scale, std::size_t n) = nullptr;
  /// x = cap * tanh(x / cap).
  void (*soft_cap)(float* x, float cap, std::size_t n) = nullptr;
  /// Softmax in place.
  void (*soft_max)(float* x, std::size_t n) = nullptr;
  /// ln(sum of exp(x_i)), n > 0.
  double (*log_sum_exp)(const float* x, std::size_t n) = nullptr;
  /// Of softmax(q) from softmax(p), whose log_sum_exp are given.
  double (*divergence)(const float* p, const float* q, std::size_t n, double p_norm, double q_norm) = nullptr;
  /// The smallest index of the largest value; NaN is never larger.
  std::size_t (*arg_max)(const float* x, std::size_t n) = nullptr;
  /// Whether every value is finite.
  bool (*all_finite)(const float* x, std::size_t n) = nullptr;
  /// n floats as `type`, `stride` elements apart; int8 has one scale for all and writes it. bf16: stride 2 for a position of
  /// values; kPanelRows for one of keys, whose pairs are that many pairs apart, a zero behind an odd n.
  void (*store_kv)(const float* x, std::size_t n, std::size_t stride, KvType type, void* out, float* scale) = nullptr;
  /// S = decay S; S += beta k (v - k^T S); out = q^T S.
  void (*delta_rule)(const DeltaStep& step) = nullptr;
  /// out = silu(sum over taps of inputs * weights): inputs `taps` rows of n, oldest first, weights (taps, n).
  void (*conv_silu)(const float* const* inputs, const float* weights, std::size_t taps, std::size_t n,
                    float* out) = nullptr;
  /// Limits of the machine, for benchmarks: multiply-adds of the dot product in registers, and reading streams of memory.
  std::size_t (*dot_loop)(std::size_t iterations, std::int32_t* sink) = nullptr;
  /// Reads n_streams runs of `bytes` bytes, `stride` apart, side by side.
  void (*read_streams)(const std::byte* data, std::size_t bytes, std::size_t stride, std::size_t n_streams,
                       std::uint8_t* sink) = nullptr;
  /// Numbers of the panels (16 values, the last one perhaps fewer) that hold an i with x_i + norm reach_i not below
  /// `least`, NaN included, ascending; how many. Room for one number a panel.
  std::size_t (*shortlist)(const float* x, const float* reach, float norm, float least, std::size_t n,
                           std::uint32_t* panels) = nullptr;
};

/// In order of preference within an architecture. The first one proves the kernels of matrix units on CPUs that have none
/// and serves only when it is pinned.
enum class Tier : std::uint8_t {
  amx_emulated,
  portable,
  avx2,
  avx2_vnni,
  avx512,
  avx512_vnni,
  amx,
  neon,
  neon_dotprod,
  neon_i8mm
};

#if TRITIUM_DISPATCH
/// The kernels of a tier, or null when the tier was not compiled in. Defined by tritium::kernels.
const KernelTable* kernel_table(Tier tier);
#endif

TRITIUM_SEAM_END

#if TRITIUM_DISPATCH
TRITIUM_NAMESPACE_BEGIN
inline bool tier_is_compiled(Tier tier) { return kernel_table(tier) != nullptr; }
TRITIUM_NAMESPACE_END
#else
#include "tritium/simd/static_table.h"
#endif
