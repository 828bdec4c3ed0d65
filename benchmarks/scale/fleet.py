"""Workers of a certain number over a Redis of a certain kind, and what they do under three loads."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.measure import FLOWS, GOFLOW
from benchmarks.processes import cpu, memory, tree
from benchmarks.scale.table import Row
from goflow import Client
from goflow.config import Config, Redis
from goflow.errors import UnknownFlow

NAMESPACE: Final = "scale"
#: tasks at a time in each worker
CONCURRENCY: Final = 2
#: runs that are under way together, so that every partition has some
TOGETHER: Final = 16
#: seconds that a node of the flow `waiting` takes, and for which a fleet is given such nodes
WAIT, SECONDS = 0.020, 2.0


@contextmanager
def client_of(url: str) -> Iterator[Client]:
    """A client of the store."""
    with Client(url, config=Config(redis=Redis(url=url, namespace=NAMESPACE))) as client:
        yield client


@contextmanager
def hired(url: str, count: int) -> Iterator[list[int]]:
    """So many workers, ready to work; their process ids."""
    environment = {**os.environ, "GOFLOW_REDIS_NAMESPACE": NAMESPACE}
    command = [*GOFLOW, "worker", str(FLOWS), "--backend", url, "--concurrency", str(CONCURRENCY)]
    with tempfile.TemporaryDirectory(prefix="goflow-scale-") as folder:
        processes = [
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(count)
        ]
        try:
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def await_all(client: Client, count: int) -> None:
    """Until so many workers are there and have loaded the flows."""
    while sum(worker.alive for worker in client.backend.workers()) < count:
        time.sleep(0.05)
    while True:
        try:
            client.plan("chain-100")
        except UnknownFlow:
            time.sleep(0.05)
        else:
            break
    for run in [client.submit("fan-out", "20") for _ in range(4 * count)]:
        client.wait(run.id, 60)


def measure(url: str, servers: Sequence[Any], count: int, nodes: int) -> Row:
    """Everything about so many workers: rates under load, latency at rest, memory, processor time."""
    with client_of(url) as client, hired(url, count) as workers:
        await_all(client, count)
        rates = [_load(client, "fan-out", nodes // TOGETHER) for _ in range(2)]
        before, began = _spent(servers), _used(workers)
        done = _load(client, "fan-out", nodes // TOGETHER, rates)
        redis, work = (
            (after - first) * 1e6 / done
            for after, first in ((_spent(servers), before), (_used(workers), began))
        )
        slots = count * CONCURRENCY
        share = int(SECONDS / WAIT * slots / TOGETHER)
        waiting = (
            _load(client, "waiting", share) * share / (share + 2)
        )  # but for both ends of a run
        taken = sorted(_lone(client) for _ in range(100))
        idle = _spent(servers)
        time.sleep(1)
        idle = _spent(servers) - idle
        return {
            "no-op nodes/s": statistics.median(rates),
            "chains of 100, nodes/s": _chains(client),
            "20 ms nodes/s": waiting,
            "of ideal": waiting / (slots / WAIT),
            "lone run p50, ms": taken[49],
            "lone run p99, ms": taken[98],
            "Redis us a node": redis,
            "workers us a node": work,
            "Redis at rest, ms/s": idle * 1e3,
            "MiB a worker": sum(memory(p) for pid in workers for p in tree(pid)) / count,
        }


def _load(client: Client, flow: str, width: int, rates: list[float] | None = None) -> float:
    """Runs of so many nodes each, together; the rate of nodes, or, where it is noted, their number."""
    began = time.perf_counter()
    for run in [client.submit(flow, str(width)) for _ in range(TOGETHER)]:
        assert client.wait(run.id, 300).json() == width
    nodes = TOGETHER * (width + 2)
    rate = nodes / (time.perf_counter() - began)
    if rates is None:
        return rate
    rates.append(rate)
    return float(nodes)


def _chains(client: Client) -> float:
    began = time.perf_counter()
    for run in [client.submit("chain-100", "x") for _ in range(TOGETHER)]:
        client.wait(run.id, 300)
    return TOGETHER * 100 / (time.perf_counter() - began)


def _lone(client: Client) -> float:
    """Milliseconds of a one-node run on a fleet that has nothing else to do."""
    time.sleep(0.005)
    began = time.perf_counter()
    client.wait(client.submit("single", "x").id, 60)
    return (time.perf_counter() - began) * 1e3


def _spent(servers: Sequence[Any]) -> float:
    infos = [server.info("cpu") for server in servers]
    return float(sum(info["used_cpu_sys"] + info["used_cpu_user"] for info in infos))


def _used(workers: Sequence[int]) -> float:
    return sum(cpu(pid) for worker in workers for pid in tree(worker))
