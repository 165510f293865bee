"""Gradients of torch's attention on a CPU, in bfloat16 and by way of float32, by length.

    python bench/peers/train_attention.py [--heads 9] [--kv-heads 3] [--head-dim 64] [--threads N]

Milliseconds forward and back for 8 sequences. Up to which length the second is the faster is what src/nn/training_pass.cc goes by (attention_type).
Needs torch.
"""

import argparse
import os
import statistics
import time

import torch


def attend(query, key, value):
    heads = [each.transpose(1, 2) for each in (query, key, value)]
    return torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)


def milliseconds(work, repeats=15) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heads", type=int, default=9)
    parser.add_argument("--kv-heads", type=int, default=3)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("positions  bfloat16   float32")
    for positions in (32, 64, 96, 127, 128, 160, 192, 224, 256, 384, 512):
        states = [torch.randn(8, positions, heads, arguments.head_dim, dtype=torch.bfloat16, requires_grad=True)
                  for heads in (arguments.heads, arguments.kv_heads, arguments.kv_heads)]
        direction = torch.randn(8, arguments.heads, positions, arguments.head_dim, dtype=torch.bfloat16)
        narrow = milliseconds(lambda: torch.autograd.grad(attend(*states), states, direction))
        wide = milliseconds(lambda: torch.autograd.grad(attend(*(each.float() for each in states)).bfloat16(), states, direction))
        print(f"{positions:9} {narrow:9.2f} {wide:9.2f}")


if __name__ == "__main__":
    main()
