"""Outlasting a store that is away: what a worker does, and nobody who waits for an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from goflow.errors import BackendError, StoreAway

T = TypeVar("T")

#: seconds before each further attempt; the last one for ever
PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def pause(attempt: int) -> float:
    """Seconds to wait after so many attempts that failed (from 0)."""
    return PAUSES[min(attempt, len(PAUSES) - 1)]


def patiently(ask: Callable[[], T], troubled: Callable[[BackendError], None]) -> T:
    """What `ask()` answers once the store is there; `troubled` hears of each failure. A store that refuses
    (a wrong password, another schema) is no matter of patience: that error is raised."""
    for attempt in count():
        try:
            return ask()
        except StoreAway as error:
            troubled(error)
            time.sleep(pause(attempt))
    raise AssertionError("counting does not end")
