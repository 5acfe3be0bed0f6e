// SPDX-License-Identifier: Apache-2.0
// inspect, bench, isa, selftest, formats, models: what they tell, and that programs can read it.

#include <cmath>
#include <set>

#include "cli.h"

namespace {

void require_keys(const nlohmann::json& object, const std::vector<std::string>& keys) {
  REQUIRE(object.is_object());
  for (const std::string& key : keys) {
    INFO(key);
    REQUIRE(object.contains(key));
  }
}

}  // namespace

TEST_CASE("inspect tells a model's facts, tokenizer and tensors") {
  const std::string text = output_of({"inspect", tiny_model(), "--tensors"});
  for (const char* part :
       {"llama", "layers", "context", "rope", "tokenizer", "SentencePiece", "blk.0.attn_q.weight", "packed to"}) {
    INFO(part);
    CHECK(contains(text, part));
  }
  for (const std::string& model : {tiny_model(), golden_folder("llama")}) {
    const nlohmann::json json = json_of({"inspect", model, "--json", "--tensors"});
    require_keys(json, {"path", "kind", "file_bytes", "architecture", "family", "supported", "reason", "parameters",
                        "hyper_parameters", "tokenizer", "chat_template", "tensor_count", "packed_bytes",
                        "mapped_bytes", "tensors"});
    CHECK(json["family"] == "llama");
    CHECK(json["supported"] == true);
    CHECK(json["kind"] == (model.ends_with(".gguf") ? "gguf" : "safetensors"));
    CHECK(json["hyper_parameters"]["hidden"] == 64);
    CHECK(json["hyper_parameters"]["layers"] == 2);
    CHECK(json["hyper_parameters"]["vocab"] == 331);
    CHECK(json["tensors"].size() == json["tensor_count"]);
    std::size_t numbers = 0;
    for (const auto& tensor : json["tensors"]) {
      require_keys(tensor, {"name", "type", "shape", "bytes", "bits_per_weight", "role", "packed", "packed_bytes",
                            "mapped_bytes"});
      std::size_t n = 1;
      for (const std::size_t dim : tensor["shape"]) n *= dim;
      numbers += n;
    }
    CHECK(json["parameters"] == numbers);
    // An embedding that is not the head too is looked up where it lies.
    CHECK((json["mapped_bytes"] != 0) == (json["hyper_parameters"]["tied_head"] == false));
    std::size_t packed_bytes = 0, mapped_bytes = 0;
    for (const auto& tensor : json["tensors"]) {
      packed_bytes += tensor["packed_bytes"].get<std::size_t>();
      mapped_bytes += tensor["mapped_bytes"].get<std::size_t>();
      if (tensor["mapped_bytes"] != 0) CHECK(tensor["role"] == "token_embedding");
    }
    CHECK(json["packed_bytes"] == packed_bytes);
    CHECK(json["mapped_bytes"] == mapped_bytes);
  }
  CHECK_FALSE(json_of({"inspect", tiny_model(), "--json"}).contains("tensors"));
  // What each tensor is packed to follows the options of loading.
  const nlohmann::json int4 = json_of({"inspect", tiny_model(), "--json", "--tensors", "--weights", "int4g32"});
  for (const auto& tensor : int4["tensors"]) {
    if (tensor["name"] == "blk.0.attn_q.weight") CHECK(tensor["packed"] == "int4g32");
  }
}

TEST_CASE("inspect describes what it cannot run, with the reason") {
  const TemporaryFolder folder;
  std::string other = file_contents(tiny_model());
  const std::size_t at = other.find("general.architecture") + 20 + 4 + 8;
  other.replace(at, 5, "\x1b[31m");  // a terminal's escape sequence for a name
  write_file(folder / "other.gguf", other);
  const std::string text = output_of({"inspect", folder / "other.gguf"});
  CHECK(contains(text, "not supported"));
  CHECK_FALSE(contains(text, "\x1b"));
  const nlohmann::json json = json_of({"inspect", folder / "other.gguf", "--json"});
  CHECK(json["supported"] == false);
  CHECK(contains(json["reason"].get<std::string>(), "architecture"));
  CHECK(json["family"].is_null());
  CHECK(json["tokenizer"]["tokens"] == 331);
  CHECK_FALSE(contains(output_of({"inspect", folder / "other.gguf", "--json"}), "\x1b"));
}

TEST_CASE("bench gives a row for each value, with the contract's fields") {
  const nlohmann::json json =
      json_of({"bench", tiny_model(), "-p", "4,8", "-n", "2", "-r", "3", "-t", "1,2", "--json", "-q"});
  require_keys(json, {"model", "file_bytes", "isa", "threads", "results"});
  CHECK(json["model"] == tiny_model());
  CHECK(json["file_bytes"] == std::filesystem::file_size(tiny_model()));
  REQUIRE(json["results"].size() == 6);
  std::set<std::string> tests;
  for (const auto& row : json["results"]) {
    require_keys(row, {"test", "n_prompt", "n_gen", "runs", "tokens_per_s", "bytes_per_token", "gb_per_s"});
    tests.insert(row["test"]);
    CHECK(row["runs"] == 3);
    const auto& rate = row["tokens_per_s"];
    require_keys(rate, {"median", "min", "max"});
    CHECK(rate["min"].get<double>() > 0);
    CHECK(rate["min"] <= rate["median"]);
    CHECK(rate["median"] <= rate["max"]);
    CHECK(row["bytes_per_token"].get<double>() > 0);
  }
  CHECK(tests == std::set<std::string>{"pp4", "pp8", "tg2"});
  const std::string text = output_of({"bench", tiny_model(), "-p", "4", "-n", "2", "-r", "1", "-q"});
  CHECK(contains(text, "pp4"));
  CHECK(contains(text, "tg2"));
  CHECK(json_of({"bench", tiny_model(), "-p", "0", "-n", "2", "-r", "1", "--json"})["results"].size() == 1);
  CHECK(contains(error_of(call({"bench", tiny_model(), "-p", "65"}), 1), "at most 64"));
  const nlohmann::json together =
      json_of({"bench", tiny_model(), "-p", "0", "-n", "9", "--sequences", "1,4", "-r", "1", "--json"});
  REQUIRE(together["results"].size() == 2);
  CHECK(together["results"][1]["test"] == "tg9x4");
  CHECK(together["results"][1]["sequences"] == 4);
  CHECK(together["results"][1]["bytes_per_token"].get<double>() ==
        together["results"][0]["bytes_per_token"].get<double>() / 4);
  CHECK(contains(error_of(call({"bench", tiny_model(), "-n", "4", "--sequences", "5"}), 1), "at most"));
  const nlohmann::json deep =
      json_of({"bench", tiny_model(), "-p", "0", "-n", "4", "-d", "0,40", "--sequences", "2", "-r", "1", "--json"});
  REQUIRE(deep["results"].size() == 2);
  CHECK(deep["results"][1]["test"] == "tg4x2 @ d40");
  CHECK(deep["results"][1]["n_depth"] == 40);
  CHECK(contains(error_of(call({"bench", tiny_model(), "-p", "0", "-n", "4", "-d", "61"}), 1), "at most 64"));
}

TEST_CASE("bench --regions divides a run among its regions") {
  const nlohmann::json json =
      json_of({"bench", tiny_model(), "-p", "4", "-n", "3", "-r", "1", "--regions", "--json", "-q"});
  for (const nlohmann::json& row : json["results"]) {
    double bytes = 0;
    std::set<std::string> regions;
    for (const nlohmann::json& region : row["regions"]) {
      CHECK(region["ms_per_token"].get<double>() >= 0);
      bytes += region["bytes_per_token"].get<double>();
      regions.insert(region["region"].get<std::string>());
    }
    CHECK(regions.size() == row["regions"].size());
    CHECK(regions.contains("attention"));
    CHECK(regions.contains("everything else"));
    CHECK(std::fabs(bytes - row["bytes_per_token"].get<double>()) <=
          1e-6 * bytes);  // every weight was read in a region
  }
  const std::string text = output_of({"bench", "--profile", tiny_model(), "-p", "0", "-n", "3", "-r", "1", "-q"});
  CHECK(contains(text, "norm + qkv"));
  CHECK(contains(text, "us/token"));
}

TEST_CASE("bench names the KV cache and its bytes") {
  // 8 positions take a segment of 128; two layers of two heads, keys of 24 numbers, values padded to 32.
  const std::size_t rows = 2 * 2 * 128;
  for (const auto& [kv, bytes] : {std::pair("f32", rows * 56 * 4), {"f16", rows * 56 * 2}, {"bf16", rows * 56 * 2}, {"int8", rows * (56 + 8)}}) {
    INFO(kv);
    const nlohmann::json json =
        json_of({"bench", tiny_model(), "-p", "8", "-n", "0", "-r", "1", "--kv", kv, "--json", "-q"});
    CHECK(json["type_k"] == kv);
    CHECK(json["type_v"] == kv);
    CHECK(json["kv_bytes"] == bytes);
  }
  CHECK(contains(output_of({"bench", tiny_model(), "-p", "8", "-n", "0", "-r", "1", "--kv", "int8", "-q"}),
                 "KV cache int8, 32.8 kB"));
}

TEST_CASE("isa explains the tier") {
  const nlohmann::json json = json_of({"isa", "--json"});
  require_keys(json, {"features", "tiers", "chosen", "reason"});
  std::size_t chosen = 0;
  for (const auto& tier : json["tiers"]) {
    require_keys(tier, {"name", "compiled", "available", "chosen", "why_not"});
    if (!tier["chosen"].get<bool>()) CHECK(tier["why_not"].is_string());
    else ++chosen;
  }
  CHECK(chosen == 1);
  const std::string name = json["chosen"];
  CHECK(contains(output_of({"isa"}), name));
  const nlohmann::json pinned = json_of({"isa", "--json", "--isa", "portable"});
  CHECK(pinned["chosen"] == "portable");
  CHECK(contains(pinned["reason"].get<std::string>(), "--isa"));
  ProcessOptions variable;
  variable.environment = {{"TRITIUM_ISA", "portable"}};
  CHECK(json_of({"isa", "--json"}, variable)["chosen"] == "portable");
  variable.environment = {{"TRITIUM_ISA", "nonsense"}};
  error_of(call({"isa"}, variable), 1);
  // A tier that this machine lacks is an error of the machine, not of usage.
  for (const auto& tier : json["tiers"]) {
    if (tier["available"].get<bool>()) continue;
    const std::string missing = tier["name"];
    INFO(missing);
    error_of(call({"isa", "--isa", missing}), 1);
    break;
  }
}

TEST_CASE("selftest passes on every tier that runs here") {
  const nlohmann::json json = json_of({"selftest", "--json"});
  std::size_t ran = 0;
  for (const auto& tier : json) {
    require_keys(tier, {"tier", "ran"});
    if (!tier["ran"].get<bool>()) continue;
    ++ran;
    CHECK(tier["passed"] == true);
    CHECK(tier["kernels"].get<int>() > 20);
  }
  CHECK(ran >= 1);
  CHECK(contains(output_of({"selftest", "--isa", "portable"}), "passed"));
}

TEST_CASE("formats lists every format, and quantize and --weights take their names") {
  const nlohmann::json json = json_of({"formats", "--json"});
  REQUIRE(json.size() > 20);
  for (const auto& format : json) {
    require_keys(format, {"name", "bits_per_weight", "group", "activations", "gguf_type", "kernel", "tiers"});
    CHECK(format["tiers"].size() >= 1);
  }
  const std::string text = output_of({"formats"});
  for (const auto& format : json) CHECK(contains(text, format["name"].get<std::string>()));
  // Columns do not run into each other.
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t kernel = line.find("matmul_");
    if (kernel == std::string::npos) continue;
    const std::size_t end = line.find(' ', kernel);
    REQUIRE(end != std::string::npos);
    CHECK(std::string_view(line).substr(0, end).ends_with("_f32"));
  }
}

TEST_CASE("models says what is there") {
  const TemporaryFolder folder;
  ProcessOptions options;
  options.environment = {{"TRITIUM_MODELS", folder.path()}};
  nlohmann::json json = json_of({"models", "--json"}, options);
  REQUIRE(json.size() >= 2);
  for (const auto& model : json) {
    require_keys(model, {"name", "model", "present", "path", "bytes", "sha256", "licence", "command"});
    CHECK(model["present"] == false);
  }
  CHECK(contains(output_of({"models"}, options), "missing"));
  write_file(folder / "smollm2-135m.gguf", "x");  // the wrong size
  CHECK(contains(output_of({"models"}, options), "damaged"));
  CHECK(json_of({"models", "--json"}, options)[0]["present"] == false);
  error_of(call({"tokenize", "demo:smollm2-135m", "x"}, options), 1);
  CHECK(
      contains(error_of(call({"tokenize", "demo:gemma3-270m", "x"}, options), 1), "scripts/get-model.sh gemma3-270m"));
  CHECK(contains(error_of(call({"tokenize", "demo:other", "x"}, options), 1), "demo:smollm2-135m"));
  options.environment = {{"XDG_DATA_HOME", "/somewhere"}};
  CHECK(contains(output_of({"models"}, options), "/somewhere/tritium/models"));
  options.environment = {{"HOME", ""}};
  CHECK(contains(output_of({"models"}, options), "TRITIUM_MODELS"));
}
