#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the tiny checkpoints of tests/data/golden with transformers, and what they answer.

    python3 tests/golden/make_models.py --llama-cpp LLAMA_CPP [ROW...]

LLAMA_CPP is a llama.cpp source tree: its convert_hf_to_gguf.py makes the GGUF twins (the tree that llama-cpp-python
0.3.36 carries under vendor/ was used). Without the option rows lose their twin and say so. Versions: requirements.txt.

A row is a function of the table at the end. Each becomes a folder with config.json, *.safetensors, model.gguf,
golden.json (prompt, greedy continuation, which rows of logits are kept) and logits.npy (float32, one line for each kept
position of prompt + continuation). tests/model/golden_test.cc runs every folder it finds: a new row needs no C++.

Every matrix is made of integers -127 .. 127 times a power of two, each run of 32 holding a +-127: the values are exact
in f32, f16, bf16 and Q8_0 alike, so all files of a row hold the same model and the logits have one truth. Norm weights
are 1 +- 0.1 (0 +- 0.1 where the family adds the one itself), biases are never zero.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zlib

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # BitLinears are decorated to be compiled
import gguf
import numpy as np
import safetensors.torch
import torch
import transformers
from transformers.integrations import bitnet as bit

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "data" / "golden"
PAIRS = HERE.parent / "data" / "golden_pairs"  # encoder-decoders
VOCAB = 331
CONTEXT = 64
TIE = 5e-5  # how near to a tie a BitLinear's activation may come, in steps; an f32 engine's noise is below

ROWS = []


def row(function):
    ROWS.append(function)
    return function


@dataclasses.dataclass
class Row:
    """One checkpoint. `config` goes to the configuration class of `model`, a name in transformers."""
    model: str
    config: dict
    dtype: str = "float16"          # of the safetensors
    shards: int = 1
    style: str = "current"          # config.json: "current" as transformers writes it, "published" as hubs hold it
    wrapped: str = ""               # as the text half of a multimodal checkpoint: prefix of its tensors
    keep_layer_types: bool = False  # in the published style too
    extra: dict = dataclasses.field(default_factory=dict)  # of config.json, over what transformers writes
    others: tuple = ()              # tensors of other parts, which a text model leaves alone
    gguf: str = "q8_0"              # converter's --outtype; "" for none, and then why:
    no_gguf: str = ""
    gguf_keys: dict = dataclasses.field(default_factory=dict)  # hyper-parameters that the converter leaves out
    tokenizer: str = "sp"           # "sp": tokenizer.model, "bpe": tokenizer.json
    pre: str = "gpt-2"              # pre-tokenizer name that a "bpe" GGUF gets
    prompt: int = 40
    greedy: int = 24
    tolerance: float = 1e-4         # logit error, in standard deviations of a row of logits
    zero_centred: bool = False      # norm weights are stored minus one
    draw: object = None             # (name, shape, rng) -> array or None: weights with rules of their own
    answer: object = None           # (model, ids) -> logits (len(ids), vocabulary); default: a causal model
    architecture: str = ""          # of config.json, where files spell it otherwise than transformers
    store: object = None            # (name, tensor) -> {name in the file: tensor}
    converter: tuple = ()           # more arguments of the converter
    before: str = ""                # Python for the converter's process, run first
    ternary: str = ""               # linear layers are BitLinears: "online", "offline" or "bitlinear", as transformers has them
    write: object = None            # (model, spec, path) writes the GGUF where llama.cpp's converter cannot
    attempts: int = 200             # prompts to try
    source: int = 0                 # > 0: an encoder-decoder, whose encoder reads a source of this length


# --- weights -----------------------------------------------------------------------------------------------------------

def integers(shape, sigma, rng):
    """Integers times a power of two, about normal with deviation sigma; a +-127 in each run of 32 along a row."""
    codes = np.clip(np.rint(rng.standard_normal(shape) * 40), -127, 127)
    flat = codes.reshape(-1, shape[-1])
    for first in range(0, shape[-1], 32):
        width = min(32, shape[-1] - first)
        column = first + rng.integers(0, width, flat.shape[0])
        flat[np.arange(flat.shape[0]), column] = 127 * rng.choice([-1, 1], flat.shape[0])
    return flat.reshape(shape) * 2.0 ** np.rint(np.log2(sigma / 40))


def default_weight(name, shape, rng, spec):
    if name.endswith(".bias"):
        return np.rint(rng.standard_normal(shape) * 32) / 128 + 1 / 128
    if len(shape) == 1 and spec.ternary:  # no short fractions: an embedding times such a norm would round at exact ties
        return 1 + rng.uniform(-0.2, 0.2, shape)
    if name.endswith("A_log"):
        return np.rint(rng.uniform(-2, 2, shape) * 64) / 64
    if name.endswith("dt_bias"):
        return np.rint(rng.uniform(-3, 1, shape) * 64) / 64
    if name.endswith("conv1d.weight"):
        return integers((shape[0], shape[-1]), 0.6, rng).reshape(shape)
    if name.endswith("linear_attn.norm.weight"):
        return np.clip(np.rint(rng.standard_normal(shape) * 12.8), -100, 100) / 128 + 1
    if len(shape) == 1:  # a norm
        return np.clip(np.rint(rng.standard_normal(shape) * 12.8), -100, 100) / 128 + (0 if spec.zero_centred else 1)
    if "prediction_coefs" in name or "correction_coefs" in name:
        return integers(shape, 0.3, rng)
    if "modality_router" in name:  # its input is divided by the width
        return integers(shape, np.sqrt(shape[-1]), rng)
    if "embed_tokens_per_layer" in name:
        return integers(shape, 0.25, rng)
    if "embed_tokens" in name or "wte" in name:
        return integers(shape, 0.4 / np.sqrt(shape[-1]) if spec.zero_centred else 0.4, rng)
    gain = 1.6 if ("q_proj" in name or "k_proj" in name) else 2.0 if "lm_head" in name else 1.0
    return integers(shape, gain / np.sqrt(shape[-1]), rng)


def build(spec, seed):
    model_class = getattr(transformers, spec.model) if isinstance(spec.model, str) else spec.model
    config = model_class.config_class(**spec.config)
    config.architectures = [spec.architecture or spec.model]
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    torch.manual_seed(0)
    model = model_class(config).to(torch.float32).eval()
    rng = np.random.default_rng(seed)
    if spec.ternary:
        make_ternary(model, spec.ternary, rng)
    for name, buffer in model.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.copy_(torch.tensor([1 + rng.integers(-16, 17) / 128]))
    for name, parameter in model.named_parameters():  # a tied head is listed once
        if name.endswith(BIT_LINEARS) and spec.ternary:
            continue
        value = spec.draw(name, tuple(parameter.shape), rng) if spec.draw else None
        if value is None:
            value = default_weight(name, tuple(parameter.shape), rng, spec)
        parameter.data.copy_(torch.from_numpy(np.asarray(value, dtype=np.float32)))
    return model


# --- BitLinears --------------------------------------------------------------------------------------------------------

BIT_LINEARS = ("_proj.weight",)


def master_weights(codes, step, rng):
    """Floats that BitNet rounds to step * codes: their mean magnitude is `step` to the last bit, since sums are exact."""
    quarters = np.where(codes != 0, rng.integers(3, 8, codes.shape), rng.integers(0, 2, codes.shape)).ravel()
    missing = 4 * codes.size - int(quarters.sum())
    for place in rng.permutation(np.flatnonzero(codes.ravel() != 0)):
        if missing == 0:
            break
        by = int(np.clip(missing, 3 - quarters[place], 9 - quarters[place]))
        quarters[place] += by
        missing -= by
    assert missing == 0
    sign = np.where(codes != 0, codes, rng.choice([-1, 1], codes.shape))
    return sign * quarters.reshape(codes.shape) * step / 4


def make_ternary(model, kind, rng):
    """Replaces the layers' linears by transformers' BitLinears, with weights; remembers codes and the value of a step."""
    for name, linear in list(model.named_modules()):
        if not isinstance(linear, torch.nn.Linear) or name == "lm_head":
            continue
        n, k = linear.weight.shape
        codes = rng.choice([-1, 0, 1], (n, k), p=[0.35, 0.3, 0.35])
        gain = 2.0 if name.endswith(("q_proj", "k_proj", "o_proj", "down_proj")) else 1.0
        power = 2.0 ** np.floor(np.log2(gain / np.sqrt(0.7 * k)))
        step = float(power * (1.5 if kind == "offline" and len(name) % 2 else 1.0))
        assert linear.bias is None
        if kind == "bitlinear":
            module = bit.BitLinear(k, n, bias=False, dtype=torch.float32)
            module.weight = torch.nn.Buffer(bit.pack_weights(torch.from_numpy(codes).clone()))
            module.weight_scale = torch.nn.Buffer(torch.tensor([1 / step]))
        else:
            module = bit.AutoBitLinear(k, n, bias=False, dtype=torch.float32, online_quant=kind == "online")
            values = master_weights(codes, step, rng) if kind == "online" else codes
            module.weight.data = torch.from_numpy(values.astype(np.float32))
            if kind == "offline":
                module.weight_scale = torch.nn.Buffer(torch.tensor([step]))
        module.codes, module.step = codes, step
        module.register_forward_pre_hook(note_ties)
        model.set_submodule(name, module)


def note_ties(module, args):
    """How near any rounded activation of the last call came to a tie, where float noise would decide."""
    x = args[0].double()
    x = x * (127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5))
    module.tie = float((x - x.floor() - 0.5).abs().min())


def nearest_tie(model):
    return min((m.tie for m in model.modules() if hasattr(m, "tie")), default=1.0)


def ternary_tensors(model, spec):
    """What a checkpoint of BitLinears holds: masters, or codes four to a byte and a scale."""
    tensors = {}
    for name, module in model.named_modules():
        if not hasattr(module, "codes"):
            continue
        if spec.ternary == "online":
            tensors[name + ".weight"] = module.weight.data.to(getattr(torch, spec.dtype))
            continue
        tensors[name + ".weight"] = bit.pack_weights(torch.from_numpy(module.codes).clone())
        tensors[name + ".weight_scale"] = module.weight_scale.data.to(getattr(torch, spec.dtype))
    return tensors


# --- GGUF files that llama.cpp's converter does not write --------------------------------------------------------------

LLAMA_NAMES = {"model.embed_tokens.": "token_embd.", "model.norm.": "output_norm.", "lm_head.": "output.", "model.layers.": "blk.",
               "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attn_output",
               "self_attn.attn_sub_norm": "attn_sub_norm", "mlp.ffn_sub_norm": "ffn_sub_norm",
               "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
               "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def rename(name, names):
    for old, new in names.items():
        name = name.replace(old, new)
    return name


def i2_s(codes, step):
    """bitnet.cpp's type: 128 weights in 32 bytes, the quarters of a block from the highest bit pair down; scale behind."""
    quarters = (codes.reshape(-1, 4, 32) + 1).astype(np.uint8)
    packed = quarters[:, 0] << 6 | quarters[:, 1] << 4 | quarters[:, 2] << 2 | quarters[:, 3]
    return np.concatenate([packed.ravel(), np.array([step], np.float32).view(np.uint8), np.zeros(28, np.uint8)])


def writer_of(spec, path, architecture):
    """A GGUF file with the hyper-parameters that all have and the vocabulary."""
    config = spec.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(path.parent.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    add_vocabulary(writer, config["vocab_size"])
    return writer


def vocabulary(size):
    """The SentencePiece model of all rows; a smaller one has no byte pieces and fewer words."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto.FromString((OUT / "tokenizers" / "tokenizer.model").read_bytes())
    if size < VOCAB:
        del model.pieces[3:3 + VOCAB - size]
        model.trainer_spec.vocab_size = size
        model.trainer_spec.byte_fallback = False
    assert len(model.pieces) == size and all(p.type != p.BYTE for p in model.pieces[3:]) == (size < VOCAB)
    return model


def add_vocabulary(writer, size):
    model = vocabulary(size)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([p.piece for p in model.pieces])
    writer.add_token_scores([p.score for p in model.pieces])
    writer.add_token_types([int(p.type) for p in model.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def finish_gguf(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_bitnet(architecture, kind):
    """BitNet's file: ternary matrices of a type, an f16 embedding, f32 norms. llama.cpp's converter cannot map its sub-norms."""
    def write(model, spec, path):
        writer = writer_of(spec, path, architecture)
        for name, parameter in model.named_parameters():
            if name.endswith(BIT_LINEARS):
                continue
            writer.add_tensor(rename(name, LLAMA_NAMES), parameter.data.numpy().astype(np.float16 if parameter.dim() > 1 else np.float32))
        for name, module in model.named_modules():
            if not hasattr(module, "codes"):
                continue
            target = rename(name, LLAMA_NAMES) + ".weight"
            values = (module.codes * module.step).astype(np.float32)
            if kind == "i2_s":
                data = i2_s(module.codes, module.step)
                writer.add_tensor_info(target, values.shape, np.dtype(np.int8), data.nbytes, raw_dtype=36)
                writer.tensors[-1][target].tensor = data
            elif kind == "f16":
                writer.add_tensor(target, values.astype(np.float16))
            else:
                quantization = getattr(gguf.GGMLQuantizationType, kind.upper())
                writer.add_tensor(target, gguf.quants.quantize(values, quantization), raw_dtype=quantization)
        finish_gguf(writer)
    return write


# --- answers -----------------------------------------------------------------------------------------------------------

@torch.inference_mode()
def causal(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


@torch.inference_mode()
def paired(model, ids):
    """The decoder's answer; the encoder reads what was put on the model."""
    return model(input_ids=torch.tensor([model.source]), decoder_input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def converse(model, spec, seed):
    """A prompt whose greedy continuation is never close to a tie, the continuation, and logits of all positions."""
    answer = spec.answer or causal
    vocab = spec.config["vocab_size"]
    model.source = [int(i) for i in np.random.default_rng([seed, 7]).integers(3, vocab, spec.source)]
    for attempt in range(spec.attempts):
        rng = np.random.default_rng([seed, attempt])
        prompt = [1] + [int(i) for i in rng.integers(3, vocab, spec.prompt - 1)]
        ids = list(prompt)
        least = np.inf
        for _ in range(spec.greedy):
            last = answer(model, ids)[-1]
            best = np.sort(last)[-2:]
            least = min(least, (best[1] - best[0]) / last.std())
            if least < 0.02 or nearest_tie(model) < TIE:
                break
            ids.append(int(last.argmax()))
        # a continuation that repeats one token would prove little
        if least >= 0.02 and nearest_tie(model) >= TIE and len(set(ids[spec.prompt:])) >= spec.greedy // 2:
            return prompt, ids[spec.prompt:], answer(model, ids), float(least)
    raise SystemExit("no prompt with a clear continuation")


def kept_rows(spec):
    """Positions whose logits are stored: around the window, blocks of 8 and 16, and the change to decoding. Few, for the
    last one has read all the others: tests compare every position among chunk sizes, to the bit."""
    p, end = spec.prompt, spec.prompt + spec.greedy - 1
    wanted = [0, 1, 7, 8, 9, 16, 17, 31, 32, p - 1, p, p + 8, end - 1]
    return sorted({i for i in wanted if 0 <= i < end})


# --- files -------------------------------------------------------------------------------------------------------------

def config_json(model, spec):
    text = json.loads(model.config.to_json_string(use_diff=True))
    for key in ("transformers_version", "_attn_implementation", "_experts_implementation", "experts_implementation"):
        text.pop(key, None)
    text["dtype"] = spec.dtype
    if spec.ternary:
        text["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": None} | (
            {} if spec.ternary == "bitlinear" else {"linear_class": "autobitlinear", "quantization_mode": spec.ternary})
    if spec.style == "published":
        text["torch_dtype"] = text.pop("dtype")
        if not spec.keep_layer_types:
            text.pop("layer_types", None)
        rope = text.pop("rope_parameters", None) or {}
        if "full_attention" in rope:
            text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
            rope = rope["full_attention"]
        if "rope_theta" in rope:
            text["rope_theta"] = rope.pop("rope_theta")
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            text["partial_rotary_factor"] = rope["partial_rotary_factor"]
        rope.pop("partial_rotary_factor", None)
        if rope.get("rope_type") == "longrope":  # said beside, not inside
            text["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
        text["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    text |= spec.extra
    if spec.wrapped:
        text.pop("architectures")
        tied = text.get("tie_word_embeddings", False)
        text = {"tie_word_embeddings": tied,"architectures": [spec.model.replace("ForCausalLM", "ForConditionalGeneration")],
                "model_type": text["model_type"].replace("_text", ""), "text_config": text}
    return text


def wrap(spec, name):
    if spec.wrapped.startswith("model."):
        return name.replace("model.", spec.wrapped, 1) if name.startswith("model.") else name
    return spec.wrapped + name


def save_safetensors(model, spec, folder):
    tensors = {}
    tensors |= ternary_tensors(model, spec)
    tensors |= {wrap(spec, name): buffer.data.to(getattr(torch, spec.dtype)) for name, buffer in model.named_buffers() if name.endswith("layer_scalar")}
    for name, parameter in model.named_parameters():
        if name in tensors or (spec.ternary and name.endswith(BIT_LINEARS)):
            continue
        stored = parameter.data.to(getattr(torch, "float32" if spec.ternary and parameter.dim() == 1 else spec.dtype)).contiguous()
        assert torch.equal(stored.to(torch.float32), parameter.data), f"{name} is not exact in {spec.dtype}"
        for target, part in (spec.store(name, stored) if spec.store else {name: stored}).items():
            tensors[wrap(spec, target)] = part.contiguous()
    tensors |= {name: torch.ones(4, 8, dtype=torch.float16) for name in spec.others}
    if spec.shards == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for shard in range(spec.shards):
        file = f"model-{shard + 1:05d}-of-{spec.shards:05d}.safetensors"
        part = {n: tensors[n] for n in names[shard::spec.shards]}
        safetensors.torch.save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= {n: file for n in part}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1, sort_keys=True) + "\n")


def write_tokenizers(folder):
    """A SentencePiece model and a byte-level BPE of VOCAB tokens each, put together by hand: the same in every run."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    text = (HERE.parent / "data" / "text" / "alice.txt").read_text()

    def merge(words, count):
        """Byte-pair merges of words (tuples of symbols with counts); ties go to the smaller pair."""
        merges = []
        while len(merges) < count:
            pairs = {}
            for word, n in words.items():
                for pair in zip(word, word[1:]):
                    pairs[pair] = pairs.get(pair, 0) + n
            best = min(pairs, key=lambda p: (-pairs[p], p))
            merges.append(best)
            joined = {}
            for word, n in words.items():
                out = []
                for symbol in word:
                    if out and (out[-1], symbol) == best:
                        out[-1] += symbol
                    else:
                        out.append(symbol)
                joined[tuple(out)] = joined.get(tuple(out), 0) + n
            words = joined
        return merges

    def words_of(space):
        words = {}
        for word in text.split():
            if word.isalpha() and word.isascii():
                spelled = tuple(space + word.lower())
                words[spelled] = words.get(spelled, 0) + 1
        return words

    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.vocab_size = VOCAB
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id, model.trainer_spec.pad_id = 0, 1, 2, -1
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    kinds = pb.ModelProto.SentencePiece
    pieces = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    pieces += [(f"<0x{b:02X}>", kinds.BYTE) for b in range(256)]
    letters = ["\u2581"] + list("abcdefghijklmnopqrstuvwxyz") + list(".,'")
    merged = ["".join(m) for m in merge(words_of("\u2581"), VOCAB - len(pieces) - len(letters))]
    pieces += [(p, kinds.NORMAL) for p in merged + letters]
    assert len(pieces) == VOCAB == len({p for p, _ in pieces})
    for i, (piece, kind) in enumerate(pieces):
        model.pieces.add(piece=piece, score=0.0 if kind != kinds.NORMAL else -float(i - 258), type=kind)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())

    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    alphabet = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(
        b for b in range(256) if b not in printable)}
    special = ["<unk>", "<s>", "</s>"]
    merges = merge(words_of(alphabet[32]), VOCAB - len(special) - 256)
    vocab = {t: i for i, t in enumerate(special + [alphabet[b] for b in range(256)] + ["".join(m) for m in merges])}
    assert len(vocab) == VOCAB
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": vocab[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(m) for m in merges]}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=True, indent=0) + "\n")


# Runs the converter with the pre-tokenizer's name given (it is guessed from a hash of known tokenizers otherwise) and
# with hyper-parameters added to what it writes.
CONVERT = r"""
import json, runpy, sys
tree, pre, extra = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path.insert(0, tree)
sys.path.insert(1, tree + "/gguf-py")
from conversion.base import TextModel
exec(sys.argv[4])
TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
write = TextModel.prepare_metadata
def prepare_metadata(self, *args, **kwargs):
    write(self, *args, **kwargs)
    for key, value in extra.items():
        getattr(self.gguf_writer, "add_float64" if isinstance(value, float) else "add_uint32")(
            self.gguf_writer.arch + "." + key, value)
TextModel.prepare_metadata = prepare_metadata
sys.argv = ["convert_hf_to_gguf.py"] + sys.argv[5:]
runpy.run_path(tree + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def convert(llama_cpp, model, spec, folder, tokenizers):
    """model.gguf beside the safetensors; returns why there is none, or ''."""
    if not spec.gguf:
        return spec.no_gguf
    if spec.write:
        spec.write(model, spec, folder / "model.gguf")
        return ""
    if llama_cpp is None:
        return "made without --llama-cpp"
    with tempfile.TemporaryDirectory() as work:
        source = pathlib.Path(work) / folder.name
        shutil.copytree(folder, source)
        if spec.tokenizer == "sp":
            (source / "tokenizer.model").write_bytes(vocabulary(spec.config["vocab_size"]).SerializeToString())
        else:
            shutil.copy(tokenizers / "tokenizer.json", source)
        tokenizer_config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": spec.tokenizer == "sp",
                            "tokenizer_class": "LlamaTokenizer" if spec.tokenizer == "sp" else "PreTrainedTokenizerFast"}
        (source / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
        target = folder / "model.gguf"
        done = subprocess.run([sys.executable, "-c", CONVERT, str(llama_cpp), spec.pre, json.dumps(spec.gguf_keys), spec.before, str(source),
                               "--no-lazy", "--outfile", str(target), "--outtype", spec.gguf, "--model-name", folder.name, *spec.converter],
                              capture_output=True, text=True)
        if done.returncode == 0 and target.exists():
            return ""
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return "the converter failed: " + done.stderr.strip().splitlines()[-1]


def make(function, llama_cpp):
    spec = function()
    name = function.__name__.replace("_", "-")
    seed = zlib.crc32(name.encode())
    folder = (PAIRS if spec.source else OUT) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = build(spec, seed)
    prompt, greedy, logits, margin = converse(model, spec, seed)
    rows = kept_rows(spec)
    truth = (spec.answer or causal)(model.double(), prompt + greedy)
    noise = float(np.max(np.abs(logits - truth).max(1) / truth.std(1)))
    model.float()
    (folder / "config.json").write_text(json.dumps(config_json(model, spec), indent=1) + "\n")
    save_safetensors(model, spec, folder)
    np.save(folder / "logits.npy", logits[rows].astype(np.float32))
    missing = convert(llama_cpp, model, spec, folder, OUT / "tokenizers")
    for file in folder.iterdir():
        file.chmod(0o644)
    golden = {"kind": "encoder-decoder" if spec.source else "decoder", "source_ids": model.source, "about": " ".join(function.__doc__.split()),
              "source": f"transformers {transformers.__version__}, torch {torch.__version__}, {getattr(spec.model, '__name__', spec.model)}",
              "context": spec.config.get("max_position_embeddings", CONTEXT), "tolerance": spec.tolerance,
              "prompt": prompt, "greedy": greedy, "rows": rows, "gguf": spec.gguf if not missing else "", "no_gguf": missing}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {size / 1000:.0f} kB, greedy margin {margin:.3f} sigma, float32 noise {noise:.1e} sigma"
          + (f", no GGUF: {missing}" if missing else ""))


# --- the table ---------------------------------------------------------------------------------------------------------

def llama_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=12, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=False,
                bos_token_id=1, eos_token_id=2, pad_token_id=None) | changes


@row
def llama():
    """Llama, one KV head for each head, head_dim != hidden / heads, published style of config.json."""
    return Row("LlamaForCausalLM", llama_config(num_attention_heads=2, num_key_value_heads=2, head_dim=24), style="published")


@row
def llama_gqa():
    """Llama with three heads to a KV head, D not a multiple of 32, a byte-level vocabulary, f16 GGUF."""
    return Row("LlamaForCausalLM", llama_config(hidden_size=72, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
                                                intermediate_size=56, tie_word_embeddings=True), gguf="f16", tokenizer="bpe")


@row
def llama_bias():
    """Llama with biases on q, k, v and o."""
    return Row("LlamaForCausalLM", llama_config(attention_bias=True, head_dim=20, tie_word_embeddings=True))


@row
def llama_tied():
    """Llama with a tied head and one KV head, bf16, in three shards."""
    return Row("LlamaForCausalLM", llama_config(hidden_size=32, tie_word_embeddings=True, num_key_value_heads=1, head_dim=24), dtype="bfloat16",
               shards=3, gguf="bf16")


@row
def llama_llama3_rope():
    """Llama 3.1's frequency scaling: low, middle and high frequencies, prompt past the original context."""
    rope = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16}
    return Row("LlamaForCausalLM", llama_config(hidden_size=32, rope_parameters=rope, tie_word_embeddings=True, num_attention_heads=2, num_key_value_heads=1, head_dim=24), style="published")


@row
def llama_linear_rope():
    """Llama with angles divided by 4."""
    rope = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    return Row("LlamaForCausalLM", llama_config(hidden_size=32, rope_parameters=rope, tie_word_embeddings=True, num_attention_heads=2, num_key_value_heads=1, head_dim=24))


@row
def llama_yarn():
    """Llama with yarn from 16 to 64 positions and bounds of its own."""
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "beta_fast": 2.0, "beta_slow": 0.25}
    return Row("LlamaForCausalLM", llama_config(rope_parameters=rope, tie_word_embeddings=True, num_attention_heads=2, num_key_value_heads=1, head_dim=24))


@row
def llama_yarn_factor():
    """Yarn whose magnitude is given, in the published style."""
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "attention_factor": 1.3}
    return Row("LlamaForCausalLM", llama_config(hidden_size=32, rope_parameters=rope, tie_word_embeddings=True, num_attention_heads=2, num_key_value_heads=1, head_dim=24), style="published")


@row
def mistral():
    """Mistral v0.1: a window of 8 keys on every layer. The converter leaves the window out: it is added to the file."""
    config = llama_config(sliding_window=8, tie_word_embeddings=True)
    return Row("MistralForCausalLM", config, gguf_keys={"attention.sliding_window": 8})


def gemma3_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=24, num_hidden_layers=7, num_attention_heads=2,
                num_key_value_heads=1, head_dim=24, max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, sliding_window=8,
                query_pre_attn_scalar=24, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}) | changes


@row
def gemma3():
    """Gemma 3: five windowed layers to a global one, two rotary bases, in the published style."""
    return Row("Gemma3ForCausalLM", gemma3_config(hidden_size=64, head_dim=16, query_pre_attn_scalar=16), dtype="bfloat16", style="published", zero_centred=True)


@row
def gemma3_scaled():
    """Gemma 3 as its larger sizes: global angles divided by 8, a local base of its own, layer_types that are no pattern."""
    rope = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}
    config = gemma3_config(rope_parameters=rope, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                           query_pre_attn_scalar=40, intermediate_size=56, layer_types=["sliding_attention", "full_attention", "sliding_attention"])
    return Row("Gemma3ForCausalLM", config, zero_centred=True, wrapped="language_model.", others=("vision_tower.patch.weight",), gguf="",
               no_gguf="GGUF has no key for query_pre_attn_scalar, and the converter none for layer_types")


@row
def gemma3_bases():
    """Gemma 3 with a local base and global angles that GGUF says in keys of its own."""
    rope = {"full_attention": {"rope_type": "linear", "rope_theta": 300000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}
    return Row("Gemma3ForCausalLM", gemma3_config(rope_parameters=rope, num_hidden_layers=6), dtype="bfloat16", zero_centred=True)


def phi_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=192, num_hidden_layers=2, num_attention_heads=3,
                max_position_embeddings=CONTEXT, layer_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4}) | changes


@row
def phi():
    """Phi-2: parallel blocks, biases everywhere, LayerNorm, 6 of 16 dimensions rotated, in the published style."""
    return Row("PhiForCausalLM", phi_config(), style="published", tokenizer="bpe")


@row
def phi_half():
    """Phi-1 and 1.5: half of each head rotated, bf16, in the current style."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    return Row("PhiForCausalLM", phi_config(hidden_size=32, intermediate_size=128, num_attention_heads=2, rope_parameters=rope),
               dtype="bfloat16", tokenizer="bpe", gguf="bf16")


def phi3_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=2, max_position_embeddings=CONTEXT, original_max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
                tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0) | changes


def longrope(original, **more):
    """Divisors of 8 frequencies that tell short from long and each frequency from its neighbours."""
    return {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": original, "partial_rotary_factor": 1.0,
            "short_factor": [1.0, 1.02, 1.05, 1.1, 1.2, 1.25, 1.3, 1.5],
            "long_factor": [1.08, 1.11, 1.34, 1.6, 2.62, 3.23, 7.4, 21.5]} | more


@row
def phi3():
    """Phi-3-mini-4k: fused q|k|v and gate|up, a window of 11 keys on every layer."""
    return Row("Phi3ForCausalLM", phi3_config(sliding_window=11), style="published", dtype="bfloat16")


@row
def phi3_long():
    """Phi-3.5-mini past its original context of 16: LongRoPE's long divisors, cos and sin scaled."""
    config = phi3_config(original_max_position_embeddings=16, rope_parameters=longrope(16), num_hidden_layers=1)
    return Row("Phi3ForCausalLM", config, style="published")


@row
def phi3_switch():
    """Phi-3.5-mini whose continuation crosses the original context of 32: short divisors first, then long ones."""
    config = phi3_config(original_max_position_embeddings=32, rope_parameters=longrope(32), num_hidden_layers=1)
    return Row("Phi3ForCausalLM", config, prompt=22)


@row
def phi4():
    """Phi-4: grouped queries, no window, rotary base 250,000."""
    rope = {"rope_type": "default", "rope_theta": 250000.0, "partial_rotary_factor": 1.0}
    return Row("Phi3ForCausalLM", phi3_config(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, rope_parameters=rope), style="published")


@row
def phi4_mini():
    """Phi-4-mini within its original context: three quarters of a head rotated, LongRoPE's short divisors, tied head."""
    rope = longrope(128, partial_rotary_factor=0.75, short_factor=[1.0, 1.05, 1.2, 1.25, 1.3, 1.5], long_factor=[1.0, 1.12, 1.25, 1.4, 1.56, 1.75])
    config = phi3_config(max_position_embeddings=256, original_max_position_embeddings=128, num_key_value_heads=1, rope_parameters=rope,
                         tie_word_embeddings=True)
    return Row("Phi3ForCausalLM", config, style="published", dtype="bfloat16")


def qwen_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, tie_word_embeddings=True,
                rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, bos_token_id=1, eos_token_id=2) | changes


@row
def qwen2():
    """Qwen 2.5's small sizes: biases on q, k and v, tied head, one KV head, in the published style."""
    return Row("Qwen2ForCausalLM", qwen_config(), style="published", dtype="bfloat16")


@row
def qwen2_window():
    """Qwen 1.5 shape (a KV head for each head, untied) with windows of 9 keys from layer 1 on."""
    config = qwen_config(num_key_value_heads=2, tie_word_embeddings=False, use_sliding_window=True, sliding_window=9, max_window_layers=1)
    return Row("Qwen2ForCausalLM", config, style="published", gguf="", no_gguf="GGUF has no key for max_window_layers")


@row
def qwen3():
    """Qwen 3: norms on the heads of q and k, heads of 24, tied head, untouched by hidden / n_heads = 8."""
    return Row("Qwen3ForCausalLM", qwen_config(num_attention_heads=4, num_key_value_heads=2, head_dim=24), dtype="bfloat16", tokenizer="bpe", pre="qwen2")


@row
def qwen3_bias():
    """Qwen 3 with attention_bias, untied, layer_types that slide."""
    config = qwen_config(num_attention_heads=4, num_key_value_heads=2, head_dim=20, attention_bias=True, tie_word_embeddings=False, use_sliding_window=True, sliding_window=7,
                         layer_types=["sliding_attention", "full_attention"])
    return Row("Qwen3ForCausalLM", config, gguf="", no_gguf="GGUF has no key for layers that slide in this family")


@row
def smollm3():
    """SmolLM3: the fourth layer has no rotary embedding, in the published style."""
    return Row("SmolLM3ForCausalLM", llama_config(hidden_size=32, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=1, head_dim=12,
                                                  intermediate_size=32, tie_word_embeddings=True, no_rope_layer_interval=4,
                                                  use_sliding_window=False),
               style="published", dtype="bfloat16")


def gemma_config(**changes):
    config = gemma3_config(num_hidden_layers=2, intermediate_size=56, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return {k: v for k, v in config.items() if k not in ("sliding_window", "query_pre_attn_scalar")} | changes


@row
def gemma():
    """Gemma 1: one norm before each branch, scaled embeddings, heads of 24 where hidden / heads is 16."""
    return Row("GemmaForCausalLM", gemma_config(hidden_activation="gelu_pytorch_tanh"), style="published", dtype="bfloat16", zero_centred=True)


@row
def gemma2():
    """Gemma 2: caps on scores and logits, norms on both sides of a branch, windows of 8 on even layers."""
    config = gemma_config(num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
    return Row("Gemma2ForCausalLM", config, style="published", dtype="bfloat16", zero_centred=True)


@row
def gemma2_scaled():
    """Gemma 2 as its 27B: a scale that is not 1 / sqrt(head_dim), no caps, layer_types that are no pattern."""
    config = gemma_config(num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=40, attn_logit_softcapping=None, final_logit_softcapping=None,
                          num_key_value_heads=2, layer_types=["full_attention", "sliding_attention", "sliding_attention"])
    return Row("Gemma2ForCausalLM", config, zero_centred=True, gguf="", no_gguf="GGUF has no key for query_pre_attn_scalar, and none for layer_types")


def bitnet_config(**changes):
    """Rows of wide matrices get a small vocabulary: embeddings are their largest part by far."""
    return llama_config(hidden_size=64, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
                        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}) | changes


@row
def bitnet():
    """BitNet b1.58 2B4T as bf16 masters that are rounded at load; the GGUF holds ternary values as f16."""
    config = {k: v for k, v in bitnet_config(vocab_size=75).items() if k != "head_dim"}
    return Row("BitNetForCausalLM", config, dtype="bfloat16", ternary="online", gguf="f16", write=write_bitnet("bitnet-b1.58", "f16"),
               prompt=16, attempts=4000, style="published")


@row
def bitnet_packed():
    """BitNet b1.58 2B4T in its packed form, scales that multiply; GGUF TQ2_0."""
    config = bitnet_config(vocab_size=75, hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=1, num_hidden_layers=1)
    del config["head_dim"]
    return Row("BitNetForCausalLM", config, dtype="bfloat16", ternary="offline", gguf="tq2_0", write=write_bitnet("bitnet-b1.58", "tq2_0"),
               prompt=12, attempts=4000)


@row
def bitnet_i2s():
    """BitNet b1.58 2B4T in its packed form and as bitnet.cpp's I2_S, whose scale is an f32 behind the codes."""
    config = bitnet_config(vocab_size=75, hidden_size=128, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2)
    del config["head_dim"]
    return Row("BitNetForCausalLM", config, dtype="bfloat16", ternary="offline", gguf="i2_s", write=write_bitnet("bitnet-b1.58", "i2_s"),
               prompt=12, attempts=4000, style="published")


@row
def bitnet_silu():
    """The older BitNet of 1bitLLM: SiLU instead of squared ReLU (GGUF architecture "bitnet"), GGUF TQ1_0."""
    config = bitnet_config(vocab_size=75, hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=1, num_hidden_layers=1,
                           hidden_act="silu")
    del config["head_dim"]
    return Row("BitNetForCausalLM", config, dtype="bfloat16", ternary="offline", gguf="tq1_0", write=write_bitnet("bitnet", "tq1_0"),
               prompt=12, attempts=4000)


@row
def llama_158():
    """Llama-3-8B-1.58, Falcon3-1.58, Falcon-E: Llama's block of BitLinears with inverse scales, untied; GGUF TQ2_0."""
    config = bitnet_config(vocab_size=75, hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64, num_hidden_layers=1,
                           tie_word_embeddings=True)
    return Row("LlamaForCausalLM", config, dtype="bfloat16", ternary="bitlinear", gguf="tq2_0", prompt=12, attempts=4000, style="published",
               draw=lambda name, shape, rng: integers(shape, 0.1, rng) if "embed" in name else None)


def each_expert(gate, up, down, prefix=None):
    """Stores fused experts as published files hold them: a matrix for each."""
    def store(name, tensor):
        if ".experts." not in name:
            return {(prefix or {}).get(name.split(".")[-2], lambda n: n)(name): tensor}
        head = name.rsplit(".", 1)[0]
        if prefix:
            head = head.replace("mlp.experts", "block_sparse_moe.experts")
        out = {}
        for e, matrix in enumerate(tensor):
            if name.endswith("gate_up_proj"):
                out[f"{head}.{e}.{gate}.weight"], out[f"{head}.{e}.{up}.weight"] = matrix.chunk(2)
            else:
                out[f"{head}.{e}.{down}.weight"] = matrix
        return out
    return store


def moe_config(**changes):
    return qwen_config(moe_intermediate_size=24, num_experts=5, num_experts_per_tok=2, tie_word_embeddings=False, num_hidden_layers=3) | changes


@row
def qwen2_moe():
    """Qwen1.5-MoE: experts by softmax without renormalisation, a gated shared expert, a dense layer between; a matrix for each expert."""
    config = moe_config(shared_expert_intermediate_size=40, norm_topk_prob=False, num_hidden_layers=2)
    return Row("Qwen2MoeForCausalLM", config, style="published", dtype="bfloat16", store=each_expert("gate_proj", "up_proj", "down_proj"))


@row
def qwen2_moe_window():
    """Qwen2-MoE with windows on even layers, dense layers by step and by name, renormalised weights, fused experts."""
    config = moe_config(shared_expert_intermediate_size=24, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[1], num_experts=4,
                        use_sliding_window=True, sliding_window=9, max_window_layers=3, tie_word_embeddings=True)
    return Row("Qwen2MoeForCausalLM", config, style="published", gguf="", no_gguf="GGUF has no keys for windows and dense layers of this family")


@row
def qwen3_moe():
    """Qwen 3 MoE: three of six experts, weights divided by their sum, fused experts as newer files hold them."""
    config = moe_config(num_attention_heads=4, num_key_value_heads=2, head_dim=20, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True, num_hidden_layers=2)
    return Row("Qwen3MoeForCausalLM", config, dtype="bfloat16", store=each_expert("gate_proj", "up_proj", "down_proj"))


@row
def qwen3_moe_step():
    """Qwen 3 MoE with experts on every second layer, plain softmax weights, a window on every layer, one fused tensor a layer."""
    config = moe_config(num_attention_heads=4, num_key_value_heads=2, head_dim=20, num_experts=4, norm_topk_prob=False, decoder_sparse_step=2, num_hidden_layers=2, use_sliding_window=True,
                        sliding_window=9, tie_word_embeddings=True)
    return Row("Qwen3MoeForCausalLM", config, gguf="", no_gguf="GGUF has no keys for windows and dense layers of this family")


def phimoe_config(**changes):
    rope = longrope(16, short_mscale=1.243163121016122, long_mscale=1.243163121016122)
    del rope["partial_rotary_factor"]
    return phi3_config(num_key_value_heads=1, intermediate_size=24, num_local_experts=6, num_experts_per_tok=2, router_jitter_noise=0.01,
                       attention_bias=True, lm_head_bias=True, rope_parameters=rope) | changes


def phimoe_store(name, tensor):
    return each_expert("w1", "w3", "w2", {"router": lambda n: n.replace("mlp.router", "block_sparse_moe.gate")})(name, tensor)


@row
def phimoe():
    """Phi-3.5-MoE within its original context: SparseMixer, LayerNorms, biases, cos and sin scaled by what the file says."""
    rope = phimoe_config()["rope_parameters"] | {"original_max_position_embeddings": 128}
    config = phimoe_config(max_position_embeddings=256, original_max_position_embeddings=128, rope_parameters=rope)
    return Row("PhimoeForCausalLM", config, style="published", architecture="PhiMoEForCausalLM", dtype="bfloat16", store=phimoe_store)


@row
def phimoe_long():
    """Phi-3.5-MoE past its original context of 16, where the published model takes the long divisors; wide jitter, other magnitudes."""
    rope = phimoe_config()["rope_parameters"] | {"short_mscale": 1.1, "long_mscale": 1.3}
    config = phimoe_config(router_jitter_noise=0.3, rope_parameters=rope, lm_head_bias=False, attention_bias=False, num_hidden_layers=1)
    return Row("PhimoeForCausalLM", config, gguf="", no_gguf="GGUF has no keys for router_jitter_noise, short_mscale and long_mscale",
               answer=published_phimoe)


def published_phimoe(model, ids):
    """transformers 5.23 never passes the length to its frequencies, so the long divisors are never used: the model's own code does."""
    rotary = model.model.rotary_emb
    if not hasattr(rotary, "lengthless"):
        rotary.lengthless = rotary.rope_init_fn
    rotary.rope_init_fn = lambda config, **kw: rotary.lengthless(config, seq_len=len(ids))
    return causal(model, ids)


class Qwen1Config(transformers.PretrainedConfig):
    model_type = "qwen"


class Qwen1(torch.nn.Module):
    """Qwen 1, whose code is published with the model and not part of transformers: written from its equations."""
    config_class = Qwen1Config

    def __init__(self, config):
        super().__init__()
        self.config = config
        width, inner = config.hidden_size, config.intermediate_size // 2
        linear = torch.nn.Linear
        block = lambda: torch.nn.ModuleDict({
            "ln_1": torch.nn.RMSNorm(width, eps=config.layer_norm_epsilon), "ln_2": torch.nn.RMSNorm(width, eps=config.layer_norm_epsilon),
            "attn": torch.nn.ModuleDict({"c_attn": linear(width, 3 * width), "c_proj": linear(width, width, bias=False)}),
            "mlp": torch.nn.ModuleDict({"w1": linear(width, inner, bias=False), "w2": linear(width, inner, bias=False),
                                        "c_proj": linear(inner, width, bias=False)})})
        self.transformer = torch.nn.ModuleDict({"wte": torch.nn.Embedding(config.vocab_size, width),
                                                "h": torch.nn.ModuleList([block() for _ in range(config.num_hidden_layers)]),
                                                "ln_f": torch.nn.RMSNorm(width, eps=config.layer_norm_epsilon)})
        self.lm_head = linear(width, config.vocab_size, bias=False)

    def forward(self, input_ids, use_cache=False):
        c = self.config
        t, d, n = input_ids.shape[1], c.kv_channels, c.seq_length
        alpha = max(2 ** np.ceil(np.log2(t / n) + 1) - 1, 1) if c.use_dynamic_ntk else 1
        base = c.rotary_emb_base * alpha ** (d / (d - 2))
        angle = torch.arange(t)[:, None] * base ** (-torch.arange(0, d, 2) / d)
        cos, sin = [torch.cat([f(angle), f(angle)], -1).to(self.lm_head.weight.dtype) for f in (torch.cos, torch.sin)]
        rotate = lambda x: x * cos + torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1) * sin
        h = self.transformer["wte"](input_ids)[0]
        mask = torch.full((t, t), -torch.inf).triu(1)
        for layer in self.transformer["h"]:
            q, k, v = layer["attn"]["c_attn"](layer["ln_1"](h)).view(t, 3, -1, d).permute(1, 2, 0, 3)
            q, k = rotate(q), rotate(k)
            if c.use_logn_attn and t > n:
                p = torch.arange(1, t + 1)
                q = q * torch.where(p > n, p.log() / np.log(n), 1.0).to(q.dtype)[:, None]
            mixed = ((q @ k.transpose(1, 2)) / d ** 0.5 + mask).softmax(-1) @ v
            h = h + layer["attn"]["c_proj"](mixed.transpose(0, 1).reshape(t, -1))
            x = layer["ln_2"](h)
            h = h + layer["mlp"]["c_proj"](layer["mlp"]["w1"](x) * torch.nn.functional.silu(layer["mlp"]["w2"](x)))
        return transformers.modeling_outputs.CausalLMOutput(logits=self.lm_head(self.transformer["ln_f"](h))[None])


def qwen1_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=112, num_hidden_layers=2, num_attention_heads=2, kv_channels=16,
                max_position_embeddings=CONTEXT, seq_length=CONTEXT, layer_norm_epsilon=1e-6, rotary_emb_base=10000, rotary_pct=1.0, no_bias=True,
                scale_attn_weights=True, use_dynamic_ntk=True, use_logn_attn=True, tie_word_embeddings=False) | changes


@row
def qwen():
    """Qwen 1 within its trained length: one biased matrix for q, k and v, a doubled intermediate_size."""
    return Row(Qwen1, qwen1_config(), architecture="QWenLMHeadModel", dtype="bfloat16",
               before="TextModel._set_vocab_qwen = TextModel._set_vocab_sentencepiece")


@row
def qwen_long():
    """Qwen 1 past its trained length of 32: a grown rotary base, queries scaled by logarithms."""
    return Row(Qwen1, qwen1_config(seq_length=32), architecture="QWenLMHeadModel", gguf="", no_gguf="GGUF has no keys for the two tricks",
               prompt=36)


def hybrid_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                head_dim=24, linear_conv_kernel_dim=4, linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2,
                linear_num_value_heads=4, max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, tie_word_embeddings=True,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
                bos_token_id=1, eos_token_id=2) | changes


@row
def qwen3_next():
    """Qwen 3-Next: three recurrent layers to one with gated attention, experts with a shared one, a matrix for each expert."""
    config = hybrid_config(moe_intermediate_size=16, shared_expert_intermediate_size=24, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True,
                           num_hidden_layers=4)
    return Row("Qwen3NextForCausalLM", config, dtype="bfloat16", zero_centred=True, store=each_expert("gate_proj", "up_proj", "down_proj"),
               converter=("--no-mtp",), style="published")


@row
def qwen3_5():
    """Qwen 3.5 dense: projections apart, value heads that GGUF tiles, a convolution of 3 taps."""
    config = hybrid_config(linear_conv_kernel_dim=3, linear_num_value_heads=6, linear_value_head_dim=16)
    return Row("Qwen3_5ForCausalLM", config, dtype="bfloat16", zero_centred=True, converter=("--no-mtp",), gguf="f16")  # tiling breaks runs of 32


@row
def qwen3_5_vision():
    """The text half of a Qwen 3.5 checkpoint, untied, two layers; its tower and its second-token block are left alone."""
    config = hybrid_config(num_hidden_layers=2, layer_types=["full_attention", "linear_attention"], tie_word_embeddings=False,
                           linear_key_head_dim=12, linear_value_head_dim=20, attention_bias=True)
    return Row("Qwen3_5ForCausalLM", config, zero_centred=True, wrapped="model.language_model.", others=("model.visual.patch.weight", "mtp.fc.weight"),
               gguf="", no_gguf="GGUF needs value heads as wide as key heads, and has no biases here")


@row
def qwen3_5_moe():
    """Qwen 3.5 with experts: one fused tensor for all, a shared expert."""
    config = hybrid_config(moe_intermediate_size=16, shared_expert_intermediate_size=24, num_experts=4, num_experts_per_tok=2, num_hidden_layers=2,
                           layer_types=["linear_attention", "full_attention"])
    del config["intermediate_size"]
    return Row("Qwen3_5MoeForCausalLM", config, dtype="bfloat16", zero_centred=True, converter=("--no-mtp",), gguf="f16",
               before="TextModel._set_vocab_gpt2 = TextModel._set_vocab_sentencepiece")


def gemma3n_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1,
                head_dim=24, max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, sliding_window=8, num_kv_shared_layers=2,
                layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"],
                hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCAB - 11, laurel_rank=12, altup_num_inputs=4, altup_active_idx=0,
                altup_correct_scale=True, altup_coef_clip=120.0, activation_sparsity_pattern=[0.8, 0.5, 0.0, 0.3, 0.0],
                final_logit_softcapping=3.0, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}) | changes


@row
def gemma3n():
    """Gemma 3n: four streams, a low-rank branch, per-layer embeddings for fewer ids than the vocabulary has, shared caches, cut gates."""
    return Row("Gemma3nForCausalLM", gemma3n_config(), dtype="bfloat16", draw=gemma3n_draw, tolerance=5e-4)


@row
def gemma3n_widths():
    """The text half of a Gemma 3n checkpoint: MLPs of different widths, three streams, the published style's two bases."""
    config = gemma3n_config(num_hidden_layers=3, intermediate_size=[56, 24, 40], num_kv_shared_layers=1, altup_num_inputs=3,
                            layer_types=["full_attention", "sliding_attention", "full_attention"], activation_sparsity_pattern=[0.9, 0.0, 0.0])
    return Row("Gemma3nForCausalLM", config, wrapped="model.language_model.", style="published", gguf="", no_gguf="the converter wants four streams",
               others=("model.audio_tower.conv.weight", "model.vision_tower.patch.weight", "model.embed_vision.embedding.weight"), draw=gemma3n_draw,
               keep_layer_types=True, tolerance=5e-4)


def gemma3n_draw(name, shape, rng):
    if name.endswith("embed_tokens.weight"):  # its rows are scaled by sqrt(hidden)
        return integers(shape, 0.4 / np.sqrt(shape[-1]), rng)
    return 1 + np.rint(rng.standard_normal(shape) * 12.8) / 128 if name.endswith("correct_output_scale") else None


def gemma4_config(**changes):
    return dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                head_dim=16, global_head_dim=32, max_position_embeddings=CONTEXT, rms_norm_eps=1e-6, sliding_window=8, num_kv_shared_layers=0,
                layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
                hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCAB, final_logit_softcapping=3.0, tie_word_embeddings=True,
                bos_token_id=1, eos_token_id=2, pad_token_id=0,
                rope_parameters={"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}) | changes


@row
def gemma4():
    """Gemma 4 E2B: per-layer embeddings, shared caches under double-wide MLPs, global heads twice as wide and rotated in part."""
    config = gemma4_config(num_kv_shared_layers=2, use_double_wide_mlp=True)
    return Row("Gemma4ForCausalLM", config, dtype="bfloat16", before=GEMMA4_VOCABULARY, draw=gemma3n_draw)


@row
def gemma4_values():
    """Gemma 4 12B: values are the raw keys on global layers, which have one KV head; no second embedding, no cap, published keys."""
    config = gemma4_config(hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1, final_logit_softcapping=None,
                           num_hidden_layers=3, layer_types=["full_attention", "sliding_attention", "full_attention"])
    return Row("Gemma4ForCausalLM", config, gguf="", no_gguf="GGUF means a cap of 30 where its key is absent", wrapped="model.language_model.", draw=gemma3n_draw,
               extra={"global_head_dim": 32, "num_global_key_value_heads": 1, "per_layer_config": None})


@row
def gemma4_moe():
    """Gemma 4 26B-A4B: three of six experts beside the MLP, each with norms of its own, a scaled router and scaled experts; values that are keys."""
    config = gemma4_config(hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1, num_hidden_layers=3,
                           layer_types=["sliding_attention", "full_attention", "full_attention"],
                           enable_moe_block=True, num_experts=6, top_k_experts=3, moe_intermediate_size=24)
    return Row("Gemma4ForCausalLM", config, dtype="bfloat16", before=GEMMA4_VOCABULARY, draw=gemma4_moe_draw)


def gemma4_moe_draw(name, shape, rng):
    if name.endswith("per_expert_scale"):
        return np.rint(rng.uniform(0.5, 1.5, shape) * 64) / 64
    if name.endswith("router.proj.weight"):  # its input has been divided by the root of the width
        return integers(shape, 1.0, rng)
    return gemma3n_draw(name, shape, rng)


# The converter wants a tokenizer of transformers' for this family.
GEMMA4_VOCABULARY = """
from conversion.gemma import Gemma4Model
Gemma4Model.set_vocab = TextModel._set_vocab_sentencepiece
"""


def pair(model, config, **more):
    """An encoder-decoder: the decoder starts with 8 tokens of its own."""
    return Row(model, config, answer=paired, attempts=2000, gguf="", no_gguf="the converter does not know the architecture", prompt=8, **({"source": 29} | more))


def t5gemma_stack(**changes):
    config = gemma_config(hidden_size=64, sliding_window=5, max_position_embeddings=512, query_pre_attn_scalar=24, attn_logit_softcapping=8.0, final_logit_softcapping=6.0)
    return config | changes


@row
def t5gemma():
    """T5Gemma: a narrow encoder that sees to both sides within windows, a wider decoder with cross-attention, caps on all scores."""
    config = dict(encoder=t5gemma_stack(hidden_size=48, num_attention_heads=3, head_dim=16, num_key_value_heads=3, intermediate_size=40),
                  decoder=t5gemma_stack(), tie_word_embeddings=True, vocab_size=VOCAB, is_encoder_decoder=True)
    return pair("T5GemmaForConditionalGeneration", config, dtype="bfloat16", zero_centred=True, source=300)


class MuConfig(transformers.PretrainedConfig):
    model_type = "mu"


class MuAttention(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.d, self.spread = c.n_head, c.n_kv_head, c.qkv_embd // c.n_head, c.is_interleaved
        self.q_linear = torch.nn.Linear(c.n_embd, c.qkv_embd)
        self.k_linear = torch.nn.Linear(c.n_embd, c.n_kv_head * self.d)
        self.v_linear = torch.nn.Linear(c.n_embd, c.n_kv_head * self.d)
        self.out_linear = torch.nn.Linear(c.qkv_embd, c.n_embd)

    def forward(self, x, memory, rotate, mask):
        split = lambda y, n: y.view(len(y), n, self.d).transpose(0, 1)
        q, k, v = split(self.q_linear(x), self.heads), split(self.k_linear(memory), self.kv_heads), split(self.v_linear(memory), self.kv_heads)
        q, k = rotate(q), rotate(k)
        n = self.heads // self.kv_heads
        k, v = [y.repeat_interleave(n, 0) if self.spread else y.repeat(n, 1, 1) for y in (k, v)]
        mixed = (q @ k.transpose(1, 2) / self.d ** 0.5 + mask).softmax(-1) @ v
        return self.out_linear(mixed.transpose(0, 1).reshape(len(x), -1))


class MuMlp(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(c.n_embd, c.hidden_dim), torch.nn.Linear(c.hidden_dim, c.n_embd)

    def forward(self, x):
        return self.fc2(torch.nn.functional.gelu(self.fc1(x), approximate="tanh"))


class Mu(torch.nn.Module):
    """The encoder-decoder of arXiv 2501.16273, written from its equations; dual_norm adds the norms behind each branch."""
    config_class = MuConfig

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        norm = lambda: torch.nn.RMSNorm(c.n_embd, eps=1e-6)
        norms = lambda n: {f"ln{i}": norm() for i in range(1, n + 1)} | ({f"post_ln{i}": norm() for i in range(1, n + 1)} if c.dual_norm else {})
        self.transformer = torch.nn.ModuleDict({
            "wte": torch.nn.Embedding(c.vocab_size, c.n_embd),
            "e": torch.nn.ModuleList([torch.nn.ModuleDict(norms(2) | {"attn": MuAttention(c), "mlp": MuMlp(c)}) for _ in range(c.n_encoder_layer)]),
            "ln_e": norm(),
            "h": torch.nn.ModuleList([torch.nn.ModuleDict(norms(3) | {"causal_attn": MuAttention(c), "cross_attn": MuAttention(c), "mlp": MuMlp(c)})
                                      for _ in range(c.n_decoder_layer)]),
            "ln_f": norm()})

    def forward(self, input_ids, decoder_input_ids, use_cache=False):
        t, c, d = self.transformer, self.config, self.config.qkv_embd // self.config.n_head

        def rotation(positions):
            angle = positions[:, None] * c.rope_theta ** (-torch.arange(0, d, 2) / d)
            cos, sin = [torch.cat([f(angle), f(angle)], -1).to(t["wte"].weight.dtype) for f in (torch.cos, torch.sin)]
            return lambda x: x * cos + torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1) * sin

        post = lambda layer, i, x: layer[f"post_ln{i}"](x) if c.dual_norm else x
        h = t["wte"](input_ids)[0]
        rotate = rotation(torch.arange(len(h)) - (len(h) - 1) // 2)
        for layer in t["e"]:
            x = layer["ln1"](h)
            h = h + post(layer, 1, layer["attn"](x, x, rotate, 0))
            h = h + post(layer, 2, layer["mlp"](layer["ln2"](h)))
        memory = t["ln_e"](h)
        g = t["wte"](decoder_input_ids)[0]
        rotate = rotation(torch.arange(len(g)))
        mask = torch.full((len(g), len(g)), -torch.inf).triu(1)
        for layer in t["h"]:
            x = layer["ln1"](g)
            g = g + post(layer, 1, layer["causal_attn"](x, x, rotate, mask))
            g = g + post(layer, 2, layer["cross_attn"](layer["ln2"](g), memory, lambda y: y, 0))
            g = g + post(layer, 3, layer["mlp"](layer["ln3"](g)))
        return transformers.modeling_outputs.CausalLMOutput(logits=(t["ln_f"](g) @ t["wte"].weight.T)[None])


def mu_draw(name, shape, rng):
    """Small embeddings, so that a token is not its own likeliest successor; MLPs that matter."""
    gain = 3 if "fc" in name else 2 if "q_linear" in name or "k_linear" in name else 0
    return integers(shape, 0.1, rng) if "wte" in name else integers(shape, gain / np.sqrt(shape[-1]), rng) if gain and len(shape) == 2 else None


def mu_config(**changes):
    return dict(vocab_size=VOCAB, n_encoder_layer=2, n_decoder_layer=2, n_embd=48, qkv_embd=72, n_head=6, n_kv_head=3, hidden_dim=80,
                block_size=CONTEXT, rope_theta=10000.0, rope_factor=1.0, is_interleaved=False, dual_norm=False, tie_word_embeddings=True,
                is_encoder_decoder=True, bos_token_id=1, eos_token_id=2, pad_token_id=0) | changes


@row
def mu():
    """The reference block of Mu: query head h reads KV head h mod 3, heads together wider than the model, biases everywhere."""
    return pair(Mu, mu_config(block_size=512), source=300, architecture="MuForConditionalGeneration", draw=mu_draw, dtype="bfloat16")


@row
def mu_dual():
    """Mu with a norm behind each branch too, four layers to two, heads grouped as usual."""
    return pair(Mu, mu_config(n_encoder_layer=4, dual_norm=True, is_interleaved=True, qkv_embd=48, n_head=4, n_kv_head=2), architecture="MuForConditionalGeneration", draw=mu_draw)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="source tree with convert_hf_to_gguf.py")
    parser.add_argument("rows", nargs="*", help="names of rows; default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (OUT / "tokenizers").mkdir(parents=True, exist_ok=True)
    write_tokenizers(OUT / "tokenizers")
    known = {f.__name__.replace("_", "-"): f for f in ROWS}
    for name in options.rows or known:
        if name not in known:
            raise SystemExit(f"unknown row {name}; known: {', '.join(known)}")
        make(known[name], options.llama_cpp)


if __name__ == "__main__":
    main()
