"""fathom bench: its JSON, and that skipping layers pays. Wants the machine for itself."""

import json
import unittest

from program import ProgramTest, model_path


class BenchTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        model_path()

    def bench(self, *args):
        return json.loads(self.fathom_ok("bench", *args, "--json"))

    def test_json_and_speed(self):
        result = self.bench("--depth", "first:15,uniform:15", "--prompt-tokens", 128, "--new-tokens", 32,
                            "--context", 64, "--repeat", 5)
        for key, expected in {"prompt_tokens": 128, "new_tokens": 32, "context": 64, "repeat": 5,
                              "precision": "fast"}.items():
            self.assertEqual(result[key], expected)
        self.assertGreater(result["read_bandwidth_gb_per_s"], 1)
        depths = {each["depth"]: each for each in result["depths"]}
        self.assertEqual(list(depths), ["full", "first:15", "uniform:15"])  # full is always measured
        for name, each in depths.items():
            with self.subTest(name):
                for phase in ("prefill", "decode"):
                    speed = each[phase]["tokens_per_s"]
                    self.assertGreater(speed["minimum"], 1)
                    self.assertLessEqual(speed["minimum"], speed["median"])
                    self.assertLessEqual(speed["median"], speed["maximum"])
                rate = each["bytes_per_token"] * each["decode"]["tokens_per_s"]["median"] / 1e9
                self.assertAlmostEqual(each["gb_per_s"], rate, delta=0.01 * rate)
                self.assertAlmostEqual(each["read_bandwidth_share"],
                                       rate / result["read_bandwidth_gb_per_s"], places=2)
        full = depths["full"]
        self.assertEqual((full["layers"], full["speedup"], full["ceiling"]), (30, 1, 1))
        for name in ("first:15", "uniform:15"):
            half = depths[name]
            self.assertEqual(half["layers"], 15)
            self.assertGreater(half["speedup"], 1.2)
            self.assertGreater(half["ceiling"], 1.3)
            self.assertLess(half["ceiling"], 2)  # half the layers, and the head remains
            self.assertLess(half["bytes_per_token"], full["bytes_per_token"])

    def test_text(self):
        text = self.fathom_ok("bench", "--depth", "first:3", "--prompt-tokens", 8, "--new-tokens", 4,
                              "--repeat", 1)
        for word in ("read bandwidth", "speed-up", "ceiling", "full", "first:3"):
            self.assertIn(word, text)

    def test_mistakes(self):
        for args, words in [
            (["--depth", "first:31"], ["first:31", "1 to 30"]),
            (["--depth", "confidence:1"], ["confidence"]),
            (["--repeat", "0"], ["repeat"]),
            (["--new-tokens", "0"], ["new-tokens"]),
            (["--prompt-tokens", "-1"], ["prompt-tokens"]),
            (["--context", "8192"], ["context", "8192"]),
            (["--threads", "0"], ["threads"]),
        ]:
            with self.subTest(args):
                self.assert_refused(self.fathom("bench", *args), *words)


if __name__ == "__main__":
    unittest.main()
