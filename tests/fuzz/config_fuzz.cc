// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a config.json, read by the family that it names. A spec that comes out of it must keep what
// the graph relies on: sizes that divide, indices that exist, numbers that are finite.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tritium/model/families.h"
#include "tritium/model/families/mu.h"
#include "tritium/model/families/t5gemma.h"
#include "tritium/model/kv_cache.h"
#include "tritium/model/rope.h"

namespace {

using namespace tritium;

void require(bool condition) {
  if (!condition) std::abort();
}
void require_one_line(const Error& error) {
  require(!error.message.empty() && error.message.find_first_of("\r\n") == std::string::npos);
}
bool within(std::size_t x, std::size_t least, std::size_t most) { return x >= least && x <= most; }
bool positive(double x) { return std::isfinite(x) && x > 0.0; }

void check_rope(const RopeSpec& rope, std::size_t context) {
  require(rope.rotary_dim % 2 == 0 && rope.rotary_dim <= kMaxHeadDim);
  require(positive(rope.base) && positive(rope.factor) && positive(rope.magnitude));
  require(std::isfinite(rope.long_magnitude) && rope.long_magnitude >= 0.0);
  require(rope.rotated_pairs <= rope.rotary_dim / 2);
  if (rope.depends_on_length()) require(rope.original_context >= 1);
  const std::size_t half = rope.rotary_dim / 2;
  if (half > 64) return;  // tables of wide heads take their time
  std::vector<float> row(2 * half);
  for (const std::size_t length : {std::size_t{1}, context}) {
    auto table = make_rope_table(rope, length);
    require(table.ok());
    table->fill(length - 1, row.data(), row.data() + half);
    for (const float x : row) require(std::isfinite(x));
  }
}

void check_layer(const ModelSpec& spec, std::size_t i) {
  const LayerSpec& l = spec.layers[i];
  require(within(l.n_heads, 1, kMaxHeads) && within(l.n_kv_heads, 1, kMaxHeads) && l.n_heads % l.n_kv_heads == 0);
  require(within(l.head_dim, 1, kMaxHeadDim) && within(l.ffn_dim, 1, 2 * kMaxWidth) && l.window <= kMaxContext);
  require(std::isfinite(l.sparsity));
  require(l.rope >= -1 && l.rope < static_cast<int>(spec.ropes.size()));
  if (l.rope >= 0) require(spec.ropes[static_cast<std::size_t>(l.rope)].rotary_dim <= l.head_dim);
  if (l.kv_source < 0) return;
  require(static_cast<std::size_t>(l.kv_source) < i && l.mixer == Mixer::attention);
  const LayerSpec& source = spec.layers[static_cast<std::size_t>(l.kv_source)];
  require(source.kv_source < 0 && source.mixer == Mixer::attention);
  require(source.n_kv_heads == l.n_kv_heads && source.head_dim == l.head_dim && source.window == l.window);
}

void check(const ModelSpec& spec) {
  require(within(spec.hidden, 1, kMaxWidth) && within(spec.vocab, 1, kMaxVocab));
  require(within(spec.context, 1, kMaxContext) && within(spec.n_layers(), 1, kMaxLayers));
  require(std::isfinite(spec.norm_eps) && spec.norm_eps >= 0.0f);
  require(positive(spec.embedding_scale) && positive(spec.attention_scale));
  require(std::isfinite(spec.attention_cap) && spec.attention_cap >= 0.0f);
  require(std::isfinite(spec.logit_cap) && spec.logit_cap >= 0.0f);
  if (spec.log_n_context != 0) require(std::log(static_cast<double>(spec.log_n_context)) > 0.0);
  if (spec.per_layer_dim != 0) require(within(spec.per_layer_vocab, 1, kMaxVocab));
  bool recurrent = false;
  bool experts = false;
  for (std::size_t i = 0; i < spec.n_layers(); ++i) {
    check_layer(spec, i);
    recurrent = recurrent || spec.layers[i].mixer == Mixer::delta_net;
    experts = experts || spec.layers[i].moe;
  }
  for (const RopeSpec& rope : spec.ropes) check_rope(rope, spec.context);
  if (recurrent) {
    const DeltaNetSpec& s = spec.delta_net;
    require(s.n_k_heads >= 1 && s.n_v_heads % s.n_k_heads == 0 && s.n_v_heads >= 1 && s.k_dim >= 1 && s.v_dim >= 1);
    require(within(s.kernel, 2, 8));
  }
  if (experts) {
    const MoeSpec& moe = spec.moe;
    require(within(moe.n_experts, 1, kMaxExperts) && within(moe.top_k, 1, moe.n_experts) && moe.ffn_dim >= 1);
    require(moe.router != Router::sparse_mixer || moe.top_k == 2);
    require(std::isfinite(moe.jitter) && positive(moe.router_scale));
  }
  const auto cache = KvCache::bytes_needed(spec, spec.context, 512, KvType::f16);
  if (!cache.ok()) require_one_line(cache.error());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!document.ok()) {
    require_one_line(document.error());
    return 0;
  }
  const auto config = JsonObject::of(*document, "config.json");
  if (!config.ok()) return 0;
  const auto names = config->get_array<std::string_view>("architectures");
  if (!names.ok() || names->empty()) return 0;
  const auto is_named = [&](const auto& family) {
    return std::ranges::find(family.hf_architectures, names->front()) != family.hf_architectures.end();
  };
  for (const Family* family : kFamilies) {
    if (!is_named(*family)) continue;
    const auto spec = family->from_config(*config);
    if (spec.ok()) {
      check(*spec);
    } else {
      require_one_line(spec.error());
    }
  }
  for (const EncoderDecoderFamily* family : {&mu::kFamily, &t5gemma::kFamily}) {
    if (!is_named(*family)) continue;
    const auto both = family->from_config(*config);
    if (both.ok()) {
      check(both->encoder);
      check(both->decoder);
      require(both->encoder.bidirectional && both->decoder.memory_dim == both->encoder.hidden);
    } else {
      require_one_line(both.error());
    }
  }
  return 0;
}
