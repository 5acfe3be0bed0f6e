// SPDX-License-Identifier: Apache-2.0
// Executor: how the library asks its caller for threads. It owns none.
//
// An op hands over a task; the executor runs it once for each thread index and returns when all are done. Tasks never
// wait for each other, so any fork-join mechanism serves: the pool of thread_pool.h, a host's task system, or a loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// The caller's threads: how many, and the function that runs a task on all of them. Not owned.
struct Executor {
  using Task = void (*)(void* argument, std::size_t thread);            ///< One thread's share of a region.
  using Dispatch = void (*)(void* context, Task task, void* argument);  ///< Runs a task on all threads.

  std::size_t n_threads = 1;    ///< indices that tasks get, the caller's included; at least 1
  void* context = nullptr;      ///< handed to dispatch
  Dispatch dispatch = nullptr;  ///< must call task(argument, t) once for every t < n_threads; null: a plain loop

  /// Runs f(t) for every t in [0, n_threads) and returns when all have returned. f must not throw.
  template <class F>
  void run(F&& f) const {
    if (n_threads == 1 || dispatch == nullptr) {
      for (std::size_t t = 0; t < n_threads; ++t) f(t);
      return;
    }
    using Function = std::remove_reference_t<F>;
    dispatch(
        context, [](void* argument, std::size_t t) { (*static_cast<Function*>(argument))(t); },
        const_cast<void*>(static_cast<const void*>(std::addressof(f))));
  }
};

/// Numbers [begin, end).
struct Range {
  std::size_t begin = 0;                                          ///< the first
  std::size_t end = 0;                                            ///< one past the last
  [[nodiscard]] std::size_t size() const { return end - begin; }  ///< How many.
  [[nodiscard]] bool empty() const { return begin >= end; }       ///< Whether there are none.
};

/// Part `index` of `parts` nearly equal contiguous pieces of [0, n); inner bounds are multiples of `multiple`.
constexpr Range split_range(std::size_t n, std::size_t parts, std::size_t index, std::size_t multiple = 1) {
  const std::size_t units = (n + multiple - 1) / multiple;
  const std::size_t begin = units * index / parts * multiple;
  const std::size_t end = units * (index + 1) / parts * multiple;
  return {std::min(begin, n), std::min(end, n)};
}

TRITIUM_NAMESPACE_END
