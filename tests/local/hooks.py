"""What the shared suites need to know about the local backend."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from goflow.backend import Backend
from goflow.config import Config, Local
from goflow.testing.hooks import BackendHooks
from goflow_local import LocalBackend


class LocalHooks(BackendHooks):
    """A store in the test's folder; a worker vanishes when its lock does."""

    exclusive: ClassVar[bool] = True

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        config = Config(local=Local(path=str(folder)))
        return LocalBackend.open("local", config, ephemeral=ephemeral)

    def vanish(self, backend: Backend, worker: int) -> None:
        assert isinstance(backend, LocalBackend)
        backend.forsake(worker)
