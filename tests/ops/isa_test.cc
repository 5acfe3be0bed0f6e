// SPDX-License-Identifier: Apache-2.0
#include "tritium/ops/isa.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <string>

#include "support/tiers.h"
#include "tritium/ops/context.h"

using namespace tritium;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Sets TRITIUM_ISA for a scope.
class Environment {
 public:
  explicit Environment(const char* value) {
    if (const char* old = std::getenv("TRITIUM_ISA"); old != nullptr) old_ = old, had_ = true;
    if (value == nullptr) unsetenv("TRITIUM_ISA");
    else setenv("TRITIUM_ISA", value, 1);
  }
  ~Environment() {
    if (had_) setenv("TRITIUM_ISA", old_.c_str(), 1);
    else unsetenv("TRITIUM_ISA");
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::string old_;
  bool had_ = false;
};

}  // namespace

TEST_CASE("the best tier that runs serves", "[isa]") {
  for (const char* nothing : {static_cast<const char*>(nullptr), ""}) {
    const Result<IsaChoice> choice = choose_isa(nothing);
    REQUIRE(choice.ok());
    REQUIRE(choice->tier == tiers::runnable().back().tier);
    REQUIRE_FALSE(choice->reason.empty());
  }
}

TEST_CASE("tiers can be pinned by name", "[isa]") {
  for (const TierInfo& t : kTiers) {
    CAPTURE(t.name);
    REQUIRE(find_tier(t.name) == &t);
    const Result<IsaChoice> choice = choose_isa(std::string(t.name).c_str());
    const std::string reason = why_not(t.tier);
    REQUIRE(choice.ok() == reason.empty());
    if (choice.ok()) {
      REQUIRE(choice->tier == t.tier);
      REQUIRE(choice->reason == "pinned");
    } else {  // one line: what is missing
      REQUIRE(choice.error().code == Errc::unsupported);
      REQUIRE(contains(choice.error().message, kernel_table(t.tier) == nullptr ? t.name : t.needs));
      REQUIRE_FALSE(contains(choice.error().message, "\n"));
      REQUIRE(contains(reason, kernel_table(t.tier) == nullptr ? "not compiled in" : t.needs));
    }
  }
}

TEST_CASE("an unknown tier is refused with the list of known ones", "[isa]") {
  for (const char* name : {"avx3", "AVX2", "avx2 ", "best"}) {
    const Result<IsaChoice> choice = choose_isa(name);
    REQUIRE_FALSE(choice.ok());
    REQUIRE(choice.error().code == Errc::unsupported);
    REQUIRE(contains(choice.error().message, name));
    for (const TierInfo& t : kTiers) REQUIRE(contains(choice.error().message, t.name));
  }
  REQUIRE(find_tier("") == nullptr);
}

TEST_CASE("no tier of another architecture is compiled in or runs", "[isa]") {
#if defined(__x86_64__)
  for (const Tier other : {Tier::neon, Tier::neon_dotprod, Tier::neon_i8mm}) {
    REQUIRE(kernel_table(other) == nullptr);
    REQUIRE_FALSE(cpu_has(other));
  }
  for (const Tier own : {Tier::portable, Tier::avx2, Tier::avx2_vnni, Tier::avx512, Tier::avx512_vnni}) {
    REQUIRE(kernel_table(own) != nullptr);
  }
  REQUIRE(cpu_has(Tier::portable));
#elif defined(__aarch64__)
  for (const Tier other :
       {Tier::avx2, Tier::avx2_vnni, Tier::avx512, Tier::avx512_vnni, Tier::amx, Tier::amx_emulated}) {
    REQUIRE(kernel_table(other) == nullptr);
    REQUIRE_FALSE(cpu_has(other));
  }
  for (const Tier own : {Tier::neon, Tier::neon_dotprod, Tier::neon_i8mm}) REQUIRE(kernel_table(own) != nullptr);
  REQUIRE(cpu_has(Tier::neon));
#endif
}

TEST_CASE("what a tier needs, the CPU has", "[isa]") {
  const CpuFeatures& f = cpu_features();
  REQUIRE(&f == &cpu_features());
  if (cpu_has(Tier::avx2)) REQUIRE((f.avx && f.avx2 && f.fma && f.f16c && f.bmi2));
  if (cpu_has(Tier::avx2_vnni)) REQUIRE((cpu_has(Tier::avx2) && f.avx_vnni));
  if (cpu_has(Tier::avx512)) REQUIRE((cpu_has(Tier::avx2) && f.avx512));
  if (cpu_has(Tier::avx512_vnni)) REQUIRE((cpu_has(Tier::avx512) && f.avx512_vnni));
  if (cpu_has(Tier::amx)) REQUIRE((cpu_has(Tier::avx512_vnni) && f.amx_int8 && request_amx()));
  if (cpu_has(Tier::neon_i8mm)) REQUIRE((cpu_has(Tier::neon_dotprod) && f.i8mm));
  if (!f.amx_int8) REQUIRE_FALSE(request_amx());
}

TEST_CASE("force_isa() is stronger than the environment, the environment than the best", "[isa]") {
  const std::string best(info(tiers::runnable().back().tier).name);
  const std::string least(info(tiers::runnable().front().tier).name);
  const auto serving = [] {
    const Result<OpContext> context = OpContext::create();
    REQUIRE(context.ok());
    return std::string(context->kernels().tier);
  };
  {
    const Environment none(nullptr);
    REQUIRE(serving() == best);
  }
  {
    const Environment pinned(least.c_str());
    REQUIRE(serving() == least);
    REQUIRE(active_isa()->reason == "pinned");
  }
  {
    const Environment wrong("nonsense");
    const Result<OpContext> context = OpContext::create();
    REQUIRE_FALSE(context.ok());
    REQUIRE(context.error().code == Errc::unsupported);
    REQUIRE_FALSE(force_isa("nonsense").ok());
    REQUIRE_FALSE(OpContext::create().ok());  // a refused pin changes nothing
    REQUIRE(force_isa(best).ok());
    REQUIRE(serving() == best);
    REQUIRE(force_isa(least).ok());
    REQUIRE(serving() == least);
  }
  detail::tier_is_forced() = false;  // other tests of this process choose for themselves
}
