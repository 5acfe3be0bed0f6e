// SPDX-License-Identifier: Apache-2.0
// A decoder-only model in double, one number after the other: the definition that the graph is held against.
//
// It reads weights value by value (PackedMatrix::decode_row) and shares no other code with the library: frequencies,
// norms, attention and activations are written out here. No cache, no batches, no threads.
#pragma once

#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "tritium/model/decoder.h"

namespace reference {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Row decoded(const tritium::PackedMatrix& w, std::size_t row, bool second = false) {
  std::vector<float> values(w.k());
  w.decode_row(row, values.data(), second);
  return Row(values.begin(), values.end());
}

inline double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// A matrix unpacked once, with its bias.
struct Matrix {
  Rows rows;
  Row bias;
  Matrix() = default;
  explicit Matrix(const tritium::Linear& linear) {
    for (const tritium::PackedMatrix& part : linear.parts) {
      for (std::size_t r = 0; r < part.n(); ++r) rows.push_back(decoded(part, r));
    }
    for (std::size_t r = 0; !linear.bias.empty() && r < rows.size(); ++r)
      bias.push_back(static_cast<double>(linear.bias[r]));
  }
  explicit Matrix(const tritium::PackedMatrix& w, bool second = false) {
    for (std::size_t r = 0; r < w.n(); ++r) rows.push_back(decoded(w, r, second));
  }
  [[nodiscard]] Row operator*(const Row& x) const {
    Row y(rows.size());
    for (std::size_t r = 0; r < rows.size(); ++r) y[r] = dot(rows[r], x) + (bias.empty() ? 0.0 : bias[r]);
    return y;
  }
};

/// Angles a position of each pair, by the published formulas.
inline Row frequencies(const tritium::RopeSpec& rope, std::size_t length) {
  using tritium::RopeScaling;
  const auto d = static_cast<double>(rope.rotary_dim);
  const auto original = static_cast<double>(rope.original_context);
  const auto n = static_cast<double>(length);
  double base = rope.base;
  if (rope.scaling == RopeScaling::dynamic_ntk && n > original) {
    base *= std::pow(rope.factor * n / original - (rope.factor - 1), d / (d - 2));
  }
  if (rope.scaling == RopeScaling::qwen_ntk && n > original) {
    const double alpha = std::pow(2.0, std::ceil(std::log2(n / original) + 1)) - 1;
    base *= std::pow(alpha < 1 ? 1 : alpha, d / (d - 2));
  }
  const auto turns_at = [&](double rotations) {
    return d / 2 * std::log(original / (2 * std::numbers::pi * rotations)) / std::log(base);
  };
  double low = turns_at(rope.beta_fast), high = turns_at(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = low < 0 ? 0 : low;
  high = high > d - 1 ? d - 1 : high;
  if (high == low) high += 0.001;
  Row out;
  for (std::size_t i = 0; i < rope.rotary_dim / 2; ++i) {
    const double f = 1 / std::pow(base, 2 * static_cast<double>(i) / d);
    const double wavelength = 2 * std::numbers::pi / f;
    switch (rope.scaling) {
      case RopeScaling::linear: out.push_back(f / rope.factor); break;
      case RopeScaling::llama3: {
        double kept = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
        kept = kept < 0 ? 0 : kept > 1 ? 1 : kept;
        out.push_back(kept * f + (1 - kept) * f / rope.factor);
        break;
      }
      case RopeScaling::yarn: {
        double stretched = (static_cast<double>(i) - low) / (high - low);
        stretched = stretched < 0 ? 0 : stretched > 1 ? 1 : stretched;
        out.push_back(f * (1 - stretched) + f / rope.factor * stretched);
        break;
      }
      case RopeScaling::longrope:
        out.push_back(f /
                      static_cast<double>(length > rope.original_context ? rope.long_divisors[i] : rope.divisors[i]));
        break;
      case RopeScaling::divisors: out.push_back(f / static_cast<double>(rope.divisors[i])); break;
      case RopeScaling::proportional: out.push_back(i < rope.rotated_pairs ? f : 0.0); break;
      default: out.push_back(f);
    }
  }
  return out;
}

class Model {
 public:
  explicit Model(const tritium::Model& model) : spec_(model.spec), weights_(model.weights) {
    embedding_ = Matrix(weights_.embedding.matrix());
    head_ = weights_.head ? Matrix(weights_.head) : embedding_;
    for (const tritium::LayerWeights& w : weights_.layers) {
      Layer layer;
      layer.qkv = Matrix(w.qkv);
      layer.output = Matrix(w.attn_output);
      layer.down = Matrix(w.down);
      if (w.gate_up) {
        layer.gate = Matrix(w.gate_up.parts[0]);
        layer.up = Matrix(w.gate_up.parts[0], true);
      } else {
        if (w.gate) layer.gate = Matrix(w.gate);
        layer.up = Matrix(w.up);
      }
      layers_.push_back(std::move(layer));
    }
  }

  /// Logits of `rows` of the text; `length`: what the rotary embeddings are prepared for, 0: the text's own.
  [[nodiscard]] Rows logits(std::span<const std::int32_t> tokens, const std::vector<std::size_t>& rows,
                            std::size_t length = 0) const {
    if (length == 0) length = tokens.size();
    Rows h;
    for (const std::int32_t id : tokens) {
      h.push_back(embedding_.rows[static_cast<std::size_t>(id)]);
      for (double& x : h.back()) x *= static_cast<double>(spec_.embedding_scale);
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) run_layer(i, h, length);
    Rows out;
    for (const std::size_t r : rows) {
      Row y = head_ * norm(weights_.output_norm, h[r]);
      if (const auto cap = static_cast<double>(spec_.logit_cap); cap != 0) {
        for (double& v : y) v = cap * std::tanh(v / cap);
      }
      out.push_back(std::move(y));
    }
    return out;
  }

 private:
  struct Layer {
    Matrix qkv, output, gate, up, down;
  };

  [[nodiscard]] Row norm(const tritium::Norm& w, const Row& x) const {
    if (!w) return x;
    const auto n = static_cast<double>(x.size());
    double mean = 0, square = 0;
    if (spec_.norm == tritium::NormKind::layer) {
      for (const double v : x) mean += v / n;
    }
    for (const double v : x) square += (v - mean) * (v - mean) / n;
    const double scale = 1 / std::sqrt(square + static_cast<double>(spec_.norm_eps));
    Row y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = (x[i] - mean) * scale * static_cast<double>(w.weight[i]) +
             (w.bias.empty() ? 0.0 : static_cast<double>(w.bias[i]));
    }
    return y;
  }

  [[nodiscard]] double activated(double x) const {
    switch (spec_.activation) {
      case tritium::Activation::silu: return x / (1 + std::exp(-x));
      case tritium::Activation::gelu_tanh:
        return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
      case tritium::Activation::gelu_erf: return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
      case tritium::Activation::relu2: return x > 0 ? x * x : 0;
      case tritium::Activation::sigmoid: return 1 / (1 + std::exp(-x));
      default: return x;
    }
  }

  static void rotate(double* x, const Row& frequency, std::size_t position, double magnitude) {
    const std::size_t half = frequency.size();
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequency[i];
      const double c = std::cos(angle) * magnitude, s = std::sin(angle) * magnitude;
      const double a = x[i], b = x[i + half];
      x[i] = a * c - b * s;
      x[i + half] = a * s + b * c;
    }
  }

  [[nodiscard]] Row mlp(std::size_t i, const Row& x) const {
    const Layer& layer = layers_[i];
    Row y = layer.up * x;
    if (spec_.gated_mlp) {
      const Row gate = layer.gate * x;
      for (std::size_t j = 0; j < y.size(); ++j) y[j] *= activated(gate[j]);
    } else {
      for (double& v : y) v = activated(v);
    }
    return layer.down * norm(weights_.layers[i].ffn_sub_norm, y);
  }

  void run_layer(std::size_t i, Rows& h, std::size_t length) const {
    const tritium::LayerSpec& l = spec_.layers[i];
    const tritium::LayerWeights& w = weights_.layers[i];
    const Layer& layer = layers_[i];
    const std::size_t d = l.head_dim;
    Rows inputs, q(h.size()), k(h.size()), v(h.size());
    const Row frequency = l.rope < 0 ? Row() : frequencies(spec_.ropes[static_cast<std::size_t>(l.rope)], length);
    for (std::size_t t = 0; t < h.size(); ++t) {
      inputs.push_back(norm(w.attn_norm, h[t]));
      const Row all = layer.qkv * inputs.back();
      for (std::size_t head = 0; head < l.n_heads + 2 * l.n_kv_heads; ++head) {
        Row x(all.begin() + static_cast<std::ptrdiff_t>(head * d),
              all.begin() + static_cast<std::ptrdiff_t>((head + 1) * d));
        if (head < l.n_heads + l.n_kv_heads) {
          x = norm(head < l.n_heads ? w.q_norm : w.k_norm, x);
          if (l.rope >= 0) rotate(x.data(), frequency, t, spec_.ropes[static_cast<std::size_t>(l.rope)].magnitude);
        }
        Row& to = head < l.n_heads ? q[t] : head < l.n_heads + l.n_kv_heads ? k[t] : v[t];
        to.insert(to.end(), x.begin(), x.end());
      }
    }
    const auto cap = static_cast<double>(spec_.attention_cap);
    for (std::size_t t = 0; t < h.size(); ++t) {
      const std::size_t first = l.window == 0 || t + 1 <= l.window ? 0 : t + 1 - l.window;
      Row mixed;
      for (std::size_t head = 0; head < l.n_heads; ++head) {
        const std::size_t kv = head / (l.n_heads / l.n_kv_heads);
        Row p;
        double most = -HUGE_VAL;
        for (std::size_t s = first; s <= t; ++s) {
          double score = 0;
          for (std::size_t j = 0; j < d; ++j) score += q[t][head * d + j] * k[s][kv * d + j];
          score *= static_cast<double>(spec_.attention_scale);
          if (cap != 0) score = cap * std::tanh(score / cap);
          p.push_back(score);
          most = std::max(most, score);
        }
        double sum = 0;
        for (double& x : p) sum += x = std::exp(x - most);
        for (std::size_t j = 0; j < d; ++j) {
          double out = 0;
          for (std::size_t s = first; s <= t; ++s) out += p[s - first] * v[s][kv * d + j];
          mixed.push_back(out / sum);
        }
      }
      const Row branch = norm(w.attn_post_norm, layer.output * norm(w.attn_sub_norm, mixed));
      const bool parallel = spec_.residual == tritium::Residual::parallel;
      const Row second = parallel ? mlp(i, inputs[t]) : Row();
      for (std::size_t j = 0; j < branch.size(); ++j) h[t][j] += branch[j];
      const Row ffn = norm(w.ffn_post_norm, parallel ? second : mlp(i, norm(w.ffn_norm, h[t])));
      for (std::size_t j = 0; j < ffn.size(); ++j) h[t][j] += ffn[j];
    }
  }

  const tritium::ModelSpec& spec_;
  const tritium::Weights& weights_;
  Matrix embedding_, head_;
  std::vector<Layer> layers_;
};

}  // namespace reference
