// SPDX-License-Identifier: Apache-2.0
// A ModelSpec as the metadata of a GGUF file, and what such a file would not say right.
//
// GGUF has keys for sizes and most rotary embeddings and leaves the rest to the architecture's name: activations,
// scales and periods of layers are facts of a family. So the metadata is written from the spec, read back by the
// family, and the two specs are held against each other: a model that differs from its family in what has no key is
// refused. Source: the key list of the GGUF specification; llama.cpp's converter for what each architecture's files
// hold.
#pragma once

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "tritium/io/gguf.h"
#include "tritium/model/family.h"

TRITIUM_NAMESPACE_BEGIN

/// A vector that GGUF files keep as a tensor and config.json as numbers.
struct NamedFactors {
  std::string name;           ///< of the tensor
  std::vector<float> values;  ///< its numbers
};

namespace detail {

/// What Llama 3.1's scaling divides each frequency by.
inline std::vector<float> llama3_divisors(const RopeSpec& rope) {
  std::vector<float> divisors(rope.rotary_dim / 2);
  const auto original = static_cast<double>(rope.original_context);
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double frequency = std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
    const double turns = original * frequency / (2.0 * std::numbers::pi);
    double divisor = 1.0;
    if (turns < rope.low_freq_factor) {
      divisor = rope.factor;
    } else if (turns < rope.high_freq_factor) {
      const double kept = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1.0 / ((1.0 - kept) / rope.factor + kept);
    }
    divisors[i] = static_cast<float>(divisor);
  }
  return divisors;
}

inline double yarn_magnitude(double factor) { return factor > 1.0 ? 0.1 * std::log(factor) + 1.0 : 1.0; }

/// Equal as far as the f32 of a file can say it.
inline bool near(double a, double b) { return std::fabs(a - b) <= 1e-6 * std::max(std::fabs(a), std::fabs(b)); }

/// Sets keys under the architecture's prefix.
class ArchitectureKeys {
 public:
  ArchitectureKeys(GgufWriter& writer, std::string_view architecture)
      : writer_(writer), prefix_(concat(architecture, ".")) {}
  [[nodiscard]] Status count(std::string_view key, std::size_t value) {
    return writer_.set(prefix_ + std::string(key), static_cast<std::uint32_t>(value));
  }
  [[nodiscard]] Status real(std::string_view key, double value) {
    return writer_.set(prefix_ + std::string(key), static_cast<float>(value));
  }
  [[nodiscard]] Status text(std::string_view key, std::string_view value) {
    return writer_.set(prefix_ + std::string(key), value);
  }
  [[nodiscard]] Status flags(std::string_view key, const std::vector<bool>& values) {
    const auto plain = std::make_unique<bool[]>(values.size());
    std::copy(values.begin(), values.end(), plain.get());
    return writer_.set_array(prefix_ + std::string(key), std::span<const bool>(plain.get(), values.size()));
  }

 private:
  GgufWriter& writer_;
  std::string prefix_;
};

inline Status set_rope_keys(const ModelSpec& spec, ArchitectureKeys& keys) {
  const RopeSpec& rope = spec.ropes[0];
  TRITIUM_TRY(keys.count("rope.dimension_count", rope.rotary_dim));
  TRITIUM_TRY(keys.real("rope.freq_base", rope.base));
  if (rope.scaling == RopeScaling::linear || rope.scaling == RopeScaling::yarn) {
    TRITIUM_TRY(keys.text("rope.scaling.type", rope.scaling == RopeScaling::yarn ? "yarn" : "linear"));
    TRITIUM_TRY(keys.real("rope.scaling.factor", rope.factor));
  }
  if (rope.scaling == RopeScaling::yarn) {
    TRITIUM_TRY(keys.count("rope.scaling.original_context_length", rope.original_context));
    TRITIUM_TRY(keys.real("rope.scaling.yarn_beta_fast", rope.beta_fast));
    TRITIUM_TRY(keys.real("rope.scaling.yarn_beta_slow", rope.beta_slow));
    if (!near(rope.magnitude, yarn_magnitude(rope.factor))) {
      TRITIUM_TRY(keys.real("rope.scaling.yarn_attn_factor", rope.magnitude));
    }
  }
  if (rope.scaling == RopeScaling::longrope) {
    TRITIUM_TRY(keys.count("rope.scaling.original_context_length", rope.original_context));
    TRITIUM_TRY(keys.real("rope.scaling.attn_factor", rope.magnitude));
  }
  return {};
}

/// The keys that one architecture has and others have not.
inline Status set_family_keys(const ModelSpec& spec, std::string_view architecture, ArchitectureKeys& keys) {
  std::size_t window = 0;
  for (const LayerSpec& layer : spec.layers) window = std::max(window, layer.window);
  if (architecture == "phi3") {
    // Zero is no window; the key tells Phi-4 from its elders.
    TRITIUM_TRY(keys.count("attention.sliding_window", window));
    if (spec.ropes[0].scaling != RopeScaling::longrope) {
      TRITIUM_TRY(keys.count("rope.scaling.original_context_length", spec.ropes[0].original_context));
    }
  } else if (architecture == "gemma3") {
    // Layer i is global when (i + 1) mod period = 0; the period is 6 unless the file says it.
    TRITIUM_TRY(keys.count("attention.sliding_window", window == 0 ? spec.context : window));
    std::vector<bool> local;
    for (const LayerSpec& layer : spec.layers) local.push_back(layer.rope != 0);
    const auto has_period = [&](std::size_t period) {
      for (std::size_t i = 0; i < local.size(); ++i) {
        if (local[i] == ((i + 1) % period == 0)) return false;
      }
      return true;
    };
    if (!has_period(6)) TRITIUM_TRY(keys.flags("attention.sliding_window_pattern", local));
    TRITIUM_TRY(keys.real("rope.freq_base_swa", spec.ropes[1].base));
  } else if (window != 0) {
    TRITIUM_TRY(keys.count("attention.sliding_window", window));
  }
  if (architecture == "gemma2")
    TRITIUM_TRY(keys.real("attn_logit_softcapping", static_cast<double>(spec.attention_cap)));
  if (architecture == "gemma2" || spec.logit_cap != 0.0f) {
    TRITIUM_TRY(keys.real("final_logit_softcapping", static_cast<double>(spec.logit_cap)));
  }
  return {};
}

/// Where two specs of one model first differ.
struct SpecDifference {
  std::string fact;  ///< empty: they agree
  std::string wanted;
  std::string found;
};

inline SpecDifference compare_ropes(const RopeSpec& wanted, const RopeSpec& found) {
  SpecDifference difference;
  const auto same = [&](const char* fact, double a, double b) {
    if (difference.fact.empty() && !near(a, b)) difference = {fact, std::to_string(a), std::to_string(b)};
  };
  const auto kind = [](const RopeSpec& rope) {
    if (rope.scaling == RopeScaling::llama3) return RopeScaling::divisors;  // a tensor has them
    return rope.scaling == RopeScaling::linear && rope.factor == 1.0 ? RopeScaling::none : rope.scaling;
  };
  same("kind of rope scaling", static_cast<double>(kind(wanted)), static_cast<double>(kind(found)));
  same("rotary base", wanted.base, found.base);
  same("rotary dimensions", static_cast<double>(wanted.rotary_dim), static_cast<double>(found.rotary_dim));
  same("rotary magnitude", wanted.magnitude, found.magnitude);
  const auto long_magnitude = [](const RopeSpec& r) {
    return r.long_magnitude == 0.0 ? r.magnitude : r.long_magnitude;
  };
  same("rotary magnitude of long texts", long_magnitude(wanted), long_magnitude(found));
  if (kind(wanted) == RopeScaling::linear || kind(wanted) == RopeScaling::yarn)
    same("rope factor", wanted.factor, found.factor);
  if (kind(wanted) == RopeScaling::yarn || kind(wanted) == RopeScaling::longrope) {
    same("original context", static_cast<double>(wanted.original_context), static_cast<double>(found.original_context));
  }
  if (kind(wanted) == RopeScaling::yarn) {
    same("yarn beta_fast", wanted.beta_fast, found.beta_fast);
    same("yarn beta_slow", wanted.beta_slow, found.beta_slow);
    same("yarn truncate", wanted.truncate ? 1.0 : 0.0, found.truncate ? 1.0 : 0.0);
  }
  return difference;
}

/// The first fact of the graph in which two specs differ. What files say by their tensors is not compared: the size of
/// the vocabulary, a tied head, scales of ternary weights, factors of frequencies.
inline SpecDifference compare_specs(const ModelSpec& wanted, const ModelSpec& found) {
  SpecDifference difference;
  const auto same = [&](const std::string& fact, double a, double b) {
    if (difference.fact.empty() && !near(a, b)) difference = {fact, std::to_string(a), std::to_string(b)};
  };
  const auto count = [&](const std::string& fact, std::size_t a, std::size_t b) {
    if (difference.fact.empty() && a != b) difference = {fact, std::to_string(a), std::to_string(b)};
  };
  const auto kind = [&](const std::string& fact, auto a, auto b) {
    count(fact, static_cast<std::size_t>(a), static_cast<std::size_t>(b));
  };
  count("hidden size", wanted.hidden, found.hidden);
  count("context", wanted.context, found.context);
  count("number of layers", wanted.n_layers(), found.n_layers());
  kind("kind of norm", wanted.norm, found.norm);
  same("norm epsilon", static_cast<double>(wanted.norm_eps), static_cast<double>(found.norm_eps));
  kind("residual", wanted.residual, found.residual);
  kind("activation", wanted.activation, found.activation);
  kind("gated MLP", wanted.gated_mlp, found.gated_mlp);
  same("embedding scale", static_cast<double>(wanted.embedding_scale), static_cast<double>(found.embedding_scale));
  same("attention scale", static_cast<double>(wanted.attention_scale), static_cast<double>(found.attention_scale));
  same("attention cap", static_cast<double>(wanted.attention_cap), static_cast<double>(found.attention_cap));
  same("logit cap", static_cast<double>(wanted.logit_cap), static_cast<double>(found.logit_cap));
  kind("attention gate", wanted.attention_gate, found.attention_gate);
  kind("value norm", wanted.value_norm, found.value_norm);
  count("context of scaled queries", wanted.log_n_context, found.log_n_context);
  count("number of experts", wanted.moe.n_experts, found.moe.n_experts);
  kind("experts beside the MLP", wanted.moe.beside_mlp, found.moe.beside_mlp);
  same("scale of a router's input", static_cast<double>(wanted.moe.router_scale),
       static_cast<double>(found.moe.router_scale));
  count("residual streams", wanted.n_streams, found.n_streams);
  count("rank of the branch beside attention", wanted.laurel_rank, found.laurel_rank);
  count("width of per-layer embeddings", wanted.per_layer_dim, found.per_layer_dim);
  count("rows of per-layer embeddings", wanted.per_layer_vocab, found.per_layer_vocab);
  kind("attention to both sides", wanted.bidirectional, found.bidirectional);
  count("width of an encoder's result", wanted.memory_dim, found.memory_dim);
  kind("order of query heads", wanted.interleaved_heads, found.interleaved_heads);
  kind("rotation inside the MLP", wanted.hadamard_mlp, found.hadamard_mlp);
  if (!difference.fact.empty()) return difference;
  const auto window = [](const ModelSpec& spec, const LayerSpec& l) { return l.window >= spec.context ? 0 : l.window; };
  for (std::size_t i = 0; i < wanted.n_layers(); ++i) {
    const LayerSpec& a = wanted.layers[i];
    const LayerSpec& b = found.layers[i];
    const std::string of = " of layer " + std::to_string(i);
    count("heads" + of, a.n_heads, b.n_heads);
    count("KV heads" + of, a.n_kv_heads, b.n_kv_heads);
    count("head width" + of, a.head_dim, b.head_dim);
    count("MLP width" + of, a.ffn_dim, b.ffn_dim);
    count("window" + of, window(wanted, a), window(found, b));
    kind("mixer" + of, a.mixer, b.mixer);
    kind("experts" + of, a.moe, b.moe);
    kind("source of keys" + of, a.kv_source + 1, b.kv_source + 1);
    kind("values that are keys" + of, a.v_is_k, b.v_is_k);
    same("sparsity" + of, static_cast<double>(a.sparsity), static_cast<double>(b.sparsity));
    kind("rotary embedding" + of, a.rope >= 0, b.rope >= 0);
    if (!difference.fact.empty()) return difference;
    if (a.rope < 0) continue;
    difference =
        compare_ropes(wanted.ropes[static_cast<std::size_t>(a.rope)], found.ropes[static_cast<std::size_t>(b.rope)]);
    if (!difference.fact.empty()) {
      difference.fact += of;
      return difference;
    }
  }
  return difference;
}

}  // namespace detail

/// The keys under "general." that name a model and under the architecture that describe it, without types of tensors.
/// Errors: as GgufWriter::set().
inline Status set_model_metadata(const ModelSpec& spec, std::string_view architecture, GgufWriter& writer) {
  return no_throw([&]() -> Status {
    TRITIUM_TRY(writer.set("general.architecture", architecture));
    TRITIUM_TRY(writer.set("general.type", std::string_view("model")));
    if (!spec.name.empty()) TRITIUM_TRY(writer.set("general.name", std::string_view(spec.name)));
    detail::ArchitectureKeys keys(writer, architecture);
    const LayerSpec& layer = spec.layers[0];
    TRITIUM_TRY(keys.count("block_count", spec.n_layers()));
    TRITIUM_TRY(keys.count("context_length", spec.context));
    TRITIUM_TRY(keys.count("embedding_length", spec.hidden));
    TRITIUM_TRY(keys.count("feed_forward_length", layer.ffn_dim));
    TRITIUM_TRY(keys.count("attention.head_count", layer.n_heads));
    TRITIUM_TRY(keys.count("attention.head_count_kv", layer.n_kv_heads));
    TRITIUM_TRY(keys.count("attention.key_length", layer.head_dim));
    TRITIUM_TRY(keys.count("attention.value_length", layer.head_dim));
    const bool rms = spec.norm == NormKind::rms;
    TRITIUM_TRY(keys.real(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
                          static_cast<double>(spec.norm_eps)));
    if (spec.vocab != 0) TRITIUM_TRY(keys.count("vocab_size", spec.vocab));
    if (!spec.ropes.empty()) TRITIUM_TRY(detail::set_rope_keys(spec, keys));
    return detail::set_family_keys(spec, architecture, keys);
  });
}

/// What config.json has as numbers and GGUF as tensors: divisors of rotary frequencies.
inline std::vector<NamedFactors> rope_factor_tensors(const ModelSpec& spec) {
  if (spec.ropes.empty()) return {};
  const RopeSpec& rope = spec.ropes[0];
  if (rope.scaling == RopeScaling::llama3) return {{"rope_freqs.weight", detail::llama3_divisors(rope)}};
  if (rope.scaling != RopeScaling::longrope) return {};
  return {{"rope_factors_long.weight", rope.long_divisors}, {"rope_factors_short.weight", rope.divisors}};
}

/// Whether a GGUF file of `architecture` says all that `spec` says, told by writing the metadata and reading it with
/// the family's own reader. `where` names the model in messages. Errors: unsupported, naming the fact.
inline Status check_gguf_describes(const ModelSpec& spec, const Family& family, std::string_view architecture,
                                   std::string_view where) {
  return no_throw([&]() -> Status {
    GgufWriter writer;
    TRITIUM_TRY(set_model_metadata(spec, architecture, writer));
    for (const NamedFactors& factors : rope_factor_tensors(spec)) {
      const std::uint64_t length = factors.values.size();
      TRITIUM_TRY(writer.add_tensor(factors.name, TensorType::f32, {&length, 1}));
    }
    TRITIUM_ASSIGN(const std::string bytes, writer.blank());
    TRITIUM_ASSIGN(const GgufFile file,
                   GgufFile::view(std::as_bytes(std::span(bytes)), "the metadata of the new file"));
    const Result<ModelSpec> found = family.from_gguf(file);
    if (!found.ok())
      return Error{Errc::unsupported, concat("GGUF cannot describe this model: ", found.error().message)};
    const detail::SpecDifference difference = detail::compare_specs(spec, *found);
    if (difference.fact.empty()) return {};
    return make_error(
        Errc::unsupported, "GGUF cannot describe this model", concat(printable_path(where), ", ", difference.fact),
        concat(difference.found, " as files of architecture \"", architecture, "\" imply"), difference.wanted);
  });
}

TRITIUM_NAMESPACE_END
