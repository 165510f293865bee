"""fathom-torch train in several processes: what one process does with as many times the rows, and what becomes of the others if one ends.

FATHOM names fathom-torch, MPIEXEC the launcher of the MPI library that it was built with; without one the tests are skipped, with exit code 77.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MODEL = GOLDEN / "tiny" / "rope-linear"
MPIEXEC = shutil.which(os.environ.get("MPIEXEC") or "mpirun")
WORDS = "the lead line falls through dark water and the man who holds it counts each mark aloud until it lies still".split()
# What Open MPI would refuse otherwise: more processes than processors, and being root. Others ignore it.
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
               "OMPI_MCA_hwloc_base_binding_policy": "none"}
SECONDS = 100  # what any run here may take


class TrainRanksTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        # Answers of many lengths: ranks then have unequal shares of a step's tokens.
        draws = random.Random(1)
        rows = [{"id": str(i), "prompt": " ".join(draws.choices(WORDS, k=3)), "response": " ".join(draws.choices(WORDS, k=draws.randint(1, 8)))}
                for i in range(27)]
        self.data = self.folder / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def command(self, out, *options, model=MODEL, learning_rate=0.01):
        return list(map(str, ["train", "finetune", "--model", model, "--data", self.data, "--out", self.folder / out, "--max-tokens", 48,
                           "--learning-rate", learning_rate, "--threads", 1, *options]))

    def start(self, *commands):
        """Starts ranks, one a command, together."""
        words = []
        for command in commands:
            words += [":"] if words else []
            words += ["-n", "1", PROGRAM, *command]
        process = subprocess.Popen([MPIEXEC, *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def ranks_end(self, process, *codes):
        """Waits for the end, which must have one of the exit codes; returns what was said."""
        said = "".join(process.communicate(timeout=SECONDS))
        self.assertIn(process.returncode, codes, said)
        return said

    def rank_processes(self, process):
        """The processes of the ranks, which the launcher started itself, in their order."""
        children = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended since
            if int(fields[1]) == process.pid:
                children.append(int(stat.parent.name))
        return sorted(children)

    def wait_for_step(self, process, out, step):
        """Waits until `step` is in the metrics."""
        metrics = self.folder / out / "metrics.jsonl"
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if metrics.exists() and f'{{"step":{step},' in metrics.read_text():
                return
            if process.poll() is not None:
                self.fail("the run ended early: " + "".join(process.communicate()))
            time.sleep(0.01)
        self.fail(f"no step {step} after {SECONDS} seconds")

    def metrics(self, out):
        rows = [json.loads(line) for line in (self.folder / out / "metrics.jsonl").read_text().splitlines()]
        for row in rows:
            row.pop("seconds", None)
        return rows

    def weights(self, out):
        found = [path for path in sorted((self.folder / out).glob("*/*.safetensors")) if path.parent.name in ("model", "adapter")]
        self.assertEqual(len(found), 1)
        return found[0].read_bytes()

    def is_one_with_twice_the_batch(self, *options, ranks=2, **choice):
        """Two ranks and one rank with twice the batch see the same rows, losses and gradients, and so do more ranks."""
        common = ("--steps", 12, "--eval-rows", 5, "--eval-every", 4, *options)
        choice = {"learning_rate": 0.003, **choice}  # rounding grows from step to step, the more the larger these are
        two = self.command("two", "--batch", 4 // ranks, *common, **choice)
        self.ranks_end(self.start(*[two] * ranks), 0)
        self.fathom_ok(*self.command("one", "--batch", 4 // ranks * ranks, *common, **choice))
        two, one = self.metrics("two"), self.metrics("one")
        self.assertEqual(len(two), 16)
        self.assertEqual(len(one), 16)
        for a, b in zip(two, one):
            self.assertEqual(a.keys(), b.keys())
            for name, value in a.items():
                if name == "evaluation":
                    self.assertEqual(value.keys(), b[name].keys())
                    for depth, loss in value.items():
                        self.assertAlmostEqual(loss, b[name][depth], delta=1e-5)
                elif name in ("loss", "mean", "gradient_norm"):
                    self.assertAlmostEqual(value, b[name], delta=1e-5 * (1 if name != "gradient_norm" else max(1, b[name])), msg=f"{name} of {a}")
                else:
                    self.assertEqual(value, b[name])
        self.assertNotAlmostEqual(one[1]["loss"], one[-2]["loss"], delta=0.1)  # something was learnt

    def test_all_weights(self):
        self.is_one_with_twice_the_batch("--accumulate", 2)

    def test_a_rank_without_rows(self):
        # Of 22 rows three ranks with one each leave the last one to one of them.
        self.is_one_with_twice_the_batch(ranks=3)

    def test_depths(self):
        self.is_one_with_twice_the_batch("--depths", "uniform:2,full", "--distill", "--freeze-skipped", "--layer-dropout", 0.3, "--recompute", "--accumulate", 2)

    def test_adapter(self):
        self.is_one_with_twice_the_batch("--depths", "uniform:2,first:3", "--lora-rank", 2, "--accumulate", 2)

    def test_dropout_is_drawn_by_row(self):
        self.is_one_with_twice_the_batch("--raw", model=GOLDEN / "families" / "gpt2")

    def controllers_command(self, out, *options):
        return list(map(str, ["train", "controllers", "--model", MODEL, "--data", self.data, "--out", self.folder / out, "--alpha", 4, "--held-out", 5,
                              "--epochs", 3, "--patience", 10, "--accumulate", 2, "--max-tokens", 48, "--learning-rate", 0.01, "--threads", 1, *options]))

    def controllers_are_those_of_one(self, *options):
        two = self.controllers_command("two", "--batch", 2, *options)
        self.ranks_end(self.start(two, two), 0)
        self.fathom_ok(*self.controllers_command("one", "--batch", 4, *options))
        two, one = self.metrics("two/alpha-4"), self.metrics("one/alpha-4")
        self.assertEqual(len(one), 18)  # 9 steps, 9 evaluations
        self.assertEqual(len(two), len(one))
        for a, b in zip(two, one):
            a, b = ({**row.pop("evaluation", {}), **row} for row in (a, b))
            self.assertEqual(a.keys(), b.keys())
            for name, value in a.items():
                self.assertAlmostEqual(value, b[name], delta=1e-5 * max(1, abs(b[name])), msg=f"{name} of {a}")

    def test_controllers(self):
        self.controllers_are_those_of_one("--input", "hidden")

    def test_controllers_and_weights(self):
        self.controllers_are_those_of_one("--input", "fixed", "--backbone", "joint", "--target", "labels")

    def test_controllers_go_on(self):
        options = ("--batch", 2, "--backbone", "joint", "--save-every", 1)
        whole, stopped = (self.controllers_command(out, *options) for out in ("whole", "stopped"))
        self.ranks_end(self.start(whole, whole), 0)
        process = self.start(stopped, stopped)
        self.wait_for_step(process, "stopped/alpha-4", 3)
        os.kill(self.rank_processes(process)[1], signal.SIGKILL)
        self.ranks_end(process, *range(1, 256))
        self.assertIn("goes on after step", self.ranks_end(self.start(stopped, stopped), 0))
        self.assertEqual(self.metrics("stopped/alpha-4"), self.metrics("whole/alpha-4"))
        for name in ("controller.safetensors", "model/model.safetensors", "training.json"):
            self.assertTrue((self.folder / "stopped/alpha-4" / name).read_bytes() == (self.folder / "whole/alpha-4" / name).read_bytes(), name)
        # What is finished is not trained again, by any rank.
        self.ranks_end(self.start(stopped, stopped), 0)

    def ends_and_goes_on(self, signals, codes):
        """Sends one of two ranks a signal after some step: the run ends, and the same command goes on to the bytes of an undisturbed run."""
        options = ("--steps", 30, "--batch", 2, "--save-every", 3, "--depths", "uniform:2,full")
        whole = self.command("whole", *options)
        self.ranks_end(self.start(whole, whole), 0)
        for rank, sent in enumerate(signals):
            out = f"ended-{rank}"
            command = self.command(out, *options)
            process = self.start(command, command)
            self.wait_for_step(process, out, 8 + rank)
            os.kill(self.rank_processes(process)[rank], sent)
            begin = time.monotonic()
            self.ranks_end(process, *codes)
            self.assertLess(time.monotonic() - begin, 20)
            self.assertFalse((self.folder / out / "model").exists())
            said = self.ranks_end(self.start(command, command), 0)
            self.assertIn("goes on after step", said)
            self.assertEqual(self.metrics(out), self.metrics("whole"))
            self.assertTrue(self.weights(out) == self.weights("whole"))

    def test_a_rank_that_dies_ends_all(self):
        self.ends_and_goes_on((signal.SIGKILL, signal.SIGKILL), range(1, 256))

    def test_a_signal_to_one_rank_stops_all_after_the_same_step(self):
        self.ends_and_goes_on((signal.SIGINT, signal.SIGUSR1), [130])

    def test_one_process_goes_on_where_two_stopped(self):
        options = ("--steps", 30, "--depths", "uniform:2,full")
        two, one, whole = (self.command(out, "--batch", batch, *options, learning_rate=0.003) for out, batch in (("out", 2), ("out", 4), ("whole", 4)))
        process = self.start(two, two)
        self.wait_for_step(process, "out", 8)
        os.kill(self.rank_processes(process)[0], signal.SIGINT)
        self.ranks_end(process, 130)
        self.assertIn("goes on after step", self.fathom(*one).err)
        self.fathom_ok(*whole)
        for a, b in zip(self.metrics("out"), self.metrics("whole"), strict=True):
            self.assertEqual((a["step"], a["tokens"], a["layers"]), (b["step"], b["tokens"], b["layers"]))
            self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-4)

    def test_an_error_of_one_rank_ends_all(self):
        right = self.command("out", "--steps", 4)
        wrong = [word.replace("rows.jsonl", "missing.jsonl") for word in right]
        self.assertIn("missing.jsonl", self.ranks_end(self.start(right, wrong), 2))

    def test_other_options_on_one_rank_are_refused(self):
        said = self.ranks_end(self.start(self.command("out", "--steps", 4), self.command("out", "--steps", 5)), 2)
        self.assertIn("rank 1", said)
        self.assertIn('"steps":5', said)

    def test_ranks_that_cannot_reach_each_other_are_refused(self):
        # What srun leaves that was started without its MPI plugin.
        result = self.fathom(*self.command("out", "--steps", 4), env={"SLURM_STEP_NUM_TASKS": "2"})
        self.assert_refused(result, "one of 2 processes", "--mpi=pmix")


if __name__ == "__main__":
    if MPIEXEC is None:
        print("skipped: there is no mpirun", file=sys.stderr)
        sys.exit(77)
    unittest.main()
