"""Pause, resume and stop, one after another in every order, and on runs that have ended."""

from __future__ import annotations

from itertools import product

import pytest

from goflow.backend import Action
from goflow.errors import Conflict
from goflow.state import RunState
from goflow.testing.store import FLOW, Store
from goflow.testing.suite.base import Suite


class Controlling(Suite):
    def test_a_paused_run_can_be_stopped(self, store: Store) -> None:
        w = store.worker()
        store.submit("r1", "a", "b")
        store.submit("r2", handlers=("~finally",))
        held = w.one("a")
        for run_id in ("r1", "r2"):
            store.backend.control(run_id, "pause")
        assert store.backend.control("r1", "stop").state is RunState.STOPPING
        assert w.lost(held) == [("a", "stop")]
        assert w.killed(held)
        assert store.state("r1") is RunState.STOPPED
        store.backend.control("r2", "stop")
        assert w.succeed(w.one("~finally")), "a stop lifts the pause"
        assert store.state("r2") is RunState.STOPPED

    def test_stopping_lets_handlers_run_that_waited_for_the_end_of_a_pause(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", handlers=("~on_failure", "~finally"))
        claim = w.one("a")
        store.backend.control("r", "pause")
        assert w.fail(claim, "the reason")
        assert w.claim() == []
        store.backend.control("r", "stop")
        assert w.succeed(w.one("~on_failure"))
        assert w.one("~finally").task.outcome == "failed"

    def test_a_stop_cannot_be_taken_back(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        claim = w.one("a")
        actions: list[Action] = ["stop", "pause", "resume", "stop", "resume"]
        for action in actions:
            assert store.backend.control("r", action).state is RunState.STOPPING
        assert w.claim() == []
        assert w.lost(claim) == [("a", "stop")]
        assert w.killed(claim)
        assert store.state() is RunState.STOPPED

    def test_controls_may_come_in_any_order(self, store: Store) -> None:
        w = store.worker()
        actions: list[Action] = ["pause", "resume", "stop"]
        for number, order in enumerate(product(actions, repeat=3)):
            run_id = f"r{number}"
            store.submit(run_id, "a", "b")
            claim = w.one("a")
            expected = RunState.RUNNING
            for action in order:
                if action == "stop" or expected is RunState.STOPPING:
                    expected = RunState.STOPPING
                else:
                    expected = RunState.PAUSED if action == "pause" else RunState.RUNNING
                assert store.backend.control(run_id, action).state is expected, order
            stopping = expected is RunState.STOPPING
            assert w.lost(claim) == ([("a", "stop")] if stopping else []), order
            assert w.paths() == (["b"] if expected is RunState.RUNNING else []), order

    @pytest.mark.parametrize("action", ["pause", "resume", "stop"])
    @pytest.mark.parametrize("end", ["succeeded", "failed", "stopped"])
    def test_a_run_that_has_ended_cannot_be_controlled(
        self, store: Store, action: Action, end: str
    ) -> None:
        w = store.worker()
        store.submit("r")
        if end == "stopped":
            store.backend.control("r", "stop")
        else:
            claim = w.one("a")
            assert w.succeed(claim, b"", ends=True) if end == "succeeded" else w.fail(claim)
        before = store.run()
        assert before.state == end
        with pytest.raises(Conflict):
            store.backend.control("r", action)
        assert store.run() == before

    def test_paused_and_stopped_tasks_do_not_count_as_waiting_for_workers(
        self, store: Store
    ) -> None:
        store.submit("r1")
        store.submit("r2")
        store.backend.control("r1", "pause")
        assert store.backend.waiting().get(FLOW, 0) == 1
        store.backend.control("r2", "stop")
        assert store.backend.waiting().get(FLOW, 0) == 0
        store.backend.control("r1", "resume")
        assert store.backend.waiting().get(FLOW, 0) == 1
