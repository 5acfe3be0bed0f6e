// SPDX-License-Identifier: Apache-2.0
// The matrix product of ggml on one shape, in its plain and in every repacked layout of the CPU backend.
//
//   ggml_matmul TYPE N K M THREADS COPIES SECONDS
// prints one line of JSON: the fastest layout's median seconds a product. COPIES matrices are multiplied in turn, so that
// they come from memory when together they exceed the caches. Built by get-llama-cpp.sh, never part of the library.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

ggml_type type_of(const std::string& name) {
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const char* known = ggml_type_name(static_cast<ggml_type>(i));
    if (known != nullptr && name == known) return static_cast<ggml_type>(i);
  }
  std::fprintf(stderr, "ggml_matmul: error: unknown type '%s'\n", name.c_str());
  std::exit(2);
}

/// Median seconds of one product, or 0 when the layout does not support it.
double measure(ggml_backend_t backend, ggml_backend_buffer_type_t layout, ggml_type type, std::int64_t n,
               std::int64_t k, std::int64_t m, int copies, double seconds) {
  ggml_init_params params{ggml_tensor_overhead() * static_cast<std::size_t>(2 * copies + 8), nullptr, true};
  ggml_context* weights = ggml_init(params);
  ggml_context* inputs = ggml_init(params);
  std::vector<ggml_tensor*> w;
  for (int i = 0; i < copies; ++i) w.push_back(ggml_new_tensor_2d(weights, type, k, n));
  ggml_tensor* x = ggml_new_tensor_2d(inputs, GGML_TYPE_F32, k, m);
  ggml_backend_buffer_t w_memory = ggml_backend_alloc_ctx_tensors_from_buft(weights, layout);
  ggml_backend_buffer_t x_memory = ggml_backend_alloc_ctx_tensors(inputs, backend);
  double median = 0;
  ggml_init_params graph_params{ggml_tensor_overhead() * static_cast<std::size_t>(copies + 8) +
                                    ggml_graph_overhead() * static_cast<std::size_t>(copies),
                                nullptr, true};
  ggml_context* graphs = ggml_init(graph_params);
  std::vector<ggml_cgraph*> products;
  bool supported = w_memory != nullptr && x_memory != nullptr;
  for (int i = 0; i < copies && supported; ++i) {
    ggml_tensor* y = ggml_mul_mat(graphs, w[static_cast<std::size_t>(i)], x);
    supported = ggml_backend_supports_op(backend, y);
    ggml_cgraph* graph = ggml_new_graph(graphs);
    ggml_build_forward_expand(graph, y);
    products.push_back(graph);
  }
  ggml_backend_buffer_t y_memory = supported ? ggml_backend_alloc_ctx_tensors(graphs, backend) : nullptr;
  if (y_memory != nullptr) {
    std::mt19937 rng(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(n * k));
    for (float& v : values) v = normal(rng);
    std::vector<char> blocks(ggml_row_size(type, k) * static_cast<std::size_t>(n));
    ggml_quantize_chunk(type, values.data(), blocks.data(), 0, n, k, nullptr);
    for (ggml_tensor* one : w) ggml_backend_tensor_set(one, blocks.data(), 0, blocks.size());
    values.resize(static_cast<std::size_t>(k * m));
    ggml_backend_tensor_set(x, values.data(), 0, values.size() * sizeof(float));
    std::vector<double> times;
    for (ggml_cgraph* graph : products) ggml_backend_graph_compute(backend, graph);
    const double end = now() + seconds;
    for (std::size_t i = 0; now() < end || times.size() < 5; ++i) {
      const double start = now();
      ggml_backend_graph_compute(backend, products[i % products.size()]);
      times.push_back(now() - start);
    }
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    median = times[times.size() / 2];
  }
  for (ggml_backend_buffer_t memory : {w_memory, x_memory, y_memory}) {
    if (memory != nullptr) ggml_backend_buffer_free(memory);
  }
  for (ggml_context* context : {weights, inputs, graphs}) ggml_free(context);
  return median;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr, "usage: ggml_matmul TYPE N K M THREADS COPIES SECONDS\n");
    return 2;
  }
  const ggml_type type = type_of(argv[1]);
  const std::int64_t n = std::atoll(argv[2]), k = std::atoll(argv[3]), m = std::atoll(argv[4]);
  ggml_backend_t backend = ggml_backend_cpu_init();
  ggml_backend_cpu_set_n_threads(backend, std::atoi(argv[5]));
  ggml_backend_dev_t device = ggml_backend_get_device(backend);
  std::vector<ggml_backend_buffer_type_t> layouts{ggml_backend_get_default_buffer_type(backend)};
  auto* more = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
  if (more != nullptr) {
    for (ggml_backend_buffer_type_t* layout = more(device); layout != nullptr && *layout != nullptr; ++layout)
      layouts.push_back(*layout);
  }
  double best = 0;
  const char* name = "";
  for (ggml_backend_buffer_type_t layout : layouts) {
    const double time = measure(backend, layout, type, n, k, m, std::atoi(argv[6]), std::atof(argv[7]));
    if (time > 0 && (best == 0 || time < best)) {
      best = time;
      name = ggml_backend_buft_name(layout);
    }
  }
  ggml_backend_free(backend);
  std::printf("{\"seconds\": %.9g, \"layout\": \"%s\"}\n", best, name);
  return best > 0 ? 0 : 1;
}
