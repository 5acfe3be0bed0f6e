// SPDX-License-Identifier: Apache-2.0
#include "console.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace cli {

namespace {

bool g_quiet = false;

/// 0, or the errno of the first failure.
int write_all(int descriptor, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t put = ::write(descriptor, text.data(), text.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return 0;
}

std::size_t code_points(std::string_view text) {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u ? 1 : 0;
  return n;
}

/// Calls put(piece) with runs of `text` that are fit for one line. No memory is needed.
template <class Put>
void for_line_pieces(std::string_view text, Put&& put) noexcept {
  constexpr char kDigits[] = "0123456789abcdef";
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c >= 0x20 && c != 0x7F && !c1) continue;
    put(text.substr(plain, i - plain));
    const char escaped[4] = {'\\', 'x', kDigits[c >> 4], kDigits[c & 15]};
    put(std::string_view(escaped, 4));
    plain = i + 1;
  }
  put(text.substr(plain));
}

}  // namespace

void Output::write(std::string_view text) {
  if (code_ != 0) return;
  constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
  buffer_.append(text);
  if (buffer_.size() >= kBufferBytes) {
    code_ = write_all(STDOUT_FILENO, buffer_);
    buffer_.clear();
  }
}

tritium::Status Output::flush() {
  if (code_ == 0 && !buffer_.empty()) code_ = write_all(STDOUT_FILENO, buffer_);
  buffer_.clear();
  if (code_ == 0) return {};
  return tritium::make_error(tritium::Errc::io, "cannot write the output", "standard output", "room for more bytes",
                             std::generic_category().message(code_));
}

Output& out() {
  static Output output;
  return output;
}

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

bool wants_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal(STDERR_FILENO) && (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

void set_quiet(bool quiet) { g_quiet = quiet; }
bool is_quiet() { return g_quiet; }

void write_error_stream(std::string_view text) noexcept { (void)write_all(STDERR_FILENO, text); }

void print_error(std::string_view message) noexcept {
  // One write where it fits, so that lines of several processes do not mix.
  std::array<char, 4096> line;
  std::size_t size = 0;
  const auto put = [&](std::string_view piece) {
    if (piece.size() > line.size() - size) {
      write_error_stream({line.data(), size});
      size = 0;
      if (piece.size() > line.size()) {
        write_error_stream(piece);
        return;
      }
    }
    std::memcpy(line.data() + size, piece.data(), piece.size());
    size += piece.size();
  };
  put("tritium: error: ");
  for_line_pieces(message, put);
  put("\n");
  write_error_stream({line.data(), size});
}

void note(std::string_view message) {
  if (g_quiet) return;
  write_error_stream(std::string("tritium: ").append(one_line(message)).append("\n"));
}

void reserve_standard_streams() {
  // A stream that was closed stays unusable: reads from 0 fail, writes to 1 fail; 2 goes nowhere.
  constexpr int kFlags[] = {O_WRONLY, O_RDONLY, O_WRONLY};
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) (void)::open("/dev/null", kFlags[descriptor]);
  }
}

Progress::Progress(std::string_view what)
    : what_(what), enabled_(!g_quiet && is_terminal(STDERR_FILENO)), start_(std::chrono::steady_clock::now()) {}

void Progress::update(std::size_t done, std::size_t total) {
  if (!enabled_ || total == 0) return;
  const int percent = static_cast<int>(static_cast<double>(done) / static_cast<double>(total) * 100.0);
  if (percent == percent_) return;
  // Nothing flickers by for what is over at once.
  if (!shown_ && std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(300)) return;
  percent_ = percent;
  shown_ = true;
  std::string line = "\r" + what_ + " " + std::to_string(percent) + " %";
  write_error_stream(line);
}

void Progress::clear() {
  if (shown_) write_error_stream("\r" + std::string(what_.size() + 8, ' ') + "\r");
  shown_ = false;
  percent_ = -1;
}

std::string fixed(double value, int digits) {
  char text[64];
  (void)std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string human_bytes(std::size_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000.0;
    ++unit;
  }
  return fixed(value, unit == 0 || value >= 100 ? 0 : 1) + " " + kUnits[unit];
}

std::string one_line(std::string_view text) {
  std::string line;
  for_line_pieces(text, [&](std::string_view piece) { line.append(piece); });
  return line;
}

std::string left(std::string_view text, std::size_t width) {
  const std::size_t n = code_points(text);
  return std::string(text).append(n < width ? width - n : 0, ' ');
}
std::string right(std::string_view text, std::size_t width) {
  const std::size_t n = code_points(text);
  return std::string(n < width ? width - n : 0, ' ').append(text);
}

}  // namespace cli
