// SPDX-License-Identifier: Apache-2.0
// UTF-8: strict decoding and encoding, code point classes, streaming of whole code points, safe printing.
//
// Everything that the tokenizers know about Unicode is here. Decoding is strict (no overlong forms, no surrogates,
// nothing above U+10FFFF); a byte that starts no well-formed sequence is one invalid unit, so that callers can route it
// to byte pieces without losing it. Classes come from utf8proc's category table, one byte of flags a code point, and
// from an immediate table for ASCII, since most text is ASCII and the splitters ask for the class of every character.
#pragma once

#include <utf8proc.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "tritium/core/status.h"

TRITIUM_NAMESPACE_BEGIN

/// One unit of a byte string: a code point, or a single byte that belongs to none.
struct CodePoint {
  char32_t value = 0;       ///< U+FFFD when not valid
  std::uint8_t length = 0;  ///< bytes taken, 1 when not valid
  bool valid = false;       ///< whether the bytes are UTF-8
};

/// The unit at the start of `text`, which must not be empty.
inline CodePoint decode_utf8(std::string_view text) {
  TRITIUM_ASSUME(!text.empty());
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto trail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead >= 0xC2 && lead <= 0xDF && trail(1)) {
    return {static_cast<char32_t>((lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu)), 2, true};
  }
  if ((lead & 0xF0) == 0xE0 && trail(1) && trail(2)) {
    const auto value = static_cast<char32_t>((lead & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu));
    if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) return {value, 3, true};
  }
  if (lead >= 0xF0 && lead <= 0xF4 && trail(1) && trail(2) && trail(3)) {
    const auto value = static_cast<char32_t>((lead & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
                                             (byte(3) & 0x3Fu));
    if (value >= 0x10000 && value <= 0x10FFFF) return {value, 4, true};
  }
  return {0xFFFD, 1, false};
}

/// Appends the UTF-8 form of a scalar value; surrogates and values above U+10FFFF become U+FFFD.
inline void append_utf8(char32_t value, std::string& out) {
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) value = 0xFFFD;
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

/// Bytes of the longest well-formed start of `text`.
inline std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (text.size() - at >= 8) {  // eight ASCII bytes at a time
      std::uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const CodePoint unit = decode_utf8(text.substr(at));
    if (!unit.valid) return at;
    at += unit.length;
  }
  return at;
}
/// Whether all of `text` is UTF-8.
inline bool is_valid_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

/// Bytes of the invalid units at the start of `text`.
inline std::size_t invalid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && !decode_utf8(text.substr(at)).valid) ++at;
  return at;
}

/// Unicode's White_Space property: what \s means in every pre-tokenizer.
constexpr bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Flags of a code point: the general categories that pre-tokenizers ask for.
enum CharClass : std::uint8_t {
  kLetter = 1,   ///< L
  kNumber = 2,   ///< N
  kSpace = 4,    ///< White_Space
  kMark = 8,     ///< M
  kPunct = 16,   ///< P
  kSymbol = 32,  ///< S
  kUpper = 64,   ///< Lu or Lt; set beside kLetter
  kLower = 128,  ///< Ll; set beside kLetter. A letter with neither is Lm or Lo
};

namespace detail {
inline std::uint8_t class_of_category(int category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return kLetter | kUpper;
    case UTF8PROC_CATEGORY_LL: return kLetter | kLower;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return kPunct;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return kSymbol;
    default: return 0;
  }
}
constexpr std::array<std::uint8_t, 128> make_ascii_classes() {
  std::array<std::uint8_t, 128> table{};
  for (std::size_t c = 0; c < 128; ++c) {
    if (c >= 'A' && c <= 'Z') table[c] = kLetter | kUpper;
    else if (c >= 'a' && c <= 'z') table[c] = kLetter | kLower;
    else if (c >= '0' && c <= '9') table[c] = kNumber;
    else if (c == ' ' || (c >= 9 && c <= 13)) table[c] = kSpace;
    else if (c == '$' || c == '+' || (c >= '<' && c <= '>') || c == '^' || c == '`' || c == '|' || c == '~')
      table[c] = kSymbol;
    else if (c > ' ' && c < 127) table[c] = kPunct;
  }
  return table;
}
inline constexpr std::array<std::uint8_t, 128> kAsciiClasses = make_ascii_classes();
}  // namespace detail

/// The CharClass flags of a code point.
inline std::uint8_t char_class(char32_t c) {
  if (c < 0x80) return detail::kAsciiClasses[c];
  if (c > 0x10FFFF) return 0;
  if (is_white_space(c)) return kSpace;
  return detail::class_of_category(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->category);
}

/// A character of words, \w: letters, marks, digits, connectors, and the symbols that count as letters.
inline bool is_word_character(char32_t c) {
  if (c < 0x80) return (detail::kAsciiClasses[c] & (kLetter | kNumber)) != 0 || c == '_';
  if (c > 0x10FFFF) return false;
  const int category = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->category;
  if (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC)
    return true;
  return (detail::class_of_category(category) & (kLetter | kMark)) != 0 || c == 0x200C || c == 0x200D ||
         (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

/// Turns a stream of bytes, cut anywhere, into a stream of whole code points.
///
/// Bytes that can still become a code point (three at most) are held back; a byte that cannot is, as the policy says,
/// replaced by U+FFFD (one for each maximal ill-formed part, as browsers do) or passed on as it is.
class Utf8Stream {
 public:
  /// What becomes of a byte that is no UTF-8.
  enum class Invalid : std::uint8_t { replace, keep };
  /// A stream that has seen nothing yet.
  explicit Utf8Stream(Invalid policy = Invalid::replace) : policy_(policy) {}

  /// Appends to `out` whatever `bytes` completes.
  void push(std::string_view bytes, std::string& out) {
    std::string joined;
    std::string_view text = bytes;
    if (held_size_ != 0) {
      joined.reserve(held_size_ + bytes.size());
      joined.append(held_.data(), held_size_).append(bytes);
      text = joined;
      held_size_ = 0;
    }
    while (!text.empty()) {
      const std::size_t good = valid_utf8_prefix(text);
      out.append(text.substr(0, good));
      text.remove_prefix(good);
      if (text.empty()) return;
      const std::size_t part = ill_formed_part(text);
      if (part == text.size() && could_continue(text)) {
        std::memcpy(held_.data(), text.data(), text.size());
        held_size_ = text.size();
        return;
      }
      emit_invalid(text.substr(0, part), out);
      text.remove_prefix(part);
    }
  }
  /// Ends the stream: what was held back is incomplete for good and goes out by the policy.
  void finish(std::string& out) {
    if (held_size_ != 0) emit_invalid(std::string_view(held_.data(), held_size_), out);
    held_size_ = 0;
  }
  [[nodiscard]] std::size_t held() const { return held_size_; }  ///< Bytes held back.

 private:
  // Length that a lead byte announces, 0 for a byte that leads nothing.
  static std::size_t announced(unsigned char lead) {
    return lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
  }
  // The second byte decides about overlong forms, surrogates and the upper end.
  static bool second_fits(unsigned char lead, unsigned char second) {
    switch (lead) {
      case 0xE0: return second >= 0xA0 && second <= 0xBF;
      case 0xED: return second >= 0x80 && second <= 0x9F;
      case 0xF0: return second >= 0x90 && second <= 0xBF;
      case 0xF4: return second >= 0x80 && second <= 0x8F;
      default: return (second & 0xC0) == 0x80;
    }
  }
  // Bytes of the maximal ill-formed part at the start: a lead with the trail bytes that still fitted, or one byte.
  static std::size_t ill_formed_part(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t wanted = announced(lead);
    std::size_t length = 1;
    while (length < wanted && length < text.size()) {
      const auto next = static_cast<unsigned char>(text[length]);
      if (length == 1 ? !second_fits(lead, next) : (next & 0xC0) != 0x80) break;
      ++length;
    }
    return length;
  }
  static bool could_continue(std::string_view text) {
    return text.size() < announced(static_cast<unsigned char>(text[0]));
  }
  void emit_invalid(std::string_view part, std::string& out) const {
    if (policy_ == Invalid::keep) {
      out.append(part);
    } else {
      out.append("\xEF\xBF\xBD");
    }
  }

  Invalid policy_;
  std::array<char, 4> held_{};
  std::size_t held_size_ = 0;
};

/// `text` made safe for a terminal or a log: control characters, invisible direction marks and broken bytes become
/// escapes (\n, \t, \x1b, \u{202e}); a backslash is doubled. Cut after `limit` bytes of output, with "..." behind.
inline std::string escape_control(std::string_view text, std::size_t limit = 4096) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) {
      out.append("...");
      break;
    }
    const CodePoint unit = decode_utf8(text);
    const char32_t c = unit.value;
    if (!unit.valid || c < 0x20 || c == 0x7F || c == '\\') {
      const auto byte = static_cast<unsigned char>(text[0]);
      if (c == '\n') out.append("\\n");
      else if (c == '\r') out.append("\\r");
      else if (c == '\t') out.append("\\t");
      else if (c == '\\') out.append("\\\\");
      else out.append("\\x").append({kHex[byte >> 4], kHex[byte & 15]});
    } else if ((c >= 0x80 && c < 0xA0) || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF) {
      out.append("\\u{");
      for (int shift = c > 0xFF ? 12 : 4; shift >= 0; shift -= 4) out.push_back(kHex[c >> shift & 15]);
      out.append("}");
    } else {
      out.append(text.substr(0, unit.length));
    }
    text.remove_prefix(unit.length);
  }
  return out;
}

/// escape_control() between quotation marks, for messages.
inline std::string in_quotes(std::string_view text, std::size_t limit = 60) {
  std::string out(1, '"');
  out.append(escape_control(text, limit));
  out.push_back('"');
  return out;
}

TRITIUM_NAMESPACE_END
