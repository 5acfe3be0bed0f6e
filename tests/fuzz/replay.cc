// SPDX-License-Identifier: Apache-2.0
// Every fuzz target once more over its committed corpus and its seeds, with any compiler: what was found stays fixed.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using Target = int (*)(const std::uint8_t*, std::size_t);

std::size_t replay_folder(const std::filesystem::path& folder, Target target) {
  if (!std::filesystem::is_directory(folder)) return 0;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& file : files) {
    INFO(file.string());  // shown by the handler of the abort
    std::ifstream in(file, std::ios::binary);
    REQUIRE(in);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    // A copy of exactly that size, so that a sanitizer sees a read past the end.
    const std::vector<std::uint8_t> bytes(text.begin(), text.end());
    CHECK(target(bytes.data(), bytes.size()) == 0);
  }
  return files.size();
}

void replay(const std::string& name, Target target) {
  CHECK(target(nullptr, 0) == 0);
  const std::filesystem::path corpus = std::filesystem::path(TRITIUM_FUZZ_CORPUS) / name;
  CHECK(replay_folder(corpus, target) != 0);
  CHECK(replay_folder(std::filesystem::path(TRITIUM_FUZZ_SEEDS) / name, target) != 0);
}

}  // namespace

#define TRITIUM_FUZZ_TARGET(name)                                         \
  extern "C" int fuzz_##name(const std::uint8_t* data, std::size_t size); \
  TEST_CASE("corpus of " #name, "[fuzz]") { replay(#name, fuzz_##name); }
#include "fuzz_targets.inc"
