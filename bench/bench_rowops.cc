// SPDX-License-Identifier: Apache-2.0
// Row operations, attention, packing and the barrier of the pool.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "bench.h"
#include "tritium/core/thread_pool.h"
#include "tritium/format/pack.h"

namespace {

using namespace tritium;

std::vector<float> normal(std::size_t n) {
  std::mt19937 rng(11);
  std::normal_distribution<float> draw;
  std::vector<float> v(n);
  for (float& x : v) x = draw(rng);
  return v;
}

void norm_quantize(benchmark::State& state, const KernelTable& kernels, std::size_t k, std::size_t group) {
  const std::vector<float> x = normal(k), weight = normal(k);
  std::vector<float> y(k);
  AlignedBuffer memory = *AlignedBuffer::allocate(q8_bytes(1, k, group));
  const Q8Rows rows = Q8Rows::bind(memory.data(), 1, k, group);
  for (auto _ : state) {
    kernels.rms_norm(x.data(), weight.data(), k, 1e-5f, y.data());
    kernels.quantize_rows(y.data(), k, rows, 0, 1);
    benchmark::ClobberMemory();
  }
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const double expected = x[0] / std::sqrt(squares / static_cast<double>(k) + 1e-5) * weight[0];
  if (std::fabs(y[0] - expected) > 1e-5 * std::fabs(expected) + 1e-7) state.SkipWithError("wrong result");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(k * sizeof(float)));
}

/// Decode attention of one KV head over `keys` keys by a group of heads.
void attention(benchmark::State& state, const KernelTable& kernels, std::size_t head_dim, std::size_t heads,
               std::size_t keys, KvType type) {
  const std::size_t stride = round_up(head_dim, kPanelRows);
  const std::size_t segments = keys / kAttentionSegment;
  const std::size_t element = kv_element_bytes(type);
  const std::vector<float> scales(kAttentionSegment * div_up(head_dim, kKeyGroup), 1.0f);
  AlignedBuffer k = *AlignedBuffer::allocate_zeroed(keys * head_dim * element);
  AlignedBuffer v = *AlignedBuffer::allocate_zeroed(keys * stride * element);
  const std::vector<float> q = normal(heads * head_dim);
  std::vector<float> out(heads * stride), max(heads), sum(heads), total_max(heads), total_sum(heads),
      total(heads * stride);
  std::vector<AttentionQuery> queries(heads);
  for (auto _ : state) {
    for (std::size_t h = 0; h < heads; ++h) {
      total_max[h] = -1e30f;
      total_sum[h] = 0;
    }
    for (std::size_t s = 0; s < segments; ++s) {
      for (std::size_t h = 0; h < heads; ++h)
        queries[h] = {q.data() + h * head_dim, out.data() + h * stride, &max[h], &sum[h], 0, keys};
      AttentionArgs args;
      args.queries = queries.data();
      args.n_queries = heads;
      args.keys = k.data() + s * kAttentionSegment * head_dim * element;
      args.values = v.data() + s * kAttentionSegment * stride * element;
      args.key_scales = args.value_scales = scales.data();
      args.type = type;
      args.head_dim = head_dim;
      args.value_stride = stride;
      args.first_key = s * kAttentionSegment;
      kernels.attention(args);
      for (std::size_t h = 0; h < heads; ++h) {
        kernels.attention_merge(&total_max[h], &total_sum[h], total.data() + h * stride, max[h], sum[h],
                                out.data() + h * stride, head_dim);
      }
    }
    benchmark::ClobberMemory();
  }
  if (std::fabs(total_sum[0] - static_cast<float>(keys)) > 1e-3f * static_cast<float>(keys))
    state.SkipWithError("wrong result");
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(keys * (head_dim + stride) * element));
}

void pack_blocks(benchmark::State& state, TensorType type) {
  const std::size_t n = 512, k = 2048;
  const std::vector<float> values = normal(n * k);
  const std::size_t row = *tensor_bytes(type, 1, k);
  std::vector<std::byte> blocks(n * row);
  for (std::size_t r = 0; r < n; ++r) {
    if (!encode_row(type, values.data() + r * k, k, blocks.data() + r * row).ok())
      return state.SkipWithError("cannot encode");
  }
  for (auto _ : state) {
    auto packed = pack(StoredMatrix{type, blocks.data(), n, k}, keep_format(type));
    if (!packed.ok()) return state.SkipWithError(packed.error().message.c_str());
    benchmark::DoNotOptimize(packed->data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(blocks.size()));
}

}  // namespace

namespace bench {

void register_rowops(Machine& machine) {
  const KernelTable& kernels = machine.context.kernels();
  for (const std::size_t k : {std::size_t{576}, std::size_t{2560}}) {
    for (const std::size_t group : {std::size_t{0}, std::size_t{32}}) {
      benchmark::RegisterBenchmark(
          ("rms_norm+quantize/k:" + std::to_string(k) + "/group:" + std::to_string(group)).c_str(),
          [&kernels, k, group](benchmark::State& s) { norm_quantize(s, kernels, k, group); });
    }
  }
  struct {
    std::size_t head_dim, heads;
  } heads[] = {{64, 3}, {128, 4}, {256, 4}};
  for (const auto& h : heads) {
    for (const auto& [type, name] :
         {std::pair(KvType::f32, "f32"), std::pair(KvType::f16, "f16"), std::pair(KvType::int8, "int8")}) {
      benchmark::RegisterBenchmark(
          ("attention/head_dim:" + std::to_string(h.head_dim) + "/heads:" + std::to_string(h.heads) + "/keys:4096/" +
           name)
              .c_str(),
          [&kernels, h, type = type](benchmark::State& s) { attention(s, kernels, h.head_dim, h.heads, 4096, type); });
    }
  }
  for (const TensorType type :
       {TensorType::q4_0, TensorType::q4_1, TensorType::q8_0, TensorType::q4_k, TensorType::q6_k, TensorType::tq2_0}) {
    benchmark::RegisterBenchmark(("pack/" + std::string(info(type).name)).c_str(),
                                 [type](benchmark::State& s) { pack_blocks(s, type); });
  }
  const Executor executor = machine.context.executor();
  benchmark::RegisterBenchmark(("barrier/threads:" + std::to_string(executor.n_threads)).c_str(),
                               [executor](benchmark::State& s) {
                                 for (auto _ : s) executor.run([](std::size_t) {});
                               })
      ->UseRealTime();
}

}  // namespace bench
