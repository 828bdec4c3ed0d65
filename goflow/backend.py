"""The seam between flows and where they rest: what a backend promises, on one screen.

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
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, Protocol, runtime_checkable

from goflow.errors import ConfigError, nearest
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
from goflow.state import RunState

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from goflow.config import Config
    from goflow.errors import BackendError

#: the seam's records are told from here too: who uses a backend imports one module
__all__ = [
    "BUILT_IN",
    "HISTORY",
    "SCHEMES",
    "Access",
    "Action",
    "AllNodes",
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
    "bare",
    "load_backend",
    "provider",
    "unknown",
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


@runtime_checkable
class EndWatcher(Protocol):
    """A backend that can watch for nothing but the end of a run; another is watched for every change."""

    def watch_end(self, run_id: str) -> Waker:
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


@runtime_checkable
class Diagnosable(Protocol):
    """A backend that can look at itself, for `goflow doctor`; one that cannot just lacks the method."""

    def diagnose(self, fix: bool) -> list[Finding]:
        """Look at the store, and with `fix` repair what can be repaired without losing anything that
        somebody needs. Raises BackendError."""
        ...


@runtime_checkable
class Printing(Protocol):
    """A backend that records what tasks print while they run, so that `logs` has it then; for one that cannot,
    which just lacks the method, all of it comes with their outcomes."""

    def printed(self, pieces: Sequence[tuple[Task, bytes]]) -> None:
        """Put each piece at the end of the run's logs, as its task's attempt's, and wake whoever watches the
        run. For a task that is held no more it does nothing. `Outcome.log` is then what came after."""
        ...


@runtime_checkable
class Parted(Protocol):
    """A backend of several parts that fail one by one, such as the servers of a cluster: what lies on one that does
    not answer is left out, and the others get theirs as if it were not there. `claim` then answers what they
    have, `commit` None for an outcome that could not be told, `renew` nothing of a task whose lease could not
    be kept, and `tick` does what it can; none of them waits for that part once it is known not to answer. They
    raise where no part answers. Nothing is taken back from a part before its holders had a lease's time, since it
    answers again, to renew. A backend in one piece just lacks the method."""

    def left_out(self) -> BackendError | None:
        """Why something was left out since this was last asked, told once for as long as it lasts."""
        ...


#: bytes of overwritten values that a run keeps of each key; the oldest go first
HISTORY: Final = 16 * 1024 * 1024


@runtime_checkable
class Versioned(Protocol):
    """A backend that can tell what its runs' stores held before, for `goflow debug`; for one that cannot, which
    just lacks the methods, that is shown as it is now.

    Every value is a version of its key. They are numbered from 1 in the order of the commits that wrote or
    deleted them; 0 is what was there before. An overwritten one stays as long as its run, within `HISTORY`.
    """

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value; None where it was deleted, or never was."""
        ...

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was. Raises VersionGone where that is not kept."""
        ...

    def accesses(self, run_id: str) -> list[Access]:
        """What attempts of every round read and wrote, in the order they were recorded."""
        ...


@runtime_checkable
class Paged(Protocol):
    """A backend that reads a run's nodes page by page, so that watching a run of any width takes the same
    memory; one that cannot just lacks the method."""

    def node_pages(self, run_id: str) -> Iterator[Sequence[NodeRun]]:
        """All recorded node instances, in any order. Each page is read when it is asked for, so that what
        changes meanwhile may be seen as it was or as it is."""
        ...


class AllNodes:
    """The recorded node instances of a run, to be gone through as often as one likes."""

    def __init__(self, backend: Backend, run_id: str) -> None:
        self._backend = backend
        self._run_id = run_id

    def __iter__(self) -> Iterator[NodeRun]:
        if isinstance(self._backend, Paged):
            return (node for page in self._backend.node_pages(self._run_id) for node in page)
        return iter(self._backend.nodes(self._run_id))


class BackendClass(Protocol):
    """What the entry-point group `goflow.backends` holds: a class that opens itself."""

    def open(self, url: str, config: Config, *, ephemeral: bool = False) -> Backend:
        """Open the store that a URL or bare name means. Raises BackendError, ConfigError."""
        ...


#: the built-in ones, so that loading one needs no scan of installed packages
BUILT_IN: Final = {"local": "goflow_local:LocalBackend", "redis": "goflow_redis:RedisBackend"}

#: URL schemes that mean a built-in backend
SCHEMES: Final = {
    "file": "local",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis",
    "redis+cluster": "redis",
}


def provider(url: str) -> str:
    """The name of the backend that a name or a URL means; nothing says that anybody provides it."""
    scheme, mark, _ = url.partition("://")
    if not mark and ":" in url:
        return "redis"
    return SCHEMES.get(scheme, scheme)


def load_backend(url: str, config: Config, *, ephemeral: bool = False) -> Backend:
    """Open the backend that `local`, `redis`, a plug-in's name or a URL means.

    `host:port` without a scheme is a Redis. Call it before user code changes `sys.path`: a `redis.py`
    beside somebody's flow.py would otherwise be imported instead of the library.
    Raises ConfigError for a name nobody provides, BackendError where the store refuses.
    """
    name = provider(url)
    if "://" not in url and ":" in url:
        url = f"redis://{url}"
    target = BUILT_IN.get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        factory: BackendClass = getattr(import_module(module), attribute)
    else:
        found = _plug_ins()
        if name in ("http", "https") and name not in found:
            raise ConfigError(
                f"{url} is a server, not a backend: use `goflow submit --server {url}`, or in Python"
                f" goflow.Client({url!r})"
            )
        if name not in found:
            raise ConfigError(
                f"no backend {name!r}{unknown(url) or ''}; expected a name or a URL such as"
                " local, redis or redis://localhost:6379/0"
            )
        factory = found[name].load()
    store = factory.open(url, config, ephemeral=ephemeral)
    if not config.payload.blobs or ephemeral:
        return store
    from goflow.blobs.backend import with_blobs

    try:
        return with_blobs(store, config)
    except BaseException:
        store.close()
        raise


def bare(backend: Backend) -> Backend:
    """The store itself, which answers with references where large payloads are kept apart: for whoever wants
    what is beside them, or to know which to fetch."""
    itself: Backend = getattr(backend, "bare", backend)
    return itself


def unknown(url: str) -> str | None:
    """Which one may be meant by a backend's name or URL that nobody provides, as the end of a message;
    None for one that somebody does, or of which `load_backend` has more to say."""
    name, mark, _ = url.partition("://")
    if name in BUILT_IN or (mark and name in (*SCHEMES, "http", "https")):
        return None
    found = _plug_ins()
    return None if name in found else nearest(name, [*BUILT_IN, *(SCHEMES if mark else ()), *found])


def _plug_ins() -> dict[str, EntryPoint]:
    """What installed packages provide, by name."""
    from importlib.metadata import entry_points  # 30 ms, so only for plug-ins

    return {point.name: point for point in entry_points(group="goflow.backends")}
