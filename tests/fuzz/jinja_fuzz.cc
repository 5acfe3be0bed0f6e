// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a template and, after a NUL, the variables as JSON. What renders must be valid UTF-8,
// its segments must make up the text, and a second rendering must be the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tritium/text/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tritium;
  using Json = nlohmann::ordered_json;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(input.find('\0'), input.size());
  jinja::Limits limits;
  limits.fuel = 200'000;
  limits.memory_bytes = 16u << 20;
  limits.output_bytes = 1u << 20;
  const auto parsed = jinja::Template::parse(input.substr(0, cut), limits);
  if (!parsed.ok()) {
    if (parsed.error().message.find_first_of("\r\n") != std::string::npos) std::abort();
    return 0;
  }
  static const Json usual =
      Json::parse(R"({"messages": [{"role": "user", "content": "Hi <b>\u00e9"}, {"role": "assistant", "content": null,
      "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, true, {"b": "c"}]}}}]}], "x": "abc", "n": 5, "f": 1.5,
      "l": [3, 1, 2], "d": {"k": "v", "items": 1}, "add_generation_prompt": true, "tools": null})");
  Json variables = cut < size ? Json::parse(input.substr(cut + 1), nullptr, false) : usual;
  if (!variables.is_object()) variables = usual;
  const auto first = parsed->render(variables, {{"tools"}, {"user"}}, limits, [] { return std::tm{}; });
  if (!first.ok()) {
    if (first.error().message.find_first_of("\r\n") != std::string::npos) std::abort();
    return 0;
  }
  if (!jinja::utf8_valid(first->text)) std::abort();
  std::string joined;
  for (const jinja::Segment& s : first->segments()) {
    if (s.text.empty()) std::abort();
    joined += s.text;
  }
  if (joined != first->text) std::abort();
  const auto second = parsed->render(variables, {{"tools"}, {"user"}}, limits, [] { return std::tm{}; });
  if (!second.ok() || second->text != first->text || second->steps != first->steps) std::abort();
  return 0;
}
