// SPDX-License-Identifier: Apache-2.0
// MatrixView<T>: a pointer with rows, columns and a row stride. Owns nothing; indices are checked in debug builds.
#pragma once

#include <type_traits>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// A matrix that somebody else owns: element (r, c) is data[r * stride + c].
template <class T>
struct MatrixView {
  T* data = nullptr;       ///< element (0, 0)
  std::size_t rows = 0;    ///< rows
  std::size_t cols = 0;    ///< columns
  std::size_t stride = 0;  ///< elements from one row to the next, >= cols

  MatrixView() = default;
  /// Rows without a gap.
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_) : data(data_), rows(rows_), cols(cols_), stride(cols_) {}
  /// Rows `stride_` elements apart, at least `cols_`.
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_, std::size_t stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {
    TRITIUM_ASSUME(stride_ >= cols_);
  }
  /// A view of mutable elements is also a view of constant ones.
  template <class U>
    requires(std::is_const_v<T> && std::is_same_v<std::remove_const_t<T>, U>)
  MatrixView(const MatrixView<U>& other)  // NOLINT: implicit on purpose
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  /// The first element of row r.
  [[nodiscard]] T* row(std::size_t r) const {
    TRITIUM_ASSUME(r < rows);
    return data + r * stride;
  }
  /// The element of row r and column c.
  [[nodiscard]] T& operator()(std::size_t r, std::size_t c) const {
    TRITIUM_ASSUME(r < rows && c < cols);
    return data[r * stride + c];
  }
  /// Rows [first, first + count) as a view of their own.
  [[nodiscard]] MatrixView row_range(std::size_t first, std::size_t count) const {
    TRITIUM_ASSUME(first <= rows && count <= rows - first);
    return {data + first * stride, count, cols, stride};
  }
  [[nodiscard]] bool empty() const { return rows == 0 || cols == 0; }  ///< Whether there is no element.
};

TRITIUM_NAMESPACE_END
