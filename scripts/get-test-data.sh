#!/usr/bin/env bash
# Fetches test data that is too large, or not ours, for the tree: llama.cpp's vocabulary files with their test vectors
# (70 MB) and its chat templates.
#
#   scripts/get-test-data.sh [DIR]         default: build/test-data; they go to DIR/vocabs and DIR/templates
#
# They lie in the source package llama-cpp-python 0.3.36 of the Python registry; only these files are kept.
# Tests look in build/test-data/{vocabs,templates}, or in $TRITIUM_TEST_VOCABS and $TRITIUM_TEST_TEMPLATES, and fail when
# such a variable names an empty folder.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-build/test-data}
mkdir -p "$target"
target=$(cd "$target" && pwd)
vocabs=$target/vocabs
templates=$target/templates
say() { printf 'get-test-data: %s\n' "$*" >&2; }
if [ -f "$vocabs/.complete" ] && [ -f "$templates/.complete" ]; then
  say "vocabularies and templates are in $target"
  exit 0
fi
command -v python3 >/dev/null || { say "error: python3 is needed"; exit 1; }

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
archive=${TRITIUM_LLAMA_SDIST:-}        # an archive that is already here
if [ -z "$archive" ]; then
  say "downloading llama-cpp-python 0.3.36 (77 MB)"
  # pip asks the package for its metadata on the way; nothing of it is compiled.
  python3 -m pip download -q --no-deps --no-binary llama-cpp-python -d "$work" llama-cpp-python==0.3.36 >&2 ||
    { say "error: the package could not be downloaded"; exit 1; }
  archive=$(ls "$work"/*.tar.gz)
fi
rm -rf "$vocabs.part" "$templates.part"
mkdir -p "$vocabs.part" "$templates.part"
python3 - "$archive" "$vocabs.part" "$templates.part" <<'PY'
import os, re, shutil, sys, tarfile
archive, *targets = sys.argv[1:]
wanted = [re.compile(r".*/vendor/llama\.cpp/models/(ggml-vocab-[a-z0-9-]+\.gguf(\.inp|\.out)?)$"),
          re.compile(r".*/vendor/llama\.cpp/models/templates/([A-Za-z0-9._-]+\.jinja)$")]
counts = [0, 0]
with tarfile.open(archive) as tar:
    for member in tar:
        for i, pattern in enumerate(wanted):
            match = pattern.match(member.name)
            if match and member.isfile():
                with tar.extractfile(member) as source, open(os.path.join(targets[i], match.group(1)), "wb") as out:
                    shutil.copyfileobj(source, out)
                counts[i] += 1
if counts[0] < 40 or counts[1] < 60:
    sys.exit(f"get-test-data: error: expected more than 40 vocabulary files and 60 templates in {archive}, found {counts[0]} and {counts[1]}")
PY
for folder in "$vocabs" "$templates"; do
  rm -rf "$folder"
  touch "$folder.part/.complete"
  mv "$folder.part" "$folder"
done
say "vocabularies are in $vocabs, templates in $templates"
