// SPDX-License-Identifier: Apache-2.0
// What the common options ask of the loader, for the files that load models.
#pragma once

#include <optional>
#include <string>

#include "options.h"
#include "tritium/io/checkpoint.h"
#include "tritium/model/profile.h"

namespace cli {

/// --weights, --head, --acts, --exact and --profile. Contradictions are wrong usage.
tritium::LoadOptions load_options(const CommonOptions& options);
/// --kv; --exact is f32, else what a profile chose.
tritium::KvType kv_type(const CommonOptions& options);
/// The profile of --profile; null: none. An unknown one, or one together with --exact or --acts f32, is wrong usage.
const tritium::Profile* profile_of(const CommonOptions& options);
/// The family of a model that has an encoder and a decoder; nothing for all others.
std::optional<std::string> encoder_decoder_family(const tritium::Checkpoint& checkpoint);

}  // namespace cli
