"""fathom-torch train finetune --adapter: a training that begins with an adapter.

FATHOM names fathom-torch.
"""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

from program import ProgramTest

TINY = Path(__file__).resolve().parent.parent / "golden" / "tiny"
WORDS = "the lead line falls through dark water and the man who holds it counts each mark aloud".split()


class TrainAdapterTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        rows = [{"id": str(i), "prompt": " ".join(WORDS[i:i + 3]), "response": " ".join(WORDS[i + 3:i + 8])} for i in range(8)]
        self.data = self.folder / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.first = self.folder / "first" / "adapter"
        self.fathom_ok(*self.command("first", "--lora-rank", 2, "--lora-alpha", 3))

    def command(self, out, *options, model=TINY / "rope-linear"):
        return ["train", "finetune", "--model", model, "--data", self.data, "--out", self.folder / out, "--depths", "uniform:2", "--steps", 4,
                "--eval-rows", 2, "--max-tokens", 48, "--learning-rate", 0.02, "--threads", 1, *options]

    def losses(self, out):
        """By step, those of the evaluations."""
        rows = map(json.loads, (self.folder / out / "metrics.jsonl").read_text().splitlines())
        return {row["step"]: row["mean"] for row in rows if "mean" in row}

    def test_it_begins_where_the_other_ended(self):
        self.fathom_ok(*self.command("second", "--adapter", self.first))
        first, second = self.losses("first"), self.losses("second")
        self.assertEqual(second[0], min(first.values()))  # the best one is what was written
        self.assertNotEqual(second[4], second[0])
        settings = json.loads((self.folder / "second" / "adapter" / "adapter_config.json").read_text())
        self.assertEqual((settings["r"], settings["lora_alpha"], settings["fathom_rows"]), (2, 3, "routed"))

    def test_it_is_not_gone_on_from_with_another(self):
        self.fathom_ok(*self.command("second", "--adapter", self.first))
        result = self.fathom(*self.command("second", "--adapter", self.folder / "second" / "adapter"))
        self.assertEqual(result.code, 2)
        self.assertIn("second/checkpoint", result.err)

    def test_what_does_not_fit_is_refused(self):
        damaged = self.folder / "damaged"
        shutil.copytree(self.first, damaged)
        (damaged / "adapter_model.safetensors").write_bytes((self.first / "adapter_model.safetensors").read_bytes()[:-9])
        uneven = self.folder / "uneven"
        shutil.copytree(self.first, uneven)
        settings = json.loads((uneven / "adapter_config.json").read_text())
        settings["alpha_pattern"] = {"q_proj": 5}
        (uneven / "adapter_config.json").write_text(json.dumps(settings))
        for options, expected in [
            (["--adapter", self.folder / "none"], "none"),
            (["--adapter", damaged], "adapter_model.safetensors"),
            (["--adapter", uneven], "q_proj"),
            (["--adapter", self.first, "--lora-rank", 2], "--lora-rank"),
            (["--lora-alpha", 2], "--lora-rank"),
        ]:
            with self.subTest(options=options):
                result = self.fathom(*self.command("refused", *options))
                self.assertEqual(result.code, 2, result.err)
                self.assertIn(expected, result.err)
        result = self.fathom(*self.command("refused", "--adapter", self.first, model=TINY / "rope-yarn"))
        self.assertEqual(result.code, 2)
        self.assertIn("sha256", result.err.lower().replace("-", ""))


if __name__ == "__main__":
    unittest.main()
