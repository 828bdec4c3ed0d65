"""Between the seam's words and the flat texts that scripts read and write.

A payload is stored as one letter for its media type and its bytes. What people wrote is never decoded by a
script: it goes through as it is. What is made of these words: `submission.py`, `exchange.py`, `records.py`,
`journal.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final
from zlib import crc32

import msgspec

from goflow.blobs.words import REFERS
from goflow.message import Failure, Task
from goflow.payload import JSON, OCTETS, TEXT, Payload

Word = bytes | str | int

_LETTERS: Final = {OCTETS: b"o", TEXT: b"t", JSON: b"j"} | {
    REFERS[OCTETS]: b"O", REFERS[TEXT]: b"T", REFERS[JSON]: b"J",
}  # fmt: skip
_TYPES: Final = {ord(letter): media_type for media_type, letter in _LETTERS.items()}
#: arrivals in a node's own record, and in one chunk of a wide inbox: as in `_ready.lua`
INLINE: Final = 32
#: starts of a run, and arrivals of an outcome, that one script call delivers: as in `_ready.lua`
MAIL: Final = 64
#: a reference to the result of the source itself, in the target's scope: most are, and this is short
SIBLING: Final = "="

_failure = msgspec.msgpack.Decoder(Failure)
_keys = msgspec.msgpack.Decoder(tuple[str, ...])


def enclose(payload: Payload) -> bytes:
    """A payload as it is stored."""
    return _LETTERS.get(payload.media_type, b"o") + payload.data


def disclose(stored: bytes) -> Payload:
    """The payload again."""
    return Payload(stored[1:], _TYPES.get(stored[0], OCTETS))


def read_failure(stored: bytes | None) -> Failure | None:
    """A stored failure."""
    return _failure.decode(stored) if stored else None


def read_keys(stored: bytes | None) -> tuple[str, ...] | None:
    """The keys a branch opened."""
    return _keys.decode(stored) if stored else None


def scope_of(path: str) -> str:
    """The prefix of the scope a node path is in."""
    return path[: path.rfind("/") + 1]


def expand(path: str, source: str, ref: str) -> str:
    """The data field that a reference in a node instance's inbox means."""
    return f"o:{scope_of(path)}{source}" if ref == SIBLING else ref


def escape(source: str) -> str:
    """A source without the characters that separate arrivals in an inbox."""
    if source.isprintable():
        return source
    for code in "\3\0\1\2":
        source = source.replace(code, f"\3{ord(code) + 64:c}")
    return source


def unescape(source: str) -> str:
    """The source again."""
    if "\3" not in source:
        return source
    for code in "\2\1\0\3":
        source = source.replace(f"\3{ord(code) + 64:c}", code)
    return source


def read_inbox(text: str) -> Iterator[tuple[str, str]]:
    """Source and field of each arrival in an inbox or a chunk of one."""
    for part in text.split("\0")[1:]:
        source, _, ref = part.partition("\1")
        yield source, ref


def write_inbox(arrivals: Iterable[tuple[str, str]]) -> str:
    """The inbox that holds these."""
    return "".join(f"\0{source}\1{ref}" for source, ref in arrivals)


@cache
def _mark(flow: str, fingerprint: str) -> str:
    return f"{crc32(f'{flow}:{fingerprint}'.encode()):08x}:"


def token(flow: str, fingerprint: str, hold: str) -> str:
    """A task's token: its stream's mark, since entry ids are unique in one stream only, and its hold."""
    return _mark(flow, fingerprint) + hold


def hold_of(task: Task) -> str:
    """What a task is held under: a stream entry, and the call that took it."""
    return task.token.rpartition(":")[2]


def letters_of(hold: str) -> str:
    """The letters of the call that a hold was taken by."""
    return hold.lstrip("0123456789-")


def queued_at(hold: str) -> float:
    """When the entry of a hold was made, which is since when its task was ready; its id says so."""
    return int(hold.partition("-")[0]) / 1000
