// SPDX-License-Identifier: Apache-2.0
// Phi-1, Phi-1.5, Phi-2: parallel blocks, LayerNorm, biases everywhere, partial rotary embedding, an ungated MLP.
//
//   u = LN(h);   h += Wo attn(RoPE(Wq u + bq), RoPE(Wk u + bk), Wv u + bv) + bo + W2 gelu_tanh(W1 u + b1) + b2
//
// The head has a bias and is not tied. GGUF (architecture "phi2") may fuse q, k and v, writes no rotary base, and its rows
// are not permuted. Source: transformers modeling_phi.py; llama.cpp's converter.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace phi {

inline constexpr std::string_view kGgufArchitectures[] = {"phi2"};
inline constexpr std::string_view kHfArchitectures[] = {"PhiForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    {Role::output_norm, "output_norm", Need::required, Need::required},
    {Role::output, "output", Need::required, Need::required},
    {Role::attn_norm, "blk.%.attn_norm", Need::required, Need::required},
    {Role::attn_qkv, "blk.%.attn_qkv", Need::optional, Need::required},
    {Role::attn_q, "blk.%.attn_q", Need::required, Need::required},
    {Role::attn_k, "blk.%.attn_k", Need::required, Need::required},
    {Role::attn_v, "blk.%.attn_v", Need::required, Need::required},
    {Role::attn_output, "blk.%.attn_output", Need::required, Need::required},
    {Role::ffn_up, "blk.%.ffn_up", Need::required, Need::required},
    {Role::ffn_down, "blk.%.ffn_down", Need::required, Need::required},
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    {Role::output_norm, "model.final_layernorm", Need::required, Need::required},
    {Role::output, "lm_head", Need::required, Need::required},
    {Role::attn_norm, "model.layers.%.input_layernorm", Need::required, Need::required},
    {Role::attn_q, "model.layers.%.self_attn.q_proj", Need::required, Need::required},
    {Role::attn_k, "model.layers.%.self_attn.k_proj", Need::required, Need::required},
    {Role::attn_v, "model.layers.%.self_attn.v_proj", Need::required, Need::required},
    {Role::attn_output, "model.layers.%.self_attn.dense", Need::required, Need::required},
    {Role::ffn_up, "model.layers.%.mlp.fc1", Need::required, Need::required},
    {Role::ffn_down, "model.layers.%.mlp.fc2", Need::required, Need::required},
};

inline void finish(ModelSpec& spec) {
  spec.residual = Residual::parallel;
  spec.gated_mlp = false;
  spec.activation = Activation::gelu_tanh;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "phi2"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  facts.spec.ropes.push_back(std::move(rope));
  finish(facts.spec);
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.norm_eps = 1e-5, .norm = NormKind::layer}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "gelu_new"));
  TRITIUM_TRY(facts.keys.only<bool>("qk_layernorm", false));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {.partial = 0.5, .may_be_partial = true}));
  facts.spec.ropes.push_back(std::move(rope));
  finish(facts.spec);
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "phi",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace phi

TRITIUM_NAMESPACE_END
