// SPDX-License-Identifier: Apache-2.0
// Several sequences in one decoder: each has the bits that it has alone, whatever runs beside it.
#include <catch2/catch_test_macros.hpp>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/model/decoder.h"

using namespace tritium;

namespace {

constexpr std::size_t kSequences = 11;  // more than attention takes as few rows

bool keeps_sequences(const ModelSpec& spec) {
  return std::ranges::none_of(spec.layers, [](const LayerSpec& l) { return l.mixer == Mixer::delta_net; });
}

/// Tokens of sequence s: the golden text, from a place of its own.
std::vector<std::int32_t> text_of(const GoldenRow& row, std::size_t s) {
  std::vector<std::int32_t> ids = row.tokens();
  std::rotate(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(3 * s % ids.size()), ids.end());
  return ids;
}

}  // namespace

TEST_CASE("sequences of unequal length step together with the bits of each alone", "[sequences]") {
  const auto pool = value_of(ThreadPool::create(3));
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    const auto model = load_path(row.folder);
    if (!keeps_sequences(model->spec)) continue;
    const std::size_t vocab = row.vocab();
    for (const KvType kv : {KvType::f16, KvType::int8, KvType::bf16}) {
      Decoder::Options options;
      options.max_batch = 16;
      options.kv = kv;
      std::vector<std::vector<float>> alone;
      {
        const auto decoder = value_of(Decoder::create(*model, options, {}));
        for (std::size_t s = 0; s < kSequences; ++s) alone.push_back(all_logits(*decoder, text_of(row, s), 5));
      }
      options.sequences = kSequences;
      const auto decoder = value_of(Decoder::create(*model, options, pool->executor()));
      REQUIRE(decoder->n_sequences() == kSequences);
      std::vector<float> logits(kSequences * vocab);
      for (std::size_t s = 0; s < kSequences; ++s) {  // prompts of 0, 1, 2 ... tokens
        const std::vector<std::int32_t> text = text_of(row, s);
        decoder->select(s);
        REQUIRE(value_of(decoder->prepare(text.size())));
        if (s != 0) require_ok(decoder->forward(std::span(text).first(s), Decoder::Logits::none, nullptr));
      }
      for (std::size_t step = 0;; ++step) {
        std::vector<Decoder::Step> steps;
        for (std::size_t s = kSequences; s-- > 0;) {
          decoder->select(s);
          const std::vector<std::int32_t> text = text_of(row, s);
          if (decoder->position() == text.size() || (step + s) % 4 == 0) continue;  // sometimes one waits
          steps.push_back({s, text[decoder->position()]});
        }
        if (steps.empty() && step > 4) break;
        if (steps.empty()) continue;
        require_ok(decoder->forward_each(steps, logits.data()));
        for (std::size_t i = 0; i < steps.size(); ++i) {
          const std::size_t s = steps[i].sequence;
          decoder->select(s);
          const float* expected = alone[s].data() + (decoder->position() - 1) * vocab;
          REQUIRE(std::equal(expected, expected + vocab, logits.data() + i * vocab));
        }
      }
    }
  }
}

TEST_CASE("a sequence goes back without the others", "[sequences]") {
  const GoldenRow& row = golden_row("llama");
  const auto model = load_path(row.folder);
  const auto decoder = value_of(Decoder::create(*model, {.max_batch = 4, .sequences = 2}, {}));
  std::vector<float> first(2 * row.vocab()), again(2 * row.vocab());
  const Decoder::Step steps[] = {{0, 20}, {1, 21}};
  require_ok(decoder->forward_each(steps, first.data()));
  decoder->select(1);
  CHECK(decoder->position() == 1);
  REQUIRE(decoder->rewind(0));
  CHECK(decoder->position() == 0);
  decoder->select(0);
  CHECK(decoder->position() == 1);
  require_ok(decoder->forward_each({steps + 1, 1}, again.data()));
  CHECK(std::equal(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(row.vocab()),
                   first.begin() + static_cast<std::ptrdiff_t>(row.vocab())));
  CHECK(decoder->position() == 1);  // still the first one's
  CHECK(decoder->kv_bytes() == 2 * make_decoder(*model, KvType::f16, 4)->kv_bytes());
}

TEST_CASE("steps that cannot be are refused, and nothing moves", "[sequences]") {
  const GoldenRow& row = golden_row("llama");
  const auto model = load_path(row.folder);
  const auto decoder = value_of(Decoder::create(*model, {.context = 2, .max_batch = 2, .sequences = 2}, {}));
  std::vector<float> logits(2 * row.vocab());
  const auto refuse = [&](std::vector<Decoder::Step> steps, Errc code, const char* word) {
    const Status status = decoder->forward_each(steps, logits.data());
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == code);
    CHECK(status.error().message.find(word) != std::string::npos);
  };
  refuse({}, Errc::out_of_range, "at least one");
  refuse({{0, 20}, {2, 20}}, Errc::invalid_argument, "0 to 1");
  refuse({{1, 20}, {1, 20}}, Errc::invalid_argument, "another sequence");
  refuse({{0, 20}, {1, -1}}, Errc::out_of_range, "token");
  decoder->select(0);
  CHECK(decoder->position() == 0);
  const Decoder::Step one[] = {{1, 20}};
  require_ok(decoder->forward_each(one, logits.data()));
  require_ok(decoder->forward_each(one, logits.data()));
  refuse({{0, 20}, {1, 20}}, Errc::out_of_range, "context is full");
  CHECK(decoder->position() == 0);

  const auto too_many = Decoder::create(*model, {.max_batch = 2, .sequences = 3}, {});
  REQUIRE_FALSE(too_many.ok());
  CHECK(too_many.error().code == Errc::out_of_range);
  const auto recurrent = load_path(golden_row("qwen3-next").folder);
  const auto refused = Decoder::create(*recurrent, {.sequences = 2}, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Errc::unsupported);
}
