// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a whole GGUF model: metadata, tokenizer, template, plan, shapes, packing, and a few tokens.
// The file lies in memory behind a descriptor, so that the loader opens it as it opens any other.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tritium/generate/text_model.h"
#include "tritium/model/load.h"
#include "tritium/model/plan.h"

namespace {

using namespace tritium;

constexpr std::size_t kContext = 16;

void require(bool condition) {
  if (!condition) std::abort();
}
void require_one_line(const Error& error) {
  require(!error.message.empty() && error.message.find_first_of("\r\n") == std::string::npos);
}

/// One file for all inputs; its path leads to it as long as the process lives.
const std::string& file_with(const std::uint8_t* data, std::size_t size) {
  static const int descriptor = ::memfd_create("model.gguf", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  require(descriptor >= 0 && ::ftruncate(descriptor, 0) == 0);
  require(::pwrite(descriptor, data, size, 0) == static_cast<ssize_t>(size));
  return path;
}

void read_text_side(const Checkpoint& checkpoint) {
  const auto chat = load_chat_template(checkpoint);
  if (!chat.ok()) require_one_line(chat.error());
  const auto tokenizer = load_tokenizer(checkpoint);
  if (!tokenizer.ok()) return require_one_line(tokenizer.error());
  const auto ids = tokenizer->encode("Hi <s> 12\n");
  if (ids.ok()) require(tokenizer->decode(*ids).ok());
}

void run(const Model& model) {
  const ModelSpec& spec = model.spec;
  Decoder::Options options;
  options.context = std::min(kContext, spec.context);
  options.max_batch = 4;
  const auto decoder = Decoder::create(model, options, {});
  if (!decoder.ok()) return require_one_line(decoder.error());
  std::vector<float> logits(4 * spec.vocab);
  std::vector<std::int32_t> tokens;
  for (const std::size_t n : {std::size_t{3}, std::size_t{1}, std::size_t{4}}) {
    tokens.clear();
    for (std::size_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((7 * i + n) % spec.vocab));
    const Status done = (*decoder)->forward(tokens, Decoder::Logits::all, logits.data());
    if (!done.ok()) return require_one_line(done.error());
    for (std::size_t i = 0; i < n * spec.vocab; ++i) require(std::isfinite(logits[i]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Checkpoint::Options options;
  options.access = FileAccess::read;  // a copy of exactly the file's size: a read past its end shows
  const auto checkpoint = Checkpoint::open(file_with(data, size), options);
  if (!checkpoint.ok()) {
    require_one_line(checkpoint.error());
    return 0;
  }
  read_text_side(*checkpoint);
  const auto plan = plan_model(*checkpoint, {});
  const auto model = load_model(*checkpoint, {}, {});
  if (!plan.ok()) require_one_line(plan.error());
  if (!model.ok()) {
    require_one_line(model.error());
    return 0;
  }
  require(plan.ok() && plan->family->name == (*model)->spec.family);
  run(**model);
  return 0;
}

#ifdef TRITIUM_FUZZ
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Most bytes of a model are weights, which say little: of a file that is read, only what stands before them is changed,
/// seven times out of eight.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  if (seed % 8 != 0) {
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    const auto file = GgufFile::view({bytes, size}, "model.gguf");
    std::size_t head = size;
    if (file.ok()) {
      for (const GgufTensor& t : file->tensors())
        head = std::min(head, static_cast<std::size_t>(t.data.data() - bytes));
    }
    if (head != 0 && head < size) {
      const std::size_t left = LLVMFuzzerMutate(data, head, head);
      std::fill(data + left, data + head, std::uint8_t{0});
      return size;
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
#endif
