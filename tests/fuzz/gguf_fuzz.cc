// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a GGUF file. An accepted file is used the way a loader would use it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/io/gguf.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tritium;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = GgufFile::view(bytes, "fuzz.gguf");
  if (!file.ok()) {
    require(!file.error().message.empty());
    return 0;
  }
  std::size_t sum = 0;
  for (const GgufValue& value : file->values()) {
    require(file->find(value.key) == &value);
    if (const auto text = file->get<std::string_view>(value.key); text.ok()) {
      for (const char c : *text) sum += static_cast<unsigned char>(c);
    }
    if (const auto strings = file->get_array<std::string_view>(value.key); strings.ok()) {
      for (const std::string_view text : *strings) sum += text.empty() ? 0 : static_cast<unsigned char>(text.back());
    }
    sum += file->get<std::uint32_t>(value.key).ok();
    sum += file->get<bool>(value.key).ok();
    sum += file->get_or<double>(value.key, 0.0).ok();
    sum += file->get_per_layer<std::int32_t>(value.key, 3).ok();
    sum += file->get_array<float>(value.key).ok();
  }
  for (const GgufTensor& tensor : file->tensors()) {
    require(file->find_tensor(tensor.name) == &tensor);
    require(tensor.data.data() >= bytes.data() && tensor.data.size() <= size);
    for (const std::byte b : tensor.data) sum += std::to_integer<unsigned>(b);
  }
  volatile std::size_t sink = sum;
  (void)sink;
  return 0;
}
