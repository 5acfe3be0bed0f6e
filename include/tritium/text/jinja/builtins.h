// SPDX-License-Identifier: Apache-2.0
// The names that a template can count on: filters, tests and global functions.
//
// One list each; the resolver turns names into numbers with it, and the interpreter turns numbers into member
// functions, so the two cannot disagree. Filters marked `refused` exist in Jinja but not here, for want of a use in
// chat templates or because they are not deterministic; using one is an error that names it.
#pragma once

#include <cstdint>
#include <string_view>

#include "tritium/core/config.h"
#include "tritium/text/jinja/syntax.h"

// X(name in the template, member function of the interpreter)
#define TRITIUM_JINJA_FILTERS(X)             \
  X("abs", filter_abs)                       \
  X("attr", filter_attr)                     \
  X("batch", filter_batch)                   \
  X("capitalize", filter_capitalize)         \
  X("center", filter_center)                 \
  X("count", filter_length)                  \
  X("d", filter_default)                     \
  X("default", filter_default)               \
  X("dictsort", filter_dictsort)             \
  X("e", filter_escape)                      \
  X("escape", filter_escape)                 \
  X("filesizeformat", filter_filesizeformat) \
  X("first", filter_first)                   \
  X("float", filter_float)                   \
  X("forceescape", filter_forceescape)       \
  X("format", filter_format)                 \
  X("groupby", filter_groupby)               \
  X("indent", filter_indent)                 \
  X("int", filter_int)                       \
  X("items", filter_items)                   \
  X("join", filter_join)                     \
  X("last", filter_last)                     \
  X("length", filter_length)                 \
  X("list", filter_list)                     \
  X("lower", filter_lower)                   \
  X("map", filter_map)                       \
  X("max", filter_max)                       \
  X("min", filter_min)                       \
  X("pprint", filter_refused)                \
  X("random", filter_refused)                \
  X("reject", filter_reject)                 \
  X("rejectattr", filter_rejectattr)         \
  X("replace", filter_replace)               \
  X("reverse", filter_reverse)               \
  X("round", filter_round)                   \
  X("safe", filter_safe)                     \
  X("select", filter_select)                 \
  X("selectattr", filter_selectattr)         \
  X("slice", filter_slice)                   \
  X("sort", filter_sort)                     \
  X("string", filter_string)                 \
  X("striptags", filter_refused)             \
  X("sum", filter_sum)                       \
  X("title", filter_title)                   \
  X("tojson", filter_tojson)                 \
  X("trim", filter_trim)                     \
  X("truncate", filter_truncate)             \
  X("unique", filter_unique)                 \
  X("upper", filter_upper)                   \
  X("urlencode", filter_urlencode)           \
  X("urlize", filter_refused)                \
  X("wordcount", filter_wordcount)           \
  X("wordwrap", filter_refused)              \
  X("xmlattr", filter_xmlattr)

#define TRITIUM_JINJA_TESTS(X)       \
  X("odd", test_odd)                 \
  X("even", test_even)               \
  X("divisibleby", test_divisibleby) \
  X("defined", test_defined)         \
  X("undefined", test_undefined)     \
  X("filter", test_filter)           \
  X("test", test_test)               \
  X("none", test_none)               \
  X("boolean", test_boolean)         \
  X("false", test_false)             \
  X("true", test_true)               \
  X("integer", test_integer)         \
  X("float", test_float)             \
  X("lower", test_lower)             \
  X("upper", test_upper)             \
  X("string", test_string)           \
  X("mapping", test_mapping)         \
  X("number", test_number)           \
  X("sequence", test_sequence)       \
  X("iterable", test_iterable)       \
  X("callable", test_callable)       \
  X("sameas", test_sameas)           \
  X("escaped", test_escaped)         \
  X("in", test_in)                   \
  X("==", test_eq)                   \
  X("eq", test_eq)                   \
  X("equalto", test_eq)              \
  X("!=", test_ne)                   \
  X("ne", test_ne)                   \
  X(">", test_gt)                    \
  X("gt", test_gt)                   \
  X("greaterthan", test_gt)          \
  X("ge", test_ge)                   \
  X(">=", test_ge)                   \
  X("<", test_lt)                    \
  X("lt", test_lt)                   \
  X("lessthan", test_lt)             \
  X("<=", test_le)                   \
  X("le", test_le)

#define TRITIUM_JINJA_FUNCTIONS(X)             \
  X("range", global_range)                     \
  X("dict", global_dict)                       \
  X("lipsum", global_lipsum)                   \
  X("cycler", global_cycler)                   \
  X("joiner", global_joiner)                   \
  X("namespace", global_namespace)             \
  X("raise_exception", global_raise_exception) \
  X("strftime_now", global_strftime_now)

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

#define TRITIUM_JINJA_NAME(name, function) name,
inline constexpr std::string_view kFilterNames[] = {TRITIUM_JINJA_FILTERS(TRITIUM_JINJA_NAME)};
inline constexpr std::string_view kTestNames[] = {TRITIUM_JINJA_TESTS(TRITIUM_JINJA_NAME)};
inline constexpr std::string_view kFunctionNames[] = {TRITIUM_JINJA_FUNCTIONS(TRITIUM_JINJA_NAME)};
#undef TRITIUM_JINJA_NAME

/// The place of `name` in one of the lists, or kUnknownFunction.
template <std::size_t N>
std::uint32_t find_name(const std::string_view (&names)[N], std::string_view name) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == name) return static_cast<std::uint32_t>(i);
  }
  return kUnknownFunction;
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
