// SPDX-License-Identifier: Apache-2.0
// The same bits on every architecture: a hash of each format's results, one constant for all tiers with fused
// multiply-add. One process can compare AVX2 with AVX-512; only a number in the tree compares them with NEON.
//
// Whoever changes the order in which a kernel adds changes these numbers on purpose: the failure prints the new table.
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>

#include "conformance/cases.h"
#include "support/tiers.h"

using namespace tritium;

namespace {

const std::map<std::string_view, std::uint64_t> kDigests{
    {"ternary2", 0x4449AB5A36C83E53u},     {"ternary1.6", 0x5AC91BC3CBC7C149u},   {"ternary2g64", 0xFE0FADDE8101BC02u},
    {"ternary2g128", 0x97F6141949B76E90u}, {"ternary2g256", 0x356B122260193767u}, {"int4", 0x0F6DEA8586217F27u},
    {"int4g32", 0x69B6D769E3BC2869u},      {"int4g64", 0xB75F4E40E6098481u},      {"int4g128", 0x6C79F1B0B9CDEE10u},
    {"int4g32m", 0x8D71CA33079ED37Au},     {"int4g64m", 0x60B65DC6FBD5D221u},     {"int4g128m", 0xB17C7DC17333B61Fu},
    {"int8", 0xF2EC63CD07DF0D7Fu},         {"int8g32", 0x4F753F18C2B44D96u},      {"int8g64", 0xB7AC8C5ABF5C8BF6u},
    {"int8g128", 0x73F688B27B9AF614u},     {"int5g32", 0x35F574AD11C46A2Au},      {"int5g32m", 0x7AEC76226FE064E2u},
    {"nl4g32", 0xDC4974C46E1C55F0u},       {"k2g16", 0x847281C66A11C520u},        {"k3g16", 0x0223709B921A8321u},
    {"k4g32", 0x82CF8B4207AEA77Fu},        {"k5g32", 0x0A677BCC2D42CA56u},        {"k6g16", 0xE2B8B98945BA561Bu},
    {"nlk4g32", 0xBAFAED1AC1F43505u},      {"f32", 0xB299AC00270C214Cu},          {"f16", 0xD9451C4843602F7Fu},
    {"bf16", 0xE3370ED36E7D6192u},
};

std::uint64_t digest_of(const tiers::RunnableTier& t, PackFormat format) {
  golden::Random random(91);  // integers and uniform numbers only: the same on every C library
  std::uint64_t hash = 0xCBF29CE484222325u;
  conformance::GuardedScratch scratch;
  for (const conformance::Shape s : {conformance::Shape{1, 75, 577}, {3, 33, 300}, {7, 16, 1030}, {25, 48, 513}}) {
    const conformance::Case c(format, s, 0, random);
    conformance::GuardedOutput out(s.m, s.n);
    t.kernels->matmul[static_cast<std::size_t>(format)](c.args(0, s.m, out.view()), 0, c.w.n_panels(), scratch.data());
    for (std::size_t r = 0; r < s.m; ++r) {
      for (std::size_t i = 0; i < s.n; ++i) {
        const float v = out.at(r, i);
        std::uint32_t bits = 0;
        std::memcpy(&bits, &v, sizeof bits);
        hash = (hash ^ bits) * 0x100000001B3u;
      }
    }
  }
  return hash;
}

}  // namespace

TEST_CASE("results are the same bits on every architecture", "[digest]") {
  std::string table;
  bool same = true;
  for (const tiers::RunnableTier& t : tiers::runnable()) {
    if (!t.fused) continue;
    for (const PackFormatInfo& f : kPackFormats) {
      const std::uint64_t digest = digest_of(t, f.format);
      const auto expected = kDigests.find(f.name);
      if (expected != kDigests.end() && expected->second == digest) continue;
      same = false;
      char line[80];
      std::snprintf(line, sizeof line, "    {\"%s\", 0x%016llXu},", std::string(f.name).c_str(),
                    static_cast<unsigned long long>(digest));
      table += std::string(line) + "  // " + std::string(info(t.tier).name) + "\n";
    }
  }
  if (!same) FAIL("digests differ:\n" << table);
  REQUIRE(kDigests.size() == kPackFormatCount);
}
