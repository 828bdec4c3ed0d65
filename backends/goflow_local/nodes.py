"""A run's node instances: their states, what came to them, what they recorded, and every attempt at them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from goflow.backend import Attempt, NodeRun
from goflow.payload import Payload
from goflow.state import NodeState, RunState
from goflow_local import rows
from goflow_local.claim import given, received
from goflow_local.reading import find, recorded
from goflow_local.rows import SUCCEEDED, RunRow
from goflow_local.sql import Connection

#: node instances in a page
PAGE: Final = 1000

_NODES = (
    "SELECT path, state, attempt, round, started, finished, ready, due, failure, worker, width,"
    " done, opening.keys, digest, id, rescue FROM node LEFT JOIN opening ON opening.node = node.id"
)
#: of a run's nodes those that have attempts beside the one that made their result
_TOLD_APART: Final = "AND path IN (SELECT path FROM attempt WHERE run = ?)"
_STATES: Final = (
    NodeState.WAITING,
    NodeState.READY,
    NodeState.RUNNING,
    NodeState.RUNNING,
    NodeState.RETRYING,
    NodeState.SUCCEEDED,
    NodeState.FAILED,
    NodeState.STOPPED,
)


def nodes(connection: Connection, run_id: str, paths: Iterable[str] | None) -> list[NodeRun]:
    """The run's node instances, those named or all, as they became ready."""
    row = find(connection, run_id)
    found: list[Any]
    if paths is None:
        query = f"{_NODES} WHERE id BETWEEN ? AND ? ORDER BY ready IS NULL, ready, id"
        found = connection.execute(query, row.ids).fetchall()
    else:
        query = f"{_NODES} WHERE run = ? AND path = ?"
        named = [(row.key, path) for path in dict.fromkeys(paths)]
        found = list(connection.executemany(query, named))
        found.sort(key=lambda each: (each[6] is None, each[6], each[14]))
    last = _Last.of(row)
    return [_node_run(each, last) for each in found]


def node_page(connection: Connection, run_id: str, after: int) -> tuple[list[NodeRun], int]:
    """The run's next node instances behind the id `after`, and the id of the last of them."""
    row = find(connection, run_id)
    first, end = row.ids
    query = f"{_NODES} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
    found = connection.execute(query, (max(first, after + 1), end, PAGE)).fetchall()
    last = _Last.of(row)
    return [_node_run(each, last) for each in found], found[-1][14] if found else after


class _Last(msgspec.Struct, frozen=True):
    """What a run's end means for nodes that did not get to theirs."""

    over: bool
    unfinished: NodeState
    culprit: str

    @staticmethod
    def of(run: RunRow) -> _Last:
        failure = rows.unpack_failure(run.failure) if run.failure is not None else None
        unfinished = NodeState.STOPPED if run.ending == RunState.STOPPED else NodeState.SKIPPED
        return _Last(run.finished is not None, unfinished, failure.node if failure else "")

    def state(self, path: str, code: int) -> NodeState:
        """What to call a node in this state."""
        if not self.over or code in (rows.SUCCEEDED, rows.FAILED, rows.STOPPED):
            return _STATES[code]
        if self.unfinished is NodeState.SKIPPED:
            inside = code == rows.OPEN and self.culprit.startswith((path + "/", path + "["))
            if inside or code == rows.RETRYING:
                return NodeState.FAILED  # its last attempt failed, or something in it has
        return self.unfinished


def _node_run(columns: Any, last: _Last) -> NodeRun:
    (path, code, attempt, round, started, finished, ready, due, failed, worker, width, done, keys,
     digest, _, rescue) = columns  # fmt: skip
    state = last.state(path, rows.RETRYING if rescue and last.over else code)
    failure = None if failed is None else rows.unpack_failure(failed)
    return NodeRun(
        path=path,
        state=state,
        attempt=attempt,
        round=round,
        started=started,
        finished=finished,
        ready=ready,
        due=due,
        error=None if failure is None else str(failure),
        failure=failure,
        worker=worker if code == rows.HELD else 0,
        width=width,
        done=done or 0,
        keys=None if keys is None else rows.unpack_keys(keys),
        digest=digest or "",
    )


def node_id(connection: Connection, run_id: str, path: str) -> tuple[int, int | None, int] | None:
    """Id, scope and position of a node instance. Raises UnknownRun."""
    key = find(connection, run_id).key
    query = "SELECT id, scope, pos FROM node WHERE run = ? AND path = ?"
    node: tuple[int, int | None, int] | None = connection.execute(query, (key, path)).fetchone()
    return node


def arrivals(connection: Connection, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
    """What has arrived at a node instance."""
    found = node_id(connection, run_id, path)
    if found is None:
        return []
    node, scope, pos = found
    if scope is not None:
        return [("", given(connection, node >> 32, scope, pos))]
    return received(connection, node)


def output(connection: Connection, run_id: str, path: str) -> Payload | None:
    """What a node instance recorded."""
    found = node_id(connection, run_id, path)
    return None if found is None else recorded(connection, found[0])


def attempts(connection: Connection, run_id: str, path: str | None = None) -> list[Attempt]:
    """History, and the attempts that made what is recorded now: all, or those at one node instance."""
    return _attempts(connection, find(connection, run_id), path)


def nodes_and_tries(connection: Connection, run_id: str) -> tuple[list[NodeRun], list[Attempt]]:
    """All node instances, and the attempts that they do not tell themselves: in a run of one round those of nodes
    that have any beside the one that made their result, which a run of 100,000 nodes may have none of."""
    row = find(connection, run_id)
    return nodes(connection, run_id, None), _attempts(connection, row, None, row.round > 1)


def order_and_tries(connection: Connection, run_id: str) -> tuple[list[str], list[Attempt]]:
    """The paths of the node instances in the order of `nodes`, and the attempts of `nodes_and_tries`."""
    row = find(connection, run_id)
    query = "SELECT path FROM node WHERE id BETWEEN ? AND ? ORDER BY ready IS NULL, ready, id"
    paths = [path for (path,) in connection.execute(query, row.ids)]
    return paths, _attempts(connection, row, None, row.round > 1)


def _attempts(
    connection: Connection, row: RunRow, path: str | None, every: bool = True
) -> list[Attempt]:
    workers = functools.cache(lambda worker: _worker_name(connection, worker))
    history = connection.execute(
        "SELECT path, round, attempt, state, started, finished, error, worker, digest, queued, token"
        " FROM attempt WHERE run = ?1 AND (?2 IS NULL OR path = ?2)",
        (row.key, path),
    ).fetchall()
    which, bound = "id BETWEEN ? AND ?", (*row.ids,)
    if path is not None:
        which, bound = "run = ? AND path = ?", (row.key, path)  # type: ignore[assignment]
    if not every:
        which, bound = f"{which} {_TOLD_APART}", (*bound, row.key)  # type: ignore[assignment]
    present = connection.execute(
        "SELECT path, ran, attempt, 'succeeded', started, finished, NULL, worker, digest, queued,"
        f" id || '.' || token FROM node WHERE {which} AND state = {SUCCEEDED} ORDER BY id",
        bound,
    ).fetchall()
    return [
        Attempt(
            path=path,
            round=round,
            attempt=attempt,
            state=state,
            started=started,
            finished=finished,
            error=error,
            worker=workers(worker),
            digest=digest or "",
            ready=queued,
            token=token,
        )
        for path, round, attempt, state, started, finished, error, worker, digest, queued, token in sorted(
            [*history, *present], key=lambda each: (each[4], each[5])
        )
    ]


def _worker_name(connection: Connection, worker: int) -> str:
    query = "SELECT host, pid FROM worker WHERE id = ?"
    found = connection.execute(query, (worker,)).fetchone()
    return f"{found[0]}:{found[1]}" if found else str(worker)
