// SPDX-License-Identifier: Apache-2.0
// ModelSpec: everything that tells one model's graph from another's, as plain data read from a file.
//
// The graph (decoder.h) branches on these policies and never on a family's name; a family (families/*.h) is a function
// that fills them. Dimensions are run-time values: no model size is ever a template argument.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tritium/ops/epilogue.h"

TRITIUM_NAMESPACE_BEGIN

enum class NormKind : std::uint8_t {
  rms,    ///< x / sqrt(mean(x^2) + eps) * w
  layer,  ///< (x - mean) / sqrt(var + eps) * w + b
};

/// How the two halves of a layer meet the residual stream.
enum class Residual : std::uint8_t {
  sequential,  ///< h += Attn(N(h)); h += Mlp(N(h)); a post-norm, where weights have one, wraps each branch
  parallel,    ///< h += Attn(N(h)) + Mlp(N(h)), one norm for both
};

enum class RopeScaling : std::uint8_t {
  none,
  linear,    ///< angles divided by factor
  llama3,    ///< low frequencies divided by factor, high ones kept, a ramp between
  yarn,      ///< a ramp over dimensions, cos and sin scaled
  longrope,  ///< a divisor for each frequency, one set short and one long, cos and sin scaled
  divisors,  ///< a divisor for each frequency, as stored in the file
};

/// One rotary embedding; layers refer to it by index. Pairs are (x_i, x_(i + rotary_dim / 2)) after loading.
struct RopeSpec {
  double base = 10000.0;
  std::size_t rotary_dim = 0;  ///< leading dimensions of a head that are rotated; even
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;    ///< llama3
  double high_freq_factor = 4.0;   ///< llama3
  double beta_fast = 32.0;         ///< yarn
  double beta_slow = 1.0;          ///< yarn
  double magnitude = 1.0;          ///< multiplies cos and sin (yarn, longrope)
  std::size_t original_context = 0;
  std::vector<float> divisors;       ///< of each frequency: divisors, or longrope's short set
  std::vector<float> long_divisors;  ///< longrope, for sequences past original_context
};

struct LayerSpec {
  std::size_t n_heads = 0;
  std::size_t n_kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t ffn_dim = 0;
  std::size_t window = 0;  ///< keys a query sees, itself included; 0: all
  int rope = 0;            ///< index into ModelSpec::ropes; -1: no rotation
};

struct ModelSpec {
  std::string architecture;  ///< as the file names it
  std::string family;        ///< the file under families/ that understood it
  std::string name;          ///< what the file calls the model; may be empty

  std::size_t hidden = 0;
  std::size_t vocab = 0;
  std::size_t context = 0;  ///< positions the model was made for

  NormKind norm = NormKind::rms;
  float norm_eps = 1e-5f;
  Residual residual = Residual::sequential;
  Activation activation = Activation::silu;
  bool gated_mlp = true;         ///< down(act(gate x) * (up x)), else down(act(up x))
  float embedding_scale = 1.0f;  ///< multiplies token embeddings
  float attention_scale = 0.0f;  ///< multiplies q k^T
  float attention_cap = 0.0f;    ///< scores become cap * tanh(score / cap); 0: not
  float logit_cap = 0.0f;
  bool tied_head = false;

  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;

  std::vector<std::int32_t> eos;  ///< ids that end a text, where the file says so

  [[nodiscard]] std::size_t n_layers() const { return layers.size(); }
};

TRITIUM_NAMESPACE_END
