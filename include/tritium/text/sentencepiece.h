// SPDX-License-Identifier: Apache-2.0
// SentencePiece's two models: BPE driven by piece scores, and the unigram model (Viterbi).
//
// Score-driven BPE has no list of merges: two neighbours may join when their concatenation is a piece, and the pair
// with the highest score goes first, the leftmost of equals. Words of a text are independent as long as no piece joins
// a character to the U+2581 behind it, which is measured when the model is built. Characters without a piece become
// byte pieces or the unknown token.
// Source: sentencepiece `bpe_model.cc`, `unigram_model.cc` (EncodeOptimized), `normalizer.cc`; Kudo 2018,
// arXiv:1804.10959.
#pragma once

#include <cmath>

#include "tritium/text/bpe.h"

TRITIUM_NAMESPACE_BEGIN

/// SentencePiece's normalizer: character map, space clean-up, the added space, U+2581 for spaces.
class SentencePieceNormalizer {
 public:
  static Result<SentencePieceNormalizer> create(const Vocabulary& v) {
    SentencePieceNormalizer normalizer;
    normalizer.rules_ = v.spaces;
    if (!v.charsmap.empty()) {
      TRITIUM_ASSIGN(CharsMap map, CharsMap::parse(v.charsmap));
      normalizer.map_ = std::make_shared<const CharsMap>(std::move(map));
    }
    return normalizer;
  }

  /// Writes the normalized form of `text` (valid UTF-8). `add_prefix`: this text begins a passage, so the space that
  /// the rules ask for goes before it. `user_defined`: pieces that pass unchanged, or null.
  Status apply(std::string_view text, bool add_prefix, const ByteTrie* user_defined, std::string& out) const {
    out.clear();
    if (text.empty()) return {};
    const std::size_t limit = 32 * text.size() + (std::size_t{1} << 16);
    const std::string_view space = rules_.escape ? BpeModel::kMeta : std::string_view(" ");
    const auto prefix_at = [&](std::string_view rest) -> std::pair<std::string_view, std::size_t> {
      if (user_defined != nullptr && user_defined->starts(rest[0])) {
        if (const std::size_t length = user_defined->longest_prefix(rest).first; length != 0)
          return {rest.substr(0, length), length};
      }
      if (map_) {
        if (const CharsMap::Match match = map_->longest(rest); match.length != 0)
          return {match.replacement, match.length};
      }
      const std::size_t length = decode_utf8(rest).length;
      return {rest.substr(0, length), length};
    };
    out.reserve(text.size() + text.size() / 2 + 8);
    if (!map_ && !rules_.remove_extra) {  // only spaces change
      if (add_prefix && rules_.add_prefix && !rules_.as_suffix) out.append(space);
      for (const char c : text) {
        if (c == ' ') out.append(space);
        else out.push_back(c);
      }
      if (add_prefix && rules_.add_prefix && rules_.as_suffix) out.append(space);
      return {};
    }
    while (rules_.remove_extra && !text.empty()) {
      const auto [replacement, length] = prefix_at(text);
      if (replacement != " ") break;
      text.remove_prefix(length);
    }
    if (text.empty()) return {};
    if (add_prefix && rules_.add_prefix && !rules_.as_suffix) out.append(space);
    bool after_space = rules_.remove_extra;
    while (!text.empty()) {
      auto [replacement, length] = prefix_at(text);
      while (after_space && replacement.starts_with(' ')) replacement.remove_prefix(1);
      for (const char c : replacement) {
        if (c == ' ') out.append(space);
        else out.push_back(c);
      }
      if (!replacement.empty()) after_space = rules_.remove_extra && replacement.ends_with(' ');
      text.remove_prefix(length);
      if (out.size() > limit)
        return Error{Errc::out_of_range, "normalized text is more than 32 times as long as the text"};
    }
    while (rules_.remove_extra && out.ends_with(space)) out.resize(out.size() - space.size());
    if (add_prefix && rules_.add_prefix && rules_.as_suffix) out.append(space);
    return {};
  }

 private:
  SpaceRules rules_;
  std::shared_ptr<const CharsMap> map_;
};

namespace detail {
// Tokens that were added to a model after training: specials of the text, no pieces.
inline std::vector<bool> added_tokens(const Vocabulary& v) {
  std::vector<bool> added(v.tokens.size(), false);
  for (const TokenFlags& flags : v.flags) {
    if (flags.added) added[static_cast<std::size_t>(flags.id)] = true;
  }
  return added;
}
}  // namespace detail

/// BPE by piece scores.
class ScoreBpeModel {
 public:
  static Result<ScoreBpeModel> build(const Vocabulary& v, const TokenIndex& index) {
    ScoreBpeModel model;
    model.fuse_unknown_ = v.fuse_unknown;
    model.byte_fallback_ = v.byte_fallback;
    model.priorities_.resize(v.tokens.size());
    std::vector<ByteTrie::Entry> user_defined;
    const std::vector<bool> added = detail::added_tokens(v);
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      model.priorities_[i] = priority_of(v.scores[i]);
      if (!index.plain(id)) continue;
      BpeModel::note_crossing(index.spellings[i], model.crosses_);
      if (v.type(i) == TokenType::unused && v.resegment_unused) model.has_unused_ = true;
      if (v.type(i) == TokenType::user_defined && v.match_user_defined && !added[i] && !v.tokens[i].empty()) {
        user_defined.push_back({index.spellings[i], id});
      }
    }
    if (!user_defined.empty()) model.user_defined_.build(std::move(user_defined));
    return model;
  }

  [[nodiscard]] const ByteTrie* user_defined() const { return user_defined_.empty() ? nullptr : &user_defined_; }

  /// Appends the ids of normalized text (valid UTF-8, spaces escaped).
  Status encode(const TokenIndex& index, std::string_view text, EncodeScratch& scratch,
                std::vector<std::int32_t>& out) const {
    const std::size_t fuse_from = out.size();
    scratch.unused_splits.clear();
    if (user_defined_.empty()) return encode_run(index, text, scratch, out, fuse_from);
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const auto [length, id] = user_defined_.starts(text[at]) ? user_defined_.longest_prefix(text.substr(at))
                                                               : std::pair<std::size_t, std::int32_t>{0, 0};
      if (length == 0) {
        at += decode_utf8(text.substr(at)).length;
        continue;
      }
      // Never merged with anything: what stands before and behind is encoded on its own.
      TRITIUM_TRY(encode_run(index, text.substr(begin, at - begin), scratch, out, fuse_from));
      out.push_back(id);
      at += length;
      begin = at;
    }
    return encode_run(index, text.substr(begin), scratch, out, fuse_from);
  }

 private:
  // Order of scores as an integer, highest score first; never MergeCandidate::kNever for a finite score.
  static std::uint32_t priority_of(float score) {
    const auto bits = std::bit_cast<std::uint32_t>(score == 0.0f ? 0.0f : score);
    const std::uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return ~ascending;
  }

  Status encode_run(const TokenIndex& index, std::string_view text, EncodeScratch& scratch,
                    std::vector<std::int32_t>& out, std::size_t fuse_from) const {
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = has_unused_ ? text.size() : BpeModel::word_end(text, begin, crosses_);
      const std::string_view word = text.substr(begin, end - begin);
      if (has_unused_) {
        TRITIUM_TRY(encode_word(index, word, scratch, out, fuse_from));
      } else {
        const std::size_t before = out.size();
        TRITIUM_TRY(scratch.cached(
            word, out, [&](std::string_view w) { return encode_word(index, w, scratch, out, out.size()); }));
        // Words were encoded alone: unknown characters on both sides of the seam still are one unknown token.
        if (fuse_unknown_ && before > fuse_from && before < out.size() && out[before] == index.unk &&
            out[before - 1] == index.unk) {
          out.erase(out.begin() + static_cast<std::ptrdiff_t>(before));
        }
      }
      begin = end;
    }
    return {};
  }

  Status encode_word(const TokenIndex& index, std::string_view word, EncodeScratch& scratch,
                     std::vector<std::int32_t>& out, std::size_t fuse_from) const {
    scratch.symbols.clear();
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t length = decode_utf8(word.substr(at)).length;
      scratch.symbols.push_back({index.find_plain(word.substr(at, length)), static_cast<std::uint32_t>(at),
                                 static_cast<std::uint32_t>(length)});
      at += length;
    }
    scratch.merger.run(scratch.symbols, [&](const MergeSymbol& l, const MergeSymbol& r) -> MergeCandidate {
      const std::string_view joined = word.substr(l.begin, l.length + r.length);
      const std::int32_t id = index.find_plain(joined);
      if (id == kNoToken) return {};
      if (has_unused_ && index.types[static_cast<std::size_t>(id)] == TokenType::unused)
        scratch.unused_splits[joined] = l.length;
      return {priorities_[static_cast<std::size_t>(id)], id};
    });
    // scratch.symbols stays as it is below: taking unused pieces apart only reads unused_splits.
    for (const MergeSymbol& symbol : scratch.symbols) {
      TRITIUM_TRY(emit(index, word.substr(symbol.begin, symbol.length), symbol.id, scratch, out, fuse_from));
    }
    return {};
  }

  Status emit(const TokenIndex& index, std::string_view piece, std::int32_t id, EncodeScratch& scratch,
              std::vector<std::int32_t>& out, std::size_t fuse_from) const {
    if (id == kNoToken) return detail::emit_unknown(index, piece, byte_fallback_, fuse_unknown_, out, fuse_from);
    if (!has_unused_ || index.types[static_cast<std::size_t>(id)] != TokenType::unused) {
      out.push_back(id);
      return {};
    }
    // An unused piece is taken apart the way it was put together, as often as needed; parts are shorter, so this ends.
    std::vector<std::string_view> stack{piece};
    while (!stack.empty()) {
      const std::string_view part = stack.back();
      stack.pop_back();
      const std::int32_t part_id = index.find_plain(part);
      const auto split = scratch.unused_splits.find(part);
      if (part_id == kNoToken) {
        TRITIUM_TRY(detail::emit_unknown(index, part, byte_fallback_, fuse_unknown_, out, fuse_from));
      } else if (index.types[static_cast<std::size_t>(part_id)] != TokenType::unused ||
                 split == scratch.unused_splits.end()) {
        out.push_back(part_id);
      } else {
        stack.push_back(part.substr(split->second));
        stack.push_back(part.substr(0, split->second));
      }
    }
    return {};
  }

  std::vector<std::uint32_t> priorities_;
  ByteTrie user_defined_;
  std::array<bool, 256> crosses_{};
  bool has_unused_ = false;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = true;
};

/// The unigram model: the segmentation whose scores add up to the most.
class UnigramModel {
 public:
  static Result<UnigramModel> build(const Vocabulary& v, const TokenIndex& index) {
    UnigramModel model;
    model.sentencepiece_ = v.user_defined_bonus;
    model.byte_fallback_ = v.byte_fallback;
    model.scores_.resize(v.tokens.size());
    std::vector<ByteTrie::Entry> entries;
    std::vector<ByteTrie::Entry> user_defined;
    const std::vector<bool> added = detail::added_tokens(v);
    double lowest = std::numeric_limits<double>::max();
    double highest = std::numeric_limits<double>::lowest();
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      model.scores_[i] = v.log_probs.empty() ? double{v.scores[i]} : v.log_probs[i];
      // SentencePiece looks at normal pieces only, tokenizer.json's model at everything it lists.
      if (v.type(i) == TokenType::normal || v.type(i) == TokenType::undefined || !v.log_probs.empty()) {
        lowest = std::min(lowest, model.scores_[i]);
        highest = std::max(highest, model.scores_[i]);
      }
      if (!index.plain(id) || v.tokens[i].empty() || v.type(i) == TokenType::unused || added[i]) continue;
      entries.push_back({index.spellings[i], id});
      if (v.type(i) == TokenType::user_defined && v.match_user_defined)
        user_defined.push_back({index.spellings[i], id});
    }
    if (lowest > highest) lowest = highest = 0;
    model.unknown_score_ = lowest - 10.0;
    if (model.sentencepiece_) model.unknown_score_ = double{static_cast<float>(lowest) - 10.0f};
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      if (v.type(i) != TokenType::user_defined || !v.log_probs.empty()) continue;
      // SentencePiece's bonus makes a user-defined piece win over any other path; GGUF's convention is a score of 0.
      model.scores_[i] = model.sentencepiece_
                             ? double{static_cast<float>(v.tokens[i].size()) * static_cast<float>(highest)} - 0.1
                             : 0.0;
    }
    model.trie_.build(std::move(entries));
    if (!user_defined.empty()) model.user_defined_.build(std::move(user_defined));
    return model;
  }

  [[nodiscard]] const ByteTrie* user_defined() const { return user_defined_.empty() ? nullptr : &user_defined_; }

  /// Appends the ids of normalized text (valid UTF-8).
  Status encode(const TokenIndex& index, std::string_view text, std::vector<std::int32_t>& out) const {
    return sentencepiece_ ? encode_as<float>(index, text, out) : encode_as<double>(index, text, out);
  }

 private:
  // Sums are kept in the type that the oracle keeps them in, so that near-ties fall the same way.
  template <class Sum>
  Status encode_as(const TokenIndex& index, std::string_view text, std::vector<std::int32_t>& out) const {
    struct Node {
      std::int32_t id = kNoToken;
      std::uint32_t start = std::numeric_limits<std::uint32_t>::max();
      Sum best = 0;
    };
    constexpr std::uint32_t kUnreached = std::numeric_limits<std::uint32_t>::max();
    std::vector<Node> ends(text.size() + 1);
    const auto offer = [&](std::size_t end, std::size_t start, std::int32_t id, double score) {
      Node& node = ends[end];
      const double sum = score + double{ends[start].best};
      if (node.start == kUnreached || sum > double{node.best})
        node = {id, static_cast<std::uint32_t>(start), static_cast<Sum>(sum)};
    };
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t one = decode_utf8(text.substr(at)).length;
      bool single = false;
      trie_.prefixes(text.substr(at), [&](std::size_t length, std::int32_t id) {
        offer(at + length, at, id, scores_[static_cast<std::size_t>(id)]);
        single = single || length == one;
      });
      if (!single) offer(at + one, at, kNoToken, unknown_score_);
      at += one;
    }
    const std::size_t before = out.size();
    std::vector<std::pair<std::uint32_t, std::uint32_t>> unknowns;  // spans, from the end of the text
    for (std::size_t end = text.size(); end > 0; end = ends[end].start) {
      out.push_back(ends[end].id);
      if (ends[end].id == kNoToken) unknowns.push_back({ends[end].start, static_cast<std::uint32_t>(end)});
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    if (unknowns.empty()) return {};
    std::vector<std::int32_t> path(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    out.resize(before);
    for (std::size_t i = 0; i < path.size(); ++i) {
      if (path[i] != kNoToken) {
        out.push_back(path[i]);
        continue;
      }
      std::uint32_t begin = unknowns.back().first;
      std::uint32_t end = unknowns.back().second;
      unknowns.pop_back();
      while (i + 1 < path.size() && path[i + 1] == kNoToken) {  // neighbours are one unknown piece
        end = unknowns.back().second;
        unknowns.pop_back();
        ++i;
      }
      TRITIUM_TRY(detail::emit_unknown(index, text.substr(begin, end - begin), byte_fallback_, false, out, out.size()));
    }
    return {};
  }

  ByteTrie trie_;
  ByteTrie user_defined_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  bool sentencepiece_ = false;
  bool byte_fallback_ = true;
};

TRITIUM_NAMESPACE_END
