// SPDX-License-Identifier: Apache-2.0
#include "tritium/interop/eigen.h"

#include <catch2/catch_test_macros.hpp>
#include <utility>

using namespace tritium;

namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Columns = Eigen::MatrixXf;
using AnyStride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;

template <class X>
concept Viewable = requires(X&& x) { as_view(std::forward<X>(x)); };

template <class X, class T>
constexpr bool kGives = std::is_same_v<decltype(as_view(std::declval<X>())), MatrixView<T>>;

// Row-major with contiguous rows, or it does not compile.
static_assert(Viewable<Rows&>);
static_assert(Viewable<Eigen::Map<Rows>&>);
static_assert(Viewable<Eigen::Ref<Rows>&>);
static_assert(Viewable<Eigen::Map<Rows, 0, Eigen::OuterStride<>>>);
static_assert(Viewable<decltype(std::declval<Rows&>().topRows(1))>);
static_assert(Viewable<decltype(std::declval<Columns&>().transpose())>);
static_assert(Viewable<decltype(std::declval<Eigen::VectorXf&>().transpose())>);
static_assert(!Viewable<Columns&>);
static_assert(!Viewable<Eigen::Map<Columns>&>);
static_assert(!Viewable<Eigen::Ref<Columns>&>);
static_assert(!Viewable<decltype(std::declval<Rows&>().transpose())>);
static_assert(!Viewable<Eigen::Map<Rows, 0, AnyStride>&>);
static_assert(!Viewable<Eigen::Map<Rows, 0, Eigen::InnerStride<2>>&>);
// Without memory, or with memory that ends with the expression.
static_assert(!Viewable<decltype(std::declval<Rows&>() + std::declval<Rows&>())>);
static_assert(!Viewable<decltype(std::declval<Rows&>() * std::declval<Rows&>())>);
static_assert(!Viewable<Rows>);
static_assert(!Viewable<float*>);
// What is constant stays constant.
static_assert(kGives<Rows&, float>);
static_assert(kGives<const Rows&, const float>);
static_assert(kGives<Eigen::Map<const Rows>&, const float>);
static_assert(kGives<Eigen::Ref<const Rows>&, const float>);
static_assert(kGives<decltype(std::declval<Columns&>().transpose()), float>);
static_assert(kGives<decltype(std::declval<const Columns&>().transpose()), const float>);

/// Element (r, c) is 100 r + c.
Rows counted(Eigen::Index rows, Eigen::Index cols) {
  return Rows::NullaryExpr(rows, cols, [](Eigen::Index r, Eigen::Index c) { return static_cast<float>(100 * r + c); });
}

template <class X>
void check_same(const X& x, const MatrixView<const float>& view) {
  REQUIRE(view.rows == static_cast<std::size_t>(x.rows()));
  REQUIRE(view.cols == static_cast<std::size_t>(x.cols()));
  REQUIRE(view.stride >= view.cols);
  for (Eigen::Index r = 0; r < x.rows(); ++r) {
    for (Eigen::Index c = 0; c < x.cols(); ++c)
      CHECK(&view(static_cast<std::size_t>(r), static_cast<std::size_t>(c)) == &x.coeffRef(r, c));
  }
}

}  // namespace

TEST_CASE("a view of an Eigen expression has its elements", "[interop]") {
  Rows x = counted(5, 7);
  check_same(x, as_view(x));
  check_same(std::as_const(x), as_view(std::as_const(x)));
  check_same(x.middleRows(2, 2), as_view(x.middleRows(2, 2)));
  check_same(x.block(1, 2, 3, 4), as_view(x.block(1, 2, 3, 4)));
  check_same(x.row(3), as_view(x.row(3)));
  check_same(x.row(3).segment(2, 3), as_view(x.row(3).segment(2, 3)));
  Eigen::Ref<Rows> ref = x.leftCols(4);
  check_same(ref, as_view(ref));
  Eigen::Map<Rows, 0, Eigen::OuterStride<>> map(x.data(), 3, 2, Eigen::OuterStride<>(7));
  check_same(map, as_view(map));
  Columns columns = x.transpose();  // a token in each column
  check_same(columns.transpose(), as_view(columns.transpose()));
  check_same(columns.rightCols(2).transpose(), as_view(columns.rightCols(2).transpose()));
  Eigen::VectorXf vector = x.col(1);
  check_same(vector.transpose(), as_view(vector.transpose()));
  Eigen::Matrix<float, 2, 3, Eigen::RowMajor> fixed;
  check_same(fixed, as_view(fixed));
  as_view(x)(4, 6) = -1.0f;
  CHECK(x(4, 6) == -1.0f);
}

TEST_CASE("an Eigen matrix of a view has its elements", "[interop]") {
  Rows x = counted(4, 6);
  const MatrixView<float> part(x.data() + 1, 3, 4, 6);
  auto map = as_eigen(part);
  CHECK(map == counted(4, 6).block(0, 1, 3, 4));
  check_same(map, as_view(map));
  map(2, 3) = -1.0f;
  CHECK(x(2, 4) == -1.0f);
  const auto constant = as_eigen(MatrixView<const float>(part));
  static_assert(std::is_same_v<decltype(constant.data()), const float*>);
  CHECK(constant == map);
}
