// SPDX-License-Identifier: Apache-2.0
// Help, versions, wrong usage: who asked for what, and status 2.

#include "cli.h"

namespace {

const std::vector<std::string> kCommands = {"run",        "chat",     "tokenize", "detokenize", "logits",
                                            "perplexity", "quantize", "pack",     "inspect",    "bench",      "isa",
                                            "selftest",   "formats",  "template", "models"};

}  // namespace

TEST_CASE("help and version go to standard output with status 0") {
  const std::string all = output_of({"--help"});
  for (const std::string& name : kCommands) {
    INFO(name);
    CHECK(contains(all, "\n  " + name));
    for (const char* flag : {"--help", "-h"}) {
      const Finished run = call({name, flag});
      CHECK(run.status == 0);
      CHECK(run.err.empty());
      CHECK(contains(run.out, "tritium " + name + " [OPTIONS]"));
      CHECK(contains(run.out, "Example:"));
    }
    CHECK(output_of({name, "--version"}) == output_of({"--version"}));
  }
  CHECK(output_of({"--version"}).starts_with("tritium "));
}

TEST_CASE("wrong usage is status 2 and one line that names the place") {
  const std::string model = tiny_model();
  struct Case {
    std::vector<std::string> arguments;
    std::string where;
  };
  const std::vector<Case> cases = {
      {{}, "tritium --help"},
      {{"bogus"}, "found bogus"},
      {{""}, "tritium --help"},
      {{"run"}, "expected MODEL"},
      {{"run", ""}, "empty name"},
      {{"run", model}, "--prompt or --file"},
      {{"run", model, "-p", "a", "-f", "b"}, "found both"},
      {{"run", model, "-p"}, "found nothing"},
      {{"run", model, "-p", "a", "--bogus"}, "found --bogus"},
      {{"run", model, "-p", "a", "b"}, "found b"},
      {{"run", model, "-p", "a", "-n", "x"}, "-n"},
      {{"run", model, "-p", "a", "-n", "-1"}, "-n"},
      {{"run", model, "-p", "a", "-n", "1.5"}, "-n"},
      {{"run", model, "-p", "a", "-n", "99999999999999999999"}, "-n"},
      {{"run", model, "-p", "a", "-t", "0"}, "--threads"},
      {{"run", model, "-p", "a", "-t", "257"}, "--threads"},
      {{"run", model, "-p", "a", "--ctx", "0"}, "--ctx"},
      {{"run", model, "-p", "a", "--temp", "nan"}, "--temp"},
      {{"run", model, "-p", "a", "--temp", "-1"}, "--temp"},
      {{"run", model, "-p", "a", "--top-p", "1.5"}, "--top-p"},
      {{"run", model, "-p", "a", "--stop", ""}, "--stop"},
      {{"run", model, "-p", "a", "--kv", "f64"}, "f32|f16|int8|bf16"},
      {{"run", model, "-p", "a", "--acts", "int4"}, "--acts"},
      {{"run", model, "-p", "a", "--weights", "int3"}, "--weights"},
      {{"run", model, "-p", "a", "--head", ""}, "--head"},
      {{"run", model, "-p", "a", "--isa", "sse9"}, "--isa"},
      {{"run", model, "-p", "a", "--exact", "--weights", "int4"}, "--exact"},
      {{"run", model, "-p", "a", "--seed", "-1"}, "--seed"},
      {{"run", model, "-f", ""}, "--file"},
      {{"detokenize", model, "1", "x"}, "ID"},
      {{"detokenize", model, "-1"}, "-1"},
      {{"logits", model, "--out", "f.npy"}, "--tokens"},
      {{"logits", model, "--tokens", "1,2"}, "--out"},
      {{"logits", model, "--tokens", "1,2", "--out", ""}, "--out"},
      {{"logits", model, "--tokens", "1,,2", "--out", "f.npy"}, "--tokens"},
      {{"logits", model, "--tokens", "", "--out", "f.npy"}, "--tokens"},
      {{"logits", model, "--tokens", "1", "--tokens-file", "x", "--out", "f.npy"}, "found both"},
      {{"perplexity", model}, "--file"},
      {{"perplexity", model, "-f", "x", "--rule", "third"}, "--rule"},
      {{"perplexity", model, "-f", "x", "--save-logits", ""}, "--save-logits"},
      {{"quantize", model, "out.gguf"}, "--to"},
      {{"quantize", model, "--to", "q8_0"}, "OUT.gguf"},
      {{"quantize", model, "", "--to", "q8_0"}, "OUT"},
      {{"quantize", model, "out.gguf", "--to", "q9_9"}, "--to"},
      {{"quantize", model, "out.gguf", "--to", "q8_0", "--head", "int2"}, "--head"},
      {{"bench", model, "-p", "0", "-n", "0"}, "tokens"},
      {{"bench", model, "-p", "1,x"}, "-p"},
      {{"bench", model, "-r", "0"}, "-r"},
      {{"isa", "--isa", "sse9"}, "--isa"},
      {{"template", model}, "--messages"},
      {{"models", "x"}, "found x"},
  };
  for (const Case& c : cases) {
    std::string line;
    for (const std::string& argument : c.arguments) line += " '" + argument + "'";
    INFO(line);
    const std::string error = full_error_of(call(c.arguments), 2);
    CHECK(contains(error, "wrong usage"));
    CHECK(contains(error, c.where));
  }
}

TEST_CASE("usage is checked before a model is opened") {
  CHECK(contains(error_of(call({"run", "/nonexistent.gguf"}), 2), "--prompt"));
  CHECK(contains(error_of(call({"quantize", "/nonexistent.gguf", "x.gguf", "--to", "nothing"}), 2), "--to"));
}

TEST_CASE("the aliases that users of llama.cpp know") {
  const std::string model = tiny_model();
  const std::string expected = output_of({"run", model, "-p", "Alice", "-n", "4", "--greedy", "--kv", "f32"});
  CHECK(output_of({"run", "-m", model, "--prompt", "Alice", "--n-predict", "4", "--temp", "0", "-ctk", "f32"}) ==
        expected);
  CHECK(output_of({"run", "--model", model, "-p", "Alice", "--predict", "4", "--top-k", "1", "-c", "32", "-ctv",
                   "f32"}) == expected);
}

TEST_CASE("q8_0 is llama.cpp's name for the int8 cache") {
  const std::string model = tiny_model();
  const auto bench = [&](const char* option, const char* type) {
    return output_of({"bench", model, "-p", "4", "-n", "0", "-r", "1", "-q", option, type});
  };
  CHECK(contains(bench("-ctk", "q8_0"), "KV cache int8"));
  CHECK(contains(bench("-ctv", "f16"), "KV cache f16"));
}

TEST_CASE("quiet means nothing on standard error") {
  const Finished loud = call({"run", tiny_model(), "-p", "Alice", "-n", "2"});
  CHECK(loud.status == 0);
  CHECK(contains(loud.err, "tokens/s"));
  const Finished quiet = call({"run", tiny_model(), "-p", "Alice", "-n", "2", "-q"});
  CHECK(quiet.status == 0);
  CHECK(quiet.err.empty());
  CHECK(quiet.out == loud.out);
}
