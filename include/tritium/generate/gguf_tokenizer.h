// SPDX-License-Identifier: Apache-2.0
// The tokenizer and chat template of a safetensors folder as the metadata of a GGUF file.
//
// GGUF knows three things about a tokenizer: its pieces with their kinds, merges under a named pre-tokenizer or scores,
// and a few switches. What does not fit in there would change ids without a word, so it is refused; where only rare
// texts are concerned it is said in a note instead. A tokenizer.json that spells a SentencePiece model as merges gets
// its scores back from the order of the merges, after a check that the two rules choose alike. Source: the tokenizer
// metadata of the GGUF specification; llama.cpp's converter for what each key is filled with.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "tritium/generate/text_model.h"
#include "tritium/text/tokenizer_model.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// The patterns that a tokenizer.json cuts text with, one after the other. Errors: unsupported, for a step that no
/// named pre-tokenizer has.
inline Result<std::vector<std::string>> split_patterns(const std::vector<SplitStep>& steps) {
  std::vector<std::string> patterns;
  for (const SplitStep& step : steps) {
    const bool plain = step.behavior == SplitBehavior::isolated && !step.invert;
    if (step.kind == SplitStep::Kind::rule) {
      patterns.emplace_back(rule_pattern(step.rule));
    } else if (step.kind == SplitStep::Kind::regex && plain) {
      patterns.push_back(step.pattern);
    } else if (step.kind == SplitStep::Kind::digits && plain) {
      patterns.emplace_back("\\p{N}");
    } else {
      return make_error(Errc::unsupported, "GGUF cannot name this pre-tokenizer", "tokenizer.json, pre_tokenizer",
                        "expressions that cut the text", "another step");
    }
  }
  return patterns;
}

inline Result<std::string_view> named_pre_tokenizer(const Vocabulary& v) {
  TRITIUM_ASSIGN(const std::vector<std::string> patterns, split_patterns(v.split_steps));
  for (const NamedPreTokenizer& known : kNamedPreTokenizers) {
    std::size_t n = 0;
    while (n < known.stages.size() && !known.stages[n].empty()) ++n;
    if (known.ignore_merges == v.ignore_merges && std::equal(patterns.begin(), patterns.end(), known.stages.begin(),
                                                             known.stages.begin() + static_cast<std::ptrdiff_t>(n))) {
      return known.name;
    }
  }
  return make_error(Errc::unsupported, "GGUF cannot name this pre-tokenizer", "tokenizer.json, pre_tokenizer",
                    "one that has a name", patterns.empty() ? std::string("none") : in_quotes(patterns[0], 80));
}

/// Scores under which joining the best-scored neighbours chooses as the merges do: a piece's score is minus the rank of
/// its first merge. Errors: unsupported when pieces exist that neighbours could join to and no merge makes, or when
/// merges of one piece stand on both sides of another's.
inline Result<std::vector<float>> scores_of_merges(const Vocabulary& v) {
  const auto refuse = [](std::string_view why, std::string_view piece) {
    return make_error(Errc::unsupported, "tokenizer.json has merges that scores cannot replace", "model.merges",
                      "those of a SentencePiece model", concat(why, " ", in_quotes(piece, 40)));
  };
  std::unordered_set<std::string_view> pieces;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    const bool may_join = v.type(i) == TokenType::normal || v.type(i) == TokenType::user_defined;
    if (may_join && !v.tokens[i].empty()) pieces.insert(v.tokens[i]);
  }
  std::unordered_map<std::string, std::size_t> first;  // piece -> number of its run of merges
  std::unordered_map<std::string, std::size_t> count;
  std::string last;
  for (const MergeRule& merge : v.merges) {
    const std::string made = concat(merge.left, merge.right);
    ++count[made];
    if (made == last) continue;
    if (!first.emplace(made, first.size()).second) return refuse("separated merges of", made);
    last = made;
  }
  std::vector<float> scores(v.tokens.size(), 0.0f);
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    const std::string_view token = v.tokens[i];
    if (v.type(i) != TokenType::normal || token.empty()) continue;
    std::size_t ways = 0;
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if (pieces.contains(token.substr(0, cut)) && pieces.contains(token.substr(cut))) ++ways;
    }
    const auto made = first.find(std::string(token));
    if (ways != (made == first.end() ? 0 : count[std::string(token)])) return refuse("not every merge of", token);
    // Single characters are never the outcome of a merge; their score does not matter.
    scores[i] = -static_cast<float>(made == first.end() ? first.size() + i : made->second);
  }
  return scores;
}

/// Turns the vocabulary of a tokenizer.json with merges over characters into that of a SentencePiece model.
inline Status merges_to_scores(Vocabulary& v, std::vector<std::string>& notes) {
  using Kind = NormalizeStep::Kind;
  constexpr std::string_view kMeta = "\xE2\x96\x81";
  SpaceRules spaces{false, false, false, false};
  const auto refuse = [](std::string_view where, std::string_view found) {
    return make_error(Errc::unsupported, "GGUF cannot say what tokenizer.json does", where,
                      "the steps of a SentencePiece model", found);
  };
  for (const NormalizeStep& step : v.normalizer) {
    if (step.kind == Kind::prepend && step.content == kMeta) spaces.add_prefix = true;
    else if (step.kind == Kind::replace && step.pattern == " " && step.content == kMeta) spaces.escape = true;
    else return refuse("normalizer", "another step");
  }
  for (const SplitStep& step : v.split_steps) {
    if (step.kind == SplitStep::Kind::metaspace && step.pattern == kMeta) {
      spaces.escape = true;
      spaces.add_prefix = spaces.add_prefix || step.prepend != SplitStep::Prepend::never;
      if (step.prepend == SplitStep::Prepend::first) {
        notes.emplace_back(
            "a GGUF tokenizer puts a space before the text behind every special token, this one only at the start");
      }
    } else if (!(step.kind == SplitStep::Kind::literal && step.pattern == " " && spaces.escape)) {  // no space is left
      return refuse("pre_tokenizer", "another step");
    }
  }
  if (!spaces.escape) return refuse("normalizer", "spaces that stay as they are");
  if (v.ignore_merges) return refuse("model.ignore_merges", "true");
  // An added token that spells its spaces is never found in a text: merges make it, as they make other pieces.
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.type(i) == TokenType::user_defined && v.tokens[i].find(kMeta) != std::string_view::npos)
      v.types[i] = TokenType::normal;
  }
  TRITIUM_ASSIGN(v.scores, scores_of_merges(v));
  v.spaces = spaces;
  v.merges.clear();
  return {};
}

/// The vocabulary of a SentencePiece model, with the added tokens that a tokenizer.json beside it has.
inline Result<Vocabulary> sentencepiece_vocabulary(const Checkpoint& folder, const Vocabulary* json) {
  TRITIUM_ASSIGN(const std::string source, folder.read_sibling("tokenizer.model", kMaxTokenizerBytes));
  std::string config, added;
  if (folder.has_sibling("tokenizer_config.json")) {
    TRITIUM_ASSIGN(config, folder.read_sibling("tokenizer_config.json", kMaxTokenizerBytes));
  }
  if (folder.has_sibling("added_tokens.json")) {
    TRITIUM_ASSIGN(added, folder.read_sibling("added_tokens.json", kMaxTokenizerBytes));
  }
  TRITIUM_ASSIGN(Vocabulary v, vocabulary_from_tokenizer_model(source, config, added));
  if (json == nullptr) return v;
  for (std::size_t i = 0; i < json->tokens.size(); ++i) {
    const std::string_view token = json->tokens[i];
    if (token.empty()) continue;
    if (i >= v.tokens.size()) {
      v.tokens.resize(i + 1);
      v.types.resize(i + 1, TokenType::unused);
      v.scores.resize(i + 1, 0.0f);
    }
    const bool special = json->type(i) == TokenType::control || json->type(i) == TokenType::user_defined;
    if (v.tokens[i].empty() || special) {
      v.tokens[i] = v.arena->add(token);
      v.types[i] = json->type(i);
    } else if (v.tokens[i] != token) {
      return make_error(Errc::invalid_file, "tokenizer.json and tokenizer.model differ", "token " + std::to_string(i),
                        in_quotes(v.tokens[i], 40), in_quotes(token, 40));
    }
  }
  v.bos = json->bos;
  v.eos = json->eos;
  v.unk = json->unk == kNoToken ? v.unk : json->unk;
  v.pad = json->pad;
  v.prefix = json->prefix;
  v.suffix = json->suffix;
  v.end_tokens = json->end_tokens;
  return v;
}

/// Fills keys from a vocabulary whose kind GGUF has. `rows`: of the token embedding, as many as the file must list
/// tokens.
class GgufTokenizerKeys {
 public:
  GgufTokenizerKeys(const Vocabulary& v, std::size_t rows, GgufWriter& writer, std::vector<std::string>& notes)
      : v_(v), rows_(rows), writer_(writer), notes_(notes) {}

  Status set() {
    const bool bytes = v_.kind == TokenizerKind::byte_level_bpe;
    TRITIUM_TRY(bytes ? set_byte_level() : set_sentencepiece());
    TRITIUM_TRY(set_tokens());
    TRITIUM_TRY(set_ids());
    std::size_t stripping = 0;
    for (const TokenFlags& flags : v_.flags)
      stripping += flags.strip_left || flags.strip_right || flags.single_word ? 1 : 0;
    if (stripping != 0) {
      notes_.push_back(
          concat("GGUF has no key for how ", stripping, " added tokens treat the white space and words beside them"));
    }
    return {};
  }

 private:
  static constexpr std::string_view kPrefix = "tokenizer.ggml.";
  static std::string key(std::string_view name) { return concat(kPrefix, name); }

  Status set_byte_level() {
    for (const NormalizeStep& step : v_.normalizer) {
      if (step.kind != NormalizeStep::Kind::nfc) {
        return make_error(Errc::unsupported, "GGUF cannot say what tokenizer.json does", "normalizer", "none, or NFC",
                          "another step");
      }
      notes_.emplace_back(
          "GGUF has no key for the tokenizer's NFC normalization: texts that are not in that form get other ids");
    }
    TRITIUM_ASSIGN(const std::string_view pre, named_pre_tokenizer(v_));
    TRITIUM_TRY(writer_.set(key("model"), std::string_view("gpt2")));
    TRITIUM_TRY(writer_.set(key("pre"), pre));
    std::vector<std::string> merges;
    merges.reserve(v_.merges.size());
    for (const MergeRule& merge : v_.merges) {
      if (merge.left.find(' ') != std::string_view::npos || merge.right.find(' ') != std::string_view::npos) {
        return make_error(Errc::unsupported, "GGUF cannot hold a merge", "tokenizer.json, model.merges",
                          "pieces without spaces", in_quotes(merge.left, 40));
      }
      merges.push_back(concat(merge.left, " ", merge.right));
    }
    return writer_.set_array(key("merges"), std::span<const std::string>(merges));
  }

  Status set_sentencepiece() {
    const SpaceRules& spaces = v_.spaces;
    if (spaces.remove_extra || spaces.as_suffix || !spaces.escape || !v_.charsmap.empty()) {
      return make_error(Errc::unsupported, "GGUF cannot say what tokenizer.model does", "normalizer_spec",
                        "spaces that are kept, and no character map",
                        spaces.remove_extra    ? "spaces that are removed"
                        : !v_.charsmap.empty() ? "a character map"
                                               : "spaces treated in another way");
    }
    TRITIUM_TRY(writer_.set(key("model"), std::string_view("llama")));
    TRITIUM_TRY(writer_.set(key("pre"), std::string_view("default")));
    return writer_.set(key("add_space_prefix"), spaces.add_prefix);
  }

  /// One token a row of the embedding: rows without one are padding, tokens without a row cannot be used.
  Status set_tokens() {
    constexpr std::string_view kMeta = "\xE2\x96\x81";
    const std::size_t n = rows_ == 0 ? v_.tokens.size() : rows_;
    std::vector<std::string> tokens(n);
    std::vector<std::int32_t> types(n, static_cast<std::int32_t>(TokenType::unused));
    std::vector<float> scores(n, -10000.0f);
    for (std::size_t i = 0; i < n; ++i) {
      if (i >= v_.tokens.size() || v_.tokens[i].empty()) {
        tokens[i] = concat("[PAD", i, "]");
        continue;
      }
      tokens[i] = v_.tokens[i];
      types[i] = static_cast<std::int32_t>(v_.type(i));
      if (!v_.scores.empty())
        scores[i] = v_.type(i) == TokenType::normal || v_.type(i) == TokenType::byte ? v_.scores[i] : -1000.0f;
      if (v_.kind == TokenizerKind::byte_level_bpe || v_.type(i) != TokenType::user_defined) continue;
      for (std::size_t at = tokens[i].find(kMeta); at != std::string::npos; at = tokens[i].find(kMeta, at + 1)) {
        tokens[i].replace(at, kMeta.size(), " ");  // GGUF spells them as they stand in a text
      }
    }
    if (v_.tokens.size() > n) {
      notes_.push_back(concat(v_.tokens.size() - n, " tokens without a row of the embedding are left out"));
    }
    TRITIUM_TRY(writer_.set_array(key("tokens"), std::span<const std::string>(tokens)));
    if (v_.kind != TokenizerKind::byte_level_bpe)
      TRITIUM_TRY(writer_.set_array(key("scores"), std::span<const float>(scores)));
    return writer_.set_array(key("token_type"), std::span<const std::int32_t>(types));
  }

  Status set_id(std::string_view name, std::int32_t id) {
    if (id == kNoToken) return {};
    if (rows_ != 0 && static_cast<std::size_t>(id) >= rows_) {
      return make_error(Errc::invalid_file, "special token has no row of the embedding", std::string(name),
                        concat("0 to ", rows_ - 1), std::to_string(id));
    }
    return writer_.set(key(name), static_cast<std::uint32_t>(id));
  }

  Status set_ids() {
    TRITIUM_TRY(set_id("bos_token_id", v_.bos));
    TRITIUM_TRY(set_id("eos_token_id", v_.eos));
    TRITIUM_TRY(set_id("unknown_token_id", v_.unk));
    TRITIUM_TRY(set_id("padding_token_id", v_.pad));
    // Further ids that end a text: a reader finds the usual ones by their spelling; others have two keys.
    Vocabulary spelled;
    spelled.tokens = v_.tokens;
    spelled.types = v_.types;
    find_end_tokens(spelled, true);
    std::vector<std::int32_t> more;
    for (const std::int32_t id : v_.end_tokens) {
      const auto known = [&](const std::vector<std::int32_t>& ids) {
        return std::find(ids.begin(), ids.end(), id) != ids.end();
      };
      if (id != v_.eos && !known(spelled.end_tokens) && !known(more)) more.push_back(id);
    }
    if (!more.empty()) TRITIUM_TRY(set_id("eot_token_id", more[0]));
    if (more.size() > 1) TRITIUM_TRY(set_id("eom_token_id", more[1]));
    if (more.size() > 2)
      notes_.push_back(concat("GGUF has no key for ", more.size() - 2, " more tokens that end a text"));
    const auto adds = [&](const std::vector<std::int32_t>& added, std::int32_t id,
                          std::string_view where) -> Result<bool> {
      if (added.empty()) return false;
      if (added.size() == 1 && added[0] == id) return true;
      return make_error(Errc::unsupported, "GGUF cannot say what the tokenizer puts around a text", where,
                        "one special token at most", concat(added.size(), " tokens"));
    };
    TRITIUM_ASSIGN(const bool bos, adds(v_.prefix, v_.bos, "before it"));
    TRITIUM_ASSIGN(const bool eos, adds(v_.suffix, v_.eos, "behind it"));
    TRITIUM_TRY(writer_.set(key("add_bos_token"), bos));
    return writer_.set(key("add_eos_token"), eos);
  }

  const Vocabulary& v_;
  std::size_t rows_;
  GgufWriter& writer_;
  std::vector<std::string>& notes_;
};

}  // namespace detail

/// Adds the tokenizer and the chat template of a safetensors folder to the metadata of a GGUF file whose token
/// embedding has `rows` rows. Answers with sentences about what GGUF leaves out. A folder without a tokenizer adds
/// nothing. Errors: unsupported (a tokenizer that would give other ids from a GGUF file), and those of
/// load_tokenizer().
inline Result<std::vector<std::string>> set_gguf_tokenizer(const Checkpoint& folder, std::size_t rows,
                                                           GgufWriter& writer) {
  return no_throw([&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> notes;
    const bool has_json = folder.has_sibling("tokenizer.json");
    const bool has_model = folder.has_sibling("tokenizer.model");
    if (!has_json && !has_model) {
      notes.emplace_back("the folder has no tokenizer, so the file has none either");
      return notes;
    }
    TRITIUM_ASSIGN(Vocabulary v, detail::vocabulary_from_folder(folder));
    if (v.kind != TokenizerKind::byte_level_bpe && has_model) {
      TRITIUM_ASSIGN(v, detail::sentencepiece_vocabulary(folder, &v));
    } else if (v.kind == TokenizerKind::merges_bpe) {
      TRITIUM_TRY(detail::merges_to_scores(v, notes));
    }
    if (v.kind == TokenizerKind::unigram) {
      return make_error(Errc::unsupported, "GGUF files of this family cannot hold the tokenizer",
                        printable_path(folder.folder()), "a BPE model", "a unigram model");
    }
    TRITIUM_TRY(detail::GgufTokenizerKeys(v, rows, writer, notes).set());
    TRITIUM_ASSIGN(const std::string chat, chat_template_source(folder));
    if (!chat.empty()) TRITIUM_TRY(writer.set("tokenizer.chat_template", std::string_view(chat)));
    return notes;
  });
}

TRITIUM_NAMESPACE_END
