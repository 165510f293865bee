#!/usr/bin/env python3
"""Makes golden/quantize.json: rows of float32 and the bytes that the gguf package stores for them in each type that
fathom quantises to. Needs numpy and gguf; repeatable (the seed is fixed).

    python golden/quantize.py

Left out are blocks that the gguf package and ggml's C code store differently (all -0: the sign of the scale), and blocks
whose scale has no finite inverse, which neither defines.
"""

import json
import pathlib

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]
BLOCK = 32


def edge_blocks():
    """Blocks where rounding, ties and extremes show."""
    ramp = np.arange(BLOCK)
    spike = np.zeros(BLOCK)
    spike[17] = -3.25
    yield np.zeros(BLOCK)
    yield np.full(BLOCK, 0.75)
    yield np.full(BLOCK, -1e-3)
    yield spike
    yield np.where(ramp % 2 == 0, 2.0, -2.0)  # which of the two largest comes first decides
    yield np.where(ramp % 2 == 0, -2.0, 2.0)
    yield (ramp - 16) / 16  # quants that lie halfway in Q4_0
    yield (ramp % 16) / 2 - 3.75  # exact in Q4_1
    yield (ramp % 16) + 0.5 * (ramp >= 16)  # halfway between its quants
    yield np.concatenate([[127.0], ramp[1:] - 15.5])  # halves in Q8_0, of both signs
    yield np.concatenate([[-127.0], ramp[1:] - 15.5])
    yield np.concatenate([[65504.0], -ramp[1:] * 2000.0])  # the largest that float16 holds
    yield np.concatenate([[1e-7, -6e-8, 3e-8, -2.9e-8], ramp[4:] * 1e-9])  # scales and minima below float16's
    yield np.concatenate([[1e-30], -ramp[1:] * 1e-32])
    yield np.concatenate([[1.0 + 2**-11, 1.0 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8], ramp[4:] / 7])  # ties of F16, BF16


def main():
    generator = np.random.default_rng(20251125)
    blocks = list(edge_blocks())
    for scale in (1.0, 0.02, 1e-4, 300.0):
        blocks += list(scale * generator.normal(size=(6, BLOCK)))
    blocks += list(generator.uniform(0.1, 0.4, size=(4, BLOCK)))  # all of one sign
    blocks += list(generator.standard_cauchy(size=(4, BLOCK)))
    rows = np.stack(blocks).astype(np.float32)
    golden = {"float32": rows.tobytes().hex()}
    for name in TYPES:
        golden[name] = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name]).tobytes().hex()
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
