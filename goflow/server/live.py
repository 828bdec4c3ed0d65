"""One look at a run for all who watch it in this process."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from goflow.backend import Backend
from goflow.overview import Overview, overview
from goflow.server.hub import Watch
from goflow.server.service import Service
from goflow.wholesale import AllNodes

#: seconds between two looks at a run at least
PACE: Final = 0.1
#: looks take at most one part in so many of the time
_SHARE: Final = 5


class Live:
    """What is seen of one run in this process, for all streams of it."""

    def __init__(self, serving: Service, watch: Watch) -> None:
        self.seen: Overview | None = None
        self._serving = serving
        self._watch = watch
        self._looking: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    async def look(self, after: int) -> Overview | None:
        """The run as soon as it is another than at revision `after`; None when the server closes."""
        while self.seen is None or self.seen.run.revision == after:
            if self._serving.hub.draining or self._serving.hub.closing:
                return None
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            looking = self._looking
            await asyncio.wait({looking})
            if not looking.cancelled():
                looking.result()
        return self.seen

    async def _look(self) -> None:
        if self.seen is not None:
            await self._watch.change(self.seen.run.revision)
        await asyncio.sleep(max(0.0, self._rest_until - time.monotonic()))
        began = time.monotonic()
        name = self._watch.run.id

        def read(backend: Backend) -> Overview:
            run = backend.run(name)
            plan = self._serving.plan(backend, run.flow, run.fingerprint)
            return overview(plan, run, AllNodes(backend, name))

        self.seen = await self._serving.lanes.slowly(read)
        now = time.monotonic()
        self._rest_until = now + max(PACE, _SHARE * (now - began))

    def close(self) -> None:
        """Nobody watches any more."""
        if self._looking is not None:
            self._looking.cancel()


def live_of(serving: Service, watch: Watch) -> Live:
    """The Live that belongs to a watch."""
    if watch.live is None:
        watch.live = Live(serving, watch)
    return watch.live
