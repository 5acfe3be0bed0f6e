// SPDX-License-Identifier: Apache-2.0
// Rotary tables against cos and sin in double of the published frequencies, up to position 131,072.

#include "tritium/model/rope.h"

#include <cmath>
#include <string>

#include "io/test_files.h"
#include "reference/decoder.h"

using namespace tritium;

namespace {

/// The largest error of a table over many positions, visited forwards, backwards and at random.
double worst_error(RopeTable& table, const RopeSpec& rope, std::size_t length) {
  const reference::Row frequency = reference::frequencies(rope, length);
  REQUIRE(table.half() == frequency.size());
  std::vector<std::size_t> positions;
  for (std::size_t p = 0; p < 200; ++p) positions.push_back(p);
  for (std::size_t p = 131072; p > 130900; --p) positions.push_back(p);
  for (const std::size_t p : {511, 4096, 63, 64, 65, 8191, 32767, 127, 128, 65536, 100000, 0, 1, 131071, 262144})
    positions.push_back(p);
  std::vector<float> cosine(table.half());
  std::vector<float> sine(table.half());
  double worst = 0;
  for (const std::size_t p : positions) {
    table.fill(p, cosine.data(), sine.data());
    for (std::size_t i = 0; i < frequency.size(); ++i) {
      const double angle = static_cast<double>(p) * frequency[i];
      worst = std::max(worst, std::fabs(static_cast<double>(cosine[i]) - rope.magnitude * std::cos(angle)));
      worst = std::max(worst, std::fabs(static_cast<double>(sine[i]) - rope.magnitude * std::sin(angle)));
    }
  }
  return worst;
}

RopeSpec plain(std::size_t dim, double base) {
  RopeSpec rope;
  rope.rotary_dim = dim;
  rope.base = base;
  rope.original_context = 8192;
  return rope;
}

}  // namespace

TEST_CASE("rope tables of every scaling equal cos and sin in double", "[rope]") {
  struct Case {
    std::string name;
    RopeSpec rope;
    std::size_t length = 4096;
  };
  std::vector<Case> cases;
  for (const std::size_t dim : {2, 32, 64, 80, 96, 128, 256}) {
    for (const double base : {10000.0, 500000.0, 1000000.0, 1000042.0}) cases.push_back({"none", plain(dim, base)});
  }
  for (const double factor : {1.0, 2.0, 8.0, 0.5}) {
    RopeSpec rope = plain(256, 1e6);
    rope.scaling = RopeScaling::linear;
    rope.factor = factor;
    cases.push_back({"linear", rope});
  }
  for (const double factor : {8.0, 32.0}) {  // Llama 3.1 and 3.2
    RopeSpec rope = plain(factor == 8.0 ? 128 : 64, 5e5);
    rope.scaling = RopeScaling::llama3;
    rope.factor = factor;
    cases.push_back({"llama3", rope});
  }
  for (const bool truncate : {true, false}) {
    for (const double factor : {4.0, 40.0}) {
      RopeSpec rope = plain(128, 1e6);
      rope.scaling = RopeScaling::yarn;
      rope.factor = factor;
      rope.original_context = 32768;
      rope.truncate = truncate;
      rope.magnitude = 0.1 * std::log(factor) + 1;
      cases.push_back({"yarn", rope});
      rope.beta_fast = 8;
      rope.beta_slow = 2;
      cases.push_back({"yarn with its own bounds", rope});
      rope.beta_slow = 8;
      cases.push_back({"yarn without a ramp", rope});
    }
  }
  for (const std::size_t length : {4096, 4097, 131072}) {
    RopeSpec rope = plain(96, 1e4);
    rope.scaling = RopeScaling::longrope;
    rope.original_context = 4096;
    rope.magnitude = std::sqrt(1 + std::log(32.0) / std::log(4096.0));
    for (std::size_t i = 0; i < 48; ++i) {
      rope.divisors.push_back(1.0f + 0.01f * static_cast<float>(i));
      rope.long_divisors.push_back(1.0f + static_cast<float>(i * i) / 40.0f);
    }
    cases.push_back({"longrope", rope, length});
    rope.scaling = RopeScaling::divisors;
    cases.push_back({"divisors", rope, length});
  }
  for (const std::size_t length : {8192, 8193, 12000, 20000, 131072}) {
    RopeSpec rope = plain(128, 1e4);
    rope.scaling = RopeScaling::dynamic_ntk;
    rope.factor = 2;
    cases.push_back({"dynamic NTK", rope, length});
    rope.scaling = RopeScaling::qwen_ntk;
    cases.push_back({"Qwen's NTK", rope, length});
  }
  RopeSpec proportional = plain(512, 1e6);
  proportional.scaling = RopeScaling::proportional;
  proportional.rotated_pairs = 64;
  cases.push_back({"proportional", proportional});
  for (const Case& c : cases) {
    INFO(c.name << ", dim " << c.rope.rotary_dim << ", base " << c.rope.base << ", factor " << c.rope.factor
                << ", length " << c.length);
    RopeTable table = value_of(make_rope_table(c.rope, c.length));
    CHECK(worst_error(table, c.rope, c.length) <= 1e-6);
  }
}

TEST_CASE("LongRoPE takes its long set from the first position past the trained length", "[rope]") {
  RopeSpec rope = plain(4, 1e4);
  rope.scaling = RopeScaling::longrope;
  rope.original_context = 4096;
  rope.divisors = {1.0f, 1.0f};
  rope.long_divisors = {2.0f, 4.0f};
  const auto angle_of_one = [&](std::size_t length) {
    RopeTable table = value_of(make_rope_table(rope, length));
    float cosine[2], sine[2];
    table.fill(1, cosine, sine);
    return std::asin(sine[0]);
  };
  for (const std::size_t length : {1, 4095, 4096}) CHECK(std::fabs(angle_of_one(length) - 1.0f) < 1e-6f);
  for (const std::size_t length : {4097, 131072}) CHECK(std::fabs(angle_of_one(length) - 0.5f) < 1e-6f);
}

TEST_CASE("llama3 scaling has three regions with continuous seams", "[rope]") {
  RopeSpec rope = plain(128, 5e5);
  rope.scaling = RopeScaling::llama3;
  rope.factor = 8;
  const reference::Row scaled = reference::frequencies(rope, 1);
  rope.scaling = RopeScaling::none;
  const reference::Row kept = reference::frequencies(rope, 1);
  std::size_t n_kept = 0, n_divided = 0, n_between = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const double ratio = scaled[i] / kept[i];
    ++(ratio > 1 - 1e-12 ? n_kept : ratio < 0.125 + 1e-12 ? n_divided : n_between);
  }
  CHECK(n_kept == 29);  // wavelengths under 2048
  CHECK(n_between == 6);
  CHECK(n_divided == 29);  // wavelengths over 8192
}

TEST_CASE("a rope whose divisors do not fit is refused", "[rope]") {
  RopeSpec rope = plain(8, 1e4);
  rope.original_context = 16;
  for (const RopeScaling scaling : {RopeScaling::divisors, RopeScaling::longrope}) {
    rope.scaling = scaling;
    rope.divisors = {1, 1, 1};
    rope.long_divisors = {1, 1, 1, 1};
    const auto table = make_rope_table(rope, 16);
    REQUIRE_FALSE(table.ok());
    CHECK(table.error().code == Errc::invalid_file);
    CHECK(contains(table.error().message, "4 values"));
  }
  rope.scaling = RopeScaling::longrope;
  CHECK(make_rope_table(rope, 17).ok());
}
