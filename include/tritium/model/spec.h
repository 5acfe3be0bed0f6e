// SPDX-License-Identifier: Apache-2.0
// ModelSpec: everything that tells one model's graph from another's, as plain data read from a file.
//
// The graph (decoder.h) branches on these policies and never on a family's name; a family (families/*.h) is a function
// that fills them; gguf_metadata.h compares them one by one, so a new policy goes there too. Dimensions are run-time
// values: no model size is ever a template argument.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tritium/ops/epilogue.h"

TRITIUM_NAMESPACE_BEGIN

/// What a norm computes.
enum class NormKind : std::uint8_t {
  rms,    ///< x / sqrt(mean(x^2) + eps) * w
  layer,  ///< (x - mean) / sqrt(var + eps) * w + b
};

/// How the two halves of a layer meet the residual stream.
enum class Residual : std::uint8_t {
  sequential,  ///< h += Attn(N(h)); h += Mlp(N(h)); a post-norm, where weights have one, wraps each branch
  parallel,    ///< h += Attn(N(h)) + Mlp(N(h)), one norm for both
};

/// How a rotary embedding reaches past the context it was trained for.
enum class RopeScaling : std::uint8_t {
  none,
  linear,       ///< angles divided by factor
  dynamic_ntk,  ///< base grown with the length of the sequence past original_context
  qwen_ntk,     ///< base grown in powers of two of that length (Qwen 1)
  llama3,       ///< low frequencies divided by factor, high ones kept, a ramp between
  yarn,         ///< a ramp over dimensions, cos and sin scaled
  longrope,     ///< a divisor for each frequency, one set for short sequences and one for long ones, cos and sin scaled
  divisors,     ///< a divisor for each frequency, as stored in the file
  proportional,  ///< the first rotated_pairs frequencies as of the whole head, the others zero
};

/// One rotary embedding; layers refer to it by index. Pairs are (x_i, x_(i + rotary_dim / 2)) after loading.
struct RopeSpec {
  double base = 10000.0;                    ///< frequency i is base^(-2i / rotary_dim)
  std::size_t rotary_dim = 0;               ///< leading dimensions of a head that are rotated; even
  RopeScaling scaling = RopeScaling::none;  ///< how frequencies are changed
  double factor = 1.0;                      ///< of the scaling: how many times as long as trained
  double low_freq_factor = 1.0;             ///< llama3
  double high_freq_factor = 4.0;            ///< llama3
  double beta_fast = 32.0;                  ///< yarn
  double beta_slow = 1.0;                   ///< yarn
  bool truncate = true;                     ///< yarn: the ramp's ends are whole dimensions
  double magnitude = 1.0;                   ///< multiplies cos and sin (yarn, longrope)
  double long_magnitude = 0.0;              ///< longrope: the same past original_context; 0: no other one
  std::size_t original_context = 0;  ///< positions before scaling (dynamic_ntk, qwen_ntk, llama3, yarn, longrope)
  std::size_t rotated_pairs = 0;     ///< proportional
  std::vector<float> divisors;       ///< of each frequency: divisors, or longrope's short set
  std::vector<float> long_divisors;  ///< longrope, for sequences past original_context

  /// Whether frequencies depend on how long the sequence gets.
  [[nodiscard]] bool depends_on_length() const {
    return scaling == RopeScaling::dynamic_ntk || scaling == RopeScaling::qwen_ntk || scaling == RopeScaling::longrope;
  }
};

/// BitLinear layers of a checkpoint: ternary weights, and int8 activations with one scale a row that are part of the model.
enum class TernaryScale : std::uint8_t {
  none,      ///< not BitLinears, or a file type that carries its own scale (I2_S, TQ1_0, TQ2_0)
  multiply,  ///< weight_scale is the value of one code step
  divide,    ///< weight_scale is its inverse
  values,    ///< stored as floats or blocks whose values are -s, 0 and s of one s a tensor, or in a type with a scale
  online,    ///< stored as floats: gamma = max(mean|W|, 1e-5) of the tensor, codes round(W / gamma) clipped to -1 .. 1
};

/// How a layer mixes positions.
enum class Mixer : std::uint8_t {
  attention,
  delta_net,  ///< gated delta rule: a recurrent state instead of a cache
};

/// How a mixture-of-experts layer picks experts from its router's logits s.
enum class Router : std::uint8_t {
  softmax,         ///< p = softmax(s), the top k, weighted by p
  softmax_renorm,  ///< the same, weights divided by their sum
  sparse_mixer,    ///< PhiMoE: two maxima, each weighted by a softmax over its near equals
};

/// Sizes of a mixture of experts.
struct MoeSpec {
  std::size_t n_experts = 0;               ///< experts of a layer
  std::size_t top_k = 0;                   ///< of them a token uses
  std::size_t ffn_dim = 0;                 ///< of one expert
  Router router = Router::softmax_renorm;  ///< how they are picked
  float jitter = 0.01f;                    ///< sparse_mixer: how near an equal is
  std::size_t shared_ffn_dim = 0;          ///< of an expert that every token uses; 0: none
  /// Experts add to the layer's own MLP instead of replacing it, each branch between norms of its own.
  bool beside_mlp = false;
  float router_scale = 1.0f;  ///< multiplies what a router's own norm gives it
};

/// Sizes of a delta-rule mixer.
struct DeltaNetSpec {
  std::size_t n_k_heads = 0;       ///< heads of q and k
  std::size_t n_v_heads = 0;       ///< heads of v
  std::size_t k_dim = 0;           ///< numbers of a head of q and k
  std::size_t v_dim = 0;           ///< numbers of a head of v
  std::size_t kernel = 4;          ///< taps of the causal convolution
  bool tiled_value_heads = false;  ///< value head v uses key head v mod n_k_heads, not v / (n_v_heads / n_k_heads)
  [[nodiscard]] std::size_t qk_width() const { return n_k_heads * k_dim; }  ///< Numbers of q, and of k, of all heads.
  [[nodiscard]] std::size_t v_width() const { return n_v_heads * v_dim; }   ///< Numbers of v of all heads.
  /// Numbers that pass the convolution.
  [[nodiscard]] std::size_t conv_width() const { return 2 * qk_width() + v_width(); }
};

/// Sizes and choices of one layer.
struct LayerSpec {
  std::size_t n_heads = 0;         ///< of queries
  std::size_t n_kv_heads = 0;      ///< of keys and values; divides n_heads
  std::size_t head_dim = 0;        ///< numbers of a head
  std::size_t ffn_dim = 0;         ///< width of the MLP's middle
  std::size_t window = 0;          ///< keys a query sees, itself included; 0: all
  int rope = 0;                    ///< index into ModelSpec::ropes; -1: no rotation
  Mixer mixer = Mixer::attention;  ///< attention, or a recurrent state
  bool moe = false;                ///< experts instead of the MLP, or beside it
  int kv_source = -1;     ///< reads the cache of this earlier layer and has no keys and values of its own; -1: its own
  bool v_is_k = false;    ///< values are the keys before their norm and rotation
  float sparsity = 0.0f;  ///< not 0: gate = max(gate - (mean + sparsity * deviation), 0) over each row
};

/// A decoder-only model as run-time data: sizes, and policies under names that say what they do.
struct ModelSpec {
  std::string architecture;  ///< as the file names it
  std::string family;        ///< the file under families/ that understood it
  std::string name;          ///< what the file calls the model; may be empty

  std::size_t hidden = 0;   ///< width of the residual stream
  std::size_t vocab = 0;    ///< ids that have logits
  std::size_t context = 0;  ///< positions the model was made for

  NormKind norm = NormKind::rms;             ///< of all norms
  float norm_eps = 1e-5f;                    ///< added to the mean square or the variance
  Residual residual = Residual::sequential;  ///< how branches meet the stream
  Activation activation = Activation::silu;  ///< of the MLP
  bool gated_mlp = true;                     ///< down(act(gate x) * (up x)), else down(act(up x))
  float embedding_scale = 1.0f;              ///< multiplies token embeddings
  float attention_scale = 0.0f;              ///< multiplies q k^T
  float attention_cap = 0.0f;                ///< scores become cap * tanh(score / cap); 0: not
  float logit_cap = 0.0f;                    ///< logits become cap * tanh(logit / cap); 0: not
  bool tied_head = false;                    ///< the embedding is the output head too

  bool attention_gate = false;  ///< attention's output is multiplied by sigmoid of a gate from the same input
  std::size_t n_streams = 0;    ///< residual streams of which a layer computes the first (model/streams.h); 0: one
  std::size_t laurel_rank =
      0;  ///< > 0: a low-rank branch beside attention: h = (h + x + N(W_r W_l x)) / sqrt(2), x = N(h)
  std::size_t per_layer_dim = 0;    ///< > 0: each layer adds what it makes of its slice of a second embedding
  std::size_t per_layer_vocab = 0;  ///< rows of that embedding
  bool bidirectional = false;  ///< an encoder: the tokens of a batch all see each other; a window reaches to both sides
  std::size_t memory_dim = 0;  ///< > 0: layers also attend to rows of this width, an encoder's result
  bool interleaved_heads = false;  ///< query head h reads KV head h mod n_kv_heads, not h / (n_heads / n_kv_heads)
  bool hadamard_mlp = false;       ///< the MLP's middle is rotated before its down projection (model/hadamard.h)
  bool value_norm = false;         ///< values are RMS-normalised without a weight
  std::size_t log_n_context = 0;   ///< > 0: queries past it are scaled by ln(position + 1) / ln(log_n_context)
  TernaryScale ternary = TernaryScale::none;  ///< linear layers are BitLinears: what is stored beside their codes

  std::vector<RopeSpec> ropes;    ///< layers refer to them by index
  std::vector<LayerSpec> layers;  ///< first to last
  MoeSpec moe;                    ///< of layers that have experts
  DeltaNetSpec delta_net;         ///< of layers that have a recurrent state

  std::size_t draft_layers =
      0;  ///< layers that the file has behind the last one, for predicting more than one token: not loaded

  std::vector<std::int32_t> eos;  ///< ids that end a text, where the file says so

  [[nodiscard]] std::size_t n_layers() const { return layers.size(); }  ///< Layers.
};

TRITIUM_NAMESPACE_END
