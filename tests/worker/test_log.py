"""What tasks print: bounded, and recorded while they run, in pieces that can be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from goflow import aloud
from goflow.errors import BackendError
from goflow.log import Log
from goflow.message import Task
from tests.worker.bench import Bench

Pieces = Sequence[tuple[Task, bytes]]


def recorded(log: Log, data: bytes = b"") -> bytes:
    """Feed it, and have recorded what may be."""
    log.feed(data)
    piece = log.piece()
    log.recorded(piece)
    return piece


def test_whole_lines_are_recorded_first_and_then_what_there_is_of_one() -> None:
    log = Log(b"<end>", 1000)
    assert recorded(log, b"one\ntwo\nthr") == b"one\ntwo\n"
    assert log.waits
    assert recorded(log) == b"thr"
    assert not log.waits
    assert recorded(log, b"ee\n<e") == b"ee\n"
    log.feed(b"nd>next")
    assert not log.waits, "its task has ended"
    assert log.finished.popleft() == b""
    assert log.take() == b"next"


def test_no_character_is_torn() -> None:
    log = Log(b"<end>", 1000)
    text = "é€😀".encode()
    pieces = [recorded(log, text[place : place + 1]) for place in range(len(text))]
    assert [piece.decode() for piece in pieces if piece] == ["é", "€", "😀"]
    assert recorded(log, b"\xff\xfe") == b"\xff\xfe", "what is no UTF-8 waits for nothing"


def test_the_limit_is_of_all_pieces_together_and_of_each_task_anew() -> None:
    log = Log(b"<end>", 10)
    assert recorded(log, b"123456") == b"123456"
    assert recorded(log, b"789") == b"789"
    assert recorded(log, b"abcd") == b"a"
    log.feed(b"ef<end>0123456789<end>")
    assert list(log.finished) == [b"\n... 5 more bytes were not kept\n", b"0123456789"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aloud, "PAUSE", 0.05)


def heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], path: Path
) -> list[bytes]:
    """What the store is handed while tasks run; `path` is there once it has been. `before` comes first."""
    pieces: list[bytes] = []
    printed = bench.store.printed

    def listening(given: Pieces) -> None:
        before()
        printed(given)
        pieces.extend(data for _, data in given)
        path.touch()

    monkeypatch.setattr(bench.store, "printed", listening)
    return pieces


def patient(go: Path, *after: str) -> Callable[..., None]:
    """A node that prints, waits for a file and prints more."""

    def work(data: bytes) -> None:
        print("1234567890")
        while not go.exists():
            time.sleep(0.005)
        print(*after)

    return work


@pytest.mark.usefixtures("soon")
def test_the_commit_has_the_rest_within_the_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    pieces = heard(bench, monkeypatch, lambda: None, go)

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("work", patient(go, "1234567890"))

    run = bench.execute(define, log_limit=16)
    assert pieces == [b"1234567890\n"]
    rest = b"12345\n... 6 more bytes were not kept\n"
    assert [line.data for line in bench.store.logs(run.id)] == [*pieces, rest]


@pytest.mark.usefixtures("soon")
def test_what_the_store_does_not_take_comes_later_and_harms_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go, tries = tmp_path / "go", []

    def refuse_twice() -> None:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise BackendError("away")

    pieces = heard(bench, monkeypatch, refuse_twice, go)

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("work", patient(go, "end"))

    run = bench.execute(define)
    assert run.state == "succeeded"
    assert pieces == [b"1234567890\n"]
    assert bench.log(run) == b"1234567890\nend\n"
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(tries))


@pytest.mark.usefixtures("soon")
def test_what_an_attempt_printed_before_it_died_is_there_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    pieces = heard(bench, monkeypatch, lambda: None, go)

    def die(data: bytes) -> None:
        patient(go, "last words")(data)
        os._exit(1)

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("work", die)

    run = bench.execute(define)
    assert run.state == "failed"
    assert (
        pieces[0] == b"1234567890\n"
    )  # its last words come with its end, or by themselves before that is seen
    assert bench.log(run) == b"1234567890\nlast words\n"


def test_short_tasks_do_not_pay_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(aloud, "PAUSE", 30.0)
    pieces = heard(bench, monkeypatch, lambda: None, tmp_path / "go")

    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: list(range(50)))
        each.node("work", lambda data: print("said"))

    run = bench.execute(define)
    assert bench.log(run) == b"said\n" * 50
    assert pieces == []
