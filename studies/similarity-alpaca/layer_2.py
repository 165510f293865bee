#!/usr/bin/env python3
"""Prints what layer 2 is worth, from a similarity study's samples.csv.

Usage: layer_2.py SAMPLES.csv. First: random routes that run layer 2 beside those that skip it. Then:
both kinds of random routes that skip one layer only, by that layer.
"""

import csv
import sys
from collections import defaultdict
from statistics import mean


def layers(text):
    """The layers of a route such as "1,3,5-9"."""
    run = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        run.update(range(int(first), int(last or first) + 1))
    return run


def print_row(name, rows):
    values = [f"{mean(float(row[key]) for row in rows):8.3f}" for key in KEYS]
    print(f"{name:24}{len(rows):8}", *values, sep="")


KEYS = ("final", "intermediate", "nll")

with open(sys.argv[1], newline="") as file:
    samples = list(csv.DictReader(file))
depth = max(max(layers(row["layers"])) for row in samples)

print(f"{'random routes':24}{'samples':>8}   final   inter.  NLL")
for cost in (15, 20, 25, 28):
    of_cost = [row for row in samples if row["route"] == "random" and int(row["cost"]) == cost]
    for runs in (True, False):
        chosen = [row for row in of_cost if (2 in layers(row["layers"])) == runs]
        if chosen:
            print_row(f"{cost} layers, {'with' if runs else 'without'} layer 2", chosen)

skipped = defaultdict(list)
for row in samples:
    if row["route"].startswith("random") and int(row["cost"]) == depth - 1:
        skipped[min(set(range(1, depth + 1)) - layers(row["layers"]))].append(row)
for layer in sorted(skipped):
    print_row(f"all but layer {layer}", skipped[layer])
