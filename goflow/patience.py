"""Outlasting a store that is away: what workers do, and who waits for a run; a single question gets its error."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final, TypeVar

from goflow.errors import BackendError, StoreAway, StoreFull

T = TypeVar("T")

#: seconds before each further attempt; the last one for ever
PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def pause(attempt: int) -> float:
    """Seconds to wait after so many attempts that failed (from 0)."""
    return PAUSES[min(attempt, len(PAUSES) - 1)]


def patiently(
    ask: Callable[[], T],
    troubled: Callable[[BackendError], None],
    until: float = inf,
    *,
    full: bool = False,
) -> T:
    """What `ask()` answers once the store is there, and where it writes (`full`), once there is room; `troubled`
    hears of each failure. A store that refuses (a wrong password, another schema) is no matter of patience: that
    error is raised, and so is the one of an attempt at `until` (monotonic seconds)."""
    passing = (StoreAway, StoreFull) if full else (StoreAway,)
    for attempt in count():
        try:
            return ask()
        except passing as error:
            left = until - time.monotonic()
            if left <= 0:
                raise
            troubled(error)
            time.sleep(min(pause(attempt), left))
    raise AssertionError("counting does not end")


class Outlast:
    """Asks patiently for somebody who waits, and says once that the store is away and once that it is back."""

    def __init__(self, say: Callable[[str], None], until: float = inf) -> None:
        self._say = say
        self._until = until

    def __call__(self, ask: Callable[[], T]) -> T:
        """What `ask()` answers once the store is there; its error when it is `until`."""
        away = False

        def troubled(error: BackendError) -> None:
            nonlocal away
            if not away:
                self._say(f"{error} (trying again)")
            away = True

        answer = patiently(ask, troubled, self._until)
        if away:
            self._say("it is there again")
        return answer


def outlasting(deadline: float | None) -> Outlast:
    """Asks patiently until then (monotonic); a log tells of a store that is away."""
    return Outlast(warn, inf if deadline is None else deadline)


def warn(text: str) -> None:
    """Tell whoever reads the program's log."""
    import logging

    logging.getLogger("goflow").warning(text)
