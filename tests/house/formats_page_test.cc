// SPDX-License-Identifier: Apache-2.0
// docs/formats.md has the sizes of every packed format, as the headers have them.
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "tritium/format/packed_matrix.h"

namespace {

std::string page() {
  std::ifstream in(TRITIUM_SOURCE_DIR "/docs/formats.md");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// | name | bits a weight | bytes before the first unit | inputs of a unit | bytes of scales | bytes of codes |
std::string row(const tritium::PackFormatInfo& f, std::size_t scales, std::size_t codes) {
  std::ostringstream out;
  out.precision(3);
  out << std::fixed << "| `" << f.name << "` | " << f.bits_per_weight() << " | " << f.prefix_bytes << " | " << f.unit
      << " | " << scales << " | " << codes << " |";
  return out.str();
}

}  // namespace

TEST_CASE("docs/formats.md has a row for every packed format, with the sizes that it has", "[house]") {
  const std::string text = page();
  REQUIRE(text.size() > 1000);
  for (const tritium::PackFormatInfo& f : tritium::kPackFormats) {
    const std::size_t scales = tritium::visit_format(
        f.format,
        [](auto format) {
          if constexpr (decltype(format)::kBits == 0) {
            return std::size_t{0};
          } else {
            return decltype(format)::kHeaderBytes;
          }
        },
        [](auto) { return std::size_t{0}; });
    const std::string expected = row(f, scales, f.unit_bytes - scales);
    INFO("docs/formats.md lacks:\n" << expected);
    CHECK(text.find(expected + "\n") != std::string::npos);
  }
}
