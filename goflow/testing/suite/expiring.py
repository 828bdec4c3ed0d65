"""A run past its timeout fails, and what it runs is killed."""

from __future__ import annotations

import time

import pytest

from goflow.errors import RunFailed
from goflow.message import TIMED_OUT
from goflow.state import RunState
from goflow.testing.model import SETTLED
from goflow.testing.store import Store, Worker
from goflow.testing.suite.base import Suite
from goflow.testing.suite.handling import BOTH, FINALLY


class Expiring(Suite):
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
