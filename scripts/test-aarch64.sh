#!/usr/bin/env bash
# Kernel conformance and ops tests on emulated 64-bit Arm CPUs: plain NEON, with DotProd, with I8MM.
#
#   scripts/test-aarch64.sh [BUILD]          default: build/aarch64, cross-built here as a static program
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/aarch64}
die() { printf 'test-aarch64: error: %s\n' "$*" >&2; exit 1; }
. scripts/emulated.sh

TRITIUM_SETUP_EXTRA="qemu aarch64" scripts/setup.sh
[ -f build/deps/env.sh ] && . build/deps/env.sh
command -v qemu-aarch64-static >/dev/null || die "qemu-aarch64-static is missing (apt-get install qemu-user-static)"
command -v aarch64-linux-gnu-g++ >/dev/null || die "the compiler is missing (apt-get install g++-aarch64-linux-gnu)"
cmake -S . -B "$build" -G Ninja --toolchain "$PWD/cmake/aarch64-linux-gnu.cmake" -DCMAKE_BUILD_TYPE=Release \
  -DCatch2_DIR="$PWD/build/deps-aarch64/usr/lib/cmake/Catch2" \
  -DTRITIUM_TEXT=OFF -DTRITIUM_BUILD_EXAMPLES=OFF -DTRITIUM_BUILD_BENCH=OFF >/dev/null
cmake --build "$build" --target conformance_tests ops_tests -j "$(nproc)"
run_emulated qemu-aarch64-static cortex-a72 "$build" "neon"
run_emulated qemu-aarch64-static neoverse-n1 "$build" "neon neon_dotprod"
run_emulated qemu-aarch64-static max "$build" "neon neon_dotprod neon_i8mm"
