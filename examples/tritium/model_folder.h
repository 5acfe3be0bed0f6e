// SPDX-License-Identifier: Apache-2.0
// Where models are: the folder of demo models, and what a MODEL argument names.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tritium/core/status.h"

namespace cli {

/// A model that scripts/get-model.sh fetches.
struct DemoModel {
  std::string_view name;
  std::string_view title;
  std::uint64_t bytes;
  std::string_view sha256;
  std::string_view licence;
};
inline constexpr std::array<DemoModel, 2> kDemoModels = {{
    {"smollm2-135m", "SmolLM2-135M-Instruct, Q4_1", 98362432,
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", "Apache-2.0"},
    {"gemma3-270m", "Gemma 3 270M (base), Q4_K_M", 253113024,
     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", "Gemma Terms of Use"},
}};

/// $TRITIUM_MODELS, else $XDG_DATA_HOME/tritium/models, else ~/.local/share/tritium/models; empty without a HOME.
std::string model_folder();
/// The file of a demo model, whether it is there or not.
std::string demo_path(const DemoModel& model);

/// The path that MODEL names: itself, or the file behind demo:NAME.
/// Errors: invalid_argument (unknown demo), io (not there yet; the command that gets it is named).
tritium::Result<std::string> resolve_model(const std::string& model);

}  // namespace cli
