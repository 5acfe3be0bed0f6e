// SPDX-License-Identifier: Apache-2.0
// The oracle of attention: all keys of one query at once, in double, from plain [position][head_dim] rows.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

/// softmax over positions [first, last) of cap(scale * <q, k_j>), times the values. cap 0: none.
inline std::vector<double> attention(const float* q, const std::vector<std::vector<float>>& keys,
                                     const std::vector<std::vector<float>>& values, std::size_t first, std::size_t last,
                                     double scale, double cap) {
  std::vector<double> score(last - first);
  double most = -1e300;
  for (std::size_t j = first; j < last; ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < keys[j].size(); ++i) sum += static_cast<double>(q[i]) * static_cast<double>(keys[j][i]);
    sum *= scale;
    if (cap != 0) sum = cap * std::tanh(sum / cap);
    score[j - first] = sum;
    most = std::fmax(most, sum);
  }
  double total = 0;
  for (double& s : score) total += s = std::exp(s - most);
  std::vector<double> out(values[first].size(), 0.0);
  for (std::size_t j = first; j < last; ++j) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += score[j - first] / total * static_cast<double>(values[j][i]);
  }
  return out;
}

}  // namespace reference
