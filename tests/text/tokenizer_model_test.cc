// SPDX-License-Identifier: Apache-2.0
// tokenizer.model against the `sentencepiece` package, on models that it trained.
#include "tritium/text/tokenizer_model.h"

#include <catch2/catch_test_macros.hpp>

#include "support/tokenizer_cases.h"

using namespace tritium;
using tritium_test::Json;

TEST_CASE("SentencePiece models give the ids and texts of the sentencepiece package", "[tokenizer_model]") {
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("sp.json")));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  REQUIRE(golden["models"].size() == 7);
  for (const Json& entry : golden["models"]) {
    const auto name = entry["name"].get<std::string>();
    const auto vocabulary =
        vocabulary_from_tokenizer_model(tritium_test::read_file(tritium_test::tokenizer_data("sp_" + name + ".model")));
    INFO(name << ": " << (vocabulary.ok() ? "" : vocabulary.error().message));
    REQUIRE(vocabulary.ok());
    const auto tokenizer = Tokenizer::create(*vocabulary);
    INFO(name << ": " << (tokenizer.ok() ? "" : tokenizer.error().message));
    REQUIRE(tokenizer.ok());
    std::string differences;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tritium_test::parse_ids(entry["ids"][i].get<std::string>());
      differences += tritium_test::encode_difference(*tokenizer, texts[i], ids, {false, false});
      const std::string key = std::to_string(i);
      const std::string expected = entry["text"].contains(key) ? entry["text"][key].get<std::string>() : texts[i];
      const auto decoded = tokenizer->decode(ids, {SpecialText::hide, true});
      REQUIRE(decoded.ok());
      if (*decoded != expected) {
        differences.append("decoded ")
            .append(in_quotes(expected, 200))
            .append("\n  found ")
            .append(in_quotes(*decoded, 200))
            .append("\n");
      }
    }
    INFO(name << ":\n" << differences);
    CHECK(differences.empty());
  }
}

namespace {

// Writes the wire format, sound or not.
std::string varint(std::uint64_t value) {
  std::string out;
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
  return out;
}
std::string integer(std::uint32_t field, std::uint64_t value) { return varint(field << 3).append(varint(value)); }
std::string bytes(std::uint32_t field, const std::string& content) {
  return varint(field << 3 | 2).append(varint(content.size())).append(content);
}
std::string real(std::uint32_t field, float value) {
  std::string out = varint(field << 3 | 5);
  out.append(reinterpret_cast<const char*>(&value), 4);
  return out;
}
std::string piece(const std::string& spelling, float score, std::uint64_t type) {
  return bytes(1, bytes(1, spelling).append(real(2, score)).append(integer(3, type)));
}
std::string sound_pieces() {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("a", -1, 1) + piece("b", -2, 1) + piece("ab", -0.5f, 1);
}
std::string sound_model() {
  return sound_pieces() + bytes(2, integer(3, 2)) + bytes(3, integer(3, 0).append(integer(4, 0)));
}

Result<Tokenizer> load(const std::string& file, const std::string& config = {}, const std::string& added = {}) {
  TRITIUM_ASSIGN(const Vocabulary v, vocabulary_from_tokenizer_model(file, config, added));
  return Tokenizer::create(v);
}

}  // namespace

TEST_CASE("a small tokenizer.model, its configuration and its added tokens", "[tokenizer_model]") {
  auto t = load(sound_model());
  INFO((t.ok() ? "" : t.error().message));
  REQUIRE(t.ok());
  CHECK(*t->encode("abba") == std::vector<std::int32_t>{1, 4, 3, 2});
  t = load(sound_model(), R"({"add_bos_token": false, "eos_token": "<|end|>", "added_tokens_decoder": {
      "1": {"content": "<s>", "special": true}, "5": {"content": "<|end|>", "special": true, "rstrip": true},
      "6": {"content": "bb", "special": false}}})",
           R"({"<|user|>": 7})");
  INFO((t.ok() ? "" : t.error().message));
  REQUIRE(t.ok());
  CHECK(*t->encode("abba<|end|>  bb<|user|>") == std::vector<std::int32_t>{2, 6, 2, 5, 6, 7});
  CHECK(*t->encode("<s><|end|>", {false, false}) == std::vector<std::int32_t>{0});
  CHECK(t->eos() == 5);
  CHECK(*t->decode(std::vector<std::int32_t>{2, 0, 6}) == "a \xE2\x81\x87 bb");
}

TEST_CASE("malformed tokenizer.model files are refused with a reason", "[tokenizer_model]") {
  const auto refuse = [](const std::string& what, const std::string& file, const std::string& config = {},
                         const std::string& added = {}) {
    const auto t = load(file, config, added);
    INFO(what);
    REQUIRE(!t.ok());
    INFO(t.error().message);
    CHECK(t.error().message.find(what) != std::string::npos);
    CHECK(t.error().message.find('\n') == std::string::npos);
  };
  const std::string pieces = sound_pieces();
  refuse("at least one piece", "");
  refuse("offset 1", std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11).substr(0, 1));
  refuse("found 18446744073709551615", std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11));
  refuse("at most 10 bytes", std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 13));
  refuse("found 5", std::string("\x0A\x05", 2));
  refuse("wire type", std::string("\x0B", 1));
  refuse("wire type", std::string("\x0C", 1));
  refuse("wire type", std::string("\x0F", 1));
  refuse("field number", std::string("\x02\x00", 2));
  refuse("wire type 2", integer(1, 5));
  refuse("wire type 2", pieces + integer(2, 5));
  refuse("wire type 2", pieces + integer(3, 5));
  refuse("4 bytes", pieces + varint(9 << 3 | 5) + "ab");
  refuse("8 bytes", pieces + varint(9 << 3 | 1) + "abcdefg");
  refuse("not empty", piece("", 0, 1));
  refuse("not empty", bytes(1, real(2, 0)));
  refuse("piece type", piece("a", 0, 0));
  refuse("piece type", piece("a", 0, 7));
  refuse("piece type", piece("a", 0, 1ull << 40));
  refuse("wire type 2", bytes(1, integer(1, 5)));
  refuse("wire type 5", bytes(1, integer(2, 5)));
  refuse("wire type 0", bytes(1, real(3, 5)));
  refuse("second one", pieces + piece("<unk2>", 0, 2));
  refuse("unknown piece", piece("a", 0, 1));
  refuse("same spelling", pieces + piece("a", 0, 1) + bytes(2, integer(3, 2)));
  refuse("misspelled", pieces + piece("<0x-1>", 0, 6) + bytes(2, integer(3, 2)));
  refuse("misspelled", pieces + piece("<0x4a>", 0, 6) + bytes(2, integer(3, 2)));
  refuse("not finite", pieces + piece("x", std::numeric_limits<float>::quiet_NaN(), 1));
  refuse("not finite", pieces + piece("x", std::numeric_limits<float>::infinity(), 1) + bytes(2, integer(3, 2)));
  refuse("found word", pieces + bytes(2, integer(3, 3)));
  refuse("found char", pieces + bytes(2, integer(3, 4)));
  refuse("found 9", pieces + bytes(2, integer(3, 9)));
  refuse("wire type 0", pieces + bytes(2, bytes(3, "x")));
  refuse("wire type 0", pieces + bytes(3, bytes(3, "x")));
  refuse("wire type 2", pieces + bytes(3, integer(2, 5)));
  refuse("precompiled_charsmap", pieces + bytes(3, bytes(2, "abc")));
  refuse("precompiled_charsmap", pieces + bytes(3, bytes(2, std::string("\xFF\xFF\xFF\x7F"
                                                                        "abcdefgh",
                                                                        12))));
  refuse("denormalizer", pieces + bytes(5, bytes(2, "abc")));
  refuse("unigram piece is too long", pieces + piece(std::string(1025, 'x'), 0, 1));
  refuse("token is too long", pieces + piece(std::string(65537, 'x'), 0, 1) + bytes(2, integer(3, 2)));
  refuse("added_tokens.json", sound_model(), "", "[");
  refuse("added_tokens.json", sound_model(), "", "[]");
  refuse("added_tokens.json", sound_model(), "", R"({"x": "5"})");
  refuse("far outside", sound_model(), "", R"({"x": 9000000})");
  refuse("another token", sound_model(), "", R"({"x": 2})");
  refuse("same spelling", sound_model(), "", R"({"x": 5, "y": 6, "a": 7})");
  refuse("malformed token id", sound_model(), R"({"added_tokens_decoder": {"-1": {"content": "x"}}})");
  refuse("malformed token id", sound_model(),
         R"({"added_tokens_decoder": {"12345678901234567890": {"content": "x"}}})");
  refuse("content", sound_model(), R"({"added_tokens_decoder": {"5": 3}})");
}

TEST_CASE("changed and cut tokenizer.model files are refused or load, nothing else", "[tokenizer_model]") {
  const std::string file = sound_model();
  for (std::size_t length = 0; length < file.size(); ++length) (void)load(file.substr(0, length));
  std::size_t loaded = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (int value = 0; value < 256; value += 5) {
      std::string changed = file;
      changed[at] = static_cast<char>(value);
      const auto t = load(changed);
      if (!t.ok()) continue;
      ++loaded;
      const auto ids = t->encode("abba <s> \xFF");
      if (ids.ok()) REQUIRE(t->decode(*ids).ok());
    }
  }
  CHECK(loaded > 100);
  // A real one, cut everywhere and with bytes changed here and there.
  const std::string trained = tritium_test::read_file(tritium_test::tokenizer_data("sp_unigram.model"));
  for (std::size_t at = 0; at < trained.size(); at += 3) {
    (void)load(trained.substr(0, at));
    std::string changed = trained;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    const auto t = load(changed);
    if (t.ok()) (void)t->encode("word \xEF\xAC\x81 th\xC2\xBD");
  }
}
