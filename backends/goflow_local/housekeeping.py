"""What any worker does now and then: due retries, vanished workers, timeouts, retention.

`duties` looks, in a read transaction, and usually finds nothing; `work_off` does a bounded part of what
it found and is called again for the rest.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from goflow.message import TIMED_OUT, Failure
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.ending import doom, end, move, proceed
from goflow_local.liveness import LISTENERS
from goflow_local.reaping import adopt_all, known_orphans, take_back
from goflow_local.retention import BITE, expire, lifetimes
from goflow_local.rows import HELD, READY, RETRYING
from goflow_local.sql import Connection
from goflow_local.store import Store, now

#: seconds by which something of the past may seem to lie ahead before the clock counts as set back since
_SET_BACK: Final = 1.0
#: seconds between looks for listeners that have gone
_LISTENERS_EVERY: Final = 30.0


#: when the next retry is due, and when the attempt before it failed
_FIRST_DUE: Final = (
    f"SELECT due, finished FROM node INDEXED BY node_due WHERE state = {RETRYING} AND due IS NOT NULL"
    " ORDER BY due LIMIT 1"
)
#: when the time of the run with the last deadline began
_LAST_BEGUN: Final = (
    "SELECT deadline - timeout FROM run WHERE deadline IS NOT NULL ORDER BY deadline DESC LIMIT 1"
)


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
    retry, failed = execute(_FIRST_DUE).fetchone() or (None, None)
    (deadline,) = execute("SELECT min(deadline) FROM run WHERE deadline IS NOT NULL").fetchone()
    (begun,) = execute(_LAST_BEGUN).fetchone() or (None,)
    (until,) = execute("SELECT min(until) FROM nonce").fetchone()
    (gone,) = execute("SELECT min(gone) FROM worker").fetchone()
    trash = execute("SELECT 1 FROM trash LIMIT 1").fetchone()
    beats = execute("SELECT id, seen FROM worker WHERE gone IS NULL").fetchall()
    dead = tuple(id for id, _ in beats if not store.locks.alive(id))
    late = _late(store, dict(beats), worker)
    dates = [retry, deadline]
    dates += [_oldest_end(connection, state, kept) for state, kept in lifetimes(store)]
    dates.append(None if gone is None else gone + store.retention)
    dates.append(until)
    return Duties(
        heartbeat=due_for_a_beat(dict(beats).get(worker), store.lease),
        retries=retry is not None and (retry <= at or _lies_ahead(failed, at)),
        timeouts=deadline is not None and (deadline <= at or _lies_ahead(begun, at)),
        dead=dead,
        frozen=_that_hold_something(connection, [id for id in late if id not in dead]),
        orphans=known_orphans(connection, store, worker),
        expired=trash is not None or any(date and date <= at for date in dates[2:]),
        listeners=_silent_listeners(connection, store),
        next=min((date for date in dates if date is not None and date > at), default=None),
    )


def _late(store: Store, beats: dict[int, float], worker: int) -> list[int]:
    """Workers whose sign of life is older than a lease. None where this one came, or its own was overdue, less
    than a lease ago: what kept it from writing, a full disk or a suspended machine, may have kept them as well."""
    at = time.monotonic()
    _noticed(store, beats.get(worker), at)
    if at - store.blind_at <= store.lease:
        return []
    return [id for id, seen in beats.items() if at - seen > store.lease and id != worker]


def _noticed(store: Store, seen: float | None, at: float) -> None:
    """Remember when a worker of this connection finds its own sign of life overdue."""
    if seen is not None and at - seen > store.lease / 2:
        store.blind_at = at


def due_for_a_beat(seen: float | None, lease: float) -> bool:
    """Whether a worker's sign of life is old enough to be worth another write."""
    return seen is not None and time.monotonic() - seen > lease / 4


def beat(change: Change, worker: int) -> None:
    """Renew a worker's lease. What kept this one waiting, a frozen process in the middle of a transaction, may have
    kept the others as well: noticed before its sign of life looks as if nothing had been."""
    at = time.monotonic()
    found = change.execute("SELECT seen FROM worker WHERE id = ?", (worker,)).fetchone()
    _noticed(change.store, found and found[0], at)
    change.execute("UPDATE worker SET seen = ? WHERE id = ?", (at, worker))


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
        expire(change)
    for id in found.listeners:
        change.execute("DELETE FROM listener WHERE id = ?", (id,))


def _oldest_end(connection: Connection, state: RunState, kept: float) -> float | None:
    """When the next run that ended so is past its retention."""
    query = "SELECT min(finished) FROM run WHERE state = ? AND finished IS NOT NULL"
    (finished,) = connection.execute(query, (state,)).fetchone()
    return None if finished is None else finished + kept


def _that_hold_something(connection: Connection, workers: list[int]) -> tuple[int, ...]:
    if not workers:
        return ()
    query = (
        "SELECT DISTINCT worker FROM node INDEXED BY node_held JOIN run ON run.id = node.run"
        f" WHERE node.state = {HELD} AND run.owner = 0"
    )
    holders = {worker for (worker,) in connection.execute(query)}
    return tuple(worker for worker in workers if worker in holders)


def _silent_listeners(connection: Connection, store: Store) -> tuple[int, ...]:
    if time.monotonic() - store.listeners_checked < _LISTENERS_EVERY:
        return ()
    store.listeners_checked = time.monotonic()
    found = connection.execute("SELECT id FROM listener").fetchall()
    return tuple(id for (id,) in found if not store.locks.alive(LISTENERS + id))


def _promote(change: Change) -> None:
    """Failed attempts whose delay is over become ready, and at once those that failed later than now: somebody
    has set the clock back since, and what was due in a second may be due in a day."""
    _, failed = change.execute(_FIRST_DUE).fetchone() or (None, None)
    over, when = "due <= ?", change.now
    if _lies_ahead(failed, change.now):
        over, when = "due IS NOT NULL AND finished > ?", change.now + _SET_BACK
    due = change.execute(
        f"SELECT id, run, path FROM node INDEXED BY node_due WHERE state = {RETRYING} AND {over}"
        " ORDER BY due LIMIT ?",
        (when, BITE),
    ).fetchall()
    change.connection.executemany(
        f"UPDATE node SET state = {READY}, due = NULL WHERE id = ?", [(node,) for node, *_ in due]
    )
    for node, key, path in due:
        run = change.run(key)
        run.next()
        change.enqueue(run, node, path)


def _lies_ahead(past: float | None, at: float) -> bool:
    return past is not None and past > at + _SET_BACK


def _time_out(change: Change) -> None:
    """End runs that have taken too long; what still runs is killed. The time of those that began later than now
    begins anew: somebody has set the clock back since."""
    change.execute(
        "UPDATE run SET deadline = ? + timeout WHERE deadline IS NOT NULL AND deadline - timeout > ?",
        (change.now, change.now + _SET_BACK),
    )
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
