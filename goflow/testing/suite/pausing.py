"""Pause and resume: what runs may finish, nothing starts, nothing is lost or doubled by it."""

from __future__ import annotations

from goflow.state import RunState
from goflow.testing.store import Store, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Pausing(Suite):
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
