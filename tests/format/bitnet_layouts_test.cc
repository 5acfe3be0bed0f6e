// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/bitnet_layouts.h"

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "support/golden_blocks.h"
#include "tritium/format/gguf_blocks.h"

using namespace tritium;

namespace {

// The public definitions, one weight at a time.
unsigned i2_s_code(const std::vector<std::byte>& bytes, std::size_t n) {
  const std::size_t b = n / 128;
  const std::size_t j = n % 128;
  return (std::to_integer<unsigned>(bytes[32 * b + j % 32]) >> (6 - 2 * (j / 32))) & 3u;
}
unsigned bitnet_row_code(const std::vector<std::byte>& bytes, std::size_t rows, std::size_t cols, std::size_t o,
                         std::size_t c) {
  const std::size_t quarter = rows / 4;
  return (std::to_integer<unsigned>(bytes[o % quarter * cols + c]) >> (2 * (o / quarter))) & 3u;
}

std::vector<std::byte> random_ternary_bytes(std::size_t n, golden::Random& random) {
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) {
    unsigned value = 0;
    for (int i = 0; i < 4; ++i) value = value << 2 | static_cast<unsigned>(random.below(3));
    b = static_cast<std::byte>(value);
  }
  return bytes;
}

void append_scale(std::vector<std::byte>& bytes, float scale) {
  bytes.resize(bytes.size() + kI2sTailBytes);
  std::memcpy(bytes.data() + bytes.size() - kI2sTailBytes, &scale, sizeof scale);
}

bool names_element(const Error& error, std::size_t element) {
  return error.message.find("element " + std::to_string(element) + ":") != std::string::npos;
}

}  // namespace

TEST_CASE("i2_s decodes as its public definition and comes back byte for byte", "[bitnet]") {
  golden::Random random(5);
  for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{1, 128}, {3, 384}, {64, 256}, {5, 2560}}) {
    std::vector<std::byte> bytes = random_ternary_bytes(rows * cols / 4, random);
    append_scale(bytes, 0.73f);
    REQUIRE(bytes.size() == *tensor_bytes(TensorType::i2_s, rows, cols));
    std::vector<float> y(rows * cols);
    std::vector<std::uint8_t> codes(rows * cols);
    REQUIRE(decode_i2_s(bytes, rows, cols, y.data()).ok());
    const Result<float> scale = unpack_i2_s(bytes, rows, cols, codes.data());
    REQUIRE(scale.ok());
    REQUIRE(*scale == 0.73f);
    for (std::size_t n = 0; n < y.size(); ++n) {
      const unsigned code = i2_s_code(bytes, n);
      REQUIRE(codes[n] == code);
      REQUIRE(y[n] == 0.73f * (static_cast<float>(code) - 1.0f));
    }
    std::vector<std::byte> again(bytes.size(), std::byte{0xFF});
    REQUIRE(pack_i2_s(codes.data(), *scale, rows, cols, again).ok());
    REQUIRE(again == bytes);
    std::fill(again.begin(), again.end(), std::byte{0xFF});
    REQUIRE(encode_i2_s(y.data(), rows, cols, again).ok());
    REQUIRE(again == bytes);
    REQUIRE(check_tensor(TensorType::i2_s, bytes, rows, cols).ok());
  }
}

TEST_CASE("every byte of i2_s round-trips or is refused by its index", "[bitnet]") {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::size_t at = 32 + byte % 32;  // in the second of two rows of 128
    std::vector<std::byte> bytes(64, std::byte{0x55});
    bytes[at] = static_cast<std::byte>(byte);
    append_scale(bytes, 1.0f);
    std::size_t bad = 256;
    for (std::size_t n = 0; n < 256 && bad == 256; ++n) {
      if (i2_s_code(bytes, n) == 3) bad = n;
    }
    std::vector<float> y(256);
    std::vector<std::uint8_t> codes(256);
    const Status decoded = decode_i2_s(bytes, 2, 128, y.data());
    const Result<float> unpacked = unpack_i2_s(bytes, 2, 128, codes.data());
    const Status checked = check_tensor(TensorType::i2_s, bytes, 2, 128);
    REQUIRE(decoded.ok() == (bad == 256));
    REQUIRE(unpacked.ok() == (bad == 256));
    REQUIRE(checked.ok() == (bad == 256));
    if (bad != 256) {
      REQUIRE(decoded.error().code == Errc::invalid_file);
      REQUIRE(names_element(decoded.error(), bad));
      REQUIRE(names_element(unpacked.error(), bad));
      REQUIRE(names_element(checked.error(), bad));
      continue;
    }
    std::vector<std::byte> again(bytes.size());
    REQUIRE(pack_i2_s(codes.data(), 1.0f, 2, 128, again).ok());
    REQUIRE(again == bytes);
  }
}

TEST_CASE("i2_s refuses wrong sizes, scales and weights", "[bitnet]") {
  std::vector<std::byte> bytes(64, std::byte{0x55});
  append_scale(bytes, 1.0f);
  std::vector<float> y(512);
  std::vector<std::uint8_t> codes(512, 1);
  REQUIRE(decode_i2_s(bytes, 2, 128, y.data()).ok());
  REQUIRE(!decode_i2_s(bytes, 1, 128, y.data()).ok());
  REQUIRE(!decode_i2_s(bytes, 4, 64, y.data()).ok());
  REQUIRE(!decode_i2_s(bytes, 2, 129, y.data()).ok());
  REQUIRE(!decode_i2_s(std::span(bytes).first(95), 2, 128, y.data()).ok());
  REQUIRE(!decode_i2_s(bytes, std::size_t{1} << 62, std::size_t{1} << 62, y.data()).ok());
  REQUIRE(!pack_i2_s(codes.data(), 1.0f, 2, 256, bytes).ok());
  REQUIRE(!pack_i2_s(codes.data(), std::numeric_limits<float>::infinity(), 2, 128, bytes).ok());
  codes[200] = 3;
  REQUIRE(names_element(pack_i2_s(codes.data(), 1.0f, 2, 128, bytes).error(), 200));

  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float scale : {nan, std::numeric_limits<float>::infinity()}) {
    std::vector<std::byte> damaged(32, std::byte{0x55});
    append_scale(damaged, scale);
    REQUIRE(decode_i2_s(damaged, 1, 128, y.data()).error().code == Errc::invalid_file);
    REQUIRE(!check_tensor(TensorType::i2_s, damaged, 1, 128).ok());
  }

  std::vector<std::byte> out(96);
  std::vector<float> weights(256, 0.0f);
  REQUIRE(encode_i2_s(weights.data(), 2, 128, out).ok());  // all zero: a scale of zero
  REQUIRE(*i2_s_scale(out, 2, 128) == 0.0f);
  weights[3] = -0.25f;
  weights[100] = 0.25f;
  weights[101] = -0.0f;
  REQUIRE(encode_i2_s(weights.data(), 2, 128, out).ok());
  REQUIRE(*i2_s_scale(out, 2, 128) == 0.25f);
  for (const float wrong : {0.125f, std::nextafter(0.25f, 1.0f), nan, std::numeric_limits<float>::infinity()}) {
    weights[131] = wrong;
    REQUIRE(names_element(encode_i2_s(weights.data(), 2, 128, out).error(), 131));
    weights[131] = 0.0f;
  }
  weights[0] = std::numeric_limits<float>::infinity();
  REQUIRE(names_element(encode_i2_s(weights.data(), 2, 128, out).error(), 0));
}

TEST_CASE("bitnet rows unpack as their public definition and come back byte for byte", "[bitnet]") {
  golden::Random random(6);
  for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{4, 1}, {8, 5}, {640, 96}}) {
    const std::vector<std::byte> bytes = random_ternary_bytes(rows * cols / 4, random);
    std::vector<std::uint8_t> codes(rows * cols);
    REQUIRE(unpack_bitnet_rows(bytes, rows, cols, codes.data()).ok());
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < cols; ++c) {
        REQUIRE(codes[r * cols + c] == bitnet_row_code(bytes, rows, cols, r, c));
      }
    }
    std::vector<std::byte> again(bytes.size(), std::byte{0xFF});
    REQUIRE(pack_bitnet_rows(codes.data(), rows, cols, again).ok());
    REQUIRE(again == bytes);
  }
}

TEST_CASE("every byte of bitnet rows round-trips or is refused by its index", "[bitnet]") {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::size_t rows = 8;
    const std::size_t cols = 3;
    std::vector<std::byte> bytes(rows / 4 * cols, std::byte{0x55});
    bytes[byte % bytes.size()] = static_cast<std::byte>(byte);
    std::size_t bad = rows * cols;
    for (std::size_t i = 0; i < rows * cols && bad == rows * cols; ++i) {
      if (bitnet_row_code(bytes, rows, cols, i / cols, i % cols) == 3) bad = i;
    }
    std::vector<std::uint8_t> codes(rows * cols);
    const Status status = unpack_bitnet_rows(bytes, rows, cols, codes.data());
    REQUIRE(status.ok() == (bad == rows * cols));
    if (!status.ok()) {
      REQUIRE(status.error().code == Errc::invalid_file);
      REQUIRE(names_element(status.error(), bad));
      continue;
    }
    std::vector<std::byte> again(bytes.size());
    REQUIRE(pack_bitnet_rows(codes.data(), rows, cols, again).ok());
    REQUIRE(again == bytes);
  }
}

TEST_CASE("bitnet rows refuse wrong shapes and codes", "[bitnet]") {
  std::vector<std::byte> bytes(6, std::byte{0x55});
  std::vector<std::uint8_t> codes(64, 2);
  REQUIRE(!unpack_bitnet_rows(bytes, 6, 4, codes.data()).ok());
  REQUIRE(!unpack_bitnet_rows(bytes, 8, 4, codes.data()).ok());
  REQUIRE(!unpack_bitnet_rows(bytes, std::size_t{1} << 63, 16, codes.data()).ok());
  REQUIRE(!pack_bitnet_rows(codes.data(), 6, 4, bytes).ok());
  REQUIRE(!pack_bitnet_rows(codes.data(), 4, 3, bytes).ok());
  codes[17] = 4;
  REQUIRE(names_element(pack_bitnet_rows(codes.data(), 8, 3, bytes).error(), 17));
}
