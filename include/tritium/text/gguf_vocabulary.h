// SPDX-License-Identifier: Apache-2.0
// The tokenizer metadata of a GGUF file (`tokenizer.ggml.*`) as a Vocabulary.
//
// The struct below holds the keys as they are in the file, so that whoever reads the file only copies; the defaults
// that the format leaves to the reader, and the corrections that real files need, are all here. WordPiece and other
// models are refused by name. Source: the GGUF specification; llama.cpp `llama_vocab::impl::load` (defaults,
// end-of-generation spellings).
#pragma once

#include "tritium/text/vocabulary.h"

TRITIUM_NAMESPACE_BEGIN

/// Keys under `tokenizer.ggml.` (views into the mapped file); what is absent stays empty.
struct GgufTokenizer {
  std::string_view model;                          ///< the algorithm: "llama", "gpt2", "t5", ...
  std::string_view pre;                            ///< the pre-tokenizer of "gpt2" vocabularies
  std::vector<std::string_view> tokens;            ///< in the order of ids
  std::span<const float> scores;                   ///< of SentencePiece pieces
  std::span<const std::int32_t> token_types;       ///< as llama.cpp numbers them
  std::vector<std::string_view> merges;            ///< "left right", by rank
  std::optional<std::uint32_t> bos_token_id;       ///< begins a text
  std::optional<std::uint32_t> eos_token_id;       ///< ends a text
  std::optional<std::uint32_t> eot_token_id;       ///< ends a turn
  std::optional<std::uint32_t> eom_token_id;       ///< ends a turn that calls a tool
  std::optional<std::uint32_t> unknown_token_id;   ///< for what no token spells
  std::optional<std::uint32_t> padding_token_id;   ///< fills a batch
  std::optional<bool> add_bos_token;               ///< put BOS before a text
  std::optional<bool> add_eos_token;               ///< put EOS behind a text
  std::optional<bool> add_space_prefix;            ///< put a space before a text
  std::optional<bool> remove_extra_whitespaces;    ///< single spaces, none at the ends
  std::optional<bool> escape_whitespaces;          ///< spaces become U+2581
  std::optional<bool> treat_whitespace_as_suffix;  ///< the added space goes to the end
  std::string_view precompiled_charsmap;           ///< SentencePiece's normalization
  std::string_view general_name;  ///< `general.name`: some files say only there what their special tokens do
};

/// Builds the vocabulary. `source`'s views and spans must live until Tokenizer::create() has run.
/// Errors: unsupported with the model or pre-tokenizer name; invalid_file for arrays that do not fit together.
inline Result<Vocabulary> vocabulary_from_gguf(const GgufTokenizer& source) {
  Vocabulary v;
  const auto missing = [](std::string_view key) {
    return make_error(Errc::invalid_file, "tokenizer metadata is incomplete", "tokenizer.ggml." + std::string(key),
                      "an array", "nothing");
  };
  std::int32_t default_bos = kNoToken;
  std::int32_t default_eos = kNoToken;
  std::int32_t default_unk = kNoToken;
  bool add_bos = false;
  bool add_eos = false;
  if (source.model == "gpt2") {
    v.kind = TokenizerKind::byte_level_bpe;
    if (source.merges.empty()) return missing("merges");
    const detail::NamedPreTokenizer* pre = find_pre_tokenizer(source.pre);
    if (pre == nullptr) {
      return make_error(Errc::unsupported, "unknown pre-tokenizer", "tokenizer.ggml.pre",
                        "a name that this build knows", source.pre.empty() ? "nothing" : in_quotes(source.pre, 80));
    }
    v.pre_tokenizer = source.pre;
    v.ignore_merges = pre->ignore_merges;
    add_bos = pre->add_bos;
    v.byte_fallback = true;
  } else if (source.model == "llama") {
    v.kind = TokenizerKind::score_bpe;
    if (source.scores.empty()) return missing("scores");
    v.spaces.add_prefix = source.add_space_prefix.value_or(true);
    v.fuse_unknown = true;
    default_bos = 1;
    default_eos = 2;
    default_unk = 0;
    add_bos = true;
  } else if (source.model == "gemma4") {
    v.kind = TokenizerKind::merges_bpe;
    if (source.merges.empty()) return missing("merges");
    v.split_newlines = true;
    add_bos = true;
  } else if (source.model == "t5") {
    v.kind = TokenizerKind::unigram;
    if (source.scores.empty()) return missing("scores");
    v.spaces.add_prefix = source.add_space_prefix.value_or(true);
    v.spaces.remove_extra = source.remove_extra_whitespaces.value_or(false);
    v.spaces.escape = source.escape_whitespaces.value_or(true);
    v.spaces.as_suffix = source.treat_whitespace_as_suffix.value_or(false);
    v.charsmap = source.precompiled_charsmap;
    v.byte_fallback = false;
    default_eos = 1;
    default_unk = 2;
    add_eos = true;
  } else {
    return make_error(Errc::unsupported, "unsupported tokenizer model", "tokenizer.ggml.model",
                      "gpt2, llama, gemma4 or t5", source.model.empty() ? "nothing" : in_quotes(source.model, 80));
  }
  if (v.spaces.add_prefix && !v.spaces.as_suffix) v.strip_decoded_spaces = 1;

  v.tokens = source.tokens;
  v.scores.assign(source.scores.begin(), source.scores.end());
  const std::size_t n = v.tokens.size();
  if (v.kind == TokenizerKind::byte_level_bpe || v.kind == TokenizerKind::merges_bpe) v.scores.clear();
  if (!source.token_types.empty() && source.token_types.size() != n) {
    return make_error(Errc::invalid_file, "token types do not fit the tokens", "tokenizer.ggml.token_type",
                      std::to_string(n), std::to_string(source.token_types.size()));
  }
  v.types.assign(n, TokenType::normal);
  for (std::size_t i = 0; i < source.token_types.size(); ++i) {
    const std::int32_t type = source.token_types[i];
    if (type < 0 || type > 6) {
      return make_error(Errc::invalid_file, "unknown token type",
                        "tokenizer.ggml.token_type[" + std::to_string(i) + "]", "0 to 6", std::to_string(type));
    }
    v.types[i] = static_cast<TokenType>(type);
  }
  v.merges.reserve(source.merges.size());
  for (std::size_t i = 0; i < source.merges.size(); ++i) {
    const std::string_view merge = source.merges[i];
    const std::size_t space = merge.find(' ', 1);  // the left part may itself begin with a space
    if (merge.size() < 3 || space == std::string_view::npos || space + 1 == merge.size()) {
      return make_error(Errc::invalid_file, "malformed merge", "tokenizer.ggml.merges[" + std::to_string(i) + "]",
                        "two pieces with a space between", in_quotes(merge, 60));
    }
    v.merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }

  const auto id_or = [](const std::optional<std::uint32_t>& id, std::int32_t fallback) -> Result<std::int32_t> {
    if (!id) return fallback;
    if (*id == std::numeric_limits<std::uint32_t>::max()) return kNoToken;  // -1: the file says there is none
    if (*id > kMaxTokens) {
      return make_error(Errc::invalid_file, "special token id is outside the vocabulary", "tokenizer.ggml",
                        "a token id", std::to_string(*id));
    }
    return static_cast<std::int32_t>(*id);
  };
  const auto within = [n](std::int32_t id) { return id >= 0 && static_cast<std::size_t>(id) < n ? id : kNoToken; };
  TRITIUM_ASSIGN(v.bos, id_or(source.bos_token_id, within(default_bos)));
  TRITIUM_ASSIGN(v.eos, id_or(source.eos_token_id, within(default_eos)));
  TRITIUM_ASSIGN(v.unk, id_or(source.unknown_token_id, within(default_unk)));
  TRITIUM_ASSIGN(v.pad, id_or(source.padding_token_id, kNoToken));
  add_bos =
      source.add_bos_token.value_or(add_bos) || source.model == "gemma4";  // some Gemma 4 files say false in error
  add_eos = source.add_eos_token.value_or(add_eos);
  if (add_bos && v.bos != kNoToken) v.prefix = {v.bos};
  if (add_eos && v.eos != kNoToken) v.suffix = {v.eos};

  find_end_tokens(v, true);
  TRITIUM_ASSIGN(const std::int32_t eot, id_or(source.eot_token_id, kNoToken));
  TRITIUM_ASSIGN(const std::int32_t eom, id_or(source.eom_token_id, kNoToken));
  if (eot != kNoToken) v.end_tokens.push_back(eot);
  if (eom != kNoToken) v.end_tokens.push_back(eom);

  // Phi-3's special tokens swallow the white space behind them; its GGUF files carry no flag for it.
  std::string name(source.general_name.substr(0, 256));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (v.kind == TokenizerKind::score_bpe &&
      (name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos)) {
    for (std::size_t i = 0; i < n; ++i) {
      const TokenType type = v.types[i];
      const std::string_view token = v.tokens[i];
      const bool special = type == TokenType::control || type == TokenType::unknown || type == TokenType::user_defined;
      if (!special || token == "<unk>" || token == "<s>" || token == "<|endoftext|>") continue;
      v.flags.push_back({static_cast<std::int32_t>(i), false, true, false, false});
    }
  }
  return v;
}

TRITIUM_NAMESPACE_END
