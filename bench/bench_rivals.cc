// SPDX-License-Identifier: Apache-2.0
// What an engine has without us: the same layers multiplied by Eigen and by plain xsimd loops.
//
//   rival/eigen_f32/<layer>/m:<rows>    Eigen's product of float matrices, 32 bits a weight
//   rival/eigen_int8/<layer>/m:<rows>   int8 weights and activations, cast to int32 as Eigen's products need it
//   rival/xsimd_f32/<layer>/m:<rows>    dot products of floats, four sums a row
//   rival/xsimd_int8/<layer>/m:<rows>   dot products of int8 widened to int32, which is what xsimd offers
// Compiled for the CPU at hand. Weights move 4 or 1 bytes where ours move 0.2 to 1.1.
#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <cmath>
#include <random>
#include <string>
#include <vector>
#include <xsimd/xsimd.hpp>

#include "bench.h"
#include "shapes.h"

namespace {

using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ByteMatrix = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using IntMatrix = Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class Matrix>
Matrix random_matrix(std::size_t rows, std::size_t cols, unsigned seed) {
  std::mt19937 rng(seed);
  Matrix w(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  for (Eigen::Index i = 0; i < w.size(); ++i)
    w.data()[i] = static_cast<typename Matrix::Scalar>(static_cast<int>(rng() % 255) - 127);
  return w;
}

/// sum x_i w_i in Lanes, element by element converted from what memory holds.
template <class Lane, class Stored>
Lane dot(const Stored* x, const Stored* w, std::size_t k) {
  using Batch = xsimd::batch<Lane>;
  constexpr std::size_t kSums = 4;
  Batch sum[kSums] = {Batch(Lane{0}), Batch(Lane{0}), Batch(Lane{0}), Batch(Lane{0})};
  std::size_t i = 0;
  for (; i + kSums * Batch::size <= k; i += kSums * Batch::size) {
    for (std::size_t s = 0; s < kSums; ++s) {
      const std::size_t at = i + s * Batch::size;
      sum[s] = xsimd::fma(Batch::load_unaligned(x + at), Batch::load_unaligned(w + at), sum[s]);
    }
  }
  Lane total = xsimd::reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < k; ++i) total += static_cast<Lane>(x[i]) * static_cast<Lane>(w[i]);
  return total;
}

template <class Output, class Weights, class Product>
void run(benchmark::State& state, const Weights& w, const Weights& x, bench::Machine& machine, Product&& product) {
  Output y = Output::Zero(x.rows(), w.rows());
  const auto multiply = [&] {  // outputs are shared by the threads, as our decode shares them
    machine.context.executor().run([&](std::size_t t) {
      const auto threads = static_cast<Eigen::Index>(machine.context.n_threads());
      const auto thread = static_cast<Eigen::Index>(t);
      product(y, w.rows() * thread / threads, w.rows() * (thread + 1) / threads);
    });
  };
  multiply();
  for (Eigen::Index i = 0; i < 8; ++i) {
    const Eigen::Index r = i * 7919 % x.rows(), o = i * 104729 % w.rows();
    double expected = 0;
    for (Eigen::Index c = 0; c < w.cols(); ++c) expected += static_cast<double>(x(r, c)) * static_cast<double>(w(o, c));
    if (std::fabs(static_cast<double>(y(r, o)) - expected) > 1e-5 * static_cast<double>(w.cols()) * 127 * 127)
      return state.SkipWithError("wrong result");
  }
  for (auto _ : state) {
    multiply();
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const double weights = static_cast<double>(w.size());
  const auto rate = [](double n) { return benchmark::Counter(n, benchmark::Counter::kIsIterationInvariantRate); };
  state.counters["weights/cycle"] =
      rate(weights / (machine.limits.clock_ghz * 1e9 * static_cast<double>(machine.context.n_threads())));
  state.counters["TOPS"] = rate(2 * weights * static_cast<double>(x.rows()) / 1e12);
}

template <class Lane, class Output, class Weights>
void xsimd_product(Output& y, const Weights& w, const Weights& x, Eigen::Index first, Eigen::Index last) {
  const auto k = static_cast<std::size_t>(w.cols());
  for (Eigen::Index o = first; o < last; ++o) {
    for (Eigen::Index r = 0; r < x.rows(); ++r)
      y(r, o) = dot<Lane>(x.data() + r * x.cols(), w.data() + o * w.cols(), k);
  }
}

}  // namespace

namespace bench {

void register_rivals(Machine& machine) {
  for (const Shape& shape : kShapes) {
    for (const std::size_t m : {1, 8, 128}) {
      const std::string layer = "/" + std::string(shape.name) + "/m:" + std::to_string(m) +
                                "/threads:" + std::to_string(machine.context.n_threads());
      const auto add = [&](const char* name, auto body) {
        benchmark::RegisterBenchmark(("rival/" + std::string(name) + layer).c_str(), [&machine, &shape, m,
                                                                                      body](benchmark::State& state) {
          body(state, machine, shape, m);
        })->UseRealTime();
      };
      add("eigen_f32", [](benchmark::State& state, Machine& on, const Shape& s, std::size_t rows) {
        const auto w = random_matrix<FloatMatrix>(s.n, s.k, 1), x = random_matrix<FloatMatrix>(rows, s.k, 2);
        run<FloatMatrix>(state, w, x, on, [&](FloatMatrix& y, Eigen::Index first, Eigen::Index last) {
          y.middleCols(first, last - first).noalias() = x * w.middleRows(first, last - first).transpose();
        });
      });
      add("eigen_int8", [](benchmark::State& state, Machine& on, const Shape& s, std::size_t rows) {
        const auto w = random_matrix<ByteMatrix>(s.n, s.k, 1), x = random_matrix<ByteMatrix>(rows, s.k, 2);
        run<IntMatrix>(state, w, x, on, [&](IntMatrix& y, Eigen::Index first, Eigen::Index last) {
          y.middleCols(first, last - first).noalias() =
              x.cast<std::int32_t>() * w.middleRows(first, last - first).cast<std::int32_t>().transpose();
        });
      });
      add("xsimd_f32", [](benchmark::State& state, Machine& on, const Shape& s, std::size_t rows) {
        const auto w = random_matrix<FloatMatrix>(s.n, s.k, 1), x = random_matrix<FloatMatrix>(rows, s.k, 2);
        run<FloatMatrix>(state, w, x, on, [&](FloatMatrix& y, Eigen::Index first, Eigen::Index last) {
          xsimd_product<float>(y, w, x, first, last);
        });
      });
      add("xsimd_int8", [](benchmark::State& state, Machine& on, const Shape& s, std::size_t rows) {
        const auto w = random_matrix<ByteMatrix>(s.n, s.k, 1), x = random_matrix<ByteMatrix>(rows, s.k, 2);
        run<IntMatrix>(state, w, x, on, [&](IntMatrix& y, Eigen::Index first, Eigen::Index last) {
          xsimd_product<std::int32_t>(y, w, x, first, last);
        });
      });
    }
  }
}

}  // namespace bench
