// SPDX-License-Identifier: Apache-2.0
// T5Gemma: two Gemma 2 stacks. The encoder sees to both sides, the decoder attends to its result between attention and MLP.
//
//   h += N(Attn(N h));   h += N(Cross(N h, M));   h += N(MLP(N h)), each norm its own; caps and windows as Gemma 2's
//
// Even layers have windows: 4096 keys in the decoder, as many to each side in the encoder. Each stack has an embedding of its own;
// the head is the decoder's. Norm weights are stored minus one. Source: transformers modeling_t5gemma.py, masking_utils.py.
#pragma once

#include "tritium/model/families/encoder_decoder_family.h"
#include "tritium/model/families/gemma.h"

TRITIUM_NAMESPACE_BEGIN

namespace t5gemma {

inline constexpr std::string_view kHfArchitectures[] = {"T5GemmaForConditionalGeneration"};

inline constexpr TensorName kEncoderNames[] = {
    {Role::token_embedding, "model.encoder.embed_tokens"},
    {Role::output_norm, "model.encoder.norm"},
    {Role::attn_norm, "model.encoder.layers.%.pre_self_attn_layernorm"},
    {Role::attn_q, "model.encoder.layers.%.self_attn.q_proj"},
    {Role::attn_k, "model.encoder.layers.%.self_attn.k_proj"},
    {Role::attn_v, "model.encoder.layers.%.self_attn.v_proj"},
    {Role::attn_output, "model.encoder.layers.%.self_attn.o_proj"},
    {Role::attn_post_norm, "model.encoder.layers.%.post_self_attn_layernorm"},
    {Role::ffn_norm, "model.encoder.layers.%.pre_feedforward_layernorm"},
    {Role::ffn_gate, "model.encoder.layers.%.mlp.gate_proj"},
    {Role::ffn_up, "model.encoder.layers.%.mlp.up_proj"},
    {Role::ffn_down, "model.encoder.layers.%.mlp.down_proj"},
    {Role::ffn_post_norm, "model.encoder.layers.%.post_feedforward_layernorm"},
};
inline constexpr TensorName kDecoderNames[] = {
    {Role::token_embedding, "model.decoder.embed_tokens"},
    {Role::output_norm, "model.decoder.norm"},
    {Role::output, "lm_head.out_proj", Need::optional},
    {Role::attn_norm, "model.decoder.layers.%.pre_self_attn_layernorm"},
    {Role::attn_q, "model.decoder.layers.%.self_attn.q_proj"},
    {Role::attn_k, "model.decoder.layers.%.self_attn.k_proj"},
    {Role::attn_v, "model.decoder.layers.%.self_attn.v_proj"},
    {Role::attn_output, "model.decoder.layers.%.self_attn.o_proj"},
    {Role::attn_post_norm, "model.decoder.layers.%.post_self_attn_layernorm"},
    {Role::cross_norm, "model.decoder.layers.%.pre_cross_attn_layernorm"},
    {Role::cross_q, "model.decoder.layers.%.cross_attn.q_proj"},
    {Role::cross_k, "model.decoder.layers.%.cross_attn.k_proj"},
    {Role::cross_v, "model.decoder.layers.%.cross_attn.v_proj"},
    {Role::cross_output, "model.decoder.layers.%.cross_attn.o_proj"},
    {Role::cross_post_norm, "model.decoder.layers.%.post_cross_attn_layernorm"},
    {Role::ffn_norm, "model.decoder.layers.%.pre_feedforward_layernorm"},
    {Role::ffn_gate, "model.decoder.layers.%.mlp.gate_proj"},
    {Role::ffn_up, "model.decoder.layers.%.mlp.up_proj"},
    {Role::ffn_down, "model.decoder.layers.%.mlp.down_proj"},
    {Role::ffn_post_norm, "model.decoder.layers.%.post_feedforward_layernorm"},
};

inline Result<EncoderDecoderSpec> from_config(const JsonObject& config) {
  EncoderDecoderSpec both;
  TRITIUM_ASSIGN(const JsonObject encoder, config.get_object("encoder"));
  TRITIUM_ASSIGN(const JsonObject decoder, config.get_object("decoder"));
  TRITIUM_ASSIGN(both.encoder, gemma::from_config_2(encoder));
  TRITIUM_ASSIGN(both.decoder, gemma::from_config_2(decoder));
  both.encoder.bidirectional = true;
  both.encoder.tied_head = true;  // it has none
  both.decoder.memory_dim = both.encoder.hidden;
  TRITIUM_ASSIGN(both.decoder.tied_head, detail::facts_of(config).flag_or("tie_word_embeddings", true));
  both.encoder_names = kEncoderNames;
  both.decoder_names = kDecoderNames;
  return both;
}

inline constexpr EncoderDecoderFamily kFamily{
    .name = "t5gemma", .hf_architectures = kHfArchitectures, .from_config = &from_config, .hf_norm_plus_one = true};

}  // namespace t5gemma

TRITIUM_NAMESPACE_END
