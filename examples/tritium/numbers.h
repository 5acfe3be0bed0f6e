// SPDX-License-Identifier: Apache-2.0
// Numbers of the command line, read strictly: the whole text, within bounds, or wrong usage.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "tritium/io/byte_reader.h"

namespace cli {

template <class T>
std::string number_text(T value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  return {text, end};
}

/// `where` names the option in the message.
template <class T>
T parse_number(std::string_view where, std::string_view text, T least, T most) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = code == std::errc() && end == text.data() + text.size();
  bool inside = whole && value >= least && value <= most;  // false for NaN
  if constexpr (std::is_floating_point_v<T>) inside = inside && std::isfinite(value);
  if (!inside) {
    const std::string kind = std::is_floating_point_v<T> ? "a number from " : "a whole number from ";
    wrong_usage(where, kind + number_text(least) + " to " + number_text(most), text.empty() ? "nothing" : text);
  }
  return value;
}

/// "1,2,3", at least one number.
template <class T>
std::vector<T> parse_numbers(std::string_view where, std::string_view text, T least, T most) {
  std::vector<T> values;
  for (;;) {
    const std::size_t comma = text.find(',');
    values.push_back(parse_number<T>(where, text.substr(0, comma), least, most));
    if (comma == std::string_view::npos) return values;
    text.remove_prefix(comma + 1);
  }
}

/// Ids separated by commas or white space, from a file or a pipe. Errors: invalid_argument.
inline tritium::Result<std::vector<std::int32_t>> parse_ids(std::string_view where, std::string_view text) {
  std::vector<std::int32_t> ids;
  constexpr std::string_view kBetween = ", \t\r\n";
  for (std::size_t at = text.find_first_not_of(kBetween); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    std::int32_t id = 0;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (code != std::errc() || stop != word.data() + word.size() || id < 0) {
      return tritium::make_error(tritium::Errc::invalid_argument, "not a token id",
                                 std::string(where) + ", id number " + std::to_string(ids.size() + 1),
                                 "a whole number from 0 on", tritium::printable(word));
    }
    ids.push_back(id);
    at = text.find_first_not_of(kBetween, end);
  }
  return ids;
}

}  // namespace cli
