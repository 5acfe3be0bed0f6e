// SPDX-License-Identifier: Apache-2.0
// Packing weights that an engine has quantised itself: its integers and scales go into panels and are kept as they are.
#include <tritium/tritium.h>

#include <cmath>
#include <cstdio>
#include <vector>

namespace {

constexpr std::size_t kOutputs = 100, kInputs = 512, kBatch = 5;

/// Packs integers of [-largest, largest], multiplies, and compares with a loop over the engine's own arrays.
bool pack_and_multiply(tritium::OpContext& context, tritium::PackFormat format, int largest) {
  using namespace tritium;
  // What the engine holds: an integer for each weight, a scale for each group of inputs (kept as f16) or for each output.
  const std::size_t group = info(format).group == 0 ? kInputs : info(format).group, groups = kInputs / group;
  std::vector<std::int8_t> values(kOutputs * kInputs);
  std::vector<float> scales(kOutputs * groups), x(kBatch * kInputs), y(kBatch * kOutputs);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] =
        static_cast<std::int8_t>(static_cast<int>(i * 7919 % static_cast<std::size_t>(2 * largest + 1)) - largest);
  for (std::size_t i = 0; i < scales.size(); ++i)
    scales[i] = to_float(to_f16(0.0137f * static_cast<float>(i % 13 + 1)));
  // Activations are rounded to int8; these are integers already, so that only the rounding of sums is left to compare.
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 32 == 0 ? 127.0f : static_cast<float>(i * 31 % 255) - 127.0f;

  const auto w = pack({values.data(), scales.data(), nullptr, kOutputs, kInputs}, format);
  if (!w.ok()) return std::printf("%s\n", w.error().message.c_str()), false;
  if (!matmul(context, {x.data(), kBatch, kInputs}, *w, {y.data(), kBatch, kOutputs}).ok()) return false;

  double worst = 0;  // the error in parts of what docs/numerics.md allows
  for (std::size_t r = 0; r < kBatch; ++r) {
    for (std::size_t j = 0; j < kOutputs; ++j) {
      double sum = 0, terms = 0;
      for (std::size_t g = 0; g < groups; ++g) {
        double term = 0;
        for (std::size_t i = g * group; i < (g + 1) * group; ++i)
          term += double{x[r * kInputs + i]} * double{scales[j * groups + g]} * values[j * kInputs + i];
        sum += term;
        terms += std::fabs(term);
      }
      const double allowed = (static_cast<double>(groups) + 4) * std::ldexp(1, -23) * terms;
      worst = std::max(worst, std::fabs(double{y[r * kOutputs + j]} - sum) / (allowed + 1e-30));
    }
  }
  std::printf("%-12s %6zu bytes, error %.2f of the bound\n", info(format).name.data(), w->bytes(), worst);
  return worst <= 1;
}

}  // namespace

int main() {
  auto context = tritium::OpContext::create();
  if (!context.ok()) return 1;
  const bool right = pack_and_multiply(*context, tritium::PackFormat::int4_g64, 7) &&
                     pack_and_multiply(*context, tritium::PackFormat::int8, 127) &&
                     pack_and_multiply(*context, tritium::PackFormat::ternary5, 1);
  return right ? 0 : 1;
}
