// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/pack.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/random_blocks.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Rows of sound random values in the file's own form.
std::vector<std::byte> random_rows(TensorType type, std::size_t rows, std::size_t cols, golden::Random& random) {
  std::vector<std::byte> bytes;
  const TensorTypeInfo& t = info(type);
  bytes.reserve(rows * cols / t.block_length * t.block_bytes);
  const auto append = [&](auto value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), p, p + sizeof value);
  };
  for (std::size_t b = 0; b < rows * cols / t.block_length; ++b) {
    switch (type) {
      case TensorType::f32: append(static_cast<float>(random.normal())); break;
      case TensorType::f64: append(random.normal()); break;
      case TensorType::f16:
        append(f16{static_cast<std::uint16_t>(random.below(0x7C00) | random.below(2) << 15)});
        break;
      case TensorType::bf16:
        append(bf16{static_cast<std::uint16_t>(random.below(0x7F80) | random.below(2) << 15)});
        break;
      case TensorType::i8: append(static_cast<std::int8_t>(random.below(256))); break;
      case TensorType::u8: append(static_cast<std::uint8_t>(random.below(256))); break;
      case TensorType::i16: append(static_cast<std::int16_t>(random.below(65536))); break;
      case TensorType::i32: append(static_cast<std::int32_t>(random.bits())); break;
      case TensorType::i64: append(static_cast<std::int64_t>(random.bits())); break;
      default: {
        const std::vector<std::byte> block = golden::random_block(type, random, 2);
        bytes.insert(bytes.end(), block.begin(), block.end());
      }
    }
  }
  return bytes;
}

std::vector<float> decoded(const PackedMatrix& w, std::size_t row, bool second = false) {
  std::vector<float> out(w.k());
  w.decode_row(row, out.data(), second);
  return out;
}

std::vector<float> decoded(const StoredMatrix& w, std::size_t row) {
  std::vector<float> out(w.cols);
  REQUIRE(decode_row(w.type, w.row(row), w.cols, out.data()).ok());
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

PackedMatrix packed(const StoredMatrix& w, PackFormat format) {
  Result<PackedMatrix> made = pack(w, format);
  if (!made.ok()) FAIL(made.error().message);
  return *std::move(made);
}

Error refusal(const StoredMatrix& w, PackFormat format) {
  const Result<PackedMatrix> made = pack(w, format);
  REQUIRE_FALSE(made.ok());
  return made.error();
}

StoredMatrix floats(const std::vector<float>& values, std::size_t rows) {
  return {TensorType::f32, reinterpret_cast<const std::byte*>(values.data()), rows, values.size() / rows};
}

std::vector<float> normal_values(std::size_t n, double size, golden::Random& random) {
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(size * random.normal());
  return values;
}

std::vector<std::uint8_t> random_trits(std::size_t n, golden::Random& random) {
  std::vector<std::uint8_t> codes(n);
  for (std::uint8_t& c : codes) c = static_cast<std::uint8_t>(random.below(3));
  return codes;
}

}  // namespace

TEST_CASE("every tensor type packs to its keep format without losing a bit", "[pack]") {
  golden::Random random(1);
  for (const TensorTypeInfo& t : kTensorTypes) {
    if (t.type == TensorType::i2_s) continue;  // below
    CAPTURE(t.name);
    for (const std::size_t blocks : {1u, 2u, 3u, 5u, 18u, 20u}) {
      const std::size_t cols = blocks * t.block_length;
      for (const std::size_t rows : {1u, 15u, 16u, 37u}) {
        const std::vector<std::byte> bytes = random_rows(t.type, rows, cols, random);
        const StoredMatrix w{t.type, bytes.data(), rows, cols};
        const PackedMatrix p = packed(w, keep_format(t.type));
        REQUIRE(p.format() == keep_format(t.type));
        for (std::size_t r = 0; r < rows; ++r) REQUIRE(same_bits(decoded(p, r), decoded(w, r)));
      }
    }
  }
}

TEST_CASE("rows taken in another order", "[pack]") {
  golden::Random random(2);
  for (const TensorType type : {TensorType::q4_0, TensorType::q6_k, TensorType::f16, TensorType::tq2_0}) {
    const std::size_t rows = 41;
    const std::vector<std::byte> bytes = random_rows(type, rows, 256, random);
    std::vector<std::uint32_t> order(rows);
    std::iota(order.begin(), order.end(), 0u);
    for (std::size_t i = rows; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    StoredMatrix w{type, bytes.data(), rows, 256};
    const StoredMatrix plain = w;
    w.row_order = order.data();
    const PackedMatrix p = packed(w, keep_format(type));
    for (std::size_t r = 0; r < rows; ++r) REQUIRE(same_bits(decoded(p, r), decoded(plain, order[r])));
  }
}

TEST_CASE("several parts one below the other", "[pack]") {
  golden::Random random(3);
  for (const TensorType type : {TensorType::q8_0, TensorType::q5_k, TensorType::bf16}) {
    const std::size_t rows[3] = {48, 16, 21};
    std::vector<std::byte> bytes[3];
    StoredMatrix parts[3];
    for (std::size_t i = 0; i < 3; ++i) {
      bytes[i] = random_rows(type, rows[i], 768, random);
      parts[i] = {type, bytes[i].data(), rows[i], 768};
    }
    const Result<PackedMatrix> p = pack(parts, 3, keep_format(type), false, {});
    REQUIRE(p.ok());
    REQUIRE(p->n() == 85);
    for (std::size_t i = 0, at = 0; i < 3; at += rows[i++]) {
      for (std::size_t r = 0; r < rows[i]; ++r) REQUIRE(same_bits(decoded(*p, at + r), decoded(parts[i], r)));
    }
    std::swap(parts[1], parts[2]);  // 21 rows in the middle
    REQUIRE(pack(parts, 3, keep_format(type), false, {}).error().code == Errc::invalid_argument);
  }
}

TEST_CASE("gate and up panel by panel", "[pack]") {
  golden::Random random(4);
  for (const TensorType type : {TensorType::q4_1, TensorType::q3_k, TensorType::f32}) {
    for (const std::size_t rows : {1u, 16u, 30u, 64u}) {
      const std::vector<std::byte> gate = random_rows(type, rows, 512, random);
      const std::vector<std::byte> up = random_rows(type, rows, 512, random);
      const StoredMatrix parts[2] = {{type, gate.data(), rows, 512}, {type, up.data(), rows, 512}};
      const Result<PackedMatrix> p = pack(parts, 2, keep_format(type), true, {});
      REQUIRE(p.ok());
      REQUIRE(p->n() == rows);
      REQUIRE(p->n_panels() == 2 * div_up(rows, 16));
      for (std::size_t r = 0; r < rows; ++r) {
        REQUIRE(same_bits(decoded(*p, r), decoded(parts[0], r)));
        REQUIRE(same_bits(decoded(*p, r, true), decoded(parts[1], r)));
      }
      REQUIRE(pack(parts, 1, keep_format(type), true, {}).error().code == Errc::invalid_argument);
    }
  }
}

TEST_CASE("shapes that cannot be packed are refused", "[pack]") {
  golden::Random random(5);
  REQUIRE(pack(nullptr, 0, PackFormat::f32, false, {}).error().code == Errc::invalid_argument);
  const std::vector<std::byte> bytes = random_rows(TensorType::q4_0, 4, 64, random);
  for (const PackFormatInfo& f : kPackFormats) {  // half a block at the end: a block past the end must not be read
    REQUIRE(refusal({TensorType::q4_0, bytes.data(), 4, 48}, f.format).code == Errc::invalid_argument);
    REQUIRE(refusal({TensorType::q4_0, bytes.data(), 0, 64}, f.format).code == Errc::invalid_argument);
  }
  const StoredMatrix different[2] = {{TensorType::q4_0, bytes.data(), 2, 64}, {TensorType::q4_0, bytes.data(), 2, 32}};
  REQUIRE(pack(different, 2, PackFormat::int4_g32, true, {}).error().code == Errc::invalid_argument);
  const std::vector<float> wide(65537, 1.0f);
  REQUIRE(refusal(floats(wide, 1), PackFormat::int8).code == Errc::out_of_range);
  REQUIRE(refusal(floats(wide, 1), PackFormat::ternary5).code == Errc::out_of_range);
}

TEST_CASE("ternary blocks with one scale a row need no group scales", "[pack]") {
  golden::Random random(6);
  for (const TensorType type : {TensorType::tq1_0, TensorType::tq2_0}) {
    const TensorTypeInfo& t = info(type);
    const auto offset = static_cast<std::size_t>(block_format(type)->d_offset);
    const std::size_t rows = 19;
    const std::size_t cols = 3 * 256;
    std::vector<std::byte> bytes = random_rows(type, rows, cols, random);
    const auto set_scale = [&](std::size_t row, std::size_t block, std::uint16_t bits) {
      golden::set_u16(bytes, (row * 3 + block) * t.block_bytes + offset, bits);
    };
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t b = 0; b < 3; ++b) set_scale(r, b, static_cast<std::uint16_t>(0x3000 + r));
    }
    // A block of zeros says nothing about the scale.
    BlockFields zeros;
    zeros.codes.fill(1);
    zeros.d = 0;
    zeros.m = 0;
    zeros.scales.fill(1);
    zeros.mins.fill(0);
    pack_block(type, zeros, bytes.data() + (7 * 3 + 1) * t.block_bytes);
    const StoredMatrix w{type, bytes.data(), rows, cols};
    REQUIRE(keep_format(w) == PackFormat::ternary2);
    for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::ternary2_g256}) {
      const PackedMatrix p = packed(w, format);
      for (std::size_t r = 0; r < rows; ++r) REQUIRE(decoded(p, r) == decoded(w, r));
    }

    set_scale(18, 2, 0x3456);
    REQUIRE(keep_format(w) == PackFormat::ternary2_g256);
    const PackedMatrix p = packed(w, keep_format(w));
    for (std::size_t r = 0; r < rows; ++r) REQUIRE(same_bits(decoded(p, r), decoded(w, r)));

    set_scale(18, 2, 0x7C00);  // the scale is infinite
    for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::ternary2_g256}) {
      const Error error = refusal(w, format);
      REQUIRE(error.code == Errc::invalid_file);
      REQUIRE(contains(error.message, "row 18"));
    }
    for (std::size_t b = 0; b < 3; ++b) set_scale(18, b, 0x7C00);  // and the same in the whole row
    REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_file);
    for (std::size_t b = 0; b < 3; ++b) set_scale(18, b, 0x3000);
    if (type == TensorType::tq2_0) {
      bytes[(5 * 3 + 2) * t.block_bytes + 9] = std::byte{0xC0};  // code 3
      for (const PackFormat format :
           {PackFormat::ternary2, PackFormat::ternary5, PackFormat::ternary2_g256, PackFormat::int8}) {
        const Error error = refusal(w, format);
        REQUIRE(error.code == Errc::invalid_file);
        REQUIRE(contains(error.message, "row 5"));
        REQUIRE(contains(error.message, "reserved ternary code"));
      }
    }
  }
}

TEST_CASE("scales of blocks that are not numbers are refused", "[pack]") {
  golden::Random random(7);
  for (const TensorTypeInfo& t : kTensorTypes) {
    const BlockFormat* format = block_format(t.type);
    if (format == nullptr || t.type == TensorType::mxfp4) continue;
    CAPTURE(t.name);
    for (const int offset : {int{format->d_offset}, int{format->m_offset}}) {
      if (offset < 0) continue;
      for (const unsigned bad : {0x7C00u, 0xFC00u, 0x7E00u}) {
        std::vector<std::byte> bytes = random_rows(t.type, 17, 2 * t.block_length, random);
        golden::set_u16(bytes, (16 * 2 + 1) * t.block_bytes + static_cast<std::size_t>(offset),
                        static_cast<std::uint16_t>(bad));
        const Error error = refusal({t.type, bytes.data(), 17, 2 * t.block_length}, keep_format(t.type));
        REQUIRE(error.code == Errc::invalid_file);
        REQUIRE(contains(error.message, "row 16"));
      }
    }
  }
}

TEST_CASE("weights that are not finite are refused by every format", "[pack]") {
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      std::vector<float> values(18 * 256, 0.5f);
      values[17 * 256 + 200] = bad;
      const Error error = refusal(floats(values, 18), f.format);
      REQUIRE(error.code == Errc::invalid_file);
      REQUIRE(contains(error.message, "row 17"));
      REQUIRE(contains(error.message, "200"));
    }
    const std::vector<double> large(256, 1e300);  // not a number that f32 has
    REQUIRE(refusal({TensorType::f64, reinterpret_cast<const std::byte*>(large.data()), 1, 256}, f.format).code ==
            Errc::invalid_file);
    // Finite, but past the range of 16 bits: an infinite scale must not be stored. Row scales are f32 and hold it.
    const std::vector<float> huge(256, 3e38f);
    std::vector<float> spread = huge;
    for (std::size_t i = 1; i < spread.size(); i += 2) spread[i] = -3e38f;
    for (const std::vector<float>* values : {&huge, static_cast<const std::vector<float>*>(&spread)}) {
      const Result<PackedMatrix> made = pack(floats(*values, 1), f.format);
      const bool holds = f.is_float ? f.format != PackFormat::f16 : f.group == 0;
      REQUIRE(made.ok() == holds);
      if (!holds) REQUIRE(made.error().code == Errc::out_of_range);
    }
  }
}

TEST_CASE("plain rounding stays within its steps", "[pack]") {
  golden::Random random(8);
  for (const PackFormatInfo& f : kPackFormats) {
    if (f.is_float || f.scales == ScaleKind::kSuper || f.scales == ScaleKind::kSuperMin ||
        f.scales == ScaleKind::kSuperMin4)
      continue;
    CAPTURE(f.name);
    for (const std::size_t cols : {1u, 31u, 64u, 100u, 577u}) {
      for (const double size : {1e-4, 0.02, 30.0}) {
        const std::size_t rows = 18;
        const std::vector<float> values = normal_values(rows * cols, size, random);
        const PackedMatrix p = packed(floats(values, rows), f.format);
        for (std::size_t r = 0; r < rows; ++r) {
          const std::vector<float> out = decoded(p, r);
          const std::size_t group = f.group == 0 ? cols : f.group;
          for (std::size_t first = 0; first < cols; first += group) {
            const float* v = values.data() + r * cols + first;
            const std::size_t n = std::min(group, cols - first);
            double most = 0, low = static_cast<double>(v[0]), high = low, mean = 0;
            for (std::size_t i = 0; i < n; ++i) {
              const auto x = static_cast<double>(v[i]);
              if (std::fabs(x) > std::fabs(most)) most = x;
              low = std::min(low, x);
              high = std::max(high, x);
              mean += std::fabs(x) / static_cast<double>(n);
            }
            // A stored scale is an f16: off by 2^-11 of itself, or 2^-25 where it is subnormal.
            const auto stored = [&](double s) {
              return f.group == 0 ? 0.0 : std::max(std::fabs(s) * 0x1p-11, 0x1p-25);
            };
            const double codes = f.bits == 0 ? 0 : (1 << f.bits) - 1;
            for (std::size_t i = 0; i < n; ++i) {
              const auto x = static_cast<double>(v[i]);
              const double y = static_cast<double>(out[first + i]);
              double bound = 0;
              if (f.bits == 2 || f.bits == 0) {
                const double d = n == 1 ? mean : std::max(mean, 1e-5);  // one value is ternary already
                const double code = std::fabs(x) > d / 2 ? (x > 0 ? 1 : -1) : 0;
                REQUIRE(std::fabs(y - code * d) <= 1e-6 * d + stored(d));
                continue;
              }
              if (f.scales == ScaleKind::kGroupMin) {
                const double d = (high - low) / codes;
                bound = 0.5 * d + codes * stored(d) + stored(low);
              } else if (f.table) {
                const double d = most / -127;
                double nearest = 1e30;
                for (const std::int8_t level : kIq4Values) nearest = std::min(nearest, std::fabs(x - d * level));
                bound = nearest + 127 * stored(d);
              } else {
                const double d = f.bits == 8 ? std::fabs(most) / 127 : std::fabs(most) / f.zero;
                // -zero is a code, +zero is not: the largest value of the other sign may lose a whole step.
                const double past = std::max(0.0, -x * (most > 0 ? 1 : -1) / d - (f.zero - 1));
                bound = std::max(0.5, past) * d + f.zero * stored(d);
              }
              REQUIRE(std::fabs(y - x) <= bound * (1 + 1e-5) + 1e-12 * size);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("two-level formats round as their file types do", "[pack]") {
  golden::Random random(9);
  const std::pair<PackFormat, TensorType> kTwins[] = {
      {PackFormat::k2, TensorType::q2_k}, {PackFormat::k3, TensorType::q3_k}, {PackFormat::k4, TensorType::q4_k},
      {PackFormat::k5, TensorType::q5_k}, {PackFormat::k6, TensorType::q6_k}, {PackFormat::nlk4, TensorType::iq4_xs}};
  for (const auto& [format, type] : kTwins) {
    CAPTURE(info(format).name);
    const std::vector<float> values = normal_values(17 * 512, 0.05, random);
    const PackedMatrix p = packed(floats(values, 17), format);
    std::vector<std::byte> encoded(*tensor_bytes(type, 1, 512));
    for (std::size_t r = 0; r < 17; ++r) {
      REQUIRE(encode_row(type, values.data() + r * 512, 512, encoded.data()).ok());
      REQUIRE(same_bits(decoded(p, r), decoded(StoredMatrix{type, encoded.data(), 1, 512}, 0)));
    }
    REQUIRE(refusal(floats(normal_values(200, 1, random), 1), format).code == Errc::invalid_argument);
  }
}

TEST_CASE("float formats round to nearest even", "[pack]") {
  golden::Random random(10);
  const std::vector<float> values = normal_values(20 * 33, 1, random);
  const PackedMatrix plain = packed(floats(values, 20), PackFormat::f32);
  const PackedMatrix half = packed(floats(values, 20), PackFormat::f16);
  const PackedMatrix brain = packed(floats(values, 20), PackFormat::bf16);
  for (std::size_t r = 0; r < 20; ++r) {
    for (std::size_t i = 0; i < 33; ++i) {
      const float v = values[r * 33 + i];
      REQUIRE(decoded(plain, r)[i] == v);
      REQUIRE(decoded(half, r)[i] == to_float(to_f16(v)));
      REQUIRE(decoded(brain, r)[i] == to_float(to_bf16(v)));
    }
  }
}

TEST_CASE("weights so small that their step vanishes become zero", "[pack]") {
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    for (const float size : {0.0f, 1e-45f, 1e-40f, 2e-38f}) {
      std::vector<float> values(512, size);
      for (std::size_t i = 0; i < values.size(); i += 3) values[i] = 0.0f;
      const PackedMatrix p = packed(floats(values, 1), f.format);
      for (const float v : decoded(p, 0)) REQUIRE(std::fabs(v) <= 4e-38f);
    }
  }
}

TEST_CASE("values that are ternary already keep their magnitude", "[pack]") {
  golden::Random random(11);
  const std::vector<std::uint8_t> codes = random_trits(20 * 600, random);
  std::vector<float> values(codes.size());
  for (std::size_t r = 0; r < 20; ++r) {
    const float s = static_cast<float>(1 << r) * 0x1.8p-12f;  // an f16 too
    for (std::size_t i = 0; i < 600; ++i) values[r * 600 + i] = s * static_cast<float>(int{codes[r * 600 + i]} - 1);
  }
  // The mean of |w| would be two thirds of it: the wrong model.
  for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::ternary2_g64,
                                  PackFormat::ternary2_g128, PackFormat::ternary2_g256}) {
    CAPTURE(info(format).name);
    const PackedMatrix p = packed(floats(values, 20), format);
    for (std::size_t r = 0; r < 20; ++r) {
      REQUIRE(decoded(p, r) == std::vector<float>(values.begin() + static_cast<std::ptrdiff_t>(r * 600),
                                                  values.begin() + static_cast<std::ptrdiff_t>(r * 600 + 600)));
    }
  }
}

TEST_CASE("ternary rounding is that of the absmean quantizer", "[pack]") {
  golden::Random random(12);
  for (const double size : {1e-7, 0.02, 1e3}) {
    const std::vector<float> values = normal_values(17 * 300, size, random);
    std::vector<std::uint8_t> codes(values.size());
    std::vector<float> scales(17);
    REQUIRE(
        quantize_ternary({values.data(), 17, 300}, {TernaryScope::row}, {codes.data(), 17, 300}, scales.data()).ok());
    for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5}) {
      const PackedMatrix p = packed(floats(values, 17), format);
      for (std::size_t r = 0; r < 17; ++r) {
        const std::vector<float> out = decoded(p, r);
        for (std::size_t i = 0; i < 300; ++i)
          REQUIRE(out[i] == scales[r] * static_cast<float>(int{codes[r * 300 + i]} - 1));
      }
    }
  }
}

TEST_CASE("the two layouts of BitNet files pack to row-scaled ternary without a float copy", "[pack]") {
  golden::Random random(13);
  const std::size_t rows = 36;
  const std::size_t cols = 384;
  const std::vector<std::uint8_t> codes = random_trits(rows * cols, random);
  const float scale = 1.2345678f;  // no f16
  std::vector<std::byte> folded(*tensor_bytes(TensorType::i2_s, rows, cols));
  REQUIRE(pack_i2_s(codes.data(), scale, rows, cols, folded).ok());
  std::vector<std::byte> stacked(rows / 4 * cols);
  REQUIRE(pack_bitnet_rows(codes.data(), rows, cols, stacked).ok());
  Result<StoredMatrix> i2_s = stored_i2_s(folded, rows, cols);
  Result<StoredMatrix> bitnet = stored_bitnet_rows(stacked, rows, cols, scale);
  REQUIRE(i2_s.ok());
  REQUIRE(bitnet.ok());
  REQUIRE(i2_s->scale == scale);

  std::vector<std::uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0u);
  for (std::size_t i = rows; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);

  for (StoredMatrix* w : {&*i2_s, &*bitnet}) {
    REQUIRE(keep_format(*w) == PackFormat::ternary2);
    const auto check = [&](PackFormat format, const StoredMatrix& part, std::size_t first) {
      const PackedMatrix p = packed(part, format);
      REQUIRE(p.n() == part.rows);
      for (std::size_t r = 0; r < p.n(); ++r) {
        const std::vector<float> out = decoded(p, r);
        const std::size_t from = part.row_order == nullptr ? first + r : order[r];
        for (std::size_t i = 0; i < cols; ++i) {
          REQUIRE(out[i] == scale * static_cast<float>(int{codes[from * cols + i]} - 1));
        }
      }
    };
    for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::f32}) {
      check(format, *w, 0);
      StoredMatrix permuted = *w;
      permuted.row_order = order.data();
      permuted.rows = 29;
      check(format, permuted, 0);
    }
    // Through floats: the magnitude is recognised, so only the f16 of the scale is lost.
    const PackedMatrix grouped = packed(*w, PackFormat::ternary2_g128);
    const float rounded = to_float(to_f16(scale));
    for (std::size_t i = 0; i < cols; ++i)
      REQUIRE(decoded(grouped, 3)[i] == rounded * static_cast<float>(int{codes[3 * cols + i]} - 1));
    // Two parts and a pair.
    StoredMatrix parts[2] = {*w, *w};
    parts[0].rows = 32;
    parts[1].row_order = order.data();
    const Result<PackedMatrix> below = pack(parts, 2, PackFormat::ternary2, false, {});
    REQUIRE(below.ok());
    REQUIRE(below->n() == 68);
    REQUIRE(same_bits(decoded(*below, 40), decoded(packed(parts[1], PackFormat::ternary2), 8)));
    parts[0].rows = rows;
    const Result<PackedMatrix> pair = pack(parts, 2, PackFormat::ternary5, true, {});
    REQUIRE(pair.ok());
    REQUIRE(same_bits(decoded(*pair, 7, true), decoded(packed(parts[1], PackFormat::ternary5), 7)));
  }

  // A range of rows of a folded tensor keeps the scale, wherever it ends.
  StoredMatrix range = *i2_s;
  range.data += 5 * range.row_bytes();
  range.rows = 7;
  const PackedMatrix p = packed(range, PackFormat::ternary2);
  REQUIRE(same_bits(decoded(p, 6), decoded(packed(*i2_s, PackFormat::ternary2), 11)));

  // Damage.
  folded[33 * cols / 4 + 40] |= std::byte{0x0C};
  stacked[2 * cols + 9] |= std::byte{0xC0};  // row 3 * 9 + 2
  for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::f32}) {
    const Error a = refusal(*i2_s, format);
    REQUIRE(a.code == Errc::invalid_file);
    REQUIRE(contains(a.message, "row 33"));
    const Error b = refusal(*bitnet, format);
    REQUIRE(b.code == Errc::invalid_file);
    REQUIRE(contains(b.message, "row 29"));
  }
}

TEST_CASE("unsound descriptions of BitNet files are refused", "[pack]") {
  std::vector<std::byte> bytes(4 * 128, std::byte{0x55});
  REQUIRE(stored_bitnet_rows(bytes, 15, 128, 1).error().code == Errc::invalid_argument);
  REQUIRE(stored_bitnet_rows(bytes, 0, 128, 1).error().code == Errc::invalid_argument);
  REQUIRE(stored_bitnet_rows(bytes, 12, 128, 1).error().code == Errc::invalid_argument);
  REQUIRE_FALSE(stored_bitnet_rows(bytes, std::size_t{1} << 63, 128, 1).ok());
  REQUIRE(stored_i2_s(bytes, 16, 128).error().code == Errc::invalid_argument);  // no room for the scale
  StoredMatrix w = *stored_bitnet_rows(bytes, 16, 128, 1);
  REQUIRE(pack(w, PackFormat::ternary2).ok());
  w.rows = 17;
  REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_argument);
  const std::uint32_t outside[1] = {16};
  w.rows = 1;
  w.row_order = outside;
  REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_argument);
  w.row_order = nullptr;
  w.bitnet_rows = 15;
  REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_argument);
  w.bitnet_rows = 16;
  w.type = TensorType::f32;
  REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_argument);
  w.type = TensorType::u8;
  for (const float bad : {kNan, kInfinity}) {
    w.scale = bad;
    REQUIRE(refusal(w, PackFormat::ternary2).code == Errc::invalid_file);
  }
}

TEST_CASE("any number of threads packs the same bytes and reports an error", "[pack]") {
  golden::Random random(14);
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    std::vector<float> values = normal_values(200 * 512, 0.1, random);
    const PackedMatrix alone = packed(floats(values, 200), f.format);
    for (const std::size_t threads : {1u, 2u, 3u}) {
      auto pool = ThreadPool::create(threads);
      REQUIRE(pool.ok());
      const StoredMatrix w = floats(values, 200);
      const Result<PackedMatrix> shared = pack(w, f.format, (*pool)->executor());
      REQUIRE(shared.ok());
      REQUIRE(shared->bytes() == alone.bytes());
      REQUIRE(std::memcmp(shared->data(), alone.data(), alone.bytes()) == 0);
      const float kept = values[150 * 512];
      values[150 * 512] = kNan;
      const Result<PackedMatrix> refused = pack(floats(values, 200), f.format, (*pool)->executor());
      REQUIRE_FALSE(refused.ok());
      REQUIRE(refused.error().code == Errc::invalid_file);
      REQUIRE(contains(refused.error().message, "row 150"));
      values[150 * 512] = kept;
    }
  }
}
