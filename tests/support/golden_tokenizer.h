// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a golden model, read by a function that is compiled once for all tests.
#pragma once

#include <string>

#include "tritium/text/tokenizer.h"

/// The tokenizer in tests/data/golden/ROW/model.gguf.
tritium::Tokenizer golden_tokenizer(const std::string& row);
