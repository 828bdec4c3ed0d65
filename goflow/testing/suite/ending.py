"""How a run ends: its result or failure, then the handlers, then it is terminal and waiters wake."""

from __future__ import annotations

import time

import pytest

from goflow.errors import Conflict, RunFailed, RunStopped
from goflow.message import TIMED_OUT
from goflow.state import NodeState, RunState
from goflow.testing.model import SETTLED
from goflow.testing.store import Store, Worker, closes, edge, failure, scopes
from goflow.testing.suite.base import Suite

BOTH = ("~on_failure", "~finally")
FINALLY = ("~finally",)


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

    def test_a_success_ends_with_finally(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=BOTH)
        assert w.succeed(w.one("a"), b"A", ends=True)
        run = store.run()
        assert (run.state, run.ending) == (RunState.RUNNING, RunState.SUCCEEDED)
        assert run.finished is None
        with pytest.raises(Conflict):
            store.backend.result("r")
        handler = w.one("~finally")
        assert handler.task.outcome == "succeeded"
        assert w.claim() == [], "~on_failure is for failures"
        assert w.succeed(handler, b"ignored")
        assert store.state() is RunState.SUCCEEDED
        assert store.backend.result("r").data == b"A"
        assert "~on_failure" not in store.nodes()

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

    def test_a_failure_ends_with_on_failure_and_then_finally(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=BOTH)
        claim = w.one("a")
        assert w.fail(claim, "boom")
        first = w.one("~on_failure")
        assert first.task.failure == failure(claim, "boom")
        assert w.claim() == []
        assert store.state() is RunState.RUNNING
        assert w.succeed(first, b"told")
        last = w.one("~finally")
        assert last.task.outcome == "failed"
        assert store.state() is RunState.RUNNING
        assert w.succeed(last, b"")
        assert store.state() is RunState.FAILED
        assert store.output("~on_failure") == b"told"
        assert w.claim() == []

    def test_only_the_handlers_a_flow_has_are_run(self, store: Store) -> None:
        w = store.worker()
        store.submit("r1", handlers=("~on_failure",))
        store.submit("r2", handlers=FINALLY)
        for claim in w.claim():
            assert w.fail(claim)
        handlers = {c.task.run_id: c for c in w.claim()}
        assert {run: c.task.path for run, c in handlers.items()} == {
            "r1": "~on_failure",
            "r2": "~finally",
        }
        for claim in handlers.values():
            assert w.succeed(claim)
        assert store.state("r1") is store.state("r2") is RunState.FAILED

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "stopped"])
    def test_a_handler_that_fails_changes_nothing_of_the_outcome(
        self, store: Store, outcome: str
    ) -> None:
        w = store.worker()
        store.submit("r", handlers=BOTH)
        claim = w.one("a")
        if outcome == "succeeded":
            assert w.succeed(claim, b"A", ends=True)
        elif outcome == "failed":
            assert w.fail(claim, "the reason")
            assert w.fail(w.one("~on_failure"), "handler")
        else:
            store.backend.control("r", "stop")
            assert w.killed(claim)
        handler = w.one("~finally")
        assert handler.task.outcome == outcome
        assert w.fail(handler, "handler")
        run = store.run()
        assert run.state == outcome
        assert store.node("~finally").state is NodeState.FAILED
        if outcome == "failed":
            assert run.error is not None
            assert "the reason" in run.error
            assert store.node("~on_failure").state is NodeState.FAILED
        if outcome == "succeeded":
            assert store.backend.result("r").data == b"A"
            assert run.error is None

    def test_a_handler_whose_worker_vanishes_comes_again(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", handlers=BOTH)
        assert zombie.fail(zombie.one("a"), "boom")
        old = zombie.one("~on_failure")
        store.vanish(zombie)
        store.tick()
        again = w.one("~on_failure")
        assert again.task.failure == old.task.failure
        assert again.task.lost == 1
        assert not zombie.succeed(old, b"late")
        assert w.succeed(again)
        assert w.paths() == ["~finally"]

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

    def test_a_run_past_its_timeout_fails_and_its_tasks_are_killed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", handlers=BOTH, timeout=0.05)
        store.submit("patient", timeout=3600.0)
        claims = {(c.task.run_id, c.task.path): c for c in w.claim(1) + w.claim(2)}
        held = [c for (run, _), c in claims.items() if run == "r"]
        self.outlast(store, "r", 0.05)
        run = store.run("r")
        assert run.ending is RunState.FAILED
        assert run.failure is not None
        assert run.failure.type == TIMED_OUT
        assert sorted(w.lost(*claims.values())) == sorted((c.task.path, "stop") for c in held)
        for claim in held:
            assert w.killed(claim)
        self.run_handlers(w, "r", "failed")
        assert store.state("r") is RunState.FAILED
        assert set(store.nodes("r").values()) <= SETTLED
        with pytest.raises(RunFailed):
            store.backend.result("r")
        assert store.state("patient") is RunState.RUNNING

    def test_a_timeout_counts_from_the_first_task(self, store: Store) -> None:
        w = store.worker()
        run = store.submit("r", timeout=0.05)
        while time.time() < run.created + 0.1:
            time.sleep(0.02)
        store.tick()
        assert store.state() is RunState.QUEUED
        w.one("a")
        self.outlast(store, "r", 0.05)
        assert store.run().ending is RunState.FAILED or store.state() is RunState.FAILED

    def test_a_timed_out_run_that_only_waits_ends_at_once(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", timeout=0.05)
        assert w.retry(w.one("a"), at=time.time() + 3600)
        self.outlast(store, "r", 0.05)
        assert store.state() is RunState.FAILED

    def test_a_tick_answers_when_a_timeout_is_due(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", timeout=3600.0)
        w.one("a")
        due = store.tick()
        assert due is not None
        started = store.run().started
        assert started is not None
        assert due <= started + 3600.01

    def test_a_run_that_has_ended_does_not_time_out(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", timeout=0.05, handlers=FINALLY)
        assert w.succeed(w.one("a"), b"A", ends=True)
        self.outlast(store, "r", 0.05)
        handler = w.one("~finally")
        assert handler.task.outcome == "succeeded"
        assert w.lost(handler) == []
        assert w.succeed(handler)
        self.outlast(store, "r", 0.05)
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

    def outlast(self, store: Store, run_id: str, seconds: float) -> None:
        """Wait until a run's timeout is over, then keep house."""
        started = store.run(run_id).started
        assert started is not None
        while time.time() <= started + seconds:
            time.sleep(seconds / 5)
        store.tick()

    def run_handlers(self, worker: Worker, run_id: str, outcome: str) -> None:
        """Execute both handlers of a run that did not succeed."""
        for path in BOTH:
            claim = worker.one(path)
            assert claim.task.run_id == run_id
            assert path != "~finally" or claim.task.outcome == outcome
            assert worker.succeed(claim)
