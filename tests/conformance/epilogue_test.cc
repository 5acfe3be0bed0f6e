// SPDX-License-Identifier: Apache-2.0
// Epilogues on every tier, regions with several products, refused shapes.
//
// The accumulators are taken from a call without an epilogue, which matmul_test.cc proves; what follows is written out in
// f32, operation by operation, and must come out to the last bit. Only the activations built on exp have a tolerance.
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>

#include "conformance/cases.h"
#include "reference/row_ops.h"
#include "support/tiers.h"

using namespace tritium;
using conformance::Case;
using conformance::GuardedOutput;
using conformance::GuardedScratch;
using conformance::same_float;
using panels::Codes;
using panels::Rows;
using panels::Scales;
using tiers::RunnableTier;

namespace {

struct Steps {
  Activation activation = Activation::none;
  bool gated = false;
  bool bias = false;
  float scale = 1.0f;
  enum Residual { none, apart, in_place } residual = none;
};

struct Expected {
  double value;
  double tolerance;  ///< 0: to the last bit
};

MatmulOutput product(const PackedMatrix& w, MatrixView<float> y) {
  MatmulOutput out;
  out.w = &w;
  out.y = y;
  return out;
}

Expected activate(Activation activation, float v) {
  const auto x = static_cast<double>(v);
  // The tails of both GELUs are as far off as rounding their exponents makes them: eps for each unit of x^2.
  const auto near = [&](double y) { return Expected{y, std::fabs(y) * 1e-6 * (1 + x * x) + 4e-37}; };
  switch (activation) {
    case Activation::silu: return near(reference::silu(x));
    case Activation::gelu_tanh: return near(reference::gelu_tanh(x));
    case Activation::gelu_erf: return near(reference::gelu_erf(x));
    case Activation::relu2: return {static_cast<double>(v > 0 ? v * v : 0.0f), 0};
    case Activation::sigmoid: return near(reference::sigmoid(x));
    case Activation::none: break;
  }
  return {x, 0};
}

/// One output: acc (and the accumulator of up), bias values, residual.
Expected finish(const Steps& steps, bool fused, float acc, float bias, float up, float up_bias, float residual) {
  const Expected g = activate(steps.activation, acc + bias);
  auto y = static_cast<float>(g.value);
  double tolerance = g.tolerance;
  if (steps.gated) {
    const float u = up + up_bias;
    y *= u;
    tolerance *= std::fabs(static_cast<double>(u));
  }
  tolerance *= std::fabs(static_cast<double>(steps.scale));
  if (steps.residual == Steps::none) {
    y *= steps.scale;
  } else if (fused) {
    y = std::fma(y, steps.scale, residual);
  } else {
    y *= steps.scale;
    y += residual;
  }
  if (tolerance != 0) tolerance += std::fabs(static_cast<double>(y)) * 0x1p-22;
  return {static_cast<double>(y), tolerance};
}

class Products {
 public:
  Products(PackFormat format, conformance::Shape shape, golden::Random& random)
      : gate_(format, shape, 0, random),
        up_(panels::matrix(format, shape.n, shape.k, Codes::random, Scales::plain, random)),
        both_(panels::interleave(gate_.w, up_)) {
    const auto fill = [&](std::vector<float>& v, std::size_t n) {
      v.resize(n);
      for (float& x : v) x = static_cast<float>(4 * random.uniform() - 2);
    };
    // In panel order for a gate: 16 of gate, 16 of up, ...; not a float more than there are outputs.
    fill(bias_, shape.n);
    fill(gated_bias_, (div_up(shape.n, 16) * 2 - 1) * 16 + (shape.n - 1) % 16 + 1);
    fill(residual_, shape.m * (shape.n + 2));
  }

  void check(const RunnableTier& t, const Steps& steps) {
    const Shape s = gate_.s;
    const MatmulFn kernel = t.kernels->matmul[static_cast<std::size_t>(gate_.f.format)];
    const std::vector<float> acc = plain(kernel, gate_.w);
    const std::vector<float> up = steps.gated ? plain(kernel, up_) : std::vector<float>(acc.size());

    GuardedOutput out(s.m, s.n);
    for (std::size_t r = 0; r < s.m; ++r) {  // the residual may be y itself
      for (std::size_t c = 0; c < s.n; ++c) out.view()(r, c) = residual(r, c);
    }
    MatmulOutput output = product(steps.gated ? both_ : gate_.w, out.view());
    output.epilogue = epilogue(steps, out);
    MatmulArgs args = detail::matmul_args(gate_.input(), output, 0, s.m);
    kernel(args, 0, output.w->n_panels(), scratch_.data());
    if (!out.intact() || !scratch_.intact()) FAIL("wrote outside its output: " << name(t, steps));
    for (std::size_t r = 0; r < s.m; ++r) {
      for (std::size_t c = 0; c < s.n; ++c) {
        const float gate_bias = !steps.bias ? 0.0f : steps.gated ? gated_bias_[c / 16 * 32 + c % 16] : bias_[c];
        const float up_bias = steps.bias && steps.gated ? gated_bias_[c / 16 * 32 + 16 + c % 16] : 0.0f;
        const Expected e =
            finish(steps, t.fused, acc[r * s.n + c], gate_bias, up[r * s.n + c], up_bias, residual(r, c));
        const auto y = static_cast<double>(out.at(r, c));
        if (!(std::fabs(y - e.value) <= e.tolerance)) {
          FAIL(name(t, steps) << " row " << r << " column " << c << ": " << e.value << " expected, found " << y);
        }
      }
    }
    // The same through the public door, whatever the threads.
    for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
      Executor executor;
      executor.n_threads = threads;
      Result<OpContext> context = OpContext::create(*t.kernels, executor);
      REQUIRE(context.ok());
      GuardedOutput shared(s.m, s.n);
      for (std::size_t r = 0; r < s.m; ++r) {
        for (std::size_t c = 0; c < s.n; ++c) shared.view()(r, c) = residual(r, c);
      }
      output.y = shared.view();
      output.epilogue = epilogue(steps, shared);
      REQUIRE(matmul(*context, gate_.input(), {&output, 1}).ok());
      REQUIRE(shared.intact());
      for (std::size_t r = 0; r < s.m; ++r) {
        for (std::size_t c = 0; c < s.n; ++c) {
          if (!same_float(shared.at(r, c), out.at(r, c))) FAIL("threads differ: " << name(t, steps) << " " << threads);
        }
      }
    }
  }

 private:
  using Shape = conformance::Shape;

  [[nodiscard]] float residual(std::size_t r, std::size_t c) const { return residual_[r * (gate_.s.n + 2) + c]; }

  Epilogue epilogue(const Steps& steps, GuardedOutput& out) const {
    Epilogue e;
    e.activation = steps.activation;
    e.gated = steps.gated;
    e.scale = steps.scale;
    if (steps.bias) e.bias = steps.gated ? gated_bias_.data() : bias_.data();
    if (steps.residual == Steps::apart) {
      e.residual = residual_.data();
      e.residual_stride = gate_.s.n + 2;
    } else if (steps.residual == Steps::in_place) {
      e.residual = out.view().data;
      e.residual_stride = out.view().stride;
    }
    return e;
  }

  std::vector<float> plain(MatmulFn kernel, const PackedMatrix& w) {
    std::vector<float> y(gate_.s.m * gate_.s.n);
    const MatmulOutput output = product(w, {y.data(), gate_.s.m, gate_.s.n});
    kernel(detail::matmul_args(gate_.input(), output, 0, gate_.s.m), 0, w.n_panels(), scratch_.data());
    return y;
  }

  [[nodiscard]] std::string name(const RunnableTier& t, const Steps& steps) const {
    return std::string(gate_.f.name) + " on " + std::string(info(t.tier).name) + " m=" + std::to_string(gate_.s.m) +
           " n=" + std::to_string(gate_.s.n) + " activation " + std::to_string(static_cast<int>(steps.activation)) +
           (steps.gated ? " gated" : "") + (steps.bias ? " bias" : "") + " scale " + std::to_string(steps.scale) +
           " residual " + std::to_string(steps.residual);
  }

  Case gate_;
  PackedMatrix up_;
  PackedMatrix both_;
  std::vector<float> bias_;
  std::vector<float> gated_bias_;
  std::vector<float> residual_;
  GuardedScratch scratch_;
};

}  // namespace

TEST_CASE("epilogues are what they say, in their order", "[epilogue]") {
  golden::Random random(31);
  constexpr std::size_t kRows[] = {1, 3, 7, 25, 131};
  constexpr std::size_t kColumns[] = {1, 16, 23, 40, 75, 128};
  std::size_t number = 0;
  std::size_t checked = 0;
  for (const PackFormat format :
       {PackFormat::ternary2, PackFormat::ternary5, PackFormat::int4_g32, PackFormat::k2, PackFormat::f16}) {
    for (const std::size_t m : kRows) {
      for (const std::size_t n : kColumns) {
        if (++number % (100 / tiers::sample(100)) != 0) continue;
        Products products(format, {m, n, 70}, random);
        for (const RunnableTier& t : tiers::runnable()) {
          for (std::size_t i = 0; i < 6; ++i) {
            Steps steps;
            steps.activation = static_cast<Activation>(i);
            steps.gated = random.below(2) == 0;
            steps.bias = random.below(2) == 0;
            steps.scale = random.below(2) == 0 ? 1.0f : 0.37f;
            steps.residual = static_cast<Steps::Residual>(random.below(3));
            products.check(t, steps);
            ++checked;
          }
        }
      }
    }
  }
  REQUIRE(checked > 0);
}

TEST_CASE("several products of one input share a region", "[region]") {
  golden::Random random(32);
  for (const std::size_t m : {1u, 5u, 40u, 130u}) {
    const std::size_t k = 288;
    std::vector<Rows> rows;
    for (const std::size_t group : kActivationGroups) rows.emplace_back(m, k, group, Rows::Fill::random, 0.02, random);
    std::vector<float> x(m * k);
    for (float& v : x) v = static_cast<float>(random.uniform() - 0.5);
    MatmulInput input;
    input.m = m;
    input.k = k;
    input.f32 = {x.data(), m, k};
    for (std::size_t form = 0; form < kActivationForms; ++form) input.q8[form] = rows[form].view();
    const PackedMatrix w[] = {panels::matrix(PackFormat::ternary5, 75, k, Codes::random, Scales::plain, random),
                              panels::matrix(PackFormat::int4_g64, 16, k, Codes::random, Scales::plain, random),
                              panels::matrix(PackFormat::f32, 33, k, Codes::random, Scales::plain, random),
                              panels::matrix(PackFormat::k6, 130, k, Codes::random, Scales::plain, random)};
    for (const RunnableTier& t : tiers::runnable()) {
      std::vector<std::vector<float>> alone;
      for (const PackedMatrix& one : w) {
        Result<OpContext> context = OpContext::create(*t.kernels, {});
        REQUIRE(context.ok());
        alone.emplace_back(m * one.n());
        const MatmulOutput output = product(one, {alone.back().data(), m, one.n()});
        REQUIRE(matmul(*context, input, {&output, 1}).ok());
      }
      for (const std::size_t threads : {1u, 2u, 3u, 8u, 50u}) {
        Executor executor;
        executor.n_threads = threads;
        Result<OpContext> context = OpContext::create(*t.kernels, executor);
        REQUIRE(context.ok());
        std::vector<GuardedOutput> outs;
        for (const PackedMatrix& one : w) outs.emplace_back(m, one.n());
        std::vector<MatmulOutput> outputs;
        for (std::size_t i = 0; i < outs.size(); ++i) outputs.push_back(product(w[i], outs[i].view()));
        REQUIRE(matmul(*context, input, outputs).ok());
        for (std::size_t i = 0; i < outs.size(); ++i) {
          CAPTURE(info(t.tier).name, threads, m, i);
          REQUIRE(outs[i].intact());
          bool same = true;
          for (std::size_t r = 0; r < m; ++r) {
            for (std::size_t c = 0; c < w[i].n(); ++c)
              same = same && same_float(outs[i].at(r, c), alone[i][r * w[i].n() + c]);
          }
          REQUIRE(same);
        }
      }
    }
  }
}

TEST_CASE("products of some of the rows", "[region]") {
  golden::Random random(34);
  constexpr std::size_t kRows = 70;
  constexpr std::size_t kInputs = 100;
  const Rows rows(kRows, kInputs, 0, Rows::Fill::random, 0.02, random);
  MatmulInput input;
  input.m = kRows;
  input.k = kInputs;
  input.q8[0] = rows.view();
  const PackedMatrix w = panels::matrix(PackFormat::int4, 33, kInputs, Codes::random, Scales::plain, random);
  const std::pair<std::size_t, std::size_t> kRanges[] = {{0, 1}, {1, 30}, {31, 0}, {31, 38}, {69, 1}, {0, 70}, {70, 0}};
  for (const RunnableTier& t : tiers::runnable()) {
    for (const std::size_t threads : {1u, 3u}) {
      Executor executor;
      executor.n_threads = threads;
      Result<OpContext> context = OpContext::create(*t.kernels, executor);
      REQUIRE(context.ok());
      std::vector<float> all(kRows * 33);
      const MatmulOutput whole = product(w, {all.data(), kRows, 33});
      REQUIRE(matmul(*context, input, {&whole, 1}).ok());
      std::vector<GuardedOutput> outs;
      for (const auto& [first, count] : kRanges) outs.emplace_back(std::max<std::size_t>(count, 1), 33);
      std::vector<MatmulOutput> outputs;
      for (std::size_t i = 0; i < outs.size(); ++i) {
        outputs.push_back(product(w, outs[i].view()));
        outputs.back().first_row = kRanges[i].first;
        outputs.back().rows = kRanges[i].second;
      }
      REQUIRE(matmul(*context, input, outputs).ok());
      for (std::size_t i = 0; i < outs.size(); ++i) {
        CAPTURE(info(t.tier).name, threads, i);
        REQUIRE(outs[i].intact());
        bool same = true;
        for (std::size_t r = 0; r < kRanges[i].second; ++r) {
          for (std::size_t c = 0; c < 33; ++c) same = same && outs[i].at(r, c) == all[(kRanges[i].first + r) * 33 + c];
        }
        REQUIRE(same);
      }
      MatmulOutput past = product(w, {all.data(), kRows, 33});
      past.first_row = 60;
      past.rows = 11;
      REQUIRE(matmul(*context, input, {&past, 1}).error().code == Errc::invalid_argument);
      past.first_row = 71;
      past.rows = 0;
      REQUIRE(matmul(*context, input, {&past, 1}).error().code == Errc::invalid_argument);
    }
  }
}

TEST_CASE("shapes that do not fit are refused", "[region]") {
  golden::Random random(33);
  Result<OpContext> context = OpContext::create();
  REQUIRE(context.ok());
  const Rows by_row(4, 64, 0, Rows::Fill::random, 0.02, random);
  const PackedMatrix w = panels::matrix(PackFormat::ternary2, 40, 64, Codes::random, Scales::plain, random);
  std::vector<float> y(4 * 40);
  MatmulInput input;
  input.m = 4;
  input.k = 64;
  input.q8[0] = by_row.view();
  const auto answer = [&](const MatmulInput& x, const MatmulOutput& out) { return matmul(*context, x, {&out, 1}); };
  const MatmulOutput good = product(w, {y.data(), 4, 40});
  REQUIRE(answer(input, good).ok());
  REQUIRE(matmul(*context, input, {}).ok());  // nothing to do

  const auto refused = [&](const MatmulInput& x, const MatmulOutput& out) {
    const Status status = answer(x, out);
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().code == Errc::invalid_argument);
    REQUIRE(status.error().message.find("ternary2") != std::string::npos);
  };
  MatmulInput x = input;
  x.k = 63;
  refused(x, good);
  x = input;
  x.q8[0] = {};
  refused(x, good);
  MatmulOutput out = good;
  out.y = {y.data(), 3, 40};
  refused(input, out);
  out.y = {y.data(), 4, 39};
  refused(input, out);
  out = good;
  out.epilogue.gated = true;
  refused(input, out);
  const PackedMatrix both = panels::interleave(w, w);
  out = good;
  out.w = &both;
  refused(input, out);
  const PackedMatrix nothing;
  out = good;
  out.w = &nothing;
  const Status empty = answer(input, out);
  REQUIRE_FALSE(empty.ok());
  x = input;
  x.m = 0;  // no rows: nothing is written
  const std::vector<float> before = y;
  REQUIRE(answer(x, good).ok());
  REQUIRE(y == before);
}
