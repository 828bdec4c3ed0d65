"""What the Redis backend costs without workers: nodes per second over the seam, and Redis's share.

    python -m benchmarks.redis_store [--batch 32] [--rounds 3] [--lone 1500]

One process plays the worker: it claims, invents the results of no-op nodes (100 bytes) and commits them with
the next claim in the same call. Beside it, in the same run, a yardstick: plain commands of redis-py over the
same connection. Figures are medians of the rounds. With `--lone` also what Redis spends on calls that carry one run
or one task, so many of each.
"""

from __future__ import annotations

import argparse
import itertools
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


def alone(backend: RedisBackend, server: RedisServer, calls: int) -> dict[str, float]:
    """Microseconds of Redis that one call takes, by what it does to one-node runs, or to a chain."""
    info = WorkerInfo(id=0, host="bench", pid=0, started=time.time(), concurrency=1, flows=(FLOW,))
    ask = Ask(worker=backend.enter(info), limit=1, flows=(FLOW,))
    held: list[Claim] = []
    numbers = itertools.count()

    def submit() -> None:
        request = Request(
            uuid4().hex, *FLOW, payload=Payload(b"in"), query={}, digest="d", starts=("a",)
        )
        backend.submit(request)

    def claim() -> None:
        held.extend(backend.claim(ask))

    def commit(step: Step, then: Ask | None = None) -> None:
        now, claim = time.time(), held.pop()
        accepted, more = backend.commit([Outcome(claim.task, now, now, step=step)], then)
        assert accepted == [True]
        held.extend(more)

    def follow() -> None:
        arrival = Arrival(f"n{next(numbers)}", held[-1].task.path, 1)
        commit(Step(output=RESULT, arrivals=(arrival,)), ask)

    end = Step(output=RESULT, ends=True)

    def cost(call: Callable[[], None], times: int = calls) -> float:
        server.client.config_resetstat()
        for _ in range(times):
            call()
        told: Any = server.client.info("commandstats")
        return float(told["cmdstat_evalsha"]["usec"]) / times

    for warm in (submit, claim, lambda: commit(end)):
        cost(warm, 300)
    costs = {"submit": cost(submit), "claim": cost(claim), "end": cost(lambda: commit(end))}
    cost(submit, calls + 1)
    claim()
    costs["end, next run"] = cost(lambda: commit(end, ask))
    costs["a chain's step"] = cost(follow)
    commit(end)
    costs["claim in vain"] = cost(claim)
    return costs


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
    parser.add_argument("--lone", type=int, default=0, metavar="CALLS")
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
        if options.lone:
            for what, cost in alone(backend, server, options.lone).items():
                print(f"a lone call, {what:18} {cost:>10.1f} us of Redis")
        backend.close()


if __name__ == "__main__":
    main()
