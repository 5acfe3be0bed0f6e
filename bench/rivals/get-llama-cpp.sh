#!/usr/bin/env bash
# Builds llama.cpp's llama-bench, llama-quantize and ggml_matmul (ggml_matmul.cc) for this machine, from the source package of
# llama-cpp-python (its pinned revision).
#
#   bench/rivals/get-llama-cpp.sh            into build/rivals; prints the path of llama-bench
set -euo pipefail
cd "$(dirname "$0")/../.."
die() { printf 'get-llama-cpp: error: %s\n' "$*" >&2; exit 1; }
version=0.3.36
folder=$PWD/build/rivals
binary=$folder/llama.cpp/bin/llama-bench
source=$folder/llama_cpp_python-$version/vendor/llama.cpp
if [ ! -x "$binary" ] || [ ! -x "${binary%bench}quantize" ]; then
  [ -f build/deps/env.sh ] && . build/deps/env.sh
  mkdir -p "$folder"
  archive=$folder/llama_cpp_python-$version.tar.gz
  if [ ! -f "$archive" ]; then
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: \
      -d "$folder" "llama-cpp-python==$version" >&2 || true   # the source is there even where its metadata step fails
    [ -f "$archive" ] || die "the source package llama-cpp-python==$version could not be downloaded"
  fi
  tar -xzf "$archive" -C "$folder"
  cmake -S "$source" -B "$folder/llama.cpp" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF >&2
  cmake --build "$folder/llama.cpp" --target llama-bench llama-quantize -j "$(nproc)" >&2
fi
if [ ! bench/rivals/ggml_matmul.cc -ot "$folder/ggml_matmul" ]; then
  libraries=$folder/llama.cpp/bin
  "${CXX:-c++}" -std=c++20 -O2 -I"$source/ggml/include" bench/rivals/ggml_matmul.cc -o "$folder/ggml_matmul" -L"$libraries" \
    -lggml -lggml-cpu -lggml-base -Wl,-rpath,"$libraries" >&2
fi
echo "$binary"
