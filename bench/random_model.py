#!/usr/bin/env python3
"""Writes a model folder in the shape of a published OPT model, with random float16 weights: something to measure speed on.

    python3 bench/random_model.py opt-1.3b FOLDER [--seed N]

FOLDER gets config.json, tokenizer.json and model.safetensors. The text that such a model makes means nothing. Weights are drawn and
written tensor by tensor, so that little memory is needed; numpy is all it takes.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

CHUNK = 1 << 22  # numbers drawn at once
COMMON = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "vocab_size": 50272, "max_position_embeddings": 2048,
          "activation_function": "relu", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float16"}
SHAPES = {
    "opt-125m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "ffn_dim": 3072,
                 "word_embed_proj_dim": 768, "do_layer_norm_before": True},
    "opt-350m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "ffn_dim": 4096,
                 "word_embed_proj_dim": 512, "do_layer_norm_before": False},
    "opt-1.3b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "ffn_dim": 8192,
                 "word_embed_proj_dim": 2048, "do_layer_norm_before": True},
}


def tensors(config: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as OPTForCausalLM has them with a tied head."""
    width, ffn, embedding = config["hidden_size"], config["ffn_dim"], config["word_embed_proj_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (config["vocab_size"], embedding),
        "embed_positions.weight": (config["max_position_embeddings"] + 2, width),
    }
    if embedding != width:
        shapes["project_in.weight"] = (width, embedding)
        shapes["project_out.weight"] = (embedding, width)
    maps = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")} | {"fc1": (ffn, width), "fc2": (width, ffn)}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in maps.items():
            shapes[f"layers.{layer}.{name}.weight"] = shape
            shapes[f"layers.{layer}.{name}.bias"] = shape[:1]
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"layers.{layer}.{name}.{kind}": (width,) for kind in ("weight", "bias")}
    if config["do_layer_norm_before"]:
        shapes |= {f"final_layer_norm.{kind}": (width,) for kind in ("weight", "bias")}
    return {f"model.decoder.{name}": shape for name, shape in shapes.items()}


def write_tokenizer(path: Path, size: int) -> None:
    """The bytes, each a token, after the four special tokens of OPT; then names that no text is cut into, up to the size."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    unused = [f"<unused {i}>" for i in range(size - len(special) - len(alphabet))]
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, token in enumerate(special)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    path.write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(special + alphabet + unused)}, "merges": []}}) + "\n", encoding="utf-8")


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    """A safetensors file: the length of the header, the header, the numbers."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    draws = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            mean = 1.0 if "layer_norm" in name and name.endswith("weight") else 0.0
            deviation = 0.1 if "layer_norm" in name or len(shape) == 1 else 1.0 / shape[1] ** 0.5
            left = int(np.prod(shape))
            while left > 0:
                count = min(left, CHUNK)
                numbers = draws.standard_normal(count, dtype=np.float32) * np.float32(deviation) + np.float32(mean)
                file.write(numbers.astype("<f2").tobytes())
                left -= count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    config = COMMON | SHAPES[arguments.shape]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tokenizer(arguments.folder / "tokenizer.json", config["vocab_size"])
    write_weights(arguments.folder / "model.safetensors", tensors(config), arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
