// SPDX-License-Identifier: Apache-2.0
#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "console.h"
#include "tritium/io/mapped_file.h"

namespace cli {

namespace {

std::atomic<int> g_interrupts{0};
std::atomic<bool> g_catching{false};
std::atomic<bool> g_dying{false};
int g_wake[2] = {-1, -1};  // a pipe that holds a byte after an interrupt
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

/// A line put together without memory or locks.
class SignalLine {
 public:
  void add(const char* text) {
    for (; *text != '\0' && size_ + 1 < sizeof(text_); ++text) {
      const auto c = static_cast<unsigned char>(*text);
      text_[size_++] = c < 0x20 || c == 0x7F ? '?' : *text;
    }
  }
  void send() {
    text_[size_++] = '\n';
    for (std::size_t at = 0; at < size_;) {
      const ssize_t put = ::write(STDERR_FILENO, text_ + at, size_ - at);
      if (put <= 0) return;
      at += static_cast<std::size_t>(put);
    }
  }

 private:
  char text_[4600];
  std::size_t size_ = 0;
};

void on_bus_error(int signal, siginfo_t* details, void*) {
  const char* path = nullptr;
  if (!tritium::find_mapping(details->si_addr, &path)) {
    (void)::signal(signal, SIG_DFL);  // a fault of our own: die of it when it repeats
    return;
  }
  if (g_dying.exchange(true)) {  // another thread is already saying it
    for (;;) ::pause();
  }
  SignalLine line;
  line.add("tritium: error: model file changed while it was in use (");
  line.add(path);
  line.add(": expected the size it had when it was opened, found less)");
  line.send();
  ::_exit(kFailed);
}

void on_interrupt(int) {
  const int before = g_interrupts.fetch_add(1);
  if (g_catching.load() && before == 0) {
    const char byte = 0;
    (void)!::write(g_wake[1], &byte, 1);
    return;
  }
  if (g_dying.exchange(true)) return;
  SignalLine line;
  line.add("tritium: error: interrupted");
  line.send();
  ::_exit(kInterrupted);
}

}  // namespace

void install_signal_handlers() {
  (void)::signal(SIGPIPE, SIG_IGN);
  (void)::signal(SIGXFSZ, SIG_IGN);
  struct sigaction action;
  std::memset(&action, 0, sizeof(action));
  (void)sigemptyset(&action.sa_mask);
  action.sa_sigaction = &on_bus_error;
  action.sa_flags = SA_SIGINFO;
  (void)::sigaction(SIGBUS, &action, nullptr);
  if (::pipe2(g_wake, O_CLOEXEC | O_NONBLOCK) != 0) g_wake[0] = g_wake[1] = -1;
  std::memset(&action, 0, sizeof(action));
  (void)sigemptyset(&action.sa_mask);
  action.sa_handler = &on_interrupt;
  (void)::sigaction(SIGINT, &action, nullptr);
}

CatchInterrupts::CatchInterrupts() {
  g_interrupts.store(0);
  g_catching.store(true);
}
CatchInterrupts::~CatchInterrupts() { g_catching.store(false); }

bool interrupted() { return g_interrupts.load(std::memory_order_relaxed) != 0; }
void reset_interrupt() {
  g_interrupts.store(0);
  char bytes[16];
  while (::read(g_wake[0], bytes, sizeof(bytes)) > 0) {}
}
int interrupt_descriptor() { return g_wake[0]; }

}  // namespace cli
