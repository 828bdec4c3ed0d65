"""Reading a run's store, as it is and as it was."""

from __future__ import annotations

import msgspec

from goflow.backend import Access
from goflow.errors import VersionGone
from goflow.message import Reads
from goflow.payload import Payload
from goflow_local.context import LAST
from goflow_local.reading import find
from goflow_local.rows import payload_of
from goflow_local.sql import Connection

_PRESENT = (
    "SELECT number, media, data FROM context WHERE run = ? AND key = ? ORDER BY number DESC LIMIT 1"
)
_reads = msgspec.msgpack.Decoder(Reads).decode
_writes = msgspec.msgpack.Decoder(dict[str, int]).decode


def present(connection: Connection, run_id: str, key: str) -> tuple[int, Payload | None]:
    """The present version of a key."""
    found = connection.execute(_PRESENT, (find(connection, run_id).key, key)).fetchone()
    if found is None:
        return 0, None
    number, media, data = found
    return number, None if data is None else payload_of(media, data)


def version(connection: Connection, run_id: str, key: str, number: int) -> Payload | None:
    """A value as it was. Raises VersionGone."""
    run = find(connection, run_id).key
    query = "SELECT media, data FROM context WHERE run = ? AND key = ? AND number = ?"
    found = connection.execute(query, (run, key, number)).fetchone()
    if found is not None:
        return None if found[1] is None else payload_of(*found)
    last = connection.execute(LAST, (run, key)).fetchone()
    if number == 0 and (last is None or last[1] == 0):
        return None  # before the first
    raise VersionGone(key, number)


def keys(connection: Connection, run_id: str) -> list[str]:
    """The keys that have a value."""
    query = "SELECT key, data IS NOT NULL, max(number) FROM context WHERE run = ? GROUP BY key"
    found = connection.execute(query, (find(connection, run_id).key,))
    return sorted(key for key, there, _ in found if there)


def accesses(connection: Connection, run_id: str) -> list[Access]:
    """What attempts read and wrote, in the order they were recorded."""
    query = (
        "SELECT path, round, attempt, token, closing, handler, at, reads, writes FROM access"
        " WHERE run = ? ORDER BY id"
    )
    return [
        Access(
            path=path,
            round=round,
            attempt=attempt,
            token=token,
            at=at,
            closing=bool(closing),
            handler=bool(handler),
            reads=Reads() if reads is None else _reads(reads),
            writes={} if writes is None else _writes(writes),
        )
        for path, round, attempt, token, closing, handler, at, reads, writes in connection.execute(
            query, (find(connection, run_id).key,)
        )
    ]
