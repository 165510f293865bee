"""fathom oracle, end to end."""

import csv
import itertools
import json
import random
import tempfile
import unittest
from pathlib import Path

import report_checks
from program import ProgramTest


def brute_force(rows, costs, budget):
    """The best mean quality of any way to choose within the mean budget, and its least mean cost."""
    best = (float("-inf"), 0)
    for picks in itertools.product(range(len(costs)), repeat=len(rows)):
        cost = sum(costs[k] for k in picks) / len(rows)
        quality = sum(row[k] for row, k in zip(rows, picks)) / len(rows)
        if cost <= budget + 1e-9 and (quality > best[0] + 1e-12 or (quality > best[0] - 1e-12 and cost < -best[1])):
            best = (quality, -cost)
    return best[0], -best[1]


class OracleTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "scores.csv"

    def write(self, header, rows):
        with open(self.file, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)

    def oracle(self, *args):
        return json.loads(self.fathom_ok("oracle", "--scores", self.file, "--json", *args))

    def test_equals_brute_force(self):
        draw = random.Random(3)
        costs = [4, 8, 12, 24]
        rows = [[draw.randrange(5) / 4 for _ in costs] for _ in range(6)]
        self.write(["id", *costs], [[f"row {i}", *row] for i, row in enumerate(rows)])
        budgets = [4, 4.7, 5, 6, 7.3, 9, 11, 12, 15, 24]
        found = self.oracle("--budgets", ",".join(map(str, budgets)))
        self.assertEqual(list(found), ["n", "static", "greedy", "budgets", "match_full", "chi_squared"])
        self.assertEqual(found["n"], 6)
        for k, cost in enumerate(costs):
            self.assertAlmostEqual(found["static"][str(cost)], sum(row[k] for row in rows) / 6, 12)
            self.assertAlmostEqual(found["greedy"][str(cost)], sum(max(row[: k + 1]) for row in rows) / 6, 12)
        self.assertEqual([point["budget"] for point in found["budgets"]], budgets)
        for point in found["budgets"]:
            self.assertEqual(
                list(point), ["budget", "mean_quality", "mean_cost", "shares", "upper_bound", "optimal"]
            )
            quality, cost = brute_force(rows, costs, point["budget"])
            self.assertAlmostEqual(point["mean_quality"], quality, 12)
            self.assertAlmostEqual(point["mean_cost"], cost, 12)
            self.assertIs(point["optimal"], True)
            self.assertGreaterEqual(point["upper_bound"], point["mean_quality"])
            self.assertAlmostEqual(sum(point["shares"].values()), 1)
            self.assertAlmostEqual(sum(int(c) * share for c, share in point["shares"].items()), cost, 12)
        match = found["match_full"]
        self.assertEqual(list(match), ["budget", "share_of_full", "low", "high"])
        self.assertAlmostEqual(match["share_of_full"], match["budget"] / 24)
        self.assertGreaterEqual(brute_force(rows, costs, match["budget"])[0], found["static"]["24"] - 1e-9)
        self.assertLess(brute_force(rows, costs, match["budget"] - 4 / 6)[0], found["static"]["24"])
        self.assertEqual(found["chi_squared"], [])

    def test_budgets_by_default_and_text(self):
        self.write(["id", 4, 24], [["a", 0, 1], ["b", 1, 0.5], ["c", 0.2, 0.2]])
        found = self.oracle()
        self.assertEqual([point["budget"] for point in found["budgets"]], [4 + i / 2 for i in range(41)])
        printed = self.fathom_ok("oracle", "--scores", self.file, "--budgets", "4,24")
        self.assertIn("optimal", printed)
        self.assertIn("The oracle equals depth 24 at a budget of", printed)

    def test_length_bins_and_own_costs(self):
        draw = random.Random(5)
        header = ["id", 4, 24, "label_tokens", "tokens_4", "tokens_24"]
        rows = [
            [i, draw.random(), draw.random(), draw.randint(1, 200), draw.randint(1, 50), draw.randint(1, 50)]
            for i in range(200)
        ]
        self.write(header[:4], [row[:4] for row in rows])
        tests = self.oracle("--budgets", "6")["chi_squared"]
        self.assertEqual([test["budget"] for test in tests], [6, 24])
        for test in tests:
            self.assertEqual(list(test), ["budget", "statistic", "degrees_of_freedom", "p"])
            self.assertEqual(test["degrees_of_freedom"], 10)
            self.assertTrue(0 < test["p"] < 1 and test["statistic"] > 0)
        self.write(header, rows)
        cheapest = sum(min(4 * row[4], 24 * row[5]) for row in rows) / 200
        full = sum(24 * row[5] for row in rows) / 200
        found = self.oracle("--budgets", f"{cheapest},{full},2000")
        best = sum(max(row[1:3]) for row in rows) / 200
        self.assertAlmostEqual(found["budgets"][2]["mean_quality"], best, 12)
        self.assertLessEqual(found["budgets"][0]["mean_cost"], cheapest * (1 + 1e-9))
        self.assertAlmostEqual(found["match_full"]["share_of_full"], found["match_full"]["budget"] / full, 12)

    def test_the_same_seed_gives_the_same_interval(self):
        draw = random.Random(6)
        rows = [[i, *(draw.random() + k / 2 for k in range(3))] for i in range(50)]
        self.write(["id", 4, 8, 12], rows)
        first = self.fathom_ok("oracle", "--scores", self.file, "--json")
        self.assertEqual(self.fathom_ok("oracle", "--scores", self.file, "--json"), first)
        other = self.oracle("--seed", "1")["match_full"]
        match = json.loads(first)["match_full"]
        self.assertNotEqual(other["low"], match["low"])
        self.assertTrue(match["low"] <= match["budget"] <= match["high"])

    def test_out_writes_tables_figures_and_a_report(self):
        draw = random.Random(7)
        self.write(
            ["id", 4, 8, "label_tokens"],
            [[i, draw.random(), draw.random(), draw.randint(1, 99)] for i in range(40)],
        )
        out = self.folder / "new" / "oracle"
        found = self.oracle("--out", out, "--budgets", "4,5,8")
        with open(out / "budgets.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row, point in zip(rows, found["budgets"], strict=True):
            self.assertEqual(float(row["mean_quality"]), point["mean_quality"])
            self.assertEqual(float(row["share_4"]), point["shares"]["4"])
        for figure in ("fig2", "fig8", "fig9"):
            json.loads((out / f"{figure}.vl.json").read_text(encoding="utf-8"))
            self.assertTrue((out / f"{figure}.csv").is_file())
        self.assertIn("The oracle equals depth 8", (out / "report.html").read_text(encoding="utf-8"))
        self.assertEqual(report_checks.check_report(out / "report.html"), [])

    def test_what_cannot_be_used_is_named_by_row_and_column(self):
        for text, words in (
            ("", ["scores.csv", "empty"]),
            ("id,4,8\na,1,2\nb,1\n", ["row 2", "column '8'"]),
            ("id,4,8\na,1,\n", ["row 1", "column '8'"]),
            ("id,4,8\na,nan,1\n", ["row 1", "column '4'", "'nan'"]),
            ("id,4,8\na,1,2,3\n", ["row 1", "4 cells found, 3 expected"]),
            ("id,4,8\n", ["without rows"]),
            ("name,4\na,1\n", ["column 'name'"]),
        ):
            with self.subTest(text):
                self.file.write_text(text, encoding="utf-8")
                self.assert_refused(self.fathom("oracle", "--scores", self.file, "--json"), *words)
        self.write(["id", 4, 8], [["a", 0, 1]])
        for budgets, word in (("3.9", "3.9 is below 4"), ("8,x", "'x'"), ("8,", "''"), ("nan", "'nan'")):
            with self.subTest(budgets):
                result = self.fathom("oracle", "--scores", self.file, "--budgets", budgets)
                self.assert_refused(result, "--budgets", word)
        self.assert_refused(self.fathom("oracle"), "--scores")
        self.assert_refused(self.fathom("oracle", "--scores", self.folder / "none.csv"), "none.csv")
        self.file.with_name("file").write_text("")
        self.assert_refused(
            self.fathom("oracle", "--scores", self.file, "--out", self.file.with_name("file") / "x"), "file"
        )


if __name__ == "__main__":
    unittest.main()
