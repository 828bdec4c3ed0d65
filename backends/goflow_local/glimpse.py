"""The beginnings of recorded payloads: SQLite reads a value's first pages alone where the table has row ids."""

from __future__ import annotations

import msgspec

from goflow.glimpse import Glimpse, Glimpses, cut
from goflow.message import Request
from goflow.payload import EMPTY
from goflow.state import RunState
from goflow_local import rows
from goflow_local.nodes import node_id
from goflow_local.reading import find
from goflow_local.rows import payload_of
from goflow_local.sql import Connection

_ARRIVALS = (
    "SELECT a.source, a.carries, a.media, substr(a.data, 1, ?3), length(a.data), a.sender FROM arrival a"
    " WHERE a.node = ?1 AND NOT a.closing ORDER BY a.source LIMIT ?2"
)
_ITEM = "SELECT media, substr(data, 1, ?3), length(data) FROM item WHERE node = ?1 AND pos = ?2"


def request(connection: Connection, run_id: str, most: int) -> tuple[Request, int]:
    """What was submitted, its payload cut; and the bytes that payload has."""
    key = find(connection, run_id).key
    query = "SELECT words FROM request WHERE run = ?"
    (words,) = connection.execute(query, (key,)).fetchone()
    seen = _begin(connection, "request", "run", key, most) or cut(EMPTY, most)
    return msgspec.structs.replace(rows.unpack_request(words), payload=seen.payload), seen.size


def output(connection: Connection, run_id: str, path: str | None, most: int) -> Glimpse | None:
    """The beginning of what a node instance recorded, or of the run's result."""
    if path is None:
        row = find(connection, run_id)
        if row.state != RunState.SUCCEEDED or row.result is None:
            return None
        return _begin(connection, "output", "node", row.result, most)
    found = node_id(connection, run_id, path)
    return None if found is None else _begin(connection, "output", "node", found[0], most)


def arrivals(connection: Connection, run_id: str, path: str, most: int, count: int) -> Glimpses:
    """The beginnings of the first arrivals at a node instance, and how many there are."""
    found = node_id(connection, run_id, path)
    if found is None:
        return [], 0
    node, scope, pos = found
    if scope is not None:
        return [("", _given(connection, node >> 32, scope, pos or 0, most))][:count], 1
    told: list[tuple[str, Glimpse | None]] = []
    for source, carries, media, data, size, sender in connection.execute(
        _ARRIVALS, (node, count, most)
    ).fetchall():
        seen = None
        if carries and data is not None:
            seen = Glimpse(payload_of(media, data), size)
        elif carries:
            seen = _begin(connection, "output", "node", sender, most) or cut(EMPTY, most)
        told.append((source, seen))
    query = "SELECT count(*) FROM arrival WHERE node = ? AND NOT closing"
    return told, connection.execute(query, (node,)).fetchone()[0]


def _given(connection: Connection, run: int, scope: int, pos: int, most: int) -> Glimpse | None:
    """What a node that starts a scope gets: the scope's item, or (0) the run's payload."""
    if scope == 0:
        return _begin(connection, "request", "run", run, most)
    found = connection.execute(_ITEM, (scope, pos, most)).fetchone()
    return None if found is None else Glimpse(payload_of(*found[:2]), found[2])


def _begin(connection: Connection, table: str, key: str, row: int, most: int) -> Glimpse | None:
    """The beginning of the payload in this row of a table, and nothing of the rest."""
    query = f"SELECT media FROM {table} WHERE {key} = ?"
    found = connection.execute(query, (row,)).fetchone()
    if found is None:
        return None
    with connection.blob_open("main", table, "data", row, False) as blob:
        return Glimpse(payload_of(found[0], blob.read(most)), blob.length())
