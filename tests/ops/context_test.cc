// SPDX-License-Identifier: Apache-2.0
#include "tritium/ops/context.h"

#include <catch2/catch_test_macros.hpp>
#include <cstring>

#include "support/tiers.h"

using namespace tritium;

TEST_CASE("every thread has its own scratch", "[context]") {
  for (const tiers::RunnableTier& t : tiers::runnable()) {
    for (const std::size_t n : {1u, 2u, 3u, 8u}) {
      Executor executor;
      executor.n_threads = n;
      Result<OpContext> made = OpContext::create(*t.kernels, executor);
      REQUIRE(made.ok());
      OpContext context = *std::move(made);
      REQUIRE(&context.kernels() == t.kernels);
      REQUIRE(context.n_threads() == n);
      REQUIRE(context.executor().n_threads == n);
      for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(reinterpret_cast<std::uintptr_t>(context.scratch(i)) % kLineBytes == 0);
        std::memset(context.scratch(i), static_cast<int>(i + 1), matmul_scratch_bytes());
      }
      for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(context.scratch(i)[0] == static_cast<std::byte>(i + 1));
        REQUIRE(context.scratch(i)[matmul_scratch_bytes() - 1] == static_cast<std::byte>(i + 1));
      }
    }
  }
}

TEST_CASE("a context without threads, or with more than memory holds, is refused", "[context]") {
  const KernelTable& kernels = *tiers::runnable().front().kernels;
  Executor executor;
  executor.n_threads = 0;  // ops would silently do nothing
  const Result<OpContext> none = OpContext::create(kernels, executor);
  REQUIRE_FALSE(none.ok());
  REQUIRE(none.error().code == Errc::invalid_argument);
  executor.n_threads = ~std::size_t{0} / 2;
  REQUIRE_FALSE(OpContext::create(kernels, executor).ok());
}
