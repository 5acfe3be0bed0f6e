#!/usr/bin/env bash
# Faults and soak in one summary: the figures that docs/robustness.md quotes.
#
#   scripts/robustness.sh [SECONDS]      seconds of soak; default: 60
#
# Builds the release preset if needed; prints one line for each kind of fault and two for soak. Status 1 when one fails.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "robustness: error: wrong usage (SECONDS: expected a number, found $seconds)" >&2; exit 2; }
[ -f build/deps/env.sh ] && . build/deps/env.sh
cmake --preset release >/dev/null
cmake --build build/release -j "$(nproc)" --target faults_tests faults_cli_tests soak >&2
log=build/release/robustness.log status=0
: >"$log"
for command in faults_tests faults_cli_tests "soak $seconds"; do
  printf 'robustness: %s\n' "$command" >&2
  # shellcheck disable=SC2086  # a program and its argument
  build/release/bin/$command >>"$log" 2>&1 || { status=1; echo "robustness: error: ${command%% *} failed ($log)" >&2; }
done
sed -n 's/^figure: //p' "$log"
exit "$status"
