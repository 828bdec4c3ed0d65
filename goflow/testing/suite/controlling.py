"""Pause, resume and stop: in every order, repeated, with tasks running, on runs that have ended."""

from __future__ import annotations

from itertools import product

import pytest

from goflow.backend import Action
from goflow.errors import Conflict
from goflow.state import NodeState, RunState
from goflow.testing.model import SETTLED
from goflow.testing.store import FLOW, Store, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Controlling(Suite):
    def test_a_paused_run_starts_nothing_until_it_is_resumed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a = w.one("a")
        assert store.backend.control("r", "pause").state is RunState.PAUSED
        assert store.connect().run("r").state is RunState.PAUSED
        assert w.claim() == []
        assert w.lost(a) == [], "running nodes finish"
        assert w.succeed(a, b"A", edge("a", "c"))
        assert w.claim() == []
        store.tick()
        assert w.claim() == []
        assert store.state() is RunState.PAUSED
        assert store.backend.control("r", "resume").state is RunState.RUNNING
        assert w.paths() == ["b", "c"]

    def test_a_run_may_be_paused_before_it_starts(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        store.backend.control("r", "pause")
        assert w.claim() == []
        assert store.run().started is None
        assert store.backend.control("r", "resume").state is RunState.QUEUED
        assert w.paths() == ["a"]

    def test_pausing_and_resuming_again_is_harmless(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a = w.one("a")
        assert store.backend.control("r", "resume").state is RunState.RUNNING
        for _ in range(2):
            assert store.backend.control("r", "pause").state is RunState.PAUSED
        assert w.claim() == []
        for _ in range(2):
            assert store.backend.control("r", "resume").state is RunState.RUNNING
        assert w.paths() == ["b"], "ready once, however often resumed"
        assert w.succeed(a, b"A", ends=True)

    def test_another_run_is_not_paused_with_it(self, store: Store) -> None:
        w = store.worker()
        store.submit("r1")
        store.submit("r2")
        store.backend.control("r1", "pause")
        assert [c.task.run_id for c in w.claim()] == ["r2"]

    def test_a_pause_survives_the_end_of_every_process(self, store: Store) -> None:
        store.submit("r")
        store.backend.control("r", "pause")
        store.reopen()
        w = store.worker()
        assert w.claim() == []
        assert store.state() is RunState.PAUSED
        store.backend.control("r", "resume")
        assert w.paths() == ["a"]

    def test_retries_that_fall_due_in_a_pause_wait_for_its_end(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        store.backend.control("r", "pause")
        assert w.retry(claim, at=0)
        store.tick()
        assert w.claim() == []
        store.backend.control("r", "resume")
        store.tick()
        assert w.one("a").task.attempt == 2

    def test_what_a_vanished_worker_held_waits_for_the_end_of_a_pause(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        zombie.one("a")
        store.backend.control("r", "pause")
        store.vanish(zombie)
        store.tick()
        assert w.claim() == []
        store.backend.control("r", "resume")
        store.tick()
        assert w.one("a").task.lost == 1

    def test_a_task_handed_back_in_a_pause_waits_for_its_end(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        store.backend.control("r", "pause")
        assert w.release(claim)
        assert w.claim() == []
        store.backend.control("r", "resume")
        assert w.one("a").task.attempt == 1

    def test_a_branch_may_open_and_close_scopes_around_a_pause(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        branch = w.one("each")
        store.backend.control("r", "pause")
        assert w.open(branch, scopes("each", "abc"), window=2, keys=("a", "b", "c"))
        assert w.claim() == []
        store.backend.control("r", "resume")
        a, b = w.each("each[a]/x", "each[b]/x")
        store.backend.control("r", "pause")
        for claim, key in ((a, "a"), (b, "b")):
            assert w.succeed(claim, b"", closes("each", key))
        assert w.claim() == []
        store.backend.control("r", "resume")
        assert w.succeed(w.one("each[c]/x"), b"", closes("each", "c"))
        w.one("each")

    def test_a_run_whose_last_node_finishes_in_a_pause_succeeds(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        store.backend.control("r", "pause")
        assert w.succeed(claim, b"A", ends=True)
        assert store.state() is RunState.SUCCEEDED, "nothing is left to start"
        assert store.backend.result("r").data == b"A"

    def test_handlers_wait_for_the_end_of_a_pause(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~on_failure", "~finally"))
        claim = w.one("a")
        store.backend.control("r", "pause")
        assert w.fail(claim)
        assert w.claim() == []
        assert store.state() is RunState.PAUSED
        store.backend.control("r", "resume")
        assert w.succeed(w.one("~on_failure"))
        assert w.succeed(w.one("~finally"))
        assert store.state() is RunState.FAILED

    def test_handlers_do_not_wait_for_all_that_a_pause_kept_back(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", *(f"n{number}" for number in range(300)), handlers=("~finally",))
        claim = w.one()
        store.backend.control("r", "pause")
        assert w.claim(1000) == []
        assert w.fail(claim)
        store.backend.control("r", "resume")
        assert w.succeed(w.one("~finally"))
        assert store.state() is RunState.FAILED
        assert w.claim(1000) == []

    def test_a_run_that_nobody_started_is_stopped_at_once(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        stopped = store.backend.control("r", "stop")
        assert stopped.state is RunState.STOPPED
        assert stopped.finished is not None
        assert store.connect().run("r") == stopped
        assert w.claim() == []
        assert set(store.nodes().values()) <= {NodeState.STOPPED}
        assert sum(store.backend.waiting().values()) == 0

    def test_stopping_kills_what_runs_and_starts_nothing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        store.submit("r2")
        a, b = w.one("a"), w.one("b")
        assert store.backend.control("r", "stop").state is RunState.STOPPING
        assert [c.task.run_id for c in w.claim()] == ["r2"]
        assert sorted(w.lost(a, b)) == [("a", "stop"), ("b", "stop")]
        assert w.killed(a)
        assert store.state() is RunState.STOPPING
        assert w.killed(b)
        assert store.state() is RunState.STOPPED
        assert set(store.nodes().values()) == {NodeState.STOPPED}
        assert store.state("r2") is RunState.RUNNING
        states = [a.state for a in store.backend.attempts("r")]
        assert states == ["stopped", "stopped"]

    def test_a_node_that_waits_for_its_retry_is_stopped_with_its_run(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.retry(a, at=4e9)
        store.backend.control("r", "stop")
        assert w.killed(b)
        assert store.nodes() == {"a": NodeState.STOPPED, "b": NodeState.STOPPED}

    def test_a_renewal_on_another_connection_hears_of_a_stop(self, store: Store) -> None:
        w = store.worker(own=True)
        store.submit("r")
        claim = w.one("a")
        store.connect().control("r", "stop")
        assert w.lost(claim) == [("a", "stop")]
        assert w.lost(claim) == [("a", "stop")], "until it is settled"

    def test_finally_runs_at_the_end_of_a_stop_and_is_not_killed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~on_failure", "~finally"))
        claim = w.one("a")
        store.backend.control("r", "stop")
        assert w.claim() == []
        assert w.killed(claim)
        handler = w.one("~finally")
        assert handler.task.outcome == "stopped"
        assert store.state() is RunState.STOPPING
        assert w.lost(handler) == []
        store.backend.control("r", "stop")
        assert w.lost(handler) == [], "stopping again does not kill it either"
        assert w.succeed(handler)
        assert store.state() is RunState.STOPPED
        assert "~on_failure" not in store.nodes()

    def test_finally_runs_for_a_stopped_run_that_nobody_started(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~finally",))
        assert store.backend.control("r", "stop").state is RunState.STOPPING
        handler = w.one("~finally")
        assert handler.task.outcome == "stopped"
        assert w.succeed(handler)
        assert store.state() is RunState.STOPPED

    def test_a_node_that_finishes_before_it_is_killed_is_recorded(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        store.backend.control("r", "stop")
        assert w.succeed(a, b"A", edge("a", "next"))
        assert w.fail(b)
        assert store.state() is RunState.STOPPING
        assert w.retry(c, at=0)
        store.tick()
        assert w.claim() == []
        assert store.state() is RunState.STOPPED, "stopped is stopped, whatever fails on the way"
        assert store.output("a") == b"A"
        assert store.node("a").state is NodeState.SUCCEEDED
        assert set(store.nodes().values()) <= SETTLED

    def test_an_end_that_is_recorded_during_a_stop_is_kept_but_does_not_win(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        store.backend.control("r", "stop")
        assert w.succeed(claim, b"A", ends=True)
        assert store.state() is RunState.STOPPED
        assert store.output("a") == b"A"

    def test_a_stopping_run_does_not_wait_for_a_vanished_worker(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        claim = zombie.one("a")
        store.backend.control("r", "stop")
        store.vanish(zombie)
        store.tick()
        assert store.state() is RunState.STOPPED
        assert w.claim() == []
        assert not zombie.succeed(claim, b"late", ends=True)
        assert store.node("a").state is NodeState.STOPPED

    def test_a_task_handed_back_in_a_stop_is_stopped(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        store.backend.control("r", "stop")
        assert w.release(claim)
        assert w.claim() == []
        assert store.state() is RunState.STOPPED

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

    def test_stopping_a_failing_run_kills_its_siblings_and_keeps_its_failure(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b", handlers=("~on_failure", "~finally"))
        a, b = w.each("a", "b")
        assert w.fail(a, "the reason")
        store.backend.control("r", "stop")
        assert w.lost(b) == [("b", "stop")]
        assert w.killed(b)
        while claims := w.claim():
            for claim in claims:
                assert claim.task.path.startswith("~")
                assert w.succeed(claim)
        run = store.run()
        assert run.state.terminal
        assert run.state is not RunState.SUCCEEDED
        assert run.error is not None
        assert "the reason" in run.error

    def test_stopping_a_run_during_its_handlers_lets_it_end(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", handlers=("~finally",))
        assert w.succeed(w.one("a"), b"A", ends=True)
        handler = w.one("~finally")
        store.backend.control("r", "stop")
        assert w.lost(handler) == []
        assert w.succeed(handler)
        assert store.state() is RunState.SUCCEEDED, "its result was recorded before"
        assert store.backend.result("r").data == b"A"

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
