// SPDX-License-Identifier: Apache-2.0
// SmolLM3: Llama's block in which every fourth layer has no rotary embedding.
//
// no_rope_layers holds 1 for a layer with the embedding and 0 for one without; absent, layer i lacks it when
// (i + 1) mod no_rope_layer_interval = 0. GGUF permutes q and k rows as for Llama, and keeps no key for the interval of 4.
// Source: transformers modeling_smollm3.py, configuration_smollm3.py; llama.cpp's smollm3 graph.
#pragma once

#include "tritium/model/families/llama.h"

TRITIUM_NAMESPACE_BEGIN

namespace smollm3 {

inline constexpr std::string_view kGgufArchitectures[] = {"smollm3"};
inline constexpr std::string_view kHfArchitectures[] = {"SmolLM3ForCausalLM"};
inline constexpr std::size_t kInterval = 4;

inline void drop_rope(ModelSpec& spec, std::size_t interval) {
  for (std::size_t i = 0; i < spec.n_layers(); ++i) spec.layers[i].rope = (i + 1) % interval == 0 ? -1 : 0;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "smollm3"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 2000000.0));
  facts.spec.ropes.push_back(std::move(rope));
  drop_rope(facts.spec, kInterval);
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.tied = true, .context = 32768}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {.base = 2000000.0}));
  facts.spec.ropes.push_back(std::move(rope));
  TRITIUM_ASSIGN(const std::size_t interval, facts.keys.size_or("no_rope_layer_interval", kInterval, 1, kMaxLayers));
  drop_rope(facts.spec, interval);
  if (config.find("no_rope_layers") != nullptr) {
    TRITIUM_ASSIGN(const std::vector<int> has_rope, config.get_array<int>("no_rope_layers"));
    if (has_rope.size() != facts.spec.n_layers()) {
      return make_error(Errc::invalid_file, "one entry for each layer",
                        std::string(config.where()) + ", key \"no_rope_layers\"", std::to_string(facts.spec.n_layers()),
                        std::to_string(has_rope.size()));
    }
    for (std::size_t i = 0; i < has_rope.size(); ++i) facts.spec.layers[i].rope = has_rope[i] != 0 ? 0 : -1;
  }
  TRITIUM_TRY(read_late_windows(config, facts, 28));
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "smollm3",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = llama::kGgufNames,
                                .hf_names = llama::kHfNames,
                                .gguf_permuted_qk = true};

}  // namespace smollm3

TRITIUM_NAMESPACE_END
