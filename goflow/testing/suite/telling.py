"""What is told of runs beside the runs themselves: ended runs for traces, and figures."""

from __future__ import annotations

import time
from typing import cast

import pytest

from goflow.figures import Accountable, place
from goflow.state import RunState
from goflow.testing.store import FLOW, OTHER, Store, Worker, edge
from goflow.testing.suite.base import Suite
from goflow.untold import Tellable, TracedBackend

#: seconds a teller holds a run in the test that outlasts it
_LEASE = 1.0


def tellable(store: Store) -> TracedBackend:
    """A connection of a process that has traces on."""
    backend = store.connect()
    if not isinstance(backend, Tellable):
        pytest.skip("this backend tells no traces")
    backend.traced = True
    return cast(TracedBackend, backend)


def accountable(store: Store) -> Accountable:
    """A connection."""
    if not isinstance(store.backend, Accountable):
        pytest.skip("this backend keeps no figures")
    return store.backend


class Telling(Suite):
    def finish(self, worker: Worker, run_id: str = "r") -> None:
        """Let a run of one node succeed."""
        assert worker.succeed(worker.one("a"), b"A", ends=True)
        assert worker.backend.run(run_id).state is RunState.SUCCEEDED

    def test_a_run_is_told_once_it_has_ended_and_only_once(self, store: Store) -> None:
        backend = tellable(store)
        w = Worker(backend, (FLOW,))
        store.submit("r")
        claim = w.one("a")
        assert backend.untold(10, 60) == []
        assert w.succeed(claim, b"A", ends=True)
        (ended,) = backend.untold(10, 60)
        assert (ended.run_id, ended.round, ended.state) == ("r", 1, RunState.SUCCEEDED)
        assert ended.started is not None
        assert abs(ended.finished - (store.run().finished or 0)) < 0.01
        assert tellable(store).untold(10, 60) == [], "somebody is telling it"
        backend.told([ended])
        assert tellable(store).untold(10, 0) == []

    def test_a_run_whose_teller_vanished_is_told_by_another(self, store: Store) -> None:
        backend = tellable(store)
        w = Worker(backend, (FLOW,))
        for name in ("r", "s"):
            store.submit(name)
            self.finish(w, name)
        first = backend.untold(1, _LEASE) + backend.untold(10, _LEASE)
        assert sorted(each.run_id for each in first) == ["r", "s"]
        backend.told(first[:1])
        other = tellable(store)
        assert other.untold(10, _LEASE) == []
        time.sleep(_LEASE)
        again = other.untold(10, _LEASE)
        assert [each.run_id for each in again] == [first[1].run_id]
        other.telling(again, 60)
        assert backend.untold(10, 60) == []

    def test_a_run_that_a_process_without_traces_ends_is_told_too(self, store: Store) -> None:
        backend = tellable(store)
        w = Worker(backend, (FLOW,))
        store.submit("r")
        assert w.release(w.one("a"))
        assert backend.untold(10, 60) == []
        assert store.backend.control("r", "stop").state is RunState.STOPPED
        assert [each.state for each in backend.untold(10, 60)] == [RunState.STOPPED]

    def test_every_round_is_told(self, store: Store) -> None:
        backend = tellable(store)
        w = Worker(backend, (FLOW,))
        store.submit("r")
        assert w.fail(w.one("a"))
        self.again(store)
        self.finish(w)
        told = [(each.round, each.state) for each in backend.untold(10, 60)]
        assert told == [(1, RunState.FAILED), (2, RunState.SUCCEEDED)]

    def test_without_traces_nothing_is_to_be_told(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        self.finish(w)
        assert tellable(store).untold(10, 60) == []

    def test_an_attempt_tells_its_token_and_since_when_it_was_ready(self, store: Store) -> None:
        w = store.worker()
        began = time.time()
        store.submit("r")
        first = w.one("a")
        assert w.retry(first, at=0)
        store.tick()
        second = w.one("a")
        assert began - 0.01 <= first.task.ready <= second.task.ready <= time.time() + 0.01
        assert w.succeed(second, b"A", ends=True)
        told = [(a.token, a.ready) for a in store.backend.attempts("r")]
        held = [(c.task.token, c.task.ready) for c in (first, second)]
        assert [token for token, _ in told] == [token for token, _ in held]
        for (_, recorded), (_, given) in zip(told, held, strict=True):
            assert recorded == pytest.approx(given, abs=0.002)

    def test_a_vanished_workers_attempt_is_told_as_lost(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        lost = zombie.one("a")
        store.vanish(zombie)
        store.tick()
        self.finish(w)
        states = [(a.state, a.token == lost.task.token) for a in store.backend.attempts("r")]
        assert states == [("lost", True), ("succeeded", False)]


class Counting(Suite):
    def test_runs_are_counted_as_they_end(self, store: Store) -> None:
        kept, w = accountable(store), store.worker()
        for name in ("r", "s", "t"):
            store.submit(name)
        store.submit("u", flow=OTHER)
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert w.fail(w.one("a"))
        figures = kept.figures()
        assert figures.active == {FLOW[0]: 1, OTHER[0]: 1}
        numbers = {name: n for (flow, name), n in figures.numbers.items() if flow == FLOW[0]}
        assert (numbers["runs:succeeded"], numbers["runs:failed"]) == (1, 1)
        assert sum(numbers.get(f"run:{at}", 0) for at in range(40)) == 2
        assert numbers["run:ms"] >= 0
        assert "runs:stopped" not in numbers

    def test_a_run_on_its_way_again_is_active_again(self, store: Store) -> None:
        kept, w = accountable(store), store.worker()
        store.submit("r")
        assert w.fail(w.one("a"))
        assert not any(kept.figures().active.values())
        self.again(store)
        assert kept.figures().active == {FLOW[0]: 1}
        assert w.succeed(w.one("a"), b"A", edge("a", "b"))
        assert w.succeed(w.one("b"), b"B", ends=True)
        figures = kept.figures()
        assert not any(figures.active.values())
        assert figures.numbers[FLOW[0], "runs:failed"] == 1
        assert figures.numbers[FLOW[0], "runs:succeeded"] == 1

    def test_what_workers_counted_is_added_up(self, store: Store) -> None:
        kept, w = accountable(store), store.worker()
        other = store.connect()
        assert isinstance(other, Accountable)
        kept.count(w.id, {(FLOW[0], "retries"): 2, (FLOW[0], "attempt:3"): 1})
        other.count(w.id, {(FLOW[0], "retries"): 5, (OTHER[0], "wait:ms"): 7})
        kept.count(w.id, {(FLOW[0], "retries"): 1})
        expected = {(FLOW[0], "retries"): 8, (FLOW[0], "attempt:3"): 1, (OTHER[0], "wait:ms"): 7}
        assert other.figures().numbers == expected

    def test_the_oldest_waiting_task_is_told(self, store: Store) -> None:
        kept, w = accountable(store), store.worker()
        assert kept.figures().oldest == {}
        before = time.time()
        store.submit("r", "a", "b")
        oldest = kept.figures().oldest
        assert list(oldest) == [FLOW[0]]
        assert before - 0.01 <= oldest[FLOW[0]] <= time.time() + 0.01
        w.each("a", "b")
        assert kept.figures().oldest == {}

    def test_places_of_durations_double(self) -> None:
        assert [place(ms) for ms in (0, 1, 2, 3, 4, 1000, 1 << 40)] == [0, 1, 2, 2, 3, 10, 25]
