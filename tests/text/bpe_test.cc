// SPDX-License-Identifier: Apache-2.0
// The merge loops against a naive one, and the tables under them.
#include "tritium/text/bpe.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>

#include "support/cpu_timer.h"
#include "tritium/text/tokenizer.h"

using namespace tritium;

namespace {

using Merges = std::map<std::pair<std::int32_t, std::int32_t>, MergeCandidate>;

// The definition: look at all neighbours, merge the best, start over.
std::vector<std::int32_t> naive(std::vector<std::int32_t> ids, const Merges& merges) {
  while (true) {
    std::size_t best = ids.size();
    MergeCandidate chosen;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = merges.find({ids[i], ids[i + 1]});
      if (it != merges.end() && it->second.priority < chosen.priority) {
        chosen = it->second;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = chosen.id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

// A byte-level vocabulary over a few letters with random merges.
struct RandomBpe {
  std::vector<std::string> spellings;
  Vocabulary vocabulary;
  explicit RandomBpe(unsigned seed, std::size_t merges) {
    std::mt19937 random(seed);
    for (int byte = 0; byte < 256; ++byte) {
      std::string spelling;
      append_utf8(byte_to_alias(static_cast<unsigned char>(byte)), spelling);
      spellings.push_back(spelling);
    }
    std::map<std::string, bool> known;
    for (const std::string& s : spellings) known[s] = true;
    std::vector<std::string> parts{"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> pairs;
    std::map<std::pair<std::string, std::string>, bool> used;
    for (std::size_t tries = 0; pairs.size() < merges && tries < 100 * merges; ++tries) {
      const std::string& left = parts[random() % parts.size()];
      const std::string& right = parts[random() % parts.size()];
      if (left.size() + right.size() > 12 || used[{left, right}]) continue;
      used[{left, right}] = true;
      pairs.push_back({left, right});
      if (!known[left + right]) {
        known[left + right] = true;
        spellings.push_back(left + right);
        parts.push_back(left + right);
      }
    }
    vocabulary.arena = std::make_shared<StringArena>();
    for (const std::string& s : spellings) vocabulary.tokens.push_back(vocabulary.arena->add(s));
    for (const auto& [l, r] : pairs) vocabulary.merges.push_back({vocabulary.arena->add(l), vocabulary.arena->add(r)});
  }
};

}  // namespace

TEST_CASE("short and long merge loops do what the definition says", "[bpe]") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    const RandomBpe bpe(seed, 60);
    auto index = TokenIndex::build(bpe.vocabulary);
    REQUIRE(index.ok());
    const auto model = BpeModel::build(bpe.vocabulary, *index);
    REQUIRE(model.ok());
    Merges merges;
    for (std::size_t rank = 0; rank < bpe.vocabulary.merges.size(); ++rank) {
      const auto& m = bpe.vocabulary.merges[rank];
      merges[{index->find(m.left), index->find(m.right)}] = {static_cast<std::uint32_t>(rank),
                                                             index->find(std::string(m.left) + std::string(m.right))};
    }
    std::mt19937 random(seed);
    EncodeScratch scratch;
    for (int round = 0; round < 150; ++round) {
      std::string text;
      const std::size_t length = 1 + random() % (round % 3 == 0 ? 300 : 30);
      for (std::size_t i = 0; i < length; ++i)
        text.push_back(static_cast<char>('a' + random() % (1 + static_cast<unsigned>(round) % 3)));
      std::vector<std::int32_t> start;
      for (const char c : text) start.push_back(static_cast<unsigned char>(c));
      std::vector<std::int32_t> found;
      REQUIRE(model->encode(*index, text, scratch, found).ok());
      INFO("seed " << seed << ", text " << text);
      REQUIRE(found == naive(start, merges));
    }
  }
}

TEST_CASE("merge tables hold what was put in", "[bpe]") {
  std::mt19937 random(4);
  Merges expected;
  MergeTable table;
  table.reset(20000);
  for (std::uint32_t rank = 0; rank < 20000; ++rank) {
    const std::pair<std::int32_t, std::int32_t> pair{static_cast<std::int32_t>(random() % 3000),
                                                     static_cast<std::int32_t>(random() % 3000)};
    const bool fresh = expected.emplace(pair, MergeCandidate{rank, static_cast<std::int32_t>(rank)}).second;
    REQUIRE(table.insert(pair.first, pair.second, {rank, static_cast<std::int32_t>(rank)}) == fresh);
  }
  for (int round = 0; round < 100000; ++round) {
    const std::pair<std::int32_t, std::int32_t> pair{static_cast<std::int32_t>(random() % 3000),
                                                     static_cast<std::int32_t>(random() % 3000)};
    const auto it = expected.find(pair);
    const MergeCandidate found = table.find(pair.first, pair.second);
    REQUIRE(found.id == (it == expected.end() ? kNoToken : it->second.id));
    REQUIRE(found.priority == (it == expected.end() ? MergeCandidate::kNever : it->second.priority));
  }
}

TEST_CASE("ignore_merges takes a whole piece that is a token", "[bpe]") {
  Vocabulary v = RandomBpe(1, 0).vocabulary;
  v.tokens.push_back("abc");  // no merges lead to it
  v.pre_tokenizer = "gpt-2";
  auto t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(*t->encode("abc") == std::vector<std::int32_t>{'a', 'b', 'c'});
  v.ignore_merges = true;
  t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(*t->encode("abc") == std::vector<std::int32_t>{256});
  CHECK(*t->encode("abcd") == std::vector<std::int32_t>{'a', 'b', 'c', 'd'});
  // Plain text never becomes a control token, even by this road.
  v.types.assign(257, TokenType::normal);
  v.types[256] = TokenType::control;
  t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(*t->encode("abc", {false, false}) == std::vector<std::int32_t>{'a', 'b', 'c'});
  CHECK(*t->encode("abc", {false, true}) == std::vector<std::int32_t>{256});
}

TEST_CASE("merges that would form a control token do not", "[bpe]") {
  Vocabulary v = RandomBpe(1, 0).vocabulary;
  v.tokens.push_back("ab");
  v.merges.push_back({"a", "b"});
  v.types.assign(257, TokenType::normal);
  auto t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(*t->encode("ab") == std::vector<std::int32_t>{256});
  v.types[256] = TokenType::control;
  t = Tokenizer::create(v);
  REQUIRE(t.ok());
  CHECK(*t->encode("ab", {false, false}) == std::vector<std::int32_t>{'a', 'b'});
}

TEST_CASE("500 shuffled merge tables load or are refused, and never hang", "[bpe]") {
  std::mt19937 random(8);
  for (unsigned seed = 0; seed < 500; ++seed) {
    RandomBpe bpe(seed, 30);
    auto& merges = bpe.vocabulary.merges;
    std::shuffle(merges.begin(), merges.end(), random);
    if (seed % 3 == 0) std::swap(merges[0].left, merges[1].right);  // cycles, unknown results, doubles
    if (seed % 7 == 0) merges.push_back(merges[0]);
    const auto t = Tokenizer::create(bpe.vocabulary);
    if (seed % 7 == 0) REQUIRE(!t.ok());
    if (!t.ok()) {
      CHECK(t.error().message.find("merge") != std::string::npos);
      continue;
    }
    std::string text(200, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    const auto ids = t->encode(text);
    REQUIRE(ids.ok());
    REQUIRE(*t->decode(*ids) == text);
  }
}

TEST_CASE("a megabyte in one piece takes less than a second", "[bpe]") {
  const RandomBpe bpe(3, 200);
  const auto t = Tokenizer::create(bpe.vocabulary);
  REQUIRE(t.ok());
  std::mt19937 random(6);
  for (const int letters : {1, 2, 3}) {
    std::string text(1 << 20, 'a');
    for (char& c : text) c = static_cast<char>('a' + static_cast<int>(random() % static_cast<unsigned>(letters)));
    const tritium_test::CpuTimer timer;
    const auto ids = t->encode(text);
    const double seconds = timer.seconds();
    REQUIRE(ids.ok());
    CHECK(ids->size() < text.size());
    CHECK(*t->decode(*ids) == text);
    INFO(letters << " letters: " << seconds << " s");
    CHECK(seconds < 1.0 * (TRITIUM_CHECKS ? 10 : 1));
  }
}
