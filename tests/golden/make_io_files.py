#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small files of tests/data/io with the packages that define the formats.

    python tests/golden/make_io_files.py [FOLDER]        default: tests/data/io beside this script

Needs gguf, safetensors, numpy and torch. The output is deterministic; the tests compare it byte for byte with
what the library writes from the same content, so that a file of ours is known to be readable where one of theirs is.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np
import safetensors.torch
import torch

folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "data" / "io"
folder.mkdir(parents=True, exist_ok=True)


def ramp(*shape, step=0.25, start=-2.0):
    """start, start + step, ...: exact in every float type for the sizes used here."""
    count = int(np.prod(shape))
    return (start + step * np.arange(count)).astype(np.float32).reshape(shape)


# --- GGUF: every metadata type, plain and quantised tensors, 1 to 4 dimensions ------------------------------
def write_gguf(name, alignment=None):
    writer = gguf.GGUFWriter(folder / name, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    for type_name, value in [
        ("UINT8", 200), ("INT8", -100), ("UINT16", 60000), ("INT16", -30000), ("UINT32", 4000000000), ("INT32", -2000000000),
        ("UINT64", 2**63 + 1), ("INT64", -(2**62)), ("FLOAT32", 0.5), ("FLOAT64", 0.1), ("BOOL", True),
        ("STRING", "gr\u00fc\u00dfe \U0001f600"),
    ]:
        writer.add_key_value("test." + type_name.lower(), value, gguf.GGUFValueType[type_name])
    writer.add_key_value("test.false", False, gguf.GGUFValueType.BOOL)
    writer.add_key_value("test.empty_string", "", gguf.GGUFValueType.STRING)
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -1.5])
    writer.add_array("test.bools", [True, False, True])
    writer.add_array("test.strings", ["a", "", "ccc", "\u4e16\u754c"])
    writer.add_tensor("plain.f32", ramp(3, 4))
    writer.add_tensor("plain.f16", ramp(5).astype(np.float16))
    writer.add_tensor("plain.i32", np.arange(24, dtype=np.int32).reshape(2, 3, 4))
    writer.add_tensor("plain.i8", np.arange(-8, 8, dtype=np.int8).reshape(2, 2, 2, 2))
    for quant in ("BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        type_ = gguf.GGMLQuantizationType[quant]
        data = gguf.quants.quantize(ramp(2, 64, step=0.03125), type_)
        writer.add_tensor("quant." + quant.lower(), data, raw_dtype=type_)
    for quant in ("TQ1_0", "TQ2_0"):
        type_ = gguf.GGMLQuantizationType[quant]
        data = gguf.quants.quantize((np.arange(512) % 3 - 1).astype(np.float32).reshape(2, 256), type_)
        writer.add_tensor("quant." + quant.lower(), data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_gguf("python.gguf")
write_gguf("python-align64.gguf", alignment=64)
version2 = bytearray((folder / "python.gguf").read_bytes())
version2[4:8] = struct.pack("<I", 2)  # the two versions have the same layout
(folder / "python-v2.gguf").write_bytes(version2)

vocabulary = gguf.GGUFWriter(folder / "python-vocab.gguf", "gpt2")
vocabulary.add_tokenizer_model("gpt2")
vocabulary.add_token_list(["<s>", "</s>"] + ["t%d" % i for i in range(62)])
vocabulary.add_token_scores([-float(i) for i in range(64)])
vocabulary.add_token_types([3, 3] + [1] * 62)
vocabulary.add_bos_token_id(0)
vocabulary.write_header_to_file()
vocabulary.write_kv_data_to_file()
vocabulary.close()

split = gguf.GGUFWriter(folder / "python-split.gguf", "llama", split_max_tensors=2)
split.add_block_count(1)
for i in range(5):
    split.add_tensor("part.%d" % i, ramp(2, 8, start=float(i)))
split.write_header_to_file()
split.write_kv_data_to_file()
split.write_tensors_to_file()
split.close()

# --- safetensors: every dtype that torch has, odd sizes, rank 0, no elements ---------------------------------
tensors = {
    "f64": torch.from_numpy(ramp(2, 2).astype(np.float64)),
    "f32": torch.from_numpy(ramp(3, 4)),
    "f16": torch.from_numpy(ramp(5)).to(torch.float16),
    "bf16": torch.from_numpy(ramp(3)).to(torch.bfloat16),
    "i64": torch.arange(-3, 3, dtype=torch.int64),
    "i32": torch.arange(4, dtype=torch.int32),
    "i16": torch.arange(3, dtype=torch.int16),
    "i8": torch.arange(-2, 3, dtype=torch.int8),
    "u8": torch.arange(7, dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros((0, 4)),
    "name \"quoted\" \\ \u00e9": torch.arange(2, dtype=torch.uint8),
}
safetensors.torch.save_file(tensors, folder / "python.safetensors", metadata={"format": "pt"})
safetensors.torch.save_file({"f8": torch.zeros(4, dtype=torch.float8_e4m3fn), "w": torch.ones(2)},
                            folder / "python-f8.safetensors")

# --- two checkpoints as transformers lays them out -------------------------------------------------------------
config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1,
          "rms_norm_eps": 1e-05, "rope_scaling": None, "tie_word_embeddings": False}
single = folder / "single"
single.mkdir(exist_ok=True)
(single / "config.json").write_text(json.dumps(config, indent=2) + "\n")
(single / "tokenizer_config.json").write_text('{"bos_token": "<s>"}\n')
safetensors.torch.save_file({"model.embed_tokens.weight": torch.from_numpy(ramp(4, 8))}, single / "model.safetensors")

shards = folder / "sharded"
shards.mkdir(exist_ok=True)
(shards / "config.json").write_text(json.dumps(config, indent=2) + "\n")
weights = {"model.embed_tokens.weight": torch.from_numpy(ramp(4, 8)),
           "model.layers.0.mlp.up_proj.weight": torch.from_numpy(ramp(6, 8)).to(torch.bfloat16),
           "lm_head.weight": torch.from_numpy(ramp(4, 8, start=1.0)).to(torch.float16)}
names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
placement = dict(zip(weights, [names[0], names[0], names[1]]))
for file in names:
    safetensors.torch.save_file({k: v for k, v in weights.items() if placement[k] == file}, shards / file)
total = sum(v.numel() * v.element_size() for v in weights.values())
(shards / "model.safetensors.index.json").write_text(
    json.dumps({"metadata": {"total_size": total}, "weight_map": placement}, indent=2, sort_keys=True) + "\n")

# --- NumPy --------------------------------------------------------------------------------------------------------
np.save(folder / "python-f4.npy", ramp(3, 5))
np.save(folder / "python-f8.npy", ramp(2, 3, 4).astype(np.float64))
np.save(folder / "python-i8.npy", np.arange(-4, 4, dtype=np.int64))
