"""A store in a temporary folder, and workers over it in the test's own process; children are real."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from goflow.backend import Run, WorkerInfo
from goflow.config import Config, Local
from goflow.engine import request
from goflow.host import register
from goflow.message import Outcome, Task
from goflow.observer import Quiet
from goflow.payload import Payload, of_input
from goflow.worker import Worker
from goflow.workflow import Flow, build
from goflow_local import LocalBackend

#: seconds after which a run that should have ended is given up
PATIENCE = 60.0

Define = Callable[..., object]


class Watching(Quiet):
    """Remembers what a worker told."""

    def __init__(self) -> None:
        self.echoed: dict[str, bytes] = {}
        self.started_paths: list[str] = []
        self.outcomes: list[Outcome] = []

    def started(self, task: Task) -> None:
        self.started_paths.append(task.path)

    def printed(self, task: Task, data: bytes) -> None:
        self.echoed[task.path] = self.echoed.get(task.path, b"") + data

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        self.outcomes.append(outcome)


class Acting(Watching):
    """Does something whenever the worker's loop turns, fifty times a second at least."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def pulse(self) -> float | None:
        self._act()
        return 0.02


class Bench:
    """One store. `store` is its backend; `work` runs a worker until some runs have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalBackend.open("local", Config(local=Local(path=str(folder / "store"))))
        #: the worker that works, or did last
        self.worker: Worker | None = None
        self._count = 0

    def submit(
        self, flow: Flow, data: object = b"", query: Mapping[str, Sequence[str]] | None = None
    ) -> Run:
        """A run of the flow, for whichever worker comes."""
        register(self.store, flow)
        self._count += 1
        name = f"run-{self._count}"
        return self.store.submit(request(flow.plan, name, of_input(data), query))

    def enter(self, *flows: Flow) -> int:
        """A worker's id."""
        info = WorkerInfo(
            id=0,
            host="here",
            pid=os.getpid(),
            started=time.time(),
            concurrency=1,
            flows=tuple(flow.key for flow in flows),
        )
        return self.store.enter(info)

    def work(
        self,
        flows: Sequence[Flow],
        *runs: Run,
        until: Callable[[], bool] | None = None,
        **options: Any,
    ) -> list[Run]:
        """Have one worker take tasks until these runs have ended, or `until()` is true."""
        me = self.enter(*flows)
        deadline = time.monotonic() + PATIENCE

        def done() -> bool:
            assert time.monotonic() < deadline, [self.store.nodes(run.id) for run in runs]
            if until is not None:
                return until()
            return all(self.store.run(run.id).state.terminal for run in runs)

        worker = self.worker = Worker(
            self.store, flows, me, **{"concurrency": 2, "lease": 30.0, **options}
        )
        try:
            worker.run(until=done)
        finally:
            self.store.leave(me)
        return [self.store.run(run.id) for run in runs]

    def execute(
        self,
        define: Define,
        data: object = b"",
        query: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> Run:
        """One run of one flow to its end."""
        flow = build("flow", define)
        run = self.submit(flow, data, query)
        return self.work([flow], run, **options)[0]

    def result(self, run: Run) -> Payload:
        """What a succeeded run made."""
        return self.store.result(run.id)

    def log(self, run: Run, path: str | None = None) -> bytes:
        """What its nodes printed."""
        return b"".join(line.data for line in self.store.logs(run.id, path))


def note(folder: Path, line: str) -> None:
    """For node bodies: one line in the trace, whatever process writes it."""
    fd = os.open(folder / "trace.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


def trace(folder: Path) -> list[str]:
    """What node bodies have noted, in order."""
    path = folder / "trace.txt"
    return path.read_text().splitlines() if path.exists() else []


def vanished(pid: int) -> bool:
    """Whether a process is gone, or only waits for a parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until_vanished(pids: Sequence[int]) -> None:
    """Wait until none of them is left."""
    deadline = time.monotonic() + PATIENCE
    while not all(vanished(pid) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)
