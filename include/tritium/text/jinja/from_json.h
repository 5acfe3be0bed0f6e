// SPDX-License-Identifier: Apache-2.0
// JSON to values: what the caller passes in, and whose text it is.
//
// Every string and number of the variables is the user's, whatever its place, except in variables that the caller
// vouches for and except the roles that templates build control tokens with. Input does not count against the
// template's memory budget, but its nesting is limited and its text must be UTF-8, since everything after relies on
// both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/text/jinja/filters.h"
#include "tritium/text/jinja/interpreter.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

inline bool Interpreter::from_json(const nlohmann::ordered_json& j, const Trust& trust, Value& out) {
  if (j.is_null()) {
    out = Value::object(Kind::dict, heap_.make<Dict>().get());
    return true;
  }
  if (!j.is_object()) return fail("the variables of a template must be a JSON object", "an object", j.type_name());
  heap_.begin_exempt();
  Ref<Dict> dict = heap_.make<Dict>();
  for (const auto& [name, value] : j.get_ref<const nlohmann::ordered_json::object_t&>()) {
    Value v;
    const bool user = std::find(trust.variables.begin(), trust.variables.end(), name) == trust.variables.end();
    if (!utf8_valid(name)) return fail("a variable's name is not valid UTF-8");
    if (!convert_json(value, user, 1, v) || !dict_set(*dict, text(name), v)) return false;
    if (name == "messages") trust_roles(v, trust);
  }
  out = Value::object(Kind::dict, dict.get());
  heap_.end_exempt();
  return true;
}

// Templates build control tokens out of roles ('<|' + role + '|>'): the few known ones must not count as the user's.
inline void Interpreter::trust_roles(const Value& messages, const Trust& trust) {
  if (!messages.is(Kind::list)) return;
  for (const Value& message : messages.as<List>().items) {
    if (!message.is(Kind::dict)) continue;
    for (Dict::Entry& e : message.as<Dict>().entries) {
      if (!e.key.is(Kind::string) || e.key.str().text != "role" || !e.value.is(Kind::string)) continue;
      const std::string& role = e.value.str().text;
      if (std::find(trust.roles.begin(), trust.roles.end(), role) != trust.roles.end())
        e.value = text(std::string(role));
    }
  }
}

inline bool Interpreter::convert_json(const nlohmann::ordered_json& j, bool user, std::uint32_t depth, Value& out) {
  using Json = nlohmann::ordered_json;
  if (depth > heap_.limits().depth) {
    return fail("the data is nested too deeply", "at most " + std::to_string(heap_.limits().depth) + " levels", "more",
                Errc::out_of_range);
  }
  switch (j.type()) {
    case Json::value_t::null: out = Value::none(); return true;
    case Json::value_t::boolean: out = Value::boolean(j.get_ref<const Json::boolean_t&>()); return true;
    case Json::value_t::number_integer:
      out = Value::integer(j.get_ref<const Json::number_integer_t&>(), user);
      return true;
    case Json::value_t::number_unsigned: {
      const std::uint64_t number = j.get_ref<const Json::number_unsigned_t&>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return fail_overflow();
      out = Value::integer(static_cast<std::int64_t>(number), user);
      return true;
    }
    case Json::value_t::number_float: out = Value::real(j.get_ref<const Json::number_float_t&>(), user); return true;
    case Json::value_t::string: {
      const auto& string = j.get_ref<const Json::string_t&>();
      if (!utf8_valid(string)) return fail("a text of the conversation is not valid UTF-8");
      Ref<Str> s = heap_.make<Str>(string.size());
      s->text = string;
      s->origin.user = user;
      out = Value::object(Kind::string, s.get());
      return true;
    }
    case Json::value_t::array: {
      Ref<List> list = heap_.make<List>(j.size() * sizeof(Value));
      list->items.reserve(j.size());
      for (const Json& item : j) {
        Value v;
        if (!convert_json(item, user, depth + 1, v)) return false;
        list->items.push_back(std::move(v));
      }
      out = Value::object(Kind::list, list.get());
      return true;
    }
    case Json::value_t::object: {
      Ref<Dict> dict = heap_.make<Dict>();
      for (const auto& [name, value] : j.get_ref<const Json::object_t&>()) {
        Value v;
        if (!utf8_valid(name)) return fail("a key of the conversation is not valid UTF-8");
        if (!convert_json(value, user, depth + 1, v) || !dict_set(*dict, text(name, user), v)) return false;
      }
      out = Value::object(Kind::dict, dict.get());
      return true;
    }
    default: return fail("the data holds a value that is not JSON", "JSON", j.type_name());
  }
}

}  // namespace jinja

TRITIUM_NAMESPACE_END
