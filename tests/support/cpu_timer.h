// SPDX-License-Identifier: Apache-2.0
// Processor seconds of this thread: limits on time hold on a busy machine too.
#pragma once

#include <ctime>

namespace tritium_test {

class CpuTimer {
 public:
  [[nodiscard]] double seconds() const { return now() - start_; }

 private:
  static double now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  double start_ = now();
};

}  // namespace tritium_test
