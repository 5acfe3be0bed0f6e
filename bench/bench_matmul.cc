// SPDX-License-Identifier: Apache-2.0
// Every packed format on the shapes of real layers: one token in cache, one token from memory, a few tokens, prefill.
//
// matmul/<format>/<layer>/m:<rows>/threads:<t>   the layers of real models
// cache/<format>/m:<rows>/threads:<t>             512 KB of weights a thread, in the second-level cache
// stream/<format>/m:<rows>/threads:<t>            256 MB of weights, from memory
// Counters: weights/cycle, GB/s of packed weights, share of the best stream rate, TOPS, share of the dot-product peak.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>

#include "bench.h"
#include "limits.h"
#include "matrices.h"
#include "shapes.h"
#include "tritium/core/thread_pool.h"

namespace {

using namespace tritium;
using bench::random_matrix;
using bench::random_rows;
using bench::wrong_outputs;

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
