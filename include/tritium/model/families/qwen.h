// SPDX-License-Identifier: Apache-2.0
// Qwen 1: Llama's block with q, k and v in one biased matrix, a base and a query scale that grow past the trained length.
//
//   past seq_length N:  base' = base alpha^(d / (d - 2)), alpha = 2^(ceil(log2(n / N) + 1)) - 1 for a prompt of n;
//                       q at position p is scaled by ln(p + 1) / ln(N)
//   h += c_proj(w1 x * silu(w2 x)):  w2 is the gate, and intermediate_size is twice the width of each
//
// GGUF (architecture "qwen") has no keys for the two tricks: they are for longer sequences than its context_length.
// Sources: the published model's own modeling_qwen.py (it is not in transformers); llama.cpp's converter for names.
#pragma once

#include "tritium/model/families/common.h"

TRITIUM_NAMESPACE_BEGIN

namespace qwen {

inline constexpr std::string_view kGgufArchitectures[] = {"qwen"};
inline constexpr std::string_view kHfArchitectures[] = {"QWenLMHeadModel"};

inline constexpr TensorName kGgufNames[] = {
    gguf_name::kTokenEmbedding,
    gguf_name::kOutputNorm,
    gguf_name::kOutput,
    gguf_name::kAttnNorm,
    {Role::attn_qkv, "blk.%.attn_qkv", Need::required, Need::required},
    gguf_name::kAttnOutput,
    gguf_name::kFfnNorm,
    gguf_name::kFfnGate,
    gguf_name::kFfnUp,
    gguf_name::kFfnDown,
};
inline constexpr TensorName kHfNames[] = {
    {Role::token_embedding, "transformer.wte"},
    {Role::output_norm, "transformer.ln_f"},
    hf_name::kOutput,
    {Role::attn_norm, "transformer.h.%.ln_1"},
    {Role::attn_qkv, "transformer.h.%.attn.c_attn", Need::required, Need::required},
    {Role::attn_output, "transformer.h.%.attn.c_proj"},
    {Role::ffn_norm, "transformer.h.%.ln_2"},
    {Role::ffn_gate, "transformer.h.%.mlp.w2"},
    {Role::ffn_up, "transformer.h.%.mlp.w1"},
    {Role::ffn_down, "transformer.h.%.mlp.c_proj"},
};

inline Status halve_ffn(ModelSpec& spec, const std::string& where) {
  for (LayerSpec& layer : spec.layers) {
    if (layer.ffn_dim % 2 != 0)
      return make_error(Errc::invalid_file, "the doubled width of an MLP", where, "an even number",
                        std::to_string(layer.ffn_dim));
    layer.ffn_dim /= 2;
  }
  return {};
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "qwen"));
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 10000.0));
  facts.spec.ropes.push_back(std::move(rope));
  facts.spec.norm = NormKind::rms;  // whatever key the epsilon is under
  TRITIUM_TRY(halve_ffn(facts.spec, facts.keys.where() + ", key \"qwen.feed_forward_length\""));
  return std::move(facts.spec);
}

inline Result<ModelSpec> from_config(const JsonObject& config) {
  TRITIUM_ASSIGN(const std::size_t heads, detail::facts_of(config).size("num_attention_heads", 1, kMaxHeads));
  TRITIUM_ASSIGN(const std::size_t width, detail::facts_of(config).size("hidden_size", 1, kMaxWidth));
  TRITIUM_ASSIGN(const std::size_t head_dim,
                 detail::facts_of(config).size_or("kv_channels", width / heads, 1, kMaxHeadDim));
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts, read_config_facts(config, {.context = 8192, .head_dim = head_dim}));
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(facts.keys.only<std::uint64_t>("num_key_value_heads", heads));
  TRITIUM_TRY(facts.keys.only<bool>("no_bias", true));
  TRITIUM_TRY(facts.keys.only<bool>("scale_attn_weights", true));
  TRITIUM_TRY(facts.keys.only<double>("rotary_pct", 1.0));
  TRITIUM_ASSIGN(const double eps, facts.keys.number_or("layer_norm_epsilon", 1e-6, 0.0, 1.0));
  spec.norm_eps = static_cast<float>(eps);
  RopeSpec rope;
  rope.rotary_dim = head_dim / 2 * 2;
  TRITIUM_ASSIGN(rope.base, facts.keys.number_or("rotary_emb_base", 10000.0, 1.0, 1e12));
  TRITIUM_ASSIGN(rope.original_context, facts.keys.size_or("seq_length", spec.context, 2, kMaxContext));
  spec.context = std::max(spec.context, rope.original_context);
  TRITIUM_ASSIGN(const bool grows, facts.keys.flag_or("use_dynamic_ntk", true));
  TRITIUM_ASSIGN(const bool log_n, facts.keys.flag_or("use_logn_attn", true));
  if (grows) rope.scaling = RopeScaling::qwen_ntk;
  if (log_n) spec.log_n_context = rope.original_context;
  spec.ropes.push_back(std::move(rope));
  TRITIUM_TRY(halve_ffn(spec, facts.keys.where() + ", key \"intermediate_size\""));
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "qwen",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace qwen

TRITIUM_NAMESPACE_END
