// SPDX-License-Identifier: Apache-2.0
// Activation rows on every tier: per row against the scalar quantizer, in groups against a double reference.
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <utility>
#include <vector>

#include "reference/quantize.h"
#include "support/golden_blocks.h"
#include "support/tiers.h"
#include "tritium/format/ternary_quantize.h"

using namespace tritium;
using tiers::RunnableTier;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kLengths[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 511, 512, 513, 576, 2560};

class Quantized {
 public:
  Quantized(const RunnableTier& t, const std::vector<float>& x, std::size_t m, std::size_t k, std::size_t group)
      : memory_(q8_bytes(m, k, group) + 64, std::byte{0xEE}) {
    const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(memory_.data()) % 64;
    rows = Q8Rows::bind(memory_.data() + (64 - misaligned) % 64, m, k, group);
    t.kernels->quantize_rows(x.data(), m == 0 ? k : x.size() / m, rows, 0, m);
  }
  Q8Rows rows;
  [[nodiscard]] std::vector<std::byte> bytes() const {
    const auto* from = reinterpret_cast<const std::byte*>(rows.codes);
    return {from, from + q8_bytes(rows.m, rows.k, rows.group)};
  }

 private:
  std::vector<std::byte> memory_;
};

std::vector<float> random_row(std::size_t k, double size, golden::Random& random) {
  std::vector<float> x(k);
  for (float& v : x) v = static_cast<float>(size * random.student());
  return x;
}

std::int32_t sum_of(const std::int8_t* codes, std::size_t n) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

std::vector<std::pair<std::size_t, std::size_t>> lengths_and_groups() {
  std::vector<std::pair<std::size_t, std::size_t>> all;
  for (const std::size_t k : kLengths) {
    for (const std::size_t group : kActivationGroups) {
      if (group != 0) all.emplace_back(k, group);
    }
  }
  return all;
}

}  // namespace

TEST_CASE("rows quantise to BitNet's codes, exactly", "[quantize]") {
  golden::Random random(41);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (const std::size_t k : kLengths) {
      for (const double size : {0.0, 1e-38, 1e-7, 1e-3, 1.0, 1e5, 1e36}) {
        const std::vector<float> x = random_row(k, size, random);
        const Quantized q(t, x, 1, k, 0);
        std::vector<std::int8_t> expected(k);
        const float s = quantize_activations(x.data(), k, expected.data());
        REQUIRE(std::equal(expected.begin(), expected.end(), q.rows.codes));
        float most = 1e-5f;
        for (const float v : x) most = std::max(most, std::fabs(v));
        REQUIRE(s == 127.0f / most);
        REQUIRE(q.rows.scales[0] == most / 127.0f);
        REQUIRE(q.rows.sums[0] == sum_of(expected.data(), k));
        for (std::size_t i = k; i < q.rows.stride; ++i) REQUIRE(q.rows.codes[i] == 0);
      }
    }
  }
}

TEST_CASE("ties go to the even code", "[quantize]") {
  std::vector<float> x(100);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 49.5f;
  x[0] = 127.0f;  // a step of exactly one
  for (const RunnableTier& t : tiers::runnable()) {
    for (const std::size_t group : kActivationGroups) {
      const Quantized q(t, x, 1, x.size(), group);
      for (std::size_t i = 1; i < 32; ++i) {
        const auto even = static_cast<int>(2 * std::nearbyint(static_cast<double>(x[i]) / 2));
        REQUIRE(std::abs(even - static_cast<double>(x[i])) == 0.5);
        REQUIRE(q.rows.codes[i] == even);
      }
    }
  }
}

TEST_CASE("groups quantise to the nearest codes", "[quantize]") {
  golden::Random random(42);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (const auto& [k, group] : lengths_and_groups()) {
      CAPTURE(k, group);
      const auto zeros = static_cast<std::ptrdiff_t>(group);
      for (const double size : {0.0, 1e-44, 1e-37, 1e-34, 1e-3, 1.0, 1e36}) {
        const std::vector<float> x = random_row(k, size, random);
        const Quantized q(t, x, 1, k, group);
        for (std::size_t g = 0; g < q.rows.groups; ++g) {
          const std::int8_t* codes = q.rows.codes + group * g;
          REQUIRE((q.rows.sums16 != nullptr) == (group == 32));
          if (group == 32) {
            REQUIRE(q.rows.sums16[2 * g] == sum_of(codes, 16));
            REQUIRE(q.rows.sums16[2 * g + 1] == sum_of(codes + 16, 16));
          }
          REQUIRE(q.rows.sums[g] == sum_of(codes, group));
          if (group * g >= k) {
            REQUIRE(q.rows.scales[g] == 0.0f);
            REQUIRE(std::count(codes, codes + group, 0) == zeros);
            continue;
          }
          const std::size_t n = std::min(group, k - group * g);
          const reference::Group expected = reference::quantize_group(x.data() + group * g, n);
          for (std::size_t i = n; i < group; ++i) REQUIRE(codes[i] == 0);
          if (expected.scale * 127 < 0x1p-120) {
            REQUIRE(q.rows.scales[g] == 0.0f);
            REQUIRE(std::count(codes, codes + group, 0) == zeros);
            continue;
          }
          REQUIRE(q.rows.scales[g] == static_cast<float>(expected.scale * 127) / 127.0f);
          for (std::size_t i = 0; i < n; ++i) {
            // The quotient in f32 is off by less than two roundings of 127.
            REQUIRE(std::fabs(codes[i] - expected.quotient(x[group * g + i])) <= 0.5 + 127 * 0x1p-22);
            REQUIRE(codes[i] >= -127);
          }
        }
        for (std::size_t i = q.rows.groups * group; i < q.rows.stride; ++i) REQUIRE(q.rows.codes[i] == 0);
      }
    }
  }
}

TEST_CASE("every tier gives the same bytes", "[quantize]") {
  golden::Random random(43);
  const std::vector<RunnableTier> all = tiers::runnable();
  for (const std::size_t group : kActivationGroups) {
    for (const std::size_t k : kLengths) {
      std::vector<float> x = random_row(3 * (k + 3), 0.7, random);  // rows farther apart than k
      const std::vector<std::byte> first = Quantized(all[0], x, 3, k, group).bytes();
      for (const RunnableTier& t : all) {
        CAPTURE(info(t.tier).name, k, group);
        const Quantized q(t, x, 3, k, group);
        const std::size_t used = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(q.rows.sums) -
                                                          reinterpret_cast<const std::byte*>(q.rows.codes)) +
                                 3 * q.rows.groups * 4 * (group == 32 ? 3 : 1);
        REQUIRE(std::memcmp(q.bytes().data(), first.data(), used) == 0);
      }
    }
  }
}

TEST_CASE("only the rows that were asked for are written", "[quantize]") {
  golden::Random random(44);
  for (const RunnableTier& t : tiers::runnable()) {
    for (const std::size_t group : kActivationGroups) {
      const std::vector<float> x = random_row(5 * 40, 1.0, random);
      Quantized whole(t, x, 5, 40, group);
      Quantized part(t, x, 5, 40, group);
      std::memset(part.rows.codes, 0x11, part.rows.m * part.rows.stride);
      t.kernels->quantize_rows(x.data(), 40, part.rows, 2, 4);
      for (std::size_t r = 0; r < 5; ++r) {
        const std::int8_t* codes = part.rows.codes + r * part.rows.stride;
        if (r == 2 || r == 3)
          REQUIRE(std::memcmp(codes, whole.rows.codes + r * whole.rows.stride, part.rows.stride) == 0);
        else
          REQUIRE(std::count(codes, codes + part.rows.stride, 0x11) == static_cast<std::ptrdiff_t>(part.rows.stride));
      }
    }
  }
}

TEST_CASE("a value that is not finite reaches the output, wherever it stands", "[quantize]") {
  golden::Random random(45);
  for (const RunnableTier& t : tiers::runnable()) {
    CAPTURE(info(t.tier).name);
    for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
      for (const std::size_t k : {1u, 33u, 100u, 576u}) {
        for (std::size_t at = 0; at < k; at += 1 + k / 37) {
          std::vector<float> x = random_row(k, 1.0, random);
          x[at] = bad;
          const Quantized row(t, x, 1, k, 0);
          REQUIRE_FALSE(std::isfinite(row.rows.scales[0]));
          REQUIRE(row.rows.sums[0] == 0);
          for (std::size_t i = 0; i < row.rows.stride; ++i) REQUIRE(row.rows.codes[i] == 0);
          for (const std::size_t group : {32u, 128u}) {
            const Quantized grouped(t, x, 1, k, group);
            for (std::size_t g = 0; g < grouped.rows.groups; ++g) {
              const bool hit = g == at / group;
              REQUIRE(std::isfinite(grouped.rows.scales[g]) != hit);
              if (!hit) continue;
              REQUIRE(grouped.rows.sums[g] == 0);
              if (group == 32) REQUIRE(grouped.rows.sums16[2 * g] == 0);
              for (std::size_t i = 0; i < group; ++i) REQUIRE(grouped.rows.codes[group * g + i] == 0);
            }
          }
        }
      }
    }
  }
}
