// SPDX-License-Identifier: Apache-2.0
// Weights: the tensors of a model by role, packed, and already in the one form the graph knows.
//
// Canonical form: row permutations undone, zero-centred norm weights with their one added, fused matrices split by rows,
// scales ready to multiply. What a model does not have is empty, and the graph skips it.
#pragma once

#include <memory>
#include <vector>

#include "tritium/model/embedding_table.h"
#include "tritium/model/spec.h"

TRITIUM_NAMESPACE_BEGIN

/// The weights of one norm.
struct Norm {
  Array<float> weight;                                                      ///< empty: no norm here
  Array<float> bias;                                                        ///< empty: none
  [[nodiscard]] explicit operator bool() const { return !weight.empty(); }  ///< Whether there is a norm.
};

/// y = W x + b, W a stack of matrices that may differ in format: their rows follow each other.
struct Linear {
  std::vector<PackedMatrix> parts;  ///< packed matrices of the same k
  Array<float> bias;                ///< (n), padded to whole panels of each part; empty: none
  [[nodiscard]] explicit operator bool() const { return !parts.empty(); }  ///< Whether there is a matrix.
  /// Outputs.
  [[nodiscard]] std::size_t n() const {
    std::size_t n = 0;
    for (const PackedMatrix& part : parts) n += part.n();
    return n;
  }
  [[nodiscard]] std::size_t k() const { return parts.empty() ? 0 : parts.front().k(); }  ///< Inputs.
  /// Bytes of all parts.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t bytes = 0;
    for (const PackedMatrix& part : parts) bytes += part.bytes();
    return bytes;
  }
};

/// One expert's MLP.
struct ExpertWeights {
  Linear gate_up;  ///< interleaved; or
  Linear gate,     ///< apart, when their formats differ
      up;          ///< as gate
  Linear down;     ///< (hidden, ffn_dim)
};

/// A layer's experts and how they are picked.
struct MoeWeights {
  Linear router;                       ///< (n_experts, hidden)
  Norm router_norm;                    ///< of the residual stream, instead of what the experts read
  Array<float> expert_scale;           ///< (n_experts) multiplies each expert's weight in the mixture; empty: 1
  std::vector<ExpertWeights> experts;  ///< in the order of their numbers
  Linear shared_router;                ///< (1, hidden): sigmoid of it weighs the shared expert; empty: weight 1
  Linear shared_gate_up,               ///< of the expert that every token uses, as ExpertWeights; empty: none
      shared_gate,                     ///< as ExpertWeights
      shared_up,                       ///< as ExpertWeights
      shared_down;                     ///< as ExpertWeights
  [[nodiscard]] explicit operator bool() const { return !experts.empty(); }  ///< Whether the layer has experts.
};

/// The weights of a gated delta rule.
struct DeltaNetWeights {
  Linear qkv;                ///< rows: q of all heads, k of all heads, v of all heads
  Linear z;                  ///< (n_v_heads * v_dim, hidden)
  Linear ba;                 ///< rows: b of all value heads, then a
  Array<float> conv;         ///< (kernel, conv_width): transposed
  Array<float> dt_bias;      ///< (n_v_heads)
  Array<float> minus_exp_a;  ///< (n_v_heads) -exp(A_log)
  Norm norm;                 ///< (v_dim)
  Linear out;                ///< (hidden, n_v_heads * v_dim)
};

/// How residual streams are predicted and corrected.
struct AltUpWeights {
  Linear router;           ///< (streams, hidden)
  Norm router_norm;        ///< of what the router reads
  Array<float> predict;    ///< (streams * streams, streams)
  Array<float> correct;    ///< (streams, streams)
  Array<float> out_scale;  ///< (hidden) of what the per-layer input reads; empty: 1
};

/// Attention to an encoder's result.
struct CrossWeights {
  Norm norm;       ///< before q
  Linear q;        ///< (n_heads * head_dim, hidden)
  Linear kv;       ///< rows: n_kv_heads * head_dim of k, then of v; (., memory_dim)
  Linear out;      ///< (hidden, n_heads * head_dim)
  Norm post_norm;  ///< on the branch, before the residual
};

/// The weights of one layer; what the model does not have is empty.
struct LayerWeights {
  Norm attn_norm;  ///< before attention (and, in a parallel layer, before the MLP)
  Linear qkv;      ///< rows: n_heads * head_dim of q, then n_kv_heads * head_dim of k, of v; a gate's rows last
  DeltaNetWeights delta_net;  ///< instead of attention
  Norm q_norm,                ///< (head_dim), applied to each head
      k_norm;                 ///< (head_dim), applied to each head
  Norm attn_sub_norm;         ///< (n_heads * head_dim), before the output projection
  Linear attn_output;         ///< (hidden, n_heads * head_dim)
  Norm attn_post_norm;        ///< on the branch, before the residual
  Norm ffn_norm;              ///< before the MLP
  Linear gate_up;             ///< gate and up interleaved in one matrix; or
  Linear gate,                ///< apart, when their formats differ
      up;                     ///< as gate; alone where there is no gate
  Norm ffn_sub_norm;          ///< (ffn_dim), before the down projection
  Linear down;                ///< (hidden, ffn_dim)
  MoeWeights moe;             ///< instead of gate, up and down, or beside them
  Norm mlp_post_norm;         ///< of an MLP with experts beside it, behind its branch
  Norm experts_norm,          ///< of experts beside an MLP, before their branch
      experts_post_norm;      ///< of experts beside an MLP, behind their branch
  Norm ffn_post_norm;         ///< on the branch, before the residual
  CrossWeights cross;         ///< attention to an encoder's result
  AltUpWeights altup;         ///< of models with several residual streams
  Linear laurel_left,         ///< (rank, hidden)
      laurel_right;           ///< (hidden, rank)
  Norm laurel_post_norm;      ///< on that branch
  Linear per_layer_gate,      ///< (per_layer_dim, hidden)
      per_layer_output;       ///< (hidden, per_layer_dim)
  Norm per_layer_post_norm;   ///< on what the second embedding adds
  float out_scale = 1.0f;     ///< multiplies the residual stream behind the layer
};

/// A narrower copy of the head, and how far its outputs can be from the head's own: see model/shortlist.h.
struct ShortlistWeights {
  PackedMatrix coarse;  ///< (vocab, hidden)
  Array<float> reach;   ///< (vocab, padded to whole panels): |c_i - y_i| <= reach_i |x|
};

/// Everything that a model multiplies with or looks up, packed.
struct Weights {
  EmbeddingTable embedding;                  ///< (vocab, hidden); packed when it is the head too
  std::vector<LayerWeights> layers;          ///< first to last
  Norm output_norm;                          ///< before the head
  Linear head;                               ///< empty: the embedding, which is then packed
  EmbeddingTable per_layer_embedding;        ///< (per_layer_vocab, layers * per_layer_dim)
  std::size_t per_layer_rows = 0;            ///< of it that ids have; later ids read row 0
  Linear per_layer_projection;               ///< (layers * per_layer_dim, hidden)
  Norm per_layer_norm;                       ///< (per_layer_dim)
  std::vector<Linear> stream_project,        ///< (hidden, hidden) for each stream but the first
      stream_unproject;                      ///< the way back
  ShortlistWeights shortlist;                ///< empty: every logit is computed
  std::size_t experts_per_token = 0;         ///< of a layer: what bytes_per_token() counts
  std::shared_ptr<const MappedFile> panels;  ///< the packed cache that matrices are views into; null: none
  /// Calls f(matrix) for every packed matrix that there is.
  template <class F>
  void visit(F&& f) const {
    const auto visit_linear = [&](const Linear& linear) {
      for (const PackedMatrix& part : linear.parts) f(part);
    };
    for (const EmbeddingTable* table : {&embedding, &per_layer_embedding}) {
      if (!table->matrix().empty()) f(table->matrix());
    }
    if (!shortlist.coarse.empty()) f(shortlist.coarse);
    visit_linear(head);
    visit_linear(per_layer_projection);
    for (const std::vector<Linear>* streams : {&stream_project, &stream_unproject}) {
      for (const Linear& linear : *streams) visit_linear(linear);
    }
    for (const LayerWeights& l : layers) {
      for (const Linear* linear : {&l.qkv,
                                   &l.attn_output,
                                   &l.gate_up,
                                   &l.gate,
                                   &l.up,
                                   &l.down,
                                   &l.delta_net.qkv,
                                   &l.delta_net.z,
                                   &l.delta_net.ba,
                                   &l.delta_net.out,
                                   &l.cross.q,
                                   &l.cross.kv,
                                   &l.cross.out,
                                   &l.altup.router,
                                   &l.laurel_left,
                                   &l.laurel_right,
                                   &l.per_layer_gate,
                                   &l.per_layer_output,
                                   &l.moe.router,
                                   &l.moe.shared_router,
                                   &l.moe.shared_gate_up,
                                   &l.moe.shared_gate,
                                   &l.moe.shared_up,
                                   &l.moe.shared_down}) {
        visit_linear(*linear);
      }
      for (const ExpertWeights& expert : l.moe.experts) {
        for (const Linear* linear : {&expert.gate_up, &expert.gate, &expert.up, &expert.down}) visit_linear(*linear);
      }
    }
  }
  /// Whether the files that tables are still read from are as they were. Errors: io ("file changed while in use").
  [[nodiscard]] Status check_unchanged() const {
    if (panels != nullptr) TRITIUM_TRY(panels->check_unchanged());
    TRITIUM_TRY(embedding.check_unchanged());
    return per_layer_embedding.check_unchanged();
  }
  /// Bytes of every matrix that one token reads: layers and head, of a shortlisted head its copy.
  [[nodiscard]] std::size_t bytes_per_token() const {
    std::size_t bytes = (!shortlist.coarse.empty() ? shortlist.coarse.bytes()
                         : head                    ? head.bytes()
                                                   : embedding.matrix().bytes()) +
                        per_layer_projection.bytes();
    for (const std::vector<Linear>* streams : {&stream_project, &stream_unproject}) {
      for (const Linear& linear : *streams) bytes += linear.bytes();
    }
    for (const LayerWeights& layer : layers) {
      const DeltaNetWeights& d = layer.delta_net;
      const MoeWeights& m = layer.moe;
      for (const Linear* linear : {&layer.qkv,
                                   &layer.attn_output,
                                   &layer.gate_up,
                                   &layer.gate,
                                   &layer.up,
                                   &layer.down,
                                   &d.qkv,
                                   &d.z,
                                   &d.ba,
                                   &d.out,
                                   &layer.cross.q,
                                   &layer.cross.out,
                                   &layer.altup.router,
                                   &layer.laurel_left,
                                   &layer.laurel_right,
                                   &layer.per_layer_gate,
                                   &layer.per_layer_output,
                                   &m.router,
                                   &m.shared_router,
                                   &m.shared_gate_up,
                                   &m.shared_gate,
                                   &m.shared_up,
                                   &m.shared_down}) {
        bytes += linear->bytes();
      }
      if (m) {  // experts are alike: the ones chosen cost what the first ones do
        for (std::size_t e = 0; e < std::min(experts_per_token, m.experts.size()); ++e) {
          for (const Linear* linear : {&m.experts[e].gate_up, &m.experts[e].gate, &m.experts[e].up, &m.experts[e].down})
            bytes += linear->bytes();
        }
      }
    }
    return bytes;
  }
};

TRITIUM_NAMESPACE_END
