// SPDX-License-Identifier: Apache-2.0
// Codecs of the 256-element GGUF super-blocks: q2_k q3_k q4_k q5_k q6_k iq4_xs tq1_0 tq2_0.
//
// The K types and iq4_xs spend 4, 6 or 8 bits on a scale for each group of 16 or 32 elements, folded into few bytes;
// high bits of the codes live in planes of their own. The ternary types have one scale for all 256 elements. Byte
// offsets stand above each codec; g counts groups, e elements.
// Source: block layouts of ggml.
#pragma once

#include "tritium/format/block_fields.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// Eight 6-bit scales and eight 6-bit minima in 12 bytes: bytes 0..3 and 4..7 hold scales and minima 0..3 whole, with
/// bits 4..5 of numbers 4..7 on top; bytes 8..11 hold the low nibbles of scales 4..7 below those of minima 4..7.
inline void unpack_scales_and_mins(const std::uint8_t* s, BlockFields& f) {
  for (std::size_t g = 0; g < 4; ++g) {
    f.scales[g] = small_int(s[g] & 63);
    f.mins[g] = small_int(s[g + 4] & 63);
    f.scales[g + 4] = small_int((s[g + 8] & 15) | ((s[g] >> 6) << 4));
    f.mins[g + 4] = small_int((s[g + 8] >> 4) | ((s[g + 4] >> 6) << 4));
  }
}
inline void pack_scales_and_mins(const BlockFields& f, std::uint8_t* s) {
  for (std::size_t g = 0; g < 4; ++g) {
    const unsigned scale = static_cast<unsigned>(f.scales[g + 4]);
    const unsigned min = static_cast<unsigned>(f.mins[g + 4]);
    s[g] = low_byte((static_cast<unsigned>(f.scales[g]) & 63u) | ((scale >> 4) & 3u) << 6);
    s[g + 4] = low_byte((static_cast<unsigned>(f.mins[g]) & 63u) | ((min >> 4) & 3u) << 6);
    s[g + 8] = low_byte((scale & 15u) | (min & 15u) << 4);
  }
}

/// Low nibbles of q4_k and q5_k: byte 32p + l holds elements 64p + l below and 64p + 32 + l above.
inline void unpack_nibble_rows(const std::uint8_t* q, std::uint8_t* codes) {
  for (std::size_t p = 0; p < 4; ++p) {
    for (std::size_t l = 0; l < 32; ++l) {
      codes[64 * p + l] = q[32 * p + l] & 15u;
      codes[64 * p + 32 + l] = static_cast<std::uint8_t>(q[32 * p + l] >> 4);
    }
  }
}
inline void pack_nibble_rows(const std::uint8_t* codes, std::uint8_t* q) {
  for (std::size_t p = 0; p < 4; ++p) {
    for (std::size_t l = 0; l < 32; ++l) {
      q[32 * p + l] = low_byte((codes[64 * p + l] & 15u) | (codes[64 * p + 32 + l] & 15u) << 4);
    }
  }
}

/// Base-3 digit n (0 = most significant of five) of a byte that stores v as ceil(256 v / 243).
constexpr std::uint8_t trit(std::uint8_t byte, unsigned n) {
  constexpr std::array<std::uint8_t, 5> kPower{1, 3, 9, 27, 81};
  return static_cast<std::uint8_t>((unsigned{low_byte(unsigned{byte} * kPower[n])} * 3u) >> 8);
}
/// Where tq1_0 keeps its trits: `count` bytes from `byte`, each with `trits` elements that are `count` apart.
struct TritRun {
  std::uint8_t byte;
  std::uint8_t count;
  std::uint8_t trits;
  std::uint8_t element;
};
inline constexpr std::array<TritRun, 3> kTq1Runs{{{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}}};

}  // namespace detail

/// 0: u8 (scale | min << 4)[16] | 16: 2-bit codes[64] | 80: f16 d | 82: f16 m.
template <>
struct BlockCodec<TensorType::q2_k> {
  static constexpr BlockFormat kFormat{TensorType::q2_k, 2, 3, 0, 256, 16, 80, 82, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    for (std::size_t g = 0; g < 16; ++g) {
      f.scales[g] = detail::small_int(b[g] & 15);
      f.mins[g] = detail::small_int(b[g] >> 4);
    }
    detail::unpack_pairs(b + 16, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    for (std::size_t g = 0; g < 16; ++g) {
      b[g] =
          detail::low_byte((static_cast<unsigned>(f.scales[g]) & 15u) | (static_cast<unsigned>(f.mins[g]) & 15u) << 4);
    }
    detail::pack_pairs(f.codes.data(), b + 16);
  }
};

/// 0: third bits[32] | 32: 2-bit codes[64] | 96: sixteen 6-bit scales + 32 in 12 bytes | 108: f16 d.
/// Low nibbles of scale g: byte g % 8, half g / 8; bits 4..5: byte 8 + g % 4, pair g / 4. A clear third bit means -4.
template <>
struct BlockCodec<TensorType::q3_k> {
  static constexpr BlockFormat kFormat{TensorType::q3_k, 3, 7, 4, 256, 16, 108, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    const std::uint8_t* s = b + 96;
    for (std::size_t g = 0; g < 16; ++g) {
      const int low = (s[g % 8] >> (4 * (g / 8))) & 15;
      const int high = (s[8 + g % 4] >> (2 * (g / 4))) & 3;
      f.scales[g] = detail::small_int((low | high << 4) - 32);
      f.mins[g] = 0;
    }
    detail::unpack_pairs(b + 32, f.codes.data());
    for (std::size_t p = 0; p < 8; ++p) {
      for (std::size_t l = 0; l < 32; ++l) {
        f.codes[32 * p + l] = detail::low_byte(f.codes[32 * p + l] | ((unsigned{b[l]} >> p) & 1u) << 2);
      }
    }
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    std::uint8_t* s = b + 96;
    std::memset(s, 0, 12);
    for (std::size_t g = 0; g < 16; ++g) {
      const unsigned scale = static_cast<unsigned>(f.scales[g] + 32);
      s[g % 8] = detail::low_byte(s[g % 8] | (scale & 15u) << (4 * (g / 8)));
      s[8 + g % 4] = detail::low_byte(s[8 + g % 4] | ((scale >> 4) & 3u) << (2 * (g / 4)));
    }
    detail::pack_pairs(f.codes.data(), b + 32);
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned plane = 0;
      for (std::size_t p = 0; p < 8; ++p) plane |= ((f.codes[32 * p + l] >> 2) & 1u) << p;
      b[l] = detail::low_byte(plane);
    }
  }
};

/// 0: f16 d | 2: f16 m | 4: scales and mins[12] | 16: nibbles[128].
template <>
struct BlockCodec<TensorType::q4_k> {
  static constexpr BlockFormat kFormat{TensorType::q4_k, 4, 15, 0, 256, 32, 0, 2, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::unpack_scales_and_mins(b + 4, f);
    detail::unpack_nibble_rows(b + 16, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_scales_and_mins(f, b + 4);
    detail::pack_nibble_rows(f.codes.data(), b + 16);
  }
};

/// 0: f16 d | 2: f16 m | 4: scales and mins[12] | 16: fifth bits[32] | 48: nibbles[128]. The fifth bit of element
/// 32g + l is bit g of byte l.
template <>
struct BlockCodec<TensorType::q5_k> {
  static constexpr BlockFormat kFormat{TensorType::q5_k, 5, 31, 0, 256, 32, 0, 2, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::unpack_scales_and_mins(b + 4, f);
    detail::unpack_nibble_rows(b + 48, f.codes.data());
    for (std::size_t g = 0; g < 8; ++g) {
      for (std::size_t l = 0; l < 32; ++l) {
        f.codes[32 * g + l] = detail::low_byte(f.codes[32 * g + l] | ((unsigned{b[16 + l]} >> g) & 1u) << 4);
      }
    }
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_scales_and_mins(f, b + 4);
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned plane = 0;
      for (std::size_t g = 0; g < 8; ++g) plane |= ((f.codes[32 * g + l] >> 4) & 1u) << g;
      b[16 + l] = detail::low_byte(plane);
    }
    detail::pack_nibble_rows(f.codes.data(), b + 48);
  }
};

/// 0: low nibbles[128] | 128: high pairs[64] | 192: i8 scales[16] | 208: f16 d. Of element 32k + l in each half of 128,
/// the low nibble is in byte 32(k % 2) + l, half k / 2; the high pair in byte l, pair k.
template <>
struct BlockCodec<TensorType::q6_k> {
  static constexpr BlockFormat kFormat{TensorType::q6_k, 6, 63, 32, 256, 16, 208, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    std::memcpy(f.scales.data(), b + 192, 16);
    f.mins.fill(0);
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t k = 0; k < 4; ++k) {
        const std::uint8_t* low = b + 64 * h + 32 * (k % 2);
        const std::uint8_t* high = b + 128 + 32 * h;
        for (std::size_t l = 0; l < 32; ++l) {
          f.codes[128 * h + 32 * k + l] = detail::low_byte(((unsigned{low[l]} >> (4 * (k / 2))) & 15u) |
                                                           ((unsigned{high[l]} >> (2 * k)) & 3u) << 4);
        }
      }
    }
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    std::memcpy(b + 192, f.scales.data(), 16);
    for (std::size_t h = 0; h < 2; ++h) {
      const std::uint8_t* codes = f.codes.data() + 128 * h;
      for (std::size_t l = 0; l < 32; ++l) {
        b[64 * h + l] = detail::low_byte((codes[l] & 15u) | (codes[64 + l] & 15u) << 4);
        b[64 * h + 32 + l] = detail::low_byte((codes[32 + l] & 15u) | (codes[96 + l] & 15u) << 4);
        unsigned pairs = 0;
        for (std::size_t k = 0; k < 4; ++k) pairs |= ((codes[32 * k + l] >> 4) & 3u) << (2 * k);
        b[128 + 32 * h + l] = detail::low_byte(pairs);
      }
    }
  }
};

/// 0: f16 d | 2: u16 high pairs of the scales | 4: low nibbles of the scales[4] | 8: nibbles[16] for each group of 32.
template <>
struct BlockCodec<TensorType::iq4_xs> {
  static constexpr BlockFormat kFormat{TensorType::iq4_xs, 4, 15, 0, 256, 32, 0, -1, &kIq4Values};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    const unsigned pairs = detail::load_u16(b + 2);
    for (std::size_t g = 0; g < 8; ++g) {
      const unsigned low = (unsigned{b[4 + g / 2]} >> (4 * (g % 2))) & 15u;
      const unsigned high = (pairs >> (2 * g)) & 3u;
      f.scales[g] = detail::small_int(static_cast<int>(low | high << 4) - 32);
      f.mins[g] = 0;
      detail::unpack_nibbles(b + 8 + 16 * g, f.codes.data() + 32 * g);
    }
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    unsigned pairs = 0;
    std::memset(b + 4, 0, 4);
    for (std::size_t g = 0; g < 8; ++g) {
      const unsigned scale = static_cast<unsigned>(f.scales[g] + 32);
      b[4 + g / 2] = detail::low_byte(b[4 + g / 2] | (scale & 15u) << (4 * (g % 2)));
      pairs |= ((scale >> 4) & 3u) << (2 * g);
      detail::pack_nibbles(f.codes.data() + 32 * g, b + 8 + 16 * g);
    }
    detail::store_u16(static_cast<std::uint16_t>(pairs), b + 2);
  }
};

/// 0: 48 bytes of five trits | 48: 4 bytes of four trits | 52: f16 d. Codes are trit values 0, 1, 2 with zero point 1.
/// 13 of the 256 byte values are written by no encoder; they decode to trits like any other but pack to another byte.
template <>
struct BlockCodec<TensorType::tq1_0> {
  static constexpr BlockFormat kFormat{TensorType::tq1_0, 2, 2, 1, 256, 256, 52, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    for (const detail::TritRun& run : detail::kTq1Runs) {
      for (unsigned n = 0; n < run.trits; ++n) {
        for (unsigned j = 0; j < run.count; ++j) {
          f.codes[run.element + n * run.count + j] = detail::trit(b[run.byte + j], n);
        }
      }
    }
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    for (const detail::TritRun& run : detail::kTq1Runs) {
      for (unsigned j = 0; j < run.count; ++j) {
        unsigned value = 0;
        for (unsigned n = 0; n < 5; ++n) {  // a missing fifth trit is zero
          value = 3 * value + (n < run.trits ? f.codes[run.element + n * run.count + j] % 3u : 0u);
        }
        b[run.byte + j] = detail::low_byte((256 * value + 242) / 243);
      }
    }
  }
};

/// 0: 2-bit codes[64] | 64: f16 d. Codes 0, 1, 2 with zero point 1; code 3 is reserved and means a damaged file.
template <>
struct BlockCodec<TensorType::tq2_0> {
  static constexpr BlockFormat kFormat{TensorType::tq2_0, 2, 2, 1, 256, 256, 64, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    detail::unpack_pairs(b, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_pairs(f.codes.data(), b);
  }
};

TRITIUM_NAMESPACE_END
