"""What a connection remembers between commits: it asks for less, and never believes what is over."""

from __future__ import annotations

import select

import pytest

from goflow.backend import Retry
from goflow.errors import BackendError
from goflow.message import Claim, Outcome
from goflow.state import RunState
from goflow.testing.store import Worker, closes, edge, failure, outcome, request, scopes, success
from goflow_local import LocalBackend
from goflow_local.change import Change
from tests.local.conftest import Open

KEYS = [str(number) for number in range(6)]


def begun(backend: LocalBackend) -> tuple[Worker, Claim]:
    """A worker with the third item of the branch of a run that it owns, after two commits of items."""
    worker = Worker(backend)
    backend.submit(request("r", "each", owner=worker.id))
    worker.open(worker.one("each", "r"), scopes("each", KEYS))
    return worker, following(worker, following(worker, worker.one(None, "r")))


def following(worker: Worker, claim: Claim) -> Claim:
    """Commit an item's result; the task that came with the answer."""
    accepted, claims = worker.backend.commit([done(claim)], worker.ask(1, "r"))
    assert accepted == [True]
    assert len(claims) == 1
    return claims[0]


def done(claim: Claim) -> Outcome:
    """An item's result."""
    key = claim.task.path.removeprefix("each[").removesuffix("]/x")
    return success(claim, b"x", closes("each", key))


def to_the_end(worker: Worker, claims: list[Claim]) -> None:
    """Execute what is left, items and the branch's closing."""
    while claims:
        claim = claims.pop()
        task = claim.task
        ended = success(claim, b"all", ends=True) if task.closing else done(claim)
        accepted, more = worker.backend.commit([ended], worker.ask(1, "r"))
        assert accepted == [True]
        claims += more


def test_a_lone_result_after_another_reads_nothing_but_the_queue(open_store: Open) -> None:
    backend = open_store()
    worker, claim = begun(backend)
    reads: list[str] = []

    def note(_: object, statement: str, __: object) -> bool:
        if statement.startswith("SELECT"):
            reads.append(statement)
        return True

    backend._store._connection.exec_trace = note
    following(worker, claim)
    backend._store._connection.exec_trace = None
    assert [statement.partition(" FROM ")[2].split()[0] for statement in reads] == ["queue"]


def test_a_step_of_a_chain_looks_once_into_the_queue_though_more_is_asked_for(
    open_store: Open,
) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", "a", owner=worker.id))
    claim = worker.one("a", "r")
    looks: list[str] = []

    def note(_: object, statement: str, __: object) -> bool:
        if " FROM queue" in statement:
            looks.append(statement)
        return True

    backend._store._connection.exec_trace = note
    accepted, claims = backend.commit([success(claim, b"x", edge("a", "b"))], worker.ask(32, "r"))
    backend._store._connection.exec_trace = None
    assert accepted == [True]
    assert [claim.task.path for claim in claims] == ["b"]
    assert len(looks) == 1


def test_a_pause_of_another_process_is_seen_by_the_next_commit(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker, claim = begun(backend)
    other.control("r", "pause")
    assert backend.commit([done(claim)], worker.ask(1, "r")) == ([True], [])
    other.control("r", "resume")
    to_the_end(worker, [worker.one(None, "r")])
    assert backend.run("r").state == RunState.SUCCEEDED


def test_a_pause_of_the_same_process_is_seen_by_the_next_commit(open_store: Open) -> None:
    backend = open_store()
    worker, claim = begun(backend)
    backend.control("r", "pause")
    assert backend.commit([done(claim)], worker.ask(1, "r")) == ([True], [])


def test_a_task_that_another_process_took_back_is_refused(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker, claim = begun(backend)
    other.leave(worker.id)
    accepted, _ = backend.commit([done(claim)], worker.ask(1, "r"))
    assert accepted == [False]


def test_what_another_process_has_read_meanwhile_makes_nobody_forget(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker, claim = begun(backend)
    memory = backend._store._memory
    assert other.run("r").state == RunState.RUNNING
    following(worker, claim)
    assert backend._store._memory is memory


def test_who_begins_to_listen_between_two_commits_is_told_of_the_second(open_store: Open) -> None:
    backend, other = open_store(), open_store()
    worker, claim = begun(backend)
    with other.watch("r") as waker:
        following(worker, claim)
        assert select.select([waker], [], [], 5)[0] == [waker]


def test_a_commit_that_came_to_nothing_leaves_nothing_behind(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_store()
    worker, claim = begun(backend)

    def refuse(self: Change) -> list[int]:
        raise BackendError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Change, "finish", refuse)
        with pytest.raises(BackendError):
            backend.commit([done(claim)], worker.ask(1, "r"))
    to_the_end(worker, [claim])
    assert backend.result("r").data == b"all"
    each = next(node for node in backend.nodes("r") if node.path == "each")
    assert each.done == len(KEYS)


def test_a_run_that_fails_and_is_retried_counts_each_item_once(open_store: Open) -> None:
    backend = open_store()
    worker, claim = begun(backend)
    claim = following(worker, claim)
    assert backend.commit([outcome(claim, failure=failure(claim))], worker.ask(1, "r")) == (
        [True],
        [],
    )
    assert backend.run("r").state == RunState.FAILED
    backend.retry("r", Retry(owner=worker.id))
    to_the_end(worker, [worker.one(None, "r")])
    assert backend.run("r").state == RunState.SUCCEEDED
    each = next(node for node in backend.nodes("r") if node.path == "each")
    assert each.done == len(KEYS)
