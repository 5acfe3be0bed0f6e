// SPDX-License-Identifier: Apache-2.0
// Llama-shaped models: Llama 2 and 3, SmolLM2, Mistral.
//
//   h += Wo attn(RoPE(Wq x), RoPE(Wk x), Wv x), x = RMS(h);   h += Wd(silu(Wg x) * (Wu x)), x = RMS(h);   logits = W RMS(h)
//
// GGUF (architecture "llama") stores q and k rows with rotary pairs interleaved; safetensors do not. Llama 3.1's frequency
// scaling is a tensor of divisors in GGUF and rope_scaling in config.json. Mistral v0.1 adds a window on every layer.
// Sources: transformers modeling_llama.py, modeling_mistral.py; llama.cpp's converter for the permutation.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace llama {

inline constexpr std::string_view kGgufArchitectures[] = {"llama"};
inline constexpr std::string_view kHfArchitectures[] = {"LlamaForCausalLM", "MistralForCausalLM"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    gguf_name::kAttnQ.with_bias(Need::optional),
    gguf_name::kAttnK.with_bias(Need::optional),
    gguf_name::kAttnV.with_bias(Need::optional),
    gguf_name::kAttnOutput.with_bias(Need::optional),
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
    hf_name::kAttnQ.with_bias(Need::optional),
    hf_name::kAttnK.with_bias(Need::optional),
    hf_name::kAttnV.with_bias(Need::optional),
    hf_name::kAttnOutput.with_bias(Need::optional),
    hf_name::kFfnNorm,
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    hf_name::kFfnDown,
};

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "llama", {.window = true}));
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  spec.ropes.push_back(std::move(rope));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("attention.sliding_window", 0, 0, kMaxContext));
  for (LayerSpec& layer : spec.layers) layer.window = window;
  return std::move(spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.ternary = true}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  spec.ropes.push_back(std::move(rope));
  // transformers' default for Mistral is a window of 4096; a null turns it off
  const bool mistral = spec.architecture == "MistralForCausalLM";
  const bool absent = !config.value().contains("sliding_window");
  TRITIUM_ASSIGN(const std::size_t window,
                 facts.keys.size_or("sliding_window", mistral && absent ? 4096 : 0, 0, kMaxContext));
  for (LayerSpec& layer : spec.layers) layer.window = mistral ? window : 0;
  TRITIUM_ASSIGN(spec.ternary, read_bitnet_quantization(config));  // Llama3-1.58, Falcon3-1.58, Falcon-E
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "llama",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames,
                                .gguf_permuted_qk = true};

}  // namespace llama

TRITIUM_NAMESPACE_END
