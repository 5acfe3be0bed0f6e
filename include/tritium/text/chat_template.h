// SPDX-License-Identifier: Apache-2.0
// Chat templates: a conversation to the text that a model was trained on.
//
// A model file brings its own template; for files without one there is a built-in template for each family. Rendering
// is byte for byte transformers' apply_chat_template, its treatment of absent members and of reasoning fields included.
// The text can be had in segments that say who wrote them, so that a tokenizer may read control tokens in the
// template's own text and must not in what users wrote: a message that contains "<|im_end|>" stays text. For that to
// work a control token must lie inside one segment, and templates that build one out of a role ('<|' + role + '|>') get
// one as long as the role is one of the known names. Source: transformers' chat templates
// (huggingface.co/docs/transformers/chat_templating); the forms of the families are those of their model cards.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/json_tree.h"
#include "tritium/core/no_throw.h"
#include "tritium/core/status.h"
#include "tritium/text/jinja.h"
#include "tritium/text/jinja/lexer.h"

TRITIUM_NAMESPACE_BEGIN

/// What a rendering needs beside the messages.
struct RenderOptions {
  bool add_generation_prompt = false;  ///< end with the opening of the assistant's turn
  std::string bos_token;               ///< empty: the template sees no bos_token
  std::string eos_token;               ///< empty: the template sees no eos_token
  nlohmann::ordered_json tools;        ///< JSON schemas of functions, an array, or null
  nlohmann::ordered_json documents;    ///< an array of objects, or null
  nlohmann::ordered_json variables;    ///< further variables, an object, or null: {"enable_thinking": false}
  jinja::Clock clock;                  ///< what strftime_now shows; empty: the system's local time
  jinja::Limits limits;                ///< of the template's work
};

/// FNV-1a of the bytes as 16 hexadecimal digits: names a template in messages, guards against nothing.
inline std::string template_digest(std::string_view source) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (const char c : source) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; h >>= 4) digits[i] = "0123456789abcdef"[h & 15];
  return digits;
}

/// A family's own form, for models whose file has no template.
struct BuiltinTemplate {
  std::string_view family;  ///< its name, as --template takes it
  std::string_view source;  ///< Jinja
};

// clang-format off
/// Every built-in template.
inline constexpr std::array<BuiltinTemplate, 8> kBuiltinTemplates = {{
    {"chatml", R"jinja({% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\n' }}
{%- endif %})jinja"},
    {"llama3", R"jinja({{ bos_token | default('<|begin_of_text|>') }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})jinja"},
    {"phi3", R"jinja({% for message in messages %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\n' }}
{%- endif %})jinja"},
    {"phi4", R"jinja({% for message in messages %}
{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant<|im_sep|>' }}
{%- endif %})jinja"},
    {"phi4-mini", R"jinja({% set ns = namespace(tools=tools) %}
{% macro show_tools(tools) %}
{{ '<|tool|>' + (tools if tools is string else tools | tojson) + '<|/tool|>' }}
{%- endmacro %}
{% if tools and messages[0]['role'] != 'system' %}
{{ '<|system|>' + show_tools(tools) + '<|end|>' }}
{%- set ns.tools = none %}
{% endif %}
{% for message in messages %}
{{ '<|' + message['role'] + '|>' + message['content'] }}
{%- if message['role'] == 'system' and (message['tools'] or ns.tools) %}
{{- show_tools(message['tools'] or ns.tools) }}
{%- set ns.tools = none %}
{% endif %}
{{- '<|end|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>' }}
{%- endif %})jinja"},
    {"gemma", R"jinja({{ bos_token | default('<bos>') }}
{%- set ns = namespace(system='', turns=messages) %}
{% if messages[0]['role'] == 'system' %}
{% set ns.system = messages[0]['content'] | trim + '\n\n' %}
{% set ns.turns = messages[1:] %}
{% endif %}
{% for message in ns.turns %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('the roles must alternate between user and assistant, beginning with user') }}
{% endif %}
{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}
{{- (ns.system if loop.first) ~ message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<start_of_turn>model\n' }}
{%- endif %})jinja"},
    {"bitnet", R"jinja({{ bos_token | default('<|begin_of_text|>') }}
{%- for message in messages %}
{{- message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ 'Assistant: ' }}
{%- endif %})jinja"},
    {"falcon3", R"jinja({% for message in messages %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\n' }}
{%- endif %})jinja"},
}};
// clang-format on

/// The template of a conversation. Copies are cheap; any number of threads may render with one.
class ChatTemplate {
 public:
  /// A template from its source, usually the tokenizer.chat_template of a model file. Errors: as
  /// jinja::Template::parse.
  static Result<ChatTemplate> parse(std::string source) {
    TRITIUM_ASSIGN(jinja::Template parsed, jinja::Template::parse(source));
    return ChatTemplate(std::move(source), std::move(parsed));
  }

  /// The built-in template of a family of kBuiltinTemplates. Errors: invalid_argument for a name that is not there.
  static Result<ChatTemplate> builtin(std::string_view family) {
    for (const BuiltinTemplate& t : kBuiltinTemplates) {
      if (t.family == family) return parse(std::string(t.source));
    }
    std::string names;
    for (const BuiltinTemplate& t : kBuiltinTemplates) names.append(names.empty() ? "" : ", ").append(t.family);
    return make_error(Errc::invalid_argument, "no built-in chat template of that name", "chat template", names, family);
  }

  /// The text of a conversation: `messages` is an array of objects with a role and usually a content. Errors: what the
  /// template raises; invalid_argument for messages of another shape; out_of_range past options.limits.
  [[nodiscard]] Result<std::string> render(const nlohmann::ordered_json& messages,
                                           const RenderOptions& options = {}) const {
    TRITIUM_ASSIGN(jinja::Rendered rendered, render_marked(messages, options));
    return std::move(rendered.text);
  }

  /// The same text in runs of one author each; their concatenation is what render() gives.
  [[nodiscard]] Result<std::vector<jinja::Segment>> render_segments(const nlohmann::ordered_json& messages,
                                                                    const RenderOptions& options = {}) const {
    TRITIUM_ASSIGN(const jinja::Rendered rendered, render_marked(messages, options));
    return rendered.segments();
  }

  [[nodiscard]] const std::string& source() const { return source_; }  ///< The template's text.
  /// Names the template: FNV-1a of its source, 16 hexadecimal digits.
  [[nodiscard]] std::string digest() const { return template_digest(source_); }

 private:
  using Json = nlohmann::ordered_json;

  ChatTemplate(std::string source, jinja::Template parsed) : source_(std::move(source)), template_(std::move(parsed)) {}

  [[nodiscard]] Result<jinja::Rendered> render_marked(const Json& messages, const RenderOptions& options) const {
    return no_throw([&]() -> Result<jinja::Rendered> {
      static const std::vector<std::string_view> roles = {"system", "user",     "assistant", "tool",  "developer",
                                                          "model",  "function", "ipython",   "tools", "documents"};
      jinja::Trust trust{{"add_generation_prompt"}, roles};
      JsonTree<Json> tree = Json(Json::value_t::object);
      Json& variables = tree.get();
      const bool extra = !options.variables.is_null();
      reserve_members(variables, 6 + (extra ? options.variables.size() : 0));
      Json& list = variables["messages"];
      TRITIUM_ASSIGN(list, normalized(messages));
      copy_into(options.tools, variables["tools"]);
      copy_into(options.documents, variables["documents"]);
      variables["add_generation_prompt"] = options.add_generation_prompt;
      if (extra && !options.variables.is_object()) {
        return make_error(Errc::invalid_argument, "the further variables of a chat template have the wrong shape",
                          "RenderOptions::variables", "an object", options.variables.type_name());
      }
      for (const auto& [name, token] :
           {std::pair("bos_token", &options.bos_token), std::pair("eos_token", &options.eos_token)}) {
        if (token->empty() || (extra && options.variables.contains(name))) continue;
        variables[name] = *token;
        trust.variables.push_back(name);
      }
      if (extra) {
        for (const auto& [name, value] : options.variables.get_ref<const Json::object_t&>()) {
          if (variables.contains(name)) {
            return make_error(Errc::invalid_argument, "a further variable has a name that is taken",
                              "RenderOptions::variables", "another name", jinja::one_line(name));
          }
          copy_into(value, variables[name]);
        }
      }
      return template_.render(variables, trust, options.limits, options.clock);
    });
  }

  // As transformers does it: members that are null are dropped, and reasoning is there under each of its names.
  static Result<Json> normalized(const Json& messages) {
    const auto bad = [](std::string_view where, std::string_view expected, std::string_view found) {
      return make_error(Errc::invalid_argument, "the messages of a conversation have the wrong shape", where, expected,
                        found);
    };
    if (!messages.is_array()) return bad("messages", "an array", messages.type_name());
    if (messages.empty()) return bad("messages", "at least one message", "none");
    JsonTree<Json> tree = Json(Json::value_t::array);
    Json& out = tree.get();
    out.get_ref<Json::array_t&>().reserve(messages.size());  // so that adding one cannot fail
    for (const Json& message : messages) {
      const std::string where = "message " + std::to_string(out.size());
      if (!message.is_object()) return bad(where, "an object", message.type_name());
      const Json* reasoning = nullptr;
      for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
        const auto member = message.find(name);
        if (reasoning == nullptr && member != message.end() && !member->is_null()) reasoning = &*member;
      }
      JsonTree<Json> members = Json(Json::value_t::object);
      Json& kept = members.get();
      reserve_members(kept, message.size() + 2);
      if (reasoning != nullptr) copy_into(*reasoning, kept["thinking"]);
      for (const auto& [name, value] : message.get_ref<const Json::object_t&>()) {
        if (!value.is_null()) copy_into(value, kept[name]);
      }
      if (reasoning != nullptr) copy_into(*reasoning, kept["reasoning_content"]);
      out.push_back(members.take());
    }
    return tree.take();
  }

  std::string source_;
  jinja::Template template_;
};

TRITIUM_NAMESPACE_END
