#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes GGUF files of the full size of known models with random weights, to measure size, memory and speed without a download.

    python3 scripts/make-synthetic.py bitnet-2b4t [--type tq2_0] [--embedding q6_k] [--layers 4] [build/synthetic]
    python3 scripts/make-synthetic.py all

Needs Python 3.9 with the packages numpy and gguf (pip install numpy gguf; tried with numpy 2.4 and gguf 0.19), nothing else.

Blocks are written as the type has them: codes are drawn from a table whose mean is zero, scales are set so that a weight's
deviation is 1 / sqrt(columns), and norms are one, so activations keep the size that they have in a trained model. No matrix
is ever held as floats or whole: memory stays at some tens of MB. The same arguments give the same bytes. What the model says
is noise. Rows that are no multiple of a type's block get the type that llama.cpp falls back to.

The vocabulary has the model's size: 256 byte tokens, a few merges, fillers that no text reaches.
"""
import argparse
import math
import pathlib
import sys
import zlib

import gguf
import numpy as np

CHUNK = 1 << 22  # weights that are made at a time

# Hyper-parameters as the models' configurations have them. Layers are spelled as GGUF spells them.
MODELS = {
    "bitnet-2b4t": dict(architecture="bitnet-b1.58", width=2560, inner=6912, layers=30, heads=20, kv_heads=5, head=128, base=5e5, eps=1e-5,
                        context=4096, vocab=128256, bos=128000, eos=128001, pre="llama-bpe", type="tq2_0", embedding="f16", sub_norms=True),
    "qwen3-0.6b": dict(architecture="qwen3", width=1024, inner=3072, layers=28, heads=16, kv_heads=8, head=128, base=1e6, eps=1e-6,
                       context=40960, vocab=151936, bos=151643, eos=151645, pre="qwen2", head_norms=True),
    "qwen2.5-0.5b": dict(architecture="qwen2", width=896, inner=4864, layers=24, heads=14, kv_heads=2, head=64, base=1e6, eps=1e-6,
                         context=32768, vocab=151936, bos=151643, eos=151645, pre="qwen2", biases=True),
    "gemma3-1b": dict(architecture="gemma3", width=1152, inner=6912, layers=26, heads=4, kv_heads=1, head=256, base=1e6, eps=1e-6,
                      context=32768, vocab=262144, bos=2, eos=1, pre="default", head_norms=True, post_norms=True, window=512),
    "phi4-mini": dict(architecture="phi3", width=3072, inner=8192, layers=32, heads=24, kv_heads=8, head=128, base=1e4, eps=1e-5,
                      context=131072, vocab=200064, bos=199999, eos=200020, pre="gpt-4o", fused=True, rotated=96, original=4096, window=262144),
    "smollm2-135m": dict(architecture="llama", width=576, inner=1536, layers=30, heads=9, kv_heads=3, head=64, base=1e5, eps=1e-5,
                         context=8192, vocab=49152, bos=1, eos=2, pre="smollm"),
}

# name: GGUF's number, weights and bytes of a block, GGUF's file type, type for rows that do not divide
TYPES = {
    "f32": (0, 1, 4, 0, ""), "f16": (1, 1, 2, 1, ""), "bf16": (30, 1, 2, 32, ""),
    "q4_0": (2, 32, 18, 2, "f16"), "q4_1": (3, 32, 20, 3, "f16"), "q5_0": (6, 32, 22, 8, "f16"), "q5_1": (7, 32, 24, 9, "f16"),
    "q8_0": (8, 32, 34, 7, "f16"), "q2_k": (10, 256, 84, 10, "q4_0"), "q3_k": (11, 256, 110, 12, "q4_0"), "q4_k": (12, 256, 144, 15, "q5_0"),
    "q5_k": (13, 256, 176, 17, "q5_1"), "q6_k": (14, 256, 210, 18, "q8_0"), "tq1_0": (34, 256, 54, 36, "q4_0"), "tq2_0": (35, 256, 66, 37, "q4_0"),
    "i2_s": (36, 128, 32, 40, "q4_0"),
}
TERNARY = ("tq1_0", "tq2_0", "i2_s")


# --- codes -------------------------------------------------------------------------------------------------------------

def quantiles(count):
    """Values about normal, of deviation 1 and mean 0, all equally likely."""
    from statistics import NormalDist
    normal = NormalDist()
    half = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count // 2)])
    values = np.concatenate([half, -half[::-1]])
    return values / values.std()


def trits():
    """For each of 256 random bytes five codes 0 1 2 whose means are exactly 1."""
    codes = list(range(243)) + [121] + [c for i in range(6) for c in (20 * i, 242 - 20 * i)]
    assert len(codes) == 256
    return np.array([[c // 3 ** (4 - i) % 3 for i in range(5)] for c in codes], np.uint8)


NORMAL = quantiles(65536).astype(np.float32)
NIBBLE = np.array([8 + o for o in (-5, -4, -3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3, 4, 5)], np.uint8)
NIBBLES = (NIBBLE[np.arange(256) >> 4] << 4 | NIBBLE[np.arange(256) & 15]).astype(np.uint8)
NIBBLE_VARIANCE = float(np.mean((NIBBLE.astype(float) - 8) ** 2))
INT8 = np.clip(np.rint(quantiles(256) * 40), -127, 127).astype(np.int8)
TRITS = trits()
FOUR_TRITS = (TRITS[:, 0] | TRITS[:, 1] << 2 | TRITS[:, 2] << 4 | TRITS[:, 3] << 6).astype(np.uint8)


def base_3(digits):
    """TQ1_0's byte: a fraction of 256 that gives the digits when it is multiplied by 3 again and again."""
    value = sum(digits[:, i].astype(int) * 3 ** (4 - i) for i in range(digits.shape[1]))
    return ((value * 256 + 242) // 243).astype(np.uint8)


FIVE_IN_A_BYTE, FOUR_IN_A_BYTE = base_3(TRITS), base_3(TRITS[:, :4])


def half(value, n):
    return np.full((n, 1), value, np.float16).view(np.uint8)


def packed_scales(scale, minimum):
    """Eight pairs of 6-bit numbers in 12 bytes, as Q4_K and Q5_K have them."""
    low = scale[:, :4] | (scale[:, 4:] >> 4) << 6
    middle = minimum[:, :4] | (minimum[:, 4:] >> 4) << 6
    return np.concatenate([low, middle, (scale[:, 4:] & 15) | (minimum[:, 4:] & 15) << 4], 1).astype(np.uint8)


def make_blocks(kind, n, sigma, rng):
    """n blocks whose weights have mean 0 and deviation sigma, as bytes (n, block bytes)."""
    raw = lambda width: rng.integers(0, 256, (n, width), np.uint8)
    nibbles = lambda width: NIBBLES[raw(width)]
    if kind in ("f32", "f16", "bf16"):
        values = NORMAL[rng.integers(0, 65536, n, np.uint16)] * np.float32(sigma)
        if kind == "bf16":
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(n, 2)
        return values.astype(np.float16 if kind == "f16" else np.float32).view(np.uint8).reshape(n, -1)
    if kind in ("q4_0", "q4_1"):  # d (q - 8); d q + m
        d = sigma / math.sqrt(NIBBLE_VARIANCE)
        return np.concatenate([half(d, n)] + ([half(-8 * d, n)] if kind == "q4_1" else []) + [nibbles(16)], 1)
    if kind in ("q5_0", "q5_1"):  # a fifth bit, even odds: d (q - 16); d q + m
        d = sigma / math.sqrt(NIBBLE_VARIANCE + 64)
        return np.concatenate([half(d, n)] + ([half(-16 * d, n)] if kind == "q5_1" else []) + [raw(4), nibbles(16)], 1)
    if kind == "q8_0":
        return np.concatenate([half(sigma / INT8.astype(float).std(), n), INT8[raw(32)].view(np.uint8)], 1)
    if kind == "q2_k":  # d s q - m s, q of 0 .. 3
        scale = rng.integers(4, 16, (n, 16), np.uint8)
        d = sigma / math.sqrt(1.25 * np.mean(np.arange(4, 16) ** 2))
        return np.concatenate([scale | scale << 4, raw(64), half(d, n), half(1.5 * d, n)], 1)
    if kind == "q3_k":  # d (s - 32) q, q of -4 .. 3, signs of s even
        d = sigma / math.sqrt(5.5 * np.mean((np.arange(64) - 32.0) ** 2))
        return np.concatenate([raw(32), raw(64), raw(12), half(d, n)], 1)
    if kind in ("q4_k", "q5_k"):  # d s q - m s
        fifth = kind == "q5_k"
        scale = rng.integers(24, 41, (n, 8), np.uint8)
        d = sigma / math.sqrt((NIBBLE_VARIANCE + 64 * fifth) * np.mean(np.arange(24, 41) ** 2))
        return np.concatenate([half(d, n), half((16 if fifth else 8) * d, n), packed_scales(scale, scale)] +
                              ([raw(32)] if fifth else []) + [nibbles(128)], 1)
    if kind == "q6_k":  # d s (q - 32), the upper two bits even
        scale = rng.integers(24, 41, (n, 16), np.uint8)
        d = sigma / math.sqrt((NIBBLE_VARIANCE + 320) * np.mean(np.arange(24, 41) ** 2))
        return np.concatenate([nibbles(128), raw(64), scale, half(d, n)], 1)
    d = ternary_step(sigma)
    if kind == "tq2_0":
        return np.concatenate([FOUR_TRITS[raw(64)], half(d, n)], 1)
    if kind == "tq1_0":
        return np.concatenate([FIVE_IN_A_BYTE[raw(48)], FOUR_IN_A_BYTE[raw(4)], half(d, n)], 1)
    assert kind == "i2_s"
    return FOUR_TRITS[raw(32)]


def ternary_step(sigma):
    return sigma / float(np.std(TRITS.astype(float)))


# --- the file ----------------------------------------------------------------------------------------------------------

class Checkpoint:
    """Tensors by name, made when they are written."""

    def __init__(self, writer, seed):
        self.writer, self.seed, self.tensors = writer, seed, []

    def matrix(self, name, rows, columns, kind, sigma):
        while kind and columns % TYPES[kind][1] != 0:
            kind = TYPES[kind][4]
        number, block, size, _, _ = TYPES[kind]
        bytes_ = rows * columns // block * size + (32 if kind == "i2_s" else 0)
        self.writer.add_tensor_info(name, (rows, columns), np.dtype(np.int8), bytes_, raw_dtype=number)
        self.tensors.append((name, kind, rows * columns // block, sigma, bytes_))

    def vector(self, name, values):
        values = np.asarray(values, np.float32)
        self.writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
        self.tensors.append((name, values))

    def write(self):
        writer = self.writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        for name, *what in self.tensors:
            start = file.tell()
            if len(what) == 1:
                file.write(what[0].tobytes())
            else:
                kind, blocks, sigma, bytes_ = what
                rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
                step = max(CHUNK // TYPES[kind][1], 1)
                for first in range(0, blocks, step):
                    file.write(make_blocks(kind, min(step, blocks - first), sigma, rng).tobytes())
                if kind == "i2_s":  # one scale behind all codes
                    file.write(np.float32(ternary_step(sigma)).tobytes() + bytes(28))
                assert file.tell() - start == bytes_
            writer.write_padding(file, file.tell() - start)
        writer.close()


def add_vocabulary(writer, m):
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    alphabet = [chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)]
    letters = "etaoinshrdlu"
    merges = [(x, y) for x in (alphabet[32], *letters) for y in letters]
    words = iter(alphabet + [x + y for x, y in merges])
    control = {m["bos"]: "<|begin|>", m["eos"]: "<|end|>"}
    tokens = [control.get(i) or next(words, f"<filler {i}>") for i in range(m["vocab"])]
    assert len(set(tokens)) == len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(m["pre"])
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for i in range(m["vocab"])])
    writer.add_token_merges([f"{x} {y}" for x, y in merges])
    writer.add_bos_token_id(m["bos"])
    writer.add_eos_token_id(m["eos"])
    writer.add_add_bos_token(False)


def make(name, options):
    m = MODELS[name]
    kind = options.type or m.get("type", "q4_0")
    embedding = options.embedding or m.get("embedding") or {"f32": "f32", "f16": "f16", "bf16": "bf16"}.get(kind) or (
        "q6_k" if kind.endswith("_k") else "q8_0")
    layers = min(options.layers or m["layers"], m["layers"])
    shortened = f"-{layers}layers" if layers < m["layers"] else ""
    path = options.folder / f"{name}-{kind}-{embedding}{shortened}-seed{options.seed}.gguf"
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, m["architecture"])
    writer.add_name(path.stem)
    writer.add_file_type(TYPES[kind][3])
    writer.add_context_length(m["context"])
    writer.add_embedding_length(m["width"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(m["inner"])
    writer.add_head_count(m["heads"])
    writer.add_head_count_kv(m["kv_heads"])
    writer.add_key_length(m["head"])
    writer.add_value_length(m["head"])
    writer.add_rope_freq_base(m["base"])
    writer.add_layer_norm_rms_eps(m["eps"])
    writer.add_vocab_size(m["vocab"])
    rotated = m.get("rotated", m["head"])
    if m["architecture"] not in ("gemma3", "qwen2", "qwen3"):
        writer.add_rope_dimension_count(rotated)
    if "window" in m:
        writer.add_sliding_window(m["window"])
    if "original" in m:
        writer.add_rope_scaling_orig_ctx_len(m["original"])
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(m["context"] / m["original"]) / math.log(m["original"])))
    add_vocabulary(writer, m)

    file = Checkpoint(writer, options.seed)
    width, inner, q, kv = m["width"], m["inner"], m["heads"] * m["head"], m["kv_heads"] * m["head"]
    one = lambda name, n: file.vector(name, np.ones(n))
    linear = lambda name, rows, columns: file.matrix(name, rows, columns, kind, 1 / math.sqrt(columns))
    file.matrix("token_embd.weight", m["vocab"], width, embedding, 1 / math.sqrt(width))
    one("output_norm.weight", width)
    if "original" in m:  # divisors of LongRoPE that grow as trained ones do
        ramp = np.arange(rotated // 2) / (rotated // 2 - 1)
        file.vector("rope_factors_long.weight", 1 + (m["context"] / m["original"] - 1) * ramp ** 2)
        file.vector("rope_factors_short.weight", np.ones(rotated // 2))
    for i in range(layers):
        block = f"blk.{i}."
        one(block + "attn_norm.weight", width)
        if m.get("fused"):
            linear(block + "attn_qkv.weight", q + 2 * kv, width)
        else:
            for part_name, rows in (("q", q), ("k", kv), ("v", kv)):
                linear(f"{block}attn_{part_name}.weight", rows, width)
                if m.get("biases"):
                    bias = np.random.default_rng([options.seed, i, rows]).standard_normal(rows) * 0.1
                    file.vector(f"{block}attn_{part_name}.bias", bias)
        if m.get("head_norms"):
            one(block + "attn_q_norm.weight", m["head"])
            one(block + "attn_k_norm.weight", m["head"])
        if m.get("sub_norms"):
            one(block + "attn_sub_norm.weight", q)
            one(block + "ffn_sub_norm.weight", inner)
        linear(block + "attn_output.weight", width, q)
        one(block + "ffn_norm.weight", width)
        if m.get("post_norms"):
            one(block + "post_attention_norm.weight", width)
            one(block + "post_ffw_norm.weight", width)
        if m.get("fused"):
            linear(block + "ffn_up.weight", 2 * inner, width)
        else:
            linear(block + "ffn_gate.weight", inner, width)
            linear(block + "ffn_up.weight", inner, width)
        linear(block + "ffn_down.weight", width, inner)
    file.write()
    part.replace(path)  # the name is only given to a whole file
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=[*MODELS, "all"])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "build" / "synthetic",
                        help="where to write (default: build/synthetic)")
    parser.add_argument("--type", choices=TYPES, help="of the layers' matrices (default: tq2_0 for BitNet, else q4_0)")
    parser.add_argument("--embedding", choices=[t for t in TYPES if t not in TERNARY],
                        help="of the embedding, which is the head too (default: f16 for BitNet, q6_k beside k-quants, else q8_0)")
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args()
    if options.layers is not None and options.layers < 1:
        parser.error("--layers must be at least 1")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS if options.model == "all" else [options.model]:
        make(name, options)


if __name__ == "__main__":
    sys.exit(main())
