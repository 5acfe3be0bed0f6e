// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a safetensors file, and the same bytes as the text of an index.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/io/safetensors.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tritium;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = SafetensorsFile::view(bytes, "fuzz.safetensors");
  if (file.ok()) {
    std::size_t covered = 0;
    unsigned sum = 0;
    for (const SafetensorsTensor& tensor : file->tensors()) {
      require(file->find(tensor.name) == &tensor);
      covered += tensor.data.size();
      for (const std::byte b : tensor.data) sum += std::to_integer<unsigned>(b);
    }
    for (const auto& [key, value] : file->metadata()) require(is_utf8(key) && is_utf8(value));
    require(covered + 8 + load_little_endian<std::uint64_t>(bytes.data()) == size);
    volatile unsigned sink = sum;
    (void)sink;
  } else {
    require(!file.error().message.empty());
  }
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (document.ok()) {
    if (const auto root = JsonObject::of(*document, "fuzz.json"); root.ok()) {
      if (const auto map = root->get_object("weight_map"); map.ok()) {
        for (const auto& item : map->value().items()) (void)map->get<std::string_view>(item.key()).ok();
      }
      (void)root->get<std::int64_t>("n").ok();
      (void)root->get_array<double>("list").ok();
    }
  } else {
    require(!document.error().message.empty());
  }
  return 0;
}
