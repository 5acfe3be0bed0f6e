// SPDX-License-Identifier: Apache-2.0
// load_model: from a checkpoint to a Model, every tensor checked against the spec before it is believed.
//
// The loader canonicalises while it packs: rows permuted for interleaved rotary pairs go back to their places, zero-centred
// norm weights get their one, fused matrices are taken apart by rows. Each matrix is packed straight from the mapped file,
// whose pages are then given back, so peak memory is the packed model plus one matrix.
#pragma once

#include <functional>
#include <memory>

#include "tritium/format/pack.h"
#include "tritium/model/decoder.h"
#include "tritium/model/families.h"

TRITIUM_NAMESPACE_BEGIN

struct LoadOptions {
  /// Format of the layers' matrices; empty: keep what each tensor of the file holds, losslessly.
  std::optional<PackFormat> weights;
  /// Format of the output head; empty: keep.
  std::optional<PackFormat> head;
  /// Called after each matrix with the bytes packed so far and in all; not from several threads at once.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

namespace detail {

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const Family& family, const LoadOptions& options, const Executor& executor)
      : checkpoint_(checkpoint), family_(family), options_(options), executor_(executor),
        used_(checkpoint.tensors().size(), false) {}

  Result<std::unique_ptr<Model>> load() {
    auto model = std::make_unique<Model>();
    TRITIUM_ASSIGN(model->spec, read_spec());
    ModelSpec& spec = model->spec;
    spec.family = family_.name;
    TRITIUM_TRY(read_divisors(spec));
    for (const TensorSource& tensor : checkpoint_.tensors()) total_ += tensor.bytes;
    Weights& weights = model->weights;

    TRITIUM_ASSIGN(const Bound embedding, bind(Role::token_embedding, 0, {spec.vocab, spec.hidden}));
    if (spec.vocab == 0) spec.vocab = embedding.weight->rows();  // GGUF says it by the tensor alone
    if (spec.vocab > kMaxVocab) {
      return make_error(Errc::invalid_file, "vocabulary size", where(*embedding.weight), "at most " + std::to_string(kMaxVocab), std::to_string(spec.vocab));
    }
    TRITIUM_ASSIGN(const Bound head, bind(Role::output, 0, {spec.vocab, spec.hidden}));
    if (!is_gguf() && spec.tied_head == (head.weight != nullptr) && !spec.tied_head) {
      return make_error(Errc::invalid_file, "tensor is missing", printable_path(checkpoint_.path()), "an output head, since tie_word_embeddings is false", "none");
    }
    spec.tied_head = head.weight == nullptr || (!is_gguf() && spec.tied_head);
    TRITIUM_ASSIGN(weights.output_norm, load_norm(Role::output_norm, 0, spec.hidden));

    for (std::size_t i = 0; i < spec.n_layers(); ++i) {
      TRITIUM_ASSIGN(LayerWeights layer, load_layer(spec, i));
      weights.layers.push_back(std::move(layer));
    }
    const PackFormat keep = keep_format(stored(*embedding.weight));
    if (spec.tied_head) {
      TRITIUM_ASSIGN(weights.embedding, pack_stored({stored(*embedding.weight)}, options_.head.value_or(keep)));
    } else {
      TRITIUM_ASSIGN(weights.embedding, pack_stored({stored(*embedding.weight)}, keep));
      TRITIUM_ASSIGN(PackedMatrix packed, pack_stored({stored(*head.weight)}, options_.head.value_or(keep_format(stored(*head.weight)))));
      weights.head.parts.push_back(std::move(packed));
      TRITIUM_ASSIGN(weights.head.bias, load_bias({head}, {spec.vocab}));
    }
    TRITIUM_TRY(refuse_leftovers());
    TRITIUM_TRY(checkpoint_.check_unchanged());
    return model;
  }

 private:
  struct Bound {
    const TensorSource* weight = nullptr;
    const TensorSource* bias = nullptr;
  };

  [[nodiscard]] bool is_gguf() const { return checkpoint_.kind() == Checkpoint::Kind::gguf; }

  Result<ModelSpec> read_spec() const {
    if (is_gguf()) return family_.from_gguf(*checkpoint_.gguf());
    TRITIUM_ASSIGN(const JsonObject config, JsonObject::of(*checkpoint_.config(), printable_path(checkpoint_.path()) + "/config.json"));
    return family_.from_config(config);
  }

  // --- binding -----------------------------------------------------------------------------------------------------------

  [[nodiscard]] const TensorName* name_of(Role role) const {
    for (const TensorName& name : is_gguf() ? family_.gguf_names : family_.hf_names) {
      if (name.role == role) return &name;
    }
    return nullptr;
  }

  static std::string spell(std::string_view name, std::size_t layer, std::string_view suffix) {
    std::string text;
    for (const char c : name) {
      if (c == '%') text += std::to_string(layer);
      else text += c;
    }
    return text.append(suffix);
  }

  [[nodiscard]] std::string where(const TensorSource& tensor) const {
    return printable_path(checkpoint_.path()) + ", tensor \"" + printable(tensor.name) + "\"";
  }

  /// A tensor by name: null when it may be absent and is.
  Result<const TensorSource*> take(const std::string& name, Need need, std::initializer_list<std::size_t> shape) {
    const TensorSource* tensor = checkpoint_.find(name);
    if (tensor == nullptr && prefixed_) tensor = checkpoint_.find("language_model." + name);
    if (tensor == nullptr) {
      if (need != Need::required) return static_cast<const TensorSource*>(nullptr);
      return checkpoint_.require(name).error();
    }
    used_[static_cast<std::size_t>(tensor - checkpoint_.tensors().data())] = true;
    bool fits = tensor->rank == shape.size();
    std::string expected;
    std::string found;
    std::size_t i = 0;
    for (const std::size_t n : shape) {
      fits = fits && (n == 0 || tensor->shape[i] == n);  // 0: any
      expected.append(i == 0 ? "[" : ", ").append(n == 0 ? "*" : std::to_string(n));
      ++i;
    }
    for (std::uint32_t d = 0; d < tensor->rank; ++d) found.append(d == 0 ? "[" : ", ").append(std::to_string(tensor->shape[d]));
    if (!fits) return make_error(Errc::invalid_file, "tensor has the wrong shape", where(*tensor), expected + "]", found.empty() ? "[]" : found + "]");
    if (!is_weight_type(tensor->type)) {
      return make_error(Errc::unsupported, "tensor has a type that weights cannot have", where(*tensor), "a float or block type", info(tensor->type).name);
    }
    return tensor;
  }

  static bool is_weight_type(TensorType type) {
    switch (type) {
      case TensorType::f64:
      case TensorType::i8:
      case TensorType::i16:
      case TensorType::i32:
      case TensorType::i64:
      case TensorType::u8: return false;
      default: return true;
    }
  }

  Result<Bound> bind(Role role, std::size_t layer, std::initializer_list<std::size_t> shape) {
    const TensorName* name = name_of(role);
    Bound bound;
    if (name == nullptr) return bound;
    if (name->weight != Need::no) {
      TRITIUM_ASSIGN(bound.weight, take(spell(name->name, layer, ".weight"), name->weight, shape));
    }
    if (name->bias != Need::no && bound.weight != nullptr) {
      TRITIUM_ASSIGN(bound.bias, take(spell(name->name, layer, ".bias"), name->bias, {*shape.begin()}));
    }
    return bound;
  }

  /// A tensor that no role asked for means that the graph would leave something out.
  [[nodiscard]] Status refuse_leftovers() const {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const std::string_view name = checkpoint_.tensors()[i].name;
      if (used_[i] || name.ends_with("rotary_emb.inv_freq")) continue;
      if (name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")) continue;  // the text model alone is run
      return make_error(Errc::unsupported, "the file has a tensor that this family does not use", where(checkpoint_.tensors()[i]),
                        "a tensor of " + std::string(family_.name), "another");
    }
    return {};
  }

  Status read_divisors(ModelSpec& spec) {
    for (RopeSpec& rope : spec.ropes) {
      if (rope.scaling != RopeScaling::divisors) continue;
      TRITIUM_ASSIGN(const TensorSource* tensor, take("rope_freqs.weight", Need::required, {rope.rotary_dim / 2}));
      rope.divisors.resize(rope.rotary_dim / 2);
      TRITIUM_TRY(decode_row(tensor->type, tensor->data, rope.divisors.size(), rope.divisors.data()));
      for (const float d : rope.divisors) {
        if (!(d > 0.0f)) return make_error(Errc::invalid_file, "rope divisor", where(*tensor), "positive numbers", std::to_string(d));
      }
    }
    return {};
  }

  // --- loading -----------------------------------------------------------------------------------------------------------

  static StoredMatrix stored(const TensorSource& t) { return {t.type, t.data, t.rows(), t.cols()}; }

  Result<Array<float>> load_vector(const TensorSource& tensor, std::size_t n, std::size_t padded) {
    TRITIUM_ASSIGN(Array<float> out, Array<float>::allocate_zeroed(padded));
    TRITIUM_TRY(decode_row(tensor.type, tensor.data, n, out.data()));
    for (std::size_t i = 0; i < n; ++i) {
      if (!std::isfinite(out[i])) {
        return make_error(Errc::invalid_file, "weight is not finite", where(tensor) + ", element " + std::to_string(i), "a finite number", "NaN or Inf");
      }
    }
    return out;
  }

  Result<Norm> load_norm(Role role, std::size_t layer, std::size_t n) {
    TRITIUM_ASSIGN(const Bound bound, bind(role, layer, {n}));
    Norm norm;
    if (bound.weight == nullptr) return norm;
    TRITIUM_ASSIGN(norm.weight, load_vector(*bound.weight, n, n));
    if (bound.bias != nullptr) {
      TRITIUM_ASSIGN(norm.bias, load_vector(*bound.bias, n, n));
    }
    if (!is_gguf() && family_.hf_norm_plus_one) {
      for (std::size_t i = 0; i < n; ++i) norm.weight[i] += 1.0f;
    }
    return norm;
  }

  /// Biases of parts that stand below each other; zero where a part has none.
  Result<Array<float>> load_bias(std::initializer_list<Bound> parts, std::initializer_list<std::size_t> rows) {
    std::size_t n = 0;
    bool any = false;
    for (const std::size_t r : rows) n += r;
    for (const Bound& part : parts) any = any || part.bias != nullptr;
    if (!any) return Array<float>();
    TRITIUM_ASSIGN(Array<float> all, Array<float>::allocate_zeroed(round_up(n, kPanelRows) + kPanelRows));
    std::size_t at = 0;
    const std::size_t* r = rows.begin();
    for (const Bound& part : parts) {
      if (part.bias != nullptr) {
        TRITIUM_ASSIGN(const Array<float> one, load_vector(*part.bias, *r, *r));
        std::memcpy(all.data() + at, one.data(), *r * sizeof(float));
      }
      at += *r++;
    }
    return all;
  }

  Result<PackedMatrix> pack_stored(std::initializer_list<StoredMatrix> parts, PackFormat format, bool interleaved = false) {
    Result<PackedMatrix> packed = pack(parts.begin(), parts.size(), format, interleaved, executor_);
    if (!packed.ok()) {
      for (const TensorSource& t : checkpoint_.tensors()) {
        if (t.data == parts.begin()->data) return Error{packed.error().code, where(t) + ": " + packed.error().message};
      }
      return packed;
    }
    for (const StoredMatrix& part : parts) {
      const std::size_t bytes = part.row_bytes() * part.rows;
      drop_mapped_pages({part.data, bytes});
      done_ += bytes;
    }
    if (options_.progress) options_.progress(std::min(done_, total_), total_);
    return packed;
  }

  [[nodiscard]] PackFormat layer_format(const StoredMatrix& w) const { return options_.weights ? *options_.weights : keep_format(w); }

  /// Matrices below each other, neighbours of one format in one PackedMatrix.
  Result<std::vector<PackedMatrix>> pack_stack(std::span<const StoredMatrix> parts) {
    std::vector<PackedMatrix> out;
    for (std::size_t i = 0; i < parts.size();) {
      const PackFormat format = layer_format(parts[i]);
      std::size_t end = i + 1;
      while (end < parts.size() && layer_format(parts[end]) == format && parts[end - 1].rows % kPanelRows == 0) ++end;
      Result<PackedMatrix> packed = end - i == 3   ? pack_stored({parts[i], parts[i + 1], parts[i + 2]}, format)
                                    : end - i == 2 ? pack_stored({parts[i], parts[i + 1]}, format)
                                                   : pack_stored({parts[i]}, format);
      if (!packed.ok()) return std::move(packed).error();
      out.push_back(*std::move(packed));
      i = end;
    }
    return out;
  }

  Result<Linear> load_linear(Role role, std::size_t layer, std::size_t n, std::size_t k) {
    TRITIUM_ASSIGN(const Bound bound, bind(role, layer, {n, k}));
    Linear linear;
    if (bound.weight == nullptr) return linear;
    const StoredMatrix w = stored(*bound.weight);
    TRITIUM_ASSIGN(linear.parts, pack_stack({&w, 1}));
    TRITIUM_ASSIGN(linear.bias, load_bias({bound}, {n}));
    return linear;
  }

  /// Rotary pairs (2i, 2i + 1) back to (i, i + head_dim / 2): canonical row o is stored row 2 (o mod d/2) + o div d/2.
  static std::vector<std::uint32_t> half_split_order(std::size_t n_heads, std::size_t head_dim) {
    std::vector<std::uint32_t> order(n_heads * head_dim);
    const std::size_t half = head_dim / 2;
    for (std::size_t h = 0; h < n_heads; ++h) {
      for (std::size_t o = 0; o < head_dim; ++o) {
        order[h * head_dim + o] = static_cast<std::uint32_t>(h * head_dim + 2 * (o % half) + o / half);
      }
    }
    return order;
  }

  Result<Linear> load_qkv(const LayerSpec& l, std::size_t hidden, std::size_t i) {
    const std::size_t nq = l.n_heads * l.head_dim;
    const std::size_t nkv = l.n_kv_heads * l.head_dim;
    Linear linear;
    if (name_of(Role::attn_qkv) != nullptr) return load_linear(Role::attn_qkv, i, nq + 2 * nkv, hidden);
    TRITIUM_ASSIGN(const Bound q, bind(Role::attn_q, i, {nq, hidden}));
    TRITIUM_ASSIGN(const Bound k, bind(Role::attn_k, i, {nkv, hidden}));
    TRITIUM_ASSIGN(const Bound v, bind(Role::attn_v, i, {nkv, hidden}));
    StoredMatrix parts[3] = {stored(*q.weight), stored(*k.weight), stored(*v.weight)};
    TRITIUM_ASSIGN(linear.bias, load_bias({q, k, v}, {nq, nkv, nkv}));
    std::vector<std::uint32_t> q_order;
    std::vector<std::uint32_t> k_order;
    if (is_gguf() && family_.gguf_permuted_qk) {
      q_order = half_split_order(l.n_heads, l.head_dim);
      k_order = half_split_order(l.n_kv_heads, l.head_dim);
      parts[0].row_order = q_order.data();
      parts[1].row_order = k_order.data();
      if (!linear.bias.empty()) {
        permute(linear.bias.data(), q_order);
        permute(linear.bias.data() + nq, k_order);
      }
    }
    TRITIUM_ASSIGN(linear.parts, pack_stack(parts));
    return linear;
  }

  static void permute(float* values, const std::vector<std::uint32_t>& order) {
    const std::vector<float> copy(values, values + order.size());
    for (std::size_t i = 0; i < order.size(); ++i) values[i] = copy[order[i]];
  }

  Result<LayerWeights> load_layer(const ModelSpec& spec, std::size_t i) {
    const LayerSpec& l = spec.layers[i];
    const std::size_t nq = l.n_heads * l.head_dim;
    LayerWeights w;
    TRITIUM_ASSIGN(w.attn_norm, load_norm(Role::attn_norm, i, spec.hidden));
    TRITIUM_ASSIGN(w.qkv, load_qkv(l, spec.hidden, i));
    TRITIUM_ASSIGN(w.q_norm, load_norm(Role::attn_q_norm, i, l.head_dim));
    TRITIUM_ASSIGN(w.k_norm, load_norm(Role::attn_k_norm, i, l.head_dim));
    TRITIUM_ASSIGN(w.attn_sub_norm, load_norm(Role::attn_sub_norm, i, nq));
    TRITIUM_ASSIGN(w.attn_output, load_linear(Role::attn_output, i, spec.hidden, nq));
    TRITIUM_ASSIGN(w.attn_post_norm, load_norm(Role::attn_post_norm, i, spec.hidden));
    TRITIUM_ASSIGN(w.ffn_norm, load_norm(Role::ffn_norm, i, spec.hidden));
    TRITIUM_TRY(load_mlp(spec, i, w));
    TRITIUM_ASSIGN(w.ffn_sub_norm, load_norm(Role::ffn_sub_norm, i, l.ffn_dim));
    TRITIUM_ASSIGN(w.down, load_linear(Role::ffn_down, i, spec.hidden, l.ffn_dim));
    TRITIUM_ASSIGN(w.ffn_post_norm, load_norm(Role::ffn_post_norm, i, spec.hidden));
    return w;
  }

  Status load_mlp(const ModelSpec& spec, std::size_t i, LayerWeights& w) {
    const std::size_t ffn = spec.layers[i].ffn_dim;
    const std::size_t hidden = spec.hidden;
    if (!spec.gated_mlp) {
      TRITIUM_ASSIGN(w.up, load_linear(Role::ffn_up, i, ffn, hidden));
      return {};
    }
    StoredMatrix gate, up;
    Bound gate_bound, up_bound;
    if (name_of(Role::ffn_gate_up) != nullptr) {  // rows: gate, then up
      TRITIUM_ASSIGN(const Bound fused, bind(Role::ffn_gate_up, i, {2 * ffn, hidden}));
      gate = stored(*fused.weight);
      gate.rows = ffn;
      up = gate;
      up.data += ffn * gate.row_bytes();
    } else {
      TRITIUM_ASSIGN(gate_bound, bind(Role::ffn_gate, i, {ffn, hidden}));
      TRITIUM_ASSIGN(up_bound, bind(Role::ffn_up, i, {ffn, hidden}));
      gate = stored(*gate_bound.weight);
      up = stored(*up_bound.weight);
    }
    const bool biased = gate_bound.bias != nullptr || up_bound.bias != nullptr;
    if (layer_format(gate) == layer_format(up) && !biased) {
      TRITIUM_ASSIGN(PackedMatrix both, pack_stored({gate, up}, layer_format(gate), true));
      w.gate_up.parts.push_back(std::move(both));
      return {};
    }
    TRITIUM_ASSIGN(w.gate.parts, pack_stack({&gate, 1}));
    TRITIUM_ASSIGN(w.gate.bias, load_bias({gate_bound}, {ffn}));
    TRITIUM_ASSIGN(w.up.parts, pack_stack({&up, 1}));
    TRITIUM_ASSIGN(w.up.bias, load_bias({up_bound}, {ffn}));
    return {};
  }

  const Checkpoint& checkpoint_;
  const Family& family_;
  const LoadOptions& options_;
  const Executor& executor_;
  std::vector<bool> used_;
  bool prefixed_ = true;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
};

}  // namespace detail

/// Loads and packs a model. The checkpoint is not needed afterwards.
/// Threads: packing shares the executor. Errors: unsupported, invalid_file, out_of_memory, io.
inline Result<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint, const LoadOptions& options, const Executor& executor) {
  return no_throw([&]() -> Result<std::unique_ptr<Model>> {
    TRITIUM_ASSIGN(const Family* family, find_family(checkpoint));
    return detail::Loader(checkpoint, *family, options, executor).load();
  });
}

TRITIUM_NAMESPACE_END
