// SPDX-License-Identifier: Apache-2.0
// Where scripts/get-model.sh puts the published models.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace tritium_test {

/// The path of a model's file; empty, with a warning, when it is not there and TRITIUM_REQUIRE_MODELS does not want it.
inline std::string real_model(const std::string& name) {
  const auto variable = [](const char* key) {
    const char* value = std::getenv(key);
    return std::string(value == nullptr ? "" : value);
  };
  std::string folder = variable("TRITIUM_MODELS");
  if (folder.empty()) {
    const std::string data = variable("XDG_DATA_HOME");
    folder = (data.empty() ? variable("HOME") + "/.local/share" : data) + "/tritium/models";
  }
  const std::string path = folder + "/" + name + ".gguf";
  if (std::filesystem::exists(path)) return path;
  if (!variable("TRITIUM_REQUIRE_MODELS").empty()) FAIL("a required model is not there: " << path);
  WARN("not there, not tested: " << path);
  return {};
}

}  // namespace tritium_test
