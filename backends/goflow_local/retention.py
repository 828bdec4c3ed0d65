"""What goes after its time: finished runs bit by bit, and what only they needed."""

from __future__ import annotations

from typing import Final

from goflow_local.change import Change
from goflow_local.rows import RunRow

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
_OF_RUNS: Final = {"context": "run, key", "log": "run, id", "attempt": "run, id"}


def expire(change: Change) -> None:
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
