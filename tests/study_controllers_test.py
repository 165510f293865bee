"""Skip controllers, as a person runs them: controller:FILE, and fathom study controllers, on a tiny model."""

import csv
import json
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "golden" / "tiny" / "rope-linear"  # 4 layers, a width of 64, a context of 256
LAYERS, WIDTH = 4, 64
WORDS = "sea salt ship rope tide wind sand gull boat net deep calm grey noon rain".split()


def write_controllers(path, kind, alpha, seed, bias):
    """Gates with random weights, of which `bias` is what speaks for executing."""
    draw = random.Random(seed)
    tensors = {}
    for layer in range(1, LAYERS - 1):
        tensors[f"layers.{layer}.gate.weight"] = ([2, WIDTH], [draw.uniform(-0.5, 0.5) for _ in range(2 * WIDTH)])
        tensors[f"layers.{layer}.gate.bias"] = ([2], [bias, 0.0])
    header = {"__metadata__": {
        "format": "fathom skip controllers", "version": "1", "model_layers": str(LAYERS), "gated_layers": f"2-{LAYERS - 1}",
        "input": kind, "alpha": str(alpha), "model_sha256": ""}}
    data = b""
    for name, (shape, values) in tensors.items():
        values = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class ControllersTest(ProgramTest):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fathom_controllers_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, rows, name):
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path


class PolicyTest(ControllersTest):
    def generate(self, path, *more):
        return json.loads(self.fathom_ok("generate", "--model", MODEL, "--raw", "--precision", "exact", "--prompt", "sea salt",
                                         "--max-new-tokens", "60", "--depth", f"controller:{path}", "--json", *more))

    def test_generate(self):
        path = self.folder / "c.safetensors"
        write_controllers(path, "hidden", 2, 1, 0.0)
        result = self.generate(path)
        self.assertEqual((result["depth"], result["route"], result["gates"]), (f"controller:{path}", None, "sample"))
        self.assertGreater(result["mean_layers"], 2)
        self.assertLess(result["mean_layers"], 4)
        again = self.generate(path, "--threads", "1")
        self.assertEqual((again["tokens"], again["mean_layers"]), (result["tokens"], result["mean_layers"]))
        # Another seed draws otherwise; a threshold does not draw.
        self.assertNotEqual(self.generate(path, "--seed", "1")["mean_layers"], result["mean_layers"])
        argmax = self.generate(path, "--gates", "argmax")
        self.assertEqual(self.generate(path, "--gates", "threshold:0.5", "--seed", "1")["tokens"], argmax["tokens"])
        self.assertEqual(argmax["gates"], "argmax")
        self.assertEqual(self.generate(path, "--gates", "threshold:0")["mean_layers"], 4)
        self.assertEqual(self.generate(path, "--gates", "threshold:1")["mean_layers"], 2)

    def test_a_batch_equals_alone(self):
        path = self.folder / "c.safetensors"
        write_controllers(path, "hidden", 2, 1, 0.0)
        rows = [{"id": str(i), "prompt": f"{word} and rope", "depth": depth}
                for i, word in enumerate(WORDS[:6]) for depth in [[f"controller:{path}", "full"][i % 2]]]
        out = self.folder / "out.jsonl"
        arguments = ["generate", "--model", MODEL, "--raw", "--precision", "exact", "--batch-file", self.write(rows, "rows.jsonl"),
                     "--out", out, "--max-new-tokens", "30"]
        self.fathom_ok(*arguments, "--batch", "4")
        for row, line in zip(rows, out.read_text(encoding="utf-8").splitlines(), strict=True):
            answer = json.loads(line)
            alone = json.loads(self.fathom_ok("generate", "--model", MODEL, "--raw", "--precision", "exact", "--prompt", row["prompt"],
                                              "--id", row["id"], "--depth", row["depth"], "--max-new-tokens", "30", "--json"))
            for key in ("tokens", "mean_layers", "route"):
                self.assertEqual(answer[key], alone[key], row)
            self.assertEqual("controllers_sha256" in answer["made_with"], row["depth"] != "full")
        # Other controllers in the file, or another rule: the rows there were made otherwise.
        self.assert_refused(self.fathom(*arguments, "--gates", "argmax"), "gates", "made otherwise")
        write_controllers(path, "hidden", 2, 2, 0.0)
        self.assert_refused(self.fathom(*arguments), "controllers_sha256", "made otherwise")

    def test_score(self):
        path = self.folder / "c.safetensors"
        write_controllers(path, "fixed", 2, 1, -3.0)
        data = self.write([{"id": "a", "prompt": "sea", "response": " ".join(WORDS)}], "data.jsonl")
        result = json.loads(self.fathom_ok("score", "--model", MODEL, "--raw", "--data", data, "--depth", f"full,controller:{path}",
                                           "--gates", "threshold:0", "--json"))
        full, open_gates = result["depths"]
        self.assertEqual((full["nll"], open_gates["nll"], open_gates["mean_layers"]), (open_gates["nll"], full["nll"], 4))
        self.assertEqual(result["gates"], "threshold:0")
        told = self.fathom_ok("score", "--model", MODEL, "--raw", "--data", data, "--depth", f"full,controller:{path}")
        self.assertRegex(told, rf"controller:{path}: mean layers [23]\.\d\n")

    def test_what_is_wrong_is_told(self):
        path = self.folder / "c.safetensors"
        write_controllers(path, "fixed", 2, 1, 0.0)
        arguments = ["generate", "--model", MODEL, "--raw", "--prompt", "x", "--depth"]
        self.assert_refused(self.fathom(*arguments, f"controller:{path}", "--gates", "maybe"), "maybe", "argmax")
        self.assert_refused(self.fathom(*arguments, "controller:none"), "none")
        self.assert_refused(self.fathom(*arguments, f"controller:{MODEL / 'model.safetensors'}"), "model.safetensors", "metadata")
        other = ROOT / "golden" / "families" / "opt"
        told = self.fathom("generate", "--model", other, "--raw", "--prompt", "x", "--depth", f"controller:{path}")
        self.assertEqual(told.code, 2)
        self.assert_refused(self.fathom("bench", "--model", MODEL, "--depth", f"full,controller:{path}"), "no fixed route")


class StudyTest(ControllersTest):
    def grid(self, kind, backbone, biases):
        """What `train controllers` leaves, with controllers made up."""
        out = self.folder / f"{kind}-{backbone}"
        for seed, (alpha, bias) in enumerate(biases.items()):
            folder = out / f"alpha-{alpha}"
            folder.mkdir(parents=True)
            write_controllers(folder / "controller.safetensors", kind, alpha, seed, bias)
            (folder / "training.json").write_text(json.dumps({"options": {"backbone": backbone}}))
            if backbone == "joint":
                shutil.copytree(MODEL, folder / "model")
        return out

    def arguments(self, data, grids, out, *more):
        return ["study", "controllers", "--model", MODEL, "--raw", "--data", data, "--grid", ",".join(map(str, grids)),
                "--max-new-tokens", "20", "--out", out, *more]

    def rows(self, count):
        draw = random.Random(1)
        text = lambda: " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 12)))
        return [{"id": f"row {i}", "prompt": text(), "response": text()} for i in range(count)]

    def test_answers_figures_and_verdicts(self):
        rows = self.rows(12)
        data = self.write(rows, "data.jsonl")
        biases = {2: 2.0, 10: -1.0}
        grids = [self.grid("hidden", "frozen", biases), self.grid("fixed", "frozen", biases), self.grid("fixed", "joint", {2: 0.0})]
        out = self.folder / "run"
        told = self.fathom_ok(*self.arguments(data, grids, out), timeout=300)
        self.assertIn("report.html", told)
        answers = read_csv(out / "answers.csv")
        self.assertEqual(len(answers), 12 * 5)
        # They are what generate gives with the same controllers.
        for answer in [a for a in answers if a["sample"] == "3"]:
            path = self.folder / f"{answer['input']}-{answer['backbone']}" / f"alpha-{answer['alpha']}" / "controller.safetensors"
            alone = json.loads(self.fathom_ok("generate", "--model", MODEL, "--raw", "--prompt", rows[3]["prompt"], "--id", "row 3",
                                              "--depth", f"controller:{path}", "--max-new-tokens", "20", "--json"))
            self.assertEqual(int(answer["tokens"]), len(alone["tokens"]))
            if alone["mean_layers"] is not None:
                self.assertAlmostEqual(float(answer["layers_run"]) / int(answer["passes"]), alone["mean_layers"])
        # The figures: their numbers are those of the answers.
        for row in read_csv(out / "fig7.csv"):
            kind = "hidden" if row["input"] == "hidden state" else "fixed"
            mine = [a for a in answers if (a["input"], a["backbone"], a["alpha"]) == (kind, "frozen", row["alpha"])]
            layers = sum(float(a["layers_run"]) for a in mine) / sum(int(a["passes"]) for a in mine)
            self.assertAlmostEqual(float(row["mean_layers"]), layers, places=4)
            self.assertAlmostEqual(float(row["rouge_l_mean"]), sum(float(a["rouge_l"]) for a in mine) / 12, places=5)
        skips = read_csv(out / "fig6-frozen.csv")
        self.assertEqual(len(skips), 4 * LAYERS)
        for kind in ("hidden state", "fixed input"):
            for alpha in ("2", "10"):
                of_cell = [float(s["skipped"]) for s in skips if (s["input"], s["alpha"]) == (kind, alpha)]
                self.assertEqual((of_cell[0], of_cell[-1]), (0, 0))
                layers = next(float(r["mean_layers"]) for r in read_csv(out / "fig7.csv") if (r["input"], r["alpha"]) == (kind, alpha))
                self.assertAlmostEqual(LAYERS - sum(of_cell), layers, places=4)
        for name in ("fig1b.csv", "fig1b.vl.json", "fig6.csv", "fig7.vl.json", "comparison.csv", "report.html"):
            self.assertTrue((out / name).is_file(), name)
        # In other batches, and from the store alone, the same bytes.
        other = self.folder / "other"
        self.fathom_ok(*self.arguments(data, grids, other, "--batch", "2"), timeout=300)
        for name in ("answers.csv", "comparison.csv", "fig1b.csv", "fig6.csv", "fig7.csv"):
            self.assertEqual((out / name).read_bytes(), (other / name).read_bytes(), name)
        before = (out / "fig7.csv").read_bytes()
        (out / "fig7.csv").unlink()
        self.fathom_ok("report", out)
        self.assertEqual((out / "fig7.csv").read_bytes(), before)

    def test_a_killed_run_goes_on(self):
        data = self.write(self.rows(30), "data.jsonl")
        grids = [self.grid("hidden", "frozen", {2: 1.0}), self.grid("fixed", "frozen", {2: 1.0})]
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.fathom_ok(*self.arguments(data, grids, whole), timeout=300)
        for wait in (0.3, 0.5, 0.8):
            run = subprocess.Popen([PROGRAM, *map(str, self.arguments(data, grids, killed, "--batch", "1"))],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait)
            run.send_signal(signal.SIGKILL)
            run.wait()
        self.fathom_ok(*self.arguments(data, grids, killed), timeout=300)
        for name in ("answers.csv", "fig6.csv", "fig7.csv"):
            self.assertEqual((whole / name).read_bytes(), (killed / name).read_bytes(), name)

    def test_what_is_wrong_is_told(self):
        data = self.write(self.rows(2), "data.jsonl")
        grid = self.grid("hidden", "frozen", {2: 1.0})
        out = self.folder / "run"
        self.assert_refused(self.fathom(*self.arguments(data, [self.folder / "none"], out)), "none")
        self.assert_refused(self.fathom(*self.arguments(data, [grid, grid], out)), "both hidden frozen alpha 2")
        (grid / "alpha-2" / "training.json").unlink()
        self.assert_refused(self.fathom(*self.arguments(data, [grid], out)), "training.json", "not finished")
        (grid / "alpha-2" / "training.json").write_text('{"options": {"backbone": "thawed"}}')
        self.assert_refused(self.fathom(*self.arguments(data, [grid], out)), "backbone", "thawed")


if __name__ == "__main__":
    unittest.main()
