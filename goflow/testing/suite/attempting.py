"""Attempts that do not succeed at once: retries, rescues, workers that vanish, leases."""

from __future__ import annotations

import time

from goflow.state import NodeState, RunState
from goflow.testing.store import Store, edge, failure
from goflow.testing.suite.base import Suite

#: seconds a test waits for a retry that is due soon
_SOON = 0.25
#: seconds after it was due that a store may take on a busy machine
_LATE = 10.0


class Attempting(Suite):
    def test_a_failed_attempt_comes_again_when_it_is_due(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        first = w.one("a")
        due = time.time() + _SOON
        assert w.retry(first, at=due, message="not yet")
        node = store.node("a")
        assert node.state is NodeState.RETRYING
        assert node.due is not None
        assert abs(node.due - due) < 0.01
        assert node.error is not None
        assert "not yet" in node.error
        assert store.state() is RunState.RUNNING
        while not (claims := w.claim()):  # a store may know the time by a clock of its own
            assert time.time() < due + _LATE, "a retry that is due is not given out"
            store.tick()
            time.sleep(_SOON / 5)
        assert time.time() >= due - 0.01, "nor before it is due"
        (again,) = claims
        assert (again.task.attempt, again.task.lost, again.task.round) == (2, 0, 1)
        assert again.task.failure is None
        assert again.task.token != first.task.token
        assert w.data(again) == {"": b"in"}
        assert not w.succeed(first, b"old"), "the first attempt is over"
        assert w.succeed(again, b"out", ends=True)
        assert store.backend.result("r").data == b"out"

    def test_a_retry_does_not_start_before_it_is_due(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        due = time.time() + 3600
        assert w.retry(w.one("a"), at=due)
        answer = store.tick()
        assert answer is not None, "a retry is due one day"
        assert answer <= due + 0.01, "the next tick must not come after it"
        assert w.claim() == []
        assert store.node("a").state is NodeState.RETRYING

    def test_a_tick_answers_what_is_due_next(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        late, early = time.time() + 7200, time.time() + 3600
        assert w.retry(a, at=late)
        assert w.retry(b, at=early)
        answer = store.connect().tick(w.id)
        assert answer is not None
        assert (
            early - 1 < answer < early + 60
        )  # the earlier one; a store may count from its own clock

    def test_each_failure_counts_one_attempt(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        for attempt in (1, 2, 3):
            claim = w.one("a")
            assert claim.task.attempt == attempt
            assert w.retry(claim, at=0, message=f"failure {attempt}")
            store.tick()
        assert w.one("a").task.attempt == 4
        told = [(a.path, a.attempt, a.state) for a in store.backend.attempts("r")]
        assert told == [("a", 1, "failed"), ("a", 2, "failed"), ("a", 3, "failed")]
        for number, recorded in enumerate(store.backend.attempts("r"), start=1):
            assert recorded.error == f"ValueError: failure {number}"

    def test_what_a_failed_attempt_wrote_is_dropped(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.retry(w.one("a"), at=0)
        store.tick()
        assert store.output("a") is None
        assert w.succeed(w.one("a"), b"out", edge("a", "b"))
        assert w.paths() == ["b"]

    def test_a_rescue_hands_the_failure_to_the_nodes_handler(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        first = w.one("a")
        assert w.rescue(first, "boom")
        handler = w.one("a")
        assert handler.task.failure == failure(first, "boom")
        assert handler.task.attempt == first.task.attempt, "the handler belongs to the attempt"
        assert (handler.task.lost, handler.task.round) == (0, 1)
        assert w.data(handler) == {"": b"in"}
        assert not w.succeed(first, b"old")
        assert w.succeed(handler, b"saved", edge("a", "b"))
        assert store.node("a").state is NodeState.SUCCEEDED
        assert w.data(w.one("b")) == {"a": b"saved"}

    def test_a_rescue_that_fails_fails_the_node(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.rescue(w.one("a"), "first")
        assert w.fail(w.one("a"), "second")
        run = store.run()
        assert run.state is RunState.FAILED
        assert run.failure is not None
        assert run.failure.message == "second"

    def test_a_rescue_survives_its_worker(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        first = zombie.one("a")
        assert zombie.rescue(first, "boom")
        zombie.one("a")
        store.vanish(zombie)
        store.tick()
        handler = w.one("a")
        assert handler.task.failure == failure(first, "boom")
        assert handler.task.lost == 1
        assert w.release(handler)
        assert w.one("a").task.failure == failure(first, "boom")

    def test_a_vanished_workers_tasks_are_ready_again(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b")
        zombie.each("a", "b")
        assert w.claim() == []
        store.vanish(zombie)
        store.tick()
        for claim in w.each("a", "b"):
            assert (claim.task.attempt, claim.task.lost, claim.task.round) == (1, 1, 1)
            assert w.data(claim) == {"": b"in"}
            assert w.lost(claim) == []

    def test_every_vanished_worker_counts(self, store: Store) -> None:
        store.submit("r")
        for lost in range(3):
            zombie = store.worker(own=True)
            assert zombie.one("a").task.lost == lost
            store.vanish(zombie)
            store.tick()
        assert store.worker().one("a").task.lost == 3

    def test_lost_workers_are_counted_over_one_attempt(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        for _ in range(2):
            zombie = store.worker(own=True)
            zombie.each("a", "b")
            store.vanish(zombie)
            store.tick()
        a, b = w.each("a", "b")
        assert (a.task.lost, b.task.lost) == (2, 2)
        assert w.retry(a, at=0)
        assert w.rescue(b)
        store.tick()
        assert [(c.task.attempt, c.task.lost) for c in w.each("a", "b")] == [(2, 0), (1, 0)]

    def test_a_lost_task_keeps_its_attempt(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        assert zombie.retry(zombie.one("a"), at=0)
        store.tick()
        assert zombie.one("a").task.attempt == 2
        store.vanish(zombie)
        store.tick()
        again = w.one("a")
        assert (again.task.attempt, again.task.lost) == (2, 1)

    def test_a_vanished_workers_recorded_results_stay(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        assert zombie.succeed(zombie.one("a"), b"A", edge("a", "b"))
        zombie.one("b")
        store.vanish(zombie)
        store.tick()
        assert store.output("a") == b"A"
        assert w.paths() == ["b"]

    def test_a_worker_that_renews_keeps_its_tasks(self, store: Store) -> None:
        busy, gone, w = store.worker(own=True), store.worker(own=True), store.worker()
        store.submit("r", "a", "b")
        kept, taken = busy.one("a"), gone.one("b")
        store.vanish(gone)
        for _ in range(3):
            assert busy.lost(kept) == []
            store.tick()
        assert w.paths() == ["b"]
        assert busy.succeed(kept, b"A")
        assert not gone.succeed(taken, b"B")

    def test_a_renewal_names_the_tasks_that_are_lost(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = zombie.each("a", "b", "c")
        assert zombie.lost(a, b, c) == []
        assert zombie.succeed(c, b"C")
        store.vanish(zombie)
        store.tick()
        w.one("a")
        assert ("a", "lost") in zombie.lost(a, b)
        assert not zombie.succeed(b, b"B"), "taken back, though nobody has it yet"

    def test_a_task_that_is_no_longer_held_cannot_be_renewed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.release(a)
        assert w.lost(a, b) == [("a", "lost")]
        w.one("a")
        assert w.lost(a) == [("a", "lost")], "a new claim does not revive the old token"

    def test_a_worker_that_leaves_keeps_nothing(self, store: Store) -> None:
        leaver, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b")
        claim, _ = leaver.each("a", "b")
        leaver.backend.leave(leaver.id)
        store.tick()
        assert w.paths() == ["a", "b"]
        assert not leaver.succeed(claim, b"late")
