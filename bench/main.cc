// SPDX-License-Identifier: Apache-2.0
// tritium_bench: the kernels beside the limits of the machine they run on.
//
//   tritium_bench [--threads=N] [--limits=0] [Google Benchmark's options]
//   --limits=0 leaves out the few seconds that measuring the machine takes, and with them the shares of its limits
//   --benchmark_filter='matmul/int4g32/.*/m:1/'   --benchmark_out=FILE --benchmark_out_format=json
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "bench.h"
#include "tritium/core/thread_pool.h"

int main(int argc, char** argv) {
  std::size_t threads = 1;
  bool limits = true;
  std::vector<char*> arguments;
  for (int i = 0; i < argc; ++i) {
    if (std::strncmp(argv[i], "--threads=", 10) == 0)
      threads = static_cast<std::size_t>(std::strtoul(argv[i] + 10, nullptr, 10));
    else if (std::strcmp(argv[i], "--limits=0") == 0) limits = false;
    else arguments.push_back(argv[i]);
  }
  auto pool = tritium::ThreadPool::create(threads);
  if (!pool.ok()) return std::fprintf(stderr, "%s\n", pool.error().message.c_str()), 1;
  auto context = tritium::OpContext::create((*pool)->executor());
  if (!context.ok()) return std::fprintf(stderr, "%s\n", context.error().message.c_str()), 1;
  bench::Machine machine{*std::move(context), {}, {}};
  if (limits) machine.limits = bench::measure_limits(machine.context.kernels(), machine.context.executor());

  const auto number = [](double v) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.3f", v);
    return std::string(text);
  };
  benchmark::AddCustomContext("cpu", bench::machine_name());
  benchmark::AddCustomContext("tier", machine.context.kernels().tier);
  benchmark::AddCustomContext("threads", std::to_string(threads));
  benchmark::AddCustomContext("clock_ghz", number(machine.limits.clock_ghz));
  benchmark::AddCustomContext("dot_peak_tops", number(machine.limits.dot_tops));
  for (const bench::ReadRate& r : machine.limits.read)
    benchmark::AddCustomContext("read_gb_per_s_" + std::to_string(r.streams) + "_streams", number(r.gb_per_s));
  benchmark::AddCustomContext("version", TRITIUM_VERSION);
  benchmark::AddCustomContext("compiler", __VERSION__);
#ifndef NDEBUG
  std::fprintf(stderr, "tritium_bench: this is a debug build; its figures mean nothing\n");
#endif
  bench::register_matmul(machine);
  bench::register_rowops(machine);
  bench::register_rivals(machine);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
