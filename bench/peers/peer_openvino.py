"""OpenVINO GenAI, which reads the GGUF file itself.

Usage: peer_openvino.py MODEL.gguf THREADS
"""

import sys

import numpy
import openvino
import openvino_genai

from peer_protocol import Peer, Stopwatch, serve


class OpenVino(Peer):
    packages = ("openvino-genai", "openvino")

    def __init__(self, path, threads):
        self.pipeline = openvino_genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads,
                                                   PERFORMANCE_HINT="LATENCY")

    def _generate(self, prompts, count):
        """Exactly `count` tokens for each prompt, greedily."""
        tokens = openvino.Tensor(numpy.array(prompts, dtype=numpy.int64))
        config = openvino_genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False,
                                                 apply_chat_template=False)
        return self.pipeline.generate(tokens, config)

    def prefill(self, prompt):
        watch = Stopwatch()
        self._generate([prompt], 1)
        return watch.seconds()

    def decode(self, prompts, count):
        # The token that the prompt predicts comes first; `count` steps follow. Times are in milliseconds, whatever
        # the documentation says, so they are held against the clock.
        watch = Stopwatch()
        raw = self._generate(prompts, count + 1).perf_metrics.raw_metrics
        all_seconds = watch.seconds()
        if len(raw.m_new_token_times) != count + 1:
            raise RuntimeError(f"{count + 1} steps were expected, not {len(raw.m_new_token_times)}")
        seconds = (raw.m_new_token_times[-1] - raw.m_new_token_times[0]) / 1e3
        if not all_seconds / 50 < seconds <= all_seconds:
            raise RuntimeError(f"its metrics say {seconds} s of {all_seconds} s")
        return seconds

    def greedy(self, prompt, count):
        return list(self._generate([prompt], count).tokens[0])


if __name__ == "__main__":
    sys.exit(serve(lambda: OpenVino(sys.argv[1], int(sys.argv[2]))))
