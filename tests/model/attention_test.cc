// SPDX-License-Identifier: Apache-2.0
// Attention over the cache against naive attention in double: windows, caps, grouped heads, batches on both sides of the
// boundary between few and many rows.

#include "tritium/model/attention.h"

#include <random>

#include "io/test_files.h"
#include "reference/quantize.h"
#include "tritium/core/float16.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

struct Scene {
  ModelSpec spec;
  std::size_t n = 0;  ///< positions
  float cap = 0;
  float scale = 0;
  std::vector<float> q, k, v;  ///< (position, head, head_dim)

  Scene(std::size_t n_heads, std::size_t n_kv_heads, std::size_t head_dim, std::size_t window, std::size_t n_,
        float cap_ = 0, float gain = 1)
      : n(n_), cap(cap_), scale(gain / std::sqrt(static_cast<float>(head_dim))) {
    LayerSpec l;
    l.n_heads = n_heads;
    l.n_kv_heads = n_kv_heads;
    l.head_dim = head_dim;
    l.window = window;
    spec.layers.push_back(l);
    std::mt19937 random(static_cast<unsigned>(n_heads * 1000 + head_dim * 10 + window));
    std::normal_distribution<float> normal;
    for (auto* values : {&q, &k, &v}) {
      values->resize(n * (values == &q ? n_heads : n_kv_heads) * head_dim);
      for (float& x : *values) x = to_float(to_f16(normal(random)));  // so that an f16 cache holds the same values
    }
  }
  /// Keys and values become those that an int8 cache holds of them.
  void round_to_codes() {
    const std::size_t d = layer().head_dim;
    for (std::size_t at = 0; at < k.size(); at += d) {
      reference::round_key_to_codes(k.data() + at, d);
      reference::round_to_codes(v.data() + at, d);
    }
  }
  [[nodiscard]] const LayerSpec& layer() const { return spec.layers[0]; }
  [[nodiscard]] std::size_t width() const { return layer().n_heads * layer().head_dim; }

  [[nodiscard]] std::vector<double> naive(std::size_t position) const {
    const LayerSpec& l = layer();
    const std::size_t d = l.head_dim;
    const std::size_t first = l.window == 0 || position + 1 <= l.window ? 0 : position + 1 - l.window;
    std::vector<double> out(width());
    for (std::size_t h = 0; h < l.n_heads; ++h) {
      const std::size_t kv = h / (l.n_heads / l.n_kv_heads);
      std::vector<double> p;
      double most = -HUGE_VAL;
      for (std::size_t s = first; s <= position; ++s) {
        double score = 0;
        for (std::size_t i = 0; i < d; ++i) {
          score += static_cast<double>(q[(position * l.n_heads + h) * d + i]) *
                   static_cast<double>(k[(s * l.n_kv_heads + kv) * d + i]);
        }
        score *= static_cast<double>(scale);
        if (cap != 0) score = static_cast<double>(cap) * std::tanh(score / static_cast<double>(cap));
        p.push_back(score);
        most = std::max(most, score);
      }
      double sum = 0;
      for (double& x : p) sum += x = std::exp(x - most);
      for (std::size_t s = first; s <= position; ++s) {
        for (std::size_t i = 0; i < d; ++i)
          out[h * d + i] += p[s - first] / sum * static_cast<double>(v[(s * l.n_kv_heads + kv) * d + i]);
      }
    }
    return out;
  }

  /// Attention of all positions, stored and asked for in batches of `batch`.
  [[nodiscard]] std::vector<float> run(std::size_t batch, KvType type, const Executor& executor = {}) const {
    const LayerSpec& l = layer();
    const std::size_t d = l.head_dim;
    Workspace workspace = value_of(Workspace::create(value_of(OpContext::create(executor)), batch, 16, 16));
    KvCache cache = value_of(KvCache::create(spec, n, batch, type));
    Attention attention = value_of(Attention::create(spec, executor.n_threads, batch));
    std::vector<float> out(n * width());
    for (std::size_t first = 0; first < n; first += batch) {
      const std::size_t rows = std::min(batch, n - first);
      require_ok(attention.reserve(first + rows));
      for (std::size_t p = first; p < first + rows; ++p) {
        for (std::size_t h = 0; h < l.n_kv_heads; ++h) {
          cache.store(workspace.kernels(), 0, h, p, &k[(p * l.n_kv_heads + h) * d], &v[(p * l.n_kv_heads + h) * d]);
        }
      }
      Attention::Batch b;
      b.layer = &l;
      std::vector<Attention::Place> places;
      for (std::size_t r = 0; r < rows; ++r) places.push_back({&cache, first + r});
      b.places = places;
      b.q = &q[first * width()];
      b.q_stride = width();
      b.scale = scale;
      b.soft_cap = cap;
      attention.run(workspace, b);
      for (std::size_t r = 0; r < rows; ++r) attention.row(workspace.kernels(), r, &out[(first + r) * width()]);
    }
    return out;
  }

  /// Mean squared error over the mean square of the truth.
  [[nodiscard]] double nmse(const std::vector<float>& found) const {
    double error = 0, power = 0;
    for (std::size_t p = 0; p < n; ++p) {
      const std::vector<double> truth = naive(p);
      for (std::size_t i = 0; i < truth.size(); ++i) {
        const double e = static_cast<double>(found[p * width() + i]) - truth[i];
        error += e * e;
        power += truth[i] * truth[i];
      }
    }
    return error / power;
  }
};

}  // namespace

TEST_CASE("attention equals naive attention in double", "[attention]") {
  struct Case {
    std::size_t heads, kv_heads, dim, window, n;
    float cap;
  };
  std::vector<Case> cases;
  for (const std::size_t window : {0, 1, 2, 8, 127, 128, 129, 200}) cases.push_back({4, 2, 32, window, 300, 0});
  for (const std::size_t dim : {2, 12, 16, 20, 48, 64, 80, 96, 100, 128, 256}) cases.push_back({3, 1, dim, 40, 140, 0});
  for (const std::size_t heads : {1, 2, 8, 16, 49, 64})
    cases.push_back({heads, 1, 16, 0, 60, 0});  // past one block of queries too
  for (const std::size_t kv_heads : {1, 2, 3, 6, 12}) cases.push_back({12, kv_heads, 16, 10, 60, 0});
  for (const float cap : {0.5f, 5.0f, 50.0f}) cases.push_back({4, 2, 32, 50, 150, cap});
  for (const Case& c : cases) {
    INFO(c.heads << " heads, " << c.kv_heads << " kv, dim " << c.dim << ", window " << c.window << ", cap " << c.cap);
    Scene scene(c.heads, c.kv_heads, c.dim, c.window, c.n, c.cap);
    CHECK(scene.nmse(scene.run(c.n, KvType::f32)) <= 1e-12);
    CHECK(scene.nmse(scene.run(1, KvType::f32)) <= 1e-12);
    CHECK(scene.nmse(scene.run(37, KvType::f16)) <= 1e-12);
    // bf16 rounds queries, keys, values and probabilities by 2^-8 at most, a third of that squared on average: a score of
    // a few units moves by some hundredths, a value by thousandths.
    const double pairs = scene.nmse(scene.run(37, KvType::bf16));
    CHECK(pairs <= 1e-4);
    CHECK(pairs >= 1e-9);
    // A code is off by a uniform error of step^2 / 12 on average, step = max / 127 and max under 4 deviations: 8.3e-5 of a
    // value's square, and a score moves by as much of one. One key alone has no score to move.
    const std::vector<float> int8 = scene.run(37, KvType::int8);
    const double rounding = scene.nmse(int8);
    CHECK(rounding <= 2 * 8.3e-5);
    if (c.dim > 2) CHECK(rounding >= 1e-6);  // codes were read, not floats
    scene.round_to_codes();
    CHECK(scene.nmse(int8) <= 1e-12);
    CHECK(scene.nmse(scene.run(1, KvType::int8)) <= 1e-12);
  }
}

TEST_CASE("attention gives a row the same bits in any batch and with any number of threads", "[attention]") {
  const auto pool = value_of(ThreadPool::create(3));
  for (const std::size_t window : {0, 8, 130}) {
    const Scene scene(6, 2, 24, window, 400);
    for (const KvType type : {KvType::f32, KvType::f16, KvType::int8, KvType::bf16}) {
      const std::vector<float> at_once = scene.run(400, type);
      for (const std::size_t batch : {1, 2, 3, 7, 8, 9, 10, 64, 127, 128, 129, 399}) {
        INFO("window " << window << ", batch " << batch);
        CHECK(scene.run(batch, type) == at_once);
        if (batch >= 7 && batch <= 64) CHECK(scene.run(batch, type, pool->executor()) == at_once);
        if (batch >= 7 && batch <= 64) CHECK(scene.run(batch, type, Executor{7, nullptr, nullptr}) == at_once);
      }
    }
  }
}

TEST_CASE("attention survives scores far apart", "[attention]") {
  const Scene sharp(4, 2, 32, 0, 300, 0, 400.0f);  // scores of thousands: one key takes all
  CHECK(sharp.nmse(sharp.run(300, KvType::f32)) <= 1e-6);
  CHECK(sharp.nmse(sharp.run(1, KvType::f32)) <= 1e-6);
  const Scene flat(4, 2, 32, 0, 300, 0, 0.0f);  // all scores 0: the mean of the values
  CHECK(flat.nmse(flat.run(300, KvType::f32)) <= 1e-12);
  const Scene capped(4, 2, 32, 0, 200, 30.0f, 400.0f);
  CHECK(capped.nmse(capped.run(200, KvType::f32)) <= 1e-6);
}
