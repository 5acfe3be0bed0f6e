# Sourced by test-qemu-x86.sh and test-aarch64.sh: the kernel tests of a build folder on one emulated CPU.
#
# The emulators are 20 to 45 times slower than a machine, so a share of the native cases runs (TRITIUM_TEST_PERCENT).
# The tiers that a CPU tested are compared with those it must test: one that silently dropped out would pass every test.

run_emulated() {                       # emulator, CPU model, build folder, tiers
  local emulator=$1 cpu=$2 build=$3 tiers=$4 program log
  printf '== %s\n' "$cpu"
  for program in conformance_tests ops_tests; do
    log=$build/$program-$cpu.log
    if ! env -u TRITIUM_ISA TRITIUM_TEST_PERCENT="${TRITIUM_TEST_PERCENT:-2}" \
      "$emulator" -cpu "$cpu" "$build/bin/$program" >"$log" 2>&1; then
      tail -40 "$log"
      die "$program fails on $cpu"
    fi
    tail -2 "$log"
  done
  tr -s '[:space:]' ' ' <"$build/conformance_tests-$cpu.log" | grep -qF "tiers tested: $tiers; " ||
    die "$cpu did not test exactly the tiers $tiers: see $build/conformance_tests-$cpu.log"
}
