// SPDX-License-Identifier: Apache-2.0
// Gemma 1 and Gemma 2.
//
// Gemma 1:  h0 = E[token] sqrt(hidden);  h += Attn(N(h));  h += Wd(gelu_tanh(Wg x) * (Wu x)), x = N(h)
// Gemma 2 adds a norm behind each branch, a cap of 50 on scores and 30 on logits, and a window of 4096 on even layers;
// its scores are scaled by query_pre_attn_scalar^-0.5. safetensors store norm weights minus one.
// GGUF has no keys for the pattern and the 27B's scale (46 layers: (hidden / n_heads)^-0.5).
// Sources: transformers modeling_gemma.py, modeling_gemma2.py; llama.cpp for what its files leave out.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace gemma {

inline constexpr std::string_view kGguf1[] = {"gemma"};
inline constexpr std::string_view kHf1[] = {"GemmaForCausalLM"};
inline constexpr std::string_view kGguf2[] = {"gemma2"};
inline constexpr std::string_view kHf2[] = {"Gemma2ForCausalLM"};

inline constexpr TensorName kGgufNames1[] = {
    gguf_name::kTokenEmbedding, gguf_name::kOutputNorm, gguf_name::kOutput, gguf_name::kAttnNorm,
    gguf_name::kAttnQ,          gguf_name::kAttnK,      gguf_name::kAttnV,  gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,        gguf_name::kFfnGate,    gguf_name::kFfnUp,  gguf_name::kFfnDown,
};
inline constexpr TensorName kHfNames1[] = {
    hf_name::kTokenEmbedding, hf_name::kOutputNorm, hf_name::kOutput, hf_name::kAttnNorm,
    hf_name::kAttnQ,          hf_name::kAttnK,      hf_name::kAttnV,  hf_name::kAttnOutput,
    hf_name::kFfnNorm,        hf_name::kFfnGate,    hf_name::kFfnUp,  hf_name::kFfnDown,
};
inline constexpr TensorName kGgufNames2[] = {
    gguf_name::kTokenEmbedding, gguf_name::kOutputNorm,  gguf_name::kOutput,  gguf_name::kAttnNorm,
    gguf_name::kAttnQ,          gguf_name::kAttnK,       gguf_name::kAttnV,   gguf_name::kAttnOutput,
    gguf_name::kAttnPostNorm,   gguf_name::kFfnNorm,     gguf_name::kFfnGate, gguf_name::kFfnUp,
    gguf_name::kFfnDown,        gguf_name::kFfnPostNorm,
};
inline constexpr TensorName kHfNames2[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ,
    hf_name::kAttnK,
    hf_name::kAttnV,
    hf_name::kAttnOutput,
    {Role::attn_post_norm, "model.layers.%.post_attention_layernorm"},
    {Role::ffn_norm, "model.layers.%.pre_feedforward_layernorm"},
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    hf_name::kFfnDown,
    {Role::ffn_post_norm, "model.layers.%.post_feedforward_layernorm"},
};

inline void finish(ModelSpec& spec, RopeSpec rope) {
  spec.ropes = {std::move(rope)};
  spec.activation = Activation::gelu_tanh;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
}
inline void set_windows(ModelSpec& spec, std::size_t window) {
  for (std::size_t i = 0; i < spec.n_layers(); i += 2) spec.layers[i].window = window;
}

inline Result<ModelSpec> from_gguf_1(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "gemma"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  finish(facts.spec, std::move(rope));
  return std::move(facts.spec);
}
inline Result<ModelSpec> from_config_1(const JsonObject& config) {
  // The first configs say hidden_act "gelu" and mean the tanh form; only hidden_activation may say otherwise.
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.tied = true, .context = 8192, .head_dim = 256}));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_activation", "gelu_pytorch_tanh"));
  TRITIUM_TRY(facts.keys.only<bool>("attention_bias", false));
  TRITIUM_TRY(facts.keys.only<bool>("use_bidirectional_attention", false));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  finish(facts.spec, std::move(rope));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_gguf_2(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts,
                 read_gguf_facts(file, "gemma2", {.window = true, .score_cap = true, .logit_cap = true}));
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  TRITIUM_ASSIGN(const double attention_cap, facts.keys.number_or("attn_logit_softcapping", 50.0, 0.0, 1e6));
  TRITIUM_ASSIGN(const double logit_cap, facts.keys.number_or("final_logit_softcapping", 30.0, 0.0, 1e6));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("attention.sliding_window", 4096, 1, kMaxContext));
  spec.attention_cap = static_cast<float>(attention_cap);
  spec.logit_cap = static_cast<float>(logit_cap);
  if (spec.n_layers() == 46) {
    spec.attention_scale =
        1.0f / std::sqrt(static_cast<float>(spec.hidden) / static_cast<float>(spec.layers[0].n_heads));
  }
  set_windows(spec, window);
  finish(spec, std::move(rope));
  return std::move(spec);
}
inline Result<ModelSpec> from_config_2(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.tied = true, .context = 8192, .head_dim = 256}));
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_activation", "gelu_pytorch_tanh"));
  TRITIUM_TRY(facts.keys.only<bool>("attention_bias", false));
  TRITIUM_TRY(facts.keys.only<bool>("use_bidirectional_attention", false));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {}));
  TRITIUM_ASSIGN(const double scalar, facts.keys.number_or("query_pre_attn_scalar", 256.0, 1e-3, 1e6));
  // A null cap is no cap; a missing key is the class default.
  const auto cap_or = [&](const char* key, double fallback) -> Result<double> {
    const bool null = config.value().contains(key) && config.value()[key].is_null();
    return facts.keys.number_or(key, null ? 0.0 : fallback, 0.0, 1e6);
  };
  TRITIUM_ASSIGN(const double attention_cap, cap_or("attn_logit_softcapping", 50.0));
  TRITIUM_ASSIGN(const double logit_cap, cap_or("final_logit_softcapping", 30.0));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 4096, 1, kMaxContext));
  spec.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  spec.attention_cap = static_cast<float>(attention_cap);
  spec.logit_cap = static_cast<float>(logit_cap);
  set_windows(spec, window);
  if (config.find("layer_types") != nullptr) {
    TRITIUM_ASSIGN(const std::vector<bool> full, read_layer_types(config, spec.n_layers()));
    for (std::size_t i = 0; i < full.size(); ++i) spec.layers[i].window = full[i] ? 0 : window;
  }
  finish(spec, std::move(rope));
  return std::move(spec);
}

inline constexpr Family kFamily1{.name = "gemma",
                                 .gguf_architectures = kGguf1,
                                 .hf_architectures = kHf1,
                                 .from_gguf = &from_gguf_1,
                                 .from_config = &from_config_1,
                                 .gguf_names = kGgufNames1,
                                 .hf_names = kHfNames1,
                                 .hf_norm_plus_one = true};
inline constexpr Family kFamily2{.name = "gemma2",
                                 .gguf_architectures = kGguf2,
                                 .hf_architectures = kHf2,
                                 .from_gguf = &from_gguf_2,
                                 .from_config = &from_config_2,
                                 .gguf_names = kGgufNames2,
                                 .hf_names = kHfNames2,
                                 .hf_norm_plus_one = true};

}  // namespace gemma

TRITIUM_NAMESPACE_END
