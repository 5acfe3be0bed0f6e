// SPDX-License-Identifier: Apache-2.0
// Threads of the host: workers that wait at a std::barrier run Tritium's parallel regions, through an Executor.
#include <barrier>
#include <cstdio>
#include <thread>
#include <vector>

#include "check_threads.h"

namespace {

/// n - 1 threads and the caller of run(). Any host has something like it.
class Workers {
 public:
  explicit Workers(std::size_t n) : begin_(static_cast<std::ptrdiff_t>(n)), end_(static_cast<std::ptrdiff_t>(n)) {
    for (std::size_t t = 1; t < n; ++t) threads_.emplace_back([this, t] { work(t); });
  }
  ~Workers() {
    task_ = nullptr;
    begin_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  /// What Tritium asks for: task(argument, t) once for every t, and return when all have returned.
  [[nodiscard]] tritium::Executor executor() {
    return {threads_.size() + 1, this, [](void* self, tritium::Executor::Task task, void* argument) {
              static_cast<Workers*>(self)->run(task, argument);
            }};
  }
  [[nodiscard]] std::size_t regions() const { return regions_; }

 private:
  void run(tritium::Executor::Task task, void* argument) {
    task_ = task;
    argument_ = argument;
    ++regions_;
    begin_.arrive_and_wait();
    task(argument, 0);
    end_.arrive_and_wait();
  }
  void work(std::size_t t) {
    while (begin_.arrive_and_wait(), task_ != nullptr) {
      task_(argument_, t);
      end_.arrive_and_wait();
    }
  }

  std::barrier<> begin_, end_;
  tritium::Executor::Task task_ = nullptr;
  void* argument_ = nullptr;
  std::size_t regions_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

int main() {
  Workers workers(3);
  const bool right = same_results(workers.executor()) && workers.regions() > 0;
  std::printf("%zu regions on workers of the host: %s\n", workers.regions(), right ? "same results" : "WRONG");
  return right ? 0 : 1;
}
