// SPDX-License-Identifier: Apache-2.0
// quantize: any model as a GGUF file, its matrices rounded to a type.
//
// Nothing goes to standard output. What the file does not keep, or keeps in another type than asked for, is said.
#include <map>

#include "commands.h"
#include "console.h"
#include "engine.h"
#include "format_names.h"
#include "model_folder.h"
#include "signals.h"
#include "tritium/generate/gguf_tokenizer.h"
#include "tritium/model/export.h"

namespace cli {

using tritium::Checkpoint;
using tritium::ExportedTensor;
using tritium::GgufExport;
using tritium::Result;

namespace {

std::string type_name(tritium::TensorType type) { return std::string(tritium::info(type).name); }

/// Tensors whose rows do not fit the type that was asked for, a line for each kind of them.
void note_other_types(const GgufExport& plan) {
  std::map<std::tuple<tritium::TensorType, tritium::TensorType, std::size_t>, std::size_t> counts;
  for (const ExportedTensor& t : plan.tensors()) {
    if (t.type != t.wanted) ++counts[{t.wanted, t.type, t.cols()}];
  }
  for (const auto& [kind, count] : counts) {
    const auto& [wanted, type, cols] = kind;
    note(std::to_string(count) + (count == 1 ? " tensor" : " tensors") + " with rows of " + std::to_string(cols) +
         ", no multiple of the " + std::to_string(tritium::info(wanted).block_length) + " of " + type_name(wanted) +
         ": " + type_name(type) + " instead");
  }
}

}  // namespace

Result<int> quantize(const QuantizeOptions& options) {
  tritium::ExportOptions types;
  types.matrices = file_type("--to", options.to);
  if (options.common.head == "keep") types.keep_head = true;
  else if (!options.common.head.empty()) types.head = file_type("--head", options.common.head);
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(GgufExport plan, GgufExport::plan(checkpoint, types));
  if (checkpoint.gguf() == nullptr) {
    TRITIUM_ASSIGN(const std::vector<std::string> notes,
                   tritium::set_gguf_tokenizer(checkpoint, plan.vocab(), plan.writer()));
    for (const std::string& text : notes) note(text);
  }
  note_other_types(plan);
  TRITIUM_ASSIGN(const auto pool, tritium::ThreadPool::create(options.common.threads == 0 ? tritium::available_cpus()
                                                                                          : options.common.threads));

  const CatchInterrupts catching;
  Progress progress("converting");
  tritium::ExportRun run;
  run.progress = [&](std::size_t done, std::size_t total) {
    progress.update(done, total);
    return !interrupted();
  };
  std::size_t elements = 0;
  std::size_t bytes = 0;
  for (const ExportedTensor& t : plan.tensors()) {
    const tritium::TensorTypeInfo& info = tritium::info(t.type);
    elements += t.rows() * t.cols();
    bytes += t.rows() * t.cols() / info.block_length * info.block_bytes;
  }
  if (options.verbose) {
    run.report = [&](const ExportedTensor& t, double error) {
      progress.clear();
      note(left(t.name, 32) + left(type_name(t.source_type()) + " to " + type_name(t.type), 18) +
           (t.is_copy() ? "copied" : "relative error " + fixed(error, 6)));
    };
  }
  TRITIUM_TRY(plan.write(options.out, run, pool->executor()));
  progress.clear();
  note("wrote " + options.out + ": " + std::to_string(plan.tensors().size()) + " tensors, " + human_bytes(bytes) +
       ", " + fixed(elements == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements), 3) +
       " bits a weight");
  return kDone;
}

}  // namespace cli
