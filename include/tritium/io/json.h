// SPDX-License-Identifier: Apache-2.0
// JSON files with limits, and typed access that names the key it could not read.
//
// A thin layer over nlohmann/json: documents are built from its event parser, so that depth, size and number of values
// are bounded while reading and a key given twice is refused; nothing it could throw leaves these functions. JsonObject
// reads values the way GgufFile reads metadata, because the model layer takes the same facts from either.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tritium/core/json_tree.h"
#include "tritium/core/no_throw.h"
#include "tritium/io/byte_reader.h"
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

/// JSON as a tree. Only what read_json() has checked becomes one.
using Json = nlohmann::json;

/// How large and deep a JSON text may be.
struct JsonLimits {
  std::size_t max_bytes = std::size_t{16} << 20;  ///< of the text
  std::size_t max_depth = 64;                     ///< of arrays and objects in each other
  std::size_t max_values = std::size_t{1} << 20;  ///< keys and values together; about 100 bytes of memory each
};

namespace detail {

/// Receives the parser's events and builds the document; returns false to stop at the first thing refused.
class JsonBuilder {
 public:
  JsonBuilder(std::string_view name, const JsonLimits& limits) : name_(name), limits_(limits) {}

  bool null() { return add(nullptr) != nullptr; }
  bool boolean(bool value) { return add(value) != nullptr; }
  bool number_integer(Json::number_integer_t value) { return add(value) != nullptr; }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value) != nullptr; }
  bool number_float(Json::number_float_t value, const Json::string_t&) { return add(value) != nullptr; }
  bool string(Json::string_t& value) { return add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) { return refuse("binary value in JSON", "text", "binary"); }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }
  bool key(Json::string_t& value) {
    if (!count_one()) return false;
    const auto [place, inserted] = open_.back()->get_ref<Json::object_t&>().emplace(std::move(value), nullptr);
    if (!inserted) {
      return refuse("duplicate key in JSON", "unique keys", concat("\"", printable(place->first), "\" twice"));
    }
    slot_ = &place->second;
    return true;
  }
  template <class Exception>
  bool parse_error(std::size_t position, const std::string&, const Exception& exception) {
    std::string_view text = exception.what();
    if (const std::size_t end = text.find("] "); end != std::string_view::npos) text.remove_prefix(end + 2);
    error_ = make_error(Errc::invalid_file, "bad JSON",
                        concat(printable_path(name_), ", byte ", position, ": ", printable(text, 256)));
    return false;
  }

  Json document() { return document_.take(); }
  Error& error() { return error_; }

 private:
  bool count_one() {
    if (++values_ <= limits_.max_values) return true;
    return refuse("too many values in JSON", concat("at most ", limits_.max_values), "more");
  }

  /// Puts a value where the next one belongs: under the last key, at the end of the open array, or as the document.
  template <class Value>
  Json* add(Value&& value) {
    if (!count_one()) return nullptr;
    if (slot_ == nullptr && !open_.empty()) {
      auto& elements = open_.back()->get_ref<Json::array_t&>();
      elements.emplace_back(std::forward<Value>(value));
      return &elements.back();
    }
    Json* place = std::exchange(slot_, nullptr);
    if (place == nullptr) place = &document_.get();
    *place = std::forward<Value>(value);
    return place;
  }

  bool open(Json container) {
    if (open_.size() >= limits_.max_depth) {
      return refuse("JSON is nested too deeply", concat("at most ", limits_.max_depth, " levels"), "more");
    }
    Json* place = add(std::move(container));
    if (place == nullptr) return false;
    open_.push_back(place);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  bool refuse(std::string_view what, std::string_view expected, std::string_view found) {
    error_ = make_error(Errc::invalid_file, what, printable_path(name_), expected, found);
    return false;
  }

  std::string_view name_;
  const JsonLimits& limits_;
  JsonTree<Json> document_;
  std::vector<Json*> open_;  // the containers that are not closed yet, outermost first
  Json* slot_ = nullptr;     // the value of the key just read
  std::size_t values_ = 0;
  Error error_;
};

/// "integer", "string", ...: the kind of a value for messages.
inline std::string_view json_kind(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "object";
    case Json::value_t::array: return "array";
    case Json::value_t::string: return "string";
    case Json::value_t::boolean: return "boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return "integer";
    case Json::value_t::number_float: return "number";
    case Json::value_t::binary:
    case Json::value_t::discarded: break;
  }
  return "nothing";
}

template <class T>
constexpr std::string_view wanted_json_kind() {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return "string";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "boolean";
  } else if constexpr (std::integral<T>) {
    return std::is_signed_v<T> ? "integer" : "non-negative integer";
  } else {
    return "number";
  }
}

enum class JsonFit : std::uint8_t { fits, wrong_kind, out_of_range };

/// Whole floats such as 2048.0 count as integers; everything else must be what it is taken for.
template <class T>
JsonFit convert_json(const Json& value, T& out) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    if (!value.is_string()) return JsonFit::wrong_kind;
    out = value.get_ref<const Json::string_t&>();
    return JsonFit::fits;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) return JsonFit::wrong_kind;
    out = value.get_ref<const Json::boolean_t&>();
    return JsonFit::fits;
  } else if constexpr (std::integral<T>) {
    if (value.is_number_unsigned()) {
      const auto number = value.get_ref<const Json::number_unsigned_t&>();
      out = static_cast<T>(number);
      return std::in_range<T>(number) ? JsonFit::fits : JsonFit::out_of_range;
    }
    if (value.is_number_integer()) {
      const auto number = value.get_ref<const Json::number_integer_t&>();
      out = static_cast<T>(number);
      return std::in_range<T>(number) ? JsonFit::fits : JsonFit::out_of_range;
    }
    if (!value.is_number_float()) return JsonFit::wrong_kind;
    const double number = value.get_ref<const Json::number_float_t&>();
    if (number != std::trunc(number)) return JsonFit::wrong_kind;
    const double lowest = static_cast<double>(std::numeric_limits<T>::min());
    if (!(number >= lowest && number < std::ldexp(1.0, std::numeric_limits<T>::digits))) return JsonFit::out_of_range;
    out = static_cast<T>(number);
    return JsonFit::fits;
  } else {
    static_assert(std::floating_point<T>, "JSON values are read as string_view, bool, integers or floats");
    if (!value.is_number()) return JsonFit::wrong_kind;
    const double number =
        value.is_number_unsigned()  ? static_cast<double>(value.get_ref<const Json::number_unsigned_t&>())
        : value.is_number_integer() ? static_cast<double>(value.get_ref<const Json::number_integer_t&>())
                                    : value.get_ref<const Json::number_float_t&>();
    if (std::fabs(number) > static_cast<double>(std::numeric_limits<T>::max())) return JsonFit::out_of_range;
    out = static_cast<T>(number);
    return JsonFit::fits;
  }
}

}  // namespace detail

/// Parses a whole document; `name` stands for the file in messages.
/// Errors: invalid_file (larger, deeper or longer than the limits, not JSON, not UTF-8, a key twice), out_of_memory.
inline Result<Json> parse_json(std::string_view text, std::string_view name, const JsonLimits& limits = {}) {
  return no_throw([&]() -> Result<Json> {
    if (text.size() > limits.max_bytes) {
      return make_error(Errc::invalid_file, "JSON is too large", printable_path(name),
                        concat("at most ", limits.max_bytes, " bytes"), std::to_string(text.size()));
    }
    detail::JsonBuilder builder(name, limits);
    const bool ok = Json::sax_parse(text.begin(), text.end(), &builder, Json::input_format_t::json, true, false);
    if (!ok) return std::move(builder.error());
    return builder.document();
  });
}

/// Reads and parses a file. Errors: as read_file() and parse_json().
inline Result<Json> read_json_file(std::string_view path, const JsonLimits& limits = {}) {
  TRITIUM_ASSIGN(const std::string text, read_file(path, limits.max_bytes));
  return parse_json(text, path, limits);
}

/// An object of a document with typed access. A view: the document must outlive it and the strings read from it.
class JsonObject {
 public:
  /// `where` stands for the object in messages: "config.json" or "config.json, rope_scaling".
  /// Errors: invalid_file (not an object).
  static Result<JsonObject> of(const Json& value, std::string_view where) {
    return no_throw([&]() -> Result<JsonObject> {
      if (!value.is_object()) {
        return make_error(Errc::invalid_file, "wrong type in JSON", printable_path(where), "object",
                          detail::json_kind(value));
      }
      return JsonObject(value, std::string(where));
    });
  }

  /// The value of a key; null when the key is missing or its value is JSON's null, which files use as "not set".
  [[nodiscard]] const Json* find(std::string_view key) const {
    const auto found = value_->find(key);
    return found == value_->end() || found->is_null() ? nullptr : &*found;
  }
  [[nodiscard]] const Json& value() const { return *value_; }      ///< The object itself.
  [[nodiscard]] std::string_view where() const { return where_; }  ///< Where it stands, for messages.

  /// A value as T: std::string_view, bool, any integer or floating type. Errors: invalid_file (missing or null, another
  /// type, does not fit).
  template <class T>
  [[nodiscard]] Result<T> get(std::string_view key) const {
    return no_throw([&]() -> Result<T> {
      const Json* value = find(key);
      if (value == nullptr) return missing(key, detail::wanted_json_kind<T>());
      return convert<T>(*value, key);
    });
  }
  /// As get(), with a value for a key that is missing or null. A value of the wrong type is still an error.
  template <class T>
  [[nodiscard]] Result<T> get_or(std::string_view key, T fallback) const {
    return find(key) == nullptr ? Result<T>(fallback) : get<T>(key);
  }
  /// An array with each element as T.
  template <class T>
  [[nodiscard]] Result<std::vector<T>> get_array(std::string_view key) const {
    return no_throw([&]() -> Result<std::vector<T>> {
      const Json* value = find(key);
      if (value == nullptr) return missing(key, "array");
      if (!value->is_array()) return wrong_type(key, "array", *value);
      std::vector<T> out;
      out.reserve(value->size());
      for (std::size_t i = 0; i < value->size(); ++i) {
        TRITIUM_ASSIGN(const T element, convert<T>((*value)[i], concat(key, "[", i, "]")));
        out.push_back(element);
      }
      return out;
    });
  }
  /// An object inside this one.
  [[nodiscard]] Result<JsonObject> get_object(std::string_view key) const {
    return no_throw([&]() -> Result<JsonObject> {
      const Json* value = find(key);
      if (value == nullptr) return missing(key, "object");
      if (!value->is_object()) return wrong_type(key, "object", *value);
      return JsonObject(*value, concat(where_, ", ", key));
    });
  }

 private:
  JsonObject(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  template <class T>
  [[nodiscard]] Result<T> convert(const Json& value, std::string_view key) const {
    T out{};
    switch (detail::convert_json(value, out)) {
      case detail::JsonFit::fits: return out;
      case detail::JsonFit::wrong_kind: return wrong_type(key, detail::wanted_json_kind<T>(), value);
      case detail::JsonFit::out_of_range: break;
    }
    return make_error(Errc::invalid_file, "number in JSON does not fit", at(key), detail::wanted_json_kind<T>(),
                      printable(value.dump()));
  }

  [[nodiscard]] std::string at(std::string_view key) const {
    return concat(printable_path(where_), ", ", printable(key));
  }
  [[nodiscard]] Error missing(std::string_view key, std::string_view wanted) const {
    const bool is_null = value_->find(key) != value_->end();
    return make_error(Errc::invalid_file, "key is missing in JSON", at(key), wanted, is_null ? "null" : "nothing");
  }
  [[nodiscard]] Error wrong_type(std::string_view key, std::string_view wanted, const Json& value) const {
    return make_error(Errc::invalid_file, "wrong type in JSON", at(key), wanted, detail::json_kind(value));
  }

  const Json* value_;
  std::string where_;
};

TRITIUM_NAMESPACE_END
