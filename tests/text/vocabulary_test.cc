// SPDX-License-Identifier: Apache-2.0
#include "tritium/text/vocabulary.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>

#include "tritium/text/tokenizer.h"

using namespace tritium;

namespace {

Vocabulary sound() {
  Vocabulary v;
  v.kind = TokenizerKind::score_bpe;
  v.tokens = {"<unk>", "<s>", "a", "b", "ab", "<0x41>"};
  v.scores = {0, 0, -3, -2, -1, 0};
  v.types = {TokenType::unknown, TokenType::control, TokenType::normal,
             TokenType::normal,  TokenType::normal,  TokenType::byte};
  v.unk = 0;
  v.bos = 1;
  return v;
}

}  // namespace

TEST_CASE("spellings of byte tokens are strict", "[vocabulary]") {
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    CHECK(byte_of_token(text) == byte);
  }
  for (const char* bad : {"", "<0x4>", "<0x-1>", "<0x041>", "<0xa0>", "<0xG0>", "<0X40>", "<0x40)", "(0x40>", "<0x 4>",
                          "<0x+4>", "<0x4\x80>"}) {
    CHECK(byte_of_token(bad) == -1);
  }
}

TEST_CASE("a vocabulary is held against itself", "[vocabulary]") {
  REQUIRE(validate(sound()).ok());
  REQUIRE(Tokenizer::create(sound()).ok());
  const auto refuse = [](const std::string& what, auto&& change) {
    Vocabulary v = sound();
    change(v);
    const auto t = Tokenizer::create(v);
    INFO(what);
    REQUIRE(!t.ok());
    INFO(t.error().message);
    CHECK(t.error().message.find(what) != std::string::npos);
  };
  using V = Vocabulary;
  refuse("impossible size", [](V& v) { v.tokens.clear(), v.types.clear(), v.scores.clear(); });
  refuse("token_type", [](V& v) { v.types.pop_back(); });
  refuse("token_type", [](V& v) { v.types.push_back(TokenType::normal); });
  refuse("scores", [](V& v) { v.scores.pop_back(); });
  refuse("scores", [](V& v) { v.scores.clear(); });
  refuse("scores", [](V& v) { v.log_probs = {0, 0}; });
  refuse("no merges", [](V& v) { v.merges = {{"a", "b"}}; });
  refuse("token 2", [](V& v) { v.types[2] = static_cast<TokenType>(7); });
  refuse("token 2", [](V& v) { v.types[2] = static_cast<TokenType>(255); });
  refuse("misspelled", [](V& v) { v.tokens[5] = "<0x4g>"; });
  refuse("misspelled", [](V& v) { v.tokens[5] = ""; });
  refuse("token 3", [](V& v) { v.scores[3] = std::numeric_limits<float>::quiet_NaN(); });
  refuse("token 3", [](V& v) { v.scores[3] = -std::numeric_limits<float>::infinity(); });
  refuse("bos_token_id", [](V& v) { v.bos = 6; });
  refuse("bos_token_id", [](V& v) { v.bos = -2; });
  refuse("eos_token_id", [](V& v) { v.eos = std::numeric_limits<std::int32_t>::max(); });
  refuse("unknown_token_id", [](V& v) { v.unk = 6; });
  refuse("padding_token_id", [](V& v) { v.pad = 6; });
  refuse("prefix token", [](V& v) { v.prefix = {6}; });
  refuse("suffix token", [](V& v) { v.suffix = {-1}; });
  refuse("end token", [](V& v) { v.end_tokens = {99}; });
  refuse("flags", [](V& v) { v.flags = {TokenFlags{}}; });
  refuse("same spelling", [](V& v) { v.tokens[3] = "a"; });
  refuse("unknown pre-tokenizer", [](V& v) { v.pre_tokenizer = "nonsense"; });
  refuse("precompiled_charsmap", [](V& v) { v.charsmap = "nonsense"; });
  refuse("regular expression", [](V& v) {
    v.split_steps.resize(1);
    v.split_steps[0].kind = SplitStep::Kind::regex;
    v.split_steps[0].pattern = "(";
  });
  refuse("regular expression", [](V& v) {
    v.normalizer.resize(1);
    v.normalizer[0].kind = NormalizeStep::Kind::replace_regex;
    v.normalizer[0].pattern = "[a&&b]";
  });
}

TEST_CASE("empty spellings are holes, not tokens", "[vocabulary]") {
  Vocabulary v = sound();
  v.tokens[3] = "";
  v.tokens[4] = "";
  const auto t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(t->find("") == kNoToken);
  CHECK(t->piece(3).empty());
  CHECK(*t->encode("aba", {false, false}) == std::vector<std::int32_t>{2, 0, 2});
}

TEST_CASE("StringArena keeps its strings where they are", "[vocabulary]") {
  StringArena arena;
  std::vector<std::string_view> views;
  for (int i = 0; i < 20000; ++i) views.push_back(arena.add(std::to_string(i)));
  const std::string large(1 << 20, 'x');
  const std::string_view big = arena.add(large);
  for (int i = 0; i < 20000; ++i) REQUIRE(views[static_cast<std::size_t>(i)] == std::to_string(i));
  CHECK(big == large);
  CHECK(arena.add("").empty());
}

TEST_CASE("ends of a generation by spelling", "[vocabulary]") {
  Vocabulary v;
  v.tokens = {"</s>", "<|im_end|>", "<|end|>", "x", "<|return|>"};
  find_end_tokens(v, true);
  CHECK(v.end_tokens == std::vector<std::int32_t>{1, 2, 4});
  REQUIRE(v.types.size() == 5);
  CHECK(v.types[0] == TokenType::normal);
  CHECK(v.types[1] == TokenType::control);
  v.end_tokens.clear();
  v.types.assign(5, TokenType::normal);
  find_end_tokens(v, false);
  CHECK(v.end_tokens.empty());
  v.types[0] = TokenType::control;
  find_end_tokens(v, false);
  CHECK(v.end_tokens == std::vector<std::int32_t>{0});
  v.tokens[3] = "<|call|>";  // with both, <|end|> closes a channel only
  v.types.assign(5, TokenType::control);
  v.end_tokens.clear();
  find_end_tokens(v, true);
  CHECK(v.end_tokens == std::vector<std::int32_t>{0, 1, 3, 4});
}
