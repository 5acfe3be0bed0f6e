// SPDX-License-Identifier: Apache-2.0
// Mu-style encoder-decoder: small, one embedding for both stacks and the head, rotary embedding, grouped queries, biases everywhere.
//
//   encoder  h += Attn(N h);  h += MLP(N h)                     every token sees every other
//   decoder  g += Attn(N g);  g += Cross(N g, M);  g += MLP(N g)
//   MLP(x) = W2 gelu_tanh(W1 x + b1) + b2;   query head h reads KV head h mod n_kv_heads (is_interleaved: h / group)
//   dual_norm: each branch is normalised again before it is added, as the announced production model's are
//
// The production model's weights are not public; the folder convention (config.json with the reference's hyper-parameters) is ours.
// Sources: the open reference of arXiv 2501.16273 for the block; the public description of Mu for its dual norms.
#pragma once

#include "tritium/model/families/common.h"
#include "tritium/model/families/encoder_decoder_family.h"

TRITIUM_NAMESPACE_BEGIN

namespace mu {

inline constexpr std::string_view kHfArchitectures[] = {"MuForConditionalGeneration"};

inline constexpr Need kMust = Need::required;
#define TRITIUM_MU_ENCODER                                                                                           \
  {Role::token_embedding, "transformer.wte"}, {Role::output_norm, "transformer.ln_e"},                               \
      {Role::attn_norm, "transformer.e.%.ln1"}, {Role::attn_q, "transformer.e.%.attn.q_linear", kMust, kMust},       \
      {Role::attn_k, "transformer.e.%.attn.k_linear", kMust, kMust},                                                 \
      {Role::attn_v, "transformer.e.%.attn.v_linear", kMust, kMust},                                                 \
      {Role::attn_output, "transformer.e.%.attn.out_linear", kMust, kMust}, {Role::ffn_norm, "transformer.e.%.ln2"}, \
      {Role::ffn_up, "transformer.e.%.mlp.fc1", kMust, kMust}, {                                                     \
    Role::ffn_down, "transformer.e.%.mlp.fc2", kMust, kMust                                                          \
  }
#define TRITIUM_MU_DECODER                                                                                             \
  {Role::token_embedding, "transformer.wte"}, {Role::output, "lm_head", Need::optional},                               \
      {Role::output_norm, "transformer.ln_f"}, {Role::attn_norm, "transformer.h.%.ln1"},                               \
      {Role::attn_q, "transformer.h.%.causal_attn.q_linear", kMust, kMust},                                            \
      {Role::attn_k, "transformer.h.%.causal_attn.k_linear", kMust, kMust},                                            \
      {Role::attn_v, "transformer.h.%.causal_attn.v_linear", kMust, kMust},                                            \
      {Role::attn_output, "transformer.h.%.causal_attn.out_linear", kMust, kMust},                                     \
      {Role::cross_norm, "transformer.h.%.ln2"}, {Role::cross_q, "transformer.h.%.cross_attn.q_linear", kMust, kMust}, \
      {Role::cross_k, "transformer.h.%.cross_attn.k_linear", kMust, kMust},                                            \
      {Role::cross_v, "transformer.h.%.cross_attn.v_linear", kMust, kMust},                                            \
      {Role::cross_output, "transformer.h.%.cross_attn.out_linear", kMust, kMust},                                     \
      {Role::ffn_norm, "transformer.h.%.ln3"}, {Role::ffn_up, "transformer.h.%.mlp.fc1", kMust, kMust}, {              \
    Role::ffn_down, "transformer.h.%.mlp.fc2", kMust, kMust                                                            \
  }

inline constexpr TensorName kEncoderNames[] = {TRITIUM_MU_ENCODER};
inline constexpr TensorName kDecoderNames[] = {TRITIUM_MU_DECODER};
inline constexpr TensorName kDualEncoderNames[] = {TRITIUM_MU_ENCODER,
                                                   {Role::attn_post_norm, "transformer.e.%.post_ln1"},
                                                   {Role::ffn_post_norm, "transformer.e.%.post_ln2"}};
inline constexpr TensorName kDualDecoderNames[] = {TRITIUM_MU_DECODER,
                                                   {Role::attn_post_norm, "transformer.h.%.post_ln1"},
                                                   {Role::cross_post_norm, "transformer.h.%.post_ln2"},
                                                   {Role::ffn_post_norm, "transformer.h.%.post_ln3"}};
#undef TRITIUM_MU_ENCODER
#undef TRITIUM_MU_DECODER

inline Result<EncoderDecoderSpec> from_config(const JsonObject& config) {
  const detail::ConfigFacts keys = detail::facts_of(config);
  EncoderDecoderSpec both;
  ModelSpec spec;
  spec.architecture = kHfArchitectures[0];
  TRITIUM_TRY(keys.only<bool>("tie_word_embeddings", true));
  TRITIUM_TRY(keys.only<double>("rope_factor", 1.0));
  TRITIUM_TRY(keys.only<std::string_view>("norm", "rms"));
  TRITIUM_ASSIGN(spec.hidden, keys.size("n_embd", 1, kMaxWidth));
  TRITIUM_ASSIGN(spec.vocab, keys.size("vocab_size", 1, kMaxVocab));
  TRITIUM_ASSIGN(spec.context, keys.size("block_size", 1, kMaxContext));
  TRITIUM_ASSIGN(const std::size_t heads, keys.size("n_head", 1, kMaxHeads));
  TRITIUM_ASSIGN(const std::size_t kv_heads, keys.size("n_kv_head", 1, heads));
  TRITIUM_ASSIGN(const std::size_t width, keys.size("qkv_embd", heads, kMaxWidth));
  TRITIUM_ASSIGN(const std::size_t ffn, keys.size("hidden_dim", 1, kMaxWidth));
  TRITIUM_ASSIGN(const std::size_t encoder_layers, keys.size("n_encoder_layer", 1, kMaxLayers));
  TRITIUM_ASSIGN(const std::size_t decoder_layers, keys.size("n_decoder_layer", 1, kMaxLayers));
  TRITIUM_ASSIGN(const double eps, keys.number_or("norm_eps", 1e-6, 0.0, 1.0));
  TRITIUM_ASSIGN(const bool interleaved, keys.flag_or("is_interleaved", false));
  TRITIUM_ASSIGN(const bool dual, keys.flag_or("dual_norm", false));
  const std::size_t head_dim = width / heads;
  if (width % heads != 0 || head_dim % 2 != 0 || head_dim > kMaxHeadDim) {
    return make_error(Errc::invalid_file, "head counts do not fit", keys.where() + ", key \"qkv_embd\"",
                      "an even width, at most " + std::to_string(kMaxHeadDim) + ", for each of " +
                          std::to_string(heads) + " heads",
                      std::to_string(width));
  }
  RopeSpec rope;
  rope.rotary_dim = head_dim;
  TRITIUM_ASSIGN(rope.base, keys.number_or("rope_theta", 10000.0, 1.0, 1e12));
  spec.ropes.push_back(std::move(rope));
  spec.norm_eps = static_cast<float>(eps);
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  spec.activation = Activation::gelu_tanh;
  spec.gated_mlp = false;
  spec.tied_head = true;
  spec.interleaved_heads = !interleaved;
  both.encoder = both.decoder = spec;
  both.encoder.layers.assign(encoder_layers, {heads, kv_heads, head_dim, ffn});
  both.decoder.layers.assign(decoder_layers, {heads, kv_heads, head_dim, ffn});
  TRITIUM_TRY(detail::check_heads(both.encoder, keys.where()));
  both.encoder.bidirectional = true;
  both.decoder.memory_dim = spec.hidden;
  both.encoder_names = dual ? std::span<const TensorName>(kDualEncoderNames) : kEncoderNames;
  both.decoder_names = dual ? std::span<const TensorName>(kDualDecoderNames) : kDecoderNames;
  both.shared_embedding = true;
  return both;
}

inline constexpr EncoderDecoderFamily kFamily{
    .name = "mu", .hf_architectures = kHfArchitectures, .from_config = &from_config};

}  // namespace mu

TRITIUM_NAMESPACE_END
