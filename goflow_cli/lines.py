"""A run that executes here, told in plain lines: from what its worker commits, not from the store.

Nothing is kept but a few numbers for each branch, so a run of a million nodes costs no memory to watch. The
nodes inside a foreach are told as its progress, once a second at most, and one by one only where they
fail.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from goflow.drawing.text import clean, duration
from goflow.message import Outcome, Step, Task
from goflow.plan import Plan
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
        self._running: dict[str, tuple[str, float]] = {}
        self._branches: dict[str, _Branch] = {}

    def started(self, task: Task) -> None:
        if self._told(task.path):
            self._running[task.token] = (task.path, time.monotonic() + SOONEST)

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
                self._line(f"{task.path} running")
        elif step is not None and self._told(task.path):
            branch = self._branches.pop(task.path, None)
            begun = outcome.started if branch is None else branch.started
            told = f" ({branch.width}/{branch.width})" if branch is not None else ""
            self._line(f"{task.path} succeeded {duration(outcome.finished - begun)}{told}")
        elif outcome.failure is not None:
            self._failure(outcome)

    def pulse(self) -> float | None:
        """Tell what has been running for a while, and how far branches are."""
        now = time.monotonic()
        due: list[float] = []
        for token, (path, when) in list(self._running.items()):
            if now >= when:
                self._line(f"{path} running")
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
        again = ""
        if outcome.retry_at is not None:
            again = f", again in {duration(outcome.retry_at - outcome.finished)}"
        elif outcome.rescue:
            again = ", its on_failure is next"
        word = "retrying" if outcome.retry_at is not None else "failed"
        self._line(f"{outcome.task.path} {word}: {outcome.failure}{again}")

    def _told(self, path: str) -> bool:
        """Whether a node gets lines of its own: not inside a foreach, and no join we add."""
        if path.endswith("]") or path == "~result":
            return False
        return path.startswith("~") or "[]" not in self._plan.locate(path).static

    def _line(self, text: str) -> None:
        moment = time.strftime("%H:%M:%S")
        sys.stderr.write(f"{moment} {clean(text)[:500]}\n")
        sys.stderr.flush()


class _Branch:
    """How far an open branch is."""

    __slots__ = ("done", "due", "shown", "started", "width")

    def __init__(self, width: int, started: float) -> None:
        self.width = width
        self.started = started
        self.done = self.shown = 0
        self.due = time.monotonic() + PROGRESS
