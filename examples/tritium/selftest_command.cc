// SPDX-License-Identifier: Apache-2.0
// selftest: every kernel on every tier that this CPU runs, against scalar arithmetic.
#include <chrono>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "json_writer.h"
#include "tritium/ops/selftest.h"

namespace cli {

tritium::Result<int> selftest(const ListOptions& options) {
  TRITIUM_TRY(pin_isa(options.common));
  TRITIUM_ASSIGN(const tritium::IsaChoice choice, tritium::active_isa());
  JsonWriter json;
  json.begin_array();
  std::size_t failed = 0;
  for (const tritium::TierInfo& tier : tritium::kTiers) {
    if (!options.common.isa.empty() && tier.tier != choice.tier) continue;
    const std::string absent = tritium::why_not(tier.tier);
    std::string text;
    json.begin_object().member("tier", tier.name).member("ran", absent.empty());
    if (!absent.empty()) {
      json.member("why_not", absent);
      text = "not run: " + absent;
    } else {
      const auto start = std::chrono::steady_clock::now();
      const auto report = tritium::self_test(tier.tier);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      json.member("passed", report.ok());
      if (report.ok()) {
        json.member("kernels", report->kernels).member("outputs", report->outputs);
        json.member("worst_kernel", report->worst_kernel).rounded("worst_share_of_bound", report->worst, 6);
        text = "passed: " + std::to_string(report->kernels) + " kernels, " + std::to_string(report->outputs) +
               " outputs, worst error " + fixed(100 * report->worst, 1) + " % of its bound (" + report->worst_kernel +
               "), " + fixed(seconds * 1e3, 0) + " ms";
      } else {
        ++failed;
        json.member("error", report.error().message);
        text = "FAILED: " + report.error().message;
      }
    }
    json.end_object();
    if (!options.json) out().line(left(tier.name, 14) + text);
  }
  if (options.json) out().line(json.end_array().text());
  if (failed == 0) return kDone;
  return tritium::make_error(tritium::Errc::unsupported, "self-test failed", "selftest", "every tier to pass",
                             std::to_string(failed) + " that do not");
}

}  // namespace cli
