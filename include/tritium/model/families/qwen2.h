// SPDX-License-Identifier: Apache-2.0
// Qwen 1.5, 2 and 2.5: Llama's block with biases on q, k and v.
//
// GGUF rows are not permuted. Windows are off in the releases (use_sliding_window false); when on, layers from
// max_window_layers on slide. Source: transformers modeling_qwen2.py, configuration_qwen2.py.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen2 {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen2"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen2ForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    gguf_name::kAttnQ.with_bias(Need::required),
    gguf_name::kAttnK.with_bias(Need::required),
    gguf_name::kAttnV.with_bias(Need::required),
    gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    gguf_name::kFfnDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ.with_bias(Need::required),
    hf_name::kAttnK.with_bias(Need::required),
    hf_name::kAttnV.with_bias(Need::required),
    hf_name::kAttnOutput,
    hf_name::kFfnNorm,
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    hf_name::kFfnDown,
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "qwen2"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  facts.spec.ropes.push_back(std::move(rope));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.context = 32768}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_TRY(read_late_windows(config, facts, 28));
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "qwen2",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace qwen2

TRITIUM_NAMESPACE_END
