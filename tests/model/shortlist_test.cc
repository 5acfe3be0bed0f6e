// SPDX-License-Identifier: Apache-2.0
// A shortlisted head against the whole one: the n largest logits have the same places and the same bits, whatever the weights.
#include "tritium/model/shortlist.h"

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <random>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

/// Rows of weights, made by value(row, column).
PackedMatrix make_head(PackFormat format, std::size_t n, std::size_t k,
                       const std::function<float(std::size_t, std::size_t)>& value) {
  std::vector<float> rows(n * k);
  for (std::size_t i = 0; i < n * k; ++i) rows[i] = value(i / k, i % k);
  return value_of(pack({TensorType::f32, reinterpret_cast<const std::byte*>(rows.data()), n, k}, format));
}

struct Heads {
  std::vector<float> whole, listed;
  std::size_t bytes = 0;  // that the list read
};

/// Logits of x by the whole head and by a list of its `top` largest.
Heads both(const PackedMatrix& head, const ShortlistWeights& weights, const std::vector<float>& x, std::size_t top,
           std::size_t threads, Shortlist* kept = nullptr) {
  const auto pool = value_of(ThreadPool::create(threads));
  Workspace workspace =
      value_of(Workspace::create(value_of(OpContext::create(pool->executor())), 4, head.k(), head.k()));
  Heads heads{std::vector<float>(head.n()), std::vector<float>(head.n()), 0};
  const auto row = [&](std::size_t, float* out) { std::copy(x.begin(), x.end(), out); };
  std::vector<MatmulOutput> outputs;
  append_output(outputs, head, {heads.whole.data(), 1, head.n()});
  workspace.project(1, head.k(), row, outputs, true);
  outputs[0].y.data = heads.listed.data();
  const std::size_t before = workspace.weight_bytes();
  Shortlist own = value_of(Shortlist::create(weights, threads));
  if (!(kept != nullptr ? *kept : own).run(workspace, outputs[0], top, row)) heads.listed.clear();
  heads.bytes = workspace.weight_bytes() - before;
  return heads;
}

/// Empty when the `top` largest agree in place and bits and all others are no larger.
std::string wrong_list(const Heads& heads, std::size_t top) {
  std::vector<std::size_t> order(heads.whole.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return heads.whole[a] > heads.whole[b]; });
  top = std::min(top, order.size());
  const float least = heads.whole[order[top - 1]];
  for (std::size_t i = 0; i < order.size(); ++i) {
    const float whole = heads.whole[order[i]];
    const float listed = heads.listed[order[i]];
    const bool right =
        whole >= least ? std::bit_cast<std::uint32_t>(whole) == std::bit_cast<std::uint32_t>(listed) : listed < least;
    if (!right)
      return "place " + std::to_string(i) + ", output " + std::to_string(order[i]) + ": " + std::to_string(whole) +
             " and " + std::to_string(listed);
  }
  return "";
}

std::vector<float> noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

}  // namespace

TEST_CASE("the largest logits of a shortlisted head are the whole head's, bit for bit", "[shortlist]") {
  struct Case {
    PackFormat head, list;
    std::size_t n, k;
  };
  const Case cases[] = {
      {PackFormat::int8_g32, PackFormat::int5_g32, 1003, 96}, {PackFormat::int8_g32, PackFormat::int4_g32, 2000, 160},
      {PackFormat::int8, PackFormat::int5_g32, 999, 64},      {PackFormat::k6, PackFormat::int4_g32, 512, 256},
      {PackFormat::f32, PackFormat::int8_g32, 700, 33},       {PackFormat::bf16, PackFormat::int8, 511, 100},
      {PackFormat::f16, PackFormat::int4, 600, 50},           {PackFormat::int8_g32, PackFormat::ternary2, 300, 32},
  };
  for (const Case& c : cases) {
    CAPTURE(info(c.head).name, info(c.list).name);
    const std::vector<float> values = noise(c.n * c.k, 7);
    const PackedMatrix head = make_head(c.head, c.n, c.k, [&](std::size_t r, std::size_t i) {
      return 0.02f * values[r * c.k + i] * static_cast<float>(1 + r % 5);
    });
    for (const std::size_t threads : {std::size_t{1}, std::size_t{3}}) {
      const auto pool = value_of(ThreadPool::create(threads));
      const ShortlistWeights weights = value_of(make_shortlist(head, c.list, pool->executor()));
      for (const std::size_t top : {std::size_t{1}, std::size_t{5}, std::size_t{40}, c.n, c.n + 9}) {
        for (unsigned seed = 0; seed < 6; ++seed) {
          std::vector<float> x = noise(c.k, 100 + seed);
          if (seed == 1) x.assign(c.k, 0.0f);
          if (seed == 2) x[c.k / 2] = 300.0f;  // one channel that outweighs all others
          if (seed == 3) {
            for (float& v : x) v *= 1e-20f;
          }
          CAPTURE(threads, top, seed);
          CHECK(wrong_list(both(head, weights, x, top, threads), top) == "");
        }
      }
    }
  }
}

TEST_CASE("no output leaves the reach of its copy", "[shortlist]") {
  const std::size_t n = 300;
  const std::size_t k = 192;
  const std::vector<float> values = noise(n * k, 3);
  const PackedMatrix head =
      make_head(PackFormat::int8_g32, n, k, [&](std::size_t r, std::size_t i) { return values[r * k + i]; });
  for (const PackFormat format : {PackFormat::int4_g32, PackFormat::int5_g32, PackFormat::int4_g128}) {
    const ShortlistWeights weights = value_of(make_shortlist(head, format, {}));
    for (std::size_t o = 0; o < n; ++o) {  // the input that moves output o farthest: its own residual
      std::vector<float> x(k), coarse(k);
      head.decode_row(o, x.data());
      weights.coarse.decode_row(o, coarse.data());
      double squares = 0;
      for (std::size_t i = 0; i < k; ++i) {
        x[i] -= coarse[i];
        squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      }
      std::vector<float> y(n), c(n);
      OpContext context = value_of(OpContext::create({}));
      REQUIRE(matmul(context, {x.data(), 1, k}, head, {y.data(), 1, n}).ok());
      REQUIRE(matmul(context, {x.data(), 1, k}, weights.coarse, {c.data(), 1, n}).ok());
      // One part of int8 activations here, whose rounding is 254 times that of two: one reach more covers it.
      const double apart = std::fabs(static_cast<double>(y[o]) - static_cast<double>(c[o]));
      const double reach = static_cast<double>(weights.reach[o]) * std::sqrt(squares);
      CHECK(apart <= 1.05 * reach);
      CHECK(apart >= 0.8 * reach);  // and the bound is not idle
    }
  }
}

TEST_CASE("a list that does not narrow rests, one that does reads a part of the head", "[shortlist]") {
  const std::size_t n = 4096;
  const std::size_t k = 64;
  const std::vector<float> values = noise(n * k, 5);
  const PackedMatrix clear = make_head(PackFormat::int8_g32, n, k, [&](std::size_t r, std::size_t i) {
    return (r == 77 ? 3.0f : 0.1f) * values[r * k + i];
  });
  const PackedMatrix alike = make_head(
      PackFormat::int8_g32, n, k, [&](std::size_t r, std::size_t i) { return values[i] + 0.001f * values[r * k + i]; });
  for (const PackedMatrix* head : {&clear, &alike}) {
    const ShortlistWeights weights = value_of(make_shortlist(*head, PackFormat::int4_g32, {}));
    Shortlist list = value_of(Shortlist::create(weights, 1));
    std::vector<float> x(k);
    head->decode_row(77, x.data());
    const Heads first = both(*head, weights, x, 1, 1, &list);
    CHECK(wrong_list(first, 1) == "");
    const bool narrows = head == &clear;
    CHECK((first.bytes < head->bytes() * 3 / 4) == narrows);
    for (int i = 0; i < 16; ++i) CHECK(both(*head, weights, x, 1, 1, &list).listed.empty() == !narrows);
    CHECK_FALSE(both(*head, weights, x, 1, 1, &list).listed.empty());
  }
}

TEST_CASE("what is not a number is never left out", "[shortlist]") {
  const PackedMatrix head =
      make_head(PackFormat::f32, 64, 32, [](std::size_t r, std::size_t) { return static_cast<float>(r); });
  const ShortlistWeights weights = value_of(make_shortlist(head, PackFormat::int8_g32, {}));
  for (const std::size_t top : {std::size_t{1}, std::size_t{7}}) {
    std::vector<float> x(32, 1.0f);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    const Heads heads = both(head, weights, x, top, 2);
    CHECK(std::ranges::any_of(heads.listed, [](float v) { return !std::isfinite(v); }));
  }
}

TEST_CASE("formats that cannot make a list are refused", "[shortlist]") {
  const auto value = [](std::size_t r, std::size_t i) { return static_cast<float>(r + i); };
  const PackedMatrix head = make_head(PackFormat::int8_g32, 32, 32, value);
  for (const PackFormat bad : {PackFormat::int8_g32, PackFormat::f16, PackFormat::int4_g32m, PackFormat::int8_g128}) {
    const auto list = make_shortlist(head, bad, {});
    CAPTURE(info(bad).name);
    REQUIRE_FALSE(list.ok());
    CHECK(list.error().code == Errc::invalid_argument);
    CHECK(list.error().message.find(info(bad).name) != std::string::npos);
  }
  CHECK_FALSE(make_shortlist(make_head(PackFormat::int4_g32m, 32, 32, value), PackFormat::ternary2, {}).ok());
}

TEST_CASE("logits under a cap have no shortlist", "[shortlist]") {
  LoadOptions capped;
  capped.shortlist = PackFormat::int4_g32;
  const auto refused =
      try_load(open_checkpoint(TRITIUM_TEST_DATA "/golden/gemma2/model.gguf"), capped);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message.find("cap") != std::string::npos);
}
