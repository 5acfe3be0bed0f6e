// SPDX-License-Identifier: Apache-2.0
// Every packed format on the shapes of real layers: one token in cache, one token from memory, a few tokens, prefill.
//
// matmul/<format>/<layer>/m:<rows>/threads:<t>   the layers of real models
// cache/<format>/m:<rows>/threads:<t>             512 KB of weights a thread, in the second-level cache
// stream/<format>/m:<rows>/threads:<t>            256 MB of weights, from memory
// Counters: weights/cycle, GB/s of packed weights, share of the best stream rate, TOPS, share of the dot-product peak.
#include <benchmark/benchmark.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>

#include "bench.h"
#include "limits.h"
#include "shapes.h"
#include "tritium/core/thread_pool.h"
#include "tritium/format/pack.h"
#include "tritium/ops/activation_rows.h"

namespace {

using namespace tritium;

/// Panels of random codes and sane scales: packing floats would take longer than the benchmark.
Result<PackedMatrix> random_matrix(PackFormat format, std::size_t n, std::size_t k) {
  TRITIUM_ASSIGN(PackedMatrix w, PackedMatrix::allocate(format, n, k));
  std::mt19937_64 rng(7);
  auto* words = reinterpret_cast<std::uint64_t*>(w.panel(0));
  for (std::size_t i = 0; i < w.bytes() / 8; ++i) words[i] = rng();
  visit_format(
      format,
      [&](auto f) {
        using F = decltype(f);
        for (std::size_t p = 0; p < w.n_panels(); ++p) {
          std::uint8_t* panel = w.panel(p);
          if constexpr (F::kPrefixBytes != 0) {
            for (std::size_t r = 0; r < kPanelRows; ++r)
              reinterpret_cast<float*>(panel)[r] = 0.01f + 0.001f * static_cast<float>(r);
          } else {
            const std::size_t halves =
                F::kTwoLevel ? (F::kHasMin ? 32 : 16) : F::kGroupsInUnit * (F::kHasMin ? 32 : 16);
            for (std::size_t u = 0; u < F::units(k); ++u) {
              for (std::size_t i = 0; i < halves; ++i) {
                const f16 h = to_f16(0.01f + 0.0001f * static_cast<float>((i + u) % 64));
                std::memcpy(panel + u * F::kUnitBytes + 2 * i, &h, sizeof(h));
              }
            }
          }
        }
      },
      [&](auto f) {
        using T = typename decltype(f)::Element;
        for (std::size_t i = 0; i < w.bytes() / sizeof(T); ++i) {
          const float v = 0.01f * static_cast<float>(static_cast<int>(i % 201) - 100);
          T value{};
          if constexpr (std::is_same_v<T, float>) value = v;
          if constexpr (std::is_same_v<T, f16>) value = to_f16(v);
          if constexpr (std::is_same_v<T, bf16>) value = to_bf16(v);
          std::memcpy(w.panel(0) + i * sizeof(T), &value, sizeof(T));
        }
      });
  return w;
}

/// The matrix of the benchmark before when it is the same one: Google Benchmark calls a function several times to find its
/// number of iterations, and 256 MB of random bits take longer than what is timed.
Result<const PackedMatrix*> kept_matrix(bench::Machine& machine, PackFormat format, std::size_t n, std::size_t k) {
  PackedMatrix& w = machine.matrix;
  if (w.empty() || w.format() != format || w.n() != n || w.k() != k) {
    w = PackedMatrix();
    TRITIUM_ASSIGN(w, random_matrix(format, n, k));
  }
  return &w;
}

/// Rows of noise in the form a format reads.
Result<ActivationRows> random_rows(OpContext& context, const PackedMatrix& w, std::size_t m) {
  TRITIUM_ASSIGN(ActivationRows rows, ActivationRows::create(m, w.k()));
  rows.bind(m, w.k());
  MatmulOutput out;
  out.w = &w;
  const ActivationRows::Forms forms = ActivationRows::Forms::of({&out, 1});
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (std::size_t r = 0; r < m; ++r) {
    rows.produce(context.kernels(), r, forms, [&](std::size_t, float* to) {
      for (std::size_t i = 0; i < w.k(); ++i) to[i] = normal(rng);
    });
  }
  return rows;
}

/// What a kernel takes input i of row r for.
double value_of(const MatmulInput& x, const PackFormatInfo& format, std::size_t r, std::size_t i) {
  if (format.is_float) return static_cast<double>(x.f32(r, i));
  const Q8View& q = x.q8[activation_form(format.activation_group())];
  const double scale = static_cast<double>(q.scales[r * q.groups + (q.group == 0 ? 0 : i / q.group)]);
  return scale * q.codes[r * q.stride + i];
}

/// Empty when a sample of outputs equals the scalar product of decoded values, else what is wrong.
std::string wrong_outputs(const PackedMatrix& w, const MatmulInput& x, const std::vector<float>& y, std::size_t m) {
  std::vector<float> row(w.k());
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t r = i * 7919 % m;
    const std::size_t o = (i * 104729 + 5) % w.n();
    w.decode_row(o, row.data());
    double sum = 0, magnitude = 0;
    for (std::size_t k = 0; k < w.k(); ++k) {
      const double term = static_cast<double>(row[k]) * value_of(x, w.format_info(), r, k);
      sum += term;
      magnitude += std::fabs(term);
    }
    const double found = y[r * w.n() + o];
    if (!(std::fabs(found - sum) <= 1e-5 * magnitude + 1e-6)) {
      return "row " + std::to_string(r) + " output " + std::to_string(o) + ": expected " + std::to_string(sum) +
             ", found " + std::to_string(found);
    }
  }
  return "";
}

void run(benchmark::State& state, const PackedMatrix& w, std::size_t m, bench::Machine& machine, bool from_memory) {
  OpContext& context = machine.context;
  const Result<ActivationRows> rows = random_rows(context, w, m);
  if (!rows.ok()) return state.SkipWithError(rows.error().message.c_str());
  const MatmulInput x = rows->view();
  std::vector<float> y(m * w.n());
  MatmulOutput out;
  out.w = &w;
  out.y = {y.data(), m, w.n()};
  Status status = matmul(context, x, {&out, 1});
  const std::string wrong = status.ok() ? wrong_outputs(w, x, y, m) : status.error().message;
  if (!wrong.empty()) return state.SkipWithError(("wrong result: " + wrong).c_str());
  for (auto _ : state) {
    status = matmul(context, x, {&out, 1});
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const double weights = static_cast<double>(w.n()) * static_cast<double>(w.k());
  const double threads = static_cast<double>(context.n_threads());
  using benchmark::Counter;
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(weights) * static_cast<std::int64_t>(m));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(w.bytes()));
  const auto rate = [&](double per_iteration) { return Counter(per_iteration, Counter::kIsIterationInvariantRate); };
  if (m <= 16) {
    state.counters["weights/cycle"] = rate(weights / (machine.limits.clock_ghz * 1e9 * threads));
    state.counters["GB/s"] = rate(static_cast<double>(w.bytes()) / 1e9);
    if (from_memory)
      state.counters["of_read_rate"] = rate(static_cast<double>(w.bytes()) / 1e9 / machine.limits.best_read());
  }
  state.counters["TOPS"] = rate(2.0 * weights * static_cast<double>(m) / 1e12);
  if (m > 16 && !w.format_info().is_float)
    state.counters["of_dot_peak"] = rate(2.0 * weights * static_cast<double>(m) / 1e12 / machine.limits.dot_tops);
}

}  // namespace

namespace bench {

void register_matmul(Machine& machine) {
  const std::string threads = "/threads:" + std::to_string(machine.context.n_threads());
  for (const PackFormatInfo& format : kPackFormats) {
    for (const Shape& shape : kShapes) {
      for (const std::size_t m :
           {std::size_t{1}, std::size_t{2}, std::size_t{4}, std::size_t{8}, std::size_t{128}, std::size_t{512}}) {
        benchmark::RegisterBenchmark(
            ("matmul/" + std::string(format.name) + "/" + shape.name + "/m:" + std::to_string(m) + threads).c_str(),
            [&machine, &format, shape, m](benchmark::State& state) {
              const auto w = kept_matrix(machine, format.format, shape.n, shape.k);
              if (!w.ok()) return state.SkipWithError(w.error().message.c_str());
              run(state, **w, m, machine, false);
            })
            ->UseRealTime();
      }
    }
    const auto sized = [&](const char* kind, std::size_t m, std::size_t k, std::size_t bytes, bool from_memory) {
      benchmark::RegisterBenchmark(
          (kind + std::string("/") + std::string(format.name) + "/m:" + std::to_string(m) + threads).c_str(),
          [&machine, &format, m, k, bytes, from_memory](benchmark::State& state) {
            const std::size_t n = round_up(bytes / (format.panel_bytes(k) / kPanelRows), 64);
            const auto w = kept_matrix(machine, format.format, n, k);
            if (!w.ok()) return state.SkipWithError(w.error().message.c_str());
            run(state, **w, m, machine, from_memory);
          })
          ->UseRealTime();
    };
    for (const std::size_t m : {1, 2, 4, 8, 16})
      sized("cache", m, 2048, machine.context.n_threads() * (512 << 10), false);
    for (const std::size_t m : {1, 2, 4, 8, 16}) sized("stream", m, 2560, std::size_t{256} << 20, true);
  }
}

}  // namespace bench
