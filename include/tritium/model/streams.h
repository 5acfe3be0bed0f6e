// SPDX-License-Identifier: Apache-2.0
// Streams: AltUp, several residual streams of which a layer computes one and predicts and corrects the others.
//
//   begin     x_0 = e,  x_a = P_a e at the magnitude of e
//   predict   x_a += sum_b c[a][b] x_b,  c = (W_p m)[a * A + b],  m = tanh(W_r RMS(x_0) / hidden);  the layer works on x_0
//   correct   x_a += k_a (y - x_0),  k = W_c m' + 1,  m' of the layer's result y
//   end       h = mean of x_0 and U_a x_a at the magnitude of x_0
// A magnitude is the root of the mean square. Every row is computed alone: batches do not change its bits.
// Source: transformers modeling_gemma3n.py; Baykal et al. 2023 (alternating updates).
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "tritium/model/workspace.h"

TRITIUM_NAMESPACE_BEGIN

/// The residual streams of a decoder's batch. With one stream it is empty.
class Streams {
 public:
  /// Errors: out_of_memory.
  static Result<Streams> create(const ModelSpec& spec, std::size_t max_batch) {
    return no_throw([&]() -> Result<Streams> {
      Streams s;
      s.spec_ = &spec;
      s.max_batch_ = max_batch;
      if (spec.n_streams <= 1) return s;
      TRITIUM_ASSIGN(s.x_, Array<float>::allocate(spec.n_streams * max_batch * spec.hidden));
      TRITIUM_ASSIGN(s.y_, Array<float>::allocate(spec.n_streams * max_batch * spec.hidden));
      TRITIUM_ASSIGN(s.modalities_, Array<float>::allocate(max_batch * spec.n_streams));
      return s;
    });
  }

  [[nodiscard]] bool any() const { return !x_.empty(); }  ///< Whether the model has more than one stream.
  /// Stream a of row r of the batch.
  [[nodiscard]] float* row(std::size_t a, std::size_t r) { return x_.data() + (a * max_batch_ + r) * spec_->hidden; }

  /// The streams of m embedded tokens, rows of `h`.
  void begin(Workspace& workspace, const Weights& w, const float* h, std::size_t m) {
    const std::size_t n = spec_->hidden;
    outputs_.clear();
    for (std::size_t a = 1; a < spec_->n_streams; ++a)
      append_outputs(outputs_, w.stream_project[a - 1], {row(a, 0), m, n});
    workspace.project(
        m, n, [&](std::size_t r, float* out) { std::memcpy(out, h + r * n, n * sizeof(float)); }, outputs_);
    workspace.for_rows(m, [&](std::size_t r) {
      std::memcpy(row(0, r), h + r * n, n * sizeof(float));
      for (std::size_t a = 1; a < spec_->n_streams; ++a) to_magnitude(workspace.kernels(), row(a, r), row(0, r));
    });
  }

  /// Predicts all streams of rows [first, first + m); the active one into h.
  void predict(Workspace& workspace, const AltUpWeights& w, float* h, std::size_t first, std::size_t m) {
    const std::size_t n = spec_->hidden;
    const std::size_t streams = spec_->n_streams;
    route(workspace, w, m, [&](std::size_t r) { return row(0, first + r); });
    workspace.for_rows(m, [&](std::size_t r) {
      const float* modality = modalities_.data() + r * streams;
      for (std::size_t a = 0; a < streams; ++a) {
        float* to = y_.data() + (a * max_batch_ + first + r) * n;
        std::memcpy(to, row(a, first + r), n * sizeof(float));
        for (std::size_t b = 0; b < streams; ++b) {
          float c = 0;
          for (std::size_t j = 0; j < streams; ++j) c += w.predict[(a * streams + b) * streams + j] * modality[j];
          workspace.kernels().add_scaled(row(b, first + r), c, n, to);
        }
      }
      std::memcpy(h + (first + r) * n, y_.data() + (first + r) * n, n * sizeof(float));
    });
    std::swap(x_, y_);
  }

  /// Corrects all streams by what the layer made of the active one, rows of `h`.
  void correct(Workspace& workspace, const AltUpWeights& w, const float* h, std::size_t first, std::size_t m) {
    const std::size_t n = spec_->hidden;
    const std::size_t streams = spec_->n_streams;
    route(workspace, w, m, [&](std::size_t r) { return h + (first + r) * n; });
    workspace.for_rows(m, [&](std::size_t r) {
      const float* modality = modalities_.data() + r * streams;
      float* innovation = y_.data() + (first + r) * n;
      std::memcpy(innovation, h + (first + r) * n, n * sizeof(float));
      workspace.kernels().add_scaled(row(0, first + r), -1.0f, n, innovation);
      for (std::size_t a = 0; a < streams; ++a) {
        float k = 1.0f;
        for (std::size_t j = 0; j < streams; ++j) k += w.correct[a * streams + j] * modality[j];
        workspace.kernels().add_scaled(innovation, k, n, row(a, first + r));
      }
    });
  }

  /// One row again, into h.
  void end(Workspace& workspace, const Weights& w, float* h, std::size_t first, std::size_t m) {
    const std::size_t n = spec_->hidden;
    for (std::size_t a = 1; a < spec_->n_streams; ++a) {
      outputs_.clear();
      append_outputs(outputs_, w.stream_unproject[a - 1], {y_.data() + (a * max_batch_ + first) * n, m, n});
      workspace.project(
          m, n, [&](std::size_t r, float* out) { std::memcpy(out, row(a, first + r), n * sizeof(float)); }, outputs_);
    }
    workspace.for_rows(m, [&](std::size_t r) {
      float* to = h + (first + r) * n;
      std::memcpy(to, row(0, first + r), n * sizeof(float));
      for (std::size_t a = 1; a < spec_->n_streams; ++a) {
        float* stream = y_.data() + (a * max_batch_ + first + r) * n;
        to_magnitude(workspace.kernels(), stream, row(0, first + r));
        workspace.kernels().add_scaled(stream, 1.0f, n, to);
      }
      workspace.kernels().scale(to, 1.0f / static_cast<float>(spec_->n_streams), n);
    });
  }

 private:
  [[nodiscard]] double mean_square(const float* x) const {
    double sum = 0;
    for (std::size_t i = 0; i < spec_->hidden; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum / static_cast<double>(spec_->hidden);
  }
  void to_magnitude(const KernelTable& kernels, float* x, const float* like) const {
    kernels.scale(x, static_cast<float>(std::sqrt(mean_square(like) / std::max(mean_square(x), 1e-5))), spec_->hidden);
  }

  /// modalities_ of m rows.
  template <class Source>
  void route(Workspace& workspace, const AltUpWeights& w, std::size_t m, Source&& source) {
    const std::size_t n = spec_->hidden;
    outputs_.clear();
    append_outputs(outputs_, w.router, {modalities_.data(), m, spec_->n_streams});
    workspace.project(
        m, n,
        [&](std::size_t r, float* out) {
          workspace.kernels().rms_norm(source(r), w.router_norm.weight.data(), n, spec_->norm_eps, out);
          workspace.kernels().scale(out, 1.0f / static_cast<float>(n), n);
        },
        outputs_, true);
    for (std::size_t i = 0; i < m * spec_->n_streams; ++i) modalities_[i] = std::tanh(modalities_[i]);
  }

  const ModelSpec* spec_ = nullptr;
  std::size_t max_batch_ = 0;
  Array<float> x_, y_;       // (stream, batch, hidden): the streams, and where the next ones are built
  Array<float> modalities_;  // (batch, stream)
  std::vector<MatmulOutput> outputs_;
};

TRITIUM_NAMESPACE_END
