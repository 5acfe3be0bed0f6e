// SPDX-License-Identifier: Apache-2.0
#include "io/allocation_meter.h"

#include <malloc.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace {

std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak{0};
std::atomic<std::size_t> n_calls{0};
std::atomic<std::size_t> fail_from{0};  // number of the first call that fails; 0: none
std::atomic<std::size_t> fail_until{0};

void* allocate(std::size_t size) noexcept {
  const std::size_t call = n_calls.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::size_t first = fail_from.load(std::memory_order_relaxed);
  if (first != 0 && call >= first && call < fail_until.load(std::memory_order_relaxed)) return nullptr;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) return nullptr;
  const std::size_t now =
      live_bytes.fetch_add(malloc_usable_size(memory), std::memory_order_relaxed) + malloc_usable_size(memory);
  std::size_t highest = peak.load(std::memory_order_relaxed);
  while (highest < now && !peak.compare_exchange_weak(highest, now, std::memory_order_relaxed)) {}
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  live_bytes.fetch_sub(malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) {
  if (void* memory = allocate(size); memory != nullptr) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { release(memory); }

AllocationMeter::AllocationMeter() : base_(live_bytes.load()), base_calls_(n_calls.load()) { peak.store(base_); }
std::size_t AllocationMeter::peak_bytes() const { return peak.load() - base_; }
std::size_t AllocationMeter::calls() const { return n_calls.load() - base_calls_; }

AllocationFailure::AllocationFailure(std::size_t nth, std::size_t count) {
  fail_until.store(n_calls.load() + nth + count);
  fail_from.store(n_calls.load() + nth);
}
AllocationFailure::~AllocationFailure() { fail_from.store(0); }

TEST_CASE("the meter sees what it is there to see", "[allocation_meter]") {
  const AllocationMeter meter;
  { const std::vector<char> block(1 << 20); }
  CHECK(meter.peak_bytes() >= (1 << 20));
  CHECK(meter.peak_bytes() < (1 << 20) + 65536);
  CHECK(meter.calls() >= 1);
  bool threw = false;
  {
    const AllocationFailure failure(2);
    const std::unique_ptr<int> first(new (std::nothrow) int(1));
    const std::unique_ptr<int> second(new (std::nothrow) int(2));
    threw = first != nullptr && second == nullptr;
  }
  CHECK(threw);
}
