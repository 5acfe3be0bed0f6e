// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files: matrices written row by row, arrays of f32, f64 and i64 read back.
//
// A .npy file is a magic, a version, a header in the form of a Python dictionary padded so that the data begins on a
// 64-byte boundary, and the array, row-major. Only that form of the dictionary is understood that NumPy itself writes.
// Source: NumPy documentation, numpy.lib.format, versions 1.0 and 2.0.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tritium/core/buffer.h"
#include "tritium/core/no_throw.h"
#include "tritium/io/byte_reader.h"
#include "tritium/io/file_writer.h"
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

template <class T>
concept NpyElement = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t>;

namespace detail {

inline constexpr std::string_view kNpyMagic("\x93NUMPY", 6);
inline constexpr std::size_t kNpyMaxRank = 8;

template <NpyElement T>
constexpr std::string_view npy_descriptor() {
  if constexpr (std::is_same_v<T, float>) {
    return "<f4";
  } else if constexpr (std::is_same_v<T, double>) {
    return "<f8";
  } else {
    return "<i8";
  }
}

}  // namespace detail

/// Streams a (rows, cols) matrix of T. The file appears with finish().
template <NpyElement T>
class NpyWriter {
 public:
  /// Errors: out_of_range (size), io.
  static Result<NpyWriter> create(std::string_view path, std::size_t rows, std::size_t cols) {
    return no_throw([&]() -> Result<NpyWriter> {
      NpyWriter writer;
      TRITIUM_ASSIGN(writer.elements_, checked_mul(rows, cols));
      TRITIUM_ASSIGN(const std::size_t data_bytes, checked_mul(writer.elements_, sizeof(T)));
      std::string header = concat("{'descr': '", detail::npy_descriptor<T>(), "', 'fortran_order': False, 'shape': (",
                                  rows, ", ", cols, "), }");
      constexpr std::size_t kStartBytes = 6 + 2 + 2;  // magic, version, header length
      header.resize(round_up(kStartBytes + header.size() + 1, 64) - kStartBytes - 1, ' ');
      header += '\n';
      TRITIUM_ASSIGN(const std::size_t total, checked_add(kStartBytes + header.size(), data_bytes));
      TRITIUM_ASSIGN(writer.file_, AtomicFileWriter::create(path));
      TRITIUM_TRY(writer.file_.reserve(total));
      const char version_and_length[] = {1, 0, static_cast<char>(header.size() & 0xFF),
                                         static_cast<char>(header.size() >> 8)};
      TRITIUM_TRY(writer.file_.write(detail::kNpyMagic));
      TRITIUM_TRY(writer.file_.write(std::string_view(version_and_length, sizeof(version_and_length))));
      TRITIUM_TRY(writer.file_.write(header));
      return writer;
    });
  }

  /// The next elements in row-major order: a row, several, or a part of one.
  /// Errors: invalid_argument (more than the matrix has), io.
  [[nodiscard]] Status append(std::span<const T> values) {
    if (values.size() > elements_ - appended_) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, "too many values for the matrix", printable_path(file_.path()),
                          concat("at most ", elements_ - appended_), std::to_string(values.size()));
      });
    }
    appended_ += values.size();
    return file_.write(std::as_bytes(values));
  }

  /// Errors: invalid_argument (values are missing), io.
  [[nodiscard]] Status finish() {
    if (appended_ != elements_) {
      return no_throw([&]() -> Status {
        return make_error(Errc::invalid_argument, "values are missing", printable_path(file_.path()),
                          std::to_string(elements_), std::to_string(appended_));
      });
    }
    return file_.commit();
  }

 private:
  NpyWriter() = default;

  AtomicFileWriter file_;
  std::size_t elements_ = 0;
  std::size_t appended_ = 0;
};

/// Numbers of an .npy file with their shape.
template <NpyElement T>
struct NpyArray {
  std::vector<std::size_t> shape;  ///< outermost first; empty for a single value
  std::vector<T> values;           ///< row-major
};

namespace detail {

/// Walks the header's text; every step says whether it found what it looked for.
class NpyHeader {
 public:
  explicit NpyHeader(std::string_view text) : left_(text) {}

  bool take(std::string_view expected) {
    while (!left_.empty() && left_.front() == ' ') left_.remove_prefix(1);
    if (!left_.starts_with(expected)) return false;
    left_.remove_prefix(expected.size());
    return true;
  }
  bool take_number(std::size_t& value) {
    (void)take("");
    const auto [end, code] = std::from_chars(left_.data(), left_.data() + left_.size(), value);
    if (code != std::errc()) return false;
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    return true;
  }
  /// "(2, 3)", "(5,)", "()"
  bool take_shape(std::vector<std::size_t>& shape) {
    if (!take("(")) return false;
    while (!take(")")) {
      std::size_t dim = 0;
      if (shape.size() == kNpyMaxRank || !take_number(dim)) return false;
      shape.push_back(dim);
      if (take(",")) continue;
      return shape.size() > 1 && take(")");
    }
    return true;
  }
  [[nodiscard]] std::string_view left() const { return left_; }

 private:
  std::string_view left_;
};

}  // namespace detail

/// An array in place: the file stays mapped, and only what is looked at is read.
template <NpyElement T>
class NpyFile {
 public:
  /// Errors: io; invalid_file (not .npy, damaged); unsupported (another element type or order);
  /// out_of_memory (data that is not aligned is copied).
  static Result<NpyFile> open(std::string_view path) {
    return no_throw([&]() -> Result<NpyFile> {
      NpyFile npy;
      TRITIUM_ASSIGN(npy.file_, MappedFile::open(path));
      ByteReader reader(npy.file_.bytes(), path);
      TRITIUM_ASSIGN(const auto magic, reader.read_bytes(detail::kNpyMagic.size(), "magic"));
      if (std::memcmp(magic.data(), detail::kNpyMagic.data(), magic.size()) != 0) {
        return reader.error_at(0, Errc::invalid_file, "not a .npy file", "magic", "\\x93NUMPY", "something else");
      }
      TRITIUM_ASSIGN(const std::uint16_t version, reader.read<std::uint16_t>("version"));
      if (version != 1 && version != 2) {
        return reader.error_at(6, Errc::unsupported, "unsupported .npy version", "version", "1.0 or 2.0",
                               concat(version & 255, ".", version >> 8));
      }
      std::size_t header_bytes = 0;
      if (version == 1) {
        TRITIUM_ASSIGN(header_bytes, reader.read<std::uint16_t>("header length"));
      } else {
        TRITIUM_ASSIGN(header_bytes, reader.read<std::uint32_t>("header length"));
      }
      const std::size_t header_at = reader.position();
      TRITIUM_ASSIGN(const auto text, reader.read_bytes(header_bytes, "header"));
      detail::NpyHeader header({reinterpret_cast<const char*>(text.data()), text.size()});
      const bool descriptor = header.take("{") && header.take("'descr':") && header.take("'") &&
                              header.take(detail::npy_descriptor<T>()) && header.take("'");
      if (!descriptor || !header.take(",") || !header.take("'fortran_order':") || !header.take("False")) {
        return reader.error_at(header_at, Errc::unsupported, "unsupported .npy array", "header",
                               concat("row-major ", detail::npy_descriptor<T>()),
                               printable({reinterpret_cast<const char*>(text.data()), text.size()}));
      }
      const bool shape = header.take(",") && header.take("'shape':") && header.take_shape(npy.shape_);
      (void)(shape && header.take(","));
      if (!shape || !header.take("}") || !header.take("\n") || !header.left().empty()) {
        return reader.error_at(header_at, Errc::invalid_file, "bad .npy header", "header", "a shape",
                               printable({reinterpret_cast<const char*>(text.data()), text.size()}));
      }
      std::size_t elements = 1;
      for (const std::size_t dim : npy.shape_) {
        TRITIUM_ASSIGN(elements, checked_mul(elements, dim));
      }
      TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(elements, sizeof(T)));
      if (bytes != reader.remaining()) {
        return reader.error_at(reader.position(), Errc::invalid_file, "wrong amount of data", "data",
                               concat(bytes, " bytes"), std::to_string(reader.remaining()));
      }
      TRITIUM_ASSIGN(const auto data, reader.read_bytes(bytes, "data"));
      const std::byte* first = data.data();
      if (reinterpret_cast<std::uintptr_t>(first) % alignof(T) != 0) {  // NumPy aligns its data; others need not
        TRITIUM_ASSIGN(npy.copy_, AlignedBuffer::allocate(bytes));
        std::memcpy(npy.copy_.data(), first, bytes);
        first = npy.copy_.data();
      }
      if (elements != 0) npy.values_ = {reinterpret_cast<const T*>(first), elements};
      return npy;
    });
  }

  /// Outermost first; empty for a single value.
  [[nodiscard]] const std::vector<std::size_t>& shape() const { return shape_; }
  /// All elements, row-major.
  [[nodiscard]] std::span<const T> values() const { return values_; }
  /// Errors: io, when the file has another size or modification time than when it was opened.
  [[nodiscard]] Status check_unchanged() const { return file_.check_unchanged(); }

 private:
  NpyFile() = default;

  MappedFile file_;
  AlignedBuffer copy_;
  std::vector<std::size_t> shape_;
  std::span<const T> values_;
};

/// Reads a whole array. Errors: as NpyFile::open, out_of_memory.
template <NpyElement T>
Result<NpyArray<T>> read_npy(std::string_view path) {
  return no_throw([&]() -> Result<NpyArray<T>> {
    TRITIUM_ASSIGN(const NpyFile<T> file, NpyFile<T>::open(path));
    return NpyArray<T>{file.shape(), {file.values().begin(), file.values().end()}};
  });
}

TRITIUM_NAMESPACE_END
