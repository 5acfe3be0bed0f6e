// SPDX-License-Identifier: Apache-2.0
// Golden models, loaded and run by functions that are compiled once for all tests.
#include "support/golden_models.h"

#include "tritium/io/json.h"
#include "tritium/io/npy.h"
#include "tritium/model/load_encoder_decoder.h"

GoldenRow read_golden(const std::filesystem::path& folder) {
  GoldenRow row;
  row.name = folder.filename().string();
  row.folder = folder.string();
  const tritium::Json json = value_of(tritium::read_json_file(row.folder + "/golden.json", {}));
  const tritium::JsonObject meta = value_of(tritium::JsonObject::of(json, "golden.json"));
  row.kind = value_of(meta.get<std::string_view>("kind"));
  row.no_gguf = value_of(meta.get<std::string_view>("no_gguf"));
  row.prompt = value_of(meta.get_array<std::int32_t>("prompt"));
  row.greedy = value_of(meta.get_array<std::int32_t>("greedy"));
  for (const std::uint64_t r : value_of(meta.get_array<std::uint64_t>("rows"))) row.rows.push_back(static_cast<std::size_t>(r));
  row.tolerance = value_of(meta.get<double>("tolerance"));
  row.context = value_of(meta.get<std::uint64_t>("context"));
  auto logits = value_of(tritium::read_npy<float>(row.folder + "/logits.npy"));
  row.logits = std::move(logits.values);
  REQUIRE(row.rows.size() >= 8);
  REQUIRE(row.logits.size() % row.rows.size() == 0);
  REQUIRE(row.vocab() > 1);
  REQUIRE(row.rows.back() < row.tokens().size());
  return row;
}

const std::vector<GoldenRow>& golden_rows() {
  static const std::vector<GoldenRow> rows = [] {
    std::vector<GoldenRow> found;
    for (const auto& entry : std::filesystem::directory_iterator(TRITIUM_TEST_DATA "/golden")) {
      if (std::filesystem::exists(entry.path() / "golden.json")) found.push_back(read_golden(entry.path()));
    }
    std::sort(found.begin(), found.end(), [](const GoldenRow& a, const GoldenRow& b) { return a.name < b.name; });
    return found;
  }();
  REQUIRE(rows.size() >= 10);
  return rows;
}
const GoldenRow& golden_row(std::string_view name) {
  for (const GoldenRow& row : golden_rows()) {
    if (row.name == name) return row;
  }
  FAIL("no golden row " << name);
  return golden_rows().front();
}

tritium::Result<tritium::Checkpoint> try_open(const std::string& path, const tritium::Checkpoint::Options& options) {
  return tritium::Checkpoint::open(path, options);
}
tritium::Result<std::unique_ptr<tritium::Model>> try_load(const tritium::Checkpoint& checkpoint,
                                                          const tritium::LoadOptions& options,
                                                          const tritium::Executor& executor) {
  return tritium::load_model(checkpoint, options, executor);
}
tritium::Result<tritium::EncoderDecoderModel> try_load_pair(const tritium::Checkpoint& checkpoint,
                                                            const tritium::LoadOptions& options,
                                                            const tritium::Executor& executor) {
  return tritium::load_encoder_decoder(checkpoint, options, executor);
}

tritium::Status try_write_packed(const std::string& path, const tritium::Checkpoint& checkpoint,
                                 const tritium::LoadOptions& options, const tritium::PackedRecord& record) {
  return tritium::write_packed_cache(path, checkpoint, options, record);
}

tritium::Checkpoint open_checkpoint(const std::string& path) { return value_of(try_open(path)); }
std::unique_ptr<tritium::Model> load_path(const std::string& path, const tritium::LoadOptions& options,
                                          const tritium::Executor& executor) {
  return value_of(try_load(open_checkpoint(path), options, executor));
}

std::unique_ptr<tritium::Decoder> make_decoder(const tritium::Model& model, tritium::KvType kv, std::size_t max_batch,
                                               const tritium::Executor& executor, std::size_t context) {
  tritium::Decoder::Options options;
  options.context = context;
  options.max_batch = max_batch;
  options.kv = kv;
  return value_of(tritium::Decoder::create(model, options, executor));
}

std::vector<float> all_logits(tritium::Decoder& decoder, std::span<const std::int32_t> tokens, std::size_t chunk) {
  const std::size_t vocab = decoder.model().spec.vocab;
  std::vector<float> logits(tokens.size() * vocab);
  REQUIRE(decoder.rewind(0));
  REQUIRE(value_of(decoder.prepare(tokens.size())));  // transformers rotates all of them for the longest
  if (chunk == 0) chunk = tokens.size();
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const std::size_t n = std::min(chunk, tokens.size() - at);
    require_ok(decoder.forward(tokens.subspan(at, n), tritium::Decoder::Logits::all, logits.data() + at * vocab));
  }
  return logits;
}
