// SPDX-License-Identifier: Apache-2.0
#include "encoder_decoder.h"

#include "console.h"
#include "engine.h"
#include "loading.h"
#include "packed.h"
#include "tritium/model/load_encoder_decoder.h"

namespace cli {

using tritium::Errc;
using tritium::Result;

std::optional<std::string> encoder_decoder_family(const tritium::Checkpoint& checkpoint) {
  const auto family = tritium::find_encoder_decoder_family(checkpoint);
  if (!family.ok() || *family == nullptr) return std::nullopt;
  return std::string((*family)->name);
}

Result<std::unique_ptr<PairEngine>> PairEngine::open(const tritium::Checkpoint& checkpoint,
                                                     const CommonOptions& options, std::size_t source,
                                                     std::size_t context) {
  tritium::LoadOptions load = load_options(options);
  TRITIUM_TRY(pin_isa(options));
  std::unique_ptr<PairEngine> engine(new PairEngine);
  TRITIUM_ASSIGN(engine->pool_,
                 tritium::ThreadPool::create(options.threads == 0 ? tritium::available_cpus() : options.threads));
  TRITIUM_ASSIGN(CacheUse packed, CacheUse::open(options.cache, checkpoint, load));
  Progress progress("loading");
  load.progress = [&](std::size_t done, std::size_t total) { progress.update(done, total); };
  TRITIUM_ASSIGN(engine->model_, packed.run(load, [&] {
    return tritium::load_encoder_decoder(checkpoint, load, engine->pool_->executor());
  }));
  progress.clear();
  TRITIUM_TRY(packed.keep(checkpoint, load));
  for (const auto& [model, n, name] : {std::tuple(engine->model_.encoder.get(), source, "--tokens"),
                                       std::tuple(engine->model_.decoder.get(), context, "--decoder-tokens")}) {
    if (n <= model->spec.context) continue;
    return tritium::make_error(Errc::out_of_range, "more tokens than the context holds", name,
                               "at most " + std::to_string(model->spec.context), std::to_string(n));
  }
  TRITIUM_ASSIGN(engine->both_,
                 tritium::EncoderDecoder::create(engine->model_, {source, context, 512, kv_type(options)},
                                                 engine->pool_->executor()));
  return engine;
}

}  // namespace cli
