"""fathom study oracle, as a person runs it, on a tiny model."""

import contextlib
import csv
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

import report_checks
from program import PROGRAM, ProgramTest

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "golden" / "tiny" / "rope-linear"  # 4 layers, a context of 256
DEPTHS = "uniform:1,layers:1,4,first:3,full"
POLICIES = ["uniform:1", "layers:1,4", "first:3", "full"]
WORDS = "sea salt ship rope tide wind sand gull boat net deep calm grey noon rain".split()
# What has seconds in it, and the lock, which says whose run it was.
TIMED = {"seconds.csv", "seconds.vl.json", "report.html", "run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "lock"}


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def some_rows(count, seed=1):
    """Rows with prompts and labels of different lengths."""
    draw = random.Random(seed)
    text = lambda most: " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))
    return [{"id": f"row {i}", "prompt": text(12), "response": text(80)} for i in range(count)]


class OracleStudyTest(ProgramTest):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fathom_study_oracle_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "run"

    def write(self, rows, name="data.jsonl"):
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def arguments(self, data, *more, out=None, depths=DEPTHS):
        return ["study", "oracle", "--model", MODEL, "--raw", "--data", data, "--depths", depths,
                "--out", out or self.out, *more]

    def study(self, data, *more, **where):
        return self.fathom(*self.arguments(data, *more, **where), timeout=300)

    def study_ok(self, data, *more, **where):
        return self.fathom_ok(*self.arguments(data, *more, **where), timeout=300)

    def stored(self, out=None):
        """{(sample, route): value} of all that was measured, without what is in seconds."""
        with contextlib.closing(sqlite3.connect((out or self.out) / "run.sqlite")) as store:
            rows = store.execute("select sample, route, value from results order by sample, route").fetchall()
        result = {}
        for sample, route, value in rows:
            value = json.loads(value)
            value.pop("seconds", None)
            if route != "step seconds":
                result[sample, route] = value
        return result

    def labelled(self, rows, *options):
        """The rows with labels of words that the model says itself, on one depth or another and in
        one draw or another, so that scores are not all 0."""
        first = self.folder / "first"
        self.study_ok(self.write(rows, "first.jsonl"), *options, out=first)
        draw = random.Random(2)
        labels = {}
        for (sample, route), value in sorted(self.stored(first).items()):
            words = re.findall("[a-z0-9]+", value.get("text", "").lower())
            if route != "row":
                labels.setdefault(sample, []).append(words)
        return [{**row, "response": " ".join([*draw.choice(labels[i]), *draw.choice(labels[i]), row["response"][:20]])}
                for i, row in enumerate(rows)]

    def assert_same_results(self, one, other):
        self.assertEqual(self.stored(one), self.stored(other))
        names = {path.name for path in one.iterdir()} - TIMED
        self.assertGreater(len(names), 10)
        for name in names - {"config.json"}:  # it holds the command
            self.assertTrue((one / name).read_bytes() == (other / name).read_bytes(), name)


class ResultsTest(OracleStudyTest):
    def test_answers_scores_and_the_oracle(self):
        rows = self.labelled(some_rows(50), "--max-new-tokens", "40")
        data = self.write(rows)
        out = self.study_ok(data, "--max-new-tokens", "40")
        self.assertIn(str(self.out / "report.html"), out)
        stored = self.stored()
        self.assertEqual(len(stored), 50 * 5)

        # The answers are those that generate gives, in the same batch or in another.
        batch = self.write([{"id": f"{i} {policy}", "prompt": row["prompt"], "depth": policy}
                            for i, row in enumerate(rows[:8]) for policy in POLICIES], "batch.jsonl")
        answers = self.folder / "answers.jsonl"
        self.fathom_ok("generate", "--model", MODEL, "--raw", "--batch-file", batch, "--out", answers,
                       "--max-new-tokens", "40", "--batch", "3")
        for line in answers.read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            sample, _, policy = answer["id"].partition(" ")
            found = stored[int(sample), policy]
            self.assertEqual(found["tokens"], answer["tokens"])
            self.assertEqual(found["text"], answer["text"])
            self.assertEqual(found["count"], len(answer["tokens"]))
            self.assertEqual(found["capped"], found["end"] == "max_new_tokens")

        # Scores are ROUGE-L's F1 without stemming.
        keys = [key for key in stored if key[1] in POLICIES]
        pairs = self.write([{"prediction": stored[key]["text"], "reference": rows[key[0]]["response"]}
                            for key in keys], "pairs.jsonl")
        rouge = self.fathom_ok("rouge", "--pairs", pairs, "--json").splitlines()
        for key, line in zip(keys, rouge, strict=True):
            self.assertEqual(stored[key]["rouge_l"], json.loads(line)["rougeL"]["f1"], key)
        for policy in POLICIES:
            self.assertGreater(sum(stored[key]["rouge_l"] > 0 for key in keys if key[1] == policy), 3, policy)
        scores = read_csv(self.out / "scores.csv")
        self.assertEqual(list(scores[0]), ["id", "1", "2", "3", "4", "label_tokens"])
        for i, row in enumerate(scores):
            self.assertEqual(row["id"], rows[i]["id"])
            self.assertEqual([float(row[cost]) for cost in "1234"],
                             [stored[i, policy]["rouge_l"] for policy in POLICIES])

        # `fathom oracle` makes the same of them.
        again = self.folder / "again"
        found = json.loads(self.fathom_ok("oracle", "--scores", self.out / "scores.csv", "--json", "--out", again))
        self.assertEqual((again / "budgets.csv").read_bytes(), (self.out / "budgets.csv").read_bytes())
        for name in ("fig2.csv", "fig8.csv", "fig9.csv", "fig8.vl.json", "fig9.vl.json"):
            self.assertTrue((again / name).read_bytes() == (self.out / name).read_bytes(), name)
        report = (self.out / "report.html").read_text(encoding="utf-8")
        self.assertIn("untrained", report)
        self.assertIn(f"at a budget of {found['match_full']['budget']:.4g} layers", report)
        tokens = self.folder / "tokens"
        self.fathom_ok("oracle", "--scores", self.out / "scores_tokens.csv", "--out", tokens)
        self.assertEqual((tokens / "fig2.csv").read_bytes(), (self.out / "tokens.csv").read_bytes())

        # The share of answers that were cut off, and the seconds.
        for row, policy in zip(read_csv(self.out / "depths.csv"), POLICIES, strict=True):
            capped = [stored[i, policy]["capped"] for i in range(50)]
            self.assertEqual(row["depth"], policy)
            self.assertAlmostEqual(float(row["capped"]), sum(capped) / 50)
            self.assertAlmostEqual(float(row["tokens"]), sum(stored[i, policy]["count"] for i in range(50)) / 50, 4)
        with contextlib.closing(sqlite3.connect(self.out / "run.sqlite")) as store:
            (text,) = store.execute("select value from results where route = 'step seconds'").fetchone()
        steps = json.loads(text)
        self.assertEqual(list(steps), POLICIES)
        least = sum(min(stored[i, policy]["count"] * steps[policy] for policy in POLICIES) for i in range(50)) / 50
        self.assertAlmostEqual(float(read_csv(self.out / "seconds.csv")[0]["budget"]) / least, 1, 4)
        self.assertEqual(report_checks.check_report(self.out / "report.html"), [])

    def test_drawn_answers_tell_luck(self):
        options = ("--generations", "2", "--temperature", "1.5", "--max-new-tokens", "30")
        data = self.write(self.labelled(some_rows(45), *options))
        out = self.study_ok(data, *options)
        self.assertRegex(out, r"split +-?[\d.]+ of [\d.]+ ROUGE-L")
        stored = self.stored()
        self.assertEqual(len(stored), 45 * (1 + 3 * 4))
        texts = {key: stored[key]["tokens"] for key in stored if key[1] != "row"}
        self.assertGreater(sum(texts[i, "full draw 1"] != texts[i, "full draw 2"] for i in range(45)), 30)
        # Greedy answers are those of a study without draws.
        plain = self.folder / "plain"
        self.study_ok(data, "--max-new-tokens", "30", out=plain)
        self.assertEqual((plain / "scores.csv").read_bytes(), (self.out / "scores.csv").read_bytes())
        gains = {float(row["gain"]) for row in read_csv(self.out / "sampling.csv") if row["estimate"] == "split"}
        self.assertGreater(max(gains), 0)
        estimates = {row["estimate"] for row in read_csv(self.out / "sampling.csv")}
        self.assertEqual(estimates, {"permuted", "split"})
        self.assertEqual({row["estimate"] for row in read_csv(plain / "sampling.csv")}, {"permuted"})
        other = self.folder / "other"
        self.study_ok(data, *options, "--seed", "1", out=other)
        self.assertEqual((other / "scores.csv").read_bytes(), (self.out / "scores.csv").read_bytes())
        self.assertNotEqual((other / "sampling.csv").read_bytes(), (self.out / "sampling.csv").read_bytes())

    def test_articles_give_figure_10(self):
        rows = [{"id": str(i), "article": row["prompt"], "highlights": row["response"]}
                for i, row in enumerate(some_rows(3))]
        self.study_ok(self.write(rows), "--max-new-tokens", "4")
        self.assertTrue((self.out / "fig10.vl.json").is_file())
        self.assertFalse((self.out / "fig2.vl.json").exists())

    def test_rows_that_do_not_fit_are_left_out_and_counted(self):
        rows = [{"id": "long", "prompt": "sea " * 300, "response": "x"},
                {"id": "short", "prompt": "Say yes.", "response": "Yes."},
                {"id": "no label", "prompt": "Say no.", "response": ""}]
        out = self.study_ok(self.write(rows), "--max-new-tokens", "4")
        self.assertIn("2 of 3 rows were left out", out)
        self.assertEqual([row["id"] for row in read_csv(self.out / "scores.csv")], ["short"])
        nothing = self.study(self.write(rows[:1], "long.jsonl"), out=self.folder / "none")
        self.assert_refused(nothing, "nothing to report")

    def test_the_report_is_rebuilt_from_the_store(self):
        self.study_ok(self.write(some_rows(5)), "--max-new-tokens", "6")
        made = {path.name: path.read_bytes() for path in self.out.iterdir()
                if path.suffix in (".csv", ".html") or path.name.endswith(".vl.json")}
        for name in made:
            (self.out / name).unlink()
        self.fathom_ok("report", self.out)
        for name, content in made.items():
            self.assertTrue((self.out / name).read_bytes() == content, name)


class DataTest(OracleStudyTest):
    def ids(self, out):
        return [row["id"] for row in read_csv(out / "scores.csv")]

    def test_splits_are_seeded_and_share_no_row(self):
        data = self.write(some_rows(20))
        parts = {}
        for split in ("train", "validation", "test"):
            out = self.folder / split
            self.study_ok(data, "--split", split, "--max-new-tokens", "1", out=out, depths="full")
            parts[split] = self.ids(out)
        self.assertEqual([len(part) for part in parts.values()], [14, 3, 3])
        self.assertEqual(sorted(sum(parts.values(), [])), sorted(row["id"] for row in some_rows(20)))
        other = self.folder / "other"
        self.study_ok(data, "--split", "test", "--split-seed", "1", "--max-new-tokens", "1", out=other, depths="full")
        self.assertNotEqual(self.ids(other), parts["test"])
        self.study_ok(data, "--split", "test", "--limit", "2", "--max-new-tokens", "1", depths="full")
        self.assertEqual(self.ids(self.out), parts["test"][:2])
        self.assert_refused(self.study(data, "--split", "test", "--limit", "2", "--split-seed", "1",
                                       "--max-new-tokens", "1", depths="full"), "split_seed: 0 there, 1 asked for")
        few = self.write(some_rows(1), "few.jsonl")
        self.assert_refused(self.study(few, "--split", "test", out=self.folder / "none"), "few.jsonl", "too few", "test")

    def test_rows_of_any_shape(self):
        rows = some_rows(3)
        same = self.write([{"id": row["id"], "prompt": f"Q: {row['prompt']} {{a}}", "response": row["response"]}
                           for row in rows])
        self.study_ok(same, "--max-new-tokens", "5")
        asked = self.write([{"id": row["id"], "q": row["prompt"], "gold": row["response"], "prompt": 3}
                            for row in rows], "asked.jsonl")
        out = self.folder / "asked"
        options = ("--template", "Q: {q} {{a}}", "--response-field", "gold", "--max-new-tokens", "5")
        self.study_ok(asked, *options, out=out)
        self.assertEqual(self.stored(out), self.stored())
        out = self.folder / "field"
        whole = self.write([{"id": row["id"], "q": f"Q: {row['prompt']} {{a}}", "gold": row["response"]}
                            for row in rows], "whole.jsonl")
        self.study_ok(whole, "--prompt-field", "q", "--response-field", "gold", "--max-new-tokens", "5", out=out)
        self.assertEqual(self.stored(out), self.stored())
        # The same options, where other commands read such rows.
        shared = ("--model", MODEL, "--raw", "--data", asked, "--template", "Q: {q}", "--response-field", "gold")
        self.assertIn("3 rows", self.fathom_ok("score", *shared))
        self.fathom_ok("study", "similarity", *shared, "--split", "train", "--costs", "2,4", "--out", self.folder / "s")
        self.assertEqual(read_csv(self.folder / "s" / "similarity.csv")[0]["n"], "2")

    def test_bad_rows_are_named_by_file_line_and_field(self):
        good = json.dumps(some_rows(1)[0])
        for bad, words in (("{", []), ("[]", ["object"]), ('{"prompt":"a"}', ["'response'"]),
                           ('{"prompt":7,"response":"a"}', ["'prompt'"]),
                           ('{"instruction":"a"}', ["'output'"]),
                           ('{"article":"a","highlights":2}', ["'highlights'"]),
                           ('{"text":"a"}', ["instruction"])):
            data = self.folder / "bad.jsonl"
            data.write_text(f"{good}\n\n{bad}\n")
            self.assert_refused(self.study(data), "bad.jsonl: line 3", *words)
        data.write_text('{"q":"a","gold":"b"}\n{"q":"a","gold":null}\n{"q":5,"gold":"b"}\n')
        fields = ("--prompt-field", "q", "--response-field", "gold")
        self.assert_refused(self.study(data, *fields), "bad.jsonl: line 2", "'gold'")
        self.assert_refused(self.study(data, "--template", "{q}{r}", "--response-field", "gold"), "line 1", "'r'")
        data.write_text('{"q":"a","gold":"b"}\n{"q":5,"gold":"b"}\n')
        self.assert_refused(self.study(data, *fields), "bad.jsonl: line 2", "'q'", "string")
        self.assert_refused(self.study(data, "--prompt-field", "q"), "--response-field")
        self.assert_refused(self.study(data, "--response-field", "gold"), "--prompt-field")
        self.assert_refused(self.study(data, *fields, "--template", "{q}"), "give one of them")
        self.assert_refused(self.study(data, "--template", "{q", "--response-field", "gold"), "'{q'")
        self.assertFalse(self.out.exists())


class ResumeTest(OracleStudyTest):
    OPTIONS = ("--max-new-tokens", "150", "--generations", "2", "--threads", "1")

    def answers_there(self):
        if not (self.out / "config.json").exists():
            return 0
        with contextlib.closing(sqlite3.connect(self.out / "run.sqlite")) as store:
            return store.execute("select count(*) from results where route != 'row'").fetchone()[0]

    def start(self, *arguments):
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        return process

    def wait_for_answers(self, count, process):
        deadline = time.monotonic() + 60
        while self.answers_there() < count and process.poll() is None:
            self.assertLess(time.monotonic(), deadline, "no answers in a minute")
            time.sleep(0.002)

    def test_kills_do_not_change_a_bit(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print("seed", seed)
        draw = random.Random(seed)
        data = self.write(self.labelled(some_rows(60), *self.OPTIONS))
        whole = self.folder / "whole"
        self.study_ok(data, *self.OPTIONS, out=whole)
        killed = 0
        for _ in range(3):
            there = self.answers_there()
            batch = draw.choice((1, 5, 32))
            process = self.start(*self.arguments(data, *self.OPTIONS, "--batch", batch))
            self.wait_for_answers(there + draw.randint(1, 150), process)
            time.sleep(draw.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            _, error = process.communicate()
            self.assertIn(process.returncode, (0, -signal.SIGKILL), error)
            killed += process.returncode != 0
            self.assertGreaterEqual(self.answers_there(), there, "an answer that was there is lost")
        self.assertGreaterEqual(killed, 2)
        result = self.study(data, *self.OPTIONS)
        self.assertEqual(result.code, 0, result)
        self.assert_same_results(whole, self.out)

    def test_neither_batch_nor_threads_matter(self):
        data = self.write(some_rows(12))
        one, other = self.folder / "one", self.folder / "other"
        self.study_ok(data, "--max-new-tokens", "30", "--batch", "1", "--threads", "1", out=one)
        self.study_ok(data, "--max-new-tokens", "30", "--batch", "100", "--threads", "2", out=other)
        self.assert_same_results(one, other)

    def test_an_interrupt_keeps_what_was_answered(self):
        data = self.write(some_rows(60))
        process = self.start(*self.arguments(data, *self.OPTIONS))
        self.wait_for_answers(6, process)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, error)
        self.assertEqual(out, b"")
        self.assertIn(b"goes on from there", error)
        self.assertNotIn(b"\r", error)  # no progress in a pipe
        there = self.answers_there()
        result = self.study(data, *self.OPTIONS)
        self.assertEqual(result.code, 0, result)
        # Step times and the answers that were there are not made again.
        self.assertIn(f"{60 * 12 + 1 - there} answers:", result.err)

    def test_a_larger_limit_extends(self):
        data = self.write(some_rows(8))
        options = ("--max-new-tokens", "9")
        self.study_ok(data, "--limit", "3", *options)
        self.study_ok(data, "--limit", "8", *options)
        direct = self.folder / "direct"
        self.study_ok(data, *options, out=direct)
        self.assert_same_results(direct, self.out)
        self.assert_refused(self.study(data, "--limit", "5", *options), "8 rows", "--limit 8")

    def test_other_options_are_refused_and_named(self):
        data = self.write(some_rows(2))
        base = {"--max-new-tokens": "5"}
        self.study_ok(data, "--max-new-tokens", "5")
        before = self.stored()
        for options, words in (({"--max-new-tokens": "6"}, ("max_new_tokens: 5 there, 6 asked for",)),
                               ({"--seed": "3"}, ("seed: 0 there, 3 asked for",)),
                               ({"--generations": "2"}, ("generations: 0 there, 2 asked for", "temperature")),
                               ({"--precision": "exact"}, ("precision: fast there",)),
                               ({"--split": "train"}, ("split: nothing there, train asked for",))):
            given = [word for pair in (base | options).items() for word in pair]
            self.assert_refused(self.study(data, *given), str(self.out), *words)
        self.assert_refused(self.study(data, "--max-new-tokens", "5", depths="uniform:2,full"), "depths:")
        similarity = self.fathom("study", "similarity", "--model", MODEL, "--raw", "--data", data, "--out", self.out)
        self.assert_refused(similarity, "study: oracle there, similarity asked for")
        self.assertEqual(self.stored(), before)

    def test_a_damaged_store_keeps_what_is_whole(self):
        data = self.write(some_rows(10))
        self.study_ok(data, "--max-new-tokens", "30")
        expected = self.stored()
        store = self.out / "run.sqlite"
        content = bytearray(store.read_bytes())
        content[content.rindex(b'"rouge_l":') + 11] ^= 0x01
        store.write_bytes(content)
        self.assert_refused(self.fathom("report", self.out), "damaged", "whole")
        self.assert_refused(self.study(data, "--max-new-tokens", "30"), "run.sqlite", "were kept")
        self.study_ok(data, "--max-new-tokens", "30")
        self.assertEqual(self.stored(), expected)

    def test_progress_on_a_terminal(self):
        data = self.write(some_rows(30))
        seen = self.fathom_on_terminal(*self.arguments(data, "--max-new-tokens", "150", "--batch", "2"))
        self.assertRegex(seen, r"\r\d+ of 120 answers, [\d.e+]+ a second, \d+ s left")


class RankedTest(OracleStudyTest):
    DEPTHS = "ranked:2,ranked:3,full"

    def rankings(self, data):
        """The path of a ranking of the model, and of another whose route of 2 layers differs."""
        made = self.folder / "layers"
        self.fathom_ok("study", "layers", "--model", MODEL, "--raw", "--data", data, "--random-routes", "2", "--out", made)
        ranking = json.loads((made / "ranking.json").read_text(encoding="utf-8"))
        route = next(each for each in ranking["routes"] if each["cost"] == 2)
        route["layers"] = "1-2" if route["layers"] != "1-2" else "1,3"
        other = self.folder / "other.json"
        other.write_text(json.dumps(ranking), encoding="utf-8")
        return made / "ranking.json", other

    def test_routes_are_the_rankings_and_kept(self):
        data = self.write(some_rows(8))
        ranking, other = self.rankings(data)
        options = ("--max-new-tokens", "12", "--ranking")
        self.study_ok(data, *options, ranking, depths=self.DEPTHS)
        routes = {route["cost"]: route["layers"] for route in json.loads(ranking.read_text())["routes"]}
        config = json.loads((self.out / "config.json").read_text())
        self.assertEqual(config["options"]["ranked_layers"], {f"ranked:{cost}": routes[cost] for cost in (2, 3)})
        # Answers are those of the same layers, listed.
        listed = self.folder / "listed"
        self.study_ok(data, "--max-new-tokens", "12", out=listed,
                      depths=f"layers:{routes[2]},layers:{routes[3]},full")
        self.assertEqual((listed / "scores_tokens.csv").read_bytes(), (self.out / "scores_tokens.csv").read_bytes())
        there = self.stored(listed)
        for cost in (2, 3):
            for sample in range(8):
                self.assertEqual(self.stored()[sample, f"ranked:{cost}"], there[sample, f"layers:{routes[cost]}"])

        # Another ranking is refused, naming both routes; a copy that has the same routes is not.
        before = self.stored()
        changed = {each["cost"]: each["layers"] for each in json.loads(other.read_text())["routes"]}[2]
        self.assert_refused(self.study(data, *options, other, depths=self.DEPTHS), str(self.out),
                            "ranked_layers", f'"ranked:2":"{routes[2]}"', f'"ranked:2":"{changed}"')
        self.assertEqual(self.stored(), before)
        copy = self.folder / "copy.json"
        ranking.rename(copy)
        self.study_ok(data, *options, copy, depths=self.DEPTHS)

        # A report needs no ranking.
        copy.unlink()
        made = {name: (self.out / name).read_bytes() for name in ("scores.csv", "depths.csv", "report.html")}
        for name in made:
            (self.out / name).unlink()
        self.fathom_ok("report", self.out)
        for name, content in made.items():
            self.assertTrue((self.out / name).read_bytes() == content, name)

    def test_without_a_ranking_says_how_to_make_one(self):
        data = self.write(some_rows(1))
        self.assert_refused(self.study(data, depths=self.DEPTHS), "fathom study layers", "--ranking", str(MODEL))
        none = self.folder / "none.json"
        self.assert_refused(self.study(data, "--ranking", none, depths=self.DEPTHS), str(none))
        self.assertFalse(self.out.exists())


class RefusalTest(OracleStudyTest):
    def test_bad_options(self):
        data = self.write(some_rows(1))
        for depths, words in (("uniform:2", ("full is missing",)),
                              ("", ("--depths",)),
                              ("full,deep", ("'deep'",)),
                              ("full,confidence:0.5", ("confidence:0.5", "no fixed route")),
                              ("full,uniform:5", ("uniform:5", "1 to 4")),
                              ("full,uniform:0", ("uniform:0", "from 1")),
                              ("full,first:2,uniform:2", ("first:2", "uniform:2", "both run 2 layers")),
                              ("full,uniform:4", ("uniform:4", "full", "both run 4 layers"))):
            self.assert_refused(self.study(data, depths=depths), *words)
        for options, words in ((("--generations", "1"), ("--generations",)),
                               (("--temperature", "0"), ("--temperature",)),
                               (("--max-new-tokens", "0"), ("--max-new-tokens",)),
                               (("--batch", "0"), ("--batch",)),
                               (("--limit", "0"), ("--limit",)),
                               (("--split", "half"), ("--split", "half"))):
            self.assert_refused(self.study(data, *options), *words)
        self.assert_refused(self.fathom("study", "oracle"), "--data")
        self.assert_refused(self.fathom("study", "oracle", "--data", data), "--depths")
        self.assert_refused(self.fathom("study", "oracle", "--data", data, "--depths", "full"), "--out")
        self.assert_refused(self.study(self.folder / "none.jsonl"), "none.jsonl")
        self.assertFalse(self.out.exists())
        self.out.write_text("a file")
        self.assert_refused(self.study(data), str(self.out))


if __name__ == "__main__":
    unittest.main()
