"""fathom-torch train: a training that is killed, however often and whenever, ends with the bytes of an undisturbed one.

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

    def command(self, kind, out, *options):
        return ["train", kind, "--model", MODEL, "--data", self.data, "--out", out, "--batch", 4, "--save-every", 1,
                "--max-tokens", 48, "--learning-rate", 0.01, "--threads", 1, *options]

    def results(self, out):
        """By name, the bytes of what was trained and what each step logged but its time. Checkpoints may differ or be gone."""
        files = {}
        for path in sorted(out.rglob("*")):
            name = path.relative_to(out)
            if not path.is_file() or {"checkpoint", "checkpoint.old", "checkpoint.new", "best"} & set(name.parts):
                continue
            name = str(name)
            if path.name == "metrics.jsonl":
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                files[name] = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
            elif path.suffix not in (".html", ".part"):  # the one shows tokens a second, the other is what a kill leaves
                files[name] = path.read_bytes()
        return files

    def is_resumed_to_the_bit(self, kind, expected_files, *options):
        whole = self.folder / "whole"
        start = time.monotonic()
        self.fathom_ok(*self.command(kind, whole, *options))
        seconds = time.monotonic() - start
        expected = self.results(whole)
        self.assertLessEqual(expected_files, set(expected))
        draws = random.Random()
        seed = draws.randrange(2 ** 32)
        draws.seed(seed)
        out, kills, ended = None, 0, 0
        while kills < KILLS or out is not None:
            if out is None:
                out = self.folder / f"killed-{ended}"
            process = subprocess.Popen([PROGRAM, *map(str, self.command(kind, out, *options))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
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
            found = self.results(out)
            self.assertEqual(set(found), set(expected), f"draws of seed {seed}")
            for name, content in expected.items():
                # Not assertEqual, which would print the bytes.
                self.assertTrue(found[name] == content, f"{name} differs; draws of seed {seed}")
            out, ended = None, ended + 1
        self.assertGreaterEqual(ended, 1)

    def test_weights(self):
        self.is_resumed_to_the_bit("finetune", {"model/model.safetensors", "metrics.jsonl"}, "--steps", 24, "--depths", "uniform:2,full", "--distill")

    def test_adapter(self):
        self.is_resumed_to_the_bit("finetune", {"adapter/adapter_model.safetensors", "metrics.jsonl"},
                                   "--steps", 24, "--depths", "uniform:2,first:3", "--distill", "--lora-rank", 2)

    def test_adapter_that_is_evaluated(self):
        """The engine answers with the adapter in memory; the best one is what is written."""
        options = ["--steps", 8, "--depths", "uniform:2", "--lora-rank", 2, "--eval-rows", 4, "--eval-every", 2, "--eval-generate", 2, "--eval-tokens", 4]
        self.is_resumed_to_the_bit("finetune", {"adapter/adapter_model.safetensors", "metrics.jsonl"}, *options)
        rows = self.results(self.folder / "whole")["metrics.jsonl"]
        scores = [row["rouge_l"] for row in rows if "evaluation" in row]
        self.assertEqual([list(score) for score in scores], [["uniform:2"]] * 5)
        for score in scores:
            self.assertTrue(0 <= score["uniform:2"] <= 1)

    def test_controllers(self):
        """Several trainings in a row, each with its early stopping."""
        files = {f"alpha-{alpha}/{name}" for alpha in (1, 3) for name in ("controller.safetensors", "metrics.jsonl", "training.json")}
        self.is_resumed_to_the_bit("controllers", files, "--alpha", "1,3", "--held-out", 6, "--epochs", 2, "--patience", 4, "--controller-lr", 0.2)

    def test_controllers_with_their_model(self):
        files = {f"alpha-2/{name}" for name in ("controller.safetensors", "model/model.safetensors", "metrics.jsonl", "training.json")}
        self.is_resumed_to_the_bit("controllers", files, "--alpha", "2", "--held-out", 6, "--epochs", 2, "--patience", 1, "--backbone", "joint")


if __name__ == "__main__":
    unittest.main()
