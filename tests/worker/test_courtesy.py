"""A child whose tasks compute lets its supervisor go first; others do not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from goflow.courtesy import Courtesy
from goflow.message import Outcome
from tests.worker.bench import Bench, Watching, note, trace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a policy that Linux has")


def compute(seconds: float = 0.005) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Looking(Watching):
    """Notes whether the child waits for the next task as one that computes, once it is there."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self.yielding: list[bool] = []

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        super().finished(outcome, accepted)
        assert self._bench.worker is not None
        [child] = self._bench.worker._pool.children
        until = time.monotonic() + (2 if outcome.task.path == "computes" else 0.1)
        while os.sched_getscheduler(child.pid) != os.SCHED_BATCH and time.monotonic() < until:
            time.sleep(0.001)
        self.yielding.append(os.sched_getscheduler(child.pid) == os.SCHED_BATCH)


def test_a_child_yields_after_a_node_that_computed_and_only_then_and_only_itself(
    bench: Bench, tmp_path: Path
) -> None:
    def define(workflow: Any, context: Any) -> None:
        def note_policies(data: bytes) -> None:
            asks = "import os; print(os.sched_getscheduler(0))"
            told = subprocess.check_output([sys.executable, "-c", asks], text=True)
            note(tmp_path, f"{os.sched_getscheduler(0)} {told.strip()}")

        last = workflow.dag.node("computes", lambda data: compute())
        last = last >> workflow.dag.node("starts", note_policies)
        for number in range(4):
            last = last >> workflow.dag.node(f"waits{number}", lambda data: time.sleep(0.002))

    looking = Looking(bench)
    run = bench.execute(define, observer=looking, concurrency=1)
    assert run.state == "succeeded", run.error
    assert looking.yielding[0]
    assert False in looking.yielding[2:]
    assert trace(tmp_path) == [f"{os.SCHED_OTHER} {os.SCHED_OTHER}"]


def test_where_it_is_forbidden_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def forbidden(pid: int, policy: int, param: object) -> None:
        asked.append(policy)
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    courtesy = Courtesy(0.001)
    for _ in range(2):
        compute()
        courtesy.step_back()
        courtesy.step_up()
    assert asked == [os.SCHED_BATCH]


def test_a_policy_that_somebody_has_chosen_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_IDLE)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *what: pytest.fail("it changed it"))
    courtesy = Courtesy(0.001)
    compute()
    courtesy.step_back()
    courtesy.step_up()
