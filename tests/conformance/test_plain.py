"""What is optional may be missing: many runs over a backend that does one after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import goflow
from goflow.backend import Backend
from goflow.config import Config, Local
from goflow.errors import RunFailed
from goflow.testing.conformance import BackendHooks
from goflow.testing.store import Store, request
from goflow.testing.suite.wholesaling import Wholesaling
from goflow_local import LocalBackend

OPTIONAL = {"submit_all", "results", "watch_ends"}


class Plain:
    """The local backend, less what a backend may lack."""

    def __init__(self, inner: LocalBackend) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in OPTIONAL:
            raise AttributeError(name)
        return getattr(self._inner, name)


class PlainHooks(BackendHooks):
    exclusive = True

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        config = Config(local=Local(path=str(folder / "store")))
        plain: Any = Plain(LocalBackend.open("local", config, ephemeral=ephemeral))
        backend: Backend = plain
        return backend


class TestPlain(PlainHooks, Wholesaling):
    def test_an_async_client_hears_of_the_first_of_many_that_fails(self, store: Store) -> None:
        w = store.worker()
        for name in ("slow", "good", "bad"):
            store.backend.submit(request(name))
        claims = {claim.task.run_id: claim for claim in w.claim()}
        client = goflow.AsyncClient(store.backend)

        async def wait(*names: str, timeout: float) -> list[str]:
            return [made.text() for made in await client.wait_all(names, timeout)]

        assert w.succeed(claims["good"], b"made", ends=True)
        assert asyncio.run(wait("good", "good", timeout=20)) == ["made", "made"]
        with pytest.raises(TimeoutError, match="slow"):
            asyncio.run(wait("good", "slow", timeout=0.1))
        w.fail(claims["bad"])
        with pytest.raises(RunFailed, match="bad"):
            asyncio.run(wait("slow", "bad", timeout=20))
