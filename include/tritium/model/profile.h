// SPDX-License-Identifier: Apache-2.0
// Profiles: named ways to run a model, each a set of choices that belong together.
//
// phi-silica   what is public of Phi Silica's design, on a CPU, for Phi-3.5-mini's graph and other plain ones: 4-bit weights in a
//              rotated basis, 8-bit activations, an 8-bit head, the prompt in chunks of 64 that share one cache with decoding, a
//              small draft whose guesses are checked in one pass (generate/draft.h). A style, not the model: its weights and
//              exact sizes are not public.
// Source: Microsoft's public descriptions of Phi Silica (December 2024, January 2025); QuaRot for the rotation.
#pragma once

#include <span>
#include <string_view>

#include "tritium/model/decoder.h"
#include "tritium/model/load_options.h"

TRITIUM_NAMESPACE_BEGIN

/// A named set of choices: formats, rotation, cache, chunks of the prompt.
struct Profile {
  std::string_view name;            ///< as --profile takes it
  std::string_view about;           ///< one line for people
  PackFormat weights;               ///< of linear layers
  PackFormat head;                  ///< of the output head
  bool rotate = false;              ///< matrices are rotated before they are rounded (model/hadamard.h)
  std::size_t prefill_chunk = 512;  ///< Decoder::Options::max_batch
  KvType kv = KvType::f16;          ///< type of cached keys and values
  std::size_t drafted = 0;          ///< tokens a draft proposes at a time; 0: no draft

  /// What load_model() takes of it.
  [[nodiscard]] LoadOptions load_options() const {
    LoadOptions options;
    options.weights = weights;
    options.head = head;
    options.rotate = rotate;
    return options;
  }
  /// What Decoder::create() takes of it; `context` as there.
  [[nodiscard]] Decoder::Options decoder_options(std::size_t context = 0) const {
    Decoder::Options options;
    options.context = context;
    options.max_batch = prefill_chunk;
    options.kv = kv;
    return options;
  }
};

/// Every profile.
inline constexpr Profile kProfiles[] = {
    {.name = "phi-silica",
     .about = "Phi-Silica-style: rotated 4-bit weights, prompt in chunks of 64, a draft of 4 tokens",
     .weights = PackFormat::int4_g32,
     .head = PackFormat::int8,
     .rotate = true,
     .prefill_chunk = 64,
     .kv = KvType::f16,
     .drafted = 4},
};

/// A profile by name; null when there is none.
inline const Profile* find_profile(std::string_view name) {
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

TRITIUM_NAMESPACE_END
