// SPDX-License-Identifier: Apache-2.0
// Tritium in C99: open a model, turn text into ids and back, generate. The door for other languages.
//
// Link tritium::shared (libtritium.so), or tritium::c (libtritium_c.a, libtritium_kernels.a, PCRE2, utf8proc and a C++
// runtime). Two kinds of handles: a model, which never changes once it is open, and a session, which is one text under
// way. Every call that can fail answers with a code of tritium_code and leaves one line for people in its handle; no
// exception crosses this header.
//
// Threads: a handle serves one thread at a time. Sessions are independent of each other and of their model's handles,
// so any number of them run at once; tritium_model_share() gives another thread a model handle of its own on the same
// weights.
// Lifetime: handles are counted references. They may be closed in any order, and a null handle may be closed too.
// Text: UTF-8 as bytes and a length. What a call writes into a caller's buffer is sized first by the same call with a
// null buffer. A char pointer that a call hands out belongs to its handle and says how long it lives.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tritium/core/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Grows when a function or a struct of this header changes in a way that needs callers to be compiled again.
#define TRITIUM_C_ABI 0

/// What a call answers. The numbers are part of the interface.
enum tritium_code {
  TRITIUM_OK = 0,
  TRITIUM_INVALID_ARGUMENT = 1,  ///< a null handle or pointer, or a value that the call cannot work with
  TRITIUM_INVALID_FILE = 2,      ///< a file that is damaged, contradictory, or not of the format it claims
  TRITIUM_UNSUPPORTED = 3,       ///< well formed, but an architecture, type or feature that is not known
  TRITIUM_IO = 4,                ///< the operating system refused to open, read or map
  TRITIUM_OUT_OF_MEMORY = 5,     ///< an allocation failed, or a thread was refused
  TRITIUM_OUT_OF_RANGE = 6,      ///< an id, length, buffer or position past its limit; a full context
  TRITIUM_CANCELLED = 7,         ///< the caller asked to stop
  TRITIUM_INTERNAL = 8,          ///< a failure that should not exist: please report its text
  TRITIUM_END = 100              ///< no failure: the model ended its text (tritium_session_next)
};

/// A model that is open: weights, tokenizer, template. A counted reference.
typedef struct tritium_model tritium_model;
/// One text under way on a model, with its KV cache. A counted reference.
typedef struct tritium_session tritium_session;

#if defined(__GNUC__)
#pragma GCC visibility push(default) /* what a shared library shows, however it was compiled */
#endif

/// The version of the library, "MAJOR.MINOR.PATCH". Static.
const char* tritium_version(void);
/// The TRITIUM_C_ABI that the library was compiled with; a program that loads it at run time compares.
int tritium_c_abi(void);
/// A few words for a code, "unknown code" for others. Static.
const char* tritium_code_text(int code);

/// The caller's own threads. dispatch calls task(argument, t) once for every t < n_threads, on any threads, and returns
/// when all calls have returned. It must not throw. Used by one call of the library at a time for each handle that has
/// it.
typedef struct tritium_executor {
  size_t n_threads; /**< at least 1 */
  void* context;    /**< handed to dispatch */
  /// runs the task on every thread, and returns when all are done
  void (*dispatch)(void* context, void (*task)(void* argument, size_t thread), void* argument);
} tritium_executor;

// --- models ----------------------------------------------------------------------------------------------------------

/// How a model is opened. Zero bytes are the defaults.
typedef struct tritium_model_options {
  size_t threads;                   /**< that pack the weights; 0: as many as the process may use */
  const tritium_executor* executor; /**< instead of `threads`; needed during tritium_model_open only */
  const char* chat_template;        /**< Jinja source or a built-in family ("chatml"); null: the file's own */
  void (*progress)(void* user, size_t done, size_t total); /**< bytes of weights read; may be null; must not throw */
  void* user;                                              /**< handed to progress */
} tritium_model_options;

/// Opens a GGUF file or a folder with safetensors and packs its weights into memory. Token embeddings
/// that are not the head too and per-layer embeddings stay in the mapped file: until the last handle closes it may be
/// renamed or deleted but not written into, and where it is made shorter the next such read raises SIGBUS.
/// `options` may be null. *model gets a handle even when the call fails, since it holds the error's text: close it in
/// any case. It is null only with TRITIUM_INVALID_ARGUMENT for null pointers and when memory ends.
/// Errors: IO, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, OUT_OF_MEMORY.
int tritium_model_open(const char* path, const tritium_model_options* options, tritium_model** model);

/// Another handle on the same weights, for another thread. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
int tritium_model_share(tritium_model* model, tritium_model** other);

/// Gives the handle back. The weights go with their last handle or session.
void tritium_model_close(tritium_model* model);

/// The text of the handle's last failure, one line; "" before the first one. Lives until the handle's next call.
const char* tritium_model_error(const tritium_model* model);

/// Logits a token has; 0 for a handle that is not open. At least tritium_model_tokens(): vocabularies may be padded.
size_t tritium_model_vocabulary(const tritium_model* model);
/// Ids that have a text: 0 up to this number, exclusive.
size_t tritium_model_tokens(const tritium_model* model);
/// Positions that the model was made for.
size_t tritium_model_context(const tritium_model* model);
/// 1 for an id that ends a text, 0 for any other.
int tritium_model_ends(const tritium_model* model, int32_t id);

// --- text ------------------------------------------------------------------------------------------------------------

/// Flags of tritium_tokenize and tritium_detokenize.
enum tritium_text_flags {
  TRITIUM_PREFIX = 1,    ///< tokenize: put before the text what the model wants there (BOS)
  TRITIUM_SUFFIX = 2,    ///< tokenize: put behind the text what the model wants there
  TRITIUM_SPECIAL = 4,   ///< tokenize: control tokens written in the text become their ids; detokenize: they are shown
  TRITIUM_CONTINUES = 8  ///< detokenize: the ids continue a text, a leading space stays
};

/// The ids of `bytes` bytes at `text`, any bytes. *count gets their number; they are written to ids[0, capacity). A
/// prompt to be completed takes TRITIUM_PREFIX | TRITIUM_SPECIAL.
/// Errors: OUT_OF_RANGE (capacity is less than *count: nothing is written; more than 512 MiB of text), INVALID_ARGUMENT
/// (a character that the vocabulary cannot spell).
int tritium_tokenize(tritium_model* model, const char* text, size_t bytes, int flags, int32_t* ids, size_t capacity,
                     size_t* count);

/// The text of `n` ids. *bytes gets its length; it is written to text[0, capacity), with a zero behind it if that fits.
/// Errors: OUT_OF_RANGE (an id without a text; capacity is less than *bytes: nothing is written).
int tritium_detokenize(tritium_model* model, const int32_t* ids, size_t n, int flags, char* text, size_t capacity,
                       size_t* bytes);

/// The bytes that one token adds to a text, perhaps a part of a character; for control tokens their spelling. *piece
/// lives as long as the weights and has no zero behind it. Errors: OUT_OF_RANGE.
int tritium_token_piece(tritium_model* model, int32_t id, const char** piece, size_t* bytes);

/// One message of a conversation, zero-terminated UTF-8.
typedef struct tritium_message {
  const char* role; /**< "system", "user", "assistant" */
  /// UTF-8, ends with a zero byte
  const char* content;
} tritium_message;

/// A conversation as the model's chat template writes it. `open_answer`: nonzero to end with the opening of the
/// assistant's turn. Lengths and buffer as tritium_detokenize.
/// Errors: UNSUPPORTED (the model has no template), INVALID_ARGUMENT (no message, not UTF-8, what the template
/// refuses).
int tritium_chat_text(tritium_model* model, const tritium_message* messages, size_t n, int open_answer, char* text,
                      size_t capacity, size_t* bytes);

/// The ids of that text, where control tokens come from the template only: a message that spells one stays text.
/// Lengths and buffer as tritium_tokenize.
int tritium_chat_tokens(tritium_model* model, const tritium_message* messages, size_t n, int open_answer, int32_t* ids,
                        size_t capacity, size_t* count);

// --- sessions --------------------------------------------------------------------------------------------------------

/// How a session runs. Zero bytes are the defaults.
typedef struct tritium_session_options {
  size_t context;                   /**< positions that the KV cache holds; 0: the model's, at most 4096 */
  size_t max_batch;                 /**< tokens of one pass over the weights; 0: 512 */
  int kv_bits;                      /**< of a number in the KV cache: 32, 16 or 8; 0: 16 */
  size_t threads;                   /**< started for this session, the caller's included; 0: all the process may use */
  const tritium_executor* executor; /**< instead of `threads`; copied, its context must outlive the session */
} tritium_session_options;

/// A session with an empty text. `options` may be null. On failure *session is null and the model's handle has the
/// text.
/// Errors: OUT_OF_RANGE (context past the model's), OUT_OF_MEMORY, INVALID_ARGUMENT, UNSUPPORTED.
int tritium_session_create(tritium_model* model, const tritium_session_options* options, tritium_session** session);
/// Closes a handle; null is allowed.
void tritium_session_free(tritium_session* session);
/// As tritium_model_error.
const char* tritium_session_error(const tritium_session* session);

/// Positions that the session's cache holds; 0 for null.
size_t tritium_session_context(const tritium_session* session);
/// Tokens that have been read; 0 for null.
size_t tritium_session_position(const tritium_session* session);

/// Makes ids[0, n) the text so far and leaves the logits of what follows. What the text before has in common at its
/// beginning is kept and not computed again; `kept`, which may be null, gets its length in tokens.
/// Errors: INVALID_ARGUMENT (no ids), OUT_OF_RANGE (an id past the vocabulary, more ids than the context): the text so
/// far stays. A failure while computing (OUT_OF_MEMORY, INVALID_FILE for logits that are not finite) leaves an empty
/// text.
int tritium_session_prefill(tritium_session* session, const int32_t* ids, size_t n, size_t* kept);

/// Reads ids[0, n) behind the text so far. Errors: as tritium_session_prefill.
int tritium_session_append(tritium_session* session, const int32_t* ids, size_t n);

/// The logits of what follows the last token read, tritium_model_vocabulary() of them. *logits lives until the
/// session's next prefill, append or next. Errors: INVALID_ARGUMENT (nothing has been read).
int tritium_session_logits(tritium_session* session, const float** logits, size_t* count);

/// How tritium_session_next draws. The steps run in the order of the members; the same seed gives the same ids.
typedef struct tritium_sampling {
  float repeat_penalty; /**< of tokens among the last repeat_last; 1: none */
  /// how many of the last tokens count as recent
  size_t repeat_last;
  float temperature; /**< 0: the most probable token, always */
  size_t top_k;      /**< 0: all */
  float top_p;       /**< 1: all */
  float min_p;       /**< 0: all */
  /// of the sampler: the same one gives the same text
  uint64_t seed;
  int ignore_end; /**< nonzero: ids that end a text are tokens like others */
} tritium_sampling;

/// The defaults: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, no penalty over the last 64, seed 0. Null is
/// ignored.
void tritium_sampling_init(tritium_sampling* sampling);

/// How this session draws from now on; null: the defaults. Starts the generator anew from the seed.
/// Errors: INVALID_ARGUMENT, naming the member; the sampling before stays.
int tritium_session_sampling(tritium_session* session, const tritium_sampling* sampling);

/// Draws the next token. *id gets it; *text, *bytes (null: not wanted) the whole characters that it completes, zero
/// bytes while a character is under way. *text has a zero behind it and lives until the session's next call. The token
/// itself is read when the next one is asked for: the logits stay those that it was drawn from.
/// TRITIUM_END: *id ends the text and is not part of it; *text is what was left over of a character.
/// Errors: OUT_OF_RANGE (the context is full), INVALID_ARGUMENT (nothing has been read), as tritium_session_prefill.
int tritium_session_next(tritium_session* session, int32_t* id, const char** text, size_t* bytes);

/// Ends a text before the model does: *text, *bytes get what is left over of a character that no token completed, as
/// tritium_session_next does with TRITIUM_END. Nothing else changes. Errors: INVALID_ARGUMENT (null pointers).
int tritium_session_flush(tritium_session* session, const char** text, size_t* bytes);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
