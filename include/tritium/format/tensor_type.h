// SPDX-License-Identifier: Apache-2.0
// TensorType: how the elements of a tensor are stored in a file, with the size of its blocks.
//
// The list is the union of what GGUF and safetensors files hold and this library reads; gguf_blocks.h has the codecs.
// Source of ids and block sizes: the GGUF specification and the ggml type table.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "tritium/core/status.h"

TRITIUM_NAMESPACE_BEGIN

/// Types of numbers in files: GGUF's by their names there, and those of safetensors.
enum class TensorType : std::uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  u8,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  tq1_0,
  tq2_0,
  mxfp4,
  i2_s,  ///< bitnet.cpp: 2-bit ternary over the whole tensor, one f32 scale behind the codes
};
/// How many types there are.
inline constexpr std::size_t kTensorTypeCount = 25;

/// A stored type's facts.
struct TensorTypeInfo {
  TensorType type;             ///< which one
  std::string_view name;       ///< as GGUF tools spell it, lower case
  std::uint32_t block_length;  ///< elements in one block; a row is a whole number of blocks
  std::uint32_t block_bytes;   ///< bytes of a block
  std::int32_t gguf_id;        ///< -1: GGUF has no such type. I2_S shares 36 with a removed type: see io/gguf.h
};

/// The facts of every type, in the order of TensorType.
inline constexpr std::array<TensorTypeInfo, kTensorTypeCount> kTensorTypes{{
    {TensorType::f32, "f32", 1, 4, 0},
    {TensorType::f16, "f16", 1, 2, 1},
    {TensorType::bf16, "bf16", 1, 2, 30},
    {TensorType::f64, "f64", 1, 8, 28},
    {TensorType::i8, "i8", 1, 1, 24},
    {TensorType::i16, "i16", 1, 2, 25},
    {TensorType::i32, "i32", 1, 4, 26},
    {TensorType::i64, "i64", 1, 8, 27},
    {TensorType::u8, "u8", 1, 1, -1},
    {TensorType::q4_0, "q4_0", 32, 18, 2},
    {TensorType::q4_1, "q4_1", 32, 20, 3},
    {TensorType::q5_0, "q5_0", 32, 22, 6},
    {TensorType::q5_1, "q5_1", 32, 24, 7},
    {TensorType::q8_0, "q8_0", 32, 34, 8},
    {TensorType::q2_k, "q2_k", 256, 84, 10},
    {TensorType::q3_k, "q3_k", 256, 110, 11},
    {TensorType::q4_k, "q4_k", 256, 144, 12},
    {TensorType::q5_k, "q5_k", 256, 176, 13},
    {TensorType::q6_k, "q6_k", 256, 210, 14},
    {TensorType::iq4_nl, "iq4_nl", 32, 18, 20},
    {TensorType::iq4_xs, "iq4_xs", 256, 136, 23},
    {TensorType::tq1_0, "tq1_0", 256, 54, 34},
    {TensorType::tq2_0, "tq2_0", 256, 66, 35},
    {TensorType::mxfp4, "mxfp4", 32, 17, 39},
    {TensorType::i2_s, "i2_s", 128, 32, 36},
}};

/// The facts of a stored type.
constexpr const TensorTypeInfo& info(TensorType type) { return kTensorTypes[static_cast<std::size_t>(type)]; }

namespace detail {
constexpr bool tensor_types_in_order() {
  for (std::size_t i = 0; i < kTensorTypeCount; ++i) {
    if (kTensorTypes[i].type != static_cast<TensorType>(i)) return false;
  }
  return true;
}
static_assert(tensor_types_in_order());
}  // namespace detail

/// Finds a type by its lower-case name; null when unknown.
constexpr const TensorTypeInfo* find_tensor_type(std::string_view name) {
  for (const TensorTypeInfo& t : kTensorTypes) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

/// Bytes of `rows` rows of `cols` elements. I2_S carries 32 bytes of scale behind all of its rows.
/// Errors: invalid_argument (cols is not a whole number of blocks), out_of_range (overflow).
inline Result<std::size_t> tensor_bytes(TensorType type, std::size_t rows, std::size_t cols) {
  const TensorTypeInfo& t = info(type);
  if (cols % t.block_length != 0) {
    return make_error(Errc::invalid_argument, "row is not a whole number of blocks", t.name,
                      "a multiple of " + std::to_string(t.block_length), std::to_string(cols));
  }
  std::size_t bytes = 0;
  std::size_t padded = 0;
  if (__builtin_mul_overflow(cols / t.block_length, std::size_t{t.block_bytes}, &bytes) ||
      __builtin_mul_overflow(bytes, rows, &bytes) ||
      __builtin_add_overflow(bytes, std::size_t{type == TensorType::i2_s ? 32u : 0u}, &padded)) {
    return make_error(Errc::out_of_range, "tensor size does not fit in 64 bits", t.name);
  }
  return padded;
}

TRITIUM_NAMESPACE_END
