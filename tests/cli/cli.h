// SPDX-License-Identifier: Apache-2.0
// What the tests of the command line share: the binary, the golden models, and what every answer must look like.
#pragma once

#include <nlohmann/json.hpp>

#include "io/test_files.h"
#include "support/process.h"

inline std::string golden_gguf(std::string_view row) {
  return std::string(TRITIUM_TEST_DATA "/golden/").append(row).append("/model.gguf");
}
inline std::string golden_folder(std::string_view row) { return std::string(TRITIUM_TEST_DATA "/golden/").append(row); }
/// A model of two layers with a SentencePiece vocabulary, 64 positions.
inline std::string tiny_model() { return golden_gguf("llama"); }

/// Arguments behind the name of the binary.
inline std::vector<std::string> command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), TRITIUM_CLI);
  return arguments;
}
inline Finished call(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  return run_process(command(arguments), options);
}
inline ProcessOptions with_input(std::string_view text) {
  ProcessOptions options;
  options.input = text;
  return options;
}

/// Standard output of a run that must succeed.
inline std::string output_of(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  const Finished run = call(arguments, options);
  INFO("standard error: " << run.err);
  REQUIRE(run.signal == 0);
  REQUIRE(run.status == 0);
  return run.out;
}
inline nlohmann::json json_of(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  const std::string text = output_of(arguments, options);
  REQUIRE(text.ends_with('\n'));
  REQUIRE(nlohmann::json::accept(text));
  return nlohmann::json::parse(text);
}

/// Checks that a run failed with a status and one error line in the form of the contract, and returns that line.
/// Standard output stays empty unless `some_output`.
inline std::string error_of(const Finished& run, int status, bool some_output = false) {
  INFO("standard error: " << run.err);
  CHECK(run.signal == 0);
  CHECK(run.status == status);
  if (!some_output) CHECK(run.out.empty());
  REQUIRE(run.err.ends_with('\n'));
  // Notes may come first; the error is the last line and the only one of its kind.
  const std::size_t begin = run.err.rfind('\n', run.err.size() - 2);
  const std::string line = run.err.substr(begin == std::string::npos ? 0 : begin + 1);
  CHECK(line.starts_with("tritium: error: "));
  CHECK(run.err.find("tritium: error: ") == run.err.size() - line.size());
  CHECK(is_one_printable_line(std::string_view(line).substr(0, line.size() - 1)));
  return line;
}
/// WHAT (WHERE: expected ..., found ...)
inline std::string full_error_of(const Finished& run, int status) {
  std::string line = error_of(run, status);
  INFO(line);
  CHECK(contains(line, " ("));
  CHECK(contains(line, ": expected "));
  CHECK(contains(line, ", found "));
  CHECK(line.ends_with(")\n"));
  return line;
}
