"""What goes after its time: finished runs bit by bit, and what only they needed."""

from __future__ import annotations

from typing import Final

from goflow.errors import Conflict
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.rows import RunRow
from goflow_local.store import Store

#: rows changed in one transaction
BITE: Final = 500

#: tables of what belongs to a run, with their primary keys: by node id, or by the run's key
_OF_NODES: Final = {
    "arrival": "node, closing, source",
    "item": "node, pos",
    "output": "node",
    "opening": "node",
    "node": "id",
}
_OF_RUNS: Final = {
    "context": "run, key, number",
    "access": "run, id",
    "log": "run, id",
    "attempt": "run, id",
}


def expire(change: Change) -> None:
    """Remove a bounded part of what is past its retention."""
    execute = change.execute
    for state, kept in lifetimes(change.store):
        old = execute(
            "SELECT id, definition FROM run WHERE state = ? AND finished IS NOT NULL"
            " AND finished <= ? ORDER BY finished LIMIT ?",
            (state, change.now - kept, BITE // 10),
        ).fetchall()
        for key, definition in old:
            _throw_away(change, key, definition)
    before = change.now - change.store.retention
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


def free(change: Change, run: RunRow) -> bool:
    """Whether a run is past its retention, which frees its id: it goes now, and not only when a worker comes by."""
    kept = dict(lifetimes(change.store)).get(RunState(run.state))
    if kept is None or run.finished is None or run.finished > change.now - kept:
        return False
    _throw_away(change, run.key, run.definition)
    return True


def lifetimes(store: Store) -> tuple[tuple[RunState, float], ...]:
    """How many seconds a run is kept by how it ended."""
    return (
        (RunState.SUCCEEDED, store.retention),
        (RunState.STOPPED, store.retention),
        (RunState.FAILED, store.dead),
    )


def forget(change: Change, run_id: str) -> int:
    """Nobody sees this run any more; answers its key, for `clear`. Raises Conflict."""
    run = change.named(run_id)
    if run.finished is None:
        raise Conflict(
            f"cannot forget run {run.id}: it has not ended ({run.state}); `goflow stop {run.id}` first"
        )
    _throw_away(change, run.key, run.definition)
    return run.key


def clear(change: Change, key: int) -> bool:
    """Delete a bounded part of a run nobody sees any more; whether that was the rest."""
    if _clear(change, key, BITE) >= BITE:
        return False
    change.execute("DELETE FROM trash WHERE run = ?", (key,))
    return True


def _throw_away(change: Change, key: int, definition: int) -> None:
    execute = change.execute
    execute("INSERT OR IGNORE INTO trash VALUES (?)", (key,))
    execute(
        "DELETE FROM queue WHERE lane IN (?, ?) AND node BETWEEN ? AND ?",
        (definition, -2 * key - 1, *RunRow.ids_of(key)),
    )
    execute("DELETE FROM run WHERE id = ?", (key,))
    execute("DELETE FROM request WHERE run = ?", (key,))
    execute("DELETE FROM untold WHERE run = ?", (key,))
    change.store.requests.pop(key, None)


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
