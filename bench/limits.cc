// SPDX-License-Identifier: Apache-2.0
#include "limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>

namespace bench {

using tritium::Executor;
using tritium::KernelTable;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

double measure_clock() {
  constexpr int kRounds = 50'000;
  double best = 1e9;
  for (int repeat = 0; repeat < 30; ++repeat) {
    std::uint64_t x = static_cast<std::uint64_t>(repeat);
    const double start = now();
    for (int i = 0; i < kRounds; ++i) {
#if defined(__x86_64__)
      asm volatile(
          "add $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0"
          : "+r"(x));
#else
      asm volatile(
          "add %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, "
          "#1\n\tadd %0, %0, #1\n\tadd %0, %0, #1"
          : "+r"(x));
#endif
    }
    best = std::min(best, now() - start);
  }
  return 8.0 * kRounds / best / 1e9;
}

Limits measure_limits(const KernelTable& kernels, const Executor& executor) {
  Limits limits;
  limits.threads = executor.n_threads;
  limits.clock_ghz = measure_clock();

  auto memory = tritium::AlignedBuffer::allocate(kReadBytes + 8192);
  if (!memory.ok()) return limits;
  std::memset(memory->data(), 1, kReadBytes + 8192);
  for (const std::size_t streams : {std::size_t{1}, std::size_t{4}, std::size_t{8}}) {
    const std::size_t share = kReadBytes / executor.n_threads / streams / 4096 * 4096;
    double best = 0;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const double start = now();
      executor.run([&](std::size_t t) {
        std::uint8_t sink = 0;
        kernels.read_streams(memory->data() + t * streams * share, share, share, streams, &sink);
        asm volatile("" : : "r"(sink));
      });
      best = std::max(best, static_cast<double>(share * streams * executor.n_threads) / (now() - start) / 1e9);
    }
    limits.read.push_back({streams, best});
  }
  std::vector<std::size_t> done(executor.n_threads * 16);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const double start = now();
    executor.run([&](std::size_t t) {
      std::int32_t sink = 5;
      done[t * 16] = kernels.dot_loop(400'000, &sink);
      asm volatile("" : : "r"(sink));
    });
    limits.dot_tops =
        std::max(limits.dot_tops, 2.0 * static_cast<double>(done[0] * executor.n_threads) / (now() - start) / 1e12);
  }
  return limits;
}

std::string machine_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, name = "unknown CPU";
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) == 0) {
      name = line.substr(line.find(':') + 2);
      break;
    }
  }
  return name;
}

}  // namespace bench
