// SPDX-License-Identifier: Apache-2.0
// Norms, rotation, elementwise ops, softmax, argmax and cache stores on every tier, against double.
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "reference/row_ops.h"
#include "support/golden_blocks.h"
#include "support/tiers.h"
#include "tritium/core/float16.h"

using namespace tritium;
using tiers::RunnableTier;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kLengths[] = {1,  2,  3,  7,   8,   9,   15,  16,   17,   31,  33,
                                    63, 64, 65, 100, 127, 129, 576, 1000, 2560, 8960};

std::vector<float> random_row(std::size_t n, double size, golden::Random& random, double shift = 0) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(shift + size * random.normal());
  return x;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Requires that tiers with fused multiply-add give the same bits, call by call.
class Agreement {
 public:
  void add(const RunnableTier& t, const std::vector<float>& y) {
    if (!t.fused) return;
    if (first_.empty()) first_ = y;
    REQUIRE(same_bits(first_, y));
  }

 private:
  std::vector<float> first_;
};

void require_near(const std::vector<float>& y, const reference::Row& expected, double relative, double absolute = 0) {
  REQUIRE(y.size() == expected.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double error = std::fabs(static_cast<double>(y[i]) - expected[i]);
    if (!(error <= relative * std::fabs(expected[i]) + absolute)) {
      FAIL("element " << i << ": " << expected[i] << " expected, found " << y[i]);
    }
  }
}

}  // namespace

TEST_CASE("rms norm", "[rowops]") {
  golden::Random random(51);
  for (const std::size_t n : kLengths) {
    for (const double size : {1e-5, 0.01, 1.0, 300.0}) {
      const std::vector<float> x = random_row(n, size, random);
      const std::vector<float> weight = random_row(n, 1, random, 1);
      Agreement plain, weighted;
      for (const RunnableTier& t : tiers::runnable()) {
        CAPTURE(info(t.tier).name, n, size);
        std::vector<float> y(n, -1);
        t.kernels->rms_norm(x.data(), nullptr, n, 1e-6f, y.data());
        require_near(y, reference::rms_norm(x.data(), nullptr, n, static_cast<double>(1e-6f)), 1e-6);
        plain.add(t, y);
        y = x;  // in place
        t.kernels->rms_norm(y.data(), weight.data(), n, 1e-5f, y.data());
        require_near(y, reference::rms_norm(x.data(), weight.data(), n, static_cast<double>(1e-5f)), 1e-6);
        weighted.add(t, y);
      }
    }
  }
  for (const RunnableTier& t : tiers::runnable()) {
    std::vector<float> zero(100, 0.0f);
    t.kernels->rms_norm(zero.data(), nullptr, zero.size(), 1e-6f, zero.data());
    REQUIRE(zero == std::vector<float>(100, 0.0f));
  }
}

TEST_CASE("layer norm", "[rowops]") {
  golden::Random random(52);
  for (const std::size_t n : kLengths) {
    for (const double shift : {0.0, 3.0}) {
      const std::vector<float> x = random_row(n, 2.0, random, shift);
      const std::vector<float> weight = random_row(n, 1, random, 1);
      const std::vector<float> bias = random_row(n, 1, random);
      for (int parts = 0; parts < 4; ++parts) {
        const float* w = (parts & 1) != 0 ? weight.data() : nullptr;
        const float* b = (parts & 2) != 0 ? bias.data() : nullptr;
        Agreement agreement;
        for (const RunnableTier& t : tiers::runnable()) {
          CAPTURE(info(t.tier).name, n, shift, parts);
          std::vector<float> y = x;
          t.kernels->layer_norm(y.data(), w, b, n, 1e-5f, y.data());
          // The mean is off by roundings of values up to 10; weights and results are a few units large.
          require_near(y, reference::layer_norm(x.data(), w, b, n, static_cast<double>(1e-5f)), 2e-6, 4e-6);
          agreement.add(t, y);
        }
      }
    }
  }
}

TEST_CASE("rotation of halves", "[rowops]") {
  golden::Random random(53);
  for (std::size_t half = 1; half <= 150; ++half) {
    const std::vector<float> x = random_row(2 * half, 1, random);
    std::vector<float> cosine(half), sine(half);
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = 6.3 * random.uniform();
      cosine[i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(std::sin(angle));
    }
    Agreement agreement;
    for (const RunnableTier& t : tiers::runnable()) {
      CAPTURE(info(t.tier).name, half);
      std::vector<float> y = x;
      t.kernels->rope_half(y.data(), cosine.data(), sine.data(), half);
      const reference::Row expected = reference::rope_half(x.data(), cosine.data(), sine.data(), half);
      for (std::size_t i = 0; i < half; ++i) {
        const double size = std::fabs(static_cast<double>(x[i])) + std::fabs(static_cast<double>(x[half + i]));
        REQUIRE(std::fabs(static_cast<double>(y[i]) - expected[i]) <= 0x1p-23 * size);
        REQUIRE(std::fabs(static_cast<double>(y[half + i]) - expected[half + i]) <= 0x1p-23 * size);
      }
      agreement.add(t, y);
    }
  }
}

TEST_CASE("sums and scales", "[rowops]") {
  golden::Random random(54);
  for (const std::size_t n : kLengths) {
    const std::vector<float> x = random_row(n, 1, random);
    const std::vector<float> base = random_row(n, 1, random);
    for (const RunnableTier& t : tiers::runnable()) {
      CAPTURE(info(t.tier).name, n);
      std::vector<float> y = base;
      t.kernels->add_scaled(x.data(), 0.3f, n, y.data());
      for (std::size_t i = 0; i < n; ++i) {
        const float product = x[i] * 0.3f;
        REQUIRE(y[i] == (t.fused ? std::fma(x[i], 0.3f, base[i]) : product + base[i]));
      }
      y = x;
      t.kernels->scale(y.data(), -1.7f, n);
      for (std::size_t i = 0; i < n; ++i) REQUIRE(y[i] == x[i] * -1.7f);
    }
  }
}

TEST_CASE("softmax", "[rowops]") {
  golden::Random random(55);
  for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 63u, 65u, 1000u, 50000u, 262144u}) {
    for (const double size : {0.0, 1.0, 30.0}) {
      std::vector<float> x = random_row(n, size, random, 5);
      if (n > 40) x[n / 3] = -kInfinity;  // a forbidden token
      const reference::Row expected = reference::soft_max(x.data(), n);
      Agreement agreement;
      for (const RunnableTier& t : tiers::runnable()) {
        CAPTURE(info(t.tier).name, n, size);
        std::vector<float> y = x;
        t.kernels->soft_max(y.data(), n);
        const float most = *std::max_element(x.begin(), x.end());
        for (std::size_t i = 0; i < n; ++i) {
          if (x[i] == -kInfinity) continue;
          // x - max is rounded before exp sees it: half an ulp of the difference, as a relative error of the result.
          const double bound = 1e-6 + 0x1p-24 * std::fabs(static_cast<double>(x[i]) - static_cast<double>(most));
          REQUIRE(std::fabs(static_cast<double>(y[i]) - expected[i]) <= bound * expected[i] + 2e-38);
        }
        double sum = 0;
        for (const float v : y) sum += static_cast<double>(v);
        REQUIRE(std::fabs(sum - 1) <= 1e-6);
        if (n > 40) REQUIRE(y[n / 3] == 0.0f);
        agreement.add(t, y);
      }
    }
  }
  for (const RunnableTier& t : tiers::runnable()) t.kernels->soft_max(nullptr, 0);
}

TEST_CASE("log-sum-exp and divergence", "[rowops]") {
  golden::Random random(58);
  for (const std::size_t n : {1u, 2u, 15u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 50000u}) {
    for (const double size : {0.0, 1.0, 10.0}) {
      std::vector<float> p = random_row(n, size, random, -3);
      std::vector<float> q(n);
      for (std::size_t i = 0; i < n; ++i) q[i] = p[i] + static_cast<float>(0.05 * random.normal());
      if (n > 60) p[7] = q[7] = -1e30f;
      const auto log_sum = [](const std::vector<float>& x) {
        const auto most = static_cast<double>(*std::max_element(x.begin(), x.end()));
        double sum = 0;
        for (const float v : x) sum += std::exp(static_cast<double>(v) - most);
        return most + std::log(sum);
      };
      const double p_norm = log_sum(p);
      const double q_norm = log_sum(q);
      double divergence = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double a = static_cast<double>(p[i]) - p_norm;
        divergence += std::exp(a) * (a - (static_cast<double>(q[i]) - q_norm));
      }
      std::vector<double> fused;
      for (const RunnableTier& t : tiers::runnable()) {
        CAPTURE(info(t.tier).name, n, size);
        const double found_norm = t.kernels->log_sum_exp(p.data(), n);
        REQUIRE(std::fabs(found_norm - p_norm) <= 2e-6);
        const double found = t.kernels->divergence(p.data(), q.data(), n, p_norm, q_norm);
        // Terms of either sign of up to 0.2 each, weighted by probabilities that are off by a few 1e-7 of themselves.
        REQUIRE(std::fabs(found - divergence) <= 1e-6);
        REQUIRE(std::fabs(t.kernels->divergence(p.data(), p.data(), n, p_norm, p_norm)) == 0.0);
        if (t.fused && fused.empty()) fused = {found_norm, found};
        if (t.fused) REQUIRE(fused == std::vector<double>{found_norm, found});
      }
    }
  }
}

TEST_CASE("the gated delta rule and the convolution before it", "[rowops]") {
  golden::Random random(59);
  for (const std::size_t k_dim : {1u, 5u, 16u, 128u}) {
    for (const std::size_t v_dim : {1u, 3u, 16u, 31u, 64u, 75u, 128u}) {
      const std::vector<float> state = random_row(k_dim * v_dim, 1, random);
      const std::vector<float> q = random_row(k_dim, 0.3, random), k = random_row(k_dim, 0.3, random),
                               v = random_row(v_dim, 1, random);
      const double beta = 0.4, decay = 0.9;
      std::vector<double> next(state.begin(), state.end());
      std::vector<double> expected(v_dim, 0.0);
      for (std::size_t c = 0; c < v_dim; ++c) {
        double known = 0;
        for (std::size_t i = 0; i < k_dim; ++i) known += static_cast<double>(k[i]) * (next[i * v_dim + c] *= decay);
        const double delta = beta * (static_cast<double>(v[c]) - known);
        for (std::size_t i = 0; i < k_dim; ++i) {
          next[i * v_dim + c] += static_cast<double>(k[i]) * delta;
          expected[c] += next[i * v_dim + c] * static_cast<double>(q[i]);
        }
      }
      Agreement agreement;
      for (const RunnableTier& t : tiers::runnable()) {
        CAPTURE(info(t.tier).name, k_dim, v_dim);
        std::vector<float> s = state;
        std::vector<float> out(v_dim + 1, 7.0f);
        DeltaStep step;
        step.state = s.data();
        step.k_dim = k_dim;
        step.v_dim = v_dim;
        step.q = q.data();
        step.k = k.data();
        step.v = v.data();
        step.beta = 0.4f;
        step.decay = 0.9f;
        step.out = out.data();
        t.kernels->delta_rule(step);
        REQUIRE(out.back() == 7.0f);
        out.pop_back();
        require_near(out, expected, 1e-5, 1e-5);
        require_near(s, next, 1e-5, 1e-5);
        out.insert(out.end(), s.begin(), s.end());
        agreement.add(t, out);
      }
    }
  }
  for (const std::size_t n : {1u, 15u, 16u, 37u, 130u}) {
    for (const std::size_t taps : {1u, 2u, 4u}) {
      std::vector<std::vector<float>> rows;
      std::vector<const float*> inputs;
      for (std::size_t j = 0; j < taps; ++j) rows.push_back(random_row(n, 1, random));
      for (const std::vector<float>& row : rows) inputs.push_back(row.data());
      const std::vector<float> weights = random_row(taps * n, 1, random);
      reference::Row expected(n);
      for (std::size_t i = 0; i < n; ++i) {
        double sum = 0;
        for (std::size_t j = 0; j < taps; ++j)
          sum += static_cast<double>(rows[j][i]) * static_cast<double>(weights[j * n + i]);
        expected[i] = reference::silu(sum);
      }
      Agreement agreement;
      for (const RunnableTier& t : tiers::runnable()) {
        CAPTURE(info(t.tier).name, n, taps);
        std::vector<float> out(n);
        t.kernels->conv_silu(inputs.data(), weights.data(), taps, n, out.data());
        require_near(out, expected, 1e-6, 1e-6);
        agreement.add(t, out);
      }
    }
  }
}

TEST_CASE("argmax: the first of the largest, and never NaN", "[rowops]") {
  golden::Random random(56);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (std::size_t n = 1; n <= 70; ++n) {
      for (std::size_t at = 0; at < n; ++at) {
        std::vector<float> x(n);
        for (float& v : x) v = -1 - static_cast<float>(random.uniform());
        x[at] = -0.5f;
        REQUIRE(t.kernels->arg_max(x.data(), n) == at);
        x[n - 1] = -0.5f;  // a tie, unless it is the same one
        REQUIRE(t.kernels->arg_max(x.data(), n) == at);
        if (at > 0) x[random.below(at)] = kNan;
        if (at + 1 < n) x[at + 1] = -kNan;
        REQUIRE(t.kernels->arg_max(x.data(), n) == at);
        x[at] = kInfinity;
        REQUIRE(t.kernels->arg_max(x.data(), n) == at);
      }
      REQUIRE(t.kernels->arg_max(std::vector<float>(n, kNan).data(), n) == 0);
      REQUIRE(t.kernels->arg_max(std::vector<float>(n, -kInfinity).data(), n) == 0);
      REQUIRE(t.kernels->arg_max(std::vector<float>(n, 0.25f).data(), n) == 0);
    }
    const std::vector<float> zeros{-1.0f, -0.0f, 0.0f};  // equal
    REQUIRE(t.kernels->arg_max(zeros.data(), 3) == 1);
    REQUIRE(t.kernels->arg_max(nullptr, 0) == 0);
  }
}

TEST_CASE("a shortlist names every panel that can reach the floor, and no other", "[rowops]") {
  golden::Random random(57);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (std::size_t n = 1; n <= 200; n += n < 40 ? 1 : 13) {
      std::vector<float> x(n), reach(n);
      for (std::size_t i = 0; i < n; ++i) {
        x[i] = static_cast<float>(random.below(64)) - 32.0f;  // sums are exact
        reach[i] = static_cast<float>(random.below(8));
      }
      for (const float least : {-40.0f, -1.0f, 20.0f, 45.0f, 46.0f, kNan}) {
        if (least < 0.0f && n % 16 != 0) continue;  // padding may be named where zero reaches the floor
        if (n % 3 == 0) x[n / 2] = kNan;
        std::vector<std::uint32_t> expected, found(n / 16 + 1);
        for (std::size_t i = 0; i < n; ++i) {
          const auto panel = static_cast<std::uint32_t>(i / 16);
          if (!(x[i] + 2.0f * reach[i] < least) && (expected.empty() || expected.back() != panel))
            expected.push_back(panel);
        }
        found.resize(t.kernels->shortlist(x.data(), reach.data(), 2.0f, least, n, found.data()));
        REQUIRE(found == expected);
      }
    }
    CHECK(t.kernels->shortlist(nullptr, nullptr, 1.0f, 0.0f, 0, nullptr) == 0);
  }
}

TEST_CASE("one value that is not finite is found anywhere", "[rowops]") {
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (std::size_t n = 0; n <= 70; ++n) {
      std::vector<float> x(n, 3e38f);
      REQUIRE(t.kernels->all_finite(x.data(), n));
      for (std::size_t at = 0; at < n; ++at) {
        for (const float bad : {kNan, kInfinity, -kInfinity}) {
          x[at] = bad;
          REQUIRE_FALSE(t.kernels->all_finite(x.data(), n));
        }
        x[at] = -3e38f;
      }
    }
  }
}

TEST_CASE("cache stores round to nearest even and write nothing between", "[rowops]") {
  golden::Random random(57);
  std::vector<float> x;
  for (std::size_t i = 0; i < 4096; ++i) x.push_back(static_cast<float>(random.student()));
  for (std::uint32_t bits = 0; bits < 65536; bits += 7) {  // every kind of f16, the ties above it, and their neighbours
    const auto h = static_cast<std::uint16_t>(bits);
    const float here = to_float(f16{h});
    const float next = to_float(f16{static_cast<std::uint16_t>(h + 1)});
    const float tie = here / 2 + next / 2;
    for (const float v : {here, tie, std::nextafter(tie, kInfinity), std::nextafter(tie, -kInfinity)}) x.push_back(v);
  }
  for (const float v : {65504.0f, 65519.99f, 65520.0f, 1e30f, kInfinity, -kInfinity, kNan, 0.0f, -0.0f, 1e-8f, -1e-45f})
    x.push_back(v);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    std::vector<f16> all(x.size());
    t.kernels->store_kv(x.data(), x.size(), 1, KvType::f16, all.data(), nullptr);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        REQUIRE(std::isnan(to_float(all[i])));
      } else if (all[i].bits != to_f16(x[i]).bits) {
        FAIL(x[i] << " became " << to_float(all[i]) << ", expected " << to_float(to_f16(x[i])));
      }
    }
    for (const std::size_t n : {1u, 5u, 16u, 33u, 128u}) {
      for (const std::size_t stride : {1u, 2u, 16u}) {
        std::vector<f16> halves(n * stride, f16{0x1234});
        std::vector<float> floats((n - 1) * stride + 1, 7.5f);
        t.kernels->store_kv(x.data(), n, stride, KvType::f16, halves.data(), nullptr);
        t.kernels->store_kv(x.data(), n, stride, KvType::f32, floats.data(), nullptr);
        for (std::size_t i = 0; i < n * stride; ++i) {
          REQUIRE(halves[i].bits == (i % stride == 0 ? to_f16(x[i / stride]).bits : 0x1234));
        }
        for (std::size_t i = 0; i < floats.size(); ++i) REQUIRE(floats[i] == (i % stride == 0 ? x[i / stride] : 7.5f));
      }
      // bf16: every second element of a pair of value rows; a panel of keys by pairs of dimensions, filled up with a zero.
      std::vector<bf16> row(2 * n, bf16{0x1234}), panel(round_up(n, 2) * kPanelRows, bf16{0x1234});
      t.kernels->store_kv(x.data(), n, 2, KvType::bf16, row.data(), nullptr);
      t.kernels->store_kv(x.data(), n, kPanelRows, KvType::bf16, panel.data(), nullptr);
      for (std::size_t i = 0; i < 2 * n; ++i) REQUIRE(row[i].bits == (i % 2 == 0 ? to_bf16(x[i / 2]).bits : 0x1234));
      for (std::size_t i = 0; i < panel.size(); ++i) {
        const std::size_t dim = i / (2 * kPanelRows) * 2 + i % 2;
        const std::uint16_t first_position = dim < n ? to_bf16(x[dim]).bits : std::uint16_t{0};
        REQUIRE(panel[i].bits == (i % (2 * kPanelRows) < 2 ? first_position : 0x1234));
      }
    }
  }
}

TEST_CASE("cached keys and values as int8: codes under one scale, half to even, what is not finite kept as a scale",
          "[rowops]") {
  golden::Random random(27);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (const std::size_t n : {1u, 2u, 7u, 15u, 16u, 17u, 31u, 40u, 64u, 80u, 128u, 250u}) {
      for (const std::size_t stride : {1u, 16u}) {
        for (const float size : {1.0f, 0x1p-119f, 1e30f, 0x1p-121f, 0.0f}) {
          CAPTURE(n, stride, size);
          std::vector<float> x(n);
          for (float& v : x) v = static_cast<float>(random.student()) * size;
          if (size == 1.0f) {  // steps of 1: ties at every half
            for (float& v : x) v = std::nearbyint(std::fmod(v * 20, 127.0f) * 2) / 2;
            x[n / 2] = -127.0f;
          }
          const auto store = [&](float& scale) {
            std::vector<std::int8_t> codes(n * stride + 1, 77);
            t.kernels->store_kv(x.data(), n, stride, KvType::int8, codes.data(), &scale);
            for (std::size_t i = 0; i <= n * stride; ++i) {
              if (i == n * stride || i % stride != 0) REQUIRE(codes[i] == 77);
            }
            return codes;
          };
          float scale = kNan;
          const std::vector<std::int8_t> codes = store(scale);
          float most = 0;
          for (const float v : x) most = std::max(most, std::fabs(v));
          const bool vanishes = most < 0x1p-120f;
          REQUIRE(scale == (vanishes ? 0.0f : most / 127.0f));
          for (std::size_t i = 0; i < n; ++i) {
            const auto code = static_cast<float>(codes[i * stride]);
            if (vanishes) {
              REQUIRE(code == 0.0f);
              continue;
            }
            REQUIRE(code == std::nearbyint(x[i] * (127.0f / most)));
            const double error =
                std::fabs(static_cast<double>(code) * static_cast<double>(scale) - static_cast<double>(x[i]));
            REQUIRE(error <= 0.50001 * static_cast<double>(scale));
          }
          for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
            for (const std::size_t at : {std::size_t{0}, n / 2, n - 1}) {
              const float kept = std::exchange(x[at], bad);
              scale = 1;
              const std::vector<std::int8_t> zeros = store(scale);
              REQUIRE_FALSE(std::isfinite(scale));
              for (std::size_t i = 0; i < n; ++i) REQUIRE(zeros[i * stride] == 0);
              x[at] = kept;
            }
          }
        }
      }
    }
  }
}
