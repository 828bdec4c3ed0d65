"""Lists of runs: their order, their filters, and one page after another."""

from __future__ import annotations

import pytest

from goflow.backend import Retry
from goflow.errors import UnknownRun
from goflow.state import RunState
from goflow.testing.store import FLOW, OTHER, Store
from goflow.testing.suite.base import Suite


class Browsing(Suite):
    def test_a_store_without_runs_lists_none(self, store: Store) -> None:
        assert store.backend.runs() == []

    def test_runs_are_listed_the_newest_first(self, store: Store) -> None:
        ids = [f"r{number}" for number in range(5)]
        for run_id in ids:
            store.submit(run_id)
        seen = store.connect()
        assert [run.id for run in seen.runs()] == ids[::-1]
        assert seen.runs() == [seen.run(run_id) for run_id in ids[::-1]]
        assert [run.id for run in seen.runs(limit=2)] == ["r4", "r3"]

    def test_runs_are_filtered_by_flow_and_state_before_they_are_counted(
        self, store: Store
    ) -> None:
        w = store.worker(FLOW, OTHER)
        store.submit("r1")
        store.submit("r2", flow=OTHER)
        for claim in w.claim():
            assert w.succeed(claim, b"", ends=True)
        store.submit("r3", flow=OTHER)
        store.submit("r4")
        for number in range(5, 9):
            store.submit(f"r{number}", flow=("third", "0" * 16))

        def listed(**filters: object) -> list[str]:
            return [run.id for run in store.backend.runs(**filters)]  # type: ignore[arg-type]

        assert listed(flow=FLOW[0]) == ["r4", "r1"]
        assert listed(flow=OTHER[0], limit=1) == ["r3"]
        assert listed(state=RunState.SUCCEEDED) == ["r2", "r1"]
        assert listed(state=RunState.SUCCEEDED, limit=1) == ["r2"]
        assert listed(flow=OTHER[0], state=RunState.QUEUED) == ["r3"]
        assert listed(flow="none") == []
        assert listed(state=RunState.STOPPED) == []
        assert store.backend.runs(limit=0) == []

    def test_a_run_is_listed_under_the_state_it_is_in(self, store: Store) -> None:
        w = store.worker()
        backend = store.backend

        def listed(state: RunState, flow: str | None = None) -> list[str]:
            return [run.id for run in backend.runs(flow, state)]

        for run_id in ("ok", "bad", "held", "stop"):
            store.submit(run_id)
        assert listed(RunState.QUEUED) == ["stop", "held", "bad", "ok"]
        backend.control("stop", "pause")
        assert listed(RunState.PAUSED) == listed(RunState.PAUSED, FLOW[0]) == ["stop"]
        held = {claim.task.run_id: claim for claim in w.claim()}
        assert listed(RunState.QUEUED) == []
        assert listed(RunState.RUNNING) == ["held", "bad", "ok"]
        backend.control("held", "stop")
        assert listed(RunState.STOPPING) == ["held"]
        backend.control("stop", "resume")
        assert listed(RunState.QUEUED, FLOW[0]) == ["stop"]
        backend.control("stop", "stop")
        assert w.succeed(held["ok"], b"", ends=True)
        assert w.fail(held["bad"])
        assert w.killed(held["held"])
        assert listed(RunState.SUCCEEDED) == ["ok"]
        assert listed(RunState.FAILED) == listed(RunState.FAILED, FLOW[0]) == ["bad"]
        assert listed(RunState.STOPPED) == ["stop", "held"]
        assert listed(RunState.STOPPED, OTHER[0]) == []
        backend.retry("bad", Retry())
        assert (listed(RunState.FAILED), listed(RunState.QUEUED)) == ([], ["bad"])
        backend.forget("held")
        assert listed(RunState.STOPPED) == ["stop"]
        assert [run.id for run in backend.runs()] == ["stop", "bad", "ok"]

    def test_a_list_goes_on_before_the_last_run_of_a_page(self, store: Store) -> None:
        w = store.worker(FLOW, OTHER)
        for number in range(20):
            store.submit(f"r{number:02}", flow=(FLOW, OTHER, ("third", "0" * 16))[number % 3])
        for claim in w.claim(9):
            assert w.succeed(claim, b"", ends=True)
        for flow in (None, FLOW[0], "third", "none"):
            for state in (None, RunState.QUEUED, RunState.SUCCEEDED):
                for run in store.backend.runs(flow, state):
                    assert flow in (None, run.flow)
                    assert state in (None, run.state)
                told = [run.id for run in store.backend.runs(flow, state)]
                paged: list[str] = []
                while page := store.backend.runs(flow, state, 3, paged[-1] if paged else None):
                    assert len(page) <= 3
                    paged += [run.id for run in page]
                assert paged == told == sorted(told, reverse=True)

    def test_a_list_goes_on_before_a_run_of_another_flow_and_state(self, store: Store) -> None:
        w = store.worker(OTHER)
        store.submit("old")
        store.submit("mark", flow=OTHER)
        store.submit("new")
        assert w.succeed(w.one("a"), b"", ends=True)
        assert [run.id for run in store.backend.runs(FLOW[0], RunState.QUEUED, 9, "mark")] == [
            "old"
        ]
        assert store.backend.runs(before="old") == []

    def test_no_list_goes_on_before_a_run_that_is_not_there(self, store: Store) -> None:
        store.submit("r")
        with pytest.raises(UnknownRun, match="nobody"):
            store.backend.runs(before="nobody")
