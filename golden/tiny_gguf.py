"""Makes tiny random Llama models as GGUF files, one for each tensor type, with the logits transformers computes from them.

    python golden/tiny_gguf.py         writes golden/tiny_gguf/<name>.gguf and <name>.expected.json

Matrices are quantised with the gguf package; the K types, which it cannot quantise, get random blocks. transformers'
own reader of GGUF files ignores rope scaling, rope_freqs and biases, so the expected logits come from a
LlamaForCausalLM filled with the weights that the gguf package dequantises from the written file.
"""

import argparse
import json
import math
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from tiny import CHATML, SPECIAL, VOCABULARY, describe, expected_logits, make_tokenizer, random_weights, write_json

SIZE_LIMIT = 700_000
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
WIDE = {"num_hidden_layers": 1, "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 8, "num_key_value_heads": 1}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0, "beta_slow": 1.0,
        "rope_theta": 20.0}

# name: (what it is, own configuration, type of the matrices, type of the head or None if tied, pre-tokenizer)
VARIANTS: dict[str, tuple[str, dict, Type, Type | None, str]] = {
    "f32": ("plain, one layer", {"num_hidden_layers": 1}, Type.F32, None, "gpt2"),
    "f16": ("linear rope scaling, head_dim 24 (not width / heads)", {"head_dim": 24, "rope_parameters": LINEAR}, Type.F16, None, "gpt2"),
    "bf16": ("biases everywhere", {"attention_bias": True, "mlp_bias": True}, Type.BF16, None, "gpt2"),
    "q8_0": ("rope_freqs.weight (llama3 rope scaling)", {"rope_parameters": LLAMA3}, Type.Q8_0, None, "llama-bpe"),
    "q4_0": ("untied head in Q8_0", {"tie_word_embeddings": False}, Type.Q4_0, Type.Q8_0, "gpt2"),
    "q4_1": ("plain", {}, Type.Q4_1, None, "smollm"),
    "q5_0": ("yarn rope scaling", {"rope_parameters": YARN}, Type.Q5_0, None, "gpt2"),
    "q5_1": ("plain", {}, Type.Q5_1, None, "qwen2"),
    "q4_k": ("random blocks, one layer", WIDE, Type.Q4_K, None, "gpt2"),
    "q5_k": ("random blocks, one layer, untied head in Q6_K", WIDE | {"tie_word_embeddings": False},
             Type.Q5_K, Type.Q6_K, "gpt2"),
    "q6_k": ("random blocks, one layer", WIDE, Type.Q6_K, None, "gpt2"),
}
FILE_TYPES = {  # general.file_type
    Type.F32: gguf.LlamaFileType.ALL_F32, Type.F16: gguf.LlamaFileType.MOSTLY_F16, Type.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Type.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0, Type.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    Type.Q4_1: gguf.LlamaFileType.MOSTLY_Q4_1, Type.Q5_0: gguf.LlamaFileType.MOSTLY_Q5_0,
    Type.Q5_1: gguf.LlamaFileType.MOSTLY_Q5_1, Type.Q4_K: gguf.LlamaFileType.MOSTLY_Q4_K_M,
    Type.Q5_K: gguf.LlamaFileType.MOSTLY_Q5_K_M, Type.Q6_K: gguf.LlamaFileType.MOSTLY_Q6_K,
}
PRE_TOKENIZERS = {"gpt2": "gpt-2", "smollm": "smollm", "llama-bpe": "llama-bpe", "qwen2": "qwen2"}
PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """transformers' tensor name in GGUF."""
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def rotated_heads(name: str, config: dict) -> int:
    """Heads of a tensor whose rows GGUF keeps in another order (pairs side by side), 0 for all others."""
    if ".attn_q." in name:
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if ".attn_k." in name else 0


def to_gguf_order(rows: np.ndarray, heads: int) -> np.ndarray:
    """Within each head: row i and row i + head_dim/2 become neighbours."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def from_gguf_order(rows: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of to_gguf_order."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def random_blocks(shape: tuple[int, ...], kind: Type, deviation: float, seed: int) -> np.ndarray:
    """Bytes of valid K blocks: everything random but the float16 scales, chosen for weights of about that deviation."""
    draws = np.random.default_rng(seed)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = draws.integers(0, 256, (math.prod(shape) // values, size), dtype=np.uint8)
    scale = deviation * draws.uniform(0.5, 1.5, len(blocks))
    if kind == Type.Q6_K:  # 8-bit signed scales of deviation 74, values from -32 to 31: d is the last field
        blocks[:, -2:] = (scale / (74 * 18.5)).astype(np.float16)[:, None].view(np.uint8)
    else:  # 6-bit scales and minima, values to 15 or 31: d and dmin are the first fields
        top = 15 if kind == Type.Q4_K else 31
        d = scale / (36 * top * 0.4)
        blocks[:, 0:2] = d.astype(np.float16)[:, None].view(np.uint8)
        blocks[:, 2:4] = (d * top / 2).astype(np.float16)[:, None].view(np.uint8)
    return blocks.reshape(*shape[:-1], shape[-1] // values * size)


def encode(rows: np.ndarray, kind: Type, seed: int) -> np.ndarray:
    """The tensor's bytes (or numbers) in that type."""
    if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        return random_blocks(rows.shape, kind, 0.5 * float(rows.std()), seed)
    return gguf.quants.quantize(rows, kind)


def rope_frequency_factors(config: dict) -> np.ndarray:
    """rope_freqs.weight: what each frequency is divided by under llama3 scaling."""
    rope, head = config["rope_parameters"], config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    wavelengths = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, head, 2) / head)
    turns = rope["original_max_position_embeddings"] / wavelengths
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - share) / rope["factor"] + share)).astype(np.float32)


def write_metadata(writer: gguf.GGUFWriter, name: str, config: dict, kind: Type, pre: str, tokenizer: Tokenizer) -> None:
    """Everything a loader needs."""
    rope = config["rope_parameters"]
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or width // heads
    writer.add_name(f"fathom tiny {name}")
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(VOCABULARY)
    if head * heads != width:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZERS[pre])
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token, _ in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def load_reference(path: Path, config: dict) -> LlamaForCausalLM:
    """transformers' model with the weights as the gguf package reads them from the file."""
    names = {gguf_name(name): name for name in random_weights(config, 0)}
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name == "rope_freqs.weight":
            continue
        rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        heads = rotated_heads(tensor.name, config)
        state[names[tensor.name]] = torch.from_numpy(np.array(from_gguf_order(rows, heads) if heads else rows, dtype=np.float32))
    model = LlamaForCausalLM._from_config(LlamaConfig(**config), attn_implementation="eager", dtype=torch.float32)
    problems = model.load_state_dict(state, strict=False)
    assert not problems.unexpected_keys and problems.missing_keys == (["lm_head.weight"] if config["tie_word_embeddings"] else [])
    model.tie_weights()
    return model.eval()


def make(name: str, folder: Path, seed: int) -> None:
    """Writes one model and its logits."""
    description, own, kind, head_kind, pre = VARIANTS[name]
    config = COMMON | own
    tokenizer = make_tokenizer(pre)
    path = folder / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    write_metadata(writer, name, config, kind, pre, tokenizer)
    if config["rope_parameters"]["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_frequency_factors(config))
    for number, (key, rows) in enumerate(random_weights(config, seed).items()):
        tensor = gguf_name(key)
        if heads := rotated_heads(tensor, config):
            rows = to_gguf_order(rows, heads)
        if rows.ndim == 1:
            writer.add_tensor(tensor, rows)
            continue
        stored = head_kind if key == "lm_head.weight" and head_kind else kind
        writer.add_tensor(tensor, encode(rows, stored, 1000 * seed + number), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    model = load_reference(path, config)
    if config["rope_parameters"]["rope_type"] == "llama3":
        rope = config["rope_parameters"]
        plain = 1.0 / rope["rope_theta"] ** (np.arange(0, 16, 2) / 16)
        assert np.allclose(model.model.rotary_emb.inv_freq, plain / rope_frequency_factors(config), rtol=1e-6)
    write_json(folder / f"{name}.expected.json", expected_logits(model, tokenizer, f"{kind.name}: {description}"))
    size = path.stat().st_size
    print(f"{name}: {size} bytes; {describe(model, tokenizer)}")
    assert size < SIZE_LIMIT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("tiny_gguf"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(VARIANTS):
        make(name, arguments.output, seed)


if __name__ == "__main__":
    main()
