"""What tiny_llama.py, tiny_gguf.py and families.py share: the texts, the tokenizer, random weights and expected logits."""

import argparse
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaForCausalLM

from engine_prompts import PROMPTS

VOCABULARY = 384
VOCABULARY_SAMPLE = 32
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TEXTS = ["Hi", "<|im_start|>user\nHow deep is the river, 12 or 345 feet?<|im_end|>\n",
         "In the evening the old woman brought them tea, the cafe was open, and the tower stood on rock as her father had said.\n"
         "\tShe counted 17 gulls; the boats came in at 6:45 — « très tard », said the keeper 🌊."]
TOKENS = [2, 24, 80]  # at most, for each text

LLAMA_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def pre_tokenizer(kind: str) -> pre_tokenizers.PreTokenizer:
    """A byte-level pre-tokenizer: gpt2, smollm, llama-bpe or qwen2."""
    if kind == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if kind == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    pattern = {"llama-bpe": LLAMA_PATTERN, "qwen2": LLAMA_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")}[kind]
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def make_tokenizer(kind: str) -> Tokenizer:
    """A byte-level BPE tokenizer of 384 tokens, trained on the texts of engine_prompts.py."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(kind)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator([prompt.text + prompt.response for prompt in PROMPTS], trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def random_weights(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Float32 weights under transformers' names, large enough that attention is uneven and logits differ."""
    draws = np.random.default_rng(seed)
    width, ffn = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head = config.get("head_dim") or width // heads
    sizes = {"self_attn.q_proj": (heads * head, width), "self_attn.k_proj": (kv_heads * head, width),
             "self_attn.v_proj": (kv_heads * head, width), "self_attn.o_proj": (width, heads * head),
             "mlp.gate_proj": (ffn, width), "mlp.up_proj": (ffn, width), "mlp.down_proj": (width, ffn)}
    spread = {"self_attn.q_proj": 1.6, "self_attn.k_proj": 1.6}  # times 1/sqrt(inputs)

    def normal(shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> np.ndarray:
        return (mean + deviation * draws.standard_normal(shape)).astype(np.float32)

    weights = {"model.embed_tokens.weight": normal((config["vocab_size"], width), 0.4)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, (outputs, inputs) in sizes.items():
            weights[f"{prefix}{name}.weight"] = normal((outputs, inputs), spread.get(name, 1.0) / inputs**0.5)
            if config.get("attention_bias" if name.startswith("self_attn") else "mlp_bias"):
                weights[f"{prefix}{name}.bias"] = normal((outputs,), 0.3)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{name}.weight"] = normal((width,), 0.2, 1.0)
    weights["model.norm.weight"] = normal((width,), 0.2, 1.0)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal((config["vocab_size"], width), 0.4)
    return weights


def expected_logits(model: LlamaForCausalLM, tokenizer: Tokenizer, description: str) -> dict:
    """Float32 logits of the three texts: a sample of the vocabulary everywhere, all of it at the last position."""
    sample = sorted(random.Random(2).sample(range(VOCABULARY), VOCABULARY_SAMPLE))
    prompts = []
    for text, limit in zip(TEXTS, TOKENS):
        ids = tokenizer.encode(text).ids[:limit]
        logits = model(torch.tensor([ids])).logits[0]
        prompts.append({
            "ids": ids,
            "sample": [[round(float(value), 5) for value in row[sample]] for row in logits],
            "last": [round(float(value), 5) for value in logits[-1]],
        })
    return {"description": description, "transformers": transformers.__version__, "torch": torch.__version__,
            "vocabulary_sample": sample, "prompts": prompts}


def describe(model: LlamaForCausalLM, tokenizer: Tokenizer) -> str:
    """How uneven the attention and how different the logits are, to see that a test on them can fail."""
    output = model(torch.tensor([tokenizer.encode(TEXTS[-1]).ids[:TOKENS[-1]]]), output_attentions=True)
    largest = [float(layer[0, :, 16:].amax(-1).mean()) for layer in output.attentions]
    return (f"logits' deviation {float(output.logits[0].std(-1).mean()):.2f}, "
            f"mean largest attention weight by layer {[round(value, 2) for value in largest]}")


def write_json(path: Path, value: dict) -> None:
    """Compact, one prompt a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace(',"prompts":[{', ',\n"prompts":[\n{')
    path.write_text(text.replace('},{"ids"', '},\n{"ids"') + "\n", encoding="utf-8")


def load_checked(model_class: type, folder: Path, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The folder as transformers loads it, in float32: without a complaint, and with these weights."""
    model, report = model_class.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {key: value for key, value in report.items() if value}
    assert not problems, problems
    for key, value in weights.items():
        assert torch.equal(model.state_dict()[key], value.float()), key
    return model


def make_all(description: str, folder: Path, names: Iterable[str], make: Callable[[str, Path, int], None]) -> None:
    """The command line of a script that makes one folder for each name, in `folder` or where --output says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=folder)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for seed, name in enumerate(names):
        make(name, arguments.output / name, seed)
