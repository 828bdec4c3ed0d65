"""A run's attempts as people count them: by node, the opening and closing of a branch as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from goflow.backend import Attempt

#: seconds within which two starts are the same: stores round to milliseconds
SAME: Final = 0.0015


def counted(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts in their order without openings of branches that a closing followed.

    A store may record both; the closing then counts from the opening, or is an attempt of the same number.
    """
    told: list[Attempt | None] = []
    last: dict[str, int] = {}
    for attempt in attempts:
        place = last.get(attempt.path)
        before = None if place is None else told[place]
        if place is not None and before is not None and _opens(before, attempt):
            told[place] = None
        last[attempt.path] = len(told)
        told.append(attempt)
    return [each for each in told if each is not None]


def _opens(before: Attempt, after: Attempt) -> bool:
    """Whether an attempt opened the branch that the next one of its node closes."""
    if before.state != "succeeded":
        return False
    same = (before.round, before.attempt) == (after.round, after.attempt)
    return same or abs(before.started - after.started) <= SAME
