#!/usr/bin/env bash
# How long a compiler works on one file over each umbrella header. The seconds are written down, never judged: what is
# proven is that the programs compile with -O2 and nothing else.
#
#   tests/consume/compile_seconds.sh BUILD_DIR [OUT]          default: BUILD_DIR/compile_seconds.txt
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
out=${2:-$build/compile_seconds.txt}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }

compiler=$(cache CMAKE_CXX_COMPILER)
packages=()
for name in HIGHWAY JSON PCRE2 UTF8PROC; do packages+=(-isystem "$(cache TRITIUM_${name}_INCLUDE)"); done
sed -n '/^```cpp$/,/^```$/{//!p}' "$source/README.md" >"$work/readme.cc"
TIMEFORMAT='%U %S'
compile() {                            # what, file, flags...
  local what=$1 file=$2 user system; shift 2
  { time "$compiler" -std=c++20 -O2 -I"$source/include" "${packages[@]}" "$@" -c "$file" -o "$work/object" 2>"$work/log"; } \
    2>"$work/time" || { cat "$work/log" >&2; exit 1; }
  read -r user system <"$work/time"
  [ -s "$work/object" ] || { echo "compile_seconds: error: no object of $file" >&2; exit 1; }
  awk -v what="$what" -v s="$user" -v t="$system" 'BEGIN { printf "%6.1f s  %s\n", s + t, what }' | tee -a "$work/out"
}
"$compiler" --version | head -1 | tee "$work/out"
compile "tritium/tritium.h, headers alone, one format" "$work/readme.cc" -march=native
compile "tritium/tritium.h, kernels linked" "$source/tests/consume/installed/engine.cc" -DTRITIUM_DISPATCH=1
for loaders in 1 0; do
  what=$([ "$loaders" = 1 ] && echo "tritium::model linked" || echo "kernels linked")
  compile "tritium/model.h, $what" "$source/tests/consume/text/generate.cc" -DTRITIUM_DISPATCH=1 -DTRITIUM_LOADERS="$loaders" \
    -DPCRE2_CODE_UNIT_WIDTH=8 -DUTF8PROC_STATIC
done
cp "$work/out" "$out"
