"""A run as it goes where there is no terminal: one line for each change of a node's state.

The nodes inside a foreach are told as its progress, once a second at most, and one by one only where
they fail: a log of half a million lines helps nobody.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self, TextIO

from goflow.backend import NodeRun
from goflow.overview import NodeSummary, Overview
from goflow.plan import Plan
from goflow.state import NodeState
from goflow_cli.views.line import LineWriter, sentence

#: seconds between two looks at least; the store is left alone meanwhile
SOONEST: Final = 0.2
#: how many times as long as a look took the next one has to wait
COST: Final = 19
#: seconds between two lines about the progress of a foreach
PROGRESS: Final = 1.0

_TOLD: Final = frozenset(
    {
        NodeState.RUNNING,
        NodeState.RETRYING,
        NodeState.SUCCEEDED,
        NodeState.FAILED,
        NodeState.STOPPED,
    }
)


class PlainView:
    """Writes lines such as `12:03:01 fetch succeeded 1.2 s` until the `with` block ends."""

    def __init__(
        self,
        plan: Plan,
        current: Callable[[], Overview],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._branches = {path: node.kind for path, node in plan.walk() if node.kind != "node"}
        self._current = current
        self._lines = LineWriter(stream or sys.stderr)
        self._clock = clock
        self._due = clock() + SOONEST
        self._states: dict[str, NodeState] = {}
        self._done: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell what has changed since the last look, unless something else went wrong."""
        if error is None or isinstance(error, KeyboardInterrupt):
            self._tell(self._current())

    def tick(self) -> float:
        """Tell what has changed if it is time. Answers in how many seconds to call it again."""
        begin = self._clock()
        if begin < self._due:
            return self._due - begin
        self._tell(self._current())
        end = self._clock()
        self._due = end + max(SOONEST, COST * (end - begin))
        return max(PROGRESS, self._due - end)

    def say(self, text: str) -> None:
        """A word of goflow itself between what the run tells."""
        self._lines.write(text, time.time())

    def _tell(self, overview: Overview) -> None:
        changes = [*self._changes(overview), *self._failures(overview), *self._handlers(overview)]
        for moment, line in sorted(changes, key=lambda change: change[0]):
            self._lines.write(line, moment)

    def _changes(self, overview: Overview) -> Iterator[tuple[float, str]]:
        for path, summary in overview.nodes.items():
            if "[]" in path:
                continue
            if self._branches.get(path) == "foreach":
                yield from self._progress(summary, overview.now)
            if summary.state in _TOLD and self._states.get(path) != summary.state:
                self._states[path] = summary.state
                yield _line(summary, overview.now)

    def _progress(self, summary: NodeSummary, now: float) -> Iterator[tuple[float, str]]:
        done, last = self._done.get(summary.path, (-1, 0.0))
        moving = summary.state == NodeState.RUNNING and summary.width
        if moving and summary.done != done and now - last >= PROGRESS:
            self._done[summary.path] = (summary.done, now)
            yield now, f"{summary.path} {summary.done}/{summary.width}"

    def _failures(self, overview: Overview) -> Iterator[tuple[float, str]]:
        """Instances that failed inside a foreach."""
        for node in overview.notable:
            if node.state != NodeState.FAILED or node.path in self._states or not node.error:
                continue
            if node.path not in overview.nodes:
                self._states[node.path] = node.state
                yield _line(node, overview.now)

    def _handlers(self, overview: Overview) -> Iterator[tuple[float, str]]:
        for node in overview.handlers:
            if node.state in _TOLD and self._states.get(node.path) != node.state:
                self._states[node.path] = node.state
                yield _line(node, overview.now)


def _line(node: NodeSummary | NodeRun, now: float) -> tuple[float, str]:
    """When something became of a node, and what."""
    state, moment, took = node.state, now, None
    if state == NodeState.RUNNING and node.started is not None:
        moment = node.started
    elif node.finished is not None:
        moment = node.finished
        if node.started is not None and state != NodeState.STOPPED:
            took = node.finished - node.started
    over = node.width is not None and state != NodeState.RUNNING
    failed = state in (NodeState.FAILED, NodeState.RETRYING)
    return moment, sentence(
        node.path,
        state,
        took=took,
        done=(node.done, node.width) if over and node.width is not None else None,
        attempt=node.attempt,
        error=node.error if failed else None,
    )
