// SPDX-License-Identifier: Apache-2.0
// Attention segments and their merge on every tier, against attention over all keys at once in double.
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "reference/attention.h"
#include "support/golden_blocks.h"
#include "support/tiers.h"
#include "tritium/core/float16.h"
#include "tritium/ops/isa.h"

using namespace tritium;
using tiers::RunnableTier;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr KvType kTypes[] = {KvType::f32, KvType::f16, KvType::int8, KvType::bf16};
const char* kv_name(KvType type) { return std::array{"f32", "f16", "int8", "bf16"}[static_cast<std::size_t>(type)]; }

/// Element of dimension i of the key of position j, and of the value.
std::size_t key_at(KvType type, std::size_t head_dim, std::size_t j, std::size_t i) {
  if (type == KvType::bf16) return (j / 16 * div_up(head_dim, 2) + i / 2) * 32 + j % 16 * 2 + i % 2;
  return (j / 16 * head_dim + i) * 16 + j % 16;
}
std::size_t value_at(KvType type, std::size_t stride, std::size_t j, std::size_t i) {
  return type == KvType::bf16 ? (j / 2 * stride + i) * 2 + j % 2 : j * stride + i;
}

struct LiveRange {
  std::size_t first, last;
};

struct Problem {
  std::size_t head_dim = 64;
  std::size_t positions = 300;
  KvType type = KvType::f32;
  float scale = 0.125f;
  float cap = 0;
  std::vector<LiveRange> live;  ///< of each query
};

/// A cache as the kernels read it, in which every position that no query may see is NaN.
class Cache {
 public:
  Cache(const Problem& p, golden::Random& random) : p_(p), stride_(round_up(p.head_dim, 16)) {
    const std::size_t padded = round_up(p.positions, kAttentionSegment);
    keys_.assign(padded * width() * element(), std::byte{0xFF});  // NaN in all float types
    values_.assign(padded * stride_ * element(), std::byte{0xFF});
    const std::size_t groups = div_up(p.head_dim, kKeyGroup);
    key_scales_.assign(padded * groups, kNan);
    value_scales_.assign(padded, kNan);
    plain_keys.assign(p.positions, std::vector<float>(p.head_dim, 0.0f));
    plain_values.assign(p.positions, std::vector<float>(p.head_dim, 0.0f));
    for (std::size_t j = 0; j < p.positions; ++j) {
      bool seen = false;
      for (const LiveRange& l : p.live) seen = seen || (j >= l.first && j < l.last);
      if (!seen) continue;
      for (std::size_t g = 0; g < groups; ++g) {
        key_scales_[(j / 16 * groups + g) * 16 + j % 16] = static_cast<float>(0.002 + 0.02 * random.uniform());
      }
      value_scales_[j] = static_cast<float>(0.002 + 0.02 * random.uniform());
      for (std::size_t i = 0; i < p.head_dim; ++i) {
        const float scale = key_scales_[(j / 16 * groups + i / kKeyGroup) * 16 + j % 16];
        plain_keys[j][i] = put(keys_, key_at(p.type, p.head_dim, j, i), scale, random);
        plain_values[j][i] = put(values_, value_at(p.type, stride_, j, i), value_scales_[j], random);
      }
      for (std::size_t i = p.head_dim; i < width(); ++i)
        std::memset(keys_.data() + key_at(p.type, p.head_dim, j, i) * element(), 0, element());
      for (std::size_t i = p.head_dim; i < stride_; ++i) {
        std::memset(values_.data() + value_at(p.type, stride_, j, i) * element(), 0, element());
      }
    }
  }
  [[nodiscard]] AttentionArgs segment(std::size_t first, bool bf16_dot) const {
    AttentionArgs a;
    a.keys = keys_.data() + first * width() * element();
    a.values = values_.data() + first * stride_ * element();
    a.key_scales = key_scales_.data() + first * div_up(p_.head_dim, kKeyGroup);
    a.value_scales = value_scales_.data() + first;
    a.type = p_.type;
    a.head_dim = p_.head_dim;
    a.value_stride = stride_;
    a.first_key = first;
    a.scale = p_.scale;
    a.soft_cap = p_.cap;
    a.bf16_dot = bf16_dot;
    return a;
  }
  [[nodiscard]] std::size_t stride() const { return stride_; }
  std::vector<std::vector<float>> plain_keys;
  std::vector<std::vector<float>> plain_values;

 private:
  [[nodiscard]] std::size_t width() const { return kv_key_width(p_.type, p_.head_dim); }
  [[nodiscard]] std::size_t element() const { return kv_element_bytes(p_.type); }
  float put(std::vector<std::byte>& memory, std::size_t index, float scale, golden::Random& random) const {
    const auto v = static_cast<float>(random.normal());
    if (p_.type == KvType::f32) {
      std::memcpy(memory.data() + index * 4, &v, 4);
      return v;
    }
    if (p_.type == KvType::f16) {
      const f16 h = to_f16(v);
      std::memcpy(memory.data() + index * 2, &h, 2);
      return to_float(h);
    }
    if (p_.type == KvType::bf16) {
      const bf16 h = to_bf16(v);
      std::memcpy(memory.data() + index * 2, &h, 2);
      return to_float(h);
    }
    const auto code = static_cast<std::int8_t>(std::nearbyint(random.uniform() * 254 - 127));
    std::memcpy(memory.data() + index, &code, 1);
    return static_cast<float>(code) * scale;
  }

  const Problem& p_;
  std::size_t stride_;
  std::vector<std::byte> keys_;
  std::vector<std::byte> values_;
  std::vector<float> key_scales_;
  std::vector<float> value_scales_;
};

/// All segments of some queries, merged: head_dim floats a query, not yet divided, then max and sum.
std::vector<std::vector<float>> attend(const RunnableTier& t, const Problem& p, const Cache& cache,
                                       const std::vector<std::vector<float>>& q, const std::vector<std::size_t>& which,
                                       bool bf16_dot = false) {
  const std::size_t n = which.size();
  std::vector<std::vector<float>> result(n, std::vector<float>(p.head_dim, 0.0f));
  std::vector<float> max(n, -1e30f), sum(n, 0.0f);
  for (std::size_t first = 0; first < p.positions; first += kAttentionSegment) {
    std::vector<AttentionQuery> queries(n);
    std::vector<std::vector<float>> out(n, std::vector<float>(cache.stride() + 1, 99.0f));
    std::vector<float> segment_max(n, kNan), segment_sum(n, kNan);
    for (std::size_t i = 0; i < n; ++i) {
      queries[i] = {q[which[i]].data(), out[i].data(),          &segment_max[i],
                    &segment_sum[i],    p.live[which[i]].first, p.live[which[i]].last};
    }
    AttentionArgs a = cache.segment(first, bf16_dot);
    a.queries = queries.data();
    a.n_queries = n;
    t.kernels->attention(a);
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(out[i].back() == 99.0f);
      const LiveRange& l = p.live[which[i]];
      if (l.last <= first || l.first >= first + kAttentionSegment) {  // sees nothing here
        REQUIRE(segment_sum[i] == 0.0f);
        REQUIRE(segment_max[i] == -1e30f);
        for (std::size_t c = 0; c < cache.stride(); ++c) REQUIRE(out[i][c] == 0.0f);
      }
      t.kernels->attention_merge(&max[i], &sum[i], result[i].data(), segment_max[i], segment_sum[i], out[i].data(),
                                 p.head_dim);
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    result[i].push_back(max[i]);
    result[i].push_back(sum[i]);
  }
  return result;
}

void check(const Problem& p, golden::Random& random) {
  const Cache cache(p, random);
  const std::size_t n = p.live.size();
  std::vector<std::vector<float>> q(n, std::vector<float>(p.head_dim));
  for (std::vector<float>& row : q) {
    for (float& v : row) v = static_cast<float>(2 * random.normal());
  }
  std::vector<std::size_t> all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = i;
  const bool rounds = p.type == KvType::bf16;  // queries, which the reference is told, and probabilities
  std::vector<std::vector<float>> magnitudes = cache.plain_values;
  for (std::vector<float>& row : magnitudes) {
    for (float& v : row) v = std::fabs(v);
  }
  std::vector<std::vector<double>> expected, size_of_terms;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<float> x = q[i];
    for (float& v : x) v = rounds ? to_float(to_bf16(v)) : v;
    const auto attention = [&](const std::vector<std::vector<float>>& values) {
      return reference::attention(x.data(), cache.plain_keys, values, p.live[i].first, p.live[i].last,
                                  static_cast<double>(p.scale), static_cast<double>(p.cap));
    };
    expected.push_back(attention(cache.plain_values));
    size_of_terms.push_back(attention(magnitudes));
  }
  std::vector<std::vector<float>> fused;
  for (const RunnableTier& t : tiers::runnable()) {
    for (const bool dot : {false, true}) {
      if (dot && !(rounds && has_bf16_dot())) continue;
      CAPTURE(info(t.tier).name, p.head_dim, p.positions, kv_name(p.type), dot, p.cap, n);
      const std::vector<std::vector<float>> y = attend(t, p, cache, q, all, dot);
      for (std::size_t i = 0; i < n; ++i) {
        CAPTURE(i, p.live[i].first, p.live[i].last);
        double error = 0;
        double size = 1e-30;
        const auto sum = static_cast<double>(y[i][p.head_dim + 1]);
        for (std::size_t c = 0; c < p.head_dim; ++c) {
          const double difference = static_cast<double>(y[i][c]) / sum - expected[i][c];
          error += difference * difference;
          size += expected[i][c] * expected[i][c];
          // Each rounded probability is off by at most 2^-8 of itself, and so is each term of the sum.
          if (rounds) REQUIRE(std::fabs(difference) <= (0x1p-8 + 1e-4) * size_of_terms[i][c] + 1e-30);
        }
        // Scores of up to head_dim roundings, some tens large: a few 1e-6 of each weight; some hundreds: a few 1e-5.
        if (!rounds) REQUIRE(error / size <= (p.scale > 1 ? 1e-8 : 1e-9));
      }
      // One query at a time: the same values (a largest score of zero may have either sign).
      for (std::size_t i = 0; i < n; i += 1 + n / 4) REQUIRE(attend(t, p, cache, q, {i}, dot)[0] == y[i]);
      if (dot) continue;
      if (t.fused && fused.empty()) fused = y;
      for (std::size_t i = 0; t.fused && i < n; ++i) REQUIRE(fused[i] == y[i]);
    }
  }
}

/// Row r of a prefill sees [r + base - window, r + base]; `group` heads share it.
std::vector<LiveRange> causal(std::size_t rows, std::size_t group, std::size_t base, std::size_t window) {
  std::vector<LiveRange> live;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t last = base + r + 1;
    for (std::size_t g = 0; g < group; ++g) live.push_back({window != 0 && last > window ? last - window : 0, last});
  }
  return live;
}

}  // namespace

TEST_CASE("every head dimension", "[attention]") {
  golden::Random random(61);
  for (std::size_t head_dim = 1; head_dim <= 300; head_dim += tiers::sample(100) < 50 ? 23 : 1) {
    Problem p;
    p.head_dim = head_dim;
    p.type = kTypes[head_dim / 2 % 4];
    p.scale = 1 / std::sqrt(static_cast<float>(head_dim));
    p.live = causal(1 + head_dim % 3, 1 + head_dim % 4, 140 + head_dim % 60, 0);
    p.positions = 210;
    check(p, random);
  }
}

TEST_CASE("head dimensions of real models, every cache type, capped and not", "[attention]") {
  golden::Random random(62);
  for (const std::size_t head_dim : {48u, 64u, 80u, 96u, 100u, 128u, 256u}) {
    for (const KvType type : kTypes) {
      for (const float cap : {0.0f, 50.0f, 2.0f}) {
        Problem p;
        p.head_dim = head_dim;
        p.type = type;
        p.cap = cap;
        p.scale = 1 / std::sqrt(static_cast<float>(head_dim));
        p.live = causal(1, 7, 299, 0);
        check(p, random);
      }
    }
  }
}

TEST_CASE("any number of queries, any number of keys", "[attention]") {
  golden::Random random(63);
  for (std::size_t group = 1; group <= 13; ++group) {
    for (const std::size_t keys : {1u, 2u, 15u, 16u, 17u, 63u, 64u, 65u, 127u, 128u, 129u, 256u, 257u, 300u}) {
      Problem p;
      p.head_dim = 40;
      p.type = kTypes[(group + keys) % 4];
      p.positions = keys;
      p.live = causal(1, group, keys - 1, 0);
      check(p, random);
    }
  }
}

TEST_CASE("blocks of a prefill, with windows", "[attention]") {
  golden::Random random(64);
  for (const std::size_t window : {0u, 1u, 5u, 16u, 100u, 128u, 130u}) {
    for (const std::size_t base : {0u, 3u, 120u, 250u}) {
      Problem p;
      p.head_dim = 32;
      p.live = causal(12, 2, base, window);
      p.positions = base + 12;
      for (const KvType type : kTypes) {
        p.type = type;
        check(p, random);
      }
    }
  }
}

TEST_CASE("a query that sees no key of a segment does not make others see unwritten ones", "[attention]") {
  golden::Random random(65);
  Problem p;
  p.head_dim = 24;
  p.positions = 500;
  // The second query's keys all lie after the first segment, most of which nobody has written.
  for (const KvType type : kTypes) {
    p.type = type;
    p.live = {{10, 20}, {300, 310}, {12, 25}, {310, 315}};
    check(p, random);
    p.live = {{400, 420}, {0, 3}};
    check(p, random);
  }
}

TEST_CASE("large and equal scores", "[attention]") {
  golden::Random random(66);
  for (const float scale : {0.0f, 1e-3f, 5.0f}) {  // no difference between keys, hardly any, almost only the best one
    Problem p;
    p.head_dim = 64;
    p.scale = scale;
    p.live = causal(2, 3, 200, 0);
    p.positions = 202;
    for (const KvType type : kTypes) {
      p.type = type;
      check(p, random);
    }
  }
}

TEST_CASE("what is not finite in the cache reaches the queries that see it, and under int8 no other", "[attention]") {
  constexpr std::size_t kDim = 24, kStride = 32, kKeys = kAttentionSegment, kBad = 70;
  golden::Random random(67);
  std::vector<float> q(kDim);
  for (float& v : q) v = static_cast<float>(random.normal());
  for (const RunnableTier& t : tiers::runnable()) {
    for (const KvType type : kTypes) {
      for (const bool in_key : {false, true}) {
        for (const float bad :
             {kNan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
          if (type != KvType::int8 && !std::isnan(bad)) continue;  // floats keep an infinity as it is
          CAPTURE(info(t.tier).name, kv_name(type), in_key, bad);
          const std::size_t element = kv_element_bytes(type);
          const bool paired = type == KvType::bf16;
          std::vector<std::byte> keys(kKeys * kDim * element), values(kKeys * kStride * element);
          std::vector<float> key_scales(kKeys), value_scales(kKeys);
          std::vector<float> x(kStride);
          for (std::size_t j = 0; j < kKeys; ++j) {
            for (float& v : x) v = static_cast<float>(random.normal());
            if (j == kBad && in_key) x[5] = bad;
            t.kernels->store_kv(x.data(), kDim, 16, type, keys.data() + key_at(type, kDim, j, 0) * element,
                                &key_scales[j]);
            x[5] = j == kBad && !in_key ? bad : 1.0f;
            t.kernels->store_kv(x.data(), kStride, paired ? 2 : 1, type,
                                values.data() + value_at(type, kStride, j, 0) * element, &value_scales[j]);
          }
          const LiveRange live[] = {{0, kBad}, {0, kBad + 1}, {kBad, kKeys}, {kBad + 1, kKeys}, {0, kKeys}};
          constexpr std::size_t kQueries = std::size(live);
          float out[kQueries][kStride], max[kQueries], sum[kQueries];
          std::vector<AttentionQuery> queries;
          for (std::size_t i = 0; i < kQueries; ++i) {
            queries.push_back({q.data(), out[i], &max[i], &sum[i], live[i].first, live[i].last});
          }
          AttentionArgs a;
          a.queries = queries.data();
          a.n_queries = kQueries;
          a.keys = keys.data();
          a.values = values.data();
          a.key_scales = key_scales.data();
          a.value_scales = value_scales.data();
          a.type = type;
          a.head_dim = kDim;
          a.value_stride = kStride;
          a.bf16_dot = has_bf16_dot();
          t.kernels->attention(a);
          for (std::size_t i = 0; i < kQueries; ++i) {
            CAPTURE(live[i].first, live[i].last);
            float total_max = -1e30f, total_sum = 0;
            std::vector<float> total(kDim, 0.0f);
            t.kernels->attention_merge(&total_max, &total_sum, total.data(), max[i], sum[i], out[i], kDim);
            const float more_sum = 1;  // another segment, whose scores are far above
            t.kernels->attention_merge(&total_max, &total_sum, total.data(), 500.0f, more_sum, q.data(), kDim);
            t.kernels->scale(total.data(), 1 / total_sum, kDim);
            const bool sees = live[i].first <= kBad && kBad < live[i].last;
            for (std::size_t c = 0; c < kDim; ++c) {
              const bool must_be_nan = sees && (in_key || type == KvType::int8 || c == 5);
              if (must_be_nan) REQUIRE(std::isnan(total[c]));
              if (!sees && (in_key || type == KvType::int8)) REQUIRE(total[c] == q[c]);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("merging with nothing changes nothing", "[attention]") {
  for (const RunnableTier& t : tiers::runnable()) {
    std::vector<float> out(37, 0.0f);
    float max = -1e30f;
    float sum = 0;
    std::vector<float> segment(37);
    for (std::size_t i = 0; i < segment.size(); ++i) segment[i] = static_cast<float>(i) - 11.0f;
    t.kernels->attention_merge(&max, &sum, out.data(), 3.5f, 2.0f, segment.data(), segment.size());
    REQUIRE(max == 3.5f);
    REQUIRE(sum == 2.0f);
    REQUIRE(out == segment);
    const std::vector<float> zeros(37, 0.0f);
    t.kernels->attention_merge(&max, &sum, out.data(), -1e30f, 0.0f, zeros.data(), zeros.size());
    REQUIRE(max == 3.5f);
    REQUIRE(sum == 2.0f);
    REQUIRE(out == segment);
    t.kernels->attention_merge(&max, &sum, out.data(), 3.5f, 2.0f, segment.data(), segment.size());
    REQUIRE(sum == 4.0f);
    REQUIRE(out[30] == 2 * segment[30]);
  }
}
