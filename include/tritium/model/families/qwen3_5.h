// SPDX-License-Identifier: Apache-2.0
// Qwen 3.5, dense and with experts: Qwen 3-Next's hybrid with its projections apart, inside a multimodal checkpoint or alone.
//
// For text the multi-axis rotary embedding is the plain one, since all three positions are equal. The vision tower and the block that
// predicts a second token (mtp.*, GGUF nextn layers) are left alone. In GGUF value heads lie tiled: head v uses key head v mod n.
// Sources: transformers modeling_qwen3_5.py, modeling_qwen3_5_moe.py; llama.cpp's converter and qwen35 graphs.
#pragma once

#include "tritium/model/families/qwen3_next.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen3_5 {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen35", "qwen35moe"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration",
                                                        "Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(const std::string_view architecture, file.get<std::string_view>("general.architecture"));
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, qwen3_next::read_gguf_hybrid(file, architecture, true));
  if (architecture == "qwen35moe") {
    TRITIUM_TRY(read_gguf_experts(file, facts, Router::softmax_renorm));
    TRITIUM_ASSIGN(facts.spec.moe.shared_ffn_dim, facts.keys.size("expert_shared_feed_forward_length", 1, kMaxWidth));
  }
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& outer) {
  TRITIUM_ASSIGN(const JsonObject config, text_config_of(outer));
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, qwen3_next::read_config_hybrid(config));
  TRITIUM_ASSIGN(facts.spec.tied_head, detail::facts_of(outer).flag_or("tie_word_embeddings", facts.spec.tied_head));
  if (config.find("num_experts") != nullptr) {
    TRITIUM_TRY(read_config_experts(config, facts, true));
    TRITIUM_ASSIGN(facts.spec.moe.shared_ffn_dim, facts.keys.size("shared_expert_intermediate_size", 1, kMaxWidth));
  }
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "qwen3_5",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = qwen3_next::kGgufNames,
                                .hf_names = qwen3_next::kHfNames,
                                .hf_norm_plus_one = true};

}  // namespace qwen3_5

TRITIUM_NAMESPACE_END
