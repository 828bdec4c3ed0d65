"""Stop: nothing starts any more, what runs is killed, and the run ends without waiting for anybody."""

from __future__ import annotations

from goflow.state import NodeState, RunState
from goflow.testing.model import SETTLED
from goflow.testing.store import Store, edge
from goflow.testing.suite.base import Suite


class Stopping(Suite):
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
