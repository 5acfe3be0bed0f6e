#!/usr/bin/env bash
# From a fresh machine to a language model that answers: installs the build dependencies into build/deps, builds the
# command line, fetches SmolLM2-135M (98 MB) and completes a prompt.
#
#   scripts/quickstart.sh [PROMPT]
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-Gravity is}
scripts/setup.sh
[ -f build/deps/env.sh ] && . build/deps/env.sh
cmake --preset release -DTRITIUM_BUILD_TESTS=OFF -DTRITIUM_BUILD_BENCH=OFF -B build/release >/dev/null
cmake --build build/release --target tritium_cli
scripts/get-model.sh smollm2-135m
printf '\n$ build/release/bin/tritium run demo:smollm2-135m --echo --greedy -n 48 -p "%s"\n' "$prompt" >&2
exec build/release/bin/tritium run demo:smollm2-135m --echo --greedy -n 48 -p "$prompt"
