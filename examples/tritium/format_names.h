// SPDX-License-Identifier: Apache-2.0
// Names of weight formats as users write them: those of `tritium formats` and those of GGUF types.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tritium/format/formats.h"
#include "tritium/format/tensor_type.h"

namespace cli {

/// The packed format that `name` means for --weights and --head; nothing for "keep". Anything else is wrong usage.
std::optional<tritium::PackFormat> pack_format(std::string_view option, std::string_view name);

/// The type in a GGUF file that `name` means for quantize. Errors: wrong usage for names that mean nothing, and for
/// packed formats that no GGUF type holds.
tritium::TensorType file_type(std::string_view option, std::string_view name);

/// The GGUF type whose values a packed format holds exactly; nothing when there is none.
std::optional<tritium::TensorType> gguf_twin(tritium::PackFormat format);

}  // namespace cli
