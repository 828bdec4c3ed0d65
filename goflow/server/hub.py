"""Watching runs: one waker per run and process, however many event streams look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from goflow.backend import Backend, Run, Waker
from goflow.errors import BackendError, GoflowError
from goflow.server.lanes import Lanes, readable

if TYPE_CHECKING:
    from goflow.server.live import Live

#: seconds between two looks at a store that refuses
_PATIENCE: Final = 0.5

#: a run, and a waker that was opened before the run was looked at
Followed = tuple[Run, Waker]


def _follow(backend: Backend, run_id: str) -> Followed:
    """A waker and a look, in this order. Raises UnknownRun."""
    waker = backend.watch(run_id)
    try:
        waker.clear()
        return backend.run(run_id), waker
    except BaseException:
        waker.close()
        raise


class Watch:
    """The run as it was seen last; `change` waits for the next look."""

    def __init__(self, hub: Hub, followed: Followed) -> None:
        self.run, self._waker = followed
        self.users = 0
        #: what event streams of this run share
        self.live: Live | None = None
        self._hub = hub
        self._trouble: GoflowError | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._pump = asyncio.create_task(self._look_on())

    async def change(self, after: int) -> Run:
        """The run, as soon as its revision is another than `after` or the server closes.

        Raises UnknownRun when it expires.
        """
        while self.run.revision == after and not self._hub.closing:
            if self._trouble is not None:
                raise self._trouble
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return self.run

    def wake(self) -> None:
        """Have all who wait look again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def let_go(self) -> None:
        """Nobody is interested any more."""
        self._pump.cancel()
        if self.live is not None:
            self.live.close()

    async def _look_on(self) -> None:
        try:
            while not self.run.state.terminal and self._trouble is None:
                await readable(self._waker)
                try:
                    self.run = await self._hub.lanes.quickly(self._look)
                except BackendError:
                    await asyncio.sleep(_PATIENCE)
                except GoflowError as error:
                    self._trouble = error
                self.wake()
        finally:
            self._hub.forget(self)
            await self._hub.lanes.quickly(lambda backend: self._close())

    def _look(self, backend: Backend) -> Run:
        self._waker.clear()
        return backend.run(self.run.id)

    def _close(self) -> None:
        with suppress(BackendError):
            self._waker.close()


class Hub:
    """All watches of this process.

    Once `draining` event streams end; once `closing` nobody waits any more.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.draining = False
        self.closing = False
        self._watches: dict[str, Watch] = {}

    def drain(self) -> None:
        """End the event streams, which might last for hours; those who wait for a result still may."""
        self.draining = True
        for watch in list(self._watches.values()):
            if watch.live is not None:
                watch.live.close()

    def close(self) -> None:
        """Let all who wait go on with what they know."""
        self.closing = True
        for watch in list(self._watches.values()):
            watch.wake()

    @asynccontextmanager
    async def watching(self, run_id: str) -> AsyncIterator[Watch]:
        """A watch on a run for as long as the block lasts. Raises UnknownRun."""
        watch = self._watches.get(run_id)
        if watch is None:
            watch = await self._adopt(
                await self.lanes.quickly(lambda backend: _follow(backend, run_id))
            )
        watch.users += 1
        try:
            yield watch
        finally:
            watch.users -= 1
            if not watch.users:
                self.forget(watch)
                watch.let_go()

    async def _adopt(self, followed: Followed) -> Watch:
        """The watch of a run that is followed already; its waker is closed where there is another."""
        run, waker = followed
        known = self._watches.get(run.id)
        if known is not None:
            await self.lanes.quickly(lambda backend: waker.close())
            return known
        self._watches[run.id] = watch = Watch(self, followed)
        return watch

    def forget(self, watch: Watch) -> None:
        """Have the next who asks open a new one."""
        if self._watches.get(watch.run.id) is watch:
            del self._watches[watch.run.id]
