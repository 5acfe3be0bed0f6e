#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hot kernels as different compilers make them: GCC and Clang at -O2 and -O3 on the same machine, in turn.

    bench/compilers.py [--compilers g++,clang++-16] [--flags=-O2,-O3] [--rounds 5] [--json run.json]

Compiles bench/one_isa.cc (headers alone, -march=native) into build/compilers once for each compiler and flag, tuned for no
CPU in particular as the compiled library is (GCC 12 takes Zen 5 for Zen 3: ternary2 at 0.73 of its speed), runs the
programs in turn, and prints the medians over the rounds, each beside the best of its row. A build whose result is wrong is
an error, not a row. A compiler that is not installed says so.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ("one token, from L2: weights/ns", "256 rows: products/ns")


def build(compiler, flag, out):
    program = out / f"{compiler}{flag}"
    packages = ROOT / "build/deps/usr/include"
    command = [compiler, "-std=c++20", flag, "-march=native", "-mtune=generic", "-DNDEBUG", f"-I{ROOT / 'include'}"]
    command += ["-isystem", str(packages)] if packages.is_dir() else []
    subprocess.run(command + [str(ROOT / "bench/one_isa.cc"), "-o", str(program)], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compilers", default="g++,clang++-16")
    parser.add_argument("--flags", default="-O2,-O3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    out = ROOT / "build/compilers"
    out.mkdir(parents=True, exist_ok=True)
    programs = {}
    for compiler in options.compilers.split(","):
        if not shutil.which(compiler):
            print(f"{compiler}: not installed")
            continue
        for flag in options.flags.split(","):
            programs[f"{compiler} {flag}"] = build(compiler, flag, out)
    if not programs:
        sys.exit("compilers: error: no compiler")
    found = {}  # (kind, format) -> build -> figures
    for turn in range(options.rounds):
        names = list(programs)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            lines = subprocess.run([programs[name], "3"], check=True, capture_output=True, text=True).stdout.splitlines()
            for line in lines:
                format_name, *figures = line.split()
                for kind, figure in zip(KINDS, figures):
                    found.setdefault((kind, format_name), {}).setdefault(name, []).append(float(figure))
    for kind in KINDS:
        print(f"\n{kind:34}" + "".join(f"{name:>20}" for name in programs))
        for (of, format_name), figures in found.items():
            if of != kind:
                continue
            medians = {name: statistics.median(values) for name, values in figures.items()}
            best = max(medians.values())
            print(f"{format_name:34}" + "".join(f"{medians[name]:13.1f} {medians[name] / best:6.2f}" for name in programs))
    if options.json:
        rows = [{"kind": kind, "format": name, "figures": figures} for (kind, name), figures in found.items()]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
