// SPDX-License-Identifier: Apache-2.0
// The look-up tables of a tokenizer: token strings in one block, a hash from bytes to id, a trie for prefixes.
//
// A vocabulary has up to a quarter of a million short strings. One block of bytes with offsets, and open addressing
// over 8-byte slots, is built in milliseconds and is read with one cache miss, where a node-based map takes four. The
// hash is seeded anew in each process, so that a file cannot be written to make its tokens collide.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/core/status.h"

TRITIUM_NAMESPACE_BEGIN

inline constexpr std::int32_t kNoToken = -1;

namespace detail {

__extension__ typedef unsigned __int128 Uint128;

inline std::uint64_t mix64(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD6E8FEB86659FD93u);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// Differs from run to run (address layout and clock); results never depend on it, only the order of probing.
inline std::uint64_t hash_seed() {
  static const std::uint64_t seed = [] {
    static const char here = 0;
    return mix64(reinterpret_cast<std::uintptr_t>(&here),
                 static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
  }();
  return seed;
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t h = hash_seed() ^ bytes.size();
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    h = mix64(h, word);
  }
  std::uint64_t tail = 0;
  if (left >= 4) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + left - 4, 4);
    tail = std::uint64_t{high} << 32 | low;
  } else if (left > 0) {
    tail = static_cast<unsigned char>(p[0]) | static_cast<std::uint64_t>(static_cast<unsigned char>(p[left / 2])) << 8 |
           static_cast<std::uint64_t>(static_cast<unsigned char>(p[left - 1])) << 16;
  }
  return mix64(h, tail);
}

}  // namespace detail

/// Strings 0..n-1 in one block.
class StringBlock {
 public:
  void reserve(std::size_t count, std::size_t bytes) {
    offsets_.reserve(count + 1);
    bytes_.reserve(bytes);
  }
  void push_back(std::string_view text) {
    bytes_.append(text);
    offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  [[nodiscard]] std::size_t size() const { return offsets_.size() - 1; }
  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    TRITIUM_ASSUME(i < size());
    return {bytes_.data() + offsets_[i], offsets_[i + 1] - offsets_[i]};
  }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> offsets_ = {0};
};

/// Bytes -> id over strings that a StringBlock holds.
class PieceTable {
 public:
  /// Room for `count` keys.
  void reset(std::size_t count) {
    slots_.assign(std::bit_ceil(std::max<std::size_t>(16, 2 * count)), Slot{});
    mask_ = slots_.size() - 1;
  }
  /// Adds block[id]; returns the id that already had these bytes, or kNoToken.
  std::int32_t insert(const StringBlock& block, std::int32_t id) {
    return insert(block, id, detail::hash_bytes(block[static_cast<std::size_t>(id)]));
  }
  std::int32_t insert(const StringBlock& block, std::int32_t id, std::uint64_t hash) {
    const std::string_view key = block[static_cast<std::size_t>(id)];
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      Slot& slot = slots_[i];
      if (slot.id == kNoToken) {
        slot = {static_cast<std::uint32_t>(hash >> 32), id};
        return kNoToken;
      }
      if (slot.tag == static_cast<std::uint32_t>(hash >> 32) && block[static_cast<std::size_t>(slot.id)] == key)
        return slot.id;
    }
  }
  [[nodiscard]] std::int32_t find(const StringBlock& block, std::string_view key) const {
    return find(block, key, detail::hash_bytes(key));
  }
  // The three steps of a look-up apart, so that building a table can have many cache misses under way at once.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  void prefetch_key(const StringBlock& block, std::uint64_t hash) const {
    const Slot slot = slots_[hash & mask_];
    if (slot.id != kNoToken) __builtin_prefetch(block[static_cast<std::size_t>(slot.id)].data());
  }
  [[nodiscard]] std::int32_t find(const StringBlock& block, std::string_view key, std::uint64_t hash) const {
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot slot = slots_[i];
      if (slot.id == kNoToken) return kNoToken;
      if (slot.tag == static_cast<std::uint32_t>(hash >> 32) && block[static_cast<std::size_t>(slot.id)] == key)
        return slot.id;
    }
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::int32_t id = kNoToken;
  };
  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::size_t mask_ = 15;
};

/// Prefix matching over a set of byte strings with values >= 0.
class ByteTrie {
 public:
  struct Entry {
    std::string_view key;
    std::int32_t value = 0;
  };

  /// Keys must not be empty; of equal keys the first in sorted order by value counts.
  void build(std::vector<Entry> entries) {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.key != b.key ? a.key < b.key : a.value < b.value; });
    nodes_.clear();
    labels_.clear();
    roots_.fill(kNone);
    struct Work {
      std::uint32_t node;
      std::size_t begin, end, depth;
    };
    std::vector<Work> queue;
    for (std::size_t i = 0; i < entries.size();) {
      const auto c = static_cast<unsigned char>(entries[i].key[0]);
      std::size_t end = i;
      while (end < entries.size() && static_cast<unsigned char>(entries[end].key[0]) == c) ++end;
      roots_[c] = add_node(c);
      queue.push_back({roots_[c], i, end, 1});
      i = end;
    }
    for (std::size_t w = 0; w < queue.size(); ++w) {
      Work work = queue[w];
      while (work.begin < work.end && entries[work.begin].key.size() == work.depth) {
        if (nodes_[work.node].value < 0) nodes_[work.node].value = entries[work.begin].value;
        ++work.begin;
      }
      nodes_[work.node].first_child = static_cast<std::uint32_t>(nodes_.size());
      for (std::size_t i = work.begin; i < work.end;) {
        const auto c = static_cast<unsigned char>(entries[i].key[work.depth]);
        std::size_t end = i;
        while (end < work.end && static_cast<unsigned char>(entries[end].key[work.depth]) == c) ++end;
        queue.push_back({add_node(c), i, end, work.depth + 1});
        i = end;
      }
      nodes_[work.node].children = static_cast<std::uint32_t>(nodes_.size()) - nodes_[work.node].first_child;
    }
  }
  [[nodiscard]] bool empty() const { return nodes_.empty(); }
  [[nodiscard]] bool starts(char c) const { return roots_[static_cast<unsigned char>(c)] != kNone; }

  /// Calls visit(length, value) for every key that is a prefix of `text`, shortest first.
  template <class F>
  void prefixes(std::string_view text, F&& visit) const {
    if (text.empty()) return;
    std::uint32_t node = roots_[static_cast<unsigned char>(text[0])];
    for (std::size_t depth = 1; node != kNone; ++depth) {
      if (nodes_[node].value >= 0) visit(depth, nodes_[node].value);
      if (depth == text.size()) return;
      node = child(node, static_cast<unsigned char>(text[depth]));
    }
  }
  /// The longest key that is a prefix of `text`: its length and value, or {0, -1}.
  [[nodiscard]] std::pair<std::size_t, std::int32_t> longest_prefix(std::string_view text) const {
    std::pair<std::size_t, std::int32_t> best{0, -1};
    prefixes(text, [&](std::size_t length, std::int32_t value) { best = {length, value}; });
    return best;
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t children = 0;
    std::int32_t value = -1;
  };

  std::uint32_t add_node(unsigned char label) {
    nodes_.push_back({});
    labels_.push_back(label);
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }
  [[nodiscard]] std::uint32_t child(std::uint32_t node, unsigned char label) const {
    const Node& parent = nodes_[node];
    std::uint32_t low = parent.first_child;
    std::uint32_t count = parent.children;
    while (count > 8) {  // sorted labels: halve, then look at the rest one by one
      const std::uint32_t half = count / 2;
      if (labels_[low + half] <= label) {
        low += half;
        count -= half;
      } else {
        count = half;
      }
    }
    for (std::uint32_t i = low; i < low + count; ++i) {
      if (labels_[i] == label) return i;
    }
    return kNone;
  }

  std::vector<Node> nodes_;
  std::vector<unsigned char> labels_;  // labels_[i] leads into nodes_[i]; siblings are neighbours, in order
  std::array<std::uint32_t, 256> roots_ = [] {
    std::array<std::uint32_t, 256> none{};
    none.fill(kNone);
    return none;
  }();
};

TRITIUM_NAMESPACE_END
