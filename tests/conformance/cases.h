// SPDX-License-Identifier: Apache-2.0
// One product of the conformance tests: random panels, random activations, and guarded memory for what a kernel writes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "support/random_panels.h"
#include "tritium/ops/matmul.h"

namespace conformance {

using namespace tritium;
using panels::Codes;
using panels::Rows;
using panels::Scales;

struct Shape {
  std::size_t m, n, k;
};

inline bool same_float(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

/// Memory with known bytes around a float matrix of odd stride and around its rows' ends.
class GuardedOutput {
 public:
  GuardedOutput(std::size_t m, std::size_t n)
      : m_(m), n_(n), stride_(n + 3 + (n % 2)), cells_(m * stride_ + 2 * kGuard) {
    fill();
  }
  void fill() { std::memset(static_cast<void*>(cells_.data()), kCanary, cells_.size() * sizeof(float)); }
  [[nodiscard]] MatrixView<float> view() { return {cells_.data() + kGuard, m_, n_, stride_}; }
  [[nodiscard]] float at(std::size_t r, std::size_t c) const { return cells_[kGuard + r * stride_ + c]; }
  [[nodiscard]] bool intact() const {
    for (std::size_t i = 0; i < cells_.size(); ++i) {
      const bool inside = i >= kGuard && i < kGuard + m_ * stride_ && (i - kGuard) % stride_ < n_;
      if (inside) continue;
      std::uint32_t bits = 0;
      std::memcpy(&bits, &cells_[i], sizeof bits);
      if (bits != 0xA7A7A7A7u) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 32;
  static constexpr int kCanary = 0xA7;
  std::size_t m_, n_, stride_;
  std::vector<float> cells_;
};

/// matmul_scratch_bytes() between guards.
class GuardedScratch {
 public:
  GuardedScratch() : memory_(matmul_scratch_bytes() + 2 * kGuard + 64, std::byte{0x5C}) {}
  [[nodiscard]] std::byte* data() { return memory_.data() + offset(); }
  [[nodiscard]] bool intact() const {
    const auto clean = [](std::byte b) { return b == std::byte{0x5C}; };
    const auto first = static_cast<std::ptrdiff_t>(offset());
    const auto last = first + static_cast<std::ptrdiff_t>(matmul_scratch_bytes());
    return std::all_of(memory_.begin(), memory_.begin() + first, clean) &&
           std::all_of(memory_.begin() + last, memory_.end(), clean);
  }

 private:
  static constexpr std::size_t kGuard = 128;
  [[nodiscard]] std::size_t offset() const {
    return kGuard + (64 - reinterpret_cast<std::uintptr_t>(memory_.data()) % 64) % 64;
  }
  std::vector<std::byte> memory_;
};

/// One product with everything that its oracle needs.
struct Case {
  const PackFormatInfo& f;
  Shape s;
  PackedMatrix w;
  Rows rows;                  ///< quantised formats
  std::vector<float> floats;  ///< float formats, rows x_stride apart
  std::size_t x_stride = 0;

  Case(PackFormat format, Shape shape, std::size_t variant, golden::Random& random)
      : f(info(format)),
        s(shape),
        w(panels::matrix(format, s.n, s.k, codes_of(variant), scales_of(variant), random)),
        rows(s.m, s.k, f.activation_group(), fill_of(variant), x_size(variant), random),
        x_stride(s.k + 5) {
    if (f.is_float) {
      floats.resize(s.m * x_stride);
      for (float& v : floats) v = static_cast<float>((random.uniform() - 0.5) * (variant % 8 == 5 ? 1e-38 : 4.0));
    }
  }

  // Every eighth case or so is an extreme one; the others are random codes under ordinary scales.
  static Codes codes_of(std::size_t v) { return v % 8 == 1 ? Codes::most : v % 8 == 2 ? Codes::least : Codes::random; }
  static Rows::Fill fill_of(std::size_t v) {
    constexpr Rows::Fill kFills[] = {Rows::Fill::random, Rows::Fill::most, Rows::Fill::least, Rows::Fill::alternating,
                                     Rows::Fill::zero};
    return v % 8 == 1 || v % 8 == 2 ? kFills[1 + v / 8 % 3] : v % 32 == 7 ? Rows::Fill::zero : Rows::Fill::random;
  }
  static Scales scales_of(std::size_t v) {
    return v % 8 == 3 ? Scales::some_zero : v % 8 == 4 ? Scales::huge : v % 8 == 5 ? Scales::denormal : Scales::plain;
  }
  static double x_size(std::size_t v) {
    return v % 8 == 4 && v / 8 % 2 == 0 ? 1e18 : v % 8 == 5 && v / 8 % 2 == 0 ? 1e-40 : 0.03;
  }

  [[nodiscard]] MatmulArgs args(std::size_t first_row, std::size_t m, MatrixView<float> y) const {
    MatmulOutput out;
    out.w = &w;
    out.y = y;
    MatmulArgs a = detail::matmul_args(input(), out, first_row, m);
    a.y = y.data;  // row 0 of `y` is the first row
    return a;
  }
  [[nodiscard]] MatmulInput input() const {
    MatmulInput x;
    x.m = s.m;
    x.k = s.k;
    if (f.is_float) x.f32 = {floats.data(), s.m, s.k, x_stride};
    else x.q8[activation_form(f.activation_group())] = rows.view();
    return x;
  }
};

}  // namespace conformance
