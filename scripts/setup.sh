#!/usr/bin/env bash
# Brings every build dependency to a prefix inside the build folder; touches no system file unless a
# compiler or CMake is missing and we are root.
#
#   scripts/setup.sh [PREFIX]          default: build/deps
#
# Packages come from the distribution's own archive (the host names are the machine's own apt sources).
# Highway >= 1.2, xsimd 13, nlohmann/json 3.11.3 and Catch2 3 come from the newer suite: the first three are
# headers, Catch2 is built from its source package because the prebuilt archive needs a newer C library.
# TRITIUM_SETUP_EXTRA="clang qemu docs aarch64" also installs the compilers and emulators of the wide test matrix and doxygen
# (root), and builds Catch2 for 64-bit Arm next to the prefix (PREFIX-aarch64).
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:-build/deps}
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
stamp=$prefix/.complete-5
arm_prefix=                             # set when Catch2 is wanted for 64-bit Arm too

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo && sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi; }

# --- tools ---------------------------------------------------------------------------------------------
install_tools() {                       # apt package names
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}
cmake_ok() { have cmake && [ "$(printf '3.23\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" | sort -V | head -1)" = 3.23 ]; }

missing=()
have "${CXX:-g++}" || have c++ || missing+=(g++)
cmake_ok || missing+=(cmake)
have ninja || missing+=(ninja-build)
have python3 || missing+=(python3)
have xz || missing+=(xz-utils)
python3 -c 'import pip' 2>/dev/null || missing+=(python3-pip)
if [ ${#missing[@]} -gt 0 ]; then
  say "missing tools: ${missing[*]}"
  if have apt-get && install_tools ca-certificates "${missing[@]}"; then :
  elif python3 -c 'import pip' 2>/dev/null; then      # no root: CMake and ninja also come as Python wheels
    have "${CXX:-g++}" || have c++ || die "no C++ compiler and no root rights to install one (expected g++ >= 12 or clang >= 16)"
    python3 -m pip install -q --target "$prefix/pytools" cmake ninja >&2 || die "could not install cmake and ninja (found neither root rights nor a Python package index)"
    mkdir -p "$prefix/bin"
    ln -sf ../pytools/bin/cmake ../pytools/bin/ctest ../pytools/bin/cpack ../pytools/bin/ninja "$prefix/bin/"
    printf 'export PYTHONPATH="%s/pytools${PYTHONPATH:+:$PYTHONPATH}"\nexport PATH="%s/bin:$PATH"\n' "$prefix" "$prefix" > "$prefix/env.sh"
  else
    die "missing ${missing[*]}: install them, or run as root on a Debian-like system"
  fi
fi
if [ -n "${TRITIUM_SETUP_EXTRA:-}" ]; then
  for what in $TRITIUM_SETUP_EXTRA; do
    case $what in
      clang) have clang++-16 || install_tools clang-16 libclang-rt-16-dev || say "clang-16 could not be installed: its tests will say so" ;;
      qemu)  have qemu-aarch64-static || install_tools qemu-user-static || say "qemu-user could not be installed: its tests will say so"
             have aarch64-linux-gnu-g++ || install_tools g++-aarch64-linux-gnu || say "the aarch64 compiler could not be installed: its tests will say so" ;;
      docs)  have doxygen || install_tools doxygen || say "doxygen could not be installed: the test of docstrings is left out" ;;
      aarch64) arm_prefix=$prefix-aarch64 ;;
      *) die "unknown extra '$what' (expected clang, qemu, docs or aarch64)" ;;
    esac
  done
fi
[ -f "$prefix/env.sh" ] && . "$prefix/env.sh"
arm_stamp=$arm_prefix/.complete-1
[ -f "$stamp" ] && { [ -z "$arm_prefix" ] || [ -f "$arm_stamp" ]; } && { say "dependencies are in $prefix"; exit 0; }
have apt-get && have dpkg-deb || die "no apt-get here: install Highway >= 1.2, Eigen 3.4, xsimd 13, Google Benchmark, Catch2 3, nlohmann/json, CLI11, PCRE2 and utf8proc, or configure with -DTRITIUM_FETCH=ON"

# --- packages, unpacked into the prefix ----------------------------------------------------------------
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
. /etc/os-release
own=${VERSION_CODENAME:?no VERSION_CODENAME in /etc/os-release}
case $own in bookworm) next=trixie ;; *) next=$own ;; esac
mkdir -p "$root"/{own,next,none,deb,src} "$root"/lists/{own,next}/partial "$root"/cache/archives/partial
found=0
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
  [ -f "$f" ] && grep -q "\b$own\b" "$f" || continue
  found=1
  cp "$f" "$root/own/"
  sed -E "s/\b$own\b/$next/g; s/^Types:.*/Types: deb deb-src/" "$f" |
    { case $f in *.sources) cat ;; *) sed -E 'p; s/^deb /deb-src /' ;; esac; } > "$root/next/$(basename "$f")"
done
[ $found = 1 ] || die "no apt source for '$own' found under /etc/apt (expected sources.list or sources.list.d)"
apt_() { local suite=$1; shift
  apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$root/$suite" \
    -o Dir::Etc::preferencesparts="$root/none" -o Dir::State::lists="$root/lists/$suite" -o Dir::Cache="$root/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=5 -o Acquire::Languages=none "$@"; }
build_catch2() {                        # prefix, CMake arguments
  local to=$1 folder=$root/catch-${1##*/}; shift
  if ! ls -d "$root"/src/Catch2-* >/dev/null 2>&1; then
    (cd "$root/src"; apt_ next source --download-only catch2; tar xf catch2_*.orig.tar.*)
  fi
  cmake -S "$root"/src/Catch2-* -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
    -DCATCH_INSTALL_DOCS=OFF -DCMAKE_INSTALL_PREFIX="$to/usr" "$@" >/dev/null
  cmake --build "$folder" --target install >/dev/null
}
say "reading package lists"
apt_ own update; apt_ next update
if [ ! -f "$stamp" ]; then
  say "downloading packages"
  (cd "$root/deb"
   apt_ next download libhwy-dev libxsimd-dev xtl-dev nlohmann-json3-dev
   apt_ own  download libeigen3-dev libcli11-dev libbenchmark-dev libbenchmark1debian libpcre2-dev libpcre2-8-0 \
     libutf8proc-dev libutf8proc2
   apt_ own  download libtbb-dev libtbb12 || say "oneTBB could not be downloaded: its example is left out")
  for d in "$root"/deb/*.deb; do dpkg-deb -x "$d" "$prefix"; done
  # The newer suite's Highway config imports shared libraries that are not here; only its headers are wanted.
  rm -rf "$prefix"/usr/lib/*/cmake/hwy "$prefix"/usr/lib/*/pkgconfig/libhwy*.pc "$prefix"/usr/lib/*/libhwy*
  say "building Catch2"
  build_catch2 "$prefix"
  touch "$stamp"
fi
if [ -n "$arm_prefix" ]; then
  say "building Catch2 for aarch64"
  build_catch2 "$arm_prefix" --toolchain "$PWD/cmake/aarch64-linux-gnu.cmake"
  touch "$arm_stamp"
fi
say "dependencies are in $prefix"
