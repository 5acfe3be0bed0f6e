#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The inner loops of the built kernels keep their sums in registers: compilers that spill them halve the speed in silence.
#
#   hot_loops.sh LIBRARY
#
# Looks at every innermost loop with 8 or more dot products on the tiers whose dot product is one instruction, and counts
# vector moves from and to the stack. One for every 4 products is let pass: 8 for 32 cost nothing
# that could be measured on Zen 5, where 4 for every product cost half the speed.
set -euo pipefail
objdump -d --no-show-raw-insn -C "$1" | awk '
function close_function(   i, j, inner, moves, dots) {
  for (i = 0; i < n_loops; ++i) {
    inner = 1
    for (j = 0; j < n_loops; ++j)
      if (j != i && from[j] >= from[i] && to[j] <= to[i] && !(from[j] == from[i] && to[j] == to[i])) inner = 0
    if (!inner) continue
    moves = dots = 0
    for (j = from[i]; j <= to[i]; ++j) {
      if (text[j] ~ /^vpdpbusd/) ++dots
      if (text[j] ~ /^vmov[a-z0-9]+ .*%[yz]mm/ && text[j] ~ /\(%r[sb]p\)/) ++moves
    }
    if (dots < 8) continue
    ++checked
    if (4 * moves > dots) { ++bad; printf "%d stack moves for %d products in %s\n", moves, dots, name }
  }
  n_loops = n_lines = 0
  delete at
}
/^[0-9a-f]+ <.*>:$/ {
  close_function()
  name = $0
  hot = name ~ /(SweepTile|DirectTile)<.*DotVnni/
  next
}
hot && /^ +[0-9a-f]+:/ {
  address = $1
  sub(":", "", address)
  at[address] = n_lines
  line = $0
  sub(/^ +[0-9a-f]+:[ \t]*/, "", line)
  text[n_lines] = line
  if ($2 ~ /^j[a-z]+$/ && ($3 in at)) { from[n_loops] = at[$3]; to[n_loops++] = n_lines }
  ++n_lines
}
END {
  close_function()
  printf "%d loops checked, %d spill\n", checked, bad
  exit bad > 0 || checked < 100
}'
