"""fathom-torch train finetune: a training that is killed, however often and whenever, ends with the weights of an undisturbed one.

FATHOM names fathom-torch. FATHOM_KILLS is how often each training is killed: 3, if nothing is said.
"""

import json
import os
import random
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest

MODEL = Path(__file__).resolve().parent.parent / "golden" / "tiny" / "rope-linear"
KILLS = int(os.environ.get("FATHOM_KILLS", "3"))
WORDS = "the lead line falls through dark water and the man who holds it counts each mark aloud until it lies still".split()


class TrainKillTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        draws = random.Random(1)
        rows = [{"id": str(i), "prompt": " ".join(draws.choices(WORDS, k=3)), "response": " ".join(draws.choices(WORDS, k=6))} for i in range(24)]
        self.data = self.folder / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def command(self, out, *options):
        return ["train", "finetune", "--model", MODEL, "--data", self.data, "--out", out, "--steps", 24, "--batch", 4, "--save-every", 1,
                "--max-tokens", 48, "--learning-rate", 0.01, "--threads", 1, *options]

    def results(self, out):
        """The weights' bytes, and what each step logged but its time."""
        weights = [path.read_bytes() for path in sorted(out.glob("*/*.safetensors")) if path.parent.name in ("model", "adapter")]
        self.assertEqual(len(weights), 1)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for row in rows:
            row.pop("seconds", None)
        return weights[0], rows

    def is_resumed_to_the_bit(self, *options):
        whole = self.folder / "whole"
        start = time.monotonic()
        self.fathom_ok(*self.command(whole, *options))
        seconds = time.monotonic() - start
        expected = self.results(whole)
        draws = random.Random()
        seed = draws.randrange(2 ** 32)
        draws.seed(seed)
        out, kills, ended = None, 0, 0
        while kills < KILLS or out is not None:
            if out is None:
                out = self.folder / f"killed-{ended}"
            process = subprocess.Popen([PROGRAM, *map(str, self.command(out, *options))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                # The last one of all is left to end.
                process.wait(None if kills >= KILLS else draws.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            said = process.communicate()[1].decode()
            if process.returncode < 0:
                continue
            self.assertEqual(process.returncode, 0, said)
            weights, rows = self.results(out)
            self.assertEqual(rows, expected[1], f"draws of seed {seed}")
            self.assertTrue(weights == expected[0], f"other weights; draws of seed {seed}")
            out, ended = None, ended + 1
        self.assertGreaterEqual(ended, 1)

    def test_weights(self):
        self.is_resumed_to_the_bit("--depths", "uniform:2,full", "--distill")

    def test_adapter(self):
        self.is_resumed_to_the_bit("--depths", "uniform:2,first:3", "--distill", "--lora-rank", 2)


if __name__ == "__main__":
    unittest.main()
