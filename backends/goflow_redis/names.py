"""Workers as people know them: HOST:PID, where records hold a number.

A number is a few bytes in each record of a node; who has it is in the directory while it works, and after that for
as long as a run is kept that it may have worked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from goflow.backend import Attempt, WorkerInfo
from goflow.errors import StoreAway
from goflow_redis.line import Command
from goflow_redis.store import Store

#: names that a connection remembers
_REMEMBERED: Final = 1000

_worker = msgspec.msgpack.Decoder(WorkerInfo)


def name_of(packed: bytes) -> str:
    """A worker's name, of what the directory has of it."""
    info = _worker.decode(packed)
    return f"{info.host}:{info.pid}"


def leaving(store: Store, packed: Mapping[int, bytes | None]) -> list[Command]:
    """The commands that take workers from the directory, and keep their names."""
    top, life = store.keys.directory, max(store.retention, store.dead)
    kept = [
        ("SET", f"{top}:left:{worker}", name_of(each), "PX", life)
        for worker, each in packed.items()
        if each
    ]
    return [*kept, ("HDEL", f"{top}:workers", *packed), ("ZREM", f"{top}:alive", *packed)]


def named(store: Store, attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts with the names of their workers, as far as they are known."""
    names = store.names
    if asked := sorted({each.worker for each in attempts if each.worker.isdigit()} - names.keys()):
        if len(names) > _REMEMBERED:
            names.clear()
        with suppress(
            StoreAway
        ):  # the server of a cluster that knows may be away: then it is the number
            names.update(_look(store, asked))
    return [
        msgspec.structs.replace(each, worker=names[each.worker]) if each.worker in names else each
        for each in attempts
    ]


def _look(store: Store, numbers: Sequence[str]) -> dict[str, str]:
    top = store.keys.directory
    there, left = store.link.ask_all(
        top,
        [
            ("HMGET", f"{top}:workers", *numbers),
            ("MGET", *(f"{top}:left:{number}" for number in numbers)),
        ],
    )
    found = {}
    for number, packed, name in zip(numbers, there, left, strict=True):
        if packed is not None or name is not None:
            found[number] = name_of(packed) if packed is not None else name.decode()
    return found
