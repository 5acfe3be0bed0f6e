// SPDX-License-Identifier: Apache-2.0
// quantize: files that load and say the same, written whole or not at all.

#include <cmath>
#include <set>

#include "cli.h"
#include "tritium/io/gguf.h"
#include "tritium/io/npy.h"

namespace {

std::vector<float> exact_logits(const std::string& model) {
  const TemporaryFolder folder;
  (void)output_of({"logits", model, "--tokens", "1,5,7,300,12,44", "--exact", "--out", folder / "l.npy", "-q"});
  return value_of(tritium::read_npy<float>(folder / "l.npy")).values;
}

/// A GGUF file with one matrix, large enough that converting it takes a while.
void write_large(const std::string& path, std::size_t rows) {
  tritium::GgufWriter writer;
  require_ok(writer.set("general.architecture", std::string_view("other")));
  const std::uint64_t dims[] = {4096, rows};
  require_ok(writer.add_tensor("blk.0.attn_q.weight", tritium::TensorType::f32, dims));
  require_ok(writer.begin(path));
  std::vector<float> row(4096);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(std::sin(static_cast<double>(i)));
  for (std::size_t r = 0; r < rows; ++r) {
    require_ok(writer.append("blk.0.attn_q.weight", std::as_bytes(std::span(row))));
  }
  require_ok(writer.finish());
}

}  // namespace

TEST_CASE("every type of file is written and runs") {
  const TemporaryFolder folder;
  const std::string out = folder / "out.gguf";
  const std::vector<float> truth = exact_logits(tiny_model());
  for (const char* type : {"f32",  "f16",  "bf16", "q8_0",   "q4_0",   "q4_1",  "q5_0",   "q5_1", "q2_k", "q3_k",
                           "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4", "Q4_K_M", "int8", "int4", "fp16"}) {
    INFO(type);
    const Finished run = call({"quantize", tiny_model(), out, "--to", type});
    INFO(run.err);
    REQUIRE(run.status == 0);
    CHECK(run.out.empty());
    CHECK(contains(run.err, "wrote "));
    const std::vector<float> found = exact_logits(out);
    REQUIRE(found.size() == truth.size());
    double square = 0;
    double error = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      square += std::pow(static_cast<double>(truth[i]), 2);
      error += std::pow(static_cast<double>(truth[i]) - static_cast<double>(found[i]), 2);
    }
    const bool exact = std::set<std::string_view>{"f32", "f16", "bf16", "q8_0", "int8", "fp16"}.count(type) != 0;
    CHECK(std::sqrt(error / square) < (exact ? 1e-5 : 0.9));
  }
  CHECK(folder.entries() == std::vector<std::string>{"out.gguf"});
  // Nothing of a ternary model would be left of this one, but the file is sound.
  CHECK(call({"quantize", tiny_model(), out, "--to", "ternary", "-q"}).status == 0);
  CHECK(call({"run", out, "-p", "a", "-n", "2", "-q"}).status == 0);
}

TEST_CASE("rows that do not fit a type get another one, and it is said") {
  const TemporaryFolder folder;
  const Finished run = call({"quantize", tiny_model(), folder / "o.gguf", "--to", "q4_k", "--head", "q8_0"});
  REQUIRE(run.status == 0);
  CHECK(contains(run.err, "rows of 56"));
  CHECK(contains(run.err, "no multiple of the 256 of q4_k: q5_0 instead"));
  CHECK(call({"quantize", tiny_model(), folder / "o.gguf", "--to", "q4_k", "-q"}).err.empty());
  const Finished verbose = call({"quantize", tiny_model(), folder / "o.gguf", "--to", "q4_0", "-v"});
  CHECK(contains(verbose.err, "blk.0.attn_q.weight"));
  CHECK(contains(verbose.err, "relative error 0."));
  CHECK(contains(verbose.err, "copied"));
}

TEST_CASE("a folder becomes a file that runs without it") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "model");
  for (const char* file : {"config.json", "model.safetensors"}) {
    std::filesystem::copy(golden_folder("llama") + "/" + file, folder / (std::string("model/") + file));
  }
  std::filesystem::copy(golden_folder("tokenizers") + "/tokenizer.model", folder / "model/tokenizer.model");
  write_file(folder / "model/tokenizer_config.json",
             R"({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages[0].content }}"})");
  const std::string out = folder / "out.gguf";
  REQUIRE(call({"quantize", folder / "model", out, "--to", "f16"}).status == 0);
  CHECK(exact_logits(out) == exact_logits(folder / "model"));
  const std::string text = "Alice was </s> beginning  to get\n\xE6\x97\xA5";
  CHECK(output_of({"tokenize", out, text}) == output_of({"tokenize", folder / "model", text}));
  for (const char* sampling : {"--greedy", "--seed=5"}) {
    CHECK(output_of({"run", out, "-p", "Alice", "-n", "8", "-q", "--exact", sampling}) ==
          output_of({"run", folder / "model", "-p", "Alice", "-n", "8", "-q", "--exact", sampling}));
  }
  write_file(folder / "m.json", R"([{"role": "user", "content": "hello"}])");
  CHECK(output_of({"template", out, "--messages", folder / "m.json"}) == "hello");
  const nlohmann::json facts = json_of({"inspect", out, "--json"});
  CHECK(facts["metadata"]["general.name"] == "model");
  CHECK(facts["metadata"]["general.architecture"] == "llama");
}

TEST_CASE("what cannot be exported says so") {
  const TemporaryFolder folder;
  const std::string out = folder / "o.gguf";
  CHECK(contains(full_error_of(call({"quantize", golden_folder("gemma3-scaled"), out, "--to", "q8_0"}), 1),
                 "GGUF cannot describe this model"));
  CHECK(contains(full_error_of(call({"quantize", golden_folder("bitnet"), out, "--to", "q4_0"}), 1), "BitLinear"));
  error_of(call({"quantize", folder / "none.gguf", out, "--to", "q8_0"}), 1);
  error_of(call({"quantize", folder.path(), out, "--to", "q8_0"}), 1);
  CHECK(folder.entries().empty());
}

TEST_CASE("places that are no place for a file") {
  const TemporaryFolder folder;
  const std::string copy = folder / "copy.gguf";
  std::filesystem::copy(tiny_model(), copy);
  std::filesystem::create_symlink(copy, folder / "link.gguf");
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  std::filesystem::create_directory(folder / "sub");
  const auto entries = folder.entries();
  CHECK(contains(full_error_of(call({"quantize", copy, copy, "--to", "q4_0"}), 1), "the output is the input"));
  CHECK(contains(full_error_of(call({"quantize", copy, folder / "link.gguf", "--to", "q4_0"}), 1),
                 "the output is the input"));
  CHECK(contains(full_error_of(call({"quantize", copy, folder / "fifo", "--to", "q4_0"}), 1), "a FIFO"));
  CHECK(contains(full_error_of(call({"quantize", copy, folder / "sub", "--to", "q4_0"}), 1), "a folder"));
  CHECK(contains(full_error_of(call({"quantize", copy, "/dev/full", "--to", "q4_0"}), 1), "a device"));
  error_of(call({"quantize", copy, folder / "no/such/out.gguf", "--to", "q4_0"}), 1);
  error_of(call({"quantize", copy, folder / "copy.gguf/out.gguf", "--to", "q4_0"}), 1);
  CHECK(folder.entries() == entries);
  CHECK(file_contents(copy) == file_contents(tiny_model()));
}

TEST_CASE("an interrupted conversion leaves the old file") {
  const TemporaryFolder folder;
  write_large(folder / "in.gguf", 8000);  // 131 MB: seconds of work
  write_file(folder / "out.gguf", "the old one");
  Process process(command({"quantize", folder / "in.gguf", folder / "out.gguf", "--to", "iq4_xs", "-t", "1"}));
  // The new file grows under another name meanwhile.
  const auto growing = [&] {
    for (const std::string& name : folder.entries()) {
      if (name.starts_with(".out.gguf") && std::filesystem::file_size(folder / name) > 0) return true;
    }
    return false;
  };
  REQUIRE(process.run_until(growing));
  CHECK(file_contents(folder / "out.gguf") == "the old one");
  process.send(SIGINT);
  CHECK(contains(error_of(process.finish(), 130), "interrupted"));
  CHECK(folder.entries() == std::vector<std::string>{"in.gguf", "out.gguf"});
  CHECK(file_contents(folder / "out.gguf") == "the old one");

  // Killed outright, what it leaves is taken away by the next run.
  Process killed(command({"quantize", folder / "in.gguf", folder / "out.gguf", "--to", "iq4_xs", "-t", "1"}));
  REQUIRE(killed.run_until(growing));
  killed.send(SIGKILL);
  CHECK(killed.finish().signal == SIGKILL);
  CHECK(folder.entries().size() == 3);
  CHECK(file_contents(folder / "out.gguf") == "the old one");
  CHECK(call({"quantize", tiny_model(), folder / "out.gguf", "--to", "q8_0"}).status == 0);
  CHECK(folder.entries() == std::vector<std::string>{"in.gguf", "out.gguf"});
}

TEST_CASE("a file size limit ends in an error and no file") {
  const TemporaryFolder folder;
  ProcessOptions options;
  options.max_file_bytes = 20000;
  for (const char* what : {"quantize", "logits", "perplexity"}) {
    INFO(what);
    const std::string out = folder / "out";
    write_file(folder / "text.txt", file_contents(TRITIUM_TEST_DATA "/text/alice.txt").substr(0, 600));
    std::vector<std::string> arguments = {what, tiny_model(), out, "--to", "f32"};
    if (std::string_view(what) == "logits") {
      arguments = {what, tiny_model(), "--out", out, "--tokens", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20"};
    } else if (std::string_view(what) == "perplexity") {
      arguments = {what, tiny_model(), "-f", folder / "text.txt", "--save-logits", out};
    }
    CHECK(contains(full_error_of(call(arguments, options), 1), "File too large"));
    CHECK(folder.entries() == std::vector<std::string>{"text.txt"});
  }
}
