// SPDX-License-Identifier: Apache-2.0
// Jinja2 templates: parse once, render many times, within limits.
//
// A complete interpreter of the template language as chat templates use it, with the environment that they are written
// for: trim_blocks, lstrip_blocks, loop controls, the immutable sandbox, tojson without HTML escapes, raise_exception,
// strftime_now, `{% generation %}`. The text it renders is byte for byte what the original makes. Templates come with
// model files and are hostile until shown otherwise: fuel, memory, depth and length are limited, every failure is one
// Error. The result says of every byte whether the template or the data wrote it.
// Source: Jinja 3.1 (jinja.palletsprojects.com) and transformers' chat template environment, by their behaviour.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/no_throw.h"
#include "tritium/core/status.h"
#include "tritium/text/jinja/value.h"
#if TRITIUM_LOADERS != 1
#include "tritium/text/jinja/filters.h"
#include "tritium/text/jinja/format.h"
#include "tritium/text/jinja/from_json.h"
#include "tritium/text/jinja/interpreter.h"
#include "tritium/text/jinja/methods.h"
#include "tritium/text/jinja/operators.h"
#include "tritium/text/jinja/parser.h"
#include "tritium/text/jinja/scope.h"
#endif

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

/// A run of rendered text with one author.
struct Segment {
  std::string text;           ///< none is empty
  bool from_template = true;  ///< false: it came from the data, or was computed from it
};

/// What a template made.
struct Rendered {
  std::string text;         ///< the result
  Origin origin;            ///< which bytes came from the template, and which from the data
  std::uint64_t steps = 0;  ///< fuel used

  /// The text in runs of alternating authors; none of them is empty.
  [[nodiscard]] std::vector<Segment> segments() const {
    std::vector<Segment> out;
    std::size_t begin = 0;
    bool user = origin.user;
    for (std::size_t i = 0; i <= origin.flips.size() && begin < text.size(); ++i) {
      const std::size_t end = i < origin.flips.size() ? origin.flips[i] : text.size();
      out.push_back({text.substr(begin, end - begin), !user});
      begin = end;
      user = !user;
    }
    return out;
  }
};

struct Program;

/// A parsed template. Copies share the tree; any number of threads may render it.
class Template {
 public:
  /// Parses `source`. Errors: out_of_range when it is longer than limits.template_bytes or nested deeper than
  /// limits.depth, invalid_argument when it is not UTF-8 or not a template, unsupported for tags that need other files.
  static Result<Template> parse(std::string_view source, const Limits& limits = {});

  /// Renders with the members of the object `variables`. An empty `clock` means the system's local time.
  /// Errors: what the template raises or does wrong (invalid_argument), limits passed (out_of_range), features that
  /// chat templates have no use for and integers past 64 bits (unsupported).
  [[nodiscard]] Result<Rendered> render(const nlohmann::ordered_json& variables, const Trust& trust = {},
                                        const Limits& limits = {}, Clock clock = {}) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

#if TRITIUM_LOADERS != 1
TRITIUM_LOADER Result<Template> Template::parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes) {
    return make_error(Errc::out_of_range, "the template is too long", "template",
                      "at most " + std::to_string(limits.template_bytes) + " bytes", std::to_string(source.size()));
  }
  if (!utf8_valid(source)) return make_error(Errc::invalid_argument, "the template is not valid UTF-8", "template");
  return no_throw([&]() -> Result<Template> {
    TRITIUM_ASSIGN(std::unique_ptr<Program> program, Parser::run(source, limits.depth));
    TRITIUM_TRY(Resolver::run(*program));
    return Template(std::move(program));
  });
}

TRITIUM_LOADER Result<Rendered> Template::render(const nlohmann::ordered_json& variables, const Trust& trust,
                                                 const Limits& limits, Clock clock) const {
  return no_throw([&]() -> Result<Rendered> {
    Interpreter interpreter(*program_, limits, std::move(clock));
    TRITIUM_ASSIGN(const Value text, interpreter.render(variables, trust));
    Rendered out;
    out.text = text.str().text;
    out.origin = text.str().origin;
    out.steps = limits.fuel - interpreter.heap().fuel_left();
    return out;
  });
}
#endif

}  // namespace jinja

TRITIUM_NAMESPACE_END
