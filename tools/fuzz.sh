#!/usr/bin/env bash
# Builds the targets in fuzz/ with clang and runs each for a minute, or for FUZZ_SECONDS. Prints a line
# a target, and for a finding where the input lies and what to do with it. The inputs that reach new
# code stay in build/fuzz/corpus, from which the next run goes on.
# Usage: tools/fuzz.sh [TARGET]...
# Exit 1 if anything was found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
build=build/fuzz

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzz_targets

# Folders that a target writes: in memory where there is such a place, and gone at the end.
folders=/dev/shm
[[ -w $folders ]] || folders=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$folders/fathom_fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export UBSAN_OPTIONS=print_stacktrace=1

# number AFTER BEFORE FILE: the last number in the file between two texts, or 0.
number() {
  sed -nE "s/.*$1 *([0-9]+)$2.*/\1/p" "$3" | tail -n 1 | grep . || echo 0
}

# fuzz NAME: runs one target. Fails if it found something.
fuzz() {
  local name=$1 program=$build/fuzz/fuzz_$1 log=$build/logs/$1.log
  local findings=$build/findings/$1 corpus=$build/corpus/$1 found=fuzz/found/$1 status=0
  mkdir -p "$build/logs" "$findings" "$corpus"
  local inputs=("$corpus" "$build/fuzz/seeds/$name")
  [[ ! -d $found ]] || inputs+=("$found")
  touch "$log.start"
  "$program" -dict="fuzz/$name.dict" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="$findings/" "${inputs[@]}" \
    >"$log" 2>&1 || status=$?
  local input result='nothing found'
  input=$(find "$findings" -type f -newer "$log.start" ! -name 'slow-unit-*' | head -n 1)
  if [[ $input == */timeout-* ]] && "$program" -timeout=10 "$input" >>"$log" 2>&1; then
    # It was the machine that was slow: time is measured by the clock.
    rm "$input"
    status=0 result='nothing found; cut short by a pause'
  fi
  [[ $status -eq 0 ]] || result='FOUND something'
  printf '%-15s %9d runs, %6d/s, %5d of %5d edges, %s\n' "$name" \
    "$(number 'stat::number_of_executed_units:' '' "$log")" \
    "$(number 'stat::average_exec_per_sec:' '' "$log")" \
    "$(number 'cov:' ' ft:' "$log")" "$(number 'modules +\(' ' inline' "$log")" "$result"
  [[ $status -ne 0 ]] || return 0

  echo "  what it is:  $log"
  if [[ -n $input ]]; then
    echo "  input:       $input"
    echo "  run again:   $program $input"
    echo "  make small:  $program -minimize_crash=1 -max_total_time=60 -exact_artifact_path=SMALL $input"
    echo "  once fixed:  keep it as $found/WHAT_IT_SHOWS"
  else
    tail -n 20 "$log"
  fi
  return 1
}

if [[ $# -eq 0 ]]; then
  mapfile -t targets < <(cd fuzz && printf '%s\n' *_fuzz.cc | sed 's/_fuzz\.cc$//')
  set -- "${targets[@]}"
fi
failed=0
for name in "$@"; do
  fuzz "$name" || failed=1
done
exit "$failed"
