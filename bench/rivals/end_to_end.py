#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of Tritium and of its rivals on the same files, machine and threads, turn by turn.

    bench/rivals/end_to_end.py [--models smollm2-135m,gemma3-270m,FILE.gguf] [--threads 1,2] [-p 512] [-n 128] [--rounds 5]
                               [--tritium="--shortlist int5g32"]... [--rivals llama.cpp,openvino,...] [--python PYTHON]
                               [--rival-models build/rivals/models] [--ik LLAMA-BENCH] [--json FILE]

Rivals: llama.cpp (get-llama-cpp.sh builds it on first use), llama.cpp-q4_0 (the weights in its best tuned type), ik_llama.cpp
(--ik, the llama-bench of a copy built elsewhere), openvino (from the GGUF file), openvino-int4, openvino-int8, onnxruntime,
ctranslate2 (converted by prepare.py). One that is not there, or that cannot read a model, says so in its row.

Rivals with settings run each of them first (--tune turns) and go on with the best, of prefill and of decode apart. In a round
everybody takes one turn, in an order that is turned round every time; processes that hold a model are stopped between turns.
A figure is the median over rounds. Nothing else should run meanwhile.
"""
import argparse
import atexit
import datetime
import json
import os
import pathlib
import platform
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build/release/bin"
TRITIUM = BIN / "tritium"
TIMEOUT = 900  # seconds for loading a model, or for one turn
LLAMA_SETTINGS = [[], ["-fa", "1"], ["-fa", "0"], ["-fa", "1", "-ctk", "q8_0", "-ctv", "q8_0"]]
IK_SETTINGS = [[], ["-fa", "0"], ["-rtr", "1"], ["-rtr", "1", "-fa", "0"]]
# Groups of activations that share a scale; a group above that of the weights switches int8 products off.
OPENVINO_SETTINGS = {"openvino": [["group=32"], ["group=32", "attention=SDPA"], ["group=64"], ["group=128"]],
                     "openvino-int4": [["group=32"], ["group=64"], ["group=64", "attention=SDPA"]],
                     "openvino-int8": [["group=64"], ["group=128"], ["group=128", "attention=SDPA"]]}
RIVALS = ["llama.cpp", "llama.cpp-q4_0", "ik_llama.cpp", "openvino", "openvino-int4", "openvino-int8", "onnxruntime", "ctranslate2"]


class Missing(Exception):
    """A rival that cannot take part, and why in a word."""


def cpu_name():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def model_path(name):
    if name.endswith(".gguf"):
        path = pathlib.Path(name)
        return path if path.is_file() else sys.exit(f"end_to_end: error: no file {name}")
    folder = os.environ.get("TRITIUM_MODELS")
    if not folder:
        folder = os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "tritium/models")
    path = pathlib.Path(folder) / f"{name}.gguf"
    made = sorted((ROOT / "build/synthetic").glob(f"{name}-*.gguf"))
    if path.is_file() or len(made) == 1:
        return path if path.is_file() else made[0]
    sys.exit(f"end_to_end: error: no model {name} (scripts/get-model.sh or scripts/make-synthetic.py makes it, or give a path)")


def short(text):
    for long, word in (("not supported", "unknown architecture"), ("not installed", "not installed"), ("gguf_tensor_to_f16", "unknown weight type")):
        if long in text:
            return word
    return " ".join(text.split())[:80] or "failed"


# --- who takes a turn ---------------------------------------------------------------------------------------------------

class Program:
    """A program that is started for each turn, as llama-bench and tritium bench; both warm up on their own."""

    def __init__(self, command, parse, threads):
        self.command, self.parse, self.threads, self.about = command, parse, threads, {}

    def turn(self, prompt, generate, _):
        command = [*self.command, "-p", prompt, "-n", generate, "-t", self.threads, "-r", 1]
        try:
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Missing(short(str(error))) from error
        if done.returncode != 0:
            raise Missing(short((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]))
        speed, self.about = self.parse(json.loads(done.stdout), prompt, generate)
        return speed

    def close(self):
        pass


def parse_tritium(data, prompt, generate):
    row = data["results"][0]
    if (row["n_prompt"], row["n_gen"]) != (prompt, generate):
        raise Missing(f"made {row['n_prompt']} + {row['n_gen']} tokens")
    return row["tokens_per_s"]["median"], {"weight_bytes": data["weight_bytes_per_token"], "bytes_per_token": row["bytes_per_token"],
                                           "version": f"{data['version']} {data['isa']}", "kernels": data["kernels"]}


def parse_llama(rows, prompt, generate):
    row = rows[0]
    if (row["n_prompt"], row["n_gen"]) != (prompt, generate):
        raise Missing(f"made {row['n_prompt']} + {row['n_gen']} tokens")
    return row["avg_ts"], {"weight_bytes": row["model_size"], "parameters": row["model_n_params"], "version": row["build_commit"],
                           "type": row["model_type"]}


class Worker:
    """A process of engines.py that holds a model; stopped between turns, so that threads that spin cost nobody anything."""

    def __init__(self, python, engine, model, threads, settings):
        self.errors = tempfile.TemporaryFile("w+")
        command = [str(python), str(ROOT / "bench/rivals/engines.py"), engine, str(model), str(threads), *settings]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        except OSError as error:
            raise Missing(f"no {python}") from error
        atexit.register(self.close)
        self.idle_seconds = 0.0
        try:
            self.about = self.answer()
        except Missing:
            self.close()
            raise
        self.stop()

    def answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.errors.seek(0)
            raise Missing("too slow" if not ready else short((self.errors.read().strip().splitlines() or ["it crashed"])[-1]))
        values = json.loads(line)
        if "error" in values:
            raise Missing(short(values["error"]))
        return values

    def cpu_seconds(self):
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        self.used = self.cpu_seconds()

    def turn(self, prompt, generate, seed):
        self.idle_seconds += self.cpu_seconds() - self.used
        self.process.send_signal(signal.SIGCONT)
        ids, count = (prompt, 1) if prompt else (1, generate)
        for number in (seed + 1000, seed):  # the first warms up, as the programs' own do
            try:
                self.process.stdin.write(json.dumps({"prompt": ids, "generate": count, "seed": number}) + "\n")
                self.process.stdin.flush()
            except OSError as error:
                raise Missing("it crashed") from error
            values = self.answer()
            if values["made"] != count:
                raise Missing(f"made {values['made']} of {count} tokens")
        self.stop()
        return (prompt or generate) / values["seconds"]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# --- the contest --------------------------------------------------------------------------------------------------------

class Contest:
    def __init__(self, options):
        self.options = options
        self.llama = None
        if any(name.startswith("llama.cpp") for name in options.rivals):
            built = subprocess.run([ROOT / "bench/rivals/get-llama-cpp.sh"], stdout=subprocess.PIPE, text=True)
            self.llama = pathlib.Path(built.stdout.strip()) if built.returncode == 0 else None

    def prepared(self, model, step):
        folder = self.options.rival_models / model.stem
        target = folder / ("q4_0.gguf" if step == "q4_0" else step)
        if target.exists():
            return target
        notes = folder / "prepared.json"
        why = json.loads(notes.read_text()).get(step, {}).get("why", "not prepared") if notes.is_file() else "not prepared"
        raise Missing(short(why))

    def settings(self, name):
        return {"llama.cpp": LLAMA_SETTINGS, "llama.cpp-q4_0": LLAMA_SETTINGS, "ik_llama.cpp": IK_SETTINGS}.get(name) or OPENVINO_SETTINGS.get(name, [[]])

    def open(self, name, model, threads, setting):
        """Starts one contender or says why not."""
        if name.startswith("tritium"):
            return Program([TRITIUM, "bench", model, "--json", *setting], parse_tritium, threads)
        if name in ("llama.cpp", "llama.cpp-q4_0"):
            if self.llama is None:
                raise Missing("not built")
            file = model if name == "llama.cpp" else self.prepared(model, "q4_0")
            return Program([self.llama, "-m", file, "-o", "json", *setting], parse_llama, threads)
        if name == "ik_llama.cpp":
            if self.options.ik is None:
                raise Missing("no --ik")
            return Program([self.options.ik, "-m", model, "-o", "json", *setting], parse_llama, threads)
        engine, target = {"openvino": ("openvino", None), "openvino-int4": ("openvino", "ov-int4"), "openvino-int8": ("openvino", "ov-int8"),
                          "onnxruntime": ("onnxruntime", "ort-int4"), "ctranslate2": ("ctranslate2", "ct2-int8")}[name]
        return Worker(self.options.python, engine, model if target is None else self.prepared(model, target), threads, setting)

    def tests(self):
        return [(p, n) for p, n in ((self.options.prompt, 0), (0, self.options.generate)) if p + n]

    def best_settings(self, name, model, threads):
        """{test: setting}, the best of each test after `tune` turns of all settings; Missing when none works."""
        settings = self.settings(name)
        if len(settings) == 1:
            return {test: settings[0] for test in self.tests()}
        best, why = {}, None
        for setting in settings:
            contender = None
            try:
                contender = self.open(name, model, threads, setting)
                speeds = {test: statistics.median(contender.turn(*test, 100 + i) for i in range(self.options.tune)) for test in self.tests()}
            except Missing as missing:  # an option that this build does not know loses; the first reason is the row's
                why = why or missing
                if contender is None and name.endswith(("cpp", "q4_0")):
                    break
                continue
            finally:
                if contender is not None:
                    contender.close()
            for test, speed in speeds.items():
                if test not in best or speed > best[test][0]:
                    best[test] = speed, setting
        if not best:
            raise why
        return {test: best[test][1] for test in self.tests()}

    def block(self, model, threads):
        """One model with so many threads: every contender's speeds by test."""
        rows, contenders, rate = {}, [], read_rate(threads)
        names = {"tritium": []} | {f"tritium {extra}": shlex.split(extra) for extra in self.options.tritium}
        for name in [*names, *self.options.rivals]:
            rows[name] = {"tests": {}}
            progress(f"{model.stem}, {threads} thread(s): {name}")
            try:
                if name in names:
                    chosen = {test: names[name] for test in self.tests()}
                else:
                    chosen = self.best_settings(name, model, threads)
                for setting in dict.fromkeys(tuple(setting) for setting in chosen.values()):
                    mine = [test for test in self.tests() if tuple(chosen[test]) == setting]
                    contenders.append((name, setting, self.open(name, model, threads, list(setting)), mine))
            except Missing as missing:
                rows[name]["missing"] = str(missing)
        for i in range(self.options.rounds):
            progress(f"{model.stem}, {threads} thread(s): round {i + 1} of {self.options.rounds}")
            for name, setting, contender, mine in contenders if i % 2 == 0 else reversed(contenders):
                if "missing" in rows[name]:
                    continue
                try:
                    for test in mine:
                        speed = contender.turn(*test, i)
                        entry = rows[name]["tests"].setdefault(label(test), {"setting": " ".join(setting), "tokens_per_s": []})
                        entry["tokens_per_s"].append(round(speed, 3))
                        entry |= {key: contender.about[key] for key in ("bytes_per_token",) if key in contender.about}
                    rows[name] |= {key: value for key, value in contender.about.items() if key != "bytes_per_token"}
                except Missing as missing:
                    rows[name] = {"tests": {}, "missing": str(missing)}
        for name, _, contender, _ in contenders:
            if isinstance(contender, Worker):
                rows[name]["idle_cpu_seconds"] = round(contender.idle_seconds, 2)
            contender.close()
        parameters = next((row["parameters"] for row in rows.values() if "parameters" in row), None)
        for row in rows.values():
            for entry in row["tests"].values():
                entry["median"] = statistics.median(entry["tokens_per_s"])
            row.pop("parameters", None)
            if parameters and "weight_bytes" in row:
                row["bits_per_weight"] = round(8 * row["weight_bytes"] / parameters, 2)
        return {"model": model.stem, "threads": threads, "parameters": parameters, "read_gb_per_s": max(rate, read_rate(threads)),
                "engines": rows, "best": best_rivals(rows)}


def label(test):
    return f"pp{test[0]}" if test[0] else f"tg{test[1]}"


def best_rivals(rows):
    """{test: {rival, median, ratio of every row of Tritium}}"""
    best = {}
    for test in rows["tritium"]["tests"]:
        medians = {name: row["tests"][test]["median"] for name, row in rows.items() if not name.startswith("tritium") and test in row["tests"]}
        if medians:
            rival = max(medians, key=medians.get)
            best[test] = {"rival": rival, "median": medians[rival]}
    for test, entry in best.items():
        entry["ratios"] = {name: round(row["tests"][test]["median"] / entry["median"], 3) for name, row in rows.items()
                           if name.startswith("tritium") and test in row["tests"]}
    return best


def read_rate(threads):
    """The best rate at which the threads read memory, GB/s: tritium_bench measures it before it runs the filtered benchmark."""
    program = BIN / "tritium_bench"
    if not program.is_file():
        sys.exit("end_to_end: error: no build/release/bin/tritium_bench (cmake --build build/release --target tritium_bench)")
    done = subprocess.run([program, f"--threads={threads}", "--benchmark_filter=^barrier/", "--benchmark_min_time=0.001", "--benchmark_format=json"],
                          capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit(f"end_to_end: error: tritium_bench failed: {done.stderr.strip()[-300:]}")
    return max(float(value) for key, value in json.loads(done.stdout)["context"].items() if key.startswith("read_gb_per_s"))


def environment():
    def git(*arguments):
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    return {"cpu": cpu_name(), "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1), "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(), "commit": git("rev-parse", "--short", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno")),
            "utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "load_average": round(os.getloadavg()[0], 2)}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:78}", end="", file=sys.stderr, flush=True)


# --- the table ----------------------------------------------------------------------------------------------------------

def table(block):
    tests = list(block["engines"]["tritium"]["tests"])
    lines = [f"{block['model']}, {block['threads']} thread(s); memory reads {block['read_gb_per_s']:.1f} GB/s",
             f"  {'':30} {'MB':>6} {'bits':>5}" + "".join(f"  {test:>30} {'x':>5}" for test in tests)]
    for name, row in block["engines"].items():
        if "missing" in row:
            lines.append(f"  {name:30} {'-':>6} {'-':>5}  {row['missing']}")
            continue
        line = f"  {name:30} {row['weight_bytes'] / 1e6:6.0f} {row.get('bits_per_weight', 0) or '-':>5}"
        for test in tests:
            entry, ours = row["tests"][test], block["engines"]["tritium"]["tests"][test]["median"]
            speeds = entry["tokens_per_s"]
            line += f"  {f'{statistics.median(speeds):.1f} ({min(speeds):.1f} to {max(speeds):.1f})':>30} {entry['median'] / ours:5.2f}"
        settings = sorted({f"{test}: {entry['setting']}" for test, entry in row["tests"].items() if entry["setting"] and not name.startswith("tritium")})
        lines.append(line + ("  " + "; ".join(settings) if settings else ""))
    for name, row in block["engines"].items():
        if not name.startswith("tritium") or "missing" in row:
            continue
        parts = [f"{test} {best['ratios'][name]:.2f} x {best['rival']}" for test, best in block["best"].items() if name in best["ratios"]]
        for test, entry in row["tests"].items():
            if test.startswith("tg"):
                read = entry["bytes_per_token"] * entry["median"] / 1e9
                parts.append(f"{test} reads {read:.1f} GB/s = {100 * read / block['read_gb_per_s']:.0f} % of what memory gives")
        lines.append(f"  -> {name}: " + ", ".join(parts))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n".join(__doc__.splitlines()[1:]))
    folder = ROOT / "build/rivals"
    parser.add_argument("--models", default="smollm2-135m,gemma3-270m", help="names or .gguf files")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tune", type=int, default=2, help="turns of each setting of a rival before the rounds")
    parser.add_argument("--tritium", action="append", default=[], metavar="OPTIONS", help="one more row of Tritium with these options of tritium bench")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="of " + ", ".join(RIVALS))
    parser.add_argument("--python", type=pathlib.Path, default=next((p for p in [folder / "venv/bin/python"] if p.exists()), sys.executable),
                        help="the Python that rivals are installed in (default: build/rivals/venv, else this one)")
    parser.add_argument("--rival-models", type=pathlib.Path, default=folder / "models", help="what prepare.py made")
    parser.add_argument("--ik", type=pathlib.Path, metavar="LLAMA-BENCH", help="llama-bench of ik_llama.cpp")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    options.rivals = [name for name in options.rivals.split(",") if name]
    for unknown in set(options.rivals) - set(RIVALS):
        sys.exit(f"end_to_end: error: no rival '{unknown}' (there are {', '.join(RIVALS)})")
    if min(options.rounds, options.tune) < 1 or min(options.prompt, options.generate) < 0 or options.prompt + options.generate == 0:
        sys.exit("end_to_end: error: rounds and turns are 1 or more, a prompt or some tokens to generate are needed")
    if options.prompt == 1:
        sys.exit("end_to_end: error: a prompt of 1 token is decode (-n)")
    if not TRITIUM.is_file():
        sys.exit("end_to_end: error: no build/release/bin/tritium (cmake --preset release && cmake --build build/release)")
    models = [model_path(name) for name in options.models.split(",")]
    threads = [int(t) for t in options.threads.split(",")]

    stamp = environment()
    contest, blocks = Contest(options), []
    print(f"# {stamp['cpu']}, {options.rounds} round(s) in turn; tokens/s: median (least to most); x: beside tritium; MB: weights on file", flush=True)
    if stamp["load_average"] > 0.5:
        print(f"# the load average was {stamp['load_average']} at the start: something else is running")
    for model in models:
        for count in threads:
            blocks.append(contest.block(model, count))
            progress("")
            print("\n" + table(blocks[-1]), flush=True)
            if options.json:  # after each block: a long run that is interrupted keeps what it has
                data = {"environment": stamp, "prompt": options.prompt, "generate": options.generate, "rounds": options.rounds, "results": blocks}
                pathlib.Path(options.json).write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
