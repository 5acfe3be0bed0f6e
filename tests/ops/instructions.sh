#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No kernel is silently scalar: every matmul loop of a vector tier has that tier's dot product in it, in its full width.
#
#   instructions.sh LIBRARY
#
# Reads the built kernels. A pass and a dot-product policy are in a function's name; what they must compile to is listed below.
# Every (pass, policy) must also have a kernel for as many formats as every other.
set -euo pipefail
objdump -d --no-show-raw-insn -C "$1" | awk '
function close_function() {
  if (wanted == "") return
  ++checked[tier]
  if (!found) { ++bad; printf "no %s in %s\n", wanted, name }
  wanted = ""
}
/^[0-9a-f]+ <.*>:$/ {
  close_function()
  name = $0
  found = 0
  pass = name ~ /N_AVX3::/ ? "avx512" : name ~ /N_AVX2::/ ? "avx2" : ""
  register = pass == "avx512" ? "%zmm" : "%ymm"
  policy = name ~ /AmxTiles/ ? "amx" : name ~ /EmulatedTiles/ ? "emulated" : name ~ /DotVnni/ ? "vnni" : name ~ /DotMaddubs/ ? "pairs" : ""
  tier = pass " " policy
  if (pass == "") next
  if (name ~ /[ :]MatmulPanels</) ++formats[tier]
  if (name ~ /[ :](DirectTile|SweepTile)</) wanted = policy == "pairs" ? "vpmadd" : policy == "" ? "" : "vpdpbusd"
  if (name ~ /[ :]FloatMatmulPanels</) { wanted = "vfmadd"; tier = pass " float" }
  if (policy == "amx" && name ~ /[ :]Tile(Block|Rows|Groups)</) { wanted = "tdpbusd|tdpbuud|tdpbssd|tdpbsud"; register = "%tmm" }
}
wanted != "" && $0 ~ wanted && index($0, register) { found = 1 }
END {
  close_function()
  for (t in checked) printf "%-14s %3d loops\n", t, checked[t]
  for (t in formats) printf "%-14s %3d formats\n", t, formats[t]
  if (formats["avx2 vnni"] < 20 || formats["avx2 vnni"] != formats["avx2 pairs"] || formats["avx512 vnni"] < formats["avx2 vnni"] ||
      formats["avx512 pairs"] != formats["avx2 pairs"]) { print "a tier lacks formats"; ++bad }
  if (checked["avx2 float"] != 3 || checked["avx512 float"] != 3 || checked["avx512 amx"] < 8) { print "a tier lacks kernels"; ++bad }
  exit bad > 0
}'
