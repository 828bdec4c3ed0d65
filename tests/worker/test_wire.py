"""Messages between a supervisor and a child, small and large, whole however they are cut on the way."""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

from goflow.wire import Reins, Wire
from tests.worker.bench import PATIENCE

MESSAGES = [b"", b"small", bytes(range(256)) * 4096, b"last", b"y" * 3_000_001]


def test_a_child_gets_what_its_supervisor_sends() -> None:
    ours, theirs = Pipe()
    reins = Reins(ours)
    got: list[bytes] = []

    def child() -> None:
        wire = Wire(theirs)
        got.extend(bytes(wire.receive()) for _ in MESSAGES)

    reading = threading.Thread(target=child)
    for message in MESSAGES:
        reins.send(message)
    assert reins.full
    reading.start()
    while reins.full:
        reins.push()
    reading.join()
    assert got == MESSAGES


def test_a_supervisor_gets_what_a_child_sends() -> None:
    ours, theirs = Pipe()
    reins = Reins(ours)
    got: list[bytes] = []

    def child() -> None:
        for message in MESSAGES:
            Wire(theirs).send(message)

    writing = threading.Thread(target=child)
    writing.start()
    while len(got) < len(MESSAGES):
        if (message := reins.next()) is not None:
            got.append(bytes(message))
    writing.join()
    assert got == MESSAGES


@pytest.mark.parametrize("size", [100, 5_000_000])
def test_a_message_is_no_part_of_the_next(size: int) -> None:
    ours, theirs = Pipe()
    reins, wire = Reins(ours), Wire(theirs)

    def child() -> None:
        for n in range(3):
            wire.send(bytes([n]) * size)

    writing = threading.Thread(target=child)
    writing.start()
    got: list[bytes | memoryview] = []
    while len(got) < 3:
        if (message := reins.next()) is not None:
            got.append(message)
    writing.join()
    assert [bytes(message) for message in got] == [bytes([n]) * size for n in range(3)]


def sleeps(pid: int) -> int | None:
    """How often a process has gone to sleep, None where it is awake."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    asleep = told["State"].strip().startswith("S")
    return int(told["voluntary_ctxt_switches"]) if asleep else None


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux does")
def test_a_child_that_waits_is_not_woken_when_its_answer_is_taken() -> None:
    ours, theirs = Pipe()
    reins = Reins(ours)
    pid = os.fork()
    if not pid:
        try:
            ours.close()
            wire = Wire(theirs)
            wire.send(b"an answer")
            wire.send(bytes(wire.receive()))
        finally:
            os._exit(0)
    theirs.close()
    deadline = time.monotonic() + PATIENCE
    before = None
    while before is None or sleeps(pid) != before:  # it has come to rest
        assert time.monotonic() < deadline
        before = sleeps(pid)
        time.sleep(0.1)
    assert reins.next() == b"an answer"
    time.sleep(0.1)
    assert sleeps(pid) == before
    reins.send(b"the next")
    while (message := reins.next()) is None:
        assert time.monotonic() < deadline
    assert message == b"the next"
    os.waitpid(pid, 0)
