// SPDX-License-Identifier: Apache-2.0
// load_model: from a checkpoint to a Model, every tensor checked against the spec before it is believed.
//
// The loader canonicalises while it packs: rows permuted for interleaved rotary pairs go back to their places, zero-centred
// norm weights get their one, fused matrices are taken apart by rows. Each matrix is packed straight from the mapped file,
// whose pages are then given back, so peak memory is the packed model plus one matrix. Tables that are only looked up stay
// in the file (embedding_table.h).
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>

#include "tritium/io/checkpoint.h"
#include "tritium/model/decoder.h"
#include "tritium/model/load_options.h"
#include "tritium/model/packed_cache.h"
#if TRITIUM_LOADERS != 1
#include "tritium/format/pack.h"
#include "tritium/format/ternary_quantize.h"
#include "tritium/model/families.h"
#include "tritium/ops/selftest.h"
#endif

TRITIUM_NAMESPACE_BEGIN

/// What the panels of a checkpoint depend on. Errors: io, out_of_memory.
TRITIUM_LOADER Result<PackedOrigin> packed_origin(const Checkpoint& checkpoint, const LoadOptions& options);

/// Keeps what `record` got while `checkpoint` was loaded with `options`; the loaded model must still be there.
/// Errors: invalid_argument (the output is the checkpoint), io, cancelled.
TRITIUM_LOADER Status write_packed_cache(std::string_view path, const Checkpoint& checkpoint,
                                         const LoadOptions& options, const PackedRecord& record,
                                         const std::function<bool()>& cancelled = {});

/// Loads and packs a model. The checkpoint is not needed afterwards, but its files are: token embeddings that are not the
/// head too and per-layer embeddings are read from the mapping, which the model keeps alive. Such a file may be replaced or
/// deleted but not written into or made shorter; EmbeddingTable::of_rows() says what happens then, model.weights'
/// check_unchanged() whether it did, and Checkpoint::Options{FileAccess::read} makes the model independent of its files.
/// Threads: packing shares the executor. Errors: unsupported, invalid_file, out_of_memory, io.
TRITIUM_LOADER Result<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint, const LoadOptions& options,
                                                         const Executor& executor);

#if TRITIUM_LOADERS != 1

TRITIUM_LOADER Result<PackedOrigin> packed_origin(const Checkpoint& checkpoint, const LoadOptions& options) {
  return no_throw([&]() -> Result<PackedOrigin> {
    PackedOrigin origin{{}, options.weights, options.head, options.exact, options.rotate};
    TRITIUM_ASSIGN(origin.files, detail::packed_sources(checkpoint));
    return origin;
  });
}

TRITIUM_LOADER Status write_packed_cache(std::string_view path, const Checkpoint& checkpoint,
                                         const LoadOptions& options, const PackedRecord& record,
                                         const std::function<bool()>& cancelled) {
  return no_throw([&]() -> Status {
    if (checkpoint.is_read_from(path)) {
      return make_error(Errc::invalid_argument, "the output is the input", printable_path(path), "another file",
                        "a file of the model");
    }
    TRITIUM_ASSIGN(const PackedOrigin origin, packed_origin(checkpoint, options));
    TRITIUM_TRY(checkpoint.check_unchanged());
    return record.write(path, origin, cancelled);
  });
}

namespace detail {

/// Whether options.cache, where there is one, was made of this checkpoint under these options.
inline Status check_packed_cache(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (options.cache == nullptr) return {};
  TRITIUM_ASSIGN(const PackedOrigin origin, packed_origin(checkpoint, options));
  return options.cache->check_origin(origin);
}

/// The stored bytes from the first of a matrix's rows to the last, wherever in a fused tensor they are.
inline std::span<const std::byte> stored_bytes(const StoredMatrix& w) {
  if (w.rows == 0) return {};
  if (w.bitnet_rows != 0) return {w.data, w.bitnet_rows / 4 * w.row_bytes()};  // rows share bytes across the tensor
  std::size_t first = 0;
  std::size_t last = w.rows - 1;
  if (w.row_order != nullptr) {
    const auto [least, most] = std::minmax_element(w.row_order, w.row_order + w.rows);
    first = *least;
    last = *most;
  }
  return {w.data + first * w.row_bytes(), (last - first + 1) * w.row_bytes()};
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const Family& family, const LoadOptions& options, const Executor& executor)
      : checkpoint_(checkpoint),
        family_(family),
        options_(options),
        executor_(executor),
        used_(checkpoint.tensors().size(), false) {}

  Result<std::unique_ptr<Model>> load() {
    TRITIUM_TRY(check_packed_cache(checkpoint_, options_));
    TRITIUM_ASSIGN(ModelSpec spec, read_spec());
    TRITIUM_ASSIGN(std::unique_ptr<Model> model, load_as(std::move(spec), true));
    TRITIUM_TRY(refuse_leftovers());
    TRITIUM_TRY(load_shortlist(*model));
    TRITIUM_TRY(checkpoint_.check_unchanged());
    return model;
  }

  /// One stack of layers; of two that share an embedding only one loads it.
  Result<std::unique_ptr<Model>> load_as(ModelSpec facts, bool own_embedding) {
    auto model = std::make_unique<Model>();
    model->spec = std::move(facts);
    ModelSpec& spec = model->spec;
    spec.family = family_.name;
    ternary_ = spec.ternary;
    if (options_.rotate) TRITIUM_TRY(allow_rotation(spec));
    spec.hadamard_mlp = options_.rotate;
    spec_ = &spec;
    n_layers_ = spec.n_layers();
    draft_layers_ = spec.draft_layers;
    model->weights.experts_per_token = spec.moe.top_k;
    TRITIUM_TRY(read_divisors(spec));
    for (const TensorSource& tensor : checkpoint_.tensors()) total_ += tensor.bytes;
    Weights& weights = model->weights;
    if (options_.cache != nullptr) weights.panels = {options_.cache, &options_.cache->file()};

    TRITIUM_ASSIGN(const Bound embedding, bind(Role::token_embedding, 0, {spec.vocab, spec.hidden}));
    if (spec.vocab == 0) spec.vocab = embedding.weight->rows();  // GGUF says it by the tensor
    TRITIUM_TRY(check_gguf_vocab(*embedding.weight));
    if (spec.vocab > kMaxVocab) {
      return make_error(Errc::invalid_file, "vocabulary size", where(*embedding.weight),
                        "at most " + std::to_string(kMaxVocab), std::to_string(spec.vocab));
    }
    TRITIUM_ASSIGN(const Bound head, bind(Role::output, 0, {spec.vocab, spec.hidden}));
    if (!is_gguf() && spec.tied_head == (head.weight != nullptr) && !spec.tied_head) {
      return make_error(
          Errc::invalid_file, "tensor is missing",
          printable_path(checkpoint_.path()) + ", tensor \"" + spell(name_of(Role::output)->name, 0, ".weight") + "\"",
          "it, since tie_word_embeddings is false", "nothing");
    }
    spec.tied_head = head.weight == nullptr || (!is_gguf() && spec.tied_head);
    TRITIUM_ASSIGN(weights.output_norm, load_norm(Role::output_norm, 0, spec.hidden));

    TRITIUM_TRY(load_outer(spec, weights));
    for (std::size_t i = 0; i < spec.n_layers(); ++i) {
      TRITIUM_ASSIGN(LayerWeights layer, load_layer(spec, i));
      weights.layers.push_back(std::move(layer));
    }
    TRITIUM_ASSIGN(const StoredMatrix table, stored(*embedding.weight));
    if (!own_embedding) return model;
    if (options_.rotate) {
      TRITIUM_TRY(pack_rotated_ends(spec, table, head, weights));
    } else if (spec.bidirectional) {  // an encoder has no head
      TRITIUM_ASSIGN(weights.embedding, keep_rows(*embedding.weight, table));
    } else if (spec.tied_head) {
      TRITIUM_ASSIGN(weights.embedding, pack_stored({table}, options_.head ? *options_.head : keep(table)));
    } else {
      TRITIUM_ASSIGN(weights.embedding, keep_rows(*embedding.weight, table));
      TRITIUM_ASSIGN(const StoredMatrix own, stored(*head.weight));
      TRITIUM_ASSIGN(PackedMatrix packed, pack_stored({own}, options_.head ? *options_.head : keep(own)));
      weights.head.parts.push_back(std::move(packed));
      if (head.bias != nullptr) {
        TRITIUM_ASSIGN(weights.head.bias,
                       load_vector(*head.bias, spec.vocab, round_up(spec.vocab, kPanelRows) + kPanelRows));
      }
    }
    return model;
  }

  /// What another loader of the same checkpoint has taken is not left over, and a cache goes on behind it.
  void adopt(const Loader& other) {
    next_packed_ = other.next_packed_;
    next_choice_ = other.next_choice_;
    for (std::size_t i = 0; i < used_.size(); ++i) used_[i] = used_[i] || other.used_[i];
  }

  /// A tensor that no role asked for means that the graph would leave something out.
  [[nodiscard]] Status refuse_leftovers() const {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const std::string_view name = checkpoint_.tensors()[i].name;
      if (used_[i] || name.ends_with("rotary_emb.inv_freq")) continue;
      if (is_beside_the_text_model(name)) continue;
      if (is_gguf() && belongs_to_draft(name)) continue;
      return make_error(Errc::unsupported, "the file has a tensor that this family does not use",
                        where(checkpoint_.tensors()[i]), "a tensor of " + std::string(family_.name), "another");
    }
    return options_.cache == nullptr ? Status() : options_.cache->check_used_up(next_packed_, next_choice_);
  }

 private:
  struct Bound {
    const TensorSource* weight = nullptr;
    const TensorSource* bias = nullptr;
  };
  struct Matrix {
    Bound bound;
    StoredMatrix stored;
    AlignedBuffer owned;               ///< codes that are not in the file
    std::vector<std::uint32_t> order;  ///< what stored.row_order points at
    [[nodiscard]] explicit operator bool() const { return bound.weight != nullptr; }
    void reorder(std::vector<std::uint32_t> rows) {
      order = std::move(rows);
      stored.row_order = order.data();
      stored.rows = order.size();
    }
  };

  [[nodiscard]] bool is_gguf() const { return checkpoint_.kind() == Checkpoint::Kind::gguf; }

  Status load_shortlist(Model& model) const {
    if (!options_.shortlist) return {};
    if (model.spec.logit_cap != 0.0f) {  // a cap brings large logits together, those below the list too
      return make_error(Errc::unsupported, "a shortlist for this family", printable_path(checkpoint_.path()),
                        "logits without a cap", std::to_string(model.spec.logit_cap));
    }
    Weights& w = model.weights;
    const PackedMatrix& head = w.head ? w.head.parts.front() : w.embedding.matrix();
    TRITIUM_ASSIGN(w.shortlist, make_shortlist(head, *options_.shortlist, executor_));
    return {};
  }

  Result<ModelSpec> read_spec() const {
    if (is_gguf()) return family_.from_gguf(*checkpoint_.gguf());
    TRITIUM_ASSIGN(const JsonObject config,
                   JsonObject::of(*checkpoint_.config(), printable_path(checkpoint_.path()) + "/config.json"));
    return family_.from_config(config);
  }

  // --- binding -----------------------------------------------------------------------------------------------------------

  /// The family's name for a role: of several the one that the file uses, else the first; null when it has none.
  [[nodiscard]] const TensorName* name_of(Role role, std::size_t layer = 0, std::size_t expert = 0) const {
    const TensorName* first = nullptr;
    for (const TensorName& name : is_gguf() ? family_.gguf_names : family_.hf_names) {
      if (name.role != role) continue;
      if (find(weight_name(name, layer, expert)) != nullptr) return &name;
      if (first == nullptr) first = &name;
    }
    return first;
  }

  static std::string weight_name(const TensorName& name, std::size_t layer, std::size_t expert) {
    return spell(name.name, layer, name.bare ? "" : ".weight", expert);
  }

  static std::string spell(std::string_view name, std::size_t layer, std::string_view suffix, std::size_t expert = 0) {
    std::string text;
    for (const char c : name) {
      if (c == '%') text += std::to_string(layer);
      else if (c == '#') text += std::to_string(expert);
      else text += c;
    }
    return text.append(suffix);
  }

  [[nodiscard]] std::string where(const TensorSource& tensor) const {
    return printable_path(checkpoint_.path()) + ", tensor \"" + printable(tensor.name) + "\"";
  }

  /// A tensor by name: null when it may be absent and is. Shape entries of 0 stand for any size.
  Result<const TensorSource*> take(const std::string& name, Need need, std::initializer_list<std::size_t> shape) {
    const TensorSource* tensor = find(name);
    if (tensor == nullptr) {
      if (need != Need::required) return static_cast<const TensorSource*>(nullptr);
      return checkpoint_.require(name).error();
    }
    used_[static_cast<std::size_t>(tensor - checkpoint_.tensors().data())] = true;
    // A matrix of one row may be filed as a vector.
    const std::size_t absent = shape.size() == 2 && *shape.begin() == 1 && tensor->rank == 1 ? 1 : 0;
    bool fits = tensor->rank + absent == shape.size();
    std::string expected;
    std::string found;
    std::size_t i = 0;
    for (const std::size_t n : shape) {
      fits = fits && (n == 0 || i < absent || tensor->shape[i - absent] == n);
      expected.append(i == 0 ? "[" : ", ").append(n == 0 ? "*" : std::to_string(n));
      ++i;
    }
    for (std::uint32_t d = 0; d < tensor->rank; ++d)
      found.append(d == 0 ? "[" : ", ").append(std::to_string(tensor->shape[d]));
    if (!fits)
      return make_error(Errc::invalid_file, "tensor has the wrong shape", where(*tensor), expected + "]",
                        found.empty() ? "[]" : found + "]");
    if (!is_weight_type(tensor->type) && !(tensor->type == TensorType::u8 && stored_ternary())) {
      return make_error(Errc::unsupported, "tensor has a type that weights cannot have", where(*tensor),
                        "a float or block type", info(tensor->type).name);
    }
    return tensor;
  }
  [[nodiscard]] const TensorSource* find(const std::string& name) const {
    const TensorSource* tensor = checkpoint_.find(name);
    // Text models inside multimodal ones, in the older and the newer spelling.
    if (tensor == nullptr) tensor = checkpoint_.find("language_model." + name);
    if (tensor == nullptr && name.starts_with("model."))
      tensor = checkpoint_.find("model.language_model." + name.substr(6));
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

  /// Codes four to a byte with a weight_scale beside them.
  [[nodiscard]] bool stored_ternary() const {
    return ternary_ == TernaryScale::multiply || ternary_ == TernaryScale::divide;
  }

  [[nodiscard]] bool has(Role role, std::size_t layer, std::size_t expert = 0) const {
    const TensorName* name = name_of(role, layer, expert);
    return name != nullptr && find(weight_name(*name, layer, expert)) != nullptr;
  }

  Result<Bound> bind(Role role, std::size_t layer, std::initializer_list<std::size_t> shape, std::size_t expert = 0) {
    const TensorName* name = name_of(role, layer, expert);
    Bound bound;
    if (name == nullptr) return bound;
    if (name->weight != Need::no) {
      TRITIUM_ASSIGN(bound.weight, take(weight_name(*name, layer, expert), name->weight, shape));
    }
    if (name->bias != Need::no && bound.weight != nullptr) {
      const std::string bias = spell(name->name, layer, ".bias", expert);
      TRITIUM_ASSIGN(bound.bias, take(bias, name->bias, {*shape.begin()}));
      TRITIUM_TRY(check_bias_everywhere(role, bias, bound.bias != nullptr));
    }
    return bound;
  }

  /// Biases that a family may have are on all layers or on none: one alone was lost, or was never the family's.
  Status check_bias_everywhere(Role role, const std::string& name, bool present) {
    for (const auto& [known, has_bias] : biased_) {
      if (known != role) continue;
      if (has_bias == present) return {};
      return make_error(Errc::invalid_file, "a bias on some layers only",
                        printable_path(checkpoint_.path()) + ", tensor \"" + printable(name) + "\"",
                        has_bias ? "it" : "none, as on other layers", has_bias ? "nothing" : "it");
    }
    biased_.emplace_back(role, present);
    return {};
  }

  /// A tensor that the file may have and the model does without.
  void leave(Role role, std::size_t layer) {
    const TensorName* name = name_of(role, layer);
    const TensorSource* tensor = name == nullptr ? nullptr : find(weight_name(*name, layer, 0));
    if (tensor != nullptr) used_[static_cast<std::size_t>(tensor - checkpoint_.tensors().data())] = true;
  }

  /// The vocabulary's size is said up to three times in a GGUF file.
  [[nodiscard]] Status check_gguf_vocab(const TensorSource& embedding) const {
    if (!is_gguf()) return {};
    const GgufFile& file = *checkpoint_.gguf();
    const auto differs = [&](std::string_view key, std::uint64_t found) {
      return make_error(Errc::invalid_file, "vocabulary size",
                        printable_path(checkpoint_.path()) + ", key \"" + std::string(key) + "\"",
                        std::to_string(embedding.rows()) + " as the rows of " + printable(embedding.name),
                        std::to_string(found));
    };
    TRITIUM_ASSIGN(const std::string_view architecture, file.get<std::string_view>("general.architecture"));
    const std::string key = std::string(architecture) + ".vocab_size";
    TRITIUM_ASSIGN(const std::uint64_t size, file.get_or<std::uint64_t>(key, embedding.rows()));
    if (size != embedding.rows()) return differs(key, size);
    const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
    if (tokens != nullptr && tokens->is_array && tokens->count != embedding.rows())
      return differs("tokenizer.ggml.tokens", tokens->count);
    return {};
  }

  /// The matrix of a linear layer, n by k, and what is filed beside it. BitLinears of safetensors files come as packed codes
  /// with a scale, or as floats to be rounded now.
  Result<Matrix> bind_matrix(Role role, std::size_t layer, std::size_t n, std::size_t k, std::size_t expert = 0) {
    Matrix matrix;
    const TensorName* name = name_of(role, layer, expert);
    if (name == nullptr) return matrix;
    const TensorSource* tensor = find(weight_name(*name, layer, expert));
    const bool codes = tensor != nullptr && tensor->type == TensorType::u8 && stored_ternary();
    TRITIUM_ASSIGN(matrix.bound, codes ? bind(role, layer, {n / 4, k}, expert) : bind(role, layer, {n, k}, expert));
    if (matrix.bound.weight == nullptr) return matrix;
    TRITIUM_ASSIGN(matrix.stored, stored(*matrix.bound.weight));
    if (codes) {
      if (n % 4 != 0)
        return make_error(Errc::invalid_file, "tensor has the wrong shape", where(*tensor), "a multiple of 4 rows",
                          std::to_string(n));
      matrix.stored.rows = n;
      matrix.stored.bitnet_rows = n;
    }
    if (stored_ternary() && is_bit_linear(role)) {
      TRITIUM_ASSIGN(const TensorSource* scale, take(spell(name->name, layer, ".weight_scale", expert),
                                                     codes ? Need::required : Need::optional, {1}));
      if (scale != nullptr) {
        float value = 0;
        TRITIUM_TRY(decode_row(scale->type, scale->data, 1, &value));
        if (!(std::isfinite(value) && value > 0.0f)) {
          return make_error(Errc::invalid_file, "bad weight scale", where(*scale), "a positive number",
                            std::to_string(value));
        }
        if (!codes)
          return make_error(Errc::unsupported, "a weight scale beside weights that are not packed codes", where(*scale),
                            "packed codes", "floats");
        matrix.stored.scale = ternary_ == TernaryScale::divide ? 1.0f / value : value;
      }
    }
    if (!is_bit_linear(role)) return matrix;
    if (options_.rotate) TRITIUM_TRY(rotate(matrix, role, layer, n, k));
    if (ternary_ == TernaryScale::online) TRITIUM_TRY(round_online(matrix, n, k));
    if (ternary_ == TernaryScale::values && !is_ternary(matrix.stored.type))
      TRITIUM_TRY(recognise_ternary(matrix, n, k));
    return matrix;
  }

  static bool is_ternary(TensorType type) {
    return type == TensorType::i2_s || type == TensorType::tq1_0 || type == TensorType::tq2_0;
  }

  /// BitNet's own rounding of a float tensor: one scale for all of it.
  Status round_online(Matrix& matrix, std::size_t n, std::size_t k) {
    if (options_.cache != nullptr) return stand_in(matrix, {TensorType::u8, nullptr, n, k, nullptr, 1.0f, n});
    TRITIUM_ASSIGN(const Array<float> values, decode_all(matrix.stored));
    TRITIUM_ASSIGN(Array<std::uint8_t> codes, Array<std::uint8_t>::allocate(n * k));
    float scale = 0;
    TRITIUM_TRY(quantize_ternary(MatrixView<const float>(values.data(), n, k), {},
                                 MatrixView<std::uint8_t>(codes.data(), n, k), &scale));
    return replace_by_codes(matrix, codes, scale, n, k);
  }

  /// Floats that somebody rounded before: their codes and the one magnitude they have.
  Status recognise_ternary(Matrix& matrix, std::size_t n, std::size_t k) {
    if (options_.cache != nullptr) return stand_in(matrix, {TensorType::u8, nullptr, n, k, nullptr, 1.0f, n});
    TRITIUM_ASSIGN(const Array<float> values, decode_all(matrix.stored));
    const Result<float> scale = ternary_scale(values.data(), n * k);
    if (!scale.ok()) return Error{Errc::unsupported, where(*matrix.bound.weight) + ": " + scale.error().message};
    TRITIUM_ASSIGN(Array<std::uint8_t> codes, Array<std::uint8_t>::allocate(n * k));
    for (std::size_t i = 0; i < n * k; ++i)
      codes[i] = static_cast<std::uint8_t>(values[i] == 0.0f ? 1 : values[i] > 0.0f ? 2 : 0);
    return replace_by_codes(matrix, codes, *scale, n, k);
  }

  /// Type and shape of weights that only packing would read: what a cache holds is not computed.
  static Status stand_in(Matrix& matrix, const StoredMatrix& shape) {
    matrix.stored = shape;
    return {};
  }

  static Result<Array<float>> decode_all(const StoredMatrix& stored) {
    TRITIUM_ASSIGN(Array<float> values, Array<float>::allocate(stored.rows * stored.cols));
    for (std::size_t r = 0; r < stored.rows; ++r)
      TRITIUM_TRY(decode_row(stored.type, stored.row(r), stored.cols, values.data() + r * stored.cols));
    return values;
  }

  Status replace_by_codes(Matrix& matrix, const Array<std::uint8_t>& codes, float scale, std::size_t n,
                          std::size_t k) const {
    if (n % 4 != 0)
      return make_error(Errc::unsupported, "cannot round to ternary", where(*matrix.bound.weight),
                        "a multiple of 4 rows", std::to_string(n));
    TRITIUM_ASSIGN(matrix.owned, AlignedBuffer::allocate(n / 4 * k));
    TRITIUM_TRY(pack_bitnet_rows(codes.data(), n, k, {matrix.owned.data(), matrix.owned.size()}));
    matrix.stored = {TensorType::u8, matrix.owned.data(), n, k, nullptr, scale, n};
    return {};
  }

  static bool is_bit_linear(Role role) {
    switch (role) {
      case Role::token_embedding:
      case Role::output:
      case Role::router:
      case Role::shared_router: return false;
      default: return true;
    }
  }

  /// Towers of other senses, and predictors of more than the next token: the text model runs without them.
  static bool is_beside_the_text_model(std::string_view name) {
    for (const std::string_view part : {"vision_tower.", "audio_tower.", "multi_modal_projector.", "embed_vision.",
                                        "embed_audio.", "visual.", "mtp."}) {
      if (name.starts_with(part) || (name.starts_with("model.") && name.substr(6).starts_with(part))) return true;
    }
    return false;
  }
  [[nodiscard]] bool belongs_to_draft(std::string_view name) const {
    for (std::size_t i = 0; i < draft_layers_; ++i) {
      if (name.starts_with("blk." + std::to_string(n_layers_ + i) + ".")) return true;
    }
    return false;
  }

  /// Rotary divisors that a GGUF file keeps as tensors.
  Status read_divisors(ModelSpec& spec) {
    for (RopeSpec& rope : spec.ropes) {
      if (rope.scaling == RopeScaling::divisors) TRITIUM_TRY(take_divisors("rope_freqs.weight", rope, rope.divisors));
      if (rope.scaling == RopeScaling::longrope && is_gguf()) {
        TRITIUM_TRY(take_divisors("rope_factors_short.weight", rope, rope.divisors));
        TRITIUM_TRY(take_divisors("rope_factors_long.weight", rope, rope.long_divisors));
      }
    }
    return {};
  }
  Status take_divisors(const char* name, const RopeSpec& rope, std::vector<float>& divisors) {
    TRITIUM_ASSIGN(const TensorSource* tensor, take(name, Need::required, {rope.rotary_dim / 2}));
    divisors.resize(rope.rotary_dim / 2);
    TRITIUM_TRY(decode_row(tensor->type, tensor->data, divisors.size(), divisors.data()));
    for (const float d : divisors) {
      if (!(d > 0.0f))
        return make_error(Errc::invalid_file, "rope divisor", where(*tensor), "positive numbers", std::to_string(d));
    }
    return {};
  }

  // --- loading -----------------------------------------------------------------------------------------------------------

  static Result<StoredMatrix> stored(const TensorSource& t) {
    if (t.type == TensorType::i2_s) return stored_i2_s({t.data, t.bytes}, t.rows(), t.cols());
    return StoredMatrix{t.type, t.data, t.rows(), t.cols()};
  }

  Result<Array<float>> load_vector(const TensorSource& tensor, std::size_t n, std::size_t padded) {
    TRITIUM_ASSIGN(Array<float> out, Array<float>::allocate_zeroed(padded));
    TRITIUM_TRY(decode_row(tensor.type, tensor.data, n, out.data()));
    for (std::size_t i = 0; i < n; ++i) {
      if (!std::isfinite(out[i])) {
        return make_error(Errc::invalid_file, "weight is not finite", where(tensor) + ", element " + std::to_string(i),
                          "a finite number", "NaN or Inf");
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
    if (options_.rotate && !keep_norms_ &&
        (role == Role::attn_norm || role == Role::ffn_norm || role == Role::output_norm)) {
      std::fill_n(norm.weight.data(), n, 1.0f);  // folded into the matrices that read it
    }
    return norm;
  }

  // --- rotation ----------------------------------------------------------------------------------------------------------

  /// The blocks whose rotation commutes with everything between their matrices.
  [[nodiscard]] Status allow_rotation(const ModelSpec& spec) const {
    bool plain = spec.norm == NormKind::rms && spec.residual == Residual::sequential && spec.gated_mlp &&
                 spec.ternary == TernaryScale::none && spec.moe.n_experts == 0 && spec.n_streams <= 1 &&
                 spec.laurel_rank == 0 && spec.per_layer_dim == 0 && spec.memory_dim == 0 && !spec.bidirectional &&
                 !spec.attention_gate && !spec.value_norm;
    for (const LayerSpec& l : spec.layers) plain = plain && l.mixer == Mixer::attention && l.kv_source < 0 && !l.v_is_k;
    for (const Role role : {Role::attn_post_norm, Role::ffn_post_norm, Role::attn_sub_norm, Role::ffn_sub_norm})
      plain = plain && !has(role, 0);
    for (const TensorName& name : is_gguf() ? family_.gguf_names : family_.hf_names) {
      const bool turned = name.role == Role::attn_output || name.role == Role::attn_v || name.role == Role::attn_qkv ||
                          name.role == Role::ffn_down;
      plain = plain && !(turned && find(spell(name.name, 0, ".bias")) != nullptr);
    }
    if (plain) return {};
    return make_error(Errc::unsupported, "this family cannot be rotated", printable_path(checkpoint_.path()),
                      "RMS norms before gated MLPs and attention without biases on values and outputs",
                      std::string(family_.name));
  }

  /// A matrix in the rotated basis, as floats that this loader owns.
  Status rotate(Matrix& matrix, Role role, std::size_t layer, std::size_t n, std::size_t k) {
    const bool reads_attn =
        role == Role::attn_q || role == Role::attn_k || role == Role::attn_v || role == Role::attn_qkv;
    const bool reads_ffn = role == Role::ffn_gate || role == Role::ffn_up || role == Role::ffn_gate_up;
    const LayerSpec& l = spec_->layers[layer];
    if (options_.cache != nullptr) return stand_in(matrix, {TensorType::f32, nullptr, n, k});
    TRITIUM_ASSIGN(Array<float> values, decode_all(matrix.stored));
    if (reads_attn || reads_ffn) {
      TRITIUM_ASSIGN(const Array<float> fold, norm_to_fold(reads_attn ? Role::attn_norm : Role::ffn_norm, layer));
      for (std::size_t r = 0; r < n; ++r) {
        for (std::size_t c = 0; c < k; ++c) values[r * k + c] *= fold[c];
        rotate_residual(values.data() + r * k, k);
      }
    }
    if (role == Role::attn_v || role == Role::attn_qkv) {  // the rows of each value head
      const std::size_t first = n - l.n_kv_heads * l.head_dim;
      std::vector<float> column(l.head_dim);
      for (std::size_t head = 0; head < l.n_kv_heads; ++head) {
        for (std::size_t c = 0; c < k; ++c) {
          float* const top = values.data() + (first + head * l.head_dim) * k + c;
          for (std::size_t i = 0; i < l.head_dim; ++i) column[i] = top[i * k];
          hadamard(column.data(), l.head_dim);
          for (std::size_t i = 0; i < l.head_dim; ++i) top[i * k] = column[i];
        }
      }
    }
    if (role == Role::attn_output || role == Role::ffn_down) {
      for (std::size_t r = 0; r < n; ++r) {
        if (role == Role::ffn_down) hadamard(values.data() + r * k, k);
        for (std::size_t h = 0; role == Role::attn_output && h < l.n_heads; ++h)
          hadamard(values.data() + r * k + h * l.head_dim, l.head_dim);
      }
      std::vector<float> column(n);
      for (std::size_t c = 0; c < k; ++c) {
        for (std::size_t r = 0; r < n; ++r) column[r] = values[r * k + c];
        rotate_residual(column.data(), n);
        for (std::size_t r = 0; r < n; ++r) values[r * k + c] = column[r];
      }
    }
    return own_floats(matrix, values, n, k);
  }

  Result<Array<float>> norm_to_fold(Role role, std::size_t layer) {
    keep_norms_ = true;
    Result<Norm> norm = load_norm(role, layer, spec_->hidden);
    keep_norms_ = false;
    if (!norm.ok()) return std::move(norm).error();
    return std::move(norm->weight);
  }

  static Status own_floats(Matrix& matrix, const Array<float>& values, std::size_t n, std::size_t k) {
    TRITIUM_ASSIGN(matrix.owned, AlignedBuffer::allocate(n * k * sizeof(float)));
    std::memcpy(matrix.owned.data(), values.data(), n * k * sizeof(float));
    matrix.stored = {TensorType::f32, matrix.owned.data(), n, k};
    return {};
  }

  /// Embedding and head. A tied head gets a matrix of its own: the last norm is folded into it alone.
  Status pack_rotated_ends(ModelSpec& spec, const StoredMatrix& table, const Bound& head, Weights& weights) {
    const auto rotated = [&](const StoredMatrix& source, const Array<float>* fold) -> Result<Matrix> {
      Matrix matrix;
      if (options_.cache != nullptr) {
        TRITIUM_TRY(stand_in(matrix, {TensorType::f32, nullptr, source.rows, source.cols}));
        return matrix;
      }
      TRITIUM_ASSIGN(Array<float> values, decode_all(source));
      for (std::size_t r = 0; r < source.rows; ++r) {
        float* row = values.data() + r * source.cols;
        for (std::size_t c = 0; fold != nullptr && c < source.cols; ++c) row[c] *= (*fold)[c];
        rotate_residual(row, source.cols);
      }
      TRITIUM_TRY(own_floats(matrix, values, source.rows, source.cols));
      return matrix;
    };
    TRITIUM_ASSIGN(const Array<float> fold, norm_to_fold(Role::output_norm, 0));
    const PackFormat embedding_format = options_.exact ? PackFormat::f32 : PackFormat::f16;
    TRITIUM_ASSIGN(const Matrix embedding, rotated(table, nullptr));
    TRITIUM_ASSIGN(weights.embedding, pack_stored({embedding.stored}, embedding_format));
    TRITIUM_ASSIGN(const StoredMatrix source, spec.tied_head ? Result<StoredMatrix>(table) : stored(*head.weight));
    TRITIUM_ASSIGN(const Matrix own, rotated(source, &fold));
    TRITIUM_ASSIGN(PackedMatrix packed, pack_stored({own.stored}, options_.head.value_or(embedding_format)));
    weights.head.parts.push_back(std::move(packed));
    if (!spec.tied_head && head.bias != nullptr) {
      TRITIUM_ASSIGN(weights.head.bias,
                     load_vector(*head.bias, spec.vocab, round_up(spec.vocab, kPanelRows) + kPanelRows));
    }
    spec.tied_head = false;
    return {};
  }

  Result<PackedMatrix> pack_stored(std::initializer_list<StoredMatrix> parts, PackFormat format,
                                   bool interleaved = false) {
    return pack_stored(std::span(parts.begin(), parts.size()), format, interleaved);
  }
  Result<PackedMatrix> pack_stored(std::span<const StoredMatrix> parts, PackFormat format, bool interleaved = false) {
    TRITIUM_ASSIGN(const IsaChoice isa, active_isa());
    TRITIUM_TRY(self_test_once(*kernel_table(isa.tier), {&format, 1}));  // a kernel that is wrong must not talk
    if (options_.cache != nullptr) return take_packed(parts, format, interleaved);
    Result<PackedMatrix> packed = pack(parts.data(), parts.size(), format, interleaved, executor_, drop_mapped_pages);
    if (!packed.ok()) {
      for (const TensorSource& t : checkpoint_.tensors()) {
        if (t.data == parts.front().data) return Error{packed.error().code, where(t) + ": " + packed.error().message};
      }
      return packed;
    }
    for (const StoredMatrix& part : parts) drop_mapped_pages(stored_bytes(part));
    if (options_.record != nullptr) options_.record->add(*packed);
    report_progress(parts);
    return packed;
  }

  /// The next matrix of the cache, if it is the one that pack_stored() would make.
  Result<PackedMatrix> take_packed(std::span<const StoredMatrix> parts, PackFormat format, bool interleaved) {
    std::size_t n = 0;
    for (const StoredMatrix& part : parts) n += part.rows;
    if (interleaved) n = parts[0].rows;
    TRITIUM_ASSIGN(PackedMatrix packed, options_.cache->matrix(next_packed_++, format, n, parts[0].cols, interleaved));
    if (options_.record != nullptr) options_.record->add(packed);
    report_progress(parts);
    return packed;
  }

  void report_progress(std::span<const StoredMatrix> parts) {
    for (const StoredMatrix& part : parts) done_ += part.row_bytes() * part.rows / (part.bitnet_rows == 0 ? 1 : 4);
    if (options_.progress) options_.progress(std::min(done_, total_), total_);
  }

  /// keep_format(). Where that takes a look at the weights, a cache has the answer.
  PackFormat keep(const StoredMatrix& w) {
    if (w.type != TensorType::tq1_0 && w.type != TensorType::tq2_0) return keep_format(w);
    const PackFormat kept = options_.cache != nullptr ? options_.cache->choice(next_choice_++) : keep_format(w);
    if (options_.record != nullptr) options_.record->add_choice(kept);
    return kept;
  }

  /// A table that is only looked up.
  Result<EmbeddingTable> keep_rows(const TensorSource& tensor, const StoredMatrix& rows) {
    TRITIUM_ASSIGN(EmbeddingTable table, EmbeddingTable::of_rows(rows, checkpoint_.file_of(tensor), where(tensor)));
    done_ += tensor.bytes;
    if (options_.progress) options_.progress(std::min(done_, total_), total_);
    return table;
  }

  /// BitLinears stay ternary in the exact path: their integers are the model.
  [[nodiscard]] PackFormat layer_format(const StoredMatrix& w) {
    if (options_.weights && !options_.exact) return *options_.weights;
    const PackFormat kept = keep(w);
    return options_.weights && kept != PackFormat::ternary2 ? *options_.weights : kept;
  }

  /// Matrices below each other, neighbours of one format in one PackedMatrix.
  Result<std::vector<PackedMatrix>> pack_stack(std::span<const StoredMatrix> parts) {
    std::vector<PackedMatrix> out;
    for (std::size_t i = 0; i < parts.size();) {
      const PackFormat format = layer_format(parts[i]);
      std::size_t end = i + 1;
      while (end < parts.size() && layer_format(parts[end]) == format && parts[end - 1].rows % kPanelRows == 0) ++end;
      Result<PackedMatrix> packed = pack_stored(parts.subspan(i, end - i), format);
      if (!packed.ok()) return std::move(packed).error();
      out.push_back(*std::move(packed));
      i = end;
    }
    return out;
  }

  Result<Linear> pack_linear(std::span<Matrix> parts) {
    Linear linear;
    std::vector<StoredMatrix> stored_parts;
    std::size_t n = 0;
    bool biased = false;
    for (const Matrix& part : parts) {
      stored_parts.push_back(part.stored);
      n += part.stored.rows;
      biased = biased || part.bound.bias != nullptr;
    }
    TRITIUM_ASSIGN(linear.parts, pack_stack(stored_parts));
    if (!biased) return linear;
    TRITIUM_ASSIGN(linear.bias, Array<float>::allocate_zeroed(round_up(n, kPanelRows) + kPanelRows));
    std::size_t at = 0;
    for (const Matrix& part : parts) {
      const std::size_t rows = part.stored.rows;
      if (part.bound.bias != nullptr) {
        const std::size_t all = part.bound.bias->elements();
        TRITIUM_ASSIGN(const Array<float> bias, load_vector(*part.bound.bias, all, all));
        for (std::size_t r = 0; r < rows; ++r) linear.bias[at + r] = bias[part.stored.stored_row(r)];
      }
      at += rows;
    }
    return linear;
  }

  Result<Linear> load_linear(Role role, std::size_t layer, std::size_t n, std::size_t k, std::size_t expert = 0) {
    TRITIUM_ASSIGN(Matrix matrix, bind_matrix(role, layer, n, k, expert));
    if (!matrix) return Linear();
    return pack_linear({&matrix, 1});
  }

  /// Rotary pairs (2i, 2i + 1) back to (i, i + d / 2), d of the head_dim rows being rotated: canonical row o < d is stored
  /// row 2 (o mod d/2) + o div d/2, the others lie where they are.
  static std::vector<std::uint32_t> half_split_order(std::size_t n_heads, std::size_t head_dim,
                                                     std::size_t rotary_dim) {
    std::vector<std::uint32_t> order(n_heads * head_dim);
    const std::size_t half = rotary_dim / 2;
    for (std::size_t h = 0; h < n_heads; ++h) {
      for (std::size_t o = 0; o < head_dim; ++o) {
        order[h * head_dim + o] =
            static_cast<std::uint32_t>(h * head_dim + (o < rotary_dim ? 2 * (o % half) + o / half : o));
      }
    }
    return order;
  }

  static std::vector<std::uint32_t> row_range(std::size_t first, std::size_t count) {
    std::vector<std::uint32_t> rows(count);
    for (std::size_t i = 0; i < count; ++i) rows[i] = static_cast<std::uint32_t>(first + i);
    return rows;
  }

  /// Rows of q, k and v, and of the output gate behind them where there is one.
  Result<Linear> load_qkv(const ModelSpec& spec, const LayerSpec& l, std::size_t i) {
    const std::size_t nq = l.n_heads * l.head_dim;
    const std::size_t nkv = l.n_kv_heads * l.head_dim;
    const std::size_t n_parts = l.kv_source >= 0 ? 1 : l.v_is_k ? 2 : 3;
    std::vector<Matrix> parts;
    if (has(Role::attn_qkv, i)) {
      TRITIUM_ASSIGN(Matrix fused, bind_matrix(Role::attn_qkv, i, nq + (n_parts - 1) * nkv, spec.hidden));
      parts.push_back(std::move(fused));
    } else {
      TRITIUM_ASSIGN(Matrix q, bind_matrix(Role::attn_q, i, nq * (spec.attention_gate ? 2 : 1), spec.hidden));
      parts.push_back(std::move(q));
      if (n_parts >= 2) {
        TRITIUM_ASSIGN(Matrix k, bind_matrix(Role::attn_k, i, nkv, spec.hidden));
        parts.push_back(std::move(k));
      }
      if (n_parts >= 3) {
        TRITIUM_ASSIGN(Matrix v, bind_matrix(Role::attn_v, i, nkv, spec.hidden));
        parts.push_back(std::move(v));
      }
    }
    if (is_gguf() && family_.gguf_permuted_qk) {
      const std::size_t rotary_dim = l.rope < 0 ? l.head_dim : spec.ropes[static_cast<std::size_t>(l.rope)].rotary_dim;
      parts[0].reorder(half_split_order(l.n_heads, l.head_dim, rotary_dim));
      if (n_parts >= 2) parts[1].reorder(half_split_order(l.n_kv_heads, l.head_dim, rotary_dim));
    }
    if (spec.attention_gate) {  // stored for each head: its q rows, then its gate rows
      TRITIUM_ASSIGN(Matrix gate, bind_matrix(Role::attn_q, i, 2 * nq, spec.hidden));
      std::vector<std::uint32_t> q_rows, gate_rows;
      for (std::size_t h = 0; h < l.n_heads; ++h) {
        for (std::size_t r = 0; r < l.head_dim; ++r) {
          q_rows.push_back(static_cast<std::uint32_t>(2 * h * l.head_dim + r));
          gate_rows.push_back(static_cast<std::uint32_t>((2 * h + 1) * l.head_dim + r));
        }
      }
      parts[0].reorder(std::move(q_rows));
      gate.reorder(std::move(gate_rows));
      parts.push_back(std::move(gate));
    }
    return pack_linear(parts);
  }

  Result<LayerWeights> load_layer(const ModelSpec& spec, std::size_t i) {
    const LayerSpec& l = spec.layers[i];
    const std::size_t nq = l.n_heads * l.head_dim;
    LayerWeights w;
    TRITIUM_ASSIGN(w.attn_norm, load_norm(Role::attn_norm, i, spec.hidden));
    if (l.mixer == Mixer::delta_net) {
      TRITIUM_ASSIGN(w.delta_net, load_delta_net(spec, i));
    } else {
      TRITIUM_ASSIGN(w.qkv, load_qkv(spec, l, i));
      TRITIUM_ASSIGN(w.q_norm, load_norm(Role::attn_q_norm, i, l.head_dim));
      if (l.kv_source < 0) {
        TRITIUM_ASSIGN(w.k_norm, load_norm(Role::attn_k_norm, i, l.head_dim));
      } else {
        for (const Role role : {Role::attn_k, Role::attn_v, Role::attn_k_norm}) leave(role, i);
      }
      TRITIUM_ASSIGN(w.attn_sub_norm, load_norm(Role::attn_sub_norm, i, nq));
      TRITIUM_ASSIGN(w.attn_output, load_linear(Role::attn_output, i, spec.hidden, nq));
    }
    TRITIUM_ASSIGN(w.attn_post_norm, load_norm(Role::attn_post_norm, i, spec.hidden));
    TRITIUM_ASSIGN(w.ffn_norm, load_norm(Role::ffn_norm, i, spec.hidden));
    if (l.moe) {
      TRITIUM_ASSIGN(w.moe, load_experts(spec, i));
    }
    if (l.moe && spec.moe.beside_mlp) {
      TRITIUM_ASSIGN(w.mlp_post_norm, load_norm(Role::mlp_post_norm, i, spec.hidden));
      TRITIUM_ASSIGN(w.experts_norm, load_norm(Role::experts_norm, i, spec.hidden));
      TRITIUM_ASSIGN(w.experts_post_norm, load_norm(Role::experts_post_norm, i, spec.hidden));
    }
    if (!l.moe || spec.moe.beside_mlp) {
      TRITIUM_ASSIGN(Mlp mlp, load_mlp(spec, {Role::ffn_gate, Role::ffn_up, Role::ffn_gate_up}, i, l.ffn_dim, 0,
                                       l.sparsity != 0.0f));
      w.gate_up = std::move(mlp.gate_up);
      w.gate = std::move(mlp.gate);
      w.up = std::move(mlp.up);
      TRITIUM_ASSIGN(w.ffn_sub_norm, load_norm(Role::ffn_sub_norm, i, l.ffn_dim));
      TRITIUM_ASSIGN(w.down, load_linear(Role::ffn_down, i, spec.hidden, l.ffn_dim));
    }
    TRITIUM_ASSIGN(w.ffn_post_norm, load_norm(Role::ffn_post_norm, i, spec.hidden));
    if (spec.memory_dim != 0) {
      TRITIUM_ASSIGN(w.cross, load_cross(spec, l, i));
    }
    if (spec.laurel_rank != 0) {
      TRITIUM_ASSIGN(w.laurel_left, load_linear(Role::laurel_left, i, spec.laurel_rank, spec.hidden));
      TRITIUM_ASSIGN(w.laurel_right, load_linear(Role::laurel_right, i, spec.hidden, spec.laurel_rank));
      TRITIUM_ASSIGN(w.laurel_post_norm, load_norm(Role::laurel_post_norm, i, spec.hidden));
    }
    if (spec.n_streams > 1) {
      TRITIUM_ASSIGN(w.altup, load_altup(spec, i));
    }
    if (spec.per_layer_dim != 0) {
      TRITIUM_ASSIGN(w.per_layer_gate, load_linear(Role::per_layer_gate, i, spec.per_layer_dim, spec.hidden));
      TRITIUM_ASSIGN(w.per_layer_output, load_linear(Role::per_layer_output, i, spec.hidden, spec.per_layer_dim));
      TRITIUM_ASSIGN(w.per_layer_post_norm, load_norm(Role::per_layer_post_norm, i, spec.hidden));
    }
    TRITIUM_ASSIGN(const Bound scale, bind(Role::layer_scale, i, {1}));
    if (scale.weight != nullptr) {
      TRITIUM_ASSIGN(const Array<float> value, load_vector(*scale.weight, 1, 1));
      w.out_scale = value[0];
    }
    return w;
  }

  Result<CrossWeights> load_cross(const ModelSpec& spec, const LayerSpec& l, std::size_t i) {
    const std::size_t nq = l.n_heads * l.head_dim;
    const std::size_t nkv = l.n_kv_heads * l.head_dim;
    CrossWeights w;
    TRITIUM_ASSIGN(w.norm, load_norm(Role::cross_norm, i, spec.hidden));
    TRITIUM_ASSIGN(w.q, load_linear(Role::cross_q, i, nq, spec.hidden));
    TRITIUM_ASSIGN(Matrix k, bind_matrix(Role::cross_k, i, nkv, spec.memory_dim));
    TRITIUM_ASSIGN(Matrix v, bind_matrix(Role::cross_v, i, nkv, spec.memory_dim));
    Matrix both[] = {std::move(k), std::move(v)};
    TRITIUM_ASSIGN(w.kv, pack_linear(both));
    TRITIUM_ASSIGN(w.out, load_linear(Role::cross_output, i, spec.hidden, nq));
    TRITIUM_ASSIGN(w.post_norm, load_norm(Role::cross_post_norm, i, spec.hidden));
    return w;
  }

  Result<AltUpWeights> load_altup(const ModelSpec& spec, std::size_t i) {
    const std::size_t n = spec.n_streams;
    AltUpWeights w;
    TRITIUM_ASSIGN(w.router, load_linear(Role::altup_router, i, n, spec.hidden));
    TRITIUM_ASSIGN(w.router_norm, load_norm(Role::altup_router_norm, i, spec.hidden));
    TRITIUM_ASSIGN(w.predict, load_floats(Role::altup_predict, i, n * n, n));
    TRITIUM_ASSIGN(w.correct, load_floats(Role::altup_correct, i, n, n));
    TRITIUM_ASSIGN(const Bound scale, bind(Role::altup_out_scale, i, {spec.hidden}));
    if (scale.weight != nullptr) {
      TRITIUM_ASSIGN(w.out_scale, load_vector(*scale.weight, spec.hidden, spec.hidden));
    }
    return w;
  }

  /// A small matrix as plain floats.
  Result<Array<float>> load_floats(Role role, std::size_t layer, std::size_t n, std::size_t k) {
    TRITIUM_ASSIGN(const Bound bound, bind(role, layer, {n, k}));
    TRITIUM_ASSIGN(const StoredMatrix matrix, stored(*bound.weight));
    return decode_all(matrix);
  }

  /// What stands beside the layers: the second embedding and the matrices that open and close residual streams.
  Status load_outer(const ModelSpec& spec, Weights& weights) {
    if (spec.per_layer_dim != 0) {
      const std::size_t width = spec.n_layers() * spec.per_layer_dim;
      TRITIUM_ASSIGN(const Bound table, bind(Role::per_layer_embedding, 0, {spec.per_layer_vocab, width}));
      TRITIUM_ASSIGN(const StoredMatrix rows, stored(*table.weight));
      weights.per_layer_rows = spec.per_layer_vocab;
      if (is_gguf()) {  // llama.cpp's converter adds rows of zeros for ids that the table does not have
        std::vector<float> row(width);
        const auto is_empty = [&](std::size_t r) -> Result<bool> {
          TRITIUM_TRY(decode_row(rows.type, rows.row(r), width, row.data()));
          return std::all_of(row.begin(), row.end(), [](float x) { return x == 0.0f; });
        };
        for (; weights.per_layer_rows > 1; --weights.per_layer_rows) {
          TRITIUM_ASSIGN(const bool empty, is_empty(weights.per_layer_rows - 1));
          if (!empty) break;
        }
      }
      TRITIUM_ASSIGN(weights.per_layer_embedding, keep_rows(*table.weight, rows));
      TRITIUM_ASSIGN(weights.per_layer_projection, load_linear(Role::per_layer_projection, 0, width, spec.hidden));
      TRITIUM_ASSIGN(weights.per_layer_norm, load_norm(Role::per_layer_norm, 0, spec.per_layer_dim));
    }
    for (std::size_t a = 0; a + 1 < spec.n_streams; ++a) {
      TRITIUM_ASSIGN(Linear project, load_stream(spec, Role::streams_project, Role::stream_project, a));
      TRITIUM_ASSIGN(Linear unproject, load_stream(spec, Role::streams_unproject, Role::stream_unproject, a));
      weights.stream_project.push_back(std::move(project));
      weights.stream_unproject.push_back(std::move(unproject));
    }
    return {};
  }
  Result<Linear> load_stream(const ModelSpec& spec, Role all, Role one, std::size_t a) {
    if (!has(all, 0)) return load_linear(one, 0, spec.hidden, spec.hidden, a);
    TRITIUM_ASSIGN(Matrix matrix, bind_expert(all, 0, spec.n_streams - 1, spec.hidden, spec.hidden, a));
    return pack_linear({&matrix, 1});
  }

  /// The recurrent mixer. Its projections may be filed as rows of each key head after the other: [q | k | v | z] and [b | a].
  Result<DeltaNetWeights> load_delta_net(const ModelSpec& spec, std::size_t i) {
    const DeltaNetSpec& s = spec.delta_net;
    const std::size_t per_key = s.n_v_heads / s.n_k_heads;
    DeltaNetWeights w;
    if (has(Role::delta_qkvz, i)) {
      const std::size_t rows = s.conv_width() + s.v_width();
      TRITIUM_ASSIGN(Matrix qkv, bind_matrix(Role::delta_qkvz, i, rows, spec.hidden));
      TRITIUM_ASSIGN(Matrix z, bind_matrix(Role::delta_qkvz, i, rows, spec.hidden));
      std::vector<std::uint32_t> order;
      const std::size_t begin[] = {0, s.k_dim, 2 * s.k_dim, 2 * s.k_dim + per_key * s.v_dim,
                                   2 * (s.k_dim + per_key * s.v_dim)};
      const auto append = [&](std::size_t part) {
        for (std::size_t head = 0; head < s.n_k_heads; ++head) {
          for (std::size_t r = begin[part]; r < begin[part + 1]; ++r)
            order.push_back(static_cast<std::uint32_t>(head * begin[4] + r));
        }
      };
      for (const std::size_t part : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) append(part);
      qkv.reorder(std::move(order));
      order.clear();
      append(3);
      z.reorder(std::move(order));
      TRITIUM_ASSIGN(w.qkv, pack_linear({&qkv, 1}));
      TRITIUM_ASSIGN(w.z, pack_linear({&z, 1}));
    } else {
      TRITIUM_ASSIGN(w.qkv, load_linear(Role::delta_qkv, i, s.conv_width(), spec.hidden));
      TRITIUM_ASSIGN(w.z, load_linear(Role::delta_z, i, s.v_width(), spec.hidden));
    }
    if (has(Role::delta_ba, i)) {
      TRITIUM_ASSIGN(Matrix ba, bind_matrix(Role::delta_ba, i, 2 * s.n_v_heads, spec.hidden));
      std::vector<std::uint32_t> order(2 * s.n_v_heads);
      for (std::size_t r = 0; r < order.size(); ++r) {
        const std::size_t head = r % s.n_v_heads;
        order[r] =
            static_cast<std::uint32_t>(head / per_key * 2 * per_key + r / s.n_v_heads * per_key + head % per_key);
      }
      ba.reorder(std::move(order));
      TRITIUM_ASSIGN(w.ba, pack_linear({&ba, 1}));
    } else {
      TRITIUM_ASSIGN(Matrix b, bind_matrix(Role::delta_b, i, s.n_v_heads, spec.hidden));
      TRITIUM_ASSIGN(Matrix a, bind_matrix(Role::delta_a, i, s.n_v_heads, spec.hidden));
      Matrix both[] = {std::move(b), std::move(a)};
      TRITIUM_ASSIGN(w.ba, pack_linear(both));
    }
    TRITIUM_ASSIGN(const Bound conv, is_gguf() ? bind(Role::delta_conv, i, {s.conv_width(), s.kernel})
                                               : bind(Role::delta_conv, i, {s.conv_width(), 1, s.kernel}));
    const std::size_t n_taps = s.conv_width() * s.kernel;
    TRITIUM_ASSIGN(const Array<float> taps, load_vector(*conv.weight, n_taps, n_taps));
    TRITIUM_ASSIGN(w.conv, Array<float>::allocate(n_taps));
    for (std::size_t j = 0; j < n_taps; ++j) w.conv[j % s.kernel * s.conv_width() + j / s.kernel] = taps[j];
    TRITIUM_ASSIGN(const Bound dt_bias, bind(Role::delta_dt_bias, i, {s.n_v_heads}));
    TRITIUM_ASSIGN(w.dt_bias, load_vector(*dt_bias.weight, s.n_v_heads, s.n_v_heads));
    const bool logarithm = has(Role::delta_a_log, i);
    TRITIUM_ASSIGN(const Bound a, bind(logarithm ? Role::delta_a_log : Role::delta_minus_exp_a, i, {s.n_v_heads}));
    TRITIUM_ASSIGN(w.minus_exp_a, load_vector(*a.weight, s.n_v_heads, s.n_v_heads));
    for (std::size_t h = 0; logarithm && h < s.n_v_heads; ++h) w.minus_exp_a[h] = -std::exp(w.minus_exp_a[h]);
    TRITIUM_ASSIGN(const Bound norm, bind(Role::delta_norm, i, {s.v_dim}));  // never stored minus one
    TRITIUM_ASSIGN(w.norm.weight, load_vector(*norm.weight, s.v_dim, s.v_dim));
    TRITIUM_ASSIGN(w.out, load_linear(Role::delta_out, i, spec.hidden, s.v_width()));
    return w;
  }

  struct MlpRoles {
    Role gate, up, gate_up;
  };
  struct Mlp {
    Linear gate_up, gate, up;
  };

  /// `apart`: the gate is needed before it is activated.
  Result<Mlp> load_mlp(const ModelSpec& spec, const MlpRoles& roles, std::size_t i, std::size_t ffn,
                       std::size_t expert = 0, bool apart = false) {
    Mlp mlp;
    if (!spec.gated_mlp) {
      TRITIUM_ASSIGN(mlp.up, load_linear(roles.up, i, ffn, spec.hidden, expert));
      return mlp;
    }
    if (name_of(roles.gate_up) != nullptr) {  // rows: gate, then up
      TRITIUM_ASSIGN(Matrix gate, bind_matrix(roles.gate_up, i, 2 * ffn, spec.hidden, expert));
      TRITIUM_ASSIGN(Matrix up, bind_matrix(roles.gate_up, i, 2 * ffn, spec.hidden, expert));
      gate.reorder(row_range(0, ffn));
      up.reorder(row_range(ffn, ffn));
      return pack_mlp(std::move(gate), std::move(up), apart);
    }
    TRITIUM_ASSIGN(Matrix gate, bind_matrix(roles.gate, i, ffn, spec.hidden, expert));
    TRITIUM_ASSIGN(Matrix up, bind_matrix(roles.up, i, ffn, spec.hidden, expert));
    return pack_mlp(std::move(gate), std::move(up), apart);
  }

  Result<Mlp> pack_mlp(Matrix gate, Matrix up, bool apart = false) {
    Mlp mlp;
    const bool biased = gate.bound.bias != nullptr || up.bound.bias != nullptr;
    if (layer_format(gate.stored) == layer_format(up.stored) && !biased && !apart) {
      TRITIUM_ASSIGN(PackedMatrix both, pack_stored({gate.stored, up.stored}, layer_format(gate.stored), true));
      mlp.gate_up.parts.push_back(std::move(both));
      return mlp;
    }
    TRITIUM_ASSIGN(mlp.gate, pack_linear({&gate, 1}));
    TRITIUM_ASSIGN(mlp.up, pack_linear({&up, 1}));
    return mlp;
  }

  /// Part e of a tensor that holds all experts.
  Result<Matrix> bind_expert(Role role, std::size_t layer, std::size_t n_experts, std::size_t n, std::size_t k,
                             std::size_t e) {
    Matrix matrix;
    TRITIUM_ASSIGN(matrix.bound, bind(role, layer, {n_experts, n, k}));
    if (matrix.bound.weight->type == TensorType::i2_s || ternary_ != TernaryScale::none) {
      return make_error(Errc::unsupported, "experts cannot be BitLinears", where(*matrix.bound.weight),
                        "a type with scales in its blocks", "another");
    }
    matrix.stored = {matrix.bound.weight->type, matrix.bound.weight->data, n, k};
    matrix.stored.data += e * n * matrix.stored.row_bytes();
    return matrix;
  }

  Result<MoeWeights> load_experts(const ModelSpec& spec, std::size_t i) {
    const MoeSpec& moe = spec.moe;
    MoeWeights w;
    TRITIUM_ASSIGN(w.router, load_linear(Role::router, i, moe.n_experts, spec.hidden));
    TRITIUM_ASSIGN(w.router_norm, load_norm(Role::router_norm, i, spec.hidden));
    for (std::size_t j = 0; j < w.router_norm.weight.size(); ++j) w.router_norm.weight[j] *= moe.router_scale;
    TRITIUM_ASSIGN(const Bound scale, bind(Role::expert_scale, i, {moe.n_experts}));
    if (scale.weight != nullptr) {
      TRITIUM_ASSIGN(w.expert_scale, load_vector(*scale.weight, moe.n_experts, moe.n_experts));
    }
    for (std::size_t e = 0; e < moe.n_experts; ++e) {
      ExpertWeights expert;
      Mlp mlp;
      if (has(Role::experts_down, i)) {
        Matrix gate, up;
        if (has(Role::experts_gate_up, i)) {
          TRITIUM_ASSIGN(gate, bind_expert(Role::experts_gate_up, i, moe.n_experts, 2 * moe.ffn_dim, spec.hidden, e));
          TRITIUM_ASSIGN(up, bind_expert(Role::experts_gate_up, i, moe.n_experts, 2 * moe.ffn_dim, spec.hidden, e));
          gate.reorder(row_range(0, moe.ffn_dim));
          up.reorder(row_range(moe.ffn_dim, moe.ffn_dim));
        } else {
          TRITIUM_ASSIGN(gate, bind_expert(Role::experts_gate, i, moe.n_experts, moe.ffn_dim, spec.hidden, e));
          TRITIUM_ASSIGN(up, bind_expert(Role::experts_up, i, moe.n_experts, moe.ffn_dim, spec.hidden, e));
        }
        TRITIUM_ASSIGN(mlp, pack_mlp(std::move(gate), std::move(up)));
        TRITIUM_ASSIGN(Matrix down, bind_expert(Role::experts_down, i, moe.n_experts, spec.hidden, moe.ffn_dim, e));
        TRITIUM_ASSIGN(expert.down, pack_linear({&down, 1}));
      } else {
        TRITIUM_ASSIGN(mlp, load_mlp(spec, {Role::expert_gate, Role::expert_up, Role::ffn_gate_up}, i, moe.ffn_dim, e));
        TRITIUM_ASSIGN(expert.down, load_linear(Role::expert_down, i, spec.hidden, moe.ffn_dim, e));
      }
      expert.gate_up = std::move(mlp.gate_up);
      expert.gate = std::move(mlp.gate);
      expert.up = std::move(mlp.up);
      w.experts.push_back(std::move(expert));
    }
    if (moe.shared_ffn_dim != 0) {
      TRITIUM_ASSIGN(w.shared_router, load_linear(Role::shared_router, i, 1, spec.hidden));
      TRITIUM_ASSIGN(Mlp mlp,
                     load_mlp(spec, {Role::shared_gate, Role::shared_up, Role::ffn_gate_up}, i, moe.shared_ffn_dim));
      w.shared_gate_up = std::move(mlp.gate_up);
      w.shared_gate = std::move(mlp.gate);
      w.shared_up = std::move(mlp.up);
      TRITIUM_ASSIGN(w.shared_down, load_linear(Role::shared_down, i, spec.hidden, moe.shared_ffn_dim));
    }
    return w;
  }

  const Checkpoint& checkpoint_;
  const Family& family_;
  const LoadOptions& options_;
  const Executor& executor_;
  std::vector<bool> used_;
  std::vector<std::pair<Role, bool>> biased_;  // what layers so far said of optional biases
  TernaryScale ternary_ = TernaryScale::none;
  const ModelSpec* spec_ = nullptr;  ///< of the stack being loaded
  bool keep_norms_ = false;
  std::size_t next_packed_ = 0;  ///< in the cache
  std::size_t next_choice_ = 0;
  std::size_t n_layers_ = 0;
  std::size_t draft_layers_ = 0;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
};

}  // namespace detail

TRITIUM_LOADER Result<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint, const LoadOptions& options,
                                                         const Executor& executor) {
  return no_throw([&]() -> Result<std::unique_ptr<Model>> {
    TRITIUM_ASSIGN(const Family* family, find_family(checkpoint));
    return detail::Loader(checkpoint, *family, options, executor).load();
  });
}

#endif

TRITIUM_NAMESPACE_END
