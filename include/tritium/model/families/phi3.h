// SPDX-License-Identifier: Apache-2.0
// Phi-3 and 3.5 mini, Phi-4, Phi-4-mini: Llama's block with fused q|k|v and gate|up, LongRoPE, windows.
//
// LongRoPE has one set of divisors for sequences up to the trained length and one for longer ones; cos and sin are scaled by
// sqrt(1 + ln(context / trained) / ln(trained)). Phi-4-mini rotates three quarters of a head. In GGUF the fused gate|up
// matrix is called ffn_up, and the factors are two tensors. A window as long as the context is none.
// Sources: transformers modeling_phi3.py, modeling_rope_utils.py; llama.cpp's converter.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace phi3 {

inline constexpr std::string_view kGgufArchitectures[] = {"phi3"};
inline constexpr std::string_view kHfArchitectures[] = {"Phi3ForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    {Role::attn_qkv, "blk.%.attn_qkv"},
    gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,
    {Role::ffn_gate_up, "blk.%.ffn_up"},
    gguf_name::kFfnDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    {Role::attn_qkv, "model.layers.%.self_attn.qkv_proj"},
    hf_name::kAttnOutput,
    hf_name::kFfnNorm,
    {Role::ffn_gate_up, "model.layers.%.mlp.gate_up_proj"},
    hf_name::kFfnDown,
};

inline void set_window(ModelSpec& spec, std::size_t window) {
  for (LayerSpec& layer : spec.layers) layer.window = window >= spec.context ? 0 : window;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "phi3", {.window = true}));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  rope.magnitude = 1.0;
  if (file.find_tensor("rope_factors_long.weight") != nullptr) {
    // The file's attn_factor is wrong where the model's config said "yarn": recompute it from the lengths.
    rope.scaling = RopeScaling::longrope;
    const double stretch = static_cast<double>(facts.spec.context) / static_cast<double>(rope.original_context);
    if (stretch > 1.0 && rope.original_context < 2) {  // its logarithm divides
      return make_error(Errc::invalid_file, "rope scaling", facts.keys.where(), "an original context above 1", "1");
    }
    if (stretch > 1.0)
      rope.magnitude = std::sqrt(1.0 + std::log(stretch) / std::log(static_cast<double>(rope.original_context)));
  }
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("attention.sliding_window", 0, 0, kMaxContext));
  set_window(facts.spec, window);
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.norm_eps = 1e-5, .context = 4096}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope,
                 read_config_rope(config, facts, {.original_context = 4096, .phi = true, .may_be_partial = true}));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 0, 0, kMaxContext));
  set_window(facts.spec, window);
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "phi3",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace phi3

TRITIUM_NAMESPACE_END
