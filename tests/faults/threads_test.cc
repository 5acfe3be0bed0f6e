// SPDX-License-Identifier: Apache-2.0
// Threads that the system refuses: a pool is whole or an error, and those that did start are gone.

#include <dirent.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "faults/injection.h"
#include "io/test_files.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

std::size_t running_threads() {
  std::size_t n = 0;
  DIR* tasks = ::opendir("/proc/self/task");
  REQUIRE(tasks != nullptr);
  while (const dirent* task = ::readdir(tasks)) n += task->d_name[0] != '.' ? 1 : 0;
  (void)::closedir(tasks);
  return n;
}

/// A thread that was joined is in the list a moment longer.
bool settles_at(std::size_t n) {
  for (int i = 0; i < 2000 && running_threads() != n; ++i) (void)::usleep(1000);
  return running_threads() == n;
}

}  // namespace

TEST_CASE("a thread that the system refuses is an error, and the pool before it ends", "[thread_refusal]") {
  const std::size_t before = running_threads();
  std::size_t refused = 0;
  (void)ThreadPool::create(2);
  for (const std::size_t n : {2u, 3u, 8u}) {
    const LiveMemory memory = live_memory();
    for (std::size_t nth = 1; nth < n; ++nth) {
      {
        const ThreadFault fault(nth);
        const auto pool = ThreadPool::create(n);
        REQUIRE_FALSE(pool.ok());
        CHECK(pool.error().code == Errc::out_of_memory);
        CHECK(contains(pool.error().message, "the system refused to start a thread"));
        CHECK(contains(pool.error().message, "found " + std::to_string(nth)));
        CHECK(is_one_printable_line(pool.error().message));
        ++refused;
      }
      CHECK(settles_at(before));
      CHECK(live_memory() == memory);
    }
    const auto pool = ThreadPool::create(n);  // the same process, right afterwards
    REQUIRE(pool.ok());
    std::vector<int> runs(n, 0);
    (*pool)->executor().run([&](std::size_t t) { ++runs[t]; });
    CHECK(runs == std::vector<int>(n, 1));
  }
  CHECK(settles_at(before));
  std::printf("figure: faults: threads: %zu refusals became errors, no thread was left\n", refused);
}

TEST_CASE("memory refused for a pool", "[thread_refusal]") {
  const std::size_t before = running_threads();
  std::size_t refused = 0;
  for (std::size_t n = 1;; ++n) {
    bool ok = false;
    Errc code = Errc::io;
    {
      const AllocationFault fault(n, 1);
      const auto pool = ThreadPool::create(3);
      ok = pool.ok();
      if (!ok) code = pool.error().code;
    }
    CHECK(settles_at(before));
    if (ok) break;
    CHECK(code == Errc::out_of_memory);
    ++refused;
  }
  CHECK(refused >= 2);
}
