// SPDX-License-Identifier: Apache-2.0
// Formatting: the % operator and the format filter, str.format, and strftime.
//
// Both of Python's little languages, with its number formats. Numbers are rounded by exact decimal expansion, never by
// the C locale's printf. A width or precision is checked against the output limit before anything is built.
// Source: docs.python.org/3/library/stdtypes.html#printf-style-string-formatting and library/string.html#formatspec.
#pragma once

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string>
#include <string_view>

#include "tritium/text/jinja/interpreter.h"
#include "tritium/text/jinja/operators.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

namespace detail {

/// Digits of |value| in style e, f or g; `dot` adds ".0" where g would show an integer.
inline std::string float_digits(double value, char style, int precision, bool alternate, bool dot) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return "inf";
  if (style == 'f') {
    std::string out = fixed_digits(value, precision);
    if (alternate && precision == 0) out.push_back('.');
    return out;
  }
  const bool general = style == 'g';
  if (general) precision = std::max(precision, 1);
  Decimal d = significant_digits(value, general ? precision : precision + 1);
  const int exponent = d.point - 1;
  if (general && !alternate) {
    while (d.digits.size() > 1 && d.digits.back() == '0') d.digits.pop_back();
  }
  if (!general || exponent < -4 || d.point > precision - (dot ? 1 : 0)) {
    std::string out(1, d.digits[0]);
    if (d.digits.size() > 1 || alternate) out.push_back('.');
    out.append(d.digits, 1);
    return out + exponent_text(exponent);
  }
  std::string out = place_point(d);
  if (out.find('.') == std::string::npos && (alternate || dot)) out += dot ? ".0" : ".";
  return out;
}

inline std::string integer_digits(std::uint64_t magnitude, unsigned base, bool upper) {
  constexpr std::string_view kLower = "0123456789abcdef";
  constexpr std::string_view kUpper = "0123456789ABCDEF";
  std::string out;
  do {
    out.push_back((upper ? kUpper : kLower)[magnitude % base]);
    magnitude /= base;
  } while (magnitude != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

inline std::uint64_t magnitude(std::int64_t i) {
  return i < 0 ? 0 - static_cast<std::uint64_t>(i) : static_cast<std::uint64_t>(i);
}

/// The first `count` code points.
inline std::size_t prefix_bytes(std::string_view text, std::int64_t count) {
  std::size_t i = 0;
  for (; count > 0 && i < text.size(); --count) i += utf8_size(text[i]);
  return i;
}

inline void make_upper(std::string& text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
}

}  // namespace detail

// --- the % operator --------------------------------------------------------------------------------------------------

// Sign and digits of a number under one conversion of %.
inline bool Interpreter::percent_number(char conversion, const Value& v, int precision, bool alternate,
                                        std::string& sign, std::string& digits) {
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (!v.is_number())
    return fail(std::string("the conversion %") + conversion + " needs a number", "a number", type_name(v));
  if (!charge(kFloatSteps)) return false;
  const char lower = static_cast<char>(conversion | 32);
  if (lower == 'e' || lower == 'f' || lower == 'g') {
    const double d = v.as_real();
    if (std::signbit(d) && !std::isnan(d)) sign = "-";
    digits = detail::float_digits(d, lower, precision < 0 ? 6 : precision, alternate, false);
    if (conversion != lower) detail::make_upper(digits);
    return true;
  }
  std::int64_t i = 0;
  if (v.is(Kind::real)) {
    if (lower == 'x' || lower == 'o')
      return fail(std::string("the conversion %") + conversion + " needs an integer", "an integer", "float");
    if (!truncate_to_integer(v.as_real(), i)) return fail_overflow();
  } else {
    i = v.as_integer();
  }
  if (i < 0) sign = "-";
  digits = detail::integer_digits(detail::magnitude(i), lower == 'x' ? 16 : lower == 'o' ? 8 : 10, conversion == 'X');
  if (precision > static_cast<int>(digits.size()))
    digits.insert(0, static_cast<std::size_t>(precision) - digits.size(), '0');
  if (alternate && lower == 'x') sign += conversion == 'X' ? "0X" : "0x";
  if (alternate && lower == 'o') sign += "0o";
  return true;
}

inline bool Interpreter::percent_format(const Value& format, const Value& arguments, Value& out) {
  const Str& f = format.str();
  const std::string& text = f.text;
  const bool mapping = arguments.is(Kind::dict) || arguments.is(Kind::list) || arguments.is(Kind::range) ||
                       arguments.is(Kind::undefined);
  const std::vector<Value>* tuple = arguments.is(Kind::tuple) ? &arguments.as<List>().items : nullptr;
  std::size_t used = 0;
  const std::size_t given = tuple != nullptr ? tuple->size() : 1;
  const auto next_argument = [&](Value& v) {
    if (used >= given) return fail("a format has too few arguments", "more", std::to_string(given));
    v = tuple != nullptr ? (*tuple)[used] : arguments;
    ++used;
    return true;
  };
  const auto limit = static_cast<std::int64_t>(heap_.limits().output_bytes);
  StringBuilder b(heap_);
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t percent = std::min(text.find('%', i), text.size());
    b.append(f, i, percent);
    if (percent == text.size()) break;
    const bool user = f.origin.at(percent);
    i = percent + 1;
    Value v;
    bool keyed = false;
    const auto incomplete = [&] { return fail("a format ends inside a conversion"); };
    if (i < text.size() && text[i] == '(') {
      if (!mapping) return fail("a format with names needs a mapping", "a dict", type_name(arguments));
      int depth = 1;
      const std::size_t begin = ++i;
      while (i < text.size() && depth > 0) {
        depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
        ++i;
      }
      if (depth > 0) return incomplete();
      const std::string key = text.substr(begin, i - 1 - begin);
      const Value* found = arguments.is(Kind::dict) ? arguments.as<Dict>().find(key) : nullptr;
      if (found == nullptr)
        return fail("a format names a key that is not there", "a key of the mapping", key.substr(0, 60));
      v = *found;
      keyed = true;
    }
    bool left = false;
    bool plus = false;
    bool space = false;
    bool alternate = false;
    bool zero = false;
    for (; i < text.size(); ++i) {
      const char c = text[i];
      if (c == '-') left = true;
      else if (c == '+') plus = true;
      else if (c == ' ') space = true;
      else if (c == '#') alternate = true;
      else if (c == '0') zero = true;
      else break;
    }
    const auto number = [&](std::int64_t& n) {  // digits, or the next argument
      if (i < text.size() && text[i] == '*') {
        ++i;
        Value star;
        return next_argument(star) && get_index(star, n, "wrong type of a width or precision");
      }
      n = 0;
      for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i)
        n = std::min<std::int64_t>(n * 10 + (text[i] - '0'), limit + 1);
      return true;
    };
    std::int64_t width = 0;
    std::int64_t precision = -1;
    if (!number(width)) return false;
    if (width < 0) {
      left = true;
      width = -std::max(width, -limit - 1);
    }
    if (i < text.size() && text[i] == '.') {
      ++i;
      if (!number(precision)) return false;
      precision = std::max<std::int64_t>(precision, 0);
    }
    if (width > limit || precision > limit) {
      heap_.exhaust(Exhausted::string_length);
      return stop_exhausted();
    }
    if (i < text.size() && (text[i] == 'h' || text[i] == 'l' || text[i] == 'L')) ++i;
    if (i >= text.size()) return incomplete();
    const char c = text[i++];
    if (c == '%') {
      b.append("%", user);
      continue;
    }
    if (!keyed && !next_argument(v)) return false;
    Value piece;
    std::string sign;
    bool numeric = false;
    switch (c) {
      case 's':
      case 'r':
      case 'a': {
        if (c == 's') {
          if (!to_string(v, piece)) return false;
          if (f.safe && v.is(Kind::string) && v.str().safe) piece = v;
        } else {
          StringBuilder shown(heap_);
          if (!repr(v, shown)) return false;
          if (shown.origin().any_user()) shown.taint();
          piece = shown.finish();
          if (c == 'a' && !piece.str().ascii()) {
            if (!v.is(Kind::string)) return fail("the conversion %a takes only strings here", Errc::unsupported);
            std::string quoted;
            append_repr(quoted, v.str().text, true);
            piece = heap_.string(quoted, v.str().origin.any_user());
          }
        }
        if (f.safe && !escape(piece, piece)) return false;
        if (precision >= 0) piece = substring(piece, 0, detail::prefix_bytes(piece.str().text, precision));
        break;
      }
      case 'c': {
        if (v.is_integral()) {
          const std::int64_t code = v.as_integer();
          if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
            return fail("the conversion %c needs a character's number");
          std::string character;
          append_utf8(character, static_cast<char32_t>(code));
          piece = heap_.string(character, v.user());
        } else if (v.is(Kind::string) && v.str().length() == 1) {
          piece = v;
        } else {
          return fail("the conversion %c needs one character", "a number or a string of length 1", type_name(v));
        }
        break;
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        std::string digits;
        if (!charge_bytes(static_cast<std::size_t>(std::max<std::int64_t>(precision, 0))) ||
            !percent_number(c, v, static_cast<int>(precision), alternate, sign, digits)) {
          return false;
        }
        if (sign.empty() || sign[0] != '-') {
          if (plus) sign.insert(0, 1, '+');
          else if (space) sign.insert(0, 1, ' ');
        }
        piece = heap_.string(std::move(digits), v.user());
        numeric = true;
        break;
      }
      default:
        return fail("a format has an unknown conversion", "one of diouxXeEfFgGcrsa%",
                    std::string(1, c < 32 || c > 126 ? '?' : c));
    }
    const auto size = static_cast<std::int64_t>(piece.str().length() + sign.size());
    const std::int64_t fill = std::max<std::int64_t>(width - size, 0);
    const bool zeros = numeric && zero && !left;
    if (!left && !zeros) b.repeat(" ", fill, user);
    b.append(sign, user);
    if (zeros) b.repeat("0", fill, user);
    b.append(piece.str());
    if (left) b.repeat(" ", fill, user);
    if (heap_.exhausted() != Exhausted::no) return stop_exhausted();
  }
  if (tuple != nullptr ? used < given : !mapping && used == 0) {
    return fail("a format does not use all its arguments", std::to_string(used), std::to_string(given));
  }
  out = b.finish(f.safe);
  return true;
}

// --- str.format ------------------------------------------------------------------------------------------------------

struct Interpreter::FormatSpec {
  std::string fill = " ";
  char align = '\0';
  char sign = '\0';
  bool alternate = false;
  bool zero = false;
  std::int64_t width = -1;
  char grouping = '\0';
  std::int64_t precision = -1;
  char type = '\0';
  bool user = false;  ///< who wrote the padding

  /// False when `text` is not [[fill]align][sign][#][0][width][grouping][.precision][type] or asks for too much.
  bool parse(std::string_view text, std::int64_t limit) {
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
    std::size_t i = 0;
    const std::size_t first = text.empty() ? 0 : utf8_size(text[0]);
    if (first < text.size() && is_align(text[first])) {
      fill = text.substr(0, first);
      align = text[first];
      i = first + 1;
    } else if (!text.empty() && is_align(text[0])) {
      align = text[i++];
    }
    const auto at = [&](char c) { return i < text.size() && text[i] == c; };
    if (at('+') || at('-') || at(' ')) sign = text[i++];
    if (at('#')) {
      alternate = true;
      ++i;
    }
    if (at('0')) {
      zero = true;
      if (align == '\0') fill = "0";
      ++i;
    }
    const auto number = [&](std::int64_t& n) {
      const std::size_t begin = i;
      std::int64_t value = 0;
      for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i)
        value = std::min<std::int64_t>(value * 10 + (text[i] - '0'), limit + 1);
      if (i > begin) n = value;
      return i > begin;
    };
    number(width);
    if (at(',') || at('_')) grouping = text[i++];
    if (at('.')) {
      ++i;
      if (!number(precision)) return false;
    }
    if (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) type = text[i++];
    return i == text.size() && width <= limit && precision <= limit;
  }
};

// A string, padded and cut.
inline bool Interpreter::format_text(const Value& v, const FormatSpec& spec, StringBuilder& out) {
  const Str& s = v.str();
  if ((spec.type != '\0' && spec.type != 's') || spec.sign != '\0' || spec.alternate || spec.align == '=' ||
      spec.grouping != '\0') {
    return fail("a format specification does not fit a string");
  }
  const std::size_t end = spec.precision >= 0 ? detail::prefix_bytes(s.text, spec.precision) : s.text.size();
  const auto size = static_cast<std::int64_t>(utf8_length(std::string_view(s.text).substr(0, end)));
  const std::int64_t room = std::max<std::int64_t>(spec.width - size, 0);
  const std::int64_t left = spec.align == '>' ? room : spec.align == '^' ? room / 2 : 0;
  out.repeat(spec.fill, left, spec.user);
  out.append(s, 0, end);
  out.repeat(spec.fill, room - left, spec.user);
  return charge_bytes(end);
}

// A number: sign, prefix, digits with separators, padding.
inline bool Interpreter::format_number(const Value& v, const FormatSpec& spec, StringBuilder& out) {
  if (!charge(kFloatSteps)) return false;
  const auto bad = [&] {
    return fail("a format specification does not fit a number", "a type for it",
                spec.type == '\0' ? "none" : std::string(1, spec.type));
  };
  constexpr std::string_view kFloatTypes = "eEfFgGn%";
  const bool integral = v.is_integral() && (spec.type == '\0' ||
                                            kFloatTypes.find(spec.type) == std::string_view::npos || spec.type == 'n');
  std::string sign;
  std::string prefix;
  std::string digits;
  std::string tail;  // fraction and exponent, which take no separators
  std::size_t group = 3;
  if (integral) {
    const std::int64_t i = v.as_integer();
    if (spec.precision >= 0) return fail("a format specification gives an integer a precision");
    unsigned base = 10;
    switch (spec.type) {
      case '\0':
      case 'd':
      case 'n': break;
      case 'b':
        base = 2;
        prefix = "0b";
        break;
      case 'o':
        base = 8;
        prefix = "0o";
        break;
      case 'x':
        base = 16;
        prefix = "0x";
        break;
      case 'X':
        base = 16;
        prefix = "0X";
        break;
      case 'c': {
        if (spec.sign != '\0' || spec.grouping != '\0' || i < 0 || i > 0x10FFFF || (i >= 0xD800 && i < 0xE000))
          return bad();
        append_utf8(digits, static_cast<char32_t>(i));
        break;
      }
      default: return bad();
    }
    if (spec.type != 'c') {
      if (base != 10) {
        group = 4;
        if (spec.grouping == ',') return bad();
      }
      digits = detail::integer_digits(detail::magnitude(i), base, spec.type == 'X');
      if (i < 0) sign = "-";
    }
    if (!spec.alternate) prefix.clear();
  } else {
    if (!v.is(Kind::real) && !v.is_integral()) return bad();
    double d = v.as_real();
    if (spec.type != '\0' && kFloatTypes.find(spec.type) == std::string_view::npos) return bad();
    if (std::signbit(d) && !std::isnan(d)) sign = "-";
    const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
    if (!charge_bytes(static_cast<std::size_t>(precision))) return false;
    switch (spec.type) {
      case '\0':
        if (spec.precision >= 0) {
          digits = detail::float_digits(d, 'g', precision, spec.alternate, true);
        } else {
          digits = float_text(std::fabs(d));
          if (std::isnan(d)) digits = "nan";
        }
        break;
      case '%': digits = detail::float_digits(d * 100, 'f', precision, spec.alternate, false) + "%"; break;
      case 'n': digits = detail::float_digits(d, 'g', precision, spec.alternate, false); break;
      default:
        digits = detail::float_digits(d, static_cast<char>(spec.type | 32), precision, spec.alternate, false);
        if (spec.type < 'a') detail::make_upper(digits);
    }
    std::size_t whole = 0;
    while (whole < digits.size() && digits[whole] >= '0' && digits[whole] <= '9') ++whole;
    tail = digits.substr(whole);
    digits.resize(whole);
  }
  if (sign.empty() && (spec.sign == '+' || spec.sign == ' ')) sign = std::string(1, spec.sign);
  const char align = spec.align != '\0' ? spec.align : spec.zero ? '=' : '>';
  const auto fixed = static_cast<std::int64_t>(sign.size() + prefix.size() + tail.size());
  if (spec.grouping != '\0') {
    // With zeros as padding the separators run through the zeros too.
    const std::int64_t wanted = spec.fill == "0" && align == '=' ? spec.width - fixed : 0;
    std::string grouped;
    std::size_t count = 0;
    for (std::size_t i = digits.size(); i > 0 || static_cast<std::int64_t>(grouped.size()) < wanted;) {
      if (!charge(1)) return false;
      if (count == group) {
        grouped.push_back(spec.grouping);
        count = 0;
      }
      grouped.push_back(i > 0 ? digits[--i] : '0');
      ++count;
    }
    std::reverse(grouped.begin(), grouped.end());
    digits = std::move(grouped);
  }
  const auto size = fixed + static_cast<std::int64_t>(utf8_length(digits));
  const std::int64_t room = std::max<std::int64_t>(spec.width - size, 0);
  const bool user = v.user();
  const std::int64_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
  out.repeat(spec.fill, left, spec.user);
  out.append(sign + prefix, user);
  if (align == '=') out.repeat(spec.fill, room, spec.user);
  out.append(digits + tail, user);
  if (align != '=') out.repeat(spec.fill, room - left, spec.user);
  return charge(1);
}

// format(v, spec)
inline bool Interpreter::format_value(const Value& v, std::string_view spec, bool spec_user, StringBuilder& out) {
  if (spec.empty()) return to_text(v, out);
  FormatSpec parsed;
  if (!v.is(Kind::string) && !v.is_number()) {
    return fail("a value takes no format specification", "a string or a number", type_name(v));
  }
  if (!parsed.parse(spec, static_cast<std::int64_t>(heap_.limits().output_bytes)))
    return fail("a format specification is malformed");
  parsed.user = spec_user;
  return v.is(Kind::string) ? format_text(v, parsed, out) : format_number(v, parsed, out);
}

// The value of `name`, `0`, `name.attribute` or `name[index]`.
inline bool Interpreter::brace_field(const Str& f, std::size_t begin, std::size_t end, Args& args,
                                     std::int64_t& automatic, Value& out) {
  const std::string_view field = std::string_view(f.text).substr(begin, end - begin);
  const auto all_digits = [](std::string_view t) {
    return !t.empty() && t.find_first_not_of("0123456789") == std::string_view::npos;
  };
  std::string automatic_name;
  std::string_view first = field.substr(0, std::min(field.find_first_of(".["), field.size()));
  const std::string_view rest = field.substr(first.size());
  if (field.empty()) {
    if (automatic < 0) return fail("a format mixes numbered and unnumbered fields");
    automatic_name = std::to_string(automatic++);
    first = automatic_name;
  } else if (all_digits(field)) {
    if (automatic > 0) return fail("a format mixes numbered and unnumbered fields");
    automatic = -1;
  }
  if (all_digits(first)) {
    std::int64_t index = 0;
    if (parse_integer(first, 10, index) != IntegerText::ok ||
        static_cast<std::uint64_t>(index) >= args.positional.size()) {
      return fail("a format has too few arguments", "an argument " + std::string(first.substr(0, 20)),
                  std::to_string(args.positional.size()));
    }
    out = args.positional[static_cast<std::size_t>(index)];
  } else {
    if (!charge(args.named.size() / 4)) return false;
    const auto named =
        std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == first; });
    if (named == args.named.end()) {
      return fail("a format names an argument that is not there", "a named argument", first.substr(0, 60));
    }
    out = named->second;
  }
  for (std::size_t i = 0; i < rest.size();) {
    const Value object = out;
    if (rest[i] == '.') {
      const std::size_t stop = std::min(rest.find_first_of(".[", i + 1), rest.size());
      if (stop == i + 1) return fail("a format has an empty attribute");
      if (!get_attribute(object, rest.substr(i + 1, stop - i - 1), out)) return false;
      i = stop;
    } else if (rest[i] == '[') {
      const std::size_t stop = rest.find(']', i);
      if (stop == std::string_view::npos || stop == i + 1) return fail("a format has a bad subscript");
      const std::string_view key = rest.substr(i + 1, stop - i - 1);
      std::int64_t index = 0;
      const bool number = all_digits(key) && parse_integer(key, 10, index) == IntegerText::ok;
      if (!get_item(object, number ? Value::integer(index) : text(key), out)) return false;
      i = stop + 1;
    } else {
      return fail("a format has a bad subscript");
    }
  }
  return true;
}

inline bool Interpreter::brace_format(const Str& f, std::size_t begin, std::size_t end, Args& args, int depth,
                                      std::int64_t& automatic, StringBuilder& out, bool safe) {
  if (depth < 0) return fail("a format nests too deeply", "2 levels", "more");
  const std::string& t = f.text;
  for (std::size_t i = begin; i < end;) {
    const std::size_t brace = std::min(t.find_first_of("{}", i), end);
    out.append(f, i, brace);
    if (brace >= end) break;
    if (heap_.exhausted() != Exhausted::no || !charge(1)) return stop_exhausted();
    i = brace + 1;
    if (i < end && t[i] == t[brace]) {
      out.append(f, brace, i);
      ++i;
      continue;
    }
    if (t[brace] == '}' || i >= end) return fail("a format has a single brace");
    const std::size_t name = i;
    for (; i < end; ++i) {
      const char c = t[i];
      if (c == '{') return fail("a format has a brace inside the name of a field");
      if (c == '[') {
        i = std::min(t.find(']', i), end);
        if (i == end) break;
      } else if (c == '}' || c == ':' || c == '!') {
        break;
      }
    }
    if (i >= end) return fail("a format has a field without end");
    Value v;
    char conversion = '\0';
    const std::size_t name_end = i;
    if (t[i] == '!') {
      if (i + 2 >= end) return fail("a format has a field without end");
      conversion = t[i + 1];
      i += 2;
      if (t[i] != ':' && t[i] != '}') return fail("a format has a bad conversion");
    }
    std::size_t spec = i;
    std::size_t spec_end = i;
    if (t[i] == ':') {
      spec = ++i;
      for (int level = 1; i < end; ++i) {
        level += t[i] == '{' ? 1 : t[i] == '}' ? -1 : 0;
        if (level == 0) break;
      }
      if (i >= end) return fail("a format has a field without end");
      spec_end = i;
    }
    ++i;  // the closing brace
    if (!brace_field(f, name, name_end, args, automatic, v)) return false;
    if (conversion == 's') {
      if (!to_string(v, v)) return false;
    } else if (conversion == 'r' || conversion == 'a') {
      StringBuilder shown(heap_);
      if (!repr(v, shown)) return false;
      if (shown.origin().any_user()) shown.taint();
      v = shown.finish();
      if (conversion == 'a' && !v.str().ascii())
        return fail("the conversion !a takes only ASCII here", Errc::unsupported);
    } else if (conversion != '\0') {
      return fail("a format has an unknown conversion", "r, s or a", "another");
    }
    StringBuilder expanded(heap_);
    if (!brace_format(f, spec, spec_end, args, depth - 1, automatic, expanded, false)) return false;
    const Value spec_text = expanded.finish();
    const bool spec_user = spec_text.str().origin.any_user() || f.origin.at(brace);
    if (!safe) {
      if (!format_value(v, spec_text.str().text, spec_user, out)) return false;
      continue;
    }
    StringBuilder field(heap_);  // a Markup format escapes what it is given
    const bool markup = v.is(Kind::string) && v.str().safe;
    if (markup && !spec_text.str().text.empty()) return fail("a Markup value takes no format specification");
    if (!format_value(v, spec_text.str().text, spec_user, field)) return false;
    Value piece = field.finish();
    if (!markup && !escape(piece, piece)) return false;
    out.append(piece.str());
  }
  return true;
}

inline bool Interpreter::brace_format(const Value& format, Args& args, Value& out) {
  StringBuilder b(heap_);
  std::int64_t automatic = 0;
  const Str& f = format.str();
  if (!brace_format(f, 0, f.text.size(), args, 2, automatic, b, f.safe)) return false;
  out = b.finish(f.safe);
  return true;
}

inline bool Interpreter::str_format(const Value& s, Args& args, Value& out) { return brace_format(s, args, out); }

inline bool Interpreter::str_format_map(const Value& s, Args& args, Value& out) {
  Value a[1];
  if (!bind("format_map", args, {"mapping"}, 1, a, false)) return false;
  if (!a[0].is(Kind::dict)) return fail("wrong arguments for format_map", "a dict", type_name(a[0]));
  Args named;
  for (const Dict::Entry& e : a[0].as<Dict>().entries) {
    if (e.key.is(Kind::string)) named.named.emplace_back(e.key.str().text, e.value);
    if (!charge(1)) return false;
  }
  return brace_format(s, named, out);
}

// --- strftime --------------------------------------------------------------------------------------------------------

// Python's strftime in the C locale; a directive that it does not know stays as it is.
inline std::string Interpreter::format_time(const std::tm& t, std::string_view format) {
  static constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  static constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                            "July",    "August",   "September", "October", "November", "December"};
  const auto number = [](int value, std::size_t width, char fill = '0') {
    std::string digits = std::to_string(value);
    if (digits.size() < width) digits.insert(0, width - digits.size(), fill);
    return digits;
  };
  const int weekday = ((t.tm_wday % 7) + 7) % 7;
  const int month = std::clamp(t.tm_mon, 0, 11);
  const int year = t.tm_year + 1900;
  const int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
  const auto iso_week = [&](int& iso_year) {
    const auto weeks = [&](int y) {
      const auto day = [](int v) { return (v + v / 4 - v / 100 + v / 400) % 7; };
      return day(y) == 4 || day(y - 1) == 3 ? 53 : 52;
    };
    iso_year = year;
    int week = (t.tm_yday - (weekday + 6) % 7 + 10) / 7;
    if (week < 1) return weeks(--iso_year);
    if (week <= weeks(year)) return week;
    ++iso_year;
    return 1;
  };
  int iso_year = year;
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out.push_back(format[i]);
      continue;
    }
    char c = format[++i];
    bool unpadded = false;
    if (c == '-' && i + 1 < format.size()) {  // glibc: no padding
      unpadded = true;
      c = format[++i];
    }
    std::string piece;
    switch (c) {
      case 'a': piece = std::string(kDays[weekday], 3); break;
      case 'A': piece = kDays[weekday]; break;
      case 'b':
      case 'h': piece = std::string(kMonths[month], 3); break;
      case 'B': piece = kMonths[month]; break;
      case 'c': piece = format_time(t, "%a %b %e %H:%M:%S %Y"); break;
      case 'C': piece = number(year / 100, 2); break;
      case 'd': piece = number(t.tm_mday, 2); break;
      case 'D':
      case 'x': piece = format_time(t, "%m/%d/%y"); break;
      case 'e': piece = number(t.tm_mday, 2, ' '); break;
      case 'f': piece = "000000"; break;
      case 'F': piece = format_time(t, "%Y-%m-%d"); break;
      case 'G':
        iso_week(iso_year);
        piece = std::to_string(iso_year);
        break;
      case 'H': piece = number(t.tm_hour, 2); break;
      case 'I': piece = number(hour12, 2); break;
      case 'j': piece = number(t.tm_yday + 1, 3); break;
      case 'k': piece = number(t.tm_hour, 2, ' '); break;
      case 'l': piece = number(hour12, 2, ' '); break;
      case 'm': piece = number(t.tm_mon + 1, 2); break;
      case 'M': piece = number(t.tm_min, 2); break;
      case 'n': piece = "\n"; break;
      case 'p': piece = t.tm_hour < 12 ? "AM" : "PM"; break;
      case 'P': piece = t.tm_hour < 12 ? "am" : "pm"; break;
      case 'r': piece = format_time(t, "%I:%M:%S %p"); break;
      case 'R': piece = format_time(t, "%H:%M"); break;
      case 'S': piece = number(t.tm_sec, 2); break;
      case 't': piece = "\t"; break;
      case 'T':
      case 'X': piece = format_time(t, "%H:%M:%S"); break;
      case 'u': piece = std::to_string(weekday == 0 ? 7 : weekday); break;
      case 'U': piece = number((t.tm_yday + 7 - weekday) / 7, 2); break;
      case 'V': piece = number(iso_week(iso_year), 2); break;
      case 'w': piece = std::to_string(weekday); break;
      case 'W': piece = number((t.tm_yday + 7 - (weekday + 6) % 7) / 7, 2); break;
      case 'y': piece = number(year % 100, 2); break;
      case 'Y': piece = std::to_string(year); break;
      case 'z':
      case 'Z': break;  // a naive time has no zone
      case '%': piece = "%"; break;
      default:
        piece = unpadded ? "%-" : "%";
        piece.push_back(c);
        unpadded = false;
    }
    if (unpadded) {
      while (piece.size() > 1 && (piece[0] == '0' || piece[0] == ' ')) piece.erase(0, 1);
    }
    out += piece;
  }
  return out;
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
