// SPDX-License-Identifier: Apache-2.0
// Family: what the loader must know about a model family, as one value: how to read its facts and name its tensors.
//
// families/*.h each define one. The loader binds roles to tensors, checks every shape against the spec, refuses a tensor
// that is missing and one that nobody asked for: a file that holds more than the graph computes would load and be wrong.
#pragma once

#include <array>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/io/checkpoint.h"
#include "tritium/model/spec.h"

TRITIUM_NAMESPACE_BEGIN

/// What a tensor is for, whatever its file calls it.
enum class Role : std::uint8_t {
  token_embedding,
  output_norm,
  output,
  attn_norm,
  attn_q,
  attn_k,
  attn_v,
  attn_qkv,
  attn_q_norm,
  attn_k_norm,
  attn_sub_norm,
  attn_output,
  attn_post_norm,
  ffn_norm,
  ffn_gate,
  ffn_up,
  ffn_gate_up,
  ffn_down,
  ffn_sub_norm,
  ffn_post_norm,
  cross_norm,
  cross_q,
  cross_k,
  cross_v,
  cross_output,
  cross_post_norm,
  altup_router,
  altup_router_norm,
  altup_predict,
  altup_correct,
  altup_out_scale,
  stream_project,
  stream_unproject,  // one tensor a stream, or
  streams_project,
  streams_unproject,  // (stream, hidden, hidden)
  laurel_left,
  laurel_right,
  laurel_post_norm,
  per_layer_embedding,
  per_layer_projection,
  per_layer_norm,
  per_layer_gate,
  per_layer_output,
  per_layer_post_norm,
  layer_scale,
  router,
  router_norm,
  expert_scale,
  mlp_post_norm,
  experts_norm,
  experts_post_norm,
  shared_router,
  shared_gate,
  shared_up,
  shared_down,
  expert_gate,
  expert_up,
  expert_down,  // one tensor an expert: '#' is its number
  experts_gate,
  experts_up,
  experts_gate_up,
  experts_down,  // all experts in one tensor, (expert, out, in)
  delta_qkvz,
  delta_ba,  // rows grouped by key head
  delta_qkv,
  delta_z,
  delta_b,
  delta_a,  // rows of all heads after each other
  delta_conv,
  delta_dt_bias,
  delta_a_log,
  delta_minus_exp_a,
  delta_norm,
  delta_out,
};

/// Whether a tensor must be, may be, or must not be in a file.
enum class Need : std::uint8_t { no, optional, required };

/// A tensor of a family. '%' in the name stands for the layer's number, '#' for an expert's; ".weight" and ".bias" follow.
struct TensorName {
  Role role;                     ///< what the tensor is for
  std::string_view name;         ///< with '%' and '#' for numbers
  Need weight = Need::required;  ///< of NAME.weight
  Need bias = Need::no;          ///< of NAME.bias
  bool bare = false;             ///< the name is the whole name
  /// The same name, with a bias that is needed or may be there.
  [[nodiscard]] constexpr TensorName with_bias(Need need) const { return {role, name, weight, need, bare}; }
};

/// Models of one graph: what they answer to, how a spec is read, how their tensors are called.
struct Family {
  std::string_view name;                                 ///< the name of its file under families/
  std::span<const std::string_view> gguf_architectures;  ///< general.architecture
  std::span<const std::string_view> hf_architectures;    ///< architectures[0] of config.json
  /// Reads sizes and policies from metadata; what changes the arithmetic and is not understood is refused.
  Result<ModelSpec> (*from_gguf)(const GgufFile& file) = nullptr;
  /// The same from config.json.
  Result<ModelSpec> (*from_config)(const JsonObject& config) = nullptr;
  std::span<const TensorName> gguf_names;  ///< of its tensors in GGUF files
  std::span<const TensorName> hf_names;    ///< of its tensors in safetensors
  bool gguf_permuted_qk = false;           ///< GGUF interleaves the rotary pairs of q and k rows
  bool hf_norm_plus_one = false;  ///< safetensors store norm weights minus one (but for the delta rule's own norm)
};

/// Names that most GGUF files share; families copy the lines they have.
namespace gguf_name {
inline constexpr TensorName kTokenEmbedding{Role::token_embedding, "token_embd"};
inline constexpr TensorName kOutputNorm{Role::output_norm, "output_norm"};
inline constexpr TensorName kOutput{Role::output, "output", Need::optional};
inline constexpr TensorName kAttnNorm{Role::attn_norm, "blk.%.attn_norm"};
inline constexpr TensorName kAttnQ{Role::attn_q, "blk.%.attn_q"};
inline constexpr TensorName kAttnK{Role::attn_k, "blk.%.attn_k"};
inline constexpr TensorName kAttnV{Role::attn_v, "blk.%.attn_v"};
inline constexpr TensorName kAttnQNorm{Role::attn_q_norm, "blk.%.attn_q_norm"};
inline constexpr TensorName kAttnKNorm{Role::attn_k_norm, "blk.%.attn_k_norm"};
inline constexpr TensorName kAttnOutput{Role::attn_output, "blk.%.attn_output"};
inline constexpr TensorName kAttnPostNorm{Role::attn_post_norm, "blk.%.post_attention_norm"};
inline constexpr TensorName kFfnNorm{Role::ffn_norm, "blk.%.ffn_norm"};
inline constexpr TensorName kFfnGate{Role::ffn_gate, "blk.%.ffn_gate"};
inline constexpr TensorName kFfnUp{Role::ffn_up, "blk.%.ffn_up"};
inline constexpr TensorName kFfnDown{Role::ffn_down, "blk.%.ffn_down"};
inline constexpr TensorName kFfnPostNorm{Role::ffn_post_norm, "blk.%.post_ffw_norm"};
inline constexpr TensorName kRouter{Role::router, "blk.%.ffn_gate_inp"};
inline constexpr TensorName kExpertsGate{Role::experts_gate, "blk.%.ffn_gate_exps"};
inline constexpr TensorName kExpertsUp{Role::experts_up, "blk.%.ffn_up_exps"};
inline constexpr TensorName kExpertsGateUp{Role::experts_gate_up, "blk.%.ffn_gate_up_exps"};
inline constexpr TensorName kExpertsDown{Role::experts_down, "blk.%.ffn_down_exps"};
inline constexpr TensorName kSharedRouter{Role::shared_router, "blk.%.ffn_gate_inp_shexp"};
inline constexpr TensorName kSharedGate{Role::shared_gate, "blk.%.ffn_gate_shexp"};
inline constexpr TensorName kSharedUp{Role::shared_up, "blk.%.ffn_up_shexp"};
inline constexpr TensorName kSharedDown{Role::shared_down, "blk.%.ffn_down_shexp"};
inline constexpr TensorName kPerLayerEmbedding{Role::per_layer_embedding, "per_layer_token_embd"};
inline constexpr TensorName kPerLayerProjection{Role::per_layer_projection, "per_layer_model_proj"};
inline constexpr TensorName kPerLayerNorm{Role::per_layer_norm, "per_layer_proj_norm"};
inline constexpr TensorName kPerLayerGate{Role::per_layer_gate, "blk.%.inp_gate"};
inline constexpr TensorName kPerLayerOutput{Role::per_layer_output, "blk.%.proj"};
inline constexpr TensorName kPerLayerPostNorm{Role::per_layer_post_norm, "blk.%.post_norm"};
}  // namespace gguf_name
/// Names that most safetensors files share.
namespace hf_name {
inline constexpr TensorName kTokenEmbedding{Role::token_embedding, "model.embed_tokens"};
inline constexpr TensorName kOutputNorm{Role::output_norm, "model.norm"};
inline constexpr TensorName kOutput{Role::output, "lm_head", Need::optional};
inline constexpr TensorName kAttnNorm{Role::attn_norm, "model.layers.%.input_layernorm"};
inline constexpr TensorName kAttnQ{Role::attn_q, "model.layers.%.self_attn.q_proj"};
inline constexpr TensorName kAttnK{Role::attn_k, "model.layers.%.self_attn.k_proj"};
inline constexpr TensorName kAttnV{Role::attn_v, "model.layers.%.self_attn.v_proj"};
inline constexpr TensorName kAttnQNorm{Role::attn_q_norm, "model.layers.%.self_attn.q_norm"};
inline constexpr TensorName kAttnKNorm{Role::attn_k_norm, "model.layers.%.self_attn.k_norm"};
inline constexpr TensorName kAttnOutput{Role::attn_output, "model.layers.%.self_attn.o_proj"};
inline constexpr TensorName kFfnNorm{Role::ffn_norm, "model.layers.%.post_attention_layernorm"};
inline constexpr TensorName kFfnGate{Role::ffn_gate, "model.layers.%.mlp.gate_proj"};
inline constexpr TensorName kFfnUp{Role::ffn_up, "model.layers.%.mlp.up_proj"};
inline constexpr TensorName kFfnDown{Role::ffn_down, "model.layers.%.mlp.down_proj"};
inline constexpr TensorName kRouter{Role::router, "model.layers.%.mlp.gate"};
inline constexpr TensorName kExpertGate{Role::expert_gate, "model.layers.%.mlp.experts.#.gate_proj"};
inline constexpr TensorName kExpertUp{Role::expert_up, "model.layers.%.mlp.experts.#.up_proj"};
inline constexpr TensorName kExpertDown{Role::expert_down, "model.layers.%.mlp.experts.#.down_proj"};
inline constexpr TensorName kExpertsGateUp{Role::experts_gate_up, "model.layers.%.mlp.experts.gate_up_proj",
                                           Need::required, Need::no, true};
inline constexpr TensorName kExpertsDown{Role::experts_down, "model.layers.%.mlp.experts.down_proj", Need::required,
                                         Need::no, true};
inline constexpr TensorName kSharedRouter{Role::shared_router, "model.layers.%.mlp.shared_expert_gate"};
inline constexpr TensorName kSharedGate{Role::shared_gate, "model.layers.%.mlp.shared_expert.gate_proj"};
inline constexpr TensorName kSharedUp{Role::shared_up, "model.layers.%.mlp.shared_expert.up_proj"};
inline constexpr TensorName kSharedDown{Role::shared_down, "model.layers.%.mlp.shared_expert.down_proj"};
inline constexpr TensorName kPerLayerEmbedding{Role::per_layer_embedding, "model.embed_tokens_per_layer"};
inline constexpr TensorName kPerLayerProjection{Role::per_layer_projection, "model.per_layer_model_projection"};
inline constexpr TensorName kPerLayerNorm{Role::per_layer_norm, "model.per_layer_projection_norm"};
inline constexpr TensorName kPerLayerGate{Role::per_layer_gate, "model.layers.%.per_layer_input_gate"};
inline constexpr TensorName kPerLayerOutput{Role::per_layer_output, "model.layers.%.per_layer_projection"};
inline constexpr TensorName kPerLayerPostNorm{Role::per_layer_post_norm, "model.layers.%.post_per_layer_input_norm"};
}  // namespace hf_name

// --- bounded reading of facts --------------------------------------------------------------------------------------------

/// Hyper-parameters of a sound model; beyond them a file lies.
inline constexpr std::size_t kMaxLayers = 1024;
/// Widths past this are refused.
inline constexpr std::size_t kMaxWidth = std::size_t{1} << 20;
/// More heads are refused.
inline constexpr std::size_t kMaxHeads = 4096;
/// Longer heads are refused.
inline constexpr std::size_t kMaxHeadDim = 4096;
/// More experts are refused.
inline constexpr std::size_t kMaxExperts = 4096;
/// Larger vocabularies are refused.
inline constexpr std::size_t kMaxVocab = std::size_t{1} << 24;
/// Longer contexts are refused.
inline constexpr std::size_t kMaxContext = std::size_t{1} << 30;

namespace detail {

/// Reads keys of one file, GGUF or JSON, with bounds; errors name the key, the bounds and what was found.
template <class Source>
class Facts {
 public:
  /// `prefix` is put before every key of a GGUF file ("llama.").
  Facts(const Source& source, std::string prefix, std::string where)
      : source_(source), prefix_(std::move(prefix)), where_(std::move(where)) {}

  [[nodiscard]] bool has(std::string_view key) const { return source_.find(full(key)) != nullptr; }
  [[nodiscard]] Result<std::size_t> size(std::string_view key, std::size_t least, std::size_t most) const {
    TRITIUM_ASSIGN(const std::uint64_t value, source_.template get<std::uint64_t>(full(key)));
    return bounded(key, value, least, most);
  }
  [[nodiscard]] Result<std::size_t> size_or(std::string_view key, std::size_t fallback, std::size_t least,
                                            std::size_t most) const {
    return has(key) ? size(key, least, most) : bounded(key, fallback, least, most);
  }
  [[nodiscard]] Result<double> number(std::string_view key, double least, double most) const {
    TRITIUM_ASSIGN(const double value, source_.template get<double>(full(key)));
    return bounded(key, value, least, most);
  }
  [[nodiscard]] Result<double> number_or(std::string_view key, double fallback, double least, double most) const {
    return has(key) ? number(key, least, most) : bounded(key, fallback, least, most);
  }
  [[nodiscard]] Result<bool> flag_or(std::string_view key, bool fallback) const {
    return source_.template get_or<bool>(full(key), fallback);
  }
  [[nodiscard]] Result<std::string> text_or(std::string_view key, std::string_view fallback) const {
    TRITIUM_ASSIGN(const std::string_view value, source_.template get_or<std::string_view>(full(key), fallback));
    return std::string(value);
  }
  /// Fails with "unsupported KEY" when a key is there with another value than the graph computes.
  template <class T>
  [[nodiscard]] Status only(std::string_view key, T allowed) const {
    if (!has(key)) return {};
    TRITIUM_ASSIGN(const T value, source_.template get<T>(full(key)));
    if (value == allowed) return {};
    std::string expected, found;
    if constexpr (std::is_same_v<T, std::string_view>) {
      expected = allowed;
      found = value;
    } else if constexpr (std::is_same_v<T, bool>) {
      expected = allowed ? "true" : "false";
      found = value ? "true" : "false";
    } else {
      expected = std::to_string(allowed);
      found = std::to_string(value);
    }
    return make_error(Errc::unsupported, "unsupported model", where_ + ", key \"" + full(key) + "\"", expected,
                      printable(found));
  }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  [[nodiscard]] const Source& source() const { return source_; }

 private:
  Error out_of_bounds(std::string_view key, const std::string& least, const std::string& most,
                      const std::string& found) const {
    return make_error(Errc::invalid_file, "hyper-parameter out of bounds", where_ + ", key \"" + full(key) + "\"",
                      least + " to " + most, found);
  }
  Result<std::size_t> bounded(std::string_view key, std::uint64_t value, std::size_t least, std::size_t most) const {
    if (value < least || value > most)
      return out_of_bounds(key, std::to_string(least), std::to_string(most), std::to_string(value));
    return static_cast<std::size_t>(value);
  }
  /// A fallback may have been computed from other keys: it has to be sound too.
  Result<double> bounded(std::string_view key, double value, double least, double most) const {
    if (!(value >= least && value <= most))
      return out_of_bounds(key, std::to_string(least), std::to_string(most), std::to_string(value));
    return value;
  }

  const Source& source_;
  std::string prefix_;
  std::string where_;
};

using GgufFacts = Facts<GgufFile>;
using ConfigFacts = Facts<JsonObject>;

inline GgufFacts facts_of(const GgufFile& file, std::string_view architecture) {
  return {file, std::string(architecture) + ".", printable_path(file.path())};
}
inline ConfigFacts facts_of(const JsonObject& config) { return {config, "", std::string(config.where())}; }

}  // namespace detail

TRITIUM_NAMESPACE_END
