"""CTranslate2 with int8 weights.

Usage: peer_ctranslate2.py MODEL_FOLDER THREADS
"""

import json
import sys
from pathlib import Path

import ctranslate2

from peer_protocol import Peer, Stopwatch, serve


class CTranslate2(Peer):
    packages = ("ctranslate2",)

    def __init__(self, folder, threads):
        self.generator = ctranslate2.Generator(folder, device="cpu", compute_type="int8", inter_threads=1,
                                               intra_threads=threads)
        self.vocabulary = json.loads((Path(folder) / "vocabulary.json").read_text())

    def _generate(self, prompts, count, callback=None):
        """Exactly `count` tokens for each prompt, greedily."""
        return self.generator.generate_batch(
            [[self.vocabulary[token] for token in prompt] for prompt in prompts], beam_size=1, sampling_topk=1,
            min_length=count, max_length=count, include_prompt_in_result=False, callback=callback)

    def prefill(self, prompt):
        watch = Stopwatch()
        self._generate([prompt], 1)
        return watch.seconds()

    def decode(self, prompts, count):
        # The token that the prompt predicts comes at step 0; `count` steps follow.
        watch, ends = Stopwatch(), {}

        def note(result):
            ends[result.step] = watch.seconds()  # of the step's last sequence
            return False

        self._generate(prompts, count + 1, note)
        if sorted(ends) != list(range(count + 1)):
            raise RuntimeError(f"{count + 1} steps were expected, not {len(ends)}")
        return ends[count] - ends[0]

    def greedy(self, prompt, count):
        return self._generate([prompt], count)[0].sequences_ids[0]


if __name__ == "__main__":
    sys.exit(serve(lambda: CTranslate2(sys.argv[1], int(sys.argv[2]))))
