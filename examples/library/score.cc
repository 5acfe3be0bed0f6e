// SPDX-License-Identifier: Apache-2.0
// Scores continuations of a prompt: ln p(continuation | prompt) of each, and the likeliest. How multiple-choice questions
// are answered without generating anything.
//
//   score MODEL PROMPT CONTINUATION...
#include <tritium/model.h>

#include <cstdio>

namespace {

tritium::Status score(const char* path, const std::string& prompt, std::span<char*> continuations) {
  using namespace tritium;
  TRITIUM_ASSIGN(const auto pool, ThreadPool::create(available_cpus()));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, load_tokenizer(checkpoint));
  TRITIUM_ASSIGN(const auto model, load_model(checkpoint, {}, pool->executor()));
  TRITIUM_ASSIGN(const auto decoder, Decoder::create(*model, {}, pool->executor()));
  TRITIUM_ASSIGN(const std::vector<std::int32_t> begin, tokenizer.encode(prompt));

  const std::size_t vocab = model->spec.vocab;
  std::vector<float> logits;
  const char* best = nullptr;
  double best_sum = 0;
  for (const char* continuation : continuations) {
    // Encoded together: tokens may reach across the seam, and those that do are scored too.
    TRITIUM_ASSIGN(const std::vector<std::int32_t> ids, tokenizer.encode(prompt + continuation));
    const auto [end, _] = std::mismatch(begin.begin(), begin.end(), ids.begin(), ids.end());
    const auto shared = static_cast<std::size_t>(end - begin.begin());
    if (shared == 0) return make_error(Errc::invalid_argument, "no token before what is scored", "prompt");

    (void)decoder->rewind(0);
    logits.resize(ids.size() * vocab);
    TRITIUM_TRY(decoder->forward(ids, Decoder::Logits::all, logits.data()));  // row r is about token r + 1
    double sum = 0;
    for (std::size_t r = shared - 1; r + 1 < ids.size(); ++r) {
      const float* row = logits.data() + r * vocab;
      sum += double{row[ids[r + 1]]} - decoder->ops().kernels().log_sum_exp(row, vocab);
    }
    std::printf("%9.4f  %zu tokens  %s\n", sum, ids.size() - shared, continuation);
    if (best == nullptr || sum > best_sum) {
      best = continuation;
      best_sum = sum;
    }
  }
  std::printf("likeliest: %s\n", best);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "usage: score MODEL PROMPT CONTINUATION...\n"), 2;
  const auto continuations = std::span(argv, static_cast<std::size_t>(argc)).subspan(3);
  const tritium::Status status = score(argv[1], argv[2], continuations);
  if (!status.ok()) std::fprintf(stderr, "score: %s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
