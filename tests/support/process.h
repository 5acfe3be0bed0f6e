// SPDX-License-Identifier: Apache-2.0
// A child process with its three streams in hand: what tests of a command line need, and a time limit on all of it.
//
// The child is forked and executed directly, without a shell. Streams are pipes unless a case gives a file; a poll loop
// feeds and drains them, so that neither side can wait for the other for ever. A child that outlives its limit is
// killed and the case fails.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// How a process starts.
struct ProcessOptions {
  std::string input;                                             ///< what its standard input holds; then the end
  bool keep_input_open = false;                                  ///< no end of input until close_input()
  std::string input_path;                                        ///< a file instead of a pipe
  std::string output_path;                                       ///< standard output goes to this file or device
  bool close_output_early = false;                               ///< nobody reads standard output
  std::vector<std::pair<std::string, std::string>> environment;  ///< beside PATH, HOME and LC_ALL
  std::optional<rlim_t> max_file_bytes;                          ///< RLIMIT_FSIZE
  std::optional<rlim_t> max_memory_bytes;                        ///< RLIMIT_AS, what ulimit -v sets
  std::chrono::seconds limit{120};
};

/// What became of it.
struct Finished {
  int status = -1;  ///< of exit; -1 when a signal ended it
  int signal = 0;
  std::string out;
  std::string err;
};

class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments, const ProcessOptions& options = {})
      : options_(options), deadline_(std::chrono::steady_clock::now() + options.limit) {
    start(arguments);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (child_ > 0) {
      (void)::kill(child_, SIGKILL);
      (void)::waitpid(child_, nullptr, 0);
    }
    for (int* end : {&input_, &output_, &errors_}) close_end(*end);
  }

  void send(int signal) { REQUIRE(::kill(child_, signal) == 0); }
  void close_input() {
    options_.keep_input_open = false;
    if (sent_ == options_.input.size()) close_end(input_);
  }
  void add_input(std::string_view text) { options_.input += text; }

  [[nodiscard]] const std::string& out() const { return result_.out; }
  [[nodiscard]] const std::string& err() const { return result_.err; }

  /// Moves bytes until `done()` or the end of the child's output; false in the second case.
  bool run_until(const std::function<bool()>& done) {
    while (!done()) {
      if (output_ < 0 && errors_ < 0) {
        int status = 0;
        if (::waitpid(child_, &status, WNOHANG) == child_) {
          take(status);
          return done();
        }
      }
      step(10);
    }
    return true;
  }

  /// Moves bytes until the child has ended.
  Finished finish() {
    while (output_ >= 0 || errors_ >= 0) step(1000);
    for (int status = 0; child_ > 0;) {
      const pid_t ended = ::waitpid(child_, &status, WNOHANG);
      if (ended == child_) take(status);
      else step(5);
    }
    return std::move(result_);
  }

 private:
  static void close_end(int& end) {
    if (end >= 0) (void)::close(end);
    end = -1;
  }

  void take(int status) {
    child_ = -1;
    if (WIFEXITED(status)) result_.status = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result_.signal = WTERMSIG(status);
  }

  void start(const std::vector<std::string>& arguments) {
    int input[2] = {-1, -1};
    int output[2] = {-1, -1};
    int errors[2] = {-1, -1};
    REQUIRE(::pipe2(input, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(output, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(errors, O_CLOEXEC) == 0);
    std::vector<std::string> variables = {"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C"};
    for (const auto& [name, value] : options_.environment) {
      std::erase_if(variables, [&](const std::string& v) { return v.starts_with(name + "="); });
      variables.push_back(name + "=" + value);
    }
    for (const char* kept : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"}) {
      if (const char* value = std::getenv(kept)) variables.push_back(std::string(kept) + "=" + value);
    }
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (const std::string& variable : variables) envp.push_back(const_cast<char*>(variable.c_str()));
    envp.push_back(nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);  // a child that ends early is no reason for the tests to
    // An interrupt right behind the fork must not find the tests' own handler.
    sigset_t interrupt, before;
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)::pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    child_ = ::fork();
    if (child_ != 0) (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    REQUIRE(child_ >= 0);
    if (child_ == 0) {  // only calls that are safe between fork and exec
      (void)::signal(SIGPIPE, SIG_DFL);
      (void)::signal(SIGINT, SIG_DFL);
      (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      const int in = options_.input_path.empty() ? input[0] : ::open(options_.input_path.c_str(), O_RDONLY);
      const int out =
          options_.output_path.empty() ? output[1] : ::open(options_.output_path.c_str(), O_WRONLY | O_CREAT, 0666);
      if (in < 0 || out < 0) ::_exit(126);
      (void)::dup2(in, 0);
      (void)::dup2(out, 1);
      (void)::dup2(errors[1], 2);
      if (options_.max_file_bytes) {
        const rlimit limit{*options_.max_file_bytes, *options_.max_file_bytes};
        (void)::setrlimit(RLIMIT_FSIZE, &limit);
      }
      if (options_.max_memory_bytes) {
        const rlimit limit{*options_.max_memory_bytes, *options_.max_memory_bytes};
        (void)::setrlimit(RLIMIT_AS, &limit);
      }
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    (void)::close(input[0]);
    (void)::close(output[1]);
    (void)::close(errors[1]);
    input_ = input[1];
    output_ = output[0];
    errors_ = errors[0];
    for (const int end : {input_, output_, errors_}) (void)::fcntl(end, F_SETFL, O_NONBLOCK);
    if (options_.close_output_early) close_end(output_);
    if (!options_.output_path.empty()) close_end(output_);
    if (!options_.input_path.empty()) close_end(input_);
  }

  /// One turn of the loop: at most `milliseconds` long.
  void step(int milliseconds) {
    if (std::chrono::steady_clock::now() > deadline_) {
      (void)::kill(child_, SIGKILL);
      FAIL("the process took longer than " << options_.limit.count() << " s; standard error: " << result_.err);
    }
    const bool has_input = sent_ < options_.input.size();
    if (!has_input && !options_.keep_input_open) close_end(input_);
    pollfd ends[3] = {{has_input ? input_ : -1, POLLOUT, 0}, {output_, POLLIN, 0}, {errors_, POLLIN, 0}};
    if (::poll(ends, 3, milliseconds) < 0) return;
    if (ends[0].revents != 0) {
      const ssize_t put = ::write(input_, options_.input.data() + sent_, options_.input.size() - sent_);
      if (put > 0) sent_ += static_cast<std::size_t>(put);
      if (put < 0 && errno != EAGAIN && errno != EINTR) {  // nobody reads any more
        sent_ = options_.input.size();
        close_end(input_);
      }
    }
    if (ends[1].revents != 0) drain(output_, result_.out);
    if (ends[2].revents != 0) drain(errors_, result_.err);
  }

  static void drain(int& end, std::string& text) {
    char piece[1 << 16];
    const ssize_t got = ::read(end, piece, sizeof(piece));
    if (got > 0) text.append(piece, static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close_end(end);
  }

  ProcessOptions options_;
  std::chrono::steady_clock::time_point deadline_;
  Finished result_;
  pid_t child_ = -1;
  std::size_t sent_ = 0;
  int input_ = -1;
  int output_ = -1;
  int errors_ = -1;
};

inline Finished run_process(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  return Process(arguments, options).finish();
}
