#!/usr/bin/env bash
# Opens, uses and closes sessions for a given time and checks that memory stays flat and texts the same.
#
#   scripts/soak.sh [SECONDS [MODEL]]      default: 600 seconds of a tiny model
#
# Builds the release preset if needed. Ends with the figures; status 1 when memory grew past its bound or a text differs.
set -euo pipefail
model=${2:-}
[ -z "$model" ] || model=$(realpath -- "$model")
cd "$(dirname "$0")/.."
[[ ${1:-600} =~ ^[0-9]+$ ]] || { echo "soak: error: wrong usage (SECONDS: expected a number, found $1)" >&2; exit 2; }
[ -f build/deps/env.sh ] && . build/deps/env.sh
cmake --preset release >/dev/null
cmake --build build/release -j "$(nproc)" --target soak >&2
exec build/release/bin/soak "${1:-600}" ${model:+"$model"}
