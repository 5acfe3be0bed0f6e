#!/usr/bin/env bash
# Projects of strangers: each is built in a folder outside the tree from what a build folder installs, or from the
# sources, and run. Nothing here knows more than docs/consuming.md, whose commands these are.
#
#   tests/consume/run.sh BUILD_DIR WAY...
set -euo pipefail
ways="installed text subdirectory headers host mixed c shared archive debian"
source=$(cd "$(dirname "$0")/../.." && pwd)
here=$source/tests/consume
build=$(cd "$1" && pwd); shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cache() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
fail() { echo "consume: error: $*" >&2; exit 1; }
# Output of a command, which must be as said.
expect() {                             # what (a pattern), command...
  local what=$1 found; shift
  found=$("$@") || fail "'$*' failed"
  [[ $found =~ $what ]] || fail "'$*' printed '$found' (expected $what)"
  echo "$found"
}

# The compilers of the build under the names that everybody uses, the packages as a user would give them.
mkdir "$work/bin"
ln -s "$(cache CMAKE_CXX_COMPILER)" "$work/bin/c++"
ln -s "$(cache CMAKE_C_COMPILER)" "$work/bin/cc"
export PATH=$work/bin:$PATH CC=cc CXX=c++ CMAKE_GENERATOR
CMAKE_GENERATOR=$(cache CMAKE_GENERATOR)
packages=$(cache TRITIUM_DEPS)/usr
highway=$(cache TRITIUM_HIGHWAY_INCLUDE)
model=$source/tests/data/golden/llama/model.gguf
for name in PCRE2 UTF8PROC; do
  library=$(cache TRITIUM_${name}_LIBRARY)
  LIBRARY_PATH=${library%/*}${LIBRARY_PATH:+:$LIBRARY_PATH}
done
export LIBRARY_PATH LD_LIBRARY_PATH=$LIBRARY_PATH  # of PCRE2 and utf8proc, which may lie outside the system

install_to() {                         # prefix
  cmake --install "$build" --prefix "$1" >"$work/install.log" || { cat "$work/install.log" >&2; exit 1; }
}
pkg_config_path() { dirname "$(find "$1" -name tritium.pc)"; }
# A project configured with a prefix path, built in $work/build.
build_project() {                      # folder, CMAKE_PREFIX_PATH, cmake arguments
  local folder=$1 prefixes=$2; shift 2
  rm -rf "$work/build"
  CMAKE_PREFIX_PATH=$prefixes cmake -S "$folder" -B "$work/build" -DCMAKE_BUILD_TYPE=Release "$@" \
    >"$work/configure.log" || { cat "$work/configure.log" >&2; exit 1; }
  cmake --build "$work/build" >"$work/build.log" || { cat "$work/build.log" >&2; exit 1; }
}
program() { sed -n '/^```cpp$/,/^```$/{//!p}' "$source/README.md"; }

installed() {                          # find_package: the compiled kernels, which need no other package
  install_to "$work/prefix"
  build_project "$here/installed" "$work/prefix"
  expect '^[a-z0-9_]+: 256$' "$work/build/engine"
  # What is not there is refused in words.
  cp "$here/installed/engine.cc" "$work"
  for wrong in 's/tritium 0.1/tritium 99/' 's/COMPONENTS kernels/COMPONENTS gpu/'; do
    sed "$wrong" "$here/installed/CMakeLists.txt" >"$work/CMakeLists.txt"
    ! CMAKE_PREFIX_PATH=$work/prefix cmake -S "$work" -B "$work/wrong" >/dev/null 2>"$work/wrong.log" ||
      fail "find_package accepted $wrong"
  done
  tr -s ' \n' ' ' <"$work/wrong.log" | grep -q 'component "gpu" needs' || fail "no reason: $(cat "$work/wrong.log")"
}
text() {                               # find_package: tokenizers and the C interface, with their packages
  install_to "$work/prefix"
  build_project "$here/text" "$work/prefix:$packages" -DCOMPLETE_C="$source/examples/c/complete.c"
  expect 'user.hello' "$work/build/speaker"
  expect '.' "$work/build/complete" "$model" 'Alice was' 8
  [ "$("$work/build/generate" "$model" 'Alice was')" = "$("$work/build/complete" "$model" 'Alice was' 8)" ] ||
    fail "C++ and C continue a text differently"
}
subdirectory() {                       # add_subdirectory: headers alone, in somebody's source tree
  mkdir -p "$work/project/third_party"
  ln -s "$source" "$work/project/third_party/tritium"
  cp "$here/subdirectory/CMakeLists.txt" "$work/project"
  program >"$work/project/engine.cc"
  build_project "$work/project" "$packages"
  expect '^25[56]' "$work/build/engine"
}
headers() {                            # one compiler command, no library
  install_to "$work/prefix"
  program >"$work/program.cc"
  cd "$work"
  export PKG_CONFIG_PATH CPLUS_INCLUDE_PATH=$highway
  PKG_CONFIG_PATH=$(pkg_config_path "$work/prefix")
  c++ -std=c++20 -O2 -march=native $(pkg-config --cflags tritium) program.cc -o program
  expect '^25[56]' ./program
}
host() {                               # kernels/*.cc with the host's own flags and threads
  ln -s "$source" "$work/tritium"
  cp "$here/host/host.cc" "$work"
  cd "$work"
  export CPLUS_INCLUDE_PATH=$highway
  flags="-std=c++20 -O2 -march=native -DHWY_COMPILE_ONLY_STATIC -DTRITIUM_DISPATCH=1 -Itritium/include -Itritium"
  c++ $flags host.cc tritium/kernels/rowops.cc tritium/kernels/matmul_ternary.cc -o host -pthread
  expect '^[a-z0-9_]+, own threads: 256$' ./host
}
mixed() {                              # objects with different instruction sets in one program
  local one=x86-64 two=x86-64-v3 feature=avx2
  grep -q avx512bw /proc/cpuinfo && one=x86-64-v3 two=x86-64-v4
  [ "$(uname -m)" != aarch64 ] || one=armv8-a two=armv8.2-a+dotprod feature=asimddp
  export CPLUS_INCLUDE_PATH=$highway
  cd "$here/mixed"
  c++ -std=c++20 -O1 -march=$one -I"$source/include" -DPART=first -c part.cc -o "$work/first.o"
  c++ -std=c++20 -O1 -march=$two -I"$source/include" -DPART=second -c part.cc -o "$work/second.o"
  c++ -std=c++20 main.cc "$work/first.o" "$work/second.o" -o "$work/mixed"
  run_mixed() {
    if ! grep -q "$feature" /proc/cpuinfo; then echo "$two: linked, this CPU has no $feature"; return; fi
    expect ' and ' "$work/mixed"
  }
  run_mixed
  c++ -std=c++20 main.cc "$work/second.o" "$work/first.o" -o "$work/mixed"  # the linker keeps the first copy it meets
  run_mixed
}
c() {                                  # a C compiler and pkg-config
  install_to "$work/prefix"
  cp "$source/examples/c/complete.c" "$work"
  cd "$work"
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(pkg_config_path "$work/prefix")
  cc -std=c99 -Wall -Wextra -Wpedantic -Werror complete.c $(pkg-config --cflags --libs tritium-c) -o complete
  expect '.' ./complete "$model" 'Alice was' 8
  [ "$(pkg-config --modversion tritium-c)" = "$(cache CMAKE_PROJECT_VERSION)" ] || fail "pkg-config has another version"
}
shared() {                             # a C compiler and the shared library, whose users need nothing else
  install_to "$work/prefix"
  cp "$source/examples/c/complete.c" "$work"
  cd "$work"
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(pkg_config_path "$work/prefix")
  folder=$(pkg-config --variable=libdir tritium-shared)
  unset LIBRARY_PATH LD_LIBRARY_PATH
  cc -std=c99 complete.c $(pkg-config --cflags --libs tritium-shared) -Wl,-rpath,"$folder" -o complete
  expect '.' ./complete "$model" 'Alice was' 8
  build_project "$here/shared" "$work/prefix" -DCOMPLETE_C="$work/complete.c"
  [ "$("$work/build/complete" "$model" 'Alice was' 8)" = "$(./complete "$model" 'Alice was' 8)" ] ||
    fail "the same program says something else"
}
package() {                            # generator
  cpack --config "$build/CPackConfig.cmake" -G "$1" -B "$work/packages" >"$work/cpack.log" 2>&1 ||
    { cat "$work/cpack.log" >&2; exit 1; }
}
archive() {                            # cpack: the same tree as an archive
  package TGZ
  mkdir "$work/tgz"
  tar xf "$work"/packages/*.tar.gz --strip-components=1 -C "$work/tgz"
  build_project "$here/installed" "$work/tgz"
  expect '^[a-z0-9_]+: 256$' "$work/build/engine"
}
debian() {                             # cpack: a Debian package, unpacked into a root of its own
  command -v dpkg-deb >/dev/null || { echo "skipped: this system has no dpkg-deb"; return; }
  package DEB
  field() { dpkg-deb --field "$work"/packages/*.deb "$1"; }
  expect '^tritium$' field Package
  expect "^$(cache CMAKE_PROJECT_VERSION)(-|\$)" field Version
  expect '.' field Architecture
  expect 'libpcre2-dev.*libutf8proc-dev' field Depends
  dpkg-deb -x "$work"/packages/*.deb "$work/root"
  build_project "$here/installed" "$work/root/usr"
  expect '^[a-z0-9_]+: 256$' "$work/build/engine"
  build_project "$here/text" "$work/root/usr:$packages" -DCOMPLETE_C="$source/examples/c/complete.c"
  expect '.' "$work/build/generate" "$model" 'Alice was'
  build_project "$here/shared" "$work/root/usr" -DCOMPLETE_C="$source/examples/c/complete.c"
  expect '.' "$work/build/complete" "$model" 'Alice was' 8
  expect '^tritium ' "$work/root/usr/bin/tritium" --version
}

[ $# -gt 0 ] || fail "no way named (expected one of: $ways)"
for way in "$@"; do
  [[ " $ways " == *" $way "* ]] || fail "unknown way '$way' (expected one of: $ways)"
  ( "$way" )
done
