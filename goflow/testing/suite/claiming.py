"""Leasing tasks: each to one worker, of definitions it knows, no more than it asks for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from goflow.backend import Ask
from goflow.message import Claim
from goflow.state import NodeState, RunState
from goflow.testing.store import FLOW, NEWER, OTHER, Store, Worker, edge, request
from goflow.testing.suite.base import Suite


class Claiming(Suite):
    def test_a_store_without_work_answers_an_empty_list(self, store: Store) -> None:
        assert store.worker().claim() == []

    def test_a_task_says_what_its_worker_must_know(self, store: Store) -> None:
        store.submit("r", query={"q": ["1", "2"]}, headers={"x-y": "z"})
        task = store.worker().one("a").task
        assert (task.run_id, task.flow, task.fingerprint) == ("r", *FLOW)
        assert (task.attempt, task.lost, task.round) == (1, 0, 1)
        assert (task.query, task.headers) == ({"q": ["1", "2"]}, {"x-y": "z"})
        assert (task.failure, task.closing, task.keys, task.outcome) == (None, False, None, "")
        assert task.token

    def test_the_first_claim_starts_the_run(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        w.one()
        run = store.run("r")
        assert run.state is RunState.RUNNING
        assert run.started is not None
        assert run.started >= run.created - 1
        node = store.node("a")
        assert node.state is NodeState.RUNNING
        assert node.worker == w.id
        assert node.attempt == 1
        assert store.node("b").state is NodeState.READY
        w.one()
        assert store.run("r").started == run.started

    def test_a_worker_gets_no_more_than_it_asks_for(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c", "d", "e")
        assert len(w.claim(2)) == 2
        assert len(w.claim(1)) == 1
        assert len(w.claim(10)) == 2
        assert w.claim(10) == []

    def test_tasks_of_a_run_come_in_the_order_they_became_ready(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "c", "a", "b")
        first = w.one("c")
        assert w.succeed(first, b"", edge("c", "late"))
        assert [w.one().task.path for _ in range(3)] == ["a", "b", "late"]

    def test_a_worker_gets_tasks_of_its_definitions_only(self, store: Store) -> None:
        store.submit("r1", flow=FLOW)
        store.submit("r2", flow=NEWER)
        store.submit("r3", flow=OTHER)
        other, newer, both = store.worker(OTHER), store.worker(NEWER), store.worker(FLOW, OTHER)
        nobody = Ask(worker=other.id, limit=10)
        assert store.backend.claim(nobody) == []
        assert [c.task.run_id for c in newer.claim()] == ["r2"]
        assert [c.task.run_id for c in other.claim(1)] == ["r3"]
        store.submit("r4", flow=OTHER)
        assert sorted(c.task.run_id for c in both.claim()) == ["r1", "r4"]

    def test_a_long_line_of_one_flow_does_not_hide_another(self, store: Store) -> None:
        store.submit("crowd", *(f"n{i}" for i in range(300)), flow=FLOW)
        store.submit("lone", flow=OTHER)
        assert [c.task.run_id for c in store.worker(OTHER).claim(1)] == ["lone"]

    def test_a_claimed_task_is_given_to_nobody_else(self, store: Store) -> None:
        first, second = store.worker(), store.worker(own=True)
        store.submit("r")
        first.one("a")
        assert first.claim() == []
        assert second.claim() == []
        store.tick()
        assert second.claim() == []

    def test_two_workers_in_turn_never_get_the_same_task(self, store: Store) -> None:
        for number in range(6):
            store.submit(f"r{number}", *(f"n{i}" for i in range(5)))
        workers = [store.worker(), store.worker(own=True)]
        taken: list[tuple[str, str]] = []
        for turn in range(30):
            claims = workers[turn % 2].claim(3)
            taken += [(c.task.run_id, c.task.path) for c in claims]
        assert len(taken) == 30
        assert len(set(taken)) == 30

    def test_workers_at_the_same_time_never_get_the_same_task(self, store: Store) -> None:
        for number in range(40):
            store.submit(f"r{number}", "a", "b")

        def drain(_: int) -> list[Claim]:
            backend = self.open_backend(store.folder)
            try:
                worker, got = Worker(backend), []
                while claims := worker.claim(3):
                    got += claims
                return got
            finally:
                backend.close()

        with ThreadPoolExecutor(4) as pool:
            taken = [claim.task for got in pool.map(drain, range(4)) for claim in got]
        assert len(taken) == 80
        assert len({(task.run_id, task.path) for task in taken}) == 80
        assert len({(task.run_id, task.path, task.token) for task in taken}) == 80

    def test_waiting_tells_how_many_tasks_each_definition_has_ready(self, store: Store) -> None:
        store.submit("r1", "a", "b", flow=FLOW)
        store.submit("r2", flow=OTHER)
        waiting = store.connect().waiting()
        assert (waiting[FLOW], waiting[OTHER]) == (2, 1)
        w = store.worker(FLOW, OTHER)
        w.claim(1)
        assert sum(store.backend.waiting().values()) == 2
        w.claim()
        assert sum(store.backend.waiting().values()) == 0

    def test_a_released_task_is_ready_again_without_a_penalty(self, store: Store) -> None:
        first, second = store.worker(), store.worker(own=True)
        store.backend.submit(request("r"))
        claim = first.one("a")
        assert first.release(claim)
        again = second.one("a")
        assert (again.task.attempt, again.task.lost, again.task.round) == (1, 0, 1)
        assert second.data(again) == {"": b"in"}
        assert not first.succeed(claim, b"late", ends=True), "handed back is handed back"
        assert second.succeed(again, b"out", ends=True)
        assert store.backend.result("r").data == b"out"
        assert [a.state for a in store.backend.attempts("r")] == ["succeeded"]
