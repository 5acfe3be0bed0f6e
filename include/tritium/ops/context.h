// SPDX-License-Identifier: Apache-2.0
// OpContext: the kernels that serve, the caller's threads, and a scratch block for each of them.
//
// Made once per session; ops allocate nothing after that. The tier is chosen here and nowhere else.
#pragma once

#include <cstdlib>
#include <vector>

#include "tritium/core/no_throw.h"
#include "tritium/ops/isa.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {
inline Tier& forced_tier() {
  static Tier tier = Tier::portable;
  return tier;
}
inline bool& tier_is_forced() {
  static bool forced = false;
  return forced;
}
}  // namespace detail

/// Pins the tier of contexts made from now on, as TRITIUM_ISA does but stronger. Not for use while contexts are made on
/// other threads. Errors: unsupported.
inline Status force_isa(std::string_view name) {
  TRITIUM_ASSIGN(const IsaChoice choice, choose_isa(std::string(name).c_str()));
  detail::forced_tier() = choice.tier;
  detail::tier_is_forced() = true;
  return {};
}

/// The tier that serves: force_isa(), then TRITIUM_ISA, then the best one.
inline Result<IsaChoice> active_isa() {
  if (detail::tier_is_forced()) return IsaChoice{detail::forced_tier(), "pinned"};
  return choose_isa(std::getenv("TRITIUM_ISA"));
}

/// What every op needs: kernels, threads, scratch. One op at a time.
class OpContext {
 public:
  /// With the tier that serves. Headers alone: with the kernels of kFormats only, or of the whole catalogue.
  /// Errors: unsupported (see active_isa), invalid_argument (no threads), out_of_range, out_of_memory.
#if TRITIUM_DISPATCH
  static Result<OpContext> create(const Executor& executor = {}) {
    TRITIUM_ASSIGN(const IsaChoice choice, active_isa());
    return create(*kernel_table(choice.tier), executor);
  }
#else
  template <PackFormat... kFormats>
  static Result<OpContext> create(const Executor& executor = {}) {
    const Result<IsaChoice> choice = active_isa();
    if (!choice.ok()) return choice.error();
    return create(static_kernels<kFormats...>(), executor);
  }
#endif
  /// As above, with kernels that the caller chose.
  static Result<OpContext> create(const KernelTable& kernels, const Executor& executor) {
    if (executor.n_threads == 0) {
      return make_error(Errc::invalid_argument, "bad thread count", "executor", "at least 1", "0");
    }
    OpContext context;
    context.kernels_ = &kernels;
    context.executor_ = executor;
    context.scratch_bytes_ = matmul_scratch_bytes();
    TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(executor.n_threads, context.scratch_bytes_));
    TRITIUM_ASSIGN(context.scratch_, AlignedBuffer::allocate(bytes));
    return context;
  }

  [[nodiscard]] const KernelTable& kernels() const { return *kernels_; }       ///< The kernels that serve.
  [[nodiscard]] const Executor& executor() const { return executor_; }         ///< The caller's threads.
  [[nodiscard]] std::size_t n_threads() const { return executor_.n_threads; }  ///< How many they are.
  /// matmul_scratch_bytes() of thread t, 64-byte aligned.
  [[nodiscard]] std::byte* scratch(std::size_t t) { return scratch_.data() + t * scratch_bytes_; }

 private:
  const KernelTable* kernels_ = nullptr;
  Executor executor_;
  AlignedBuffer scratch_;
  std::size_t scratch_bytes_ = 0;
};

TRITIUM_NAMESPACE_END
