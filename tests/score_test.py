"""fathom score: likelihoods against the goldens, kinds of rows, mistakes."""

import json
import math
import tempfile
import unittest
from pathlib import Path

from goldens import read_golden
from program import ProgramTest, model_path

TOLERANCE = 2e-3


def short(policy):
    """A policy as fathom writes it: neighbouring layers as a range."""
    kind, _, argument = policy.partition(":")
    if kind != "layers":
        return policy
    ranges = []
    for layer in map(int, argument.split(",")):
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    return "layers:" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


class ScoreTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        model_path()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "rows.jsonl"

    def write(self, rows):
        self.file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def score(self, rows, *args):
        self.write(rows)
        return json.loads(self.fathom_ok("score", "--data", self.file, "--json", *args))

    def refuse(self, text, *words, args=()):
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with self.subTest(text[:60], args=args):
            result = self.fathom("score", "--data", self.file, *args)
            self.assert_refused(result, *words)

    def against_goldens(self, chat):
        golden = read_golden("engine.json")
        prompts = [prompt for prompt in golden["prompts"] if prompt["chat"] == chat]
        self.assertEqual(len(prompts), 10)
        routes = list(prompts[0]["nll"])
        end = "<|im_end|>" if chat else ""
        rows = [{"id": prompt["name"], "prompt": prompt["text"], "response": prompt["response"] + end}
                for prompt in prompts]
        raw = [] if chat else ["--raw"]
        result = self.score(rows, *raw, "--per-token", "--precision", "exact", "--depth", ",".join(routes))
        self.assertEqual([depth["depth"] for depth in result["depths"]], [short(r) for r in routes])
        for route, depth in zip(routes, result["depths"]):
            everything = []
            for row, prompt in zip(depth["rows"], prompts, strict=True):
                self.assertEqual(row["id"], prompt["name"])
                self.assertEqual(row["prompt_tokens"], prompt["ids"])
                self.assertEqual(row["response_tokens"], prompt["response_ids"])
                expected = prompt["nll"][route]
                everything.append(expected)
                for step, (ours, theirs) in enumerate(zip(row["nll"], expected, strict=True)):
                    self.assertAlmostEqual(ours, theirs, delta=TOLERANCE,
                                           msg=f"{prompt['name']} {route} token {step}")
            tokens = [value for values in everything for value in values]
            later = [value for values in everything for value in values[1:]]
            self.assertAlmostEqual(depth["nll"], sum(tokens) / len(tokens), delta=TOLERANCE)
            self.assertAlmostEqual(depth["nll_without_first"], sum(later) / len(later), delta=TOLERANCE)
        self.assertEqual(result["rows"], 10)
        self.assertEqual(result["tokens"], sum(len(p["response_ids"]) for p in prompts))

    def test_goldens_raw(self):
        self.against_goldens(chat=False)

    def test_goldens_chat(self):
        self.against_goldens(chat=True)

    def test_perplexity(self):
        rows = [{"prompt": "The sea is", "response": " deep and blue."}]
        for depth in self.score(rows, "--raw", "--depth", "full,first:20")["depths"]:
            self.assertAlmostEqual(depth["perplexity"], math.exp(depth["nll"]), places=6)
            self.assertAlmostEqual(depth["perplexity_without_first"],
                                   math.exp(depth["nll_without_first"]), places=6)

    def test_fast_is_near_exact(self):
        rows = [{"prompt": p["text"], "response": p["response"]}
                for p in read_golden("engine.json")["prompts"] if p["chat"]]
        exact, fast = (self.score(rows, "--precision", precision)["depths"][0]["perplexity"]
                       for precision in ("exact", "fast"))
        self.assertAlmostEqual(fast / exact, 1, delta=0.02)

    def test_likely_answers_score_better(self):
        good, bad = (self.score([{"prompt": "What is the capital of France?", "response": answer}])
                     for answer in ("The capital of France is Paris.", "Paris capital is the of. France"))
        self.assertLess(good["depths"][0]["nll"] + 1, bad["depths"][0]["nll"])

    def test_shape_without_per_token(self):
        result = self.score([{"prompt": "a", "response": "b c"}], "--raw")
        self.assertEqual(set(result), {"data", "precision", "threads", "kernels", "seed", "rows", "tokens", "depths"})
        self.assertEqual(set(result["depths"][0]),
                         {"depth", "nll", "perplexity", "nll_without_first", "perplexity_without_first", "mean_layers"})
        self.assertEqual(result["depths"][0]["mean_layers"], 30)

    def test_one_token_leaves_nothing_without_the_first(self):
        depth = self.score([{"prompt": "The sea", "response": " is"}], "--raw")["depths"][0]
        self.assertGreater(depth["nll"], 0)
        self.assertIsNone(depth["nll_without_first"])
        self.assertIsNone(depth["mean_layers"])

    def test_alpaca_rows(self):
        instruction, given = "Name the animal.", "It barks."
        alpaca = {"instruction": instruction, "input": given, "output": " A dog."}
        prompt = ("Below is an instruction that describes a task. Write a response that appropriately "
                  "completes the request.\n\n"
                  "### Instruction:\nName the animal.\n\n### Input:\nIt barks.\n\n### Response:")
        raw = self.score([alpaca], "--raw", "--per-token")["depths"]
        same = self.score([{"prompt": prompt, "response": " A dog."}], "--raw", "--per-token")["depths"]
        self.assertEqual(raw, same)
        chat = self.score([{**alpaca, "input": ""}], "--per-token")["depths"]
        self.assertEqual(
            chat, self.score([{"prompt": instruction, "response": " A dog."}], "--per-token")["depths"])

    def test_rows_do_not_depend_on_each_other(self):
        rows = [{"id": str(i), "prompt": "The sea", "response": f" is {i} deep"} for i in range(3)]
        depth = ["--raw", "--per-token", "--depth", "random:15", "--seed", "3"]
        together = self.score(rows, *depth)["depths"][0]["rows"]
        alone = [self.score([row], *depth)["depths"][0]["rows"][0] for row in rows]
        self.assertEqual(together, alone)

    def test_confidence(self):
        rows = [{"id": str(i), "prompt": "The sea", "response": f" is {i} meters deep and quite cold."} for i in range(3)]
        depths = ["--raw", "--per-token", "--depth", "full,confidence:0.02,confidence:1"]
        full, low, never = self.score(rows, *depths)["depths"]
        self.assertEqual(full["nll"], never["nll"])
        self.assertEqual(never["mean_layers"], 30)
        self.assertTrue(1 <= low["mean_layers"] < 30, low["mean_layers"])
        self.assertNotEqual(full["nll"], low["nll"])
        alone = [self.score([row], *depths)["depths"][1]["rows"][0] for row in rows]
        self.assertEqual(low["rows"], alone)
        self.write(rows)
        text = self.fathom_ok("score", "--data", self.file, *depths)
        self.assertIn(f"confidence:0.02: mean layers {low['mean_layers']:.1f}\n", text)

    def test_limit(self):
        rows = [{"prompt": "a", "response": " b"}] * 3
        self.assertEqual(self.score(rows, "--raw", "--limit", "2")["rows"], 2)

    def test_text(self):
        rows = [{"id": "one", "prompt": "The sea", "response": " is deep."}]
        as_json = self.score(rows, "--raw", "--per-token", "--depth", "full,uniform:28")
        text = self.fathom_ok("score", "--data", self.file, "--raw", "--per-token",
                              "--depth", "full,uniform:28")
        for depth in as_json["depths"]:
            values = "\t".join(f"{value:.6f}" for value in depth["rows"][0]["nll"])
            self.assertIn(f"one\t{depth['depth']}\t{values}\n", text)
            self.assertRegex(text, rf"{depth['depth']} +{depth['nll']:.4f} +{depth['perplexity']:.4f}")
        self.assertIn(f"1 rows, {as_json['tokens']} response tokens", text)

    def test_bad_rows_name_file_and_line(self):
        good = '{"prompt": "a", "response": "b"}\n'
        for bad in ('{"prompt": "a"}', '{"prompt": 1, "response": "b"}', "not json", "[]", "3",
                    '{"instruction": "a"}', '{"text": "a"}', '{"prompt": "a", "response": "b"'):
            self.refuse(good + bad + "\n", str(self.file), "line 2")
        self.refuse(good.encode() + b'{"prompt": "\xff", "response": "b"}\n', str(self.file), "line 2")

    def test_rows_that_cannot_be_scored_name_file_and_row(self):
        self.refuse('{"id": "x7", "prompt": "a", "response": ""}', str(self.file), "x7", "response")
        self.refuse('{"id": "x7", "prompt": "", "response": "b"}', str(self.file), "x7", "prompt",
                    args=["--raw"])
        long = "sea " * 9000
        self.refuse(json.dumps({"id": "x7", "prompt": long, "response": "b"}), "x7", "prompt", "context")
        self.refuse(json.dumps({"id": "x7", "prompt": "a", "response": long}), "x7", "response", "context")

    def test_mistakes(self):
        self.refuse("", str(self.file), "no rows")
        row = '{"prompt": "a", "response": "b"}'
        for option, words in {
            "--depth=first:31": ["31", "1 to 30"], "--depth=full,": ["depth"], "--depth=router:r@4": ["router", "not available"],
            "--limit=0": ["limit"], "--seed=-1": ["seed"], "--precision=half": ["precision"],
        }.items():
            self.refuse(row, *words, args=[option])
        self.assert_refused(self.fathom("score"), "--data")
        self.assert_refused(self.fathom("score", "--data", "/nonexistent"), "/nonexistent")
        self.assert_refused(self.fathom("score", "--data", "/"), "/")


if __name__ == "__main__":
    unittest.main()
