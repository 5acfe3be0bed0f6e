// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/checkpoint.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "io/allocation_meter.h"
#include "io/gguf_bytes.h"
#include "io/test_files.h"
#include "support/real_models.h"

using namespace tritium;

TEST_CASE("a GGUF file is a checkpoint", "[checkpoint]") {
  const Checkpoint checkpoint = value_of(Checkpoint::open(test_data("python.gguf")));
  CHECK(checkpoint.kind() == Checkpoint::Kind::gguf);
  REQUIRE(checkpoint.gguf() != nullptr);
  CHECK(checkpoint.config() == nullptr);
  CHECK(value_of(checkpoint.gguf()->get<std::string_view>("general.architecture")) == "llama");
  CHECK(checkpoint.folder() == std::string_view(test_data("")).substr(0, test_data("").size() - 1));
  CHECK(checkpoint.file_bytes() == std::filesystem::file_size(test_data("python.gguf")));
  CHECK(checkpoint.tensors().size() == 12);
  const TensorSource* tensor = checkpoint.find("plain.i32");
  REQUIRE(tensor != nullptr);
  CHECK(tensor->type == TensorType::i32);
  CHECK(std::vector<std::size_t>(tensor->dims().begin(), tensor->dims().end()) == std::vector<std::size_t>{2, 3, 4});
  CHECK(tensor->rows() == 6);
  CHECK(tensor->cols() == 4);
  CHECK(tensor->elements() == 24);
  CHECK(tensor->bytes == 96);
  CHECK(load_little_endian<std::int32_t>(tensor->data + 4 * 23) == 23);
  CHECK(checkpoint.find("quant.q4_0")->cols() == 64);
  require_ok(checkpoint.check_unchanged());
}

TEST_CASE("a split GGUF file is one checkpoint", "[checkpoint]") {
  const Checkpoint checkpoint = value_of(Checkpoint::open(test_data("python-split-00001-of-00003.gguf")));
  CHECK(checkpoint.tensors().size() == 5);
  CHECK(checkpoint.find("part.4") != nullptr);
}

TEST_CASE("a folder of safetensors is a checkpoint", "[checkpoint]") {
  for (const std::string_view end : {"", "/", "//"}) {
    const Checkpoint checkpoint = value_of(Checkpoint::open(test_data("sharded") + std::string(end)));
    CHECK(checkpoint.kind() == Checkpoint::Kind::safetensors);
    CHECK(checkpoint.gguf() == nullptr);
    REQUIRE(checkpoint.config() != nullptr);
    const JsonObject config = value_of(JsonObject::of(*checkpoint.config(), "config.json"));
    CHECK(value_of(config.get<std::string_view>("model_type")) == "llama");
    CHECK(value_of(config.get<float>("rms_norm_eps")) == 1e-5f);
    CHECK(config.find("rope_scaling") == nullptr);
    CHECK(checkpoint.folder() == test_data("sharded"));
    CHECK(checkpoint.tensors().size() == 3);
    const TensorSource up = value_of(checkpoint.require("model.layers.0.mlp.up_proj.weight"));
    CHECK(up.type == TensorType::bf16);
    CHECK(up.rows() == 6);
    CHECK(up.cols() == 8);
    CHECK(up.bytes == 96);
    require_ok(checkpoint.check_unchanged());
  }
}

TEST_CASE("a checkpoint survives being moved", "[checkpoint]") {
  for (const std::string& path : {test_data("python.gguf"), test_data("sharded")}) {
    Checkpoint first = value_of(Checkpoint::open(path));
    const std::string name(first.tensors()[0].name);
    const Checkpoint second = std::move(first);
    REQUIRE(second.find(name) != nullptr);
    CHECK(second.path() == path);
  }
}

TEST_CASE("a tensor that is not there and one of no use are told apart", "[checkpoint]") {
  const TemporaryFolder folder;
  write_file(folder / "config.json", "{}");
  std::filesystem::copy_file(test_data("python-f8.safetensors"), folder / "model.safetensors");
  const Checkpoint checkpoint = value_of(Checkpoint::open(folder.path()));
  CHECK(checkpoint.tensors().size() == 1);
  CHECK(checkpoint.find("f8") == nullptr);
  CHECK(message_of(checkpoint.require("f8")) ==
        "unsupported dtype (" + folder.path() +
            ", tensor \"f8\": expected F32, F16, BF16 or an integer type, found F8_E4M3)");
  CHECK(checkpoint.require("f8").error().code == Errc::unsupported);
  CHECK(message_of(checkpoint.require("g8")) ==
        "tensor is missing (" + folder.path() + ", tensor \"g8\": expected it, found nothing)");
}

TEST_CASE("tensors of rank 0 and without elements have shapes too", "[checkpoint]") {
  const TemporaryFolder folder;
  write_file(folder / "config.json", "{}");
  std::filesystem::copy_file(test_data("python.safetensors"), folder / "model.safetensors");
  const Checkpoint checkpoint = value_of(Checkpoint::open(folder.path()));
  const TensorSource scalar = value_of(checkpoint.require("scalar"));
  CHECK(scalar.rank == 0);
  CHECK(scalar.rows() == 1);
  CHECK(scalar.cols() == 1);
  CHECK(scalar.bytes == 4);
  const TensorSource empty = value_of(checkpoint.require("empty"));
  CHECK(empty.elements() == 0);
  CHECK(empty.bytes == 0);
  CHECK(value_of(checkpoint.require("bool")).type == TensorType::u8);
}

TEST_CASE("files beside the model are read by plain name", "[checkpoint]") {
  const Checkpoint checkpoint = value_of(Checkpoint::open(test_data("single")));
  CHECK(checkpoint.has_sibling("tokenizer_config.json"));
  CHECK_FALSE(checkpoint.has_sibling("tokenizer.json"));
  CHECK_FALSE(checkpoint.has_sibling(""));
  CHECK_FALSE(checkpoint.has_sibling(".."));
  CHECK_FALSE(checkpoint.has_sibling("../single/config.json"));
  CHECK(value_of(checkpoint.read_sibling("tokenizer_config.json", 1000)) == "{\"bos_token\": \"<s>\"}\n");
  CHECK(contains(message_of(checkpoint.read_sibling("tokenizer_config.json", 5)), "at most 5 bytes"));
  CHECK(contains(message_of(checkpoint.read_sibling("../single/config.json", 1000)), "a name without folders"));
  CHECK(contains(message_of(checkpoint.read_sibling("none.json", 1000)), "No such file"));
  CHECK(value_of(checkpoint.read_sibling_json("tokenizer_config.json"))["bos_token"] == "<s>");
  const Checkpoint gguf = value_of(Checkpoint::open(test_data("python.gguf")));
  CHECK(gguf.has_sibling("python-f4.npy"));
}

TEST_CASE("what is no checkpoint is refused with advice", "[checkpoint]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "empty");
  std::filesystem::create_directory(folder / "no-weights");
  write_file(folder / "no-weights/config.json", "{}");
  std::filesystem::create_directory(folder / "bad-config");
  write_file(folder / "bad-config/config.json", "[1]");
  write_file(folder / "text.gguf", "hello world");
  const std::pair<std::string, std::string> cases[] = {
      {"", "empty file name"},
      {std::string("x\0y", 3), "NUL"},
      {folder / "none", "No such file"},
      {folder / "empty", "config.json: No such file"},
      {folder / "no-weights", "found 0 *.safetensors files"},
      {folder / "bad-config", "config.json: expected object, found array"},
      {folder / "text.gguf", "expected GGUF, found hell"},
      {test_data("single/model.safetensors"), "the folder of a safetensors model"},
      {test_data("single/config.json"), "the folder of a safetensors model"},
      {"/dev/null", "a device"},
  };
  for (const auto& [path, names] : cases) {
    const std::string message = message_of(Checkpoint::open(path));
    INFO(message);
    CHECK(contains(message, names));
    CHECK(is_one_printable_line(message));
  }
}

TEST_CASE("a relative path has a folder too", "[checkpoint]") {
  const TemporaryFolder folder;
  std::filesystem::copy_file(test_data("python.gguf"), folder / "m.gguf");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const auto checkpoint = Checkpoint::open("m.gguf");
  const bool sibling = checkpoint.ok() && checkpoint->has_sibling("m.gguf");
  std::filesystem::current_path(before);
  REQUIRE(checkpoint.ok());
  CHECK(checkpoint->folder() == ".");
  CHECK(sibling);
}

TEST_CASE("the published models are checkpoints", "[checkpoint]") {
  for (const char* name : {"gemma3-270m", "smollm2-135m"}) {
    const std::string path = tritium_test::real_model(name);
    if (path.empty()) continue;
    const Checkpoint checkpoint = value_of(Checkpoint::open(path));
    const TensorSource embedding = value_of(checkpoint.require("token_embd.weight"));
    const auto tokens = value_of(checkpoint.gguf()->get_array<std::string_view>("tokenizer.ggml.tokens"));
    CHECK(embedding.rows() == tokens.size());
    std::size_t bytes = 0;
    for (const TensorSource& tensor : checkpoint.tensors()) bytes += tensor.bytes;
    CHECK(bytes < checkpoint.file_bytes());
    CHECK(bytes > checkpoint.file_bytes() - (10 << 20));
  }
}

TEST_CASE("any allocation may fail while a checkpoint is opened", "[checkpoint]") {
  std::size_t n = 1;
  const std::string path = test_data("python.gguf");
  for (; n < 500; ++n) {
    const AllocationFailure failure(n);
    const auto checkpoint = Checkpoint::open(path);
    if (checkpoint.ok()) break;
    if (checkpoint.error().code != Errc::out_of_memory) FAIL(checkpoint.error().message);
  }
  CHECK(n > 5);
  CHECK(n < 500);
}
