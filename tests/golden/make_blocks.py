#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/blocks.bin: random GGUF blocks and what the gguf package makes of them.

Usage: make_blocks.py [--check]      (packages: requirements.txt; --check compares instead of writing)

The file is little-endian and has no padding:
    8 bytes  magic "TRITGOLD"        u32 number of sections
    each section:
      16 bytes  name, zero-padded    "<kind> <type>": kinds decode, encode, int8, ternary
      u32 number of f32 values       u32 number of bytes
      the bytes, then the f32 values
Kinds:
    decode   random bytes of a type -> the values the gguf package dequantizes them to
    encode   values -> the bytes the gguf package quantizes them to (the types it has a quantizer for)
    int8     values: rows of 96 activations, then one scale per row -> int8 codes, by the formula of BitNet in numpy f32
    ternary  values: 12 x 160 weights, then gamma -> codes + 1, by the absmean formula in numpy f64
"""

import struct
import sys
import warnings
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

OUTPUT = Path(__file__).resolve().parent.parent / "data" / "blocks.bin"

# type -> byte offsets of its f16 scales in a block
BLOCK_TYPES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.IQ4_NL: [0],
    Type.MXFP4: [], Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    Type.IQ4_XS: [0], Type.TQ1_0: [52], Type.TQ2_0: [64],
}
ENCODED_TYPES = [Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.TQ1_0, Type.TQ2_0,
                 Type.MXFP4]
# type -> the largest element of a block with scale 1, and a magnitude to draw the others from
TIE_SCALE_ONE = {Type.Q4_0: (-8, 5), Type.Q5_0: (-16, 13), Type.Q8_0: (127, 100), Type.TQ1_0: (1, 1), Type.TQ2_0: (1, 1)}


def random_scales(rng, n):
    """Finite f16 of all magnitudes and both signs, the edges first."""
    edges = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x0400, 0x3C00], dtype=np.uint16)
    bits = rng.integers(0, 0x7C00, size=n, dtype=np.uint16) | (rng.integers(0, 2, size=n, dtype=np.uint16) << 15)
    bits[: len(edges)] = edges[:n]
    return bits


def decode_section(rng, kind):
    length, size = GGML_QUANT_SIZES[kind]
    n = 48 if length == 32 else 14
    blocks = rng.integers(0, 256, size=(n, size), dtype=np.uint8)
    for offset in BLOCK_TYPES[kind]:
        blocks[:, offset : offset + 2] = rng.permutation(random_scales(rng, n)).view(np.uint8).reshape(n, 2)
    if kind == Type.TQ2_0:  # code 3 is reserved: clear the low bit of every such pair
        codes = blocks[:, :64]
        codes &= ~(codes & (codes >> 1) & 0x55)
    if kind == Type.MXFP4:
        blocks[:4, 0] = [0, 1, 2, 255]
    return blocks.tobytes(), dequantize(blocks.reshape(1, -1), kind).astype("<f4").ravel()


def encode_section(rng, kind):
    length = max(GGML_QUANT_SIZES[kind][0], 32)
    n = 1536 // length
    values = rng.standard_normal((n, length)) * 10.0 ** rng.uniform(-3, 3, size=(n, 1))
    values[1] = np.abs(values[1])
    values[2] = 0.0
    values[3, 1:] = 0.0
    if kind in (Type.TQ1_0, Type.TQ2_0):
        values[0] = rng.integers(-1, 2, size=length) * 0.75
    if kind in TIE_SCALE_ONE:  # a row whose scale is exactly 1, with every element half-way between two codes
        largest, others = TIE_SCALE_ONE[kind]
        values[4] = rng.integers(-others, others, size=length) + 0.5
        values[4, 0] = largest
    if kind in (Type.Q4_1, Type.Q5_1):
        top = 15 if kind == Type.Q4_1 else 31
        values[4] = rng.integers(0, top, size=length) + 0.5
        values[4, :2] = [0, top]
    values = values.astype("<f4")
    blocks = quantize(values.reshape(1, -1), kind)
    return np.ascontiguousarray(blocks).view(np.uint8).tobytes(), values.ravel()


def int8_section(rng):
    x = (rng.standard_normal((12, 96)) * 10.0 ** rng.uniform(-4, 4, size=(12, 1))).astype(np.float32)
    x[0] = 0.0
    x[1] = np.float32(1e-6) * (np.arange(96) - 48)  # below the floor of the scale
    x[2] = np.arange(96) / 2 - 20  # with a largest magnitude of 127 / 2, every other product is a tie
    x[2, 0] = 63.5
    scales = np.float32(127) / np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-5))
    codes = np.clip(np.round(x * scales), -128, 127).astype(np.int8)
    return codes.tobytes(), np.concatenate([x.ravel(), scales.ravel()]).astype("<f4")


def ternary_section(rng):
    w = (rng.standard_normal((12, 160)) * 0.04).astype(np.float32)
    gamma = np.float32(max(np.abs(w.astype(np.float64)).mean(), 1e-5))
    codes = np.clip(np.round(w.astype(np.float64) / np.float64(gamma)), -1, 1) + 1
    return codes.astype(np.uint8).tobytes(), np.append(w.ravel(), gamma).astype("<f4")


def main():
    warnings.simplefilter("ignore", RuntimeWarning)  # the largest mxfp4 scales overflow on purpose
    rng = np.random.default_rng(20240607)
    sections = [(f"decode {kind.name.lower()}", decode_section(rng, kind)) for kind in BLOCK_TYPES]
    sections += [(f"encode {kind.name.lower()}", encode_section(rng, kind)) for kind in ENCODED_TYPES]
    sections += [("int8", int8_section(rng)), ("ternary", ternary_section(rng))]
    out = b"TRITGOLD" + struct.pack("<I", len(sections))
    for name, (data, values) in sections:
        out += name.encode().ljust(16, b"\0") + struct.pack("<II", len(values), len(data)) + data + values.tobytes()
    if "--check" in sys.argv[1:]:
        same = OUTPUT.read_bytes() == out
        print(f"{OUTPUT.name}: {'unchanged' if same else 'differs'}")
        return 0 if same else 1
    OUTPUT.write_bytes(out)
    print(f"{OUTPUT.name}: {len(sections)} sections, {len(out)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
