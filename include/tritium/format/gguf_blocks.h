// SPDX-License-Identifier: Apache-2.0
// Scalar codecs of every TensorType: file bytes to fields and to f32, the oracle of all kernels and packers.
//
// A row is decoded block by block through BlockFields, so a type's layout is written once (blocks_32.h, blocks_256.h)
// and its value formula once (block_fields.h). Encoders from f32 are in gguf_encode.h.
// Source: the GGUF specification; decoded values equal those of the gguf package bit for bit (tests/golden).
#pragma once

#include <cmath>
#include <limits>
#include <span>

#include "tritium/format/bitnet_layouts.h"
#include "tritium/format/blocks_256.h"
#include "tritium/format/blocks_32.h"

TRITIUM_NAMESPACE_BEGIN

/// Calls f(BlockCodec<type>{}) for a type that is stored in blocks and returns what f returns; for every other type
/// (plain numbers, i2_s) returns `otherwise`.
template <class F, class R>
inline R with_block_codec(TensorType type, F&& f, R otherwise) {
  switch (type) {
    case TensorType::q4_0: return f(BlockCodec<TensorType::q4_0>{});
    case TensorType::q4_1: return f(BlockCodec<TensorType::q4_1>{});
    case TensorType::q5_0: return f(BlockCodec<TensorType::q5_0>{});
    case TensorType::q5_1: return f(BlockCodec<TensorType::q5_1>{});
    case TensorType::q8_0: return f(BlockCodec<TensorType::q8_0>{});
    case TensorType::q2_k: return f(BlockCodec<TensorType::q2_k>{});
    case TensorType::q3_k: return f(BlockCodec<TensorType::q3_k>{});
    case TensorType::q4_k: return f(BlockCodec<TensorType::q4_k>{});
    case TensorType::q5_k: return f(BlockCodec<TensorType::q5_k>{});
    case TensorType::q6_k: return f(BlockCodec<TensorType::q6_k>{});
    case TensorType::iq4_nl: return f(BlockCodec<TensorType::iq4_nl>{});
    case TensorType::iq4_xs: return f(BlockCodec<TensorType::iq4_xs>{});
    case TensorType::tq1_0: return f(BlockCodec<TensorType::tq1_0>{});
    case TensorType::tq2_0: return f(BlockCodec<TensorType::tq2_0>{});
    case TensorType::mxfp4: return f(BlockCodec<TensorType::mxfp4>{});
    case TensorType::f32:
    case TensorType::f16:
    case TensorType::bf16:
    case TensorType::f64:
    case TensorType::i8:
    case TensorType::i16:
    case TensorType::i32:
    case TensorType::i64:
    case TensorType::u8:
    case TensorType::i2_s: break;
  }
  return otherwise;
}

/// The format of a block type; null for plain numbers and for i2_s, whose one scale is the tensor's (bitnet_layouts.h).
inline const BlockFormat* block_format(TensorType type) {
  return with_block_codec(
      type, [](auto codec) { return &decltype(codec)::kFormat; }, static_cast<const BlockFormat*>(nullptr));
}

/// The fields of one block of info(type).block_bytes bytes. Never fails: a reserved ternary code shows up as code 3.
/// Precondition: block_format(type) is not null.
inline void unpack_block(TensorType type, const std::byte* block, BlockFields& fields) {
  const bool known = with_block_codec(
      type,
      [&](auto codec) {
        codec.unpack(reinterpret_cast<const std::uint8_t*>(block), fields);
        return true;
      },
      false);
  TRITIUM_ASSUME(known);
  (void)known;
}

/// The inverse: pack_block(unpack_block(bytes)) restores every byte that an encoder writes. d and m must be values that
/// the type can hold (see BlockFields); codes are taken modulo 2^bits.
/// Precondition: block_format(type) is not null.
inline void pack_block(TensorType type, const BlockFields& fields, std::byte* block) {
  const bool known = with_block_codec(
      type,
      [&](auto codec) {
        codec.pack(fields, reinterpret_cast<std::uint8_t*>(block));
        return true;
      },
      false);
  TRITIUM_ASSUME(known);
  (void)known;
}

namespace detail {

/// The value formula of block_fields.h for one block.
template <class Codec>
inline void decode_fields(Codec, const BlockFields& f, float* out) {
  constexpr const BlockFormat& kFormat = Codec::kFormat;
  for (std::size_t g = 0; g < kFormat.n_groups(); ++g) {
    const float scale = f.d * static_cast<float>(f.scales[g]);
    const float min = f.m * static_cast<float>(f.mins[g]);
    const std::uint8_t* codes = f.codes.data() + g * kFormat.group;
    float* values = out + g * kFormat.group;
    for (std::size_t i = 0; i < kFormat.group; ++i) {
      const float product = scale * static_cast<float>(kFormat.level(codes[i]));
      if constexpr (kFormat.has_min()) {
        values[i] = product - min;
      } else {
        values[i] = product;
      }
    }
  }
}

template <class T>
inline T load_as(const std::byte* bytes, std::size_t index) {
  T value{};
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

template <class T>
inline void decode_numbers(const std::byte* row, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>) {
      out[i] = to_float(load_as<T>(row, i));
    } else {
      out[i] = static_cast<float>(load_as<T>(row, i));
    }
  }
}

inline Status check_row_length(TensorType type, std::size_t n) {
  const TensorTypeInfo& t = info(type);
  if (n % t.block_length == 0) return {};
  return make_error(Errc::invalid_argument, "row is not a whole number of blocks", t.name,
                    "a multiple of " + std::to_string(t.block_length), std::to_string(n));
}

inline Error i2_s_row_error() {
  return make_error(Errc::invalid_argument, "i2_s has one scale for the whole tensor",
                    "rows cannot be coded alone: use decode_i2_s and encode_i2_s");
}

inline Error not_finite_error(Errc code, TensorType type, std::size_t element, float found) {
  return make_error(code, "value is not a number", std::string(info(type).name) + " element " + std::to_string(element),
                    "a finite number", std::to_string(found));
}

/// First element whose bits mean infinity or NaN; n if none.
template <class Bits, Bits kExponent>
inline std::size_t find_not_finite(const std::byte* numbers, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if ((load_as<Bits>(numbers, i) & kExponent) == kExponent) return i;
  }
  return n;
}

inline std::size_t find_not_finite(TensorType type, const std::byte* numbers, std::size_t n) {
  switch (type) {
    case TensorType::f32: return find_not_finite<std::uint32_t, 0x7F800000u>(numbers, n);
    case TensorType::f16: return find_not_finite<std::uint16_t, 0x7C00u>(numbers, n);
    case TensorType::bf16: return find_not_finite<std::uint16_t, 0x7F80u>(numbers, n);
    case TensorType::f64:
      for (std::size_t i = 0; i < n; ++i) {  // as the f32 that it becomes: 1e300 is no weight either
        if (!std::isfinite(static_cast<float>(load_as<double>(numbers, i)))) return i;
      }
      return n;
    default: return n;  // integers are finite; blocks have their own check
  }
}

/// Scales finite and, in tq2_0, no reserved code; `first` is the number of the first element, for the message.
template <class Codec>
inline Status check_block(Codec, const std::uint8_t* block, std::size_t first) {
  constexpr const BlockFormat& kFormat = Codec::kFormat;
  for (const int offset : {int{kFormat.d_offset}, int{kFormat.m_offset}}) {
    if (offset < 0) continue;
    const f16 scale{load_u16(block + offset)};
    if ((scale.bits & 0x7C00u) == 0x7C00u) {
      return make_error(Errc::invalid_file, "scale of a block is not a number",
                        std::string(info(kFormat.type).name) + " element " + std::to_string(first), "a finite f16",
                        std::to_string(to_float(scale)));
    }
  }
  if constexpr (kFormat.type == TensorType::mxfp4) {
    if (block[0] > kMaxMxfp4Scale) {
      return make_error(Errc::invalid_file, "scale of a block is out of range",
                        "mxfp4 element " + std::to_string(first), "at most " + std::to_string(kMaxMxfp4Scale),
                        std::to_string(block[0]));
    }
  }
  if constexpr (kFormat.type == TensorType::tq2_0) {
    unsigned reserved = 0;  // one bit for each pair that is 3
    for (std::size_t j = 0; j < 64; ++j) reserved |= unsigned{block[j]} & (unsigned{block[j]} >> 1) & 0x55u;
    if (reserved != 0) {
      BlockFields f;
      Codec::unpack(block, f);
      return reserved_code_error("tq2_0", first + find_reserved_code(f.codes.data(), kFormat.length));
    }
  }
  return {};
}

}  // namespace detail

/// out[e] of one block of fields, by the formula in block_fields.h; writes info(type).block_length floats. A reserved
/// ternary code 3 gives 2 d, as the formula says: decode_row() is the function that refuses it.
/// Precondition: block_format(type) is not null.
inline void decode_fields(TensorType type, const BlockFields& fields, float* out) {
  const bool known = with_block_codec(
      type,
      [&](auto codec) {
        detail::decode_fields(codec, fields, out);
        return true;
      },
      false);
  TRITIUM_ASSUME(known);
  (void)known;
}

/// out[i] = element i of a row of n elements in file format, for every type but i2_s; i32, i64 and f64 round to
/// nearest. `row` holds n / block_length blocks. Infinities and NaN in float tensors and scales pass through;
/// check_tensor() finds them.
/// Errors: invalid_argument (n is not a whole number of blocks; i2_s), invalid_file naming the element of a reserved
/// ternary code (tq2_0); out is then written up to the block before it.
inline Status decode_row(TensorType type, const std::byte* row, std::size_t n, float* out) {
  TRITIUM_TRY(detail::check_row_length(type, n));
  switch (type) {
    case TensorType::f32:
      if (n != 0) std::memcpy(out, row, n * sizeof(float));
      return {};
    case TensorType::f16: return detail::decode_numbers<f16>(row, n, out), Status{};
    case TensorType::bf16: return detail::decode_numbers<bf16>(row, n, out), Status{};
    case TensorType::f64: return detail::decode_numbers<double>(row, n, out), Status{};
    case TensorType::i8: return detail::decode_numbers<std::int8_t>(row, n, out), Status{};
    case TensorType::i16: return detail::decode_numbers<std::int16_t>(row, n, out), Status{};
    case TensorType::i32: return detail::decode_numbers<std::int32_t>(row, n, out), Status{};
    case TensorType::i64: return detail::decode_numbers<std::int64_t>(row, n, out), Status{};
    case TensorType::u8: return detail::decode_numbers<std::uint8_t>(row, n, out), Status{};
    case TensorType::i2_s: return detail::i2_s_row_error();
    default: break;
  }
  return with_block_codec(
      type,
      [&](auto codec) -> Status {
        using Codec = decltype(codec);
        const auto* block = reinterpret_cast<const std::uint8_t*>(row);
        BlockFields fields;
        for (std::size_t first = 0; first < n; first += Codec::kFormat.length) {
          Codec::unpack(block, fields);
          if constexpr (Codec::kFormat.type == TensorType::tq2_0) {
            const std::size_t bad = detail::find_reserved_code(fields.codes.data(), Codec::kFormat.length);
            if (bad != Codec::kFormat.length) return detail::reserved_code_error("tq2_0", first + bad);
          }
          detail::decode_fields(codec, fields, out + first);
          block += info(Codec::kFormat.type).block_bytes;
        }
        return {};
      },
      Status{});
}

/// What a loader asks of a tensor before it trusts the payload: `data` has exactly tensor_bytes(type, rows, cols)
/// bytes, plain floats and scales are finite, no ternary code is the reserved 3. Reads block types at their scales
/// only, except the ternary ones and plain floats, which it reads whole.
/// Errors: invalid_argument (shape, size of `data`), invalid_file naming the first bad element, counted over all rows.
inline Status check_tensor(TensorType type, std::span<const std::byte> data, std::size_t rows, std::size_t cols) {
  TRITIUM_ASSIGN(const std::size_t expected, tensor_bytes(type, rows, cols));
  TRITIUM_TRY(detail::check_size(info(type).name, expected, data.size()));
  const std::size_t n = rows * cols;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(data.data());
  if (type == TensorType::i2_s) {
    TRITIUM_TRY(i2_s_scale(data, rows, cols));
    std::array<std::uint8_t, 128> codes{};
    for (std::size_t block = 0; block < n / 128; ++block) {
      detail::unpack_i2_s_block(bytes + 32 * block, codes.data());
      const std::size_t bad = detail::find_reserved_code(codes.data(), codes.size());
      if (bad != codes.size()) return detail::reserved_code_error("i2_s", 128 * block + bad);
    }
    return {};
  }
  if (block_format(type) == nullptr) {
    const std::size_t bad = detail::find_not_finite(type, data.data(), n);
    if (bad == n) return {};
    float value = 0.0f;
    const TensorTypeInfo& t = info(type);
    TRITIUM_TRY(decode_row(type, data.data() + bad * t.block_bytes, 1, &value));
    return detail::not_finite_error(Errc::invalid_file, type, bad, value);
  }
  return with_block_codec(
      type,
      [&](auto codec) -> Status {
        constexpr const BlockFormat& kFormat = decltype(codec)::kFormat;
        for (std::size_t first = 0; first < n; first += kFormat.length) {
          TRITIUM_TRY(detail::check_block(codec, bytes + first / kFormat.length * info(type).block_bytes, first));
        }
        return {};
      },
      Status{});
}

TRITIUM_NAMESPACE_END
