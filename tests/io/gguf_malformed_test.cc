// SPDX-License-Identifier: Apache-2.0
// Files that lie: by hand, one field at a time, and by the thousand. Every one must be refused with a line that names
// the field, or be a file that is consistent after all; never a crash, a wild read, or memory out of proportion.
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "io/allocation_meter.h"
#include "io/gguf_bytes.h"
#include "io/test_files.h"
#include "tritium/io/gguf.h"

using namespace tritium;

namespace {

constexpr std::uint64_t k2to31 = std::uint64_t{1} << 31;
constexpr std::uint64_t k2to32 = std::uint64_t{1} << 32;
constexpr std::uint64_t k2to63 = std::uint64_t{1} << 63;
constexpr std::uint64_t kAll = ~std::uint64_t{0};

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

/// What an accepted file must be, whatever its bytes: every view inside of it, names unique, data disjoint and aligned.
/// Returns what is wrong, or nothing.
std::string find_inconsistency(const GgufFile& file, std::span<const std::byte> bytes) {
  const auto inside = [&](const void* data, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    return size == 0 || (first >= bytes.data() && first + size <= bytes.data() + bytes.size());
  };
  std::set<std::string_view> keys;
  for (const GgufValue& value : file.values()) {
    if (!inside(value.key.data(), value.key.size()) || value.key.empty()) return "key outside";
    if (!keys.insert(value.key).second) return "key twice";
    if (!inside(value.bytes.data(), value.bytes.size())) return "value outside";
    if (file.find(value.key) != &value) return "value not found";
    if (value.type == GgufType::string) {
      if (value.is_array) {
        const auto strings = file.get_array<std::string_view>(value.key);
        if (!strings.ok()) return strings.error().message;
        for (const std::string_view text : *strings) {
          if (!inside(text.data(), text.size())) return "string outside";
        }
      } else {
        const auto text = file.get<std::string_view>(value.key);
        if (!text.ok() || !inside(text->data(), text->size())) return "string outside";
      }
    } else if (value.is_array) {
      const auto numbers = file.get_array<double>(value.key);
      if (numbers.ok() && numbers->size() != value.count) return "array size";
    }
  }
  std::set<std::string_view> names;
  std::vector<std::pair<const std::byte*, const std::byte*>> extents;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.empty() || tensor.name.size() > 64 || !is_utf8(tensor.name)) return "tensor name";
    if (!names.insert(tensor.name).second) return "tensor name twice";
    if (file.find_tensor(tensor.name) != &tensor) return "tensor not found";
    std::size_t elements = 1;
    for (const std::uint64_t dim : tensor.dims) {
      if (dim < 1 || dim > (std::uint64_t{1} << 40)) return "dim";
      if (__builtin_mul_overflow(elements, dim, &elements)) return "overflow";
    }
    const auto expected = tensor_bytes(tensor.type, elements / tensor.dims[0], tensor.dims[0]);
    if (!expected.ok() || *expected != tensor.data.size()) return "tensor size";
    if (!inside(tensor.data.data(), tensor.data.size())) return "tensor outside";
    if ((tensor.data.data() - bytes.data()) % static_cast<std::ptrdiff_t>(file.alignment()) != 0)
      return "tensor alignment";
    extents.emplace_back(tensor.data.data(), tensor.data.data() + tensor.data.size());
  }
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first < extents[i - 1].second) return "tensors overlap";
  }
  unsigned sum = 0;  // every byte of every tensor can be read
  for (const auto& [begin, end] : extents) {
    for (const std::byte* p = begin; p != end; ++p) sum += std::to_integer<unsigned>(*p);
  }
  volatile unsigned sink = sum;
  (void)sink;
  return {};
}

struct Tally {
  std::size_t refused = 0;
  std::size_t accepted = 0;
  std::size_t most_memory = 0;
  double slowest_ms = 0;
};

/// Opens bytes that may be anything; fails the test when the outcome is neither a clean refusal nor a consistent file.
bool try_open(std::string_view bytes, Tally& tally, std::string_view what) {
  const ExactCopy copy(bytes);
  const AllocationMeter meter;
  const auto start = std::chrono::steady_clock::now();
  bool accepted = false;
  {
    const auto file = GgufFile::view(copy.span(), "bad.gguf");
    tally.most_memory = std::max(tally.most_memory, meter.peak_bytes());
    accepted = file.ok();
    if (file.ok()) {
      if (const std::string wrong = find_inconsistency(*file, copy.span()); !wrong.empty()) FAIL(what << ": " << wrong);
    } else {
      const Error& error = file.error();
      if (!is_one_printable_line(error.message) || error.message.size() > 600 || !contains(error.message, "bad.gguf") ||
          (error.code != Errc::invalid_file && error.code != Errc::unsupported)) {
        FAIL(what << ": " << error.message);
      }
    }
  }
  tally.slowest_ms = std::max(
      tally.slowest_ms, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  ++(accepted ? tally.accepted : tally.refused);
  return accepted;
}

void check_limits(const Tally& tally) {
  INFO(tally.refused << " refused, " << tally.accepted << " accepted, " << tally.most_memory
                     << " bytes at most, slowest " << tally.slowest_ms << " ms");
  CHECK(tally.most_memory < (1 << 20));  // the files are smaller than 16 KiB
  CHECK(tally.slowest_ms < 1000);
}

struct Case {
  std::string what;
  std::string bytes;
  std::string names;  ///< what the message must name
};

/// One entry, whose bytes after the key and type are `value`.
std::string entry(std::uint32_t type, std::string_view value) {
  return GgufBytes(0, 1).key("some.key", type).raw(value);
}
std::string bytes_of(std::uint64_t value) { return GgufBytes::nothing().u64(value); }
std::string bytes_of(std::uint32_t value) { return GgufBytes::nothing().u32(value); }

/// One tensor description and `data` bytes behind it.
std::string one_tensor(std::initializer_list<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset,
                       std::size_t data) {
  return GgufBytes(1).tensor("some.tensor", dims, type, offset).pad(32).zeros(data);
}
std::string named_tensor(std::string_view name) { return GgufBytes(1).tensor(name, {8}, 0, 0).pad(32).zeros(32); }
std::string aligned(std::uint32_t alignment) {
  return GgufBytes(0, 1).scalar("general.alignment", 4, alignment).zeros(300000);
}

std::vector<Case> hand_made_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::string what, std::string bytes, std::string names) {
    cases.push_back({std::move(what), std::move(bytes), std::move(names)});
  };
  const std::string good = sample_gguf();

  // --- start of the file ---------------------------------------------------------------------------------------------
  add("empty file", "", "magic at byte 0: expected 4 bytes, found 0");
  add("one byte", "G", "magic at byte 0: expected 4 bytes, found 1");
  add("three bytes", "GGU", "magic at byte 0: expected 4 bytes, found 3");
  add("older format ggml", "lmgg" + good.substr(4), "magic at byte 0: expected GGUF, found lmgg");
  add("older format ggjt", "tjgg" + good.substr(4), "expected GGUF, found tjgg");
  add("reversed magic", "FUGG" + good.substr(4), "expected GGUF, found FUGG");
  add("lower-case magic", "gguf" + good.substr(4), "expected GGUF, found gguf");
  add("zip archive", "PK\x03\x04" + good.substr(4), "expected GGUF, found PK\\x03\\x04");
  add("magic of zeros", std::string(64, '\0'), "magic");
  add("text", "hello world, this is no model", "expected GGUF, found hell");
  add("magic only", "GGUF", "version at byte 4: expected 4 bytes, found 0");
  add("half a version", "GGUF\x03", "version at byte 4");
  for (const std::uint32_t version : {0u, 1u, 4u, 5u, 0xFFFFFFFFu}) {
    const bool zero = version == 0;
    add(concat("version ", version), GgufBytes(0, 0, version), zero ? "version" : "found " + std::to_string(version));
  }
  add("big-endian version 3", GgufBytes(0, 0, 0x03000000), "big-endian");
  add("big-endian version 2", GgufBytes(0, 0, 0x02000000), "big-endian");

  // --- counts
  // ---------------------------------------------------------------------------------------------------------
  add("no counts", good.substr(0, 8), "tensor count at byte 8");
  add("half a count", good.substr(0, 13), "tensor count at byte 8");
  add("no second count", good.substr(0, 16), "tensor count at byte 8");
  add("half a second count", GgufBytes(0).bytes().substr(0, 20),
      "metadata count at byte 16: expected 8 bytes, found 4");
  for (const std::uint64_t count : {std::uint64_t{65537}, k2to31, k2to32, (std::uint64_t{1} << 42) + 1, k2to63, kAll}) {
    add(concat("tensor count ", count), GgufBytes(count, 0).zeros(4096), "tensor count at byte 8");
    add(concat("metadata count ", count), GgufBytes(0, count).zeros(4096), "metadata count at byte 16");
  }
  add("more tensors than bytes", GgufBytes(100, 0).zeros(1000), "tensor count at byte 8: expected at most");
  add("more entries than bytes", GgufBytes(0, 100).zeros(1000), "metadata count at byte 16: expected at most");
  add("one tensor, no bytes", GgufBytes(1, 0), "tensor count");
  add("one entry, no bytes", GgufBytes(0, 1), "metadata count");
  add("entries eat the tensors' bytes", GgufBytes(2, 1).text("some.key", std::string(60, 'x')).zeros(40),
      "tensor count");

  // --- keys
  // -------------------------------------------------------------------------------------------------------------
  const auto key_length = [](std::uint64_t length) { return std::string(GgufBytes(0, 1).u64(length).zeros(100000)); };
  add("empty key", key_length(0), "entry \"0\" key at byte 24: expected 1 to 65535 bytes, found 0");
  add("key of 65536", key_length(65536), "key at byte 24: expected 1 to 65535 bytes, found 65536");
  add("key of 2^31", key_length(k2to31), "key at byte 24");
  add("key of 2^64 - 1", key_length(kAll), "key at byte 24");
  add("key of 2^64 - 8", key_length(kAll - 7), "key at byte 24");
  add("key past the end", GgufBytes(0, 1).u64(50).zeros(20), "key at byte 32: expected 50 bytes, found 20");
  for (const std::string_view bad :
       {std::string_view(" "), std::string_view("\n"), std::string_view("\0", 1), std::string_view("\x7F"),
        std::string_view("\x1b[2J"), std::string_view("\xC3\xA9"), std::string_view("\xFF")}) {
    add("key with " + printable(bad), GgufBytes(0, 1).scalar("a" + std::string(bad) + "b", 4, 1u),
        "character in a key");
  }
  add("key twice", GgufBytes(0, 2).scalar("k", 4, 1u).scalar("k", 4, 1u), "duplicate key (bad.gguf, key \"k\"");
  add("key twice, apart", GgufBytes(0, 4).scalar("k", 4, 1u).scalar("a", 4, 1u).scalar("z", 4, 1u).text("k", "x"),
      "duplicate key (bad.gguf, key \"k\"");
  add("key without type", GgufBytes(0, 1).string("a.longer.key"), "key \"a.longer.key\" type at byte 44");

  // --- values
  // -------------------------------------------------------------------------------------------------------------
  for (const std::uint32_t type : {13u, 14u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
    add(concat("type ", type), entry(type, std::string(64, '\0')),
        "key \"some.key\" type at byte 40: expected 0 to 12, found " + std::to_string(type));
  }
  for (const std::uint32_t type : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 10u, 11u, 12u}) {
    const std::size_t size = stored_bytes(static_cast<GgufType>(type));
    // A filler keeps the entry above the smallest size, so that it is the value that ends early.
    add(concat("cut value of type ", type), entry(type, std::string(size - 1, '\0')),
        "key \"some.key\" value at byte 44");
  }
  add("bool 2", entry(7, "\x02"), "bad bool (bad.gguf, key \"some.key\" value at byte 44: expected 0 or 1, found 2)");
  add("bool 255", entry(7, "\xFF"), "found 255");
  add("no string length", entry(8, "\x01\x02"), "key \"some.key\" string length at byte 44");
  add("string past the end", entry(8, bytes_of(std::uint64_t{5}) + "abcd"),
      "string length at byte 52: expected 5 bytes, found 4");
  for (const std::uint64_t length : {kGgufMaxStringBytes + std::uint64_t{1}, k2to31, k2to32, k2to63, kAll, kAll - 7}) {
    add(concat("string of ", length), entry(8, bytes_of(length) + std::string(100, 'x')),
        "key \"some.key\" string length");
  }
  const auto array = [&](std::uint32_t type, std::uint64_t count, std::string_view elements) {
    return entry(9, bytes_of(type) + bytes_of(count) + std::string(elements));
  };
  add("array without element type", entry(9, "\x04"), "key \"some.key\" array type at byte 44");
  add("array without length", entry(9, bytes_of(4u) + "\x01"), "key \"some.key\" array length at byte 48");
  add("array of arrays", array(9, 1, bytes_of(4u) + bytes_of(std::uint64_t{1}) + bytes_of(7u)), "array of arrays");
  for (const std::uint32_t type : {13u, 255u, 0xFFFFFFFFu}) {
    add(concat("array of type ", type), array(type, 1, std::string(64, '\0')), "array type at byte 44");
  }
  for (const std::uint32_t type : {0u, 2u, 4u, 6u, 7u, 8u, 10u, 12u}) {
    add(concat("array of type ", type) + " past the end", array(type, 1000, std::string(900, '\0')),
        "key \"some.key\" array length at byte 48: expected at most");
  }
  for (const std::uint64_t count :
       {kGgufMaxArrayElements + std::uint64_t{1}, k2to32, std::uint64_t{1} << 61, k2to63, kAll}) {
    add(concat("array of ", count), array(10, count, std::string(100, '\0')), "array length at byte 48");
    add(concat("strings, ", count), array(8, count, std::string(100, '\0')), "array length at byte 48");
  }
  add("array with a bad bool", array(7, 3, std::string_view("\x00\x01\x02", 3)),
      "value at byte 58: expected 0 or 1, found 2");
  add("string in an array past the end",
      array(8, 2, bytes_of(std::uint64_t{1}) + "a" + bytes_of(std::uint64_t{9}) + "b"),
      "string length at byte 73: expected 9 bytes, found 1");
  add("string in an array of 2^64 - 1", array(8, 2, bytes_of(kAll) + std::string(64, 'x')), "string length at byte 56");
  add("strings end before the last", array(8, 2, bytes_of(std::uint64_t{8}) + "abcdefgh"), "string length at byte 72");

  // --- alignment
  // ----------------------------------------------------------------------------------------------------------
  for (const std::uint32_t alignment :
       {0u, 1u, 2u, 4u, 7u, 12u, 24u, 33u, 48u, 65537u, 131072u, 0x80000000u, 0xFFFFFFFFu}) {
    add(concat("alignment ", alignment), aligned(alignment),
        "bad alignment (bad.gguf, key \"general.alignment\" value at byte 53");
  }
  add("alignment as u64", GgufBytes(0, 1).scalar("general.alignment", 10, std::uint64_t{32}),
      "expected u32, found u64 32");
  add("alignment as i32", GgufBytes(0, 1).scalar("general.alignment", 5, std::int32_t{32}),
      "expected u32, found i32 32");
  add("alignment as f32", GgufBytes(0, 1).scalar("general.alignment", 6, 32.0f), "expected u32, found f32");
  add("alignment as bool", GgufBytes(0, 1).scalar("general.alignment", 7, std::uint8_t{1}), "expected u32, found bool");
  add("alignment as string", GgufBytes(0, 1).text("general.alignment", "32"), "expected u32, found string");
  add("alignment as array", GgufBytes(0, 1).array("general.alignment", 4, 1).u32(32),
      "expected u32, found array of 1 u32");

  // --- names of tensors
  // ---------------------------------------------------------------------------------------------------
  add("empty name", named_tensor(""), "tensor entry \"0\" name at byte 24: expected 1 to 64 bytes, found 0");
  add("name of 65", named_tensor(std::string(65, 'n')), "name at byte 24: expected 1 to 64 bytes, found 65");
  for (const std::uint64_t length : {k2to31, k2to32, k2to63, kAll}) {
    add(concat("name of ", length), GgufBytes(1).u64(length).zeros(200), "name at byte 24");
  }
  add("name past the end", GgufBytes(1).u64(64).zeros(40), "name at byte 32: expected 64 bytes, found 40");
  add("name with NUL", named_tensor(std::string_view("a\0b", 3)), "bad tensor name");
  add("name with a lone byte", named_tensor("a\x80"), "bad tensor name");
  add("name with an overlong form", named_tensor("a\xC0\xAF"), "bad tensor name");
  add("name with a surrogate", named_tensor("a\xED\xA0\x80"), "bad tensor name");
  add("name twice", GgufBytes(2).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).pad(32).zeros(64),
      "duplicate tensor (bad.gguf, tensor \"t\" name");

  // --- dimensions
  // -------------------------------------------------------------------------------------------------------------
  for (const std::uint32_t n : {0u, 5u, 255u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    add(std::to_string(n) + " dimensions", GgufBytes(1).string("some.tensor").u32(n).zeros(400),
        "tensor \"some.tensor\" dimension count at byte 43: expected 1 to 4, found " + std::to_string(n));
  }
  for (const std::uint64_t dim :
       {std::uint64_t{0}, (std::uint64_t{1} << 40) + 1, (std::uint64_t{1} << 42) + 1, k2to63, kAll}) {
    add(concat("first dimension ", dim), one_tensor({dim, 2}, 0, 0, 64),
        "dimension 0 at byte 47: expected 1 to 2^40, found " + std::to_string(dim));
    add(concat("last dimension ", dim), one_tensor({32, 1, 1, dim}, 2, 0, 64),
        "dimension 3 at byte 71: expected 1 to 2^40, found " + std::to_string(dim));
  }
  const std::uint64_t k2to33 = std::uint64_t{1} << 33;
  add("2^32 x 2^32 elements", one_tensor({k2to32, k2to32}, 0, 0, 64), "dimension 1 at byte 55: expected at most 2^46");
  add("2^40 x 2^7 elements", one_tensor({std::uint64_t{1} << 40, 128}, 0, 0, 64), "dimension 1");
  add("2^33 x 2^33 x 2^33 wraps", one_tensor({k2to33, k2to33, k2to33}, 0, 0, 64), "dimension 1");
  add("product wraps to a small number", one_tensor({k2to32 + 1, k2to32 - 1}, 24, 0, 64), "dimension 1");
  add("2^16 four times", one_tensor({65536, 65536, 65536, 65536}, 0, 0, 64), "dimension 2");
  add("2^46 elements of 8 bytes, no data", one_tensor({std::uint64_t{1} << 40, 64}, 28, 0, 64),
      "past the end of the file");

  // --- types
  // ------------------------------------------------------------------------------------------------------------------
  const std::pair<std::uint32_t, std::string> types[] = {{4, "4 (q4_2, removed"},
                                                         {5, "5 (q4_3, removed"},
                                                         {9, "9 (q8_1)"},
                                                         {15, "15 (q8_k)"},
                                                         {16, "16 (iq2_xxs)"},
                                                         {17, "17 (iq2_xs)"},
                                                         {18, "18 (iq3_xxs)"},
                                                         {19, "19 (iq1_s)"},
                                                         {21, "21 (iq3_s)"},
                                                         {22, "22 (iq2_s)"},
                                                         {29, "29 (iq1_m)"},
                                                         {31, "31 (q4_0_4_4, removed"},
                                                         {32, "32 (q4_0_4_8, removed"},
                                                         {33, "33 (q4_0_8_8, removed"},
                                                         {36, "36 (iq4_nl_4_4, removed"},
                                                         {37, "37 (iq4_nl_4_8, removed"},
                                                         {38, "38 (iq4_nl_8_8, removed"},
                                                         {40, "40 (nvfp4)"},
                                                         {43, "43 (unknown)"},
                                                         {97, "97 (unknown)"},
                                                         {134, "134 (unknown)"},
                                                         {0x80000000u, "2147483648 (unknown)"},
                                                         {0xFFFFFFFFu, "4294967295 (unknown)"}};
  for (const auto& [id, names] : types) {
    add(concat("tensor type ", id), one_tensor({256, 4}, id, 0, 8192),
        "unsupported tensor type (bad.gguf, tensor \"some.tensor\" type at byte 63: expected a type this build reads, "
        "found " +
            names);
  }
  const std::pair<std::uint32_t, std::uint64_t> blocks[] = {{2, 31},   {3, 33},   {6, 16},  {7, 48},   {8, 1},
                                                            {10, 128}, {11, 255}, {12, 32}, {13, 257}, {14, 128},
                                                            {20, 31},  {23, 128}, {34, 32}, {35, 240}, {39, 16}};
  for (const auto& [id, dim] : blocks) {
    add(concat("type ", id) + " with rows of " + std::to_string(dim), one_tensor({dim, 256}, id, 0, 1 << 17),
        "row is not a whole number of blocks (bad.gguf, tensor \"some.tensor\" dimension 0");
  }

  // --- places
  // ------------------------------------------------------------------------------------------------------------------
  for (const std::uint64_t offset : {std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{16}, std::uint64_t{31}, kAll}) {
    add(concat("offset ", offset), one_tensor({8}, 0, offset, 4096),
        "tensor is not aligned (bad.gguf, tensor \"some.tensor\" offset at byte 59");
  }
  for (const std::uint64_t offset : {std::uint64_t{4096}, k2to31, k2to32, k2to63, kAll - 31}) {
    add(concat("offset ", offset), one_tensor({8}, 0, offset, 4096), "tensor \"some.tensor\" offset");
  }
  add("data one byte short", one_tensor({8}, 0, 0, 31), "tensor data past the end of the file");
  add("no data at all", GgufBytes(1).tensor("some.tensor", {8}, 0, 0), "tensor data past the end of the file");
  add("padding cut", GgufBytes(1).tensor("some.tensor", {8}, 0, 0).zeros(32), "tensor data past the end of the file");
  add("last row short", one_tensor({256, 4}, 14, 0, 839), "expected 840 bytes at 0 of the data section, found 839");
  const auto two = [](std::uint64_t first, std::uint64_t second) {
    return std::string(GgufBytes(2).tensor("a", {16}, 0, first).tensor("b", {8}, 0, second).pad(32).zeros(4096));
  };
  add("two tensors in one place", two(0, 0), "tensors overlap");
  add("a tensor begins inside another", two(0, 32), "tensor \"b\" offset");
  add("a tensor ends inside another", two(32, 0), "past");
  cases.back().bytes = GgufBytes(2).tensor("a", {16}, 0, 32).tensor("b", {16}, 0, 0).pad(32).zeros(4096);
  cases.back().names = "tensors overlap (bad.gguf, tensor \"a\" offset";
  add("a tensor inside another", GgufBytes(2).tensor("a", {64}, 0, 0).tensor("b", {8}, 0, 64).pad(32).zeros(4096),
      "tensor \"b\" offset at byte 57: expected at least 256, the end of \"a\", found 64");
  add("sizes whose sum wraps",
      GgufBytes(3)
          .tensor("a", {std::uint64_t{1} << 40, 64}, 28, 0)
          .tensor("b", {std::uint64_t{1} << 40, 64}, 28, 32)
          .tensor("c", {8}, 0, 64)
          .pad(32)
          .zeros(4096),
      "tensor \"a\" offset");
  add("offset plus size wraps", one_tensor({64}, 0, kAll - 31, 4096), "past the end of the file");

  // --- tensor descriptions cut at each field
  // ------------------------------------------------------------------------------
  const std::string whole = GgufBytes(1).tensor("some.tensor", {8, 4}, 0, 0);
  for (const auto& [length, names] : {std::pair<std::size_t, std::string>{60, "dimension 1 at byte 55"},
                                      {64, "type at byte 63"},
                                      {67, "offset at byte 67"},
                                      {74, "offset at byte 67"}}) {
    add(concat("description cut at ", length), whole.substr(0, length), names);
  }
  add("alignment 65536 puts the data past the end",
      GgufBytes(1, 1).scalar("general.alignment", 4, 65536u).tensor("some.tensor", {8}, 0, 0).zeros(60000),
      "past the end of the file");
  add("offset against a larger alignment",
      GgufBytes(1, 1).scalar("general.alignment", 4, 64u).tensor("some.tensor", {8}, 0, 32).pad(64).zeros(4096),
      "expected a multiple of 64, found 32");
  add("bytes behind the last tensor", one_tensor({8}, 0, 0, 64), "bytes behind the last tensor (bad.gguf, end of data");
  add("bytes behind the metadata", GgufBytes(0, 1).text("some.key", "x").zeros(32), "expected less than 32, found 32");
  add("a tensor fewer than described", GgufBytes(1).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 32).pad(32).zeros(64),
      "bytes behind the last tensor");
  return cases;
}

}  // namespace

TEST_CASE("the sample that the generated cases start from is valid", "[gguf][malformed]") {
  Tally tally;
  CHECK(try_open(sample_gguf().bytes(), tally, "sample"));
}

TEST_CASE("hand-made bad files are refused by name", "[gguf][malformed]") {
  const std::vector<Case> cases = hand_made_cases();
  CHECK(cases.size() >= 130);
  std::set<std::string> names;
  std::size_t total = 0;
  for (const Case& c : cases) {
    INFO(c.what);
    CHECK(names.insert(c.what).second);
    const ExactCopy copy(c.bytes);
    const AllocationMeter meter;
    const auto start = std::chrono::steady_clock::now();
    const auto file = GgufFile::view(copy.span(), "bad.gguf");
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    CHECK(meter.peak_bytes() < 65536);
    CHECK(ms < 1000);
    REQUIRE_FALSE(file.ok());
    INFO(file.error().message);
    CHECK(contains(file.error().message, c.names));
    CHECK(contains(file.error().message, "bad.gguf"));
    CHECK(is_one_printable_line(file.error().message));
    CHECK((file.error().code == Errc::invalid_file || file.error().code == Errc::unsupported));
    ++total;
  }
  CHECK(total == cases.size());
}

TEST_CASE("a few of them through the file system", "[gguf][malformed]") {
  const TemporaryFolder folder;
  std::size_t i = 0;
  for (const Case& c : hand_made_cases()) {
    if (++i % 7 != 0) continue;
    write_file(folder / "bad.gguf", c.bytes);
    for (const FileAccess access : {FileAccess::map, FileAccess::read}) {
      INFO(c.what);
      const std::string message = message_of(GgufFile::open(folder / "bad.gguf", access));
      CHECK(contains(message, folder / "bad.gguf"));
      CHECK(contains(message, c.names.substr(c.names.find(", ") == std::string::npos ? 0 : c.names.find(", ") + 2)));
    }
  }
}

TEST_CASE("limits are inclusive", "[gguf][malformed]") {
  Tally tally;
  const auto accepts = [&](const std::string& bytes) { return try_open(bytes, tally, "limit"); };
  CHECK(accepts(GgufBytes(0, 1).scalar(std::string(65535, 'k'), 4, 1u)));
  CHECK(accepts(named_tensor(std::string(64, 'n'))));
  CHECK(accepts(named_tensor("n")));
  CHECK(accepts(one_tensor({1, 1, 1, 1}, 24, 0, 1)));
  CHECK(accepts(GgufBytes(0, 0)));
  CHECK(accepts(GgufBytes(0, 1).scalar("general.alignment", 4, 8u)));
  CHECK(accepts(GgufBytes(0, 1).scalar("general.alignment", 4, 65536u).zeros(65535)));
  CHECK(accepts(GgufBytes(1, 1).scalar("general.alignment", 4, 65536u).tensor("t", {8}, 0, 0).pad(65536).zeros(32)));
  const std::string longest = GgufBytes(0, 1).text("k", std::string(kGgufMaxStringBytes, 's'));
  CHECK(accepts(longest));
  GgufBytes many(0, 65536);
  for (int i = 0; i < 65536; ++i) many.scalar(concat("k", i), 0, std::uint8_t{1});
  CHECK(GgufFile::view(as_bytes(many.bytes()), "many").ok());
  GgufBytes tensors(65536);
  for (std::uint64_t i = 0; i < 65536; ++i) tensors.tensor(concat("t", i), {1}, 24, i * 32);
  tensors.pad(32).zeros(65536 * 32);
  const AllocationMeter meter;
  const auto file = GgufFile::view(as_bytes(tensors.bytes()), "tensors");
  REQUIRE(file.ok());
  CHECK(meter.peak_bytes() < 4 * tensors.size());
}

TEST_CASE("cut anywhere, a file is refused", "[gguf][malformed]") {
  Tally tally;
  std::size_t header = 0;
  const GgufBytes sample = sample_gguf(&header);
  REQUIRE(header >= 4000);
  for (std::size_t length = 0; length <= header; ++length) {
    if (try_open(std::string_view(sample.bytes()).substr(0, length), tally, "cut")) FAIL("accepted at " << length);
  }
  for (std::size_t length = header; length < sample.size(); length += 509) {
    if (try_open(std::string_view(sample.bytes()).substr(0, length), tally, "cut")) FAIL("accepted at " << length);
  }
  check_limits(tally);
}

TEST_CASE("any byte may be anything", "[gguf][malformed]") {
  Tally tally;
  const GgufBytes sample = sample_gguf();
  std::string bytes = sample.bytes();
  REQUIRE(bytes.size() >= 8192);
  std::minstd_rand random(3);
  for (std::size_t at = 0; at < 8192; ++at) {
    const char before = bytes[at];
    for (int substitution = 0; substitution < 3; ++substitution) {
      bytes[at] = substitution == 0   ? static_cast<char>(~before)
                  : substitution == 1 ? static_cast<char>(before + 1)
                                      : static_cast<char>(random() >> 7);
      (void)try_open(bytes, tally, concat("byte ", at));
    }
    bytes[at] = before;
  }
  CHECK(tally.refused + tally.accepted == 3 * 8192);
  CHECK(tally.refused > 1500);    // lengths, types, counts
  CHECK(tally.accepted > 10000);  // letters of strings, numbers, tensor data
  check_limits(tally);
}

TEST_CASE("every count, length, dimension and offset at its edges", "[gguf][malformed]") {
  Tally tally;
  const GgufBytes sample = sample_gguf();
  std::string bytes = sample.bytes();
  std::size_t tried = 0;
  for (const GgufBytes::Field& field : sample.fields()) {
    const std::uint64_t left = bytes.size() - field.offset - field.width;
    std::uint64_t original = 0;
    std::memcpy(&original, bytes.data() + field.offset, field.width);
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, k2to31 - 1, k2to31, k2to32 - 1, k2to32,
                                      (std::uint64_t{1} << 42) + 1, k2to63 - 1, k2to63, kAll, left, left + 1}) {
      const std::uint64_t stored = field.width == 4 ? value & 0xFFFFFFFFu : value;
      if (stored == original) continue;
      std::memcpy(bytes.data() + field.offset, &stored, field.width);
      ++tried;
      const bool accepted = try_open(bytes, tally, field.name);
      // The only values that leave a consistent file: a dimension of 1 makes a tensor smaller, types of one size are
      // exchangeable, and a shorter tensor may move where there is room.
      const bool may_pass = field.name.starts_with("dimension ") || field.name == "type" ||
                            field.name == "array type" || field.name == "offset";
      if (accepted && !may_pass) FAIL(field.name << " at " << field.offset << " = " << stored << " was accepted");
      if (accepted && stored > 64) FAIL(field.name << " at " << field.offset << " = " << stored << " was accepted");
    }
    std::memcpy(bytes.data() + field.offset, &original, field.width);
  }
  CHECK(bytes == sample.bytes());
  CHECK(tried >= 1200);
  CHECK(tally.accepted < tried / 20);
  check_limits(tally);
}

TEST_CASE("offsets exchanged and moved at random", "[gguf][malformed]") {
  Tally tally;
  std::minstd_rand random(5);
  for (int round = 0; round < 400; ++round) {
    GgufBytes file(6);
    const auto n = static_cast<std::uint32_t>(random());
    std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
    for (std::uint32_t i = 0; i < 6; ++i) {
      const std::uint64_t rows = 1 + (n >> i) % 3;
      const std::uint64_t offset = 32 * (random() % 24);
      file.tensor(concat("t", i), {8, rows}, 0, offset);
      extents.emplace_back(offset, offset + 32 * rows);
    }
    std::sort(extents.begin(), extents.end());
    const std::uint64_t data = round % 4 == 0 ? 32 * 22 : extents.back().second;
    file.pad(32).zeros(data);
    std::uint64_t end = 0;
    for (const auto& extent : extents) end = std::max(end, extent.second);
    bool valid = end == data;
    for (std::size_t i = 1; i < 6; ++i) valid = valid && extents[i].first >= extents[i - 1].second;
    if (try_open(file.bytes(), tally, "offsets") != valid) FAIL("round " << round << ": expected " << valid);
  }
  CHECK(tally.accepted > 5);
  CHECK(tally.refused > 100);
  check_limits(tally);
}

TEST_CASE("random bytes behind a plausible start", "[gguf][malformed]") {
  Tally tally;
  std::mt19937 random(9);
  for (int round = 0; round < 3000; ++round) {
    GgufBytes file(random() % 4, random() % 4);
    for (auto n = random() % 200; n > 0; --n) {
      file.u8(static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 12 == 0 ? 1 : 0));
    }
    (void)try_open(file.bytes(), tally, "random");
  }
  CHECK(tally.refused > 2000);
  check_limits(tally);
}

// One case for each class of hole that has been found in readers of this format.
TEST_CASE("known classes of memory errors in GGUF readers", "[gguf][malformed][cve]") {
  Tally tally;
  const auto refused = [&](const std::string& bytes) { return !try_open(bytes, tally, "cve"); };
  SECTION("CVE-2024-23496: string length + 1 wraps to an empty allocation") {
    CHECK(refused(GgufBytes(0, 1).u64(kAll).zeros(64)));
    CHECK(refused(entry(8, bytes_of(kAll) + std::string(64, 'x'))));
  }
  SECTION("CVE-2024-21802: product of dimensions wraps") {
    CHECK(refused(one_tensor({k2to32, k2to32, 1}, 0, 0, 4096)));
    CHECK(refused(one_tensor({(std::uint64_t{1} << 42) + 1, 4}, 0, 0, 4096)));
    CHECK(refused(one_tensor({std::uint64_t{1} << 40, std::uint64_t{1} << 24}, 0, 0, 4096)));
  }
  SECTION("CVE-2024-21836: number of tensors times the size of a record wraps") {
    CHECK(refused(GgufBytes(kAll / 64 + 2, 0).zeros(4096)));
  }
  SECTION("CVE-2024-21825: array length times the size of an element wraps") {
    for (const std::uint32_t type : {0u, 4u, 8u, 10u}) {
      CHECK(refused(entry(9, bytes_of(type) + bytes_of((std::uint64_t{1} << 61) + 1) + std::string(512, '\0'))));
    }
  }
  SECTION("CVE-2024-23605: number of entries times the size of a record wraps") {
    CHECK(refused(GgufBytes(0, kAll / 48 + 1).zeros(4096)));
  }
  SECTION("ggml #709: number of dimensions and types used unchecked as indices") {
    CHECK(refused(GgufBytes(1).string("t").u32(5).zeros(400)));
    CHECK(refused(one_tensor({256}, 43, 0, 4096)));
    CHECK(refused(entry(13, std::string(64, '\0'))));
    CHECK(refused(entry(9, bytes_of(13u) + bytes_of(std::uint64_t{1}) + std::string(64, '\0'))));
  }
  SECTION("CVE-2024-32878, CVE-2024-41130: errors after a part was read release what was never set") {
    const std::string sample = sample_gguf();
    for (std::size_t length = 24; length < 4300; length += 3) CHECK(refused(sample.substr(0, length)));
  }
  SECTION("CVE-2025-49847, CVE-2025-52566: lengths cut to 32 bits") {
    CHECK(refused(entry(8, bytes_of(k2to32 + 3) + "abc")));
    CHECK(refused(GgufBytes(0, 1).u64(k2to32 + 1).zeros(64)));
    CHECK(refused(GgufBytes(k2to32, k2to32).zeros(64)));
    CHECK(refused(one_tensor({k2to32 + 8}, 24, 0, 64)));
  }
  SECTION("CVE-2025-53630, CVE-2026-27940: sum of padded sizes wraps") {
    GgufBytes file(5);
    for (std::uint64_t i = 0; i < 4; ++i) {
      file.tensor(concat("t", i), {std::uint64_t{1} << 40, 64}, 28, i << 49);  // 4 x 2^49 bytes
    }
    file.tensor("last", {8}, 0, kAll - 31).pad(32).zeros(4096);
    CHECK(refused(file));
  }
  SECTION("CVE-2026-33298: byte size of a tensor wraps after the elements passed") {
    CHECK(refused(one_tensor({std::uint64_t{1} << 40, 64}, 28, 0, 4096)));
    CHECK(refused(one_tensor({std::uint64_t{1} << 40, 64}, 27, kAll - 31, 4096)));
  }
  SECTION("ggml #1516: a file of 160 bytes asks for gigabytes") {
    const std::string small = GgufBytes(0, 1).u64(8).raw("some.key").u32(8).u64(std::uint64_t{1} << 40).zeros(100);
    CHECK(small.size() <= 160);
    const ExactCopy copy(small);
    const AllocationMeter meter;
    CHECK_FALSE(GgufFile::view(copy.span(), "small").ok());
    CHECK(meter.peak_bytes() < 4096);
  }
  SECTION("llama.cpp #26690, #26318: an array's element type, or that of the alignment, taken on trust") {
    const std::string tokens = GgufBytes(0, 1).array("tokenizer.ggml.tokens", 4, 4).u32(1).u32(2).u32(3).u32(4);
    const GgufFile file = value_of(GgufFile::view(as_bytes(tokens), "tokens"));
    CHECK_FALSE(file.get_array<std::string_view>("tokenizer.ggml.tokens").ok());
    CHECK(refused(GgufBytes(0, 1).text("general.alignment", "32")));
  }
  SECTION("acestep.cpp #98: a layer count from the file sizes an array") {
    const std::string count = GgufBytes(0, 1).scalar("llama.block_count", 4, 0xFFFFFFFFu);
    const GgufFile file = value_of(GgufFile::view(as_bytes(count), "count"));
    CHECK_FALSE(file.get<std::uint16_t>("llama.block_count").ok());
    CHECK_FALSE(file.get<std::int32_t>("llama.block_count").ok());
  }
  SECTION("CVE-2026-7482: offset and size trusted beyond the file") {
    CHECK(refused(one_tensor({1 << 20}, 0, 0, 4096)));
    CHECK(refused(one_tensor({8}, 0, 1 << 20, 4096)));
  }
  SECTION("llama.cpp #19856: duplicate keys, alignment that is no power of two") {
    CHECK(refused(GgufBytes(0, 2).scalar("k", 4, 1u).scalar("k", 5, std::int32_t{1})));
    CHECK(refused(aligned(24)));
    CHECK(refused(aligned(0)));
  }
  SECTION("arrays of arrays as deep as the file") {
    GgufBytes deep(0, 1);
    deep.key("k", 9);
    for (int i = 0; i < 10000; ++i) deep.u32(9).u64(1);
    CHECK(refused(deep));
  }
}

TEST_CASE("any allocation may fail while a file is opened", "[gguf][malformed]") {
  const std::string bytes = sample_gguf();
  for (const std::size_t failures : {std::size_t{1}, std::size_t{1} << 40}) {
    std::size_t n = 1;
    for (; n < 2000; ++n) {
      const AllocationFailure failure(n, failures);
      const auto file = GgufFile::view(as_bytes(bytes), "a name that is too long for the string's own storage");
      if (!file.ok()) {
        if (file.error().code != Errc::out_of_memory) FAIL(file.error().message);
        continue;
      }
      const auto tokens = file->get_array<std::string_view>("tokenizer.ggml.tokens");
      if (tokens.ok()) break;
      if (tokens.error().code != Errc::out_of_memory) FAIL(tokens.error().message);
    }
    CHECK(n > 5);
    CHECK(n < 100);
  }
  // Refusals that find no memory for their message.
  const std::string bad = one_tensor({256, 4}, 16, 0, 8192);
  for (std::size_t n = 1; n < 100; ++n) {
    const AllocationFailure failure(n);
    CHECK_FALSE(GgufFile::view(as_bytes(bad), "bad").ok());
  }
}
