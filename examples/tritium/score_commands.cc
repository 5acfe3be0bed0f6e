// SPDX-License-Identifier: Apache-2.0
// logits and perplexity: what the model thinks of tokens that are given.
#include <sys/stat.h>

#include "commands.h"
#include "console.h"
#include "encoder_decoder.h"
#include "engine.h"
#include "json_writer.h"
#include "loading.h"
#include "model_folder.h"
#include "numbers.h"
#include "signals.h"
#include "text_side.h"
#include "tritium/generate/perplexity.h"
#include "tritium/io/npy.h"

namespace cli {

using tritium::Checkpoint;
using tritium::Decoder;
using tritium::Errc;
using tritium::NpyFile;
using tritium::NpyWriter;
using tritium::Result;
using tritium::Status;

namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{512} << 20;
constexpr std::size_t kDefaultWindow = 512;

Status stop_if_interrupted() {
  if (interrupted()) return tritium::Error{Errc::cancelled, "interrupted"};
  return {};
}

/// Computes the rows that were asked for and writes them; `source` is looked after while it is mapped.
Result<int> write_logits(const LogitsOptions& options, Decoder& decoder, std::span<const std::int32_t> tokens,
                         const Checkpoint& source) {
  const std::size_t vocab = decoder.model().spec.vocab;
  const bool one_by_one = options.decode;
  const bool all_rows = !options.last;
  const std::size_t at_once = one_by_one ? 1
                              : all_rows ? std::min(tritium::scored_rows_at_once(vocab), decoder.max_batch())
                                         : decoder.max_batch();
  const std::size_t n_rows = all_rows ? tokens.size() : 1;
  TRITIUM_ASSIGN(tritium::Array<float> rows, tritium::Array<float>::allocate((all_rows ? at_once : 1) * vocab));
  const CatchInterrupts catching;
  TRITIUM_ASSIGN(NpyWriter<float> writer, NpyWriter<float>::create(options.out, n_rows, vocab));
  Progress progress("computing");
  for (std::size_t at = 0; at < tokens.size();) {
    TRITIUM_TRY(stop_if_interrupted());
    const std::size_t n = std::min(at_once, tokens.size() - at);
    const Decoder::Logits wanted = all_rows                  ? Decoder::Logits::all
                                   : at + n == tokens.size() ? Decoder::Logits::last
                                                             : Decoder::Logits::none;
    TRITIUM_TRY(decoder.forward(tokens.subspan(at, n), wanted, rows.data()));
    if (wanted != Decoder::Logits::none) TRITIUM_TRY(writer.append({rows.data(), (all_rows ? n : 1) * vocab}));
    at += n;
    progress.update(at, tokens.size());
  }
  TRITIUM_TRY(unchanged(source));
  TRITIUM_TRY(writer.finish());
  progress.clear();
  note("wrote [" + std::to_string(n_rows) + ", " + std::to_string(vocab) + "] float32 to " + options.out);
  return kDone;
}

}  // namespace

Result<int> logits(const LogitsOptions& options) {
  std::vector<std::int32_t> tokens = options.tokens;
  if (options.tokens_file) {
    const std::string where = tritium::printable_path(*options.tokens_file);
    TRITIUM_ASSIGN(const std::string text, tritium::read_file(*options.tokens_file, kMaxTextBytes));
    TRITIUM_ASSIGN(tokens, parse_ids(where, text));
    if (tokens.empty()) {
      return tritium::make_error(Errc::invalid_argument, "no tokens", where, "at least one id", "none");
    }
  }
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  const std::optional<std::string> pair = encoder_decoder_family(checkpoint);
  if (pair.has_value() == options.decoder_tokens.empty()) {
    return tritium::make_error(Errc::unsupported, "--decoder-tokens are for encoder-decoder models, which need them",
                               tritium::printable_path(path), pair ? "--decoder-tokens" : "a model with an encoder",
                               pair ? "none" : "a decoder-only model");
  }
  if (pair) {
    TRITIUM_ASSIGN(const std::unique_ptr<PairEngine> engine,
                   PairEngine::open(checkpoint, options.common, tokens.size(), options.decoder_tokens.size()));
    TRITIUM_TRY(engine->read(tokens));
    return write_logits(options, engine->decoder(), options.decoder_tokens, checkpoint);
  }
  Engine::Needs needs;
  needs.tokenizer = false;
  needs.context = [&](std::size_t) { return tokens.size(); };
  needs.logit_rows = options.last || options.decode ? 1 : 512;
  TRITIUM_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(options.model, options.common, needs));
  TRITIUM_TRY(engine->check_fits(tokens.size()));
  TRITIUM_ASSIGN(const std::unique_ptr<Decoder> decoder, engine->decoder());
  return write_logits(options, *decoder, tokens, engine->checkpoint());
}

namespace {

/// Beside saved logits: for each row its window, its position there, the id read and the id it should predict.
std::string rows_path(const std::string& logits) { return logits + ".rows.npy"; }

std::vector<std::int64_t> row_table(const tritium::ScoreWindows& windows) {
  std::vector<std::int64_t> table;
  table.reserve(windows.scored() * 4);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const tritium::ScoreWindows::Window w = windows.window(i);
    for (std::size_t r = w.first_row; r + 1 < w.tokens.size(); ++r) {
      table.insert(table.end(),
                   {static_cast<std::int64_t>(i), static_cast<std::int64_t>(r), w.tokens[r], w.tokens[r + 1]});
    }
  }
  return table;
}

/// Opens saved logits and refuses those of another text, model or window.
Result<NpyFile<float>> open_saved(const std::string& path, const std::vector<std::int64_t>& table, std::size_t vocab) {
  TRITIUM_ASSIGN(NpyFile<float> saved, NpyFile<float>::open(path));
  const std::vector<std::size_t> shape = {table.size() / 4, vocab};
  if (saved.shape() != shape) {
    std::string found;
    for (const std::size_t n : saved.shape()) found.append(found.empty() ? "[" : ", ").append(std::to_string(n));
    return tritium::make_error(Errc::invalid_argument, "saved logits are of another run", tritium::printable_path(path),
                               "shape [" + std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + "]",
                               (found.empty() ? "[" : found) + "]");
  }
  struct stat status{};
  if (::stat(rows_path(path).c_str(), &status) != 0) {
    note("there is no " + rows_path(path) + ": that the tokens are the same is taken on trust");
    return saved;
  }
  TRITIUM_ASSIGN(const NpyFile<std::int64_t> rows, NpyFile<std::int64_t>::open(rows_path(path)));
  if (!std::equal(rows.values().begin(), rows.values().end(), table.begin(), table.end())) {
    const auto first = std::mismatch(rows.values().begin(), rows.values().end(), table.begin(), table.end()).first -
                       rows.values().begin();
    return tritium::make_error(Errc::invalid_argument, "saved logits are of other tokens",
                               tritium::printable_path(rows_path(path)), "the rows of this run",
                               "a difference in row " + std::to_string(first / 4));
  }
  return saved;
}

}  // namespace

Result<int> perplexity(const PerplexityOptions& options) {
  TRITIUM_ASSIGN(const std::string text, tritium::read_file(options.file, kMaxTextBytes));
  const std::size_t length = options.common.ctx != 0 ? options.common.ctx : kDefaultWindow;
  Engine::Needs needs;
  needs.context = [&](std::size_t most) { return std::min(most, length); };
  needs.logit_rows = 512;
  TRITIUM_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(options.model, options.common, needs));
  const tritium::Tokenizer& tokenizer = engine->tokenizer();
  const std::size_t vocab = engine->model().spec.vocab;
  const tritium::ScoreRule rule = options.half_rule ? tritium::ScoreRule::half : tritium::ScoreRule::window;
  TRITIUM_ASSIGN(std::vector<std::int32_t> ids,
                 encode(tokenizer, text, {options.half_rule, !options.no_special && !options.half_rule, false}));
  TRITIUM_ASSIGN(const tritium::ScoreWindows windows,
                 tritium::ScoreWindows::create(std::move(ids), std::min(length, engine->context()), rule,
                                               tokenizer.adds_bos() ? tokenizer.bos() : tritium::ScoreWindows::kNoBos));
  const std::vector<std::int64_t> table = row_table(windows);

  const CatchInterrupts catching;
  tritium::ScoreOptions score;
  std::optional<NpyFile<float>> saved;
  if (!options.kl_from.empty()) {
    TRITIUM_ASSIGN(saved, open_saved(options.kl_from, table, vocab));
    score.base = saved->values();
  }
  std::optional<NpyWriter<float>> writer;
  std::optional<NpyWriter<std::int64_t>> rows_writer;
  if (!options.save_logits.empty()) {
    TRITIUM_ASSIGN(writer, NpyWriter<float>::create(options.save_logits, windows.scored(), vocab));
    TRITIUM_ASSIGN(rows_writer, NpyWriter<std::int64_t>::create(rows_path(options.save_logits), windows.scored(), 4));
    score.save = [&](std::span<const float> rows) { return writer->append(rows); };
  }
  TRITIUM_ASSIGN(const std::unique_ptr<Decoder> decoder, engine->decoder());
  Progress progress("scoring");
  score.cancelled = &interrupted;
  score.progress = [&](std::size_t done, std::size_t total) { progress.update(done, total); };
  TRITIUM_ASSIGN(const tritium::Score result, tritium::score(*decoder, windows, score));
  progress.clear();
  TRITIUM_TRY(engine->check_unchanged());
  if (writer) {
    TRITIUM_TRY(rows_writer->append(table));
    TRITIUM_TRY(writer->finish());
    TRITIUM_TRY(rows_writer->finish());
  }
  if (options.json) {
    JsonWriter json;
    json.begin_object().member("tokens", result.tokens).member("nll", result.nll).member("ppl", result.ppl);
    json.member("stderr", result.ppl_error);
    json.member("kld", result.divergence).member("top1", result.agreement);
    json.member("nll_stderr", result.nll_error).member("windows", windows.size()).member("ctx", windows.length());
    json.member("rule", options.half_rule ? "half" : "window").end_object();
    out().line(json.text());
    return kDone;
  }
  out().line("tokens      " + std::to_string(result.tokens) + " in " + std::to_string(windows.size()) +
             (windows.size() == 1 ? " window of " : " windows of ") + std::to_string(windows.length()));
  out().line("nll         " + fixed(result.nll, 6) + " +/- " + fixed(result.nll_error, 6) + " nats a token");
  out().line("perplexity  " + fixed(result.ppl, 4) + " +/- " + fixed(result.ppl_error, 4));
  if (result.divergence) {
    out().line("divergence  " + fixed(*result.divergence, 6) + " nats a token from " + one_line(options.kl_from));
    out().line("top-1       " + fixed(100.0 * *result.agreement, 2) + " % agree");
  }
  return kDone;
}

}  // namespace cli
