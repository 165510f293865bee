#!/usr/bin/env python3
"""Writes a LoRA adapter with random float16 factors for all linear maps of a Llama: something to measure speed on.

    python3 bench/random_adapter.py FOLDER --rank 12 [--rows routed] [--model MODEL] [--seed N]

The shapes are those of MODEL, or of the default model, as `fathom inspect --json` says (FATHOM names the program). The text that a model
makes with such an adapter means nothing. numpy is all it takes.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np


def shapes(model: dict, rank: int) -> dict[str, tuple[int, int]]:
    """Names and shapes, as PEFT has them."""
    width, ffn = model["width"], model["ffn_width"]
    query, kv = model["heads"] * model["head_dim"], model["kv_heads"] * model["head_dim"]
    maps = {"self_attn.q_proj": (query, width), "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width),
            "self_attn.o_proj": (width, query), "mlp.gate_proj": (ffn, width), "mlp.up_proj": (ffn, width), "mlp.down_proj": (width, ffn)}
    result = {}
    for layer in range(model["layers"]):
        for name, (outputs, inputs) in maps.items():
            path = f"base_model.model.model.layers.{layer}.{name}"
            result[f"{path}.lora_A.weight"] = (rank, inputs)
            result[f"{path}.lora_B.weight"] = (outputs, rank)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--rows", choices=("all", "routed"), default="all")
    parser.add_argument("--model", default="")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    program = os.environ.get("FATHOM") or str(Path(__file__).resolve().parent.parent / "build" / "release" / "fathom")
    inspect = [program, "inspect", "--json", *([arguments.model] if arguments.model else [])]
    model = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)

    draws = np.random.default_rng(arguments.seed)
    header, parts, offset = {}, [], 0
    for name, shape in shapes(model, arguments.rank).items():
        deviation = 1e-3 if "lora_B" in name else shape[1] ** -0.5
        numbers = (draws.standard_normal(shape, dtype=np.float32) * deviation).astype(np.float16).tobytes()
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + len(numbers)]}
        parts.append(numbers)
        offset += len(numbers)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    (arguments.folder / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": arguments.rank, "lora_alpha": arguments.rank, "bias": "none", "target_modules": "all-linear",
         "fathom_rows": arguments.rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
