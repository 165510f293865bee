"""Reference for `fathom study similarity`: hidden states of the default model on routes, against those of all its layers,
by Hugging Face transformers in float32.

    python golden/similarity.py         writes golden/similarity.json

Takes the first rows of data/prompts.jsonl, each prompt in the chat template, the row's response teacher-forced after it
without an end token. The prompt goes through all layers. Response tokens go through the route's, where they see the keys
and values that all layers made of the prompt, and their own; a layer that is skipped puts out what went in.
"""

import argparse
import contextlib
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer
from transformers import DynamicCache

from default_model import default_model_path
from drawn_routes import drawn_route
from engine import MODEL_NAME, Reference, Route, build_tokenizer, chat, uniform_route

ROWS = 20
COSTS = [1, 4, 8, 12, 15, 20, 25, 29]
SEED = 0
DIGITS = 7


def routes_of(row_id: str, layers: int) -> dict[str, Route]:
    """The routes of a row by their policy."""
    every = list(range(1, layers + 1))
    return ({f"first:{cost}": every[:cost] for cost in COSTS}
            | {f"uniform:{cost}": uniform_route(cost, layers) for cost in COSTS}
            | {f"random:{cost}": drawn_route(cost, layers, SEED, row_id) for cost in COSTS})


@contextlib.contextmanager
def layer_outputs(reference: Reference) -> Iterator[dict[int, torch.Tensor]]:
    """What the decoder layers that run in the meantime put out, by their number from 1."""
    outputs: dict[int, torch.Tensor] = {}
    with contextlib.ExitStack() as hooks:
        for number, layer in enumerate(reference.model.model.layers, start=1):
            hook = layer.register_forward_hook(lambda _layer, _inputs, output, n=number: outputs.update({n: output[0]}))
            hooks.callback(hook.remove)
        yield outputs


def routed_states(
        reference: Reference, response: list[int], route: Route, cache: DynamicCache, position: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """States after each layer, before the final norm, [layers, tokens, width], and logits [tokens, vocabulary]."""
    with layer_outputs(reference) as outputs:
        logits = reference.routed(response, route, cache, position)
    assert sorted(outputs) == route
    states = [reference.model.model.embed_tokens(torch.tensor(response))]
    for layer in range(1, reference.layers + 1):
        states.append(outputs.get(layer, states[-1]))
    return torch.stack(states[1:]), logits


def rounded(value: torch.Tensor) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def negative_log_likelihoods(prompt_logits: torch.Tensor, logits: torch.Tensor, response: list[int]) -> dict:
    """Means over all response tokens, and over those but the first, which the prompt pass predicts."""
    rows = torch.cat([prompt_logits.unsqueeze(0), logits[:-1]]).double()
    values = -torch.log_softmax(rows, dim=-1)[torch.arange(len(response)), torch.tensor(response)]
    return {"nll_all": rounded(values.mean()), "nll": rounded(values[1:].mean()) if len(response) > 1 else None}


def mean_cosines(full: torch.Tensor, routed: torch.Tensor) -> torch.Tensor:
    """Means over tokens, of [..., tokens, width]."""
    return torch.nn.functional.cosine_similarity(full.double(), routed.double(), dim=-1).mean(dim=-1)


def check_full_states(reference: Reference, ids: list[int], full: torch.Tensor, response: list[int]) -> float:
    """The states of all layers against those of transformers' own forward(): the largest difference by the norm."""
    with layer_outputs(reference) as outputs:
        reference.model(torch.tensor([ids + response]))
    expected = torch.stack([outputs[layer][len(ids):] for layer in range(1, reference.layers + 1)])
    return float(((full - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def row_entry(reference: Reference, tokenizer: Tokenizer, row: dict) -> dict:
    """What similarity.json holds of a row."""
    ids = tokenizer.encode(chat(row["prompt"])).ids
    response = tokenizer.encode(row["response"]).ids
    prompt_logits, cache = reference.prefill(ids)
    prompt_logits = prompt_logits[-1]
    norm = reference.model.model.norm
    every = list(range(1, reference.layers + 1))
    full, full_logits = routed_states(reference, response, every, copy.deepcopy(cache), len(ids))
    difference = check_full_states(reference, ids, full, response)
    assert difference < 1e-4, f"{row['id']}: layer by layer differs from forward() by {difference}"
    routes = {}
    for name, route in routes_of(row["id"], reference.layers).items():
        states, logits = routed_states(reference, response, route, copy.deepcopy(cache), len(ids))
        cosines = mean_cosines(full, states)
        routes[name] = {
            "route": route,
            "final": rounded(cosines[-1]),
            "final_normed": rounded(mean_cosines(norm(full[-1]), norm(states[-1]))),
            "intermediate": rounded(cosines[:-1].mean()),
            "layers": [rounded(cosine) for cosine in cosines],
            **negative_log_likelihoods(prompt_logits, logits, response),
        }
    print(f"{row['id']}: {len(ids)} + {len(response)} tokens, check {difference:.1e}", flush=True)
    return {"id": row["id"], "prompt_tokens": len(ids), "tokens": len(response),
            "full": negative_log_likelihoods(prompt_logits, full_logits, response), "routes": routes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model_path(), help="GGUF file (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "data" / "prompts.jsonl")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("similarity.json"))
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: %(default)s)")
    parser.add_argument("--float64", action="store_true", help="compute in float64 (to see how exact float32 is)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    reference = Reference(arguments.model, torch.float64 if arguments.float64 else torch.float32)
    tokenizer = build_tokenizer(arguments.model)
    lines = arguments.data.read_text(encoding="utf-8").splitlines()[:ROWS]
    header = {
        "made_by": "golden/similarity.py", "model": MODEL_NAME, "torch": torch.__version__,
        "transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
        "precision": str(reference.dtype).removeprefix("torch."), "data": "data/prompts.jsonl", "seed": SEED,
    }
    rows = ",\n".join(
        json.dumps(row_entry(reference, tokenizer, json.loads(line)), separators=(",", ":")) for line in lines)
    arguments.output.write_text(
        json.dumps(header, separators=(",", ":"))[:-1] + ',"rows":[\n' + rows + "\n]}\n", encoding="utf-8")
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
