// SPDX-License-Identifier: Apache-2.0
// Weights: the tensors of a model by role, packed, and already in the one form the graph knows.
//
// Canonical form: row permutations undone, zero-centred norm weights with their one added, fused matrices split by rows,
// scales ready to multiply. What a model does not have is empty, and the graph skips it.
#pragma once

#include <memory>
#include <vector>

#include "tritium/format/packed_matrix.h"
#include "tritium/model/spec.h"

TRITIUM_NAMESPACE_BEGIN

struct Norm {
  Array<float> weight;  ///< empty: no norm here
  Array<float> bias;    ///< empty: none
  [[nodiscard]] explicit operator bool() const { return !weight.empty(); }
};

/// y = W x + b, W a stack of matrices that may differ in format: their rows follow each other.
struct Linear {
  std::vector<PackedMatrix> parts;
  Array<float> bias;  ///< (n), padded to whole panels of each part; empty: none
  [[nodiscard]] explicit operator bool() const { return !parts.empty(); }
  [[nodiscard]] std::size_t n() const {
    std::size_t n = 0;
    for (const PackedMatrix& part : parts) n += part.n();
    return n;
  }
  [[nodiscard]] std::size_t k() const { return parts.empty() ? 0 : parts.front().k(); }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t bytes = 0;
    for (const PackedMatrix& part : parts) bytes += part.bytes();
    return bytes;
  }
};

struct LayerWeights {
  Norm attn_norm;       ///< before attention (and, in a parallel layer, before the MLP)
  Linear qkv;           ///< rows: n_heads * head_dim of q, then n_kv_heads * head_dim of k, then of v
  Norm q_norm, k_norm;  ///< (head_dim), applied to each head
  Norm attn_sub_norm;   ///< (n_heads * head_dim), before the output projection
  Linear attn_output;
  Norm attn_post_norm;  ///< on the branch, before the residual
  Norm ffn_norm;        ///< before the MLP
  Linear gate_up;       ///< gate and up interleaved in one matrix; or
  Linear gate, up;      ///< apart, when their formats differ; without a gate only `up`
  Norm ffn_sub_norm;    ///< (ffn_dim), before the down projection
  Linear down;
  Norm ffn_post_norm;
};

struct Weights {
  PackedMatrix embedding;  ///< (vocab, hidden); the head too when it is tied and no other is given
  std::vector<LayerWeights> layers;
  Norm output_norm;
  Linear head;  ///< empty: the embedding
  /// Bytes of every matrix that one token reads: layers and head.
  [[nodiscard]] std::size_t bytes_per_token() const {
    std::size_t bytes = head ? head.bytes() : embedding.bytes();
    for (const LayerWeights& layer : layers) {
      for (const Linear* linear : {&layer.qkv, &layer.attn_output, &layer.gate_up, &layer.gate, &layer.up, &layer.down}) {
        bytes += linear->bytes();
      }
    }
    return bytes;
  }
};

TRITIUM_NAMESPACE_END
