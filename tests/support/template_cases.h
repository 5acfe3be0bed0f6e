// SPDX-License-Identifier: Apache-2.0
// What the tests of jinja.h and chat_template.h share: golden files, the fixed clock, rendering in one line.
#pragma once

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "tritium/text/jinja.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRITIUM_TEST_SANITIZED 1
#else
#define TRITIUM_TEST_SANITIZED 0
#endif

namespace tritium_test {

using Json = nlohmann::ordered_json;

inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline Json read_golden(const std::string& name) {
  return Json::parse(read_text(std::string(TRITIUM_TEST_DATA) + "/templates/" + name));
}

/// 2025-03-09 14:05:06, a Sunday: what the golden files were made at.
inline std::tm golden_clock() {
  std::tm t{};
  t.tm_year = 125;
  t.tm_mon = 2;
  t.tm_mday = 9;
  t.tm_hour = 14;
  t.tm_min = 5;
  t.tm_sec = 6;
  t.tm_wday = 0;
  t.tm_yday = 67;
  return t;
}

/// The folder of llama.cpp's templates, or an empty string.
inline std::string llama_templates() {
  const char* variable = std::getenv("TRITIUM_TEST_TEMPLATES");
  std::string folder = variable != nullptr ? variable : std::string(TRITIUM_SOURCE_DIR) + "/build/test-data/templates";
  if (std::filesystem::exists(folder + "/google-gemma-2-2b-it.jinja")) return folder;
  if (variable != nullptr)
    throw std::runtime_error("TRITIUM_TEST_TEMPLATES names " + folder +
                             ", which scripts/get-test-data.sh has not filled");
  return {};
}

/// The text, or "! " and the error.
inline std::string render(const std::string& source, const Json& variables = Json::object(),
                          const tritium::jinja::Limits& limits = {}) {
  const auto parsed = tritium::jinja::Template::parse(source, limits);
  if (!parsed.ok()) return "! " + parsed.error().message;
  const auto rendered = parsed->render(variables, {}, limits, golden_clock);
  return rendered.ok() ? rendered->text : "! " + rendered.error().message;
}

}  // namespace tritium_test
