// SPDX-License-Identifier: Apache-2.0
// Vocabulary: everything a tokenizer needs to know, as plain data from whatever file held it.
//
// A GGUF reader, the tokenizer.json reader and the SentencePiece reader all fill this struct; Tokenizer::create() turns
// it into tables. Strings are views: into a mapped file that the caller keeps, or into the arena that travels with the
// struct. Neither needs to outlive create(). Files are hostile, so validate() holds every field against every other one
// before anything is built.
// Source: the tokenizer metadata of the GGUF specification; huggingface/tokenizers; sentencepiece_model.proto.
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tritium/text/pre_tokenizer.h"

TRITIUM_NAMESPACE_BEGIN

/// How text becomes ids.
enum class TokenizerKind : std::uint8_t {
  byte_level_bpe,  ///< ranked merges over bytes, after a pre-tokenizer (GPT-2, Llama 3, Qwen, Phi-4 ...)
  merges_bpe,      ///< ranked merges over code points, byte pieces for the rest (Gemma 4, Llama's tokenizer.json)
  score_bpe,       ///< SentencePiece BPE: merge whatever gives the piece of the highest score (Llama 2, Phi-3, Gemma)
  unigram,         ///< SentencePiece unigram: the segmentation of the highest total score (T5-like)
};

/// Values as in GGUF files.
enum class TokenType : std::uint8_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

/// The merge of rank i is merges[i].
struct MergeRule {
  std::string_view left;   ///< spelling
  std::string_view right;  ///< spelling
};

/// What a special or added token does to the text around it.
struct TokenFlags {
  std::int32_t id = kNoToken;  ///< of the token
  bool strip_left = false;     ///< white space before it belongs to it
  bool strip_right = false;    ///< white space behind it belongs to it
  bool single_word = false;    ///< only between non-word characters
  bool normalized = false;     ///< looked for after normalization, in its normalized spelling
  bool added = false;          ///< added to a SentencePiece model: found before it reads, not by it
};

/// How SentencePiece prepares text (score_bpe, unigram), and what decoding undoes.
struct SpaceRules {
  bool add_prefix = false;    ///< a space before the text (behind it with as_suffix)
  bool remove_extra = false;  ///< no spaces at the ends, single ones inside
  bool escape = true;         ///< spaces become U+2581
  bool as_suffix = false;     ///< the added space goes to the end
};

/// Owns strings at fixed addresses.
class StringArena {
 public:
  /// A copy of `text` that lives as long as the arena.
  std::string_view add(std::string_view text) {
    if (text.empty()) return {};
    if (text.size() > left_) {
      const std::size_t block = std::max(text.size(), kBlock);
      blocks_.push_back(std::make_unique<char[]>(block));
      next_ = blocks_.back().get();
      left_ = block;
    }
    std::memcpy(next_, text.data(), text.size());
    const std::string_view view(next_, text.size());
    next_ += text.size();
    left_ -= text.size();
    return view;
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{64} << 10;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

/// All that makes a tokenizer, from whatever file held it. Views live as long as `strings` and the file.
struct Vocabulary {
  TokenizerKind kind = TokenizerKind::byte_level_bpe;  ///< which algorithm

  std::vector<std::string_view> tokens;  ///< spelling in the file; index = id. Empty spellings are holes
  std::vector<TokenType> types;          ///< one for each token, or none: all normal
  std::vector<float> scores;             ///< one for each token (score_bpe), else none
  std::vector<double> log_probs;         ///< unigram scores as double; used instead of `scores` when not empty
  std::vector<MergeRule> merges;         ///< by rank
  std::vector<TokenFlags> flags;         ///< only tokens that need some

  std::int32_t bos = kNoToken;           ///< begins a text; kNoToken: none
  std::int32_t eos = kNoToken;           ///< ends a text; kNoToken: none
  std::int32_t unk = kNoToken;           ///< for what no token spells; kNoToken: none
  std::int32_t pad = kNoToken;           ///< fills a batch; kNoToken: none
  std::vector<std::int32_t> end_tokens;  ///< ids that end a generation (eos is one without being listed)
  std::vector<std::int32_t> prefix;      ///< put before the text: {bos} where the model wants one
  std::vector<std::int32_t> suffix;      ///< put behind it

  std::string pre_tokenizer;              ///< a GGUF name; or
  std::vector<SplitStep> split_steps;     ///< the steps of a tokenizer.json
  std::vector<NormalizeStep> normalizer;  ///< steps of a tokenizer.json

  SpaceRules spaces;                     ///< score_bpe, unigram, and `escape` for decoding of merges_bpe
  std::string charsmap;                  ///< SentencePiece's character map, compiled
  std::size_t strip_decoded_spaces = 0;  ///< leading spaces that decoding takes off again
  std::string unknown_text;  ///< what the unknown token leaves in decoded text, where control tokens leave nothing

  bool ignore_merges = false;       ///< a whole piece that is a token is taken without merging
  bool fuse_unknown = false;        ///< neighbouring unknown characters become one unknown token
  bool byte_fallback = true;        ///< characters without a token become byte tokens, where there are any
  bool split_newlines = false;      ///< Gemma 4: runs of newlines stand apart; a run that is a token is taken whole
  bool match_user_defined = false;  ///< SentencePiece: user-defined pieces are found while reading, longest first
  bool resegment_unused = false;    ///< SentencePiece: unused pieces are taken apart again
  bool user_defined_bonus = false;  ///< SentencePiece unigram: user-defined pieces always win
  bool leftmost_specials =
      false;  ///< specials: leftmost, then longest (tokenizer.json); else longest, then leftmost (GGUF)

  std::shared_ptr<StringArena> arena;  ///< owns the strings that no mapped file holds

  /// What kind of token an id has.
  [[nodiscard]] TokenType type(std::size_t id) const { return types.empty() ? TokenType::normal : types[id]; }
};

/// More tokens are refused.
inline constexpr std::size_t kMaxTokens = std::size_t{1} << 24;
/// Longer tokens are refused.
inline constexpr std::size_t kMaxTokenBytes = std::size_t{1} << 16;
inline constexpr std::size_t kMaxSpecialBytes = 1024;  ///< a special token is searched for at every position of a text
inline constexpr std::size_t kMaxUnigramBytes = 1024;  ///< so is every piece of a unigram vocabulary
/// More merges are refused.
inline constexpr std::size_t kMaxMerges = std::size_t{1} << 24;

/// The byte of a byte token, spelled strictly <0xNN> with upper-case digits, or -1.
constexpr int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
    else if (c >= 'A' && c <= 'F') value = value * 16 + (c - 'A' + 10);
    else return -1;
  }
  return value;
}

/// Checks everything that does not need a table: sizes, ids, types, scores, spellings of byte tokens. What needs
/// look-ups (equal spellings, merges) is checked where the tables are built, with the same kind of error.
inline Status validate(const Vocabulary& v) {
  const std::size_t n = v.tokens.size();
  const auto bad = [](std::string_view what, const std::string& where, const std::string& expected,
                      const std::string& found) {
    return make_error(Errc::invalid_file, what, where, expected, found);
  };
  if (n == 0 || n > kMaxTokens) {
    return bad("vocabulary has an impossible size", "tokens", "1 to " + std::to_string(kMaxTokens), std::to_string(n));
  }
  if (!v.types.empty() && v.types.size() != n) {
    return bad("token types do not fit the tokens", "token_type", std::to_string(n), std::to_string(v.types.size()));
  }
  const bool wants_scores = v.kind == TokenizerKind::score_bpe || v.kind == TokenizerKind::unigram;
  const std::size_t scores = v.log_probs.empty() ? v.scores.size() : v.log_probs.size();
  if ((wants_scores || scores != 0) && scores != n) {
    return bad("token scores do not fit the tokens", "scores", std::to_string(n), std::to_string(scores));
  }
  if (v.merges.size() > kMaxMerges) {
    return bad("vocabulary has an impossible number of merges", "merges", "at most " + std::to_string(kMaxMerges),
               std::to_string(v.merges.size()));
  }
  if (wants_scores && !v.merges.empty()) {
    return bad("a vocabulary with scores has no merges", "merges", "0", std::to_string(v.merges.size()));
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::string_view token = v.tokens[i];
    const std::string where = "token " + std::to_string(i);
    bytes += token.size();
    if (token.size() > kMaxTokenBytes) {
      return bad("token is too long", where, "at most " + std::to_string(kMaxTokenBytes) + " bytes",
                 std::to_string(token.size()));
    }
    const TokenType type = v.type(i);
    if (static_cast<unsigned>(type) > static_cast<unsigned>(TokenType::byte)) {
      return bad("unknown token type", where, "0 to 6", std::to_string(static_cast<unsigned>(type)));
    }
    if (type == TokenType::byte && byte_of_token(token) < 0) {
      return bad("byte token is misspelled", where, "<0x00> to <0xFF>", in_quotes(token, 40));
    }
    const bool special = type == TokenType::control || type == TokenType::user_defined || type == TokenType::unknown;
    if (special && token.size() > kMaxSpecialBytes) {
      return bad("special token is too long", where, "at most " + std::to_string(kMaxSpecialBytes) + " bytes",
                 std::to_string(token.size()));
    }
    if (v.kind == TokenizerKind::unigram && token.size() > kMaxUnigramBytes) {
      return bad("unigram piece is too long", where, "at most " + std::to_string(kMaxUnigramBytes) + " bytes",
                 std::to_string(token.size()));
    }
    const double score = !v.log_probs.empty() ? v.log_probs[i] : !v.scores.empty() ? double{v.scores[i]} : 0.0;
    if (!std::isfinite(score)) return bad("token score is not finite", where, "a finite number", std::to_string(score));
  }
  if (bytes > (std::size_t{1} << 30)) {
    return bad("vocabulary is too large", "tokens", "at most 1 GiB of text", std::to_string(bytes) + " bytes");
  }
  const auto check_id = [&](std::string_view name, std::int32_t id) -> Status {
    if (id >= 0 && static_cast<std::size_t>(id) < n) return {};
    return bad("special token id is outside the vocabulary", std::string(name), "0 to " + std::to_string(n - 1),
               std::to_string(id));
  };
  if (v.bos != kNoToken) TRITIUM_TRY(check_id("bos_token_id", v.bos));
  if (v.eos != kNoToken) TRITIUM_TRY(check_id("eos_token_id", v.eos));
  if (v.unk != kNoToken) TRITIUM_TRY(check_id("unknown_token_id", v.unk));
  if (v.pad != kNoToken) TRITIUM_TRY(check_id("padding_token_id", v.pad));
  for (const std::int32_t id : v.prefix) TRITIUM_TRY(check_id("prefix token", id));
  for (const std::int32_t id : v.suffix) TRITIUM_TRY(check_id("suffix token", id));
  for (const std::int32_t id : v.end_tokens) TRITIUM_TRY(check_id("end token", id));
  for (const TokenFlags& flags : v.flags) TRITIUM_TRY(check_id("flags", flags.id));
  return {};
}

namespace detail {

// Spellings that end a turn or a text. The first list means nothing else wherever it stands; the second counts only
// where the file types the token as control, because other vocabularies have the same spelling as ordinary text.
inline constexpr std::array<std::string_view, 12> kEndSpellings{
    "<|eot_id|>",    "<|im_end|>", "<|end|>",         "<|return|>",         "<|call|>", "<end_of_turn>",
    "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_utterance>", "<turn|>",  "<|tool_response>"};
inline constexpr std::array<std::string_view, 6> kEndControls{"</s>",
                                                              "<eos>",
                                                              "<EOT>",
                                                              "[EOT]",
                                                              "[EOS]",
                                                              "<\xEF\xBD\x9C"
                                                              "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

}  // namespace detail

/// Fills `end_tokens` with the ids whose spelling ends a generation. With `correct_types` the certain ones become
/// control tokens where a file calls them normal: a model must not run past its own end because of a slip in a
/// conversion.
inline void find_end_tokens(Vocabulary& v, bool correct_types) {
  bool returns = false;
  bool calls = false;
  std::int32_t end_id = kNoToken;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    const std::string_view token = v.tokens[i];
    if (token.size() < 4 || token.size() > 32 || (token[0] != '<' && token[0] != '[')) continue;
    const bool certain =
        (correct_types || v.type(i) != TokenType::normal) &&
        std::find(detail::kEndSpellings.begin(), detail::kEndSpellings.end(), token) != detail::kEndSpellings.end();
    const bool control = v.type(i) == TokenType::control;
    if (!certain && (!control || std::find(detail::kEndControls.begin(), detail::kEndControls.end(), token) ==
                                     detail::kEndControls.end())) {
      continue;
    }
    // Gemma 4 types its tool marker as user-defined, so that it shows in the output: leave that.
    if (v.types.empty()) v.types.assign(v.tokens.size(), TokenType::normal);
    if (v.type(i) == TokenType::normal) v.types[i] = TokenType::control;
    v.end_tokens.push_back(static_cast<std::int32_t>(i));
    returns = returns || token == "<|return|>";
    calls = calls || token == "<|call|>";
    if (token == "<|end|>") end_id = static_cast<std::int32_t>(i);
  }
  // With <|return|> and <|call|> in the vocabulary, <|end|> only closes a channel.
  if (returns && calls) std::erase(v.end_tokens, end_id);
}

TRITIUM_NAMESPACE_END
