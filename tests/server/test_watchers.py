"""Callers who go while what they wait with is being made leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

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
