// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/byte_reader.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>

#include "io/test_files.h"

using namespace tritium;

TEST_CASE("values are little-endian at any address", "[byte_reader]") {
  const std::string bytes("\xAA\x01\x02\x03\x04\x05\x06\x07\x08\xFF\xFF", 11);
  ByteReader reader(as_bytes(bytes), "file");
  CHECK(*reader.read<std::uint8_t>("a") == 0xAA);
  CHECK(*reader.read<std::uint64_t>("b") == 0x0807060504030201u);  // from an odd offset
  CHECK(*reader.read<std::int16_t>("c") == -1);
  CHECK(reader.remaining() == 0);
  CHECK(reader.position() == 11);
  CHECK(message_of(reader.read<std::uint8_t>("d")) ==
        "file ends too early (file, d at byte 11: expected 1 bytes, found 0)");
}

TEST_CASE("a refused read moves nothing", "[byte_reader]") {
  const std::string bytes(
      "\x05\x00\x00\x00\x00\x00\x00\x00"
      "abc",
      11);
  ByteReader reader(as_bytes(bytes), "file");
  CHECK_FALSE(reader.read_bytes(12, "block").ok());
  CHECK_FALSE(reader.read_bytes(std::numeric_limits<std::size_t>::max(), "block").ok());
  reader.set_context("key", "x");
  CHECK(message_of(reader.read_string("value", 0, 100)) ==
        "file ends too early (file, key \"x\" value at byte 8: expected 5 bytes, found 3)");
  CHECK(reader.position() == 0);
  CHECK(message_of(reader.read_string("value", 6, 100)) ==
        "bad string length (file, key \"x\" value at byte 0: expected 6 to 100 bytes, found 5)");
  CHECK(message_of(reader.read_string("value", 0, 4)) ==
        "bad string length (file, key \"x\" value at byte 0: expected 0 to 4 bytes, found 5)");
  CHECK(reader.position() == 0);
}

TEST_CASE("a count is bounded by its limit and by the bytes behind it", "[byte_reader]") {
  std::string bytes(8 + 30, '\0');
  const auto read = [&](std::uint64_t count, std::size_t limit, std::size_t record) {
    std::memcpy(bytes.data(), &count, sizeof(count));
    ByteReader reader(as_bytes(bytes), "file");
    return reader.read_count("n", limit, record);
  };
  CHECK(*read(3, 100, 10) == 3);
  CHECK(message_of(read(4, 100, 10)) ==
        "file ends too early (file, n at byte 0: expected at most 3 in the bytes left, found 4)");
  CHECK(message_of(read(3, 2, 10)) == "count past the limit (file, n at byte 0: expected at most 2, found 3)");
  for (const std::uint64_t count : {std::uint64_t{1} << 61, ~std::uint64_t{0}, (std::uint64_t{1} << 63) + 1}) {
    CHECK_FALSE(read(count, std::numeric_limits<std::size_t>::max(), 8).ok());  // count * 8 would wrap
  }
}

TEST_CASE("strings are views", "[byte_reader]") {
  const std::string bytes(
      "\x03\x00\x00\x00\x00\x00\x00\x00"
      "a\0c!",
      12);
  ByteReader reader(as_bytes(bytes), "file");
  const std::string_view text = value_of(reader.read_string("s", 0, 3));
  CHECK(text == std::string_view("a\0c", 3));
  CHECK(text.data() == bytes.data() + 8);
  CHECK(reader.remaining() == 1);
}

TEST_CASE("UTF-8 is what Unicode says it is", "[byte_reader]") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("plain \xC3\xA9 \xE4\xB8\x96 \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF \xEF\xBF\xBF"));
  for (const std::string_view bad :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xE4\xB8", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xF0\x9F\x98", "\xC3\x28"}) {
    CHECK_FALSE(is_utf8(bad));
    CHECK(utf8_valid_prefix("ok" + std::string(bad)) == 2);
  }
  // Every code point through an encoder that shares nothing with the checker.
  for (std::uint32_t c = 0; c < 0x110000; ++c) {
    std::string text;
    if (c < 0x80) {
      text = {static_cast<char>(c)};
    } else {
      const int tail = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
      const std::uint32_t lead = tail == 1 ? 0xC0 : tail == 2 ? 0xE0 : 0xF0;
      text += static_cast<char>(lead | (c >> (6 * tail)));
      for (int i = tail - 1; i >= 0; --i) text += static_cast<char>(0x80 | ((c >> (6 * i)) & 63));
    }
    if (is_utf8(text) != (c < 0xD800 || c > 0xDFFF)) FAIL("code point " << c);
  }
}

TEST_CASE("text from a file cannot break a line or a terminal", "[byte_reader]") {
  CHECK(printable("blk.0.w") == "blk.0.w");
  CHECK(printable("a\nb\x1b[31m\x7f") == "a\\x0ab\\x1b[31m\\x7f");
  CHECK(printable("\xC3\xA9 \xC2\x85 \xFF \\") == "\xC3\xA9 \\xc2\\x85 \\xff \\\\");
  CHECK(printable(std::string(1000, 'x'), 10) == "xxxxxxxxxx...");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
}
