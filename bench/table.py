#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every packed format beside the limits of the machine: the table that docs/kernels.md and docs/benchmarking.md quote.

    cmake --preset release && cmake --build build/release --target tritium_bench
    bench/table.py [--threads 1,2] [--formats int4g32,int8] [--tiers avx2_vnni] [--json run.json]
    bench/plot.py run.json docs/roofline.svg

A process of tritium_bench for each format and number of threads, which measures read rate and dot-product peak itself, just
before its kernels: machines drift, and a share means something only beside a limit of the same minute. Medians of 5.

  L2         weights a cycle and core, one token, weights in the second-level cache
  memory     one token from 256 MB of weights: GB/s as a share of what the same threads read in streams
  8 : 1      time of 8 tokens over that of one, from memory
  prefill    512 rows of Qwen2.5-0.5B's down projection: share of the register peak of the dot product
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCH = ROOT / "build/release/bin/tritium_bench"
ROWS = "^(rms_norm|quantize|pack|barrier)"


def run(pattern, threads, tier=None):
    """Medians by name, and the context with the limits."""
    command = [BENCH, f"--threads={threads}", f"--benchmark_filter={pattern}", "--benchmark_format=json",
               "--benchmark_min_time=0.05", "--benchmark_repetitions=5", "--benchmark_report_aggregates_only=true"]
    environment = dict(os.environ, **({"TRITIUM_ISA": tier} if tier else {}))
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    wrong = [f"{b['run_name']}: {b['error_message']}" for b in found["benchmarks"] if b.get("error_occurred")]
    if wrong:
        sys.exit("table: error: " + wrong[0])
    return {b["run_name"].removesuffix("/real_time"): b for b in found["benchmarks"] if b["aggregate_name"] == "median"}, found["context"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--formats", help="some of 'tritium formats' (all)")
    parser.add_argument("--tiers", default="", help="instruction sets beside the machine's own, one token in L2 alone")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if not BENCH.exists():
        sys.exit(f"table: error: no {BENCH.relative_to(ROOT)}: build the target tritium_bench")
    names = subprocess.run([BENCH, "--limits=0", "--benchmark_list_tests"], check=True, capture_output=True, text=True).stdout.split()
    formats = sorted({n.split("/")[1] for n in names if n.startswith("stream/")})
    if options.formats:
        unknown = set(options.formats.split(",")) - set(formats)
        if unknown:
            sys.exit(f"table: error: unknown format (expected some of {', '.join(formats)}, found {', '.join(unknown)})")
        formats = options.formats.split(",")
    kept, contexts, one_thread = [], [], {}
    for threads in [int(t) for t in options.threads.split(",")]:
        print(f"\n{threads} thread{'s' if threads > 1 else ''}\n{'format':14}{'L2':>8}{'memory':>9}{'GB/s':>7}{'of':>7}{'8 : 1':>7}{'prefill':>9}{'TOPS':>7}{'of':>7}"
              + (f"{'scales':>8}" if threads > 1 else ""))
        for name in formats:
            escaped = name.replace(".", "\\.")
            rows, context = run(f"^(stream/{escaped}/m:(1|8)/|cache/{escaped}/m:1/|matmul/{escaped}/qwen2.5-0.5b.down/m:(1|8|128|512)/)", threads)
            tail = f"/threads:{threads}"
            cache, one, eight = rows[f"cache/{name}/m:1{tail}"], rows[f"stream/{name}/m:1{tail}"], rows[f"stream/{name}/m:8{tail}"]
            prefill = rows[f"matmul/{name}/qwen2.5-0.5b.down/m:512{tail}"]
            read = max(float(v) for k, v in context.items() if k.startswith("read_gb_per_s"))
            share = f"{prefill['of_dot_peak']:9.2f}" if "of_dot_peak" in prefill else f"{'-':>9}"
            print(f"{name:14}{cache['weights/cycle']:8.1f}{one['GB/s'] / read:9.2f}{one['GB/s']:7.1f}{read:7.1f}{eight['real_time'] / one['real_time']:7.2f}"
                  f"{share}{prefill['TOPS']:7.2f}{float(context['dot_peak_tops']):7.2f}"
                  + (f"{prefill['TOPS'] / one_thread[name]:8.2f}" if name in one_thread else ""), flush=True)
            one_thread.setdefault(name, prefill["TOPS"])
            if threads == 1:
                contexts.append(context)
                kept += [dict(b, name=n) for n, b in rows.items()]
    for tier in filter(None, options.tiers.split(",")):
        print(f"\n{tier}, weights a cycle in L2")
        for name in formats:
            rows, _ = run(f"^cache/{name.replace('.', chr(92) + '.')}/m:1/", 1, tier)
            print(f"{name:14}{rows[f'cache/{name}/m:1/threads:1']['weights/cycle']:8.1f}", flush=True)
    print()
    for name, b in run(ROWS, threads)[0].items():
        rate = f"{b['bytes_per_second'] / 1e9:8.2f} GB/s" if "bytes_per_second" in b else ""
        print(f"{name:44}{b['real_time']:12.1f} {b['time_unit']}{rate}")
    if options.json and contexts:
        limits = [k for k in contexts[0] if k.startswith("read_gb_per_s") or k in ("dot_peak_tops", "clock_ghz")]
        context = {k: v for k, v in contexts[0].items() if k not in ("executable", "host_name", "load_avg")}
        context.update({k: f"{statistics.median(float(c[k]) for c in contexts):.3f}" for k in limits})
        options.json.write_text(json.dumps({"context": context, "benchmarks": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
