"""Callers who go while what they wait with is being made leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow import AsyncClient, BackendError
from goflow.backend import Backend, Waker, load_backend
from goflow.config import Config
from goflow.server.hub import Hub
from goflow.server.lanes import Lanes
from goflow.testing.store import request


class Counted:
    """A waker that is counted for as long as it is open."""

    def __init__(self, waker: Waker, open: set[Counted]) -> None:
        self._waker, self._open = waker, open
        open.add(self)

    def fileno(self) -> int:
        return self._waker.fileno()

    def clear(self) -> None:
        self._waker.clear()

    def close(self) -> None:
        self._waker.close()
        self._open.discard(self)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A store with a run that never ends."""
    url = f"file://{tmp_path}/store"
    with load_backend(url, Config(backend=url)) as store:
        store.submit(request("r"))
        yield store


@pytest.fixture
def wakers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> set[Counted]:
    """Those that are open."""
    found: set[Counted] = set()
    watch = backend.watch
    monkeypatch.setattr(backend, "watch", lambda run_id=None: Counted(watch(run_id), found))
    return found


@pytest.mark.parametrize("turns", range(8))
def test_an_event_stream_that_is_cut_at_any_moment_closes_its_waker(
    backend: Backend, wakers: set[Counted], turns: int
) -> None:
    async def main() -> None:
        lanes = Lanes(backend, Config())
        hub = Hub(lanes)

        async def look() -> None:
            async with hub.watching("r") as watch:
                await watch.change(watch.run.revision)

        for _ in range(5):
            stream = asyncio.create_task(look())
            for _ in range(turns):
                await asyncio.sleep(0)
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
        await asyncio.sleep(0.02)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.005)
        await lanes.close()

    asyncio.run(main())
    assert not wakers


def test_a_wait_that_is_cancelled_while_it_begins_to_listen_closes_its_waker(
    backend: Backend, wakers: set[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, begun, go_on = backend.watch, threading.Event(), threading.Event()

    def slowly(run_id: str | None = None) -> Waker:
        begun.set()
        assert go_on.wait(20)
        return watch(run_id)

    monkeypatch.setattr(backend, "watch", slowly)

    async def main() -> None:
        async with AsyncClient(backend) as client:
            waiting = asyncio.create_task(client.wait("r"))
            await asyncio.to_thread(begun.wait, 20)
            waiting.cancel()
            await asyncio.wait([waiting])
            go_on.set()
            await client.run("r")  # after all that the client's thread had to do
            assert waiting.cancelled()
            assert not wakers

    asyncio.run(main())


def test_a_wait_that_is_cancelled_later_closes_its_waker(
    backend: Backend, wakers: set[Counted]
) -> None:
    async def main() -> None:
        async with AsyncClient(backend) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.wait("r"), 0.2)
            await client.run("r")
            assert not wakers

    asyncio.run(main())


def test_closing_the_client_ends_its_waits_and_closes_their_wakers(
    backend: Backend, wakers: set[Counted]
) -> None:
    async def main() -> None:
        client = AsyncClient(backend)
        waiting = asyncio.create_task(client.wait("r"))
        while not wakers:
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(BackendError, match="this client is closed"):
            await waiting
        assert not wakers
        with pytest.raises(BackendError, match="this client is closed"):
            await client.run("r")
        await client.close()

    asyncio.run(main())
