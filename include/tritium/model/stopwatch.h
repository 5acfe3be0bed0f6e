// SPDX-License-Identifier: Apache-2.0
// Stopwatch: where a forward pass spends its time, region by region, with the weights that each region reads.
//
// A region that reads weights is bound by memory when its bytes divided by its seconds come near what the machine can
// read; what is left to win is in the others. Costs two clock readings a region when on, one comparison when off.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// The regions of a forward pass, in its order.
enum class Region : std::uint8_t {
  embedding,
  qkv,
  rope,
  attention,
  attention_out,
  recurrent,
  mlp_in,
  mlp_out,
  experts,
  head
};
/// The names of the regions, in the order of Region.
inline constexpr std::string_view kRegionNames[] = {"embedding",     "norm + qkv", "rope + cache",       "attention",
                                                    "attention out", "recurrent",  "norm + gate and up", "mlp down",
                                                    "experts",       "norm + head"};
/// How many regions there are.
inline constexpr std::size_t kRegions = std::size(kRegionNames);

/// What one region took.
struct RegionTime {
  double seconds = 0;            ///< on the wall clock
  std::size_t weight_bytes = 0;  ///< read by its products
};
/// Sums over all passes since it was zeroed.
struct RegionTimes {
  std::array<RegionTime, kRegions> of{};  ///< in the order of Region
  /// Of all regions.
  [[nodiscard]] double seconds() const {
    double sum = 0;
    for (const RegionTime& one : of) sum += one.seconds;
    return sum;
  }
};

/// Adds its lifetime to a region, and what `bytes` grew by. `times` may be null.
class RegionTimer {
 public:
  /// Starts the clock; `bytes` is the counter of weight bytes, read now and at the end.
  RegionTimer(RegionTimes* times, Region region, const std::size_t& bytes) : times_(times) {
    if (times_ == nullptr) return;
    region_ = region;
    bytes_ = &bytes;
    before_ = bytes;
    start_ = std::chrono::steady_clock::now();
  }
  ~RegionTimer() {
    if (times_ == nullptr) return;
    RegionTime& to = times_->of[static_cast<std::size_t>(region_)];
    to.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    to.weight_bytes += *bytes_ - before_;
  }
  RegionTimer(const RegionTimer&) = delete;
  RegionTimer& operator=(const RegionTimer&) = delete;

 private:
  RegionTimes* times_;
  const std::size_t* bytes_ = nullptr;
  std::size_t before_ = 0;
  std::chrono::steady_clock::time_point start_;
  Region region_ = Region::embedding;
};

TRITIUM_NAMESPACE_END
