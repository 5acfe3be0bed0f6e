// SPDX-License-Identifier: Apache-2.0
// Gemma 3 (text): five local layers to one global, two rotary bases, a norm on each side of each branch, q and k norms.
//
//   h0 = E[token] sqrt(hidden);   h += N_pa(Attn(N_in h));   h += N_pf(Wd(gelu(Wg x) * (Wu x))), x = N_pre(h)
//
// Layer i is global when (i + 1) mod 6 = 0. Local layers see 512 or 1024 keys with base 10,000; global ones all keys with
// base 1,000,000, angles divided by 8 from 4B on. Scores are scaled by query_pre_attn_scalar^-0.5, which is head_dim for
// all sizes but 27B (168). safetensors store norm weights minus one; GGUF has the one added already.
// GGUF files mostly lack keys for the local base and the period, and have none for the 27B scale: constants of the family.
// Source: transformers modeling_gemma3.py; llama.cpp's gemma3 for what its files leave out.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace gemma3 {

inline constexpr std::string_view kGgufArchitectures[] = {"gemma3"};
inline constexpr std::string_view kHfArchitectures[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"};
inline constexpr std::size_t kPeriod = 6;
inline constexpr double kLocalBase = 10000.0;

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding, gguf_name::kOutputNorm, gguf_name::kOutput,       gguf_name::kAttnNorm,
    gguf_name::kAttnQ,          gguf_name::kAttnK,      gguf_name::kAttnV,        gguf_name::kAttnQNorm,
    gguf_name::kAttnKNorm,      gguf_name::kAttnOutput, gguf_name::kAttnPostNorm, gguf_name::kFfnNorm,
    gguf_name::kFfnGate,        gguf_name::kFfnUp,      gguf_name::kFfnDown,      gguf_name::kFfnPostNorm,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm,
    hf_name::kOutput,
    hf_name::kAttnNorm,
    hf_name::kAttnQ,
    hf_name::kAttnK,
    hf_name::kAttnV,
    hf_name::kAttnQNorm,
    hf_name::kAttnKNorm,
    hf_name::kAttnOutput,
    {Role::attn_post_norm, "model.layers.%.post_attention_layernorm"},
    {Role::ffn_norm, "model.layers.%.pre_feedforward_layernorm"},
    hf_name::kFfnGate,
    hf_name::kFfnUp,
    hf_name::kFfnDown,
    {Role::ffn_post_norm, "model.layers.%.post_feedforward_layernorm"},
};

/// What both kinds of file leave to the family. `global` says which layers see all keys.
inline void finish(ModelSpec& spec, RopeSpec global_rope, double local_base, std::size_t window,
                   const std::vector<bool>& global) {
  RopeSpec local_rope;
  local_rope.base = local_base;
  local_rope.rotary_dim = global_rope.rotary_dim;
  spec.ropes = {std::move(global_rope), std::move(local_rope)};
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    spec.layers[i].window = global[i] ? 0 : window;
    spec.layers[i].rope = global[i] ? 0 : 1;
  }
  spec.activation = Activation::gelu_tanh;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
}

/// Which layers see all keys: a period, or an array with true for a local layer.
inline Result<std::vector<bool>> read_gguf_pattern(const GgufFile& file, const CommonFacts<GgufFile>& facts) {
  const std::string key = facts.keys.full("attention.sliding_window_pattern");
  std::vector<bool> global(facts.spec.n_layers());
  const GgufValue* pattern = file.find(key);
  if (pattern == nullptr || !pattern->is_array) {
    TRITIUM_ASSIGN(const std::size_t period,
                   facts.keys.size_or("attention.sliding_window_pattern", kPeriod, 1, kMaxLayers));
    for (std::size_t i = 0; i < global.size(); ++i) global[i] = (i + 1) % period == 0;
    return global;
  }
  TRITIUM_ASSIGN(const std::vector<bool> local, file.get_array<bool>(key));
  if (local.size() != global.size()) {
    return make_error(Errc::invalid_file, "one entry for each layer", facts.keys.where() + ", key \"" + key + "\"",
                      std::to_string(global.size()), std::to_string(local.size()));
  }
  for (std::size_t i = 0; i < global.size(); ++i) global[i] = !local[i];
  return global;
}

struct Ropes {
  RopeSpec global;
  double local_base = kLocalBase;
};

/// Both rotary embeddings of config.json: the newer style has one set for each kind of layer.
inline Result<Ropes> read_config_ropes(const JsonObject& config, CommonFacts<JsonObject>& facts) {
  Ropes ropes;
  if (config.find("rope_parameters") == nullptr) {
    TRITIUM_ASSIGN(ropes.global, read_config_rope(config, facts, {.base = 1000000.0}));
    TRITIUM_ASSIGN(ropes.local_base, facts.keys.number_or("rope_local_base_freq", kLocalBase, 1.0, 1e12));
    return ropes;
  }
  TRITIUM_ASSIGN(const JsonObject sets, config.get_object("rope_parameters"));
  TRITIUM_ASSIGN(const JsonObject full, sets.get_object("full_attention"));
  TRITIUM_ASSIGN(const JsonObject sliding, sets.get_object("sliding_attention"));
  TRITIUM_ASSIGN(ropes.global, read_rope_parameters(full, facts, {.base = 1000000.0}));
  TRITIUM_ASSIGN(const RopeSpec local, read_rope_parameters(sliding, facts, {.base = kLocalBase}));
  if (local.scaling != RopeScaling::none) {
    return make_error(Errc::unsupported, "unsupported model", std::string(sliding.where()) + ", key \"rope_type\"",
                      "default", "a scaling");
  }
  ropes.local_base = local.base;
  return ropes;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "gemma3", {.window = true, .logit_cap = true}));
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  const std::string_view local_key =
      facts.keys.has("rope.freq_base_swa") ? "rope.freq_base_swa" : "rope.local.freq_base";
  TRITIUM_ASSIGN(const double local_base, facts.keys.number_or(local_key, kLocalBase, 1.0, 1e12));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size("attention.sliding_window", 1, kMaxContext));
  TRITIUM_ASSIGN(const double logit_cap, facts.keys.number_or("final_logit_softcapping", 0.0, 0.0, 1e6));
  TRITIUM_TRY(facts.keys.only<double>("attn_logit_softcapping", 0.0));
  TRITIUM_ASSIGN(const std::vector<bool> global, read_gguf_pattern(file, facts));
  spec.logit_cap = static_cast<float>(logit_cap);
  if (spec.n_layers() == 62) {  // 27B
    spec.attention_scale =
        1.0f / std::sqrt(static_cast<float>(spec.hidden) / static_cast<float>(spec.layers[0].n_heads));
  }
  finish(spec, std::move(rope), local_base, window, global);
  return std::move(spec);
}

inline Result<ModelSpec> from_config(const JsonObject& outer) {
  TRITIUM_ASSIGN(const JsonObject config, text_config_of(outer));
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.tied = true, .norm_eps = 1e-6, .context = 131072}));
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(facts.keys.only<bool>("use_bidirectional_attention", false));
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_activation", "gelu_pytorch_tanh"));
  TRITIUM_TRY(facts.keys.only<double>("attn_logit_softcapping", 0.0));
  TRITIUM_ASSIGN(const double logit_cap, facts.keys.number_or("final_logit_softcapping", 0.0, 0.0, 1e6));
  spec.logit_cap = static_cast<float>(logit_cap);
  TRITIUM_ASSIGN(const double scalar, facts.keys.number_or("query_pre_attn_scalar", 256.0, 1e-3, 1e6));
  spec.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 4096, 1, kMaxContext));
  TRITIUM_ASSIGN(const std::size_t period, facts.keys.size_or("sliding_window_pattern", kPeriod, 1, kMaxLayers));
  std::vector<bool> global(spec.n_layers());
  for (std::size_t i = 0; i < global.size(); ++i) global[i] = (i + 1) % period == 0;
  if (config.find("layer_types") != nullptr) {
    TRITIUM_ASSIGN(global, read_layer_types(config, spec.n_layers()));
  }
  TRITIUM_ASSIGN(Ropes ropes, read_config_ropes(config, facts));
  finish(spec, std::move(ropes.global), ropes.local_base, window, global);
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "gemma3",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames,
                                .hf_norm_plus_one = true};

}  // namespace gemma3

TRITIUM_NAMESPACE_END
