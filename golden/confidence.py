"""Early exit by confidence with state propagation, on the small models of families.py, as transformers' own layers compute it.

    python golden/confidence.py         writes golden/confidence.json

The prompt runs all layers. Each later token leaves after the first layer at which the margin between the two greatest
softmax probabilities of the head on its state exceeds the threshold. Each layer after that is run on the state that it left
with, only for the keys and values that the layer writes into the cache; what it puts out is dropped. The tokens
are drawn; logits are given at the ids that families/<name>/expected.json samples.
"""

import argparse
import json
import random
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache

from families import PROMPT, RESPONSE, VARIANTS, VOCABULARY, Reference, rounded

CLEAR = 2e-4  # no margin that decides is as near as that to the threshold


def margin(reference: Reference, states: torch.Tensor) -> float:
    first, second = torch.softmax(reference.head(states)[-1], dim=-1).topk(2).values
    return float(first - second)


def run_token(reference: Reference, token: int, threshold: float, cache: DynamicCache, position: int):
    """The logits of one routed token, how many layers it ran, and the margins that decided."""
    positions = torch.tensor([[position]])
    states = reference.enter([token], positions)
    margins, ran = [], 0
    for index in range(len(reference.layers)):
        left = bool(margins) and margins[-1] > threshold
        output = reference.run_layer(index, states, cache, position, 1)
        if left:
            continue  # its keys and values are in the cache, its output is dropped
        states, ran = output, ran + 1
        if ran < len(reference.layers):
            margins.append(margin(reference, states))
    return reference.head(states)[-1], ran, margins


def response(reference: Reference, ids: list[int], threshold: float):
    """The logits of the tokens after the prompt, the layers that each ran, and the margins that decided."""
    cache = DynamicCache()
    reference.run(ids[:PROMPT], list(range(1, len(reference.layers) + 1)), cache, 0)
    logits, layers, margins = [], [], []
    for position in range(PROMPT, len(ids)):
        row, ran, decided = run_token(reference, ids[position], threshold, cache, position)
        logits.append(row)
        layers.append(ran)
        margins += decided
    return torch.stack(logits), layers, margins


def choose_threshold(reference: Reference, ids: list[int]) -> tuple:
    """The one at which the numbers of layers are most even, of those that no margin is near."""
    margins = sorted(response(reference, ids, 1.0)[2])
    best = None
    for low, high in zip(margins, margins[1:]):
        threshold = round((low + high) / 2, 4)
        run = response(reference, ids, threshold)
        if threshold <= 0 or min(abs(each - threshold) for each in run[2]) < CLEAR:
            continue
        most = max(run[1].count(number) for number in set(run[1]))
        if best is None or most < best[0]:
            best = (most, threshold, run)
    assert best is not None and len(set(best[2][1])) >= 3
    return best[1], best[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("confidence.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    models = []
    for seed, name in enumerate(VARIANTS):
        folder = Path(__file__).with_name("families") / name
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        reference = Reference(model)
        sample = json.loads((folder / "expected.json").read_text())["vocabulary_sample"]
        draws = random.Random(seed)
        ids = [draws.randrange(3, VOCABULARY) for _ in range(PROMPT + RESPONSE)]
        threshold, (logits, layers, _) = choose_threshold(reference, ids)
        print(f"{name}: threshold {threshold}, layers {layers}")
        models.append({"name": name, "threshold": threshold, "prompt": PROMPT, "ids": ids, "layers": layers,
                       "vocabulary_sample": sample, "logits": rounded(logits[:, sample])})
    text = ",\n".join(json.dumps(each, separators=(",", ":")) for each in models)
    arguments.output.write_text(
        f'{{"transformers":"{transformers.__version__}","torch":"{torch.__version__}","models":[\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
