"""The handlers of a flow: which run once a run is about to end, in which order, and what they change."""

from __future__ import annotations

import pytest

from goflow.errors import Conflict
from goflow.state import NodeState, RunState
from goflow.testing.store import Store, failure
from goflow.testing.suite.base import Suite

#: the handlers a flow may have, as paths of their nodes
BOTH = ("~on_failure", "~finally")
FINALLY = ("~finally",)


class Handling(Suite):
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
