"""A real worker, and a server that goes away under it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from goflow.backend import WorkerInfo
from goflow.engine import request
from goflow.message import Task
from goflow.observer import Quiet
from goflow.payload import of_input
from goflow.worker import Worker
from goflow.workflow import Workflow, build
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer


def nap(data: bytes) -> bytes:
    time.sleep(0.3)
    return data


def define(workflow: Workflow, context: object) -> None:
    workflow.dag.node("nap", nap)


def test_a_worker_that_drains_while_the_server_is_away_ends_within_its_grace(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has finished nobody can be told: it runs again elsewhere, once the lease is over."""
    monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0,))
    backend, flow = open_store(own.url, "outages"), build("napping", define)
    backend.submit(request(flow.plan, "r", of_input(b"x")))
    me = WorkerInfo(id=0, host="here", pid=os.getpid(), started=0.0, concurrency=1)

    class Ends(Quiet):
        def started(self, task: Task) -> None:
            own.kill()
            worker.drain()

    worker = Worker(
        backend, [flow], backend.enter(me), patient=True, grace=0.5, observer=Ends(), lease=2.0
    )
    began = time.monotonic()
    worker.run()
    assert time.monotonic() - began < 10
    own.start()
    assert [node.path for node in backend.nodes("r")] == ["nap"]
    backend.close()


def test_a_worker_on_a_server_that_comes_back_goes_on(own: RedisServer, tmp_path: Path) -> None:
    """Its results are kept until they can be told."""
    backend, flow = open_store(own.url, "outages"), build("napping", define)
    backend.submit(request(flow.plan, "r", of_input(b"x")))
    me = WorkerInfo(id=0, host="here", pid=os.getpid(), started=0.0, concurrency=1)

    class Interrupts(Quiet):
        def started(self, task: Task) -> None:
            own.kill()

        def troubled(self, error: Exception) -> None:
            own.start()

    worker = Worker(
        backend, [flow], backend.enter(me), patient=True, observer=Interrupts(), lease=2.0
    )
    worker.run(until=lambda: backend.run("r").state.terminal)
    assert [(a.path, a.attempt, a.state) for a in backend.attempts("r")] == [
        ("nap", 1, "succeeded")
    ]
    backend.close()
