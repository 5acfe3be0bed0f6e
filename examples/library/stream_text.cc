// SPDX-License-Identifier: Apache-2.0
// Loads a model and writes text while it is made. The session keeps what it has read: a prompt that begins like the text so
// far costs its new part alone.
//
//   stream_text MODEL PROMPT [TOKENS]      a GGUF file or a safetensors folder; the likeliest tokens, 64 unless told otherwise
#include <tritium/model.h>

#include <cstdio>
#include <cstdlib>

namespace {

tritium::Status stream(const char* path, const char* text, std::size_t tokens) {
  using namespace tritium;
  TRITIUM_ASSIGN(const auto pool, ThreadPool::create(available_cpus()));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, load_tokenizer(checkpoint));
  TRITIUM_ASSIGN(const auto model, load_model(checkpoint, {}, pool->executor()));
  TRITIUM_ASSIGN(Session session, Session::create(*model, tokenizer, {}, pool->executor()));
  TRITIUM_ASSIGN(const std::vector<std::int32_t> prompt, tokenizer.encode(text));

  GenerateOptions options;
  options.max_tokens = tokens;
  options.sampler.greedy = true;
  std::size_t pieces = 0;
  // Pieces are whole characters: a token may give none, and the next one two. Return false to stop.
  const auto write = [&](std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
    ++pieces;
    return true;
  };
  TRITIUM_ASSIGN(const GenerateStats stats, session.generate(prompt, options, write));
  std::printf("\n(%zu tokens in %zu pieces, after a prompt of %zu)\n", stats.new_tokens, pieces, stats.prompt_tokens);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: stream_text MODEL PROMPT [TOKENS]\n"), 2;
  const std::size_t tokens = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 64;
  const tritium::Status status = stream(argv[1], argv[2], tokens);
  if (!status.ok()) std::fprintf(stderr, "stream_text: %s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
