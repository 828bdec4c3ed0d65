"""What a run's nodes printed, read in pieces from either end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goflow.backend import LogLine
from goflow.glimpse import ending
from goflow_local.reading import find
from goflow_local.sql import Connection


def logs(
    connection: Connection, run_id: str, path: str | None, after: int, limit: int | None
) -> list[LogLine]:
    """What nodes printed."""
    query = (
        "SELECT id, path, round, attempt, time, data FROM log WHERE run = ?1 AND id > ?2"
        " AND (?3 IS NULL OR path = ?3) ORDER BY id LIMIT ?4"
    )
    most = -1 if limit is None else limit  # as SQLite says: without
    found = connection.execute(query, (find(connection, run_id).key, after, path, most))
    return list(map(_log_line, found))


def last_logs(connection: Connection, run_id: str, path: str | None, most: int) -> list[LogLine]:
    """The last pieces of what nodes printed."""
    return ending(_backwards(connection, find(connection, run_id).key, path), most)


def _backwards(connection: Connection, run: int, path: str | None) -> Iterator[LogLine]:
    """Pieces of a log from the last to the first."""
    query = (
        "SELECT id, path, round, attempt, time, data FROM log WHERE run = ?1 AND id < ?2"
        " AND (?3 IS NULL OR path = ?3) ORDER BY id DESC LIMIT 256"
    )
    before = 1 << 62
    while found := connection.execute(query, (run, before, path)).fetchall():
        yield from map(_log_line, found)
        before = found[-1][0]


def _log_line(row: Any) -> LogLine:
    id, path, round, attempt, time, data = row
    return LogLine(id=id, path=path, round=round, attempt=attempt, time=time, data=data)
