"""A worker holds its exchange while small runs rush in, and at no other time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from goflow.backend import WorkerInfo
from goflow.config import Config, Local
from goflow.engine import request
from goflow.message import Claim, Task
from goflow.payload import EMPTY
from goflow.rush import HOLD, INTERVAL, MEMORY, Rush
from goflow.worker import Worker
from goflow.workflow import Flow, build
from goflow_local import LocalBackend

ENOUGH = round(MEMORY / INTERVAL) + 1


def two(workflow: Any, context: Any) -> None:
    workflow.dag.node("first")
    workflow.dag.node("second")
    workflow.dag.edge("first", "second")


FLOW = build("two", two)


def claims(count: int, path: str = "first") -> list[Claim]:
    return [Claim(Task(f"run-{n}", *FLOW.key, path, f"{n}"), ()) for n in range(count)]


def rush_after(*times: float, count: int = 1, path: str = "first") -> Rush:
    rush = Rush({FLOW.key: FLOW})
    for now in times:
        rush.came(claims(count, path), rest=False, now=now)
    return rush


def test_a_lone_run_never_waits() -> None:
    assert rush_after(100.0).until == 0.0


def test_runs_that_come_slower_than_the_interval_never_wait() -> None:
    assert rush_after(*(100.0 + 1.1 * INTERVAL * n for n in range(500))).until == 0.0


def test_runs_that_come_faster_wait_for_a_moment_after_each_exchange() -> None:
    times = [100.0 + 0.5 * INTERVAL * n for n in range(500)]
    assert rush_after(*times).until == times[-1] + HOLD


def test_a_rush_that_is_over_is_forgotten() -> None:
    assert rush_after(100.0, count=ENOUGH).until == 100.0 + HOLD
    rush = rush_after(100.0, count=ENOUGH)
    rush.came(claims(1), rest=False, now=100.0 + 2 * MEMORY)
    assert rush.until == 0.0


def test_later_nodes_of_runs_are_no_rush() -> None:
    assert rush_after(100.0, count=1000, path="second").until == 0.0


def test_nothing_waits_where_the_store_has_more() -> None:
    rush = rush_after(100.0, count=ENOUGH)
    rush.came(claims(ENOUGH), rest=True, now=100.0)
    assert rush.until == 0.0


class Rushing:
    """A worker over a store of one run that believes in a rush, and would hold an exchange for a minute."""

    def __init__(self, folder: Path, flow: Flow) -> None:
        self.store = LocalBackend.open("local", Config(local=Local(path=str(folder))))
        self.store.submit(request(flow.plan, "run", EMPTY))
        info = WorkerInfo(id=0, host="here", pid=1, started=0.0, concurrency=2)
        self.worker = Worker(self.store, [flow], self.store.enter(info), concurrency=2)
        # one over and over: a million that differ take longer to make than the test may, on a busy machine
        self.worker._rush.came(claims(1) * 1_000_000, rest=False, now=time.monotonic())

    def work(self) -> None:
        self.worker.run(until=lambda: self.store.run("run").state.terminal)
        self.store.close()


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLOW_START_METHOD", "fork")
    monkeypatch.setattr("goflow.rush.HOLD", 60.0)
    monkeypatch.setattr("goflow.rush.MEMORY", 60.0)


@pytest.mark.usefixtures("minute")
@pytest.mark.timeout(30)
def test_a_child_that_waits_for_the_store_ends_the_hold(tmp_path: Path) -> None:
    def slow(workflow: Any, context: Any) -> None:
        for name in ("first", "second"):
            workflow.dag.node(name, lambda data: time.sleep(0.002))
        workflow.dag.edge("first", "second")

    rushing = Rushing(tmp_path, build("two", slow))
    rushing.worker._rush.until = 0.0  # what it claims first makes it hold
    rushing.work()


@pytest.mark.usefixtures("minute")
@pytest.mark.timeout(30)
def test_a_worker_that_drains_holds_nothing(tmp_path: Path) -> None:
    rushing = Rushing(tmp_path, FLOW)
    assert rushing.worker._held > time.monotonic() + 30
    drain = threading.Timer(0.2, rushing.worker.drain)
    drain.start()
    rushing.work()
    drain.join()
