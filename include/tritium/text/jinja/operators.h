// SPDX-License-Identifier: Apache-2.0
// What operators and built-in conversions do: str, repr, truth, equality, order, arithmetic, iteration.
//
// All of it is Python's: 1 == 1.0 == True and hash alike, sequences compare element by element, % on a string formats,
// integers divide towards minus infinity, Markup escapes what is added to it. Integers have 64 bits; a result that
// needs more is an error, never a wrong number. Source: docs.python.org/3/reference/expressions.html.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tritium/text/jinja/interpreter.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

// --- iteration -------------------------------------------------------------------------------------------------------

inline bool Cursor::open(Interpreter& interpreter, Value source) {
  at_ = 0;
  switch (source.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::view:
    case Kind::range:
    case Kind::iterator: source_ = std::move(source); return true;
    default: return interpreter.fail("a value cannot be iterated", "a sequence", Interpreter::type_name(source));
  }
}

inline Step Cursor::next(Interpreter& interpreter, Value& out) {
  switch (source_.kind()) {
    case Kind::string: {
      const Str& s = source_.str();
      if (at_ >= s.text.size()) return Step::end;
      const std::size_t begin = at_;
      at_ += utf8_size(s.text[at_]);
      out = interpreter.substring(source_, begin, at_);
      return Step::item;
    }
    case Kind::list:
    case Kind::tuple: {
      const auto& items = source_.as<List>().items;
      if (at_ >= items.size()) return Step::end;
      out = items[at_++];
      return Step::item;
    }
    case Kind::dict: {
      const auto& entries = source_.as<Dict>().entries;
      if (at_ >= entries.size()) return Step::end;
      out = entries[at_++].key;
      return Step::item;
    }
    case Kind::view: {
      const auto& view = source_.as<View>();
      const auto& entries = view.dict.as<Dict>().entries;
      if (at_ >= entries.size()) return Step::end;
      const Dict::Entry& e = entries[at_++];
      if (view.part == View::Part::items) {
        ListBuilder pair(interpreter.heap_);
        if (!pair.push(e.key) || !pair.push(e.value)) {
          interpreter.stop_exhausted();
          return Step::error;
        }
        out = pair.finish(Kind::tuple);
      } else {
        out = view.part == View::Part::keys ? e.key : e.value;
      }
      return Step::item;
    }
    case Kind::range: {
      const auto& range = source_.as<Range>();
      if (at_ >= static_cast<std::size_t>(range.count)) return Step::end;
      out = Value::integer(range.at(static_cast<std::int64_t>(at_++)));
      return Step::item;
    }
    case Kind::iterator: return source_.as<Iterator>().next(interpreter, out);
    default: return Step::end;
  }
}

inline bool Interpreter::collect(const Value& iterable, ListBuilder& out) {
  Cursor cursor;
  if (!cursor.open(*this, iterable)) return false;
  while (true) {
    Value item;
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) return true;
    if (!out.push(std::move(item))) return stop_exhausted();
  }
}

inline bool Interpreter::has_length(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::view:
    case Kind::range: return true;
    default: return false;
  }
}

inline bool Interpreter::length(const Value& v, std::int64_t& out) {
  switch (v.kind()) {
    case Kind::undefined: out = 0; return true;
    case Kind::string: out = static_cast<std::int64_t>(v.str().length()); return charge(1);
    case Kind::list:
    case Kind::tuple: out = static_cast<std::int64_t>(v.as<List>().items.size()); return true;
    case Kind::dict: out = static_cast<std::int64_t>(v.as<Dict>().entries.size()); return true;
    case Kind::view: out = static_cast<std::int64_t>(v.as<View>().dict.as<Dict>().entries.size()); return true;
    case Kind::range: out = v.as<Range>().count; return true;
    case Kind::loop:
      if (!loop_length(v.as<Loop>())) return false;
      out = v.as<Loop>().length;
      return true;
    default: return fail("a value has no length", "a sequence or a mapping", type_name(v));
  }
}

// --- names and truth -------------------------------------------------------------------------------------------------

inline const char* Interpreter::type_name(const Value& v) {
  switch (v.kind()) {
    case Kind::missing:
    case Kind::undefined: return "Undefined";
    case Kind::none: return "None";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::real: return "float";
    case Kind::function: return "function";
    case Kind::string: return v.str().safe ? "Markup" : "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::dict: return "dict";
    case Kind::view: return "dict view";
    case Kind::range: return "range";
    case Kind::iterator: return "generator";
    case Kind::name_space: return "Namespace";
    case Kind::method: return "method";
    case Kind::macro: return "Macro";
    case Kind::loop: return "LoopContext";
    case Kind::cycler: return "Cycler";
    case Kind::joiner: return "Joiner";
    case Kind::frame: break;
  }
  return "object";
}

inline bool Interpreter::truth(const Value& v) const {
  switch (v.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return v.as_integer() != 0;
    case Kind::real: return v.as_real() != 0;
    case Kind::string: return !v.str().text.empty();
    case Kind::list:
    case Kind::tuple: return !v.as<List>().items.empty();
    case Kind::dict: return !v.as<Dict>().entries.empty();
    case Kind::view: return !v.as<View>().dict.as<Dict>().entries.empty();
    case Kind::range: return v.as<Range>().count != 0;
    default: return true;
  }
}

// --- text ------------------------------------------------------------------------------------------------------------

inline bool Interpreter::number_text(const Value& v, StringBuilder& out) {
  if (v.is(Kind::real) && !charge(kFloatSteps)) return false;
  if (v.is(Kind::boolean)) out.append(v.as_bool() ? "True" : "False", false);
  else if (v.is(Kind::integer)) out.append(std::to_string(v.as_integer()), v.user());
  else out.append(float_text(v.as_real()), v.user());
  return true;
}

inline bool Interpreter::to_text(const Value& v, StringBuilder& out) {
  if (v.is(Kind::string)) {
    out.append(v.str());
    return true;
  }
  if (v.is(Kind::undefined)) return true;
  if (v.is_number()) return number_text(v, out);
  StringBuilder shown(heap_);
  if (!repr(v, shown)) return false;
  if (shown.origin().any_user()) shown.taint();  // a list of a user's strings is the user's
  out.append(shown.finish().str());
  return true;
}

inline bool Interpreter::to_string(const Value& v, Value& out) {
  if (v.is(Kind::string) && !v.str().safe) {
    out = v;
    return true;
  }
  StringBuilder b(heap_);
  if (!to_text(v, b)) return false;
  out = b.finish();
  return true;
}

inline bool Interpreter::soft_string(const Value& v, Value& out) {
  if (!v.is(Kind::string)) return to_string(v, out);
  out = v;
  return true;
}

inline bool Interpreter::repr_items(const std::vector<Value>& items, std::string_view open, std::string_view close,
                                    StringBuilder& out) {
  out.append(open, false);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out.append(", ", false);
    if (!repr(items[i], out)) return false;
  }
  if (close == ")" && items.size() == 1) out.append(",", false);
  out.append(close, false);
  return true;
}

inline bool Interpreter::repr(const Value& v, StringBuilder& out) {
  const Nested nested(*this);
  if (!nested.ok || !charge(1)) return false;
  const auto pairs = [&](const auto& entries, const auto& key, const auto& value) {
    out.append("{", false);
    bool first = true;
    for (const auto& e : entries) {
      if (!first) out.append(", ", false);
      first = false;
      if (!key(e)) return false;
      out.append(": ", false);
      if (!value(e)) return false;
    }
    out.append("}", false);
    return true;
  };
  switch (v.kind()) {
    case Kind::none: out.append("None", false); return true;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real: return number_text(v, out);
    case Kind::undefined: out.append("Undefined", false); return true;
    case Kind::string: {
      const Str& s = v.str();
      if (!charge_scan(s.text.size())) return false;
      std::string quoted;
      append_repr(quoted, s.text);
      if (s.safe) quoted = "Markup(" + quoted + ")";
      out.append(quoted, s.origin.any_user());
      return true;
    }
    case Kind::list: return repr_items(v.as<List>().items, "[", "]", out);
    case Kind::tuple: return repr_items(v.as<List>().items, "(", ")", out);
    case Kind::dict:
      return pairs(
          v.as<Dict>().entries, [&](const Dict::Entry& e) { return repr(e.key, out); },
          [&](const Dict::Entry& e) { return repr(e.value, out); });
    case Kind::view: {
      const View::Part part = v.as<View>().part;
      out.append(part == View::Part::keys     ? "dict_keys("
                 : part == View::Part::values ? "dict_values("
                                              : "dict_items(",
                 false);
      ListBuilder items(heap_);
      if (!collect(v, items) || !repr_items(items.items(), "[", "]", out)) return false;
      out.append(")", false);
      return true;
    }
    case Kind::range: {
      const auto& r = v.as<Range>();
      std::string shown = "range(" + std::to_string(r.start) + ", " + std::to_string(r.stop);
      if (r.step != 1) shown += ", " + std::to_string(r.step);
      out.append(shown + ")", false);
      return true;
    }
    case Kind::name_space: {
      auto& ns = v.as<Namespace>();
      if (ns.printing) {
        out.append("<Namespace {...}>", false);
        return true;
      }
      ns.printing = true;
      out.append("<Namespace ", false);
      const bool ok = pairs(
          ns.attributes,
          [&](const auto& e) {
            std::string quoted;
            append_repr(quoted, e.first);
            out.append(quoted, false);
            return true;
          },
          [&](const auto& e) { return repr(e.second, out); });
      out.append(">", false);
      ns.printing = false;
      return ok;
    }
    case Kind::macro: {
      const Callable& callable = *v.as<MacroObject>().callable;
      std::string name = "anonymous";
      if (!callable.name.empty()) {
        name.clear();
        append_repr(name, callable.name);
      }
      out.append("<Macro " + name + ">", false);
      return true;
    }
    case Kind::loop: {
      auto& loop = v.as<Loop>();
      if (!loop_length(loop)) return false;
      out.append("<LoopContext " + std::to_string(loop.index0 + 1) + "/" + std::to_string(loop.length) + ">", false);
      return true;
    }
    // Python shows an address here, which no template can rely on.
    case Kind::iterator: out.append("<" + std::string(v.as<Iterator>().name()) + " object>", false); return true;
    default: out.append("<" + std::string(type_name(v)) + " object>", false); return true;
  }
}

inline bool Interpreter::escape(const Value& v, Value& out) {
  if (v.is(Kind::string) && v.str().safe) {
    out = v;
    return true;
  }
  Value plain;
  if (!to_string(v, plain)) return false;
  const Str& s = plain.str();
  if (!charge_scan(s.text.size())) return false;
  StringBuilder b(heap_);
  std::size_t copied = 0;
  for (std::size_t i = 0; i < s.text.size(); ++i) {
    const char c = s.text[i];
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '\'' ? "&#39;"
                         : c == '"'  ? "&#34;"
                                     : nullptr;
    if (entity == nullptr) continue;
    b.append(s, copied, i);
    b.append(entity, s.origin.at(i));
    copied = i + 1;
  }
  b.append(s, copied, s.text.size());
  out = b.finish(true);
  return true;
}

inline Value Interpreter::substring(const Value& v, std::size_t begin, std::size_t end) {
  const Str& s = v.str();
  if (begin == 0 && end == s.text.size() && !s.safe) return v;
  if (end - begin == 1) return heap_.single(static_cast<unsigned char>(s.text[begin]), s.origin.at(begin));
  StringBuilder b(heap_);
  b.append(s, begin, end);
  return b.finish();
}

// Byte of a code point in [0, length].
inline bool Interpreter::byte_offset(const Str& s, std::int64_t code_point, std::size_t& out) {
  if (s.ascii()) {
    out = static_cast<std::size_t>(code_point);
    return true;
  }
  std::size_t i = 0;
  for (std::int64_t n = 0; n < code_point && i < s.text.size(); ++n) i += utf8_size(s.text[i]);
  out = i;
  return charge_bytes(i);
}

// First place of `wanted` at or after `from`, npos if there is none. Pays for every byte compared, so that no pair of
// texts can make it slow unnoticed.
inline bool Interpreter::find_text(std::string_view text, std::string_view wanted, std::size_t from, std::size_t& out) {
  out = std::string_view::npos;
  if (from > text.size() || wanted.size() > text.size() - from) return charge(1);
  if (wanted.empty()) {
    out = from;
    return charge(1);
  }
  std::size_t work = 0;
  const std::size_t last = text.size() - wanted.size();
  std::size_t i = from;
  while (i <= last) {
    const auto* hit = static_cast<const char*>(std::memchr(text.data() + i, wanted[0], last - i + 1));
    if (hit == nullptr) {
      i = last + 1;
      break;
    }
    i = static_cast<std::size_t>(hit - text.data());
    std::size_t k = 1;
    while (k < wanted.size() && text[i + k] == wanted[k]) ++k;
    if (k == wanted.size()) {
      out = i;
      break;
    }
    work += k;
    if (work > (1u << 20)) {
      if (!charge(work)) return false;
      work = 0;
    }
    ++i;
  }
  return charge(work / 4) && charge_bytes(i - from);
}

inline bool Interpreter::rfind_text(std::string_view text, std::string_view wanted, std::size_t& out) {
  out = std::string_view::npos;
  if (wanted.size() > text.size()) return charge(1);
  std::size_t work = 0;
  for (std::size_t i = text.size() - wanted.size() + 1; i-- > 0;) {
    std::size_t k = 0;
    while (k < wanted.size() && text[i + k] == wanted[k]) ++k;
    if (k == wanted.size()) {
      out = i;
      break;
    }
    work += k + 1;
    if (work > (1u << 20)) {
      if (!charge(work)) return false;
      work = 0;
    }
  }
  return charge(1 + work / 4);
}

// --- equality, order, hashing ----------------------------------------------------------------------------------------

inline bool Interpreter::same(const Value& a, const Value& b) const {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::none: return true;
    case Kind::boolean:
    case Kind::integer:
    case Kind::function: return a.as_integer() == b.as_integer();
    case Kind::real: return false;
    default: return a.object() == b.object();
  }
}

namespace detail {
// -1, 0, 1 of two numbers; 2 when one is NaN.
inline int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return a.as_integer() < b.as_integer() ? -1 : a.as_integer() > b.as_integer() ? 1 : 0;
  }
  if ((a.is(Kind::real) && std::isnan(a.as_real())) || (b.is(Kind::real) && std::isnan(b.as_real()))) return 2;
  if (a.is_integral()) return compare_integer_float(a.as_integer(), b.as_real());
  if (b.is_integral()) return -compare_integer_float(b.as_integer(), a.as_real());
  return a.as_real() < b.as_real() ? -1 : a.as_real() > b.as_real() ? 1 : 0;
}
}  // namespace detail

inline bool Interpreter::equal(const Value& a, const Value& b, bool& out) {
  const Nested nested(*this);
  if (!nested.ok || !charge(1)) return false;
  out = false;
  if (a.is_number() && b.is_number()) {
    out = detail::compare_numbers(a, b) == 0;
    return true;
  }
  if (a.kind() != b.kind()) return true;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none: out = true; return true;
    case Kind::string: {
      const std::string& x = a.str().text;
      const std::string& y = b.str().text;
      if (x.size() != y.size()) return true;
      out = x == y;
      return charge_bytes(x.size() / 4);
    }
    case Kind::list:
    case Kind::tuple: {
      const auto& x = a.as<List>().items;
      const auto& y = b.as<List>().items;
      if (x.size() != y.size()) return true;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (same(x[i], y[i])) continue;
        if (!equal(x[i], y[i], out)) return false;
        if (!out) return true;
      }
      out = true;
      return true;
    }
    case Kind::dict: {
      const auto& x = a.as<Dict>();
      const auto& y = b.as<Dict>();
      if (x.entries.size() != y.entries.size()) return true;
      for (const Dict::Entry& e : x.entries) {
        const Value* other = nullptr;
        if (!dict_find(y, e.key, other)) return false;
        if (other == nullptr) {
          out = false;
          return true;
        }
        if (same(e.value, *other)) continue;
        if (!equal(e.value, *other, out)) return false;
        if (!out) return true;
      }
      out = true;
      return true;
    }
    case Kind::range: {
      const auto& x = a.as<Range>();
      const auto& y = b.as<Range>();
      out = x.count == y.count && (x.count == 0 || (x.start == y.start && (x.count == 1 || x.step == y.step)));
      return true;
    }
    case Kind::view: {
      const auto& x = a.as<View>();
      const auto& y = b.as<View>();
      if (x.part == View::Part::values || y.part == View::Part::values) {
        out = a.object() == b.object();
        return true;
      }
      const auto& entries = x.dict.as<Dict>().entries;
      if (entries.size() != y.dict.as<Dict>().entries.size()) return true;
      Cursor cursor;
      if (!cursor.open(*this, a)) return false;
      for (Value item;;) {
        const Step step = cursor.next(*this, item);
        if (step == Step::error) return false;
        if (step == Step::end) break;
        if (!contains(b, item, out)) return false;
        if (!out) return true;
      }
      out = true;
      return true;
    }
    default: out = same(a, b); return true;
  }
}

inline bool Interpreter::less(const Value& a, const Value& b, bool& out) {
  return compare(Comparison::less, a, b, out);
}

inline bool Interpreter::compare(Comparison op, const Value& a, const Value& b, bool& out) {
  const Nested nested(*this);
  if (!nested.ok) return false;
  switch (op) {
    case Comparison::equal: return equal(a, b, out);
    case Comparison::not_equal:
      if (!equal(a, b, out)) return false;
      out = !out;
      return true;
    case Comparison::in: return contains(b, a, out);
    case Comparison::not_in:
      if (!contains(b, a, out)) return false;
      out = !out;
      return true;
    default: break;
  }
  const auto decide = [&](int order) {  // 2: unordered
    out = order != 2 && (op == Comparison::less         ? order < 0
                         : op == Comparison::less_equal ? order <= 0
                         : op == Comparison::greater    ? order > 0
                                                        : order >= 0);
    return true;
  };
  if (a.is_number() && b.is_number()) return decide(detail::compare_numbers(a, b)) && charge(1);
  if (a.is(Kind::undefined)) return fail_undefined(a);
  if (b.is(Kind::undefined)) return fail_undefined(b);
  if (a.is(Kind::string) && b.is(Kind::string)) {  // UTF-8 sorts as its code points do
    const int order = a.str().text.compare(b.str().text);
    return decide(order < 0   ? -1
                  : order > 0 ? 1
                              : 0) &&
           charge_bytes(std::min(a.str().text.size(), b.str().text.size()) / 4);
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto& x = a.as<List>().items;
    const auto& y = b.as<List>().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      bool alike = same(x[i], y[i]);
      if (!alike && !equal(x[i], y[i], alike)) return false;
      if (!alike) return compare(op, x[i], y[i], out);
    }
    return decide(x.size() < y.size() ? -1 : x.size() > y.size() ? 1 : 0);
  }
  return fail("values cannot be ordered", type_name(a), type_name(b));
}

inline bool Interpreter::contains(const Value& container, const Value& item, bool& out) {
  out = false;
  switch (container.kind()) {
    case Kind::string: {
      if (!item.is(Kind::string)) return fail("only a string can be in a string", "a string", type_name(item));
      std::size_t place = 0;
      if (!find_text(container.str().text, item.str().text, 0, place)) return false;
      out = place != std::string_view::npos;
      return true;
    }
    case Kind::dict: {
      const Value* found = nullptr;
      if (!dict_find(container.as<Dict>(), item, found)) return false;
      out = found != nullptr;
      return true;
    }
    case Kind::view: {
      const auto& view = container.as<View>();
      const auto& dict = view.dict.as<Dict>();
      if (view.part == View::Part::keys) return contains(view.dict, item, out);
      if (view.part == View::Part::items) {
        if (!item.is(Kind::tuple) || item.as<List>().items.size() != 2) return true;
        const Value* found = nullptr;
        if (!dict_find(dict, item.as<List>().items[0], found)) return false;
        return found == nullptr || same(*found, item.as<List>().items[1])
                   ? (out = found != nullptr, true)
                   : equal(*found, item.as<List>().items[1], out);
      }
      break;
    }
    case Kind::range:
      if (item.is_integral()) {
        const auto& r = container.as<Range>();
        const std::int64_t i = item.as_integer();
        if (r.count > 0) {
          const std::int64_t last = r.at(r.count - 1);
          out = r.step > 0 ? i >= r.start && i <= last : i <= r.start && i >= last;
          const auto from = static_cast<std::uint64_t>(r.step > 0 ? r.start : i);
          const auto to = static_cast<std::uint64_t>(r.step > 0 ? i : r.start);
          const auto step = static_cast<std::uint64_t>(r.step);
          out = out && (to - from) % (r.step > 0 ? step : 0 - step) == 0;
        }
        return true;
      }
      break;
    case Kind::list:
    case Kind::tuple:
    case Kind::iterator:
    case Kind::undefined: break;
    default: return fail("a value cannot contain others", "a sequence or a mapping", type_name(container));
  }
  Cursor cursor;
  if (!cursor.open(*this, container)) return false;
  for (Value candidate;;) {
    const Step step = cursor.next(*this, candidate);
    if (step == Step::error) return false;
    if (step == Step::end) return true;
    if (same(candidate, item)) {
      out = true;
      return charge(1);
    }
    if (!equal(candidate, item, out)) return false;
    if (out) return true;
  }
}

inline bool Interpreter::hash(const Value& v, std::uint64_t& out) {
  const Nested nested(*this);
  if (!nested.ok || !charge(1)) return false;
  switch (v.kind()) {
    case Kind::string: out = Dict::hash_text(v.str().text); return charge_bytes(v.str().text.size());
    case Kind::boolean:
    case Kind::integer: out = std::hash<std::int64_t>{}(v.as_integer()); return true;
    case Kind::real: {  // equal numbers of different types must hash alike
      std::int64_t whole = 0;
      const double d = v.as_real();
      if (truncate_to_integer(d, whole) && static_cast<double>(whole) == d) out = std::hash<std::int64_t>{}(whole);
      else out = std::hash<double>{}(d);
      return true;
    }
    case Kind::none:
    case Kind::undefined: out = static_cast<std::uint64_t>(v.kind()); return true;
    case Kind::tuple:
      out = 1469598103934665603ull;
      for (const Value& item : v.as<List>().items) {
        std::uint64_t h = 0;
        if (!hash(item, h)) return false;
        out = (out ^ h) * 1099511628211ull;
      }
      return true;
    case Kind::view:
      if (v.as<View>().part == View::Part::values) {
        out = std::hash<const void*>{}(v.object());
        return true;
      }
      [[fallthrough]];
    case Kind::list:
    case Kind::dict: return fail("a value cannot be a key", "a string, a number or a tuple", type_name(v));
    default: out = std::hash<const void*>{}(v.object()) + static_cast<std::uint64_t>(v.kind()); return true;
  }
}

inline bool Interpreter::dict_find(const Dict& dict, const Value& key, const Value*& out) {
  out = nullptr;
  if (key.is(Kind::string)) {
    out = dict.find(key.str().text);
    return charge_bytes(key.str().text.size());
  }
  std::uint64_t h = 0;
  if (!hash(key, h)) return false;
  const auto matches = [&](const Dict::Entry& e, bool& alike) {
    alike = same(e.key, key);
    return alike || equal(e.key, key, alike);
  };
  bool alike = false;
  if (dict.index.empty()) {
    for (const Dict::Entry& e : dict.entries) {
      if (!matches(e, alike)) return false;
      if (alike) {
        out = &e.value;
        return true;
      }
    }
    return true;
  }
  const auto [begin, end] = dict.index.equal_range(h);
  for (auto i = begin; i != end; ++i) {
    if (!matches(dict.entries[i->second], alike)) return false;
    if (alike) {
      out = &dict.entries[i->second].value;
      return true;
    }
  }
  return true;
}

// Sets a key while a dict is being made; an existing key keeps its place.
inline bool Interpreter::dict_set(Dict& dict, const Value& key, const Value& value) {
  const Value* known = nullptr;
  if (!dict_find(dict, key, known)) return false;
  if (known != nullptr) {
    *const_cast<Value*>(known) = value;
    return true;
  }
  std::uint64_t h = 0;
  if (dict.entries.size() == Dict::kSmall) {
    for (std::size_t i = 0; i < dict.entries.size(); ++i) {
      if (!hash(dict.entries[i].key, h)) return false;
      dict.index.emplace(h, static_cast<std::uint32_t>(i));
    }
  }
  if (!hash(key, h)) return false;
  if (dict.entries.size() >= Dict::kSmall) dict.index.emplace(h, static_cast<std::uint32_t>(dict.entries.size()));
  dict.entries.push_back({key, value});
  dict.bytes += Dict::kEntryBytes;
  heap_.grow(Dict::kEntryBytes);
  return charge(kEntrySteps);
}

// dict.update(source): a mapping, or an iterable of pairs.
inline bool Interpreter::dict_update(Dict& dict, const Value& source) {
  if (source.is(Kind::dict)) {
    for (const Dict::Entry& e : source.as<Dict>().entries) {
      if (!dict_set(dict, e.key, e.value)) return false;
    }
    return true;
  }
  Cursor cursor;
  if (!cursor.open(*this, source)) return false;
  for (Value item;;) {
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) return true;
    ListBuilder pair(heap_);
    if (!collect(item, pair)) return false;
    if (pair.items().size() != 2)
      return fail("a dict is made of pairs", "2 values", std::to_string(pair.items().size()));
    if (!dict_set(dict, pair.items()[0], pair.items()[1])) return false;
  }
}

// Stable merge sort of `items` by `keys`; every comparison may fail.
inline bool Interpreter::sort(std::vector<Value>& items, std::vector<Value>& keys, bool reverse) {
  std::vector<std::uint32_t> order(items.size());
  std::vector<std::uint32_t> merged(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  for (std::size_t width = 1; width < order.size(); width *= 2) {
    for (std::size_t begin = 0; begin < order.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, order.size());
      const std::size_t end = std::min(begin + 2 * width, order.size());
      std::size_t a = begin;
      std::size_t b = middle;
      for (std::size_t out = begin; out < end; ++out) {
        bool take_b = a == middle;
        if (!take_b && b < end) {  // b goes first only when it is truly smaller (or, reversed, truly larger)
          const Value& x = keys[order[reverse ? a : b]];
          const Value& y = keys[order[reverse ? b : a]];
          if (!charge(kCompareSteps) || !less(x, y, take_b)) return false;
        }
        merged[out] = order[take_b ? b++ : a++];
      }
    }
    order.swap(merged);
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const std::uint32_t i : order) sorted.push_back(items[i]);
  std::vector<Value> sorted_keys;
  sorted_keys.reserve(keys.size());
  for (const std::uint32_t i : order) sorted_keys.push_back(keys[i]);
  items.swap(sorted);
  keys.swap(sorted_keys);
  return charge(items.size());
}

// --- arithmetic ------------------------------------------------------------------------------------------------------

inline bool Interpreter::fail_operands(Arithmetic op, const Value& a, const Value& b) {
  if (a.is(Kind::undefined)) return fail_undefined(a);
  if (b.is(Kind::undefined)) return fail_undefined(b);
  static constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};
  return fail(std::string("the operator ") + kSigns[static_cast<std::size_t>(op)] + " does not take these operands",
              "operands that fit together", std::string(type_name(a)) + " and " + type_name(b));
}

inline bool Interpreter::repeat(const Value& sequence, std::int64_t times, Value& out) {
  times = std::max<std::int64_t>(times, 0);
  if (sequence.is(Kind::string)) {
    const Str& s = sequence.str();
    if (!s.text.empty() && static_cast<std::uint64_t>(times) > heap_.limits().output_bytes / s.text.size()) {
      heap_.exhaust(Exhausted::string_length);
      return stop_exhausted();
    }
    StringBuilder b(heap_);
    for (std::int64_t i = 0; i < times && !s.text.empty(); ++i) b.append(s);
    out = b.finish(s.safe);
    return true;
  }
  const auto& items = sequence.as<List>().items;
  if (!items.empty() &&
      static_cast<std::uint64_t>(times) > heap_.limits().memory_bytes / (items.size() * sizeof(Value))) {
    heap_.exhaust(Exhausted::memory);
    return stop_exhausted();
  }
  ListBuilder copies(heap_);
  for (std::int64_t i = 0; i < times; ++i) {
    if (!charge(1)) return false;
    for (const Value& item : items) {
      if (!copies.push(item)) return stop_exhausted();
    }
    if (items.empty()) break;
  }
  out = copies.finish(sequence.kind());
  return true;
}

inline bool Interpreter::arithmetic(Arithmetic op, const Value& a, const Value& b, Value& out) {
  if (a.is_number() && b.is_number()) return arithmetic_numbers(op, a, b, out);
  const auto sequence = [](const Value& v) { return v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple); };
  if (op == Arithmetic::modulo && a.is(Kind::string)) return percent_format(a, b, out);
  if (op == Arithmetic::multiply && sequence(a) && b.is_integral()) return repeat(a, b.as_integer(), out);
  if (op == Arithmetic::multiply && a.is_integral() && sequence(b)) return repeat(b, a.as_integer(), out);
  if (op == Arithmetic::add && a.is(Kind::string) && b.is(Kind::string)) {
    const bool safe = a.str().safe || b.str().safe;  // Markup escapes the other side
    Value x = a;
    Value y = b;
    if (safe && (!escape(a, x) || !escape(b, y))) return false;
    StringBuilder joined(heap_);
    joined.append(x.str());
    joined.append(y.str());
    out = joined.finish(safe);
    return true;
  }
  if (op == Arithmetic::add && a.kind() == b.kind() && sequence(a)) {
    ListBuilder joined(heap_);
    for (const Value* side : {&a, &b}) {
      for (const Value& item : side->as<List>().items) {
        if (!joined.push(item)) return stop_exhausted();
      }
    }
    out = joined.finish(a.kind());
    return true;
  }
  return fail_operands(op, a, b);
}

inline bool Interpreter::arithmetic_numbers(Arithmetic op, const Value& a, const Value& b, Value& out) {
  const bool user = a.user() || b.user();
  if (op == Arithmetic::power) return power(a, b, out);
  if (a.is_integral() && b.is_integral()) {
    const std::int64_t x = a.as_integer();
    const std::int64_t y = b.as_integer();
    std::int64_t r = 0;
    switch (op) {
      case Arithmetic::add:
        if (__builtin_add_overflow(x, y, &r)) return fail_overflow();
        break;
      case Arithmetic::subtract:
        if (__builtin_sub_overflow(x, y, &r)) return fail_overflow();
        break;
      case Arithmetic::multiply:
        if (__builtin_mul_overflow(x, y, &r)) return fail_overflow();
        break;
      case Arithmetic::divide:
        if (y == 0) return fail("division by zero");
        out = Value::real(divide_integers(x, y), user);
        return true;
      case Arithmetic::floor_divide:
      case Arithmetic::modulo: {
        if (y == 0) return fail("division by zero");
        if (x == std::numeric_limits<std::int64_t>::min() && y == -1) {
          if (op == Arithmetic::floor_divide) return fail_overflow();
          break;
        }
        const std::int64_t quotient = x / y;
        const std::int64_t remainder = x % y;
        const bool adjust = remainder != 0 && (remainder < 0) != (y < 0);
        r = op == Arithmetic::floor_divide ? quotient - (adjust ? 1 : 0) : remainder + (adjust ? y : 0);
        break;
      }
      default: break;
    }
    out = Value::integer(r, user);
    return true;
  }
  const double x = a.as_real();
  const double y = b.as_real();
  double r = 0;
  switch (op) {
    case Arithmetic::add: r = x + y; break;
    case Arithmetic::subtract: r = x - y; break;
    case Arithmetic::multiply: r = x * y; break;
    case Arithmetic::divide:
      if (y == 0) return fail("division by zero");
      r = x / y;
      break;
    case Arithmetic::floor_divide:
    case Arithmetic::modulo: {
      if (y == 0) return fail("division by zero");
      double mod = std::fmod(x, y);  // Python's float floor division: the remainder takes the divisor's sign
      double div = (x - mod) / y;
      if (mod != 0) {
        if ((y < 0) != (mod < 0)) {
          mod += y;
          div -= 1.0;
        }
      } else {
        mod = std::copysign(0.0, y);
      }
      double whole = 0;
      if (div != 0) {
        whole = std::floor(div);
        if (div - whole > 0.5) whole += 1.0;
      } else {
        whole = std::copysign(0.0, x / y);
      }
      r = op == Arithmetic::modulo ? mod : whole;
      break;
    }
    default: break;
  }
  out = Value::real(r, user);
  return true;
}

inline bool Interpreter::power(const Value& a, const Value& b, Value& out) {
  const bool user = a.user() || b.user();
  if (a.is_integral() && b.is_integral() && b.as_integer() >= 0) {
    std::int64_t result = 1;
    std::int64_t base = a.as_integer();
    for (std::int64_t exponent = b.as_integer(); exponent != 0; exponent >>= 1) {
      if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return fail_overflow();
      if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return fail_overflow();
    }
    out = Value::integer(result, user);
    return true;
  }
  const double x = a.as_real();
  const double y = b.as_real();
  if (x == 0 && y < 0) return fail("zero cannot be raised to a negative power");
  if (x < 0 && std::isfinite(y) && y != std::floor(y) && std::isfinite(x)) {
    return fail("a power would be a complex number", Errc::unsupported);
  }
  const double r = std::pow(x, y);
  if (std::isinf(r) && std::isfinite(x) && std::isfinite(y)) return fail("a power is too large for a float");
  out = Value::real(r, user);
  return true;
}

inline bool Interpreter::get_index(const Value& v, std::int64_t& out, std::string_view what) {
  if (!v.is_integral()) {
    if (v.is(Kind::undefined)) return fail_undefined(v);
    return fail(what, "an integer", type_name(v));
  }
  out = v.as_integer();
  return true;
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
