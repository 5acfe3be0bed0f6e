// SPDX-License-Identifier: Apache-2.0
// The C interface over Session, Tokenizer and ChatTemplate: handles, codes, buffers, and the fence for exceptions.
//
// A handle is a counted reference and an error text. Sessions draw tokens one by one: a drawn token stays pending until
// the next one is asked for, so that the last token of a text costs no pass over the weights.
#include "tritium/c/tritium.h"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tritium/model.h"

using tritium::Errc;
using tritium::Error;
using tritium::Result;
using tritium::Status;

namespace {

static_assert(static_cast<int>(Errc::invalid_argument) + 1 == TRITIUM_INVALID_ARGUMENT);
static_assert(static_cast<int>(Errc::invalid_file) + 1 == TRITIUM_INVALID_FILE);
static_assert(static_cast<int>(Errc::unsupported) + 1 == TRITIUM_UNSUPPORTED);
static_assert(static_cast<int>(Errc::io) + 1 == TRITIUM_IO);
static_assert(static_cast<int>(Errc::out_of_memory) + 1 == TRITIUM_OUT_OF_MEMORY);
static_assert(static_cast<int>(Errc::out_of_range) + 1 == TRITIUM_OUT_OF_RANGE);
static_assert(static_cast<int>(Errc::cancelled) + 1 == TRITIUM_CANCELLED);
constexpr int code_of(Errc code) { return static_cast<int>(code) + 1; }

constexpr std::size_t kDefaultContext = 4096;

/// What all handles of a model share. Never changes once it is made.
struct Loaded {
  std::unique_ptr<tritium::Model> model;
  tritium::Tokenizer tokenizer;
  /// The template, or nothing; an unreadable one is an error of the chat calls and not of the model.
  Result<std::optional<tritium::ChatTemplate>> form;
  tritium::RenderOptions render;
};

/// Runs f, which returns a Status or an int; the text of its failure goes to `text`.
template <class F>
int fenced(std::string& text, F&& f) noexcept {
  int code = TRITIUM_INTERNAL;
  try {
    auto result = f();
    if constexpr (std::is_same_v<decltype(result), int>) {
      return result;
    } else {
      if (result.ok()) return TRITIUM_OK;
      Error error = std::move(result).error();
      text = std::move(error.message);
      return code_of(error.code);
    }
  } catch (const std::bad_alloc&) {
    code = TRITIUM_OUT_OF_MEMORY;
  } catch (const std::length_error&) {
    code = TRITIUM_OUT_OF_MEMORY;
  } catch (const std::exception& exception) {
    try {
      text = exception.what();
      return code;
    } catch (...) {}
  } catch (...) {}
  text = code == TRITIUM_INTERNAL ? "internal" : "out of memory";  // either fits the string's own storage
  return code;
}

Error null_pointer(std::string_view name) {
  return tritium::make_error(Errc::invalid_argument, "null pointer", name, "an address", "null");
}

/// Sizes and fills a caller's buffer.
template <class T>
Status hand_over(const T* values, std::size_t n, T* out, std::size_t capacity, std::size_t* count) {
  *count = n;
  if (out == nullptr) return {};
  if (capacity < n) {
    return tritium::make_error(Errc::out_of_range, "the buffer is too small", "capacity",
                               "at least " + std::to_string(n), std::to_string(capacity));
  }
  if (n != 0) std::memcpy(out, values, n * sizeof(T));
  if constexpr (std::is_same_v<T, char>) {
    if (capacity > n) out[n] = '\0';
  }
  return {};
}

/// The caller's executor, or a pool that `pool` owns.
Result<tritium::Executor> executor_of(const tritium_executor* own, std::size_t threads,
                                      std::unique_ptr<tritium::ThreadPool>& pool) {
  if (own != nullptr) {
    if (own->dispatch == nullptr && own->n_threads > 1) return null_pointer("executor->dispatch");
    return tritium::Executor{own->n_threads, own->context, own->dispatch};
  }
  if (threads == 0) threads = std::min(tritium::available_cpus(), tritium::ThreadPool::kMaxThreads);
  TRITIUM_ASSIGN(pool, tritium::ThreadPool::create(threads));
  return pool->executor();
}

Result<std::optional<tritium::ChatTemplate>> form_of(const tritium::Checkpoint& checkpoint, const char* chosen) {
  if (chosen == nullptr) return tritium::load_chat_template(checkpoint);
  if (auto builtin = tritium::ChatTemplate::builtin(chosen); builtin.ok()) return std::optional(*std::move(builtin));
  if (std::strpbrk(chosen, "{ \n") == nullptr) return tritium::ChatTemplate::builtin(chosen).error();
  TRITIUM_ASSIGN(tritium::ChatTemplate parsed, tritium::ChatTemplate::parse(chosen));
  return std::optional(std::move(parsed));
}

Result<std::shared_ptr<const Loaded>> load(const char* path, const tritium_model_options& options) {
  std::unique_ptr<tritium::ThreadPool> pool;
  TRITIUM_ASSIGN(const tritium::Executor executor, executor_of(options.executor, options.threads, pool));
  TRITIUM_ASSIGN(const tritium::Checkpoint checkpoint, tritium::Checkpoint::open(path));
  TRITIUM_ASSIGN(tritium::Tokenizer tokenizer, tritium::load_tokenizer(checkpoint));
  auto form = form_of(checkpoint, options.chat_template);
  if (!form.ok() && options.chat_template != nullptr) return std::move(form).error();
  tritium::RenderOptions render;
  TRITIUM_TRY(tritium::load_special_texts(checkpoint, &tokenizer, render));
  tritium::LoadOptions how;
  if (options.progress != nullptr) {
    how.progress = [&](std::size_t done, std::size_t total) { options.progress(options.user, done, total); };
  }
  TRITIUM_ASSIGN(std::unique_ptr<tritium::Model> model, tritium::load_model(checkpoint, how, executor));
  return std::shared_ptr<const Loaded>(
      std::make_shared<Loaded>(Loaded{std::move(model), std::move(tokenizer), std::move(form), std::move(render)}));
}

Result<std::vector<tritium::jinja::Segment>> render(const Loaded& loaded, const tritium_message* messages,
                                                    std::size_t n, bool open_answer) {
  if (!loaded.form.ok()) return loaded.form.error();
  if (!*loaded.form) {
    return tritium::make_error(Errc::unsupported, "the model has no chat template", "tritium_model_options",
                               "chat_template", "null");
  }
  if (messages == nullptr && n != 0) return null_pointer("messages");
  using Json = nlohmann::ordered_json;
  tritium::JsonTree<Json> tree = Json(Json::value_t::array);
  Json& list = tree.get();
  list.get_ref<Json::array_t&>().reserve(n);  // so that adding one cannot fail
  for (std::size_t i = 0; i < n; ++i) {
    const std::string where = "message " + std::to_string(i);
    if (messages[i].role == nullptr) return null_pointer(where + ", role");
    if (messages[i].content == nullptr) return null_pointer(where + ", content");
    if (!tritium::is_valid_utf8(messages[i].role) || !tritium::is_valid_utf8(messages[i].content)) {
      return tritium::make_error(Errc::invalid_argument, "bad message", where, "UTF-8", "other bytes");
    }
    tritium::JsonTree<Json> message = Json(Json::value_t::object);
    tritium::reserve_members(message.get(), 2);
    message.get()["role"] = messages[i].role;
    message.get()["content"] = messages[i].content;
    list.push_back(message.take());
  }
  tritium::RenderOptions options = loaded.render;
  options.add_generation_prompt = open_answer;
  return (*loaded.form)->render_segments(list, options);
}

}  // namespace

struct tritium_model {
  std::shared_ptr<const Loaded> loaded;  ///< null: the handle of a failure
  std::string error;

  Status check() const {
    if (loaded != nullptr) return {};
    return tritium::make_error(Errc::invalid_argument, "the model is not open", "model", "an open model",
                               "the handle of a failed call");
  }
};

struct tritium_session {
  std::shared_ptr<const Loaded> loaded;
  std::unique_ptr<tritium::ThreadPool> pool;
  std::optional<tritium::Session> session;
  std::optional<tritium::Sampler> sampler;
  std::optional<tritium::StreamDecoder> stream;
  std::optional<std::int32_t> pending;  ///< drawn and not yet read
  std::vector<std::int32_t> ids;        ///< for one call
  std::vector<float> logits;            ///< a copy that a repetition penalty may change
  std::string text;                     ///< of the last token
  std::string error;
  bool ignore_end = false;

  Status set_sampling(const tritium_sampling& s) {
    tritium::SamplerOptions options;
    options.temperature = s.temperature;
    options.top_k = s.top_k;
    options.top_p = s.top_p;
    options.min_p = s.min_p;
    options.repeat_penalty = s.repeat_penalty;
    options.repeat_last = s.repeat_last;
    options.seed = s.seed;
    TRITIUM_ASSIGN(sampler, tritium::Sampler::create(options, session->decoder().ops().kernels(), usable()));
    ignore_end = s.ignore_end != 0;
    return {};
  }

  /// Logits that are drawn from: rows past the tokenizer are padding.
  [[nodiscard]] std::size_t usable() const { return std::min(loaded->model->spec.vocab, loaded->tokenizer.size()); }

  Status check_ids(const std::int32_t* more, std::size_t n) const {
    if (more == nullptr && n != 0) return null_pointer("ids");
    for (std::size_t i = 0; i < n; ++i) {
      if (more[i] >= 0 && static_cast<std::size_t>(more[i]) < usable()) continue;
      return tritium::make_error(Errc::out_of_range, "token id", "token " + std::to_string(i),
                                 "0 to " + std::to_string(usable() - 1), std::to_string(more[i]));
    }
    return {};
  }

  /// Reads more ids behind what there is; a pending token comes first.
  Status append(const std::int32_t* more, std::size_t n) {
    const std::span<const std::int32_t> sofar = session->tokens();
    const std::size_t length = sofar.size() + (pending ? 1 : 0) + n;
    const std::size_t most = session->decoder().context();
    if (length > most) {
      return tritium::make_error(Errc::out_of_range, "the context is full", "context",
                                 "at most " + std::to_string(most) + " tokens", std::to_string(length));
    }
    ids.assign(sofar.begin(), sofar.end());
    if (pending) ids.push_back(*pending);
    ids.insert(ids.end(), more, more + n);
    auto kept = session->read(ids);
    if (kept.ok() || session->tokens().empty()) pending.reset();  // empty: a failure while computing
    if (!kept.ok()) return std::move(kept).error();
    return {};
  }

  Status draw(std::int32_t& id, bool& ended) {
    if (session->tokens().empty()) {
      return tritium::make_error(Errc::invalid_argument, "nothing to continue", "session", "tokens that were read",
                                 "none");
    }
    if (pending) TRITIUM_TRY(append(nullptr, 0));
    const std::span<const float> all = session->logits();
    logits.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(usable()));
    text.clear();
    id = sampler->sample(logits, session->tokens());
    ended = loaded->tokenizer.is_eog(id) && !ignore_end;
    if (ended) {
      stream->finish(text);
      return {};
    }
    TRITIUM_TRY(stream->push(id, text));
    pending = id;
    return {};
  }
};

extern "C" {

const char* tritium_version(void) { return TRITIUM_VERSION; }
int tritium_c_abi(void) { return TRITIUM_C_ABI; }

const char* tritium_code_text(int code) {
  switch (code) {
    case TRITIUM_OK: return "success";
    case TRITIUM_INVALID_ARGUMENT: return "invalid argument";
    case TRITIUM_INVALID_FILE: return "invalid file";
    case TRITIUM_UNSUPPORTED: return "unsupported";
    case TRITIUM_IO: return "input or output failed";
    case TRITIUM_OUT_OF_MEMORY: return "out of memory";
    case TRITIUM_OUT_OF_RANGE: return "out of range";
    case TRITIUM_CANCELLED: return "cancelled";
    case TRITIUM_INTERNAL: return "internal failure";
    case TRITIUM_END: return "end of text";
    default: return "unknown code";
  }
}

int tritium_model_open(const char* path, const tritium_model_options* options, tritium_model** model) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  *model = nullptr;
  if (path == nullptr) return TRITIUM_INVALID_ARGUMENT;
  tritium_model* handle = new (std::nothrow) tritium_model;
  if (handle == nullptr) return TRITIUM_OUT_OF_MEMORY;
  *model = handle;
  return fenced(handle->error, [&]() -> Status {
    TRITIUM_ASSIGN(handle->loaded, load(path, options != nullptr ? *options : tritium_model_options{}));
    return {};
  });
}

int tritium_model_share(tritium_model* model, tritium_model** other) {
  if (other != nullptr) *other = nullptr;
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    if (other == nullptr) return null_pointer("other");
    TRITIUM_TRY(model->check());
    *other = new tritium_model{model->loaded, {}};
    return {};
  });
}

void tritium_model_close(tritium_model* model) { delete model; }

const char* tritium_model_error(const tritium_model* model) {
  return model != nullptr ? model->error.c_str() : "null pointer (model)";
}

size_t tritium_model_vocabulary(const tritium_model* model) {
  return model != nullptr && model->loaded != nullptr ? model->loaded->model->spec.vocab : 0;
}
size_t tritium_model_tokens(const tritium_model* model) {
  if (model == nullptr || model->loaded == nullptr) return 0;
  return std::min(model->loaded->model->spec.vocab, model->loaded->tokenizer.size());
}
size_t tritium_model_context(const tritium_model* model) {
  return model != nullptr && model->loaded != nullptr ? model->loaded->model->spec.context : 0;
}
int tritium_model_ends(const tritium_model* model, int32_t id) {
  return model != nullptr && model->loaded != nullptr && model->loaded->tokenizer.is_eog(id) ? 1 : 0;
}

int tritium_tokenize(tritium_model* model, const char* text, size_t bytes, int flags, int32_t* ids, size_t capacity,
                     size_t* count) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    TRITIUM_TRY(model->check());
    if (text == nullptr && bytes != 0) return null_pointer("text");
    if (count == nullptr) return null_pointer("count");
    const tritium::Tokenizer& tokenizer = model->loaded->tokenizer;
    tritium::EncodeOptions options;
    options.add_special = false;
    options.parse_special = (flags & TRITIUM_SPECIAL) != 0;
    TRITIUM_ASSIGN(std::vector<std::int32_t> found, tokenizer.encode({text, bytes}, options));
    if ((flags & TRITIUM_PREFIX) != 0)
      found.insert(found.begin(), tokenizer.prefix().begin(), tokenizer.prefix().end());
    if ((flags & TRITIUM_SUFFIX) != 0) found.insert(found.end(), tokenizer.suffix().begin(), tokenizer.suffix().end());
    return hand_over(found.data(), found.size(), ids, capacity, count);
  });
}

int tritium_detokenize(tritium_model* model, const int32_t* ids, size_t n, int flags, char* text, size_t capacity,
                       size_t* bytes) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    TRITIUM_TRY(model->check());
    if (ids == nullptr && n != 0) return null_pointer("ids");
    if (bytes == nullptr) return null_pointer("bytes");
    tritium::DecodeOptions options;
    options.special = (flags & TRITIUM_SPECIAL) != 0 ? tritium::SpecialText::show : tritium::SpecialText::hide;
    options.at_start = (flags & TRITIUM_CONTINUES) == 0;
    TRITIUM_ASSIGN(const std::string found, model->loaded->tokenizer.decode({ids, n}, options));
    return hand_over(found.data(), found.size(), text, capacity, bytes);
  });
}

int tritium_token_piece(tritium_model* model, int32_t id, const char** piece, size_t* bytes) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    TRITIUM_TRY(model->check());
    if (piece == nullptr) return null_pointer("piece");
    if (bytes == nullptr) return null_pointer("bytes");
    const tritium::Tokenizer& tokenizer = model->loaded->tokenizer;
    if (!tokenizer.contains(id)) {
      return tritium::make_error(Errc::out_of_range, "token id is outside the vocabulary", "id",
                                 "0 to " + std::to_string(tokenizer.size() - 1), std::to_string(id));
    }
    *piece = tokenizer.piece(id).data();
    *bytes = tokenizer.piece(id).size();
    return {};
  });
}

int tritium_chat_text(tritium_model* model, const tritium_message* messages, size_t n, int open_answer, char* text,
                      size_t capacity, size_t* bytes) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    TRITIUM_TRY(model->check());
    if (bytes == nullptr) return null_pointer("bytes");
    TRITIUM_ASSIGN(const auto segments, render(*model->loaded, messages, n, open_answer != 0));
    std::string whole;
    for (const tritium::jinja::Segment& segment : segments) whole += segment.text;
    return hand_over(whole.data(), whole.size(), text, capacity, bytes);
  });
}

int tritium_chat_tokens(tritium_model* model, const tritium_message* messages, size_t n, int open_answer, int32_t* ids,
                        size_t capacity, size_t* count) {
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    TRITIUM_TRY(model->check());
    if (count == nullptr) return null_pointer("count");
    TRITIUM_ASSIGN(const auto segments, render(*model->loaded, messages, n, open_answer != 0));
    TRITIUM_ASSIGN(const std::vector<std::int32_t> found,
                   tritium::encode_conversation(model->loaded->tokenizer, segments));
    return hand_over(found.data(), found.size(), ids, capacity, count);
  });
}

int tritium_session_create(tritium_model* model, const tritium_session_options* options, tritium_session** session) {
  if (session != nullptr) *session = nullptr;
  if (model == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(model->error, [&]() -> Status {
    if (session == nullptr) return null_pointer("session");
    TRITIUM_TRY(model->check());
    const tritium_session_options o = options != nullptr ? *options : tritium_session_options{};
    auto made = std::make_unique<tritium_session>();
    made->loaded = model->loaded;
    TRITIUM_ASSIGN(const tritium::Executor executor, executor_of(o.executor, o.threads, made->pool));
    tritium::Decoder::Options how;
    how.context = o.context != 0 ? o.context : std::min(made->loaded->model->spec.context, kDefaultContext);
    if (o.max_batch != 0) how.max_batch = o.max_batch;
    switch (o.kv_bits) {
      case 0:
      case 16: how.kv = tritium::KvType::f16; break;
      case 32: how.kv = tritium::KvType::f32; break;
      case 8: how.kv = tritium::KvType::int8; break;
      default:
        return tritium::make_error(Errc::invalid_argument, "bad KV cache type", "kv_bits", "0, 8, 16 or 32",
                                   std::to_string(o.kv_bits));
    }
    TRITIUM_ASSIGN(made->session,
                   tritium::Session::create(*made->loaded->model, made->loaded->tokenizer, how, executor));
    made->stream.emplace(made->loaded->tokenizer);
    tritium_sampling sampling;
    tritium_sampling_init(&sampling);
    TRITIUM_TRY(made->set_sampling(sampling));
    *session = made.release();
    return {};
  });
}

void tritium_session_free(tritium_session* session) { delete session; }

const char* tritium_session_error(const tritium_session* session) {
  return session != nullptr ? session->error.c_str() : "null pointer (session)";
}

size_t tritium_session_context(const tritium_session* session) {
  return session != nullptr ? const_cast<tritium_session*>(session)->session->decoder().context() : 0;
}
size_t tritium_session_position(const tritium_session* session) {
  return session != nullptr ? session->session->tokens().size() : 0;
}

int tritium_session_prefill(tritium_session* session, const int32_t* ids, size_t n, size_t* kept) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(session->error, [&]() -> Status {
    TRITIUM_TRY(session->check_ids(ids, n));
    TRITIUM_ASSIGN(const std::size_t same, session->session->read({ids, n}));
    if (kept != nullptr) *kept = same;
    session->pending.reset();
    session->stream.emplace(session->loaded->tokenizer);
    return {};
  });
}

int tritium_session_append(tritium_session* session, const int32_t* ids, size_t n) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(session->error, [&]() -> Status {
    TRITIUM_TRY(session->check_ids(ids, n));
    if (n == 0) return tritium::make_error(Errc::invalid_argument, "no tokens", "ids", "at least one", "none");
    return session->append(ids, n);
  });
}

int tritium_session_logits(tritium_session* session, const float** logits, size_t* count) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(session->error, [&]() -> Status {
    if (logits == nullptr) return null_pointer("logits");
    if (count == nullptr) return null_pointer("count");
    if (session->session->tokens().empty()) {
      return tritium::make_error(Errc::invalid_argument, "no logits", "session", "tokens that were read", "none");
    }
    *logits = session->session->logits().data();
    *count = session->session->logits().size();
    return {};
  });
}

void tritium_sampling_init(tritium_sampling* sampling) {
  if (sampling == nullptr) return;
  const tritium::SamplerOptions defaults;
  sampling->repeat_penalty = defaults.repeat_penalty;
  sampling->repeat_last = defaults.repeat_last;
  sampling->temperature = defaults.temperature;
  sampling->top_k = defaults.top_k;
  sampling->top_p = defaults.top_p;
  sampling->min_p = defaults.min_p;
  sampling->seed = defaults.seed;
  sampling->ignore_end = 0;
}

int tritium_session_sampling(tritium_session* session, const tritium_sampling* sampling) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(session->error, [&]() -> Status {
    tritium_sampling defaults;
    tritium_sampling_init(&defaults);
    return session->set_sampling(sampling != nullptr ? *sampling : defaults);
  });
}

int tritium_session_next(tritium_session* session, int32_t* id, const char** text, size_t* bytes) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  bool ended = false;
  const int code = fenced(session->error, [&]() -> Status {
    if (id == nullptr) return null_pointer("id");
    TRITIUM_TRY(session->draw(*id, ended));
    if (text != nullptr) *text = session->text.c_str();
    if (bytes != nullptr) *bytes = session->text.size();
    return {};
  });
  return code == TRITIUM_OK && ended ? TRITIUM_END : code;
}

int tritium_session_flush(tritium_session* session, const char** text, size_t* bytes) {
  if (session == nullptr) return TRITIUM_INVALID_ARGUMENT;
  return fenced(session->error, [&]() -> Status {
    if (text == nullptr) return null_pointer("text");
    if (bytes == nullptr) return null_pointer("bytes");
    session->text.clear();
    session->stream->finish(session->text);
    *text = session->text.c_str();
    *bytes = session->text.size();
    return {};
  });
}

}  // extern "C"
