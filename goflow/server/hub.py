"""Watching runs: one waker per run and process, however many event streams look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from goflow.awaited import readable
from goflow.backend import Backend, Run, Waker
from goflow.errors import BackendError
from goflow.server.lanes import Lanes

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
        self._trouble: Exception | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._pump = asyncio.create_task(self._look_on())
        # not by the task itself: one that is cancelled before it began never gets anywhere
        self._pump.add_done_callback(self._over)

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
        while not self.run.state.terminal and self._trouble is None:
            await readable(self._waker)
            try:
                self.run = await self._hub.lanes.quickly(self._look)
            except BackendError:
                await asyncio.sleep(_PATIENCE)
            except Exception as error:  # noqa: BLE001 - who waits is told
                self._trouble = error
            self.wake()

    def _over(self, pump: asyncio.Task[None]) -> None:
        self._hub.forget(self)
        self._hub.let_go(self._waker)

    def _look(self, backend: Backend) -> Run:
        self._waker.clear()
        return backend.run(self.run.id)


class Hub:
    """All watches of this process.

    Once `draining` event streams end; once `closing` nobody waits any more.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.draining = False
        self.closing = False
        self._watches: dict[str, Watch] = {}
        self._closing: set[asyncio.Task[None]] = set()

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
            watch = self._adopt(await self._followed(run_id))
        watch.users += 1
        try:
            yield watch
        finally:
            watch.users -= 1
            if not watch.users:
                self.forget(watch)
                watch.let_go()

    async def _followed(self, run_id: str) -> Followed:
        """What `_follow` answers; where whoever asks has gone meanwhile, its waker is closed."""
        following = asyncio.create_task(
            self.lanes.quickly(lambda backend: _follow(backend, run_id))
        )
        try:
            return await asyncio.shield(following)
        except asyncio.CancelledError:
            following.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, following: asyncio.Task[Followed]) -> None:
        if not following.cancelled() and following.exception() is None:
            self.let_go(following.result()[1])

    def _adopt(self, followed: Followed) -> Watch:
        """The watch of a run that is followed already; its waker is closed where there is another."""
        run, waker = followed
        known = self._watches.get(run.id)
        if known is not None:
            self.let_go(waker)
            return known
        self._watches[run.id] = watch = Watch(self, followed)
        return watch

    def let_go(self, waker: Waker) -> None:
        """Close a waker, soon: the store it is of is a lane's."""

        def close(backend: Backend) -> None:
            with suppress(BackendError):
                waker.close()

        task = asyncio.create_task(self.lanes.quickly(close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def forget(self, watch: Watch) -> None:
        """Have the next who asks open a new one."""
        if self._watches.get(watch.run.id) is watch:
            del self._watches[watch.run.id]
