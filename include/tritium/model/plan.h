// SPDX-License-Identifier: Apache-2.0
// plan_model: what loading a checkpoint will make of it, told without touching the weights.
//
// Tensors are matched to the roles of their family by name, and to the packed format that the loader would choose. Sizes
// follow from shapes alone, so a model too large for a machine is refused before its first page is read. Tables that stay
// in the mapped file are counted apart: they take address space and no memory.
#pragma once

#include "tritium/format/pack.h"
#include "tritium/model/families.h"
#include "tritium/model/load.h"

TRITIUM_NAMESPACE_BEGIN

/// What becomes of one tensor.
struct PlannedTensor {
  const TensorSource* source = nullptr;  ///< the tensor
  std::optional<Role> role;              ///< empty: the family does not use it
  std::size_t layer = 0;                 ///< of the layer, where the role has one
  bool is_bias = false;                  ///< NAME.bias
  std::optional<PackFormat> format;      ///< of a matrix; empty: kept as f32 numbers, or not at all
  bool looked_up = false;                ///< a table that keeps the form it is stored in
  std::size_t bytes = 0;                 ///< in memory once loaded
  std::size_t mapped_bytes = 0;          ///< read from the file row by row, as they are stored
};

/// What loading a checkpoint would do, found without reading weights.
struct ModelPlan {
  const Family* family = nullptr;      ///< that answered
  ModelSpec spec;                      ///< sizes and policies
  std::vector<PlannedTensor> tensors;  ///< in the order of the checkpoint
  std::size_t packed_bytes = 0;        ///< in memory
  std::size_t mapped_bytes = 0;        ///< in the file
};

/// The name of a role for people: "attn_q".
constexpr std::string_view role_name(Role role);

namespace detail {

/// Whether `name` is `pattern` with numbers for '%' and '#'; what '%' stood for goes to `layer`.
inline bool matches_tensor_name(std::string_view pattern, std::string_view name, std::size_t& layer) {
  while (!pattern.empty()) {
    if (pattern.front() != '%' && pattern.front() != '#') {
      if (name.empty() || name.front() != pattern.front()) return false;
      name.remove_prefix(1);
    } else {
      std::size_t number = 0;
      const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), number);
      if (code != std::errc()) return false;
      if (pattern.front() == '%') layer = number;
      name.remove_prefix(static_cast<std::size_t>(end - name.data()));
    }
    pattern.remove_prefix(1);
  }
  return name.empty();
}

/// Fills role, layer and is_bias of a tensor.
inline void match_role(std::span<const TensorName> names, PlannedTensor& tensor) {
  for (const std::string_view prefix : {"", "language_model.", "model.language_model."}) {
    std::string_view name = tensor.source->name;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    // "model.language_model.layers" stands for "model.layers".
    const std::string whole = prefix == "model.language_model." ? "model." + std::string(name) : std::string(name);
    for (const TensorName& known : names) {
      for (const bool bias : {false, true}) {
        std::string_view stem = whole;
        const std::string_view suffix = bias ? ".bias" : known.bare ? "" : ".weight";
        if (!stem.ends_with(suffix)) continue;
        stem.remove_suffix(suffix.size());
        if (!matches_tensor_name(known.name, stem, tensor.layer)) continue;
        tensor.role = known.role;
        tensor.is_bias = bias;
        return;
      }
    }
  }
}

/// The loader's choice for a matrix.
inline PackFormat planned_format(const PlannedTensor& tensor, const ModelSpec& spec, const LoadOptions& options) {
  const TensorSource& source = *tensor.source;
  const Role role = *tensor.role;
  const bool embedding = role == Role::token_embedding;
  const bool bit_linear = !embedding && role != Role::output && role != Role::router && role != Role::shared_router;
  const PackFormat keep =
      bit_linear && (source.type == TensorType::u8 || spec.ternary == TernaryScale::online) ? PackFormat::ternary2
      : options.cache != nullptr ? keep_format(source.type)  // no look at the weights: a size at most
                                 : keep_format(StoredMatrix{source.type, source.data, source.rows(), source.cols()});
  const PackFormat end = !options.rotate ? keep : options.exact ? PackFormat::f32 : PackFormat::f16;
  if (embedding && !spec.tied_head) return end;
  if (embedding || role == Role::output) return options.head.value_or(end);
  return options.exact && keep == PackFormat::ternary2 ? keep : options.weights.value_or(keep);
}

/// Whether a table is looked up in the file and never multiplied.
inline bool stays_in_file(const PlannedTensor& tensor, const ModelSpec& spec, const LoadOptions& options) {
  return tensor.role == Role::per_layer_embedding ||
         (tensor.role == Role::token_embedding && !spec.tied_head && !options.rotate);
}

/// Bytes of a matrix in a packed format; experts of one tensor follow each other.
inline std::size_t packed_bytes(const TensorSource& tensor, PackFormat format) {
  const std::size_t cols = tensor.cols();
  const std::size_t out = tensor.rank < 2 ? 1 : tensor.shape[tensor.rank - 2];
  const std::size_t matrices = out == 0 ? 0 : tensor.rows() / out;
  return matrices * div_up(out, kPanelRows) * info(format).panel_bytes(cols);
}

}  // namespace detail

/// Errors: as find_family() and the family's readers.
inline Result<ModelPlan> plan_model(const Checkpoint& checkpoint, const LoadOptions& options) {
  return no_throw([&]() -> Result<ModelPlan> {
    ModelPlan plan;
    TRITIUM_ASSIGN(plan.family, find_family(checkpoint));
    const bool is_gguf = checkpoint.kind() == Checkpoint::Kind::gguf;
    if (is_gguf) {
      TRITIUM_ASSIGN(plan.spec, plan.family->from_gguf(*checkpoint.gguf()));
    } else {
      TRITIUM_ASSIGN(const JsonObject config,
                     JsonObject::of(*checkpoint.config(), printable_path(checkpoint.path()) + "/config.json"));
      TRITIUM_ASSIGN(plan.spec, plan.family->from_config(config));
    }
    plan.spec.family = plan.family->name;
    const std::span<const TensorName> names = is_gguf ? plan.family->gguf_names : plan.family->hf_names;
    bool has_head = false;
    for (const TensorSource& source : checkpoint.tensors()) {
      PlannedTensor tensor;
      tensor.source = &source;
      detail::match_role(names, tensor);
      has_head = has_head || (tensor.role == Role::output && !tensor.is_bias);
      if (tensor.role == Role::token_embedding && plan.spec.vocab == 0) plan.spec.vocab = source.rows();
      plan.tensors.push_back(tensor);
    }
    plan.spec.tied_head = !has_head || (!is_gguf && plan.spec.tied_head);
    for (PlannedTensor& tensor : plan.tensors) {
      const TensorSource& source = *tensor.source;
      if (!tensor.role) continue;
      if (source.rank < 2 || tensor.is_bias || tensor.role == Role::delta_conv) {
        tensor.bytes = source.elements() * sizeof(float);
      } else if (plan.spec.tied_head && tensor.role == Role::output) {
        continue;  // written, but the embedding serves
      } else if (detail::stays_in_file(tensor, plan.spec, options)) {
        tensor.looked_up = true;
        const std::shared_ptr<const MappedFile> file = checkpoint.file_of(source);
        (file != nullptr && file->mapped() ? tensor.mapped_bytes : tensor.bytes) = source.bytes;
      } else {
        tensor.format = detail::planned_format(tensor, plan.spec, options);
        tensor.bytes = detail::packed_bytes(source, *tensor.format) * (source.type == TensorType::u8 ? 4 : 1);
      }
      plan.packed_bytes += tensor.bytes;
      plan.mapped_bytes += tensor.mapped_bytes;
    }
    if (options.shortlist) {
      plan.packed_bytes +=
          div_up(plan.spec.vocab, kPanelRows) * info(*options.shortlist).panel_bytes(plan.spec.hidden) +
          plan.spec.vocab * sizeof(float);
    }
    return plan;
  });
}

/// Floats of the widest row that a token has anywhere in the graph.
inline std::size_t widest_row(const ModelSpec& spec) {
  std::size_t widest = spec.hidden;
  for (const LayerSpec& l : spec.layers)
    widest = std::max({widest, (l.n_heads + 2 * l.n_kv_heads) * l.head_dim, l.ffn_dim});
  return widest;
}

constexpr std::string_view role_name(Role role) {
  switch (role) {
    case Role::token_embedding: return "token_embedding";
    case Role::output_norm: return "output_norm";
    case Role::output: return "output";
    case Role::attn_norm: return "attn_norm";
    case Role::attn_q: return "attn_q";
    case Role::attn_k: return "attn_k";
    case Role::attn_v: return "attn_v";
    case Role::attn_qkv: return "attn_qkv";
    case Role::attn_q_norm: return "attn_q_norm";
    case Role::attn_k_norm: return "attn_k_norm";
    case Role::attn_sub_norm: return "attn_sub_norm";
    case Role::attn_output: return "attn_output";
    case Role::attn_post_norm: return "attn_post_norm";
    case Role::ffn_norm: return "ffn_norm";
    case Role::ffn_gate: return "ffn_gate";
    case Role::ffn_up: return "ffn_up";
    case Role::ffn_gate_up: return "ffn_gate_up";
    case Role::ffn_down: return "ffn_down";
    case Role::ffn_sub_norm: return "ffn_sub_norm";
    case Role::ffn_post_norm: return "ffn_post_norm";
    case Role::cross_norm: return "cross_norm";
    case Role::cross_q: return "cross_q";
    case Role::cross_k: return "cross_k";
    case Role::cross_v: return "cross_v";
    case Role::cross_output: return "cross_output";
    case Role::cross_post_norm: return "cross_post_norm";
    case Role::altup_router: return "altup_router";
    case Role::altup_router_norm: return "altup_router_norm";
    case Role::altup_predict: return "altup_predict";
    case Role::altup_correct: return "altup_correct";
    case Role::altup_out_scale: return "altup_out_scale";
    case Role::stream_project: return "stream_project";
    case Role::stream_unproject: return "stream_unproject";
    case Role::streams_project: return "streams_project";
    case Role::streams_unproject: return "streams_unproject";
    case Role::laurel_left: return "laurel_left";
    case Role::laurel_right: return "laurel_right";
    case Role::laurel_post_norm: return "laurel_post_norm";
    case Role::per_layer_embedding: return "per_layer_embedding";
    case Role::per_layer_projection: return "per_layer_projection";
    case Role::per_layer_norm: return "per_layer_norm";
    case Role::per_layer_gate: return "per_layer_gate";
    case Role::per_layer_output: return "per_layer_output";
    case Role::per_layer_post_norm: return "per_layer_post_norm";
    case Role::layer_scale: return "layer_scale";
    case Role::router: return "router";
    case Role::router_norm: return "router_norm";
    case Role::expert_scale: return "expert_scale";
    case Role::mlp_post_norm: return "mlp_post_norm";
    case Role::experts_norm: return "experts_norm";
    case Role::experts_post_norm: return "experts_post_norm";
    case Role::shared_router: return "shared_router";
    case Role::shared_gate: return "shared_gate";
    case Role::shared_up: return "shared_up";
    case Role::shared_down: return "shared_down";
    case Role::expert_gate: return "expert_gate";
    case Role::expert_up: return "expert_up";
    case Role::expert_down: return "expert_down";
    case Role::experts_gate: return "experts_gate";
    case Role::experts_up: return "experts_up";
    case Role::experts_gate_up: return "experts_gate_up";
    case Role::experts_down: return "experts_down";
    case Role::delta_qkvz: return "delta_qkvz";
    case Role::delta_ba: return "delta_ba";
    case Role::delta_qkv: return "delta_qkv";
    case Role::delta_z: return "delta_z";
    case Role::delta_b: return "delta_b";
    case Role::delta_a: return "delta_a";
    case Role::delta_conv: return "delta_conv";
    case Role::delta_dt_bias: return "delta_dt_bias";
    case Role::delta_a_log: return "delta_a_log";
    case Role::delta_minus_exp_a: return "delta_minus_exp_a";
    case Role::delta_norm: return "delta_norm";
    case Role::delta_out: return "delta_out";
    default: return "other";
  }
}

TRITIUM_NAMESPACE_END
