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
// bf16 is kept in pairs, two dimensions of a key or two positions of a value, because CPUs multiply and add pairs in one
// instruction, at twice the rate of f32. Queries and probabilities are rounded to bf16 too, on every CPU.
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

/// Floats rounded to bf16, half to even: the lower 16 bits are zero. NaNs are left as they are.
HWY_INLINE VF RoundToBf16(VF x) {
  const hn::RebindToUnsigned<DF> du;
  const auto bits = hn::BitCast(du, x);
  const auto half = hn::Add(hn::Set(du, 0x7FFFu), hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u)));
  const VF rounded = hn::BitCast(DF(), hn::And(hn::Add(bits, half), hn::Set(du, 0xFFFF0000u)));
  return hn::IfThenElse(hn::IsNaN(x), x, rounded);
}

// The two ways of adding products of pairs. Pack() rounds n floats (a multiple of 32) to bf16 in the form that is
// multiplied; `to` may be x. Add() adds what pair i of `x` in that form and the kLanes pairs at(c) make to sums.

/// As floats, one by one: any CPU.
struct PairsFma {
  static constexpr std::size_t kFloats = 2;  ///< that a packed pair takes
  static HWY_INLINE void Pack(const float* x, std::size_t n, float* to) {
    for (std::size_t i = 0; i < n; i += kLanes) hn::StoreU(RoundToBf16(hn::LoadU(DF(), x + i)), DF(), to + i);
  }
  template <std::size_t R, std::size_t N, class At>
  static HWY_INLINE void Add(const float* const* x, std::size_t i, At&& at, VF (&sum)[R][N]) {
    const hn::RebindToUnsigned<DF> du;
    Unroll<2>([&](auto half) TRITIUM_LAMBDA {  // registers for one half of the pairs at a time
      VF y[N];
      Unroll<N>([&](auto c) TRITIUM_LAMBDA {
        const auto pair = at(c);
        y[c] = hn::BitCast(DF(), half == 0 ? hn::ShiftLeft<16>(pair) : hn::And(pair, hn::Set(du, 0xFFFF0000u)));
      });
      Unroll<R>([&](auto r) TRITIUM_LAMBDA {
        const VF v = hn::Set(DF(), x[r][2 * i + half]);
        Unroll<N>([&](auto c) TRITIUM_LAMBDA { sum[r][c] = hn::MulAdd(v, y[c], sum[r][c]); });
      });
    });
  }
};

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
/// AVX512-BF16, which the pass's target lacks: as the dot products, inline assembly (microops-inl.h).
struct PairsDot {
  static constexpr std::size_t kFloats = 1;
  static HWY_INLINE void Pack(const float* x, std::size_t n, float* to) {
    for (std::size_t i = 0; i < n; i += 2 * kLanes) {
      const VF low = hn::LoadU(DF(), x + i);
      const VF high = hn::LoadU(DF(), x + i + kLanes);
      VF pairs;
      asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(pairs.raw) : "v"(high.raw), "v"(low.raw));
      hn::StoreU(pairs, DF(), to + i / 2);
    }
  }
  template <std::size_t R, std::size_t N, class At>
  static HWY_INLINE void Add(const float* const* x, std::size_t i, At&& at, VF (&sum)[R][N]) {
    VF y[N];
    Unroll<N>([&](auto c) TRITIUM_LAMBDA { y[c] = hn::BitCast(DF(), at(c)); });
    Unroll<R>([&](auto r) TRITIUM_LAMBDA {
      const VF v = hn::Set(DF(), x[r][i]);
      Unroll<N>([&](auto c) TRITIUM_LAMBDA { sum[r][c] = Dot(sum[r][c], v, y[c]); });
    });
  }

 private:
  static HWY_INLINE VF Dot(VF sum, VF x, VF y) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(y.raw));
    return sum;
  }
};
#endif

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

/// As ScoreTile, of pairs: adds what dimensions 2 * [first_pair, first_pair + n_pairs) make to scores unless they are the
/// first. x: the queries' dimensions, from the first of these on, as Pairs wants them.
template <class Pairs, std::size_t R>
HWY_INLINE void PairScoreTile(const float* const* x, std::size_t first_pair, std::size_t n_pairs, std::size_t key_pairs,
                              const std::uint32_t* keys, std::size_t key, float (*scores)[kAttentionSegment]) {
  constexpr std::size_t kKeys = kKeyVectors * kLanes;
  const hn::RebindToUnsigned<DF> du;
  const std::uint32_t* base[kKeyVectors];
  Unroll<kKeyVectors>([&](auto c) TRITIUM_LAMBDA {
    const std::size_t at = key + c * kLanes;
    base[c] = keys + (at / kPanelRows * key_pairs + first_pair) * kPanelRows + at % kPanelRows;
  });
  VF s[R][kKeyVectors];
  Unroll<R * kKeyVectors>([&](auto i) TRITIUM_LAMBDA {
    constexpr std::size_t r = i / kKeyVectors;
    constexpr std::size_t c = i % kKeyVectors;
    s[r][c] = first_pair == 0 ? hn::Zero(DF()) : hn::LoadU(DF(), scores[r] + key + c * kLanes);
  });
  for (std::size_t i = 0; i < n_pairs; ++i) {
    PrefetchLines<kKeys * sizeof(*keys)>(keys + (key + kKeysAhead) * key_pairs + (first_pair + i) * kKeys);
    Pairs::Add(x, i, [&](auto c) TRITIUM_LAMBDA { return hn::LoadU(du, base[c] + i * kPanelRows); }, s);
  }
  Unroll<R * kKeyVectors>([&](auto i) TRITIUM_LAMBDA {
    hn::StoreU(s[i / kKeyVectors][i % kKeyVectors], DF(), scores[i / kKeyVectors] + key + i % kKeyVectors * kLanes);
  });
}

/// As ValueTile, of pairs of keys. x: the probabilities from the even key `from` on, as Pairs wants them. The other key of
/// a pair at either end may never have been written: it is left out, since even zero times a NaN is one.
template <class Pairs, std::size_t R, std::size_t NV>
HWY_INLINE void PairValueTile(const float* const* x, std::size_t from, std::size_t first, std::size_t last,
                              const std::uint32_t* values, std::size_t stride, float* const* out, std::size_t column) {
  const hn::RebindToUnsigned<DF> du;
  VF o[R][NV];
  Unroll<R * NV>([&](auto i) TRITIUM_LAMBDA { o[i / NV][i % NV] = hn::Zero(DF()); });
  const struct {
    std::size_t begin, end;
    std::uint32_t mask;
  } parts[] = {{first / 2, div_up(first, 2), 0xFFFF0000u},
               {div_up(first, 2), last / 2, ~0u},
               {last / 2, div_up(last, 2), 0xFFFFu}};
  for (const auto& part : parts) {
    const auto mask = hn::Set(du, part.mask);
    for (std::size_t j = part.begin; j < part.end; ++j) {
      PrefetchLines<NV * kLanes * sizeof(*values)>(values + (j + kValuesAhead / 2) * stride + column);
      const std::uint32_t* row = values + j * stride + column;
      Pairs::Add(
          x, j - from / 2, [&](auto c) TRITIUM_LAMBDA { return hn::And(hn::LoadU(du, row + c * kLanes), mask); }, o);
    }
  }
  Unroll<R * NV>([&](auto i)
                     TRITIUM_LAMBDA { hn::StoreU(o[i / NV][i % NV], DF(), out[i / NV] + column + i % NV * kLanes); });
}

/// Scores of R queries against keys [from, last), in whole blocks of kKeyVectors vectors.
template <class T, class Pairs, std::size_t R>
HWY_INLINE void Scores(const AttentionArgs& a, const float* const* q, std::size_t from, std::size_t last,
                       float (*scores)[kAttentionSegment]) {
  constexpr std::size_t kKeys = kKeyVectors * kLanes;
  if constexpr (std::is_void_v<Pairs>) {
    for (std::size_t key = from; key < last; key += kKeys)
      ScoreTile<T, R>(q, a.head_dim, static_cast<const T*>(a.keys), key, a.key_scales, scores);
  } else {
    constexpr std::size_t kDims = 256;  // of a query at once: 6 KiB of stack
    HWY_ALIGN float rounded[R][kDims];
    const float* x[R];
    const std::size_t key_pairs = div_up(a.head_dim, 2);
    for (std::size_t i = 0; i < a.head_dim; i += kDims) {
      const std::size_t count = a.head_dim - i < kDims ? a.head_dim - i : kDims;
      const std::size_t whole = count / (2 * kPanelRows) * (2 * kPanelRows);
      for (std::size_t r = 0; r < R; ++r) {
        x[r] = rounded[r];
        Pairs::Pack(q[r] + i, whole, rounded[r]);
        if (whole == count) continue;
        HWY_ALIGN float rest[2 * kPanelRows] = {};
        std::memcpy(rest, q[r] + i + whole, (count - whole) * sizeof(float));
        Pairs::Pack(rest, 2 * kPanelRows, rounded[r] + Pairs::kFloats * whole / 2);
      }
      for (std::size_t key = from; key < last; key += kKeys)
        PairScoreTile<Pairs, R>(x, i / 2, div_up(count, 2), key_pairs, static_cast<const std::uint32_t*>(a.keys), key,
                                scores);
    }
  }
}

/// Pairs: void, or how pairs of bf16 are multiplied.
template <class T, class Pairs, std::size_t R>
inline HWY_NOINLINE void AttentionTile(const AttentionArgs& a, std::size_t first_query) {
  constexpr bool kScaled = std::is_same_v<T, std::int8_t>;
  constexpr bool kPaired = !std::is_void_v<Pairs>;
  constexpr std::size_t kKeys = kKeyVectors * kLanes;
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
  const std::size_t from = first / kKeys * kKeys;
  const std::size_t to = round_up(last, kPaired ? 2 * kPanelRows : kPanelRows);
  Scores<T, Pairs, R>(a, q, from, last, scores);
  // Keys outside the query's range (some were never written) end as exact zeros, which no later sum can notice.
  const auto live_or = [&](std::size_t r, std::size_t j, VF v, float otherwise) TRITIUM_LAMBDA {
    if (HWY_LIKELY(j >= begin[r] && j + kLanes <= end[r])) return v;
    const VI at = hn::Iota(DI(), static_cast<std::int32_t>(j));
    const auto live = hn::And(hn::Ge(at, hn::Set(DI(), static_cast<std::int32_t>(begin[r]))),
                              hn::Lt(at, hn::Set(DI(), static_cast<std::int32_t>(end[r]))));
    return hn::IfThenElse(hn::RebindMask(DF(), live), v, hn::Set(DF(), otherwise));
  };
  // Every query takes one step before any takes the next, since a query's own steps wait for each other.
  const VF scale = hn::Set(DF(), a.scale);
  const VF cap = hn::Set(DF(), a.soft_cap);
  const VF inverse_cap = hn::Set(DF(), a.soft_cap == 0.0f ? 0.0f : 1.0f / a.soft_cap);
  float top[R];
  for (std::size_t r = 0; r < R; ++r) {
    VF most = hn::Set(DF(), kLeastScore);
    for (std::size_t j = from; j < to; j += kLanes) {
      VF v = hn::Mul(hn::LoadU(DF(), scores[r] + j), scale);
      if (a.soft_cap != 0.0f) v = hn::Mul(Tanh(DF(), hn::Mul(v, inverse_cap)), cap);
      v = live_or(r, j, v, -HUGE_VALF);
      hn::StoreU(v, DF(), scores[r] + j);
      most = hn::Max(most, v);
    }
    top[r] = hn::ReduceMax(DF(), most);
  }
  const float* p[R];  // from key `from` on
  for (std::size_t r = 0; r < R; ++r) {
    const VF m = hn::Set(DF(), top[r]);
    VF total[kVecs];  // 16 partial sums, folded in one tree: the same floats on every target
    Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA { total[v] = hn::Zero(DF()); });
    for (std::size_t j = from; j < to; j += kPanelRows) {
      Unroll<kVecs>([&](auto v) TRITIUM_LAMBDA {
        const std::size_t at = j + v * kLanes;
        const VF x = hn::Sub(hn::LoadU(DF(), scores[r] + at), m);
        VF e = hn::IfThenElse(hn::IsNaN(x), x, ExpNonPositive(DF(), x));
        total[v] = hn::Add(total[v], e);
        if constexpr (kScaled) {  // nobody may have written the scales of the dead
          PrefetchLines<kLanes * sizeof(float)>(a.value_scales + at + kKeysAhead);
          e = live_or(r, at, hn::Mul(e, hn::LoadU(DF(), a.value_scales + at)), 0.0f);
        }
        hn::StoreU(e, DF(), scores[r] + at);
      });
    }
    *a.queries[first_query + r].max = top[r];
    *a.queries[first_query + r].sum = FoldLanes(total);
    if constexpr (kPaired) Pairs::Pack(scores[r] + from, to - from, scores[r] + from);
    p[r] = scores[r] + from;
  }
  std::size_t column = 0;
  const auto value_tile = [&](auto n_vectors) TRITIUM_LAMBDA {
    if constexpr (kPaired) {
      PairValueTile<Pairs, R, n_vectors>(p, from, first, last, static_cast<const std::uint32_t*>(a.values),
                                         a.value_stride, out, column);
    } else {
      ValueTile<T, R, n_vectors>(scores, first, last, static_cast<const T*>(a.values), a.value_stride, out, column);
    }
  };
  for (; column + kKeys <= a.value_stride; column += kKeys)
    value_tile(std::integral_constant<std::size_t, kKeyVectors>{});
  for (; column < a.value_stride; column += kLanes) value_tile(std::integral_constant<std::size_t, 1>{});
}

template <class T, class Pairs, std::size_t R = kQueryTile>
HWY_INLINE std::size_t AttentionTiles(const AttentionArgs& a, std::size_t query = 0) {
  for (; query + R <= a.n_queries; query += R) AttentionTile<T, Pairs, R>(a, query);
  if constexpr (R > 1) return AttentionTiles<T, Pairs, R - 1>(a, query);
  return query;
}

/// PairsOfTier: how pairs of bf16 are multiplied on CPUs that do so in one instruction.
template <class PairsOfTier>
inline HWY_NOINLINE void AttentionSegment(const AttentionArgs& a) {
  switch (a.type) {
    case KvType::f32: AttentionTiles<float, void>(a); return;
    case KvType::f16: AttentionTiles<f16, void>(a); return;
    case KvType::int8: AttentionTiles<std::int8_t, void>(a); return;
    case KvType::bf16:
      if (a.bf16_dot) {
        AttentionTiles<bf16, PairsOfTier>(a);
      } else {
        AttentionTiles<bf16, PairsFma>(a);
      }
      return;
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
