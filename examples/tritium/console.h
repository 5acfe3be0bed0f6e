// SPDX-License-Identifier: Apache-2.0
// What the commands say: results on standard output, everything else on standard error.
//
// Output goes through write(2), so that a full disk or a closed pipe is an error of the command and not a silence.
// Nothing here needs memory to report that there is none.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "tritium/core/status.h"

namespace cli {

/// Exit statuses of the contract.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kInterrupted = 130;

/// Standard output, buffered. Write errors stick and come out of flush().
class Output {
 public:
  void write(std::string_view text);
  void line(std::string_view text) {
    write(text);
    write("\n");
  }
  /// Errors: io, the first one since the start.
  tritium::Status flush();
  [[nodiscard]] bool failed() const { return code_ != 0; }

 private:
  std::string buffer_;
  int code_ = 0;
};
Output& out();

/// True where a person sits in front of it.
bool is_terminal(int descriptor);
/// Whether escape sequences for colour may be used on standard error.
bool wants_colour();

/// --quiet: no notes, no progress.
void set_quiet(bool quiet);
bool is_quiet();

/// One line on standard error: "tritium: error: MESSAGE". Control characters come out escaped.
void print_error(std::string_view message) noexcept;
/// One line on standard error, unless --quiet.
void note(std::string_view message);
/// Raw text to standard error; errors are ignored, there is nobody left to tell.
void write_error_stream(std::string_view text) noexcept;

/// Makes descriptors 0, 1 and 2 exist, so that no model file gets their numbers. What was closed fails when it is used.
void reserve_standard_streams();

/// A line that fills up while something long runs; on a terminal only.
class Progress {
 public:
  explicit Progress(std::string_view what);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }
  void update(std::size_t done, std::size_t total);
  void clear();

 private:
  std::string what_;
  bool enabled_;
  bool shown_ = false;
  int percent_ = -1;
  std::chrono::steady_clock::time_point start_;
};

/// "12.3 MB": decimal units, as disks are sold.
std::string human_bytes(std::size_t bytes);
/// `value` with that many digits after the point.
std::string fixed(double value, int digits);
/// `text` with control characters as \xNN: fit for one line. Backslashes stay.
std::string one_line(std::string_view text);
/// Padded with spaces to `width` characters (UTF-8 code points).
std::string left(std::string_view text, std::size_t width);
std::string right(std::string_view text, std::size_t width);

}  // namespace cli
