"""Many finished runs, and how soon they are listed: by the seam, a command, HTTP and the dashboard."""

from __future__ import annotations

import os
import socket
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
#: the last page the dashboard has
LAST = 100


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
                lambda: backend.runs(state=RunState.FAILED, limit=100), 1
            ),
        }
    command = [*GOFLOW, "runs"]
    row["`goflow runs`, ms"] = 1e3 * min(wall(command, **environment) for _ in range(3))
    with _served(environment) as at:
        last = min((count - 1) // PAGE + 1, LAST)
        pages = {
            "GET /runs, ms": "/runs",
            "GET /runs of a flow, ms": "/runs?flow=single",
            "first page of /ui/runs, ms": "/ui/runs",
            f"page {last:,} of /ui/runs, ms": f"/ui/runs?page={last}",
        }
        for name, path in pages.items():
            row[name] = median(lambda path=path: _get(at + path), 5)  # type: ignore[misc]
    return row


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
