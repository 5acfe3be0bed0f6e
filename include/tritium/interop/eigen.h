// SPDX-License-Identifier: Apache-2.0
// Eigen's matrices as views of Tritium and back, without a copy.
//
// A view is row-major, Eigen's matrices are column-major unless told otherwise: the pointer of one in the view of the other
// compiles and multiplies the transpose. Here the order is part of the types, so that the wrong one does not compile. The
// transpose of a column-major matrix is row-major: a batch with one token in each column is as_view(x.transpose()).
#pragma once

#include <Eigen/Core>

#include <concepts>

#include "tritium/core/view.h"

TRITIUM_NAMESPACE_BEGIN

/// Dense expressions with memory behind them (Matrix, Map, Ref, Block, Transpose, ...) whose rows are contiguous, as far as
/// their type tells. A vector counts as a matrix of one column.
template <class X>
concept EigenRows = requires(const X& x) {
  typename X::Scalar;
  x.data();
  x.outerStride();
} && bool(X::IsRowMajor) && int(X::InnerStrideAtCompileTime) == 1;

/// The elements of x as a view with x's rows and columns; of constant elements where x is constant. The view is good for as
/// long as x's memory: a Matrix that is about to go away is refused.
template <class X>
  requires EigenRows<std::remove_cvref_t<X>> &&
           (std::is_lvalue_reference_v<X> || !std::derived_from<X, Eigen::PlainObjectBase<X>>)
auto as_view(X&& x) {
  using T = std::remove_pointer_t<decltype(x.data())>;
  const auto rows = static_cast<std::size_t>(x.rows());
  const auto cols = static_cast<std::size_t>(x.cols());
  // Of a single row Eigen gives no stride that could be relied on.
  return MatrixView<T>(x.data(), rows, cols, rows <= 1 ? cols : static_cast<std::size_t>(x.outerStride()));
}

/// A view as an Eigen matrix: Eigen::Map, row-major, the view's elements and stride.
template <class T>
auto as_eigen(const MatrixView<T>& view) {
  using Rows = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Map = Eigen::Map<std::conditional_t<std::is_const_v<T>, const Rows, Rows>, 0, Eigen::OuterStride<>>;
  return Map(view.data, static_cast<Eigen::Index>(view.rows), static_cast<Eigen::Index>(view.cols),
             Eigen::OuterStride<>(static_cast<Eigen::Index>(view.stride)));
}

TRITIUM_NAMESPACE_END
