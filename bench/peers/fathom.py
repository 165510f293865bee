"""fathom itself, by `fathom bench --json`."""

import json
import os
import re

from process import MEASUREMENT_SECONDS, Failed, run

# FATHOM_KERNELS for each contender; fathom alone chooses the best that the machine runs.
KERNELS = {"fathom": None, "fathom-avx512": "avx512vnni", "fathom-avx2": "avx2"}


class Fathom:
    def __init__(self, program):
        self.program = program
        version = run([program, "--version"]).strip()
        self.version, self.kernels = parse_version(version)

    def contenders(self):
        """name -> kernels, and name -> why it is left out."""
        taken, left_out = {"fathom": self.kernels[0]}, {}
        for name, kernels in KERNELS.items():
            if kernels is None:
                continue
            if kernels == self.kernels[0]:
                left_out[name] = f"fathom takes {kernels} by itself here"
            elif kernels not in self.kernels:
                left_out[name] = f"this machine does not run {kernels}"
            else:
                taken[name] = kernels
        return taken, left_out

    def measure(self, contender, model, workload, threads):
        output = run(self.command(model, workload, threads), env=environment(contender),
                     timeout=MEASUREMENT_SECONDS)
        return parse_bench(output, workload)

    def command(self, model, workload, threads):
        prefill = workload.phase == "prefill"
        return [self.program, "bench", "--json", "--model", model, "--threads", threads, "--repeat", 1,
                "--prompt-tokens", workload.tokens if prefill else 1,
                "--new-tokens", 1 if prefill else workload.tokens,
                "--context", workload.context, "--batch", workload.batch]

    def context(self, model):
        """The longest context of the model, in tokens."""
        shown = re.search(r"^context\s+(\d+)", run([self.program, "inspect", "--model", model]), re.MULTILINE)
        if not shown:
            raise Failed(f"{self.program} inspect shows no context of {model}")
        return int(shown[1])

    def greedy(self, model, prompt, count):
        """A prompt's tokens and the `count` likeliest that follow, in float32."""
        output = json.loads(run([self.program, "generate", "--json", "--raw", "--precision", "exact", "--model", model,
                                 "--prompt", prompt, "--max-new-tokens", count]))
        return output["prompt_tokens"], output["tokens"]


def environment(contender):
    env = {key: value for key, value in os.environ.items() if key != "FATHOM_KERNELS"}
    if KERNELS[contender]:
        env["FATHOM_KERNELS"] = KERNELS[contender]
    return env


def parse_version(text):
    """`fathom --version`: the version, and the kernels that the machine runs, best first."""
    found = re.fullmatch(r"fathom (\S+) \(kernels this machine runs: ([\w, ]+)\)", text)
    if not found:
        raise Failed(f"fathom --version printed {text!r}")
    return found[1], found[2].split(", ")


def parse_bench(text, workload):
    """What `fathom bench --json` measured at full depth."""
    try:
        result = json.loads(text)
        full = result["depths"][0]
        measured = {
            "tokens_per_s": full[workload.phase]["tokens_per_s"]["median"],
            "kernels": result["kernels"],
            "read_bandwidth_gb_per_s": result["read_bandwidth_gb_per_s"],
        }
        if workload.phase == "decode":
            measured["read_bandwidth_share"] = full["read_bandwidth_share"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Failed(f"fathom bench: output not understood ({error!r})") from None
    return measured
