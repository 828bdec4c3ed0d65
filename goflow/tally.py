"""What a run has recorded, added up by node of the definition: the counting behind an overview."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from goflow.backend import NodeRun
from goflow.plan import Plan
from goflow.state import NodeState

#: for how many branch instances to remember what they are instances of
OWNERS: Final = 10_000
#: and how many characters of theirs, beside twice those of the definition: deep ones have long paths
LETTERS: Final = 4_000_000


class Tally:
    """What is recorded of one static node, added up over its instances.

    `width`, `done` and `opened` are about the scopes of a branch: how many there are, are complete, and
    how many instances of the branch opened any; `choices` counts their keys.
    """

    __slots__ = (
        "attempt",
        "choices",
        "counts",
        "done",
        "error",
        "finished",
        "opened",
        "started",
        "width",
    )

    def __init__(self) -> None:
        self.counts: dict[NodeState, int] = {}
        self.attempt = self.done = self.opened = 0
        self.started: float | None = None
        self.finished: float | None = None
        self.error: str | None = None
        self.width: int | None = None
        self.choices: dict[str, int] = {}

    def add(self, node: NodeRun) -> None:
        self.counts[node.state] = self.counts.get(node.state, 0) + 1
        self.attempt = max(self.attempt, node.attempt)
        if node.started is not None and (self.started is None or node.started < self.started):
            self.started = node.started
        if node.finished is not None and (self.finished is None or node.finished > self.finished):
            self.finished = node.finished
        if node.error is not None and (self.error is None or node.state == NodeState.FAILED):
            self.error = node.error
        if node.width is not None:
            self.opened += 1
            self.width = (self.width or 0) + node.width
            self.done += node.done
            for key in node.keys or ():
                self.choices[key] = self.choices.get(key, 0) + 1


class StaticPaths:
    """The static path of a node instance's path. Works on text alone: a live view asks very often."""

    def __init__(self, plan: Plan) -> None:
        self._kinds = {static: node.kind for static, node in plan.walk()}
        self._owners: dict[str, str] = {}
        self._most = self._room = LETTERS + 2 * sum(map(len, self._kinds))

    def __contains__(self, static: str) -> bool:
        return static in self._kinds

    def __call__(self, path: str) -> str:
        head, slash, name = path.rpartition("/")
        if not slash:
            return path
        owner, bracket, key = head.rpartition("[") if head[-1:] == "]" else (head, "", "")
        known = self._owners.get(owner)
        if known is None:
            known = self._owner(owner)
        return self._inside(known, bracket + key, name)

    def _inside(self, owner: str, key: str, name: str) -> str:
        if not key:
            return f"{owner}/{name}"
        return f"{owner}{'[]' if self._kinds.get(owner) == 'foreach' else key}/{name}"

    def _owner(self, path: str) -> str:
        """The static path of a branch or sub-DAG: walks out to one that is known, and remembers all on the way."""
        passed: list[tuple[str, str, str]] = []
        known: str | None = None
        while known is None:
            head, slash, name = path.rpartition("/")
            if not slash:
                known = self._remember(path, path)
                break
            owner, bracket, key = head.rpartition("[") if head[-1:] == "]" else (head, "", "")
            passed.append((path, bracket + key, name))
            path, known = owner, self._owners.get(owner)
        for inner, key, name in reversed(passed):
            known = self._remember(inner, self._inside(known, key, name))
        return known

    def _remember(self, owner: str, static: str) -> str:
        self._room -= len(owner) + len(static)
        if len(self._owners) >= OWNERS or self._room < 0:
            self._owners.clear()  # only remembered to be quick
            self._room = self._most
        self._owners[owner] = static
        return static


def tally(plan: Plan, nodes: Iterable[NodeRun]) -> dict[str, Tally]:
    """What is recorded, by static path."""
    static = StaticPaths(plan)
    tallies: dict[str, Tally] = {}
    for node in nodes:
        if node.path[-1:] == "]":
            continue
        path = static(node.path)
        tally = tallies.get(path)
        if tally is None:
            if path not in static:
                continue
            tally = tallies[path] = Tally()
        tally.add(node)
    return tallies
