// SPDX-License-Identifier: Apache-2.0
#include "tritium/format/pack_quantized.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <string>
#include <vector>

#include "support/golden_blocks.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

struct Integers {
  int lowest, highest;
};

/// What pack() documents, told by the name of the format: ternary..., int<bits>...[m].
Integers documented(std::string_view name) {
  if (name.starts_with("ternary")) return {-1, 1};
  REQUIRE(name.starts_with("int"));
  const int codes = 1 << (name[3] - '0');
  return name.ends_with("m") ? Integers{0, codes - 1} : Integers{-codes / 2, codes / 2 - 1};
}

/// Arrays that an engine might have; every integer of the range occurs.
struct Arrays {
  std::vector<std::int8_t> values;
  std::vector<float> scales, mins;
  QuantizedMatrix matrix;
  std::size_t groups = 0;

  Arrays(const PackFormatInfo& f, std::size_t rows, std::size_t cols, golden::Random& random) {
    groups = f.group == 0 ? 1 : div_up(cols, f.group);
    const Integers range = documented(f.name);
    for (std::size_t i = 0; i < rows * cols; ++i)
      values.push_back(static_cast<std::int8_t>(
          range.lowest + static_cast<int>(random.below(static_cast<std::size_t>(range.highest - range.lowest + 1)))));
    values[0] = static_cast<std::int8_t>(range.lowest);
    values[1] = static_cast<std::int8_t>(range.highest);
    for (std::size_t i = 0; i < rows * groups; ++i) {
      scales.push_back(static_cast<float>(random.normal()) * 0.01f);
      if (f.scales == ScaleKind::kGroupMin) mins.push_back(static_cast<float>(random.normal()));
    }
    matrix = {values.data(), scales.data(), mins.empty() ? nullptr : mins.data(), rows, cols};
  }
};

bool takes_integers(const PackFormatInfo& f) { return f.name.starts_with("ternary") || f.name.starts_with("int"); }

Error refusal(const QuantizedMatrix& w, PackFormat format) {
  const Result<PackedMatrix> made = pack(w, format);
  REQUIRE_FALSE(made.ok());
  return made.error();
}

}  // namespace

TEST_CASE("integers and scales come back from panels as they went in", "[pack]") {
  golden::Random random(7);
  auto pool = ThreadPool::create(3);
  REQUIRE(pool.ok());
  std::size_t seen = 0;
  for (const PackFormatInfo& f : kPackFormats) {
    if (!takes_integers(f)) continue;
    ++seen;
    for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>(1, 2), {16, 256}, {37, 1000}}) {
      CAPTURE(f.name, rows, cols);
      const Arrays a(f, rows, cols, random);
      const auto w = pack(a.matrix, f.format);
      REQUIRE(w.ok());
      REQUIRE(w->n() == rows);
      REQUIRE(w->k() == cols);
      std::vector<float> row(cols);
      std::size_t wrong = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        w->decode_row(r, row.data());
        for (std::size_t i = 0; i < cols; ++i) {
          const std::size_t g = r * a.groups + (f.group == 0 ? 0 : i / f.group);
          const auto value = static_cast<float>(a.values[r * cols + i]);
          float expected = a.scales[g] * value;
          if (f.group != 0) expected = to_float(to_f16(a.scales[g])) * value;
          if (!a.mins.empty()) expected += to_float(to_f16(a.mins[g]));
          if (row[i] != expected) ++wrong;
        }
      }
      CHECK(wrong == 0);
      const auto shared = pack(a.matrix, f.format, (*pool)->executor());
      REQUIRE(shared.ok());
      CHECK(std::memcmp(shared->data(), w->data(), w->bytes()) == 0);
    }
  }
  CHECK(seen >= 18);
}

TEST_CASE("integers packed by both ways give the same bytes", "[pack]") {
  // Values that plain rounding finds again: every group has the integer that decides its scale.
  golden::Random random(8);
  const std::size_t rows = 20, cols = 384;
  for (const PackFormat format : {PackFormat::ternary2, PackFormat::ternary5, PackFormat::ternary2_g64,
                                  PackFormat::int4_g32, PackFormat::int4, PackFormat::int8}) {
    const PackFormatInfo& f = info(format);
    CAPTURE(f.name);
    Arrays a(f, rows, cols, random);
    std::vector<float> floats(rows * cols);
    for (float& s : a.scales) s = 0.015625f;  // exact in f16, and products with it in f32
    for (std::size_t i = 0; i < rows * cols; ++i) {
      std::int8_t& value = a.values[i];
      if (format == PackFormat::int8 && value == -128) value = -127;
      if (i % 32 == 0) value = static_cast<std::int8_t>(format == PackFormat::int8 ? 127 : documented(f.name).lowest);
      floats[i] = a.scales[0] * static_cast<float>(value);
    }
    const auto codes = pack(a.matrix, format);
    const auto rounded = pack({TensorType::f32, reinterpret_cast<const std::byte*>(floats.data()), rows, cols}, format);
    REQUIRE(codes.ok());
    REQUIRE(rounded.ok());
    CHECK(std::memcmp(codes->data(), rounded->data(), codes->bytes()) == 0);
  }
}

TEST_CASE("arrays that a format cannot hold are refused with their place", "[pack]") {
  golden::Random random(9);
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    if (!takes_integers(f)) {
      const std::int8_t value = 0;
      const float scale = 1;
      CHECK(refusal({&value, &scale, nullptr, 1, 1}, f.format).code == Errc::unsupported);
      continue;
    }
    Arrays a(f, 18, 96, random);
    const Integers range = documented(f.name);
    for (const int bad : {range.lowest - 1, range.highest + 1}) {
      if (bad < -128 || bad > 127) continue;
      const std::int8_t kept = std::exchange(a.values[17 * 96 + 95], static_cast<std::int8_t>(bad));
      const Error error = refusal(a.matrix, f.format);
      CHECK(error.code == Errc::out_of_range);
      CHECK(error.message.find("row 17 element 95") != std::string::npos);
      CHECK(error.message.find("found " + std::to_string(bad)) != std::string::npos);
      a.values[17 * 96 + 95] = kept;
    }
    for (std::vector<float>* array : {&a.scales, &a.mins}) {
      if (array->empty()) continue;
      const float kept = std::exchange(array->back(), std::numeric_limits<float>::quiet_NaN());
      CHECK(refusal(a.matrix, f.format).code == Errc::invalid_argument);
      for (const float bad : {70000.0f, 1e-9f}) {
        array->back() = bad;
        if (f.group != 0) {
          CHECK(refusal(a.matrix, f.format).code == Errc::out_of_range);
        } else {
          CHECK(pack(a.matrix, f.format).ok());
        }
      }
      array->back() = kept;
    }
    CHECK(pack(a.matrix, f.format).ok());
    QuantizedMatrix w = a.matrix;
    w.mins = w.mins == nullptr ? w.scales : nullptr;
    CHECK(refusal(w, f.format).code == Errc::invalid_argument);
    w = a.matrix;
    w.scales = nullptr;
    CHECK(refusal(w, f.format).code == Errc::invalid_argument);
    w = a.matrix;
    w.rows = 0;
    CHECK(refusal(w, f.format).code == Errc::out_of_range);
  }
}
