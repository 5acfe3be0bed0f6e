// SPDX-License-Identifier: Apache-2.0
// Continues a text with a model: examples/c/complete.c in C++.
#include <tritium/model.h>

#include <cstdio>

namespace {

tritium::Status complete(const char* path, const char* text) {
  using namespace tritium;
  TRITIUM_ASSIGN(const auto pool, ThreadPool::create(2));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, load_tokenizer(checkpoint));
  TRITIUM_ASSIGN(const auto model, load_model(checkpoint, {}, pool->executor()));
  TRITIUM_ASSIGN(Session session, Session::create(*model, tokenizer, {}, pool->executor()));
  TRITIUM_ASSIGN(const std::vector<std::int32_t> prompt, tokenizer.encode(text));
  GenerateOptions options;
  options.max_tokens = 8;
  options.sampler.temperature = 0;
  TRITIUM_ASSIGN(const GenerateStats stats, session.generate(prompt, options, [](std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    return true;
  }));
  if (stats.new_tokens == 0) return make_error(Errc::invalid_file, "the model has nothing to say", path);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const tritium::Status status = complete(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
