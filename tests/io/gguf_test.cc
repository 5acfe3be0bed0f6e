// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/gguf.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <cstdlib>

#include "io/allocation_meter.h"
#include "io/gguf_bytes.h"
#include "io/test_files.h"
#include "support/cpu_timer.h"
#include "support/real_models.h"

using namespace tritium;

namespace {

float f32_at(std::span<const std::byte> data, std::size_t i) { return load_little_endian<float>(data.data() + 4 * i); }

void check_python_file(const GgufFile& file) {
  CHECK(value_of(file.get<std::string_view>("general.architecture")) == "llama");
  CHECK(value_of(file.get<std::uint8_t>("test.uint8")) == 200);
  CHECK(value_of(file.get<std::int8_t>("test.int8")) == -100);
  CHECK(value_of(file.get<std::uint16_t>("test.uint16")) == 60000);
  CHECK(value_of(file.get<std::int16_t>("test.int16")) == -30000);
  CHECK(value_of(file.get<std::uint32_t>("test.uint32")) == 4000000000u);
  CHECK(value_of(file.get<std::int32_t>("test.int32")) == -2000000000);
  CHECK(value_of(file.get<std::uint64_t>("test.uint64")) == (std::uint64_t{1} << 63) + 1);
  CHECK(value_of(file.get<std::int64_t>("test.int64")) == -(std::int64_t{1} << 62));
  CHECK(value_of(file.get<float>("test.float32")) == 0.5f);
  CHECK(value_of(file.get<double>("test.float64")) == 0.1);
  CHECK(value_of(file.get<bool>("test.bool")));
  CHECK_FALSE(value_of(file.get<bool>("test.false")));
  CHECK(value_of(file.get<std::string_view>("test.string")) ==
        "gr\xC3\xBC\xC3\x9F"
        "e \xF0\x9F\x98\x80");
  CHECK(value_of(file.get<std::string_view>("test.empty_string")).empty());
  CHECK(value_of(file.get_array<int>("test.ints")) == std::vector<int>{1, -2, 3});
  CHECK(value_of(file.get_array<double>("test.floats")) == std::vector<double>{0.5, -1.5});
  CHECK(value_of(file.get_array<bool>("test.bools")) == std::vector<bool>{true, false, true});
  CHECK(value_of(file.get_array<std::string_view>("test.strings")) ==
        std::vector<std::string_view>{"a", "", "ccc", "\xE4\xB8\x96\xE7\x95\x8C"});

  const GgufTensor* f32 = file.find_tensor("plain.f32");
  REQUIRE(f32 != nullptr);
  CHECK(f32->type == TensorType::f32);
  CHECK(f32->n_dims == 2);
  CHECK(f32->dims == std::array<std::uint64_t, 4>{4, 3, 1, 1});
  REQUIRE(f32->data.size() == 48);
  for (std::size_t i = 0; i < 12; ++i) CHECK(f32_at(f32->data, i) == -2.0f + 0.25f * static_cast<float>(i));
  const GgufTensor* i32 = file.find_tensor("plain.i32");
  REQUIRE(i32 != nullptr);
  CHECK(i32->dims == std::array<std::uint64_t, 4>{4, 3, 2, 1});
  for (std::size_t i = 0; i < 24; ++i) {
    CHECK(load_little_endian<std::int32_t>(i32->data.data() + 4 * i) == static_cast<std::int32_t>(i));
  }
  const GgufTensor* i8 = file.find_tensor("plain.i8");
  REQUIRE(i8 != nullptr);
  CHECK(i8->n_dims == 4);
  const std::pair<std::string_view, TensorType> quantised[] = {
      {"quant.bf16", TensorType::bf16},   {"quant.q4_0", TensorType::q4_0},  {"quant.q4_1", TensorType::q4_1},
      {"quant.q5_0", TensorType::q5_0},   {"quant.q5_1", TensorType::q5_1},  {"quant.q8_0", TensorType::q8_0},
      {"quant.tq1_0", TensorType::tq1_0}, {"quant.tq2_0", TensorType::tq2_0}};
  for (const auto& [name, type] : quantised) {
    const GgufTensor* tensor = file.find_tensor(name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->type == type);
    CHECK(tensor->dims[1] == 2);
    CHECK(tensor->data.size() == value_of(tensor_bytes(type, 2, tensor->dims[0])));
  }
  CHECK(file.tensors().size() == 12);
  CHECK(file.find_tensor("plain.f3") == nullptr);
  CHECK(file.find_tensor("") == nullptr);
}

/// Everything of `file` through the writer.
void copy(const GgufFile& file, const std::string& path, std::size_t piece) {
  GgufWriter writer;
  for (const GgufValue& value : file.values()) require_ok(writer.set(value));
  for (const GgufTensor& tensor : file.tensors()) {
    require_ok(writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.n_dims)));
  }
  require_ok(writer.begin(path));
  for (const GgufTensor& tensor : file.tensors()) {
    for (std::size_t at = 0; at < tensor.data.size(); at += piece) {
      require_ok(writer.append(tensor.name, tensor.data.subspan(at, std::min(piece, tensor.data.size() - at))));
    }
  }
  require_ok(writer.finish());
}

}  // namespace

TEST_CASE("files of the gguf package are read", "[gguf]") {
  const auto access = GENERATE(FileAccess::map, FileAccess::read);
  SECTION("version 3") {
    const GgufFile file = value_of(GgufFile::open(test_data("python.gguf"), access));
    CHECK(file.version() == 3);
    CHECK(file.alignment() == 32);
    CHECK(file.file_bytes() == std::filesystem::file_size(test_data("python.gguf")));
    check_python_file(file);
    require_ok(file.check_unchanged());
  }
  SECTION("version 2") {
    const GgufFile file = value_of(GgufFile::open(test_data("python-v2.gguf"), access));
    CHECK(file.version() == 2);
    check_python_file(file);
  }
  SECTION("another alignment") {
    const GgufFile file = value_of(GgufFile::open(test_data("python-align64.gguf"), access));
    CHECK(file.alignment() == 64);
    check_python_file(file);
    for (const GgufTensor& tensor : file.tensors()) CHECK(tensor.offset % 64 == 0);
  }
  SECTION("vocabulary only") {
    const GgufFile file = value_of(GgufFile::open(test_data("python-vocab.gguf"), access));
    CHECK(file.tensors().empty());
    const auto tokens = value_of(file.get_array<std::string_view>("tokenizer.ggml.tokens"));
    REQUIRE(tokens.size() == 64);
    CHECK(tokens[0] == "<s>");
    CHECK(tokens[63] == "t61");
    const auto scores = value_of(file.get_array<float>("tokenizer.ggml.scores"));
    REQUIRE(scores.size() == 64);
    CHECK(scores[63] == -63.0f);
  }
}

TEST_CASE("the writer makes the gguf package's bytes", "[gguf]") {
  const TemporaryFolder folder;
  const std::string_view name = GENERATE("python.gguf", "python-align64.gguf", "python-vocab.gguf");
  const std::size_t piece = GENERATE(std::size_t{1} << 20, std::size_t{7});
  std::string expected = file_contents(test_data(name));
  copy(value_of(GgufFile::open(test_data(name))), folder / "copy.gguf", piece);
  if (name == "python-vocab.gguf") expected.resize(round_up(expected.size(), 32), '\0');  // we pad without tensors too
  CHECK(file_contents(folder / "copy.gguf") == expected);
}

TEST_CASE("all parts of a split model open with the first", "[gguf]") {
  const GgufFile file = value_of(GgufFile::open(test_data("python-split-00001-of-00003.gguf")));
  CHECK(file.n_parts() == 3);
  REQUIRE(file.tensors().size() == 5);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    const GgufTensor* tensor = file.find_tensor("part." + std::to_string(i));
    REQUIRE(tensor != nullptr);
    CHECK(tensor->part == i / 2);
    REQUIRE(tensor->data.size() == 64);
    for (std::size_t j = 0; j < 16; ++j) {
      CHECK(f32_at(tensor->data, j) == static_cast<float>(i) + 0.25f * static_cast<float>(j));
    }
    bytes += 1;
  }
  CHECK(bytes == 5);
  CHECK(value_of(file.get<std::uint32_t>("llama.block_count")) == 1);
  std::size_t total = 0;
  for (const char* part : {"1", "2", "3"}) {
    total += std::filesystem::file_size(test_data("python-split-0000" + std::string(part) + "-of-00003.gguf"));
  }
  CHECK(file.file_bytes() == total);
  require_ok(file.check_unchanged());
}

TEST_CASE("parts that do not belong together are refused", "[gguf]") {
  const TemporaryFolder folder;
  const auto part_name = [](int i) { return "m-0000" + std::to_string(i) + "-of-00003.gguf"; };
  for (int i = 1; i <= 3; ++i) {
    std::filesystem::copy_file(test_data("python-split-0000" + std::to_string(i) + "-of-00003.gguf"),
                               folder / part_name(i));
  }
  const auto part = [](std::uint16_t no, std::uint16_t count, std::string_view tensor, std::int32_t total = 3) {
    GgufBytes file(1, 3);
    file.scalar("split.no", 2, no).scalar("split.count", 2, count).scalar("split.tensors.count", 5, total);
    file.tensor(tensor, {8}, 0, 0).pad(32).zeros(32);
    return std::string(file);
  };
  std::string opened = folder / part_name(1);
  std::string names;
  SECTION("a part is missing") {
    std::filesystem::remove(folder / part_name(3));
    names = "m-00003-of-00003.gguf: No such file";
  }
  SECTION("another part was opened") {
    opened = folder / part_name(2);
    names = "not the first part";
  }
  SECTION("renamed") {
    std::filesystem::rename(folder / part_name(1), folder / "renamed.gguf");
    opened = folder / "renamed.gguf";
    names = "a name ending in -00001-of-00003.gguf";
  }
  SECTION("the same part twice") {
    std::filesystem::remove(folder / part_name(3));
    std::filesystem::copy_file(folder / part_name(2), folder / part_name(3));
    names = "split.no\": expected 2, found u16 1";
  }
  SECTION("a part of another split") {
    write_file(folder / part_name(2), part(1, 4, "x"));
    names = "split.count\": expected 3, found u16 4";
  }
  SECTION("a part that knows nothing of the split") {
    write_file(folder / part_name(2), GgufBytes(0, 0).bytes());
    names = "split.no\": expected 1, found nothing";
  }
  SECTION("wrong total") {
    for (int i = 1; i <= 3; ++i)
      write_file(folder / part_name(i),
                 part(static_cast<std::uint16_t>(i - 1), 3, std::string(1, static_cast<char>('a' + i)), 4));
    names = "split.tensors.count\": expected 4, found 3";
  }
  SECTION("one tensor in two parts") {
    for (int i = 1; i <= 3; ++i)
      write_file(folder / part_name(i), part(static_cast<std::uint16_t>(i - 1), 3, i == 2 ? "b" : "a"));
    names = "duplicate tensor";
  }
  SECTION("too many parts") {
    write_file(folder / part_name(1), part(0, 513, "a"));
    names = "split.count\": expected at most 512, found 513";
  }
  SECTION("a count that is no number") {
    GgufBytes file(0, 1);
    file.text("split.count", "3");
    write_file(folder / part_name(1), file.bytes());
    names = "split.count\": expected non-negative integer, found string";
  }
  SECTION("a damaged part") {
    std::string bytes = file_contents(folder / part_name(3));
    bytes[0] = 'X';
    write_file(folder / part_name(3), bytes);
    names = "m-00003-of-00003.gguf, magic";
  }
  const std::string message = message_of(GgufFile::open(opened));
  INFO(message);
  CHECK(contains(message, names));
  CHECK(is_one_printable_line(message));
}

TEST_CASE("one part of a split model in memory is refused", "[gguf]") {
  const std::string bytes = file_contents(test_data("python-split-00001-of-00003.gguf"));
  CHECK(contains(message_of(GgufFile::view(as_bytes(bytes), "memory")), "split.count"));
}

TEST_CASE("metadata converts only where nothing is lost", "[gguf]") {
  GgufBytes bytes(0, 14);
  bytes.scalar("u32", 4, std::uint32_t{7}).scalar("i32", 5, std::int32_t{-7}).scalar("u64", 10, ~std::uint64_t{0});
  bytes.scalar("whole", 6, 4096.0f).scalar("half", 6, 0.5f).scalar("nan", 6, std::numeric_limits<float>::quiet_NaN());
  bytes.scalar("huge", 12, 1e300).scalar("one", 0, std::uint8_t{1}).scalar("yes", 7, std::uint8_t{1}).text("s", "x");
  bytes.array("list", 4, 3).u32(1).u32(2).u32(3);
  bytes.array("mixed", 5, 2).number(std::int32_t{5}).number(std::int32_t{-5});
  bytes.array("flags", 7, 3).u8(1).u8(0).u8(1);
  bytes.scalar("two63", 12, 9223372036854775808.0);
  const GgufFile file = value_of(GgufFile::view(as_bytes(bytes.bytes()), "m.gguf"));
  CHECK(value_of(file.get<std::uint64_t>("u32")) == 7);
  CHECK(value_of(file.get<std::int8_t>("u32")) == 7);
  CHECK(value_of(file.get<double>("u32")) == 7.0);
  CHECK(value_of(file.get<std::int64_t>("i32")) == -7);
  CHECK(value_of(file.get<std::uint32_t>("whole")) == 4096);
  CHECK(value_of(file.get<float>("i32")) == -7.0f);
  CHECK(value_of(file.get<bool>("one")));
  CHECK(value_of(file.get<std::uint64_t>("two63")) == std::uint64_t{1} << 63);
  CHECK(value_of(file.get<double>("huge")) == 1e300);
  CHECK(std::isnan(value_of(file.get<double>("nan"))));
  CHECK(value_of(file.get_or<std::uint32_t>("absent", 9)) == 9);
  CHECK(value_of(file.get_or<std::uint32_t>("u32", 9)) == 7);
  CHECK(value_of(file.get_array<std::uint64_t>("list")) == std::vector<std::uint64_t>{1, 2, 3});
  CHECK(value_of(file.get_array<float>("list")) == std::vector<float>{1, 2, 3});
  CHECK(value_of(file.get_array<bool>("flags")) == std::vector<bool>{true, false, true});
  CHECK(value_of(file.get_per_layer<std::uint32_t>("list", 3)) == std::vector<std::uint32_t>{1, 2, 3});
  CHECK(value_of(file.get_per_layer<std::uint32_t>("u32", 3)) == std::vector<std::uint32_t>{7, 7, 7});
  CHECK(value_of(file.get_per_layer<bool>("yes", 2)) == std::vector<bool>{true, true});

  const std::pair<std::string, std::string> refusals[] = {
      {message_of(file.get<std::uint32_t>("i32")), "key \"i32\": expected non-negative integer, found i32 -7"},
      {message_of(file.get<std::uint32_t>("u64")), "expected non-negative integer, found u64 18446744073709551615"},
      {message_of(file.get<std::int64_t>("u64")), "expected integer, found u64"},
      {message_of(file.get<std::uint8_t>("whole")), "found f32 4096"},
      {message_of(file.get<int>("half")), "expected integer, found f32 0.5"},
      {message_of(file.get<int>("nan")), "expected integer, found f32"},
      {message_of(file.get<std::int64_t>("two63")), "expected integer, found f64"},
      {message_of(file.get<float>("huge")), "expected number, found f64"},
      {message_of(file.get<int>("yes")), "expected integer, found bool"},
      {message_of(file.get<double>("yes")), "expected number, found bool"},
      {message_of(file.get<bool>("u32")), "expected bool, found u32 7"},
      {message_of(file.get<bool>("half")), "expected bool, found f32"},
      {message_of(file.get<bool>("i32")), "expected bool, found i32 -7"},
      {message_of(file.get<int>("s")), "expected integer, found string"},
      {message_of(file.get<std::string_view>("u32")), "expected string, found u32 7"},
      {message_of(file.get<int>("list")), "expected integer, found array of 3 u32"},
      {message_of(file.get<int>("absent")), "metadata key is missing (m.gguf, key \"absent\""},
      {message_of(file.get_or<int>("s", 1)), "expected integer, found string"},
      {message_of(file.get_array<int>("u32")), "expected array of integer, found u32 7"},
      {message_of(file.get_array<std::uint32_t>("mixed")), "element 1: expected non-negative integer, found i32 -5"},
      {message_of(file.get_array<std::string_view>("list")), "element 0: expected string, found u32 1"},
      {message_of(file.get_array<int>("absent")), "is missing"},
      {message_of(file.get_per_layer<int>("list", 4)), "expected 4, one for each layer, found 3"},
      {message_of(file.get_per_layer<int>("s", 4)), "expected integer, found string"},
      {message_of(file.get_per_layer<int>("absent", 4)), "is missing"},
  };
  for (const auto& [message, names] : refusals) {
    INFO(message);
    CHECK(contains(message, names));
    CHECK(contains(message, "m.gguf"));
  }
}

TEST_CASE("the sample file is read as it was written", "[gguf]") {
  std::size_t header = 0;
  const GgufBytes bytes = sample_gguf(&header);
  CHECK(header > 4000);
  const GgufFile file = value_of(GgufFile::view(as_bytes(bytes.bytes()), "sample"));
  CHECK(file.values().size() == 21);
  CHECK(value_of(file.get_array<std::string_view>("tokenizer.ggml.tokens"))[99] == "token99");
  CHECK(value_of(file.get_array<float>("test.none")).empty());
  const GgufTensor* tensor = file.find_tensor("d.q6_k");
  REQUIRE(tensor != nullptr);
  CHECK(tensor->dims == std::array<std::uint64_t, 4>{256, 8, 1, 1});
  REQUIRE(tensor->data.size() == 1680);
  for (std::size_t i = 0; i < 1680; ++i) {
    if (std::to_integer<std::uint8_t>(tensor->data[i]) != static_cast<std::uint8_t>((384 + i) * 13)) FAIL(i);
  }
}

TEST_CASE("tensor data may lie in any order and have holes", "[gguf]") {
  GgufBytes bytes(3);
  bytes.tensor("last", {8}, 0, 192).tensor("first", {8}, 0, 0).tensor("middle", {8}, 0, 96).pad(32).zeros(224);
  const GgufFile file = value_of(GgufFile::view(as_bytes(bytes.bytes()), "m"));
  const std::byte* start = file.find_tensor("first")->data.data();
  CHECK(file.find_tensor("middle")->data.data() == start + 96);
  CHECK(file.find_tensor("last")->data.data() == start + 192);
  CHECK(file.tensors()[0].name == "last");
}

TEST_CASE("id 36 is I2_S only where bitnet.cpp wrote it", "[gguf]") {
  const auto make = [](std::string_view architecture, int file_type, std::uint32_t id, std::size_t data_bytes) {
    GgufBytes bytes(1, 1 + (file_type >= 0 ? 1 : 0));
    bytes.text("general.architecture", architecture);
    if (file_type >= 0) bytes.scalar("general.file_type", 4, static_cast<std::uint32_t>(file_type));
    bytes.tensor("blk.0.ffn_up.weight", {256, 16}, id, 0).pad(32).zeros(data_bytes);
    return std::string(bytes);
  };
  const std::size_t exact = 256 * 16 / 4 + 32;
  for (const auto& [architecture, file_type] : {std::pair<std::string_view, int>{"bitnet-b1.58", -1},
                                                {"bitnet-25", -1},
                                                {"bitnet", 40},
                                                {"bitnet", 1},
                                                {"llama", 40}}) {
    const std::string bytes = make(architecture, file_type, 36, exact);
    const GgufFile file = value_of(GgufFile::view(as_bytes(bytes), "m"));
    CHECK(file.tensors()[0].type == TensorType::i2_s);
    CHECK(file.tensors()[0].data.size() == exact);
  }
  const auto refusal = [&](const std::string& bytes) { return message_of(GgufFile::view(as_bytes(bytes), "m")); };
  CHECK(contains(refusal(make("llama", -1, 36, exact)), "found 36 (iq4_nl_4_4, removed from the format)"));
  CHECK(contains(refusal(make("llama", 39, 36, exact)), "found 36 (iq4_nl_4_4, removed from the format)"));
  CHECK(contains(refusal(make("bitnet", -1, 36, 256 * 16 / 32 * 18)), "not an i2_s tensor"));  // the size of iq4_nl_4_4
  CHECK(contains(refusal(make("bitnet", -1, 36, exact - 1)), "past the end of the file"));
  CHECK(contains(refusal(make("bitnet", -1, 37, 8192)), "37 (i8_s of bitnet.cpp)"));
  CHECK(contains(refusal(make("bitnet", -1, 38, 8192)), "38 (tl1 of bitnet.cpp)"));
  CHECK(contains(refusal(make("bitnet-b1.58", -1, 39, 8192)), "39 (tl2 of bitnet.cpp)"));
  const std::string mxfp4 = make("gpt-oss", 38, 39, 256 * 16 / 32 * 17);
  CHECK(value_of(GgufFile::view(as_bytes(mxfp4), "m")).tensors()[0].type == TensorType::mxfp4);
}

TEST_CASE("the second part of a split BitNet model keeps its types", "[gguf]") {
  const TemporaryFolder folder;
  for (std::uint16_t i = 0; i < 2; ++i) {
    GgufBytes bytes(1, i == 0 ? 3 : 2);
    if (i == 0) bytes.text("general.architecture", "bitnet-b1.58");
    bytes.scalar("split.no", 2, i).scalar("split.count", 2, std::uint16_t{2});
    bytes.tensor("t" + std::to_string(i), {128}, 36, 0).pad(32).zeros(64);
    write_file(folder / ("m-0000" + std::to_string(i + 1) + "-of-00002.gguf"), bytes.bytes());
  }
  const GgufFile file = value_of(GgufFile::open(folder / "m-00001-of-00002.gguf"));
  CHECK(file.find_tensor("t1")->type == TensorType::i2_s);
}

TEST_CASE("what is written comes back", "[gguf]") {
  const TemporaryFolder folder;
  GgufWriter writer;
  const std::vector<std::string_view> tokens = {"a", "", "\xE4\xB8\x96"};
  const std::vector<std::string> merges = {"a b", "c d"};
  const std::vector<float> scores = {0.5f, -1.0f};
  const bool flags[] = {true, false};
  require_ok(writer.set("general.architecture", "llama"));
  require_ok(writer.set("general.alignment", std::uint32_t{128}));
  require_ok(writer.set("u8", std::uint8_t{255}));
  require_ok(writer.set("i8", std::int8_t{-128}));
  require_ok(writer.set("u16", std::uint16_t{65535}));
  require_ok(writer.set("i16", std::int16_t{-32768}));
  require_ok(writer.set("u32", std::uint32_t{4294967295}));
  require_ok(writer.set("i32", std::int32_t{-5}));
  require_ok(writer.set("u64", ~std::uint64_t{0}));
  require_ok(writer.set("i64", std::int64_t{-6}));
  require_ok(writer.set("f32", 1.5f));
  require_ok(writer.set("f64", 0.1));
  require_ok(writer.set("bool", true));
  require_ok(writer.set_array<std::string_view>("tokens", tokens));
  require_ok(writer.set_array<std::string>("merges", merges));
  require_ok(writer.set_array<float>("scores", scores));
  require_ok(writer.set_array<bool>("flags", flags));
  require_ok(writer.set_array<std::int32_t>("none", {}));
  std::vector<std::string> contents;
  for (const TensorTypeInfo& type : kTensorTypes) {
    if (type.gguf_id < 0 || type.type == TensorType::i2_s) continue;
    const std::uint64_t dims[] = {type.block_length * 3, 5, 2};
    require_ok(writer.add_tensor("t." + std::string(type.name), type.type, dims));
    std::string content(type.block_bytes * 30, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + contents.size());
    contents.push_back(content);
  }
  require_ok(writer.begin(folder / "out.gguf"));
  std::size_t next = 0;
  for (const TensorTypeInfo& type : kTensorTypes) {
    if (type.gguf_id < 0 || type.type == TensorType::i2_s) continue;
    require_ok(writer.append("t." + std::string(type.name), as_bytes(contents[next++])));
  }
  require_ok(writer.finish());

  const GgufFile file = value_of(GgufFile::open(folder / "out.gguf"));
  CHECK(file.version() == 3);
  CHECK(file.alignment() == 128);
  const std::pair<std::string_view, GgufType> types[] = {
      {"u8", GgufType::u8},   {"i8", GgufType::i8},   {"u16", GgufType::u16},     {"i16", GgufType::i16},
      {"u32", GgufType::u32}, {"i32", GgufType::i32}, {"u64", GgufType::u64},     {"i64", GgufType::i64},
      {"f32", GgufType::f32}, {"f64", GgufType::f64}, {"bool", GgufType::boolean}};
  for (const auto& [key, type] : types) {
    REQUIRE(file.find(key) != nullptr);
    CHECK(file.find(key)->type == type);
  }
  CHECK(value_of(file.get<std::int64_t>("i8")) == -128);
  CHECK(value_of(file.get<std::uint64_t>("u64")) == ~std::uint64_t{0});
  CHECK(value_of(file.get<double>("f64")) == 0.1);
  CHECK(value_of(file.get_array<std::string_view>("tokens")) == tokens);
  CHECK(value_of(file.get_array<std::string_view>("merges")) == std::vector<std::string_view>{"a b", "c d"});
  CHECK(value_of(file.get_array<float>("scores")) == scores);
  CHECK(value_of(file.get_array<bool>("flags")) == std::vector<bool>{true, false});
  CHECK(value_of(file.get_array<int>("none")).empty());
  next = 0;
  for (const TensorTypeInfo& type : kTensorTypes) {
    if (type.gguf_id < 0 || type.type == TensorType::i2_s) continue;
    const GgufTensor* tensor = file.find_tensor("t." + std::string(type.name));
    REQUIRE(tensor != nullptr);
    CHECK(tensor->type == type.type);
    CHECK(tensor->offset % 128 == 0);
    REQUIRE(tensor->data.size() == contents[next].size());
    CHECK(std::memcmp(tensor->data.data(), contents[next].data(), contents[next].size()) == 0);
    ++next;
  }
}

TEST_CASE("i2_s is written where it can be told apart", "[gguf]") {
  const TemporaryFolder folder;
  const std::uint64_t dims[] = {128, 4};
  const std::string content(128 * 4 / 4 + 32, '\x55');
  for (const bool by_file_type : {false, true}) {
    GgufWriter writer;
    if (by_file_type) {
      require_ok(writer.set("general.file_type", std::uint32_t{40}));
    } else {
      require_ok(writer.set("general.architecture", "bitnet-b1.58"));
    }
    require_ok(writer.add_tensor("w", TensorType::i2_s, dims));
    require_ok(writer.begin(folder / "m.gguf"));
    require_ok(writer.append("w", as_bytes(content)));
    require_ok(writer.finish());
    const GgufFile file = value_of(GgufFile::open(folder / "m.gguf"));
    CHECK(file.tensors()[0].type == TensorType::i2_s);
    copy(file, folder / "copy.gguf", 100);
    CHECK(file_contents(folder / "copy.gguf") == file_contents(folder / "m.gguf"));
  }
  GgufWriter writer;
  require_ok(writer.set("general.architecture", "llama"));
  require_ok(writer.add_tensor("w", TensorType::i2_s, dims));
  CHECK(contains(message_of(writer.begin(folder / "no.gguf")), "i2_s"));
  CHECK_FALSE(std::filesystem::exists(folder / "no.gguf"));
}

TEST_CASE("the writer refuses what the reader would refuse", "[gguf]") {
  const TemporaryFolder folder;
  GgufWriter writer;
  require_ok(writer.set("a", std::uint32_t{1}));
  CHECK(contains(message_of(writer.set("a", std::uint32_t{2})), "duplicate key"));
  CHECK(contains(message_of(writer.set("", std::uint32_t{2})), "bad key"));
  CHECK(contains(message_of(writer.set("with space", 1.0f)), "bad key"));
  CHECK(contains(message_of(writer.set(std::string(65536, 'k'), 1.0f)), "bad key"));
  CHECK(contains(message_of(writer.set("general.alignment", std::uint32_t{48})), "bad alignment"));
  CHECK(contains(message_of(writer.set("general.alignment", std::uint64_t{64})), "bad alignment"));
  CHECK(contains(message_of(writer.set("general.alignment", "64")), "bad alignment"));
  require_ok(writer.set("general.alignment", std::uint32_t{8}));  // a refused key is still free
  CHECK(contains(message_of(writer.set("s", std::string(kGgufMaxStringBytes + 1, 'x'))), "16 MiB"));
  const std::uint64_t good[] = {32, 2};
  const std::uint64_t zero[] = {32, 0};
  const std::uint64_t huge[] = {std::uint64_t{1} << 40, std::uint64_t{1} << 7};
  const std::uint64_t five[] = {1, 1, 1, 1, 1};
  const std::uint64_t odd[] = {31};
  require_ok(writer.add_tensor("t", TensorType::q4_0, good));
  CHECK(contains(message_of(writer.add_tensor("t", TensorType::f32, good)), "duplicate tensor"));
  CHECK(contains(message_of(writer.add_tensor("", TensorType::f32, good)), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor(std::string(65, 'n'), TensorType::f32, good)), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor("\xFF", TensorType::f32, good)), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor("z", TensorType::f32, zero)), "bad dimension"));
  CHECK(contains(message_of(writer.add_tensor("h", TensorType::f32, huge)), "bad dimension"));
  CHECK(contains(message_of(writer.add_tensor("f", TensorType::f32, five)), "bad number of dimensions"));
  CHECK(contains(message_of(writer.add_tensor("n", TensorType::f32, {})), "bad number of dimensions"));
  CHECK(contains(message_of(writer.add_tensor("o", TensorType::q4_0, odd)), "whole number of blocks"));
  CHECK(contains(message_of(writer.add_tensor("u", TensorType::u8, good)), "no such tensor type"));
  const std::string data(36, 'd');
  CHECK(contains(message_of(writer.append("t", as_bytes(data))), "begin() first"));
  CHECK(contains(message_of(writer.finish()), "missing"));
  require_ok(writer.begin(folder / "out.gguf"));
  CHECK(contains(message_of(writer.begin(folder / "out.gguf")), "already written"));
  CHECK(contains(message_of(writer.set("late", 1.0f)), "already written"));
  CHECK(contains(message_of(writer.add_tensor("late", TensorType::f32, good)), "already written"));
  CHECK(contains(message_of(writer.append("other", as_bytes(data))), "out of order"));
  CHECK(contains(message_of(writer.append("t", as_bytes(data + "x"))), "at most 36 more bytes"));
  require_ok(writer.append("t", as_bytes(data).first(30)));
  CHECK(contains(message_of(writer.finish()), "missing"));
  CHECK_FALSE(std::filesystem::exists(folder / "out.gguf"));
  require_ok(writer.append("t", as_bytes(data).last(6)));
  CHECK(contains(message_of(writer.append("t", as_bytes(data))), "out of order"));
  require_ok(writer.finish());
  const GgufFile file = value_of(GgufFile::open(folder / "out.gguf"));
  CHECK(file.values().size() == 2);
  CHECK(file.alignment() == 8);
  CHECK(file.tensors().size() == 1);
}

TEST_CASE("an abandoned writer leaves the old model", "[gguf]") {
  const TemporaryFolder folder;
  std::filesystem::copy_file(test_data("python.gguf"), folder / "m.gguf");
  const std::string before = file_contents(folder / "m.gguf");
  {
    GgufWriter writer;
    const std::uint64_t dims[] = {1 << 20};
    require_ok(writer.add_tensor("w", TensorType::f32, dims));
    require_ok(writer.begin(folder / "m.gguf"));
    require_ok(writer.append("w", as_bytes(std::string(3 << 20, 'x'))));
  }
  CHECK(file_contents(folder / "m.gguf") == before);
  CHECK(folder.entries() == std::vector<std::string>{"m.gguf"});
}

TEST_CASE("a file that changes after opening is noticed", "[gguf]") {
  const TemporaryFolder folder;
  std::filesystem::copy_file(test_data("python.gguf"), folder / "m.gguf");
  const GgufFile file = value_of(GgufFile::open(folder / "m.gguf"));
  require_ok(file.check_unchanged());
  std::filesystem::resize_file(folder / "m.gguf", 100);
  CHECK(contains(message_of(file.check_unchanged()), "file changed while in use"));
}

TEST_CASE("the published models open, fast and small", "[gguf]") {
  const std::pair<const char*, std::size_t> expected[] = {{"gemma3-270m", 262144}, {"smollm2-135m", 49152}};
  for (const auto& [name, n_tokens] : expected) {
    const std::string path = tritium_test::real_model(name);
    if (path.empty()) continue;
    (void)value_of(GgufFile::open(path));  // brings the header into the page cache
    const AllocationMeter meter;
    const tritium_test::CpuTimer timer;
    const GgufFile file = value_of(GgufFile::open(path));
    const double ms = 1e3 * timer.seconds();
    INFO(name << ": " << ms << " ms, " << meter.peak_bytes() << " bytes");
    CHECK(ms < 100);
    CHECK(meter.peak_bytes() < (1 << 18));
    const auto tokens = value_of(file.get_array<std::string_view>("tokenizer.ggml.tokens"));
    CHECK(tokens.size() == n_tokens);
    CHECK(value_of(file.get_array<std::int32_t>("tokenizer.ggml.token_type")).size() == n_tokens);
    const GgufTensor* embedding = file.find_tensor("token_embd.weight");
    REQUIRE(embedding != nullptr);
    CHECK(embedding->dims[1] == n_tokens);
    std::size_t last = 0;
    for (const GgufTensor& tensor : file.tensors()) {
      last = std::max(
          last, static_cast<std::size_t>(tensor.data.data() + tensor.data.size() - file.tensors()[0].data.data()));
    }
    CHECK(last > file.file_bytes() / 2);
  }
}
