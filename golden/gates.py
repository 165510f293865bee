"""Makes values and gradients of what skip controllers are trained with, as PyTorch's own functions compute them.

    python golden/gates.py         writes golden/gates.json

The gates are torch.nn.functional.gumbel_softmax with hard samples and a temperature of 1, whose Gumbel variables are noted; the
divergence is torch.nn.functional.kl_div of a fixed distribution from the one that learns. All in float64.
"""

import json
from pathlib import Path

import torch
from torch.nn import functional

ROWS, VOCABULARY = 12, 7


def rounded(tensor: torch.Tensor) -> list:
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: round(float(text), 12))


def gates() -> dict:
    torch.manual_seed(3)
    # Rounded first, so that what is noted is what is computed with.
    logits = torch.tensor(rounded(2 * torch.randn(ROWS, 2, dtype=torch.float64)), dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor(rounded(torch.randn(ROWS, dtype=torch.float64)), dtype=torch.float64)
    torch.manual_seed(4)
    noise = -torch.empty_like(logits).exponential_().log()
    torch.manual_seed(4)
    samples = functional.gumbel_softmax(logits, tau=1, hard=True, dim=-1)[:, 0]
    (samples * upstream).sum().backward()
    return {"logits": rounded(logits), "noise": rounded(noise), "upstream": rounded(upstream),
            "samples": rounded(samples.detach().round()), "gradient": rounded(logits.grad),
            "probabilities": rounded(torch.softmax(logits.detach(), -1)[:, 0])}


def divergence() -> dict:
    torch.manual_seed(5)
    logits = torch.tensor(rounded(2 * torch.randn(ROWS, VOCABULARY, dtype=torch.float64)), dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor(rounded(2 * torch.randn(ROWS, VOCABULARY, dtype=torch.float64)), dtype=torch.float64)
    # kl_div(input, target) is the divergence of input from target, KL(target || input).
    value = functional.kl_div(functional.log_softmax(teacher, -1), functional.log_softmax(logits, -1), reduction="sum", log_target=True)
    value.backward()
    return {"logits": rounded(logits), "teacher": rounded(teacher), "value": value.item(), "gradient": rounded(logits.grad)}


def main() -> None:
    result = {"torch": torch.__version__.split("+")[0], "gates": gates(), "divergence": divergence()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
