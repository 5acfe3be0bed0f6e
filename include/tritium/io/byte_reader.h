// SPDX-License-Identifier: Apache-2.0
// ByteReader: the one checked way to take numbers and strings out of a file.
//
// A cursor that compares every size with the bytes that are left before it touches them, loads unaligned little-endian
// values, and describes a refusal with the file, the thing being read, the field and its offset. No reader of this
// library does pointer arithmetic of its own. Beside it: UTF-8 validity and the escaping of text from files for
// messages.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "tritium/core/status.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// One part of concat(): text, or a number that is yet to be spelled.
struct ConcatPart {
  template <class T>
  ConcatPart(const T& part) {  // NOLINT: implicit on purpose
    if constexpr (std::integral<T>) {
      is_number = true;
      if constexpr (std::is_signed_v<T>) is_negative = part < 0;
      magnitude = static_cast<std::uint64_t>(part);
      if (is_negative) magnitude = 0 - magnitude;
    } else {
      text = std::string_view(part);
    }
  }

  std::string_view text;
  std::uint64_t magnitude = 0;
  bool is_number = false;
  bool is_negative = false;
};

// One function for all kinds and numbers of parts: a hundred messages need not be a hundred functions.
TRITIUM_NOINLINE inline std::string concat_parts(std::initializer_list<ConcatPart> parts) {
  std::string out;
  for (const ConcatPart& part : parts) {
    if (part.is_negative) out += '-';
    if (part.is_number) {
      char digits[24];
      const char* end = std::to_chars(digits, digits + sizeof(digits), part.magnitude).ptr;
      out.append(digits, static_cast<std::size_t>(end - digits));
    } else {
      out.append(part.text);
    }
  }
  return out;
}

}  // namespace detail

/// The parts one behind the other: text as it is, integers in decimal.
template <class... Parts>
std::string concat(const Parts&... parts) {
  return detail::concat_parts({detail::ConcatPart(parts)...});
}

/// Length in bytes of the UTF-8 character at the start of `text`; 0 when the bytes are not valid there (overlong forms,
/// surrogates and values past U+10FFFF are not valid) or `text` is empty.
constexpr std::size_t utf8_character_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0u) == 0x80u; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return continues(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (!continues(1) || !continues(2)) return 0;
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;
    if (lead == 0xED && byte(1) >= 0xA0) return 0;
    return 3;
  }
  if (lead > 0xF4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;
  return 4;
}

/// Offset of the first byte of `text` that is not part of valid UTF-8; text.size() when all of it is valid.
constexpr std::size_t utf8_valid_prefix(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t length = utf8_character_length(text.substr(position));
    if (length == 0) break;
    position += length;
  }
  return position;
}
/// Whether all of `text` is UTF-8.
constexpr bool is_utf8(std::string_view text) { return utf8_valid_prefix(text) == text.size(); }

/// `text` fit for one line of a message: control characters and bytes that are not UTF-8 become \xNN, a backslash is
/// doubled, and what is longer than about `max_bytes` ends in "...".
inline std::string printable(std::string_view text, std::size_t max_bytes = 96) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  std::size_t position = 0;
  while (position < text.size()) {
    if (out.size() >= max_bytes) {
      out += "...";
      break;
    }
    const std::size_t length = utf8_character_length(text.substr(position));
    const auto lead = static_cast<unsigned char>(text[position]);
    const bool c1_control = length == 2 && lead == 0xC2 && static_cast<unsigned char>(text[position + 1]) < 0xA0;
    if (length == 0 || lead < 0x20 || lead == 0x7F || c1_control) {
      const std::size_t escaped = length == 0 ? 1 : length;
      for (std::size_t i = 0; i < escaped; ++i) {
        const auto byte = static_cast<unsigned char>(text[position + i]);
        out += "\\x";
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
      }
      position += escaped;
      continue;
    }
    if (lead == '\\') out += '\\';
    out.append(text, position, length);
    position += length;
  }
  return out;
}

/// A path fit for a message: as printable(), but long enough for any path.
inline std::string printable_path(std::string_view path) { return printable(path, 4096); }

/// A little-endian T from any address.
template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
inline T load_little_endian(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

/// A cursor over bytes that somebody else owns; a read past the end is an error, never a crash.
class ByteReader {
 public:
  /// Reads `bytes`, which came from `file` (a path for messages). Both must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  [[nodiscard]] std::size_t position() const { return position_; }                   ///< Bytes read so far.
  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - position_; }  ///< Bytes left.
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }                   ///< Bytes in all.
  [[nodiscard]] std::string_view file() const { return file_; }                      ///< The name that errors tell.

  /// What the following fields belong to, for messages: `key "general.name"`. Views, not copies; empty for none.
  void set_context(std::string_view kind, std::string_view name) {
    kind_ = kind;
    name_ = name;
  }

  /// The next sizeof(T) bytes as a little-endian T. Errors: invalid_file (fewer are left).
  template <class T>
  Result<T> read(std::string_view field) {
    if (remaining() < sizeof(T)) return ends_early(field, sizeof(T));
    const T value = load_little_endian<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  /// The next `count` bytes in place. Errors: invalid_file (fewer are left).
  Result<std::span<const std::byte>> read_bytes(std::size_t count, std::string_view field) {
    if (remaining() < count) return ends_early(field, count);
    const std::span<const std::byte> taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  /// A u64 that counts records of at least `record_bytes` (> 0) each, which follow it. Passing both checks means that
  /// memory in proportion to the count is in proportion to bytes that are really there.
  /// Errors: invalid_file (more than `limit`, or more than the bytes left can hold).
  Result<std::size_t> read_count(std::string_view field, std::size_t limit, std::size_t record_bytes) {
    const std::size_t start = position_;
    TRITIUM_ASSIGN(const std::uint64_t count, read<std::uint64_t>(field));
    TRITIUM_TRY(check_count(count, start, field, limit, record_bytes));
    return static_cast<std::size_t>(count);
  }

  /// The check of read_count() for a count that was read earlier, at `start`: its records begin at position().
  Status check_count(std::uint64_t count, std::size_t start, std::string_view field, std::size_t limit,
                     std::size_t record_bytes) const {
    if (count > limit) {
      return error_at(start, Errc::invalid_file, "count past the limit", field, concat("at most ", limit),
                      std::to_string(count));
    }
    if (count > remaining() / record_bytes) {
      return error_at(start, Errc::invalid_file, "file ends too early", field,
                      concat("at most ", remaining() / record_bytes, " in the bytes left"), std::to_string(count));
    }
    return {};
  }

  /// A string stored as a u64 length and that many bytes, in place.
  /// Errors: invalid_file (shorter than `least`, longer than `most`, or longer than the bytes left).
  Result<std::string_view> read_string(std::string_view field, std::size_t least, std::size_t most) {
    const std::size_t start = position_;
    if (remaining() < sizeof(std::uint64_t)) return ends_early(field, sizeof(std::uint64_t));
    const auto length = load_little_endian<std::uint64_t>(bytes_.data() + position_);
    if (length < least || length > most) {
      return error_at(start, Errc::invalid_file, "bad string length", field, concat(least, " to ", most, " bytes"),
                      std::to_string(length));
    }
    position_ += sizeof(std::uint64_t);
    if (length > remaining()) {
      Error error = ends_early(field, static_cast<std::size_t>(length));
      position_ = start;
      return error;
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + position_),
                                static_cast<std::size_t>(length));
    position_ += text.size();
    return text;
  }

  /// "WHAT (FILE, CONTEXT FIELD at byte OFFSET: expected EXPECTED, found FOUND)".
  [[nodiscard]] Error error_at(std::size_t offset, Errc code, std::string_view what, std::string_view field,
                               std::string_view expected, std::string_view found) const {
    std::string where = printable_path(file_);
    where += ", ";
    if (!kind_.empty()) {
      where.append(kind_).append(" \"").append(printable(name_)).append("\" ");
    }
    where.append(field).append(" at byte ").append(std::to_string(offset));
    return make_error(code, what, where, expected, found);
  }

 private:
  [[nodiscard]] Error ends_early(std::string_view field, std::size_t wanted) const {
    return error_at(position_, Errc::invalid_file, "file ends too early", field, concat(wanted, " bytes"),
                    std::to_string(remaining()));
  }

  std::span<const std::byte> bytes_;
  std::string_view file_;
  std::string_view kind_;
  std::string_view name_;
  std::size_t position_ = 0;
};

TRITIUM_NAMESPACE_END
