// SPDX-License-Identifier: Apache-2.0
// Qwen 3 dense: Llama's block with an RMS norm on each head of q and k, and heads whose width is not hidden / n_heads.
//
// No biases unless attention_bias says so. Source: transformers modeling_qwen3.py.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen3 {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen3"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen3ForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding, gguf_name::kOutputNorm, gguf_name::kOutput,  gguf_name::kAttnNorm,
    gguf_name::kAttnQ,          gguf_name::kAttnK,      gguf_name::kAttnV,   gguf_name::kAttnQNorm,
    gguf_name::kAttnKNorm,      gguf_name::kAttnOutput, gguf_name::kFfnNorm, gguf_name::kFfnGate,
    gguf_name::kFfnUp,          gguf_name::kFfnDown,
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
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "qwen3"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  facts.spec.ropes.push_back(std::move(rope));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.context = 32768, .head_dim = 128}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_TRY(read_late_windows(config, facts, 28));
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "qwen3",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace qwen3

TRITIUM_NAMESPACE_END
