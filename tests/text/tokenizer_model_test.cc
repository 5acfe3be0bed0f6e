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
    const auto vocabulary = vocabulary_from_tokenizer_model(tritium_test::read_file(tritium_test::tokenizer_data("sp_" + name + ".model")));
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
        differences.append("decoded ").append(in_quotes(expected, 200)).append("\n  found ").append(in_quotes(*decoded, 200)).append("\n");
      }
    }
    INFO(name << ":\n" << differences);
    CHECK(differences.empty());
  }
}
