// SPDX-License-Identifier: Apache-2.0
// GgufExport: a checkpoint as one GGUF file with its matrices rounded to chosen types.
//
// A GGUF file keeps its metadata and names, whatever its architecture; a safetensors folder gets the metadata, names
// and order of rows that GGUF files of its family have, and is refused where they would not say the same model. Tensors
// that have their type already are copied; the others pass through f32 a few rows at a time, so memory does not grow
// with the file. Norms, biases, routers and all other small tensors are kept in f32: they cost nothing and carry much.
// Source: llama.cpp's converter and quantizer for which tensors keep f32, and for the types that stand in when rows are
// no whole number of blocks.
#pragma once

#include <functional>
#include <optional>

#include "tritium/format/gguf_encode.h"
#include "tritium/format/pack.h"
#include "tritium/model/gguf_metadata.h"
#include "tritium/model/plan.h"

TRITIUM_NAMESPACE_BEGIN

/// The types that an exported file gets.
struct ExportOptions {
  TensorType matrices = TensorType::q8_0;  ///< of linear layers
  /// Type of the token embedding and the output head. Empty: as `matrices`, but f16 beside ternary types, which would
  /// leave nothing of an embedding.
  std::optional<TensorType> head;
  /// The token embedding and the output head stay what they are.
  bool keep_head = false;
};

/// One tensor of the new file.
struct ExportedTensor {
  std::string name;                      ///< in the new file
  const TensorSource* source = nullptr;  ///< null: `values` has the numbers
  TensorType wanted = TensorType::f32;   ///< what the options ask for
  TensorType type = TensorType::f32;     ///< not `wanted` where rows are no whole number of its blocks
  std::uint32_t n_dims = 1;              ///< dimensions
  std::array<std::uint64_t, kGgufMaxDims> dims = {1, 1, 1, 1};  ///< fastest first
  std::vector<std::uint32_t> order;  ///< row r of the file is row order[r] of the source; empty: as they are
  std::vector<float> values;     ///< numbers that come from no tensor of the source, as factors of rotary embeddings
  bool plus_one = false;         ///< one is added to each value
  bool ternary_online = false;   ///< BitNet's rounding of a float tensor comes first
  std::size_t ternary_rows = 0;  ///< not 0: packed ternary codes of so many rows, under `scale`
  float scale = 1.0f;            ///< of packed ternary codes

  [[nodiscard]] std::size_t cols() const { return static_cast<std::size_t>(dims[0]); }  ///< Numbers of a row.
  [[nodiscard]] std::size_t rows() const { return static_cast<std::size_t>(dims[1] * dims[2] * dims[3]); }  ///< Rows.
  /// How the source stores it; f32 when there is none.
  [[nodiscard]] TensorType source_type() const { return source == nullptr ? TensorType::f32 : source->type; }
  /// Whether the source's bytes are the file's.
  [[nodiscard]] bool is_copy() const {
    return source != nullptr && source->type == type && order.empty() && !plus_one && !ternary_online;
  }
};

/// How export goes on, for whoever waits.
struct ExportRun {
  /// Bytes read so far and in all; false stops the export.
  std::function<bool(std::size_t done, std::size_t total)> progress;
  /// Called after each tensor with |x - rounded x| / |x| over all of its values. Empty: errors are not measured.
  std::function<void(const ExportedTensor& tensor, double relative_error)> report;
};

/// general.file_type of a file whose matrices mostly have a type.
constexpr std::uint32_t gguf_file_type(TensorType type) {
  switch (type) {
    case TensorType::f16: return 1;
    case TensorType::q4_0: return 2;
    case TensorType::q4_1: return 3;
    case TensorType::q8_0: return 7;
    case TensorType::q5_0: return 8;
    case TensorType::q5_1: return 9;
    case TensorType::q2_k: return 10;
    case TensorType::q3_k: return 11;
    case TensorType::q4_k: return 14;
    case TensorType::q5_k: return 16;
    case TensorType::q6_k: return 18;
    case TensorType::iq4_nl: return 25;
    case TensorType::iq4_xs: return 30;
    case TensorType::bf16: return 32;
    case TensorType::tq1_0: return 36;
    case TensorType::tq2_0: return 37;
    case TensorType::mxfp4: return 38;
    default: return 0;
  }
}
/// What a file with quantised tensors says in general.quantization_version.
inline constexpr std::uint32_t kGgufQuantizationVersion = 2;

/// `wanted`, or for rows that are no whole number of its blocks a type of smaller blocks that loses no more.
constexpr TensorType type_for_rows(TensorType wanted, std::size_t cols) {
  if (cols % info(wanted).block_length == 0) return wanted;
  if (cols % 32 != 0) return TensorType::f16;
  switch (wanted) {
    case TensorType::q2_k:
    case TensorType::q3_k: return TensorType::q4_0;
    case TensorType::q4_k: return TensorType::q5_0;
    case TensorType::q5_k: return TensorType::q5_1;
    case TensorType::iq4_xs: return TensorType::iq4_nl;
    default: return TensorType::q8_0;
  }
}

namespace detail {

/// What a tensor of a GGUF file is to the export, by its name: the names are the same for all architectures.
enum class ExportClass : std::uint8_t {
  matrix,  ///< a linear layer
  head,    ///< the token embedding, or the output head
  small,   ///< kept in f32
  other,   ///< copied: nobody knows what its rows mean
};
inline ExportClass export_class(std::string_view name, std::size_t rank) {
  if (rank < 2 || name.ends_with("_norm.weight") || name.find("ffn_gate_inp") != std::string_view::npos) {
    return ExportClass::small;
  }
  constexpr std::string_view kOther[] = {"ssm_conv1d",  "shortconv.conv", "position_embd",
                                         "token_types", "altup",          "laurel",
                                         "time_mix_",   "attn_rel_b",     "per_layer_model_proj"};
  for (const std::string_view part : kOther) {
    if (name.find(part) != std::string_view::npos) return ExportClass::other;
  }
  if (name == "token_embd.weight" || name == "output.weight") return ExportClass::head;
  return name.ends_with(".weight") ? ExportClass::matrix : ExportClass::other;
}

/// Types that hold numbers to be rounded; integers are copied.
constexpr bool is_real_type(TensorType type) { return type < TensorType::i8 || type >= TensorType::q4_0; }

}  // namespace detail

/// A checkpoint's metadata and tensors as they will be written: planned at once, rounded tensor by tensor.
class GgufExport {
 public:
  /// Decides names, types and metadata without reading weights. The checkpoint outlives the export.
  /// Errors: unsupported (a family or a fact of a safetensors model that GGUF cannot hold), invalid_file (tensors
  /// missing, unknown or of the wrong shape).
  static Result<GgufExport> plan(const Checkpoint& checkpoint, const ExportOptions& options) {
    return no_throw([&]() -> Result<GgufExport> {
      GgufExport plan(checkpoint, options);
      if (checkpoint.gguf() != nullptr) {
        TRITIUM_TRY(plan.plan_gguf(*checkpoint.gguf()));
      } else {
        TRITIUM_TRY(plan.plan_folder());
      }
      for (const ExportedTensor& tensor : plan.tensors_) {
        TRITIUM_TRY(plan.writer_.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.n_dims)));
      }
      return plan;
    });
  }

  /// What the file will hold, in order.
  [[nodiscard]] std::span<const ExportedTensor> tensors() const { return tensors_; }
  /// Rows of the token embedding; 0 when there is none.
  [[nodiscard]] std::size_t vocab() const {
    for (const ExportedTensor& tensor : tensors_) {
      if (tensor.name == "token_embd.weight") return tensor.rows();
    }
    return 0;
  }
  /// For metadata that the checkpoint's tensors do not decide, such as a tokenizer's.
  [[nodiscard]] GgufWriter& writer() { return writer_; }

  /// Writes the file whole or not at all; once. Threads: rounding shares the executor.
  /// Errors: invalid_argument (`path` is a file of the checkpoint), cancelled, io, invalid_file (values that are not
  /// finite), out_of_range (values that do not fit a type).
  [[nodiscard]] Status write(std::string_view path, const ExportRun& run, const Executor& executor) {
    return no_throw([&]() -> Status {
      if (checkpoint_->is_read_from(path)) {
        return make_error(Errc::invalid_argument, "the output is the input", printable_path(path), "another file",
                          "a file of the model");
      }
      std::size_t total = 0;
      for (const ExportedTensor& tensor : tensors_) total += tensor.source == nullptr ? 0 : tensor.source->bytes;
      std::size_t done = 0;
      const auto advance = [&](std::size_t bytes) -> Status {
        done += bytes;
        if (run.progress && !run.progress(done, total)) return Error{Errc::cancelled, "export cancelled"};
        return {};
      };
      TRITIUM_TRY(writer_.begin(path));
      for (const ExportedTensor& tensor : tensors_) {
        double error = 0;
        const Status written = tensor.is_copy() ? copy(tensor, advance)
                                                : convert(tensor, run.report ? &error : nullptr, executor, advance);
        if (!written.ok() && (written.error().code == Errc::io || written.error().code == Errc::cancelled))
          return written;
        if (!written.ok()) return Error{written.error().code, where(tensor) + ": " + written.error().message};
        if (run.report) run.report(tensor, error);
        if (tensor.source != nullptr) drop_mapped_pages({tensor.source->data, tensor.source->bytes});
      }
      TRITIUM_TRY(checkpoint_->check_unchanged());
      return writer_.finish();
    });
  }

 private:
  static constexpr std::size_t kSlabBytes = std::size_t{4} << 20;

  GgufExport(const Checkpoint& checkpoint, const ExportOptions& options)
      : checkpoint_(&checkpoint), options_(options) {}

  // --- planning ------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::string where(const ExportedTensor& tensor) const {
    return printable_path(checkpoint_->path()) + ", tensor \"" +
           printable(tensor.source == nullptr ? tensor.name : std::string(tensor.source->name)) + "\"";
  }
  [[nodiscard]] std::string where(const TensorSource& tensor) const {
    return printable_path(checkpoint_->path()) + ", tensor \"" + printable(tensor.name) + "\"";
  }

  [[nodiscard]] TensorType head_type() const {
    const bool ternary = options_.matrices == TensorType::tq1_0 || options_.matrices == TensorType::tq2_0;
    return options_.head.value_or(ternary ? TensorType::f16 : options_.matrices);
  }

  void set_dims(ExportedTensor& tensor, std::span<const std::size_t> shape) {
    tensor.n_dims = static_cast<std::uint32_t>(std::max<std::size_t>(shape.size(), 1));
    for (std::size_t i = 0; i < shape.size(); ++i) tensor.dims[i] = shape[shape.size() - 1 - i];
  }

  void choose_type(ExportedTensor& tensor, detail::ExportClass kind) {
    const TensorType from = tensor.source_type();
    const bool is_integer = !detail::is_real_type(from) && tensor.ternary_rows == 0;
    tensor.wanted = from;
    if (!is_integer) {
      switch (kind) {
        case detail::ExportClass::matrix: tensor.wanted = options_.matrices; break;
        case detail::ExportClass::head: tensor.wanted = options_.keep_head ? from : head_type(); break;
        case detail::ExportClass::small: tensor.wanted = TensorType::f32; break;
        case detail::ExportClass::other: break;
      }
    }
    tensor.type = type_for_rows(tensor.wanted, tensor.cols());
  }

  Status plan_gguf(const GgufFile& file) {
    constexpr std::string_view kFileType = "general.file_type";
    constexpr std::string_view kVersion = "general.quantization_version";
    for (const GgufValue& value : file.values()) {
      if (value.key == kFileType || value.key == kVersion || value.key.starts_with("split.")) continue;
      TRITIUM_TRY(writer_.set(value));
    }
    TRITIUM_TRY(set_types());
    TRITIUM_ASSIGN(const std::string_view architecture, file.get_or<std::string_view>("general.architecture", {}));
    bitnet_architecture_ = detail::is_bitnet_architecture(architecture);
    for (const TensorSource& source : checkpoint_->tensors()) {
      ExportedTensor tensor;
      tensor.name = source.name;
      tensor.source = &source;
      set_dims(tensor, source.dims());
      const detail::ExportClass kind = detail::export_class(source.name, source.rank);
      choose_type(tensor, kind);
      if (bitnet_architecture_ && kind == detail::ExportClass::matrix) TRITIUM_TRY(check_ternary(tensor));
      tensors_.push_back(std::move(tensor));
    }
    return {};
  }

  Status set_types() {
    TRITIUM_TRY(writer_.set("general.quantization_version", kGgufQuantizationVersion));
    return writer_.set("general.file_type", gguf_file_type(options_.matrices));
  }

  static const TensorName* name_of(std::span<const TensorName> names, Role role) {
    for (const TensorName& name : names) {
      if (name.role == role) return &name;
    }
    return nullptr;
  }

  static std::string spell(std::string_view pattern, std::size_t layer) {
    std::string text;
    for (const char c : pattern) {
      if (c == '%') text += std::to_string(layer);
      else text += c;
    }
    return text;
  }

  /// Rows and columns of a role's matrix, or the length of its vector; nothing for parts that this export does not
  /// know.
  static std::optional<std::vector<std::size_t>> shape_of(Role role, const ModelSpec& spec, std::size_t layer) {
    using Shape = std::vector<std::size_t>;
    const LayerSpec& l = spec.layers[layer];
    const std::size_t nq = l.n_heads * l.head_dim;
    const std::size_t nkv = l.n_kv_heads * l.head_dim;
    switch (role) {
      case Role::token_embedding:
      case Role::output: return Shape{spec.vocab, spec.hidden};
      case Role::output_norm:
      case Role::attn_norm:
      case Role::attn_post_norm:
      case Role::ffn_norm:
      case Role::ffn_post_norm: return Shape{spec.hidden};
      case Role::attn_q: return Shape{nq, spec.hidden};
      case Role::attn_k:
      case Role::attn_v: return Shape{nkv, spec.hidden};
      case Role::attn_qkv: return Shape{nq + 2 * nkv, spec.hidden};
      case Role::attn_q_norm:
      case Role::attn_k_norm: return Shape{l.head_dim};
      case Role::attn_sub_norm: return Shape{nq};
      case Role::attn_output: return Shape{spec.hidden, nq};
      case Role::ffn_gate:
      case Role::ffn_up: return Shape{l.ffn_dim, spec.hidden};
      case Role::ffn_gate_up: return Shape{2 * l.ffn_dim, spec.hidden};
      case Role::ffn_down: return Shape{spec.hidden, l.ffn_dim};
      case Role::ffn_sub_norm: return Shape{l.ffn_dim};
      default: return std::nullopt;
    }
  }

  static bool is_bit_linear(Role role) {
    switch (role) {
      case Role::attn_q:
      case Role::attn_k:
      case Role::attn_v:
      case Role::attn_output:
      case Role::ffn_gate:
      case Role::ffn_up:
      case Role::ffn_down: return true;
      default: return false;
    }
  }

  /// Rotary pairs (i, i + d / 2) of the head_dim rows of each head become (2i, 2i + 1), d rows of a head being rotated.
  static std::vector<std::uint32_t> interleaved_order(std::size_t n_heads, std::size_t head_dim,
                                                      std::size_t rotary_dim) {
    std::vector<std::uint32_t> order(n_heads * head_dim);
    for (std::size_t h = 0; h < n_heads; ++h) {
      for (std::size_t r = 0; r < head_dim; ++r) {
        const std::size_t from = r < rotary_dim ? r / 2 + r % 2 * (rotary_dim / 2) : r;
        order[h * head_dim + r] = static_cast<std::uint32_t>(h * head_dim + from);
      }
    }
    return order;
  }

  Status plan_folder() {
    TRITIUM_ASSIGN(const Family* family, find_family(*checkpoint_));
    const std::string config_path = concat(printable_path(checkpoint_->folder()), "/config.json");
    TRITIUM_ASSIGN(const JsonObject config, JsonObject::of(*checkpoint_->config(), config_path));
    TRITIUM_ASSIGN(ModelSpec spec, family->from_config(config));
    for (const LayerSpec& layer : spec.layers) {
      if (!layer.moe && layer.mixer == Mixer::attention) continue;
      return make_error(Errc::unsupported, concat("cannot make a GGUF file of family ", family->name), config_path,
                        "layers of attention and one MLP", layer.moe ? "experts" : "a delta rule");
    }
    if (spec.name.empty()) spec.name = model_name(config);
    std::string_view architecture;
    Status described = make_error(Errc::unsupported, "GGUF has no such architecture", config_path,
                                  "a family with GGUF files", family->name);
    for (const std::string_view known : family->gguf_architectures) {
      Status fits = check_gguf_describes(spec, *family, known, config_path);
      if (!fits.ok() && !architecture.empty()) continue;  // the first one's reason is told
      architecture = known;
      described = std::move(fits);
      if (described.ok()) break;
    }
    TRITIUM_TRY(described);
    bitnet_architecture_ = detail::is_bitnet_architecture(architecture);
    TRITIUM_TRY(set_model_metadata(spec, architecture, writer_));
    TRITIUM_TRY(set_types());
    for (NamedFactors& factors : rope_factor_tensors(spec)) {
      ExportedTensor tensor;
      tensor.name = std::move(factors.name);
      tensor.dims[0] = factors.values.size();
      tensor.values = std::move(factors.values);
      tensors_.push_back(std::move(tensor));
    }
    std::vector<PlannedTensor> found;
    for (const TensorSource& source : checkpoint_->tensors()) {
      PlannedTensor tensor;
      tensor.source = &source;
      detail::match_role(family->hf_names, tensor);
      found.push_back(tensor);
    }
    TRITIUM_TRY(require_all(spec, *family, found));
    // In the order of a GGUF file: what belongs to no layer first, then layer by layer.
    const auto is_layered = [](const PlannedTensor& t) {
      return t.role && t.role != Role::token_embedding && t.role != Role::output && t.role != Role::output_norm;
    };
    std::stable_sort(found.begin(), found.end(), [&](const PlannedTensor& a, const PlannedTensor& b) {
      return std::pair(is_layered(a), a.layer) < std::pair(is_layered(b), b.layer);
    });
    for (const PlannedTensor& planned : found) TRITIUM_TRY(plan_tensor(planned, spec, *family));
    return {};
  }

  /// What the model calls itself: the name it was published under, or the folder's.
  std::string model_name(const JsonObject& config) const {
    const auto published = config.get_or<std::string_view>("_name_or_path", {});
    std::string_view name = published.ok() && !published->empty() ? *published : checkpoint_->folder();
    name = name.substr(name.rfind('/') == std::string_view::npos ? 0 : name.rfind('/') + 1);
    return name == "." || name == ".." || !is_utf8(name) ? std::string() : std::string(name);
  }

  /// A tensor that is missing is named with its name in the folder.
  Status require_all(const ModelSpec& spec, const Family& family, const std::vector<PlannedTensor>& found) const {
    for (const TensorName& name : family.hf_names) {
      const bool layered = name.name.find('%') != std::string_view::npos;
      const bool is_head = name.role == Role::output && !spec.tied_head;
      for (std::size_t layer = 0; layer < (layered ? spec.n_layers() : 1); ++layer) {
        for (const bool bias : {false, true}) {
          if ((bias ? name.bias : name.weight) != Need::required && !(is_head && !bias)) continue;
          const bool there = std::any_of(found.begin(), found.end(), [&](const PlannedTensor& t) {
            return t.role == name.role && t.layer == layer && t.is_bias == bias;
          });
          if (there) continue;
          return checkpoint_->require(spell(name.name, layer) + (bias ? ".bias" : name.bare ? "" : ".weight")).error();
        }
      }
    }
    return {};
  }

  /// Tensors beside a text model that no text model reads.
  static bool is_unused(std::string_view name) {
    return name.ends_with("rotary_emb.inv_freq") || name.starts_with("vision_tower.") ||
           name.starts_with("multi_modal_projector.");
  }

  Status plan_tensor(const PlannedTensor& planned, const ModelSpec& spec, const Family& family) {
    const TensorSource& source = *planned.source;
    const bool stored_ternary = spec.ternary == TernaryScale::multiply || spec.ternary == TernaryScale::divide;
    if (!planned.role) {
      if (is_unused(source.name) || (stored_ternary && source.name.ends_with(".weight_scale"))) return {};
      return make_error(Errc::unsupported, "the model has a tensor that this family does not use", where(source),
                        "a tensor of " + std::string(family.name), "another");
    }
    if (planned.role == Role::output && spec.tied_head) return {};  // written, but the embedding serves
    const TensorName* name = name_of(family.gguf_names, *planned.role);
    const auto shape = planned.layer < spec.n_layers() ? shape_of(*planned.role, spec, planned.layer) : std::nullopt;
    if (name == nullptr || !shape || (planned.is_bias && name->bias == Need::no)) {
      return make_error(Errc::unsupported, "GGUF files of this family have no such tensor", where(source),
                        "a tensor that they have", planned.is_bias ? "a bias" : role_name(*planned.role));
    }
    ExportedTensor tensor;
    tensor.name = spell(name->name, planned.layer) + (planned.is_bias ? ".bias" : name->bare ? "" : ".weight");
    tensor.source = &source;
    std::vector<std::size_t> wanted = *shape;
    if (planned.is_bias) wanted.resize(1);
    set_dims(tensor, wanted);
    const bool bit_linear = spec.ternary != TernaryScale::none && !planned.is_bias && is_bit_linear(*planned.role);
    if (bit_linear && stored_ternary && source.type == TensorType::u8) {
      TRITIUM_TRY(plan_ternary(tensor, source, spec));
      wanted[0] /= 4;
    }
    tensor.ternary_online = bit_linear && spec.ternary == TernaryScale::online;
    if (!std::equal(wanted.begin(), wanted.end(), source.dims().begin(), source.dims().end())) {
      std::string expected, found;
      for (const std::size_t n : wanted) expected.append(expected.empty() ? "[" : ", ").append(std::to_string(n));
      for (const std::size_t n : source.dims()) found.append(found.empty() ? "[" : ", ").append(std::to_string(n));
      return make_error(Errc::invalid_file, "tensor has the wrong shape", where(source), expected + "]",
                        found.empty() ? "[]" : found + "]");
    }
    if (!detail::is_real_type(source.type) && tensor.ternary_rows == 0) {
      return make_error(Errc::unsupported, "tensor has a type that weights cannot have", where(source), "a float type",
                        info(source.type).name);
    }
    if (family.gguf_permuted_qk && (planned.role == Role::attn_q || planned.role == Role::attn_k)) {
      const LayerSpec& l = spec.layers[planned.layer];
      const std::size_t rotary_dim = l.rope < 0 ? l.head_dim : spec.ropes[static_cast<std::size_t>(l.rope)].rotary_dim;
      tensor.order = interleaved_order(planned.role == Role::attn_q ? l.n_heads : l.n_kv_heads, l.head_dim, rotary_dim);
    }
    tensor.plus_one = family.hf_norm_plus_one && shape->size() == 1 && !planned.is_bias;
    const bool head = planned.role == Role::token_embedding || planned.role == Role::output;
    choose_type(tensor, wanted.size() < 2 ? detail::ExportClass::small
                        : head            ? detail::ExportClass::head
                                          : detail::ExportClass::matrix);
    if (bit_linear) TRITIUM_TRY(check_ternary(tensor));
    tensors_.push_back(std::move(tensor));
    return {};
  }

  /// BitLinears are what they are by the integers they compute with: their types in a file must let a reader see them.
  Status check_ternary(const ExportedTensor& tensor) const {
    switch (tensor.type) {
      case TensorType::tq1_0:
      case TensorType::tq2_0: return {};
      case TensorType::f32:
      case TensorType::f16:
      case TensorType::bf16:
      case TensorType::q8_0:
        if (bitnet_architecture_) return {};  // whose readers look at the values
        break;
      default: break;
    }
    return make_error(
        Errc::unsupported, "type does not keep the weights of a BitLinear", where(tensor),
        bitnet_architecture_ ? "tq1_0, tq2_0, q8_0, f16, bf16 or f32" : "tq1_0 or tq2_0, and rows of a multiple of 256",
        info(tensor.type).name);
  }

  /// Packed codes and the scale beside them.
  Status plan_ternary(ExportedTensor& tensor, const TensorSource& source, const ModelSpec& spec) const {
    const std::string name = std::string(source.name) + "_scale";
    TRITIUM_ASSIGN(const TensorSource scale, checkpoint_->require(name));
    float value = 0;
    if (scale.elements() != 1 || !detail::is_real_type(scale.type)) {
      return make_error(Errc::invalid_file, "bad weight scale", where(scale), "one number",
                        std::to_string(scale.elements()) + " of type " + std::string(info(scale.type).name));
    }
    TRITIUM_TRY(decode_row(scale.type, scale.data, 1, &value));
    if (!(std::isfinite(value) && value > 0.0f)) {
      return make_error(Errc::invalid_file, "bad weight scale", where(scale), "a positive number",
                        std::to_string(value));
    }
    tensor.scale = spec.ternary == TernaryScale::divide ? 1.0f / value : value;
    tensor.ternary_rows = tensor.rows();
    return {};
  }

  // --- writing -------------------------------------------------------------------------------------------------------

  template <class Advance>
  Status copy(const ExportedTensor& tensor, Advance&& advance) {
    std::span<const std::byte> bytes(tensor.source->data, tensor.source->bytes);
    while (!bytes.empty()) {
      const std::size_t piece = std::min(bytes.size(), kSlabBytes);
      TRITIUM_TRY(writer_.append(tensor.name, bytes.first(piece)));
      TRITIUM_TRY(advance(piece));
      bytes = bytes.subspan(piece);
    }
    return {};
  }

  /// The tensor's rows in the order of the file, as numbers.
  static Result<StoredMatrix> stored(const ExportedTensor& tensor) {
    const TensorSource& source = *tensor.source;
    const std::size_t rows = tensor.order.empty() ? tensor.rows() : tensor.order.size();
    StoredMatrix w{source.type, source.data, rows, source.cols()};
    if (tensor.ternary_rows != 0) {
      w.cols = tensor.cols();
      w.bitnet_rows = tensor.ternary_rows;
      w.scale = tensor.scale;
    } else if (source.type == TensorType::i2_s) {
      TRITIUM_ASSIGN(w.scale, i2_s_scale({source.data, source.bytes}, source.rows(), source.cols()));
    }
    if (!tensor.order.empty()) {
      w.row_order = tensor.order.data();
      if (tensor.n_dims == 1) w.cols = 1;  // the elements of a bias are moved
    }
    return w;
  }

  /// Rounds a tensor, a slab of rows at a time. `error`: null, or receives the relative error.
  template <class Advance>
  Status convert(const ExportedTensor& tensor, double* error, const Executor& executor, Advance&& advance) {
    if (tensor.source == nullptr) return writer_.append(tensor.name, std::as_bytes(std::span(tensor.values)));
    TRITIUM_ASSIGN(const StoredMatrix w, stored(tensor));
    TRITIUM_ASSIGN(const std::size_t row_bytes, tensor_bytes(tensor.type, 1, w.cols));
    const std::size_t slab = std::clamp<std::size_t>(kSlabBytes / (w.cols * sizeof(float)), 1, w.rows);
    TRITIUM_ASSIGN(AlignedBuffer encoded, AlignedBuffer::allocate(slab * row_bytes));
    const std::size_t n_threads = executor.n_threads;
    TRITIUM_ASSIGN(Array<float> numbers, Array<float>::allocate(n_threads * w.cols * (error == nullptr ? 1 : 2)));
    float gamma = 0;
    if (tensor.ternary_online) {
      TRITIUM_ASSIGN(gamma, online_scale(w, numbers.data()));
    }
    struct Part {
      Status status;
      double error = 0, square = 0;
    };
    std::vector<Part> parts(n_threads);
    double sum_error = 0;
    double sum_square = 0;
    for (std::size_t first = 0; first < w.rows; first += slab) {
      const std::size_t count = std::min(slab, w.rows - first);
      executor.run([&](std::size_t t) {
        const Range range = split_range(count, n_threads, t);
        float* row = numbers.data() + t * w.cols;
        float* back = error == nullptr ? nullptr : numbers.data() + (n_threads + t) * w.cols;
        parts[t] = Part();
        parts[t].status = no_throw([&]() -> Status {
          for (std::size_t r = range.begin; r < range.end; ++r) {
            TRITIUM_TRY(detail::load_row(w, first + r, row));
            if (tensor.plus_one) {
              for (std::size_t i = 0; i < w.cols; ++i) row[i] += 1.0f;
            }
            if (tensor.ternary_online) {
              for (std::size_t i = 0; i < w.cols; ++i)
                row[i] = row[i] > 0.5f * gamma ? gamma : row[i] < -0.5f * gamma ? -gamma : 0.0f;
            }
            std::byte* target = encoded.data() + r * row_bytes;
            const Status rounded = encode_row(tensor.type, row, w.cols, target);
            if (!rounded.ok()) return detail::in_row(first + r, rounded.error());
            if (back == nullptr) continue;
            TRITIUM_TRY(decode_row(tensor.type, target, w.cols, back));
            for (std::size_t i = 0; i < w.cols; ++i) {
              const double difference = static_cast<double>(back[i]) - static_cast<double>(row[i]);
              parts[t].error += difference * difference;
              parts[t].square += static_cast<double>(row[i]) * static_cast<double>(row[i]);
            }
          }
          return {};
        });
      });
      for (Part& part : parts) {
        if (!part.status.ok()) return std::move(part.status);
        sum_error += part.error;
        sum_square += part.square;
      }
      TRITIUM_TRY(writer_.append(tensor.name, {encoded.data(), count * row_bytes}));
      TRITIUM_TRY(advance(tensor.source->bytes * (first + count) / w.rows - tensor.source->bytes * first / w.rows));
    }
    if (error != nullptr) *error = sum_square > 0 ? std::sqrt(sum_error / sum_square) : 0.0;
    return {};
  }

  /// The one scale of BitNet's own rounding of a tensor (ternary_quantize.h).
  static Result<float> online_scale(const StoredMatrix& w, float* row) {
    double sum = 0;
    for (std::size_t r = 0; r < w.rows; ++r) {
      TRITIUM_TRY(detail::load_row(w, r, row));
      sum += detail::magnitude_sum(row, w.cols);
    }
    return detail::absmean_scale(sum, w.rows * w.cols);
  }

  const Checkpoint* checkpoint_;
  ExportOptions options_;
  std::vector<ExportedTensor> tensors_;
  GgufWriter writer_;
  bool bitnet_architecture_ = false;
};

TRITIUM_NAMESPACE_END
