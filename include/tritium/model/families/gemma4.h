// SPDX-License-Identifier: Apache-2.0
// Gemma 4 (text): Gemma 3's block with wider heads on global layers, shared caches, a second embedding, a scale a layer, experts.
//
//   h += N_pa(Attn(N_in h));   h += N_pf(MLP(N_pre h));   h += N_pp(W_p(gelu(W_g h) * p_l));   h *= layer_scalar
//   with enable_moe_block   h += N_pf(N_1(MLP(N_pre h)) + N_2(sum over the top k of w_e Expert_e(N_pre2 h)))
//     s = W_r (RMS(h) * scale / sqrt(hidden)), w = per_expert_scale * softmax(s) / sum over the chosen
//   scores are not scaled; values are RMS-normalised without a weight, and are the raw keys on global layers of attention_k_eq_v
//   global layers rotate the pairs (i, i + d / 2) with i < d / 8 only, at frequencies of the whole head; local ones all pairs
//
// The last num_kv_shared_layers layers read the cache of the last layer of their kind before them; with use_double_wide_mlp their MLPs
// are twice as wide. The last layer is always global.
// Sources: transformers modeling_gemma4.py, configuration_gemma4.py; llama.cpp's converter.
#pragma once

#include "tritium/model/families/gemma3.h"

TRITIUM_NAMESPACE_BEGIN

namespace gemma4 {

inline constexpr std::string_view kGgufArchitectures[] = {"gemma4"};
inline constexpr std::string_view kHfArchitectures[] = {"Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    gguf_name::kAttnQ,
    gguf_name::kAttnK,
    gguf_name::kAttnV,
    gguf_name::kAttnQNorm,
    gguf_name::kAttnKNorm,
    gguf_name::kAttnOutput,
    gguf_name::kAttnPostNorm,
    gguf_name::kFfnNorm,
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    gguf_name::kFfnDown,
    gguf_name::kFfnPostNorm,
    gguf_name::kPerLayerEmbedding,
    gguf_name::kPerLayerProjection,
    gguf_name::kPerLayerNorm,
    gguf_name::kPerLayerGate,
    gguf_name::kPerLayerOutput,
    gguf_name::kPerLayerPostNorm,
    {Role::layer_scale, "blk.%.layer_output_scale", Need::optional},
    gguf_name::kRouter,
    {Role::router_norm, "blk.%.ffn_gate_inp.scale", Need::required, Need::no, true},
    {Role::expert_scale, "blk.%.ffn_down_exps.scale", Need::required, Need::no, true},
    {Role::mlp_post_norm, "blk.%.post_ffw_norm_1"},
    {Role::experts_norm, "blk.%.pre_ffw_norm_2"},
    {Role::experts_post_norm, "blk.%.post_ffw_norm_2"},
    gguf_name::kExpertsGate,
    gguf_name::kExpertsUp,
    gguf_name::kExpertsGateUp,
    gguf_name::kExpertsDown,
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
    hf_name::kPerLayerEmbedding,
    hf_name::kPerLayerProjection,
    hf_name::kPerLayerNorm,
    hf_name::kPerLayerGate,
    hf_name::kPerLayerOutput,
    hf_name::kPerLayerPostNorm,
    {Role::layer_scale, "model.layers.%.layer_scalar", Need::required, Need::no, true},
    {Role::router, "model.layers.%.router.proj"},
    {Role::router_norm, "model.layers.%.router.scale", Need::required, Need::no, true},
    {Role::expert_scale, "model.layers.%.router.per_expert_scale", Need::required, Need::no, true},
    {Role::mlp_post_norm, "model.layers.%.post_feedforward_layernorm_1"},
    {Role::experts_norm, "model.layers.%.pre_feedforward_layernorm_2"},
    {Role::experts_post_norm, "model.layers.%.post_feedforward_layernorm_2"},
    {Role::experts_gate_up, "model.layers.%.experts.gate_up_proj", Need::required, Need::no, true},
    {Role::experts_down, "model.layers.%.experts.down_proj", Need::required, Need::no, true},
};

/// What both kinds of file share. Rotary embedding 0 is the global one, 1 the local one.
inline void finish(ModelSpec& spec, RopeSpec global_rope, RopeSpec local_rope, std::size_t window,
                   const std::vector<bool>& global) {
  spec.ropes = {std::move(global_rope), std::move(local_rope)};
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    spec.layers[i].window = global[i] ? 0 : window;
    spec.layers[i].rope = global[i] ? 0 : 1;
  }
  spec.activation = Activation::gelu_tanh;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
  spec.attention_scale = 1.0f;
  spec.value_norm = true;
}

/// How experts sit in a layer, once the spec has their number.
inline void place_experts(ModelSpec& spec) {
  spec.moe.beside_mlp = true;
  spec.moe.router_scale = 1.0f / std::sqrt(static_cast<float>(spec.hidden));
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts,
                 read_gguf_facts(file, "gemma4", {.window = true, .experts = true, .logit_cap = true}));
  const detail::GgufFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec global_rope, read_gguf_rope(file, facts, 1000000.0));
  const std::size_t wide = spec.layers[0].head_dim;
  TRITIUM_ASSIGN(const std::size_t narrow, keys.size_or("attention.key_length_swa", wide, 2, kMaxHeadDim));
  TRITIUM_TRY(keys.only<std::uint64_t>("attention.value_length_swa", narrow));
  RopeSpec local_rope;
  TRITIUM_ASSIGN(local_rope.rotary_dim, keys.size_or("rope.dimension_count_swa", narrow, 2, narrow));
  TRITIUM_ASSIGN(local_rope.base, keys.number_or("rope.freq_base_swa", gemma3::kLocalBase, 1.0, 1e12));
  TRITIUM_ASSIGN(const std::size_t window, keys.size("attention.sliding_window", 1, kMaxContext));
  TRITIUM_ASSIGN(const double logit_cap, keys.number_or("final_logit_softcapping", 30.0, 0.0, 1e6));
  spec.logit_cap = static_cast<float>(logit_cap);
  TRITIUM_ASSIGN(const std::vector<bool> global, gemma3::read_gguf_pattern(file, facts));
  TRITIUM_ASSIGN(spec.per_layer_dim, keys.size_or("embedding_length_per_layer_input", 0, 0, kMaxWidth));
  if (const GgufTensor* table = file.find_tensor("per_layer_token_embd.weight"); table != nullptr)
    spec.per_layer_vocab = static_cast<std::size_t>(table->dims[1]);
  finish(spec, std::move(global_rope), local_rope, window, global);
  TRITIUM_ASSIGN(const std::size_t n_experts, keys.size_or("expert_count", 0, 0, kMaxExperts));
  if (n_experts != 0) {
    TRITIUM_TRY(read_gguf_experts(file, facts, Router::softmax_renorm));
    place_experts(spec);
  }
  TRITIUM_ASSIGN(const double shared,
                 keys.number_or("attention.shared_kv_layers", 0.0, 0.0, static_cast<double>(spec.n_layers())));
  TRITIUM_TRY(share_caches(spec, static_cast<std::size_t>(shared), global, keys.where()));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.head_dim = global[i] ? wide : narrow;
    layer.v_is_k = layer.kv_source < 0 && file.find_tensor("blk." + std::to_string(i) + ".attn_v.weight") == nullptr;
  }
  return std::move(spec);
}

/// One kind of layer's entry of rope_parameters.
inline Result<RopeSpec> read_rope(const JsonObject& config, std::string_view kind, std::size_t head_dim,
                                  double default_base, bool default_proportional) {
  RopeSpec rope;
  rope.base = default_base;
  rope.rotary_dim = head_dim / 2 * 2;
  double partial = 0.25;
  std::string type = default_proportional ? "proportional" : "default";
  if (config.find("rope_parameters") != nullptr) {
    TRITIUM_ASSIGN(const JsonObject sets, config.get_object("rope_parameters"));
    TRITIUM_ASSIGN(const JsonObject set, sets.get_object(kind));
    const detail::ConfigFacts keys = detail::facts_of(set);
    TRITIUM_ASSIGN(type, keys.text_or("rope_type", "default"));
    TRITIUM_ASSIGN(rope.base, keys.number_or("rope_theta", default_base, 1.0, 1e12));
    TRITIUM_ASSIGN(partial, keys.number_or("partial_rotary_factor", 1.0, 0.0, 1.0));
    TRITIUM_TRY(keys.only<double>("factor", 1.0));
  }
  if (type == "proportional") {
    rope.scaling = RopeScaling::proportional;
    rope.rotated_pairs = static_cast<std::size_t>(partial * static_cast<double>(head_dim) / 2.0);
  } else if (type != "default") {
    return make_error(Errc::unsupported, "unsupported rope scaling",
                      std::string(config.where()) + ", key \"rope_type\"", "default or proportional", printable(type));
  }
  return rope;
}

/// Heads of global layers: per_layer_config in newer files, global_head_dim and num_global_key_value_heads in others.
inline Status read_global_heads(const JsonObject& config, CommonFacts<JsonObject>& facts,
                                const std::vector<bool>& global, bool k_is_v) {
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(const std::size_t wide, facts.keys.size_or("global_head_dim", 512, 2, kMaxHeadDim));
  TRITIUM_ASSIGN(const std::size_t kv_heads,
                 facts.keys.size_or("num_global_key_value_heads", spec.layers[0].n_kv_heads, 1, kMaxHeads));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    if (!global[i]) continue;
    spec.layers[i].head_dim = wide;
    if (k_is_v) spec.layers[i].n_kv_heads = kv_heads;
  }
  if (config.find("per_layer_config") == nullptr) return {};
  TRITIUM_ASSIGN(const JsonObject all, config.get_object("per_layer_config"));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.head_dim = spec.layers[0].head_dim;
    layer.n_kv_heads = spec.layers[0].n_kv_heads;
  }
  TRITIUM_ASSIGN(const std::size_t narrow, facts.keys.size_or("head_dim", 256, 2, kMaxHeadDim));
  TRITIUM_ASSIGN(const std::size_t narrow_kv, facts.keys.size_or("num_key_value_heads", 4, 1, kMaxHeads));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.head_dim = narrow;
    layer.n_kv_heads = narrow_kv;
    const std::string number = std::to_string(i);
    if (all.find(number) == nullptr) continue;
    TRITIUM_ASSIGN(const JsonObject one, all.get_object(number));
    const detail::ConfigFacts keys = detail::facts_of(one);
    TRITIUM_ASSIGN(layer.head_dim, keys.size_or("head_dim", narrow, 2, kMaxHeadDim));
    TRITIUM_ASSIGN(layer.n_kv_heads, keys.size_or("num_key_value_heads", narrow_kv, 1, kMaxHeads));
    for (const auto& [key, value] : one.value().items()) {
      if (key == "head_dim" || key == "num_key_value_heads") continue;
      return make_error(Errc::unsupported, "unsupported model",
                        std::string(one.where()) + ", key \"" + printable(key) + "\"",
                        "head_dim or num_key_value_heads", "another");
    }
  }
  return {};
}

inline Result<ModelSpec> from_config(const JsonObject& outer) {
  TRITIUM_ASSIGN(const JsonObject config, text_config_of(outer));
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.tied = true, .context = 131072, .head_dim = 256}));
  const detail::ConfigFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(keys.only<std::string_view>("hidden_activation", "gelu_pytorch_tanh"));
  TRITIUM_TRY(keys.only<bool>("attention_bias", false));
  TRITIUM_ASSIGN(const bool experts, keys.flag_or("enable_moe_block", false));
  if (experts) {
    TRITIUM_ASSIGN(spec.moe.n_experts, keys.size("num_experts", 1, kMaxExperts));
    TRITIUM_ASSIGN(spec.moe.top_k, keys.size("top_k_experts", 1, spec.moe.n_experts));
    TRITIUM_ASSIGN(spec.moe.ffn_dim, keys.size("moe_intermediate_size", 1, kMaxWidth));
    for (LayerSpec& layer : spec.layers) layer.moe = true;
    place_experts(spec);
  }
  TRITIUM_TRY(keys.only<std::string_view>("use_bidirectional_attention", "vision"));  // for images only
  TRITIUM_ASSIGN(const double logit_cap, keys.number_or("final_logit_softcapping", 0.0, 0.0, 1e6));
  spec.logit_cap = static_cast<float>(logit_cap);
  TRITIUM_ASSIGN(const std::size_t window, keys.size_or("sliding_window", 512, 1, kMaxContext));
  TRITIUM_ASSIGN(spec.per_layer_dim,
                 keys.size_or("hidden_size_per_layer_input",
                              config.value().contains("hidden_size_per_layer_input") ? 0 : 256, 0, kMaxWidth));
  TRITIUM_ASSIGN(spec.per_layer_vocab, keys.size_or("vocab_size_per_layer_input", 262144, 1, kMaxVocab));
  std::vector<bool> global(spec.n_layers());
  for (std::size_t i = 0; i < global.size(); ++i) global[i] = (i + 1) % 6 == 0;
  if (config.find("layer_types") != nullptr) {
    TRITIUM_ASSIGN(global, read_layer_types(config, spec.n_layers()));
  }
  global.back() = true;
  TRITIUM_ASSIGN(const bool k_is_v, keys.flag_or("attention_k_eq_v", false));
  TRITIUM_TRY(read_global_heads(config, facts, global, k_is_v));
  TRITIUM_TRY(detail::check_heads(spec, keys.where()));
  std::size_t wide = 0, narrow = 0;
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    std::size_t& width = global[i] ? wide : narrow;
    if (width != 0 && width != spec.layers[i].head_dim) {
      return make_error(Errc::unsupported, "unsupported model", keys.where() + ", key \"per_layer_config\"",
                        "one head_dim for each kind of layer",
                        std::to_string(width) + " and " + std::to_string(spec.layers[i].head_dim));
    }
    width = spec.layers[i].head_dim;
  }
  TRITIUM_ASSIGN(RopeSpec global_rope, read_rope(config, "full_attention", wide, 1000000.0, true));
  TRITIUM_ASSIGN(RopeSpec local_rope,
                 read_rope(config, "sliding_attention", narrow == 0 ? wide : narrow, gemma3::kLocalBase, false));
  finish(spec, std::move(global_rope), std::move(local_rope), window, global);
  TRITIUM_ASSIGN(const std::size_t shared, keys.size_or("num_kv_shared_layers", 0, 0, spec.n_layers()));
  TRITIUM_TRY(share_caches(spec, shared, global, keys.where() + ", key \"num_kv_shared_layers\""));
  TRITIUM_ASSIGN(const bool double_wide, keys.flag_or("use_double_wide_mlp", false));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.v_is_k = k_is_v && global[i] && layer.kv_source < 0;
    if (double_wide && layer.kv_source >= 0) layer.ffn_dim *= 2;
  }
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "gemma4",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace gemma4

TRITIUM_NAMESPACE_END
