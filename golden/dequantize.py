#!/usr/bin/env python3
"""Makes golden/dequantize.json: two blocks of every tensor type and the float32 values that the gguf
package reads from them. Needs numpy and gguf; repeatable (the seed is fixed).

    python golden/dequantize.py
"""

import json
import pathlib

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Where in a block its half-precision factors lie.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208]}
BLOCKS = 2


def random_bytes(name, generator):
    if name in ("F32", "F16", "BF16"):
        values = generator.normal(size=64).astype(np.float32)
        if name == "F16":
            return values.astype(np.float16).view(np.uint8)
        if name == "BF16":
            return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return values.view(np.uint8)
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = generator.integers(0, 256, size=(BLOCKS, size), dtype=np.uint8)
    for block in blocks:
        for offset in HALVES[name]:
            block[offset:offset + 2] = generator.normal(size=1).astype(np.float16).view(np.uint8)
    return blocks.reshape(-1)


def main():
    generator = np.random.default_rng(20240924)
    golden = {}
    for name in TYPES:
        data = random_bytes(name, generator)
        stored = {"F32": np.float32, "F16": np.float16}.get(name, np.uint8)
        values = gguf.quants.dequantize(data.view(stored), gguf.GGMLQuantizationType[name])
        golden[name] = {"bytes": data.tobytes().hex(),
                        "float32": values.astype("<f4").tobytes().hex()}
    target = pathlib.Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
