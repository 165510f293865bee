"""--adapter, as a person uses it, on a tiny model."""

import json
import random
import shutil
import tempfile
import unittest
from pathlib import Path

from goldens import GOLDEN
from program import ProgramTest

MODEL = GOLDEN / "tiny" / "wide-heads"
ADAPTER = GOLDEN / "adapters" / "llama"
ROWS = [{"id": f"row {i}", "prompt": f"The sea is {i}", "response": " deep and wide" + " and cold" * (i % 3)} for i in range(8)]


class AdapterTest(ProgramTest):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fathom_adapter_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.data = self.folder / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def adapter(self, name="adapter", **changes):
        """A copy of the adapter with other settings."""
        folder = self.folder / name
        shutil.copytree(ADAPTER, folder)
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        (folder / "adapter_config.json").write_text(json.dumps(settings | changes), encoding="utf-8")
        return folder

    def nll(self, model, *args):
        said = json.loads(self.fathom_ok("score", "--model", model, "--raw", "--data", self.data, "--depth", "full,uniform:2",
                                         "--precision", "exact", "--json", *args))
        return [depth["nll"] for depth in said["depths"]], said.get("adapter")

    def test_score_says_which_adapter_and_where_it_acts(self):
        (full, routed), none = self.nll(MODEL)
        self.assertIsNone(none)
        (full_with, routed_with), adapter = self.nll(MODEL, "--adapter", ADAPTER)
        self.assertEqual((adapter["path"], adapter["rows"], adapter["rank"]), (str(ADAPTER), "all", 3))
        self.assertNotAlmostEqual(full_with, full, 2)
        self.assertNotAlmostEqual(routed_with, routed, 2)
        (full_beside, routed_beside), adapter = self.nll(MODEL, "--adapter", self.adapter(fathom_rows="routed"))
        self.assertEqual(adapter["rows"], "routed")
        self.assertEqual(full_beside, full)
        self.assertNotAlmostEqual(routed_beside, routed, 2)
        self.assertNotAlmostEqual(routed_beside, routed_with, 4)

    def test_generate_and_bench_name_it(self):
        said = json.loads(self.fathom_ok("generate", "--model", MODEL, "--raw", "--prompt", "The sea", "--depth", "uniform:2",
                                         "--max-new-tokens", 4, "--adapter", ADAPTER, "--json"))
        self.assertEqual(said["adapter"]["path"], str(ADAPTER))
        bench = ["bench", "--model", MODEL, "--depth", "uniform:2", "--prompt-tokens", 8, "--new-tokens", 4, "--repeat", 1, "--json"]
        plain = json.loads(self.fathom_ok(*bench))
        everywhere = json.loads(self.fathom_ok(*bench, "--adapter", ADAPTER))
        routed = json.loads(self.fathom_ok(*bench, "--adapter", self.adapter(fathom_rows="routed")))
        self.assertNotIn("adapter", plain)
        self.assertEqual(routed["adapter"]["rows"], "routed")
        bytes_of = lambda said: [depth["bytes_per_token"] for depth in said["depths"]]
        self.assertEqual([a > b for a, b in zip(bytes_of(everywhere), bytes_of(plain))], [True, True])
        self.assertEqual([a > b for a, b in zip(bytes_of(routed), bytes_of(plain))], [False, True])

    def test_a_batch_goes_on_with_the_same_adapter_only(self):
        out = self.folder / "out.jsonl"
        batch = ["generate", "--model", MODEL, "--raw", "--batch-file", self.data, "--out", out, "--max-new-tokens", 4]
        self.fathom_ok(*batch, "--adapter", ADAPTER)
        made = [json.loads(line)["made_with"] for line in out.read_text(encoding="utf-8").splitlines()]
        self.assertEqual({len(each["adapter_sha256"]) for each in made}, {64})
        self.fathom_ok(*batch, "--adapter", shutil.copytree(ADAPTER, self.folder / "moved"))
        self.assert_refused(self.fathom(*batch), "adapter_sha256")
        self.assert_refused(self.fathom(*batch, "--adapter", self.adapter(lora_alpha=7)), "adapter_sha256")

    def test_a_study_says_what_it_ran_with(self):
        study = ["study", "oracle", "--model", MODEL, "--raw", "--data", self.data, "--depths", "uniform:1,full",
                 "--max-new-tokens", 4, "--out"]
        untrained, trained = self.folder / "untrained", self.folder / "trained"
        self.assertIn("untrained", self.fathom_ok(*study, untrained) + (untrained / "report.html").read_text(encoding="utf-8"))
        adapter = self.adapter(fathom_rows="routed")
        self.fathom_ok(*study, trained, "--adapter", adapter)
        page = (trained / "report.html").read_text(encoding="utf-8")
        self.assertNotIn("The routes are untrained", page)
        self.assertIn("run with the adapter", page)
        config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["options"]["adapter"]["rows"], "routed")
        self.fathom_ok(*study, trained, "--adapter", shutil.copytree(adapter, self.folder / "moved"))
        self.assert_refused(self.fathom(*study, trained), "adapter")
        self.assert_refused(self.fathom(*study, trained, "--adapter", ADAPTER), "adapter")
        self.assert_refused(self.fathom(*study, untrained, "--adapter", adapter), "adapter")

    def test_studies_of_routes_run_with_a_routed_adapter(self):
        """The full model is the reference, which the adapter leaves alone: with it or without, the same."""
        adapter = self.adapter(fathom_rows="routed")
        nll = {}
        for name, args in (("plain", []), ("with", ["--adapter", adapter])):
            out = self.folder / f"similarity {name}"
            self.fathom_ok("study", "similarity", "--model", MODEL, "--raw", "--data", self.data, "--costs", "1-2",
                           "--routes", "uniform", "--precision", "exact", "--out", out, *args)
            self.fathom_ok("study", "layers", "--model", MODEL, "--raw", "--data", self.data, "--precision", "exact",
                           "--out", self.folder / f"layers {name}", "--random-routes", 2, *args)
            nll[name] = self.nll(MODEL, *args)[0]
        self.assertEqual(nll["plain"][0], nll["with"][0])

    def test_inspect(self):
        text = self.fathom_ok("inspect", ADAPTER)
        for word in ("all rows", "q_proj", "down_proj", "rank               3"):
            self.assertIn(word, text)
        said = json.loads(self.fathom_ok("inspect", ADAPTER, "--json"))
        self.assertEqual((said["kind"], said["rows"], said["rank"], said["alpha"]), ("adapter", "all", 3, 6.0))
        self.assertEqual(len(said["modules"]), 7)
        self.assertEqual(said["tensors_by_type"], {"F32": 2 * sum(said["modules"].values())})
        self.assertEqual(said["bytes"], 4 * said["parameters"])

    def test_merged(self):
        out = self.folder / "merged.gguf"
        self.fathom_ok("convert", MODEL, out, "--type", "f32", "--adapter", ADAPTER)
        beside, _ = self.nll(MODEL, "--adapter", ADAPTER)
        merged, _ = self.nll(out)
        for a, b in zip(beside, merged):
            self.assertAlmostEqual(a, b, 4)
        routed = self.adapter(fathom_rows="routed")
        other = self.folder / "other.gguf"
        refused = self.fathom("convert", MODEL, other, "--type", "f32", "--adapter", routed)
        self.assert_refused(refused, "routed rows only", "--merge-routed")
        self.assertFalse(other.exists())
        self.fathom_ok("convert", MODEL, other, "--type", "f32", "--adapter", routed, "--merge-routed")
        self.assertEqual(other.read_bytes(), out.read_bytes())
        self.assert_refused(self.fathom("convert", MODEL, other, "--type", "f32", "--merge-routed"), "--adapter")

    def test_what_does_not_fit_is_refused(self):
        score = ["score", "--model", MODEL, "--raw", "--data", self.data, "--adapter"]
        self.assert_refused(self.fathom(*score, self.folder / "nowhere"), "adapter_config.json")
        self.assert_refused(self.fathom(*score, GOLDEN / "adapters" / "gpt2"), "c_attn", "q_proj")
        other = "0" * 64
        refused = self.fathom(*score, self.adapter(fathom_base_sha256=other))
        self.assert_refused(refused, "fathom_base_sha256", other, str(MODEL))
        self.assertEqual(len([word for word in refused.err.split() if len(word.strip(";")) == 64]), 2)

    def test_damaged_factors_end_in_an_error_or_in_numbers(self):
        """A bit of a factor that is turned over is another factor; elsewhere it is noticed."""
        folder = self.adapter()
        path = folder / "adapter_model.safetensors"
        whole = path.read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little")
        draws = random.Random(5)
        codes = []
        for place in [draws.randrange(header) for _ in range(25)] + [draws.randrange(header, len(whole)) for _ in range(5)]:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << draws.randrange(8)
            path.write_bytes(damaged)
            result = self.fathom("score", "--model", MODEL, "--raw", "--data", self.data, "--adapter", folder)
            self.assertIn(result.code, (0, 2), (place, result.err))
            if result.code == 2:
                self.assertIn("adapter_model.safetensors", result.err)
            codes.append(result.code)
        self.assertGreater(codes[:25].count(2), 15)


if __name__ == "__main__":
    unittest.main()
