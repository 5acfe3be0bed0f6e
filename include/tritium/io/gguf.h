// SPDX-License-Identifier: Apache-2.0
// GgufFile and GgufWriter: GGUF containers, versions 2 and 3, read in place and written whole.
//
// A GGUF file is a header (counts), metadata entries, tensor descriptions, padding, and aligned tensor data. The reader
// walks the header once, checks every number before it is used, and keeps views: a token list of 262144 strings is one
// span of the mapping until somebody asks for it. Nothing it allocates is larger than a small multiple of header bytes
// that were really there. What the values mean is the business of the model layer.
// Source: the GGUF specification (ggml repository, docs/gguf.md); type ids of ggml.h; I2_S as bitnet.cpp writes it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <cstring>
#include <limits>
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
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

// --- limits: far above every real model, low enough that no file can cost more than it weighs ------------------------
/// Metadata keys of a file.
inline constexpr std::size_t kGgufMaxKeys = 65536;
inline constexpr std::size_t kGgufMaxTensors = 65536;  ///< over all parts of a split model
/// Bytes of a key.
inline constexpr std::size_t kGgufMaxKeyBytes = 65535;
/// Bytes of a tensor's name.
inline constexpr std::size_t kGgufMaxTensorNameBytes = 64;
/// Bytes of a string.
inline constexpr std::size_t kGgufMaxStringBytes = std::size_t{16} << 20;
/// Elements of an array.
inline constexpr std::size_t kGgufMaxArrayElements = std::size_t{16} << 20;
/// Dimensions of a tensor.
inline constexpr std::size_t kGgufMaxDims = 4;
/// Size of one dimension.
inline constexpr std::uint64_t kGgufMaxDim = std::uint64_t{1} << 40;
/// Elements of a tensor.
inline constexpr std::uint64_t kGgufMaxElements = std::uint64_t{1} << 46;
/// Least alignment of tensor data.
inline constexpr std::size_t kGgufMinAlignment = 8;
/// Largest alignment of tensor data.
inline constexpr std::size_t kGgufMaxAlignment = 65536;
/// Files of a split model.
inline constexpr std::size_t kGgufMaxParts = 512;
/// Alignment of a file that does not say.
inline constexpr std::size_t kGgufDefaultAlignment = 32;

/// Types of metadata values, with their ids in the file.
enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
/// How many types of values there are.
inline constexpr std::uint32_t kGgufTypeCount = 13;

/// The name of a type, for people.
constexpr std::string_view gguf_type_name(GgufType type) {
  constexpr std::array<std::string_view, kGgufTypeCount> kNames = {
      "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<std::size_t>(type)];
}
/// Bytes of one stored value; 0 for strings and arrays, whose size varies.
constexpr std::size_t stored_bytes(GgufType type) {
  constexpr std::array<std::uint8_t, kGgufTypeCount> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<std::size_t>(type)];
}

/// One metadata entry, in place. All views live as long as the GgufFile.
struct GgufValue {
  std::string_view key;              ///< dotted, as in the file
  GgufType type = GgufType::u8;      ///< of the value, or of an array's elements; never `array`
  bool is_array = false;             ///< whether there are `count` values of `type`
  std::size_t count = 1;             ///< elements of an array, 1 for a scalar
  std::span<const std::byte> bytes;  ///< the elements as stored: packed numbers, or strings as u64 length + bytes
};

/// One tensor, in place.
struct GgufTensor {
  std::string_view name;                                        ///< as the file names it
  TensorType type = TensorType::f32;                            ///< how numbers are stored
  std::uint32_t n_dims = 1;                                     ///< dimensions
  std::uint32_t part = 0;                                       ///< which file of a split model
  std::array<std::uint64_t, kGgufMaxDims> dims = {1, 1, 1, 1};  ///< fastest first; 1 from n_dims on
  std::uint64_t offset = 0;                                     ///< from the start of its part's data section
  std::span<const std::byte> data;                              ///< exactly the tensor's bytes
};

// The budget for metadata is max(256 MiB, 4 x header bytes): the caps alone keep it, whatever a file says.
static_assert(kGgufMaxKeys * (sizeof(GgufValue) + sizeof(std::uint32_t)) +
                  kGgufMaxTensors * 2 * (sizeof(GgufTensor) + 2 * sizeof(std::uint32_t)) <=
              (std::size_t{64} << 20));
static_assert(kGgufMaxArrayElements * sizeof(std::string_view) <= (std::size_t{256} << 20));

namespace detail {

// Smallest records: a key of one byte with a one-byte value; a name of one byte with one dimension.
inline constexpr std::size_t kGgufLeastEntryBytes = 8 + 1 + 4 + 1;
inline constexpr std::size_t kGgufLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

/// What a type id that this library does not read means elsewhere, for the refusal.
constexpr std::string_view foreign_gguf_type_name(std::uint32_t id) {
  switch (id) {
    case 4: return "q4_2, removed from the format";
    case 5: return "q4_3, removed from the format";
    case 9: return "q8_1";
    case 15: return "q8_k";
    case 16: return "iq2_xxs";
    case 17: return "iq2_xs";
    case 18: return "iq3_xxs";
    case 19: return "iq1_s";
    case 21: return "iq3_s";
    case 22: return "iq2_s";
    case 29: return "iq1_m";
    case 31: return "q4_0_4_4, removed from the format";
    case 32: return "q4_0_4_8, removed from the format";
    case 33: return "q4_0_8_8, removed from the format";
    case 36: return "iq4_nl_4_4, removed from the format";
    case 37: return "iq4_nl_4_8, removed from the format";
    case 38: return "iq4_nl_8_8, removed from the format";
    case 40: return "nvfp4";
    case 41: return "q1_0";
    case 42: return "q2_0";
    default: return "unknown";
  }
}

/// bitnet.cpp gave the ids 36 to 39 meanings of its own, which collide with those of ggml.
constexpr std::string_view bitnet_gguf_type_name(std::uint32_t id) {
  switch (id) {
    case 37: return "i8_s of bitnet.cpp";
    case 38: return "tl1 of bitnet.cpp";
    case 39: return "tl2 of bitnet.cpp";
    default: return {};
  }
}

constexpr bool is_bitnet_architecture(std::string_view architecture) {
  return architecture == "bitnet-b1.58" || architecture == "bitnet-25" || architecture == "bitnet";
}
inline constexpr std::uint64_t kBitnetFileType = 40;

/// Printable ASCII without the space: what keys are made of.
constexpr bool is_gguf_key(std::string_view key) {
  if (key.empty() || key.size() > kGgufMaxKeyBytes) return false;
  return std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}
constexpr bool is_gguf_tensor_name(std::string_view text) {
  return !text.empty() && text.size() <= kGgufMaxTensorNameBytes && text.find('\0') == std::string_view::npos &&
         is_utf8(text);
}
constexpr bool is_gguf_alignment(std::uint64_t alignment) {
  return std::has_single_bit(alignment) && alignment >= kGgufMinAlignment && alignment <= kGgufMaxAlignment;
}

/// A stored number in the widest type of its kind.
struct GgufNumber {
  enum class Kind : std::uint8_t { not_a_number, boolean, signed_integer, unsigned_integer, real };
  Kind kind = Kind::not_a_number;
  std::int64_t i = 0;
  std::uint64_t u = 0;
  double f = 0;
};

inline GgufNumber load_number(GgufType type, const std::byte* source) {
  using Kind = GgufNumber::Kind;
  const auto as_signed = [](std::int64_t v) { return GgufNumber{Kind::signed_integer, v, 0, 0}; };
  const auto as_unsigned = [](std::uint64_t v) { return GgufNumber{Kind::unsigned_integer, 0, v, 0}; };
  const auto as_real = [](double v) { return GgufNumber{Kind::real, 0, 0, v}; };
  switch (type) {
    case GgufType::u8: return as_unsigned(load_little_endian<std::uint8_t>(source));
    case GgufType::i8: return as_signed(load_little_endian<std::int8_t>(source));
    case GgufType::u16: return as_unsigned(load_little_endian<std::uint16_t>(source));
    case GgufType::i16: return as_signed(load_little_endian<std::int16_t>(source));
    case GgufType::u32: return as_unsigned(load_little_endian<std::uint32_t>(source));
    case GgufType::i32: return as_signed(load_little_endian<std::int32_t>(source));
    case GgufType::u64: return as_unsigned(load_little_endian<std::uint64_t>(source));
    case GgufType::i64: return as_signed(load_little_endian<std::int64_t>(source));
    case GgufType::f32: return as_real(static_cast<double>(load_little_endian<float>(source)));
    case GgufType::f64: return as_real(load_little_endian<double>(source));
    case GgufType::boolean: return {Kind::boolean, 0, load_little_endian<std::uint8_t>(source), 0};
    case GgufType::string:
    case GgufType::array: break;
  }
  return {};
}

/// Converts without loss of meaning: integers between all widths where they fit, whole reals to integers, integers and
/// reals to reals, 0 and 1 to bool. False when the value does not fit.
template <class T>
bool convert_number(const GgufNumber& number, T& out) {
  using Kind = GgufNumber::Kind;
  switch (number.kind) {
    case Kind::not_a_number: return false;
    case Kind::boolean:
      if constexpr (std::is_same_v<T, bool>) out = number.u != 0;
      return std::is_same_v<T, bool>;
    case Kind::signed_integer:
    case Kind::unsigned_integer: {
      const bool is_signed = number.kind == Kind::signed_integer;
      if constexpr (std::is_same_v<T, bool>) {
        const bool fits = is_signed ? (number.i == 0 || number.i == 1) : number.u <= 1;
        out = is_signed ? number.i != 0 : number.u != 0;
        return fits;
      } else if constexpr (std::integral<T>) {
        out = is_signed ? static_cast<T>(number.i) : static_cast<T>(number.u);
        return is_signed ? std::in_range<T>(number.i) : std::in_range<T>(number.u);
      } else {
        out = is_signed ? static_cast<T>(number.i) : static_cast<T>(number.u);
        return true;
      }
    }
    case Kind::real:
      if constexpr (std::is_same_v<T, bool>) {
        return false;
      } else if constexpr (std::integral<T>) {
        const double lowest = static_cast<double>(std::numeric_limits<T>::min());
        const double past = std::ldexp(1.0, std::numeric_limits<T>::digits);
        if (!(number.f >= lowest && number.f < past) || number.f != std::trunc(number.f)) return false;
        out = static_cast<T>(number.f);
        return true;
      } else {
        if (std::isfinite(number.f) && std::fabs(number.f) > static_cast<double>(std::numeric_limits<T>::max())) {
          return false;
        }
        out = static_cast<T>(number.f);
        return true;
      }
  }
  return false;
}

template <class T>
constexpr std::string_view wanted_gguf_type() {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return "string";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::integral<T>) {
    return std::is_signed_v<T> ? "integer" : "non-negative integer";
  } else {
    return "number";
  }
}

/// "string", "array of 3 u32", "i32 -1": what a value turned out to be.
inline std::string describe(const GgufValue& value) {
  if (value.is_array) return concat("array of ", value.count, " ", gguf_type_name(value.type));
  std::string text(gguf_type_name(value.type));
  const GgufNumber number = load_number(value.type, value.bytes.data());
  using Kind = GgufNumber::Kind;
  if (number.kind == Kind::signed_integer) text += concat(" ", number.i);
  if (number.kind == Kind::unsigned_integer) text += concat(" ", number.u);
  if (number.kind == Kind::real) text += concat(" ", std::to_string(number.f));
  return text;
}

/// The digits of an entry's number, without an allocation for each entry.
class EntryNumber {
 public:
  explicit EntryNumber(std::size_t value) : end_(std::to_chars(text_, text_ + sizeof(text_), value).ptr) {}
  [[nodiscard]] std::string_view view() const { return {text_, static_cast<std::size_t>(end_ - text_)}; }

 private:
  char text_[20];
  char* end_;
};

/// Positions of `items` in the order of their names. Two equal names end up side by side.
template <class Item, class Name>
std::vector<std::uint32_t> order_by_name(const std::vector<Item>& items, Name&& name_of) {
  std::vector<std::uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return name_of(items[a]) < name_of(items[b]); });
  return order;
}
template <class Item, class Name>
const Item* find_by_name(const std::vector<Item>& items, const std::vector<std::uint32_t>& order,
                         std::string_view wanted, Name&& name_of) {
  const auto found = std::lower_bound(order.begin(), order.end(), wanted,
                                      [&](std::uint32_t i, std::string_view text) { return name_of(items[i]) < text; });
  return found == order.end() || name_of(items[*found]) != wanted ? nullptr : &items[*found];
}

/// Signs of bitnet.cpp in a model's metadata. Its file type 40 is another one's q1_0 by now, so only the architecture
/// changes the meaning of ids that ggml uses too.
struct BitnetSigns {
  bool architecture = false;
  bool file_type = false;
};

/// What one file of a model holds.
struct GgufPart {
  std::uint32_t version = 0;
  std::size_t alignment = kGgufDefaultAlignment;
  std::size_t data_start = 0;
  std::vector<GgufValue> values;
  std::vector<std::uint32_t> value_order;
};

/// Reads one file's header. Tensors are appended to `tensors`.
class GgufHeaderReader {
 public:
  GgufHeaderReader(std::span<const std::byte> bytes, std::string_view file, std::uint32_t part_index)
      : bytes_(bytes), reader_(bytes, file), part_index_(part_index) {}

  /// `bitnet`: what the first part of the same model says; updated from this part's metadata.
  Status read(GgufPart& part, std::vector<GgufTensor>& tensors, BitnetSigns& bitnet) {
    TRITIUM_TRY(read_start(part));
    const std::size_t tensors_at = reader_.position();
    TRITIUM_ASSIGN(const std::size_t n_tensors,
                   reader_.read_count("tensor count", kGgufMaxTensors - tensors.size(), kGgufLeastTensorBytes));
    TRITIUM_ASSIGN(const std::size_t n_values,
                   reader_.read_count("metadata count", kGgufMaxKeys, kGgufLeastEntryBytes));
    part.values.reserve(n_values);
    for (std::size_t i = 0; i < n_values; ++i) {
      TRITIUM_ASSIGN(const GgufValue value, read_value(i));
      part.values.push_back(value);
    }
    TRITIUM_TRY(index_values(part));
    TRITIUM_TRY(read_settings(part, bitnet));
    reader_.set_context({}, {});
    // The entries took their bytes: what the tensor count promised must still fit.
    TRITIUM_TRY(reader_.check_count(n_tensors, tensors_at, "tensor count", kGgufMaxTensors, kGgufLeastTensorBytes));
    const std::size_t first = tensors.size();
    tensors.reserve(first + n_tensors);
    std::vector<std::size_t> entries;  // where each description begins, for messages
    entries.reserve(n_tensors);
    for (std::size_t i = 0; i < n_tensors; ++i) {
      entries.push_back(reader_.position());
      TRITIUM_ASSIGN(const GgufTensor tensor, read_tensor(i, part, bitnet));
      tensors.push_back(tensor);
    }
    reader_.set_context({}, {});
    if (n_tensors == 0) return check_end(reader_.position(), part.alignment);
    part.data_start = round_up(reader_.position(), part.alignment);
    return place_tensors(part, std::span(tensors).subspan(first), entries);
  }

 private:
  Status read_start(GgufPart& part) {
    TRITIUM_ASSIGN(const auto magic, reader_.read_bytes(4, "magic"));
    const std::string_view letters(reinterpret_cast<const char*>(magic.data()), magic.size());
    if (letters != "GGUF") {
      return reader_.error_at(0, Errc::invalid_file, "not a GGUF file", "magic", "GGUF", printable(letters));
    }
    TRITIUM_ASSIGN(part.version, reader_.read<std::uint32_t>("version"));
    if ((part.version & 0xFFFFu) == 0) {
      return reader_.error_at(4, Errc::unsupported, "big-endian GGUF file", "version", "2 or 3, little-endian",
                              std::to_string(part.version));
    }
    if (part.version != 2 && part.version != 3) {
      return reader_.error_at(4, Errc::unsupported, "unsupported GGUF version", "version", "2 or 3",
                              std::to_string(part.version));
    }
    return {};
  }

  Result<GgufType> read_type(std::string_view field) {
    const std::size_t start = reader_.position();
    TRITIUM_ASSIGN(const std::uint32_t id, reader_.read<std::uint32_t>(field));
    if (id >= kGgufTypeCount) {
      return reader_.error_at(start, Errc::invalid_file, "unknown metadata type", field, "0 to 12", std::to_string(id));
    }
    return static_cast<GgufType>(id);
  }

  Result<GgufValue> read_value(std::size_t index) {
    const EntryNumber number(index);
    reader_.set_context("metadata entry", number.view());
    const std::size_t key_at = reader_.position();
    GgufValue value;
    TRITIUM_ASSIGN(value.key, reader_.read_string("key", 1, kGgufMaxKeyBytes));
    if (!is_gguf_key(value.key)) {
      return reader_.error_at(key_at, Errc::invalid_file, "bad character in a key", "key", "printable ASCII, no space",
                              printable(value.key));
    }
    reader_.set_context("key", value.key);
    TRITIUM_ASSIGN(value.type, read_type("type"));
    if (value.type == GgufType::array) {
      value.is_array = true;
      const std::size_t type_at = reader_.position();
      TRITIUM_ASSIGN(value.type, read_type("array type"));
      if (value.type == GgufType::array) {
        return reader_.error_at(type_at, Errc::unsupported, "array of arrays", "array type", "scalars or strings",
                                "array");
      }
      const std::size_t least = value.type == GgufType::string ? sizeof(std::uint64_t) : stored_bytes(value.type);
      TRITIUM_ASSIGN(value.count, reader_.read_count("array length", kGgufMaxArrayElements, least));
    }
    const std::size_t start = reader_.position();
    if (value.type == GgufType::string) {
      for (std::size_t i = 0; i < value.count; ++i) {
        TRITIUM_TRY(reader_.read_string("string length", 0, kGgufMaxStringBytes));
      }
      value.bytes = bytes_.subspan(start, reader_.position() - start);
      return value;
    }
    TRITIUM_ASSIGN(value.bytes, reader_.read_bytes(value.count * stored_bytes(value.type), "value"));
    if (value.type == GgufType::boolean) {
      for (std::size_t i = 0; i < value.count; ++i) {
        if (value.bytes[i] > std::byte{1}) {
          return reader_.error_at(start + i, Errc::invalid_file, "bad bool", "value", "0 or 1",
                                  std::to_string(std::to_integer<int>(value.bytes[i])));
        }
      }
    }
    return value;
  }

  Status index_values(GgufPart& part) {
    const auto key_of = [](const GgufValue& value) { return value.key; };
    part.value_order = order_by_name(part.values, key_of);
    for (std::size_t i = 1; i < part.value_order.size(); ++i) {
      const std::string_view key = part.values[part.value_order[i]].key;
      if (part.values[part.value_order[i - 1]].key != key) continue;
      reader_.set_context("key", key);
      return reader_.error_at(offset_of(key), Errc::invalid_file, "duplicate key", "key", "unique keys", "it twice");
    }
    return {};
  }

  Status read_settings(GgufPart& part, BitnetSigns& bitnet) {
    const auto find = [&](std::string_view key) {
      return find_by_name(part.values, part.value_order, key, [](const GgufValue& v) { return v.key; });
    };
    if (const GgufValue* value = find("general.alignment"); value != nullptr) {
      reader_.set_context("key", value->key);
      const std::size_t at = offset_of(*value);
      if (value->is_array || value->type != GgufType::u32) {
        return reader_.error_at(at, Errc::invalid_file, "bad alignment", "value", "u32", describe(*value));
      }
      const auto alignment = load_little_endian<std::uint32_t>(value->bytes.data());
      if (!is_gguf_alignment(alignment)) {
        return reader_.error_at(at, Errc::invalid_file, "bad alignment", "value", "a power of two from 8 to 65536",
                                std::to_string(alignment));
      }
      part.alignment = alignment;
    }
    if (const GgufValue* value = find("general.architecture"); value != nullptr && !value->is_array) {
      if (value->type == GgufType::string && is_bitnet_architecture(scalar_string(*value))) bitnet.architecture = true;
    }
    if (const GgufValue* value = find("general.file_type"); value != nullptr && !value->is_array) {
      std::uint64_t file_type = 0;
      if (convert_number(load_number(value->type, value->bytes.data()), file_type) && file_type == kBitnetFileType) {
        bitnet.file_type = true;
      }
    }
    return {};
  }

  Result<TensorType> read_tensor_type(const BitnetSigns& bitnet) {
    const std::size_t start = reader_.position();
    TRITIUM_ASSIGN(const std::uint32_t id, reader_.read<std::uint32_t>("type"));
    const std::int32_t i2_s_id = info(TensorType::i2_s).gguf_id;
    if (std::cmp_equal(id, i2_s_id) && (bitnet.architecture || bitnet.file_type)) return TensorType::i2_s;
    std::string_view meaning = bitnet.architecture ? bitnet_gguf_type_name(id) : std::string_view();
    if (meaning.empty()) {
      for (const TensorTypeInfo& known : kTensorTypes) {
        if (known.type != TensorType::i2_s && std::cmp_equal(known.gguf_id, id)) return known.type;
      }
      meaning = foreign_gguf_type_name(id);
    }
    return reader_.error_at(start, Errc::unsupported, "unsupported tensor type", "type", "a type this build reads",
                            concat(id, " (", meaning, ")"));
  }

  Result<GgufTensor> read_tensor(std::size_t index, const GgufPart& part, const BitnetSigns& bitnet) {
    const EntryNumber number(index);
    reader_.set_context("tensor entry", number.view());
    GgufTensor tensor;
    tensor.part = part_index_;
    std::size_t start = reader_.position();
    TRITIUM_ASSIGN(tensor.name, reader_.read_string("name", 1, kGgufMaxTensorNameBytes));
    if (!is_gguf_tensor_name(tensor.name)) {
      return reader_.error_at(start, Errc::invalid_file, "bad tensor name", "name", "UTF-8 without NUL",
                              printable(tensor.name));
    }
    reader_.set_context("tensor", tensor.name);
    start = reader_.position();
    TRITIUM_ASSIGN(tensor.n_dims, reader_.read<std::uint32_t>("dimension count"));
    if (tensor.n_dims < 1 || tensor.n_dims > kGgufMaxDims) {
      return reader_.error_at(start, Errc::invalid_file, "bad number of dimensions", "dimension count", "1 to 4",
                              std::to_string(tensor.n_dims));
    }
    std::uint64_t elements = 1;
    const std::size_t dims_at = reader_.position();
    for (std::uint32_t d = 0; d < tensor.n_dims; ++d) {
      constexpr std::array<std::string_view, kGgufMaxDims> kFields = {"dimension 0", "dimension 1", "dimension 2",
                                                                      "dimension 3"};
      start = reader_.position();
      TRITIUM_ASSIGN(tensor.dims[d], reader_.read<std::uint64_t>(kFields[d]));
      if (tensor.dims[d] < 1 || tensor.dims[d] > kGgufMaxDim) {
        return reader_.error_at(start, Errc::invalid_file, "bad dimension", kFields[d], "1 to 2^40",
                                std::to_string(tensor.dims[d]));
      }
      if (__builtin_mul_overflow(elements, tensor.dims[d], &elements) || elements > kGgufMaxElements) {
        return reader_.error_at(start, Errc::invalid_file, "tensor is too large", kFields[d], "at most 2^46 elements",
                                "more");
      }
    }
    TRITIUM_ASSIGN(tensor.type, read_tensor_type(bitnet));
    const TensorTypeInfo& type = info(tensor.type);
    if (tensor.dims[0] % type.block_length != 0) {
      return reader_.error_at(dims_at, Errc::invalid_file, "row is not a whole number of blocks", "dimension 0",
                              concat("a multiple of ", type.block_length, " for ", type.name),
                              std::to_string(tensor.dims[0]));
    }
    start = reader_.position();
    TRITIUM_ASSIGN(tensor.offset, reader_.read<std::uint64_t>("offset"));
    if (tensor.offset % part.alignment != 0) {
      return reader_.error_at(start, Errc::invalid_file, "tensor is not aligned", "offset",
                              concat("a multiple of ", part.alignment), std::to_string(tensor.offset));
    }
    return tensor;
  }

  /// Gives every tensor its bytes, once the place of the data section is known.
  Status place_tensors(const GgufPart& part, std::span<GgufTensor> tensors, const std::vector<std::size_t>& entries) {
    const std::size_t available = bytes_.size() - std::min(bytes_.size(), part.data_start);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      GgufTensor& tensor = tensors[i];
      const std::uint64_t elements = tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
      TRITIUM_ASSIGN(const std::size_t bytes, tensor_bytes(tensor.type, elements / tensor.dims[0], tensor.dims[0]));
      if (tensor.offset > available || bytes > available - tensor.offset) {
        reader_.set_context("tensor", tensor.name);
        return reader_.error_at(entries[i], Errc::invalid_file, "tensor data past the end of the file", "offset",
                                concat(bytes, " bytes at ", tensor.offset, " of the data section"),
                                concat(available, " bytes in it"));
      }
      tensor.data = bytes_.subspan(part.data_start + tensor.offset, bytes);
    }
    std::vector<std::uint32_t> order(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return tensors[a].offset < tensors[b].offset; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      const GgufTensor& tensor = tensors[order[i]];
      const std::uint64_t end = i + 1 < order.size() ? tensors[order[i + 1]].offset : available;
      // Id 36 once had another meaning with 2.25 times the bytes: an I2_S tensor must be the one that lies there.
      if (tensor.type == TensorType::i2_s && end - tensor.offset > 2 * tensor.data.size() + part.alignment) {
        reader_.set_context("tensor", tensor.name);
        return reader_.error_at(entries[order[i]], Errc::unsupported, "not an i2_s tensor", "type",
                                concat(tensor.data.size(), " bytes, those of i2_s"),
                                std::to_string(end - tensor.offset));
      }
      if (i == 0) continue;
      const GgufTensor& before = tensors[order[i - 1]];
      if (tensor.offset - before.offset >= before.data.size()) continue;
      reader_.set_context("tensor", tensor.name);
      return reader_.error_at(
          entries[order[i]], Errc::invalid_file, "tensors overlap", "offset",
          concat("at least ", before.offset + before.data.size(), ", the end of \"", printable(before.name), "\""),
          std::to_string(tensor.offset));
    }
    const GgufTensor& last = tensors[order.back()];
    return check_end(part.data_start + last.offset + last.data.size(), part.alignment);
  }

  /// A file ends with its last tensor, padded or not. More bytes mean that a count is wrong, and with it the place of
  /// all data, or that two downloads were written behind each other.
  Status check_end(std::size_t end, std::size_t alignment) {
    const std::size_t left = bytes_.size() - std::min(end, bytes_.size());
    if (left < alignment) return {};
    reader_.set_context({}, {});
    return reader_.error_at(end, Errc::invalid_file, "bytes behind the last tensor", "end of data",
                            concat("less than ", alignment), std::to_string(left));
  }

  static std::string_view scalar_string(const GgufValue& value) {
    return {reinterpret_cast<const char*>(value.bytes.data()) + sizeof(std::uint64_t),
            value.bytes.size() - sizeof(std::uint64_t)};
  }
  [[nodiscard]] std::size_t offset_of(std::string_view text) const {
    return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(text.data()) - bytes_.data());
  }
  [[nodiscard]] std::size_t offset_of(const GgufValue& value) const {
    return static_cast<std::size_t>(value.bytes.data() - bytes_.data());
  }

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  std::uint32_t part_index_;
};

}  // namespace detail

/// A GGUF model, all parts of a split one, checked and readable in place. May be read by any number of threads.
class GgufFile {
 public:
  /// Opens a model: one file, or the first of "NAME-00001-of-0000N.gguf" and with it all parts beside it.
  /// Errors: io, invalid_file, unsupported (version, byte order, tensor type), out_of_memory.
  static Result<GgufFile> open(std::string_view path, FileAccess access = FileAccess::map) {
    return no_throw([&]() -> Result<GgufFile> {
      GgufFile gguf;
      gguf.name_ = std::make_unique<const std::string>(path);
      TRITIUM_TRY(gguf.add_part(path, access));
      TRITIUM_ASSIGN(const std::uint32_t n_parts, gguf.get_or<std::uint32_t>("split.count", 1));
      if (n_parts > 1) TRITIUM_TRY(gguf.open_other_parts(n_parts, access));
      TRITIUM_TRY(gguf.index_tensors());
      return gguf;
    });
  }

  /// The same over bytes that are in memory already and outlive the object; `name` stands for the path in messages.
  static Result<GgufFile> view(std::span<const std::byte> bytes, std::string_view name) {
    return no_throw([&]() -> Result<GgufFile> {
      GgufFile gguf;
      gguf.name_ = std::make_unique<const std::string>(name);
      gguf.file_bytes_ = bytes.size();
      TRITIUM_TRY(gguf.read_part(bytes, *gguf.name_));
      TRITIUM_ASSIGN(const std::uint32_t n_parts, gguf.get_or<std::uint32_t>("split.count", 1));
      if (n_parts > 1) {
        return make_error(Errc::unsupported, "one part of a split model",
                          concat(printable_path(name), ", key \"split.count\""), "a whole model",
                          concat(n_parts, " parts"));
      }
      TRITIUM_TRY(gguf.index_tensors());
      return gguf;
    });
  }

  // --- the file ---
  [[nodiscard]] std::string_view path() const { return *name_; }           ///< The path that was opened.
  [[nodiscard]] std::uint32_t version() const { return part_.version; }    ///< The container's version, 2 or 3.
  [[nodiscard]] std::size_t alignment() const { return part_.alignment; }  ///< Of tensor data, in bytes.
  /// Files that make the model.
  [[nodiscard]] std::size_t n_parts() const { return files_.empty() ? 1 : files_.size(); }
  /// Size on disk of all parts.
  [[nodiscard]] std::size_t file_bytes() const { return file_bytes_; }
  /// Errors: io, when a part has another size or modification time than when it was opened.
  [[nodiscard]] Status check_unchanged() const {
    for (const auto& file : files_) TRITIUM_TRY(file->check_unchanged());
    return {};
  }
  /// Whether `path` is one of the parts, under whatever name.
  [[nodiscard]] bool is_read_from(std::string_view path) const {
    return std::any_of(files_.begin(), files_.end(), [&](const auto& file) { return file->is_at(path); });
  }
  /// All parts in their order; none for a view.
  [[nodiscard]] std::span<const std::shared_ptr<const MappedFile>> files() const { return files_; }
  /// The file that holds a tensor's bytes, for who needs them longer than this object lives; null for a view.
  [[nodiscard]] std::shared_ptr<const MappedFile> file_of(const std::byte* data) const {
    for (const auto& file : files_) {
      if (file->holds(data)) return file;
    }
    return nullptr;
  }

  // --- metadata (of the first part) ---
  /// Metadata in the order of the file.
  [[nodiscard]] std::span<const GgufValue> values() const { return part_.values; }
  /// The value of a key; null when there is none.
  [[nodiscard]] const GgufValue* find(std::string_view key) const {
    return detail::find_by_name(part_.values, part_.value_order, key, [](const GgufValue& v) { return v.key; });
  }

  /// A scalar as T: std::string_view, bool, any integer or floating type. Numbers convert where the value fits exactly
  /// (a whole f32 is an integer; 0 and 1 are bool); integers may lose bits on the way to a floating type.
  /// Errors: invalid_file (missing, an array, another type, does not fit).
  template <class T>
  [[nodiscard]] Result<T> get(std::string_view key) const {
    return no_throw([&]() -> Result<T> {
      const GgufValue* value = find(key);
      if (value == nullptr) return missing<T>(key);
      T out{};
      if (value->is_array || !convert(*value, value->bytes.data(), out)) return wrong_type<T>(*value);
      return out;
    });
  }
  /// As get(), with a value for a key that is not there. A key of the wrong type is still an error.
  template <class T>
  [[nodiscard]] Result<T> get_or(std::string_view key, T fallback) const {
    return find(key) == nullptr ? Result<T>(fallback) : get<T>(key);
  }
  /// An array with each element as T. Views of strings point into the file.
  /// Errors: invalid_file (missing, a scalar, an element of another type or that does not fit), out_of_memory.
  template <class T>
  [[nodiscard]] Result<std::vector<T>> get_array(std::string_view key) const {
    return no_throw([&]() -> Result<std::vector<T>> {
      const GgufValue* value = find(key);
      if (value == nullptr) return missing<T>(key);
      if (!value->is_array) return wrong_type<T>(*value, "array of ");
      std::vector<T> out;
      out.reserve(value->count);
      const std::byte* element = value->bytes.data();
      for (std::size_t i = 0; i < value->count; ++i) {
        T converted{};
        if (!convert(*value, element, converted)) return wrong_element<T>(*value, i);
        out.push_back(converted);
        element += element_bytes(*value, element);
      }
      return out;
    });
  }
  /// A value for each of `n` layers: a scalar counts for all of them, an array must have n elements.
  template <class T>
  [[nodiscard]] Result<std::vector<T>> get_per_layer(std::string_view key, std::size_t n) const {
    return no_throw([&]() -> Result<std::vector<T>> {
      const GgufValue* value = find(key);
      if (value == nullptr) return missing<T>(key);
      if (!value->is_array) {
        TRITIUM_ASSIGN(const T scalar, get<T>(key));
        return std::vector<T>(n, scalar);
      }
      if (value->count != n) {
        return make_error(Errc::invalid_file, "wrong number of values", where(key), concat(n, ", one for each layer"),
                          std::to_string(value->count));
      }
      return get_array<T>(key);
    });
  }

  // --- tensors (of all parts, in the order of the files) ---
  /// All tensors, part by part in the order of the files.
  [[nodiscard]] std::span<const GgufTensor> tensors() const { return tensors_; }
  /// The tensor of a name; null when there is none.
  [[nodiscard]] const GgufTensor* find_tensor(std::string_view tensor) const {
    return detail::find_by_name(tensors_, tensor_order_, tensor, [](const GgufTensor& t) { return t.name; });
  }

 private:
  GgufFile() = default;

  Status add_part(std::string_view path, FileAccess access) {
    TRITIUM_ASSIGN(MappedFile file, MappedFile::open(path, access));
    files_.push_back(std::make_shared<const MappedFile>(std::move(file)));
    const MappedFile& added = *files_.back();
    if (__builtin_add_overflow(file_bytes_, added.size(), &file_bytes_)) {
      return make_error(Errc::out_of_range, "model is too large", printable_path(path));
    }
    return read_part(added.bytes(), added.path());
  }

  Status read_part(std::span<const std::byte> bytes, std::string_view file) {
    detail::GgufHeaderReader reader(bytes, file, n_read_);
    if (n_read_ == 0) {
      TRITIUM_TRY(reader.read(part_, tensors_, bitnet_));
    } else {
      other_parts_.emplace_back();
      TRITIUM_TRY(reader.read(other_parts_.back(), tensors_, bitnet_));
    }
    ++n_read_;
    return {};
  }

  /// "NAME-00001-of-00003.gguf" -> the name of part `index` (from 0).
  static std::string part_path(std::string_view path, std::size_t suffix_at, std::size_t index, std::size_t n_parts) {
    char suffix[64];
    (void)std::snprintf(suffix, sizeof(suffix), "-%05zu-of-%05zu.gguf", index + 1, n_parts);
    return std::string(path.substr(0, suffix_at)) + suffix;
  }

  Status open_other_parts(std::size_t n_parts, FileAccess access) {
    const std::string first(path());
    if (n_parts > kGgufMaxParts) {
      return make_error(Errc::invalid_file, "too many parts", where("split.count"), concat("at most ", kGgufMaxParts),
                        std::to_string(n_parts));
    }
    TRITIUM_ASSIGN(const std::uint64_t number, get_or<std::uint64_t>("split.no", 0));
    if (number != 0) {
      return make_error(Errc::invalid_file, "not the first part of a split model", where("split.no"),
                        "the file of part 0, \"-00001-of-...\"", concat("part ", number));
    }
    constexpr std::size_t kSuffixBytes = std::string_view("-00001-of-00002.gguf").size();
    const std::size_t suffix_at = first.size() - std::min(first.size(), kSuffixBytes);
    const std::string expected = part_path(first, suffix_at, 0, n_parts);
    if (first != expected) {
      return make_error(Errc::invalid_file, "a split model needs its file names", printable_path(first),
                        concat("a name ending in ", expected.substr(suffix_at)),
                        printable_path(first.substr(suffix_at)));
    }
    for (std::size_t i = 1; i < n_parts; ++i) {
      TRITIUM_TRY(add_part(part_path(first, suffix_at, i, n_parts), access));
      const detail::GgufPart& part = other_parts_.back();
      const std::pair<std::string_view, std::size_t> expectations[] = {{"split.no", i}, {"split.count", n_parts}};
      for (const auto& [key, value] : expectations) {
        const GgufValue* found =
            detail::find_by_name(part.values, part.value_order, key, [](const GgufValue& v) { return v.key; });
        std::uint64_t number_found = 0;
        if (found == nullptr || found->is_array || !convert(*found, found->bytes.data(), number_found) ||
            number_found != value) {
          return make_error(Errc::invalid_file, "part does not belong to the split model",
                            concat(printable_path(files_.back()->path()), ", key \"", key, "\""), std::to_string(value),
                            found == nullptr ? std::string("nothing") : detail::describe(*found));
        }
      }
    }
    TRITIUM_ASSIGN(const std::uint64_t n_tensors, get_or<std::uint64_t>("split.tensors.count", tensors_.size()));
    if (n_tensors != tensors_.size()) {
      return make_error(Errc::invalid_file, "wrong number of tensors in the parts", where("split.tensors.count"),
                        std::to_string(n_tensors), std::to_string(tensors_.size()));
    }
    other_parts_.clear();  // only the first part's metadata counts
    return {};
  }

  Status index_tensors() {
    const auto name_of = [](const GgufTensor& tensor) { return tensor.name; };
    tensor_order_ = detail::order_by_name(tensors_, name_of);
    for (std::size_t i = 1; i < tensor_order_.size(); ++i) {
      const GgufTensor& tensor = tensors_[tensor_order_[i]];
      if (tensors_[tensor_order_[i - 1]].name != tensor.name) continue;
      return make_error(Errc::invalid_file, "duplicate tensor",
                        concat(printable_path(path()), ", tensor \"", printable(tensor.name), "\" name"),
                        "unique names", "it twice");
    }
    return {};
  }

  static std::size_t element_bytes(const GgufValue& value, const std::byte* element) {
    if (value.type != GgufType::string) return stored_bytes(value.type);
    return sizeof(std::uint64_t) + static_cast<std::size_t>(load_little_endian<std::uint64_t>(element));
  }

  template <class T>
  static bool convert(const GgufValue& value, const std::byte* element, T& out) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      if (value.type != GgufType::string) return false;
      out = {reinterpret_cast<const char*>(element + sizeof(std::uint64_t)),
             static_cast<std::size_t>(load_little_endian<std::uint64_t>(element))};
      return true;
    } else {
      static_assert(std::is_arithmetic_v<T>, "metadata is a string, a bool or a number");
      if (value.type == GgufType::string) return false;
      return detail::convert_number(detail::load_number(value.type, element), out);
    }
  }

  [[nodiscard]] std::string where(std::string_view key) const {
    return concat(printable_path(path()), ", key \"", printable(key), "\"");
  }
  template <class T>
  [[nodiscard]] Error missing(std::string_view key) const {
    return make_error(Errc::invalid_file, "metadata key is missing", where(key), detail::wanted_gguf_type<T>(),
                      "nothing");
  }
  template <class T>
  [[nodiscard]] Error wrong_type(const GgufValue& value, std::string_view prefix = {}) const {
    return make_error(Errc::invalid_file, "wrong metadata type", where(value.key),
                      std::string(prefix) + std::string(detail::wanted_gguf_type<T>()), detail::describe(value));
  }
  template <class T>
  [[nodiscard]] Error wrong_element(const GgufValue& value, std::size_t index) const {
    GgufValue element = value;
    element.is_array = false;
    element.bytes = value.bytes.subspan(value.type == GgufType::string ? 0 : index * stored_bytes(value.type));
    return make_error(Errc::invalid_file, "wrong metadata type", concat(where(value.key), " element ", index),
                      detail::wanted_gguf_type<T>(), detail::describe(element));
  }

  std::unique_ptr<const std::string> name_;
  std::vector<std::shared_ptr<const MappedFile>> files_;  // empty for a view
  detail::GgufPart part_;
  std::vector<detail::GgufPart> other_parts_;  // only while opening
  std::vector<GgufTensor> tensors_;
  std::vector<std::uint32_t> tensor_order_;
  std::size_t file_bytes_ = 0;
  std::uint32_t n_read_ = 0;
  detail::BitnetSigns bitnet_;
};

/// Writes a version 3 file: set metadata, add tensors, begin(path), append data in the order of the tensors, finish().
/// What it writes passes every check of GgufFile.
class GgufWriter {
 public:
  /// A scalar, stored with the type of the argument (std::uint32_t -> u32 and so on). "general.alignment" (u32) also
  /// sets the alignment of the file. Errors: invalid_argument (bad or repeated key, bad alignment, after begin()).
  template <class T>
    requires std::is_arithmetic_v<T>
  [[nodiscard]] Status set(std::string_view key, T value) {
    return add_entry(key, [&]() -> Status {
      if (key == "general.alignment") TRITIUM_TRY(adopt_alignment(type_of<T>(), static_cast<std::uint64_t>(value)));
      if (key == "general.file_type") {
        if constexpr (std::integral<T>) bitnet_ = bitnet_ || std::cmp_equal(as_integer(value), detail::kBitnetFileType);
      }
      put_number(header_, static_cast<std::uint32_t>(type_of<T>()));
      put_number(header_, value);
      return {};
    });
  }
  /// A string of at most 16 MiB.
  [[nodiscard]] Status set(std::string_view key, std::string_view value) {
    return add_entry(key, [&]() -> Status {
      if (key == "general.alignment") TRITIUM_TRY(adopt_alignment(GgufType::string, 0));
      if (key == "general.architecture") bitnet_ = bitnet_ || detail::is_bitnet_architecture(value);
      put_number(header_, static_cast<std::uint32_t>(GgufType::string));
      return put_string(key, value);
    });
  }
  /// An array of numbers, bools or strings (std::string or std::string_view), at most 16 Mi elements.
  template <class T>
  [[nodiscard]] Status set_array(std::string_view key, std::span<const T> values) {
    return add_entry(key, [&]() -> Status {
      TRITIUM_TRY(start_array(key, type_of<T>(), values.size()));
      for (const T& value : values) {
        if constexpr (std::is_arithmetic_v<T>) {
          put_number(header_, value);
        } else {
          TRITIUM_TRY(put_string(key, value));
        }
      }
      return {};
    });
  }
  /// An entry of another file, as it is stored there.
  [[nodiscard]] Status set(const GgufValue& value) {
    return add_entry(value.key, [&]() -> Status {
      if (value.key == "general.alignment") {
        if (value.is_array || value.type != GgufType::u32) return adopt_alignment(GgufType::array, 0);
        TRITIUM_TRY(adopt_alignment(value.type, load_little_endian<std::uint32_t>(value.bytes.data())));
      }
      const std::string_view stored(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
      if (value.is_array) {
        TRITIUM_TRY(start_array(value.key, value.type, value.count));
      } else {
        put_number(header_, static_cast<std::uint32_t>(value.type));
        if (value.key == "general.architecture" && value.type == GgufType::string) {
          bitnet_ = bitnet_ || detail::is_bitnet_architecture(stored.substr(sizeof(std::uint64_t)));
        }
        std::uint64_t number = 0;
        if (value.key == "general.file_type" &&
            detail::convert_number(detail::load_number(value.type, value.bytes.data()), number)) {
          bitnet_ = bitnet_ || number == detail::kBitnetFileType;
        }
      }
      header_ += stored;
      return {};
    });
  }

  /// Announces a tensor; its data follows in append(). dims: 1 to 4, fastest first (in, out for a matrix).
  /// Errors: invalid_argument (bad or repeated name, bad dims, a type GGUF does not have, after begin()).
  [[nodiscard]] Status add_tensor(std::string_view name, TensorType type, std::span<const std::uint64_t> dims) {
    return no_throw([&]() -> Status {
      const std::string where = concat("tensor \"", printable(name), "\"");
      if (begun_) return make_error(Errc::invalid_argument, "the GGUF header is already written", where);
      if (!detail::is_gguf_tensor_name(name)) {
        return make_error(Errc::invalid_argument, "bad tensor name", where, "1 to 64 bytes of UTF-8 without NUL",
                          concat(name.size(), " bytes"));
      }
      if (tensor_names_.size() >= kGgufMaxTensors || !tensor_names_.emplace(name).second) {
        return make_error(Errc::invalid_argument, "duplicate tensor, or too many", where);
      }
      if (dims.empty() || dims.size() > kGgufMaxDims) {
        return make_error(Errc::invalid_argument, "bad number of dimensions", where, "1 to 4",
                          std::to_string(dims.size()));
      }
      std::uint64_t elements = 1;
      for (const std::uint64_t dim : dims) {
        if (dim < 1 || dim > kGgufMaxDim || __builtin_mul_overflow(elements, dim, &elements) ||
            elements > kGgufMaxElements) {
          return make_error(Errc::invalid_argument, "bad dimension", where, "1 to 2^40 each, at most 2^46 elements",
                            std::to_string(dim));
        }
      }
      const TensorTypeInfo& type_info = info(type);
      if (type_info.gguf_id < 0) {
        return make_error(Errc::invalid_argument, "GGUF has no such tensor type", where, "a GGUF type", type_info.name);
      }
      TRITIUM_ASSIGN(const std::size_t bytes, tensor_bytes(type, elements / dims[0], dims[0]));
      Planned planned;
      planned.name = name;
      planned.type = type;
      planned.dims.assign(dims.begin(), dims.end());
      planned.bytes = bytes;
      tensors_.push_back(std::move(planned));
      return {};
    });
  }

  /// Creates the file and writes the header. Errors: invalid_argument (an I2_S tensor without the metadata that tells
  /// it apart), out_of_range (size past 64 bits), io.
  [[nodiscard]] Status begin(std::string_view path) {
    return no_throw([&]() -> Status {
      if (begun_) return make_error(Errc::invalid_argument, "the GGUF header is already written", printable_path(path));
      TRITIUM_ASSIGN(const Header header, make_header());
      TRITIUM_ASSIGN(file_, AtomicFileWriter::create(path));
      begun_ = true;
      TRITIUM_TRY(file_.reserve(header.file_bytes));
      TRITIUM_TRY(file_.write(header.head));
      TRITIUM_TRY(file_.write(header_));
      TRITIUM_TRY(file_.write(header.directory));
      return pad();
    });
  }

  /// The file as announced so far with zeros for data, in memory: for GgufFile::view(), to see what a reader would make
  /// of the metadata. Meant for a writer that has few tensors or none. Errors: as begin(), without io.
  [[nodiscard]] Result<std::string> blank() const {
    return no_throw([&]() -> Result<std::string> {
      TRITIUM_ASSIGN(const Header header, make_header());
      std::string bytes = concat(header.head, header_, header.directory);
      bytes.resize(header.file_bytes, '\0');
      return bytes;
    });
  }

  /// More bytes of `tensor`, which must be the first one that is not complete. A tensor's data may come in any pieces.
  /// Errors: invalid_argument (another tensor's turn, more bytes than it has), io.
  [[nodiscard]] Status append(std::string_view tensor, std::span<const std::byte> bytes) {
    if (!begun_ || current_ >= tensors_.size() || tensors_[current_].name != tensor) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, "tensor data out of order",
                          concat("tensor \"", printable(tensor), "\""),
                          !begun_                      ? "begin() first"
                          : current_ < tensors_.size() ? std::string_view(tensors_[current_].name)
                                                       : std::string_view("no more data"),
                          "this tensor");
      });
    }
    const std::size_t left = tensors_[current_].bytes - current_bytes_;
    if (bytes.size() > left) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, "too much tensor data", concat("tensor \"", printable(tensor), "\""),
                          concat("at most ", left, " more bytes"), std::to_string(bytes.size()));
      });
    }
    TRITIUM_TRY(file_.write(bytes));
    current_bytes_ += bytes.size();
    if (current_bytes_ < tensors_[current_].bytes) return {};
    ++current_;
    current_bytes_ = 0;
    return pad();
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
    TensorType type = TensorType::f32;
    std::vector<std::uint64_t> dims;
    std::size_t bytes = 0;
  };
  /// What stands around the metadata, and the size of it all.
  struct Header {
    std::string head;
    std::string directory;
    std::size_t file_bytes = 0;
  };

  Result<Header> make_header() const {
    Header header;
    header.head = "GGUF";
    put_number(header.head, std::uint32_t{3});
    put_number(header.head, static_cast<std::uint64_t>(tensors_.size()));
    put_number(header.head, static_cast<std::uint64_t>(keys_.size()));
    std::size_t offset = 0;
    for (const Planned& tensor : tensors_) {
      if (tensor.type == TensorType::i2_s && !bitnet_) {
        return make_error(Errc::invalid_argument, "an i2_s tensor needs a BitNet architecture or file type 40",
                          concat("tensor \"", printable(tensor.name), "\""));
      }
      put_number(header.directory, static_cast<std::uint64_t>(tensor.name.size()));
      header.directory += tensor.name;
      put_number(header.directory, static_cast<std::uint32_t>(tensor.dims.size()));
      for (const std::uint64_t dim : tensor.dims) put_number(header.directory, dim);
      put_number(header.directory, static_cast<std::uint32_t>(info(tensor.type).gguf_id));
      put_number(header.directory, static_cast<std::uint64_t>(offset));
      TRITIUM_ASSIGN(const std::size_t padded, checked_add(tensor.bytes, alignment_ - 1));
      TRITIUM_ASSIGN(offset, checked_add(offset, padded / alignment_ * alignment_));
    }
    const std::size_t bytes = header.head.size() + header_.size() + header.directory.size();
    TRITIUM_ASSIGN(header.file_bytes, checked_add(round_up(bytes, alignment_), offset));
    return header;
  }

  template <class T>
  static constexpr GgufType type_of() {
    if constexpr (std::is_same_v<T, bool>) {
      return GgufType::boolean;
    } else if constexpr (std::is_floating_point_v<T>) {
      static_assert(sizeof(T) == 4 || sizeof(T) == 8);
      return sizeof(T) == 4 ? GgufType::f32 : GgufType::f64;
    } else if constexpr (std::is_integral_v<T>) {
      constexpr std::array kUnsigned = {GgufType::u8, GgufType::u16, GgufType::u32, GgufType::u64};
      constexpr std::array kSigned = {GgufType::i8, GgufType::i16, GgufType::i32, GgufType::i64};
      constexpr auto kIndex = static_cast<std::size_t>(std::countr_zero(sizeof(T)));
      return std::is_signed_v<T> ? kSigned[kIndex] : kUnsigned[kIndex];
    } else {
      static_assert(std::is_convertible_v<const T&, std::string_view>);
      return GgufType::string;
    }
  }
  // std::cmp_equal takes neither bool nor character types.
  template <class T>
  static constexpr auto as_integer(T value) {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<std::int64_t>(value);
    } else {
      return static_cast<std::uint64_t>(value);
    }
  }

  template <class T>
  static void put_number(std::string& target, T value) {
    if constexpr (std::is_same_v<T, bool>) {
      target += static_cast<char>(value ? 1 : 0);
    } else {
      char bytes[sizeof(T)];
      std::memcpy(bytes, &value, sizeof(T));
      target.append(bytes, sizeof(T));
    }
  }

  Status put_string(std::string_view key, std::string_view value) {
    if (value.size() > kGgufMaxStringBytes) {
      return make_error(Errc::invalid_argument, "string is too long", concat("key \"", printable(key), "\""),
                        "at most 16 MiB", concat(value.size(), " bytes"));
    }
    put_number(header_, static_cast<std::uint64_t>(value.size()));
    header_ += value;
    return {};
  }

  Status start_array(std::string_view key, GgufType type, std::size_t count) {
    if (key == "general.alignment") return adopt_alignment(GgufType::array, 0);
    if (count > kGgufMaxArrayElements) {
      return make_error(Errc::invalid_argument, "array is too long", concat("key \"", printable(key), "\""),
                        "at most 16 Mi elements", std::to_string(count));
    }
    put_number(header_, static_cast<std::uint32_t>(GgufType::array));
    put_number(header_, static_cast<std::uint32_t>(type));
    put_number(header_, static_cast<std::uint64_t>(count));
    return {};
  }

  Status adopt_alignment(GgufType type, std::uint64_t value) {
    if (type != GgufType::u32 || !detail::is_gguf_alignment(value)) {
      return make_error(Errc::invalid_argument, "bad alignment", "key \"general.alignment\"",
                        "a u32, a power of two from 8 to 65536", concat(gguf_type_name(type), " ", value));
    }
    alignment_ = static_cast<std::size_t>(value);
    return {};
  }

  /// Writes the key, then body() writes type and value; a refused entry leaves no trace.
  template <class Body>
  Status add_entry(std::string_view key, Body&& body) {
    return no_throw([&]() -> Status {
      const std::string where = concat("key \"", printable(key), "\"");
      if (begun_) return make_error(Errc::invalid_argument, "the GGUF header is already written", where);
      if (!detail::is_gguf_key(key)) {
        return make_error(Errc::invalid_argument, "bad key", where, "1 to 65535 printable ASCII characters, no space",
                          concat(key.size(), " bytes"));
      }
      if (keys_.size() >= kGgufMaxKeys || !keys_.emplace(key).second) {
        return make_error(Errc::invalid_argument, "duplicate key, or too many", where);
      }
      struct Rollback {  // also when an allocation fails half-way
        GgufWriter& writer;
        std::string_view key;
        std::size_t size;
        bool done = false;
        ~Rollback() {
          if (done) return;
          writer.header_.resize(size);
          writer.keys_.erase(writer.keys_.find(key));
        }
      } entry{*this, key, header_.size()};
      put_number(header_, static_cast<std::uint64_t>(key.size()));
      header_ += key;
      TRITIUM_TRY(body());
      entry.done = true;
      return {};
    });
  }

  Status pad() { return file_.write_zeros(round_up(file_.size(), alignment_) - file_.size()); }

  std::string header_;  // the metadata entries as they will stand in the file
  std::set<std::string, std::less<>> keys_;
  std::set<std::string, std::less<>> tensor_names_;
  std::vector<Planned> tensors_;
  std::size_t alignment_ = kGgufDefaultAlignment;
  AtomicFileWriter file_;
  std::size_t current_ = 0;
  std::size_t current_bytes_ = 0;
  bool begun_ = false;
  bool bitnet_ = false;
};

TRITIUM_NAMESPACE_END
