// SPDX-License-Identifier: Apache-2.0
// Reads the tokenizer metadata of a GGUF file, for tests of text/ alone: no tensors, no mapping, trusted files only.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "tritium/text/gguf_vocabulary.h"

namespace tritium_test {

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The file's bytes and what they hold; the views of `tokenizer` point into `bytes`.
struct GgufTokenizerFile {
  std::string bytes;
  std::vector<float> scores;
  std::vector<std::int32_t> token_types;
  tritium::GgufTokenizer tokenizer;

  explicit GgufTokenizerFile(const std::string& path) : bytes(read_file(path)) { parse(); }
  GgufTokenizerFile(const GgufTokenizerFile&) = delete;
  GgufTokenizerFile& operator=(const GgufTokenizerFile&) = delete;

 private:
  std::size_t at_ = 0;

  template <class T>
  T take() {
    T value;
    if (bytes.size() - at_ < sizeof(T)) throw std::runtime_error("GGUF metadata is cut short");
    std::memcpy(&value, bytes.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string_view take_string() {
    const auto length = take<std::uint64_t>();
    if (bytes.size() - at_ < length) throw std::runtime_error("GGUF metadata is cut short");
    at_ += length;
    return {bytes.data() + at_ - length, length};
  }
  static std::size_t scalar_bytes(std::uint32_t type) {
    constexpr std::size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type > 12 || kBytes[type] == 0) throw std::runtime_error("unexpected GGUF value type");
    return kBytes[type];
  }

  void parse() {
    if (take<std::uint32_t>() != 0x46554747) throw std::runtime_error("not a GGUF file");
    (void)take<std::uint32_t>();
    (void)take<std::uint64_t>();
    const auto pairs = take<std::uint64_t>();
    for (std::uint64_t i = 0; i < pairs; ++i) {
      const std::string key(take_string());
      const auto type = take<std::uint32_t>();
      if (type == 8) {
        text(key, take_string());
      } else if (type == 9) {
        array(key);
      } else {
        std::uint64_t value = 0;
        const std::size_t size = scalar_bytes(type);
        if (bytes.size() - at_ < size) throw std::runtime_error("GGUF metadata is cut short");
        std::memcpy(&value, bytes.data() + at_, size);
        at_ += size;
        number(key, value);
      }
    }
    tokenizer.scores = scores;
    tokenizer.token_types = token_types;
  }
  void text(const std::string& key, std::string_view value) {
    if (key == "tokenizer.ggml.model") tokenizer.model = value;
    if (key == "tokenizer.ggml.pre") tokenizer.pre = value;
    if (key == "general.name") tokenizer.general_name = value;
  }
  void number(const std::string& key, std::uint64_t value) {
    const auto id = static_cast<std::uint32_t>(value);
    if (key == "tokenizer.ggml.bos_token_id") tokenizer.bos_token_id = id;
    if (key == "tokenizer.ggml.eos_token_id") tokenizer.eos_token_id = id;
    if (key == "tokenizer.ggml.eot_token_id") tokenizer.eot_token_id = id;
    if (key == "tokenizer.ggml.unknown_token_id") tokenizer.unknown_token_id = id;
    if (key == "tokenizer.ggml.padding_token_id") tokenizer.padding_token_id = id;
    if (key == "tokenizer.ggml.add_bos_token") tokenizer.add_bos_token = value != 0;
    if (key == "tokenizer.ggml.add_eos_token") tokenizer.add_eos_token = value != 0;
    if (key == "tokenizer.ggml.add_space_prefix") tokenizer.add_space_prefix = value != 0;
    if (key == "tokenizer.ggml.remove_extra_whitespaces") tokenizer.remove_extra_whitespaces = value != 0;
  }
  void array(const std::string& key) {
    const auto type = take<std::uint32_t>();
    const auto count = take<std::uint64_t>();
    if (type == 8) {
      std::vector<std::string_view> strings;
      strings.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) strings.push_back(take_string());
      if (key == "tokenizer.ggml.tokens") tokenizer.tokens = std::move(strings);
      if (key == "tokenizer.ggml.merges") tokenizer.merges = std::move(strings);
      return;
    }
    const std::size_t size = scalar_bytes(type) * count;
    if (bytes.size() - at_ < size) throw std::runtime_error("GGUF metadata is cut short");
    const char* data = bytes.data() + at_;
    at_ += size;
    if (key == "tokenizer.ggml.scores" && type == 6) {
      scores.resize(count);
      std::memcpy(scores.data(), data, size);
    }
    if (key == "tokenizer.ggml.token_type" && (type == 4 || type == 5)) {
      token_types.resize(count);
      std::memcpy(token_types.data(), data, size);
    }
    if (key == "tokenizer.ggml.precompiled_charsmap") tokenizer.precompiled_charsmap = {data, size};
  }
};

}  // namespace tritium_test
