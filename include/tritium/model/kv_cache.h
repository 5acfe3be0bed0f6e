// SPDX-License-Identifier: Apache-2.0
// KvCache: keys and values of every layer in the order attention reads them.
//
// Keys lie in panels of 16 positions, [kv_head][position / 16][head_dim][16]; values in rows, [kv_head][position]
// [head_dim padded to 16]. bf16 lies in pairs, of dimensions in keys, [kv_head][position / 16][head_dim / 2][16][2], and of
// positions in values, [kv_head][position / 2][head_dim padded to 16][2]. int8 has scales behind them: of keys [kv_head][position / 16][groups of dimensions][16], of
// values [kv_head][position]. A layer with a window keeps a ring of whole segments that is as long as the window plus one
// batch; positions are never moved, since keys are rotated for their absolute position before they are stored.
#pragma once

#include <string_view>
#include <vector>

#include "tritium/core/no_throw.h"
#include "tritium/model/spec.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN

/// The name of a type, as --kv takes it.
constexpr std::string_view kv_type_name(KvType type) {
  return type == KvType::f32 ? "f32" : type == KvType::f16 ? "f16" : type == KvType::bf16 ? "bf16" : "int8";
}

/// Keys and values of one sequence. One decoder's; not for several threads but inside its regions.
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
        Layer layer = shape(l, capacity, max_batch, type);
        TRITIUM_ASSIGN(const std::size_t bytes, bytes_of(layer, type));
        if (bytes != 0) {
          TRITIUM_ASSIGN(layer.storage, AlignedBuffer::allocate(bytes));
        }
        cache.bytes_ += bytes;
        cache.layers_.push_back(std::move(layer));
      }
      return cache;
    });
  }
  /// What create() would allocate. Errors: out_of_range.
  static Result<std::size_t> bytes_needed(const ModelSpec& spec, std::size_t capacity, std::size_t max_batch,
                                          KvType type) {
    std::size_t sum = 0;
    for (const LayerSpec& l : spec.layers) {
      TRITIUM_ASSIGN(const std::size_t bytes, bytes_of(shape(l, capacity, max_batch, type), type));
      TRITIUM_ASSIGN(sum, checked_add(sum, bytes));
    }
    return sum;
  }

  [[nodiscard]] KvType type() const { return type_; }               ///< How numbers are stored.
  [[nodiscard]] std::size_t capacity() const { return capacity_; }  ///< Positions.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }        ///< Bytes of all layers.
  /// Numbers from one position's value to the next, a multiple of 16.
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

  /// Writes one position of one KV head: k and v are head_dim floats. A NaN or an infinity among them reaches every query
  /// that sees the position.
  void store(const KernelTable& kernels, std::size_t layer, std::size_t head, std::size_t position, const float* k,
             const float* v) {
    Layer& l = layers_[layer];
    const std::size_t slot = position % l.positions;
    const std::size_t group = type_ == KvType::int8 ? kKeyGroup : l.head_dim;
    float* scale = key_scales(l, head, slot / kPanelRows * kPanelRows);
    for (std::size_t i = 0; i < l.head_dim; i += group) {
      kernels.store_kv(k + i, std::min(group, l.head_dim - i), kPanelRows, type_,
                       at(keys(l, head), kv_key_at(type_, l.key_width, slot, i)),
                       scale == nullptr ? nullptr : scale + i / group * kPanelRows + slot % kPanelRows);
    }
    const std::size_t stride = kv_pair(type_);
    std::byte* row = at(values(l, head), kv_value_at(type_, l.value_stride, slot));
    kernels.store_kv(v, l.head_dim, stride, type_, row, value_scales(l, head, slot));
    for (std::size_t i = l.head_dim; i < l.value_stride; ++i)
      std::memset(at(row, i * stride), 0, kv_element_bytes(type_));
  }

  /// Keys and values of the segment that begins at `first_key`, a multiple of kAttentionSegment.
  void segment(std::size_t layer, std::size_t head, std::size_t first_key, AttentionArgs& args) {
    Layer& l = layers_[layer];
    const std::size_t slot = first_key % l.positions;
    args.keys = at(keys(l, head), slot * l.key_width);
    args.values = at(values(l, head), slot * l.value_stride);
    args.key_scales = key_scales(l, head, slot);
    args.value_scales = value_scales(l, head, slot);
    args.type = type_;
    args.head_dim = l.head_dim;
    args.value_stride = l.value_stride;
    args.first_key = first_key;
  }

 private:
  struct Layer {
    std::size_t n_heads = 0;
    std::size_t head_dim = 0;
    std::size_t key_width = 0;  ///< dimensions that a key has room for
    std::size_t value_stride = 0;
    std::size_t window = 0;
    std::size_t positions = 0;  ///< a multiple of kAttentionSegment; slot = position mod positions
    AlignedBuffer storage;      ///< keys of all heads, then values of all heads, then the scales of either
  };

  /// A layer without keys of its own has no positions.
  static Layer shape(const LayerSpec& l, std::size_t capacity, std::size_t max_batch, KvType type) {
    Layer layer;
    if (l.mixer != Mixer::attention || l.kv_source >= 0) return layer;
    layer.n_heads = l.n_kv_heads;
    layer.head_dim = l.head_dim;
    layer.key_width = kv_key_width(type, l.head_dim);
    layer.window = l.window;
    layer.value_stride = round_up(l.head_dim, kPanelRows);
    std::size_t positions = capacity;
    if (l.window != 0) positions = std::min(positions, l.window + max_batch);
    // One more segment than the ring strictly needs: its first and its last one may both be partly live.
    layer.positions = round_up(positions, kAttentionSegment) + (positions < capacity ? kAttentionSegment : 0);
    return layer;
  }
  static Result<std::size_t> bytes_of(const Layer& l, KvType type) {
    TRITIUM_ASSIGN(const std::size_t rows, checked_mul(l.n_heads, l.positions));
    const std::size_t scales = type == KvType::int8 ? div_up(l.head_dim, kKeyGroup) + 1 : 0;
    return checked_mul(rows, (l.key_width + l.value_stride) * kv_element_bytes(type) + scales * sizeof(float));
  }

  [[nodiscard]] std::byte* at(std::byte* base, std::size_t element) const {
    return base + element * kv_element_bytes(type_);
  }
  [[nodiscard]] std::byte* keys(Layer& l, std::size_t head) const {
    return at(l.storage.data(), head * l.positions * l.key_width);
  }
  [[nodiscard]] std::byte* values(Layer& l, std::size_t head) const {
    return at(l.storage.data(), l.n_heads * l.positions * l.key_width + head * l.positions * l.value_stride);
  }
  /// Of the panel that begins at `slot`, and of the value of `slot`; null for types without scales.
  [[nodiscard]] float* key_scales(Layer& l, std::size_t head, std::size_t slot) const {
    if (type_ != KvType::int8) return nullptr;
    return reinterpret_cast<float*>(values(l, l.n_heads)) + (head * l.positions + slot) * div_up(l.head_dim, kKeyGroup);
  }
  [[nodiscard]] float* value_scales(Layer& l, std::size_t head, std::size_t slot) const {
    if (type_ != KvType::int8) return nullptr;
    return key_scales(l, l.n_heads, 0) + head * l.positions + slot;
  }

  KvType type_ = KvType::f16;
  std::size_t capacity_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Layer> layers_;
};

TRITIUM_NAMESPACE_END
