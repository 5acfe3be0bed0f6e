// SPDX-License-Identifier: Apache-2.0
// Threads of oneTBB: Tritium's parallel regions run in an arena of the host, beside its other tasks.
//
// t names a share of the work and its scratch memory, not a thread: whichever worker is free may take it, and one worker
// may take several, since tasks never wait for each other.
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <cstdio>

#include "check_threads.h"

int main() {
  using tritium::Executor;
  constexpr std::size_t kShares = 4;
  tbb::task_arena arena;
  const Executor executor{kShares, &arena, [](void* context, Executor::Task task, void* argument) {
                            static_cast<tbb::task_arena*>(context)->execute([&] {
                              tbb::parallel_for(std::size_t{0}, kShares, [&](std::size_t t) { task(argument, t); });
                            });
                          }};
  const bool right = same_results(executor);
  std::printf("%zu shares in an arena of the host: %s\n", kShares, right ? "same results" : "WRONG");
  return right ? 0 : 1;
}
