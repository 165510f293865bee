#!/usr/bin/env bash
# Checks the sources without running them: format, the order of the folders, clang-tidy. With
# --all clang-tidy also reads what takes it as long as everything else: the tests, and the command
# line, of which each file includes all of CLI11.
# Usage: tools/lint.sh [--no-tidy | --all]
set -euo pipefail
cd "$(dirname "$0")/.."

find src bench fuzz tests \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 clang-format --dry-run -Werror
python3 tools/check_layers.py
# What includes torch is not in the release preset: `clang-tidy -p build/torch FILE` reads it.
files="$PWD/src/(?!cli/).*(?<!_test)\.cc$"
if [[ ${1-} == --all ]]; then
  files="$PWD/src/.*\.cc$"
fi
if [[ ${1-} != --no-tidy ]]; then
  # clang-tidy reads how each file is compiled from the release preset; nothing is built.
  cmake --preset release >/dev/null
  log=build/release/clang-tidy.log
  # It is told to overlook GCC's own options.
  if ! run-clang-tidy -quiet -p build/release -extra-arg=-Wno-unknown-warning-option \
    "$files" >"$log" 2>&1; then
    # Its colours and the lines that only count what it ignored are left out.
    sed -e 's/\x1b\[[0-9;]*[mK]//g' "$log" |
      grep -vE '^(clang-tidy|[0-9]+ warnings? |Suppressed |Use -header-filter|Enabled checks)' >&2
    exit 1
  fi
fi
echo "lint: nothing to complain about"
