// SPDX-License-Identifier: Apache-2.0
#include "format_names.h"

#include <algorithm>
#include <vector>

#include "commands.h"
#include "console.h"
#include "json_writer.h"
#include "tritium/format/pack.h"
#include "tritium/ops/isa.h"

namespace cli {

using tritium::find_pack_format;
using tritium::find_tensor_type;
using tritium::PackFormat;
using tritium::PackFormatInfo;
using tritium::TensorType;

namespace {

/// Types that quantize writes and other engines read.
constexpr TensorType kFileTypes[] = {
    TensorType::f32,  TensorType::f16,    TensorType::bf16,   TensorType::q8_0,  TensorType::q4_0,  TensorType::q4_1,
    TensorType::q5_0, TensorType::q5_1,   TensorType::q2_k,   TensorType::q3_k,  TensorType::q4_k,  TensorType::q5_k,
    TensorType::q6_k, TensorType::iq4_nl, TensorType::iq4_xs, TensorType::tq1_0, TensorType::tq2_0, TensorType::mxfp4,
};

/// What people call them besides.
struct Alias {
  std::string_view name;
  std::string_view type;
};
constexpr Alias kFileAliases[] = {{"int8", "q8_0"},      {"int4", "q4_0"},        {"ternary", "tq2_0"},
                                  {"ternary2", "tq2_0"}, {"ternary1.6", "tq1_0"}, {"fp16", "f16"},
                                  {"fp32", "f32"}};

/// Lower case, and without the suffixes of llama.cpp's mixes: q4_k_m is q4_k.
std::string normal(std::string_view name) {
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (text.size() > 5 && text[0] == 'q' &&
      (text.ends_with("_k_s") || text.ends_with("_k_m") || text.ends_with("_k_l"))) {
    text.resize(text.size() - 2);
  }
  return text;
}

std::string known_names() {
  std::string names;
  for (const PackFormatInfo& f : tritium::kPackFormats) names.append(names.empty() ? "" : ", ").append(f.name);
  return names;
}

}  // namespace

std::optional<TensorType> gguf_twin(PackFormat format) {
  for (const TensorType type : kFileTypes) {
    if (type != TensorType::tq1_0 && type != TensorType::mxfp4 && tritium::keep_format(type) == format) return type;
  }
  return std::nullopt;
}

std::optional<PackFormat> pack_format(std::string_view option, std::string_view name) {
  if (name == "keep") return std::nullopt;
  const std::string text = normal(name);
  if (const PackFormatInfo* f = find_pack_format(text); f != nullptr) return f->format;
  if (text == "i2_s" || text == "tq2_0" || text == "ternary") return PackFormat::ternary2;
  if (text == "tq1_0") return PackFormat::ternary5;
  if (text == "fp16") return PackFormat::f16;
  if (text == "fp32") return PackFormat::f32;
  const tritium::TensorTypeInfo* t = find_tensor_type(text);
  if (t != nullptr && std::find(std::begin(kFileTypes), std::end(kFileTypes), t->type) != std::end(kFileTypes)) {
    return tritium::keep_format(t->type);
  }
  wrong_usage(option, "keep, " + known_names() + " or the name of a GGUF type", name.empty() ? "nothing" : name);
}

TensorType file_type(std::string_view option, std::string_view name) {
  std::string text = normal(name);
  for (const Alias& alias : kFileAliases) {
    if (text == alias.name) text = alias.type;
  }
  if (const PackFormatInfo* f = find_pack_format(text); f != nullptr) {
    if (const auto twin = gguf_twin(f->format)) return *twin;
  }
  const tritium::TensorTypeInfo* t = find_tensor_type(text);
  if (t != nullptr && std::find(std::begin(kFileTypes), std::end(kFileTypes), t->type) != std::end(kFileTypes)) {
    return t->type;
  }
  std::string names;
  for (const TensorType type : kFileTypes) names.append(names.empty() ? "" : ", ").append(tritium::info(type).name);
  wrong_usage(option, "one of " + names, name.empty() ? "nothing" : name);
}

tritium::Result<int> formats(const ListOptions& options) {
  JsonWriter json;
  json.begin_array();
  if (!options.json) {
    out().line(
        "Packed formats, for --weights and --head. Bits a weight include scales; a group of \"row\" is one scale a "
        "row.\n");
    out().line(left("format", 14) + left("bits", 8) + left("group", 7) + left("activations", 13) +
               left("GGUF type", 11) + left("kernel", 28) + "tiers");
  }
  for (const PackFormatInfo& f : tritium::kPackFormats) {
    const auto index = static_cast<std::size_t>(f.format);
    std::vector<std::string_view> tiers;
    for (const tritium::TierInfo& tier : tritium::kTiers) {
      const tritium::KernelTable* table = tritium::kernel_table(tier.tier);
      if (table != nullptr && table->matmul[index] != nullptr) tiers.push_back(tier.name);
    }
    std::optional<std::string_view> twin;
    if (const auto type = gguf_twin(f.format)) twin = tritium::info(*type).name;
    const std::string group = f.is_float ? "-" : f.group == 0 ? "row" : std::to_string(f.group);
    const std::string activations = f.is_float                  ? "f32"
                                    : f.activation_group() == 0 ? "int8 a row"
                                                                : "int8 by " + std::to_string(f.activation_group());
    const std::string kernel = "matmul_" + std::string(f.name) + (f.is_float ? "_f32_f32" : "_q8_f32");
    if (options.json) {
      json.begin_object().member("name", f.name).rounded("bits_per_weight", f.bits_per_weight(), 6);
      json.member("group", f.is_float ? std::nullopt : std::optional(f.group)).member("activations", activations);
      json.member("gguf_type", twin).member("kernel", kernel).key("tiers").begin_array();
      for (const std::string_view tier : tiers) json.value(tier);
      json.end_array().end_object();
      continue;
    }
    std::string names;
    for (const std::string_view tier : tiers) names.append(names.empty() ? "" : " ").append(tier);
    out().line(left(f.name, 14) + left(fixed(f.bits_per_weight(), 3), 8) + left(group, 7) + left(activations, 13) +
               left(twin.value_or("-"), 11) + left(kernel, 28) + names);
  }
  if (options.json) {
    out().line(json.end_array().text());
    return kDone;
  }
  std::string names;
  for (const TensorType type : kFileTypes) {
    const tritium::TensorTypeInfo& t = tritium::info(type);
    names.append(names.empty() ? "" : ", ")
        .append(t.name)
        .append(" ")
        .append(fixed(t.block_bytes * 8.0 / t.block_length, 4));
  }
  out().line("\nTypes that quantize writes, with their bits a weight: " + names + ".");
  out().line("The names above mean their GGUF type there; int8 is q8_0, int4 is q4_0, ternary is tq2_0.");
  return kDone;
}

}  // namespace cli
