// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a packed cache, as they are and with size and hash put right, so that the directory behind
// the hash is reached. An accepted file is used the way a loader would use it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/model/packed_cache.h"

namespace {

using namespace tritium;

void require(bool condition) {
  if (!condition) std::abort();
}

void use(std::span<const std::byte> bytes) {
  const auto cache = PackedCache::view(bytes, "fuzz.tritium");
  if (!cache.ok()) {
    require(!cache.error().message.empty());
    return;
  }
  unsigned sum = 0;
  for (std::size_t i = 0; i < (*cache)->n_matrices(); ++i) {
    const auto matrix = (*cache)->at(i);
    require(matrix.ok());
    const auto* data = reinterpret_cast<const std::byte*>(matrix->data());
    require(data >= bytes.data() && matrix->bytes() + kLineBytes <= bytes.size());
    require(static_cast<std::size_t>(data - bytes.data()) <= bytes.size() - matrix->bytes() - kLineBytes);
    for (std::size_t b = 0; b < matrix->bytes() + kLineBytes; ++b) sum += std::to_integer<unsigned>(data[b]);
    require((*cache)->matrix(i, matrix->format(), matrix->n(), matrix->k(), matrix->interleaved()).ok());
    require(!(*cache)->matrix(i, matrix->format(), matrix->n() + 1, matrix->k(), matrix->interleaved()).ok());
    if (matrix->n() * matrix->k() > 65536) continue;
    Array<float> row = *Array<float>::allocate(matrix->k());
    for (std::size_t r = 0; r < matrix->n(); ++r) matrix->decode_row(r, row.data(), matrix->interleaved());
  }
  require(!(*cache)->matrix((*cache)->n_matrices(), PackFormat::f32, 1, 1, false).ok());
  (void)(*cache)->choice(0);
  (void)(*cache)->check_origin({}).ok();
  volatile unsigned sink = sum;
  (void)sink;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto copy = AlignedBuffer::allocate(size);
  require(copy.ok());
  std::byte* bytes = copy->data();
  if (size != 0) std::memcpy(bytes, data, size);
  use({bytes, size});
  using L = detail::PackedLayout;
  if (size < L::kHeaderBytes) return 0;
  std::memcpy(bytes, L::kMagic, sizeof(L::kMagic));
  std::memcpy(bytes + 8, &kPackedCacheVersion, sizeof(kPackedCacheVersion));
  std::memcpy(bytes + 12, &L::kEndianMark, sizeof(L::kEndianMark));
  const auto head = static_cast<std::uint64_t>(load_little_endian<std::uint16_t>(bytes + 24)) % (size + 1);
  const std::uint64_t whole = size;
  std::memcpy(bytes + 24, &head, sizeof(head));
  std::memcpy(bytes + 32, &whole, sizeof(whole));
  char version[L::kNameBytes] = TRITIUM_VERSION;
  std::memcpy(bytes + 64, version, sizeof(version));
  if (head >= L::kHeaderBytes) {
    const std::uint64_t hash = detail::hash_of({bytes + L::kHashedAt, static_cast<std::size_t>(head) - L::kHashedAt});
    std::memcpy(bytes + L::kHashAt, &hash, sizeof(hash));
  }
  use({bytes, size});
  return 0;
}
