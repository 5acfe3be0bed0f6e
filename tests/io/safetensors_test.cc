// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/safetensors.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "io/allocation_meter.h"
#include "io/test_files.h"
#include "tritium/core/float16.h"

using namespace tritium;

namespace {

std::string stored(std::string_view header, std::size_t data_bytes, std::string_view padding = "") {
  const std::uint64_t length = header.size() + padding.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes.append(header).append(padding);
  for (std::size_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i * 7);
  return bytes;
}

constexpr std::string_view kGood =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b.\"q\" \u00e9\ud83d\ude00":{"dtype":"U8","shape":[3],"data_offsets":[24,27]},)"
    R"( "c" : { "shape" : [ ] , "data_offsets" : [ 27 , 29 ] , "dtype" : "BF16" },)"
    R"("empty":{"dtype":"F64","shape":[4,0,2],"data_offsets":[29,29]},"h":{"dtype":"I64","shape":[1,1],"data_offsets":[29,37]}})";
constexpr std::size_t kGoodData = 37;

/// The bytes in a heap block of exactly their size, where a sanitizer sees any read past them.
class ExactCopy {
 public:
  explicit ExactCopy(std::string_view bytes)
      : size_(bytes.size()), data_(static_cast<std::byte*>(std::malloc(bytes.empty() ? 1 : bytes.size()))) {
    if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
  }
  [[nodiscard]] std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

std::string find_inconsistency(const SafetensorsFile& file, std::span<const std::byte> bytes) {
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  std::vector<std::pair<std::size_t, std::size_t>> extents;
  std::set<std::string_view> names;
  for (const SafetensorsTensor& tensor : file.tensors()) {
    if (tensor.name.empty() || !is_utf8(tensor.name) || !names.insert(tensor.name).second) return "name";
    if (file.find(tensor.name) != &tensor) return "not found";
    std::size_t size = info(tensor.dtype).bytes;
    for (const std::uint64_t dim : tensor.dims()) {
      if (__builtin_mul_overflow(size, dim, &size)) return "overflow";
    }
    if (size != tensor.data.size()) return "size";
    const auto begin = static_cast<std::size_t>(tensor.data.data() - (bytes.data() + 8 + header));
    extents.emplace_back(begin, begin + size);
  }
  std::sort(extents.begin(), extents.end());
  std::size_t end = 0;
  for (const auto& [first, last] : extents) {
    if (first != end) return "tiling";
    end = last;
  }
  if (8 + header + end != bytes.size()) return "end";
  for (const auto& [key, value] : file.metadata()) {
    if (!is_utf8(key) || !is_utf8(value)) return "metadata";
  }
  return {};
}

struct Tally {
  std::size_t refused = 0;
  std::size_t accepted = 0;
  std::size_t most_memory = 0;
};

bool try_open(std::string_view bytes, Tally& tally, std::string_view what) {
  const ExactCopy copy(bytes);
  const AllocationMeter meter;
  const auto file = SafetensorsFile::view(copy.span(), "bad.safetensors");
  tally.most_memory = std::max(tally.most_memory, meter.peak_bytes());
  if (file.ok()) {
    if (const std::string wrong = find_inconsistency(*file, copy.span()); !wrong.empty()) FAIL(what << ": " << wrong);
  } else if (!is_one_printable_line(file.error().message) || !contains(file.error().message, "bad.safetensors") ||
             file.error().message.size() > 600) {
    FAIL(what << ": " << file.error().message);
  }
  ++(file.ok() ? tally.accepted : tally.refused);
  return file.ok();
}

float value_at(const SafetensorsTensor& tensor, std::size_t i) {
  const std::byte* p = tensor.data.data() + i * info(tensor.dtype).bytes;
  switch (tensor.dtype) {
    case SafetensorsDtype::f64: return static_cast<float>(load_little_endian<double>(p));
    case SafetensorsDtype::f32: return load_little_endian<float>(p);
    case SafetensorsDtype::f16: return to_float(f16{load_little_endian<std::uint16_t>(p)});
    case SafetensorsDtype::bf16: return to_float(bf16{load_little_endian<std::uint16_t>(p)});
    case SafetensorsDtype::i64: return static_cast<float>(load_little_endian<std::int64_t>(p));
    case SafetensorsDtype::i32: return static_cast<float>(load_little_endian<std::int32_t>(p));
    case SafetensorsDtype::i16: return static_cast<float>(load_little_endian<std::int16_t>(p));
    case SafetensorsDtype::i8: return static_cast<float>(load_little_endian<std::int8_t>(p));
    default: return static_cast<float>(load_little_endian<std::uint8_t>(p));
  }
}

}  // namespace

TEST_CASE("files of the safetensors package are read", "[safetensors]") {
  SafetensorsOptions options;
  options.access = GENERATE(FileAccess::map, FileAccess::read);
  const SafetensorsFile file = value_of(SafetensorsFile::open(test_data("python.safetensors"), options));
  struct Expected {
    std::string_view name;
    SafetensorsDtype dtype;
    std::vector<std::uint64_t> shape;
    float first;
    float step;
  };
  const Expected expected[] = {{"f64", SafetensorsDtype::f64, {2, 2}, -2, 0.25f},
                               {"f32", SafetensorsDtype::f32, {3, 4}, -2, 0.25f},
                               {"f16", SafetensorsDtype::f16, {5}, -2, 0.25f},
                               {"bf16", SafetensorsDtype::bf16, {3}, -2, 0.25f},
                               {"i64", SafetensorsDtype::i64, {6}, -3, 1},
                               {"i32", SafetensorsDtype::i32, {4}, 0, 1},
                               {"i16", SafetensorsDtype::i16, {3}, 0, 1},
                               {"i8", SafetensorsDtype::i8, {5}, -2, 1},
                               {"u8", SafetensorsDtype::u8, {7}, 0, 1},
                               {"scalar", SafetensorsDtype::f32, {}, 1.5f, 0},
                               {"empty", SafetensorsDtype::f32, {0, 4}, 0, 0},
                               {"name \"quoted\" \\ \xC3\xA9", SafetensorsDtype::u8, {2}, 0, 1},
                               {"bool", SafetensorsDtype::boolean, {3}, 1, 0}};
  CHECK(file.tensors().size() == std::size(expected));
  for (const Expected& e : expected) {
    INFO(e.name);
    const SafetensorsTensor* tensor = file.find(e.name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->dtype == e.dtype);
    CHECK(std::vector<std::uint64_t>(tensor->dims().begin(), tensor->dims().end()) == e.shape);
    const std::size_t count = tensor->data.size() / info(e.dtype).bytes;
    for (std::size_t i = 0; i < count && e.name != "bool"; ++i) {
      CHECK(value_at(*tensor, i) == e.first + e.step * static_cast<float>(i));
    }
  }
  CHECK(file.find("none") == nullptr);
  REQUIRE(file.metadata().size() == 1);
  CHECK(file.metadata()[0] == std::pair<std::string_view, std::string_view>{"format", "pt"});
  CHECK(file.file_bytes() == std::filesystem::file_size(test_data("python.safetensors")));
  require_ok(file.check_unchanged());
}

TEST_CASE("the writer makes the safetensors package's bytes", "[safetensors]") {
  const TemporaryFolder folder;
  const std::string_view name = GENERATE("python.safetensors", "python-f8.safetensors");
  const SafetensorsFile file = value_of(SafetensorsFile::open(test_data(name)));
  SafetensorsWriter writer;
  for (const auto& [key, value] : file.metadata()) require_ok(writer.set_metadata(key, value));
  for (const SafetensorsTensor& tensor : file.tensors()) {
    require_ok(writer.add_tensor(tensor.name, tensor.dtype, tensor.dims()));
  }
  require_ok(writer.begin(folder / "copy.safetensors"));
  for (const SafetensorsTensor& tensor : file.tensors()) {
    for (std::size_t at = 0; at < tensor.data.size(); at += 5) {
      require_ok(
          writer.append(tensor.name, tensor.data.subspan(at, std::min<std::size_t>(5, tensor.data.size() - at))));
    }
  }
  require_ok(writer.finish());
  CHECK(file_contents(folder / "copy.safetensors") == file_contents(test_data(name)));
}

TEST_CASE("what a header may look like", "[safetensors]") {
  const std::string bytes = stored(kGood, kGoodData, "     ");
  const SafetensorsFile file = value_of(SafetensorsFile::view(as_bytes(bytes), "good"));
  REQUIRE(file.tensors().size() == 5);
  CHECK(file.find("b.\"q\" \xC3\xA9\xF0\x9F\x98\x80")->data.size() == 3);
  CHECK(file.find("c")->rank == 0);
  CHECK(file.find("c")->data.size() == 2);
  CHECK(file.find("empty")->data.empty());
  const std::byte* base = file.find("a")->data.data();
  CHECK(file.find("h")->data.data() == base + 29);  // a 64-bit value at an odd place
  CHECK(load_little_endian<std::uint8_t>(file.find("h")->data.data()) == 29 * 7);

  const std::string none = stored("{}", 0);
  CHECK(value_of(SafetensorsFile::view(as_bytes(none), "none")).tensors().empty());
  const std::string spaced = stored("{\t\r\n }", 0, "  ");
  CHECK(value_of(SafetensorsFile::view(as_bytes(spaced), "spaced")).tensors().empty());
  const std::string only_metadata = stored(R"({"__metadata__":{"a":"b","c":"\n\t\\\/\b\f\r"}})", 0);
  const SafetensorsFile metadata = value_of(SafetensorsFile::view(as_bytes(only_metadata), "metadata"));
  REQUIRE(metadata.metadata().size() == 2);
  CHECK(metadata.metadata()[1].second == "\n\t\\/\b\f\r");

  // The file survives being moved, decoded names and all.
  SafetensorsFile moved = value_of(SafetensorsFile::view(as_bytes(bytes), "good"));
  const SafetensorsFile target = std::move(moved);
  CHECK(find_inconsistency(target, as_bytes(bytes)).empty());
}

TEST_CASE("dtypes that nothing computes with are listed", "[safetensors]") {
  const SafetensorsFile file = value_of(SafetensorsFile::open(test_data("python-f8.safetensors")));
  REQUIRE(file.find("f8") != nullptr);
  CHECK(file.find("f8")->dtype == SafetensorsDtype::f8_e4m3);
  CHECK(info(file.find("f8")->dtype).tensor_type == -1);
  for (const SafetensorsDtypeInfo& dtype : kSafetensorsDtypes) {
    const std::string bytes = stored(
        concat("{\"t\":{\"dtype\":\"", dtype.name, "\",\"shape\":[3],\"data_offsets\":[0,", dtype.bytes * 3, "]}}"),
        dtype.bytes * 3);
    CHECK(value_of(SafetensorsFile::view(as_bytes(bytes), "t")).tensors()[0].dtype == dtype.dtype);
    if (dtype.tensor_type >= 0) CHECK(info(static_cast<TensorType>(dtype.tensor_type)).block_bytes == dtype.bytes);
  }
}

namespace {

struct Case {
  std::string what;
  std::string bytes;
  std::string names;
};

std::vector<Case> hand_made_cases() {
  std::vector<Case> cases;
  const auto raw = [&](std::string what, std::string bytes, std::string names) {
    cases.push_back({std::move(what), std::move(bytes), std::move(names)});
  };
  const auto header = [&](std::string what, std::string_view text, std::size_t data, std::string names) {
    raw(std::move(what), stored(text, data), std::move(names));
  };
  // One tensor "w" whose entry is `entry`.
  const auto entry = [&](std::string what, std::string_view text, std::size_t data, std::string names) {
    header(std::move(what), concat("{\"w\":", text, "}"), data, std::move(names));
  };
  const auto length = [&](std::uint64_t value) {
    std::string bytes(reinterpret_cast<const char*>(&value), sizeof(value));
    return bytes + "{}      ";
  };
  // --- start ---
  raw("empty file", "", "header length at byte 0: expected 8 bytes, found 0");
  raw("seven bytes", "\x02\0\0\0\0\0\0", "header length at byte 0");
  raw("no header", std::string(8, '\0'), "header at byte 8: expected {, found the end");
  raw("header past the end", length(9), "header length at byte 0: expected at most 8, found 9");
  raw("header of 16 MiB and one", length((16 << 20) + 1), "header length at byte 0: expected at most 16777216");
  raw("header of 2^32", length(std::uint64_t{1} << 32), "header length");
  raw("header of 2^63", length(std::uint64_t{1} << 63), "header length");
  raw("header of 2^64 - 1", length(~std::uint64_t{0}), "header length");
  raw("header of 2^64 - 8", length(~std::uint64_t{0} - 7), "header length");
  raw("a GGUF file", "GGUF\x03\0\0\0" + std::string(64, '\0'), "not a safetensors file");
  raw("a zip archive", "PK\x03\x04" + std::string(64, '\0'), "header length");
  // --- JSON ---
  header("leading space", " {}", 0, "header at byte 8: expected {, found \" \"");
  header("an array", "[]", 0, "expected {, found \"[\"");
  header("not closed", "{", 0, "the end of the header");
  header("text behind", "{}x", 0, "expected nothing but spaces after the last }, found \"x\"");
  header("a newline behind", "{}\n", 0, "expected nothing but spaces");
  header("two objects", "{}{}", 0, "expected nothing but spaces");
  header("key without quotes", "{w:1}", 0, "header at byte 9: expected \"");
  header("key without value", "{\"w\"}", 0, "expected :, found \"}\"");
  header("comma at the end", "{\"__metadata__\":{},}", 0, "expected \", found \"}\"");
  header("comma at the start", "{,}", 0, "expected \", found \",\"");
  header("two commas", R"({"__metadata__":{},,"w":{}})", 0, "expected \", found \",\"");
  header("string not closed", "{\"w", 0, "the rest of a string");
  header("control character in a name", "{\"a\nb\":{}}", 0, "the rest of a string, found \"\\x0a\"");
  header("unknown escape", R"({"a\x":{}})", 0, "an escape of JSON");
  header("short escape", R"({"a\u12":{}})", 0, "four hexadecimal digits");
  header("lone high surrogate", R"({"a\ud800":{}})", 0, "a low surrogate");
  header("lone low surrogate", R"({"a\udc00":{}})", 0, "a high surrogate before a low one");
  header("two high surrogates", R"({"a\ud800\ud800":{}})", 0, "a low surrogate");
  header("invalid UTF-8", "{\"a\xFF\":{}}", 0, "header is not UTF-8 (bad.safetensors, header at byte 11");
  header("overlong UTF-8", "{\"a\xC0\xAF\":{}}", 0, "header is not UTF-8");
  header("NUL in a name", R"({"a\u0000b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1, "bad tensor name");
  header("empty name", R"({"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1, "name at byte 9");
  header("endless name", concat("{\"", std::string(4097, 'n'), R"(":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})"),
         1, "name at byte 9: expected 1 to 4096");
  // --- metadata ---
  header("metadata is a string", R"({"__metadata__":"x"})", 0, "__metadata__");
  header("metadata is null", R"({"__metadata__":null})", 0, "__metadata__");
  header("metadata holds a number", R"({"__metadata__":{"a":1}})", 0, "__metadata__ value at byte 29");
  header("metadata holds an object", R"({"__metadata__":{"a":{}}})", 0, "__metadata__ value");
  header("metadata key twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0, "__metadata__ key");
  header("metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0,
         "duplicate key (bad.safetensors, __metadata__");
  // --- entries ---
  entry("entry is null", "null", 0, "tensor \"w\" entry at byte 13: expected {, found \"n\"");
  entry("entry is an array", "[]", 0, "tensor \"w\" entry");
  entry("empty entry", "{}", 0, "tensor \"w\" dtype at byte 13: expected it once, found nothing");
  entry("no dtype", R"({"shape":[1],"data_offsets":[0,1]})", 1, "tensor \"w\" dtype");
  entry("no shape", R"({"dtype":"U8","data_offsets":[0,1]})", 1, "tensor \"w\" shape");
  entry("no offsets", R"({"dtype":"U8","shape":[1]})", 1, "tensor \"w\" data_offsets");
  entry("unknown field", R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]})", 1, "found strides");
  entry("field name in capitals", R"({"Dtype":"U8","shape":[1],"data_offsets":[0,1]})", 1, "found Dtype");
  entry("dtype twice", R"({"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]})", 1,
        "duplicate key (bad.safetensors, tensor \"w\" dtype");
  entry("shape twice", R"({"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]})", 1, "tensor \"w\" shape");
  entry("offsets twice", R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]})", 1,
        "tensor \"w\" data_offsets");
  for (const std::string_view dtype : {"f32", "F4", "F6_E2M3", "C64", "FLOAT", "", "F32 "}) {
    entry(
        concat("dtype ", dtype), concat(R"({"dtype":")", dtype, R"(","shape":[1],"data_offsets":[0,4]})"), 4,
        concat("unknown dtype (bad.safetensors, tensor \"w\" dtype at byte 22: expected a dtype of the format, found ",
               dtype));
  }
  entry("dtype is a number", R"({"dtype":1,"shape":[1],"data_offsets":[0,1]})", 1, "dtype at byte 22: expected \"");
  // --- shapes and offsets ---
  const auto shape = [&](std::string_view text, std::string names) {
    entry(concat("shape ", text), concat(R"({"dtype":"U8","shape":)", text, R"(,"data_offsets":[0,4]})"), 4,
          std::move(names));
  };
  shape("4", "shape at byte 35: expected [, found \"4\"");
  shape("null", "shape");
  shape("[4", "shape");
  shape("[4,]", "expected a non-negative integer, found \"]\"");
  shape("[-4]", "expected a non-negative integer, found \"-\"");
  shape("[4.0]", "expected , or ], found \".\"");
  shape("[4e0]", "expected , or ], found \"e\"");
  shape("[04]", "a number without leading zeros");
  shape("[\"4\"]", "a non-negative integer");
  shape("[4 1]", "expected , or ]");
  shape("[18446744073709551616]", "shape at byte 36: expected at most 2^64 - 1");
  shape("[99999999999999999999999999]", "at most 2^64 - 1");
  shape("[1,1,1,1,1,1,1,1,4]", "too many dimensions");
  shape("[4294967296,4294967296]", "tensor is too large");
  shape("[4294967296,4294967296,4294967296,0]", "tensor is too large");
  shape("[9223372036854775808,2]", "tensor is too large");
  shape("[3]",
        "size does not match the shape (bad.safetensors, tensor \"w\" data_offsets at byte 13: expected 3 bytes, found "
        "4");
  shape("[5]", "expected 5 bytes, found 4");
  shape("[0]", "expected 0 bytes, found 4");
  shape("[]", "expected 1 bytes, found 4");
  const auto offsets = [&](std::string_view text, std::string names) {
    entry(concat("offsets ", text), concat(R"({"dtype":"U8","shape":[4],"data_offsets":)", text, "}"), 4,
          std::move(names));
  };
  offsets("[0]", "data_offsets");
  offsets("[]", "data_offsets");
  offsets("[0,4,4]", "data_offsets");
  offsets("[4,0]", "tensor data outside of the file (bad.safetensors, tensor \"w\" data_offsets");
  offsets("[0,5]", "expected begin <= end <= 4, found 0, 5");
  offsets("[1,5]", "found 1, 5");
  offsets("[-1,3]", "data_offsets");
  offsets("[0,18446744073709551615]", "found 0, 18446744073709551615");
  offsets("[18446744073709551612,18446744073709551615]", "data_offsets");
  offsets("[18446744073709551616,0]", "at most 2^64 - 1");
  offsets("[0.0,4]", "data_offsets");
  // --- tiling ---
  const auto two = [&](std::string what, std::string_view a, std::string_view b, std::size_t data, std::string names) {
    header(std::move(what),
           concat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", a,
                  R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", b, "}}"),
           data, std::move(names));
  };
  two("same place", "[0,4]", "[0,4]", 4, "tensors overlap (bad.safetensors, tensor \"");
  two("overlap", "[0,4]", "[3,7]", 7, "tensor \"b\" data_offsets at byte 8: expected a begin of 4, found 3");
  two("hole", "[0,4]", "[5,9]", 9, "hole between tensors (bad.safetensors, tensor \"b\"");
  two("hole at the start", "[1,5]", "[5,9]", 9, "tensor \"a\" data_offsets at byte 8: expected a begin of 0, found 1");
  two("bytes behind", "[0,4]", "[4,8]", 9,
      "bytes behind the last tensor (bad.safetensors, buffer at byte 8: expected 8 bytes, found 9");
  two("bytes missing", "[0,4]", "[4,8]", 7, "tensor \"b\" data_offsets");
  header("tensor twice",
         R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         8, "duplicate tensor (bad.safetensors, tensor \"a\" name");
  header(
      "tensor twice, once escaped",
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\u0061":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      8, "duplicate tensor (bad.safetensors, tensor \"a\" name");
  header("data without tensors", "{}", 1, "bytes behind the last tensor");
  header("empty tensor outside", R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})", 0, "data_offsets");
  header("empty tensor in the middle of another",
         R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
         4, "tensors overlap (bad.safetensors, tensor \"e\"");
  return cases;
}

}  // namespace

TEST_CASE("hand-made bad safetensors files are refused by name", "[safetensors][malformed]") {
  const std::vector<Case> cases = hand_made_cases();
  CHECK(cases.size() >= 60);
  std::set<std::string> seen;
  for (const Case& c : cases) {
    INFO(c.what);
    CHECK(seen.insert(c.what).second);
    const ExactCopy copy(c.bytes);
    const AllocationMeter meter;
    const auto file = SafetensorsFile::view(copy.span(), "bad.safetensors");
    CHECK(meter.peak_bytes() < 65536);
    REQUIRE_FALSE(file.ok());
    INFO(file.error().message);
    CHECK(contains(file.error().message, c.names));
    CHECK(contains(file.error().message, "bad.safetensors"));
    CHECK(is_one_printable_line(file.error().message));
    CHECK((file.error().code == Errc::invalid_file || file.error().code == Errc::unsupported));
  }
}

TEST_CASE("cut anywhere, a safetensors file is refused", "[safetensors][malformed]") {
  Tally tally;
  const std::string good = stored(kGood, kGoodData);
  CHECK(try_open(good, tally, "good"));
  for (std::size_t length = 0; length < good.size(); ++length) {
    if (try_open(std::string_view(good).substr(0, length), tally, "cut")) FAIL("accepted at " << length);
    // The same with a header length that fits what is left, so that it is the JSON that ends early.
    if (length < 8) continue;
    const std::string refit = stored(std::string_view(good).substr(8, length - 8), 0);
    if (length - 8 < kGood.size() && try_open(refit, tally, "cut header")) FAIL("accepted header of " << length - 8);
  }
  CHECK(tally.most_memory < 65536);
}

TEST_CASE("any byte of a safetensors file may be anything", "[safetensors][malformed]") {
  Tally tally;
  std::string bytes = stored(kGood, kGoodData);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const char before = bytes[at];
    for (int value = 0; value < 256; ++value) {
      bytes[at] = static_cast<char>(value);
      (void)try_open(bytes, tally, concat("byte ", at));
    }
    bytes[at] = before;
  }
  const std::string python = file_contents(test_data("python.safetensors"));
  for (std::size_t at = 0; at < python.size(); ++at) {
    for (const int change : {1, 0x20, 0xFF}) {
      std::string changed = python;
      changed[at] = static_cast<char>(changed[at] ^ change);
      (void)try_open(changed, tally, concat("python byte ", at));
    }
  }
  CHECK(tally.refused > 50000);
  CHECK(tally.accepted > 10000);  // names and data
  CHECK(tally.most_memory < (1 << 18));
}

TEST_CASE("every number of a safetensors header at its edges", "[safetensors][malformed]") {
  Tally tally;
  const std::string header(kGood);
  const std::uint64_t left = kGoodData;
  std::size_t tried = 0;
  for (std::size_t at = 0; at < header.size();) {
    const bool digit = header[at] >= '0' && header[at] <= '9' && at > 0 &&
                       (header[at - 1] == '[' || header[at - 1] == ',' || header[at - 1] == ' ');
    std::size_t end = at + 1;
    if (digit) {
      while (header[end] >= '0' && header[end] <= '9') ++end;
      const std::string original = header.substr(at, end - at);
      for (const std::uint64_t value :
           {std::uint64_t{0}, std::uint64_t{1}, (std::uint64_t{1} << 31) - 1, std::uint64_t{1} << 31,
            (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32, (std::uint64_t{1} << 42) + 1,
            (std::uint64_t{1} << 63) - 1, std::uint64_t{1} << 63, ~std::uint64_t{0}, left, left + 1}) {
        if (std::to_string(value) == original) continue;
        std::string changed = header;
        changed.replace(at, end - at, std::to_string(value));
        ++tried;
        const bool accepted = try_open(stored(changed, kGoodData), tally, changed);
        // Only the dimensions of the tensor without elements may change.
        if (accepted && header.rfind("\"shape\":[4,0", at) == std::string::npos) FAIL(changed);
      }
      for (const std::string_view text : {"-1", "1.5", "1e3", "null", "\"1\"", "99999999999999999999", "[0]", ""}) {
        std::string changed = header;
        changed.replace(at, end - at, text);
        ++tried;
        if (try_open(stored(changed, kGoodData), tally, changed)) FAIL(changed);
      }
    }
    at = end;
  }
  CHECK(tried > 250);
}

TEST_CASE("many entries stay within limits", "[safetensors][malformed]") {
  const auto many = [](std::size_t n) {
    std::string header = "{";
    for (std::size_t i = 0; i < n; ++i) {
      header += concat(i == 0 ? "" : ",", "\"", i, "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[", i, ",",
                       i + 1, "]}");
    }
    return stored(header + "}", n);
  };
  const std::string most = many(65536);
  CHECK(value_of(SafetensorsFile::view(as_bytes(most), "most")).tensors().size() == 65536);
  const std::string more = many(65537);
  CHECK(contains(message_of(SafetensorsFile::view(as_bytes(more), "more")), "too many tensors"));

  const std::string spaces = stored("{}", 0, std::string((16 << 20) - 2, ' '));
  CHECK(SafetensorsFile::view(as_bytes(spaces), "spaces").ok());
  const std::string longer = stored("{}", 0, std::string((16 << 20) - 1, ' '));
  CHECK(contains(message_of(SafetensorsFile::view(as_bytes(longer), "longer")), "expected at most 16777216"));
  SafetensorsOptions options;
  options.max_header_bytes = 32 << 20;
  CHECK(SafetensorsFile::view(as_bytes(longer), "longer", options).ok());
  options.max_header_bytes = ~std::size_t{0};
  const std::uint64_t huge = 100'000'001;
  const std::string beyond(reinterpret_cast<const char*>(&huge), 8);
  CHECK(contains(message_of(SafetensorsFile::view(as_bytes(beyond), "beyond", options)), "at most 100000000"));

  const std::string deep = stored("{\"w\":" + std::string(1 << 20, '[') + "}", 0);
  const AllocationMeter meter;
  CHECK_FALSE(SafetensorsFile::view(as_bytes(deep), "deep").ok());
  CHECK(meter.peak_bytes() < 65536);
}

TEST_CASE("any allocation may fail while a safetensors file is opened", "[safetensors][malformed]") {
  const std::string bytes = stored(kGood, kGoodData);
  std::size_t n = 1;
  for (; n < 500; ++n) {
    const AllocationFailure failure(n);
    const auto file = SafetensorsFile::view(as_bytes(bytes), "a name that is too long for the string's own storage");
    if (file.ok()) break;
    if (file.error().code != Errc::out_of_memory) FAIL(file.error().message);
  }
  CHECK(n > 5);
  CHECK(n < 500);
}

TEST_CASE("what the safetensors writer refuses", "[safetensors]") {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  const std::uint64_t two[] = {2};
  const std::uint64_t none[] = {3, 0};
  const std::uint64_t huge[] = {std::uint64_t{1} << 40, std::uint64_t{1} << 40};
  const std::uint64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  require_ok(writer.set_metadata("k", "control \x01 \" \\ \n"));
  CHECK_FALSE(writer.set_metadata("k", "again").ok());
  CHECK_FALSE(writer.set_metadata("bad", "\xFF").ok());
  require_ok(writer.add_tensor("t\t", SafetensorsDtype::i16, two));
  require_ok(writer.add_tensor("e", SafetensorsDtype::f32, none));
  require_ok(writer.add_tensor("s", SafetensorsDtype::u8, {}));
  CHECK(contains(message_of(writer.add_tensor("s", SafetensorsDtype::u8, {})), "duplicate tensor"));
  CHECK(contains(message_of(writer.add_tensor("", SafetensorsDtype::u8, {})), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor("__metadata__", SafetensorsDtype::u8, {})), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor("\xFF", SafetensorsDtype::u8, {})), "bad tensor name"));
  CHECK(contains(message_of(writer.add_tensor("n", SafetensorsDtype::u8, nine)), "too many dimensions"));
  CHECK(writer.add_tensor("h", SafetensorsDtype::u8, huge).error().code == Errc::out_of_range);
  CHECK_FALSE(writer.append("t\t", as_bytes("1234")).ok());
  require_ok(writer.begin(folder / "t.safetensors"));
  CHECK_FALSE(writer.begin(folder / "t.safetensors").ok());
  CHECK_FALSE(writer.add_tensor("late", SafetensorsDtype::u8, {}).ok());
  CHECK(contains(message_of(writer.append("s", as_bytes("x"))), "out of order"));
  CHECK(contains(message_of(writer.append("t\t", as_bytes("12345"))), "too much tensor data"));
  require_ok(writer.append("t\t", as_bytes("1234")));
  CHECK(contains(message_of(writer.finish()), "missing"));
  require_ok(writer.append("e", {}));
  require_ok(writer.append("s", as_bytes("x")));
  require_ok(writer.finish());
  const SafetensorsFile file = value_of(SafetensorsFile::open(folder / "t.safetensors"));
  CHECK(file.tensors().size() == 3);
  CHECK(file.metadata()[0].second == "control \x01 \" \\ \n");
  CHECK(file.find("t\t")->data.size() == 4);
}

// --- folders ---------------------------------------------------------------------------------------------------------

TEST_CASE("one file or shards, a folder is one model", "[safetensors]") {
  const SafetensorsModel single = value_of(SafetensorsModel::open(test_data("single")));
  CHECK(single.tensors().size() == 1);
  CHECK(single.files().size() == 1);
  const SafetensorsModel sharded = value_of(SafetensorsModel::open(test_data("sharded")));
  CHECK(sharded.tensors().size() == 3);
  CHECK(sharded.files().size() == 2);
  const SafetensorsTensor* up = sharded.find("model.layers.0.mlp.up_proj.weight");
  REQUIRE(up != nullptr);
  CHECK(up->dtype == SafetensorsDtype::bf16);
  CHECK(up->shape[0] == 6);
  CHECK(value_at(*up, 5) == -2.0f + 0.25f * 5);
  CHECK(value_at(*sharded.find("lm_head.weight"), 3) == 1.75f);
  CHECK(sharded.find("lm_head") == nullptr);
  CHECK(sharded.file_bytes() == sharded.files()[0].file_bytes() + sharded.files()[1].file_bytes());
  require_ok(sharded.check_unchanged());

  const TemporaryFolder folder;
  std::filesystem::copy_file(test_data("single/model.safetensors"), folder / "weights.safetensors");
  CHECK(value_of(SafetensorsModel::open(folder.path())).tensors().size() == 1);
}

TEST_CASE("folders and indexes that lie are refused", "[safetensors][malformed]") {
  const TemporaryFolder folder;
  const auto use = [&](std::string_view index) { write_file(folder / "model.safetensors.index.json", index); };
  const auto map = [&](std::string_view name, std::string_view file) {
    use(concat("{\"weight_map\":{\"", name, "\":\"", file, "\"}}"));
  };
  const std::string first = "model-00001-of-00002.safetensors";
  std::filesystem::copy_file(test_data("sharded/" + first), folder / first);
  std::string names;
  SECTION("no model") {
    std::filesystem::remove(folder / first);
    names = "found 0 *.safetensors files";
  }
  SECTION("two files and no index") {
    std::filesystem::copy_file(folder / first, folder / "other.safetensors");
    names = "found 2 *.safetensors files";
  }
  SECTION("index is not JSON") {
    use("{");
    names = "bad JSON";
  }
  SECTION("index is a list") {
    use("[]");
    names = "expected object, found array";
  }
  SECTION("no weight map") {
    use("{}");
    names = "weight_map: expected object, found nothing";
  }
  SECTION("weight map is a list") {
    use("{\"weight_map\":[]}");
    names = "weight_map: expected object, found array";
  }
  SECTION("file name is a number") {
    use("{\"weight_map\":{\"a\":1}}");
    names = "weight_map, a: expected string, found integer";
  }
  SECTION("a tensor twice") {
    use("{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}");
    names = "duplicate key";
  }
  SECTION("tensor is not in the shard") {
    map("lm_head.weight", first);
    names = "tensor is missing";
  }
  SECTION("shard is missing") {
    map("lm_head.weight", "model-00002-of-00002.safetensors");
    names = "No such file";
  }
  SECTION("a path upwards") {
    map("a", "../model.safetensors");
    names = "bad shard name";
  }
  SECTION("an absolute path") {
    map("a", "/etc/model.safetensors");
    names = "bad shard name";
  }
  SECTION("a sub-folder") {
    map("a", "x/model.safetensors");
    names = "bad shard name";
  }
  SECTION("a backslash") {
    map("a", "x\\\\model.safetensors");
    names = "bad shard name";
  }
  SECTION("a NUL") {
    map("a", "x\\u0000.safetensors");
    names = "bad shard name";
  }
  SECTION("another extension") {
    map("a", "passwd");
    names = "bad shard name";
  }
  SECTION("only the extension") {
    map("a", ".safetensors");
    names = "bad shard name";
  }
  SECTION("nothing") {
    map("a", "");
    names = "bad shard name";
  }
  SECTION("a damaged shard") {
    write_file(folder / first, "12345678");
    map("a", first);
    names = "header is too large";
  }
  SECTION("the model is a folder") {
    std::filesystem::create_directory(folder / "model.safetensors");
    names = "a folder";
  }
  const std::string message = message_of(SafetensorsModel::open(folder.path()));
  INFO(message);
  CHECK(contains(message, names));
  CHECK(is_one_printable_line(message));
}

TEST_CASE("the number of shards is bounded", "[safetensors][malformed]") {
  const TemporaryFolder folder;
  std::string index = "{\"weight_map\":{";
  for (int i = 0; i < 513; ++i) {
    const std::string file = concat("s", i, ".safetensors");
    write_file(folder / file,
               stored(concat("{\"t", i, "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"), 1));
    index += concat(i == 0 ? "" : ",", "\"t", i, "\":\"", file, "\"");
  }
  write_file(folder / "model.safetensors.index.json", index + "}}");
  CHECK(contains(message_of(SafetensorsModel::open(folder.path())), "too many shards"));
}
