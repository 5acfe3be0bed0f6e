// SPDX-License-Identifier: Apache-2.0
// ActivationRows: the rows of a matmul in every form that a weight format reads, and matmul() from plain floats.
//
// Float formats read f32, row-scaled ones int8 with one scale a row, grouped ones int8 with one scale per 32 inputs. A
// region may hold all three. Memory is taken once for the largest batch.
#pragma once

#include "tritium/ops/matmul.h"

TRITIUM_NAMESPACE_BEGIN

class ActivationRows {
 public:
  /// Which forms the outputs of a region read.
  struct Forms {
    bool f32 = false, q8_row = false, q8_group = false;
    std::size_t parts = 1;
    /// `parts` 2: each row is quantised twice, the second time what the first left over, for 15-bit activations.
    static Forms of(std::span<const MatmulOutput> outputs, std::size_t parts = 1) {
      Forms forms;
      forms.parts = parts;
      for (const MatmulOutput& out : outputs) {
        const PackFormatInfo& f = out.w->format_info();
        (f.is_float ? forms.f32 : f.activation_group() == 0 ? forms.q8_row : forms.q8_group) = true;
      }
      return forms;
    }
  };

  /// Room for m rows of k floats, and for m rows of `fine_k` in two parts. Errors: out_of_memory.
  static Result<ActivationRows> create(std::size_t m, std::size_t k, std::size_t fine_k = 0) {
    ActivationRows rows;
    TRITIUM_ASSIGN(rows.f32_, Array<float>::allocate(m * k));
    TRITIUM_ASSIGN(rows.row_memory_, AlignedBuffer::allocate(std::max(q8_bytes(m, k, 0), q8_bytes(2 * m, fine_k, 0))));
    TRITIUM_ASSIGN(rows.group_memory_,
                   AlignedBuffer::allocate(std::max(q8_bytes(m, k, 32), q8_bytes(2 * m, fine_k, 32))));
    return rows;
  }

  /// Begins a batch of m rows of k inputs.
  void bind(std::size_t m, std::size_t k, std::size_t parts = 1) {
    m_ = m;
    k_ = k;
    parts_ = parts;
    q8_row_ = Q8Rows::bind(row_memory_.data(), parts * m, k, 0);
    q8_group_ = Q8Rows::bind(group_memory_.data(), parts * m, k, 32);
  }

  /// Row r: fill(r, out) writes k floats, which are then quantised into `forms`. Rows are independent of each other.
  template <class Fill>
  void produce(const KernelTable& kernels, std::size_t r, const Forms& forms, Fill&& fill) {
    float* out = f32_.data() + r * k_;
    fill(r, out);
    if (forms.q8_row) quantize(kernels, q8_row_, r, out);
    if (forms.q8_group) quantize(kernels, q8_group_, r, out);
  }

  [[nodiscard]] MatmulInput view() const {
    return {m_, k_, parts_, {f32_.data(), m_, k_}, q8_row_.view(), q8_group_.view()};
  }

 private:
  void quantize(const KernelTable& kernels, const Q8Rows& rows, std::size_t r, float* x) {
    kernels.quantize_rows(x, 0, rows, parts_ * r, parts_ * r + 1);
    if (parts_ == 1) return;
    const std::int8_t* codes = rows.codes + 2 * r * rows.stride;
    const float* scales = rows.scales + 2 * r * rows.groups;
    for (std::size_t i = 0; i < k_; ++i)
      x[i] -= scales[rows.group == 0 ? 0 : i / rows.group] * static_cast<float>(codes[i]);
    kernels.quantize_rows(x, 0, rows, 2 * r + 1, 2 * r + 2);
  }

  Array<float> f32_;
  AlignedBuffer row_memory_, group_memory_;
  Q8Rows q8_row_, q8_group_;
  std::size_t m_ = 0, k_ = 0, parts_ = 1;
};

/// y = epilogue(x W^T): x (m, k) floats, W (n, k) packed, y (m, n). Quantises x as the format of W wants it.
/// Takes memory for the quantised rows on every call; where that matters, keep an ActivationRows.
/// Errors: invalid_argument (shapes), out_of_memory.
inline Status matmul(OpContext& context, MatrixView<const float> x, const PackedMatrix& w, MatrixView<float> y,
                     const Epilogue& epilogue = {}) {
  MatmulOutput out;
  out.w = &w;
  out.y = y;
  out.epilogue = epilogue;
  TRITIUM_ASSIGN(ActivationRows rows, ActivationRows::create(x.rows, x.cols));
  rows.bind(x.rows, x.cols);
  const ActivationRows::Forms forms = ActivationRows::Forms::of({&out, 1});
  for (std::size_t r = 0; r < x.rows; ++r) {
    rows.produce(context.kernels(), r, forms, [&](std::size_t row, float* to) { std::copy_n(x.row(row), x.cols, to); });
  }
  return matmul(context, rows.view(), {&out, 1});
}

TRITIUM_NAMESPACE_END
