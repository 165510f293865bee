"""What is measured, and in which order."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Workload:
    """A prefill of `tokens`, or decoding `tokens` new ones of each of `batch` sequences after `context`."""

    name: str
    phase: str  # "prefill" or "decode"
    tokens: int
    context: int = 1
    batch: int = 1

    @property
    def all_tokens(self):
        """That are divided by the seconds."""
        return self.tokens * self.batch

    @property
    def positions(self):
        """How long a context the model must have."""
        return self.tokens if self.phase == "prefill" else self.context + self.tokens


WORKLOADS = {
    each.name: each
    for each in (
        Workload("decode", "decode", 128),
        Workload("decode-1024", "decode", 128, context=1024),
        Workload("decode-batch16", "decode", 128, batch=16),
        Workload("prefill-512", "prefill", 512),
        Workload("prefill-4096", "prefill", 4096),
    )
}


def shortened(workload, new_tokens):
    """The workload with another number of new tokens; a prefill has none and stays as it is."""
    return workload if workload.phase == "prefill" else replace(workload, tokens=new_tokens)


@dataclass(frozen=True)
class Entrant:
    """A contender with one of the files: `type` is the file's weight type."""

    contender: str
    type: str

    def __str__(self):
        return f"{self.contender} {self.type}"


@dataclass(frozen=True)
class Group:
    """What is compared within a round: one workload with one number of threads, by every entrant."""

    round: int
    threads: int
    workload: str

    def order(self, entrants, groups_a_round):
        """Every entrant once; who begins moves on with each round and each group of it."""
        first = (self.round + groups_a_round) % len(entrants)
        return entrants[first:] + entrants[:first]


def plan(rounds, threads, workloads, entrants):
    """(Group, its entrants in order), for all rounds."""
    for round_ in range(rounds):
        kinds = [(count, name) for count in threads for name in workloads]
        for place, (count, name) in enumerate(kinds):
            group = Group(round_, count, name)
            yield group, group.order(entrants, place)
