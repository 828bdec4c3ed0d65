"""Traces of runs that go through several workers on a Redis, one of them killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow.backend import Attempt
from goflow.client import Client
from goflow.config import Config, Redis
from goflow.errors import UnknownFlow
from goflow_redis import RedisBackend
from tests.redis.server import RedisServer
from tests.telemetry.collector import Collector, Seen, check, collecting

FLOW = """
import time

import goflow
from opentelemetry import trace


def work(data):
    with trace.get_tracer("of the author").start_as_current_span("of user code"):
        pass
    time.sleep(0.05)
    return data


def fail_once(data, options, context):
    if context.attempt == 1:
        raise ValueError("secret words")
    return work(data)


@goflow.flow("travels")
def travels(workflow, context):
    dag = workflow.dag
    each = dag.foreach_branch("each", lambda data: range(12), aggregator=len)
    each.node("work", work)
    dag.node("first", fail_once, retries=1, retry_delay=0.05) >> "each"
    dag.node("last", work)
    dag.edge("each", "last")
    workflow.finally_(lambda state: None)
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def worker(folder: Path, server: RedisServer, collector: Collector) -> subprocess.Popen[bytes]:
    """A worker with two children, the shortest lease there is, and traces on."""
    (folder / "flow.py").write_text(FLOW)
    environment = {
        "GOFLOW_BACKEND": server.url,
        "GOFLOW_WORKER_LEASE": "2",
        "GOFLOW_WORKER_CONCURRENCY": "2",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "goflow_cli.main", "worker", str(folder / "flow.py")],
        env={**os.environ, **environment, **collector.environment},
        stderr=subprocess.DEVNULL,
    )


def known(client: Client, seconds: float = 20.0) -> None:
    """Wait until a worker has registered the flow."""
    until = time.monotonic() + seconds
    while True:
        try:
            client.plan("travels")
        except UnknownFlow:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


def kill_while_busy(worker: subprocess.Popen[bytes], backend: RedisBackend) -> None:
    """Kill a worker that holds tasks; its children die with it, whatever they are at."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        worker.send_signal(signal.SIGSTOP)  # from here on it hands nothing in
        if any(each.pid == worker.pid and each.doing for each in backend.workers()):
            worker.kill()
            return
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    pytest.fail("the worker is never busy")


def test_a_killed_worker_takes_no_span_with_it_and_leaves_none_without_parent(
    tmp_path: Path, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(redis=Redis(url=server.url))
    with collecting() as collector, RedisBackend.open(server.url, config) as backend:
        workers = [worker(tmp_path, server, collector) for _ in range(2)]
        try:
            client = Client(backend)
            known(client)
            monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{PARENT}-01")
            ids = [client.submit("travels", run_id="called").id]
            monkeypatch.delenv("TRACEPARENT")
            ids += [client.submit("travels").id for _ in range(6)]
            collector.wait_for("of user code", 8)
            kill_while_busy(workers[0], backend)
            for run_id in ids:
                client.wait(run_id, timeout=60)
        finally:
            for each in workers:
                each.send_signal(signal.SIGTERM)
            codes = [each.wait(30) for each in workers]
        assert codes == [-signal.SIGKILL, 0]
        attempts = {run_id: backend.attempts(run_id) for run_id in ids}
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    assert len({span.trace for span in collector.spans}) == len(ids)
    told = {
        span.attributes["goflow.run_id"]: span.trace for span in collector.named("flow travels")
    }
    assert told.keys() == set(ids)
    for run_id in ids:
        spans = collector.of(told[run_id])
        check(spans, callers=PARENT if run_id == "called" else "")
        agree(spans, attempts[run_id])
    assert told["called"] == TRACE
    assert any(attempt.state == "lost" for each in attempts.values() for attempt in each)
    assert not any("secret words" in span.text for span in collector.spans)


def agree(spans: list[Seen], attempts: list[Attempt]) -> None:
    """Every recorded attempt has a span, with its wait before it and its user spans below it."""
    assert Counter((s.name, s.attributes["goflow.state"]) for s in spans if _is_attempt(s)) == (
        Counter((a.path, a.state) for a in attempts if a.path != "each")
    )
    assert len([span for span in spans if span.name == "each"]) == 1
    by_id = {span.id: span for span in spans}
    for span in spans:
        if _is_attempt(span):
            (wait,) = [
                w
                for w in spans
                if w.name == "queue wait"
                and w.attributes["goflow.node"] == span.name
                and w.end == span.start
            ]
            assert wait.parent == span.parent
            assert wait.start <= wait.end
    user = [span for span in spans if span.name == "of user code"]
    assert {by_id[span.parent].name for span in user} >= {"last", "each[0]/work"}
    assert all(_is_attempt(by_id[span.parent]) for span in user)
    recorded = [a for a in attempts if a.state == "succeeded" and a.path[0] in "fel"]
    assert len(user) >= len([a for a in recorded if a.path != "each"])


def _is_attempt(span: Seen) -> bool:
    return "goflow.worker" in span.attributes


def test_a_teller_that_is_killed_leaves_its_runs_to_another(
    tmp_path: Path, server: RedisServer
) -> None:
    config = Config(redis=Redis(url=server.url))
    with collecting() as collector, RedisBackend.open(server.url, config) as backend:
        first = worker(tmp_path, server, collector)
        try:
            client = Client(backend)
            known(client)
            os.kill(teller_of(first.pid), signal.SIGKILL)
            run = client.submit("travels")
            client.wait(run.id, timeout=60)
        finally:
            first.send_signal(signal.SIGTERM)
            assert first.wait(30) == 0
        assert collector.named("flow travels") == []
        second = worker(tmp_path, server, collector)
        try:
            collector.wait_for("flow travels")
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(30) == 0
    spans = [span for span in collector.spans if span.scope == "goflow"]
    check(spans)


def teller_of(worker: int, seconds: float = 10.0) -> int:
    """The process that tells a worker's traces."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == worker and b"goflow.teller" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except (OSError, ValueError, IndexError):
                continue
        time.sleep(0.02)
    raise AssertionError("the worker has no teller")
