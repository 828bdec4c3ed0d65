"""The field: what each peer is installed from, how its workers start, and what it cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ADAPTERS = Path(__file__).parents[1] / "peers"
FLOWS = ADAPTERS / "goflow_flows.py"

#: shapes that a driver answers, in the order they are measured
DRIVEN = ("single", "chains", "chain", "fan-1000", "fan-10000", "diamonds", "idle")
#: shapes that are looked at from outside
WATCHED = ("start-up", "memory", "redis-bytes", "kill")
SHAPES = (*DRIVEN, *WATCHED)


class Peer(NamedTuple):
    """One line of the table.

    `packages` are pinned; none: this repository's own venv. `workers` are command lines; `{python}`,
    `{bin}`, `{adapter}` and `{flows}` are filled in. `lacks` are shapes it has no words for.
    """

    name: str
    packages: tuple[str, ...]
    adapter: str
    workers: Sequence[Sequence[str]]
    start_up: Sequence[str]
    fleet: str
    node: bool = False
    lacks: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    #: whether it keeps its work in the Redis of the run
    redis: bool = True


_GOFLOW = ("{bin}goflow", "worker", "{flows}", "--backend", "{url}", "--concurrency")

PEERS = (
    Peer(
        "goflow",
        (),
        "goflow_driver.py",
        [(*_GOFLOW, "1")] * 2,
        ("{bin}goflow", "--version"),
        "2 workers, concurrency 1",
    ),
    Peer(
        "goflow-1x2",
        (),
        "goflow_driver.py",
        [(*_GOFLOW, "2")],
        ("{bin}goflow", "--version"),
        "1 worker, concurrency 2",
        lacks=("start-up", "kill"),
    ),
    Peer(
        "bullmq",
        ("bullmq@6.7.0", "ioredis@5.11.1"),
        "bullmq.mjs",
        [("node", "{adapter}", "worker")] * 2,
        ("node", "{adapter}", "version"),
        "2 processes, concurrency 1",
        node=True,
    ),
    Peer(
        "dramatiq",
        ("dramatiq[redis]==2.2.1", "redis==8.1.0"),
        "dramatiq_peer.py",
        [("{bin}dramatiq", "dramatiq_peer", "-p", "1", "-t", "8")] * 2,
        ("{bin}dramatiq", "--version"),
        "2 processes x 8 threads (its default)",
    ),
    Peer(
        "taskiq",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "taskiq-pipelines==0.1.4"),
        "taskiq_peer.py",
        [("{bin}taskiq", "worker", "-w", "1", "--log-level", "ERROR", "taskiq_peer:broker")] * 2,
        ("{bin}taskiq", "--version"),
        "2 processes, stream broker, results polled every 5 ms",
        lacks=("diamonds",),
    ),
    Peer(
        "celery",
        ("celery[redis]==5.7.0",),
        "celery_peer.py",
        [
            (
                "{bin}celery",
                "-A",
                "celery_peer",
                "worker",
                "-c",
                "1",
                "-n",
                f"w{n}@%h",
                "-l",
                "ERROR",
            )
            for n in range(2)
        ],
        ("{bin}celery", "--version"),
        "2 workers, prefork, concurrency 1",
    ),
    Peer(
        "rq",
        ("rq==3.0.0", "redis==8.1.0"),
        "rq_peer.py",
        [("{bin}rq", "worker", "--url", "{url}", "-q", "--path", "{folder}")] * 2,
        ("{bin}rq", "--version"),
        "2 workers, a fork per job (its default)",
    ),
    Peer(
        "huey",
        ("huey==3.5.4", "redis==8.1.0"),
        "huey_peer.py",
        [("{bin}huey_consumer", "huey_peer.huey", "-w", "1", "-k", "thread", "-q")] * 2,
        ("{bin}huey_consumer", "--help"),
        "2 consumers, 1 thread",
        lacks=("diamonds",),
    ),
    Peer(
        "dask",
        ("distributed==2026.8.0", "redis==8.1.0"),
        "dask_peer.py",
        [],
        ("{bin}dask", "--version"),
        "LocalCluster, 2 processes x 1 thread; nothing is recorded",
        lacks=("memory", "redis-bytes", "kill"),
        redis=False,
    ),
    Peer(
        "prefect",
        ("prefect==3.8.8", "fastapi==0.139.2", "redis==8.1.0"),
        "prefect_peer.py",
        [],
        ("{bin}prefect", "--version"),
        "in process, 2 threads",
        lacks=("memory", "redis-bytes", "kill", "fan-10000"),
        redis=False,
    ),
    Peer(
        "goflow-local",
        (),
        "goflow_driver.py",
        [("{bin}goflow", "worker", "{flows}", "--backend", "local", "--concurrency", "2")],
        ("{bin}goflow", "run", "{one}", "--data", "hallo"),
        "local store (SQLite), 1 worker, concurrency 2",
        lacks=("redis-bytes", "kill"),
        environment={"FIELD_BACKEND": "local"},
        redis=False,
    ),
    Peer(
        "pool",
        (),
        "pool_peer.py",
        [],
        ("{python}", "-c", "pass"),
        "ProcessPoolExecutor(2); no DAG, nothing is recorded",
        lacks=("memory", "redis-bytes", "kill", "diamonds"),
        redis=False,
    ),
)
