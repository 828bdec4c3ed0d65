"""LocalBackend: the seam over one SQLite file that several processes share.

Nobody owns the file. Every process opens it, does short transactions and tells those who listen. Each
verb of the seam is one function of the module that its role is in.
"""

# ruff: noqa: PTH100, PTH118 (pathlib costs 5 ms at every start)

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from goflow.backend import Action, Ask, Retry, Run
from goflow.errors import BackendError, ConfigError, GoflowError
from goflow.message import Claim, Item, Outcome, Request, Task
from goflow.payload import Payload
from goflow_local import claim as claiming
from goflow_local import commit as committing
from goflow_local.change import Change
from goflow_local.registry import Registry
from goflow_local.rows import HELD, RunRow, fence, run_of
from goflow_local.sql import Connection
from goflow_local.store import Store, now
from goflow_local.submit import BITE, submit, submit_some

if TYPE_CHECKING:
    from goflow.config import Config
    from goflow_local.wake import EndsWaker, SocketWaker

T = TypeVar("T")


class LocalBackend(Registry):
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

    # -- steering runs, and waiting for them; reader.py reads them, registry.py has what is beside them --------------------------------

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
    query = f"SELECT doomed FROM node WHERE id = ? AND token = ? AND state = {HELD}"
    for task in tasks:
        held = connection.execute(query, fence(task.token)).fetchone()
        if held is None:
            verdicts.append((task, "lost"))
        elif held[0]:
            verdicts.append((task, "stop"))
    return verdicts
