#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One rival in one process: loads a model once, then answers timed requests; end_to_end.py starts and stops it.

    bench/rivals/engines.py openvino|onnxruntime|ctranslate2 MODEL THREADS [SETTING=VALUE...]

Reads one JSON object a line, {"prompt": tokens, "generate": tokens, "seed": number}, and answers {"seconds": s, "made": tokens}:
the time from handing over fresh random ids to the last generated token, greedy, with no end-of-text stop. Prefill is a long
prompt and one token, decode a prompt of one id and many tokens, so N tokens are N passes through the model in every engine.
The first line it writes is {"version": text, "weight_bytes": bytes} or {"error": text}.
"""
import json
import os
import pathlib
import random
import sys
import time

IDS = range(1000, 32000)  # ordinary tokens of every vocabulary in use


class OpenVino:
    """A GGUF file that OpenVINO GenAI reads itself, or a folder that optimum-intel exported."""

    def __init__(self, model, threads, settings):
        import numpy
        import openvino
        import openvino_genai
        self.numpy, self.openvino, self.genai = numpy, openvino, openvino_genai
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": ""}
        if "group" in settings:
            options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = int(settings["group"])
        if "attention" in settings:
            options["ATTENTION_BACKEND"] = settings["attention"]
        self.pipeline = openvino_genai.LLMPipeline(str(model), "CPU", **options)
        self.version = openvino_genai.__version__
        self.weight_bytes = (model / "openvino_model.bin" if model.is_dir() else model).stat().st_size

    def run(self, ids, count):
        config = self.genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = count
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        prompt = self.openvino.Tensor(self.numpy.array([ids], self.numpy.int64))
        start = time.perf_counter()
        made = len(self.pipeline.generate(prompt, config).tokens[0])
        return time.perf_counter() - start, made


class OnnxRuntime:
    """A folder that onnxruntime_genai.models.builder wrote."""

    def __init__(self, model, threads, settings):
        import onnxruntime_genai
        self.genai = onnxruntime_genai
        config = onnxruntime_genai.Config(str(model))
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self.model = onnxruntime_genai.Model(config)
        self.version = onnxruntime_genai.__version__
        self.weight_bytes = sum(f.stat().st_size for f in model.glob("*.data"))
        decoder = json.loads((model / "genai_config.json").read_text())["model"]["decoder"]
        self.window = decoder.get("sliding_window", {}).get("window_size", 0)  # no cache may be smaller

    def run(self, ids, count):
        options = self.genai.GeneratorParams(self.model)
        length = max(len(ids) + count, self.window)
        options.set_search_options(do_sample=False, batch_size=1, min_length=length, max_length=length)
        generator = self.genai.Generator(self.model, options)  # makes the cache; other engines have theirs at this point
        start = time.perf_counter()
        generator.append_tokens(ids)
        for _ in range(count):
            if not generator.is_done():
                generator.generate_next_token()
        return time.perf_counter() - start, len(generator.get_sequence(0)) - len(ids)


class CTranslate2:
    """A folder that ct2-transformers-converter wrote."""

    def __init__(self, model, threads, settings):
        import ctranslate2
        self.generator = ctranslate2.Generator(str(model), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1)
        self.tokens = json.loads((model / "vocabulary.json").read_text())
        self.version = ctranslate2.__version__
        self.weight_bytes = (model / "model.bin").stat().st_size

    def run(self, ids, count):
        prompt = [self.tokens[i] for i in ids]
        start = time.perf_counter()
        result = self.generator.generate_batch([prompt], min_length=count, max_length=count, beam_size=1, sampling_topk=1,
                                               include_prompt_in_result=False)
        return time.perf_counter() - start, len(result[0].sequences_ids[0])


ENGINES = {"openvino": OpenVino, "onnxruntime": OnnxRuntime, "ctranslate2": CTranslate2}


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ENGINES:
        sys.exit(__doc__)
    answers = os.fdopen(os.dup(1), "w", buffering=1)  # engines that print must not break the protocol
    os.dup2(2, 1)

    def answer(**values):
        answers.write(json.dumps(values) + "\n")

    try:
        engine = ENGINES[sys.argv[1]](pathlib.Path(sys.argv[2]), int(sys.argv[3]), dict(s.split("=", 1) for s in sys.argv[4:]))
    except ModuleNotFoundError as error:
        return answer(error=f"not installed ({error.name})")
    except Exception as error:
        return answer(error=" ".join(str(error).split()))
    answer(version=engine.version, weight_bytes=engine.weight_bytes)
    for line in sys.stdin:
        request = json.loads(line)
        ids = random.Random(request["seed"]).choices(IDS, k=request["prompt"])
        try:
            seconds, made = engine.run(ids, request["generate"])
        except Exception as error:
            return answer(error=" ".join(str(error).split()))
        answer(seconds=seconds, made=made)


if __name__ == "__main__":
    main()
