// SPDX-License-Identifier: Apache-2.0
// Attention over one segment of keys for several query vectors that share a KV head.
//
// Keys are cached in panels of 16 positions, [position / 16][head_dim][16], so that a score vector of 16 keys is a chain of
// broadcast multiply-adds without any horizontal sum; values are cached row by row, [position][head_dim padded to 16].
// Query vectors of a KV head (its group of heads, times the rows of a prefill block) share every load.
//
//   s_j = cap(scale * <q, k_j>),   m = max_j s_j,   p_j = exp(s_j - m),   l = sum p_j,   o = sum p_j v_j
//
// Keys and values cached as int8 are codes with scales. Codes become floats in registers, exactly; the scale of a group of
// dimensions of a key multiplies what they add to its score, and that of a value its probability:
//
//   s_j = cap(scale * sum_g t_gj <q_g, c_gj>),   o = sum (p_j u_j) w_j
//
// A NaN score makes the sum of its segment NaN, which the merge and the division by the sum keep: it reaches the output.
//
// A segment is kAttentionSegment keys at a multiple of that position. Its result does not depend on which other queries
// or segments are computed with it, and segments are merged in order of position: the same floats for any number of
// threads, one token at a time or all at once.

#if defined(TRITIUM_SIMD_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_ATTENTION_INL_H_
#undef TRITIUM_SIMD_ATTENTION_INL_H_
#else
#define TRITIUM_SIMD_ATTENTION_INL_H_
#endif

#include "tritium/simd/rowops-inl.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {

inline constexpr std::size_t kQueryTile = kLanes == 16 ? 6 : HWY_ARCH_X86 ? 2 : 4;
inline constexpr std::size_t kKeyVectors = 4;  // of keys, or of a value row, at once
inline constexpr float kLeastScore = -1e30f;

HWY_INLINE VF LoadKv(const float* p) { return hn::LoadU(DF(), p); }
HWY_INLINE VF LoadKv(const f16* p) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  const auto half = hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p));
  const VF v = hn::PromoteTo(DF(), half);
#if HWY_ARCH_ARM_A64 || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2)
  return v;
#else  // Highway's own conversion takes infinities and NaNs for numbers from 65536 on, which no f16 is
  const hn::RebindToUnsigned<DF> du;
  const auto special = hn::RebindMask(du, hn::Ge(hn::Abs(v), hn::Set(DF(), 65536.0f)));
  const auto exponent = hn::IfThenElseZero(special, hn::Set(du, 0x7F800000u));
  return hn::Or(v, hn::BitCast(DF(), exponent));
#endif
}
HWY_INLINE VF LoadKv(const std::int8_t* p) {
  const hn::Rebind<std::int8_t, DI> d8;
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d8, p)));
}

// How far ahead memory is asked for, in positions: hardware prefetch follows neither four panels of keys at once nor rows
// that end where another head's task begins. Behind 4,096 keys of 64 (int8, 3 heads, 30 layers, one core of Zen 5) a token
// took 6.8 ms without, 2.6 to 3.2 ms with 64 and 64, 1.9 to 2.5 ms with these; in cache it takes 1.8 ms. Past the end of a
// segment lies the next one of the same head, which is somebody's next task.
inline constexpr std::size_t kKeysAhead = 128;
inline constexpr std::size_t kValuesAhead = 64;

/// Scores of R queries against kKeyVectors vectors of keys, from `key` (relative to the segment) on.
template <class T, std::size_t R>
HWY_INLINE void ScoreTile(const float* const* q, std::size_t head_dim, const T* keys, std::size_t key,
                          const float* scales, float (*scores)[kAttentionSegment]) {
  constexpr bool kScaled = std::is_same_v<T, std::int8_t>;
  constexpr std::size_t kKeys = kKeyVectors * kLanes;
  const std::size_t group = kScaled ? kKeyGroup : head_dim;
  const std::size_t n_groups = (head_dim + group - 1) / group;
  const T* base[kKeyVectors];
  Unroll<kKeyVectors>([&](auto c) TRITIUM_LAMBDA {
    const std::size_t at = key + c * kLanes;
    base[c] = keys + at / kPanelRows * kPanelRows * head_dim + at % kPanelRows;
  });
  for (std::size_t g = 0; g < n_groups; ++g) {
    VF s[R][kKeyVectors];
    Unroll<R * kKeyVectors>([&](auto i) TRITIUM_LAMBDA { s[i / kKeyVectors][i % kKeyVectors] = hn::Zero(DF()); });
    const std::size_t end = (g + 1) * group < head_dim ? (g + 1) * group : head_dim;
    for (std::size_t i = g * group; i < end; ++i) {
      PrefetchLines<kKeys * sizeof(T)>(keys + (key + kKeysAhead) * head_dim + i * kKeys);
      VF k[kKeyVectors];
      Unroll<kKeyVectors>([&](auto c) TRITIUM_LAMBDA { k[c] = LoadKv(base[c] + i * kPanelRows); });
      Unroll<R>([&](auto r) TRITIUM_LAMBDA {
        const VF x = hn::Set(DF(), q[r][i]);
        Unroll<kKeyVectors>([&](auto c) TRITIUM_LAMBDA { s[r][c] = hn::MulAdd(x, k[c], s[r][c]); });
      });
    }
    Unroll<kKeyVectors>([&](auto c) TRITIUM_LAMBDA {
      const std::size_t at = key + c * kLanes;
      if constexpr (kScaled) {  // running sums wait in memory: there are registers for one set alone
        const float* t_at = scales + (at / kPanelRows * n_groups + g) * kPanelRows + at % kPanelRows;
        PrefetchLines<kLanes * sizeof(float)>(t_at + kKeysAhead * n_groups);
        const VF t = hn::LoadU(DF(), t_at);
        Unroll<R>([&](auto r) TRITIUM_LAMBDA {
          const VF sum = g == 0 ? hn::Zero(DF()) : hn::LoadU(DF(), scores[r] + at);
          hn::StoreU(hn::MulAdd(s[r][c], t, sum), DF(), scores[r] + at);
        });
      } else {
        Unroll<R>([&](auto r) TRITIUM_LAMBDA { hn::StoreU(s[r][c], DF(), scores[r] + at); });
      }
    });
  }
}

/// Sums of p_j v_j of R queries for NV vectors of the value rows, keys [first, last).
template <class T, std::size_t R, std::size_t NV>
HWY_INLINE void ValueTile(const float (*p)[kAttentionSegment], std::size_t first, std::size_t last, const T* values,
                          std::size_t stride, float* const* out, std::size_t column) {
  VF o[R][NV];
  Unroll<R * NV>([&](auto i) TRITIUM_LAMBDA { o[i / NV][i % NV] = hn::Zero(DF()); });
  for (std::size_t j = first; j < last; ++j) {
    PrefetchLines<NV * kLanes * sizeof(T)>(values + (j + kValuesAhead) * stride + column);
    VF v[NV];
    Unroll<NV>([&](auto c) TRITIUM_LAMBDA { v[c] = LoadKv(values + j * stride + column + c * kLanes); });
    Unroll<R>([&](auto r) TRITIUM_LAMBDA {
      const VF w = hn::Set(DF(), p[r][j]);
      Unroll<NV>([&](auto c) TRITIUM_LAMBDA { o[r][c] = hn::MulAdd(w, v[c], o[r][c]); });
    });
  }
  Unroll<R * NV>([&](auto i)
                     TRITIUM_LAMBDA { hn::StoreU(o[i / NV][i % NV], DF(), out[i / NV] + column + i % NV * kLanes); });
}

template <class T, std::size_t R>
inline HWY_NOINLINE void AttentionTile(const AttentionArgs& a, std::size_t first_query) {
  HWY_ALIGN float scores[R][kAttentionSegment];
  const float* q[R];
  float* out[R];
  std::size_t begin[R];  // live keys of each query, relative to the segment
  std::size_t end[R];
  std::size_t first = kAttentionSegment;
  std::size_t last = 0;
  for (std::size_t r = 0; r < R; ++r) {
    const AttentionQuery& query = a.queries[first_query + r];
    q[r] = query.q;
    out[r] = query.out;
    begin[r] = query.first_key > a.first_key ? query.first_key - a.first_key : 0;
    end[r] = query.last_key > a.first_key ? query.last_key - a.first_key : 0;
    if (end[r] > kAttentionSegment) end[r] = kAttentionSegment;
    if (begin[r] > end[r]) begin[r] = end[r];
    if (begin[r] == end[r]) continue;  // no live key here: it must not make others look at keys that nobody wrote
    if (begin[r] < first) first = begin[r];
    if (end[r] > last) last = end[r];
  }
  if (first > last) first = last;
  constexpr bool kScaled = std::is_same_v<T, std::int8_t>;
  constexpr std::size_t kKeys = kKeyVectors * kLanes;
  const T* keys = static_cast<const T*>(a.keys);
  const std::size_t from = first / kKeys * kKeys;
  for (std::size_t key = from; key < last; key += kKeys)
    ScoreTile<T, R>(q, a.head_dim, keys, key, a.key_scales, scores);
  const std::size_t to = round_up(last, kPanelRows);
  const VF scale = hn::Set(DF(), a.scale);
  const VF cap = hn::Set(DF(), a.soft_cap);
  const VF inverse_cap = hn::Set(DF(), a.soft_cap == 0.0f ? 0.0f : 1.0f / a.soft_cap);
  for (std::size_t r = 0; r < R; ++r) {
    float* s = scores[r];
    for (std::size_t j = from; j < to; j += kLanes) {
      VF v = hn::Mul(hn::LoadU(DF(), s + j), scale);
      if (a.soft_cap != 0.0f) v = hn::Mul(Tanh(DF(), hn::Mul(v, inverse_cap)), cap);
      hn::StoreU(v, DF(), s + j);
    }
    // Keys outside the query's range (some were never written) end as exact zeros, which no later sum can notice.
    const auto set_dead = [&](float value) TRITIUM_LAMBDA {
      for (std::size_t j = from; j < begin[r]; ++j) s[j] = value;
      for (std::size_t j = end[r] > from ? end[r] : from; j < to; ++j) s[j] = value;
    };
    set_dead(-HUGE_VALF);
    VF most = hn::Set(DF(), kLeastScore);
    for (std::size_t j = from; j < to; j += kLanes) most = hn::Max(most, hn::LoadU(DF(), s + j));
    const float top = hn::ReduceMax(DF(), most);
    const VF m = hn::Set(DF(), top);
    VF total[kVecs];  // 16 partial sums, folded in one tree: the same floats on every target
    Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA { total[v] = hn::Zero(DF()); });
    for (std::size_t j = from; j < to; j += kPanelRows) {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        const std::size_t at = j + v * kLanes;
        const VF x = hn::Sub(hn::LoadU(DF(), s + at), m);
        const VF p = hn::IfThenElse(hn::IsNaN(x), x, ExpNonPositive(DF(), x));
        total[v] = hn::Add(total[v], p);
        if constexpr (kScaled) {
          PrefetchLines<kLanes * sizeof(float)>(a.value_scales + at + kKeysAhead);
          hn::StoreU(hn::Mul(p, hn::LoadU(DF(), a.value_scales + at)), DF(), s + at);
        } else {
          hn::StoreU(p, DF(), s + at);
        }
      });
    }
    if constexpr (kScaled) set_dead(0.0f);  // nobody may have written their scales
    *a.queries[first_query + r].max = top;
    *a.queries[first_query + r].sum = FoldLanes(total);
  }
  const T* values = static_cast<const T*>(a.values);
  std::size_t column = 0;
  for (; column + kKeys <= a.value_stride; column += kKeys)
    ValueTile<T, R, kKeyVectors>(scores, first, last, values, a.value_stride, out, column);
  for (; column < a.value_stride; column += kLanes)
    ValueTile<T, R, 1>(scores, first, last, values, a.value_stride, out, column);
}

template <class T, std::size_t R>
HWY_INLINE std::size_t AttentionTiles(const AttentionArgs& a, std::size_t query) {
  for (; query + R <= a.n_queries; query += R) AttentionTile<T, R>(a, query);
  if constexpr (R > 1) return AttentionTiles<T, R - 1>(a, query);
  return query;
}

inline HWY_NOINLINE void AttentionSegment(const AttentionArgs& a) {
  switch (a.type) {
    case KvType::f32: AttentionTiles<float, kQueryTile>(a, 0); return;
    case KvType::f16: AttentionTiles<f16, kQueryTile>(a, 0); return;
    case KvType::int8: AttentionTiles<std::int8_t, kQueryTile>(a, 0); return;
  }
}

/// out = merge of a running (max, sum, out) with a segment's: both weighted by exp of their distance to the larger max.
inline HWY_NOINLINE void AttentionMerge(float* max, float* sum, float* out, float segment_max, float segment_sum,
                                        const float* segment_out, std::size_t n) {
  const float top = *max > segment_max ? *max : segment_max;
  const hn::CappedTag<float, 1> d1;
  const float a = hn::GetLane(ExpNonPositive(d1, hn::Set(d1, *max - top)));
  const float b = hn::GetLane(ExpNonPositive(d1, hn::Set(d1, segment_max - top)));
  const VF va = hn::Set(DF(), a);
  const VF vb = hn::Set(DF(), b);
  ForPieces(n, [&](std::size_t i, std::size_t count) TRITIUM_LAMBDA {
    StorePiece(hn::MulAdd(LoadPiece(segment_out + i, count), vb, hn::Mul(LoadPiece(out + i, count), va)), out + i,
               count);
  });
  *max = top;
  const auto rest = hn::Mul(hn::Set(d1, *sum), hn::Set(d1, a));
  *sum = hn::GetLane(hn::MulAdd(hn::Set(d1, segment_sum), hn::Set(d1, b), rest));
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
