// SPDX-License-Identifier: Apache-2.0
// Models with random weights for any ModelSpec, built in memory: policies and sizes that no golden file has.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "io/test_files.h"
#include "tritium/format/pack.h"
#include "tritium/model/decoder.h"

class SyntheticModel {
 public:
  /// What a layer has besides the plain Llama parts.
  struct Parts {
    bool attn_bias = false, mlp_bias = false, norm_bias = false;
    bool qk_norm = false, sub_norm = false, post_norm = false;
    bool apart = false;  ///< gate and up in two matrices
  };

  static std::unique_ptr<tritium::Model> make(const tritium::ModelSpec& spec, const Parts& parts, unsigned seed,
                                              tritium::PackFormat format = tritium::PackFormat::f32) {
    SyntheticModel s(seed, format);
    auto model = std::make_unique<tritium::Model>();
    model->spec = spec;
    tritium::Weights& w = model->weights;
    w.embedding = s.matrix(spec.vocab, spec.hidden, 0.5f);
    if (!spec.tied_head) w.head = s.linear(spec.vocab, spec.hidden, parts.mlp_bias, 2.0f);
    w.output_norm = s.norm(spec.hidden, parts.norm_bias);
    for (const tritium::LayerSpec& l : spec.layers) {
      tritium::LayerWeights layer;
      const std::size_t width = l.n_heads * l.head_dim;
      layer.attn_norm = s.norm(spec.hidden, parts.norm_bias);
      layer.qkv = s.linear(width + 2 * l.n_kv_heads * l.head_dim, spec.hidden, parts.attn_bias, 1.5f);
      if (parts.qk_norm)
        layer.q_norm = s.norm(l.head_dim, parts.norm_bias), layer.k_norm = s.norm(l.head_dim, parts.norm_bias);
      if (parts.sub_norm)
        layer.attn_sub_norm = s.norm(width, parts.norm_bias), layer.ffn_sub_norm = s.norm(l.ffn_dim, parts.norm_bias);
      layer.attn_output = s.linear(spec.hidden, width, parts.attn_bias);
      if (parts.post_norm)
        layer.attn_post_norm = s.norm(spec.hidden, parts.norm_bias),
        layer.ffn_post_norm = s.norm(spec.hidden, parts.norm_bias);
      if (spec.residual == tritium::Residual::sequential) layer.ffn_norm = s.norm(spec.hidden, parts.norm_bias);
      if (!spec.gated_mlp) {
        layer.up = s.linear(l.ffn_dim, spec.hidden, parts.mlp_bias);
      } else if (parts.apart) {
        layer.gate = s.linear(l.ffn_dim, spec.hidden, parts.mlp_bias);
        layer.up = s.linear(l.ffn_dim, spec.hidden, parts.mlp_bias);
      } else {
        layer.gate_up.parts.push_back(s.gate_up(l.ffn_dim, spec.hidden));
      }
      layer.down = s.linear(spec.hidden, l.ffn_dim, parts.mlp_bias);
      w.layers.push_back(std::move(layer));
    }
    return model;
  }

  /// A small Llama-shaped spec to change.
  static tritium::ModelSpec spec(std::size_t n_layers = 2) {
    tritium::ModelSpec s;
    s.hidden = 40;
    s.vocab = 67;
    s.context = 256;
    s.tied_head = true;
    s.attention_scale = 0.25f;
    tritium::RopeSpec rope;
    rope.rotary_dim = 20;
    rope.original_context = 256;
    s.ropes.push_back(rope);
    tritium::LayerSpec layer;
    layer.n_heads = 4;
    layer.n_kv_heads = 2;
    layer.head_dim = 20;
    layer.ffn_dim = 56;
    s.layers.assign(n_layers, layer);
    return s;
  }

 private:
  SyntheticModel(unsigned seed, tritium::PackFormat format) : random_(seed), format_(format) {}

  std::vector<float> values(std::size_t n, float deviation, float mean = 0) {
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> out(n);
    for (float& v : out) v = normal(random_);
    return out;
  }
  static tritium::StoredMatrix stored(const std::vector<float>& v, std::size_t n, std::size_t k) {
    return {tritium::TensorType::f32, reinterpret_cast<const std::byte*>(v.data()), n, k};
  }
  tritium::PackedMatrix matrix(std::size_t n, std::size_t k, float deviation) {
    const std::vector<float> v = values(n * k, deviation);
    const tritium::StoredMatrix w = stored(v, n, k);
    return value_of(tritium::pack(&w, 1, format_, false, {}));
  }
  tritium::PackedMatrix gate_up(std::size_t n, std::size_t k) {
    const float deviation = 1 / std::sqrt(static_cast<float>(k));
    const std::vector<float> gate = values(n * k, deviation);
    const std::vector<float> up = values(n * k, deviation);
    const tritium::StoredMatrix both[] = {stored(gate, n, k), stored(up, n, k)};
    return value_of(tritium::pack(both, 2, format_, true, {}));
  }
  tritium::Linear linear(std::size_t n, std::size_t k, bool bias, float gain = 1) {
    tritium::Linear out;
    out.parts.push_back(matrix(n, k, gain / std::sqrt(static_cast<float>(k))));
    if (bias) out.bias = array(values(n, 0.3f), tritium::round_up(n, tritium::kPanelRows) + tritium::kPanelRows);
    return out;
  }
  tritium::Norm norm(std::size_t n, bool bias) {
    tritium::Norm out;
    out.weight = array(values(n, 0.1f, 1.0f), n);
    if (bias) out.bias = array(values(n, 0.2f), n);
    return out;
  }
  static tritium::Array<float> array(const std::vector<float>& v, std::size_t padded) {
    auto out = value_of(tritium::Array<float>::allocate_zeroed(padded));
    std::copy(v.begin(), v.end(), out.data());
    return out;
  }

  std::mt19937 random_;
  tritium::PackFormat format_;
};
