// SPDX-License-Identifier: Apache-2.0
// What nearly every family reads the same way: dimensions, head counts, epsilon, rotary embedding.
//
// Both styles of config.json occur: published keys (rope_theta, rope_scaling) and the newer rope_parameters.
// Sources: the GGUF key list; transformers' configuration classes and modeling_rope_utils.py.
#pragma once

#include <cmath>

#include "tritium/model/family.h"

TRITIUM_NAMESPACE_BEGIN

/// Multimodal checkpoints keep the text model's facts in text_config.
inline Result<JsonObject> text_config_of(const JsonObject& outer) {
  return outer.find("text_config") != nullptr ? outer.get_object("text_config") : Result<JsonObject>(outer);
}

/// A spec with the common part filled in, and the keys it came from.
template <class Source>
struct CommonFacts {
  ModelSpec spec;
  detail::Facts<Source> keys;
};

/// What a family's files may hold beyond the plain block. A file that has another of these is refused, not run without it.
struct GgufFeatures {
  bool window = false;
  bool experts = false;
  bool score_cap = false;
  bool logit_cap = false;
};

/// What a family's configuration class takes when a key is missing.
struct ConfigDefaults {
  bool tied = false;
  double norm_eps = 1e-6;
  std::size_t context = 2048;
  NormKind norm = NormKind::rms;
  std::size_t head_dim = 0;  ///< 0: hidden / heads
  bool ternary = false;      ///< the family may be made of BitLinears (quantization_config)
};

namespace detail {

inline Status check_heads(const ModelSpec& spec, const std::string& where) {
  for (const LayerSpec& l : spec.layers) {
    if (l.n_kv_heads == 0 || l.n_heads % l.n_kv_heads != 0) {
      return make_error(Errc::invalid_file, "head counts do not fit", where,
                        "a multiple of " + std::to_string(l.n_kv_heads) + " KV heads",
                        std::to_string(l.n_heads) + " heads");
    }
  }
  return {};
}

/// A per-layer fact: one number, or an array of one for each layer.
inline Result<std::vector<std::size_t>> per_layer(const GgufFacts& keys, std::string_view key, std::size_t n_layers,
                                                  std::size_t fallback, std::size_t most) {
  const GgufValue* value = keys.source().find(keys.full(key));
  if (value == nullptr || !value->is_array) {
    TRITIUM_ASSIGN(const std::size_t one, keys.size_or(key, fallback, 1, most));
    return std::vector<std::size_t>(n_layers, one);
  }
  TRITIUM_ASSIGN(const std::vector<std::uint64_t> all, keys.source().template get_array<std::uint64_t>(keys.full(key)));
  std::vector<std::size_t> out;
  for (const std::uint64_t v : all) {
    if (v == 0 || v > most) {
      return make_error(Errc::invalid_file, "hyper-parameter out of bounds",
                        keys.where() + ", key \"" + keys.full(key) + "\"", "1 to " + std::to_string(most),
                        std::to_string(v));
    }
    out.push_back(static_cast<std::size_t>(v));
  }
  if (out.size() != n_layers) {
    return make_error(Errc::invalid_file, "one entry for each layer", keys.where() + ", key \"" + keys.full(key) + "\"",
                      std::to_string(n_layers), std::to_string(out.size()));
  }
  return out;
}

}  // namespace detail

/// Refuses keys that change what is computed and that this family's graph does not have.
inline Status refuse_other_features(const detail::GgufFacts& keys, std::size_t context, const GgufFeatures& features) {
  TRITIUM_TRY(keys.only<bool>("attention.causal", true));
  TRITIUM_TRY(keys.only<std::uint64_t>("pooling_type", 0));
  for (const std::string_view scale : {"logit_scale", "residual_scale", "embedding_scale"})
    TRITIUM_TRY(keys.only<double>(scale, 1.0));
  TRITIUM_TRY(keys.only<double>("attention.scale", 0.0));
  TRITIUM_TRY(keys.only<double>("attention.max_alibi_bias", 0.0));
  TRITIUM_TRY(keys.only<double>("attention.clamp_kqv", 0.0));
  TRITIUM_TRY(keys.only<bool>("use_parallel_residual", false));
  if (!features.experts) TRITIUM_TRY(keys.only<std::uint64_t>("expert_count", 0));
  if (!features.score_cap) TRITIUM_TRY(keys.only<double>("attn_logit_softcapping", 0.0));
  if (!features.logit_cap) TRITIUM_TRY(keys.only<double>("final_logit_softcapping", 0.0));
  if (!features.window && keys.has("attention.sliding_window")) {
    TRITIUM_ASSIGN(const std::size_t window, keys.size("attention.sliding_window", 0, kMaxContext));
    if (window < context) TRITIUM_TRY(keys.only<std::uint64_t>("attention.sliding_window", 0));
  }
  return {};
}

inline Result<CommonFacts<GgufFile>> read_gguf_facts(const GgufFile& file, std::string_view architecture,
                                                     const GgufFeatures& features = {}) {
  CommonFacts<GgufFile> facts{{}, detail::facts_of(file, architecture)};
  const detail::GgufFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  spec.architecture = architecture;
  TRITIUM_ASSIGN(const std::string_view name, file.get_or<std::string_view>("general.name", ""));
  spec.name = name;
  TRITIUM_ASSIGN(spec.hidden, keys.size("embedding_length", 1, kMaxWidth));
  TRITIUM_ASSIGN(spec.context, keys.size("context_length", 1, kMaxContext));
  TRITIUM_ASSIGN(const std::size_t n_layers, keys.size("block_count", 1, kMaxLayers));
  TRITIUM_ASSIGN(spec.draft_layers, keys.size_or("nextn_predict_layers", 0, 0, n_layers - 1));
  const std::string_view ffn_key =
      keys.has("feed_forward_length") ? "feed_forward_length" : "expert_feed_forward_length";
  TRITIUM_ASSIGN(const std::vector<std::size_t> ffn, detail::per_layer(keys, ffn_key, n_layers, 0, kMaxWidth));
  TRITIUM_ASSIGN(const std::vector<std::size_t> heads,
                 detail::per_layer(keys, "attention.head_count", n_layers, 0, kMaxHeads));
  TRITIUM_ASSIGN(const std::vector<std::size_t> kv_heads,
                 detail::per_layer(keys, "attention.head_count_kv", n_layers, heads[0], kMaxHeads));
  TRITIUM_ASSIGN(const std::size_t head_dim,
                 keys.size_or("attention.key_length", spec.hidden / heads[0], 1, kMaxHeadDim));
  TRITIUM_TRY(keys.only<std::uint64_t>("attention.value_length", head_dim));
  const bool rms = keys.has("attention.layer_norm_rms_epsilon");
  TRITIUM_ASSIGN(const double eps,
                 keys.number(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 0.0, 1.0));
  spec.norm = rms ? NormKind::rms : NormKind::layer;
  spec.norm_eps = static_cast<float>(eps);
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  spec.layers.resize(n_layers - spec.draft_layers);
  for (std::size_t i = 0; i < spec.n_layers(); ++i) spec.layers[i] = {heads[i], kv_heads[i], head_dim, ffn[i], 0, 0};
  TRITIUM_TRY(detail::check_heads(spec, keys.where()));
  TRITIUM_TRY(refuse_other_features(keys, spec.context, features));
  return facts;
}

/// YaRN places its ramp by logarithms of the base.
inline Status check_yarn_base(const RopeSpec& rope, const std::string& where) {
  if (rope.base > 1.0) return {};
  return make_error(Errc::invalid_file, "rope scaling", where, "a base above 1 with yarn", std::to_string(rope.base));
}

/// rope.* keys; the divisors of rope_freqs.weight are read by the loader.
inline Result<RopeSpec> read_gguf_rope(const GgufFile& file, const CommonFacts<GgufFile>& facts, double default_base) {
  const detail::GgufFacts& keys = facts.keys;
  RopeSpec rope;
  const std::size_t head_dim = facts.spec.layers[0].head_dim;
  TRITIUM_ASSIGN(rope.base, keys.number_or("rope.freq_base", default_base, 1.0, 1e12));
  TRITIUM_ASSIGN(rope.rotary_dim, keys.size_or("rope.dimension_count", head_dim, 2, head_dim));
  if (rope.rotary_dim % 2 != 0) {
    return make_error(Errc::invalid_file, "rotary dimensions come in pairs",
                      keys.where() + ", key \"" + keys.full("rope.dimension_count") + "\"", "an even number",
                      std::to_string(rope.rotary_dim));
  }
  // A factor without a type is a linear one, as in files from before the type had a key.
  const std::string_view factor_key = keys.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  TRITIUM_ASSIGN(rope.factor, keys.number_or(factor_key, 1.0, 1e-3, 1e6));
  TRITIUM_ASSIGN(const std::string type, keys.text_or("rope.scaling.type", keys.has(factor_key) ? "linear" : "none"));
  TRITIUM_ASSIGN(rope.original_context,
                 keys.size_or("rope.scaling.original_context_length", facts.spec.context, 1, kMaxContext));
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    TRITIUM_TRY(check_yarn_base(rope, keys.where()));
    TRITIUM_ASSIGN(rope.beta_fast, keys.number_or("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6));
    TRITIUM_ASSIGN(rope.beta_slow, keys.number_or("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6));
    TRITIUM_TRY(keys.only<double>("rope.scaling.yarn_ext_factor", 1.0));
    TRITIUM_TRY(keys.only<double>("rope.scaling.yarn_log_multiplier", 0.0));
    // yarn_attn_factor is config.json's attention_factor: all of the magnitude
    TRITIUM_ASSIGN(rope.magnitude,
                   keys.number_or("rope.scaling.yarn_attn_factor",
                                  rope.factor > 1.0 ? 0.1 * std::log(rope.factor) + 1.0 : 1.0, 1e-3, 1e3));
    TRITIUM_ASSIGN(const double more, keys.number_or("rope.scaling.attn_factor", 1.0, 1e-3, 1e3));
    rope.magnitude *= more;
  } else if (type == "longrope") {
    rope.scaling = RopeScaling::longrope;
  } else if (type != "none") {
    return make_error(Errc::unsupported, "unsupported rope scaling",
                      keys.where() + ", key \"" + keys.full("rope.scaling.type") + "\"",
                      "none, linear, yarn or longrope", printable(type));
  }
  if (const GgufTensor* divisors = file.find_tensor("rope_freqs.weight"); divisors != nullptr)
    rope.scaling = RopeScaling::divisors;
  return rope;
}

inline Result<CommonFacts<JsonObject>> read_config_facts(const JsonObject& config,
                                                         const ConfigDefaults& defaults = {}) {
  CommonFacts<JsonObject> facts{{}, detail::facts_of(config)};
  const detail::ConfigFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  if (config.find("architectures") != nullptr) {
    TRITIUM_ASSIGN(const std::vector<std::string_view> names, config.get_array<std::string_view>("architectures"));
    if (!names.empty()) spec.architecture = names[0];
  }
  if (!defaults.ternary && config.find("quantization_config") != nullptr) {
    return make_error(Errc::unsupported, "unsupported model", keys.where() + ", key \"quantization_config\"",
                      "none for this family", "one");
  }
  TRITIUM_TRY(keys.only<bool>("is_causal", true));
  TRITIUM_ASSIGN(spec.hidden, keys.size("hidden_size", 1, kMaxWidth));
  TRITIUM_ASSIGN(spec.vocab, keys.size("vocab_size", 1, kMaxVocab));
  TRITIUM_ASSIGN(spec.context, keys.size_or("max_position_embeddings", defaults.context, 1, kMaxContext));
  TRITIUM_ASSIGN(const std::size_t n_layers, keys.size("num_hidden_layers", 1, kMaxLayers));
  std::vector<std::size_t> ffn(n_layers);
  if (const Json* sizes = config.find("intermediate_size");
      sizes != nullptr && sizes->is_array()) {  // one for each layer
    TRITIUM_ASSIGN(const std::vector<std::uint64_t> all, config.get_array<std::uint64_t>("intermediate_size"));
    bool sound = all.size() == n_layers;
    for (std::size_t i = 0; sound && i < n_layers; ++i) sound = all[i] >= 1 && all[i] <= kMaxWidth;
    if (!sound) {
      return make_error(Errc::invalid_file, "one width for each layer", keys.where() + ", key \"intermediate_size\"",
                        std::to_string(n_layers) + " numbers", std::to_string(all.size()) + " numbers");
    }
    for (std::size_t i = 0; i < n_layers; ++i) ffn[i] = static_cast<std::size_t>(all[i]);
  } else {
    TRITIUM_ASSIGN(
        const std::size_t one,
        keys.size(keys.has("intermediate_size") ? "intermediate_size" : "moe_intermediate_size", 1, kMaxWidth));
    ffn.assign(n_layers, one);
  }
  TRITIUM_ASSIGN(const std::size_t heads, keys.size("num_attention_heads", 1, kMaxHeads));
  TRITIUM_ASSIGN(const std::size_t kv_heads, keys.size_or("num_key_value_heads", heads, 1, kMaxHeads));
  TRITIUM_ASSIGN(
      const std::size_t head_dim,
      keys.size_or("head_dim", defaults.head_dim == 0 ? spec.hidden / heads : defaults.head_dim, 1, kMaxHeadDim));
  // PhiMoE has LayerNorms and calls their epsilon rms_norm_eps.
  const std::string_view eps_key =
      defaults.norm == NormKind::layer && keys.has("layer_norm_eps") ? "layer_norm_eps" : "rms_norm_eps";
  TRITIUM_ASSIGN(const double eps, keys.number_or(eps_key, defaults.norm_eps, 0.0, 1.0));
  spec.norm = defaults.norm;
  TRITIUM_ASSIGN(spec.tied_head, keys.flag_or("tie_word_embeddings", defaults.tied));
  spec.norm_eps = static_cast<float>(eps);
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (std::size_t i = 0; i < n_layers; ++i) spec.layers.push_back({heads, kv_heads, head_dim, ffn[i], 0, 0});
  TRITIUM_TRY(detail::check_heads(spec, keys.where()));
  return facts;
}

/// What a rope_type needs besides the object itself.
struct RopeDefaults {
  double base = 10000.0;
  double partial = 1.0;              ///< partial_rotary_factor
  std::size_t original_context = 0;  ///< 0: the model's context
  bool phi = false;                  ///< "su" and "yarn" mean longrope in the Phi-3 line
  bool may_be_partial = false;       ///< the family rotates a part of a head; in another the key is refused
};

/// An object with rope_type (or type) and its numbers: rope_scaling, or rope_parameters with rope_theta inside.
inline Result<RopeSpec> read_rope_parameters(const JsonObject& object, const CommonFacts<JsonObject>& facts,
                                             const RopeDefaults& defaults) {
  const detail::ConfigFacts keys = detail::facts_of(object);
  const std::size_t head_dim = facts.spec.layers[0].head_dim;
  RopeSpec rope;
  TRITIUM_ASSIGN(rope.base, keys.number_or("rope_theta", defaults.base, 1.0, 1e12));
  TRITIUM_ASSIGN(const double partial, keys.number_or("partial_rotary_factor", defaults.partial, 0.0, 1.0));
  if (!defaults.may_be_partial) TRITIUM_TRY(keys.only<double>("partial_rotary_factor", 1.0));
  rope.rotary_dim = static_cast<std::size_t>(static_cast<double>(head_dim) * partial) / 2 * 2;
  TRITIUM_ASSIGN(std::string type, keys.text_or(keys.has("rope_type") ? "rope_type" : "type", "default"));
  if (type == "su" || (defaults.phi && type == "yarn")) type = "longrope";
  const std::size_t context = facts.spec.context;
  TRITIUM_ASSIGN(rope.original_context,
                 keys.size_or("original_max_position_embeddings",
                              defaults.original_context == 0 ? context : defaults.original_context, 1, kMaxContext));
  const double stretch = static_cast<double>(context) / static_cast<double>(rope.original_context);
  TRITIUM_ASSIGN(rope.factor,
                 keys.number_or("factor", type == "yarn" || type == "longrope" ? stretch : 1.0, 1e-3, 1e6));
  if (type == "default" || type == "mrope") return rope;
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "dynamic") {
    rope.scaling = RopeScaling::dynamic_ntk;
    rope.original_context = context;
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    TRITIUM_ASSIGN(rope.low_freq_factor, keys.number("low_freq_factor", 1e-3, 1e6));
    TRITIUM_ASSIGN(rope.high_freq_factor, keys.number("high_freq_factor", 1e-3, 1e6));
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      return make_error(Errc::invalid_file, "rope scaling", keys.where() + ", key \"high_freq_factor\"",
                        "more than low_freq_factor", std::to_string(rope.high_freq_factor));
    }
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    TRITIUM_TRY(check_yarn_base(rope, keys.where()));
    TRITIUM_ASSIGN(rope.beta_fast, keys.number_or("beta_fast", 32.0, 1e-3, 1e6));
    TRITIUM_ASSIGN(rope.beta_slow, keys.number_or("beta_slow", 1.0, 1e-3, 1e6));
    TRITIUM_ASSIGN(rope.truncate, keys.flag_or("truncate", true));
    TRITIUM_TRY(keys.only<double>("mscale_all_dim", 0.0));
    TRITIUM_ASSIGN(
        rope.magnitude,
        keys.number_or("attention_factor", rope.factor > 1.0 ? 0.1 * std::log(rope.factor) + 1.0 : 1.0, 1e-3, 1e3));
  } else if (type == "longrope") {
    rope.scaling = RopeScaling::longrope;
    TRITIUM_ASSIGN(rope.divisors, object.get_array<float>("short_factor"));
    TRITIUM_ASSIGN(rope.long_divisors, object.get_array<float>("long_factor"));
    const double magnitude =
        rope.factor <= 1.0
            ? 1.0
            : std::sqrt(1.0 + std::log(rope.factor) / std::log(static_cast<double>(rope.original_context)));
    TRITIUM_ASSIGN(rope.magnitude, keys.number_or("attention_factor", magnitude, 1e-3, 1e3));
    for (const std::vector<float>* factors : {&rope.divisors, &rope.long_divisors}) {
      bool sound = factors->size() == rope.rotary_dim / 2;
      for (const float f : *factors) sound = sound && f > 0.0f && std::isfinite(f);
      if (!sound) {
        return make_error(
            Errc::invalid_file, "rope factors",
            keys.where() + (factors == &rope.divisors ? ", key \"short_factor\"" : ", key \"long_factor\""),
            std::to_string(rope.rotary_dim / 2) + " positive numbers", std::to_string(factors->size()) + " numbers");
      }
    }
  } else {
    return make_error(Errc::unsupported, "unsupported rope scaling", keys.where() + ", key \"rope_type\"",
                      "default, linear, dynamic, llama3, yarn or longrope", printable(type));
  }
  return rope;
}

/// rope_parameters, or rope_theta, partial_rotary_factor and rope_scaling.
/// A base that grows with the length carries a model past its max_position_embeddings: its context is `factor` times as long.
inline Result<RopeSpec> read_config_rope(const JsonObject& config, CommonFacts<JsonObject>& facts,
                                         RopeDefaults defaults) {
  TRITIUM_ASSIGN(defaults.base, facts.keys.number_or("rope_theta", defaults.base, 1.0, 1e12));
  TRITIUM_ASSIGN(defaults.partial, facts.keys.number_or("partial_rotary_factor", defaults.partial, 0.0, 1.0));
  if (!defaults.may_be_partial) TRITIUM_TRY(facts.keys.only<double>("partial_rotary_factor", 1.0));
  TRITIUM_ASSIGN(defaults.original_context,
                 facts.keys.size_or("original_max_position_embeddings", defaults.original_context, 0, kMaxContext));
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    if (config.find(key) == nullptr) continue;
    TRITIUM_ASSIGN(const JsonObject object, config.get_object(key));
    TRITIUM_ASSIGN(RopeSpec scaled, read_rope_parameters(object, facts, defaults));
    if (scaled.scaling == RopeScaling::dynamic_ntk && scaled.factor > 1.0) {
      facts.spec.context =
          std::min(kMaxContext, static_cast<std::size_t>(static_cast<double>(facts.spec.context) * scaled.factor));
    }
    return scaled;
  }
  RopeSpec rope;
  rope.base = defaults.base;
  rope.rotary_dim =
      static_cast<std::size_t>(static_cast<double>(facts.spec.layers[0].head_dim) * defaults.partial) / 2 * 2;
  rope.original_context = facts.spec.context;
  return rope;
}

/// layer_types: true for "full_attention", false for the other kind that the family has.
inline Result<std::vector<bool>> read_layer_types(const JsonObject& config, std::size_t n_layers,
                                                  std::string_view other = "sliding_attention") {
  TRITIUM_ASSIGN(const std::vector<std::string_view> types, config.get_array<std::string_view>("layer_types"));
  if (types.size() != n_layers) {
    return make_error(Errc::invalid_file, "one entry for each layer",
                      std::string(config.where()) + ", key \"layer_types\"", std::to_string(n_layers),
                      std::to_string(types.size()));
  }
  std::vector<bool> full;
  for (const std::string_view type : types) {
    if (type != "full_attention" && type != other) {
      return make_error(Errc::unsupported, "unsupported layer", std::string(config.where()) + ", key \"layer_types\"",
                        "full_attention or " + std::string(other), printable(type));
    }
    full.push_back(type == "full_attention");
  }
  return full;
}

/// layer_types, where a file has them, override the rule by which a family places its windows.
inline Status read_explicit_windows(const JsonObject& config, ModelSpec& spec, bool on, std::size_t window) {
  if (config.find("layer_types") == nullptr) return {};
  TRITIUM_ASSIGN(const std::vector<bool> full, read_layer_types(config, spec.n_layers()));
  for (std::size_t i = 0; i < full.size(); ++i) {
    if (!full[i] && !on) {
      return make_error(Errc::invalid_file, "contradictory windows",
                        std::string(config.where()) + ", key \"layer_types\"",
                        "full_attention, since use_sliding_window is false", "sliding_attention");
    }
    spec.layers[i].window = full[i] ? 0 : window;
  }
  return {};
}

/// Windows of the Qwen line: layer_types where given, else layers from max_window_layers on when use_sliding_window is set.
inline Status read_late_windows(const JsonObject& config, CommonFacts<JsonObject>& facts, std::size_t default_first) {
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(const bool on, facts.keys.flag_or("use_sliding_window", false));
  TRITIUM_ASSIGN(const std::size_t window, facts.keys.size_or("sliding_window", 4096, 1, kMaxContext));
  TRITIUM_ASSIGN(const std::size_t first, facts.keys.size_or("max_window_layers", default_first, 0, kMaxLayers));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) spec.layers[i].window = on && i >= first ? window : 0;
  return read_explicit_windows(config, spec, on, window);
}

/// Experts of a GGUF file: the layers that have them are those with a router.
inline Status read_gguf_experts(const GgufFile& file, CommonFacts<GgufFile>& facts, Router router) {
  const detail::GgufFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  spec.moe.router = router;
  TRITIUM_ASSIGN(spec.moe.n_experts, keys.size("expert_count", 1, kMaxExperts));
  TRITIUM_ASSIGN(spec.moe.top_k, keys.size("expert_used_count", 1, spec.moe.n_experts));
  TRITIUM_ASSIGN(spec.moe.ffn_dim, keys.size_or("expert_feed_forward_length", spec.layers[0].ffn_dim, 1, kMaxWidth));
  TRITIUM_TRY(keys.only<std::uint64_t>("expert_gating_func", 1));  // softmax
  TRITIUM_TRY(keys.only<double>("expert_weights_scale", 1.0));
  TRITIUM_TRY(keys.only<bool>("expert_weights_norm", router == Router::softmax_renorm));
  TRITIUM_TRY(keys.only<std::uint64_t>("expert_group_count", 1));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    spec.layers[i].moe = file.find_tensor("blk." + std::to_string(i) + ".ffn_gate_inp.weight") != nullptr;
  }
  return {};
}

/// Experts of the Qwen line: every decoder_sparse_step-th layer that mlp_only_layers does not name.
inline Status read_config_experts(const JsonObject& config, CommonFacts<JsonObject>& facts, bool renormalise) {
  const detail::ConfigFacts& keys = facts.keys;
  ModelSpec& spec = facts.spec;
  TRITIUM_ASSIGN(spec.moe.n_experts,
                 keys.size(keys.has("num_experts") ? "num_experts" : "num_local_experts", 1, kMaxExperts));
  TRITIUM_ASSIGN(spec.moe.top_k, keys.size("num_experts_per_tok", 1, spec.moe.n_experts));
  TRITIUM_ASSIGN(spec.moe.ffn_dim, keys.size("moe_intermediate_size", 1, kMaxWidth));
  TRITIUM_ASSIGN(const bool renorm, keys.flag_or("norm_topk_prob", renormalise));
  spec.moe.router = renorm ? Router::softmax_renorm : Router::softmax;
  TRITIUM_ASSIGN(const std::size_t step, keys.size_or("decoder_sparse_step", 1, 1, kMaxLayers));
  for (std::size_t i = 0; i < spec.n_layers(); ++i) spec.layers[i].moe = (i + 1) % step == 0;
  if (config.find("mlp_only_layers") == nullptr) return {};
  TRITIUM_ASSIGN(const std::vector<std::uint64_t> dense, config.get_array<std::uint64_t>("mlp_only_layers"));
  for (const std::uint64_t i : dense) {
    if (i < spec.n_layers()) spec.layers[static_cast<std::size_t>(i)].moe = false;
  }
  return {};
}

/// The last `shared` layers read the cache of the last layer before them that sees as many keys: `full` of each layer.
inline Status share_caches(ModelSpec& spec, std::size_t shared, const std::vector<bool>& full,
                           const std::string& where) {
  const std::size_t first = spec.n_layers() - shared;
  for (std::size_t i = first; i < spec.n_layers(); ++i) {
    std::size_t source = first;
    while (source > 0 && full[source - 1] != full[i]) --source;
    if (source == 0) {
      return make_error(Errc::invalid_file, "shared caches", where,
                        "an earlier layer of the kind of layer " + std::to_string(i), "none");
    }
    const std::size_t heads = spec.layers[source - 1].n_kv_heads;
    if (spec.layers[i].n_kv_heads != heads) {  // queries would read heads that the cache does not have
      return make_error(Errc::invalid_file, "shared caches", where,
                        std::to_string(heads) + " KV heads on layer " + std::to_string(i) + ", as on layer " +
                            std::to_string(source - 1),
                        std::to_string(spec.layers[i].n_kv_heads));
    }
    spec.layers[i].kv_source = static_cast<int>(source - 1);
  }
  return {};
}

/// quantization_config of a BitNet checkpoint; without one weights are plain floats.
inline Result<TernaryScale> read_bitnet_quantization(const JsonObject& config) {
  if (config.find("quantization_config") == nullptr) return TernaryScale::none;
  TRITIUM_ASSIGN(const JsonObject object, config.get_object("quantization_config"));
  const detail::ConfigFacts keys = detail::facts_of(object);
  TRITIUM_TRY(keys.only<std::string_view>("quant_method", "bitnet"));
  TRITIUM_TRY(keys.only<bool>("use_rms_norm", false));
  if (object.find("modules_to_not_convert") != nullptr) {
    TRITIUM_ASSIGN(const std::vector<std::string_view> kept,
                   object.get_array<std::string_view>("modules_to_not_convert"));
    for (const std::string_view name : kept) {
      if (name == "lm_head") continue;
      return make_error(Errc::unsupported, "unsupported model", keys.where() + ", key \"modules_to_not_convert\"",
                        "lm_head alone", printable(name));
    }
  }
  TRITIUM_ASSIGN(const std::string linear_class, keys.text_or("linear_class", "bitlinear"));
  TRITIUM_ASSIGN(const std::string mode, keys.text_or("quantization_mode", "offline"));
  if (linear_class == "bitlinear") return TernaryScale::divide;
  if (linear_class != "autobitlinear") {
    return make_error(Errc::unsupported, "unsupported model", keys.where() + ", key \"linear_class\"",
                      "bitlinear or autobitlinear", printable(linear_class));
  }
  if (mode == "offline") return TernaryScale::multiply;
  if (mode == "online") return TernaryScale::online;
  return make_error(Errc::unsupported, "unsupported model", keys.where() + ", key \"quantization_mode\"",
                    "offline or online", printable(mode));
}

TRITIUM_NAMESPACE_END
