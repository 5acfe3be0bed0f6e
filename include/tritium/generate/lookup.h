// SPDX-License-Identifier: Apache-2.0
// Lookup: guesses how a text goes on from the last place where it went the same way before.
//
// Answers repeat their questions: names, code, quotations. The guess is checked by the model in one batch with the token
// that is due anyway, and a batch of a few tokens reads the weights once. Source: Saxena 2023 (prompt lookup decoding).
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// Replaces `guess` by up to `most` tokens that followed the latest earlier occurrence of the last three tokens of `text`,
/// or of the last two. Empty when there is none. Time: linear in the text.
inline void lookup_guess(std::span<const std::int32_t> text, std::size_t most, std::vector<std::int32_t>& guess) {
  guess.clear();
  for (const std::size_t length : {std::size_t{3}, std::size_t{2}}) {
    if (text.size() <= length) continue;
    const auto pattern = text.last(length);
    for (std::size_t at = text.size() - length; at-- > 0;) {
      if (!std::equal(pattern.begin(), pattern.end(), text.begin() + static_cast<std::ptrdiff_t>(at))) continue;
      const auto after = text.subspan(at + length, std::min(most, text.size() - at - length));
      guess.assign(after.begin(), after.end());
      return;
    }
  }
}

TRITIUM_NAMESPACE_END
