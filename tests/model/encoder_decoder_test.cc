// SPDX-License-Identifier: Apache-2.0
// Encoder-decoders: every folder of tests/data/golden_pairs against its reference, and against itself however it is computed.

#include <cstdio>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/io/json.h"
#include "tritium/model/encoder_decoder.h"

using namespace tritium;

namespace {

struct Pair {
  GoldenRow row;
  std::vector<std::int32_t> source;
};

std::vector<Pair> pairs() {
  std::vector<Pair> found;
  for (const auto& entry : std::filesystem::directory_iterator(TRITIUM_TEST_DATA "/golden_pairs")) {
    Pair pair{read_golden(entry.path()), {}};
    const Json json = value_of(read_json_file(pair.row.folder + "/golden.json", {}));
    pair.source = value_of(value_of(JsonObject::of(json, "golden.json")).get_array<std::int32_t>("source_ids"));
    found.push_back(std::move(pair));
  }
  std::sort(found.begin(), found.end(), [](const Pair& a, const Pair& b) { return a.row.name < b.row.name; });
  REQUIRE(found.size() >= 3);
  return found;
}

EncoderDecoderModel load_pair(const std::string& folder, const LoadOptions& options = {},
                              const Executor& executor = {}) {
  const Checkpoint checkpoint = open_checkpoint(folder);
  return value_of(try_load_pair(checkpoint, options, executor));
}

std::unique_ptr<EncoderDecoder> make_pair(const EncoderDecoderModel& model, KvType kv, const Executor& executor = {},
                                          std::size_t max_batch = 512) {
  EncoderDecoder::Options options;
  options.kv = kv;
  options.max_batch = max_batch;
  return value_of(EncoderDecoder::create(model, options, executor));
}

std::vector<float> answer(EncoderDecoder& both, const Pair& pair, std::size_t chunk = 0) {
  require_ok(both.read(pair.source));
  return all_logits(both.decoder(), pair.row.tokens(), chunk);
}

}  // namespace

TEST_CASE("encoder-decoders give their references' logits and greedy tokens in exact mode", "[golden]") {
  for (const Pair& pair : pairs()) {
    INFO(pair.row.name);
    REQUIRE(pair.row.kind == "encoder-decoder");
    const EncoderDecoderModel model = load_pair(pair.row.folder, exact_options());
    const auto both = make_pair(model, KvType::f32);
    const std::vector<float> logits = answer(*both, pair);
    double worst = 0;
    for (std::size_t i = 0; i < pair.row.rows.size(); ++i) {
      const double error = row_error(logits.data() + pair.row.rows[i] * pair.row.vocab(),
                                     pair.row.logits.data() + i * pair.row.vocab(), pair.row.vocab());
      worst = error <= worst ? worst : error;
    }
    std::printf("golden %-20s %-11s logits within %.1e sigma of the reference\n", pair.row.name.c_str(), "safetensors",
                worst);
    CHECK(worst <= pair.row.tolerance);
    require_ok(both->read(pair.source));
    std::vector<std::int32_t> ids = pair.row.prompt;
    std::vector<float> last(pair.row.vocab());
    require_ok(both->decoder().forward(ids, Decoder::Logits::last, last.data()));
    for (const std::int32_t expected : pair.row.greedy) {
      const auto next = static_cast<std::int32_t>(arg_max(last.data(), last.size()));
      CHECK(next == expected);
      require_ok(both->decoder().forward({&next, 1}, Decoder::Logits::last, last.data()));
    }
  }
}

TEST_CASE("encoder-decoders give the same bits however the decoder's tokens are cut, with any number of threads",
          "[golden]") {
  const auto pool = value_of(ThreadPool::create(3));
  for (const Pair& pair : pairs()) {
    for (const bool exact : {true, false}) {
      const LoadOptions options = exact ? exact_options() : LoadOptions();
      const EncoderDecoderModel model = load_pair(pair.row.folder, options);
      const EncoderDecoderModel threaded = load_pair(pair.row.folder, options, pool->executor());
      for (const KvType kv : {KvType::f32, KvType::f16, KvType::int8, KvType::bf16}) {
        const auto both = make_pair(model, kv);
        const auto three = make_pair(threaded, kv, pool->executor());
        const auto small = make_pair(model, kv, {}, 4);  // the encoder's result is taken in pieces
        const std::vector<float> expected = answer(*both, pair);
        INFO(pair.row.name << (exact ? ", exact" : ", default"));
        for (const std::size_t chunk : {1, 3, 9}) CHECK(difference(answer(*both, pair, chunk), expected) == "");
        for (const std::size_t chunk : {0, 1}) CHECK(difference(answer(*three, pair, chunk), expected) == "");
        CHECK(difference(answer(*small, pair, 4), expected) == "");
      }
    }
  }
}

TEST_CASE("an int8 cache serves the encoder's result too", "[golden]") {
  for (const Pair& pair : pairs()) {
    INFO(pair.row.name);
    const EncoderDecoderModel model = load_pair(pair.row.folder, exact_options());
    const std::vector<float> expected = answer(*make_pair(model, KvType::f32), pair);
    const std::vector<float> found = answer(*make_pair(model, KvType::int8), pair);
    const double error = rms_error(found, expected, pair.row.vocab());
    std::printf("int8 cache %-20s logits off by %.1e sigma\n", pair.row.name.c_str(), error);
    CHECK(error <= kInt8CacheError);
    CHECK(error > 1e-5);
  }
}

TEST_CASE("an encoder-decoder depends on its source, and forgets the one before", "[golden]") {
  for (const Pair& pair : pairs()) {
    const EncoderDecoderModel model = load_pair(pair.row.folder, exact_options());
    const auto both = make_pair(model, KvType::f32);
    const std::vector<float> expected = answer(*both, pair);
    Pair other = pair;
    std::reverse(other.source.begin(), other.source.end());
    CHECK(difference(answer(*both, other), expected) != "");
    other.source = {pair.source.front()};
    CHECK(difference(answer(*both, other), expected) != "");
    CHECK(difference(answer(*both, pair), expected) == "");
  }
}

TEST_CASE("an encoder-decoder says what it cannot do", "[golden]") {
  const Pair pair = pairs().front();
  const EncoderDecoderModel model = load_pair(pair.row.folder);
  const auto both = make_pair(model, KvType::f16);
  std::vector<float> logits(pair.row.vocab());
  CHECK(contains(
      error_of(Result<int>(both->decoder().forward(pair.row.prompt, Decoder::Logits::last, logits.data()).error()))
          .message,
      "set_memory"));
  CHECK(both->read({}).error().code == Errc::out_of_range);
  CHECK(both->read(std::vector<std::int32_t>(model.encoder->spec.context + 1, 5)).error().code == Errc::out_of_range);
  CHECK(both->read(std::vector<std::int32_t>{static_cast<std::int32_t>(pair.row.vocab())}).error().code ==
        Errc::out_of_range);
  const Checkpoint checkpoint = open_checkpoint(pair.row.folder);
  const Error decoder_only = error_of(try_load(checkpoint));
  CHECK(decoder_only.code == Errc::unsupported);
  const Checkpoint llama = open_checkpoint(TRITIUM_TEST_DATA "/golden/llama");
  CHECK(error_of(try_load_pair(llama)).code == Errc::unsupported);
}
