// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/gguf_encode.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/golden_blocks.h"

using namespace tritium;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargest = std::numeric_limits<float>::max();

std::vector<TensorType> block_types() {
  std::vector<TensorType> types;
  for (const TensorTypeInfo& t : kTensorTypes) {
    if (block_format(t.type) != nullptr) types.push_back(t.type);
  }
  return types;
}

std::vector<std::byte> encode(TensorType type, const std::vector<float>& x) {
  std::vector<std::byte> row(*tensor_bytes(type, 1, x.size()));
  const Status status = encode_row(type, x.data(), x.size(), row.data());
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  REQUIRE(check_tensor(type, row, 1, x.size()).ok());
  return row;
}

std::vector<float> decode(TensorType type, const std::vector<std::byte>& row, std::size_t n) {
  std::vector<float> y(n);
  REQUIRE(decode_row(type, row.data(), n, y.data()).ok());
  return y;
}

Error encode_error(TensorType type, const std::vector<float>& x) {
  std::vector<std::byte> row(x.size() * 8);
  const Status status = encode_row(type, x.data(), x.size(), row.data());
  REQUIRE(!status.ok());
  return status.error();
}

bool names_element(const Error& error, std::size_t element) {
  return error.message.find("element " + std::to_string(element) + ":") != std::string::npos;
}

/// ||y - x||^2 / ||x||^2 in percent.
double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(y[i]) - static_cast<double>(x[i]);
    error += d * d;
    norm += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return 100.0 * error / norm;
}

}  // namespace

TEST_CASE("plain rounding gives the bytes of the gguf package", "[encode]") {
  for (const TensorType type :
       {TensorType::f16, TensorType::bf16, TensorType::q4_0, TensorType::q4_1, TensorType::q5_0, TensorType::q5_1,
        TensorType::q8_0, TensorType::tq1_0, TensorType::tq2_0, TensorType::mxfp4}) {
    CAPTURE(info(type).name);
    const golden::Section& golden = golden::section("encode " + std::string(info(type).name));
    const std::vector<std::byte> row = encode(type, golden.values);
    REQUIRE(row == golden.bytes);
  }
}

TEST_CASE("searched types are no worse than llama.cpp", "[encode]") {
  // Relative squared error in percent of llama.cpp's quantizers without importance (quantize_iq4_nl, ..., of the
  // sources in llama-cpp-python 0.3.36) on the same numbers: 65,536 of the generator below, normal and Student t with 6
  // degrees.
  struct Bound {
    TensorType type;
    double normal, student;
  };
  const Bound bounds[] = {
      {TensorType::iq4_nl, 0.576210, 0.748226}, {TensorType::iq4_xs, 0.585060, 0.762024},
      {TensorType::q2_k, 8.800334, 10.686880},  {TensorType::q3_k, 2.251630, 2.929214},
      {TensorType::q4_k, 0.506529, 0.658461},   {TensorType::q5_k, 0.130034, 0.168761},
      {TensorType::q6_k, 0.031701, 0.043396},
  };
  std::vector<float> x(65536);
  for (const bool normal : {true, false}) {
    golden::Random random(1);
    for (float& v : x) v = static_cast<float>(0.02 * (normal ? random.normal() : random.student()));
    for (const Bound& bound : bounds) {
      const double error = relative_error(x, decode(bound.type, encode(bound.type, x), x.size()));
      CAPTURE(info(bound.type).name, normal, error);
      REQUIRE(error < (normal ? bound.normal : bound.student));
      REQUIRE(error > 0.5 * (normal ? bound.normal : bound.student));  // less would mean a broken measurement
    }
  }
}

TEST_CASE("an element is off by half a step at most where rounding is plain", "[encode]") {
  struct Bound {
    TensorType type;
    double half_steps;  // of max|x|, or of max - min for the types with a minimum
  };
  // q4_0 and q5_0 cut what lies beyond the level opposite to the largest element: a whole step there.
  const Bound bounds[] = {{TensorType::q4_0, 1.0 / 8},
                          {TensorType::q4_1, 0.5 / 15},
                          {TensorType::q5_0, 1.0 / 16},
                          {TensorType::q5_1, 0.5 / 31},
                          {TensorType::q8_0, 0.5 / 127}};
  golden::Random random(10);
  std::vector<float> x(32);
  for (const Bound& bound : bounds) {
    CAPTURE(info(bound.type).name);
    for (int round = 0; round < 500; ++round) {
      const double size = std::pow(10.0, 5.0 * random.uniform() - 3.0);
      for (float& v : x) v = static_cast<float>(size * random.normal());
      const std::vector<float> y = decode(bound.type, encode(bound.type, x), 32);
      double span = 0;
      double low = 1e9;
      double high = -1e9;
      for (const float v : x) {
        span = std::max(span, std::fabs(static_cast<double>(v)));
        low = std::min(low, static_cast<double>(v));
        high = std::max(high, static_cast<double>(v));
      }
      const double scale = block_format(bound.type)->has_min() ? high - low : span;
      // The stored scale and minimum are f16: relative error 2^-11, of the whole range of codes; 2^-24 when subnormal.
      const double f16_error = 2.0 * span * 0x1p-11 + 256 * 0x1p-24;
      double worst = 0;
      for (std::size_t i = 0; i < 32; ++i) {
        worst = std::max(worst, std::fabs(static_cast<double>(y[i]) - static_cast<double>(x[i])));
      }
      REQUIRE(worst <= bound.half_steps * scale + f16_error);
    }
  }
}

TEST_CASE("what a block can hold exactly comes back unchanged", "[encode]") {
  golden::Random random(11);
  for (const TensorType type :
       {TensorType::q4_0, TensorType::q4_1, TensorType::q5_0, TensorType::q5_1, TensorType::q8_0, TensorType::iq4_nl,
        TensorType::mxfp4, TensorType::tq1_0, TensorType::tq2_0}) {
    CAPTURE(info(type).name);
    const BlockFormat& format = *block_format(type);
    for (int round = 0; round < 300; ++round) {
      BlockFields fields{};
      detail::set_single_group(format, fields);
      for (std::size_t e = 0; e < format.length; ++e) {
        fields.codes[e] = static_cast<std::uint8_t>(random.below(std::size_t{format.max_code} + 1));
      }
      // Each encoder puts the scale on an extreme element, so the block must use the extreme codes.
      fields.codes[3] = 0;
      fields.codes[9] = format.max_code;
      if (type == TensorType::q8_0) {  // levels of -127 .. 127: encoders do not write -128
        for (std::size_t e = 0; e < 32; ++e) fields.codes[e] = std::max(fields.codes[e], std::uint8_t{1});
      }
      if (type == TensorType::mxfp4) {
        for (std::size_t e = 0; e < 32; ++e) {
          if (fields.codes[e] == 8) fields.codes[e] = 0;  // minus zero is written as zero
        }
        fields.d = std::ldexp(1.0f, static_cast<int>(random.below(200)) - 100);
      } else {
        fields.d = to_float(f16{static_cast<std::uint16_t>(0x0400 + random.below(0x7000))});
        if (format.has_min()) fields.m = to_float(to_f16(-fields.d * static_cast<float>(1 + random.below(63)) * 0.5f));
        if (!std::isfinite(fields.m)) continue;
      }
      std::vector<std::byte> row(info(type).block_bytes);
      pack_block(type, fields, row.data());
      const std::vector<float> x = decode(type, row, format.length);
      REQUIRE(encode(type, x) == row);
    }
  }
}

TEST_CASE("plain floats round to nearest and come back", "[encode]") {
  std::vector<float> half;
  std::vector<float> brain;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float h = to_float(f16{static_cast<std::uint16_t>(bits)});
    const float b = to_float(bf16{static_cast<std::uint16_t>(bits)});
    if (std::isfinite(h)) half.push_back(h);
    if (std::isfinite(b)) brain.push_back(b);
  }
  const auto same_bits = [](const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  REQUIRE(same_bits(decode(TensorType::f16, encode(TensorType::f16, half), half.size()), half));
  REQUIRE(same_bits(decode(TensorType::bf16, encode(TensorType::bf16, brain), brain.size()), brain));
  REQUIRE(same_bits(decode(TensorType::f32, encode(TensorType::f32, brain), brain.size()), brain));
  REQUIRE(same_bits(decode(TensorType::f64, encode(TensorType::f64, brain), brain.size()), brain));
}

TEST_CASE("NaN and infinity are refused by their index", "[encode]") {
  for (const TensorTypeInfo& t : kTensorTypes) {
    if (t.type == TensorType::i2_s) continue;
    CAPTURE(t.name);
    for (const float bad : {kNan, -kNan, kInfinity, -kInfinity}) {
      for (const std::size_t at : {std::size_t{0}, std::size_t{255}, std::size_t{300}, std::size_t{511}}) {
        std::vector<float> x(512, 0.5f);
        x[at] = bad;
        const Error error = encode_error(t.type, x);
        REQUIRE(error.code == Errc::invalid_argument);
        REQUIRE(names_element(error, at));
      }
    }
  }
}

TEST_CASE("values that no scale can hold are refused by their block", "[encode]") {
  std::vector<float> x(512, 0.0f);
  x[300] = 65520.0f;  // rounds to an f16 infinity
  REQUIRE(names_element(encode_error(TensorType::f16, x), 300));
  x[300] = -kLargest;
  REQUIRE(names_element(encode_error(TensorType::bf16, x), 300));
  for (const TensorType type : block_types()) {
    if (type == TensorType::mxfp4) continue;
    CAPTURE(info(type).name);
    const std::size_t first = 300 / info(type).block_length * info(type).block_length;
    for (const float other : {0.0f, kLargest}) {  // with it, max - min does not fit in f32
      x[290] = other;
      const Error error = encode_error(type, x);
      REQUIRE(error.code == Errc::out_of_range);
      REQUIRE(names_element(error, first));
    }
    x[290] = 0.0f;
  }
  const std::vector<float> y = decode(TensorType::mxfp4, encode(TensorType::mxfp4, x), x.size());
  REQUIRE(y[300] == -0x1.8p127f);  // 6 * 2^125, the nearest there is
  REQUIRE(y[299] == 0.0f);
}

TEST_CASE("zeros, denormals, constants and lone values stay sane", "[encode]") {
  for (const TensorType type : block_types()) {
    for (const float value : {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-38f, -1e-30f, 1e-12f, -3e-8f, 1e-6f, 0.015625f, -1.0f,
                              1.0f, 3.0f, -1000.0f, 60000.0f}) {
      // A constant, or one value among zeros, is on the grid of every type up to the rounding of the scale: to f16, and
      // in the 256-element types to 4 to 8 bits too. Below 2^-24 times the largest level everything may become zero.
      // mxfp4 cuts values just below a power of two from 8 to 6 units.
      const double part = type == TensorType::mxfp4 ? 0.25 : 1.0 / 16;
      const double allowed = part * std::fabs(static_cast<double>(value)) + 128 * 0x1p-24;
      const auto worst = [&](const std::vector<float>& x) {
        const std::vector<float> y = decode(type, encode(type, x), x.size());
        double error = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          error = std::max(error, std::fabs(static_cast<double>(y[i]) - static_cast<double>(x[i])));
        }
        return error;
      };
      CAPTURE(info(type).name, value);
      REQUIRE(worst(std::vector<float>(256, value)) <= allowed);
      for (const std::size_t at : {std::size_t{0}, std::size_t{31}, std::size_t{100}, std::size_t{255}}) {
        std::vector<float> x(256, 0.0f);
        x[at] = value;
        REQUIRE(worst(x) <= allowed);
      }
    }
  }
}

TEST_CASE("a scale that is stored as zero leaves codes that mean zero", "[encode]") {
  for (const TensorType type :
       {TensorType::q4_0, TensorType::q5_0, TensorType::q8_0, TensorType::tq1_0, TensorType::tq2_0}) {
    const std::vector<std::byte> row = encode(type, std::vector<float>(256, 1e-44f));
    BlockFields fields;
    unpack_block(type, row.data(), fields);
    const BlockFormat& format = *block_format(type);
    REQUIRE(fields.d == 0.0f);
    REQUIRE(std::count(fields.codes.begin(), fields.codes.begin() + format.length, format.zero_point) == format.length);
  }
}

TEST_CASE("any finite bits encode to a sound row or an error", "[encode]") {
  golden::Random random(12);
  std::vector<float> x(256);
  int encoded = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::uint64_t kind = random.bits() % 4;
    for (float& v : x) {
      std::uint32_t bits = static_cast<std::uint32_t>(random.bits());
      if (kind == 1) bits = (bits & 0x807FFFFFu) | (static_cast<std::uint32_t>(100 + random.below(40)) << 23);
      if (kind == 2) bits &= 0x80FFFFFFu;
      if (kind == 3 && random.below(3) != 0) bits = 0;
      if ((bits & 0x7F800000u) == 0x7F800000u) bits &= 0xFF7FFFFFu;
      v = std::bit_cast<float>(bits);
    }
    for (const TensorType type : block_types()) {
      std::vector<std::byte> row(*tensor_bytes(type, 1, x.size()) + 16, std::byte{0xA5});
      const Status status = encode_row(type, x.data(), x.size(), row.data());
      REQUIRE(std::all_of(row.end() - 16, row.end(), [](std::byte b) { return b == std::byte{0xA5}; }));
      if (!status.ok()) {
        REQUIRE(status.error().code == Errc::out_of_range);
        continue;
      }
      ++encoded;
      row.resize(row.size() - 16);
      REQUIRE(check_tensor(type, row, 1, x.size()).ok());
      bool finite = true;
      for (const float v : decode(type, row, x.size())) finite = finite && std::isfinite(v);
      REQUIRE(finite);
    }
  }
  REQUIRE(encoded > 10000);
}

TEST_CASE("encoding is refused where it has no meaning", "[encode]") {
  const std::vector<float> x(256, 1.0f);
  for (const TensorType type :
       {TensorType::i8, TensorType::i16, TensorType::i32, TensorType::i64, TensorType::u8, TensorType::i2_s}) {
    REQUIRE(encode_error(type, x).code == Errc::invalid_argument);
  }
  for (const TensorType type : block_types()) {
    std::vector<float> part(info(type).block_length + 1u, 1.0f);
    REQUIRE(encode_error(type, part).code == Errc::invalid_argument);
  }
}
