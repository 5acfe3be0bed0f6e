// SPDX-License-Identifier: Apache-2.0
// Score-driven BPE and unigram against naive definitions; what the packages cannot show is checked by hand.
#include "tritium/text/sentencepiece.h"

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "support/cpu_timer.h"
#include "tritium/text/tokenizer.h"

using namespace tritium;

namespace {

Vocabulary make(TokenizerKind kind, const std::vector<std::pair<std::string, float>>& pieces,
                const std::vector<TokenType>& types = {}) {
  Vocabulary v;
  v.kind = kind;
  v.arena = std::make_shared<StringArena>();
  v.tokens = {"<unk>"};
  v.scores = {0};
  v.types = {TokenType::unknown};
  v.unk = 0;
  v.fuse_unknown = true;
  v.byte_fallback = false;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    v.tokens.push_back(v.arena->add(pieces[i].first));
    v.scores.push_back(pieces[i].second);
    v.types.push_back(types.empty() ? TokenType::normal : types[i]);
  }
  return v;
}

std::vector<std::string> spell(const Tokenizer& t, const std::vector<std::int32_t>& ids) {
  std::vector<std::string> out;
  for (const std::int32_t id : ids) out.emplace_back(t.spelling(id));
  return out;
}

std::vector<std::string> encode(const Vocabulary& v, const std::string& text) {
  const auto t = Tokenizer::create(v);
  INFO((t.ok() ? "" : t.error().message));
  REQUIRE(t.ok());
  const auto ids = t->encode(text, {false, false});
  INFO((ids.ok() ? "" : ids.error().message));
  REQUIRE(ids.ok());
  return spell(*t, *ids);
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("score BPE does what the definition says, words or not", "[sentencepiece]") {
  const std::string meta(BpeModel::kMeta);
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<std::string, float>> pieces{{"a", -100}, {"b", -101}, {meta, -102}};
    std::map<std::string, float> score(pieces.begin(), pieces.end());
    for (int i = 0; i < 60; ++i) {
      std::string piece = pieces[random() % pieces.size()].first + pieces[random() % pieces.size()].first;
      // Every other vocabulary has pieces that cross word boundaries.
      if (seed % 2 == 0 && piece.find(meta, 1) != std::string::npos &&
          piece.find_first_not_of(meta) != std::string::npos)
        continue;
      if (piece.size() > 15 || score.contains(piece)) continue;
      const float s = -static_cast<float>(random() % 40);  // ties happen
      score[piece] = s;
      pieces.push_back({piece, s});
    }
    Vocabulary v = make(TokenizerKind::score_bpe, pieces);
    for (int round = 0; round < 60; ++round) {
      std::string text;
      const std::size_t length = 1 + random() % (round % 4 == 0 ? 150 : 12);
      for (std::size_t i = 0; i < length; ++i) text.push_back("ab "[random() % 3]);
      Strings symbols;
      for (const char c : text) symbols.push_back(c == ' ' ? meta : std::string(1, c));
      while (true) {
        std::size_t best = symbols.size();
        float best_score = 0;
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
          const auto it = score.find(symbols[i] + symbols[i + 1]);
          if (it != score.end() && (best == symbols.size() || it->second > best_score)) {
            best = i;
            best_score = it->second;
          }
        }
        if (best == symbols.size()) break;
        symbols[best] += symbols[best + 1];
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
      }
      INFO("seed " << seed << ", text " << text);
      REQUIRE(encode(v, text) == symbols);
    }
  }
}

TEST_CASE("unigram finds the best path", "[sentencepiece]") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    std::map<std::string, float> score;
    for (int i = 0; i < 25; ++i) {
      std::string piece;
      for (std::size_t k = 0; k < 1 + random() % 4; ++k) piece.push_back("abc"[random() % 3]);
      score[piece] = -1.0f - static_cast<float>(random() % 1000) / 100;
    }
    const Vocabulary v = make(TokenizerKind::unigram, {score.begin(), score.end()});
    const auto t = Tokenizer::create(v);
    REQUIRE(t.ok());
    double lowest = 0;
    for (const auto& [piece, s] : score) lowest = std::min(lowest, double{s});
    for (int round = 0; round < 60; ++round) {
      std::string text;
      for (std::size_t k = 0; k < 1 + random() % 14; ++k) text.push_back("abc"[random() % 3]);
      // The best score over all segmentations, by trying them all.
      std::vector<double> best(text.size() + 1, -1e30);
      best[0] = 0;
      for (std::size_t begin = 0; begin < text.size(); ++begin) {
        for (std::size_t end = begin + 1; end <= text.size(); ++end) {
          const auto it = score.find(text.substr(begin, end - begin));
          if (it != score.end()) best[end] = std::max(best[end], best[begin] + it->second);
        }
        if (!score.contains(text.substr(begin, 1)))
          best[begin + 1] = std::max(best[begin + 1], best[begin] + lowest - 10);
      }
      const auto ids = t->encode(text, {false, false});
      REQUIRE(ids.ok());
      double found = 0;
      std::string together;
      bool unknown = false;
      for (const std::int32_t id : *ids) {
        if (id == 0) unknown = true;
        else found += double{v.scores[static_cast<std::size_t>(id)]}, together += t->spelling(id);
      }
      if (unknown) continue;
      CHECK(together == text);
      CHECK(std::abs(found - best[text.size()]) < 1e-6);
    }
  }
}

TEST_CASE("unknown characters: bytes, one fused token, or an error", "[sentencepiece]") {
  Vocabulary v = make(TokenizerKind::score_bpe, {{"a", -1}, {"\xE2\x96\x81", -2}});
  CHECK(encode(v, "axya zb") == Strings{"a", "<unk>", "a", "\xE2\x96\x81", "<unk>"});
  v.fuse_unknown = false;
  CHECK(encode(v, "axya") == Strings{"a", "<unk>", "<unk>", "a"});
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    v.tokens.push_back(v.arena->add(name));
    v.scores.push_back(0);
    v.types.push_back(TokenType::byte);
  }
  v.byte_fallback = true;
  CHECK(encode(v, "a\xC3\xA9") == Strings{"a", "<0xC3>", "<0xA9>"});
  CHECK(encode(v, "<0x41>") ==
        Strings{"<0x3C>", "<0x30>", "<0x78>", "<0x34>", "<0x31>", "<0x3E>"});  // spelled in text: no byte
  CHECK(encode(v,
               "a\xFF"
               "a") == Strings{"a", "<0xFF>", "a"});
  Vocabulary bare = make(TokenizerKind::score_bpe, {{"a", -1}});
  bare.unk = kNoToken;
  const auto t = Tokenizer::create(bare);
  REQUIRE(t.ok());
  CHECK(t->encode("aaa").ok());
  CHECK(!t->encode("ab").ok());
  CHECK(!t->encode("a\xFF").ok());
}

TEST_CASE("plain text never becomes a control token", "[sentencepiece]") {
  for (const TokenizerKind kind : {TokenizerKind::score_bpe, TokenizerKind::unigram}) {
    const Vocabulary v =
        make(kind, {{"<", -1}, {"s", -1}, {">", -1}, {"<s", -1}, {"<s>", 0}},
             {TokenType::normal, TokenType::normal, TokenType::normal, TokenType::normal, TokenType::control});
    CHECK(encode(v, "<s>") == Strings{"<s", ">"});
    const auto t = Tokenizer::create(v);
    REQUIRE(t.ok());
    CHECK(*t->encode("<s>", {false, true}) == std::vector<std::int32_t>{5});
  }
}

TEST_CASE("unused pieces are taken apart again, as deep as needed", "[sentencepiece]") {
  using enum TokenType;
  Vocabulary v = make(TokenizerKind::score_bpe, {{"a", -9}, {"b", -9}, {"ab", -1}, {"abab", -2}, {"abababab", -3}},
                      {normal, normal, normal, unused, unused});
  CHECK(encode(v, "abababab") == Strings{"abababab"});
  v.resegment_unused = true;
  CHECK(encode(v, "abababab") == Strings{"ab", "ab", "ab", "ab"});
  v.types[3] = unused;
  CHECK(encode(v, "abab") == Strings{"a", "b", "a", "b"});
}

TEST_CASE("spaces: prefix, suffix, removal", "[sentencepiece]") {
  const std::string m(BpeModel::kMeta);
  Vocabulary v = make(TokenizerKind::score_bpe, {{"a", -1}, {"b", -1}, {m, -1}});
  CHECK(encode(v, " a  b ") == Strings{m, "a", m, m, "b", m});
  v.spaces.add_prefix = true;
  CHECK(encode(v, "a b") == Strings{m, "a", m, "b"});
  CHECK(encode(v, "") == Strings{});
  v.spaces.remove_extra = true;
  CHECK(encode(v, "  a   b ") == Strings{m, "a", m, "b"});
  CHECK(encode(v, "   ") == Strings{});
  v.spaces.as_suffix = true;
  CHECK(encode(v, " a  b ") == Strings{"a", m, "b", m});
  v.spaces = {true, false, true, false};
  v.strip_decoded_spaces = 1;
  const auto t = Tokenizer::create(v);
  REQUIRE(t.ok());
  for (const char* text : {"a", " a", "  a b ", "", " "}) {
    CHECK(*t->decode(*t->encode(text)) == text);
    // A continuation keeps its leading space.
    CHECK(*t->decode(*t->encode(text), {SpecialText::hide, false}) == (*text == '\0' ? "" : std::string(" ") + text));
  }
}

TEST_CASE("a megabyte without spaces takes less than a second", "[sentencepiece]") {
  std::vector<std::pair<std::string, float>> pieces;
  for (char c = 'a'; c <= 'd'; ++c) pieces.push_back({std::string(1, c), -1000});
  std::mt19937 random(2);
  std::map<std::string, bool> known;
  for (int i = 0; i < 400; ++i) {
    const std::string piece = pieces[random() % pieces.size()].first + pieces[random() % pieces.size()].first;
    if (piece.size() > 16 || known[piece]) continue;
    known[piece] = true;
    pieces.push_back({piece, -static_cast<float>(i)});
  }
  for (const TokenizerKind kind : {TokenizerKind::score_bpe, TokenizerKind::unigram}) {
    const auto t = Tokenizer::create(make(kind, pieces));
    REQUIRE(t.ok());
    for (const unsigned letters : {1u, 4u}) {
      std::string text(1 << 20, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % letters);
      const tritium_test::CpuTimer timer;
      const auto ids = t->encode(text);
      const double seconds = timer.seconds();
      REQUIRE(ids.ok());
      CHECK(*t->decode(*ids) == text);
      INFO(static_cast<int>(kind) << ", " << letters << " letters: " << seconds << " s");
      CHECK(seconds < 1.0 * (TRITIUM_CHECKS ? 10 : 1));
    }
  }
}
