"""Where blobs rest: the four things a folder and an S3-compatible store can do alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class Blob(NamedTuple):
    """One stored payload: its run's id and its name there, its bytes, and when it was stored (epoch
    seconds by the place's clock)."""

    run_id: str
    name: str
    size: int
    stored: float


class Place(Protocol):
    """Blobs of one store. Names are safe as parts of a path. All raise BlobsAway where the place cannot be
    reached."""

    #: what messages call it, without credentials
    name: str

    def check(self) -> None:
        """Whether blobs can be written here."""
        ...

    def put(self, run_id: str, name: str, data: bytes) -> None:
        """Keep these bytes: all of them or none, whatever happens meanwhile. Again is harmless."""
        ...

    def get(self, run_id: str, name: str, most: int | None = None) -> bytes | None:
        """The bytes, or the first of them, at most so many; None where there are none."""
        ...

    def of_run(self, run_id: str) -> list[Blob]:
        """All of one run."""
        ...

    def all(self) -> Iterator[list[Blob]]:
        """All there are, a run at a time."""
        ...

    def remove(self, blobs: Iterable[Blob]) -> None:
        """Remove them; one that has gone already is harmless."""
        ...


def open_place(location: str, identity: str) -> Place:
    """The place a folder or `s3://BUCKET[/PREFIX]` means, for the store of this identity. Nothing is
    looked at yet. Raises ConfigError for a URL that means nothing, or a library that is missing."""
    if location.startswith("s3://"):
        from goflow.blobs.s3 import BucketPlace

        return BucketPlace(location, identity)
    from goflow.blobs.folder import FolderPlace

    return FolderPlace(location, identity)
