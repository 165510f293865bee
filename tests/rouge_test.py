"""fathom rouge, end to end."""

import json
import tempfile
import unittest
from pathlib import Path

from goldens import read_golden
from program import ProgramTest


class RougeTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "pairs.jsonl"

    def rouge(self, pairs, *args):
        self.file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
        return self.fathom_ok("rouge", "--pairs", self.file, *args)

    def test_json_is_one_line_a_pair_and_equals_rouge_score(self):
        golden = read_golden("rouge.json")
        for key, args in (("plain", []), ("stemmed", ["--stemmer"])):
            lines = self.rouge(golden["pairs"], "--json", *args).splitlines()
            self.assertEqual(len(lines), len(golden["pairs"]))
            for line, pair in zip(lines, golden["pairs"]):
                scores = json.loads(line)
                self.assertEqual(list(scores), golden["types"])
                self.assertEqual(
                    [list(score) for score in scores.values()],
                    [["precision", "recall", "f1"]] * 4,
                )
                self.assertEqual([list(score.values()) for score in scores.values()], pair[key])

    def test_without_json_the_means_are_printed(self):
        pairs = [
            {"prediction": "the sea", "reference": "the sea"},
            {"prediction": "", "reference": "deep water"},
        ]
        printed = self.rouge(pairs)
        for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"):
            row = next(line.split() for line in printed.splitlines() if line.split()[0] == name)
            self.assertEqual(row, [name, "0.5000", "0.5000", "0.5000"])
        self.assertIn("means of 2 pairs", printed)

    def test_stemmer(self):
        pairs = [{"prediction": "sailing ships", "reference": "a ship sails"}]
        self.assertEqual(json.loads(self.rouge(pairs, "--json"))["rouge1"]["f1"], 0)
        stemmed = json.loads(self.rouge(pairs, "--json", "--stemmer"))
        self.assertAlmostEqual(stemmed["rouge1"]["precision"], 1)
        self.assertAlmostEqual(stemmed["rouge1"]["recall"], 2 / 3)

    def test_what_cannot_be_used_is_named(self):
        good = json.dumps({"prediction": "a", "reference": "b"}) + "\n"
        for text, words in (
            ("", ["pairs.jsonl", "no pairs"]),
            (good + '{"prediction": "a"}\n', ["line 2", "reference"]),
            (good + '{"prediction": 7, "reference": "b"}\n', ["line 2", "prediction"]),
            (good + "[1]\n", ["line 2"]),
            (good + "{\n", ["line 2"]),
        ):
            with self.subTest(text):
                self.file.write_text(text, encoding="utf-8")
                for args in ([], ["--json"]):
                    self.assert_refused(self.fathom("rouge", "--pairs", self.file, *args), *words)
        self.assert_refused(self.fathom("rouge", "--pairs", self.file.with_name("none")), "none")
        self.assert_refused(self.fathom("rouge"), "--pairs")


if __name__ == "__main__":
    unittest.main()
