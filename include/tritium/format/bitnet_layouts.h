// SPDX-License-Identifier: Apache-2.0
// The two file layouts of BitNet b1.58 weights: I2_S of bitnet.cpp and the packed uint8 of Hugging Face checkpoints.
//
// Both hold 2-bit codes, code = weight + 1, four to a byte, over the whole tensor; code 3 is never written and means a
// damaged file. They differ in which four weights share a byte: I2_S folds 128 consecutive weights into 32 bytes,
// Hugging Face stacks the four quarters of the rows. One scale serves the tensor; I2_S keeps it behind the codes.
// Source: the I2_S writer of microsoft/BitNet (x86 default build, official model file) and the BitNet integration of
// transformers. Files of the Arm build of that writer use blocks of 64 and cannot be told apart; they are not read.
#pragma once

#include <cmath>
#include <cstring>
#include <span>

#include "tritium/core/buffer.h"
#include "tritium/format/tensor_type.h"

TRITIUM_NAMESPACE_BEGIN

/// The 2-bit code that no ternary weight has.
inline constexpr std::uint8_t kReservedTernaryCode = 3;
/// Bytes behind the codes of an I2_S tensor; the first four are its f32 scale.
inline constexpr std::size_t kI2sTailBytes = 32;

namespace detail {

inline Error reserved_code_error(std::string_view type, std::size_t element) {
  return make_error(Errc::invalid_file, "reserved ternary code",
                    std::string(type) + " element " + std::to_string(element), "0, 1 or 2", "3");
}

/// First element, in the order of the codes, that holds the reserved code; n if none does.
inline std::size_t find_reserved_code(const std::uint8_t* codes, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (codes[i] >= kReservedTernaryCode) return i;
  }
  return n;
}

/// The caller's codes, before they are packed.
inline Status check_ternary_codes(const std::uint8_t* codes, std::size_t n) {
  const std::size_t bad = find_reserved_code(codes, n);
  if (bad == n) return {};
  return make_error(Errc::invalid_argument, "not a ternary code", "element " + std::to_string(bad), "0, 1 or 2",
                    std::to_string(codes[bad]));
}

inline Status check_size(std::string_view what, std::size_t expected, std::size_t found) {
  if (expected == found) return {};
  return make_error(Errc::invalid_argument, "wrong number of bytes", what, std::to_string(expected),
                    std::to_string(found));
}

/// The 128 codes of one I2_S block: byte j holds elements j, j + 32, j + 64, j + 96 from its highest pair down.
inline void unpack_i2_s_block(const std::uint8_t* bytes, std::uint8_t* codes) {
  for (unsigned s = 0; s < 4; ++s) {
    for (std::size_t j = 0; j < 32; ++j) codes[32 * s + j] = (bytes[j] >> (6 - 2 * s)) & 3u;
  }
}

inline void pack_i2_s_block(const std::uint8_t* codes, std::uint8_t* bytes) {
  for (std::size_t j = 0; j < 32; ++j) {
    bytes[j] = static_cast<std::uint8_t>(codes[j] << 6 | codes[j + 32] << 4 | codes[j + 64] << 2 | codes[j + 96]);
  }
}
inline void write_i2_s_tail(float scale, std::uint8_t* tail) {
  std::memset(tail, 0, kI2sTailBytes);
  std::memcpy(tail, &scale, sizeof scale);
}

}  // namespace detail

/// The scale of an I2_S tensor of rows x cols weights.
/// Errors: invalid_argument (shape, size of `bytes`), invalid_file (scale not finite).
inline Result<float> i2_s_scale(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols) {
  TRITIUM_ASSIGN(const std::size_t expected, tensor_bytes(TensorType::i2_s, rows, cols));
  TRITIUM_TRY(detail::check_size("i2_s", expected, bytes.size()));
  float scale = 0.0f;
  std::memcpy(&scale, bytes.data() + (expected - kI2sTailBytes), sizeof scale);
  if (!std::isfinite(scale)) {
    return make_error(Errc::invalid_file, "scale is not a number", "i2_s", "a finite f32", std::to_string(scale));
  }
  return scale;
}

/// codes[r * cols + c] = weight + 1 in {0, 1, 2} of an I2_S tensor; returns its scale, so that the weight's value is
/// scale * (code - 1). `bytes` must be exactly tensor_bytes(i2_s, rows, cols); cols a multiple of 128.
/// Errors: as i2_s_scale(), and invalid_file naming the element with the reserved code (codes are then partly written).
inline Result<float> unpack_i2_s(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols,
                                 std::uint8_t* codes) {
  TRITIUM_ASSIGN(const float scale, i2_s_scale(bytes, rows, cols));
  const auto* source = reinterpret_cast<const std::uint8_t*>(bytes.data());
  for (std::size_t block = 0; block < rows * cols / 128; ++block) {
    std::uint8_t* out = codes + 128 * block;
    detail::unpack_i2_s_block(source + 32 * block, out);
    const std::size_t bad = detail::find_reserved_code(out, 128);
    if (bad != 128) return detail::reserved_code_error("i2_s", 128 * block + bad);
  }
  return scale;
}

/// out[r * cols + c] = scale * (code - 1). Arguments and errors as unpack_i2_s().
inline Status decode_i2_s(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols, float* out) {
  TRITIUM_ASSIGN(const float scale, i2_s_scale(bytes, rows, cols));
  const auto* source = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::array<std::uint8_t, 128> codes{};
  for (std::size_t block = 0; block < rows * cols / 128; ++block) {
    detail::unpack_i2_s_block(source + 32 * block, codes.data());
    const std::size_t bad = detail::find_reserved_code(codes.data(), codes.size());
    if (bad != codes.size()) return detail::reserved_code_error("i2_s", 128 * block + bad);
    for (std::size_t j = 0; j < 128; ++j) out[128 * block + j] = scale * static_cast<float>(codes[j] - 1);
  }
  return {};
}

/// The inverse of unpack_i2_s(). `bytes` must be exactly tensor_bytes(i2_s, rows, cols). The tail: scale, zeros.
/// Errors: invalid_argument (shape, size of `bytes`, scale not finite, a code above 2, named by its index).
inline Status pack_i2_s(const std::uint8_t* codes, float scale, std::size_t rows, std::size_t cols,
                        std::span<std::byte> bytes) {
  TRITIUM_ASSIGN(const std::size_t expected, tensor_bytes(TensorType::i2_s, rows, cols));
  TRITIUM_TRY(detail::check_size("i2_s", expected, bytes.size()));
  TRITIUM_TRY(detail::check_ternary_codes(codes, rows * cols));
  if (!std::isfinite(scale)) {
    return make_error(Errc::invalid_argument, "scale is not a number", "i2_s", "a finite f32", std::to_string(scale));
  }
  auto* target = reinterpret_cast<std::uint8_t*>(bytes.data());
  for (std::size_t block = 0; block < rows * cols / 128; ++block) {
    detail::pack_i2_s_block(codes + 128 * block, target + 32 * block);
  }
  detail::write_i2_s_tail(scale, target + rows * cols / 4);
  return {};
}

/// The s of n weights that all lie in {-s, 0, s}; 0 when all are zero.
/// Errors: invalid_argument naming the first weight that is not finite or differs in magnitude from those before it.
inline Result<float> ternary_scale(const float* weights, std::size_t n) {
  float scale = 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(weights[i]);
    if (scale == 0.0f && std::isfinite(magnitude)) scale = magnitude;
    if (magnitude != 0.0f && magnitude != scale) {
      return make_error(Errc::invalid_argument, "tensor is not ternary", "element " + std::to_string(i),
                        "0 or +-" + std::to_string(scale), std::to_string(weights[i]));
    }
  }
  return scale;
}

/// Writes a rows x cols tensor of weights in {-s, 0, s} as I2_S without loss. `bytes` as pack_i2_s().
/// Errors: as ternary_scale(); invalid_argument (shape, size of `bytes`).
inline Status encode_i2_s(const float* weights, std::size_t rows, std::size_t cols, std::span<std::byte> bytes) {
  TRITIUM_ASSIGN(const std::size_t expected, tensor_bytes(TensorType::i2_s, rows, cols));
  TRITIUM_TRY(detail::check_size("i2_s", expected, bytes.size()));
  TRITIUM_ASSIGN(const float scale, ternary_scale(weights, rows * cols));
  auto* target = reinterpret_cast<std::uint8_t*>(bytes.data());
  std::array<std::uint8_t, 128> codes{};
  for (std::size_t block = 0; block < rows * cols / 128; ++block) {
    for (std::size_t j = 0; j < 128; ++j) {
      const float w = weights[128 * block + j];
      codes[j] = static_cast<std::uint8_t>(1 + (w > 0.0f ? 1 : 0) - (w < 0.0f ? 1 : 0));
    }
    detail::pack_i2_s_block(codes.data(), target + 32 * block);
  }
  detail::write_i2_s_tail(scale, target + rows * cols / 4);
  return {};
}

/// codes[r * cols + c] = weight + 1 of a Hugging Face BitNet `weight`, uint8 [rows / 4, cols]; rows is a multiple of 4.
/// Row r lies in byte row r % (rows / 4), bit pair r / (rows / 4). The checkpoint keeps its scale in another tensor.
/// Errors: invalid_argument (shape, size of `bytes`), invalid_file naming the element with the reserved code.
inline Status unpack_bitnet_rows(std::span<const std::byte> bytes, std::size_t rows, std::size_t cols,
                                 std::uint8_t* codes) {
  if (rows % 4 != 0) {
    return make_error(Errc::invalid_argument, "bitnet rows", "rows", "a multiple of 4", std::to_string(rows));
  }
  TRITIUM_ASSIGN(const std::size_t plane, checked_mul(rows / 4, cols));
  TRITIUM_TRY(detail::check_size("bitnet rows", plane, bytes.size()));
  const auto* source = reinterpret_cast<const std::uint8_t*>(bytes.data());
  for (std::size_t quarter = 0; quarter < 4; ++quarter) {
    std::uint8_t* out = codes + quarter * plane;
    for (std::size_t i = 0; i < plane; ++i) out[i] = (source[i] >> (2 * quarter)) & 3u;
    const std::size_t bad = detail::find_reserved_code(out, plane);
    if (bad != plane) return detail::reserved_code_error("bitnet rows", quarter * plane + bad);
  }
  return {};
}

/// The inverse of unpack_bitnet_rows(). Errors: invalid_argument (shape, size, a code above 2, named by its index).
inline Status pack_bitnet_rows(const std::uint8_t* codes, std::size_t rows, std::size_t cols,
                               std::span<std::byte> bytes) {
  if (rows % 4 != 0) {
    return make_error(Errc::invalid_argument, "bitnet rows", "rows", "a multiple of 4", std::to_string(rows));
  }
  TRITIUM_ASSIGN(const std::size_t plane, checked_mul(rows / 4, cols));
  TRITIUM_TRY(detail::check_size("bitnet rows", plane, bytes.size()));
  TRITIUM_TRY(detail::check_ternary_codes(codes, 4 * plane));
  auto* target = reinterpret_cast<std::uint8_t*>(bytes.data());
  for (std::size_t i = 0; i < plane; ++i) {
    target[i] = static_cast<std::uint8_t>(codes[i] | codes[plane + i] << 2 | codes[2 * plane + i] << 4 |
                                          codes[3 * plane + i] << 6);
  }
  return {};
}

TRITIUM_NAMESPACE_END
