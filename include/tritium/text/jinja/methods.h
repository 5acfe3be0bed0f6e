// SPDX-License-Identifier: Apache-2.0
// Attributes, subscripts, calls, and the methods of strings, lists, dicts, numbers and loops.
//
// Jinja looks for an attribute first and for an item second when it sees a dot, and the other way round for brackets;
// what neither finds is Undefined, not an error. Methods that would change a list or a dict are not safe in the sandbox
// that chat templates run in: their names give an Undefined that fails when it is called. Indices count code points;
// pieces of a string keep the origin of every byte. Source: docs.python.org/3/library/stdtypes.html#string-methods;
// Jinja 3.1's immutable sandbox.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "tritium/text/jinja/interpreter.h"
#include "tritium/text/jinja/operators.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

// --- arguments -------------------------------------------------------------------------------------------------------

// Puts the arguments of a call where the names say; arguments that are not given stay missing.
inline bool Interpreter::bind(std::string_view function, Args& args, std::initializer_list<const char*> names,
                              std::size_t required, Value* out, bool keywords) {
  const auto wrong = [&](std::string_view expected, std::string_view found) {
    return fail("wrong arguments for " + std::string(function), expected, found);
  };
  if (args.positional.size() > names.size()) {
    return wrong("at most " + std::to_string(names.size()), std::to_string(args.positional.size()));
  }
  for (std::size_t i = 0; i < args.positional.size(); ++i) out[i] = std::move(args.positional[i]);
  for (auto& [name, value] : args.named) {
    std::size_t place = names.size();
    if (keywords) {
      place = 0;
      for (const char* candidate : names) {
        if (name == candidate) break;
        ++place;
      }
    }
    if (place == names.size()) return wrong("a parameter that it has", name.substr(0, 60));
    if (!out[place].is_missing()) return wrong("one value for a parameter", "two for " + name.substr(0, 60));
    out[place] = std::move(value);
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (!out[i].is_missing()) continue;
    return wrong(std::string("a value for ") + *(names.begin() + static_cast<std::ptrdiff_t>(i)), "none");
  }
  return true;
}

inline bool Interpreter::no_arguments(std::string_view function, const Args& args) {
  if (args.size() == 0) return true;
  return fail("wrong arguments for " + std::string(function), "none", std::to_string(args.size()));
}

inline bool Interpreter::want_string(const Value& v, std::string_view what, Value& out) {
  if (!v.is(Kind::string)) {
    if (v.is(Kind::undefined)) return fail_undefined(v);
    return fail("wrong type of " + std::string(what), "a string", type_name(v));
  }
  out = v;
  return true;
}

// --- case, stripping, searching --------------------------------------------------------------------------------------

inline Value Interpreter::change_case(const Value& v, Case how) {
  const Str& s = v.str();
  StringBuilder b(heap_);
  bool after_cased = false;
  for (std::size_t i = 0; i < s.text.size() && heap_.exhausted() == Exhausted::no; i += utf8_size(s.text[i])) {
    const char32_t c = utf8_decode(s.text, i);
    Mapped m;
    switch (how) {
      case Case::upper: m = to_upper(c); break;
      case Case::lower: m = to_lower_at(s.text, i); break;
      case Case::title: m = after_cased ? to_lower_at(s.text, i) : to_title(c); break;
      case Case::capitalize: m = i > 0 ? to_lower_at(s.text, i) : to_title(c); break;
      case Case::swap:
        m = is_upper(c)   ? to_lower_at(s.text, i)
            : is_lower(c) ? to_upper(c)
                          : detail::one(static_cast<utf8proc_int32_t>(c));
        break;
      case Case::fold: {
        utf8proc_int32_t folded[4];
        const utf8proc_ssize_t n =
            utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 3, UTF8PROC_CASEFOLD, nullptr);
        m.count = static_cast<std::size_t>(std::clamp<utf8proc_ssize_t>(n, 0, 3));
        for (std::size_t k = 0; k < m.count; ++k) m.points[k] = static_cast<char32_t>(folded[k]);
        break;
      }
    }
    if (how == Case::title) after_cased = is_cased(c);
    if (!heap_.charge(2)) break;
    const bool user = s.origin.at(i);
    for (std::size_t k = 0; k < m.count; ++k) b.append_code_point(m.points[k], user);
  }
  return b.finish();
}

inline Value Interpreter::strip(const Value& v, const Value* chars, bool left, bool right) {
  const Str& s = v.str();
  const auto strips = [&](char32_t c) {
    if (chars == nullptr) return is_space(c);
    const std::string& set = chars->str().text;
    for (std::size_t i = 0; i < set.size(); i += utf8_size(set[i])) {
      if (utf8_decode(set, i) == c) return true;
    }
    return false;
  };
  const std::uint64_t cost = chars == nullptr ? 1 : 1 + chars->str().text.size() / 4;
  std::size_t begin = 0;
  std::size_t end = s.text.size();
  while (left && begin < end && strips(utf8_decode(s.text, begin)) && heap_.charge(cost))
    begin += utf8_size(s.text[begin]);
  while (right && begin < end) {
    std::size_t i = end - 1;
    while ((static_cast<unsigned char>(s.text[i]) & 0xC0u) == 0x80u) --i;
    if (!strips(utf8_decode(s.text, i)) || !heap_.charge(cost)) break;
    end = i;
  }
  return substring(v, begin, end);
}

inline bool Interpreter::strip_method(const Value& s, Args& args, bool left, bool right, Value& out) {
  Value a[1];
  if (!bind("strip", args, {"chars"}, 0, a, false)) return false;
  if (a[0].is_missing() || a[0].is(Kind::none)) {
    out = strip(s, nullptr, left, right);
    return charge(1);
  }
  if (!want_string(a[0], "the characters to strip", a[0])) return false;
  out = strip(s, a, left, right);
  return charge(1);
}

// Bytes of the part of `s` between two optional indices; `valid` is false when the first lies behind the second.
inline bool Interpreter::search_range(const Value& v, const Value* args, std::size_t& begin, std::size_t& end,
                                      bool& valid) {
  const Str& s = v.str();
  const auto size = static_cast<std::int64_t>(s.length());
  std::int64_t bounds[2] = {0, size};
  for (int i = 0; i < 2; ++i) {
    if (args[i].is_missing() || args[i].is(Kind::none)) continue;
    std::int64_t at = 0;
    if (!get_index(args[i], at, "wrong type of a text position")) return false;
    if (at < 0) at = std::max<std::int64_t>(at + size, 0);
    bounds[i] = i == 1 ? std::min(at, size) : at;
  }
  valid = bounds[0] <= bounds[1];
  begin = end = 0;
  return !valid || (byte_offset(s, bounds[0], begin) && byte_offset(s, bounds[1], end));
}

inline bool Interpreter::affix_method(const Value& s, Args& args, bool prefix, Value& out) {
  Value a[3];
  if (!bind(prefix ? "startswith" : "endswith", args, {prefix ? "prefix" : "suffix", "start", "end"}, 1, a, false))
    return false;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool valid = true;
  if (!search_range(s, a + 1, begin, end, valid)) return false;
  const std::string_view part = std::string_view(s.str().text).substr(begin, end - begin);
  bool holds = false;
  const auto try_one = [&](const Value& affix) {
    if (!affix.is(Kind::string)) {
      if (affix.is(Kind::undefined)) return fail_undefined(affix);
      return fail("wrong type of an affix", "a string or a tuple of strings", type_name(affix));
    }
    const std::string& text = affix.str().text;
    holds = valid && (prefix ? part.starts_with(text) : part.ends_with(text));
    return charge_bytes(text.size());
  };
  if (a[0].is(Kind::tuple)) {
    for (const Value& affix : a[0].as<List>().items) {
      if (!try_one(affix)) return false;
      if (holds) break;
    }
  } else if (!try_one(a[0])) {
    return false;
  }
  out = Value::boolean(holds);
  return true;
}

inline bool Interpreter::find_method(const Value& s, Args& args, bool last, bool strict, Value& out) {
  Value a[3];
  if (!bind(strict ? "index" : "find", args, {"sub", "start", "end"}, 1, a, false)) return false;
  if (!want_string(a[0], "the text to find", a[0])) return false;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool valid = true;
  if (!search_range(s, a + 1, begin, end, valid)) return false;
  const std::string_view part = std::string_view(s.str().text).substr(begin, end - begin);
  std::size_t place = std::string_view::npos;
  if (valid && !(last ? rfind_text(part, a[0].str().text, place) : find_text(part, a[0].str().text, 0, place)))
    return false;
  if (place == std::string_view::npos) {
    if (strict) return fail("a text is not found");
    out = Value::integer(-1);
    return true;
  }
  out = Value::integer(static_cast<std::int64_t>(utf8_length(std::string_view(s.str().text).substr(0, begin + place))));
  return charge_bytes(begin + place);
}

// --- splitting and joining -------------------------------------------------------------------------------------------

inline bool Interpreter::split_text(const Value& v, const Value& separator, std::int64_t max, bool from_right,
                                    Value& out) {
  const Str& s = v.str();
  const std::string& text = s.text;
  if (max < 0) max = std::numeric_limits<std::int64_t>::max();
  ListBuilder parts(heap_);
  const auto add = [&](std::size_t begin, std::size_t end) {
    return parts.push(substring(v, begin, end)) || stop_exhausted();
  };
  const auto space_before = [&](std::size_t end, std::size_t& begin) {  // the code point that ends at `end`
    begin = end - 1;
    while ((static_cast<unsigned char>(text[begin]) & 0xC0u) == 0x80u) --begin;
    return is_space(utf8_decode(text, begin));
  };
  if (!(separator.is(Kind::none) ? charge_scan(text.size()) : charge_bytes(text.size()))) return false;
  if (separator.is(Kind::none)) {
    if (!from_right) {
      std::size_t i = 0;
      while (true) {
        while (i < text.size() && is_space(utf8_decode(text, i))) i += utf8_size(text[i]);
        if (i >= text.size()) break;
        if (max-- <= 0) {
          if (!add(i, text.size())) return false;
          break;
        }
        const std::size_t begin = i;
        while (i < text.size() && !is_space(utf8_decode(text, i))) i += utf8_size(text[i]);
        if (!add(begin, i)) return false;
      }
    } else {
      std::size_t end = text.size();
      std::size_t begin = 0;
      while (true) {
        while (end > 0 && space_before(end, begin)) end = begin;
        if (end == 0) break;
        if (max-- <= 0) {
          if (!add(0, end)) return false;
          break;
        }
        std::size_t start = end;
        while (start > 0 && !space_before(start, begin)) start = begin;
        if (!add(start, end)) return false;
        end = start;
      }
    }
  } else {
    const std::string& by = separator.str().text;
    if (by.empty()) return fail("text cannot be split by an empty separator");
    std::size_t begin = 0;
    std::size_t end = text.size();
    while (max-- > 0) {
      std::size_t place = 0;
      if (from_right) {
        if (!rfind_text(std::string_view(text).substr(0, end), by, place)) return false;
        if (place == std::string_view::npos) break;
        if (!add(place + by.size(), end)) return false;
        end = place;
      } else {
        if (!find_text(text, by, begin, place)) return false;
        if (place == std::string_view::npos) break;
        if (!add(begin, place)) return false;
        begin = place + by.size();
      }
    }
    if (!add(begin, end)) return false;
  }
  if (from_right) std::reverse(parts.items().begin(), parts.items().end());
  out = parts.finish();
  return true;
}

inline bool Interpreter::split_method(const Value& s, Args& args, bool from_right, Value& out) {
  Value a[2];
  if (!bind(from_right ? "rsplit" : "split", args, {"sep", "maxsplit"}, 0, a)) return false;
  std::int64_t max = -1;
  if (!a[1].is_missing() && !get_index(a[1], max, "wrong type of maxsplit")) return false;
  if (a[0].is_missing()) a[0] = Value::none();
  if (!a[0].is(Kind::none) && !want_string(a[0], "a separator", a[0])) return false;
  return split_text(s, a[0], max, from_right, out);
}

inline bool Interpreter::partition_method(const Value& s, Args& args, bool last, Value& out) {
  Value a[1];
  if (!bind(last ? "rpartition" : "partition", args, {"sep"}, 1, a, false)) return false;
  if (!want_string(a[0], "a separator", a[0])) return false;
  const std::string& text = s.str().text;
  const std::string& by = a[0].str().text;
  if (by.empty()) return fail("text cannot be split by an empty separator");
  std::size_t place = 0;
  if (!(last ? rfind_text(text, by, place) : find_text(text, by, 0, place))) return false;
  const bool found = place != std::string_view::npos;
  const Value nothing = this->text("");
  ListBuilder parts(heap_);
  const Value head = found ? substring(s, 0, place) : last ? nothing : s;
  const Value middle = found ? substring(s, place, place + by.size()) : nothing;
  const Value tail = found ? substring(s, place + by.size(), text.size()) : last ? s : nothing;
  if (!parts.push(head) || !parts.push(middle) || !parts.push(tail)) return stop_exhausted();
  out = parts.finish(Kind::tuple);
  return true;
}

// Calls visit(begin, end, next) for each line: its bytes without and with the line break. Stops when that says false.
template <class Visit>
bool Interpreter::each_line(const Value& v, Visit visit) {
  const std::string& text = v.str().text;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    while (end < text.size() && !is_line_break(utf8_decode(text, end))) end += utf8_size(text[end]);
    std::size_t next = end;
    if (end < text.size()) next += text.compare(end, 2, "\r\n") == 0 ? 2 : utf8_size(text[end]);
    if (!charge_scan(next - begin) || !visit(begin, end, next)) return false;
    begin = next;
  }
  return true;
}

inline bool Interpreter::join_items(const Value& separator, const std::vector<Value>& items, bool safe, Value& out) {
  StringBuilder b(heap_);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) b.append(separator.str());
    b.append(items[i].str());
    if (heap_.exhausted() != Exhausted::no) return stop_exhausted();
  }
  out = b.finish(safe);
  return true;
}

inline bool Interpreter::replace_text(const Value& v, const Value& old, const Value& fresh, std::int64_t count,
                                      bool safe, Value& out) {
  const Str& s = v.str();
  const std::string& from = old.str().text;
  StringBuilder b(heap_);
  if (count < 0) count = std::numeric_limits<std::int64_t>::max();
  std::size_t at = 0;
  if (from.empty()) {  // before every character and at the end
    while (count-- > 0) {
      b.append(fresh.str());
      if (at >= s.text.size()) break;
      const std::size_t next = at + utf8_size(s.text[at]);
      b.append(s, at, next);
      at = next;
      if (heap_.exhausted() != Exhausted::no) return stop_exhausted();
    }
  } else {
    while (count-- > 0) {
      std::size_t place = 0;
      if (!find_text(s.text, from, at, place)) return false;
      if (place == std::string_view::npos) break;
      b.append(s, at, place);
      b.append(fresh.str());
      at = place + from.size();
    }
  }
  b.append(s, at, s.text.size());
  out = b.finish(safe);
  return true;
}

// --- padding ---------------------------------------------------------------------------------------------------------

// left_share: 0 pads on the right, 2 on the left, 1 on both sides.
inline bool Interpreter::pad(const Value& v, std::int64_t width, const Value& fill, int left_share, Value& out) {
  const Str& s = v.str();
  const std::int64_t room = width - static_cast<std::int64_t>(s.length());
  if (width < 0 || room <= 0) {
    out = substring(v, 0, s.text.size());
    return true;
  }
  if (static_cast<std::uint64_t>(width) > heap_.limits().output_bytes) {
    heap_.exhaust(Exhausted::string_length);
    return stop_exhausted();
  }
  const std::int64_t left = left_share == 0 ? 0 : left_share == 2 ? room : room / 2 + (room & width & 1);
  const std::string& piece = fill.str().text;
  const bool user = fill.str().origin.user;
  StringBuilder b(heap_);
  b.repeat(piece, left, user);
  b.append(s);
  b.repeat(piece, room - left, user);
  out = b.finish();
  return true;
}

inline bool Interpreter::pad_method(const Value& s, Args& args, int left_share, std::string_view name, Value& out) {
  Value a[2];
  if (!bind(name, args, {"width", "fillchar"}, 1, a, false)) return false;
  std::int64_t width = 0;
  if (!get_index(a[0], width, "wrong type of a width")) return false;
  if (a[1].is_missing()) a[1] = text(" ");
  if (!want_string(a[1], "the fill character", a[1])) return false;
  if (s.str().safe && !escape(a[1], a[1])) return false;
  if (a[1].str().length() != 1) return fail("the fill character must be one character");
  return pad(s, width, a[1], left_share, out);
}

// --- string methods --------------------------------------------------------------------------------------------------

template <class Predicate>
bool Interpreter::every_character(const Value& s, Args& args, std::string_view name, Predicate predicate, Value& out) {
  if (!no_arguments(name, args)) return false;
  const std::string& t = s.str().text;
  bool holds = !t.empty();
  std::size_t i = 0;
  for (; i < t.size() && holds; i += utf8_size(t[i])) holds = predicate(utf8_decode(t, i));
  out = Value::boolean(holds);
  return charge_scan(i);
}

// str.isupper or str.islower: at least one cased character, and none of the other case.
inline bool Interpreter::cased_as(std::string_view t, bool upper) {
  bool any = false;
  for (std::size_t i = 0; i < t.size(); i += utf8_size(t[i])) {
    const char32_t c = utf8_decode(t, i);
    if (is_title(c) || (upper ? is_lower(c) : is_upper(c))) return false;
    any = any || (upper ? is_upper(c) : is_lower(c));
  }
  return any;
}

inline bool Interpreter::str_capitalize(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::capitalize);
  return no_arguments("capitalize", args);
}
inline bool Interpreter::str_casefold(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::fold);
  return no_arguments("casefold", args);
}
inline bool Interpreter::str_lower(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::lower);
  return no_arguments("lower", args);
}
inline bool Interpreter::str_upper(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::upper);
  return no_arguments("upper", args);
}
inline bool Interpreter::str_title(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::title);
  return no_arguments("title", args);
}
inline bool Interpreter::str_swapcase(const Value& s, Args& args, Value& out) {
  out = change_case(s, Case::swap);
  return no_arguments("swapcase", args);
}
inline bool Interpreter::str_center(const Value& s, Args& args, Value& out) {
  return pad_method(s, args, 1, "center", out);
}
inline bool Interpreter::str_ljust(const Value& s, Args& args, Value& out) {
  return pad_method(s, args, 0, "ljust", out);
}
inline bool Interpreter::str_rjust(const Value& s, Args& args, Value& out) {
  return pad_method(s, args, 2, "rjust", out);
}
inline bool Interpreter::str_strip(const Value& s, Args& args, Value& out) {
  return strip_method(s, args, true, true, out);
}
inline bool Interpreter::str_lstrip(const Value& s, Args& args, Value& out) {
  return strip_method(s, args, true, false, out);
}
inline bool Interpreter::str_rstrip(const Value& s, Args& args, Value& out) {
  return strip_method(s, args, false, true, out);
}
inline bool Interpreter::str_startswith(const Value& s, Args& args, Value& out) {
  return affix_method(s, args, true, out);
}
inline bool Interpreter::str_endswith(const Value& s, Args& args, Value& out) {
  return affix_method(s, args, false, out);
}
inline bool Interpreter::str_find(const Value& s, Args& args, Value& out) {
  return find_method(s, args, false, false, out);
}
inline bool Interpreter::str_rfind(const Value& s, Args& args, Value& out) {
  return find_method(s, args, true, false, out);
}
inline bool Interpreter::str_index(const Value& s, Args& args, Value& out) {
  return find_method(s, args, false, true, out);
}
inline bool Interpreter::str_rindex(const Value& s, Args& args, Value& out) {
  return find_method(s, args, true, true, out);
}
inline bool Interpreter::str_split(const Value& s, Args& args, Value& out) { return split_method(s, args, false, out); }
inline bool Interpreter::str_rsplit(const Value& s, Args& args, Value& out) { return split_method(s, args, true, out); }
inline bool Interpreter::str_partition(const Value& s, Args& args, Value& out) {
  return partition_method(s, args, false, out);
}
inline bool Interpreter::str_rpartition(const Value& s, Args& args, Value& out) {
  return partition_method(s, args, true, out);
}
inline bool Interpreter::str_isalnum(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isalnum", is_alnum, out);
}
inline bool Interpreter::str_isalpha(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isalpha", is_alpha, out);
}
inline bool Interpreter::str_isdecimal(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isdecimal", is_decimal, out);
}
inline bool Interpreter::str_isdigit(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isdigit", is_digit, out);
}
inline bool Interpreter::str_isnumeric(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isnumeric", is_numeric, out);
}
inline bool Interpreter::str_isspace(const Value& s, Args& args, Value& out) {
  return every_character(s, args, "isspace", is_space, out);
}
inline bool Interpreter::str_isascii(const Value& s, Args& args, Value& out) {
  out = Value::boolean(s.str().ascii());
  return no_arguments("isascii", args);
}
inline bool Interpreter::str_isprintable(const Value& s, Args& args, Value& out) {
  if (s.str().text.empty()) {
    out = Value::boolean(true);
    return no_arguments("isprintable", args);
  }
  return every_character(s, args, "isprintable", is_printable, out);
}
inline bool Interpreter::str_isidentifier(const Value& s, Args& args, Value& out) {
  bool first = true;
  return every_character(
      s, args, "isidentifier",
      [&](char32_t c) { return std::exchange(first, false) ? is_name_start(c) : is_name_part(c); }, out);
}
inline bool Interpreter::str_islower(const Value& s, Args& args, Value& out) {
  out = Value::boolean(cased_as(s.str().text, false));
  return no_arguments("islower", args) && charge_scan(s.str().text.size());
}
inline bool Interpreter::str_isupper(const Value& s, Args& args, Value& out) {
  out = Value::boolean(cased_as(s.str().text, true));
  return no_arguments("isupper", args) && charge_scan(s.str().text.size());
}
inline bool Interpreter::str_istitle(const Value& s, Args& args, Value& out) {
  bool any = false;
  bool after_cased = false;
  bool holds = true;
  const std::string& t = s.str().text;
  for (std::size_t i = 0; i < t.size() && holds; i += utf8_size(t[i])) {
    const char32_t c = utf8_decode(t, i);
    const bool large = is_upper(c) || is_title(c);
    const bool small = !large && is_lower(c);
    if ((large && after_cased) || (small && !after_cased)) holds = false;
    after_cased = large || small;
    any = any || after_cased;
  }
  out = Value::boolean(holds && any);
  return no_arguments("istitle", args) && charge_scan(t.size());
}

inline bool Interpreter::str_count(const Value& s, Args& args, Value& out) {
  Value a[3];
  if (!bind("count", args, {"sub", "start", "end"}, 1, a, false) || !want_string(a[0], "the text to count", a[0]))
    return false;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool valid = true;
  if (!search_range(s, a + 1, begin, end, valid)) return false;
  const std::string_view part = std::string_view(s.str().text).substr(begin, end - begin);
  const std::string& wanted = a[0].str().text;
  std::int64_t count = 0;
  if (valid && wanted.empty()) {
    count = static_cast<std::int64_t>(utf8_length(part)) + 1;
  } else if (valid) {
    std::size_t at = 0;
    while (true) {
      std::size_t place = 0;
      if (!find_text(part, wanted, at, place)) return false;
      if (place == std::string_view::npos) break;
      ++count;
      at = place + wanted.size();
    }
  }
  out = Value::integer(count);
  return true;
}

inline bool Interpreter::str_expandtabs(const Value& v, Args& args, Value& out) {
  Value a[1];
  if (!bind("expandtabs", args, {"tabsize"}, 0, a)) return false;
  std::int64_t size = 8;
  if (!a[0].is_missing() && !get_index(a[0], size, "wrong type of a tab size")) return false;
  const Str& s = v.str();
  StringBuilder b(heap_);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < s.text.size(); i += utf8_size(s.text[i])) {
    if (!charge(1)) return false;
    const char c = s.text[i];
    if (c == '\t') {
      if (size > 0) {
        const std::int64_t spaces = size - column % size;
        if (static_cast<std::uint64_t>(spaces) > heap_.limits().output_bytes) {
          heap_.exhaust(Exhausted::string_length);
          return stop_exhausted();
        }
        b.repeat(" ", spaces, s.origin.at(i));
        column += spaces;
      }
      continue;
    }
    b.append(s, i, i + utf8_size(c));
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  out = b.finish();
  return true;
}

inline bool Interpreter::str_join(const Value& s, Args& args, Value& out) {
  Value a[1];
  if (!bind("join", args, {"iterable"}, 1, a, false)) return false;
  ListBuilder items(heap_);
  if (!collect(a[0], items)) return false;
  bool safe = s.str().safe;
  for (Value& item : items.items()) {
    if (safe) {
      if (!escape(item, item)) return false;
    } else if (!item.is(Kind::string)) {
      if (item.is(Kind::undefined)) return fail("only strings can be joined", "a string", "Undefined");
      return fail("only strings can be joined", "a string", type_name(item));
    }
  }
  return join_items(s, items.items(), safe, out);
}

inline bool Interpreter::str_replace(const Value& s, Args& args, Value& out) {
  Value a[3];
  if (!bind("replace", args, {"old", "new", "count"}, 2, a, false)) return false;
  if (!want_string(a[0], "the text to replace", a[0])) return false;
  if (s.str().safe && !escape(a[1], a[1])) return false;
  if (!want_string(a[1], "the replacement", a[1])) return false;
  std::int64_t count = -1;
  if (!a[2].is_missing() && !get_index(a[2], count, "wrong type of a count")) return false;
  return replace_text(s, a[0], a[1], count, false, out);
}

inline bool Interpreter::str_removeprefix(const Value& s, Args& args, Value& out) {
  Value a[1];
  if (!bind("removeprefix", args, {"prefix"}, 1, a, false) || !want_string(a[0], "a prefix", a[0])) return false;
  const std::string& t = s.str().text;
  out = substring(s, t.starts_with(a[0].str().text) ? a[0].str().text.size() : 0, t.size());
  return charge_bytes(a[0].str().text.size());
}
inline bool Interpreter::str_removesuffix(const Value& s, Args& args, Value& out) {
  Value a[1];
  if (!bind("removesuffix", args, {"suffix"}, 1, a, false) || !want_string(a[0], "a suffix", a[0])) return false;
  const std::string& t = s.str().text;
  const std::string& suffix = a[0].str().text;
  out = substring(s, 0, !suffix.empty() && t.ends_with(suffix) ? t.size() - suffix.size() : t.size());
  return charge_bytes(suffix.size());
}

inline bool Interpreter::str_splitlines(const Value& s, Args& args, Value& out) {
  Value a[1];
  if (!bind("splitlines", args, {"keepends"}, 0, a)) return false;
  const bool keep = !a[0].is_missing() && truth(a[0]);
  ListBuilder parts(heap_);
  const bool ok = each_line(s, [&](std::size_t begin, std::size_t end, std::size_t next) {
    return parts.push(substring(s, begin, keep ? next : end)) || stop_exhausted();
  });
  if (!ok) return false;
  out = parts.finish();
  return true;
}

inline bool Interpreter::str_zfill(const Value& v, Args& args, Value& out) {
  Value a[1];
  std::int64_t width = 0;
  if (!bind("zfill", args, {"width"}, 1, a, false) || !get_index(a[0], width, "wrong type of a width")) return false;
  const Str& s = v.str();
  const bool sign = !s.text.empty() && (s.text[0] == '+' || s.text[0] == '-');
  if (!sign) return pad(v, width, text("0"), 2, out);
  Value digits;
  if (!pad(substring(v, 1, s.text.size()), width - 1, text("0"), 2, digits)) return false;
  StringBuilder b(heap_);
  b.append(s, 0, 1);
  b.append(digits.str());
  out = b.finish();
  return true;
}

inline bool Interpreter::str_refused(const Value&, Args&, Value&) {
  return fail("a method of strings is not available in chat templates", Errc::unsupported);
}

// --- methods of other types ------------------------------------------------------------------------------------------

inline bool Interpreter::dict_get(const Value& d, Args& args, Value& out) {
  Value a[2];
  if (!bind("get", args, {"key", "default"}, 1, a, false)) return false;
  const Value* found = nullptr;
  if (!dict_find(d.as<Dict>(), a[0], found)) return false;
  out = found != nullptr ? *found : a[1].is_missing() ? Value::none() : a[1];
  return true;
}

namespace detail {
inline Value make_view(Heap& heap, const Value& dict, View::Part part) {
  Ref<View> view = heap.make<View>();
  view->dict = dict;
  view->part = part;
  return Value::object(Kind::view, view.get());
}
}  // namespace detail

inline bool Interpreter::dict_items(const Value& d, Args& args, Value& out) {
  out = detail::make_view(heap_, d, View::Part::items);
  return no_arguments("items", args);
}
inline bool Interpreter::dict_keys(const Value& d, Args& args, Value& out) {
  out = detail::make_view(heap_, d, View::Part::keys);
  return no_arguments("keys", args);
}
inline bool Interpreter::dict_values(const Value& d, Args& args, Value& out) {
  out = detail::make_view(heap_, d, View::Part::values);
  return no_arguments("values", args);
}
inline bool Interpreter::dict_copy(const Value& d, Args& args, Value& out) {
  Ref<Dict> copy = heap_.make<Dict>();
  if (!no_arguments("copy", args) || !dict_update(*copy, d)) return false;
  out = Value::object(Kind::dict, copy.get());
  return true;
}
inline bool Interpreter::dict_fromkeys(const Value&, Args& args, Value& out) {
  Value a[2];
  if (!bind("fromkeys", args, {"iterable", "value"}, 1, a, false)) return false;
  if (a[1].is_missing()) a[1] = Value::none();
  Cursor cursor;
  if (!cursor.open(*this, a[0])) return false;
  Ref<Dict> dict = heap_.make<Dict>();
  for (Value key;;) {
    const Step step = cursor.next(*this, key);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    if (!dict_set(*dict, key, a[1])) return false;
  }
  out = Value::object(Kind::dict, dict.get());
  return true;
}

inline bool Interpreter::sequence_count(const Value& l, Args& args, Value& out) {
  Value a[1];
  if (!bind("count", args, {"value"}, 1, a, false)) return false;
  std::int64_t count = 0;
  Cursor cursor;
  if (!cursor.open(*this, l)) return false;
  for (Value item;;) {
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    bool alike = same(item, a[0]);
    if (!alike && !equal(item, a[0], alike)) return false;
    count += alike ? 1 : 0;
  }
  out = Value::integer(count);
  return true;
}
inline bool Interpreter::sequence_index(const Value& l, Args& args, Value& out) {
  Value a[3];
  std::int64_t size = 0;
  if (!bind("index", args, {"value", "start", "stop"}, 1, a, false) || !length(l, size)) return false;
  std::int64_t bounds[2] = {0, size};
  for (std::size_t i = 0; i < 2; ++i) {
    if (a[i + 1].is_missing()) continue;
    if (!get_index(a[i + 1], bounds[i], "wrong type of a position")) return false;
    if (bounds[i] < 0) bounds[i] = std::max<std::int64_t>(bounds[i] + size, 0);
  }
  Cursor cursor;
  if (!cursor.open(*this, l)) return false;
  Value item;
  for (std::int64_t i = 0; i < std::min(bounds[1], size); ++i) {
    const Step step = cursor.next(*this, item);
    if (step == Step::error || !charge(1)) return false;
    if (step == Step::end) break;
    if (i < bounds[0]) continue;
    bool alike = same(item, a[0]);
    if (!alike && !equal(item, a[0], alike)) return false;
    if (alike) {
      out = Value::integer(i);
      return true;
    }
  }
  return fail("a value is not in the sequence");
}
inline bool Interpreter::list_copy(const Value& l, Args& args, Value& out) {
  ListBuilder items(heap_);
  if (!no_arguments("copy", args) || !collect(l, items)) return false;
  out = items.finish();
  return true;
}
inline bool Interpreter::float_is_integer(const Value& v, Args& args, Value& out) {
  out = Value::boolean(std::isfinite(v.as_real()) && std::floor(v.as_real()) == v.as_real());
  return no_arguments("is_integer", args);
}
inline bool Interpreter::int_bit_length(const Value& v, Args& args, Value& out) {
  const std::int64_t i = v.as_integer();
  const std::uint64_t magnitude = i < 0 ? 0 - static_cast<std::uint64_t>(i) : static_cast<std::uint64_t>(i);
  out = Value::integer(64 - std::countl_zero(magnitude));
  return no_arguments("bit_length", args);
}
inline bool Interpreter::number_conjugate(const Value& v, Args& args, Value& out) {
  out = v.is(Kind::boolean) ? Value::integer(v.as_integer()) : v;
  return no_arguments("conjugate", args);
}
inline bool Interpreter::cycler_next(const Value& v, Args& args, Value& out) {
  auto& cycler = v.as<Cycler>();
  out = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return no_arguments("next", args);
}
inline bool Interpreter::cycler_reset(const Value& v, Args& args, Value& out) {
  v.as<Cycler>().position = 0;
  out = Value::none();
  return no_arguments("reset", args);
}

// --- the loop variable -----------------------------------------------------------------------------------------------

inline Step Interpreter::loop_peek(Loop& loop) {
  if (!loop.after.is_missing()) return Step::item;
  if (loop.at_end) return Step::end;
  Value item;
  const Step step = loop.cursor.next(*this, item);
  if (step == Step::item) loop.after = std::move(item);
  loop.at_end = step == Step::end;
  return step;
}

// Items in all; a lazy sequence is read to its end to count them.
inline bool Interpreter::loop_length(Loop& loop) {
  if (loop.length >= 0) return true;
  const Value source = loop.cursor.source();
  if (has_length(source)) return length(source, loop.length);
  ListBuilder rest(heap_);
  while (true) {
    Value item;
    const Step step = loop.cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    if (!rest.push(std::move(item))) return stop_exhausted();
  }
  const auto remaining = static_cast<std::int64_t>(rest.items().size());
  if (!loop.cursor.open(*this, rest.finish())) return false;
  loop.length = remaining + loop.index0 + 1 + (loop.after.is_missing() ? 0 : 1);
  return true;
}

inline bool Interpreter::loop_cycle(const Value& v, Args& args, Value& out) {
  if (!args.named.empty() || args.positional.empty()) return fail("loop.cycle needs values to cycle through");
  out = args.positional[static_cast<std::size_t>(v.as<Loop>().index0) % args.positional.size()];
  return true;
}
inline bool Interpreter::loop_changed(const Value& v, Args& args, Value& out) {
  auto& loop = v.as<Loop>();
  if (!args.named.empty()) return fail("loop.changed takes no named arguments");
  ListBuilder items(heap_);
  for (const Value& item : args.positional) {
    if (!items.push(item)) return stop_exhausted();
  }
  const Value now = items.finish(Kind::tuple);
  bool alike = false;
  if (!loop.last_changed.is_missing() && !equal(loop.last_changed, now, alike)) return false;
  if (!alike) loop.last_changed = now;
  out = Value::boolean(!alike);
  return true;
}

namespace detail {

// Methods by name; what is safe to call on each type.
struct Methods {
  std::unordered_map<std::string_view, MethodEntry> entries;
  Methods(std::initializer_list<MethodEntry> list) {
    for (const MethodEntry& e : list) entries.emplace(e.name, e);
  }
  [[nodiscard]] const MethodEntry* find(std::string_view name) const {
    const auto i = entries.find(name);
    return i == entries.end() ? nullptr : &i->second;
  }
};

inline bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace detail

inline Value Interpreter::make_method(const Value& self, const MethodEntry& entry) {
  Ref<Method> method = heap_.make<Method>();
  method->self = self;
  method->entry = &entry;
  return Value::object(Kind::method, method.get());
}

inline bool Interpreter::loop_attribute(const Value& v, std::string_view name, Value& out, bool& found) {
  static const detail::Methods methods{{"cycle", &Interpreter::loop_cycle}, {"changed", &Interpreter::loop_changed}};
  auto& loop = v.as<Loop>();
  found = true;
  if (const MethodEntry* entry = methods.find(name)) {
    out = make_method(v, *entry);
  } else if (name == "index") {
    out = Value::integer(loop.index0 + 1);
  } else if (name == "index0") {
    out = Value::integer(loop.index0);
  } else if (name == "first") {
    out = Value::boolean(loop.index0 == 0);
  } else if (name == "depth") {
    out = Value::integer(loop.depth0 + 1);
  } else if (name == "depth0") {
    out = Value::integer(loop.depth0);
  } else if (name == "previtem") {
    out = loop.index0 == 0 ? undefined_hint("there is no previous item") : loop.before;
  } else if (name == "last" || name == "nextitem") {
    const Step step = loop_peek(loop);
    if (step == Step::error) return false;
    if (name == "last") out = Value::boolean(step == Step::end);
    else out = step == Step::end ? undefined_hint("there is no next item") : loop.after;
  } else if (name == "length" || name == "revindex" || name == "revindex0") {
    if (!loop_length(loop)) return false;
    out = Value::integer(name == "length" ? loop.length : loop.length - loop.index0 - (name == "revindex0" ? 1 : 0));
  } else {
    found = false;
  }
  return true;
}

// --- attributes and items --------------------------------------------------------------------------------------------

// Python's getattr: methods and attributes, never items.
inline bool Interpreter::find_attribute(const Value& object, std::string_view name, Value& out, bool& found) {
  using I = Interpreter;
  static const detail::Methods of_str{{"capitalize", &I::str_capitalize},
                                      {"casefold", &I::str_casefold},
                                      {"center", &I::str_center},
                                      {"count", &I::str_count},
                                      {"encode", &I::str_refused},
                                      {"endswith", &I::str_endswith},
                                      {"expandtabs", &I::str_expandtabs},
                                      {"find", &I::str_find},
                                      {"format", &I::str_format},
                                      {"format_map", &I::str_format_map},
                                      {"index", &I::str_index},
                                      {"isalnum", &I::str_isalnum},
                                      {"isalpha", &I::str_isalpha},
                                      {"isascii", &I::str_isascii},
                                      {"isdecimal", &I::str_isdecimal},
                                      {"isdigit", &I::str_isdigit},
                                      {"isidentifier", &I::str_isidentifier},
                                      {"islower", &I::str_islower},
                                      {"isnumeric", &I::str_isnumeric},
                                      {"isprintable", &I::str_isprintable},
                                      {"isspace", &I::str_isspace},
                                      {"istitle", &I::str_istitle},
                                      {"isupper", &I::str_isupper},
                                      {"join", &I::str_join},
                                      {"ljust", &I::str_ljust},
                                      {"lower", &I::str_lower},
                                      {"lstrip", &I::str_lstrip},
                                      {"maketrans", &I::str_refused},
                                      {"partition", &I::str_partition},
                                      {"removeprefix", &I::str_removeprefix},
                                      {"removesuffix", &I::str_removesuffix},
                                      {"replace", &I::str_replace},
                                      {"rfind", &I::str_rfind},
                                      {"rindex", &I::str_rindex},
                                      {"rjust", &I::str_rjust},
                                      {"rpartition", &I::str_rpartition},
                                      {"rsplit", &I::str_rsplit},
                                      {"rstrip", &I::str_rstrip},
                                      {"split", &I::str_split},
                                      {"splitlines", &I::str_splitlines},
                                      {"startswith", &I::str_startswith},
                                      {"strip", &I::str_strip},
                                      {"swapcase", &I::str_swapcase},
                                      {"title", &I::str_title},
                                      {"translate", &I::str_refused},
                                      {"upper", &I::str_upper},
                                      {"zfill", &I::str_zfill}};
  static const detail::Methods of_dict{{"get", &I::dict_get},   {"items", &I::dict_items},
                                       {"keys", &I::dict_keys}, {"values", &I::dict_values},
                                       {"copy", &I::dict_copy}, {"fromkeys", &I::dict_fromkeys}};
  static const detail::Methods of_sequence{{"count", &I::sequence_count}, {"index", &I::sequence_index}};
  static const detail::Methods of_list{{"copy", &I::list_copy}};
  static const detail::Methods of_cycler{{"next", &I::cycler_next}, {"reset", &I::cycler_reset}};
  static const detail::Methods of_float{{"is_integer", &I::float_is_integer}, {"conjugate", &I::number_conjugate}};
  static const detail::Methods of_int{{"bit_length", &I::int_bit_length}, {"conjugate", &I::number_conjugate}};
  static const MethodEntry fromkeys{"fromkeys", &I::dict_fromkeys};

  found = true;
  const MethodEntry* entry = nullptr;
  switch (object.kind()) {
    case Kind::undefined: return fail_undefined(object);
    case Kind::string: entry = of_str.find(name); break;
    case Kind::dict:
      entry = of_dict.find(name);
      if (entry == nullptr && detail::is_one_of(name, {"clear", "pop", "popitem", "setdefault", "update"})) {
        out = undefined_member(object, name, Undefined::Why::unsafe);
        return true;
      }
      break;
    case Kind::list:
    case Kind::tuple:
    case Kind::range: {
      entry = of_sequence.find(name);
      if (entry == nullptr && object.is(Kind::list)) {
        entry = of_list.find(name);
        if (entry == nullptr &&
            detail::is_one_of(name, {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"})) {
          out = undefined_member(object, name, Undefined::Why::unsafe);
          return true;
        }
      }
      if (object.is(Kind::tuple) && object.as<List>().group && (name == "grouper" || name == "list")) {
        out = object.as<List>().items[name == "list" ? 1 : 0];
        return true;
      }
      if (object.is(Kind::range) && detail::is_one_of(name, {"start", "stop", "step"})) {
        const auto& r = object.as<Range>();
        out = Value::integer(name == "start" ? r.start : name == "stop" ? r.stop : r.step);
        return true;
      }
      break;
    }
    case Kind::real: entry = of_float.find(name); [[fallthrough]];
    case Kind::boolean:
    case Kind::integer:
      if (!object.is(Kind::real)) entry = of_int.find(name);
      if (name == "real" || (name == "numerator" && !object.is(Kind::real))) {
        out = object.is(Kind::boolean) ? Value::integer(object.as_integer()) : object;
        return true;
      }
      if (name == "imag") {
        out = object.is(Kind::real) ? Value::real(0.0) : Value::integer(0);
        return true;
      }
      if (name == "denominator" && !object.is(Kind::real)) {
        out = Value::integer(1);
        return true;
      }
      break;
    case Kind::name_space: {
      if (!charge(object.as<Namespace>().attributes.size() / 4)) return false;
      const Value* v = object.as<Namespace>().find(name);
      found = v != nullptr;
      if (found) out = *v;
      return true;
    }
    case Kind::loop: return loop_attribute(object, name, out, found);
    case Kind::macro: {
      const Callable& callable = *object.as<MacroObject>().callable;
      if (name == "name") {
        out = callable.name.empty() ? Value::none() : text(callable.name);
      } else if (name == "arguments") {
        ListBuilder names(heap_);
        for (const auto& parameter : callable.parameters) {
          if (!names.push(text(parameter->text))) return stop_exhausted();
        }
        out = names.finish(Kind::tuple);
      } else if (name == "caller") {
        out = Value::boolean(callable.takes_caller);
      } else if (name == "catch_kwargs" || name == "catch_varargs") {
        out = Value::boolean(name == "catch_kwargs" ? callable.takes_kwargs : callable.takes_varargs);
      } else {
        found = false;
      }
      return true;
    }
    case Kind::cycler: {
      const auto& cycler = object.as<Cycler>();
      if (name == "current") {
        out = cycler.items[cycler.position];
        return true;
      }
      if (name == "pos") {
        out = Value::integer(static_cast<std::int64_t>(cycler.position));
        return true;
      }
      entry = of_cycler.find(name);
      break;
    }
    case Kind::function:
      if (kFunctionNames[static_cast<std::size_t>(object.as_integer())] == "dict" && name == "fromkeys")
        entry = &fromkeys;
      break;
    default: break;
  }
  found = entry != nullptr;
  if (found) out = make_method(object, *entry);
  return true;
}

// object.name: the attribute, else the item.
inline bool Interpreter::get_attribute(const Value& object, std::string_view name, Value& out) {
  bool found = false;
  if (!find_attribute(object, name, out, found)) return false;
  if (found) return true;
  if (object.is(Kind::dict)) {
    if (!charge_bytes(name.size())) return false;
    if (const Value* item = object.as<Dict>().find(name)) {
      out = *item;
      return true;
    }
  }
  out = undefined_member(object, name, Undefined::Why::attribute);
  return true;
}

// object[key]: the item, else the attribute.
inline bool Interpreter::get_item(const Value& object, const Value& key, Value& out) {
  if (object.is(Kind::undefined)) return fail_undefined(object);
  if (object.is(Kind::dict)) {
    if (!key.is(Kind::list) && !key.is(Kind::dict)) {
      const Value* item = nullptr;
      if (!dict_find(object.as<Dict>(), key, item)) return false;
      if (item != nullptr) {
        out = *item;
        return true;
      }
    }
  } else if (key.is_integral() &&
             (object.is(Kind::string) || object.is(Kind::list) || object.is(Kind::tuple) || object.is(Kind::range))) {
    std::int64_t size = 0;
    if (!length(object, size)) return false;
    std::int64_t i = key.as_integer();
    if (i < 0) i += size;
    if (i >= 0 && i < size) {
      if (object.is(Kind::range)) {
        out = Value::integer(object.as<Range>().at(i));
      } else if (object.is(Kind::string)) {
        std::size_t begin = 0;
        if (!byte_offset(object.str(), i, begin)) return false;
        out = substring(object, begin, begin + utf8_size(object.str().text[begin]));
        if (object.str().safe) {
          StringBuilder b(heap_);
          b.append(out.str());
          out = b.finish(true);
        }
      } else {
        out = object.as<List>().items[static_cast<std::size_t>(i)];
      }
      return true;
    }
  }
  if (key.is(Kind::string)) {
    bool found = false;
    if (!find_attribute(object, key.str().text, out, found)) return false;
    if (found) return true;
    out = undefined_member(object, key.str().text, Undefined::Why::attribute);
    return true;
  }
  out = undefined_member(object, "of that key", Undefined::Why::element);
  return true;
}

// Python's slice.indices, and how many items that is.
inline bool Interpreter::slice_indices(const Value& start, const Value& stop, const Value& step, std::int64_t size,
                                       SliceIndices& out) {
  const auto read = [&](const Value& v, std::int64_t& i) {
    if (!v.is_integral()) return fail("wrong type of a slice index", "an integer or none", type_name(v));
    i = v.as_integer();
    return true;
  };
  out.stride = 1;
  if (!step.is(Kind::none) && !read(step, out.stride)) return false;
  if (out.stride == 0) return fail("a slice cannot have a step of zero");
  if (out.stride == std::numeric_limits<std::int64_t>::min()) ++out.stride;
  const bool down = out.stride < 0;
  std::int64_t bounds[2] = {down ? size - 1 : 0, down ? -1 : size};
  const Value* given[2] = {&start, &stop};
  for (int i = 0; i < 2; ++i) {
    if (given[i]->is(Kind::none)) continue;
    std::int64_t at = 0;
    if (!read(*given[i], at)) return false;
    if (at < 0) at = std::max<std::int64_t>(at + size, down ? -1 : 0);
    bounds[i] = std::min(at, down ? size - 1 : size);
  }
  out.first = bounds[0];
  out.stop = bounds[1];
  const std::int64_t span = down ? bounds[0] - bounds[1] : bounds[1] - bounds[0];
  out.count = span <= 0 ? 0 : (span - 1) / (down ? -out.stride : out.stride) + 1;
  return true;
}

inline bool Interpreter::get_slice(const Value& object, const Value& start, const Value& stop, const Value& step,
                                   Value& out) {
  if (object.is(Kind::undefined)) return fail_undefined(object);
  if (!object.is(Kind::string) && !object.is(Kind::list) && !object.is(Kind::tuple) && !object.is(Kind::range)) {
    return fail("a value cannot be sliced", "a string or a sequence", type_name(object));
  }
  std::int64_t size = 0;
  SliceIndices indices;
  if (!length(object, size) || !slice_indices(start, stop, step, size, indices)) return false;
  const std::int64_t first = indices.first;
  const std::int64_t count = indices.count;
  const std::int64_t stride = indices.stride;
  if (object.is(Kind::range)) {
    const auto& r = object.as<Range>();
    Ref<Range> part = heap_.make<Range>();
    part->count = count;
    part->start = r.at(first);
    part->stop = r.at(indices.stop);
    part->step = static_cast<std::int64_t>(static_cast<std::uint64_t>(r.step) * static_cast<std::uint64_t>(stride));
    out = Value::object(Kind::range, part.get());
    return true;
  }
  if (!object.is(Kind::string)) {
    const auto& items = object.as<List>().items;
    ListBuilder part(heap_);
    for (std::int64_t i = 0; i < count; ++i) {
      if (!part.push(items[static_cast<std::size_t>(first + i * stride)])) return stop_exhausted();
    }
    out = part.finish(object.kind());
    return true;
  }
  const Str& s = object.str();
  std::size_t begin = 0;
  if (stride == 1) {
    std::size_t end = 0;
    if (!byte_offset(s, first, begin) || !byte_offset(s, first + count, end)) return false;
    out = count == 0 ? text("") : substring(object, begin, end);
  } else {
    std::vector<std::size_t> offsets;
    if (!s.ascii()) {
      for (std::size_t i = 0; i < s.text.size(); i += utf8_size(s.text[i])) offsets.push_back(i);
      if (!charge(offsets.size())) return false;
    }
    StringBuilder b(heap_);
    for (std::int64_t i = 0; i < count && heap_.exhausted() == Exhausted::no; ++i) {
      const auto at = static_cast<std::size_t>(first + i * stride);
      begin = offsets.empty() ? at : offsets[at];
      b.append(s, begin, begin + utf8_size(s.text[begin]));
    }
    out = b.finish();
  }
  if (s.safe) {
    StringBuilder b(heap_);
    b.append(out.str());
    out = b.finish(true);
  }
  return true;
}

// --- calls -----------------------------------------------------------------------------------------------------------

inline bool Interpreter::call(const Value& callee, Args& args, Value& out) {
  const Nested nested(*this);
  if (!nested.ok || !charge(kApplySteps)) return false;
  switch (callee.kind()) {
    case Kind::undefined: return fail_undefined(callee);
    case Kind::function: {
#define TRITIUM_JINJA_POINTER(name, function) &Interpreter::function,
      static constexpr GlobalFunction kFunctions[] = {TRITIUM_JINJA_FUNCTIONS(TRITIUM_JINJA_POINTER)};
#undef TRITIUM_JINJA_POINTER
      return (this->*kFunctions[static_cast<std::size_t>(callee.as_integer())])(args, out);
    }
    case Kind::method: {
      const auto& method = callee.as<Method>();
      if (!(this->*method.entry->call)(method.self, args, out)) return false;
      if (!method.self.is(Kind::string) || !method.self.str().safe) return true;
      const auto mark = [&](Value& v) {  // what Markup makes of itself is Markup
        if (!v.is(Kind::string) || v.str().safe) return;
        StringBuilder b(heap_);
        b.append(v.str());
        v = b.finish(true);
      };
      mark(out);
      if (out.is(Kind::list) || out.is(Kind::tuple)) {
        for (Value& v : out.as<List>().items) mark(v);
      }
      return true;
    }
    case Kind::macro: return call_macro(callee.as<MacroObject>(), args, out);
    case Kind::loop: {
      const auto& loop = callee.as<Loop>();
      Value a[1];
      if (!loop.node->recursive) return fail("a loop that is not marked 'recursive' is called");
      const For& node = *loop.node;
      const Ref<Frame> outer = loop.outer;
      const std::int64_t depth = loop.depth0 + 1;
      return bind("loop", args, {"iterable"}, 1, a) && recurse(node, a[0], depth, outer, out);
    }
    case Kind::joiner: {
      auto& joiner = callee.as<Joiner>();
      if (!no_arguments("joiner", args)) return false;
      out = joiner.used ? joiner.separator : text("");
      joiner.used = true;
      return true;
    }
    default: return fail("a value cannot be called", "a function or a macro", type_name(callee));
  }
}

inline bool Interpreter::call_macro(const MacroObject& macro, Args& args, Value& out) {
  const Callable& callable = *macro.callable;
  const auto wrong = [&](std::string_view expected, std::string_view found) {
    const std::string name = callable.name.empty() ? "caller" : callable.name;
    return fail("wrong arguments for the macro " + name, expected, found);
  };
  const Ref<Frame> frame = make_frame(macro.closure, callable.slots);
  const std::size_t count = callable.parameters.size();
  if (!charge(count + count * args.named.size() / 2)) return false;
  const auto take = [&](const std::string& name, Value& v) {
    for (auto i = args.named.begin(); i != args.named.end(); ++i) {
      if (i->first != name) continue;
      v = std::move(i->second);
      args.named.erase(i);
      return true;
    }
    return false;
  };
  bool found_caller = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Name& parameter = *callable.parameters[i];
    Value& v = frame->slots[parameter.slot.index];
    if (i < args.positional.size()) {
      v = args.positional[i];
    } else {
      take(parameter.text, v);
    }
    // Jinja: with all parameters given by position, `caller` counts as found if it is one of them.
    found_caller = found_caller || parameter.text == "caller";
  }
  if (callable.takes_caller && !found_caller) {
    Value& v = frame->slots[callable.caller];
    if (!take("caller", v) || v.is(Kind::none)) v = undefined_hint("the macro was called without a call block");
  }
  if (callable.takes_kwargs) {
    Ref<Dict> rest = heap_.make<Dict>();
    for (const auto& [name, value] : args.named) {
      if (!dict_set(*rest, text(name), value)) return false;
    }
    frame->slots[callable.kwargs] = Value::object(Kind::dict, rest.get());
  } else if (!args.named.empty()) {
    return wrong("a parameter that it has", args.named.front().first.substr(0, 60));
  }
  if (callable.takes_varargs) {
    ListBuilder rest(heap_);
    for (std::size_t i = count; i < args.positional.size(); ++i) {
      if (!rest.push(args.positional[i])) return stop_exhausted();
    }
    frame->slots[callable.varargs] = rest.finish(Kind::tuple);
  } else if (args.positional.size() > count) {
    return wrong("at most " + std::to_string(count), std::to_string(args.positional.size()));
  }

  if (!charge(kCallSteps)) return false;
  if (++calls_ > heap_.limits().depth) {
    --calls_;
    return fail_depth();
  }
  bool ok = true;
  {
    const Activation activation(*this, frame);
    Capture capture(*this);
    enter(callable.scope);
    for (std::size_t i = 0; i < count && ok; ++i) {
      const std::uint32_t place = callable.parameters[i]->slot.index;
      if (!frame->slots[place].is_missing()) continue;
      const std::size_t first_default = count - callable.defaults.size();
      if (i < first_default) {
        frame->slots[place] = undefined_hint("the parameter '" + callable.parameters[i]->text + "' was not given");
        continue;
      }
      Value v;
      ok = eval(*callable.defaults[i - first_default], v);
      frame->slots[place] = std::move(v);
    }
    ok = ok && execute(callable.body) != Flow::error;
    if (ok) out = capture.text.finish();
  }
  --calls_;
  return ok;
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
