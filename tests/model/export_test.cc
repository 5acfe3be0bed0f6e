// SPDX-License-Identifier: Apache-2.0
// What export writes: the same model in another file, for every golden folder; and what it refuses.

#include "tritium/model/export.h"

#include <map>
#include <set>

#include "support/golden_models.h"
#include "tritium/core/thread_pool.h"

using namespace tritium;

namespace {

Status export_model(const std::string& from, const std::string& to, const ExportOptions& options,
                    const ExportRun& run = {}, const Executor& executor = {}) {
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(from));
  TRITIUM_ASSIGN(GgufExport plan, GgufExport::plan(checkpoint, options));
  return plan.write(to, run, executor);
}

ExportOptions all(TensorType type) {
  ExportOptions options;
  options.matrices = type;
  options.head = type;
  return options;
}

std::vector<float> logits_of(const std::string& path, const GoldenRow& row) {
  const auto model = load_path(path, exact_options());
  const auto decoder = make_decoder(*model, KvType::f32, 512);
  return all_logits(*decoder, row.tokens());
}

double worst_error(const std::vector<float>& found, const std::vector<float>& expected, std::size_t vocab) {
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (std::size_t at = 0; at < found.size(); at += vocab) {
    const double error = row_error(found.data() + at, expected.data() + at, vocab);
    worst = error <= worst ? worst : error;
  }
  return worst;
}

const GgufTensor& tensor_of(const GgufFile& file, std::string_view name) {
  const GgufTensor* tensor = file.find_tensor(name);
  if (tensor == nullptr) FAIL("no tensor " << name);
  return *tensor;
}

std::vector<float> numbers_of(const GgufTensor& tensor) {
  const std::size_t cols = tensor.dims[0];
  const std::size_t rows = tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
  std::vector<float> numbers(rows * cols);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t row_bytes = tensor.data.size() / rows;
    require_ok(decode_row(tensor.type, tensor.data.data() + r * row_bytes, cols, numbers.data() + r * cols));
  }
  return numbers;
}

}  // namespace

TEST_CASE("a golden folder and the GGUF file made of it give the same logits, or the reason why not", "[golden]") {
  // Facts that GGUF has no key for, each with a part of the reason.
  const std::map<std::string, std::string, std::less<>> refused = {
      {"gemma2-scaled", "attention scale"},
      {"gemma3-scaled", "attention scale"},
      {"qwen2-window", "window"},
      {"qwen3-bias", "window"},
      {"qwen-long", "context of scaled queries"},
      {"qwen3-moe", "found experts"},
      {"qwen3-next", "found experts"},
  };
  std::set<std::string, std::less<>> required = {
      "bitnet",
      "bitnet-i2s",
      "bitnet-packed",
      "bitnet-silu",
      "gemma",
      "gemma2",
      "gemma3",
      "llama",
      "llama-158",
      "llama-bias",
      "llama-gqa",
      "llama-tied",
      "llama-llama3-rope",
      "llama-yarn",
      "mistral",
      "phi",
      "llama-linear-rope",
      "llama-yarn-factor",
      "phi3",
      "phi3-long",
      "phi4-mini",
      "gemma3-bases",
      "qwen2",
      "qwen3",
      "smollm3",
      "phi4",
  };
  const TemporaryFolder folder;
  for (const GoldenRow& row : golden_rows()) {
    INFO(row.name);
    ExportOptions options = all(TensorType::f32);
    if (row.name == "llama-158")
      options.matrices = TensorType::tq2_0;  // BitLinears of an architecture that does not say so
    const std::string path = folder / (row.name + ".gguf");
    const Status written = export_model(row.folder, path, options);
    if (!written.ok()) {
      INFO(written.error().message);
      REQUIRE(required.count(row.name) == 0);
      CHECK(written.error().code == Errc::unsupported);
      CHECK(is_one_printable_line(written.error().message));
      if (refused.count(row.name) != 0) CHECK(contains(written.error().message, refused.at(row.name)));
      CHECK_FALSE(std::filesystem::exists(path));
      continue;
    }
    CHECK(refused.count(row.name) == 0);
    required.erase(row.name);
    // A base or a scale that f32 rounds moves angles by a little; weights are the same numbers.
    CHECK(worst_error(logits_of(path, row), logits_of(row.folder, row), row.vocab()) < 5e-5);
    const Checkpoint source = value_of(Checkpoint::open(row.folder));
    const Checkpoint copy = value_of(Checkpoint::open(path));
    CHECK(value_of(find_family(copy))->name == value_of(find_family(source))->name);
  }
  CHECK(required.empty());
}

TEST_CASE("a GGUF file keeps its metadata; types change as asked") {
  const GoldenRow& row = golden_row("llama");
  const TemporaryFolder folder;
  const std::string path = folder / "out.gguf";
  ExportOptions options;
  options.matrices = TensorType::q4_0;
  options.head = TensorType::q8_0;
  require_ok(export_model(row.gguf(), path, options));
  const GgufFile before = value_of(GgufFile::open(row.gguf()));
  const GgufFile after = value_of(GgufFile::open(path));
  for (const GgufValue& value : before.values()) {
    const GgufValue* copy = after.find(value.key);
    INFO(value.key);
    REQUIRE(copy != nullptr);
    if (value.key == "general.file_type") continue;
    CHECK(std::equal(copy->bytes.begin(), copy->bytes.end(), value.bytes.begin(), value.bytes.end()));
  }
  CHECK(value_of(after.get<std::uint32_t>("general.file_type")) == 2);
  CHECK(value_of(after.get<std::uint32_t>("general.quantization_version")) == 2);
  REQUIRE(after.tensors().size() == before.tensors().size());
  for (const GgufTensor& tensor : after.tensors()) {
    INFO(tensor.name);
    const GgufTensor& source = tensor_of(before, tensor.name);
    CHECK(tensor.dims == source.dims);
    const bool head = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
    const TensorType expected = tensor.n_dims < 2          ? TensorType::f32
                                : head                     ? TensorType::q8_0
                                : tensor.dims[0] % 32 != 0 ? TensorType::f16  // no whole number of blocks of 32
                                                           : TensorType::q4_0;
    CHECK(info(tensor.type).name == info(expected).name);
    if (tensor.type == source.type) {
      CHECK(std::equal(tensor.data.begin(), tensor.data.end(), source.data.begin(), source.data.end()));
      continue;
    }
    // The values are those that encode_row() makes of the source's.
    const std::vector<float> numbers = numbers_of(source);
    std::vector<std::byte> encoded(tensor.data.size());
    const std::size_t rows = tensor.dims[1];
    for (std::size_t r = 0; r < rows; ++r) {
      require_ok(encode_row(tensor.type, numbers.data() + r * tensor.dims[0], tensor.dims[0],
                            encoded.data() + r * (encoded.size() / rows)));
    }
    CHECK(std::equal(tensor.data.begin(), tensor.data.end(), encoded.begin(), encoded.end()));
  }
}

TEST_CASE("types of the head") {
  const std::string source = golden_row("llama").gguf();
  const TemporaryFolder folder;
  const std::string path = folder / "out.gguf";
  const auto head_type = [&](const ExportOptions& options) {
    require_ok(export_model(source, path, options));
    return info(tensor_of(value_of(GgufFile::open(path)), "output.weight").type).name;
  };
  ExportOptions options;
  options.matrices = TensorType::q5_1;
  CHECK(head_type(options) == "q5_1");
  options.matrices = TensorType::tq2_0;  // nothing would be left of a ternary embedding
  CHECK(head_type(options) == "f16");
  options.head = TensorType::q5_0;
  CHECK(head_type(options) == "q5_0");
  options.keep_head = true;
  CHECK(head_type(options) == info(tensor_of(value_of(GgufFile::open(source)), "output.weight").type).name);
}

TEST_CASE("types for rows that are no whole number of blocks") {
  CHECK(type_for_rows(TensorType::q4_k, 512) == TensorType::q4_k);
  CHECK(type_for_rows(TensorType::q4_k, 576) == TensorType::q5_0);
  CHECK(type_for_rows(TensorType::q6_k, 576) == TensorType::q8_0);
  CHECK(type_for_rows(TensorType::tq1_0, 576) == TensorType::q8_0);
  CHECK(type_for_rows(TensorType::iq4_xs, 576) == TensorType::iq4_nl);
  CHECK(type_for_rows(TensorType::q8_0, 33) == TensorType::f16);
  for (const TensorTypeInfo& type : kTensorTypes) {
    for (const std::size_t cols : {1u, 31u, 32u, 96u, 128u, 256u, 576u}) {
      const TensorTypeInfo& chosen = info(type_for_rows(type.type, cols));
      INFO(type.name << " " << cols);
      CHECK(cols % chosen.block_length == 0);
      // Never fewer bits than asked for.
      CHECK(chosen.block_bytes * type.block_length >=
            type.block_bytes * chosen.block_length *
                (chosen.type == TensorType::f16 && type.block_length == 1 ? 0u : 1u));
    }
  }
}

TEST_CASE("exported bytes do not depend on threads") {
  const std::string source = golden_row("gemma3").folder;
  const TemporaryFolder folder;
  auto pool = value_of(ThreadPool::create(3));
  require_ok(export_model(source, folder / "one.gguf", all(TensorType::q4_1)));
  require_ok(export_model(source, folder / "three.gguf", all(TensorType::q4_1), {}, pool->executor()));
  CHECK(file_contents(folder / "one.gguf") == file_contents(folder / "three.gguf"));
}

TEST_CASE("progress ends at the whole and can stop the export; errors are reported for each tensor") {
  const std::string source = golden_row("llama").gguf();
  const TemporaryFolder folder;
  write_file(folder / "out.gguf", "old");
  ExportRun run;
  std::size_t calls = 0;
  run.progress = [&](std::size_t, std::size_t) { return ++calls < 3; };
  const Status stopped = export_model(source, folder / "out.gguf", all(TensorType::q4_0), run);
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == Errc::cancelled);
  CHECK(folder.entries() == std::vector<std::string>{"out.gguf"});
  CHECK(file_contents(folder / "out.gguf") == "old");

  std::size_t last = 0;
  std::size_t of = 1;
  run.progress = [&](std::size_t done, std::size_t total) {
    CHECK(done >= last);
    last = done;
    of = total;
    return true;
  };
  std::map<std::string, double> errors;
  run.report = [&](const ExportedTensor& tensor, double error) { errors[tensor.name] = error; };
  require_ok(export_model(source, folder / "out.gguf", all(TensorType::q4_0), run));
  CHECK(last == of);
  const GgufFile before = value_of(GgufFile::open(source));
  const GgufFile after = value_of(GgufFile::open(folder / "out.gguf"));
  REQUIRE(errors.size() == before.tensors().size());
  for (const auto& [name, error] : errors) {
    INFO(name);
    const std::vector<float> x = numbers_of(tensor_of(before, name));
    const std::vector<float> y = numbers_of(tensor_of(after, name));
    double difference = 0;
    double square = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      difference += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
      square += std::pow(static_cast<double>(x[i]), 2);
    }
    CHECK(std::fabs(error - std::sqrt(difference / square)) < 1e-9);
  }
  CHECK(errors.at("blk.0.attn_q.weight") > 0.01);
  CHECK(errors.at("blk.0.attn_norm.weight") == 0.0);
}

TEST_CASE("the output cannot be a file of the input") {
  const TemporaryFolder folder;
  const GoldenRow& tied = golden_row("llama-tied");  // three shards
  for (const auto& entry : std::filesystem::directory_iterator(tied.folder)) {
    std::filesystem::copy(entry.path(), folder / entry.path().filename().string());
  }
  std::filesystem::create_symlink(folder / "model.gguf", folder / "link.gguf");
  std::filesystem::create_hard_link(folder / "model-00002-of-00003.safetensors", folder / "hard.gguf");
  const auto refused = [&](const std::string& from, const std::string& to) {
    const std::string before = file_contents(to);
    const Status status = export_model(from, to, all(TensorType::q8_0));
    REQUIRE_FALSE(status.ok());
    CHECK(contains(status.error().message, "the output is the input"));
    CHECK(file_contents(to) == before);
  };
  refused(folder / "model.gguf", folder / "model.gguf");
  refused(folder / "model.gguf", folder / "link.gguf");
  refused(folder.path(), folder / "hard.gguf");
  refused(folder.path(), folder / "model-00003-of-00003.safetensors");
  require_ok(export_model(folder.path(), folder / "model.gguf", all(TensorType::q8_0)));  // not read from
}

TEST_CASE("values that no file can hold stop the export, and no file is left") {
  const TemporaryFolder folder;
  const auto with_value = [&](float value) {
    GgufWriter writer;
    require_ok(writer.set("general.architecture", std::string_view("other")));
    const std::uint64_t dims[] = {32, 3};
    require_ok(writer.add_tensor("blk.0.attn_q.weight", TensorType::f32, dims));
    require_ok(writer.begin(folder / "in.gguf"));
    std::vector<float> numbers(96, 0.5f);
    numbers[70] = value;
    require_ok(writer.append("blk.0.attn_q.weight", std::as_bytes(std::span(numbers))));
    require_ok(writer.finish());
  };
  const auto message = [&](TensorType type) {
    const Status status = export_model(folder / "in.gguf", folder / "out.gguf", all(type));
    REQUIRE_FALSE(status.ok());
    CHECK(is_one_printable_line(status.error().message));
    CHECK(contains(status.error().message, "tensor \"blk.0.attn_q.weight\": row 2"));
    CHECK(folder.entries() == std::vector<std::string>{"in.gguf"});
    return status.error().message;
  };
  with_value(std::numeric_limits<float>::quiet_NaN());
  CHECK(contains(message(TensorType::q8_0), "not a number"));
  with_value(std::numeric_limits<float>::infinity());
  CHECK(contains(message(TensorType::bf16), "not a number"));
  with_value(70000.0f);
  CHECK(contains(message(TensorType::f16), "does not fit"));
  require_ok(export_model(folder / "in.gguf", folder / "out.gguf", all(TensorType::bf16)));
}

TEST_CASE("parts of a split model become one file; tensors that no rule knows are copied") {
  const TemporaryFolder folder;
  require_ok(export_model(test_data("python-split-00001-of-00003.gguf"), folder / "out.gguf", all(TensorType::f16)));
  const GgufFile before = value_of(GgufFile::open(test_data("python-split-00001-of-00003.gguf")));
  const GgufFile after = value_of(GgufFile::open(folder / "out.gguf"));
  CHECK(before.n_parts() == 3);
  CHECK(after.n_parts() == 1);
  CHECK(after.find("split.count") == nullptr);
  REQUIRE(after.tensors().size() == before.tensors().size());
  require_ok(export_model(test_data("python-align64.gguf"), folder / "out.gguf", all(TensorType::q8_0)));
  const GgufFile source = value_of(GgufFile::open(test_data("python-align64.gguf")));
  const GgufFile copy = value_of(GgufFile::open(folder / "out.gguf"));
  CHECK(copy.alignment() == 64);
  for (const GgufTensor& tensor : source.tensors()) {
    const GgufTensor& found = tensor_of(copy, tensor.name);
    INFO(tensor.name);
    if (tensor.n_dims < 2) continue;  // f32 now
    CHECK(found.type == tensor.type);
    CHECK(std::equal(found.data.begin(), found.data.end(), tensor.data.begin(), tensor.data.end()));
  }
}

TEST_CASE("BitLinears keep types in which a reader sees them") {
  const TemporaryFolder folder;
  for (const char* name : {"bitnet", "bitnet-i2s", "bitnet-packed"}) {
    const GoldenRow& row = golden_row(name);
    for (const std::string& source : row.paths()) {
      INFO(source);
      const Status status = export_model(source, folder / "out.gguf", all(TensorType::q4_k));
      REQUIRE_FALSE(status.ok());
      CHECK(contains(status.error().message, "BitLinear"));
      ExportOptions options = all(TensorType::q8_0);
      options.head = TensorType::f32;
      require_ok(export_model(source, folder / "out.gguf", options));
      CHECK(load_path(folder / "out.gguf")->weights.layers.size() == load_path(source)->weights.layers.size());
    }
  }
  const Status status = export_model(golden_row("llama-158").folder, folder / "none.gguf", all(TensorType::f16));
  REQUIRE_FALSE(status.ok());
  CHECK(contains(status.error().message, "BitLinear"));
}

TEST_CASE("a fact that differs between two specs is named") {
  const GoldenRow& row = golden_row("gemma3");
  const Checkpoint checkpoint = value_of(Checkpoint::open(row.folder));
  const Family* family = value_of(find_family(checkpoint));
  const JsonObject config = value_of(JsonObject::of(*checkpoint.config(), "config.json"));
  const ModelSpec spec = value_of(family->from_config(config));
  require_ok(check_gguf_describes(spec, *family, "gemma3", "config.json"));
  const auto named = [&](auto&& change) {
    ModelSpec other = spec;
    change(other);
    return detail::compare_specs(spec, other).fact;
  };
  CHECK(named([](ModelSpec&) {}).empty());
  CHECK(named([](ModelSpec& s) { s.norm_eps *= 2; }) == "norm epsilon");
  CHECK(named([](ModelSpec& s) { s.hidden += 1; }) == "hidden size");
  CHECK(named([](ModelSpec& s) { s.embedding_scale += 1; }) == "embedding scale");
  CHECK(named([](ModelSpec& s) { s.activation = Activation::silu; }) == "activation");
  CHECK(named([](ModelSpec& s) { s.logit_cap = 30; }) == "logit cap");
  CHECK(named([](ModelSpec& s) { s.layers[1].window = 9; }) == "window of layer 1");
  CHECK(named([](ModelSpec& s) { s.layers[2].rope = -1; }) == "rotary embedding of layer 2");
  CHECK(named([](ModelSpec& s) { s.layers[5].rope = 1; }) == "rotary base of layer 5");
  CHECK(named([](ModelSpec& s) { s.ropes[1].base += 1; }) == "rotary base of layer 0");
  CHECK(named([](ModelSpec& s) { s.ropes[0].scaling = RopeScaling::yarn; }) == "kind of rope scaling of layer 5");
  CHECK(named([](ModelSpec& s) { s.layers[0].n_kv_heads = 2; }) == "KV heads of layer 0");
}
