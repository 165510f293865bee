"""Makes tiny random models of all families, with the logits transformers computes from them at full depth and on routes.

    python golden/families.py          writes golden/families/<name>/

Each folder has config.json, tokenizer.json, model.safetensors and expected.json. The first models of each family also have
the same weights as pytorch_model.bin and as model.gguf, written with the gguf package under the names of its own tables
(for OPT, which they do not know, under those of docs/formats.md), and in model.q8_0.gguf.

A route runs as in fathom: the prompt goes through all layers, and each later token only through the route's, at each of
which it sees the keys and values of the prompt and of the tokens before it. The layers are transformers' own modules.
"""

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from tiny import SPECIAL, load_checked, make_all

SIZE_LIMIT = 115_000  # of one file
VOCABULARY = 70
SAMPLE = 12  # of the vocabulary, at each position
PROMPT, RESPONSE = 25, 15
LAYERS = 4
ROUTES = {"first:2": [1, 2], "uniform:2": [1, 3], "random": [1, 2, 4]}

COMMON = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
          "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "dtype": "float16"}
GATED = COMMON | {"intermediate_size": 32, "num_key_value_heads": 2}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 64, "n_inner": 64,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16"}
OPT = COMMON | {"ffn_dim": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0, "beta_slow": 0.5}


@dataclass
class Variant:
    """One model: what is particular about it, its config.json, and how it is stored."""
    description: str
    family: str  # model_type
    config: dict
    all_files: bool = False  # .bin and GGUF, too
    base_names: bool = False  # as the base model stores them, without the prefix


VARIANTS = {
    "opt": Variant("as OPT-1.3B: norms before, biases, ReLU, tied", "opt", OPT, True),
    "opt-post-norm": Variant("as OPT-350M: norms after, no final norm, embeddings of another width, names of the base model",
                             "opt", OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 64}, True, base_names=True),
    "opt-bare": Variant("no biases, norms without weights, exact GELU, untied",
                        "opt", OPT | {"enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu",
                                      "tie_word_embeddings": False}),
    "opt-no-final-norm": Variant("_remove_final_layer_norm, norms before, embeddings of width 20",
                                 "opt", OPT | {"_remove_final_layer_norm": True, "word_embed_proj_dim": 20}),
    "gpt2": Variant("as GPT-2: fused and transposed maps, tied, names of the base model", "gpt2", GPT2, True, base_names=True),
    "gpt2-scaled": Variant("scale_attn_by_inverse_layer_idx, exact GELU, another epsilon, untied",
                           "gpt2", GPT2 | {"scale_attn_by_inverse_layer_idx": True, "activation_function": "gelu", "n_inner": 40,
                                           "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False}),
    "qwen2": Variant("biases of queries, keys and values, untied, bfloat16",
                     "qwen2", GATED | {"rope_theta": 1000.0, "tie_word_embeddings": False, "dtype": "bfloat16"}, True),
    "qwen2-window": Variant("layers from the third on see 6 positions, yarn, tied",
                            "qwen2", GATED | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2,
                                              "intermediate_size": 40, "rope_parameters": YARN | {"rope_theta": 500.0},
                                              "tie_word_embeddings": True}),
    "qwen3": Variant("head norms, heads of 16, linear rope scaling, tied",
                     "qwen3", GATED | {"head_dim": 16, "num_key_value_heads": 1, "rope_theta": 1000.0,
                                       "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "tie_word_embeddings": True}, True),
    "qwen3-window": Variant("layer_types, biases of the attention, untied",
                            "qwen3", GATED | {"head_dim": 8, "use_sliding_window": True, "sliding_window": 5, "attention_bias": True,
                                              "layer_types": ["sliding_attention", "full_attention"] * 2, "rope_theta": 1000.0,
                                              "intermediate_size": 40, "tie_word_embeddings": False}),
    "mistral": Variant("every layer sees 7 positions, untied",
                       "mistral", GATED | {"sliding_window": 7, "rope_theta": 1000.0, "tie_word_embeddings": False}, True),
    "mistral-no-window": Variant("sliding_window null, llama3 rope scaling, head_dim 12, GELU, tied",
                                 "mistral", GATED | {"sliding_window": None, "rope_theta": 100.0, "rope_scaling": LLAMA3,
                                                     "head_dim": 12, "hidden_act": "gelu_new", "intermediate_size": 40,
                                                     "tie_word_embeddings": True}),
    "smollm3": Variant("the fourth layer without rotation, tied", "smollm3", GATED | {"rope_theta": 1000.0}, True),
    "smollm3-window": Variant("no_rope_layers, of which those without rotation see 6 positions, biases, untied",
                              "smollm3", GATED | {"no_rope_layers": [0, 1, 1, 0], "use_sliding_window": True, "sliding_window": 6,
                                                  "attention_bias": True, "mlp_bias": True, "rope_theta": 1000.0,
                                                  "intermediate_size": 40, "tie_word_embeddings": False}),
    "gemma3": Variant("as Gemma 3: every third layer full, the others see 6 positions, two rotations in the older style, one of "
                      "them linear, query_pre_attn_scalar 16, tied",
                      "gemma3_text", GATED | {"head_dim": 8, "sliding_window": 6, "sliding_window_pattern": 3, "rope_theta": 5000.0,
                                              "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                                              "query_pre_attn_scalar": 16, "hidden_activation": "gelu_pytorch_tanh"}, True),
    "gemma3-newer": Variant("rope_parameters, layer_types, biases of the attention, heads of 12, untied",
                            "gemma3_text", GATED | {"head_dim": 12, "num_key_value_heads": 1, "sliding_window": 9,
                                                    "layer_types": ["full_attention", "sliding_attention"] * 2,
                                                    "rope_parameters": {"full_attention": YARN | {"rope_theta": 500.0},
                                                                        "sliding_attention": {"rope_type": "default",
                                                                                              "rope_theta": 50.0}},
                                                    "query_pre_attn_scalar": 12, "attention_bias": True, "intermediate_size": 40,
                                                    "tie_word_embeddings": False}),
}


def make_tokenizer() -> Tokenizer:
    """Some bytes, those of the text in tests/damage_main.cc among them, and one pair: a GGUF file holds no empty list."""
    needed = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("The sea is 12 \U0001f30a deep.")
    alphabet = sorted(set("".join(part for part, _ in needed)))
    others = [byte for byte in sorted(pre_tokenizers.ByteLevel.alphabet()) if byte not in alphabet]
    alphabet += others[: VOCABULARY - len(SPECIAL) - 1 - len(alphabet)]
    pair = (alphabet[0], alphabet[1])
    tokens = SPECIAL + alphabet + ["".join(pair)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[pair]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def random_weights(model: torch.nn.Module, family: str, stored: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    """Weights that make attention uneven and logits differ, of all tensors a model of this kind stores."""
    draws = torch.Generator().manual_seed(seed)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {}
    for name, parameter in model.state_dict().items():
        if name in tied:
            continue
        module, kind = name.split(".")[-2:]
        norm = "norm" in module or module.startswith("ln_")
        noise = torch.randn(parameter.shape, generator=draws)
        if norm and kind == "weight":
            values = noise * 0.2 + (0.0 if family == "gemma3_text" else 1.0)
        elif kind == "bias":
            values = noise * 0.3
        elif module in ("embed_tokens", "wte", "wpe", "embed_positions", "lm_head"):
            values = noise * (0.1 if family == "gemma3_text" and module == "embed_tokens" else 0.4)
        else:
            inputs = parameter.shape[0] if family == "gpt2" else parameter.shape[1]
            values = noise * (1.6 if module in ("q_proj", "k_proj", "c_attn") else 1.0) / inputs**0.5
        weights[name] = values.to(stored).contiguous()
    return weights


class Reference:
    """transformers' model, layer by layer."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.type = model.eval(), model.config.model_type
        base = model.transformer if self.type == "gpt2" else model.model.decoder if self.type == "opt" else model.model
        self.base, self.layers = base, base.h if self.type == "gpt2" else base.layers

    def window(self, layer: int) -> int | None:
        """How many positions a token sees at a layer."""
        config = self.model.config
        if self.type == "mistral":
            return config.sliding_window
        kinds = getattr(config, "layer_types", None)
        return config.sliding_window if kinds and kinds[layer] == "sliding_attention" else None

    def mask(self, layer: int, position: int, count: int) -> torch.Tensor:
        rows = torch.arange(position, position + count)[:, None]
        columns = torch.arange(position + count)[None, :]
        window = self.window(layer)
        hidden = (columns > rows) | (columns <= rows - window) if window else columns > rows
        return torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))[None, None]

    def enter(self, ids: list[int], positions: torch.Tensor) -> torch.Tensor:
        tokens = torch.tensor([ids])
        if self.type == "gpt2":
            return self.base.wte(tokens) + self.base.wpe(positions)
        states = self.base.embed_tokens(tokens)
        if self.type == "opt":
            if self.base.project_in is not None:
                states = self.base.project_in(states)
            states = states + self.base.embed_positions(None, position_ids=positions)
        return states

    def head(self, states: torch.Tensor) -> torch.Tensor:
        if self.type == "gpt2":
            states = self.base.ln_f(states)
        elif self.type == "opt":
            if self.base.final_layer_norm is not None:
                states = self.base.final_layer_norm(states)
            if self.base.project_out is not None:
                states = self.base.project_out(states)
        else:
            states = self.base.norm(states)
        return self.model.lm_head(states)[0]

    def run_layer(self, layer: int, states: torch.Tensor, cache: DynamicCache, position: int, count: int) -> torch.Tensor:
        """What a layer makes of the states of `count` tokens, the first of them at position; extends the cache there."""
        positions = torch.arange(position, position + count).unsqueeze(0)
        arguments = {"attention_mask": self.mask(layer, position, count), "cache": cache, "use_cache": True}
        if self.type == "gemma3_text":
            arguments["position_embeddings"] = self.base.rotary_emb(
                states, positions, self.model.config.layer_types[layer])
        elif self.type not in ("opt", "gpt2"):
            arguments["position_embeddings"] = self.base.rotary_emb(states, position_ids=positions)
        if self.type != "gpt2":
            arguments["position_ids"] = positions
        return self.layers[layer](states, **arguments)

    def run(self, ids: list[int], route: list[int], cache: DynamicCache, position: int) -> torch.Tensor:
        """Logits of new tokens, the first of them at position, through the route's layers; extends the cache there."""
        positions = torch.arange(position, position + len(ids)).unsqueeze(0)
        states = self.enter(ids, positions)
        for number in route:
            states = self.run_layer(number - 1, states, cache, position, len(ids))
        return self.head(states)


def rounded(rows: torch.Tensor) -> list:
    return [[round(float(value), 5) for value in row] for row in rows]


def expected(reference: Reference, description: str, seed: int) -> dict:
    """A sample of the logits at each position, at full depth and of the response on each route."""
    draws = random.Random(seed)
    ids = [draws.randrange(3, VOCABULARY) for _ in range(PROMPT + RESPONSE)]
    sample = sorted(random.Random(2).sample(range(VOCABULARY), SAMPLE))
    full = reference.model(torch.tensor([ids])).logits[0]
    every = list(range(1, len(reference.layers) + 1))
    cache = DynamicCache()
    layered = torch.cat([reference.run(ids[:PROMPT], every, cache, 0), reference.run(ids[PROMPT:], every, cache, PROMPT)])
    difference = float((layered - full).abs().max())
    assert difference < 2e-5, f"layer by layer differs from forward() by {difference}"
    routes = []
    for name, layers in ROUTES.items():
        cache = DynamicCache()
        reference.run(ids[:PROMPT], every, cache, 0)
        rows = torch.cat([reference.run([token], layers, cache, PROMPT + i) for i, token in enumerate(ids[PROMPT:])])
        routes.append({"name": name, "layers": layers, "logits": rounded(rows[:, sample])})
    print(f"  layer by layer differs by {difference:.1e}; logits' deviation {float(full.std(-1).mean()):.2f}, "
          f"largest {float(full.abs().max()):.1f}")
    return {"description": description, "transformers": transformers.__version__, "torch": torch.__version__, "ids": ids,
            "prompt": PROMPT, "vocabulary_sample": sample, "full": rounded(full[:, sample]), "last": rounded(full[-1:])[0],
            "routes": routes}


# ---- GGUF ----

OPT_TENSORS = {
    "embed_tokens": "token_embd", "embed_positions": "position_embd", "project_in": "token_embd_project_in",
    "project_out": "output_project_out", "final_layer_norm": "output_norm",
}
OPT_LAYER_TENSORS = {
    "self_attn_layer_norm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_output", "final_layer_norm": "ffn_norm", "fc1": "ffn_up", "fc2": "ffn_down",
}
ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}  # others are called as in config.json


def gguf_name(name: str, family: str, layers: int) -> str:
    """transformers' tensor name in GGUF."""
    stem, kind = name.rsplit(".", 1)
    if family != "opt":
        architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == ARCHITECTURES.get(family, family))
        found = gguf.get_tensor_name_map(architecture, layers).get_name(stem)
        assert found, name
        return f"{found}.{kind}"
    if stem == "lm_head":
        return f"output.{kind}"
    parts = stem.removeprefix("model.decoder.").split(".", 2)
    if parts[0] != "layers":
        return f"{OPT_TENSORS[parts[0]]}.{kind}"
    return f"blk.{parts[1]}.{OPT_LAYER_TENSORS[parts[2]]}.{kind}"


def gguf_rows(name: str, tensor: torch.Tensor, family: str, config: object) -> np.ndarray:
    """A tensor as llama.cpp's converter lays it out, in float32."""
    rows = tensor.float().numpy()
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return np.ascontiguousarray(rows.T)
    if family == "gemma3_text" and name.endswith("norm.weight"):
        return rows + np.float32(1)
    if family in ("mistral", "smollm3") and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return np.ascontiguousarray(rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape))
    return rows


def write_metadata(writer: gguf.GGUFWriter, name: str, family: str, config: object, tokenizer: Tokenizer) -> None:
    """Everything a loader needs."""
    architecture = ARCHITECTURES.get(family, family)
    writer.add_name(f"fathom tiny {name}")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if family in ("opt", "gpt2"):
        writer.add_feed_forward_length(config.ffn_dim if family == "opt" else config.n_inner)
        writer.add_layer_norm_eps(1e-5)
        if family == "opt" and not config.do_layer_norm_before:
            writer.add_bool("opt.do_layer_norm_before", False)
        if family == "opt" and config.word_embed_proj_dim != config.hidden_size:
            writer.add_uint32("opt.word_embed_proj_dim", config.word_embed_proj_dim)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_head_count_kv(config.num_key_value_heads)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_key_length(head)
        writer.add_value_length(head)
        rope = config.rope_parameters.get("full_attention", config.rope_parameters)
        writer.add_rope_freq_base(rope["rope_theta"])
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        if family in ("mistral", "gemma3_text"):
            writer.add_sliding_window(config.sliding_window)
    if family == "gemma3_text":
        writer.add_uint32(f"{architecture}.attention.sliding_window_pattern", 3)
        writer.add_float32(f"{architecture}.rope.freq_base_swa", config.rope_parameters["sliding_attention"]["rope_theta"])
        writer.add_attention_scale(config.query_pre_attn_scalar**-0.5)
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token, _ in tokens])
    writer.add_token_merges([" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def write_gguf(path: Path, name: str, model: torch.nn.Module, weights: dict, tokenizer: Tokenizer, kind: Type) -> None:
    """The weights as llama.cpp's converter would write them: matrices in `kind`, vectors in float32."""
    family = model.config.model_type
    writer = gguf.GGUFWriter(path, ARCHITECTURES.get(family, family))
    write_metadata(writer, name, family, model.config, tokenizer)
    for key, tensor in weights.items():
        rows = gguf_rows(key, tensor, family, model.config)
        stored = Type.F32 if rows.ndim == 1 else kind
        writer.add_tensor(gguf_name(key, family, model.config.num_hidden_layers), gguf.quants.quantize(rows, stored),
                          raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(name: str, folder: Path, seed: int) -> None:
    """Writes one model's folder."""
    variant = VARIANTS[name]
    print(f"{name}: {variant.description}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {"model_type": variant.family} | variant.config
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    stored = getattr(torch, config.get("dtype") or config["torch_dtype"])
    empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    weights = random_weights(empty, variant.family, stored, seed)
    prefix = f"{empty.base_model_prefix}." if variant.base_names else ""
    named = {key.removeprefix(prefix): value for key, value in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})

    model = load_checked(AutoModelForCausalLM, folder, weights)
    if variant.all_files:
        # Checkpoints of tied models have the head, too; it shares the embedding's storage.
        embedding = next(value for key, value in weights.items() if "embed_tokens" in key or "wte" in key)
        head = {} if "lm_head.weight" in weights else {"lm_head.weight": embedding}
        torch.save(named | head, folder / "pytorch_model.bin")
        kind = {torch.float16: Type.F16, torch.bfloat16: Type.BF16}[stored]
        write_gguf(folder / "model.gguf", name, model, weights, tokenizer, kind)
        write_gguf(folder / "model.q8_0.gguf", name, model, weights, tokenizer, Type.Q8_0)
    text = json.dumps(expected(Reference(model), variant.description, seed), separators=(",", ":"))
    (folder / "expected.json").write_text(text.replace('},{"name"', '},\n{"name"').replace(',"routes"', ',\n"routes"') + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
        assert file.stat().st_size < SIZE_LIMIT, (file, file.stat().st_size)


if __name__ == "__main__":
    make_all(__doc__, Path(__file__).with_name("families"), VARIANTS, make)
