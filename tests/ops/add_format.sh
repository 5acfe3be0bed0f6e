#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Follows docs/adding.md to the letter: its lines for a new format go into a copy of the headers, a program uses it.
#
#   add_format.sh SOURCE FOLDER COMPILER [OPTION...]
set -euo pipefail
source=$1 folder=$2
shift 2
describe=$(grep -o 'using Int3 = .*' "$source/docs/adding.md")
line=$(grep -o 'TRITIUM_FORMAT(.*"int3g64".*' "$source/docs/adding.md")
rm -rf "$folder"
mkdir -p "$folder"
cp -r "$source/include" "$folder/include"
sed -i "s|^using Int4Row|$describe\n&|" "$folder/include/tritium/format/formats.h"
sed -i "0,/^TRITIUM_FLOAT_FORMAT/s|^TRITIUM_FLOAT_FORMAT|$line\n&|" "$folder/include/tritium/format/formats.inc"
"$@" -std=c++20 -O1 -I"$folder/include" "$source/tests/ops/new_format.cc" -o "$folder/new_format"
"$folder/new_format"
rm -rf "$folder"
