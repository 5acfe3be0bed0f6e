// SPDX-License-Identifier: Apache-2.0
#include "tritium/text/piece_table.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>
#include <set>

using namespace tritium;

namespace {
std::string random_key(std::mt19937& random, int letters, std::size_t longest) {
  std::string key;
  const std::size_t length = 1 + random() % longest;
  for (std::size_t i = 0; i < length; ++i)
    key.push_back(static_cast<char>('a' + static_cast<int>(random() % static_cast<unsigned>(letters))));
  return key;
}
}  // namespace

TEST_CASE("PieceTable finds what was put in and nothing else", "[piece_table]") {
  std::mt19937 random(1);
  std::map<std::string, std::int32_t> expected;
  StringBlock block;
  PieceTable table;
  table.reset(20000);
  for (std::int32_t id = 0; id < 20000; ++id) {
    const std::string key = random_key(random, 4, 20);
    block.push_back(key);
    const auto [it, fresh] = expected.emplace(key, id);
    REQUIRE(table.insert(block, id) == (fresh ? kNoToken : it->second));
  }
  for (int round = 0; round < 50000; ++round) {
    const std::string key = random_key(random, 4, 20);
    const auto it = expected.find(key);
    REQUIRE(table.find(block, key) == (it == expected.end() ? kNoToken : it->second));
  }
  for (const auto& [key, id] : expected) REQUIRE(table.find(block, key) == id);
}

TEST_CASE("hashes of close keys differ", "[piece_table]") {
  std::set<std::uint64_t> seen;
  std::size_t count = 0;
  for (int length = 0; length < 20; ++length) {
    for (int at = 0; at < std::max(1, length); ++at) {
      for (int c = 0; c < 256; ++c) {
        std::string key(static_cast<std::size_t>(length), 'x');
        if (length > 0) key[static_cast<std::size_t>(at)] = static_cast<char>(c);
        if (c == 'x' && at != 0) continue;
        if (length == 0 && c != 0) continue;
        seen.insert(detail::hash_bytes(key));
        ++count;
      }
    }
  }
  CHECK(seen.size() == count);
}

TEST_CASE("ByteTrie lists the prefixes of a text", "[piece_table]") {
  std::mt19937 random(2);
  std::map<std::string, std::int32_t> keys;
  for (std::int32_t i = 0; i < 3000; ++i) keys.emplace(random_key(random, 3, 9), i);
  for (int c = 1; c < 256; ++c) keys.emplace(std::string{static_cast<char>(c), 'q'}, 5000 + c);  // a wide node
  for (int c = 1; c < 256; ++c) keys.emplace(std::string{'r', static_cast<char>(c)}, 6000 + c);
  std::vector<ByteTrie::Entry> entries;
  for (const auto& [key, value] : keys) entries.push_back({key, value});
  std::shuffle(entries.begin(), entries.end(), random);
  ByteTrie trie;
  CHECK(trie.empty());
  trie.build(entries);
  const auto check = [&](const std::string& text) {
    std::vector<std::pair<std::size_t, std::int32_t>> expected;
    for (std::size_t length = 1; length <= text.size(); ++length) {
      if (const auto it = keys.find(text.substr(0, length)); it != keys.end()) expected.push_back({length, it->second});
    }
    std::vector<std::pair<std::size_t, std::int32_t>> found;
    trie.prefixes(text, [&](std::size_t length, std::int32_t value) { found.push_back({length, value}); });
    REQUIRE(found == expected);
    const auto longest = trie.longest_prefix(text);
    REQUIRE(longest == (expected.empty() ? std::pair<std::size_t, std::int32_t>{0, -1} : expected.back()));
  };
  for (int round = 0; round < 5000; ++round) check(random_key(random, 4, 14));
  for (int c = 0; c < 256; ++c) {
    check(std::string{static_cast<char>(c), 'q', 'x'});
    check(std::string{'r', static_cast<char>(c), 'x'});
  }
  check("");
}
