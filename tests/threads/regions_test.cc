// SPDX-License-Identifier: Apache-2.0
// Parallel regions of the library on real threads: the same bits as on one, and nothing for the thread sanitizer to say.
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <vector>

#include "support/random_panels.h"
#include "support/tiers.h"
#include "tritium/core/thread_pool.h"
#include "tritium/format/pack.h"
#include "tritium/ops/matmul.h"

using namespace tritium;

namespace {

std::unique_ptr<ThreadPool> pool_of(std::size_t n) {
  auto made = ThreadPool::create(n);
  REQUIRE(made.ok());
  return *std::move(made);
}

}  // namespace

TEST_CASE("packing on real threads", "[threads]") {
  golden::Random random(81);
  std::vector<float> values(100 * 256);
  for (float& v : values) v = static_cast<float>(random.normal());
  const StoredMatrix w{TensorType::f32, reinterpret_cast<const std::byte*>(values.data()), 100, 256};
  for (const PackFormat format : {PackFormat::ternary2, PackFormat::int4_g32, PackFormat::k5, PackFormat::bf16}) {
    const Result<PackedMatrix> alone = pack(w, format);
    REQUIRE(alone.ok());
    for (const std::size_t n : {1u, 2u, 3u, 8u}) {
      const std::unique_ptr<ThreadPool> pool = pool_of(n);
      const Result<PackedMatrix> shared = pack(w, format, pool->executor());
      REQUIRE(shared.ok());
      REQUIRE(std::memcmp(alone->data(), shared->data(), alone->bytes()) == 0);
    }
  }
}

TEST_CASE("quantising and multiplying on real threads", "[threads]") {
  golden::Random random(82);
  const tiers::RunnableTier t = tiers::runnable().back();
  const std::size_t k = 320;
  const PackedMatrix w[] = {
      panels::matrix(PackFormat::ternary5, 75, k, panels::Codes::random, panels::Scales::plain, random),
      panels::matrix(PackFormat::int8_g32, 48, k, panels::Codes::random, panels::Scales::plain, random),
      panels::matrix(PackFormat::f16, 33, k, panels::Codes::random, panels::Scales::plain, random)};
  for (const std::size_t m : {1u, 6u, 60u}) {
    std::vector<float> x(m * k);
    for (float& v : x) v = static_cast<float>(random.uniform() - 0.5);
    std::vector<std::vector<float>> alone;
    for (const std::size_t n : {1u, 2u, 3u, 8u}) {
      const std::unique_ptr<ThreadPool> pool = pool_of(n);
      Result<OpContext> context = OpContext::create(*t.kernels, pool->executor());
      REQUIRE(context.ok());
      std::array<AlignedBuffer, kActivationForms> memory;
      std::array<Q8Rows, kActivationForms> rows;
      for (std::size_t form = 0; form < kActivationForms; ++form) {
        Result<AlignedBuffer> bytes = AlignedBuffer::allocate(q8_bytes(m, k, kActivationGroups[form]));
        REQUIRE(bytes.ok());
        memory[form] = *std::move(bytes);
        rows[form] = Q8Rows::bind(memory[form].data(), m, k, kActivationGroups[form]);
      }
      for (int repeat = 0; repeat < 10; ++repeat) {
        context->executor().run([&](std::size_t thread) {
          const Range mine = split_range(m, n, thread);
          for (const Q8Rows& form : rows) t.kernels->quantize_rows(x.data(), k, form, mine.begin, mine.end);
        });
        MatmulInput input;
        input.m = m;
        input.k = k;
        input.f32 = {x.data(), m, k};
        for (std::size_t form = 0; form < kActivationForms; ++form) input.q8[form] = rows[form].view();
        std::vector<std::vector<float>> y;
        std::vector<MatmulOutput> outputs;
        for (const PackedMatrix& one : w) y.emplace_back(m * one.n());
        for (std::size_t i = 0; i < std::size(w); ++i) {
          MatmulOutput out;
          out.w = &w[i];
          out.y = {y[i].data(), m, w[i].n()};
          outputs.push_back(out);
        }
        REQUIRE(matmul(*context, input, outputs).ok());
        if (alone.empty()) alone = y;
        REQUIRE(y == alone);
      }
    }
  }
}
