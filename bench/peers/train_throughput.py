"""Training throughput of fathom-torch and of transformers, side by side.

    python bench/peers/train_throughput.py [--model GGUF] [--fathom build/torch/fathom-torch] [--rounds 2] [--steps 4]
    python bench/peers/train_throughput.py --route ranked:15 [--steps 24]

Both fine-tune all weights of the model by AdamW on batches of 8 sequences of 128 tokens, of which the first 32 are a prompt that the loss
leaves out: products in bfloat16, weights and optimiser in float32 (transformers: autocast). They take turns, each in a process of its own.
A round's figure is that of its median step, the first one left out. Other options, like --lora-rank 8, go to fathom alone.
With --route there is no peer: steps of one run draw full depth or that route for the responses, and how much faster the route's are than
full ones just before or after, in the median, stands beside what multiply-adds predict.
Needs torch, transformers, gguf and safetensors (bench/peers/requirements.txt).
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import convert

REPOSITORY = Path(__file__).parent.parent.parent
BATCH, LENGTH, PROMPT = 8, 128, 32


def default_model() -> str:
    return subprocess.run([REPOSITORY / "tools/fetch_model.sh"], check=True, capture_output=True, text=True).stdout.split()[-1]


def write_rows(path: Path, rows: int) -> None:
    """Prompts and responses longer than what fathom cuts them to."""
    words = "the ship a line of lead falls deep and slow under water where no light goes and they count each mark".split()
    draws = random.Random(1)
    with path.open("w") as file:
        for i in range(rows):
            text = [" ".join(draws.choices(words, k=2 * LENGTH)) for _ in range(2)]
            file.write(json.dumps({"id": str(i), "prompt": text[0], "response": text[1]}) + "\n")


def fathom_steps(arguments: argparse.Namespace, steps: int, options: list[str]) -> list[dict]:
    """What fathom wrote of its steps, each on a batch of its own."""
    with tempfile.TemporaryDirectory() as folder:
        rows, out = Path(folder) / "rows.jsonl", Path(folder) / "out"
        write_rows(rows, BATCH * steps)
        command = [arguments.fathom, "train", "finetune", "--model", arguments.model, "--data", rows, "--out", out, "--dtype", "bfloat16", "--batch", BATCH,
                   "--max-tokens", LENGTH, "--steps", steps, "--threads", arguments.threads, "--save-every", 10 ** 6, *options, *arguments.fathom_options]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        written = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    written = [step for step in written if "loss" in step]
    wrong = [step for step in written if step["tokens"] != BATCH * LENGTH]
    if wrong:
        sys.exit(f"a step of {wrong[0]['tokens']} tokens; {BATCH * LENGTH} expected")
    return written


def route_against_full(arguments: argparse.Namespace) -> None:
    steps = [(step["layers"], step["seconds"]) for step in fathom_steps(arguments, arguments.steps or 24, ["--depths", f"full,{arguments.route}"])[1:]]
    neighbours = [sorted(pair) for pair in zip(steps, steps[1:]) if pair[0][0] != pair[1][0]]
    layers = sorted({layers for layers, _ in steps})
    if len(layers) != 2:
        sys.exit(f"steps of {layers} layers; two depths expected: take a route that leaves layers out, or more --steps")
    cost, depth = layers
    predicted = multiply_adds(arguments.model, depth) / multiply_adds(arguments.model, cost)
    ratio = statistics.median(full / route for (_, route), (_, full) in neighbours)
    print(f"{LENGTH - PROMPT} of {LENGTH} tokens are responses'")
    for layers in (depth, cost):
        seconds = [seconds for each, seconds in steps if each == layers]
        print(f"{layers} layers: {BATCH * LENGTH / statistics.median(seconds):.0f} tokens/s, the median of {len(seconds)} steps")
    print(f"{ratio:.2f} times, the median of {len(neighbours)} pairs of neighbouring steps; multiply-adds predict {predicted:.2f}: {ratio / predicted:.0%}")


def multiply_adds(model: str, cost: int) -> float:
    """Of a row: 127 tokens go in, the last is predicted only. The prompt's run all layers, the others `cost`; 96 predictions read the head."""
    import gguf
    tensors = gguf.GGUFReader(model).tensors
    layers = [tensor for tensor in tensors if tensor.name.startswith("blk.") and len(tensor.shape) == 2]
    depth = 1 + max(int(tensor.name.split(".")[1]) for tensor in layers)
    layer = sum(int(tensor.n_elements) for tensor in layers) / depth
    head = next(int(tensor.n_elements) for name in ("output.weight", "token_embd.weight") for tensor in tensors if tensor.name == name)
    return (PROMPT * depth + (LENGTH - 1 - PROMPT) * cost) * layer + (LENGTH - PROMPT) * head


def transformers_step_seconds(folder: str, steps: int, threads: int) -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
    seconds = []
    for _ in range(steps):
        ids = torch.randint(0, model.config.vocab_size, (BATCH, LENGTH))
        labels = ids.clone()
        labels[:, :PROMPT] = -100
        start = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.monotonic() - start)
    return seconds


def rate(seconds: list[float]) -> float:
    """Tokens a second of the median step."""
    return BATCH * LENGTH / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=None)
    parser.add_argument("--fathom", default=REPOSITORY / "build/torch/fathom-torch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, help="4 a round, or 24 with --route")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build/peers/train_throughput", help="where the converted model is kept")
    parser.add_argument("--route", help="measure fathom on this route beside full depth instead")
    parser.add_argument("--transformers-steps", help=argparse.SUPPRESS)  # this script's own, for a process of transformers
    arguments, arguments.fathom_options = parser.parse_known_args()
    if arguments.transformers_steps:
        print(json.dumps(transformers_step_seconds(arguments.transformers_steps, arguments.steps, arguments.threads)))
        return
    arguments.model = arguments.model or default_model()
    if arguments.route:
        route_against_full(arguments)
        return
    steps = arguments.steps or 4
    if not (arguments.folder / "config.json").exists():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        convert.for_transformers(Path(arguments.model), arguments.folder)
    ours, theirs = [], []
    for number in range(1, arguments.rounds + 1):
        ours.append(rate([step["seconds"] for step in fathom_steps(arguments, steps, [])]))
        output = subprocess.run([sys.executable, __file__, "--transformers-steps", arguments.folder, "--steps", str(steps),
                                 "--threads", str(arguments.threads)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        theirs.append(rate(json.loads(output)))
        print(f"round {number}: fathom {ours[-1]:.0f}, transformers {theirs[-1]:.0f} tokens/s", flush=True)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"fathom {statistics.median(ours):.0f}, transformers {statistics.median(theirs):.0f} tokens/s: {ratio:.2f} times")


if __name__ == "__main__":
    main()
