"""A reference to a blob: a Payload whose media type says so, and whose bytes name it.

Stores keep it as they keep any payload, as long as they give back the media type they were given.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from goflow.payload import JSON, OCTETS, TEXT, Payload

#: media type of a reference, by the media type of what it refers to
REFERS: Final = {kind: f"blob:{kind}" for kind in (OCTETS, TEXT, JSON)}
_MEANT: Final = {reference: kind for kind, reference in REFERS.items()}


class Reference(NamedTuple):
    """What a reference says: the blob's name in its run (its SHA-256), its bytes and its media type."""

    name: str
    size: int
    media_type: str


def is_reference(payload: Payload) -> bool:
    """Whether these bytes name a blob."""
    return payload.media_type in _MEANT


def refer(name: str, payload: Payload) -> Payload:
    """A reference to this payload, kept under that name."""
    kind = payload.media_type if payload.media_type in REFERS else OCTETS
    return Payload(f"{name}:{len(payload.data)}".encode(), REFERS[kind])


def read(reference: Payload) -> Reference:
    """What a reference says."""
    name, _, size = reference.data.decode().partition(":")
    return Reference(name, int(size), _MEANT[reference.media_type])
