// SPDX-License-Identifier: Apache-2.0
// logits and perplexity: shapes, equality of every way to compute them, and the golden numbers.

#include <cmath>

#include "cli.h"
#include "tritium/io/npy.h"

namespace {

struct Logits {
  std::vector<std::size_t> shape;
  std::vector<float> values;
  [[nodiscard]] std::vector<float> row(std::size_t r) const {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(r * shape[1]);
    return {first, first + static_cast<std::ptrdiff_t>(shape[1])};
  }
};

Logits logits(const std::string& model, const std::string& tokens, const std::vector<std::string>& more = {}) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = {"logits", model, "--tokens", tokens, "--out", folder / "l.npy", "-q"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  CHECK(output_of(arguments).empty());
  CHECK(folder.entries() == std::vector<std::string>{"l.npy"});
  auto array = value_of(tritium::read_npy<float>(folder / "l.npy"));
  return {std::vector<std::size_t>(array.shape.begin(), array.shape.end()), std::move(array.values)};
}

double worst(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    most = difference <= most ? most : difference;
  }
  return most;
}

std::string golden_tokens(const nlohmann::json& golden, std::size_t limit = 1000) {
  std::string text;
  std::size_t n = 0;
  for (const char* part : {"prompt", "greedy"}) {
    for (const auto& id : golden.at(part)) {
      if (n++ < limit) text += (text.empty() ? "" : ",") + std::to_string(id.get<int>());
    }
  }
  return text;
}

}  // namespace

TEST_CASE("logits are a NumPy file of the shape that was asked for") {
  const std::string model = tiny_model();
  const Logits all = logits(model, "1,5,7,300,12");
  CHECK(all.shape == std::vector<std::size_t>{5, 331});
  const Logits last = logits(model, "1,5,7,300,12", {"--last"});
  CHECK(last.shape == std::vector<std::size_t>{1, 331});
  const Logits stepped = logits(model, "1,5,7,300,12", {"--decode"});
  CHECK(stepped.shape == all.shape);
  const Logits stepped_last = logits(model, "1,5,7,300,12", {"--decode", "--last"});
  CHECK(stepped_last.shape == last.shape);
  // The last row is the last row, whichever way it is asked for.
  CHECK(worst(last.row(0), all.row(4)) == 0);
  CHECK(worst(stepped_last.row(0), stepped.row(4)) == 0);
  CHECK(worst(stepped.values, all.values) < 1e-3);
  // What comes later changes nothing before it.
  CHECK(worst(logits(model, "1,5,7").values, {all.values.begin(), all.values.begin() + 3 * 331}) < 1e-3);
  // Threads change nothing at all.
  CHECK(worst(logits(model, "1,5,7,300,12", {"-t", "1"}).values, logits(model, "1,5,7,300,12", {"-t", "2"}).values) ==
        0);
  const TemporaryFolder folder;
  write_file(folder / "ids.txt", "1 5\n7, 300\t12\n");
  CHECK(output_of({"logits", model, "--tokens-file", folder / "ids.txt", "--out", folder / "x.npy", "-q"}).empty());
  CHECK(value_of(tritium::read_npy<float>(folder / "x.npy")).values == all.values);
}

TEST_CASE("logits of the golden models, from both kinds of file") {
  for (const char* row : {"llama", "llama-gqa", "gemma3"}) {
    INFO(row);
    const nlohmann::json golden = nlohmann::json::parse(file_contents(golden_folder(row) + "/golden.json"));
    const auto expected = value_of(tritium::read_npy<float>(golden_folder(row) + "/logits.npy"));
    const std::string tokens = golden_tokens(golden, golden.at("prompt").size() + golden.at("greedy").size() - 1);
    for (const std::string& model : {golden_gguf(row), golden_folder(row)}) {
      const Logits found = logits(model, tokens, {"--exact"});
      const std::vector<std::size_t> rows = golden.at("rows");
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::vector<float> wanted(expected.values.begin() + static_cast<std::ptrdiff_t>(i * 331),
                                        expected.values.begin() + static_cast<std::ptrdiff_t>((i + 1) * 331));
        CHECK(worst(found.row(rows[i]), wanted) < 1e-3);
      }
    }
  }
}

TEST_CASE("logits with an int8 cache are near those with f16, and the same token by token") {
  for (const std::string& model : {tiny_model(), golden_gguf("gemma3")}) {
    INFO(model);
    const std::string tokens = "1,5,7,300,12,9,40,41,200,8,77";
    const Logits f16 = logits(model, tokens, {"--kv", "f16"});
    const Logits int8 = logits(model, tokens, {"--kv", "int8"});
    const double error = worst(int8.values, f16.values);
    CHECK(error > 1e-5);
    CHECK(error < 0.1 * worst(f16.values, std::vector<float>(f16.values.size())));
    CHECK(worst(logits(model, tokens, {"--kv", "int8", "--decode"}).values, int8.values) == 0);
  }
}

TEST_CASE("every golden model answers from every file it has") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TRITIUM_TEST_DATA "/golden")) {
    if (!std::filesystem::exists(entry.path() / "golden.json")) continue;
    const auto golden = nlohmann::json::parse(file_contents((entry.path() / "golden.json").string()));
    std::vector<std::string> models = {entry.path().string()};
    if (golden.at("no_gguf") == "") models.push_back((entry.path() / "model.gguf").string());
    for (const std::string& model : models) {
      INFO(model);
      const Logits found = logits(model, golden_tokens(golden, 4), {"--last"});
      CHECK(std::all_of(found.values.begin(), found.values.end(), [](float x) { return std::isfinite(x); }));
      ++files;
    }
  }
  CHECK(files >= 20);
}

TEST_CASE("encoder-decoders: --tokens for the encoder, --decoder-tokens for the decoder") {
  std::size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TRITIUM_TEST_DATA "/golden_pairs")) {
    const std::string folder = entry.path().string();
    INFO(folder);
    const auto golden = nlohmann::json::parse(file_contents(folder + "/golden.json"));
    const auto expected = value_of(tritium::read_npy<float>(folder + "/logits.npy"));
    std::string source;
    for (const auto& id : golden.at("source_ids"))
      source += (source.empty() ? "" : ",") + std::to_string(id.get<int>());
    const std::string decoder = golden_tokens(golden, golden.at("prompt").size() + golden.at("greedy").size() - 1);
    const Logits all = logits(folder, source, {"--decoder-tokens", decoder, "--exact"});
    const std::vector<std::size_t> rows = golden.at("rows");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t vocab = all.shape[1];
      const std::vector<float> wanted(expected.values.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                                      expected.values.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
      CHECK(worst(all.row(rows[i]), wanted) < 1e-3);
    }
    const Logits stepped = logits(folder, source, {"--decoder-tokens", decoder, "--exact", "--decode"});
    CHECK(worst(stepped.values, all.values) < 1e-3);
    const Logits last = logits(folder, source, {"--decoder-tokens", decoder, "--exact", "--last"});
    CHECK(last.shape == std::vector<std::size_t>{1, all.shape[1]});
    CHECK(worst(last.row(0), all.row(all.shape[0] - 1)) == 0);
    const TemporaryFolder out;
    CHECK(contains(full_error_of(call({"logits", folder, "--tokens", "1,2", "--out", out / "l.npy"}), 1),
                   "--decoder-tokens"));
    CHECK(contains(full_error_of(call({"run", folder, "-p", "a"}), 1), "encoder-decoder"));
    CHECK(contains(output_of({"inspect", folder}), "encoder-decoder"));
    ++n;
  }
  CHECK(n >= 3);
}

TEST_CASE("logits refuse ids and lengths that the model does not have") {
  const TemporaryFolder folder;
  const std::string out = folder / "l.npy";
  const auto error = [&](const std::string& tokens, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"logits", tiny_model(), "--tokens", tokens, "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string line = error_of(call(arguments), 1);
    CHECK(folder.entries().empty());
    return line;
  };
  CHECK(contains(error("1,331"), "331"));
  CHECK(contains(error("1,2,3,4", {"--ctx", "3"}), "at most 3"));
  std::string many = "1";
  for (int i = 0; i < 64; ++i) many += ",5";
  CHECK(contains(error(many), "at most 64"));
  CHECK(contains(error("1,2", {"--decoder-tokens", "3"}), "encoder"));
  write_file(folder / "ids.txt", "1 2 x");
  CHECK(contains(error_of(call({"logits", tiny_model(), "--tokens-file", folder / "ids.txt", "--out", out}), 1),
                 "id number 3"));
  write_file(folder / "ids.txt", " \n");
  CHECK(contains(error_of(call({"logits", tiny_model(), "--tokens-file", folder / "ids.txt", "--out", out}), 1),
                 "no tokens"));
}

TEST_CASE("perplexity by both rules, and against a saved run") {
  const TemporaryFolder folder;
  const std::string text = folder / "text.txt";
  write_file(text, file_contents(TRITIUM_TEST_DATA "/text/alice.txt").substr(0, 1500));
  const std::vector<std::string> base = {"perplexity", tiny_model(), "-f", text, "--ctx", "32", "-q"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return more;
  };
  const nlohmann::json window = json_of(with({"--json"}));
  for (const char* key : {"tokens", "nll", "ppl", "stderr", "kld", "top1"}) REQUIRE(window.contains(key));
  CHECK(window["kld"].is_null());
  CHECK(window["top1"].is_null());
  CHECK(window["tokens"].get<int>() > 100);
  const double nll = window["nll"];
  CHECK(std::fabs(std::exp(nll) - window["ppl"].get<double>()) < 1e-6 * window["ppl"].get<double>());
  CHECK(window["stderr"].get<double>() > 0);

  const nlohmann::json half = json_of(with({"--json", "--rule", "half"}));
  CHECK(half["tokens"].get<int>() % 15 == 0);  // ctx - 1 - ctx / 2 of each full window
  CHECK(half["tokens"] < window["tokens"]);
  CHECK(half["rule"] == "half");

  // nll from logits that the other command writes: the first window.
  const std::string saved = folder / "saved.npy";
  const nlohmann::json first = json_of(with({"--json", "--save-logits", saved}));
  CHECK(first["nll"] == window["nll"]);
  const auto rows = value_of(tritium::read_npy<float>(saved));
  const auto table = value_of(tritium::read_npy<std::int64_t>(saved + ".rows.npy"));
  REQUIRE(rows.shape.size() == 2);
  REQUIRE(rows.shape[0] == window["tokens"].get<std::size_t>());
  REQUIRE(table.values.size() == 4 * rows.shape[0]);
  double sum = 0;
  for (std::size_t r = 0; r < rows.shape[0]; ++r) {
    const float* x = rows.values.data() + r * 331;
    double most = -1e30;
    for (std::size_t i = 0; i < 331; ++i) most = std::max(most, static_cast<double>(x[i]));
    double mass = 0;
    for (std::size_t i = 0; i < 331; ++i) mass += std::exp(static_cast<double>(x[i]) - most);
    sum += most + std::log(mass) - static_cast<double>(x[table.values[4 * r + 3]]);
  }
  CHECK(std::fabs(sum / static_cast<double>(rows.shape[0]) - nll) < 1e-5);

  const nlohmann::json self = json_of(with({"--json", "--kl-from", saved}));
  CHECK(self["kld"].get<double>() == 0.0);
  CHECK(self["top1"].get<double>() == 1.0);
  CHECK(self["nll"] == window["nll"]);
  const nlohmann::json coarse = json_of(with({"--json", "--kl-from", saved, "--weights", "int4g32"}));
  CHECK(coarse["kld"].get<double>() > 0.0);
  CHECK(coarse["top1"].get<double>() < 1.0);

  const std::string lines = output_of(with({"--kl-from", saved}));
  for (const char* word : {"tokens", "nll", "perplexity", "divergence", "top-1"}) CHECK(contains(lines, word));
}

TEST_CASE("saved logits of another run are refused") {
  const TemporaryFolder folder;
  const std::string text = folder / "text.txt";
  const std::string saved = folder / "saved.npy";
  write_file(text, file_contents(TRITIUM_TEST_DATA "/text/alice.txt").substr(0, 600));
  (void)json_of({"perplexity", tiny_model(), "-f", text, "--ctx", "32", "-q", "--json", "--save-logits", saved});
  const auto against = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"perplexity", tiny_model(), "-f", text, "-q", "--kl-from", saved};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return call(arguments);
  };
  CHECK(contains(full_error_of(against({"--ctx", "32", "--rule", "half"}), 1), "saved logits are of another run"));
  CHECK(contains(full_error_of(against({"--ctx", "16"}), 1), "saved logits are of other tokens"));
  std::string other = file_contents(text);
  std::swap(other[100], other[101]);
  write_file(text, other);
  const Finished changed = against({"--ctx", "32"});
  if (changed.status == 1) error_of(changed, 1);  // the same number of tokens, or another one: an error either way
  CHECK(changed.status == 1);
  write_file(saved, "not an array");
  error_of(against({"--ctx", "32"}), 1);
}

TEST_CASE("texts that cannot be scored") {
  const TemporaryFolder folder;
  write_file(folder / "empty.txt", "");
  error_of(call({"perplexity", tiny_model(), "-f", folder / "empty.txt"}), 1);
  write_file(folder / "short.txt", "a");
  error_of(call({"perplexity", tiny_model(), "-f", folder / "short.txt", "--rule", "half", "--ctx", "32"}), 1);
  error_of(call({"perplexity", tiny_model(), "-f", folder / "none.txt"}), 1);
  error_of(call({"perplexity", tiny_model(), "-f", folder.path()}), 1);
}
