"""The witness: what was executed, told by the nodes themselves in a file that no store writes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

#: lines that say that an execution began; each stands for one attempt, or one opening or closing of a branch
BEGINNINGS: Final = ("begin", "open", "rescue", "handle")


class Line(NamedTuple):
    """One thing a node said. `at` is in seconds of the machine's monotonic clock."""

    at: float
    what: str
    run: str
    path: str
    attempt: int
    pid: int
    parent: int
    value: str


class Oracle:
    """Reads the records as they grow."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read = 0
        self._lines: list[Line] = []

    def lines(self) -> list[Line]:
        """Every line so far."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._read += len(whole)
            self._lines += map(_parse, whole.decode().splitlines())
        return self._lines

    def executions(self) -> Counter[tuple[str, str]]:
        """How often each node of each run was begun."""
        return Counter((line.run, line.path) for line in self.lines() if line.what in BEGINNINGS)

    def executes(self, parent: int, path: str) -> bool:
        """Whether a child of this process has begun the node with this path, in any run, and not ended it."""
        last = {
            line.pid: line.what
            for line in self.lines()
            if line.parent == parent and line.path == path
        }
        return "begin" in last.values()


def _parse(text: str) -> Line:
    at, what, run, path, attempt, pid, parent, value = text.split(" ")
    return Line(int(at) / 1e9, what, run, path, int(attempt), int(pid), int(parent), value)
