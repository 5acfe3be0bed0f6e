// SPDX-License-Identifier: Apache-2.0
// Activations and the soft cap over the whole range of f32 on every tier, in ulps of the value in double. The limits are
// those that the header of simd/math-inl.h states.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>
#include <vector>

#include "reference/row_ops.h"
#include "support/tiers.h"

using namespace tritium;
using tiers::RunnableTier;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr Activation kAll[] = {Activation::none,     Activation::silu,  Activation::gelu_tanh,
                               Activation::gelu_erf, Activation::relu2, Activation::sigmoid};

double ulps(float y, double expected) {
  int exponent = 0;
  std::frexp(expected, &exponent);
  return std::fabs(static_cast<double>(y) - expected) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

/// From `above` on (and below the next entry's): at most `ulps`, or `absolute` away.
struct Limit {
  double above;
  double ulps;
  double absolute;
};

constexpr double kLeast = -1e39;
const std::vector<Limit> kSilu{{kLeast, 0, 2.7e-37}, {-88.7, 2.4, 0}};
const std::vector<Limit> kGeluTanh{{kLeast, 0, 3e-38}, {-10.05, 210, 0}, {-5, 35, 0}, {-1, 2.6, 0}};
const std::vector<Limit> kGeluErf{{kLeast, 0, 1e-27}, {-10, 150, 0}, {-5, 40, 0}, {-1, 8, 0}};
const std::vector<Limit> kSigmoid{{kLeast, 0, 3e-39}, {-88.7, 2.3, 0}};
const std::vector<Limit> kRelu2{{kLeast, 0.5, 0}};
// x / cap is rounded before the hyperbolic tangent sees it; below 1e-37 it is subnormal.
const std::vector<Limit> kSoftCap{{kLeast, 11, 1e-37}};

const Limit& limit_at(const std::vector<Limit>& limits, double x) {
  std::size_t i = limits.size() - 1;
  while (limits[i].above > x) --i;
  return limits[i];
}

/// Every `step`-th float there is, zeros and subnormals included, in runs of odd length.
template <class Call, class Reference>
void sweep(const RunnableTier& t, const char* name, const std::vector<Limit>& limits, Call&& call,
           Reference&& reference) {
  const std::uint64_t step = 1031 * (100 / std::min<std::size_t>(tiers::sample(100), 100));
  std::vector<float> x;
  std::size_t checked = 0;
  const auto flush = [&] {
    std::vector<float> y(x.size());
    call(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = reference(static_cast<double>(x[i]));
      if (std::fabs(expected) > 3.4028234e38) {
        REQUIRE(std::isinf(y[i]));
        continue;
      }
      const Limit& limit = limit_at(limits, static_cast<double>(x[i]));
      const double error = std::fabs(static_cast<double>(y[i]) - expected);
      if (!(error <= limit.absolute || ulps(y[i], expected) <= limit.ulps)) {
        FAIL(name << " on " << info(t.tier).name << " of " << x[i] << ": " << expected << " expected, found " << y[i]
                  << ", " << ulps(y[i], expected) << " ulp");
      }
      ++checked;
    }
    x.clear();
  };
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += step) {
    const auto word = static_cast<std::uint32_t>(bits);
    float v = 0;
    std::memcpy(&v, &word, sizeof v);
    if (std::isfinite(v)) x.push_back(v);
    if (x.size() == 4093) flush();
  }
  flush();
  REQUIRE(checked > 10000);
}

}  // namespace

TEST_CASE("activations over the whole range", "[activations]") {
  struct Entry {
    Activation activation;
    const char* name;
    const std::vector<Limit>& limits;
    double (*reference)(double);
  };
  const Entry kEntries[] = {{Activation::silu, "silu", kSilu, reference::silu},
                            {Activation::gelu_tanh, "gelu_tanh", kGeluTanh, reference::gelu_tanh},
                            {Activation::gelu_erf, "gelu_erf", kGeluErf, reference::gelu_erf},
                            {Activation::relu2, "relu2", kRelu2, reference::relu2},
                            {Activation::sigmoid, "sigmoid", kSigmoid, reference::sigmoid}};
  for (const RunnableTier& t : tiers::runnable()) {
    for (const Entry& e : kEntries) {
      sweep(
          t, e.name, e.limits,
          [&](const std::vector<float>& x, std::vector<float>& y) {
            t.kernels->gate(e.activation, x.data(), nullptr, x.size(), y.data());
          },
          e.reference);
    }
  }
}

TEST_CASE("soft cap over the whole range", "[activations]") {
  for (const RunnableTier& t : tiers::runnable()) {
    for (const float cap : {1.0f, 30.0f, 50.0f}) {
      sweep(
          t, "soft cap", kSoftCap,
          [&](const std::vector<float>& x, std::vector<float>& y) {
            y = x;
            t.kernels->soft_cap(y.data(), cap, y.size());
          },
          [&](double x) { return reference::soft_cap(x, static_cast<double>(cap)); });
      std::vector<float> special{kInfinity, -kInfinity, kNan, 0.0f};
      t.kernels->soft_cap(special.data(), cap, special.size());
      REQUIRE(special[0] == cap);
      REQUIRE(special[1] == -cap);
      REQUIRE(std::isnan(special[2]));
      REQUIRE(special[3] == 0.0f);
    }
  }
}

TEST_CASE("activations of values that are not finite", "[activations]") {
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (const Activation a : kAll) {
      CAPTURE(static_cast<int>(a));
      for (std::size_t at = 0; at < 20; ++at) {
        std::vector<float> x(20, 1.0f);
        std::vector<float> y(20);
        const auto of = [&](float v) {
          x[at] = v;
          t.kernels->gate(a, x.data(), nullptr, x.size(), y.data());
          return y[at];
        };
        REQUIRE(std::isnan(of(kNan)));
        REQUIRE(std::isnan(of(-kNan)));
        REQUIRE(of(kInfinity) == (a == Activation::sigmoid ? 1.0f : kInfinity));
        const float least = of(-kInfinity);
        if (a == Activation::none) REQUIRE(least == -kInfinity);
        else if (a == Activation::relu2 || a == Activation::sigmoid) REQUIRE(least == 0.0f);
        else REQUIRE(std::isnan(least));  // as the product -Inf * 0
      }
    }
  }
}

TEST_CASE("a gate multiplies, whatever the length and in place", "[activations]") {
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (std::size_t n = 0; n <= 67; ++n) {
      std::vector<float> gate(n), up(n);
      for (std::size_t i = 0; i < n; ++i) {
        gate[i] = static_cast<float>(i) * 0.37f - 9.0f;
        up[i] = 2.5f - static_cast<float>(i) * 0.11f;
      }
      for (const Activation a : kAll) {
        std::vector<float> alone(n), both(n), in_place = gate;
        t.kernels->gate(a, gate.data(), nullptr, n, alone.data());
        t.kernels->gate(a, gate.data(), up.data(), n, both.data());
        t.kernels->gate(a, in_place.data(), up.data(), n, in_place.data());
        for (std::size_t i = 0; i < n; ++i) REQUIRE(both[i] == alone[i] * up[i]);
        REQUIRE(in_place == both);
      }
    }
  }
}

TEST_CASE("tiers with fused multiply-add agree on activations", "[activations]") {
  std::vector<float> x;
  for (int i = -4000; i < 4000; ++i) x.push_back(static_cast<float>(i) * 0.0037f);
  for (const Activation a : kAll) {
    std::vector<float> first;
    for (const RunnableTier& t : tiers::runnable()) {
      if (!t.fused) continue;
      std::vector<float> y(x.size());
      t.kernels->gate(a, x.data(), nullptr, x.size(), y.data());
      if (first.empty()) first = y;
      REQUIRE(y == first);
    }
  }
}
