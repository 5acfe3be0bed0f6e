#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws tokens a second of Tritium, its rivals and the limit of the memory, from the JSON of rivals/end_to_end.py.

    bench/rivals/end_to_end.py --json run.json
    bench/plot_end_to_end.py run.json docs/end_to_end.svg

One panel a model and test, one bar an engine and number of threads, medians with the least and the most of all rounds. The
black marks over Tritium's decode are the rate at which the same run read memory divided by the bytes that a token reads.
Needs matplotlib.
"""
import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: a tenth of the size
import matplotlib.pyplot as plt

SHADES = {1: 0.5, 2: 1.0}


def panel(axes, blocks, test):
    names = [name for name in blocks[0]["engines"] if any(test in block["engines"].get(name, {"tests": {}})["tests"] for block in blocks)]
    width = 0.8 / len(blocks)
    for i, block in enumerate(blocks):
        for at, name in enumerate(names):
            entry = block["engines"].get(name, {"tests": {}})["tests"].get(test)
            if entry is None:
                continue
            x = at + (i + 0.5) * width - 0.4
            low, high = min(entry["tokens_per_s"]), max(entry["tokens_per_s"])
            axes.bar(x, entry["median"], width, color="#1f77b4" if name.startswith("tritium") else "#b0b0b0",
                     alpha=SHADES.get(block["threads"], 1.0 - 0.5 / block["threads"]), edgecolor="black", linewidth=0.4,
                     yerr=[[entry["median"] - low], [high - entry["median"]]], error_kw={"elinewidth": 0.7})
            axes.text(x, entry["median"], f"{entry['median']:.0f}", ha="center", va="bottom", fontsize=6)
            if test.startswith("tg") and "bytes_per_token" in entry:
                limit = block["read_gb_per_s"] * 1e9 / entry["bytes_per_token"]
                axes.plot([x - width / 2, x + width / 2], [limit, limit], color="black", linewidth=1.8)
                axes.text(x, limit, f"{limit:.0f}", ha="center", va="bottom", fontsize=6, fontweight="bold")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    what = f"prefill of {test[2:]} tokens" if test.startswith("pp") else f"decode of {test[2:]} tokens; black: limit of memory"
    axes.set_title(f"{blocks[0]['model']}, {what}", fontsize=8)
    axes.set_ylabel("tokens/s", fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.12)
    axes.grid(True, axis="y", alpha=0.25)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as run:
        data = json.load(run)
    if "environment" not in data:
        sys.exit(f"plot_end_to_end: error: {sys.argv[1]} has no environment (end_to_end.py writes one)")
    models = {}
    for block in data["results"]:
        models.setdefault(block["model"], []).append(block)
    tests = list(data["results"][0]["engines"]["tritium"]["tests"])
    figure, grid = plt.subplots(len(models), len(tests), figsize=(6 * len(tests), 3.2 * len(models)), squeeze=False)
    for row, blocks in zip(grid, models.values()):
        for axes, test in zip(row, tests):
            panel(axes, blocks, test)
    stamp = data["environment"]
    threads = " and ".join(str(block["threads"]) for block in next(iter(models.values())))
    figure.suptitle(f"{stamp['cpu']}, {threads} thread(s) (left to right), median of {data['rounds']} round(s), {stamp['utc'][:10]}, {stamp['commit']}",
                    fontsize=9)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
