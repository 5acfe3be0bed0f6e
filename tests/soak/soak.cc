// SPDX-License-Identifier: Apache-2.0
// Soak: sessions opened, used and closed for a given time, as a server would; memory must stay flat and texts the same.
//
//   soak [SECONDS [MODEL]]      600 seconds of a tiny model
//
// Workers share one model, each with sessions of its own; one opens and closes models beside them. A third of the texts are
// cancelled half-way. After a warm-up what the allocator holds is measured at quiet moments, when nobody has anything open,
// and the resident memory with it. Status 1 when memory grew by more than its bound or when a text was not the first one.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/generate/session.h"
#include "tritium/generate/text_model.h"

using namespace tritium;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kWorkers = 3;
constexpr std::size_t kTokens = 24;
/// What the allocator holds may grow by this much between 10 % and 100 % of the time: nothing that counts sessions.
constexpr std::size_t kHeldBound = 64 << 10;
/// Resident memory moves with the arenas of short-lived threads.
constexpr std::size_t kResidentBound = 8 << 20;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "soak: error: %s\n", what.c_str());
  std::_Exit(1);
}
template <class T>
T need(Result<T> result) {
  if (!result.ok()) die(result.error().message);
  return *std::move(result);
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}
/// Bytes that the program holds from the allocator, in all arenas and mappings.
std::size_t held_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}
double megabytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

struct Loaded {
  std::unique_ptr<Model> model;
  Tokenizer tokenizer;
};
Loaded open_model(const std::string& path, const Executor& executor = {}) {
  const Checkpoint checkpoint = need(try_open(path));
  Tokenizer tokenizer = need(load_tokenizer(checkpoint));
  return {need(try_load(checkpoint, {}, executor)), std::move(tokenizer)};
}

struct Counts {
  std::atomic<std::size_t> sessions{0}, cancelled{0}, tokens{0}, models{0};
};

/// One session's life. The text must be `expected` as far as it goes; an empty `expected` takes the text.
void use_session(const Loaded& loaded, const Executor& executor, bool cancel, std::string& expected, Counts& counts) {
  Decoder::Options options;
  options.context = std::min<std::size_t>(loaded.model->spec.context, 64);
  options.max_batch = 8;
  Session session = need(Session::create(*loaded.model, loaded.tokenizer, options, executor));
  const std::vector<std::int32_t> prompt = need(loaded.tokenizer.encode("Alice was beginning to get very tired", {}));
  GenerateOptions generate;
  generate.max_tokens = std::min(kTokens, options.context - std::min(options.context, prompt.size()));
  generate.sampler.temperature = 0;
  generate.ignore_eos = true;
  std::size_t asked = 0;
  if (cancel) generate.cancelled = [&] { return ++asked > kTokens / 2; };
  std::string text;
  const GenerateStats stats = need(session.generate(prompt, generate, [&](std::string_view piece) {
    text += piece;
    return true;
  }));
  counts.sessions.fetch_add(1);
  counts.tokens.fetch_add(stats.new_tokens);
  if (cancel) {
    counts.cancelled.fetch_add(1);
    if (stats.finish != Finish::cancelled) die("a session did not stop when it was cancelled");
    while (text.ends_with("\xEF\xBF\xBD")) text.resize(text.size() - 3);  // a character that was under way
    if (!expected.starts_with(text)) die("a cancelled text is not a beginning of the first one: \"" + text + "\"");
    return;
  }
  if (stats.finish != Finish::length) die("a text ended early");
  if (expected.empty()) expected = text;
  if (text != expected) die("a text differs from the first one: \"" + text + "\" instead of \"" + expected + "\"");
}

/// All workers once through `rounds` sessions, and one that opens models meanwhile; everything is closed at the end.
void burst(const Loaded& shared, const std::string& path, std::size_t rounds, std::string expected, Counts& counts) {
  std::vector<std::thread> threads;
  for (std::size_t w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&, w] {
      std::unique_ptr<ThreadPool> pool;
      if (w == 0) pool = need(ThreadPool::create(2));
      std::string own = expected;
      for (std::size_t i = 0; i < rounds; ++i)
        use_session(shared, pool ? pool->executor() : Executor{}, (i + w) % 3 == 2, own, counts);
    });
  }
  threads.emplace_back([&] {
    const Loaded mine = open_model(path);
    counts.models.fetch_add(1);
    std::string own = expected;
    use_session(mine, {}, false, own, counts);
  });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::strtod(argv[1], nullptr) : 600.0;
  const std::string path = argc > 2 ? argv[2] : TRITIUM_TEST_DATA "/golden/llama/model.gguf";
  if (!(seconds > 0.0) || argc > 3) {
    std::fprintf(stderr, "soak: error: wrong usage (arguments: expected [SECONDS [MODEL]])\n");
    return 2;
  }
  Counts counts;
  const Loaded shared = open_model(path);
  std::string expected;
  use_session(shared, {}, false, expected, counts);
  if (expected.empty()) die("the model wrote no text");

  struct Sample {
    std::size_t held = 0, resident = 0;
  };
  std::optional<Sample> early;
  Sample last, greatest;
  std::size_t bursts = 0;
  const auto start = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - start).count() / seconds; };
  do {
    burst(shared, path, 4, expected, counts);
    ++bursts;
    last = {held_bytes(), resident_bytes()};
    greatest = {std::max(greatest.held, last.held), std::max(greatest.resident, last.resident)};
    if (!early && passed() >= 0.1 && bursts >= 8) early = last;
  } while (passed() < 1.0 || !early || bursts < 16);

  std::printf("figure: soak: %.0f s, %zu sessions, %zu of them cancelled, %zu tokens, %zu models opened\n",
              passed() * seconds, counts.sessions.load(), counts.cancelled.load(), counts.tokens.load(),
              counts.models.load());
  std::printf("figure: soak: held %.2f MiB at 10 %%, %.2f at the end, %.2f at most; resident %.1f, %.1f, %.1f MiB\n",
              megabytes(early->held), megabytes(last.held), megabytes(greatest.held), megabytes(early->resident),
              megabytes(last.resident), megabytes(greatest.resident));
  if (last.held > early->held + kHeldBound)
    die("the program holds " + std::to_string(last.held - early->held) + " bytes more than at 10 % (expected at most " +
        std::to_string(kHeldBound) + ")");
  if (last.resident > early->resident + kResidentBound)
    die("resident memory grew by " + std::to_string(last.resident - early->resident) +
        " bytes since 10 % (expected at most " + std::to_string(kResidentBound) + ")");
  return 0;
}
