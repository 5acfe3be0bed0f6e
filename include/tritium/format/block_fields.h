// SPDX-License-Identifier: Apache-2.0
// BlockFields: what one GGUF block says, free of how its bits are filed.
//
// Every block type of GGUF is a run of small codes, one 16-bit scale, sometimes a 16-bit minimum, and in the
// 256-element types a small integer scale (and minimum) for each group of 16 or 32 elements. A codec turns bytes into
// these fields and back without loss; the value formula below is then the same for all types, and a packer that moves
// codes and scales into another layout never sees a bit position of the file.
//
//   value[e] = d * scales[g] * level(codes[e])  -  m * mins[g],      g = e / group
//   level(c) = c - zero_point, or levels[c] for the types with a table
//
// Every product is exact in f32 (11 + 6 + 5 bits at most, 11 + 5 + 7 with a table), so the only rounding is that of the
// subtraction: no order of operations and no fused multiply-add can change a bit of a decoded value.
// Source: the GGUF specification and the block layouts of ggml; the table values are part of the format.
#pragma once

#include <cstring>

#include "tritium/core/float16.h"
#include "tritium/format/tensor_type.h"

TRITIUM_NAMESPACE_BEGIN

/// Elements of the longest block.
inline constexpr std::size_t kMaxBlockLength = 256;
/// Groups of the block that has most.
inline constexpr std::size_t kMaxBlockGroups = 16;

/// Levels of iq4_nl and iq4_xs: a grid that is denser near zero, for weights that are roughly normal.
inline constexpr std::array<std::int8_t, 16> kIq4Values{-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};

/// Levels of mxfp4: twice the E2M1 numbers 0 0.5 1 1.5 2 3 4 6 and their negatives. d is half the block's E8M0 scale.
inline constexpr std::array<std::int8_t, 16> kMxfp4Values{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// The fields of one block. Entries past the block's length or number of groups are unspecified.
struct BlockFields {
  std::array<std::uint8_t, kMaxBlockLength> codes;  ///< one for each element
  float d;  ///< exactly an f16 (mxfp4: exactly a power of two); to_f16(d) loses nothing
  float m;  ///< exactly an f16; 0 in types without a minimum
  std::array<std::int8_t, kMaxBlockGroups> scales;  ///< 1 in types without group scales
  std::array<std::int8_t, kMaxBlockGroups> mins;    ///< 0 without a minimum; -1 in q4_1 and q5_1, which add theirs
};

/// What is the same for every block of a type.
struct BlockFormat {
  TensorType type;                            ///< the stored type
  std::uint8_t bits;                          ///< of one code
  std::uint8_t max_code;                      ///< largest code that a sound file holds
  std::uint8_t zero_point;                    ///< level = code - zero_point; 0 where `levels` is set
  std::uint16_t length;                       ///< elements in a block
  std::uint16_t group;                        ///< elements that share scales[g] and mins[g]
  std::int16_t d_offset;                      ///< byte offset of the f16 d; -1: the type keeps no f16 (mxfp4)
  std::int16_t m_offset;                      ///< byte offset of the f16 m; -1: no minimum
  const std::array<std::int8_t, 16>* levels;  ///< the table that codes index, or null

  /// Whether values are d s c + m and not d s c.
  [[nodiscard]] constexpr bool has_min() const { return m_offset >= 0; }
  [[nodiscard]] constexpr std::size_t n_groups() const { return std::size_t{length} / group; }  ///< Groups in a block.
  /// What a code stands for before its scale: an entry of the table, or the code less the zero point.
  [[nodiscard]] constexpr int level(std::uint8_t code) const {
    return levels != nullptr ? (*levels)[code & 15u] : int{code} - int{zero_point};
  }
};

/// BlockCodec<type>: kFormat, unpack(bytes, fields) and pack(fields, bytes) of one block. Specialised in blocks_32.h
/// and blocks_256.h; unpack reads exactly info(type).block_bytes, pack writes as many and takes codes modulo 2^bits.
template <TensorType kType>
struct BlockCodec;

namespace detail {

inline std::uint16_t load_u16(const std::uint8_t* bytes) {
  std::uint16_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}
inline void store_u16(std::uint16_t value, std::uint8_t* bytes) { std::memcpy(bytes, &value, sizeof value); }

/// d and m where the format keeps them.
inline void load_scales(const BlockFormat& format, const std::uint8_t* block, BlockFields& f) {
  f.d = to_float(f16{load_u16(block + format.d_offset)});
  f.m = format.has_min() ? to_float(f16{load_u16(block + format.m_offset)}) : 0.0f;
}
inline void store_scales(const BlockFormat& format, const BlockFields& f, std::uint8_t* block) {
  store_u16(to_f16(f.d).bits, block + format.d_offset);
  if (format.has_min()) store_u16(to_f16(f.m).bits, block + format.m_offset);
}
/// The scale and minimum of a type without group scales.
inline void set_single_group(const BlockFormat& format, BlockFields& f) {
  f.scales[0] = 1;
  f.mins[0] = format.has_min() ? std::int8_t{-1} : std::int8_t{0};
}

constexpr std::uint8_t low_byte(unsigned value) { return static_cast<std::uint8_t>(value & 255u); }
constexpr std::int8_t small_int(int value) { return static_cast<std::int8_t>(value); }

/// Codes of 4 bits, split in halves: byte j holds element j below and element j + 16 above.
inline void unpack_nibbles(const std::uint8_t* bytes, std::uint8_t* codes) {
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = bytes[j] & 15u;
    codes[j + 16] = static_cast<std::uint8_t>(bytes[j] >> 4);
  }
}
inline void pack_nibbles(const std::uint8_t* codes, std::uint8_t* bytes) {
  for (std::size_t j = 0; j < 16; ++j) bytes[j] = low_byte((codes[j] & 15u) | (unsigned{codes[j + 16]} << 4));
}

/// Codes of 2 bits in two runs of 128 elements: byte 32h + l holds elements 128h + l + 32s in its bit pair s.
inline void unpack_pairs(const std::uint8_t* bytes, std::uint8_t* codes) {
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t s = 0; s < 4; ++s) {
      for (std::size_t l = 0; l < 32; ++l) codes[128 * h + 32 * s + l] = (bytes[32 * h + l] >> (2 * s)) & 3u;
    }
  }
}
inline void pack_pairs(const std::uint8_t* codes, std::uint8_t* bytes) {
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned byte = 0;
      for (std::size_t s = 0; s < 4; ++s) byte |= (codes[128 * h + 32 * s + l] & 3u) << (2 * s);
      bytes[32 * h + l] = low_byte(byte);
    }
  }
}

}  // namespace detail

TRITIUM_NAMESPACE_END
