"""Results as they come: JSON Lines that survive a kill, so that the same command goes on where it was."""

import json
import os

from work import Entrant, Group


class OtherRun(Exception):
    """The file holds a run with other options."""


class Store:
    """The first line says what the run is of; each line after it is one measurement.

    A group (see work.py) that was cut short is measured anew as a whole, since the entrants of a group are
    compared with each other.
    """

    def __init__(self, path, run, entrants):
        self.path = path
        self.run = run
        self.records = []
        self._entrants = set(entrants)
        if path.exists():
            found, records = _read(path)
            if found is not None and (differing := differences(found, run)):
                raise OtherRun(f"{path} holds a run with other {', '.join(differing)}")
            self.records = self._of_whole_groups(records)
        self._file = self._rewrite()

    def _rewrite(self):
        beside = self.path.with_name(self.path.name + ".new")
        with beside.open("w") as out:
            for each in (self.run, *self.records):
                out.write(json.dumps(each) + "\n")
        os.replace(beside, self.path)
        return self.path.open("a")

    def _of_whole_groups(self, records):
        groups = {}
        for record in records:
            groups.setdefault(group_of(record), []).append(record)
        return [record for of_group in groups.values() for record in of_group
                if {entrant_of(each) for each in of_group} >= self._entrants]

    def whole(self):
        """The records of the groups that are complete."""
        return self._of_whole_groups(self.records)

    def done(self):
        """The groups that are complete."""
        return {group_of(record) for record in self.whole()}

    def add(self, record):
        self.records.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self):
        self._file.close()


def differences(found, wanted):
    """The keys by which two runs differ."""
    return sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))


def group_of(record):
    return Group(record["round"], record["threads"], record["workload"])


def entrant_of(record):
    return Entrant(record["contender"], record["type"])


def _read(path):
    """The run and its records; a last line that a kill cut off is dropped."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return (lines[0], lines[1:]) if lines else (None, [])
