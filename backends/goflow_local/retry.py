"""New rounds: a run that has ended, or lost its owner, goes on from what is recorded."""

from __future__ import annotations

from goflow.backend import Retry
from goflow.errors import Conflict
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.ending import end, proceed, unqueue
from goflow_local.reaping import take_back_where
from goflow_local.rewind import remove, rewind
from goflow_local.rows import FAILED, HANDLERS, READY, RETRYING, STOPPED, SUCCEEDED, RunRow

_AGAIN = (
    "UPDATE node SET state = ?, attempt = 0, lost = 0, token = 0, doomed = 0, rescue = 0, failure = NULL,"
    " due = NULL, ready = ?, finished = NULL, started = CASE WHEN width IS NULL THEN NULL"
    " ELSE started END WHERE id = ?"
)


def retry(change: Change, run: RunRow, wanted: Retry) -> None:
    """Open a new round. Raises Conflict for a run that is on its way, or has succeeded."""
    _refuse(change, run, wanted)
    if run.finished is None:
        take_back_where(change, "run = ?", run.key)
    queued = {*unqueue(change, run, run.lane), *unqueue(change, run, run.parked)}
    if run.finished is not None:
        change.count_run(run, 1)
    _open_round(run, wanted)
    _forget_handlers(change, run)
    if wanted.rewind is not None:
        queued -= rewind(change, run, wanted.rewind)
    _restart(change, run, queued)
    _finish_if_complete(change, run)


def _refuse(change: Change, run: RunRow, wanted: Retry) -> None:
    if run.finished is None:
        if not run.owner:
            way = "a worker of its flow finishes it (`goflow worker FILE`)"
            if run.ending is None:
                way += f", `goflow stop {run.id}` ends it"
            raise Conflict(
                f"run {run.id} is on its way ({run.state}): only a run that has ended can be"
                f" retried; {way}"
            )
        if change.store.locks.alive(run.owner):
            raise Conflict(
                f"run {run.id} is {run.state} and its owner is alive: wait for it, or"
                f" `goflow stop {run.id}`"
            )
    elif run.state == RunState.SUCCEEDED and wanted.rewind is None:
        raise Conflict(
            f"run {run.id} has succeeded: name the node to repeat, `goflow retry {run.id}"
            " --from NODE`"
        )


def _open_round(run: RunRow, wanted: Retry) -> None:
    run.round += 1
    run.owner = wanted.owner
    run.state = RunState.QUEUED
    run.ending = run.started = run.finished = run.deadline = run.failure = None
    run.next()
    run.altered = True


def _restart(change: Change, run: RunRow, queued: set[int]) -> None:
    """Everything unfinished is ready, its attempts counted anew: what was queued (and still is there),
    what failed, was stopped or waits for a retry."""
    query = f"SELECT id, path FROM node WHERE id BETWEEN ? AND ? AND state IN ({RETRYING}, {FAILED}, {STOPPED})"
    again = change.execute(query, run.ids).fetchall()
    query = f"SELECT id, path FROM node WHERE id = ? AND state = {READY}"
    again += change.connection.executemany(query, [(node,) for node in sorted(queued)]).fetchall()
    change.connection.executemany(_AGAIN, [(READY, change.now, node) for node, _ in again])
    for node, path in again:
        change.enqueue(run, node, path)
    change.settle_nodes()


def _finish_if_complete(change: Change, run: RunRow) -> None:
    """A run that was stopped when its end was recorded already has nothing left but to succeed."""
    change.write_queue()
    query = "SELECT 1 FROM queue WHERE lane = ? AND node BETWEEN ? AND ?"
    if run.result is None or change.execute(query, (run.lane, *run.ids)).fetchone():
        return
    done = "SELECT 1 FROM node WHERE id = ? AND state = ?"
    if change.execute(done, (run.result, SUCCEEDED)).fetchone() is not None:
        end(change, run, RunState.SUCCEEDED)
        proceed(change, run)


def _forget_handlers(change: Change, run: RunRow) -> None:
    """The former round's handlers are history."""
    for path in HANDLERS:
        query = "SELECT id FROM node WHERE run = ? AND path = ?"
        for (node,) in change.execute(query, (run.key, path)).fetchall():
            remove(change, run, [node])
