// SPDX-License-Identifier: Apache-2.0
// Checkpoint: one view over a model on disk, whether a GGUF file or a folder of config.json and *.safetensors.
//
// The model layer asks for tensors by name and gets their stored type, row-major shape and bytes in place; facts about
// the model it takes from gguf() or config(), which keep their own vocabularies. Names and orders of rows are those of
// the file: canonicalising them is the business of the family.
#pragma once

#include <sys/stat.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/format/tensor_type.h"
#include "tritium/io/gguf.h"
#include "tritium/io/json.h"
#include "tritium/io/safetensors.h"

TRITIUM_NAMESPACE_BEGIN

/// More dimensions are refused.
inline constexpr std::size_t kMaxTensorRank = 8;

/// A tensor as it lies in its file. A HF linear layer is (out, in); a GGUF matrix is turned round to the same order.
struct TensorSource {
  std::string_view name;                            ///< as the file names it
  TensorType type = TensorType::f32;                ///< how numbers are stored
  std::uint32_t rank = 0;                           ///< dimensions
  std::array<std::size_t, kMaxTensorRank> shape{};  ///< outermost first, the first `rank` entries
  const std::byte* data = nullptr;                  ///< any alignment in safetensors files
  std::size_t bytes = 0;                            ///< of `data`

  /// The shape, outermost first.
  [[nodiscard]] std::span<const std::size_t> dims() const { return std::span(shape).first(rank); }
  /// Elements in a row: the innermost dimension, 1 for a single value.
  [[nodiscard]] std::size_t cols() const { return rank == 0 ? 1 : shape[rank - 1]; }
  /// Product of all dimensions but the innermost.
  [[nodiscard]] std::size_t rows() const {
    std::size_t n = 1;
    for (std::uint32_t i = 0; i + 1 < rank; ++i) n *= shape[i];
    return n;
  }
  [[nodiscard]] std::size_t elements() const { return rows() * cols(); }  ///< Numbers in it.
};

/// A model on disk, opened: its tensors and its facts. May be read by any number of threads.
class Checkpoint {
 public:
  /// One GGUF model, or a folder.
  enum class Kind : std::uint8_t { gguf, safetensors };

  /// How files are opened, and how large their headers may be.
  struct Options {
    FileAccess access = FileAccess::map;                               ///< mapped, or read into memory
    std::size_t max_safetensors_header_bytes = std::size_t{16} << 20;  ///< bytes of a safetensors header
    std::size_t max_config_bytes = std::size_t{4} << 20;               ///< bytes of config.json and its like
  };

  /// Opens a GGUF file (all parts of a split one) or a folder with config.json and safetensors files.
  /// Errors: as GgufFile::open, SafetensorsModel::open and read_json_file.
  static Result<Checkpoint> open(std::string_view path) { return open(path, Options()); }
  /// The same with other options.
  static Result<Checkpoint> open(std::string_view path, const Options& options);

  [[nodiscard]] Kind kind() const { return gguf_.has_value() ? Kind::gguf : Kind::safetensors; }  ///< Which kind it is.
  [[nodiscard]] std::string_view path() const { return path_; }  ///< The path that was opened.
  /// The folder that holds the model's files, without a final slash (except for the root).
  [[nodiscard]] std::string_view folder() const { return folder_; }
  /// Bytes of all model files on disk.
  [[nodiscard]] std::size_t file_bytes() const {
    return gguf_.has_value() ? gguf_->file_bytes() : safetensors_->file_bytes();
  }
  /// Errors: io, when a model file has another size or modification time than when it was opened.
  [[nodiscard]] Status check_unchanged() const {
    return gguf_.has_value() ? gguf_->check_unchanged() : safetensors_->check_unchanged();
  }
  /// Whether writing to `path` would replace a file that the tensors are read from.
  [[nodiscard]] bool is_read_from(std::string_view path) const {
    return gguf_.has_value() ? gguf_->is_read_from(path) : safetensors_->is_read_from(path);
  }

  /// The file that a tensor lies in, for who reads its bytes after the checkpoint is gone.
  [[nodiscard]] std::shared_ptr<const MappedFile> file_of(const TensorSource& tensor) const {
    return gguf_.has_value() ? gguf_->file_of(tensor.data) : safetensors_->file_of(tensor.data);
  }

  /// Every file that tensors are read from: the parts of a GGUF file, the shards of a folder.
  [[nodiscard]] std::vector<const MappedFile*> files() const {
    std::vector<const MappedFile*> files;
    if (gguf_.has_value()) {
      for (const auto& file : gguf_->files()) files.push_back(file.get());
    } else {
      for (const SafetensorsFile& file : safetensors_->files()) files.push_back(file.file().get());
    }
    return files;
  }

  /// All tensors that this build can compute with; in the order of the file (GGUF) or of their names (safetensors).
  [[nodiscard]] std::span<const TensorSource> tensors() const { return tensors_; }
  /// Null when there is no such tensor, or it has a dtype that nothing computes with: require() tells them apart.
  [[nodiscard]] const TensorSource* find(std::string_view name) const {
    const auto found =
        std::lower_bound(order_.begin(), order_.end(), name,
                         [&](std::uint32_t i, std::string_view text) { return tensors_[i].name < text; });
    return found == order_.end() || tensors_[*found].name != name ? nullptr : &tensors_[*found];
  }
  /// The tensor, or why not. Errors: invalid_file (missing), unsupported (a dtype such as F8_E4M3 or U32).
  [[nodiscard]] Result<TensorSource> require(std::string_view name) const {
    if (const TensorSource* tensor = find(name); tensor != nullptr) return *tensor;
    return no_throw([&]() -> Result<TensorSource> {
      const std::string where = concat(printable_path(path_), ", tensor \"", printable(name), "\"");
      if (const SafetensorsTensor* other = safetensors_.has_value() ? safetensors_->find(name) : nullptr;
          other != nullptr) {
        return make_error(Errc::unsupported, "unsupported dtype", where, "F32, F16, BF16 or an integer type",
                          info(other->dtype).name);
      }
      return make_error(Errc::invalid_file, "tensor is missing", where, "it", "nothing");
    });
  }

  /// GGUF metadata; null for a folder.
  [[nodiscard]] const GgufFile* gguf() const { return gguf_.has_value() ? &*gguf_ : nullptr; }
  /// config.json; null for a GGUF file. JsonObject::of(*config(), "config.json") reads it with types.
  [[nodiscard]] const Json* config() const { return gguf_.has_value() ? nullptr : &config_.get(); }

  /// Whether the folder has a regular file of this name: "tokenizer.json", "chat_template.jinja".
  [[nodiscard]] bool has_sibling(std::string_view file) const {
    if (!is_sibling_name(file)) return false;
    // Needs no memory: where there is none, a file that exists must not look as if it did not.
    char path[PATH_MAX];
    if (folder_.size() + 1 + file.size() >= sizeof(path)) return false;
    std::size_t size = folder_.copy(path, folder_.size());
    path[size++] = '/';
    size += file.copy(path + size, file.size());
    path[size] = '\0';
    struct stat status{};
    return ::stat(path, &status) == 0 && S_ISREG(status.st_mode);
  }
  /// A file beside the model as text. Errors: invalid_argument (not a plain name), io, invalid_file (too large).
  [[nodiscard]] Result<std::string> read_sibling(std::string_view file, std::size_t max_bytes) const {
    return no_throw([&]() -> Result<std::string> {
      if (!is_sibling_name(file)) {
        return make_error(Errc::invalid_argument, "bad file name", printable(file), "a name without folders",
                          "another");
      }
      return read_file(sibling_path(file), max_bytes);
    });
  }
  /// A JSON file beside the model. Errors: as read_sibling() and parse_json().
  [[nodiscard]] Result<Json> read_sibling_json(std::string_view file, const JsonLimits& limits = {}) const {
    return no_throw([&]() -> Result<Json> {
      TRITIUM_ASSIGN(const std::string text, read_sibling(file, limits.max_bytes));
      return parse_json(text, sibling_path(file), limits);
    });
  }

 private:
  Checkpoint() = default;

  static bool is_sibling_name(std::string_view file) {
    return !file.empty() && file != "." && file != ".." &&
           file.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
  }
  [[nodiscard]] std::string sibling_path(std::string_view file) const {
    std::string sibling = folder_;
    if (sibling != "/") sibling += '/';
    sibling += file;
    return sibling;
  }

  Status open_gguf(const Options& options) {
    if (path_.ends_with(".safetensors") || path_.ends_with(".json")) {
      return make_error(Errc::invalid_argument, "cannot open a model", printable_path(path_),
                        "a .gguf file, or the folder of a safetensors model", "one file of such a folder");
    }
    const std::size_t slash = path_.rfind('/');
    folder_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
    TRITIUM_ASSIGN(gguf_, GgufFile::open(path_, options.access));
    tensors_.reserve(gguf_->tensors().size());
    for (const GgufTensor& tensor : gguf_->tensors()) {
      TensorSource source;
      source.name = tensor.name;
      source.type = tensor.type;
      source.rank = tensor.n_dims;
      for (std::uint32_t i = 0; i < tensor.n_dims; ++i) source.shape[i] = tensor.dims[tensor.n_dims - 1 - i];
      source.data = tensor.data.data();
      source.bytes = tensor.data.size();
      tensors_.push_back(source);
    }
    index_tensors();
    return {};
  }

  Status open_folder(const Options& options) {
    folder_ = path_;
    while (folder_.size() > 1 && folder_.back() == '/') folder_.pop_back();
    JsonLimits limits;
    limits.max_bytes = options.max_config_bytes;
    TRITIUM_ASSIGN(config_, read_json_file(sibling_path("config.json"), limits));
    TRITIUM_TRY(JsonObject::of(config_, sibling_path("config.json")));
    SafetensorsOptions file_options;
    file_options.max_header_bytes = options.max_safetensors_header_bytes;
    file_options.access = options.access;
    TRITIUM_ASSIGN(safetensors_, SafetensorsModel::open(folder_, file_options));
    tensors_.reserve(safetensors_->tensors().size());
    for (const SafetensorsTensor& tensor : safetensors_->tensors()) {
      const SafetensorsDtypeInfo& dtype = info(tensor.dtype);
      if (dtype.tensor_type < 0) continue;
      TensorSource source;
      source.name = tensor.name;
      source.type = static_cast<TensorType>(dtype.tensor_type);
      source.rank = tensor.rank;
      for (std::uint32_t i = 0; i < tensor.rank; ++i) source.shape[i] = tensor.shape[i];
      source.data = tensor.data.data();
      source.bytes = tensor.data.size();
      tensors_.push_back(source);
    }
    index_tensors();
    return {};
  }

  void index_tensors() {
    order_ = detail::order_by_name(tensors_, [](const TensorSource& tensor) { return tensor.name; });
  }

  static_assert(kMaxTensorRank >= kGgufMaxDims && kMaxTensorRank >= kSafetensorsMaxRank);

  std::string path_;
  std::string folder_;
  std::optional<GgufFile> gguf_;
  std::optional<SafetensorsModel> safetensors_;
  JsonTree<Json> config_;
  std::vector<TensorSource> tensors_;
  std::vector<std::uint32_t> order_;  // by name
};

#if TRITIUM_LOADERS != 1
TRITIUM_LOADER Result<Checkpoint> Checkpoint::open(std::string_view path, const Options& options) {
  return no_throw([&]() -> Result<Checkpoint> {
    TRITIUM_TRY(detail::check_path(path));
    Checkpoint checkpoint;
    checkpoint.path_ = path;
    struct stat status{};
    const bool is_folder = ::stat(checkpoint.path_.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    if (is_folder) {
      TRITIUM_TRY(checkpoint.open_folder(options));
    } else {
      TRITIUM_TRY(checkpoint.open_gguf(options));
    }
    return checkpoint;
  });
}
#endif

TRITIUM_NAMESPACE_END
