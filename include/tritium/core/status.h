// SPDX-License-Identifier: Apache-2.0
// Error and Result<T>: how every fallible function of the library answers.
//
// A message is one line: what, where, expected and found. No exception is needed to use it; nothing prints or exits.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// What kind of failure, for programs.
enum class Errc : std::uint8_t {
  invalid_argument,  ///< a value from the caller that the function cannot work with
  invalid_file,      ///< a file that is damaged, contradictory, or not of the format it claims
  unsupported,       ///< well formed, but an architecture, type or feature that this build does not know
  io,                ///< the operating system refused to open, read, map or write
  out_of_memory,     ///< an allocation failed
  out_of_range,      ///< a position, id or length past a limit
  cancelled,         ///< the caller asked to stop
};

/// One failure: a code for programs and one line for people.
struct [[nodiscard]] Error {
  Errc code = Errc::invalid_argument;  ///< for programs
  std::string message;                 ///< for people: one line, WHAT (WHERE: expected, found)
};

/// Builds an error whose text reads "WHAT (WHERE: expected EXPECTED, found FOUND)".
TRITIUM_COLD inline Error make_error(Errc code, std::string_view what, std::string_view where,
                                     std::string_view expected, std::string_view found) {
  std::string text;
  text.reserve(what.size() + where.size() + expected.size() + found.size() + 24);
  text.append(what).append(" (").append(where).append(": expected ").append(expected);
  text.append(", found ").append(found).append(")");
  return {code, std::move(text)};
}

/// Builds an error whose text reads "WHAT (WHERE)".
TRITIUM_COLD inline Error make_error(Errc code, std::string_view what, std::string_view where) {
  std::string text;
  text.append(what).append(" (").append(where).append(")");
  return {code, std::move(text)};
}

/// A value or an Error. Test it, then dereference it; dereferencing an error is a checked precondition.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;  ///< the type of the value

  /// A value.
  Result(T value) : ok_(true) {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }  // NOLINT: implicit on purpose
  /// A failure.
  Result(Error error) : ok_(false) { ::new (static_cast<void*>(&error_)) Error(std::move(error)); }  // NOLINT
  /// Takes the value or the error.
  Result(Result&& other) noexcept : ok_(other.ok_) { take(std::move(other)); }
  /// Copies the value or the error.
  Result(const Result& other) : ok_(other.ok_) {
    if (ok_) {
      ::new (static_cast<void*>(&value_)) T(other.value_);
    } else {
      ::new (static_cast<void*>(&error_)) Error(other.error_);
    }
  }
  /// Takes the value or the error; what was there goes.
  Result& operator=(Result other) noexcept {
    destroy();
    ok_ = other.ok_;
    take(std::move(other));
    return *this;
  }
  ~Result() { destroy(); }

  [[nodiscard]] bool ok() const { return ok_; }   ///< Whether there is a value.
  explicit operator bool() const { return ok_; }  ///< Whether there is a value.

  /// The value; ok() is a checked precondition.
  T& operator*() & {
    TRITIUM_ASSUME(ok_);
    return value_;
  }
  /// The value; ok() is a checked precondition.
  const T& operator*() const& {
    TRITIUM_ASSUME(ok_);
    return value_;
  }
  /// The value, to be moved from; ok() is a checked precondition.
  T&& operator*() && {
    TRITIUM_ASSUME(ok_);
    return std::move(value_);
  }
  /// The value; ok() is a checked precondition.
  T* operator->() {
    TRITIUM_ASSUME(ok_);
    return &value_;
  }
  /// The value; ok() is a checked precondition.
  const T* operator->() const {
    TRITIUM_ASSUME(ok_);
    return &value_;
  }
  /// The error; not ok() is a checked precondition.
  [[nodiscard]] const Error& error() const& {
    TRITIUM_ASSUME(!ok_);
    return error_;
  }
  /// The error, to be moved from; not ok() is a checked precondition.
  [[nodiscard]] Error&& error() && {
    TRITIUM_ASSUME(!ok_);
    return std::move(error_);
  }

 private:
  void take(Result&& other) noexcept {
    if (ok_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      ::new (static_cast<void*>(&error_)) Error(std::move(other.error_));
    }
  }
  void destroy() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~Error();
    }
  }

  bool ok_;
  union {
    T value_;
    Error error_;
  };
};

/// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  /// A failure.
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT: implicit on purpose
  [[nodiscard]] bool ok() const { return ok_; }                  ///< Whether it succeeded.
  explicit operator bool() const { return ok_; }                 ///< Whether it succeeded.
  /// The error; not ok() is a checked precondition.
  [[nodiscard]] const Error& error() const& {
    TRITIUM_ASSUME(!ok_);
    return error_;
  }
  /// The error, to be moved from; not ok() is a checked precondition.
  [[nodiscard]] Error&& error() && {
    TRITIUM_ASSUME(!ok_);
    return std::move(error_);
  }

 private:
  Error error_;
  bool ok_ = true;
};

/// Success or an Error, of functions that make nothing.
using Status = Result<void>;

TRITIUM_NAMESPACE_END

#define TRITIUM_CONCAT_(a, b) a##b
/// Both texts as one name, macros expanded first.
#define TRITIUM_CONCAT(a, b) TRITIUM_CONCAT_(a, b)

/// Returns the error of a Status or Result to the caller.
#define TRITIUM_TRY(expression)                                           \
  do {                                                                    \
    auto tritium_status_ = (expression);                                  \
    if (!tritium_status_.ok()) return std::move(tritium_status_).error(); \
  } while (false)

/// Declares `declaration` from the value of a Result, or returns its error: TRITIUM_ASSIGN(auto x, make_x());
#define TRITIUM_ASSIGN(declaration, expression) \
  TRITIUM_ASSIGN_(declaration, expression, TRITIUM_CONCAT(tritium_result_, __COUNTER__))
#define TRITIUM_ASSIGN_(declaration, expression, name) \
  auto name = (expression);                            \
  if (!name.ok()) return std::move(name).error();      \
  declaration = *std::move(name)
