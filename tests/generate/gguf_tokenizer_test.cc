// SPDX-License-Identifier: Apache-2.0
// A tokenizer that was written into a GGUF file gives the ids that it gave in its folder.

#include "tritium/generate/gguf_tokenizer.h"

#include <set>

#include "io/test_files.h"
#include "tritium/model/export.h"

using namespace tritium;

namespace {

constexpr const char* kGolden = TRITIUM_TEST_DATA "/golden/";
constexpr std::string_view kMeta = "\xE2\x96\x81";

std::string golden(std::string_view name) { return concat(kGolden, name); }

/// A copy of a golden folder with a tokenizer put in.
class ModelFolder {
 public:
  explicit ModelFolder(std::string_view row) {
    for (const auto& entry : std::filesystem::directory_iterator(golden(row))) {
      if (entry.path().extension() != ".gguf") {
        std::filesystem::copy(entry.path(), folder_ / entry.path().filename().string());
      }
    }
  }
  void put(std::string_view name, std::string_view bytes) { write_file(folder_ / name, bytes); }
  void put_golden(std::string_view tokenizer) {
    put(tokenizer, file_contents(golden(concat("tokenizers/", tokenizer))));
  }
  [[nodiscard]] const std::string& path() const { return folder_.path(); }
  [[nodiscard]] Checkpoint open() const { return value_of(Checkpoint::open(folder_.path())); }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kConfig =
    R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "add_bos_token": true,
        "chat_template": "{{ messages[0].content }}"})";

struct Exported {
  std::string bytes;
  std::vector<std::string> notes;
  [[nodiscard]] GgufFile file() const { return value_of(GgufFile::view(std::as_bytes(std::span(bytes)), "exported")); }
  [[nodiscard]] Tokenizer tokenizer() const { return value_of(detail::tokenizer_from_gguf(file())); }
};

Result<Exported> export_tokenizer(const Checkpoint& folder, std::size_t rows = 331) {
  GgufWriter writer;
  Exported out;
  TRITIUM_ASSIGN(out.notes, set_gguf_tokenizer(folder, rows, writer));
  TRITIUM_ASSIGN(out.bytes, writer.blank());
  return out;
}

const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> list = {"",
                                     "Hello world",
                                     "  two spaces  and\ttabs\n\n\nlines 1234 '",
                                     "a<s>b</s>c <s> d",
                                     "\xE6\x97\xA5\xE6\x9C\xAC \xC3\xA9moji \xF0\x9F\x8E\x89",
                                     "aaaaaaaa bbbb. ...",
                                     std::string("\xFF broken \xC3", 9)};
    list.push_back(file_contents(TRITIUM_TEST_DATA "/text/alice.txt").substr(0, 20000));
    return list;
  }();
  return all;
}

void check_same_ids(const Tokenizer& found, const Tokenizer& expected) {
  CHECK(found.bos() == expected.bos());
  CHECK(found.eos() == expected.eos());
  CHECK(found.end_tokens() == expected.end_tokens());
  CHECK(found.prefix() == expected.prefix());
  CHECK(found.suffix() == expected.suffix());
  for (const std::string& text : texts()) {
    INFO(text.substr(0, 60));
    for (const bool special : {true, false}) {
      EncodeOptions options;
      options.parse_special = special;
      const auto a = value_of(found.encode(text, options));
      const auto b = value_of(expected.encode(text, options));
      REQUIRE(a == b);
      CHECK(value_of(found.decode(a)) == value_of(expected.decode(b)));
    }
  }
}

/// A byte-level tokenizer.json with another pre-tokenizer, normalizer or switch.
std::string changed_json(const std::function<void(nlohmann::json&)>& change) {
  nlohmann::json json = nlohmann::json::parse(file_contents(golden("tokenizers/tokenizer.json")));
  change(json);
  return json.dump();
}

/// tokenizer.json of the golden SentencePiece model, its pieces joined by merges, as transformers writes it.
nlohmann::json merges_json(const std::function<void(nlohmann::json&)>& change = {}) {
  const std::string source = file_contents(golden("tokenizers/tokenizer.model"));
  const Vocabulary v = value_of(vocabulary_from_tokenizer_model(source));
  nlohmann::json vocab = nlohmann::json::object();
  nlohmann::json added = nlohmann::json::array();
  std::vector<std::size_t> pieces;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    vocab[std::string(v.tokens[i])] = i;
    if (v.types[i] == TokenType::normal) pieces.push_back(i);
    if (v.types[i] != TokenType::control && v.types[i] != TokenType::unknown) continue;
    added.push_back({{"id", i},
                     {"content", v.tokens[i]},
                     {"special", true},
                     {"normalized", false},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false}});
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [&](std::size_t a, std::size_t b) { return v.scores[a] > v.scores[b]; });
  nlohmann::json merges = nlohmann::json::array();
  for (const std::size_t i : pieces) {
    const std::string token(v.tokens[i]);
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if (!vocab.contains(token.substr(0, cut)) || !vocab.contains(token.substr(cut))) continue;
      merges.push_back({token.substr(0, cut), token.substr(cut)});
    }
  }
  nlohmann::json json = {{"version", "1.0"},
                         {"added_tokens", added},
                         {"normalizer",
                          {{"type", "Sequence"},
                           {"normalizers",
                            {{{"type", "Prepend"}, {"prepend", kMeta}},
                             {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMeta}}}}}},
                         {"pre_tokenizer", nullptr},
                         {"decoder",
                          {{"type", "Sequence"},
                           {"decoders",
                            {{{"type", "Replace"}, {"pattern", {{"String", kMeta}}}, {"content", " "}},
                             {{"type", "ByteFallback"}},
                             {{"type", "Fuse"}},
                             {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
                         {"model",
                          {{"type", "BPE"},
                           {"unk_token", "<unk>"},
                           {"fuse_unk", true},
                           {"byte_fallback", true},
                           {"vocab", vocab},
                           {"merges", merges}}}};
  if (change) change(json);
  return json;
}

}  // namespace

TEST_CASE("a byte-level tokenizer.json becomes a gpt2 vocabulary under the name of its pre-tokenizer") {
  ModelFolder folder("llama-gqa");
  folder.put_golden("tokenizer.json");
  folder.put("tokenizer_config.json", kConfig);
  const Checkpoint checkpoint = folder.open();
  const Exported exported = value_of(export_tokenizer(checkpoint));
  const GgufFile file = exported.file();
  CHECK(value_of(file.get<std::string_view>("tokenizer.ggml.model")) == "gpt2");
  CHECK(value_of(file.get<std::string_view>("tokenizer.ggml.pre")) == "gpt-2");
  CHECK(value_of(file.get<std::string_view>("tokenizer.chat_template")) == "{{ messages[0].content }}");
  CHECK(value_of(file.get<bool>("tokenizer.ggml.add_bos_token")));
  CHECK_FALSE(value_of(file.get<bool>("tokenizer.ggml.add_eos_token")));
  CHECK(exported.notes.empty());
  check_same_ids(exported.tokenizer(), value_of(load_tokenizer(checkpoint)));
}

TEST_CASE("pre-tokenizers are recognised by what they cut") {
  const auto with_steps = [](nlohmann::json steps, bool ignore_merges = false) {
    return changed_json([&](nlohmann::json& json) {
      json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
      json["model"]["ignore_merges"] = ignore_merges;
    });
  };
  const auto split = [](std::string_view pattern) {
    return nlohmann::json{
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  const auto bytes = [](bool cut) {
    return nlohmann::json{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", cut}};
  };
  const nlohmann::json digits = {{"type", "Digits"}, {"individual_digits", true}};
  struct Case {
    std::string json;
    std::string pre;
  };
  const std::vector<Case> cases = {
      {with_steps({bytes(true)}), "gpt-2"},
      {with_steps({digits, bytes(true)}), "smollm"},
      {with_steps({split(detail::kLlama3Pattern), bytes(false)}, true), "llama3"},
      {with_steps({split(detail::kLlama3Pattern), bytes(false)}, false), "dbrx"},
      {with_steps({split(detail::kQwen2Pattern), bytes(false)}), "qwen2"},
      {with_steps({split(detail::kO200kPattern), bytes(false)}), "gpt-4o"},
      {with_steps({split("[0-9]"), bytes(false)}), ""},
      {with_steps({bytes(false)}), ""},
      {with_steps({nlohmann::json{{"type", "Punctuation"}, {"behavior", "Isolated"}}, bytes(true)}), ""},
  };
  for (const Case& c : cases) {
    ModelFolder folder("llama-gqa");
    folder.put("tokenizer.json", c.json);
    folder.put("tokenizer_config.json", kConfig);
    const Checkpoint checkpoint = folder.open();
    const Result<Exported> exported = export_tokenizer(checkpoint);
    INFO(c.pre);
    if (c.pre.empty()) {
      REQUIRE_FALSE(exported.ok());
      CHECK(exported.error().code == Errc::unsupported);
      CHECK(contains(exported.error().message, "GGUF cannot name this pre-tokenizer"));
      continue;
    }
    CHECK(value_of(exported->file().get<std::string_view>("tokenizer.ggml.pre")) == c.pre);
    check_same_ids(exported->tokenizer(), value_of(load_tokenizer(checkpoint)));
  }
}

TEST_CASE("what GGUF does not keep of a tokenizer is said or refused") {
  const auto exported_with = [](const std::function<void(nlohmann::json&)>& change) {
    ModelFolder folder("llama-gqa");
    folder.put("tokenizer.json", changed_json(change));
    folder.put("tokenizer_config.json", kConfig);
    return export_tokenizer(folder.open());
  };
  const auto nfc = exported_with([](nlohmann::json& json) { json["normalizer"] = {{"type", "NFC"}}; });
  REQUIRE(value_of(nfc).notes.size() == 1);
  CHECK(contains(value_of(nfc).notes[0], "NFC"));
  const auto lower = exported_with([](nlohmann::json& json) { json["normalizer"] = {{"type", "Lowercase"}}; });
  REQUIRE_FALSE(lower.ok());
  CHECK(lower.error().code == Errc::unsupported);
  const auto strips = exported_with([](nlohmann::json& json) { json["added_tokens"][2]["rstrip"] = true; });
  REQUIRE(value_of(strips).notes.size() == 1);
  CHECK(contains(value_of(strips).notes[0], "white space"));
  const auto two = exported_with([](nlohmann::json& json) {
    json["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single",
                               {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                                {{"SpecialToken", {{"id", "<unk>"}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
                              {"special_tokens", {{"<s>", {{"ids", {1}}}}, {"<unk>", {{"ids", {0}}}}}}};
  });
  REQUIRE_FALSE(two.ok());
  CHECK(contains(two.error().message, "around a text"));
}

TEST_CASE("a tokenizer.model becomes a llama vocabulary, padded to the rows of the embedding") {
  ModelFolder folder("llama");
  folder.put_golden("tokenizer.model");
  folder.put("tokenizer_config.json", kConfig);
  const Checkpoint checkpoint = folder.open();
  const Exported exported = value_of(export_tokenizer(checkpoint, 340));
  const GgufFile file = exported.file();
  CHECK(value_of(file.get<std::string_view>("tokenizer.ggml.model")) == "llama");
  CHECK(value_of(file.get<bool>("tokenizer.ggml.add_space_prefix")));
  const auto tokens = value_of(file.get_array<std::string_view>("tokenizer.ggml.tokens"));
  const auto types = value_of(file.get_array<std::int32_t>("tokenizer.ggml.token_type"));
  REQUIRE(tokens.size() == 340);
  CHECK(tokens[339] == "[PAD339]");
  CHECK(types[339] == static_cast<std::int32_t>(TokenType::unused));
  check_same_ids(exported.tokenizer(), value_of(load_tokenizer(checkpoint)));
  // Fewer rows than tokens: the rest cannot be used.
  const Exported fewer = value_of(export_tokenizer(checkpoint, 320));
  REQUIRE(fewer.notes.size() == 1);
  CHECK(contains(fewer.notes[0], "11 tokens"));
  const Result<Exported> none = export_tokenizer(checkpoint, 2);
  REQUIRE_FALSE(none.ok());
  CHECK(contains(none.error().message, "special token"));
}

TEST_CASE("merges of a SentencePiece model become scores") {
  ModelFolder folder("llama");
  folder.put("tokenizer.json", merges_json().dump());
  folder.put("tokenizer_config.json", kConfig);
  const Checkpoint checkpoint = folder.open();
  CHECK(value_of(load_tokenizer(checkpoint)).kind() == TokenizerKind::merges_bpe);
  const Exported exported = value_of(export_tokenizer(checkpoint));
  CHECK(exported.tokenizer().kind() == TokenizerKind::score_bpe);
  check_same_ids(exported.tokenizer(), value_of(load_tokenizer(checkpoint)));

  const auto refused = [&](const std::function<void(nlohmann::json&)>& change) {
    folder.put("tokenizer.json", merges_json(change).dump());
    const Result<Exported> result = export_tokenizer(folder.open());
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().code == Errc::unsupported);
    return result.error().message;
  };
  CHECK(contains(refused([](nlohmann::json& json) { json["model"]["merges"].erase(3); }), "not every merge"));
  CHECK(contains(refused([](nlohmann::json& json) {
                   // A second way to the first piece, behind the merges of another.
                   auto& merges = json["model"]["merges"];
                   merges.push_back(merges[0]);
                 }),
                 "separated merges"));
  CHECK(contains(refused([](nlohmann::json& json) {
                   json["normalizer"] = {{"type", "Sequence"},
                                         {"normalizers", {json["normalizer"], {{"type", "NFKC"}}}}};
                 }),
                 "GGUF cannot say"));
}

TEST_CASE("tokenizer.json and tokenizer.model together: scores of one, added tokens of the other") {
  ModelFolder folder("llama");
  folder.put_golden("tokenizer.model");
  folder.put("tokenizer_config.json", kConfig);
  folder.put("tokenizer.json", merges_json([](nlohmann::json& json) {
                                 json["added_tokens"].push_back({{"id", 331},
                                                                 {"content", "<|user|>"},
                                                                 {"special", true},
                                                                 {"normalized", false},
                                                                 {"single_word", false},
                                                                 {"lstrip", false},
                                                                 {"rstrip", false}});
                               }).dump());
  const Checkpoint checkpoint = folder.open();
  const Exported exported = value_of(export_tokenizer(checkpoint, 332));
  const Tokenizer found = exported.tokenizer();
  CHECK(found.find("<|user|>") == 331);
  CHECK(found.is_control(331));
  check_same_ids(found, value_of(load_tokenizer(checkpoint)));
  folder.put("tokenizer.json", merges_json([](nlohmann::json& json) {
                                 // Two pieces change places.
                                 auto& vocab = json["model"]["vocab"];
                                 std::swap(vocab["a"], vocab["b"]);
                               }).dump());
  const Result<Exported> differ = export_tokenizer(folder.open());
  REQUIRE_FALSE(differ.ok());
  CHECK(contains(differ.error().message, "differ"));
}

TEST_CASE("ids that end a text survive, whatever they are spelled like") {
  ModelFolder folder("llama");
  folder.put_golden("tokenizer.model");
  folder.put("tokenizer_config.json", kConfig);
  folder.put("generation_config.json", R"({"eos_token_id": [2, 300, 310]})");
  const Checkpoint checkpoint = folder.open();
  const Exported exported = value_of(export_tokenizer(checkpoint));
  CHECK(exported.notes.empty());
  CHECK(exported.tokenizer().end_tokens() == std::vector<std::int32_t>{2, 300, 310});
  folder.put("generation_config.json", R"({"eos_token_id": [2, 300, 310, 320]})");
  const Exported more = value_of(export_tokenizer(folder.open()));
  REQUIRE(more.notes.size() == 1);
  CHECK(contains(more.notes[0], "1 more token"));
}

TEST_CASE("models with character maps or without a tokenizer") {
  ModelFolder folder("llama");
  const Exported none = value_of(export_tokenizer(folder.open()));
  REQUIRE(none.notes.size() == 1);
  CHECK(none.file().find("tokenizer.ggml.tokens") == nullptr);
  folder.put("tokenizer.model", file_contents(TRITIUM_TEST_DATA "/tokenizers/sp_bpe_rules.model"));
  const Result<Exported> rules = export_tokenizer(folder.open(), 0);
  REQUIRE_FALSE(rules.ok());
  CHECK(rules.error().code == Errc::unsupported);
  folder.put("tokenizer.model", file_contents(TRITIUM_TEST_DATA "/tokenizers/sp_unigram.model"));
  const Result<Exported> unigram = export_tokenizer(folder.open(), 0);
  REQUIRE_FALSE(unigram.ok());
  CHECK(contains(unigram.error().message, "unigram"));
  // Gemma's spaces are pieces of their own, and nothing goes before a text.
  folder.put("tokenizer.model", file_contents(TRITIUM_TEST_DATA "/tokenizers/sp_gemma.model"));
  const Checkpoint gemma = folder.open();
  const Exported exported = value_of(export_tokenizer(gemma, 0));
  CHECK_FALSE(value_of(exported.file().get<bool>("tokenizer.ggml.add_space_prefix")));
  check_same_ids(exported.tokenizer(), value_of(load_tokenizer(gemma)));
}
