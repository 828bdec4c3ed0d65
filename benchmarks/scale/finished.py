"""Many finished runs, and how soon they are listed: by the seam, a command, HTTP and the dashboard."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from benchmarks.measure import FLOWS, GOFLOW, wall
from benchmarks.scale.backlog import RESULT, grow, median
from benchmarks.scale.fleet import NAMESPACE
from benchmarks.scale.table import Row
from goflow import Client
from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Local, Redis
from goflow.host import register
from goflow.loader import load
from goflow.message import Outcome, Step
from goflow.state import RunState
from tests.redis.server import RedisServer

#: tasks that one call commits and claims
BATCH = 64
#: runs of a page of the dashboard, and of an answer of GET /runs
PAGE = 100


def listed(count: int) -> Iterator[tuple[str, Row]]:
    """A row for each store."""
    with tempfile.TemporaryDirectory(prefix="goflow-scale-") as folder:
        config = Config(local=Local(path=folder))
        environment = {"GOFLOW_BACKEND": "local", "GOFLOW_LOCAL_PATH": folder}
        row = _listed("local", config, environment, count)
        size = sum(file.stat().st_size for file in Path(folder).glob("goflow.db*"))
        yield "local", row | {"store, bytes a run": size / count}
    with RedisServer() as server:
        config = Config(redis=Redis(url=server.url, namespace=NAMESPACE))
        environment = {"GOFLOW_BACKEND": server.url, "GOFLOW_REDIS_NAMESPACE": NAMESPACE}
        empty = server.client.info("memory")["used_memory"]
        row = _listed(server.url, config, environment, count)
        size = server.client.info("memory")["used_memory"] - empty
        yield "Redis", row | {"store, bytes a run": size / count}


def _listed(url: str, config: Config, environment: dict[str, str], count: int) -> Row:
    flow = load(FLOWS)["single"]
    with Client(url, config=config) as client:
        backend = client.backend
        register(backend, flow)
        began = time.perf_counter()
        grow(client, flow.plan, count)
        _finish(client, (flow.name, flow.plan.fingerprint))
        row = {
            "made, runs/s": count / (time.perf_counter() - began),
            "runs(100), ms": median(lambda: backend.runs(limit=100), 10),
            "runs(100) failed, of none, ms": median(
                lambda: backend.runs(state=RunState.FAILED, limit=100), 10
            ),
        }
        ends, took = _pages(client, count)
        tenth = max(1, len(took) // 10)
        row |= {
            "all pages, s": sum(took),
            "a page of the first tenth, ms": statistics.median(took[:tenth]) * 1e3,
            "of the last tenth, ms": statistics.median(took[-tenth:]) * 1e3,
            "the longest, ms": max(took) * 1e3,
        }
    command = [*GOFLOW, "runs"]
    row["`goflow runs`, ms"] = 1e3 * min(wall(command, **environment) for _ in range(3))
    with _served(environment) as at:
        last = f"before={ends[-1]}"
        pages = {
            "GET /runs, ms": "/runs",
            "GET /runs of a flow, ms": "/runs?flow=single",
            "the last page of GET /runs, ms": f"/runs?{last}",
            "first page of /ui/runs, ms": "/ui/runs",
            "the last page of /ui/runs, ms": f"/ui/runs?{last}&page={len(took)}",
        }
        for name, path in pages.items():
            row[name] = median(lambda path=path: _get(at + path), 5)  # type: ignore[misc]
    return row


def _pages(client: Client, count: int) -> tuple[list[str], list[float]]:
    """Every run there is, listed page by page: the last run of each page but the last, and the seconds each took."""
    ends: list[str] = []
    took: list[float] = []
    seen = 0
    while True:
        began = time.perf_counter()
        page = client.runs(state=RunState.SUCCEEDED, limit=PAGE, before=ends[-1] if ends else None)
        if not page:
            break
        took.append(time.perf_counter() - began)
        seen += len(page)
        ends.append(page[-1].id)
    assert seen == count, f"{seen} of {count} were listed"
    return ends[:-1], took


def _finish(client: Client, key: tuple[str, str]) -> None:
    """What a worker does, without its processes."""
    info = WorkerInfo(
        id=0, host="bench", pid=os.getpid(), started=time.time(), concurrency=1, flows=(key,)
    )
    backend = client.backend
    ask = Ask(worker=backend.enter(info), limit=BATCH, flows=(key,))
    claims = backend.claim(ask)
    while claims:
        now = time.time()
        step = Step(output=RESULT, ends=True)
        outcomes = [Outcome(each.task, now, now, step=step, digest="0" * 12) for each in claims]
        _, claims = backend.commit(outcomes, ask)
    backend.leave(ask.worker)


@contextmanager
def _served(environment: dict[str, str]) -> Iterator[str]:
    """`goflow serve` without a worker; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*GOFLOW, "serve", str(FLOWS), "--no-worker", "--port", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            with suppress(OSError):
                _get(f"{url}/healthz")
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _get(url: str) -> None:
    with urlopen(url) as answer:
        answer.read()
