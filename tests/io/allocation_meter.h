// SPDX-License-Identifier: Apache-2.0
// What operator new hands out: how much at once, and, on demand, a failure of the n-th call.
//
// The operators are replaced for the whole test executable in allocation_meter_test.cc.
#pragma once

#include <cstddef>

/// Measures from its construction on. One at a time.
class AllocationMeter {
 public:
  AllocationMeter();
  /// Largest amount alive at once since construction, above what was alive then.
  [[nodiscard]] std::size_t peak_bytes() const;
  [[nodiscard]] std::size_t calls() const;

 private:
  std::size_t base_;
  std::size_t base_calls_;
};

/// While alive, `count` calls of operator new from the nth on (the next is 1) throw std::bad_alloc.
class AllocationFailure {
 public:
  explicit AllocationFailure(std::size_t nth, std::size_t count = std::size_t{1} << 40);
  AllocationFailure(const AllocationFailure&) = delete;
  AllocationFailure& operator=(const AllocationFailure&) = delete;
  ~AllocationFailure();
};
