#!/usr/bin/env bash
# Runs the fuzz targets under libFuzzer with address and undefined-behaviour sanitizers.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]       default: 60 seconds of every target in tests/fuzz
#
# What a target learns stays in build/fuzz/corpus/TARGET and is where the next run begins; inputs that fail are in
# build/fuzz/findings/TARGET. Ends with a table; status 1 when there is a finding, 2 when it cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'fuzz: error: %s\n' "$*" >&2; exit 2; }

seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
targets=("$@")
[ $# -gt 0 ] || for source in tests/fuzz/*_fuzz.cc; do name=${source##*/}; targets+=("${name%_fuzz.cc}"); done
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/${target}_fuzz.cc" ] || die "unknown target '$target' (expected the NAME of a tests/fuzz/NAME_fuzz.cc)"
done

TRITIUM_SETUP_EXTRA=${TRITIUM_SETUP_EXTRA-clang} scripts/setup.sh
[ -f build/deps/env.sh ] && . build/deps/env.sh
command -v clang++-16 >/dev/null || die "no Clang: libFuzzer is a part of it (expected clang++-16: apt-get install clang-16 libclang-rt-16-dev)"
cmake --preset fuzz >/dev/null
cmake --build build/fuzz -j "$(nproc)" --target "${targets[@]/#/fuzz_}"
python3 tests/fuzz/make_seeds.py build/fuzz/seeds

failed=0 table=$(printf '%-18s %12s %8s %9s' target executions corpus findings)
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target findings=build/fuzz/findings/$target log=build/fuzz/$target.log
  mkdir -p "$corpus" "$findings"
  options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$findings/")
  [ ! -f "tests/fuzz/$target.dict" ] || options+=(-dict="tests/fuzz/$target.dict")
  printf 'fuzz: %s, %s s\n' "$target" "$seconds" >&2
  status=0
  "build/fuzz/bin/fuzz_$target" "${options[@]}" "$corpus" "tests/fuzz/corpus/$target" "build/fuzz/seeds/$target" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  count=0
  if [ "$status" -ne 0 ]; then
    count=1 failed=1
    tail -40 "$log" >&2
  fi
  table+=$(printf '\n%-18s %12s %8s %9s' "$target" "${runs:-?}" "$(find "$corpus" -type f | wc -l)" "$count")
done
printf '%s\n' "$table"
[ "$failed" -eq 0 ] || { echo "fuzz: error: findings are in build/fuzz/findings" >&2; exit 1; }
