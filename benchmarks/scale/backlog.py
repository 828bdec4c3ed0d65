"""A backlog of one-node runs on Redis: what it weighs, and what everything costs in front of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.measure import FLOWS, GOFLOW, wall
from benchmarks.scale.fleet import NAMESPACE, client_of, hired
from benchmarks.scale.table import Row
from goflow import Client
from goflow.backend import Ask, WorkerInfo
from goflow.engine import request
from goflow.host import register
from goflow.loader import load
from goflow.message import Claim, Outcome, Step
from goflow.payload import Payload, of_input
from goflow.plan import Plan
from goflow.standing import Watcher
from goflow.state import RunState
from goflow.wholesale import submit_all
from tests.redis.server import RedisServer

#: runs of one call, and seconds that a fleet works on the backlog
BATCH, SECONDS = 100, 5.0
RESULT: Final = Payload(b"x" * 100)
_PAYLOAD: Final = of_input("p" * 100)


def depths(most: int) -> Iterator[int]:
    """1,000 and ten times more each, up to the most."""
    depth = 1000
    while depth < most:
        yield depth
        depth *= 10
    yield most


def grown(most: int) -> Iterator[tuple[int, Row]]:
    """A row for each depth, as the backlog grows; the last one with the rate at which it is worked off."""
    flow = load(FLOWS)["single"]
    with RedisServer() as server, client_of(server.url) as client:
        register(client.backend, flow)
        empty = server.client.info("memory")["used_memory"]
        queued = 0
        for depth in depths(most):
            began, spent = time.perf_counter(), _spent(server)
            grow(client, flow.plan, depth - queued)
            took, more = time.perf_counter() - began, depth - queued
            row = {
                "submitted, runs/s": more / took,
                "Redis us a run": (_spent(server) - spent) * 1e6 / more,
                "Redis MiB": (server.client.info("memory")["used_memory"] - empty) / 2**20,
            }
            queued = depth
            yield depth, row | _looks(client, flow.plan, server)
        with hired(server.url, 2):
            rate = _worked_off(client)
        yield most, {"worked off by 2 workers, runs/s": rate}


def grow(client: Client, plan: Plan, count: int) -> None:
    """Submit so many runs, a hundred a call."""
    for first in range(0, count, BATCH):
        names = range(first, min(first + BATCH, count))
        stamp = f"{time.time_ns():x}"
        asked = [request(plan, f"{stamp}-{n}", _PAYLOAD, None) for n in names]
        for answer in submit_all(client.backend, asked):
            if isinstance(answer, Exception):
                raise answer


def _looks(client: Client, plan: Plan, server: RedisServer) -> Row:
    """Milliseconds of what people and workers do in front of a backlog: medians."""
    backend = client.backend
    key = (plan.flow, plan.fingerprint)
    info = WorkerInfo(id=0, host="bench", pid=0, started=time.time(), concurrency=1, flows=(key,))
    ask = Ask(worker=backend.enter(info), limit=1, flows=(key,))
    held: list[Claim] = []

    def commit() -> None:
        now = time.time()
        outcome = Outcome(
            held.pop().task, now, now, step=Step(output=RESULT, ends=True), digest="0" * 12
        )
        backend.commit([outcome])

    watcher = Watcher(backend)
    row = {
        "submit, ms": median(
            lambda: backend.submit(request(plan, f"{time.time_ns():x}", _PAYLOAD, None)), 50
        ),
        "claim, ms": median(lambda: held.extend(backend.claim(ask)), 50),
        "commit, ms": median(commit, 50),
        "a look of `top`, ms": median(watcher.look, 10),
        "runs(100), ms": median(lambda: backend.runs(limit=100), 10),
        "runs(100) of a state nobody has, ms": median(
            lambda: backend.runs(state=RunState.PAUSED, limit=100), 10
        ),
        "runs(100) queued of a flow, ms": median(
            lambda: backend.runs(plan.flow, RunState.QUEUED, 100), 10
        ),
    }
    backend.leave(ask.worker)
    environment = {"GOFLOW_BACKEND": server.url, "GOFLOW_REDIS_NAMESPACE": NAMESPACE}
    row["`goflow runs`, whole command, ms"] = 1e3 * min(
        wall([*GOFLOW, "runs"], **environment) for _ in range(3)
    )
    return row


def median(work: Callable[[], object], times: int) -> float:
    """Milliseconds, the median of so many times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


def _worked_off(client: Client) -> float:
    """Runs a second once the fleet is at work."""

    def left() -> int:
        return sum(client.backend.waiting().values())

    full = left()
    while left() > full - 1000:
        time.sleep(0.02)
    first, began = left(), time.perf_counter()
    while time.perf_counter() - began < SECONDS and left() > 0:
        time.sleep(0.1)
    return (first - left()) / (time.perf_counter() - began)


def _spent(server: RedisServer) -> float:
    info = server.client.info("cpu")
    return float(info["used_cpu_sys"] + info["used_cpu_user"])
