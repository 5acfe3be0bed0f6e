// SPDX-License-Identifier: Apache-2.0
// tokenizer.json against the `tokenizers` package: every pipeline of pipelines.json, ids and decoded text.
#include "tritium/text/tokenizer_json.h"

#include <catch2/catch_test_macros.hpp>

#include "support/tokenizer_cases.h"

using namespace tritium;
using tritium_test::Json;

TEST_CASE("pipelines give the ids and texts of the tokenizers package", "[tokenizer_json]") {
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("pipelines.json")));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  REQUIRE(texts.size() > 200);
  REQUIRE(golden["tokenizers"].size() > 25);
  for (const Json& entry : golden["tokenizers"]) {
    const auto name = entry["name"].get<std::string>();
    Json whole = {{"version", "1.0"},
                  {"truncation", nullptr},
                  {"padding", nullptr},
                  {"model", golden["models"][entry["model"].get<std::string>()]}};
    for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"})
      whole[part] = entry[part];
    for (const auto& change : entry["changes"].items()) whole["model"][change.key()] = change.value();
    const auto vocabulary = vocabulary_from_tokenizer_json(whole.dump());
    INFO(name << ": " << (vocabulary.ok() ? "" : vocabulary.error().message));
    REQUIRE(vocabulary.ok());
    const auto tokenizer = Tokenizer::create(*vocabulary);
    INFO(name << ": " << (tokenizer.ok() ? "" : tokenizer.error().message));
    REQUIRE(tokenizer.ok());
    std::string differences;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Json* stored = &entry["ids"][i];
      if (stored->is_null()) continue;
      if (stored->is_number())
        stored = &golden["tokenizers"][stored->get<std::size_t>()]["ids"][i];  // the same as another's
      const auto ids = tritium_test::parse_ids(stored->get<std::string>());
      differences += tritium_test::encode_difference(*tokenizer, texts[i], ids, {true, true});
      const std::string key = std::to_string(i);
      if (entry["plain"].contains(key)) {
        differences += tritium_test::encode_difference(
            *tokenizer, texts[i], tritium_test::parse_ids(entry["plain"][key].get<std::string>()), {false, false});
      }
      if (entry["text"].contains(key) && entry["text"][key].is_null()) continue;
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

// The smallest sound file; tests change one part of it.
Json sound() {
  return Json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": [["a", "b"]]}
  })");
}

Result<Tokenizer> load(const std::string& text, const std::string& config = {}) {
  TRITIUM_ASSIGN(const Vocabulary v, vocabulary_from_tokenizer_json(text, config));
  return Tokenizer::create(v);
}

}  // namespace

TEST_CASE("a small tokenizer.json and its configuration", "[tokenizer_json]") {
  auto t = load(sound().dump());
  INFO((t.ok() ? "" : t.error().message));
  REQUIRE(t.ok());
  CHECK(*t->encode("abc") == std::vector<std::int32_t>{4, 3, 2});
  CHECK(t->bos() == 4);
  CHECK(t->adds_bos());
  Json legacy = sound();
  legacy["model"]["merges"] = Json::array({"#version: 0.2", "a b"});
  t = load(legacy.dump());
  REQUIRE(t.ok());
  CHECK(*t->encode("ab") == std::vector<std::int32_t>{4, 3});
  t = load(sound().dump(),
           R"({"bos_token": {"content": "<s>"}, "eos_token": "c", "add_bos_token": false, "add_eos_token": true})");
  REQUIRE(t.ok());
  CHECK(*t->encode("ab") == std::vector<std::int32_t>{3, 2});
  CHECK(t->eos() == 2);
  CHECK(t->is_eog(2));
  CHECK(!t->adds_bos());
}

TEST_CASE("malformed and unsupported tokenizer.json files are refused with a reason", "[tokenizer_json]") {
  const auto refuse_text = [](const std::string& what, const std::string& text, const std::string& config = {}) {
    const auto t = load(text, config);
    INFO(what << "\n" << text.substr(0, 300));
    REQUIRE(!t.ok());
    INFO(t.error().message);
    CHECK(t.error().message.find(what) != std::string::npos);
    CHECK(t.error().message.find('\n') == std::string::npos);
    CHECK(t.error().message.size() < 500);
  };
  const auto refuse = [&](const std::string& what, auto&& change) {
    Json json = sound();
    change(json);
    refuse_text(what, json.dump());
  };
  // Not JSON, or too much of it.
  refuse_text("malformed JSON", "");
  refuse_text("malformed JSON", "{");
  refuse_text("malformed JSON", "{\"model\":");
  refuse_text("malformed JSON", sound().dump() + "x");
  refuse_text("malformed JSON", "{\"a\": \"\xFF\"}");
  refuse_text("malformed JSON", "{\"a\": 1e999999}");
  refuse_text("malformed JSON", std::string("{\"a\"\0: 1}", 9));
  refuse_text("nesting", std::string(100, '['));
  refuse_text("nesting", std::string(1'000'000, '['));
  {
    std::string deep;
    for (int i = 0; i < 5000; ++i) deep += "{\"a\":";
    refuse_text("nesting", deep);
  }
  refuse_text("an object", "[]");
  refuse_text("an object", "17");
  refuse_text("twice", "{\"model\": {}, \"model\": {}}");
  refuse_text("model", "{}");
  refuse_text("model", "{\"model\": 3}");
  // The model.
  refuse("\"WordPiece\"", [](Json& j) { j["model"]["type"] = "WordPiece"; });
  refuse("\"WordLevel\"", [](Json& j) { j["model"]["type"] = "WordLevel"; });
  refuse("model.type", [](Json& j) { j["model"]["type"] = 5; });
  refuse("model.vocab", [](Json& j) { j["model"].erase("vocab"); });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"] = "x"; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"] = Json::array(); });
  refuse("model.vocab", [](Json& j) { j["model"]["type"] = "Unigram"; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = "0"; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = nullptr; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = true; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = -1; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = 0.5; });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = Json::array(); });
  refuse("model.vocab", [](Json& j) { j["model"]["vocab"]["a"] = Json::object(); });
  refuse("far outside", [](Json& j) { j["model"]["vocab"]["a"] = 16000000; });
  refuse("impossible id", [](Json& j) { j["model"]["vocab"]["a"] = 4294967296u; });
  refuse("impossible id", [](Json& j) { j["model"]["vocab"]["a"] = 18446744073709551615u; });
  refuse("same id", [](Json& j) { j["model"]["vocab"]["b"] = 0; });
  refuse_text("same spelling", R"({"model": {"vocab": {"a": 0, "a": 1}, "merges": []}})");
  refuse("impossible size", [](Json& j) {
    j["model"]["vocab"] = Json::object(), j["model"]["merges"] = Json::array(), j["added_tokens"] = nullptr;
  });
  refuse("not two pieces", [](Json& j) { j["model"]["merges"] = {"ab"}; });
  refuse("not two pieces", [](Json& j) { j["model"]["merges"] = {"a b c"}; });
  refuse("not two pieces", [](Json& j) { j["model"]["merges"] = {" b"}; });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = {{"a", "b"}}; });  // an object
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = "a b"; });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = {3}; });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = {nullptr}; });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a"})}); });
  refuse("two pieces", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a", "b", "c"})}); });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a", 1})}); });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({Json::array({"a"}), "b"})}); });
  refuse("model.merges", [](Json& j) { j["model"]["merges"] = Json::array({Json::object()}); });
  refuse("unknown piece", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a", "zz"})}); });
  refuse("unknown piece", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"", "a"})}); });
  refuse("missing", [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"b", "a"})}); });
  refuse("given twice",
         [](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a", "b"}), Json::array({"a", "b"})}); });
  refuse("dropout", [](Json& j) { j["model"]["dropout"] = 0.1; });
  refuse("continuing_subword_prefix", [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; });
  refuse("end_of_word_suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; });
  refuse("model.ignore_merges", [](Json& j) { j["model"]["ignore_merges"] = 1; });
  refuse("model.unk_token", [](Json& j) { j["model"]["unk_token"] = "<none>"; });
  refuse("model.unk_token", [](Json& j) { j["model"]["unk_token"] = 0; });
  const auto unigram = [](Json& j) {
    j["model"] = {{"type", "Unigram"},
                  {"unk_id", 0},
                  {"vocab", Json::array({Json::array({"<unk>", 0.0}), Json::array({"a", -1.0})})}};
    j["added_tokens"] = nullptr;
    j["post_processor"] = nullptr;
    j["pre_tokenizer"] = nullptr;
    j["decoder"] = nullptr;
  };
  {
    Json j = sound();
    unigram(j);
    REQUIRE(load(j.dump()).ok());
  }
  refuse("unk_id", [&](Json& j) { unigram(j), j["model"]["unk_id"] = 2; });
  refuse("unk_id", [&](Json& j) { unigram(j), j["model"]["unk_id"] = -1; });
  refuse("unk_id", [&](Json& j) { unigram(j), j["model"]["unk_id"] = "a"; });
  refuse("model.vocab", [&](Json& j) { unigram(j), j["model"]["vocab"][1] = "a"; });
  refuse("model.vocab", [&](Json& j) { unigram(j), j["model"]["vocab"][1] = {"a"}; });
  refuse("model.vocab", [&](Json& j) { unigram(j), j["model"]["vocab"][1] = {-1.0, "a"}; });
  refuse("model.vocab", [&](Json& j) { unigram(j), j["model"]["vocab"][1] = {"a", -1.0, 3}; });
  refuse("same spelling", [&](Json& j) { unigram(j), j["model"]["vocab"][1] = {"<unk>", -1.0}; });
  refuse("ByteLevel", [&](Json& j) {
    unigram(j), j["pre_tokenizer"] = {{"type", "ByteLevel"}}, j["decoder"] = {{"type", "ByteLevel"}};
  });
  // Steps that are not known, by name.
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    refuse("\"Mystery\"", [&](Json& j) { j[part] = {{"type", "Mystery"}}; });
    refuse("type", [&](Json& j) { j[part] = Json::object(); });
    refuse(part, [&](Json& j) { j[part] = 5; });
    refuse(part, [&](Json& j) { j[part] = Json::array(); });
    refuse("an array", [&](Json& j) { j[part] = {{"type", "Sequence"}}; });
  }
  refuse("\"BertNormalizer\"", [](Json& j) { j["normalizer"] = {{"type", "BertNormalizer"}}; });
  refuse("normalizers[1]", [](Json& j) {
    j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "ByteLevel"}}}}};
  });
  refuse("normalizer.prepend", [](Json& j) { j["normalizer"] = {{"type", "Prepend"}}; });
  refuse("pattern", [](Json& j) { j["normalizer"] = {{"type", "Replace"}, {"content", "x"}}; });
  refuse("regular expression",
         [](Json& j) { j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", "x"}}; });
  refuse("base64", [](Json& j) { j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "A"}}; });
  refuse("base64", [](Json& j) { j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AA=A"}}; });
  refuse("base64", [](Json& j) { j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "A A A"}}; });
  refuse("precompiled_charsmap",
         [](Json& j) { j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}}; });
  refuse("\"UnicodeScripts\"", [](Json& j) { j["pre_tokenizer"] = {{"type", "UnicodeScripts"}}; });
  refuse("\"BertPreTokenizer\"", [](Json& j) { j["pre_tokenizer"] = {{"type", "BertPreTokenizer"}}; });
  const auto split = [](Json pattern, const char* behavior) {
    return Json{{"type", "Sequence"},
                {"pretokenizers",
                 {{{"type", "Split"}, {"pattern", std::move(pattern)}, {"behavior", behavior}, {"invert", false}},
                  {{"type", "ByteLevel"}}}}};
  };
  refuse("regular expression", [&](Json& j) { j["pre_tokenizer"] = split({{"Regex", "[a&&b]"}}, "Isolated"); });
  refuse("regular expression", [&](Json& j) { j["pre_tokenizer"] = split({{"Regex", ""}}, "Isolated"); });
  refuse("regular expression", [&](Json& j) { j["pre_tokenizer"] = split({{"Regex", "\\h+"}}, "Isolated"); });
  refuse("\"Sideways\"", [&](Json& j) { j["pre_tokenizer"] = split({{"Regex", "a"}}, "Sideways"); });
  refuse("pattern", [&](Json& j) { j["pre_tokenizer"] = split(5, "Isolated"); });
  refuse("ByteLevel", [](Json& j) {
    j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "ByteLevel"}}}}};
  });
  refuse("replacement", [](Json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "ab"}}; });
  refuse("replacement", [](Json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", ""}}; });
  refuse("\"maybe\"", [](Json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}, {"prepend_scheme", "maybe"}}; });
  refuse("length", [](Json& j) { j["pre_tokenizer"] = {{"type", "FixedLength"}, {"length", 0}}; });
  refuse("length", [](Json& j) { j["pre_tokenizer"] = {{"type", "FixedLength"}, {"length", -1}}; });
  refuse("decoder", [](Json& j) { j["decoder"] = {{"type", "Metaspace"}}; });  // does not undo ByteLevel
  refuse("decoder", [](Json& j) { j["pre_tokenizer"] = nullptr; });
  refuse("\"WordPiece\"", [](Json& j) { j["decoder"] = {{"type", "WordPiece"}}; });
  refuse("\"CTC\"", [](Json& j) { j["decoder"] = {{"type", "CTC"}}; });
  refuse("\"Strip\"", [](Json& j) { j["decoder"] = {{"type", "Strip"}, {"content", "x"}, {"start", 1}, {"stop", 0}}; });
  refuse("special_tokens", [](Json& j) { j["post_processor"].erase("special_tokens"); });
  refuse("ids", [](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"] = {"4"}; });
  refuse("prefix token", [](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"] = {99}; });
  refuse("text twice", [](Json& j) { j["post_processor"]["single"].push_back({{"Sequence", {{"id", "A"}}}}); });
  refuse("without the text", [](Json& j) { j["post_processor"]["single"] = Json::array(); });
  refuse("SpecialToken", [](Json& j) { j["post_processor"]["single"] = {5}; });
  // Added tokens.
  refuse("added_tokens", [](Json& j) { j["added_tokens"] = 5; });
  refuse("added_tokens[0].id", [](Json& j) { j["added_tokens"][0].erase("id"); });
  refuse("added_tokens[0].id", [](Json& j) { j["added_tokens"][0]["id"] = "4"; });
  refuse("added_tokens[0].content", [](Json& j) { j["added_tokens"][0]["content"] = 5; });
  refuse("added_tokens[0].special", [](Json& j) { j["added_tokens"][0]["special"] = "yes"; });
  refuse("far outside", [](Json& j) { j["added_tokens"][0]["id"] = 1000000000; });
  refuse("far outside", [](Json& j) { j["added_tokens"][0]["id"] = -5; });
  refuse("another token", [](Json& j) { j["added_tokens"][0]["id"] = 2; });
  refuse("same spelling", [](Json& j) { j["added_tokens"][0]["content"] = "ab"; });
  refuse("special token is too long", [](Json& j) { j["added_tokens"][0]["content"] = std::string(2000, 'x'); });
  // The configuration.
  refuse_text("tokenizer_config.json", sound().dump(), "{");
  refuse_text("add_bos_token", sound().dump(), R"({"bos_token": "<s>", "add_bos_token": 1})");
}

TEST_CASE("changed and cut tokenizer.json files are refused or load, nothing else", "[tokenizer_json]") {
  const std::string text = sound().dump();
  for (std::size_t length = 0; length < text.size(); ++length) CHECK(!load(text.substr(0, length)).ok());
  std::size_t loaded = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char c : {'"', '[', '}', '9', '\\', ' ', '\xFF'}) {
      std::string changed = text;
      changed[at] = c;
      const auto t = load(changed);
      if (!t.ok()) continue;
      ++loaded;
      const auto ids = t->encode("abc <s> x");
      if (ids.ok()) REQUIRE(t->decode(*ids).ok());
    }
  }
  CHECK(loaded > 20);
}
