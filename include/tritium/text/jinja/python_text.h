// SPDX-License-Identifier: Apache-2.0
// What Python's str and float do, on UTF-8: code points, character classes, full case mapping, repr, number text.
//
// Templates are written against Python, so a template prints what Python would print: 1e+16, 'it''s' with the quotes
// that repr picks, "\u00df".upper() as SS. Categories and simple case come from utf8proc; the few classes and mappings
// that it does not carry (Unicode's SpecialCasing, Other_Lowercase, Numeric_Type) are the small tables here.
// Source: docs.python.org/3/library/stdtypes.html and the Unicode Character Database.
#pragma once

#include <utf8proc.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

// --- UTF-8 -----------------------------------------------------------------------------------------------------------

/// Bytes of the sequence that starts with `lead`; the text is known to be valid.
inline std::size_t utf8_size(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte < 0x80) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

/// Code points of valid UTF-8.
inline std::size_t utf8_length(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u ? 1u : 0u;
  return count;
}

/// The code point at byte `at` of valid UTF-8.
inline char32_t utf8_decode(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  switch (utf8_size(text[at])) {
    case 1: return byte(0);
    case 2: return ((byte(0) & 0x1F) << 6) | (byte(1) & 0x3F);
    case 3: return ((byte(0) & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F);
    default: return ((byte(0) & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F);
  }
}

/// Writes `c` as UTF-8 and returns its size.
inline std::size_t utf8_encode(char32_t c, char* out) {
  const auto put = [&](std::size_t i, char32_t bits) { out[i] = static_cast<char>(static_cast<unsigned char>(bits)); };
  if (c < 0x80) {
    put(0, c);
    return 1;
  }
  if (c < 0x800) {
    put(0, 0xC0 | (c >> 6));
    put(1, 0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    put(0, 0xE0 | (c >> 12));
    put(1, 0x80 | ((c >> 6) & 0x3F));
    put(2, 0x80 | (c & 0x3F));
    return 3;
  }
  put(0, 0xF0 | (c >> 18));
  put(1, 0x80 | ((c >> 12) & 0x3F));
  put(2, 0x80 | ((c >> 6) & 0x3F));
  put(3, 0x80 | (c & 0x3F));
  return 4;
}

inline void append_utf8(std::string& out, char32_t c) {
  char bytes[4];
  out.append(bytes, utf8_encode(c, bytes));
}

/// Whether `text` is UTF-8 without overlong forms, surrogates or values past U+10FFFF.
inline bool utf8_valid(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t size = lead >= 0xC2 && lead < 0xE0   ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
    if (size == 0 || size > text.size() - i) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0u) != 0x80u) return false;
    }
    const char32_t c = utf8_decode(text, i);
    if ((size == 3 && c < 0x800) || (size == 4 && c < 0x10000) || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
      return false;
    i += size;
  }
  return true;
}

// --- character classes -----------------------------------------------------------------------------------------------

namespace detail {

struct CodeRange {
  char32_t first;
  char32_t last;
};

template <std::size_t N>
bool in_ranges(const CodeRange (&ranges)[N], char32_t c) {
  for (const CodeRange& r : ranges) {
    if (c <= r.last) return c >= r.first;
  }
  return false;
}

// Lowercase letters outside category Ll, uppercase ones outside Lu.
inline constexpr CodeRange kOtherLowercase[] = {
    {0xAA, 0xAA},     {0xBA, 0xBA},     {0x2B0, 0x2B8},     {0x2C0, 0x2C1},     {0x2E0, 0x2E4},     {0x345, 0x345},
    {0x37A, 0x37A},   {0x1D2C, 0x1D6A}, {0x1D78, 0x1D78},   {0x1D9B, 0x1DBF},   {0x2071, 0x2071},   {0x207F, 0x207F},
    {0x2090, 0x209C}, {0x2170, 0x217F}, {0x24D0, 0x24E9},   {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},
    {0xA7F8, 0xA7F9}, {0xAB5C, 0xAB5F}, {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}};
inline constexpr CodeRange kOtherUppercase[] = {
    {0x2160, 0x216F}, {0x24B6, 0x24CF}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
// Digits that are not decimal: superscripts, circled digits and their like.
inline constexpr CodeRange kOtherDigit[] = {
    {0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
    {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
    {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
    {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
// Ideographs that are numbers.
inline constexpr char32_t kNumericIdeographs[] = {
    0x3405,  0x3483,  0x382A,  0x3B4D,  0x4E00,  0x4E03,  0x4E07,  0x4E09,  0x4E5D,  0x4E8C,  0x4E94,  0x4E96,
    0x4EBF,  0x4EC0,  0x4EDF,  0x4EE8,  0x4F0D,  0x4F70,  0x5104,  0x5146,  0x5169,  0x516B,  0x516D,  0x5341,
    0x5343,  0x5344,  0x5345,  0x534C,  0x53C1,  0x53C2,  0x53C3,  0x53C4,  0x56DB,  0x58F1,  0x58F9,  0x5E7A,
    0x5EFE,  0x5EFF,  0x5F0C,  0x5F0D,  0x5F0E,  0x5F10,  0x62FE,  0x634C,  0x67D2,  0x6F06,  0x7396,  0x767E,
    0x8086,  0x842C,  0x8CAE,  0x8CB3,  0x8D30,  0x9621,  0x9646,  0x964C,  0x9678,  0x96F6,  0xF96B,  0xF973,
    0xF978,  0xF9B2,  0xF9D1,  0xF9D3,  0xF9FD,  0x20001, 0x20064, 0x200E2, 0x20121, 0x2092A, 0x20983, 0x2098C,
    0x2099C, 0x20AEA, 0x20AFD, 0x20B19, 0x22390, 0x22998, 0x23B1B, 0x2626D, 0x2F890};

inline utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

}  // namespace detail

/// str.isspace, also the `\s` of Python's regular expressions.
inline bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}
/// Where str.splitlines splits.
inline bool is_line_break(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}
inline bool is_alpha(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto k = detail::category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
inline bool is_decimal(char32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : detail::category(c) == UTF8PROC_CATEGORY_ND;
}
inline bool is_digit(char32_t c) { return is_decimal(c) || (c >= 0x80 && detail::in_ranges(detail::kOtherDigit, c)); }
inline bool is_numeric(char32_t c) {
  if (c < 0x80) return is_decimal(c);
  const auto k = detail::category(c);
  if (k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO) return true;
  for (const char32_t ideograph : detail::kNumericIdeographs) {
    if (ideograph == c) return true;
  }
  return false;
}
inline bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
inline bool is_lower(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return detail::category(c) == UTF8PROC_CATEGORY_LL || detail::in_ranges(detail::kOtherLowercase, c);
}
inline bool is_upper(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return detail::category(c) == UTF8PROC_CATEGORY_LU || detail::in_ranges(detail::kOtherUppercase, c);
}
inline bool is_title(char32_t c) { return c >= 0x80 && detail::category(c) == UTF8PROC_CATEGORY_LT; }
inline bool is_cased(char32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }
/// Characters that Unicode skips when it looks for the end of a word in casing.
inline bool is_case_ignorable(char32_t c) {
  switch (c) {
    case 0x27:
    case 0x2E:
    case 0x3A:
    case 0xB7:
    case 0x387:
    case 0x55F:
    case 0x5F4:
    case 0x2018:
    case 0x2019:
    case 0x2024:
    case 0x2027:
    case 0xFE13:
    case 0xFE52:
    case 0xFE55:
    case 0xFF07:
    case 0xFF0E:
    case 0xFF1A: return true;
    default: break;
  }
  const auto k = detail::category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
         k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}
/// Whether repr shows the character itself.
inline bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  switch (detail::category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}
/// First character of an identifier (XID_Start and the underscore).
inline bool is_name_start(char32_t c) {
  return c == '_' || is_alpha(c) || (c >= 0x80 && detail::category(c) == UTF8PROC_CATEGORY_NL);
}
/// Later characters of an identifier (XID_Continue).
inline bool is_name_part(char32_t c) {
  if (is_name_start(c) || is_decimal(c)) return true;
  if (c < 0x80) return false;
  const auto k = detail::category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC || c == 0xB7 || c == 0x387;
}

// --- case ------------------------------------------------------------------------------------------------------------

/// Up to three code points that one becomes.
struct Mapped {
  std::array<char32_t, 3> points{};
  std::size_t count = 0;
};

namespace detail {

struct SpecialUpper {
  char32_t from;
  char32_t to[3];
};
// Unicode's SpecialCasing: characters whose upper case is longer than one character.
inline constexpr SpecialUpper kSpecialUpper[] = {
    {0xDF, {0x53, 0x53, 0}},         {0x149, {0x2BC, 0x4E, 0}},       {0x1F0, {0x4A, 0x30C, 0}},
    {0x390, {0x399, 0x308, 0x301}},  {0x3B0, {0x3A5, 0x308, 0x301}},  {0x587, {0x535, 0x552, 0}},
    {0x1E96, {0x48, 0x331, 0}},      {0x1E97, {0x54, 0x308, 0}},      {0x1E98, {0x57, 0x30A, 0}},
    {0x1E99, {0x59, 0x30A, 0}},      {0x1E9A, {0x41, 0x2BE, 0}},      {0x1F50, {0x3A5, 0x313, 0}},
    {0x1F52, {0x3A5, 0x313, 0x300}}, {0x1F54, {0x3A5, 0x313, 0x301}}, {0x1F56, {0x3A5, 0x313, 0x342}},
    {0x1FB2, {0x1FBA, 0x399, 0}},    {0x1FB3, {0x391, 0x399, 0}},     {0x1FB4, {0x386, 0x399, 0}},
    {0x1FB6, {0x391, 0x342, 0}},     {0x1FB7, {0x391, 0x342, 0x399}}, {0x1FBC, {0x391, 0x399, 0}},
    {0x1FC2, {0x1FCA, 0x399, 0}},    {0x1FC3, {0x397, 0x399, 0}},     {0x1FC4, {0x389, 0x399, 0}},
    {0x1FC6, {0x397, 0x342, 0}},     {0x1FC7, {0x397, 0x342, 0x399}}, {0x1FCC, {0x397, 0x399, 0}},
    {0x1FD2, {0x399, 0x308, 0x300}}, {0x1FD3, {0x399, 0x308, 0x301}}, {0x1FD6, {0x399, 0x342, 0}},
    {0x1FD7, {0x399, 0x308, 0x342}}, {0x1FE2, {0x3A5, 0x308, 0x300}}, {0x1FE3, {0x3A5, 0x308, 0x301}},
    {0x1FE4, {0x3A1, 0x313, 0}},     {0x1FE6, {0x3A5, 0x342, 0}},     {0x1FE7, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x399, 0}},    {0x1FF3, {0x3A9, 0x399, 0}},     {0x1FF4, {0x38F, 0x399, 0}},
    {0x1FF6, {0x3A9, 0x342, 0}},     {0x1FF7, {0x3A9, 0x342, 0x399}}, {0x1FFC, {0x3A9, 0x399, 0}},
    {0xFB00, {0x46, 0x46, 0}},       {0xFB01, {0x46, 0x49, 0}},       {0xFB02, {0x46, 0x4C, 0}},
    {0xFB03, {0x46, 0x46, 0x49}},    {0xFB04, {0x46, 0x46, 0x4C}},    {0xFB05, {0x53, 0x54, 0}},
    {0xFB06, {0x53, 0x54, 0}},       {0xFB13, {0x544, 0x546, 0}},     {0xFB14, {0x544, 0x535, 0}},
    {0xFB15, {0x544, 0x53B, 0}},     {0xFB16, {0x54E, 0x546, 0}},     {0xFB17, {0x544, 0x53D, 0}}};

inline Mapped one(utf8proc_int32_t c) { return {{static_cast<char32_t>(c), 0, 0}, 1}; }

inline bool special_upper(char32_t c, Mapped& out) {
  if (c >= 0x1F80 && c < 0x1FB0) {  // Greek with iota subscript: the capital, then a capital iota
    const char32_t block = c < 0x1F90 ? 0x1F08 : c < 0x1FA0 ? 0x1F28 : 0x1F68;
    out = {{block + (c & 7), 0x399, 0}, 2};
    return true;
  }
  for (const SpecialUpper& s : kSpecialUpper) {
    if (s.from > c) return false;
    if (s.from == c) {
      out = {{s.to[0], s.to[1], s.to[2]}, s.to[2] != 0 ? 3u : 2u};
      return true;
    }
  }
  return false;
}

}  // namespace detail

inline Mapped to_upper(char32_t c) {
  if (c < 0x80) return detail::one(static_cast<utf8proc_int32_t>(c >= 'a' && c <= 'z' ? c - 32 : c));
  Mapped special;
  if (detail::special_upper(c, special)) return special;
  return detail::one(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

/// Lower case without the context rule of the final sigma, which `append_lower` adds.
inline Mapped to_lower(char32_t c) {
  if (c < 0x80) return detail::one(static_cast<utf8proc_int32_t>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  if (c == 0x130) return {{0x69, 0x307, 0}, 2};
  return detail::one(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

inline Mapped to_title(char32_t c) {
  if (c < 0x80) return to_upper(c);
  const bool simple = (c >= 0x1F80 && c < 0x1FB0) || c == 0x1FB3 || c == 0x1FBC || c == 0x1FC3 || c == 0x1FCC ||
                      c == 0x1FF3 || c == 0x1FFC;
  Mapped mapped;
  if (simple || !detail::special_upper(c, mapped))
    return detail::one(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  for (std::size_t i = 1; i < mapped.count && c != 0x149; ++i) {
    const bool subscript = mapped.points[i] == 0x399 && c >= 0x1F00;
    mapped.points[i] = subscript ? 0x345 : to_lower(mapped.points[i]).points[0];
  }
  return mapped;
}

/// Lower case of the code point at byte `at`: a capital sigma at the end of a word becomes a final one.
inline Mapped to_lower_at(std::string_view text, std::size_t at) {
  const char32_t c = utf8_decode(text, at);
  if (c != 0x3A3) return to_lower(c);
  bool before = false;
  for (std::size_t i = at; i > 0;) {
    do --i;
    while ((static_cast<unsigned char>(text[i]) & 0xC0u) == 0x80u);
    const char32_t p = utf8_decode(text, i);
    if (is_case_ignorable(p)) continue;
    before = is_cased(p);
    break;
  }
  bool after = false;
  for (std::size_t i = at + utf8_size(text[at]); before && i < text.size(); i += utf8_size(text[i])) {
    const char32_t n = utf8_decode(text, i);
    if (is_case_ignorable(n)) continue;
    after = is_cased(n);
    break;
  }
  return detail::one(before && !after ? 0x3C2 : 0x3C3);
}

inline std::string lower_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); i += utf8_size(text[i])) {
    const Mapped m = to_lower_at(text, i);
    for (std::size_t k = 0; k < m.count; ++k) append_utf8(out, m.points[k]);
  }
  return out;
}

// --- numbers as text -------------------------------------------------------------------------------------------------

/// Decimal digits of |value| without point, and the power of ten of the first one: value = 0.d1d2d3... * 10^point.
struct Decimal {
  std::string digits;
  int point = 0;
};

namespace detail {
inline Decimal parse_scientific(std::string_view text) {  // d[.ddd]e[+-]dd
  Decimal out;
  const std::size_t e = text.find('e');
  for (const char c : text.substr(0, e)) {
    if (c != '.') out.digits.push_back(c);
  }
  std::string_view exponent = text.substr(e + 1);
  if (!exponent.empty() && exponent[0] == '+') exponent.remove_prefix(1);
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), out.point);
  ++out.point;
  return out;
}
}  // namespace detail

/// The fewest digits that read back as `value`; finite values only.
inline Decimal shortest_digits(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(value), std::chars_format::scientific).ptr;
  return detail::parse_scientific({buffer, static_cast<std::size_t>(end - buffer)});
}

/// `count` >= 1 significant digits, correctly rounded; finite values only.
inline Decimal significant_digits(double value, int count) {
  std::string buffer(static_cast<std::size_t>(count) + 32, '\0');
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value),
                                 std::chars_format::scientific, count - 1)
                       .ptr;
  return detail::parse_scientific({buffer.data(), static_cast<std::size_t>(end - buffer.data())});
}

/// |value| with `decimals` >= 0 digits after the point, correctly rounded; finite values only.
inline std::string fixed_digits(double value, int decimals) {
  std::string buffer(static_cast<std::size_t>(decimals) + 330, '\0');
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value), std::chars_format::fixed, decimals)
          .ptr;
  buffer.resize(static_cast<std::size_t>(end - buffer.data()));
  return buffer;
}

/// `e+05`: a sign and at least two digits.
inline std::string exponent_text(int exponent) {
  std::string digits = std::to_string(exponent < 0 ? -exponent : exponent);
  if (digits.size() < 2) digits.insert(0, 1, '0');
  return std::string("e") + (exponent < 0 ? '-' : '+') + digits;
}

/// Digits with the point in place: plain notation.
inline std::string place_point(const Decimal& d) {
  const int size = static_cast<int>(d.digits.size());
  if (d.point <= 0) return "0." + std::string(static_cast<std::size_t>(-d.point), '0') + d.digits;
  if (d.point >= size) return d.digits + std::string(static_cast<std::size_t>(d.point - size), '0');
  return d.digits.substr(0, static_cast<std::size_t>(d.point)) + '.' +
         d.digits.substr(static_cast<std::size_t>(d.point));
}

/// repr(float): shortest round trip, 1.0, 1e+16, inf, nan.
inline std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  std::string out = std::signbit(value) ? "-" : "";
  if (std::isinf(value)) return out + "inf";
  const Decimal d = shortest_digits(value);
  const int exponent = d.point - 1;
  if (exponent >= -4 && exponent < 16) {
    out += place_point(d);
    if (d.point >= static_cast<int>(d.digits.size())) out += ".0";
    return out;
  }
  out += d.digits[0];
  if (d.digits.size() > 1) out.append(".").append(d.digits, 1);
  return out + exponent_text(exponent);
}

namespace detail {
/// The text between Python's whitespace.
inline std::string_view strip_space(std::string_view text) {
  while (!text.empty() && is_space(utf8_decode(text, 0))) text.remove_prefix(utf8_size(text[0]));
  while (!text.empty()) {
    std::size_t i = text.size() - 1;
    while ((static_cast<unsigned char>(text[i]) & 0xC0u) == 0x80u) --i;
    if (!is_space(utf8_decode(text, i))) break;
    text = text.substr(0, i);
  }
  return text;
}
/// Removes single underscores between digits; false when one stands elsewhere.
inline bool remove_underscores(std::string_view text, std::string& out) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out.push_back(text[i]);
    } else if (i == 0 || i + 1 == text.size() || !digit(text[i - 1]) || !digit(text[i + 1])) {
      return false;
    }
  }
  return true;
}
}  // namespace detail

/// float(text); false where Python raises ValueError.
inline bool parse_float(std::string_view text, double& out) {
  text = detail::strip_space(text);
  std::string plain;
  if (text.size() > 1'000'000 || !detail::remove_underscores(text, plain)) return false;
  std::string_view rest = plain;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  const std::string word = lower_text(rest.substr(0, 9));
  if (word == "inf" || word == "infinity" || word == "nan") {
    if (rest.size() != word.size()) return false;
    out = word == "nan" ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    if (negative) out = -out;
    return true;
  }
  if (rest.empty() || !((rest[0] >= '0' && rest[0] <= '9') || rest[0] == '.')) return false;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out);
  if (error == std::errc::invalid_argument || end != rest.data() + rest.size()) return false;
  if (error == std::errc::result_out_of_range) {  // too large is infinity, too small is zero
    std::int64_t exponent = 0;
    const std::size_t e = rest.find_first_of("eE");
    if (e != std::string_view::npos) {
      std::string_view digits = rest.substr(e + 1);
      if (digits[0] == '+') digits.remove_prefix(1);
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
      if (result.ec == std::errc::result_out_of_range) exponent = digits[0] == '-' ? -1'000'000'000 : 1'000'000'000;
    }
    const std::string_view mantissa = rest.substr(0, e);
    const std::size_t first = mantissa.find_first_of("123456789");
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    const auto place = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
    out = exponent + place > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  }
  if (negative) out = -out;
  return true;
}

enum class IntegerText : std::uint8_t { ok, malformed, too_large };

/// int(text, base); base 0 reads the prefix, bases 2 to 36 allow the matching one.
inline IntegerText parse_integer(std::string_view text, int base, std::int64_t& out) {
  text = detail::strip_space(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() >= 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 32);
    const int prefix_base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (prefix_base != 0 && (base == 0 || base == prefix_base)) {
      base = prefix_base;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_') text.remove_prefix(1);
    } else if (base == 0 && text.find_first_not_of("0_") != std::string_view::npos) {
      return IntegerText::malformed;
    }
  }
  if (base == 0) base = 10;
  std::string digits;
  if (text.empty() || !detail::remove_underscores(text, digits)) return IntegerText::malformed;
  std::uint64_t value = 0;
  bool too_large = false;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return IntegerText::malformed;
    if (value > (std::uint64_t{1} << 63) / static_cast<std::uint64_t>(base)) too_large = true;
    value = value * static_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(digit);
    if (value > (std::uint64_t{1} << 63)) too_large = true;
  }
  if (too_large || (!negative && value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))) {
    return IntegerText::too_large;
  }
  out = static_cast<std::int64_t>(negative ? 0 - value : value);
  return IntegerText::ok;
}

/// int(value) of a float; false for infinities, NaN and what does not fit.
inline bool truncate_to_integer(double value, std::int64_t& out) {
  const double whole = std::trunc(value);
  if (!(whole >= -0x1p63 && whole < 0x1p63)) return false;
  out = static_cast<std::int64_t>(whole);
  return true;
}

/// round(value, decimals): correctly rounded, halves to even on the exact binary value.
inline double round_float(double value, std::int64_t decimals) {
  if (!std::isfinite(value) || decimals > 323) return value;
  if (decimals < -308) return std::copysign(0.0, value);
  std::string text;
  if (decimals >= 0) {
    text = fixed_digits(value, static_cast<int>(decimals));
  } else {  // round the integer part by hand: the digits after it only matter for breaking ties
    const auto drop = static_cast<std::size_t>(-decimals);
    std::string exact = fixed_digits(value, 1074);
    const std::size_t point = exact.find('.');
    const bool fraction = exact.find_first_not_of('0', point + 1) != std::string::npos;
    std::string whole = std::string(drop, '0') + exact.substr(0, point);
    std::string kept = "0" + whole.substr(0, whole.size() - drop);
    const std::string tail = whole.substr(whole.size() - drop);
    const bool rest = fraction || tail.find_first_not_of('0', 1) != std::string::npos;
    const bool odd = ((kept.back() - '0') & 1) != 0;
    if (tail[0] > '5' || (tail[0] == '5' && (rest || odd))) {
      std::size_t i = kept.size() - 1;
      while (kept[i] == '9') kept[i--] = '0';
      ++kept[i];
    }
    text = kept + std::string(drop, '0');
  }
  double rounded = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), rounded).ec == std::errc::result_out_of_range) {
    rounded = std::numeric_limits<double>::infinity();
  }
  return std::copysign(rounded, value);
}

/// a / b of two integers, correctly rounded even where they do not fit a double.
inline double divide_integers(std::int64_t a, std::int64_t b) {
  const auto magnitude = [](std::int64_t v) {
    return v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v);
  };
  const std::uint64_t ua = magnitude(a);
  const std::uint64_t ub = magnitude(b);
  constexpr std::uint64_t kExact = std::uint64_t{1} << 53;
  if (ua <= kExact && ub <= kExact) return static_cast<double>(a) / static_cast<double>(b);
  if (ua == 0) return 0.0;
  // Long division until the quotient has more bits than a double, the remainder folded into the last one.
  std::uint64_t quotient = ua / ub;
  std::uint64_t remainder = ua % ub;
  int scale = 0;
  while (quotient < (std::uint64_t{1} << 61) && remainder != 0) {
    const bool carry = (remainder >> 63) != 0;
    remainder <<= 1;
    quotient <<= 1;
    if (carry || remainder >= ub) {
      remainder -= ub;
      quotient |= 1;
    }
    ++scale;
  }
  if (remainder != 0) quotient |= 1;
  const double result = std::ldexp(static_cast<double>(quotient), -scale);
  return (a < 0) != (b < 0) ? -result : result;
}

/// How a float compares with an integer, exactly: -1, 0, 1; NaN is never asked.
inline int compare_integer_float(std::int64_t i, double d) {
  if (d >= 0x1p63) return -1;
  if (d < -0x1p63) return 1;
  const auto whole = static_cast<std::int64_t>(d);
  if (i != whole) return i < whole ? -1 : 1;
  const double fraction = d - static_cast<double>(whole);
  return fraction > 0 ? -1 : fraction < 0 ? 1 : 0;
}

// --- quoting ---------------------------------------------------------------------------------------------------------

/// repr(text): the quotes that need fewer escapes, and escapes for what does not print; with `ascii`, for all beyond
/// it.
inline void append_repr(std::string& out, std::string_view text, bool ascii = false) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back(quote);
  for (std::size_t i = 0; i < text.size(); i += utf8_size(text[i])) {
    const char32_t c = utf8_decode(text, i);
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if (is_printable(c) && (!ascii || c < 0x80)) {
      append_utf8(out, c);
    } else {
      const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      out.append(digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U");
      for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out.push_back(kHex[(c >> shift) & 15]);
    }
  }
  out.push_back(quote);
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
