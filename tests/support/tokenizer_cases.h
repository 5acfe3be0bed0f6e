// SPDX-License-Identifier: Apache-2.0
// Helpers of the tokenizer tests: the golden files of tests/data/tokenizers and comparisons that say what differs.
#pragma once

#include <nlohmann/json.hpp>
#include <sstream>

#include "support/gguf_tokenizer.h"
#include "tritium/text/tokenizer.h"

namespace tritium_test {

using Json = nlohmann::json;

inline std::string tokenizer_data(const std::string& name) {
  return std::string(TRITIUM_TEST_DATA) + "/tokenizers/" + name;
}

inline std::vector<std::int32_t> parse_ids(const std::string& line) {
  std::vector<std::int32_t> ids;
  std::istringstream in(line);
  for (std::int32_t id = 0; in >> id;) ids.push_back(id);
  return ids;
}

inline std::string show_ids(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (const std::int32_t id : ids) text.append(text.empty() ? "" : " ").append(std::to_string(id));
  return text;
}

/// Empty when `text` encodes to `expected`, else one line that shows both.
inline std::string encode_difference(const tritium::Tokenizer& tokenizer, const std::string& text,
                                     const std::vector<std::int32_t>& expected, const tritium::EncodeOptions& options) {
  const auto ids = tokenizer.encode(text, options);
  if (!ids.ok()) return tritium::in_quotes(text, 200).append(": ").append(ids.error().message).append("\n");
  if (*ids == expected) return {};
  return tritium::in_quotes(text, 200)
      .append("\n  expected ")
      .append(show_ids(expected))
      .append("\n  found    ")
      .append(show_ids(*ids))
      .append("\n");
}

}  // namespace tritium_test
