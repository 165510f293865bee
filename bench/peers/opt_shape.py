#!/usr/bin/env python3
"""fathom beside CTranslate2 on a model folder, both with 8-bit weights, measured in turn.

    python3 bench/random_model.py opt-1.3b FOLDER
    build/peers/venv/bin/python bench/peers/opt_shape.py FOLDER --fathom build/release/fathom

It needs what `make peers` installs. CTranslate2's model is made once, in FOLDER/ctranslate2.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from process import Failed, run
from python_peers import Worker
from work import Workload

HERE = Path(__file__).resolve().parent
PREFILL, DECODE = Workload("prefill-512", "prefill", 512), Workload("decode", "decode", 64)


def fathom(program: str, model: Path, threads: int) -> dict[str, float]:
    output = run([program, "bench", "--json", "--model", model, "--quantize", "q8_0", "--threads", threads, "--repeat", 1,
                  "--prompt-tokens", PREFILL.tokens, "--new-tokens", DECODE.tokens])
    result = json.loads(output)
    full = result["depths"][0]
    return {"prefill": full["prefill"]["tokens_per_s"]["median"], "decode": full["decode"]["tokens_per_s"]["median"],
            "share of read bandwidth": full["read_bandwidth_share"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fathom", default="build/release/fathom")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    converted = arguments.folder / "ctranslate2"
    if not converted.exists():
        run([sys.executable, HERE / "convert.py", "ctranslate2", arguments.folder, converted],
            log=arguments.folder / "ctranslate2.log")
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with Worker("ctranslate2", sys.executable, converted, arguments.threads, arguments.folder / "ctranslate2.log") as peer:
        for seed in range(arguments.rounds):
            ours.append(fathom(arguments.fathom, arguments.folder, arguments.threads))
            theirs.append({work.phase: peer.measure(work, seed)["tokens_per_s"] for work in (PREFILL, DECODE)})
    print(f"tokens/s, {arguments.threads} threads, median of {arguments.rounds} rounds (range)")
    for phase in ("prefill", "decode"):
        mine, other = ([each[phase] for each in rounds] for rounds in (ours, theirs))
        ratios = [a / b for a, b in zip(mine, other)]
        print(f"{phase:8} fathom {shown(mine)}  CTranslate2 {shown(other)}  ratio {shown(ratios, 2)}")
    print(f"decode reads at {shown([100 * each['share of read bandwidth'] for each in ours], 0)}% of the read bandwidth")
    return 0


def shown(values: list[float], digits: int = 1) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"opt_shape.py: {error}")
