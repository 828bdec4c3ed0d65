"""Handing out ready tasks, and the inputs of those too wide for one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from goflow.backend import Ask
from goflow.message import FINALLY, ON_FAILURE, Claim, Input, Request, Task
from goflow.payload import EMPTY, Payload
from goflow.state import RunState
from goflow_local.change import Change, owned
from goflow_local.rows import (
    HANDLERS,
    HELD,
    READY,
    Held,
    RunRow,
    fence,
    payload_of,
    unpack_failure,
    unpack_keys,
    unpack_request,
)
from goflow_local.sql import Connection
from goflow_local.store import Store
from goflow_local.untold import to_be_told

#: more inputs than this, or more bytes of them, do not travel with the claim
MANY: Final = 1000
HEAVY: Final = 4_000_000

#: requests kept in memory, for what every task of a run repeats
_REQUESTS: Final = 1000

_COLUMNS = (
    "n.run, n.path, n.state, n.attempt, n.lost, n.round, n.arrived, n.scope,"
    " CASE WHEN n.rescue THEN n.failure END, n.width, i.media, i.data"
)
_ITEM = " LEFT JOIN item i ON i.node = n.scope AND i.pos = n.pos"
_READ_QUEUE = (
    f"SELECT q.at, q.node, {_COLUMNS} FROM queue q LEFT JOIN node n ON n.id = q.node {_ITEM}"
    " WHERE q.lane = ? ORDER BY q.at, q.node LIMIT ?"
)
_READ_FRESH = f"SELECT ?, n.id, {_COLUMNS} FROM node n {_ITEM} WHERE n.id = ?"
_DEQUEUE = "DELETE FROM queue WHERE lane = ? AND at = ? AND node = ?"
_HOLD = (
    f"UPDATE node SET state = {HELD}, token = ?, worker = ?, attempt = ?, ran = ?, doomed = 0,"
    " queued = ?, started = CASE WHEN width IS NULL THEN ? ELSE started END WHERE id = ?"
)
_ARRIVALS = (
    "SELECT a.source, a.carries, a.media, a.data, o.media, o.data FROM arrival a"
    " LEFT JOIN output o ON o.node = a.sender"
    " WHERE a.node = ? AND a.closing = ? AND a.source > ? ORDER BY a.source LIMIT ?"
)
_REQUEST = "SELECT media, data FROM request WHERE run = ?"


def has_any(connection: Connection, store: Store, ask: Ask) -> bool:
    """Whether something is queued in a lane of an ask; usually the answer is no."""
    query = "SELECT 1 FROM queue WHERE lane = ? LIMIT 1"
    if ask.run_id:
        lanes = _own_lane(owned(connection, ask.run_id, ask.worker))
    else:
        lanes = _lanes(connection, store, ask)
    return any(connection.execute(query, (lane,)).fetchone() for lane in lanes)


def claim(change: Change, ask: Ask) -> list[Claim]:
    """Up to `ask.limit` of the tasks that have waited longest, now held by the worker."""
    if ask.limit <= 0:
        return []
    if ask.run_id:
        lanes = _own_lane(change.owned(ask.run_id, ask.worker))
    else:
        lanes = _lanes(change.connection, change.store, ask)
    taken: dict[int, tuple[RunRow, Any]] = {}
    fresh, all_of_them = change.hand_over(lanes, ask.limit)
    if fresh:
        _take(change, taken, _read_fresh(change, fresh))
    change.write_queue()
    while len(taken) < ask.limit and not all_of_them:
        found = _oldest(change, lanes, ask.limit - len(taken))
        if not found:
            break
        _take(change, taken, found)
        # whatever was found has left its lane, taken or not
        change.connection.executemany(_DEQUEUE, [(lane, row[0], row[1]) for lane, row in found])
    if ask.run_id:
        for lane in lanes:
            change.balance.pop(lane, None)  # nobody else could take what its owner leaves
    claims = []
    held = []
    for run, row in taken.values():
        _begin(change, run)
        token, attempt = run.next(), row[5] or 1
        queued = row[0] / 1e6
        held.append((token, ask.worker, attempt, run.round, queued, change.now, row[1]))
        if change.memory is not None and row[5] == 0:  # nothing is staged under it yet
            words = (row[1], run.key, row[3], HELD, token, attempt, row[6], ask.worker)
            change.memory.keep_held(Held(*words, None, None, queued))
        claims.append(_claim(change, run, row, token, attempt))
    if held:
        change.connection.executemany(_HOLD, held)
    return claims


def _own_lane(run: int | None) -> list[int]:
    return [] if run is None else [-2 * run]


def _lanes(connection: Connection, store: Store, ask: Ask) -> list[int]:
    lanes = []
    for key in ask.flows:
        lane = store.definitions.get(key)
        if lane is None:
            found = connection.execute(
                "SELECT id FROM definition WHERE flow = ? AND fingerprint = ?", key
            ).fetchone()
            if found is None:
                continue
            lane = store.definitions[key] = found[0]
        lanes.append(lane)
    return lanes


def _read_fresh(change: Change, entries: Sequence[tuple[int, int, int]]) -> list[tuple[int, Any]]:
    """Rows like those of the queue, of what the same transaction has made ready."""
    found = change.connection.executemany(_READ_FRESH, [entry[1:] for entry in entries])
    return [(lane, row) for (lane, *_), row in zip(entries, found, strict=True)]


def _oldest(change: Change, lanes: Sequence[int], limit: int) -> list[tuple[int, Any]]:
    """The rows at the head of several lanes, oldest first."""
    found = [(lane, row) for lane in lanes for row in change.execute(_READ_QUEUE, (lane, limit))]
    if len(lanes) > 1:
        found.sort(key=lambda each: each[1][:2])
        del found[limit:]
    return found


def _take(
    change: Change, taken: dict[int, tuple[RunRow, Any]], found: Sequence[tuple[int, Any]]
) -> None:
    """The tasks of queue rows, as far as they may start. An ended or paused run's are parked."""
    for lane, row in found:
        if row[4] != READY or row[1] in taken:
            continue  # of a node that a rewind or the end of its retention has removed
        run = change.run(row[2])
        fitting = run.lane_for(row[3])
        if fitting == lane:
            change.balance[lane] = change.balance.get(lane, 0) - 1
            taken[row[1]] = (run, row)
        else:
            change.execute("INSERT OR IGNORE INTO queue VALUES (?, ?, ?)", (fitting, *row[:2]))


def _begin(change: Change, run: RunRow) -> None:
    """The first task of a round starts its clock."""
    if run.state == RunState.QUEUED:
        run.state = RunState.RUNNING
        run.started = run.started or change.now
        run.altered = True
        if change.store.traced:
            to_be_told(change, run, change.now)
    if run.timeout is not None and run.deadline is None and run.ending is None:
        run.deadline = change.now + run.timeout
        run.altered = True


def _claim(change: Change, run: RunRow, row: Any, token: int, attempt: int) -> Claim:
    at, node, _, path, _, _, lost, round, arrived, scope, failure, width, media, data = row
    said = _request_of(change, run.key)
    closing = width is not None
    keys = None
    if closing:
        found = change.execute("SELECT keys FROM opening WHERE node = ?", (node,)).fetchone()
        keys = None if found is None else unpack_keys(found[0])
    handler = path in HANDLERS
    if path == ON_FAILURE:
        failure = run.failure
    task = Task(
        run.id,
        run.flow,
        run.fingerprint,
        path,
        f"{node}.{token}",
        attempt,
        lost,
        round,
        said.query,
        said.headers,
        None if failure is None else unpack_failure(failure),
        closing,
        keys,
        width or 0,
        (run.ending or "") if path == FINALLY else "",
        at / 1e6,
    )
    if handler:
        return Claim(task, ())
    if closing or scope is None:
        inputs = _inputs(change, node, closing, width if closing else arrived)
        return Claim(task, inputs or (), inputs is not None)
    payload = given(change.connection, run.key, 0, 0) if scope == 0 else payload_of(media, data)
    return Claim(task, (Input("", payload),))


def given(connection: Connection, run: int, scope: int, pos: int) -> Payload:
    """What a node that starts a scope gets: the scope's item, or (0) the run's payload."""
    if scope == 0:
        return payload_of(*connection.execute(_REQUEST, (run,)).fetchone())
    query = "SELECT media, data FROM item WHERE node = ? AND pos = ?"
    return payload_of(*connection.execute(query, (scope, pos)).fetchone())


def received(connection: Connection, node: int) -> list[tuple[str, Payload | None]]:
    """Everything that has come to a node over its edges."""
    found = connection.execute(_ARRIVALS, (node, False, "", -1)).fetchall()
    return [(row[0], _payload(row)) for row in found]


def _inputs(change: Change, node: int, closing: bool, count: int) -> tuple[Input, ...] | None:
    """What has arrived, unless that is too much for one message."""
    if count > MANY:
        return None
    inputs: list[Input] = []
    weight = 0
    for row in change.execute(_ARRIVALS, (node, closing, "", -1)):
        payload = _payload(row)
        weight += 0 if payload is None else len(payload.data)
        if weight > HEAVY and inputs:
            return None
        inputs.append(Input(row[0], payload))
    return tuple(inputs)


def inputs(store: Store, task: Task) -> Iterator[Sequence[tuple[str, Payload | None]]]:
    """Everything that has arrived for a task, in chunks of bounded number and size."""
    node, _ = fence(task.token)
    closing, last = task.closing, ""
    scoped = store.read(lambda connection: _scope(connection, node))
    if scoped is not None:
        yield [("", scoped)]
        return
    while True:
        chunk = store.read(lambda connection: _chunk(connection, node, closing, last))  # noqa: B023
        if not chunk:
            return
        yield chunk
        last = chunk[-1][0]


def _scope(connection: Connection, node: int) -> Payload | None:
    """The input of a node that starts a scope and has not opened one itself."""
    query = "SELECT scope, pos FROM node WHERE id = ? AND scope IS NOT NULL AND width IS NULL"
    found = connection.execute(query, (node,)).fetchone()
    return None if found is None else given(connection, node >> 32, *found)


def _chunk(
    connection: Connection, node: int, closing: bool, last: str
) -> list[tuple[str, Payload | None]]:
    chunk = []
    weight = 0
    for row in connection.execute(_ARRIVALS, (node, closing, last, MANY)):
        payload = _payload(row)
        chunk.append((row[0], payload))
        weight += 0 if payload is None else len(payload.data)
        if weight > HEAVY:
            break
    return chunk


def _payload(row: Any) -> Payload | None:
    """An arrival's payload: its own, or what its sender recorded."""
    _, carries, media, data, output_media, output = row
    if not carries:
        return None
    if data is not None:
        return payload_of(media, data)
    return EMPTY if output is None else payload_of(output_media, output)


def _request_of(change: Change, key: int) -> Request:
    """What was submitted, without the payload."""
    requests: dict[int, Request] = change.store.requests
    request = requests.get(key)
    if request is None:
        (words,) = change.execute("SELECT words FROM request WHERE run = ?", (key,)).fetchone()
        request = unpack_request(words)
        if len(requests) >= _REQUESTS:
            requests.clear()
        requests[key] = request
    return request
