// SPDX-License-Identifier: Apache-2.0
// Decoder: the forward pass of every decoder-only family, on one screen.
//
// Five parallel regions a layer when a single token is decoded: norm + qkv, attention, output, norm + gate/up, down.
// Branches are policies of ModelSpec or the presence of a weight; no family is named here.
#pragma once

#include <memory>
#include <vector>

#include "tritium/model/attention.h"
#include "tritium/model/delta_net.h"
#include "tritium/model/hadamard.h"
#include "tritium/model/moe.h"
#include "tritium/model/per_layer_input.h"
#include "tritium/model/rope.h"
#include "tritium/model/shortlist.h"
#include "tritium/model/stopwatch.h"
#include "tritium/model/streams.h"

TRITIUM_NAMESPACE_BEGIN

/// A model in memory: what it is, and its packed weights. Never changes; any number of decoders may read it.
struct Model {
  ModelSpec spec;                         ///< sizes and policies
  Weights weights;                        ///< packed
  const EmbeddingTable* table = nullptr;  ///< another model's embedding, where this one has none
};

/// The forward pass with its caches and buffers, sized once. One thread at a time calls it; it uses the executor's
/// threads.
class Decoder {
 public:
  /// Sizes of a decoder.
  struct Options {
    std::size_t context = 0;      ///< positions the cache holds; 0: the model's own context
    std::size_t max_batch = 512;  ///< tokens of one forward pass; longer prompts are cut
    KvType kv = KvType::f16;      ///< type of cached keys and values
    std::size_t memory = 0;       ///< rows of an encoder's result that layers may attend to
    std::size_t sequences = 1;    ///< texts kept side by side, each with a cache of `context` positions
  };
  /// The next token of one of several sequences.
  struct Step {
    std::size_t sequence = 0;  ///< which one, below n_sequences()
    std::int32_t token = 0;    ///< its next id
  };
  /// Which rows of a batch get logits.
  enum class Logits : std::uint8_t { none, last, all };

  /// `model` must outlive the decoder. Errors: out_of_range (context past the model's), out_of_memory, unsupported.
  static Result<std::unique_ptr<Decoder>> create(const Model& model, const Options& options, const Executor& executor) {
    return no_throw([&]() -> Result<std::unique_ptr<Decoder>> {
      const ModelSpec& spec = model.spec;
      const std::size_t context = options.context == 0 ? spec.context : options.context;
      if (context > spec.context) {
        return make_error(Errc::out_of_range, "context is longer than the model's", "ctx",
                          "at most " + std::to_string(spec.context), std::to_string(context));
      }
      const std::size_t batch = std::min(std::max<std::size_t>(options.max_batch, 1), context);
      std::unique_ptr<Decoder> d(new Decoder(model));
      std::size_t max_k = std::max(spec.hidden, spec.delta_net.v_width());
      for (const LayerSpec& l : spec.layers) {
        d->max_qkv_ =
            std::max(d->max_qkv_, (l.n_heads * (spec.attention_gate ? 2 : 1) + 2 * l.n_kv_heads) * l.head_dim);
        d->max_ffn_ = std::max(d->max_ffn_, l.ffn_dim);
        max_k = std::max({max_k, l.n_heads * l.head_dim, l.ffn_dim});
      }
      max_k = std::max(
          {max_k, spec.memory_dim, spec.moe.ffn_dim, spec.moe.shared_ffn_dim, spec.laurel_rank, spec.per_layer_dim});
      d->max_batch_ = batch;
      TRITIUM_ASSIGN(OpContext ops, OpContext::create(executor));
      TRITIUM_ASSIGN(Workspace workspace,
                     Workspace::create(std::move(ops), Moe::gathered_rows(spec, batch), max_k, spec.hidden));
      d->workspace_ = std::make_unique<Workspace>(std::move(workspace));
      const std::size_t sequences = std::max<std::size_t>(options.sequences, 1);
      TRITIUM_TRY(check_sequences(spec, sequences, batch));
      for (std::size_t i = 0; i < sequences; ++i) {
        Sequence sequence;
        TRITIUM_ASSIGN(sequence.cache, KvCache::create(spec, context, batch, options.kv));
        for (const RopeSpec& rope : spec.ropes) {
          TRITIUM_ASSIGN(RopeTable table, make_rope_table(rope, 1));
          sequence.ropes.push_back(std::move(table));
        }
        d->sequences_.push_back(std::move(sequence));
      }
      d->at_ = d->sequences_.data();
      d->places_.resize(batch);
      if (spec.memory_dim != 0) {
        ModelSpec cross;
        for (const LayerSpec& l : spec.layers) cross.layers.push_back({l.n_heads, l.n_kv_heads, l.head_dim});
        TRITIUM_ASSIGN(d->memory_cache_, KvCache::create(cross, options.memory, batch, options.kv));
        d->memory_layers_ = std::move(cross.layers);
      }
      TRITIUM_ASSIGN(d->attention_, Attention::create(spec, executor.n_threads, batch, sequences));
      TRITIUM_ASSIGN(d->moe_, Moe::create(spec, batch));
      TRITIUM_ASSIGN(d->mixture_, Array<float>::allocate(spec.moe.beside_mlp ? batch * spec.hidden : 0));
      TRITIUM_ASSIGN(d->delta_net_, DeltaNet::create(spec, batch));
      TRITIUM_ASSIGN(d->streams_, Streams::create(spec, batch));
      TRITIUM_ASSIGN(d->per_layer_input_, PerLayerInput::create(spec, batch));
      TRITIUM_ASSIGN(d->shortlist_, Shortlist::create(model.weights.shortlist, executor.n_threads));
      TRITIUM_ASSIGN(d->laurel_, Array<float>::allocate(spec.laurel_rank == 0 ? 0 : batch * spec.hidden));
      TRITIUM_ASSIGN(d->laurel_mid_, Array<float>::allocate(batch * spec.laurel_rank));
      for (const RopeTable& table : d->at_->ropes) {
        TRITIUM_ASSIGN(Array<float> rows, Array<float>::allocate(batch * table.half() * 2));
        d->rope_rows_.push_back(std::move(rows));
      }
      TRITIUM_ASSIGN(d->h_, Array<float>::allocate(batch * spec.hidden));
      TRITIUM_ASSIGN(d->branch_, Array<float>::allocate(batch * spec.hidden));
      TRITIUM_ASSIGN(d->qkv_, Array<float>::allocate(batch * d->max_qkv_));
      TRITIUM_ASSIGN(d->gate_, Array<float>::allocate(batch * d->max_ffn_));
      TRITIUM_ASSIGN(d->up_, Array<float>::allocate(batch * d->max_ffn_));
      return d;
    });
  }

  [[nodiscard]] const Model& model() const { return model_; }                  ///< The weights.
  [[nodiscard]] std::size_t context() const { return at_->cache.capacity(); }  ///< Positions that a cache holds.
  [[nodiscard]] std::size_t max_batch() const { return max_batch_; }           ///< Tokens of one forward pass at most.
  /// Tokens that the chosen sequence's cache holds.
  [[nodiscard]] std::size_t position() const { return at_->position; }
  /// Bytes of all caches.
  [[nodiscard]] std::size_t kv_bytes() const { return sequences_.size() * at_->cache.bytes(); }
  [[nodiscard]] std::size_t n_sequences() const { return sequences_.size(); }  ///< Texts kept side by side.
  /// The sequence that position(), rewind(), prepare() and forward() are about from now on; 0 at first.
  void select(std::size_t sequence) {
    TRITIUM_ASSUME(sequence < sequences_.size());
    at_ = &sequences_[sequence];
  }
  [[nodiscard]] OpContext& ops() { return workspace_->context(); }  ///< Kernels and threads.
  /// Adds the times of every forward pass from now on to `times`, which must outlive them; null ends it.
  void measure_into(RegionTimes* times) { times_ = times; }

  /// Of the logits of a single row only the `n` largest need to be exact from now on; all others may be any value below
  /// them. 0: all. Without a shortlist (LoadOptions::shortlist) all are anyway.
  void only_largest(std::size_t n) { largest_ = n; }

  /// Forgets positions from `position` on. False when that cannot be undone (a windowed layer no longer holds what they
  /// would need, a recurrent layer keeps no history): the caller then starts again from 0.
  [[nodiscard]] bool rewind(std::size_t position) {
    Sequence& s = *at_;
    if (position > s.position) return false;
    if (position == s.position && position != 0) return true;
    if (position != 0 && (delta_net_.any() || !s.cache.holds(position, s.high_water))) return false;
    s.position = position;
    if (position == 0) {
      s.high_water = 0;
      s.length = 0;
      delta_net_.reset();
    }
    return true;
  }

  /// Tells how long the sequence is going to be. Some rotary embeddings depend on it (LongRoPE has one set of frequencies
  /// up to the trained length and one beyond; NTK scalings grow the base with a long prompt). False when positions are in
  /// the cache that were rotated for another length: the caller rewinds to 0 and reads them again.
  /// Errors: out_of_memory.
  Result<bool> prepare(std::size_t length) {
    Sequence& s = *at_;
    for (std::size_t i = 0; i < s.ropes.size(); ++i) {
      const RopeSpec& rope = model_.spec.ropes[i];
      if (!rope.depends_on_length()) continue;
      if (s.position == 0) {
        TRITIUM_ASSIGN(s.ropes[i], make_rope_table(rope, length));
      } else if (rope.scaling == RopeScaling::longrope &&
                 (s.length > rope.original_context) != (length > rope.original_context)) {
        return false;  // NTK bases stay as the prompt decided
      }
    }
    s.length = s.position == 0 ? length : std::max(length, s.length);
    return true;
  }

  /// What layers attend to beside their own tokens: an encoder's result, (rows, memory_dim). Forgets all tokens.
  /// Errors: out_of_range (more rows than Options::memory), out_of_memory.
  Status set_memory(MatrixView<const float> memory) {
    if (memory.rows == 0 || memory.rows > memory_cache_.capacity()) {
      return make_error(Errc::out_of_range, "rows of an encoder", "memory",
                        "1 to " + std::to_string(memory_cache_.capacity()), std::to_string(memory.rows));
    }
    TRITIUM_TRY(attention_.reserve(memory.rows));
    for (std::size_t i = 0; i < model_.spec.n_layers(); ++i) {
      for (std::size_t first = 0; first < memory.rows; first += max_batch_)
        remember(i, memory, first, std::min(max_batch_, memory.rows - first));
    }
    memory_rows_ = memory.rows;
    at_->position = at_->high_water = at_->length = 0;
    return {};
  }

  /// The normalised rows of the last batch, what an encoder is for: (rows, hidden) at `out`.
  void read_hidden(float* out) {
    workspace_->for_rows(rows_, [&](std::size_t r) {
      normalize(model_.weights.output_norm, h(r), model_.spec.hidden, out + r * model_.spec.hidden);
    });
  }

  /// Runs `tokens` at the next positions and writes logits: vocab floats for each row that has them.
  /// Errors: out_of_range (ids, batch, context), out_of_memory, invalid_file (logits or embeddings that are not finite).
  Status forward(std::span<const std::int32_t> tokens, Logits wanted, float* logits) {
    return no_throw([&]() -> Status {
      TRITIUM_TRY(check(tokens));
      TRITIUM_TRY(make_room(tokens.size()));
      for (std::size_t r = 0; r < tokens.size(); ++r) places_[r] = {&at_->cache, at_->position + r};
      return run(tokens, wanted, logits);
    });
  }

  /// Runs one token of each of several sequences, whatever their lengths, in one pass over the weights, and writes their
  /// logits: vocab floats a step. The bits are those of forward() for each alone.
  /// Errors: as forward(); invalid_argument (a sequence that is not there, or twice).
  Status forward_each(std::span<const Step> steps, float* logits) {
    Sequence* const selected = at_;
    Status status = no_throw([&]() -> Status { return place_each(steps); });
    at_ = selected;
    TRITIUM_TRY(std::move(status));
    return no_throw([&]() -> Status { return run(step_tokens_, Logits::all, logits); });
  }

 private:
  /// A text under way.
  struct Sequence {
    KvCache cache;
    std::vector<RopeTable> ropes;
    std::size_t position = 0;    // of the next token
    std::size_t high_water = 0;  // furthest position written since the last start
    std::size_t length = 0;      // that rotary embeddings were prepared for
  };

  explicit Decoder(const Model& model) : model_(model) {}

  // --- the forward pass --------------------------------------------------------------------------------------------------

  /// Gives every step its place, with its sequence selected.
  Status place_each(std::span<const Step> steps) {
    step_tokens_.clear();
    TRITIUM_TRY(check_steps(steps));
    for (std::size_t i = 0; i < steps.size(); ++i) {
      select(steps[i].sequence);
      step_tokens_.push_back(steps[i].token);
      places_[i] = {&at_->cache, at_->position};
      TRITIUM_TRY(check({&steps[i].token, 1}));
      TRITIUM_TRY(make_room(1));
    }
    return {};
  }

  /// The rows of a batch, which stand at places_, through all layers.
  Status run(std::span<const std::int32_t> tokens, Logits wanted, float* logits) {
    const ModelSpec& spec = model_.spec;
    rows_ = tokens.size();
    first_row_ = 0;
    TRITIUM_TRY(embed(tokens));
    for (std::size_t i = 0; i < spec.n_layers(); ++i) {
      if (streams_.any()) streams_.predict(*workspace_, model_.weights.layers[i].altup, h_.data(), first_row_, rows_);
      const bool last_rows = i + 1 == spec.n_layers() && wanted == Logits::last;  // nobody reads the others any more
      if (spec.layers[i].mixer == Mixer::delta_net) {
        mix_recurrently(i);
        if (last_rows) keep_last_row();
      } else {
        project_qkv(i);
        rotate_and_store(i);
        if (last_rows) keep_last_row();
        attend(i);
      }
      if (spec.laurel_rank != 0) start_laurel(i);
      add_mixed(i);
      if (spec.laurel_rank != 0) add_laurel();
      if (spec.memory_dim != 0) add_cross(i);
      if (spec.layers[i].moe && spec.moe.beside_mlp) {
        add_mlp_and_experts(i);
      } else if (spec.layers[i].moe) {
        add_experts(i);
      } else {
        if (spec.residual == Residual::sequential) project_mlp(i);
        add_mlp(i);
      }
      if (streams_.any()) streams_.correct(*workspace_, model_.weights.layers[i].altup, h_.data(), first_row_, rows_);
      if (per_layer_input_.any()) add_per_layer_input(i);
      scale_residual(i);
    }
    if (streams_.any()) streams_.end(*workspace_, model_.weights, h_.data(), first_row_, rows_);
    for (const Attention::Place& place : std::span(places_).first(tokens.size())) {
      Sequence& s = sequence_of(place);
      s.position = place.position + 1;
      s.high_water = std::max(s.high_water, s.position);
    }
    return wanted == Logits::none ? Status() : head(wanted, logits);
  }

  // --- the pieces, in the order of the forward pass ----------------------------------------------------------------------

  Status check(std::span<const std::int32_t> tokens) {
    if (tokens.empty() || tokens.size() > max_batch()) {
      return make_error(Errc::out_of_range, "batch size", "tokens", "1 to " + std::to_string(max_batch()),
                        std::to_string(tokens.size()));
    }
    if (tokens.size() > context() - at_->position) {
      return make_error(Errc::out_of_range, "the context is full", "ctx",
                        "at most " + std::to_string(context()) + " positions",
                        std::to_string(at_->position + tokens.size()));
    }
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= model_.spec.vocab) {
        return make_error(Errc::out_of_range, "token id", "token " + std::to_string(i),
                          "0 to " + std::to_string(model_.spec.vocab - 1), std::to_string(tokens[i]));
      }
    }
    if (model_.spec.memory_dim != 0 && memory_rows_ == 0)
      return Error{Errc::invalid_argument, "a decoder without its encoder's result: set_memory() comes first"};
    return attention_.reserve(at_->position + tokens.size());
  }

  /// Rotary embeddings for `n` more tokens of the selected sequence.
  Status make_room(std::size_t n) {
    if (at_->position + n <= at_->length) return {};
    TRITIUM_ASSIGN(const bool ready, prepare(at_->position + n));
    if (ready) return {};
    return Error{Errc::out_of_range,
                 "the sequence outgrows the rotary embedding it began with: prepare() it from position 0"};
  }

  static Status check_sequences(const ModelSpec& spec, std::size_t sequences, std::size_t batch) {
    if (sequences == 1) return {};
    const bool recurrent =
        std::ranges::any_of(spec.layers, [](const LayerSpec& l) { return l.mixer == Mixer::delta_net; });
    if (recurrent || spec.memory_dim != 0) {
      return make_error(Errc::unsupported, "several sequences at once", "sequences", "1 for this model",
                        std::to_string(sequences));
    }
    if (sequences <= batch) return {};
    return make_error(Errc::out_of_range, "sequences", "sequences", "at most a batch, " + std::to_string(batch),
                      std::to_string(sequences));
  }

  [[nodiscard]] Status check_steps(std::span<const Step> steps) const {
    if (steps.empty()) return make_error(Errc::out_of_range, "steps", "sequences", "at least one", "none");
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].sequence >= sequences_.size()) {
        return make_error(Errc::invalid_argument, "sequence", "step " + std::to_string(i),
                          "0 to " + std::to_string(sequences_.size() - 1), std::to_string(steps[i].sequence));
      }
      for (std::size_t j = 0; j < i; ++j) {
        if (steps[i].sequence != steps[j].sequence) continue;
        return make_error(Errc::invalid_argument, "a sequence takes one token a step", "step " + std::to_string(i),
                          "another sequence", std::to_string(steps[i].sequence) + " again");
      }
    }
    return {};
  }

  Status embed(std::span<const std::int32_t> tokens) {
    const RegionTimer timer = timed(Region::embedding);
    const ModelSpec& spec = model_.spec;
    const EmbeddingTable& table = model_.table != nullptr ? *model_.table : model_.weights.embedding;
    const auto embed_row = [&](std::size_t r) -> Status {
      float* h = h_.data() + r * spec.hidden;
      TRITIUM_TRY(table.decode_row(static_cast<std::size_t>(tokens[r]), h));
      if (spec.embedding_scale != 1.0f) kernels().scale(h, spec.embedding_scale, spec.hidden);
      return {};
    };
    TRITIUM_TRY(workspace_->try_rows(rows_, embed_row));
    if (per_layer_input_.any()) TRITIUM_TRY(per_layer_input_.begin(*workspace_, model_.weights, tokens, h_.data()));
    if (streams_.any()) streams_.begin(*workspace_, model_.weights, h_.data(), rows_);
    for (std::size_t r = 0; r < rows_; ++r) {
      std::vector<RopeTable>& ropes = sequence_of(places_[r]).ropes;
      for (std::size_t i = 0; i < ropes.size(); ++i) {
        const std::size_t half = ropes[i].half();
        ropes[i].fill(places_[r].position, &rope_rows_[i][2 * r * half], &rope_rows_[i][(2 * r + 1) * half]);
      }
    }
    return {};
  }

  void project_qkv(std::size_t i) {
    const RegionTimer timer = timed(Region::qkv);
    const LayerWeights& w = model_.weights.layers[i];
    outputs_.clear();
    append_outputs(outputs_, w.qkv, {qkv_.data(), rows_, max_qkv_});
    if (model_.spec.residual == Residual::parallel) append_mlp(i);  // the same norm feeds both
    workspace_->project(
        rows_, model_.spec.hidden,
        [&](std::size_t r, float* out) { normalize(w.attn_norm, h(r), model_.spec.hidden, out); }, outputs_);
  }

  void rotate_and_store(std::size_t i) {
    const RegionTimer timer = timed(Region::rope);
    const ModelSpec& spec = model_.spec;
    const LayerSpec& l = spec.layers[i];
    const LayerWeights& w = model_.weights.layers[i];
    const bool own_keys = l.kv_source < 0;
    workspace_->for_rows(rows_, [&](std::size_t r) {
      float* q = qkv_.data() + r * max_qkv_;
      float* k = q + l.n_heads * l.head_dim;
      float* v = k + l.n_kv_heads * l.head_dim;
      if (l.v_is_k) std::memcpy(v, k, l.n_kv_heads * l.head_dim * sizeof(float));
      for (std::size_t head = 0; head < l.n_heads + (own_keys ? l.n_kv_heads : 0); ++head) {
        float* x = q + head * l.head_dim;
        normalize(head < l.n_heads ? w.q_norm : w.k_norm, x, l.head_dim, x);
        if (l.rope >= 0) {
          const auto rope = static_cast<std::size_t>(l.rope);
          const std::size_t half = at_->ropes[rope].half();
          kernels().rope_half(x, &rope_rows_[rope][2 * r * half], &rope_rows_[rope][(2 * r + 1) * half], half);
        }
      }
      const std::size_t position = places_[r].position;
      if (spec.log_n_context != 0 && position >= spec.log_n_context) {
        const double scale =
            std::log(static_cast<double>(position + 1)) / std::log(static_cast<double>(spec.log_n_context));
        kernels().scale(q, static_cast<float>(scale), l.n_heads * l.head_dim);
      }
      if (!own_keys) return;
      for (std::size_t head = 0; head < l.n_kv_heads; ++head) {
        float* value = v + head * l.head_dim;
        if (spec.value_norm) kernels().rms_norm(value, nullptr, l.head_dim, spec.norm_eps, value);
        places_[r].cache->store(kernels(), i, head, position, k + head * l.head_dim, value);
      }
    });
  }

  void keep_last_row() {
    first_row_ = rows_ - 1;
    rows_ = 1;
  }

  void attend(std::size_t i) {
    const RegionTimer timer = timed(Region::attention);
    Attention::Batch batch;
    batch.layer = &model_.spec.layers[i];
    batch.cache_layer =
        model_.spec.layers[i].kv_source < 0 ? i : static_cast<std::size_t>(model_.spec.layers[i].kv_source);
    batch.places = std::span(places_).subspan(first_row_, rows_);
    batch.q = qkv_.data() + first_row_ * max_qkv_;
    batch.q_stride = max_qkv_;
    batch.scale = model_.spec.attention_scale;
    batch.soft_cap = model_.spec.attention_cap;
    batch.n_keys = model_.spec.bidirectional ? batch.places.back().position + 1 : 0;
    batch.interleaved_heads = model_.spec.interleaved_heads;
    attention_.run(*workspace_, batch);
  }

  /// Keys and values of rows [first, first + m) of an encoder's result, for layer i.
  void remember(std::size_t i, MatrixView<const float> memory, std::size_t first, std::size_t m) {
    const LayerSpec& l = model_.spec.layers[i];
    const std::size_t width = l.n_kv_heads * l.head_dim;
    outputs_.clear();
    append_outputs(outputs_, model_.weights.layers[i].cross.kv, {qkv_.data(), m, max_qkv_});
    workspace_->project(
        m, model_.spec.memory_dim,
        [&](std::size_t r, float* out) {
          std::memcpy(out, memory.row(first + r), model_.spec.memory_dim * sizeof(float));
        },
        outputs_);
    workspace_->for_rows(m, [&](std::size_t r) {
      const float* k = qkv_.data() + r * max_qkv_;
      for (std::size_t head = 0; head < l.n_kv_heads; ++head) {
        memory_cache_.store(kernels(), i, head, first + r, k + head * l.head_dim, k + width + head * l.head_dim);
      }
    });
  }

  /// h += N_post(W_o attention of N(h) to the encoder's result): neither rotated nor masked.
  void add_cross(std::size_t i) {
    const CrossWeights& w = model_.weights.layers[i].cross;
    const LayerSpec& l = memory_layers_[i];
    outputs_.clear();
    append_outputs(outputs_, w.q, {qkv_.data(), rows_, max_qkv_});
    workspace_->project(
        rows_, model_.spec.hidden, [&](std::size_t r, float* out) { normalize(w.norm, h(r), model_.spec.hidden, out); },
        outputs_);
    Attention::Batch batch;
    batch.layer = &l;
    batch.cache_layer = i;
    memory_places_.assign(rows_, {&memory_cache_, 0});  // it sees all, wherever it stands
    batch.places = memory_places_;
    batch.q = qkv_.data();
    batch.q_stride = max_qkv_;
    batch.scale = model_.spec.attention_scale;
    batch.soft_cap = model_.spec.attention_cap;
    batch.n_keys = memory_rows_;
    batch.interleaved_heads = model_.spec.interleaved_heads;
    attention_.run(*workspace_, batch);
    add_branch(w.out, w.post_norm, l.n_heads * l.head_dim,
               [&](std::size_t r, float* out) { attention_.row(kernels(), r, out); });
  }

  void mix_recurrently(std::size_t i) {
    const RegionTimer timer = timed(Region::recurrent);
    const LayerWeights& w = model_.weights.layers[i];
    outputs_.clear();
    delta_net_.append(w.delta_net, rows_, outputs_);
    workspace_->project(
        rows_, model_.spec.hidden,
        [&](std::size_t r, float* out) { normalize(w.attn_norm, h(r), model_.spec.hidden, out); }, outputs_);
    delta_net_.run(*workspace_, w.delta_net, i, rows_);
  }

  void add_mixed(std::size_t i) {
    const RegionTimer timer = timed(Region::attention_out);
    const ModelSpec& spec = model_.spec;
    const LayerSpec& l = spec.layers[i];
    const LayerWeights& w = model_.weights.layers[i];
    if (l.mixer == Mixer::delta_net) {
      add_branch(w.delta_net.out, w.attn_post_norm, spec.delta_net.v_width(),
                 [&](std::size_t r, float* out) { delta_net_.row(kernels(), w.delta_net, first_row_ + r, out); });
      return;
    }
    const std::size_t width = l.n_heads * l.head_dim;
    add_branch(w.attn_output, w.attn_post_norm, width, [&](std::size_t r, float* out) {
      attention_.row(kernels(), r, out);
      if (spec.attention_gate) {
        const float* gate = qkv_.data() + (first_row_ + r) * max_qkv_ + width + 2 * l.n_kv_heads * l.head_dim;
        kernels().gate(Activation::sigmoid, gate, out, width, out);
      }
      normalize(w.attn_sub_norm, out, width, out);
    });
  }

  /// laurel_ = x + N(W_r W_l x), x what attention reads too.
  void start_laurel(std::size_t i) {
    const LayerWeights& w = model_.weights.layers[i];
    const std::size_t hidden = model_.spec.hidden;
    const std::size_t rank = model_.spec.laurel_rank;
    const auto input = [&](std::size_t r, float* out) { normalize(w.attn_norm, h(r), hidden, out); };
    outputs_.clear();
    append_outputs(outputs_, w.laurel_left, {laurel_mid_.data(), rows_, rank});
    workspace_->project(rows_, hidden, input, outputs_);
    outputs_.clear();
    append_outputs(outputs_, w.laurel_right, {branch_.data(), rows_, hidden});
    workspace_->project(
        rows_, rank,
        [&](std::size_t r, float* out) { std::memcpy(out, laurel_mid_.data() + r * rank, rank * sizeof(float)); },
        outputs_);
    workspace_->for_rows(rows_, [&](std::size_t r) {
      float* branch = branch_.data() + r * hidden;
      float* laurel = laurel_.data() + r * hidden;
      normalize(w.laurel_post_norm, branch, hidden, branch);
      input(r, laurel);
      kernels().add_scaled(branch, 1.0f, hidden, laurel);
    });
  }
  void add_laurel() {
    workspace_->for_rows(rows_, [&](std::size_t r) {
      kernels().add_scaled(laurel_.data() + r * model_.spec.hidden, 1.0f, model_.spec.hidden, h(r));
      kernels().scale(h(r), 1.0f / std::sqrt(2.0f), model_.spec.hidden);
    });
  }

  /// What layer i makes of its slice of the second embedding: on the residual, or on every stream but the active one.
  void add_per_layer_input(std::size_t i) {
    const LayerWeights& w = model_.weights.layers[i];
    const std::size_t hidden = model_.spec.hidden;
    per_layer_input_.run(
        *workspace_, w, i, first_row_, rows_,
        [&](std::size_t r, float* out) {
          if (!streams_.any()) std::memcpy(out, h(r), hidden * sizeof(float));
          else std::memcpy(out, streams_.row(0, first_row_ + r), hidden * sizeof(float));
          for (std::size_t j = 0; j < w.altup.out_scale.size(); ++j) out[j] *= w.altup.out_scale[j];
        },
        branch_.data());
    workspace_->for_rows(rows_, [&](std::size_t r) {
      const float* branch = branch_.data() + r * hidden;
      if (!streams_.any()) kernels().add_scaled(branch, 1.0f, hidden, h(r));
      for (std::size_t a = 1; a < model_.spec.n_streams; ++a)
        kernels().add_scaled(branch, 1.0f, hidden, streams_.row(a, first_row_ + r));
    });
  }

  void scale_residual(std::size_t i) {
    const float scale = model_.weights.layers[i].out_scale;
    if (scale == 1.0f) return;
    workspace_->for_rows(rows_, [&](std::size_t r) { kernels().scale(h(r), scale, model_.spec.hidden); });
  }

  void add_mlp(std::size_t i) {
    const RegionTimer timer = timed(Region::mlp_out);
    const LayerWeights& w = model_.weights.layers[i];
    const std::size_t ffn = model_.spec.layers[i].ffn_dim;
    add_branch(w.down, w.ffn_post_norm, ffn, [&](std::size_t r, float* out) { mlp_middle(i, r, out); });
  }

  void add_experts(std::size_t i) {
    const RegionTimer timer = timed(Region::experts);
    const LayerWeights& w = model_.weights.layers[i];
    moe_.run(
        *workspace_, w.moe, rows_,
        [&](std::size_t r, float* out) { normalize(w.ffn_norm, h(r), model_.spec.hidden, out); }, h(0),
        model_.spec.hidden);
  }

  /// h += N(N_1(Mlp(N_in h)) + N_2(experts(N_in2 h))): two branches from one residual, the experts routed by a norm of it.
  void add_mlp_and_experts(std::size_t i) {
    const LayerWeights& w = model_.weights.layers[i];
    const std::size_t hidden = model_.spec.hidden;
    project_mlp(i);
    {
      const RegionTimer timer = timed(Region::mlp_out);
      outputs_.clear();
      append_outputs(outputs_, w.down, {branch_.data(), rows_, hidden});
      workspace_->project(
          rows_, model_.spec.layers[i].ffn_dim, [&](std::size_t r, float* out) { mlp_middle(i, r, out); }, outputs_);
    }
    const RegionTimer timer = timed(Region::experts);
    std::memset(mixture_.data(), 0, rows_ * hidden * sizeof(float));
    moe_.run(
        *workspace_, w.moe, rows_, [&](std::size_t r, float* out) { normalize(w.experts_norm, h(r), hidden, out); },
        [&](std::size_t r, float* out) { normalize(w.moe.router_norm, h(r), hidden, out); }, mixture_.data(), hidden);
    workspace_->for_rows(rows_, [&](std::size_t r) {
      float* branch = branch_.data() + r * hidden;
      float* mixture = mixture_.data() + r * hidden;
      normalize(w.mlp_post_norm, branch, hidden, branch);
      normalize(w.experts_post_norm, mixture, hidden, mixture);
      kernels().add_scaled(mixture, 1.0f, hidden, branch);
      normalize(w.ffn_post_norm, branch, hidden, branch);
      kernels().add_scaled(branch, 1.0f, hidden, h(r));
    });
  }

  /// h += post_norm(W rows), the end of either half of a layer.
  template <class Row>
  void add_branch(const Linear& w, const Norm& post_norm, std::size_t k, Row&& row) {
    const std::size_t hidden = model_.spec.hidden;
    float* to = post_norm ? branch_.data() : h(0);
    Epilogue epilogue;
    if (!post_norm) {
      epilogue.residual = to;
      epilogue.residual_stride = hidden;
    }
    outputs_.clear();
    append_outputs(outputs_, w, {to, rows_, hidden}, epilogue);
    workspace_->project(rows_, k, row, outputs_);
    if (!post_norm) return;
    workspace_->for_rows(rows_, [&](std::size_t r) {
      float* branch = branch_.data() + r * hidden;
      normalize(post_norm, branch, hidden, branch);
      kernels().add_scaled(branch, 1.0f, hidden, h(r));
    });
  }

  void append_mlp(std::size_t i) {
    const LayerWeights& w = model_.weights.layers[i];
    const std::size_t ffn = model_.spec.layers[i].ffn_dim;
    Epilogue epilogue;
    if (!w.gate) epilogue.activation = model_.spec.activation;  // interleaved, or no gate at all
    epilogue.gated = static_cast<bool>(w.gate_up);
    if (w.gate) append_outputs(outputs_, w.gate, gate_rows(ffn));
    append_outputs(outputs_, w.gate_up ? w.gate_up : w.up, up_rows(ffn), epilogue);
  }

  void project_mlp(std::size_t i) {
    const RegionTimer timer = timed(Region::mlp_in);
    const LayerWeights& w = model_.weights.layers[i];
    outputs_.clear();
    append_mlp(i);
    workspace_->project(
        rows_, model_.spec.hidden,
        [&](std::size_t r, float* out) { normalize(w.ffn_norm, h(r), model_.spec.hidden, out); }, outputs_);
    if (model_.spec.layers[i].sparsity != 0.0f) cut_gate(i);
  }

  /// gate = max(gate - (mean + sparsity * deviation), 0) over each row.
  void cut_gate(std::size_t i) {
    const LayerSpec& l = model_.spec.layers[i];
    workspace_->for_rows(rows_, [&](std::size_t r) {
      float* gate = gate_rows(l.ffn_dim).row(r);
      double sum = 0, squares = 0;
      for (std::size_t j = 0; j < l.ffn_dim; ++j) sum += static_cast<double>(gate[j]);
      const double mean = sum / static_cast<double>(l.ffn_dim);
      for (std::size_t j = 0; j < l.ffn_dim; ++j)
        squares += (static_cast<double>(gate[j]) - mean) * (static_cast<double>(gate[j]) - mean);
      const float cut = static_cast<float>(mean + static_cast<double>(l.sparsity) *
                                                      std::sqrt(squares / static_cast<double>(l.ffn_dim)));
      for (std::size_t j = 0; j < l.ffn_dim; ++j) gate[j] = std::max(gate[j] - cut, 0.0f);
    });
  }

  /// What the MLP's down projection reads.
  void mlp_middle(std::size_t i, std::size_t r, float* out) {
    const std::size_t ffn = model_.spec.layers[i].ffn_dim;
    activate(i, r, out);
    normalize(model_.weights.layers[i].ffn_sub_norm, out, ffn, out);
    if (model_.spec.hadamard_mlp) hadamard(out, ffn);
  }

  /// The MLP's middle: already activated, unless gate and up were computed apart.
  void activate(std::size_t i, std::size_t r, float* out) {
    const std::size_t ffn = model_.spec.layers[i].ffn_dim;
    const float* up = up_rows(ffn).row(r);
    if (model_.weights.layers[i].gate) {
      kernels().gate(model_.spec.activation, gate_rows(ffn).row(r), up, ffn, out);
    } else {
      std::memcpy(out, up, ffn * sizeof(float));
    }
  }

  Status head(Logits wanted, float* logits) {
    const RegionTimer timer = timed(Region::head);
    const ModelSpec& spec = model_.spec;
    const std::size_t n = wanted == Logits::last ? 1 : rows_;
    outputs_.clear();
    const MatrixView<float> y{logits, n, spec.vocab};
    if (model_.weights.head) {
      append_outputs(outputs_, model_.weights.head, y);
    } else {
      append_output(outputs_, model_.weights.embedding.matrix(), y);
    }
    const std::size_t skip = rows_ - n;
    const auto row = [&](std::size_t r, float* out) {
      normalize(model_.weights.output_norm, h(skip + r), spec.hidden, out);
    };
    const bool few = n == 1 && largest_ != 0 && shortlist_.any();
    if (!few || !shortlist_.run(*workspace_, outputs_.front(), largest_, row))
      workspace_->project(n, spec.hidden, row, outputs_, true);
    std::atomic<bool> finite{true};
    const std::size_t threads = ops().n_threads();
    ops().executor().run([&](std::size_t t) {
      const Range part = split_range(n * spec.vocab, threads, t, 1024);
      if (part.empty()) return;
      if (spec.logit_cap != 0.0f) kernels().soft_cap(logits + part.begin, spec.logit_cap, part.size());
      if (!kernels().all_finite(logits + part.begin, part.size())) finite.store(false, std::memory_order_relaxed);
    });
    if (finite.load()) return {};
    return make_error(Errc::invalid_file, "the model computed values that are not finite", "logits", "finite numbers",
                      "NaN or Inf");
  }

  [[nodiscard]] RegionTimer timed(Region region) const { return {times_, region, workspace_->weight_bytes()}; }

  // --- small helpers -----------------------------------------------------------------------------------------------------

  [[nodiscard]] const KernelTable& kernels() const { return workspace_->kernels(); }
  [[nodiscard]] Sequence& sequence_of(const Attention::Place& place) {
    if (place.cache == &at_->cache) return *at_;
    return *std::ranges::find_if(sequences_, [&](const Sequence& s) { return &s.cache == place.cache; });
  }
  [[nodiscard]] float* h(std::size_t r) { return h_.data() + (first_row_ + r) * model_.spec.hidden; }
  [[nodiscard]] MatrixView<float> gate_rows(std::size_t ffn) {
    return {gate_.data() + first_row_ * max_ffn_, rows_, ffn, max_ffn_};
  }
  [[nodiscard]] MatrixView<float> up_rows(std::size_t ffn) {
    return {up_.data() + first_row_ * max_ffn_, rows_, ffn, max_ffn_};
  }

  /// out = norm(x); without a norm a copy, unless it is in place already.
  void normalize(const Norm& norm, const float* x, std::size_t n, float* out) const {
    if (!norm) {
      if (x != out) std::memcpy(out, x, n * sizeof(float));
    } else if (model_.spec.norm == NormKind::rms) {
      kernels().rms_norm(x, norm.weight.data(), n, model_.spec.norm_eps, out);
    } else {
      kernels().layer_norm(x, norm.weight.data(), norm.bias.empty() ? nullptr : norm.bias.data(), n,
                           model_.spec.norm_eps, out);
    }
  }

  const Model& model_;
  std::unique_ptr<Workspace> workspace_;
  RegionTimes* times_ = nullptr;
  std::vector<Sequence> sequences_;
  Sequence* at_ = nullptr;                // the selected one
  std::vector<Attention::Place> places_;  // of the rows of the batch under way
  std::vector<std::int32_t> step_tokens_;
  KvCache memory_cache_;                         // keys and values of an encoder's result, of each layer
  std::vector<Attention::Place> memory_places_;  // all rows, in it
  std::vector<LayerSpec> memory_layers_;         // layers as attention to it sees them: without windows
  Attention attention_;
  Moe moe_;
  DeltaNet delta_net_;
  Streams streams_;
  PerLayerInput per_layer_input_;
  Shortlist shortlist_;
  std::size_t largest_ = 0;              // logits that must be exact; 0: all
  std::vector<Array<float>> rope_rows_;  // of each rotary embedding (batch, 2, half): cos, then sin
  std::vector<MatmulOutput> outputs_;
  std::size_t max_batch_ = 0;
  std::size_t max_qkv_ = 0;
  std::size_t max_ffn_ = 0;
  std::size_t memory_rows_ = 0;
  std::size_t rows_ = 0;       // of the batch under way
  std::size_t first_row_ = 0;  // where its live rows begin
  Array<float> h_;             // (batch, hidden) residual stream
  Array<float> branch_;        // (batch, hidden)
  Array<float> mixture_;       // (batch, hidden), of experts beside an MLP
  Array<float> qkv_;           // (batch, max_qkv)
  Array<float> gate_, up_;     // (batch, max_ffn)
  Array<float> laurel_;        // (batch, hidden)
  Array<float> laurel_mid_;    // (batch, laurel_rank)
};

TRITIUM_NAMESPACE_END
