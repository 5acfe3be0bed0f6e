// SPDX-License-Identifier: Apache-2.0
// EncoderDecoderFamily: what the loader must know of a model with two stacks: two specs, two tables of names.
#pragma once

#include "tritium/model/family.h"

TRITIUM_NAMESPACE_BEGIN

struct EncoderDecoderSpec {
  ModelSpec encoder, decoder;
  std::span<const TensorName> encoder_names, decoder_names;
  bool shared_embedding = false;  ///< the decoder's serves both
};

struct EncoderDecoderFamily {
  std::string_view name;
  std::span<const std::string_view> hf_architectures;  ///< architectures[0] of config.json
  Result<EncoderDecoderSpec> (*from_config)(const JsonObject& config) = nullptr;
  bool hf_norm_plus_one = false;
};

TRITIUM_NAMESPACE_END
