// SPDX-License-Identifier: Apache-2.0
#include "tritium/core/thread_pool.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <thread>
#include <vector>

using namespace tritium;

namespace {

std::unique_ptr<ThreadPool> pool_of(std::size_t n) {
  auto made = ThreadPool::create(n);
  REQUIRE(made.ok());
  REQUIRE((*made)->n_threads() == n);
  return *std::move(made);
}

}  // namespace

TEST_CASE("every thread runs every region once, and the caller is one of them", "[pool]") {
  for (const std::size_t n : {1u, 2u, 3u, 8u}) {
    const std::unique_ptr<ThreadPool> pool = pool_of(n);
    const Executor executor = pool->executor();
    REQUIRE(executor.n_threads == n);
    std::vector<std::thread::id> ids(n);
    std::vector<int> runs(n, 0);
    for (int region = 0; region < 100; ++region) {
      executor.run([&](std::size_t t) {
        ids[t] = std::this_thread::get_id();
        ++runs[t];
      });
    }
    REQUIRE(ids[0] == std::this_thread::get_id());
    for (std::size_t t = 0; t < n; ++t) {
      REQUIRE(runs[t] == 100);
      for (std::size_t u = 0; u < t; ++u) REQUIRE(ids[t] != ids[u]);
    }
  }
}

TEST_CASE("a region sees what was written before it, the caller what was written in it", "[pool]") {
  for (const std::size_t n : {2u, 3u, 8u}) {
    const std::unique_ptr<ThreadPool> pool = pool_of(n);
    const Executor executor = pool->executor();
    std::vector<std::uint64_t> values(n * 16, 0);  // plain memory: a data race would be one for the sanitizer too
    std::uint64_t input = 0;
    const int regions = n == 8 ? 300 : 3000;
    for (int region = 1; region <= regions; ++region) {
      input += static_cast<std::uint64_t>(region);
      executor.run([&](std::size_t t) { values[t * 16] += input; });
      std::uint64_t sum = 0;
      for (std::size_t t = 0; t < n; ++t) sum += values[t * 16];
      REQUIRE(sum == n * values[0]);
    }
  }
}

TEST_CASE("many short regions", "[pool]") {
  const std::unique_ptr<ThreadPool> pool = pool_of(2);
  const Executor executor = pool->executor();
  std::atomic<std::size_t> total{0};
  for (int region = 0; region < 20000; ++region) {
    executor.run([&](std::size_t) { total.fetch_add(1, std::memory_order_relaxed); });
  }
  REQUIRE(total.load() == 40000);
}

TEST_CASE("more threads than CPUs finish", "[pool]") {
  const std::size_t n = std::min<std::size_t>(4 * available_cpus() + 3, 64);
  const std::unique_ptr<ThreadPool> pool = pool_of(n);
  const Executor executor = pool->executor();
  std::atomic<std::size_t> total{0};
  for (int region = 0; region < 200; ++region) {
    executor.run([&](std::size_t) { total.fetch_add(1, std::memory_order_relaxed); });
  }
  REQUIRE(total.load() == 200 * n);
}

TEST_CASE("regions of very uneven length, and pauses in which everybody falls asleep", "[pool]") {
  const std::unique_ptr<ThreadPool> pool = pool_of(3);
  const Executor executor = pool->executor();
  for (std::size_t slow = 0; slow < 3; ++slow) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::atomic<int> done{0};
      executor.run([&](std::size_t t) {
        if (t == slow) std::this_thread::sleep_for(std::chrono::milliseconds(3));
        done.fetch_add(1);
      });
      REQUIRE(done.load() == 3);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

TEST_CASE("pools come and go, used or not", "[pool]") {
  for (int repeat = 0; repeat < 20; ++repeat) {
    pool_of(3);
    const std::unique_ptr<ThreadPool> used = pool_of(2);
    int runs[2] = {0, 0};
    used->executor().run([&](std::size_t t) { ++runs[t]; });
    REQUIRE(runs[0] + runs[1] == 2);
  }
}

TEST_CASE("two pools at once", "[pool]") {
  const std::unique_ptr<ThreadPool> a = pool_of(2);
  const std::unique_ptr<ThreadPool> b = pool_of(3);
  std::atomic<int> total{0};
  std::thread other([&] {
    for (int i = 0; i < 500; ++i) b->executor().run([&](std::size_t) { total.fetch_add(1); });
  });
  for (int i = 0; i < 500; ++i) a->executor().run([&](std::size_t) { total.fetch_add(1); });
  other.join();
  REQUIRE(total.load() == 500 * 5);
}

TEST_CASE("thread counts that make no sense are refused", "[pool]") {
  for (const std::size_t n : {std::size_t{0}, ThreadPool::kMaxThreads + 1, ~std::size_t{0}}) {
    const auto refused = ThreadPool::create(n);
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().code == Errc::invalid_argument);
  }
  REQUIRE(available_cpus() >= 1);
}
