"""What is seen while a run is on its way: a live DAG on a terminal, plain lines without one."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final, Protocol

from goflow.backend import Backend, Run
from goflow.drawing.look import paint
from goflow.message import FINALLY, ON_FAILURE, Outcome, Task
from goflow.observer import Observer, Quiet
from goflow.overview import Overview, overview
from goflow.patience import Outlast
from goflow.plan import Plan
from goflow.state import RunState
from goflow.wholesale import AllNodes
from goflow_cli.session import note
from goflow_cli.views.output import Output

#: how much of what an attempt prints is echoed, in bytes
ECHO_LIMIT: Final = 65536


class View(Protocol):
    """Something that shows a run; see goflow_cli/views/live.py and plain.py."""

    def tick(self) -> float: ...

    def say(self, text: str) -> None: ...


class Screen(View, Protocol):
    """One that shows what nodes print as well."""

    def echo(self, path: str, data: bytes) -> None: ...


class Echo(Quiet):
    """Passes on what nodes print, to stderr, line by line after the node's path; bounded for each attempt."""

    def __init__(self) -> None:
        from goflow_cli.views.drawing import screen

        self._seen: dict[str, int] = {}
        self._output = Output(screen(sys.stderr).unicode)

    def printed(self, task: Task, data: bytes) -> None:
        seen = self._seen.get(task.token, 0)
        self._seen[task.token] = seen + len(data)
        if seen < ECHO_LIMIT:
            self.show(task, data[: ECHO_LIMIT - seen])
        if seen <= ECHO_LIMIT < seen + len(data):
            self.show(task, b"\n... (more is not shown)\n")

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        if self._seen.pop(outcome.task.token, None) is not None:
            self._output.end(self.speaker(outcome.task))
            self._write()

    def speaker(self, task: Task) -> str:
        """What stands before each of its lines."""
        return task.path

    def show(self, task: Task, data: bytes) -> None:
        """Write it where the person looks."""
        self._output.add(self.speaker(task), data)
        self._write()

    def _write(self) -> None:
        for line in self._output.take():
            sys.stderr.write(paint(line, False) + "\n")
        sys.stderr.flush()


class Watched(Echo):
    """An echo into a view that is redrawn as the worker's loop turns."""

    def __init__(self, view: Screen) -> None:
        super().__init__()
        self._view = view

    def show(self, task: Task, data: bytes) -> None:
        self._view.echo(task.path, data)

    def pulse(self) -> float | None:
        return self._view.tick()


@contextmanager
def watcher(backend: Backend, plan: Plan, run_id: str) -> Iterator[Observer]:
    """The observer for a run that executes in this process: a live picture, or plain lines."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        from goflow_cli.lines import Lines

        yield Lines(plan)
        return
    from goflow_cli.views.live import LiveView

    with LiveView(plan, _current(backend, plan, run_id)) as view:
        yield Watched(view)


def watch(
    backend: Backend,
    plan: Plan,
    run_id: str,
    deadline: float | None,
    patience: float | None,
    *,
    quiet: bool = False,
) -> Run:
    """Show a run that others execute until it ends, `deadline` (monotonic) is over, or its owner is gone
    and no worker can take it over.

    `patience` is how long to sleep at most without looking, in seconds.
    """
    waker = backend.watch(run_id)
    try:
        if quiet:
            return _follow(backend, run_id, waker, deadline, lambda: patience, _note)
        with _view(backend, plan, run_id) as view:
            return _follow(backend, run_id, waker, deadline, view.tick, view.say)
    finally:
        waker.close()


def has_worker(backend: Backend, run: Run) -> bool:
    """Whether a live worker has the run's definition."""
    key = (run.flow, run.fingerprint)
    return any(key in worker.flows for worker in backend.workers() if worker.alive)


class _Waker(Protocol):
    def fileno(self) -> int: ...

    def clear(self) -> None: ...


def _follow(
    backend: Backend,
    run_id: str,
    waker: _Waker,
    deadline: float | None,
    tick: Callable[[], float | None],
    say: Callable[[str], None],
) -> Run:
    """The run once it has ended, or is given up. A store that is away meanwhile is waited for."""
    outlast = Outlast(say, inf if deadline is None else deadline)

    def look() -> tuple[Run, bool]:
        waker.clear()
        run = backend.run(run_id)
        left_alone = run.abandoned and not has_worker(backend, run)
        return run, run.state.terminal or left_alone

    while True:
        run, ended = outlast(look)
        left = None if deadline is None else deadline - time.monotonic()
        if ended or (left is not None and left <= 0):
            return run
        pause = outlast(tick)
        if pause is not None:
            left = pause if left is None else min(left, pause)
        select.select([waker], [], [], left)


def _note(text: str) -> None:
    note(f"goflow: {text}")


@contextmanager
def _view(backend: Backend, plan: Plan, run_id: str) -> Iterator[View]:
    from goflow_cli.views.view import view

    with view(plan, _current(backend, plan, run_id), _outline(backend, plan, run_id)) as shown:
        yield shown


def _current(backend: Backend, plan: Plan, run_id: str) -> Callable[[], Overview]:
    nodes = AllNodes(backend, run_id)
    return lambda: overview(plan, backend.run(run_id), nodes)


def _outline(backend: Backend, plan: Plan, run_id: str) -> Callable[[], Overview]:
    """The run as it is now, without what is inside a foreach while nothing can have failed there: all that lines tell,
    and no more to read of 100,000 items than of ten."""
    static = [path for path, _ in plan.walk()]
    outer = [path for path in static if "[]" not in path]
    if outer == static:
        return _current(backend, plan, run_id)
    named, every = [*outer, ON_FAILURE, FINALLY], AllNodes(backend, run_id)

    def current() -> Overview:
        run = backend.run(run_id)
        end = run.state if run.state.terminal else run.ending
        failing = end not in (None, RunState.SUCCEEDED)
        return overview(plan, run, every if failing else backend.nodes(run_id, named))

    return current
