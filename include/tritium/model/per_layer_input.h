// SPDX-License-Identifier: Apache-2.0
// PerLayerInput: a second embedding, of which every layer reads a slice of its own.
//
//   p_l = (RMS(W e / sqrt(hidden))_l + E'[token]_l sqrt(P)) / sqrt(2)         P values for each of the layers
//   f   = RMS(W_p (act(W_g x) * p_l))                                         what a layer adds
// A token reads one row of E', which stays in the file (model/embedding_table.h). Ids past its end read row 0.
// Source: transformers modeling_gemma3n.py, modeling_gemma4.py.
#pragma once

#include <cmath>
#include <vector>

#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

/// What layers add of a second embedding: buffers for one batch. Without one it is empty.
class PerLayerInput {
 public:
  /// Errors: out_of_memory.
  static Result<PerLayerInput> create(const ModelSpec& spec, std::size_t max_batch) {
    return no_throw([&]() -> Result<PerLayerInput> {
      PerLayerInput p;
      p.spec_ = &spec;
      if (spec.per_layer_dim == 0) return p;
      p.stride_ = spec.n_layers() * spec.per_layer_dim;
      TRITIUM_ASSIGN(p.inputs_, Array<float>::allocate(max_batch * p.stride_));
      TRITIUM_ASSIGN(p.tokens_, Array<float>::allocate(max_batch * p.stride_));
      TRITIUM_ASSIGN(p.gate_, Array<float>::allocate(max_batch * spec.per_layer_dim));
      return p;
    });
  }

  [[nodiscard]] bool any() const { return stride_ != 0; }  ///< Whether the model has such inputs.

  /// Slices of all layers for embedded tokens, rows of `h`. Errors: as EmbeddingTable::decode_row().
  Status begin(Workspace& workspace, const Weights& w, std::span<const std::int32_t> ids, const float* h) {
    const std::size_t n = spec_->hidden;
    const std::size_t width = spec_->per_layer_dim;
    const KernelTable& kernels = workspace.kernels();
    outputs_.clear();
    append_outputs(outputs_, w.per_layer_projection, {inputs_.data(), ids.size(), stride_});
    workspace.project(
        ids.size(), n, [&](std::size_t r, float* out) { std::memcpy(out, h + r * n, n * sizeof(float)); }, outputs_);
    return workspace.try_rows(ids.size(), [&](std::size_t r) -> Status {
      float* input = inputs_.data() + r * stride_;
      float* token = tokens_.data() + r * stride_;
      const auto id = static_cast<std::size_t>(ids[r]);
      TRITIUM_TRY(w.per_layer_embedding.decode_row(id < w.per_layer_rows ? id : 0, token));
      kernels.scale(input, 1.0f / std::sqrt(static_cast<float>(n)), stride_);
      for (std::size_t l = 0; l < spec_->n_layers(); ++l) {
        float* slice = input + l * width;
        kernels.rms_norm(slice, w.per_layer_norm.weight.data(), width, spec_->norm_eps, slice);
      }
      kernels.add_scaled(token, std::sqrt(static_cast<float>(width)), stride_, input);
      kernels.scale(input, 1.0f / std::sqrt(2.0f), stride_);
      return {};
    });
  }

  /// branch_r = f for the rows [first, first + m) of the batch; row(r, out) produces x.
  template <class Row>
  void run(Workspace& workspace, const LayerWeights& w, std::size_t layer, std::size_t first, std::size_t m, Row&& row,
           float* branch) {
    const std::size_t width = spec_->per_layer_dim;
    const KernelTable& kernels = workspace.kernels();
    outputs_.clear();
    append_outputs(outputs_, w.per_layer_gate, {gate_.data(), m, width});
    workspace.project(m, spec_->hidden, row, outputs_);
    outputs_.clear();
    append_outputs(outputs_, w.per_layer_output, {branch, m, spec_->hidden});
    workspace.project(
        m, width,
        [&](std::size_t r, float* out) {
          kernels.gate(spec_->activation, gate_.data() + r * width,
                       inputs_.data() + (first + r) * stride_ + layer * width, width, out);
        },
        outputs_);
    workspace.for_rows(m, [&](std::size_t r) {
      float* f = branch + r * spec_->hidden;
      kernels.rms_norm(f, w.per_layer_post_norm.weight.data(), spec_->hidden, spec_->norm_eps, f);
    });
  }

 private:
  const ModelSpec* spec_ = nullptr;
  std::size_t stride_ = 0;        // layers * P
  Array<float> inputs_, tokens_;  // (batch, layers * P)
  Array<float> gate_;             // (batch, P)
  std::vector<MatmulOutput> outputs_;
};

TRITIUM_NAMESPACE_END
