"""A fan-out of 100,000 over Redis: how long a script blocks it, and what it holds meanwhile.

    python -m benchmarks.redis_fanout [--width 100000]

One process stages, opens, executes and closes the scopes as a worker would. Printed are nodes per second, the
longest script by Redis's own slow log, and the most entries the queue ever held: the window bounds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from goflow.backend import Ask, WorkerInfo
from goflow.config import Config, Redis
from goflow.message import Arrival, Claim, Item, Opened, Outcome, Request, Step
from goflow.payload import Payload
from goflow_redis import RedisBackend
from tests.redis.server import RedisServer

FLOW = ("wide", "0123456789abcdef")
CHUNK = 500
WINDOW = 1000
BATCH = 64


def outcome(claim: Claim, step: Step) -> Outcome:
    """A result as of now."""
    now = time.time()
    return Outcome(claim.task, now, now, step=step, digest="01234567")


def scopes(keys: Iterable[int]) -> list[Item]:
    """One scope a key, with one start."""
    return [Item(f"each[{key}]/", ("x",), Payload(str(key).encode())) for key in keys]


def close(claim: Claim) -> Outcome:
    """The result of a scope's only node, on its way to the branch."""
    key = claim.task.path[5:-3]
    arrival = Arrival("each", key, 0, closing=True)
    return outcome(claim, Step(output=Payload(b"x" * 100), arrivals=(arrival,)))


def main() -> None:
    """Run it and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=100_000)
    width = parser.parse_args().width
    with RedisServer("--slowlog-log-slower-than", "1000", "--slowlog-max-len", "10000") as server:
        config = Config(redis=Redis(url=server.url, namespace="wide"))
        with RedisBackend.open(server.url, config) as backend:
            report(backend, server, width)


def report(backend: RedisBackend, server: RedisServer, width: int) -> None:
    """One run of one branch this wide."""
    info = WorkerInfo(id=0, host="bench", pid=0, started=time.time(), concurrency=1, flows=(FLOW,))
    ask = Ask(worker=backend.enter(info), limit=BATCH, flows=(FLOW,))
    backend.submit(Request("r", *FLOW, Payload(b""), {}, "d", ("each",)))
    (branch,) = backend.claim(ask)
    began = time.perf_counter()
    for first in range(0, width, CHUNK):
        backend.stage(branch.task, scopes(range(first, min(first + CHUNK, width))))
    opened = time.perf_counter()
    _, claims = backend.commit([outcome(branch, Step(opened=Opened(width, WINDOW, None, ())))], ask)
    queue = backend.keys.queue(backend.keys.partitions[0], *FLOW)
    nodes = longest = 0
    while claims and not claims[0].task.closing:
        nodes += len(claims)
        _, claims = backend.commit([close(claim) for claim in claims], ask)
        if nodes % (BATCH * 50) == 0:
            longest = max(longest, server.client.xlen(queue))
    executed = time.perf_counter()
    (closing,) = claims
    results = sum(len(chunk) for chunk in backend.inputs(closing.task))
    backend.commit([outcome(closing, Step(output=Payload(b"done"), ends=True))])
    assert (nodes, results) == (width, width)
    print(f"{width:,} scopes: staged in {opened - began:.1f} s, read back {results:,} results")
    print(
        f"{nodes / (executed - opened):,.0f} nodes/s, at most {longest:,} queued (window {WINDOW:,})"
    )
    slow = [entry for entry in server.client.slowlog_get(10000) if b"EVAL" in entry["command"]]
    worst = max((entry["duration"] for entry in slow), default=0)
    over = sum(entry["duration"] > 5000 for entry in slow)
    print(f"longest script {worst / 1000:.1f} ms; {over} over 5 ms, {len(slow)} over 1 ms")
    print(f"Redis holds {server.client.info('memory')['used_memory'] / width:,.0f} bytes a scope")


if __name__ == "__main__":
    main()
