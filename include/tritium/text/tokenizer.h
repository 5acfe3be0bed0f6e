// SPDX-License-Identifier: Apache-2.0
// Tokenizer: text to ids and back, for every kind of vocabulary.
//
// encode() finds special and added tokens, then normalizes, cuts and merges what lies between; decode() puts the bytes
// of the pieces together again. Bytes that are not valid UTF-8 go straight to byte tokens, so that any byte string
// survives the way there and back where the vocabulary has those tokens. A Tokenizer never changes after create():
// threads may share one. Source: llama.cpp `tokenizer_st_partition` (the order in which GGUF specials are found);
// huggingface/tokenizers `AddedVocabulary` (the order of tokenizer.json); sentencepiece.
#pragma once

#include <span>
#include <variant>

#include "tritium/core/no_throw.h"
#include "tritium/text/sentencepiece.h"

TRITIUM_NAMESPACE_BEGIN

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;  ///< the first
  std::size_t end = 0;    ///< one past the last
};

/// What encode() adds, and whose words may become control tokens.
struct EncodeOptions {
  bool add_special = true;    ///< put BOS and the like around the text, where the model wants them
  bool parse_special = true;  ///< control tokens written in the text become their ids; else they are plain text
  /// With parse_special: control tokens that touch these ranges (ascending, disjoint) are plain text all the same. What
  /// users wrote goes here, so that no message can open a turn in somebody else's name.
  std::span<const TextRange> plain = {};
};

/// What decoding does with control tokens.
enum class SpecialText : std::uint8_t {
  hide,            ///< they leave no text
  show,            ///< they are written as they are spelled
  show_but_added,  ///< as show, without the ones that encode() adds around a text: undoes encode()
};

/// What decode() writes.
struct DecodeOptions {
  SpecialText special = SpecialText::hide;  ///< of control tokens
  bool at_start = true;  ///< the ids begin a text: the space that encode() put before it is taken off again
};

namespace detail {

/// Finds special tokens in a text.
class SpecialMatcher {
 public:
  struct Hit {
    std::size_t begin = 0;  ///< with the white space that belongs to the token
    std::size_t end = 0;
    std::int32_t id = kNoToken;
  };

  void add(std::string_view spelling, std::int32_t id) { spellings_.push_back({arena_.add(spelling), id}); }
  /// Ends adding.
  void build(const std::vector<TokenFlags>& flags) {
    trie_.build(std::move(spellings_));
    spellings_ = {};
    arena_ = {};
    for (const TokenFlags& f : flags) flags_.insert_or_assign(f.id, f);
  }
  [[nodiscard]] bool empty() const { return trie_.empty(); }

  /// Longest spelling first, wherever it is; equal lengths by id; then left to right. What is taken is gone for shorter
  /// ones. O(n log n) and not one pass for each token, since a vocabulary may have thousands.
  void longest_first(std::string_view text, std::vector<Hit>& hits) const {
    hits.clear();
    struct Found {
      std::size_t length;
      std::size_t at;
      std::int32_t id;
      bool operator<(const Found& other) const {  // the top of the heap is the next to be placed
        if (length != other.length) return length < other.length;
        if (id != other.id) return id > other.id;
        return at > other.at;
      }
    };
    std::vector<Found> heap;
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (!trie_.starts(text[at])) continue;
      if (const auto [length, id] = trie_.longest_prefix(text.substr(at)); length != 0)
        heap.push_back({length, at, id});
    }
    if (heap.empty()) return;
    std::make_heap(heap.begin(), heap.end());
    std::vector<bool> taken(text.size(), false);
    const auto blank = [&](std::size_t i) { return !taken[i] && (text[i] == ' ' || (text[i] >= 9 && text[i] <= 13)); };
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Found found = heap.back();
      heap.pop_back();
      if (taken[found.at]) continue;
      std::size_t room = 1;
      while (room < found.length && !taken[found.at + room]) ++room;
      if (room < found.length) {  // a longer token took a part: what shorter one still fits here?
        if (const auto [length, id] = trie_.longest_prefix(text.substr(found.at, room)); length != 0) {
          heap.push_back({length, found.at, id});
          std::push_heap(heap.begin(), heap.end());
        }
        continue;
      }
      Hit hit{found.at, found.at + found.length, found.id};
      if (const auto f = flags_.find(found.id); f != flags_.end()) {
        while (f->second.strip_left && hit.begin > 0 && blank(hit.begin - 1)) --hit.begin;
        while (f->second.strip_right && hit.end < text.size() && blank(hit.end)) ++hit.end;
      }
      std::fill(taken.begin() + static_cast<std::ptrdiff_t>(hit.begin),
                taken.begin() + static_cast<std::ptrdiff_t>(hit.end), true);
      hits.push_back(hit);
    }
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.begin < b.begin; });
  }

  /// Leftmost spelling first, the longest at its place; `skip(id)` tokens are stepped over as plain text.
  template <class Skip>
  void leftmost_longest(std::string_view text, Skip&& skip, std::vector<Hit>& hits) const {
    hits.clear();
    std::size_t done = 0;  // end of the last hit with its white space
    for (std::size_t at = 0; at < text.size();) {
      if (!trie_.starts(text[at])) {
        ++at;
        continue;
      }
      const auto [length, id] = trie_.longest_prefix(text.substr(at));
      if (length == 0) {
        ++at;
        continue;
      }
      Hit hit{at, at + length, id};
      at += length;
      if (skip(id)) continue;
      if (const auto f = flags_.find(id); f != flags_.end()) {
        if (f->second.single_word && (word_before(text, hit.begin) || word_after(text, hit.end))) continue;
        if (f->second.strip_left) hit.begin = std::max(done, space_start(text, hit.begin));
        if (f->second.strip_right)
          hit.end = run_end(text, hit.end, [](const ClassedChar& c) { return (c.cls & kSpace) != 0; });
      }
      // White space that an earlier token took may hold the start of this one: then it is gone.
      if (hit.begin < done) hit.begin = done;
      hits.push_back(hit);
      done = std::max(done, hit.end);
    }
  }

 private:
  static std::size_t char_start(std::string_view text, std::size_t end) {
    std::size_t start = end - 1;
    while (start > 0 && end - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    return start;
  }
  static bool word_before(std::string_view text, std::size_t end) {
    return end > 0 && is_word_character(decode_utf8(text.substr(char_start(text, end))).value);
  }
  static bool word_after(std::string_view text, std::size_t begin) {
    return begin < text.size() && is_word_character(decode_utf8(text.substr(begin)).value);
  }
  static std::size_t space_start(std::string_view text, std::size_t end) {
    while (end > 0) {
      const std::size_t start = char_start(text, end);
      if (!is_white_space(decode_utf8(text.substr(start)).value)) break;
      end = start;
    }
    return end;
  }

  StringArena arena_;  // spellings until build()
  std::vector<ByteTrie::Entry> spellings_;
  ByteTrie trie_;
  std::unordered_map<std::int32_t, TokenFlags> flags_;
};

}  // namespace detail

/// Text to ids and back. Never changes once it is made; any number of threads may use it.
class Tokenizer {
 public:
  /// Builds the tables. The vocabulary's strings are copied: nothing of it is needed afterwards.
  /// Errors: invalid_file with the token, merge or field that is wrong; unsupported with the step that is not known.
  static Result<Tokenizer> create(const Vocabulary& vocabulary) {
    return no_throw([&] { return build(vocabulary); });
  }

  /// The ids of `text`, any bytes. Bytes that are not UTF-8 become byte tokens, each on its own.
  /// Errors: invalid_argument where the vocabulary has no token for a character or byte.
  Result<std::vector<std::int32_t>> encode(std::string_view text, const EncodeOptions& options = {}) const {
    return no_throw([&] { return run_encode(text, options); });
  }

  /// The bytes that `ids` stand for; nothing is added. Errors: out_of_range for an id that is not in the vocabulary.
  Result<std::string> decode(std::span<const std::int32_t> ids, const DecodeOptions& options = {}) const {
    return no_throw([&]() -> Result<std::string> {
      std::string text;
      TRITIUM_ASSIGN(const std::span<const std::int32_t> kept, trim_added(ids, options));
      std::size_t strip = options.at_start ? strip_spaces_ : 0;
      for (const std::int32_t id : kept) append_piece(id, options.special, strip, text);
      return text;
    });
  }

  [[nodiscard]] std::size_t size() const { return index_.spellings.size(); }  ///< Ids, from 0 on.
  /// Whether an id has a token.
  [[nodiscard]] bool contains(std::int32_t id) const { return id >= 0 && static_cast<std::size_t>(id) < size(); }
  /// The token's spelling in the file ("\xC4\xA0the", "<0x0A>").
  [[nodiscard]] std::string_view spelling(std::int32_t id) const {
    return index_.spellings[static_cast<std::size_t>(id)];
  }
  /// The bytes that the token adds to a text; for control tokens their spelling.
  [[nodiscard]] std::string_view piece(std::int32_t id) const { return pieces_[static_cast<std::size_t>(id)]; }
  /// What kind of token an id has; contains(id) is required.
  [[nodiscard]] TokenType type(std::int32_t id) const { return index_.types[static_cast<std::size_t>(id)]; }
  /// The id with that spelling, or kNoToken.
  [[nodiscard]] std::int32_t find(std::string_view spelling) const { return index_.find(spelling); }
  /// Whether an id has a control token.
  [[nodiscard]] bool is_control(std::int32_t id) const {
    return type(id) == TokenType::control || type(id) == TokenType::unknown;
  }
  /// True for the tokens that end a generation.
  [[nodiscard]] bool is_eog(std::int32_t id) const {
    return std::binary_search(end_tokens_.begin(), end_tokens_.end(), id);
  }
  /// Ids that end a text, ascending.
  [[nodiscard]] const std::vector<std::int32_t>& end_tokens() const { return end_tokens_; }

  [[nodiscard]] TokenizerKind kind() const { return kind_; }     ///< Which algorithm.
  [[nodiscard]] std::int32_t bos() const { return bos_; }        ///< Begins a text; kNoToken: none.
  [[nodiscard]] std::int32_t eos() const { return eos_; }        ///< Ends a text; kNoToken: none.
  [[nodiscard]] std::int32_t unk() const { return index_.unk; }  ///< For what no token spells; kNoToken: none.
  [[nodiscard]] std::int32_t pad() const { return pad_; }        ///< Fills a batch; kNoToken: none.
  /// What encode() puts before and behind a text.
  [[nodiscard]] const std::vector<std::int32_t>& prefix() const { return prefix_; }
  /// Ids that encode() puts behind a text.
  [[nodiscard]] const std::vector<std::int32_t>& suffix() const { return suffix_; }
  /// Whether encode() puts a BOS before a text.
  [[nodiscard]] bool adds_bos() const { return bos_ != kNoToken && !prefix_.empty() && prefix_.front() == bos_; }

 private:
  friend class StreamDecoder;
  struct Job {
    const EncodeOptions& options;
    EncodeScratch scratch;
    Pieces pieces;
    std::string normalized;
    std::string escaped;
    std::vector<detail::SpecialMatcher::Hit> inner_hits;
    std::vector<std::int32_t> ids;
  };

  static Result<Tokenizer> build(const Vocabulary& v) {
    TRITIUM_TRY(validate(v));
    Tokenizer t;
    t.kind_ = v.kind;
    TRITIUM_ASSIGN(TokenIndex index, TokenIndex::build(v));
    t.index_ = std::move(index);
    if (!v.normalizer.empty()) {
      TRITIUM_ASSIGN(Normalizer normalizer, Normalizer::create(v.normalizer));
      t.normalizer_ = std::move(normalizer);
    }
    if (!v.pre_tokenizer.empty()) {
      TRITIUM_ASSIGN(PreTokenizer pre, PreTokenizer::by_name(v.pre_tokenizer));
      t.pre_tokenizer_ = std::move(pre);
    } else if (!v.split_steps.empty()) {
      TRITIUM_ASSIGN(PreTokenizer pre, PreTokenizer::create(v.split_steps));
      t.pre_tokenizer_ = std::move(pre);
    }
    switch (v.kind) {
      case TokenizerKind::byte_level_bpe:
      case TokenizerKind::merges_bpe: {
        TRITIUM_ASSIGN(BpeModel model, BpeModel::build(v, t.index_));
        t.model_ = std::move(model);
        break;
      }
      case TokenizerKind::score_bpe: {
        TRITIUM_ASSIGN(ScoreBpeModel model, ScoreBpeModel::build(v, t.index_));
        t.model_ = std::move(model);
        break;
      }
      case TokenizerKind::unigram: {
        TRITIUM_ASSIGN(UnigramModel model, UnigramModel::build(v, t.index_));
        t.model_ = std::move(model);
        break;
      }
    }
    if (v.kind == TokenizerKind::score_bpe || v.kind == TokenizerKind::unigram) {
      TRITIUM_ASSIGN(SentencePieceNormalizer spaces, SentencePieceNormalizer::create(v));
      t.spaces_ = std::move(spaces);
    }
    t.escape_ = v.spaces.escape;
    // A tokenizer.json lists its spaces among the steps; everything else goes through SentencePiece's rules.
    t.sentencepiece_text_ =
        (v.kind == TokenizerKind::score_bpe || v.kind == TokenizerKind::unigram) && !v.leftmost_specials;
    t.split_newlines_ = v.split_newlines;
    t.strip_spaces_ = v.strip_decoded_spaces;
    t.unknown_text_ = v.unknown_text;
    t.leftmost_specials_ = v.leftmost_specials;
    t.bos_ = v.bos;
    t.eos_ = v.eos;
    t.pad_ = v.pad;
    t.prefix_ = v.prefix;
    t.suffix_ = v.suffix;
    t.end_tokens_ = v.end_tokens;
    if (v.eos != kNoToken) t.end_tokens_.push_back(v.eos);
    std::sort(t.end_tokens_.begin(), t.end_tokens_.end());
    t.end_tokens_.erase(std::unique(t.end_tokens_.begin(), t.end_tokens_.end()), t.end_tokens_.end());
    t.build_pieces(v);
    TRITIUM_TRY(t.build_specials(v));
    return t;
  }

  void build_pieces(const Vocabulary& v) {
    std::size_t total = 0;
    for (const std::string_view token : v.tokens) total += token.size();
    pieces_.reserve(v.tokens.size(), total);
    std::string bytes;
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      const std::string_view spelling = index_.spellings[i];
      bytes.clear();
      switch (v.type(i)) {
        case TokenType::byte: bytes.push_back(static_cast<char>(byte_of_token(spelling))); break;
        case TokenType::control:
        case TokenType::unknown:
        case TokenType::user_defined:
          // GGUF spells added tokens as text; the other files spell their spaces as in the pieces.
          bytes.assign(spelling);
          if (kind_ != TokenizerKind::byte_level_bpe && escape_ && (v.leftmost_specials || v.match_user_defined))
            unescape(bytes);
          break;
        default:
          if (kind_ == TokenizerKind::byte_level_bpe) {
            if (!BpeModel::alias_to_bytes(spelling, bytes)) bytes.assign(spelling);
          } else {
            bytes.assign(spelling);
            if (escape_) unescape(bytes);
          }
      }
      pieces_.push_back(bytes);
    }
  }
  static void unescape(std::string& text) {
    for (std::size_t at = text.find(BpeModel::kMeta); at != std::string::npos;
         at = text.find(BpeModel::kMeta, at + 1)) {
      text.replace(at, BpeModel::kMeta.size(), " ");
    }
  }

  Status build_specials(const Vocabulary& v) {
    std::unordered_map<std::int32_t, TokenFlags> flags;
    for (const TokenFlags& f : v.flags) flags.insert_or_assign(f.id, f);
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      const TokenType type = v.type(i);
      if (v.tokens[i].empty()) continue;
      // Only GGUF files expect the unknown token in a text.
      const bool control =
          type == TokenType::control || (type == TokenType::unknown && !v.leftmost_specials && !v.match_user_defined);
      const auto f = flags.find(id);
      const bool added =
          type == TokenType::user_defined && (!v.match_user_defined || (f != flags.end() && f->second.added));
      if (!control && !added) continue;
      if (f != flags.end() && f->second.normalized) {
        std::string spelling(v.tokens[i]);
        Regex::Scratch scratch;
        TRITIUM_TRY(normalizer_.apply(spelling, true, scratch));
        if (!spelling.empty()) normalized_specials_.add(spelling, id);
        continue;
      }
      all_specials_.add(v.tokens[i], id);
      if (added) added_tokens_.add(v.tokens[i], id);
    }
    all_specials_.build(v.flags);
    added_tokens_.build(v.flags);
    normalized_specials_.build(v.flags);
    return {};
  }

  // --- encoding
  // --------------------------------------------------------------------------------------------------------
  Result<std::vector<std::int32_t>> run_encode(std::string_view text, const EncodeOptions& options) const {
    if (text.size() > std::numeric_limits<std::int32_t>::max() / 4) {
      return Error{Errc::out_of_range, "text is too long to be tokenized at once: more than 512 MiB"};
    }
    Job job{options, {}, {}, {}, {}, {}, {}};
    if (options.add_special) job.ids = prefix_;
    std::vector<detail::SpecialMatcher::Hit> hits;
    if (leftmost_specials_) {
      all_specials_.leftmost_longest(
          text, [&](std::int32_t id) { return !options.parse_special && is_control(id); }, hits);
    } else {
      (options.parse_special ? all_specials_ : added_tokens_).longest_first(text, hits);
    }
    if (!options.plain.empty()) {
      std::erase_if(hits, [&](const detail::SpecialMatcher::Hit& hit) {
        return is_control(hit.id) && touches(text, hit, options.plain);
      });
    }
    std::size_t at = 0;
    for (const auto& hit : hits) {
      if (hit.begin > at) TRITIUM_TRY(encode_bytes(text.substr(at, hit.begin - at), {at == 0, true}, job));
      job.ids.push_back(hit.id);
      at = hit.end;
    }
    if (at < text.size()) TRITIUM_TRY(encode_bytes(text.substr(at), {at == 0, true}, job));
    if (options.add_special) job.ids.insert(job.ids.end(), suffix_.begin(), suffix_.end());
    return std::move(job.ids);
  }

  // Whether a byte of the token itself (not of the white space it takes along) lies in one of the ranges.
  bool touches(std::string_view text, const detail::SpecialMatcher::Hit& hit, std::span<const TextRange> ranges) const {
    const std::size_t begin = text.find(spelling(hit.id), hit.begin);
    const std::size_t end = begin + spelling(hit.id).size();
    const auto next =
        std::partition_point(ranges.begin(), ranges.end(), [&](const TextRange& r) { return r.end <= begin; });
    return next != ranges.end() && next->begin < end;
  }

  // Any bytes: well-formed runs as text, the rest byte by byte.
  Status encode_bytes(std::string_view text, TextPlace place, Job& job) const {
    while (!text.empty()) {
      if (const std::size_t good = valid_utf8_prefix(text); good != 0) {
        TRITIUM_TRY(encode_text(text.substr(0, good), place, job));
        text.remove_prefix(good);
      }
      const std::size_t bad = invalid_utf8_prefix(text);
      for (const char c : text.substr(0, bad)) {
        const std::int32_t id = index_.byte_tokens[static_cast<unsigned char>(c)];
        if (id == kNoToken) {
          return Error{Errc::invalid_argument,
                       "text is not valid UTF-8, and the vocabulary has no token for its bytes (" +
                           std::string("byte ") + escape_control(std::string_view(&c, 1)) + ")"};
        }
        job.ids.push_back(id);
      }
      text.remove_prefix(bad);
      place = {false, false};
    }
    return {};
  }

  // Valid UTF-8 without special tokens, except those that are looked for after normalization.
  Status encode_text(std::string_view text, TextPlace place, Job& job) const {
    if (sentencepiece_text_) {
      const ByteTrie* user_defined = kind_ == TokenizerKind::score_bpe ? std::get<ScoreBpeModel>(model_).user_defined()
                                                                       : std::get<UnigramModel>(model_).user_defined();
      TRITIUM_TRY(spaces_.apply(text, place.passage_start, user_defined, job.normalized));
      job.scratch.cache.reset(job.normalized.size());
      return encode_piece(job.normalized, job);
    }
    if (!normalizer_.empty()) {
      job.normalized.assign(text);
      TRITIUM_TRY(normalizer_.apply(job.normalized, place.passage_start, job.pieces.scratch));
      text = job.normalized;
    }
    if (normalized_specials_.empty()) return encode_normalized(text, place, job);
    normalized_specials_.leftmost_longest(
        text, [&](std::int32_t id) { return !job.options.parse_special && is_control(id); }, job.inner_hits);
    std::size_t at = 0;
    for (const auto& hit : job.inner_hits) {
      if (hit.begin > at) TRITIUM_TRY(encode_normalized(text.substr(at, hit.begin - at), place, job));
      job.ids.push_back(hit.id);
      at = hit.end;
      place = {false, true};
    }
    return at < text.size() ? encode_normalized(text.substr(at), place, job) : Status{};
  }

  Status encode_normalized(std::string_view text, TextPlace place, Job& job) const {
    if (kind_ == TokenizerKind::merges_bpe && escape_ && !leftmost_specials_) {  // GGUF: spaces are escaped here
      job.escaped.clear();
      for (const char c : text) {
        if (c == ' ') job.escaped.append(BpeModel::kMeta);
        else job.escaped.push_back(c);
      }
      text = job.escaped;
    }
    if (split_newlines_) return encode_lines(text, job);
    if (pre_tokenizer_.empty()) {
      job.scratch.cache.reset(text.size());
      return encode_piece(text, job);
    }
    TRITIUM_TRY(pre_tokenizer_.split(text, place, job.pieces));
    job.scratch.cache.reset(job.pieces.aliased ? 0 : job.pieces.text.size());
    for (std::size_t i = 0; i < job.pieces.spans.size(); ++i) {
      std::string_view piece = job.pieces[i];
      if (job.pieces.aliased) {
        job.scratch.bytes.clear();
        (void)BpeModel::alias_to_bytes(piece, job.scratch.bytes);  // the pre-tokenizer wrote that alphabet
        piece = job.scratch.bytes;
      }
      TRITIUM_TRY(encode_piece(piece, job));
    }
    return {};
  }

  // Gemma 4: newline runs stand apart, and one that is a token is taken whole.
  Status encode_lines(std::string_view text, Job& job) const {
    job.scratch.cache.reset(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const bool newlines = text[at] == '\n';
      std::size_t end = newlines ? text.find_first_not_of('\n', at) : text.find('\n', at);
      if (end == std::string_view::npos) end = text.size();
      const std::string_view piece = text.substr(at, end - at);
      const std::int32_t whole = newlines ? index_.find_plain(piece) : kNoToken;
      if (whole != kNoToken) {
        job.ids.push_back(whole);
      } else {
        TRITIUM_TRY(encode_piece(piece, job));
      }
      at = end;
    }
    return {};
  }

  Status encode_piece(std::string_view piece, Job& job) const {
    if (piece.empty()) return {};
    if (const auto* bpe = std::get_if<BpeModel>(&model_)) return bpe->encode(index_, piece, job.scratch, job.ids);
    if (const auto* score = std::get_if<ScoreBpeModel>(&model_))
      return score->encode(index_, piece, job.scratch, job.ids);
    return std::get<UnigramModel>(model_).encode(index_, piece, job.ids);
  }

  // --- decoding
  // --------------------------------------------------------------------------------------------------------
  Result<std::span<const std::int32_t>> trim_added(std::span<const std::int32_t> ids,
                                                   const DecodeOptions& options) const {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (!contains(ids[i])) {
        return make_error(Errc::out_of_range, "token id is outside the vocabulary",
                          "id number " + std::to_string(i + 1), "0 to " + std::to_string(size() - 1),
                          std::to_string(ids[i]));
      }
    }
    if (options.special != SpecialText::show_but_added) return ids;
    if (options.at_start && ids.size() >= prefix_.size() && std::equal(prefix_.begin(), prefix_.end(), ids.begin())) {
      ids = ids.subspan(prefix_.size());
    }
    if (ids.size() >= suffix_.size() && std::equal(suffix_.rbegin(), suffix_.rend(), ids.rbegin())) {
      ids = ids.first(ids.size() - suffix_.size());
    }
    return ids;
  }
  // `strip` counts the leading spaces still to be taken off; any visible text ends that.
  void append_piece(std::int32_t id, SpecialText special, std::size_t& strip, std::string& text) const {
    std::string_view bytes = piece(id);
    if (special == SpecialText::hide && is_control(id)) {
      if (type(id) == TokenType::control || unknown_text_.empty()) return;
      bytes = unknown_text_;
    }
    if (is_control(id) || type(id) == TokenType::byte) strip = 0;
    while (strip > 0 && bytes.starts_with(' ')) {
      bytes.remove_prefix(1);
      if (strip != kAllSpaces) --strip;
    }
    if (!bytes.empty()) strip = 0;
    text.append(bytes);
  }

 public:
  /// Vocabulary::strip_decoded_spaces for "as many as there are".
  static constexpr std::size_t kAllSpaces = std::numeric_limits<std::size_t>::max();

 private:
  TokenizerKind kind_ = TokenizerKind::byte_level_bpe;
  TokenIndex index_;
  StringBlock pieces_;  // bytes of each token in a text
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  SentencePieceNormalizer spaces_;
  std::variant<BpeModel, ScoreBpeModel, UnigramModel> model_;
  detail::SpecialMatcher all_specials_;
  detail::SpecialMatcher added_tokens_;  // without the control tokens
  detail::SpecialMatcher normalized_specials_;
  std::vector<std::int32_t> prefix_;
  std::vector<std::int32_t> suffix_;
  std::vector<std::int32_t> end_tokens_;  // sorted
  std::int32_t bos_ = kNoToken;
  std::int32_t eos_ = kNoToken;
  std::int32_t pad_ = kNoToken;
  std::size_t strip_spaces_ = 0;
  std::string unknown_text_;
  bool escape_ = true;
  bool sentencepiece_text_ = false;
  bool split_newlines_ = false;
  bool leftmost_specials_ = false;
};

/// Decodes a generation token by token into whole code points.
class StreamDecoder {
 public:
  /// `options.at_start` false (the usual case): the ids continue a prompt, so a leading space is text.
  explicit StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options = {SpecialText::hide, false},
                         Utf8Stream::Invalid invalid = Utf8Stream::Invalid::replace)
      : tokenizer_(&tokenizer),
        special_(options.special),
        strip_(options.at_start ? tokenizer.strip_spaces_ : 0),
        utf8_(invalid) {}

  /// Appends the text that `id` completes. Errors: out_of_range.
  Status push(std::int32_t id, std::string& out) {
    if (!tokenizer_->contains(id)) {
      return make_error(Errc::out_of_range, "token id is outside the vocabulary", "stream",
                        "0 to " + std::to_string(tokenizer_->size() - 1), std::to_string(id));
    }
    bytes_.clear();
    tokenizer_->append_piece(id, special_, strip_, bytes_);
    utf8_.push(bytes_, out);
    return {};
  }
  /// Ends the text: an incomplete code point goes out by the policy for invalid bytes.
  void finish(std::string& out) { utf8_.finish(out); }

 private:
  const Tokenizer* tokenizer_;
  SpecialText special_;
  std::size_t strip_;
  Utf8Stream utf8_;
  std::string bytes_;
};

TRITIUM_NAMESPACE_END
