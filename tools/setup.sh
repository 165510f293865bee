#!/usr/bin/env bash
# Installs what building fathom needs; with --tests also what its tests and checks need, with --fuzz
# what fuzzing needs, with --neon what testing the kernels for 64-bit ARM on another processor needs,
# with --peers what bench/peers/ needs.
# What is there already, from wherever it came, is not installed again, and then nothing here
# uses the network.
# Exit 0: all is there. Exit 2: something is missing, and the line that installs it was printed.
set -euo pipefail

tests=no
fuzz=no
neon=no
peers=no
case "${1-}" in
  "") ;;
  --tests) tests=yes ;;
  --fuzz) fuzz=yes ;;
  --neon) neon=yes ;;
  --peers) peers=yes ;;
  *) echo "usage: tools/setup.sh [--tests | --fuzz | --neon | --peers]" >&2; exit 2 ;;
esac

compiler=${CXX:-c++}
missing=()  # Debian's names of what was not found

# need PACKAGE COMMAND...: PACKAGE is missing if COMMAND fails.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

# need_headers PACKAGE=HEADER...: asks the compiler, in one run, which of the headers it cannot find.
need_headers() {
  local pair question=""
  for pair in "$@"; do
    question+="#if !__has_include(<${pair#*=}>)"$'\n'"${pair%%=*}"$'\n'"#endif"$'\n'
  done
  local answer
  if ! answer=$("$compiler" -x c++ -E -P - <<<"$question" 2>/dev/null); then
    answer=$(printf '%s\n' "${@%%=*}")  # no compiler yet: take all of them
  fi
  local package
  while read -r package; do
    [[ -z $package ]] || missing+=("$package")
  done <<<"$answer"
}

# Whether clang links with libFuzzer and the sanitizers, which come in a package of their own.
links_fuzzers() {
  clang++ -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - <<'EOF'
#include <cstddef>
extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, std::size_t) { return 0; }
EOF
}

# links FILE: whether programs can be linked with the library of that name.
links() {
  "$compiler" -x c++ -o /dev/null - "-l:$1" <<<'int main() {}'
}

find_missing() {
  missing=()
  need g++ command -v "$compiler"
  need cmake command -v cmake
  need ninja-build command -v ninja
  need pkg-config command -v pkg-config
  need python3-pip python3 -m pip --version
  need_headers libpcre2-dev=pcre2.h nlohmann-json3-dev=nlohmann/json.hpp \
    libcli11-dev=CLI/CLI.hpp libfmt-dev=fmt/format.h libboost-dev=boost/math/distributions.hpp \
    libsqlite3-dev=sqlite3.h libssl-dev=openssl/evp.h
  if [[ $tests == yes ]]; then
    need make command -v make
    need ccache command -v ccache
    need clang-format command -v clang-format
    need clang-tidy command -v run-clang-tidy
    need libopenmpi-dev command -v mpicxx
    need openmpi-bin command -v mpirun
    need libtcmalloc-minimal4 links libtcmalloc_minimal.so.4
    need chromium bash -c 'command -v chromium || command -v google-chrome'
    need_headers libgtest-dev=gtest/gtest.h libgmock-dev=gmock/gmock.h \
      libbenchmark-dev=benchmark/benchmark.h
  fi
  if [[ $fuzz == yes ]]; then
    need clang command -v clang++
    need libclang-rt-dev links_fuzzers
  fi
  if [[ $neon == yes ]]; then
    need g++-aarch64-linux-gnu command -v aarch64-linux-gnu-g++
    need qemu-user command -v qemu-aarch64
    need googletest test -f /usr/src/googletest/CMakeLists.txt
  fi
  if [[ $peers == yes ]]; then
    need python3-venv python3 -c 'import ensurepip, venv'
  fi
}

find_missing
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  {
    echo "setup: these are missing (Debian's names; install your system's packages for them):"
    printf '  %s\n' "${missing[@]}"
  } >&2
  exit 2
fi

# Says what to run, and gives up.
give_up() {
  {
    echo "setup: $1 Run this as root, then try again:"
    echo "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  } >&2
  exit 2
}

if [[ $(id -u) -eq 0 ]]; then
  as_root=()
elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
  as_root=(sudo)  # asks for a password only where someone can type one
else
  give_up "some packages are missing, and this user may not install them."
fi

echo "setup: installing ${missing[*]}" >&2
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
# One source that fails need not matter; what does not install does.
"${apt[@]}" update || true
if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; then
  give_up "apt-get failed (is there a network connection?)."
fi
find_missing
if [[ ${#missing[@]} -ne 0 ]]; then
  give_up "still not found after installing them (is another compiler or python3 first in PATH?)."
fi
