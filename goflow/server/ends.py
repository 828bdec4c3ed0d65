"""Waiting for runs to end: one waker and one look for all requests that wait.

A wake-up tells of all that has ended since the last one, so the store is asked once for many results, and a
server with hundreds of waiting requests listens no more than one with a single one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from goflow import wholesale
from goflow.awaited import readable
from goflow.backend import Backend, Run
from goflow.errors import BackendError, GoflowError, StoreAway
from goflow.server.lanes import Lanes
from goflow.wholesale import Look, Wholesale

#: seconds after which all that is waited for is looked at, whatever was heard
_DOUBT: Final = 5.0
#: seconds between two looks at a store that cannot tell of ends
_BLIND: Final = 0.05
#: seconds between two looks at a store that refuses
_PATIENCE: Final = 0.5

#: where so many runs are waited for, seconds in which more may end before a look: one for all of them costs
#: some hundredths less of the machine; who waits alone waits for nobody
_MANY: Final = 8
_LINGER: Final = 0.001
#: what a run is found as, or what kept it from being told; None where the server closes
Told = Look | Exception
Future = asyncio.Future[Told | None]


class Ends:
    """All who wait for the end of a run in this process."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._waiting: dict[str, list[Future]] = {}
        self._waker: wholesale.Ends | None = None
        self._following: asyncio.Task[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        self.closing = False

    @contextmanager
    def expecting(self, run_id: str, gone: asyncio.Future[None] | None = None) -> Iterator[Future]:
        """What is told of the run when it has ended; None when the server closes, or whoever asks is `gone`. Enter
        before it can end, or before it is looked at."""
        future: Future = asyncio.get_running_loop().create_future()
        others = self._waiting.setdefault(run_id, [])
        others.append(future)

        def leave(_: object) -> None:
            _let_go(future)

        if gone is not None:
            gone.add_done_callback(leave)
        try:
            yield future
        finally:
            if gone is not None:
                gone.remove_done_callback(leave)
            others.remove(future)
            if not others:
                del self._waiting[run_id]

    async def listen(self) -> None:
        """Be told of what ends from now on; the first call opens the waker. Raises BackendError."""
        if self._following is not None:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)

    async def end(self, run: Run, future: Future, seconds: float) -> Look:
        """The run when it has ended, or as it is after so many seconds, or when the server closes.

        `future` comes from `expecting`. Raises UnknownRun when the run expires, BackendError.
        """
        if not run.state.terminal and not self.closing:
            clock = asyncio.get_running_loop().call_later(seconds, _let_go, future)
            try:
                found = await future
            finally:
                clock.cancel()
            if isinstance(found, Exception):
                raise found
            if found is not None and found[0].round >= run.round:  # else it was retried in between
                return found
        return await self.look(run.id)

    async def look(self, run_id: str) -> Look:
        """The run as it is now. Raises UnknownRun, BackendError."""
        (found,) = await self._lanes.quickly(lambda backend: wholesale.results(backend, [run_id]))
        if isinstance(found, GoflowError):
            raise found
        return found

    def close(self) -> None:
        """Let all who wait go on with what they know."""
        self.closing = True
        for futures in self._waiting.values():
            for future in futures:
                _let_go(future)

    async def stop(self) -> None:
        """Listen no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        if self._waker is not None:
            await self._lanes.ends.call(_closing(self._waker))

    # -- following --------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._waker = await self._lanes.ends.call(_watch)
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Tell whoever waits, whatever happens: this ends only with the server."""
        doubt = broken = False
        while True:
            try:
                if broken:
                    await self._listen_anew()
                    broken = False
                await self._round(doubt)
                doubt = False
            except Exception as error:
                doubt = True
                if not isinstance(error, BackendError):  # hundreds may wait: say it, and begin anew
                    broken = True
                    logging.getLogger("goflow.server").exception("ends of runs were not heard")
                elif not isinstance(error, StoreAway):
                    # a refusal: only people end it, so whoever waits is told
                    for run_id in list(self._waiting):
                        self._tell(run_id, error)
                await asyncio.sleep(_PATIENCE)

    async def _round(self, doubt: bool) -> None:
        if self._waker is None:
            await asyncio.sleep(_BLIND)
            doubt = True
            if not self._waiting:
                return
        elif not doubt:
            doubt = not await readable(self._waker, _DOUBT)
            if len(self._waiting) >= _MANY:
                await asyncio.sleep(_LINGER)
        for run_id, told in await self._lanes.ends.call(self._looking(doubt)):
            self._tell(run_id, told)

    async def _listen_anew(self) -> None:
        if self._waker is not None:
            await self._lanes.ends.call(_closing(self._waker))
        self._waker = await self._lanes.ends.call(_watch)

    def _looking(self, doubt: bool) -> Callable[[Backend], list[tuple[str, Told]]]:
        """Clear the waker, then look at those that have ended; in doubt, at all that is waited for."""
        waker, waiting = self._waker, self._waiting

        def look(backend: Backend) -> list[tuple[str, Told]]:
            told: dict[str, Look] = {}
            unsaid = list(waiting)
            if waker is not None:
                told, unsaid = wholesale.heard(waker, waiting.keys(), doubt=doubt)
            return [*told.items(), *zip(unsaid, _results(backend, unsaid), strict=True)]

        return look

    def _tell(self, run_id: str, told: Told) -> None:
        if isinstance(told, tuple) and not told[0].state.terminal:
            return  # it was retried in between
        for future in self._waiting.get(run_id, ()):
            if not future.done():
                future.set_result(told)


def _let_go(future: Future) -> None:
    if not future.done():
        future.set_result(None)


def _watch(backend: Backend) -> wholesale.Ends | None:
    return backend.watch_ends() if isinstance(backend, Wholesale) else None


def _results(backend: Backend, run_ids: list[str]) -> Sequence[Told]:
    """What is found of each. One that cannot be read keeps none of the others waiting."""
    try:
        return wholesale.results(backend, run_ids)
    except BackendError:
        raise
    except Exception as error:  # noqa: BLE001 - whose it is, the next lines find out
        if len(run_ids) == 1:
            return [error]
        return [told for run_id in run_ids for told in _results(backend, [run_id])]


def _closing(waker: wholesale.Ends) -> Callable[[Backend], None]:
    def close(backend: Backend) -> None:
        with suppress(Exception):  # it was broken
            waker.close()

    return close
