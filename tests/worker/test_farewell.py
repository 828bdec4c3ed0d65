"""Being asked to end: what a signal does within the block, and what it leaves behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from goflow.farewell import asked_to_end


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """SIGHUP as a process has it that was not started with `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def asked(*numbers: int) -> list[bool]:
    """What the handler is told when these signals come within the block."""
    told: list[bool] = []
    with asked_to_end(told.append):
        for number in numbers:
            os.kill(os.getpid(), number)
    return told


def test_a_second_signal_is_told_as_one_but_a_hangup_never_is() -> None:
    assert asked(signal.SIGTERM, signal.SIGINT) == [True, False]
    assert asked(signal.SIGHUP, signal.SIGHUP) == [True]


def test_after_a_signal_of_another_kind_a_terminal_that_closes_ends_the_process_as_before() -> None:
    asked(signal.SIGINT)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_after_a_hangup_the_second_one_of_the_same_terminal_does_nothing() -> None:
    asked(signal.SIGTERM, signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_where_hangups_are_ignored_they_stay_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert asked(signal.SIGHUP) == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
