// SPDX-License-Identifier: Apache-2.0
// AlignedBuffer: an owning run of bytes on a 64-byte boundary (one cache line, one panel line).
//
// Large buffers sit on 2 MiB boundaries and ask for huge pages: streaming 250 MB of weights through 4 KiB pages costs
// one TLB miss every 64 lines.
#pragma once

#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "tritium/core/no_throw.h"

TRITIUM_NAMESPACE_BEGIN

/// Bytes of a cache line and of a panel line: every buffer begins on a multiple of it.
inline constexpr std::size_t kLineBytes = 64;
/// Large buffers begin on a multiple of this and ask for huge pages.
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// a * b, or an out_of_range error when it does not fit: the only way sizes from files are multiplied.
inline Result<std::size_t> checked_mul(std::size_t a, std::size_t b) {
  std::size_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return Error{Errc::out_of_range, "size does not fit in 64 bits"};
  return product;
}
/// a + b, or an out_of_range error when it does not fit.
inline Result<std::size_t> checked_add(std::size_t a, std::size_t b) {
  std::size_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return Error{Errc::out_of_range, "size does not fit in 64 bits"};
  return sum;
}

/// The least multiple of `multiple` that is not below `value`.
constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
/// ceil(value / divisor).
constexpr std::size_t div_up(std::size_t value, std::size_t divisor) { return (value + divisor - 1) / divisor; }

/// Bytes on a 64-byte boundary (2 MiB for large ones), owned, of a size that stays. Moves, does not copy.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Takes the bytes; the other one is left empty.
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  /// Gives its own bytes back and takes the other's.
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    if (this != &other) {
      std::free(data_);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { std::free(data_); }

  /// `bytes` of uninitialised memory, 64-byte aligned, with at least 64 readable bytes after the end.
  static Result<AlignedBuffer> allocate(std::size_t bytes) {
    const std::size_t alignment = bytes >= 4 * kHugePageBytes ? kHugePageBytes : kLineBytes;
    std::size_t padded = 0;
    if (__builtin_add_overflow(bytes, kLineBytes + alignment - 1, &padded)) return no_memory(bytes);
    padded -= padded % alignment;
    AlignedBuffer buffer;
    buffer.data_ = static_cast<std::byte*>(std::aligned_alloc(alignment, padded));
    if (buffer.data_ == nullptr) return no_memory(bytes);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == kHugePageBytes) (void)madvise(buffer.data_, padded, MADV_HUGEPAGE);
#endif
    buffer.size_ = bytes;
    return buffer;
  }
  /// As allocate(), all bytes zero.
  static Result<AlignedBuffer> allocate_zeroed(std::size_t bytes) {
    auto buffer = allocate(bytes);
    if (buffer.ok() && bytes != 0) std::memset(buffer->data(), 0, bytes);
    return buffer;
  }

  [[nodiscard]] std::byte* data() { return data_; }              ///< The first byte; null when empty.
  [[nodiscard]] const std::byte* data() const { return data_; }  ///< The first byte; null when empty.
  [[nodiscard]] std::size_t size() const { return size_; }       ///< Bytes.
  [[nodiscard]] bool empty() const { return size_ == 0; }        ///< Whether there are no bytes.
  /// The same memory as numbers of a plain type.
  template <class T>
  [[nodiscard]] T* as() {
    return reinterpret_cast<T*>(data_);
  }
  /// The same memory as numbers of a plain type.
  template <class T>
  [[nodiscard]] const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  static Error no_memory(std::size_t bytes) {
    const auto with_size = [&]() -> Status {
      return Error{Errc::out_of_memory, "not enough memory for a buffer of " + std::to_string(bytes) + " bytes"};
    };
    return no_throw(with_size).error();
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A fixed number of trivial elements in an AlignedBuffer.
template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Array() = default;
  /// `count` elements, not set to anything. Errors: out_of_memory.
  static Result<Array> allocate(std::size_t count) {
    TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(count, sizeof(T)));
    TRITIUM_ASSIGN(AlignedBuffer buffer, AlignedBuffer::allocate(bytes));
    Array array;
    array.buffer_ = std::move(buffer);
    array.size_ = count;
    return array;
  }
  /// `count` elements of zero. Errors: out_of_memory.
  static Result<Array> allocate_zeroed(std::size_t count) {
    TRITIUM_ASSIGN(Array array, allocate(count));
    if (count != 0) std::memset(static_cast<void*>(array.data()), 0, count * sizeof(T));
    return array;
  }
  [[nodiscard]] T* data() { return buffer_.as<T>(); }              ///< The first element.
  [[nodiscard]] const T* data() const { return buffer_.as<T>(); }  ///< The first element.
  [[nodiscard]] std::size_t size() const { return size_; }         ///< Elements.
  [[nodiscard]] bool empty() const { return size_ == 0; }          ///< Whether there are none.
  /// Element i < size(), a checked precondition.
  T& operator[](std::size_t i) {
    TRITIUM_ASSUME(i < size_);
    return data()[i];
  }
  /// Element i < size(), a checked precondition.
  const T& operator[](std::size_t i) const {
    TRITIUM_ASSUME(i < size_);
    return data()[i];
  }

 private:
  AlignedBuffer buffer_;
  std::size_t size_ = 0;
};

TRITIUM_NAMESPACE_END
