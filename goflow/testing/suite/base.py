"""What every part of the suite stands on: the hooks, and the store as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow.backend import Retry
from goflow.message import Rewind
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.hooks import BackendHooks
from goflow.testing.store import Store, Worker, edge


class Suite(BackendHooks):
    """A part of the suite. `store` is a fresh store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """A fresh store, closed after the test."""
        opened = Store(self, tmp_path)
        yield opened
        opened.close()

    def again(self, store: Store, rewind: Rewind | None = None, run_id: str = "r") -> None:
        """Open a new round, which must be queued and one higher."""
        before = store.run(run_id)
        run = store.backend.retry(run_id, Retry(rewind=rewind))
        assert run == store.run(run_id)
        assert run.state is RunState.QUEUED
        assert run.round == before.round + 1
        assert (run.finished, run.error, run.failure, run.ending) == (None, None, None, None)
        assert run.created == before.created

    def chain(self, store: Store, worker: Worker) -> None:
        """A run a -> b -> c that has succeeded."""
        store.submit("r")
        assert worker.succeed(worker.one("a"), b"A", edge("a", "b"), writes={"k": Payload(b"1")})
        assert worker.succeed(worker.one("b"), b"B", edge("b", "c"))
        assert worker.succeed(worker.one("c"), b"C", ends=True)
        assert store.state() is RunState.SUCCEEDED
