"""What the Redis backend costs without workers: nodes per second over the seam, and Redis's share.

    python -m benchmarks.redis_store [--batch 32] [--rounds 3]

One process plays the worker: it claims, invents the results of no-op nodes (100 bytes) and commits them with
the next claim in the same call. Beside it, in the same run, a yardstick: plain commands of redis-py over the
same connection. Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Redis
from goflow.message import Arrival, Claim, Item, Opened, Outcome, Request, Step
from goflow.payload import Payload
from goflow_redis import RedisBackend
from tests.redis.server import RedisServer

FLOW = ("bench", "0123456789abcdef")
RESULT = Payload(b"x" * 100)

#: what a no-op node of a shape makes of its claim
Engine = Callable[[Claim], Step]


class Figures(NamedTuple):
    """One shape: nodes per second, microseconds of Redis per node, script calls per node."""

    rate: float
    redis_us: float
    calls: float


def one(claim: Claim) -> Step:
    """A run of one node."""
    return Step(output=RESULT, ends=True)


def chain(claim: Claim) -> Step:
    """A run of a hundred nodes, one after the other."""
    number = int(claim.task.path)
    if number == 99:
        return Step(output=RESULT, ends=True)
    return Step(output=RESULT, arrivals=(Arrival(str(number + 1), str(number), 1),))


def fan_out(claim: Claim) -> Step:
    """One to a thousand to one."""
    if claim.task.path == "each" and not claim.task.closing:
        items = tuple(Item(f"each[{n}]/", ("x",), Payload(b"item")) for n in range(1000))
        return Step(opened=Opened(1000, 1000, None, items))
    if claim.task.path == "each":
        return Step(output=RESULT, ends=True)
    key = claim.task.path[5:-3]
    return Step(output=RESULT, arrivals=(Arrival("each", key, 0, closing=True),))


def diamond(claim: Claim) -> Step:
    """One to two to one."""
    path = claim.task.path
    if path == "top":
        return Step(output=RESULT, arrivals=tuple(Arrival(s, "top", 1) for s in ("left", "right")))
    if path == "bottom":
        return Step(output=RESULT, ends=True)
    return Step(output=RESULT, arrivals=(Arrival("bottom", path, 2),))


#: name, engine, start node, runs
SHAPES: Sequence[tuple[str, Engine, str, int]] = (
    ("single", one, "a", 2000),
    ("10 chains of 100", chain, "0", 10),
    ("1 -> 1,000 -> 1", fan_out, "each", 2),
    ("200 diamonds", diamond, "top", 200),
)


def measure(
    backend: RedisBackend, server: RedisServer, engine: Engine, start: str, runs: int, batch: int
) -> Figures:
    """Run one shape to its end."""
    info = WorkerInfo(id=0, host="bench", pid=0, started=time.time(), concurrency=1, flows=(FLOW,))
    worker = backend.enter(info)
    for _ in range(runs):
        backend.submit(
            Request(
                uuid4().hex, *FLOW, payload=Payload(b"in"), query={}, digest="d", starts=(start,)
            )
        )
    before, began = usage(server), time.perf_counter()
    ask, nodes = Ask(worker=worker, limit=batch, flows=(FLOW,)), 0
    claims = backend.claim(ask)
    while claims:
        now = time.time()
        outcomes = [
            Outcome(c.task, now, now, step=engine(c), digest="0123456789ab") for c in claims
        ]
        nodes += len(outcomes)
        accepted, claims = backend.commit(outcomes, ask)
        assert all(accepted)
    took, after = time.perf_counter() - began, usage(server)
    backend.leave(worker)
    seconds, calls = after[0] - before[0], after[1] - before[1]
    return Figures(nodes / took, seconds * 1e6 / nodes, calls / nodes)


def usage(server: RedisServer) -> tuple[float, int]:
    """Seconds of CPU the server has used, and how many scripts it has run."""
    info: Any = server.client.info("all")
    calls = sum(info.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))
    return info["used_cpu_sys"] + info["used_cpu_user"], calls


def yardstick(server: RedisServer) -> tuple[float, float]:
    """Plain SETs in pipelines of 50, and GETs one at a time, per second."""
    began = time.perf_counter()
    for _ in range(200):
        pipe = server.client.pipeline(transaction=False)
        for n in range(50):
            pipe.set(f"yardstick:{n}", b"x" * 100)
        pipe.execute()
    piped = 10_000 / (time.perf_counter() - began)
    began = time.perf_counter()
    for _ in range(5000):
        server.client.get("yardstick:1")
    return piped, 5000 / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with RedisServer() as server:
        config = Config(redis=Redis(url=server.url, namespace="bench"))
        backend = RedisBackend.open(server.url, config)
        sticks = [yardstick(server) for _ in range(options.rounds)]
        piped, lone = (statistics.median(each) for each in zip(*sticks, strict=True))
        print(f"yardstick: {piped:,.0f} SET/s in pipelines of 50, {lone:,.0f} GET/s one at a time")
        print(f"{'shape':18} {'nodes/s':>10} {'Redis us':>10} {'calls/node':>11}")
        for name, engine, start, runs in SHAPES:
            rounds = [
                measure(backend, server, engine, start, runs, options.batch)
                for _ in range(options.rounds)
            ]
            rate, cost, calls = (statistics.median(each) for each in zip(*rounds, strict=True))
            print(f"{name:18} {rate:>10,.0f} {cost:>10.1f} {calls:>11.3f}")
        backend.close()


if __name__ == "__main__":
    main()
