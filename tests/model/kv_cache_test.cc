// SPDX-License-Identifier: Apache-2.0
// The cache: what is stored is read back, rings keep what queries may see, holds() says so and nothing else.

#include "tritium/model/kv_cache.h"

#include <array>
#include <vector>

#include "io/test_files.h"
#include "reference/quantize.h"
#include "tritium/core/float16.h"
#include "tritium/ops/context.h"

using namespace tritium;

namespace {

ModelSpec spec_of(std::size_t n_kv_heads, std::size_t head_dim, std::vector<std::size_t> windows) {
  ModelSpec spec;
  for (const std::size_t window : windows) {
    LayerSpec l;
    l.n_heads = l.n_kv_heads = n_kv_heads;
    l.head_dim = head_dim;
    l.window = window;
    spec.layers.push_back(l);
  }
  return spec;
}

/// A value that tells layer, head, position and dimension, exact in f16.
float value(std::size_t layer, std::size_t head, std::size_t position, std::size_t i, bool is_value) {
  return static_cast<float>((position * 7 + head * 31 + layer * 5 + i * 3 + (is_value ? 1000 : 0)) % 2048);
}

struct Writer {
  KvCache& cache;
  const ModelSpec& spec;
  const KernelTable& kernels;
  void operator()(std::size_t position) {
    for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
      const LayerSpec& l = spec.layers[layer];
      for (std::size_t head = 0; head < l.n_kv_heads; ++head) {
        std::vector<float> k(l.head_dim), v(l.head_dim);
        for (std::size_t i = 0; i < l.head_dim; ++i)
          k[i] = value(layer, head, position, i, false), v[i] = value(layer, head, position, i, true);
        cache.store(kernels, layer, head, position, k.data(), v.data());
      }
    }
  }
};

float element(const void* data, KvType type, std::size_t i, const float* scale) {
  if (type == KvType::int8) return static_cast<float>(static_cast<const std::int8_t*>(data)[i]) * *scale;
  if (type == KvType::f16) return to_float(static_cast<const f16*>(data)[i]);
  return type == KvType::bf16 ? to_float(static_cast<const bf16*>(data)[i]) : static_cast<const float*>(data)[i];
}

/// Whether the cache still has a position, and the padding of its value row is zero.
bool has(KvCache& cache, const ModelSpec& spec, std::size_t layer, std::size_t position) {
  const LayerSpec& l = spec.layers[layer];
  for (std::size_t head = 0; head < l.n_kv_heads; ++head) {
    AttentionArgs args;
    cache.segment(layer, head, position / kAttentionSegment * kAttentionSegment, args);
    const std::size_t at = position % kAttentionSegment;
    std::vector<float> k(l.head_dim), v(args.value_stride);
    for (std::size_t i = 0; i < l.head_dim; ++i) {
      k[i] = value(layer, head, position, i, false);
      v[i] = value(layer, head, position, i, true);
    }
    if (args.type == KvType::int8) {
      reference::round_key_to_codes(k.data(), k.size());
      reference::round_to_codes(v.data(), v.size());
    }
    const bool paired = args.type == KvType::bf16;
    for (std::vector<float>* x : {&k, &v}) {
      for (float& e : *x) e = paired ? to_float(to_bf16(e)) : e;
    }
    for (std::size_t i = 0; i < args.value_stride; ++i) {
      const std::size_t in_row = paired ? (at / 2 * args.value_stride + i) * 2 + at % 2 : at * args.value_stride + i;
      if (element(args.values, args.type, in_row, args.value_scales + at) != v[i]) return false;
      if (i >= l.head_dim) continue;
      const std::size_t panel = at / kPanelRows * kPanelRows * kv_key_width(args.type, l.head_dim);
      const std::size_t in_panel =
          panel + (paired ? i / 2 * 2 * kPanelRows + at % kPanelRows * 2 + i % 2 : i * kPanelRows + at % kPanelRows);
      const std::size_t groups = (l.head_dim + 31) / 32;
      const std::size_t scale = (at / kPanelRows * groups + i / 32) * kPanelRows + at % kPanelRows;
      if (element(args.keys, args.type, in_panel, args.key_scales + scale) != k[i]) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("a cache without windows keeps every position", "[kv_cache]") {
  const OpContext ops = value_of(OpContext::create());
  for (const std::size_t head_dim : {1, 12, 16, 20, 64, 80}) {
    for (const KvType type : {KvType::f32, KvType::f16, KvType::int8, KvType::bf16}) {
      const ModelSpec spec = spec_of(2, head_dim, {0, 0});
      KvCache cache = value_of(KvCache::create(spec, 300, 64, type));
      Writer write{cache, spec, ops.kernels()};
      for (std::size_t p = 0; p < 300; ++p) write(p);
      for (std::size_t p = 0; p < 300; ++p) {
        INFO(head_dim << " " << p);
        REQUIRE(has(cache, spec, 0, p));
        REQUIRE(has(cache, spec, 1, p));
      }
      CHECK(cache.capacity() == 300);
      CHECK(cache.holds(0, 300));
      // Two layers of two heads; int8 has a scale for 32 dimensions of a key and one for a value.
      const std::size_t elements = head_dim + round_up(head_dim, 16);
      const std::size_t position = type == KvType::f32    ? elements * 4
                                   : type == KvType::f16  ? elements * 2
                                   : type == KvType::bf16 ? (elements + head_dim % 2) * 2
                                                          : elements + 4 * ((head_dim + 31) / 32 + 1);
      CHECK(cache.bytes() == 2 * 2 * 384 * position);
      CHECK(value_of(KvCache::bytes_needed(spec, 300, 64, type)) == cache.bytes());
    }
  }
}

TEST_CASE("a ring keeps the window of every row of a batch, however positions and segments fall", "[kv_cache]") {
  const OpContext ops = value_of(OpContext::create());
  for (const std::size_t window : {1, 8, 100, 127, 128, 129, 300}) {
    for (const std::size_t batch : {1, 7, 64, 128, 200}) {
      const KvType type = std::array{KvType::f16, KvType::int8, KvType::bf16}[(window + batch) % 3];
      INFO("window " << window << ", batch " << batch);
      const ModelSpec spec = spec_of(1, 4, {window, 0});
      KvCache cache = value_of(KvCache::create(spec, 4000, batch, type));
      Writer write{cache, spec, ops.kernels()};
      bool kept = true;
      for (std::size_t first = 0; first + batch <= 1500; first += batch) {
        for (std::size_t p = first; p < first + batch; ++p) write(p);
        // The batch's first row sees furthest back, when its last row is already written.
        for (std::size_t p = first + 1 > window ? first + 1 - window : 0; p < first + batch; ++p)
          kept = kept && has(cache, spec, 0, p);
        // A segment may not be two rounds of the ring at once where a query looks: its first live key's neighbours too.
        kept = kept && cache.holds(first, first + batch);
      }
      CHECK(kept);
      // The ring is the window, a batch and at most two segments.
      KvCache unbounded = value_of(KvCache::create(spec_of(1, 4, {0, 0}), 4000, batch, type));
      const std::size_t position = type == KvType::int8 ? 4 + 16 + 8 : (4 + 16) * 2;
      const std::size_t ring = (cache.bytes() - unbounded.bytes() / 2) / position;
      CHECK(value_of(KvCache::bytes_needed(spec, 4000, batch, type)) == cache.bytes());
      CHECK(ring <= window + batch + 2 * kAttentionSegment);
    }
  }
}

TEST_CASE("holds() is true only while every key is there, and for every rewind of up to a batch", "[kv_cache]") {
  const OpContext ops = value_of(OpContext::create());
  for (const std::size_t window : {1, 8, 130}) {
    const std::size_t batch = 50;
    const ModelSpec spec = spec_of(1, 4, {0, window});
    KvCache cache = value_of(KvCache::create(spec, 4000, batch, KvType::f32));
    Writer write{cache, spec, ops.kernels()};
    std::size_t refused = 0;
    for (std::size_t written = 1; written <= 1200; ++written) {
      write(written - 1);
      if (written % 37 != 0) continue;
      for (std::size_t position = 0; position <= written; ++position) {
        bool there = true;
        for (std::size_t p = position + 1 > window ? position + 1 - window : 0; p < position; ++p)
          there = there && has(cache, spec, 1, p);
        const bool holds = cache.holds(position, written);
        if (holds && !there)
          FAIL("window " << window << ": position " << position << " of " << written << " is not held");
        if (!holds && written - position <= batch)
          FAIL("window " << window << ": position " << position << " of " << written << " must be held");
        refused += holds ? 0u : 1u;
      }
    }
    CHECK(refused > 0);
  }
}

TEST_CASE("layers without keys of their own take no memory", "[kv_cache]") {
  ModelSpec spec = spec_of(2, 16, {0, 0, 0});
  const std::size_t one = value_of(KvCache::create(spec_of(2, 16, {0}), 256, 16, KvType::f16)).bytes();
  spec.layers[1].kv_source = 0;
  spec.layers[2].mixer = Mixer::delta_net;
  CHECK(value_of(KvCache::create(spec, 256, 16, KvType::f16)).bytes() == one);
  CHECK(value_of(KvCache::bytes_needed(spec, 256, 16, KvType::f16)) == one);
}

TEST_CASE("a cache that cannot exist is an error", "[kv_cache]") {
  const ModelSpec spec = spec_of(4096, 4096, {0});
  const auto huge = KvCache::create(spec, std::size_t{1} << 40, 1, KvType::f32);
  REQUIRE_FALSE(huge.ok());
  CHECK(is_one_printable_line(huge.error().message));
  const auto past = KvCache::bytes_needed(spec, std::size_t{1} << 60, 1, KvType::int8);
  REQUIRE_FALSE(past.ok());
  CHECK(past.error().code == Errc::out_of_range);
}
