// SPDX-License-Identifier: Apache-2.0
// Completes a text, in C: opens a model, reads the prompt, writes tokens as they are made.
//
//   complete MODEL PROMPT [TOKENS]      greedy, 64 tokens unless told otherwise
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tritium/c/tritium.h>

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: complete MODEL PROMPT [TOKENS]\n");
    return 2;
  }
  const char* prompt = argv[2];
  const int tokens = argc > 3 ? atoi(argv[3]) : 64;

  tritium_model* model = NULL;
  tritium_session* session = NULL;
  int32_t* ids = NULL;
  size_t n = 0;
  int code = tritium_model_open(argv[1], NULL, &model);
  if (code != TRITIUM_OK) goto failed;

  // The first call counts the ids, the second one writes them.
  code = tritium_tokenize(model, prompt, strlen(prompt), TRITIUM_PREFIX | TRITIUM_SPECIAL, NULL, 0, &n);
  if (code != TRITIUM_OK) goto failed;
  ids = malloc((n + 1) * sizeof(*ids));
  if (ids == NULL) return 1;
  code = tritium_tokenize(model, prompt, strlen(prompt), TRITIUM_PREFIX | TRITIUM_SPECIAL, ids, n, &n);
  if (code != TRITIUM_OK) goto failed;

  code = tritium_session_create(model, NULL, &session);
  if (code != TRITIUM_OK) goto failed;
  tritium_sampling sampling;
  tritium_sampling_init(&sampling);
  sampling.temperature = 0;
  code = tritium_session_sampling(session, &sampling);
  if (code == TRITIUM_OK) code = tritium_session_prefill(session, ids, n, NULL);

  const char* text;
  size_t bytes;
  for (int i = 0; i < tokens && code == TRITIUM_OK; ++i) {
    int32_t id;
    code = tritium_session_next(session, &id, &text, &bytes);
    if (code != TRITIUM_OK && code != TRITIUM_END) break;
    fwrite(text, 1, bytes, stdout);
    fflush(stdout);
  }
  if (code == TRITIUM_END) code = TRITIUM_OK;
  if (code == TRITIUM_OK) code = tritium_session_flush(session, &text, &bytes);  // what is left of a character
  if (code == TRITIUM_OK) fwrite(text, 1, bytes, stdout);

failed:
  if (code != TRITIUM_OK) {
    const char* what = session != NULL ? tritium_session_error(session) : tritium_model_error(model);
    fprintf(stderr, "complete: %s: %s\n", tritium_code_text(code), what);
  }
  free(ids);
  tritium_session_free(session);
  tritium_model_close(model);
  return code == TRITIUM_OK ? 0 : 1;
}
