// SPDX-License-Identifier: Apache-2.0
// What the command line said, as plain data: main.cc fills it, the commands read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cli {

enum class Acts : std::uint8_t { automatic, f32 };
enum class Kv : std::uint8_t { f32, f16, int8, bf16 };

/// Options that every command accepts.
struct CommonOptions {
  std::size_t threads = 0;  ///< 0: the CPUs this process may use
  std::size_t ctx = 0;      ///< 0: the default of the command
  std::string weights = "keep";
  std::string head = "keep";
  std::string shortlist;  ///< empty: none
  std::string cache;      ///< a packed cache, or "auto"; empty: none
  std::string profile;    ///< empty: none
  Kv kv = Kv::f16;
  bool weights_given = false, head_given = false, kv_given = false;  ///< and so not the profile's to choose
  Acts acts = Acts::automatic;
  bool exact = false;
  std::string isa;  ///< empty: the best
  bool quiet = false;
  std::uint64_t seed = 0;
};

struct SamplingOptions {
  float temp = 0.8f;
  std::size_t top_k = 40;
  float top_p = 0.95f;
  float min_p = 0.05f;
  float repeat_penalty = 1.0f;
  std::size_t repeat_last = 64;
  bool greedy = false;
  std::size_t lookup = 0;  ///< not a matter of sampling, but of every command that samples
  std::string draft;       ///< the model that guesses; empty: none
  std::optional<std::size_t> draft_tokens;
  std::vector<std::string> stop;
};

struct RunOptions {
  CommonOptions common;
  SamplingOptions sampling;
  std::string model;
  std::optional<std::string> prompt;  ///< "-": standard input
  std::optional<std::string> file;
  std::size_t n = 256;
  bool echo = false;
  bool ignore_eos = false;
  bool no_special = false;
};

struct ChatOptions {
  CommonOptions common;
  SamplingOptions sampling;
  std::string model;
  std::string system;
  std::string chat_template;  ///< a built-in name or a file; empty: the model's own
  std::size_t n = 0;          ///< 0: as far as the context goes
};

struct TokenizeOptions {
  CommonOptions common;
  std::string model;
  std::optional<std::string> text;
  bool no_special = false;
  bool no_bos = false;
  bool json = false;
};

struct DetokenizeOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::int32_t> ids;
  bool ids_given = false;
  bool no_special = false;
};

struct LogitsOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::int32_t> tokens;
  std::optional<std::string> tokens_file;
  std::vector<std::int32_t> decoder_tokens;
  std::string out;
  bool decode = false;
  bool last = false;
};

struct PerplexityOptions {
  CommonOptions common;  ///< ctx: the window, 512 by default
  std::string model;
  std::string file;
  bool half_rule = false;
  bool no_special = false;
  bool json = false;
  std::string save_logits;
  std::string kl_from;
};

struct QuantizeOptions {
  CommonOptions common;  ///< head: empty where it is not given
  std::string model;
  std::string out;
  std::string to;
  bool verbose = false;
};

struct PackOptions {
  CommonOptions common;
  std::string model;
  std::string out;  ///< empty: beside the model
};

struct InspectOptions {
  CommonOptions common;
  std::string model;
  bool tensors = false;
  bool json = false;
};

struct BenchOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::size_t> prompts = {512};
  std::vector<std::size_t> generated = {128};
  std::vector<std::size_t> threads;  ///< empty: common.threads
  std::size_t runs = 5;
  std::vector<std::size_t> sequences = {1};  ///< texts that tg rows make at once
  std::vector<std::size_t> depths = {0};     ///< tokens that are in the cache before tg rows begin
  bool regions = false;
  bool json = false;
};

struct TemplateOptions {
  CommonOptions common;
  std::string model;
  std::string messages;
  std::string chat_template;
  bool add_generation_prompt = false;
};

struct ListOptions {  ///< isa, selftest, formats, models
  CommonOptions common;
  bool json = false;
};

}  // namespace cli
