#!/usr/bin/env bash
# The main job, from nothing: installs what is missing, gets the default model, builds fathom, and
# answers one question at several depths, with the measured speed of each, and makes a short study,
# whose report opens in any browser. The study is kept, so the next time it is there at once.
# Usage: tools/demo.sh [QUESTION]
set -euo pipefail
cd "$(dirname "$0")/.."

question=${1:-Why is the sky blue?}
max_new_tokens=64
# Policies as `fathom generate --depth` takes them; the default model has 30 layers. ranked:K runs the K that
# a search found best, with "trained" beside an adapter that was trained for that (models/README.md); uniform:24
# as many as ranked:24. A shallow model that takes the likeliest token each time soon repeats itself, hence
# the penalty.
runs=(full "ranked:24" "ranked:24 trained" "ranked:20" "ranked:20 trained" "ranked:15" "ranked:15 trained" "uniform:24")
adapter=models/smollm2-135m-instruct-q4_1-depth

tools/setup.sh
model=$(tools/fetch_model.sh)

stats=$(mktemp)
table=$(mktemp)
trap 'rm -f "$stats" "$table"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! cmake --preset demo >"$stats" 2>&1; then
  cat "$stats" >&2
  exit 1
fi
cmake --build --preset demo --target fathom

printf '\n%s\n' "Question: $question"
for run in "${runs[@]}"; do
  depth=${run% trained}
  options=(--depth "$depth")
  if [[ $run != "$depth" ]]; then options+=(--adapter "$adapter"); fi
  printf '\n== %s ==\n' "$run"
  status=0
  # The answer streams to the terminal; the statistics, on standard error, are kept for the table.
  build/demo/fathom generate --model "$model" --prompt "$question" "${options[@]}" \
    --max-new-tokens "$max_new_tokens" --repetition-penalty 1.15 2>"$stats" || status=$?
  echo
  cat "$stats" >&2
  if [[ $status -ne 0 ]]; then
    echo "demo: fathom ended with exit code $status" >&2
    exit "$status"
  fi
  # decode    63 tokens   210.3 tokens/s   20.3 GB/s   mean layers 15.0 of 30
  if ! LC_ALL=C awk -v run="$run" '
      $1 == "decode" {
        for (i = 2; i <= NF; i++) {
          if ($i == "tokens/s") speed = $(i - 1)
          if ($i == "layers") layers = $(i + 1)
        }
        found = 1
        print run "\t" layers "\t" speed
      }
      END { exit !found }' "$stats" >>"$table"; then
    echo "demo: fathom printed no line that begins with 'decode'" >&2
    exit 1
  fi
done

printf '\n'
LC_ALL=C awk -F '\t' '
  BEGIN { printf "%-28s %8s %10s %10s\n", "depth", "layers", "tokens/s", "speed-up" }
  NR == 1 { full = $3 }
  { printf "%-28s %8s %10s %10s\n", $1, $2, $3, (full > 0 ? sprintf("%.2fx", $3 / full) : "-") }
' "$table"
cat <<'END'

Each row is one run, measured just now; `make bench` repeats and compares them properly.
Answers degrade as they get shallower, of the model as it was published more than with the adapter
that was trained for these depths (models/README.md).
END

printf '\n== a short study: how close shallow states stay to the full model ==\n'
study() {
  build/demo/fathom study similarity --model "$model" --data data/prompts.jsonl \
    --costs 1,5,10,15,20,25,28,30 --out build/demo/similarity
}
# The folder of an earlier demo is gone on with. It is refused if fathom's options or the prompts have
# changed since, and then made anew.
study || {
  status=$?
  [[ $status -eq 2 ]] || exit "$status"
  echo "demo: making the study anew" >&2
  rm -rf build/demo/similarity
  study
}
