"""Reads the reference values of golden/ (see its README.md)."""

import json
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

# Where two logits are this close, rounding may decide.
CLOSE = 2e-3


def read_golden(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def agreement(ours, golden, end_tokens):
    """How two greedy sequences compare: None if `ours` is what the golden allows, else a message.

    It may differ from the place on where the golden's two best logits are close; the golden goes on
    after an end token, `ours` stops there.
    """
    for step, (mine, expected) in enumerate(zip(ours, golden["ids"])):
        if mine != expected:
            best, second = golden["logits"][step]
            if best - second <= CLOSE:
                return None
            return f"step {step}: {mine}, expected {expected}, ahead by {best - second:.4f}"
        if mine in end_tokens:
            return None if step + 1 == len(ours) else f"went on after the end token at step {step}"
    return None
