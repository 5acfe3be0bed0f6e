// SPDX-License-Identifier: Apache-2.0
// Reads tests/data/blocks.bin, and a small generator whose numbers do not depend on the standard library.
//
// The file's format is in tests/golden/make_blocks.py, which writes it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace golden {

struct Section {
  std::vector<std::byte> bytes;
  std::vector<float> values;
};

inline std::map<std::string, Section> read_blocks() {
  std::ifstream file(TRITIUM_TEST_DATA "/blocks.bin", std::ios::binary);
  const std::vector<char> data{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::size_t at = 0;
  const auto take = [&](void* target, std::size_t size) {
    if (size > data.size() - at) throw std::runtime_error("blocks.bin is too short");
    if (size != 0) std::memcpy(target, data.data() + at, size);
    at += size;
  };
  char magic[8];
  std::uint32_t count = 0;
  take(magic, sizeof magic);
  if (std::memcmp(magic, "TRITGOLD", sizeof magic) != 0) throw std::runtime_error("blocks.bin has another format");
  take(&count, sizeof count);
  std::map<std::string, Section> sections;
  for (std::uint32_t i = 0; i < count; ++i) {
    char name[17] = {};
    std::uint32_t n_values = 0;
    std::uint32_t n_bytes = 0;
    take(name, 16);
    take(&n_values, sizeof n_values);
    take(&n_bytes, sizeof n_bytes);
    Section& section = sections[name];
    section.bytes.resize(n_bytes);
    section.values.resize(n_values);
    take(section.bytes.data(), n_bytes);
    take(section.values.data(), n_values * sizeof(float));
  }
  return sections;
}

inline const Section& section(const std::string& name) {
  static const std::map<std::string, Section> sections = read_blocks();
  return sections.at(name);
}

/// splitmix64, uniform and normal numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
  double uniform() { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; }
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  /// Student's t with six degrees of freedom: heavier tails, as some layers have.
  double student() {
    const double value = normal();
    double chi = 0.0;
    for (int i = 0; i < 6; ++i) {
      const double g = normal();
      chi += g * g;
    }
    return value / std::sqrt(chi / 6.0);
  }

 private:
  std::uint64_t state_;
};

}  // namespace golden
