"""Waiting for many runs at once: from asyncio, and over a backend that can tell of one at a time only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import goflow
from goflow.backend import Backend
from goflow.errors import RunFailed
from goflow.testing.store import Store
from goflow.wholesale import Wholesale
from tests.conformance.test_local import LocalHooks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(LocalHooks(), tmp_path)
    yield opened
    opened.close()


def finish_later(
    store: Store, names: list[str], when: threading.Event | None = None
) -> threading.Timer:
    """Makes the runs succeed a moment from now, or when told; each makes its name."""
    worker = store.worker()
    claims = [worker.one("a") for _ in map(store.submit, names)]

    def finish() -> None:
        assert when is None or when.wait(20)
        for claim in claims:
            assert worker.succeed(claim, claim.task.run_id.encode(), ends=True)

    timer = threading.Timer(0.1, finish)
    timer.start()
    return timer


def test_a_run_in_place_of_its_id_is_told(store: Store) -> None:
    client, run = goflow.Client(store.backend), cast(Any, store.submit("r"))
    told = "expected a run id, got a Run: pass its `id`"

    async def twin() -> None:
        async with goflow.AsyncClient(store.connect()) as another:
            for verb in (another.run, another.wait, another.stop, another.retry):
                with pytest.raises(goflow.GoflowError, match=told):
                    await verb(run)
            with pytest.raises(goflow.GoflowError, match=told):
                await another.wait_all([run])

    for verb in (client.run, client.result, client.wait, client.pause, client.retry):
        with pytest.raises(goflow.GoflowError, match=told):
            verb(run)
    with pytest.raises(goflow.GoflowError, match=told):
        client.wait_all([run])
    asyncio.run(twin())


def test_the_asynchronous_twin_waits_for_many_and_keeps_its_loop_free(store: Store) -> None:
    names = [f"r{n}" for n in range(20)]
    seen_running = threading.Event()

    async def main() -> list[str]:
        async with goflow.AsyncClient(store.connect()) as client:
            waiting = asyncio.create_task(client.wait_all(names, 20))
            assert (await client.run("r0")).state == "running"
            seen_running.set()
            results = [result.text() for result in await waiting]
            with pytest.raises(TimeoutError, match="the first of them is late"):
                await client.wait_all([*names, "late"], 0.05)
            return results

    timer = finish_later(store, names, seen_running)
    store.submit("late")
    assert asyncio.run(main()) == names
    timer.join()


class Plain:
    """A backend that has only what the seam asks of it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name in ("submit_all", "results", "watch_ends", "watch_end"):
            raise AttributeError(name)
        return getattr(self._backend, name)


def test_a_backend_that_tells_of_one_run_at_a_time_is_asked_for_one_after_the_other(
    store: Store,
) -> None:
    plain = cast(Backend, Plain(store.connect()))
    assert not isinstance(plain, Wholesale)
    timer = finish_later(store, ["r0", "r1", "r2"])
    results = goflow.Client(plain).wait_all(["r2", "r0", "r1"], timeout=20)
    assert [result.text() for result in results] == ["r2", "r0", "r1"]
    timer.join()
    store.submit("bad")
    worker = store.worker()
    assert worker.fail(worker.one("a"))
    with pytest.raises(RunFailed, match="bad"):
        goflow.Client(plain).wait_all(["r0", "bad"])
    store.submit("late")
    with pytest.raises(TimeoutError, match="late"):
        goflow.Client(plain).wait_all(["r0", "late"], timeout=0.05)
