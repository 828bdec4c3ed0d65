"""A child whose tasks compute lets its supervisor go first; others do not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goflow.courtesy import Courtesy
from goflow.workflow import build
from tests.worker.bench import Bench, note, trace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a policy that Linux has")


def compute(seconds: float = 0.005) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_child_yields_after_a_node_that_computed_and_only_then(
    bench: Bench, tmp_path: Path
) -> None:
    def define(workflow: Any, context: Any) -> None:
        def step(name: str, work: Callable[[], None]) -> Any:
            def node(data: bytes) -> None:
                note(tmp_path, str(os.sched_getscheduler(0)))
                work()

            return workflow.dag.node(name, node)

        last = step("computes", compute)
        for number in range(4):
            last = last >> step(f"waits{number}", lambda: time.sleep(0.002))

    flow = build("flow", define)
    run = bench.submit(flow)
    [ended] = bench.work([flow], run, concurrency=1)
    assert ended.state == "succeeded", ended.error
    first, second, *others = (int(line) for line in trace(tmp_path))
    assert (first, second) == (os.SCHED_OTHER, os.SCHED_BATCH)
    assert os.SCHED_OTHER in others


def test_where_it_is_forbidden_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def forbidden(pid: int, policy: int, param: object) -> None:
        asked.append(policy)
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    courtesy = Courtesy(0.001)
    for _ in range(2):
        compute()
        courtesy.reconsider()
    assert asked == [os.SCHED_BATCH]


def test_a_policy_that_somebody_has_chosen_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_IDLE)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *what: pytest.fail("it changed it"))
    courtesy = Courtesy(0.001)
    compute()
    courtesy.reconsider()
