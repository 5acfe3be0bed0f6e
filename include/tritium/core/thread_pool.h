// SPDX-License-Identifier: Apache-2.0
// ThreadPool: a fork-join pool whose caller takes part. Opt-in: nothing in the library creates one.
//
// A decoder layer has five parallel regions, a small model 150 of them in a 3 ms token: waking a sleeping thread costs
// 12-14 us, handing a region to a spinning one 0.2 us. So waiters spin first, and sleep when the spin has lasted longer
// than a region should. A wait that ended asleep halves the next spin, one that ended spinning restores it: when cores
// are shared or fewer than threads, the pool degrades to plain blocking instead of burning another thread's time slice.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#include "tritium/core/executor.h"
#include "tritium/core/no_throw.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// CPUs granted by a cgroup quota, rounded up; 0 when there is none.
inline std::size_t cgroup_cpu_quota() {
  double quota = 0;
  double period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re"); file != nullptr) {
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;  // "max 100000" has no number first
    std::fclose(file);
  } else if (std::FILE* v1 = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"); v1 != nullptr) {
    if (std::fscanf(v1, "%lf", &quota) != 1) quota = 0;
    std::fclose(v1);
    if (std::FILE* p = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re"); p != nullptr) {
      if (std::fscanf(p, "%lf", &period) != 1) period = 0;
      std::fclose(p);
    }
  }
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<std::size_t>(quota / period + 0.999);
}

}  // namespace detail

/// How many CPUs this process may use: its affinity mask, lowered by a cgroup quota. At least 1.
inline std::size_t available_cpus() {
  std::size_t n = 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) n = static_cast<std::size_t>(CPU_COUNT(&set));
  const std::size_t quota = detail::cgroup_cpu_quota();
  if (quota != 0 && quota < n) n = quota;
  return n == 0 ? 1 : n;
}

/// Threads that wait for regions, the caller being thread 0. One region at a time; not for calls from several threads
/// at once.
class ThreadPool {
 public:
  static constexpr std::size_t kMaxThreads = 256;  ///< more are refused
  static constexpr std::size_t kLineSize = 64;     ///< words that different threads write stay this far apart

  /// A pool of `n_threads`, the caller included: n_threads - 1 threads are started.
  /// Errors: invalid_argument (0 or more than kMaxThreads), out_of_memory (the system refused a thread).
  static Result<std::unique_ptr<ThreadPool>> create(std::size_t n_threads) {
    return no_throw([&] { return start(n_threads); });
  }

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    stop_.store(true, std::memory_order_relaxed);
    publish();
    for (std::size_t i = 1; i < n_threads_; ++i) pthread_join(workers_[i].handle, nullptr);
  }

  [[nodiscard]] std::size_t n_threads() const { return n_threads_; }  ///< Threads of a region, the caller's included.

  /// The pool as an Executor; valid while the pool lives. One caller at a time.
  [[nodiscard]] Executor executor() {
    return {n_threads_, this, [](void* context, Executor::Task task, void* argument) {
              static_cast<ThreadPool*>(context)->run(task, argument);
            }};
  }

 private:
  // Longer than the serial stretch between two tokens (sampling), shorter than a scheduler time slice.
  static constexpr std::int64_t kSpinNs = 200'000;
  static constexpr std::int64_t kLeastSpinNs = 2'000;

  struct Worker {
    ThreadPool* pool = nullptr;
    std::size_t index = 0;
    std::int64_t spin_ns = 0;
    pthread_t handle{};
  };

  ThreadPool() = default;

  static Result<std::unique_ptr<ThreadPool>> start(std::size_t n_threads) {
    if (n_threads == 0 || n_threads > kMaxThreads) {
      return make_error(Errc::invalid_argument, "bad thread count", "threads", "1 to 256", std::to_string(n_threads));
    }
    std::unique_ptr<ThreadPool> pool(new (std::nothrow) ThreadPool);
    if (pool == nullptr) return Error{Errc::out_of_memory, "not enough memory for a thread pool"};
    pool->workers_.reset(new (std::nothrow) Worker[n_threads]);
    if (pool->workers_ == nullptr) return Error{Errc::out_of_memory, "not enough memory for a thread pool"};
    pool->spin_limit_ns_ = n_threads > available_cpus() ? 0 : kSpinNs;
    pool->spin_ns_.store(pool->spin_limit_ns_, std::memory_order_relaxed);
    for (std::size_t i = 1; i < n_threads; ++i) {
      Worker& worker = pool->workers_[i];
      worker.pool = pool.get();
      worker.index = i;
      worker.spin_ns = pool->spin_limit_ns_;
      const int failure = pthread_create(&worker.handle, nullptr, &ThreadPool::enter, &worker);
      if (failure != 0) {  // the destructor stops those that did start
        return make_error(Errc::out_of_memory, "the system refused to start a thread", "threads",
                          std::to_string(n_threads), std::to_string(i));
      }
      pool->n_threads_ = i + 1;
    }
    return pool;
  }

  static std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  /// Waits until value(atomic) != old: spins up to *spin_ns, then sleeps on the atomic. Adapts *spin_ns.
  template <class T>
  static void wait_while_equal(std::atomic<T>& atomic, T old, std::atomic<std::uint32_t>& sleepers,
                               std::int64_t& spin_ns, std::int64_t spin_limit_ns) {
    for (int i = 0; i < 64; ++i) {  // a balanced region ends here, before any clock is read
      if (atomic.load(std::memory_order_acquire) != old) return;
      detail::cpu_pause();
    }
    if (spin_ns > 0) {
      const std::int64_t deadline = now_ns() + spin_ns;
      do {
        for (int i = 0; i < 64; ++i) {
          if (atomic.load(std::memory_order_acquire) != old) {
            spin_ns = std::min(spin_limit_ns, spin_ns * 2);
            return;
          }
          detail::cpu_pause();
        }
      } while (now_ns() < deadline);
      spin_ns = std::max(std::min(kLeastSpinNs, spin_limit_ns), spin_ns / 2);
    }
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    while (atomic.load(std::memory_order_seq_cst) == old) atomic.wait(old, std::memory_order_seq_cst);
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }

  void publish() {
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_workers_.load(std::memory_order_seq_cst) != 0) epoch_.notify_all();
  }

  void run(Executor::Task task, void* argument) {
    task_ = task;
    argument_ = argument;
    remaining_.store(static_cast<std::uint32_t>(n_threads_ - 1), std::memory_order_relaxed);
    publish();
    task(argument, 0);
    std::int64_t spin = spin_ns_.load(std::memory_order_relaxed);
    for (;;) {
      const std::uint32_t left = remaining_.load(std::memory_order_acquire);
      if (left == 0) break;
      wait_while_equal(remaining_, left, sleeping_caller_, spin, spin_limit_ns_);
    }
    spin_ns_.store(spin, std::memory_order_relaxed);
  }

  static void* enter(void* worker) {
    Worker& self = *static_cast<Worker*>(worker);
    self.pool->work(self);
    return nullptr;
  }

  void work(Worker& self) {
    std::uint32_t seen = 0;
    for (;;) {
      wait_while_equal(epoch_, seen, sleeping_workers_, self.spin_ns, spin_limit_ns_);
      ++seen;  // regions are published one at a time, each waited for: the epoch moves by one
      if (stop_.load(std::memory_order_relaxed)) return;
      task_(argument_, self.index);
      remaining_.fetch_sub(1, std::memory_order_seq_cst);
      if (sleeping_caller_.load(std::memory_order_seq_cst) != 0) remaining_.notify_all();
    }
  }

  alignas(kLineSize) std::atomic<std::uint32_t> epoch_{0};
  Executor::Task task_ = nullptr;
  void* argument_ = nullptr;
  std::atomic<bool> stop_{false};
  alignas(kLineSize) std::atomic<std::uint32_t> remaining_{0};
  alignas(kLineSize) std::atomic<std::uint32_t> sleeping_workers_{0};
  std::atomic<std::uint32_t> sleeping_caller_{0};
  std::atomic<std::int64_t> spin_ns_{0};
  std::int64_t spin_limit_ns_ = 0;
  std::size_t n_threads_ = 1;
  std::unique_ptr<Worker[]> workers_;
};

TRITIUM_NAMESPACE_END
