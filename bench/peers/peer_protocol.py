"""How a peer in Python answers: one JSON object a line, on standard output, for each on standard input.

The first line is {"ready": versions}. Requests are
    {"phase": "prefill" | "decode", "tokens", "context", "batch", "seed"}  answered by {"seconds": of the measured part}
    {"greedy": prompt token ids, "count"}                                 answered by {"tokens": ids}
and what goes wrong is answered by {"error": one line}.
"""

import json
import os
import random
import sys
import time
from importlib.metadata import version

VOCABULARY_FROM, VOCABULARY_TO = 100, 49_000  # ids that any model of the family has, and that are plain text


class Peer:
    """What a peer implements. Prompts are lists of token ids, all of one length."""

    packages = ()

    def prefill(self, prompt):
        """Runs a prompt up to the logits of its last token; returns the seconds."""
        raise NotImplementedError

    def decode(self, prompts, count):
        """Runs the prompts, then `count` steps of greedy decoding that none may end early; returns the steps' seconds."""
        raise NotImplementedError

    def greedy(self, prompt, count):
        """The `count` tokens that greedy decoding appends."""
        raise NotImplementedError


def random_prompts(count, length, seed):
    """Prompts that no cache of an earlier request knows."""
    stream = random.Random(seed)
    return [[stream.randrange(VOCABULARY_FROM, VOCABULARY_TO) for _ in range(length)] for _ in range(count)]


def answer(peer, request):
    if "greedy" in request:
        return {"tokens": peer.greedy(request["greedy"], request["count"])}
    warm_up, measured = (random_prompts(request["batch"], request["tokens"] if request["phase"] == "prefill"
                                        else request["context"], f"{request['seed']} {turn}")
                         for turn in ("warm-up", "measured"))
    if request["phase"] == "prefill":
        peer.prefill(warm_up[0])
        return {"seconds": peer.prefill(measured[0])}
    peer.decode(warm_up, 8)
    return {"seconds": peer.decode(measured, request["tokens"])}


def serve(make_peer):
    """Answers until standard input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message):
        answers.write(json.dumps(message) + "\n")

    try:
        peer = make_peer()
        say({"ready": {package: version(package) for package in peer.packages}})
    except Exception as error:  # whatever it is, the harness is told and goes on without this peer
        say({"error": one_line(error)})
        return 1
    for line in sys.stdin:
        try:
            say(answer(peer, json.loads(line)))
        except Exception as error:
            say({"error": one_line(error)})
    return 0


def one_line(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


class Stopwatch:
    def __init__(self):
        self._start = time.perf_counter()

    def seconds(self):
        return time.perf_counter() - self._start
