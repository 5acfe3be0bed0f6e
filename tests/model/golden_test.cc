// SPDX-License-Identifier: Apache-2.0
// Every folder of tests/data/golden against what transformers computed, and against itself however it is computed.

#include <cstdio>
#include <set>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/model/families.h"

using namespace tritium;

namespace {

/// Logits of the golden text in exact mode: f32 weights, f32 cache.
std::vector<float> exact_logits(const Model& model, const GoldenRow& row, std::size_t chunk = 0, const Executor& executor = {}) {
  const auto decoder = make_decoder(model, KvType::f32, 512, executor);
  return all_logits(*decoder, row.tokens(), chunk);
}

double worst_error(const GoldenRow& row, const std::vector<float>& logits) {
  double worst = 0;
  for (std::size_t i = 0; i < row.rows.size(); ++i) {
    const double error = row_error(logits.data() + row.rows[i] * row.vocab(), row.logits.data() + i * row.vocab(), row.vocab());
    worst = error <= worst ? worst : error;
  }
  return worst;
}

std::string format_of(const std::string& path) { return path.ends_with(".gguf") ? "gguf" : "safetensors"; }

std::vector<std::int32_t> greedy(Decoder& decoder, const std::vector<std::int32_t>& prompt, std::size_t count) {
  std::vector<float> logits(decoder.model().spec.vocab);
  std::vector<std::int32_t> ids = prompt;
  std::size_t next = 0;  // first token that is not in the cache
  while (ids.size() < prompt.size() + count) {
    if (!value_of(decoder.prepare(ids.size()))) {  // crossed into other rotary frequencies: everything is read again
      REQUIRE(decoder.rewind(0));
      REQUIRE(value_of(decoder.prepare(ids.size())));
      next = 0;
    }
    require_ok(decoder.forward(std::span(ids).subspan(next), Decoder::Logits::last, logits.data()));
    next = ids.size();
    ids.push_back(static_cast<std::int32_t>(arg_max(logits.data(), logits.size())));
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()};
}

}  // namespace

TEST_CASE("golden models give transformers' logits in exact mode, from every file", "[golden]") {
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    REQUIRE(row.kind == "decoder");  // another kind needs a test of its own
    for (const std::string& path : row.paths()) {
      INFO(path);
      const auto model = load_path(path, exact_options());
      REQUIRE(model->spec.vocab == row.vocab());
      REQUIRE(model->spec.context == row.context);
      const double error = worst_error(row, exact_logits(*model, row));
      std::printf("golden %-20s %-11s logits within %.1e sigma of transformers\n", row.name.c_str(), format_of(path).c_str(), error);
      CHECK(error <= 2e-3);
      CHECK(error <= row.tolerance);
    }
    if (!row.has_gguf()) std::printf("golden %-20s gguf        none: %s\n", row.name.c_str(), row.no_gguf.c_str());
  }
}

TEST_CASE("golden models give transformers' greedy tokens in exact mode", "[golden]") {
  for (const GoldenRow& row : golden_rows()) {
    for (const std::string& path : row.paths()) {
      INFO(path);
      const auto model = load_path(path, exact_options());
      const auto decoder = make_decoder(*model, KvType::f32);
      REQUIRE(row.greedy.size() >= 24);
      CHECK(greedy(*decoder, row.prompt, row.greedy.size()) == row.greedy);
    }
  }
}

TEST_CASE("golden models give the same bits in one batch, in chunks and token by token", "[golden]") {
  for (const GoldenRow& row : golden_rows()) {
    for (const std::string& path : row.paths()) {
      for (const bool exact : {true, false}) {
        const auto model = load_path(path, exact ? exact_options() : LoadOptions());
        for (const KvType kv : {KvType::f32, KvType::f16, KvType::int8, KvType::bf16}) {
          const auto decoder = make_decoder(*model, kv);
          const std::vector<float> at_once = all_logits(*decoder, row.tokens());
          for (const std::size_t chunk : {1, 3, 7, 8, 9, 25}) {
            INFO(path << (exact ? ", exact" : ", default") << ", " << kv_type_name(kv) << " cache, chunks of " << chunk);
            CHECK(difference(all_logits(*decoder, row.tokens(), chunk), at_once) == "");
          }
        }
      }
    }
  }
}

TEST_CASE("golden models give the same logits for the last row alone as for all rows", "[golden]") {
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    const auto model = load_path(row.folder);
    const auto decoder = make_decoder(*model, KvType::f16);
    const std::vector<std::int32_t> tokens = row.tokens();
    const std::vector<float> all = all_logits(*decoder, tokens);
    for (const std::size_t n : {std::size_t{1}, std::size_t{4}, std::size_t{8}, std::size_t{9}, std::size_t{24}, tokens.size()}) {
      if (n > tokens.size()) continue;
      REQUIRE(decoder->rewind(0));
      REQUIRE(value_of(decoder->prepare(tokens.size())));
      std::vector<float> last(row.vocab());
      require_ok(decoder->forward(std::span(tokens).first(n), Decoder::Logits::last, last.data()));
      CHECK(std::equal(last.begin(), last.end(), all.begin() + static_cast<std::ptrdiff_t>((n - 1) * row.vocab())));
    }
  }
}

TEST_CASE("golden models give the same bits with any number of threads", "[golden]") {
  const auto pool = value_of(ThreadPool::create(3));
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    for (const bool exact : {true, false}) {
      const LoadOptions options = exact ? exact_options() : LoadOptions();
      const auto one = load_path(row.folder, options);
      const auto three = load_path(row.folder, options, pool->executor());
      const std::vector<float> expected = exact_logits(*one, row);
      for (const std::size_t chunk : {0, 1, 5}) CHECK(difference(exact_logits(*three, row, chunk, pool->executor()), expected) == "");
      CHECK(difference(exact_logits(*one, row, 0, Executor{5, nullptr, nullptr}), expected) == "");  // more parts than panels, in a loop
    }
  }
}

TEST_CASE("golden models lose little to an int8 cache", "[golden]") {
  // A code is off by 1 / 127 of the largest of its head over sqrt(12), half a percent of a typical one; random weights
  // amplify that some times. A router may choose another expert, which is no small difference.
  std::vector<double> errors;
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    const auto model = load_path(row.folder, exact_options());
    const std::vector<float> expected = all_logits(*make_decoder(*model, KvType::f32), row.tokens());
    const auto decoder = make_decoder(*model, KvType::int8);
    const double error = rms_error(all_logits(*decoder, row.tokens()), expected, row.vocab());
    std::printf("int8 cache %-20s logits off by %.1e sigma\n", row.name.c_str(), error);
    CHECK(error <= (model->spec.moe.n_experts == 0 ? kInt8CacheError : 3 * kInt8CacheError));
    CHECK(error > 1e-5);  // it is int8
    errors.push_back(error);
  }
  std::nth_element(errors.begin(), errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2), errors.end());
  CHECK(errors[errors.size() / 2] <= 0.03);
}

TEST_CASE("every packed format decodes with the bits of prefill", "[golden]") {
  const auto pool = value_of(ThreadPool::create(2));
  std::set<std::string_view> packed;
  for (const std::string_view name : {"llama-gqa", "llama-bias", "gemma3"}) {
    const GoldenRow& row = golden_row(name);
    for (std::size_t f = 0; f < kPackFormatCount; ++f) {
      LoadOptions options;
      options.weights = options.head = static_cast<PackFormat>(f);
      const Checkpoint checkpoint = open_checkpoint(row.folder);
      const auto model = try_load(checkpoint, options);
      INFO(row.name << " in " << info(static_cast<PackFormat>(f)).name);
      if (!model.ok()) {  // formats that only a file's own blocks fill
        CHECK(contains(model.error().message, "tensor \""));
        CHECK(contains(model.error().message, info(static_cast<PackFormat>(f)).name));
        continue;
      }
      packed.insert(info(static_cast<PackFormat>(f)).name);
      for (const KvType kv : {KvType::f32, KvType::f16}) {
        const auto decoder = make_decoder(**model, kv);
        const std::vector<float> at_once = all_logits(*decoder, row.tokens());
        CHECK(difference(all_logits(*decoder, row.tokens(), 1), at_once) == "");
        CHECK(difference(all_logits(*decoder, row.tokens(), 6), at_once) == "");
        const auto threaded = make_decoder(**model, kv, 512, pool->executor());
        CHECK(difference(all_logits(*threaded, row.tokens(), 26), at_once) == "");
      }
    }
  }
  std::string names;
  for (const std::string_view name : packed) names.append(" ").append(name);
  std::printf("packed from floats:%s\n", names.c_str());
  for (const char* name : {"ternary2", "ternary1.6", "ternary2g64", "int4", "int4g32", "int4g32m", "int8", "int8g32", "f32", "f16", "bf16"}) {
    INFO(name);
    CHECK(packed.contains(name));
  }
}

TEST_CASE("golden models hold on every instruction-set tier of this machine", "[golden]") {
  for (const TierInfo& tier : kTiers) {
    if (!why_not(tier.tier).empty()) continue;
    for (const char* name : {"llama-gqa", "llama-yarn", "gemma3"}) {
      const GoldenRow& row = golden_row(name);
      INFO(row.name << " on " << tier.name);
      const auto model = load_path(row.folder, exact_options());
      require_ok(force_isa(tier.name));
      const auto decoder = make_decoder(*model, KvType::f32);
      detail::tier_is_forced() = false;
      CHECK(worst_error(row, all_logits(*decoder, row.tokens())) <= row.tolerance);
      CHECK(difference(all_logits(*decoder, row.tokens(), 1), all_logits(*decoder, row.tokens())) == "");
    }
  }
}

TEST_CASE("every family has a golden model in both kinds of file", "[golden]") {
  std::set<std::string> safetensors;
  std::set<std::string> gguf;
  for (const GoldenRow& row : golden_rows()) {
    for (const std::string& path : row.paths()) {
      (path == row.folder ? safetensors : gguf).insert(load_path(path)->spec.family);
    }
  }
  for (const Family* family : kFamilies) {
    INFO(family->name);
    CHECK((family->hf_architectures.empty() || safetensors.contains(std::string(family->name))));
    CHECK((family->gguf_architectures.empty() || gguf.contains(std::string(family->name))));
  }
}
