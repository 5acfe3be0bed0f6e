// SPDX-License-Identifier: Apache-2.0
// What memory this process may still take: the machine's, or what its control group leaves.
#pragma once

#include <cstddef>
#include <optional>

namespace cli {

/// Bytes available without swapping; nothing where the system does not say.
std::optional<std::size_t> available_memory();
/// Largest resident set so far, in bytes.
std::size_t peak_resident_bytes();

}  // namespace cli
