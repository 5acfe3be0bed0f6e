// SPDX-License-Identifier: Apache-2.0
// Jinja's filters, tests and global functions.
//
// map, select, reject, unique, batch, slice, items and reverse are lazy and can be read once, as in Jinja: templates
// test such results for truth, take their first item, or loop over them, and each behaves as a Python generator does.
// What costs depends on the data pays for it step by step. Source:
// jinja.palletsprojects.com/en/stable/templates/#builtin-filters; tojson, raise_exception, strftime_now and the
// namespace rules are those of transformers' chat templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/text/jinja/format.h"
#include "tritium/text/jinja/interpreter.h"
#include "tritium/text/jinja/methods.h"
#include "tritium/text/jinja/operators.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

// --- dispatch --------------------------------------------------------------------------------------------------------

inline bool Interpreter::call_filter(std::uint32_t function, const Value& v, Args& args, Value& out) {
#define TRITIUM_JINJA_POINTER(name, function) &Interpreter::function,
  static constexpr FilterFunction kFunctions[] = {TRITIUM_JINJA_FILTERS(TRITIUM_JINJA_POINTER)};
  if (kFunctions[function] == &Interpreter::filter_refused) {
    return fail("a filter is not available in chat templates", "another filter", kFilterNames[function],
                Errc::unsupported);
  }
  const Nested nested(*this);
  return nested.ok && charge(kApplySteps) && (this->*kFunctions[function])(v, args, out);
}

inline bool Interpreter::call_test(std::uint32_t function, const Value& v, Args& args, bool& out) {
  static constexpr TestFunction kFunctions[] = {TRITIUM_JINJA_TESTS(TRITIUM_JINJA_POINTER)};
#undef TRITIUM_JINJA_POINTER
  const Nested nested(*this);
  return nested.ok && charge(kApplySteps) && (this->*kFunctions[function])(v, args, out);
}

inline bool Interpreter::filter_refused(const Value&, Args&, Value&) { return false; }

namespace detail {
/// `v` as Markup when `like` is.
inline Value safe_like(Heap& heap, const Value& like, const Value& v) {
  if (!like.is(Kind::string) || !like.str().safe || !v.is(Kind::string) || v.str().safe) return v;
  StringBuilder b(heap);
  b.append(v.str());
  return b.finish(true);
}
}  // namespace detail

// --- paths and keys --------------------------------------------------------------------------------------------------

inline bool Interpreter::attribute_path(const Value& spec, AttributePath& out) {
  if (spec.is_missing() || spec.is(Kind::none)) return true;
  if (!spec.is(Kind::string)) {
    out.parts.push_back(spec);
    return true;
  }
  const std::string& t = spec.str().text;
  for (std::size_t begin = 0; begin <= t.size();) {
    const std::size_t end = std::min(t.find('.', begin), t.size());
    const std::string_view part = std::string_view(t).substr(begin, end - begin);
    std::int64_t index = 0;
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    out.parts.push_back(digits && parse_integer(part, 10, index) == IntegerText::ok ? Value::integer(index)
                                                                                    : text(part));
    begin = end + 1;
    if (!charge(1)) return false;
  }
  return true;
}

inline bool Interpreter::follow(const AttributePath& path, const Value& v, const Value* fallback, Value& out) {
  out = v;
  for (const Value& part : path.parts) {
    const Value object = out;
    if (!charge(1) || !get_item(object, part, out)) return false;
    if (fallback != nullptr && !fallback->is(Kind::none) && out.is(Kind::undefined)) out = *fallback;
  }
  return true;
}

inline Value Interpreter::ignore_case(const Value& v) { return v.is(Kind::string) ? change_case(v, Case::lower) : v; }

// --- lazy sequences --------------------------------------------------------------------------------------------------

/// What map, select and their kin have in common: a source, and arguments that are looked at when reading starts.
struct ArgumentIterator : Iterator {
  Value source;
  Cursor cursor;
  Args args;
  bool started = false;
  void drop() override {
    source = Value();
    cursor.drop();
    args.positional.clear();
    args.named.clear();
  }
};

struct MapIterator final : ArgumentIterator {
  Interpreter::AttributePath path;
  Value fallback = Value::none();
  std::uint32_t filter = kUnknownFunction;
  void drop() override {
    ArgumentIterator::drop();
    path.parts.clear();
    fallback = Value();
  }
  Step next(Interpreter& i, Value& out) override {
    const Interpreter::Nested nested(i);
    if (!nested.ok) return Step::error;
    if (!started) {
      started = true;
      if (!i.truth(source)) return Step::end;
      if (!prepare(i) || !cursor.open(i, source)) return Step::error;
    } else if (cursor.source().is_missing()) {
      return Step::end;
    }
    Value item;
    const Step step = cursor.next(i, item);
    if (step != Step::item) return step;
    if (!i.charge(1 + args.size())) return Step::error;
    if (filter == kUnknownFunction) return i.follow(path, item, &fallback, out) ? Step::item : Step::error;
    Args copy = args;
    return i.call_filter(filter, item, copy, out) ? Step::item : Step::error;
  }
  bool prepare(Interpreter& i) {
    if (args.positional.empty()) {
      Value attribute;
      for (auto& [name, value] : args.named) {
        if (name == "attribute") attribute = value;
        else if (name == "default") fallback = value;
      }
      if (attribute.is_missing()) return i.fail("the filter map needs a filter or an attribute");
      for (const auto& [name, value] : args.named) {
        if (name != "attribute" && name != "default")
          return i.fail("wrong arguments for map", "attribute and default", name.substr(0, 60));
      }
      return i.attribute_path(attribute, path);
    }
    const Value name = args.positional[0];
    if (!name.is(Kind::string))
      return i.fail("the filter map needs the name of a filter", "a string", i.type_name(name));
    filter = find_name(kFilterNames, name.str().text);
    if (filter == kUnknownFunction) return i.fail("no such filter", "a filter of Jinja", name.str().text.substr(0, 60));
    args.positional.erase(args.positional.begin());
    return true;
  }
};

struct SelectIterator final : ArgumentIterator {
  Interpreter::AttributePath path;
  bool keep = true;
  bool by_attribute = false;
  std::uint32_t test = kUnknownFunction;
  void drop() override {
    ArgumentIterator::drop();
    path.parts.clear();
  }
  Step next(Interpreter& i, Value& out) override {
    const Interpreter::Nested nested(i);
    if (!nested.ok) return Step::error;
    if (!started) {
      started = true;
      if (!i.truth(source)) return Step::end;
      if (!prepare(i) || !cursor.open(i, source)) return Step::error;
    } else if (cursor.source().is_missing()) {
      return Step::end;
    }
    while (true) {
      Value item;
      const Step step = cursor.next(i, item);
      if (step != Step::item) return step;
      Value tested = item;
      if (!i.charge(1 + args.size()) || (by_attribute && !i.follow(path, item, nullptr, tested))) return Step::error;
      bool holds = false;
      if (test == kUnknownFunction) {
        holds = i.truth(tested);
      } else {
        Args copy = args;
        if (!i.call_test(test, tested, copy, holds)) return Step::error;
      }
      if (holds != keep) continue;
      out = item;
      return Step::item;
    }
  }
  bool prepare(Interpreter& i) {
    if (by_attribute) {
      if (args.positional.empty()) return i.fail("a filter needs the name of an attribute");
      if (!i.attribute_path(args.positional[0], path)) return false;
      args.positional.erase(args.positional.begin());
    }
    if (args.positional.empty()) return true;
    const Value name = args.positional[0];
    if (!name.is(Kind::string)) return i.fail("a filter needs the name of a test", "a string", i.type_name(name));
    test = find_name(kTestNames, name.str().text);
    if (test == kUnknownFunction) return i.fail("no such test", "a test of Jinja", name.str().text.substr(0, 60));
    args.positional.erase(args.positional.begin());
    return true;
  }
};

struct UniqueIterator final : Iterator {
  Value source;
  Cursor cursor;
  Interpreter::AttributePath path;
  bool case_sensitive = false;
  bool started = false;
  Ref<Dict> seen;
  void drop() override {
    source = Value();
    cursor.drop();
    path.parts.clear();
    seen = Ref<Dict>();
  }
  Step next(Interpreter& i, Value& out) override {
    const Interpreter::Nested nested(i);
    if (!nested.ok) return Step::error;
    if (!started) {
      started = true;
      seen = i.heap_.make<Dict>();
      if (!cursor.open(i, source)) return Step::error;
    } else if (cursor.source().is_missing()) {
      return Step::end;
    }
    while (true) {
      Value item;
      const Step step = cursor.next(i, item);
      if (step != Step::item) return step;
      Value key;
      const Value* known = nullptr;
      if (!i.charge(1) || !i.follow(path, item, nullptr, key)) return Step::error;
      if (!case_sensitive) key = i.ignore_case(key);
      if (!i.dict_find(*seen, key, known)) return Step::error;
      if (known != nullptr) continue;
      if (!i.dict_set(*seen, key, Value::none())) return Step::error;
      out = item;
      return Step::item;
    }
  }
};

struct BatchIterator final : Iterator {
  Value source;
  Cursor cursor;
  std::int64_t size = 0;
  Value fill;
  Value pending;
  bool started = false;
  bool at_end = false;
  void drop() override {
    source = fill = pending = Value();
    cursor.drop();
  }
  Step next(Interpreter& i, Value& out) override {
    const Interpreter::Nested nested(i);
    if (!nested.ok) return Step::error;
    if (!started && !cursor.open(i, source)) return Step::error;
    const bool first = !started;
    started = true;
    if (at_end || (!first && pending.is_missing())) return Step::end;
    ListBuilder batch(i.heap_);
    if (!pending.is_missing() && !batch.push(std::exchange(pending, Value()))) return error(i);
    while (true) {
      Value item;
      const Step step = cursor.next(i, item);
      if (step == Step::error) return step;
      if (step == Step::end) break;
      if (static_cast<std::int64_t>(batch.items().size()) == size) {
        pending = std::move(item);
        out = batch.finish();
        return Step::item;
      }
      if (!batch.push(std::move(item))) return error(i);
    }
    at_end = true;
    if (batch.items().empty()) return Step::end;
    while (!fill.is(Kind::none) && static_cast<std::int64_t>(batch.items().size()) < size) {
      if (!batch.push(fill)) return error(i);
    }
    out = batch.finish();
    return Step::item;
  }
  static Step error(Interpreter& i) {
    i.stop_exhausted();
    return Step::error;
  }
};

struct SliceIterator final : Iterator {
  Value source;
  Value items;
  std::int64_t slices = 0;
  std::int64_t number = 0;
  std::int64_t offset = 0;
  Value fill;
  void drop() override { source = items = fill = Value(); }
  Step next(Interpreter& i, Value& out) override {
    const Interpreter::Nested nested(i);
    if (!nested.ok) return Step::error;
    if (items.is_missing()) {
      ListBuilder all(i.heap_);
      if (!i.collect(source, all)) return Step::error;
      items = all.finish();
    }
    if (slices == 0) {
      i.fail("a sequence cannot be cut into no slices");
      return Step::error;
    }
    if (number >= slices) return Step::end;
    const auto& all = items.as<List>().items;
    const auto length = static_cast<std::int64_t>(all.size());
    const std::int64_t each = length / slices;
    const std::int64_t extra = length % slices;
    const std::int64_t start = offset + number * each;
    if (number < extra) ++offset;
    const std::int64_t end = offset + (number + 1) * each;
    ListBuilder part(i.heap_);
    for (std::int64_t k = start; k < end; ++k) {
      if (!part.push(all[static_cast<std::size_t>(k)])) return BatchIterator::error(i);
    }
    if (!fill.is(Kind::none) && number >= extra && !part.push(fill)) return BatchIterator::error(i);
    ++number;
    out = part.finish();
    return i.charge(1) ? Step::item : Step::error;
  }
};

struct ItemsIterator final : Iterator {
  Value source;
  Cursor cursor;
  bool started = false;
  void drop() override {
    source = Value();
    cursor.drop();
  }
  Step next(Interpreter& i, Value& out) override {
    if (!started) {
      started = true;
      if (source.is(Kind::undefined)) return Step::end;
      if (!source.is(Kind::dict)) {
        i.fail("only a mapping has items", "a dict", i.type_name(source));
        return Step::error;
      }
      if (!cursor.open(i, detail::make_view(i.heap_, source, View::Part::items))) return Step::error;
    } else if (cursor.source().is_missing()) {
      return Step::end;
    }
    return cursor.next(i, out);
  }
};

struct ReverseIterator final : Iterator {
  Value source;
  std::int64_t at = -1;  // the next item, counted from the front
  void drop() override { source = Value(); }
  const char* name() const override { return "reversed"; }
  Step next(Interpreter& i, Value& out) override {
    if (at < 0) return Step::end;
    const auto k = static_cast<std::size_t>(at--);
    switch (source.kind()) {
      case Kind::list:
      case Kind::tuple: out = source.as<List>().items[k]; break;
      case Kind::dict: out = source.as<Dict>().entries[k].key; break;
      case Kind::range: out = Value::integer(source.as<Range>().at(static_cast<std::int64_t>(k))); break;
      default: {
        const auto& view = source.as<View>();
        const Dict::Entry& e = view.dict.as<Dict>().entries[k];
        if (view.part != View::Part::items) {
          out = view.part == View::Part::keys ? e.key : e.value;
          break;
        }
        ListBuilder pair(i.heap_);
        if (!pair.push(e.key) || !pair.push(e.value)) return BatchIterator::error(i);
        out = pair.finish(Kind::tuple);
      }
    }
    return i.charge(1) ? Step::item : Step::error;
  }
};

inline bool Interpreter::filter_map(const Value& v, Args& args, Value& out) {
  Ref<MapIterator> it = heap_.make<MapIterator>();
  it->source = v;
  it->args = std::move(args);
  out = Value::object(Kind::iterator, it.get());
  return true;
}

inline bool Interpreter::select_filter(const Value& v, Args& args, bool keep, bool by_attribute, Value& out) {
  Ref<SelectIterator> it = heap_.make<SelectIterator>();
  it->source = v;
  it->args = std::move(args);
  it->keep = keep;
  it->by_attribute = by_attribute;
  out = Value::object(Kind::iterator, it.get());
  return true;
}
inline bool Interpreter::filter_select(const Value& v, Args& args, Value& out) {
  return select_filter(v, args, true, false, out);
}
inline bool Interpreter::filter_reject(const Value& v, Args& args, Value& out) {
  return select_filter(v, args, false, false, out);
}
inline bool Interpreter::filter_selectattr(const Value& v, Args& args, Value& out) {
  return select_filter(v, args, true, true, out);
}
inline bool Interpreter::filter_rejectattr(const Value& v, Args& args, Value& out) {
  return select_filter(v, args, false, true, out);
}

inline bool Interpreter::filter_unique(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("unique", args, {"case_sensitive", "attribute"}, 0, a)) return false;
  Ref<UniqueIterator> it = heap_.make<UniqueIterator>();
  it->source = v;
  it->case_sensitive = truth(a[0]);
  if (!attribute_path(a[1], it->path)) return false;
  out = Value::object(Kind::iterator, it.get());
  return true;
}

inline bool Interpreter::filter_batch(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("batch", args, {"linecount", "fill_with"}, 1, a)) return false;
  Ref<BatchIterator> it = heap_.make<BatchIterator>();
  it->source = v;
  if (!get_index(a[0], it->size, "wrong type of a batch size")) return false;
  it->fill = a[1].is_missing() ? Value::none() : a[1];
  out = Value::object(Kind::iterator, it.get());
  return true;
}

inline bool Interpreter::filter_slice(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("slice", args, {"slices", "fill_with"}, 1, a)) return false;
  Ref<SliceIterator> it = heap_.make<SliceIterator>();
  it->source = v;
  if (!get_index(a[0], it->slices, "wrong type of a number of slices")) return false;
  it->fill = a[1].is_missing() ? Value::none() : a[1];
  out = Value::object(Kind::iterator, it.get());
  return true;
}

inline bool Interpreter::filter_items(const Value& v, Args& args, Value& out) {
  Ref<ItemsIterator> it = heap_.make<ItemsIterator>();
  it->source = v;
  out = Value::object(Kind::iterator, it.get());
  return no_arguments("items", args);
}

inline bool Interpreter::filter_reverse(const Value& v, Args& args, Value& out) {
  if (!no_arguments("reverse", args)) return false;
  if (v.is(Kind::string)) return get_slice(v, Value::none(), Value::none(), Value::integer(-1), out);
  if (v.is(Kind::iterator)) {
    ListBuilder items(heap_);
    if (!collect(v, items)) return false;
    std::reverse(items.items().begin(), items.items().end());
    out = items.finish();
    return true;
  }
  std::int64_t size = 0;
  if (!has_length(v)) return fail("only a sequence can be reversed", "a sequence", type_name(v));
  if (!length(v, size)) return false;
  Ref<ReverseIterator> it = heap_.make<ReverseIterator>();
  it->source = v;
  it->at = size - 1;
  out = Value::object(Kind::iterator, it.get());
  return true;
}

// --- sequences -------------------------------------------------------------------------------------------------------

inline bool Interpreter::filter_length(const Value& v, Args& args, Value& out) {
  std::int64_t size = 0;
  if (!no_arguments("length", args) || !length(v, size)) return false;
  out = Value::integer(size);
  return true;
}

inline bool Interpreter::filter_list(const Value& v, Args& args, Value& out) {
  ListBuilder items(heap_);
  if (!no_arguments("list", args) || !collect(v, items)) return false;
  out = items.finish();
  return true;
}

inline bool Interpreter::filter_first(const Value& v, Args& args, Value& out) {
  Cursor cursor;
  if (!no_arguments("first", args) || !cursor.open(*this, v)) return false;
  const Step step = cursor.next(*this, out);
  if (step == Step::end) out = undefined_hint("there is no first item: the sequence is empty");
  return step != Step::error;
}

inline bool Interpreter::filter_last(const Value& v, Args& args, Value& out) {
  std::int64_t size = 0;
  if (!no_arguments("last", args)) return false;
  if (!has_length(v)) return fail("only a sequence has a last item", "a sequence", type_name(v));
  if (!length(v, size)) return false;
  if (size == 0) {
    out = undefined_hint("there is no last item: the sequence is empty");
    return true;
  }
  if (v.is(Kind::string)) return get_item(v, Value::integer(-1), out);
  Ref<ReverseIterator> it = heap_.make<ReverseIterator>();
  it->source = v;
  it->at = size - 1;
  return it->next(*this, out) == Step::item;
}

inline bool Interpreter::filter_join(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("join", args, {"d", "attribute"}, 0, a)) return false;
  AttributePath path;
  if (!attribute_path(a[1], path)) return false;
  Value separator = text("");
  if (!a[0].is_missing() && !to_string(a[0], separator)) return false;
  Cursor cursor;
  if (!cursor.open(*this, v)) return false;
  StringBuilder b(heap_);
  for (bool first = true;; first = false) {
    Value item;
    const Step step = cursor.next(*this, item);
    if (step == Step::error || !charge(1)) return false;
    if (step == Step::end) break;
    if (!first) b.append(separator.str());
    if (!path.parts.empty()) {
      const Value object = item;
      if (!follow(path, object, nullptr, item)) return false;
    }
    if (!to_text(item, b)) return false;
  }
  out = b.finish();
  return true;
}

inline bool Interpreter::filter_sort(const Value& v, Args& args, Value& out) {
  Value a[3];
  if (!bind("sort", args, {"reverse", "case_sensitive", "attribute"}, 0, a)) return false;
  std::vector<AttributePath> paths;
  if (a[2].is(Kind::string)) {
    const std::string& t = a[2].str().text;
    for (std::size_t begin = 0; begin <= t.size();) {
      const std::size_t end = std::min(t.find(',', begin), t.size());
      paths.emplace_back();
      if (!attribute_path(text(std::string_view(t).substr(begin, end - begin)), paths.back())) return false;
      begin = end + 1;
    }
  } else {
    paths.emplace_back();
    if (!attribute_path(a[2], paths.back())) return false;
  }
  ListBuilder items(heap_);
  ListBuilder keys(heap_);
  if (!collect(v, items)) return false;
  for (const Value& item : items.items()) {
    ListBuilder key(heap_);
    for (const AttributePath& path : paths) {
      Value part;
      if (!follow(path, item, nullptr, part)) return false;
      if (!key.push(truth(a[1]) ? part : ignore_case(part))) return stop_exhausted();
    }
    if (!keys.push(key.finish())) return stop_exhausted();
  }
  if (!sort(items.items(), keys.items(), truth(a[0]))) return false;
  out = items.finish();
  return true;
}

inline bool Interpreter::filter_dictsort(const Value& v, Args& args, Value& out) {
  Value a[3];
  if (!bind("dictsort", args, {"case_sensitive", "by", "reverse"}, 0, a)) return false;
  bool by_value = false;
  if (!a[1].is_missing()) {
    const bool named = a[1].is(Kind::string) && (a[1].str().text == "key" || a[1].str().text == "value");
    if (!named) return fail("a dict can only be sorted by key or by value", "'key' or 'value'", type_name(a[1]));
    by_value = a[1].str().text == "value";
  }
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (!v.is(Kind::dict)) return fail("only a mapping can be sorted by keys", "a dict", type_name(v));
  ListBuilder items(heap_);
  ListBuilder keys(heap_);
  if (!collect(detail::make_view(heap_, v, View::Part::items), items)) return false;
  for (const Value& item : items.items()) {
    const Value& key = item.as<List>().items[by_value ? 1 : 0];
    if (!keys.push(truth(a[0]) ? key : ignore_case(key))) return stop_exhausted();
  }
  if (!sort(items.items(), keys.items(), truth(a[2]))) return false;
  out = items.finish();
  return true;
}

inline bool Interpreter::filter_groupby(const Value& v, Args& args, Value& out) {
  Value a[3];
  if (!bind("groupby", args, {"attribute", "default", "case_sensitive"}, 1, a)) return false;
  AttributePath path;
  if (!attribute_path(a[0], path)) return false;
  if (a[1].is_missing()) a[1] = Value::none();
  const bool case_sensitive = truth(a[2]);
  ListBuilder items(heap_);
  ListBuilder keys(heap_);
  if (!collect(v, items)) return false;
  for (const Value& item : items.items()) {
    Value key;
    if (!follow(path, item, &a[1], key)) return false;
    if (!keys.push(case_sensitive ? key : ignore_case(key))) return stop_exhausted();
  }
  if (!sort(items.items(), keys.items(), false)) return false;
  ListBuilder groups(heap_);
  for (std::size_t begin = 0; begin < items.items().size();) {
    ListBuilder members(heap_);
    std::size_t end = begin;
    while (end < items.items().size()) {
      bool alike = same(keys.items()[begin], keys.items()[end]);
      if (!alike && !equal(keys.items()[begin], keys.items()[end], alike)) return false;
      if (!alike) break;
      if (!members.push(items.items()[end++])) return stop_exhausted();
    }
    if (end == begin) {  // a key that is not equal to itself (NaN) stands alone
      if (!members.push(items.items()[end++])) return stop_exhausted();
    }
    Value key = keys.items()[begin];
    if (!case_sensitive && !follow(path, items.items()[begin], &a[1], key)) return false;
    ListBuilder group(heap_);
    if (!group.push(key) || !group.push(members.finish())) return stop_exhausted();
    const Value pair = group.finish(Kind::tuple);
    pair.as<List>().group = true;
    if (!groups.push(pair)) return stop_exhausted();
    begin = end;
  }
  out = groups.finish();
  return true;
}

inline bool Interpreter::minmax(const Value& v, Args& args, bool want_max, std::string_view name, Value& out) {
  Value a[2];
  AttributePath path;
  if (!bind(name, args, {"case_sensitive", "attribute"}, 0, a) || !attribute_path(a[1], path)) return false;
  Cursor cursor;
  if (!cursor.open(*this, v)) return false;
  Value best_key;
  while (true) {
    Value item;
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    Value key;
    if (!charge(1) || !follow(path, item, nullptr, key)) return false;
    if (!truth(a[0])) key = ignore_case(key);
    bool better = best_key.is_missing();
    if (!better && !compare(want_max ? Comparison::greater : Comparison::less, key, best_key, better)) return false;
    if (!better) continue;
    best_key = key;
    out = item;
  }
  if (best_key.is_missing()) out = undefined_hint("there is no such item: the sequence is empty");
  return true;
}
inline bool Interpreter::filter_min(const Value& v, Args& args, Value& out) {
  return minmax(v, args, false, "min", out);
}
inline bool Interpreter::filter_max(const Value& v, Args& args, Value& out) {
  return minmax(v, args, true, "max", out);
}

inline bool Interpreter::filter_sum(const Value& v, Args& args, Value& out) {
  Value a[2];
  AttributePath path;
  if (!bind("sum", args, {"attribute", "start"}, 0, a) || !attribute_path(a[0], path)) return false;
  Value total = a[1].is_missing() ? Value::integer(0) : a[1];
  if (total.is(Kind::string)) return fail("strings are joined, not summed", "a number to start with", "a string");
  Cursor cursor;
  if (!cursor.open(*this, v)) return false;
  while (true) {
    Value item;
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    Value term;
    if (!charge(1) || !follow(path, item, nullptr, term)) return false;
    const Value before = total;
    if (!arithmetic(Arithmetic::add, before, term, total)) return false;
  }
  out = total;
  return true;
}

// --- values ----------------------------------------------------------------------------------------------------------

inline bool Interpreter::filter_default(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("default", args, {"default_value", "boolean"}, 0, a)) return false;
  const bool use = v.is(Kind::undefined) || (truth(a[1]) && !truth(v));
  out = !use ? v : a[0].is_missing() ? text("") : a[0];
  return true;
}

inline bool Interpreter::filter_attr(const Value& v, Args& args, Value& out) {
  Value a[1];
  if (!bind("attr", args, {"name"}, 1, a) || !want_string(a[0], "the name of an attribute", a[0])) return false;
  bool found = false;
  if (!find_attribute(v, a[0].str().text, out, found)) return false;
  if (!found) out = undefined_member(v, a[0].str().text, Undefined::Why::attribute);
  return true;
}

inline bool Interpreter::filter_abs(const Value& v, Args& args, Value& out) {
  if (!no_arguments("abs", args)) return false;
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (!v.is_number()) return fail("only a number has an absolute value", "a number", type_name(v));
  if (v.is(Kind::real)) {
    out = Value::real(std::fabs(v.as_real()), v.user());
    return true;
  }
  if (v.as_integer() == std::numeric_limits<std::int64_t>::min()) return fail_overflow();
  out = Value::integer(v.as_integer() < 0 ? -v.as_integer() : v.as_integer(), v.user());
  return true;
}

inline bool Interpreter::filter_int(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("int", args, {"default", "base"}, 0, a)) return false;
  std::int64_t base = 10;
  std::int64_t i = 0;
  if (!a[1].is_missing() && !get_index(a[1], base, "wrong type of a number base")) return false;
  const Value fallback = a[0].is_missing() ? Value::integer(0) : a[0];
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (v.is_integral()) {
    out = Value::integer(v.as_integer(), v.user());
    return true;
  }
  double d = 0;
  bool user = v.user();
  if (v.is(Kind::string)) {
    const std::string& t = v.str().text;
    user = v.str().origin.any_user();
    if (!charge(kFloatSteps + t.size() / 4)) return false;
    const bool base_ok = base == 0 || (base >= 2 && base <= 36);
    switch (base_ok ? parse_integer(t, static_cast<int>(base), i) : IntegerText::malformed) {
      case IntegerText::ok: out = Value::integer(i, user); return true;
      case IntegerText::too_large: return fail_overflow();
      case IntegerText::malformed: break;
    }
    if (!parse_float(t, d) || !std::isfinite(d)) {
      out = fallback;
      return true;
    }
  } else if (v.is(Kind::real)) {
    d = v.as_real();
    if (std::isinf(d)) return fail("infinity is no integer");
    if (std::isnan(d)) {
      out = fallback;
      return true;
    }
  } else {
    out = fallback;
    return true;
  }
  if (!truncate_to_integer(d, i)) return fail_overflow();
  out = Value::integer(i, user);
  return true;
}

inline bool Interpreter::filter_float(const Value& v, Args& args, Value& out) {
  Value a[1];
  if (!bind("float", args, {"default"}, 0, a)) return false;
  if (v.is(Kind::undefined)) return fail_undefined(v);
  double d = 0;
  if (v.is_number()) {
    out = Value::real(v.as_real(), v.user());
  } else if (v.is(Kind::string) && charge(kFloatSteps + v.str().text.size() / 4) && parse_float(v.str().text, d)) {
    out = Value::real(d, v.str().origin.any_user());
  } else {
    out = a[0].is_missing() ? Value::real(0.0) : a[0];
  }
  return true;
}

inline bool Interpreter::filter_round(const Value& v, Args& args, Value& out) {
  Value a[2];
  if (!bind("round", args, {"precision", "method"}, 0, a)) return false;
  if (a[0].is_missing()) a[0] = Value::integer(0);
  const std::string method = a[1].is_missing() ? "common" : a[1].is(Kind::string) ? a[1].str().text : "";
  if (method != "common" && method != "ceil" && method != "floor") {
    return fail("a number is rounded by an unknown method", "common, ceil or floor", "another");
  }
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (!v.is_number()) return fail("only a number can be rounded", "a number", type_name(v));
  const bool user = v.user();
  if (method == "common" && a[0].is(Kind::none)) {  // round(x): to an integer
    std::int64_t i = v.as_integer();
    if (v.is(Kind::real) && !truncate_to_integer(round_float(v.as_real(), 0), i)) return fail_overflow();
    out = Value::integer(i, user);
    return true;
  }
  std::int64_t precision = 0;
  if (!get_index(a[0], precision, "wrong type of a precision")) return false;
  if (!charge(precision < 0 ? 32 * kFloatSteps : kFloatSteps)) return false;  // left of the point: all 300 digits
  if (method == "common") {
    if (v.is(Kind::real)) {
      out = Value::real(round_float(v.as_real(), precision), user);
      return true;
    }
    std::int64_t i = v.as_integer();
    if (precision < 0) {
      if (precision < -18) {
        i = 0;
      } else {
        std::int64_t unit = 1;
        for (std::int64_t k = precision; k < 0; ++k) unit *= 10;
        const std::int64_t rest = ((i % unit) + unit) % unit;
        std::int64_t down = 0;
        if (__builtin_sub_overflow(i, rest, &down)) return fail_overflow();
        const bool up = rest > unit - rest || (rest == unit - rest && ((down / unit) & 1) != 0);
        i = down;
        if (up && __builtin_add_overflow(down, unit, &i)) return fail_overflow();
      }
    }
    out = Value::integer(i, user);
    return true;
  }
  Value unit;
  Value scaled;
  if (!power(Value::integer(10), Value::integer(precision), unit) ||
      !arithmetic_numbers(Arithmetic::multiply, v, unit, scaled))
    return false;
  std::int64_t whole = scaled.as_integer();
  if (scaled.is(Kind::real) &&
      !truncate_to_integer(method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real()), whole)) {
    return fail_overflow();
  }
  return arithmetic_numbers(Arithmetic::divide, Value::integer(whole, user), unit, out);
}

inline bool Interpreter::filter_filesizeformat(const Value& v, Args& args, Value& out) {
  Value a[1];
  if (!bind("filesizeformat", args, {"binary"}, 0, a)) return false;
  const bool binary = truth(a[0]);
  double bytes = 0;
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (v.is_number()) bytes = v.as_real();
  else if (!v.is(Kind::string) || !parse_float(v.str().text, bytes))
    return fail("a file size must be a number", "a number", type_name(v));
  const bool user = v.user() || (v.is(Kind::string) && v.str().origin.any_user());
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) {
    out = text("1 Byte", user);
    return true;
  }
  std::int64_t whole = 0;
  if (bytes < base) {
    if (!truncate_to_integer(bytes, whole)) return fail_overflow();
    out = text(std::to_string(whole) + " Bytes", user);
    return true;
  }
  if (!std::isfinite(bytes)) return fail("a file size must be finite");
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  for (std::size_t i = 0; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (bytes >= unit && i + 1 < kPrefixes.size()) continue;
    const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
    out = text(fixed_digits(base * bytes / unit, 1) + " " + prefix + (binary ? "iB" : "B"), user);
    break;
  }
  return true;
}

// --- text ------------------------------------------------------------------------------------------------------------

inline bool Interpreter::filter_string(const Value& v, Args& args, Value& out) {
  return no_arguments("string", args) && soft_string(v, out);
}

inline bool Interpreter::filter_safe(const Value& v, Args& args, Value& out) {
  if (!no_arguments("safe", args)) return false;
  StringBuilder b(heap_);
  if (!to_text(v, b)) return false;
  out = b.finish(true);
  return true;
}

inline bool Interpreter::filter_escape(const Value& v, Args& args, Value& out) {
  return no_arguments("escape", args) && escape(v, out);
}

inline bool Interpreter::filter_forceescape(const Value& v, Args& args, Value& out) {
  Value plain;
  return no_arguments("forceescape", args) && to_string(v, plain) && escape(plain, out);
}

inline bool Interpreter::filter_upper(const Value& v, Args& args, Value& out) {
  Value s;
  if (!no_arguments("upper", args) || !soft_string(v, s)) return false;
  out = detail::safe_like(heap_, s, change_case(s, Case::upper));
  return true;
}
inline bool Interpreter::filter_lower(const Value& v, Args& args, Value& out) {
  Value s;
  if (!no_arguments("lower", args) || !soft_string(v, s)) return false;
  out = detail::safe_like(heap_, s, change_case(s, Case::lower));
  return true;
}
inline bool Interpreter::filter_capitalize(const Value& v, Args& args, Value& out) {
  Value s;
  if (!no_arguments("capitalize", args) || !soft_string(v, s)) return false;
  out = detail::safe_like(heap_, s, change_case(s, Case::capitalize));
  return true;
}

// Jinja's own title: words begin after white space and - ( { [ <, and nowhere else.
inline bool Interpreter::filter_title(const Value& v, Args& args, Value& out) {
  Value s;
  if (!no_arguments("title", args) || !soft_string(v, s)) return false;
  const Str& text = s.str();
  const auto separates = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  StringBuilder b(heap_);
  std::size_t tail = 0;      // where the part of the word that becomes lower case begins
  std::size_t word_end = 0;  // a capital sigma looks as far as the end of its word
  bool in_word = false;
  for (std::size_t i = 0; i < text.text.size(); i += utf8_size(text.text[i])) {
    const char32_t c = utf8_decode(text.text, i);
    Mapped m = detail::one(static_cast<utf8proc_int32_t>(c));
    if (separates(c)) {
      in_word = false;
    } else if (!in_word) {
      in_word = true;
      m = to_upper(c);
      tail = i + utf8_size(text.text[i]);
      word_end = tail;
      while (word_end < text.text.size() && !separates(utf8_decode(text.text, word_end))) {
        word_end += utf8_size(text.text[word_end]);
      }
    } else {
      m = to_lower_at(std::string_view(text.text).substr(tail, word_end - tail), i - tail);
    }
    for (std::size_t k = 0; k < m.count; ++k) b.append_code_point(m.points[k], text.origin.at(i));
    if (!charge(2)) return false;
  }
  out = b.finish();
  return true;
}

inline bool Interpreter::filter_trim(const Value& v, Args& args, Value& out) {
  Value a[1];
  Value s;
  if (!bind("trim", args, {"chars"}, 0, a) || !soft_string(v, s)) return false;
  const bool all_space = a[0].is_missing() || a[0].is(Kind::none);
  if (!all_space && !want_string(a[0], "the characters to trim", a[0])) return false;
  out = detail::safe_like(heap_, s, strip(s, all_space ? nullptr : a, true, true));
  return charge(1);
}

inline bool Interpreter::filter_center(const Value& v, Args& args, Value& out) {
  Value a[1];
  Value s;
  std::int64_t width = 80;
  if (!bind("center", args, {"width"}, 0, a) || !soft_string(v, s)) return false;
  if (!a[0].is_missing() && !get_index(a[0], width, "wrong type of a width")) return false;
  Value padded;
  if (!pad(s, width, text(" "), 1, padded)) return false;
  out = detail::safe_like(heap_, s, padded);
  return true;
}

inline bool Interpreter::filter_replace(const Value& v, Args& args, Value& out) {
  Value a[3];
  Value s;
  if (!bind("replace", args, {"old", "new", "count"}, 2, a) || !to_string(v, s)) return false;
  Value old;
  Value fresh;
  std::int64_t count = -1;
  if (!to_string(a[0], old) || !to_string(a[1], fresh)) return false;
  if (!a[2].is_missing() && !a[2].is(Kind::none) && !get_index(a[2], count, "wrong type of a count")) return false;
  return replace_text(s, old, fresh, count, false, out);
}

inline bool Interpreter::filter_format(const Value& v, Args& args, Value& out) {
  Value s;
  if (!args.positional.empty() && !args.named.empty())
    return fail("the filter format takes positional or named arguments, not both");
  if (!soft_string(v, s)) return false;
  if (!args.named.empty()) {
    Ref<Dict> dict = heap_.make<Dict>();
    for (const auto& [name, value] : args.named) {
      if (!dict_set(*dict, text(name), value)) return false;
    }
    return percent_format(s, Value::object(Kind::dict, dict.get()), out);
  }
  ListBuilder items(heap_);
  for (const Value& item : args.positional) {
    if (!items.push(item)) return stop_exhausted();
  }
  return percent_format(s, items.finish(Kind::tuple), out);
}

inline bool Interpreter::filter_indent(const Value& v, Args& args, Value& out) {
  Value a[3];
  if (!bind("indent", args, {"width", "first", "blank"}, 0, a)) return false;
  if (!v.is(Kind::string)) {
    if (v.is(Kind::undefined)) return fail_undefined(v);
    return fail("only text can be indented", "a string", type_name(v));
  }
  Value indention;
  if (a[0].is(Kind::string)) {
    indention = a[0];
  } else {
    std::int64_t width = 4;
    if (!a[0].is_missing() && !get_index(a[0], width, "wrong type of an indentation")) return false;
    if (!repeat(text(" "), width, indention)) return false;
  }
  const Str& s = v.str();
  // Python appends a newline before it splits: text that ends in a line break has one more, empty, line.
  bool open_end = s.text.empty();
  if (!s.text.empty()) {
    std::size_t last = s.text.size() - 1;
    while ((static_cast<unsigned char>(s.text[last]) & 0xC0u) == 0x80u) --last;
    const char32_t c = utf8_decode(s.text, last);
    open_end = is_line_break(c) && c != '\r';  // "\r" and the newline are one break
  }
  StringBuilder b(heap_);
  const bool indent_first = truth(a[1]);
  const bool blank = truth(a[2]);
  bool first = true;
  const auto line = [&](std::size_t begin, std::size_t end, std::size_t) {
    if (!first) b.append("\n", false);
    if (first ? indent_first : blank || begin != end) b.append(indention.str());
    b.append(s, begin, end);
    first = false;
    return heap_.exhausted() == Exhausted::no || stop_exhausted();
  };
  if (!each_line(v, line) || (open_end && !line(s.text.size(), s.text.size(), 0))) return false;
  out = b.finish(s.safe);
  return true;
}

inline bool Interpreter::filter_truncate(const Value& v, Args& args, Value& out) {
  Value a[4];
  if (!bind("truncate", args, {"length", "killwords", "end", "leeway"}, 0, a)) return false;
  std::int64_t limit = 255;
  std::int64_t leeway = 5;
  std::int64_t size = 0;
  if (!a[0].is_missing() && !get_index(a[0], limit, "wrong type of a length")) return false;
  if (!a[3].is_missing() && !a[3].is(Kind::none) && !get_index(a[3], leeway, "wrong type of a leeway")) return false;
  Value end = a[2].is_missing() ? text("...") : a[2];
  if (!want_string(end, "the end of a truncated text", end)) return false;
  const auto end_size = static_cast<std::int64_t>(end.str().length());
  if (limit < end_size || leeway < 0) return fail("a text cannot be truncated to less than its end");
  if (!length(v, size)) return false;
  if (size <= limit || size - limit <= leeway) {
    out = v;
    return true;
  }
  if (!v.is(Kind::string)) return fail("only text can be truncated", "a string", type_name(v));
  Value head;
  if (!get_slice(v, Value::none(), Value::integer(limit - end_size), Value::none(), head)) return false;
  if (!truth(a[1])) {
    const std::size_t space = head.str().text.rfind(' ');
    if (space != std::string::npos) head = detail::safe_like(heap_, v, substring(head, 0, space));
  }
  return arithmetic(Arithmetic::add, head, end, out);
}

inline bool Interpreter::filter_wordcount(const Value& v, Args& args, Value& out) {
  Value s;
  if (!no_arguments("wordcount", args) || !soft_string(v, s)) return false;
  const std::string& t = s.str().text;
  std::int64_t count = 0;
  bool in_word = false;
  for (std::size_t i = 0; i < t.size(); i += utf8_size(t[i])) {
    const char32_t c = utf8_decode(t, i);
    const bool part = c == '_' || is_alnum(c);
    count += part && !in_word ? 1 : 0;
    in_word = part;
  }
  out = Value::integer(count);
  return charge_scan(t.size());
}

inline bool Interpreter::quote_url(const Value& v, bool query, StringBuilder& out) {
  Value s;
  if (!to_string(v, s)) return false;
  constexpr char kHex[] = "0123456789ABCDEF";
  const Str& t = s.str();
  for (std::size_t i = 0; i < t.text.size(); ++i) {
    const auto c = static_cast<unsigned char>(t.text[i]);
    const bool plain =
        is_alnum(c < 0x80 ? c : U' ') || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    const bool user = t.origin.at(i);
    if (plain) {
      out.append(std::string_view(&t.text[i], 1), user);
    } else if (c == ' ' && query) {
      out.append("+", user);
    } else {
      const char escaped[3] = {'%', kHex[c >> 4], kHex[c & 15]};
      out.append(std::string_view(escaped, 3), user);
    }
    if (heap_.exhausted() != Exhausted::no) return stop_exhausted();
  }
  return true;
}

inline bool Interpreter::filter_urlencode(const Value& v, Args& args, Value& out) {
  if (!no_arguments("urlencode", args)) return false;
  StringBuilder b(heap_);
  if (v.is(Kind::string) || (!has_length(v) && !v.is(Kind::iterator))) {
    if (!quote_url(v, false, b)) return false;
    out = b.finish();
    return true;
  }
  Cursor cursor;
  if (!cursor.open(*this, v.is(Kind::dict) ? detail::make_view(heap_, v, View::Part::items) : v)) return false;
  for (bool first = true;; first = false) {
    Value item;
    const Step step = cursor.next(*this, item);
    if (step == Step::error) return false;
    if (step == Step::end) break;
    ListBuilder pair(heap_);
    if (!collect(item, pair)) return false;
    if (pair.items().size() != 2)
      return fail("a query is made of pairs", "2 values", std::to_string(pair.items().size()));
    if (!first) b.append("&", false);
    if (!quote_url(pair.items()[0], true, b)) return false;
    b.append("=", false);
    if (!quote_url(pair.items()[1], true, b)) return false;
  }
  out = b.finish();
  return true;
}

inline bool Interpreter::filter_xmlattr(const Value& v, Args& args, Value& out) {
  Value a[1];
  if (!bind("xmlattr", args, {"autospace"}, 0, a)) return false;
  if (v.is(Kind::undefined)) return fail_undefined(v);
  if (!v.is(Kind::dict)) return fail("attributes are made from a mapping", "a dict", type_name(v));
  StringBuilder b(heap_);
  const bool space = a[0].is_missing() || truth(a[0]);
  bool first = true;
  for (const Dict::Entry& e : v.as<Dict>().entries) {
    if (e.value.is(Kind::none) || e.value.is(Kind::undefined)) continue;
    if (!e.key.is(Kind::string)) return fail("the name of an attribute must be a string", "a string", type_name(e.key));
    const std::string& name = e.key.str().text;
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      return fail("the name of an attribute has an invalid character");
    Value key;
    Value value;
    if (!escape(e.key, key) || !escape(e.value, value)) return false;
    if (!first || space) b.append(" ", false);
    first = false;
    b.append(key.str());
    b.append("=\"", false);
    b.append(value.str());
    b.append("\"", false);
  }
  out = b.finish();
  return true;
}

// --- tojson ----------------------------------------------------------------------------------------------------------

struct Interpreter::JsonStyle {
  bool ascii = false;
  bool pretty = false;
  bool sorted = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

inline bool Interpreter::write_json_string(const Str& s, bool ascii, StringBuilder& out) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  const auto unit = [&](char32_t c) {
    quoted += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) quoted.push_back(kHex[(c >> shift) & 15]);
  };
  for (std::size_t i = 0; i < s.text.size(); i += utf8_size(s.text[i])) {
    const char32_t c = utf8_decode(s.text, i);
    switch (c) {
      case '"': quoted += "\\\""; break;
      case '\\': quoted += "\\\\"; break;
      case '\n': quoted += "\\n"; break;
      case '\r': quoted += "\\r"; break;
      case '\t': quoted += "\\t"; break;
      case '\b': quoted += "\\b"; break;
      case '\f': quoted += "\\f"; break;
      default:
        if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
          unit(c);
        } else if (ascii && c >= 0x10000) {
          unit(0xD800 + ((c - 0x10000) >> 10));
          unit(0xDC00 + ((c - 0x10000) & 0x3FF));
        } else {
          quoted.append(s.text, i, utf8_size(s.text[i]));
        }
    }
  }
  quoted.push_back('"');
  out.append(quoted, s.origin.any_user());
  return charge_scan(quoted.size());
}

inline bool Interpreter::write_json(const Value& v, const JsonStyle& style, std::uint32_t level, StringBuilder& out) {
  const Nested nested(*this);
  if (!nested.ok || !charge(1)) return false;
  const auto number = [&](const Value& n) {
    if (n.is(Kind::real) && !std::isfinite(n.as_real())) {
      out.append(std::isnan(n.as_real()) ? "NaN" : n.as_real() > 0 ? "Infinity" : "-Infinity", n.user());
    } else if (n.is(Kind::boolean)) {
      out.append(n.as_bool() ? "true" : "false", false);
    } else {
      number_text(n, out);
    }
  };
  const auto new_line = [&](std::uint32_t depth) {
    if (!style.pretty) return;
    out.append("\n", false);
    out.repeat(style.indent, depth, false);
  };
  switch (v.kind()) {
    case Kind::none: out.append("null", false); return true;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real: number(v); return true;
    case Kind::string: return write_json_string(v.str(), style.ascii, out);
    case Kind::list:
    case Kind::tuple: {
      const auto& items = v.as<List>().items;
      if (items.empty()) {
        out.append("[]", false);
        return true;
      }
      out.append("[", false);
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) out.append(style.item_separator, false);
        new_line(level + 1);
        if (!write_json(items[i], style, level + 1, out)) return false;
      }
      new_line(level);
      out.append("]", false);
      return true;
    }
    case Kind::dict: {
      const auto& entries = v.as<Dict>().entries;
      if (entries.empty()) {
        out.append("{}", false);
        return true;
      }
      std::vector<Value> keys;
      std::vector<Value> values;
      for (const Dict::Entry& e : entries) {
        keys.push_back(e.key);
        values.push_back(e.value);
      }
      if (!charge(keys.size()) || (style.sorted && !sort(values, keys, false))) return false;
      out.append("{", false);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i != 0) out.append(style.item_separator, false);
        new_line(level + 1);
        const Value& key = keys[i];
        if (key.is(Kind::string)) {
          if (!write_json_string(key.str(), style.ascii, out)) return false;
        } else if (key.is_number() || key.is(Kind::none)) {
          out.append("\"", false);
          if (key.is(Kind::none)) out.append("null", false);
          else number(key);
          out.append("\"", false);
        } else {
          return fail("a key cannot be written as JSON", "a string, a number, a boolean or none", type_name(key));
        }
        out.append(style.key_separator, false);
        if (!write_json(values[i], style, level + 1, out)) return false;
      }
      new_line(level);
      out.append("}", false);
      return true;
    }
    default: return fail("a value cannot be written as JSON", "data", type_name(v));
  }
}

inline bool Interpreter::filter_tojson(const Value& v, Args& args, Value& out) {
  Value a[4];
  if (!bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, a)) return false;
  JsonStyle style;
  style.ascii = truth(a[0]);
  style.sorted = truth(a[3]);
  if (!a[1].is_missing() && !a[1].is(Kind::none)) {
    style.pretty = true;
    style.item_separator = ",";
    if (a[1].is(Kind::string)) {
      style.indent = a[1].str().text;
    } else {
      std::int64_t width = 0;
      if (!get_index(a[1], width, "wrong type of an indentation")) return false;
      if (width > 4096)
        return fail("an indentation is too wide", "at most 4096", std::to_string(width), Errc::out_of_range);
      style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
    }
  }
  if (!a[2].is_missing() && !a[2].is(Kind::none)) {
    ListBuilder pair(heap_);
    if (!collect(a[2], pair)) return false;
    if (pair.items().size() != 2 || !pair.items()[0].is(Kind::string) || !pair.items()[1].is(Kind::string)) {
      return fail("wrong separators for JSON", "two strings", "something else");
    }
    style.item_separator = pair.items()[0].str().text;
    style.key_separator = pair.items()[1].str().text;
  }
  StringBuilder b(heap_);
  if (!write_json(v, style, 0, b)) return false;
  if (b.origin().any_user()) b.taint();
  out = b.finish();
  return true;
}

// --- tests -----------------------------------------------------------------------------------------------------------

inline bool Interpreter::binary_test(std::string_view name, Comparison op, const Value& v, Args& args, bool& out) {
  Value a[1];
  return bind(name, args, {"other"}, 1, a, false) && compare(op, v, a[0], out);
}
inline bool Interpreter::test_eq(const Value& v, Args& args, bool& out) {
  return binary_test("eq", Comparison::equal, v, args, out);
}
inline bool Interpreter::test_ne(const Value& v, Args& args, bool& out) {
  return binary_test("ne", Comparison::not_equal, v, args, out);
}
inline bool Interpreter::test_gt(const Value& v, Args& args, bool& out) {
  return binary_test("gt", Comparison::greater, v, args, out);
}
inline bool Interpreter::test_ge(const Value& v, Args& args, bool& out) {
  return binary_test("ge", Comparison::greater_equal, v, args, out);
}
inline bool Interpreter::test_lt(const Value& v, Args& args, bool& out) {
  return binary_test("lt", Comparison::less, v, args, out);
}
inline bool Interpreter::test_le(const Value& v, Args& args, bool& out) {
  return binary_test("le", Comparison::less_equal, v, args, out);
}
inline bool Interpreter::test_in(const Value& v, Args& args, bool& out) {
  Value a[1];
  return bind("in", args, {"seq"}, 1, a) && contains(a[0], v, out);
}
inline bool Interpreter::test_odd(const Value& v, Args& args, bool& out) {
  Value rest;
  return no_arguments("odd", args) && arithmetic(Arithmetic::modulo, v, Value::integer(2), rest) &&
         equal(rest, Value::integer(1), out);
}
inline bool Interpreter::test_even(const Value& v, Args& args, bool& out) {
  Value rest;
  return no_arguments("even", args) && arithmetic(Arithmetic::modulo, v, Value::integer(2), rest) &&
         equal(rest, Value::integer(0), out);
}
inline bool Interpreter::test_divisibleby(const Value& v, Args& args, bool& out) {
  Value a[1];
  Value rest;
  return bind("divisibleby", args, {"num"}, 1, a) && arithmetic(Arithmetic::modulo, v, a[0], rest) &&
         equal(rest, Value::integer(0), out);
}
inline bool Interpreter::test_defined(const Value& v, Args& args, bool& out) {
  out = !v.is(Kind::undefined);
  return no_arguments("defined", args);
}
inline bool Interpreter::test_undefined(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::undefined);
  return no_arguments("undefined", args);
}
inline bool Interpreter::test_none(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::none);
  return no_arguments("none", args);
}
inline bool Interpreter::test_boolean(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::boolean);
  return no_arguments("boolean", args);
}
inline bool Interpreter::test_true(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::boolean) && v.as_bool();
  return no_arguments("true", args);
}
inline bool Interpreter::test_false(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::boolean) && !v.as_bool();
  return no_arguments("false", args);
}
inline bool Interpreter::test_integer(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::integer);
  return no_arguments("integer", args);
}
inline bool Interpreter::test_float(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::real);
  return no_arguments("float", args);
}
inline bool Interpreter::test_number(const Value& v, Args& args, bool& out) {
  out = v.is_number();
  return no_arguments("number", args);
}
inline bool Interpreter::test_string(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::string);
  return no_arguments("string", args);
}
inline bool Interpreter::test_mapping(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::dict);
  return no_arguments("mapping", args);
}
inline bool Interpreter::test_sequence(const Value& v, Args& args, bool& out) {
  out = has_length(v) && !v.is(Kind::view);  // Undefined too: Jinja's has a length and subscripts
  return no_arguments("sequence", args);
}
inline bool Interpreter::test_iterable(const Value& v, Args& args, bool& out) {
  out = has_length(v) || v.is(Kind::iterator) || v.is(Kind::loop);
  return no_arguments("iterable", args);
}
inline bool Interpreter::test_callable(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::function) || v.is(Kind::method) || v.is(Kind::macro) || v.is(Kind::loop) || v.is(Kind::joiner) ||
        v.is(Kind::undefined);
  return no_arguments("callable", args);
}
inline bool Interpreter::test_escaped(const Value& v, Args& args, bool& out) {
  out = v.is(Kind::string) && v.str().safe;
  return no_arguments("escaped", args);
}
inline bool Interpreter::test_sameas(const Value& v, Args& args, bool& out) {
  Value a[1];
  if (!bind("sameas", args, {"other"}, 1, a)) return false;
  out = same(v, a[0]);
  return true;
}
inline bool Interpreter::test_lower(const Value& v, Args& args, bool& out) {
  Value s;
  if (!no_arguments("lower", args) || !to_string(v, s)) return false;
  out = cased_as(s.str().text, false);
  return charge_scan(s.str().text.size());
}
inline bool Interpreter::test_upper(const Value& v, Args& args, bool& out) {
  Value s;
  if (!no_arguments("upper", args) || !to_string(v, s)) return false;
  out = cased_as(s.str().text, true);
  return charge_scan(s.str().text.size());
}
inline bool Interpreter::test_filter(const Value& v, Args& args, bool& out) {
  std::uint64_t h = 0;
  out = v.is(Kind::string) && find_name(kFilterNames, v.str().text) != kUnknownFunction;
  return no_arguments("filter", args) && hash(v, h);
}
inline bool Interpreter::test_test(const Value& v, Args& args, bool& out) {
  std::uint64_t h = 0;
  out = v.is(Kind::string) && find_name(kTestNames, v.str().text) != kUnknownFunction;
  return no_arguments("test", args) && hash(v, h);
}

// --- global functions ------------------------------------------------------------------------------------------------

inline bool Interpreter::global_range(Args& args, Value& out) {
  constexpr std::uint64_t kMaxRange = 100000;  // the sandbox's own limit
  Value a[3];
  if (!bind("range", args, {"start", "stop", "step"}, 1, a, false)) return false;
  std::int64_t values[3] = {0, 0, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!a[i].is_missing() && !get_index(a[i], values[i], "wrong type of an end of a range")) return false;
  }
  if (a[1].is_missing()) {
    values[1] = values[0];
    values[0] = 0;
  }
  if (values[2] == 0) return fail("a range cannot have a step of zero");
  const auto distance = [](std::int64_t from, std::int64_t to) {
    return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
  };
  std::uint64_t count = 0;
  if (values[2] > 0 && values[0] < values[1]) {
    count = (distance(values[0], values[1]) - 1) / static_cast<std::uint64_t>(values[2]) + 1;
  } else if (values[2] < 0 && values[0] > values[1]) {
    count = (distance(values[1], values[0]) - 1) / (0 - static_cast<std::uint64_t>(values[2])) + 1;
  }
  if (count > kMaxRange) {
    return fail("a range is too big", "at most " + std::to_string(kMaxRange) + " items", std::to_string(count),
                Errc::out_of_range);
  }
  Ref<Range> range = heap_.make<Range>();
  range->start = values[0];
  range->stop = values[1];
  range->step = values[2];
  range->count = static_cast<std::int64_t>(count);
  out = Value::object(Kind::range, range.get());
  return true;
}

inline bool Interpreter::global_dict(Args& args, Value& out) {
  Ref<Dict> dict = heap_.make<Dict>();
  if (args.positional.size() > 1)
    return fail("wrong arguments for dict", "at most 1", std::to_string(args.positional.size()));
  if (!args.positional.empty()) {
    if (args.positional[0].is(Kind::undefined)) return fail_undefined(args.positional[0]);
    if (!dict_update(*dict, args.positional[0])) return false;
  }
  for (const auto& [name, value] : args.named) {
    if (!dict_set(*dict, text(name), value)) return false;
  }
  out = Value::object(Kind::dict, dict.get());
  return true;
}

inline bool Interpreter::global_namespace(Args& args, Value& out) {
  Value made;
  if (!global_dict(args, made)) return false;
  Ref<Namespace> ns = heap_.make<Namespace>();
  for (const Dict::Entry& e : made.as<Dict>().entries) {
    if (!e.key.is(Kind::string)) return fail("an attribute of a namespace needs a name", "a string", type_name(e.key));
    const std::string& name = e.key.str().text;
    if (!name.empty() && name[0] == '_') {
      return fail("an attribute of a namespace cannot begin with an underscore", "another name", name.substr(0, 60));
    }
    ns->attributes.emplace_back(name, e.value);
    ns->bytes += 64;
    heap_.grow(64);
  }
  out = Value::object(Kind::name_space, ns.get());
  return true;
}

inline bool Interpreter::global_cycler(Args& args, Value& out) {
  if (!args.named.empty() || args.positional.empty()) return fail("a cycler needs values to cycle through");
  Ref<Cycler> cycler = heap_.make<Cycler>(args.positional.size() * sizeof(Value));
  cycler->items = std::move(args.positional);
  out = Value::object(Kind::cycler, cycler.get());
  return true;
}

inline bool Interpreter::global_joiner(Args& args, Value& out) {
  Value a[1];
  if (!bind("joiner", args, {"sep"}, 0, a)) return false;
  Ref<Joiner> joiner = heap_.make<Joiner>();
  joiner->separator = a[0].is_missing() ? text(", ") : a[0];
  out = Value::object(Kind::joiner, joiner.get());
  return true;
}

inline bool Interpreter::global_lipsum(Args&, Value&) {
  return fail("a function is not available in chat templates", "another function", "lipsum", Errc::unsupported);
}

inline bool Interpreter::global_raise_exception(Args& args, Value&) {
  Value a[1];
  Value message;
  if (!bind("raise_exception", args, {"message"}, 1, a) || !to_string(a[0], message)) return false;
  return fail("the template refuses: " + message.str().text.substr(0, 1000));
}

inline bool Interpreter::global_strftime_now(Args& args, Value& out) {
  Value a[1];
  if (!bind("strftime_now", args, {"format"}, 1, a) || !want_string(a[0], "a time format", a[0])) return false;
  if (!charge_bytes(a[0].str().text.size() * 16)) return false;
  std::tm now{};
  if (clock_) {
    now = clock_();
  } else {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &now);
  }
  if (a[0].str().text.size() > 65536)
    return fail("a time format is too long", "at most 65536 bytes", "more", Errc::out_of_range);
  out = heap_.string(format_time(now, a[0].str().text), a[0].str().origin.any_user());
  return true;
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
