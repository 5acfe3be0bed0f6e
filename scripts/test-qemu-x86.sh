#!/usr/bin/env bash
# Kernel conformance and ops tests on emulated x86 CPUs: one that has no AVX, and one whose best tier is AVX2.
#
#   scripts/test-qemu-x86.sh [BUILD]         default: build/release; what is missing or stale is built
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
die() { printf 'test-qemu-x86: error: %s\n' "$*" >&2; exit 1; }
. scripts/emulated.sh

TRITIUM_SETUP_EXTRA=qemu scripts/setup.sh
[ -f build/deps/env.sh ] && . build/deps/env.sh
command -v qemu-x86_64-static >/dev/null || die "qemu-x86_64-static is missing (apt-get install qemu-user-static)"
[ -f "$build/CMakeCache.txt" ] || cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target conformance_tests ops_tests -j "$(nproc)"
run_emulated qemu-x86_64-static Nehalem "$build" "portable"
run_emulated qemu-x86_64-static Haswell "$build" "portable avx2"
