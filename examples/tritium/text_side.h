// SPDX-License-Identifier: Apache-2.0
// The text side of a model for the commands: tokenizer and conversation, compiled in one file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tritium/io/checkpoint.h"
#include "tritium/text/tokenizer.h"

namespace cli {

tritium::Result<tritium::Tokenizer> open_tokenizer(const tritium::Checkpoint& checkpoint);

struct EncodeRequest {
  bool bos = true;      ///< put one before the text, where the model wants it
  bool special = true;  ///< special tokens written in the text become their ids
  bool suffix = true;   ///< put behind the text what the model wants there
};
tritium::Result<std::vector<std::int32_t>> encode(const tritium::Tokenizer& tokenizer, std::string_view text,
                                                  const EncodeRequest& request);

struct Message {
  std::string role;
  std::string content;
};

/// A chat template with the special tokens it writes.
class Conversation {
 public:
  /// The model's own template, or `chosen`: a built-in name or a file. Errors: unsupported (the model has none; the
  /// built-in names are told), io, invalid_argument.
  static tritium::Result<Conversation> open(const tritium::Checkpoint& checkpoint, const tritium::Tokenizer* tokenizer,
                                            const std::string& chosen);

  /// Ids of the messages and the opening of the answer. What users wrote cannot become control tokens.
  [[nodiscard]] tritium::Result<std::vector<std::int32_t>> ids(const tritium::Tokenizer& tokenizer,
                                                               const std::vector<Message>& messages) const;

  /// The text of the messages in a JSON file. Errors: as JSON readers and ChatTemplate::render.
  [[nodiscard]] tritium::Result<std::string> render_file(const std::string& path, bool add_generation_prompt) const;

  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  ~Conversation();

 private:
  struct Parts;
  explicit Conversation(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// What `inspect` tells about a template.
struct TemplateFacts {
  std::size_t bytes = 0;
  std::string digest;
};
tritium::Result<std::optional<TemplateFacts>> template_facts(const tritium::Checkpoint& checkpoint);

/// All of standard input. Errors: io, out_of_range (more than half a GiB).
tritium::Result<std::string> read_standard_input();

}  // namespace cli
