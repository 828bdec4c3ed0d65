"""Requests that wait for runs to end, where the store does what no store should."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import pytest

from goflow import wholesale
from goflow.backend import Backend, load_backend
from goflow.config import Config, Local
from goflow.errors import GoflowError
from goflow.server import ends
from goflow.server.ends import Ends
from goflow.server.lanes import Lanes
from goflow.testing.store import Worker, request
from goflow.wholesale import Look, Wholesale


def waited_for(folder: Path, *names: str, when: Callable[[Backend], None]) -> list[object]:
    """What is told of these runs to those who wait for them from before they end. `when` is called
    once they wait."""
    backend = load_backend("local", Config(local=Local(path=str(folder))))

    def end_all(store: Backend) -> None:
        worker = Worker(store)
        for claim in worker.claim():
            worker.succeed(claim, claim.task.run_id.encode(), ends=True)

    async def wait(following: Ends, name: str) -> Look:
        with following.expecting(name) as future:
            run = await following._lanes.quickly(lambda store: store.submit(request(name)))
            return await following.end(run, future, 20)

    async def all_of_it() -> list[object]:
        lanes = Lanes(backend, Config())
        following = Ends(lanes)
        await following.listen()
        waiting = [asyncio.create_task(wait(following, name)) for name in names]
        while await lanes.quickly(lambda store: len(store.runs())) < len(names):
            await asyncio.sleep(0)
        when(backend)
        await lanes.quickly(end_all)
        told: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        await following.stop()
        await lanes.close()
        return told

    with backend:
        return asyncio.run(all_of_it())


def test_a_mistake_while_listening_is_told_and_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ends, "_PATIENCE", 0.01)
    heard = 0

    def break_waker(backend: Backend) -> None:
        from goflow_local.wake import EndsWaker

        real = EndsWaker.ended

        def ended(self: EndsWaker, wanted: Container[str]) -> dict[str, None]:
            nonlocal heard
            heard += 1
            if heard == 1:
                raise ZeroDivisionError("a mistake")
            return real(self, wanted)

        monkeypatch.setattr(EndsWaker, "ended", ended)

    with caplog.at_level(logging.ERROR, "goflow.server"):
        (told,) = waited_for(tmp_path, "r", when=break_waker)
    assert isinstance(told, tuple), told
    assert told[1].data == b"r"
    assert "ZeroDivisionError: a mistake" in caplog.text


def test_a_run_that_cannot_be_read_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wholesale.results

    def results(backend: Backend, run_ids: Sequence[str]) -> list[Look | GoflowError]:
        if "bad" in run_ids:
            raise ValueError("no record can look like this")
        return real(backend, run_ids)

    def spoil(backend: Backend) -> None:
        assert isinstance(backend, Wholesale)
        monkeypatch.setattr(wholesale, "results", results)

    before, bad, after = waited_for(tmp_path, "before", "bad", "after", when=spoil)
    assert isinstance(bad, ValueError)
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    assert (before[1].data, after[1].data) == (b"before", b"after")
