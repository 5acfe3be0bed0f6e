// SPDX-License-Identifier: Apache-2.0
// inspect: what a model file holds and what loading would make of it. Reads metadata and shapes, never the weights.
//
// A file that this build cannot run is described all the same, with the reason in its place.
#include <algorithm>
#include <map>

#include "commands.h"
#include "console.h"
#include "format_names.h"
#include "json_writer.h"
#include "loading.h"
#include "model_folder.h"
#include "text_side.h"
#include "tritium/model/plan.h"

namespace cli {

using tritium::Checkpoint;
using tritium::ModelPlan;
using tritium::ModelSpec;
using tritium::PlannedTensor;
using tritium::Result;
using tritium::TensorSource;
using tritium::Tokenizer;

namespace {

std::string_view activation_name(tritium::Activation activation) {
  switch (activation) {
    case tritium::Activation::none: return "none";
    case tritium::Activation::silu: return "silu";
    case tritium::Activation::gelu_tanh: return "gelu_tanh";
    case tritium::Activation::gelu_erf: return "gelu_erf";
    case tritium::Activation::relu2: return "relu2";
    default: return "other";
  }
}

std::string_view scaling_name(tritium::RopeScaling scaling) {
  switch (scaling) {
    case tritium::RopeScaling::none: return "none";
    case tritium::RopeScaling::linear: return "linear";
    case tritium::RopeScaling::dynamic_ntk: return "dynamic_ntk";
    case tritium::RopeScaling::qwen_ntk: return "qwen_ntk";
    case tritium::RopeScaling::llama3: return "llama3";
    case tritium::RopeScaling::yarn: return "yarn";
    case tritium::RopeScaling::longrope: return "longrope";
    case tritium::RopeScaling::divisors: return "divisors";
    case tritium::RopeScaling::proportional: return "proportional";
    default: return "other";
  }
}

std::string_view tokenizer_name(tritium::TokenizerKind kind) {
  switch (kind) {
    case tritium::TokenizerKind::byte_level_bpe: return "byte-level BPE";
    case tritium::TokenizerKind::merges_bpe: return "BPE with byte pieces";
    case tritium::TokenizerKind::score_bpe: return "SentencePiece BPE";
    case tritium::TokenizerKind::unigram: return "SentencePiece unigram";
  }
  return "";
}

/// A number of each layer: once when all layers agree, else the span.
template <class Get>
std::string over_layers(const ModelSpec& spec, Get&& get) {
  std::size_t least = get(spec.layers[0]);
  std::size_t most = least;
  for (const tritium::LayerSpec& l : spec.layers) {
    least = std::min(least, get(l));
    most = std::max(most, get(l));
  }
  return least == most ? std::to_string(least) : std::to_string(least) + ".." + std::to_string(most);
}

std::string shape_text(const TensorSource& t) {
  std::string text = "[";
  for (const std::size_t n : t.dims()) text.append(text.size() == 1 ? "" : ", ").append(std::to_string(n));
  return text + "]";
}

double bits_per_weight(std::size_t bytes, std::size_t elements) {
  return elements == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
}

/// Everything known about a model, each part with the reason when it is not.
struct Facts {
  std::string path;
  std::string architecture;
  std::optional<ModelPlan> plan;
  std::string unsupported;
  std::optional<Tokenizer> tokenizer;
  std::string no_tokenizer;
  std::optional<TemplateFacts> chat;
  std::string bad_template;
  std::size_t parameters = 0;
};

struct Sum {
  std::size_t tensors = 0, elements = 0, bytes = 0;
};

void write_spec(JsonWriter& json, const ModelSpec& spec) {
  const auto layers = [&](std::string_view name, auto&& get) {
    json.key(name);
    const std::string text = over_layers(spec, get);
    if (text.find('.') == std::string::npos) {
      json.value(get(spec.layers[0]));
      return;
    }
    json.begin_array();
    for (const tritium::LayerSpec& l : spec.layers) json.value(get(l));
    json.end_array();
  };
  json.key("hyper_parameters").begin_object().member("hidden", spec.hidden).member("layers", spec.n_layers());
  json.member("vocab", spec.vocab).member("context", spec.context);
  layers("heads", [](const tritium::LayerSpec& l) { return l.n_heads; });
  layers("kv_heads", [](const tritium::LayerSpec& l) { return l.n_kv_heads; });
  layers("head_dim", [](const tritium::LayerSpec& l) { return l.head_dim; });
  layers("ffn", [](const tritium::LayerSpec& l) { return l.ffn_dim; });
  layers("window", [](const tritium::LayerSpec& l) { return l.window; });
  const auto real = [&](std::string_view name, float value) { json.rounded(name, static_cast<double>(value), 7); };
  json.member("norm", spec.norm == tritium::NormKind::rms ? "rms" : "layer");
  real("norm_eps", spec.norm_eps);
  json.member("activation", activation_name(spec.activation)).member("gated_mlp", spec.gated_mlp);
  json.member("parallel_residual", spec.residual == tritium::Residual::parallel).member("tied_head", spec.tied_head);
  real("embedding_scale", spec.embedding_scale);
  real("attention_scale", spec.attention_scale);
  real("attention_cap", spec.attention_cap);
  real("logit_cap", spec.logit_cap);
  json.member("ternary", spec.ternary != tritium::TernaryScale::none);
  json.member("experts", spec.moe.n_experts).member("experts_per_token", spec.moe.top_k);
  json.key("rope").begin_array();
  for (const tritium::RopeSpec& rope : spec.ropes) {
    json.begin_object().member("base", rope.base).member("dims", rope.rotary_dim);
    json.member("scaling", scaling_name(rope.scaling)).member("factor", rope.factor).end_object();
  }
  json.end_array().end_object();
}

void write_token(JsonWriter& json, std::string_view name, const Tokenizer& tokenizer, std::int32_t id) {
  json.key(name);
  if (id == tritium::kNoToken) json.null();
  else json.begin_object().member("id", id).member("piece", tokenizer.spelling(id)).end_object();
}

void write_metadata(JsonWriter& json, const tritium::GgufFile& file) {
  json.key("metadata").begin_object();
  for (const tritium::GgufValue& value : file.values()) {
    json.key(value.key);
    using Kind = tritium::detail::GgufNumber::Kind;
    if (value.is_array) {
      json.begin_object().member("array_of", tritium::gguf_type_name(value.type));
      json.member("count", value.count).end_object();
    } else if (value.type == tritium::GgufType::string) {
      json.value(std::string_view(reinterpret_cast<const char*>(value.bytes.data()) + sizeof(std::uint64_t),
                                  value.bytes.size() - sizeof(std::uint64_t))
                     .substr(0, 65536));
    } else if (const auto number = tritium::detail::load_number(value.type, value.bytes.data());
               number.kind == Kind::boolean) {
      json.value(number.u != 0);
    } else if (number.kind == Kind::signed_integer) {
      json.value(number.i);
    } else if (number.kind == Kind::unsigned_integer) {
      json.value(number.u);
    } else if (value.type == tritium::GgufType::f32) {
      json.rounded(number.f, 9);
    } else {
      json.value(number.f);
    }
  }
  json.end_object();
}

/// The format of a tensor that the model uses; one that stays as it is stored has the name of its type.
std::string_view packed_name(const PlannedTensor& planned) {
  if (planned.looked_up) return tritium::info(planned.source->type).name;
  return planned.format ? tritium::info(*planned.format).name : "f32";
}

void write_tensor(JsonWriter& json, const PlannedTensor* planned, const TensorSource& t) {
  json.begin_object().member("name", t.name).member("type", tritium::info(t.type).name).key("shape").begin_array();
  for (const std::size_t n : t.dims()) json.value(n);
  json.end_array().member("bytes", t.bytes).rounded("bits_per_weight", bits_per_weight(t.bytes, t.elements()), 6);
  std::optional<std::string_view> role, packed;
  if (planned != nullptr && planned->role) role = tritium::role_name(*planned->role);
  if (planned != nullptr && planned->bytes + planned->mapped_bytes != 0) packed = packed_name(*planned);
  json.member("role", role).member("packed", packed);
  json.member("packed_bytes", planned == nullptr ? std::size_t{0} : planned->bytes);
  json.member("mapped_bytes", planned == nullptr ? std::size_t{0} : planned->mapped_bytes).end_object();
}

void print_json(const InspectOptions& options, const Checkpoint& checkpoint, const Facts& facts) {
  JsonWriter json;
  json.begin_object().member("path", facts.path).member("kind", checkpoint.gguf() != nullptr ? "gguf" : "safetensors");
  json.member("file_bytes", checkpoint.file_bytes()).member("architecture", facts.architecture);
  std::optional<std::string_view> family, reason, name;
  if (facts.plan) family = facts.plan->family->name, name = facts.plan->spec.name;
  else reason = facts.unsupported;
  json.member("family", family).member("supported", facts.plan.has_value()).member("reason", reason);
  json.member("name", name).member("parameters", facts.parameters);
  if (facts.plan) write_spec(json, facts.plan->spec);
  else json.key("hyper_parameters").null();
  json.key("tokenizer");
  if (facts.tokenizer) {
    const Tokenizer& t = *facts.tokenizer;
    json.begin_object().member("kind", tokenizer_name(t.kind())).member("tokens", t.size());
    json.member("adds_bos", t.adds_bos());
    write_token(json, "bos", t, t.bos());
    write_token(json, "eos", t, t.eos());
    write_token(json, "unk", t, t.unk());
    write_token(json, "pad", t, t.pad());
    json.key("end_tokens").begin_array();
    for (const std::int32_t id : t.end_tokens()) json.value(id);
    json.end_array().end_object();
  } else {
    json.null().member("tokenizer_error", facts.no_tokenizer);
  }
  json.key("chat_template");
  if (!facts.chat) json.null();
  else json.begin_object().member("bytes", facts.chat->bytes).member("digest", facts.chat->digest).end_object();
  if (!facts.bad_template.empty()) json.member("chat_template_error", facts.bad_template);
  json.member("tensor_count", checkpoint.tensors().size());
  json.member("packed_bytes", facts.plan ? facts.plan->packed_bytes : 0);
  json.member("mapped_bytes", facts.plan ? facts.plan->mapped_bytes : 0);
  if (checkpoint.gguf() != nullptr) write_metadata(json, *checkpoint.gguf());
  if (options.tensors) {
    json.key("tensors").begin_array();
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
      write_tensor(json, facts.plan ? &facts.plan->tensors[i] : nullptr, checkpoint.tensors()[i]);
    }
    json.end_array();
  }
  out().line(json.end_object().text());
}

void line(std::string_view name, const std::string& text) { out().line(left(name, 12) + text); }

/// Tensors of each type or format, a line each.
void print_sums(const std::map<std::string_view, Sum>& sums) {
  for (const auto& [name, sum] : sums) {
    line("", left(name, 14) + right(std::to_string(sum.tensors), 6) + right(human_bytes(sum.bytes), 10) +
                 right(fixed(bits_per_weight(sum.bytes, sum.elements), 3), 9) + " bits a weight");
  }
}

/// "2 <|im_end|>"
std::string token_text(const Tokenizer& tokenizer, std::int32_t id) {
  return std::to_string(id) + " " + tritium::printable(tokenizer.spelling(id));
}

void print_spec(const ModelSpec& spec) {
  const auto over = [&](std::size_t tritium::LayerSpec::* fact) {
    return over_layers(spec, [&](const tritium::LayerSpec& l) { return l.*fact; });
  };
  line("layers", std::to_string(spec.n_layers()) + ": hidden " + std::to_string(spec.hidden) + ", heads " +
                     over(&tritium::LayerSpec::n_heads) + "/" + over(&tritium::LayerSpec::n_kv_heads) + " of " +
                     over(&tritium::LayerSpec::head_dim) + ", ffn " + over(&tritium::LayerSpec::ffn_dim) + " " +
                     std::string(activation_name(spec.activation)) + (spec.gated_mlp ? " gated" : ""));
  if (spec.moe.n_experts != 0) {
    line("experts", std::to_string(spec.moe.n_experts) + ", " + std::to_string(spec.moe.top_k) + " a token, ffn " +
                        std::to_string(spec.moe.ffn_dim));
  }
  std::string context = std::to_string(spec.context);
  const std::string windows = over(&tritium::LayerSpec::window);
  if (windows != "0") context += ", windows " + windows;
  line("context", context);
  std::string ropes;
  for (const tritium::RopeSpec& rope : spec.ropes) {
    ropes +=
        (ropes.empty() ? "base " : "; base ") + fixed(rope.base, 0) + ", " + std::to_string(rope.rotary_dim) + " dims";
    if (rope.scaling == tritium::RopeScaling::none) continue;
    ropes += ", " + std::string(scaling_name(rope.scaling)) + " " + fixed(rope.factor, 2);
  }
  line("rope", ropes);
  char eps[32];
  (void)std::snprintf(eps, sizeof(eps), "%g", static_cast<double>(spec.norm_eps));
  line("norm", std::string(spec.norm == tritium::NormKind::rms ? "rms" : "layer") + ", eps " + eps);
  line("head",
       std::to_string(spec.vocab) + " tokens, " + (spec.tied_head ? "tied to the embedding" : "a matrix of its own"));
}

void print_text(const InspectOptions& options, const Checkpoint& checkpoint, const Facts& facts) {
  const tritium::GgufFile* gguf = checkpoint.gguf();
  line("file", tritium::printable_path(facts.path) + ", " +
                   (gguf != nullptr ? "GGUF version " + std::to_string(gguf->version()) : std::string("safetensors")) +
                   ", " + human_bytes(checkpoint.file_bytes()));
  const std::string architecture = facts.architecture.empty() ? "none" : tritium::printable(facts.architecture);
  if (facts.plan) {
    if (!facts.plan->spec.name.empty()) line("model", tritium::printable(facts.plan->spec.name));
    line("family", std::string(facts.plan->family->name) + " (architecture " + architecture + ")");
    print_spec(facts.plan->spec);
  } else {
    line("family", "not supported (architecture " + architecture + ")");
    line("reason", facts.unsupported);
  }
  if (facts.tokenizer) {
    const Tokenizer& t = *facts.tokenizer;
    std::string text = std::string(tokenizer_name(t.kind())) + ", " + std::to_string(t.size()) + " tokens";
    for (const auto& [name, id] :
         {std::pair("bos", t.bos()), std::pair("eos", t.eos()), std::pair("unk", t.unk()), std::pair("pad", t.pad())}) {
      if (id != tritium::kNoToken) text.append(", ").append(name).append(" ").append(token_text(t, id));
    }
    line("tokenizer", text + (t.adds_bos() ? ", adds bos" : ""));
    std::string ends;
    for (const std::int32_t id : t.end_tokens()) ends.append(ends.empty() ? "" : ", ").append(token_text(t, id));
    line("ends", ends.empty() ? "no token" : ends);
  } else {
    line("tokenizer", "none that can be used: " + facts.no_tokenizer);
  }
  if (facts.chat) line("template", std::to_string(facts.chat->bytes) + " bytes, digest " + facts.chat->digest);
  else line("template", facts.bad_template.empty() ? "none" : "cannot be used: " + facts.bad_template);
  std::map<std::string_view, Sum> stored;
  for (const TensorSource& t : checkpoint.tensors()) {
    Sum& sum = stored[tritium::info(t.type).name];
    ++sum.tensors;
    sum.elements += t.elements();
    sum.bytes += t.bytes;
  }
  line("tensors", std::to_string(checkpoint.tensors().size()) + ", " + std::to_string(facts.parameters) + " numbers");
  print_sums(stored);
  if (facts.plan && !checkpoint.tensors().empty()) {
    std::map<std::string_view, Sum> packed;
    for (const PlannedTensor& t : facts.plan->tensors) {
      if (!t.format) continue;
      Sum& sum = packed[tritium::info(*t.format).name];
      ++sum.tensors;
      sum.elements += t.source->elements();
      sum.bytes += t.bytes;
    }
    line("packed to", human_bytes(facts.plan->packed_bytes));
    print_sums(packed);
    if (facts.plan->mapped_bytes != 0)
      line("mapped", human_bytes(facts.plan->mapped_bytes) + " that tokens look up stay in the file");
  }
  if (!options.tensors) return;
  std::size_t width = 6;
  for (const TensorSource& t : checkpoint.tensors()) width = std::max(width, tritium::printable(t.name).size());
  out().line("");
  out().line(left("tensor", width + 2) + left("shape", 22) + left("type", 8) + right("bits", 7) + right("bytes", 13) +
             "  packed to");
  for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const TensorSource& t = checkpoint.tensors()[i];
    std::string packed = "-";
    if (facts.plan) {
      const PlannedTensor& planned = facts.plan->tensors[i];
      packed = !planned.role               ? "not used"
               : planned.mapped_bytes != 0 ? "stays in the file"
               : planned.bytes != 0        ? std::string(packed_name(planned))
                                           : "-";
    }
    out().line(left(tritium::printable(t.name), width + 2) + left(shape_text(t), 22) +
               left(tritium::info(t.type).name, 8) + right(fixed(bits_per_weight(t.bytes, t.elements()), 3), 7) +
               right(std::to_string(t.bytes), 13) + "  " + packed);
  }
}

std::string architecture_of(const Checkpoint& checkpoint) {
  if (const tritium::GgufFile* gguf = checkpoint.gguf(); gguf != nullptr) {
    const auto name = gguf->get_or<std::string_view>("general.architecture", {});
    return name.ok() ? std::string(*name) : "";
  }
  const auto config = tritium::JsonObject::of(*checkpoint.config(), "config.json");
  if (!config.ok()) return "";
  const auto names = config->get_array<std::string_view>("architectures");
  return names.ok() && !names->empty() ? std::string((*names)[0]) : "";
}

}  // namespace

Result<int> inspect(const InspectOptions& options) {
  const tritium::LoadOptions load = load_options(options.common);
  Facts facts;
  TRITIUM_ASSIGN(facts.path, resolve_model(options.model));
  TRITIUM_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(facts.path));
  facts.architecture = architecture_of(checkpoint);
  if (const auto family = encoder_decoder_family(checkpoint)) {
    facts.unsupported = "an encoder-decoder of family " + *family + ": logits runs it, with --decoder-tokens";
  } else if (auto plan = tritium::plan_model(checkpoint, load); plan.ok()) {
    facts.plan = *std::move(plan);
  } else {
    facts.unsupported = plan.error().message;
  }
  if (auto tokenizer = open_tokenizer(checkpoint); tokenizer.ok()) facts.tokenizer = *std::move(tokenizer);
  else facts.no_tokenizer = tokenizer.error().message;
  if (auto chat = template_facts(checkpoint); chat.ok()) facts.chat = *std::move(chat);
  else facts.bad_template = chat.error().message;
  for (const TensorSource& t : checkpoint.tensors()) facts.parameters += t.elements();
  if (options.json) print_json(options, checkpoint, facts);
  else print_text(options, checkpoint, facts);
  return kDone;
}

}  // namespace cli
