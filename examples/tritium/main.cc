// SPDX-License-Identifier: Apache-2.0
// tritium: runs small language models from the command line.
//
// This file turns arguments into options and errors into exit statuses; each command is a file of its own. CLI11 is
// included here and nowhere else. Aliases are the names that users of llama.cpp know.
#include <CLI/CLI.hpp>

#include <functional>
#include <limits>
#include <memory>
#include <new>

#include "commands.h"
#include "console.h"
#include "numbers.h"
#include "signals.h"

namespace cli {

void wrong_usage(std::string_view where, std::string_view expected, std::string_view found) {
  throw UsageError{tritium::make_error(tritium::Errc::invalid_argument, "wrong usage", where, expected, found).message};
}

namespace {

constexpr std::size_t kMaxContext = std::size_t{1} << 30;
constexpr std::size_t kMaxTokens = std::size_t{1} << 30;
constexpr std::size_t kMaxThreads = 256;
constexpr std::size_t kMaxSequences = 256;
constexpr std::int32_t kMaxId = std::numeric_limits<std::int32_t>::max();

/// One subcommand under construction.
class Command {
 public:
  Command(CLI::App& app, const std::string& name, const std::string& description, const std::string& example)
      : app_(app.add_subcommand(name, description)), name_("tritium " + name) {
    app_->footer("Example:\n  " + example);
    app_->set_version_flag("--version", "tritium " TRITIUM_VERSION, "Print the version and exit");
  }

  CLI::App* app() { return app_; }

  template <class T>
  CLI::Option* number(const std::string& names, T& target, T least, T most, const std::string& text) {
    return value(
        names,
        [&target, least, most](const std::string& where, const std::string& v) {
          target = parse_number<T>(where, v, least, most);
        },
        text, "N");
  }
  template <class T>
  CLI::Option* numbers(const std::string& names, std::vector<T>& target, T least, T most, const std::string& text) {
    return value(
        names,
        [&target, least, most](const std::string& where, const std::string& v) {
          target = parse_numbers<T>(where, v, least, most);
        },
        text, "N,N...");
  }
  CLI::Option* text(const std::string& names, std::string& target, const std::string& description,
                    const std::string& type = "TEXT") {
    return value(names, [&target](const std::string&, const std::string& v) { target = v; }, description, type);
  }
  CLI::Option* text(const std::string& names, std::optional<std::string>& target, const std::string& description,
                    const std::string& type = "TEXT") {
    return value(names, [&target](const std::string&, const std::string& v) { target = v; }, description, type);
  }
  /// The name of a file, which cannot be empty.
  template <class T>
  CLI::Option* file(const std::string& names, T& target, const std::string& description) {
    return value(
        names,
        [&target](const std::string& where, const std::string& v) {
          if (v.empty()) wrong_usage(where, "the name of a file", "an empty one");
          target = v;
        },
        description, "FILE");
  }
  /// A name of something, which cannot be empty.
  CLI::Option* name(const std::string& names, std::string& target, const std::string& expected,
                    const std::string& description, const std::string& type) {
    return value(
        names,
        [&target, expected](const std::string& where, const std::string& v) {
          if (v.empty()) wrong_usage(where, expected, "an empty name");
          target = v;
        },
        description, type);
  }
  /// One of a few words, with the value that each stands for.
  template <class T>
  CLI::Option* choice(const std::string& names, T& target, std::vector<std::pair<std::string, T>> words,
                      const std::string& description) {
    std::string expected;
    for (const auto& entry : words) expected += (expected.empty() ? "" : "|") + entry.first;
    return value(
        names,
        [&target, words, expected](const std::string& where, const std::string& v) {
          for (const auto& [word, meaning] : words) {
            if (word == v) {
              target = meaning;
              return;
            }
          }
          wrong_usage(where, expected, v.empty() ? "nothing" : v);
        },
        description, expected);
  }
  CLI::Option* flag(const std::string& names, bool& target, const std::string& description) {
    return app_->add_flag(names, target, description);
  }

  CLI::Option* model(std::string& target) {
    target.clear();
    CLI::Option* option = value(
        "-m,--model,MODEL",
        [&target](const std::string& where, const std::string& v) {
          if (v.empty()) wrong_usage(where, "a model", "an empty name");
          target = v;
        },
        "A .gguf file, a folder with config.json and *.safetensors, or demo:NAME", "");
    required_.push_back({option, "MODEL"});
    return option;
  }
  CLI::Option* require(CLI::Option* option, const std::string& what) {
    required_.push_back({option, what});
    return option;
  }

  /// The options that every command has; `used`: they mean something here, and --help shows them.
  void common(CommonOptions& c, bool used = true,
              const std::string& ctx_text = "Positions the cache holds (default: the model's, at most 4096)",
              std::vector<std::size_t>* thread_list = nullptr) {
    const auto add = [&](CLI::Option* option) { option->group(used ? "Common options" : ""); };
    const std::string threads_text = "Threads (default: the CPUs this process may use)";
    CLI::Option* threads = thread_list != nullptr
                               ? numbers<std::size_t>("-t,--threads", *thread_list, 1, kMaxThreads,
                                                      threads_text + "; one row for each value")
                               : number<std::size_t>("-t,--threads", c.threads, 1, kMaxThreads, threads_text);
    add(threads->envname("TRITIUM_THREADS"));
    add(number<std::size_t>("-c,--ctx,--ctx-size", c.ctx, 1, kMaxContext, ctx_text));
    add(text("--weights", c.weights,
             "What linear layers are packed to: a name of 'tritium formats', or keep (default): lose nothing",
             "FORMAT|keep"));
    add(text("--head", c.head, "The same for the output head", "FORMAT|keep"));
    add(text(
        "--shortlist", c.shortlist,
        "Find the likeliest tokens with a copy of the head in this format, and compute only theirs exactly: the same "
        "text, faster where the head is most of the model",
        "FORMAT"));
    add(file(
            "--cache", c.cache,
            "Packed weights of this model, see 'tritium pack': mapped where they fit, made where there are none; auto: "
            "beside the model")
            ->type_name("FILE|auto"));
    common_ = &c;
    add(choice<Kv>("--kv,--cache-type-k,--cache-type-v", c.kv,
                   {{"f32", Kv::f32}, {"f16", Kv::f16}, {"int8", Kv::int8}, {"bf16", Kv::bf16}, {"q8_0", Kv::int8}},
                   "Type of cached keys and values (default f16); -ctk and -ctv too"));
    add(choice<Acts>("--acts", c.acts, {{"auto", Acts::automatic}, {"f32", Acts::f32}, {"int8", Acts::automatic}},
                     "Activations that meet the weights: int8 where weights are quantised (default), or all in f32"));
    add(flag("--exact", c.exact, "The reference path: weights, activations and KV in f32"));
    add(text("--isa", c.isa, "Pin an instruction-set tier, see 'tritium isa'", "TIER"));
    if (!has_seed_) add(seed(c));
    app_->add_flag("-q,--quiet", c.quiet, "No notes, timings or progress on standard error")->group("Common options");
  }

  /// A named set of choices, behind common(): what the command line says itself stays.
  void profile(CommonOptions& c) {
    name("--profile", c.profile, "a profile",
         "Run as a named profile: formats, rotation, cache and chunks of the prompt that belong together (phi-silica); "
         "--weights, --head and --kv win over it",
         "NAME")
        ->group("Common options");
  }

  void sampling(SamplingOptions& s, CommonOptions& c) {
    const auto add = [](CLI::Option* option) { option->group("Sampling"); };
    add(number<float>("--temp,--temperature", s.temp, 0.0f, 1e6f, "Temperature; 0 is greedy (default 0.8)"));
    add(number<std::size_t>("--top-k", s.top_k, 0, kMaxTokens, "Only the K most probable tokens; 0: all (default 40)"));
    add(number<float>("--top-p", s.top_p, 0.0f, 1.0f,
                      "The fewest tokens that hold this share of the mass; 1: all (default 0.95)"));
    add(number<float>("--min-p", s.min_p, 0.0f, 1.0f,
                      "Only tokens this probable relative to the first; 0: all (default 0.05)"));
    add(number<float>("--repeat-penalty", s.repeat_penalty, 1e-6f, 1e6f,
                      "Divides logits of recent tokens; 1: none (default 1)"));
    add(number<std::size_t>("--repeat-last-n", s.repeat_last, 0, kMaxTokens,
                            "How many tokens are recent (default 64)"));
    add(number<std::size_t>(
        "--lookup", s.lookup, 0, 64,
        "Guess this many tokens from the text itself and check them in one pass: the same text, sooner "
        "where it repeats itself (default 0)"));
    add(name(
        "--draft", s.draft, "a model",
        "A smaller model of the same vocabulary guesses tokens, checked in one pass: the same text, sooner where it "
        "guesses well; --lookup comes first where it has a match",
        "MODEL"));
    add(value(
        "--draft-tokens",
        [&s](const std::string& where, const std::string& v) {
          s.draft_tokens = parse_number<std::size_t>(where, v, 1, 64);
        },
        "Tokens the draft guesses at a time (default 4, or the profile's)", "N"));
    CLI::Option* stop = app_->add_option_function<std::vector<std::string>>(
        "--stop",
        [&s](const std::vector<std::string>& v) {
          s.stop = v;
          for (const std::string& one : v) {
            if (one.empty()) wrong_usage("--stop", "a text", "an empty one");
          }
        },
        "Text that ends the answer and is not part of it; may be given several times");
    stop->type_name("TEXT")->allow_extra_args(false);
    add(stop);
    add(flag("--greedy", s.greedy, "Always the most probable token"));
    add(seed(c));
    has_seed_ = true;
  }

  void run(std::function<tritium::Result<int>()> body) { body_ = std::move(body); }
  [[nodiscard]] bool chosen() const { return app_->parsed(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string help() const { return app_->help("tritium"); }
  tritium::Result<int> execute() const {
    for (const auto& [option, what] : required_) {
      if (option->count() == 0) wrong_usage(name_, what, "nothing");
    }
    if (CommonOptions* c = common_; c != nullptr) {
      set_quiet(c->quiet);
      c->weights_given = app_->get_option("--weights")->count() != 0;
      c->head_given = app_->get_option("--head")->count() != 0;
      c->kv_given = app_->get_option("--kv")->count() != 0;
    }
    return body_();
  }

 private:
  CLI::Option* value(const std::string& names, std::function<void(const std::string&, const std::string&)> take,
                     const std::string& description, const std::string& type) {
    // In messages the first two names stand for the option: "-n/--predict".
    const std::size_t comma = names.find(',');
    std::string where = names.substr(0, names.find(',', comma == std::string::npos ? comma : comma + 1));
    if (comma != std::string::npos) where.replace(comma, 1, "/");
    CLI::Option* option = app_->add_option_function<std::string>(
        names, [take = std::move(take), where](const std::string& v) { take(where, v); }, description);
    option->take_last()->type_name(type);
    return option;
  }
  CLI::Option* seed(CommonOptions& c) {
    return number<std::uint64_t>("-s,--seed", c.seed, 0, std::numeric_limits<std::uint64_t>::max(),
                                 "Seed of the sampler: the same one gives the same text (default 0)");
  }

  CLI::App* app_;
  std::string name_;
  std::vector<std::pair<CLI::Option*, std::string>> required_;
  std::function<tritium::Result<int>()> body_;
  CommonOptions* common_ = nullptr;
  bool has_seed_ = false;
};

/// Every command with the options it fills.
class CommandLine {
 public:
  explicit CommandLine(CLI::App& app) {
    app.set_version_flag("--version", "tritium " TRITIUM_VERSION, "Print the version and exit");
    app.footer(
        "'tritium COMMAND --help' says more. Models: .gguf files, safetensors folders, demo:NAME (see 'tritium "
        "models').");

    {
      Command& c = add(app, "run", "Complete a text; the completion alone goes to standard output",
                       "tritium run demo:smollm2-135m -p \"The capital of France is\" -n 32");
      c.model(run_.model);
      c.text("-p,--prompt", run_.prompt, "The text; - reads standard input");
      c.file("-f,--file", run_.file, "A file that holds the text");
      c.number<std::size_t>("-n,--predict,--n-predict", run_.n, 0, kMaxTokens, "Tokens to make at most (default 256)");
      c.flag("--echo", run_.echo, "Write the prompt before its completion");
      c.flag("--ignore-eos", run_.ignore_eos, "Go on past the end of the text");
      c.flag("--no-special", run_.no_special, "Special tokens written in the text are plain text");
      c.sampling(run_.sampling, run_.common);
      c.common(run_.common);
      c.profile(run_.common);
      c.run([this] {
        if (run_.prompt.has_value() == run_.file.has_value()) {
          wrong_usage("tritium run", "either --prompt or --file", run_.prompt ? "both" : "neither");
        }
        return run(run_);
      });
    }
    {
      Command& c = add(app, "chat",
                       "Talk to a model in its own chat form; /help explains. Without a terminal: one message a line, "
                       "one answer each",
                       "tritium chat demo:smollm2-135m --system \"Answer in one sentence.\"");
      c.model(chat_.model);
      c.text("--system,--system-prompt", chat_.system, "What the system says first");
      c.text("--template,--chat-template", chat_.chat_template,
             "A built-in template or a file with one, instead of the model's own", "NAME|FILE");
      c.number<std::size_t>("-n,--predict,--n-predict", chat_.n, 1, kMaxTokens,
                            "Tokens of one answer at most (default: to the end of the context)");
      c.sampling(chat_.sampling, chat_.common);
      c.common(chat_.common);
      c.profile(chat_.common);
      c.run([this] { return chat(chat_); });
    }
    {
      Command& c =
          add(app, "tokenize", "The ids of a text, on one line", "tritium tokenize demo:smollm2-135m \"Hello world\"");
      c.model(tokenize_.model);
      c.text("TEXT", tokenize_.text, "The text; absent: standard input, taken whole", "");
      c.flag("--no-special", tokenize_.no_special, "Special tokens written in the text are plain text");
      c.flag("--no-bos", tokenize_.no_bos, "No beginning-of-text id, where the model wants one");
      c.flag("--json", tokenize_.json, "[{\"id\": ..., \"piece\": ...}, ...]");
      c.common(tokenize_.common, false);
      c.run([this] { return tokenize(tokenize_); });
    }
    {
      Command& c =
          add(app, "detokenize", "The text of ids, nothing added", "tritium detokenize demo:smollm2-135m 19556 905");
      c.model(detokenize_.model);
      c.app()
          ->add_option_function<std::vector<std::string>>(
              "ID",
              [this](const std::vector<std::string>& ids) {
                for (const std::string& id : ids) {
                  detokenize_.ids.push_back(parse_number<std::int32_t>("ID", id, 0, kMaxId));
                  detokenize_.ids_given = true;
                }
              },
              "The ids; absent: read from standard input")
          ->type_name("");
      c.flag("--no-special", detokenize_.no_special, "Control tokens leave no text");
      c.common(detokenize_.common, false);
      c.run([this] { return detokenize(detokenize_); });
    }
    {
      Command& c = add(app, "logits", "Logits of given tokens as a NumPy file, float32 [tokens, vocabulary]",
                       "tritium logits demo:smollm2-135m --tokens 504,3575,282 --out logits.npy");
      c.model(logits_.model);
      c.numbers<std::int32_t>("--tokens", logits_.tokens, 0, kMaxId, "The ids");
      c.file("--tokens-file", logits_.tokens_file, "A file with the ids, separated by commas or white space");
      c.numbers<std::int32_t>("--decoder-tokens", logits_.decoder_tokens, 0, kMaxId,
                              "For encoder-decoder models: the ids of the decoder; --tokens are those of the encoder");
      c.require(c.file("-o,--out", logits_.out, "The file to write"), "--out FILE");
      c.flag("--decode", logits_.decode, "Token by token through the KV cache, not in one prefill");
      c.flag("--last", logits_.last, "The last token's row only");
      c.common(logits_.common, true, "Positions the cache holds (default: as many as there are tokens)");
      c.profile(logits_.common);
      c.run([this] {
        if (logits_.tokens.empty() == !logits_.tokens_file.has_value()) {
          wrong_usage("tritium logits", "either --tokens or --tokens-file",
                      logits_.tokens.empty() ? "neither" : "both");
        }
        return logits(logits_);
      });
    }
    {
      Command& c = add(app, "perplexity", "How well a model predicts a text, in windows of --ctx tokens",
                       "tritium perplexity demo:smollm2-135m -f text.txt --ctx 512 --json");
      c.model(perplexity_.model);
      c.require(c.file("-f,--file", perplexity_.file, "The text"), "--file FILE");
      c.choice<bool>("--rule", perplexity_.half_rule, {{"window", false}, {"half", true}},
                     "Score every token of a window but its first (default), or the second half of whole windows as "
                     "llama.cpp does");
      c.flag("--no-special", perplexity_.no_special,
             "Special tokens written in the text are plain text; --rule half implies it");
      c.file("--save-logits", perplexity_.save_logits,
             "Save the logits of the scored rows, and FILE.rows.npy that says whose they are");
      c.file("--kl-from", perplexity_.kl_from,
             "Compare with a saved run: Kullback-Leibler divergence and top-1 agreement");
      c.flag("--json", perplexity_.json, "{\"tokens\", \"nll\", \"ppl\", \"stderr\", \"kld\", \"top1\"}");
      std::string& base = divergence_base_;
      const char* names = "Names that users of llama.cpp know";
      c.file("--kl-divergence-base", base, "As --save-logits; with --kl-divergence as --kl-from")->group(names);
      c.flag("--kl-divergence", kl_divergence_, "Compare with the run that --kl-divergence-base names")->group(names);
      c.common(perplexity_.common, true, "Tokens of a window (default 512)");
      c.profile(perplexity_.common);
      c.run([this] {
        if (kl_divergence_ && divergence_base_.empty()) {
          wrong_usage("--kl-divergence", "--kl-divergence-base FILE", "nothing");
        }
        if (!divergence_base_.empty()) {
          (kl_divergence_ ? perplexity_.kl_from : perplexity_.save_logits) = divergence_base_;
        }
        return perplexity(perplexity_);
      });
    }
    {
      Command& c = add(app, "quantize", "Convert a model to a GGUF file",
                       "tritium quantize model/ model-q4_0.gguf --to q4_0 --head q8_0");
      c.model(quantize_.model);
      c.require(c.file("OUT", quantize_.out, "The GGUF file to write"), "OUT.gguf");
      c.require(c.text("--to", quantize_.to, "Format of the matrices, see 'tritium formats'", "FORMAT"), "--to FORMAT");
      c.flag("-v,--verbose", quantize_.verbose, "Report every tensor with its error, on standard error");
      quantize_.common.head.clear();  // not given: decided by --to
      c.common(quantize_.common, false);
      c.app()->get_option("--threads")->group("Common options");
      c.app()
          ->get_option("--head")
          ->group("Common options")
          ->description(
              "Format of the token embedding and the output head (default: as --to; f16 beside ternary ones)");
      c.run([this] { return quantize(quantize_); });
    }
    {
      Command& c =
          add(app, "pack", "Write the packed weights of a model to a file, which --cache maps instead of packing",
              "tritium pack demo:smollm2-135m");
      c.model(pack_.model);
      c.file("OUT", pack_.out, "The file to write (default: beside the model, NAME.tritium)");
      c.common(pack_.common, false);
      for (const char* option : {"--threads", "--weights", "--head", "--acts", "--exact"})
        c.app()->get_option(option)->group("Common options");
      c.run([this] {
        if (!pack_.common.cache.empty())
          wrong_usage("--cache", "no cache for pack, which writes one", pack_.common.cache);
        return pack(pack_);
      });
    }
    {
      Command& c = add(app, "inspect", "What a model file holds and what it will be packed to; no weights are loaded",
                       "tritium inspect demo:gemma3-270m --tensors");
      c.model(inspect_.model);
      c.flag("--tensors", inspect_.tensors, "Every tensor: shape, type, bits a weight, packed format");
      c.flag("--json", inspect_.json, "The same as one JSON object");
      c.common(inspect_.common, true);
      c.run([this] { return inspect(inspect_); });
    }
    {
      Command& c = add(app, "bench", "Speed of prefill (pp) and decode (tg): median, least and most of several runs",
                       "tritium bench demo:smollm2-135m -p 128,512 -n 128 --json");
      c.model(bench_.model);
      c.numbers<std::size_t>("-p,--n-prompt", bench_.prompts, 0, kMaxContext,
                             "Tokens of the prompt, one row for each value; 0: none (default 512)");
      c.numbers<std::size_t>("-n,--n-gen", bench_.generated, 0, kMaxContext,
                             "Tokens to make, one row for each value; 0: none (default 128)");
      c.numbers<std::size_t>("-d,--n-depth", bench_.depths, 0, kMaxContext,
                             "Tokens that are read before the clock starts, one tg row for each value (default 0)");
      c.numbers<std::size_t>(
          "--sequences", bench_.sequences, 1, kMaxSequences,
          "Texts that are made at once, token by token together, one tg row for each value (default 1)");
      c.number<std::size_t>("-r,--repetitions", bench_.runs, 1, 10000,
                            "Runs of each row, after one that warms up (default 5)");
      c.flag("--regions", bench_.regions,
             "One more run of each row, its time divided among the regions of the forward pass");
      c.flag("--json", bench_.json, "One JSON object");
      c.common(bench_.common, true, "Positions the cache holds (default: as many as the longest row needs)",
               &bench_.threads);
      c.profile(bench_.common);
      c.run([this] { return bench(bench_); });
    }
    {
      Command& c =
          add(app, "isa", "The CPU's features, the tiers compiled in, the one chosen and why", "tritium isa --json");
      c.flag("--json", isa_.json, "One JSON object");
      c.common(isa_.common, false);
      c.run([this] { return isa(isa_); });
    }
    {
      Command& c = add(app, "selftest", "Check every kernel on every tier this CPU runs against the scalar reference",
                       "tritium selftest");
      c.flag("--json", selftest_.json, "One JSON object");
      c.common(selftest_.common, false);
      c.app()->get_option("--isa")->group("Common options");
      c.run([this] { return selftest(selftest_); });
    }
    {
      Command& c =
          add(app, "formats", "Every weight format: bits a weight, group, kernels and tiers", "tritium formats");
      c.flag("--json", formats_.json, "One JSON array");
      c.common(formats_.common, false);
      c.run([this] { return formats(formats_); });
    }
    {
      Command& c = add(app, "template", "Render a conversation with the model's chat template",
                       "tritium template demo:smollm2-135m --messages chat.json --add-generation-prompt");
      c.model(template_.model);
      c.require(c.file("--messages", template_.messages, "[{\"role\": ..., \"content\": ...}, ...]"),
                "--messages FILE");
      c.text("--template,--chat-template", template_.chat_template,
             "A built-in template or a file with one, instead of the model's own", "NAME|FILE");
      c.flag("--add-generation-prompt", template_.add_generation_prompt,
             "End with the opening of the assistant's turn");
      c.common(template_.common, false);
      c.run([this] { return render_template(template_); });
    }
    {
      Command& c =
          add(app, "models", "The demo models: which are present, size, licence, and the command that gets each",
              "tritium models");
      c.flag("--json", models_.json, "One JSON array");
      c.common(models_.common, false);
      c.run([this] { return models(models_); });
    }
  }

  [[nodiscard]] const Command* chosen() const {
    for (const auto& c : commands_) {
      if (c->chosen()) return c.get();
    }
    return nullptr;
  }

 private:
  Command& add(CLI::App& app, const std::string& name, const std::string& description, const std::string& example) {
    commands_.push_back(std::make_unique<Command>(app, name, description, example));
    return *commands_.back();
  }

  std::vector<std::unique_ptr<Command>> commands_;
  RunOptions run_;
  ChatOptions chat_;
  TokenizeOptions tokenize_;
  DetokenizeOptions detokenize_;
  LogitsOptions logits_;
  PerplexityOptions perplexity_;
  QuantizeOptions quantize_;
  PackOptions pack_;
  InspectOptions inspect_;
  BenchOptions bench_;
  TemplateOptions template_;
  ListOptions isa_, selftest_, formats_, models_;
  std::string divergence_base_;
  bool kl_divergence_ = false;
};

/// What CLI11 found wrong, in the form of all other errors.
std::string usage_message(const CLI::ParseError& e, const std::string& command, const std::string& first) {
  const std::string text = e.what();
  const auto tail = [&](std::string_view marker) {
    const std::size_t at = text.find(marker);
    return at == std::string::npos ? std::string() : text.substr(at + marker.size());
  };
  const auto message = [](std::string_view where, std::string_view expected, std::string_view found) {
    return tritium::make_error(tritium::Errc::invalid_argument, "wrong usage", where, expected, found).message;
  };
  if (const std::string extra = tail("not expected: "); !extra.empty()) {
    return message(
        command, command == "tritium" ? "a command that 'tritium --help' lists" : "what '" + command + " --help' lists",
        extra);
  }
  if (command == "tritium") {
    return message(command, "a command that 'tritium --help' lists", first.empty() ? "nothing" : first);
  }
  if (e.get_name() == "ArgumentMismatch" && text.ends_with(" missing")) {
    return message(text.substr(0, text.find(':')), "a value", "nothing");
  }
  return message(command, "what '" + command + " --help' says", text);
}

int finish(int status) {
  const tritium::Status flushed = out().flush();
  if (flushed.ok()) return status;
  print_error(flushed.error().message);
  return kFailed;
}

int report(const tritium::Error& error) {
  (void)out().flush();  // what was made before it failed; the error to tell is the command's
  if (error.code == tritium::Errc::cancelled) {
    print_error("interrupted");
    return kInterrupted;
  }
  print_error(error.message);
  return kFailed;
}

int real_main(int argc, char** argv) {
  CLI::App app("Runs small language models on the CPU.", "tritium");
  app.require_subcommand(1);
  CommandLine line(app);
  // -ctk and -ctv have three letters, which CLI11 reads as -c tk; bench --profile without a name is bench --regions.
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) {
    const std::string_view argument(argv[i]);
    const bool unnamed =
        argument == "--profile" && std::string_view(argv[1]) == "bench" && (i + 1 == argc || !is_profile(argv[i + 1]));
    arguments.emplace_back(argument == "-ctk"   ? "--cache-type-k"
                           : argument == "-ctv" ? "--cache-type-v"
                           : unnamed            ? "--regions"
                                                : argument);
  }
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    const Command* command = line.chosen();
    out().write(command == nullptr ? app.help() : command->help());
    return finish(kDone);
  } catch (const CLI::CallForVersion& e) {
    out().line(e.what());
    return finish(kDone);
  } catch (const CLI::ParseError& e) {
    const Command* command = line.chosen();
    print_error(usage_message(e, command == nullptr ? "tritium" : command->name(), argc > 1 ? argv[1] : ""));
    return kUsage;
  }
  const tritium::Result<int> status = line.chosen()->execute();
  return status.ok() ? finish(*status) : report(status.error());
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) {
  cli::reserve_standard_streams();
  cli::install_signal_handlers();
  try {
    return cli::real_main(argc, argv);
  } catch (const cli::UsageError& e) {
    cli::print_error(e.message);
    return cli::kUsage;
  } catch (const std::bad_alloc&) {
    cli::print_error("out of memory");
    return cli::kFailed;
  } catch (const std::exception& e) {
    cli::print_error(e.what());
    return cli::kFailed;
  }
}
