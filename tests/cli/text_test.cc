// SPDX-License-Identifier: Apache-2.0
// tokenize, detokenize and template: text to ids and back, byte for byte.

#include <fstream>

#include "cli.h"

namespace {

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> list;
  std::istringstream in(line);
  for (std::string word; in >> word;) list.push_back(word);
  return list;
}

std::string detokenized(const std::string& model, const std::string& ids) {
  std::vector<std::string> arguments = {"detokenize", model};
  for (std::string& id : words(ids)) arguments.push_back(std::move(id));
  return output_of(arguments);
}

const std::vector<std::string> kTexts = {"Hello world",
                                         "two  spaces, a\ttab and\n\nnewlines\n",
                                         " leading and trailing ",
                                         "\xE6\x97\xA5\xE6\x9C\xAC \xC3\xA9 \xF0\x9F\x8E\x89",
                                         std::string("bytes \xFF\xFE\x80 here\n"),
                                         std::string("a\0b", 3)};

}  // namespace

TEST_CASE("ids of a text and the text of ids, for both kinds of vocabulary") {
  for (const char* row : {"llama", "llama-gqa"}) {
    const std::string model = golden_gguf(row);
    for (const std::string& text : kTexts) {
      INFO(row << ": " << text);
      const std::string ids = output_of({"tokenize", model}, with_input(text));
      CHECK(ids.ends_with('\n'));
      CHECK(ids.find_first_not_of("0123456789 \n") == std::string::npos);
      CHECK(ids.find('\n') == ids.size() - 1);
      CHECK(detokenized(model, ids) == text);
      CHECK(output_of({"detokenize", model}, with_input(ids)) == text);  // ids from standard input
      if (text.find('\0') == std::string::npos) CHECK(output_of({"tokenize", model, text}) == ids);
    }
  }
  // The whole of a file, its final newline included.
  const std::string alice = file_contents(TRITIUM_TEST_DATA "/text/alice.txt");
  const std::string ids = output_of({"tokenize", tiny_model()}, with_input(alice));
  CHECK(output_of({"detokenize", tiny_model()}, with_input(ids)) == alice);
}

TEST_CASE("special tokens and the one before a text") {
  const std::string model = tiny_model();
  CHECK(output_of({"tokenize", model, ""}) == "1\n");
  CHECK(output_of({"tokenize", model, "", "--no-bos"}) == "\n");
  const std::string with = output_of({"tokenize", model, "a</s>"});
  CHECK(with.starts_with("1 "));
  CHECK(with.ends_with(" 2\n"));
  CHECK(output_of({"tokenize", model, "a</s>", "--no-bos"}) == with.substr(2));
  const std::string plain = output_of({"tokenize", model, "a</s>", "--no-special"});
  CHECK(plain != with);
  CHECK(words(plain).back() != "2");
  CHECK(detokenized(model, plain) == "a</s>");
  CHECK(detokenized(model, with) == "a</s>");
  CHECK(output_of({"detokenize", model, "1", "2", "--no-special"}).empty());
  CHECK(output_of({"detokenize", model}, with_input("")).empty());
  // A text that begins with a dash is the text.
  CHECK(detokenized(model, output_of({"tokenize", model, "--", "-x --json"})) == "-x --json");
}

TEST_CASE("tokenize --json says every piece") {
  for (const char* row : {"llama", "llama-gqa"}) {
    const std::string model = golden_gguf(row);
    const nlohmann::json json =
        json_of({"tokenize", model, "--json"}, with_input("Alice \"was\" \\ \xF0\x9F\x8E\x89\n\xFF"));
    REQUIRE(json.is_array());
    const std::string ids = output_of({"tokenize", model}, with_input("Alice \"was\" \\ \xF0\x9F\x8E\x89\n\xFF"));
    REQUIRE(json.size() == words(ids).size());
    std::string text;
    for (std::size_t i = 0; i < json.size(); ++i) {
      CHECK(json[i].at("id") == std::stoi(words(ids)[i]));
      CHECK(json[i].at("piece").is_string());
      if (!json[i].contains("bytes")) {
        text += json[i]["piece"].get<std::string>();
        continue;
      }
      for (const int byte : json[i]["bytes"].get<std::vector<int>>()) text += static_cast<char>(byte);
    }
    CHECK(contains(text, "Alice \"was\" \\ \xF0\x9F\x8E\x89\n\xFF"));
  }
}

TEST_CASE("bytes that are not UTF-8 are refused where the vocabulary has no pieces for them") {
  const TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder("llama-gqa"))) {
    std::filesystem::copy(entry.path(), folder / entry.path().filename().string());
  }
  // A vocabulary of characters only.
  nlohmann::json tokenizer = {{"added_tokens", nlohmann::json::array()},
                              {"model",
                               {{"type", "BPE"},
                                {"vocab", {{"a", 0}, {"b", 1}, {"?", 2}}},
                                {"merges", nlohmann::json::array()},
                                {"unk_token", "?"}}}};
  write_file(folder / "tokenizer.json", tokenizer.dump());
  CHECK(output_of({"tokenize", folder.path(), "ab"}) == "0 1\n");
  CHECK(contains(error_of(call({"tokenize", folder.path()}, with_input("a\xFF")), 1), "UTF-8"));
}

TEST_CASE("vocabularies of other architectures work") {
  // Nothing but a vocabulary, of an architecture that this program does not run.
  const std::string bytes = file_contents(tiny_model());
  const TemporaryFolder folder;
  std::string other = bytes;
  const std::string architecture = "general.architecture";
  const std::size_t at = other.find(architecture) + architecture.size() + 4 + 8;
  REQUIRE(other.substr(at, 5) == "llama");
  other.replace(at, 5, "other");
  write_file(folder / "other.gguf", other);
  CHECK(output_of({"tokenize", folder / "other.gguf", "Hello"}) == output_of({"tokenize", tiny_model(), "Hello"}));
  CHECK(contains(error_of(call({"run", folder / "other.gguf", "-p", "x"}), 1), "unsupported model architecture"));
}

TEST_CASE("ids outside the vocabulary") {
  CHECK(contains(full_error_of(call({"detokenize", tiny_model(), "331"}), 1), "0 to 330"));
  CHECK(contains(full_error_of(call({"detokenize", tiny_model()}, with_input("1 2 x")), 1), "not a token id"));
  CHECK(contains(full_error_of(call({"detokenize", tiny_model()}, with_input("1 -2")), 1), "not a token id"));
}

TEST_CASE("template renders messages byte for byte") {
  const TemporaryFolder folder;
  const std::string messages = folder / "chat.json";
  write_file(messages,
             R"([{"role": "system", "content": "Be \"short\"."}, {"role": "user", "content": "Hi\n\u00e9"}])");
  const std::string chatml = "<|im_start|>system\nBe \"short\".<|im_end|>\n<|im_start|>user\nHi\n\xC3\xA9<|im_end|>\n";
  const std::string form = folder / "form.jinja";
  write_file(form,
             "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
  const std::vector<std::string> base = {"template", tiny_model(), "--messages", messages, "--template", form};
  CHECK(output_of(base) == chatml);
  std::vector<std::string> open = base;
  open.push_back("--add-generation-prompt");
  CHECK(output_of(open) == chatml + "<|im_start|>assistant\n");

  CHECK(contains(error_of(call({"template", tiny_model(), "--messages", messages}), 1), "no chat template"));
  CHECK(contains(error_of(call({"template", tiny_model(), "--messages", messages, "--template", "nothing"}), 1),
                 "--template"));
  CHECK(contains(error_of(call({"template", tiny_model(), "--messages", folder / "none.json", "--template", form}), 1),
                 "none.json"));
  write_file(messages, "[{\"role\": ");
  CHECK(contains(error_of(call(base), 1), "chat.json"));
  write_file(messages, "{\"role\": \"user\"}");
  error_of(call(base), 1);
  write_file(form, "{{ raise_exception('no \x1b[31m here') }}");
  write_file(messages, "[]");
  error_of(call(base), 1);  // one printable line, whatever the template says
}
