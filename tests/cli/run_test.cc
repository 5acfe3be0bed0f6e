// SPDX-License-Identifier: Apache-2.0
// run and chat: the completion alone on standard output, the same for the same seed, stopped where it was asked to
// stop.

#include <sys/ioctl.h>
#include <termios.h>

#include "cli.h"

namespace {

std::vector<std::string> run_arguments(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", tiny_model(), "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}
std::string completion(const std::vector<std::string>& more, const ProcessOptions& options = {}) {
  return output_of(run_arguments(more), options);
}

/// A form that puts all of a conversation into few tokens.
constexpr const char* kForm =
    "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}";

}  // namespace

TEST_CASE("a prompt comes from the command line, a file or standard input") {
  const std::string expected = completion({"-p", "Alice was", "-n", "8", "--greedy"});
  CHECK_FALSE(expected.empty());
  CHECK(completion({"-p", "-", "-n", "8", "--greedy"}, with_input("Alice was")) == expected);
  const TemporaryFolder folder;
  write_file(folder / "prompt.txt", "Alice was");
  CHECK(completion({"-f", folder / "prompt.txt", "-n", "8", "--greedy"}) == expected);
  CHECK(completion({"-f", folder / "prompt.txt", "-n", "8", "--greedy", "--echo"}) == "Alice was" + expected);
  ProcessOptions from_file;
  from_file.input_path = folder / "prompt.txt";
  CHECK(completion({"-p", "-", "-n", "8", "--greedy"}, from_file) == expected);
  CHECK(completion({"-p", "Alice was", "-n", "0"}).empty());
  CHECK(completion({"-p", "Alice was", "-n", "0", "--echo"}) == "Alice was");
}

TEST_CASE("a shortlist that is no narrower than the head is refused") {
  const std::string error = error_of(call({"run", tiny_model(), "-p", "a", "-n", "1", "--shortlist", "f32"}), 1);
  CHECK(contains(error, "shortlist"));
  CHECK(contains(error, "f32"));
  error_of(call({"run", tiny_model(), "-p", "a", "--shortlist", "five"}), 2);
}

TEST_CASE("seeds, threads and tiers") {
  const std::vector<std::string> base = {
      "-p", "Alice was beginning", "-n", "24", "--temp", "1.5", "--top-k", "0", "--top-p", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return completion(more);
  };
  const std::string first = with({"--seed", "7"});
  CHECK(with({"--seed", "7"}) == first);
  CHECK(with({"--seed", "7", "-t", "1"}) == first);
  CHECK(with({"--seed", "7", "-t", "2"}) == first);
  CHECK(with({"--seed", "7", "--lookup", "4"}) == first);
  CHECK(with({"--seed", "7", "--top-k", "30", "--shortlist", "int5g32"}) == with({"--seed", "7", "--top-k", "30"}));
  CHECK(with({"--seed", "8"}) != first);
  CHECK(with({}) == with({"--seed", "0"}));
  const std::string greedy = with({"--greedy", "-t", "1"});
  CHECK(with({"--greedy", "-t", "2"}) == greedy);
  CHECK(with({"--greedy", "-t", "3", "--seed", "99"}) == greedy);
  CHECK(with({"--temp", "0"}) == greedy);
  ProcessOptions threads;
  threads.environment = {{"TRITIUM_THREADS", "2"}};
  CHECK(completion({"-p", "Alice was", "-n", "4", "--greedy"}, threads) ==
        completion({"-p", "Alice was", "-n", "4", "--greedy"}));
  // Integer kernels give the same on every tier, and so does the sampler.
  CHECK(with({"--seed", "7", "--isa", "portable"}).size() > 0);
}

TEST_CASE("stop texts end the completion and are not part of it") {
  const std::string whole = completion({"-p", "Alice was", "-n", "16", "--greedy", "--ignore-eos"});
  REQUIRE(whole.size() > 6);
  for (const std::size_t at : {std::size_t{1}, whole.size() / 2}) {
    const std::string stop = whole.substr(at, 3);
    const std::string cut = completion({"-p", "Alice was", "-n", "16", "--greedy", "--ignore-eos", "--stop", stop});
    CHECK(cut == whole.substr(0, whole.find(stop)));
    CHECK(completion({"-p", "Alice was", "-n", "16", "--greedy", "--ignore-eos", "--stop", "never there", "--stop",
                      stop}) == cut);
  }
  CHECK(completion({"-p", "Alice was", "-n", "16", "--greedy", "--ignore-eos", "--stop", "never there"}) == whole);
}

TEST_CASE("the context ends a text with a note; a prompt that does not fit is refused") {
  const Finished run = call({"run", tiny_model(), "-p", "Alice", "-n", "1000", "--ignore-eos", "--greedy"});
  CHECK(run.status == 0);
  CHECK(contains(run.err, "the context is full"));
  CHECK_FALSE(run.out.empty());
  std::string words;
  for (int i = 0; i < 70; ++i) words += "alice ";
  CHECK(contains(full_error_of(call({"run", tiny_model(), "-p", words}), 1), "longer than the context"));
  CHECK(
      contains(full_error_of(call({"run", tiny_model(), "-p", "alice was beginning", "--ctx", "4"}), 1), "at most 4"));
  CHECK(contains(full_error_of(call({"run", tiny_model(), "-p", "x", "--ctx", "65"}), 1), "at most 64"));
}

TEST_CASE("the reference path and packed formats run") {
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--exact"},
                                               {"--acts", "f32"},
                                               {"--acts", "int8"},
                                               {"--kv", "f32"},
                                               {"--kv", "int8"},
                                               {"--kv", "bf16"},
                                               {"--weights", "int4g32"},
                                               {"--weights", "q8_0", "--head", "f16"},
                                               {"--weights", "bf16"},
                                               {"--weights", "keep"},
                                               {"--weights", "ternary2"}}) {
    std::vector<std::string> arguments = {"-p", "Alice was", "-n", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    INFO(more[0] << " " << more.back());
    CHECK_FALSE(completion(arguments).empty());
  }
}

TEST_CASE("chat from a pipe: one answer a line") {
  const TemporaryFolder folder;
  const std::string form = folder / "form.jinja";
  write_file(form, kForm);
  const std::vector<std::string> base = {"chat", tiny_model(), "--template", form, "-n",
                                         "3",    "--greedy",   "--stop",     "\n"};
  const auto lines = [](const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  const std::string one = output_of(base, with_input("hi\n"));
  CHECK(lines(one) == 1);
  const std::string two = output_of(base, with_input("hi\nyou\n"));
  CHECK(lines(two) == 2);
  CHECK(two.starts_with(one));
  CHECK(output_of(base, with_input("hi\r\nyou")) == two);     // the last line needs no end, an end may be CR LF
  CHECK(output_of(base, with_input("\n  \nhi\n\n")) == one);  // empty lines are no messages
  CHECK(output_of(base, with_input("hi\n/reset\nhi\n")) == one + one);
  CHECK(output_of(base, with_input("/help\nhi\n")) == one);
  CHECK(output_of(base, with_input("hi\n/exit\nyou\n")) == one);
  CHECK(output_of(base, with_input("")).empty());
  std::vector<std::string> system = base;
  system.insert(system.end(), {"--system", "be kind"});
  CHECK(lines(output_of(system, with_input("hi\n"))) == 1);
  // A conversation that outgrows the context is an error with the way out.
  std::string many;
  for (int i = 0; i < 30; ++i) many += "tell me more\n";
  const Finished run = call(base, with_input(many));
  CHECK(contains(error_of(run, 1, true), "/reset"));
  CHECK(contains(error_of(call({"chat", tiny_model()}, with_input("hi\n")), 1), "no chat template"));
}

TEST_CASE("chat on a terminal prompts, answers and leaves at the end of the input") {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  REQUIRE(::grantpt(terminal) == 0);
  REQUIRE(::unlockpt(terminal) == 0);
  const std::string name = ::ptsname(terminal);
  // The other end stays open here, so that the terminal outlives the moments in which nobody else has it.
  const int other = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(other >= 0);
  termios mode{};
  REQUIRE(::tcgetattr(other, &mode) == 0);
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  REQUIRE(::tcsetattr(other, TCSANOW, &mode) == 0);

  const TemporaryFolder folder;
  const std::string form = folder / "form.jinja";
  write_file(form, kForm);
  ProcessOptions options;
  options.input_path = name;
  Process chat(command({"chat", tiny_model(), "--template", form, "-n", "2", "--greedy"}), options);
  const auto prompts = [&] {
    std::size_t n = 0;
    for (std::size_t at = chat.err().find("> "); at != std::string::npos; at = chat.err().find("> ", at + 1)) ++n;
    return n;
  };
  REQUIRE(chat.run_until([&] { return prompts() == 1; }));
  REQUIRE(::write(terminal, "hi\n", 3) == 3);
  REQUIRE(chat.run_until([&] { return prompts() == 2; }));
  CHECK_FALSE(chat.out().empty());
  REQUIRE(::write(terminal, "/help\n", 6) == 6);
  REQUIRE(chat.run_until([&] { return prompts() == 3 && contains(chat.err(), "/reset"); }));
  chat.send(SIGINT);  // no answer is being made: it says how to leave
  REQUIRE(chat.run_until([&] { return prompts() == 4; }));
  const char end = 4;
  REQUIRE(::write(terminal, &end, 1) == 1);
  const Finished run = chat.finish();
  CHECK(run.status == 0);
  CHECK(std::count(run.out.begin(), run.out.end(), '\n') == 1);
  (void)::close(other);
  (void)::close(terminal);
}
