"""Reference logits, routed greedy decoding and routed likelihoods of the default model, by Hugging Face transformers.

    python golden/engine.py                     writes golden/engine.json
    python golden/engine.py --compare FOLDER    compares full logits that fathom dumped with transformers'

The model is read from its GGUF file and runs in float32 with eager attention. A route runs as in fathom: the prompt
goes through all layers, and each later token only through the route's, at each of which it sees the keys and values
of the prompt and of the earlier response tokens.
"""

import argparse
import copy
import json
import math
import random
import sys
from pathlib import Path

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, DynamicCache

from default_model import default_model_path
from engine_prompts import PROMPTS, Prompt

MODEL_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SYSTEM_MESSAGE = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
VOCABULARY_SAMPLE = 64
BEST = 8
GREEDY_TOKENS = 64
RANDOM_ROUTE_LAYERS = 24
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type

Route = list[int]  # layers, 1-based, ascending


def build_tokenizer(path: Path) -> Tokenizer:
    """The byte-level BPE tokenizer (pre-tokenizer "smollm") that the GGUF file describes."""
    fields = gguf.GGUFReader(path).fields
    if (pre := fields["tokenizer.ggml.pre"].contents()) != "smollm":
        raise SystemExit(f"{path}: tokenizer.ggml.pre: expected smollm, found {pre}")
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(token, special=True, normalized=False) for token, kind in zip(tokens, kinds) if kind == CONTROL_TOKEN
    ])
    return tokenizer


def chat(message: str) -> str:
    """SmolLM2's template for one user message, with its default system message."""
    return (f"<|im_start|>system\n{SYSTEM_MESSAGE}<|im_end|>\n"
            f"<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n")


def uniform_route(run: int, layers: int) -> Route:
    """Uniform skipping, equation 2 of the paper, in integers."""
    route: Route = []
    for layer in range(1, layers + 1):
        if layer == 1 or layers * len(route) <= (layer - 1) * run:
            route.append(layer)
    assert len(route) == run
    return route


def random_route(run: int, layers: int, seed: int = 4) -> Route:
    """Layer 1 and run-1 others."""
    return [1] + sorted(random.Random(seed).sample(range(2, layers + 1), run - 1))


class Reference:
    """transformers' model, layer by layer."""

    def __init__(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").to(dtype).eval()
        assert all(parameter.dtype == dtype for parameter in self.model.parameters())
        self.dtype = dtype
        self.layers = self.model.config.num_hidden_layers
        self.vocabulary = self.model.config.vocab_size

    def prefill(self, ids: list[int]) -> tuple[torch.Tensor, DynamicCache]:
        """Logits [tokens, vocabulary] of the full network, and its cache."""
        cache = DynamicCache(config=self.model.config)
        return self.model(torch.tensor([ids]), cache=cache, use_cache=True).logits[0], cache

    def routed(self, ids: list[int], route: Route, cache: DynamicCache, position: int) -> torch.Tensor:
        """Logits of new tokens, the first of them at position, through the route's layers; extends the cache there."""
        core = self.model.model
        hidden = core.embed_tokens(torch.tensor([ids]))
        positions = torch.arange(position, position + len(ids)).unsqueeze(0)
        rotary = core.rotary_emb(hidden, position_ids=positions)
        hidden_from = torch.full((len(ids), position + len(ids)), -math.inf, dtype=self.dtype).triu(position + 1)
        for layer in route:
            hidden = core.layers[layer - 1](
                hidden, attention_mask=hidden_from[None, None], position_ids=positions, position_embeddings=rotary,
                cache=cache, use_cache=True)
        return self.model.lm_head(core.norm(hidden))[0]

    def greedy(self, logits: torch.Tensor, route: Route, cache: DynamicCache, position: int) -> dict:
        """The next tokens, the first of them predicted by the prompt's last logits; end tokens do not stop it."""
        ids, best_ids, best = [], [], []
        for _ in range(GREEDY_TOKENS):
            values, indices = torch.topk(logits, 2)
            ids.append(int(indices[0]))
            best_ids.append(int(indices[1]))
            best.append([round(float(value), 5) for value in values])
            if len(ids) < GREEDY_TOKENS:
                logits = self.routed([ids[-1]], route, cache, position)[-1]
                position += 1
        return {"ids": ids, "second_ids": best_ids, "logits": best}

    def negative_log_likelihoods(
            self, logits: torch.Tensor, response: list[int], route: Route, cache: DynamicCache, position: int) -> list[float]:
        """One value a response token, teacher-forced."""
        rows = torch.cat([logits.unsqueeze(0), self.routed(response[:-1], route, cache, position)])
        values = -torch.log_softmax(rows.double(), dim=-1)[torch.arange(len(response)), torch.tensor(response)]
        return [round(float(value), 5) for value in values]


def at_position(logits: torch.Tensor, position: int, sample: list[int]) -> dict:
    """What engine.json keeps of one position's logits."""
    row = logits[position]
    values, indices = torch.topk(row, BEST)
    return {
        "position": position,
        "log_sum_exp": round(float(torch.logsumexp(row.double(), dim=-1)), 5),
        "logits": [round(float(row[i]), 5) for i in sample],
        "best_ids": indices.tolist(),
        "best": [round(float(value), 5) for value in values],
    }


def check_routing(reference: Reference, ids: list[int], continuation: list[int]) -> float:
    """The layer-by-layer pass over all layers against transformers' own forward pass: the largest difference."""
    expected = reference.model(torch.tensor([ids + continuation])).logits[0, len(ids):]
    _, cache = reference.prefill(ids)
    together = copy.deepcopy(cache)
    every = list(range(1, reference.layers + 1))
    at_once = reference.routed(continuation, every, together, len(ids))
    one_by_one = torch.cat([reference.routed([token], every, cache, len(ids) + i) for i, token in enumerate(continuation)])
    return float(max((at_once - expected).abs().max(), (one_by_one - expected).abs().max()))


def encode(tokenizer: Tokenizer, prompt: Prompt) -> tuple[list[int], list[int]]:
    """Ids of the prompt, and of the response (with the end token in a chat)."""
    ids = tokenizer.encode(chat(prompt.text) if prompt.chat else prompt.text).ids
    return ids, tokenizer.encode(prompt.response + ("<|im_end|>" if prompt.chat else "")).ids


def write(reference: Reference, tokenizer: Tokenizer, path: Path) -> None:
    """Makes engine.json."""
    layers = reference.layers
    every = list(range(1, layers + 1))
    chosen = random_route(RANDOM_ROUTE_LAYERS, layers)
    chosen_name = "layers:" + ",".join(map(str, chosen))
    greedy_routes = {"full": every, "first:28": every[:28], "uniform:28": uniform_route(28, layers), chosen_name: chosen}
    nll_routes = {"full": every, "uniform:15": uniform_route(15, layers), "first:20": every[:20], chosen_name: chosen}
    sample = sorted(random.Random(1).sample(range(reference.vocabulary), VOCABULARY_SAMPLE))
    prompts = []
    for number, prompt in enumerate(PROMPTS):
        ids, response = encode(tokenizer, prompt)
        logits, cache = reference.prefill(ids)
        others = random.Random(number).sample(range(len(ids) - 1), min(3, len(ids) - 1))
        entry = {
            "name": prompt.name, "chat": prompt.chat, "text": prompt.text, "ids": ids,
            "positions": [at_position(logits, position, sample) for position in [len(ids) - 1, *sorted(others)]],
            "greedy": {name: reference.greedy(logits[-1], route, copy.deepcopy(cache), len(ids))
                       for name, route in greedy_routes.items()},
            "response": prompt.response, "response_ids": response,
            "nll": {name: reference.negative_log_likelihoods(logits[-1], response, route, copy.deepcopy(cache), len(ids))
                    for name, route in nll_routes.items()},
        }
        if number == 0:  # transformers' own decoding agrees with the layer-by-layer one
            generated = reference.model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                min_new_tokens=None, max_new_tokens=GREEDY_TOKENS, eos_token_id=None, pad_token_id=0)[0, len(ids):].tolist()
            assert generated == entry["greedy"]["full"]["ids"], "generate() differs from the layer-by-layer pass"
        difference = check_routing(reference, ids, response)
        assert difference < 5e-4, f"{prompt.name}: layer by layer differs from forward() by {difference}"
        prompts.append(entry)
        means = {name.split(",")[0]: round(sum(values) / len(values), 3) for name, values in entry["nll"].items()}
        print(f"{prompt.name}: {len(ids)} + {len(response)} tokens, check {difference:.1e}, mean NLL {means}", flush=True)
    document = {
        "made_by": "golden/engine.py", "model": MODEL_NAME, "torch": torch.__version__,
        "transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "precision": "float32",
        "routes": greedy_routes | nll_routes, "vocabulary_sample": sample, "prompts": prompts,
    }
    header = {key: value for key, value in document.items() if key != "prompts"}
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in prompts)
    path.write_text(json.dumps(header, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"prompts":[\n' + lines + "\n]}\n",
                    encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes")


def compare(reference: Reference, tokenizer: Tokenizer, folder: Path, tolerance: float) -> bool:
    """Compares FOLDER/<prompt's name>.npy, float32 [tokens, vocabulary], with transformers' logits."""
    worst, agreeing, rows, missing = 0.0, 0, 0, []
    for prompt in PROMPTS:
        file = folder / f"{prompt.name}.npy"
        if not file.exists():
            missing.append(prompt.name)
            continue
        dumped = np.load(file)
        logits = reference.prefill(encode(tokenizer, prompt)[0])[0].numpy()
        if dumped.shape != logits.shape or dumped.dtype != np.float32:
            raise SystemExit(f"{file}: expected float32 {logits.shape}, found {dumped.dtype} {dumped.shape}")
        differences = np.abs(dumped.astype(np.float64) - logits)
        same = int((dumped.argmax(-1) == logits.argmax(-1)).sum())
        row, token = np.unravel_index(np.nan_to_num(differences, nan=np.inf).argmax(), differences.shape)
        largest = float(differences[row, token])
        print(f"{prompt.name}: {len(logits)} tokens, largest difference {largest:.3g} at position {row}, id {token}; "
              f"root mean square {float(np.sqrt((differences ** 2).mean())):.3g}; same best token {same}/{len(logits)}")
        worst = max(worst, largest if math.isfinite(largest) else math.inf)
        agreeing, rows = agreeing + same, rows + len(logits)
    if missing:
        print("missing: " + ", ".join(missing))
    if rows:
        print(f"all: largest difference {worst:.3g} (tolerance {tolerance}), same best token {agreeing}/{rows}")
    return bool(rows) and not missing and worst <= tolerance


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model_path(), help="GGUF file (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("engine.json"))
    parser.add_argument("--compare", type=Path, metavar="FOLDER", help="folder of dumped logits, one .npy a prompt")
    parser.add_argument("--tolerance", type=float, default=2e-3, help="for --compare (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: %(default)s)")
    parser.add_argument("--float64", action="store_true", help="compute in float64 (to see how exact float32 is)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    reference = Reference(arguments.model, torch.float64 if arguments.float64 else torch.float32)
    tokenizer = build_tokenizer(arguments.model)
    if arguments.compare:
        return 0 if compare(reference, tokenizer, arguments.compare, arguments.tolerance) else 1
    write(reference, tokenizer, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
