"""Being asked to end: by SIGTERM, SIGINT, or SIGHUP, which a terminal sends that closes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_end(handle: Callable[[bool], None]) -> Iterator[list[int]]:
    """Call `handle(True)` at the first of these signals, `handle(False)` at later ones; yields those that came.

    SIGHUP is never a later one: of a terminal that closes its shell tells, and then the kernel once more, which
    may be after the block. Where it is ignored (`nohup`) it stays so. Only the main thread gets signals: in
    others nothing is caught, and whoever owns the thread says when to end.
    """
    caught: list[int] = []
    hung_up = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal hung_up
        hung_up = hung_up or number == signal.SIGHUP
        if number == signal.SIGHUP and caught:
            return
        caught.append(number)
        handle(len(caught) == 1)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    try:
        before = [signal.signal(number, handler) for number in numbers]
    except ValueError:  # not the main thread
        yield caught
        return
    try:
        yield caught
    finally:
        for number, former in zip(numbers, before, strict=True):
            again = number == signal.SIGHUP and hung_up and former is signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if again else former)
