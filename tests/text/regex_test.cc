// SPDX-License-Identifier: Apache-2.0
#include "tritium/text/regex.h"

#include <catch2/catch_test_macros.hpp>

using namespace tritium;

namespace {
std::string matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern);
  INFO(pattern << ": " << (regex.ok() ? "" : regex.error().message));
  REQUIRE(regex.ok());
  Regex::Scratch scratch;
  std::string out;
  for (std::size_t from = 0; from <= text.size();) {
    const auto match = regex->find(text, from, scratch);
    REQUIRE(match.ok());
    if (!match->found) break;
    out.append("[").append(text.substr(match->begin, match->end - match->begin)).append("]");
    from = match->end > match->begin ? match->end : match->end + 1;
  }
  return out;
}
}  // namespace

TEST_CASE("Oniguruma's classes mean Unicode properties", "[regex]") {
  CHECK(matches("\\s+", "a\xC2\xA0\xE3\x80\x80 b\x85") == "[\xC2\xA0\xE3\x80\x80 ]");
  CHECK(matches("\\s", "\xE1\xA0\x8E\xE2\x80\x8B") == "");  // U+180E and U+200B are no white space
  CHECK(matches("\\s", "\xC2\x85\xE2\x80\xA8") == "[\xC2\x85][\xE2\x80\xA8]");
  CHECK(matches("[^\\S\\n]+", " \t\n ") == "[ \t][ ]");
  CHECK(matches("\\w+", "caf\xC3\xA9_1 e\xCC\x81\xC2\xB2") == "[caf\xC3\xA9_1][e\xCC\x81]");
  CHECK(matches("\\d+", "1\xD9\xA3\xC2\xB2") == "[1\xD9\xA3]");
  CHECK(matches("\\bx\\b", "x xy x") == "[x][x]");
  CHECK(matches("(?i:'s|'ll)", "'S 'Ll '\xC5\xBF") == "['S]['Ll]['\xC5\xBF]");
  CHECK(matches("\\p{Han}+", "a\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x81\x82") == "[\xE4\xBD\xA0\xE5\xA5\xBD]");
  CHECK(matches("\\p{^L}", "a1") == "[1]");
  CHECK(matches("\\p{Letter}+", "ab1") == "[ab]");
  CHECK(matches("\\u4f60", "\xE4\xBD\xA0") == "[\xE4\xBD\xA0]");
  CHECK(matches("[]a]+", "a]b") == "[a]]");
  CHECK(matches("a$", "a\nb a") == "[a][a]");  // $ is the end of a line in Ruby
  CHECK(matches("a\\vb",
                "a\x0b"
                "b") ==
        "[a\x0b"
        "b]");
}

TEST_CASE("what has no equivalent is refused by name", "[regex]") {
  for (const char* pattern :
       {"\\h",           "\\R",       "\\X",   "\\K",  "[a&&b]", "[a[bc]]",       "(?m:.)", "(?x)a",
        "a{,3}",         "a{1,2}+",   "(",     "[a",   "a\\",    "\\p{Nonsense}", "\\pL",   "\\p{",
        "(?<n>a)\\g<n>", "[[:alpha:", "[\\W]", "\xFF", "*",      "(?C1",          ""}) {
    const auto regex = Regex::compile(pattern);
    INFO(pattern);
    REQUIRE(!regex.ok());
    CHECK(regex.error().code == Errc::unsupported);
  }
  CHECK(!Regex::compile(std::string(70000, 'a')).ok());
  CHECK(!Regex::compile(std::string(100, '(') + "a" + std::string(100, ')')).ok());
}

TEST_CASE("a pattern that backtracks without end stops with an error", "[regex]") {
  const auto regex = Regex::compile("(a+)+$");
  REQUIRE(regex.ok());
  Regex::Scratch scratch;
  const auto match = regex->find(std::string(60, 'a') + "b", 0, scratch);
  CHECK(!match.ok());
}
