// SPDX-License-Identifier: Apache-2.0
// KvCache: keys and values of every layer in the order attention reads them.
//
// Keys lie in panels of 16 positions, [kv_head][position / 16][head_dim][16]; values in rows, [kv_head][position]
// [head_dim padded to 16]. A layer with a window keeps a ring of whole segments that is as long as the window plus one
// batch; positions are never moved, since keys are rotated for their absolute position before they are stored.
#pragma once

#include <vector>

#include "tritium/core/no_throw.h"
#include "tritium/model/spec.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN

enum class KvType : std::uint8_t { f32, f16 };

class KvCache {
 public:
  /// Room for `capacity` positions, written in batches of at most `max_batch`. Errors: out_of_memory, out_of_range.
  static Result<KvCache> create(const ModelSpec& spec, std::size_t capacity, std::size_t max_batch, KvType type) {
    return no_throw([&]() -> Result<KvCache> {
      KvCache cache;
      cache.type_ = type;
      cache.capacity_ = capacity;
      cache.layers_.reserve(spec.n_layers());
      for (const LayerSpec& l : spec.layers) {
        Layer layer;
        if (l.mixer != Mixer::attention || l.kv_source >= 0) {  // no keys of its own
          cache.layers_.push_back(std::move(layer));
          continue;
        }
        layer.n_heads = l.n_kv_heads;
        layer.head_dim = l.head_dim;
        layer.window = l.window;
        layer.value_stride = round_up(l.head_dim, kPanelRows);
        std::size_t positions = capacity;
        if (l.window != 0) positions = std::min(positions, l.window + max_batch);
        // One more segment than the ring strictly needs: its first and its last one may both be partly live.
        positions = round_up(positions, kAttentionSegment) + (positions < capacity ? kAttentionSegment : 0);
        layer.positions = positions;
        TRITIUM_ASSIGN(std::size_t elements,
                       checked_mul(layer.n_heads * layer.positions, layer.head_dim + layer.value_stride));
        TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(elements, cache.element_bytes()));
        TRITIUM_ASSIGN(layer.storage, AlignedBuffer::allocate(bytes));
        cache.bytes_ += bytes;
        cache.layers_.push_back(std::move(layer));
      }
      return cache;
    });
  }

  [[nodiscard]] KvType type() const { return type_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool half() const { return type_ == KvType::f16; }
  [[nodiscard]] std::size_t value_stride(std::size_t layer) const { return layers_[layer].value_stride; }

  /// Whether every key that queries from `position` on may see is still there, after `written` positions were written.
  [[nodiscard]] bool holds(std::size_t position, std::size_t written) const {
    for (const Layer& l : layers_) {
      if (written <= l.positions || l.window == 0) continue;
      const std::size_t first = position + 1 > l.window ? position + 1 - l.window : 0;
      if (first / kAttentionSegment * kAttentionSegment + l.positions < written) return false;
    }
    return true;
  }

  /// Writes one position of one KV head: k and v are head_dim floats.
  void store(const KernelTable& kernels, std::size_t layer, std::size_t head, std::size_t position, const float* k,
             const float* v) {
    Layer& l = layers_[layer];
    const std::size_t slot = position % l.positions;
    kernels.store_kv(k, l.head_dim, kPanelRows, half(),
                     at(keys(l, head), slot / kPanelRows * kPanelRows * l.head_dim + slot % kPanelRows));
    std::byte* row = at(values(l, head), slot * l.value_stride);
    kernels.store_kv(v, l.head_dim, 1, half(), row);
    const std::size_t padding = l.value_stride - l.head_dim;
    if (padding != 0) std::memset(row + l.head_dim * element_bytes(), 0, padding * element_bytes());
  }

  /// Keys and values of the segment that begins at `first_key`, a multiple of kAttentionSegment.
  void segment(std::size_t layer, std::size_t head, std::size_t first_key, AttentionArgs& args) {
    Layer& l = layers_[layer];
    const std::size_t slot = first_key % l.positions;
    args.keys = at(keys(l, head), slot * l.head_dim);
    args.values = at(values(l, head), slot * l.value_stride);
    args.half = half();
    args.head_dim = l.head_dim;
    args.value_stride = l.value_stride;
    args.first_key = first_key;
  }

 private:
  struct Layer {
    std::size_t n_heads = 0;
    std::size_t head_dim = 0;
    std::size_t value_stride = 0;
    std::size_t window = 0;
    std::size_t positions = 0;  ///< a multiple of kAttentionSegment; slot = position mod positions
    AlignedBuffer storage;      ///< keys of all heads, then values of all heads
  };

  [[nodiscard]] std::size_t element_bytes() const { return half() ? 2 : 4; }
  [[nodiscard]] std::byte* at(std::byte* base, std::size_t element) const { return base + element * element_bytes(); }
  [[nodiscard]] std::byte* keys(Layer& l, std::size_t head) const {
    return at(l.storage.data(), head * l.positions * l.head_dim);
  }
  [[nodiscard]] std::byte* values(Layer& l, std::size_t head) const {
    return at(l.storage.data(), l.n_heads * l.positions * l.head_dim + head * l.positions * l.value_stride);
  }

  KvType type_ = KvType::f16;
  std::size_t capacity_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Layer> layers_;
};

TRITIUM_NAMESPACE_END
