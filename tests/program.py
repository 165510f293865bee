"""Runs fathom as a person would, for the tests in this folder.

FATHOM names the program (ctest sets it; else build/release/fathom), FATHOM_MODEL the model (else
the default model in the user's cache folder, as tools/fetch_model.sh leaves it).
"""

import os
import pty
import select
import subprocess
import unittest
from pathlib import Path
from typing import NamedTuple

PROGRAM = os.environ.get("FATHOM") or str(
    Path(__file__).resolve().parent.parent / "build" / "release" / "fathom"
)


def model_path():
    """The model's path; an error that says what to run if it is not there."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    default = Path(cache) / "fathom" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path = Path(os.environ.get("FATHOM_MODEL") or default)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model; run `make model`")
    return str(path)


class Result(NamedTuple):
    """What a run left: its exit code and what it printed."""

    code: int
    out: str
    err: str


class ProgramTest(unittest.TestCase):
    """A test that runs the program. (Its method is not called run: unittest has one.)"""

    maxDiff = None

    def fathom(self, *args, input="", timeout=120, env=None):
        """Runs fathom with `args` and `input` as standard input; `env` adds to the environment."""
        done = subprocess.run(
            [PROGRAM, *map(str, args)],
            input=input.encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def fathom_ok(self, *args, **options):
        """Like fathom(), and fails unless the exit code is 0. Returns standard output."""
        result = self.fathom(*args, **options)
        self.assertEqual(result.code, 0, f"fathom {args} said: {result.err}")
        return result.out

    def fathom_on_terminal(self, *args):
        """Runs fathom with a terminal of its own, fails unless the exit code is 0, and returns what was seen there."""
        child, terminal = pty.fork()
        if child == 0:
            os.execv(PROGRAM, [PROGRAM, *map(str, args)])
        self.addCleanup(os.close, terminal)
        seen = ""
        try:
            while select.select([terminal], [], [], 60)[0] and (data := os.read(terminal, 65536)):
                seen += data.decode()
        except OSError:  # Linux: the other end is closed
            pass
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        return seen

    def assert_refused(self, result, *words):
        """The run ended with exit code 2, printed no result, and its message has all `words`."""
        self.assertEqual(result.code, 2, result)
        self.assertEqual(result.out, "")
        for word in words:
            self.assertIn(word, result.err)
