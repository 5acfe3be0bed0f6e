// SPDX-License-Identifier: Apache-2.0
// Memory that is refused at every point: of each kind of load, and of what a loaded model is used for. Each refusal comes
// back as an error, nothing is leaked, and the same process does the same work right afterwards.

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstring>
#include <functional>

#include "faults/injection.h"
#include "support/golden_models.h"
#include "support/golden_tokenizer.h"
#include "tritium/c/tritium.h"
#include "tritium/generate/session.h"
#include "tritium/generate/text_model.h"
#include "tritium/model/packed_cache.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

/// Does the work and says what came out; must fail with an error.
using Work = std::function<Result<std::string>()>;

struct Figures {
  std::size_t allocations = 0;  ///< of the undisturbed work
  std::size_t injected = 0;
  std::size_t survived = 0;  ///< of them, the work was done all the same
};

/// Runs the work with its nth allocation, and then also with all behind it, refused: for every n up to `dense`, then in
/// steps that grow.
Figures inject(const char* name, const Work& work, std::size_t dense = 4000) {
  Figures figures;
  const std::string expected = value_of(work());  // also fills what the program keeps for good
  {
    const AllocationFault count(AllocationFault::kNever, 0);
    const Result<std::string> counted = work();
    figures.allocations = count.calls();
    REQUIRE(counted.ok());
  }
  REQUIRE(figures.allocations > 0);
  const LiveMemory before = live_memory();
  for (const std::size_t count : {std::size_t{1}, AllocationFault::kAllBehind}) {
    for (std::size_t n = 1; n <= figures.allocations; n += 1 + (n > dense ? (n - dense) / 16 : 0)) {
      Errc code = Errc::invalid_argument;
      bool ok = false, same = false, threw = false, printable = false;
      char message[256] = "";
      {
        const AllocationFault fault(n, count);
        try {
          const Result<std::string> result = work();
          ok = result.ok();
          same = ok && *result == expected;
          if (!ok) {
            code = result.error().code;
            printable = is_one_printable_line(result.error().message);
            (void)std::snprintf(message, sizeof(message), "%s", result.error().message.c_str());
          }
        } catch (...) {
          threw = true;
        }
      }
      ++figures.injected;
      if (ok) ++figures.survived;
      const LiveMemory after = live_memory();
      if (!threw && after == before && (ok ? same : code == Errc::out_of_memory && printable)) continue;
      INFO(name << ", allocation " << n << " of " << figures.allocations << (count == 1 ? "" : " and all behind it")
                << ": " << message);
      CHECK_FALSE(threw);
      if (ok) CHECK(same);
      else CHECK((code == Errc::out_of_memory && printable));
      CHECK(after.blocks == before.blocks);
      CHECK(after.bytes == before.bytes);
      FAIL("stopped at the first");
    }
  }
  CHECK(value_of(work()) == expected);
  CHECK(live_memory() == before);
  return figures;
}

void report(const char* name, const Figures& figures) {
  std::printf("figure: faults: memory, %s: %zu allocations, %zu refusals, %zu errors, %zu done all the same\n", name,
              figures.allocations, figures.injected, figures.injected - figures.survived, figures.survived);
}

GenerateOptions greedy(std::size_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  return options;
}

/// A model and its tokenizer, opened, and a short text made with them: everything of it is allocated anew.
Result<std::string> open_and_generate(const std::string& path, const LoadOptions& load = {},
                                      const Executor& executor = {}) {
  TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, load_tokenizer(checkpoint));
  TRITIUM_ASSIGN(const std::unique_ptr<Model> model, try_load(checkpoint, load, executor));
  Decoder::Options options;
  options.max_batch = 4;
  TRITIUM_ASSIGN(Session session, Session::create(*model, tokenizer, options, executor));
  TRITIUM_ASSIGN(const std::vector<std::int32_t> prompt, tokenizer.encode("Alice was beginning", {}));
  char text[256];
  std::size_t size = 0;
  TRITIUM_ASSIGN(const GenerateStats stats, session.generate(prompt, greedy(4), [&](std::string_view piece) {
    size += piece.copy(text + size, sizeof(text) - size);
    return true;
  }));
  // The text fits a string without memory where the report of a success is not the subject.
  return stats.new_tokens == 4 ? Result<std::string>(std::string(text, std::min<std::size_t>(size, 15)))
                               : Result<std::string>(Error{Errc::invalid_file, "no text"});
}

/// A golden folder with a tokenizer beside it.
struct FolderWithTokenizer {
  TemporaryFolder folder;
  explicit FolderWithTokenizer(const char* tokenizer) {
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::copy(std::string(TRITIUM_TEST_DATA "/golden/llama/") + file, folder / file);
    std::filesystem::copy(std::string(TRITIUM_TEST_DATA "/golden/tokenizers/") + tokenizer, folder / tokenizer);
    write_file(folder / "generation_config.json", R"({"eos_token_id": [2, 3], "do_sample": false})");
    write_file(folder / "tokenizer_config.json",
               R"({"add_bos_token": true, "chat_template": "{{ messages[0]['content'] }}"})");
  }
};

const std::string kGguf = TRITIUM_TEST_DATA "/golden/llama/model.gguf";

}  // namespace

TEST_CASE("memory refused while a GGUF model is opened, loaded and used", "[allocation]") {
  const Figures figures = inject("GGUF", [] { return open_and_generate(kGguf); });
  CHECK(figures.allocations > 100);
  report("GGUF", figures);
}

TEST_CASE("memory refused while a folder is opened, loaded and used", "[allocation]") {
  const FolderWithTokenizer json("tokenizer.json");
  report("folder, tokenizer.json", inject("tokenizer.json", [&] { return open_and_generate(json.folder.path()); }));
  const FolderWithTokenizer model("tokenizer.model");
  report("folder, tokenizer.model", inject("tokenizer.model", [&] { return open_and_generate(model.folder.path()); }));
}

TEST_CASE("memory refused while packed weights are kept and opened", "[allocation]") {
  const TemporaryFolder folder;
  const std::string path = folder / "c.tritium";
  const Figures figures = inject("packed cache", [&]() -> Result<std::string> {
    TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(kGguf));
    PackedRecord record;
    {
      LoadOptions load;
      load.record = &record;
      TRITIUM_ASSIGN(const std::unique_ptr<Model> model, try_load(checkpoint, load));
      (void)::unlink(path.c_str());
      TRITIUM_TRY(try_write_packed(path, checkpoint, load, record));
    }
    LoadOptions load;
    TRITIUM_ASSIGN(load.cache, PackedCache::open(path));
    return open_and_generate(kGguf, load);
  });
  report("packed cache", figures);
  CHECK(folder.entries() == std::vector<std::string>{"c.tritium"});
}

TEST_CASE("memory refused while every family's model is loaded and reads a token", "[allocation]") {
  std::size_t models = 0;
  Figures all;
  for (const GoldenRow& row : golden_rows()) {
    const std::string path = row.has_gguf() && models % 2 == 0 ? row.gguf() : row.folder;
    ++models;
    const Figures figures = inject(
        row.name.c_str(),
        [&]() -> Result<std::string> {
          TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(path));
          TRITIUM_ASSIGN(const std::unique_ptr<Model> model, try_load(checkpoint));
          TRITIUM_ASSIGN(const auto decoder, Decoder::create(*model, {}, {}));
          TRITIUM_ASSIGN(const Array<float> room, Array<float>::allocate(model->spec.vocab));
          float* const logits = const_cast<float*>(room.data());
          TRITIUM_TRY(decoder->forward(std::span(row.prompt).first(2), Decoder::Logits::last, logits));
          TRITIUM_TRY(decoder->forward({&row.prompt[2], 1}, Decoder::Logits::last, logits));
          std::string best = std::to_string(arg_max(logits, model->spec.vocab));
          return best;
        },
        200);
    all.allocations += figures.allocations;
    all.injected += figures.injected;
    all.survived += figures.survived;
  }
  CHECK(models >= 30);
  report((std::to_string(models) + " golden models").c_str(), all);
}

TEST_CASE("memory refused while an encoder-decoder is loaded", "[allocation]") {
  for (const char* row : {"mu", "mu-dual", "t5gemma"}) {
    const std::string path = std::string(TRITIUM_TEST_DATA "/golden_pairs/") + row;
    const Figures figures = inject(row, [&]() -> Result<std::string> {
      TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(path));
      TRITIUM_ASSIGN(const EncoderDecoderModel model, try_load_pair(checkpoint));
      return std::to_string(model.decoder->spec.vocab);
    });
    report(row, figures);
  }
}

TEST_CASE("memory refused on two threads at once", "[allocation]") {
  const Figures figures = inject(
      "two threads",
      []() -> Result<std::string> {
        TRITIUM_ASSIGN(const auto pool, ThreadPool::create(2));
        return open_and_generate(kGguf, {}, pool->executor());
      },
      100);
  report("GGUF on two threads", figures);
}

TEST_CASE("memory refused in the C interface", "[allocation]") {
  const auto failed = [](int code, const char* message) {
    // As much of the text as a string holds without memory.
    return Error{static_cast<Errc>(code == TRITIUM_INTERNAL ? 255 : code - 1),
                 std::string(message, strnlen(message, 15))};
  };
  const Figures figures = inject("C interface", [&]() -> Result<std::string> {
    struct Handles {
      tritium_model* model = nullptr;
      tritium_session* session = nullptr;
      ~Handles() {
        tritium_session_free(session);
        tritium_model_close(model);
      }
    } handles;
    tritium_model_options options{};
    options.threads = 1;
    options.chat_template = "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}";
    if (const int code = tritium_model_open(kGguf.c_str(), &options, &handles.model); code != TRITIUM_OK)
      return failed(code, tritium_model_error(handles.model));
    tritium_session_options how{};
    how.threads = 1;
    if (const int code = tritium_session_create(handles.model, &how, &handles.session); code != TRITIUM_OK)
      return failed(code, tritium_model_error(handles.model));
    const tritium_message messages[] = {{"user", "Alice was beginning"}, {"assistant", "to get very tired"}};
    std::int32_t ids[64];
    std::size_t n = 0;
    if (const int code = tritium_chat_tokens(handles.model, messages, 2, 1, ids, 64, &n); code != TRITIUM_OK)
      return failed(code, tritium_model_error(handles.model));
    if (const int code = tritium_session_prefill(handles.session, ids, n, nullptr); code != TRITIUM_OK)
      return failed(code, tritium_session_error(handles.session));
    tritium_sampling sampling;
    tritium_sampling_init(&sampling);
    sampling.temperature = 0;
    sampling.ignore_end = 1;
    if (const int code = tritium_session_sampling(handles.session, &sampling); code != TRITIUM_OK)
      return failed(code, tritium_session_error(handles.session));
    std::int32_t last = 0;
    for (int i = 0; i < 4; ++i) {
      const char* text = nullptr;
      std::size_t bytes = 0;
      if (const int code = tritium_session_next(handles.session, &last, &text, &bytes); code != TRITIUM_OK)
        return failed(code, tritium_session_error(handles.session));
    }
    return std::to_string(last);
  });
  report("C interface, chat", figures);
}

TEST_CASE("a session that was refused memory goes on", "[allocation]") {
  const Checkpoint checkpoint = open_checkpoint(kGguf);
  const Tokenizer tokenizer = value_of(load_tokenizer(checkpoint));
  const auto model = load_path(kGguf);
  Decoder::Options options;
  options.max_batch = 8;
  Session session = value_of(Session::create(*model, tokenizer, options, {}));
  REQUIRE(session.set_draft(*model, &tokenizer, options, {}).ok());
  const std::vector<std::int32_t> prompt =
      value_of(tokenizer.encode("Alice was beginning to get very tired of Alice was", {}));
  GenerateOptions generate = greedy(12);
  generate.lookup = 3;
  generate.drafted = 3;
  generate.stop = {"a stop that does not come"};
  char text[256];
  std::size_t size = 0;
  const auto emit = [&](std::string_view piece) {
    size += piece.copy(text + size, sizeof(text) - size);
    return true;
  };
  require_ok(session.read(std::span(prompt).first(1)).ok() ? Status() : Status(Error{}));
  value_of(session.generate(prompt, generate, emit));
  const std::string expected(text, size);
  std::size_t failures = 0;
  for (std::size_t n = 1;; ++n) {
    for (const std::size_t count : {std::size_t{1}, AllocationFault::kAllBehind}) {
      size = 0;
      bool ok = false;
      Errc code = Errc::io;
      {
        const AllocationFault fault(n, count);
        const auto stats = session.generate(prompt, generate, emit);
        ok = stats.ok();
        if (!ok) code = stats.error().code;
        if (ok && !fault.struck()) n = 0;  // past the last of its allocations
      }
      if (n == 0) break;
      INFO("allocation " << n);
      REQUIRE((ok || code == Errc::out_of_memory));
      if (!ok) ++failures;
      if (!ok) REQUIRE(session.tokens().empty());
      size = 0;
      value_of(session.generate(prompt, generate, emit));  // the same session, right afterwards
      REQUIRE(std::string(text, size) == expected);
    }
    if (n == 0) break;
  }
  CHECK(failures > 0);
  std::printf(
      "figure: faults: memory, session with guesses: %zu refusals became errors, the session went on each time\n",
      failures);
}
