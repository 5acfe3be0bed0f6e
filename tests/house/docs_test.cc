// SPDX-License-Identifier: Apache-2.0
// Code on the page for users of the library is code that tests build.
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <sstream>
#include <string>

namespace {

std::string contents(const std::string& path) {
  std::ifstream in(std::string(TRITIUM_SOURCE_DIR "/") + path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("each block of docs/consuming.md stands in the file that it names", "[house]") {
  std::istringstream page(contents("docs/consuming.md"));
  std::string before;  // the line above
  std::size_t blocks = 0;
  for (std::string line; std::getline(page, line); before = line) {
    if (!line.starts_with("```") || line == "```") {
      if (line == "```") {  // Tritium's own build: what scripts/test.sh does
        std::string block;
        while (std::getline(page, line) && line != "```") block += line + "\n";
        CHECK(block.starts_with("cmake --preset release"));
      }
      continue;
    }
    INFO("the block below: " << before);
    REQUIRE(before.starts_with("<!-- "));
    REQUIRE(before.ends_with(" -->"));
    const std::string path = before.substr(5, before.size() - 9);
    std::string block;
    while (std::getline(page, line) && line != "```") block += line + "\n";
    INFO(path << " lacks:\n" << block);
    CHECK_FALSE(block.empty());
    CHECK(contents(path).find("\n" + block) != std::string::npos);
    ++blocks;
  }
  CHECK(blocks >= 9);
}
