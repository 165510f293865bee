"""Hugging Face transformers in float32, by a loop of its forward pass: what generate() does, with less around it.

Usage: peer_transformers.py MODEL_FOLDER THREADS
"""

import sys

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from peer_protocol import Peer, Stopwatch, serve


class Transformers(Peer):
    packages = ("transformers", "torch")

    def __init__(self, folder, threads):
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()

    def _run(self, tokens, cache):
        """The likeliest next token of each row."""
        output = self.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].argmax(-1, keepdim=True)

    @torch.inference_mode()
    def prefill(self, prompt):
        tokens = torch.tensor([prompt])
        watch = Stopwatch()
        self._run(tokens, DynamicCache(config=self.model.config)).tolist()
        return watch.seconds()

    @torch.inference_mode()
    def decode(self, prompts, count):
        cache = DynamicCache(config=self.model.config)
        tokens = self._run(torch.tensor(prompts), cache)
        watch = Stopwatch()
        for _ in range(count):
            tokens = self._run(tokens, cache)
            tokens.tolist()  # as whoever reads the answer does
        return watch.seconds()

    @torch.inference_mode()
    def greedy(self, prompt, count):
        cache = DynamicCache(config=self.model.config)
        tokens, found = torch.tensor([prompt]), []
        for _ in range(count):
            tokens = self._run(tokens, cache)
            found.append(tokens.item())
        return found


if __name__ == "__main__":
    sys.exit(serve(lambda: Transformers(sys.argv[1], int(sys.argv[2]))))
