"""What a store tells about runs: lists, states and results. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

import msgspec

from goflow.backend import Run
from goflow.errors import Conflict, GoflowError, RunFailed, RunStopped, UnknownRun
from goflow.message import Request
from goflow.payload import EMPTY, Payload
from goflow.state import RunState
from goflow_local import rows
from goflow_local.change import unknown_run
from goflow_local.liveness import Locks
from goflow_local.rows import RUN_COLUMNS, RunRow, payload_of, run_of
from goflow_local.sql import Connection

if TYPE_CHECKING:
    from goflow.wholesale import Look


def find(connection: Connection, run_id: str) -> RunRow:
    """The run's row. Raises UnknownRun."""
    query = f"SELECT {RUN_COLUMNS} FROM run WHERE name = ?"
    found = connection.execute(query, (run_id,)).fetchone()
    if found is None:
        raise unknown_run(connection, run_id)
    return rows.row_of(found)


def abandoned(run: RunRow, locks: Locks) -> bool:
    """Whether its owner ended before it did."""
    return bool(run.owner) and run.finished is None and not locks.alive(run.owner)


def run(connection: Connection, locks: Locks, run_id: str) -> Run:
    """One run."""
    row = find(connection, run_id)
    return run_of(row, abandoned(row, locks))


def runs(
    connection: Connection,
    locks: Locks,
    flow: str | None,
    state: str | None,
    limit: int,
    before: str | None,
) -> list[Run]:
    """The newest runs first, or those older than one."""
    end = 1 << 62 if before is None else find(connection, before).key
    if flow is None and state is None:
        query = f"SELECT {RUN_COLUMNS} FROM run WHERE id < ? ORDER BY id DESC LIMIT ?"
        found = connection.execute(query, (end, limit)).fetchall()
    else:
        # one range of the index for each flow and state, of which the newest are merged
        query = "SELECT id FROM run INDEXED BY run_listed WHERE flow = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?"
        flows = [flow] if flow is not None else rows.flows(connection)
        states = list(RunState) if state is None else [state]
        asked = [(each, str(one), end, limit) for each in flows for one in states]
        keys = nlargest(limit, connection.executemany(query, asked))
        found = list(connection.executemany(f"SELECT {RUN_COLUMNS} FROM run WHERE id = ?", keys))
    listed = map(rows.row_of, found)
    return [run_of(row, abandoned(row, locks)) for row in listed]


def ended_since(connection: Connection, since: float) -> list[tuple[str, float]]:
    """Names and ends of the runs that ended then or later."""
    query = "SELECT name, finished FROM run INDEXED BY run_ended WHERE state = ? AND finished >= ?"
    found: list[tuple[str, float]] = []
    for state in RunState:
        if state.terminal:
            found += connection.execute(query, (state, since)).fetchall()
    return found


def result(connection: Connection, run_id: str) -> Payload:
    """What a succeeded run made."""
    row = find(connection, run_id)
    if row.state == RunState.FAILED:
        assert row.failure is not None
        raise RunFailed(run_id, rows.error_text(rows.unpack_failure(row.failure)))
    if row.state == RunState.STOPPED:
        raise RunStopped(run_id)
    if row.state != RunState.SUCCEEDED:
        raise Conflict(f"run {run_id} has not ended yet: it is {row.state}")
    return (None if row.result is None else recorded(connection, row.result)) or EMPTY


def results(
    connection: Connection, locks: Locks, run_ids: Sequence[str]
) -> list[Look | GoflowError]:
    """Each run as it is now, with what it made."""
    found: list[Look | GoflowError] = []
    for run_id in run_ids:
        try:
            row = find(connection, run_id)
        except UnknownRun as error:
            found.append(error)
            continue
        made = None
        if row.state == RunState.SUCCEEDED:
            made = (None if row.result is None else recorded(connection, row.result)) or EMPTY
        found.append((run_of(row, abandoned(row, locks)), made))
    return found


def request(connection: Connection, run_id: str) -> Request:
    """What was submitted."""
    key = find(connection, run_id).key
    words, media, data = connection.execute(
        "SELECT words, media, data FROM request WHERE run = ?", (key,)
    ).fetchone()
    return msgspec.structs.replace(rows.unpack_request(words), payload=payload_of(media, data))


def recorded(connection: Connection, node: int) -> Payload | None:
    """What the node instance with this id recorded."""
    query = "SELECT media, data FROM output WHERE node = ?"
    found = connection.execute(query, (node,)).fetchone()
    return None if found is None else payload_of(*found)
