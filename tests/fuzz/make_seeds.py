#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: small inputs that are accepted, made of tests/data.

    python3 tests/fuzz/make_seeds.py OUT        one folder for each target under OUT

Needs Python 3.9 and no package. Golden models become seeds with a vocabulary of 24 rows. The same data give the same bytes.
"""
import json
import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
VOCAB = 24
MOST_BYTES = 96 << 10
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # GGUF value types
BLOCKS = {0: (1, 4), 1: (1, 2), 8: (32, 34), 30: (1, 2)}  # tensor types of the tables that are cut: weights, bytes
ALIGNMENT = 32


def padded(n):
    return -(-n // ALIGNMENT) * ALIGNMENT


class Gguf:
    """Metadata as raw bytes, tensors with their data."""

    def __init__(self, data):
        self.data, self.at = data, 8
        n_tensors, n_keys = self.take("<QQ")
        self.keys = []
        for _ in range(n_keys):
            name = self.string()
            kind = self.take("<I")[0]
            begin = self.at
            self.skip(kind)
            self.keys.append((name, kind, data[begin:self.at]))
        self.tensors = []
        for _ in range(n_tensors):
            name = self.string()
            dims = self.take("<%dQ" % self.take("<I")[0])
            kind, offset = self.take("<IQ")
            self.tensors.append([name, dims, kind, offset])
        base = padded(self.at)
        order = sorted(t[3] for t in self.tensors) + [len(data) - base]
        for t in self.tensors:
            t[3] = data[base + t[3]:base + order[order.index(t[3]) + 1]]

    def take(self, layout):
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def string(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.data[self.at - n:self.at]

    def skip(self, kind):
        if kind == 8:
            self.string()
        elif kind == 9:
            element, count = self.take("<IQ")
            for _ in range(count):
                self.skip(element)
        else:
            self.at += SCALARS[kind]

    def write(self):
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        for name, kind, value in self.keys:
            out += [struct.pack("<Q", len(name)), name, struct.pack("<I", kind), value]
        offset = 0
        for name, dims, kind, data in self.tensors:
            out += [struct.pack("<Q", len(name)), name, struct.pack("<I", len(dims)), struct.pack("<%dQ" % len(dims), *dims),
                    struct.pack("<IQ", kind, offset)]
            offset += padded(len(data))
        head = b"".join(out)
        return head.ljust(padded(len(head)), b"\0") + b"".join(d.ljust(padded(len(d)), b"\0") for _, _, _, d in self.tensors)


def strings_of(value):
    """Of an array of strings as it is stored."""
    count, at, found = struct.unpack_from("<Q", value, 4)[0], 12, []
    for _ in range(count):
        n = struct.unpack_from("<Q", value, at)[0]
        found.append(value[at + 8:at + 8 + n])
        at += 8 + n
    return found


def string_array(strings):
    return struct.pack("<IQ", 8, len(strings)) + b"".join(struct.pack("<Q", len(s)) + s for s in strings)


def cut_vocabulary(data):
    """The model with its first VOCAB tokens only."""
    file = Gguf(data)
    rows = max((t[1][1] for t in file.tensors if t[0] == b"token_embd.weight"), default=0)
    tokens = []
    keys = []
    for name, kind, value in file.keys:
        if name == b"tokenizer.ggml.tokens":
            tokens = strings_of(value)[:VOCAB]
            value = string_array(tokens)
        elif name in (b"tokenizer.ggml.scores", b"tokenizer.ggml.token_type"):
            value = struct.pack("<IQ", *struct.unpack_from("<I", value), VOCAB) + value[12:12 + 4 * VOCAB]
        elif name == b"tokenizer.ggml.merges":
            value = string_array(strings_of(value)[:4])
        elif name.endswith(b".vocab_size"):
            value = struct.pack("<I", VOCAB)
        keys.append((name, kind, value))
    file.keys = keys
    for t in file.tensors:
        if len(t[1]) == 2 and t[1][1] == rows and t[2] in BLOCKS and (t[0].startswith((b"token_embd", b"output", b"per_layer_token"))):
            weights, size = BLOCKS[t[2]]
            t[1] = (t[1][0], VOCAB)
            t[3] = t[3][:t[1][0] // weights * size * VOCAB]
        elif t[0] == b"output.bias":
            t[1] = (VOCAB,)
            t[3] = t[3][:4 * VOCAB]
    return file.write()


def hash_of(data):
    """detail::Hash64 of model/packed_cache.h."""
    mask = (1 << 64) - 1
    value = 0x243F6A8885A308D3
    whole = len(data) // 8
    words = list(struct.unpack_from("<%dQ" % whole, data)) + [int.from_bytes(data[8 * whole:], "little"), len(data)]
    for word in words:
        value = (value ^ word) * 0x9E3779B97F4A7C15 & mask
        value ^= value >> 32
    return value


def packed_cache(matrices):
    """A cache of (format, n, k, bytes of all panels), zeros for panels."""
    version = re.search(r'TRITIUM_VERSION "([0-9.]+)"', (ROOT / "include/tritium/core/version.h").read_text()).group(1)
    directory, at = b"", 512
    for name, n, k, size in matrices:
        directory += struct.pack("<16s6Q", name.encode(), n, k, 0, at, size, 0)
        at += -(-size // 64) * 64
    head = struct.pack("<8sIIQQQQIIII16s16s16s", b"TRITPACK", 1, 0x01020304, 0, 512, at + 64, len(matrices), 1, 1, 0, 0,
                       version.encode(), b"keep", b"keep").ljust(128, b"\0")
    head = bytearray((head + struct.pack("<4Q", 1, 2, 3, 4) + directory + b"\1").ljust(512, b"\0"))
    struct.pack_into("<Q", head, 16, hash_of(bytes(head[24:])))
    return bytes(head) + bytes(at + 64 - 512)


def tokenizer_files():
    cases = json.loads((DATA / "tokenizers" / "pipelines.json").read_text())
    for case in cases["tokenizers"]:
        model = {**cases["models"][case["model"]], **case["changes"]}
        if isinstance(model["vocab"], dict):
            model["vocab"] = {k: v for k, v in model["vocab"].items() if v < 300}
            join = lambda m: m.split(" ", 1) if isinstance(m, str) else m
            model["merges"] = [m for m in model["merges"] if all(p in model["vocab"] for p in (*join(m), "".join(join(m))))]
        parts = {k: case[k] for k in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")}
        yield case["name"], json.dumps({"version": "1.0", **parts, "model": model}, separators=(",", ":")).encode()


def main(out):
    seen = {}

    def put(target, name, data):
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        seen[target] = seen.get(target, 0) + 1
        (folder / re.sub(r"[^A-Za-z0-9._-]", "_", "%03d-%s" % (seen[target], name))).write_bytes(data)

    io = DATA / "io"
    for path in sorted(io.glob("*.gguf")):
        put("gguf", path.name, path.read_bytes())
    for path in sorted(io.rglob("*.safetensors")) + sorted(io.rglob("*.index.json")):
        put("safetensors", path.name, path.read_bytes())
    for path in sorted((DATA / "golden").glob("*/model.gguf")):
        model = cut_vocabulary(path.read_bytes())
        if len(model) <= MOST_BYTES:
            put("model", path.parent.name, model)
        if path.parent.name in ("phi4-mini", "qwen2"):
            put("gguf", path.parent.name, model)
    for path in sorted((DATA / "golden").glob("*/config.json")) + sorted((DATA / "golden_pairs").glob("*/config.json")):
        put("config", path.parent.name, path.read_bytes())
    for path in sorted(DATA.rglob("tokenizer.json")):
        put("tokenizer_json", path.parent.name, path.read_bytes())
    for name, text in tokenizer_files():
        put("tokenizer_json", name, text)
    for path in sorted(DATA.rglob("*.model")):
        put("tokenizer_model", path.stem, path.read_bytes())
    texts = json.loads((DATA / "tokenizers" / "pipelines.json").read_text())["texts"]
    for i, text in enumerate(texts):
        put("encode", "text", bytes([i % 7]) + text.encode("utf-8", "surrogatepass"))
    templates = (ROOT / "include/tritium/text/chat_template.h").read_text()
    for template in re.findall(r'R"jinja\((.*?)\)jinja"', templates, re.S):
        put("jinja", "template", template.encode())
    snippets = json.loads((DATA / "templates" / "snippets.json").read_text())
    context = json.dumps(snippets["context"], separators=(",", ":")).encode()
    for i, case in enumerate(snippets["cases"][::16]):
        put("jinja", "snippet", case[0].encode() + (b"\0" + context if i % 8 == 0 else b""))
    put("packed_cache", "one", packed_cache([("f32", 16, 4, 256)]))
    put("packed_cache", "two", packed_cache([("f32", 16, 4, 256), ("f16", 20, 8, 512)]))
    put("packed_cache", "none", packed_cache([]))
    (out / ".complete").write_text("%d seeds\n" % sum(seen.values()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
