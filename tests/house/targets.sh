#!/usr/bin/env bash
# A target that cannot be served is refused, and the first error that the compiler prints says why.
#
#   tests/house/targets.sh SOURCE_DIR COMPILER
set -euo pipefail
source=$1 compiler=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
echo '#include "tritium/core/config.h"' >"$work/one.cc"

refused() {                            # reason, flags...
  local reason=$1 first; shift
  if "$compiler" "$@" -I"$source/include" -E "$work/one.cc" -o /dev/null 2>"$work/log"; then
    echo "not refused: $*" >&2; failures=$((failures + 1)); return
  fi
  first=$(grep -m1 -F 'error: ' "$work/log" || true)
  if [[ $first != *"$reason"* ]]; then
    echo "$*: the first error is '$first' (expected '$reason')" >&2; failures=$((failures + 1)); return
  fi
  echo "$*: refused ($reason)"
}

"$compiler" -std=c++20 -I"$source/include" -E "$work/one.cc" -o /dev/null || { echo "refused without a reason" >&2; exit 1; }
refused 'needs a 64-bit target' -std=c++20 -U__SIZEOF_POINTER__ -D__SIZEOF_POINTER__=4
refused 'needs a little-endian target' -std=c++20 -U__BYTE_ORDER__ -D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__
refused 'needs C++20' -std=c++17
refused 'must not be compiled with -ffast-math' -std=c++20 -ffast-math
refused 'needs GCC 12 or newer, or Clang 16 or newer' -std=c++20 -U__GNUC__ -U__clang__
if "$compiler" -dumpmachine | grep -q x86_64; then
  refused 'needs a 64-bit target' -std=c++20 -m32
  refused 'needs a 64-bit target' -std=c++20 -mx32
fi
[ "$failures" -eq 0 ]
