"""A blob's name, and a reference to it: a Payload whose media type says so, and whose bytes name it.

Stores keep it as they keep any payload, as long as they give back the media type they were given.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from goflow.errors import BlobMissing
from goflow.payload import JSON, OCTETS, TEXT, Payload, excerpt

if TYPE_CHECKING:
    from goflow.backend import Backend

#: media type of a reference, by the media type of what it refers to
REFERS: Final = {kind: f"blob:{kind}" for kind in (OCTETS, TEXT, JSON)}
_MEANT: Final = {reference: kind for kind, reference in REFERS.items()}
#: how the name of what a submission brought ends: it may be of a run that is not accepted yet
_SUBMITTED: Final = ".in"
_SAID: Final = re.compile(rb"([0-9a-f]{64}-[0-9a-f]{16}(?:\.in)?):([0-9]{1,18})")


class Reference(NamedTuple):
    """What a reference says: the blob's name in its run, its bytes and its media type."""

    name: str
    size: int
    media_type: str


def name_of(content: str, *, submitted: bool = False) -> str:
    """A name for a blob with this SHA-256 that no other ever has: whoever removes what a run that is gone has
    left can so never meet what a new run of the same id has put out meanwhile."""
    return f"{content}-{os.urandom(8).hex()}{_SUBMITTED if submitted else ''}"


def content_of(name: str) -> str:
    """The SHA-256 of what has this name."""
    return name[:64]


def is_submitted(name: str) -> bool:
    """Whether a submission brought it, which may have been refused, or not be accepted yet."""
    return name.endswith(_SUBMITTED)


def is_reference(payload: Payload) -> bool:
    """Whether these bytes name a blob."""
    return payload.media_type in _MEANT


def refer(name: str, payload: Payload) -> Payload:
    """A reference to this payload, kept under that name."""
    return Payload(f"{name}:{len(payload.data)}".encode(), REFERS[payload.media_type])


def read(reference: Payload) -> Reference:
    """What a reference says. Raises BlobMissing for one that `refer` did not make: its name would become a
    path."""
    said = _SAID.fullmatch(reference.data)
    if said is None:
        raise BlobMissing(
            "a payload is kept apart from the store, and what stands for it is no reference:"
            f" expected a blob's name and its size, got {excerpt(reference.data)}"
        )
    return Reference(said[1].decode(), int(said[2]), _MEANT[reference.media_type])


def bare(backend: Backend) -> Backend:
    """The store itself, which answers with references where large payloads are kept apart: for whoever wants
    what is beside them, or to know which to fetch."""
    itself: Backend = getattr(backend, "bare", backend)
    return itself
