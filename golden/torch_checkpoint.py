"""Makes small PyTorch checkpoints with torch.save, and says what is in them.

    python golden/torch_checkpoint.py        writes golden/torch_checkpoint/

expected.json has for each checkpoint that must be read its tensors by name, as type, shape and the elements' bytes in
hexadecimal, and for those that are refused when they are asked for, null. `runs_code.bin` is a checkpoint that runs a
command when Python's pickle loads it: `touch fathom_ran_code`. `twin/` is a model of two layers both as safetensors and as a
checkpoint, in one file and in shards; its tokenizer is that of tiny/width-60.
"""

import argparse
import io
import json
import os
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

SUPPORTED = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class RunsCode:
    """What pickle calls when it makes one of these."""

    def __reduce__(self):
        return os.system, ("touch fathom_ran_code",)


def numbers(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, start: int = 1) -> torch.Tensor:
    """Numbers that all three types hold exactly, none twice."""
    count = int(np.prod(shape))
    return (torch.arange(start, start + count).float() / 8 - 3).reshape(shape).to(dtype)


def hexadecimal(tensor: torch.Tensor) -> str:
    contiguous = tensor.detach().contiguous()
    return contiguous.reshape(-1).view(torch.uint8).numpy().tobytes().hex() if contiguous.numel() else ""


def expected(tensors: dict) -> dict:
    """As expected.json has them."""
    result = {}
    for name, tensor in tensors.items():
        readable = isinstance(tensor, torch.Tensor) and tensor.dtype in SUPPORTED and tensor.is_contiguous()
        result[name] = [SUPPORTED[tensor.dtype], list(tensor.shape), hexadecimal(tensor)] if readable else None
    return result


def types() -> dict:
    """Every type, views of one storage, tied weights, shapes of all kinds."""
    shared = numbers((6, 4))
    return {
        "f32": numbers((2, 3)), "f16": numbers((3, 2), torch.float16), "bf16": numbers((5,), torch.bfloat16, 7),
        "tied.a": shared, "tied.b": shared, "rows": shared[2:4], "row": shared[5], "element": shared[1, 1],
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "nothing": torch.zeros(0), "one": shared[:1, :],
        "transposed": shared.t(), "columns": shared[:, 1:3], "repeated": torch.tensor([1.5]).expand(4),
        "f64": numbers((2,), torch.float64), "i64": torch.arange(3), "i32": torch.arange(3, dtype=torch.int32),
        "i16": torch.arange(3, dtype=torch.int16), "i8": torch.arange(3, dtype=torch.int8),
        "u8": torch.arange(3, dtype=torch.uint8), "bool": torch.tensor([True, False]),
    }


def module() -> dict:
    """The state of a module with its parameters, one of which has an attribute, and a buffer."""
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = numbers(tuple(parameter.shape), start=10 * number)
    layer.register_buffer("position_ids", torch.arange(4))
    layer[0].weight.note = "of the first layer"
    return layer.state_dict(keep_vars=True)


def saved(value: object, path: Path, **options: object) -> None:
    torch.save(value, path, **options)
    if path.stat().st_size > 20_000:
        raise ValueError(f"{path}: larger than a golden may be")


def save_all(folder: Path) -> dict:
    """The checkpoints, and what expected.json says of them."""
    contents = {"types": types(), "module": module()}
    for name, tensors in contents.items():
        saved(tensors, folder / f"{name}.bin")
    for protocol in (3, 4, 5):
        name = f"protocol_{protocol}"
        contents[name] = {"a": numbers((2, 2)), "b": numbers((3,), torch.bfloat16)}
        saved(OrderedDict(contents[name]), folder / f"{name}.bin", pickle_protocol=protocol)
    for wrapper in ("state_dict", "model"):
        contents[wrapper] = {"a": numbers((2, 2))}
        saved({"epoch": 3, "loss": 0.5, "best": None, "history": [1, 2, [3.5]], "done": True, "seed": 2**40,
               wrapper: contents[wrapper], "optimizer": {"state": {0: {"step": 1}}, "groups": [{"lr": 0.1}]}},
              folder / f"{wrapper}.bin")
    contents["no_crc"] = {"a": numbers((2, 2))}
    torch.serialization.set_crc32_options(False)
    saved(contents["no_crc"], folder / "no_crc.bin")
    torch.serialization.set_crc32_options(True)

    saved({"a": numbers((2, 2))}, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    saved({"a": numbers((2, 2)), "b": RunsCode()}, folder / "runs_code.bin")
    saved({"model": {"a": numbers((2, 2))}, "state_dict": {"a": numbers((2, 2))}}, folder / "ambiguous.bin")
    saved({"a": torch.nn.Linear(2, 2)}, folder / "whole_module.bin")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    (folder / "torchscript.bin").write_bytes(buffer.getvalue())
    return {name: expected(tensors) for name, tensors in contents.items()}


def save_twin(folder: Path) -> None:
    """One model in three forms; the words of its names come from transformers' Llama."""
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 384, "hidden_size": 8,
              "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
              "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    draws = np.random.default_rng(7)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(draws.standard_normal(shape).astype(np.float32) / shape[-1] ** 0.5).bfloat16()

    weights = {"model.embed_tokens.weight": normal(384, 8)}
    shapes = {"self_attn.q_proj": (8, 8), "self_attn.k_proj": (4, 8), "self_attn.v_proj": (4, 8), "self_attn.o_proj": (8, 8),
              "mlp.gate_proj": (12, 8), "mlp.up_proj": (12, 8), "mlp.down_proj": (8, 12)}
    for layer in range(2):
        prefix = f"model.layers.{layer}."
        weights |= {f"{prefix}{name}.weight": normal(*shape) for name, shape in shapes.items()}
        weights |= {f"{prefix}{name}.weight": 1 + normal(8) for name in ("input_layernorm", "post_attention_layernorm")}
    weights["model.norm.weight"] = 1 + normal(8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    state = weights | {"lm_head.weight": weights["model.embed_tokens.weight"],
                       "model.rotary_emb.position_ids": torch.arange(4)}
    saved(OrderedDict(state), folder / "pytorch_model.bin")
    placed = {name: f"pytorch_model-{i % 2 + 1:05}-of-00002.bin" for i, name in enumerate(state)}
    for file in sorted(set(placed.values())):
        saved({name: tensor for name, tensor in state.items() if placed[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": placed}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("torch_checkpoint"))
    folder = parser.parse_args().output
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    contents = save_all(folder)
    save_twin(folder / "twin")
    text = json.dumps({"torch": torch.__version__, "checkpoints": contents}, separators=(",", ":"))
    (folder / "expected.json").write_text(text.replace('"],', '"],\n').replace("null,", "null,\n") + "\n")
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
    print(f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())} bytes")


if __name__ == "__main__":
    main()
