// SPDX-License-Identifier: Apache-2.0
// Qwen 3 MoE: Qwen 3's attention and softmax-routed experts whose weights are divided by their sum.
//
// norm_topk_prob is true in the releases and false where config.json does not say it; GGUF always means true. A window, off in the
// releases, is on every layer. Sources: transformers modeling_qwen3_moe.py, configuration_qwen3_moe.py; llama.cpp's qwen3moe graph.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen3_moe {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen3moe"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen3MoeForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding, gguf_name::kOutputNorm,  gguf_name::kOutput,  gguf_name::kAttnNorm,
    gguf_name::kAttnQ,          gguf_name::kAttnK,       gguf_name::kAttnV,   gguf_name::kAttnQNorm,
    gguf_name::kAttnKNorm,      gguf_name::kAttnOutput,  gguf_name::kFfnNorm, gguf_name::kFfnGate,
    gguf_name::kFfnUp,          gguf_name::kFfnDown,     gguf_name::kRouter,  gguf_name::kExpertsGate,
    gguf_name::kExpertsUp,      gguf_name::kExpertsDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ.with_bias(Need::optional),
    hf_name::kAttnK.with_bias(Need::optional),
    hf_name::kAttnV.with_bias(Need::optional),
    hf_name::kAttnOutput.with_bias(Need::optional),
    hf_name::kAttnQNorm,
    hf_name::kAttnKNorm,
    hf_name::kFfnNorm,
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    hf_name::kFfnDown,
    hf_name::kRouter,
    hf_name::kExpertGate,
    hf_name::kExpertUp,
    hf_name::kExpertDown,
    hf_name::kExpertsGateUp,
    hf_name::kExpertsDown,
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "qwen3moe", {.experts = true}));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_TRY(read_gguf_experts(file, facts, Router::softmax_renorm));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.context = 32768}));
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  spec.ropes.push_back(std::move(rope));
  TRITIUM_ASSIGN(const bool windows, facts.keys.flag_or("use_sliding_window", false));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 4096, 0, kMaxContext));
  for (LayerSpec& layer : spec.layers) layer.window = windows ? window : 0;
  TRITIUM_TRY(read_config_experts(config, facts, false));
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "qwen3_moe",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace qwen3_moe

TRITIUM_NAMESPACE_END
