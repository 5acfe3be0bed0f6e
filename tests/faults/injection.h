// SPDX-License-Identifier: Apache-2.0
// Refusals on demand: the n-th allocation, thread or file operation of this program fails.
//
// operator new is replaced, and the C allocator, pthread_create and the calls that read and write files are wrapped by the
// linker (--wrap), in injection.cc: what the program's objects and static libraries ask for passes through it, what the C
// library asks for itself does not.
#pragma once

#include <cstddef>

/// What has been handed out and not been given back, by every way that is counted.
struct LiveMemory {
  std::size_t blocks = 0;
  std::size_t bytes = 0;
  friend bool operator==(const LiveMemory&, const LiveMemory&) = default;
};
LiveMemory live_memory();

/// While alive, allocations are counted, and `count` of them from the nth on (the next is 1) fail. One at a time.
class AllocationFault {
 public:
  static constexpr std::size_t kNever = ~std::size_t{0};
  static constexpr std::size_t kAllBehind = ~std::size_t{0};
  AllocationFault(std::size_t nth, std::size_t count);
  AllocationFault(const AllocationFault&) = delete;
  AllocationFault& operator=(const AllocationFault&) = delete;
  ~AllocationFault();
  [[nodiscard]] std::size_t calls() const;  ///< since construction
  [[nodiscard]] bool struck() const { return calls() >= nth_; }

 private:
  std::size_t nth_;
};

/// While alive, the system refuses the nth thread (the next is 1) and all behind it.
class ThreadFault {
 public:
  explicit ThreadFault(std::size_t nth);
  ThreadFault(const ThreadFault&) = delete;
  ThreadFault& operator=(const ThreadFault&) = delete;
  ~ThreadFault();
};

/// While alive, the nth (the next is 1) file operation of this thread fails with `code`: open, fstat, mmap, pread, write,
/// fallocate, ftruncate, fsync, renameat, openat, all counted together.
class FileFault {
 public:
  FileFault(std::size_t nth, int code);
  FileFault(const FileFault&) = delete;
  FileFault& operator=(const FileFault&) = delete;
  ~FileFault();
  [[nodiscard]] bool struck() const;
  [[nodiscard]] const char* operation() const;  ///< that failed
};
