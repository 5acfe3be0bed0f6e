// SPDX-License-Identifier: Apache-2.0
// Everything needed to run a model: checkpoints, families, the graph, sessions with tokenizer and sampler.
//
// Needs tritium::text (tokenizers use PCRE2 and utf8proc, configurations nlohmann/json). An engine with a tokenizer of its
// own includes model/load.h and model/decoder.h and works on token ids.
#pragma once

#include "tritium/core/thread_pool.h"
#include "tritium/generate/perplexity.h"
#include "tritium/generate/session.h"
#include "tritium/generate/text_model.h"
#include "tritium/model/load.h"
#include "tritium/model/load_encoder_decoder.h"
#include "tritium/model/profile.h"
