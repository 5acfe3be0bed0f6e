// SPDX-License-Identifier: Apache-2.0
// tokenizer.json (huggingface/tokenizers) as a Vocabulary.
//
// The file lists a pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor, decoder. What this library
// does the same way is taken over step by step; any other step is an error that names it, since leaving one out would
// change ids without a word. The two big parts, the vocabulary and the merges, are read as a stream of events and never
// become a tree; everything else does, under limits on size, depth and count.
// Source: huggingface/tokenizers, the serialized form of each component.
#pragma once

#include <nlohmann/json.hpp>

#include "tritium/core/json_tree.h"
#include "tritium/text/vocabulary.h"

TRITIUM_NAMESPACE_BEGIN

/// Limits of the JSON readers in text/.
inline constexpr std::size_t kMaxJsonBytes = std::size_t{256} << 20;
/// Arrays and objects in each other, at most.
inline constexpr std::size_t kMaxJsonDepth = 64;
/// Values of a file, at most.
inline constexpr std::size_t kMaxJsonValues = std::size_t{4} << 20;

namespace detail {

using Json = nlohmann::json;

/// Builds a tree from parser events, except for `model.vocab` and `model.merges`, which it collects in vectors.
class TokenizerJsonSax final : public Json::json_sax_t {
 public:
  struct Entry {
    std::string_view token;
    std::int64_t id = -1;
    double score = 0;
  };

  explicit TokenizerJsonSax(StringArena& arena, bool stream_model) : arena_(arena), stream_model_(stream_model) {}

  ~TokenizerJsonSax() override { take_apart(root); }

  Json root;
  std::vector<Entry> entries;     // model.vocab
  std::vector<MergeRule> merges;  // model.merges
  bool has_vocab = false;
  bool vocab_is_list = false;
  std::string error;  // why parsing stopped

  bool null() override { return zone_ == Zone::tree ? value(nullptr) : fail("a null in " + zone_name()); }
  bool boolean(bool v) override { return zone_ == Zone::tree ? value(v) : fail("a boolean in " + zone_name()); }
  bool number_integer(number_integer_t v) override {
    return zone_ == Zone::tree ? value(v) : number(static_cast<double>(v), v);
  }
  bool number_unsigned(number_unsigned_t v) override {
    if (zone_ == Zone::tree) return value(v);
    return number(static_cast<double>(v),
                  v > static_cast<std::uint64_t>(kMaxTokens) ? -1 : static_cast<std::int64_t>(v));
  }
  bool number_float(number_float_t v, const string_t&) override {
    return zone_ == Zone::tree ? value(v) : number(v, -1);
  }
  bool binary(binary_t&) override { return fail("binary data"); }

  bool string(string_t& v) override {
    switch (zone_) {
      case Zone::tree: return value(std::move(v));
      case Zone::vocab_object: return fail("a string as an id in model.vocab");
      case Zone::vocab_list: return fail("a string in model.vocab");
      case Zone::vocab_pair:
        if (parts_++ != 0) return fail("a second string in an entry of model.vocab");
        entries.push_back({arena_.add(v), -1, 0});
        return true;
      case Zone::merge_list: return legacy_merge(v);
      case Zone::merge_pair:
        if (parts_ == 0) left_ = arena_.add(v);
        else if (parts_ == 1) merges.push_back({left_, arena_.add(v)});
        else return fail("a merge of more than two pieces");
        ++parts_;
        return true;
    }
    return false;
  }
  bool key(string_t& k) override {
    if (zone_ == Zone::vocab_object) {
      if (entries.size() >= kMaxTokens) return fail("too many tokens");
      entries.push_back({arena_.add(k), -1, 0});
      return true;
    }
    key_ = std::move(k);
    if (!stack_.empty() && stack_.back()->contains(key_))
      return fail("the key \"" + escape_control(key_, 60) + "\" twice");
    return true;
  }
  bool start_object(std::size_t) override {
    if (++depth_ > kMaxJsonDepth) return fail("nesting deeper than " + std::to_string(kMaxJsonDepth));
    if (zone_ != Zone::tree) return fail("an object in " + zone_name());
    if (at_model() && key_ == "vocab") {
      has_vocab = true;
      zone_ = Zone::vocab_object;
      return value(Json());  // marks the key as seen
    }
    return open(Json::object());
  }
  bool end_object() override {
    --depth_;
    if (zone_ == Zone::vocab_object) {
      zone_ = Zone::tree;
      return true;
    }
    stack_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override {
    if (++depth_ > kMaxJsonDepth) return fail("nesting deeper than " + std::to_string(kMaxJsonDepth));
    if (zone_ == Zone::tree && at_model() && (key_ == "vocab" || key_ == "merges")) {
      zone_ = key_ == "vocab" ? Zone::vocab_list : Zone::merge_list;
      if (key_ == "vocab") has_vocab = vocab_is_list = true;
      return value(Json());
    }
    if (zone_ == Zone::tree) return open(Json::array());
    if (zone_ == Zone::vocab_list || zone_ == Zone::merge_list) {
      if (entries.size() >= kMaxTokens || merges.size() >= kMaxMerges)
        return fail("too many entries in " + zone_name());
      zone_ = zone_ == Zone::vocab_list ? Zone::vocab_pair : Zone::merge_pair;
      parts_ = 0;
      return true;
    }
    return fail("an array in " + zone_name());
  }
  bool end_array() override {
    --depth_;
    if (zone_ == Zone::vocab_pair || zone_ == Zone::merge_pair) {
      if (parts_ != 2) return fail("an incomplete entry in " + zone_name());
      zone_ = zone_ == Zone::vocab_pair ? Zone::vocab_list : Zone::merge_list;
    } else if (zone_ == Zone::vocab_list || zone_ == Zone::merge_list) {
      zone_ = Zone::tree;
    } else {
      stack_.pop_back();
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    if (error.empty()) error = "malformed JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  enum class Zone : std::uint8_t { tree, vocab_object, vocab_list, vocab_pair, merge_list, merge_pair };

  [[nodiscard]] std::string zone_name() const {
    return zone_ == Zone::merge_list || zone_ == Zone::merge_pair ? "model.merges" : "model.vocab";
  }
  [[nodiscard]] bool at_model() const { return stream_model_ && stack_.size() == 2 && in_model_; }
  bool fail(std::string found) {
    error = std::move(found);
    return false;
  }
  bool value(Json v) {
    if (++values_ > kMaxJsonValues) return fail("more than " + std::to_string(kMaxJsonValues) + " values");
    if (stack_.empty()) {
      root = std::move(v);
    } else if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::move(v));
    } else {
      Json& place = (*stack_.back())[key_];
      take_apart(place);  // of a key given twice the last counts
      place = std::move(v);
    }
    return true;
  }
  bool open(Json container) {
    Json* parent = stack_.empty() ? nullptr : stack_.back();
    const bool is_array = parent != nullptr && parent->is_array();
    if (stack_.size() == 1) in_model_ = !is_array && key_ == "model";
    if (!value(std::move(container))) return false;
    stack_.push_back(parent == nullptr ? &root : is_array ? &parent->back() : &(*parent)[key_]);
    return true;
  }
  bool number(double as_double, std::int64_t as_id) {
    if (zone_ == Zone::vocab_object) {
      if (as_id < 0) return fail("an impossible id in model.vocab");
      entries.back().id = as_id;
      return true;
    }
    if (zone_ == Zone::vocab_pair && parts_ == 1) {
      entries.back().score = as_double;
      ++parts_;
      return true;
    }
    return fail("a number in " + zone_name());
  }
  bool legacy_merge(const std::string& text) {
    if (merges.empty() && text.starts_with("#version")) return true;
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string::npos) {
      return fail("the merge \"" + escape_control(text, 60) + "\", not two pieces with a space between");
    }
    if (merges.size() >= kMaxMerges) return fail("too many entries in model.merges");
    merges.push_back(
        {arena_.add(std::string_view(text).substr(0, space)), arena_.add(std::string_view(text).substr(space + 1))});
    return true;
  }

  StringArena& arena_;
  bool stream_model_;
  bool in_model_ = false;
  Zone zone_ = Zone::tree;
  std::vector<Json*> stack_;
  std::string key_;
  std::string_view left_;
  std::size_t depth_ = 0;
  std::size_t values_ = 0;
  int parts_ = 0;
};

/// Parses `text` under the limits. `where` names the file in errors.
inline Result<Json> parse_limited_json(std::string_view text, std::string_view where) {
  if (text.size() > kMaxJsonBytes) {
    return make_error(Errc::invalid_file, "file is too large", where, "at most 256 MiB",
                      std::to_string(text.size()) + " bytes");
  }
  StringArena unused;
  TokenizerJsonSax sax(unused, false);
  if (!Json::sax_parse(text.begin(), text.end(), &sax)) {
    return make_error(Errc::invalid_file, "file is not the JSON it should be", where, "well-formed JSON within limits",
                      sax.error);
  }
  return std::move(sax.root);
}

// Typed access to a JSON object: each getter reports what it expected and found.
class TextJson {
 public:
  TextJson(const Json& json, std::string where) : json_(&json), where_(std::move(where)) {}
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool is_object() const { return json_->is_object(); }
  [[nodiscard]] const Json* find(const char* key) const {
    if (!json_->is_object()) return nullptr;
    const auto it = json_->find(key);
    return it == json_->end() || it->is_null() ? nullptr : &*it;
  }
  [[nodiscard]] std::string path(const char* key) const { return where_.empty() ? key : where_ + "." + key; }
  [[nodiscard]] Error wrong(const char* key, std::string_view expected) const {
    const Json* value = find(key);
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", path(key), expected,
                      value == nullptr ? "nothing" : std::string(value->type_name()));
  }
  Result<bool> boolean(const char* key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return wrong(key, "a boolean");
    return value->get<bool>();
  }
  Result<std::string> text(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_string()) return wrong(key, "a string");
    return *value->get_ptr<const std::string*>();
  }
  Result<std::string> text_or(const char* key, std::string_view fallback) const {
    return find(key) == nullptr ? Result<std::string>(std::string(fallback)) : text(key);
  }
  Result<std::int64_t> integer(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_number_integer()) return wrong(key, "an integer");
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{1} << 62)
      return wrong(key, "a small integer");
    return value->get<std::int64_t>();
  }
  Result<TextJson> object(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_object()) return wrong(key, "an object");
    return TextJson(*value, path(key));
  }
  Result<const Json*> array(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_array()) return wrong(key, "an array");
    return value;
  }
  [[nodiscard]] const Json& json() const { return *json_; }

 private:
  const Json* json_;
  std::string where_;
};

inline Error unsupported_step(std::string_view what, const std::string& where, std::string_view name) {
  return {Errc::unsupported, "tokenizer.json uses a " + std::string(what) + " that is not supported (" + where +
                                 ": \"" + escape_control(name, 60) + "\")"};
}

inline Result<std::string> decode_base64(std::string_view text, const std::string& where) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (c == '=') {
      ++padding;
      continue;
    }
    if (value < 0 || padding != 0)
      return make_error(Errc::invalid_file, "malformed base64", where, "base64 text", "another character");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if (++count == 4) {
      for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(bits >> shift & 0xFF));
      bits = 0;
      count = 0;
    }
  }
  if (count == 1 || padding > 2)
    return make_error(Errc::invalid_file, "malformed base64", where, "whole groups", "a part of one");
  if (count == 2) bytes.push_back(static_cast<char>(bits >> 4 & 0xFF));
  if (count == 3) {
    bytes.push_back(static_cast<char>(bits >> 10 & 0xFF));
    bytes.push_back(static_cast<char>(bits >> 2 & 0xFF));
  }
  return bytes;
}

struct JsonPattern {
  std::string text;
  bool is_regex = false;
};
inline Result<JsonPattern> read_pattern(const TextJson& step) {
  const Json* pattern = step.find("pattern");
  if (pattern != nullptr && pattern->is_string()) return JsonPattern{*pattern->get_ptr<const std::string*>(), false};
  TRITIUM_ASSIGN(const TextJson object, step.object("pattern"));
  if (object.find("Regex") != nullptr) {
    TRITIUM_ASSIGN(std::string text, object.text("Regex"));
    return JsonPattern{std::move(text), true};
  }
  TRITIUM_ASSIGN(std::string text, object.text("String"));
  return JsonPattern{std::move(text), false};
}
inline Result<SplitBehavior> read_behavior(const TextJson& step, std::string_view fallback) {
  TRITIUM_ASSIGN(const std::string name, step.text_or("behavior", fallback));
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  return unsupported_step("split behavior", step.path("behavior"), name);
}

inline Status read_normalizer(const TextJson& step, std::vector<NormalizeStep>& out) {
  using Kind = NormalizeStep::Kind;
  if (!step.is_object())
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", step.where(), "an object",
                      "another type");
  TRITIUM_ASSIGN(const std::string type, step.text("type"));
  NormalizeStep result;
  if (type == "Sequence") {
    TRITIUM_ASSIGN(const Json* list, step.array("normalizers"));
    for (std::size_t i = 0; i < list->size(); ++i) {
      TRITIUM_TRY(read_normalizer(TextJson((*list)[i], step.path("normalizers") + "[" + std::to_string(i) + "]"), out));
    }
    return {};
  }
  if (type == "NFC") result.kind = Kind::nfc;
  else if (type == "NFD") result.kind = Kind::nfd;
  else if (type == "NFKC") result.kind = Kind::nfkc;
  else if (type == "NFKD") result.kind = Kind::nfkd;
  else if (type == "Lowercase") result.kind = Kind::lowercase;
  else if (type == "StripAccents") result.kind = Kind::strip_accents;
  else if (type == "Nmt") result.kind = Kind::nmt;
  else if (type == "Strip") {
    result.kind = Kind::strip;
    TRITIUM_ASSIGN(result.left, step.boolean("strip_left", true));
    TRITIUM_ASSIGN(result.right, step.boolean("strip_right", true));
  } else if (type == "Prepend") {
    result.kind = Kind::prepend;
    TRITIUM_ASSIGN(result.content, step.text("prepend"));
  } else if (type == "Replace") {
    TRITIUM_ASSIGN(JsonPattern pattern, read_pattern(step));
    result.kind = pattern.is_regex ? Kind::replace_regex : Kind::replace;
    result.pattern = std::move(pattern.text);
    TRITIUM_ASSIGN(result.content, step.text("content"));
  } else if (type == "Precompiled") {
    result.kind = Kind::charsmap;
    TRITIUM_ASSIGN(const std::string encoded, step.text("precompiled_charsmap"));
    TRITIUM_ASSIGN(result.content, decode_base64(encoded, step.path("precompiled_charsmap")));
    if (result.content.empty()) return {};
  } else {
    return unsupported_step("normalizer", step.where(), type);
  }
  out.push_back(std::move(result));
  return {};
}

inline Status read_pre_tokenizer(const TextJson& step, std::vector<SplitStep>& out, bool& byte_level) {
  using Kind = SplitStep::Kind;
  if (!step.is_object())
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", step.where(), "an object",
                      "another type");
  TRITIUM_ASSIGN(const std::string type, step.text("type"));
  SplitStep result;
  if (type == "Sequence") {
    TRITIUM_ASSIGN(const Json* list, step.array("pretokenizers"));
    for (std::size_t i = 0; i < list->size(); ++i) {
      TRITIUM_TRY(read_pre_tokenizer(TextJson((*list)[i], step.path("pretokenizers") + "[" + std::to_string(i) + "]"),
                                     out, byte_level));
    }
    return {};
  }
  // Behind ByteLevel, characters stand for bytes.
  if (byte_level &&
      std::none_of(out.begin(), out.end(), [](const SplitStep& s) { return s.kind == Kind::byte_level_alias; })) {
    SplitStep alias;
    alias.kind = Kind::byte_level_alias;
    out.push_back(std::move(alias));
  }
  if (type == "ByteLevel") {
    if (byte_level) return unsupported_step("second ByteLevel pre-tokenizer", step.where(), type);
    byte_level = true;
    TRITIUM_ASSIGN(const bool prefix, step.boolean("add_prefix_space", true));
    TRITIUM_ASSIGN(const bool cut, step.boolean("use_regex", true));
    if (!prefix && !cut) return {};
    if (prefix) {
      result.kind = Kind::byte_level;
      result.prepend = SplitStep::Prepend::always;
      result.cut = cut;
    } else {
      result.kind = Kind::rule;
      result.rule = SplitRule::gpt2;
    }
  } else if (type == "Split") {
    TRITIUM_ASSIGN(JsonPattern pattern, read_pattern(step));
    result.kind = pattern.is_regex ? Kind::regex : Kind::literal;
    result.pattern = std::move(pattern.text);
    TRITIUM_ASSIGN(result.behavior, read_behavior(step, "Isolated"));
    TRITIUM_ASSIGN(result.invert, step.boolean("invert", false));
  } else if (type == "Digits") {
    result.kind = Kind::digits;
    TRITIUM_ASSIGN(const bool single, step.boolean("individual_digits", false));
    result.behavior = single ? SplitBehavior::isolated : SplitBehavior::contiguous;
  } else if (type == "Punctuation") {
    result.kind = Kind::punctuation;
    TRITIUM_ASSIGN(result.behavior, read_behavior(step, "Isolated"));
  } else if (type == "WhitespaceSplit") {
    result.kind = Kind::white_space;
  } else if (type == "Whitespace") {
    result.kind = Kind::words;
  } else if (type == "CharDelimiterSplit" || type == "Delimiter") {
    result.kind = Kind::literal;
    result.behavior = SplitBehavior::removed;
    TRITIUM_ASSIGN(result.pattern, step.text("delimiter"));
  } else if (type == "FixedLength") {
    result.kind = Kind::fixed_length;
    TRITIUM_ASSIGN(const std::int64_t length, step.integer("length"));
    if (length < 1 || length > 1'000'000) return step.wrong("length", "1 to 1000000");
    result.length = static_cast<std::uint32_t>(length);
  } else if (type == "Metaspace") {
    result.kind = Kind::metaspace;
    TRITIUM_ASSIGN(result.pattern, step.text_or("replacement", "\xE2\x96\x81"));
    if (result.pattern.empty() || !is_valid_utf8(result.pattern) ||
        decode_utf8(result.pattern).length != result.pattern.size()) {
      return step.wrong("replacement", "one character");
    }
    TRITIUM_ASSIGN(const std::string scheme, step.text_or("prepend_scheme", "always"));
    if (scheme == "always") result.prepend = SplitStep::Prepend::always;
    else if (scheme == "first") result.prepend = SplitStep::Prepend::first;
    else if (scheme != "never") return unsupported_step("prepend scheme", step.path("prepend_scheme"), scheme);
    TRITIUM_ASSIGN(const bool prefix, step.boolean("add_prefix_space", true));
    if (!prefix) result.prepend = SplitStep::Prepend::never;
    TRITIUM_ASSIGN(result.cut, step.boolean("split", true));
  } else {
    return unsupported_step("pre-tokenizer", step.where(), type);
  }
  out.push_back(std::move(result));
  return {};
}

// What a decoder does, as far as this library distinguishes.
struct JsonDecoder {
  bool byte_level = false;
  bool unescape = false;
  std::size_t strip = 0;
};
inline Status read_decoder(const TextJson& step, JsonDecoder& out) {
  if (!step.is_object())
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", step.where(), "an object",
                      "another type");
  TRITIUM_ASSIGN(const std::string type, step.text("type"));
  if (type == "Sequence") {
    TRITIUM_ASSIGN(const Json* list, step.array("decoders"));
    for (std::size_t i = 0; i < list->size(); ++i) {
      TRITIUM_TRY(read_decoder(TextJson((*list)[i], step.path("decoders") + "[" + std::to_string(i) + "]"), out));
    }
    return {};
  }
  if (type == "ByteLevel") {
    out.byte_level = true;
  } else if (type == "Metaspace") {
    TRITIUM_ASSIGN(const std::string mark, step.text_or("replacement", "\xE2\x96\x81"));
    if (mark != "\xE2\x96\x81") return unsupported_step("decoder replacement", step.path("replacement"), mark);
    TRITIUM_ASSIGN(const std::string scheme, step.text_or("prepend_scheme", "always"));
    TRITIUM_ASSIGN(const bool prefix, step.boolean("add_prefix_space", true));
    out.unescape = true;
    out.strip = scheme == "never" || !prefix ? 0 : 1;
  } else if (type == "Replace") {
    TRITIUM_ASSIGN(const JsonPattern pattern, read_pattern(step));
    TRITIUM_ASSIGN(const std::string content, step.text("content"));
    if (pattern.is_regex || pattern.text != "\xE2\x96\x81" || content != " ") {
      return unsupported_step("decoder replacement", step.where(), pattern.text);
    }
    out.unescape = true;
  } else if (type == "Strip") {
    TRITIUM_ASSIGN(const std::string content, step.text("content"));
    TRITIUM_ASSIGN(const std::int64_t start, step.integer("start"));
    TRITIUM_ASSIGN(const std::int64_t stop, step.integer("stop"));
    if (content != " " || start < 0 || start > 1'000'000 || stop != 0)
      return unsupported_step("decoder", step.where(), type);
    out.strip = static_cast<std::size_t>(start);
  } else if (type != "ByteFallback" && type != "Fuse") {  // both are how this library decodes anyway
    return unsupported_step("decoder", step.where(), type);
  }
  return {};
}

inline Result<std::int32_t> token_id_of(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= kMaxTokens) {
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", where, "a token id",
                      std::string(value.type_name()));
  }
  return static_cast<std::int32_t>(value.get<std::uint64_t>());
}

inline Status read_post_processor(const TextJson& step, Vocabulary& v) {
  if (!step.is_object())
    return make_error(Errc::invalid_file, "tokenizer.json field cannot be used", step.where(), "an object",
                      "another type");
  TRITIUM_ASSIGN(const std::string type, step.text("type"));
  if (type == "Sequence") {
    TRITIUM_ASSIGN(const Json* list, step.array("processors"));
    for (std::size_t i = 0; i < list->size(); ++i) {
      TRITIUM_TRY(
          read_post_processor(TextJson((*list)[i], step.path("processors") + "[" + std::to_string(i) + "]"), v));
    }
    return {};
  }
  if (type == "ByteLevel") return {};  // trims offsets only
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    for (const char* key : {"cls", "sep"}) {
      TRITIUM_ASSIGN(const Json* pair, step.array(key));
      if (pair->size() != 2) return step.wrong(key, "a token and its id");
      TRITIUM_ASSIGN(const std::int32_t id, token_id_of((*pair)[1], step.path(key)));
      (key[0] == 'c' ? v.prefix : v.suffix).push_back(id);
    }
    return {};
  }
  if (type != "TemplateProcessing") return unsupported_step("post-processor", step.where(), type);
  TRITIUM_ASSIGN(const Json* single, step.array("single"));
  bool behind = false;
  for (std::size_t i = 0; i < single->size(); ++i) {
    const TextJson item((*single)[i], step.path("single") + "[" + std::to_string(i) + "]");
    if (item.find("Sequence") != nullptr) {
      if (behind) return unsupported_step("template with the text twice", item.where(), "Sequence");
      behind = true;
      continue;
    }
    TRITIUM_ASSIGN(const TextJson special, item.object("SpecialToken"));
    TRITIUM_ASSIGN(const std::string name, special.text("id"));
    TRITIUM_ASSIGN(const TextJson table, step.object("special_tokens"));
    TRITIUM_ASSIGN(const TextJson entry, table.object(name.c_str()));
    TRITIUM_ASSIGN(const Json* ids, entry.array("ids"));
    for (const Json& id : *ids) {
      TRITIUM_ASSIGN(const std::int32_t token, token_id_of(id, entry.path("ids")));
      (behind ? v.suffix : v.prefix).push_back(token);
    }
  }
  if (!behind) return unsupported_step("template without the text", step.path("single"), type);
  return {};
}

/// A token named in tokenizer_config.json: a string, or an object with its content.
inline std::string_view config_token(const TextJson& config, const char* key) {
  const Json* value = config.find(key);
  if (value != nullptr && value->is_object()) {
    const auto it = value->find("content");
    value = it == value->end() ? nullptr : &*it;
  }
  return value != nullptr && value->is_string() ? std::string_view(*value->get_ptr<const std::string*>())
                                                : std::string_view();
}

inline std::int32_t id_of_spelling(const Vocabulary& v, std::string_view spelling) {
  if (spelling.empty()) return kNoToken;
  const auto it = std::find(v.tokens.begin(), v.tokens.end(), spelling);
  return it == v.tokens.end() ? kNoToken : static_cast<std::int32_t>(it - v.tokens.begin());
}

/// bos, eos, unk and pad by name, and whether BOS and EOS are added, from tokenizer_config.json.
inline Status apply_tokenizer_config(const TextJson& config, Vocabulary& v) {
  const auto set = [&](const char* key, std::int32_t& id) {
    if (const std::int32_t found = id_of_spelling(v, config_token(config, key)); found != kNoToken) id = found;
  };
  set("bos_token", v.bos);
  set("eos_token", v.eos);
  set("unk_token", v.unk);
  set("pad_token", v.pad);
  const auto add = [&](const char* key, std::int32_t id, std::vector<std::int32_t>& ids) -> Status {
    if (config.find(key) == nullptr || id == kNoToken) return {};
    TRITIUM_ASSIGN(const bool wanted, config.boolean(key, false));
    const auto at = std::find(ids.begin(), ids.end(), id);
    if (wanted && at == ids.end()) ids.push_back(id);
    if (!wanted && at != ids.end()) ids.erase(at);
    return {};
  };
  TRITIUM_TRY(add("add_bos_token", v.bos, v.prefix));
  return add("add_eos_token", v.eos, v.suffix);
}

/// Grows the token list to hold `id`, within reason.
inline Status make_room(Vocabulary& v, std::int64_t id, std::size_t known, const std::string& where) {
  const std::size_t limit = std::min(kMaxTokens, 4 * known + 65536);
  if (id < 0 || static_cast<std::size_t>(id) >= limit) {
    return make_error(Errc::invalid_file, "token id is far outside the vocabulary", where,
                      "0 to " + std::to_string(limit - 1), std::to_string(id));
  }
  if (static_cast<std::size_t>(id) >= v.tokens.size()) {
    v.tokens.resize(static_cast<std::size_t>(id) + 1);
    v.types.resize(v.tokens.size(), TokenType::normal);
    if (!v.scores.empty()) v.scores.resize(v.tokens.size(), 0.0f);
    if (!v.log_probs.empty()) v.log_probs.resize(v.tokens.size(), 0.0);
  }
  return {};
}

/// One entry of added_tokens (or of added_tokens_decoder, where the id is the key).
inline Status add_token(Vocabulary& v, const TextJson& token, std::int64_t id, std::size_t known,
                        bool to_sentencepiece) {
  TRITIUM_ASSIGN(const std::string content, token.text("content"));
  if (content.empty()) return {};
  TRITIUM_TRY(make_room(v, id, known, token.path("id")));
  const auto i = static_cast<std::size_t>(id);
  if (!v.tokens[i].empty() && v.tokens[i] != content) {
    return make_error(Errc::invalid_file, "added token takes the id of another token", token.where(),
                      in_quotes(v.tokens[i], 40), in_quotes(content, 40));
  }
  const bool is_new = v.tokens[i].empty();
  if (is_new) v.tokens[i] = v.arena->add(content);
  TokenFlags flags;
  flags.id = static_cast<std::int32_t>(id);
  TRITIUM_ASSIGN(const bool special, token.boolean("special", false));
  TRITIUM_ASSIGN(flags.strip_left, token.boolean("lstrip", false));
  TRITIUM_ASSIGN(flags.strip_right, token.boolean("rstrip", false));
  TRITIUM_ASSIGN(flags.single_word, token.boolean("single_word", false));
  TRITIUM_ASSIGN(flags.normalized, token.boolean("normalized", !special));
  flags.added = to_sentencepiece;
  if (to_sentencepiece) {
    flags.normalized = false;            // SentencePiece's normalizer knows no tokens
    if (!is_new && !special) return {};  // a piece of the model: the model finds it
  }
  if (v.types[i] != TokenType::unknown || !to_sentencepiece)
    v.types[i] = special ? TokenType::control : TokenType::user_defined;
  v.flags.push_back(flags);
  return {};
}

inline Result<Vocabulary> read_tokenizer_json(std::string_view text, std::string_view config_text) {
  if (text.size() > kMaxJsonBytes) {
    return make_error(Errc::invalid_file, "file is too large", "tokenizer.json", "at most 256 MiB",
                      std::to_string(text.size()) + " bytes");
  }
  Vocabulary v;
  v.arena = std::make_shared<StringArena>();
  TokenizerJsonSax sax(*v.arena, true);
  if (!Json::sax_parse(text.begin(), text.end(), &sax)) {
    return make_error(Errc::invalid_file, "file is not the JSON it should be", "tokenizer.json",
                      "well-formed JSON within limits", sax.error);
  }
  if (!sax.root.is_object()) {
    return make_error(Errc::invalid_file, "file is not a tokenizer.json", "tokenizer.json", "an object",
                      std::string(sax.root.type_name()));
  }
  const TextJson root(sax.root, "");
  TRITIUM_ASSIGN(const TextJson model, root.object("model"));
  // Old files have no type: a list of pairs is a unigram vocabulary, merges make BPE.
  TRITIUM_ASSIGN(const std::string type, model.text_or("type", sax.vocab_is_list ? "Unigram" : "BPE"));
  const bool unigram = type == "Unigram";
  if (type != "BPE" && !unigram) return unsupported_step("model", "model.type", type);
  if (!sax.has_vocab) return model.wrong("vocab", "an object or a list");
  if (model.find("merges") != nullptr) return model.wrong("merges", "a list");  // a list was read as a stream
  if (unigram != sax.vocab_is_list) return model.wrong("vocab", unigram ? "a list of pairs" : "an object");

  // The vocabulary.
  const std::size_t known = sax.entries.size();
  if (unigram) {
    v.kind = TokenizerKind::unigram;
    v.log_probs.reserve(known);
    for (const auto& entry : sax.entries) {
      v.tokens.push_back(entry.token);
      v.log_probs.push_back(entry.score);
    }
    v.types.assign(known, TokenType::normal);
  } else {
    std::vector<bool> seen;
    for (const auto& entry : sax.entries) {
      TRITIUM_TRY(make_room(v, entry.id, known, "model.vocab"));
      const auto id = static_cast<std::size_t>(entry.id);
      seen.resize(v.tokens.size(), false);
      if (seen[id]) {
        return make_error(Errc::invalid_file, "two tokens have the same id", "model.vocab", "an id of its own",
                          "\"" + escape_control(entry.token, 40) + "\" with id " + std::to_string(entry.id));
      }
      seen[id] = true;
      v.tokens[id] = entry.token;
    }
    v.merges = std::move(sax.merges);
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      TRITIUM_ASSIGN(const std::string affix, model.text_or(key, ""));
      if (!affix.empty()) return unsupported_step("BPE affix", model.path(key), affix);
    }
    if (const Json* dropout = model.find("dropout");
        dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0.0)) {
      return unsupported_step("BPE dropout", "model.dropout", dropout->is_number() ? "a number" : dropout->type_name());
    }
    TRITIUM_ASSIGN(v.ignore_merges, model.boolean("ignore_merges", false));
    TRITIUM_ASSIGN(v.fuse_unknown, model.boolean("fuse_unk", false));
  }
  TRITIUM_ASSIGN(v.byte_fallback, model.boolean("byte_fallback", false));
  if (v.byte_fallback) {
    for (std::size_t i = 0; i < v.tokens.size(); ++i) {
      if (byte_of_token(v.tokens[i]) >= 0) v.types[i] = TokenType::byte;
    }
  }
  if (unigram) {
    if (model.find("unk_id") != nullptr) {
      TRITIUM_ASSIGN(const std::int64_t unk, model.integer("unk_id"));
      if (unk < 0 || static_cast<std::size_t>(unk) >= known) return model.wrong("unk_id", "an id of the vocabulary");
      v.unk = static_cast<std::int32_t>(unk);
    }
  } else {
    TRITIUM_ASSIGN(const std::string unk, model.text_or("unk_token", ""));
    v.unk = id_of_spelling(v, unk);
    if (!unk.empty() && v.unk == kNoToken) {
      return make_error(Errc::invalid_file, "unknown token is not in the vocabulary", "model.unk_token", "a token",
                        in_quotes(unk, 40));
    }
  }
  if (v.unk != kNoToken) {
    v.types[static_cast<std::size_t>(v.unk)] = TokenType::unknown;
    v.unknown_text = v.tokens[static_cast<std::size_t>(v.unk)];
  }

  if (root.find("added_tokens") != nullptr) {
    TRITIUM_ASSIGN(const Json* added, root.array("added_tokens"));
    for (std::size_t i = 0; i < added->size(); ++i) {
      const TextJson token((*added)[i], "added_tokens[" + std::to_string(i) + "]");
      TRITIUM_ASSIGN(const std::int64_t id, token.integer("id"));
      TRITIUM_TRY(add_token(v, token, id, known + added->size(), false));
    }
  }
  v.leftmost_specials = true;

  // The pipeline.
  bool byte_level = false;
  if (const Json* step = root.find("normalizer"))
    TRITIUM_TRY(read_normalizer(TextJson(*step, "normalizer"), v.normalizer));
  if (const Json* step = root.find("pre_tokenizer")) {
    TRITIUM_TRY(read_pre_tokenizer(TextJson(*step, "pre_tokenizer"), v.split_steps, byte_level));
  }
  if (const Json* step = root.find("post_processor"))
    TRITIUM_TRY(read_post_processor(TextJson(*step, "post_processor"), v));
  JsonDecoder decoder;
  if (const Json* step = root.find("decoder")) {
    TRITIUM_TRY(read_decoder(TextJson(*step, "decoder"), decoder));
  } else {  // none given: the natural inverse
    decoder.byte_level = byte_level;
    decoder.unescape = !byte_level;
  }
  if (unigram && byte_level) return unsupported_step("pre-tokenizer for a unigram model", "pre_tokenizer", "ByteLevel");
  if (byte_level != decoder.byte_level) {
    return unsupported_step("decoder for this pre-tokenizer", "decoder",
                            decoder.byte_level ? "ByteLevel" : "not ByteLevel");
  }
  if (!unigram) v.kind = byte_level ? TokenizerKind::byte_level_bpe : TokenizerKind::merges_bpe;
  v.spaces.escape = decoder.unescape;
  v.strip_decoded_spaces = decoder.strip;

  // Names of the special tokens.
  if (!v.prefix.empty() && v.prefix.front() >= 0 && static_cast<std::size_t>(v.prefix.front()) < v.tokens.size())
    v.bos = v.prefix.front();
  if (!config_text.empty()) {
    TRITIUM_ASSIGN(const JsonTree<Json> config, parse_limited_json(config_text, "tokenizer_config.json"));
    TRITIUM_TRY(apply_tokenizer_config(TextJson(config, "tokenizer_config.json"), v));
  }
  find_end_tokens(v, false);
  return v;
}

}  // namespace detail

/// Builds a vocabulary from the text of a tokenizer.json and, if there is one, of the tokenizer_config.json beside it.
/// The result owns its strings. Errors: invalid_file with the field; unsupported with the step's name.
inline Result<Vocabulary> vocabulary_from_tokenizer_json(std::string_view text, std::string_view config_text = {}) {
#if defined(__cpp_exceptions)
  try {
    return detail::read_tokenizer_json(text, config_text);
  } catch (const std::bad_alloc&) {
    return Error{Errc::out_of_memory, "out of memory"};
  } catch (const std::exception& failure) {
    return make_error(Errc::invalid_file, "tokenizer.json cannot be read", escape_control(failure.what(), 200));
  }
#else
  return detail::read_tokenizer_json(text, config_text);
#endif
}

TRITIUM_NAMESPACE_END
