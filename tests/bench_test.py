"""fathom bench: its JSON, and that skipping layers and batches pay. Wants the machine for itself."""

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
        for key, expected in {"prompt_tokens": 128, "new_tokens": 32, "context": 64, "batch": 1, "repeat": 5,
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
                rate = each["bytes_per_step"] * each["decode"]["tokens_per_s"]["median"] / 1e9
                self.assertAlmostEqual(each["gb_per_s"], rate, delta=0.01 * rate)
                self.assertAlmostEqual(each["read_bandwidth_share"],
                                       rate / result["read_bandwidth_gb_per_s"], places=2)
                self.assertEqual(each["decode"]["tokens_per_s_each"], each["decode"]["tokens_per_s"])
        self.assertNotIn("mixed", result)
        full = depths["full"]
        self.assertEqual((full["layers"], full["speedup"], full["ceiling"]), (30, 1, 1))
        for name in ("first:15", "uniform:15"):
            half = depths[name]
            self.assertEqual(half["layers"], 15)
            self.assertGreater(half["speedup"], 1.2)
            self.assertGreater(half["ceiling"], 1.3)
            self.assertLess(half["ceiling"], 2)  # half the layers, and the head remains
            self.assertLess(half["bytes_per_token"], full["bytes_per_token"])

    def test_batch(self):
        args = ["--depth", "uniform:8,uniform:15,full", "--prompt-tokens", 8, "--new-tokens", 8, "--context", 64, "--repeat", 3]
        alone = {each["depth"]: each for each in self.bench(*args)["depths"]}
        result = self.bench(*args, "--batch", 6, "--mixed")
        self.assertEqual(result["batch"], 6)
        for each in result["depths"]:
            with self.subTest(each["depth"]):
                for key in ("median", "minimum", "maximum"):
                    together, one = (each["decode"][name][key] for name in ("tokens_per_s", "tokens_per_s_each"))
                    self.assertAlmostEqual(together, 6 * one, delta=0.001 * together)
                rate = each["bytes_per_step"] * each["decode"]["tokens_per_s_each"]["median"] / 1e9
                self.assertAlmostEqual(each["gb_per_s"], rate, delta=0.01 * rate)
                # The weights are read once for all sequences, which is what a batch is for; caches are not.
                self.assertGreater(each["bytes_per_step"], alone[each["depth"]]["bytes_per_step"])
                self.assertLess(each["bytes_per_step"], 1.2 * alone[each["depth"]]["bytes_per_step"])
                self.assertGreater(each["decode"]["tokens_per_s"]["maximum"],
                                   1.2 * alone[each["depth"]]["decode"]["tokens_per_s"]["median"])
        mixed = result["mixed"]
        self.assertEqual(mixed["sequences"], ["uniform:8", "uniform:15", "full"] * 2)
        self.assertAlmostEqual(mixed["decode"]["tokens_per_s"]["median"], 6 * mixed["decode"]["tokens_per_s_each"]["median"], places=3)
        ratio = mixed["step_time_ratio"]
        self.assertLessEqual(ratio["minimum"], ratio["median"])
        self.assertGreater(ratio["maximum"], 0.7)
        self.assertLess(ratio["minimum"], 1.4)

    def test_text(self):
        args = ["--prompt-tokens", 8, "--new-tokens", 4, "--repeat", 1]
        text = self.fathom_ok("bench", "--depth", "first:3", *args)
        for word in ("read bandwidth", "speed-up", "ceiling", "full", "first:3", "1 at once"):
            self.assertIn(word, text)
        self.assertNotIn("mixed", text)
        text = self.fathom_ok("bench", "--depth", "first:3,first:5", "--batch", 2, "--mixed", *args)
        for word in ("2 at once", "a mixed step takes"):
            self.assertIn(word, text)

    def test_profile(self):
        args = ["--depth", "first:3", "--prompt-tokens", 32, "--new-tokens", 4, "--repeat", 1, "--profile"]
        result = self.bench(*args)
        profiles = result["profiles"]
        self.assertEqual([(each["phase"], each["depth"]) for each in profiles],
                         [("prefill", "full"), ("decode", "full"), ("decode", "first:3")])
        products = {"query, key, value", "attention output", "gate and up", "down"}
        for each, layers, passes in zip(profiles, (30, 30, 3), (1, 4, 4)):
            with self.subTest(each["phase"] + " " + each["depth"]):
                self.assertEqual(each["passes"], passes)
                operations = {one["operation"]: one for one in each["operations"]}
                self.assertLessEqual(products | {"attention", "norm", "head"}, set(operations))
                self.assertEqual("sampling" in operations, each["phase"] == "decode")
                # Operations follow each other: together they take no more than the clock says.
                total = sum(one["seconds"] for one in operations.values())
                self.assertLessEqual(total, each["seconds"] * 1.001)
                self.assertGreater(total, 0.3 * each["seconds"])
                for name in products:
                    self.assertEqual(operations[name]["calls"], layers * passes)
                    self.assertGreater(operations[name]["bytes"], 0)
                for one in operations.values():
                    self.assertAlmostEqual(one["share"], one["seconds"] / each["seconds"], places=6)
        decode = {one["operation"]: one for one in profiles[1]["operations"]}
        # Width 576, 9 + 2 * 3 heads of 64, feed-forward of 1,536, vocabulary of 49,152; 4 steps.
        self.assertEqual(decode["query, key, value"]["multiply_adds"], 4 * 30 * 576 * 15 * 64)
        self.assertEqual(decode["gate and up"]["multiply_adds"], 4 * 30 * 576 * 2 * 1536)
        self.assertEqual(decode["head"]["multiply_adds"], 4 * 576 * 49152)
        # Position 1 to 4 see 2 to 5 positions, in 30 layers: keys and values, 3 heads of 64 numbers
        # of 16 bits; where these are integers, with a scale of 32 bits.
        scale = 4 if result["kernels"] in ("amx", "avx512vnni") else 0
        self.assertEqual(
            decode["attention"]["bytes"], 30 * (2 + 3 + 4 + 5) * 2 * 3 * (64 * 2 + scale)
        )
        text = self.fathom_ok("bench", *args)
        for word in ("prefill, depth full", "decode, depth first:3", "gate and up", "all products"):
            self.assertIn(word, text)

    def test_mistakes(self):
        for args, words in [
            (["--depth", "first:31"], ["first:31", "1 to 30"]),
            (["--depth", "confidence:0.5"], ["confidence:0.5", "no fixed route"]),
            (["--repeat", "0"], ["repeat"]),
            (["--new-tokens", "0"], ["new-tokens"]),
            (["--prompt-tokens", "-1"], ["prompt-tokens"]),
            (["--context", "8192"], ["context", "8192"]),
            (["--threads", "0"], ["threads"]),
            (["--batch", "0"], ["batch"]),
            (["--batch", "1025"], ["batch"]),
            (["--mixed", "--depth", "first:3,full"], ["--mixed", "--batch", "2 policies"]),
        ]:
            with self.subTest(args):
                self.assert_refused(self.fathom("bench", *args), *words)


if __name__ == "__main__":
    unittest.main()
