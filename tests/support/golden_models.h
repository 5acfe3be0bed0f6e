// SPDX-License-Identifier: Apache-2.0
// The tiny checkpoints of tests/data/golden (made by tests/golden/make_models.py) and how tests load and run a model.
//
// The loader knows every family and a decoder every layer: each file that calls them compiles all of that. Tests whose subject
// is something else call the functions of this header, which are compiled once (golden_models.cc).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/test_files.h"
#include "tritium/io/checkpoint.h"
#include "tritium/model/encoder_decoder.h"
#include "tritium/model/load_options.h"

/// The error of a failure, or a failed test.
template <class T>
tritium::Error error_of(const tritium::Result<T>& result) {
  if (result.ok()) FAIL("success where an error was expected");
  return result.error();
}

struct GoldenRow {
  std::string name;
  std::string folder;
  std::string kind;               ///< "decoder"
  std::string no_gguf;            ///< why there is no GGUF twin; empty: there is one
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> greedy;  ///< what follows the prompt
  std::vector<std::size_t> rows;  ///< positions of prompt + greedy whose logits are kept
  std::vector<float> logits;      ///< (rows, vocab)
  double tolerance = 0;           ///< of a logit, in standard deviations of its row
  std::size_t context = 0;

  [[nodiscard]] bool has_gguf() const { return no_gguf.empty(); }
  [[nodiscard]] std::string gguf() const { return folder + "/model.gguf"; }
  [[nodiscard]] std::size_t vocab() const { return logits.size() / rows.size(); }
  /// The prompt and all of the continuation that is fed back.
  [[nodiscard]] std::vector<std::int32_t> tokens() const {
    std::vector<std::int32_t> ids = prompt;
    ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
    return ids;
  }
  /// The files that hold the row's model: the folder, and the GGUF file where there is one.
  [[nodiscard]] std::vector<std::string> paths() const {
    return has_gguf() ? std::vector<std::string>{folder, gguf()} : std::vector<std::string>{folder};
  }
};

GoldenRow read_golden(const std::filesystem::path& folder);

/// Every row of the folder, by name.
const std::vector<GoldenRow>& golden_rows();
const GoldenRow& golden_row(std::string_view name);

/// Every value as the file has it, computed in f32; BitLinears with the int8 activations that are part of them.
inline tritium::LoadOptions exact_options() {
  tritium::LoadOptions options;
  options.weights = tritium::PackFormat::f32;
  options.head = tritium::PackFormat::f32;
  options.exact = true;
  return options;
}

/// Checkpoint::open, load_model and load_encoder_decoder, compiled once.
tritium::Result<tritium::Checkpoint> try_open(const std::string& path, const tritium::Checkpoint::Options& options = {});
tritium::Result<std::unique_ptr<tritium::Model>> try_load(const tritium::Checkpoint& checkpoint,
                                                          const tritium::LoadOptions& options = {},
                                                          const tritium::Executor& executor = {});
tritium::Result<tritium::EncoderDecoderModel> try_load_pair(const tritium::Checkpoint& checkpoint,
                                                            const tritium::LoadOptions& options = {},
                                                            const tritium::Executor& executor = {});

/// write_packed_cache, compiled once.
tritium::Status try_write_packed(const std::string& path, const tritium::Checkpoint& checkpoint,
                                 const tritium::LoadOptions& options, const tritium::PackedRecord& record);

/// The same for files that must load.
tritium::Checkpoint open_checkpoint(const std::string& path);
std::unique_ptr<tritium::Model> load_path(const std::string& path, const tritium::LoadOptions& options = {},
                                          const tritium::Executor& executor = {});

std::unique_ptr<tritium::Decoder> make_decoder(const tritium::Model& model, tritium::KvType kv, std::size_t max_batch = 512,
                                               const tritium::Executor& executor = {}, std::size_t context = 0);

/// Logits of all tokens, read from position 0 in batches of `chunk` (0: at once).
std::vector<float> all_logits(tritium::Decoder& decoder, std::span<const std::int32_t> tokens, std::size_t chunk = 0);

/// The largest difference of two rows in standard deviations of the second.
inline double row_error(const float* found, const float* expected, std::size_t n) {
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += expected[i];
  mean /= static_cast<double>(n);
  double variance = 0;
  double worst = 0;
  for (std::size_t i = 0; i < n; ++i) {
    variance += (expected[i] - mean) * (expected[i] - mean);
    const double error = std::fabs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    worst = error <= worst ? worst : error;  // keeps a NaN
  }
  return worst / std::sqrt(variance / static_cast<double>(n));
}

/// The root mean square of the differences of two runs' rows, each in standard deviations of the second's row.
inline double rms_error(const std::vector<float>& found, const std::vector<float>& expected, std::size_t n) {
  double sum = 0;
  for (std::size_t at = 0; at < expected.size(); at += n) {
    double mean = 0, variance = 0, error = 0;
    for (std::size_t i = at; i < at + n; ++i) mean += static_cast<double>(expected[i]) / static_cast<double>(n);
    for (std::size_t i = at; i < at + n; ++i) {
      const double centred = static_cast<double>(expected[i]) - mean;
      const double difference = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
      variance += centred * centred;
      error += difference * difference;
    }
    sum += error / variance;
  }
  return std::sqrt(sum / static_cast<double>(expected.size() / n));
}
/// The largest rms_error() that rounding keys and values to int8 may cause in a golden model.
inline constexpr double kInt8CacheError = 0.1;

inline std::size_t arg_max(const float* x, std::size_t n) { return static_cast<std::size_t>(std::max_element(x, x + n) - x); }

/// "" when two runs gave the same bits; else how many values differ, where the first is, and by how much at most.
inline std::string difference(const std::vector<float>& found, const std::vector<float>& expected) {
  if (found.size() != expected.size()) return std::to_string(found.size()) + " values instead of " + std::to_string(expected.size());
  std::size_t count = 0;
  std::size_t first = 0;
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(found[i]) == std::bit_cast<std::uint32_t>(expected[i])) continue;
    if (count++ == 0) first = i;
    worst = std::max(worst, std::fabs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
  }
  if (count == 0) return "";
  return std::to_string(count) + " of " + std::to_string(found.size()) + " differ, the first at " + std::to_string(first) + ", by up to " + std::to_string(worst);
}
