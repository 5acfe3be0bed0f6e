// SPDX-License-Identifier: Apache-2.0
// run: completes a text. The completion alone goes to standard output, each token as it is made.
//
// Nothing is added to it, not even a newline at its end, unless standard output is a terminal: the shell's prompt would
// otherwise continue the text.
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "signals.h"
#include "text_side.h"

namespace cli {

using tritium::Finish;
using tritium::Result;

namespace {

constexpr std::size_t kMaxPromptBytes = std::size_t{512} << 20;

Result<std::string> read_prompt(const RunOptions& options) {
  if (options.file) return tritium::read_file(*options.file, kMaxPromptBytes);
  if (*options.prompt == "-") return read_standard_input();
  return *options.prompt;
}

}  // namespace

Result<int> run(const RunOptions& options) {
  TRITIUM_ASSIGN(const std::string prompt, read_prompt(options));
  TRITIUM_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(options.model, options.common, {}));
  TRITIUM_ASSIGN(const std::vector<std::int32_t> ids,
                 encode(engine->tokenizer(), prompt, {true, !options.no_special, false}));
  TRITIUM_TRY(engine->open_draft(options.sampling, options.common));
  TRITIUM_ASSIGN(tritium::Session session, engine->session());
  tritium::GenerateOptions generate;
  generate.max_tokens = options.n;
  generate.sampler = sampler_options(options.sampling, options.common.seed);
  generate.stop = options.sampling.stop;
  generate.ignore_eos = options.ignore_eos;
  generate.lookup = options.sampling.lookup;
  generate.drafted = engine->drafted();

  const CatchInterrupts catching;
  if (options.echo) {
    out().write(prompt);
    TRITIUM_TRY(out().flush());
  }
  char last = options.echo && !prompt.empty() ? prompt.back() : '\n';
  const auto emit = [&](std::string_view text) {
    out().write(text);
    if (!text.empty()) last = text.back();
    return out().flush().ok();
  };
  TRITIUM_ASSIGN(const tritium::GenerateStats stats, engine->generate(session, ids, generate, emit));
  if (last != '\n' && is_terminal(STDOUT_FILENO)) out().write("\n");
  TRITIUM_TRY(out().flush());
  if (stats.finish == Finish::context_full) {
    note("the context is full: the text ends after " + std::to_string(engine->context()) +
         " tokens (--ctx allows more, up to the model's " + std::to_string(engine->model().spec.context) + ")");
  }
  note("prompt " + speed_text(stats.prompt_tokens, stats.prompt_seconds) + "; generated " +
       speed_text(stats.new_tokens, stats.decode_seconds) + guesses_text(generate, stats));
  return stats.finish == Finish::cancelled && interrupted() ? kInterrupted : kDone;
}

}  // namespace cli
