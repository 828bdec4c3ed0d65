"""What the task at hand reads of its run's store, noted by the supervisor that answers it.

The supervisor and not the child: so it is known of an attempt whose process died, too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from goflow.message import Reads

#: versions that are noted for one attempt: one that polls meets few; of one that reads more these are kept
MOST_READS: Final = 1000


class Unanswered(NamedTuple):
    """A key that a task waits for, since the store is away: asked for so many times, and when (monotonic) again."""

    key: str
    tries: int
    again: float


class Noted:
    """What one task has been given: versions by key, each with how many times in a row."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self._seen: dict[str, list[tuple[int, int]]] = {}
        self._count = 0
        self._whole = True

    def note(self, key: str, number: int) -> None:
        """It was given this version of a key."""
        spans = self._seen.get(key, [])
        if spans and spans[-1][0] == number:
            spans[-1] = (number, spans[-1][1] + 1)
        elif self._count == MOST_READS:
            self._whole = False
        else:
            self._count += 1
            self._seen[key] = [*spans, (number, 1)]

    def of(self, token: str) -> Reads | None:
        """What the task with this token was given; None where it read nothing."""
        if token != self.token or not self._seen:
            return None
        return Reads({key: tuple(spans) for key, spans in self._seen.items()}, self._whole)
