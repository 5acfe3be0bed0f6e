// SPDX-License-Identifier: Apache-2.0
// Qwen 3-Next: three layers with a recurrent mixer to one with gated attention, experts everywhere, zero-centred norms.
//
//   h += Mixer(N h);  h += MoE(N h)
//   attention: [q | gate] of each head in one matrix, RMS norms on q and k, a quarter of a head rotated, out = Wo(attn * sigmoid(gate))
//   recurrent: the gated delta rule (model/delta_net.h)
//   MoE: softmax, top k renormalised, and a shared expert weighed by a sigmoid
//
// safetensors keep the recurrent projections by key head, [q | k | v | z] and [b | a]; GGUF keeps q, k, v in one matrix and z in
// another (older files: as safetensors). Sources: transformers modeling_qwen3_next.py; llama.cpp's converter and qwen3next graph.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen3_next {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen3next"};
inline constexpr std::string_view kHfArchitectures[] = {"Qwen3NextForCausalLM"};
inline constexpr std::size_t kMaxTaps = 8;  // as many as the convolution takes

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
    {Role::delta_qkvz, "blk.%.ssm_in", Need::optional},
    {Role::delta_qkv, "blk.%.attn_qkv"},
    {Role::delta_z, "blk.%.attn_gate"},
    {Role::delta_ba, "blk.%.ssm_ba", Need::optional},
    {Role::delta_b, "blk.%.ssm_beta"},
    {Role::delta_a, "blk.%.ssm_alpha"},
    {Role::delta_conv, "blk.%.ssm_conv1d"},
    {Role::delta_dt_bias, "blk.%.ssm_dt.bias", Need::required, Need::no, true},
    {Role::delta_minus_exp_a, "blk.%.ssm_a", Need::required, Need::no, true},
    {Role::delta_norm, "blk.%.ssm_norm"},
    {Role::delta_out, "blk.%.ssm_out"},
    {Role::ffn_norm, "blk.%.post_attention_norm"},
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    gguf_name::kFfnDown,
    gguf_name::kRouter,
    gguf_name::kExpertsGate,
    gguf_name::kExpertsUp,
    gguf_name::kExpertsGateUp,
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
    hf_name::kAttnOutput.with_bias(Need::optional),
    hf_name::kAttnQNorm,
    hf_name::kAttnKNorm,
    {Role::delta_qkvz, "model.layers.%.linear_attn.in_proj_qkvz", Need::optional},
    {Role::delta_ba, "model.layers.%.linear_attn.in_proj_ba", Need::optional},
    {Role::delta_qkv, "model.layers.%.linear_attn.in_proj_qkv"},
    {Role::delta_z, "model.layers.%.linear_attn.in_proj_z"},
    {Role::delta_b, "model.layers.%.linear_attn.in_proj_b"},
    {Role::delta_a, "model.layers.%.linear_attn.in_proj_a"},
    {Role::delta_conv, "model.layers.%.linear_attn.conv1d"},
    {Role::delta_dt_bias, "model.layers.%.linear_attn.dt_bias", Need::required, Need::no, true},
    {Role::delta_a_log, "model.layers.%.linear_attn.A_log", Need::required, Need::no, true},
    {Role::delta_norm, "model.layers.%.linear_attn.norm"},
    {Role::delta_out, "model.layers.%.linear_attn.out_proj"},
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

inline Status check_sizes(const DeltaNetSpec& s, const std::string& where) {
  if (s.n_v_heads % s.n_k_heads == 0) return {};
  return make_error(Errc::invalid_file, "head counts do not fit", where,
                    "a multiple of " + std::to_string(s.n_k_heads) + " key heads",
                    std::to_string(s.n_v_heads) + " value heads");
}

/// What both kinds of file and the whole line share.
inline void finish(ModelSpec& spec, RopeSpec rope) {
  spec.ropes.push_back(std::move(rope));
  spec.attention_gate = true;
}

/// The hybrid's facts: recurrent layers are those with a convolution.
inline Result<CommonFacts<GgufFile>> read_gguf_hybrid(const GgufFile& file, std::string_view architecture,
                                                      bool tiled_value_heads) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts,
                 read_gguf_facts(file, architecture, {.experts = architecture != "qwen35"}));
  const detail::GgufFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  DeltaNetSpec& s = spec.delta_net;
  TRITIUM_ASSIGN(s.kernel, keys.size("ssm.conv_kernel", 2, kMaxTaps));
  TRITIUM_ASSIGN(s.k_dim, keys.size("ssm.state_size", 1, kMaxHeadDim));
  TRITIUM_ASSIGN(s.n_k_heads, keys.size("ssm.group_count", 1, kMaxHeads));
  TRITIUM_ASSIGN(s.n_v_heads, keys.size("ssm.time_step_rank", 1, kMaxHeads));
  TRITIUM_ASSIGN(const std::size_t inner, keys.size("ssm.inner_size", s.n_v_heads, kMaxWidth));
  s.v_dim = inner / s.n_v_heads;
  if (inner % s.n_v_heads != 0) {
    return make_error(Errc::invalid_file, "head counts do not fit",
                      keys.where() + ", key \"" + keys.full("ssm.inner_size") + "\"",
                      "a multiple of " + std::to_string(s.n_v_heads), std::to_string(inner));
  }
  s.tiled_value_heads = tiled_value_heads;
  TRITIUM_TRY(check_sizes(s, keys.where()));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    const bool recurrent = file.find_tensor("blk." + std::to_string(i) + ".ssm_conv1d.weight") != nullptr;
    spec.layers[i].mixer = recurrent ? Mixer::delta_net : Mixer::attention;
  }
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000000.0));
  finish(spec, std::move(rope));
  return facts;
}

inline Result<CommonFacts<JsonObject>> read_config_hybrid(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.context = 32768, .head_dim = 256}));
  const detail::ConfigFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  DeltaNetSpec& s = spec.delta_net;
  TRITIUM_TRY(keys.only<std::string_view>("hidden_act", "silu"));
  TRITIUM_TRY(keys.only<bool>("attn_output_gate", true));
  TRITIUM_ASSIGN(s.kernel, keys.size_or("linear_conv_kernel_dim", 4, 2, kMaxTaps));
  TRITIUM_ASSIGN(s.k_dim, keys.size_or("linear_key_head_dim", 128, 1, kMaxHeadDim));
  TRITIUM_ASSIGN(s.v_dim, keys.size_or("linear_value_head_dim", 128, 1, kMaxHeadDim));
  TRITIUM_ASSIGN(s.n_k_heads, keys.size_or("linear_num_key_heads", 16, 1, kMaxHeads));
  TRITIUM_ASSIGN(s.n_v_heads, keys.size_or("linear_num_value_heads", 32, 1, kMaxHeads));
  TRITIUM_TRY(check_sizes(s, keys.where()));
  TRITIUM_ASSIGN(const std::size_t interval, keys.size_or("full_attention_interval", 4, 1, kMaxLayers));
  for (std::size_t i = 0; i < spec.n_layers(); ++i)
    spec.layers[i].mixer = (i + 1) % interval == 0 ? Mixer::attention : Mixer::delta_net;
  if (config.find("layer_types") != nullptr) {
    TRITIUM_ASSIGN(const std::vector<bool> full, read_layer_types(config, spec.n_layers(), "linear_attention"));
    for (std::size_t i = 0; i < full.size(); ++i) spec.layers[i].mixer = full[i] ? Mixer::attention : Mixer::delta_net;
  }
  TRITIUM_ASSIGN(RopeSpec rope, read_config_rope(config, facts, {.partial = 0.25, .may_be_partial = true}));
  finish(spec, std::move(rope));
  return facts;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_hybrid(file, "qwen3next", false));
  TRITIUM_TRY(read_gguf_experts(file, facts, Router::softmax_renorm));
  TRITIUM_ASSIGN(facts.spec.moe.shared_ffn_dim, facts.keys.size("expert_shared_feed_forward_length", 1, kMaxWidth));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_hybrid(config));
  TRITIUM_TRY(read_config_experts(config, facts, true));
  TRITIUM_ASSIGN(facts.spec.moe.shared_ffn_dim, facts.keys.size("shared_expert_intermediate_size", 1, kMaxWidth));
  return std::move(facts.spec);
}

inline constexpr Family kFamily{.name = "qwen3_next",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames,
                                .hf_norm_plus_one = true};

}  // namespace qwen3_next

TRITIUM_NAMESPACE_END
