"""A run that executes here, told in plain lines: from what its worker commits, not from the store.

Nothing is kept but a few numbers for each branch, so a run of a million nodes costs no memory to watch. The
nodes inside a foreach are told as its progress, once a second at most, and one by one only where they
fail.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from goflow.drawing.text import duration
from goflow.message import Outcome, Step, Task
from goflow.nodepath import is_join
from goflow.plan import Plan
from goflow.state import NodeState
from goflow_cli.views.line import LineWriter, sentence
from goflow_cli.watching import Echo

#: seconds between two lines about the progress of a branch
PROGRESS: Final = 1.0
#: seconds a node has to be running before that is worth a line
SOONEST: Final = 0.2


class Lines(Echo):
    """Writes lines such as `12:03:01 fetch succeeded 1.2 s` to stderr."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._lines = LineWriter(sys.stderr)
        self._running: dict[str, tuple[str, int, float]] = {}
        self._branches: dict[str, _Branch] = {}

    def started(self, task: Task) -> None:
        if self._told(task.path):
            self._running[task.token] = (task.path, task.attempt, time.monotonic() + SOONEST)

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        super().finished(outcome, accepted)
        task, step = outcome.task, outcome.step
        self._running.pop(task.token, None)
        if not accepted or outcome.released:
            return
        if step is not None:
            self._count(step)
        if step is not None and step.opened is not None:
            if self._told(task.path):
                self._branches[task.path] = _Branch(step.opened.expects, outcome.started)
                self._line(sentence(task.path, NodeState.RUNNING))
        elif step is not None and self._told(task.path):
            branch = self._branches.pop(task.path, None)
            begun = outcome.started if branch is None else branch.started
            done = (branch.width, branch.width) if branch is not None else None
            unknown = task.closing and branch is None  # it opened in an earlier round
            took = None if unknown else outcome.finished - begun
            self._line(sentence(task.path, NodeState.SUCCEEDED, took=took, done=done))
        elif outcome.failure is not None:
            self._failure(outcome)

    def pulse(self) -> float | None:
        """Tell what has been running for a while, and how far branches are."""
        now = time.monotonic()
        due: list[float] = []
        for token, (path, attempt, when) in list(self._running.items()):
            if now >= when:
                self._line(sentence(path, NodeState.RUNNING, attempt=attempt))
                del self._running[token]
            else:
                due.append(when - now)
        for path, branch in self._branches.items():
            if branch.done == branch.shown:
                continue
            if now >= branch.due:
                self._line(f"{path} {branch.done}/{branch.width}")
                branch.shown, branch.due = branch.done, now + PROGRESS
            due.append(max(0.0, branch.due - now))
        return min(due, default=None)

    def _count(self, step: Step) -> None:
        for arrival in step.arrivals:
            if arrival.closing and arrival.target in self._branches:
                self._branches[arrival.target].done += 1

    def _failure(self, outcome: Outcome) -> None:
        then, state = "", NodeState.FAILED
        if outcome.retry_at is not None:
            state = NodeState.RETRYING
            then = f"again in {duration(outcome.retry_at - outcome.finished)}"
        elif outcome.rescue:
            then = "its on_failure is next"
        took, error = outcome.finished - outcome.started, str(outcome.failure)
        self._line(sentence(outcome.task.path, state, took=took, error=error, then=then))

    def _told(self, path: str) -> bool:
        """Whether a node gets lines of its own: not inside a foreach, and no join we add."""
        if is_join(path):
            return False
        return path.startswith("~") or "[]" not in self._plan.locate(path).static

    def _line(self, text: str) -> None:
        self._lines.write(text)


class _Branch:
    """How far an open branch is."""

    __slots__ = ("done", "due", "shown", "started", "width")

    def __init__(self, width: int, started: float) -> None:
        self.width = width
        self.started = started
        self.done = self.shown = 0
        self.due = time.monotonic() + PROGRESS
