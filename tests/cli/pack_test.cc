// SPDX-License-Identifier: Apache-2.0
// pack and --cache: the same answers from packed weights, and no belief in ones that do not fit.

#include <fcntl.h>
#include <sys/stat.h>

#include "cli.h"

namespace {

/// The bytes that logits writes, with further options.
std::string logits_of(const std::string& model, const std::vector<std::string>& options = {}) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = {"logits", model, "--tokens", "1,5,7,30,12,44", "--out", folder / "l.npy", "-q"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  (void)output_of(arguments);
  return file_contents(folder / "l.npy");
}

std::string refused(const std::string& model, const std::string& cache, const std::vector<std::string>& options = {}) {
  const TemporaryFolder folder;
  const std::string before = file_contents(cache);
  std::vector<std::string> arguments = {"logits",         model,     "--tokens", "1,2", "--out",
                                        folder / "l.npy", "--cache", cache};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const std::string line = full_error_of(call(arguments), 1);
  CHECK(folder.entries().empty());
  CHECK(file_contents(cache) == before);
  return line;
}

ino_t file_number(const std::string& path) {
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_ino;
}

}  // namespace

TEST_CASE("packed weights answer as the model does") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  for (const std::string& model : {golden_gguf("llama"), golden_folder("llama"), golden_folder("qwen3-moe"),
                                   golden_folder("gemma3n"), golden_gguf("bitnet-silu")}) {
    for (const std::vector<std::string>& options :
         {std::vector<std::string>{}, {"--exact"}, {"--weights", "int8g32", "--head", "f16"}}) {
      INFO(model << ", " << options.size() << " options");
      std::vector<std::string> pack = {"pack", model, cache};
      pack.insert(pack.end(), options.begin(), options.end());
      const Finished run = call(pack);
      INFO(run.err);
      REQUIRE(run.status == 0);
      CHECK(run.out.empty());
      CHECK(run.err.starts_with("tritium: wrote " + cache + ": "));
      CHECK(contains(run.err, " matrices, "));
      CHECK(run.err.ends_with(" s\n"));
      CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
      std::vector<std::string> with = options;
      with.insert(with.end(), {"--cache", cache});
      const ino_t number = file_number(cache);
      CHECK(logits_of(model, with) == logits_of(model, options));
      CHECK(file_number(cache) == number);
    }
  }
  CHECK(folder.entries() == std::vector<std::string>{"c.tritium"});
}

TEST_CASE("without a name the cache is beside the model") {
  const TemporaryFolder folder;
  std::filesystem::copy(tiny_model(), folder / "tiny.gguf");
  std::filesystem::create_directory(folder / "model.v2");
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy(golden_folder("llama") + "/" + file, folder / (std::string("model.v2/") + file));
  CHECK(call({"pack", folder / "tiny.gguf"}).status == 0);
  CHECK(call({"pack", folder / "model.v2/"}).status == 0);
  CHECK(folder.entries() == std::vector<std::string>{"model.v2", "model.v2.tritium", "tiny.gguf", "tiny.tritium"});
  CHECK(logits_of(folder / "tiny.gguf", {"--cache", "auto"}) == logits_of(tiny_model()));
}

TEST_CASE("a cache that is not there is made, one that is there must fit") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const std::string model = folder / "m.gguf";
  std::filesystem::copy(tiny_model(), model);
  const std::string answer = logits_of(model);
  CHECK(logits_of(model, {"--cache", cache}) == answer);
  const std::string bytes = file_contents(cache);
  const ino_t number = file_number(cache);
  CHECK(logits_of(model, {"--cache", cache}) == answer);
  CHECK(file_number(cache) == number);
  for (const char* command : {"run", "bench", "perplexity"}) {
    INFO(command);
    write_file(folder / "t.txt", "Alice was beginning to get very tired of sitting by her sister on the bank");
    std::vector<std::string> arguments = {command, model, "--cache", cache, "-q"};
    if (std::string_view(command) == "run") arguments.insert(arguments.end(), {"-p", "Alice", "-n", "4"});
    if (std::string_view(command) == "bench") arguments.insert(arguments.end(), {"-p", "4", "-n", "4", "-r", "1"});
    if (std::string_view(command) == "perplexity")
      arguments.insert(arguments.end(), {"-f", folder / "t.txt", "--ctx", "16"});
    CHECK_FALSE(output_of(arguments).empty());
  }

  CHECK(
      contains(refused(model, cache, {"--weights", "int8g32"}), "format of the layers: expected int8g32, found keep"));
  CHECK(contains(refused(model, cache, {"--head", "f16"}), "format of the head"));
  CHECK(contains(refused(model, cache, {"--exact"}), "format of the layers"));
  CHECK(contains(refused(golden_gguf("qwen3"), cache), "does not fit"));
  const struct timespec times[] = {{1, 5}, {1, 5}};
  REQUIRE(::utimensat(AT_FDCWD, model.c_str(), times, 0) == 0);
  CHECK(contains(refused(model, cache), "time of modification"));
  write_file(cache, bytes.substr(0, bytes.size() - 4096));
  CHECK(contains(refused(model, cache), "another size"));
  std::string damaged = bytes;
  damaged[130] = static_cast<char>(damaged[130] ^ 4);
  write_file(cache, damaged);
  CHECK(contains(refused(model, cache), "damaged"));
  write_file(cache, "a letter to somebody");
  CHECK(contains(refused(model, cache), "not a packed cache"));
  write_file(cache, "");
  CHECK(contains(refused(model, cache), "ends too early"));
}

TEST_CASE("an automatic cache is made again where it does not fit") {
  const TemporaryFolder folder;
  const std::string model = folder / "m.gguf";
  const std::string cache = folder / "m.tritium";
  std::filesystem::copy(tiny_model(), model);
  const std::string answer = logits_of(model);
  const std::vector<std::string> automatic = {"--cache", "auto"};
  CHECK(logits_of(model, automatic) == answer);
  const std::string bytes = file_contents(cache);
  for (const std::string& other : {bytes.substr(0, 5000), std::string("no cache"), std::string()}) {
    write_file(cache, other);
    CHECK(logits_of(model, automatic) == answer);
    CHECK(file_contents(cache) == bytes);
  }
  CHECK(logits_of(model, {"--cache", "auto", "--exact"}) == logits_of(model, {"--exact"}));
  CHECK(file_contents(cache) != bytes);
  CHECK(logits_of(model, automatic) == answer);
  CHECK(file_contents(cache) == bytes);

  std::filesystem::remove(cache);  // where it cannot be kept, it is said and the work goes on
  std::filesystem::create_directory(cache);
  CHECK(logits_of(model, automatic) == answer);
  const Finished run = call({"run", model, "-p", "Alice", "-n", "2", "--cache", "auto"});
  CHECK(run.status == 0);
  CHECK(contains(run.err, "tritium: no packed cache: "));
}

TEST_CASE("both stacks of an encoder-decoder come from a cache") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const std::string model = TRITIUM_TEST_DATA "/golden_pairs/t5gemma";
  const std::vector<std::string> tokens = {"--decoder-tokens", "2,5,9"};
  const std::string answer = logits_of(model, tokens);
  CHECK(call({"pack", model, cache}).status == 0);
  const std::string bytes = file_contents(cache);
  CHECK(logits_of(model, {"--decoder-tokens", "2,5,9", "--cache", cache}) == answer);
  std::filesystem::remove(cache);
  CHECK(logits_of(model, {"--decoder-tokens", "2,5,9", "--cache", cache}) == answer);
  CHECK(file_contents(cache) == bytes);
}

TEST_CASE("places that are no place for a cache") {
  const TemporaryFolder folder;
  const std::string copy = folder / "copy.gguf";
  std::filesystem::copy(tiny_model(), copy);
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  write_file(folder / "old.tritium", "the old one");
  const auto entries = folder.entries();
  CHECK(contains(full_error_of(call({"pack", copy, copy}), 1), "the output is the input"));
  CHECK(contains(full_error_of(call({"pack", copy, folder / "fifo"}), 1), "a FIFO"));
  CHECK(contains(full_error_of(call({"pack", copy, folder.path()}), 1), "a folder"));
  CHECK(contains(full_error_of(call({"pack", copy, "/dev/full"}), 1), "a device"));
  error_of(call({"pack", copy, folder / "no/such.tritium"}), 1);
  error_of(call({"pack", folder / "none.gguf"}), 1);
  CHECK(contains(full_error_of(call({"run", copy, "-p", "a", "--cache", folder / "fifo"}), 1), "a FIFO"));
  ProcessOptions limited;
  limited.max_file_bytes = 20000;
  CHECK(contains(full_error_of(call({"pack", copy, folder / "old.tritium"}, limited), 1), "File too large"));
  CHECK(folder.entries() == entries);
  CHECK(file_contents(folder / "old.tritium") == "the old one");
  CHECK(file_contents(copy) == file_contents(tiny_model()));
  CHECK(contains(full_error_of(call({"pack", copy, "--cache", "auto"}), 2), "--cache"));
  CHECK(contains(full_error_of(call({"run", copy, "-p", "a", "--cache", ""}), 2), "--cache"));
  CHECK(contains(error_of(call({"pack"}), 2), "MODEL"));
}

TEST_CASE("a cache that shrinks while it is mapped is an error line") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  REQUIRE(call({"pack", tiny_model(), cache}).status == 0);
  std::string text;
  for (int i = 0; i < 40; ++i) text += file_contents(TRITIUM_TEST_DATA "/text/alice.txt");
  write_file(folder / "text.txt", text);
  Process scoring(command({"perplexity", tiny_model(), "-f", folder / "text.txt", "--save-logits", folder / "l.npy",
                           "--ctx", "8", "-t", "1", "--cache", cache}));
  REQUIRE(scoring.run_until([&] { return folder.entries().size() >= 4; }));  // the logits have begun
  std::filesystem::resize_file(cache, 0);
  const std::string line = error_of(scoring.finish(), 1);
  CHECK(contains(line, "changed"));
  CHECK(contains(line, cache));
}
