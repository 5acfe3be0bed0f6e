#!/usr/bin/env bash
# Builds the API reference, build/docs/html/index.html, from the headers' own comments. A public name without one is an error,
# as is a comment that does not fit what it stands at; docs/Doxyfile says what is public.
#
#   scripts/docs.sh            installs doxygen if it is missing
#   scripts/docs.sh --check    writes no pages
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'docs: error: %s\n' "$*" >&2; exit 1; }
[ $# -eq 0 ] || [ "$*" = --check ] || die "unknown argument '$*' (expected --check or nothing)"
command -v doxygen >/dev/null || TRITIUM_SETUP_EXTRA=docs scripts/setup.sh
command -v doxygen >/dev/null || die "doxygen is missing and could not be installed (apt-get install doxygen)"
mkdir -p build/docs
overrides=
[ $# -eq 0 ] || overrides=$'GENERATE_HTML=NO\nGENERATE_XML=YES'   # names are looked at when something is written
log=build/docs/doxygen.log
if ! { cat docs/Doxyfile; echo "$overrides"; } | doxygen - 2>"$log" || [ -s "$log" ]; then
  sed "s,^$PWD/,," "$log" >&2
  die "$(wc -l <"$log") findings; docs/Doxyfile says what is public"
fi
if [ $# -eq 0 ]; then echo "docs: build/docs/html/index.html"; else echo "docs: every public name is documented"; fi
