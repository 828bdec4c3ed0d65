"""What is seen while a run executes here: a live DAG on a terminal, plain lines without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from goflow.backend import Backend
from goflow.message import Outcome, Task
from goflow.plan import Plan
from goflow.observer import Observer, Quiet

#: how much of what an attempt prints is echoed, in bytes
ECHO_LIMIT = 65536


class Echo(Quiet):
    """Passes on what nodes print, to stderr, bounded for each attempt."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def printed(self, task: Task, data: bytes) -> None:
        seen = self._seen.get(task.token, 0)
        self._seen[task.token] = seen + len(data)
        if seen < ECHO_LIMIT:
            self.show(task, data[: ECHO_LIMIT - seen])
        if seen <= ECHO_LIMIT < seen + len(data):
            self.show(task, b"\n... (more is not shown)\n")

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        self._seen.pop(outcome.task.token, None)

    def show(self, task: Task, data: bytes) -> None:
        """Write it where the person looks."""
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()


@contextmanager
def watcher(backend: Backend, plan: Plan, run_id: str) -> Iterator[Observer]:
    """The observer for a run that executes in this process."""
    yield Echo()
