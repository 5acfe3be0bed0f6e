// SPDX-License-Identifier: Apache-2.0
#include "support/golden_tokenizer.h"

#include "io/test_files.h"
#include "tritium/generate/text_model.h"

tritium::Tokenizer golden_tokenizer(const std::string& row) {
  const auto checkpoint = value_of(tritium::Checkpoint::open(TRITIUM_TEST_DATA "/golden/" + row + "/model.gguf"));
  return value_of(tritium::load_tokenizer(checkpoint));
}
