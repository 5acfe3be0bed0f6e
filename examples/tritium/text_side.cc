// SPDX-License-Identifier: Apache-2.0
#include "text_side.h"

#include <sys/stat.h>

#include "tritium/generate/text_model.h"

namespace cli {

using tritium::ChatTemplate;
using tritium::Checkpoint;
using tritium::Errc;
using tritium::Result;
using tritium::Tokenizer;

namespace {

constexpr std::size_t kMaxMessageBytes = std::size_t{16} << 20;

std::string builtin_names() {
  std::string names;
  for (const tritium::BuiltinTemplate& t : tritium::kBuiltinTemplates) {
    names.append(names.empty() ? "" : ", ").append(t.family);
  }
  return names;
}

}  // namespace

Result<Tokenizer> open_tokenizer(const Checkpoint& checkpoint) { return tritium::load_tokenizer(checkpoint); }

Result<std::vector<std::int32_t>> encode(const Tokenizer& tokenizer, std::string_view text,
                                         const EncodeRequest& request) {
  tritium::EncodeOptions options;
  options.parse_special = request.special;
  options.add_special = request.bos || request.suffix;
  TRITIUM_ASSIGN(std::vector<std::int32_t> ids, tokenizer.encode(text, options));
  if (!options.add_special) return ids;
  if (!request.bos && tokenizer.adds_bos()) ids.erase(ids.begin());
  if (!request.suffix) ids.resize(ids.size() - tokenizer.suffix().size());
  return ids;
}

struct Conversation::Parts {
  ChatTemplate form;
  tritium::RenderOptions options;
};

Conversation::Conversation(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;
Conversation::~Conversation() = default;

Result<Conversation> Conversation::open(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                                        const std::string& chosen) {
  std::optional<ChatTemplate> form;
  if (chosen.empty()) {
    TRITIUM_ASSIGN(form, tritium::load_chat_template(checkpoint));
    if (!form) {
      return tritium::make_error(Errc::unsupported, "the model has no chat template",
                                 tritium::printable_path(checkpoint.path()),
                                 "one in the file, or --template with a file or one of " + builtin_names(), "none");
    }
  } else if (auto builtin = ChatTemplate::builtin(chosen); builtin.ok()) {
    form = *std::move(builtin);
  } else {
    struct stat status{};
    if (chosen.find('/') == std::string::npos && ::stat(chosen.c_str(), &status) != 0) {
      return tritium::make_error(Errc::invalid_argument, "no such chat template", "--template",
                                 "a file or one of " + builtin_names(), tritium::printable(chosen));
    }
    TRITIUM_ASSIGN(std::string source, tritium::read_file(chosen, tritium::detail::kMaxTemplateBytes));
    TRITIUM_ASSIGN(form, ChatTemplate::parse(std::move(source)));
  }
  auto parts = std::make_unique<Parts>(Parts{*std::move(form), {}});
  TRITIUM_TRY(tritium::load_special_texts(checkpoint, tokenizer, parts->options));
  return Conversation(std::move(parts));
}

Result<std::vector<std::int32_t>> Conversation::ids(const Tokenizer& tokenizer,
                                                    const std::vector<Message>& messages) const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Message& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  tritium::RenderOptions options = parts_->options;
  options.add_generation_prompt = true;
  TRITIUM_ASSIGN(const std::vector<tritium::jinja::Segment> segments, parts_->form.render_segments(list, options));
  return tritium::encode_conversation(tokenizer, segments);
}

Result<std::string> Conversation::render_file(const std::string& path, bool add_generation_prompt) const {
  TRITIUM_ASSIGN(const std::string text, tritium::read_file(path, kMaxMessageBytes));
  TRITIUM_TRY(tritium::parse_json(text, path));               // the limits, and the message when it is not JSON
  const auto messages = nlohmann::ordered_json::parse(text);  // members in the order of the file
  tritium::RenderOptions options = parts_->options;
  options.add_generation_prompt = add_generation_prompt;
  return parts_->form.render(messages, options);
}

Result<std::optional<TemplateFacts>> template_facts(const Checkpoint& checkpoint) {
  TRITIUM_ASSIGN(const std::optional<ChatTemplate> form, tritium::load_chat_template(checkpoint));
  if (!form) return std::optional<TemplateFacts>();
  return std::optional<TemplateFacts>({form->source().size(), form->digest()});
}

}  // namespace cli
