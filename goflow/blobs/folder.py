"""Blobs as files: `FOLDER/STORE/RUN/SHA256-NONCE`, each written aside and renamed into place."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from goflow.blobs.place import Blob
from goflow.errors import BlobsAway

#: what a file is called while it is written
_ASIDE: Final = ".part"
#: seconds after which a file that is still called so was given up
_ABANDONED: Final = 3600.0


class FolderPlace:
    """A folder that all workers of the store see: a local disk for one machine, a shared one for many."""

    def __init__(self, location: str, identity: str) -> None:
        self.name = location
        self._root = Path(location) / identity

    def check(self) -> None:
        """Write something and remove it."""
        with self._told("is no place to write to"):
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / f"{uuid4().hex}{_ASIDE}"
            probe.write_bytes(b"")
            probe.unlink()

    def put(self, run_id: str, name: str, data: bytes) -> None:
        """Keep these bytes."""
        folder = self._root / run_id
        aside = folder / f"{uuid4().hex}{_ASIDE}"
        with self._told("cannot be written to"):
            for _ in range(2):  # the folder may be removed as empty while we write
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    with aside.open("wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    aside.replace(folder / name)
                    return
                except FileNotFoundError:
                    continue
                except OSError:
                    with suppress(OSError):
                        aside.unlink()
                    raise
            raise FileNotFoundError(2, "its folder vanishes", str(folder))

    def get(self, run_id: str, name: str, most: int | None = None) -> bytes | None:
        """The bytes, or the first of them; None where there are none."""
        with self._told("cannot be read"):
            try:
                with (self._root / run_id / name).open("rb") as file:
                    return file.read(-1 if most is None else most)
            except FileNotFoundError:
                return None

    def of_run(self, run_id: str) -> list[Blob]:
        """All of one run."""
        found: list[Blob] = []
        with self._told("cannot be read"), suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(self._root / run_id):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    if not entry.name.endswith(_ASIDE):
                        found.append(Blob(run_id, entry.name, status.st_size, status.st_mtime))
                    elif status.st_mtime < time.time() - _ABANDONED:
                        found.append(Blob(run_id, entry.name, 0, status.st_mtime))
        return found

    def all(self) -> Iterator[list[Blob]]:
        """All there are, a run at a time."""
        runs: list[str] = []
        with self._told("cannot be read"), suppress(FileNotFoundError):
            runs = [entry.name for entry in os.scandir(self._root) if entry.is_dir()]
        for run_id in runs:
            yield self.of_run(run_id)

    def remove(self, blobs: Iterable[Blob]) -> None:
        """Remove them, and folders they leave empty."""
        with self._told("cannot be written to"):
            folders: set[Path] = set()
            for blob in blobs:
                folder = self._root / blob.run_id
                with suppress(FileNotFoundError):
                    (folder / blob.name).unlink()
                folders.add(folder)
            for folder in folders:
                with suppress(OSError):  # not empty: somebody writes to it
                    folder.rmdir()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BlobsAway(
                f"payload.blobs: the folder {self.name} {what}: {error.strerror or error}"
            ) from None
