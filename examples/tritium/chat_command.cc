// SPDX-License-Identifier: Apache-2.0
// chat: a conversation in the model's own form. The session keeps what it read, so each turn costs its new part only.
//
// On a terminal: a prompt, answers as they are made, Ctrl-C stops one answer. From a pipe: one message a line, one
// answer each, followed by a newline. Nothing is ever cut from the conversation in silence: what does not fit is said.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "signals.h"
#include "text_side.h"

namespace cli {

using tritium::Errc;
using tritium::Finish;
using tritium::Result;
using tritium::Status;

namespace {

constexpr std::string_view kHelp =
    "/help   this text\n"
    "/reset  forget the conversation\n"
    "/exit   leave, as Ctrl-D does\n"
    "Ctrl-C  stop the answer\n"
    "Anything else is a message.\n";

/// Lines of standard input; an interrupt while waiting for one is an answer of its own.
class Lines {
 public:
  enum class Got { line, end, interrupt };
  Result<Got> next(std::string& line) {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Got::line;
      }
      if (ended_) {
        line = std::move(buffer_);
        buffer_.clear();
        return line.empty() ? Got::end : Got::line;
      }
      pollfd ends[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_descriptor(), POLLIN, 0}};
      if (::poll(ends, 2, -1) < 0 && errno != EINTR) {
        return tritium::make_error(Errc::io, "cannot wait for input", "standard input", "a message",
                                   std::generic_category().message(errno));
      }
      if (interrupted()) {
        buffer_.clear();
        return Got::interrupt;
      }
      if (ends[0].revents == 0) continue;
      char piece[4096];
      const ssize_t got = ::read(STDIN_FILENO, piece, sizeof(piece));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        return tritium::make_error(Errc::io, "cannot read the input", "standard input", "a message",
                                   std::generic_category().message(errno));
      }
      if (got == 0) ended_ = true;
      buffer_.append(piece, static_cast<std::size_t>(got));
      if (buffer_.size() > kMaxLine) {
        return tritium::make_error(Errc::out_of_range, "message is too long", "standard input", "at most 16 MiB",
                                   "more");
      }
    }
  }

 private:
  static constexpr std::size_t kMaxLine = std::size_t{16} << 20;
  std::string buffer_;
  bool ended_ = false;
};

class Chat {
 public:
  Chat(const ChatOptions& options, Engine& engine, const Conversation& form, tritium::Session& session, bool terminal)
      : options_(options), engine_(engine), form_(form), session_(session), terminal_(terminal) {
    reset();
  }

  Result<int> loop() {
    Lines lines;
    std::string line;
    if (terminal_) say("Ctrl-D leaves, /help explains.\n");
    for (;;) {
      if (terminal_) write_error_stream(wants_colour() ? "\033[1m> \033[0m" : "> ");
      TRITIUM_ASSIGN(const Lines::Got got, lines.next(line));
      if (got == Lines::Got::end) {
        if (terminal_) say("\n");
        return kDone;
      }
      if (got == Lines::Got::interrupt) {
        if (!terminal_) return kInterrupted;
        reset_interrupt();
        say("\n(Ctrl-D leaves)\n");
        continue;
      }
      if (line.ends_with('\r')) line.pop_back();
      if (line.find_first_not_of(" \t") == std::string::npos) continue;
      if (line == "/exit" || line == "/quit") return kDone;
      if (line == "/help") {
        say(kHelp);
      } else if (line == "/reset") {
        reset();
        if (terminal_) say("(a new conversation)\n");
      } else {
        TRITIUM_ASSIGN(const int status, answer(line));
        if (status != kDone) return status;
      }
    }
  }

 private:
  void reset() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  /// To the person, not to the output.
  static void say(std::string_view text) { write_error_stream(text); }

  Result<int> answer(const std::string& text) {
    messages_.push_back({"user", text});
    const Result<std::vector<std::int32_t>> ids = form_.ids(engine_.tokenizer(), messages_);
    if (!ids.ok()) return refuse(ids.error());
    if (ids->size() >= engine_.context()) {
      return refuse(
          tritium::make_error(Errc::out_of_range, "the conversation does not fit the context", "--ctx",
                              "less than " + std::to_string(engine_.context()) + " tokens; /reset starts again",
                              std::to_string(ids->size())));
    }
    tritium::GenerateOptions generate;
    generate.max_tokens = options_.n == 0 ? engine_.context() : options_.n;
    generate.sampler = sampler_options(options_.sampling, options_.common.seed);
    generate.stop = options_.sampling.stop;
    generate.lookup = options_.sampling.lookup;
    generate.drafted = engine_.drafted();
    std::string made;
    const auto emit = [&](std::string_view piece) {
      made += piece;
      out().write(piece);
      return out().flush().ok();
    };
    reset_interrupt();
    TRITIUM_ASSIGN(const tritium::GenerateStats stats, engine_.generate(session_, *ids, generate, emit));
    out().write("\n");
    TRITIUM_TRY(out().flush());
    if (made.empty()) messages_.pop_back();  // turns must go on alternating
    else messages_.push_back({"assistant", made});
    if (stats.finish == Finish::cancelled && interrupted()) {
      if (!terminal_) return kInterrupted;
      reset_interrupt();
      return kDone;
    }
    if (stats.finish == Finish::context_full) {
      say("tritium: the context of " + std::to_string(engine_.context()) +
          " tokens is full: the answer ends here, /reset starts again\n");
    }
    if (terminal_ && !is_quiet()) {
      note("prompt " + speed_text(stats.prompt_tokens - stats.cached_tokens, stats.prompt_seconds) + "; answer " +
           speed_text(stats.new_tokens, stats.decode_seconds) + guesses_text(generate, stats));
    }
    return kDone;
  }

  /// A message that cannot be answered: a person may try another one, a pipe ends.
  Result<int> refuse(const tritium::Error& error) {
    if (!terminal_) return error;
    print_error(error.message);
    messages_.pop_back();
    return kDone;
  }

  const ChatOptions& options_;
  Engine& engine_;
  const Conversation& form_;
  tritium::Session& session_;
  bool terminal_;
  std::vector<Message> messages_;
};

}  // namespace

Result<int> chat(const ChatOptions& options) {
  std::optional<Conversation> form;
  Engine::Needs needs;
  needs.check = [&](const tritium::Checkpoint& checkpoint, const tritium::Tokenizer& tokenizer) -> Status {
    TRITIUM_ASSIGN(form, Conversation::open(checkpoint, &tokenizer, options.chat_template));
    return {};
  };
  TRITIUM_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(options.model, options.common, needs));
  TRITIUM_TRY(engine->open_draft(options.sampling, options.common));
  TRITIUM_ASSIGN(tritium::Session session, engine->session());
  const CatchInterrupts catching;
  return Chat(options, *engine, *form, session, is_terminal(STDIN_FILENO)).loop();
}

}  // namespace cli
