// SPDX-License-Identifier: Apache-2.0
// The command line on a real model, where it is present.

#include <cmath>
#include <cstdlib>

#include "cli.h"
#include "tritium/io/npy.h"

namespace {

/// Where this machine keeps its models; without the model the case is skipped, or fails where models are required.
std::optional<ProcessOptions> with_demo(const char* name) {
  ProcessOptions options;
  options.limit = std::chrono::seconds(600);
  for (const char* variable : {"TRITIUM_MODELS", "XDG_DATA_HOME", "HOME"}) {
    if (const char* value = std::getenv(variable)) options.environment.emplace_back(variable, value);
  }
  for (const auto& model : json_of({"models", "--json"}, options)) {
    if (model.at("name") == name && model.at("present").get<bool>()) return options;
  }
  const char* required = std::getenv("TRITIUM_REQUIRE_MODELS");
  if (required != nullptr && *required != '\0') FAIL("the demo model " << name << " is required and not there");
  WARN("skipped: the demo model " << name << " is not there");
  return std::nullopt;
}

}  // namespace

TEST_CASE("SmolLM2 knows the capital of France, from its file and from files made of it", "[slow]") {
  const auto options = with_demo("smollm2-135m");
  if (!options) return;
  const std::vector<std::string> tail = {"-p", "The capital of France is", "-n", "4", "--greedy", "-q"};
  const auto completion = [&](const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run", model};
    arguments.insert(arguments.end(), tail.begin(), tail.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return output_of(arguments, *options);
  };
  CHECK(contains(completion("demo:smollm2-135m"), "Paris"));
  CHECK(contains(completion("demo:smollm2-135m", {"--exact"}), "Paris"));
  CHECK(completion("demo:smollm2-135m", {"-t", "1"}) == completion("demo:smollm2-135m", {"-t", "2"}));
  const TemporaryFolder folder;
  for (const char* type : {"q8_0", "q4_k", "f16"}) {
    INFO(type);
    REQUIRE(call({"quantize", "demo:smollm2-135m", folder / "o.gguf", "--to", type}, *options).status == 0);
    CHECK(contains(completion(folder / "o.gguf"), "Paris"));
  }
}

TEST_CASE("SmolLM2 chats in its own form", "[slow]") {
  const auto options = with_demo("smollm2-135m");
  if (!options) return;
  ProcessOptions chat = *options;
  chat.input = "What is 2 + 2? Answer with one number.\nAnd what is the capital of Italy?\n";
  const std::string answers = output_of({"chat", "demo:smollm2-135m", "--greedy", "-n", "40", "-q"}, chat);
  CHECK(contains(answers, "4"));
  CHECK(contains(answers, "Rome"));
  CHECK_FALSE(contains(answers, "<|im_end|>"));
}

TEST_CASE("SmolLM2 predicts English, better in its own file than rounded further", "[slow]") {
  const auto options = with_demo("smollm2-135m");
  if (!options) return;
  const TemporaryFolder folder;
  write_file(folder / "text.txt", file_contents(TRITIUM_TEST_DATA "/text/alice.txt").substr(0, 4000));
  const std::vector<std::string> base = {
      "perplexity", "demo:smollm2-135m", "-f", folder / "text.txt", "--ctx", "256", "--json", "-q"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return json_of(more, *options);
  };
  const nlohmann::json own = with({"--save-logits", folder / "l.npy"});
  CHECK(own["ppl"].get<double>() > 2);
  CHECK(own["ppl"].get<double>() < 40);
  CHECK(with({"--kl-from", folder / "l.npy"})["kld"].get<double>() == 0);
  const nlohmann::json exact = with({"--exact", "--kl-from", folder / "l.npy"});
  CHECK(exact["kld"].get<double>() < 0.01);
  CHECK(exact["top1"].get<double>() > 0.9);
  const nlohmann::json coarse = with({"--weights", "int4g32", "--head", "int4g32", "--kl-from", folder / "l.npy"});
  CHECK(coarse["kld"] > exact["kld"]);
}

TEST_CASE("Ctrl-C during a real run keeps the text so far", "[slow]") {
  const auto options = with_demo("smollm2-135m");
  if (!options) return;
  Process run(command({"run", "demo:smollm2-135m", "-p", "Once upon a time", "-n", "4000", "--ignore-eos", "-t", "1"}),
              *options);
  REQUIRE(run.run_until([&] { return run.out().size() > 40; }));
  run.send(SIGINT);
  const Finished finished = run.finish();
  CHECK(finished.status == 130);
  CHECK(finished.signal == 0);
  CHECK(finished.out.size() > 40);
  CHECK(contains(finished.err, "generated"));
  CHECK_FALSE(contains(finished.err, "error"));
}

TEST_CASE("the bytes of a real model tokenize and come back", "[slow]") {
  const auto options = with_demo("smollm2-135m");
  if (!options) return;
  ProcessOptions text = *options;
  text.input = file_contents(TRITIUM_TEST_DATA "/text/alice.txt") + "\xF0\x9F\x8E\x89 \xE6\x97\xA5\n\n ";
  const std::string ids = output_of({"tokenize", "demo:smollm2-135m"}, text);
  ProcessOptions back = *options;
  back.input = ids;
  CHECK(output_of({"detokenize", "demo:smollm2-135m"}, back) == text.input);
}
