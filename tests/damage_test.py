"""Damaged models given to the program itself; tests/damage_main.cc tries many more in-process.

Each must end with exit code 2 and one line that names the file, or run. Variants are made from their
number, so that a failure can be repeated.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path

from goldens import GOLDEN
from program import PROGRAM, ProgramTest, model_path

SECONDS = 20
MOST_RESIDENT = 1 << 30
METADATA = 1785664  # of the default model: header, metadata and tensor table end here

# Runs its arguments; prints exit code and peak resident bytes on the last line of standard error.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
"""


def overwrite(data, draw, end):
    for _ in range(draw.choice([1, 1, 2, 8])):
        at = draw.choice([draw.randrange(min(end, 2000)), draw.randrange(end), end - 1 - draw.randrange(min(end, 20000))])
        length = draw.choice([1, 1, 4, 16])
        data[at : at + length] = draw.randbytes(length)


class DamageTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.outcomes = Counter()

    def tearDown(self):
        print(dict(self.outcomes))

    def check(self, path, what):
        for args in (["inspect", str(path)],
                     ["generate", "--model", str(path), "--raw", "--prompt", "The sea is", "--max-new-tokens", "2"]):
            with self.subTest(what, command=args[0]):
                start = time.monotonic()
                done = subprocess.run([sys.executable, "-c", MEASURE, PROGRAM, *args], capture_output=True,
                                      timeout=60, check=True)
                *message, last = done.stderr.decode(errors="surrogateescape").splitlines()
                code, resident = map(int, last.split())
                self.assertLess(time.monotonic() - start, SECONDS)
                self.assertLess(resident, MOST_RESIDENT)
                self.assertIn(code, (0, 2), message)
                self.outcomes[f"{args[0]}: {'refused' if code else 'ran'}"] += 1
                if code == 2:
                    self.assertEqual(len(message), 1, message)
                    self.assertIn(str(path), message[0])
                    self.assertEqual(done.stdout, b"")
                    self.assertTrue(message[0].isprintable(), ascii(message[0]))

    def test_default_model(self):
        path = self.folder / "model.gguf"
        shutil.copyfile(model_path(), path)
        whole = path.stat().st_size
        with open(path, "rb") as file:
            beginning = file.read(METADATA)
        # Cut pieces come back as zeros: weights, which do not matter here.
        for number in range(40):
            draw = random.Random(number)
            if number % 3 == 0:
                size = draw.choice([draw.randrange(whole), draw.randrange(METADATA)])
                os.truncate(path, size)
                self.check(path, f"{number}: cut to {size}")
                os.truncate(path, whole)
            else:
                data = bytearray(beginning)
                overwrite(data, draw, METADATA)
                with open(path, "r+b") as file:
                    file.write(data)
                self.check(path, f"{number}: overwritten")
            with open(path, "r+b") as file:
                file.write(beginning)
        self.check(path, "mended")
        self.assertGreaterEqual(self.outcomes["generate: ran"], 1)
        self.assertGreaterEqual(self.outcomes["generate: refused"], 20)

    def test_folder(self):
        original = GOLDEN / "tiny" / "untied-biases"
        path = self.folder / "model"
        shutil.copytree(original, path)
        names = sorted(file.name for file in path.iterdir() if file.name != "expected.json")
        for number in range(60):
            draw = random.Random(number)
            file = path / draw.choice(names)
            data = bytearray(file.read_bytes())
            kind = draw.choice(["cut", "overwritten", "overwritten", "removed"])
            if kind == "removed":
                file.unlink()
            elif kind == "cut":
                file.write_bytes(data[: draw.randrange(len(data))])
            else:
                overwrite(data, draw, min(len(data), 3000))
                file.write_bytes(data)
            self.check(path, f"{number}: {file.name} {kind}")
            shutil.copyfile(original / file.name, file)
        self.check(path, "mended")
        self.assertGreaterEqual(self.outcomes["generate: ran"], 1)
        self.assertGreaterEqual(self.outcomes["generate: refused"], 30)

    def test_what_is_no_model(self):
        empty = self.folder / "empty.gguf"
        empty.write_bytes(b"")
        text = self.folder / "text.gguf"
        text.write_text("How deep is the sea?\n" * 100)
        nothing = self.folder / "nothing"
        nothing.mkdir()
        for path in (empty, text, nothing, self.folder / "missing.gguf"):
            self.check(path, path.name)
        self.assertEqual(self.outcomes["inspect: ran"] + self.outcomes["generate: ran"], 0)


if __name__ == "__main__":
    unittest.main()
