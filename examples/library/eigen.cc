// SPDX-License-Identifier: Apache-2.0
// In Eigen code: activations and results stay Eigen's matrices, the product with packed weights is Tritium's.
//
// Tritium's rows are contiguous, Eigen's default is contiguous columns. as_view() takes either, without a copy and without
// a way to mix them up: a row-major matrix as it is, a column-major one by its transpose.
#include <tritium/interop/eigen.h>
#include <tritium/tritium.h>

#include <cstdio>

int main() {
  using namespace tritium;
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  constexpr Eigen::Index n = 96, k = 256, m = 8;  // outputs, inputs, tokens
  std::srand(1);                                  // Eigen's Random() draws from it
  const Rows weights = Rows::Random(n, k);
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(k, m);  // column-major, a token in each column
  Eigen::MatrixXf y(n, m);

  auto w = pack({TensorType::f32, reinterpret_cast<const std::byte*>(weights.data()), n, k}, PackFormat::int8);
  auto context = OpContext::create();
  if (!w.ok() || !context.ok()) return 1;
  // Y = W X in columns is the rows' Y^T = X^T W^T. as_view(x) does not compile.
  if (!matmul(*context, as_view(x.transpose()), *w, as_view(y.transpose())).ok()) return 1;

  // Row-major matrices, and a part of one: three tokens into the middle of a larger buffer of the engine.
  const Rows x_rows = x.transpose();
  std::vector<float> buffer(4 * 128, -1.0f);
  Eigen::Map<Rows> mapped(buffer.data(), 4, 128);
  if (!matmul(*context, as_view(x_rows.topRows(3)), *w, as_view(mapped.block(1, 32, 3, n))).ok()) return 1;

  // Eigen's own product, of the weights that were packed.
  Rows decoded(n, k);
  for (Eigen::Index r = 0; r < n; ++r) w->decode_row(static_cast<std::size_t>(r), decoded.row(r).data());
  const Eigen::MatrixXf expected = decoded * x;
  const float error = (y - expected).norm() / expected.norm();  // int8 activations
  const bool same = mapped.block(1, 32, 3, n) == y.leftCols(3).transpose();
  const bool kept = (mapped.row(0).array() == -1).all() && (mapped.leftCols(32).array() == -1).all();
  std::printf("relative error %.4f, rows and columns agree: %s\n", static_cast<double>(error), same ? "yes" : "no");
  return error < 0.01f && same && kept ? 0 : 1;
}
