// SPDX-License-Identifier: Apache-2.0
// BitNet b1.58: ternary linear layers with int8 activations, a norm inside each branch, squared ReLU.
//
//   h += BL_o(RMS(attn; sub));   h += BL_down(RMS(relu2(BL_gate x) * (BL_up x); sub)), x = RMS(h);   logits = E RMS(h)
//   BL(x): a = clip(round(127 x / max|x|), -128, 127) a row, exact integer product with codes -1 0 1, one scale a tensor
//
// safetensors hold packed codes with weight_scale (linear_class "autobitlinear": the scale itself, else its inverse) or
// master weights that are rounded at load (quantization_mode "online"). GGUF files come as I2_S, TQ1_0, TQ2_0 or as floats
// that are ternary already, under the architectures bitnet-b1.58 and bitnet-25; "bitnet" is the older SiLU model of 1bitLLM.
// Sources: transformers modeling_bitnet.py, integrations/bitnet.py; microsoft/BitNet's converter for names.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace bitnet {

inline constexpr std::string_view kGgufArchitectures[] = {"bitnet-b1.58", "bitnet-25", "bitnet"};
inline constexpr std::string_view kHfArchitectures[] = {"BitNetForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    gguf_name::kAttnQ,
    gguf_name::kAttnK,
    gguf_name::kAttnV,
    {Role::attn_sub_norm, "blk.%.attn_sub_norm"},
    gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    {Role::ffn_sub_norm, "blk.%.ffn_sub_norm"},
    gguf_name::kFfnDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ,
    hf_name::kAttnK,
    hf_name::kAttnV,
    {Role::attn_sub_norm, "model.layers.%.self_attn.attn_sub_norm"},
    hf_name::kAttnOutput,
    hf_name::kFfnNorm,
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    {Role::ffn_sub_norm, "model.layers.%.mlp.ffn_sub_norm"},
    hf_name::kFfnDown,
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(const std::string_view architecture, file.get<std::string_view>("general.architecture"));
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, architecture));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  facts.spec.ropes.push_back(std::move(rope));
  facts.spec.activation = architecture == "bitnet" ? Activation::silu : Activation::relu2;
  facts.spec.ternary = TernaryScale::values;
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.norm_eps = 1e-5, .context = 2048, .ternary = true}));
  TRITIUM_ASSIGN(const std::string activation, facts.keys.text_or("hidden_act", "relu2"));
  if (activation != "silu") TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "relu2"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {.base = 500000.0}));
  facts.spec.ropes.push_back(std::move(rope));
  facts.spec.activation = activation == "silu" ? Activation::silu : Activation::relu2;
  TRITIUM_ASSIGN(facts.spec.ternary, read_bitnet_quantization(config));
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "bitnet",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace bitnet

TRITIUM_NAMESPACE_END
