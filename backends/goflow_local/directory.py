"""Workers and definitions."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from goflow.backend import Definition, FlowKey, WorkerInfo
from goflow.errors import UnknownFlow
from goflow.message import pack
from goflow_local.change import Change
from goflow_local.liveness import Locks
from goflow_local.rows import HELD, unpack_flows
from goflow_local.sql import Connection
from goflow_local.store import now

_ENTER = (
    "INSERT INTO worker (host, pid, started, concurrency, flows, seen) VALUES (?, ?, ?, ?, ?, ?)"
)
#: an entry's node is ready, and its id begins with its run's key, so that the node is looked at only where its run is
#: ending: a sixth of the time
_WAITING = (
    "SELECT d.flow, d.fingerprint, count(*) FROM definition d CROSS JOIN queue ON lane = d.id"
    " CROSS JOIN run ON run.id = queue.node >> 32 WHERE run.ending IS NULL"
    " OR (SELECT path FROM node WHERE id = queue.node) IN ('~on_failure', '~finally') GROUP BY d.id"
)
_DEFINITIONS = "SELECT flow, fingerprint, plan, file, registered FROM definition"


def enter(change: Change, info: WorkerInfo) -> int:
    """Register a worker. Its lock is taken before anybody can see the row."""
    flows = pack(info.flows)
    values = (info.host, info.pid, info.started, info.concurrency, flows, time.monotonic())
    while True:
        change.execute(_ENTER, values)
        worker = change.connection.last_insert_rowid()
        if change.store.locks.hold(worker):
            change.store.blind_at = time.monotonic()
            return worker
        change.execute("DELETE FROM worker WHERE id = ?", (worker,))


def workers(connection: Connection, locks: Locks, lease: float) -> list[WorkerInfo]:
    """All that have not left. `doing` says `RUN/PATH` of each task held."""
    doing: dict[int, list[str]] = {}
    held = connection.execute(
        "SELECT worker, name, path FROM node INDEXED BY node_held"
        f" JOIN run ON run.id = node.run WHERE node.state = {HELD}"
    )
    for worker, run_id, path in held:
        doing.setdefault(worker, []).append(f"{run_id}/{path}")
    found = connection.execute(
        "SELECT id, host, pid, started, concurrency, flows, seen FROM worker WHERE gone IS NULL"
        " ORDER BY id"
    ).fetchall()
    now = time.monotonic()
    living = {row[0]: locks.alive(row[0]) and now - row[-1] <= lease for row in found}
    return [
        WorkerInfo(
            id=id,
            host=host,
            pid=pid,
            started=started,
            concurrency=concurrency,
            flows=unpack_flows(flows),
            doing=tuple(doing.get(id, ())),
            alive=living[id],
            silent=0.0 if living[id] else max(0.0, now - seen),
        )
        for id, host, pid, started, concurrency, flows, seen in found
    ]


def register(connection: Connection, definition: Definition) -> None:
    """Remember a definition; the flow's present one is the last registered."""
    connection.execute(
        "INSERT INTO definition (flow, fingerprint, plan, file, registered) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (flow, fingerprint) DO UPDATE SET plan = excluded.plan,"
        " file = excluded.file, registered = excluded.registered",
        (
            definition.flow,
            definition.fingerprint,
            definition.plan,
            definition.file,
            _after_all(connection, definition),
        ),
    )


def _after_all(connection: Connection, definition: Definition) -> float:
    """A time later than that of any other definition of the flow, even if the clock went back."""
    query = "SELECT max(registered) FROM definition WHERE flow = ?"
    (latest,) = connection.execute(query, (definition.flow,)).fetchone()
    at = definition.registered or now()
    return at if latest is None or at > latest else latest + 1e-6


def definition(connection: Connection, flow: str, fingerprint: str | None) -> Definition:
    """The present definition, or that with the fingerprint. Raises UnknownFlow."""
    found: Any = connection.execute(
        f"{_DEFINITIONS} WHERE flow = ?1 AND plan IS NOT NULL"
        " AND (?2 IS NULL OR fingerprint = ?2) ORDER BY registered DESC LIMIT 1",
        (flow, fingerprint),
    ).fetchone()
    if found is not None:
        return _definition(found)
    query = "SELECT DISTINCT flow FROM definition WHERE plan IS NOT NULL"
    known = [name for (name,) in connection.execute(query)]
    if flow in known:
        raise UnknownFlow(flow, (), f"no worker has registered its definition {fingerprint}")
    raise UnknownFlow(flow, known, "a worker or goflow.toml must know it first")


def definitions(connection: Connection) -> list[Definition]:
    """The present definition of every flow, by name."""
    query = f"{_DEFINITIONS} WHERE plan IS NOT NULL ORDER BY flow, registered"
    latest = {row[0]: row for row in connection.execute(query)}
    return [_definition(row) for row in latest.values()]


def _definition(row: Any) -> Definition:
    flow, fingerprint, plan, file, registered = row
    return Definition(
        flow=flow, fingerprint=fingerprint, plan=plan, file=file, registered=registered
    )


def waiting(connection: Connection) -> dict[FlowKey, int]:
    """How many tasks could be claimed by a worker that knows their definition."""
    found = connection.execute(_WAITING).fetchall()
    return {(flow, fingerprint): count for flow, fingerprint, count in found}


def identity(connection: Connection) -> str:
    """What tells this store from every other. Its table is made by whoever asks first: most never do."""
    connection.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
    found = connection.execute("SELECT id FROM identity").fetchone()
    if found is None:
        found = (uuid4().hex,)
        connection.execute("INSERT INTO identity VALUES (?)", found)
    return str(found[0])


def remember(connection: Connection, name: str, seconds: float) -> bool:
    """Whether the name is new, or has been forgotten."""
    at = now()
    found = connection.execute(
        "INSERT INTO nonce VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET until = excluded.until"
        " WHERE nonce.until <= ? RETURNING 1",
        (name, at + seconds, at),
    ).fetchone()
    return found is not None
