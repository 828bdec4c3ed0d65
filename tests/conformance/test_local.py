"""The local backend keeps every rule of the seam, and survives random histories."""

from __future__ import annotations

from pathlib import Path

import pytest

from goflow.backend import Backend
from goflow.config import Config, Local
from goflow.testing.conformance import BackendConformance, BackendHooks
from goflow.testing.machine import LONG, SHORT, BackendMachine
from goflow_local import LocalBackend


class LocalHooks(BackendHooks):
    exclusive = True

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        config = Config(local=Local(path=str(folder / "store")))
        return LocalBackend.open("local", config, ephemeral=ephemeral)

    def vanish(self, backend: Backend, worker: int) -> None:
        """Let go of the lock that the kernel would drop with the process."""
        assert isinstance(backend, LocalBackend)
        backend._store.locks.drop(worker)


class TestLocal(LocalHooks, BackendConformance):
    pass


class LocalMachine(LocalHooks, BackendMachine):
    pass


class LongLocalMachine(LocalHooks, BackendMachine):
    pass


TestLocalMachine = LocalMachine.TestCase
TestLocalMachine.settings = SHORT

TestLongLocalMachine = pytest.mark.chaos(LongLocalMachine.TestCase)
TestLongLocalMachine.settings = LONG
