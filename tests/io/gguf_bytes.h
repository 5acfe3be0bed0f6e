// SPDX-License-Identifier: Apache-2.0
// GgufBytes: GGUF files put together field by field, right or wrong, without any code of the library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

class GgufBytes {
 public:
  /// A number that counts, measures or places something.
  struct Field {
    std::string name;
    std::size_t offset;
    std::size_t width;
  };

  explicit GgufBytes(std::uint64_t n_tensors = 0, std::uint64_t n_values = 0, std::uint32_t version = 3) {
    raw("GGUF").u32(version);
    field("tensor count", 8).u64(n_tensors);
    field("metadata count", 8).u64(n_values);
  }
  static GgufBytes nothing() {
    GgufBytes bytes;
    bytes.bytes_.clear();
    bytes.fields_.clear();
    return bytes;
  }

  template <class T>
  GgufBytes& number(T value) {
    char stored[sizeof(T)];
    std::memcpy(stored, &value, sizeof(T));
    bytes_.append(stored, sizeof(T));
    return *this;
  }
  GgufBytes& u8(std::uint8_t value) { return number(value); }
  GgufBytes& u32(std::uint32_t value) { return number(value); }
  GgufBytes& u64(std::uint64_t value) { return number(value); }
  GgufBytes& raw(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  GgufBytes& zeros(std::size_t count) {
    bytes_.append(count, '\0');
    return *this;
  }
  GgufBytes& pad(std::size_t alignment) { return zeros((alignment - bytes_.size() % alignment) % alignment); }
  GgufBytes& string(std::string_view text, std::string_view name = "string length") {
    field(name, 8).u64(text.size());
    return raw(text);
  }
  GgufBytes& field(std::string_view name, std::size_t width) {
    fields_.push_back({std::string(name), bytes_.size(), width});
    return *this;
  }

  /// Key and type of an entry; the value follows.
  GgufBytes& key(std::string_view name, std::uint32_t type) {
    string(name, "key");
    field("type", 4).u32(type);
    return *this;
  }
  template <class T>
  GgufBytes& scalar(std::string_view name, std::uint32_t type, T value) {
    return key(name, type).number(value);
  }
  GgufBytes& text(std::string_view name, std::string_view value) { return key(name, 8).string(value); }
  GgufBytes& array(std::string_view name, std::uint32_t element_type, std::uint64_t count) {
    key(name, 9);
    field("array type", 4).u32(element_type);
    return field("array length", 8).u64(count);
  }

  /// The description of a tensor.
  GgufBytes& tensor(std::string_view name, std::initializer_list<std::uint64_t> dims, std::uint32_t type,
                    std::uint64_t offset) {
    string(name, "name");
    field("dimension count", 4).u32(static_cast<std::uint32_t>(dims.size()));
    std::size_t d = 0;
    for (const std::uint64_t dim : dims) field("dimension " + std::to_string(d++), 8).u64(dim);
    field("type", 4).u32(type);
    return field("offset", 8).u64(offset);
  }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  operator std::string() const { return bytes_; }  // NOLINT: a list of cases reads better without a call
  [[nodiscard]] const std::vector<Field>& fields() const { return fields_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
  std::vector<Field> fields_;
};

/// A valid file with every metadata type, several tensor types, a header of about 4 KiB and data behind it.
/// `header_bytes`, where given, receives the size of the header.
inline GgufBytes sample_gguf(std::size_t* header_bytes = nullptr) {
  GgufBytes file(7, 21);
  file.text("general.architecture", "llama");
  file.scalar("general.alignment", 4, std::uint32_t{32});
  file.scalar("test.u8", 0, std::uint8_t{200}).scalar("test.i8", 1, std::int8_t{-100});
  file.scalar("test.u16", 2, std::uint16_t{60000}).scalar("test.i16", 3, std::int16_t{-30000});
  file.scalar("test.u32", 4, std::uint32_t{4000000000}).scalar("test.i32", 5, std::int32_t{-2000000000});
  file.scalar("test.f32", 6, 0.5f).scalar("test.bool", 7, std::uint8_t{1});
  file.scalar("test.u64", 10, (std::uint64_t{1} << 63) + 1).scalar("test.i64", 11, -(std::int64_t{1} << 62));
  file.scalar("test.f64", 12, 0.1);
  file.text("test.string", "some text").text("test.empty", "");
  file.array("test.ints", 5, 3).number(std::int32_t{1}).number(std::int32_t{-2}).number(std::int32_t{3});
  file.array("test.bools", 7, 2).u8(1).u8(0);
  file.array("test.none", 6, 0);
  file.array("tokenizer.ggml.tokens", 8, 100);
  for (int i = 0; i < 100; ++i) file.string("token" + std::to_string(i));
  file.array("tokenizer.ggml.scores", 6, 100);
  for (int i = 0; i < 100; ++i) file.number(-static_cast<float>(i));
  file.text("tokenizer.chat_template", std::string(1200, 'x'));
  file.tensor("a.f32", {8, 4}, 0, 0);              // 128 bytes
  file.tensor("b.f16", {5}, 1, 128);               // 10
  file.tensor("c.q4_0", {64, 3, 2}, 2, 160);       // 216
  file.tensor("d.q6_k", {256, 8, 1, 1}, 14, 384);  // 1680
  file.tensor("e.q8_0", {32, 64}, 8, 2080);        // 2176
  file.tensor("f.i8", {7, 3}, 24, 4256);           // 21
  file.tensor("g.bf16", {16, 64}, 30, 4288);       // 2048
  if (header_bytes != nullptr) *header_bytes = file.size();
  file.pad(32);
  for (std::size_t i = 0; i < 4288 + 2048; ++i) file.u8(static_cast<std::uint8_t>(i * 13));
  return file;
}
