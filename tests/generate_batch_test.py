"""fathom generate --batch-file: each row as if it were alone, whatever the batch and however often it is killed."""

import fcntl
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, model_path

PROMPTS = Path(__file__).resolve().parent.parent / "data" / "prompts.jsonl"
# What a row has of what `generate --json` prints.
SHARED_KEYS = ["depth", "route", "prompt_tokens", "tokens", "text", "stop_reason", "mean_layers"]
DEPTHS = ["full", "uniform:15", "random:20", "first:8", "layers:1,3,5-9", "random-free:25", "block:22",
          "confidence:0.3"]
TEMPERATURES = [0, 0.7, 1.3]


def prompts(count):
    """The first prompts of data/, one of which is long enough for more than one chunk."""
    with open(PROMPTS, encoding="utf-8") as file:
        texts = [json.loads(line)["prompt"] for line in file][:count]
    texts[min(2, count - 1)] = " ".join(f"Number {i} is followed by {i + 1}." for i in range(60))
    return texts


def mixed_rows(count):
    """Rows of different routes, lengths, seeds and temperatures, some as the options say."""
    rows = []
    for i, prompt in enumerate(prompts(count)):
        row = {"id": f"row-{i}", "prompt": prompt, "depth": DEPTHS[i % len(DEPTHS)], "max_new_tokens": 1 + 5 * i % 23,
               "seed": i // 2, "temperature": TEMPERATURES[i % len(TEMPERATURES)]}
        for key in ([], ["depth"], ["max_new_tokens", "seed"], ["temperature"])[i % 4]:
            del row[key]
        rows.append(row)
    return rows


class BatchTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        model_path()  # says what to do if there is none

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out.jsonl"

    def write(self, rows, name="rows.jsonl"):
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def command(self, rows, *args, out=None):
        return ["generate", "--batch-file", rows, "--out", out or self.out, *args]

    def batch(self, rows, *args):
        """Runs into a new file; its bytes."""
        out = self.folder / "new.jsonl"
        out.unlink(missing_ok=True)
        self.fathom_ok(*self.command(rows, *args, out=out))
        return out.read_bytes()


def parse(data):
    """The rows of JSON Lines."""
    return [json.loads(line) for line in data.decode().splitlines()]


def as_arguments(options):
    """{"seed": 1, "raw": True} as the command line has it."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


class AloneTest(BatchTest):
    def alone(self, row, options):
        """What `generate` says of one row by itself. Options of the row's own count before those of the command."""
        own = {key.replace("_", "-"): row[key] for key in ("depth", "max_new_tokens", "seed", "temperature") if key in row}
        return json.loads(self.fathom_ok("generate", "--prompt", row["prompt"], "--id", row["id"], "--json",
                                         *as_arguments({**options, "threads": 1, **own})))

    def check(self, rows, options, batches_and_threads):
        """The answers to rows, which must be the same for all batches and threads and for each row alone."""
        path = self.write(rows)
        files = {self.batch(path, *as_arguments({**options, "batch": batch, "threads": threads}))
                 for batch, threads in batches_and_threads}
        self.assertEqual(len(files), 1, "the batch or the threads changed the bytes")
        answers = parse(files.pop())
        self.assertEqual([answer["id"] for answer in answers], [row["id"] for row in rows])
        for row, answer in zip(rows, answers):
            with self.subTest(row["id"]):
                alone = self.alone(row, options)
                self.assertEqual({key: answer[key] for key in SHARED_KEYS}, {key: alone[key] for key in SHARED_KEYS})
                self.assertEqual(answer.get("logprobs"), alone.get("logprobs"))
        return answers

    def test_rows_are_those_of_generate_alone(self):
        answers = self.check(mixed_rows(12), {"max-new-tokens": 17, "seed": 5, "depth": "uniform:26"},
                             [(1, 1), (3, 1), (16, 1), (3, 2)])
        self.assertEqual({answer["depth"] for answer in answers if answer["id"] in ("row-1", "row-5")}, {"uniform:26"})
        # Long enough that the prompt is more than one chunk.
        self.assertGreater(len(answers[2]["prompt_tokens"]), 256)
        made = answers[3]["made_with"]
        self.assertEqual((made["seed"], made["max_new_tokens"], made["temperature"]), (1, 16, 0))
        made = answers[2]["made_with"]
        self.assertEqual((made["seed"], made["max_new_tokens"], made["temperature"]), (5, 17, 1.3))

    def test_other_options(self):
        rows = mixed_rows(5)
        self.check(rows, {"temperature": 1, "top-k": 20, "top-p": 0.9, "repetition-penalty": 1.2, "raw": True,
                          "max-new-tokens": 12}, [(5, 1)])
        answers = self.check(rows, {"system": "Be brief.", "stop": " ", "logprobs": 2, "precision": "exact",
                                    "max-new-tokens": 3}, [(5, 2)])
        self.assertIn("stop_string", {answer["stop_reason"] for answer in answers})

    def test_rows_of_one_prompt_draw_by_their_ids(self):
        rows = [{"id": str(i), "prompt": "Tell me a story.", "temperature": 1} for i in range(4)]
        answers = parse(self.batch(self.write(rows), "--max-new-tokens", 8))
        self.assertEqual(len({tuple(answer["tokens"]) for answer in answers}), 4)

    def test_shape_of_a_row(self):
        row = parse(self.batch(self.write([{"prompt": "hi", "response": "ignored"}]), "--max-new-tokens", 2))[0]
        self.assertEqual(list(row), ["id", *SHARED_KEYS, "made_with"])
        self.assertEqual(row["id"], "1")  # its line
        self.assertEqual(list(row["made_with"]),
                         ["max_new_tokens", "seed", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop",
                          "logprobs", "precision", "kernels", "model_sha256", "version"])

    def test_prompts_with_answers(self):
        """Files for `score` and `study` will do: what they have more is ignored."""
        with open(PROMPTS, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file][:4]
        answers = parse(self.batch(self.write(rows), "--max-new-tokens", 2, "--depth", "first:2"))
        self.assertEqual([answer["id"] for answer in answers], [row["id"] for row in rows])


class ResumeTest(BatchTest):
    ARGS = ["--max-new-tokens", "24", "--temperature", "0.5"]

    def start(self, rows, *args):
        process = subprocess.Popen([PROGRAM, *map(str, self.command(rows, *args))], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        return process

    def whole_lines(self):
        return self.out.read_bytes().split(b"\n")[:-1] if self.out.exists() else []

    def wait_for_lines(self, count, process):
        end = time.monotonic() + 60
        while len(self.whole_lines()) < count and process.poll() is None:
            self.assertLess(time.monotonic(), end, "no rows in a minute")
            time.sleep(0.002)

    def test_kills_at_random_moments(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}")
        draw = random.Random(seed)
        path = self.write(mixed_rows(24))
        expected = self.batch(path, *self.ARGS)
        kills, kept, done = 0, [], False
        while not done:
            process = self.start(path, *self.ARGS, "--batch", str(draw.choice([1, 3, 16])))
            # In the middle of the work, however fast it is; at last it may end.
            self.wait_for_lines(len(kept) + draw.randrange(1, 6), process)
            time.sleep(draw.random() * 0.05)
            process.kill()
            process.communicate()
            done = process.returncode == 0
            kills += not done
            self.assertIn(process.returncode, (0, -signal.SIGKILL))
            lines = self.whole_lines()
            self.assertEqual(set(kept) - set(lines), set(), "a row that was there is lost")
            kept = lines
            if len(kept) == 24:
                self.fathom_ok(*self.command(path, *self.ARGS))
                done = True
            elif draw.random() < 0.5:  # in the middle of writing a row
                line = draw.choice(expected.split(b"\n")[:-1])
                with open(self.out, "ab") as file:
                    file.write(line[:draw.randrange(len(line))])
        self.assertGreaterEqual(kills, 3)
        self.assertEqual(self.out.read_bytes(), expected)

    def test_interrupt(self):
        path = self.write(mixed_rows(24))
        expected = self.batch(path, *self.ARGS)
        process = self.start(path, *self.ARGS, "--batch", "2")
        self.wait_for_lines(2, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(out, b"")
        lines = self.whole_lines()
        self.assertIn(f"{len(lines)} of 24 rows".encode(), err)
        self.assertNotIn(b"\r", err)  # no progress in a pipe
        self.assertLess(len(lines), 24)
        self.assertEqual(set(lines) - set(expected.split(b"\n")), set())  # no answer that was cut short
        result = self.fathom(*self.command(path, *self.ARGS))
        self.assertEqual(result.code, 0, result)
        self.assertIn(f"{len(lines)} rows are there", result.err)
        self.assertEqual(self.out.read_bytes(), expected)

    def test_more_rows(self):
        rows = mixed_rows(6)
        first = self.batch(self.write(rows[2:4]), *self.ARGS).split(b"\n")
        self.out.write_bytes(b"\n".join(first))
        path = self.write(rows)
        self.fathom_ok(*self.command(path, *self.ARGS))
        self.assertEqual(self.out.read_bytes(), self.batch(path, *self.ARGS))
        self.assertEqual(self.out.read_bytes().split(b"\n")[2:4], first[:2])

    def test_finished_file_stays(self):
        path = self.write(mixed_rows(2))
        self.fathom_ok(*self.command(path, *self.ARGS))
        before = (self.out.read_bytes(), os.stat(self.out).st_ino)
        result = self.fathom(*self.command(path, *self.ARGS))
        self.assertEqual(result.code, 0)
        self.assertEqual((self.out.read_bytes(), os.stat(self.out).st_ino), before)

    def test_progress_on_a_terminal(self):
        path = self.write(mixed_rows(16))
        seen = self.fathom_on_terminal(*self.command(path, *self.ARGS, "--batch", "1"))
        self.assertRegex(seen, r"\r\d+ of 16 rows, [\d.e+]+ a second, \d+ s left")


class RefusalTest(BatchTest):
    ROWS = [{"id": "a", "prompt": "Name a sea."}, {"id": "b", "prompt": "Name a river.", "depth": "first:20"}]
    ARGS = ["--max-new-tokens", "3"]

    def refuse(self, rows, *args, words, out=None):
        with self.subTest(args, words=words):
            self.assert_refused(self.fathom(*self.command(rows, *args, out=out)), *words)

    def test_what_is_there_was_made_otherwise(self):
        path = self.write(self.ROWS)
        self.fathom_ok(*self.command(path, *self.ARGS))
        before = self.out.read_bytes()
        other_model = self.folder / "other.gguf"
        other_model.write_bytes(Path(model_path()).read_bytes()[:-1] + b"\1")
        for options, words in [
            ({"max-new-tokens": 4}, ["max_new_tokens: 3 there, 4 now"]),
            ({"depth": "uniform:20"}, ['depth: "full" there, "uniform:20" now']),
            ({"seed": 1}, ["seed: 0 there, 1 now"]),
            ({"temperature": 0.5}, ["temperature: 0.0 there, 0.5 now"]),
            ({"top-k": 3}, ["top_k: null there, 3 now"]),
            ({"top-p": 0.5}, ["top_p"]),
            ({"min-p": 0.5}, ["min_p"]),
            ({"repetition-penalty": 1.1}, ["repetition_penalty"]),
            ({"stop": "x"}, ["stop"]),
            ({"logprobs": 1}, ["logprobs"]),
            ({"precision": "exact"}, ["precision"]),
            ({"raw": True}, ["another prompt"]),
            ({"system": "x"}, ["another prompt"]),
            ({"model": other_model}, ["model_sha256"]),
            ({"seed": 1, "precision": "exact"}, ["seed", "precision"]),
        ]:
            self.refuse(path, *as_arguments({"max-new-tokens": 3, **options}),
                        words=["out.jsonl: line 1", "'a'", "--out", *words])
        rows = [self.ROWS[0], {**self.ROWS[1], "depth": "first:19"}]
        self.refuse(self.write(rows, "other.jsonl"), *self.ARGS, words=["line 2", "'b'", "first:20", "first:19"])
        rows = [{**self.ROWS[0], "prompt": "Name a lake."}, self.ROWS[1]]
        self.refuse(self.write(rows, "other.jsonl"), *self.ARGS, words=["line 1", "another prompt"])
        self.refuse(self.write(self.ROWS[:1], "fewer.jsonl"), *self.ARGS, words=["line 2", "'b'", "fewer.jsonl"])
        self.assertEqual(self.out.read_bytes(), before)
        # Neither the batch nor the threads nor the order of the rows make another result.
        path = self.write(self.ROWS[::-1], "other.jsonl")
        self.fathom_ok(*self.command(path, *self.ARGS, "--batch", 1, "--threads", 1))
        self.assertEqual(self.out.read_bytes().split(b"\n")[1::-1], before.split(b"\n")[:2])

    def test_files_of_others_are_left_alone(self):
        path = self.write(self.ROWS)
        for text, words in [
            ("notes\n", ["line 1"]),
            ("notes", ["last line"]),
            ("{}\n", ["line 1", "id"]),
            ('{"id":"a"}\n', ["line 1", "text"]),
            ('{"id":"a","text":"x"}\n', ["line 1", "made_with"]),
            ('{"id":"c","text":"x"}\n', ["line 1", "'c'"]),
        ]:
            self.out.write_text(text)
            self.refuse(path, *self.ARGS, words=["out.jsonl", *words])
            self.assertEqual(self.out.read_text(), text)
        before = path.read_bytes()
        self.refuse(path, *self.ARGS, words=["--out"], out=path)
        self.assertEqual(path.read_bytes(), before)
        self.refuse(path, *self.ARGS, words=["/nonexistent/out"], out="/nonexistent/out")
        self.refuse(path, *self.ARGS, words=[str(self.folder)], out=self.folder)

    def test_row_that_is_there_twice(self):
        path = self.write(self.ROWS)
        self.fathom_ok(*self.command(path, *self.ARGS))
        with open(self.out, "ab") as file:
            file.write(self.out.read_bytes().split(b"\n")[0] + b"\n")
        self.refuse(path, *self.ARGS, words=["line 3", "'a'"])

    def test_one_writer(self):
        self.out.touch()
        with open(self.out, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refuse(self.write(self.ROWS), *self.ARGS, words=["out.jsonl", "another"])

    def test_rows_that_cannot_be_answered(self):
        good = json.dumps(self.ROWS[0])
        for bad, words in [
            ("{", []),
            ("[]", ["object"]),
            ('{"id":"b"}', ["prompt"]),
            ('{"id":"b","prompt":"x","depth":"first:31"}', ["first:31", "1 to 30"]),
            ('{"id":"b","prompt":"x","depth":"deep"}', ["deep"]),
            ('{"id":"b","prompt":"x","depth":"ranked:31"}', ["ranked:31", "30"]),
            ('{"id":"b","prompt":"x","max_new_tokens":0}', ["max_new_tokens"]),
            ('{"id":"b","prompt":"x","seed":"one"}', ["seed"]),
            ('{"id":"b","prompt":"x","temperature":-1}', ["temperature"]),
            ('{"id":"a","prompt":"x"}', ["'a'", "line 1"]),
            (json.dumps({"id": "b", "prompt": "sea " * 9000}), ["context", "8192"]),
        ]:
            path = self.folder / "bad.jsonl"
            path.write_text(f"{good}\n\n{bad}\n")
            self.refuse(path, *self.ARGS, words=["bad.jsonl: line 3", *words])
        self.refuse(self.write([{"prompt": ""}]), *self.ARGS, "--raw", words=["line 1", "empty"])
        self.refuse(self.write([]), *self.ARGS, words=["no rows"])
        self.refuse("/nonexistent", *self.ARGS, words=["/nonexistent"])
        self.assertFalse(self.out.exists(), "something was begun")

    def test_options_that_do_not_go_together(self):
        path = self.write(self.ROWS)
        for args, words in [
            (["--batch-file", path], ["--out"]),
            (["--batch-file", path, "--out", self.out, "--prompt", "hi"], ["one of"]),
            (["--batch-file", path, "--out", self.out, "-i"], ["one of"]),
            (["--batch-file", path, "--out", self.out, "--json"], ["--json"]),
            (["--batch-file", path, "--out", self.out, "--id", "a"], ["--id"]),
            (["--batch-file", path, "--out", self.out, "--batch", "0"], ["batch"]),
            (["--batch-file", path, "--out", self.out, "--batch", "1025"], ["batch"]),
            (["--batch-file", path, "--out", self.out, "--raw", "--system", "x"], ["--system"]),
            (["--prompt", "hi", "--out", self.out], ["--batch-file"]),
            (["--prompt", "hi", "--batch", "2"], ["--batch-file"]),
            (["-i", "--id", "a"], ["--id"]),
        ]:
            with self.subTest(args):
                self.assert_refused(self.fathom("generate", *args), *words)
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
