// SPDX-License-Identifier: Apache-2.0
// Tables that stay in the checkpoint: the values, the bytes they take, and whom they outlive.

#include "tritium/model/embedding_table.h"

#include <unistd.h>

#include <fstream>
#include <random>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"
#include "tritium/model/plan.h"

using namespace tritium;

namespace {

/// The rows of a tensor as floats, packed as any matrix would be.
PackedMatrix packed(const Checkpoint& checkpoint, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const TensorSource* t = checkpoint.find(name);
    if (t == nullptr) continue;
    const StoredMatrix rows = t->type == TensorType::i2_s ? value_of(stored_i2_s({t->data, t->bytes}, t->rows(), t->cols()))
                                                          : StoredMatrix{t->type, t->data, t->rows(), t->cols()};
    return value_of(pack(rows, keep_format(rows)));
  }
  FAIL("no table");
  return {};
}

/// A model whose tables are packed instead of left in the file.
std::unique_ptr<Model> with_packed_tables(const std::string& path, const LoadOptions& options) {
  const Checkpoint checkpoint = open_checkpoint(path);
  auto model = value_of(try_load(checkpoint, options, {}));
  if (model->weights.embedding.matrix().empty())
    model->weights.embedding = packed(checkpoint, {"token_embd.weight", "model.embed_tokens.weight"});
  if (!model->weights.per_layer_embedding.empty())
    model->weights.per_layer_embedding = packed(checkpoint, {"per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight"});
  REQUIRE(model->weights.per_layer_embedding.mapped_bytes() + model->weights.embedding.mapped_bytes() == 0);
  return model;
}

/// Copies a golden model's files and returns the place of the copy of `path`.
std::string copy_model(const GoldenRow& row, const std::string& path, const TemporaryFolder& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(row.folder))
    std::filesystem::copy(entry.path(), folder / entry.path().filename().string(), std::filesystem::copy_options::overwrite_existing);
  return path == row.folder ? folder.path() : folder / "model.gguf";
}

std::size_t packed_in(const Model& model) {
  std::size_t bytes = 0;
  model.weights.visit([&](const PackedMatrix& m) { bytes += m.bytes(); });
  return bytes;
}

/// Bytes of files that are mapped into this process and in memory.
std::size_t resident_file_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t all = 0, resident = 0, shared = 0;
  statm >> all >> resident >> shared;
  REQUIRE(shared != 0);
  return shared * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("a table of which many rows are read does not become resident", "[embedding]") {
  const TemporaryFolder folder;
  constexpr std::size_t kRows = 32768;
  constexpr std::size_t kCols = 1024;
  write_file(folder / "table", std::string(kRows * kCols * 2, '\0'));  // 64 MiB
  const auto file = std::make_shared<const MappedFile>(value_of(MappedFile::open(folder / "table")));
  REQUIRE(file->mapped());
  const EmbeddingTable table =
      value_of(EmbeddingTable::of_rows({TensorType::bf16, file->bytes().data(), kRows, kCols}, file, "table"));
  std::vector<float> row(kCols);
  const std::size_t before = resident_file_bytes();
  for (std::size_t r = 0; r < kRows; r += 8) require_ok(table.decode_row(r, row.data()));
  CHECK(resident_file_bytes() <= before + (std::size_t{4} << 20));
}

TEST_CASE("rows in a file decode to the bits of packed ones, for every type that weights have", "[embedding]") {
  const TemporaryFolder folder;
  std::mt19937 random(7);
  constexpr std::size_t kRows = 37;
  constexpr std::size_t kCols = 512;
  std::size_t n_types = 0;
  for (const TensorType type :
       {TensorType::f32, TensorType::f16, TensorType::bf16, TensorType::q4_0, TensorType::q4_1, TensorType::q5_0, TensorType::q5_1,
        TensorType::q8_0, TensorType::q2_k, TensorType::q3_k, TensorType::q4_k, TensorType::q5_k, TensorType::q6_k, TensorType::iq4_nl,
        TensorType::iq4_xs, TensorType::mxfp4, TensorType::tq1_0, TensorType::tq2_0}) {
    INFO(info(type).name);
    const std::size_t row_bytes = value_of(tensor_bytes(type, 1, kCols));
    std::vector<std::byte> bytes(kRows * row_bytes);
    std::vector<float> values(kCols);
    for (std::size_t r = 0; r < kRows; ++r) {
      for (float& x : values) x = std::uniform_real_distribution<float>(-1.0f, 1.0f)(random);
      if (type == TensorType::f32) std::memcpy(bytes.data() + r * row_bytes, values.data(), row_bytes);
      else require_ok(encode_row(type, values.data(), kCols, bytes.data() + r * row_bytes));
    }
    const std::string path = folder / "table";
    write_file(path, std::string(3, 'x') + std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));  // not aligned
    for (const FileAccess access : {FileAccess::map, FileAccess::read}) {
      const auto file = std::make_shared<const MappedFile>(value_of(MappedFile::open(path, access)));
      const StoredMatrix stored{type, file->bytes().data() + 3, kRows, kCols};
      const PackedMatrix matrix = value_of(pack(stored, keep_format(stored)));
      const EmbeddingTable table = value_of(EmbeddingTable::of_rows(stored, file, "table"));
      CHECK(table.n_rows() == kRows);
      CHECK(table.cols() == kCols);
      CHECK(table.mapped_bytes() == (access == FileAccess::map ? bytes.size() : 0));
      CHECK(table.bytes() == (access == FileAccess::map ? 0 : bytes.size()));
      std::vector<float> found(kCols), expected(kCols);
      for (std::size_t r = 0; r < kRows; ++r) {
        require_ok(table.decode_row(r, found.data()));
        matrix.decode_row(r, expected.data());
        REQUIRE(std::memcmp(found.data(), expected.data(), kCols * sizeof(float)) == 0);
      }
    }
    ++n_types;
  }
  CHECK(n_types == 18);
}

TEST_CASE("tables in the file give the logits of packed ones to the bit, from both kinds of file", "[embedding]") {
  const auto pool = value_of(ThreadPool::create(3));
  for (const char* name : {"gemma3n", "gemma4", "llama", "phi3", "qwen3-moe"}) {
    const GoldenRow& row = golden_row(name);
    for (const std::string& path : row.paths()) {
      for (const bool exact : {true, false}) {
        INFO(path << (exact ? ", exact" : ", default"));
        const LoadOptions options = exact ? exact_options() : LoadOptions();
        const auto before = with_packed_tables(path, options);
        const auto model = load_path(path, options);  // the checkpoint is gone
        CHECK(model->weights.embedding.mapped_bytes() + model->weights.per_layer_embedding.mapped_bytes() > 0);
        const std::vector<float> expected = all_logits(*make_decoder(*before, KvType::f32), row.tokens());
        CHECK(difference(all_logits(*make_decoder(*model, KvType::f32), row.tokens()), expected) == "");
        CHECK(difference(all_logits(*make_decoder(*model, KvType::f32, 512, pool->executor()), row.tokens(), 7), expected) == "");
      }
    }
  }
}

TEST_CASE("what is packed does not contain tables that are looked up, and the plan says the same", "[embedding]") {
  for (const char* name : {"gemma3n", "gemma4", "llama", "llama-tied", "phi3"}) {
    const GoldenRow& row = golden_row(name);
    for (const std::string& path : row.paths()) {
      INFO(path);
      for (const FileAccess access : {FileAccess::map, FileAccess::read}) {
        Checkpoint::Options how;
        how.access = access;
        const Checkpoint checkpoint = value_of(try_open(path, how));
        const ModelPlan plan = value_of(plan_model(checkpoint, {}));
        const auto model = value_of(try_load(checkpoint, {}, {}));
        const Weights& w = model->weights;
        CHECK(w.embedding.matrix().empty() == !model->spec.tied_head);
        CHECK(w.per_layer_embedding.matrix().empty());
        std::size_t mapped = 0, copied = 0, tables = 0, planned = 0, stored = 0;
        for (const EmbeddingTable* table : {&w.embedding, &w.per_layer_embedding}) {
          mapped += table->mapped_bytes();
          copied += table->bytes() - table->matrix().bytes();
        }
        for (const PlannedTensor& t : plan.tensors) {
          planned += t.bytes;
          if (t.role == Role::per_layer_embedding || (t.role == Role::token_embedding && !model->spec.tied_head)) stored += t.source->bytes;
        }
        CHECK((stored != 0) == (row.name != "llama-tied"));
        CHECK(mapped == (access == FileAccess::map ? stored : 0));
        CHECK(copied == (access == FileAccess::map ? 0 : stored));
        CHECK(plan.mapped_bytes == mapped);
        CHECK(plan.packed_bytes == planned);
        const auto before = with_packed_tables(path, {});
        if (!model->spec.tied_head) tables += before->weights.embedding.bytes();
        tables += before->weights.per_layer_embedding.bytes();
        CHECK(packed_in(*before) == packed_in(*model) + tables);
      }
    }
  }
}

TEST_CASE("a model outlives its checkpoint and the names of its files", "[embedding]") {
  for (const char* name : {"gemma4", "gemma3n", "llama"}) {
    const GoldenRow& row = golden_row(name);
    for (const std::string& path : row.paths()) {
      INFO(path);
      const std::vector<float> expected = all_logits(*make_decoder(*load_path(path), KvType::f16), row.tokens());
      const TemporaryFolder folder;
      const auto model = load_path(copy_model(row, path, folder));
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(entry.path());
      CHECK(difference(all_logits(*make_decoder(*model, KvType::f16), row.tokens()), expected) == "");
      CHECK(model->weights.check_unchanged().ok());
    }
  }
}

TEST_CASE("a table in one of several shards stays there", "[embedding]") {
  const GoldenRow& row = golden_row("llama");
  const TemporaryFolder folder;
  std::filesystem::copy(row.folder + "/config.json", folder / "config.json");
  const Checkpoint whole = open_checkpoint(row.folder);
  Json index;
  std::size_t n = 0;
  for (const TensorSource& t : whole.tensors()) {
    const bool second = t.name == "model.embed_tokens.weight" || n++ % 2 == 0;
    index["weight_map"][std::string(t.name)] = second ? "b.safetensors" : "a.safetensors";
  }
  for (const char* shard : {"a.safetensors", "b.safetensors"}) std::filesystem::copy(row.folder + "/model.safetensors", folder / shard);
  write_file(folder / "model.safetensors.index.json", index.dump());
  const std::vector<float> expected = all_logits(*make_decoder(*load_path(row.folder), KvType::f32), row.tokens());
  for (const FileAccess access : {FileAccess::map, FileAccess::read}) {
    Checkpoint::Options how;
    how.access = access;
    std::unique_ptr<Model> model;
    {
      const Checkpoint checkpoint = value_of(try_open(folder.path(), how));
      model = value_of(try_load(checkpoint, {}, {}));
    }
    CHECK((model->weights.embedding.mapped_bytes() != 0) == (access == FileAccess::map));
    CHECK(difference(all_logits(*make_decoder(*model, KvType::f32), row.tokens()), expected) == "");
    // Only the shard that the table is read from matters after loading, and only while it is mapped.
    std::ofstream(folder / "a.safetensors", std::ios::app) << "x";
    CHECK(model->weights.check_unchanged().ok());
    std::ofstream(folder / "b.safetensors", std::ios::app) << "x";
    CHECK(model->weights.check_unchanged().ok() == (access == FileAccess::read));
    for (const char* shard : {"a.safetensors", "b.safetensors"}) {
      std::filesystem::copy(row.folder + "/model.safetensors", folder / shard, std::filesystem::copy_options::overwrite_existing);
    }
  }
}

TEST_CASE("a row that is not finite is an error when a token reads it, and of no other token", "[embedding]") {
  for (const char* name : {"llama", "gemma4"}) {
    const GoldenRow& row = golden_row(name);
    const bool second = row.name == "gemma4";
    const std::string tensor = second ? "model.embed_tokens_per_layer.weight" : "model.embed_tokens.weight";
    const TemporaryFolder folder;
    const std::string path = copy_model(row, row.folder, folder);
    constexpr std::int32_t kBad = 9;
    std::string bytes = file_contents(path + "/model.safetensors");
    {
      const Checkpoint checkpoint = open_checkpoint(path);
      const TensorSource t = value_of(checkpoint.require(tensor));
      const auto file = checkpoint.file_of(t);
      const auto at = static_cast<std::size_t>(t.data - file->bytes().data()) + kBad * t.bytes / t.rows() + 2;
      bytes.replace(at, 2, t.type == TensorType::f16 ? std::string("\x00\x7C", 2) : std::string("\x80\x7F", 2));
    }
    write_file(path + "/model.safetensors", bytes);
    const auto model = load_path(path);
    const auto decoder = make_decoder(*model, KvType::f32);
    std::vector<float> logits(8 * row.vocab());
    for (const std::vector<std::int32_t>& tokens : {std::vector<std::int32_t>{kBad}, {4, 5, kBad, 6}, {4, 5, 6, 7, 8, 3, kBad}}) {
      const Status status = decoder->forward(tokens, Decoder::Logits::all, logits.data());
      REQUIRE_FALSE(status.ok());
      CHECK(status.error().code == Errc::invalid_file);
      CHECK(contains(status.error().message, "tensor \"" + tensor + "\": row 9"));
      CHECK(decoder->position() == 0);
    }
    std::vector<std::int32_t> others = row.tokens();
    std::replace(others.begin(), others.end(), kBad, 10);
    CHECK(difference(all_logits(*decoder, others), all_logits(*make_decoder(*load_path(row.folder), KvType::f32), others)) == "");
  }
}
