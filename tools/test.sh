#!/usr/bin/env bash
# Builds and runs the tests of the given presets, the first four by default, and prints as its last line
# "N passed, N failed", summed over them. Exit 1 if anything failed.
#   release  everything: unit tests, the program as a user runs it, the checks of the source
#   asan     unit tests, damaged files and what fuzzing found, under the address and
#            undefined-behaviour sanitizers, but for the portable kernels' models of Q6_K
#   tsan     unit tests of the folders that use threads, under the thread sanitizer, but for
#            those that take long and share nothing between threads, or nothing that others do not
#   torch    unit tests of the folders that use libtorch, and fathom-torch; gets libtorch if it is
#            not there (tools/fetch_torch.sh)
#   neon     unit tests of the kernels, compiled for 64-bit ARM and run in QEMU; not by default,
#            since it needs a compiler and an emulator of its own (tools/setup.sh --neon)
# Usage: tools/test.sh [release|asan|tsan|torch|neon]...
set -euo pipefail
cd "$(dirname "$0")/.."

threaded=(base engine generate)  # the folders under src/ whose tests run under tsan

# The test programs of those folders under src/, one a line, that have tests.
test_targets() {
  local folder
  while read -r folder; do
    if compgen -G "src/$folder/*_test.cc" >/dev/null; then
      echo "${folder}_test"
    fi
  done
}

# attribute NAME FILE: an attribute of the JUnit file's <testsuite> element.
attribute() {
  grep -m1 -A9 '<testsuite' "$2" | grep -oE "\<$1=\"[0-9]+\"" | head -n 1 | tr -dc '0-9'
}

passed=0
failed=0
skipped=0

# run_preset PRESET: adds to the three counts.
run_preset() {
  local preset=$1 targets=() choose=() launcher=()
  case $preset in
    release) targets=(all) ;;
    asan)
      mapfile -t targets < <(sed 's/#.*//' arch/layers.txt | xargs -n 1 | grep -vxE 'nn|train' | test_targets)
      targets+=(damage fuzz_replays)  # of tests/: thousands of damaged files; of fuzz/
      # Left out: the slowest kernels on the slowest type; the others have the same code around them.
      choose=(--label-exclude '^(e2e|arch)$' --exclude-regex '/portable_.*_q6_k')
      ;;
    tsan)
      mapfile -t targets < <(printf '%s\n' "${threaded[@]}" | test_targets)
      # Left out: what takes long and shares nothing between threads that other tests do not.
      choose=(--label-regex "^($(IFS='|' && echo "${threaded[*]}"))\$"
        --exclude-regex '^generate\.Sampler|EngineWideTest|OwedTest\.(When|Fork|AFail|Rows)|OwedTest.*_fast_|FamilyTest\.(Exact|Entering)|FamilyFilesTest|TinyModelTest\.(Exact|Fast)|EngineInvarianceTest.*/avx2_|/portable_.*_q6_k')
      # GCC's thread sanitizer does not start where the kernel randomises addresses widely.
      if setarch "$(uname -m)" --addr-no-randomize true 2>/dev/null; then
        launcher=(setarch "$(uname -m)" --addr-no-randomize)
      fi
      ;;
    torch)
      tools/fetch_torch.sh >/dev/null
      targets=(nn_test train_test fathom-torch)
      choose=(--label-regex '^(nn|train|torch)$')
      ;;
    neon)
      targets=(kernels_test)
      choose=(--label-regex '^kernels$')
      launcher=(env FATHOM_KERNELS=neon)  # a test fails if the emulated processor has no such kernels
      ;;
    *) echo "usage: tools/test.sh [release|asan|tsan|torch|neon]..." >&2; exit 2 ;;
  esac

  printf '\n== %s: build ==\n' "$preset"
  if ! cmake --preset "$preset" ||
    ! "${launcher[@]}" cmake --build --preset "$preset" --target "${targets[@]}"; then
    echo "== $preset: does not build =="
    failed=$((failed + 1))
    return
  fi

  printf '\n== %s: test ==\n' "$preset"
  local results=$PWD/build/$preset/tests.xml status=0
  rm -f "$results"
  "${launcher[@]}" ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
    --parallel "$(nproc)" --output-junit "$results" "${choose[@]}" || status=$?
  if [[ ! -f $results ]]; then
    failed=$((failed + 1))
    return
  fi
  local all bad not_run
  all=$(attribute tests "$results")
  bad=$(attribute failures "$results")
  not_run=$(attribute skipped "$results")
  if [[ $status -ne 0 && $bad -eq 0 ]]; then
    bad=1 not_run=$((not_run > 0 ? not_run - 1 : 0))  # it could not be run, which is no pass
  fi
  passed=$((passed + all - bad - not_run))
  failed=$((failed + bad))
  skipped=$((skipped + not_run))
}

if [[ $# -eq 0 ]]; then
  set -- release asan tsan torch
fi
for preset in "$@"; do
  run_preset "$preset"
done

echo
if [[ $skipped -gt 0 ]]; then
  echo "$passed passed, $failed failed, $skipped skipped"
else
  echo "$passed passed, $failed failed"
fi
[[ $failed -eq 0 ]]
