"""Pause, resume and stop."""

from __future__ import annotations

from goflow.backend import Action
from goflow.errors import Conflict
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.ending import doom, end, move, proceed, unqueue
from goflow_local.reaping import adopt_all, take_back_dead
from goflow_local.rows import READY, RunRow


def control(change: Change, run: RunRow, action: Action) -> None:
    """Pause, resume or stop. Raises Conflict on a run that has ended."""
    if run.finished is not None:
        raise Conflict(
            f"cannot {action} run {run.id}: it has ended ({run.state}); `goflow retry` opens a new"
            " round"
        )
    if action == "pause":
        _pause(change, run)
    elif action == "resume":
        _resume(change, run)
    else:
        _stop(change, run)


def _pause(change: Change, run: RunRow) -> None:
    if run.ending is not None or run.state == RunState.PAUSED:
        return
    run.state = RunState.PAUSED
    run.next()
    run.altered = True
    move(change, run, run.lane, run.parked)


def _resume(change: Change, run: RunRow) -> None:
    if run.state != RunState.PAUSED:
        return
    query = "SELECT 1 FROM node WHERE id BETWEEN ? AND ? AND ran = ? LIMIT 1"
    begun = change.execute(query, (*run.ids, run.round)).fetchone()
    run.state = RunState.RUNNING if begun else RunState.QUEUED
    run.next()
    run.altered = True
    unpark(change, run)


def unpark(change: Change, run: RunRow) -> None:
    """Put parked tasks back where they can be claimed; with an ending only handlers can."""
    if run.ending is None:
        move(change, run, run.parked, run.lane)
        return
    parked = unqueue(change, run, run.parked)
    query = f"SELECT id, path FROM node WHERE id = ? AND state = {READY}"
    ready = change.connection.executemany(query, [(node,) for node in parked]).fetchall()
    for node, path in ready:  # what is no handler is parked again
        change.enqueue(run, node, path)


def _stop(change: Change, run: RunRow) -> None:
    if run.state == RunState.STOPPING:
        return
    run.next()
    run.altered = True
    # nobody else may ever be there to notice that whoever owns it, or holds its tasks, has ended
    if run.owner and not change.store.locks.alive(run.owner):
        adopt_all(change, [run.key])
    doom(change, run)
    take_back_dead(change, run)
    if run.ending is None:
        run.state = RunState.STOPPING
        lane = run.lane
        end(change, run, RunState.STOPPED)
        move(change, run, lane, run.parked)
    elif run.state == RunState.PAUSED:  # its handlers wait: a stop lifts the pause
        run.state = RunState.RUNNING
        unpark(change, run)
    proceed(change, run)
