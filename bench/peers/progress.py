"""What a person at a terminal sees. In a pipe only notes are written, none of the running line."""

import sys

from store import entrant_of


class Progress:
    def __init__(self, stream=sys.stderr):
        self.stream = stream
        self.terminal = stream.isatty()
        self._seconds = {}  # (threads, workload, entrant) -> of its last measurement
        self._left = []

    def note(self, text):
        self.clear()
        print(f"peers: {text}", file=self.stream, flush=True)

    def begin(self, records, todo):
        """`todo`: (group, entrant) for all that will be measured, in order."""
        for record in records:
            self._learn(record)
        self._left = todo

    def next(self, group, entrant, rounds):
        if not self.terminal:
            return
        left = time_left(self._seconds, self._left)
        text = (f"round {group.round + 1} of {rounds}  {group.workload}, {group.threads} threads  {entrant}"
                f"{'' if left is None else f'  {in_words(left)} left'}")
        print(f"\r\033[K{text}", end="", file=self.stream, flush=True)

    def done(self, record):
        self._learn(record)
        self._left = self._left[1:]

    def clear(self):
        if self.terminal:
            print("\r\033[K", end="", file=self.stream, flush=True)

    def _learn(self, record):
        self._seconds[record["threads"], record["workload"], entrant_of(record)] = record["wall_s"]


def time_left(seconds, left):
    """Seconds for what is left, by how long each took last; one that is not known yet as long as the mean of those
    that are. None as long as nothing is known."""
    if not seconds:
        return None
    mean = sum(seconds.values()) / len(seconds)
    return sum(seconds.get((group.threads, group.workload, entrant), mean) for group, entrant in left)


def in_words(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
