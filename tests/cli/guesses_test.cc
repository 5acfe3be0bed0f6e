// SPDX-License-Identifier: Apache-2.0
// --draft, --lookup and --profile: guesses change no text, profiles are what the library says they are.

#include "cli.h"
#include "tritium/io/npy.h"

namespace {

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

/// Guesses that were made and that were right, from the note behind a run.
std::pair<std::size_t, std::size_t> guesses(const std::string& notes) {
  const std::size_t end = notes.find(" guesses were right");
  REQUIRE(end != std::string::npos);
  const std::size_t begin = notes.rfind("; ", end) + 2;
  const std::size_t of = notes.find(" of ", begin);
  REQUIRE(of < end);
  return {std::stoul(notes.substr(of + 4, end - of - 4)), std::stoul(notes.substr(begin, of - begin))};
}

std::vector<float> logits_of(const std::string& model, const std::vector<std::string>& more, const TemporaryFolder& folder) {
  output_of(joined({"logits", model, "--tokens", "5,9,30,31,32,40", "--out", folder / "l.npy", "-q"}, more));
  return value_of(tritium::read_npy<float>(folder / "l.npy")).values;
}

}  // namespace

TEST_CASE("a draft changes how soon a text comes, not the text") {
  for (const std::string& target : {golden_gguf("llama"), golden_gguf("mistral"), golden_gguf("phi3")}) {
    for (const std::vector<std::string>& how :
         {std::vector<std::string>{"--greedy"}, {"--temp", "0.7", "--seed", "5"}, {"--repeat-penalty", "1.3"}}) {
      const std::vector<std::string> base =
          joined({"run", target, "-p", "Alice was", "-n", "40", "--ignore-eos"}, how);
      const std::string expected = output_of(joined(base, {"-q"}));
      for (const std::vector<std::string>& draft :
           {std::vector<std::string>{"--draft", golden_gguf("llama")},
            {"--draft", golden_gguf("llama"), "--draft-tokens", "1", "--kv", "f16"},
            {"--draft", golden_gguf("mistral"), "--draft-tokens", "7", "-t", "2"},
            {"--draft", golden_gguf("mistral"), "--lookup", "3", "--ctx", "60"}}) {
        INFO(target << " " << how[0] << " " << draft[1] << " " << draft.back());
        const Finished run = call(joined(base, draft));
        INFO(run.err);
        REQUIRE(run.status == 0);
        CHECK(run.out == expected);
        const auto [guessed, right] = guesses(run.err);
        CHECK(guessed > 0);
        CHECK(right <= guessed);
        if (draft[1] == target && how[0] == "--greedy" && draft.size() == 2) CHECK(right == guessed);
      }
    }
  }
  CHECK_FALSE(contains(call({"run", tiny_model(), "-p", "Alice", "-n", "2"}).err, "guesses"));
}

TEST_CASE("a draft follows a chat") {
  const TemporaryFolder folder;
  const std::string form = folder / "form.jinja";
  write_file(form,
             "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + '\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}");
  const std::vector<std::string> base = {"chat", tiny_model(), "--template", form, "-n", "4", "--greedy", "--stop", "\n"};
  const char* talk = "hi\nyou\n/reset\nme\nyou\n";
  const std::string expected = output_of(base, with_input(talk));
  for (const char* draft : {"llama", "mistral"})
    CHECK(output_of(joined(base, {"--draft", golden_gguf(draft)}), with_input(talk)) == expected);
}

TEST_CASE("drafts that cannot serve are an error line") {
  const auto refused = [](const std::string& model, const std::vector<std::string>& more, int status) {
    return full_error_of(call(joined({"run", model, "-p", "Alice", "-n", "4", "-q"}, more)), status);
  };
  const std::string other = refused(tiny_model(), {"--draft", golden_gguf("qwen3")}, 1);
  CHECK(contains(other, "vocabularies differ (draft"));
  CHECK(contains(refused(tiny_model(), {"--draft-tokens", "3"}, 2), "--draft MODEL"));
  CHECK(contains(refused(tiny_model(), {"--draft", tiny_model(), "--draft-tokens", "0"}, 2), "--draft-tokens"));
  CHECK(contains(refused(tiny_model(), {"--draft", tiny_model(), "--draft-tokens", "65"}, 2), "1 to 64"));
  CHECK(contains(refused(tiny_model(), {"--draft", ""}, 2), "an empty name"));
  CHECK(contains(error_of(call({"run", tiny_model(), "-p", "a", "--draft", "none.gguf"}), 1), "none.gguf"));
}

TEST_CASE("the profile phi-silica on Phi-3 and on plain Llama shapes") {
  const TemporaryFolder folder;
  write_file(folder / "text.txt", "Alice was beginning to get very tired of sitting by her sister on the bank");
  for (const char* name : {"phi3", "phi4-mini", "llama-gqa", "llama-tied"}) {
    INFO(name);
    const std::string model = golden_gguf(name);
    const std::vector<std::string> profile = {"--profile", "phi-silica"};
    const std::vector<float> rotated = logits_of(model, profile, folder);
    const std::vector<float> plain = logits_of(model, {"--weights", "int4g32", "--head", "int8"}, folder);
    CHECK(rotated.size() == plain.size());
    CHECK(rotated != plain);  // the same formats in another basis
    CHECK(logits_of(model, joined(profile, {"--decode", "-t", "2"}), folder) == rotated);
    CHECK(logits_of(model, joined(profile, {"--weights", "int4g32", "--kv", "f16"}), folder) == rotated);
    // What is said wins: in f32 the rotated model is the model.
    const std::vector<float> exact = logits_of(model, {"--exact"}, folder);
    const std::vector<float> near = logits_of(model, joined(profile, {"--weights", "f32", "--head", "f32", "--kv", "f32"}), folder);
    REQUIRE(near.size() == exact.size());
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < near.size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(near[i]) - static_cast<double>(exact[i])));
      largest = std::max(largest, std::fabs(static_cast<double>(exact[i])));
    }
    CHECK(worst < 0.02 * largest);  // the table alone is rounded, to f16
    const nlohmann::json bench = json_of(joined({"bench", model, "-p", "4", "-n", "2", "-r", "1", "--json", "-q"}, profile));
    CHECK(bench["kernels"].contains("int4g32"));
    CHECK(bench["kernels"].contains("int8"));
    CHECK(json_of(joined({"perplexity", model, "-f", folder / "text.txt", "--json", "-q"}, profile))["tokens"].get<int>() > 0);
    const std::vector<std::string> run = joined({"run", model, "-p", "Alice was", "-n", "12", "--ignore-eos", "--greedy"}, profile);
    const std::string text = output_of(joined(run, {"-q"}));
    const Finished drafted = call(joined(run, {"--draft", model}));
    CHECK(drafted.out == text);
    CHECK(guesses(drafted.err).first > 0);
  }
}

TEST_CASE("what a profile refuses is an error line") {
  const TemporaryFolder folder;
  for (const char* name : {"phi", "gemma3", "qwen2", "bitnet", "qwen3-moe"}) {
    const std::string line = full_error_of(
        call({"logits", golden_gguf(name), "--tokens", "1,2", "--out", folder / "l.npy", "--profile", "phi-silica"}), 1);
    INFO(line);
    CHECK(contains(line, "this family cannot be rotated"));
    CHECK(contains(line, "found " + std::string(name).substr(0, 3)));
  }
  const auto wrong = [](const std::vector<std::string>& more) {
    return full_error_of(call(joined({"run", tiny_model(), "-p", "a"}, more)), 2);
  };
  CHECK(contains(wrong({"--profile", "another"}), "expected phi-silica, found another"));
  CHECK(contains(wrong({"--profile", ""}), "an empty name"));
  CHECK(contains(wrong({"--profile", "phi-silica", "--exact"}), "--exact"));
  CHECK(contains(wrong({"--profile", "phi-silica", "--acts", "f32"}), "--acts f32"));
}
