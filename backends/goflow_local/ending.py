"""How a run ends: its ending is set, what runs finishes, the handlers run, it is terminal."""

from __future__ import annotations

from typing import Final

from goflow.message import FINALLY, ON_FAILURE, Failure, pack
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.rows import FAILED, HANDLERS, HELD, RETRYING, STOPPED, SUCCEEDED, RunRow
from goflow_local.untold import ended

#: bits of run.handlers
_BITS: Final = ((ON_FAILURE, 1), (FINALLY, 2))

_RUNNING = f"SELECT 1 FROM node INDEXED BY node_held WHERE run = ? AND state = {HELD} LIMIT 1"
_DOOM = (
    "UPDATE node INDEXED BY node_held SET doomed = 1"
    f" WHERE run = ? AND state = {HELD} AND path NOT IN (?, ?)"
)


def end(change: Change, run: RunRow, ending: RunState, failure: Failure | None = None) -> None:
    """Decide how a run ends; the first decision holds. Ready tasks are parked when claimed next."""
    run.ending = ending
    run.deadline = None
    run.altered = True
    if failure is not None:
        run.failure = pack(failure)
    if ending != RunState.SUCCEEDED:  # its retries are not due any more
        change.execute(
            f"UPDATE node INDEXED BY node_due SET due = NULL WHERE state = {RETRYING} AND run = ?",
            (run.key,),
        )


def doom(change: Change, run: RunRow) -> None:
    """Have the run's tasks killed that are held now, handlers apart: `renew` tells their holders."""
    change.settle_nodes()
    change.execute(_DOOM, (run.key, *HANDLERS))
    change.alarm = True


def unqueue(change: Change, run: RunRow, lane: int) -> list[int]:
    """Take the run's tasks out of a lane; the nodes, in the order they queued."""
    change.write_queue()
    first, last = run.ids
    queued = change.execute(
        "SELECT at, node FROM queue WHERE lane = ? AND node BETWEEN ? AND ?", (lane, first, last)
    ).fetchall()
    change.connection.executemany(
        "DELETE FROM queue WHERE lane = ? AND at = ? AND node = ?",
        [(lane, at, node) for at, node in queued],
    )
    change.balance[lane] = change.balance.get(lane, 0) - len(queued)
    return [node for _, node in queued]


def move(change: Change, run: RunRow, source: int, target: int) -> None:
    """Put the run's queued tasks into another lane."""
    if source != target:
        for node in unqueue(change, run, source):
            change.enqueue_in(target, node)


def proceed(change: Change, run: RunRow) -> None:
    """Take a run with an ending as far as it goes: next handler, or terminal."""
    if run.ending is None or run.finished is not None:
        return
    change.settle_nodes()
    if change.execute(_RUNNING, (run.key,)).fetchone() is not None:
        return
    for path, bit in _BITS:
        if not run.handlers & bit or (path == ON_FAILURE and run.ending != RunState.FAILED):
            continue
        spot = change.spot(run, path, 1)
        assert spot is not None
        if spot.fresh:
            spot.arrived = 1  # a handler waits for nothing that arrives
            change.make_ready(run, spot)
            change.settle_nodes()
            return
        if spot.state not in (SUCCEEDED, FAILED, STOPPED):
            return
    if run.owner:
        move(change, run, run.lane, run.parked)
        run.owner = 0
    run.state = run.ending
    run.finished = change.now
    run.altered = True
    change.count_run(run, -1)
    ended(change, run)
