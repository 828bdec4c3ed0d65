"""Waiting for many runs at once: one waker for all their ends, and one look at all that have ended since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from goflow.errors import GoflowError, RunFailed, RunStopped
from goflow.payload import EMPTY, Payload
from goflow.state import RunState
from goflow.wholesale import Look, Wholesale, heard

#: seconds after which all that is waited for is looked at, whatever was heard
DOUBT: Final = 5.0
#: where so many runs are waited for, seconds in which more may end before they are looked at: that leaves the
#: machine to those who execute them
MANY: Final = 8
LINGER: Final = 0.002


class _Readable(Protocol):
    def fileno(self) -> int: ...


async def readable(waker: _Readable, seconds: float | None = None) -> bool:
    """Wait until it wakes; False where it has not within so many seconds."""
    import asyncio

    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    number = waker.fileno()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    loop.add_reader(number, wake)
    try:
        async with asyncio.timeout(seconds):
            await woken
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(number)
    return True


class Awaited:
    """Runs that are waited for, and the results of those that have ended.

    Whoever waits selects on `fileno` for `DOUBT` seconds at most, then calls `look`, until nothing is `pending`.
    """

    def __init__(self, backend: Wholesale, run_ids: Sequence[str]) -> None:
        self._backend = backend
        self._run_ids = run_ids
        self._made: dict[str, Payload] = {}
        self.pending = dict.fromkeys(run_ids)
        #: whether a look has failed: then what was heard for it is lost
        self._doubt = False
        # listened to before they are looked at, so that no end is missed
        self._waker = backend.watch_ends()
        try:
            self._look(list(self.pending))
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._waker.fileno()

    @property
    def linger(self) -> float:
        """Seconds to wait between a wake-up and the look."""
        return LINGER if len(self.pending) >= MANY else 0.0

    @property
    def results(self) -> list[Payload]:
        """What the runs made, in their order. Only when none is pending."""
        return [self._made[run_id] for run_id in self._run_ids]

    def look(self, *, doubt: bool) -> None:
        """Look at those that have ended, in doubt at all. Raises RunFailed, RunStopped, UnknownRun; a look that
        raises StoreAway may be repeated."""
        doubt, self._doubt = doubt or self._doubt, True
        told, unsaid = heard(self._waker, self.pending.keys(), doubt=doubt)
        for run_id, look in told.items():
            self._take(run_id, look)
        if unsaid:
            self._look(unsaid)
        self._doubt = False

    def close(self) -> None:
        """Listen no more."""
        self._waker.close()

    def _look(self, run_ids: list[str]) -> None:
        for run_id, told in zip(run_ids, self._backend.results(run_ids), strict=True):
            self._take(run_id, told)

    def _take(self, run_id: str, told: Look | GoflowError) -> None:
        made = _result(told)
        if made is not None:
            self._made[run_id] = made
            del self.pending[run_id]


def _result(told: Look | GoflowError) -> Payload | None:
    """What a run made; None of one that has not ended. Raises what kept it from it."""
    if isinstance(told, GoflowError):
        raise told
    run, payload = told
    if run.state is RunState.FAILED:
        raise RunFailed(run.id, run.error)
    if run.state is RunState.STOPPED:
        raise RunStopped(run.id)
    if run.state is not RunState.SUCCEEDED:
        return None
    return EMPTY if payload is None else payload
