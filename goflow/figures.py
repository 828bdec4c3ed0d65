"""Figures that live in the store: what ran, how long it took, how long it waited, by flow.

They are added up where they happen, by whole numbers, so that reading them costs the same after ten runs
and after ten million. The end of a run is counted by the store, in the transaction that ends it. Attempts
are counted by the worker that committed them, which hands over what it has added up once a second: the price
is that a worker that is killed takes the counts of its last second with it, never a run's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import msgspec

from goflow.message import Outcome

#: durations are counted by powers of two: place e counts those of less than 2**e ms; what took longer
#: than the last, 2**24 ms or 4.7 hours, is in the place after it
PLACES: Final = 26

#: (flow, name): `runs:STATE` and `attempts:STATE` ended so, `retries` are attempts that another follows;
#: `run`, `attempt` and `wait` are durations: `run:ms` their sum, `run:E` how many at place E
Name = tuple[str, str]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has counted since it was made. `active` are runs that have not ended, `oldest` since when
    (epoch seconds) the first ready task that no worker holds has been waiting; both by flow."""

    numbers: dict[Name, int]
    active: dict[str, int]
    oldest: dict[str, float]


@runtime_checkable
class Accountable(Protocol):
    """A backend that keeps figures; one that cannot just lacks the methods."""

    def count(self, worker: int, numbers: Mapping[Name, int]) -> None:
        """Add what a worker has counted since it did so last. Where this raises, the store may have it or not:
        the worker's next call is to bring the same numbers, which count once."""
        ...

    def figures(self) -> Figures: ...


def place(milliseconds: int) -> int:
    """Where a duration is counted."""
    return min(milliseconds.bit_length(), PLACES - 1)


class Meter:
    """What one worker has counted and not handed over yet."""

    def __init__(self) -> None:
        self._flows: dict[str, _Counts] = {}
        self._offered: dict[Name, int] = {}

    def add(self, outcome: Outcome) -> None:
        """An outcome was recorded. One microsecond of the hot path."""
        task = outcome.task
        counts = self._flows.get(task.flow)
        if counts is None:
            counts = self._flows[task.flow] = _Counts()
        if outcome.step is not None:
            counts.succeeded += 1
        elif outcome.stopped:
            counts.stopped += 1
        else:
            counts.failed += 1
            counts.retries += outcome.retry_at is not None
        took = int((outcome.finished - outcome.started) * 1000)
        if took > 0:
            counts.took += took
            counts.attempt[min(took.bit_length(), PLACES - 1)] += 1
        else:
            counts.attempt[0] += 1
        waited = int((outcome.started - task.ready) * 1000)
        if waited > 0:  # not negative either: two clocks may differ
            counts.waited += waited
            counts.wait[min(waited.bit_length(), PLACES - 1)] += 1
        else:
            counts.wait[0] += 1

    def numbers(self) -> dict[Name, int]:
        """What to hand over, as the store adds it up: the same until `clear`, since the store may have it
        although it could not say so."""
        if not self._offered:
            self._offered = {
                (flow, name): number
                for flow, counts in self._flows.items()
                for name, number in counts.named()
                if number
            }
            self._flows.clear()
        return self._offered

    def clear(self) -> None:
        """What was to be handed over has been."""
        self._offered = {}


class _Counts:
    """Of one flow."""

    __slots__ = ("attempt", "failed", "retries", "stopped", "succeeded", "took", "wait", "waited")

    def __init__(self) -> None:
        self.succeeded = self.failed = self.stopped = self.retries = self.took = self.waited = 0
        self.attempt = [0] * PLACES
        self.wait = [0] * PLACES

    def named(self) -> list[tuple[str, int]]:
        return [
            ("attempts:succeeded", self.succeeded),
            ("attempts:failed", self.failed),
            ("attempts:stopped", self.stopped),
            ("retries", self.retries),
            ("attempt:ms", self.took),
            ("wait:ms", self.waited),
            *((f"attempt:{at}", number) for at, number in enumerate(self.attempt)),
            *((f"wait:{at}", number) for at, number in enumerate(self.wait)),
        ]
