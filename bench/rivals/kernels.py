#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One matrix product at a time: Tritium beside ggml, and beside the int8 products of PyTorch (oneDNN) and ONNX Runtime.

    bench/rivals/kernels.py [--rounds 5] [--threads 1] [--only SUBSTRING] [--json FILE]

Each round runs every program once on the same layer, in turn; a cell is the median over rounds in microseconds. ggml is
measured in the fastest of its layouts and at the bits of our format or more; torch and onnxruntime, where they can be
imported, multiply int8 by int8 with no scales at all. Nothing else should run meanwhile.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from end_to_end import ROOT, cpu_name

BENCH = ROOT / "build/release/bin/tritium_bench"

# (our format, ggml's type, layer, n, k, rows)
CASES = [(ours, theirs, layer, n, k, m)
         for layer, n, k in (("qwen2.5-0.5b.down", 896, 4864), ("bitnet-2b4t.gate", 6912, 2560), ("square.2048", 2048, 2048))
         for ours, theirs in (("ternary2", "tq2_0"), ("ternary1.6", "tq1_0"), ("int4g32", "q4_0"), ("int8", "q8_0"), ("k4g32", "q4_K"))
         for m in (1, 8, 128)]


def ours(case, threads):
    name, _, layer, _, _, m = case
    pattern = f"^matmul/{name}/{layer}/m:{m}/".replace(".", r"\.")
    done = subprocess.run([BENCH, f"--threads={threads}", "--limits=0", f"--benchmark_filter={pattern}", "--benchmark_min_time=0.3", "--benchmark_format=json"],
                          capture_output=True, text=True)
    rows = json.loads(done.stdout)["benchmarks"] if done.returncode == 0 else []
    if len(rows) != 1 or rows[0].get("error_occurred"):
        sys.exit(f"kernels: error: tritium_bench on {name} {layer} m:{m}: {done.stderr.strip()[-300:] or rows}")
    return rows[0]["real_time"] / 1e9


def ggml(binary, case, threads):
    _, kind, _, n, k, m = case
    done = subprocess.run([binary, kind, str(n), str(k), str(m), str(threads), "1", "0.3"], capture_output=True, text=True)
    return json.loads(done.stdout)["seconds"] if done.returncode == 0 else None


def timed(product):
    product()
    times, end = [], time.perf_counter() + 0.3
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def torch_int8(case, threads):
    try:
        import torch
    except ImportError:
        return None
    _, _, _, n, k, m = case
    torch.set_num_threads(threads)
    x = torch.randint(-128, 127, (m, k), dtype=torch.int8)
    w = torch.randint(-128, 127, (n, k), dtype=torch.int8).t()
    try:
        return timed(lambda: torch._int_mm(x, w))
    except RuntimeError:
        return None


def onnx_int8(case, threads):
    try:
        import numpy as np
        import onnxruntime as ort
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    _, _, _, n, k, m = case
    w = numpy_helper.from_array(np.random.default_rng(1).integers(-128, 127, (k, n), dtype=np.int8), "w")
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.UINT8, [m, k])],
                              [helper.make_tensor_value_info("y", TensorProto.INT32, [m, n])], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(2).integers(0, 255, (m, k), dtype=np.uint8)
    return timed(lambda: session.run(None, {"x": x}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose 'format layer m:rows' contains this")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if not BENCH.is_file():
        sys.exit("kernels: error: no build/release/bin/tritium_bench (cmake --preset release && cmake --build build/release)")
    subprocess.run([ROOT / "bench/rivals/get-llama-cpp.sh"], stdout=subprocess.DEVNULL, check=True)
    binary = ROOT / "build/rivals/ggml_matmul"

    results = []
    print(f"# {cpu_name()}, {options.threads} thread(s), medians of {options.rounds} rounds in turn, microseconds; ratio: theirs / ours")
    print(f"{'format':11} {'layer':18} {'rows':>4} {'tritium':>10} {'ggml':>16} {'torch int8':>16} {'onnxruntime int8':>18}")
    for case in CASES:
        label = f"{case[0]} {case[2]} m:{case[5]}"
        if options.only not in label:
            continue
        runs = {"tritium": lambda: ours(case, options.threads), "ggml": lambda: ggml(binary, case, options.threads)}
        if case[0] == "int8" or case[5] >= 128:
            runs["torch"] = lambda: torch_int8(case, options.threads)
            runs["onnxruntime"] = lambda: onnx_int8(case, options.threads)
        seconds = {name: [] for name in runs}
        for i in range(options.rounds):
            for name in (list(runs) if i % 2 == 0 else reversed(list(runs))):
                if (found := runs[name]()) is not None:
                    seconds[name].append(found)
        median = {name: statistics.median(found) for name, found in seconds.items() if found}
        results.append({"format": case[0], "ggml_type": case[1], "layer": case[2], "n": case[3], "k": case[4], "rows": case[5],
                        "threads": options.threads, "seconds": seconds})

        def cell(name):
            return f"{median[name] * 1e6:.1f} ({median[name] / median['tritium']:.2f}x)" if name in median else "-"

        print(f"{case[0]:11} {case[2]:18} {case[5]:>4} {median['tritium'] * 1e6:>10.1f} {cell('ggml'):>16} {cell('torch'):>16} {cell('onnxruntime'):>18}",
              flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"cpu": cpu_name(), "rounds": options.rounds, "results": results}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
