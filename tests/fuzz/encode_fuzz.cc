// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as text. Where a vocabulary has all bytes and nothing normalizes, decoding gives them
// back, in one go and as a stream; the first byte chooses the vocabulary.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tritium/text/tokenizer.h"

namespace {

using namespace tritium;

Tokenizer build(int kind) {
  Vocabulary v;
  v.arena = std::make_shared<StringArena>();
  const auto add = [&](std::string_view spelling, TokenType type, float score) {
    v.tokens.push_back(v.arena->add(spelling));
    v.types.push_back(type);
    v.scores.push_back(score);
  };
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    if (kind < 4) {
      append_utf8(byte_to_alias(static_cast<unsigned char>(byte)), spelling);
    } else {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      spelling = name;
    }
    add(spelling, kind < 4 ? TokenType::normal : TokenType::byte, 0);
  }
  const std::string space = kind < 4 ? "\xC4\xA0" : "\xE2\x96\x81";
  if (kind >= 4) {
    for (const char* letter : {"a", "b", "h", "e", "t", "\n", "\xE2\x96\x81", "\xC3\xA9"})
      add(letter, TokenType::normal, -50);
  }
  for (const std::string& piece :
       {std::string("th"), std::string("the"), space + "the", std::string("ab"), std::string("abab")})
    add(piece, TokenType::normal, -static_cast<float>(piece.size()));
  add("<s>", TokenType::control, 0);
  add("ab<", TokenType::user_defined, 0);
  v.prefix = {v.bos = static_cast<std::int32_t>(v.tokens.size()) - 2};
  if (kind < 4) {
    v.scores.clear();
    v.merges = {{"t", "h"}, {"th", "e"}, {v.arena->add(space), "the"}, {"a", "b"}, {"ab", "ab"}};
    v.pre_tokenizer = kind == 0 ? "gpt-2" : kind == 1 ? "llama-bpe" : kind == 2 ? "gpt-4o" : "deepseek-llm";
    v.ignore_merges = kind == 1;
  } else {
    v.kind = kind == 4 ? TokenizerKind::score_bpe : kind == 5 ? TokenizerKind::unigram : TokenizerKind::merges_bpe;
    if (kind == 6) {
      v.scores.clear();
      v.merges = {{"t", "h"}, {"th", "e"}, {v.arena->add(space), "the"}, {"a", "b"}, {"ab", "ab"}};
      v.split_newlines = true;
    } else {
      v.spaces.add_prefix = true;
      v.strip_decoded_spaces = 1;
    }
  }
  auto t = Tokenizer::create(v);
  if (!t.ok()) std::abort();
  return *std::move(t);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer tokenizers[] = {build(0), build(1), build(2), build(3), build(4), build(5), build(6)};
  if (size == 0) return 0;
  const int kind = data[0] % 7;
  const Tokenizer& tokenizer = tokenizers[kind];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const bool parse : {false, true}) {
    const auto ids = tokenizer.encode(text, {true, parse});
    if (!ids.ok()) std::abort();
    const auto whole = tokenizer.decode(*ids, {SpecialText::show_but_added, true});
    if (!whole.ok()) std::abort();
    // U+2581 stands for a space in SentencePiece, and a special token starts a passage with a space of its own.
    const bool exact = kind < 4 || (text.find("\xE2\x96\x81") == std::string_view::npos &&
                                    (kind == 6 || text.find("<") == std::string_view::npos));
    if (exact && *whole != text) std::abort();
    StreamDecoder stream(tokenizer, {SpecialText::show, true}, Utf8Stream::Invalid::keep);
    std::string streamed;
    for (const std::int32_t id : *ids) {
      if (!stream.push(id, streamed).ok()) std::abort();
    }
    stream.finish(streamed);
    if (streamed != *tokenizer.decode(*ids, {SpecialText::show, true})) std::abort();
  }
  return 0;
}
