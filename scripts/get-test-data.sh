#!/usr/bin/env bash
# Fetches test data that is too large for the tree: llama.cpp's vocabulary files with their test vectors (70 MB).
#
#   scripts/get-test-data.sh [DIR]         default: build/test-data; the vocabularies go to DIR/vocabs
#
# They lie in the source package llama-cpp-python 0.3.36 of the Python registry; only its vocabulary files are kept.
# Tests look in build/test-data/vocabs, or in $TRITIUM_TEST_VOCABS, and fail when that variable names an empty folder.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-build/test-data}
mkdir -p "$target"
target=$(cd "$target" && pwd)
vocabs=$target/vocabs
say() { printf 'get-test-data: %s\n' "$*" >&2; }
[ -f "$vocabs/.complete" ] && { say "vocabularies are in $vocabs"; exit 0; }
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
rm -rf "$vocabs.part"
mkdir -p "$vocabs.part"
python3 - "$archive" "$vocabs.part" <<'PY'
import os, re, shutil, sys, tarfile
archive, target = sys.argv[1:]
wanted = re.compile(r".*/vendor/llama\.cpp/models/(ggml-vocab-[a-z0-9-]+\.gguf(\.inp|\.out)?)$")
count = 0
with tarfile.open(archive) as tar:
    for member in tar:
        match = wanted.match(member.name)
        if match and member.isfile():
            with tar.extractfile(member) as source, open(os.path.join(target, match.group(1)), "wb") as out:
                shutil.copyfileobj(source, out)
            count += 1
if count < 40:
    sys.exit(f"get-test-data: error: expected more than 40 vocabulary files in {archive}, found {count}")
PY
rm -rf "$vocabs"
touch "$vocabs.part/.complete"
mv "$vocabs.part" "$vocabs"
say "vocabularies are in $vocabs"
