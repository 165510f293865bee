"""Models of every kind that is read: the tiny Hugging Face folders and GGUF files of golden/."""

import json
import unittest

from goldens import GOLDEN
from program import ProgramTest

TOLERANCE = 2e-3


def tiny_models():
    """(model, its expected.json) of each."""
    folders = [(path, path / "expected.json") for path in sorted((GOLDEN / "tiny").iterdir())]
    files = [(path, path.with_suffix(".expected.json")) for path in sorted((GOLDEN / "tiny_gguf").glob("*.gguf"))]
    return folders + files


class ModelFolderTest(ProgramTest):
    def test_all_are_there(self):
        models = tiny_models()
        self.assertGreaterEqual(sum(path.is_dir() for path, _ in models), 6)
        self.assertGreaterEqual(sum(path.is_file() for path, _ in models), 11)

    def test_inspect(self):
        for model, _ in tiny_models():
            with self.subTest(model.name):
                result = json.loads(self.fathom_ok("inspect", model, "--json"))
                self.assertEqual((result["path"], result["vocabulary"]), (str(model), 384))
                self.assertEqual(result["layers"], len(result["parts"]["layers"]))
                self.assertGreater(result["parts"]["layers"][0]["bytes"], 0)

    def test_first_token(self):
        """The prompts' ids as text, and the token that transformers' logits make the likeliest."""
        compared = 0
        for model, expected in tiny_models():
            for prompt in json.loads(expected.read_text())["prompts"]:
                decoded = self.fathom_ok("detokenize", "--model", model, "--json", json.dumps(prompt["ids"]))
                text = json.loads(decoded)["text"]
                if "\0" in text:  # no argument can hold it
                    continue
                with self.subTest(model.name, tokens=len(prompt["ids"])):
                    result = json.loads(self.fathom_ok(
                        "generate", "--model", model, "--raw", "--prompt", text, "--precision", "exact",
                        "--max-new-tokens", 1, "--logprobs", 5, "--json"))
                    if result["prompt_tokens"] != prompt["ids"]:  # other ids can say the same
                        continue
                    compared += 1
                    best = sorted(range(384), key=lambda i: -prompt["last"][i])
                    token = result["tokens"][0]
                    self.assertLessEqual(prompt["last"][best[0]] - prompt["last"][token], TOLERANCE)
                    chosen = result["logprobs"][0]["alternatives"]
                    for each in chosen[1:]:
                        self.assertAlmostEqual(
                            chosen[0]["logprob"] - each["logprob"],
                            prompt["last"][chosen[0]["token"]] - prompt["last"][each["token"]],
                            delta=2 * TOLERANCE)
        self.assertGreaterEqual(compared, 17)

    def test_generate_at_every_depth_and_precision(self):
        for model, _ in tiny_models():
            layers = json.loads(self.fathom_ok("inspect", model, "--json"))["layers"]
            for args in (["--depth", "first:1"], ["--depth", f"uniform:{layers}", "--precision", "exact"]):
                with self.subTest(model.name, args=args):
                    result = json.loads(self.fathom_ok(
                        "generate", "--model", model, "--raw", "--prompt", "The sea is 12 deep.",
                        "--max-new-tokens", 80, "--json", *args))
                    self.assertGreater(len(result["tokens"]), 0)
                    if result["mean_layers"] is not None:
                        self.assertEqual(result["mean_layers"], 1 if "first:1" in args else layers)
            past = f"first:{layers + 1}"
            self.assert_refused(
                self.fathom("generate", "--model", model, "--raw", "--prompt", "a", "--depth", past), past)

    def test_answer_ends_where_the_context_does(self):
        model = GOLDEN / "tiny" / "width-60"
        result = json.loads(self.fathom_ok("generate", "--model", model, "--raw", "--prompt", "The sea",
                                           "--max-new-tokens", 1000, "--json"))
        total = len(result["prompt_tokens"]) + len(result["tokens"])
        if result["stop_reason"] == "context":
            self.assertEqual(total, 256 + 1)  # the last token needs no position
        else:
            self.assertEqual(result["stop_reason"], "end_token")
            self.assertLessEqual(total, 256)


if __name__ == "__main__":
    unittest.main()
