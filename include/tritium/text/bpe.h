// SPDX-License-Identifier: Apache-2.0
// BPE by ranked merges, over bytes (GPT-2 and its children) or over code points with byte pieces (Gemma 4, Llama).
//
// A piece starts as one symbol for each byte or code point; the adjacent pair with the lowest priority is merged, the
// leftmost of equals, until no pair is left. Short pieces (almost all) keep their candidates in an array and look for
// the smallest; long ones use a heap of (priority, position) keys whose entries go stale instead of being removed, so
// that a megabyte without a single space stays O(n log n).
// Source: Sennrich et al. 2016, arXiv:1508.07909; the order of merges is that of huggingface/tokenizers'
// `Word::merge_all`.
#pragma once

#include <algorithm>
#include <unordered_map>

#include "tritium/text/vocabulary.h"

TRITIUM_NAMESPACE_BEGIN

/// A part of a piece that merges have formed so far.
struct MergeSymbol {
  std::int32_t id = kNoToken;  ///< kNoToken: a character without a token of its own
  std::uint32_t begin = 0;     ///< bytes of the piece
  std::uint32_t length = 0;
};

/// What joining two neighbours would give: lower priority first.
struct MergeCandidate {
  static constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t priority = kNever;
  std::int32_t id = kNoToken;
};

/// Runs merges over symbols. Reusable; holds nothing but scratch memory.
class PairMerger {
 public:
  /// Joins neighbours in `symbols` until lookup(left, right) -> MergeCandidate knows no more pair.
  template <class Lookup>
  void run(std::vector<MergeSymbol>& symbols, Lookup&& lookup) {
    if (symbols.size() < 2) return;
    if (symbols.size() <= kShort) {
      run_short(symbols, lookup);
    } else {
      run_long(symbols, lookup);
    }
  }

 private:
  static constexpr std::size_t kShort = 40;  // scanning 40 candidates costs about as much as one heap operation

  template <class Lookup>
  static void run_short(std::vector<MergeSymbol>& symbols, Lookup&& lookup) {
    std::array<MergeCandidate, kShort> candidates;
    std::size_t n = symbols.size();
    for (std::size_t i = 0; i + 1 < n; ++i) candidates[i] = lookup(symbols[i], symbols[i + 1]);
    while (n > 1) {
      std::size_t best = 0;
      for (std::size_t i = 1; i + 1 < n; ++i) {
        if (candidates[i].priority < candidates[best].priority) best = i;
      }
      if (candidates[best].priority == MergeCandidate::kNever) break;
      symbols[best].id = candidates[best].id;
      symbols[best].length += symbols[best + 1].length;
      for (std::size_t i = best + 1; i + 1 < n; ++i) symbols[i] = symbols[i + 1];
      for (std::size_t i = best; i + 2 < n; ++i) candidates[i] = candidates[i + 1];
      --n;
      if (best + 1 < n) candidates[best] = lookup(symbols[best], symbols[best + 1]);
      if (best > 0) candidates[best - 1] = lookup(symbols[best - 1], symbols[best]);
    }
    symbols.resize(n);
  }

  template <class Lookup>
  void run_long(std::vector<MergeSymbol>& symbols, Lookup&& lookup) {
    const auto n = static_cast<std::uint32_t>(symbols.size());
    candidates_.assign(n, MergeCandidate{});
    next_.resize(n);
    previous_.resize(n);
    heap_.clear();
    for (std::uint32_t i = 0; i < n; ++i) {
      next_[i] = i + 1;
      previous_[i] = i - 1;  // wraps to kNone for the first
      if (i + 1 == n) break;
      candidates_[i] = lookup(symbols[i], symbols[i + 1]);
      if (candidates_[i].priority != MergeCandidate::kNever) heap_.push_back(key(candidates_[i].priority, i));
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
    const auto look = [&](std::uint32_t i) {
      candidates_[i] = lookup(symbols[i], symbols[next_[i]]);
      if (candidates_[i].priority == MergeCandidate::kNever) return;
      heap_.push_back(key(candidates_[i].priority, i));
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
    };
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
      const std::uint64_t top = heap_.back();
      heap_.pop_back();
      const auto i = static_cast<std::uint32_t>(top);
      // Stale when the pair at this place has changed since; a swallowed symbol has no candidate at all.
      if (candidates_[i].priority != static_cast<std::uint32_t>(top >> 32)) continue;
      const std::uint32_t j = next_[i];
      symbols[i].id = candidates_[i].id;
      symbols[i].length += symbols[j].length;
      candidates_[j] = MergeCandidate{};
      symbols[j].length = 0;
      next_[i] = next_[j];
      if (next_[i] < n) {
        previous_[next_[i]] = i;
        look(i);
      } else {
        candidates_[i] = MergeCandidate{};
      }
      if (previous_[i] < n) look(previous_[i]);
    }
    std::erase_if(symbols, [](const MergeSymbol& s) { return s.length == 0; });
  }

  static std::uint64_t key(std::uint32_t priority, std::uint32_t position) {
    return std::uint64_t{priority} << 32 | position;
  }

  std::vector<MergeCandidate> candidates_;  // of symbol i and the one behind it
  std::vector<std::uint32_t> next_;
  std::vector<std::uint32_t> previous_;
  std::vector<std::uint64_t> heap_;
};

/// (left id, right id) -> rank and result.
class MergeTable {
 public:
  void reset(std::size_t count) {
    slots_.assign(std::bit_ceil(std::max<std::size_t>(16, count + count / 2)), Slot{});
    mask_ = slots_.size() - 1;
    seed_ = detail::hash_seed();
  }
  void prefetch(std::int32_t left, std::int32_t right) const {
    __builtin_prefetch(&slots_[detail::mix64(key(left, right), seed_) & mask_]);
  }
  /// False when the pair has a merge already.
  bool insert(std::int32_t left, std::int32_t right, MergeCandidate merge) {
    const std::uint64_t pair = key(left, right);
    for (std::size_t i = detail::mix64(pair, seed_) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].pair == pair) return false;
      if (slots_[i].pair == kEmpty) {
        slots_[i] = {pair, merge};
        return true;
      }
    }
  }
  [[nodiscard]] MergeCandidate find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t pair = key(left, right);
    for (std::size_t i = detail::mix64(pair, seed_) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].pair == pair) return slots_[i].merge;
      if (slots_[i].pair == kEmpty) return {};
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // ids are never negative here
  struct Slot {
    std::uint64_t pair = kEmpty;
    MergeCandidate merge;
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::size_t mask_ = 15;
  std::uint64_t seed_ = 0;
};

/// The spellings of a vocabulary and where to find them; the base of every model.
struct TokenIndex {
  StringBlock spellings;  ///< as in the file
  PieceTable by_spelling;
  std::vector<TokenType> types;
  std::array<std::int32_t, 256> byte_tokens = no_bytes();  ///< the token of a single byte, however it is spelled
  std::int32_t unk = kNoToken;

  static constexpr std::size_t kBatch = 32;  // look-ups under way at once while tables are built

  static std::array<std::int32_t, 256> no_bytes() {
    std::array<std::int32_t, 256> none{};
    none.fill(kNoToken);
    return none;
  }
  /// Can come out of plain text: not control, unknown or byte.
  [[nodiscard]] bool plain(std::int32_t id) const {
    const TokenType type = types[static_cast<std::size_t>(id)];
    return type != TokenType::control && type != TokenType::unknown && type != TokenType::byte;
  }
  [[nodiscard]] std::int32_t find(std::string_view spelling) const {
    return spelling.empty() ? kNoToken : by_spelling.find(spellings, spelling);
  }
  [[nodiscard]] std::int32_t find_plain(std::string_view spelling) const {
    const std::int32_t id = find(spelling);
    return id != kNoToken && plain(id) ? id : kNoToken;
  }

  /// Copies the spellings and indexes them. Errors: two tokens with one spelling.
  static Result<TokenIndex> build(const Vocabulary& v) {
    TokenIndex index;
    std::size_t bytes = 0;
    for (const std::string_view token : v.tokens) bytes += token.size();
    index.spellings.reserve(v.tokens.size(), bytes);
    index.by_spelling.reset(v.tokens.size());
    index.types.reserve(v.tokens.size());
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      index.spellings.push_back(v.tokens[i]);
      index.types.push_back(v.type(i));
      if (v.type(i) == TokenType::byte) {
        index.byte_tokens[static_cast<std::size_t>(byte_of_token(v.tokens[i]))] = static_cast<std::int32_t>(i);
      }
    }
    std::array<std::uint64_t, kBatch> hashes;
    for (std::size_t first = 0; first < v.tokens.size(); first += kBatch) {
      const std::size_t end = std::min(first + kBatch, v.tokens.size());
      for (std::size_t i = first; i < end; ++i) {
        hashes[i - first] = detail::hash_bytes(index.spellings[i]);
        index.by_spelling.prefetch(hashes[i - first]);
      }
      for (std::size_t i = first; i < end; ++i) {
        if (v.tokens[i].empty()) continue;
        const std::int32_t other =
            index.by_spelling.insert(index.spellings, static_cast<std::int32_t>(i), hashes[i - first]);
        if (other != kNoToken) {
          return make_error(Errc::invalid_file, "two tokens have the same spelling", "token " + std::to_string(i),
                            "a spelling of its own",
                            "that of token " + std::to_string(other) + ", " + in_quotes(v.tokens[i], 40));
        }
      }
    }
    index.unk = v.unk;
    return index;
  }
};

namespace detail {

inline Error no_token_for(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string text = "0x";
  for (const char c : bytes.substr(0, 4)) {
    text.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
    text.push_back(kHex[static_cast<unsigned char>(c) & 15]);
  }
  return make_error(Errc::invalid_argument, "text cannot be tokenized", "vocabulary", "a token for " + text,
                    "neither one nor an unknown token");
}

/// Emits a character that has no token: its bytes, or the unknown token, or an error.
inline Status emit_unknown(const TokenIndex& index, std::string_view bytes, bool byte_fallback, bool fuse,
                           std::vector<std::int32_t>& out, std::size_t fuse_from) {
  if (byte_fallback && std::all_of(bytes.begin(), bytes.end(), [&](char c) {
        return index.byte_tokens[static_cast<unsigned char>(c)] != kNoToken;
      })) {
    for (const char c : bytes) out.push_back(index.byte_tokens[static_cast<unsigned char>(c)]);
    return {};
  }
  if (index.unk == kNoToken) return no_token_for(bytes);
  if (!fuse || out.size() <= fuse_from || out.back() != index.unk) out.push_back(index.unk);
  return {};
}

}  // namespace detail

/// Scratch memory of one encode() call, and a small cache of pieces seen in it.
struct EncodeScratch {
  PairMerger merger;
  std::vector<MergeSymbol> symbols;
  std::string bytes;
  std::unordered_map<std::string_view, std::uint32_t> unused_splits;  // an unused piece -> bytes of its left part

  /// Text repeats its words: remembers the ids of short pieces by their place in the text being encoded.
  class PieceCache {
   public:
    static constexpr std::size_t kMaxIds = 6;
    struct Entry {
      const char* data = nullptr;
      std::uint32_t generation = 0;
      std::uint16_t size = 0;
      std::uint16_t count = 0;
      std::array<std::int32_t, kMaxIds> ids{};
    };
    /// Forgets everything: the next pieces lie in another text, of `text_bytes` bytes. Short texts are not worth a
    /// cache.
    void reset(std::size_t text_bytes) {
      active_ = text_bytes >= 2048;
      ++generation_;
      if (active_ && entries_.empty()) entries_.resize(kEntries);
    }
    [[nodiscard]] Entry* slot(std::string_view piece) {
      if (!active_ || piece.size() > 64) return nullptr;
      return &entries_[detail::hash_bytes(piece) & (kEntries - 1)];
    }
    [[nodiscard]] bool holds(const Entry& entry, std::string_view piece) const {
      return entry.generation == generation_ && entry.size == piece.size() &&
             std::memcmp(entry.data, piece.data(), piece.size()) == 0;
    }
    void store(Entry& entry, std::string_view piece, const std::int32_t* ids, std::size_t count) const {
      if (count > kMaxIds) return;
      entry.data = piece.data();
      entry.generation = generation_;
      entry.size = static_cast<std::uint16_t>(piece.size());
      entry.count = static_cast<std::uint16_t>(count);
      std::copy(ids, ids + count, entry.ids.begin());
    }

   private:
    static constexpr std::size_t kEntries = 4096;
    std::vector<Entry> entries_;
    std::uint32_t generation_ = 0;
    bool active_ = false;
  };
  PieceCache cache;

  /// Runs encode(piece) or repeats what it appended last time.
  template <class Encode>
  Status cached(std::string_view piece, std::vector<std::int32_t>& out, Encode&& encode) {
    PieceCache::Entry* entry = cache.slot(piece);
    if (entry == nullptr) return encode(piece);
    if (cache.holds(*entry, piece)) {
      out.insert(out.end(), entry->ids.begin(), entry->ids.begin() + entry->count);
      return {};
    }
    const std::size_t before = out.size();
    TRITIUM_TRY(encode(piece));
    cache.store(*entry, piece, out.data() + before, out.size() - before);
    return {};
  }
};

/// Ranked merges, over bytes or over code points.
class BpeModel {
 public:
  /// Builds the merge table. Errors: a merge of an unknown piece, without a result, or given twice; missing byte tokens
  /// of a byte-level vocabulary are no error until a text needs one.
  static Result<BpeModel> build(const Vocabulary& v, TokenIndex& index) {
    BpeModel model;
    model.byte_level_ = v.kind == TokenizerKind::byte_level_bpe;
    model.ignore_merges_ = v.ignore_merges;
    model.fuse_unknown_ = v.fuse_unknown;
    model.byte_fallback_ = v.byte_fallback;
    model.merges_.reset(v.merges.size());
    // Three look-ups and an insertion for each merge, all of them cache misses: done in batches, one step at a time.
    struct Step {
      std::array<std::string_view, 3> keys;  // left, right, result
      std::array<std::uint64_t, 3> hashes;
      std::array<std::int32_t, 3> ids;
    };
    std::array<Step, TokenIndex::kBatch> steps;
    std::string joined;
    for (std::size_t first = 0; first < v.merges.size(); first += steps.size()) {
      const std::size_t count = std::min(steps.size(), v.merges.size() - first);
      joined.clear();
      std::size_t bytes = 0;
      for (std::size_t k = 0; k < count; ++k)
        bytes += v.merges[first + k].left.size() + v.merges[first + k].right.size();
      joined.reserve(bytes);  // views into it are taken below
      for (std::size_t k = 0; k < count; ++k) {
        const MergeRule& merge = v.merges[first + k];
        const std::size_t at = joined.size();
        joined.append(merge.left).append(merge.right);
        steps[k].keys = {merge.left, merge.right, std::string_view(joined).substr(at)};
        for (std::size_t i = 0; i < 3; ++i) {
          steps[k].hashes[i] = detail::hash_bytes(steps[k].keys[i]);
          index.by_spelling.prefetch(steps[k].hashes[i]);
        }
      }
      for (std::size_t k = 0; k < count; ++k) {
        for (const std::uint64_t hash : steps[k].hashes) index.by_spelling.prefetch_key(index.spellings, hash);
      }
      for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t i = 0; i < 3; ++i) {
          const std::string_view key = steps[k].keys[i];
          steps[k].ids[i] = key.empty() ? kNoToken : index.by_spelling.find(index.spellings, key, steps[k].hashes[i]);
          if (steps[k].ids[i] == kNoToken) {
            return make_error(Errc::invalid_file, i < 2 ? "merge of an unknown piece" : "result of a merge is missing",
                              "merge " + std::to_string(first + k), "a token", in_quotes(key));
          }
        }
        model.merges_.prefetch(steps[k].ids[0], steps[k].ids[1]);
      }
      for (std::size_t k = 0; k < count; ++k) {
        // Plain text never becomes a control token, whatever the merges say.
        const auto& [left, right, result] = steps[k].ids;
        const MergeCandidate candidate =
            index.plain(result) ? MergeCandidate{static_cast<std::uint32_t>(first + k), result} : MergeCandidate{};
        if (!model.merges_.insert(left, right, candidate)) {
          return make_error(Errc::invalid_file, "merge is given twice", "merge " + std::to_string(first + k),
                            "one rank", in_quotes(std::string(steps[k].keys[0]).append(" ").append(steps[k].keys[1])));
        }
      }
    }
    if (model.byte_level_) {
      TRITIUM_TRY(model.index_bytes(index));
    } else {
      for (std::size_t i = 0; i < index.spellings.size(); ++i) {
        if (index.plain(static_cast<std::int32_t>(i))) note_crossing(index.spellings[i], model.crosses_);
      }
    }
    return model;
  }

  /// Appends the ids of one piece. Byte level: the piece is bytes; else valid UTF-8 with spaces already escaped.
  Status encode(const TokenIndex& index, std::string_view piece, EncodeScratch& scratch,
                std::vector<std::int32_t>& out) const {
    if (byte_level_) return encode_bytes(index, piece, scratch, out);
    // Merges never join a character to a U+2581 behind it, except where some piece does: words are independent.
    const std::size_t fuse_from = out.size();
    std::size_t begin = 0;
    while (begin < piece.size()) {
      const std::size_t end = ignore_merges_ ? piece.size() : word_end(piece, begin, crosses_);
      const std::string_view word = piece.substr(begin, end - begin);
      // An unknown token may fuse with the one before it in another word, so such words are not cached.
      TRITIUM_TRY(fuse_unknown_ ? encode_word(index, word, scratch, out, fuse_from)
                                : scratch.cached(word, out, [&](std::string_view w) {
                                    return encode_word(index, w, scratch, out, out.size());
                                  }));
      begin = end;
    }
    return {};
  }

  /// Marks the bytes that stand directly before a U+2581 inside some piece.
  static void note_crossing(std::string_view piece, std::array<bool, 256>& crosses) {
    for (std::size_t at = piece.find(kMeta, 1); at != std::string_view::npos; at = piece.find(kMeta, at + 1)) {
      if (at >= 3 && piece.substr(at - 3, 3) == kMeta) continue;
      crosses[static_cast<unsigned char>(piece[at - 1])] = true;
    }
  }
  /// The end of the word at `begin`: before the next U+2581 that no piece joins to what stands before it.
  static std::size_t word_end(std::string_view text, std::size_t begin, const std::array<bool, 256>& crosses) {
    for (std::size_t at = text.find(kMeta, begin + 1); at != std::string_view::npos; at = text.find(kMeta, at + 1)) {
      if (at >= begin + 3 && text.substr(at - 3, 3) == kMeta) continue;
      if (!crosses[static_cast<unsigned char>(text[at - 1])]) return at;
    }
    return text.size();
  }

  static constexpr std::string_view kMeta = "\xE2\x96\x81";

 private:
  // The single-byte tokens, and all pieces by their bytes where whole pieces are looked up.
  Status index_bytes(TokenIndex& index) {
    const std::size_t n = index.spellings.size();
    std::string bytes;
    if (ignore_merges_) {
      bytes_.reserve(n, n * 8);
      by_bytes_.reset(n);
    }
    for (std::size_t i = 0; i < n; ++i) {
      bytes.clear();
      const TokenType type = index.types[i];
      const bool model_token = type == TokenType::normal || type == TokenType::unused || type == TokenType::undefined;
      if (!model_token || !alias_to_bytes(index.spellings[i], bytes)) bytes.clear();
      if (bytes.size() == 1) index.byte_tokens[static_cast<unsigned char>(bytes[0])] = static_cast<std::int32_t>(i);
      if (ignore_merges_) {
        bytes_.push_back(bytes);
        if (!bytes.empty())
          (void)by_bytes_.insert(bytes_, static_cast<std::int32_t>(i));  // unique, as the spellings are
      }
    }
    first_merges_.resize(65536);
    for (std::size_t a = 0; a < 256; ++a) {
      for (std::size_t b = 0; b < 256; ++b) {
        const std::int32_t left = index.byte_tokens[a];
        const std::int32_t right = index.byte_tokens[b];
        if (left != kNoToken && right != kNoToken) first_merges_[a * 256 + b] = merges_.find(left, right);
      }
    }
    return {};
  }

 public:
  /// Turns a spelling in GPT-2's alphabet into bytes; false when a character is not of it.
  static bool alias_to_bytes(std::string_view spelling, std::string& bytes) {
    for (std::string_view rest = spelling; !rest.empty();) {
      const CodePoint unit = decode_utf8(rest);
      const int byte = unit.valid ? alias_to_byte(unit.value) : -1;
      if (byte < 0) return false;
      bytes.push_back(static_cast<char>(byte));
      rest.remove_prefix(unit.length);
    }
    return true;
  }

 private:
  Status encode_bytes(const TokenIndex& index, std::string_view piece, EncodeScratch& scratch,
                      std::vector<std::int32_t>& out) const {
    return scratch.cached(piece, out, [&](std::string_view p) -> Status {
      if (ignore_merges_) {
        if (const std::int32_t id = by_bytes_.find(bytes_, p); id != kNoToken) {
          out.push_back(id);
          return {};
        }
      }
      scratch.symbols.clear();
      bool complete = true;
      for (std::size_t i = 0; i < p.size(); ++i) {
        const std::int32_t id = index.byte_tokens[static_cast<unsigned char>(p[i])];
        complete = complete && id != kNoToken;
        scratch.symbols.push_back({id, static_cast<std::uint32_t>(i), 1});
      }
      if (complete) {
        scratch.merger.run(scratch.symbols, [&](const MergeSymbol& l, const MergeSymbol& r) {
          if (l.length == 1 && r.length == 1) {
            return first_merges_[static_cast<std::size_t>(static_cast<unsigned char>(p[l.begin])) * 256 +
                                 static_cast<unsigned char>(p[r.begin])];
          }
          return merges_.find(l.id, r.id);
        });
        for (const MergeSymbol& symbol : scratch.symbols) out.push_back(symbol.id);
        return {};
      }
      return finish(index, p, scratch, out, out.size());
    });
  }

  Status encode_word(const TokenIndex& index, std::string_view word, EncodeScratch& scratch,
                     std::vector<std::int32_t>& out, std::size_t fuse_from) const {
    if (ignore_merges_) {
      if (const std::int32_t id = index.find_plain(word); id != kNoToken) {
        out.push_back(id);
        return {};
      }
    }
    scratch.symbols.clear();
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t length = decode_utf8(word.substr(at)).length;
      scratch.symbols.push_back({index.find_plain(word.substr(at, length)), static_cast<std::uint32_t>(at),
                                 static_cast<std::uint32_t>(length)});
      at += length;
    }
    return finish(index, word, scratch, out, fuse_from);
  }

  // Merges and emits symbols of which some may have no token.
  Status finish(const TokenIndex& index, std::string_view piece, EncodeScratch& scratch, std::vector<std::int32_t>& out,
                std::size_t fuse_from) const {
    scratch.merger.run(scratch.symbols, [&](const MergeSymbol& l, const MergeSymbol& r) {
      return l.id == kNoToken || r.id == kNoToken ? MergeCandidate{} : merges_.find(l.id, r.id);
    });
    for (const MergeSymbol& symbol : scratch.symbols) {
      if (symbol.id != kNoToken) {
        out.push_back(symbol.id);
      } else {
        TRITIUM_TRY(detail::emit_unknown(index, piece.substr(symbol.begin, symbol.length), byte_fallback_,
                                         fuse_unknown_, out, fuse_from));
      }
    }
    return {};
  }

  MergeTable merges_;
  std::vector<MergeCandidate> first_merges_;  // of two single bytes, which most look-ups ask for
  StringBlock bytes_;
  PieceTable by_bytes_;
  std::array<bool, 256> crosses_{};
  bool byte_level_ = true;
  bool ignore_merges_ = false;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = true;
};

TRITIUM_NAMESPACE_END
