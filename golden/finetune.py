"""Makes the losses of 50 steps of full fine-tuning of two tiny models, as transformers and PyTorch's AdamW compute them.

    python golden/finetune.py          writes golden/finetune.json

The models are those of golden/families/opt and golden/tiny/rope-linear, in float32 and without dropout. The data are random
tokens: sequences of several lengths, each with a prompt, which is masked from the loss. A step takes two micro-batches, which are
padded; its loss is the sum over the response's tokens of both, divided by their number. The learning rate rises linearly for
the first steps and then falls linearly to 0; gradients are clipped; matrices decay, vectors do not.
"""

import json
import random
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

GOLDEN = Path(__file__).parent
MODELS = {"opt": "families/opt", "llama": "tiny/rope-linear"}
STEPS, MICRO_BATCHES, BATCH = 50, 2, 3
OPTIONS = {"learning_rate": 2e-3, "warmup_steps": 5, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "clip": 1.0}


def sequences(vocabulary: int) -> list[dict]:
    """Few enough to be seen several times, so that losses fall."""
    draws = random.Random(5)
    rows = []
    for _ in range(18):
        prompt = draws.randrange(2, 12)
        ids = [draws.randrange(3, vocabulary) for _ in range(prompt + draws.randrange(4, 20))]
        rows.append({"ids": ids, "prompt": prompt})
    return rows


def micro_batch_loss(model: torch.nn.Module, rows: list[dict]) -> torch.Tensor:
    """The sum of the responses' negative log-likelihoods."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [0] * (longest - len(row["ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows])
    labels = torch.tensor([[-100] * row["prompt"] + row["ids"][row["prompt"]:] + [-100] * (longest - len(row["ids"])) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, rows: list[dict], steps: int) -> tuple[list, list]:
    """Each step's batches, as numbers of rows, and its loss before the step."""
    schedule = get_linear_schedule_with_warmup(optimizer, OPTIONS["warmup_steps"], steps)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses = []
    order = random.Random(7)
    batches = []
    for _ in range(steps):
        drawn = order.sample(range(len(rows)), MICRO_BATCHES * BATCH)
        batches.append([drawn[i:i + BATCH] for i in range(0, len(drawn), BATCH)])
        tokens = sum(len(rows[i]["ids"]) - rows[i]["prompt"] for i in drawn)
        total = 0.0
        for micro in batches[-1]:
            loss = micro_batch_loss(model, [rows[i] for i in micro]) / tokens
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, OPTIONS["clip"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(round(total, 6))
    return batches, losses


def finetune(folder: Path) -> dict:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()  # eval(): no dropout; gradients flow all the same
    rows = sequences(model.config.vocab_size)
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p for _, p in named if p.dim() > 1], "weight_decay": OPTIONS["weight_decay"]},
         {"params": [p for _, p in named if p.dim() <= 1], "weight_decay": 0.0}],
        lr=OPTIONS["learning_rate"], betas=(OPTIONS["beta1"], OPTIONS["beta2"]), eps=OPTIONS["epsilon"])
    batches, losses = train(model, optimizer, rows, STEPS)
    print(f"{folder.name}: {losses[0]} to {losses[-1]}")
    return {"model": str(folder.relative_to(GOLDEN)), "sequences": rows, "batches": batches, "losses": losses}


if __name__ == "__main__":
    torch.manual_seed(0)
    result = {"transformers": transformers.__version__, "torch": torch.__version__, "options": OPTIONS,
              "runs": {name: finetune(GOLDEN / folder) for name, folder in MODELS.items()}}
    text = json.dumps(result, separators=(",", ":")).replace('},{"ids"', '},\n{"ids"').replace('"batches"', '\n"batches"').replace('"losses"', '\n"losses"')
    (GOLDEN / "finetune.json").write_text(text + "\n")
