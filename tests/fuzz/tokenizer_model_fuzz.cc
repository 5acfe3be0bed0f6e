// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a SentencePiece tokenizer.model. What loads must encode and decode.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/text/tokenizer.h"
#include "tritium/text/tokenizer_model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tritium;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto vocabulary = vocabulary_from_tokenizer_model(input);
  if (!vocabulary.ok()) return 0;
  const auto tokenizer = Tokenizer::create(*vocabulary);
  if (!tokenizer.ok()) return 0;
  for (const std::string_view text : {std::string_view("Hello  <s> world 123\n\xC3\xA9\xFF\xEF\xAC\x81"),
                                      input.substr(0, std::min<std::size_t>(size, 64))}) {
    const auto ids = tokenizer->encode(text);
    if (!ids.ok()) continue;
    for (const std::int32_t id : *ids) {
      if (!tokenizer->contains(id)) std::abort();
    }
    if (!tokenizer->decode(*ids, {SpecialText::show, true}).ok()) std::abort();
  }
  return 0;
}
