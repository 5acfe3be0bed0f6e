// SPDX-License-Identifier: Apache-2.0
// Gemma 3n: Gemma 3's block over four residual streams, with a low-rank branch, a second embedding, shared caches, a sparse gate.
//
//   streams: model/streams.h;  second embedding: model/per_layer_input.h;  scores are not scaled, values are RMS-normalised
//   u = (h + N_pa(Attn x) + x + N_lr(W_r W_l x)) / sqrt(2), x = N_in(h);   h = u + N_pf(Wd(gelu(cut(Wg y)) * (Wu y))), y = N_pre(u)
//   cut(g) = max(g - (mean + z deviation), 0) on the first layers, z the normal quantile of their sparsity
//
// The last num_kv_shared_layers layers have no keys and values: they read those of the last layer of their kind before them. Every
// fifth layer is global. Norm weights are stored as they are. Source: transformers modeling_gemma3n.py; llama.cpp's converter.
#pragma once

#include "tritium/model/families/gemma3.h"

TRITIUM_NAMESPACE_BEGIN

namespace gemma3n {

inline constexpr std::string_view kGgufArchitectures[] = {"gemma3n"};
inline constexpr std::string_view kHfArchitectures[] = {"Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"};

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
    {Role::streams_project, "altup_proj"},
    {Role::streams_unproject, "altup_unembd_proj"},
    {Role::altup_router, "blk.%.altup_router"},
    {Role::altup_router_norm, "blk.%.altup_router_norm"},
    {Role::altup_predict, "blk.%.altup_predict_coef"},
    {Role::altup_correct, "blk.%.altup_correct_coef"},
    {Role::altup_out_scale, "blk.%.altup_correct_scale"},
    {Role::laurel_left, "blk.%.laurel_l"},
    {Role::laurel_right, "blk.%.laurel_r"},
    {Role::laurel_post_norm, "blk.%.laurel_post_norm"},
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
    {Role::stream_project, "model.altup_projections.#"},
    {Role::stream_unproject, "model.altup_unembed_projections.#"},
    {Role::altup_router, "model.layers.%.altup.modality_router"},
    {Role::altup_router_norm, "model.layers.%.altup.router_norm"},
    {Role::altup_predict, "model.layers.%.altup.prediction_coefs"},
    {Role::altup_correct, "model.layers.%.altup.correction_coefs"},
    {Role::altup_out_scale, "model.layers.%.altup.correct_output_scale", Need::required, Need::no, true},
    {Role::laurel_left, "model.layers.%.laurel.linear_left"},
    {Role::laurel_right, "model.layers.%.laurel.linear_right"},
    {Role::laurel_post_norm, "model.layers.%.laurel.post_laurel_norm"},
};

inline constexpr std::size_t kMaxStreams = 16;

/// The x with Phi(x) = p, by halving: once a layer, at load.
inline double normal_quantile(double p) {
  double low = -40.0, high = 40.0;
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

/// -infinity and 0 % mean a dense layer; a quantile of zero is a cut at the mean.
inline float cut_of(double z) { return std::isinf(z) ? 0.0f : z == 0.0 ? 1e-30f : static_cast<float>(z); }

inline void finish_scales(ModelSpec& spec) {
  spec.attention_scale = 1.0f;
  spec.value_norm = true;
}

inline Result<ModelSpec> from_gguf(const GgufFile& file) {
  TRITIUM_ASSIGN(CommonFacts<GgufFile> facts, read_gguf_facts(file, "gemma3n", {.window = true, .logit_cap = true}));
  const detail::GgufFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(RopeSpec rope, read_gguf_rope(file, facts, 1000000.0));
  TRITIUM_ASSIGN(const double local_base, keys.number_or("rope.freq_base_swa", gemma3::kLocalBase, 1.0, 1e12));
  TRITIUM_ASSIGN(const std::size_t window, keys.size_or("attention.sliding_window", 512, 1, kMaxContext));
  TRITIUM_ASSIGN(const double logit_cap, keys.number_or("final_logit_softcapping", 30.0, 0.0, 1e6));
  spec.logit_cap = static_cast<float>(logit_cap);
  TRITIUM_TRY(keys.only<std::uint64_t>("altup.active_idx", 0));
  TRITIUM_ASSIGN(spec.n_streams, keys.size_or("altup.num_inputs", 4, 2, kMaxStreams));
  TRITIUM_ASSIGN(spec.per_layer_dim, keys.size("embedding_length_per_layer_input", 1, kMaxWidth));
  if (const GgufTensor* left = file.find_tensor("blk.0.laurel_l.weight"); left != nullptr)
    spec.laurel_rank = static_cast<std::size_t>(left->dims[1]);
  if (const GgufTensor* table = file.find_tensor("per_layer_token_embd.weight"); table != nullptr)
    spec.per_layer_vocab = static_cast<std::size_t>(table->dims[1]);
  if (spec.laurel_rank == 0 || spec.laurel_rank > kMaxWidth) {
    return make_error(Errc::invalid_file, "low-rank branch", keys.where() + ", tensor \"blk.0.laurel_l.weight\"",
                      "1 to " + std::to_string(kMaxWidth) + " rows", std::to_string(spec.laurel_rank));
  }
  TRITIUM_ASSIGN(const std::vector<double> cuts, file.get_array<double>(keys.full("activation_sparsity_scale")));
  if (cuts.size() != spec.n_layers()) {
    return make_error(Errc::invalid_file, "one entry for each layer",
                      keys.where() + ", key \"" + keys.full("activation_sparsity_scale") + "\"",
                      std::to_string(spec.n_layers()), std::to_string(cuts.size()));
  }
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    if (std::isnan(cuts[i]) || cuts[i] > 40.0)
      return make_error(Errc::invalid_file, "sparsity", keys.where(), "a normal quantile", std::to_string(cuts[i]));
    spec.layers[i].sparsity = cut_of(cuts[i]);
  }
  TRITIUM_ASSIGN(const std::vector<bool> global, gemma3::read_gguf_pattern(file, facts));
  gemma3::finish(spec, std::move(rope), local_base, window, global);
  finish_scales(spec);
  TRITIUM_ASSIGN(const double shared, keys.number_or("attention.shared_kv_layers", 0.0, 0.0,
                                                     static_cast<double>(spec.n_layers())));  // f32 in some files
  TRITIUM_TRY(share_caches(spec, static_cast<std::size_t>(shared), global, keys.where()));
  return std::move(spec);
}

inline Result<ModelSpec> from_config(const JsonObject& outer) {
  TRITIUM_ASSIGN(const JsonObject config, text_config_of(outer));
  TRITIUM_ASSIGN(CommonFacts<JsonObject> facts,
                 read_config_facts(config, {.tied = true, .context = 32768, .head_dim = 256}));
  const detail::ConfigFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  TRITIUM_TRY(keys.only<std::string_view>("hidden_activation", "gelu_pytorch_tanh"));
  TRITIUM_TRY(keys.only<bool>("attention_bias", false));
  TRITIUM_TRY(keys.only<std::uint64_t>("altup_active_idx", 0));
  TRITIUM_TRY(keys.only<bool>("altup_correct_scale", true));
  TRITIUM_ASSIGN(const double logit_cap, keys.number_or("final_logit_softcapping", 30.0, 0.0, 1e6));
  spec.logit_cap = static_cast<float>(logit_cap);
  TRITIUM_ASSIGN(spec.n_streams, keys.size_or("altup_num_inputs", 4, 2, kMaxStreams));
  TRITIUM_ASSIGN(spec.laurel_rank, keys.size_or("laurel_rank", 64, 1, kMaxWidth));
  TRITIUM_ASSIGN(spec.per_layer_dim, keys.size_or("hidden_size_per_layer_input", 256, 1, kMaxWidth));
  TRITIUM_ASSIGN(spec.per_layer_vocab, keys.size_or("vocab_size_per_layer_input", 262144, 1, kMaxVocab));
  TRITIUM_ASSIGN(const std::size_t window, keys.size_or("sliding_window", 512, 1, kMaxContext));
  std::vector<bool> global(spec.n_layers());
  for (std::size_t i = 0; i < global.size(); ++i) global[i] = (i + 1) % 5 == 0;
  if (config.find("layer_types") != nullptr) {
    TRITIUM_ASSIGN(global, read_layer_types(config, spec.n_layers()));
  }
  std::vector<double> sparsity(spec.n_layers(), 0.0);
  if (const Json* pattern = config.find("activation_sparsity_pattern"); pattern != nullptr && pattern->is_array()) {
    TRITIUM_ASSIGN(sparsity, config.get_array<double>("activation_sparsity_pattern"));
  } else if (pattern != nullptr) {
    TRITIUM_ASSIGN(const double one, keys.number("activation_sparsity_pattern", 0.0, 1.0));
    sparsity.assign(spec.n_layers(), one);
  } else if (spec.n_layers() > 10) {
    std::fill_n(sparsity.begin(), 10, 0.95);
  }
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    if (sparsity.size() != spec.n_layers() || !(sparsity[i] >= 0.0 && sparsity[i] < 1.0)) {
      return make_error(
          Errc::invalid_file, "sparsity of the gate", keys.where() + ", key \"activation_sparsity_pattern\"",
          std::to_string(spec.n_layers()) + " numbers in [0, 1)", std::to_string(sparsity.size()) + " numbers");
    }
    spec.layers[i].sparsity = sparsity[i] > 0.0 ? cut_of(normal_quantile(sparsity[i])) : 0.0f;
  }
  TRITIUM_ASSIGN(gemma3::Ropes ropes, gemma3::read_config_ropes(config, facts));
  gemma3::finish(spec, std::move(ropes.global), ropes.local_base, window, global);
  finish_scales(spec);
  TRITIUM_ASSIGN(const std::size_t shared, keys.size_or("num_kv_shared_layers", 15, 0, spec.n_layers()));
  TRITIUM_TRY(share_caches(spec, shared, global, keys.where() + ", key \"num_kv_shared_layers\""));
  return std::move(spec);
}

inline constexpr Family kFamily{.name = "gemma3n",
                                .gguf_architectures = kGgufArchitectures,
                                .hf_architectures = kHfArchitectures,
                                .from_gguf = &from_gguf,
                                .from_config = &from_config,
                                .gguf_names = kGgufNames,
                                .hf_names = kHfNames};

}  // namespace gemma3n

TRITIUM_NAMESPACE_END
