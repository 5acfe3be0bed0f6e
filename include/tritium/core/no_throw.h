// SPDX-License-Identifier: Apache-2.0
// no_throw: the fence between the standard containers, which throw when memory is short, and functions that answer with
// a Result.
//
// Loaders keep names and directories in std::string and std::vector; their public functions run inside no_throw, so that
// a failed allocation is an Error of the load and not an exception in somebody's engine. In a build without exceptions
// the fence is nothing, and a failed allocation ends the process as it does everywhere else there.
#pragma once

#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "tritium/core/status.h"

TRITIUM_NAMESPACE_BEGIN

/// f(), where f returns a Result; a failed allocation becomes out_of_memory. The message fits the string's own storage,
/// so that reporting needs no memory.
template <class F>
std::invoke_result_t<F> no_throw(F&& f) {
#if defined(__cpp_exceptions)
  try {
    return std::forward<F>(f)();
  } catch (const std::bad_alloc&) {
    return Error{Errc::out_of_memory, "out of memory"};
  } catch (const std::length_error&) {
    return Error{Errc::out_of_memory, "out of memory"};
  }
#else
  return std::forward<F>(f)();
#endif
}

TRITIUM_NAMESPACE_END
