// SPDX-License-Identifier: Apache-2.0
// load_encoder_decoder: a checkpoint with two stacks, each loaded as load.h loads one.
#pragma once

#include "tritium/model/encoder_decoder.h"
#include "tritium/model/families/encoder_decoder_family.h"
#include "tritium/model/load.h"
#if TRITIUM_LOADERS != 1
#include "tritium/model/families/mu.h"
#include "tritium/model/families/t5gemma.h"
#endif

TRITIUM_NAMESPACE_BEGIN

/// The family of a checkpoint with two stacks; null when it has none of them. Errors: invalid_file.
TRITIUM_LOADER Result<const EncoderDecoderFamily*> find_encoder_decoder_family(const Checkpoint& checkpoint);

/// Loads and packs both stacks. The checkpoint is not needed afterwards; its files are, as with load_model(). Errors: the same.
TRITIUM_LOADER Result<EncoderDecoderModel> load_encoder_decoder(const Checkpoint& checkpoint,
                                                                const LoadOptions& options, const Executor& executor);

#if TRITIUM_LOADERS != 1

/// Every family of encoder-decoder models.
inline constexpr const EncoderDecoderFamily* kEncoderDecoderFamilies[] = {&mu::kFamily, &t5gemma::kFamily};

TRITIUM_LOADER Result<const EncoderDecoderFamily*> find_encoder_decoder_family(const Checkpoint& checkpoint) {
  return no_throw([&]() -> Result<const EncoderDecoderFamily*> {
    const EncoderDecoderFamily* none = nullptr;
    if (checkpoint.kind() != Checkpoint::Kind::safetensors) return none;
    TRITIUM_ASSIGN(const JsonObject config, JsonObject::of(*checkpoint.config(), "config.json"));
    TRITIUM_ASSIGN(const std::vector<std::string_view> names, config.get_array<std::string_view>("architectures"));
    for (const EncoderDecoderFamily* family : kEncoderDecoderFamilies) {
      for (const std::string_view name : family->hf_architectures) {
        if (!names.empty() && name == names[0]) return family;
      }
    }
    return none;
  });
}

TRITIUM_LOADER Result<EncoderDecoderModel> load_encoder_decoder(const Checkpoint& checkpoint,
                                                                const LoadOptions& options, const Executor& executor) {
  return no_throw([&]() -> Result<EncoderDecoderModel> {
    TRITIUM_ASSIGN(const EncoderDecoderFamily* family, find_encoder_decoder_family(checkpoint));
    if (family == nullptr) {
      return make_error(Errc::unsupported, "unsupported model architecture", printable_path(checkpoint.path()),
                        "an encoder-decoder: mu or t5gemma", "another");
    }
    if (options.shortlist)
      return make_error(Errc::unsupported, "a shortlist for this family", printable_path(checkpoint.path()),
                        "a decoder-only model", family->name);
    TRITIUM_ASSIGN(const JsonObject config,
                   JsonObject::of(*checkpoint.config(), printable_path(checkpoint.path()) + "/config.json"));
    TRITIUM_ASSIGN(EncoderDecoderSpec both, family->from_config(config));
    TRITIUM_TRY(detail::check_packed_cache(checkpoint, options));
    Family encoder_family{};
    encoder_family.name = family->name;
    encoder_family.hf_names = both.encoder_names;
    encoder_family.hf_norm_plus_one = family->hf_norm_plus_one;
    Family decoder_family = encoder_family;
    decoder_family.hf_names = both.decoder_names;
    EncoderDecoderModel model;
    detail::Loader encoder(checkpoint, encoder_family, options, executor);
    TRITIUM_ASSIGN(model.encoder, encoder.load_as(std::move(both.encoder), !both.shared_embedding));
    detail::Loader decoder(checkpoint, decoder_family, options, executor);
    decoder.adopt(encoder);
    TRITIUM_ASSIGN(model.decoder, decoder.load_as(std::move(both.decoder), true));
    TRITIUM_TRY(decoder.refuse_leftovers());
    TRITIUM_TRY(checkpoint.check_unchanged());
    if (both.shared_embedding) model.encoder->table = &model.decoder->weights.embedding;
    return model;
  });
}

#endif

TRITIUM_NAMESPACE_END
