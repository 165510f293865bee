"""fathom study similarity and fathom report, as a person runs them."""

import contextlib
import csv
import html
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "data" / "prompts.jsonl"
COLUMNS = (
    "route,cost,n,final_mean,final_low,final_high,final_normed_mean,intermediate_mean,"
    "intermediate_low,intermediate_high,nll_mean,nll_low,nll_high"
).split(",")


def read_csv(path):
    """The rows of a CSV file, as dictionaries."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class StudyTest(ProgramTest):
    """Runs in a folder of its own."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fathom_study_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "run"

    def arguments(self, *more, data=PROMPTS, out=None):
        """The arguments of a small study."""
        return ["study", "similarity", "--data", data, "--out", out or self.out, *more]

    def study(self, *more, **where):
        return self.fathom(*self.arguments(*more, **where), timeout=300)

    def study_ok(self, *more, **where):
        return self.fathom_ok(*self.arguments(*more, **where), timeout=300)


class SimilarityTest(StudyTest):
    def test_equals_hugging_faces_layers(self):
        golden = json.loads((ROOT / "golden" / "similarity.json").read_text())
        rows = golden["rows"][:8]  # exact mode takes 5 s a row
        costs = sorted({int(route.split(":")[1]) for route in rows[0]["routes"]})
        self.assertEqual((len(rows), len(costs)), (8, 8))
        self.study_ok("--limit", len(rows), "--precision", "exact", "--seed", golden["seed"],
                      "--routes", "first,uniform,random", "--costs", ",".join(map(str, costs)))
        samples = read_csv(self.out / "samples.csv")
        self.assertEqual(len(samples), 8 * 8 * 3)
        by_row = {row["id"]: row for row in rows}
        largest = 0
        for sample in samples:
            expected = by_row[sample["id"]]["routes"][f"{sample['route']}:{sample['cost']}"]
            layers = []
            for part in sample["layers"].split(","):
                first, _, last = part.partition("-")
                layers += range(int(first), int(last or first) + 1)
            self.assertEqual(layers, expected["route"])
            for ours, theirs in (("final", "final"), ("final_normed", "final_normed"),
                                 ("intermediate", "intermediate"), ("nll", "nll_all"),
                                 ("nll_without_first", "nll")):
                if expected[theirs] is None:
                    self.assertEqual(sample[ours], "")
                    continue
                difference = abs(float(sample[ours]) - expected[theirs])
                self.assertLess(difference, 1e-3, (sample, expected))
                largest = max(largest, difference)
        print(f"largest difference from Hugging Face's layers: {largest:.1e}")
        # The table is their means.
        for line in read_csv(self.out / "similarity.csv"):
            values = [row["routes"][f"{line['route']}:{line['cost']}"]["final"] for row in rows]
            self.assertAlmostEqual(float(line["final_mean"]), sum(values) / len(rows), delta=1e-3)

    def test_the_table_and_the_files(self):
        out = self.study_ok("--limit", "3", "--costs", "1,15,29-30")
        for name in ("run.sqlite", "config.json", "similarity.csv", "samples.csv", "report.html",
                     "fig1a.vl.json", "fig1a.csv", "fig3.vl.json", "fig4.vl.json"):
            self.assertTrue((self.out / name).is_file(), name)
        self.assertIn(str(self.out / "report.html"), out)
        lines = (self.out / "similarity.csv").read_text().splitlines()
        self.assertEqual(lines[0].split(","), COLUMNS)
        rows = read_csv(self.out / "similarity.csv")
        self.assertEqual([(row["route"], row["cost"]) for row in rows],
                         [(route, cost)
                          for route in ("first", "random", "random-free", "uniform", "block")
                          for cost in ("1", "15", "29", "30")])
        for row in rows:
            self.assertEqual(row["n"], "3")
            for measure in ("final", "intermediate", "nll"):
                self.assertLessEqual(float(row[f"{measure}_low"]), float(row[f"{measure}_mean"]))
                self.assertLessEqual(float(row[f"{measure}_mean"]), float(row[f"{measure}_high"]))
            if row["cost"] == "30":
                self.assertEqual(row["final_mean"], "1.000000")
                self.assertEqual(row["intermediate_mean"], "1.000000")
        full = {row["nll_mean"] for row in rows if row["cost"] == "30"}
        self.assertEqual(len(full), 1)
        config = json.loads((self.out / "config.json").read_text())
        self.assertEqual(config["options"]["costs"], [1, 15, 29, 30])
        self.assertIn("--limit 3", config["command"])
        self.assertRegex(config["model"]["sha256"], "^[0-9a-f]{64}$")

    def test_the_likelihood_is_that_of_score(self):
        self.study_ok("--limit", "2", "--costs", "20", "--routes", "uniform")
        scored = json.loads(self.fathom_ok("score", "--data", PROMPTS, "--limit", "2", "--depth",
                                           "uniform:20", "--per-token", "--json"))
        for sample, row in zip(read_csv(self.out / "samples.csv"), scored["depths"][0]["rows"]):
            self.assertEqual(sample["id"], row["id"])
            self.assertAlmostEqual(float(sample["nll"]), sum(row["nll"]) / len(row["nll"]),
                                   delta=2e-6)

    def test_on_generated_responses(self):
        self.study_ok("--limit", "2", "--costs", "15,30", "--on", "generated",
                      "--max-new-tokens", "12")
        for sample in read_csv(self.out / "samples.csv"):
            self.assertLessEqual(int(sample["response_tokens"]), 12)
            if sample["cost"] == "30":
                self.assertEqual(sample["final"], "1.000000")
        # The full model finds its own answers likelier than it does others'.
        labels = self.folder / "labels"
        self.study_ok("--limit", "2", "--costs", "30", "--routes", "first", out=labels)
        own = read_csv(self.out / "similarity.csv")[1]
        self.assertLess(float(own["nll_mean"]),
                        float(read_csv(labels / "similarity.csv")[0]["nll_mean"]))

    def test_articles_give_figure_5(self):
        data = self.folder / "articles.jsonl"
        data.write_text(json.dumps({"id": "a", "article": "The sea was calm. A ship came in at "
                                    "noon with salt and rope.", "highlights": "A ship came in."}))
        self.study_ok("--costs", "15,20,30", data=data)
        self.assertTrue((self.out / "fig5.vl.json").is_file())
        self.assertFalse((self.out / "fig1a.vl.json").exists())

    def test_rows_that_do_not_fit_are_left_out_and_counted(self):
        data = self.folder / "long.jsonl"
        rows = [{"id": "long", "prompt": "word " * 9000, "response": "x"},
                {"id": "short", "prompt": "Say yes.", "response": "Yes."}]
        data.write_text("\n".join(map(json.dumps, rows)))
        out = self.study_ok("--costs", "15", data=data)
        self.assertIn("1 of 2 rows were left out", out)
        self.assertEqual(read_csv(self.out / "similarity.csv")[0]["n"], "1")
        # One sample has no interval.
        self.assertEqual(read_csv(self.out / "similarity.csv")[0]["final_low"], "")


class ResumeTest(StudyTest):
    def contents(self):
        """The folder's files; the lock says which process had it last."""
        return {path.name: path.read_bytes() for path in self.out.iterdir() if path.name != "lock"}

    OPTIONS = ("--limit", "6", "--costs", "1,5,8,10,12,15,18,20,22,25,28,29,30")

    def samples_begun(self):
        """Of how many samples the store has results; other programs may read it during a run."""
        if not (self.out / "config.json").exists():
            return 0
        with contextlib.closing(sqlite3.connect(self.out / "run.sqlite")) as store:
            return store.execute("select count(distinct sample) from results").fetchone()[0]

    def test_kills_do_not_change_a_byte(self):
        whole = self.folder / "whole"
        self.study_ok(*self.OPTIONS, out=whole)
        seed = int.from_bytes(os.urandom(4), "little")
        print("seed", seed)
        chance = random.Random(seed)
        killed = 0
        for _ in range(10):
            process = subprocess.Popen([PROGRAM, *map(str, self.arguments(*self.OPTIONS))],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(timeout=chance.uniform(0.05, 1.2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            error = process.communicate()[1].decode()
            self.assertIn(process.returncode, (0, -signal.SIGKILL), error)
        self.assertGreater(killed, 0)
        self.study_ok(*self.OPTIONS)
        for name in ("similarity.csv", "samples.csv", "fig1a.csv", "layers.csv", "fig4.vl.json"):
            self.assertTrue((self.out / name).read_bytes() == (whole / name).read_bytes(), name)

    def test_an_interrupt_keeps_what_was_measured(self):
        process = subprocess.Popen([PROGRAM, *map(str, self.arguments())],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.samples_begun() < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(out, b"")
        self.assertIn("goes on from there", error.decode())
        report = self.fathom_ok("report", self.out)
        self.assertRegex(report, r"Not complete: \d+ of 64 rows")

    def test_more_rows_extend(self):
        self.study_ok("--limit", "2", "--costs", "15,30")
        self.study_ok("--limit", "4", "--costs", "15,30")
        direct = self.folder / "direct"
        self.study_ok("--limit", "4", "--costs", "15,30", out=direct)
        self.assertEqual((self.out / "similarity.csv").read_bytes(),
                         (direct / "similarity.csv").read_bytes())
        self.assert_refused(self.study("--limit", "3", "--costs", "15,30"), "4 rows", "--limit 4")

    def test_other_options_are_refused_and_named(self):
        self.study_ok("--limit", "1", "--costs", "15,30")
        before = self.contents()
        for options, words in (
                (("--costs", "15"), ("costs: [15,30] there, [15] asked for",)),
                (("--costs", "15,30", "--seed", "1"), ("seed: 0 there, 1 asked for",)),
                (("--costs", "15,30", "--precision", "exact"), ("precision: fast there",)),
                (("--costs", "15,30", "--on", "generated"), ("on: labels there",)),
                (("--costs", "15,30", "--raw"), ("prompt: chat there, raw asked for",)),
                (("--costs", "15,30", "--routes", "uniform"), ("routes:",))):
            self.assert_refused(self.study("--limit", "1", *options), str(self.out), *words)
        other = self.folder / "other.jsonl"
        other.write_text(PROMPTS.read_text() + "\n")
        self.assert_refused(self.study("--limit", "1", "--costs", "15,30", data=other), "data:")
        self.assertTrue(before == self.contents(), "the folder changed")

    def test_a_damaged_store_says_what_was_kept(self):
        self.study_ok("--limit", "2", "--costs", "1-10")
        expected = (self.out / "similarity.csv").read_bytes()
        store = self.out / "run.sqlite"
        content = bytearray(store.read_bytes())
        content[content.rindex(b'"final":') + 10] ^= 0x01
        store.write_bytes(content)
        self.assert_refused(self.fathom("report", self.out), "damaged", "results in it are whole")
        result = self.study("--limit", "2", "--costs", "1-10")
        self.assert_refused(result, "run.sqlite", "damaged", "were kept", "run.damaged.sqlite")
        kept = int(re.search(r"(\d+) results are whole", result.err).group(1))
        self.assertGreater(kept, 20)
        self.assertLess(kept, 102)
        self.study_ok("--limit", "2", "--costs", "1-10")
        self.assertEqual((self.out / "similarity.csv").read_bytes(), expected)

    def test_only_one_writes(self):
        first = subprocess.Popen([PROGRAM, *map(str, self.arguments())],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (self.out / "config.json").exists():
                time.sleep(0.02)
            self.assert_refused(self.study(), "another fathom", str(first.pid))
        finally:
            first.kill()
            first.wait()


class RefusalTest(StudyTest):
    def test_bad_options(self):
        self.assert_refused(self.fathom("study"), "subcommand")
        self.assert_refused(self.fathom("study", "similarity"), "--data")
        self.assert_refused(self.fathom("study", "similarity", "--data", PROMPTS), "--out")
        for options, words in (
                (("--costs", "0-3"), ("--costs 0-3", "1 to 30")),
                (("--costs", "31"), ("--costs 31", "1 to 30")),
                (("--costs", "3,x"), ("--costs 3,x", "'x'")),
                (("--costs", "3,3"), ("named twice",)),
                (("--routes", "first,deep"), ("deep",)),
                (("--routes", "first,first"), ("'first' is named twice",)),
                (("--on", "air"), ("labels",)),
                (("--limit", "0"), ("--limit",))):
            self.assert_refused(self.study(*options), *words)
            self.assertFalse(self.out.exists(), options)
        self.assert_refused(self.study(data=self.folder / "none.jsonl"), "none.jsonl")
        self.out.write_text("a file")
        self.assert_refused(self.study("--limit", "1"), str(self.out))

    def test_report_of_no_run(self):
        self.assert_refused(self.fathom("report", self.folder), str(self.folder), "run.sqlite")
        self.assert_refused(self.fathom("report", self.folder / "none"), "none")


class ReportTest(StudyTest):
    def test_is_rebuilt_from_the_store(self):
        self.study_ok("--limit", "3", "--costs", "1,5,10,15,20,25,29,30", "--seed", "4")
        made = {path.name: path.read_bytes() for path in self.out.iterdir()
                if path.suffix in (".csv", ".html") or path.name.endswith(".vl.json")}
        for name in made:
            (self.out / name).unlink()
        self.fathom_ok("report", self.out)
        for name, content in made.items():
            self.assertTrue((self.out / name).read_bytes() == content, name)
        page = html.unescape(re.sub("<[^>]*>", "", made["report.html"].decode()))
        config = json.loads((self.out / "config.json").read_text())
        for text in (config["command"], config["model"]["sha256"], config["data"]["sha256"],
                     "prompts.jsonl", "holds"):
            self.assertIn(text, page)

    def test_opens_in_a_browser_without_a_network(self):
        import report_checks

        self.study_ok("--limit", "3", "--costs", "1,5,10,15,20,25,29,30")
        figures = sorted(self.out.glob("*.vl.json"))
        self.assertEqual(len(figures), 6)
        problems = report_checks.check_report(self.out / "report.html")
        self.assertEqual(problems, [])


if __name__ == "__main__":
    unittest.main()
