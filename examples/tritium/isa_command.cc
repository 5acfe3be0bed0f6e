// SPDX-License-Identifier: Apache-2.0
// isa: what the CPU has, what was compiled in, what serves and why nothing better does.
#include <cstdlib>
#include <utility>
#include <vector>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "json_writer.h"
#include "tritium/ops/context.h"

namespace cli {

using tritium::TierInfo;

tritium::Result<int> isa(const ListOptions& options) {
  TRITIUM_TRY(pin_isa(options.common));
  const tritium::CpuFeatures& f = tritium::cpu_features();
  const std::pair<const char*, bool> features[] = {{"avx", f.avx},
                                                   {"avx2", f.avx2},
                                                   {"fma", f.fma},
                                                   {"f16c", f.f16c},
                                                   {"bmi2", f.bmi2},
                                                   {"avx_vnni", f.avx_vnni},
                                                   {"avx512", f.avx512},
                                                   {"avx512_vnni", f.avx512_vnni},
                                                   {"avx512_vbmi", f.avx512_vbmi},
                                                   {"avx512_bf16", f.avx512_bf16},
                                                   {"amx_tile", f.amx_tile},
                                                   {"amx_int8", f.amx_int8},
                                                   {"amx_bf16", f.amx_bf16},
                                                   {"neon", f.neon},
                                                   {"dotprod", f.dotprod},
                                                   {"i8mm", f.i8mm},
                                                   {"bf16", f.bf16},
                                                   {"sve", f.sve}};
  TRITIUM_ASSIGN(const tritium::IsaChoice choice, tritium::active_isa());
  const char* variable = std::getenv("TRITIUM_ISA");
  std::string reason = choice.reason;
  if (!options.common.isa.empty()) reason = "pinned by --isa";
  else if (variable != nullptr && *variable != '\0') reason = "pinned by TRITIUM_ISA";
  // Why each tier is not the one: nothing for the chosen tier.
  const auto why = [&](const TierInfo& tier) -> std::string {
    if (tier.tier == choice.tier) return "";
    const std::string not_here = tritium::why_not(tier.tier);
    if (!not_here.empty()) return not_here;
    return tier.tier > choice.tier ? "available; another one is pinned" : "available";
  };
  if (options.json) {
    JsonWriter json;
    json.begin_object().key("features").begin_object();
    for (const auto& [name, has] : features) json.member(name, has);
    json.end_object().key("tiers").begin_array();
    for (const TierInfo& tier : tritium::kTiers) {
      const bool compiled = tritium::kernel_table(tier.tier) != nullptr;
      json.begin_object().member("name", tier.name).member("needs", tier.needs).member("compiled", compiled);
      json.member("available", compiled && tritium::cpu_has(tier.tier))
          .member("chosen", tier.tier == choice.tier)
          .key("why_not");
      if (const std::string text = why(tier); text.empty()) json.null();
      else json.value(text);
      json.end_object();
    }
    json.end_array().member("chosen", tritium::info(choice.tier).name).member("reason", reason).end_object();
    out().line(json.text());
    return kDone;
  }
  std::string names;
  for (const auto& [name, has] : features) {
    if (has) names.append(names.empty() ? "" : " ").append(name);
  }
  out().line("features  " + (names.empty() ? "none that matters here" : names));
  out().line("chosen    " + std::string(tritium::info(choice.tier).name) + ": " + reason);
  out().line("tiers     best first");
  for (std::size_t i = tritium::kTierCount; i-- > 0;) {
    const TierInfo& tier = tritium::kTiers[i];
    const std::string text = why(tier);
    out().line("  " + left(tier.name, 14) + (text.empty() ? "serves" : text));
  }
  return kDone;
}

}  // namespace cli
