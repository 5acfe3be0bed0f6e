// SPDX-License-Identifier: Apache-2.0
// The hand-written splitting rules against the expressions they stand for, run by PCRE2.
#include "tritium/text/pre_tokenizer.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "support/cpu_timer.h"

using namespace tritium;

namespace {

std::string show(const Pieces& pieces) {
  std::string out;
  for (std::size_t i = 0; i < pieces.spans.size(); ++i) out.append("[").append(escape_control(pieces[i])).append("]");
  return out;
}

std::string split(const PreTokenizer& pre, std::string_view text, TextPlace place = {}) {
  Pieces pieces;
  const Status status = pre.split(text, place, pieces);
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  return show(pieces);
}

PreTokenizer make(std::vector<SplitStep> steps) {
  auto pre = PreTokenizer::create(std::move(steps));
  INFO((pre.ok() ? "" : pre.error().message));
  REQUIRE(pre.ok());
  return *std::move(pre);
}

// Texts that mix what the rules tell apart. Characters are chosen from blocks whose categories are old, so that the
// Unicode versions of PCRE2 and utf8proc agree on them.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts{"a",
                                              "b",
                                              "Z",
                                              "HE",
                                              "llo",
                                              "'s",
                                              "'S",
                                              "'ll",
                                              "'LL",
                                              "'Re",
                                              "'",
                                              "''",
                                              "1",
                                              "23",
                                              "4567",
                                              " ",
                                              " ",
                                              "  ",
                                              "\t",
                                              "\n",
                                              "\r",
                                              "\r\n",
                                              "\n\n",
                                              ".",
                                              ",",
                                              "!?",
                                              "/",
                                              "//",
                                              "-",
                                              "_",
                                              "(",
                                              "$",
                                              "+",
                                              "=",
                                              "~",
                                              "^",
                                              "|",
                                              "`",
                                              "\xC3\xA9",
                                              "\xC3\x89",
                                              "\xC3\x9F",
                                              "\xC5\xBF",
                                              "\xCC\x81",
                                              "\xCC\xA3",
                                              "\xC7\x85",
                                              "\xCA\xB0",
                                              "\xD0\x96",
                                              "\xD0\xB6",
                                              "\xE4\xBD\xA0",
                                              "\xE3\x81\x82",
                                              "\xED\x95\x9C",
                                              "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D",
                                              "\xD9\x85",
                                              "\xD7\xA9\xD7\x81",
                                              "\xC2\xA0",
                                              "\xE2\x80\x83",
                                              "\xE3\x80\x80",
                                              "\xC2\x85",
                                              "\xE2\x80\xA8",
                                              "\xC2\xBD",
                                              "\xC2\xB2",
                                              "\xE2\x85\xA7",
                                              "\xD9\xA1",
                                              "\xF0\x9F\x98\x80",
                                              "\xE2\x80\x8D",
                                              "\xEF\xB8\x8F",
                                              "\xE2\x82\xAC",
                                              "\xC2\xA9",
                                              "\xE2\x80\x94",
                                              "\xEE\x80\x80",
                                              "\x01",
                                              "\x1F"};
  std::string text;
  const std::size_t count = 1 + random() % 12;
  for (std::size_t i = 0; i < count; ++i) text += parts[random() % parts.size()];
  return text;
}

}  // namespace

TEST_CASE("hand-written rules cut as their expressions do", "[pre_tokenizer]") {
  std::mt19937 random(9);
  std::vector<std::string> texts(10000);
  for (std::string& text : texts) text = random_text(random);
  for (const SplitRule rule : {SplitRule::gpt2, SplitRule::llama3, SplitRule::qwen2, SplitRule::qwen35,
                               SplitRule::o200k, SplitRule::digits_then_gpt2}) {
    std::vector<std::string> patterns;
    if (rule == SplitRule::digits_then_gpt2) patterns = {"\\p{N}", std::string(detail::rule_pattern(SplitRule::gpt2))};
    else patterns = {std::string(detail::rule_pattern(rule))};
    const auto oracle = PreTokenizer::create_with_regex_only(patterns);
    REQUIRE(oracle.ok());
    SplitStep step;
    step.rule = rule;
    const PreTokenizer pre = make({step});
    Pieces expected;
    Pieces found;
    for (const std::string& text : texts) {
      REQUIRE(oracle->split(text, {}, expected).ok());
      REQUIRE(pre.split(text, {}, found).ok());
      if (show(expected) != show(found)) {
        INFO("rule " << static_cast<int>(rule) << ", text " << in_quotes(text) << "\n expected " << show(expected)
                     << "\n found    " << show(found));
        CHECK(false);
        break;
      }
    }
  }
}

TEST_CASE("every character alone and between letters", "[pre_tokenizer]") {
  // Categories of new characters differ between Unicode versions: a handful may disagree, no more.
  for (const SplitRule rule : {SplitRule::llama3, SplitRule::o200k}) {
    const auto oracle = PreTokenizer::create_with_regex_only({std::string(detail::rule_pattern(rule))});
    REQUIRE(oracle.ok());
    SplitStep step;
    step.rule = rule;
    const PreTokenizer pre = make({step});
    std::size_t different = 0;
    Pieces expected;
    Pieces found;
    for (char32_t c = 1; c < 0x20000; c += c < 0x3000 ? 1 : 7) {
      if (c >= 0xD800 && c < 0xE000) c = 0xE000;
      std::string text = "a";
      append_utf8(c, text);
      text += "B";
      append_utf8(c, text);
      REQUIRE(oracle->split(text, {}, expected).ok());
      REQUIRE(pre.split(text, {}, found).ok());
      bool same = expected.spans.size() == found.spans.size();
      for (std::size_t i = 0; same && i < found.spans.size(); ++i) same = expected.spans[i].end == found.spans[i].end;
      different += same ? 0 : 1;
    }
    CHECK(different < 100);
  }
}

TEST_CASE("names of pre-tokenizers", "[pre_tokenizer]") {
  std::size_t known = 0;
  for (const auto& entry : detail::kNamedPreTokenizers) {
    const auto pre = PreTokenizer::by_name(entry.name);
    INFO(entry.name << (pre.ok() ? "" : ": " + pre.error().message));
    REQUIRE(pre.ok());
    // Nothing is lost and nothing is empty, whatever the rule.
    const std::string text =
        "Hello, world! It's 12345.67 \xE4\xBD\xA0\xE5\xA5\xBD\n\n  caf\xC3\xA9's \xF0\x9F\x98\x80 end  ";
    Pieces pieces;
    REQUIRE(pre->split(text, {}, pieces).ok());
    std::size_t at = 0;
    for (const auto& span : pieces.spans) {
      REQUIRE(span.begin == at);
      REQUIRE(span.end > span.begin);
      at = span.end;
    }
    CHECK(at == text.size());
    ++known;
  }
  CHECK(known >= 58);
  for (const char* name : {"", "llama", "LLAMA-BPE", "kimi-k2", "default ", "no\nsuch"}) {
    const auto pre = PreTokenizer::by_name(name);
    REQUIRE(!pre.ok());
    CHECK(pre.error().code == Errc::unsupported);
    CHECK(pre.error().message.find('\n') == std::string::npos);
  }
  CHECK(split(*PreTokenizer::by_name("llama-bpe"), "I'M 12345 ok\n\n x") == "[I]['M][ ][123][45][ ok][\\n\\n][ x]");
  CHECK(split(*PreTokenizer::by_name("qwen2"), "I'M 12 ok") == "[I]['M][ ][1][2][ ok]");
  CHECK(split(*PreTokenizer::by_name("smollm"), "in 1999, ok") == "[in][ ][1][9][9][9][,][ ok]");
  CHECK(split(*PreTokenizer::by_name("gpt-4o"), "helloWorld ABCdef's/x") == "[hello][World][ ABCdef's][/x]");
  CHECK(split(*PreTokenizer::by_name("falcon"), "a 12345 b.c") == "[a][ ][123][45][ b][.][c]");
}

TEST_CASE("split behaviors", "[pre_tokenizer]") {
  const auto with = [](SplitBehavior behavior, bool invert) {
    SplitStep step;
    step.kind = SplitStep::Kind::literal;
    step.pattern = "-";
    step.behavior = behavior;
    step.invert = invert;
    return split(make({step}), "the-final--countdown");
  };
  CHECK(with(SplitBehavior::removed, false) == "[the][final][countdown]");
  CHECK(with(SplitBehavior::isolated, false) == "[the][-][final][-][-][countdown]");
  CHECK(with(SplitBehavior::merged_with_previous, false) == "[the-][final-][-][countdown]");
  CHECK(with(SplitBehavior::merged_with_next, false) == "[the][-final][-][-countdown]");
  CHECK(with(SplitBehavior::contiguous, false) == "[the][-][final][--][countdown]");
  CHECK(with(SplitBehavior::removed, true) == "[-][-][-]");

  SplitStep meta;
  meta.kind = SplitStep::Kind::metaspace;
  meta.pattern = "_";
  meta.prepend = SplitStep::Prepend::first;
  CHECK(split(make({meta}), "hi you  there") == "[_hi][_you][_][_there]");
  CHECK(split(make({meta}), "hi you", {false, true}) == "[hi][_you]");
  meta.cut = false;
  CHECK(split(make({meta}), " hi you") == "[_hi_you]");
  SplitStep fixed;
  fixed.kind = SplitStep::Kind::fixed_length;
  fixed.length = 2;
  CHECK(split(make({fixed}),
              "ab\xC3\xA9"
              "de") ==
        "[ab][\xC3\xA9"
        "d][e]");
  CHECK(split(make({fixed}), "").empty());
  SplitStep alias;
  alias.kind = SplitStep::Kind::byte_level_alias;
  CHECK(split(make({alias}), "a b\n") ==
        "[a\xC4\xA0"
        "b\xC4\x8A]");
}

TEST_CASE("GPT-2's alphabet is a bijection", "[pre_tokenizer]") {
  std::vector<bool> seen(0x144, false);
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t alias = byte_to_alias(static_cast<unsigned char>(byte));
    REQUIRE(alias < 0x144);
    REQUIRE(!seen[alias]);
    seen[alias] = true;
    REQUIRE(alias_to_byte(alias) == byte);
    REQUIRE((char_class(alias) & kSpace) == 0);
  }
  for (char32_t c = 0; c < 0x200; ++c) {
    if (c >= 0x144 || !seen[c]) REQUIRE(alias_to_byte(c) == -1);
  }
  CHECK(byte_to_alias(' ') == 0x120);
  CHECK(byte_to_alias('\n') == 0x10A);
}

TEST_CASE("a megabyte without spaces, of spaces, of digits or of marks is cut in time", "[pre_tokenizer]") {
  const auto repeat = [](std::string_view unit, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += unit;
    return text;
  };
  for (const auto& entry : detail::kNamedPreTokenizers) {
    const auto pre = PreTokenizer::by_name(entry.name);
    REQUIRE(pre.ok());
    for (const char* unit : {"a", " ", "\n", "1", "!", "\xCC\x81", " \n", "aB", "\xE4\xBD\xA0", "'"}) {
      const std::string text = repeat(unit, 200000);
      Pieces pieces;
      const tritium_test::CpuTimer timer;
      const Status status = pre->split(text, {}, pieces);
      const double seconds = timer.seconds();
      INFO(entry.name << " on " << in_quotes(unit) << ": " << seconds << " s"
                      << (status.ok() ? "" : status.error().message));
      CHECK(status.ok());
      CHECK(seconds < 1.0);
    }
  }
}
