#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the roofline of a machine with every measured kernel on it, from tritium_bench's JSON.

    bench/table.py --threads 1 --json run.json
    bench/plot.py run.json docs/roofline.svg

x: operations for each byte of packed weights that is read (2 m / bytes a weight). y: TOPS. The slanted roof is the best
stream rate of the same run, the flat one the register peak of the tier's dot product. Points above the slanted roof have
their weights in a cache. Needs matplotlib.
"""
import json
import re
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

NAME = re.compile(r"^(matmul|stream)/([^/]+)/(?:([^/]+)/)?m:(\d+)/")
SHOWN = {"ternary2": "#1f77b4", "ternary1.6": "#17becf", "int4g32": "#2ca02c", "int4g32m": "#98df8a", "int8": "#d62728",
         "int8g32": "#ff9896", "k4g32": "#9467bd", "k6g16": "#c5b0d5"}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as run:
        data = json.load(run)
    context = data["context"]
    peak = float(context["dot_peak_tops"])
    read = max(float(v) for k, v in context.items() if k.startswith("read_gb_per_s"))
    figure, axes = plt.subplots(figsize=(9, 5.5))
    seen = set()
    for row in data["benchmarks"]:
        match = NAME.match(row["name"])
        if not match or row.get("error_occurred") or match[2] not in SHOWN or row.get("aggregate_name", "median") != "median":
            continue
        tops = row["TOPS"]
        intensity = tops * 1e12 / (row["bytes_per_second"])
        axes.plot(intensity, tops, "o" if match[1] == "matmul" else "D", color=SHOWN[match[2]], markersize=5 if match[1] == "matmul" else 8,
                  alpha=0.8, label=None if match[2] in seen else match[2])
        seen.add(match[2])
    knee = peak * 1e3 / read
    axes.plot([1, knee, 4096], [read / 1e3, peak, peak], color="black", linewidth=1.5)
    axes.text(1.2, 1.35 * read / 1e3, f"read rate {read:.1f} GB/s", rotation=33, fontsize=8)
    axes.text(700, peak * 1.05, f"dot products {peak:.2f} TOPS", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of weights", ylabel="TOPS",
             title=f"{context['cpu']}, {context['tier']}, {context['threads']} thread(s); diamonds: 256 MB of weights")
    axes.legend(fontsize=8, ncol=2, loc="lower right")
    axes.grid(True, which="major", alpha=0.25)
    figure.tight_layout()
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
