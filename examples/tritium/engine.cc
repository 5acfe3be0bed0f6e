// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include "commands.h"
#include "console.h"
#include "format_names.h"
#include "loading.h"
#include "memory.h"
#include "model_folder.h"
#include "packed.h"
#include "signals.h"
#include "text_side.h"
#include "tritium/model/plan.h"

namespace cli {

using tritium::Checkpoint;
using tritium::Errc;
using tritium::Result;
using tritium::Status;

namespace {

constexpr std::size_t kDefaultContext = 4096;

/// Refuses what would only end in swapping or in the system's killer.
Status check_memory(const std::string& path, std::size_t weights, std::size_t cache, std::size_t work) {
  const std::optional<std::size_t> available = available_memory();
  const std::size_t needed = weights + cache + work;
  if (!available || needed <= *available) return {};
  return tritium::make_error(Errc::out_of_memory, "not enough memory", tritium::printable_path(path),
                             human_bytes(needed) + ": weights " + human_bytes(weights) + ", KV cache " +
                                 human_bytes(cache) + ", working memory " + human_bytes(work),
                             human_bytes(*available) + " available");
}

}  // namespace

Status unchanged(const Checkpoint& checkpoint) {
  const Status status = checkpoint.check_unchanged();
  constexpr std::string_view kLibraryText = "file changed while in use";
  if (status.ok() || !status.error().message.starts_with(kLibraryText)) return status;
  return tritium::Error{status.error().code, "model " + status.error().message};
}

Engine::Engine() = default;
Engine::~Engine() = default;

const tritium::Model& Engine::model() const { return *model_; }

Status pin_isa(const CommonOptions& options) {
  if (options.isa.empty()) return tritium::active_isa().ok() ? Status() : Status(tritium::active_isa().error());
  if (tritium::find_tier(options.isa) == nullptr) {
    std::string names;
    for (const tritium::TierInfo& tier : tritium::kTiers) names.append(names.empty() ? "" : ", ").append(tier.name);
    wrong_usage("--isa", "one of " + names, options.isa);
  }
  return tritium::force_isa(options.isa);
}

bool is_profile(std::string_view name) { return tritium::find_profile(name) != nullptr; }

const tritium::Profile* profile_of(const CommonOptions& options) {
  if (options.profile.empty()) return nullptr;
  const tritium::Profile* profile = tritium::find_profile(options.profile);
  if (profile == nullptr) {
    std::string names;
    for (const tritium::Profile& p : tritium::kProfiles) names.append(names.empty() ? "" : ", ").append(p.name);
    wrong_usage("--profile", names, options.profile);
  }
  if (options.exact || options.acts == Acts::f32) {
    wrong_usage("--profile", std::string("neither --exact nor --acts f32 beside ") + options.profile,
                options.exact ? "--exact" : "--acts f32");
  }
  return profile;
}

tritium::LoadOptions load_options(const CommonOptions& options) {
  const tritium::Profile* profile = profile_of(options);
  tritium::LoadOptions load = profile != nullptr ? profile->load_options() : tritium::LoadOptions{};
  if (profile == nullptr || options.weights_given) load.weights = pack_format("--weights", options.weights);
  if (profile == nullptr || options.head_given) load.head = pack_format("--head", options.head);
  if (!options.shortlist.empty()) load.shortlist = pack_format("--shortlist", options.shortlist);
  if (!options.exact && options.acts != Acts::f32) return load;
  for (const auto& [name, format] : {std::pair("--weights", load.weights), std::pair("--head", load.head)}) {
    if (!format || *format == tritium::PackFormat::f32) continue;
    wrong_usage(name, std::string("keep or f32 with ") + (options.exact ? "--exact" : "--acts f32"),
                tritium::info(*format).name);
  }
  load.weights = load.head = tritium::PackFormat::f32;
  load.exact = options.exact;
  return load;
}

tritium::KvType kv_type(const CommonOptions& options) {
  if (const tritium::Profile* profile = profile_of(options); profile != nullptr && !options.kv_given)
    return profile->kv;
  if (options.exact || options.kv == Kv::f32) return tritium::KvType::f32;
  if (options.kv == Kv::bf16) return tritium::KvType::bf16;
  return options.kv == Kv::f16 ? tritium::KvType::f16 : tritium::KvType::int8;
}

Result<std::unique_ptr<Engine>> Engine::open(const std::string& model, const CommonOptions& options, Needs needs) {
  tritium::LoadOptions load = load_options(options);
  std::unique_ptr<Engine> engine(new Engine);
  engine->kv_ = kv_type(options);
  const tritium::Profile* profile = profile_of(options);
  engine->max_batch_ = profile != nullptr ? profile->prefill_chunk : needs.max_batch;
  TRITIUM_TRY(pin_isa(options));
  TRITIUM_ASSIGN(const std::string path, resolve_model(model));
  TRITIUM_TRY(engine->set_threads(options.threads == 0 ? tritium::available_cpus() : options.threads));
  TRITIUM_ASSIGN(engine->checkpoint_, Checkpoint::open(path));
  const Checkpoint& checkpoint = *engine->checkpoint_;

  if (const auto family = encoder_decoder_family(checkpoint)) {
    return tritium::make_error(Errc::unsupported, "this command runs decoder-only models",
                               tritium::printable_path(path), "a model without an encoder",
                               "an encoder-decoder of family " + *family + ", which logits runs");
  }
  TRITIUM_ASSIGN(CacheUse packed, CacheUse::open(options.cache, checkpoint, load));
  TRITIUM_ASSIGN(const tritium::ModelPlan plan, tritium::plan_model(checkpoint, load));
  const std::size_t most = plan.spec.context;
  if (options.ctx > most) {
    return tritium::make_error(Errc::out_of_range, "context is longer than the model's", "--ctx",
                               "at most " + std::to_string(most), std::to_string(options.ctx));
  }
  engine->context_given_ = options.ctx != 0;
  engine->context_ = options.ctx != 0 ? options.ctx
                     : needs.context  ? needs.context(most)
                                      : std::min(most, kDefaultContext);
  engine->max_batch_ = std::min(engine->max_batch_, engine->context_);
  TRITIUM_ASSIGN(engine->kv_bytes_,
                 tritium::KvCache::bytes_needed(plan.spec, engine->context_, engine->max_batch_, engine->kv_));
  engine->sequences_ = needs.sequences;
  TRITIUM_ASSIGN(engine->kv_bytes_, tritium::checked_mul(engine->kv_bytes_, needs.sequences));
  const std::size_t work =
      (needs.logit_rows * plan.spec.vocab + engine->max_batch_ * tritium::widest_row(plan.spec) * 6) * sizeof(float);
  TRITIUM_TRY(check_memory(path, plan.packed_bytes, engine->kv_bytes_, work));
  if (needs.tokenizer) {
    TRITIUM_ASSIGN(engine->tokenizer_, open_tokenizer(checkpoint));
    if (needs.check) TRITIUM_TRY(needs.check(checkpoint, *engine->tokenizer_));
  }
  {
    Progress progress("loading");
    load.progress = [&](std::size_t done, std::size_t total) { progress.update(done, total); };
    TRITIUM_ASSIGN(engine->model_,
                   packed.run(load, [&] { return tritium::load_model(checkpoint, load, engine->executor()); }));
  }
  TRITIUM_TRY(packed.keep(checkpoint, load));
  TRITIUM_TRY(engine->check_unchanged());
  return engine;
}

Status Engine::set_threads(std::size_t n) {
  if (pool_ != nullptr && pool_->n_threads() == n) return {};
  TRITIUM_ASSIGN(pool_, tritium::ThreadPool::create(n));
  return {};
}

Status Engine::open_draft(const SamplingOptions& sampling, const CommonOptions& options) {
  if (sampling.draft.empty()) {
    if (sampling.draft_tokens) wrong_usage("--draft-tokens", "--draft MODEL", "none");
    return {};
  }
  CommonOptions own = options;
  own.ctx = 0;
  own.weights = own.head = "keep";
  own.profile.clear();
  own.shortlist.clear();
  if (own.cache != "auto") own.cache.clear();  // a file of the model
  Needs needs;
  needs.context = [this](std::size_t most) { return std::min(most, context_); };
  needs.max_batch = max_batch_;
  needs.check = [this](const Checkpoint&, const tritium::Tokenizer& tokenizer) {
    return tritium::same_vocabulary(*tokenizer_, tokenizer);
  };
  TRITIUM_ASSIGN(draft_, open(sampling.draft, own, std::move(needs)));
  TRITIUM_TRY(draft_->set_threads(1));  // from here on it runs on the threads of the model
  const tritium::Profile* profile = profile_of(options);
  drafted_ = sampling.draft_tokens.value_or(profile != nullptr && profile->drafted != 0 ? profile->drafted : 4);
  return {};
}

Status Engine::check_unchanged() const {
  TRITIUM_TRY(unchanged(*checkpoint_));
  if (model_->weights.panels != nullptr) TRITIUM_TRY(model_->weights.panels->check_unchanged());
  return draft_ != nullptr ? draft_->check_unchanged() : Status();
}

Status Engine::check_fits(std::size_t tokens) const {
  const std::size_t most = std::min(context_, model_->spec.context);
  if (tokens <= most) return {};
  return tritium::make_error(Errc::out_of_range, "more tokens than the context holds",
                             context_given_ ? "--ctx" : "the model's context", "at most " + std::to_string(most),
                             std::to_string(tokens));
}

Result<tritium::Session> Engine::session() {
  TRITIUM_ASSIGN(tritium::Session session,
                 tritium::Session::create(*model_, *tokenizer_,
                                          {.context = context_, .max_batch = max_batch_, .kv = kv_}, executor()));
  if (draft_ != nullptr) {
    const Engine& d = *draft_;
    TRITIUM_TRY(session.set_draft(*d.model_, &*d.tokenizer_,
                                  {.context = d.context_, .max_batch = d.max_batch_, .kv = d.kv_}, executor()));
  }
  return session;
}
Result<std::unique_ptr<tritium::Decoder>> Engine::decoder() {
  return tritium::Decoder::create(
      *model_, {.context = context_, .max_batch = max_batch_, .kv = kv_, .sequences = sequences_}, executor());
}

Result<tritium::GenerateStats> Engine::generate(tritium::Session& session, std::span<const std::int32_t> prompt,
                                                tritium::GenerateOptions options,
                                                const std::function<bool(std::string_view)>& emit) {
  Progress progress("reading the prompt");
  Status file;
  options.cancelled = [&] {
    if (interrupted()) return true;
    file = check_unchanged();
    return !file.ok();
  };
  options.progress = [&](std::size_t done, std::size_t total) {
    if (done == total) progress.clear();
    else progress.update(done, total);
  };
  TRITIUM_ASSIGN(const tritium::GenerateStats stats,
                 session.generate(prompt, options, [&](std::string_view text) { return emit(text); }));
  TRITIUM_TRY(file);
  return stats;
}

Status forward(tritium::Decoder& decoder, std::span<const std::int32_t> tokens, tritium::Decoder::Logits wanted,
               float* logits) {
  return decoder.forward(tokens, wanted, logits);
}

tritium::SamplerOptions sampler_options(const SamplingOptions& sampling, std::uint64_t seed) {
  tritium::SamplerOptions options;
  options.temperature = sampling.temp;
  options.top_k = sampling.top_k;
  options.top_p = sampling.top_p;
  options.min_p = sampling.min_p;
  options.repeat_penalty = sampling.repeat_penalty;
  options.repeat_last = sampling.repeat_last;
  options.greedy = sampling.greedy;
  options.seed = seed;
  return options;
}

std::string guesses_text(const tritium::GenerateOptions& options, const tritium::GenerateStats& stats) {
  if (options.lookup == 0 && options.drafted == 0) return "";
  return "; " + std::to_string(stats.accepted_tokens) + " of " + std::to_string(stats.guessed_tokens) +
         " guesses were right";
}

std::string speed_text(std::size_t tokens, double seconds) {
  const std::string rate = seconds > 0 ? fixed(static_cast<double>(tokens) / seconds, 1) : "-";
  return std::to_string(tokens) + (tokens == 1 ? " token, " : " tokens, ") + fixed(seconds, 3) + " s, " + rate +
         " tokens/s";
}

}  // namespace cli
