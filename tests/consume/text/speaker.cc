// SPDX-License-Identifier: Apache-2.0
// Uses each package that text/ stands on: JSON messages in a chat template, a PCRE2 pattern, utf8proc's properties.
#include <tritium/text/chat_template.h>
#include <tritium/text/regex.h>

#include <cstdio>

int main() {
  using namespace tritium;
  const auto form = ChatTemplate::builtin("chatml");
  const auto pattern = Regex::compile("\\p{Lu}\\w+");
  if (!form.ok() || !pattern.ok() || !is_word_character(U'\u00e9')) return 1;
  const auto text = form->render(nlohmann::ordered_json::parse(R"([{"role": "user", "content": "hello"}])"));
  if (!text.ok()) return 1;
  std::printf("%s", text->c_str());
}
