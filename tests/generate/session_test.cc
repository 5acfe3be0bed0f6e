// SPDX-License-Identifier: Apache-2.0
// Sessions: guesses change the number of passes and nothing else, and leave a session as it would be without them.
#include "tritium/generate/session.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "support/golden_models.h"
#include "tritium/generate/text_model.h"

using namespace tritium;

namespace {

struct Loaded {
  std::unique_ptr<Model> model;
  Tokenizer tokenizer;
};
Loaded load(const std::string& row) {
  const auto open = [](const std::string& name) {
    return value_of(Checkpoint::open(TRITIUM_TEST_DATA "/golden/" + name + "/model.gguf"));
  };
  Tokenizer tokenizer = value_of(load_tokenizer(open("llama")));  // any will do for ids
  return {value_of(load_model(open(row), {}, {})), std::move(tokenizer)};
}

struct Answer {
  std::string text;
  std::vector<std::int32_t> tokens;
  std::vector<float> logits;
  GenerateStats stats;
};
Answer answer(Session& session, const std::vector<std::int32_t>& prompt, GenerateOptions options) {
  Answer a;
  a.stats = value_of(session.generate(prompt, options, [&](std::string_view text) {
    a.text += text;
    return true;
  }));
  a.tokens.assign(session.tokens().begin(), session.tokens().end());
  a.logits.assign(session.logits().begin(), session.logits().end());
  return a;
}

/// A text that says the same thing again and again, so that there is something to look up.
std::vector<std::int32_t> repeating(std::size_t n) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(20 + i % 5));
  return ids;
}

}  // namespace

TEST_CASE("the latest place that ends alike is looked up", "[lookup]") {
  const auto guess = [](std::vector<std::int32_t> text, std::size_t most) {
    std::vector<std::int32_t> found = {99};
    lookup_guess(text, most, found);
    return found;
  };
  using Ids = std::vector<std::int32_t>;
  CHECK(guess({1, 2, 3, 4, 5, 1, 2, 3}, 4) == Ids{4, 5, 1, 2});
  CHECK(guess({1, 2, 3, 4, 5, 1, 2, 3}, 1) == Ids{4});
  CHECK(guess({1, 2, 3, 7, 1, 2, 3, 8, 9, 1, 2, 3}, 2) == Ids{8, 9});  // the latest
  CHECK(guess({5, 2, 3, 7, 1, 2, 3}, 2) == Ids{7, 1});                 // two tokens when three are new
  CHECK(guess({4, 4, 4, 4}, 3) == Ids{4});                             // as far as the text goes
  CHECK(guess({1, 2, 3, 4}, 3).empty());
  CHECK(guess({1, 1}, 3).empty());
  CHECK(guess({}, 3).empty());
}

TEST_CASE("a text is the same with lookup and without", "[session]") {
  std::size_t accepted = 0, refused = 0;
  for (const char* row : {"llama", "gemma3", "phi3-switch", "qwen3-moe", "qwen3-next"}) {
    CAPTURE(row);
    const Loaded loaded = load(row);
    const std::size_t context = std::min<std::size_t>(64, loaded.model->spec.context);
    for (const bool greedy : {true, false}) {
      for (const std::size_t length : {std::size_t{12}, std::size_t{31}}) {
        GenerateOptions options;
        options.max_tokens = 40;  // past the end of the context from the longer prompt
        options.ignore_eos = true;
        options.sampler.greedy = greedy;
        options.sampler.temperature = 0.4f;
        options.sampler.seed = 7;
        const Decoder::Options decoder{.context = context, .max_batch = 8};
        Session plain = value_of(Session::create(*loaded.model, loaded.tokenizer, decoder, {}));
        const Answer expected = answer(plain, repeating(length), options);
        CHECK(expected.stats.guessed_tokens == 0);
        for (const std::size_t lookup : {std::size_t{1}, std::size_t{4}, std::size_t{50}}) {
          CAPTURE(greedy, length, lookup);
          options.lookup = lookup;
          Session session = value_of(Session::create(*loaded.model, loaded.tokenizer, decoder, {}));
          const Answer found = answer(session, repeating(length), options);
          CHECK(found.text == expected.text);
          CHECK(found.tokens == expected.tokens);
          CHECK(found.logits == expected.logits);
          CHECK(found.stats.new_tokens == expected.stats.new_tokens);
          CHECK(found.stats.finish == expected.stats.finish);
          CHECK(found.stats.accepted_tokens <= found.stats.guessed_tokens);
          if (std::string_view(row) == "qwen3-next") CHECK(found.stats.guessed_tokens == 0);  // cannot forget
          accepted += found.stats.accepted_tokens;
          refused += found.stats.guessed_tokens - found.stats.accepted_tokens;

          // What was guessed wrong is forgotten: the session goes on as one that never guessed.
          std::vector<std::int32_t> more = expected.tokens;
          more.resize(std::min(more.size(), context - 2));
          more.push_back(33);
          options.lookup = 0;
          options.max_tokens = 1;
          Session again = value_of(Session::create(*loaded.model, loaded.tokenizer, decoder, {}));
          const Answer fresh = answer(again, more, options);
          const Answer continued = answer(session, more, options);
          CHECK(continued.text == fresh.text);
          CHECK(continued.logits == fresh.logits);
          options.max_tokens = 40;
        }
      }
    }
  }
  CHECK(accepted > 100);
  CHECK(refused > 20);
}
