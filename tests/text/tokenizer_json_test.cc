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
    Json whole = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"model", golden["models"][entry["model"].get<std::string>()]}};
    for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"}) whole[part] = entry[part];
    for (const auto& change : entry["changes"].items()) whole["model"][change.key()] = change.value();
    const auto vocabulary = vocabulary_from_tokenizer_json(whole.dump());
    INFO(name << ": " << (vocabulary.ok() ? "" : vocabulary.error().message));
    REQUIRE(vocabulary.ok());
    const auto tokenizer = Tokenizer::create(*vocabulary);
    INFO(name << ": " << (tokenizer.ok() ? "" : tokenizer.error().message));
    REQUIRE(tokenizer.ok());
    std::string differences;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (entry["ids"][i].is_null()) continue;
      const auto ids = tritium_test::parse_ids(entry["ids"][i].get<std::string>());
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
        differences.append("decoded ").append(in_quotes(expected, 200)).append("\n  found ").append(in_quotes(*decoded, 200)).append("\n");
      }
    }
    INFO(name << ":\n" << differences);
    CHECK(differences.empty());
  }
}
