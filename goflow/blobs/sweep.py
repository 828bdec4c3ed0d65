"""Blobs whose run has gone: after its retention, or never accepted. Found by `goflow doctor`, removed by
workers as they go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from goflow.backend import Backend, Finding
from goflow.blobs.place import Blob, Place
from goflow.errors import BlobsAway, UnknownRun

#: seconds that a blob may be older than its run: it is put out before the run is submitted
YOUNG: Final = 3600.0
#: seconds between two sweeps of a store, whoever does them
PAUSE: Final = 600.0
_MARK: Final = "~blobs swept"


def orphans(store: Backend, place: Place, young: float = YOUNG) -> Iterator[list[Blob]]:
    """Blobs of runs that the store does not know, a run at a time, if none of them is young."""
    for blobs in place.all():
        if not blobs or max(blob.stored for blob in blobs) > time.time() - young:
            continue
        try:
            store.run(blobs[0].run_id)
        except UnknownRun:
            yield blobs


def sweep(store: Backend, place: Place) -> int:
    """Remove what is orphaned, if nobody did so lately. Answers how many blobs went. Raises BackendError."""
    if not store.remember(_MARK, PAUSE):
        return 0
    count = 0
    for blobs in orphans(store, place):
        place.remove(blobs)
        count += len(blobs)
    return count


def sweep_behind(backend: object) -> None:
    """Sweep where this store keeps large payloads, if it does. Raises BackendError."""
    from goflow.blobs.backend import WithBlobs

    if isinstance(backend, WithBlobs):
        sweep(backend.bare, backend.place)


def findings(store: Backend, place: Place, fix: bool) -> list[Finding]:
    """What `goflow doctor` tells of blobs."""
    name = "blobs"
    try:
        place.check()
        found = [blob for blobs in orphans(store, place) for blob in blobs]
        if fix:
            place.remove(found)
    except BlobsAway as error:
        return [Finding(name=name, ok=False, text=str(error))]
    if not found:
        return [Finding(name=name, ok=True, text=f"{place.name}: every one belongs to a run")]
    many = "1 payload" if len(found) == 1 else f"{len(found)} payloads"
    text = (
        f"{place.name}: {many} ({sum(b.size for b in found) / 1e6:.1f} MB) of runs that have gone"
    )
    if fix:
        return [Finding(name=name, ok=True, text=f"{text}: removed", fixed=True)]
    return [Finding(name=name, ok=False, text=f"{text}: `goflow doctor --fix` removes them")]
