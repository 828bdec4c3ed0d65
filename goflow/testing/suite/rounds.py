"""Retrying a run: a new round continues from what is unfinished, or repeats from a node."""

from __future__ import annotations

import pytest

from goflow.backend import Retry
from goflow.errors import Conflict, RunFailed
from goflow.message import Arrival, Item, Rewind
from goflow.payload import Payload
from goflow.state import NodeState, RunState
from goflow.testing.store import FLOW, NEWER, Store, Worker, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Rounds(Suite):
    def again(self, store: Store, rewind: Rewind | None = None, run_id: str = "r") -> None:
        """Open a new round, which must be queued and one higher."""
        before = store.run(run_id)
        run = store.backend.retry(run_id, Retry(rewind=rewind))
        assert run == store.run(run_id)
        assert run.state is RunState.QUEUED
        assert run.round == before.round + 1
        assert (run.finished, run.error, run.failure, run.ending) == (None, None, None, None)
        assert run.created == before.created

    def chain(self, store: Store, worker: Worker) -> None:
        """A run a -> b -> c that has succeeded."""
        store.submit("r")
        assert worker.succeed(worker.one("a"), b"A", edge("a", "b"), writes={"k": Payload(b"1")})
        assert worker.succeed(worker.one("b"), b"B", edge("b", "c"))
        assert worker.succeed(worker.one("c"), b"C", ends=True)
        assert store.state() is RunState.SUCCEEDED

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
        assert store.run().started is None or store.state() is RunState.QUEUED
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

    def test_a_node_and_all_after_it_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        gone = Rewind(removed=("b", "c", "~result"), ready=("b",), dropped=(("c", "b", False),))
        self.again(store, gone)
        assert store.output("a") == b"A"
        assert store.output("b") is None
        assert store.output("c") is None
        assert store.nodes() == {"a": NodeState.SUCCEEDED, "b": NodeState.READY}
        with pytest.raises(Conflict):
            store.backend.result("r")
        b = w.one("b")
        assert (b.task.round, b.task.attempt) == (2, 1), "a repeated node has a new idempotency key"
        assert w.data(b) == {"a": b"A"}
        assert w.succeed(b, b"B2", edge("b", "c"))
        c = w.one("c")
        assert c.task.round == 2
        assert w.data(c) == {"b": b"B2"}
        assert w.succeed(c, b"C2", ends=True)
        assert store.backend.result("r").data == b"C2"
        assert store.backend.context("r", "k") == Payload(b"1")

    def test_a_start_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        dropped = (("b", "a", False), ("c", "b", False))
        self.again(store, Rewind(removed=("a", "b", "c"), ready=("a",), dropped=dropped))
        assert w.data(w.one("a")) == {"": b"in"}
        assert w.claim() == []

    def test_a_join_keeps_what_came_from_nodes_that_are_not_repeated(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.succeed(w.one("join"), b"J", ends=True)
        dropped = (("join", "b", False),)
        self.again(store, Rewind(removed=("b", "join"), ready=("b",), dropped=dropped))
        assert store.backend.arrivals("r", "join") == [("a", Payload(b"A"))]
        assert w.succeed(w.one("b"), b"B2", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B2"}

    def test_repeating_a_node_that_was_ready_already_makes_it_ready_once(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        store.backend.control("r", "stop")
        self.again(store, Rewind(removed=("a",), ready=("a",)))
        assert store.backend.waiting().get(FLOW, 0) == 2
        assert w.paths() == ["a", "b"]

    def test_what_else_is_unfinished_goes_on_beside_a_repeated_node(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b = w.one("a"), w.one("b")
        assert w.succeed(a, b"A", edge("a", "d"))
        assert w.fail(b)
        dropped = (("d", "a", False),)
        self.again(store, Rewind(removed=("a", "d"), ready=("a",), dropped=dropped))
        claims = {c.task.path: c.task.round for c in w.claim()}
        assert claims == {"a": 2, "b": 1, "c": 1}

    def test_a_repeated_branch_opens_anew(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "each"))
        assert w.open(w.one("each"), scopes("each", "ab"), keys=("a", "b"))
        for claim in w.each("each[a]/x", "each[b]/x"):
            assert w.succeed(claim, b"old", closes("each", claim.task.path[5]))
        assert w.succeed(w.one("each"), b"old", ends=True)
        self.again(store, Rewind(removed=("each",), ready=("each",)))
        assert store.nodes() == {"a": NodeState.SUCCEEDED, "each": NodeState.READY}
        branch = w.one("each")
        assert not branch.task.closing
        assert w.data(branch) == {"a": b"A"}
        assert w.open(branch, scopes("each", "bc"), keys=("b", "c"))
        claims = w.each("each[b]/x", "each[c]/x")
        assert [c.task.round for c in claims] == [2, 2]
        for claim in claims:
            assert w.succeed(claim, b"new", closes("each", claim.task.path[5]))
        closing = w.one("each")
        assert closing.task.keys == ("b", "c")
        assert w.data(closing) == {"b": b"new", "c": b"new"}

    def test_a_node_inside_a_branch_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), scopes("each", "ab"), window=1, keys=("a", "b"))
        for key in "ab":
            claim = w.one(f"each[{key}]/x")
            assert w.succeed(claim, key.encode(), edge("x", f"each[{key}]/y"))
            assert w.succeed(w.one(f"each[{key}]/y"), key.encode(), closes("each", key))
        assert w.succeed(w.one("each"), b"old", edge("each", "end"))
        assert w.succeed(w.one("end"), b"old", ends=True)
        rewind = Rewind(
            removed=("each[a]/y", "end", "~result"),
            ready=("each[a]/y",),
            dropped=(("each", "a", True), ("end", "each", False)),
            reopened=("each",),
        )
        self.again(store, rewind)
        node = store.node("each")
        assert (node.state, node.width, node.done) == (NodeState.RUNNING, 2, 1)
        assert store.output("each") is None
        y = w.one("each[a]/y")
        assert w.claim() == []
        assert y.task.round == 2
        assert w.data(y) == {"x": b"a"}
        assert w.succeed(y, b"new", closes("each", "a"))
        closing = w.one("each")
        assert (closing.task.closing, closing.task.keys) == (True, ("a", "b"))
        assert w.data(closing) == {"a": b"new", "b": b"b"}
        assert w.succeed(closing, b"all", edge("each", "end"))
        end = w.one("end")
        assert w.data(end) == {"each": b"all"}
        assert w.succeed(end, b"new", ends=True)
        assert store.backend.result("r").data == b"new"

    def test_removing_the_join_of_a_scope_leaves_the_scopes_other_nodes(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), [Item("each[k]/", ("x", "y"), Payload(b""))], keys=("k",))
        x, y = w.each("each[k]/x", "each[k]/y")
        assert w.succeed(x, b"X", edge("x", "each[k]", 2))
        assert w.succeed(y, b"Y", edge("y", "each[k]", 2))
        assert w.succeed(w.one("each[k]"), b"K", closes("each", "k"))
        assert w.succeed(w.one("each"), b"all", ends=True)
        rewind = Rewind(
            removed=("each[k]/y", "each[k]"),
            ready=("each[k]/y",),
            dropped=(("each", "k", True), ("each[k]", "y", False)),
            reopened=("each",),
        )
        self.again(store, rewind)
        assert store.output("each[k]/x") == b"X"
        assert store.output("each[k]") is None
        assert w.succeed(w.one("each[k]/y"), b"Y2", edge("y", "each[k]", 2))
        assert w.data(w.one("each[k]")) == {"x": b"X", "y": b"Y2"}

    def test_removing_a_node_leaves_those_whose_names_begin_alike(self, store: Store) -> None:
        w = store.worker()
        names = ("a.b", "ab", "a-1", "A", "a")
        store.submit("r", *names)
        for claim in w.each(*names):
            assert w.succeed(claim, b"old", ends=claim.task.path == "a")
        self.again(store, Rewind(removed=("a",), ready=("a",)))
        assert w.paths() == ["a"]
        assert {p for p, s in store.nodes().items() if s is NodeState.SUCCEEDED} == {
            "a.b",
            "ab",
            "a-1",
            "A",
        }

    def test_an_adopted_run_moves_to_the_new_definition(self, store: Store) -> None:
        w, newer = store.worker(FLOW), store.worker(NEWER)
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "c"))
        assert w.fail(b)
        added = (("a", Arrival("d", "a", 1)), ("a", Arrival("c", "a", 1)))
        self.again(store, Rewind(arrivals=added, fingerprint=NEWER[1]))
        assert store.run().fingerprint == NEWER[1]
        assert w.claim() == []
        claims = {c.task.path: c for c in newer.claim()}
        assert set(claims) == {"b", "c", "d"}, "what was there, and what the new edge leads to"
        assert {c.task.fingerprint for c in claims.values()} == {NEWER[1]}
        assert newer.data(claims["d"]) == {"a": b"A"}
        assert newer.data(claims["c"]) == {"a": b"A"}

    def test_an_added_arrival_may_complete_a_join(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.succeed(b, b"B")
        assert w.fail(c)
        self.again(store, Rewind(arrivals=(("b", Arrival("join", "b", 2)),)))
        claims = {claim.task.path: claim for claim in w.claim()}
        assert set(claims) == {"c", "join"}
        assert w.data(claims["join"]) == {"a": b"A", "b": b"B"}

    def test_an_added_arrival_that_is_there_already_does_not_count(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.fail(b)
        self.again(store, Rewind(arrivals=(("a", Arrival("join", "a", 2)),)))
        b = w.one("b")
        assert w.claim() == [], "the join still waits for b"
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}

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
