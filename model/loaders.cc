// SPDX-License-Identifier: Apache-2.0
// The functions that TRITIUM_LOADER marks, as the library tritium::model has them.
#include "tritium/generate/text_model.h"
#include "tritium/model/load.h"
#include "tritium/model/load_encoder_decoder.h"

static_assert(TRITIUM_LOADERS == 2, "only tritium::model compiles this file");
