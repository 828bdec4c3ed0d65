"""Whoever lost a claim in a failover comes back: the same entry has been handed out again, to somebody else.

Each check holds for the real scripts, and `test_mutants.py` shows that it notices when its fence is gone.
"""

from __future__ import annotations

from typing import NamedTuple

from goflow.message import Claim, Step
from goflow.testing.store import Store, Worker, outcome, scopes, success
from goflow_redis import RedisBackend


class Haunted(NamedTuple):
    """One task, as the worker holds it whose claim the store has lost, and as the one does who holds it now."""

    one: Worker
    lost: Claim
    other: Worker
    held: Claim


def haunted(store: Store, path: str = "a") -> Haunted:
    """A task that a worker claimed, and another claimed anew, since the first claim was lost."""
    one, other = store.worker(own=True), store.worker(own=True)
    store.submit("r", path)
    before = store.snapshot()
    lost = one.one(path)
    store.restore(before)
    held = other.one(path)
    assert held.task.ready == lost.task.ready, "the very entry"
    return Haunted(one, lost, other, held)


def its_outcome_is_refused(store: Store) -> None:
    """Whether it says who it is or not, before the holder's own outcome and after it."""
    one, lost, other, held = haunted(store)
    late = success(lost, b"late", ends=True)
    for ask in (one.ask(), None):
        assert one.backend.commit([late], ask)[0] == [False]
    assert other.backend.commit([success(held, b"A", ends=True)])[0] == [True]
    for ask in (one.ask(), None):
        assert one.backend.commit([late], ask)[0] == [False]
    assert store.backend.result("r").data == b"A"


def it_cannot_hand_the_task_back(store: Store) -> None:
    """What it returns as unstarted, or as failed, is somebody else's."""
    one, lost, other, held = haunted(store)
    assert not one.release(lost)
    assert not one.fail(lost)
    assert not one.retry(lost, at=0)
    assert other.succeed(held, b"A", ends=True)


def its_renewal_keeps_no_lease(store: Store) -> None:
    """It hears that it has lost the task; the holder has not."""
    one, lost, other, held = haunted(store)
    assert one.lost(lost) == [("a", "lost")]
    assert other.lost(held) == []


def its_scopes_are_not_among_those_of_the_holder(store: Store) -> None:
    """What it stages for a branch does not open with the holder's."""
    one, lost, other, held = haunted(store, "each")
    one.backend.stage(lost.task, scopes("each", "xy"))
    other.backend.stage(held.task, scopes("each", "a"))
    one.backend.stage(lost.task, scopes("each", "z"))
    assert other.open(held, scopes("each", "b"), expects=2)
    assert other.paths() == ["each[a]/x", "each[b]/x"]


def what_it_prints_is_not_kept(store: Store) -> None:
    """Its prints are not those of the holder's attempt."""
    one, lost, other, held = haunted(store)
    assert isinstance(one.backend, RedisBackend)
    assert isinstance(other.backend, RedisBackend)
    one.backend.printed([(lost.task, b"late")])
    other.backend.printed([(held.task, b"mine")])
    assert [line.data for line in store.backend.logs("r")] == [b"mine"]


def a_worker_is_told_apart_from_itself(store: Store) -> None:
    """A worker that claims again what it lost can tell the two attempts apart, as the store does."""
    w = store.worker()
    store.submit("r")
    before = store.snapshot()
    lost = w.one("a")
    store.restore(before)
    held = w.one("a")
    assert w.lost(lost, held) == [("a", "lost")]
    assert not w.commit(outcome(lost, step=Step()))
    assert w.succeed(held, b"A", ends=True)


CHECKS = (
    its_outcome_is_refused,
    it_cannot_hand_the_task_back,
    its_renewal_keeps_no_lease,
    its_scopes_are_not_among_those_of_the_holder,
    what_it_prints_is_not_kept,
    a_worker_is_told_apart_from_itself,
)
