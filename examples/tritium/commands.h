// SPDX-License-Identifier: Apache-2.0
// The commands. Each writes its result to out() and answers with the exit status, or with the error that main prints.
#pragma once

#include "options.h"
#include "tritium/core/status.h"

namespace cli {

tritium::Result<int> run(const RunOptions& options);
tritium::Result<int> chat(const ChatOptions& options);
tritium::Result<int> tokenize(const TokenizeOptions& options);
tritium::Result<int> detokenize(const DetokenizeOptions& options);
tritium::Result<int> logits(const LogitsOptions& options);
tritium::Result<int> perplexity(const PerplexityOptions& options);
tritium::Result<int> quantize(const QuantizeOptions& options);
tritium::Result<int> pack(const PackOptions& options);
tritium::Result<int> inspect(const InspectOptions& options);
tritium::Result<int> bench(const BenchOptions& options);
tritium::Result<int> isa(const ListOptions& options);
tritium::Result<int> selftest(const ListOptions& options);
tritium::Result<int> formats(const ListOptions& options);
tritium::Result<int> render_template(const TemplateOptions& options);
tritium::Result<int> models(const ListOptions& options);

/// A mistake of the command line that only a command can see; main prints it and answers with status 2.
struct UsageError {
  std::string message;
};
/// "wrong usage (WHERE: expected EXPECTED, found FOUND)".
[[noreturn]] void wrong_usage(std::string_view where, std::string_view expected, std::string_view found);
/// Whether --profile knows `name`.
bool is_profile(std::string_view name);

}  // namespace cli
