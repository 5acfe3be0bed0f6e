// SPDX-License-Identifier: Apache-2.0
// ActivationRows: the rows of a matmul in every form that a weight format reads, and matmul() from plain floats.
//
// Float formats read f32, row-scaled ones int8 with one scale a row, grouped ones int8 with one scale a group. A region may
// hold several. Memory is taken once for the largest batch; what no format reads is never touched.
#pragma once

#include <array>

#include "tritium/ops/matmul.h"

TRITIUM_NAMESPACE_BEGIN

/// Buffers for the rows of a matmul, in the forms that its matrices read.
class ActivationRows {
 public:
  /// Which forms the outputs of a region read.
  struct Forms {
    bool f32 = false;                         ///< float formats are among them
    std::array<bool, kActivationForms> q8{};  ///< which of kActivationGroups are
    std::size_t parts = 1;                    ///< quantised rows that make one
    /// `parts` 2: each row is quantised twice, the second time what the first left over, for 15-bit activations.
    static Forms of(std::span<const MatmulOutput> outputs, std::size_t parts = 1) {
      Forms forms;
      forms.parts = parts;
      for (const MatmulOutput& out : outputs) {
        const PackFormatInfo& f = out.w->format_info();
        (f.is_float ? forms.f32 : forms.q8[activation_form(f.activation_group())]) = true;
      }
      return forms;
    }
  };

  /// Room for m rows of k floats, and for m rows of `fine_k` in two parts. Errors: out_of_memory.
  static Result<ActivationRows> create(std::size_t m, std::size_t k, std::size_t fine_k = 0) {
    ActivationRows rows;
    TRITIUM_ASSIGN(rows.f32_, Array<float>::allocate(m * k));
    for (std::size_t form = 0; form < kActivationForms; ++form) {
      const std::size_t group = kActivationGroups[form];
      TRITIUM_ASSIGN(rows.memory_[form],
                     AlignedBuffer::allocate(std::max(q8_bytes(m, k, group), q8_bytes(2 * m, fine_k, group))));
    }
    return rows;
  }

  /// Begins a batch of m rows of k inputs.
  void bind(std::size_t m, std::size_t k, std::size_t parts = 1) {
    m_ = m;
    k_ = k;
    parts_ = parts;
    for (std::size_t form = 0; form < kActivationForms; ++form)
      q8_[form] = Q8Rows::bind(memory_[form].data(), parts * m, k, kActivationGroups[form]);
  }

  /// Row r: fill(r, out) writes k floats, which are then quantised into `forms`. Rows are independent of each other.
  template <class Fill>
  void produce(const KernelTable& kernels, std::size_t r, const Forms& forms, Fill&& fill) {
    float* out = f32_.data() + r * k_;
    fill(r, out);
    for (std::size_t form = 0; form < kActivationForms; ++form)
      if (forms.q8[form]) quantize(kernels, q8_[form], r, out);
  }

  /// The rows as matmul() takes them.
  [[nodiscard]] MatmulInput view() const {
    MatmulInput x{m_, k_, parts_, {f32_.data(), m_, k_}, {}};
    for (std::size_t form = 0; form < kActivationForms; ++form) x.q8[form] = q8_[form].view();
    return x;
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
  std::array<AlignedBuffer, kActivationForms> memory_;
  std::array<Q8Rows, kActivationForms> q8_;
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
