// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/gguf_blocks.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "support/random_blocks.h"

using namespace tritium;
using golden::random_block;
using golden::set_u16;

namespace {

std::vector<TensorType> block_types() {
  std::vector<TensorType> types;
  for (const TensorTypeInfo& t : kTensorTypes) {
    if (block_format(t.type) != nullptr) types.push_back(t.type);
  }
  return types;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("block formats agree with the table of tensor types", "[blocks]") {
  REQUIRE(block_types().size() == 15);
  for (const TensorType type : block_types()) {
    const BlockFormat& format = *block_format(type);
    CAPTURE(info(type).name);
    REQUIRE(format.type == type);
    REQUIRE(format.length == info(type).block_length);
    REQUIRE(format.length % format.group == 0);
    REQUIRE(format.n_groups() <= kMaxBlockGroups);
    REQUIRE(format.max_code < (1u << format.bits));
  }
  REQUIRE(block_format(TensorType::f16) == nullptr);
  REQUIRE(block_format(TensorType::i2_s) == nullptr);
}

TEST_CASE("the published test vectors decode exactly", "[blocks]") {
  // Byte i of the block is (37 i + 11) mod 256; then d = 0.5 and, where there is one, m = 0.25; mxfp4: byte 0 is 126.
  struct Vector {
    TensorType type;
    double y0, y1, y16, y17, y31, last, sum, weighted;  // weighted: sum of (e + 1) y[e]
  };
  const Vector vectors[] = {
      {TensorType::q8_0, 42.5, 61, -45.5, -27, -24, -24, -88, -4040},
      {TensorType::q4_0, -1.5, 1, -1.5, -0.5, 0, 0, -10.5, -259},
      {TensorType::q4_1, 7.75, 2.25, 4.75, 6.25, 6.25, 6.25, 130.5, 2123.5},
      {TensorType::q5_0, 4.5, -1, 7, 0, 0.5, 0.5, 7.5, 56},
      {TensorType::q5_1, 9.75, 12.25, 9.75, 2.75, 2.75, 2.75, 260.5, 4082.5},
      {TensorType::iq4_nl, -17.5, 12.5, -17.5, -5, 0.5, 0.5, -128.5, -3459.5},
      {TensorType::mxfp4, 0, 1.5, 0.75, 1.5, 1.5, 1.5, 6.25, 159.5},
      {TensorType::q2_k, 16.5, 0, -0.75, -0.75, -0.75, 2.25, 1029.5, 121565},
      {TensorType::q3_k, 40.5, -54, -48, 64, 32, 21, 479, 88572.5},
      {TensorType::q4_k, 157.75, -12.75, 157.75, -12.75, 80.25, 24.25, 27220, 3786420},
      {TensorType::q5_k, 405.75, -12.75, 405.75, -12.75, 80.25, 54.25, 58108, 8013724},
      {TensorType::q6_k, -715.5, 848, -216, 256, -48, -30, 2306, 392210},
      {TensorType::iq4_xs, 32.5, -0.5, 32.5, 17.5, 17.5, -8, -5502.5, -1045567},
      {TensorType::tq1_0, -0.5, -0.5, 0, 0, 0, -0.5, -1, -65.5},
      {TensorType::tq2_0, 1, -0.5, 1, -0.5, 0.5, -0.5, 64.5, 8622.5},
  };
  for (const Vector& v : vectors) {
    CAPTURE(info(v.type).name);
    const BlockFormat& format = *block_format(v.type);
    std::vector<std::byte> block(info(v.type).block_bytes);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>((37 * i + 11) % 256);
    if (v.type == TensorType::mxfp4) {
      block[0] = std::byte{126};
    } else {
      set_u16(block, static_cast<std::size_t>(format.d_offset), 0x3800);
    }
    if (format.has_min()) set_u16(block, static_cast<std::size_t>(format.m_offset), 0x3400);
    BlockFields fields;
    unpack_block(v.type, block.data(), fields);
    std::vector<float> y(format.length);
    decode_fields(v.type, fields, y.data());  // the fill has codes of 3 in tq2_0, which decode_row refuses
    double sum = 0;
    double weighted = 0;
    for (std::size_t e = 0; e < y.size(); ++e) {
      sum += static_cast<double>(y[e]);
      weighted += static_cast<double>(e + 1) * static_cast<double>(y[e]);
    }
    REQUIRE(static_cast<double>(y[0]) == v.y0);
    REQUIRE(static_cast<double>(y[1]) == v.y1);
    REQUIRE(static_cast<double>(y[16]) == v.y16);
    REQUIRE(static_cast<double>(y[17]) == v.y17);
    REQUIRE(static_cast<double>(y[31]) == v.y31);
    REQUIRE(static_cast<double>(y.back()) == v.last);
    REQUIRE(sum == v.sum);
    REQUIRE(weighted == v.weighted);
  }
}

TEST_CASE("random blocks decode to the bits of the gguf package", "[blocks]") {
  for (const TensorType type : block_types()) {
    CAPTURE(info(type).name);
    const golden::Section& golden = golden::section("decode " + std::string(info(type).name));
    std::vector<float> y(golden.values.size());
    REQUIRE(golden.bytes.size() == y.size() / info(type).block_length * info(type).block_bytes);
    REQUIRE(decode_row(type, golden.bytes.data(), y.size(), y.data()).ok());
    std::size_t first_wrong = 0;
    while (first_wrong < y.size() &&
           std::bit_cast<std::uint32_t>(y[first_wrong]) == std::bit_cast<std::uint32_t>(golden.values[first_wrong])) {
      ++first_wrong;
    }
    REQUIRE(first_wrong == y.size());
  }
}

TEST_CASE("fields hold all that a block says", "[blocks]") {
  golden::Random random(3);
  for (const TensorType type : block_types()) {
    CAPTURE(info(type).name);
    const BlockFormat& format = *block_format(type);
    for (int round = 0; round < 200; ++round) {
      const std::vector<std::byte> block = random_block(type, random);
      BlockFields fields;
      unpack_block(type, block.data(), fields);
      REQUIRE(*std::max_element(fields.codes.begin(), fields.codes.begin() + format.length) <= format.max_code);
      std::vector<std::byte> again(block.size() + 8, std::byte{0xA5});
      pack_block(type, fields, again.data());
      REQUIRE(std::memcmp(again.data(), block.data(), block.size()) == 0);
      REQUIRE(std::all_of(again.end() - 8, again.end(), [](std::byte b) { return b == std::byte{0xA5}; }));

      // The value formula of BlockFields, in double, against decode_row.
      std::vector<float> y(format.length);
      REQUIRE(decode_row(type, block.data(), format.length, y.data()).ok());
      std::size_t wrong = 0;
      for (std::size_t e = 0; e < format.length; ++e) {
        const std::size_t g = e / format.group;
        const double value = static_cast<double>(fields.d) * fields.scales[g] * format.level(fields.codes[e]) -
                             static_cast<double>(fields.m) * fields.mins[g];
        if (y[e] != static_cast<float>(value)) ++wrong;  // every product is exact, so there is one rounding
      }
      REQUIRE(wrong == 0);
    }
  }
}

TEST_CASE("every byte of tq1_0 decodes to trits, and the 243 that encoders write come back", "[blocks]") {
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned n = 0; n < 5; ++n) REQUIRE(detail::trit(static_cast<std::uint8_t>(byte), n) <= 2);
  }
  for (unsigned value = 0; value < 243; ++value) {
    std::vector<std::byte> block(54);
    block[7] = static_cast<std::byte>((256 * value + 242) / 243);  // its five trits are elements 7, 39, 71, 103, 135
    block[53] = std::byte{0x3C};
    BlockFields fields;
    unpack_block(TensorType::tq1_0, block.data(), fields);
    unsigned digits = 0;
    for (std::size_t n = 0; n < 5; ++n) digits = 3 * digits + fields.codes[7 + 32 * n];
    REQUIRE(digits == value);
    std::vector<std::byte> again(54);
    pack_block(TensorType::tq1_0, fields, again.data());
    REQUIRE(again == block);
  }
}

TEST_CASE("every byte of tq2_0 round-trips or is refused by its index", "[blocks]") {
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{5}, std::size_t{31}, std::size_t{32}, std::size_t{63}}) {
      std::vector<std::byte> row(2 * 66);  // the byte sits in the second of two blocks
      row[65] = std::byte{0x3C};
      row[131] = std::byte{0x3C};
      row[66 + at] = static_cast<std::byte>(byte);
      std::size_t first_bad = 512;
      for (std::size_t pair = 0; pair < 4 && first_bad == 512; ++pair) {
        if (((byte >> (2 * pair)) & 3u) == 3u) first_bad = 256 + at / 32 * 128 + pair * 32 + at % 32;
      }
      std::vector<float> y(512);
      const Status decoded = decode_row(TensorType::tq2_0, row.data(), 512, y.data());
      const Status checked = check_tensor(TensorType::tq2_0, row, 1, 512);
      REQUIRE(decoded.ok() == (first_bad == 512));
      REQUIRE(checked.ok() == (first_bad == 512));
      BlockFields fields;
      std::vector<std::byte> again(66);
      unpack_block(TensorType::tq2_0, row.data() + 66, fields);
      pack_block(TensorType::tq2_0, fields, again.data());
      REQUIRE(std::memcmp(again.data(), row.data() + 66, 66) == 0);
      if (first_bad == 512) continue;
      const std::string where = "tq2_0 element " + std::to_string(first_bad) + ":";
      REQUIRE(decoded.error().code == Errc::invalid_file);
      REQUIRE(contains(decoded.error().message, where));
      REQUIRE(contains(checked.error().message, where));
    }
  }
}

TEST_CASE("plain numbers decode to the nearest f32", "[blocks]") {
  const auto decode = [](TensorType type, const auto& numbers) {
    std::vector<float> y(numbers.size());
    REQUIRE(decode_row(type, reinterpret_cast<const std::byte*>(numbers.data()), numbers.size(), y.data()).ok());
    return y;
  };
  REQUIRE(decode(TensorType::f32, std::vector<float>{1.5f, -0.0f, 3e38f}) == std::vector<float>{1.5f, -0.0f, 3e38f});
  REQUIRE(decode(TensorType::f16, std::vector<std::uint16_t>{0x3C00, 0xC000, 0x0001}) ==
          std::vector<float>{1.0f, -2.0f, 0x1p-24f});
  REQUIRE(decode(TensorType::bf16, std::vector<std::uint16_t>{0x3F80, 0xC000}) == std::vector<float>{1.0f, -2.0f});
  REQUIRE(decode(TensorType::f64, std::vector<double>{0.1, -1e-300}) == std::vector<float>{0.1f, -0.0f});
  REQUIRE(decode(TensorType::i8, std::vector<std::int8_t>{-128, 127}) == std::vector<float>{-128.0f, 127.0f});
  REQUIRE(decode(TensorType::u8, std::vector<std::uint8_t>{0, 255}) == std::vector<float>{0.0f, 255.0f});
  REQUIRE(decode(TensorType::i16, std::vector<std::int16_t>{-32768, 32767}) == std::vector<float>{-32768.0f, 32767.0f});
  REQUIRE(decode(TensorType::i32, std::vector<std::int32_t>{-2147483647 - 1, 16777217}) ==
          std::vector<float>{-2147483648.0f, 16777216.0f});
  REQUIRE(decode(TensorType::i64, std::vector<std::int64_t>{-9007199254740993, 3}) ==
          std::vector<float>{-9007199254740992.0f, 3.0f});
}

TEST_CASE("rows of part blocks and rows of i2_s are refused", "[blocks]") {
  std::vector<std::byte> row(256);
  std::vector<float> y(512, 7.0f);
  for (const TensorType type : block_types()) {
    const Status status = decode_row(type, row.data(), info(type).block_length + 1, y.data());
    REQUIRE(!status.ok());
    REQUIRE(status.error().code == Errc::invalid_argument);
    REQUIRE(contains(status.error().message, std::to_string(info(type).block_length)));
    REQUIRE(decode_row(type, row.data(), 0, y.data()).ok());
  }
  REQUIRE(!decode_row(TensorType::i2_s, row.data(), 128, y.data()).ok());
  for (const float value : y) REQUIRE(value == 7.0f);
}

TEST_CASE("check_tensor finds scales that are not numbers", "[blocks]") {
  golden::Random random(4);
  for (const TensorType type : block_types()) {
    CAPTURE(info(type).name);
    const BlockFormat& format = *block_format(type);
    std::vector<std::byte> tensor;
    for (int b = 0; b < 6; ++b) {  // 2 rows of 3 blocks
      const std::vector<std::byte> block = random_block(type, random);
      tensor.insert(tensor.end(), block.begin(), block.end());
    }
    const std::size_t cols = std::size_t{3} * format.length;
    REQUIRE(check_tensor(type, tensor, 2, cols).ok());
    for (const std::int16_t offset : {format.d_offset, format.m_offset}) {
      if (offset < 0) continue;
      for (const std::uint16_t bits : {std::uint16_t{0x7C00}, std::uint16_t{0xFC00}, std::uint16_t{0x7E01}}) {
        std::vector<std::byte> damaged = tensor;
        set_u16(damaged, std::size_t{4} * info(type).block_bytes + static_cast<std::size_t>(offset), bits);
        const Status status = check_tensor(type, damaged, 2, cols);
        REQUIRE(!status.ok());
        REQUIRE(status.error().code == Errc::invalid_file);
        REQUIRE(contains(status.error().message, "element " + std::to_string(4 * format.length) + ":"));
      }
    }
    REQUIRE(!check_tensor(type, std::span(tensor).first(tensor.size() - 1), 2, cols).ok());
    REQUIRE(!check_tensor(type, tensor, 3, cols).ok());
    REQUIRE(!check_tensor(type, tensor, 2, cols + 1).ok());
    REQUIRE(!check_tensor(type, tensor, std::size_t{1} << 60, std::size_t{1} << 60).ok());
  }
  std::vector<std::byte> mxfp4(17);
  mxfp4[0] = std::byte{252};
  REQUIRE(check_tensor(TensorType::mxfp4, mxfp4, 1, 32).ok());
  mxfp4[0] = std::byte{253};
  REQUIRE(!check_tensor(TensorType::mxfp4, mxfp4, 1, 32).ok());
}

TEST_CASE("check_tensor finds floats that are not numbers", "[blocks]") {
  const auto bytes_of = [](const auto& numbers) { return std::as_bytes(std::span(numbers)); };
  const auto refused_at = [](const Status& status, std::size_t element) {
    return !status.ok() && status.error().code == Errc::invalid_file &&
           contains(status.error().message, "element " + std::to_string(element) + ":");
  };
  std::vector<float> f32{1.0f, -3.4e38f, 1e-45f, 0.0f};
  REQUIRE(check_tensor(TensorType::f32, bytes_of(f32), 2, 2).ok());
  f32[3] = -std::numeric_limits<float>::infinity();
  REQUIRE(refused_at(check_tensor(TensorType::f32, bytes_of(f32), 2, 2), 3));
  f32[2] = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(refused_at(check_tensor(TensorType::f32, bytes_of(f32), 2, 2), 2));
  std::vector<std::uint16_t> half{0x7BFF, 0x7F80};
  REQUIRE(refused_at(check_tensor(TensorType::f16, bytes_of(half), 1, 2), 1));
  REQUIRE(refused_at(check_tensor(TensorType::bf16, bytes_of(half), 1, 2), 1));
  half[1] = 0x3C00;
  REQUIRE(check_tensor(TensorType::f16, bytes_of(half), 1, 2).ok());
  REQUIRE(check_tensor(TensorType::bf16, bytes_of(half), 1, 2).ok());
  std::vector<double> f64{1.0, 1e300, 0.0};
  REQUIRE(refused_at(check_tensor(TensorType::f64, bytes_of(f64), 3, 1), 1));
  f64[1] = 1e38;
  REQUIRE(check_tensor(TensorType::f64, bytes_of(f64), 3, 1).ok());
  const std::vector<std::int32_t> integers{0x7F800000, -1};  // the bits of an infinity are an honest integer
  REQUIRE(check_tensor(TensorType::i32, bytes_of(integers), 1, 2).ok());
}
