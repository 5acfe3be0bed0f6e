// SPDX-License-Identifier: Apache-2.0
// pack: the packed cache of a model, for starts with --cache.
#include <chrono>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "loading.h"
#include "model_folder.h"
#include "packed.h"
#include "signals.h"
#include "tritium/model/load_encoder_decoder.h"

namespace cli {

using tritium::Checkpoint;
using tritium::Result;

Result<int> pack(const PackOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  tritium::LoadOptions load = load_options(options.common);
  TRITIUM_TRY(pin_isa(options.common));
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  const std::string out = options.out.empty() ? packed_path(path) : options.out;
  TRITIUM_ASSIGN(const auto pool, tritium::ThreadPool::create(options.common.threads == 0 ? tritium::available_cpus()
                                                                                          : options.common.threads));
  tritium::PackedRecord record;
  load.record = &record;
  std::unique_ptr<tritium::Model> model;
  tritium::EncoderDecoderModel both;
  {
    Progress progress("packing");
    load.progress = [&](std::size_t done, std::size_t total) { progress.update(done, total); };
    if (encoder_decoder_family(checkpoint)) {
      TRITIUM_ASSIGN(both, tritium::load_encoder_decoder(checkpoint, load, pool->executor()));
    } else {
      TRITIUM_ASSIGN(model, tritium::load_model(checkpoint, load, pool->executor()));
    }
  }
  const CatchInterrupts catching;
  TRITIUM_TRY(tritium::write_packed_cache(out, checkpoint, load, record, [] { return interrupted(); }));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  note("wrote " + out + ": " + std::to_string(record.n_matrices()) + " matrices, " + human_bytes(record.bytes()) +
       ", " + fixed(seconds.count(), 3) + " s");
  return kDone;
}

}  // namespace cli
