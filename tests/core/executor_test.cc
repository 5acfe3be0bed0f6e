// SPDX-License-Identifier: Apache-2.0
#include "tritium/core/executor.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

using namespace tritium;

TEST_CASE("an executor without threads is a loop", "[executor]") {
  for (const std::size_t n : {1u, 2u, 7u}) {
    Executor executor;
    executor.n_threads = n;
    std::vector<std::size_t> order;
    executor.run([&](std::size_t t) { order.push_back(t); });
    REQUIRE(order.size() == n);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(order[i] == i);
  }
}

TEST_CASE("a host's dispatch gets its own context and the task", "[executor]") {
  struct Host {
    std::size_t calls = 0;
  } host;
  Executor executor;
  executor.n_threads = 3;
  executor.context = &host;
  executor.dispatch = [](void* context, Executor::Task task, void* argument) {
    ++static_cast<Host*>(context)->calls;
    for (const std::size_t t : {2u, 0u, 1u}) task(argument, t);  // any order will do
  };
  std::vector<std::size_t> order;
  executor.run([&](std::size_t t) { order.push_back(t); });
  REQUIRE(host.calls == 1);
  REQUIRE(order == std::vector<std::size_t>{2, 0, 1});
  const auto constant = [&](std::size_t) { ++host.calls; };
  executor.run(constant);
  REQUIRE(host.calls == 5);
  executor.n_threads = 1;  // one thread needs no host
  executor.run(constant);
  REQUIRE(host.calls == 6);
}

TEST_CASE("ranges cover everything once and keep their multiple", "[executor]") {
  for (const std::size_t n : {0u, 1u, 15u, 16u, 17u, 100u, 1000u}) {
    for (const std::size_t parts : {1u, 2u, 3u, 8u, 50u}) {
      for (const std::size_t multiple : {1u, 2u, 16u}) {
        std::size_t at = 0;
        std::size_t most = 0;
        std::size_t least = n;
        for (std::size_t i = 0; i < parts; ++i) {
          const Range r = split_range(n, parts, i, multiple);
          REQUIRE(r.begin == at);
          REQUIRE(r.end >= r.begin);
          REQUIRE((r.end % multiple == 0 || r.end == n));
          REQUIRE(r.empty() == (r.size() == 0));
          at = r.end;
          most = std::max(most, r.size());
          least = std::min(least, r.size());
        }
        REQUIRE(at == n);
        REQUIRE(most - least <= 2 * multiple);
      }
    }
  }
}
