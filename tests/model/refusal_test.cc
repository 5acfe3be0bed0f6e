// SPDX-License-Identifier: Apache-2.0
// Every fact of a file that changes what a model computes is computed, or refused with the key's name: never left out.

#include <array>
#include <functional>
#include <set>

#include "support/golden_models.h"
#include "tritium/io/json.h"
#include "tritium/model/families.h"

using namespace tritium;

namespace {

/// What the family of a GGUF architecture makes of a file's metadata.
Result<ModelSpec> gguf_spec(std::string_view architecture, const GgufFile& file) {
  const Family* family = nullptr;
  for (const Family* known : kFamilies) {
    for (const std::string_view name : known->gguf_architectures) family = name == architecture ? known : family;
  }
  REQUIRE(family != nullptr);
  return family->from_gguf(file);
}

/// A golden folder with another config.json: `edits` replaces keys, null removes them.
class EditedFolder {
 public:
  EditedFolder(const std::string& row, const Json& edits) {
    for (const auto& entry : std::filesystem::directory_iterator(row)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".safetensors") || name.ends_with(".index.json"))
        std::filesystem::copy(entry.path(), folder_ / name);
    }
    Json config = value_of(read_json_file(row + "/config.json", {}));
    for (const auto& [key, value] : edits.items()) {
      Json& target = config.contains("text_config") ? config["text_config"] : config;
      if (value.is_null()) target.erase(key);
      else target[key] = value;
    }
    write_file(folder_ / "config.json", config.dump());
  }
  [[nodiscard]] Result<std::unique_ptr<Model>> load() const {
    const Checkpoint checkpoint = open_checkpoint(folder_.path());
    return try_load(checkpoint);
  }

 private:
  TemporaryFolder folder_;
};

struct Refusal {
  const char* row;
  const char* edits;
  const char* named;  ///< what the message must name
};

const Refusal kRefusals[] = {
    {"llama", R"({"hidden_act": "gelu"})", "hidden_act"},
    {"llama", R"({"rope_scaling": {"rope_type": "newest", "factor": 2.0}})", "rope_type"},
    {"llama", R"({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale_all_dim": 0.7}})", "mscale_all_dim"},
    {"llama", R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
    {"llama", R"({"is_causal": false})", "is_causal"},
    {"llama", R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})", "quant_method"},
    {"llama", R"({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": true}})", "use_rms_norm"},
    {"llama", R"({"quantization_config": {"quant_method": "bitnet", "linear_class": "another"}})", "linear_class"},
    {"llama",
     R"({"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "both"}})",
     "quantization_mode"},
    {"llama",
     R"({"quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head", "model.layers.0.mlp"]}})",
     "modules_to_not_convert"},
    {"llama", R"({"architectures": ["LlamaForSequenceClassification"]})", "LlamaForSequenceClassification"},
    {"llama", R"({"num_hidden_layers": 1})", "model.layers.1"},
    {"llama", R"({"head_dim": 16})", "expected [32"},
    {"qwen2",
     R"({"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}})",
     "quantization_config"},
    {"qwen3", R"({"hidden_act": "relu"})", "hidden_act"},
    {"qwen3", R"({"layer_types": ["sliding_attention", "full_attention"]})", "layer_types"},
    {"qwen3", R"({"layer_types": ["linear_attention", "full_attention"]})", "layer_types"},
    {"qwen3-moe", R"({"num_experts_per_tok": 7})", "num_experts_per_tok"},
    {"qwen2-moe", R"({"hidden_act": "gelu"})", "hidden_act"},
    {"phimoe", R"({"num_experts_per_tok": 3})", "num_experts_per_tok"},
    {"phimoe", R"({"rope_scaling": {"rope_type": "linear", "factor": 2.0}})", "rope_type"},
    {"phi", R"({"qk_layernorm": true})", "qk_layernorm"},
    {"phi", R"({"hidden_act": "gelu"})", "hidden_act"},
    {"phi3", R"({"hidden_act": "gelu"})", "hidden_act"},
    {"phi3-long", R"({"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}})",
     "short_factor"},
    {"qwen", R"({"no_bias": false})", "no_bias"},
    {"qwen", R"({"rotary_pct": 0.5})", "rotary_pct"},
    {"qwen", R"({"intermediate_size": 111})", "intermediate_size"},
    {"qwen3-next", R"({"attn_output_gate": false})", "attn_output_gate"},
    {"qwen3-next", R"({"linear_num_value_heads": 3})", "value heads"},
    {"qwen3-5", R"({"linear_conv_kernel_dim": 9})", "linear_conv_kernel_dim"},
    {"smollm3", R"({"no_rope_layers": [1, 1]})", "no_rope_layers"},
    {"gemma", R"({"hidden_activation": "gelu"})", "hidden_activation"},
    {"gemma", R"({"use_bidirectional_attention": true})", "use_bidirectional_attention"},
    {"gemma2", R"({"hidden_activation": "silu"})", "hidden_activation"},
    {"gemma3", R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping"},
    {"gemma3", R"({"use_bidirectional_attention": true})", "use_bidirectional_attention"},
    {"gemma3-scaled", R"({"hidden_activation": "relu"})", "hidden_activation"},
    {"gemma3n", R"({"altup_active_idx": 1})", "altup_active_idx"},
    {"gemma3n", R"({"altup_correct_scale": false})", "altup_correct_scale"},
    {"gemma3n", R"({"activation_sparsity_pattern": [0.5]})", "activation_sparsity_pattern"},
    {"gemma3n", R"({"num_kv_shared_layers": 5})", "num_kv_shared_layers"},
    {"gemma4", R"({"enable_moe_block": true, "num_experts": null})", "num_experts"},
    {"gemma4-moe", R"({"enable_moe_block": 2})", "enable_moe_block"},
    {"gemma4-moe", R"({"num_experts": 0})", "num_experts"},
    {"gemma4-moe", R"({"top_k_experts": 7})", "top_k_experts"},
    {"gemma4-moe", R"({"moe_intermediate_size": null})", "moe_intermediate_size"},
    {"gemma4-moe", R"({"enable_moe_block": false})", "does not use"},
    {"gemma4", R"({"use_bidirectional_attention": "all"})", "use_bidirectional_attention"},
    {"gemma4", R"({"attention_bias": true})", "attention_bias"},
    {"gemma4", R"({"per_layer_config": {"1": {"head_dim": 32}, "3": {"head_dim": 32, "num_key_value_heads": 1}}})",
     "expected 2 KV heads on layer 3, as on layer 1, found 1"},
    {"llama-yarn",
     R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1.0}})",
     "a base above 1 with yarn"},
    {"llama-yarn",  // the factor is computed from the lengths
     R"({"rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 1000000, "rope_theta": 10000.0}})",
     "key \"factor\": expected 0.001"},
    {"phi3-long", R"({"original_max_position_embeddings": 1})", "key \"attention_factor\": expected 0.001"},
    {"qwen", R"({"seq_length": 1})", "key \"seq_length\": expected 2"},
    {"bitnet", R"({"hidden_act": "gelu"})", "hidden_act"},
};

}  // namespace

TEST_CASE("facts of config.json that a graph does not compute are refused by name", "[refusal]") {
  for (const Refusal& refusal : kRefusals) {
    INFO(refusal.row << " with " << refusal.edits);
    const EditedFolder folder(std::string(TRITIUM_TEST_DATA "/golden/") + refusal.row, Json::parse(refusal.edits));
    const Error error = error_of(folder.load());
    INFO(error.message);
    CHECK((error.code == Errc::unsupported || error.code == Errc::invalid_file));
    CHECK(contains(error.message, refusal.named));
    CHECK(is_one_printable_line(error.message));
  }
}

TEST_CASE("an unchanged copy of a golden folder loads", "[refusal]") {  // the refusals are the edits' doing
  std::set<std::string> rows;
  for (const Refusal& refusal : kRefusals) rows.insert(refusal.row);
  for (const std::string& row : rows) {
    INFO(row);
    const EditedFolder folder(TRITIUM_TEST_DATA "/golden/" + row, Json::object());
    value_of(folder.load());
  }
}

TEST_CASE("a base that grows with the length carries a model past its max_position_embeddings", "[refusal]") {
  const EditedFolder folder(TRITIUM_TEST_DATA "/golden/llama",
                            Json::parse(R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})"));
  const auto model = value_of(folder.load());
  CHECK(model->spec.context == 128);
  const auto decoder = make_decoder(*model, KvType::f32);
  std::vector<std::int32_t> tokens(100);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(3 + 7 * i % 300);
  std::vector<float> within(model->spec.vocab), grown(model->spec.vocab);
  require_ok(decoder->forward(std::span(tokens).first(20), Decoder::Logits::last, within.data()));
  REQUIRE(decoder->rewind(0));
  REQUIRE(value_of(decoder->prepare(tokens.size())));  // the same tokens, of a longer sequence: another base
  require_ok(decoder->forward(std::span(tokens).first(20), Decoder::Logits::last, grown.data()));
  CHECK(within != grown);
  require_ok(decoder->forward(std::span(tokens).subspan(20), Decoder::Logits::last, grown.data()));
}

TEST_CASE("facts of GGUF metadata that a graph does not compute are refused by name", "[refusal]") {
  struct Extra {
    const char* architecture;
    const char* key;
    double value;
  };
  const Extra extras[] = {
      {"llama", "llama.expert_count", 8},
      {"llama", "llama.final_logit_softcapping", 30},
      {"llama", "llama.attn_logit_softcapping", 50},
      {"llama", "llama.logit_scale", 0.5},
      {"llama", "llama.residual_scale", 0.5},
      {"llama", "llama.embedding_scale", 12},
      {"llama", "llama.attention.scale", 0.1},
      {"qwen2", "qwen2.attention.sliding_window", 16},
      {"qwen3", "qwen3.attention.sliding_window", 16},
      {"qwen3", "qwen3.expert_count", 4},
      {"smollm3", "smollm3.attention.sliding_window", 16},
      {"phi2", "phi2.final_logit_softcapping", 30},
      {"gemma", "gemma.attention.sliding_window", 16},
      {"gemma3", "gemma3.attn_logit_softcapping", 50},
      {"gemma4", "gemma4.attn_logit_softcapping", 50},
      {"bitnet-b1.58", "bitnet-b1.58.logit_scale", 2},
  };
  TemporaryFolder folder;
  for (const Extra& extra : extras) {
    for (const bool with : {false, true}) {
      INFO(extra.key << (with ? " is there" : " is not"));
      GgufWriter writer;
      const std::string a = std::string(extra.architecture) + ".";
      require_ok(writer.set("general.architecture", std::string_view(extra.architecture)));
      for (const auto& [key, value] :
           std::initializer_list<std::pair<const char*, std::uint32_t>>{{"block_count", 2},
                                                                        {"embedding_length", 64},
                                                                        {"context_length", 64},
                                                                        {"feed_forward_length", 64},
                                                                        {"attention.head_count", 4}}) {
        require_ok(writer.set(a + key, value));
      }
      require_ok(writer.set(a + "attention.layer_norm_rms_epsilon", 1e-6f));
      if (a == "gemma3." || a == "gemma4.") require_ok(writer.set(a + "attention.sliding_window", std::uint32_t{8}));
      if (with && extra.value == static_cast<double>(static_cast<std::uint32_t>(extra.value)))
        require_ok(writer.set(extra.key, static_cast<std::uint32_t>(extra.value)));
      else if (with) require_ok(writer.set(extra.key, static_cast<float>(extra.value)));
      const std::string path = folder / "facts.gguf";
      require_ok(writer.begin(path));
      require_ok(writer.finish());
      const GgufFile file = value_of(GgufFile::open(path));
      const Result<ModelSpec> spec = gguf_spec(extra.architecture, file);
      if (!with) {
        value_of(spec);
        continue;
      }
      const Error error = error_of(spec);
      CHECK(error.code == Errc::unsupported);
      CHECK(contains(error.message, extra.key));
    }
  }
}

TEST_CASE("GGUF metadata that contradicts itself is refused", "[refusal]") {
  struct Case {
    const char* architecture;
    const char* named;
    std::function<Status(GgufWriter&)> contradict;
    std::function<Status(GgufWriter&)> agree;
  };
  const auto heads = [](std::array<std::uint32_t, 4> kv, std::string architecture) {
    return [=](GgufWriter& w) -> Status {
      const bool local[] = {true, false, true, false};
      TRITIUM_TRY(w.set_array<std::uint32_t>(architecture + ".attention.head_count_kv", kv));
      TRITIUM_TRY(w.set_array<bool>(architecture + ".attention.sliding_window_pattern", local));
      return w.set(architecture + ".attention.shared_kv_layers", std::uint32_t{2});
    };
  };
  const auto yarn = [](float base) {
    return [=](GgufWriter& w) -> Status {
      TRITIUM_TRY(w.set("llama.rope.scaling.type", std::string_view("yarn")));
      TRITIUM_TRY(w.set("llama.rope.scaling.factor", 4.0f));
      return w.set("llama.rope.freq_base", base);
    };
  };
  const auto longrope = [](std::uint32_t original) {
    return [=](GgufWriter& w) -> Status {
      const std::uint64_t dims[] = {8};
      TRITIUM_TRY(w.set("phi3.rope.scaling.original_context_length", original));
      return w.add_tensor("rope_factors_long.weight", TensorType::f32, dims);
    };
  };
  const Case cases[] = {
      {"gemma4", "2 KV heads on layer 3, as on layer 1", heads({2, 2, 2, 1}, "gemma4"), heads({2, 1, 2, 1}, "gemma4")},
      {"llama", "a base above 1 with yarn", yarn(1.0f), yarn(2.0f)},
      {"phi3", "an original context above 1", longrope(1), longrope(2)},
  };
  TemporaryFolder folder;
  for (const Case& c : cases) {
    for (const bool contradicts : {false, true}) {
      INFO(c.architecture << (contradicts ? " contradicts itself" : ""));
      GgufWriter writer;
      const std::string a = std::string(c.architecture) + ".";
      require_ok(writer.set("general.architecture", std::string_view(c.architecture)));
      for (const auto& [key, value] :
           std::initializer_list<std::pair<const char*, std::uint32_t>>{{"block_count", 4},
                                                                        {"embedding_length", 64},
                                                                        {"context_length", 64},
                                                                        {"feed_forward_length", 64},
                                                                        {"attention.sliding_window", 64},
                                                                        {"attention.head_count", 4}}) {
        require_ok(writer.set(a + key, value));
      }
      require_ok(writer.set(a + "attention.layer_norm_rms_epsilon", 1e-6f));
      require_ok((contradicts ? c.contradict : c.agree)(writer));
      const std::string path = folder / "facts.gguf";
      require_ok(writer.begin(path));
      const std::array<float, 8> factors = {1, 1, 1, 1, 1, 1, 1, 1};
      if (std::string_view(c.architecture) == "phi3")
        require_ok(writer.append("rope_factors_long.weight", std::as_bytes(std::span(factors))));
      require_ok(writer.finish());
      const GgufFile file = value_of(GgufFile::open(path));
      const Result<ModelSpec> spec = gguf_spec(c.architecture, file);
      if (!contradicts) {
        value_of(spec);
        continue;
      }
      const Error error = error_of(spec);
      CHECK(error.code == Errc::invalid_file);
      CHECK(contains(error.message, c.named));
      CHECK(is_one_printable_line(error.message));
    }
  }
}

TEST_CASE("tensors that the graph does not use, or that are missing, are refused by name", "[refusal]") {
  TemporaryFolder folder;
  std::filesystem::copy(TRITIUM_TEST_DATA "/golden/qwen2/model.safetensors", folder / "model.safetensors");
  Json config = value_of(read_json_file(TRITIUM_TEST_DATA "/golden/qwen2/config.json", {}));
  config["architectures"] = {"GemmaForCausalLM"};
  config["hidden_activation"] = "gelu_pytorch_tanh";
  config["head_dim"] = 16;
  write_file(folder / "config.json", config.dump());
  const Error error = error_of(try_load(open_checkpoint(folder.path())));
  CHECK(error.code == Errc::unsupported);
  CHECK(contains(error.message, "_proj.bias"));
  config["architectures"] = {"Qwen3ForCausalLM"};
  write_file(folder / "config.json", config.dump());
  CHECK(contains(error_of(try_load(open_checkpoint(folder.path()))).message, "q_norm"));
}

TEST_CASE("a GGUF of a BitNet architecture whose floats are not ternary is refused", "[refusal]") {
  const std::string path = TRITIUM_TEST_DATA "/golden/bitnet/model.gguf";
  std::string bytes = file_contents(path);
  const GgufFile file = value_of(GgufFile::open(path));
  const GgufTensor* tensor = file.find_tensor("blk.1.ffn_up.weight");
  REQUIRE(tensor != nullptr);
  REQUIRE(tensor->type == TensorType::f16);
  const std::string needle(reinterpret_cast<const char*>(tensor->data.data()), 64);
  const std::size_t where = bytes.find(needle);
  REQUIRE(where != std::string::npos);
  bytes[where] = 0x11;  // one weight a little off
  bytes[where + 1] = 0x2A;
  TemporaryFolder folder;
  write_file(folder / "model.gguf", bytes);
  const Error error = error_of(try_load(open_checkpoint(folder / "model.gguf")));
  CHECK(error.code == Errc::unsupported);
  CHECK(contains(error.message, "blk.1.ffn_up.weight"));
}

TEST_CASE("encoder-decoders refuse what they do not compute", "[refusal]") {
  for (const Refusal& refusal :
       std::initializer_list<Refusal>{{"mu", R"({"rope_factor": 4.0})", "rope_factor"},
                                      {"mu", R"({"norm": "layer"})", "norm"},
                                      {"mu", R"({"tie_word_embeddings": false})", "tie_word_embeddings"},
                                      {"mu-dual", R"({"dual_norm": false})", "post_ln"},
                                      {"mu", R"({"dual_norm": true})", "post_ln"},
                                      {"mu", R"({"qkv_embd": 24588})", "an even width, at most 4096, for each of 6 heads"}}) {
    INFO(refusal.row << " with " << refusal.edits);
    TemporaryFolder folder;
    const std::string row = std::string(TRITIUM_TEST_DATA "/golden_pairs/") + refusal.row;
    std::filesystem::copy(row + "/model.safetensors", folder / "model.safetensors");
    Json config = value_of(read_json_file(row + "/config.json", {}));
    config.update(Json::parse(refusal.edits));
    write_file(folder / "config.json", config.dump());
    const Error error = error_of(try_load_pair(open_checkpoint(folder.path())));
    INFO(error.message);
    CHECK(contains(error.message, refusal.named));
  }
}
