"""fathom study layers and the rankings that it makes, as a person runs them."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "data" / "prompts.jsonl"
TINY = ROOT / "golden" / "tiny" / "rope-linear"
MADE = ("routes.csv", "samples.csv", "leave-one-out.csv", "leave-one-out.vl.json", "nll.csv",
        "nll.vl.json", "kept.csv", "kept.vl.json", "ranking.json")


def read_csv(path):
    """The rows of a CSV file, as dictionaries."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def layers_of(text):
    """The layers of a route: "1,3-4" is [1, 3, 4]."""
    layers = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        layers += range(int(first), int(last or first) + 1)
    return layers


class StudyLayersTest(ProgramTest):
    """Runs in a folder of its own, on a tiny model."""

    OPTIONS = {"--limit": 12, "--random-routes": 10, "--beam": 2}

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fathom_layers_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "run"
        # Rows that fit into the tiny model's context of 256.
        self.data = self.folder / "short.jsonl"
        rows = [row for row in PROMPTS.read_text().splitlines() if len(row) < 300]
        self.data.write_text("".join(row + "\n" for row in rows))
        self.depth = json.loads((TINY / "config.json").read_text())["num_hidden_layers"]

    def arguments(self, *more, out=None, data=None):
        """The arguments of a small study; `more` may give OPTIONS other values."""
        options = {**self.OPTIONS, **dict(zip(more[::2], more[1::2]))}
        return ["study", "layers", "--model", TINY, "--data", data or self.data, "--out",
                out or self.out, "--raw", *(word for pair in options.items() for word in pair)]

    def study(self, *more, **where):
        return self.fathom(*self.arguments(*more, **where), timeout=300)

    def study_ok(self, *more, **where):
        return self.fathom_ok(*self.arguments(*more, **where), timeout=300)


class RunTest(StudyLayersTest):
    def test_what_it_makes(self):
        out = self.study_ok()
        for name in (*MADE, "run.sqlite", "config.json", "report.html"):
            self.assertTrue((self.out / name).is_file(), name)
        self.assertIn(str(self.out / "ranking.json"), out)
        routes = read_csv(self.out / "routes.csv")
        by_method = {}
        for row in routes:
            by_method.setdefault(row["method"], []).append(row)
            layers = layers_of(row["layers"])
            self.assertEqual(len(layers), int(row["cost"]))
            self.assertLessEqual(float(row["nll_low"]), float(row["nll_mean"]))
            self.assertLessEqual(float(row["nll_mean"]), float(row["nll_high"]))
        costs = [str(cost) for cost in range(1, self.depth)]
        for method in ("elimination", "beam", "influence", "uniform", "first"):
            self.assertEqual([row["cost"] for row in by_method[method]], costs, method)
        self.assertEqual(len(by_method["leave-one-out"]), self.depth)
        self.assertEqual(len(by_method["random"]), 10)
        self.assertEqual(by_method["full"][0]["excess_mean"], "0.000000")
        # A wide beam holds what elimination holds, so it is no worse where it searched.
        for greedy, beam in zip(by_method["elimination"], by_method["beam"]):
            if int(greedy["cost"]) >= self.depth - 2:
                self.assertLessEqual(float(beam["search_nll"]), float(greedy["search_nll"]))
        # The held-out half is the mean of its samples.
        samples = read_csv(self.out / "samples.csv")
        for row in by_method["uniform"]:
            values = [float(each["nll"]) for each in samples if each["layers"] == row["layers"]]
            self.assertEqual(len(values), int(row["n"]))
            self.assertAlmostEqual(sum(values) / len(values), float(row["nll_mean"]), delta=2e-6)

    def test_the_halves_share_no_row_and_alternate(self):
        self.study_ok()
        held_out = sorted({int(row["sample"]) for row in read_csv(self.out / "samples.csv")})
        self.assertEqual([sample // 2 for sample in held_out], list(range(6)))
        other = self.folder / "other"
        self.study_ok("--seed", "3", out=other)
        self.assertNotEqual(held_out,
                            sorted({int(row["sample"]) for row in read_csv(other / "samples.csv")}))

    def test_the_likelihood_is_that_of_score(self):
        self.study_ok("--max-response-tokens", "1000")
        scored = json.loads(self.fathom_ok(
            "score", "--model", TINY, "--data", self.data, "--limit", "12", "--raw", "--depth",
            "uniform:2", "--per-token", "--json"))["depths"][0]["rows"]
        route = [row["layers"] for row in read_csv(self.out / "routes.csv")
                 if row["method"] == "uniform" and row["cost"] == "2"][0]
        seen = 0
        for sample in read_csv(self.out / "samples.csv"):
            if sample["layers"] == route:
                nll = scored[int(sample["sample"])]["nll"]
                self.assertAlmostEqual(float(sample["nll"]), sum(nll) / len(nll), delta=1e-6)
                seen += 1
        self.assertEqual(seen, 6)

    def test_kills_do_not_change_a_byte(self):
        whole = self.folder / "whole"
        self.study_ok(out=whole)
        seed = int.from_bytes(os.urandom(4), "little")
        print("seed", seed)
        chance = random.Random(seed)
        killed = 0
        for attempt in range(8):
            process = subprocess.Popen([PROGRAM, *map(str, self.arguments())],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                # The first comes early on any machine.
                process.wait(timeout=0.03 if attempt == 0 else chance.uniform(0.02, 0.4))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            error = process.communicate()[1].decode()
            self.assertIn(process.returncode, (0, -signal.SIGKILL), error)
        self.assertGreater(killed, 0)
        self.study_ok()
        for name in MADE:
            self.assertTrue((self.out / name).read_bytes() == (whole / name).read_bytes(), name)

    def test_threads_do_not_change_a_byte(self):
        one = self.folder / "one"
        self.study_ok("--threads", "1", out=one)
        self.study_ok("--threads", "2")
        for name in MADE:
            self.assertTrue((self.out / name).read_bytes() == (one / name).read_bytes(), name)

    def test_more_rows_extend(self):
        self.study_ok("--limit", "8")
        self.study_ok()
        direct = self.folder / "direct"
        self.study_ok(out=direct)
        for name in MADE:
            self.assertTrue((self.out / name).read_bytes() == (direct / name).read_bytes(), name)

    def test_the_report_is_rebuilt_from_the_store(self):
        self.study_ok()
        made = {name: (self.out / name).read_bytes() for name in (*MADE, "report.html")}
        for name in made:
            (self.out / name).unlink()
        self.fathom_ok("report", self.out)
        for name, content in made.items():
            self.assertTrue((self.out / name).read_bytes() == content, name)

    def test_opens_in_a_browser_without_a_network(self):
        import report_checks

        self.study_ok()
        self.assertEqual(len(list(self.out.glob("*.vl.json"))), 3)
        self.assertEqual(report_checks.check_report(self.out / "report.html"), [])


class RefusalTest(StudyLayersTest):
    def test_bad_options(self):
        self.assert_refused(self.fathom("study", "layers"), "--data")
        self.assert_refused(self.fathom("study", "layers", "--data", PROMPTS), "--out")
        for option, value in (("--limit", 0), ("--beam", 0), ("--max-response-tokens", 1),
                              ("--random-routes", -1)):
            self.assert_refused(self.study(option, value), option)
        self.assert_refused(self.study(data=self.folder / "none.jsonl"), "none.jsonl")

    def test_a_half_without_rows(self):
        self.assert_refused(self.study("--limit", "1"), str(self.out), "--limit")

    def test_other_options_are_refused_and_named(self):
        self.study_ok()
        self.assert_refused(self.study("--beam", "3"), "beam: 2 there, 3 asked for")
        self.assert_refused(self.study("--seed", "3"), "seed: 0 there, 3 asked for")

    def test_rows_that_cannot_be_measured_are_left_out_and_said(self):
        data = self.folder / "data.jsonl"
        rows = self.data.read_text().splitlines()[:6]
        rows[2] = json.dumps({"prompt": "a", "response": ""})
        rows[3] = json.dumps({"prompt": "a", "response": "sea " * 5000})
        data.write_text("\n".join(rows) + "\n")
        out = self.study_ok("--max-response-tokens", "100000", data=data)
        self.assertIn("2 of 6 rows were left out", out)


class RankingTest(StudyLayersTest):
    def generate(self, *args):
        return self.fathom("generate", "--model", TINY, "--raw", "--prompt", "the sea",
                           "--max-new-tokens", "4", "--json", *args)

    def test_ranked_reads_what_the_study_wrote(self):
        self.study_ok()
        ranking = json.loads((self.out / "ranking.json").read_text())
        self.assertEqual([route["cost"] for route in ranking["routes"]],
                         list(range(1, self.depth)))
        self.assertEqual(len(set(ranking["eliminated"])), self.depth - 1)
        for route in ranking["routes"]:
            result = self.generate("--depth", f"ranked:{route['cost']}", "--ranking",
                                   self.out / "ranking.json")
            self.assertEqual(json.loads(result.out)["route"], route["layers"])
            self.assertEqual(json.loads(result.out)["depth"], f"ranked:{route['cost']}")
        scored = json.loads(self.fathom_ok(
            "score", "--model", TINY, "--data", self.data, "--limit", "2", "--raw", "--json",
            "--depth", f"ranked:2,layers:{ranking['routes'][1]['layers']}", "--ranking",
            self.out / "ranking.json"))["depths"]
        self.assertEqual(scored[0]["nll"], scored[1]["nll"])

    def test_without_a_ranking_says_how_to_make_one(self):
        self.assert_refused(self.generate("--depth", "ranked:2"), "fathom study layers",
                            "--ranking", str(TINY))

    def test_files_that_are_no_ranking(self):
        path = self.folder / "ranking.json"
        self.assert_refused(self.generate("--depth", "ranked:2", "--ranking", path), str(path))
        path.write_text("{}")
        self.assert_refused(self.generate("--depth", "ranked:2", "--ranking", path), str(path),
                            "format")
        self.study_ok()
        ranking = json.loads((self.out / "ranking.json").read_text())
        ranking["model"]["layers"] += 1
        path.write_text(json.dumps(ranking))
        self.assert_refused(self.generate("--depth", "ranked:2", "--ranking", path), str(path),
                            "layers")

    def test_the_default_model_has_one(self):
        shipped = json.loads((ROOT / "models" / "smollm2-135m-instruct-q4_1.json").read_text())
        for route in shipped["routes"]:
            if route["cost"] not in (18, 22, 26):
                continue
            result = json.loads(self.fathom_ok("generate", "--prompt", "the sea", "--json",
                                               "--max-new-tokens", "2", "--depth",
                                               f"ranked:{route['cost']}"))
            self.assertEqual(result["route"], route["layers"])
        self.assert_refused(self.fathom("generate", "--prompt", "a", "--depth", "ranked:31"),
                            "ranked:31", "30")


if __name__ == "__main__":
    unittest.main()
