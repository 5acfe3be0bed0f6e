// SPDX-License-Identifier: Apache-2.0
// GGUF vocabularies: llama.cpp's vectors, the two real models, the defaults that files leave out, refusals.
#include "tritium/text/gguf_vocabulary.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>

#include "support/tokenizer_cases.h"
#include "support/real_models.h"

using namespace tritium;
using tritium_test::GgufTokenizerFile;
using tritium_test::Json;

namespace {

Result<Tokenizer> load(const GgufTokenizerFile& file) {
  TRITIUM_ASSIGN(const Vocabulary vocabulary, vocabulary_from_gguf(file.tokenizer));
  return Tokenizer::create(vocabulary);
}

// llama.cpp's .inp: texts with a separator line between; .out: one line of ids for each.
void check_vectors(const std::string& path) {
  const GgufTokenizerFile file(path);
  const auto tokenizer = load(file);
  INFO(path << ": " << (tokenizer.ok() ? "" : tokenizer.error().message));
  REQUIRE(tokenizer.ok());
  const std::string input = tritium_test::read_file(path + ".inp");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::istringstream lines(tritium_test::read_file(path + ".out"));
  std::string differences;
  std::string line;
  std::size_t begin = 0;
  std::size_t count = 0;
  while (std::getline(lines, line)) {
    REQUIRE(begin <= input.size());
    const std::size_t end = std::min(input.find(separator, begin), input.size());
    const std::string text = input.substr(begin, end - begin);
    begin = end + separator.size();
    ++count;
    const auto ids = tritium_test::parse_ids(line);
    differences += tritium_test::encode_difference(*tokenizer, text, ids, {false, false});
    const auto decoded = tokenizer->decode(ids);
    REQUIRE(decoded.ok());
    if (*decoded != text)
      differences.append("decoded ").append(in_quotes(text)).append(" as ").append(in_quotes(*decoded)).append("\n");
  }
  CHECK(count >= 46);
  INFO(path << ":\n" << differences);
  CHECK(differences.empty());
}

// A byte-level vocabulary of 256 bytes and a few merges, for the tests of defaults.
struct SmallGguf {
  std::vector<std::string> spellings;
  GgufTokenizer tokenizer;
  std::vector<std::int32_t> types;
  SmallGguf() {
    for (int byte = 0; byte < 256; ++byte) {
      std::string spelling;
      append_utf8(byte_to_alias(static_cast<unsigned char>(byte)), spelling);
      spellings.push_back(spelling);
    }
    for (const char* more : {"ab", "abc", "<|im_end|>", "<|x|>", "</s>"}) spellings.emplace_back(more);
    tokenizer.model = "gpt2";
    tokenizer.pre = "gpt-2";
    types.assign(spellings.size(), 1);
    types[259] = 3;
    for (const std::string& s : spellings) tokenizer.tokens.push_back(s);
    tokenizer.merges = {"a b", "ab c"};
    tokenizer.token_types = types;
  }
};

}  // namespace

TEST_CASE("llama.cpp's vocabulary vectors", "[gguf_vocabulary]") {
  const char* variable = std::getenv("TRITIUM_TEST_VOCABS");
  const std::string folder =
      variable != nullptr ? variable : std::string(TRITIUM_SOURCE_DIR) + "/build/test-data/vocabs";
  if (!std::filesystem::exists(folder + "/.complete")) {
    if (variable != nullptr)
      FAIL("TRITIUM_TEST_VOCABS names " << folder << ", which scripts/get-test-data.sh has not filled");
    WARN("no vocabularies in " << folder << ": run scripts/get-test-data.sh");
    return;
  }
  for (const char* name : {"llama-bpe", "llama-spm", "gpt-2", "phi-3", "qwen2", "qwen35", "gemma-4", "falcon",
                           "deepseek-coder", "deepseek-llm", "starcoder", "refact", "mpt", "command-r"}) {
    check_vectors(folder + "/ggml-vocab-" + name + ".gguf");
  }
  // WordPiece is refused by name; a file without a pre-tokenizer is not guessed at.
  const GgufTokenizerFile bert(folder + "/ggml-vocab-bert-bge.gguf");
  const auto refused = load(bert);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Errc::unsupported);
  CHECK(refused.error().message.find("\"bert\"") != std::string::npos);
  const GgufTokenizerFile unnamed(folder + "/ggml-vocab-gpt-neox.gguf");
  const auto guess = load(unnamed);
  REQUIRE(!guess.ok());
  CHECK(guess.error().message.find("tokenizer.ggml.pre") != std::string::npos);
  // A unigram vocabulary with SentencePiece's whole character map; ids from llama.cpp.
  const GgufTokenizerFile unigram(folder + "/ggml-vocab-nomic-bert-moe.gguf");
  const auto t5 = load(unigram);
  REQUIRE(t5.ok());
  CHECK(t5->kind() == TokenizerKind::unigram);
  CHECK(tritium_test::encode_difference(*t5,
                                        "\xEF\xBC\xA8"
                                        "ello  world\xE2\x80\xA6",
                                        {0, 35378, 8999, 27, 2}, {true, false}) == "");
}

TEST_CASE("the real vocabularies of SmolLM2 and Gemma 3", "[gguf_vocabulary]") {
  const Json golden = Json::parse(tritium_test::read_file(tritium_test::tokenizer_data("real.json")));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const Json& entry : golden["models"]) {
    const std::string path = tritium_test::real_model(entry["name"].get<std::string>());
    if (path.empty()) continue;
    const GgufTokenizerFile file(path);
    const auto tokenizer = load(file);
    REQUIRE(tokenizer.ok());
    std::string differences;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (entry["ids"][i].is_null()) continue;
      const auto ids = tritium_test::parse_ids(entry["ids"][i].get<std::string>());
      differences +=
          tritium_test::encode_difference(*tokenizer, texts[i], ids, {false, entry["name"] == "smollm2-135m"});
      const auto decoded = tokenizer->decode(ids, {SpecialText::show, true});
      REQUIRE(decoded.ok());
      if (*decoded != texts[i]) {
        differences.append("decoded ")
            .append(in_quotes(texts[i]))
            .append(" as ")
            .append(in_quotes(*decoded))
            .append("\n");
      }
    }
    INFO(path << ":\n" << differences);
    CHECK(differences.empty());
    CHECK(tokenizer->adds_bos() == (entry["name"] == "gemma3-270m"));
    CHECK(tokenizer->is_eog(tokenizer->eos()));
  }
}

TEST_CASE("defaults of GGUF tokenizer metadata", "[gguf_vocabulary]") {
  SmallGguf small;
  auto v = vocabulary_from_gguf(small.tokenizer);
  REQUIRE(v.ok());
  CHECK(v->prefix.empty());
  CHECK(v->types[258] == TokenType::control);  // an end token typed normal is corrected
  CHECK(v->types[260] == TokenType::normal);   // "</s>" is ordinary text unless the file says otherwise
  CHECK(v->end_tokens == std::vector<std::int32_t>{258});
  const auto t = Tokenizer::create(*v);
  REQUIRE(t.ok());
  CHECK(t->is_eog(258));
  CHECK(!t->is_eog(260));
  CHECK(tritium_test::encode_difference(*t, "abc<|x|>", {257, 259}, {true, true}) == "");
  CHECK(tritium_test::encode_difference(*t, "abc<|x|>", {257, '<', '|', 'x', '|', '>'}, {true, false}) == "");

  small.tokenizer.bos_token_id = 259;
  small.tokenizer.pre = "llama-bpe";  // adds BOS unless told otherwise
  v = vocabulary_from_gguf(small.tokenizer);
  REQUIRE(v.ok());
  CHECK(v->prefix == std::vector<std::int32_t>{259});
  CHECK(v->ignore_merges);
  small.tokenizer.add_bos_token = false;
  v = vocabulary_from_gguf(small.tokenizer);
  REQUIRE(v.ok());
  CHECK(v->prefix.empty());
  small.tokenizer.add_eos_token = true;
  small.tokenizer.eos_token_id = 258;
  v = vocabulary_from_gguf(small.tokenizer);
  REQUIRE(v.ok());
  CHECK(v->suffix == std::vector<std::int32_t>{258});
  small.tokenizer.eos_token_id = std::numeric_limits<std::uint32_t>::max();  // "none"
  v = vocabulary_from_gguf(small.tokenizer);
  REQUIRE(v.ok());
  CHECK(v->eos == kNoToken);
}

TEST_CASE("Phi-3's special tokens take the white space behind them", "[gguf_vocabulary]") {
  const std::vector<std::string> spellings{"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a", "<|end|>", "\n"};
  const std::vector<float> scores{0, 0, 0, -1, -2, 0, -3};
  const std::vector<std::int32_t> types{2, 3, 3, 1, 1, 3, 1};
  GgufTokenizer g;
  g.model = "llama";
  g.general_name = "Phi-3 mini";
  for (const std::string& s : spellings) g.tokens.push_back(s);
  g.scores = scores;
  g.token_types = types;
  auto v = vocabulary_from_gguf(g);
  REQUIRE(v.ok());
  auto t = Tokenizer::create(*v);
  REQUIRE(t.ok());
  CHECK(tritium_test::encode_difference(*t, "a<|end|>\n a", {3, 4, 5, 3, 4}, {false, true}) == "");
  g.general_name = "another";
  v = vocabulary_from_gguf(g);
  REQUIRE(v.ok());
  t = Tokenizer::create(*v);
  REQUIRE(t.ok());
  CHECK(tritium_test::encode_difference(*t, "a<|end|>\n a", {3, 4, 5, 3, 6, 3, 4}, {false, true}) == "");
}

TEST_CASE("malformed GGUF tokenizers are refused with a reason", "[gguf_vocabulary]") {
  const auto refuse = [](const std::string& what, auto&& change) {
    SmallGguf small;
    change(small);
    auto v = vocabulary_from_gguf(small.tokenizer);
    const Error error = v.ok() ? [&] {
      auto t = Tokenizer::create(*v);
      INFO(what);
      REQUIRE(!t.ok());
      return t.error();
    }()
                               : v.error();
    INFO(what << ": " << error.message);
    CHECK(error.message.find('\n') == std::string::npos);
    CHECK(error.message.find(what) != std::string::npos);
  };
  using S = SmallGguf;
  refuse("found nothing", [](S& s) { s.tokenizer.model = {}; });
  refuse("\"wordpiece\"", [](S& s) { s.tokenizer.model = "wordpiece"; });
  refuse("\"bert\"", [](S& s) { s.tokenizer.model = "bert"; });
  refuse("\"rwkv\"", [](S& s) { s.tokenizer.model = "rwkv"; });
  refuse("\"plamo2\"", [](S& s) { s.tokenizer.model = "plamo2"; });
  refuse("\\x1b[31m", [](S& s) { s.tokenizer.model = "\x1b[31m"; });  // control characters never reach a terminal
  refuse("found nothing", [](S& s) { s.tokenizer.pre = {}; });
  refuse("\"no-such\"", [](S& s) { s.tokenizer.pre = "no-such"; });
  refuse("\"kimi-k2\"", [](S& s) { s.tokenizer.pre = "kimi-k2"; });
  refuse("tokenizer.ggml.merges", [](S& s) { s.tokenizer.merges.clear(); });
  refuse("impossible size", [](S& s) { s.tokenizer.tokens.clear(), s.tokenizer.token_types = {}; });
  refuse("tokenizer.ggml.token_type", [](S& s) { s.types.pop_back(), s.tokenizer.token_types = s.types; });
  refuse("token_type[3]", [](S& s) { s.types[3] = 7; });
  refuse("token_type[3]", [](S& s) { s.types[3] = -1; });
  refuse("token_type[3]", [](S& s) { s.types[3] = std::numeric_limits<std::int32_t>::min(); });
  refuse("merges[0]", [](S& s) { s.tokenizer.merges[0] = "ab"; });
  refuse("merges[1]", [](S& s) { s.tokenizer.merges[1] = ""; });
  refuse("merges[1]", [](S& s) { s.tokenizer.merges[1] = " "; });
  refuse("merges[1]", [](S& s) { s.tokenizer.merges[1] = "a "; });
  refuse("unknown piece", [](S& s) { s.tokenizer.merges[0] = "zz b"; });
  refuse("unknown piece", [](S& s) { s.tokenizer.merges[0] = "a zz"; });
  refuse("merge 1", [](S& s) { s.tokenizer.merges[1] = "c ab"; });  // the result is missing
  refuse("given twice", [](S& s) { s.tokenizer.merges.push_back("a b"); });
  refuse("same spelling", [](S& s) { s.tokenizer.tokens[10] = s.tokenizer.tokens[20]; });
  refuse("token 97", [](S& s) { s.types[97] = 6; });  // "a" is no byte token
  for (const char* bad :
       {"<0x-1>", "<0x1>", "<0xGG>", "<0xab>", "<0x100>", "<0X41>", " <0x41>", "<0x41", "<0x+1>", "<0x 1>"}) {
    refuse("byte token is misspelled", [bad](S& s) { s.tokenizer.tokens[256] = bad, s.types[256] = 6; });
  }
  refuse("bos_token_id", [](S& s) { s.tokenizer.bos_token_id = 261; });
  refuse("bos_token_id", [](S& s) { s.tokenizer.bos_token_id = 1000000; });
  refuse("special token id", [](S& s) { s.tokenizer.bos_token_id = 0x80000000u; });
  refuse("eos_token_id", [](S& s) { s.tokenizer.eos_token_id = 261; });
  refuse("unknown_token_id", [](S& s) { s.tokenizer.unknown_token_id = 261; });
  refuse("padding_token_id", [](S& s) { s.tokenizer.padding_token_id = 261; });
  refuse("end token", [](S& s) { s.tokenizer.eot_token_id = 261; });
  refuse("end token", [](S& s) { s.tokenizer.eom_token_id = 0xFFFFFF; });
  const std::string long_special(1025, '<');
  refuse("special token is too long", [&](S& s) { s.tokenizer.tokens[259] = long_special; });
  const std::string long_token(65537, 'x');
  refuse("token is too long", [&](S& s) { s.tokenizer.tokens[256] = long_token; });

  const auto refuse_scores = [](const std::string& what, std::vector<float> scores, std::string_view model,
                                std::string_view charsmap = {}) {
    GgufTokenizer g;
    g.model = model;
    g.tokens = {"<unk>", "<s>", "a"};
    g.scores = scores;
    g.precompiled_charsmap = charsmap;
    auto v = vocabulary_from_gguf(g);
    const Error error = v.ok() ? [&] {
      auto t = Tokenizer::create(*v);
      REQUIRE(!t.ok());
      return t.error();
    }()
                               : v.error();
    INFO(what << ": " << error.message);
    CHECK(error.message.find(what) != std::string::npos);
  };
  refuse_scores("tokenizer.ggml.scores", {}, "llama");
  refuse_scores("scores", {0, 0}, "llama");
  refuse_scores("scores", {0, 0, 0, 0}, "t5");
  refuse_scores("token 1", {0, std::numeric_limits<float>::quiet_NaN(), 0}, "llama");
  refuse_scores("token 2", {0, 0, std::numeric_limits<float>::infinity()}, "t5");
  refuse_scores("token 0", {-std::numeric_limits<float>::infinity(), 0, 0}, "llama");
  using namespace std::string_view_literals;
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5", "abc");
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5",
                "\xFF\xFF\xFF\xFF"
                "abcd"sv);
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5",
                "\x04\0\0\0"
                "abcd"sv);
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5",
                "\x03\0\0\0"
                "abc\0"sv);
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5",
                "\0\0\0\0"
                "abc\0"sv);
  refuse_scores("precompiled_charsmap", {0, 0, 0}, "t5",
                "\x04\0\0\0"
                "abcdxyz"sv);
}
