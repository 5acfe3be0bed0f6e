// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a tokenizer.json (and, after a NUL, as its tokenizer_config.json). What loads must
// encode and decode.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/text/tokenizer.h"
#include "tritium/text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tritium;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(input.find('\0'), input.size());
  const auto vocabulary = vocabulary_from_tokenizer_json(
      input.substr(0, cut), cut < input.size() ? input.substr(cut + 1) : std::string_view());
  if (!vocabulary.ok()) return 0;
  const auto tokenizer = Tokenizer::create(*vocabulary);
  if (!tokenizer.ok()) return 0;
  for (const std::string_view text : {std::string_view("Hello <s> world 123\n\n \xC3\xA9\xFF\xF0\x9F\x98\x80"),
                                      input.substr(0, std::min<std::size_t>(size, 64))}) {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer->encode(text, {special, special});
      if (!ids.ok()) continue;
      for (const std::int32_t id : *ids) {
        if (!tokenizer->contains(id)) std::abort();
      }
      if (!tokenizer->decode(*ids, {SpecialText::show, true}).ok()) std::abort();
    }
  }
  return 0;
}
