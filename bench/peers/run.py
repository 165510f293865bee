#!/usr/bin/env python3
"""Compares fathom with llama.cpp, CTranslate2, OpenVINO GenAI and transformers: same model, same work, in turn.

Usage: bench/peers/run.py [--help]
Peers are fetched and built under build/peers/, where results go too: results.md, .csv, .json and .vl.json. A run
that was interrupted or killed goes on with the same command. README.md beside this file says how it measures.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import re
import signal
import sys
import time
from pathlib import Path

import machine
import results
from fathom import KERNELS, Fathom
from llama_cpp import VARIANTS, LlamaCpp, runs_here
from process import Failed, run
from progress import Progress
from python_peers import CHECK_TOKENS, SCRIPTS, Environment, Worker
from store import OtherRun, Store
from work import WORKLOADS, Entrant, plan, shortened

ROOT = Path(__file__).resolve().parents[2]
CONTENDERS = (*KERNELS, *VARIANTS, *SCRIPTS)
# Goes on in one way only, so that another rounding gives the same tokens.
CHECK_PROMPT = "one two three four five six seven eight nine ten one two three four five six seven eight nine ten one two three"


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options.folder.mkdir(parents=True, exist_ok=True)
    with (options.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another run works in {options.folder}") from None
        with contextlib.ExitStack() as stack:
            Comparison(options, stack).run()


class Comparison:
    """One run: what takes part, and what was measured."""

    def __init__(self, options, stack):
        self.options = options
        self.stack = stack
        self.progress = Progress()
        self.left_out = {}
        self.workers = {}  # (contender, threads) -> Worker
        self.versions = {}
        self.agreement = {}

    def run(self):
        options = self.options
        self.model = options.model or Path(run([ROOT / "tools" / "fetch_model.sh"]).strip())
        self.fathom = Fathom(options.fathom)
        self.versions["fathom"] = self.fathom.version
        context = self.fathom.context(self.model)
        self.workloads = {}
        for name in options.workloads:
            workload = shortened(WORKLOADS[name], options.new_tokens)
            if workload.positions <= context:
                self.workloads[name] = workload
            else:
                self.leave_out(name, f"the model's context is {context}")
        digest = sha256(self.model)
        ours, self.aliases = self.choose_fathom()
        llama = self.set_up_llama_cpp()
        self.files = self.make_files(llama, digest)
        python = self.set_up_python(digest)
        with_files = [Entrant(name, type_) for type_ in self.files for name in (*ours, *llama)]
        self.entrants = with_files + [Entrant(name, self.reference_type) for name in python]
        of = {
            "fathom_sha256": sha256(options.fathom), "model": self.model.name, "model_sha256": digest,
            "cpu": machine.describe()["cpu"], "new_tokens": options.new_tokens, "versions": self.versions,
            "threads": options.threads, "workloads": list(self.workloads), "entrants": list(map(str, self.entrants)),
        }
        options.out.mkdir(parents=True, exist_ok=True)
        if options.fresh:
            (options.out / "results.jsonl").unlink(missing_ok=True)
        try:
            store = Store(options.out / "results.jsonl", of, self.entrants)
        except OtherRun as error:
            raise Failed(f"{error}; --fresh begins anew") from None
        try:
            self.measure(store)
        finally:
            self.progress.clear()
            store.close()
            if records := store.whole():
                self.write(store.run, records)
        print((options.out / "results.md").read_text(), end="")

    def leave_out(self, name, why):
        self.left_out[name] = why
        self.progress.note(f"{name} is left out: {why}")

    def choose_fathom(self):
        """fathom's contenders that take part, and who stands for one that is left out for being the same."""
        taken, left_out = self.fathom.contenders()
        for name, why in left_out.items():
            if name in self.options.contenders:
                self.leave_out(name, why)
        aliases = {name: "fathom" for name, kernels in KERNELS.items() if kernels == self.fathom.kernels[0]}
        return [name for name in taken if name in self.options.contenders], aliases

    def set_up_llama_cpp(self):
        """llama.cpp's variants that take part, the fastest first."""
        self.llama_cpp = LlamaCpp(self.options.folder / "llama.cpp", self.progress.note)
        flags, names = machine.cpu_flags(), []
        for name in VARIANTS:
            if name in self.options.contenders:
                why = runs_here(name, flags)
                names.append(name) if why is None else self.leave_out(name, why)
        found = []
        try:
            self.llama_cpp.build(names)
        except Failed as error:
            for name in names:
                self.leave_out(name, error)
            return []
        for name in names:
            try:
                self.llama_cpp.check(name)
                found.append(name)
            except Failed as error:
                self.leave_out(name, error)
        if found:
            self.versions["llama.cpp"] = self.llama_cpp.version
        return found

    def make_files(self, llama, digest):
        """weight type -> file: the model's own and those that --types asks for."""
        self.reference_type = type_of(self.model)
        files = {self.reference_type: self.model}
        for type_ in self.options.types:
            if type_ in files:
                continue
            target = self.options.folder / "models" / f"{digest[:16]}.{type_}.gguf"
            try:
                if not target.exists():
                    if not llama:
                        raise Failed("only llama.cpp makes such files, and it is not there")
                    target.parent.mkdir(exist_ok=True)
                    self.llama_cpp.quantize(llama, self.model, type_, target)
                files[type_] = target
            except Failed as error:
                self.leave_out(type_, error)
        return files

    def set_up_python(self, digest):
        """The peers in Python that take part, running."""
        wanted = [name for name in SCRIPTS if name in self.options.contenders]
        if not wanted:
            return []
        environment = Environment(self.options.folder, self.progress.note)
        try:
            environment.install()
        except Failed as error:
            for name in wanted:
                self.leave_out(name, error)
            return []
        prompt, expected = self.fathom.greedy(self.model, CHECK_PROMPT, CHECK_TOKENS)
        found = []
        for name in wanted:
            try:
                model = environment.model(name, self.model, digest)
                for threads in self.options.threads:
                    self.start(name, environment.python, model, threads)
                worker = self.workers[name, self.options.threads[0]]
                self.agreement[name] = worker.agreement(prompt, expected)
                self.versions.update(worker.versions)
                found.append(name)
            except Failed as error:
                self.leave_out(name, error)
                for threads in self.options.threads:
                    if worker := self.workers.pop((name, threads), None):
                        worker.close()
        return found

    def start(self, name, python, model, threads):
        self.progress.note(f"starting {name} with {threads} threads")
        log = self.options.folder / f"{name}-{threads}.log"
        self.workers[name, threads] = self.stack.enter_context(Worker(name, python, model, threads, log))

    def measure(self, store):
        rounds = range(self.options.rounds)
        done = store.done()
        todo = [(group, order) for group, order in
                plan(len(rounds), self.options.threads, list(self.workloads), self.entrants) if group not in done]
        self.progress.begin(store.records, [(group, entrant) for group, order in todo for entrant in order])
        for group, order in todo:
            for entrant in order:
                self.progress.next(group, entrant, self.options.rounds)
                record = {"round": group.round, "threads": group.threads, "workload": group.workload,
                          "contender": entrant.contender, "type": entrant.type, "begun": round(time.time(), 3)}
                begun = time.monotonic()
                try:
                    record.update(self.measure_one(group, entrant))
                except Failed as error:
                    record["failure"] = str(error)
                record["wall_s"] = round(time.monotonic() - begun, 3)
                store.add(record)
                self.progress.done(record)

    def measure_one(self, group, entrant):
        workload, model = self.workloads[group.workload], self.files[entrant.type]
        if entrant.contender in KERNELS:
            return self.fathom.measure(entrant.contender, model, workload, group.threads)
        if entrant.contender in VARIANTS:
            return self.llama_cpp.measure(entrant.contender, model, workload, group.threads)
        return self.workers[entrant.contender, group.threads].measure(workload, f"{group.round} {group.workload}")

    def write(self, run_, records):
        folder = self.options.out
        rows = results.summarize(records, self.entrants, self.aliases)
        best = results.bests(rows, self.reference_type)
        about = {**run_, "rounds": len({record["round"] for record in records}),
                 "reference_type": self.reference_type, "left_out": {name: str(why) for name, why in self.left_out.items()},
                 "read_bandwidth_gb_per_s": results.read_bandwidths(records),
                 "greedy_tokens_as_fathom": {name: f"{same} of {CHECK_TOKENS}" for name, same in self.agreement.items()}}
        described = machine.describe()
        everything = {"run": about, "machine": described, "summary": rows, "best_of_llama_cpp": best,
                      "measurements": records}
        (folder / "results.json").write_text(json.dumps(everything, indent=1) + "\n")
        (folder / "results.csv").write_text(results.csv_text(rows))
        (folder / "results.md").write_text(results.markdown(rows, best, about, described))
        (folder / "results.vl.json").write_text(json.dumps(results.figure(rows, self.workloads), indent=2) + "\n")


def parse_options():
    parser = argparse.ArgumentParser(description="Compares fathom with its peers on this machine.",
                                     epilog="Example: bench/peers/run.py --contenders fathom,llama.cpp-avx2 --threads 2")
    parser.add_argument("--fathom", type=Path, default=ROOT / "build" / "release" / "fathom", metavar="PATH",
                        help="the program (default: build/release/fathom)")
    parser.add_argument("--model", type=Path, metavar="FILE.gguf", help="default: the default model")
    parser.add_argument("--contenders", type=names_of(CONTENDERS), default=CONTENDERS, metavar="NAMES",
                        help=f"of {', '.join(CONTENDERS)} (default: all); fathom is always one of them")
    parser.add_argument("--workloads", type=names_of(WORKLOADS), default=list(WORKLOADS), metavar="NAMES",
                        help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--types", type=type_names, default=[], metavar="NAMES",
                        help="weight types that fathom and llama.cpp are also measured on, such as Q4_0,Q8_0,Q4_K_M")
    parser.add_argument("--threads", type=counts, default=[2, 1], metavar="N,...", help="default: 2,1")
    parser.add_argument("--rounds", type=count, default=5, metavar="N", help="default: 5")
    parser.add_argument("--new-tokens", type=count, default=128, metavar="N",
                        help="that are decoded of each sequence (default: 128)")
    parser.add_argument("--fresh", action="store_true", help="forget the results of an earlier run")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "peers",
                        help="where the peers are (default: build/peers)")
    parser.add_argument("--out", type=Path, help="where results go (default: the folder of the peers)")
    options = parser.parse_args()
    if "fathom" not in options.contenders:
        options.contenders = ["fathom", *options.contenders]
    options.folder = options.folder.resolve()
    options.out = (options.out or options.folder).resolve()
    options.fathom = options.fathom.resolve()
    if options.model:
        options.model = options.model.resolve()
    for path in filter(None, (options.fathom, options.model)):
        if not path.is_file():
            parser.error(f"{path}: no such file" + (" (make build makes it)" if path == options.fathom else ""))
    return options


def names_of(known):
    def parse(text):
        names = list(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names
    return parse


def type_names(text):
    names = text.split(",")
    for name in names:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]+", name):
            raise argparse.ArgumentTypeError(f"{name!r} is no weight type such as Q4_K_M")
    return names


def count(text):
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def counts(text):
    return list(dict.fromkeys(map(count, text.split(","))))


def type_of(model):
    """The weight type that a file's name ends with, as GGUF files are named; else the name."""
    found = re.search(r"[.-]((?:I?Q\d\w*|F16|BF16|F32))$", model.stem, re.IGNORECASE)
    return found[1].upper() if found else model.stem


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        print(f"peers: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("peers: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
