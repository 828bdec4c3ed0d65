"""Messages between a supervisor and a child, small and large, whole however they are cut on the way."""

from __future__ import annotations

import threading
from multiprocessing import Pipe

import pytest

from goflow.wire import Reins, Wire

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
