// SPDX-License-Identifier: Apache-2.0
#include "faults/injection.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kNever = AllocationFault::kNever;

std::atomic<std::size_t> g_calls{0};
std::atomic<std::size_t> g_from{kNever};  // number of the first call that fails
std::atomic<std::size_t> g_until{kNever};
std::atomic<std::size_t> g_blocks{0};
std::atomic<std::size_t> g_bytes{0};
std::atomic<std::size_t> g_threads_left{kNever};

bool refused() {
  const std::size_t call = g_calls.fetch_add(1, std::memory_order_relaxed) + 1;
  if (call < g_from.load(std::memory_order_relaxed) || call >= g_until.load(std::memory_order_relaxed)) return false;
  errno = ENOMEM;
  return true;
}

void* count_in(void* memory) {
  if (memory == nullptr) return nullptr;
  g_blocks.fetch_add(1, std::memory_order_relaxed);
  g_bytes.fetch_add(::malloc_usable_size(memory), std::memory_order_relaxed);
  return memory;
}
void count_out(void* memory) {
  if (memory == nullptr) return;
  g_blocks.fetch_sub(1, std::memory_order_relaxed);
  g_bytes.fetch_sub(::malloc_usable_size(memory), std::memory_order_relaxed);
}

thread_local std::size_t t_file_left = 0;  // operations until the one that fails, itself included; 0: none fails
thread_local int t_file_code = 0;
thread_local const char* t_file_operation = nullptr;

bool file_refused(const char* operation) {
  if (t_file_left == 0 || --t_file_left != 0) return false;
  t_file_operation = operation;
  errno = t_file_code;
  return true;
}

}  // namespace

extern "C" {

void* __real_malloc(std::size_t size);
void* __real_calloc(std::size_t n, std::size_t size);
void* __real_realloc(void* memory, std::size_t size);
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void __real_free(void* memory);
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* argument);

void* __wrap_malloc(std::size_t size);
void* __wrap_calloc(std::size_t n, std::size_t size);
void* __wrap_realloc(void* memory, std::size_t size);
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size);
void __wrap_free(void* memory);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* argument);

void* __wrap_malloc(std::size_t size) { return refused() ? nullptr : count_in(__real_malloc(size)); }
void* __wrap_calloc(std::size_t n, std::size_t size) { return refused() ? nullptr : count_in(__real_calloc(n, size)); }
void* __wrap_realloc(void* memory, std::size_t size) {
  if (refused()) return nullptr;
  const std::size_t before = memory == nullptr ? 0 : ::malloc_usable_size(memory);
  void* moved = __real_realloc(memory, size);
  if (moved == nullptr && size != 0) return nullptr;
  if (before != 0) {
    g_blocks.fetch_sub(1, std::memory_order_relaxed);
    g_bytes.fetch_sub(before, std::memory_order_relaxed);
  }
  return count_in(moved);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
  return refused() ? nullptr : count_in(__real_aligned_alloc(alignment, size));
}
void __wrap_free(void* memory) {
  count_out(memory);
  __real_free(memory);
}
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* argument) {
  std::size_t left = g_threads_left.load();
  if (left != kNever) {
    if (left == 0) return EAGAIN;
    g_threads_left.store(left - 1);
  }
  return __real_pthread_create(thread, attributes, entry, argument);
}

// File operations. The types are those of the C library's own declarations.
#define TRITIUM_WRAP(result, failure, name, parameters, arguments) \
  result __real_##name parameters;                                 \
  result __wrap_##name parameters;                                 \
  result __wrap_##name parameters { return file_refused(#name) ? failure : __real_##name arguments; }

TRITIUM_WRAP(ssize_t, -1, write, (int file, const void* bytes, size_t size), (file, bytes, size))
TRITIUM_WRAP(ssize_t, -1, pread, (int file, void* bytes, size_t size, off_t offset), (file, bytes, size, offset))
TRITIUM_WRAP(int, -1, fsync, (int file), (file))
TRITIUM_WRAP(int, -1, ftruncate, (int file, off_t size), (file, size))
TRITIUM_WRAP(int, -1, fallocate, (int file, int mode, off_t offset, off_t size), (file, mode, offset, size))
TRITIUM_WRAP(int, -1, renameat, (int from, const char* old_name, int to, const char* name), (from, old_name, to, name))
TRITIUM_WRAP(int, -1, fstat, (int file, struct stat* status), (file, status))
TRITIUM_WRAP(void*, MAP_FAILED, mmap, (void* at, size_t size, int protection, int flags, int file, off_t offset),
             (at, size, protection, flags, file, offset))
#undef TRITIUM_WRAP

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...);
int __real_openat(int folder, const char* path, int flags, ...);
int __wrap_openat(int folder, const char* path, int flags, ...);

int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return file_refused("open") ? -1 : __real_open(path, flags, mode);
}
int __wrap_openat(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return file_refused("openat") ? -1 : __real_openat(folder, path, flags, mode);
}

}  // extern "C"

void* operator new(std::size_t size) {
  if (void* memory = __wrap_malloc(size == 0 ? 1 : size); memory != nullptr) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return __wrap_malloc(size == 0 ? 1 : size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return __wrap_malloc(size == 0 ? 1 : size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto a = static_cast<std::size_t>(alignment);
  if (void* memory = __wrap_aligned_alloc(a, (size + a - 1) / a * a); memory != nullptr) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size, std::align_val_t alignment) { return operator new(size, alignment); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  const auto a = static_cast<std::size_t>(alignment);
  return __wrap_aligned_alloc(a, (size + a - 1) / a * a);
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t& nothrow) noexcept {
  return operator new(size, alignment, nothrow);
}
void operator delete(void* memory) noexcept { __wrap_free(memory); }
void operator delete[](void* memory) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { __wrap_free(memory); }
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept { __wrap_free(memory); }

LiveMemory live_memory() { return {g_blocks.load(), g_bytes.load()}; }

AllocationFault::AllocationFault(std::size_t nth, std::size_t count) : nth_(nth) {
  g_calls.store(0);
  g_until.store(count > kNever - nth ? kNever : nth + count);
  g_from.store(nth);
}
AllocationFault::~AllocationFault() { g_from.store(kNever); }
std::size_t AllocationFault::calls() const { return g_calls.load(); }

ThreadFault::ThreadFault(std::size_t nth) { g_threads_left.store(nth - 1); }
ThreadFault::~ThreadFault() { g_threads_left.store(kNever); }

FileFault::FileFault(std::size_t nth, int code) {
  t_file_operation = nullptr;
  t_file_code = code;
  t_file_left = nth;
}
FileFault::~FileFault() { t_file_left = 0; }
bool FileFault::struck() const { return t_file_operation != nullptr; }
const char* FileFault::operation() const { return t_file_operation != nullptr ? t_file_operation : "none"; }
