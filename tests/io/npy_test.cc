// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/npy.h"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include "io/test_files.h"

using namespace tritium;

TEST_CASE("arrays that NumPy wrote are read", "[npy]") {
  const auto f4 = value_of(read_npy<float>(test_data("python-f4.npy")));
  CHECK(f4.shape == std::vector<std::size_t>{3, 5});
  REQUIRE(f4.values.size() == 15);
  const auto f8 = value_of(read_npy<double>(test_data("python-f8.npy")));
  CHECK(f8.shape == std::vector<std::size_t>{2, 3, 4});
  REQUIRE(f8.values.size() == 24);
  for (std::size_t i = 0; i < 15; ++i) CHECK(f4.values[i] == -2.0f + 0.25f * static_cast<float>(i));
  for (std::size_t i = 0; i < 24; ++i) CHECK(f8.values[i] == -2.0 + 0.25 * static_cast<double>(i));
  const auto i8 = value_of(read_npy<std::int64_t>(test_data("python-i8.npy")));
  CHECK(i8.shape == std::vector<std::size_t>{8});
  CHECK(i8.values == std::vector<std::int64_t>{-4, -3, -2, -1, 0, 1, 2, 3});
}

TEST_CASE("what we write is what NumPy writes, byte for byte", "[npy]") {
  const TemporaryFolder folder;
  const auto f4 = value_of(read_npy<float>(test_data("python-f4.npy")));
  auto writer = value_of(NpyWriter<float>::create(folder / "out.npy", 3, 5));
  for (std::size_t row = 0; row < 3; ++row) require_ok(writer.append(std::span(f4.values).subspan(row * 5, 5)));
  require_ok(writer.finish());
  CHECK(file_contents(folder / "out.npy") == file_contents(test_data("python-f4.npy")));
}

TEMPLATE_TEST_CASE("matrices survive the way through a file", "[npy]", float, double, std::int64_t) {
  const TemporaryFolder folder;
  for (const auto& [rows, cols] : {std::pair<std::size_t, std::size_t>{1, 1}, {7, 1}, {0, 5}, {3, 0}, {5, 100'003}}) {
    std::vector<TestType> values(rows * cols);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<TestType>(i % 1000) - TestType{500};
    auto writer = value_of(NpyWriter<TestType>::create(folder / "m.npy", rows, cols));
    for (std::size_t at = 0; at < values.size(); at += 977) {
      require_ok(writer.append(std::span(values).subspan(at, std::min<std::size_t>(977, values.size() - at))));
    }
    require_ok(writer.finish());
    const auto back = value_of(read_npy<TestType>(folder / "m.npy"));
    CHECK(back.shape == std::vector<std::size_t>{rows, cols});
    CHECK(back.values == values);
  }
}

TEST_CASE("a matrix is written whole or not at all", "[npy]") {
  const TemporaryFolder folder;
  const std::vector<float> row(4);
  auto writer = value_of(NpyWriter<float>::create(folder / "m.npy", 2, 4));
  require_ok(writer.append(row));
  CHECK(contains(message_of(writer.finish()), "expected 8, found 4"));
  CHECK_FALSE(std::filesystem::exists(folder / "m.npy"));
  require_ok(writer.append(row));
  CHECK(contains(message_of(writer.append(row)), "at most 0"));
  require_ok(writer.finish());
  CHECK(NpyWriter<float>::create(folder / "m.npy", std::size_t{1} << 33, std::size_t{1} << 33).error().code ==
        Errc::out_of_range);
  CHECK_FALSE(NpyWriter<float>::create("", 1, 1).ok());
}

TEST_CASE("an array is looked at in place", "[npy]") {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  auto writer = value_of(NpyWriter<float>::create(folder / "m.npy", 2, 3));
  REQUIRE(writer.append(values).ok());
  REQUIRE(writer.finish().ok());
  auto opened = value_of(NpyFile<float>::open(folder / "m.npy"));
  const NpyFile<float> file = std::move(opened);  // moving keeps the view
  CHECK(file.shape() == std::vector<std::size_t>{2, 3});
  CHECK(std::vector<float>(file.values().begin(), file.values().end()) == values);
  CHECK(file.check_unchanged().ok());
  write_file(folder / "m.npy", "something else");
  CHECK_FALSE(file.check_unchanged().ok());
}

TEST_CASE("damaged .npy files are refused", "[npy]") {
  const TemporaryFolder folder;
  const std::string good = file_contents(test_data("python-f4.npy"));
  const auto refuses = [&](std::string bytes, std::string_view names) {
    write_file(folder / "bad.npy", bytes);
    const std::string message = message_of(read_npy<float>(folder / "bad.npy"));
    INFO(message);
    CHECK(contains(message, names));
    CHECK(is_one_printable_line(message));
  };
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = good;
    const std::size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    return changed.replace(at, from.size(), to);
  };
  for (std::size_t length = 0; length < good.size(); ++length) {
    write_file(folder / "cut.npy", good.substr(0, length));
    REQUIRE_FALSE(read_npy<float>(folder / "cut.npy").ok());
  }
  refuses("NUMPY" + good, "magic");
  refuses(with("\x01", "\x03"), "version");
  refuses(with("<f4", ">f4"), "row-major <f4");
  refuses(with("<f4", "<f8"), "row-major <f4");
  refuses(with("False", "True "), "row-major <f4");
  refuses(with("(3, 5)", "(3, 6)"), "72 bytes, found 60");
  refuses(with("(3, 5)", "(3, 4)"), "48 bytes, found 60");
  refuses(with("(3, 5)", "(3 5 )"), "a shape");
  refuses(with("(3, 5)", "(-3,5)"), "a shape");
  refuses(with("(3, 5), }" + std::string(20, ' '), "(9999999999999, 9999999999), "), "a shape");
  refuses(with("(3, 5), }" + std::string(19, ' '), "(9999999999999,9999999999),}"), "64 bits");
  refuses(good + "x", "60 bytes, found 61");
  CHECK_FALSE(read_npy<double>(test_data("python-f4.npy")).ok());
}

TEST_CASE("version 2.0 has a longer length", "[npy]") {
  const TemporaryFolder folder;
  std::string bytes = file_contents(test_data("python-f4.npy"));
  bytes[6] = 2;
  bytes.insert(10, std::string(2, '\0'));
  write_file(folder / "v2.npy", bytes);
  CHECK(value_of(read_npy<float>(folder / "v2.npy")).values ==
        value_of(read_npy<float>(test_data("python-f4.npy"))).values);
  write_file(folder / "cut.npy", std::string_view(bytes).substr(0, 11));
  CHECK(contains(message_of(read_npy<float>(folder / "cut.npy")), "header length at byte 8"));
  bytes[11] = 127;
  write_file(folder / "long.npy", bytes);
  CHECK(contains(message_of(read_npy<float>(folder / "long.npy")), "file ends too early"));
}
