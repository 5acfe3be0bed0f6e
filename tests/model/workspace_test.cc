// SPDX-License-Identifier: Apache-2.0
// Projections: rows times matrices of any formats, the same bits for a row whatever comes with it.

#include "tritium/model/workspace.h"

#include <cmath>
#include <random>

#include "io/test_files.h"
#include "tritium/core/thread_pool.h"
#include "tritium/format/pack.h"

using namespace tritium;

namespace {

constexpr std::size_t kMost = 150;  // rows
constexpr std::size_t kK = 72;

struct Fixture {
  std::vector<float> x;
  std::vector<float> weights[3];
  std::size_t n[3] = {48, 32, 21};

  Fixture() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    x.resize(kMost * kK);
    for (float& v : x) v = normal(random);
    for (std::size_t i = 0; i < 3; ++i) {
      weights[i].resize(n[i] * kK);
      for (float& v : weights[i]) v = normal(random) / 8;
    }
  }
  [[nodiscard]] Linear linear(std::initializer_list<PackFormat> formats) const {
    Linear out;
    std::size_t i = 0;
    for (const PackFormat format : formats) {
      const StoredMatrix w{TensorType::f32, reinterpret_cast<const std::byte*>(weights[i].data()), n[i], kK};
      out.parts.push_back(value_of(pack(w, format)));
      ++i;
    }
    return out;
  }
  /// y of the first m rows; columns of all parts side by side.
  [[nodiscard]] std::vector<float> run(const Linear& linear, std::size_t first, std::size_t m, bool fine,
                                       const Executor& executor = {}) const {
    Workspace workspace = value_of(Workspace::create(value_of(OpContext::create(executor)), kMost, kK, kK));
    std::vector<float> y(m * linear.n());
    std::vector<MatmulOutput> outputs;
    append_outputs(outputs, linear, {y.data(), m, linear.n()});
    workspace.project(
        m, kK, [&](std::size_t r, float* out) { std::copy_n(x.data() + (first + r) * kK, kK, out); }, outputs, fine);
    return y;
  }
};

}  // namespace

TEST_CASE("a projection equals the product in double", "[workspace]") {
  const Fixture f;
  const Linear linear = f.linear({PackFormat::f32, PackFormat::f32, PackFormat::f32});
  REQUIRE(linear.n() == 101);
  REQUIRE(linear.k() == kK);
  for (const std::size_t m : {1, 3, 4, 5, 8, 23, 24, 25, 150}) {
    const std::vector<float> y = f.run(linear, 0, m, false);
    double worst = 0;
    for (std::size_t r = 0; r < m; ++r) {
      for (std::size_t c = 0; c < linear.n(); ++c) {
        const std::size_t part = c < 48 ? 0 : c < 80 ? 1 : 2;
        const std::size_t row = part == 0 ? c : part == 1 ? c - 48 : c - 80;
        double sum = 0;
        for (std::size_t i = 0; i < kK; ++i)
          sum += static_cast<double>(f.x[r * kK + i]) * static_cast<double>(f.weights[part][row * kK + i]);
        worst = std::max(worst, std::fabs(sum - static_cast<double>(y[r * linear.n() + c])));
      }
    }
    INFO(m);
    CHECK(worst <= 1e-5);
  }
}

TEST_CASE("a row's projection is the same in any batch, of any format, fine or not, with any threads", "[workspace]") {
  const Fixture f;
  const auto pool = value_of(ThreadPool::create(3));
  using F = PackFormat;
  const std::initializer_list<F> stacks[] = {{F::f32},
                                             {F::int8_g32},
                                             {F::int8},
                                             {F::int4_g32m},
                                             {F::int4, F::int5_g32, F::f16},
                                             {F::ternary2},
                                             {F::ternary5, F::bf16, F::int8_g128},
                                             {F::int5_g32m},
                                             {F::nl4_g32},
                                             {F::ternary2_g64, F::int4_g64}};
  for (const auto& formats : stacks) {
    const Linear linear = f.linear(formats);
    for (const bool fine : {false, true}) {
      if (fine && formats.size() > 1) continue;  // only heads are fine, and they are one matrix
      std::vector<float> expected;
      for (std::size_t r = 0; r < kMost; ++r) {
        const std::vector<float> one = f.run(linear, r, 1, fine);
        expected.insert(expected.end(), one.begin(), one.end());
      }
      for (const std::size_t m : {2, 4, 5, 7, 11, 12, 13, 14, 23, 24, 25, 26, 71, 72, 73, 145, 150}) {
        INFO(info(*formats.begin()).name << (fine ? ", fine, " : ", ") << m << " rows");
        const std::vector<float> first(expected.begin(),
                                       expected.begin() + static_cast<std::ptrdiff_t>(m * linear.n()));
        CHECK((f.run(linear, 0, m, fine) == first));
        CHECK((f.run(linear, 0, m, fine, pool->executor()) == first));
      }
    }
  }
}

TEST_CASE("fine activations carry fifteen bits", "[workspace]") {
  const Fixture f;
  // int8g32 of weights that are integers of it: all of the error is the activations'
  Fixture whole = f;
  for (std::size_t r = 0; r < whole.n[0]; ++r) {
    for (std::size_t i = 0; i < kK; ++i)
      whole.weights[0][r * kK + i] = i % 32 == 0 ? 127.0f : std::round(whole.weights[0][r * kK + i] * 300);
  }
  const std::vector<float> exact = whole.run(whole.linear({PackFormat::f32}), 0, kMost, false);
  const auto error = [&](bool fine) {
    const std::vector<float> y = whole.run(whole.linear({PackFormat::int8_g32}), 0, kMost, fine);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += std::pow(static_cast<double>(y[i] - exact[i]), 2);
    return std::sqrt(sum);
  };
  CHECK(error(true) < error(false) / 100);
}
