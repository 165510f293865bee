#!/usr/bin/env bash
# Puts libtorch, for the programs that train and use GPUs, into the user's cache folder and prints
# its path: headers and libraries of PyTorch's package from the Python index, without its Python.
# The index's package for processors alone takes 1 GB unpacked; one that was built for CUDA brings CUDA's
# libraries, too, and takes several. Where it is there, no network is used.
#   --where  print the path and fetch nothing
# TORCH_DIR names an existing PyTorch to use instead.
# Exit 2: it is not there and could not be had.
set -euo pipefail

version=2.13.0

if [[ -n ${TORCH_DIR-} ]]; then
  echo "$TORCH_DIR"
  exit 0
fi
cache=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/fathom
torch=$cache/libtorch-$version/torch
case "${1-}" in
  --where) echo "$torch"; exit 0 ;;
  "") ;;
  *) echo "usage: tools/fetch_torch.sh [--where]" >&2; exit 2 ;;
esac
if [[ -d $torch ]]; then
  echo "$torch"
  exit 0
fi

fail() {
  printf 'libtorch: %s\n' "$@" >&2
  exit 2
}

python3 -m pip --version >/dev/null 2>&1 ||
  fail "python3 with pip is needed to fetch libtorch. Run tools/setup.sh first."

mkdir -p "$cache"
# Made in a folder beside it and renamed when whole. What a killed run left is removed by a later one.
find "$cache" -maxdepth 1 -name '.torch.*' -mmin +180 -exec rm -rf {} +
work=$(mktemp -d "$cache/.torch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

download() {
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
    --retries 2 --timeout 60 --dest "$work/wheels" "$@" >"$work/pip.log" 2>&1; then
    fail "could not fetch $1. pip said:" "  $(grep -v '^WARNING' "$work/pip.log" | tail -n 1)" \
      "It needs a network connection once; afterwards everything works offline." \
      "With a PyTorch $version that is there already, set TORCH_DIR to its folder 'torch'."
  fi
}

# unpack PREFIX...: from all wheels, the files below these folders that compiling and linking need.
unpack() {
  python3 - "$work/wheels" "$work/tree" "$@" <<'PYTHON'
import sys, zipfile
from pathlib import Path
wheels, tree, *prefixes = sys.argv[1:]
for wheel in sorted(Path(wheels).glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(tuple(prefixes)) and "libtorch_python" not in name and ".." not in Path(name).parts:
                archive.extract(name, tree)
PYTHON
}

echo "libtorch: fetching PyTorch $version into $cache" >&2
download "torch==$version" --no-deps
unpack torch/include/ torch/lib/
if [[ -e $work/tree/torch/lib/libtorch_cuda.so ]]; then
  echo "libtorch: it was built for CUDA; fetching CUDA's libraries" >&2
  download "torch==$version"
  unpack nvidia/
fi
[[ -e $work/tree/torch/lib/libtorch_cpu.so ]] || fail "the package of PyTorch $version holds no libtorch_cpu.so"
mv -T "$work/tree" "$cache/libtorch-$version"
echo "$torch"
