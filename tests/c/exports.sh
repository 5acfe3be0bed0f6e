#!/usr/bin/env bash
# What the shared library shows: the functions of the C header, each with the interface's version, and nothing else.
#
#   tests/c/exports.sh LIBRARY HEADER
set -euo pipefail
export LC_ALL=C
library=$1 header=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "exports: error: $*" >&2; exit 1; }

abi=$(sed -n 's/^#define TRITIUM_C_ABI //p' "$header")
[ -n "$abi" ] || fail "$header has no TRITIUM_C_ABI"
# A declaration begins a line; its name is the word before the first bracket.
sed -n 's/^[a-z][^(/]*\b\(tritium_[a-z_0-9]*\)(.*/\1/p' "$header" | sed "s/$/@@TRITIUM_$abi/" | sort >"$work/declared"
[ "$(wc -l <"$work/declared")" -ge 25 ] || fail "$(wc -l <"$work/declared") functions in $header (expected 25 or more)"
nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' | sort >"$work/shown"
diff "$work/declared" "$work/shown" >"$work/difference" ||
  fail "declared (<) and exported (>) differ: $(tr '\n' ' ' <"$work/difference")"
nm -D --defined-only "$library" | awk '$2 == "A" { print $3 }' | sed 's/@.*//' | sort >"$work/versions"
[ "$(cat "$work/versions")" = "TRITIUM_$abi" ] || fail "versions: $(cat "$work/versions") (expected TRITIUM_$abi)"

objdump -p "$library" >"$work/headers"
soname=$(sed -n 's/^ *SONAME *//p' "$work/headers")
[ "$soname" = "libtritium.so.$abi" ] || fail "SONAME '$soname' (expected libtritium.so.$abi)"
! grep -q TEXTREL "$work/headers" || fail "code that is changed while loading: a static library inside is not position independent"
echo "$(wc -l <"$work/shown") functions, $soname, needs $(sed -n 's/^ *NEEDED *//p' "$work/headers" | tr '\n' ' ')"
