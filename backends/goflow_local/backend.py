"""LocalBackend: the seam over one SQLite file that several processes share.

Nobody owns the file. Every process opens it, does short transactions and tells those who listen. Each
verb of the seam is one function of the module that its role is in.
"""

# ruff: noqa: PTH100, PTH118 (pathlib costs 5 ms at every start)

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from goflow.backend import (
    Action,
    Ask,
    Definition,
    Finding,
    FlowKey,
    Retry,
    Run,
    WorkerInfo,
)
from goflow.errors import BackendError, ConfigError, GoflowError
from goflow.message import Claim, Item, Outcome, Request, Task
from goflow.payload import Payload
from goflow_local import claim as claiming
from goflow_local import commit as committing
from goflow_local.change import Change
from goflow_local.memory import Memory
from goflow_local.reader import Reader
from goflow_local.rows import HELD, RunRow, fence, run_of
from goflow_local.sql import Connection
from goflow_local.store import Store, now
from goflow_local.submit import BITE, submit, submit_some

if TYPE_CHECKING:
    from goflow.config import Config
    from goflow.figures import Figures, Name
    from goflow.untold import Ended
    from goflow_local.wake import EndsWaker, SocketWaker

T = TypeVar("T")


class LocalBackend(Reader):
    """Runs in a SQLite file (`goflow.db` in a folder), or in memory only."""

    exclusive = True

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store

    @classmethod
    def open(cls, url: str, config: Config, *, ephemeral: bool = False) -> LocalBackend:
        """Open `local` (the folder of goflow.toml) or `file:///folder`; make it where it is missing.

        With `ephemeral` nothing touches the disk, and what was there before is not seen.
        Raises ConfigError for another URL, BackendError where the store refuses.
        """
        folder = _folder(url, config)
        path = ":memory:" if ephemeral else os.path.join(folder, "goflow.db")
        kept = config.retention
        store = Store(
            path,
            config.local.sync,
            config.worker.lease,
            kept.finished_runs,
            kept.dead,
            traced=config.telemetry.on,
        )
        return cls(store, "memory" if ephemeral else folder)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._store.close()

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _change(self, work: Callable[[Change], T]) -> T:
        """One write transaction, then its wake-ups."""
        return self._rung(self._store.write(lambda connection: self._worked(work, connection)))

    def _worked(
        self, work: Callable[[Change], T], connection: Connection, memory: Memory | None = None
    ) -> tuple[T, list[int]]:
        change = Change(self._store, connection, memory)
        answer = work(change)
        return answer, change.finish()

    def _rung(self, done: tuple[T, list[int]]) -> T:
        answer, ports = done
        if ports:
            self._store.ring(ports)
        return answer

    def _change_run(self, run_id: str, work: Callable[[Change, RunRow], None]) -> Run:
        """Change a run, and answer what it is now."""

        def whole(change: Change) -> RunRow:
            run = change.named(run_id)
            work(change, run)
            return run

        return self._seen(self._change(whole))

    def _seen(self, run: RunRow) -> Run:
        from goflow_local.reading import abandoned

        return run_of(run, abandoned(run, self._store.locks))

    # -- the queue --------------------------------------------------------------------------------

    def submit(self, request: Request) -> Run:
        """Accept a run durably. Raises Conflict, StoreFull."""
        return self._accepted(self._change(lambda change: submit(change, request)))

    def submit_all(self, requests: Sequence[Request]) -> list[Run | GoflowError]:
        """Submit each; in place of a run stands what `submit` would have raised."""
        answers: list[Run | GoflowError] = []
        for first in range(0, len(requests), BITE):
            some = requests[first : first + BITE]
            try:
                taken = self._change(partial(submit_some, requests=some))
            except BackendError as error:
                answers += [error] * len(some)
                continue
            answers += [
                self._accepted(each) if isinstance(each, RunRow) else each for each in taken
            ]
        return answers

    def _accepted(self, run: RunRow) -> Run:
        return run_of(run, False) if not run.owner else self._seen(run)

    def claim(self, ask: Ask) -> list[Claim]:
        """Up to `ask.limit` ready tasks. Writes nothing where there are none."""
        if ask.limit <= 0:
            return []
        from goflow_local.reaping import adopt_all, orphans

        store = self._store
        if ask.run_id:
            store.owners.add(ask.worker)

        def look(connection: Connection) -> tuple[bool, tuple[int, ...]]:
            ready = claiming.has_any(connection, store, ask)
            return ready, orphans(connection, store, ask.worker, ask.flows)

        ready, left = store.read(look)
        if left:
            self._change(lambda change: adopt_all(change, left))
        elif not ready:
            return []
        return self._change(lambda change: claiming.claim(change, ask))

    def inputs(self, task: Task) -> Iterator[Sequence[tuple[str, Payload | None]]]:
        """All inputs of a held task, in chunks."""
        return claiming.inputs(self._store, task)

    def stage(self, task: Task, items: Sequence[Item]) -> None:
        """Keep scopes of a branch that is about to open."""

        def whole(connection: Connection) -> None:
            node, token = fence(task.token)
            query = "SELECT staged, items FROM node WHERE id = ? AND token = ? AND state = ?"
            held = connection.execute(query, (node, token, HELD)).fetchone()
            if held is None:
                return  # not its holder's any more; its commit will be refused
            change = Change(self._store, connection)
            before = held[1] if held[0] == token else 0
            count = committing.add_items(change, node, before, items)
            query = "UPDATE node SET staged = ?, items = ? WHERE id = ?"
            connection.execute(query, (token, count, node))

        self._store.write(whole)

    def printed(self, pieces: Sequence[tuple[Task, bytes]]) -> None:
        """Record what running tasks print."""
        self._change(lambda change: committing.printed(change, pieces))

    def commit(
        self, outcomes: Sequence[Outcome], ask: Ask | None = None
    ) -> tuple[list[bool], list[Claim]]:
        """Record outcomes and claim, in one transaction."""

        def whole(change: Change) -> tuple[list[bool], list[Claim]]:
            accepted = committing.commit(change, outcomes)
            return accepted, claiming.claim(change, ask) if ask is not None else []

        return self._rung(self._store.write_on(lambda c, memory: self._worked(whole, c, memory)))

    def renew(
        self, worker: int, tasks: Sequence[Task]
    ) -> list[tuple[Task, Literal["lost", "stop"]]]:
        """Keep a worker's lease; what it must kill."""
        from goflow_local.housekeeping import beat, due_for_a_beat

        verdicts, due = self._store.read(
            lambda connection: (
                _verdicts(connection, tasks),
                due_for_a_beat(_seen_at(connection, worker), self._store.lease),
            )
        )
        if due:
            self._change(lambda change: beat(change, worker))
        return verdicts

    def tick(self, worker: int) -> float | None:
        """Housekeeping; when the next thing is due."""
        from goflow_local.housekeeping import duties, work_off

        found = self._store.read(lambda connection: duties(connection, self._store, worker))
        if not found.any:
            return found.next
        self._change(lambda change: work_off(change, worker, found))
        left = self._store.read(lambda connection: duties(connection, self._store, worker))
        return now() if left.bounded else left.next

    # -- steering runs, and waiting for them; reader.py reads them --------------------------------

    def control(self, run_id: str, action: Action) -> Run:
        """Pause, resume or stop. Raises Conflict on a run that has ended."""
        from goflow_local.control import control

        return self._change_run(run_id, lambda change, run: control(change, run, action))

    def retry(self, run_id: str, retry: Retry) -> Run:
        """Open a new round. Raises Conflict."""
        from goflow_local.retry import retry as open_round

        return self._change_run(run_id, lambda change, run: open_round(change, run, retry))

    def forget(self, run_id: str) -> None:
        """Remove a run that has ended. Raises Conflict."""
        from goflow_local.retention import clear, forget

        key = self._change(lambda change: forget(change, run_id))
        while not self._change(lambda change: clear(change, key)):
            pass  # in bites: others write between them

    def watch_ends(self) -> EndsWaker:
        """Something that wakes when runs have ended, and tells which."""
        from goflow_local.wake import listen_for_ends

        return listen_for_ends(self._store)

    def watch(self, run_id: str | None = None) -> SocketWaker:
        """Something that wakes when the run (None: anything claimable) may have changed."""
        from goflow_local.wake import listen

        return listen(self._store, run_id)

    # -- the directory ----------------------------------------------------------------------------

    def enter(self, info: WorkerInfo) -> int:
        """Register a worker; answers its id."""
        from goflow_local import directory

        return self._change(lambda change: directory.enter(change, info))

    def leave(self, worker: int) -> None:
        """It works no more; what it holds is ready again."""
        from goflow_local.reaping import take_back

        self._store.locks.drop(worker)
        self._change(lambda change: take_back(change, worker, dead=True))

    def workers(self) -> list[WorkerInfo]:
        """All workers that have not left."""
        from goflow_local import directory

        store = self._store
        return store.read(lambda c: directory.workers(c, store.locks, store.lease))

    def register(self, definition: Definition) -> None:
        """Remember a definition, now the flow's present one."""
        from goflow_local import directory

        self._store.write(lambda connection: directory.register(connection, definition))

    def definition(self, flow: str, fingerprint: str | None = None) -> Definition:
        """The present one, or that with the fingerprint. Raises UnknownFlow."""
        from goflow_local import directory

        return self._store.read(lambda c: directory.definition(c, flow, fingerprint))

    def definitions(self) -> list[Definition]:
        """The present definition of every flow, by name."""
        from goflow_local import directory

        return self._store.read(directory.definitions)

    def waiting(self) -> dict[FlowKey, int]:
        """How many ready tasks wait, by the definition they need."""
        from goflow_local import directory

        return self._store.read(directory.waiting)

    def identity(self) -> str:
        """What tells this store from every other."""
        from goflow_local import directory

        return self._store.write(directory.identity)

    def remember(self, name: str, seconds: float) -> bool:
        """True the first time a name is seen within its lifetime."""
        from goflow_local import directory

        return self._store.write(lambda c: directory.remember(c, name, seconds))

    # -- what is told of runs ---------------------------------------------------------------------

    def elsewhere(self, config: Config) -> Config | None:
        """The configuration with which another process opens the same store; None where none can."""
        path = self._store.path
        if path == ":memory:":
            return None
        from urllib.parse import quote

        from msgspec.structs import replace

        return replace(config, backend=f"file://{quote(os.path.dirname(path))}")

    @property
    def traced(self) -> bool:
        """Whether runs are to be told as traces."""
        return self._store.traced

    @traced.setter
    def traced(self, on: bool) -> None:
        self._store.traced = on

    def untold(self, limit: int, lease: float) -> list[Ended]:
        """Ended runs whose traces nobody has told or is telling."""
        from goflow_local import untold

        if not self._store.read(untold.any_untold):
            return []
        return self._store.write(lambda c: untold.untold(c, limit, lease))

    def telling(self, ended: Sequence[Ended], lease: float) -> None:
        """Nobody else gets these for a while."""
        from goflow_local import untold

        self._store.write(lambda c: untold.telling(c, ended, lease))

    def told(self, ended: Sequence[Ended]) -> None:
        """They are told."""
        from goflow_local import untold

        self._store.write(lambda c: untold.told(c, ended))

    def count(self, worker: int, numbers: Mapping[Name, int]) -> None:
        """Add what a worker has counted."""
        from goflow_local import untold

        self._store.write(lambda c: untold.count(c, numbers))

    def figures(self) -> Figures:
        """What was counted."""
        from goflow_local import untold

        return self._store.read(untold.figures)

    # -- doctor -----------------------------------------------------------------------------------

    def diagnose(self, fix: bool) -> list[Finding]:
        """What `goflow doctor` tells of this store."""
        from goflow_local.doctor import diagnose

        return diagnose(self._store, fix)


def _folder(url: str, config: Config) -> str:
    if url == "local":
        return os.path.abspath(config.local.path)
    from urllib.parse import unquote, urlsplit  # 3 ms, so only for URLs

    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        return os.path.abspath(unquote(parts.path))
    raise ConfigError(
        f"expected local or file:///path/of/a/folder as the local backend's URL, got {url!r}"
    )


def _seen_at(connection: Connection, worker: int) -> float | None:
    found = connection.execute("SELECT seen FROM worker WHERE id = ?", (worker,)).fetchone()
    return None if found is None else found[0]


def _verdicts(
    connection: Connection, tasks: Sequence[Task]
) -> list[tuple[Task, Literal["lost", "stop"]]]:
    verdicts: list[tuple[Task, Literal["lost", "stop"]]] = []
    query = "SELECT doomed FROM node WHERE id = ? AND token = ? AND state = 2"
    for task in tasks:
        held = connection.execute(query, fence(task.token)).fetchone()
        if held is None:
            verdicts.append((task, "lost"))
        elif held[0]:
            verdicts.append((task, "stop"))
    return verdicts
