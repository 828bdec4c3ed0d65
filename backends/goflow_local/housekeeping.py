"""What any worker does now and then: due retries, vanished workers, timeouts, retention.

`duties` looks, in a read transaction, and usually finds nothing; `work_off` does a bounded part of what
it found and is called again for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from goflow.message import TIMED_OUT, Failure
from goflow.state import RunState
from goflow_local import rows
from goflow_local.change import Change
from goflow_local.claim import orphans
from goflow_local.commit import record_attempt
from goflow_local.ending import doom, end, move, proceed
from goflow_local.liveness import LISTENERS, Locks
from goflow_local.rows import HANDLERS, READY, STOPPED, RunRow
from goflow_local.sql import Connection
from goflow_local.store import Store, now

#: rows changed in one transaction
BITE: Final = 500
#: seconds between looks for listeners that have gone
_LISTENERS_EVERY: Final = 30.0

#: tables of what belongs to a run, with their primary keys: by node id, or by the run's key
_OF_NODES: Final = {
    "arrival": "node, closing, source",
    "item": "node, pos",
    "output": "node",
    "opening": "node",
    "node": "id",
}
_OF_RUNS: Final = {"context": "run, key", "log": "run, id", "attempt": "run, id"}


class Duties(NamedTuple):
    """What there is to do. `next` is when the next thing falls due that has a date."""

    heartbeat: bool
    retries: bool
    timeouts: bool
    dead: tuple[int, ...]
    frozen: tuple[int, ...]
    orphans: tuple[int, ...]
    expired: bool
    listeners: tuple[int, ...]
    next: float | None

    @property
    def bounded(self) -> bool:
        """Whether something is left that is done in bites."""
        return self.retries or self.timeouts or self.expired

    @property
    def any(self) -> bool:
        """Whether a transaction is worth it."""
        return any(self[:-1])


def duties(connection: Connection, store: Store, worker: int) -> Duties:
    """What there is to do."""
    at = now()
    execute = connection.execute
    (retry,) = execute("SELECT min(due) FROM node INDEXED BY node_due WHERE state = 4").fetchone()
    (deadline,) = execute("SELECT min(deadline) FROM run WHERE deadline IS NOT NULL").fetchone()
    (finished,) = execute("SELECT min(finished) FROM run WHERE finished IS NOT NULL").fetchone()
    (until,) = execute("SELECT min(until) FROM nonce").fetchone()
    (gone,) = execute("SELECT min(gone) FROM worker").fetchone()
    trash = execute("SELECT 1 FROM trash LIMIT 1").fetchone()
    beats = execute("SELECT id, seen FROM worker WHERE gone IS NULL").fetchall()
    dead = tuple(id for id, _ in beats if not store.locks.alive(id))
    late = [id for id, seen in beats if time.monotonic() - seen > store.lease and id != worker]
    dates = [retry, deadline]
    dates += [None if old is None else old + store.retention for old in (finished, gone)]
    dates.append(until)
    return Duties(
        heartbeat=due_for_a_beat(dict(beats).get(worker), store.lease),
        retries=retry is not None and retry <= at,
        timeouts=deadline is not None and deadline <= at,
        dead=dead,
        frozen=_that_hold_something(connection, [id for id in late if id not in dead]),
        orphans=_known_orphans(connection, store.locks, worker),
        expired=trash is not None or any(date and date <= at for date in dates[2:]),
        listeners=_silent_listeners(connection, store),
        next=min((date for date in dates if date is not None and date > at), default=None),
    )


def due_for_a_beat(seen: float | None, lease: float) -> bool:
    """Whether a worker's sign of life is old enough to be worth another write."""
    return seen is not None and time.monotonic() - seen > lease / 4


def beat(change: Change, worker: int) -> None:
    """Renew a worker's lease."""
    change.execute("UPDATE worker SET seen = ? WHERE id = ?", (time.monotonic(), worker))


def work_off(change: Change, worker: int, found: Duties) -> None:
    """Do what was found, a bounded part of it."""
    if found.heartbeat:
        beat(change, worker)
    for id in (*found.dead, *found.frozen):
        take_back(change, id, dead=id in found.dead)
    adopt_all(change, found.orphans)
    if found.retries:
        _promote(change)
    if found.timeouts:
        _time_out(change)
    if found.expired:
        _expire(change)
    for id in found.listeners:
        change.execute("DELETE FROM listener WHERE id = ?", (id,))


def _that_hold_something(connection: Connection, workers: list[int]) -> tuple[int, ...]:
    if not workers:
        return ()
    query = (
        "SELECT DISTINCT worker FROM node INDEXED BY node_held JOIN run ON run.id = node.run"
        " WHERE node.state = 2 AND run.owner = 0"
    )
    holders = {worker for (worker,) in connection.execute(query)}
    return tuple(worker for worker in workers if worker in holders)


def _known_orphans(connection: Connection, locks: Locks, worker: int) -> tuple[int, ...]:
    found = connection.execute("SELECT flows FROM worker WHERE id = ?", (worker,)).fetchone()
    flows = rows.unpack_flows(found[0]) if found else ()
    return orphans(connection, locks, worker, flows)


def _silent_listeners(connection: Connection, store: Store) -> tuple[int, ...]:
    if time.monotonic() - store.listeners_checked < _LISTENERS_EVERY:
        return ()
    store.listeners_checked = time.monotonic()
    found = connection.execute("SELECT id FROM listener").fetchall()
    return tuple(id for (id,) in found if not store.locks.alive(LISTENERS + id))


# -- vanished workers -----------------------------------------------------------------------------


def take_back(change: Change, worker: int, *, dead: bool) -> None:
    """Make what a vanished worker holds ready again. One that is only late keeps the runs it owns."""
    if dead:
        change.execute(
            "UPDATE worker SET gone = ? WHERE id = ? AND gone IS NULL", (change.now, worker)
        )
        change.alarm = True  # a run it owned may be another's now
    take_back_where(change, "worker = ?", worker, owned=dead)


def take_back_where(change: Change, condition: str, value: int, *, owned: bool = True) -> None:
    """Take back held tasks: all that match, or only those of runs without an owner."""
    held = change.execute(
        "SELECT id, run, path, attempt, worker, started, doomed, width FROM node"
        f" INDEXED BY node_held WHERE state = 2 AND {condition}",
        (value,),
    ).fetchall()
    touched: dict[int, RunRow] = {}
    for node, key, path, attempt, worker, started, doomed, _ in held:
        run = change.run(key)
        if run.owner and not owned:
            continue
        touched[key] = run
        times = (started or change.now, change.now)
        record_attempt(change, run, (path, attempt, worker), "lost", times, "its worker vanished")
        over = doomed or (run.ending == RunState.STOPPED and path not in HANDLERS)
        change.execute(
            "UPDATE node SET state = ?, token = 0, lost = lost + 1, doomed = 0 WHERE id = ?",
            (STOPPED if over else READY, node),
        )
        if not over:
            change.enqueue(run, node, path)
    for run in touched.values():
        proceed(change, run)


def adopt_all(change: Change, orphans: Sequence[int]) -> None:
    """Give runs whose owner has ended to all workers."""
    for run in map(change.run, orphans):
        if run.owner:
            take_back_where(change, "run = ?", run.key)
            lane = run.lane
            run.owner = 0
            run.next()
            run.altered = True
            move(change, run, lane, run.lane)


# -- clocks ---------------------------------------------------------------------------------------


def _promote(change: Change) -> None:
    """Failed attempts whose delay is over become ready."""
    due = change.execute(
        "SELECT id, run, path FROM node INDEXED BY node_due WHERE state = 4 AND due <= ?"
        " ORDER BY due LIMIT ?",
        (change.now, BITE),
    ).fetchall()
    change.connection.executemany(
        "UPDATE node SET state = 1, due = NULL WHERE id = ?", [(node,) for node, *_ in due]
    )
    for node, key, path in due:
        run = change.run(key)
        run.next()
        change.enqueue(run, node, path)


def _time_out(change: Change) -> None:
    """End runs that have taken too long; what still runs is killed."""
    late = change.execute(
        "SELECT id FROM run WHERE deadline IS NOT NULL AND deadline <= ? LIMIT ?",
        (change.now, BITE),
    ).fetchall()
    for (key,) in late:
        run = change.run(key)
        run.next()
        lane = run.lane
        doom(change, run)
        end(change, run, RunState.FAILED, Failure(TIMED_OUT, f"timed out after {run.timeout:g} s"))
        move(change, run, lane, run.parked)
        proceed(change, run)


# -- retention ------------------------------------------------------------------------------------


def _expire(change: Change) -> None:
    """Remove a bounded part of what is past its retention."""
    execute = change.execute
    before = change.now - change.store.retention
    old = execute(
        "SELECT id, definition FROM run WHERE finished IS NOT NULL AND finished <= ?"
        " ORDER BY finished LIMIT ?",
        (before, BITE // 10),
    ).fetchall()
    for key, definition in old:
        execute("INSERT OR IGNORE INTO trash VALUES (?)", (key,))
        execute(
            "DELETE FROM queue WHERE lane IN (?, ?) AND node BETWEEN ? AND ?",
            (definition, -2 * key - 1, *RunRow.ids_of(key)),
        )
        execute("DELETE FROM run WHERE id = ?", (key,))
        execute("DELETE FROM request WHERE run = ?", (key,))
        change.store.requests.pop(key, None)
    room = BITE
    for (key,) in execute("SELECT run FROM trash LIMIT ?", (BITE // 10,)).fetchall():
        room -= _clear(change, key, room)
        if room <= 0:
            break  # there may be more of it
        execute("DELETE FROM trash WHERE run = ?", (key,))
    execute("DELETE FROM nonce WHERE until <= ?", (change.now,))
    execute("DELETE FROM worker WHERE gone <= ?", (before,))
    execute(
        "UPDATE definition SET plan = NULL WHERE plan IS NOT NULL AND registered <= ?"
        " AND registered < (SELECT max(registered) FROM definition d WHERE d.flow = definition.flow)"
        " AND NOT EXISTS (SELECT 1 FROM run WHERE run.definition = definition.id)",
        (before,),
    )


def _clear(change: Change, key: int, room: int) -> int:
    """Delete up to `room` rows that belong to a removed run; how many went."""
    connection = change.connection
    before = connection.total_changes()
    for tables, ids in ((_OF_NODES, RunRow.ids_of(key)), (_OF_RUNS, (key, key))):
        for table, primary in tables.items():
            left = room - (connection.total_changes() - before)
            if left <= 0:
                return room
            first = primary.partition(",")[0]
            some = f"SELECT {primary} FROM {table} WHERE {first} BETWEEN ? AND ? LIMIT ?"
            change.execute(f"DELETE FROM {table} WHERE ({primary}) IN ({some})", (*ids, left))
    return connection.total_changes() - before
