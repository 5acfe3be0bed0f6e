// SPDX-License-Identifier: Apache-2.0
// SafetensorsFile, SafetensorsModel and SafetensorsWriter: the safetensors container, one file or a folder of shards.
//
// A file is a u64 header length, a JSON object that names each tensor's dtype, shape and byte range, and one buffer
// that the ranges must tile exactly. The header has a reader of its own: the JSON it may hold is a tiny subset, read in
// one pass without recursion, in place, and stricter than a general parser (no unknown fields, no key twice, offsets
// exact). Data is not aligned: use unaligned loads or copy. Source: the safetensors format description and the list of
// errors of its reference reader.
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <forward_list>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/buffer.h"
#include "tritium/core/no_throw.h"
#include "tritium/format/tensor_type.h"
#include "tritium/io/byte_reader.h"
#include "tritium/io/file_writer.h"
#include "tritium/io/json.h"
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

inline constexpr std::size_t kSafetensorsMaxHeaderBytes = 100'000'000;  ///< the format's own limit
inline constexpr std::size_t kSafetensorsMaxEntries = 65536;  ///< tensors of a file or model; metadata strings
/// Bytes of a tensor's name.
inline constexpr std::size_t kSafetensorsMaxNameBytes = 4096;
/// Dimensions of a tensor.
inline constexpr std::size_t kSafetensorsMaxRank = 8;
/// Files of a folder.
inline constexpr std::size_t kSafetensorsMaxShards = 512;

/// Element types of the format.
enum class SafetensorsDtype : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  f64,
  i64,
  u64,
};
/// How many types there are.
inline constexpr std::size_t kSafetensorsDtypeCount = 16;

/// A type's facts.
struct SafetensorsDtypeInfo {
  SafetensorsDtype dtype;  ///< which one
  std::string_view name;   ///< as it stands in the header
  std::uint32_t bytes;     ///< of one number
  int tensor_type;         ///< as a TensorType; -1: listed, but nothing in this build computes with it
};
/// The facts of every type, in the order of SafetensorsDtype.
inline constexpr std::array<SafetensorsDtypeInfo, kSafetensorsDtypeCount> kSafetensorsDtypes{{
    {SafetensorsDtype::boolean, "BOOL", 1, static_cast<int>(TensorType::u8)},
    {SafetensorsDtype::u8, "U8", 1, static_cast<int>(TensorType::u8)},
    {SafetensorsDtype::i8, "I8", 1, static_cast<int>(TensorType::i8)},
    {SafetensorsDtype::f8_e5m2, "F8_E5M2", 1, -1},
    {SafetensorsDtype::f8_e4m3, "F8_E4M3", 1, -1},
    {SafetensorsDtype::f8_e8m0, "F8_E8M0", 1, -1},
    {SafetensorsDtype::i16, "I16", 2, static_cast<int>(TensorType::i16)},
    {SafetensorsDtype::u16, "U16", 2, -1},
    {SafetensorsDtype::f16, "F16", 2, static_cast<int>(TensorType::f16)},
    {SafetensorsDtype::bf16, "BF16", 2, static_cast<int>(TensorType::bf16)},
    {SafetensorsDtype::i32, "I32", 4, static_cast<int>(TensorType::i32)},
    {SafetensorsDtype::u32, "U32", 4, -1},
    {SafetensorsDtype::f32, "F32", 4, static_cast<int>(TensorType::f32)},
    {SafetensorsDtype::f64, "F64", 8, static_cast<int>(TensorType::f64)},
    {SafetensorsDtype::i64, "I64", 8, static_cast<int>(TensorType::i64)},
    {SafetensorsDtype::u64, "U64", 8, -1},
}};
/// The facts of a type.
constexpr const SafetensorsDtypeInfo& info(SafetensorsDtype dtype) {
  return kSafetensorsDtypes[static_cast<std::size_t>(dtype)];
}
namespace detail {
constexpr bool safetensors_dtypes_in_order() {
  for (std::size_t i = 0; i < kSafetensorsDtypeCount; ++i) {
    if (kSafetensorsDtypes[i].dtype != static_cast<SafetensorsDtype>(i)) return false;
  }
  return true;
}
static_assert(safetensors_dtypes_in_order());
}  // namespace detail

/// One tensor, in place. Views live as long as the file.
struct SafetensorsTensor {
  std::string_view name;                                   ///< as the file names it
  SafetensorsDtype dtype = SafetensorsDtype::f32;          ///< how numbers are stored
  std::uint32_t rank = 0;                                  ///< dimensions
  std::array<std::uint64_t, kSafetensorsMaxRank> shape{};  ///< outermost first; 0 from `rank` on
  std::span<const std::byte> data;                         ///< any alignment; may be empty

  /// The shape, outermost first.
  [[nodiscard]] std::span<const std::uint64_t> dims() const { return std::span(shape).first(rank); }
};

/// How a file is opened, and how large its header may be.
struct SafetensorsOptions {
  std::size_t max_header_bytes = std::size_t{16} << 20;  ///< may be raised to kSafetensorsMaxHeaderBytes
  FileAccess access = FileAccess::map;                   ///< mapped, or read into memory
};

namespace detail {

/// Reads the JSON subset of a header. Every refusal names the tensor, the field and the byte in the file.
class SafetensorsHeaderReader {
 public:
  /// `file`: the whole file; the header is the `header_bytes` after its first 8. Decoded names go to `storage`.
  SafetensorsHeaderReader(std::span<const std::byte> file, std::size_t header_bytes, std::string_view path,
                          std::forward_list<std::string>& storage)
      : text_(reinterpret_cast<const char*>(file.data()) + 8, header_bytes),
        buffer_(file.subspan(8 + header_bytes)),
        place_(file, path),
        storage_(storage) {}

  Status read(std::vector<SafetensorsTensor>& tensors,
              std::vector<std::pair<std::string_view, std::string_view>>& metadata) {
    if (const std::size_t valid = utf8_valid_prefix(text_); valid != text_.size()) {
      at_ = valid;
      return refuse("header is not UTF-8", "header", "UTF-8", concat("byte ", byte(at_)));
    }
    if (text_.empty() || text_[0] != '{') return unexpected("header", "{");
    ++at_;
    bool has_metadata = false;
    const auto read_entry = [&](std::string_view name, std::size_t name_at) -> Status {
      if (name == "__metadata__") {
        if (has_metadata) {
          at_ = name_at;
          return refuse("duplicate key", "__metadata__", "unique keys", "it twice");
        }
        has_metadata = true;
        return read_metadata(metadata);
      }
      return read_tensor(name, name_at, tensors);
    };
    TRITIUM_TRY(read_members("header", read_entry));
    place_.set_context({}, {});
    for (; at_ < text_.size(); ++at_) {  // padding
      if (text_[at_] != ' ') return unexpected("header", "nothing but spaces after the last }");
    }
    return check_tiling(tensors);
  }

 private:
  [[nodiscard]] unsigned byte(std::size_t i) const { return static_cast<unsigned char>(text_[i]); }

  Error refuse(std::string_view what, std::string_view field, std::string_view expected, std::string_view found) const {
    return place_.error_at(8 + at_, Errc::invalid_file, what, field, expected, found);
  }
  Error unexpected(std::string_view field, std::string_view expected) const {
    const std::string found =
        at_ < text_.size() ? concat("\"", printable(text_.substr(at_, 1)), "\"") : "the end of the header";
    return refuse("bad safetensors header", field, expected, found);
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  Status expect(char wanted, std::string_view field) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return unexpected(field, std::string_view(&wanted, 1));
    ++at_;
    return {};
  }
  /// After an element: true at a comma, false at `close`.
  Result<bool> more(char close, std::string_view field) {
    skip_space();
    if (at_ < text_.size() && (text_[at_] == ',' || text_[at_] == close)) return text_[at_++] == ',';
    return unexpected(field, close == '}' ? ", or }" : ", or ]");
  }
  [[nodiscard]] bool take(char wanted) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  /// The members of an object whose { is taken: member(name, offset of the name) reads each value.
  template <class Member>
  Status read_members(std::string_view field, Member&& member) {
    if (take('}')) return {};
    for (;;) {
      skip_space();
      const std::size_t name_at = at_;
      TRITIUM_ASSIGN(const std::string_view name, read_string(field));
      TRITIUM_TRY(expect(':', field));
      TRITIUM_TRY(member(name, name_at));
      TRITIUM_ASSIGN(const bool again, more('}', field));
      if (!again) return {};
    }
  }

  Result<unsigned> read_hex4(std::string_view field) {
    unsigned value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const bool digit = c >= '0' && c <= '9';
      const bool lower = c >= 'a' && c <= 'f';
      const bool upper = c >= 'A' && c <= 'F';
      if (!digit && !lower && !upper) return unexpected(field, "four hexadecimal digits");
      value = value * 16 + static_cast<unsigned>(digit ? c - '0' : lower ? c - 'a' + 10 : c - 'A' + 10);
      ++at_;
    }
    return value;
  }

  /// A string value: in place when it holds no escape, else decoded into storage.
  Result<std::string_view> read_string(std::string_view field) {
    TRITIUM_TRY(expect('"', field));
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' && byte(at_) >= 0x20) ++at_;
    if (at_ < text_.size() && text_[at_] == '"') return text_.substr(start, at_++ - start);
    std::string decoded(text_.substr(start, at_ - start));
    for (;;) {
      if (at_ >= text_.size() || byte(at_) < 0x20) return unexpected(field, "the rest of a string");
      const char c = text_[at_++];
      if (c == '"') break;
      if (c != '\\') {
        decoded += c;
        continue;
      }
      TRITIUM_TRY(read_escape(field, decoded));
    }
    storage_.push_front(std::move(decoded));
    return std::string_view(storage_.front());
  }

  Status read_escape(std::string_view field, std::string& decoded) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    if (const std::size_t i = kLetters.find(c); i != std::string_view::npos) {
      decoded += kMeanings[i];
      ++at_;
      return {};
    }
    if (c != 'u') return unexpected(field, "an escape of JSON");
    ++at_;
    TRITIUM_ASSIGN(unsigned code, read_hex4(field));
    if (code >= 0xDC00 && code < 0xE000) return unexpected(field, "a high surrogate before a low one");
    if (code >= 0xD800 && code < 0xDC00) {
      if (!text_.substr(at_).starts_with("\\u")) return unexpected(field, "a low surrogate");
      at_ += 2;
      TRITIUM_ASSIGN(const unsigned low, read_hex4(field));
      if (low < 0xDC00 || low >= 0xE000) return unexpected(field, "a low surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    const auto put = [&](unsigned bits) { decoded += static_cast<char>(static_cast<unsigned char>(bits)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | (code >> 6));
      put(0x80 | (code & 63));
    } else if (code < 0x10000) {
      put(0xE0 | (code >> 12));
      put(0x80 | ((code >> 6) & 63));
      put(0x80 | (code & 63));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 63));
      put(0x80 | ((code >> 6) & 63));
      put(0x80 | (code & 63));
    }
    return {};
  }

  /// A non-negative integer as JSON writes it: no sign, no leading zero, no fraction.
  Result<std::uint64_t> read_integer(std::string_view field) {
    skip_space();
    const std::size_t start = at_;
    std::uint64_t value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      if (__builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<std::uint64_t>(text_[at_] - '0'), &value)) {
        at_ = start;
        return refuse("number is too large", field, "at most 2^64 - 1", "more");
      }
      ++at_;
    }
    if (at_ == start) return unexpected(field, "a non-negative integer");
    if (text_[start] == '0' && at_ - start > 1) {
      at_ = start;
      return refuse("bad safetensors header", field, "a number without leading zeros", "0");
    }
    return value;
  }

  Status read_metadata(std::vector<std::pair<std::string_view, std::string_view>>& metadata) {
    place_.set_context({}, {});
    TRITIUM_TRY(expect('{', "__metadata__"));
    std::set<std::string_view> keys;
    return read_members("__metadata__", [&](std::string_view key, std::size_t key_at) -> Status {
      TRITIUM_ASSIGN(const std::string_view value, read_string("__metadata__ value"));
      if (keys.size() >= kSafetensorsMaxEntries || !keys.insert(key).second) {
        at_ = key_at;
        return refuse("duplicate key, or too many", "__metadata__ key", "at most 65536 unique keys", printable(key));
      }
      metadata.emplace_back(key, value);
      return {};
    });
  }

  Status read_tensor(std::string_view name, std::size_t name_at, std::vector<SafetensorsTensor>& tensors) {
    place_.set_context("tensor", name);
    if (name.empty() || name.size() > kSafetensorsMaxNameBytes || name.find('\0') != std::string_view::npos) {
      at_ = name_at;
      return refuse("bad tensor name", "name", "1 to 4096 bytes without NUL", concat(name.size(), " bytes"));
    }
    if (tensors.size() >= kSafetensorsMaxEntries) {
      at_ = name_at;
      return refuse("too many tensors", "name", "at most 65536", "more");
    }
    SafetensorsTensor tensor;
    tensor.name = name;
    bool has_dtype = false;
    bool has_shape = false;
    bool has_offsets = false;
    const auto once = [&](bool& seen, std::string_view field, std::size_t field_at) -> Status {
      if (seen) {
        at_ = field_at;
        return refuse("duplicate key", field, "unique keys", "it twice");
      }
      seen = true;
      return {};
    };
    const std::size_t entry_at = at_;
    TRITIUM_TRY(expect('{', "entry"));
    const auto read_field = [&](std::string_view field, std::size_t field_at) -> Status {
      if (field == "dtype") {
        TRITIUM_TRY(once(has_dtype, field, field_at));
        return read_dtype(tensor);
      }
      if (field == "shape") {
        TRITIUM_TRY(once(has_shape, field, field_at));
        return read_shape(tensor);
      }
      if (field == "data_offsets") {
        TRITIUM_TRY(once(has_offsets, field, field_at));
        return read_offsets(tensor);
      }
      at_ = field_at;
      return refuse("unknown field", "entry", "dtype, shape and data_offsets", printable(field));
    };
    TRITIUM_TRY(read_members("entry", read_field));
    if (!has_dtype || !has_shape || !has_offsets) {
      at_ = entry_at;
      return refuse("field is missing",
                    !has_dtype   ? "dtype"
                    : !has_shape ? "shape"
                                 : "data_offsets",
                    "it once", "nothing");
    }
    std::size_t bytes = info(tensor.dtype).bytes;
    for (const std::uint64_t dim : tensor.dims()) {
      if (__builtin_mul_overflow(bytes, dim, &bytes)) {
        at_ = entry_at;
        return refuse("tensor is too large", "shape", "a size below 2^64 bytes", "more");
      }
    }
    if (bytes != tensor.data.size()) {
      at_ = entry_at;
      return refuse("size does not match the shape", "data_offsets", concat(bytes, " bytes"),
                    std::to_string(tensor.data.size()));
    }
    tensors.push_back(tensor);
    return {};
  }

  Status read_dtype(SafetensorsTensor& tensor) {
    skip_space();
    const std::size_t start = at_;
    TRITIUM_ASSIGN(const std::string_view text, read_string("dtype"));
    for (const SafetensorsDtypeInfo& known : kSafetensorsDtypes) {
      if (known.name != text) continue;
      tensor.dtype = known.dtype;
      return {};
    }
    at_ = start;
    return place_.error_at(8 + at_, Errc::unsupported, "unknown dtype", "dtype", "a dtype of the format",
                           printable(text));
  }

  Status read_shape(SafetensorsTensor& tensor) {
    TRITIUM_TRY(expect('[', "shape"));
    if (take(']')) return {};
    for (;;) {
      if (tensor.rank == kSafetensorsMaxRank) {
        return refuse("too many dimensions", "shape", "at most 8", "more");
      }
      TRITIUM_ASSIGN(tensor.shape[tensor.rank], read_integer("shape"));
      ++tensor.rank;
      TRITIUM_ASSIGN(const bool again, more(']', "shape"));
      if (!again) return {};
    }
  }

  Status read_offsets(SafetensorsTensor& tensor) {
    TRITIUM_TRY(expect('[', "data_offsets"));
    const std::size_t start = at_;
    TRITIUM_ASSIGN(const std::uint64_t begin, read_integer("data_offsets"));
    TRITIUM_TRY(expect(',', "data_offsets"));
    TRITIUM_ASSIGN(const std::uint64_t end, read_integer("data_offsets"));
    TRITIUM_TRY(expect(']', "data_offsets"));
    if (begin > end || end > buffer_.size()) {
      at_ = start;
      return refuse("tensor data outside of the file", "data_offsets", concat("begin <= end <= ", buffer_.size()),
                    concat(begin, ", ", end));
    }
    tensor.data = buffer_.subspan(begin, end - begin);
    return {};
  }

  /// No holes, no overlap, nothing behind the last tensor.
  Status check_tiling(const std::vector<SafetensorsTensor>& tensors) {
    std::vector<std::uint32_t> order(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    const auto begin_of = [&](std::uint32_t i) {
      return static_cast<std::size_t>(tensors[i].data.data() - buffer_.data());
    };
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      const std::size_t x = begin_of(a);
      const std::size_t y = begin_of(b);
      return x != y ? x < y : tensors[a].data.size() < tensors[b].data.size();
    });
    at_ = 0;
    std::size_t end = 0;
    for (const std::uint32_t i : order) {
      if (begin_of(i) != end) {
        place_.set_context("tensor", tensors[i].name);
        return refuse(begin_of(i) < end ? "tensors overlap" : "hole between tensors", "data_offsets",
                      concat("a begin of ", end), std::to_string(begin_of(i)));
      }
      end += tensors[i].data.size();
    }
    if (end != buffer_.size()) {
      return refuse("bytes behind the last tensor", "buffer", concat(end, " bytes"), std::to_string(buffer_.size()));
    }
    return {};
  }

  std::string_view text_;
  std::span<const std::byte> buffer_;
  ByteReader place_;  // for its messages
  std::forward_list<std::string>& storage_;
  std::size_t at_ = 0;
};

}  // namespace detail

/// One safetensors file, checked and readable in place. May be read by any number of threads.
class SafetensorsFile {
 public:
  /// Errors: io, invalid_file (anything the format forbids), unsupported (dtype), out_of_memory.
  static Result<SafetensorsFile> open(std::string_view path, const SafetensorsOptions& options = {}) {
    return no_throw([&]() -> Result<SafetensorsFile> {
      SafetensorsFile file;
      TRITIUM_ASSIGN(MappedFile opened, MappedFile::open(path, options.access));
      file.file_ = std::make_shared<const MappedFile>(std::move(opened));
      TRITIUM_TRY(file.read(file.file_->bytes(), path, options));
      return file;
    });
  }
  /// The same over bytes that are in memory already and outlive the object; `name` stands for the path in messages.
  static Result<SafetensorsFile> view(std::span<const std::byte> bytes, std::string_view name,
                                      const SafetensorsOptions& options = {}) {
    return no_throw([&]() -> Result<SafetensorsFile> {
      SafetensorsFile file;
      TRITIUM_TRY(file.read(bytes, name, options));
      return file;
    });
  }

  /// In the order of the header.
  [[nodiscard]] std::span<const SafetensorsTensor> tensors() const { return tensors_; }
  /// The tensor of a name; null when there is none.
  [[nodiscard]] const SafetensorsTensor* find(std::string_view name) const {
    const auto found =
        std::lower_bound(order_.begin(), order_.end(), name,
                         [&](std::uint32_t i, std::string_view text) { return tensors_[i].name < text; });
    return found == order_.end() || tensors_[*found].name != name ? nullptr : &tensors_[*found];
  }
  /// The strings of "__metadata__", in the order of the file.
  [[nodiscard]] std::span<const std::pair<std::string_view, std::string_view>> metadata() const { return metadata_; }
  [[nodiscard]] std::size_t file_bytes() const { return file_bytes_; }  ///< Bytes of the file.
  /// Errors: io ("file changed while in use").
  [[nodiscard]] Status check_unchanged() const { return file_ == nullptr ? Status() : file_->check_unchanged(); }
  /// Whether `path` is this file, by whatever name.
  [[nodiscard]] bool is_read_from(std::string_view path) const { return file_ != nullptr && file_->is_at(path); }
  /// The file, for who needs its bytes longer than this object lives; null for a view.
  [[nodiscard]] const std::shared_ptr<const MappedFile>& file() const { return file_; }

 private:
  SafetensorsFile() = default;

  Status read(std::span<const std::byte> bytes, std::string_view path, const SafetensorsOptions& options) {
    file_bytes_ = bytes.size();
    ByteReader reader(bytes, path);
    TRITIUM_ASSIGN(const std::uint64_t header_bytes, reader.read<std::uint64_t>("header length"));
    const std::size_t limit = std::min(options.max_header_bytes, kSafetensorsMaxHeaderBytes);
    if (header_bytes > limit) {
      return reader.error_at(0, Errc::invalid_file, "header is too large, or not a safetensors file", "header length",
                             concat("at most ", limit), std::to_string(header_bytes));
    }
    if (header_bytes > reader.remaining()) {
      return reader.error_at(0, Errc::invalid_file, "file ends too early", "header length",
                             concat("at most ", reader.remaining()), std::to_string(header_bytes));
    }
    detail::SafetensorsHeaderReader header(bytes, static_cast<std::size_t>(header_bytes), path, storage_);
    TRITIUM_TRY(header.read(tensors_, metadata_));
    order_.resize(tensors_.size());
    std::iota(order_.begin(), order_.end(), 0u);
    std::sort(order_.begin(), order_.end(),
              [&](std::uint32_t a, std::uint32_t b) { return tensors_[a].name < tensors_[b].name; });
    for (std::size_t i = 1; i < order_.size(); ++i) {
      const std::string_view name = tensors_[order_[i]].name;
      if (tensors_[order_[i - 1]].name != name) continue;
      reader.set_context("tensor", name);
      return reader.error_at(8, Errc::invalid_file, "duplicate tensor", "name", "unique names", "it twice");
    }
    return {};
  }

  std::shared_ptr<const MappedFile> file_;  // null for a view
  std::forward_list<std::string> storage_;  // names and strings that hold escapes; a list does not move them
  std::vector<SafetensorsTensor> tensors_;
  std::vector<std::uint32_t> order_;  // by name
  std::vector<std::pair<std::string_view, std::string_view>> metadata_;
  std::size_t file_bytes_ = 0;
};

/// A folder's tensors: "model.safetensors", or the shards that "model.safetensors.index.json" names, or the only
/// *.safetensors file there.
class SafetensorsModel {
 public:
  /// Errors: io, invalid_file (no such file, several without an index, a bad index, a tensor the shards do not hold),
  /// unsupported (dtype), out_of_memory.
  static Result<SafetensorsModel> open(std::string_view folder, const SafetensorsOptions& options = {}) {
    return no_throw([&]() -> Result<SafetensorsModel> {
      const std::string base = concat(folder, "/");
      SafetensorsModel model;
      struct stat status{};
      if (::stat((base + kSingle).c_str(), &status) == 0) {
        TRITIUM_TRY(model.open_single(base + kSingle, options));
      } else if (::stat((base + kIndex).c_str(), &status) == 0) {
        TRITIUM_TRY(model.open_shards(base, options));
      } else {
        TRITIUM_ASSIGN(const std::string only, find_only_file(folder));
        TRITIUM_TRY(model.open_single(base + only, options));
      }
      return model;
    });
  }

  /// Sorted by name.
  [[nodiscard]] std::span<const SafetensorsTensor> tensors() const { return tensors_; }
  /// The tensor of a name; null when there is none.
  [[nodiscard]] const SafetensorsTensor* find(std::string_view name) const {
    const auto found =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](const SafetensorsTensor& t, std::string_view text) { return t.name < text; });
    return found == tensors_.end() || found->name != name ? nullptr : &*found;
  }
  [[nodiscard]] std::span<const SafetensorsFile> files() const { return files_; }  ///< The shards.
  [[nodiscard]] std::size_t file_bytes() const { return file_bytes_; }             ///< Bytes of all shards.
  /// Errors: io ("file changed while in use").
  [[nodiscard]] Status check_unchanged() const {
    for (const SafetensorsFile& file : files_) TRITIUM_TRY(file.check_unchanged());
    return {};
  }
  /// Whether `path` is one of the files, under whatever name.
  [[nodiscard]] bool is_read_from(std::string_view path) const {
    return std::any_of(files_.begin(), files_.end(), [&](const auto& file) { return file.is_read_from(path); });
  }
  /// The shard that holds a tensor's bytes, for who needs them longer than this object lives.
  [[nodiscard]] std::shared_ptr<const MappedFile> file_of(const std::byte* data) const {
    for (const SafetensorsFile& file : files_) {
      if (file.file() != nullptr && file.file()->holds(data)) return file.file();
    }
    return nullptr;
  }

 private:
  static constexpr const char* kSingle = "model.safetensors";
  static constexpr const char* kIndex = "model.safetensors.index.json";
  static constexpr std::string_view kExtension = ".safetensors";

  SafetensorsModel() = default;

  /// A shard is a file beside the index, whatever an index says.
  static bool is_plain_file_name(std::string_view name) {
    return name.size() > kExtension.size() && name.size() <= 255 && name.ends_with(kExtension) &&
           name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
  }

  static Result<std::string> find_only_file(std::string_view folder) {
    DIR* entries = ::opendir(std::string(folder).c_str());
    if (entries == nullptr) {
      const int code = errno;
      return make_error(Errc::io, "cannot open folder",
                        concat(printable_path(folder), ": ", detail::system_message(code)));
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(entries, &::closedir);
    std::string only;
    std::size_t n_files = 0;
    while (const dirent* entry = ::readdir(entries)) {
      if (!is_plain_file_name(entry->d_name) || entry->d_name[0] == '.') continue;
      if (n_files++ == 0) only = entry->d_name;
    }
    if (n_files != 1) {
      return make_error(Errc::invalid_file, "no model in the folder", printable_path(folder),
                        "model.safetensors, model.safetensors.index.json or one *.safetensors file",
                        concat(n_files, " *.safetensors files"));
    }
    return only;
  }

  Status add_file(const std::string& path, const SafetensorsOptions& options) {
    TRITIUM_ASSIGN(SafetensorsFile file, SafetensorsFile::open(path, options));
    if (__builtin_add_overflow(file_bytes_, file.file_bytes(), &file_bytes_)) {
      return make_error(Errc::out_of_range, "model is too large", printable_path(path));
    }
    files_.push_back(std::move(file));
    return {};
  }

  Status open_single(const std::string& path, const SafetensorsOptions& options) {
    TRITIUM_TRY(add_file(path, options));
    const auto tensors = files_.back().tensors();
    tensors_.assign(tensors.begin(), tensors.end());
    std::sort(tensors_.begin(), tensors_.end(),
              [](const SafetensorsTensor& a, const SafetensorsTensor& b) { return a.name < b.name; });
    return {};
  }

  /// Exactly the tensors of the weight map, each from the shard that the map names.
  Status open_shards(const std::string& base, const SafetensorsOptions& options) {
    const std::string index_path = base + kIndex;
    TRITIUM_ASSIGN(const JsonTree<Json> index, read_json_file(index_path));
    TRITIUM_ASSIGN(const JsonObject root, JsonObject::of(index, index_path));
    TRITIUM_ASSIGN(const JsonObject map, root.get_object("weight_map"));
    if (map.value().size() > kSafetensorsMaxEntries) {
      return make_error(Errc::invalid_file, "too many tensors", concat(printable_path(index_path), ", weight_map"),
                        "at most 65536", std::to_string(map.value().size()));
    }
    std::map<std::string_view, std::size_t> shards;  // file name -> position in files_
    for (const auto& item : map.value().items()) {   // sorted by name, as find() needs it
      const std::string_view name = item.key();
      TRITIUM_ASSIGN(const std::string_view file, map.get<std::string_view>(name));
      const std::string where = concat(printable_path(index_path), ", weight_map, \"", printable(name), "\"");
      if (!is_plain_file_name(file)) {
        return make_error(Errc::invalid_file, "bad shard name", where, "the name of a .safetensors file in this folder",
                          printable(file));
      }
      const auto [shard, added] = shards.emplace(file, files_.size());
      if (added) {
        if (files_.size() >= kSafetensorsMaxShards) {
          return make_error(Errc::invalid_file, "too many shards", where, "at most 512", "more");
        }
        TRITIUM_TRY(add_file(base + std::string(file), options));
      }
      const SafetensorsTensor* tensor = files_[shard->second].find(name);
      if (tensor == nullptr) {
        return make_error(Errc::invalid_file, "tensor is missing", where, concat("it in ", printable(file)), "nothing");
      }
      tensors_.push_back(*tensor);
    }
    return {};
  }

  std::vector<SafetensorsFile> files_;
  std::vector<SafetensorsTensor> tensors_;
  std::size_t file_bytes_ = 0;
};

/// Writes one file: announce metadata and tensors, begin(path), append data in the order of the tensors, finish().
/// The data of a tensor starts where the one before it ends, so tensors with wide elements come first to stay aligned.
class SafetensorsWriter {
 public:
  /// Errors: invalid_argument (not UTF-8, a key twice, after begin()).
  [[nodiscard]] Status set_metadata(std::string_view key, std::string_view value) {
    return no_throw([&]() -> Status {
      const std::string where = concat("metadata key \"", printable(key), "\"");
      if (begun_ || !is_utf8(key) || !is_utf8(value) || metadata_.count(key) != 0 ||
          metadata_.size() >= kSafetensorsMaxEntries) {
        return make_error(Errc::invalid_argument, "bad metadata", where, "unique UTF-8 strings before begin()", "it");
      }
      metadata_.emplace(key, value);
      return {};
    });
  }

  /// shape: outermost first, at most 8 dimensions, empty for a single value.
  /// Errors: invalid_argument (bad or repeated name, shape, after begin()), out_of_range (size).
  [[nodiscard]] Status add_tensor(std::string_view name, SafetensorsDtype dtype, std::span<const std::uint64_t> shape) {
    return no_throw([&]() -> Status {
      const std::string where = concat("tensor \"", printable(name), "\"");
      if (begun_) return make_error(Errc::invalid_argument, "the header is already written", where);
      if (name.empty() || name.size() > kSafetensorsMaxNameBytes || name == "__metadata__" || !is_utf8(name) ||
          name.find('\0') != std::string_view::npos) {
        return make_error(Errc::invalid_argument, "bad tensor name", where, "1 to 4096 bytes of UTF-8 without NUL",
                          concat(name.size(), " bytes"));
      }
      if (shape.size() > kSafetensorsMaxRank) {
        return make_error(Errc::invalid_argument, "too many dimensions", where, "at most 8",
                          std::to_string(shape.size()));
      }
      if (tensors_.size() >= kSafetensorsMaxEntries || !names_.emplace(name).second) {
        return make_error(Errc::invalid_argument, "duplicate tensor, or too many", where);
      }
      Planned planned;
      planned.name = name;
      planned.bytes = info(dtype).bytes;
      planned.entry = concat(json_quoted(name), ":{\"dtype\":\"", info(dtype).name, "\",\"shape\":[");
      for (std::size_t i = 0; i < shape.size(); ++i) {
        TRITIUM_ASSIGN(planned.bytes, checked_mul(planned.bytes, shape[i]));
        planned.entry += concat(i == 0 ? "" : ",", shape[i]);
      }
      TRITIUM_ASSIGN(const std::size_t end, checked_add(data_bytes_, planned.bytes));
      planned.entry += concat("],\"data_offsets\":[", data_bytes_, ",", end, "]}");
      tensors_.push_back(std::move(planned));
      data_bytes_ = end;
      return {};
    });
  }

  /// Creates the file and writes the header. Errors: out_of_range (header past 100 MB), io.
  [[nodiscard]] Status begin(std::string_view path) {
    return no_throw([&]() -> Status {
      if (begun_) return make_error(Errc::invalid_argument, "the header is already written", printable_path(path));
      std::string header = "{";
      if (!metadata_.empty()) {
        header += "\"__metadata__\":{";
        for (const auto& [key, value] : metadata_) {
          if (header.back() != '{') header += ',';
          header += concat(json_quoted(key), ":", json_quoted(value));
        }
        header += '}';
      }
      for (const Planned& tensor : tensors_) {
        if (header.size() > 1) header += ',';
        header += tensor.entry;
      }
      header += '}';
      header.resize(round_up(header.size(), 8), ' ');
      if (header.size() > kSafetensorsMaxHeaderBytes) {
        return make_error(Errc::out_of_range, "header is too large", printable_path(path), "at most 100000000 bytes",
                          std::to_string(header.size()));
      }
      TRITIUM_ASSIGN(const std::size_t total, checked_add(8 + header.size(), data_bytes_));
      TRITIUM_ASSIGN(file_, AtomicFileWriter::create(path));
      begun_ = true;
      TRITIUM_TRY(file_.reserve(total));
      const std::uint64_t length = header.size();
      TRITIUM_TRY(file_.write(std::as_bytes(std::span(&length, 1))));
      TRITIUM_TRY(file_.write(header));
      skip_empty();
      return {};
    });
  }

  /// More bytes of `tensor`, which must be the first one that is not complete. Tensors without elements need no call.
  /// Errors: invalid_argument (another tensor's turn, more bytes than it has), io.
  [[nodiscard]] Status append(std::string_view tensor, std::span<const std::byte> bytes) {
    if (bytes.empty() && begun_) return {};
    const bool in_turn = begun_ && current_ < tensors_.size() && tensors_[current_].name == tensor;
    if (!in_turn || bytes.size() > tensors_[current_].bytes - current_bytes_) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, in_turn ? "too much tensor data" : "tensor data out of order",
                          concat("tensor \"", printable(tensor), "\""),
                          in_turn ? concat(tensors_[current_].bytes - current_bytes_, " more bytes")
                          : begun_ && current_ < tensors_.size() ? tensors_[current_].name
                                                                 : std::string("no data"),
                          concat(bytes.size(), " bytes"));
      });
    }
    TRITIUM_TRY(file_.write(bytes));
    current_bytes_ += bytes.size();
    if (current_bytes_ == tensors_[current_].bytes) {
      ++current_;
      current_bytes_ = 0;
      skip_empty();
    }
    return {};
  }

  /// Makes the file appear. Errors: invalid_argument (data is missing), io.
  [[nodiscard]] Status finish() {
    if (!begun_ || current_ != tensors_.size()) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, "tensor data is missing", printable_path(file_.path()),
                          concat(tensors_.size(), " complete tensors"), std::to_string(current_));
      });
    }
    return file_.commit();
  }

 private:
  struct Planned {
    std::string name;
    std::string entry;  // its text in the header
    std::size_t bytes = 0;
  };

  void skip_empty() {
    while (current_ < tensors_.size() && tensors_[current_].bytes == 0) ++current_;
  }

  static std::string json_quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (static_cast<unsigned char>(c) < 0x20) {
        char escaped[8];
        (void)std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(c) & 0x1Fu);
        out += escaped;
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + '"';
  }

  std::map<std::string, std::string, std::less<>> metadata_;
  std::set<std::string, std::less<>> names_;
  std::vector<Planned> tensors_;
  std::size_t data_bytes_ = 0;
  AtomicFileWriter file_;
  std::size_t current_ = 0;
  std::size_t current_bytes_ = 0;
  bool begun_ = false;
};

TRITIUM_NAMESPACE_END
