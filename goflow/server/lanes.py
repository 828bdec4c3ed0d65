"""Calling a store from asyncio: threads, each with a backend of its own.

The seam is synchronous and an open backend is for one thread at a time, so calls queue up in a *lane*.
What piled up while a lane was busy is done in one go and its answers wake the event loop once: under
load that saves most of what changing threads costs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from goflow.backend import Backend, load_backend
from goflow.config import Config

T = TypeVar("T")
Work = Callable[[Backend], T]

#: answers wait at most this many seconds for those of the calls behind them
_LINGER: Final = 0.001
#: lanes for what may take long (lists, drawings, logs), so that it does not hold up starts and results
_SLOW_LANES: Final = 2


class _Call(NamedTuple):
    work: Work[Any]
    future: asyncio.Future[Any]


class Lane:
    """One thread and its backend, both there from the first call on (the backend again, when that failed)."""

    def __init__(self, open: Callable[[], Backend], name: str, *, owned: bool = True) -> None:
        self._open = open
        self._owned = owned
        self._backend: Backend | None = None
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def load(self) -> int:
        """How many calls wait."""
        return self._calls.qsize()

    async def call(self, work: Work[T]) -> T:
        """What `work(backend)` answers or raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._thread.ident is None:
            self._thread.start()
        self._calls.put(_Call(work, future))
        return await future

    def close(self) -> None:
        """Finish what is queued, close the backend and end the thread. Blocks."""
        if self._thread.ident is not None:
            self._calls.put(None)
            self._thread.join()

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            done: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
            until = time.monotonic() + _LINGER
            while call is not None:
                done.append((call.future, *self._answer(call.work)))
                if time.monotonic() > until:
                    break
                try:
                    call = self._calls.get_nowait()
                except Empty:
                    break
            _deliver(done)
            if call is None:
                break
        if self._backend is not None and self._owned:
            self._backend.close()

    def _answer(self, work: Work[Any]) -> tuple[Any, BaseException | None]:
        try:
            if self._backend is None:
                self._backend = self._open()
            return work(self._backend), None
        except Exception as error:  # noqa: BLE001 - it is the caller's
            return None, error


def _deliver(done: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    def settle() -> None:
        for future, answer, error in done:
            if future.done():
                continue  # whoever asked has gone
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

    if done:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
            done[0][0].get_loop().call_soon_threadsafe(settle)


class Lanes:
    """The lanes of one server: `quick` for starts and what takes a moment, `ends` for the results of what has
    ended, the others for what takes longer.

    `backend` is a URL or name, of which each lane opens its own; or an open Backend, which one lane uses
    for everything and leaves open.
    """

    def __init__(self, backend: str | Backend, config: Config) -> None:
        if isinstance(backend, str):
            url = backend
            self.quick = Lane(lambda: load_backend(url, config), "goflow-quick")
            self.ends = Lane(lambda: load_backend(url, config), "goflow-ends")
            self._slow = [
                Lane(lambda: load_backend(url, config), f"goflow-slow-{i}")
                for i in range(_SLOW_LANES)
            ]
        else:
            given = backend
            self.quick = Lane(lambda: given, "goflow-store", owned=False)
            self.ends = self.quick
            self._slow = [self.quick]

    async def quickly(self, work: Work[T]) -> T:
        """A call that takes a moment."""
        return await self.quick.call(work)

    async def slowly(self, work: Work[T]) -> T:
        """A call that may read much."""
        return await min(self._slow, key=lambda lane: lane.load).call(work)

    async def close(self) -> None:
        """End all threads."""
        for lane in {self.quick, self.ends, *self._slow}:
            await asyncio.to_thread(lane.close)
