// SPDX-License-Identifier: Apache-2.0
// Layers of real models, out x in: what the benchmarks and the rivals multiply.
#pragma once

#include <cstddef>

namespace bench {

struct Shape {
  const char* name;
  std::size_t n;
  std::size_t k;
};

inline constexpr Shape kShapes[] = {
    {"smollm2-135m.gate", 1536, 576}, {"smollm2-135m.down", 576, 1536}, {"gemma3-270m.gate", 2048, 640},
    {"qwen2.5-0.5b.gate", 4864, 896}, {"qwen2.5-0.5b.down", 896, 4864}, {"qwen3-0.6b.gate", 3072, 1024},
    {"bitnet-2b4t.gate", 6912, 2560}, {"bitnet-2b4t.down", 2560, 6912}, {"phi4-mini.down", 3072, 8192},
    {"square.2048", 2048, 2048},
};

}  // namespace bench
