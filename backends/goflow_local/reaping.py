"""Vanished workers: what they held is ready again, and runs they owned find another."""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import FlowKey
from goflow.state import RunState
from goflow_local import rows
from goflow_local.change import Change
from goflow_local.commit import drop_items, record_attempt
from goflow_local.ending import move, proceed
from goflow_local.rows import HANDLERS, HELD, READY, STOPPED, RunRow
from goflow_local.sql import Connection
from goflow_local.store import Store


def orphans(
    connection: Connection, store: Store, worker: int, flows: Sequence[FlowKey]
) -> tuple[int, ...]:
    """Runs whose owner has ended, if this worker may have them: it knows the flow, and is no owner."""
    query = "SELECT id, owner, flow, fingerprint FROM run WHERE owner > 0"
    owned = connection.execute(query).fetchall()
    if worker in store.owners or any(owner == worker for _, owner, *_ in owned):
        return ()
    return tuple(
        key
        for key, owner, flow, fingerprint in owned
        if (flow, fingerprint) in flows and not store.locks.alive(owner)
    )


def known_orphans(connection: Connection, store: Store, worker: int) -> tuple[int, ...]:
    """The same, by what the worker said when it entered."""
    found = connection.execute("SELECT flows FROM worker WHERE id = ?", (worker,)).fetchone()
    flows = rows.unpack_flows(found[0]) if found else ()
    return orphans(connection, store, worker, flows)


def take_back(change: Change, worker: int, *, dead: bool) -> None:
    """Make what a vanished worker holds ready again. One that is only late keeps the runs it owns."""
    if dead:
        change.execute(
            "UPDATE worker SET gone = ? WHERE id = ? AND gone IS NULL", (change.now, worker)
        )
        change.alarm = True  # a run it owned may be another's now
    take_back_where(change, "worker = ?", worker, owned=dead)


def take_back_dead(change: Change, run: RunRow) -> None:
    """Take back what workers of this run held whose processes have ended."""
    query = (
        f"SELECT DISTINCT worker FROM node INDEXED BY node_held WHERE state = {HELD} AND run = ?"
    )
    for (worker,) in change.execute(query, (run.key,)).fetchall():
        if not change.store.locks.alive(worker):
            take_back_where(change, f"run = {run.key} AND worker = ?", worker)


def take_back_where(change: Change, condition: str, value: int, *, owned: bool = True) -> None:
    """Take back held tasks: all that match, or only those of runs without an owner."""
    held = change.execute(
        "SELECT id, run, path, attempt, worker, started, doomed, staged = token, queued,"
        " id || '.' || token FROM node"
        f" INDEXED BY node_held WHERE state = {HELD} AND {condition}",
        (value,),
    ).fetchall()
    touched: dict[int, RunRow] = {}
    for node, key, path, attempt, worker, started, doomed, staged, queued, token in held:
        run = change.run(key)
        if run.owner and not owned:
            continue
        touched[key] = run
        times = (queued, started or change.now, change.now)
        gone = "its worker vanished"
        record_attempt(change, run, (path, attempt, worker), "lost", times, gone, token=token)
        if staged:
            drop_items(change, node)
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
        if run.owner and not change.store.locks.alive(run.owner):
            take_back_where(change, "run = ?", run.key)
            lane = run.lane
            run.owner = 0
            run.next()
            run.altered = True
            move(change, run, lane, run.lane)
