"""Makes tiny random Llama models as Hugging Face folders, with the logits transformers computes from them.

    python golden/tiny_llama.py        writes golden/tiny/<name>/

Each folder has config.json (some in the older style, rope_theta and rope_scaling, some in the newer, rope_parameters),
generation_config.json, tokenizer.json, tokenizer_config.json, the weights and expected.json.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from tiny import (CHATML, VOCABULARY, describe, expected_logits, load_checked, make_all, make_tokenizer, random_weights,
                  write_json)

SIZE_LIMIT = 400_000
COMMON = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 4.0, "beta_slow": 0.5}

# name: (what it is, own configuration, pre-tokenizer, the same rope in the newer style)
VARIANTS: dict[str, tuple[str, dict, str, dict]] = {
    "untied-biases": (
        "untied head, biases everywhere, two shards, rope_parameters, bfloat16",
        {"num_hidden_layers": 3, "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True, "dtype": "bfloat16",
         "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        "gpt2", {"rope_type": "default", "rope_theta": 10000.0}),
    "rope-linear": (
        "linear rope scaling in the oldest style (type), theta 1000, tied, float16",
        {"tie_word_embeddings": True, "torch_dtype": "float16", "rope_theta": 1000.0,
         "rope_scaling": {"type": "linear", "factor": 4.0}},
        "smollm", {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0}),
    "rope-llama3": (
        "llama3 rope scaling in the older style (rope_theta, rope_scaling), tied, bfloat16",
        {"tie_word_embeddings": True, "torch_dtype": "bfloat16", "rope_theta": 10000.0, "rope_scaling": LLAMA3},
        "llama-bpe", LLAMA3 | {"rope_theta": 10000.0}),
    "rope-yarn": (
        "yarn rope scaling in the newer style, tied, bfloat16",
        {"tie_word_embeddings": True, "dtype": "bfloat16", "rope_parameters": YARN | {"rope_theta": 500.0}},
        "gpt2", YARN | {"rope_theta": 500.0}),
    "wide-heads": (
        "head_dim 24 (not width / heads), one KV head, older style, tied, float16",
        {"head_dim": 24, "num_key_value_heads": 1, "num_hidden_layers": 3, "tie_word_embeddings": True, "torch_dtype": "float16",
         "rope_theta": 10000.0, "rope_scaling": None},
        "qwen2", {"rope_type": "default", "rope_theta": 10000.0}),
    "width-60": (
        "width 60, intermediate 100, 6 heads of 10, no rope_theta (10000 by default), tied, float32",
        {"hidden_size": 60, "intermediate_size": 100, "num_attention_heads": 6, "num_hidden_layers": 2, "rms_norm_eps": 1e-6,
         "tie_word_embeddings": True, "torch_dtype": "float32"},
        "smollm", {"rope_type": "default", "rope_theta": 10000.0}),
}


def save_weights(folder: Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    """One model.safetensors, or shards with an index; layers are dealt out in turn."""
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    placed = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(weights)}
    for file in sorted(set(placed.values())):
        save_file({name: tensor for name, tensor in weights.items() if placed[name] == file}, folder / file,
                  metadata={"format": "pt"})
    total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": placed}, indent=1) + "\n")


def check_rope(model: LlamaForCausalLM, config: dict, newer: dict) -> None:
    """transformers reads the file's style of rope settings as it reads the newer one."""
    plain = {key: value for key, value in config.items() if not key.startswith("rope_")}
    other = LlamaRotaryEmbedding(LlamaConfig(**plain, rope_parameters=dict(newer)))
    rotary = model.model.rotary_emb
    assert torch.equal(rotary.inv_freq, other.inv_freq) and rotary.attention_scaling == other.attention_scaling


def make(name: str, folder: Path, seed: int) -> None:
    """Writes one model's folder."""
    description, own, kind, newer = VARIANTS[name]
    config = COMMON | own
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(
        {"bos_token_id": 1, "eos_token_id": [0, 2] if name == "rope-llama3" else 2, "pad_token_id": 0}, indent=1) + "\n")
    tokenizer = make_tokenizer(kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
         "pad_token": "<|endoftext|>", "chat_template": CHATML, "clean_up_tokenization_spaces": False}, indent=1) + "\n")
    stored = getattr(torch, config.get("dtype") or config["torch_dtype"])
    weights = {key: torch.from_numpy(value).to(stored) for key, value in random_weights(config, seed).items()}
    save_weights(folder, weights, 2 if name == "untied-biases" else 1)

    model = load_checked(LlamaForCausalLM, folder, weights)
    check_rope(model, config, newer)
    write_json(folder / "expected.json", expected_logits(model.eval(), tokenizer, description))
    for file in folder.iterdir():
        file.chmod(0o644)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size} bytes; {describe(model, tokenizer)}")
    assert size < SIZE_LIMIT


if __name__ == "__main__":
    make_all(__doc__, Path(__file__).with_name("tiny"), VARIANTS, make)
