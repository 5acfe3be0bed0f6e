// SPDX-License-Identifier: Apache-2.0
// Sound random blocks of every block type: what an encoder could have written.
#pragma once

#include <cstring>
#include <vector>

#include "support/golden_blocks.h"
#include "tritium/format/gguf_blocks.h"

namespace golden {

inline void set_u16(std::vector<std::byte>& bytes, std::size_t at, std::uint16_t value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// Random codes, finite scales of `signs` signs (1: positive only, 2: both), no code that a damaged file would have.
inline std::vector<std::byte> random_block(tritium::TensorType type, Random& random, std::size_t signs = 1) {
  using tritium::TensorType;
  const tritium::TensorTypeInfo& t = tritium::info(type);
  const tritium::BlockFormat& format = *tritium::block_format(type);
  std::vector<std::byte> block(t.block_bytes);
  for (std::byte& b : block) b = static_cast<std::byte>(random.below(256));
  for (const int offset : {int{format.d_offset}, int{format.m_offset}}) {
    if (offset < 0) continue;
    const std::size_t scale = random.below(0x7C00) | (random.below(signs) << 15);
    set_u16(block, static_cast<std::size_t>(offset), static_cast<std::uint16_t>(scale));
  }
  if (type == TensorType::tq2_0) {
    for (std::size_t i = 0; i < 64; ++i) {
      const unsigned b = std::to_integer<unsigned>(block[i]);
      block[i] = static_cast<std::byte>(b & ~(b & (b >> 1) & 0x55u));
    }
  }
  if (type == TensorType::tq1_0) {
    for (std::size_t i = 0; i < 52; ++i) {  // bytes of five trits; the last four hold a zero as their fifth
      const std::size_t value = i < 48 ? random.below(243) : 3 * random.below(81);
      block[i] = static_cast<std::byte>((256 * value + 242) / 243);
    }
  }
  if (type == TensorType::mxfp4) block[0] = static_cast<std::byte>(random.below(253));
  return block;
}

}  // namespace golden
