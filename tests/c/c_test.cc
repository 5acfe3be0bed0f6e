// SPDX-License-Identifier: Apache-2.0
// The C interface: the same tokens as the C++ session, a code and a text for every misuse, and handles in any order.
#include "tritium/c/tritium.h"

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "io/test_files.h"
#include "support/golden_models.h"
#include "support/golden_tokenizer.h"
#include "support/process.h"
#include "tritium/generate/session.h"

namespace {

const std::string kModel = TRITIUM_TEST_DATA "/golden/llama/model.gguf";  // 64 positions, no chat template
constexpr std::size_t kContext = 64;
constexpr const char* kForm =
    "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";

/// Handles that close themselves.
struct Model {
  tritium_model* get = nullptr;
  explicit Model(const char* chat_template = nullptr) {
    tritium_model_options options{};
    options.threads = 1;
    options.chat_template = chat_template;
    const int code = tritium_model_open(kModel.c_str(), &options, &get);
    INFO(tritium_model_error(get));
    REQUIRE(code == TRITIUM_OK);
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() { tritium_model_close(get); }
};
struct Session {
  tritium_session* get = nullptr;
  explicit Session(const Model& model, std::size_t context = 0, std::size_t threads = 1) {
    tritium_session_options options{};
    options.context = context;
    options.threads = threads;
    REQUIRE(tritium_session_create(model.get, &options, &get) == TRITIUM_OK);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { tritium_session_free(get); }
};

std::vector<std::int32_t> ids_of(const Model& model, std::string_view text, int flags) {
  std::size_t n = 0;
  REQUIRE(tritium_tokenize(model.get, text.data(), text.size(), flags, nullptr, 0, &n) == TRITIUM_OK);
  std::vector<std::int32_t> ids(n);
  REQUIRE(tritium_tokenize(model.get, text.data(), text.size(), flags, ids.data(), n, &n) == TRITIUM_OK);
  REQUIRE(n == ids.size());
  return ids;
}
std::vector<std::int32_t> prompt_of(const Model& model) {
  return ids_of(model, "Alice was", TRITIUM_PREFIX | TRITIUM_SPECIAL);
}

struct Generation {
  std::vector<std::int32_t> ids;
  std::string text;
  int code = TRITIUM_OK;
};
Generation generate(const Session& session, std::size_t most) {
  Generation made;
  for (std::size_t i = 0; i < most && made.code == TRITIUM_OK; ++i) {
    std::int32_t id = -1;
    const char* text = nullptr;
    std::size_t bytes = 0;
    made.code = tritium_session_next(session.get, &id, &text, &bytes);
    if (made.code == TRITIUM_OK) made.ids.push_back(id);
    if (made.code != TRITIUM_OK && made.code != TRITIUM_END) break;
    CHECK(text[bytes] == '\0');
    made.text.append(text, bytes);
  }
  const char* rest = nullptr;
  std::size_t bytes = 0;
  REQUIRE(tritium_session_flush(session.get, &rest, &bytes) == TRITIUM_OK);
  CHECK(rest[bytes] == '\0');
  if (made.code == TRITIUM_END) CHECK(bytes == 0);
  made.text.append(rest, bytes);
  return made;
}

tritium_sampling sampling_with(float temperature, std::uint64_t seed, int ignore_end = 1) {
  tritium_sampling s;
  tritium_sampling_init(&s);
  s.temperature = temperature;
  s.seed = seed;
  s.ignore_end = ignore_end;
  return s;
}

const char* error_of(const tritium_model* model) { return tritium_model_error(model); }
const char* error_of(const tritium_session* session) { return tritium_session_error(session); }
/// A failure of a call: its code, and one full line in the handle, which is asked after the call.
template <class Handle>
void check_failure(int code, int expected, const Handle* handle, std::string_view part) {
  const std::string text = error_of(handle);
  INFO(text);
  CHECK(code == expected);
  CHECK(is_one_printable_line(text));
  CHECK(text.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("the C interface makes the tokens and texts that the C++ session makes") {
  const auto tokenizer = golden_tokenizer("llama");
  const auto loaded = load_path(kModel);
  const Model model;
  CHECK(tritium_model_vocabulary(model.get) == loaded->spec.vocab);
  CHECK(tritium_model_tokens(model.get) == std::min(loaded->spec.vocab, tokenizer.size()));
  CHECK(tritium_model_context(model.get) == kContext);
  const std::vector<std::int32_t> prompt = prompt_of(model);
  REQUIRE(prompt.size() > 2);
  for (const bool penalty : {false, true}) {
    for (const float temperature : {0.0f, 1.5f}) {
      for (const std::size_t threads : {std::size_t{1}, std::size_t{3}}) {
        auto session = value_of(tritium::Session::create(*loaded, tokenizer, {}, {}));
        tritium::GenerateOptions options;
        options.max_tokens = 20;
        options.sampler.temperature = temperature;
        options.sampler.seed = 7;
        options.sampler.repeat_penalty = penalty ? 1.3f : 1.0f;
        options.ignore_eos = true;
        std::string expected;
        const auto stats = value_of(session.generate(prompt, options, [&](std::string_view text) {
          expected += text;
          return true;
        }));
        CHECK(stats.new_tokens == 20);
        const Session own(model, 0, threads);
        tritium_sampling sampling = sampling_with(temperature, 7);
        sampling.repeat_penalty = options.sampler.repeat_penalty;
        REQUIRE(tritium_session_sampling(own.get, &sampling) == TRITIUM_OK);
        REQUIRE(tritium_session_prefill(own.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
        const Generation made = generate(own, 20);
        CHECK(made.code == TRITIUM_OK);
        CHECK(made.text == expected);
        // All but the last token have been read, and their logits are the same bits.
        std::vector<std::int32_t> read = prompt;
        read.insert(read.end(), made.ids.begin(), made.ids.end() - 1);
        CHECK(tritium_session_position(own.get) == read.size());
        CHECK(std::vector<std::int32_t>(session.tokens().begin(), session.tokens().end()) == read);
        const float* logits = nullptr;
        std::size_t count = 0;
        REQUIRE(tritium_session_logits(own.get, &logits, &count) == TRITIUM_OK);
        REQUIRE(count == loaded->spec.vocab);
        if (!penalty) CHECK(std::memcmp(logits, session.logits().data(), count * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("text becomes ids and ids become text; buffers are sized by the first call") {
  const Model model;
  const std::string text = "Alice was beginning";
  const std::vector<std::int32_t> bare = ids_of(model, text, 0);
  std::vector<std::int32_t> whole = ids_of(model, text, TRITIUM_PREFIX);
  REQUIRE(whole.size() == bare.size() + 1);  // this vocabulary puts BOS before a text
  CHECK(std::vector<std::int32_t>(whole.begin() + 1, whole.end()) == bare);
  std::size_t bytes = 0;
  REQUIRE(tritium_detokenize(model.get, bare.data(), bare.size(), 0, nullptr, 0, &bytes) == TRITIUM_OK);
  CHECK(bytes == text.size());
  std::vector<char> out(bytes + 1, 'x');
  REQUIRE(tritium_detokenize(model.get, bare.data(), bare.size(), 0, out.data(), out.size(), &bytes) == TRITIUM_OK);
  CHECK(out.data() == text);  // a zero behind it, since there was room
  REQUIRE(tritium_detokenize(model.get, bare.data(), bare.size(), TRITIUM_CONTINUES, out.data(), out.size(), &bytes) ==
          TRITIUM_OK);
  CHECK(std::string(out.data(), bytes) == " " + text);
  std::fill(out.begin(), out.end(), 'x');
  check_failure(tritium_detokenize(model.get, bare.data(), bare.size(), 0, out.data(), 3, &bytes), TRITIUM_OUT_OF_RANGE,
                model.get, "expected at least 19, found 3");
  CHECK(bytes == text.size());
  CHECK(out[0] == 'x');
  std::int32_t one = -5;
  std::size_t count = 0;
  check_failure(tritium_tokenize(model.get, text.data(), text.size(), 0, &one, 1, &count), TRITIUM_OUT_OF_RANGE,
                model.get, "the buffer is too small");
  CHECK(count == bare.size());
  CHECK(one == -5);
  CHECK(ids_of(model, "", 0).empty());
  std::string pieces;
  for (const std::int32_t id : bare) {
    const char* piece = nullptr;
    std::size_t length = 0;
    REQUIRE(tritium_token_piece(model.get, id, &piece, &length) == TRITIUM_OK);
    pieces.append(piece, length);
  }
  CHECK(pieces == " " + text);
}

TEST_CASE("a prompt that goes on costs its new part; appended tokens are the same text") {
  const Model model;
  const std::vector<std::int32_t> prompt = ids_of(model, "Alice was beginning", TRITIUM_PREFIX);
  const Session one(model);
  const Session two(model);
  std::size_t kept = 99;
  REQUIRE(tritium_session_prefill(one.get, prompt.data(), prompt.size(), &kept) == TRITIUM_OK);
  CHECK(kept == 0);
  REQUIRE(tritium_session_prefill(two.get, prompt.data(), 2, &kept) == TRITIUM_OK);
  REQUIRE(tritium_session_append(two.get, prompt.data() + 2, 1) == TRITIUM_OK);
  REQUIRE(tritium_session_append(two.get, prompt.data() + 3, prompt.size() - 3) == TRITIUM_OK);
  CHECK(tritium_session_position(two.get) == prompt.size());
  const float* first = nullptr;
  const float* second = nullptr;
  std::size_t count = 0;
  REQUIRE(tritium_session_logits(one.get, &first, &count) == TRITIUM_OK);
  REQUIRE(tritium_session_logits(two.get, &second, &count) == TRITIUM_OK);
  CHECK(std::memcmp(first, second, count * sizeof(float)) == 0);
  REQUIRE(tritium_session_prefill(two.get, prompt.data(), prompt.size() - 1, &kept) == TRITIUM_OK);
  CHECK(kept == prompt.size() - 2);
  // A drawn token is read with what is appended behind it.
  std::int32_t id = -1;
  REQUIRE(tritium_session_next(two.get, &id, nullptr, nullptr) == TRITIUM_OK);
  CHECK(tritium_session_position(two.get) == prompt.size() - 1);
  REQUIRE(tritium_session_append(two.get, prompt.data() + 1, 1) == TRITIUM_OK);
  CHECK(tritium_session_position(two.get) == prompt.size() + 1);
}

TEST_CASE("a full context is an error, the text stays") {
  const Model model;
  const std::vector<std::int32_t> prompt = prompt_of(model);
  const Session session(model, prompt.size() + 2);
  CHECK(tritium_session_context(session.get) == prompt.size() + 2);
  const tritium_sampling sampling = sampling_with(0, 0);
  REQUIRE(tritium_session_sampling(session.get, &sampling) == TRITIUM_OK);
  REQUIRE(tritium_session_prefill(session.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
  const Generation made = generate(session, 100);
  CHECK(made.ids.size() == 3);  // the last one is drawn and has no place to be read
  check_failure(made.code, TRITIUM_OUT_OF_RANGE, session.get, "the context is full");
  CHECK(tritium_session_position(session.get) == prompt.size() + 2);
  const std::vector<std::int32_t> longer(prompt.size() + 3, prompt[1]);
  check_failure(tritium_session_prefill(session.get, longer.data(), longer.size(), nullptr), TRITIUM_OUT_OF_RANGE,
                session.get, "longer than the context");
  CHECK(tritium_session_position(session.get) == prompt.size() + 2);
  check_failure(tritium_session_append(session.get, prompt.data(), 1), TRITIUM_OUT_OF_RANGE, session.get,
                "the context is full");
  // A new prompt starts anew.
  REQUIRE(tritium_session_prefill(session.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
  CHECK(generate(session, 2).ids == std::vector<std::int32_t>(made.ids.begin(), made.ids.begin() + 2));
}

TEST_CASE("the numbers of the KV cache have 32, 16 or 8 bits") {
  const Model model;
  const std::vector<std::int32_t> prompt = ids_of(model, "Alice was beginning", TRITIUM_PREFIX);
  std::vector<std::vector<float>> found;
  for (const int bits : {0, 16, 32, 8}) {
    tritium_session_options options{};
    options.threads = 1;
    options.kv_bits = bits;
    tritium_session* session = nullptr;
    REQUIRE(tritium_session_create(model.get, &options, &session) == TRITIUM_OK);
    REQUIRE(tritium_session_prefill(session, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
    const float* logits = nullptr;
    std::size_t count = 0;
    REQUIRE(tritium_session_logits(session, &logits, &count) == TRITIUM_OK);
    found.emplace_back(logits, logits + count);
    tritium_session_free(session);
  }
  CHECK(found[0] == found[1]);
  CHECK(found[1] != found[2]);
  CHECK(found[1] != found[3]);
}

TEST_CASE("an id that ends the text is told apart") {
  const Model model;
  std::int32_t end = -1;
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(tritium_model_tokens(model.get)); ++id) {
    if (tritium_model_ends(model.get, id) != 0) end = id;
  }
  REQUIRE(end >= 0);
  CHECK(tritium_model_ends(model.get, -1) == 0);
  CHECK(tritium_model_ends(model.get, 1 << 30) == 0);
  const Session session(model);
  const std::vector<std::int32_t> prompt = prompt_of(model);
  // Drawn evenly from all tokens, the end comes up sooner or later; its id is no part of the text.
  bool ended = false;
  for (std::uint64_t seed = 0; seed < 300 && !ended; ++seed) {
    tritium_sampling sampling = sampling_with(1e6f, seed, 0);
    sampling.top_k = 0;
    sampling.top_p = 1;
    sampling.min_p = 0;
    REQUIRE(tritium_session_sampling(session.get, &sampling) == TRITIUM_OK);
    REQUIRE(tritium_session_prefill(session.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
    std::int32_t id = -1;
    int code = TRITIUM_OK;
    for (int i = 0; i < 40 && code == TRITIUM_OK; ++i) code = tritium_session_next(session.get, &id, nullptr, nullptr);
    CHECK(tritium_model_ends(model.get, id) == (code == TRITIUM_END ? 1 : 0));
    ended = code == TRITIUM_END;
  }
  CHECK(ended);
}

TEST_CASE("a conversation is written by the template, and users write no control tokens") {
  const Model model(kForm);
  const std::vector<tritium_message> messages = {{"system", "be kind"}, {"user", "hi </s>"}};
  std::size_t bytes = 0;
  REQUIRE(tritium_chat_text(model.get, messages.data(), 2, 1, nullptr, 0, &bytes) == TRITIUM_OK);
  std::string text(bytes, '\0');
  REQUIRE(tritium_chat_text(model.get, messages.data(), 2, 1, text.data(), bytes, &bytes) == TRITIUM_OK);
  CHECK(text == "system:be kind\nuser:hi </s>\nassistant:");
  std::size_t count = 0;
  REQUIRE(tritium_chat_tokens(model.get, messages.data(), 2, 0, nullptr, 0, &count) == TRITIUM_OK);
  std::vector<std::int32_t> ids(count);
  REQUIRE(tritium_chat_tokens(model.get, messages.data(), 2, 0, ids.data(), count, &count) == TRITIUM_OK);
  for (const std::int32_t id : ids) CHECK(tritium_model_ends(model.get, id) == 0);
  REQUIRE(ids_of(model, "</s>", TRITIUM_SPECIAL).size() == 1);  // which the same letters are elsewhere
  CHECK(tritium_model_ends(model.get, ids_of(model, "</s>", TRITIUM_SPECIAL)[0]) == 1);

  check_failure(tritium_chat_text(model.get, messages.data(), 0, 1, nullptr, 0, &bytes), TRITIUM_INVALID_ARGUMENT,
                model.get, "at least one message");
  const tritium_message bad[] = {{"user", "\xff"}};
  check_failure(tritium_chat_text(model.get, bad, 1, 1, nullptr, 0, &bytes), TRITIUM_INVALID_ARGUMENT, model.get,
                "UTF-8");
  const tritium_message null[] = {{"user", nullptr}};
  check_failure(tritium_chat_tokens(model.get, null, 1, 1, nullptr, 0, &count), TRITIUM_INVALID_ARGUMENT, model.get,
                "message 0, content");
  check_failure(tritium_chat_tokens(model.get, nullptr, 1, 1, nullptr, 0, &count), TRITIUM_INVALID_ARGUMENT, model.get,
                "messages");
  const Model bare;
  check_failure(tritium_chat_text(bare.get, messages.data(), 2, 1, nullptr, 0, &bytes), TRITIUM_UNSUPPORTED, bare.get,
                "no chat template");
  const Model builtin("chatml");
  REQUIRE(tritium_chat_text(builtin.get, messages.data(), 2, 1, nullptr, 0, &bytes) == TRITIUM_OK);
  CHECK(bytes > 0);
}

TEST_CASE("what cannot be opened says why in a handle that answers nothing else") {
  const TemporaryFolder folder;
  const std::string broken = folder / "broken.gguf";
  write_file(broken, file_contents(kModel).substr(0, 3000));
  struct Case {
    std::string path;
    int code;
    const char* part;
  };
  for (const Case& c :
       {Case{folder / "missing.gguf", TRITIUM_IO, "missing.gguf"}, Case{broken, TRITIUM_INVALID_FILE, "broken.gguf"},
        Case{folder.path(), TRITIUM_IO, "config.json"}}) {
    tritium_model* model = nullptr;
    const int code = tritium_model_open(c.path.c_str(), nullptr, &model);
    REQUIRE(model != nullptr);
    check_failure(code, c.code, model, c.part);
    CHECK(tritium_model_vocabulary(model) == 0);
    CHECK(tritium_model_tokens(model) == 0);
    CHECK(tritium_model_context(model) == 0);
    CHECK(tritium_model_ends(model, 2) == 0);
    std::size_t n = 0;
    check_failure(tritium_tokenize(model, "a", 1, 0, nullptr, 0, &n), TRITIUM_INVALID_ARGUMENT, model, "not open");
    tritium_session* session = nullptr;
    CHECK(tritium_session_create(model, nullptr, &session) == TRITIUM_INVALID_ARGUMENT);
    CHECK(session == nullptr);
    tritium_model* other = nullptr;
    CHECK(tritium_model_share(model, &other) == TRITIUM_INVALID_ARGUMENT);
    CHECK(other == nullptr);
    tritium_model_close(model);
  }
  for (const auto& [set, part] : std::vector<std::pair<void (*)(tritium_model_options&), const char*>>{
           {[](tritium_model_options& o) { o.threads = 257; }, "1 to 256"},
           {[](tritium_model_options& o) { o.chat_template = "nonsense"; }, "chatml"},
           {[](tritium_model_options& o) { o.chat_template = "{% if %}"; }, "template"}}) {
    tritium_model_options options{};
    options.threads = 1;
    set(options);
    tritium_model* model = nullptr;
    const int code = tritium_model_open(kModel.c_str(), &options, &model);
    INFO(tritium_model_error(model));
    CHECK(code != TRITIUM_OK);
    CHECK(std::strstr(tritium_model_error(model), part) != nullptr);
    tritium_model_close(model);
  }
}

TEST_CASE("null pointers and values that make no sense are codes") {
  std::size_t n = 0;
  std::int32_t id = 0;
  const char* text = nullptr;
  const float* logits = nullptr;
  tritium_model* opened = nullptr;
  tritium_session* created = nullptr;
  CHECK(tritium_model_open(nullptr, nullptr, &opened) == TRITIUM_INVALID_ARGUMENT);
  CHECK(opened == nullptr);
  CHECK(tritium_model_open(kModel.c_str(), nullptr, nullptr) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_model_share(nullptr, &opened) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_tokenize(nullptr, "a", 1, 0, nullptr, 0, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_detokenize(nullptr, &id, 1, 0, nullptr, 0, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_token_piece(nullptr, 0, &text, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_chat_text(nullptr, nullptr, 0, 0, nullptr, 0, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_chat_tokens(nullptr, nullptr, 0, 0, nullptr, 0, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_create(nullptr, nullptr, &created) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_prefill(nullptr, &id, 1, nullptr) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_append(nullptr, &id, 1) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_logits(nullptr, &logits, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_sampling(nullptr, nullptr) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_next(nullptr, &id, &text, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_session_flush(nullptr, &text, &n) == TRITIUM_INVALID_ARGUMENT);
  CHECK(tritium_model_vocabulary(nullptr) == 0);
  CHECK(tritium_model_tokens(nullptr) == 0);
  CHECK(tritium_model_context(nullptr) == 0);
  CHECK(tritium_model_ends(nullptr, 0) == 0);
  CHECK(tritium_session_context(nullptr) == 0);
  CHECK(tritium_session_position(nullptr) == 0);
  CHECK(is_one_printable_line(tritium_model_error(nullptr)));
  CHECK(is_one_printable_line(tritium_session_error(nullptr)));
  tritium_model_close(nullptr);
  tritium_session_free(nullptr);
  tritium_sampling_init(nullptr);

  const Model model;
  CHECK(std::string(tritium_model_error(model.get)).empty());
  const auto refused = [&](int code, int expected, std::string_view part) {
    check_failure(code, expected, model.get, part);
  };
  refused(tritium_model_share(model.get, nullptr), TRITIUM_INVALID_ARGUMENT, "other");
  refused(tritium_tokenize(model.get, nullptr, 1, 0, nullptr, 0, &n), TRITIUM_INVALID_ARGUMENT, "text");
  refused(tritium_tokenize(model.get, "a", 1, 0, nullptr, 0, nullptr), TRITIUM_INVALID_ARGUMENT, "count");
  refused(tritium_detokenize(model.get, nullptr, 1, 0, nullptr, 0, &n), TRITIUM_INVALID_ARGUMENT, "ids");
  refused(tritium_detokenize(model.get, &id, 1, 0, nullptr, 0, nullptr), TRITIUM_INVALID_ARGUMENT, "bytes");
  refused(tritium_token_piece(model.get, 0, nullptr, &n), TRITIUM_INVALID_ARGUMENT, "piece");
  refused(tritium_token_piece(model.get, 0, &text, nullptr), TRITIUM_INVALID_ARGUMENT, "bytes");
  for (const std::int32_t wrong : {-1, 1 << 30, static_cast<std::int32_t>(tritium_model_tokens(model.get))}) {
    refused(tritium_detokenize(model.get, &wrong, 1, 0, nullptr, 0, &n), TRITIUM_OUT_OF_RANGE, "found");
    refused(tritium_token_piece(model.get, wrong, &text, &n), TRITIUM_OUT_OF_RANGE, "found");
  }
  refused(tritium_session_create(model.get, nullptr, nullptr), TRITIUM_INVALID_ARGUMENT, "session");
  tritium_session_options options{};
  options.context = kContext + 1;
  refused(tritium_session_create(model.get, &options, &created), TRITIUM_OUT_OF_RANGE, "at most 64");
  options = {};
  options.threads = 1000;
  refused(tritium_session_create(model.get, &options, &created), TRITIUM_INVALID_ARGUMENT, "threads");
  options = {};
  options.kv_bits = 4;
  refused(tritium_session_create(model.get, &options, &created), TRITIUM_INVALID_ARGUMENT, "kv_bits");
  tritium_executor executor{2, nullptr, nullptr};
  options = {};
  options.executor = &executor;
  refused(tritium_session_create(model.get, &options, &created), TRITIUM_INVALID_ARGUMENT, "dispatch");
  executor.n_threads = 0;
  refused(tritium_session_create(model.get, &options, &created), TRITIUM_INVALID_ARGUMENT, "executor");
  CHECK(created == nullptr);

  const Session session(model);
  const auto failed = [&](int code, int expected, std::string_view part) {
    check_failure(code, expected, session.get, part);
  };
  failed(tritium_session_next(session.get, &id, &text, &n), TRITIUM_INVALID_ARGUMENT, "nothing to continue");
  failed(tritium_session_logits(session.get, &logits, &n), TRITIUM_INVALID_ARGUMENT, "no logits");
  failed(tritium_session_flush(session.get, nullptr, &n), TRITIUM_INVALID_ARGUMENT, "text");
  failed(tritium_session_flush(session.get, &text, nullptr), TRITIUM_INVALID_ARGUMENT, "bytes");
  failed(tritium_session_prefill(session.get, nullptr, 1, nullptr), TRITIUM_INVALID_ARGUMENT, "ids");
  failed(tritium_session_prefill(session.get, nullptr, 0, nullptr), TRITIUM_INVALID_ARGUMENT, "empty prompt");
  failed(tritium_session_append(session.get, nullptr, 1), TRITIUM_INVALID_ARGUMENT, "ids");
  failed(tritium_session_append(session.get, &id, 0), TRITIUM_INVALID_ARGUMENT, "no tokens");
  const std::vector<std::int32_t> prompt = prompt_of(model);
  REQUIRE(tritium_session_prefill(session.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
  for (const std::int32_t wrong : {-1, 1 << 30, static_cast<std::int32_t>(tritium_model_tokens(model.get))}) {
    const std::int32_t ids[] = {prompt[0], wrong};
    failed(tritium_session_prefill(session.get, ids, 2, nullptr), TRITIUM_OUT_OF_RANGE, "token 1");
    failed(tritium_session_append(session.get, ids, 2), TRITIUM_OUT_OF_RANGE, "token 1");
  }
  CHECK(tritium_session_position(session.get) == prompt.size());
  failed(tritium_session_next(session.get, nullptr, &text, &n), TRITIUM_INVALID_ARGUMENT, "id");
  failed(tritium_session_logits(session.get, nullptr, &n), TRITIUM_INVALID_ARGUMENT, "logits");
  failed(tritium_session_logits(session.get, &logits, nullptr), TRITIUM_INVALID_ARGUMENT, "count");
  tritium_sampling sampling = sampling_with(-1, 0);
  failed(tritium_session_sampling(session.get, &sampling), TRITIUM_INVALID_ARGUMENT, "temp");
  sampling = sampling_with(0, 0);
  sampling.top_p = 2;
  failed(tritium_session_sampling(session.get, &sampling), TRITIUM_INVALID_ARGUMENT, "top-p");
  CHECK(tritium_session_sampling(session.get, nullptr) == TRITIUM_OK);
}

TEST_CASE("codes have words, the library a version") {
  CHECK(std::string(tritium_version()) == TRITIUM_VERSION);
  CHECK(tritium_c_abi() == TRITIUM_C_ABI);
  std::vector<std::string> words;
  for (const int code : {0, 1, 2, 3, 4, 5, 6, 7, 8, 100}) words.emplace_back(tritium_code_text(code));
  std::sort(words.begin(), words.end());
  CHECK(std::unique(words.begin(), words.end()) == words.end());
  for (const int code : {-1, 9, 99, 101}) CHECK(std::string(tritium_code_text(code)) == "unknown code");
}

TEST_CASE("handles close in any order, and each thread has its own") {
  tritium_model* first = nullptr;
  REQUIRE(tritium_model_open(kModel.c_str(), nullptr, &first) == TRITIUM_OK);
  std::vector<tritium_model*> shared(3, nullptr);
  for (tritium_model*& model : shared) REQUIRE(tritium_model_share(first, &model) == TRITIUM_OK);
  tritium_model_close(first);
  std::vector<std::string> texts(shared.size());
  std::vector<int> codes(shared.size(), -1);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < shared.size(); ++i) {
    threads.emplace_back([&, i] {
      std::int32_t ids[16];
      std::size_t n = 0;
      tritium_session* session = nullptr;
      tritium_session_options options{};
      options.threads = 2;
      codes[i] = tritium_tokenize(shared[i], "Alice was", 9, TRITIUM_PREFIX, ids, 16, &n);
      if (codes[i] == TRITIUM_OK) codes[i] = tritium_session_create(shared[i], &options, &session);
      tritium_model_close(shared[i]);  // before its session
      const tritium_sampling sampling = sampling_with(0, 0);
      if (codes[i] == TRITIUM_OK) codes[i] = tritium_session_sampling(session, &sampling);
      if (codes[i] == TRITIUM_OK) codes[i] = tritium_session_prefill(session, ids, n, nullptr);
      for (int k = 0; k < 10 && codes[i] == TRITIUM_OK; ++k) {
        std::int32_t id = 0;
        const char* text = nullptr;
        std::size_t bytes = 0;
        codes[i] = tritium_session_next(session, &id, &text, &bytes);
        if (codes[i] == TRITIUM_OK) texts[i].append(text, bytes);
      }
      tritium_session_free(session);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < shared.size(); ++i) {
    CHECK(codes[i] == TRITIUM_OK);
    CHECK_FALSE(texts[i].empty());
    CHECK(texts[i] == texts[0]);
  }
}

TEST_CASE("the caller's threads and progress are used") {
  struct Host {
    std::size_t regions = 0;
    std::size_t calls = 0;
    std::size_t last = 0;
    std::size_t total = 0;
  } host;
  const tritium_executor executor{3, &host, [](void* context, void (*task)(void*, std::size_t), void* argument) {
                                    ++static_cast<Host*>(context)->regions;
                                    std::vector<std::thread> threads;
                                    for (std::size_t t = 0; t < 3; ++t) threads.emplace_back(task, argument, t);
                                    for (std::thread& thread : threads) thread.join();
                                  }};
  tritium_model_options options{};
  options.executor = &executor;
  options.user = &host;
  options.progress = [](void* user, std::size_t done, std::size_t total) {
    Host& h = *static_cast<Host*>(user);
    ++h.calls;
    CHECK(done >= h.last);
    h.last = done;
    h.total = total;
  };
  tritium_model* model = nullptr;
  REQUIRE(tritium_model_open(kModel.c_str(), &options, &model) == TRITIUM_OK);
  CHECK(host.calls > 3);
  CHECK(host.last <= host.total);
  CHECK(host.total > 0);
  const std::size_t loading = host.regions;
  CHECK(loading > 0);
  tritium_session_options how{};
  how.executor = &executor;
  tritium_session* session = nullptr;
  REQUIRE(tritium_session_create(model, &how, &session) == TRITIUM_OK);
  const std::int32_t ids[] = {1, 5, 6};
  CHECK(tritium_session_prefill(session, ids, 3, nullptr) == TRITIUM_OK);
  CHECK(host.regions > loading);
  tritium_model_close(model);
  tritium_session_free(session);
}

TEST_CASE("the example in C completes a text and fails with one line") {
  const Model model;
  const Session session(model);
  const std::vector<std::int32_t> prompt = prompt_of(model);
  const tritium_sampling sampling = sampling_with(0, 0, 0);
  REQUIRE(tritium_session_sampling(session.get, &sampling) == TRITIUM_OK);
  REQUIRE(tritium_session_prefill(session.get, prompt.data(), prompt.size(), nullptr) == TRITIUM_OK);
  const Generation expected = generate(session, 12);
  REQUIRE_FALSE(expected.text.empty());
  const Finished run = run_process({TRITIUM_EXAMPLE_COMPLETE, kModel, "Alice was", "12"});
  INFO(run.err);
  CHECK(run.status == 0);
  CHECK(run.out == expected.text);
  const Finished missing = run_process({TRITIUM_EXAMPLE_COMPLETE, "missing.gguf", "Alice was"});
  CHECK(missing.status == 1);
  CHECK(missing.out.empty());
  CHECK(missing.err.starts_with("complete: input or output failed: "));
  CHECK(run_process({TRITIUM_EXAMPLE_COMPLETE, kModel}).status == 2);
}
