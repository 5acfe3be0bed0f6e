// SPDX-License-Identifier: Apache-2.0
#include "tritium/text/normalizer.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "support/cpu_timer.h"

using namespace tritium;

namespace {

std::string normal(NormalForm form, std::string text) {
  REQUIRE(normalize_unicode(form, text).ok());
  return text;
}

// utf8proc's own one-call form, as long as texts are short.
std::string oracle(NormalForm form, const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const bool compat = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compat ? UTF8PROC_COMPAT : 0));
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &out, options);
  REQUIRE(size >= 0);
  std::string result(reinterpret_cast<char*>(out), static_cast<std::size_t>(size));
  std::free(out);
  return result;
}

std::string apply(std::vector<NormalizeStep> steps, std::string text) {
  const auto normalizer = Normalizer::create(std::move(steps));
  REQUIRE(normalizer.ok());
  Regex::Scratch scratch;
  const Status status = normalizer->apply(text, true, scratch);
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  return text;
}

NormalizeStep step(NormalizeStep::Kind kind, std::string pattern = {}, std::string content = {}) {
  NormalizeStep s;
  s.kind = kind;
  s.pattern = std::move(pattern);
  s.content = std::move(content);
  return s;
}

}  // namespace

TEST_CASE("normal forms agree with utf8proc on random text", "[normalizer]") {
  CHECK(normal(NormalForm::nfc, "e\xCC\x81") == "\xC3\xA9");
  CHECK(normal(NormalForm::nfd, "\xC3\xA9") == "e\xCC\x81");
  CHECK(normal(NormalForm::nfkc, "\xEF\xAC\x81\xC2\xB2") == "fi2");
  std::mt19937 random(11);
  const char32_t pool[] = {'a',    'e',    'o',    0x41,   0x300,  0x301,  0x323,  0x308,   0x327, 0x345, 0x1100,
                           0x1161, 0x11A8, 0xAC00, 0x212B, 0xFB01, 0xFDFA, 0x4F60, 0x1F600, 0x5D0, 0x5B8, 0x5C1,
                           0x9C7,  0x9BE,  0x1E9B, 0x2F00, 0xFF21, 0xBD,   ' ',    0x3099,  0x304B};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    const int length = 1 + static_cast<int>(random() % 10);
    for (int i = 0; i < length; ++i) append_utf8(pool[random() % std::size(pool)], text);
    for (const NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
      REQUIRE(normal(form, text) == oracle(form, text));
    }
  }
}

TEST_CASE("a million combining marks in the worst order take less than a second", "[normalizer]") {
  std::string text = "a";
  for (int i = 0; i < 500000; ++i) text += "\xCC\x81\xCC\xA3";  // classes 230, 220, 230, 220 ...
  const tritium_test::CpuTimer timer;
  REQUIRE(normalize_unicode(NormalForm::nfc, text).ok());
  const double seconds = timer.seconds();
  CHECK(seconds < 1.0);
  CHECK(text.substr(0, 5) == "\xE1\xBA\xA1\xCC\xA3");  // a with dot below, then the other dots, then the accents
}

TEST_CASE("steps of a normalizer", "[normalizer]") {
  using Kind = NormalizeStep::Kind;
  CHECK(apply({step(Kind::lowercase)},
              "\xC3\x84"
              "B\xC4\xB0\xCE\xA3") ==
        "\xC3\xA4"
        "bi\xCC\x87\xCF\x83");
  CHECK(apply({step(Kind::nfd), step(Kind::strip_accents)}, "\xC3\xA9t\xC3\xA9") == "ete");
  CHECK(apply({step(Kind::nmt)},
              "a\tb\x01\xE2\x80\x8B"
              "c\xEF\xBB\xBF") == "a b c ");
  CHECK(apply({step(Kind::strip)}, " \xC2\xA0x y\xE3\x80\x80\n") == "x y");
  NormalizeStep left = step(Kind::strip);
  left.right = false;
  CHECK(apply({left}, "  x  ") == "x  ");
  CHECK(apply({step(Kind::prepend, "", "_")}, "x") == "_x");
  CHECK(apply({step(Kind::prepend, "", "_")}, "") == "");
  CHECK(apply({step(Kind::replace, "aa", "b")}, "aaaaa") == "bba");
  CHECK(apply({step(Kind::replace_regex, "\\d+|x", "#")}, "a12b3x") == "a#b##");
  CHECK(apply({step(Kind::replace_regex, "b*", "-")}, "abc") == "-a--c-");
  const auto bomb = Normalizer::create({step(Kind::replace, "a", std::string(100000, 'x'))});
  REQUIRE(bomb.ok());
  std::string text(1000, 'a');
  Regex::Scratch scratch;
  CHECK(!bomb->apply(text, true, scratch).ok());
  CHECK(!Normalizer::create({step(Kind::replace_regex, "(")}).ok());
  CHECK(!Normalizer::create({step(Kind::charsmap, "", "xx")}).ok());
}

TEST_CASE("damaged character maps match nothing and read nothing outside", "[normalizer]") {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    std::string blob(4 + 4 * (1 + random() % 40), '\0');
    const auto units = static_cast<std::uint32_t>(blob.size() - 4);
    std::memcpy(blob.data(), &units, 4);
    for (std::size_t i = 4; i < blob.size(); ++i) blob[i] = static_cast<char>(random());
    blob += "abc";
    blob.push_back('\0');
    const auto map = CharsMap::parse(blob);
    REQUIRE(map.ok());
    for (const char* text : {"a", "abc", "\xE4\xBD\xA0", "\xFF\xFE", ""}) {
      const CharsMap::Match match = map->longest(text);
      REQUIRE(match.length <= std::string_view(text).size());
      REQUIRE(match.replacement.size() <= 3);
    }
  }
}
