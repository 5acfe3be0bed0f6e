// SPDX-License-Identifier: Apache-2.0
// The text side of a checkpoint: its tokenizer and its chat template, wherever the file keeps them.
//
// GGUF carries both in its metadata; a safetensors folder has tokenizer.json or tokenizer.model beside the weights, and the
// template in tokenizer_config.json or chat_template.jinja. Ids that end a generation are gathered from every place that
// names them: files disagree, and a missed one talks on for ever.
#pragma once

#include <optional>
#include <utility>

#include "tritium/io/checkpoint.h"
#include "tritium/text/chat_template.h"
#include "tritium/text/tokenizer.h"
#include "tritium/text/vocabulary.h"
#if TRITIUM_LOADERS != 1
#include "tritium/text/gguf_vocabulary.h"
#include "tritium/text/tokenizer_json.h"
#include "tritium/text/tokenizer_model.h"
#endif

TRITIUM_NAMESPACE_BEGIN

namespace detail {

inline constexpr std::size_t kMaxTokenizerBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;

TRITIUM_LOADER Result<Vocabulary> vocabulary_from_folder(const Checkpoint& checkpoint);

}  // namespace detail

/// The tokenizer of a checkpoint. Works on vocabulary-only GGUF files too.
/// Errors: invalid_file, unsupported (naming the step that is not known), io.
TRITIUM_LOADER Result<Tokenizer> load_tokenizer(const Checkpoint& checkpoint);

/// The text of the model's own chat template; empty when it has none. Errors: invalid_file, io.
TRITIUM_LOADER Result<std::string> chat_template_source(const Checkpoint& checkpoint);

/// The model's own chat template, or nothing. Errors: unsupported or invalid_file for a template that does not parse.
TRITIUM_LOADER Result<std::optional<ChatTemplate>> load_chat_template(const Checkpoint& checkpoint);

/// bos_token and eos_token as the template sees them: what tokenizer_config.json names, else the tokenizer's, which may be
/// null. Errors: invalid_file, io.
TRITIUM_LOADER Status load_special_texts(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                                         RenderOptions& options);

/// The ids of a rendered conversation. What the template wrote may hold control tokens; what users wrote may not: text that
/// spells one stays text. The template writes BOS itself where its model wants one.
inline Result<std::vector<std::int32_t>> encode_conversation(const Tokenizer& tokenizer,
                                                             std::span<const jinja::Segment> segments) {
  return no_throw([&]() -> Result<std::vector<std::int32_t>> {
    std::string text;
    std::vector<TextRange> users;
    for (const jinja::Segment& segment : segments) {
      if (!segment.from_template && !segment.text.empty())
        users.push_back({text.size(), text.size() + segment.text.size()});
      text += segment.text;
    }
    EncodeOptions options;
    options.add_special = false;
    options.plain = users;
    return tokenizer.encode(text, options);
  });
}

#if TRITIUM_LOADERS != 1

namespace detail {

inline Result<Tokenizer> tokenizer_from_gguf(const GgufFile& file) {
  GgufTokenizer source;
  const auto text = [&](const char* key, std::string_view& out) -> Status {
    TRITIUM_ASSIGN(out, file.get_or<std::string_view>(key, {}));
    return {};
  };
  const auto id = [&](const char* key, std::optional<std::uint32_t>& out) -> Status {
    if (file.find(key) == nullptr) return {};
    TRITIUM_ASSIGN(out, file.get<std::uint32_t>(key));
    return {};
  };
  const auto flag = [&](const char* key, std::optional<bool>& out) -> Status {
    if (file.find(key) == nullptr) return {};
    TRITIUM_ASSIGN(out, file.get<bool>(key));
    return {};
  };
  TRITIUM_TRY(text("tokenizer.ggml.model", source.model));
  TRITIUM_TRY(text("tokenizer.ggml.pre", source.pre));
  TRITIUM_TRY(text("general.name", source.general_name));
  TRITIUM_ASSIGN(source.tokens, file.get_array<std::string_view>("tokenizer.ggml.tokens"));
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  if (file.find("tokenizer.ggml.scores") != nullptr) {
    TRITIUM_ASSIGN(scores, file.get_array<float>("tokenizer.ggml.scores"));
  }
  if (file.find("tokenizer.ggml.token_type") != nullptr) {
    TRITIUM_ASSIGN(types, file.get_array<std::int32_t>("tokenizer.ggml.token_type"));
  }
  if (file.find("tokenizer.ggml.merges") != nullptr) {
    TRITIUM_ASSIGN(source.merges, file.get_array<std::string_view>("tokenizer.ggml.merges"));
  }
  source.scores = scores;
  source.token_types = types;
  TRITIUM_TRY(id("tokenizer.ggml.bos_token_id", source.bos_token_id));
  TRITIUM_TRY(id("tokenizer.ggml.eos_token_id", source.eos_token_id));
  TRITIUM_TRY(id("tokenizer.ggml.eot_token_id", source.eot_token_id));
  TRITIUM_TRY(id("tokenizer.ggml.eom_token_id", source.eom_token_id));
  TRITIUM_TRY(id("tokenizer.ggml.unknown_token_id", source.unknown_token_id));
  TRITIUM_TRY(id("tokenizer.ggml.padding_token_id", source.padding_token_id));
  TRITIUM_TRY(flag("tokenizer.ggml.add_bos_token", source.add_bos_token));
  TRITIUM_TRY(flag("tokenizer.ggml.add_eos_token", source.add_eos_token));
  TRITIUM_TRY(flag("tokenizer.ggml.add_space_prefix", source.add_space_prefix));
  TRITIUM_TRY(flag("tokenizer.ggml.remove_extra_whitespaces", source.remove_extra_whitespaces));
  TRITIUM_TRY(flag("tokenizer.ggml.escape_whitespaces", source.escape_whitespaces));
  TRITIUM_TRY(flag("tokenizer.ggml.treat_whitespace_as_suffix", source.treat_whitespace_as_suffix));
  if (file.find("tokenizer.ggml.precompiled_charsmap") != nullptr) {
    const GgufValue* value = file.find("tokenizer.ggml.precompiled_charsmap");
    source.precompiled_charsmap = {reinterpret_cast<const char*>(value->bytes.data()), value->bytes.size()};
  }
  TRITIUM_ASSIGN(const Vocabulary vocabulary, vocabulary_from_gguf(source));
  return Tokenizer::create(vocabulary);
}

/// eos_token_id of a JSON file, a number or a list of numbers, added to `ids`.
inline Status add_end_tokens(const Json& config, std::string_view where, std::vector<std::int32_t>& ids) {
  TRITIUM_ASSIGN(const JsonObject object, JsonObject::of(config, where));
  const Json* value = object.find("eos_token_id");
  if (value == nullptr) return {};
  if (value->is_array()) {
    TRITIUM_ASSIGN(const std::vector<std::int32_t> list, object.get_array<std::int32_t>("eos_token_id"));
    ids.insert(ids.end(), list.begin(), list.end());
  } else {
    TRITIUM_ASSIGN(const std::int32_t one, object.get<std::int32_t>("eos_token_id"));
    ids.push_back(one);
  }
  return {};
}

/// The vocabulary of a safetensors folder. Its views point into strings that it owns.
TRITIUM_LOADER Result<Vocabulary> vocabulary_from_folder(const Checkpoint& checkpoint) {
  const auto sibling = [&](std::string_view file) -> Result<std::string> {
    if (!checkpoint.has_sibling(file)) return std::string();
    return checkpoint.read_sibling(file, kMaxTokenizerBytes);
  };
  TRITIUM_ASSIGN(const std::string config, sibling("tokenizer_config.json"));
  Vocabulary vocabulary;
  if (checkpoint.has_sibling("tokenizer.json")) {
    TRITIUM_ASSIGN(const std::string source, sibling("tokenizer.json"));
    TRITIUM_ASSIGN(vocabulary, vocabulary_from_tokenizer_json(source, config));
  } else if (checkpoint.has_sibling("tokenizer.model")) {
    TRITIUM_ASSIGN(const std::string source, sibling("tokenizer.model"));
    TRITIUM_ASSIGN(const std::string added, sibling("added_tokens.json"));
    TRITIUM_ASSIGN(vocabulary, vocabulary_from_tokenizer_model(source, config, added));
  } else {
    return make_error(Errc::invalid_file, "no tokenizer", printable_path(checkpoint.folder()),
                      "tokenizer.json or tokenizer.model", "neither");
  }
  std::vector<std::int32_t> ends;
  if (checkpoint.config() != nullptr) TRITIUM_TRY(add_end_tokens(*checkpoint.config(), "config.json", ends));
  if (checkpoint.has_sibling("generation_config.json")) {
    TRITIUM_ASSIGN(const JsonTree<Json> generation, checkpoint.read_sibling_json("generation_config.json"));
    TRITIUM_TRY(add_end_tokens(generation, "generation_config.json", ends));
  }
  for (const std::int32_t id : ends) {  // a config may name ids of the padded vocabulary that the tokenizer lacks
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary.tokens.size()) vocabulary.end_tokens.push_back(id);
  }
  return vocabulary;
}

}  // namespace detail

TRITIUM_LOADER Result<Tokenizer> load_tokenizer(const Checkpoint& checkpoint) {
  return no_throw([&]() -> Result<Tokenizer> {
    if (checkpoint.gguf() != nullptr) return detail::tokenizer_from_gguf(*checkpoint.gguf());
    TRITIUM_ASSIGN(const Vocabulary vocabulary, detail::vocabulary_from_folder(checkpoint));
    return Tokenizer::create(vocabulary);
  });
}

TRITIUM_LOADER Result<std::string> chat_template_source(const Checkpoint& checkpoint) {
  return no_throw([&]() -> Result<std::string> {
    if (const GgufFile* file = checkpoint.gguf(); file != nullptr) {
      TRITIUM_ASSIGN(const std::string_view text, file->get_or<std::string_view>("tokenizer.chat_template", {}));
      return std::string(text);
    }
    if (checkpoint.has_sibling("chat_template.jinja")) {
      return checkpoint.read_sibling("chat_template.jinja", detail::kMaxTemplateBytes);
    }
    if (!checkpoint.has_sibling("tokenizer_config.json")) return std::string();
    TRITIUM_ASSIGN(const JsonTree<Json> config, checkpoint.read_sibling_json("tokenizer_config.json"));
    TRITIUM_ASSIGN(const JsonObject object, JsonObject::of(config, "tokenizer_config.json"));
    const Json* value = object.find("chat_template");
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    if (value == nullptr || !value->is_array()) return std::string();
    std::string source;
    for (const Json& entry : *value) {  // several templates by name: the one called "default"
      TRITIUM_ASSIGN(const JsonObject named, JsonObject::of(entry, "tokenizer_config.json, chat_template"));
      TRITIUM_ASSIGN(const std::string_view name, named.get<std::string_view>("name"));
      if (name != "default") continue;
      TRITIUM_ASSIGN(const std::string_view text, named.get<std::string_view>("template"));
      source = text;
    }
    return source;
  });
}

TRITIUM_LOADER Result<std::optional<ChatTemplate>> load_chat_template(const Checkpoint& checkpoint) {
  return no_throw([&]() -> Result<std::optional<ChatTemplate>> {
    TRITIUM_ASSIGN(std::string source, chat_template_source(checkpoint));
    if (source.empty()) return std::optional<ChatTemplate>();
    TRITIUM_ASSIGN(ChatTemplate parsed, ChatTemplate::parse(std::move(source)));
    return std::optional<ChatTemplate>(std::move(parsed));
  });
}

TRITIUM_LOADER Status load_special_texts(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                                         RenderOptions& options) {
  const auto spelling = [&](std::int32_t id) {
    return id == kNoToken ? std::string() : std::string(tokenizer->spelling(id));
  };
  return no_throw([&]() -> Status {
    if (tokenizer != nullptr) {
      options.bos_token = spelling(tokenizer->bos());
      options.eos_token = spelling(tokenizer->eos());
    }
    if (checkpoint.gguf() != nullptr || !checkpoint.has_sibling("tokenizer_config.json")) return {};
    TRITIUM_ASSIGN(const JsonTree<Json> tree, checkpoint.read_sibling_json("tokenizer_config.json"));
    const Json& config = tree;
    if (!config.is_object()) return {};
    for (const auto& [name, text] :
         {std::pair("bos_token", &options.bos_token), std::pair("eos_token", &options.eos_token)}) {
      const auto found = config.find(name);
      if (found == config.end()) continue;
      const Json* value = &*found;
      if (value->is_object() && value->contains("content")) value = &(*value)["content"];
      if (value->is_string()) *text = value->get<std::string>();
      if (value->is_null()) text->clear();
    }
    return {};
  });
}

#endif

TRITIUM_NAMESPACE_END
