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
    gguf_name::kOutputNorm.with_bias(Need::required),
    {Role::output, "output", Need::required, Need::required},
    gguf_name::kAttnNorm.with_bias(Need::required),
    {Role::attn_qkv, "blk.%.attn_qkv", Need::optional, Need::required},
    gguf_name::kAttnQ.with_bias(Need::required),
    gguf_name::kAttnK.with_bias(Need::required),
    gguf_name::kAttnV.with_bias(Need::required),
    gguf_name::kAttnOutput.with_bias(Need::required),
    gguf_name::kFfnUp.with_bias(Need::required),
    gguf_name::kFfnDown.with_bias(Need::required),
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    {Role::output_norm, "model.final_layernorm", Need::required, Need::required},
    {Role::output, "lm_head", Need::required, Need::required},
    hf_name::kAttnNorm.with_bias(Need::required),
    hf_name::kAttnQ.with_bias(Need::required),
    hf_name::kAttnK.with_bias(Need::required),
    hf_name::kAttnV.with_bias(Need::required),
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
