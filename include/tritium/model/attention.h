// SPDX-License-Identifier: Apache-2.0
// Causal attention of a batch of rows against the caches of their sequences, shared by threads.
//
// A few rows, or rows of several sequences: tasks are (sequence, KV head, segment of keys); partial results are kept for
// each and merged by whoever reads them. Many rows of one sequence: tasks are (KV head, block of rows), each walking its
// segments in order. Both merge the same segments in the same order, so a row's output does not depend on how it was
// batched or on the number of threads.
#pragma once

#include <atomic>
#include <vector>

#include "tritium/model/kv_cache.h"
#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

/// out = softmax(scale q k^T) v, causal, of a batch of rows. Buffers for one decoder; one batch at a time.
class Attention {
 public:
  /// Where a row stands.
  struct Place {
    KvCache* cache = nullptr;  ///< of the row's sequence
    std::size_t position = 0;  ///< of the row in its sequence
  };
  /// What one call attends with. Rows of one cache follow each other, at consecutive positions.
  struct Batch {
    const LayerSpec* layer = nullptr;  ///< heads and window
    std::size_t cache_layer = 0;       ///< whose keys and values are read: usually the layer's own
    std::span<const Place> places;     ///< of each row
    const float* q = nullptr;          ///< (rows, n_heads * head_dim), rows q_stride apart
    std::size_t q_stride = 0;          ///< floats from one row of q to the next
    float scale = 1.0f;                ///< multiplies q k^T
    float soft_cap = 0.0f;             ///< scores become cap * tanh(score / cap); 0: not
    std::size_t n_keys = 0;          ///< > 0: every query sees keys [0, n_keys), a window away on both sides; 0: causal
    bool interleaved_heads = false;  ///< query head h reads KV head h mod n_kv_heads
  };

  /// `max_sequences`: caches in one batch.
  static Result<Attention> create(const ModelSpec& spec, std::size_t n_threads, std::size_t max_batch,
                                  std::size_t max_sequences = 1) {
    return no_throw([&]() -> Result<Attention> {
      Attention a;
      for (const LayerSpec& l : spec.layers) {
        a.max_stride_ = std::max(a.max_stride_, round_up(l.head_dim, kPanelRows));
        a.max_heads_ = std::max(a.max_heads_, l.n_heads);
      }
      a.max_rows_ = max_batch;
      a.few_rows_ = std::min(max_batch, std::max(kFewRows, max_sequences));
      a.scratch_floats_ = 2 * kBlockQueries * (a.max_stride_ + 2 + kLineBytes / sizeof(float));
      TRITIUM_ASSIGN(a.scratch_, Array<float>::allocate(n_threads * a.scratch_floats_));
      a.queries_.resize(n_threads * std::max(kBlockQueries, kFewRows * a.max_heads_));
      TRITIUM_TRY(a.reserve_segments(8));
      return a;
    });
  }

  /// Makes room for contexts of `positions`; grows by doubling, so a token rarely allocates. Errors: out_of_memory.
  Status reserve(std::size_t positions) {
    const std::size_t segments = div_up(positions, kAttentionSegment);
    if (segments <= max_segments_) return {};
    return reserve_segments(std::max(segments, 2 * max_segments_));
  }

  /// Attends with every row of the batch; results are then read with row().
  void run(Workspace& workspace, const Batch& batch) {
    batch_ = batch;
    stride_ = batch.places.front().cache->value_stride(batch.cache_layer);
    few_ = batch.places.size() <= kFewRows || batch.places.front().cache != batch.places.back().cache;
    if (few_) {
      run_few(workspace);
    } else {
      run_many(workspace);
    }
  }

  /// Writes the result of row r: n_heads * head_dim floats. Pure: any thread may ask for any row.
  void row(const KernelTable& kernels, std::size_t r, float* out) const {
    const LayerSpec& l = *batch_.layer;
    for (std::size_t h = 0; h < l.n_heads; ++h) {
      float* to = out + h * l.head_dim;
      if (!few_) {
        std::memcpy(to, many_.data() + (r * l.n_heads + h) * stride_, l.head_dim * sizeof(float));
        continue;
      }
      const Range live = segments_of(position(r));
      const std::size_t first = partial_index(r, h, 0);
      float max = partial_max_[first];
      float sum = partial_sum_[first];
      std::memcpy(to, partial_out_.data() + first * stride_, l.head_dim * sizeof(float));
      for (std::size_t s = live.begin + 1; s < live.end; ++s) {
        const std::size_t i = partial_index(r, h, s - live.begin);
        kernels.attention_merge(&max, &sum, to, partial_max_[i], partial_sum_[i], partial_out_.data() + i * stride_,
                                l.head_dim);
      }
      kernels.scale(to, 1.0f / sum, l.head_dim);
    }
  }

 private:
  static constexpr std::size_t kFewRows = 8;
  static constexpr std::size_t kBlockQueries = 48;

  Status reserve_segments(std::size_t segments) {
    const std::size_t few = few_rows_ * max_heads_ * segments;
    TRITIUM_ASSIGN(partial_out_, Array<float>::allocate(few * max_stride_));
    TRITIUM_ASSIGN(partial_max_, Array<float>::allocate(few));
    TRITIUM_ASSIGN(partial_sum_, Array<float>::allocate(few));
    if (many_.empty() && max_rows_ > kFewRows) {
      TRITIUM_ASSIGN(many_, Array<float>::allocate(max_rows_ * max_heads_ * max_stride_));
    }
    max_segments_ = segments;
    return {};
  }

  [[nodiscard]] std::size_t position(std::size_t row) const { return batch_.places[row].position; }
  [[nodiscard]] std::size_t first_key(std::size_t position) const {
    const std::size_t window = batch_.layer->window;
    const std::size_t itself =
        batch_.n_keys == 0 ? 1 : 0;  // a causal window counts the query, one to both sides does not
    return window == 0 || position + itself <= window ? 0 : position + itself - window;
  }
  /// One past the last key of a query.
  [[nodiscard]] std::size_t last_key(std::size_t position) const {
    if (batch_.n_keys == 0) return position + 1;
    const std::size_t window = batch_.layer->window;
    return window == 0 ? batch_.n_keys : std::min(batch_.n_keys, position + window + 1);
  }
  /// Query head g of those that read a KV head.
  [[nodiscard]] std::size_t query_head(std::size_t kv_head, std::size_t g) const {
    const LayerSpec& l = *batch_.layer;
    return batch_.interleaved_heads ? g * l.n_kv_heads + kv_head : kv_head * (l.n_heads / l.n_kv_heads) + g;
  }
  /// Segments with live keys for a query at `position`.
  [[nodiscard]] Range segments_of(std::size_t position) const {
    return {first_key(position) / kAttentionSegment, (last_key(position) - 1) / kAttentionSegment + 1};
  }
  [[nodiscard]] std::size_t partial_index(std::size_t row, std::size_t head, std::size_t segment) const {
    return (row * batch_.layer->n_heads + head) * max_segments_ + segment;
  }
  [[nodiscard]] AttentionQuery query(std::size_t row, std::size_t head) const {
    AttentionQuery q;
    q.q = batch_.q + row * batch_.q_stride + head * batch_.layer->head_dim;
    q.first_key = first_key(position(row));
    q.last_key = last_key(position(row));
    return q;
  }
  void run_segment(Workspace& workspace, std::size_t row, std::size_t kv_head, std::size_t segment,
                   const AttentionQuery* queries, std::size_t n_queries) const {
    AttentionArgs args;
    batch_.places[row].cache->segment(batch_.cache_layer, kv_head, segment * kAttentionSegment, args);
    args.queries = queries;
    args.n_queries = n_queries;
    args.scale = batch_.scale;
    args.soft_cap = batch_.soft_cap;
    args.bf16_dot = has_bf16_dot();
    workspace.kernels().attention(args);
  }

  /// Segments that some row of [first, last), all of one cache, attends to.
  [[nodiscard]] Range segments_of_rows(std::size_t first, std::size_t last) const {
    return {segments_of(position(first)).begin, segments_of(position(last - 1)).end};
  }
  /// One past the last of the rows from `first` on that share its cache, at most kFewRows of them.
  [[nodiscard]] std::size_t end_of_group(std::size_t first) const {
    std::size_t end = first + 1;
    while (end < batch_.places.size() && end - first < kFewRows &&
           batch_.places[end].cache == batch_.places[first].cache)
      ++end;
    return end;
  }

  void run_few(Workspace& workspace) {
    const LayerSpec& l = *batch_.layer;
    const std::size_t group = l.n_heads / l.n_kv_heads;
    std::atomic<std::size_t> next{0};
    workspace.context().executor().run([&](std::size_t t) {
      AttentionQuery* queries = queries_.data() + t * std::max(kBlockQueries, kFewRows * max_heads_);
      std::size_t passed = 0;  // tasks of the groups before
      std::size_t task = next.fetch_add(1, std::memory_order_relaxed);
      for (std::size_t first = 0, last = 0; first < batch_.places.size(); first = last) {
        last = end_of_group(first);
        const Range segments = segments_of_rows(first, last);
        const std::size_t n_tasks = l.n_kv_heads * segments.size();
        for (; task < passed + n_tasks; task = next.fetch_add(1, std::memory_order_relaxed)) {
          const std::size_t kv_head = (task - passed) % l.n_kv_heads;
          const std::size_t segment = segments.begin + (task - passed) / l.n_kv_heads;
          std::size_t n = 0;
          for (std::size_t r = first; r < last; ++r) {
            const Range live = segments_of(position(r));
            if (segment < live.begin || segment >= live.end) continue;
            for (std::size_t g = 0; g < group; ++g) {
              const std::size_t head = query_head(kv_head, g);
              const std::size_t i = partial_index(r, head, segment - live.begin);
              AttentionQuery q = query(r, head);
              q.out = partial_out_.data() + i * stride_;
              q.max = &partial_max_[i];
              q.sum = &partial_sum_[i];
              queries[n++] = q;
            }
          }
          run_segment(workspace, first, kv_head, segment, queries, n);
        }
        passed += n_tasks;
      }
    });
  }

  void run_many(Workspace& workspace) {
    const LayerSpec& l = *batch_.layer;
    const KernelTable& kernels = workspace.kernels();
    const std::size_t group = l.n_heads / l.n_kv_heads;
    const std::size_t block_heads = std::min(group, kBlockQueries);
    const std::size_t block_rows = kBlockQueries / block_heads;
    const std::size_t head_blocks = div_up(group, block_heads);
    const std::size_t row_blocks = div_up(batch_.places.size(), block_rows);
    const std::size_t n_tasks = l.n_kv_heads * head_blocks * row_blocks;
    std::atomic<std::size_t> next{0};
    workspace.context().executor().run([&](std::size_t t) {
      AttentionQuery* queries = queries_.data() + t * std::max(kBlockQueries, kFewRows * max_heads_);
      float* out = scratch_.data() + t * scratch_floats_;
      float* maxima = out + kBlockQueries * max_stride_;
      float* sums = maxima + kBlockQueries;
      for (;;) {
        const std::size_t task = next.fetch_add(1, std::memory_order_relaxed);
        if (task >= n_tasks) return;
        // The last rows see the most keys: they go first, so that no thread ends alone with a long task.
        const std::size_t row_block = row_blocks - 1 - task / (l.n_kv_heads * head_blocks);
        const std::size_t kv_head = task % l.n_kv_heads;
        const std::size_t head_block = task / l.n_kv_heads % head_blocks;
        const std::size_t first_row = row_block * block_rows;
        const std::size_t last_row = std::min(first_row + block_rows, batch_.places.size());
        const std::size_t first_head = head_block * block_heads;  // of those that read kv_head
        const std::size_t n_heads = std::min(block_heads, group - head_block * block_heads);
        const auto result = [&](std::size_t r, std::size_t g) {
          return many_.data() + (r * l.n_heads + query_head(kv_head, g)) * stride_;
        };
        float running_max[kBlockQueries];
        float running_sum[kBlockQueries];
        const Range all = segments_of_rows(first_row, last_row);
        for (std::size_t s = all.begin; s < all.end; ++s) {
          std::size_t n = 0;
          std::size_t slot[kBlockQueries];
          for (std::size_t r = first_row; r < last_row; ++r) {
            const Range live = segments_of(position(r));
            if (s < live.begin || s >= live.end) continue;
            for (std::size_t h = 0; h < n_heads; ++h) {
              AttentionQuery q = query(r, query_head(kv_head, first_head + h));
              slot[n] = (r - first_row) * n_heads + h;
              const bool is_first = s == live.begin;  // with nothing before it to be merged with
              q.out = is_first ? result(r, first_head + h) : out + n * stride_;
              q.max = is_first ? &running_max[slot[n]] : maxima + n;
              q.sum = is_first ? &running_sum[slot[n]] : sums + n;
              queries[n++] = q;
            }
          }
          run_segment(workspace, first_row, kv_head, s, queries, n);
          for (std::size_t i = 0; i < n; ++i) {
            float* to = result(first_row + slot[i] / n_heads, first_head + slot[i] % n_heads);
            if (queries[i].out == to) continue;
            kernels.attention_merge(&running_max[slot[i]], &running_sum[slot[i]], to, maxima[i], sums[i],
                                    out + i * stride_, l.head_dim);
          }
        }
        for (std::size_t i = 0; i < (last_row - first_row) * n_heads; ++i) {
          kernels.scale(result(first_row + i / n_heads, first_head + i % n_heads), 1.0f / running_sum[i], l.head_dim);
        }
      }
    });
  }

  Batch batch_;
  std::size_t stride_ = 0;  // floats from one head's result to the next
  std::size_t max_stride_ = 0;
  std::size_t max_heads_ = 0;
  std::size_t max_rows_ = 0;
  std::size_t few_rows_ = 0;  // rows whose partial results fit
  bool few_ = false;
  std::size_t max_segments_ = 0;
  std::size_t scratch_floats_ = 0;
  Array<float> partial_out_, partial_max_, partial_sum_;  // few rows: (row, head, segment)
  Array<float> many_;                                     // many rows: (row, head, stride)
  Array<float> scratch_;                                  // of each thread
  std::vector<AttentionQuery> queries_;                   // of each thread
};

TRITIUM_NAMESPACE_END
