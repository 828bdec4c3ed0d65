"""Accepting runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from goflow.errors import Conflict
from goflow.message import FINALLY, ON_FAILURE, Request, pack
from goflow.payload import EMPTY
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.rows import RunRow, code_of
from goflow_local.sql import Connection
from goflow_local.store import Store

#: runs submitted by one transaction: others wait for it
BITE: Final = 64


def submit(change: Change, request: Request) -> RunRow:
    """Record a run and its start nodes, or find the one that was submitted before."""
    known = change.find(request.run_id)
    if known is not None and not _freed(change, known):
        if known.digest == request.digest:
            return known
        raise Conflict(
            f"the run id {request.run_id!r} is taken by a run of flow {known.flow!r} with another"
            " payload or query: choose another id, or submit exactly the same again"
        )
    execute = change.execute
    definition = definition_id(change.store, change.connection, request.flow, request.fingerprint)
    handlers = (ON_FAILURE in request.handlers) + 2 * (FINALLY in request.handlers)
    execute(
        "INSERT INTO run (name, flow, fingerprint, definition, digest, handlers, timeout, created,"
        " state, round, owner, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, 0)",
        (
            request.run_id, request.flow, request.fingerprint, definition, request.digest,
            handlers, request.timeout, change.now, RunState.QUEUED, request.owner,
        ),
    )  # fmt: skip
    key = change.connection.last_insert_rowid()
    words = pack(msgspec.structs.replace(request, payload=EMPTY))
    media, data = code_of(request.payload.media_type), request.payload.data
    execute("INSERT INTO request VALUES (?, ?, ?, ?)", (key, words, media, data))
    run = RunRow(
        key, request.run_id, request.flow, request.fingerprint, definition, request.digest,
        handlers, request.timeout, change.now, RunState.QUEUED, None, None, None, None, 1,
        request.owner, 0, None, None,
    )  # fmt: skip
    change.add_run(run)
    for name in request.starts:
        change.start(run, name, 0, 0)
    return run


def _freed(change: Change, known: RunRow) -> bool:
    from goflow_local.retention import free

    return free(change, known)


def submit_some(change: Change, requests: Sequence[Request]) -> list[RunRow | Conflict]:
    """Submit each, or say why not: a conflict is found before anything of its run is written."""
    taken: list[RunRow | Conflict] = []
    for request in requests:
        try:
            taken.append(submit(change, request))
        except Conflict as error:
            taken.append(error)
    return taken


def definition_id(store: Store, connection: Connection, flow: str, fingerprint: str) -> int:
    """The number of a definition, which is the lane its ready tasks queue in."""
    known = store.definitions.get((flow, fingerprint))
    if known is None:
        name = (flow, fingerprint)
        connection.execute(
            "INSERT OR IGNORE INTO definition (flow, fingerprint) VALUES (?, ?)", name
        )
        (known,) = connection.execute(
            "SELECT id FROM definition WHERE flow = ? AND fingerprint = ?", name
        ).fetchone()
    return known
