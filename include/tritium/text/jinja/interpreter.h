// SPDX-License-Identifier: Apache-2.0
// The interpreter: walks a template's tree and writes the rendered text.
//
// One Interpreter is one render: it owns the heap, the variables and the output. Every function that can fail returns
// false and leaves one Error behind; no exception is thrown. Three meters run all the time: fuel (each node, item and
// 16 bytes of text is a step, whatever they are nested in), memory alive, and depth (of calls, and of everything that
// recurses). This header has the statements and expressions; operators.h, methods.h, format.h and filters.h have what
// the values can do.
// Source: Jinja 3.1's documentation and behaviour, Python 3's semantics of operators and calls.
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/status.h"
#include "tritium/text/jinja/builtins.h"
#include "tritium/text/jinja/lexer.h"
#include "tritium/text/jinja/syntax.h"
#include "tritium/text/jinja/value.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

class Interpreter;

enum class Step : std::uint8_t { item, end, error };

/// Reads any iterable from its beginning.
class Cursor {
 public:
  /// Starts on `source`; false (and an error) when it cannot be iterated.
  bool open(Interpreter& interpreter, Value source);
  Step next(Interpreter& interpreter, Value& out);
  [[nodiscard]] const Value& source() const { return source_; }
  void drop() { source_ = Value(); }

 private:
  Value source_;
  std::size_t at_ = 0;  // item, or byte of a string
};

/// A sequence that is computed while it is read, once.
struct Iterator : Object {
  virtual Step next(Interpreter& interpreter, Value& out) = 0;
  [[nodiscard]] virtual const char* name() const { return "generator"; }
};

struct MethodEntry {
  std::string_view name;
  bool (Interpreter::*call)(const Value& self, Args& args, Value& out);
};

struct Method final : Object {
  Value self;
  const MethodEntry* entry = nullptr;
  void drop() override { self = Value(); }
};

struct MacroObject final : Object {
  const Callable* callable = nullptr;
  Ref<Frame> closure;
  void drop() override { closure = Ref<Frame>(); }
};

/// The `loop` variable.
struct Loop final : Object {
  const For* node = nullptr;
  Ref<Frame> outer;  ///< the activation that a recursive call starts from
  Cursor cursor;
  Value current;
  Value before;
  Value after;          ///< read ahead; missing when not
  bool at_end = false;  ///< reading ahead found nothing
  Value last_changed;
  std::int64_t index0 = -1;
  std::int64_t length = -1;
  std::int64_t depth0 = 0;
  void drop() override {
    outer = Ref<Frame>();
    cursor.drop();
    current = before = after = last_changed = Value();
  }
};

/// The items of `for x in y if test` for which the test holds.
struct FilteredLoop final : Iterator {
  const For* node = nullptr;
  Ref<Frame> frame;
  Cursor cursor;
  bool entered = false;
  Step next(Interpreter& interpreter, Value& out) override;
  void drop() override {
    frame = Ref<Frame>();
    cursor.drop();
  }
};

class Interpreter {
 public:
  /// `program` must live as long as the interpreter. `clock` may be empty: then the system's local time is used.
  Interpreter(const Program& program, const Limits& limits, Clock clock)
      : heap_(limits), program_(program), clock_(std::move(clock)), constants_(program.constants) {}

  /// Renders with the members of the object `variables`.
  Result<Value> render(const nlohmann::ordered_json& variables, const Trust& trust) {
    Value context;
    bool ok = from_json(variables, trust, context) && run(context.as<Dict>());
    Value text;
    if (ok) text = root_out_.finish();
    if (heap_.exhausted() != Exhausted::no) ok = stop_exhausted();
    if (!ok) return std::move(error_);
    return text;
  }
  [[nodiscard]] Heap& heap() { return heap_; }

 private:
  friend class Cursor;
  friend struct FilteredLoop;
  friend struct MapIterator;
  friend struct SelectIterator;
  friend struct UniqueIterator;
  friend struct BatchIterator;
  friend struct SliceIterator;
  friend struct ItemsIterator;
  friend struct ReverseIterator;

  enum class Flow : std::uint8_t { normal, break_, continue_, error };

  // --- errors and meters ---------------------------------------------------------------------------------------------

  bool fail(std::string_view what, Errc code = Errc::invalid_argument) {
    if (!failed_) error_ = template_error(code, what, line_);
    failed_ = true;
    return false;
  }
  bool fail(std::string_view what, std::string_view expected, std::string_view found,
            Errc code = Errc::invalid_argument) {
    if (!failed_) error_ = template_error(code, what, line_, expected, found);
    failed_ = true;
    return false;
  }
  bool stop_exhausted() {
    const Limits& limits = heap_.limits();
    switch (heap_.exhausted()) {
      case Exhausted::memory:
        return fail("the template uses too much memory", "at most " + std::to_string(limits.memory_bytes) + " bytes",
                    "more", Errc::out_of_range);
      case Exhausted::string_length:
        return fail("the template makes too long a text", "at most " + std::to_string(limits.output_bytes) + " bytes",
                    "more", Errc::out_of_range);
      default:
        return fail("the template takes too many steps", "at most " + std::to_string(limits.fuel), "more",
                    Errc::out_of_range);
    }
  }
  // Pays for work about to be done.
  bool charge(std::uint64_t steps) { return heap_.charge(steps) || stop_exhausted(); }
  bool charge_bytes(std::size_t bytes) { return charge(1 + (bytes >> 4)); }
  // For text that is looked at character by character.
  bool charge_scan(std::size_t bytes) { return charge(1 + (bytes >> 1)); }
  static constexpr std::uint64_t kCompareSteps = 4;  // of a sort
  static constexpr std::uint64_t kEntrySteps = 8;    // a new key of a dict
  static constexpr std::uint64_t kApplySteps = 4;    // a filter, a test or a function
  static constexpr std::uint64_t kCallSteps = 16;    // a macro or one level of a recursive loop
  static constexpr std::uint64_t kFloatSteps = 8;    // a float to text or back

  // Guards every recursion of the interpreter. Calls count apart: they are few in an honest template.
  static constexpr std::uint32_t kNestingPerDepth = 5;
  struct Nested {
    explicit Nested(Interpreter& i) : interpreter(i), ok(++i.nesting_ <= kNestingPerDepth * i.heap_.limits().depth) {
      if (!ok) i.fail_depth();
    }
    ~Nested() { --interpreter.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    Interpreter& interpreter;
    bool ok;
  };
  bool fail_depth() {
    return fail("the template recurses too deeply", "at most " + std::to_string(heap_.limits().depth) + " levels",
                "more", Errc::out_of_range);
  }

  // --- making values -------------------------------------------------------------------------------------------------

  Value undefined_name(const std::string& name) {
    Ref<Undefined> u = heap_.make<Undefined>();
    u->name = name;
    return Value::object(Kind::undefined, u.get());
  }
  Value undefined_member(const Value& owner, std::string_view name, Undefined::Why why) {
    Ref<Undefined> u = heap_.make<Undefined>();
    u->why = why;
    u->owner = type_name(owner);
    u->name = name.substr(0, 100);
    return Value::object(Kind::undefined, u.get());
  }
  Value undefined_hint(std::string hint) {
    Ref<Undefined> u = heap_.make<Undefined>();
    u->why = Undefined::Why::hint;
    u->name = std::move(hint);
    return Value::object(Kind::undefined, u.get());
  }
  bool fail_undefined(const Value& v) {
    const auto& u = v.as<Undefined>();
    switch (u.why) {
      case Undefined::Why::name: return fail("'" + u.name + "' is undefined");
      case Undefined::Why::attribute: return fail("'" + std::string(u.owner) + "' has no attribute '" + u.name + "'");
      case Undefined::Why::element: return fail("'" + std::string(u.owner) + "' has no element " + u.name);
      case Undefined::Why::unsafe:
        return fail("the attribute '" + u.name + "' of '" + u.owner + "' is not safe to use", Errc::unsupported);
      default: return fail(u.name);
    }
  }
  Value text(std::string_view s, bool user = false) { return heap_.string(std::string(s), user); }

  // --- operators.h ---------------------------------------------------------------------------------------------------

  static const char* type_name(const Value& v);
  bool truth(const Value& v) const;
  bool to_text(const Value& v, StringBuilder& out);
  bool to_string(const Value& v, Value& out);    // str(v), never Markup
  bool soft_string(const Value& v, Value& out);  // v itself when it is a string
  bool repr(const Value& v, StringBuilder& out);
  bool repr_items(const std::vector<Value>& items, std::string_view open, std::string_view close, StringBuilder& out);
  bool number_text(const Value& v, StringBuilder& out);
  bool length(const Value& v, std::int64_t& out);
  static bool has_length(const Value& v);
  bool hash(const Value& v, std::uint64_t& out);
  bool equal(const Value& a, const Value& b, bool& out);
  bool same(const Value& a, const Value& b) const;
  bool less(const Value& a, const Value& b, bool& out);
  bool compare(Comparison op, const Value& a, const Value& b, bool& out);
  bool contains(const Value& container, const Value& item, bool& out);
  bool find_text(std::string_view text, std::string_view wanted, std::size_t from, std::size_t& out);
  bool rfind_text(std::string_view text, std::string_view wanted, std::size_t& out);
  bool arithmetic(Arithmetic op, const Value& a, const Value& b, Value& out);
  bool arithmetic_numbers(Arithmetic op, const Value& a, const Value& b, Value& out);
  bool power(const Value& a, const Value& b, Value& out);
  bool repeat(const Value& sequence, std::int64_t times, Value& out);
  bool fail_operands(Arithmetic op, const Value& a, const Value& b);
  bool fail_overflow() { return fail("an integer is too large", "one of 64 bits", "more", Errc::unsupported); }
  bool escape(const Value& v, Value& out);  // HTML; Markup stays
  Value substring(const Value& s, std::size_t begin, std::size_t end);
  bool byte_offset(const Str& s, std::int64_t code_point, std::size_t& out);
  bool collect(const Value& iterable, ListBuilder& out);
  bool sort(std::vector<Value>& items, std::vector<Value>& keys, bool reverse);
  bool dict_set(Dict& dict, const Value& key, const Value& value);
  bool dict_find(const Dict& dict, const Value& key, const Value*& out);
  bool dict_update(Dict& dict, const Value& source);
  bool get_index(const Value& v, std::int64_t& out, std::string_view what);

  // --- methods.h -----------------------------------------------------------------------------------------------------

  bool find_attribute(const Value& object, std::string_view name, Value& out, bool& found);
  bool get_attribute(const Value& object, std::string_view name, Value& out);
  bool get_item(const Value& object, const Value& key, Value& out);
  bool get_slice(const Value& object, const Value& start, const Value& stop, const Value& step, Value& out);
  struct SliceIndices {
    std::int64_t first = 0;
    std::int64_t stop = 0;
    std::int64_t stride = 1;
    std::int64_t count = 0;
  };
  bool slice_indices(const Value& start, const Value& stop, const Value& step, std::int64_t length, SliceIndices& out);
  bool call(const Value& callee, Args& args, Value& out);
  bool call_macro(const MacroObject& macro, Args& args, Value& out);
  bool bind(std::string_view function, Args& args, std::initializer_list<const char*> names, std::size_t required,
            Value* out, bool keywords = true);
  bool want_string(const Value& v, std::string_view what, Value& out);
  bool no_arguments(std::string_view function, const Args& args);
  Value make_method(const Value& self, const MethodEntry& entry);
  bool loop_attribute(const Value& loop, std::string_view name, Value& out, bool& found);
  bool loop_length(Loop& loop);
  Step loop_peek(Loop& loop);

  enum class Case : std::uint8_t { upper, lower, title, capitalize, swap, fold };
  Value change_case(const Value& s, Case how);
  Value strip(const Value& s, const Value* chars, bool left, bool right);
  bool strip_method(const Value& s, Args& args, bool left, bool right, Value& out);
  bool search_range(const Value& s, const Value* args, std::size_t& begin, std::size_t& end, bool& valid);
  bool affix_method(const Value& s, Args& args, bool prefix, Value& out);
  bool find_method(const Value& s, Args& args, bool last, bool strict, Value& out);
  bool split_text(const Value& s, const Value& separator, std::int64_t max, bool from_right, Value& out);
  bool split_method(const Value& s, Args& args, bool from_right, Value& out);
  bool partition_method(const Value& s, Args& args, bool last, Value& out);
  bool pad_method(const Value& s, Args& args, int left_share, std::string_view name, Value& out);
  bool pad(const Value& s, std::int64_t width, const Value& fill, int left_share, Value& out);
  bool replace_text(const Value& s, const Value& old, const Value& fresh, std::int64_t count, bool safe, Value& out);
  bool join_items(const Value& separator, const std::vector<Value>& items, bool safe, Value& out);
  template <class Visit>
  bool each_line(const Value& s, Visit visit);
  template <class Predicate>
  bool every_character(const Value& s, Args& args, std::string_view name, Predicate predicate, Value& out);
  static bool cased_as(std::string_view text, bool upper);

  bool str_capitalize(const Value& self, Args& args, Value& out);
  bool str_casefold(const Value& self, Args& args, Value& out);
  bool str_center(const Value& self, Args& args, Value& out);
  bool str_count(const Value& self, Args& args, Value& out);
  bool str_endswith(const Value& self, Args& args, Value& out);
  bool str_expandtabs(const Value& self, Args& args, Value& out);
  bool str_find(const Value& self, Args& args, Value& out);
  bool str_format(const Value& self, Args& args, Value& out);
  bool str_format_map(const Value& self, Args& args, Value& out);
  bool str_index(const Value& self, Args& args, Value& out);
  bool str_isalnum(const Value& self, Args& args, Value& out);
  bool str_isalpha(const Value& self, Args& args, Value& out);
  bool str_isascii(const Value& self, Args& args, Value& out);
  bool str_isdecimal(const Value& self, Args& args, Value& out);
  bool str_isdigit(const Value& self, Args& args, Value& out);
  bool str_isidentifier(const Value& self, Args& args, Value& out);
  bool str_islower(const Value& self, Args& args, Value& out);
  bool str_isnumeric(const Value& self, Args& args, Value& out);
  bool str_isprintable(const Value& self, Args& args, Value& out);
  bool str_isspace(const Value& self, Args& args, Value& out);
  bool str_istitle(const Value& self, Args& args, Value& out);
  bool str_isupper(const Value& self, Args& args, Value& out);
  bool str_join(const Value& self, Args& args, Value& out);
  bool str_ljust(const Value& self, Args& args, Value& out);
  bool str_lower(const Value& self, Args& args, Value& out);
  bool str_lstrip(const Value& self, Args& args, Value& out);
  bool str_partition(const Value& self, Args& args, Value& out);
  bool str_removeprefix(const Value& self, Args& args, Value& out);
  bool str_removesuffix(const Value& self, Args& args, Value& out);
  bool str_replace(const Value& self, Args& args, Value& out);
  bool str_rfind(const Value& self, Args& args, Value& out);
  bool str_rindex(const Value& self, Args& args, Value& out);
  bool str_rjust(const Value& self, Args& args, Value& out);
  bool str_rpartition(const Value& self, Args& args, Value& out);
  bool str_rsplit(const Value& self, Args& args, Value& out);
  bool str_rstrip(const Value& self, Args& args, Value& out);
  bool str_split(const Value& self, Args& args, Value& out);
  bool str_splitlines(const Value& self, Args& args, Value& out);
  bool str_startswith(const Value& self, Args& args, Value& out);
  bool str_strip(const Value& self, Args& args, Value& out);
  bool str_swapcase(const Value& self, Args& args, Value& out);
  bool str_title(const Value& self, Args& args, Value& out);
  bool str_upper(const Value& self, Args& args, Value& out);
  bool str_zfill(const Value& self, Args& args, Value& out);
  bool str_refused(const Value& self, Args& args, Value& out);
  bool dict_get(const Value& self, Args& args, Value& out);
  bool dict_items(const Value& self, Args& args, Value& out);
  bool dict_keys(const Value& self, Args& args, Value& out);
  bool dict_values(const Value& self, Args& args, Value& out);
  bool dict_copy(const Value& self, Args& args, Value& out);
  bool dict_fromkeys(const Value& self, Args& args, Value& out);
  bool sequence_count(const Value& self, Args& args, Value& out);
  bool sequence_index(const Value& self, Args& args, Value& out);
  bool list_copy(const Value& self, Args& args, Value& out);
  bool float_is_integer(const Value& self, Args& args, Value& out);
  bool int_bit_length(const Value& self, Args& args, Value& out);
  bool number_conjugate(const Value& self, Args& args, Value& out);
  bool loop_cycle(const Value& self, Args& args, Value& out);
  bool loop_changed(const Value& self, Args& args, Value& out);
  bool cycler_next(const Value& self, Args& args, Value& out);
  bool cycler_reset(const Value& self, Args& args, Value& out);

  // --- format.h
  // ------------------------------------------------------------------------------------------------------

  struct FormatSpec;
  bool percent_format(const Value& format, const Value& arguments, Value& out);
  bool percent_number(char conversion, const Value& v, int precision, bool alternate, std::string& sign,
                      std::string& digits);
  bool brace_format(const Value& format, Args& args, Value& out);
  bool brace_format(const Str& format, std::size_t begin, std::size_t end, Args& args, int depth,
                    std::int64_t& automatic, StringBuilder& out, bool safe);
  bool brace_field(const Str& format, std::size_t begin, std::size_t end, Args& args, std::int64_t& automatic,
                   Value& out);
  bool format_value(const Value& v, std::string_view spec, bool spec_user, StringBuilder& out);
  bool format_text(const Value& v, const FormatSpec& spec, StringBuilder& out);
  bool format_number(const Value& v, const FormatSpec& spec, StringBuilder& out);
  std::string format_time(const std::tm& t, std::string_view format);

  // --- filters.h -----------------------------------------------------------------------------------------------------

  using FilterFunction = bool (Interpreter::*)(const Value& v, Args& args, Value& out);
  using TestFunction = bool (Interpreter::*)(const Value& v, Args& args, bool& out);
  using GlobalFunction = bool (Interpreter::*)(Args& args, Value& out);

  bool filter_abs(const Value& v, Args& args, Value& out);
  bool filter_attr(const Value& v, Args& args, Value& out);
  bool filter_batch(const Value& v, Args& args, Value& out);
  bool filter_capitalize(const Value& v, Args& args, Value& out);
  bool filter_center(const Value& v, Args& args, Value& out);
  bool filter_length(const Value& v, Args& args, Value& out);
  bool filter_default(const Value& v, Args& args, Value& out);
  bool filter_dictsort(const Value& v, Args& args, Value& out);
  bool filter_escape(const Value& v, Args& args, Value& out);
  bool filter_filesizeformat(const Value& v, Args& args, Value& out);
  bool filter_first(const Value& v, Args& args, Value& out);
  bool filter_float(const Value& v, Args& args, Value& out);
  bool filter_forceescape(const Value& v, Args& args, Value& out);
  bool filter_format(const Value& v, Args& args, Value& out);
  bool filter_groupby(const Value& v, Args& args, Value& out);
  bool filter_indent(const Value& v, Args& args, Value& out);
  bool filter_int(const Value& v, Args& args, Value& out);
  bool filter_items(const Value& v, Args& args, Value& out);
  bool filter_join(const Value& v, Args& args, Value& out);
  bool filter_last(const Value& v, Args& args, Value& out);
  bool filter_list(const Value& v, Args& args, Value& out);
  bool filter_lower(const Value& v, Args& args, Value& out);
  bool filter_map(const Value& v, Args& args, Value& out);
  bool filter_max(const Value& v, Args& args, Value& out);
  bool filter_min(const Value& v, Args& args, Value& out);
  bool filter_refused(const Value& v, Args& args, Value& out);
  bool filter_reject(const Value& v, Args& args, Value& out);
  bool filter_rejectattr(const Value& v, Args& args, Value& out);
  bool filter_replace(const Value& v, Args& args, Value& out);
  bool filter_reverse(const Value& v, Args& args, Value& out);
  bool filter_round(const Value& v, Args& args, Value& out);
  bool filter_safe(const Value& v, Args& args, Value& out);
  bool filter_select(const Value& v, Args& args, Value& out);
  bool filter_selectattr(const Value& v, Args& args, Value& out);
  bool filter_slice(const Value& v, Args& args, Value& out);
  bool filter_sort(const Value& v, Args& args, Value& out);
  bool filter_string(const Value& v, Args& args, Value& out);
  bool filter_sum(const Value& v, Args& args, Value& out);
  bool filter_title(const Value& v, Args& args, Value& out);
  bool filter_tojson(const Value& v, Args& args, Value& out);
  bool filter_trim(const Value& v, Args& args, Value& out);
  bool filter_truncate(const Value& v, Args& args, Value& out);
  bool filter_unique(const Value& v, Args& args, Value& out);
  bool filter_upper(const Value& v, Args& args, Value& out);
  bool filter_urlencode(const Value& v, Args& args, Value& out);
  bool filter_wordcount(const Value& v, Args& args, Value& out);
  bool filter_xmlattr(const Value& v, Args& args, Value& out);
  bool test_odd(const Value& v, Args& args, bool& out);
  bool test_even(const Value& v, Args& args, bool& out);
  bool test_divisibleby(const Value& v, Args& args, bool& out);
  bool test_defined(const Value& v, Args& args, bool& out);
  bool test_undefined(const Value& v, Args& args, bool& out);
  bool test_filter(const Value& v, Args& args, bool& out);
  bool test_test(const Value& v, Args& args, bool& out);
  bool test_none(const Value& v, Args& args, bool& out);
  bool test_boolean(const Value& v, Args& args, bool& out);
  bool test_false(const Value& v, Args& args, bool& out);
  bool test_true(const Value& v, Args& args, bool& out);
  bool test_integer(const Value& v, Args& args, bool& out);
  bool test_float(const Value& v, Args& args, bool& out);
  bool test_lower(const Value& v, Args& args, bool& out);
  bool test_upper(const Value& v, Args& args, bool& out);
  bool test_string(const Value& v, Args& args, bool& out);
  bool test_mapping(const Value& v, Args& args, bool& out);
  bool test_number(const Value& v, Args& args, bool& out);
  bool test_sequence(const Value& v, Args& args, bool& out);
  bool test_iterable(const Value& v, Args& args, bool& out);
  bool test_callable(const Value& v, Args& args, bool& out);
  bool test_sameas(const Value& v, Args& args, bool& out);
  bool test_escaped(const Value& v, Args& args, bool& out);
  bool test_in(const Value& v, Args& args, bool& out);
  bool test_eq(const Value& v, Args& args, bool& out);
  bool test_ne(const Value& v, Args& args, bool& out);
  bool test_gt(const Value& v, Args& args, bool& out);
  bool test_ge(const Value& v, Args& args, bool& out);
  bool test_lt(const Value& v, Args& args, bool& out);
  bool test_le(const Value& v, Args& args, bool& out);
  bool global_range(Args& args, Value& out);
  bool global_dict(Args& args, Value& out);
  bool global_lipsum(Args& args, Value& out);
  bool global_cycler(Args& args, Value& out);
  bool global_joiner(Args& args, Value& out);
  bool global_namespace(Args& args, Value& out);
  bool global_raise_exception(Args& args, Value& out);
  bool global_strftime_now(Args& args, Value& out);

  /// A path such as "a.0.b": numbers and names to look up one after the other.
  struct AttributePath {
    std::vector<Value> parts;
  };
  bool attribute_path(const Value& spec, AttributePath& out);
  bool follow(const AttributePath& path, const Value& v, const Value* fallback, Value& out);
  Value ignore_case(const Value& v);
  bool minmax(const Value& v, Args& args, bool want_max, std::string_view name, Value& out);
  bool select_filter(const Value& v, Args& args, bool keep, bool by_attribute, Value& out);
  bool binary_test(std::string_view name, Comparison op, const Value& v, Args& args, bool& out);
  bool call_filter(std::uint32_t function, const Value& v, Args& args, Value& out);
  bool call_test(std::uint32_t function, const Value& v, Args& args, bool& out);
  struct JsonStyle;
  bool write_json(const Value& v, const JsonStyle& style, std::uint32_t level, StringBuilder& out);
  bool write_json_string(const Str& s, bool ascii, StringBuilder& out);
  bool quote_url(const Value& v, bool query, StringBuilder& out);

  // --- json.h --------------------------------------------------------------------------------------------------------

  bool from_json(const nlohmann::ordered_json& j, const Trust& trust, Value& out);
  void trust_roles(const Value& messages, const Trust& trust);
  bool convert_json(const nlohmann::ordered_json& j, bool user, std::uint32_t depth, Value& out);

  // --- running -------------------------------------------------------------------------------------------------------

  bool run(const Dict& context) {
    context_.resize(program_.names.size());
    for (std::size_t i = 0; i < program_.names.size(); ++i) {
      const std::string& name = program_.names[i];
      if (const Value* v = context.find(name)) {
        context_[i] = *v;
      } else if (const std::uint32_t f = find_name(kFunctionNames, name); f != kUnknownFunction) {
        context_[i] = Value::function(f);
      }
    }
    frame_ = heap_.make<Frame>();
    frame_->slots.resize(program_.slots);
    out_ = &root_out_;
    enter(program_.scope);
    return execute(program_.body) != Flow::error;
  }

  Value& slot(const Slot& s) {
    Frame* f = frame_.get();
    for (std::uint32_t i = 0; i < s.hops; ++i) f = f->outer.get();
    return f->slots[s.index];
  }
  void enter(const Scope& scope) {
    static_cast<void>(
        heap_.charge(scope.loads.size()));  // for leaving too; a limit passed here is noticed at the next step
    for (const Load& load : scope.loads) {
      switch (load.from) {
        case Load::From::parameter: break;
        case Load::From::context: frame_->slots[load.target] = context_[load.name]; break;
        case Load::From::outer: frame_->slots[load.target] = slot(load.outer); break;
        case Load::From::nothing: frame_->slots[load.target] = Value(); break;
      }
    }
  }
  void leave(const Scope& scope) {
    for (const Load& load : scope.loads) frame_->slots[load.target] = Value();
  }

  // Sends output to a string of its own for as long as it lives.
  struct Capture {
    explicit Capture(Interpreter& i) : interpreter(i), text(i.heap_), outer(std::exchange(i.out_, &text)) {}
    ~Capture() { interpreter.out_ = outer; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Interpreter& interpreter;
    StringBuilder text;
    StringBuilder* outer;
  };
  // Runs in another activation for as long as it lives.
  struct Activation {
    Activation(Interpreter& i, Ref<Frame> frame) : interpreter(i), saved(std::exchange(i.frame_, std::move(frame))) {}
    ~Activation() { interpreter.frame_ = std::move(saved); }
    Activation(const Activation&) = delete;
    Activation& operator=(const Activation&) = delete;
    Interpreter& interpreter;
    Ref<Frame> saved;
  };
  Ref<Frame> make_frame(const Ref<Frame>& outer, std::uint32_t slots) {
    static_cast<void>(heap_.charge(slots / 4));
    Ref<Frame> frame = heap_.make<Frame>(slots * sizeof(Value));
    frame->outer = outer;
    frame->slots.resize(slots);
    return frame;
  }

  Flow execute(const Block& body) {
    for (const StmtPtr& s : body) {
      const Flow flow = execute(*s);
      if (flow != Flow::normal) return flow;
    }
    return Flow::normal;
  }

  Flow execute(const Stmt& s) {
    const Nested nested(*this);
    line_ = s.line;
    if (!nested.ok || !charge(1)) return Flow::error;
    const auto done = [](bool ok) { return ok ? Flow::normal : Flow::error; };
    switch (s.type) {
      case Stmt::Type::text: out_->append(static_cast<const Text&>(s).text, false); return Flow::normal;
      case Stmt::Type::print:
        for (const ExprPtr& e : static_cast<const Print&>(s).values) {
          Value v;
          if (!eval(*e, v) || !to_text(v, *out_)) return Flow::error;
        }
        return Flow::normal;
      case Stmt::Type::if_: return execute_if(static_cast<const If&>(s));
      case Stmt::Type::for_: return execute_for(static_cast<const For&>(s));
      case Stmt::Type::set: {
        const auto& node = static_cast<const Set&>(s);
        Value v;
        return done(eval(*node.value, v) && check_namespaces(*node.target) && assign(*node.target, v));
      }
      case Stmt::Type::set_block: return execute_set_block(static_cast<const SetBlock&>(s));
      case Stmt::Type::with: return execute_with(static_cast<const With&>(s));
      case Stmt::Type::macro: {
        const auto& node = static_cast<const Macro&>(s);
        return done(assign(*node.target, make_macro(node.callable)));
      }
      case Stmt::Type::call_block: return done(execute_call_block(static_cast<const CallBlock&>(s)));
      case Stmt::Type::filter_block: return execute_filter_block(static_cast<const FilterBlock&>(s));
      case Stmt::Type::break_: return Flow::break_;
      case Stmt::Type::continue_: return Flow::continue_;
    }
    return Flow::error;
  }

  Flow execute_if(const If& node) {
    for (const auto& [test, then] : node.branches) {
      Value v;
      if (!eval(*test, v)) return Flow::error;
      if (truth(v)) return execute(then);
    }
    return execute(node.otherwise);
  }

  Flow execute_for(const For& node) {
    Value iterable;
    if (!eval(*node.iterable, iterable)) return Flow::error;
    if (!node.recursive) return run_loop(node, iterable, 0, frame_);
    Value rendered;
    if (!recurse(node, iterable, 0, frame_, rendered)) return Flow::error;
    out_->append(rendered.str());
    return Flow::normal;
  }

  // One level of a recursive loop, as text.
  bool recurse(const For& node, const Value& iterable, std::int64_t depth, Ref<Frame> outer, Value& out) {
    if (!charge(kCallSteps)) return false;
    if (++calls_ > heap_.limits().depth) {
      --calls_;
      return fail_depth();
    }
    bool ok = false;
    {
      const Activation activation(*this, make_frame(outer, node.slots));
      Capture capture(*this);
      ok = run_loop(node, iterable, depth, outer) != Flow::error;
      if (ok) out = capture.text.finish();
    }
    --calls_;
    return ok;
  }

  Flow run_loop(const For& node, const Value& iterable, std::int64_t depth, const Ref<Frame>& outer) {
    Value source = iterable;
    if (node.test != nullptr) {
      Ref<FilteredLoop> filtered = heap_.make<FilteredLoop>();
      filtered->node = &node;
      filtered->frame = frame_;
      if (!filtered->cursor.open(*this, iterable)) return Flow::error;
      source = Value::object(Kind::iterator, filtered.get());
    }
    Ref<Loop> loop;
    Cursor cursor;
    if (node.uses_loop) {
      loop = heap_.make<Loop>();
      loop->node = &node;
      loop->outer = outer;
      loop->depth0 = depth;
      if (!loop->cursor.open(*this, source)) return Flow::error;
    } else if (!cursor.open(*this, source)) {
      return Flow::error;
    }
    bool completed = false;  // Jinja: the else runs unless some round came to its end
    Flow flow = Flow::normal;
    while (flow == Flow::normal) {
      Value item;
      const Step step = loop ? advance(*loop, item) : cursor.next(*this, item);
      line_ = node.line;
      if (step == Step::error || !charge(1)) return Flow::error;
      if (step == Step::end) break;
      if (!assign(*node.target, item)) return Flow::error;
      if (loop) frame_->slots[node.loop.index] = Value::object(Kind::loop, loop.get());
      enter(node.body_scope);
      flow = execute(node.body);
      if (flow == Flow::normal) completed = true;
      if (flow == Flow::continue_) flow = Flow::normal;
    }
    if (flow == Flow::error) return flow;
    leave(node.body_scope);
    if (completed || !node.has_else) return Flow::normal;
    enter(node.else_scope);
    flow = execute(node.otherwise);
    if (flow != Flow::error) leave(node.else_scope);
    return flow;
  }

  // The next item of an extended loop.
  Step advance(Loop& loop, Value& out) {
    if (loop.at_end) return Step::end;
    if (!loop.after.is_missing()) {
      out = std::exchange(loop.after, Value());
    } else {
      const Step step = loop.cursor.next(*this, out);
      if (step != Step::item) return step;
    }
    ++loop.index0;
    loop.before = std::exchange(loop.current, out);
    return Step::item;
  }

  Flow execute_set_block(const SetBlock& node) {
    Value v;
    {
      Capture capture(*this);
      enter(node.scope);
      const Flow flow = execute(node.body);
      if (flow != Flow::normal) return flow;
      v = capture.text.finish();
    }
    if (node.filter != nullptr) {
      const Value block = v;
      if (!apply_block_filter(*node.filter, block, v)) return Flow::error;
    }
    if (!check_namespaces(*node.target) || !assign(*node.target, v)) return Flow::error;
    leave(node.scope);
    return Flow::normal;
  }

  Flow execute_filter_block(const FilterBlock& node) {
    Value v;
    {
      Capture capture(*this);
      enter(node.scope);
      const Flow flow = execute(node.body);
      if (flow != Flow::normal) return flow;
      v = capture.text.finish();
    }
    const Value block = v;
    if (!apply_block_filter(*node.filter, block, v)) return Flow::error;
    if (!v.is(Kind::string)) {
      fail("a filter block must make a string", "a string", type_name(v));
      return Flow::error;
    }
    out_->append(v.str());
    leave(node.scope);
    return Flow::normal;
  }

  // A chain of filters whose innermost operand is the text of a block.
  bool apply_block_filter(const Expr& e, const Value& block, Value& out) {
    const Nested nested(*this);
    if (!nested.ok) return false;
    const auto& node = static_cast<const Apply&>(e);
    Value operand = block;
    if (node.operand != nullptr && !apply_block_filter(*node.operand, block, operand)) return false;
    return apply_filter(node, operand, out);
  }

  Flow execute_with(const With& node) {
    enter(node.scope);
    for (const auto& [target, value] : node.bindings) {
      Value v;
      if (!eval(*value, v) || !assign(*target, v)) return Flow::error;
    }
    const Flow flow = execute(node.body);
    if (flow != Flow::error) leave(node.scope);
    return flow;
  }

  Value make_macro(const Callable& callable) {
    Ref<MacroObject> macro = heap_.make<MacroObject>();
    macro->callable = &callable;
    macro->closure = frame_;
    return Value::object(Kind::macro, macro.get());
  }

  bool execute_call_block(const CallBlock& node) {
    const Value caller = make_macro(node.callable);
    Value v;
    if (node.call == nullptr) {  // {% generation %}
      Args none;
      if (!call(caller, none, v)) return false;
    } else {
      const auto& expression = static_cast<const Call&>(*node.call);
      Value callee;
      Args args;
      if (!eval(*expression.callee, callee) || !arguments(expression.arguments, args)) return false;
      args.named.emplace_back("caller", caller);
      if (!call(callee, args, v)) return false;
    }
    if (!v.is(Kind::string)) return fail("a call block must make a string", "a string", type_name(v));
    out_->append(v.str());
    return true;
  }

  // --- assignment ----------------------------------------------------------------------------------------------------

  // Attributes can be set on namespaces only; Jinja checks that before it assigns anything.
  bool check_namespaces(const Expr& target) {
    if (target.type == Expr::Type::namespace_attribute) {
      const auto& node = static_cast<const NamespaceAttribute&>(target);
      if (!slot(node.slot).is(Kind::name_space)) {
        return fail("an attribute can only be set on a namespace", "a namespace", type_name(slot(node.slot)));
      }
      if (!node.attribute.empty() && node.attribute[0] == '_') {
        return fail("an attribute of a namespace cannot begin with an underscore", "another name", node.attribute);
      }
    } else if (target.type == Expr::Type::tuple) {
      for (const ExprPtr& item : static_cast<const Sequence&>(target).items) {
        if (!check_namespaces(*item)) return false;
      }
    }
    return true;
  }

  bool assign(const Expr& target, const Value& v) {
    if (target.type == Expr::Type::name) {
      slot(static_cast<const Name&>(target).slot) = v;
      return true;
    }
    if (target.type == Expr::Type::namespace_attribute) {
      const auto& node = static_cast<const NamespaceAttribute&>(target);
      auto& ns = slot(node.slot).as<Namespace>();
      if (!charge(ns.attributes.size() / 4)) return false;
      if (Value* known = ns.find(node.attribute)) {
        *known = v;
        return true;
      }
      ns.attributes.emplace_back(node.attribute, v);
      ns.bytes += 64;
      heap_.grow(64);
      return true;
    }
    const auto& items = static_cast<const Sequence&>(target).items;
    Cursor cursor;
    if (!cursor.open(*this, v)) return false;
    std::vector<Value> parts;
    for (std::size_t i = 0; i <= items.size(); ++i) {
      Value part;
      const Step step = cursor.next(*this, part);
      if (step == Step::error || !charge(1)) return false;
      if ((step == Step::end) != (i == items.size())) {
        return fail("values cannot be unpacked", std::to_string(items.size()) + " values",
                    step == Step::end ? std::to_string(i) : "more");
      }
      if (step == Step::item) parts.push_back(std::move(part));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (!assign(*items[i], parts[i])) return false;
    }
    return true;
  }

  // The value of a target that was just assigned.
  Value target_value(const Expr& target) {
    if (target.type == Expr::Type::name) return slot(static_cast<const Name&>(target).slot);
    ListBuilder items(heap_);
    for (const ExprPtr& item : static_cast<const Sequence&>(target).items) {
      if (!items.push(target_value(*item))) break;
    }
    return items.finish(Kind::tuple);
  }

  // --- expressions ---------------------------------------------------------------------------------------------------

  bool eval(const Expr& e, Value& out) {
    const Nested nested(*this);
    line_ = e.line;
    if (!nested.ok || !charge(1)) return false;
    switch (e.type) {
      case Expr::Type::constant: {
        const auto& node = static_cast<const Constant&>(e);
        Value& cached = constants_[node.index];
        if (cached.is_missing()) cached = make_constant(node.value);
        out = cached;
        return true;
      }
      case Expr::Type::name: {
        const auto& node = static_cast<const Name&>(e);
        const Value& v = slot(node.slot);
        out = v.is_missing() ? undefined_name(node.text) : v;
        return true;
      }
      case Expr::Type::tuple: return eval_sequence(static_cast<const Sequence&>(e), Kind::tuple, out);
      case Expr::Type::list: return eval_sequence(static_cast<const Sequence&>(e), Kind::list, out);
      case Expr::Type::dict: return eval_dict(static_cast<const DictLiteral&>(e), out);
      case Expr::Type::unary: return eval_unary(static_cast<const Unary&>(e), out);
      case Expr::Type::binary: {
        const auto& node = static_cast<const Binary&>(e);
        Value a;
        Value b;
        if (!eval(*node.left, a) || !eval(*node.right, b)) return false;
        line_ = e.line;
        return arithmetic(node.op, a, b, out);
      }
      case Expr::Type::logic: {
        const auto& node = static_cast<const Logic&>(e);
        if (!eval(*node.left, out)) return false;
        if (truth(out) != node.is_and) return true;
        return eval(*node.right, out);
      }
      case Expr::Type::concat: return eval_concat(static_cast<const Concat&>(e), out);
      case Expr::Type::compare: return eval_compare(static_cast<const Compare&>(e), out);
      case Expr::Type::attribute: {
        const auto& node = static_cast<const Attribute&>(e);
        Value object;
        if (!eval(*node.object, object)) return false;
        line_ = e.line;
        return get_attribute(object, node.name, out);
      }
      case Expr::Type::subscript: return eval_subscript(static_cast<const Subscript&>(e), out);
      case Expr::Type::call: {
        const auto& node = static_cast<const Call&>(e);
        Value callee;
        Args args;
        if (!eval(*node.callee, callee) || !arguments(node.arguments, args)) return false;
        line_ = e.line;
        return call(callee, args, out);
      }
      case Expr::Type::filter: {
        const auto& node = static_cast<const Apply&>(e);
        Value operand;
        return eval(*node.operand, operand) && apply_filter(node, operand, out);
      }
      case Expr::Type::test: {
        const auto& node = static_cast<const Apply&>(e);
        Value operand;
        Args args;
        bool holds = false;
        if (!eval(*node.operand, operand) || !arguments(node.arguments, args)) return false;
        line_ = e.line;
        if (node.function == kUnknownFunction) return fail("no such test", "a test of Jinja", node.name.substr(0, 60));
        if (!call_test(node.function, operand, args, holds)) return false;
        out = Value::boolean(holds);
        return true;
      }
      case Expr::Type::conditional: {
        const auto& node = static_cast<const Conditional&>(e);
        Value test;
        if (!eval(*node.test, test)) return false;
        if (truth(test)) return eval(*node.then, out);
        if (node.otherwise != nullptr) return eval(*node.otherwise, out);
        out = undefined_hint("the inline if of line " + std::to_string(e.line) + " is false and has no else");
        return true;
      }
      case Expr::Type::namespace_attribute:
      case Expr::Type::slice: break;
    }
    return fail("an expression stands where it has no meaning");
  }

  Value make_constant(const Constant::Literal& literal) {
    if (const auto* s = std::get_if<std::string>(&literal)) return heap_.string(*s);
    if (const auto* b = std::get_if<bool>(&literal)) return Value::boolean(*b);
    if (const auto* i = std::get_if<std::int64_t>(&literal)) return Value::integer(*i);
    if (const auto* d = std::get_if<double>(&literal)) return Value::real(*d);
    return Value::none();
  }

  bool eval_sequence(const Sequence& node, Kind kind, Value& out) {
    ListBuilder items(heap_);
    for (const ExprPtr& item : node.items) {
      Value v;
      if (!eval(*item, v)) return false;
      if (!items.push(std::move(v))) return stop_exhausted();
    }
    out = items.finish(kind);
    return true;
  }

  bool eval_dict(const DictLiteral& node, Value& out) {
    Ref<Dict> dict = heap_.make<Dict>();
    for (const auto& [key, value] : node.items) {
      Value k;
      Value v;
      if (!eval(*key, k) || !eval(*value, v) || !dict_set(*dict, k, v)) return false;
    }
    out = Value::object(Kind::dict, dict.get());
    return true;
  }

  bool eval_unary(const Unary& node, Value& out) {
    Value v;
    if (!eval(*node.operand, v)) return false;
    line_ = node.line;
    if (node.op == Unary::Op::not_) {
      out = Value::boolean(!truth(v));
      return true;
    }
    if (v.is(Kind::undefined)) return fail_undefined(v);
    if (!v.is_number()) return fail("a sign needs a number", "a number", type_name(v));
    if (v.is(Kind::real)) {
      out = Value::real(node.op == Unary::Op::negate ? -v.as_real() : v.as_real(), v.user());
      return true;
    }
    if (node.op == Unary::Op::negate && v.as_integer() == std::numeric_limits<std::int64_t>::min())
      return fail_overflow();
    out = Value::integer(node.op == Unary::Op::negate ? -v.as_integer() : v.as_integer(), v.user());
    return true;
  }

  bool eval_concat(const Concat& node, Value& out) {
    std::vector<Value> parts(node.parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!eval(*node.parts[i], parts[i])) return false;
    }
    StringBuilder joined(heap_);
    for (const Value& part : parts) {
      if (!to_text(part, joined)) return false;
    }
    out = joined.finish();
    return true;
  }

  bool eval_compare(const Compare& node, Value& out) {
    Value left;
    if (!eval(*node.first, left)) return false;
    bool holds = true;
    for (const auto& [op, operand] : node.rest) {
      Value right;
      if (!eval(*operand, right)) return false;
      line_ = node.line;
      if (!compare(op, left, right, holds)) return false;
      if (!holds) break;
      left = std::move(right);
    }
    out = Value::boolean(holds);
    return true;
  }

  bool eval_subscript(const Subscript& node, Value& out) {
    Value object;
    if (!eval(*node.object, object)) return false;
    if (node.index->type != Expr::Type::slice) {
      Value key;
      if (!eval(*node.index, key)) return false;
      line_ = node.line;
      return get_item(object, key, out);
    }
    const auto& slice = static_cast<const Slice&>(*node.index);
    Value bounds[3] = {Value::none(), Value::none(), Value::none()};
    if (slice.start != nullptr && !eval(*slice.start, bounds[0])) return false;
    if (slice.stop != nullptr && !eval(*slice.stop, bounds[1])) return false;
    if (slice.step != nullptr && !eval(*slice.step, bounds[2])) return false;
    line_ = node.line;
    return get_slice(object, bounds[0], bounds[1], bounds[2], out);
  }

  // Evaluates the arguments of a call, stars included.
  bool arguments(const Arguments& node, Args& out) {
    out.positional.reserve(node.positional.size());
    for (const ExprPtr& e : node.positional) {
      Value v;
      if (!eval(*e, v)) return false;
      out.positional.push_back(std::move(v));
    }
    for (const auto& [name, e] : node.named) {
      Value v;
      if (!eval(*e, v)) return false;
      out.named.emplace_back(name, std::move(v));
    }
    if (node.star != nullptr) {
      Value v;
      if (!eval(*node.star, v)) return false;
      ListBuilder items(heap_);
      if (!collect(v, items)) return false;
      for (const Value& item : items.items()) out.positional.push_back(item);
    }
    if (node.star_star != nullptr) {
      Value v;
      if (!eval(*node.star_star, v)) return false;
      if (!v.is(Kind::dict)) return fail("named arguments need a mapping after **", "a dict", type_name(v));
      for (const Dict::Entry& entry : v.as<Dict>().entries) {
        if (!entry.key.is(Kind::string)) return fail("a named argument needs a name", "a string", type_name(entry.key));
        for (const auto& [name, value] : out.named) {
          if (name == entry.key.str().text) return fail("an argument is given twice", "one value", name.substr(0, 60));
        }
        if (!charge(1 + out.named.size())) return false;
        out.named.emplace_back(entry.key.str().text, entry.value);
      }
    }
    return true;
  }

  bool apply_filter(const Apply& node, const Value& operand, Value& out) {
    Args args;
    if (!arguments(node.arguments, args)) return false;
    line_ = node.line;
    if (node.function == kUnknownFunction) return fail("no such filter", "a filter of Jinja", node.name.substr(0, 60));
    return call_filter(node.function, operand, args, out);
  }

  Heap heap_;  // first: everything below dies before it
  const Program& program_;
  Clock clock_;
  std::vector<Value> constants_;  // literals of the program, made when first used
  std::vector<Value> context_;    // by number of name: the variable passed in, or the global; missing if neither
  StringBuilder root_out_{heap_};
  StringBuilder* out_ = nullptr;
  Ref<Frame> frame_;
  std::uint32_t nesting_ = 0;
  std::uint32_t calls_ = 0;
  std::uint32_t line_ = 1;
  bool failed_ = false;
  Error error_;
};

inline Step FilteredLoop::next(Interpreter& interpreter, Value& out) {
  const Interpreter::Nested nested(interpreter);
  if (!nested.ok) return Step::error;
  const Interpreter::Activation activation(interpreter, frame);
  if (!entered) {
    entered = true;
    interpreter.enter(node->test_scope);
  }
  while (true) {
    Value item;
    const Step step = cursor.next(interpreter, item);
    if (step != Step::item) return step;
    Value holds;
    if (!interpreter.charge(1) || !interpreter.assign(*node->test_target, item) ||
        !interpreter.eval(*node->test, holds)) {
      return Step::error;
    }
    if (!interpreter.truth(holds)) continue;
    out = interpreter.target_value(*node->test_target);
    return Step::item;
  }
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
