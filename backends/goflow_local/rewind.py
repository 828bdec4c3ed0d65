"""Undoing part of a run before a new round: what vanishes, what starts over, what stays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from goflow.message import Rewind
from goflow_local.change import Change
from goflow_local.commit import record_attempt
from goflow_local.rows import OPEN, READY, SUCCEEDED, WAITING, RunRow
from goflow_local.submit import definition_id

_ANEW = (
    f"UPDATE node SET state = {WAITING}, round = ?, attempt = 0, lost = 0, token = 0, doomed = 0, rescue = 0,"
    " ready = NULL, started = NULL, finished = NULL, due = NULL, width = NULL, window = NULL,"
    " items = NULL, released = NULL, done = NULL, staged = NULL, digest = NULL, failure = NULL"
    " WHERE id = ?"
)


def rewind(change: Change, run: RunRow, wanted: Rewind) -> set[int]:
    """Undo and add what the rewind says; the nodes whose place in the queue it decides."""
    if wanted.fingerprint is not None and wanted.fingerprint != run.fingerprint:
        change.count_run(run, -1)
        run.fingerprint = wanted.fingerprint
        run.definition = definition_id(change.store, change.connection, run.flow, run.fingerprint)
        change.count_run(run, 1)
    ready = set(wanted.ready)
    again: dict[int, str] = {}
    for path in dict.fromkeys((*wanted.removed, *wanted.ready)):
        within = _inside(change, run, path)
        kept = {node: at for node, at in within if at == path or at in ready}
        remove(change, run, [node for node, _ in within if node not in kept and node not in again])
        again |= kept
    _start_over(change, run, list(again))
    for target, source, closing in wanted.dropped:
        _drop(change, run, target, source, closing)
    for path in wanted.reopened:
        _reopen(change, run, path)
    _requeue(change, run, again, ready)
    for sender, arrival in wanted.arrivals:
        found = change.execute(
            "SELECT id FROM node WHERE run = ? AND path = ?", (run.key, sender)
        ).fetchone()
        change.arrive(run, found[0] if found else 0, arrival)
    change.settle_nodes()
    for path in wanted.reopened:
        spot = change.spot(run, path, 0)
        if spot is not None:
            change.check_closing(run, spot)
    change.settle_nodes()
    return set(again)


def _inside(change: Change, run: RunRow, path: str) -> list[tuple[int, str]]:
    """A node instance and all that is inside it: `path`, `path/...` and `path[...`.

    `each[k]` is the join of a scope's ends: nothing is inside it, it stands beside `each[k]/...`.
    """
    if path.endswith("]"):
        query = "SELECT id, path FROM node WHERE run = ? AND path = ?"
        return change.execute(query, (run.key, path)).fetchall()
    found: list[tuple[int, str]] = change.execute(
        "SELECT id, path FROM node WHERE run = ?1 AND path = ?2"
        " UNION ALL SELECT id, path FROM node WHERE run = ?1 AND path >= ?2 || '/'"
        " AND path < ?2 || '0'"
        " UNION ALL SELECT id, path FROM node WHERE run = ?1 AND path >= ?2 || '['"
        " AND path < ?2 || char(92)",
        (run.key, path),
    ).fetchall()
    return found


def _keep_successes(change: Change, run: RunRow, nodes: Iterable[int]) -> None:
    """What had succeeded becomes history, with the round it ran in."""
    query = (
        "SELECT path, attempt, worker, queued, started, finished, ran, digest, state,"
        " id || '.' || token FROM node WHERE id = ?"
    )
    made: Any = change.connection.executemany(query, [(node,) for node in nodes])
    present = run.round
    for (
        path,
        attempt,
        worker,
        queued,
        started,
        finished,
        ran,
        digest,
        state,
        token,
    ) in made.fetchall():
        if state == SUCCEEDED:
            run.round = ran
            times = (queued, started or 0.0, finished or 0.0)
            node = (path, attempt, worker)
            record_attempt(
                change, run, node, "succeeded", times, None, token=token, digest=digest or ""
            )
    run.round = present


def remove(change: Change, run: RunRow, nodes: list[int]) -> None:
    """Take node instances out of the run, with all that belongs to them."""
    _keep_successes(change, run, nodes)
    for table, column in (
        ("arrival", "node"),
        ("output", "node"),
        ("opening", "node"),
        ("item", "node"),
        ("node", "id"),
    ):
        change.connection.executemany(
            f"DELETE FROM {table} WHERE {column} = ?", [(node,) for node in nodes]
        )
    if run.result in nodes:
        run.result = None


def _start_over(change: Change, run: RunRow, nodes: list[int]) -> None:
    """Nodes that keep their inbox and nothing else; under the new round, so with new keys."""
    _keep_successes(change, run, nodes)
    one = [(node,) for node in nodes]
    for statement in (
        "DELETE FROM output WHERE node = ?",
        "DELETE FROM opening WHERE node = ?",
        "DELETE FROM item WHERE node = ?",
        "DELETE FROM arrival WHERE node = ? AND closing = 1",
    ):
        change.connection.executemany(statement, one)
    change.connection.executemany(_ANEW, [(run.round, node) for node in nodes])
    if run.result in nodes:
        run.result = None


def _requeue(change: Change, run: RunRow, again: dict[int, str], ready: set[str]) -> None:
    """Of the nodes that start over: queue what can start; forget those that nothing has reached."""
    for node, path in again.items():
        query = "SELECT arrived, expects, scope FROM node WHERE id = ?"
        arrived, expects, scope = change.execute(query, (node,)).fetchone()
        if path in ready and arrived >= expects:
            query = f"UPDATE node SET state = {READY}, ready = ? WHERE id = ?"
            change.execute(query, (change.now, node))
            change.enqueue(run, node, path)
        elif arrived == 0 or scope is not None:
            remove(change, run, [node])


def _drop(change: Change, run: RunRow, target: str, source: str, closing: bool) -> None:
    """Forget one arrival."""
    found = change.execute(
        "SELECT id FROM node WHERE run = ? AND path = ?", (run.key, target)
    ).fetchone()
    if found is None:
        return
    change.execute(
        "DELETE FROM arrival WHERE node = ? AND closing = ? AND source = ?",
        (found[0], closing, source),
    )
    if not change.connection.changes():
        return
    if closing:
        change.execute("UPDATE node SET done = done - 1 WHERE id = ?", found)
    else:
        change.execute(
            f"UPDATE node SET arrived = arrived - 1, state = CASE WHEN state = {READY}"
            f" THEN {WAITING} ELSE state END WHERE id = ?",
            found,
        )


def _reopen(change: Change, run: RunRow, path: str) -> None:
    """An open branch again, that waits for its scopes."""
    found = change.execute(
        "SELECT id FROM node WHERE run = ? AND path = ? AND width IS NOT NULL", (run.key, path)
    ).fetchone()
    if found is None:
        return
    (node,) = found
    _keep_successes(change, run, [node])
    change.execute("DELETE FROM output WHERE node = ?", (node,))
    change.execute(
        f"UPDATE node SET state = {OPEN}, attempt = 0, lost = 0, token = 0, doomed = 0,"
        " rescue = 0, finished = NULL, due = NULL, failure = NULL WHERE id = ?",
        (node,),
    )
    if run.result == node:
        run.result = None
