#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every block of code on the pages is compiled or run, and every option they name is there.

    doc_blocks.py TRITIUM [--demo]

A block's tag says which rule holds it; a block without a rule fails:

    <!-- PATH -->        above it: it stands verbatim in that file, which a test builds or runs
    <!-- PATH: WORD -->  above it: PATH takes it from the page and builds it as WORD
    sh                   commands: `tritium` is run, scripts and their options are there, as are presets and targets
    console              commands behind "$ ", which are run, and what they print
    text                 a picture or a form, without commands

`tritium` runs in a folder of its own, a tiny model in the place of every model, at most 64 positions: then the form of what is
printed is compared, not the text. With --demo, `demo:NAME` are the real models, and console blocks must print what the page
says, numbers aside. Models that are not there are a warning, unless TRITIUM_REQUIRE_MODELS is set.
"""
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/data/golden"
PAGES = sorted([*ROOT.glob("*.md"), *(p for folder in ("docs", "examples", "bench", "tests")
                                        for p in (ROOT / folder).rglob("*.md"))])
# What strangers bring: named by a page, not ours to check.
FOREIGN = {"pip", "python3 -m venv"}
GENERATES_TEXT = {"run", "chat", "template", "detokenize"}  # of which a tiny model says something else
MACHINE = {"isa", "selftest", "formats", "bench", "models"}  # and a machine too

findings = []


def finding(where, what):
    findings.append(f"{where}: {what}")


# --- what tritium is given ----------------------------------------------------------------------------------------------

def tiny_arguments(argv):
    """The same command for a model of 64 positions and 331 tokens."""
    command, out, positions = argv[0], [argv[0]], 0
    value_of = {"-n": "8", "--ctx": "64", "-c": "64", "-d": "8", "--isa": "portable",
                "--tokens": "1,5,7", "-p": "16" if command == "bench" else "Alice was"}
    i = 1
    while i < len(argv):
        a = argv[i]
        if a in value_of and i + 1 < len(argv):
            keep = argv[i + 1] == "-" or not is_number_list(argv[i + 1]) and a in ("-c", "--ctx", "-n", "-d")
            out += [a, argv[i + 1] if keep else value_of[a]]
            i += 2
            continue
        if command == "detokenize" and a.isdigit():
            a = str(5 + positions)
            positions += 1
        out.append(a)
        i += 1
    defaults = {"bench": [("-p", "16"), ("-n", "8"), ("-r", "1")], "perplexity": [("--ctx", "64")],
                "chat": [("--template", "plain.jinja"), ("-n", "8")], "template": [("--template", "chatml")]}
    for option, value in defaults.get(command, []):
        if option not in out:
            out += [option, value]
    return out


def is_number_list(text):
    return re.fullmatch(r"[0-9,]+", text) is not None


def shim(argv):
    """Stands in for `tritium` inside of a block's commands."""
    binary, demo = os.environ["DOC_TRITIUM"], os.environ["DOC_DEMO"] == "1"
    if not demo and argv and not argv[0].startswith("-"):
        argv = [re.sub(r"^demo:([a-z0-9-]+)$", r"\1.gguf", a) for a in argv]
        argv = [re.sub(r"^build/synthetic/.*\.gguf$", "model.gguf", a) for a in argv]
        argv = tiny_arguments(argv)
        if argv[0] == "chat":  # conversations of the page are longer than 64 positions
            with tempfile.TemporaryFile() as said:
                said.write(b"Hi\nwas\n")
                said.seek(0)
                os.dup2(said.fileno(), 0)
    os.execv(binary, [binary] + argv)


class Desk:
    """A folder in which a page's commands run one after the other."""

    def __init__(self, binary, demo):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.demo = demo
        tiny = GOLDEN / "llama/model.gguf"
        for name in ("model.gguf", "smollm2-135m.gguf", "gemma3-270m.gguf"):
            shutil.copy(tiny, self.folder / name)
        os.symlink(GOLDEN / "llama", self.folder / "folder")
        os.symlink(GOLDEN / "gemma3-scaled", self.folder / "model")
        (self.folder / "plain.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
        page = (ROOT / "README.md").read_text()
        (self.folder / "text.txt").write_text(page[: 4000 if demo else 1500])
        bin_folder = self.folder / "bin"
        bin_folder.mkdir()
        stand_in = bin_folder / "tritium"
        stand_in.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} --shim \"$@\"\n")
        stand_in.chmod(0o755)
        self.environment = dict(os.environ, PATH=f"{bin_folder}:{os.environ['PATH']}", DOC_TRITIUM=binary,
                                DOC_DEMO="1" if demo else "0", LC_ALL="C.UTF-8")
        for variable in ("TRITIUM_ISA", "TRITIUM_THREADS"):
            self.environment.pop(variable, None)

    def run(self, line):
        return subprocess.run(["bash", "-c", "set -o pipefail\n" + line], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)

    def close(self):
        shutil.rmtree(self.folder)


# --- what is printed ----------------------------------------------------------------------------------------------------

def normal(line):
    """Numbers, sizes, formats and tiers, which change with model and machine, as one letter each; spaces as one."""
    line = re.sub(r"\S*(demo:)?(smollm2-135m|gemma3-270m|model)(\.gguf)?\b", "MODEL", line)
    line = re.sub(r"\b(portable|neon(_\w+)?|avx2(_vnni)?|avx512(_vnni)?|amx(_emulated)?)\b", "TIER", line)
    line = re.sub(r"\b(q[2-8]_[01k]|iq4_\w+|tq[12]_0|f16|f32|bf16|int[458](g\d+m?)?|ternary[0-9.]+(g\d+)?)\b", "F", line)
    line = re.sub(r"\b(pp|tg)[0-9]+", r"\1N", line)
    line = re.sub(r"(?<![A-Za-z_0-9])[0-9][0-9,]*(\.[0-9]+)?(e-?[0-9]+)?", "N", line)
    line = re.sub(r"N [kMG]?B\b", "N B", line)
    line = re.sub(r"\([a-z_]+\)", "(W)", line)
    return re.sub(r"\s+", " ", line).strip()


def matches(said, printed):
    """Whether a line of the page, in which ... stands for anything, is a printed one."""
    parts = [re.escape(normal(part)) for part in said.split("...")]
    return re.fullmatch(r"\s*.*\s*".join(parts), normal(printed)) is not None


def form(said):
    """What a tiny model's line must begin with where the rest is the model's: its first word."""
    return (normal(said).split() or [""])[0]


def compare(where, desk, command, said, result):
    # A line without a newline behind it is followed by the next stream's.
    printed = (result.stdout + "\n" + result.stderr).splitlines()
    exact = desk.demo and command not in MACHINE
    if command == "tokenize" and not desk.demo:
        shape = [re.sub(r'"piece":"[^"]*"', '"piece":S', re.sub(r"N( N)*", "N", normal(line))) for line in printed[:1]]
        shape = [re.sub(r"(\{[^}]*\},?)+", "{}", line) for line in shape]
        wanted = [re.sub(r"\{[^]]*\}", "{}", re.sub(r"N( N)*", "N", normal(line))) for line in said]
        if shape != wanted:
            finding(where, f"printed {printed[:1]}, the page says {said}")
        return
    at = 0
    for line in said:
        if line.strip() == "..." or not line.strip():
            continue
        if exact or line.startswith("tritium: "):
            found = next((i for i in range(at, len(printed)) if matches(line, printed[i])), None)
            if found is None:
                finding(where, f"not printed: {line}\n    printed: " + "\n             ".join(printed[:40]))
                return
            at = found + 1
        elif command in GENERATES_TEXT:
            if not result.stdout.strip():
                finding(where, f"printed nothing, the page says: {line}")
        elif not any(form(line) == form(p) for p in printed):
            finding(where, f"no line begins with '{form(line)}': {line}\n    printed: " + "\n             ".join(printed[:40]))


# --- commands -----------------------------------------------------------------------------------------------------------

def logical_lines(block):
    return re.sub(r"\\\n\s*", "", block).splitlines()


def help_of(binary, command):
    if command not in helps:
        run = subprocess.run([binary, command, "--help"], capture_output=True, text=True)
        helps[command] = run.stdout if f"Usage: tritium {command} " in run.stdout else None  # else it is tritium's own
    return helps[command]


helps = {}


def options_of(text):
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


def check_script(where, path, words):
    file = ROOT / path
    if not file.is_file():
        return finding(where, f"no such script: {path}")
    if not os.access(file, os.X_OK):
        finding(where, f"not executable: {path}")
    text = file.read_text()
    for word in words:
        option = word.split("=")[0]
        if option.startswith("-"):
            if not re.search(r"(?<![\w-])" + re.escape(option) + r"(?![\w-])", text):
                finding(where, f"{path} knows no {option}")
        elif re.fullmatch(r"[a-z][a-z0-9_.-]*", word) and "." not in word:  # a stage, a model, a fuzz target
            if not re.search(r"(?<![\w-])" + re.escape(word) + r"(?![\w-])", text) and \
                    not (ROOT / f"tests/fuzz/{word}_fuzz.cc").is_file() and not word_is_value(words, word):
                finding(where, f"{path} knows no '{word}'")
    return None


def word_is_value(words, word):
    """Whether a word is what an option takes: those are the script's to check."""
    i = words.index(word)
    return i > 0 and words[i - 1].startswith("--")


def check_cmake(where, words):
    presets = json.loads((ROOT / "CMakePresets.json").read_text())
    lists = "".join(p.read_text() for p in [ROOT / "CMakeLists.txt", *ROOT.glob("*/CMakeLists.txt"),
                                            *ROOT.glob("*/*/CMakeLists.txt"), *ROOT.glob("cmake/*.cmake")])
    i = 0
    while i < len(words):
        if words[i] == "--preset":
            i += 1
            if words[i] not in [p["name"] for p in presets["configurePresets"]]:
                finding(where, f"no such preset: {words[i]}")
        elif words[i] == "--target":
            i += 1
            if not re.search(r"\b" + re.escape(words[i]) + r"\b", lists):
                finding(where, f"no such target: {words[i]}")
        elif words[i].startswith("-D"):
            name = words[i][2:].split("=")[0]
            if not re.search(r"\b" + re.escape(name) + r"\b", lists):
                finding(where, f"no such option: {name}")
        elif words[i] in ("--build", "--install"):
            i += 1
            if words[i].removeprefix("build/") not in [p["name"] for p in presets["configurePresets"]]:
                finding(where, f"not the folder of a preset: {words[i]}")
        elif words[i] in ("--prefix", "-j"):
            i += 1
        else:
            finding(where, f"no rule for '{words[i]}' of cmake")
        i += 1


def check_benchmark(where, binary, words):
    program = pathlib.Path(binary).parent / "tritium_bench"
    for word in words:
        if not re.match(r"--benchmark_(filter|repetitions|format|out|min_time)=", word):
            finding(where, f"no rule for '{word}' of tritium_bench")
    if program.is_file():
        filters = [w for w in words if w.startswith("--benchmark_filter=")]
        listed = subprocess.run([program, "--benchmark_list_tests", *filters], capture_output=True, text=True)
        if listed.returncode != 0 or not listed.stdout.strip():
            finding(where, f"tritium_bench has nothing for {filters}")


def check_line(where, binary, line):
    """One line of a block. True when it was `tritium` that is to be run."""
    runs = False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    commands, words = [], []
    for word in lexer:
        if word in ("&&", "|", ";", "||"):
            commands.append(words)
            words = []
        else:
            words.append(word)
    commands.append(words)
    for words in filter(None, commands):
        if ">" in words:
            words = words[: words.index(">")]
        if re.fullmatch(r"(build/rivals/venv/bin/)?python3?", words[0]) and words[1].endswith(".py"):
            words = words[1:]
        name = words[0].removeprefix("build/release/bin/")
        if name == "tritium":
            runs = True
            check_options(where, binary, words[1:])
        elif name == "tritium_bench":
            check_benchmark(where, binary, words[1:])
        elif words[0].startswith(("scripts/", "bench/")):
            check_script(where, words[0], words[1:])
        elif words[0] == "cmake":
            check_cmake(where, words[1:])
        elif words[0] in ("printf", "echo") or pathlib.Path(words[0]).name in FOREIGN or " ".join(words[:3]) in FOREIGN:
            pass
        else:
            finding(where, f"no rule for '{words[0]}'")
    return runs


def check_options(where, binary, words):
    """The command and its options stand in its --help."""
    if not words or words[0].startswith("-"):
        return
    text = help_of(binary, words[0])
    if text is None:
        finding(where, f"no such command: tritium {words[0]}")
        return
    for word in words[1:]:
        if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options_of(text):
            finding(where, f"tritium {words[0]} --help has no {word}")


def check_sh(where, desk, binary, block):
    for line in logical_lines(block):
        if check_line(where, binary, line):
            command = re.sub(r"build/release/bin/tritium\b", "tritium", line)
            result = desk.run(command)
            if result.returncode != 0:
                finding(where, f"'{line.strip()}' ended with {result.returncode}: {result.stderr.strip()}")


def check_console(where, desk, binary, block):
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps:
            steps[-1][1].append(line)
        else:
            return finding(where, "output before the first '$ '")
    for line, said in steps:
        check_line(where, binary, line)
        result = desk.run(line)
        command = re.search(r"tritium (\w+)", line)
        failed = next((s for s in said if s.startswith("tritium: error: ")), None)
        if (result.returncode != 0) != (failed is not None):
            finding(where, f"'{line}' ended with {result.returncode}: {result.stderr.strip()}")
        else:
            compare(where, desk, command[1] if command else "", said, result)
    return None


def check_text(where, block):
    for line in block.splitlines():
        if re.match(r"\s*(\$ |scripts/\w+\.sh|build/release/bin/|tritium (run|chat|bench|quantize|pack)\b)", line):
            finding(where, f"a command in a picture: {line.strip()}")


def check_verbatim(where, marker, block):
    path, _, word = marker.partition(": ")
    file = ROOT / path
    if not file.is_file() or path.split("/")[0] not in ("tests", "examples"):
        return finding(where, f"no such file of tests or examples: {path}")
    text = file.read_text()
    if word:
        if word not in text:
            finding(where, f"{path} knows no {word}")
    elif not block.strip() or "\n" + block not in text:
        finding(where, f"{path} lacks\n{block}")
    return None


def blocks_of(page):
    """(line number, marker above, tag, text without the fence's indentation) of each block."""
    above, lines = "", iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        fence = re.match(r"( *)```(.*)$", line)
        if fence is None:
            above = line
            continue
        text = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            text.append(inner.removeprefix(fence[1]))
        marker = re.fullmatch(r"\s*<!-- (.+) -->", above)
        yield number, marker[1] if marker else None, fence[2].strip(), "".join(t + "\n" for t in text)
        above = ""


def anchor(heading):
    """The name that a heading gets on a rendered page."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower().strip()).replace(" ", "-")


def check_names(page, text):
    """Files that a page names, links, and tests in quotation marks."""
    where = page.relative_to(ROOT)
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:h|cc|c|inc|py|sh|md|json|dict|txt))`", text):
        places = [ROOT, ROOT / "include/tritium", ROOT / "include", page.parent]
        if not path.startswith(("build/", "model/config.json")) and not any((p / path).is_file() for p in places) and \
                not re.search(r"[A-Z]{3,}", path):
            finding(where, f"no such file: {path}")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, name = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            finding(where, f"no such page: {target}")
        elif name and name not in [anchor(h) for h in re.findall(r"^#+ (.+)$", file.read_text(), re.M)]:
            finding(where, f"no such heading: {target}")
    for name in re.findall(r"`([A-Za-z_][\w:]*)(?:\(\)|<[^`]*>)?`", text):
        last = name.split("::")[-1]
        if re.fullmatch(r"[A-Z][a-z]+\w*[A-Z]\w*|k[A-Z]\w+|TRITIUM_\w+", last) or "::" in name or f"`{name}()`" in text:
            if not re.search(r"\b" + re.escape(last) + r"\b", sources_of_the_tree()):
                finding(where, f"no such name in the sources: {name}")
    for test in re.findall(r'\btest "([^"]+)"', text):
        if test not in tests_of_the_tree():
            finding(where, f"no such test: {test}")


@functools.cache
def sources_of_the_tree():
    return "".join(p.read_text() for folder in ("include", "kernels", "c", "examples", "cmake", "tests", "bench", "scripts")
                   for p in [*(ROOT / folder).rglob("*"), ROOT / "CMakeLists.txt"]
                   if p.suffix in (".h", ".inc", ".cc", ".c", ".cmake", ".txt", ".sh", ".in", ".py"))


@functools.cache
def tests_of_the_tree():
    return "".join(p.read_text() for p in [*(ROOT / "tests").rglob("*.cc"), ROOT / "tests/CMakeLists.txt"])


def check_prose(page, binary):
    """`tritium COMMAND ...` inside of a sentence, and on the page of the command line every option."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.S | re.M)
    text = re.sub(r"(?<!\n)\n\s*(?!\n|\||- |#)", " ", text)  # a sentence goes on in the next line
    check_names(page, text)
    known = set().union(*(options_of(h or "") for h in helps.values()))
    where = page.relative_to(ROOT)
    for line in text.splitlines():
        for span in re.findall(r"`([^`]+)`", line):
            span = span.replace("\\|", "|")
            if re.match(r"tritium [a-z]+", span):
                check_options(f"{where}, '{span}'", binary, re.split(r"[ =]", span)[1:])
            elif page.name == "cli.md":
                for option in options_of(span):
                    if option not in known:
                        finding(where, f"no command has {option}: `{span}`")
    if page.name == "cli.md":
        for option in sorted(o for o in known if o.startswith("--")):
            if not re.search(re.escape(option) + r"(?![\w-])", page.read_text()):
                finding(page.relative_to(ROOT), f"does not say what {option} is")


def demo_is_missing(binary):
    listed = json.loads(subprocess.run([binary, "models", "--json"], capture_output=True, text=True, check=True).stdout)
    return [m["name"] for m in listed if not m["present"]]


def main(binary, demo):
    missing = demo_is_missing(binary) if demo else []
    if missing:
        print(f"docs: warning: nothing is compared, {', '.join(missing)} missing (scripts/get-model.sh)", file=sys.stderr)
        return 1 if os.environ.get("TRITIUM_REQUIRE_MODELS") else 0
    run = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True)
    for command in re.findall(r"^  ([a-z]+) ", run.stdout.split("Subcommands:")[1], re.M):
        help_of(binary, command)
    count = {}
    for page in PAGES:
        desk = Desk(binary, demo)
        try:
            for number, marker, tag, block in blocks_of(page):
                where = f"{page.relative_to(ROOT)}:{number}"
                if demo and tag != "console":
                    continue
                if marker is not None:
                    check_verbatim(where, marker, block)
                elif tag == "sh":
                    check_sh(where, desk, binary, block)
                elif tag == "console":
                    check_console(where, desk, binary, block)
                elif tag == "text":
                    check_text(where, block)
                else:
                    finding(where, f"no rule for a block tagged '{tag}': {block.splitlines()[:1]}")
                    continue
                rule = "verbatim" if marker is not None else tag
                count[rule] = count.get(rule, 0) + 1
            if not demo:
                check_prose(page, binary)
        finally:
            desk.close()
    for line in findings:
        print(f"docs: error: {line}", file=sys.stderr)
    print("docs: " + ", ".join(f"{n} {rule}" for rule, n in sorted(count.items())) + f", {len(findings)} findings")
    wanted = {"console"} if demo else {"verbatim", "sh", "console", "text"}
    return 0 if not findings and wanted <= count.keys() else 1


if __name__ == "__main__":
    if sys.argv[1] == "--shim":
        shim(sys.argv[2:])
    sys.exit(main(os.path.abspath(sys.argv[1]), "--demo" in sys.argv[2:]))
