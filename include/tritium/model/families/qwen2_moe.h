// SPDX-License-Identifier: Apache-2.0
// Qwen1.5-MoE and Qwen2-MoE: Qwen 2's attention, softmax-routed experts and one expert that every token uses.
//
//   y = sum over the top k of p_e Expert_e(x) + sigmoid(<w, x>) Shared(x), p = softmax(Wr x); p stays as it is unless norm_topk_prob
//
// Published files hold a matrix for each expert, newer ones all experts of a layer in one tensor. Windows, off in the releases,
// are on even layers below max_window_layers. Sources: transformers modeling_qwen2_moe.py, configuration_qwen2_moe.py.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen2_moe {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen2moe"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen2MoeForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    gguf_name::kAttnQ.with_bias(Need::optional),
    gguf_name::kAttnK.with_bias(Need::optional),
    gguf_name::kAttnV.with_bias(Need::optional),
    gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    gguf_name::kFfnDown,
    gguf_name::kRouter,
    gguf_name::kExpertsGate,
    gguf_name::kExpertsUp,
    gguf_name::kExpertsDown,
    gguf_name::kSharedRouter,
    gguf_name::kSharedGate,
    gguf_name::kSharedUp,
    gguf_name::kSharedDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ.with_bias(Need::optional),
    hf_name::kAttnK.with_bias(Need::optional),
    hf_name::kAttnV.with_bias(Need::optional),
    hf_name::kAttnOutput,
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
    hf_name::kSharedRouter,
    hf_name::kSharedGate,
    hf_name::kSharedUp,
    hf_name::kSharedDown,
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "qwen2moe", {.experts = true}));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_TRY(read_gguf_experts(file, facts, Router::softmax));
  TRITIUM_ASSIGN(facts.spec.moe.shared_ffn_dim,
                 facts.keys.size_or("expert_shared_feed_forward_length", facts.spec.layers[0].ffn_dim, 1, kMaxWidth));
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
  TRITIUM_ASSIGN(const std::size_t end, facts.keys.size_or("max_window_layers", 28, 0, kMaxLayers));
  for (std::size_t i = 0; i < spec.n_layers(); ++i)
    spec.layers[i].window = windows && i < end && i % 2 == 0 ? window : 0;
  TRITIUM_TRY(read_explicit_windows(config, spec, windows, window));
  TRITIUM_TRY(read_config_experts(config, facts, false));
  TRITIUM_ASSIGN(spec.moe.shared_ffn_dim, facts.keys.size("shared_expert_intermediate_size", 1, kMaxWidth));
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "qwen2_moe",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace qwen2_moe

TRITIUM_NAMESPACE_END
