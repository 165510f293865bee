"""What generate may cost: resident memory, and the time to the first token."""

import json
import os
import subprocess
import sys
import time
import unittest

from program import PROGRAM, ProgramTest, model_path

MEGABYTE = 1 << 20

# Runs its arguments and prints the peak resident memory of that run alone, in bytes.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
assert code == 0, code
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


class LimitsTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.size = os.path.getsize(model_path())

    def check_memory(self, words, new_tokens):
        args = ["generate", "--raw", "--prompt", " sea" * words, "--max-new-tokens", str(new_tokens)]
        counts = json.loads(self.fathom_ok(*args, "--json"))
        inspected = json.loads(self.fathom_ok("inspect", "--json"))
        per_position = inspected["token_bytes"]["cache_per_position_and_layer"] * inspected["layers"]
        positions = len(counts["prompt_tokens"]) + len(counts["tokens"])
        cache = per_position * (-(-positions // 64) * 64)  # in blocks of 64 positions
        done = subprocess.run([sys.executable, "-c", MEASURE, PROGRAM, *args], stdout=subprocess.PIPE, check=True)
        peak = int(done.stdout)
        limit = 1.3 * self.size + cache + 64 * MEGABYTE
        print(f"peak {peak / MEGABYTE:.1f} MiB of {limit / MEGABYTE:.1f} MiB, {positions} positions")
        self.assertGreater(peak, self.size / 2)  # else something else was measured
        self.assertLessEqual(peak, limit)

    def test_memory_of_a_short_answer(self):
        self.check_memory(words=5, new_tokens=16)

    def test_memory_of_a_long_prompt(self):
        self.check_memory(words=2000, new_tokens=8)

    def test_first_token_comes_soon(self):
        with open(model_path(), "rb") as file:  # into the page cache
            while file.read(16 * MEGABYTE):
                pass
        times = []
        for _ in range(3):
            start = time.monotonic()
            process = subprocess.Popen(
                [PROGRAM, "generate", "--prompt", "hi", "--max-new-tokens", "4"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            self.assertNotEqual(process.stdout.read(1), b"")
            times.append(time.monotonic() - start)
            process.stdout.read()
            process.stdout.close()
            self.assertEqual(process.wait(), 0)
        print(f"first token after {min(times):.3f} s; all: {', '.join(f'{each:.3f}' for each in times)}")
        self.assertLessEqual(min(times), 0.6)


if __name__ == "__main__":
    unittest.main()
