// SPDX-License-Identifier: Apache-2.0
// What goes wrong around a program: files that are not what they should be, streams that close, signals, full disks.

#include <fcntl.h>

#include "cli.h"
#include "tritium/io/gguf.h"

namespace {

/// Every command that reads a model, with the least it needs.
std::vector<std::vector<std::string>> commands_on(const std::string& model, const TemporaryFolder& folder) {
  write_file(folder / "text.txt", "Alice was beginning to get very tired of sitting by her sister on the bank");
  write_file(folder / "messages.json", "[]");
  return {{"run", model, "-p", "a", "-n", "2"},
          {"chat", model},
          {"tokenize", model, "a"},
          {"detokenize", model, "1"},
          {"logits", model, "--tokens", "1,2", "--out", folder / "l.npy"},
          {"perplexity", model, "-f", folder / "text.txt"},
          {"quantize", model, folder / "o.gguf", "--to", "q8_0"},
          {"pack", model, folder / "o.tritium"},
          {"inspect", model},
          {"bench", model, "-p", "2", "-n", "2", "-r", "1"},
          {"template", model, "--messages", folder / "messages.json"}};
}

}  // namespace

TEST_CASE("paths that are no model are an error of every command") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  write_file(folder / "empty.gguf", "");
  write_file(folder / "text.gguf", "this is not a model\n");
  write_file(folder / "bad\nname\x1b[31m.gguf", "x");
  struct Case {
    std::string path;
    std::string reason;
  };
  const std::vector<Case> cases = {{folder / "none.gguf", "No such file"},
                                   {folder.path(), "config.json"},
                                   {folder / "fifo", "a FIFO"},
                                   {"/dev/zero", "a device"},
                                   {folder / "empty.gguf", "file ends"},
                                   {folder / "text.gguf", "not a GGUF file"},
                                   {folder / "bad\nname\x1b[31m.gguf", "bad\\"}};
  for (const Case& c : cases) {
    for (const std::vector<std::string>& arguments : commands_on(c.path, folder)) {
      INFO(arguments[0] << " " << c.path);
      CHECK(contains(error_of(call(arguments), 1), c.reason));
    }
  }
}

TEST_CASE("a GGUF file cut anywhere is refused") {
  const std::string whole = file_contents(tiny_model());
  const TemporaryFolder folder;
  const std::string path = folder / "cut.gguf";
  std::vector<std::size_t> lengths = {
      0, 1, 3, 4, 7, 8, 15, 16, 23, 24, 25, 30, 50, 100, 1000, whole.size() / 4, whole.size() / 2};
  for (std::size_t i = 1; i < 40; ++i) lengths.push_back(whole.size() * i / 40);
  lengths.push_back(whole.size() - 33);
  for (const std::size_t length : lengths) {
    INFO(length);
    write_file(path, std::string_view(whole).substr(0, length));
    error_of(call({"run", path, "-p", "a", "-n", "1"}), 1);
    error_of(call({"inspect", path}), 1);
  }
  write_file(path, whole);
  CHECK(call({"run", path, "-p", "a", "-n", "1", "-q"}).status == 0);
}

TEST_CASE("bytes of a GGUF file changed at random give an error or an answer, never a signal") {
  const std::string whole = file_contents(tiny_model());
  const TemporaryFolder folder;
  const std::string path = folder / "damaged.gguf";
  std::uint64_t state = 20240607;
  const auto next = [&](std::size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state >> 33) % below;
  };
  for (int round = 0; round < 60; ++round) {
    std::string damaged = whole;
    for (std::size_t i = 0; i < 1 + next(4); ++i) {
      damaged[next(round % 2 == 0 ? 4096 : damaged.size())] = static_cast<char>(next(256));
    }
    write_file(path, damaged);
    INFO("round " << round);
    const Finished run = call({"run", path, "-p", "a", "-n", "1", "-q"});
    INFO(run.err);
    CHECK(run.signal == 0);
    if (run.status != 0) error_of(run, 1, true);
  }
}

TEST_CASE("weights that are not finite end with an error") {
  std::string bytes = file_contents(golden_folder("llama") + "/model.safetensors");
  const TemporaryFolder folder;
  std::filesystem::copy(golden_folder("llama") + "/config.json", folder / "config.json");
  bytes.replace(bytes.size() - 2000, 2, "\x00\x7C", 2);  // an infinity in f16
  write_file(folder / "model.safetensors", bytes);
  error_of(call({"logits", folder.path(), "--tokens", "1,2,3", "--out", folder / "l.npy"}), 1);
  CHECK_FALSE(std::filesystem::exists(folder / "l.npy"));
}

TEST_CASE("a full disk behind standard output is an error of every command that writes to it") {
  const TemporaryFolder folder;
  ProcessOptions full;
  full.output_path = "/dev/full";
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"},
                                                    {"run", "--help"},
                                                    {"--version"},
                                                    {"run", tiny_model(), "-p", "a", "-n", "2"},
                                                    {"tokenize", tiny_model(), "a"},
                                                    {"detokenize", tiny_model(), "75", "76"},
                                                    {"inspect", tiny_model(), "--json"},
                                                    {"bench", tiny_model(), "-p", "2", "-n", "0", "-r", "1"},
                                                    {"isa"},
                                                    {"formats"},
                                                    {"models"},
                                                    {"selftest", "--isa", "portable"}}) {
    INFO(arguments[0]);
    CHECK(contains(full_error_of(call(arguments, full), 1), "No space left"));
  }
  for (const char* where : {"/dev/full", "/dev/null"}) {
    CHECK(contains(full_error_of(call({"logits", tiny_model(), "--tokens", "1", "--out", where}), 1), "a device"));
  }
}

TEST_CASE("a file size limit on standard output is an error, not a signal") {
  const TemporaryFolder folder;
  ProcessOptions limited;
  limited.output_path = folder / "out.txt";
  limited.max_file_bytes = 100;
  CHECK(contains(full_error_of(call({"formats"}, limited), 1), "File too large"));
  CHECK(std::filesystem::file_size(folder / "out.txt") <= 100);
}

TEST_CASE("nobody reads the output: an error, not a signal") {
  ProcessOptions closed;
  closed.close_output_early = true;
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"},
                                                    {"formats"},
                                                    {"run", tiny_model(), "-p", "Alice", "-n", "30", "--ignore-eos"},
                                                    {"tokenize", tiny_model(), "a"}}) {
    INFO(arguments[0]);
    const Finished run = call(arguments, closed);
    CHECK(contains(error_of(run, 1), "Broken pipe"));
  }
}

TEST_CASE("standard input that cannot be read") {
  const TemporaryFolder folder;
  ProcessOptions from_folder;
  from_folder.input_path = folder.path();
  CHECK(contains(full_error_of(call({"tokenize", tiny_model()}, from_folder), 1), "standard input"));
  CHECK(contains(full_error_of(call({"run", tiny_model(), "-p", "-"}, from_folder), 1), "standard input"));
}

TEST_CASE("a model file that shrinks while it is mapped is an error line") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  // A folder of pages: the tensors begin far behind the header, so that cutting the file takes pages away.
  {
    tritium::GgufWriter writer;
    require_ok(writer.set("general.architecture", std::string_view("other")));
    const std::uint64_t dims[] = {4096, 8192};
    require_ok(writer.add_tensor("blk.0.attn_q.weight", tritium::TensorType::f32, dims));
    require_ok(writer.begin(path));
    const std::vector<float> rows(std::size_t{4096} * 64, 0.25f);
    for (std::size_t r = 0; r < 8192; r += 64) {
      require_ok(writer.append("blk.0.attn_q.weight", std::as_bytes(std::span(rows))));
    }
    require_ok(writer.finish());
  }
  Process process(command({"quantize", path, folder / "out.gguf", "--to", "iq4_xs", "-t", "1"}));
  REQUIRE(process.run_until([&] { return folder.entries().size() == 2; }));  // the temporary file
  REQUIRE(::truncate(path.c_str(), 4096) == 0);
  const std::string line = error_of(process.finish(), 1);
  CHECK(contains(line, "model.gguf"));
  CHECK(contains(line, "changed"));
  CHECK_FALSE(std::filesystem::exists(folder / "out.gguf"));
}

TEST_CASE("Ctrl-C during run ends with the text so far and status 130") {
  // From a pipe that stays open nothing comes: the signal ends the wait.
  ProcessOptions open;
  open.keep_input_open = true;
  Process waiting(command({"run", tiny_model(), "-p", "-"}), open);
  (void)waiting.run_until([] {
    ::usleep(50000);
    return true;
  });
  // While a text is made: perplexity of a long text takes long enough to be stopped in the middle.
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += file_contents(TRITIUM_TEST_DATA "/text/alice.txt");
  write_file(folder / "text.txt", text);
  Process scoring(command({"perplexity", tiny_model(), "-f", folder / "text.txt", "--save-logits", folder / "l.npy",
                           "--ctx", "8", "-t", "1"}));
  REQUIRE(scoring.run_until([&] { return folder.entries().size() >= 3; }));
  scoring.send(SIGINT);
  CHECK(contains(error_of(scoring.finish(), 130), "interrupted"));
  CHECK(folder.entries() == std::vector<std::string>{"text.txt"});

  waiting.send(SIGINT);
  CHECK(contains(error_of(waiting.finish(), 130), "interrupted"));
}

TEST_CASE("streams that are closed from the start") {
  // 0, 1 and 2 are closed: no model file may get their numbers.
  const TemporaryFolder folder;
  const std::string out = folder / "l.npy";
  const Finished run =
      run_process({"/bin/sh", "-c", "exec \"$0\" logits \"$1\" --tokens 1,2,3 --out \"$2\" <&- >&- 2>&-", TRITIUM_CLI,
                   tiny_model(), out});
  CHECK(run.status == 0);
  CHECK(std::filesystem::exists(out));
  const Finished text = run_process({"/bin/sh", "-c", "exec \"$0\" formats >&-", TRITIUM_CLI});
  error_of(text, 1);
}
