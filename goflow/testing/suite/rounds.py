"""Retrying a run: a new round continues from what is unfinished, or repeats from a node."""

from __future__ import annotations

import pytest

from goflow.backend import Retry
from goflow.errors import Conflict, RunFailed
from goflow.message import Rewind
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import FLOW, Store, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Rounds(Suite):
    def test_a_new_round_continues_from_the_failed_node(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "b"), writes={"k": Payload(b"v")})
        assert w.retry(w.one("b"), at=0)
        store.tick()
        old = w.one("b")
        assert w.fail(old)
        self.again(store)
        with pytest.raises(Conflict):
            store.backend.result("r")
        assert store.output("a") == b"A"
        assert store.backend.context("r", "k") == Payload(b"v")
        new = w.one("b")
        assert w.claim() == [], "a is not repeated"
        assert (new.task.attempt, new.task.lost) == (1, 0), "a new round, a new count of attempts"
        assert new.task.round == 1, "the same idempotency key"
        assert new.task.failure is None
        assert w.data(new) == {"a": b"A"}
        assert not w.succeed(old, b"late")
        assert w.succeed(new, b"B", ends=True)
        assert store.state() is RunState.SUCCEEDED
        assert store.backend.result("r").data == b"B"

    def test_a_new_round_is_there_for_every_connection_and_survives(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.fail(w.one("a"))
        self.again(store)
        store.reopen()
        assert (store.run().round, store.state()) == (2, RunState.QUEUED)
        assert store.worker().paths() == ["a"]

    def test_a_new_round_follows_the_edges_of_siblings_that_finished(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", "d")
        a, b, c = w.one("a"), w.one("b"), w.one("c")
        assert w.fail(a)
        assert w.succeed(b, b"B", edge("b", "join", 2), edge("b", "next"))
        assert w.retry(c, at=0)
        assert w.claim() == []
        self.again(store)
        claims = {claim.task.path: claim for claim in w.claim()}
        assert set(claims) == {"a", "c", "d", "next"}
        assert w.data(claims["next"]) == {"b": b"B"}
        assert w.succeed(claims["a"], b"A", edge("a", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}

    def test_a_stopped_run_continues_in_a_new_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", handlers=("~finally",))
        a, b = w.one("a"), w.one("b")
        store.backend.control("r", "stop")
        assert w.killed(a)
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.succeed(w.one("~finally"))
        self.again(store)
        a, c = w.each("a", "c")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.succeed(c, b"C")
        assert w.succeed(w.one("join"), b"J", ends=True)
        assert w.one("~finally").task.outcome == "succeeded"

    def test_a_run_stopped_before_it_began_starts_in_a_new_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        store.backend.control("r", "stop")
        self.again(store)
        assert w.paths() == ["a", "b"]
        assert store.run().started is not None

    def test_a_run_stopped_when_its_end_was_recorded_succeeds_in_a_new_round(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r1")
        store.submit("r2", handlers=("~finally",))
        claims = {c.task.run_id: c for c in w.claim()}
        for run_id, claim in claims.items():
            store.backend.control(run_id, "stop")
            assert w.succeed(claim, b"A", ends=True)
        assert w.succeed(w.one("~finally"))
        for run_id in claims:
            assert store.state(run_id) is RunState.STOPPED
            store.backend.retry(run_id, Retry())
        assert store.state("r1") is RunState.SUCCEEDED, "nothing of it is left to do"
        assert w.one("~finally").task.outcome == "succeeded"
        assert store.backend.result("r1").data == b"A"

    def test_handlers_run_once_at_the_end_of_each_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~on_failure", "~finally"))
        for number in (1, 2):
            assert w.fail(w.one("a"), f"failure {number}")
            handler = w.one("~on_failure")
            assert handler.task.failure is not None
            assert handler.task.failure.message == f"failure {number}"
            assert handler.task.attempt == 1
            assert w.succeed(handler)
            assert w.succeed(w.one("~finally"))
            assert w.claim() == []
            assert store.state() is RunState.FAILED
            self.again(store)
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert w.one("~finally").task.outcome == "succeeded"
        assert w.claim() == []

    def test_an_open_branch_goes_on_where_it_was(self, store: Store) -> None:
        w = store.worker()
        keys = tuple("abcd")
        store.submit("r", "each")
        assert w.open(w.one("each"), scopes("each", keys), window=2, keys=keys)
        a, b = w.each("each[a]/x", "each[b]/x")
        assert w.fail(a)
        assert w.succeed(b, b"B", closes("each", "b"))
        self.again(store)
        held = {c.task.path: c for c in w.claim()}
        assert set(held) == {"each[a]/x", "each[c]/x"}, "the window is as wide as before"
        assert w.data(held["each[a]/x"]) == {"": b"a"}
        assert w.succeed(held["each[a]/x"], b"A", closes("each", "a"))
        assert w.succeed(held["each[c]/x"], b"C", closes("each", "c"))
        assert w.succeed(w.one("each[d]/x"), b"D", closes("each", "d"))
        closing = w.one("each")
        assert (closing.task.closing, closing.task.keys) == (True, keys)
        assert w.data(closing) == {"a": b"A", "b": b"B", "c": b"C", "d": b"D"}

    def test_a_branch_that_opened_during_a_stop_goes_on_in_a_new_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        branch = w.one("each")
        store.backend.control("r", "stop")
        assert w.open(branch, scopes("each", "ab"), window=1, keys=("a", "b"))
        assert w.claim() == []
        assert store.state() is RunState.STOPPED
        self.again(store)
        assert w.succeed(w.one("each[a]/x"), b"A", closes("each", "a"))
        assert w.succeed(w.one("each[b]/x"), b"B", closes("each", "b"))
        assert w.data(w.one("each")) == {"a": b"A", "b": b"B"}

    def test_a_new_round_shows_the_scopes_it_begins_with(self, store: Store) -> None:
        """Before anybody asks: workers are called for by what waits."""
        w = store.worker()
        store.submit("r", "a", "each")
        a, each = w.each("a", "each")
        assert w.fail(a)
        assert w.open(each, scopes("each", "kl"))
        assert FLOW not in store.backend.waiting(), "the run is about to end"
        self.again(store)
        store.tick()
        assert store.backend.waiting()[FLOW] == 3
        assert w.paths() == ["a", "each[k]/x", "each[l]/x"]

    def test_a_branch_that_failed_to_close_closes_in_the_new_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), scopes("each", "a"), keys=("a",))
        assert w.succeed(w.one("each[a]/x"), b"A", closes("each", "a"))
        assert w.fail(w.one("each"))
        self.again(store)
        closing = w.one("each")
        assert closing.task.closing
        assert w.data(closing) == {"a": b"A"}
        assert w.claim() == []

    def test_a_rescue_that_failed_starts_with_the_node_itself(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.rescue(w.one("a"))
        assert w.fail(w.one("a"))
        self.again(store)
        assert w.one("a").task.failure is None

    def test_a_timed_out_run_has_its_time_again(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", timeout=3600.0)
        assert w.fail(w.one("a"))
        self.again(store)
        assert store.run().started is None, "a round's time is its own"
        claim = w.one("a")
        store.tick()
        assert store.state() is RunState.RUNNING
        assert w.succeed(claim, b"A", ends=True)

    def test_what_is_on_its_way_cannot_be_retried(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", handlers=("~finally",))
        for step in ("queued", "running", "paused", "stopping", "finally"):
            if step == "running":
                a, b = w.each("a", "b")
            elif step == "paused":
                store.backend.control("r", "pause")
            elif step == "stopping":
                store.backend.control("r", "stop")
            elif step == "finally":
                assert w.killed(a)
                assert w.killed(b)
                w.one("~finally")
            before = store.run()
            with pytest.raises(Conflict):
                store.backend.retry("r", Retry())
            with pytest.raises(Conflict):
                store.backend.retry("r", Retry(rewind=Rewind(removed=("a",), ready=("a",))))
            assert store.run() == before

    def test_a_succeeded_run_is_not_retried_without_a_rewind(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        before = store.run()
        with pytest.raises(Conflict):
            store.backend.retry("r", Retry())
        assert store.run() == before
        assert store.backend.result("r").data == b"C"

    def test_retrying_twice_opens_one_round(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.fail(w.one("a"))
        self.again(store)
        with pytest.raises(Conflict):
            store.backend.retry("r", Retry())
        assert store.run().round == 2
        assert w.paths() == ["a"]

    def test_earlier_rounds_stay_visible(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "b"), log=b"one\n")
        assert w.fail(w.one("b"), "first", log=b"two\n")
        with pytest.raises(RunFailed, match="first"):
            store.backend.result("r")
        self.again(store)
        assert w.succeed(w.one("b"), b"B", ends=True, log=b"three\n")
        assert [(t.path, t.round, t.attempt, t.state) for t in store.backend.attempts("r")] == [
            ("a", 1, 1, "succeeded"),
            ("b", 1, 1, "failed"),
            ("b", 2, 1, "succeeded"),
        ]
        assert [(line.path, line.round, line.data) for line in store.backend.logs("r")] == [
            ("a", 1, b"one\n"),
            ("b", 1, b"two\n"),
            ("b", 2, b"three\n"),
        ]

    def test_a_run_can_fail_and_be_retried_many_times(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        for number in range(1, 6):
            claim = w.one("a")
            assert (claim.task.round, claim.task.attempt) == (1, 1)
            assert store.run().round == number
            assert w.fail(claim, f"failure {number}")
            self.again(store)
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert store.backend.result("r").data == b"A"
        assert [a.round for a in store.backend.attempts("r")] == [1, 2, 3, 4, 5, 6]
