// SPDX-License-Identifier: Apache-2.0
// tokenizer.model (SentencePiece) as a Vocabulary.
//
// The file is a protocol-buffer message of a few fields that matter: the pieces, the kind of model and the normalizer's
// switches. A wire-format reader of one screen is enough for it; unknown fields are skipped, as the format asks.
// Source: sentencepiece_model.proto; the protocol-buffer encoding guide.
#pragma once

#include "tritium/text/tokenizer_json.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// Reads the fields of one message from bytes that it does not own.
class ProtoReader {
 public:
  struct Field {
    std::uint32_t number = 0;
    std::uint64_t integer = 0;  ///< varint and fixed-width values
    std::string_view bytes;     ///< length-delimited values
    std::uint8_t wire = 0;      ///< 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
  };

  ProtoReader(std::string_view message, std::size_t base) : message_(message), base_(base) {}
  [[nodiscard]] bool done() const { return at_ == message_.size(); }
  [[nodiscard]] std::size_t offset() const { return base_ + at_; }

  Result<Field> next() {
    TRITIUM_ASSIGN(const std::uint64_t tag, varint());
    Field field;
    field.wire = static_cast<std::uint8_t>(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return damaged("a field number", std::to_string(tag >> 3));
    field.number = static_cast<std::uint32_t>(tag >> 3);
    switch (field.wire) {
      case 0: {
        TRITIUM_ASSIGN(field.integer, varint());
        break;
      }
      case 1:
      case 5: {
        const std::size_t size = field.wire == 1 ? 8 : 4;
        if (message_.size() - at_ < size)
          return damaged(std::to_string(size) + " bytes", std::to_string(message_.size() - at_));
        std::memcpy(&field.integer, message_.data() + at_, size);
        at_ += size;
        break;
      }
      case 2: {
        TRITIUM_ASSIGN(const std::uint64_t length, varint());
        if (message_.size() - at_ < length) {
          return damaged("at most " + std::to_string(message_.size() - at_) + " bytes", std::to_string(length));
        }
        field.bytes = message_.substr(at_, static_cast<std::size_t>(length));
        at_ += static_cast<std::size_t>(length);
        break;
      }
      default: return damaged("a wire type of 0, 1, 2 or 5", std::to_string(field.wire));
    }
    return field;
  }
  [[nodiscard]] Error damaged(std::string_view expected, std::string_view found) const {
    return make_error(Errc::invalid_file, "tokenizer.model is damaged", "offset " + std::to_string(offset()), expected,
                      found);
  }

 private:
  Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == message_.size()) return damaged("another byte", "the end");
      const auto byte = static_cast<unsigned char>(message_[at_++]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return damaged("an integer of at most 10 bytes", "a longer one");
  }
  std::string_view message_;
  std::size_t base_;
  std::size_t at_ = 0;
};

inline Result<Vocabulary> read_tokenizer_model(std::string_view file, std::string_view config_text,
                                               std::string_view added_text) {
  if (file.size() > kMaxJsonBytes) {
    return make_error(Errc::invalid_file, "file is too large", "tokenizer.model", "at most 256 MiB",
                      std::to_string(file.size()) + " bytes");
  }
  Vocabulary v;
  v.arena = std::make_shared<StringArena>();
  std::uint64_t model_type = 1;
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra = true;
  bool escape = true;
  bool as_suffix = false;
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string pad_piece = "<pad>";
  v.unknown_text = " \xE2\x81\x87 ";  // the format's default
  std::string_view charsmap;

  const auto expect = [](const ProtoReader& in, const ProtoReader::Field& field, std::uint8_t wire) -> Status {
    if (field.wire == wire) return {};
    return in.damaged("field " + std::to_string(field.number) + " of wire type " + std::to_string(wire),
                      std::to_string(field.wire));
  };
  ProtoReader in(file, 0);
  while (!in.done()) {
    TRITIUM_ASSIGN(const ProtoReader::Field field, in.next());
    if (field.number > 5 || field.number == 4) continue;
    TRITIUM_TRY(expect(in, field, 2));
    ProtoReader inner(field.bytes, in.offset() - field.bytes.size());
    if (field.number == 1) {  // a piece
      if (v.tokens.size() >= kMaxTokens) return in.damaged("at most " + std::to_string(kMaxTokens) + " pieces", "more");
      std::string_view piece;
      float score = 0;
      std::uint64_t type = 1;
      while (!inner.done()) {
        TRITIUM_ASSIGN(const ProtoReader::Field f, inner.next());
        if (f.number == 1) {
          TRITIUM_TRY(expect(inner, f, 2));
          piece = f.bytes;
        } else if (f.number == 2) {
          TRITIUM_TRY(expect(inner, f, 5));
          score = std::bit_cast<float>(static_cast<std::uint32_t>(f.integer));
        } else if (f.number == 3) {
          TRITIUM_TRY(expect(inner, f, 0));
          type = f.integer;
        }
      }
      if (piece.empty()) return in.damaged("a piece that is not empty", "piece " + std::to_string(v.tokens.size()));
      if (type < 1 || type > 6) return in.damaged("a piece type of 1 to 6", std::to_string(type));
      v.tokens.push_back(v.arena->add(piece));
      v.scores.push_back(score);
      v.types.push_back(static_cast<TokenType>(type));
      if (type == 2) {
        if (v.unk != kNoToken) return in.damaged("one unknown piece", "a second one");
        v.unk = static_cast<std::int32_t>(v.tokens.size() - 1);
      }
      continue;
    }
    while (!inner.done()) {
      TRITIUM_ASSIGN(const ProtoReader::Field f, inner.next());
      const auto flag = [&](bool& target) -> Status {
        TRITIUM_TRY(expect(inner, f, 0));
        target = f.integer != 0;
        return {};
      };
      const auto text = [&](std::string& target) -> Status {
        TRITIUM_TRY(expect(inner, f, 2));
        if (!f.bytes.empty()) target.assign(f.bytes);
        return {};
      };
      if (field.number == 2) {  // trainer_spec
        if (f.number == 3) {
          TRITIUM_TRY(expect(inner, f, 0));
          model_type = f.integer;
        }
        if (f.number == 24) TRITIUM_TRY(flag(as_suffix));
        if (f.number == 35) TRITIUM_TRY(flag(byte_fallback));
        if (f.number == 44) TRITIUM_TRY(text(v.unknown_text));
        if (f.number == 46) TRITIUM_TRY(text(bos_piece));
        if (f.number == 47) TRITIUM_TRY(text(eos_piece));
        if (f.number == 48) TRITIUM_TRY(text(pad_piece));
      } else if (field.number == 3) {  // normalizer_spec
        if (f.number == 2) {
          TRITIUM_TRY(expect(inner, f, 2));
          charsmap = f.bytes;
        }
        if (f.number == 3) TRITIUM_TRY(flag(add_dummy_prefix));
        if (f.number == 4) TRITIUM_TRY(flag(remove_extra));
        if (f.number == 5) TRITIUM_TRY(flag(escape));
      } else if (field.number == 5 && f.number == 2 && !f.bytes.empty()) {  // denormalizer_spec
        return Error{Errc::unsupported, "tokenizer.model has a denormalizer, which is not supported"};
      }
    }
  }
  if (v.tokens.empty()) return in.damaged("at least one piece", "none");
  if (model_type != 1 && model_type != 2) {
    return Error{Errc::unsupported,
                 std::string("tokenizer.model is of a kind that is not supported (trainer_spec.model_type: expected ") +
                     "unigram or BPE, found " +
                     (model_type == 3   ? "word"
                      : model_type == 4 ? "char"
                                        : std::to_string(model_type)) +
                     ")"};
  }
  if (v.unk == kNoToken) return in.damaged("an unknown piece", "none");
  v.kind = model_type == 1 ? TokenizerKind::unigram : TokenizerKind::score_bpe;
  v.byte_fallback = byte_fallback;
  v.fuse_unknown = true;
  v.match_user_defined = true;
  v.resegment_unused = true;
  v.user_defined_bonus = true;
  v.spaces = {add_dummy_prefix, remove_extra, escape, as_suffix};
  v.charsmap = charsmap;
  if (add_dummy_prefix || remove_extra)
    v.strip_decoded_spaces = remove_extra ? std::numeric_limits<std::size_t>::max() : 1;
  const auto control = [&](std::string_view name) {
    const std::int32_t id = id_of_spelling(v, name);
    return id != kNoToken && v.types[static_cast<std::size_t>(id)] == TokenType::control ? id : kNoToken;
  };
  v.bos = control(bos_piece);
  v.eos = control(eos_piece);
  v.pad = control(pad_piece);
  if (v.bos != kNoToken) v.prefix = {v.bos};

  const std::size_t known = v.tokens.size();
  if (!added_text.empty()) {
    TRITIUM_ASSIGN(const JsonTree<Json> added_tree, parse_limited_json(added_text, "added_tokens.json"));
    const Json& added = added_tree;
    if (!added.is_object()) {
      return make_error(Errc::invalid_file, "file cannot be used", "added_tokens.json", "an object",
                        std::string(added.type_name()));
    }
    for (const auto& item : added.items()) {
      TRITIUM_ASSIGN(const std::int32_t id, token_id_of(item.value(), "added_tokens.json"));
      JsonTree<Json> token{Json(Json::value_t::object)};
      token.get()["content"] = item.key();
      TRITIUM_TRY(add_token(v, TextJson(token, "added_tokens.json"), id, known + added.size(), true));
    }
  }
  if (!config_text.empty()) {
    TRITIUM_ASSIGN(const JsonTree<Json> config, parse_limited_json(config_text, "tokenizer_config.json"));
    const TextJson object(config, "tokenizer_config.json");
    if (const Json* added = object.find("added_tokens_decoder"); added != nullptr && added->is_object()) {
      for (const auto& item : added->items()) {
        const std::string where = object.path("added_tokens_decoder");
        const std::string& key = item.key();
        if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
          return make_error(Errc::invalid_file, "malformed token id", where, "digits", in_quotes(key, 40));
        }
        std::int64_t id = 0;
        for (const char digit : key) id = id * 10 + (digit - '0');
        TRITIUM_TRY(add_token(v, TextJson(item.value(), where + "." + key), id, known + added->size(), true));
      }
    }
    TRITIUM_TRY(apply_tokenizer_config(object, v));
  }
  find_end_tokens(v, false);
  return v;
}

}  // namespace detail

/// Builds a vocabulary from the bytes of a tokenizer.model and, where they exist, of the tokenizer_config.json and
/// added_tokens.json beside it. The result owns its strings. BOS is added where the model has one, unless the
/// configuration says otherwise. Errors: invalid_file with the offset or field; unsupported with the feature's name.
inline Result<Vocabulary> vocabulary_from_tokenizer_model(std::string_view file, std::string_view config_text = {},
                                                          std::string_view added_tokens_text = {}) {
#if defined(__cpp_exceptions)
  try {
    return detail::read_tokenizer_model(file, config_text, added_tokens_text);
  } catch (const std::bad_alloc&) {
    return Error{Errc::out_of_memory, "out of memory"};
  } catch (const std::exception& failure) {
    return make_error(Errc::invalid_file, "tokenizer.model cannot be read", escape_control(failure.what(), 200));
  }
#else
  return detail::read_tokenizer_model(file, config_text, added_tokens_text);
#endif
}

TRITIUM_NAMESPACE_END
