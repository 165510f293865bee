#!/usr/bin/env python3
"""The harness itself: plans, resuming, what it makes of programs' outputs, tables. No peer is needed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import fathom
import llama_cpp
import machine
import process
import progress
import python_peers
import results
import run
from process import Failed
from store import OtherRun, Store
from work import WORKLOADS, Entrant, Group, plan, shortened

FATHOM, LLAMA, PYTHON = Entrant("fathom", "Q4_1"), Entrant("llama.cpp-avx2", "Q4_1"), Entrant("ctranslate2", "Q4_1")

# As printed, shortened where it does not matter here.
FATHOM_BENCH = """{"threads":2,"precision":"fast","kernels":"avx512vnni","prompt_tokens":1,"new_tokens":4,"context":1,
"batch":1,"repeat":1,"read_bandwidth_gb_per_s":16.97,"read_bandwidth_buffer_bytes":2013265920,"depths":[{"depth":"full",
"route":"1-30","layers":30,"prefill":{"tokens_per_s":{"median":162.5,"minimum":162.5,"maximum":162.5}},
"decode":{"tokens_per_s":{"median":173.8,"minimum":173.8,"maximum":173.8},"tokens_per_s_each":{"median":173.8,
"minimum":173.8,"maximum":173.8}},"bytes_per_token":96645888,"bytes_per_step":96645888,"gb_per_s":16.8,
"read_bandwidth_share":0.99,"speedup":1.0,"ceiling":1.0}]}"""
LLAMA_BENCH = """[
  {
    "model_type": "llama ?B Q4_1", "n_batch": 2048, "n_ubatch": 512, "n_threads": 2, "type_k": "f16",
    "n_prompt": 0, "n_gen": 128, "n_depth": 1,
    "avg_ns": 1280000000, "stddev_ns": 0, "avg_ts": 100.0, "stddev_ts": 0.0,
    "samples_ns": [ 1280000000 ],
    "samples_ts": [ 100.0 ]
  }
]
"""
BATCHED_BENCH = """
{"n_kv_max": 4096, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": -1, \
"n_threads": 2, "n_threads_batch": 2, "pp": 1, "tg": 128, "pl": 16, "n_kv": 2064, "t_pp": 0.05, "speed_pp": 320.0, \
"t_tg": 8.0, "speed_tg": 256.0, "t": 8.05, "speed": 256.4}

llama_perf_context_print:        load time =     100.00 ms
"""
SYSTEM_INFO = "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | AVX512 = 0 | OPENMP = 1 | REPACK = 1 | "


def record(round_, entrant, speed, threads=2, workload="decode", **more):
    measured = {"failure": speed} if isinstance(speed, str) else {"tokens_per_s": speed}
    return {"round": round_, "threads": threads, "workload": workload, "contender": entrant.contender,
            "type": entrant.type, "wall_s": 1.0, **measured, **more}


class Plan(unittest.TestCase):
    def test_every_entrant_once_a_group_and_first_in_turn(self):
        entrants = [FATHOM, LLAMA, PYTHON]
        groups = list(plan(3, [2, 1], ["decode", "prefill-512"], entrants))
        self.assertEqual(len(groups), 3 * 2 * 2)
        self.assertEqual(len({group for group, _ in groups}), len(groups))
        for _, order in groups:
            self.assertCountEqual(order, entrants)
        for threads in (2, 1):
            for workload in ("decode", "prefill-512"):
                first = {order[0] for group, order in groups if (group.threads, group.workload) == (threads, workload)}
                self.assertEqual(first, set(entrants))
        rounds = [group.round for group, _ in groups]
        self.assertEqual(rounds, sorted(rounds))

    def test_workloads(self):
        self.assertEqual(WORKLOADS["decode-batch16"].all_tokens, 16 * 128)
        self.assertEqual(WORKLOADS["decode-1024"].positions, 1152)
        self.assertEqual(WORKLOADS["prefill-4096"].positions, 4096)
        self.assertEqual(shortened(WORKLOADS["decode"], 8).all_tokens, 8)
        self.assertEqual(shortened(WORKLOADS["prefill-512"], 8), WORKLOADS["prefill-512"])


class Resume(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "results.jsonl"
        self.entrants = [FATHOM, LLAMA]

    def store(self, **run_):
        store = Store(self.path, {"model": "m", **run_}, self.entrants)
        self.addCleanup(store.close)
        return store

    def test_goes_on_after_the_last_whole_group(self):
        store = self.store()
        for round_, entrant in ((0, FATHOM), (0, LLAMA), (1, FATHOM)):
            store.add(record(round_, entrant, 100.0))
        again = self.store()
        self.assertEqual(store.done(), {Group(0, 2, "decode")})
        self.assertEqual(len(store.whole()), 2)
        self.assertEqual(again.done(), {Group(0, 2, "decode")})
        self.assertEqual(len(again.records), 2)  # that of the group that was cut short is measured anew
        again.add(record(1, LLAMA, 50.0))
        again.add(record(1, FATHOM, 100.0))
        self.assertEqual(self.store().done(), {Group(0, 2, "decode"), Group(1, 2, "decode")})

    def test_a_line_that_was_cut_off(self):
        store = self.store()
        for entrant in self.entrants:
            store.add(record(0, entrant, 100.0))
        with self.path.open("a") as file:
            file.write('{"round": 1, "thr')
        self.assertEqual(len(self.store().records), 2)
        self.assertEqual(len(self.path.read_text().splitlines()), 3)

    def test_a_failure_counts_as_measured(self):
        store = self.store()
        store.add(record(0, FATHOM, 100.0))
        store.add(record(0, LLAMA, "it was ended by SIGILL"))
        self.assertEqual(self.store().done(), {Group(0, 2, "decode")})

    def test_another_run_is_refused_and_kept(self):
        self.store().add(record(0, FATHOM, 100.0))
        before = self.path.read_text()
        with self.assertRaisesRegex(OtherRun, "other model, threads"):
            self.store(model="other", threads=[1])
        self.assertEqual(self.path.read_text(), before)


class Outputs(unittest.TestCase):
    def test_fathom(self):
        measured = fathom.parse_bench(FATHOM_BENCH, WORKLOADS["decode"])
        self.assertEqual(measured, {"tokens_per_s": 173.8, "kernels": "avx512vnni", "read_bandwidth_gb_per_s": 16.97,
                                    "read_bandwidth_share": 0.99})
        measured = fathom.parse_bench(FATHOM_BENCH, WORKLOADS["prefill-512"])
        self.assertEqual(measured["tokens_per_s"], 162.5)
        self.assertNotIn("read_bandwidth_share", measured)
        for wrong in ("", "{}", '{"depths":[]}', "[1]"):
            with self.assertRaisesRegex(Failed, "fathom bench"):
                fathom.parse_bench(wrong, WORKLOADS["decode"])

    def test_fathom_version(self):
        text = "fathom 0.1.0 (kernels this machine runs: avx512vnni, avx2, portable)"
        self.assertEqual(fathom.parse_version(text), ("0.1.0", ["avx512vnni", "avx2", "portable"]))
        with self.assertRaises(Failed):
            fathom.parse_version("fathom 0.1.0")

    def test_llama_bench(self):
        self.assertAlmostEqual(llama_cpp.parse_bench(LLAMA_BENCH, WORKLOADS["decode"]), 100)
        for wrong in ("", "[]", LLAMA_BENCH.replace("samples_ns", "samples"), LLAMA_BENCH.replace("1280000000 ]", "1, 2 ]")):
            with self.assertRaisesRegex(Failed, "llama-bench"):
                llama_cpp.parse_bench(wrong, WORKLOADS["decode"])
        with self.assertRaisesRegex(Failed, "another test"):
            llama_cpp.parse_bench(LLAMA_BENCH, WORKLOADS["decode-1024"])

    def test_llama_batched_bench(self):
        self.assertAlmostEqual(llama_cpp.parse_batched_bench(BATCHED_BENCH, WORKLOADS["decode-batch16"]), 256)
        for wrong in ("", BATCHED_BENCH * 2, BATCHED_BENCH.replace('"t_tg"', '"t"')):
            with self.assertRaisesRegex(Failed, "llama-batched-bench"):
                llama_cpp.parse_batched_bench(wrong, WORKLOADS["decode-batch16"])
        with self.assertRaisesRegex(Failed, "another test"):
            llama_cpp.parse_batched_bench(BATCHED_BENCH.replace('"pl": 16', '"pl": 8'), WORKLOADS["decode-batch16"])

    def test_system_info(self):
        found = llama_cpp.parse_system_info(SYSTEM_INFO)
        self.assertIn("AVX2", found)
        self.assertNotIn("AVX512", found)
        self.assertNotIn("CPU", found)

    def test_what_the_processor_runs(self):
        flags = machine.cpu_flags("processor\t: 0\nflags\t\t: fpu avx2 fma f16c bmi2\nbugs\t\t: spectre_v1\n")
        self.assertEqual(flags, {"fpu", "avx2", "fma", "f16c", "bmi2"})
        self.assertIsNone(llama_cpp.runs_here("llama.cpp-avx2", flags))
        self.assertIn("amx_int8", llama_cpp.runs_here("llama.cpp-amx", flags))

    def test_answers_of_peers(self):
        self.assertEqual(python_peers.parse_answer("x", b'{"seconds": 2}'), {"seconds": 2})
        with self.assertRaisesRegex(Failed, "no such file"):
            python_peers.parse_answer("x", b'{"error": "no such file"}')
        with self.assertRaisesRegex(Failed, "x: answer not understood"):
            python_peers.parse_answer("x", b"Segmentation fault")
        self.assertEqual(python_peers.common_start([1, 2, 3], [1, 2, 4]), 2)
        self.assertEqual(python_peers.common_start([1, 2], []), 0)

    def test_patch(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.cpp"
            path.write_text("a\nload\nb\n")
            llama_cpp.patch(path, "load\n", "barrier\nload\n")
            self.assertEqual(path.read_text(), "a\nbarrier\nload\nb\n")
            with self.assertRaisesRegex(Failed, "is there 0 times"):
                llama_cpp.patch(path, "store\n", "")


class Commands(unittest.TestCase):
    def test_work_is_the_same(self):
        ours, theirs = fathom.Fathom.__new__(fathom.Fathom), llama_cpp.LlamaCpp(Path("/p"), None)
        ours.program = "fathom"
        for name, mine, other in (
            ("decode-1024", "--prompt-tokens 1 --new-tokens 128 --context 1024 --batch 1", "-p 0 -n 128 -d 1024"),
            ("prefill-512", "--prompt-tokens 512 --new-tokens 1 --context 1 --batch 1", "-p 512 -n 0"),
            ("decode-batch16", "--new-tokens 128 --context 1 --batch 16", "-c 2064 -npp 1 -ntg 128 -npl 16"),
        ):
            workload = WORKLOADS[name]
            self.assertIn(mine, " ".join(map(str, ours.command("m.gguf", workload, 2))))
            command = " ".join(map(str, theirs.command("llama.cpp-avx2", "m.gguf", workload, 2)))
            self.assertIn(other, command)
            self.assertIn("-t 2", command)

    def test_kernels(self):
        os.environ["FATHOM_KERNELS"] = "portable"
        self.addCleanup(os.environ.pop, "FATHOM_KERNELS")
        self.assertNotIn("FATHOM_KERNELS", fathom.environment("fathom"))
        self.assertEqual(fathom.environment("fathom-avx2")["FATHOM_KERNELS"], "avx2")

    def test_type_of_a_file(self):
        self.assertEqual(run.type_of(Path("SmolLM2-135M-Instruct.Q4_1.gguf")), "Q4_1")
        self.assertEqual(run.type_of(Path("llama-3.2-1b-q4_k_m.gguf")), "Q4_K_M")
        self.assertEqual(run.type_of(Path("model.gguf")), "model")

    def test_mistakes(self):
        for arguments, word in ((["--rounds", "0"], "no positive number"), (["--threads", "2,x"], "no positive number"),
                                (["--contenders", "vllm"], "'vllm' is none of"), (["--types", "q4"], "no weight type"),
                                (["--fathom", "/nowhere"], "/nowhere: no such file"), (["--workloads", "x"], "none of")):
            ended = subprocess.run([sys.executable, "-B", HERE / "run.py", *arguments], capture_output=True, text=True)
            self.assertEqual(ended.returncode, 2)
            self.assertIn(word, ended.stderr)


class Summary(unittest.TestCase):
    def setUp(self):
        self.avx2 = Entrant("fathom-avx2", "Q4_1")
        self.records = [record(round_, entrant, speed) for entrant, speeds in (
            (FATHOM, (100.0, 300.0, 200.0)), (self.avx2, (80.0, 90.0, 100.0)), (LLAMA, (50.0, 60.0, 40.0)),
        ) for round_, speed in enumerate(speeds)]
        self.entrants = [FATHOM, self.avx2, LLAMA, PYTHON]

    def rows(self):
        return {row["contender"]: row for row in results.summarize(self.records, self.entrants, {})}

    def test_medians_and_paired_ratios(self):
        rows = self.rows()
        self.assertEqual(list(rows), ["fathom", "fathom-avx2", "llama.cpp-avx2"])  # what has no record has no row
        self.assertEqual([rows["fathom"][key] for key in ("median", "minimum", "maximum", "rounds")], [200, 100, 300, 3])
        self.assertIsNone(rows["fathom"]["ratio"])
        llama = rows["llama.cpp-avx2"]
        self.assertEqual([llama[key] for key in ("ratio", "ratio_minimum", "ratio_maximum")], [4, 2, 5])
        self.assertEqual(llama["same_instructions"], "fathom-avx2")
        self.assertAlmostEqual(llama["same_instructions_ratio"], 90 / 50)
        self.assertAlmostEqual(llama["same_instructions_minimum"], 1.5)

    def test_ratios_are_of_the_same_file_and_threads(self):
        self.records += [record(0, Entrant("llama.cpp-avx2", "Q8_0"), 10.0), record(0, LLAMA, 10.0, threads=1)]
        self.entrants.append(Entrant("llama.cpp-avx2", "Q8_0"))
        rows = results.summarize(self.records, self.entrants, {})
        for row in rows:
            if row["type"] == "Q8_0" or row["threads"] == 1:
                self.assertIsNone(row["ratio"])

    def test_failures(self):
        self.records.append(record(0, PYTHON, "out of memory"))
        row = self.rows()["ctranslate2"]
        self.assertEqual((row["failure"], row["rounds"], row["median"]), ("out of memory", 0, None))
        text = self.markdown()
        self.assertIn("| ctranslate2 | int8 (of Q4_1) | failed |", text)
        self.assertIn("- ctranslate2 Q4_1, decode: out of memory", text)

    def test_share_of_bandwidth(self):
        for each in self.records:
            each.update(read_bandwidth_share=0.8, read_bandwidth_gb_per_s=20.0)
        self.assertAlmostEqual(self.rows()["fathom"]["read_bandwidth_share"], 0.8)
        self.assertEqual(results.read_bandwidths(self.records), {"2": 20})

    def test_best_of_llama_cpp(self):
        other = Entrant("llama.cpp-amx", "Q4_0")
        self.records += [record(round_, other, 100.0) for round_ in range(3)]
        rows = results.summarize(self.records, [*self.entrants, other], {})
        self.assertEqual(results.bests(rows, "Q4_1"), [{"threads": 2, "workload": "decode", "contender": "llama.cpp-amx",
                                                        "type": "Q4_0", "ratio": 2}])

    def markdown(self):
        rows = results.summarize(self.records, self.entrants, {})
        about = {"model": "m.gguf", "rounds": 3, "versions": {"fathom": "0.1"}, "reference_type": "Q4_1",
                 "read_bandwidth_gb_per_s": {"2": 30.0}, "left_out": {"openvino": "no network"}}
        return results.markdown(rows, results.bests(rows, "Q4_1"), about,
                                {"cpu": "Some CPU", "cores": 2, "instruction_sets": ["avx2"]})

    def test_markdown(self):
        text = self.markdown()
        for part in ("Some CPU, 2 cores (avx2); read bandwidth 30.0 GB/s with 2 threads; m.gguf; 3 rounds",
                     "| | weights | decode |", "| fathom | Q4_1 | 200 (100–300) |", "| llama.cpp-avx2 | Q4_1 | 50.0 (40.0–60.0) |",
                     "| llama.cpp-avx2 | Q4_1 | 4.00 (2.00–5.00) |", "| llama.cpp-avx2 | Q4_1 | 1.80 (1.50–2.50) |",
                     "decode: llama.cpp's best is llama.cpp-avx2 on Q4_1; fathom on Q4_1 / it: 4.00",
                     "- openvino: no network"):
            self.assertIn(part, text)
        self.assertEqual(text.count("| fathom "), 1)

    def test_csv(self):
        lines = results.csv_text(list(self.rows().values())).splitlines()
        self.assertEqual(len(lines), 4)
        self.assertTrue(lines[1].startswith("2,decode,fathom,Q4_1,3,200.0,100.0,300.0,,,"))

    def test_figure(self):
        spec = results.figure(list(self.rows().values()), ["decode"])
        values = {value["contender"]: value for value in spec["data"]["values"]}
        self.assertEqual(values["llama.cpp-avx2 Q4_1"],
                         {"threads": "2 threads", "workload": "decode", "contender": "llama.cpp-avx2 Q4_1",
                          "engine": "llama.cpp", "median": 50, "minimum": 40, "maximum": 60})
        fields = {channel["field"] for layer in spec["spec"]["layer"] for channel in layer["encoding"].values()}
        self.assertLessEqual(fields, set(values["fathom Q4_1"]))


class Processes(unittest.TestCase):
    def test_failures_are_one_line(self):
        with self.assertRaisesRegex(Failed, "ended with exit code 3: the reason"):
            process.run(["sh", "-c", "echo before >&2; echo the reason >&2; exit 3"])
        with self.assertRaisesRegex(Failed, "was ended by SIGILL"):
            process.run(["sh", "-c", "kill -ILL $$"])
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            with self.assertRaisesRegex(Failed, "ended with exit code 1: the reason .*log"):
                process.run(["sh", "-c", "echo the reason; exit 1"], log=log)
        with self.assertRaisesRegex(Failed, "No such file"):
            process.run(["/nowhere/at/all"])
        with self.assertRaisesRegex(Failed, "no end after"):
            process.run(["sleep", "60"], timeout=0.1)

    def test_a_worker_is_stopped_between_requests(self):
        with tempfile.TemporaryDirectory() as folder:
            peer = Path(folder) / "peer_fake.py"
            peer.write_text("import json, sys\n"
                            "print(json.dumps({'ready': {'fake': '1'}}), flush=True)\n"
                            "for line in sys.stdin:\n"
                            "    r = json.loads(line)\n"
                            "    if r.get('phase') == 'prefill': sys.exit(3)\n"
                            "    print(json.dumps({'seconds': 2.0, 'tokens': [1, 2]}), flush=True)\n")
            python_peers.SCRIPTS["fake"] = str(peer)
            self.addCleanup(python_peers.SCRIPTS.pop, "fake")
            with python_peers.Worker("fake", sys.executable, "model", 1, Path(folder) / "log") as worker:
                self.assertEqual(worker.versions, {"fake": "1"})
                self.assertEqual(worker.measure(WORKLOADS["decode"], "seed"), {"tokens_per_s": 64})
                self.assertEqual(worker.agreement([5], [1, 3]), 1)
                self.assertEqual(state_of(worker._child.pid), "T")
                with self.assertRaisesRegex(Failed, "fake ended with exit code 3"):
                    worker.measure(WORKLOADS["prefill-512"], "seed")
                with self.assertRaisesRegex(Failed, "fake ended with exit code 3"):
                    worker.measure(WORKLOADS["decode"], "seed")


def state_of(pid):
    """T: stopped. A signal takes a moment to arrive."""
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "T":
            break
        time.sleep(0.01)
    return state


class WhatIsShown(unittest.TestCase):
    def test_time_left(self):
        group = Group(0, 2, "decode")
        self.assertIsNone(progress.time_left({}, [(group, FATHOM)]))
        known = {(2, "decode", FATHOM): 10.0, (2, "decode", LLAMA): 20.0}
        self.assertEqual(progress.time_left(known, [(group, FATHOM), (group, LLAMA), (group, PYTHON)]), 45)

    def test_quiet_in_a_pipe(self):
        stream = io.StringIO()
        shown = progress.Progress(stream)
        shown.begin([], [(Group(0, 2, "decode"), FATHOM)])
        shown.next(Group(0, 2, "decode"), FATHOM, 1)
        shown.done(record(0, FATHOM, 1.0))
        self.assertEqual(stream.getvalue(), "")
        shown.note("x is left out")
        self.assertEqual(stream.getvalue(), "peers: x is left out\n")

    def test_a_terminal_sees_what_runs(self):
        stream = io.StringIO()
        stream.isatty = lambda: True
        shown = progress.Progress(stream)
        shown.begin([record(0, FATHOM, 1.0, wall_s=120)], [(Group(1, 2, "decode"), FATHOM)])
        shown.next(Group(1, 2, "decode"), FATHOM, 5)
        self.assertIn("round 2 of 5  decode, 2 threads  fathom Q4_1  2 min left", stream.getvalue())


FAKE_FATHOM = """#!/usr/bin/env python3
import json, os, sys, time
arguments = sys.argv[1:]
option = dict(zip(arguments[1::1], arguments[2::1]))
if arguments == ["--version"]:
    print("fathom 9.9 (kernels this machine runs: avx2, portable)")
elif arguments[0] == "inspect":
    print("context            2048")
else:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(" ".join(arguments) + "\\n")
    calls = open(os.environ["CALLS"]).read().count("\\n")
    if calls == int(os.environ.get("HANG_AT", "0")):
        time.sleep(600)
    speed = {"tokens_per_s": {"median": 100.0 + calls}}
    print(json.dumps({"kernels": "avx2", "read_bandwidth_gb_per_s": 20.0,
                      "depths": [{"prefill": speed, "decode": speed, "read_bandwidth_share": 0.5}]}))
"""


class WholeRun(unittest.TestCase):
    """With a fathom that only pretends, and no peer."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program, self.model, self.calls = (self.folder / name for name in ("fathom", "m.Q4_1.gguf", "calls"))
        self.program.write_text(FAKE_FATHOM)
        self.program.chmod(0o755)
        self.model.write_text("weights")
        self.arguments = [sys.executable, "-B", HERE / "run.py", "--fathom", self.program, "--model", self.model,
                          "--folder", self.folder / "peers", "--contenders", "fathom,fathom-avx2", "--rounds", "2",
                          "--threads", "1", "--workloads", "decode,prefill-512,prefill-4096"]

    def start(self, *more, **environment):
        return subprocess.Popen([*map(str, self.arguments), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**os.environ, "CALLS": str(self.calls), **environment})

    def finish(self, child, expected=0):
        out, err = child.communicate(timeout=300)
        self.assertEqual(child.returncode, expected, err)
        return out, err

    def test_results(self):
        out, err = self.finish(self.start())
        self.assertIn("| fathom | Q4_1 | 102 (101–103) | 103 (102–104) |", out)
        self.assertIn("prefill-4096 is left out: the model's context is 2048", err)
        self.assertIn("fathom-avx2 is left out: fathom takes avx2 by itself here", err)
        self.assertEqual((self.folder / "peers/results.md").read_text(), out)
        everything = json.loads((self.folder / "peers/results.json").read_text())
        self.assertEqual(len(everything["measurements"]), 4)
        self.assertEqual(everything["run"]["rounds"], 2)
        self.assertEqual(everything["run"]["read_bandwidth_gb_per_s"], {"1": 20})
        self.assertTrue((self.folder / "peers/results.csv").exists())
        json.loads((self.folder / "peers/results.vl.json").read_text())

        # Nothing is measured twice; other options are refused until --fresh, more rounds are not.
        again, _ = self.finish(self.start())
        self.assertEqual(again, out)
        self.assertEqual(len(self.calls.read_text().splitlines()), 4)
        _, err = self.finish(self.start("--new-tokens", "7"), expected=2)
        self.assertIn("other new_tokens; --fresh begins anew", err)
        self.finish(self.start("--rounds", "3"))
        self.assertEqual(len(self.calls.read_text().splitlines()), 6)
        self.finish(self.start("--new-tokens", "7", "--fresh"))
        self.assertEqual(len(self.calls.read_text().splitlines()), 10)
        self.finish(self.start("--rounds", "1", "--out", self.folder / "elsewhere"))
        self.assertEqual(len(self.calls.read_text().splitlines()), 12)
        self.assertTrue((self.folder / "elsewhere/results.md").exists())

    def test_interrupted_and_killed_runs_go_on(self):
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(number.name), contextlib.suppress(FileNotFoundError):
                self.calls.unlink(missing_ok=True)
                child = self.start("--fresh", HANG_AT="3")
                deadline = time.monotonic() + 120
                while not self.calls.exists() or len(self.calls.read_text().splitlines()) < 3:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)
                child.send_signal(number)
                self.finish(child, expected)
                self.assertEqual(fathoms_running(self.program), [])
                self.finish(self.start())
                self.assertEqual(len(self.calls.read_text().splitlines()), 3 + 2)

    def test_one_at_a_time(self):
        child = self.start(HANG_AT="1")
        deadline = time.monotonic() + 120
        while not self.calls.exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        _, err = self.finish(self.start(), expected=2)
        self.assertIn("another run works in", err)
        child.terminate()
        self.finish(child, 143)


def fathoms_running(program):
    """The processes that run the program, once those that were killed had a moment to go."""
    for _ in range(100):
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(program) + "\0bench" in each.read_bytes().decode(errors="replace"):
                    found.append(each.parent.name)
        if not found:
            break
        time.sleep(0.02)
    return found


if __name__ == "__main__":
    unittest.main()
