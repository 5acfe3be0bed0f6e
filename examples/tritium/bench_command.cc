// SPDX-License-Identifier: Apache-2.0
// bench: tokens a second of prefill and decode, on the path that run uses.
//
//   pp N   one prefill of N tokens into an empty cache, logits of the last one
//   tg N   from an empty cache, N times: sample (greedy), one token through the whole decoder
//   tg NxS the same for S texts at once: S x N tokens, S in each pass over the weights
//   tg N @ D the same behind D tokens, whose reading is not timed
//
// Every row is run once to warm up and then measured r times; times are of the monotonic clock. Bytes are the packed
// weights that the kernels read: once for each token of decode, once for each batch of prefill.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "json_writer.h"
#include "memory.h"
#include "signals.h"
#include "text_side.h"

namespace cli {

using tritium::Decoder;
using tritium::Errc;
using tritium::Result;
using tritium::Status;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Row {
  std::size_t n_prompt = 0;
  std::size_t n_gen = 0;
  std::size_t threads = 0;
  std::size_t sequences = 1;
  std::size_t depth = 0;
  std::vector<double> seconds;
  double bytes_per_token = 0;
  std::vector<tritium::RegionTime> regions;  // of one more run, as tritium::kRegionNames; then sampling, then the rest
  [[nodiscard]] std::size_t tokens() const { return n_prompt + n_gen * sequences; }
  [[nodiscard]] std::string test() const {
    if (n_gen == 0) return "pp" + std::to_string(n_prompt);
    return "tg" + std::to_string(n_gen) + (sequences == 1 ? "" : "x" + std::to_string(sequences)) +
           (depth == 0 ? "" : " @ d" + std::to_string(depth));
  }
  [[nodiscard]] std::vector<double> rates() const {
    std::vector<double> rates;
    for (const double s : seconds) rates.push_back(static_cast<double>(tokens()) / s);
    return rates;
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 != 0 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}
double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}
double deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0.0;
  const double m = mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - m) * (v - m);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

constexpr std::size_t kSampling = tritium::kRegions;
constexpr std::size_t kRest = kSampling + 1;
std::string_view region_name(std::size_t i) {
  return i == kSampling ? "sampling" : i == kRest ? "everything else" : tritium::kRegionNames[i];
}

class Bench {
 public:
  Bench(Engine& engine, Decoder& decoder, tritium::Sampler& sampler, std::span<float> logits, std::int32_t first)
      : engine_(engine), decoder_(decoder), sampler_(sampler), logits_(logits) {
    // Ids spread over the vocabulary: which ones they are changes nothing but the embedding's cache lines.
    const std::size_t vocab = engine.model().spec.vocab;
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < engine.context(); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      prompt_.push_back(static_cast<std::int32_t>((state >> 33) % vocab));
    }
    if (first != tritium::kNoToken) prompt_[0] = first;
  }

  /// An empty cache for a prefill; for a row of decoding one with `depth` tokens of each text.
  Status prepare(const Row& row) {
    start_over();
    for (std::size_t s = row.depth == 0 ? 0 : row.sequences; s-- > 0;) {
      decoder_.select(s);
      TRITIUM_TRY(prefill(row.depth, Decoder::Logits::none));
    }
    return {};
  }

  Status prefill(std::size_t n, Decoder::Logits wanted) {
    for (std::size_t at = 0; at < n;) {
      TRITIUM_TRY(stop_if_asked());
      const std::size_t batch = std::min(decoder_.max_batch(), n - at);
      TRITIUM_TRY(forward(decoder_, std::span(prompt_).subspan(at, batch),
                          at + batch == n ? wanted : Decoder::Logits::none, logits_.data()));
      at += batch;
    }
    return {};
  }

  Status decode(std::size_t n) {
    std::int32_t id = prompt_[0];
    for (std::size_t i = 0; i < n; ++i) {
      TRITIUM_TRY(stop_if_asked());
      TRITIUM_TRY(forward(decoder_, {&id, 1}, Decoder::Logits::last, logits_.data()));
      const double start = now();
      id = sampler_.sample(logits_.first(engine_.model().spec.vocab), {});
      sampling_seconds_ += now() - start;
    }
    return {};
  }

  /// n tokens of each of several texts, which begin differently.
  Status decode_together(std::size_t n, std::size_t sequences) {
    const std::size_t vocab = engine_.model().spec.vocab;
    std::vector<Decoder::Step> steps;
    for (std::size_t s = 0; s < sequences; ++s) steps.push_back({s, prompt_[s % prompt_.size()]});
    for (std::size_t i = 0; i < n; ++i) {
      TRITIUM_TRY(stop_if_asked());
      TRITIUM_TRY(decoder_.forward_each(steps, logits_.data()));
      const double start = now();
      for (std::size_t s = 0; s < sequences; ++s)
        steps[s].token = sampler_.sample(logits_.subspan(s * vocab, vocab), {});
      sampling_seconds_ += now() - start;
    }
    return {};
  }

  /// What is timed, after prepare().
  Status run(const Row& row) {
    if (row.n_gen == 0) return prefill(row.n_prompt, Decoder::Logits::last);
    return row.sequences == 1 ? decode(row.n_gen) : decode_together(row.n_gen, row.sequences);
  }

  /// One more run of a row, its time divided among the regions of the forward pass.
  Status measure_regions(Row& row) {
    TRITIUM_TRY(prepare(row));
    tritium::RegionTimes times;
    decoder_.measure_into(&times);
    sampling_seconds_ = 0;
    const double start = now();
    const Status status = run(row);
    const double seconds = now() - start;
    decoder_.measure_into(nullptr);
    row.regions.assign(times.of.begin(), times.of.end());
    row.regions.push_back({sampling_seconds_, 0});
    row.regions.push_back({std::max(0.0, seconds - times.seconds() - sampling_seconds_), 0});
    return status;
  }

 private:
  void start_over() {
    for (std::size_t s = decoder_.n_sequences(); s-- > 0;) {
      decoder_.select(s);
      (void)decoder_.rewind(0);
    }
  }
  Status stop_if_asked() const {
    if (interrupted()) return tritium::Error{Errc::cancelled, "interrupted"};
    return engine_.check_unchanged();
  }

  Engine& engine_;
  Decoder& decoder_;
  tritium::Sampler& sampler_;
  std::span<float> logits_;
  std::vector<std::int32_t> prompt_;
  double sampling_seconds_ = 0;
};

/// Formats of the matrices with the bytes that each takes, the largest first.
std::vector<std::pair<std::string, std::size_t>> formats_in_use(const tritium::Model& model) {
  std::vector<std::pair<std::string, std::size_t>> formats;
  model.weights.visit([&](const tritium::PackedMatrix& matrix) {
    const std::string name(matrix.format_info().name);
    auto at = std::find_if(formats.begin(), formats.end(), [&](const auto& f) { return f.first == name; });
    if (at == formats.end()) at = formats.insert(at, {name, 0});
    at->second += matrix.bytes();
  });
  std::sort(formats.begin(), formats.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return formats;
}

void write_row(JsonWriter& json, const Row& row) {
  const std::vector<double> rates = row.rates();
  const auto nanoseconds = [](double s) { return static_cast<std::uint64_t>(s * 1e9); };
  json.begin_object().member("test", row.test()).member("n_prompt", row.n_prompt).member("n_gen", row.n_gen);
  json.member("sequences", row.sequences).member("n_depth", row.depth);
  json.member("runs", rates.size()).key("tokens_per_s").begin_object().rounded("median", median(rates), 6);
  json.rounded("min", *std::min_element(rates.begin(), rates.end()), 6);
  json.rounded("max", *std::max_element(rates.begin(), rates.end()), 6).end_object();
  json.rounded("bytes_per_token", row.bytes_per_token, 10);
  json.rounded("gb_per_s", row.bytes_per_token * median(rates) / 1e9, 6);
  json.rounded("ms", median(row.seconds) * 1e3, 6);  // pp: the time to the first token
  json.member("n_threads", row.threads).rounded("avg_ts", mean(rates), 6).rounded("stddev_ts", deviation(rates), 6);
  json.member("avg_ns", nanoseconds(mean(row.seconds))).member("stddev_ns", nanoseconds(deviation(row.seconds)));
  json.key("samples_ns").begin_array();
  for (const double s : row.seconds) json.value(nanoseconds(s));
  json.end_array().key("samples_ts").begin_array();
  for (const double rate : rates) json.rounded(rate, 6);
  json.end_array();
  if (!row.regions.empty()) json.key("regions").begin_array();
  for (std::size_t i = 0; i < row.regions.size(); ++i) {
    const auto tokens = static_cast<double>(row.tokens());
    json.begin_object()
        .member("region", region_name(i))
        .rounded("ms_per_token", row.regions[i].seconds * 1e3 / tokens, 6);
    json.rounded("bytes_per_token", static_cast<double>(row.regions[i].weight_bytes) / tokens, 10).end_object();
  }
  if (!row.regions.empty()) json.end_array();
  json.end_object();
}

/// Where the time of one run went.
void write_regions(const Row& row) {
  if (row.regions.empty()) return;
  const auto tokens = static_cast<double>(row.tokens());
  double total = 0;
  for (const tritium::RegionTime& region : row.regions) total += region.seconds;
  out().line("");
  out().line(left(row.test() + ", " + std::to_string(row.threads) + (row.threads == 1 ? " thread" : " threads"), 20) +
             right("us/token", 10) + right("share", 8) + right("MB/token", 11) + right("GB/s", 8));
  for (std::size_t i = 0; i < row.regions.size(); ++i) {
    const tritium::RegionTime& region = row.regions[i];
    if (region.seconds == 0) continue;
    const auto bytes = static_cast<double>(region.weight_bytes);
    out().line(left(std::string(region_name(i)), 20) + right(fixed(region.seconds * 1e6 / tokens, 2), 10) +
               right(fixed(100 * region.seconds / total, 1) + " %", 8) +
               right(bytes == 0 ? "-" : fixed(bytes / tokens / 1e6, 2), 11) +
               right(bytes == 0 ? "-" : fixed(bytes / region.seconds / 1e9, 2), 8));
  }
}

/// The id that texts begin with, so that what is decoded is a text: a shortlist gains nothing on noise. kNoToken: none.
std::int32_t first_token(const Engine& engine) {
  const auto tokenizer = open_tokenizer(engine.checkpoint());
  if (!tokenizer.ok()) return tritium::kNoToken;
  const std::int32_t bos = tokenizer->bos();
  return bos >= 0 && static_cast<std::size_t>(bos) < engine.model().spec.vocab ? bos : tritium::kNoToken;
}

Result<std::vector<Row>> measure(const BenchOptions& options, Engine& engine, std::size_t threads,
                                 std::int32_t first) {
  TRITIUM_TRY(engine.set_threads(threads));
  TRITIUM_ASSIGN(const std::unique_ptr<Decoder> decoder, engine.decoder());
  const std::size_t vocab = engine.model().spec.vocab;
  const std::size_t most = decoder->n_sequences();
  TRITIUM_ASSIGN(tritium::Array<float> logits, tritium::Array<float>::allocate(most * vocab));
  tritium::SamplerOptions greedy;
  greedy.greedy = true;
  TRITIUM_ASSIGN(tritium::Sampler sampler, tritium::Sampler::create(greedy, decoder->ops().kernels(), vocab));
  Bench bench(engine, *decoder, sampler, {logits.data(), most * vocab}, first);
  decoder->only_largest(sampler.decisive());

  std::vector<Row> rows;
  for (const std::size_t n : options.prompts) {
    if (n != 0) rows.push_back({n, 0, threads, 1, 0, {}, 0, {}});
  }
  for (const std::size_t n : options.generated) {
    if (n == 0) continue;
    for (const std::size_t depth : options.depths) {
      for (const std::size_t s : options.sequences) rows.push_back({0, n, threads, s, depth, {}, 0, {}});
    }
  }
  const auto weight_bytes = static_cast<double>(engine.model().weights.bytes_per_token());
  for (Row& row : rows) {
    Progress progress(row.test());
    for (std::size_t r = 0; r <= options.runs; ++r) {
      TRITIUM_TRY(bench.prepare(row));
      const double start = now();
      TRITIUM_TRY(bench.run(row));
      if (r != 0) row.seconds.push_back(now() - start);  // the first one warms up
      progress.update(r, options.runs);
    }
    if (options.regions) TRITIUM_TRY(bench.measure_regions(row));
    const double batches =
        row.n_gen != 0 ? static_cast<double>(row.n_gen)
                       : std::ceil(static_cast<double>(row.n_prompt) / static_cast<double>(decoder->max_batch()));
    row.bytes_per_token = weight_bytes * batches / static_cast<double>(row.tokens());
  }
  return rows;
}

}  // namespace

Result<int> bench(const BenchOptions& options) {
  std::size_t longest = 0;
  for (const std::size_t n : options.prompts) longest = std::max(longest, n);
  for (const std::size_t n : options.generated) {
    for (const std::size_t depth : options.depths) longest = std::max(longest, n == 0 ? 0 : n + depth);
  }
  if (longest == 0) wrong_usage("tritium bench", "a number of tokens with -p or -n", "none");
  Engine::Needs needs;
  needs.tokenizer = false;
  needs.sequences = needs.logit_rows = *std::max_element(options.sequences.begin(), options.sequences.end());
  needs.context = [&](std::size_t) { return longest; };
  TRITIUM_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(options.model, options.common, needs));
  TRITIUM_TRY(engine->check_fits(longest));
  const CatchInterrupts catching;
  TRITIUM_ASSIGN(const tritium::IsaChoice isa, tritium::active_isa());
  const std::vector<std::size_t> threads =
      options.threads.empty() ? std::vector<std::size_t>{engine->threads()} : options.threads;
  const std::int32_t first = first_token(*engine);
  std::vector<Row> rows;
  for (const std::size_t n : threads) {
    TRITIUM_ASSIGN(std::vector<Row> measured, measure(options, *engine, n, first));
    rows.insert(rows.end(), measured.begin(), measured.end());
  }
  const std::string_view tier = tritium::info(isa.tier).name;
  const std::string_view kv = tritium::kv_type_name(engine->kv());
  const auto formats = formats_in_use(engine->model());
  if (options.json) {
    JsonWriter json;
    json.begin_object().member("model", options.model).member("file_bytes", engine->checkpoint().file_bytes());
    json.member("isa", tier).member("threads", threads.front()).key("results").begin_array();
    for (const Row& row : rows) write_row(json, row);
    json.end_array().member("weight_bytes_per_token", engine->model().weights.bytes_per_token());
    json.key("kernels").begin_object();
    for (const auto& [name, bytes] : formats) json.member(name, bytes);
    json.end_object().member("type_k", kv).member("type_v", kv).member("kv_bytes", engine->kv_bytes());
    json.member("peak_rss_bytes", peak_resident_bytes()).member("version", TRITIUM_VERSION).end_object();
    out().line(json.text());
    return kDone;
  }
  std::string names;
  for (const auto& [name, bytes] : formats) {
    names.append(names.empty() ? "" : ", ").append(name).append(" ").append(human_bytes(bytes));
  }
  out().line("model    " + one_line(options.model) + ", " + human_bytes(engine->checkpoint().file_bytes()));
  out().line("kernels  " + std::string(tier) + ": " + names);
  out().line("KV cache " + std::string(kv) + ", " + human_bytes(engine->kv_bytes()));
  out().line("");
  out().line(left("test", 10) + right("threads", 8) + right("median t/s", 12) + right("min", 10) + right("max", 10) +
             right("MB/token", 11) + right("GB/s", 8) + right("ms", 10));
  for (const Row& row : rows) {
    const std::vector<double> rates = row.rates();
    out().line(left(row.test(), 10) + right(std::to_string(row.threads), 8) + right(fixed(median(rates), 2), 12) +
               right(fixed(*std::min_element(rates.begin(), rates.end()), 2), 10) +
               right(fixed(*std::max_element(rates.begin(), rates.end()), 2), 10) +
               right(fixed(row.bytes_per_token / 1e6, 2), 11) +
               right(fixed(row.bytes_per_token * median(rates) / 1e9, 2), 8) +
               right(fixed(median(row.seconds) * 1e3, 2), 10));
  }
  for (const Row& row : rows) write_regions(row);
  out().line("\npeak resident set " + human_bytes(peak_resident_bytes()) + "; tg includes greedy sampling");
  return kDone;
}

}  // namespace cli
