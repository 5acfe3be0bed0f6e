// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/ternary_quantize.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>
#include <vector>

#include "support/golden_blocks.h"

using namespace tritium;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Quantized {
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
};

Quantized quantize(const std::vector<float>& w, std::size_t rows, std::size_t cols, TernaryScope scope) {
  Quantized q{std::vector<std::uint8_t>(w.size(), 9), std::vector<float>(scope.scale_count(rows, cols), -1.0f)};
  const Status status = quantize_ternary({w.data(), rows, cols}, scope, {q.codes.data(), rows, cols}, q.scales.data());
  REQUIRE(status.ok());
  return q;
}

/// The definition in long double, for the elements [begin, end) that share a scale.
void check_group(const std::vector<float>& w, const Quantized& q, std::size_t begin, std::size_t end, float gamma) {
  long double sum = 0;
  for (std::size_t i = begin; i < end; ++i) sum += std::fabs(static_cast<long double>(w[i]));
  const auto mean = static_cast<float>(sum / static_cast<long double>(end - begin));
  REQUIRE(gamma == (mean > 1e-5f ? mean : 1e-5f));
  for (std::size_t i = begin; i < end; ++i) {
    const long double rounded = std::nearbyint(static_cast<long double>(w[i]) / static_cast<long double>(gamma));
    const int expected = rounded > 1 ? 1 : rounded < -1 ? -1 : static_cast<int>(rounded);
    REQUIRE(q.codes[i] == expected + 1);
  }
}

void check(const std::vector<float>& w, std::size_t rows, std::size_t cols) {
  const Quantized whole = quantize(w, rows, cols, {});
  REQUIRE(whole.scales.size() == 1);
  check_group(w, whole, 0, w.size(), whole.scales[0]);

  const Quantized by_row = quantize(w, rows, cols, {TernaryScope::row});
  REQUIRE(by_row.scales.size() == rows);
  for (std::size_t r = 0; r < rows; ++r) check_group(w, by_row, r * cols, (r + 1) * cols, by_row.scales[r]);

  for (const std::size_t columns : {std::size_t{1}, std::size_t{32}, std::size_t{64}, std::size_t{1000}}) {
    const Quantized grouped = quantize(w, rows, cols, {TernaryScope::group, columns});
    std::size_t scale = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < cols; c += columns) {
        check_group(w, grouped, r * cols + c, r * cols + std::min(c + columns, cols), grouped.scales[scale++]);
      }
    }
    REQUIRE(scale == grouped.scales.size());
  }
}

}  // namespace

TEST_CASE("absmean codes follow the definition in every scope", "[ternary]") {
  golden::Random random(7);
  const std::size_t rows = 6;
  const std::size_t cols = 144;
  std::vector<float> w(rows * cols);
  for (const double size : {0.02, 1e-30, 1e-6, 1e4, 1e36}) {
    for (float& v : w) v = static_cast<float>(size * random.normal());
    check(w, rows, cols);
  }
  w.assign(w.size(), 0.125f);
  check(w, rows, cols);
  w.assign(w.size(), -3.0f);
  check(w, rows, cols);
  w.assign(w.size(), 0.0f);
  check(w, rows, cols);
  w.assign(w.size(), std::numeric_limits<float>::max());  // its sum does not fit in f32
  check(w, rows, cols);
  for (float& v : w) v = random.below(2) == 0 ? 0.0f : -0.0f;
  w[17] = std::numeric_limits<float>::denorm_min();
  check(w, rows, cols);
}

TEST_CASE("a weight of half a gamma is a tie and goes to zero", "[ternary]") {
  // mean |w| of 1.5, 0.5, 1, 1 is 1
  const Quantized q = quantize({1.5f, 0.5f, -1.0f, -1.0f, -1.5f, -0.5f, 1.0f, 1.0f}, 2, 4, {});
  REQUIRE(q.scales[0] == 1.0f);
  REQUIRE(q.codes == std::vector<std::uint8_t>{2, 1, 0, 0, 0, 1, 2, 2});
  const float above = std::nextafter(0.5f, 1.0f);
  const float below = std::nextafter(0.5f, 0.0f);
  std::vector<std::uint8_t> codes(4);
  const std::vector<float> w{above, -above, below, -below};
  detail::ternarize(w.data(), 4, 1.0f, codes.data());
  REQUIRE(codes == std::vector<std::uint8_t>{2, 0, 1, 1});
}

TEST_CASE("absmean quantization of ternary weights is exact", "[ternary]") {
  // What a 1.58-bit checkpoint holds: few zeros change the mean, but not the codes.
  golden::Random random(8);
  std::vector<float> w(4 * 256);
  for (float& v : w) v = 0.5f * (static_cast<float>(random.below(3)) - 1.0f);
  const Quantized q = quantize(w, 4, 256, {});
  for (std::size_t i = 0; i < w.size(); ++i) REQUIRE(static_cast<float>(q.codes[i] - 1) * 0.5f == w[i]);
}

TEST_CASE("absmean equals numpy on the golden tensor", "[ternary]") {
  const golden::Section& golden = golden::section("ternary");
  const std::vector<float> w(golden.values.begin(), golden.values.end() - 1);
  const Quantized q = quantize(w, 12, 160, {});
  REQUIRE(q.scales[0] == golden.values.back());
  for (std::size_t i = 0; i < w.size(); ++i) REQUIRE(q.codes[i] == std::to_integer<unsigned>(golden.bytes[i]));
}

TEST_CASE("ternary quantization refuses what is not a number and wrong shapes", "[ternary]") {
  std::vector<float> w(3 * 5, 1.0f);
  std::vector<std::uint8_t> codes(15, 9);
  std::vector<float> scales(15, -1.0f);
  const MatrixView<std::uint8_t> out(codes.data(), 3, 5);
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    w[7] = bad;
    for (const TernaryScope scope :
         {TernaryScope{}, TernaryScope{TernaryScope::row}, TernaryScope{TernaryScope::group, 2}}) {
      const Status status = quantize_ternary({w.data(), 3, 5}, scope, out, scales.data());
      REQUIRE(!status.ok());
      REQUIRE(status.error().code == Errc::invalid_argument);
      REQUIRE(status.error().message.find("row 1 column 2:") != std::string::npos);
    }
  }
  w[7] = 1.0f;
  REQUIRE(!quantize_ternary({w.data(), 5, 3}, {}, out, scales.data()).ok());
  REQUIRE(!quantize_ternary({w.data(), 3, 5}, {TernaryScope::group, 0}, out, scales.data()).ok());
  REQUIRE(scales == std::vector<float>(15, -1.0f));
  REQUIRE(codes == std::vector<std::uint8_t>(15, 9));
}

TEST_CASE("ternary quantization works on strided views and empty matrices", "[ternary]") {
  const std::vector<float> w{1, -1, 99, 2, 0, 99};
  std::vector<std::uint8_t> codes(8, 9);
  float scale = 0;
  REQUIRE(quantize_ternary({w.data(), 2, 2, 3}, {}, {codes.data(), 2, 2, 4}, &scale).ok());
  REQUIRE(scale == 1.0f);
  REQUIRE(codes == std::vector<std::uint8_t>{2, 0, 9, 9, 2, 1, 9, 9});
  REQUIRE(quantize_ternary({w.data(), 0, 2}, {}, {codes.data(), 0, 2}, &scale).ok());
  REQUIRE(scale == kBitNetEpsilon);
}

TEST_CASE("int8 activations equal numpy on the golden rows", "[ternary]") {
  const golden::Section& golden = golden::section("int8");
  const std::size_t n = 96;
  const std::size_t rows = golden.bytes.size() / n;
  REQUIRE(golden.values.size() == rows * (n + 1));
  for (std::size_t r = 0; r < rows; ++r) {
    std::vector<std::int8_t> codes(n);
    REQUIRE(quantize_activations(golden.values.data() + r * n, n, codes.data()) == golden.values[rows * n + r]);
    for (std::size_t j = 0; j < n; ++j) {
      REQUIRE(codes[j] == static_cast<std::int8_t>(std::to_integer<std::uint8_t>(golden.bytes[r * n + j])));
    }
  }
}

TEST_CASE("int8 activations are within half a step", "[ternary]") {
  golden::Random random(9);
  std::vector<float> x(333);
  std::vector<std::int8_t> codes(x.size());
  for (int round = 0; round < 300; ++round) {
    const double size = std::pow(10.0, 76.0 * random.uniform() - 38.0);
    for (float& v : x) v = static_cast<float>(size * (2.0 * random.uniform() - 1.0));
    const float s = quantize_activations(x.data(), x.size(), codes.data());
    REQUIRE(s > 0.0f);
    int largest = 0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double steps = static_cast<double>(x[j]) * static_cast<double>(s);
      REQUIRE(std::fabs(steps - codes[j]) <= 0.5 + 127 * 0x1p-23);
      largest = std::max(largest, std::abs(int{codes[j]}));
    }
    if (size > 1e-4) REQUIRE(largest == 127);
  }
}

TEST_CASE("int8 activations: zero rows, ties and rows that are not numbers", "[ternary]") {
  std::vector<std::int8_t> codes(5, 1);
  const std::vector<float> zeros{0.0f, -0.0f, 0.0f, 0.0f, 0.0f};
  REQUIRE(quantize_activations(zeros.data(), 5, codes.data()) == 127.0f / 1e-5f);
  REQUIRE(codes == std::vector<std::int8_t>{0, 0, 0, 0, 0});
  const std::vector<float> ties{127.0f, 0.5f, 1.5f, -2.5f, -127.0f};  // s = 1
  REQUIRE(quantize_activations(ties.data(), 5, codes.data()) == 1.0f);
  REQUIRE(codes == std::vector<std::int8_t>{127, 0, 2, -2, -127});
  for (const float bad : {kInfinity, -kInfinity, kNan}) {
    const std::vector<float> x{1.0f, 2.0f, bad, 3.0f, 4.0f};
    const float s = quantize_activations(x.data(), 5, codes.data());
    REQUIRE(s == 0.0f);
    for (const std::int8_t code : codes) {
      REQUIRE(code == 0);
      REQUIRE(std::isnan(static_cast<float>(code) / s));
    }
  }
  REQUIRE(quantize_activations(nullptr, 0, nullptr) == 127.0f / 1e-5f);
}
