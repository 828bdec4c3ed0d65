"""What a worker does by the clock: it keeps its leases, has the store serve its own clocks, and hands over its counts."""

from __future__ import annotations

import time
from typing import Final

from goflow.backend import Backend, Parted
from goflow.crew import Crew
from goflow.errors import StoreAway
from goflow.figures import Accountable, Meter
from goflow.ledger import Ledger
from goflow.message import Outcome
from goflow.observer import Observer

#: seconds between two renewals, however often the store wakes us
RENEW_PAUSE: Final = 0.1
#: seconds between two calls to the store's clocks at most, and the share of a lease that is as long at most
TICK_PAUSE: Final = 1.0
_TICKS: Final = 6
#: seconds between two times that counts are handed over
COUNT_PAUSE: Final = 1.0


class Rhythm:
    """The clocks of one worker, `id` for the store; a lease is `lease` seconds. All dates are monotonic: a wall clock
    that is set back would have leases run out."""

    def __init__(
        self,
        backend: Backend,
        id: int,
        crew: Crew,
        ledger: Ledger,
        observer: Observer,
        lease: float,
    ) -> None:
        self._backend = backend
        self._parted = backend if isinstance(backend, Parted) else None
        self._id = id
        self._crew = crew
        self._ledger = ledger
        self._observer = observer
        self._lease = lease
        self._meter = Meter()
        #: when leases are to be renewed, and were last
        self.renew_at = self._renewed = 0.0
        self._tick_at = self._count_at = 0.0

    @property
    def due(self) -> float:
        """When there is something to do."""
        return min(self._tick_at, self.renew_at)

    def serve(self, now: float) -> bool:
        """Do what is due. Answers whether there may be something to claim since. Raises BackendError."""
        if now >= self.renew_at:  # first: what is held has a date
            self._renew(now)
        if now < self._tick_at:
            return False
        self._tick(now)
        return True

    def renew_soon(self) -> None:
        """Learn before long whether something that is held must die."""
        self.renew_at = min(self.renew_at, self._renewed + RENEW_PAUSE)

    def recorded(self, outcome: Outcome, accepted: bool) -> None:
        """The store was told what became of a task: count it, and look when its next attempt is due."""
        if accepted and not outcome.released:
            self._meter.add(outcome)
        if outcome.retry_at is not None:
            self._tick_at = min(self._tick_at, _monotonic(outcome.retry_at))

    def count(self) -> None:
        """Hand over what was counted since the last time. Raises BackendError."""
        while numbers := self._meter.numbers():
            if isinstance(self._backend, Accountable):
                try:
                    self._backend.count(self._id, numbers)
                except StoreAway:
                    if self._parted is None:
                        raise
                    return  # the part that counts is away: these again first
            self._meter.clear()

    def _tick(self, now: float) -> None:
        due = self._backend.tick(self._id)
        if self._parted is not None and (error := self._parted.left_out()) is not None:
            self._observer.troubled(error)
        if now >= self._count_at:
            self._count_at = now + COUNT_PAUSE
            self.count()
        rhythm = now + min(TICK_PAUSE, self._lease / _TICKS)
        self._tick_at = rhythm if due is None else min(rhythm, max(_monotonic(due), now + 0.001))

    def _renew(self, now: float) -> None:
        """Keep the leases of all that is held, and learn what must die."""
        backlog = self._crew.backlog
        held = [claim.task for claim in (*self._crew.claims, *backlog)]
        self.renew_at, self._renewed = now + self._lease / 3, now
        if not held:
            return
        self._ledger.sentence(self._backend.renew(self._id, held))
        since = time.time()
        for claim in [c for c in backlog if self._ledger.carried_out(c.task, since)]:
            backlog.remove(claim)
        self._crew.enforce(over=False)


def _monotonic(moment: float) -> float:
    """When a moment of the wall clock is by the other clock, as far as one can know."""
    return moment - time.time() + time.monotonic()
