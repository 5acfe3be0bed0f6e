#!/usr/bin/env bash
# Static analysis with the checks of .clang-tidy: the sources that a build folder compiles, and every header alone.
#
#   scripts/tidy.sh [BUILD] [PATTERN...]      default: build/release, and core format io text examples c
#
# A pattern is a part of a path: "include/tritium/core", "examples/". Findings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
[ $# -eq 0 ] || shift
die() { printf 'tidy: error: %s\n' "$*" >&2; exit 1; }
tidy=${CLANG_TIDY:-$(command -v clang-tidy-16 || command -v clang-tidy || true)}
[ -n "$tidy" ] || die "clang-tidy is missing (apt-get install clang-tidy-16)"
[ -f "$build/compile_commands.json" ] || die "no $build/compile_commands.json (cmake --preset release)"
patterns=("$@")
[ $# -gt 0 ] || patterns=(include/tritium/core/ include/tritium/format/ include/tritium/io/ include/tritium/text/ examples/tritium/ c/)

# A header's command is that of its file under tests/alone, which includes it and nothing else.
list=$(mktemp)
trap 'rm -f "$list"' EXIT
python3 - "$build/compile_commands.json" "${patterns[@]}" >"$list" <<'EOF'
import json, os, sys
root, patterns = os.getcwd() + "/", sys.argv[2:]
for entry in json.load(open(sys.argv[1])):
    path = os.path.join(entry["directory"], entry["file"])
    name = path[len(root):] if path.startswith(root) else path
    if "/alone/" in name:
        with open(path) as source:
            name = "include/" + source.readline().split('"')[1]
    if any(name.startswith(p) for p in patterns):
        print(name, path, sep="\t")
EOF
[ -s "$list" ] || die "nothing to check: no source of $build matches ${patterns[*]}"
failures=0
while IFS=$'\t' read -r name path; do
  printf 'tidy: %s\n' "$name"
  filter=${name%.cc}'\.h$'                # the file's own header; others have their turn
  [[ $name != include/* ]] || filter="$name\$"
  "$tidy" --quiet -p "$build" --header-filter="$filter" --extra-arg=-Wno-unknown-warning-option "$path" 2>/dev/null ||
    failures=$((failures + 1))
done < <(sort -u "$list")
[ "$failures" -eq 0 ] || die "$failures files with findings"
