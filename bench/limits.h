// SPDX-License-Identifier: Apache-2.0
// What the machine can do: read rates and dot-product peaks, measured by the kernels' own instructions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tritium/ops/context.h"

namespace bench {

struct ReadRate {
  std::size_t streams = 1;  ///< a thread
  double gb_per_s = 0;
};

struct Limits {
  std::size_t threads = 1;
  std::vector<ReadRate> read;  ///< from memory: `kReadBytes` in all, shared by the threads
  double dot_tops = 0;         ///< register peak of the tier's dot product, all threads
  double clock_ghz = 0;        ///< one core, from a chain of dependent additions
  [[nodiscard]] double best_read() const {
    double best = 0;
    for (const ReadRate& r : read) best = r.gb_per_s > best ? r.gb_per_s : best;
    return best;
  }
};

inline constexpr std::size_t kReadBytes = std::size_t{512} << 20;

/// Clock of the calling core in GHz.
double measure_clock();
/// Limits of a tier with an executor; a few seconds.
Limits measure_limits(const tritium::KernelTable& kernels, const tritium::Executor& executor);

/// One line about the machine: CPU, cores, tier, compiler.
std::string machine_name();

}  // namespace bench
