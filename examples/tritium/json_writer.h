// SPDX-License-Identifier: Apache-2.0
// JsonWriter: JSON text in the order it is told. Strings that are not UTF-8 get U+FFFD, numbers that are not finite
// null.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>

#include "tritium/io/byte_reader.h"

namespace cli {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name) {
    separate();
    quote(name);
    text_ += ':';
    after_key_ = true;
    return *this;
  }
  JsonWriter& value(std::string_view text) {
    separate();
    quote(text);
    return *this;
  }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool b) { return raw(b ? "true" : "false"); }
  JsonWriter& null() { return raw("null"); }
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  JsonWriter& value(T number) {
    return digits(number);
  }
  JsonWriter& value(double number) { return std::isfinite(number) ? digits(number) : null(); }
  /// As value(), rounded to that many significant digits.
  JsonWriter& rounded(double number, int significant) {
    if (!std::isfinite(number)) return null();
    char text[40];
    return raw({text, std::to_chars(text, text + sizeof(text), number, std::chars_format::general, significant).ptr});
  }
  JsonWriter& rounded(std::string_view name, double number, int significant) {
    return key(name).rounded(number, significant);
  }
  template <class T>
  JsonWriter& member(std::string_view name, const T& v) {
    key(name);
    return value(v);
  }

  /// The value, or null.
  template <class T>
  JsonWriter& member(std::string_view name, const std::optional<T>& v) {
    key(name);
    return v ? value(*v) : null();
  }

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  JsonWriter& open(char bracket) {
    separate();
    text_ += bracket;
    first_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    text_ += bracket;
    first_ = false;
    return *this;
  }
  JsonWriter& raw(std::string_view token) {
    separate();
    text_ += token;
    return *this;
  }
  template <class T>
  JsonWriter& digits(T number) {
    char text[40];
    return raw({text, std::to_chars(text, text + sizeof(text), number).ptr});
  }
  void separate() {
    if (!after_key_ && !first_) text_ += ',';
    after_key_ = false;
    first_ = false;
  }
  void quote(std::string_view text) {
    constexpr char kDigits[] = "0123456789abcdef";
    text_ += '"';
    while (!text.empty()) {
      const std::size_t length = tritium::utf8_character_length(text);
      const auto lead = static_cast<unsigned char>(text[0]);
      if (length == 0) {
        text_ += "\\ufffd";
      } else if (lead == '"' || lead == '\\') {
        text_ += '\\';
        text_ += text[0];
      } else if (lead == '\n') {
        text_ += "\\n";
      } else if (lead < 0x20 || lead == 0x7F) {
        text_ += "\\u00";
        text_ += kDigits[lead >> 4];
        text_ += kDigits[lead & 15];
      } else {
        text_.append(text.substr(0, length));
      }
      text.remove_prefix(length == 0 ? 1 : length);
    }
    text_ += '"';
  }

  std::string text_;
  bool first_ = true;
  bool after_key_ = false;
};

}  // namespace cli
