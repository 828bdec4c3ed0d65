"""The seam between flows and where they rest: what every backend promises.

A backend stores runs, leases tasks and commits outcomes. It never sees a DAG, a policy or user code: what
is ready is decided by counting arrivals (`Arrival.expects`), what comes after a failure by the worker.
One class implements all of it; `goflow.testing.BackendConformance` is the proof, docs/backends.md the
tale. Only `claim`, `commit` and `renew` are on the hot path.

Rules every backend keeps:

* `submit` has made the run durable when it returns. The same id with the same digest returns the
  existing run, with another digest it raises `Conflict`.
* A task is held under its token from `claim` until `commit`, `renew` losing it, or the holder's lease
  running out. A commit under any other token changes nothing and is answered False. The last outcome
  of an instance, told again, changes nothing and is answered True, until the instance is handed back,
  taken again or begun anew.
* One commit is atomic: result, arrivals, opened scopes, context writes and the next ready tasks
  appear together or not at all.
* A run with an ending (a node failed for good, stopped, timed out, or its end node recorded) starts
  no further node. When nothing of it runs any more, `~on_failure` (failed only) and then `~finally`
  become ready, as far as `Request.handlers` has them; then the run is terminal and waiters wake.
  The first ending stands: what fails or is stopped later is recorded and changes nothing of it, nor
  does a handler that fails. What still runs is let finish, unless the run was stopped or timed out.
* When a run is terminal, a node that has not succeeded is `failed` where it failed for good; else
  `stopped` in a stopped run, and in others `failed` where its last attempt failed (a retry or rescue
  would have come), `skipped` where it never got so far.
* Ready tasks of a paused run wait until it is resumed, handlers too. One that has nothing left to
  start ends all the same.
* A vanished holder's tasks become ready again with `Task.lost` one higher and the same attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

from goflow.abilities import HISTORY, Diagnosable, Paged, Parted, Printing, Versioned
from goflow.message import Claim, Item, Outcome, Request, Task
from goflow.payload import Payload
from goflow.record import (
    Access,
    Ask,
    Attempt,
    Definition,
    Finding,
    FlowKey,
    LogLine,
    NodeRun,
    Retry,
    Run,
    WorkerInfo,
)
from goflow.shelf import BackendClass, load_backend
from goflow.state import RunState

#: with the records it tells (record.py), what some can do beside (abilities.py) and how one is opened (shelf.py):
#: who writes or uses a backend imports one module
__all__ = [
    "HISTORY",
    "Access",
    "Action",
    "Ask",
    "Attempt",
    "Backend",
    "BackendClass",
    "Definition",
    "Diagnosable",
    "Directory",
    "EndWatcher",
    "Finding",
    "FlowKey",
    "LogLine",
    "NodeRun",
    "Paged",
    "Parted",
    "Printing",
    "Queue",
    "Retry",
    "Run",
    "Runs",
    "Versioned",
    "Waker",
    "WorkerInfo",
    "load_backend",
]

Action = Literal["pause", "resume", "stop"]


@runtime_checkable
class Waker(Protocol):
    """Something to `select` on: readable once what it listens for may have happened."""

    def fileno(self) -> int: ...

    def clear(self) -> None:
        """Forget the wake-ups so far; call it before looking, never after.

        One that listens for work may then be silent until its worker has looked: until a claim through
        the same connection brought fewer tasks than it asked for.
        """
        ...

    def close(self) -> None: ...


class Queue(Protocol):
    """Handing out work and taking results: the hot path."""

    def submit(self, request: Request) -> Run:
        """Accept a run durably. Raises Conflict, StoreFull."""
        ...

    def claim(self, ask: Ask) -> list[Claim]:
        """Up to `ask.limit` ready tasks, now held by the worker; an empty list when there is none."""
        ...

    def inputs(self, task: Task) -> Iterator[Sequence[tuple[str, Payload | None]]]:
        """All inputs of a held task, in chunks: for joins too wide for one message."""
        ...

    def stage(self, task: Task, items: Sequence[Item]) -> None:
        """Keep scopes of a branch that is about to open; invisible until its outcome is committed,
        gone when that attempt does not win. For a task that is held no more it does nothing."""
        ...

    def commit(
        self, outcomes: Sequence[Outcome], ask: Ask | None = None
    ) -> tuple[Sequence[bool | None], list[Claim]]:
        """Record outcomes, then claim. One bool each: whether it was accepted (False: held no more); None from a
        store of several parts where that one does not answer (see `Parted`): send it again."""
        ...

    def renew(
        self, worker: int, tasks: Sequence[Task]
    ) -> list[tuple[Task, Literal["lost", "stop"]]]:
        """Keep the leases of the tasks a worker holds. Answers those it must kill."""
        ...

    def tick(self, worker: int) -> float | None:
        """Housekeeping any worker does: promote due retries, take back what vanished workers held,
        end runs past their timeout, drop what is past its retention. Answers the time (epoch
        seconds) of the next thing that is due, None when nothing is; a time that is past where it has
        done a part and wants to be called again."""
        ...


class Runs(Protocol):
    """Reading and steering runs. All raise UnknownRun for an id the store does not hold."""

    def run(self, run_id: str) -> Run: ...

    def runs(
        self,
        flow: str | None = None,
        state: RunState | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """The newest first; of those submitted before the run `before`, where that is given: the last of one
        page leads to the next. What it costs does not grow with the runs that are passed over. Raises
        UnknownRun for a `before` that the store does not hold."""
        ...

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made. Raises RunFailed, RunStopped; Conflict where it has not ended."""
        ...

    def request(self, run_id: str) -> Request:
        """What was submitted."""
        ...

    def nodes(self, run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
        """The recorded node instances (all, or those named) in the order they were first ready. One
        that still waits for inputs may be among them, at the end, or be left out."""
        ...

    def arrivals(self, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
        """What has arrived at a node instance over its edges, not what a branch's scopes brought."""
        ...

    def output(self, run_id: str, path: str) -> Payload | None:
        """What a node instance recorded; None where it has recorded nothing (yet)."""
        ...

    def attempts(self, run_id: str) -> list[Attempt]:
        """Every recorded attempt of every round, oldest first. `Attempt.round` is the round it ran in;
        a task handed back is no attempt."""
        ...

    def logs(
        self, run_id: str, path: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogLine]:
        """What its nodes printed (or the one at `path`), from the piece after `after`, at most `limit` pieces."""
        ...

    def control(self, run_id: str, action: Action) -> Run:
        """Pause, resume or stop; harmless when repeated. Raises Conflict on a run that has ended.

        A stop lifts a pause and cannot be taken back: pause and resume then change nothing. A run that
        is about to end (`Run.ending`) is past pausing; stopping it kills what still runs, handlers
        apart, and leaves its ending."""
        ...

    def retry(self, run_id: str, retry: Retry) -> Run:
        """Open a new round. Raises Conflict for a run with a live owner, one still on its way (an
        abandoned one that a worker has adopted is), or a succeeded one without a rewind.

        What is recorded stays; every node that is not finished is ready or waits again, at its first
        attempt and with the `Task.round` it had. Handlers run again at the round's end, which
        comes at once where nothing is left to do: a run stopped when its end was recorded."""
        ...

    def forget(self, run_id: str) -> None:
        """Remove a run that has ended, with everything of it; its id is free again. Raises Conflict for
        one on its way."""
        ...

    def context(self, run_id: str, key: str) -> Payload | None:
        """A value of the run's shared store, as committed."""
        ...

    def context_keys(self, run_id: str) -> list[str]:
        """The keys of the run's shared store, sorted."""
        ...

    def watch(self, run_id: str | None = None) -> Waker:
        """Wakes when the run (None: anything claimable) may have changed. Nothing that happens after
        this returns is missed."""
        ...


class EndWaker(Waker, Protocol):
    """What tells of the end of a run, and perhaps of its result."""

    def made(self) -> Payload | None:
        """What the run has made, where the news brought that: then nothing need be asked for. Else None."""
        ...


@runtime_checkable
class EndWatcher(Protocol):
    """A backend that can watch for nothing but the end of a run; another is watched for every change."""

    def watch_end(self, run_id: str) -> EndWaker:
        """Wakes when the run has ended, also where it had already: who is not woken need not look."""
        ...


class Directory(Protocol):
    """Who is there, and which flows they know."""

    def enter(self, info: WorkerInfo) -> int:
        """Register a worker; answers its id. It is alive until `leave`, or its process or lease ends."""
        ...

    def leave(self, worker: int) -> None:
        """It takes no more tasks; harmless when repeated."""
        ...

    def workers(self) -> list[WorkerInfo]:
        """All that have not left, also those that are no longer alive, as long as the store knows them."""
        ...

    def register(self, definition: Definition) -> None:
        """Remember a definition, and when that was (`Definition.registered`); the one registered last is the
        flow's present one."""
        ...

    def definition(self, flow: str, fingerprint: str | None = None) -> Definition:
        """The present one, or that with the fingerprint. Raises UnknownFlow."""
        ...

    def definitions(self) -> list[Definition]:
        """The present definition of every flow, by name."""
        ...

    def waiting(self) -> dict[FlowKey, int]:
        """How many ready tasks any worker could claim, by the definition they need: without those of paused
        runs and of runs with a living owner."""
        ...

    def identity(self) -> str:
        """What tells this store from every other: letters and digits, the same by every connection and for
        as long as it keeps what it holds."""
        ...

    def remember(self, name: str, seconds: float) -> bool:
        """True the first time a name is seen within its lifetime: for nonces."""
        ...


class Backend(Queue, Runs, Directory, AbstractContextManager["Backend"], Protocol):
    """All of it, plus an end."""

    #: whether a run has one foreground owner (local), or any worker takes it (redis)
    exclusive: bool
    #: what error messages call it, without credentials
    name: str

    def close(self) -> None: ...
