// SPDX-License-Identifier: Apache-2.0
// matmul: the door to the packed kernels. Checks shapes, shares the work over threads, calls the tier's kernel.
//
//   y = epilogue(x W^T)
//
// Several matrices may read one input in a single parallel region (q, k and v; gate and up in different formats).
#pragma once

#include <atomic>
#include <span>

#include "tritium/core/view.h"
#include "tritium/format/packed_matrix.h"
#include "tritium/ops/context.h"

TRITIUM_NAMESPACE_BEGIN

/// The same rows in the forms that matrices of different formats read; a form nobody needs may stay empty.
struct MatmulInput {
  std::size_t m = 0;            ///< rows of the outputs
  std::size_t k = 0;            ///< inputs
  std::size_t parts = 1;        ///< quantised rows that are added to make one, see MatmulArgs::x_parts
  MatrixView<const float> f32;  ///< float formats
  Q8View q8[kActivationForms];  ///< quantised formats: as kActivationGroups
};

/// One product of a region.
struct MatmulOutput {
  const PackedMatrix* w = nullptr;  ///< the matrix, (n, k)
  MatrixView<float> y;              ///< (rows, n); for a gated epilogue n is that of one of the interleaved matrices
  Epilogue epilogue;                ///< what happens to outputs in registers
  /// The rows of the input that are multiplied: [first_row, first_row + rows). Experts of one layer each take theirs.
  std::size_t first_row = 0;
  std::size_t rows = kAllRows;                              ///< kAllRows: as many as the input has
  static constexpr std::size_t kAllRows = ~std::size_t{0};  ///< every row of the input
  /// Rows that are multiplied, of m.
  [[nodiscard]] std::size_t rows_of(std::size_t m) const { return rows == kAllRows ? m : rows; }
};

namespace detail {

/// Rows [first, first + rows) of an output's own rows.
inline MatmulArgs matmul_args(const MatmulInput& x, const MatmulOutput& out, std::size_t first, std::size_t rows) {
  const std::size_t first_row = out.first_row + first;
  const PackedMatrix& w = *out.w;
  MatmulArgs args;
  args.weights = w.data();
  args.panel_bytes = w.panel_bytes();
  args.n = w.n() * (w.interleaved() ? 2 : 1);
  args.k = w.k();
  args.m = rows;
  const PackFormatInfo& f = w.format_info();
  if (f.is_float) {
    args.x_f32 = x.f32.data + first_row * x.f32.stride;
    args.x_stride = x.f32.stride;
  } else {
    const std::size_t codes_row = first_row * x.parts;
    args.m = rows * x.parts;
    args.x_parts = x.parts;
    args.x = x.q8[activation_form(f.activation_group())];
    args.x.codes += codes_row * args.x.stride;
    args.x.scales += codes_row * args.x.groups;
    args.x.sums += codes_row * args.x.groups;
    if (args.x.sums16 != nullptr) args.x.sums16 += 2 * codes_row * args.x.groups;
  }
  args.y = out.y.data + first * out.y.stride;
  args.y_stride = out.y.stride;
  args.epilogue = out.epilogue;
  if (args.epilogue.residual != nullptr) args.epilogue.residual += first * out.epilogue.residual_stride;
  return args;
}

/// Rows of one task when there are many: their activations stay in the second-level cache while panels pass by. A multiple
/// of the tile heights 3 and 6; an even one, so that fine activations keep their pairs.
constexpr std::size_t task_rows(std::size_t m, std::size_t parts) {
  constexpr std::size_t kMost = kPrefillRows;
  const std::size_t blocks = div_up(m * parts, kMost);
  return round_up(div_up(m * parts, blocks), 6) / parts;
}

}  // namespace detail

/// The share of thread `t` of a region with few rows: a contiguous run of panels, by bytes, over all outputs.
inline void matmul_share(OpContext& context, const MatmulInput& x, std::span<const MatmulOutput> outputs,
                         std::size_t t) {
  std::size_t total = 0;
  for (const MatmulOutput& out : outputs) total += out.w->bytes();
  const std::size_t n = context.n_threads();
  const std::size_t from = total / n * t + total % n * t / n;
  const std::size_t to = t + 1 == n ? total : total / n * (t + 1) + total % n * (t + 1) / n;
  std::size_t at = 0;
  for (const MatmulOutput& out : outputs) {
    const std::size_t per = out.epilogue.gated ? 2 : 1;  // gate and up stay together
    const std::size_t unit = out.w->panel_bytes() * per;
    const std::size_t units = out.w->bytes() / unit;
    // A unit belongs to the thread in whose bytes it begins.
    const std::size_t begin = std::min(units, from <= at ? 0 : div_up(from - at, unit));
    const std::size_t end = std::min(units, to <= at ? 0 : div_up(to - at, unit));
    const std::size_t rows = out.rows_of(x.m);
    if (begin < end && rows != 0) {
      context.kernels().matmul[static_cast<std::size_t>(out.w->format())](detail::matmul_args(x, out, 0, rows),
                                                                          begin * per, end * per, context.scratch(t));
    }
    at += units * unit;
  }
}

/// Work left of a region with many rows, shared by its threads.
struct MatmulQueue {
  std::atomic<std::size_t> next{0};  ///< the next task
};

/// Takes tasks of four panels by detail::task_rows() rows from the queue until none is left.
inline void matmul_drain(OpContext& context, const MatmulInput& x, std::span<const MatmulOutput> outputs,
                         MatmulQueue& queue, std::size_t t) {
  std::size_t i = 0;           // the output under way
  std::size_t first_task = 0;  // of that output
  for (;;) {
    std::size_t task = queue.next.fetch_add(1, std::memory_order_relaxed);
    for (; i < outputs.size(); ++i) {  // tasks come in order: no output is passed twice
      const std::size_t rows = outputs[i].rows_of(x.m);
      const std::size_t groups = div_up(outputs[i].w->n_panels(), kPrefillPanels);
      const std::size_t tasks = rows == 0 ? 0 : groups * div_up(rows, detail::task_rows(rows, x.parts));
      if (task < first_task + tasks) break;
      first_task += tasks;
    }
    if (i == outputs.size()) return;
    task -= first_task;
    const MatmulOutput& out = outputs[i];
    const std::size_t groups = div_up(out.w->n_panels(), kPrefillPanels);
    const std::size_t rows = out.rows_of(x.m);
    const std::size_t block_rows = detail::task_rows(rows, x.parts);
    const std::size_t first_row = task / groups * block_rows;
    const std::size_t first = task % groups * kPrefillPanels;
    const std::size_t last = std::min(first + kPrefillPanels, out.w->n_panels());
    context.kernels().matmul[static_cast<std::size_t>(out.w->format())](
        detail::matmul_args(x, out, first_row, std::min(block_rows, rows - first_row)), first, last,
        context.scratch(t));
  }
}

/// From this many rows on, work is handed out in tasks instead of one contiguous share a thread.
inline constexpr std::size_t kManyRows = 24;

/// Computes every output of a region from one input. x (m, k) in the forms the formats need, y (m, n) each.
/// Threads: one parallel region. Errors: invalid_argument (shapes), never anything at run time.
inline Status matmul(OpContext& context, const MatmulInput& x, std::span<const MatmulOutput> outputs) {
  for (const MatmulOutput& out : outputs) {
    const PackFormatInfo& f = out.w->format_info();
    const bool has_input =
        f.is_float ? x.f32.data != nullptr : x.q8[activation_form(f.activation_group())].codes != nullptr;
    const std::size_t rows = out.rows_of(x.m);
    if (out.w->empty() || out.w->k() != x.k || out.first_row > x.m || rows > x.m - out.first_row || out.y.rows < rows ||
        out.y.cols < out.w->n() || !has_input || out.epilogue.gated != out.w->interleaved()) {
      return make_error(Errc::invalid_argument, "matmul shapes do not fit", f.name,
                        "x (" + std::to_string(x.m) + ", " + std::to_string(out.w->k()) + "), y (" +
                            std::to_string(x.m) + ", " + std::to_string(out.w->n()) + ")",
                        "x (" + std::to_string(x.m) + ", " + std::to_string(x.k) + "), y (" +
                            std::to_string(out.y.rows) + ", " + std::to_string(out.y.cols) + ")");
    }
  }
  if (x.m >= kManyRows) {
    MatmulQueue queue;
    context.executor().run([&](std::size_t t) { matmul_drain(context, x, outputs, queue, t); });
  } else {
    context.executor().run([&](std::size_t t) { matmul_share(context, x, outputs, t); });
  }
  return {};
}

TRITIUM_NAMESPACE_END
