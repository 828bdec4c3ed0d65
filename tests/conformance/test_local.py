"""The local backend keeps every rule of the seam, and survives random histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.stateful import invariant

from goflow.backend import Backend
from goflow.config import Config, Local
from goflow.testing.conformance import BackendConformance, BackendHooks
from goflow.testing.machine import LONG, SHORT, BackendMachine
from goflow_local import LocalBackend
from tests.local.test_local_doctor import finding


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
    @invariant()
    def the_queue_holds_what_is_ready_and_nothing_else(self) -> None:
        backend = self.history.store.backend
        assert isinstance(backend, LocalBackend)
        queued, ready = (
            backend._store.read(lambda c: c.execute(query).fetchall())  # noqa: B023
            for query in (
                "SELECT node FROM queue ORDER BY node",
                "SELECT id FROM node WHERE state = 1 AND run IN (SELECT id FROM run) ORDER BY id",
            )
        )
        assert queued == ready

    @invariant()
    def the_runs_that_have_not_ended_are_counted(self) -> None:
        backend = self.history.store.backend
        assert isinstance(backend, LocalBackend)
        assert finding(backend, "counts").ok


class LongLocalMachine(LocalMachine):
    pass


TestLocalMachine = LocalMachine.TestCase
TestLocalMachine.settings = SHORT

TestLongLocalMachine = pytest.mark.chaos(LongLocalMachine.TestCase)
TestLongLocalMachine.settings = LONG
