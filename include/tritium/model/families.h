// SPDX-License-Identifier: Apache-2.0
// The families this build knows. A family is one header under families/ and one line here.
#pragma once

#include "tritium/model/families/bitnet.h"
#include "tritium/model/families/gemma.h"
#include "tritium/model/families/gemma3.h"
#include "tritium/model/families/gemma3n.h"
#include "tritium/model/families/gemma4.h"
#include "tritium/model/families/llama.h"
#include "tritium/model/families/phi.h"
#include "tritium/model/families/phi3.h"
#include "tritium/model/families/phimoe.h"
#include "tritium/model/families/qwen.h"
#include "tritium/model/families/qwen2.h"
#include "tritium/model/families/qwen2_moe.h"
#include "tritium/model/families/qwen3.h"
#include "tritium/model/families/qwen3_5.h"
#include "tritium/model/families/qwen3_moe.h"
#include "tritium/model/families/qwen3_next.h"
#include "tritium/model/families/smollm3.h"

TRITIUM_NAMESPACE_BEGIN

/// Every family of decoder-only models.
inline constexpr const Family* kFamilies[] = {
    &llama::kFamily,      &smollm3::kFamily, &phi::kFamily,    &phi3::kFamily,      &phimoe::kFamily,
    &qwen::kFamily,       &qwen2::kFamily,   &qwen3::kFamily,  &qwen2_moe::kFamily, &qwen3_moe::kFamily,
    &qwen3_next::kFamily, &qwen3_5::kFamily, &gemma::kFamily1, &gemma::kFamily2,    &gemma3::kFamily,
    &gemma3n::kFamily,    &gemma4::kFamily,  &bitnet::kFamily,
};

/// The family that understands a checkpoint. Errors: unsupported, naming the architecture found and those known.
inline Result<const Family*> find_family(const Checkpoint& checkpoint) {
  return no_throw([&]() -> Result<const Family*> {
    const bool is_gguf = checkpoint.kind() == Checkpoint::Kind::gguf;
    std::string found;
    if (is_gguf) {
      TRITIUM_ASSIGN(const std::string_view architecture,
                     checkpoint.gguf()->get<std::string_view>("general.architecture"));
      found = architecture;
    } else {
      TRITIUM_ASSIGN(const JsonObject config, JsonObject::of(*checkpoint.config(), "config.json"));
      TRITIUM_ASSIGN(const std::vector<std::string_view> names, config.get_array<std::string_view>("architectures"));
      if (!names.empty()) found = names[0];
    }
    std::string known;
    for (const Family* family : kFamilies) {
      for (const std::string_view name : is_gguf ? family->gguf_architectures : family->hf_architectures) {
        if (name == found) return family;
        known.append(known.empty() ? "" : ", ").append(name);
      }
    }
    return make_error(Errc::unsupported, "unsupported model architecture",
                      printable_path(checkpoint.path()) +
                          (is_gguf ? ", key \"general.architecture\"" : ", config.json, key \"architectures\""),
                      "one of " + known, found.empty() ? "nothing" : printable(found));
  });
}

TRITIUM_NAMESPACE_END
