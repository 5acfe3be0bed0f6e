// SPDX-License-Identifier: Apache-2.0
// Rotation and the profiles made of it.

#include <cstdio>
#include <random>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/model/profile.h"

using namespace tritium;

namespace {

double worst_error(const GoldenRow& row, const std::vector<float>& logits) {
  double worst = 0;
  for (std::size_t i = 0; i < row.rows.size(); ++i) {
    worst = std::max(
        worst, row_error(logits.data() + row.rows[i] * row.vocab(), row.logits.data() + i * row.vocab(), row.vocab()));
  }
  return worst;
}

}  // namespace

TEST_CASE("Hadamard blocks are orthogonal, symmetric and their own inverse", "[rotation]") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const std::size_t n : {1, 2, 8, 12, 56, 64, 96}) {
    INFO(n);
    std::vector<float> x(n), y(n);
    for (float& v : x) v = normal(random);
    for (float& v : y) v = normal(random);
    const auto dot = [](const std::vector<float>& a, const std::vector<float>& b) {
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      return sum;
    };
    std::vector<float> hx = x, hy = y, qx = x, qy = y;
    hadamard(hx.data(), n);
    hadamard(hy.data(), n);
    CHECK(std::fabs(dot(hx, hy) - dot(x, y)) < 1e-4);
    CHECK(std::fabs(dot(hx, y) - dot(x, hy)) < 1e-4);
    hadamard(hx.data(), n);
    for (std::size_t i = 0; i < n; ++i) CHECK(std::fabs(hx[i] - x[i]) < 1e-5f);
    rotate_residual(qx.data(), n);
    rotate_residual(qy.data(), n);
    CHECK(std::fabs(dot(qx, qy) - dot(x, y)) < 1e-4);
  }
}

TEST_CASE("a rotated model is the same function", "[rotation][golden]") {
  for (const char* name :
       {"phi3", "phi3-long", "phi4", "phi4-mini", "llama", "llama-gqa", "mistral", "qwen3", "smollm3"}) {
    const GoldenRow& row = golden_row(name);
    for (const std::string& path : row.paths()) {
      INFO(path);
      LoadOptions options = exact_options();
      options.rotate = true;
      const auto model = load_path(path, options);
      CHECK(model->spec.hadamard_mlp);
      for (const LayerWeights& layer : model->weights.layers) {
        CHECK(std::all_of(layer.attn_norm.weight.data(), layer.attn_norm.weight.data() + model->spec.hidden,
                          [](float w) { return w == 1.0f; }));
      }
      const auto decoder = make_decoder(*model, KvType::f32);
      const std::vector<float> logits = all_logits(*decoder, row.tokens());
      CHECK(worst_error(row, logits) <= 2 * row.tolerance);
      CHECK(difference(all_logits(*decoder, row.tokens(), 1), logits) == "");
    }
  }
}

TEST_CASE("families whose rotation would change them are refused", "[rotation][golden]") {
  for (const char* name : {"phi", "gemma", "gemma2", "gemma3", "gemma3n", "qwen2", "qwen3-moe", "qwen3-next", "bitnet",
                           "llama-158", "llama-bias"}) {
    INFO(name);
    LoadOptions options = exact_options();
    options.rotate = true;
    const Checkpoint checkpoint = open_checkpoint(golden_row(name).folder);
    if (std::string_view(name) == "gemma") {  // two norms, scaled embedding: rotation commutes with both
      value_of(try_load(checkpoint, options));
      continue;
    }
    CHECK(error_of(try_load(checkpoint, options)).code == Errc::unsupported);
  }
}

TEST_CASE("the phi-silica profile: chunks and threads do not change its bits", "[profile][golden]") {
  const Profile* profile = find_profile("phi-silica");
  REQUIRE(profile != nullptr);
  CHECK(find_profile("another") == nullptr);
  const auto pool = value_of(ThreadPool::create(2));
  for (const char* name : {"phi3", "phi3-long", "phi4-mini"}) {
    const GoldenRow& row = golden_row(name);
    INFO(row.name);
    const auto model = load_path(row.folder, profile->load_options());
    const auto decoder = value_of(Decoder::create(*model, profile->decoder_options(), {}));
    CHECK(decoder->max_batch() == 64);
    const std::vector<float> expected = all_logits(*decoder, row.tokens());
    for (const std::size_t chunk : {1, 7, 32})
      CHECK(difference(all_logits(*decoder, row.tokens(), chunk), expected) == "");
    const auto threaded = value_of(Decoder::create(*model, profile->decoder_options(), pool->executor()));
    CHECK(difference(all_logits(*threaded, row.tokens(), 9), expected) == "");
    CHECK(worst_error(row, expected) < 2.5);  // tiny matrices at 4 bits: another model, but not noise
  }
}

TEST_CASE("outliers that ruin 4 bits are harmless once rotated", "[rotation]") {
  // One input dimension a hundred times the others: its group of 32 keeps two or three levels for everybody else.
  constexpr std::size_t n = 32, k = 256;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> plain(n * k), x(k);
  for (float& w : plain) w = normal(random);
  for (std::size_t r = 0; r < n; ++r) plain[r * k + 17] *= 100.0f;
  for (float& v : x) v = normal(random);
  x[17] *= 0.01f;
  const auto error_of_product = [&](const std::vector<float>& w, const std::vector<float>& input) {
    const StoredMatrix stored{TensorType::f32, reinterpret_cast<const std::byte*>(w.data()), n, k};
    const PackedMatrix packed = value_of(pack(&stored, 1, PackFormat::int4_g32, false, Executor{}));
    std::vector<float> row(k);
    double error = 0;
    for (std::size_t r = 0; r < n; ++r) {
      packed.decode_row(r, row.data());
      double sum = 0;
      for (std::size_t c = 0; c < k; ++c)
        sum += (static_cast<double>(row[c]) - static_cast<double>(w[r * k + c])) * static_cast<double>(input[c]);
      error += sum * sum;
    }
    return std::sqrt(error / n);
  };
  std::vector<float> turned = plain, turned_x = x;
  for (std::size_t r = 0; r < n; ++r) rotate_residual(turned.data() + r * k, k);
  rotate_residual(turned_x.data(), k);
  const double before = error_of_product(plain, x);
  const double after = error_of_product(turned, turned_x);
  std::printf("4 bits with an outlier: error %.3f, rotated %.3f\n", before, after);
  CHECK(after < before);
}
