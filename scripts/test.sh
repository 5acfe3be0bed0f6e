#!/usr/bin/env bash
# Installs what is needed, builds, and runs every test: natively, under sanitizers, and on emulated CPUs.
#
#   scripts/test.sh                  everything
#   scripts/test.sh STAGE...         some of: release asan tsan qemu-x86 qemu-arm; also fuzz, a minute of
#                                    each fuzz target (the others replay their corpus)
#
# Each stage ends with ctest's own count; the last lines sum them up. A stage that a machine cannot run says why.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
jobs=$(nproc)
say() { printf '\n=== %s (%d s)\n' "$*" "$((SECONDS - started))"; }
stages=("$@")
[ $# -gt 0 ] || stages=(asan tsan qemu-x86 qemu-arm release)

TRITIUM_SETUP_EXTRA="${TRITIUM_SETUP_EXTRA-qemu docs}" scripts/setup.sh
[ -f build/deps/env.sh ] && . build/deps/env.sh
scripts/get-test-data.sh
scripts/get-model.sh smollm2-135m
scripts/get-model.sh gemma3-270m
export TRITIUM_TEST_VOCABS=$PWD/build/test-data/vocabs
export TRITIUM_REQUIRE_MODELS=1        # tests on the real models fail, rather than warn, when a file is missing

passed=0 failed=0 summary=""
# ctest in a build folder; adds its count to the sum.
run_ctest() {                          # name, folder, ctest arguments
  local name=$1 folder=$2 log; shift 2
  log=$folder/ctest.log
  say "$name: testing"
  local status=0
  ctest --test-dir "$folder" --output-on-failure "$@" 2>&1 | tee "$log" || status=1
  # "99% tests passed, 1 tests failed out of 284", and from CMake 4 on "100% tests passed out of 284" when none failed.
  local total bad
  total=$(sed -n 's/.*% tests passed.* out of \([0-9]*\)$/\1/p' "$log" | tail -1)
  bad=$(sed -n 's/.*% tests passed, \([0-9]*\) tests failed out of .*/\1/p' "$log" | tail -1)
  [ -n "$total" ] || { echo "test: error: $name ran no test" >&2; total=1 bad=1; }
  [ "$status" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
  failed=$((failed + ${bad:-0})); passed=$((passed + total - ${bad:-0}))
  summary+=$(printf '\n  %-10s %s of %s tests passed' "$name" "$((total - ${bad:-0}))" "$total")
  return 0
}
build() {                              # name, preset, targets
  local name=$1 preset=$2; shift 2
  say "$name: building"
  cmake --preset "$preset" >/dev/null
  cmake --build "build/$preset" -j "$jobs" "$@"
}

for stage in "${stages[@]}"; do
  case $stage in
    release)
      build release release
      run_ctest release build/release ;;
    asan)
      build asan asan-ubsan
      run_ctest asan build/asan-ubsan -LE slow ;;
    tsan)
      build tsan tsan --target threads_tests
      run_ctest tsan build/tsan -R '^threads: ' ;;
    qemu-x86 | qemu-arm)
      script=scripts/test-qemu-x86.sh
      [ "$stage" = qemu-x86 ] || script=scripts/test-aarch64.sh
      say "$stage: testing"
      if "$script"; then passed=$((passed + 1)); summary+=$(printf '\n  %-10s passed' "$stage")
      else failed=$((failed + 1)); summary+=$(printf '\n  %-10s FAILED' "$stage"); fi ;;
    fuzz)
      say "fuzz: running"
      if scripts/fuzz.sh; then passed=$((passed + 1)); summary+=$(printf '\n  %-10s passed' fuzz)
      else failed=$((failed + 1)); summary+=$(printf '\n  %-10s FAILED' fuzz); fi ;;
    *) echo "test: error: unknown stage '$stage' (expected release, asan, tsan, qemu-x86, qemu-arm or fuzz)" >&2; exit 2 ;;
  esac
done
say "summary"
printf '%s\n\n%d tests passed, %d failed out of %d\n' "$summary" "$passed" "$failed" "$((passed + failed))"
[ "$failed" -eq 0 ]
