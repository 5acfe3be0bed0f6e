// SPDX-License-Identifier: Apache-2.0
#include "tritium/ops/selftest.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>

#include "support/tiers.h"

using namespace tritium;
using tiers::RunnableTier;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string failure(const KernelTable& table, std::span<const PackFormat> formats) {
  const Result<SelfTestReport> report = self_test(table, "a tier", formats);
  REQUIRE_FALSE(report.ok());
  REQUIRE(report.error().code == Errc::unsupported);
  return report.error().message;
}

std::vector<PackFormat> all_formats() {
  std::vector<PackFormat> formats;
  for (const PackFormatInfo& f : kPackFormats) formats.push_back(f.format);
  return formats;
}

const KernelTable& real() { return *tiers::runnable().back().kernels; }

}  // namespace

TEST_CASE("every tier of this machine passes its self-test", "[selftest]") {
  for (const RunnableTier& t : tiers::runnable()) {
    const auto begin = std::chrono::steady_clock::now();
    const Result<SelfTestReport> report = self_test(t.tier);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (!report.ok()) FAIL(report.error().message);
    INFO(info(t.tier).name << ": " << took.count() << " ms, worst " << report->worst << " at " << report->worst_kernel);
    REQUIRE(report->kernels == kPackFormatCount + 8);
    REQUIRE(report->outputs > kPackFormatCount * 36 * 75);
    REQUIRE(report->worst > 0);
    REQUIRE(report->worst <= 1);
    REQUIRE_FALSE(report->worst_kernel.empty());
  }
}

TEST_CASE("only the formats that were asked for are checked", "[selftest]") {
  const PackFormat used[] = {PackFormat::int4_g32, PackFormat::k6};
  const Result<SelfTestReport> report = self_test(tiers::runnable().back().tier, used);
  REQUIRE(report.ok());
  REQUIRE(report->kernels == 2 + 8);
  REQUIRE(self_test(tiers::runnable().back().tier, {}).ok());
}

TEST_CASE("a tier that does not run here says why", "[selftest]") {
  for (const TierInfo& t : kTiers) {
    const std::string reason = why_not(t.tier);
    if (reason.empty()) continue;
    const Result<SelfTestReport> report = self_test(t.tier);
    REQUIRE_FALSE(report.ok());
    REQUIRE(report.error().code == Errc::unsupported);
    REQUIRE(contains(report.error().message, t.name));
    REQUIRE(contains(report.error().message, reason));
  }
}

TEST_CASE("a wrong kernel is named with its tier and its worst element", "[selftest]") {
  // Another format's kernel in a format's place, for every format: it reads the right number of bytes or fewer.
  for (const PackFormatInfo& f : kPackFormats) {
    CAPTURE(f.name);
    KernelTable broken = real();
    static MatmulFn good;
    good = broken.matmul[static_cast<std::size_t>(f.format)];
    MatmulFn& entry = broken.matmul[static_cast<std::size_t>(f.format)];
    const PackFormat others[] = {f.format};

    // One output of many, in the partial panel, off by a thousandth.
    entry = [](const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
      good(args, first, last, scratch);
      if (args.m == 7) args.y[6 * args.y_stride + 74] += 1e-3f * std::fabs(args.y[6 * args.y_stride + 74]) + 0.5f;
    };
    std::string message = failure(broken, others);
    REQUIRE(contains(message, "matmul " + std::string(f.name)));
    REQUIRE(contains(message, "a tier"));
    REQUIRE(contains(message, "row 6 column 74"));

    // Nothing is written for many rows.
    entry = [](const MatmulArgs& args, std::size_t first, std::size_t last, std::byte* scratch) {
      if (args.m < 20) good(args, first, last, scratch);
    };
    REQUIRE(contains(failure(broken, others), "matmul " + std::string(f.name)));

    entry = nullptr;
    message = failure(broken, others);
    REQUIRE(contains(message, "matmul " + std::string(f.name)));
    REQUIRE(contains(message, "none"));
    REQUIRE(self_test(broken, "a tier", {}).ok());  // nobody asked for it
  }
}

TEST_CASE("a kernel filed under the wrong format fails", "[selftest]") {
  // Pairs of which the filed kernel reads no more bytes than the wanted format has: a wrong answer, not a wild read.
  const std::pair<PackFormat, PackFormat> kSwaps[] = {{PackFormat::int4_g32, PackFormat::nl4_g32},
                                                      {PackFormat::k4, PackFormat::nlk4},
                                                      {PackFormat::f16, PackFormat::bf16},
                                                      {PackFormat::k5, PackFormat::k4},
                                                      {PackFormat::int8_g64, PackFormat::ternary2_g64}};
  for (const auto& [wanted, filed] : kSwaps) {
    KernelTable broken = real();
    broken.matmul[static_cast<std::size_t>(wanted)] = broken.matmul[static_cast<std::size_t>(filed)];
    const std::vector<PackFormat> formats = all_formats();
    const std::string message = failure(broken, formats);
    REQUIRE(contains(message, "matmul " + std::string(info(wanted).name)));
  }
}

TEST_CASE("wrong row operations are named", "[selftest]") {
  KernelTable broken = real();
  broken.rms_norm = [](const float* x, const float*, std::size_t n, float, float* y) { std::copy(x, x + n, y); };
  REQUIRE(contains(failure(broken, {}), "rms_norm on a tier"));
  broken = real();
  broken.rope_half = [](float*, const float*, const float*, std::size_t) {};
  REQUIRE(contains(failure(broken, {}), "rope_half on a tier"));
  broken = real();
  broken.gate = [](Activation a, const float* gate, const float* up, std::size_t n, float* y) {
    real().gate(a == Activation::gelu_erf ? Activation::gelu_tanh : a, gate, up, n, y);
  };
  REQUIRE(contains(failure(broken, {}), "gate gelu_erf on a tier"));
  broken = real();
  broken.quantize_rows = [](const float* x, std::size_t stride, const Q8Rows& rows, std::size_t first,
                            std::size_t last) {
    real().quantize_rows(x, stride, rows, first, last);
    if (rows.group == 32) rows.codes[3 * rows.stride + 500] ^= 1;
  };
  const std::string message = failure(broken, {});
  REQUIRE(contains(message, "quantize_rows on a tier"));
  REQUIRE(contains(message, "row 3 column 500"));
  broken = real();
  broken.attention = [](const AttentionArgs& args) {
    AttentionArgs wrong = args;
    wrong.soft_cap = 5;
    real().attention(wrong);
  };
  REQUIRE(contains(failure(broken, {}), "attention f32 on a tier"));
  broken.attention = nullptr;
  REQUIRE(contains(failure(broken, {}), "attention f32 on a tier"));
  broken = real();
  broken.attention = [](const AttentionArgs& args) {
    AttentionArgs wrong = args;
    wrong.value_scales = args.key_scales;
    real().attention(wrong);
  };
  REQUIRE(contains(failure(broken, {}), "attention int8 on a tier"));
  broken = real();
  broken.store_kv = [](const float* x, std::size_t n, std::size_t stride, KvType type, void* out, float* scale) {
    real().store_kv(x, n, stride, type, out, scale);
    if (type == KvType::f16 && stride == 1) static_cast<f16*>(out)[n - 1].bits ^= 0x8000;
  };
  REQUIRE(contains(failure(broken, {}), "attention f16 on a tier"));
  broken.store_kv = nullptr;
  REQUIRE(contains(failure(broken, {}), "store_kv on a tier"));
}
