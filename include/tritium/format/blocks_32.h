// SPDX-License-Identifier: Apache-2.0
// Codecs of the 32-element GGUF blocks: q4_0 q4_1 q5_0 q5_1 q8_0 iq4_nl mxfp4.
//
// One scale, at most one minimum, and codes whose fifth bit, where there is one, sits apart in a 32-bit mask. Byte
// offsets stand above each codec. q8_0 codes are kept as q + 128 so that all codes are unsigned.
// Source: block layouts of ggml; mxfp4: OCP Microscaling Formats 1.0.
#pragma once

#include "tritium/format/block_fields.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

inline void unpack_fifth_bits(const std::uint8_t* bytes, std::uint8_t* codes) {
  std::uint32_t mask = 0;
  std::memcpy(&mask, bytes, sizeof mask);
  for (unsigned e = 0; e < 32; ++e) codes[e] = low_byte(codes[e] | (((mask >> e) & 1u) << 4));
}
inline void pack_fifth_bits(const std::uint8_t* codes, std::uint8_t* bytes) {
  std::uint32_t mask = 0;
  for (unsigned e = 0; e < 32; ++e) mask |= ((codes[e] >> 4) & std::uint32_t{1}) << e;
  std::memcpy(bytes, &mask, sizeof mask);
}

/// Half an E8M0 scale, 2^(s - 128): the levels of mxfp4 are doubled. s = 255 is 2^127 here, as in ggml, not NaN.
constexpr float half_e8m0(std::uint8_t s) {
  if (s >= 2) return std::bit_cast<float>((std::uint32_t{s} - 1u) << 23);
  return std::bit_cast<float>(std::uint32_t{0x00200000u} << s);  // 2^-128 and 2^-127 are subnormal
}
/// Its inverse on the 256 values that half_e8m0 takes.
constexpr std::uint8_t half_e8m0_code(float half_scale) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(half_scale);
  if (u >= 0x00800000u) return low_byte((u >> 23) + 1u);
  return u >= 0x00400000u ? std::uint8_t{1} : std::uint8_t{0};
}

/// Largest E8M0 scale whose values all fit in f32: 6 * 2^(252 - 127). 255 is NaN in the standard.
inline constexpr std::uint8_t kMaxMxfp4Scale = 252;

}  // namespace detail

/// 0: f16 d | 2: nibbles[16].
template <>
struct BlockCodec<TensorType::q4_0> {
  static constexpr BlockFormat kFormat{TensorType::q4_0, 4, 15, 8, 32, 32, 0, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    detail::unpack_nibbles(b + 2, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_nibbles(f.codes.data(), b + 2);
  }
};

/// 0: f16 d | 2: f16 m | 4: nibbles[16].
template <>
struct BlockCodec<TensorType::q4_1> {
  static constexpr BlockFormat kFormat{TensorType::q4_1, 4, 15, 0, 32, 32, 0, 2, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    detail::unpack_nibbles(b + 4, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_nibbles(f.codes.data(), b + 4);
  }
};

/// 0: f16 d | 2: u32 fifth bits | 6: nibbles[16].
template <>
struct BlockCodec<TensorType::q5_0> {
  static constexpr BlockFormat kFormat{TensorType::q5_0, 5, 31, 16, 32, 32, 0, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    detail::unpack_nibbles(b + 6, f.codes.data());
    detail::unpack_fifth_bits(b + 2, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_fifth_bits(f.codes.data(), b + 2);
    detail::pack_nibbles(f.codes.data(), b + 6);
  }
};

/// 0: f16 d | 2: f16 m | 4: u32 fifth bits | 8: nibbles[16].
template <>
struct BlockCodec<TensorType::q5_1> {
  static constexpr BlockFormat kFormat{TensorType::q5_1, 5, 31, 0, 32, 32, 0, 2, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    detail::unpack_nibbles(b + 8, f.codes.data());
    detail::unpack_fifth_bits(b + 4, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    detail::pack_fifth_bits(f.codes.data(), b + 4);
    detail::pack_nibbles(f.codes.data(), b + 8);
  }
};

/// 0: f16 d | 2: i8 q[32].
template <>
struct BlockCodec<TensorType::q8_0> {
  static constexpr BlockFormat kFormat{TensorType::q8_0, 8, 255, 128, 32, 32, 0, -1, nullptr};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    detail::load_scales(kFormat, b, f);
    detail::set_single_group(kFormat, f);
    for (std::size_t e = 0; e < 32; ++e) f.codes[e] = b[2 + e] ^ 0x80u;  // two's complement + 128
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    detail::store_scales(kFormat, f, b);
    for (std::size_t e = 0; e < 32; ++e) b[2 + e] = f.codes[e] ^ 0x80u;
  }
};

/// 0: f16 d | 2: nibbles[16], indices into kIq4Values.
template <>
struct BlockCodec<TensorType::iq4_nl> {
  static constexpr BlockFormat kFormat{TensorType::iq4_nl, 4, 15, 0, 32, 32, 0, -1, &kIq4Values};
  static void unpack(const std::uint8_t* b, BlockFields& f) { BlockCodec<TensorType::q4_0>::unpack(b, f); }
  static void pack(const BlockFields& f, std::uint8_t* b) { BlockCodec<TensorType::q4_0>::pack(f, b); }
};

/// 0: u8 E8M0 scale | 1: nibbles[16], indices into kMxfp4Values. d = 2^(s - 128).
template <>
struct BlockCodec<TensorType::mxfp4> {
  static constexpr BlockFormat kFormat{TensorType::mxfp4, 4, 15, 0, 32, 32, -1, -1, &kMxfp4Values};
  static void unpack(const std::uint8_t* b, BlockFields& f) {
    f.d = detail::half_e8m0(b[0]);
    f.m = 0.0f;
    detail::set_single_group(kFormat, f);
    detail::unpack_nibbles(b + 1, f.codes.data());
  }
  static void pack(const BlockFields& f, std::uint8_t* b) {
    b[0] = detail::half_e8m0_code(f.d);
    detail::pack_nibbles(f.codes.data(), b + 1);
  }
};

TRITIUM_NAMESPACE_END
