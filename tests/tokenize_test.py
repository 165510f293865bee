"""fathom tokenize and detokenize: every way in, the goldens, the mistakes."""

import json
import unittest

from goldens import read_golden
from program import ProgramTest


def json_lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


class Converter(ProgramTest):
    """Runs the two commands and reads what they print."""

    def tokenize(self, *args, **options):
        return json.loads(self.fathom_ok("tokenize", *args, **options))

    def convert(self, command, values, *args):
        out = self.fathom_ok(command, "--lines", *args, input=json_lines(values))
        self.assertTrue(out == "" or out.endswith("\n"))
        return [json.loads(line) for line in out.split("\n")[:-1]]


class TokenizeTest(Converter):
    def test_argument_standard_input_and_lines_agree(self):
        text = "How deep is the sea? 1234\n\u00e9\u6d77\U0001f30a "
        ids = self.tokenize(text)
        self.assertGreater(len(ids), 8)
        self.assertEqual(self.tokenize(input=text), ids)
        self.assertEqual(self.convert("tokenize", [text]), [ids])
        self.assertEqual(self.tokenize("--json", text), {"tokens": ids})

    def test_one_object_on_one_line(self):
        self.assertEqual(self.fathom_ok("tokenize", "").split("\n"), ["[]", ""])
        self.assertEqual(self.fathom_ok("tokenize", "The sea").count("\n"), 1)

    def test_special_tokens(self):
        text = "<|im_start|>user<|im_end|>"
        special = self.tokenize(text)
        self.assertEqual((special[0], special[-1]), (1, 2))
        plain = self.tokenize("--no-special", text)
        self.assertNotIn(1, plain)
        self.assertNotIn(2, plain)
        self.assertEqual(self.convert("tokenize", [text], "--no-special"), [plain])
        self.assertEqual(self.convert("detokenize", [special, plain]), [text, text])

    def test_detokenize_every_way(self):
        ids = self.tokenize("How deep is the sea?")
        self.assertEqual(self.fathom_ok("detokenize", json.dumps(ids)), "How deep is the sea?\n")
        self.assertEqual(
            self.fathom_ok("detokenize", input=json.dumps(ids)), "How deep is the sea?\n"
        )
        as_json = json.loads(self.fathom_ok("detokenize", "--json", json.dumps(ids)))
        self.assertEqual(as_json, {"text": "How deep is the sea?"})

    def test_no_lines_in_no_lines_out(self):
        self.assertEqual(self.fathom_ok("tokenize", "--lines"), "")
        self.assertEqual(self.fathom_ok("detokenize", "--lines"), "")

    def test_last_line_needs_no_line_end(self):
        self.assertEqual(len(self.fathom_ok("tokenize", "--lines", input='"a"\n"b"').split()), 2)

    def test_mistakes_name_the_line(self):
        for command, lines in {
            "tokenize": ['"a"\n5\n', '"a"\n"b\n', '"a"\n\n', '"a"\n["b"]\n', '"a"\n"\\ud800"\n'],
            "detokenize": ['[1]\n"a"\n', "[1]\n[1.5]\n", "[1]\n[-1]\n", "[1]\n[49152]\n",
                           "[1]\n[1\n", "[1]\n[99999999999999999999]\n", "[1]\n[[1]]\n"],
        }.items():
            for text in lines:
                with self.subTest(command, text=text):
                    result = self.fathom(command, "--lines", input=text)
                    self.assertEqual(result.code, 2, result)
                    self.assertIn("line 2", result.err)
                    # The first line was right and its result is out.
                    self.assertEqual(result.out.count("\n"), 1)

    def test_bad_ids(self):
        for ids in ("", "abc", "[1", "{}", "[-1]", "[1.5]", "[49152]", "[2147483648]", '["a"]'):
            with self.subTest(ids):
                self.assert_refused(self.fathom("detokenize", ids), "token id")

    def test_bad_options(self):
        self.assert_refused(self.fathom("tokenize", "--lines", "--json"), "--json", "--lines")
        self.assert_refused(self.fathom("tokenize", "two", "texts"), "texts")
        self.assert_refused(self.fathom("tokenize", "--model", "/nonexistent", "a"), "/nonexistent")


class GoldenTest(Converter):
    """By Hugging Face's tokenizers (golden/tokens.py)."""

    @classmethod
    def setUpClass(cls):
        cls.strings = read_golden("hard_strings.json")
        cls.all = read_golden("tokens.json")
        cls.golden = cls.all["default-model"]

    def test_enough_hard_strings(self):
        self.assertGreaterEqual(len(self.strings), 200)

    def test_ids(self):
        for string, ours, expected in zip(
            self.strings, self.convert("tokenize", self.strings), self.golden["ids"], strict=True
        ):
            self.assertEqual(ours, expected, ascii(string))

    def test_ids_with_special_tokens_as_text(self):
        differ = self.golden["ids_as_text"]
        ours = self.convert("tokenize", self.strings, "--no-special")
        for number, ids in enumerate(self.golden["ids"]):
            expected = differ.get(str(number), ids)
            self.assertEqual(ours[number], expected, ascii(self.strings[number]))

    def test_round_trip(self):
        differ = self.golden["decoded"]
        ours = self.convert("detokenize", self.golden["ids"])
        for number, string in enumerate(self.strings):
            self.assertEqual(ours[number], differ.get(str(number), string), ascii(string))

    def test_texts_of_random_ids(self):
        ours = self.convert("detokenize", self.golden["random_ids"])
        self.assertEqual(ours, self.golden["random_texts"])


if __name__ == "__main__":
    unittest.main()
