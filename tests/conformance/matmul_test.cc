// SPDX-License-Identifier: Apache-2.0
// Every format of the catalogue x every tier that this CPU runs x sampled shapes, against oracles that know nothing of
// panels but their decoder.
//
// Row-scaled formats add integers: y is float(sum) * (w_scale * x_scale) to the last bit, on every tier. Grouped and
// float formats add in f32: y is within a bound that counts roundings, and tiers with fused multiply-add agree to the
// last bit. Nothing may depend on the number of rows, on how panels are shared, or on what lies in padding.
#include "tritium/ops/matmul.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "conformance/cases.h"
#include "reference/matmul.h"
#include "support/tiers.h"

using namespace tritium;
using conformance::Case;
using conformance::GuardedOutput;
using conformance::GuardedScratch;
using conformance::same_float;
using conformance::Shape;
using tiers::RunnableTier;

namespace {

constexpr double kEps = 0x1p-23;

constexpr std::size_t kM[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 23, 24, 25, 27, 130};
constexpr std::size_t kN[] = {1, 15, 16, 17, 31, 33, 48, 64, 75, 144};
constexpr std::size_t kK[] = {1,  2,  3,  4,   7,   15,  16,  17,  20,  31,  32,   33,
                              63, 64, 65, 100, 255, 256, 257, 512, 513, 576, 1300, 2049};
// Layers of SmolLM2, Gemma 3, Qwen and BitNet.
constexpr Shape kLayers[] = {{1, 576, 576}, {1, 192, 576},  {3, 1536, 576}, {1, 576, 1536},
                             {1, 320, 960}, {1, 256, 640},  {2, 640, 2048}, {1, 1024, 1152},
                             {1, 128, 896}, {1, 640, 2560}, {1, 384, 1024}, {30, 192, 576}};

/// Plain values of a case without an epilogue, and how far a kernel may be from them (0: not at all).
struct Oracle {
  std::vector<double> value;
  std::vector<double> bound;
  std::vector<float> exact;  ///< row-scaled formats
};

/// Roundings that a term meets on its way into y, at most: of its own scale or minimum (two), and of every running sum.
/// With fused multiply-add each costs eps / 2 of the terms' magnitudes, without it twice that.
double roundings(const PackFormatInfo& f, std::size_t k) {
  if (f.is_float) return static_cast<double>(k) + 2;
  const std::size_t step = f.group == 16 ? 16 : 32;
  const bool min =
      f.scales == ScaleKind::kGroupMin || f.scales == ScaleKind::kSuperMin || f.scales == ScaleKind::kSuperMin4;
  const std::size_t sums = div_up(k, step) * (min ? 2 : 1) + (f.group > 32 ? div_up(k, f.group) : 0);
  return static_cast<double>(sums) + 4;
}

Oracle solve(const Case& c) {
  Oracle o;
  const std::size_t n = c.s.n;
  o.value.resize(c.s.m * n);
  o.bound.resize(c.s.m * n);
  std::vector<float> values(c.s.k);
  if (!c.f.is_float && c.f.group == 0) {
    o.exact.resize(c.s.m * n);
    const PackedMatrix levels = panels::unscaled(c.w);
    std::vector<std::int16_t> level(c.s.k);
    for (std::size_t column = 0; column < n; ++column) {
      levels.decode_row(column, values.data());
      for (std::size_t i = 0; i < c.s.k; ++i) level[i] = static_cast<std::int16_t>(values[i]);
      float scale = 0;
      std::memcpy(&scale, c.w.panel(column / 16) + 4 * (column % 16), sizeof scale);
      for (std::size_t r = 0; r < c.s.m; ++r) {
        const std::int64_t sum = reference::integer_dot(level.data(), c.rows.codes(r), c.s.k);
        const float both = scale * c.rows.scale(r);
        o.exact[r * n + column] = static_cast<float>(sum) * both;
      }
    }
    return o;
  }
  std::vector<std::vector<double>> x(c.s.m);
  for (std::size_t r = 0; r < c.s.m; ++r) {
    if (c.f.is_float) x[r].assign(c.floats.data() + r * c.x_stride, c.floats.data() + r * c.x_stride + c.s.k);
    else x[r] = c.rows.values(r);
  }
  const PackedMatrix magnitude = panels::magnitudes(c.w);
  const double relative = roundings(c.f, c.s.k) * kEps;
  // Products that underflow lose 2^-150 each before they meet a scale, an integer or another value of this size.
  const double absolute = roundings(c.f, c.s.k) * 0x1p-149 * (c.f.is_float ? 1.0 : 2e7);
  std::vector<float> magnitudes(c.s.k);
  for (std::size_t column = 0; column < n; ++column) {
    c.w.decode_row(column, values.data());
    magnitude.decode_row(column, magnitudes.data());
    const std::vector<double> w(values.begin(), values.end());
    const std::vector<double> w_magnitude(magnitudes.begin(), magnitudes.end());
    for (std::size_t r = 0; r < c.s.m; ++r) {
      o.value[r * n + column] = reference::dot(w.data(), x[r].data(), c.s.k);
      o.bound[r * n + column] = relative * reference::magnitude_dot(w_magnitude.data(), x[r].data(), c.s.k) + absolute;
    }
  }
  return o;
}

std::string where(const Case& c, const RunnableTier& t, std::size_t r, std::size_t column) {
  return std::string(c.f.name) + " on " + std::string(info(t.tier).name) + " m=" + std::to_string(c.s.m) +
         " n=" + std::to_string(c.s.n) + " k=" + std::to_string(c.s.k) + " at row " + std::to_string(r) + " column " +
         std::to_string(column);
}

class Checker {
 public:
  void check(const Case& c, std::size_t number, golden::Random& random) {
    const Oracle oracle = solve(c);
    const std::size_t n = c.s.n;
    const std::vector<RunnableTier> all = tiers::runnable();
    std::vector<float> fused;  // of the first tier with fused multiply-add
    for (const RunnableTier& t : all) {
      const MatmulFn kernel = t.kernels->matmul[static_cast<std::size_t>(c.f.format)];
      GuardedOutput out(c.s.m, n);
      kernel(c.args(0, c.s.m, out.view()), 0, c.w.n_panels(), scratch_.data());
      const bool intact = out.intact() && scratch_.intact();
      if (!intact) FAIL("wrote outside its output: " << where(c, t, 0, 0));
      const std::vector<float> y = contents(c, out);
      compare(c, t, oracle, y);
      if (t.fused && fused.empty()) fused = y;
      if (t.fused) require_same(c, t, fused, y, "tiers with fused multiply-add differ");
      split(c, t, kernel, y, random);
      if (number % 4 == 0) one_by_one(c, t, kernel, y);
      if (!c.f.is_float && c.s.m % 2 == 0) in_two_parts(c, t, kernel, y);
      if (number % 5 == 0) threads(c, t, y);
    }
    ++cases_;
  }
  [[nodiscard]] std::size_t comparisons() const { return comparisons_; }

 private:
  static std::vector<float> contents(const Case& c, const GuardedOutput& out) {
    std::vector<float> y(c.s.m * c.s.n);
    for (std::size_t r = 0; r < c.s.m; ++r) {
      for (std::size_t i = 0; i < c.s.n; ++i) y[r * c.s.n + i] = out.at(r, i);
    }
    return y;
  }

  void compare(const Case& c, const RunnableTier& t, const Oracle& o, const std::vector<float>& y) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      ++comparisons_;
      if (!o.exact.empty()) {
        if (!same_float(y[i], o.exact[i])) {
          FAIL(where(c, t, i / c.s.n, i % c.s.n) << ": exactly " << o.exact[i] << " expected, found " << y[i]);
        }
      } else if (!(std::fabs(static_cast<double>(y[i]) - o.value[i]) <= o.bound[i])) {
        FAIL(where(c, t, i / c.s.n, i % c.s.n)
             << ": " << o.value[i] << " +- " << o.bound[i] << " expected, found " << y[i]);
      }
    }
  }

  void require_same(const Case& c, const RunnableTier& t, const std::vector<float>& a, const std::vector<float>& b,
                    const char* what) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      ++comparisons_;
      if (!same_float(a[i], b[i]))
        FAIL(what << ": " << where(c, t, i / c.s.n, i % c.s.n) << ": " << a[i] << " and " << b[i]);
    }
  }

  /// Panels in three calls, last first.
  void split(const Case& c, const RunnableTier& t, MatmulFn kernel, const std::vector<float>& y,
             golden::Random& random) {
    const std::size_t panels = c.w.n_panels();
    const std::size_t a = random.below(panels + 1);
    const std::size_t b = a + random.below(panels - a + 1);
    GuardedOutput out(c.s.m, c.s.n);
    const MatmulArgs args = c.args(0, c.s.m, out.view());
    kernel(args, b, panels, scratch_.data());
    kernel(args, 0, a, scratch_.data());
    kernel(args, a, b, scratch_.data());
    if (!out.intact() || !scratch_.intact()) FAIL("wrote outside its panels: " << where(c, t, 0, 0));
    require_same(c, t, y, contents(c, out), "results depend on how panels are shared");
  }

  void one_by_one(const Case& c, const RunnableTier& t, MatmulFn kernel, const std::vector<float>& y) {
    GuardedOutput out(c.s.m, c.s.n);
    for (std::size_t r = 0; r < c.s.m; ++r) {
      kernel(c.args(r, 1, out.view().row_range(r, 1)), 0, c.w.n_panels(), scratch_.data());
    }
    require_same(c, t, y, contents(c, out), "results depend on the number of rows");
  }

  /// Pairs of rows of x that are added to make one of y.
  void in_two_parts(const Case& c, const RunnableTier& t, MatmulFn kernel, const std::vector<float>& y) {
    const std::size_t rows = c.s.m / 2;
    std::vector<float> expected(rows * c.s.n);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t i = 0; i < c.s.n; ++i)
        expected[r * c.s.n + i] = y[2 * r * c.s.n + i] + y[(2 * r + 1) * c.s.n + i];
    }
    const auto contents_of = [&](const GuardedOutput& out) {
      if (!out.intact() || !scratch_.intact()) FAIL("wrote outside its output: " << where(c, t, 0, 0));
      std::vector<float> found(rows * c.s.n);
      for (std::size_t i = 0; i < found.size(); ++i) found[i] = out.at(i / c.s.n, i % c.s.n);
      return found;
    };
    GuardedOutput direct(rows, c.s.n);
    MatmulArgs args = c.args(0, c.s.m, direct.view());
    args.x_parts = 2;
    kernel(args, 0, c.w.n_panels(), scratch_.data());
    require_same(c, t, expected, contents_of(direct), "two parts do not add up");
    Executor executor;
    executor.n_threads = 3;
    Result<OpContext> context = OpContext::create(*t.kernels, executor);
    REQUIRE(context.ok());
    GuardedOutput shared(rows, c.s.n);
    MatmulInput input = c.input();
    input.m = rows;
    input.parts = 2;
    MatmulOutput output;
    output.w = &c.w;
    output.y = shared.view();
    REQUIRE(matmul(*context, input, {&output, 1}).ok());
    require_same(c, t, expected, contents_of(shared), "two parts do not add up on three threads");
  }

  void threads(const Case& c, const RunnableTier& t, const std::vector<float>& y) {
    for (const std::size_t count : {1u, 2u, 3u, 8u}) {
      Executor executor;
      executor.n_threads = count;
      Result<OpContext> context = OpContext::create(*t.kernels, executor);
      REQUIRE(context.ok());
      GuardedOutput out(c.s.m, c.s.n);
      MatmulOutput output;
      output.w = &c.w;
      output.y = out.view();
      const Status done = matmul(*context, c.input(), {&output, 1});
      if (!done.ok()) FAIL(done.error().message);
      if (!out.intact()) FAIL("wrote outside its output: " << where(c, t, 0, 0));
      require_same(c, t, y, contents(c, out), "results depend on the number of threads");
    }
  }

  GuardedScratch scratch_;
  std::size_t comparisons_ = 0;
  std::size_t cases_ = 0;
};

void check_format(PackFormat format) {
  golden::Random random(1000 + static_cast<std::uint64_t>(format));
  Checker checker;
  const std::size_t count = tiers::sample(400);
  for (std::size_t i = 0; i < count; ++i) {
    // Small k and n come more often than large ones: that is where the edges are.
    const Shape s{kM[random.below(std::size(kM))], kN[random.below(std::size(kN))], kK[random.below(std::size(kK))]};
    const Case c(format, s, i, random);
    checker.check(c, i, random);
  }
  for (std::size_t i = 0; i < tiers::sample(std::size(kLayers)); ++i) {
    const Shape s = kLayers[(i + static_cast<std::size_t>(format)) % std::size(kLayers)];
    const Case c(format, s, 0, random);
    checker.check(c, 5 * i + (s.n * s.k > 600000 ? 1 : 0), random);
  }
  // 5,000 comparisons for each kernel is the least that the full run must make.
  if (count >= 400) REQUIRE(checker.comparisons() / tiers::runnable().size() > 5000);
  REQUIRE(checker.comparisons() > 0);
}

}  // namespace

#define TRITIUM_FORMAT(family, id, name, type) \
  TEST_CASE("matmul " name " is right on every tier", "[matmul][" #family "]") { check_format(PackFormat::id); }
#define TRITIUM_FLOAT_FORMAT(id, name, type) \
  TEST_CASE("matmul " name " is right on every tier", "[matmul][float]") { check_format(PackFormat::id); }
#include "tritium/format/formats.inc"
#undef TRITIUM_FORMAT
#undef TRITIUM_FLOAT_FORMAT

TEST_CASE("row-scaled formats are exact up to the largest k", "[matmul]") {
  golden::Random random(77);
  Checker checker;
  for (const PackFormatInfo& f : kPackFormats) {
    if (f.is_float || f.group != 0) continue;
    const std::size_t k = f.bits == 0 ? 32768 : 65536;
    for (const std::size_t m : {1u, 3u, 7u, 25u}) {
      for (const std::size_t variant : {1u, 2u, 9u, 10u, 17u, 18u}) {  // largest and smallest codes, +-127
        const Case c(f.format, {m, m == 1 ? 70u : 17u, k}, variant, random);
        checker.check(c, 1, random);
        if (tiers::sample(100) < 50) break;
      }
    }
  }
  REQUIRE(checker.comparisons() > 0);
}

TEST_CASE("every catalogue format has a kernel in every compiled tier", "[matmul][tiers]") {
  std::string compiled;
  std::string run;
  for (const TierInfo& t : kTiers) {
    const KernelTable* table = kernel_table(t.tier);
    if (table == nullptr) continue;
    CAPTURE(t.name);
    REQUIRE(std::string(table->tier) == t.name);
    for (const PackFormatInfo& f : kPackFormats) {
      CAPTURE(f.name);
      REQUIRE(table->matmul[static_cast<std::size_t>(f.format)] != nullptr);
    }
    REQUIRE(table->quantize_rows != nullptr);
    REQUIRE(table->attention != nullptr);
    REQUIRE(table->attention_merge != nullptr);
    REQUIRE(table->rms_norm != nullptr);
    REQUIRE(table->layer_norm != nullptr);
    REQUIRE(table->rope_half != nullptr);
    REQUIRE(table->gate != nullptr);
    REQUIRE(table->add_scaled != nullptr);
    REQUIRE(table->scale != nullptr);
    REQUIRE(table->soft_cap != nullptr);
    REQUIRE(table->soft_max != nullptr);
    REQUIRE(table->arg_max != nullptr);
    REQUIRE(table->all_finite != nullptr);
    REQUIRE(table->store_kv != nullptr);
    REQUIRE(table->log_sum_exp != nullptr);
    REQUIRE(table->divergence != nullptr);
    REQUIRE(table->delta_rule != nullptr);
    REQUIRE(table->conv_silu != nullptr);
    REQUIRE(table->shortlist != nullptr);
    (cpu_has(t.tier) ? run : compiled).append(" ").append(t.name);
  }
  REQUIRE_FALSE(run.empty());
  WARN("tiers tested:" << run << "; compiled in but not run on this CPU:" << (compiled.empty() ? " none" : compiled));
}
