// SPDX-License-Identifier: Apache-2.0
// tokenize, detokenize and template: text to ids and back, conversations to text. No weights are touched.
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "commands.h"
#include "console.h"
#include "json_writer.h"
#include "model_folder.h"
#include "numbers.h"
#include "text_side.h"

namespace cli {

using tritium::Checkpoint;
using tritium::Errc;
using tritium::Result;
using tritium::Tokenizer;

Result<std::string> read_standard_input() {
  constexpr std::size_t kMost = std::size_t{512} << 20;
  std::string text;
  char piece[1 << 16];
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, piece, sizeof(piece));
    if (got == 0) return text;
    if (got < 0) {
      if (errno == EINTR) continue;
      return tritium::make_error(Errc::io, "cannot read the input", "standard input", "text",
                                 std::generic_category().message(errno));
    }
    text.append(piece, static_cast<std::size_t>(got));
    if (text.size() > kMost) {
      return tritium::make_error(Errc::out_of_range, "too much input", "standard input", "at most 512 MiB", "more");
    }
  }
}

Result<int> tokenize(const TokenizeOptions& options) {
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, open_tokenizer(checkpoint));
  Result<std::string> text = options.text ? Result<std::string>(*options.text) : read_standard_input();
  if (!text.ok()) return std::move(text).error();
  TRITIUM_ASSIGN(const std::vector<std::int32_t> ids,
                 encode(tokenizer, *text, {!options.no_bos, !options.no_special, true}));
  if (options.json) {
    JsonWriter json;
    json.begin_array();
    for (const std::int32_t id : ids) {
      const std::string_view piece = tokenizer.piece(id);
      json.begin_object().member("id", id).member("piece", piece);
      if (!tritium::is_utf8(piece)) {  // a part of a character: its bytes, since "piece" cannot hold them
        json.key("bytes").begin_array();
        for (const char c : piece) json.value(static_cast<int>(static_cast<unsigned char>(c)));
        json.end_array();
      }
      json.end_object();
    }
    out().line(json.end_array().text());
    return kDone;
  }
  std::string line;
  for (const std::int32_t id : ids) line.append(line.empty() ? "" : " ").append(std::to_string(id));
  out().line(line);
  return kDone;
}

Result<int> detokenize(const DetokenizeOptions& options) {
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  TRITIUM_ASSIGN(const Tokenizer tokenizer, open_tokenizer(checkpoint));
  std::vector<std::int32_t> ids = options.ids;
  if (!options.ids_given) {
    TRITIUM_ASSIGN(const std::string text, read_standard_input());
    TRITIUM_ASSIGN(ids, parse_ids("standard input", text));
  }
  tritium::DecodeOptions decode;
  decode.special = options.no_special ? tritium::SpecialText::hide : tritium::SpecialText::show_but_added;
  TRITIUM_ASSIGN(const std::string text, tokenizer.decode(ids, decode));
  out().write(text);
  return kDone;
}

Result<int> render_template(const TemplateOptions& options) {
  TRITIUM_ASSIGN(const std::string path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
  // The tokenizer gives bos_token and eos_token; a folder may say them without one.
  const Result<Tokenizer> tokenizer = open_tokenizer(checkpoint);
  if (!tokenizer.ok() && (checkpoint.gguf() != nullptr || !checkpoint.has_sibling("tokenizer_config.json"))) {
    return tokenizer.error();
  }
  TRITIUM_ASSIGN(const Conversation conversation,
                 Conversation::open(checkpoint, tokenizer.ok() ? &*tokenizer : nullptr, options.chat_template));
  TRITIUM_ASSIGN(const std::string text, conversation.render_file(options.messages, options.add_generation_prompt));
  out().write(text);
  return kDone;
}

}  // namespace cli
