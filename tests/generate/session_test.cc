// SPDX-License-Identifier: Apache-2.0
// Sessions: guesses, looked up or of a draft model, change the number of passes and nothing else, and leave a session as
// it would be without them.
#include "tritium/generate/session.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "io/allocation_meter.h"
#include "support/golden_models.h"
#include "support/golden_tokenizer.h"

using namespace tritium;

namespace {

struct Loaded {
  std::unique_ptr<Model> model;
  Tokenizer tokenizer;
};
Loaded load(const std::string& row) {
  return {load_path(golden_row(row).gguf()), golden_tokenizer("llama")};  // any tokenizer will do for ids
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

namespace {

Session session_of(const Loaded& loaded, std::size_t context, std::size_t max_batch = 8) {
  return value_of(
      Session::create(*loaded.model, loaded.tokenizer, {.context = context, .max_batch = max_batch}, Executor{}));
}
void give_draft(Session& session, const Loaded& draft, std::size_t context, std::size_t max_batch = 8) {
  require_ok(session.set_draft(*draft.model, nullptr, {.context = context, .max_batch = max_batch}, Executor{}));
}
GenerateOptions greedy_options(std::size_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.ignore_eos = true;
  options.sampler.greedy = true;
  return options;
}

}  // namespace

TEST_CASE("a text is the same with a draft and without, greedy and sampled, within one context and at its end",
          "[session][draft]") {
  struct Case {
    const char* target;
    const char* draft;
  };
  std::size_t accepted = 0, refused = 0;
  for (const Case& c : {Case{"phi3", "phi3"}, Case{"phi3", "phi4"}, Case{"llama-gqa", "llama-tied"},
                        Case{"mistral", "llama"}, Case{"gemma3", "gemma3"}, Case{"llama", "gemma3"},
                        Case{"phi3-switch", "phi3-switch"}, Case{"qwen3-moe", "qwen3"}}) {
    const Loaded target = load(c.target), draft = load(c.draft);
    const std::size_t context = std::min<std::size_t>(64, target.model->spec.context);
    for (const bool greedy : {true, false}) {
      for (const std::size_t length : {std::size_t{1}, std::size_t{31}}) {
        GenerateOptions options = greedy_options(40);
        options.sampler.greedy = greedy;
        options.sampler.temperature = 0.6f;
        options.sampler.seed = 11;
        Session plain = session_of(target, context);
        const Answer expected = answer(plain, repeating(length), options);
        for (const std::size_t drafted : {std::size_t{1}, std::size_t{4}, std::size_t{50}}) {
          for (const std::size_t lookup : {std::size_t{0}, std::size_t{3}}) {
            CAPTURE(c.target, c.draft, greedy, length, drafted, lookup);
            Session session = session_of(target, context);
            give_draft(session, draft, std::min(context, draft.model->spec.context));
            options.drafted = drafted;
            options.lookup = lookup;
            const Answer found = answer(session, repeating(length), options);
            CHECK(found.text == expected.text);
            CHECK(found.tokens == expected.tokens);
            CHECK(found.logits == expected.logits);
            CHECK(found.stats.finish == expected.stats.finish);
            CHECK(found.stats.guessed_tokens > 0);
            CHECK(found.stats.accepted_tokens <= found.stats.guessed_tokens);
            accepted += found.stats.accepted_tokens;
            refused += found.stats.guessed_tokens - found.stats.accepted_tokens;
          }
        }
      }
    }
  }
  CHECK(accepted > 300);
  CHECK(refused > 300);
}

TEST_CASE("a model drafts for itself without a mistake, and its golden continuation comes out", "[session][draft]") {
  for (const char* name : {"phi3", "llama-gqa", "mistral", "gemma3"}) {
    const GoldenRow& row = golden_row(name);
    Loaded exact = load("llama");
    exact.model = load_path(row.folder, exact_options());
    for (const std::size_t drafted : {std::size_t{1}, std::size_t{4}, std::size_t{7}}) {
      CAPTURE(name, drafted);
      const Decoder::Options decoder{.max_batch = 32, .kv = KvType::f32};
      Session session = value_of(Session::create(*exact.model, exact.tokenizer, decoder, {}));
      require_ok(session.set_draft(*exact.model, &exact.tokenizer, decoder, {}));
      GenerateOptions options = greedy_options(row.greedy.size());
      options.drafted = drafted;
      const Answer found = answer(session, row.prompt, options);
      // The last token is drawn and not read.
      std::vector<std::int32_t> expected = row.prompt;
      expected.insert(expected.end(), row.greedy.begin(), row.greedy.end() - 1);
      CHECK(found.tokens == expected);
      CHECK(found.stats.accepted_tokens == found.stats.guessed_tokens);
      // Every pass but the last makes one token more than it checked.
      CHECK(found.stats.guessed_tokens >= (row.greedy.size() - 1) * drafted / (drafted + 1) - drafted);
    }
  }
}

TEST_CASE("a draft follows its session through turns, other prompts, cancellation and its own smaller context",
          "[session][draft]") {
  for (const char* name : {"llama-gqa", "gemma3"}) {
    const Loaded target = load(name), draft = load(std::string_view(name) == "gemma3" ? "gemma3" : "llama-tied");
    for (const std::size_t draft_context : {std::size_t{64}, std::size_t{24}}) {
      CAPTURE(name, draft_context);
      Session plain = session_of(target, 64), session = session_of(target, 64);
      give_draft(session, draft, draft_context, 4);
      std::vector<std::int32_t> chat = repeating(5);
      const auto turn = [&](const std::vector<std::int32_t>& prompt, GenerateOptions options) {
        const Answer expected = answer(plain, prompt, options);
        options.drafted = 3;
        const Answer found = answer(session, prompt, options);
        CHECK(found.text == expected.text);
        CHECK(found.tokens == expected.tokens);
        CHECK(found.logits == expected.logits);
        CHECK(found.stats.cached_tokens == expected.stats.cached_tokens);
        if (prompt.size() + 1 < draft_context) CHECK(found.stats.guessed_tokens > 0);
        if (prompt.size() > draft_context) CHECK(found.stats.guessed_tokens == 0);
        if (std::string_view(name) == "gemma3")
          CHECK(found.stats.accepted_tokens == found.stats.guessed_tokens);  // its own draft, as long as it is in step
        return found;
      };
      for (std::int32_t i = 0; i < 5; ++i) {  // each turn begins with all of the one before
        const Answer found = turn(chat, greedy_options(6));
        chat.assign(found.tokens.begin(), found.tokens.end());
        chat.insert(chat.end(), {40 + i, 41 + i, 42 + i});
      }
      (void)turn(repeating(9), greedy_options(8));  // one that shares its beginning only
      chat.resize(12);
      (void)turn(chat, greedy_options(8));

      GenerateOptions cancelled = greedy_options(20);
      int asked = 0;
      cancelled.cancelled = [&] { return ++asked % 9 == 0; };  // in the middle of decoding or of reading
      cancelled.drafted = 3;
      for (int i = 0; i < 4; ++i) {
        const Answer found = answer(session, chat, cancelled);
        CHECK((found.stats.finish == Finish::cancelled || found.stats.finish == Finish::length));
        CHECK(std::equal(found.tokens.begin(), found.tokens.begin() + static_cast<std::ptrdiff_t>(
                             std::min(chat.size(), found.tokens.size())), chat.begin()));
      }
      (void)turn(chat, greedy_options(8));
      const Answer full = turn(chat, greedy_options(100));
      CHECK(full.stats.finish == Finish::context_full);
      CHECK(full.tokens.size() == 64);
      (void)turn(repeating(9), greedy_options(8));
    }
  }
}

TEST_CASE("decoding with guesses allocates nothing once it runs", "[session][draft]") {
  const Loaded target = load("llama-gqa"), draft = load("llama-tied");
  for (const bool drafts : {false, true}) {
    CAPTURE(drafts);
    Session session = session_of(target, 64);
    give_draft(session, draft, 64);
    GenerateOptions options = greedy_options(50);
    options.drafted = drafts ? 3 : 0;
    options.lookup = drafts ? 2 : 0;
    const AllocationMeter meter;
    std::size_t emitted = 0, early = 0, late = 0;
    const GenerateStats stats = value_of(session.generate(repeating(7), options, [&](std::string_view) {
      if (++emitted == 10) early = meter.calls();
      late = meter.calls();
      return true;
    }));
    CHECK(stats.new_tokens == 50);
    REQUIRE(emitted > 20);
    CHECK(late == early);
  }
}

TEST_CASE("a draft that cannot serve is refused", "[session][draft]") {
  const Loaded phi = load("phi3"), recurrent = load("qwen3-next");
  const auto refused = [](const Loaded& target, const Loaded& draft, const Tokenizer* tokenizer) {
    Session session = session_of(target, 16);
    const Status status = session.set_draft(*draft.model, tokenizer, {.context = 16, .max_batch = 8}, {});
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == Errc::invalid_argument);
    GenerateOptions options = greedy_options(4);
    options.drafted = 2;
    const auto text = session.generate(repeating(3), options, [](std::string_view) { return true; });
    CHECK(contains(error_of(text).message, "no draft"));
    options.drafted = 0;
    CHECK(value_of(session.generate(repeating(3), options, [](std::string_view) { return true; })).new_tokens == 4);
    return status.error().message;
  };
  CHECK(contains(refused(phi, recurrent, nullptr), "(draft: expected attention in every layer, found a recurrent layer"));
  CHECK(contains(refused(recurrent, phi, nullptr), "(model: expected attention in every layer, found a recurrent layer"));
  const Tokenizer other = golden_tokenizer("qwen3");
  const std::string difference = refused(phi, phi, &other);
  CHECK(contains(difference, "vocabularies differ (draft"));
  Loaded wide = load("llama");
  wide.model->spec.vocab += 16;
  CHECK(contains(refused(phi, wide, nullptr), "expected 331 logits, found 347"));
  // Too far for the context or past it: nothing to guess, and no failure.
  Session session = session_of(phi, 16);
  give_draft(session, phi, 16, 1);
  GenerateOptions options = greedy_options(30);
  options.drafted = 4;
  CHECK(answer(session, repeating(16), options).stats.guessed_tokens == 0);
  Session one_at_a_time = session_of(phi, 16, 1);
  give_draft(one_at_a_time, phi, 16);
  CHECK(answer(one_at_a_time, repeating(5), options).stats.guessed_tokens == 0);  // no batch to check them in
}
