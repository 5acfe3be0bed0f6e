// SPDX-License-Identifier: Apache-2.0
// Phi-3.5-MoE: LayerNorms, biased attention and head, experts picked by SparseMixer, LongRoPE with a magnitude of its own.
//
// The two experts of a token are two maxima, each weighted by a softmax over its near equals (model/moe.h); the weights are not
// renormalised. router_jitter_noise says how near. cos and sin are scaled by short_mscale or long_mscale, whatever the lengths say.
// Past the original context the long divisors are used, as the published model does; transformers 5.23 keeps the short ones there.
// A GGUF keeps neither noise nor mscale: 0.01 and the release's 1.243163121016122.
// Sources: transformers modeling_phimoe.py; the published model's own code; llama.cpp's converter (its graph routes differently).
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace phimoe {

inline constexpr std::string_view kGgufArchitectures[] = {"phimoe"};
inline constexpr std::string_view kHfArchitectures[] = {"PhimoeForCausalLM", "PhiMoEForCausalLM"};
inline constexpr double kMagnitude = 1.243163121016122;

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm.with_bias(Need::required),
    {Role::output, "output", Need::optional, Need::optional},
    gguf_name::kAttnNorm.with_bias(Need::required),
    gguf_name::kAttnQ.with_bias(Need::optional),
    gguf_name::kAttnK.with_bias(Need::optional),
    gguf_name::kAttnV.with_bias(Need::optional),
    gguf_name::kAttnOutput.with_bias(Need::optional),
    gguf_name::kFfnNorm.with_bias(Need::required),
    gguf_name::kRouter,
    gguf_name::kExpertsGate,
    gguf_name::kExpertsUp,
    gguf_name::kExpertsDown,
};
inline constexpr TensorName kHfNames[] = {
    hf_name::kTokenEmbedding,
    hf_name::kOutputNorm.with_bias(Need::required),
    {Role::output, "lm_head", Need::optional, Need::optional},
    hf_name::kAttnNorm.with_bias(Need::required),
    hf_name::kAttnQ.with_bias(Need::optional),
    hf_name::kAttnK.with_bias(Need::optional),
    hf_name::kAttnV.with_bias(Need::optional),
    hf_name::kAttnOutput.with_bias(Need::optional),
    hf_name::kFfnNorm.with_bias(Need::required),
    {Role::router, "model.layers.%.block_sparse_moe.gate"},
    {Role::expert_gate, "model.layers.%.block_sparse_moe.experts.#.w1"},
    {Role::expert_up, "model.layers.%.block_sparse_moe.experts.#.w3"},
    {Role::expert_down, "model.layers.%.block_sparse_moe.experts.#.w2"},
    {Role::router, "model.layers.%.mlp.router"},
    hf_name::kExpertsGateUp,
    hf_name::kExpertsDown,
};

inline void finish(ModelSpec& spec, RopeSpec rope, std::size_t window) {
  spec.norm = NormKind::layer;
  spec.moe.router = Router::sparse_mixer;
  for (LayerSpec& layer : spec.layers) {
    layer.moe = true;
    layer.window = window >= spec.context ? 0 : window;
  }
  spec.ropes.push_back(std::move(rope));
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "phimoe", {.window = true, .experts = true}));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  if (file.find_tensor("rope_factors_long.weight") != nullptr) {
    rope.scaling = RopeScaling::longrope;
    rope.magnitude = kMagnitude;
  }
  TRITIUM_TRY(read_gguf_experts(file, facts, Router::sparse_mixer));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("attention.sliding_window", 0, 0, kMaxContext));
  finish(facts.spec, std::move(rope), window);
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.norm_eps = 1e-5, .context = 131072}));
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(facts.keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {.base = 1000000.0, .phi = true}));
  if (rope.scaling != RopeScaling::none) {
    if (rope.scaling != RopeScaling::longrope) {
      return make_error(Errc::unsupported, "unsupported rope scaling", facts.keys.where() + ", key \"rope_type\"",
                        "default or longrope", "another");
    }
    TRITIUM_ASSIGN(const JsonObject object,
                   config.get_object(config.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling"));
    const detail::ConfigFacts keys = detail::facts_of(object);
    TRITIUM_ASSIGN(rope.magnitude, keys.number("short_mscale", 1e-3, 1e3));
    TRITIUM_ASSIGN(rope.long_magnitude, keys.number("long_mscale", 1e-3, 1e3));
  }
  TRITIUM_ASSIGN(spec.moe.n_experts, facts.keys.size_or("num_local_experts", 16, 1, kMaxExperts));
  TRITIUM_ASSIGN(spec.moe.top_k, facts.keys.size_or("num_experts_per_tok", 2, 1, spec.moe.n_experts));
  if (spec.moe.top_k != 2)
    return make_error(Errc::unsupported, "unsupported model", facts.keys.where() + ", key \"num_experts_per_tok\"", "2",
                      std::to_string(spec.moe.top_k));
  TRITIUM_ASSIGN(const double jitter, facts.keys.number_or("router_jitter_noise", 0.01, 0.0, 1.0));
  spec.moe.jitter = static_cast<float>(jitter);
  spec.moe.ffn_dim = spec.layers[0].ffn_dim;
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 0, 0, kMaxContext));
  finish(spec, std::move(rope), window);
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "phimoe",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace phimoe

TRITIUM_NAMESPACE_END
