"""fathom inspect: the default model's shapes, sizes and ceilings, as text and as JSON."""

import json
import os
import unittest

from program import ProgramTest, model_path


class InspectTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.model = model_path()

    def inspect(self, *args):
        return json.loads(self.fathom_ok("inspect", *args, "--json"))

    def test_shapes_of_the_default_model(self):
        result = self.inspect()
        for key, expected in {
            "architecture": "llama",
            "layers": 30,
            "width": 576,
            "heads": 9,
            "kv_heads": 3,
            "head_dim": 64,
            "ffn_width": 1536,
            "vocabulary": 49152,
            "tied_head": True,
        }.items():
            self.assertEqual(result[key], expected, key)

    def test_parts_add_up(self):
        result = self.inspect()
        parts = result["parts"]
        self.assertEqual(len(parts["layers"]), 30)
        for key in ("parameters", "bytes"):
            summed = sum(layer[key] for layer in parts["layers"])
            summed += sum(parts[name][key] for name in ("embedding", "output_norm", "head"))
            self.assertEqual(summed, parts["total"][key])
        self.assertEqual(parts["total"]["parameters"], 134515008)
        size = os.path.getsize(self.model)
        self.assertLess(parts["total"]["bytes"], size)
        self.assertGreater(parts["total"]["bytes"], 0.95 * size)

    def test_shares_and_ceilings(self):
        result = self.inspect()
        shares = result["token_bytes"]
        self.assertAlmostEqual(shares["head_share"] + 30 * shares["layer_share"], 1, places=6)
        ceilings = {each["layers"]: each["speedup"] for each in result["ceilings"]}
        self.assertEqual(sorted(ceilings), list(range(1, 31)))
        self.assertAlmostEqual(ceilings[30], 1)
        self.assertAlmostEqual(ceilings[15], 1 / (1 - 15 * shares["layer_share"]), places=2)
        for layers in range(2, 31):
            self.assertLess(ceilings[layers], ceilings[layers - 1])

    def test_model_as_argument_option_and_environment(self):
        default = self.inspect()
        self.assertEqual(self.inspect(self.model), default)
        self.assertEqual(self.inspect("--model", self.model), default)
        by_environment = self.fathom_ok("inspect", "--json", env={"FATHOM_MODEL": self.model})
        self.assertEqual(json.loads(by_environment), default)

    def test_text_says_the_same(self):
        text = self.fathom_ok("inspect")
        result = self.inspect()
        self.assertRegex(text, r"layers +30\n")
        self.assertRegex(text, rf"total +{result['parts']['total']['parameters']} ")
        self.assertIn(f"head {100 * result['token_bytes']['head_share']:.1f}%", text)

    def test_no_such_model(self):
        for path in ("/nonexistent/model.gguf", "/"):
            self.assert_refused(self.fathom("inspect", path), path)
        missing = {"FATHOM_MODEL": "/nonexistent/default.gguf"}
        self.assert_refused(self.fathom("inspect", env=missing), "make model", "--model")


if __name__ == "__main__":
    unittest.main()
