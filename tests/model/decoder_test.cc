// SPDX-License-Identifier: Apache-2.0
// The graph against a naive decoder in double for every policy, long texts past the rings of windowed layers, rewinding,
// and everything a caller may ask for that cannot be.

#include "tritium/model/decoder.h"

#include <cstdio>
#include <functional>
#include <random>

#include "reference/decoder.h"
#include "support/golden_models.h"
#include "support/synthetic_model.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

std::vector<std::int32_t> random_tokens(std::size_t n, std::size_t vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int32_t> id(0, static_cast<std::int32_t>(vocab) - 1);
  std::vector<std::int32_t> tokens(n);
  for (std::int32_t& t : tokens) t = id(random);
  return tokens;
}

/// Largest error in standard deviations of a row, over some rows.
double error_to_reference(const Model& model, std::span<const std::int32_t> tokens, const std::vector<float>& logits,
                          const std::vector<std::size_t>& rows, std::size_t length = 0) {
  const reference::Rows truth = reference::Model(model).logits(tokens, rows, length);
  double worst = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<float> expected(truth[i].begin(), truth[i].end());
    worst = std::max(worst, row_error(logits.data() + rows[i] * model.spec.vocab, expected.data(), expected.size()));
  }
  return worst;
}

std::vector<std::size_t> every(std::size_t n) {
  std::vector<std::size_t> rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = i;
  return rows;
}

}  // namespace

TEST_CASE("the graph equals a naive decoder in double for every policy", "[decoder]") {
  struct Case {
    const char* name;
    std::function<void(ModelSpec&, SyntheticModel::Parts&)> change;
  };
  using Parts = SyntheticModel::Parts;
  const Case cases[] = {
      {"plain", [](ModelSpec&, Parts&) {}},
      {"untied head with a bias",
       [](ModelSpec& s, Parts& p) { s.tied_head = false, p.mlp_bias = true, p.apart = true; }},
      {"biases everywhere", [](ModelSpec&, Parts& p) { p.attn_bias = p.mlp_bias = p.apart = true; }},
      {"gate and up apart", [](ModelSpec&, Parts& p) { p.apart = true; }},
      {"layer norm", [](ModelSpec& s, Parts&) { s.norm = NormKind::layer; }},
      {"layer norm with biases", [](ModelSpec& s, Parts& p) { s.norm = NormKind::layer, p.norm_bias = true; }},
      {"parallel, ungated, partial rotary (Phi-2)",
       [](ModelSpec& s, Parts& p) {
         s.residual = Residual::parallel;
         s.norm = NormKind::layer;
         s.gated_mlp = false;
         s.activation = Activation::gelu_tanh;
         s.ropes[0].rotary_dim = 8;
         s.tied_head = false;
         p = {.attn_bias = true, .mlp_bias = true, .norm_bias = true};
       }},
      {"parallel and gated", [](ModelSpec& s, Parts&) { s.residual = Residual::parallel; }},
      {"q and k norms", [](ModelSpec&, Parts& p) { p.qk_norm = true; }},
      {"sub norms and squared ReLU (BitNet)",
       [](ModelSpec& s, Parts& p) { s.activation = Activation::relu2, p.sub_norm = true; }},
      {"post norms", [](ModelSpec&, Parts& p) { p.post_norm = true; }},
      {"all norms", [](ModelSpec&, Parts& p) { p.post_norm = p.sub_norm = p.qk_norm = true; }},
      {"GELU, tanh", [](ModelSpec& s, Parts&) { s.activation = Activation::gelu_tanh; }},
      {"GELU, erf", [](ModelSpec& s, Parts&) { s.activation = Activation::gelu_erf; }},
      {"no gate", [](ModelSpec& s, Parts&) { s.gated_mlp = false; }},
      {"scores capped", [](ModelSpec& s, Parts&) { s.attention_cap = 2.0f; }},
      {"logits capped", [](ModelSpec& s, Parts&) { s.logit_cap = 1.5f; }},
      {"embeddings scaled", [](ModelSpec& s, Parts&) { s.embedding_scale = 6.5f; }},
      {"a window", [](ModelSpec& s, Parts&) { s.layers[0].window = 7; }},
      {"a window of one", [](ModelSpec& s, Parts&) { s.layers[1].window = 1; }},
      {"no rotation on a layer", [](ModelSpec& s, Parts&) { s.layers[1].rope = -1; }},
      {"two bases",
       [](ModelSpec& s, Parts&) {
         s.ropes.push_back(s.ropes[0]);
         s.ropes[1].base = 300;
         s.layers[1].rope = 1;
       }},
      {"magnitude", [](ModelSpec& s, Parts&) { s.ropes[0].magnitude = 1.19; }},
      {"one KV head",
       [](ModelSpec& s, Parts&) {
         for (LayerSpec& l : s.layers) l.n_kv_heads = 1;
       }},
      {"layers that differ",
       [](ModelSpec& s, Parts&) {
         s.layers[0].n_heads = 6;
         s.layers[0].n_kv_heads = 3;
         s.layers[1].ffn_dim = 17;
         s.layers[1].head_dim = 32;
         s.layers[1].rope = -1;
       }},
      {"odd sizes",
       [](ModelSpec& s, Parts&) {
         s.hidden = 37;
         s.vocab = 33;
         for (LayerSpec& l : s.layers) l.ffn_dim = 19, l.head_dim = 6, l.n_heads = 5, l.n_kv_heads = 5;
         s.ropes[0].rotary_dim = 6;
       }},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    ModelSpec spec = SyntheticModel::spec();
    Parts parts;
    c.change(spec, parts);
    const auto model = SyntheticModel::make(spec, parts, 11);
    const std::vector<std::int32_t> tokens = random_tokens(45, spec.vocab, 3);
    const auto decoder = make_decoder(*model, KvType::f32);
    const std::vector<float> logits = all_logits(*decoder, tokens);
    CHECK(error_to_reference(*model, tokens, logits, every(45)) <= 1e-4);
    for (const std::size_t chunk : {1, 8, 9, 17}) CHECK(difference(all_logits(*decoder, tokens, chunk), logits) == "");
    require_ok(decoder->rewind(0) ? Status() : Error{});
    std::vector<float> last(spec.vocab);
    require_ok(decoder->forward(tokens, Decoder::Logits::last, last.data()));
    CHECK(difference(last, {logits.end() - static_cast<std::ptrdiff_t>(spec.vocab), logits.end()}) == "");
  }
}

TEST_CASE("texts far past the rings of windowed layers stay right, and do not depend on the size of the ring",
          "[decoder]") {
  constexpr std::size_t kLong = 4200;
  for (const char* name : {"gemma3", "mistral"}) {
    const auto model = load_path(golden_row(name).folder, exact_options());
    model->spec.context = kLong;
    const std::vector<std::int32_t> tokens = random_tokens(kLong, model->spec.vocab, 9);
    const std::vector<std::size_t> rows{0, 7, 8, 127, 128, 511, 512, 513, 1000, 2048, 4095, 4096, kLong - 2, kLong - 1};
    const std::size_t vocab = model->spec.vocab;
    std::vector<float> expected;
    for (const std::size_t batch : {512, 100, 37}) {
      INFO(name << ", batches of " << batch);
      const auto decoder = make_decoder(*model, KvType::f32, batch);
      std::vector<float> all(kLong * vocab);
      for (std::size_t at = 0; at < kLong; at += batch) {
        require_ok(decoder->forward(std::span(tokens).subspan(at, std::min(batch, kLong - at)), Decoder::Logits::all,
                                    all.data() + at * vocab));
      }
      if (expected.empty()) {
        const double error = error_to_reference(*model, tokens, all, rows);
        std::printf("%s: 4200 positions within %.1e sigma of the naive decoder\n", name, error);
        CHECK(error <= 1e-4);
        expected = std::move(all);
      } else {
        CHECK(difference(all, expected) == "");
      }
    }
    // The last tokens one by one, behind a prompt in large batches.
    const auto decoder = make_decoder(*model, KvType::f32, 512);
    std::vector<float> logits(vocab);
    for (std::size_t at = 0; at < kLong - 20;) {
      const std::size_t n = std::min<std::size_t>(512, kLong - 20 - at);
      require_ok(decoder->forward(std::span(tokens).subspan(at, n), Decoder::Logits::none, nullptr));
      at += n;
    }
    for (std::size_t at = kLong - 20; at < kLong; ++at) {
      require_ok(decoder->forward({&tokens[at], 1}, Decoder::Logits::last, logits.data()));
      CHECK(difference(logits, {expected.begin() + static_cast<std::ptrdiff_t>(at * vocab),
                                expected.begin() + static_cast<std::ptrdiff_t>((at + 1) * vocab)}) == "");
    }
  }
}

TEST_CASE("a rewound decoder computes what a fresh one does", "[decoder]") {
  for (const char* name : {"llama-gqa", "mistral", "gemma3"}) {
    const auto model = load_path(golden_row(name).folder);
    model->spec.context = 2000;
    const std::size_t vocab = model->spec.vocab;
    std::mt19937 random(4);
    const KvType kv = name == std::string("gemma3") ? KvType::int8 : KvType::f16;
    const auto decoder = make_decoder(*model, kv, 64);
    std::vector<std::int32_t> text;  // what the decoder has seen
    std::size_t refused = 0, accepted = 0;
    for (int step = 0; step < 60; ++step) {
      const std::size_t back =
          random() % 5 == 0 ? random() % (text.size() + 1) : std::min<std::size_t>(text.size(), random() % 70);
      const std::size_t position = text.size() - back;
      if (decoder->rewind(position)) {
        CHECK(decoder->position() == position);
        text.resize(position);
        accepted += back == 0 ? 0u : 1u;
      } else {
        ++refused;
        CHECK(decoder->position() == text.size());  // refused: nothing changed
        REQUIRE(back > 64);                         // a rewind of up to a batch is always possible
      }
      const std::vector<std::int32_t> more = random_tokens(1 + random() % 64, vocab, static_cast<unsigned>(random()));
      if (text.size() + more.size() > 1000) {
        REQUIRE(decoder->rewind(0));
        text.clear();
      }
      std::vector<float> found(vocab);
      require_ok(decoder->forward(more, Decoder::Logits::last, found.data()));
      text.insert(text.end(), more.begin(), more.end());
      const auto fresh = make_decoder(*model, kv, 512);
      std::vector<float> expected(vocab);
      for (std::size_t at = 0; at < text.size(); at += 512) {
        require_ok(fresh->forward(std::span(text).subspan(at, std::min<std::size_t>(512, text.size() - at)),
                                  Decoder::Logits::last, expected.data()));
      }
      INFO(name << ", step " << step << ", back " << back << ", at " << position);
      REQUIRE(difference(found, expected) == "");
    }
    CHECK(accepted > 10);
    if (std::string(name) != "llama-gqa") CHECK(refused > 0);
    CHECK_FALSE(decoder->rewind(decoder->position() + 1));
  }
}

TEST_CASE("LongRoPE reads a text with the set of its whole length, in any chunks", "[decoder]") {
  ModelSpec spec = SyntheticModel::spec();
  RopeSpec& rope = spec.ropes[0];
  rope.scaling = RopeScaling::longrope;
  rope.original_context = 32;
  rope.magnitude = 1.19;
  for (std::size_t i = 0; i < 10; ++i) {
    rope.divisors.push_back(1.0f + 0.02f * static_cast<float>(i));
    rope.long_divisors.push_back(1.0f + static_cast<float>(i));
  }
  const auto model = SyntheticModel::make(spec, {}, 2);
  const auto decoder = make_decoder(*model, KvType::f32);
  const std::vector<std::int32_t> tokens = random_tokens(60, spec.vocab, 8);
  const auto read = [&](std::size_t n, std::size_t chunk) {
    REQUIRE(decoder->rewind(0));
    REQUIRE(value_of(decoder->prepare(n)));
    std::vector<float> logits(n * spec.vocab);
    for (std::size_t at = 0; at < n; at += chunk) {
      require_ok(decoder->forward(std::span(tokens).subspan(at, std::min(chunk, n - at)), Decoder::Logits::all,
                                  logits.data() + at * spec.vocab));
    }
    return logits;
  };
  for (const std::size_t n : {20, 32, 33, 60}) {
    INFO(n << " tokens");
    const std::vector<float> at_once = read(n, n);
    CHECK(error_to_reference(*model, std::span(tokens).first(n), at_once, every(n)) <= 1e-4);
    for (const std::size_t chunk : {1, 7, 31}) CHECK(difference(read(n, chunk), at_once) == "");
  }
  SECTION("a short text after a long one gets the short set, though nothing was read in between") {
    const std::vector<float> expected = read(20, 20);
    REQUIRE(decoder->rewind(0));
    REQUIRE(value_of(decoder->prepare(60)));
    CHECK(difference(read(20, 20), expected) == "");
  }
  SECTION("crossing the trained length needs a new start") {
    (void)read(32, 32);
    CHECK_FALSE(value_of(decoder->prepare(33)));
    std::vector<float> logits(spec.vocab);
    const Status crossed = decoder->forward({&tokens[32], 1}, Decoder::Logits::last, logits.data());
    REQUIRE_FALSE(crossed.ok());
    CHECK(crossed.error().code == Errc::out_of_range);
    CHECK(decoder->position() == 32);
    (void)read(60, 60);
    REQUIRE(decoder->rewind(10));
    CHECK_FALSE(value_of(decoder->prepare(20)));  // the first ten were rotated for a long text
    CHECK(value_of(decoder->prepare(50)));
  }
}

TEST_CASE("what cannot be computed is an error that names it, and leaves the decoder usable", "[decoder]") {
  const auto model = load_path(golden_row("gemma3").folder);
  const std::size_t vocab = model->spec.vocab;
  const auto decoder = make_decoder(*model, KvType::f16, 16);
  std::vector<float> logits(64 * vocab);
  const auto fails = [&](std::vector<std::int32_t> tokens, std::string_view what) {
    const std::size_t position = decoder->position();
    const Status status = decoder->forward(tokens, Decoder::Logits::last, logits.data());
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == Errc::out_of_range);
    CHECK(contains(status.error().message, what));
    CHECK(is_one_printable_line(status.error().message));
    CHECK(decoder->position() == position);
  };
  fails({}, "1 to 16");
  fails(std::vector<std::int32_t>(17, 5), "found 17");
  fails({1, 2, -1}, "token 2");
  fails({331}, "0 to 330");
  fails({std::numeric_limits<std::int32_t>::max()}, "found 2147483647");
  fails({std::numeric_limits<std::int32_t>::min()}, "found -2147483648");
  for (int i = 0; i < 4; ++i)
    require_ok(decoder->forward(std::vector<std::int32_t>(15, 7), Decoder::Logits::none, nullptr));
  fails(std::vector<std::int32_t>(5, 7), "at most 64 positions");
  require_ok(decoder->forward(std::vector<std::int32_t>(4, 7), Decoder::Logits::last, logits.data()));
  fails({7}, "found 65");
  CHECK(decoder->position() == 64);
  REQUIRE(decoder->rewind(0));
  const GoldenRow& row = golden_row("gemma3");
  const auto fresh = make_decoder(*model, KvType::f16, 64);
  CHECK(difference(all_logits(*decoder, row.prompt, 16), all_logits(*fresh, row.prompt)) == "");
}

TEST_CASE("decoders of impossible sizes are refused", "[decoder]") {
  const auto model = load_path(golden_row("llama").folder);
  Decoder::Options options;
  options.context = 65;
  const auto longer = Decoder::create(*model, options, {});
  REQUIRE_FALSE(longer.ok());
  CHECK(longer.error().code == Errc::out_of_range);
  CHECK(contains(longer.error().message, "at most 64"));
  CHECK(contains(longer.error().message, "65"));
  options.context = 64;
  options.max_batch = 0;
  CHECK(value_of(Decoder::create(*model, options, {}))->max_batch() == 1);
  options.max_batch = 1000;
  CHECK(value_of(Decoder::create(*model, options, {}))->max_batch() == 64);
  options.context = 1;
  const auto one = value_of(Decoder::create(*model, options, {}));
  std::vector<float> logits(model->spec.vocab);
  const std::int32_t id = 3;
  require_ok(one->forward({&id, 1}, Decoder::Logits::last, logits.data()));
  CHECK_FALSE(one->forward({&id, 1}, Decoder::Logits::last, logits.data()).ok());
}

TEST_CASE("values that are not finite end a generation as an error", "[decoder]") {
  const auto model = load_path(golden_row("llama").folder, exact_options());
  model->weights.output_norm.weight[0] = std::numeric_limits<float>::max();
  model->weights.layers[0].attn_norm.weight[0] = std::numeric_limits<float>::max();
  const auto decoder = make_decoder(*model, KvType::f32);
  std::vector<float> logits(model->spec.vocab * 3);
  const std::vector<std::int32_t> tokens{4, 5, 6};
  const Status status = decoder->forward(tokens, Decoder::Logits::all, logits.data());
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == Errc::invalid_file);
  CHECK(contains(status.error().message, "finite"));
}
