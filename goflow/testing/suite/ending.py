"""How a run ends: its result or failure, and what happens to the rest; then it is terminal and waiters wake."""

from __future__ import annotations

import time

import pytest

from goflow.errors import Conflict, RunFailed, RunStopped
from goflow.state import NodeState, RunState
from goflow.testing.model import SETTLED
from goflow.testing.store import Store, closes, edge, failure, scopes
from goflow.testing.suite.base import Suite
from goflow.testing.suite.handling import BOTH, FINALLY


class Ending(Suite):
    def test_the_end_nodes_output_is_the_result(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "b"))
        claim = w.one("b")
        with pytest.raises(Conflict):
            store.backend.result("r")
        assert w.succeed(claim, b"B", ends=True)
        run = store.run()
        assert run.state is RunState.SUCCEEDED
        assert run.state.terminal
        assert run.finished is not None
        assert run.error is None
        assert store.connect().result("r").data == b"B"
        assert store.nodes() == {"a": NodeState.SUCCEEDED, "b": NodeState.SUCCEEDED}
        assert w.claim() == []

    def test_a_node_that_failed_for_good_fails_the_run(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        assert w.fail(claim, "boom")
        run = store.run()
        assert run.state is RunState.FAILED
        assert run.failure == failure(claim, "boom")
        assert run.error is not None
        assert "boom" in run.error
        assert "a" in run.error
        assert run.finished is not None
        node = store.node("a")
        assert node.state is NodeState.FAILED
        assert node.failure == failure(claim, "boom")
        with pytest.raises(RunFailed, match="boom"):
            store.connect().result("r")

    def test_a_join_of_several_ends_that_fails_fails_the_run(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", handlers=BOTH)
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "~result", 2))
        assert w.succeed(b, b"B", edge("b", "~result", 2))
        assert w.fail(w.one("~result"), "boom")
        assert w.succeed(w.one("~on_failure"))
        assert w.succeed(w.one("~finally"))
        assert store.state() is RunState.FAILED
        assert store.run().error == "~result: ValueError: boom"

    def test_a_join_of_several_ends_does_not_start_in_a_run_that_is_ending(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", handlers=FINALLY)
        a, b, c = w.each("a", "b", "c")
        assert w.fail(c)
        assert w.succeed(a, b"A", edge("a", "~result", 2))
        assert w.succeed(b, b"B", edge("b", "~result", 2))
        assert w.succeed(w.one("~finally"))
        assert store.state() is RunState.FAILED
        assert store.output("~result") is None

    def test_siblings_of_a_failed_node_finish_and_are_recorded(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", handlers=BOTH)
        a, b = w.one("a"), w.one("b")
        assert w.fail(a)
        run = store.run()
        assert (run.state, run.ending) == (RunState.RUNNING, RunState.FAILED)
        assert w.claim() == [], "c does not start, handlers wait for b"
        assert w.lost(b) == [], "a sibling is let finish"
        assert w.succeed(b, b"B", edge("b", "d"))
        assert store.output("b") == b"B"
        assert w.paths() == ["~on_failure"]
        assert store.node("b").state is NodeState.SUCCEEDED

    def test_the_first_failure_is_the_runs(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", handlers=BOTH)
        a, b = w.each("a", "b")
        assert w.fail(a, "first")
        assert w.fail(b, "second")
        run = store.run()
        assert run.failure == failure(a, "first")
        assert store.node("b").state is NodeState.FAILED
        assert w.one("~on_failure").task.failure == failure(a, "first")

    def test_a_failing_run_does_not_try_again(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        assert w.retry(c, at=time.time() + 3600)
        assert w.fail(a)
        assert w.retry(b, at=0)
        store.tick()
        assert w.claim() == []
        assert store.state() is RunState.FAILED
        assert set(store.nodes().values()) == {NodeState.FAILED}, "their last attempts failed"

    def test_a_failing_run_does_not_rescue_a_sibling(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.fail(a)
        assert w.rescue(b)
        assert w.claim() == []
        assert store.state() is RunState.FAILED
        assert store.node("b").state is NodeState.FAILED

    def test_a_sibling_handed_back_by_a_failing_run_does_not_start_again(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.fail(a)
        assert w.release(b)
        assert w.claim() == []
        assert store.state() is RunState.FAILED
        assert store.node("b").state is NodeState.SKIPPED

    def test_a_sibling_whose_worker_vanishes_does_not_hold_up_the_end(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b", handlers=FINALLY)
        a, b = w.one("a"), zombie.one("b")
        assert w.fail(a)
        store.vanish(zombie)
        store.tick()
        assert w.succeed(w.one("~finally"))
        assert store.state() is RunState.FAILED
        assert not zombie.succeed(b, b"late")
        assert set(store.nodes().values()) <= SETTLED

    def test_what_never_ran_is_skipped_when_a_run_has_failed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", "each")
        a, b, each = (
            (claims := {c.task.path: c for c in w.claim(4)})["a"],
            claims["b"],
            claims["each"],
        )
        assert w.release(claims["c"])
        assert w.open(each, scopes("each", "01"), window=1, keys=None)
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.fail(a)
        states = store.nodes()
        assert set(states.values()) <= SETTLED
        assert states["c"] is NodeState.SKIPPED
        assert states["each[0]/x"] is NodeState.SKIPPED
        assert (states["a"], states["b"]) == (NodeState.FAILED, NodeState.SUCCEEDED)
        assert states.get("join", NodeState.SKIPPED) is NodeState.SKIPPED

    def test_a_run_is_over_when_its_end_is_recorded_whatever_else_is_ready(
        self, store: Store
    ) -> None:
        """The engine's plans have no such shape; a store must not depend on that."""
        w = store.worker()
        store.submit("r", "a", "b")
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert w.claim() == []
        assert store.state() is RunState.SUCCEEDED

    def test_a_stopped_run_has_no_result(self, store: Store) -> None:
        store.submit("r")
        store.backend.control("r", "stop")
        with pytest.raises(RunStopped):
            store.backend.result("r")

    def test_an_end_inside_a_branch_waits_for_the_branch(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), scopes("each", "a"), keys=("a",))
        assert w.succeed(w.one("each[a]/x"), b"X", closes("each", "a"))
        assert store.state() is RunState.RUNNING
        assert w.succeed(w.one("each"), b"all", ends=True)
        assert store.state() is RunState.SUCCEEDED
