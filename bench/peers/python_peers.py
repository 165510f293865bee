"""The peers in Python: their environment, their models, and the processes that measure them.

A process lives as long as the run, so that loading is not timed, and is stopped (SIGSTOP) while others are measured,
so that no waiting thread of it takes a core.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from process import MEASUREMENT_SECONDS, Failed, die_with_parent, end, ending, run

HERE = Path(__file__).resolve().parent
SCRIPTS = {"ctranslate2": "peer_ctranslate2.py", "openvino": "peer_openvino.py", "transformers": "peer_transformers.py"}
CHECK_TOKENS = 8  # of greedy decoding, compared with fathom's


class Environment:
    """The virtual environment and the models that are made of a GGUF file, under `folder`. They can be moved."""

    def __init__(self, folder, say):
        self.folder = folder
        self.say = say
        self.python = folder / "venv" / "bin" / "python"

    def install(self):
        requirements = HERE / "requirements.txt"
        stamp = self.folder / "venv" / "installed.txt"
        if stamp.exists() and stamp.read_text() == requirements.read_text():
            return
        self.say("installing the peers in Python (1 GB or more; log in build/peers)")
        run([sys.executable, "-m", "venv", self.folder / "venv"], log=self.folder / "venv.log")
        run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
            log=self.folder / "pip.log")
        stamp.write_text(requirements.read_text())

    def model(self, name, gguf, digest):
        """What the peer loads; made of the GGUF file if it is not there."""
        if name == "openvino":
            return gguf
        target = self.folder / "models" / digest[:16] / name
        if not target.exists():
            source = gguf if name == "transformers" else self.model("transformers", gguf, digest)
            self.say(f"making the model of {name}")
            beside = target.with_name(f"{name}.new")
            shutil.rmtree(beside, ignore_errors=True)
            beside.parent.mkdir(parents=True, exist_ok=True)
            run([self.python, HERE / "convert.py", name, source, beside], env=offline(),
                log=self.folder / f"convert-{name}.log")
            beside.rename(target)
        return target


class Worker:
    """One peer with one number of threads. `with` ends it."""

    def __init__(self, name, python, model, threads, log):
        self.name = name
        self._buffer = b""
        with log.open("w") as errors:
            self._child = subprocess.Popen(
                [str(python), str(HERE / SCRIPTS[name]), str(model), str(threads)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, bufsize=0, env=offline(threads), start_new_session=True,
                preexec_fn=die_with_parent)
        try:
            self.versions = self._answer()["ready"]
        except Failed:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, request):
        self._signal(signal.SIGCONT)
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            return self._answer()
        except BrokenPipeError:
            raise Failed(f"{self.name} {ending(self._child.wait())}") from None
        finally:
            self._signal(signal.SIGSTOP)

    def measure(self, workload, seed):
        answer = self.ask({"phase": workload.phase, "tokens": workload.tokens, "context": workload.context,
                           "batch": workload.batch, "seed": seed})
        return {"tokens_per_s": workload.all_tokens / answer["seconds"]}

    def agreement(self, prompt, expected):
        """How many of the expected greedy tokens it gives before the first other one."""
        found = self.ask({"greedy": prompt, "count": len(expected)})["tokens"]
        return common_start(expected, found)

    def alive(self):
        return self._child.poll() is None

    def close(self):
        end(self._child)

    def _signal(self, number):
        if self.alive():
            os.killpg(self._child.pid, number)

    def _answer(self):
        deadline = time.monotonic() + MEASUREMENT_SECONDS
        while b"\n" not in self._buffer:
            if not select.select([self._child.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self.close()
                raise Failed(f"{self.name}: no answer in {MEASUREMENT_SECONDS} s")
            part = os.read(self._child.stdout.fileno(), 1 << 16)
            if not part:
                raise Failed(f"{self.name} {ending(self._child.wait())}")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return parse_answer(self.name, line)


def parse_answer(name, line):
    try:
        answer = json.loads(line)
    except ValueError:
        raise Failed(f"{name}: answer not understood") from None
    if "error" in answer:
        raise Failed(answer["error"])
    return answer


def common_start(expected, found):
    count = 0
    for one, other in zip(expected, found):
        if one != other:
            break
        count += 1
    return count


def offline(threads=None):
    """The environment of the peers: no look-up of models anywhere, and so many threads."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if threads:
        env["OMP_NUM_THREADS"] = str(threads)
    return env
