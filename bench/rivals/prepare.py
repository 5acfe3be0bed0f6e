#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts GGUF files to what the rivals of end_to_end.py read. Run it with the Python that they are installed in.

    build/rivals/venv/bin/python bench/rivals/prepare.py MODEL.gguf... [--into build/rivals/models] [--only q4_0,ort-int4]
                                                         [--optimum PYTHON]

Into FOLDER/NAME, where NAME is the file's name without .gguf:
  q4_0.gguf            the same weights in llama.cpp's best tuned type (left out when the file has it already)
  hf/                  weights as bf16 for the others to start from; its tokenizer is a placeholder, as only ids go in
  ort-int4/            ONNX Runtime GenAI: 4 bits in blocks of 32, the head too
  ct2-int8/            CTranslate2: 8 bits a weight, one scale a row
  ov-int4/, ov-int8/   OpenVINO: 4 bits in groups of 64 with an 8-bit head, and 8 bits; only with --optimum, a Python with
                       optimum-intel, which wants older packages than the rest. OpenVINO reads many GGUF files itself.
  prepared.json        what was made, and in a word why not
"""
import argparse
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDER = """
import os, runpy, sys
import onnxruntime_genai.models
sys.path.insert(0, os.path.dirname(onnxruntime_genai.models.__file__))  # the name under which the builder imports them
from builders import gemma
model = gemma.Gemma3Model
init, rotation = model.__init__, model.make_rope_init
def nested(config):  # the builder knows configurations with one rotation, transformers 5 writes one a layer type
    return (getattr(config, "rope_parameters", None) or {}).get("full_attention")
def with_two_rotations(self, config, *rest):
    if nested(config):
        config.rope_local_base_freq = config.rope_parameters["sliding_attention"]["rope_theta"]
        config.rope_theta = nested(config)["rope_theta"]
    init(self, config, *rest)
model.__init__ = with_two_rotations
model.make_rope_init = lambda self, config: None if nested(config) else rotation(self, config)
runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__", alter_sys=True)
"""


def call(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise RuntimeError(lines[-1][-300:])


def make_q4_0(source, target, _):
    import gguf
    field = gguf.GGUFReader(source).get_field("general.file_type")
    if field is not None and int(field.parts[field.data[0]][0]) == 2:
        raise RuntimeError("the file is q4_0")
    quantize = ROOT / "build/rivals/llama.cpp/bin/llama-quantize"
    if not quantize.is_file():
        raise RuntimeError("no llama-quantize (bench/rivals/get-llama-cpp.sh builds it)")
    call(quantize, "--allow-requantize", source, target, "Q4_0")


def make_hf(source, target, _):
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedTokenizerFast
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype="bfloat16",
                                                 quantization_config=GgufConfig(dequantize=True))
    model.save_pretrained(target)
    config = model.config
    words = Tokenizer(models.WordLevel({f"<{i}>": i for i in range(config.vocab_size)}, unk_token="<0>"))
    end = f"<{config.eos_token_id or 2}>"
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<0>", bos_token=f"<{config.bos_token_id or 1}>", eos_token=end,
                            pad_token=end).save_pretrained(target)
    return {"parameters": model.num_parameters()}


def make_ort_int4(_, target, __):
    with tempfile.TemporaryDirectory() as cache:
        call(sys.executable, "-c", BUILDER, "-m", target.parent / "hf", "-o", target, "-p", "int4", "-e", "cpu", "-c", cache,
             "--extra_options", "int4_accuracy_level=4", "int4_block_size=32", "prune_lm_head=true")


def make_ct2_int8(_, target, __):
    call(pathlib.Path(sys.executable).parent / "ct2-transformers-converter", "--model", target.parent / "hf", "--output_dir", target,
         "--quantization", "int8", "--force")


def make_openvino(options):
    def make(_, target, optimum):
        if optimum is None:
            raise RuntimeError("no --optimum")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file in (target.parent / "hf").iterdir():
                (folder / file.name).symlink_to(file.resolve())
            config = json.loads((folder / "config.json").read_text())
            rotation = config.get("rope_parameters") or {}  # spelled as transformers 4 reads it
            config["rope_theta"] = rotation.get("full_attention", rotation).get("rope_theta", 10000.0)
            if "sliding_attention" in rotation:
                config["rope_local_base_freq"] = rotation["sliding_attention"]["rope_theta"]
            config["torch_dtype"] = config.get("dtype", "bfloat16")
            config.pop("rope_parameters", None)
            (folder / "config.json").unlink()
            (folder / "config.json").write_text(json.dumps(config))
            # A name in the temporary folder's path must not choose the export's task, so it is spelled out.
            call(optimum.parent / "optimum-cli", "export", "openvino", "-m", folder, "--task", "text-generation-with-past", *options, target)
    return make


STEPS = {"q4_0": ("q4_0.gguf", make_q4_0), "hf": ("hf", make_hf), "ort-int4": ("ort-int4", make_ort_int4), "ct2-int8": ("ct2-int8", make_ct2_int8),
         "ov-int4": ("ov-int4", make_openvino(["--weight-format", "int4", "--sym", "--group-size", "64", "--ratio", "1.0"])),
         "ov-int8": ("ov-int8", make_openvino(["--weight-format", "int8"]))}


def prepare(source, folder, only, optimum):
    folder.mkdir(parents=True, exist_ok=True)
    notes_file = folder / "prepared.json"
    notes = json.loads(notes_file.read_text()) if notes_file.is_file() else {}
    if notes.get("source_bytes") not in (None, source.stat().st_size):
        sys.exit(f"prepare: error: {folder} was made from another file (remove it)")
    notes["source_bytes"] = source.stat().st_size
    for step, (name, make) in STEPS.items():
        if only and step not in only:
            continue
        target = folder / name
        if target.exists() and "made" in notes.get(step, {}):
            continue
        shutil.rmtree(target, ignore_errors=True)
        try:
            if step not in ("q4_0", "hf") and "made" not in notes.get("hf", {}):
                raise RuntimeError("no hf: " + notes.get("hf", {}).get("why", "not made"))
            notes.update(make(source, target, optimum) or {})
            notes[step] = {"made": True}
        except Exception as error:  # one rival that cannot read a model is a row of the table, not an end
            shutil.rmtree(target, ignore_errors=True)
            notes[step] = {"why": " ".join(str(error).split())[:300]}
        print(f"prepare: {source.stem}: {step}: {notes[step].get('why', 'made')}", flush=True)
        notes["versions"] = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "onnxruntime-genai", "ctranslate2")
                             if any(True for _ in importlib.metadata.distributions(name=p))}
        notes_file.write_text(json.dumps(notes, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL.gguf")
    parser.add_argument("--into", type=pathlib.Path, default=ROOT / "build/rivals/models")
    parser.add_argument("--only", type=lambda s: s.split(","), help=f"of {','.join(STEPS)}")
    parser.add_argument("--optimum", type=pathlib.Path, metavar="PYTHON", help="a Python with optimum-intel, for ov-int4 and ov-int8")
    options = parser.parse_args()
    for unknown in set(options.only or []) - set(STEPS):
        sys.exit(f"prepare: error: no step '{unknown}' (there are {', '.join(STEPS)})")
    for model in options.models:
        if not model.is_file():
            sys.exit(f"prepare: error: no file {model}")
        prepare(model.resolve(), options.into / model.stem, options.only, options.optimum)


if __name__ == "__main__":
    main()
