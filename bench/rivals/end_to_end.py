#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of Tritium and of llama.cpp on the same files, machine and threads, run by run in turn.

    bench/rivals/end_to_end.py [--models smollm2-135m,gemma3-270m] [--threads 1,2] [--prompt 512] [--generate 128]
                               [--rounds 5] [--json FILE]

Each round starts both programs once for each row, so that both see the same state of the machine; a row is the median over
rounds with its extremes. Builds llama.cpp on first use (get-llama-cpp.sh). Nothing else should run meanwhile.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRITIUM = ROOT / "build/release/bin/tritium"


def model_path(name):
    folder = os.environ.get("TRITIUM_MODELS")
    if not folder:
        folder = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "tritium/models")
    path = pathlib.Path(folder) / f"{name}.gguf"
    if not path.is_file():
        sys.exit(f"end_to_end: error: no model (scripts/get-model.sh {name} puts it at {path})")
    return path


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"end_to_end: error: {command[0]} failed: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout)


def tritium(model, threads, prompt, generate):
    rows = run([TRITIUM, "bench", model, "-p", prompt, "-n", generate, "-t", threads, "-r", 1, "--json"])["results"]
    return {row["test"]: row["tokens_per_s"]["median"] for row in rows}


def llama(binary, model, threads, prompt, generate):
    rows = run([binary, "-m", model, "-p", prompt, "-n", generate, "-t", threads, "-r", 1, "-o", "json"])
    return {(f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"): row["avg_ts"] for row in rows}


def cpu_name():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="smollm2-135m,gemma3-270m")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    binary = subprocess.run([ROOT / "bench/rivals/get-llama-cpp.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if not TRITIUM.is_file():
        sys.exit("end_to_end: error: no build/release/bin/tritium (cmake --preset release && cmake --build build/release)")

    results = []
    for name in options.models.split(","):
        model = model_path(name)
        for threads in (int(t) for t in options.threads.split(",")):
            ours, theirs = {}, {}
            for i in range(options.rounds):
                # Who comes first alternates: the second one finds a warmer and perhaps slower machine.
                pair = [(ours, lambda: tritium(model, threads, options.prompt, options.generate)),
                        (theirs, lambda: llama(binary, model, threads, options.prompt, options.generate))]
                for table, measure in (pair if i % 2 == 0 else reversed(pair)):
                    for test, speed in measure().items():
                        table.setdefault(test, []).append(speed)
            for test in ours:
                results.append({"model": name, "threads": threads, "test": test, "tritium": ours[test], "llama_cpp": theirs[test],
                                "ratio": statistics.median(ours[test]) / statistics.median(theirs[test])})

    print(f"# {cpu_name()}, {options.rounds} rounds in turn, tokens/s: median (min to max)")
    print(f"{'model':14} {'threads':>7} {'test':>6}  {'tritium':>28}  {'llama.cpp':>28}  ratio")
    for row in results:
        cells = []
        for key in ("tritium", "llama_cpp"):
            speeds = row[key]
            cells.append(f"{statistics.median(speeds):.1f} ({min(speeds):.1f} to {max(speeds):.1f})")
        print(f"{row['model']:14} {row['threads']:>7} {row['test']:>6}  {cells[0]:>28}  {cells[1]:>28}  {row['ratio']:.2f}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"cpu": cpu_name(), "rounds": options.rounds, "results": results}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
