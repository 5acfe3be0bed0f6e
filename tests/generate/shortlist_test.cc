// SPDX-License-Identifier: Apache-2.0
// Texts with a shortlisted head: the same, whatever decides on a token.
#include "tritium/model/shortlist.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "support/golden_models.h"
#include "support/golden_tokenizer.h"
#include "tritium/generate/session.h"

using namespace tritium;

TEST_CASE("sampled and greedy texts are the same with a shortlist", "[shortlist]") {
  const Tokenizer tokenizer = golden_tokenizer("llama");  // any will do for ids
  for (const char* name : {"gemma3", "phi", "llama"}) {   // tied; untied with a bias; untied
    CAPTURE(name);
    LoadOptions options;
    const auto whole = load_path(golden_row(name).gguf(), options);
    options.shortlist = PackFormat::int5_g32;
    const auto listed = load_path(golden_row(name).gguf(), options);
    REQUIRE_FALSE(listed->weights.shortlist.coarse.empty());
    for (const float temperature : {0.0f, 1.5f}) {
      for (const float penalty : {1.0f, 1.3f, 0.8f}) {
        std::vector<std::int32_t> texts[2];
        for (const bool with : {false, true}) {
          Session session = value_of(Session::create(with ? *listed : *whole, tokenizer, {.context = 60}, {}));
          GenerateOptions generate;
          generate.max_tokens = 40;
          generate.ignore_eos = true;
          generate.sampler.temperature = temperature;
          generate.sampler.repeat_penalty = penalty;
          generate.sampler.top_k = 12;
          generate.sampler.seed = 5;
          const std::vector<std::int32_t> prompt{20, 21, 22, 23};
          REQUIRE(session.generate(prompt, generate, [](std::string_view) { return true; }).ok());
          texts[with ? 1 : 0].assign(session.tokens().begin(), session.tokens().end());
        }
        CHECK(texts[0] == texts[1]);
      }
    }
  }
}
