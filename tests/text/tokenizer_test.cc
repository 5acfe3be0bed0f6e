// SPDX-License-Identifier: Apache-2.0
// What all vocabularies share: special tokens, broken bytes, decoding, streaming, limits.
#include "tritium/text/tokenizer.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <thread>

#include "support/cpu_timer.h"
#include "support/tokenizer_cases.h"
#include "tritium/text/tokenizer_json.h"
#include "tritium/text/tokenizer_model.h"

using namespace tritium;
using tritium_test::Json;
using Ids = std::vector<std::int32_t>;

namespace {

// 256 bytes in order, then `more`, typed as given.
Vocabulary bytes_and(const std::vector<std::pair<std::string, TokenType>>& more) {
  Vocabulary v;
  v.arena = std::make_shared<StringArena>();
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    append_utf8(byte_to_alias(static_cast<unsigned char>(byte)), spelling);
    v.tokens.push_back(v.arena->add(spelling));
    v.types.push_back(TokenType::normal);
  }
  for (const auto& [spelling, type] : more) {
    v.tokens.push_back(v.arena->add(spelling));
    v.types.push_back(type);
  }
  return v;
}

Tokenizer make(const Vocabulary& v) {
  auto t = Tokenizer::create(v);
  INFO((t.ok() ? "" : t.error().message));
  REQUIRE(t.ok());
  return *std::move(t);
}

// The tokenizers of the golden files, by name.
std::vector<std::pair<std::string, Tokenizer>> golden_tokenizers() {
  std::vector<std::pair<std::string, Tokenizer>> all;
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("pipelines.json")));
  for (const Json& entry : golden["tokenizers"]) {
    Json whole = {{"model", golden["models"][entry["model"].get<std::string>()]}};
    for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"})
      whole[part] = entry[part];
    for (const auto& change : entry["changes"].items()) whole["model"][change.key()] = change.value();
    const auto v = vocabulary_from_tokenizer_json(whole.dump());
    REQUIRE(v.ok());
    all.emplace_back(entry["name"].get<std::string>(), make(*v));
  }
  for (const char* name : {"llama", "llama_unused", "gemma", "bpe_rules", "bpe_suffix", "unigram", "unigram_bytes"}) {
    const auto v = vocabulary_from_tokenizer_model(
        tritium_test::read_file(tritium_test::tokenizer_data(std::string("sp_") + name + ".model")));
    REQUIRE(v.ok());
    all.emplace_back(name, make(*v));
  }
  return all;
}

// The slow definition of the order in which GGUF specials are found.
Ids partition_by_definition(const std::vector<std::pair<std::string, std::int32_t>>& specials,
                            const std::string& text) {
  struct Part {
    std::string text;
    std::int32_t id;
  };
  auto sorted = specials;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  std::vector<Part> parts{{text, kNoToken}};
  for (const auto& [spelling, id] : sorted) {
    std::vector<Part> next;
    for (const Part& part : parts) {
      if (part.id != kNoToken) {
        next.push_back(part);
        continue;
      }
      std::size_t from = 0;
      for (std::size_t at = part.text.find(spelling); at != std::string::npos; at = part.text.find(spelling, from)) {
        if (at > from) next.push_back({part.text.substr(from, at - from), kNoToken});
        next.push_back({"", id});
        from = at + spelling.size();
      }
      if (from < part.text.size()) next.push_back({part.text.substr(from), kNoToken});
    }
    parts = std::move(next);
  }
  Ids ids;
  for (const Part& part : parts) {
    if (part.id != kNoToken) ids.push_back(part.id);
    for (const char c : part.text) ids.push_back(static_cast<unsigned char>(c));
  }
  return ids;
}

}  // namespace

TEST_CASE("special tokens: longest first everywhere", "[tokenizer]") {
  std::mt19937 random(12);
  for (int table = 0; table < 60; ++table) {
    std::vector<std::pair<std::string, TokenType>> more;
    std::vector<std::pair<std::string, std::int32_t>> specials;
    for (int i = 0; i < 12; ++i) {
      std::string spelling;
      const std::size_t length = 2 + random() % 5;
      for (std::size_t k = 0; k < length; ++k) spelling.push_back("ab<"[random() % 3]);
      if (std::any_of(more.begin(), more.end(), [&](const auto& m) { return m.first == spelling; })) continue;
      specials.push_back({spelling, static_cast<std::int32_t>(256 + more.size())});
      more.push_back({spelling, TokenType::control});
    }
    const Tokenizer t = make(bytes_and(more));
    for (int round = 0; round < 40; ++round) {
      std::string text;
      for (std::size_t k = 0; k < random() % 40; ++k) text.push_back("ab<"[random() % 3]);
      const auto ids = t.encode(text);
      REQUIRE(ids.ok());
      INFO(text);
      REQUIRE(*ids == partition_by_definition(specials, text));
      REQUIRE(*t.encode(text, {true, false}) == partition_by_definition({}, text));
    }
  }
}

TEST_CASE("special tokens: the two orders, and what --no-special means", "[tokenizer]") {
  using enum TokenType;
  Vocabulary v = bytes_and({{"<a>", control}, {"<a><b>c", control}, {"x<a>", user_defined}, {"<u>", unknown}});
  Tokenizer gguf = make(v);
  CHECK(*gguf.encode("x<a><b>c") == Ids{'x', 257});
  CHECK(*gguf.encode("x<a>") == Ids{258});
  CHECK(*gguf.encode("<u>") == Ids{259});
  CHECK(*gguf.encode("x<a><u>", {true, false}) ==
        Ids{258, '<', 'u', '>'});  // added tokens always count, control tokens never
  v.leftmost_specials = true;
  Tokenizer json = make(v);
  CHECK(*json.encode("x<a><b>c") == Ids{258, '<', 'b', '>', 'c'});
  CHECK(*json.encode("<a><b>c") == Ids{257});
  CHECK(*json.encode("<a>", {true, false}) == Ids{'<', 'a', '>'});
}

TEST_CASE("white space and words around added tokens", "[tokenizer]") {
  using enum TokenType;
  Vocabulary v = bytes_and({{"<l>", control}, {"<r>", control}, {"word", user_defined}});
  v.leftmost_specials = true;
  v.flags = {{256, true, false, false, false, false},
             {257, false, true, false, false, false},
             {258, false, false, true, false, false}};
  const Tokenizer t = make(v);
  CHECK(*t.encode("a \xC2\xA0<l> b") == Ids{'a', 256, ' ', 'b'});
  CHECK(*t.encode("a <r> \n b") == Ids{'a', ' ', 257, 'b'});
  CHECK(*t.encode("<r>  <l>") == Ids{257, 256});
  CHECK(*t.encode("word") == Ids{258});
  CHECK(*t.encode("a word!") == Ids{'a', ' ', 258, '!'});
  CHECK(*t.encode("sword") == Ids{'s', 'w', 'o', 'r', 'd'});
  CHECK(*t.encode("words") == Ids{'w', 'o', 'r', 'd', 's'});
  CHECK(*t.encode("\xC3\xA9word") == Ids{0xC3, 0xA9, 'w', 'o', 'r', 'd'});
}

TEST_CASE("BOS and EOS are added, kept out, and undone", "[tokenizer]") {
  using enum TokenType;
  Vocabulary v = bytes_and({{"<bos>", control}, {"<eos>", control}});
  v.bos = 256;
  v.eos = 257;
  v.prefix = {256};
  v.suffix = {257};
  const Tokenizer t = make(v);
  CHECK(t.adds_bos());
  CHECK(t.is_eog(257));
  CHECK(*t.encode("") == Ids{256, 257});
  CHECK(*t.encode("a") == Ids{256, 'a', 257});
  CHECK(*t.encode("a", {false, true}) == Ids{'a'});
  const Ids ids{256, 'a', 256, 'b', 257};
  CHECK(*t.decode(ids) == "ab");
  CHECK(*t.decode(ids, {SpecialText::show, true}) == "<bos>a<bos>b<eos>");
  CHECK(*t.decode(ids, {SpecialText::show_but_added, true}) == "a<bos>b");
  for (const std::string text : {"", "a", "<bos>", "x<eos>", "<bos><eos>"}) {
    CHECK(*t.decode(*t.encode(text), {SpecialText::show_but_added, true}) == text);
  }
  const Ids outside{'a', 258};
  const auto failed = t.decode(outside);
  REQUIRE(!failed.ok());
  CHECK(failed.error().code == Errc::out_of_range);
  CHECK(!t.decode(Ids{-1}).ok());
  CHECK(t.spelling(256) == "<bos>");
  CHECK(t.piece(' ') == " ");
  CHECK(t.spelling(' ') == "\xC4\xA0");
  CHECK(t.find("\xC4\xA0") == ' ');
  CHECK(t.find("nothing") == kNoToken);
}

TEST_CASE("any bytes survive the way there and back where the vocabulary has bytes", "[tokenizer]") {
  std::mt19937 random(21);
  std::size_t checked = 0;
  for (const auto& [name, t] : golden_tokenizers()) {
    // Pipelines that normalize or drop characters cannot give the text back; they must still answer.
    const bool exact = name == "gpt2" || name == "llama3" || name == "o200k" || name == "smollm" ||
                       name == "deepseek3" || name == "falcon" || name == "llama2" || name == "gemma" ||
                       name == "llama" || name == "unigram_bytes" || name == "split-contiguous";
    for (int round = 0; round < 300; ++round) {
      std::string text;
      const std::size_t length = random() % 40;
      for (std::size_t i = 0; i < length; ++i) {
        if (round % 3 == 0) {
          text.push_back(static_cast<char>(random()));
        } else {
          append_utf8(static_cast<char32_t>(round % 3 == 1 ? random() % 0x3000 : random() % 0x110000), text);
        }
      }
      if (name == "gemma" && text.find("\xE2\x96\x81") != std::string::npos) continue;
      const auto ids = t.encode(text);
      INFO(name << ": " << in_quotes(text, 400));
      if (!ids.ok()) {
        CHECK(!exact);
        CHECK((ids.error().code == Errc::invalid_argument));
        continue;
      }
      for (const std::int32_t id : *ids) REQUIRE(t.contains(id));
      const auto back = t.decode(*ids, {SpecialText::show_but_added, true});
      REQUIRE(back.ok());
      if (exact && text.find("\xE2\x96\x81") == std::string::npos) {
        REQUIRE(*back == text);
        ++checked;
      }
    }
  }
  CHECK(checked > 2500);
}

TEST_CASE("invalid UTF-8 goes to byte tokens or is refused", "[tokenizer]") {
  const Tokenizer t = make(bytes_and({}));
  CHECK(*t.encode("a\xFF\xC3") == Ids{'a', 0xFF, 0xC3});
  CHECK(*t.encode("\xED\xA0\x80") == Ids{0xED, 0xA0, 0x80});  // a lone surrogate
  CHECK(*t.encode(std::string_view("\0a", 2)) == Ids{0, 'a'});
  Vocabulary v = bytes_and({});
  v.tokens[0xFF] = "";
  const Tokenizer partial = make(v);
  const auto refused = partial.encode("ok\xFF");
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK(refused.error().message.find("\\xff") != std::string::npos);
  v.tokens['q'] = "";
  CHECK(!make(v).encode("q").ok());
  v.tokens.push_back("<unk>");
  v.types.push_back(TokenType::unknown);
  v.unk = 256;
  CHECK(*make(v).encode("aqa") == Ids{'a', 256, 'a'});
}

TEST_CASE("a stream of ids decodes as the whole does", "[tokenizer]") {
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("pipelines.json")));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const auto& [name, t] : golden_tokenizers()) {
    for (const std::string& text : texts) {
      const auto ids = t.encode(text);
      if (!ids.ok()) continue;
      for (const DecodeOptions options :
           {DecodeOptions{SpecialText::hide, true}, DecodeOptions{SpecialText::show, false}}) {
        StreamDecoder stream(t, options, Utf8Stream::Invalid::keep);
        std::string out;
        for (const std::int32_t id : *ids) {
          REQUIRE(stream.push(id, out).ok());
        }
        stream.finish(out);
        INFO(name << ": " << in_quotes(text));
        REQUIRE(out == *t.decode(*ids, options));
      }
    }
    StreamDecoder stream(t);
    std::string out;
    CHECK(!stream.push(static_cast<std::int32_t>(t.size()), out).ok());
    CHECK(!stream.push(-1, out).ok());
  }
  // Bytes of one code point in several tokens: nothing comes out before the last.
  const Tokenizer t = make(bytes_and({}));
  StreamDecoder stream(t);
  std::string out;
  for (const std::int32_t id : {0xF0, 0x9F, 0x98}) {
    REQUIRE(stream.push(id, out).ok());
    CHECK(out.empty());
  }
  REQUIRE(stream.push(0x80, out).ok());
  CHECK(out == "\xF0\x9F\x98\x80");
  REQUIRE(stream.push(0xE4, out).ok());
  stream.finish(out);
  CHECK(out == "\xF0\x9F\x98\x80\xEF\xBF\xBD");
}

TEST_CASE("long hostile texts take less than a second a megabyte", "[tokenizer]") {
  const auto repeat = [](std::string_view unit) {
    std::string text;
    while (text.size() + unit.size() <= 1'000'000) text.append(unit);
    return text;
  };
  struct Case {
    const char* name;
    const char* unit;
  };
  static constexpr Case kCases[] = {{"no spaces", "abcdefghij"},
                                    {"spaces", " "},
                                    {"newlines", "\n"},
                                    {"one letter", "a"},
                                    {"marks", "\xCC\x81\xCC\xA3"},
                                    {"CJK", "\xE4\xBD\xA0"},
                                    {"emoji", "\xF0\x9F\x98\x80\xE2\x80\x8D"},
                                    {"meta", "\xE2\x96\x81"},
                                    {"invalid", "\xFF"},
                                    {"half valid",
                                     "\xFF"
                                     "a"},
                                    {"specials", "<s>"},
                                    {"almost specials", "<|im_start|"}};
  const auto tokenizers = golden_tokenizers();
  for (const Case& hostile : kCases) {
    const std::string whole = repeat(hostile.unit);
    for (const auto& [name, t] : tokenizers) {
      const bool main_kind = name == "gpt2" || name == "llama3" || name == "qwen2" || name == "llama2" ||
                             name == "llama" || name == "unigram_bytes";
      const std::string_view text = std::string_view(whole).substr(0, main_kind ? whole.size() : whole.size() / 10);
      const tritium_test::CpuTimer timer;
      const auto ids = t.encode(text);
      const double seconds = timer.seconds();
      INFO(name << " on " << hostile.name << ": " << seconds << " s");
      CHECK(seconds < (main_kind ? 1.0 : 0.2) * (TRITIUM_CHECKS ? 20 : 1));
      if (!ids.ok()) CHECK((ids.error().code == Errc::invalid_argument || ids.error().code == Errc::out_of_range));
    }
  }
}

TEST_CASE("thousands of overlapping special tokens stay fast", "[tokenizer]") {
  std::vector<std::pair<std::string, TokenType>> more;
  for (std::size_t length = 2; length <= 1000; length += 2)
    more.push_back({std::string(length, '\n'), TokenType::user_defined});
  for (int i = 0; i < 5000; ++i) more.push_back({"<unused" + std::to_string(i) + ">", TokenType::control});
  const Tokenizer t = make(bytes_and(more));
  std::string text(100'003, '\n');
  for (int i = 0; i < 20'000; ++i) text += "<unused" + std::to_string(i % 6000) + "> ";
  const tritium_test::CpuTimer timer;
  const auto ids = t.encode(text);
  const double seconds = timer.seconds();
  REQUIRE(ids.ok());
  CHECK(*t.decode(*ids, {SpecialText::show, true}) == text);
  CHECK((*ids)[0] == t.find(std::string(1000, '\n')));
  CHECK(seconds < (TRITIUM_CHECKS ? 20.0 : 1.0));
}

TEST_CASE("threads share a tokenizer", "[tokenizer]") {
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("pipelines.json")));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const auto& [name, t] : golden_tokenizers()) {
    std::vector<Ids> expected;
    for (const std::string& text : texts) {
      const auto ids = t.encode(text);
      expected.push_back(ids.ok() ? *ids : Ids{});
    }
    std::array<int, 3> wrong{};
    std::vector<std::thread> threads;
    for (int& count : wrong) {
      threads.emplace_back([&, tokenizer = &t] {
        for (std::size_t i = 0; i < texts.size(); ++i) {
          const auto ids = tokenizer->encode(texts[i]);
          if ((ids.ok() ? *ids : Ids{}) != expected[i]) ++count;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    INFO(name);
    CHECK(wrong == std::array<int, 3>{});
  }
}
