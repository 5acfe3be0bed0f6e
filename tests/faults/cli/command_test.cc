// SPDX-License-Identifier: Apache-2.0
// Faults that a command meets from outside: signals at any moment, a disk that is full, memory that is limited. Each is one
// error line and the status of the contract, and the user's files are whole.

#include <cstdio>
#include <thread>

#include "cli/cli.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Writer {
  const char* name;
  std::vector<std::string> arguments;  ///< OUT stands for the output file
};

const std::vector<Writer>& writers() {
  static const std::vector<Writer> all = {
      {"pack", {"pack", tiny_model(), "OUT", "-t", "2"}},
      {"quantize", {"quantize", tiny_model(), "OUT", "--to", "q8_0", "-t", "2"}},
      {"logits", {"logits", tiny_model(), "--tokens", "1,5,7,30,12,44", "--out", "OUT", "-t", "2", "-q"}},
      {"perplexity --save-logits",
       {"perplexity", tiny_model(), "-f", TRITIUM_TEST_DATA "/golden/llama/config.json", "--ctx", "16", "--save-logits",
        "OUT", "-t", "2", "-q"}}};
  return all;
}
std::vector<std::string> with_output(const Writer& writer, const std::string& path) {
  std::vector<std::string> arguments = writer.arguments;
  for (std::string& argument : arguments) argument = argument == "OUT" ? path : argument;
  return arguments;
}

/// The output of an undisturbed run, and how long that takes.
struct Reference {
  std::string bytes;
  std::chrono::microseconds time{};
  explicit Reference(const Writer& writer) {
    const TemporaryFolder folder;
    for (int i = 0; i < 3; ++i) {  // the shortest: the machine may be busy
      const auto start = Clock::now();
      const Finished run = call(with_output(writer, folder / "out"));
      const auto taken = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
      time = i == 0 ? taken : std::min(time, taken);
      INFO(run.err);
      REQUIRE(run.status == 0);
    }
    bytes = file_contents(folder / "out");
  }
};

/// Sends a signal so long after the start.
Finished disturbed(const std::vector<std::string>& arguments, std::chrono::microseconds delay, int signal) {
  Process process(command(arguments));
  std::this_thread::sleep_for(delay);
  process.send(signal);
  return process.finish();
}

/// Files that a writer has left behind under a name of its own.
std::size_t temporaries(const TemporaryFolder& folder) {
  const std::vector<std::string> entries = folder.entries();
  return static_cast<std::size_t>(
      std::count_if(entries.begin(), entries.end(), [](const std::string& name) { return name.starts_with('.'); }));
}

constexpr int kMoments = 24;

}  // namespace

TEST_CASE("an interrupt at any moment leaves the old file or the new one", "[signals]") {
  std::size_t runs = 0, interrupted = 0, finished = 0;
  for (const Writer& writer : writers()) {
    const Reference reference(writer);
    for (const bool replaces : {false, true}) {
      const TemporaryFolder folder;
      const std::string out = folder / "out";
      for (int moment = 0; moment < kMoments; ++moment) {
        if (replaces) write_file(out, "the old one");
        else std::filesystem::remove(out);
        const auto delay = reference.time * moment / (kMoments - 4);
        INFO(writer.name << ", " << delay.count() << " us after the start");
        const Finished run = disturbed(with_output(writer, out), delay, SIGINT);
        INFO(run.err);
        ++runs;
        // Before main() nothing is there to say it: the system ends the process.
        const bool before_main = run.signal == SIGINT && run.out.empty() && run.err.empty();
        CHECK((run.signal == 0 || before_main));
        if (run.signal == 0 && run.status == 130) CHECK(contains(error_of(run, 130, true), "interrupted"));
        else if (run.signal == 0) CHECK(run.status == 0);
        interrupted += run.status == 0 ? 0 : 1;
        finished += run.status == 0 ? 1 : 0;
        if (run.status == 0) CHECK(file_contents(out) == reference.bytes);
        else if (std::filesystem::exists(out))
          CHECK((file_contents(out) == reference.bytes || (replaces && file_contents(out) == "the old one")));
        else CHECK_FALSE(replaces);
        // Nothing half is left: a temporary goes with the writer.
        CHECK(temporaries(folder) == 0);
      }
    }
  }
  CHECK(interrupted > runs / 16);
  std::printf(
      "figure: faults: SIGINT: %zu runs of 4 writing commands, %zu interrupted, %zu already done, 0 half files\n", runs,
      interrupted, finished);
}

TEST_CASE("a process killed at any moment leaves the old file or the new one, and the next run cleans up",
          "[signals]") {
  std::size_t runs = 0, left = 0;
  for (const Writer& writer : writers()) {
    const Reference reference(writer);
    const TemporaryFolder folder;
    const std::string out = folder / "out";
    for (int moment = 0; moment < kMoments; ++moment) {
      write_file(out, "the old one");
      INFO(writer.name << ", moment " << moment);
      (void)disturbed(with_output(writer, out), reference.time * moment / (kMoments - 4), SIGKILL);
      ++runs;
      const std::string bytes = file_contents(out);
      CHECK((bytes == "the old one" || bytes == reference.bytes));
      left += temporaries(folder);
    }
    CHECK(call(with_output(writer, out)).status == 0);
    CHECK(temporaries(folder) == 0);
    CHECK(file_contents(out) == reference.bytes);
  }
  std::printf("figure: faults: SIGKILL: %zu runs, 0 half files, %zu temporaries left and removed by a later run\n",
              runs, left);
}

TEST_CASE("an interrupt at any moment ends run with the text so far", "[signals]") {
  const std::vector<std::string> arguments = {"run", tiny_model(),   "-p",       "Alice", "-n",
                                              "40",  "--ignore-eos", "--greedy", "-t",    "2"};
  const std::string whole = output_of(arguments);
  const auto start = Clock::now();
  (void)output_of(arguments);
  const auto time = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  std::size_t interrupted = 0;
  for (int moment = 0; moment < 2 * kMoments; ++moment) {
    const Finished run = disturbed(arguments, time * moment / (2 * kMoments), SIGINT);
    INFO("moment " << moment << ": " << run.err);
    CHECK((run.signal == 0 || (run.signal == SIGINT && run.out.empty() && run.err.empty())));
    if (run.signal == 0) CHECK((run.status == 130 || run.status == 0));
    std::string_view text = run.out;
    while (run.status != 0 && text.ends_with("\xEF\xBF\xBD")) text.remove_suffix(3);  // a character that was under way
    CHECK(whole.starts_with(text));
    if (run.status == 0) CHECK(run.out == whole);
    else ++interrupted;
  }
  CHECK(interrupted > kMoments / 8);
  std::printf("figure: faults: SIGINT: %d runs of run, %zu interrupted, each with a beginning of the text\n",
              2 * kMoments, interrupted);
}

TEST_CASE("a disk that is full leaves the old file", "[disk]") {
  std::size_t refused = 0;
  for (const Writer& writer : writers()) {
    const Reference reference(writer);
    for (const bool replaces : {false, true}) {
      const TemporaryFolder folder;
      const std::string out = folder / "out";
      for (std::size_t part = 0; part < 8; ++part) {
        if (replaces) write_file(out, "the old one");
        ProcessOptions limited;
        limited.max_file_bytes = reference.bytes.size() * part / 8;
        INFO(writer.name << " with room for " << *limited.max_file_bytes << " of " << reference.bytes.size()
                         << " bytes");
        const std::string line = error_of(call(with_output(writer, out), limited), 1);
        CHECK(contains(line, "File too large"));
        CHECK(contains(line, "out"));
        CHECK(temporaries(folder) == 0);
        if (replaces) CHECK(file_contents(out) == "the old one");
        ++refused;
      }
      ProcessOptions enough;
      enough.max_file_bytes = reference.bytes.size();
      CHECK(call(with_output(writer, out), enough).status == 0);
      CHECK(file_contents(out) == reference.bytes);
    }
  }
  std::printf("figure: faults: full disk: %zu runs of 4 writing commands, each one error line, 0 half files\n",
              refused);
}

TEST_CASE("an address space that is too small is one error line", "[memory]") {
  const std::vector<std::vector<std::string>> commands = {
      {"run", tiny_model(), "-p", "Alice", "-n", "4", "--ignore-eos", "--greedy", "-q"},
      {"run", golden_gguf("gemma3"), "-p", "Alice", "-n", "4", "--ignore-eos", "--greedy", "-q"},
      {"logits", golden_folder("gemma3n"), "--tokens", "1,5,7", "--out", "/dev/null/none", "-q"},
      {"inspect", golden_folder("llama"), "--json"},
      {"tokenize", tiny_model(), "Alice"}};
  // What the system and its dynamic linker need before main().
  rlim_t least = 1024;
  for (ProcessOptions limited;; least += 256) {
    REQUIRE(least < 64 << 10);
    limited.max_memory_bytes = least << 10;
    if (call({"--version"}, limited).status == 0) break;
  }
  std::size_t refused = 0, done = 0;
  for (std::vector<std::string> arguments : commands) {
    for (const char* threads : {"1", "8"}) {
      arguments.insert(arguments.end(), {"-t", threads});
      const Finished whole = call(arguments);
      for (rlim_t kilobytes = least; kilobytes < 192 << 10;
           kilobytes += kilobytes < least + 2048 ? 128 : kilobytes / 16) {
        ProcessOptions limited;
        limited.max_memory_bytes = kilobytes << 10;
        INFO(arguments[0] << " " << arguments[1] << " -t " << threads << ", ulimit -v " << kilobytes);
        const Finished run = call(arguments, limited);
        INFO(run.err);
        CHECK(run.signal == 0);
        CHECK((run.status == whole.status || run.status == 1));
        if (run.status == 0) CHECK(run.out == whole.out);
        else error_of(run, 1);
        ++(run.status == 0 ? done : refused);
      }
      arguments.resize(arguments.size() - 2);
    }
  }
  CHECK(refused > 0);
  CHECK(done > 0);
  std::printf("figure: faults: ulimit -v: %zu runs refused with one error line, %zu done, from %zu KiB on\n", refused,
              done, static_cast<std::size_t>(least));
}
