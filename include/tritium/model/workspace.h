// SPDX-License-Identifier: Apache-2.0
// Workspace: the buffers of one decoding session, sized once for its largest batch, and the projection that uses them.
//
// A projection is the unit of the graph: rows that somebody produces (a norm of the residual, merged attention, a gate),
// turned into the forms the weights read, times one or more matrices. With a few rows every thread produces all of them
// for itself, which costs less than a barrier; with many, threads share the rows first and the panels then.
#pragma once

#include <atomic>
#include <span>
#include <utility>
#include <vector>

#include "tritium/model/weights.h"
#include "tritium/ops/activation_rows.h"

TRITIUM_NAMESPACE_BEGIN

/// Buffers and the projection of one decoder. One thread at a time calls it; it uses the executor's threads.
class Workspace {
 public:
  /// Rows up to which each thread prepares the whole input of a projection by itself.
  static constexpr std::size_t kFewRows = 4;

  /// `max_k`: the widest input of any projection; `max_fine_k`: of one with fine activations.
  static Result<Workspace> create(OpContext context, std::size_t max_batch, std::size_t max_k, std::size_t max_fine_k) {
    return no_throw([&]() -> Result<Workspace> {
      Workspace w(std::move(context));
      w.max_batch_ = max_batch;
      w.max_k_ = max_k;
      TRITIUM_ASSIGN(w.shared_, ActivationRows::create(max_batch, max_k, max_fine_k));
      const std::size_t n_threads = w.context_.n_threads();
      for (std::size_t t = 0; t < n_threads; ++t) {
        TRITIUM_ASSIGN(ActivationRows input, ActivationRows::create(kFewRows, max_k, max_fine_k));
        w.own_.push_back(std::move(input));
      }
      return w;
    });
  }

  [[nodiscard]] OpContext& context() { return context_; }                          ///< Kernels and threads.
  [[nodiscard]] const KernelTable& kernels() const { return context_.kernels(); }  ///< The kernels that serve.
  [[nodiscard]] std::size_t max_batch() const { return max_batch_; }               ///< Rows of one batch at most.
  /// Bytes of the weights that projections have multiplied so far.
  [[nodiscard]] const std::size_t& weight_bytes() const { return weight_bytes_; }

  /// Calls f(row) for every row in [0, m), on all threads when there are more than a few.
  template <class F>
  void for_rows(std::size_t m, F&& f) {
    if (m <= kFewRows) {
      for (std::size_t r = 0; r < m; ++r) f(r);
      return;
    }
    const std::size_t n = context_.n_threads();
    context_.executor().run([&](std::size_t t) {
      const Range rows = split_range(m, n, t);
      for (std::size_t r = rows.begin; r < rows.end; ++r) f(r);
    });
  }

  /// The same with an f that may fail: the error of one of the rows that did.
  template <class F>
  Status try_rows(std::size_t m, F&& f) {
    std::atomic<bool> failed{false};
    Status status;
    for_rows(m, [&](std::size_t r) {
      Status done = f(r);
      if (!done.ok() && !failed.exchange(true)) status = std::move(done);
    });
    return status;
  }

  /// outputs = epilogue(X W^T) for m rows X of k floats that row(r, out) produces; row must be a pure function of r.
  /// Shapes are the caller's promise: they were checked when the weights were bound.
  /// `fine`: each row is quantised twice, the second time what the first left over, for 15-bit activations.
  template <class Row>
  void project(std::size_t m, std::size_t k, Row&& row, std::span<const MatmulOutput> outputs, bool fine = false) {
    TRITIUM_ASSUME(m <= max_batch_ && k <= max_k_);
    const ActivationRows::Forms forms = ActivationRows::Forms::of(outputs, fine ? 2 : 1);
    for (const MatmulOutput& out : outputs) weight_bytes_ += out.w->bytes();
    if (m <= kFewRows) {
      context_.executor().run([&](std::size_t t) {
        own_[t].bind(m, k, forms.parts);
        for (std::size_t r = 0; r < m; ++r) own_[t].produce(kernels(), r, forms, row);
        matmul_share(context_, own_[t].view(), outputs, t);
      });
      return;
    }
    shared_.bind(m, k, forms.parts);
    for_rows(m, [&](std::size_t r) { shared_.produce(kernels(), r, forms, row); });
    if (m < kManyRows) {
      context_.executor().run([&](std::size_t t) { matmul_share(context_, shared_.view(), outputs, t); });
    } else {
      MatmulQueue queue;
      context_.executor().run([&](std::size_t t) { matmul_drain(context_, shared_.view(), outputs, queue, t); });
    }
  }

  /// Some panels of one output for a single row, with the bits that project() gives them: panels_of(t) names those of
  /// thread t. As with `fine` there.
  template <class Row, class Panels>
  void project_panels(std::size_t k, Row&& row, const MatmulOutput& output, Panels&& panels_of) {
    TRITIUM_ASSUME(k <= max_k_);
    const ActivationRows::Forms forms = ActivationRows::Forms::of({&output, 1}, 2);
    const MatmulFn kernel = kernels().matmul[static_cast<std::size_t>(output.w->format())];
    std::atomic<std::size_t> bytes{0};
    context_.executor().run([&](std::size_t t) {
      const std::span<const std::uint32_t> panels = panels_of(t);
      if (panels.empty()) return;
      own_[t].bind(1, k, forms.parts);
      own_[t].produce(kernels(), 0, forms, row);
      const MatmulArgs args = detail::matmul_args(own_[t].view(), output, 0, 1);
      for (std::size_t i = 0; i < panels.size();) {
        std::size_t end = i + 1;
        while (end < panels.size() && panels[end] == panels[end - 1] + 1) ++end;
        kernel(args, panels[i], panels[end - 1] + std::size_t{1}, context_.scratch(t));
        i = end;
      }
      bytes.fetch_add(panels.size() * output.w->panel_bytes(), std::memory_order_relaxed);
    });
    weight_bytes_ += bytes.load();
  }

 private:
  explicit Workspace(OpContext context) : context_(std::move(context)) {}

  OpContext context_;
  std::size_t max_batch_ = 0;
  std::size_t max_k_ = 0;
  std::size_t weight_bytes_ = 0;
  ActivationRows shared_;
  std::vector<ActivationRows> own_;  // of each thread
};

/// Appends the product with one matrix to those of a region.
inline void append_output(std::vector<MatmulOutput>& outputs, const PackedMatrix& w, MatrixView<float> y) {
  MatmulOutput out;
  out.w = &w;
  out.y = y;
  outputs.push_back(out);
}

/// The outputs of a stack of matrices into consecutive columns of y.
inline void append_outputs(std::vector<MatmulOutput>& outputs, const Linear& linear, MatrixView<float> y,
                           Epilogue epilogue = {}) {
  std::size_t column = 0;
  for (const PackedMatrix& part : linear.parts) {
    MatmulOutput out;
    out.w = &part;
    out.y = {y.data + column, y.rows, part.n(), y.stride};
    out.epilogue = epilogue;
    if (!linear.bias.empty()) out.epilogue.bias = linear.bias.data() + column;
    if (epilogue.residual != nullptr) out.epilogue.residual = epilogue.residual + column;
    outputs.push_back(out);
    column += part.n();
  }
}

TRITIUM_NAMESPACE_END
