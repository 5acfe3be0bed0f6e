// SPDX-License-Identifier: Apache-2.0
#include "tritium/text/unicode.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

using namespace tritium;

TEST_CASE("every scalar value survives UTF-8", "[unicode]") {
  std::string text;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    text.clear();
    append_utf8(c, text);
    const CodePoint unit = decode_utf8(text);
    REQUIRE(unit.valid);
    REQUIRE(unit.value == c);
    REQUIRE(unit.length == text.size());
    REQUIRE(is_valid_utf8(text));
  }
  for (const char32_t bad : {char32_t{0xD800}, char32_t{0xDFFF}, char32_t{0x110000}}) {
    text.clear();
    append_utf8(bad, text);
    CHECK(text == "\xEF\xBF\xBD");
  }
}

TEST_CASE("ill-formed UTF-8 is one invalid byte at a time", "[unicode]") {
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80",
                          "\xED\xBF\xBF", "\xE2\x82", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xFF", "\xF0\x9F\x98"}) {
    const CodePoint unit = decode_utf8(bad);
    INFO(escape_control(bad));
    CHECK(!unit.valid);
    CHECK(unit.length == 1);
    CHECK(unit.value == 0xFFFD);
    CHECK(valid_utf8_prefix(std::string("ok") + bad) == 2);
  }
  CHECK(valid_utf8_prefix("abcdefgh\xC3\xA9ij\xFFkl") == 12);
  CHECK(invalid_utf8_prefix("\xFF\x80z") == 2);
  CHECK(invalid_utf8_prefix("z\xFF") == 0);
}

TEST_CASE("ASCII classes agree with utf8proc, and classes are exclusive", "[unicode]") {
  for (char32_t c = 0; c < 128; ++c) {
    const auto expected =
        is_white_space(c) ? std::uint8_t{kSpace} : detail::class_of_category(utf8proc_category(static_cast<int>(c)));
    CHECK(int{char_class(c)} == int{expected});
  }
  int letters = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    const int cls = char_class(c);
    const int kinds = ((cls & kLetter) != 0) + ((cls & kNumber) != 0) + ((cls & kSpace) != 0) + ((cls & kMark) != 0) +
                      ((cls & kPunct) != 0) + ((cls & kSymbol) != 0);
    REQUIRE(kinds <= 1);
    if ((cls & (kUpper | kLower)) != 0) REQUIRE((cls & kLetter) != 0);
    letters += (cls & kLetter) != 0;
  }
  CHECK(letters > 130000);
  CHECK(is_word_character(U'_'));
  CHECK(is_word_character(0x301));
  CHECK(!is_word_character(U'-'));
  CHECK(!is_word_character(0xB2));
}

TEST_CASE("Utf8Stream releases whole code points only", "[unicode]") {
  const std::string text = "a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80z";
  // Cut anywhere into any two or three parts: the same text comes out, and never a part of a code point.
  for (std::size_t i = 0; i <= text.size(); ++i) {
    for (std::size_t j = i; j <= text.size(); ++j) {
      Utf8Stream stream;
      std::string out;
      for (const auto& [from, to] : {std::pair{std::size_t{0}, i}, std::pair{i, j}, std::pair{j, text.size()}}) {
        stream.push(std::string_view(text).substr(from, to - from), out);
        REQUIRE(is_valid_utf8(out));
        REQUIRE(stream.held() <= 3);
      }
      stream.finish(out);
      REQUIRE(out == text);
    }
  }
  const auto replaced = [](std::string_view bytes, Utf8Stream::Invalid policy) {
    Utf8Stream stream(policy);
    std::string out;
    for (const char c : bytes) stream.push(std::string_view(&c, 1), out);
    stream.finish(out);
    return out;
  };
  const std::string mark = "\xEF\xBF\xBD";
  // One mark for each maximal ill-formed part (Unicode 15, table 3-8).
  CHECK(replaced("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", Utf8Stream::Invalid::replace) ==
        "a" + mark + mark + mark + "b" + mark + "c" + mark + mark + "d");
  CHECK(replaced("\xED\xA0\x80", Utf8Stream::Invalid::replace) == mark + mark + mark);
  CHECK(replaced("x\xE4\xBD", Utf8Stream::Invalid::replace) == "x" + mark);
  CHECK(replaced("x\xE4\xBD\xFFy\xF0", Utf8Stream::Invalid::keep) == "x\xE4\xBD\xFFy\xF0");
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i)
      bytes.push_back(static_cast<char>(random() % 3 == 0 ? random() : "\xE4\xBD\xA0\xF0\x9F\x98\x80"[random() % 7]));
    REQUIRE(replaced(bytes, Utf8Stream::Invalid::keep) == bytes);
    REQUIRE(is_valid_utf8(replaced(bytes, Utf8Stream::Invalid::replace)));
  }
}

TEST_CASE("text from files is printed safely", "[unicode]") {
  CHECK(escape_control("a\nb\t\x1b[31m\x7f\\") == "a\\nb\\t\\x1b[31m\\x7f\\\\");
  CHECK(escape_control("\xC2\x85\xE2\x80\xAE\xEF\xBB\xBF") == "\\u{85}\\u{202e}\\u{feff}");
  CHECK(escape_control("gr\xC3\xBC\xC3\x9F \xFF") == "gr\xC3\xBC\xC3\x9F \\xff");
  CHECK(escape_control(std::string(100, 'x'), 10) == "xxxxxxxxxx...");
  CHECK(in_quotes("a\"b") == "\"a\"b\"");
}
